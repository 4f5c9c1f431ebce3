//! Machines made by hand in whose place machines of ours come, under the same name and address: taken over, kept, and
//! removed when their user says so.
//!
//! How far a take-over came is read from libvirt alone. A domain that is being taken over carries a note ([`TakenOver`])
//! from before it is stopped on: until a machine of ours has come up in its place the same command brings it to its end, or
//! gives the domain all back; after that it is kept.

use std::collections::{BTreeMap, BTreeSet};

use super::Blocked;
use super::inventory::Domains;
use crate::config::{ClusterId, Node, NodeName};
use crate::machine::{DiskSource, DomainInfo, NoteState, TakenOver, VolumeInfo, VolumeName};

/// What becomes of machines that somebody made by hand under names of nodes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ByHand<'a> {
    /// They stand in the way.
    #[default]
    InTheWay,
    /// They are taken over; one that has another name than its node has this.
    TakenOver(Option<&'a str>),
}

/// A machine made by hand whose place a node's machine takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TakeOver {
    /// The domain.
    pub uuid: uuid::Uuid,
    /// The name that it had before, and gets back where the new machine does not come up.
    pub name: String,
    /// The name under which it is kept.
    pub kept_as: String,
    /// Whether it started with the host before.
    pub autostart: bool,
    /// Whether it ran before.
    pub ran: bool,
    /// Volumes of the new machine alone: they go where the domain gets all back.
    pub new_volumes: Vec<VolumeName>,
}

impl std::fmt::Display for TakeOver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { name, kept_as, ran, .. } = self;
        write!(f, "domain {name} is {}kept as {kept_as}", if *ran { "stopped and " } else { "" })
    }
}

/// A domain with the note of a take-over by this cluster.
#[derive(Debug, Clone)]
pub struct Kept<'a> {
    /// The domain.
    pub domain: &'a DomainInfo,
    /// What is noted there.
    pub note: TakenOver,
}

/// All domains that this cluster takes over or has taken over, in their order.
pub fn taken_over<'a>(id: &ClusterId, domains: &'a [DomainInfo]) -> Vec<Kept<'a>> {
    let foreign = domains.iter().filter(|domain| domain.mark == Ok(None));
    let noted = foreign.filter_map(|domain| Some(Kept { domain, note: domain.taken_over().ok()?? }));
    noted.filter(|kept| kept.note.belongs_to(id)).collect()
}

/// The domains made by hand that do not run beside the machines of these nodes: they are kept, or go off when their
/// places are taken over.
pub fn making_room(
    id: Option<&ClusterId>,
    nodes: &[&Node],
    domains: &[DomainInfo],
    by_hand: ByHand,
) -> BTreeSet<uuid::Uuid> {
    let of_node = |kept: &Kept| nodes.iter().any(|node| node.name == kept.note.node);
    let kept = id.map(|id| taken_over(id, domains)).unwrap_or_default().into_iter().filter(of_node);
    let kept: BTreeSet<_> = kept.map(|kept| kept.domain.uuid).collect();
    let makes_room = |domain: &&DomainInfo| {
        let kept = kept.contains(&domain.uuid);
        match by_hand {
            ByHand::InTheWay => kept && !domain.state.is_active(),
            ByHand::TakenOver(Some(name)) => kept || domain.name == name,
            ByHand::TakenOver(None) => kept || nodes.iter().any(|node| node.name.to_string() == domain.name),
        }
    };
    domains.iter().filter(makes_room).map(|domain| domain.uuid).collect()
}

/// The take-overs of a host, by their nodes: what is under way, and what is kept.
#[derive(Debug, Default)]
pub(super) struct TakeOvers<'a> {
    by_node: BTreeMap<NodeName, Vec<Kept<'a>>>,
}

impl<'a> TakeOvers<'a> {
    pub(super) fn read(id: &ClusterId, domains: &'a [DomainInfo]) -> Self {
        let mut by_node: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for kept in taken_over(id, domains) {
            by_node.entry(kept.note.node.clone()).or_default().push(kept);
        }
        Self { by_node }
    }

    fn of(&self, node: &NodeName) -> &[Kept<'a>] {
        self.by_node.get(node).map_or(&[], Vec::as_slice)
    }

    /// The domain of a take-over that is not at its end.
    fn begun(&self, node: &NodeName) -> Option<&Kept<'a>> {
        self.of(node).iter().find(|kept| kept.note.state == NoteState::Begun)
    }

    /// The domain whose place a node's machine takes; none where no machine made by hand is concerned.
    pub(super) fn find(
        &self,
        id: &ClusterId,
        node: &NodeName,
        domains: &Domains<'a>,
        by_hand: ByHand,
    ) -> Result<Option<&'a DomainInfo>, Blocked> {
        let own = domains.of(id.uuid(node));
        let unsettled = |kept: &Kept| Blocked::Unsettled { node: node.clone(), domain: kept.domain.name.clone() };
        let ByHand::TakenOver(asked) = by_hand else {
            let came_up = own.and_then(DomainInfo::mark).is_some_and(|mark| mark.state.came_up());
            return match self.begun(node) {
                Some(kept) if !came_up => Err(unsettled(kept)),
                begun => Ok(begun.map(|kept| kept.domain)),
            };
        };
        if let Some(kept) = self.begun(node) {
            let same = asked.is_none_or(|name| name == kept.note.name || name == kept.domain.name);
            return if same { Ok(Some(kept.domain)) } else { Err(unsettled(kept)) };
        }
        if let Some(own) = own {
            if own.mark().is_none_or(|mark| !mark.belongs_to(id)) {
                return Err(Blocked::ForeignDomain { node: node.clone() });
            }
            // The same command once more, after it is done.
            let done = !self.of(node).is_empty();
            return if done { Ok(None) } else { Err(Blocked::AlreadyOurs { node: node.clone() }) };
        }
        let name = asked.map_or_else(|| node.to_string(), ToOwned::to_owned);
        let found = domains.named(&name);
        let found = found.ok_or_else(|| Blocked::NothingToTakeOver { node: node.clone(), domain: name.clone() })?;
        let free =
            found.mark == Ok(None) && found.taken_over().is_ok_and(|note| note.is_none_or(|note| note.belongs_to(id)));
        if free { Ok(Some(found)) } else { Err(Blocked::OthersDomain { node: node.clone(), domain: name }) }
    }

    /// What is to be done with a domain whose place is taken by a machine with these volumes.
    pub(super) fn take_over(
        &self,
        node: &NodeName,
        domain: &DomainInfo,
        domains: &[DomainInfo],
        new_volumes: Vec<VolumeName>,
    ) -> TakeOver {
        let note = self.begun(node).filter(|kept| kept.domain.uuid == domain.uuid).map(|kept| &kept.note);
        let runs = domain.state.is_active();
        let name = note.map_or_else(|| domain.name.clone(), |note| note.name.clone());
        let kept_as = if domain.name == name { free_name(node, domains) } else { domain.name.clone() };
        TakeOver {
            uuid: domain.uuid,
            autostart: note.map_or(domain.autostart, |note| note.autostart),
            ran: runs || note.is_some_and(|note| note.ran),
            name,
            kept_as,
            new_volumes,
        }
    }
}

