//! The hypervisors of the cluster file, and which of its nodes are on which.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Session;
use super::status::Answers;
use crate::cluster::Nodes;
use crate::config::{ClusterId, Config, HypervisorName, Node, NodeName, Site};
use crate::doctor::Begun;
use crate::error::{Error, chain};
use crate::machine::{self, DomainInfo, Hypervisor, MachineError, VolumeInfo, VolumeName};
use crate::plan::{self, Blocked, Ground, Inventory, Move, Obstacle, Placement, SharedAction, Way, place};

/// How long a hypervisor among several may take to answer; the others are not held up by it any longer.
const LIMIT: Duration = Duration::from_secs(20);

/// A hypervisor that answers.
pub(super) struct Member {
    /// What the cluster file calls it, where there are several.
    pub(super) name: Option<HypervisorName>,
    /// The cluster file as it is for the nodes there.
    pub(super) config: Config,
    pub(super) hypervisor: Arc<dyn Hypervisor>,
    /// Its domains as it told them when it was asked; the only one there is tells them later.
    pub(super) domains: Vec<DomainInfo>,
}

impl Member {
    /// Those of some nodes that are there.
    pub(super) fn of<'n>(&self, nodes: &[&'n Node]) -> Vec<&'n Node> {
        nodes.iter().filter(|node| self.has(&node.name)).copied().collect()
    }

    pub(super) fn has(&self, name: &NodeName) -> bool {
        self.config.nodes.iter().any(|node| node.name == *name)
    }

    /// Why its nodes cannot be reached by those of other hypervisors, as far as libvirt knows: a network that it translates for,
    /// or that leads nowhere.
    fn network_apart(&self) -> Result<Option<String>, MachineError> {
        let network = &self.config.network;
        if network.bridge.is_some() {
            return Ok(None);
        }
        let name = &network.name;
        Ok(match self.hypervisor.network(name)?.map(|network| network.forward) {
            None => Some(format!("network {name} is not there, and would be made with NAT")),
            Some(None) => Some(format!("network {name} leads nowhere")),
            Some(Some(mode)) if mode == "nat" => Some(format!("network {name} is behind NAT")),
            Some(Some(_)) => None,
        })
    }

    /// Whether its pool and another one's are one folder: a machine's own file, which no other folder has, was last written
    /// there neither before nor after it was here. What a run that was cut off left of that name was written at another time.
    fn shares_pool(&self, other: &Self) -> Result<bool, MachineError> {
        let before = self.own_files()?;
        if before.is_empty() {
            return Ok(false);
        }
        let there = other.own_files()?;
        if !before.keys().any(|name| there.contains_key(name)) {
            return Ok(false);
        }
        // It may be written all the time.
        let after = self.own_files()?;
        Ok(there.iter().any(|(name, time)| {
            before.get(name).is_some_and(|before| before <= time) && after.get(name).is_some_and(|after| time <= after)
        }))
    }

    /// Disks and seeds in its pool, and when they were written.
    fn own_files(&self) -> Result<BTreeMap<String, jiff::Timestamp>, MachineError> {
        let (hypervisor, pool) = (&self.hypervisor, &self.config.libvirt.pool);
        if hypervisor.pool(pool)?.is_none_or(|pool| !pool.active) {
            return Ok(BTreeMap::new());
        }
        let mut files = hypervisor.written(pool)?;
        files.retain(|name, _| name.parse::<VolumeName>().is_ok_and(|name| name.is_own()));
        Ok(files)
    }

    /// ` at host-a`, where there are several.
    pub(super) fn at(&self) -> String {
        self.name.as_ref().map(|name| format!(" at {name}")).unwrap_or_default()
    }
}

/// A hypervisor that does not answer, and why.
pub(super) struct Away {
    pub(super) name: HypervisorName,
    pub(super) uri: String,
    error: Option<MachineError>,
}

impl Away {
    /// One that did not answer in time.
    pub(super) fn silent(name: HypervisorName, uri: String) -> Self {
        Self { name, uri, error: None }
    }

    pub(super) fn why(&self) -> String {
        match &self.error {
            Some(error) => chain(error),
            None => format!("libvirt at {} did not answer in {} s", self.uri, LIMIT.as_secs()),
        }
    }
}

/// All hypervisors of the cluster file.
pub(super) struct Fleet {
    pub(super) members: Vec<Member>,
    pub(super) away: Vec<Away>,
    /// Nodes that may have their machines on one of those that do not answer.
    pub(super) unknown: Vec<NodeName>,
    /// Nodes whose group has no hypervisor left for them.
    pub(super) crowded: Vec<NodeName>,
    /// Nodes that are on their way.
    pub(super) journeys: Vec<Journey>,
}

