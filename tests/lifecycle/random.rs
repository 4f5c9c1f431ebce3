//! Random clusters on hosts in a random state: `up` brings all of it to what the cluster file says, and has nothing to do
//! then; `rebuild --all` does the same for what only a new machine can have, and touches nothing of others.
//!
//! `NODEBAKE_TEST_CLUSTERS=N` plays so many, `NODEBAKE_TEST_CLUSTER=N` the one of this number alone.

mod draft;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::time::Duration;

use nodebake::apply::{Apply, ApplyError, Leaving, Patience};
use nodebake::cluster::{Cluster, Cordon, Metadata, Nodes, Watch};
use nodebake::config::{Arch, ClusterId, Config, HypervisorName, Node, NodeName};
use nodebake::digest::Digest;
use nodebake::machine::memory::{Killed, Memory, Moment};
use nodebake::machine::{
    DomainInfo, DomainState, Drive, Firmware, Hypervisor, MarkState, NetworkInfo, Parts, VolumeFormat, VolumeInfo,
    VolumeName,
};
use nodebake::plan::{self, Blocked, Built, Ground, ImageFile, Images, Inventory, Move, Placement, Plan, Request};
use nodebake::progress::{Progress, Silent, Task};
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};

use crate::apiserver::Apiserver;
use crate::cluster::{BOOT, drain};
use crate::world::{NOW, iso, network, pool, qcow2, report, sealed};
use draft::Draft;

/// How many clusters are played; `NODEBAKE_TEST_CLUSTERS` says otherwise.
const CLUSTERS: u64 = 24;

/// The boot of a guest that does not come up.
const OTHER_BOOT: &str = "00000000-0000-4000-8000-000000000008";

/// So many clusters share an apiserver, which keeps something of each.
const SHARED: usize = 25;

/// What is done, and what for.
#[derive(Debug, Clone, Copy)]
enum Verb {
    Up,
    /// `rebuild --all`, or `rebuild --to` where nodes are asked to go.
    Roll,
}

impl Verb {
    fn plan(self, request: Request) -> Result<Plan, Blocked> {
        match self {
            Self::Up => plan::up(request),
            Self::Roll => plan::roll(request),
        }
    }

    /// Whether it has nothing left to do. A roll is nobody's business but that of the nodes in it.
    fn is_done(self, plan: &Plan) -> bool {
        match self {
            Self::Up => plan.is_empty(),
            Self::Roll => plan.nodes.is_empty(),
        }
    }
}

#[test]
fn random_clusters_become_what_their_files_say() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let one = number("NODEBAKE_TEST_CLUSTER");
    let (first, count) = one.map_or((0, number("NODEBAKE_TEST_CLUSTERS").unwrap_or(CLUSTERS)), |one| (one, 1));
    let numbers: Vec<_> = (first..first + count).collect();
    for numbers in numbers.chunks(SHARED) {
        let api = Apiserver::start(true);
        let cluster = Cluster::open(&api.file("kubeconfig")).unwrap();
        let watch = cluster.watch();
        for &number in numbers {
            let ended = catch_unwind(AssertUnwindSafe(|| Case::new(number, &api, &cluster, &watch).play()));
            assert!(ended.is_ok(), "this one again: NODEBAKE_TEST_CLUSTER={number}");
        }
    }
}

/// One cluster with its hosts.
struct Case<'a> {
    api: &'a Apiserver,
    cluster: &'a Cluster,
    watch: &'a Watch,
    random: StdRng,
    id: ClusterId,
    draft: Draft,
    config: Config,
    hosts: Vec<Memory>,
    built: Vec<Built>,
    images: Images,
    /// Where nodes are asked to go.
    asked: BTreeMap<NodeName, HypervisorName>,
    /// Seeds whose guests do not come up.
    broken: BTreeSet<String>,
    /// How often each node's seed has changed.
    seeds: BTreeMap<NodeName, u32>,
    folder: tempfile::TempDir,
}

/// What a host has that no command here may touch.
#[derive(Debug, PartialEq)]
struct Others(Vec<DomainInfo>, Vec<VolumeInfo>);

