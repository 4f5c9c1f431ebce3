//! What several hosts must have in common, or have for each other: judged from what each told.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use super::clocks::{self, APART, Clock};
use super::finding::{Check, Finding, listed, or_ok, size};
use super::storage::{self, SEED, UNCOUNTED};
use super::{Case, Files, Heard, Host, NO_CA};
use crate::cluster::NodeStatus;
use crate::config::{Arch, ClusterId, Config, HypervisorName, Node, NodeName};
use crate::error::chain;
use crate::machine::{CpuModel, Hypervisor, InterfaceInfo, MachineError, MarkState, VirtType};
use crate::plan::{Images, Inventory, Load};

/// Most features of a CPU that are named.
const NAMED: usize = 5;
const KEEP: &str = "keep the nodes where they are (`hypervisor:` in the cluster file), or have hosts with the same CPU, \
                    microcode and QEMU";

/// What is asked of a host only where there are others.
#[derive(Debug)]
pub(super) struct Seen {
    /// The bridge that its nodes are on.
    pub(super) bridge: Option<Result<Option<InterfaceInfo>, MachineError>>,
    pub(super) clock: Clock,
}

impl Seen {
    /// `begin` is when the host was first asked for anything.
    pub(super) fn ask(config: &Config, hypervisor: &dyn Hypervisor, inventory: &Inventory, begin: Instant) -> Self {
        let bridge = config.network.bridge.as_ref().map(|name| hypervisor.interface(name));
        Self { bridge, clock: Clock::ask(hypervisor, inventory, begin) }
    }
}

/// A host that answered.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) name: &'a HypervisorName,
    pub(super) id: Option<&'a ClusterId>,
    /// The cluster file as it is there, with all nodes that are there or are to be.
    pub(super) config: &'a Config,
    pub(super) host: &'a Host,
    pub(super) seen: &'a Seen,
}

impl Place<'_> {
    /// What the cluster knows of a node whose machine runs there.
    pub(super) fn running(&self, node: &Node) -> Option<&NodeStatus> {
        let known = self.host.inventory.nodes.as_ref()?.get(&node.name.to_string())?;
        self.host.runs(self.id?, node).then_some(known)
    }
}

/// Compares the hosts; nothing is found where fewer than two answered. Every hypervisor comes with the cluster file as
/// it is there.
pub(super) fn judge(case: Case, parts: &[(&HypervisorName, &Config, &Heard)], files: &Files) -> Vec<Finding> {
    let places: Vec<_> = parts.iter().filter_map(|(name, config, heard)| as_place(case, name, config, heard)).collect();
    if places.len() < 2 {
        return Vec::new();
    }
    let is_silent = |name: &HypervisorName| places.iter().all(|place| place.name != name);
    let silent: Vec<_> = parts.iter().map(|(name, _, _)| *name).filter(|name| is_silent(name)).collect();
    let now = case.now.as_second();
    let mut findings = cpu_features(&places);
    findings.extend(bridges(&places));
    findings.extend(joined(&places, now));
    findings.extend(clocks::host_clocks(&places, now));
    findings.extend(match &files.images {
        Some(images) => spare(case, &places, &silent, images),
        None => vec![Finding::skipped(Check::Spare, "lock and CA must be right first")],
    });
    findings
}

fn as_place<'a>(case: Case<'a>, name: &'a HypervisorName, config: &'a Config, heard: &'a Heard) -> Option<Place<'a>> {
    let Some(Ok(host)) = heard else { return None };
    Some(Place { name, id: case.id, config, host, seen: host.seen.as_ref()? })
}

/// Whether a node sees the same CPU wherever it is made: with hardware virtualisation it has that of its host.
fn cpu_features(places: &[Place]) -> Vec<Finding> {
    let architectures: BTreeSet<Arch> =
        places.iter().flat_map(|place| place.host.capabilities.keys()).copied().collect();
    architectures.into_iter().flat_map(|arch| cpu_features_of(arch, places)).collect()
}

