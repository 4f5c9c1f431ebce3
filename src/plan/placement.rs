//! Which node runs on which of several hypervisors.
//!
//! A machine that is there stays where it is: so nothing that is added to a cluster file moves another node. What is not there
//! yet is divided by the cluster file alone, in its order, evenly within each group. While a hypervisor cannot be asked, a node
//! that is nowhere else may be there; it is placed nowhere then, since two machines of one node would be worse than none.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::config::{ClusterId, Config, HypervisorName, Node, NodeName};
use crate::machine::{DomainInfo, Moving};

/// What is known of a hypervisor, in the cluster file's order.
#[derive(Debug, Clone)]
pub enum Ground {
    /// The UUIDs of all domains there.
    Asked(BTreeMap<Uuid, Told>),
    /// It cannot be asked.
    Away,
}

/// What a domain says of itself, where it is a machine of the cluster's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Told {
    /// Where its node goes, if it does.
    pub moving: Option<Moving>,
    /// Whether it came up.
    pub came_up: bool,
}

impl Ground {
    /// One with these domains.
    pub fn of(id: &ClusterId, domains: &[DomainInfo]) -> Self {
        let told = |domain: &DomainInfo| {
            let mark = domain.mark().filter(|mark| mark.belongs_to(id));
            mark.map_or_else(Told::default, |mark| Told { moving: domain.moving(), came_up: mark.state.came_up() })
        };
        Self::Asked(domains.iter().map(|domain| (domain.uuid, told(domain))).collect())
    }

    fn has(&self, uuid: Uuid) -> bool {
        matches!(self, Self::Asked(domains) if domains.contains_key(&uuid))
    }

    fn moving(&self, uuid: Uuid) -> Option<&Moving> {
        self.told(uuid)?.moving.as_ref()
    }

    fn told(&self, uuid: Uuid) -> Option<&Told> {
        if let Self::Asked(domains) = self { domains.get(&uuid) } else { None }
    }

    fn is_away(&self) -> bool {
        matches!(self, Self::Away)
    }
}

/// Where a node is, or goes; hypervisors by their number in the cluster file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placement {
    /// There.
    On(usize),
    /// There, and something of it is at another one: it is on its way.
    Moving {
        /// Where it belongs.
        at: usize,
        /// The other one.
        other: usize,
        /// Whether it comes back from there.
        back: bool,
    },
    /// Perhaps at one of those that cannot be asked.
    Unknown,
    /// Every hypervisor of its group has one of its nodes already, and may not have two.
    Crowded,
}

impl Placement {
    /// The hypervisor where the node belongs, if it is known.
    pub fn at(self) -> Option<usize> {
        match self {
            Self::On(at) | Self::Moving { at, .. } => Some(at),
            Self::Unknown | Self::Crowded => None,
        }
    }
}

/// Places all nodes, in the cluster file's order. `asked` says of some where they are to go. A machine on two hypervisors is
/// that of the one that its node is on its way to, else of the one that the node is bound to, else of the first.
pub fn place(
    config: &Config,
    id: &ClusterId,
    grounds: &[Ground],
    asked: &BTreeMap<NodeName, HypervisorName>,
) -> Vec<Placement> {
    let number = |name: &HypervisorName| config.sites.iter().position(|site| site.name == *name);
    let settled = |node: &Node| {
        let (uuid, bound) = (id.uuid(&node.name), node.hypervisor.as_ref().and_then(number));
        if let Some(found) = under_way(grounds, uuid, number) {
            return Some(found);
        }
        let to = asked.get(&node.name).and_then(number);
        let there = bound.into_iter().chain(0..grounds.len()).find(|at| grounds[*at].has(uuid));
        match (there, to.or(bound)) {
            (Some(other), _) if to.is_some_and(|to| to != other) => to.map(|at| match grounds[at] {
                // Two names may lead to one daemon, where a move would remove what it has made.
                Ground::Asked(_) if grounds[at].has(uuid) => Placement::On(at),
                Ground::Asked(_) => Placement::Moving { at, other, back: false },
                Ground::Away => Placement::Unknown,
            }),
            (Some(at), _) => Some(Placement::On(at)),
            // It may have been elsewhere before it was bound.
            (None, Some(_)) if grounds.iter().any(Ground::is_away) => Some(Placement::Unknown),
            (None, wanted) => wanted.map(Placement::On),
        }
    };
    let mut placed: Vec<Option<Placement>> = config.nodes.iter().map(settled).collect();
    for (at, node) in config.nodes.iter().enumerate() {
        if placed[at].is_none() {
            placed[at] = Some(find(config, grounds, &placed, node, None));
        }
    }
    placed.into_iter().flatten().collect()
}