impl<'a> Case<'a> {
    fn new(number: u64, api: &'a Apiserver, cluster: &'a Cluster, watch: &'a Watch) -> Self {
        let mut random = StdRng::seed_from_u64(number);
        let dhcp = random.gen_bool(0.3);
        let draft = Draft::new(number, dhcp, &mut random);
        let config = draft.config();
        let id = ClusterId { name: config.cluster.name.clone(), ca: Digest::of(&number.to_le_bytes()) };
        let hosts = (0..draft.hosts).map(|_| Memory::new()).collect();
        let folder = tempfile::tempdir().unwrap();
        let images = images(folder.path(), 0);
        let mut case = Self {
            api,
            cluster,
            watch,
            random,
            id,
            draft,
            config,
            hosts,
            built: Vec::new(),
            images,
            asked: BTreeMap::new(),
            broken: BTreeSet::new(),
            seeds: BTreeMap::new(),
            folder,
        };
        for (at, host) in case.hosts.iter().enumerate() {
            host.put_guest("", &good());
            furnished(host, at, &case.config, dhcp, &mut case.random);
        }
        case.build();
        case
    }

    fn play(&mut self) {
        // An earlier time, at which some of the nodes were made.
        let some: BTreeSet<_> = self.names().into_iter().filter(|_| self.random.gen_bool(0.7)).collect();
        let errors = self.run(Verb::Up, |name| some.contains(name));
        assert!(errors.is_empty(), "{errors:?}");
        self.later();
        self.disturb();
        let others = self.others();
        let unknown = self.turn_pools_off();
        self.bring(Verb::Up, usize::from(unknown));
        if unknown {
            self.turn_pools_on();
            self.bring(Verb::Up, 0);
        }
        assert_eq!(self.others(), others);
        self.check();

        self.bring(Verb::Roll, 0);
        self.check();
        let drift: Vec<_> = self.plans(Verb::Up, |_| true).into_iter().flat_map(|(_, plan)| plan.nodes).collect();
        assert!(drift.iter().all(|node| node.drift.is_empty()), "{drift:?}");
        self.move_one();
        assert_eq!(self.others(), others);
        for name in self.nodes().into_keys() {
            self.cluster.delete_node(&name.parse().unwrap(), None).unwrap();
        }
    }

    /// Has a verb come to its end, whatever goes wrong on the way; `more` is how many runs it may take beyond one where nothing
    /// goes wrong.
    fn bring(&mut self, verb: Verb, more: usize) {
        let faulty = self.random.gen_bool(0.5);
        let broken = if self.random.gen_bool(0.3) { self.break_guests() } else { false };
        if faulty {
            self.run_with_fault(verb);
        } else if broken {
            self.run(verb, |_| true);
        }
        let runs = if faulty || broken {
            self.mend_guests();
            // What went wrong may first have to be undone, by another verb.
            self.run(Verb::Up, |_| true);
            self.run(Verb::Up, |_| true);
            2
        } else {
            1 + more
        };
        for run in 1..=runs {
            let errors = self.run(verb, |_| true);
            assert!(errors.is_empty() || run < runs, "{errors:?}");
        }
        let left: Vec<_> = self.plans(verb, |_| true).into_iter().filter(|(_, plan)| !verb.is_done(plan)).collect();
        assert!(left.is_empty(), "left to do: {left:#?}");
    }