fn cpu_features_of(arch: Arch, places: &[Place]) -> Vec<Finding> {
    let able = places.iter().filter_map(|place| {
        let able = place.host.capabilities.get(&arch)?.as_ref().ok()?;
        let virt = able.virt_type(place.config.libvirt.acceleration).ok()?;
        Some((place.name, virt, able.cpu.as_ref()))
    });
    let (emulated, real): (Vec<_>, Vec<_>) = able.partition(|(_, virt, _)| *virt == VirtType::Qemu);
    let names = |of: &[(&HypervisorName, VirtType, Option<&CpuModel>)]| listed(of.iter().map(|(name, _, _)| *name));
    if emulated.len() + real.len() < 2 {
        let why = format!("fewer than two hypervisors can run {arch} guests as the cluster file asks for it");
        return vec![Finding::skipped(Check::CpuFeatures, why)];
    }
    if real.is_empty() {
        let names = names(&emulated);
        let found = format!("{arch} guests are emulated at {names}: nothing of the hosts' CPUs matters to them");
        return vec![Finding::ok(Check::CpuFeatures, found)];
    }
    let mut findings = Vec::new();
    if !emulated.is_empty() {
        let (emulated, real) = (names(&emulated), names(&real));
        let found = format!(
            "{arch} guests are emulated at {emulated} and have the host's own CPU at {real}: a node that is rebuilt \
             elsewhere sees another CPU"
        );
        findings.push(Finding::warning(Check::CpuFeatures, found, KEEP));
    }
    let unseen: Vec<_> = real.iter().filter(|(_, _, cpu)| cpu.is_none()).copied().collect();
    if !unseen.is_empty() {
        let why = format!("libvirt does not tell which CPU {arch} guests have at {}", names(&unseen));
        findings.push(Finding::skipped(Check::CpuFeatures, why));
    }
    let mut models: BTreeMap<&str, Vec<(&HypervisorName, &CpuModel)>> = BTreeMap::new();
    for (name, cpu) in real.iter().filter_map(|(name, _, cpu)| Some((*name, (*cpu)?))) {
        models.entry(&cpu.name).or_default().push((name, cpu));
    }
    findings.extend(compare_models(arch, &models));
    let same = || {
        let model = models.keys().next().copied().unwrap_or_default();
        format!("{arch} guests have a CPU of the model {model} with the same features at {}", names(&real))
    };
    or_ok(findings, Check::CpuFeatures, same)
}

/// How CPUs differ, by the names of their models. What belongs to one model and not to another libvirt does not tell,
/// so that features are compared within a model alone.
fn compare_models(arch: Arch, models: &BTreeMap<&str, Vec<(&HypervisorName, &CpuModel)>>) -> Vec<Finding> {
    let mut findings = Vec::new();
    if models.len() > 1 {
        let at = |(model, cpus): (&&str, &Vec<(&HypervisorName, &CpuModel)>)| {
            format!("{model} at {}", listed(cpus.iter().map(|(name, _)| *name)))
        };
        let models = listed(models.iter().map(at));
        let found =
            format!("CPUs of {arch} guests are of the models {models}: a node that is rebuilt elsewhere sees another");
        findings.push(Finding::warning(Check::CpuFeatures, found, KEEP));
    }
    for cpus in models.values() {
        findings.extend(cpus.iter().filter_map(|(name, cpu)| lacking(arch, name, cpu, cpus)));
    }
    findings
}