/// Where a node is whose machine says that it is on its way, or comes back. To one that the cluster file does not name any
/// more it does not go, unless that has got another name and has a machine of it; and from one where it came up after all it
/// does not come back.
fn under_way(grounds: &[Ground], uuid: Uuid, number: impl Fn(&HypervisorName) -> Option<usize>) -> Option<Placement> {
    let (from, moving) = grounds.iter().enumerate().find_map(|(at, ground)| Some((at, ground.moving(uuid)?)))?;
    let renamed = || (0..grounds.len()).find(|at| *at != from && grounds[*at].has(uuid));
    Some(match number(&moving.to).filter(|to| *to != from).or_else(renamed) {
        Some(to) if grounds[to].is_away() => Placement::Unknown,
        Some(to) if moving.back && !grounds[to].told(uuid).is_some_and(|told| told.came_up) => {
            Placement::Moving { at: from, other: to, back: true }
        }
        Some(to) => Placement::Moving { at: to, other: from, back: false },
        None if grounds.iter().any(Ground::is_away) => Placement::Unknown,
        None => Placement::On(from),
    })
}

/// Where the machines of one hypervisor go when it is to have none: each to the emptiest of the others that its group may be
/// on, in the cluster file's order.
pub fn evacuation(
    config: &Config,
    id: &ClusterId,
    grounds: &[Ground],
    from: usize,
) -> Result<BTreeMap<NodeName, HypervisorName>, Stuck> {
    let mut placed: Vec<_> = place(config, id, grounds, &BTreeMap::new()).into_iter().map(Some).collect();
    let mut goes = BTreeMap::new();
    for (at, node) in config.nodes.iter().enumerate() {
        match placed[at] {
            Some(Placement::On(there)) if there == from && grounds[from].has(id.uuid(&node.name)) => {}
            // One that is on its way already gets there.
            Some(Placement::Moving { at: to, other, back: false }) if other == from => {
                goes.insert(node.name.clone(), config.sites[to].name.clone());
                continue;
            }
            Some(Placement::Moving { at: to, other, .. }) if to == from => {
                return Err(Stuck::OnItsWay { node: node.name.clone(), other: config.sites[other].name.clone() });
            }
            _ => continue,
        }
        if let Some(bound) = &node.hypervisor {
            return Err(Stuck::Bound { node: node.name.clone(), to: bound.clone() });
        }
        // It is counted where it goes, and no more where it was.
        placed[at] = None;
        let found = find(config, grounds, &placed, node, Some(from));
        let Placement::On(to) = found else { return Err(no_place(config, grounds, node, from)) };
        placed[at] = Some(found);
        goes.insert(node.name.clone(), config.sites[to].name.clone());
    }
    Ok(goes)
}

/// Why none is found for a node that leaves one.
fn no_place(config: &Config, grounds: &[Ground], node: &Node, from: usize) -> Stuck {
    let among = &node.settings.hypervisors;
    let may = |at: &usize| *at != from && (among.is_empty() || among.contains(&config.sites[*at].name));
    let answers = (0..grounds.len()).filter(may).any(|at| !grounds[at].is_away());
    let node = node.name.clone();
    if answers { Stuck::Crowded { node } } else { Stuck::Nowhere { node } }
}