    /// A node without data disks goes to another host, where there is any such node and host.
    fn move_one(&mut self) {
        let has_data = |node: &Node| {
            let volumes = (0..self.hosts.len()).flat_map(|at| self.volumes(at)).filter_map(|volume| volume.ours());
            let data = |name: &VolumeName| matches!(name, VolumeName::Data { .. }) && name.belongs_to(&self.id);
            volumes.filter(data).any(|name| name.owner().is_some_and(|(_, owner)| *owner == node.name))
        };
        let placed = self.config.nodes.iter().zip(self.placements(Verb::Up));
        let free: Vec<_> = placed.filter(|(node, _)| node.hypervisor.is_none() && !has_data(node)).collect();
        let Some((node, Placement::On(from))) = free.choose(&mut self.random) else { return };
        let sites: Vec<_> = (0..self.config.sites.len()).filter(|at| at != from).collect();
        let Some(to) = sites.choose(&mut self.random) else { return };
        let (name, site) = (node.name.clone(), self.config.sites[*to].name.clone());
        let (uuid, to) = (self.id.uuid(&name), *to);
        self.asked = BTreeMap::from([(name, site)]);
        self.bring(Verb::Roll, 0);
        self.asked.clear();
        assert!(self.hosts[to].domain(uuid).unwrap().is_some());
        self.check();
    }

    fn names(&self) -> Vec<NodeName> {
        self.config.nodes.iter().map(|node| node.name.clone()).collect()
    }

    /// The cluster file is another one, and some of what is built is too.
    fn later(&mut self) {
        self.draft = self.draft.changed(&mut self.random);
        self.config = self.draft.config();
        for name in self.names() {
            if self.random.gen_bool(0.2) {
                *self.seeds.entry(name).or_default() += 1;
            }
        }
        if self.random.gen_bool(0.2) {
            self.images = images(self.folder.path(), 1);
        }
        self.build();
    }

    fn build(&mut self) {
        let capabilities = self.hosts[0].capabilities(Arch::Amd64).unwrap();
        let seed = |name: &NodeName| {
            let content = format!("{name} {}", self.seeds.get(name).copied().unwrap_or_default());
            image(self.folder.path(), &content, &iso(content.as_bytes()))
        };
        let built = self.config.nodes.iter().map(|node| Built {
            node: node.name.clone(),
            seed: seed(&node.name),
            images: self.images.clone(),
            parts: Parts::default(),
            capabilities: capabilities.clone(),
        });
        self.built = built.collect();
    }

    /// The cluster file as it is for these nodes at one of the hosts.
    fn at(&self, at: usize, nodes: &[&Node]) -> Config {
        self.config.sites.get(at).map_or_else(|| self.config.clone(), |site| self.config.at(site, nodes))
    }

    fn site(&self, at: usize) -> Option<HypervisorName> {
        self.config.sites.get(at).map(|site| site.name.clone())
    }

    /// Nodes of this cluster; those of other cases are none of its business.
    fn nodes(&self) -> Nodes {
        let ours = |name: &String| name.starts_with(&format!("{}-", self.id.name));
        self.cluster.nodes().unwrap().into_iter().filter(|(name, _)| ours(name)).collect()
    }

    fn placements(&self, verb: Verb) -> Vec<Placement> {
        if self.config.sites.is_empty() {
            return vec![Placement::On(0); self.config.nodes.len()];
        }
        let grounds: Vec<_> = self.hosts.iter().map(|host| Ground::of(&self.id, &host.domains().unwrap())).collect();
        let nowhere = BTreeMap::new();
        let asked = if matches!(verb, Verb::Roll) { &self.asked } else { &nowhere };
        plan::place(&self.config, &self.id, &grounds, asked)
    }

    fn inventory(&self, at: usize, config: &Config, placements: &[Placement]) -> Inventory {
        let read = |at: usize, config: &Config| Inventory::read(config, &self.hosts[at], Some(self.nodes())).unwrap();
        let mut inventory = read(at, config);
        inventory.site = self.site(at);
        for (node, placement) in self.config.nodes.iter().zip(placements) {
            match *placement {
                Placement::Moving { at: here, other, back } if here == at => {
                    let left = self.at(other, &[]);
                    let (name, found) = (self.site(other).unwrap(), read(other, &left));
                    let here = inventory.site.clone().unwrap();
                    let moving = Move::of(&self.id, node, &here, (&name, &left, &found), back);
                    inventory.moves.extend(moving.map(|moving| (node.name.clone(), moving)));
                }
                Placement::Moving { other, .. } if other == at => {}
                placement if placement.at().is_some_and(|here| here != at) => {
                    inventory.elsewhere.insert(node.name.clone());
                }
                _ => {}
            }
        }
        inventory
    }