/// What a host's CPU lacks of those of the same model at others.
fn lacking(arch: Arch, name: &HypervisorName, cpu: &CpuModel, all: &[(&HypervisorName, &CpuModel)]) -> Option<Finding> {
    let lacks = |other: &CpuModel| -> BTreeSet<String> {
        let gone = cpu.less.difference(&other.less);
        other.more.difference(&cpu.more).chain(gone).cloned().collect()
    };
    let others: Vec<_> = all.iter().map(|(other, cpu)| (*other, lacks(cpu))).filter(|(_, it)| !it.is_empty()).collect();
    let (others, lacks): (Vec<&HypervisorName>, Vec<_>) = others.into_iter().unzip();
    let lacks: BTreeSet<_> = lacks.into_iter().flatten().collect();
    if lacks.is_empty() {
        return None;
    }
    let mut named: Vec<_> = lacks.iter().take(NAMED).cloned().collect();
    if lacks.len() > NAMED {
        named.push(format!("{} more", lacks.len() - NAMED));
    }
    let found = format!(
        "the CPU of {arch} guests at {name} lacks {}, which it has at {}: a node that is rebuilt \
         elsewhere sees another",
        listed(named),
        listed(others)
    );
    Some(Finding::warning(Check::CpuFeatures, found, KEEP))
}

/// Whether the bridges that nodes are on are there, have a link, and let packets of one size pass. Nothing is found
/// where no host's nodes are on one.
fn bridges(places: &[Place]) -> Vec<Finding> {
    let seen = places.iter().filter_map(|place| {
        let name = place.config.network.bridge.as_ref()?;
        Some((format!("{name} at {}", place.name), place.seen.bridge.as_ref()?))
    });
    let seen: Vec<_> = seen.collect();
    if seen.is_empty() {
        return Vec::new();
    }
    let mut findings: Vec<_> = seen.iter().filter_map(|(bridge, seen)| bridge_trouble(bridge, seen)).collect();
    let mtus = seen.iter().filter_map(|(bridge, seen)| Some((bridge, seen.as_ref().ok()?.as_ref()?.mtu?)));
    let mtus: Vec<_> = mtus.collect();
    let sizes: BTreeSet<_> = mtus.iter().map(|(_, mtu)| *mtu).collect();
    if sizes.len() > 1 {
        let found = format!(
            "the bridges let packets of different sizes pass, so that large ones are lost between nodes: {}",
            listed(mtus.iter().map(|(bridge, mtu)| format!("{mtu} bytes by {bridge}")))
        );
        findings.push(Finding::warning(Check::Bridges, found, "give the bridges and their ports the same MTU"));
    }
    let fine = || {
        let names = listed(seen.iter().map(|(bridge, _)| bridge));
        let mtu = if mtus.len() == seen.len() { sizes.first() } else { None };
        let mtu = mtu.map_or_else(|| ", MTU not known".to_owned(), |mtu| format!(", MTU {mtu}"));
        format!("{names} are up{mtu}; whether they are one network only nodes can tell")
    };
    or_ok(findings, Check::Bridges, fine)
}

fn bridge_trouble(bridge: &str, seen: &Result<Option<InterfaceInfo>, MachineError>) -> Option<Finding> {
    match seen {
        Err(error) => {
            Some(Finding::skipped(Check::Bridges, format!("bridge {bridge} cannot be looked at: {}", chain(error))))
        }
        Ok(None) => {
            let found = format!("libvirt sees no bridge {bridge}: no node can be started on it");
            let fix =
                "make the bridge on that host, or name another one in the cluster file (`bridge:` of the hypervisor)";
            Some(Finding::warning(Check::Bridges, found, fix))
        }
        Ok(Some(interface)) if !interface.active => {
            let found = format!("bridge {bridge} is down, or nothing with a link is plugged into it");
            Some(Finding::warning(Check::Bridges, found, "bring it up on that host, with a card in it: ip link show"))
        }
        Ok(Some(_)) => None,
    }
}