/// Whether the cluster file lets a node go to a hypervisor, which it names.
pub fn check(config: &Config, placements: &[Placement], node: &Node, to: &HypervisorName) -> Result<(), Stuck> {
    let name = node.name.clone();
    if let Some(bound) = node.hypervisor.as_ref().filter(|bound| *bound != to) {
        return Err(Stuck::Bound { node: name, to: bound.clone() });
    }
    let among = &node.settings.hypervisors;
    if node.hypervisor.is_none() && !among.is_empty() && !among.contains(to) {
        return Err(Stuck::Outside { node: name, among: among.clone() });
    }
    let there = |placement: &Placement| placement.at().is_some_and(|at| config.sites[at].name == *to);
    let there: Vec<_> = config.nodes.iter().zip(placements).filter(|(_, at)| there(at)).map(|(node, _)| node).collect();
    let is_there = there.iter().any(|other| other.name == node.name);
    if node.settings.anti_affinity && !is_there && there.iter().any(|other| other.group == node.group) {
        return Err(Stuck::Crowded { node: name });
    }
    Ok(())
}

/// Why a node cannot go from one hypervisor to another.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Stuck {
    /// The cluster file binds it to one.
    #[error("the cluster file binds {node} to {to}")]
    Bound {
        /// The node.
        node: NodeName,
        /// The hypervisor.
        to: HypervisorName,
    },
    /// It is none of those that its group may be on.
    #[error("the cluster file has {node} on {} alone", names(among))]
    Outside {
        /// The node.
        node: NodeName,
        /// Those.
        among: Vec<HypervisorName>,
    },
    /// It is on its way to the one that it shall leave, or comes back to it.
    #[error("{node} is on its way from {other}")]
    OnItsWay {
        /// The node.
        node: NodeName,
        /// The other hypervisor.
        other: HypervisorName,
    },
    /// No other one answers that its group may be on.
    #[error("there is no other hypervisor that answers and that {node} may be on")]
    Nowhere {
        /// The node.
        node: NodeName,
    },
    /// None is left that its group may be on.
    #[error(
        "no hypervisor is left for {node}: of those that answer, each has a node of its group, and may not have two"
    )]
    Crowded {
        /// The node.
        node: NodeName,
    },
}

fn names(names: &[HypervisorName]) -> String {
    names.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

impl Stuck {
    /// What the user can do.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Bound { .. } => {
                "change or remove `hypervisor:` beside the node; `nodebake rebuild NODE` then moves it"
            }
            Self::OnItsWay { .. } => "`nodebake up` brings that to its end",
            Self::Nowhere { .. } => {
                "see which hypervisors answer (`nodebake status`), or let its group be on more of them (`hypervisors:`)"
            }
            Self::Outside { .. } => "add the other one to `hypervisors:` of its group",
            Self::Crowded { .. } => {
                "add a hypervisor to `hypervisors:`, or, where nodes of the group may share one, leave antiAffinity out"
            }
        }
    }
}

