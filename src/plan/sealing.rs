//! What is left to do until a node's secrets lie on its own disk alone.

use super::{Drift, Step};
use crate::config::Node;
use crate::machine::{DomainInfo, Drive, VolumeName};

/// A seed that goes once the node needs it no more: out of the machine's drive, and out of the pool.
///
/// How far that came is read from the machine and the pool alone: a drive that holds the seed; an empty drive, and the
/// volume still there; an empty drive, and no volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealing {
    /// The seeds of the node in its pool, or those that will be there.
    pub seeds: Vec<VolumeName>,
    /// Whether the guest is known to tell when it needs the seed no more: it was made from the seed that would be made
    /// today. Another one may be of a nodebake that had no such word, and is not waited for.
    pub awaited: bool,
}

/// What is to be sealed of a node whose machine is there or will be; nothing if the cluster file keeps seeds.
pub(super) fn of(
    node: &Node,
    domain: Option<&DomainInfo>,
    own: &[(String, VolumeName)],
    step: &Step,
    drift: &[Drift],
) -> Option<Sealing> {
    // The machine that is put back is not the one that is there now.
    if node.settings.keep_seed || matches!(step, Step::PutBack(_)) {
        return None;
    }
    if let Step::Create(creation) = step {
        return Some(Sealing { seeds: vec![creation.seed.spec.name.clone()], awaited: true });
    }
    let own = own.iter().map(|(_, name)| name).filter(|name| matches!(name, VolumeName::Seed { .. }));
    let seeds: Vec<_> = own.cloned().collect();
    let held = matches!(domain?.drive(), Drive::Seed(_));
    let awaited = !drift.iter().any(|drift| matches!(drift, Drift::Seed(..) | Drift::Unreadable));
    (held || !seeds.is_empty()).then_some(Sealing { seeds, awaited })
}
