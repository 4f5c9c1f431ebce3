//! Which node runs on which of several hypervisors.
//!
//! A machine that is there stays where it is: so nothing that is added to a cluster file moves another node. What is not there
//! yet is divided by the cluster file alone, in its order, evenly within each group. While a hypervisor cannot be asked, a node
//! that is nowhere else may be there; it is placed nowhere then, since two machines of one node would be worse than none.

use std::collections::BTreeSet;

use uuid::Uuid;

use crate::config::{ClusterId, Config, HypervisorName, Node};

/// What is known of a hypervisor, in the cluster file's order.
#[derive(Debug, Clone)]
pub enum Ground {
    /// The UUIDs of all domains there.
    Asked(BTreeSet<Uuid>),
    /// It cannot be asked.
    Away,
}

impl Ground {
    fn has(&self, uuid: Uuid) -> bool {
        matches!(self, Self::Asked(domains) if domains.contains(&uuid))
    }

    fn is_away(&self) -> bool {
        matches!(self, Self::Away)
    }
}

/// Where a node is, or goes; hypervisors by their number in the cluster file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Placement {
    /// There.
    On(usize),
    /// Perhaps at one of those that cannot be asked.
    Unknown,
    /// Every hypervisor of its group has one of its nodes already, and may not have two.
    Crowded,
}

/// Places all nodes, in the cluster file's order. A machine on two hypervisors is that of the one that the node is bound to,
/// else of the first.
pub fn place(config: &Config, id: &ClusterId, grounds: &[Ground]) -> Vec<Placement> {
    let number = |name: &HypervisorName| config.sites.iter().position(|site| site.name == *name);
    let mut placed: Vec<Option<Placement>> = config
        .nodes
        .iter()
        .map(|node| {
            let uuid = id.uuid(&node.name);
            let bound = node.hypervisor.as_ref().and_then(number);
            let there = bound.into_iter().chain(0..grounds.len()).find(|at| grounds[*at].has(uuid));
            match (there, bound) {
                (Some(at), _) => Some(Placement::On(at)),
                // It may have been elsewhere before it was bound.
                (None, Some(_)) if grounds.iter().any(Ground::is_away) => Some(Placement::Unknown),
                (None, bound) => bound.map(Placement::On),
            }
        })
        .collect();
    for (at, node) in config.nodes.iter().enumerate() {
        if placed[at].is_none() {
            placed[at] = Some(find(config, grounds, &placed, node));
        }
    }
    placed.into_iter().flatten().collect()
}

/// The emptiest hypervisor of those that the node may be on.
fn find(config: &Config, grounds: &[Ground], placed: &[Option<Placement>], node: &Node) -> Placement {
    if grounds.iter().any(Ground::is_away) {
        return Placement::Unknown;
    }
    let number = |name: &HypervisorName| config.sites.iter().position(|site| site.name == *name);
    let named: Vec<usize> = node.settings.hypervisors.iter().filter_map(number).collect();
    let candidates = if named.is_empty() { (0..grounds.len()).collect() } else { named };
    let count = |at: usize, counts: &dyn Fn(&Node) -> bool| {
        let there = config.nodes.iter().zip(placed).filter(|(_, place)| **place == Some(Placement::On(at)));
        there.filter(|(other, _)| counts(other)).count()
    };
    let of_group = |other: &Node| other.group == node.group;
    let free = |at: &usize| !node.settings.anti_affinity || count(*at, &of_group) == 0;
    let emptiest =
        candidates.into_iter().filter(free).min_by_key(|at| (count(*at, &of_group), count(*at, &|_| true), *at));
    emptiest.map_or(Placement::Crowded, Placement::On)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::digest::Digest;

    /// Lines of a cluster file behind its `hypervisors`, and what is where: names of nodes by hypervisor, `!` for one that
    /// cannot be asked. Gives what becomes of the nodes.
    fn placed(groups: &str, nodes: &[&str], there: &[&[&str]]) -> String {
        let sites =
            ('a'..).take(there.len()).map(|it| format!("{it}: {{uri: qemu+ssh://{it}/system}}")).collect::<Vec<_>>();
        let entry = |(at, node): (usize, &&str)| {
            let (name, more) = node.split_once(' ').unwrap_or((node, ""));
            let more = if more.is_empty() { String::new() } else { format!(", {more}") };
            format!("{{name: {name}, address: 10.0.0.{}{more}}}", 40 + at)
        };
        let entries: Vec<_> = nodes.iter().enumerate().map(entry).collect();
        let (head, _) = crate::config::INIT.split_once("\nlibvirt:").unwrap();
        let text = format!("{head}\nhypervisors: {{{}}}\n{groups}nodes: [{}]\n", sites.join(", "), entries.join(", "));
        let config = crate::config::parse(std::path::Path::new("/c/nodebake.yaml"), &text).unwrap();
        let id = ClusterId { name: config.cluster.name.clone(), ca: Digest::of(b"ca") };
        let ground = |names: &&[&str]| match names {
            ["!"] => Ground::Away,
            names => Ground::Asked(names.iter().map(|name| id.uuid(&name.parse().unwrap())).collect()),
        };
        let grounds: Vec<_> = there.iter().map(ground).collect();
        let letter = |at: usize| char::from(b'a' + u8::try_from(at).unwrap());
        let shown = place(&config, &id, &grounds).into_iter().map(|placement| match placement {
            Placement::On(at) => letter(at).to_string(),
            Placement::Unknown => "?".to_owned(),
            Placement::Crowded => "-".to_owned(),
        });
        shown.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn nodes_are_divided_evenly_and_stay() {
        let groups = "groups:\n  gpu: {hypervisors: [b, c]}\n  db: {antiAffinity: true}\n";
        for (nodes, there, wanted) in [
            // By the file alone, evenly, each group by itself.
            (&["n1", "n2", "n3", "n4", "n5"][..], &[&[][..], &[], &[]][..], "a b c a b"),
            (&["g1 group: gpu", "g2 group: gpu", "g3 group: gpu", "n1"], &[&[], &[], &[]], "b c b a"),
            // One that names its hypervisor is counted before those that do not.
            (&["n1", "n2 hypervisor: a", "n3"], &[&[], &[]], "b a a"),
            // What is there stays, also where a node more is written before it, or it was bound elsewhere since.
            (&["n0", "n1", "n2"], &[&["n2"], &["n1"]], "a b a"),
            (&["n0", "n1", "n2"], &[&["n1", "n2"], &[]], "b a a"),
            (&["n1 hypervisor: b", "n2"], &[&["n1"], &[]], "a b"),
            // On both: where it is bound to.
            (&["n1 hypervisor: b", "n2"], &[&["n1"], &["n1"]], "b a"),
            // No two of a group on one.
            (&["d1 group: db", "d2 group: db", "n1"], &[&[], &[]], "a b a"),
            (&["d1 group: db", "d2 group: db"], &[&[], &["d1"]], "b a"),
            (&["d0 group: db", "d1 group: db", "d2 group: db"], &[&["d1"], &["d2"], &[]], "c a b"),
            (&["d0 group: db", "d1 hypervisor: b, group: db", "d2 hypervisor: a, group: db"], &[&[], &[]], "- b a"),
            // Where one cannot be asked, only what is known to be elsewhere is known.
            (&["n1", "n2", "n3 hypervisor: b", "n4 hypervisor: a"], &[&["n1"], &["!"]], "a ? ? ?"),
        ] {
            assert_eq!(placed(groups, nodes, there), wanted, "{nodes:?} {there:?}");
        }
    }
}