/// The emptiest hypervisor of those that the node may be on. A machine that leaves one is known not to be on another, so
/// that the ones which do not answer are only left out.
fn find(
    config: &Config,
    grounds: &[Ground],
    placed: &[Option<Placement>],
    node: &Node,
    leaves: Option<usize>,
) -> Placement {
    if leaves.is_none() && grounds.iter().any(Ground::is_away) {
        return Placement::Unknown;
    }
    let number = |name: &HypervisorName| config.sites.iter().position(|site| site.name == *name);
    let named: Vec<usize> = node.settings.hypervisors.iter().filter_map(number).collect();
    let candidates = if named.is_empty() { (0..grounds.len()).collect() } else { named };
    let count = |at: usize, counts: &dyn Fn(&Node) -> bool| {
        let is_there = |place: &Option<Placement>| place.and_then(Placement::at) == Some(at);
        let there = config.nodes.iter().zip(placed).filter(|(_, place)| is_there(place));
        there.filter(|(other, _)| counts(other)).count()
    };
    let of_group = |other: &Node| other.group == node.group;
    let free = |at: &usize| !node.settings.anti_affinity || count(*at, &of_group) == 0;
    let open = |at: &usize| leaves != Some(*at) && !grounds[*at].is_away();
    let emptiest = candidates.into_iter().filter(open).filter(free);
    let emptiest = emptiest.min_by_key(|at| (count(*at, &of_group), count(*at, &|_| true), *at));
    emptiest.map_or(Placement::Crowded, Placement::On)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::digest::Digest;

    /// A cluster file and what is where.
    struct Field {
        config: Config,
        id: ClusterId,
        grounds: Vec<Ground>,
    }

    /// Lines of a cluster file behind its `hypervisors`, and what is where: names of nodes by hypervisor, `!` for one that
    /// cannot be asked; `n>b` goes to b, `n<b` comes back from there, and `n!` came up.
    fn field(groups: &str, nodes: &[&str], there: &[&[&str]]) -> Field {
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
        let domain = |text: &&str| {
            let (name, to) = text.split_once(['>', '<']).unwrap_or((text, ""));
            let (name, came_up) = name.strip_suffix('!').map_or((name, false), |name| (name, true));
            let moving = to.parse().ok().map(|to| Moving { to, back: text.contains('<'), standing: None });
            (id.uuid(&name.parse().unwrap()), Told { moving, came_up })
        };
        let ground = |names: &&[&str]| match names {
            ["!"] => Ground::Away,
            names => Ground::Asked(names.iter().map(domain).collect()),
        };
        let grounds = there.iter().map(ground).collect();
        Field { config, id, grounds }
    }

    /// What becomes of the nodes; `to` says where some shall go.
    fn placed(field: &Field, to: &[(&str, &str)]) -> String {
        let asked = to.iter().map(|(node, to)| (node.parse().unwrap(), to.parse().unwrap())).collect();
        let letter = |at: usize| char::from(b'a' + u8::try_from(at).unwrap());
        let placements = place(&field.config, &field.id, &field.grounds, &asked);
        let shown = placements.into_iter().map(|placement| match placement {
            Placement::On(at) => letter(at).to_string(),
            Placement::Moving { at, other, back } => {
                format!("{}{}{}", letter(other), if back { "<-" } else { "->" }, letter(at))
            }
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
            assert_eq!(placed(&field(groups, nodes, there), &[]), wanted, "{nodes:?} {there:?}");
        }
    }

    #[test]
    fn a_node_on_its_way_is_where_its_machine_says() {
        let nodes = &["n1", "n2", "n3 hypervisor: a"];
        for (there, to, wanted) in [
            (&[&["n1", "n2", "n3"][..], &[]][..], &[("n1", "b"), ("n2", "a")][..], "a->b a a"),
            // What is nowhere is made there.
            (&[&["n3"], &[]], &[("n1", "b"), ("n2", "b")], "b b a"),
            // What was begun goes on, whatever is asked for; its new machine may be there already.
            (&[&["n1>b", "n2", "n3>b"], &[]], &[("n1", "a")], "a->b a a->b"),
            (&[&["n1>b", "n2", "n3"], &["n1"]], &[], "a->b a a"),
            (&[&["n1<b", "n2", "n3"], &["n1"]], &[], "b<-a a a"),
            // What is at both already goes nowhere.
            (&[&["n1", "n2", "n3"], &["n1"]], &[("n1", "b")], "b a a"),
            // While the other one cannot be asked, nobody knows what runs there.
            (&[&["n1>b", "n2<b", "n3"], &["!"]], &[], "? ? a"),
            (&[&["!"], &["n1", "n2", "n3"]], &[("n1", "a"), ("n2", "b")], "? b b"),
            // One that the cluster file does not name any more cannot be gone to.
            (&[&["n1>x", "n2<x", "n3"], &[]], &[], "a a a"),
            // One that has another name since is known by the machine there; as long as one is away, it may be that.
            (&[&["n1>x", "n2<x", "n3"], &["n1", "n2"]], &[], "a->b b<-a a"),
            (&[&["n1>x", "n2", "n3"], &["!"]], &[], "? a a"),
            // What came up after all is not come back from.
            (&[&["n1<b", "n2", "n3"], &["n1!"]], &[], "a->b a a"),
        ] {
            assert_eq!(placed(&field("", nodes, there), to), wanted, "{there:?} {to:?}");
        }
    }

    #[test]
    fn a_hypervisor_is_left_for_the_emptiest_of_the_others() {
        let groups = "groups:\n  gpu: {hypervisors: [a, b]}\n  db: {antiAffinity: true}\n";
        let bound = |node: &str| Err(Stuck::Bound { node: node.parse().unwrap(), to: "a".parse().unwrap() });
        let crowded = |node: &str| Err(Stuck::Crowded { node: node.parse().unwrap() });
        for (nodes, there, wanted) in [
            (&["n1", "n2", "n3", "n4"][..], &[&["n1", "n2"][..], &["n3"], &["n4"]][..], Ok("n1 b, n2 c")),
            (&["n1", "n2", "n3"], &[&["n1", "n2"], &["n3"], &[]], Ok("n1 c, n2 b")),
            (&["g1 group: gpu", "g2 group: gpu"], &[&["g1", "g2"], &[], &[]], Ok("g1 b, g2 b")),
            // Of one that has no machine yet there is nothing to leave.
            (&["n1", "n2"], &[&[], &["n2"], &[]], Ok("")),
            // One that does not answer is left out; one that is on its way goes on.
            (&["n1", "n2"], &[&["n1", "n2>c"], &["!"], &[]], Ok("n1 c, n2 c")),
            (&["n1 hypervisor: a"], &[&["n1"], &[]], bound("n1")),
            (&["n1"], &[&["n1"], &["!"]], Err(Stuck::Nowhere { node: "n1".parse().unwrap() })),
            (
                &["n1"],
                &[&["n1<b"], &[]],
                Err(Stuck::OnItsWay { node: "n1".parse().unwrap(), other: "b".parse().unwrap() }),
            ),
            (&["d1 group: db", "d2 group: db"], &[&["d1"], &["d2"]], crowded("d1")),
            (&["d1 group: db", "d2 group: db"], &[&["d1"], &["d2"], &[]], Ok("d1 c")),
        ] {
            let field = field(groups, nodes, there);
            let found = evacuation(&field.config, &field.id, &field.grounds, 0);
            let shown =
                found.map(|goes| goes.iter().map(|(node, to)| format!("{node} {to}")).collect::<Vec<_>>().join(", "));
            assert_eq!(shown, wanted.map(str::to_owned), "{nodes:?} {there:?}");
        }
    }

    #[test]
    fn a_node_goes_only_where_the_cluster_file_lets_it() {
        let groups = "groups:\n  gpu: {hypervisors: [a, b]}\n  db: {antiAffinity: true}\n";
        let nodes = &["n1", "n2 hypervisor: a", "g1 group: gpu", "d1 group: db", "d2 group: db"];
        let field = field(groups, nodes, &[&["n1", "n2", "g1", "d1"], &["d2"], &[]]);
        let placements = place(&field.config, &field.id, &field.grounds, &BTreeMap::new());
        let allowed = |node: &str, to: &str| {
            let node = field.config.nodes.iter().find(|it| it.name.to_string() == node).unwrap();
            check(&field.config, &placements, node, &to.parse().unwrap()).map_err(|stuck| match stuck {
                Stuck::Bound { .. } => "bound",
                Stuck::Outside { .. } => "outside",
                Stuck::Crowded { .. } => "crowded",
                Stuck::OnItsWay { .. } | Stuck::Nowhere { .. } => "another",
            })
        };
        for (node, to, wanted) in [
            ("n1", "b", Ok(())),
            ("n2", "a", Ok(())),
            ("n2", "b", Err("bound")),
            ("g1", "b", Ok(())),
            ("g1", "c", Err("outside")),
            ("d1", "a", Ok(())),
            ("d1", "b", Err("crowded")),
            ("d1", "c", Ok(())),
        ] {
            assert_eq!(allowed(node, to), wanted, "{node} to {to}");
        }
    }
}
