//! What a node is made of, by names that a plan can tell as reasons: versions, and digests of public files and fields.

use std::collections::BTreeMap;

use super::Build;
use super::manifest;
use crate::config::Node;
use crate::digest::Digest;
use crate::identity::NodeIdentity;
use crate::machine::Parts;
use crate::render::{KUBELET_CONFIGURATION, NodeBundle};

/// Names and values as [`Parts`] has them:
///
/// ```text
/// nodebake            its version
/// kubelet, runc ...   version and head of the digest of what is locked, parted by a blank
/// package X ...       of several of a kind: head of the digest
/// certificate         serial number
/// kubelet config X    digest of a field of the KubeletConfiguration
/// /PATH, user-data    digest of a public file in the seed
/// ```
///
/// Texts that name the payload by its digest count as if they did not: what is in the payload is told by its parts.
pub(super) fn of(build: &Build, node: &Node, bundle: &NodeBundle, identity: &NodeIdentity, payload: Digest) -> Parts {
    let mut parts = locked(build, node);
    parts.insert("nodebake".to_owned(), env!("CARGO_PKG_VERSION").to_owned());
    parts.insert("certificate".to_owned(), identity.facts.serial.clone());
    for (name, text) in manifest::texts(node, bundle) {
        match name {
            // Its instance-id is a digest of all the rest.
            "meta-data" => {}
            _ if text == identity.certificate_pem.as_bytes() => {}
            KUBELET_CONFIGURATION => parts.extend(fields(name, text)),
            _ => {
                parts.insert(name.to_owned(), digest(text, payload));
            }
        }
    }
    Parts(parts)
}

/// What is locked and goes into a node.
fn locked(build: &Build, node: &Node) -> BTreeMap<String, String> {
    let part = |entry: &crate::artifacts::Entry| {
        let digest = entry.checksum.to_string();
        let head: String = digest.split(':').next_back().unwrap_or_default().chars().take(12).collect();
        if entry.kind.is_named() {
            (format!("{} {}", entry.kind, entry.version), head)
        } else {
            (entry.kind.to_string(), format!("{} {head}", entry.version))
        }
    };
    manifest::entries(build, node).into_iter().map(part).collect()
}

fn digest(text: &[u8], payload: Digest) -> String {
    // Public files of ours are text; one of the user's that is not is taken as it is.
    std::str::from_utf8(text).map_or_else(
        |_| Digest::of(text).short(),
        |text| {
            let text = text.replace(&payload.to_string(), "").replace(&payload.short(), "");
            Digest::of(text.as_bytes()).short()
        },
    )
}

/// The fields of the kubelet's configuration, each by itself; the whole file where it is not a map.
fn fields(name: &str, text: &[u8]) -> Vec<(String, String)> {
    let map: Result<BTreeMap<String, serde_yaml::Value>, _> = serde_yaml::from_slice(text);
    let Ok(map) = map else { return vec![(name.to_owned(), Digest::of(text).short())] };
    let digest = |value| Digest::of(serde_yaml::to_string(value).unwrap_or_default().as_bytes()).short();
    map.iter().map(|(name, value)| (format!("kubelet config {name}"), digest(value))).collect()
}