/// Whether the network joins the hosts: what shows it is a node there that the apiserver hears.
fn joined(places: &[Place], now: i64) -> Vec<Finding> {
    let skipped = |why: &str| vec![Finding::skipped(Check::Joined, why)];
    if places.iter().any(|place| place.id.is_none()) {
        return skipped(NO_CA);
    }
    if places.iter().any(|place| place.host.inventory.nodes.is_none()) {
        return skipped("the cluster cannot be asked which nodes it hears");
    }
    let reached: Vec<_> = places.iter().filter_map(|place| Some((place.name, heard(place, now)?))).collect();
    let others = places.iter().filter(|place| heard(place, now).is_none());
    let (gone, unknown): (Vec<_>, Vec<_>) = others.partition(|place| !reached.is_empty() && lost(place, now).is_some());
    let through = listed(reached.iter().map(|(name, node)| format!("through {name} by {node}")));
    let warning = |place: &Place| {
        let found = format!(
            "nothing at {} reaches the apiserver any more: {} runs there and its lease is stale, \
             while others reach it {through}",
            place.name,
            lost(place, now).unwrap_or_default()
        );
        let fix = "look at the bridge or network of that host and at what joins it to the others, and at that node: \
                   nodebake status, nodebake logs";
        Finding::warning(Check::Joined, found, fix)
    };
    let mut findings: Vec<_> = gone.into_iter().map(warning).collect();
    if !unknown.is_empty() {
        let names = listed(unknown.iter().map(|place| place.name));
        let so_far = if reached.is_empty() { String::new() } else { format!("; the apiserver is reached {through}") };
        let why = format!("no node that the cluster hears runs at {names} yet{so_far}");
        findings.push(Finding::skipped(Check::Joined, why));
    }
    or_ok(findings, Check::Joined, || format!("the apiserver is reached {through}"))
}

/// A node that runs there and that the apiserver heard a moment ago.
fn heard<'a>(place: &Place<'a>, now: i64) -> Option<&'a NodeName> {
    place.config.nodes.iter().find(|node| is_heard(place, node, now)).map(|node| &node.name)
}

/// Whether the apiserver heard a node that runs there a moment ago.
fn is_heard(place: &Place, node: &Node, now: i64) -> bool {
    // What a fast clock has written says nothing.
    let is_now = |status: &NodeStatus| status.lease_renewed.is_some_and(|renewed| renewed <= now + APART);
    place.running(node).is_some_and(|status| status.is_alive(now) && is_now(status))
}

/// Nodes that run there, were in the cluster in this boot and are heard no more.
fn lost(place: &Place, now: i64) -> Option<String> {
    let was_in = |node: &Node| {
        let uuid = place.id.map(|id| id.uuid(&node.name));
        let domain = place.host.inventory.domains.iter().find(|domain| Some(domain.uuid) == uuid);
        let mark = domain.and_then(|domain| domain.mark());
        mark.is_some_and(|mark| mark.state == MarkState::Registered && mark.stage.is_none())
    };
    let is_lost = |node: &&Node| was_in(node) && place.running(node).is_some_and(|status| !status.is_alive(now));
    let names: Vec<_> = place.config.nodes.iter().filter(is_lost).map(|node| &node.name).collect();
    (!names.is_empty()).then(|| listed(names))
}

/// What a host has left for more nodes, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Room {
    memory: u64,
    disk: u64,
}

impl Room {
    /// What there is once all nodes that are to be there are, and their disks are full; else why that is not known.
    fn of(case: Case, place: &Place, images: &BTreeMap<Arch, Option<Images>>) -> Result<(Self, bool), String> {
        let nodes: Vec<_> = place.config.nodes.iter().collect();
        let case = Case { config: place.config, nodes: &nodes, ..case };
        let inventory = &place.host.inventory;
        let load = Load::of(case.id, &nodes, &inventory.domains, case.by_hand);
        let available = storage::available(place.host).map_err(|why| format!("{}: {why}", place.name))?;
        let need = storage::need(case, &inventory.volumes, images);
        let room = Self {
            memory: place.host.info.memory.saturating_sub(load.all().memory),
            disk: available.saturating_sub(need.images.saturating_add(need.disks)),
        };
        Ok((room, need.unbuilt))
    }

    /// What a node needs that is made anew.
    fn for_node(node: &Node) -> Self {
        let data: u64 = node.settings.machine.data_disks.values().map(|disk| disk.size).sum();
        Self { memory: node.memory, disk: node.disk + data + SEED }
    }

    fn has(&self, need: &Self) -> bool {
        self.memory >= need.memory && self.disk >= need.disk
    }