    /// What a verb has to do at each of the hosts.
    fn plans(&self, verb: Verb, which: impl Fn(&NodeName) -> bool) -> Vec<(usize, Plan)> {
        let placements = self.placements(verb);
        let plan_at = |at: usize| {
            let nodes = self.config.nodes.iter().zip(&placements).filter(|(_, placement)| placement.at() == Some(at));
            let nodes: Vec<_> = nodes.map(|(node, _)| node).collect();
            let config = self.at(at, &nodes);
            let inventory = self.inventory(at, &config, &placements);
            let built = self.built.iter().filter(|built| nodes.iter().any(|node| node.name == built.node));
            let built: Vec<_> = built.filter(|built| which(&built.node)).cloned().collect();
            if built.is_empty() {
                let shared = plan::left_behind(&self.id, &inventory, &config.libvirt.pool);
                return (at, Plan { shared, nodes: Vec::new() });
            }
            let request = Request { config: &config, id: &self.id, built: &built, inventory: &inventory, now: NOW };
            (at, verb.plan(request).unwrap_or_else(|blocked| panic!("{blocked}")))
        };
        (0..self.hosts.len()).map(plan_at).collect()
    }

    /// Does what a verb has to do; all that fails does so on its own.
    fn run(&self, verb: Verb, which: impl Fn(&NodeName) -> bool) -> Vec<ApplyError> {
        let mut errors = Vec::new();
        let others: Vec<(_, &dyn Hypervisor)> =
            self.config.sites.iter().zip(&self.hosts).map(|(site, host)| (site.name.clone(), host as _)).collect();
        for (at, plan) in self.plans(verb, which) {
            let apply = Apply {
                watch: Some(self.watch),
                cluster: Some(self.cluster),
                patience: Patience::of_silence(Duration::from_millis(700)),
                leaving: Leaving { drain: Some(drain()), keep: false },
                others: &others,
                ..Apply::new(&self.hosts[at], &self.id, self)
            };
            if let Err(error) = plan.shared.iter().try_for_each(|action| apply.shared(action)) {
                errors.push(error);
                continue;
            }
            errors.extend(plan.nodes.iter().filter_map(|node| apply.node(node).err()));
        }
        errors
    }