/// A name that no domain has.
fn free_name(node: &NodeName, domains: &[DomainInfo]) -> String {
    let first = format!("{node}-before-nodebake");
    let others = (2..).map(|number| format!("{first}-{number}"));
    let is_free = |name: &String| domains.iter().all(|domain| domain.name != *name);
    std::iter::once(first.clone()).chain(others).find(is_free).unwrap_or(first)
}

/// A domain that was taken over and is to go, with what goes with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptRemoval {
    /// The node whose machine took its place.
    pub node: NodeName,
    /// The domain.
    pub uuid: uuid::Uuid,
    /// Its name.
    pub name: String,
    /// Those of its disks that go: volumes of libvirt's pools that nobody else needs, each with its pool.
    pub volumes: Vec<(String, VolumeInfo)>,
    /// What it had in its drives and stays, each with the reason.
    pub left: Vec<(DiskSource, &'static str)>,
}

/// What goes of the domains that were kept for these nodes; `volumes` are all of the host's pools.
pub fn kept_removals(
    id: &ClusterId,
    nodes: &[NodeName],
    domains: &[DomainInfo],
    volumes: &[(String, VolumeInfo)],
) -> Result<Vec<KeptRemoval>, Blocked> {
    let kept = taken_over(id, domains).into_iter().filter(|kept| nodes.contains(&kept.note.node));
    kept.map(|kept| {
        let (node, domain) = (kept.note.node.clone(), kept.domain.name.clone());
        let own = domains.iter().find(|domain| domain.uuid == id.uuid(&node));
        let came_up = own.and_then(DomainInfo::mark).is_some_and(|mark| mark.state.came_up());
        if kept.note.state == NoteState::Begun && !came_up {
            return Err(Blocked::Unsettled { node, domain });
        }
        if kept.domain.state.is_active() {
            return Err(Blocked::KeptRuns { domain });
        }
        Ok(kept_removal(&kept, domains, volumes))
    })
    .collect()
}

fn kept_removal(kept: &Kept, domains: &[DomainInfo], volumes: &[(String, VolumeInfo)]) -> KeptRemoval {
    let others = domains.iter().filter(|domain| domain.uuid != kept.domain.uuid);
    let used: BTreeSet<_> = others.flat_map(sources).collect();
    let (mut gone, mut left) = (Vec::new(), Vec::new());
    for disk in kept.domain.disks() {
        let named = |(pool, volume): &&(String, VolumeInfo)| names(pool, volume).contains(&disk.source);
        match volumes.iter().find(named) {
            _ if !disk.own => left.push((disk.source, "a medium, read-only or shared")),
            None => left.push((disk.source, "in no pool of libvirt's")),
            Some((pool, volume)) if names(pool, volume).iter().any(|name| used.contains(name)) => {
                left.push((disk.source, "used by another domain"));
            }
            Some(found) => gone.push(found.clone()),
        }
    }
    // One that stays keeps what it stands on, and so on.
    loop {
        let stays = |volume: &&(String, VolumeInfo)| !gone.contains(volume);
        let backing = volumes.iter().filter(stays).filter_map(|(_, volume)| volume.backing.as_deref());
        let backing: BTreeSet<_> = backing.collect();
        let kept: Vec<_> = gone.iter().filter(|(_, volume)| backing.contains(volume.path.as_str())).cloned().collect();
        if kept.is_empty() {
            break;
        }
        gone.retain(|volume| !kept.contains(volume));
        left.extend(kept.into_iter().map(|(_, volume)| (DiskSource::Path(volume.path), "under another volume")));
    }
    let (node, uuid) = (kept.note.node.clone(), kept.domain.uuid);
    KeptRemoval { node, uuid, name: kept.domain.name.clone(), volumes: gone, left }
}

/// How domains name a volume.
fn names(pool: &str, volume: &VolumeInfo) -> [DiskSource; 2] {
    [DiskSource::Path(volume.path.clone()), DiskSource::Volume(pool.to_owned(), volume.name.clone())]
}

/// All that a domain reads and writes.
fn sources(domain: &DomainInfo) -> Vec<DiskSource> {
    domain.disks().into_iter().flat_map(|disk| std::iter::once(disk.source).chain(disk.under)).collect()
}