/// A node on its way: it is among those of the hypervisor where it belongs, and has something at another one.
pub(super) struct Journey {
    node: NodeName,
    /// The other one.
    other: HypervisorName,
    /// Whether it comes back from there.
    back: bool,
}

/// What nodes on their way have at others.
pub(super) type Moves = BTreeMap<NodeName, Move>;

/// Where nodes are asked to go.
pub(super) type Goes = BTreeMap<NodeName, HypervisorName>;

impl Fleet {
    /// Asks all of them at the same time. The only one there is must answer; of several, one.
    pub(super) fn open(session: &Session) -> Result<Self, Error> {
        Self::open_for(session, |_| Ok(Goes::new()))
    }

    /// The same, where nodes are to go from one to another: `goes` says which, once it is known what is where.
    pub(super) fn open_for(
        session: &Session,
        goes: impl FnOnce(&[Ground]) -> Result<Goes, Error>,
    ) -> Result<Self, Error> {
        let config = &session.config;
        if config.sites.is_empty() {
            goes(&[])?;
            let hypervisor = machine::open(&config.libvirt.uri)?.into();
            let member = Member { name: None, config: config.clone(), hypervisor, domains: Vec::new() };
            let (away, unknown, crowded, journeys) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
            return Ok(Self { members: vec![member], away, unknown, crowded, journeys });
        }
        let id = session.cluster_id()?;
        let end = Instant::now() + LIMIT;
        let asked: Vec<_> = config.sites.iter().map(ask).collect();
        let answers: Vec<_> = asked.iter().map(|asked| asked.by(end)).collect();
        let ground = |answer: &Option<Answer>| match answer {
            Some(Ok((_, domains))) => Ground::of(&id, domains),
            _ => Ground::Away,
        };
        let grounds: Vec<_> = answers.iter().map(ground).collect();
        let placements = place(config, &id, &grounds, &goes(&grounds)?);
        let (mut members, mut away) = (Vec::new(), Vec::new());
        for (at, (site, answer)) in config.sites.iter().zip(answers).enumerate() {
            let nodes = config.nodes.iter().zip(&placements).filter(|(_, it)| it.at() == Some(at));
            let nodes: Vec<_> = nodes.map(|(node, _)| node).collect();
            let (name, uri) = (site.name.clone(), site.libvirt.uri.clone());
            match answer {
                Some(Ok((hypervisor, domains))) => {
                    members.push(Member { name: Some(name), config: config.at(site, &nodes), hypervisor, domains });
                }
                Some(Err(error)) => away.push(Away { name, uri, error: Some(error) }),
                None => away.push(Away::silent(name, uri)),
            }
        }
        let named = |which: &dyn Fn(&Placement) -> bool| {
            let nodes = config.nodes.iter().zip(&placements).filter(|(_, placement)| which(placement));
            nodes.map(|(node, _)| node.name.clone()).collect()
        };
        let unknown = named(&|placement| *placement == Placement::Unknown);
        let crowded = named(&|placement| *placement == Placement::Crowded);
        let journey = |(node, placement): (&Node, &Placement)| match *placement {
            Placement::Moving { other, back, .. } => {
                Some(Journey { node: node.name.clone(), other: config.sites[other].name.clone(), back })
            }
            _ => None,
        };
        let journeys = config.nodes.iter().zip(&placements).filter_map(journey).collect();
        let fleet = Self { members, away, unknown, crowded, journeys };
        if fleet.members.is_empty() { Err(fleet.silence(&[])) } else { Ok(fleet) }
    }

    /// What is there at one of them, and what those of its nodes that are on their way have at others.
    pub(super) fn inventory(&self, id: &ClusterId, member: &Member, known: Option<Nodes>) -> Result<Inventory, Error> {
        let moves = self.moves(id, member, known.as_ref())?;
        self.inventory_with(id, member, known, moves)
    }

    /// The same, where it is known what is at others.
    pub(super) fn inventory_with(
        &self,
        id: &ClusterId,
        member: &Member,
        known: Option<Nodes>,
        moves: Moves,
    ) -> Result<Inventory, Error> {
        let inventory = Inventory::read(&member.config, &*member.hypervisor, known)?;
        let (site, elsewhere) = (member.name.clone(), self.elsewhere(member));
        let mut inventory = Inventory { site, moves, elsewhere, ..inventory };
        // Where two have one pool, what is there is the other one's.
        for other in self.members.iter().filter(|other| other.name != member.name) {
            let left = plan::left_behind(id, &inventory, &member.config.libvirt.pool);
            let theirs = |action: &SharedAction| matches!(action, SharedAction::Clear { node, .. } if other.has(node));
            if left.iter().any(theirs) && member.shares_pool(other)? {
                inventory.elsewhere.retain(|node| !other.has(node));
            }
        }
        Ok(inventory)
    }

