//! What goes: only what carries the mark of this cluster.

use std::collections::BTreeMap;

use super::{Inventory, log_pool};
use crate::config::{ClusterId, Config, NodeName};
use crate::machine::{VolumeInfo, VolumeName};

/// What is left of one node, to be removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Removal {
    /// Its domain.
    pub domain: Option<uuid::Uuid>,
    /// Its disks and logs, each with its pool.
    pub volumes: Vec<(String, VolumeName)>,
    /// Its data disks, which stay unless they are asked for.
    pub data: Vec<(String, VolumeName)>,
}

impl Removal {
    /// Whether nothing is left of the node.
    pub fn is_empty(&self) -> bool {
        self.domain.is_none() && self.volumes.is_empty()
    }

    /// The same with its data disks.
    #[must_use]
    pub fn with_data(mut self) -> Self {
        self.volumes.append(&mut self.data);
        self
    }

    /// The volumes alone, but those that are kept.
    pub(super) fn disks_but(mut self, kept: &[VolumeName]) -> Self {
        self.volumes.retain(|(_, name)| !kept.contains(name));
        Self { domain: None, ..self }
    }

    /// The same, but logs stay: they tell of the attempt before.
    pub(super) fn without_logs(mut self) -> Self {
        self.volumes.retain(|(_, name)| !matches!(name, VolumeName::Log { .. }));
        self
    }
}

/// Everything of this cluster's nodes, also of nodes that the cluster file no longer names. Base images, payloads,
/// networks and pools are not among it.
pub fn removals(id: &ClusterId, config: &Config, inventory: &Inventory) -> BTreeMap<NodeName, Removal> {
    let mut all: BTreeMap<NodeName, Removal> = BTreeMap::new();
    for domain in &inventory.domains {
        if let Some(mark) = domain.mark().filter(|mark| mark.belongs_to(id) && domain.uuid == id.uuid(&mark.node)) {
            all.entry(mark.node.clone()).or_default().domain = Some(domain.uuid);
        }
    }
    let pool = &config.libvirt.pool;
    for (pool, volumes) in [(pool.clone(), &inventory.volumes), (log_pool(pool), &inventory.log_volumes)] {
        for name in volumes.iter().filter_map(VolumeInfo::ours).filter(|name| name.belongs_to(id)) {
            let Some(node) = name.owner().map(|(_, node)| node.clone()) else { continue };
            let removal = all.entry(node).or_default();
            let data = matches!(name, VolumeName::Data { .. });
            if data { &mut removal.data } else { &mut removal.volumes }.push((pool.clone(), name));
        }
    }
    all
}
