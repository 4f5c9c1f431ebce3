//! What machines take of their host.

use std::ops::Add;

use super::{ByHand, making_room};
use crate::config::{ClusterId, Node};
use crate::machine::DomainInfo;

/// CPUs and memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Amount {
    /// Virtual CPUs.
    pub cpus: u64,
    /// Bytes.
    pub memory: u64,
}

impl Add for Amount {
    type Output = Self;

    /// What domains say of themselves may be anything.
    fn add(self, other: Self) -> Self {
        Self { cpus: self.cpus.saturating_add(other.cpus), memory: self.memory.saturating_add(other.memory) }
    }
}

impl Amount {
    /// What a node is to have.
    pub fn of_node(node: &Node) -> Self {
        Self { cpus: node.cpus.into(), memory: node.memory }
    }

    fn of_domain(domain: &DomainInfo) -> Self {
        let resources = domain.resources();
        Self { cpus: resources.cpus.into(), memory: resources.memory }
    }

    fn sum(amounts: impl Iterator<Item = Self>) -> Self {
        amounts.fold(Self::default(), Self::add)
    }
}

/// What machines take of a host together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Load {
    /// The nodes asked for, whether they run or not.
    pub asked: Amount,
    /// What else of this cluster runs.
    pub ours: Amount,
    /// What runs and is not of this cluster.
    pub others: Amount,
}

impl Load {
    /// Of the host with these domains, once the nodes' machines run there.
    pub fn of(id: Option<&ClusterId>, nodes: &[&Node], domains: &[DomainInfo], by_hand: ByHand) -> Self {
        let of_cluster = |info: &&DomainInfo| id.is_some_and(|id| info.mark().is_some_and(|mark| mark.belongs_to(id)));
        let is_asked =
            |info: &DomainInfo| id.is_some_and(|id| nodes.iter().any(|node| id.uuid(&node.name) == info.uuid));
        let making_room = making_room(id, nodes, domains, by_hand);
        let runs = |info: &&DomainInfo| info.state.is_active() && !is_asked(info) && !making_room.contains(&info.uuid);
        let (ours, others): (Vec<_>, Vec<_>) = domains.iter().filter(runs).partition(of_cluster);
        let sum = |domains: Vec<&DomainInfo>| Amount::sum(domains.into_iter().map(Amount::of_domain));
        let asked = Amount::sum(nodes.iter().map(|node| Amount::of_node(node)));
        Self { asked, ours: sum(ours), others: sum(others) }
    }

    /// All of it.
    pub fn all(&self) -> Amount {
        self.asked + self.ours + self.others
    }
}
