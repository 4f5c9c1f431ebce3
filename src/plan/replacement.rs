//! A machine that takes another one's place: the old one's definition and disks stay until the new one is up.
//!
//! How far that came is read from the domain and the pool alone. A definition with a machine before it
//! ([`Record::previous`]) is a replacement that is not settled: one that came up is settled by removing what was the old
//! machine's; one that did not is undone by putting the old machine back; anything else goes on where it was cut off.
//!
//! [`Record::previous`]: crate::machine::Record::previous

use crate::config::{ClusterId, NodeName};
use crate::digest::Digest;
use crate::machine::{DomainInfo, MarkState, VolumeName, volumes_of};

/// The machine whose place another one takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replacement {
    /// The old machine's definition, with its mark.
    pub old: String,
    /// Volumes of the old machine alone: they go once the new one is up.
    pub old_volumes: Vec<VolumeName>,
    /// Volumes of the new machine alone: they go where the old one is put back.
    pub new_volumes: Vec<VolumeName>,
    /// Whether what stands there now is an attempt to replace the old machine that did not come up: nothing of it is worth
    /// waiting for.
    pub attempted: bool,
}

impl Replacement {
    fn new(old: Old, new: &[VolumeName]) -> Self {
        let Old { definition, volumes, attempted } = old;
        let alone = |of: &[VolumeName], other: &[VolumeName]| {
            of.iter().filter(|name| name.is_own() && !other.contains(name)).cloned().collect()
        };
        let (old_volumes, new_volumes) = (alone(&volumes, new), alone(new, &volumes));
        Self { old: definition, old_volumes, new_volumes, attempted }
    }

    /// What is under way at a domain; none where no machine stands before it.
    pub(super) fn under_way(domain: &DomainInfo) -> Option<Self> {
        let old = domain.record().previous?;
        Some(Self::new(Old::new(old, !came_up(domain)), &domain.volumes()))
    }

    /// Volumes that the old machine needs.
    fn kept(&self) -> Vec<VolumeName> {
        volumes_of(&self.old)
    }
}

/// The machine that a new one would take the place of.
#[derive(Debug)]
pub(super) struct Old {
    definition: String,
    /// All volumes of ours that it names.
    pub(super) volumes: Vec<VolumeName>,
    attempted: bool,
}

impl Old {
    fn new(definition: String, attempted: bool) -> Self {
        Self { volumes: volumes_of(&definition), definition, attempted }
    }

    /// A machine that came up, or, in place of one that did not, the one that it was to replace. One that was started may
    /// have come up since, with nobody there to note it.
    pub(super) fn at(domain: &DomainInfo) -> Option<Self> {
        if came_up(domain) {
            return Some(Self::new(domain.kept(), false));
        }
        match domain.record().previous {
            Some(previous) => Some(Self::new(previous, true)),
            None => is_kept(domain).then(|| Self::new(domain.kept(), false)),
        }
    }

    /// Its place is taken by a machine with these volumes.
    pub(super) fn replaced_by(self, new: &[VolumeName]) -> Replacement {
        Replacement::new(self, new)
    }
}

/// Whether a machine is worth going back to: it came up, or may have.
pub(super) fn is_kept(domain: &DomainInfo) -> bool {
    domain.mark().is_some_and(|mark| mark.state.came_up() || mark.state == MarkState::Started)
}

fn came_up(domain: &DomainInfo) -> bool {
    domain.mark().is_some_and(|mark| mark.state.came_up())
}

/// Name of a root disk for a seed. The disk of a machine that is kept may have the first such name; no two are ever kept.
pub(super) fn root_name(id: &ClusterId, node: &NodeName, seed: Digest, kept: &[VolumeName]) -> VolumeName {
    let first = VolumeName::root(id, node, seed);
    if kept.contains(&first) { VolumeName::root(id, node, Digest::of(seed.to_string().as_bytes())) } else { first }
}

/// Disks and seeds of a node that neither its machine nor the one before it needs: what a run left that was cut off. A seed
/// that the machine was made from is not among them, since it goes by sealing.
pub(super) fn strays(
    id: &ClusterId,
    node: &NodeName,
    own: &[(String, VolumeName)],
    domain: &DomainInfo,
    replacement: Option<&Replacement>,
) -> Vec<VolumeName> {
    let Some(mark) = domain.mark() else { return Vec::new() };
    let mut needed = domain.volumes();
    needed.extend(replacement.map(Replacement::kept).unwrap_or_default());
    needed.push(VolumeName::seed(id, node, mark.seed));
    let goes = |name: &&VolumeName| name.is_own() && !needed.contains(name);
    own.iter().map(|(_, name)| name).filter(goes).cloned().collect()
}