    fn sum(rooms: impl Iterator<Item = Self>) -> Self {
        rooms.fold(Self { memory: 0, disk: 0 }, |sum, room| Self {
            memory: sum.memory.saturating_add(room.memory),
            disk: sum.disk.saturating_add(room.disk),
        })
    }
}

/// Whether each host could be emptied: the others have room for its nodes, in memory and, with full disks, in their
/// pools. CPUs can be shared.
fn spare(
    case: Case,
    places: &[Place],
    silent: &[&HypervisorName],
    images: &BTreeMap<Arch, Option<Images>>,
) -> Vec<Finding> {
    let rooms: Vec<_> = places.iter().map(|place| Room::of(case, place, images)).collect();
    let findings = places.iter().enumerate().filter_map(|(at, place)| {
        let others = rooms.iter().enumerate().filter(|(other, _)| *other != at).map(|(_, room)| room);
        let known: Vec<_> = others.clone().flatten().map(|(room, _)| *room).collect();
        let unplaced = unplaced(&place.config.nodes, known.clone())?;
        let silent = silent.iter().map(|name| format!("{name} does not answer"));
        let unknown: Vec<_> = others.filter_map(|room| room.as_ref().err().cloned()).chain(silent).collect();
        if !unknown.is_empty() {
            let why = format!("whether {} could be emptied is not known; {}", place.name, unknown.join("; "));
            return Some(Finding::skipped(Check::Spare, why));
        }
        let (need, left) = (Room::sum(place.config.nodes.iter().map(Room::for_node)), Room::sum(known.into_iter()));
        let found = format!(
            "{} could not be emptied: its nodes need {} of memory and {} of disk, the others have {} and {} left \
             together, and none has room for {unplaced}",
            place.name,
            size(need.memory),
            size(need.disk),
            size(left.memory),
            size(left.disk)
        );
        let fix = "free memory or space in the pools of the others, lower `memory` or `disk` in the cluster file, or \
                   add a hypervisor";
        Some(Finding::warning(Check::Spare, found, fix))
    });
    let findings = findings.collect();
    or_ok(findings, Check::Spare, || {
        let unbuilt = rooms.iter().flatten().any(|(_, unbuilt)| *unbuilt);
        let uncounted = if unbuilt { UNCOUNTED } else { "" };
        format!(
            "each of {} could be emptied: the others have room for its nodes{uncounted}",
            listed(places.iter().map(|it| it.name))
        )
    })
}