    /// Nodes that belong to others, and have nothing to do with this one.
    fn elsewhere(&self, member: &Member) -> BTreeSet<NodeName> {
        let others = self.members.iter().filter(|other| other.name != member.name);
        let leaves = |name: &NodeName| {
            self.journeys.iter().any(|it| it.node == *name && Some(&it.other) == member.name.as_ref())
        };
        let names = others.flat_map(|other| &other.config.nodes).map(|node| node.name.clone());
        names.filter(|name| !leaves(name)).collect()
    }

    /// What those nodes of one hypervisor that are on their way have at others.
    pub(super) fn moves(&self, id: &ClusterId, member: &Member, known: Option<&Nodes>) -> Result<Moves, Error> {
        let mut read: BTreeMap<&HypervisorName, Inventory> = BTreeMap::new();
        let mut moves = BTreeMap::new();
        for Journey { node, other, back } in &self.journeys {
            let node = member.config.nodes.iter().find(|it| it.name == *node);
            let left = self.members.iter().find(|member| member.name.as_ref() == Some(other));
            let (Some(node), Some(left), Some(here)) = (node, left, &member.name) else { continue };
            let there = match read.entry(other) {
                Entry::Occupied(read) => read.into_mut(),
                Entry::Vacant(empty) => empty.insert(Inventory::read(&left.config, &*left.hypervisor, known.cloned())?),
            };
            if let Some(mut found) = Move::of(id, node, here, (other, &left.config, there), *back) {
                if found.way == Way::Asked && member.shares_pool(left)? {
                    found.obstacle = Some(Obstacle::SharedPool);
                }
                moves.insert(node.name.clone(), found);
            }
        }
        Ok(moves)
    }

    /// Fails where one of the nodes is on its way, and its machines are thus not to be touched one by one.
    pub(super) fn check_settled(&self, nodes: &[&Node]) -> Result<(), Error> {
        let on_its_way = |journey: &&Journey| nodes.iter().any(|node| node.name == journey.node);
        match self.journeys.iter().find(on_its_way) {
            Some(journey) => Err(Blocked::OnItsWay { node: journey.node.clone(), other: journey.other.clone() }.into()),
            None => Ok(()),
        }
    }

    /// Fails where this one does not.
    pub(super) fn check_answers(&self, name: &HypervisorName) -> Result<(), Error> {
        match self.away.iter().find(|away| away.name == *name) {
            Some(away) => Err(Error::Away { away: vec![(away.name.clone(), away.why())], nodes: Vec::new() }),
            None => Ok(()),
        }
    }

    /// Fails where one still has anything of the cluster that a hypervisor without nodes has not.
    pub(super) fn check_left(&self, id: &ClusterId, name: &HypervisorName) -> Result<(), Error> {
        let Some(member) = self.members.iter().find(|member| member.name.as_ref() == Some(name)) else { return Ok(()) };
        let (hypervisor, pool) = (&member.hypervisor, &member.config.libvirt.pool);
        let ours = |domain: &DomainInfo| domain.mark().is_some_and(|mark| mark.belongs_to(id));
        let domains = hypervisor.domains()?.into_iter().filter(ours);
        let mut left: Vec<_> = domains.map(|domain| format!("the machine of {}", domain.name)).collect();
        if hypervisor.pool(pool)?.is_some_and(|pool| pool.active) {
            hypervisor.refresh_pool(pool)?;
            let volumes = hypervisor.volumes(pool)?;
            let own = volumes.iter().filter_map(VolumeInfo::ours).filter(|name| name.is_own() && name.belongs_to(id));
            left.extend(own.map(|name| name.to_string()));
        }
        if left.is_empty() { Ok(()) } else { Err(Error::StillThere { hypervisor: name.clone(), left }) }
    }

    /// Fails where one has no machine of these nodes.
    pub(super) fn check_there(&self, id: &ClusterId, nodes: &[&Node], to: &HypervisorName) -> Result<(), Error> {
        let Some(member) = self.members.iter().find(|member| member.name.as_ref() == Some(to)) else { return Ok(()) };
        let domains = member.hypervisor.domains()?;
        let gone = |node: &&&Node| !domains.iter().any(|domain| domain.uuid == id.uuid(&node.name));
        let nodes: Vec<_> = nodes.iter().filter(gone).map(|node| node.name.clone()).collect();
        if nodes.is_empty() { Ok(()) } else { Err(Error::NotThere { nodes, to: to.clone() }) }
    }

