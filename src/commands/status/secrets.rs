//! Where the secrets of a node lie: its private key, and whatever the cluster file gave it.

use std::path::Path;

use serde::Serialize;

use crate::commands::Session;
use crate::config::{ClusterId, NodeName};
use crate::identity::private_keys;
use crate::machine::{DomainInfo, Drive, VolumeInfo, VolumeName};

/// A place where a secret lies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Place {
    /// In a word, for a column.
    #[serde(rename = "place")]
    pub(super) word: String,
    /// What lies where.
    pub(super) what: String,
}

/// All places where secrets of the node lie, the machine's first.
pub(super) fn places(
    session: &Session,
    pool: &str,
    id: &ClusterId,
    node: &NodeName,
    out: &Path,
    domain: Option<&DomainInfo>,
    volumes: &[VolumeInfo],
) -> Vec<Place> {
    let mut places = Vec::new();
    let mut add = |word: &str, what: String| places.push(Place { word: word.to_owned(), what });
    let of_node = |name: &VolumeName| name.belongs_to(id) && name.owner().is_some_and(|(_, owner)| owner == node);
    let volumes: Vec<_> = volumes.iter().filter_map(VolumeInfo::ours).filter(of_node).collect();
    let seeds = || volumes.iter().filter(|name| matches!(name, VolumeName::Seed { .. }));
    let has_disk = domain.is_some() || volumes.iter().any(|name| matches!(name, VolumeName::Root { .. }));
    if has_disk {
        let sealed = domain.is_none_or(|domain| !matches!(domain.drive(), Drive::Seed(_))) && seeds().next().is_none();
        let also = if sealed { "" } else { ", and what cloud-init keeps of its seed" };
        add("disk", format!("the machine's own disk: the kubelet's key{also}"));
    }
    for seed in seeds() {
        let attached = domain.is_some_and(|domain| domain.drive() == Drive::Seed(seed.clone()));
        let also = if attached { ", in the machine's drive" } else { "" };
        add("pool", format!("{pool}/{seed}{also}"));
    }
    let folder = out.join(node.to_string());
    for built in ["seed.iso", "self-contained.iso"].map(|name| folder.join(name)).iter().filter(|path| path.exists()) {
        add(&out.display().to_string(), built.display().to_string());
    }
    let (config, state) = (&session.config, session.state());
    for key in private_keys(node, &config.cluster.pki, &state) {
        let folder = if key.starts_with(&state) { &state } else { &config.cluster.pki };
        let word = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        add(&word, key.display().to_string());
    }
    places
}

/// The places in a column.
pub(super) fn column(places: &[Place]) -> String {
    let mut words: Vec<&str> = places.iter().map(|place| place.word.as_str()).collect();
    words.dedup();
    if words.is_empty() { "-".to_owned() } else { words.join(", ") }
}