    /// The same, and one call fails, or is the last that the run lives to see.
    fn run_with_fault(&mut self, verb: Verb) {
        let moment = *[Moment::Before, Moment::Midway, Moment::After].choose(&mut self.random).unwrap();
        let host = &self.hosts[self.random.gen_range(0..self.hosts.len())];
        let call = host.calls().len() + self.random.gen_range(0..60);
        if self.random.r#gen() {
            host.fail_at(call, moment);
        } else {
            host.cut_at(call, moment);
        }
        let ended = catch_unwind(AssertUnwindSafe(|| self.run(verb, |_| true)));
        self.hosts.iter().for_each(Memory::mend);
        if let Err(panic) = ended.map(drop)
            && !panic.is::<Killed>()
        {
            resume_unwind(panic);
        }
    }

    /// New machines of some nodes do not come up, and boot before they fail; says whether there are any such nodes.
    fn break_guests(&mut self) -> bool {
        let says = report("containerd-active", "failed", "Ym9vbQo=").replace(BOOT, OTHER_BOOT);
        for built in &self.built {
            // A machine that keeps its seed is not told from the one before it.
            let node = self.config.nodes.iter().find(|node| node.name == built.node).unwrap();
            if !node.settings.keep_seed && self.random.gen_bool(0.4) {
                let seed = VolumeName::seed(&self.id, &built.node, built.seed.digest).to_string();
                self.hosts.iter().for_each(|host| host.put_guest(&seed, &says));
                self.broken.insert(seed);
            }
        }
        !self.broken.is_empty()
    }

    fn mend_guests(&mut self) {
        for seed in std::mem::take(&mut self.broken) {
            self.hosts.iter().for_each(|host| host.put_guest(&seed, &good()));
        }
    }

    /// Whether the guest of a machine comes up.
    fn comes_up(&self, node: &NodeName) -> bool {
        let machines = self.hosts.iter().filter_map(|host| host.domain(self.id.uuid(node)).unwrap());
        !machines.map(|domain| domain.volumes()).any(|of| of.iter().any(|it| self.broken.contains(&it.to_string())))
    }

    /// Things happen to machines, runs that were cut off left disks, and others come to the hosts.
    fn disturb(&mut self) {
        let placed: Vec<_> = self.config.nodes.clone().into_iter().zip(self.placements(Verb::Up)).collect();
        let mut random = self.random.clone();
        for (node, at) in placed.iter().filter_map(|(node, placement)| Some((node, placement.at()?))) {
            let host = &self.hosts[at];
            if let Some(domain) = host.domain(self.id.uuid(&node.name)).unwrap() {
                Self::disturb_machine(host, &domain, &mut random);
            }
        }
        for (at, host) in self.hosts.iter().enumerate() {
            let pool = self.at(at, &[]).libvirt.pool;
            let Some(info) = host.pool(&pool).unwrap() else { continue };
            for node in &self.config.nodes {
                if random.gen_bool(0.2) {
                    let made_for = Digest::of(&random.r#gen::<[u8; 8]>());
                    let name = VolumeName::root(&self.id, &node.name, made_for);
                    host.put_volume(&pool, volume(&name.to_string(), &info.path, VolumeFormat::Qcow2), b"");
                }
            }
            let foreign = ClusterId { ca: Digest::of(b"another"), ..self.id.clone() };
            let node = self.config.nodes[0].name.clone();
            for name in [VolumeName::data(&foreign, &node, "x"), VolumeName::root(&foreign, &node, foreign.ca)] {
                host.put_volume(&pool, volume(&name.to_string(), &info.path, VolumeFormat::Qcow2), b"");
            }
            host.put_volume(&pool, volume("somebody.qcow2", &info.path, VolumeFormat::Qcow2), b"");
            let base = VolumeName::Base(self.images.base.digest).to_string();
            if random.gen_bool(0.3) && host.volumes(&pool).unwrap().iter().all(|volume| volume.name != base) {
                host.put_volume(&pool, volume(&base, &info.path, VolumeFormat::Raw), b"a part");
            }
            host.put_domain(somebodys("somebody", random.r#gen()));
        }
        self.random = random;
    }

    /// Some pools that no machine uses are off. Says whether any is: what is in it is known to the run after the one that turns
    /// it on.
    fn turn_pools_off(&mut self) -> bool {
        let mut any = false;
        for (at, host) in self.hosts.iter().enumerate() {
            let pool = self.at(at, &[]).libvirt.pool;
            let runs = |domain: &DomainInfo| domain.mark().is_some() && domain.state.is_active();
            let off = self.random.gen_bool(0.3) && !host.domains().unwrap().iter().any(runs);
            if off && host.pool(&pool).unwrap().is_some() {
                host.stop_pool(&pool);
                any = true;
            }
        }
        any
    }

    /// A pool that no node needed is still off.
    fn turn_pools_on(&self) {
        for (at, host) in self.hosts.iter().enumerate() {
            let pool = self.at(at, &[]).libvirt.pool;
            if host.pool(&pool).unwrap().is_some() {
                host.start_pool(&pool).unwrap();
            }
        }
    }

    fn disturb_machine(host: &Memory, domain: &DomainInfo, random: &mut StdRng) {
        let uuid = domain.uuid;
        let state = |state| host.put_domain(DomainInfo { state, ..domain.clone() });
        let mark = |state, boot_id: Option<String>| {
            let mut mark = domain.mark().unwrap().clone();
            (mark.state, mark.boot_id) = (state, boot_id);
            host.set_mark(uuid, &mark).unwrap();
        };
        match random.gen_range(0..14) {
            0 => state(DomainState::ShutOff),
            1 => state(DomainState::Paused),
            2 => state(DomainState::Crashed),
            3 | 4 => {
                host.destroy(uuid).unwrap();
                host.undefine(uuid).unwrap();
            }
            5 => mark(MarkState::Failed, None),
            6 => mark(MarkState::Failed, Some(BOOT.to_owned())),
            7 => mark(MarkState::Started, None),
            8 => {
                state(DomainState::ShutOff);
                mark(MarkState::Creating, None);
            }
            9 => {
                let xml = domain.xml.replacen("</vcpu>", "0</vcpu>", 1);
                host.put_domain(DomainInfo { xml, ..domain.clone() });
            }
            _ => {}
        }
    }

    /// What is nobody's business but others': domains and volumes that are not of this cluster, or of nodes that its file
    /// does not name.
    fn others(&self) -> Vec<Others> {
        let named = |name: &NodeName| self.config.nodes.iter().any(|node| node.name == *name);
        let ours =
            |domain: &DomainInfo| domain.mark().is_some_and(|mark| mark.belongs_to(&self.id) && named(&mark.node));
        let shared = |name: &VolumeName| name.owner().is_none();
        let own = |name: &VolumeName| name.belongs_to(&self.id) && name.owner().is_some_and(|(_, node)| named(node));
        let of = |host: &Memory| {
            let mut domains = host.domains().unwrap();
            domains.retain(|domain| !ours(domain));
            let pools = ["nodebake", "p0", "p1", "p2"].into_iter();
            let mut volumes: Vec<_> = pools.flat_map(|pool| host.volumes(pool).unwrap_or_default()).collect();
            volumes.retain(|volume| volume.ours().is_none_or(|name| !shared(&name) && !own(&name)));
            Others(domains, volumes)
        };
        self.hosts.iter().map(of).collect()
    }

    /// Whether all nodes are as the cluster file says, as far as `up` sees to it.
    fn check(&self) {
        let nodes = self.nodes();
        for (node, placement) in self.config.nodes.iter().zip(self.placements(Verb::Up)) {
            let Placement::On(at) = placement else { panic!("{} is on its way", node.name) };
            self.check_machine(node, at);
            let seen = &nodes[&node.name.to_string()];
            assert_eq!((seen.cordon, seen.boot_id.as_str()), (Cordon::Open, BOOT), "{}", node.name);
            let labels = self.api.node(&node.name.to_string()).unwrap().metadata.labels.unwrap_or_default();
            for (key, value) in Metadata::of(&node.settings).labels {
                assert_eq!(labels.get(&key), Some(&value), "{}", node.name);
            }
        }
    }

    fn check_machine(&self, node: &Node, at: usize) {
        let (name, uuid) = (&node.name, self.id.uuid(&node.name));
        for (other, host) in self.hosts.iter().enumerate().filter(|(other, _)| *other != at) {
            assert_eq!(host.domain(uuid).unwrap(), None, "{name} at host {other} too");
            assert_eq!(self.own(other, name), BTreeSet::new(), "of {name} at host {other}");
        }
        let domain = self.hosts[at].domain(uuid).unwrap().unwrap_or_else(|| panic!("{name} has no machine"));
        let mark = domain.mark().unwrap();
        assert_eq!((domain.state, domain.autostart, mark.state), (DomainState::Running, true, MarkState::Registered));
        let config = self.at(at, &[]);
        let volumes = self.hosts[at].volumes(&config.libvirt.pool).unwrap();
        let volume = |name: &VolumeName| {
            let found = volumes.iter().find(|volume| volume.ours().as_ref() == Some(name));
            found.unwrap_or_else(|| panic!("there is no {name}"))
        };
        let root = domain.root().unwrap();
        assert!(volume(&root).capacity >= node.disk, "{name} has {} of {}", volume(&root).capacity, node.disk);
        for (disk, wanted) in &node.settings.machine.data_disks {
            let disk = VolumeName::data(&self.id, name, disk);
            // One that came to the cluster file after the machine comes with the next machine.
            if domain.volumes().contains(&disk) {
                assert_eq!(volume(&disk).capacity, wanted.size, "{disk}");
            }
        }
        let seed = VolumeName::seed(&self.id, name, mark.seed);
        let mut own = BTreeSet::from([root]);
        match domain.drive() {
            Drive::Seed(_) => drop(own.insert(seed)),
            Drive::Empty => assert!(!node.settings.keep_seed || !self.own(at, name).contains(&seed)),
            Drive::Missing | Drive::Other => panic!("{name} has no drive for its seed"),
        }
        assert!(node.settings.keep_seed || domain.drive() == Drive::Empty, "{name} is not sealed");
        assert_eq!(self.own(at, name), own, "of {name}");
        for image in [VolumeName::Base(mark.base.parse().unwrap()), VolumeName::Payload(mark.payload)] {
            assert!(volume(&image).is_whole(), "{image}");
        }
    }

    /// What is in the pool of a host; nothing where that is off or not there.
    fn volumes(&self, at: usize) -> Vec<VolumeInfo> {
        self.hosts[at].volumes(&self.at(at, &[]).libvirt.pool).unwrap_or_default()
    }

    /// Disks and seeds of a node at a host.
    fn own(&self, at: usize, node: &NodeName) -> BTreeSet<VolumeName> {
        let volumes = self.volumes(at);
        let names = volumes.iter().filter_map(VolumeInfo::ours);
        let own = |name: &VolumeName| name.is_own() && name.belongs_to(&self.id);
        names.filter(|name| own(name) && name.owner().is_some_and(|(_, of)| of == node)).collect()
    }
}

/// The kubelets of machines that are started register their nodes.
impl Progress for Case<'_> {
    fn task(&self, _: &str, _: Option<u64>) -> Box<dyn Task> {
        Box::new(Silent)
    }

    fn note(&self, node: &str, text: &str) {
        let known = || self.config.nodes.iter().find(|known| known.name.to_string() == node);
        if text == "starting its machine"
            && let Some(Node { name, address, .. }) = known()
            && self.comes_up(name)
        {
            let address = *address;
            self.api.register_at(node, BOOT, true, Some(address.into()));
        }
    }

    fn warn(&self, _: &str) {}
}

/// What a guest says that comes up, and seals itself.
fn good() -> String {
    report("kubelet-active", "ok", "") + &sealed()
}

/// What a host has before nodebake comes: maybe a network and pools.
fn furnished(host: &Memory, at: usize, config: &Config, dhcp: bool, random: &mut StdRng) {
    if !dhcp && random.gen_bool(0.5) {
        host.put_network(NetworkInfo { active: random.r#gen(), ..network("10.0.0.1/24") });
    }
    if random.gen_bool(0.5) {
        let libvirt = config.sites.get(at).map_or(&config.libvirt, |site| &site.libvirt);
        host.put_pool(pool(&libvirt.pool, "/srv/images"));
    }
}

fn images(folder: &Path, generation: u32) -> Images {
    let (payload, base) = (format!("payload {generation}"), format!("base {generation}"));
    Images {
        payload: image(folder, &payload, &iso(payload.as_bytes())),
        payload_drive: true,
        base: image(folder, &base, &qcow2(base.as_bytes())),
        firmware: Firmware::Bios,
    }
}

fn image(folder: &Path, name: &str, bytes: &[u8]) -> ImageFile {
    let path = folder.join(name);
    std::fs::write(&path, bytes).unwrap();
    ImageFile { path, digest: Digest::of(bytes), size: bytes.len() as u64, verified: None }
}

fn volume(name: &str, folder: &str, format: VolumeFormat) -> VolumeInfo {
    let (name, path) = (name.to_owned(), format!("{folder}/{name}"));
    VolumeInfo { name, path, capacity: 1 << 30, allocation: 0, format, backing: None }
}

fn somebodys(name: &str, uuid: u128) -> DomainInfo {
    DomainInfo {
        name: name.to_owned(),
        uuid: uuid::Uuid::from_u128(uuid),
        state: DomainState::Running,
        autostart: false,
        mark: Ok(None),
        xml: format!("<domain><name>{name}</name></domain>"),
    }
}