/// The first of the nodes that finds no room, the largest being placed first, each where most memory is left.
fn unplaced(nodes: &[Node], mut rooms: Vec<Room>) -> Option<&NodeName> {
    let mut nodes: Vec<_> = nodes.iter().map(|node| (Room::for_node(node), &node.name)).collect();
    nodes.sort_by_key(|(need, _)| std::cmp::Reverse((need.memory, need.disk)));
    for (need, name) in nodes {
        let Some(room) = rooms.iter_mut().filter(|room| room.has(&need)).max_by_key(|room| room.memory) else {
            return Some(name);
        };
        *room = Room { memory: room.memory - need.memory, disk: room.disk - need.disk };
    }
    None
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::doctor::fixture::{Fixture, domain, lines, resources};
    use crate::machine::Cause;
    use crate::machine::DomainState::Running;

    const NOW: i64 = 1_800_000_000;

    /// The example's nodes divided between hosts a and b, one each.
    struct Two {
        names: [HypervisorName; 2],
        each: [Fixture; 2],
    }

    impl Two {
        fn new() -> Self {
            let half = |at: usize| {
                let mut half = Fixture::new();
                half.config.nodes = vec![half.config.nodes.swap_remove(at)];
                half.host.seen = Some(Seen { bridge: None, clock: Clock::Unseen("dark".to_owned()) });
                half
            };
            Self { names: ["a", "b"].map(|name| name.parse().unwrap()), each: [half(0), half(1)] }
        }

        fn able(&mut self, at: usize, kvm: bool, cpu: Option<CpuModel>) {
            let able = self.each[at].able();
            (able.kvm, able.cpu) = (if kvm { Ok(()) } else { Err("none".to_owned()) }, cpu);
        }

        fn seen(&mut self, at: usize) -> &mut Seen {
            self.each[at].host.seen.as_mut().unwrap()
        }

        /// Lets a node's machine run, whose lease is so many seconds old.
        fn run(&mut self, at: usize, age: Option<i64>) {
            let half = &mut self.each[at];
            let name = half.config.nodes[0].name.to_string();
            half.host.inventory.domains = vec![half.machine(0, Running)];
            let status =
                NodeStatus { name: name.clone(), lease_renewed: age.map(|age| NOW - age), ..NodeStatus::default() };
            half.host.inventory.nodes = Some(BTreeMap::from([(name, status)]));
        }

        fn judge(&self, judge: impl FnOnce(&[Place]) -> Vec<Finding>) -> Vec<String> {
            let places = self.names.iter().zip(&self.each).map(|(name, half)| Place {
                name,
                id: Some(&half.id),
                config: &half.config,
                host: &half.host,
                seen: half.host.seen.as_ref().unwrap(),
            });
            lines(judge(&places.collect::<Vec<_>>()))
        }
    }

    fn cpu(name: &str, more: &[&str], less: &[&str]) -> CpuModel {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        CpuModel { name: name.to_owned(), more: names(more), less: names(less) }
    }

    #[test]
    fn guests_have_the_same_cpu_everywhere() {
        let keep = format!(" | {KEEP}");
        let elsewhere = "a node that is rebuilt elsewhere sees another";
        let epyc = || Some(cpu("EPYC", &["x2apic"], &["svm"]));
        let many = cpu("EPYC", &["a", "b", "c", "d", "e", "f", "x2apic"], &[]);
        for (a, b, wanted) in [
            (
                (false, None),
                (false, epyc()),
                vec!["ok: amd64 guests are emulated at a and b: nothing of the hosts' CPUs matters to them".to_owned()],
            ),
            (
                (true, epyc()),
                (true, epyc()),
                vec!["ok: amd64 guests have a CPU of the model EPYC with the same features at a and b".to_owned()],
            ),
            (
                (true, epyc()),
                (false, None),
                vec![format!(
                    "warning: amd64 guests are emulated at b and have the host's own CPU at a: {elsewhere} CPU{keep}"
                )],
            ),
            (
                (true, epyc()),
                (true, None),
                vec!["skipped: libvirt does not tell which CPU amd64 guests have at b".to_owned()],
            ),
            (
                (true, epyc()),
                (true, Some(cpu("Skylake", &[], &[]))),
                vec![format!(
                    "warning: CPUs of amd64 guests are of the models EPYC at a and Skylake at b: {elsewhere}{keep}"
                )],
            ),
            (
                (true, epyc()),
                (true, Some(many)),
                vec![format!(
                    "warning: the CPU of amd64 guests at a lacks a, b, c, d, e and 2 more, which it has at b: \
                     {elsewhere}{keep}"
                )],
            ),
            (
                (true, epyc()),
                (true, Some(cpu("EPYC", &["avx"], &["svm"]))),
                vec![
                    format!("warning: the CPU of amd64 guests at a lacks avx, which it has at b: {elsewhere}{keep}"),
                    format!("warning: the CPU of amd64 guests at b lacks x2apic, which it has at a: {elsewhere}{keep}"),
                ],
            ),
        ] {
            let mut two = Two::new();
            two.able(0, a.0, a.1);
            two.able(1, b.0, b.1);
            assert_eq!(two.judge(cpu_features), wanted);
        }
        let mut two = Two::new();
        two.each[1].host.capabilities.clear();
        let one = "skipped: fewer than two hypervisors can run amd64 guests as the cluster file asks for it";
        assert_eq!(two.judge(cpu_features), [one]);
    }

    #[test]
    fn bridges_are_up_and_of_one_mtu() {
        type Bridge = Result<Option<InterfaceInfo>, MachineError>;
        let up = |mtu| -> Bridge { Ok(Some(InterfaceInfo { active: true, mtu })) };
        let far = || -> Bridge {
            let source = Cause { message: "no driver".to_owned(), code: 3 };
            Err(MachineError::Failed { action: "look at interface \"br0\"".to_owned(), source })
        };
        let fine = |mtu: &str| {
            format!("ok: br0 at a and br0 at b are up, {mtu}; whether they are one network only nodes can tell")
        };
        let unseen = "skipped: bridge br0 at b cannot be looked at: cannot look at interface \"br0\": no driver";
        let none = "warning: libvirt sees no bridge br0 at b: no node can be started on it | make the bridge on that host, \
                    or name another one in the cluster file (`bridge:` of the hypervisor)";
        let down = "warning: bridge br0 at b is down, or nothing with a link is plugged into it | bring it up on that \
                    host, with a card in it: ip link show";
        let sizes = "warning: the bridges let packets of different sizes pass, so that large ones are lost between \
                     nodes: 1500 bytes by br0 at a and 9000 bytes by br0 at b | give the bridges and their ports the same MTU";
        for (b, wanted) in [
            (up(Some(1500)), fine("MTU 1500")),
            (up(None), fine("MTU not known")),
            (up(Some(9000)), sizes.to_owned()),
            (far(), unseen.to_owned()),
            (Ok(None), none.to_owned()),
            (Ok(Some(InterfaceInfo { active: false, mtu: Some(1500) })), down.to_owned()),
        ] {
            let mut two = Two::new();
            assert_eq!(two.judge(bridges), [""; 0]);
            for (at, bridge) in [up(Some(1500)), b].into_iter().enumerate() {
                two.each[at].config.network.bridge = Some("br0".to_owned());
                two.seen(at).bridge = Some(bridge);
            }
            assert_eq!(two.judge(bridges), [wanted]);
        }
    }

    #[test]
    fn nodes_show_that_the_network_joins_their_hosts() {
        let lost = "warning: nothing at b reaches the apiserver any more: worker-node-2 runs there and its lease is stale, \
                    while others reach it through a by worker-node-1 | look at the bridge or network of that host and at \
                    what joins it to the others, and at that node: nodebake status, nodebake logs";
        let both = "ok: the apiserver is reached through a by worker-node-1 and through b by worker-node-2";
        let one = "skipped: no node that the cluster hears runs at b yet; the apiserver is reached through a by \
                   worker-node-1";
        let none = "skipped: no node that the cluster hears runs at a and b yet";
        for (a, b, wanted) in [
            (Some(5), Some(39), both),
            (Some(5), Some(40), lost),
            (Some(5), None, lost),
            (Some(40), Some(40), none),
            // A clock that is ahead.
            (Some(5), Some(-61), one),
        ] {
            let mut two = Two::new();
            two.run(0, a);
            two.run(1, b);
            assert_eq!(two.judge(|places| joined(places, NOW)), [wanted], "{a:?} {b:?}");
        }
        let mut two = Two::new();
        assert_eq!(
            two.judge(|places| joined(places, NOW)),
            ["skipped: the cluster cannot be asked which nodes it hears"]
        );
        two.run(0, Some(5));
        two.each[1].host.inventory.nodes = Some(BTreeMap::new());
        assert_eq!(two.judge(|places| joined(places, NOW)), [one]);
    }

    #[test]
    fn clocks_are_told_by_files_and_leases() {
        let set = "set the clocks, there and here: timedatectl set-ntp true";
        let read = |written, from, to| Clock::Read { written: NOW + written, from: NOW + from, to: NOW + to };
        let left = |written| Clock::AtLeast { written: NOW + written, to: NOW };
        let unseen =
            |names: &str| format!("skipped: libvirt does not tell the time, and nothing shows that of {names}");
        let ahead = |by| {
            format!("warning: a file at b was written {by} s from now: its clock is ahead of the one here | {set}")
        };
        let idle = "no file of its pool was written while we looked";
        for (b, age, wanted) in [
            (
                read(1, 0, 2),
                None,
                "ok: a file written just now at each of a and b has a time within 60 s of the clock here".to_owned(),
            ),
            (read(80, 0, 2), None, ahead(77)),
            (left(80), None, ahead(79)),
            (
                read(-80, 0, 2),
                None,
                format!("warning: a file written just now at b is 79 s old: its clock is behind the one here | {set}"),
            ),
            // An old file, or one of a moment ago, tells nothing of a clock that is behind.
            (left(-80), None, unseen(&format!("b ({idle})"))),
            (left(0), Some(5), unseen(&format!("b ({idle})"))),
            (Clock::Unseen("there is no pool".to_owned()), None, unseen("b (there is no pool)")),
            (
                left(0),
                Some(-90),
                format!(
                    "warning: the lease of worker-node-2 at b was renewed 90 s from now: the clock of the node, which \
                     has it from its host at boot, is ahead of the one here | {set}"
                ),
            ),
        ] {
            let mut two = Two::new();
            two.run(1, age);
            two.seen(0).clock = read(0, 0, 1);
            two.seen(1).clock = b.clone();
            assert_eq!(two.judge(|places| clocks::host_clocks(places, NOW)), [wanted], "{b:?} {age:?}");
        }
    }

    #[test]
    fn each_host_can_be_emptied_if_the_others_have_room() {
        let images = BTreeMap::new();
        let silent: HypervisorName = "c".parse().unwrap();
        let judge = |two: &Two, silent: &[&HypervisorName]| {
            let mut found = Vec::new();
            two.each[0].judge(|case, _| {
                found = two.judge(|places| spare(case, places, silent, &images));
                Vec::new()
            });
            found
        };
        let mut two = Two::new();
        let fine = "ok: each of a and b could be emptied: the others have room for its nodes";
        assert_eq!(judge(&two, &[&silent]), [fine]);
        // The host's memory is taken, but for its node's and less than another.
        two.each[1].host.inventory.domains = vec![domain("other", Running, &resources(9, 1))];
        let fix = "free memory or space in the pools of the others, lower `memory` or `disk` in the cluster file, or add \
                   a hypervisor";
        let full = |left: &str| {
            format!(
                "warning: a could not be emptied: its nodes need 4.0 GiB of memory and 20.0 GiB of disk, the others have \
                 {left} left together, and none has room for worker-node-1 | {fix}"
            )
        };
        assert_eq!(judge(&two, &[]), [full("3.0 GiB and 79.9 GiB")]);
        let unknown = "skipped: whether a could be emptied is not known; c does not answer";
        assert_eq!(judge(&two, &[&silent]), [unknown]);
        two.each[1].host.inventory.domains.clear();
        two.each[1].host.inventory.pool.iter_mut().for_each(|pool| pool.available = 39 << 30);
        assert_eq!(judge(&two, &[]), [full("12.0 GiB and 18.9 GiB")]);
        two.each[1].host.inventory.pool = None;
        let unknown = "skipped: whether a could be emptied is not known; b: the pool is not there yet, and the hypervisor is \
                       another machine";
        assert_eq!(judge(&two, &[]), [unknown]);
    }

    #[test]
    fn room_must_be_in_one_place() {
        let nodes = Fixture::new().config.nodes;
        let room = |memory: u64, disk: u64| Room { memory: memory << 30, disk: disk << 30 };
        for (rooms, wanted) in [
            (vec![room(8, 41)], None),
            (vec![room(4, 21), room(4, 21)], None),
            (vec![room(7, 100)], Some("worker-node-2")),
            (vec![room(8, 40)], Some("worker-node-2")),
            (vec![room(3, 100), room(3, 100), room(3, 100)], Some("worker-node-1")),
            (vec![], Some("worker-node-1")),
        ] {
            let found = unplaced(&nodes, rooms.clone()).map(ToString::to_string);
            assert_eq!(found.as_deref(), wanted, "{rooms:?}");
        }
    }
}
