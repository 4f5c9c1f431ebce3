//! A node that goes from one hypervisor to another, by a machine that is made there: the old one is kept until that is up,
//! and comes back where it does not.
//!
//! How far that came is read from the machine that is left: its record says where the node goes ([`Moving`]), from the moment
//! on that it is to stop, and whether it is to come back. So the node belongs to one hypervisor at any time, and only what
//! is there of it is worked on; what is at the other one is in a [`Move`].
//!
//! [`Moving`]: crate::machine::Moving

use std::collections::BTreeMap;

use super::{Blocked, Inventory, Removal, SharedAction, removals, replacement};
use crate::config::{ClusterId, Config, HypervisorName, Node, NodeName};
use crate::machine::{DomainInfo, NoteState, VolumeInfo, VolumeName};

/// How far a move is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// It was asked for, and nothing is done yet.
    Asked,
    /// An earlier run began it, and had the node's pods leave.
    Begun,
    /// The machine at the other hypervisor did not come up: the node comes back.
    Back,
}

/// What keeps a node where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Obstacle {
    /// Another change of the machine there is not at its end: its replacement, or a take-over.
    Unsettled,
    /// The two have one pool: what is of the machine there would be taken for what is left of it here.
    SharedPool,
}

/// What a node on its way has at the hypervisor where it does not belong now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    /// Where the node belongs.
    pub here: HypervisorName,
    /// The other one; none where the cluster file does not name it any more.
    pub other: Option<HypervisorName>,
    /// Name of the other one's pool.
    pub pool: String,
    /// What goes there once the node is up here.
    pub removal: Removal,
    /// Whether a machine of it runs there.
    pub runs: bool,
    /// Whether the machine there is one that came up, and is gone back to where the new one does not.
    pub kept: bool,
    /// Data disks there, which stay; none where somebody has agreed to that.
    pub data: Vec<String>,
    /// How far it is.
    pub way: Way,
    /// What keeps it from going.
    pub obstacle: Option<Obstacle>,
}

impl Move {
    /// Of a node whose other hypervisor has this inventory; none where it has nothing that would have to be seen to.
    pub fn of(
        id: &ClusterId,
        node: &Node,
        here: &HypervisorName,
        other: (&HypervisorName, &Config, &Inventory),
        back: bool,
    ) -> Option<Self> {
        let (name, config, inventory) = other;
        let removal = removals(id, config, inventory).remove(&node.name).unwrap_or_default();
        // What a machine wrote that did not come up tells why.
        let removal = if back { removal.without_logs() } else { removal };
        let domain = inventory.domains.iter().find(|domain| Some(domain.uuid) == removal.domain);
        let taken = super::taken_over(id, &inventory.domains);
        let taking = taken.iter().any(|kept| kept.note.node == node.name && kept.note.state == NoteState::Begun);
        let replaced = domain.is_some_and(|domain| domain.record().previous.is_some());
        let way = match domain {
            _ if back => Way::Back,
            Some(domain) if domain.moving().is_some() => Way::Begun,
            _ => Way::Asked,
        };
        // Whoever began it was asked.
        let data = removal.data.iter().filter(|_| way == Way::Asked).map(|(_, volume)| volume.to_string()).collect();
        (back || domain.is_some()).then(|| Self {
            here: here.clone(),
            other: Some(name.clone()),
            pool: config.libvirt.pool.clone(),
            runs: domain.is_some_and(|domain| domain.state.is_active()),
            // One that was given up may have got into the cluster after that.
            kept: domain.is_some_and(|domain| {
                replacement::is_kept(domain) || domain.mark().is_some_and(|mark| inventory.has_boot(mark))
            }),
            data,
            way,
            obstacle: (!back && (taking || replaced)).then_some(Obstacle::Unsettled),
            removal,
        })
    }

    /// Whether the node comes back.
    pub fn is_back(&self) -> bool {
        self.way == Way::Back
    }

    /// Whether there is a machine to go back to where the new one does not come up.
    pub fn can_go_back(&self) -> bool {
        self.kept && !self.is_back()
    }

    /// Fails where the node cannot go.
    pub(super) fn possible(self, node: &NodeName) -> Result<Self, Blocked> {
        let (node, at) = (node.clone(), self.other.clone().unwrap_or_else(|| self.here.clone()));
        match self.obstacle {
            Some(Obstacle::Unsettled) => return Err(Blocked::Unmovable { node, at }),
            Some(Obstacle::SharedPool) => return Err(Blocked::SharedPool { node, at, to: self.here }),
            None => {}
        }
        if self.data.is_empty() { Ok(self) } else { Err(Blocked::DataStays { node, at, disks: self.data }) }
    }

    /// Of a node whose machine goes to a hypervisor that the cluster file does not name any more: it stays.
    fn stranded(domain: &DomainInfo, pool: &str) -> Option<Self> {
        let moving = domain.moving()?;
        Some(Self {
            here: moving.to,
            other: None,
            pool: pool.to_owned(),
            removal: Removal::default(),
            runs: false,
            kept: false,
            data: Vec::new(),
            way: Way::Back,
            obstacle: None,
        })
    }
}

/// What a hypervisor has of nodes that belong to others, without a machine: a run left it that was cut off.
pub fn left_behind(id: &ClusterId, inventory: &Inventory, pool: &str) -> Vec<SharedAction> {
    let mut left: BTreeMap<NodeName, Vec<VolumeName>> = BTreeMap::new();
    let ours = inventory.volumes.iter().filter_map(VolumeInfo::ours).filter(|name| name.belongs_to(id));
    for volume in ours.filter(VolumeName::is_own) {
        let node = volume.owner().map(|(_, node)| node).filter(|node| inventory.elsewhere.contains(node)).cloned();
        let Some(node) = node else { continue };
        if !inventory.domains.iter().any(|domain| domain.uuid == id.uuid(&node)) {
            left.entry(node).or_default().push(volume);
        }
    }
    left.into_iter().map(|(node, volumes)| SharedAction::Clear { node, pool: pool.to_owned(), volumes }).collect()
}

/// The move of a node, if it is on its way: what the inventory has of it, or what its machine says alone.
pub(super) fn of(inventory: &Inventory, name: &NodeName, domain: Option<&DomainInfo>, pool: &str) -> Option<Move> {
    inventory.moves.get(name).cloned().or_else(|| domain.and_then(|domain| Move::stranded(domain, pool)))
}

impl std::fmt::Display for Move {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { here, other, .. } = self;
        match other {
            Some(other) if self.is_back() => write!(f, "comes back from {other}"),
            Some(other) => write!(f, "moves from {other} to {here}"),
            None => write!(f, "stays: {here}, where it was to go, is not in the cluster file"),
        }
    }
}