    /// All that have names.
    pub(super) fn named(&self) -> Vec<(HypervisorName, &dyn Hypervisor)> {
        self.members.iter().filter_map(|member| Some((member.name.clone()?, &*member.hypervisor))).collect()
    }

    /// The one that a node is on, which the cluster file may name no more.
    pub(super) fn of(&self, session: &Session, name: &NodeName) -> Result<&Member, Error> {
        if let Some(member) = self.members.iter().find(|member| member.has(name) || member.name.is_none()) {
            return Ok(member);
        }
        if let [node] = session.nodes(std::slice::from_ref(name)).unwrap_or_default().as_slice() {
            return Err(self.end(&[node]).err().unwrap_or_else(|| self.silence(&[])));
        }
        let uuid = session.cluster_id()?.uuid(name);
        for member in &self.members {
            if member.hypervisor.domain(uuid)?.is_some() {
                return Ok(member);
            }
        }
        Err(session.unknown(name))
    }

    /// Where there are several, their names, and whether each answers.
    pub(super) fn names(&self) -> BTreeMap<String, Answers> {
        let members = self.members.iter().filter_map(|member| member.name.as_ref());
        let members = members.map(|name| (name.to_string(), Answers { answers: true, why: None }));
        let away =
            self.away.iter().map(|away| (away.name.to_string(), Answers { answers: false, why: Some(away.why()) }));
        members.chain(away).collect()
    }

    /// Says what cannot be reached, before other work begins.
    pub(super) fn tell(&self, session: &Session) {
        for away in &self.away {
            session.ui.warn(&format!("hypervisor {}: {}", away.name, away.why()));
        }
    }

    /// Fails where one of the nodes could not be seen to, after all others were.
    pub(super) fn end(&self, nodes: &[&Node]) -> Result<(), Error> {
        let those = |names: &[NodeName]| {
            let names = names.iter().filter(|name| nodes.iter().any(|node| node.name == **name));
            names.cloned().collect::<Vec<_>>()
        };
        let (unknown, crowded) = (those(&self.unknown), those(&self.crowded));
        if !crowded.is_empty() {
            return Err(Error::Crowded { nodes: crowded });
        }
        if unknown.is_empty() { Ok(()) } else { Err(self.silence(&unknown)) }
    }

    /// Fails where nodes are on networks of several hypervisors that do not meet by themselves, and nobody says that they do.
    pub(super) fn check_networks(&self, session: &Session) -> Result<(), Error> {
        // One that is being left has nodes until it is.
        let left = |member: &Member| self.journeys.iter().any(|it| Some(&it.other) == member.name.as_ref());
        let busy = || self.members.iter().filter(|member| !member.config.nodes.is_empty() || left(member));
        if session.config.network.apart || busy().count() < 2 {
            return Ok(());
        }
        let mut apart = Vec::new();
        for member in busy() {
            if let (Some(name), Some(why)) = (&member.name, member.network_apart()?) {
                apart.push((name.clone(), why));
            }
        }
        if apart.is_empty() { Ok(()) } else { Err(Error::Apart { networks: apart }) }
    }

    fn silence(&self, nodes: &[NodeName]) -> Error {
        let away = self.away.iter().map(|away| (away.name.clone(), away.why())).collect();
        Error::Away { away, nodes: nodes.to_vec() }
    }
}

/// Gives a table, whose first row are its heads, a column more: of which hypervisor each line is.
pub(super) fn insert_hypervisors(rows: &mut [Vec<String>], at: usize, cells: impl Iterator<Item = String>) {
    for (row, cell) in rows.iter_mut().zip(std::iter::once("HYPERVISOR".to_owned()).chain(cells)) {
        row.insert(at, cell);
    }
}

/// A hypervisor in a column.
pub(super) fn cell(hypervisor: Option<&HypervisorName>) -> String {
    hypervisor.map_or_else(|| "-".to_owned(), ToString::to_string)
}

/// What a hypervisor answers: itself, and its domains.
type Answer = Result<(Arc<dyn Hypervisor>, Vec<DomainInfo>), MachineError>;

fn ask(site: &Site) -> Begun<Answer> {
    let uri = site.libvirt.uri.clone();
    Begun::new(move || {
        let hypervisor: Arc<dyn Hypervisor> = machine::open(&uri)?.into();
        let domains = hypervisor.domains()?;
        Ok((hypervisor, domains))
    })
}
