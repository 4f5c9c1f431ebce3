//! How a machine that is there differs from what the cluster file asks for.

use std::fmt;

use super::{Creation, UNBUILT};
use crate::config::ClusterId;
use crate::digest::Digest;
use crate::machine::{DomainInfo, VolumeInfo, VolumeName};

/// One difference; never a secret's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Drift {
    /// Other binaries.
    Payload(Digest, Digest),
    /// Other configuration or identity.
    Seed(Digest, Digest),
    /// Another base image.
    Base(String, String),
    /// A smaller root disk, in bytes; a larger one is no drift, since it grows in place.
    Disk(u64, u64),
    /// Another machine: CPUs, memory, network ...
    Definition,
    /// Somebody edited the machine with other tools.
    ByHand,
    /// The mark cannot be read.
    Unreadable,
}

impl Drift {
    fn is_image(&self) -> bool {
        matches!(self, Self::Payload(..) | Self::Seed(..) | Self::Base(..))
    }
}

impl fmt::Display for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Payload(from, to) => write!(f, "payload {} -> {}", from.short(), to.short()),
            Self::Seed(from, to) => write!(f, "seed {} -> {}", from.short(), to.short()),
            Self::Base(from, to) => write!(f, "base image {from:.12} -> {to:.12}"),
            Self::Disk(from, to) => write!(f, "disk {} MiB -> {} MiB", from >> 20, to >> 20),
            Self::Definition => f.write_str("machine changed in the cluster file"),
            Self::ByHand => f.write_str("machine changed by hand"),
            Self::Unreadable => f.write_str("mark not readable"),
        }
    }
}

/// Differences between a domain and the machine that would be made today. Of an image that is not built yet nothing is
/// told, nor of the definition, which names all of them.
pub(super) fn of(domain: &DomainInfo, creation: &Creation, volumes: &[VolumeInfo], id: &ClusterId) -> Vec<Drift> {
    let Some(mark) = domain.mark() else { return vec![Drift::Unreadable] };
    let wanted = &creation.mark;
    let differs = |found: Digest, wanted: Digest| wanted != UNBUILT && found != wanted;
    let mut drift = Vec::new();
    if differs(mark.payload, wanted.payload) {
        drift.push(Drift::Payload(mark.payload, wanted.payload));
    }
    if differs(mark.seed, wanted.seed) {
        drift.push(Drift::Seed(mark.seed, wanted.seed));
    }
    if wanted.base != UNBUILT.to_string() && mark.base != wanted.base {
        drift.push(Drift::Base(mark.base.clone(), wanted.base.clone()));
    }
    let root = VolumeName::root(id, &mark.node, mark.seed);
    if let Some(volume) = volumes.iter().find(|volume| volume.ours().as_ref() == Some(&root))
        && volume.capacity > creation.overlay.capacity
    {
        drift.push(Drift::Disk(volume.capacity, creation.overlay.capacity));
    }
    // Other images change the definition's paths too; that is said above.
    let unbuilt = wanted.payload == UNBUILT || wanted.seed == UNBUILT || wanted.base == UNBUILT.to_string();
    if !unbuilt && !drift.iter().any(Drift::is_image) && mark.definition != wanted.definition {
        drift.push(Drift::Definition);
    }
    if mark.stored.is_some_and(|stored| stored != domain.stored_digest()) {
        drift.push(Drift::ByHand);
    }
    drift
}
