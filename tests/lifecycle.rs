//! Plans and what becomes of them, on a hypervisor in memory that keeps libvirt's contract: every transition, and a fault
//! at every single call followed by a plain run.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::path::Path;
use std::time::Duration;

use nodebake::apply::{Apply, ApplyError, Outcome, Patience};
use nodebake::cluster::{NodeStatus, Nodes};
use nodebake::config::{Arch, ClusterId, Config, DataDisk, INIT, parse};
use nodebake::digest::Digest;
use nodebake::machine::mark::LogKind;
use nodebake::machine::memory::{Memory, Moment};
use nodebake::machine::{
    DomainInfo, DomainState, Drive, Firmware, Hypervisor, Mark, MarkState, NetworkInfo, Parts, PoolInfo, VolumeFormat,
    VolumeInfo, VolumeName,
};
use nodebake::plan::{self, Blocked, Built, ImageFile, Images, Inventory, Plan, Request, SharedAction, Step};
use nodebake::progress::{Progress, Silent, Task};

const NOW: i64 = 1_700_000_000;
const POOL: &str = "/var/lib/libvirt/nodebake";

/// Puts something in the way of a plan; gives the cluster's nodes.
type Prepare<'a> = &'a dyn Fn(&World) -> Option<Nodes>;

/// A cluster of two nodes with images on the disk, and a host that has none of it.
struct World {
    config: Config,
    id: ClusterId,
    images: Images,
    built: Vec<Built>,
    host: Memory,
    _folder: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = parse(Path::new("/clusters/seed/nodebake.yaml"), INIT).unwrap();
        let id = ClusterId { name: config.cluster.name.clone(), ca: Digest::of(b"ca") };
        let image = |name: &str, bytes: Vec<u8>| {
            let path = folder.path().join(name);
            std::fs::write(&path, &bytes).unwrap();
            ImageFile { path, digest: Digest::of(&bytes), size: bytes.len() as u64 }
        };
        let images = Images {
            payload: image("payload", iso(b"payload")),
            payload_drive: true,
            base: image("base", qcow2(b"base")),
            firmware: Firmware::Bios,
        };
        let nodes = config.nodes.iter().map(|node| node.name.clone());
        let host = Memory::new();
        let capabilities = host.capabilities(Arch::Amd64).unwrap();
        let built = nodes.map(|node| Built {
            seed: image(&format!("seed-{node}"), iso(node.to_string().as_bytes())),
            node,
            images: images.clone(),
            parts: Parts::default(),
            capabilities: capabilities.clone(),
        });
        let built = built.collect();
        Self { config, id, images, built, host, _folder: folder }
    }

    /// As [`World::new`], and the guests' logs are there: every machine that is started gets to an active kubelet.
    fn with_good_guests() -> Self {
        let world = Self::new();
        world.host.put_pool(pool("nodebake", POOL));
        world.host.put_pool(pool("nodebake-logs", "/logs"));
        for built in &world.built {
            world.guest_says(&built.node.to_string(), &report("kubelet-active", "ok", ""));
        }
        world
    }

    /// As [`World::with_good_guests`], and the guests tell all that a whole first boot tells.
    fn with_sealing_guests() -> Self {
        let world = Self::with_good_guests();
        for built in &world.built {
            world.guest_says(&built.node.to_string(), &(report("kubelet-active", "ok", "") + &sealed()));
        }
        world
    }

    /// What of a node's seed is where: in the drive, and as volumes of the pool with their state.
    fn seed_of(&self, node: &str) -> (Drive, Vec<String>) {
        let volumes = self.inventory(None).volumes;
        let seed = format!(".{node}.seed.");
        let seeds = volumes.iter().filter(|volume| volume.name.contains(&seed));
        (self.domain(node).drive(), seeds.map(|volume| format!("whole {}", volume.is_whole())).collect())
    }

    fn guest_says(&self, node: &str, text: &str) {
        self.log(node, LogKind::FirstBoot, text);
    }

    /// Has a log hold this.
    fn log(&self, node: &str, kind: LogKind, text: &str) {
        let name = VolumeName::log(&self.id, &node.parse().unwrap(), kind).to_string();
        let size = text.len() as u64;
        let info = VolumeInfo {
            path: format!("/logs/{name}"),
            name,
            capacity: size,
            allocation: size,
            format: VolumeFormat::Raw,
            backing: None,
        };
        self.host.put_volume("nodebake-logs", info, text.as_bytes());
    }

    fn inventory(&self, nodes: Option<Nodes>) -> Inventory {
        Inventory::read(&self.config, &self.host, nodes).unwrap()
    }

    fn plan_with(&self, nodes: Option<Nodes>, make: fn(Request) -> Result<Plan, Blocked>) -> Result<Plan, Blocked> {
        let inventory = self.inventory(nodes);
        let Self { config, id, built, .. } = self;
        make(Request { config, id, built, inventory: &inventory, now: NOW })
    }

    fn plan(&self) -> Plan {
        self.plan_with(None, plan::up).unwrap()
    }

    fn apply(&self) -> Apply<'_> {
        let patience = Patience::of_silence(Duration::ZERO);
        Apply {
            hypervisor: &self.host,
            id: &self.id,
            watch: None,
            cluster: None,
            patience,
            force: false,
            progress: &Silent,
        }
    }

    fn carry_out(&self, plan: &Plan) -> Result<Vec<Outcome>, ApplyError> {
        let apply = self.apply();
        plan.shared.iter().try_for_each(|action| apply.shared(action))?;
        plan.nodes.iter().map(|node| apply.node(node)).collect()
    }

    fn uuid(&self, node: &str) -> uuid::Uuid {
        self.id.uuid(&node.parse().unwrap())
    }

    fn domain(&self, node: &str) -> DomainInfo {
        self.host.domain(self.uuid(node)).unwrap().unwrap()
    }

    fn change_mark(&self, node: &str, change: impl FnOnce(&mut Mark)) {
        let mut mark = self.domain(node).mark().unwrap().clone();
        change(&mut mark);
        self.host.set_mark(self.uuid(node), &mark).unwrap();
    }
}

fn iso(content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 20 * 2048];
    bytes[32768..32774].copy_from_slice(b"\x01CD001");
    bytes.extend_from_slice(content);
    bytes
}

fn qcow2(content: &[u8]) -> Vec<u8> {
    [b"QFI\xfb\0\0\0\x03".as_slice(), &[0; 4096], content].concat()
}

fn report(stage: &str, state: &str, log: &str) -> String {
    format!(
        "{{\"v\":1,\"boot\":\"00000000-0000-4000-8000-000000000007\",\"booted\":{NOW},\"instance\":\"i\",\"uptime\":1.5,\
         \"stage\":\"{stage}\",\"state\":\"{state}\",\"log\":\"{log}\"}}\n"
    )
}

/// A guest that seals itself.
fn sealed() -> String {
    report("cloud-init-done", "ok", "") + &report("sealed", "ok", "")
}

fn pool(name: &str, path: &str) -> PoolInfo {
    PoolInfo {
        name: name.to_owned(),
        kind: "dir".to_owned(),
        path: path.to_owned(),
        active: true,
        autostart: true,
        capacity: 1 << 40,
        available: 1 << 40,
    }
}

fn network(address: &str) -> NetworkInfo {
    NetworkInfo {
        name: "nodebake".to_owned(),
        active: true,
        autostart: true,
        bridge: Some("virbr1".to_owned()),
        forward: Some("nat".to_owned()),
        address: Some(address.parse().unwrap()),
        dhcp: Vec::new(),
        reservations: Vec::new(),
        ours: false,
    }
}

fn steps(plan: &Plan) -> Vec<String> {
    let name = |step: &Step| match step {
        Step::Create(creation) => {
            format!("create{}", creation.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default())
        }
        Step::Start(_) => "start".to_owned(),
        Step::Finish(_) => "finish".to_owned(),
        Step::PutBack(_) => "put back".to_owned(),
        Step::Seal(_) => "seal".to_owned(),
        Step::Nothing => "nothing".to_owned(),
    };
    plan.nodes.iter().map(|plan| format!("{} {}", plan.node, name(&plan.step))).collect()
}

/// What a hypervisor holds, without what moves by itself.
fn holdings(world: &World) -> Vec<String> {
    let inventory = world.inventory(None);
    let mut all: Vec<String> = inventory
        .domains
        .iter()
        .map(|domain| {
            let DomainInfo { name, state, autostart, .. } = domain;
            format!("{name} {state:?} autostart {autostart} drive {:?} {:?}", domain.drive(), domain.mark())
        })
        .collect();
    all.extend(inventory.volumes.iter().map(|volume| format!("{} whole {}", volume.name, volume.is_whole())));
    all.extend(inventory.network.map(|network| format!("{network:?}")));
    all
}

#[test]
fn an_empty_host_gets_everything_once_and_each_node_its_own() {
    let world = World::new();
    let plan = world.plan();
    let shared: Vec<String> = plan
        .shared
        .iter()
        .map(|action| match action {
            SharedAction::CreateNetwork(spec) => format!("network {} {}", spec.name, spec.cidr),
            SharedAction::CreatePool(spec) => format!("pool {} {}", spec.name, spec.path),
            SharedAction::Upload(upload) => format!("upload {} to {}", upload.spec.name, upload.pool),
            other => format!("{other:?}"),
        })
        .collect();
    let Images { payload, base, .. } = &world.images;
    let wanted = [
        "network nodebake 10.0.0.0/24".to_owned(),
        format!("pool nodebake {POOL}"),
        format!("pool nodebake-logs {POOL}-logs"),
        format!("upload nodebake.base.{}.qcow2 to nodebake", base.digest),
        format!("upload nodebake.payload.{}.iso to nodebake", payload.digest),
    ];
    assert_eq!(shared, wanted);
    assert_eq!(steps(&plan), ["worker-node-1 create", "worker-node-2 create"]);
}

#[test]
fn what_is_there_is_used_as_it_is() {
    let world = World::with_good_guests();
    world.host.put_network(network("10.0.0.1/24"));
    world.carry_out(&world.plan()).unwrap();
    let before = holdings(&world);
    let again = world.plan();
    assert_eq!(again.shared, []);
    assert_eq!(steps(&again), ["worker-node-1 finish", "worker-node-2 finish"]);
    let calls = world.host.calls().len();
    world.carry_out(&again).unwrap();
    assert_eq!(holdings(&world), before);
    assert_eq!(world.host.calls().len(), calls, "nothing was changed: {:?}", &world.host.calls()[calls..]);
}

#[test]
fn a_machine_becomes_what_its_mark_and_state_call_for() {
    let set = |world: &World, state, active| {
        world.change_mark("worker-node-1", |mark| mark.state = state);
        let domain = world.domain("worker-node-1");
        let state = if active { DomainState::Running } else { DomainState::ShutOff };
        world.host.put_domain(DomainInfo { state, ..domain });
    };
    for (state, active, wanted) in [
        (MarkState::Creating, false, "create: the attempt before was cut off"),
        (MarkState::Started, false, "start"),
        (MarkState::Started, true, "finish"),
        (MarkState::Registered, false, "start"),
        (MarkState::Registered, true, "nothing"),
        (MarkState::Failed, true, "create: the attempt before failed"),
        (MarkState::Failed, false, "create: the attempt before failed"),
    ] {
        let world = World::with_sealing_guests();
        world.carry_out(&world.plan()).unwrap();
        set(&world, state, active);
        assert_eq!(steps(&world.plan())[0], format!("worker-node-1 {wanted}"), "{state} {active}");
    }
}

#[test]
fn a_registered_machine_of_another_boot_is_watched_again() {
    let world = World::with_sealing_guests();
    world.carry_out(&world.plan()).unwrap();
    world.change_mark("worker-node-1", |mark| {
        mark.state = MarkState::Registered;
        mark.boot_id = Some("a".to_owned());
    });
    for (boot_id, wanted) in [("a", "worker-node-1 nothing"), ("b", "worker-node-1 finish")] {
        let node = NodeStatus {
            name: "worker-node-1".to_owned(),
            boot_id: boot_id.to_owned(),
            internal_ip: "10.0.0.36".to_owned(),
            ..NodeStatus::default()
        };
        let nodes = Nodes::from([(node.name.clone(), node)]);
        assert_eq!(steps(&world.plan_with(Some(nodes), plan::up).unwrap())[0], wanted);
    }
}

#[test]
fn drift_is_told_and_replaces_nothing() {
    let mut world = World::with_good_guests();
    world.carry_out(&world.plan()).unwrap();
    let old = world.built[0].seed.digest;
    world.built[0].seed.digest = Digest::of(b"another seed");
    let plan = world.plan();
    let drift: Vec<_> = plan.nodes[0].drift.iter().map(ToString::to_string).collect();
    assert_eq!(drift, [format!("seed {} -> {}", old.short(), Digest::of(b"another seed").short())]);
    assert_eq!((steps(&plan)[0].as_str(), &plan.nodes[1].drift), ("worker-node-1 finish", &Vec::new()));

    world.config.nodes[1].cpus = 7;
    let drift: Vec<_> = world.plan().nodes[1].drift.iter().map(ToString::to_string).collect();
    assert_eq!(drift, ["machine changed in the cluster file"]);
    world.config.nodes[0].disk = 10 << 30;
    let drift: Vec<_> = world.plan().nodes[0].drift.iter().map(ToString::to_string).skip(1).collect();
    assert_eq!(drift, ["disk 20480 MiB -> 10240 MiB"]);

    let domain = world.domain("worker-node-2");
    let xml = domain.xml.replace(">2</vcpu>", ">3</vcpu>");
    assert_ne!(xml, domain.xml, "the XML has the element that is changed");
    world.host.put_domain(DomainInfo { xml, ..domain });
    let drift: Vec<_> = world.plan().nodes[1].drift.iter().map(ToString::to_string).collect();
    assert_eq!(drift, ["machine changed in the cluster file", "machine changed by hand"]);
}

#[test]
fn a_larger_disk_grows_in_place() {
    let mut world = World::with_good_guests();
    world.carry_out(&world.plan()).unwrap();
    world.config.nodes[0].disk = 40 << 30;
    let plan = world.plan();
    let growth = plan.nodes[0].growth.first().map(ToString::to_string);
    assert_eq!((growth.as_deref(), &plan.nodes[0].drift), (Some("disk 20480 MiB -> 40960 MiB"), &Vec::new()));
    assert_eq!((&plan.nodes[1].growth, steps(&plan)[0].as_str()), (&Vec::new(), "worker-node-1 finish"));
    let calls = world.host.calls().len();
    world.carry_out(&plan).unwrap();
    let root = format!("nodebake.seed.{}.worker-node-1.root.", &world.id.ca.to_string()[..8]);
    assert!(world.host.calls()[calls].starts_with(&format!("grow {root}")), "{:?}", &world.host.calls()[calls..]);
    let found = world.inventory(None).volumes.into_iter().find(|volume| volume.name.starts_with(&root)).unwrap();
    assert_eq!((found.capacity, &world.plan().nodes[0].growth), (40 << 30, &Vec::new()));
    // One that is made anew has its size from the start.
    world.config.nodes[0].disk = 50 << 30;
    assert_eq!(world.plan_with(None, plan::rebuild).unwrap().nodes[0].growth, []);
}

/// Data disks outlast their machines: rebuilt, taken down, made anew.
#[test]
fn data_disks_outlast_their_machines() {
    let data = |world: &mut World, size| {
        let disk = DataDisk { size };
        world.config.nodes[0].settings.machine.data_disks = [("data".to_owned(), disk)].into();
    };
    let down = |world: &World, all: bool| {
        for (node, removal) in plan::removals(&world.id, &world.config, &world.inventory(None)) {
            let removal = if all { removal.with_data() } else { removal };
            world.apply().remove(&node, &removal).unwrap();
        }
    };
    let mut world = changed();
    data(&mut world, 1 << 30);
    let drift: Vec<_> = world.plan().nodes[0].drift.iter().map(ToString::to_string).collect();
    assert_eq!(drift.len(), 1, "another seed was built: {drift:?}");
    world.rebuild().unwrap();
    let root = |world: &World| format!("root.{}.qcow2", world.built[0].seed.digest.short());
    assert_eq!(world.disks(), ["data.data.qcow2".to_owned(), root(&world)]);
    let xml = world.domain("worker-node-1").xml;
    assert!(xml.contains("<serial>nd-data</serial>") && xml.contains(".data.data.qcow2"), "{xml}");

    data(&mut world, 2 << 30);
    let plan = world.plan();
    let grows: Vec<_> = plan.nodes[0].growth.iter().map(ToString::to_string).collect();
    assert_eq!((grows, &plan.nodes[0].drift), (vec!["data disk data 1024 MiB -> 2048 MiB".to_owned()], &Vec::new()));
    world.carry_out(&plan).unwrap();
    assert_eq!(world.plan().nodes[0].growth, []);
    world.rebuild().unwrap();
    down(&world, false);
    assert_eq!(world.disks(), ["data.data.qcow2"]);
    world.carry_out(&world.plan()).unwrap();
    let found = |world: &World| {
        let volumes = world.inventory(None).volumes;
        volumes.into_iter().find(|volume| volume.name.ends_with(".data.data.qcow2")).map(|volume| volume.capacity)
    };
    assert_eq!(found(&world), Some(2 << 30), "the same disk");
    assert_eq!(plan::unused(Some(&world.id), &world.inventory(None)), []);

    data(&mut world, 1 << 30);
    let error = world.plan_with(None, plan::up).unwrap_err();
    let hint = "give it its size back in the cluster file, or, where nothing on it is needed: nodebake down worker-node-1 \
                --with-data";
    let text = "data disk data of worker-node-1 has 2048 MiB, the cluster file says 1024 MiB; disks do not shrink";
    assert_eq!((error.to_string().as_str(), error.hint().as_deref()), (text, Some(hint)));
    down(&world, true);
    assert_eq!(world.disks(), Vec::<String>::new());
}

/// A plan as `nodebake plan` shows it: kind, name, action, command and reasons of each row.
fn shown(plan: &Plan, gone: &[&str]) -> Vec<String> {
    let gone = gone.iter().map(|name| (name.parse().unwrap(), plan::Removal::default())).collect();
    let text = |row: &plan::Row| {
        let command = row.command.as_deref().unwrap_or("-");
        format!("{} {} {} [{command}] {}", row.kind, row.name, row.action, row.reasons.join("; "))
    };
    plan::rows(plan, &gone).iter().map(text).collect()
}

#[test]
fn every_transition_is_shown_with_its_command() {
    let mut world = World::with_sealing_guests();
    let payload = world.images.payload.digest.short();
    let base = world.images.base.digest.short();
    let all = [
        "network nodebake create [up] 10.0.0.0/24".to_owned(),
        format!("image base image upload [up] {base}, 1 MiB"),
        format!("image payload upload [up] {payload}, 1 MiB"),
        "node worker-node-1 create [up] ".to_owned(),
        "node worker-node-2 create [up] ".to_owned(),
    ];
    assert_eq!(shown(&world.plan(), &[]), all);
    world.carry_out(&world.plan()).unwrap();
    for node in ["worker-node-1", "worker-node-2"] {
        world.change_mark(node, |mark| mark.state = MarkState::Registered);
    }
    let both = |of_first: &[&str]| -> Vec<String> {
        of_first.iter().chain(&["node worker-node-2 nothing [-] "]).map(ToString::to_string).collect()
    };
    assert_eq!(shown(&world.plan(), &[]), both(&["node worker-node-1 nothing [-] "]));
    let gone = shown(&world.plan(), &["worker-node-7"]);
    assert_eq!(gone[2], "node worker-node-7 remove [remove worker-node-7] not in the cluster file");

    let domain = world.domain("worker-node-1");
    world.host.put_domain(DomainInfo { state: DomainState::ShutOff, ..domain.clone() });
    assert_eq!(shown(&world.plan(), &[]), both(&["node worker-node-1 start [up] "]));
    world.change_mark("worker-node-1", |mark| mark.state = MarkState::Failed);
    let failed = "node worker-node-1 replace [up] the attempt before failed";
    assert_eq!(shown(&world.plan(), &[]), both(&[failed]));
    world.host.put_domain(domain);

    let old = world.built[0].seed.digest;
    world.config.nodes[0].disk = 40 << 30;
    world.built[0].seed.digest = Digest::of(b"another");
    let seed = format!("seed {} -> {}", old.short(), Digest::of(b"another").short());
    let rebuild = format!("node worker-node-1 rebuild [rebuild worker-node-1] {seed}");
    let grow = "node worker-node-1 grow [up] disk 20480 MiB -> 40960 MiB";
    assert_eq!(shown(&world.plan(), &[]), both(&[grow, &rebuild]));

    world.built[0].seed = ImageFile::unbuilt();
    let unknown = "node worker-node-1 build [build worker-node-1] what differs is known after build";
    world.config.nodes[0].disk = 20 << 30;
    assert_eq!(shown(&world.plan(), &[]), both(&[unknown]));
    // What needs no build to be known is told all the same.
    let domain = world.domain("worker-node-1");
    let xml = domain.xml.replace(">2</vcpu>", ">3</vcpu>");
    world.host.put_domain(DomainInfo { xml, ..domain });
    let by_hand = "node worker-node-1 rebuild [rebuild worker-node-1] machine changed by hand";
    assert_eq!(shown(&world.plan(), &[]), both(&[unknown, by_hand]));
}

#[test]
fn machines_go_off_and_on_as_they_are() {
    let world = World::with_sealing_guests();
    world.carry_out(&world.plan()).unwrap();
    let nodes: Vec<_> = world.config.nodes.iter().collect();
    let start = || plan::start(&world.config, &world.id, &nodes, &world.inventory(None));
    let (name, before) = ("worker-node-1".parse().unwrap(), world.domain("worker-node-1"));
    let stop = |force| world.apply().stop(&name, "nodebake", force);
    assert_eq!((stop(false).unwrap(), stop(false).unwrap()), (true, false));
    assert_eq!(world.domain("worker-node-1"), DomainInfo { state: DomainState::ShutOff, ..before.clone() });
    let network = world.host.network("nodebake").unwrap().unwrap();
    world.host.put_network(NetworkInfo { active: false, ..network });

    let plan = start().unwrap();
    assert_eq!(steps(&plan), ["worker-node-1 start", "worker-node-2 finish"]);
    assert_eq!(plan.shared, [SharedAction::StartNetwork("nodebake".to_owned())]);
    world.carry_out(&plan).unwrap();
    assert_eq!(world.domain("worker-node-1"), before);
    assert_eq!(start().unwrap().shared, []);

    world.host.deafen();
    let error = stop(false).unwrap_err();
    assert!(matches!(error, ApplyError::StillRuns { .. }), "{error}");
    assert_eq!(world.domain("worker-node-1").state, DomainState::Running);
    assert!(stop(true).unwrap());
    assert_eq!(world.domain("worker-node-1").state, DomainState::ShutOff);
}

/// What is kept of a node's logs of the run before: of first boot, and of the console.
fn kept(world: &World, node: &str) -> [Option<String>; 2] {
    [LogKind::FirstBoot, LogKind::Console].map(|kind| {
        let name = VolumeName::previous_log(&world.id, &node.parse().unwrap(), kind);
        let read = world.host.read_volume("nodebake-logs", &name, 0, 1000);
        read.ok().map(|bytes| String::from_utf8(bytes).unwrap())
    })
}

#[test]
fn what_a_machine_told_the_last_time_is_kept_when_it_is_started() {
    let (world, node) = (World::with_sealing_guests(), "worker-node-1");
    let (name, notes) = (node.parse().unwrap(), Notes::default());
    let apply = Apply { progress: &notes, ..world.apply() };
    let plan = world.plan();
    plan.shared.iter().for_each(|action| world.apply().shared(action).unwrap());
    let good = report("kubelet-active", "ok", "") + &sealed();
    apply.node(&plan.nodes[0]).unwrap();
    assert_eq!(kept(&world, node), [Some(good.clone()), None]);

    let nodes = [&world.config.nodes[0]];
    let start = |first_boot: &str, console: &str, fault: Option<usize>| {
        assert!(apply.stop(&name, "nodebake", true).unwrap());
        world.log(node, LogKind::FirstBoot, first_boot);
        world.log(node, LogKind::Console, console);
        world.host.put_guest("", &good);
        let plan = plan::start(&world.config, &world.id, &nodes, &world.inventory(None)).unwrap();
        if let Some(call) = fault {
            world.host.fail_at(world.host.calls().len() + call, Moment::Before);
        }
        apply.node(&plan.nodes[0]).unwrap();
        kept(&world, node)
    };
    let is = |first_boot: &str, console: &str| [Some(first_boot.to_owned()), Some(console.to_owned())];
    assert_eq!(start("one", "1", None), is("one", "1"));
    // A run that wrote nothing takes the place of none, and what is kept is always of one run.
    assert_eq!(start("", "", None), is("one", "1"));
    assert_eq!(start("", "2", None), [None, Some("2".to_owned())]);
    assert_eq!(start("three", "3", None), is("three", "3"));
    // The machine runs, whatever becomes of that; and one that runs is left alone.
    let told = notes.0.lock().unwrap().len();
    assert_eq!(start("four", "4", Some(0)), is("three", "3"));
    let warning = "warning: worker-node-1: what its machine told the last time is not kept: lost the connection to libvirt \
                   at memory:/// (to delete nodebake.seed.69590970.worker-node-1.first-boot.previous.log): a fault was \
                   injected";
    assert_eq!(notes.0.lock().unwrap()[told + 2], warning);
    world.log(node, LogKind::Console, "5");
    apply.node(&plan::start(&world.config, &world.id, &nodes, &world.inventory(None)).unwrap().nodes[0]).unwrap();
    assert_eq!(kept(&world, node), is("three", "3"));

    let removals = plan::removals(&world.id, &world.config, &world.inventory(None));
    apply.remove(&name, &removals[&name]).unwrap();
    assert_eq!(kept(&world, node), [None, None]);
}

#[test]
fn what_is_waited_for_comes_or_is_told_why_not() {
    let (started, kubelet) = (report("seed-read", "ok", ""), report("kubelet-active", "ok", ""));
    let broken = report("containerd-active", "failed", "Ym9vbQo=");
    let no_images = report("images-imported", "failed", "Ym9vbQo=");
    let nothing_new = |last: &str| Some(format!("worker-node-1: nothing new for 0 s; last seen: {last}"));
    let failed = |stage: &str| Some(format!("worker-node-1: failed to get to \"{stage}\""));
    let off = |state: &str, last: &str| {
        let what = format!("the guest stopped ({state}) before it was in the cluster");
        Some(format!("worker-node-1: {what}; last seen: {last}"))
    };
    let (on, shut) = (Some(DomainState::Running), Some(DomainState::ShutOff));
    for (says, state, goal, wanted) in [
        (&kubelet, on, "stage=kubelet-active", None),
        (&(broken.clone() + &report("containerd-active", "ok", "")), on, "stage=containerd-active", None),
        (&started, on, "stage=kubelet-active", nothing_new("seed read")),
        (&broken, on, "stage=kubelet-active", failed("containerd active")),
        (&broken, on, "off", nothing_new("failed: containerd active")),
        (&no_images, on, "stage=images-imported", failed("images imported")),
        (&(no_images.clone() + &kubelet), on, "stage=kubelet-active", None),
        (&started, shut, "stage=kubelet-active", off("ShutOff", "seed read")),
        (&started, None, "stage=kubelet-active", off("gone", "seed read")),
        (&kubelet, shut, "stage=kubelet-active", off("ShutOff", "kubelet active")),
        (&started, shut, "off", None),
        (&started, None, "off", None),
        // Without the cluster nobody is ever known to be in it.
        (&kubelet, on, "registered", nothing_new("kubelet active")),
    ] {
        let world = World::with_good_guests();
        world.carry_out(&world.plan()).unwrap();
        world.guest_says("worker-node-1", says);
        let domain = world.domain("worker-node-1");
        if let Some(state) = state {
            world.host.put_domain(DomainInfo { state, ..domain });
        } else {
            world.host.destroy(domain.uuid).unwrap();
            world.host.undefine(domain.uuid).unwrap();
        }
        let (before, calls) = (holdings(&world), world.host.calls().len());
        let waited = world.apply().wait(&"worker-node-1".parse().unwrap(), "nodebake", goal.parse().unwrap());
        assert_eq!(waited.as_ref().err().map(ToString::to_string), wanted, "{goal} of {says}");
        assert!(waited.is_ok() || waited.is_err_and(|error| error.is_node_down()));
        assert_eq!((holdings(&world), world.host.calls().len()), (before, calls), "{goal}: something was changed");
    }
}

#[test]
fn what_was_not_made_cannot_be_started() {
    let world = World::with_good_guests();
    let nodes: Vec<_> = world.config.nodes.iter().take(1).collect();
    let start = || plan::start(&world.config, &world.id, &nodes, &world.inventory(None)).unwrap_err();
    let told = |error: Blocked| (error.to_string(), error.hint().unwrap_or_default());
    let wanted = ("worker-node-1 has no machine", "`nodebake up worker-node-1` makes it");
    assert_eq!(told(start()), (wanted.0.to_owned(), wanted.1.to_owned()));
    world.carry_out(&world.plan()).unwrap();
    world.change_mark("worker-node-1", |mark| mark.state = MarkState::Creating);
    let wanted = ("the machine of worker-node-1 is half made", "`nodebake up worker-node-1` makes it anew");
    assert_eq!(told(start()), (wanted.0.to_owned(), wanted.1.to_owned()));
}

#[test]
fn rebuild_keeps_who_the_node_is() {
    let mut world = World::with_good_guests();
    world.carry_out(&world.plan()).unwrap();
    let before = world.domain("worker-node-1");
    world.built.truncate(1);
    let bytes = iso(b"another seed");
    std::fs::write(&world.built[0].seed.path, &bytes).unwrap();
    world.built[0].seed =
        ImageFile { digest: Digest::of(&bytes), size: bytes.len() as u64, ..world.built[0].seed.clone() };
    let plan = world.plan_with(None, plan::rebuild).unwrap();
    assert_eq!(steps(&plan), ["worker-node-1 create: asked for"]);
    world.carry_out(&plan).unwrap();
    let after = world.domain("worker-node-1");
    let mac = |domain: &DomainInfo| domain.xml.lines().find(|line| line.contains("<mac ")).map(ToOwned::to_owned);
    assert!(mac(&before).is_some());
    assert_eq!((after.uuid, &after.name, mac(&after)), (before.uuid, &before.name, mac(&before)));
    let disks = world.inventory(None).volumes;
    let disks: Vec<_> = disks.iter().filter(|v| v.name.contains(".worker-node-1.")).map(|v| v.name.clone()).collect();
    let short = Digest::of(&bytes).short();
    let name = |kind: &str| format!("nodebake.seed.{}.worker-node-1.{kind}", &world.id.ca.to_string()[..8]);
    assert_eq!(disks, [name(&format!("root.{short}.qcow2")), name(&format!("seed.{short}.iso"))]);
}

/// A world whose machines came up, and whose first node has another seed since; its guests do what guests do.
fn changed() -> World {
    let mut world = World::with_sealing_guests();
    let good = report("kubelet-active", "ok", "") + &sealed();
    world.host.put_guest("", &good);
    world.carry_out(&world.plan()).unwrap();
    world.built.truncate(1);
    let bytes = iso(b"another seed");
    std::fs::write(&world.built[0].seed.path, &bytes).unwrap();
    let old = world.built[0].seed.clone();
    world.built[0].seed = ImageFile { digest: Digest::of(&bytes), size: bytes.len() as u64, ..old };
    world
}

impl World {
    /// The guest of the machine that the first node would be made as now says this.
    fn new_guest_says(&self, says: &str) {
        let short = self.built[0].seed.digest.short();
        self.host.put_guest(&format!("worker-node-1.root.{short}"), says);
    }

    fn rebuild(&self) -> Result<(), ApplyError> {
        self.carry_out(&self.plan_with(None, plan::rebuild).unwrap()).map(drop)
    }

    /// Volumes of the first node, without the name that all have in common.
    fn disks(&self) -> Vec<String> {
        let head = format!("nodebake.seed.{}.worker-node-1.", &self.id.ca.to_string()[..8]);
        let volumes = self.inventory(None).volumes;
        volumes.iter().filter_map(|volume| volume.name.strip_prefix(&head).map(ToOwned::to_owned)).collect()
    }

    /// As [`holdings`], but which of two names a root disk has tells nothing.
    fn rebuilt_holdings(&self) -> Vec<String> {
        let again = Digest::of(self.built[0].seed.digest.to_string().as_bytes()).short();
        holdings(self).iter().map(|line| line.replace(&again, &self.built[0].seed.digest.short())).collect()
    }
}

/// What the calls since a moment did, and to which volume's kind.
fn kinds(calls: &[String]) -> Vec<String> {
    let kind = |call: &String| {
        let mut words = call.split(' ');
        let verb = words.next().unwrap().to_owned();
        let volume = words.next().filter(|word| word.contains(".worker-node-1."));
        volume.map_or(verb.clone(), |name| format!("{verb} {}", name.split('.').nth(4).unwrap()))
    };
    calls.iter().map(kind).collect()
}

#[test]
fn a_machine_that_works_is_kept_until_the_new_one_does() {
    let world = changed();
    let (before, calls) = (world.domain("worker-node-1"), world.host.calls().len());
    let plan = world.plan_with(None, plan::rebuild).unwrap();
    assert_eq!(steps(&plan), ["worker-node-1 create: asked for"]);
    let replacement = plan.nodes[0].replacement.clone().unwrap();
    assert_eq!((&replacement.old, replacement.attempted), (&before.xml, false));
    world.carry_out(&plan).unwrap();
    let calls = &world.host.calls()[calls..];
    let wanted = [
        "create root",
        "upload seed",
        "shutdown",
        "define",
        "mark",
        "autostart",
        "delete first-boot",
        "flatten first-boot",
        "mark",
        "start",
        "mark",
        "delete root",
        "forget",
        "mark",
        "eject",
        "mark",
        "wipe seed",
        "delete seed",
    ];
    assert_eq!(kinds(calls), wanted, "{calls:?}");
    let after = world.domain("worker-node-1");
    let mac = |domain: &DomainInfo| domain.xml.lines().find(|line| line.contains("<mac ")).map(ToOwned::to_owned);
    assert_eq!((after.uuid, &after.name, mac(&after)), (before.uuid, &before.name, mac(&before)));
    assert_eq!(world.disks(), [format!("root.{}.qcow2", world.built[0].seed.digest.short())]);
    let plan = world.plan();
    assert_eq!((steps(&plan)[0].as_str(), &plan.nodes[0].drift), ("worker-node-1 finish", &Vec::new()));
    assert_eq!((&plan.nodes[0].replacement, &plan.nodes[0].strays), (&None, &Vec::new()));
}

/// The same seed once more: the new disk stands beside the old one all the same, and nothing looks changed by it.
#[test]
fn what_has_not_changed_can_be_made_anew_as_well() {
    let world = changed();
    world.rebuild().unwrap();
    let digest = world.built[0].seed.digest;
    let (first, second) = (digest.short(), Digest::of(digest.to_string().as_bytes()).short());
    for wanted in [&second, &first, &second] {
        world.rebuild().unwrap();
        assert_eq!(world.disks(), [format!("root.{wanted}.qcow2")]);
        let plan = world.plan();
        assert_eq!((&plan.nodes[0].drift, &plan.nodes[0].strays), (&Vec::new(), &Vec::new()));
        assert_eq!(plan.nodes[0].growth, []);
    }
}

/// A seed that is kept is the new machine's as well as the old one's, where nothing has changed.
#[test]
fn a_seed_of_both_machines_stays_where_the_old_one_is_put_back() {
    let mut world = World::with_good_guests();
    world.config.nodes.iter_mut().for_each(|node| node.settings.keep_seed = true);
    let good = report("kubelet-active", "ok", "");
    world.host.put_guest("", &good);
    world.carry_out(&world.plan()).unwrap();
    let (before, disks) = (holdings(&world), world.disks());
    assert_eq!(disks.len(), 2, "{disks:?}");
    world.host.put_guest(&Digest::of(world.built[0].seed.digest.to_string().as_bytes()).short(), "");
    world.built.truncate(1);
    assert!(matches!(world.rebuild(), Err(ApplyError::PutBack { .. })));
    assert_eq!((holdings(&world), world.disks()), (before, disks));
}

#[test]
fn the_old_machine_comes_back_where_the_new_one_fails() {
    for (says, why) in [
        (report("containerd-active", "failed", "Ym9vbQo="), "failed to get to \"containerd active\""),
        (report("kubelet-active", "failed", "Ym9vbQo="), "failed to get to \"kubelet active\""),
        (report("payload-mounted", "ok", ""), "nothing new for 0 s; last seen: payload mounted"),
        (String::new(), "nothing new for 0 s; last seen: nothing"),
    ] {
        let world = changed();
        world.new_guest_says(&says);
        let (before, disks) = (holdings(&world), world.disks());
        let error = world.rebuild().unwrap_err();
        let text = "worker-node-1: its new machine did not come up, and the old one was put back";
        let ApplyError::PutBack { cause, .. } = &error else { panic!("{error:?}") };
        assert_eq!((error.to_string().as_str(), cause.to_string()), (text, format!("worker-node-1: {why}")));
        assert_eq!((error.is_node_down(), error.log()), (true, cause.log()));
        assert_eq!((holdings(&world), world.disks()), (before, disks));
        assert_eq!(steps(&world.plan())[0], "worker-node-1 finish");
    }
}

/// A run that was killed has not noted that its machine came up: it is kept like one that did.
#[test]
fn a_machine_that_was_started_is_kept_as_well() {
    for (state, kept) in [(MarkState::Started, true), (MarkState::Failed, false)] {
        let world = changed();
        world.change_mark("worker-node-1", |mark| mark.state = state);
        world.new_guest_says(&report("containerd-active", "failed", "Ym9vbQo="));
        let disks = world.disks();
        let error = world.rebuild().unwrap_err();
        assert_eq!((matches!(error, ApplyError::PutBack { .. }), world.disks() == disks), (kept, kept), "{error:?}");
    }
}

#[test]
fn a_machine_that_does_not_go_off_is_not_replaced_without_force() {
    let world = changed();
    world.host.deafen();
    let before = holdings(&world);
    assert!(matches!(world.rebuild(), Err(ApplyError::StillRuns { .. })));
    assert_eq!(holdings(&world), before);
    let plan = world.plan_with(None, plan::rebuild).unwrap();
    let apply = Apply { force: true, ..world.apply() };
    apply.node(&plan.nodes[0]).unwrap();
    assert_eq!(world.domain("worker-node-1").mark().unwrap().seed, world.built[0].seed.digest);
}

/// An old machine that does not come back either is told of, and kept.
#[test]
fn neither_machine_may_come_up() {
    let world = changed();
    world.host.put_guest("", "");
    let error = world.rebuild().unwrap_err();
    let text = "worker-node-1: its new machine did not come up (worker-node-1: nothing new for 0 s; last seen: nothing), and \
                the old one is not back";
    assert_eq!((error.to_string().as_str(), error.is_node_down()), (text, true));
    assert_eq!(steps(&world.plan())[0], "worker-node-1 finish");
    world.host.put_guest("", &(report("kubelet-active", "ok", "") + &sealed()));
    let domain = world.domain("worker-node-1");
    world.host.put_domain(DomainInfo { state: DomainState::ShutOff, ..domain });
    world.carry_out(&world.plan()).unwrap();
}

/// A fault at each call of `rebuild`: the next `up` finishes or undoes it, and what is undone can be done again.
#[test]
fn rebuild_converges_from_a_fault_at_every_call() {
    let whole = changed();
    let before = whole.host.calls().len();
    whole.rebuild().unwrap();
    let wanted = whole.rebuilt_holdings();
    let calls = &whole.host.calls()[before..];
    let (mut finished, mut undone) = (0, 0);
    for fault in Fault::all(calls) {
        let world = changed();
        let old = (holdings(&world), world.disks());
        let when = fault.run(&world, World::rebuild);
        world.carry_out(&world.plan()).unwrap_or_else(|error| panic!("{when}: {error:?}"));
        let plan = world.plan();
        let node = &plan.nodes[0];
        assert_eq!((&node.replacement, &node.strays), (&None, &Vec::new()), "{when}");
        if world.domain("worker-node-1").mark().unwrap().seed == world.built[0].seed.digest {
            finished += 1;
        } else {
            assert_eq!((holdings(&world), world.disks()), old, "{when}");
            undone += 1;
            world.rebuild().unwrap_or_else(|error| panic!("{when}: {error:?}"));
        }
        assert_eq!(world.rebuilt_holdings(), wanted, "{when}");
    }
    assert!(finished > 10 && undone > 10, "{finished} {undone}");
}

/// The same where the new machine does not come up: whatever goes wrong on the way back, the old one is there in the end.
#[test]
fn putting_back_converges_from_a_fault_at_every_call() {
    let whole = changed();
    let wanted = (holdings(&whole), whole.disks());
    whole.new_guest_says(&report("containerd-active", "failed", "Ym9vbQo="));
    let before = whole.host.calls().len();
    assert!(matches!(whole.rebuild(), Err(ApplyError::PutBack { .. })));
    let calls = whole.host.calls()[before..].to_vec();
    for fault in Fault::all(&calls) {
        let world = changed();
        world.new_guest_says(&report("containerd-active", "failed", "Ym9vbQo="));
        let when = fault.run(&world, World::rebuild);
        // One run may have to find out that the new machine does not come up.
        if let Err(error) = world.carry_out(&world.plan()) {
            assert!(matches!(error, ApplyError::PutBack { .. }), "{when}: {error:?}");
            world.carry_out(&world.plan()).unwrap_or_else(|error| panic!("{when}: {error:?}"));
        }
        assert_eq!((holdings(&world), world.disks()), wanted, "{when}");
    }
}

/// What no machine needs may go: also of a machine that is kept, and never what another cluster or a user has.
#[test]
fn volumes_that_no_machine_uses_can_go() {
    let unused = |world: &World| -> Vec<String> {
        plan::unused(Some(&world.id), &world.inventory(None)).into_iter().map(|volume| volume.name).collect()
    };
    let world = changed();
    assert_eq!(unused(&world), Vec::<String>::new());
    let volume = |name: &str, backing: Option<&str>| {
        let (name, path) = (name.to_owned(), format!("{POOL}/{name}"));
        let backing = backing.map(|name| format!("{POOL}/{name}"));
        let info = VolumeInfo { name, path, capacity: 1, allocation: 1, format: VolumeFormat::Raw, backing };
        world.host.put_volume("nodebake", info, b"x");
    };
    let image = |kind: &str, ending: &str| format!("nodebake.{kind}.{}.{ending}", Digest::of(b"old"));
    let (base, payload) = (image("base", "qcow2"), image("payload", "iso"));
    let head = format!("nodebake.seed.{}.worker-node-1", &world.id.ca.to_string()[..8]);
    let stray = format!("{head}.root.0123456789ab.qcow2");
    let foreign = "nodebake.other.01234567.worker-node-1.root.0123456789ab.qcow2";
    for name in ["users.qcow2", &base, &payload, &stray, &format!("{head}.seed.0123456789ab.iso")] {
        volume(name, None);
    }
    volume(foreign, Some(&base));
    assert_eq!(unused(&world), [payload.clone(), stray, format!("{head}.seed.0123456789ab.iso")]);
    // Without its CA a cluster is not known.
    let shared: Vec<_> = plan::unused(None, &world.inventory(None)).into_iter().map(|volume| volume.name).collect();
    assert_eq!(shared, std::slice::from_ref(&payload));

    // While a replacement is under way both machines need theirs.
    world.new_guest_says("");
    let plan = world.plan_with(None, plan::rebuild).unwrap();
    world.host.cut_at(world.host.calls().len() + 8, Moment::After);
    assert!(world.apply().node(&plan.nodes[0]).is_err());
    world.host.mend();
    assert!(world.domain("worker-node-1").record().previous.is_some());
    assert_eq!(unused(&world), [payload]);
}

/// A fault at each call of `down`, then a plain run: nothing is left.
#[test]
fn down_converges_from_a_fault_at_every_call() {
    let down = |world: &World| {
        let removals = plan::removals(&world.id, &world.config, &world.inventory(None));
        removals.iter().try_for_each(|(node, removal)| world.apply().remove(node, removal))
    };
    let up = || {
        let world = World::with_good_guests();
        world.carry_out(&world.plan()).unwrap();
        world
    };
    let whole = up();
    let before = whole.host.calls().len();
    down(&whole).unwrap();
    let (wanted, calls) = (holdings(&whole), whole.host.calls()[before..].to_vec());
    assert_eq!(wanted.len(), 3, "base image, payload and network stay: {wanted:?}");
    assert!(calls.len() > 10, "{calls:?}");
    for fault in Fault::all(&calls) {
        let world = up();
        let when = fault.run(&world, down);
        down(&world).unwrap_or_else(|error| panic!("{when}: {error:?}"));
        assert_eq!(holdings(&world), wanted, "{when}");
    }
}

#[test]
fn down_removes_ours_and_nothing_else() {
    let world = World::with_good_guests();
    world.host.put_network(network("10.0.0.1/24"));
    let foreign = DomainInfo {
        name: "users".to_owned(),
        uuid: uuid::Uuid::from_u128(7),
        state: DomainState::Running,
        autostart: false,
        mark: Ok(None),
        xml: "<domain/>".to_owned(),
    };
    world.host.put_domain(foreign.clone());
    let names = ["users.qcow2", "nodebake.other.01234567.worker-node-1.root.0123456789ab.qcow2", "nodebake.iso"];
    for name in names {
        let (name, path) = (name.to_owned(), format!("{POOL}/{name}"));
        let info = VolumeInfo { name, path, capacity: 1, allocation: 1, format: VolumeFormat::Raw, backing: None };
        world.host.put_volume("nodebake", info, b"x");
    }
    let before = holdings(&world);
    world.carry_out(&world.plan()).unwrap();
    let inventory = world.inventory(None);
    let removals = plan::removals(&world.id, &world.config, &inventory);
    assert_eq!(removals.keys().map(ToString::to_string).collect::<Vec<_>>(), ["worker-node-1", "worker-node-2"]);
    for (node, removal) in &removals {
        world.apply().remove(node, removal).unwrap();
    }
    let kept = ["nodebake.base.", "nodebake.payload."];
    let mut left = holdings(&world);
    let images = left.extract_if(.., |line| kept.iter().any(|kept| line.starts_with(kept))).count();
    assert_eq!((images, left), (2, before));
}

#[test]
fn what_stands_in_the_way_is_told_before_anything_is_made() {
    let foreign = |world: &World, name: &str, uuid| {
        let (name, xml) = (name.to_owned(), "<domain/>".to_owned());
        world.host.put_domain(DomainInfo {
            name,
            uuid,
            state: DomainState::ShutOff,
            autostart: false,
            mark: Ok(None),
            xml,
        });
    };
    let node = |name: &str, address: &str, renewed| {
        let node = NodeStatus {
            name: name.to_owned(),
            internal_ip: address.to_owned(),
            lease_renewed: Some(renewed),
            ..NodeStatus::default()
        };
        Some(Nodes::from([(node.name.clone(), node)]))
    };
    let cases: [(Prepare, &str); 7] = [
        (
            &|w| {
                foreign(w, "worker-node-1", uuid::Uuid::from_u128(7));
                None
            },
            "domain worker-node-1 exists and is not of this cluster",
        ),
        (
            &|w| {
                foreign(w, "other", w.uuid("worker-node-2"));
                None
            },
            "domain worker-node-2 exists and is not of this cluster",
        ),
        (&|_| node("db-1", "10.0.0.37", NOW), "the address 10.0.0.37 of worker-node-2 is taken by node db-1"),
        (
            &|_| node("worker-node-1", "10.0.0.99", NOW - 39),
            "node worker-node-1 is in the cluster already, alive and on a machine that is not ours",
        ),
        (
            &|w| {
                w.host.put_network(network("10.0.1.1/24"));
                None
            },
            "network nodebake has the address 10.0.1.0/24, the cluster file says 10.0.0.0/24",
        ),
        (
            &|w| {
                let dhcp = vec![("10.0.0.30".parse().unwrap(), "10.0.0.36".parse().unwrap())];
                w.host.put_network(NetworkInfo { dhcp, ..network("10.0.0.1/24") });
                None
            },
            "the address 10.0.0.36 of worker-node-1 lies in the DHCP range of network nodebake",
        ),
        (
            &|w| {
                w.host.put_pool(PoolInfo { kind: "logical".to_owned(), ..pool("nodebake", "/dev/vg") });
                None
            },
            "storage pool nodebake is of type logical; disks need a pool over a folder",
        ),
    ];
    for (prepare, wanted) in cases {
        let world = World::new();
        let nodes = prepare(&world);
        match world.plan_with(nodes, plan::up) {
            Err(blocked) => {
                assert_eq!(blocked.to_string(), wanted);
                assert!(blocked.hint().is_some(), "{wanted}");
            }
            Ok(plan) => panic!("{wanted}: {plan:?}"),
        }
    }
    // A lease that has run out, or a node that we removed a moment ago, stands in nobody's way.
    for nodes in [node("worker-node-1", "10.0.0.99", NOW - 40), node("worker-node-1", "10.0.0.36", NOW)] {
        assert!(World::new().plan_with(nodes, plan::up).is_ok());
    }
}

#[test]
fn a_failing_stage_leaves_the_machine_for_its_logs() {
    let world = World::with_good_guests();
    world.guest_says("worker-node-1", &report("containerd-active", "failed", "Ym9vbQo="));
    let plan = world.plan();
    plan.shared.iter().for_each(|action| world.apply().shared(action).unwrap());
    let error = world.apply().node(&plan.nodes[0]).unwrap_err();
    assert_eq!(error.to_string(), "worker-node-1: failed to get to \"containerd active\"");
    assert_eq!((error.log(), error.is_node_down()), (Some("boom\n"), true));
    let domain = world.domain("worker-node-1");
    let mark = domain.mark().unwrap();
    assert_eq!((mark.state, mark.stage.as_deref()), (MarkState::Failed, Some("containerd active")));
    assert_eq!(domain.state, DomainState::Running);
    world.guest_says("worker-node-1", &report("kubelet-active", "ok", ""));
    assert_eq!(steps(&world.plan())[0], "worker-node-1 create: the attempt before failed");
    assert_eq!(world.carry_out(&world.plan()).unwrap(), [Outcome::KubeletActive; 2]);
}

#[test]
fn a_failure_is_overcome_by_its_own_stage_alone() {
    let kubelet = report("kubelet-active", "ok", "");
    for (between, wanted) in [
        (report("containerd-active", "ok", ""), None),
        (report("payload-mounted", "ok", ""), Some("worker-node-1: failed to get to \"containerd active\"")),
    ] {
        let world = World::with_good_guests();
        let text = report("containerd-active", "failed", "") + &between + &kubelet;
        world.guest_says("worker-node-1", &text);
        assert_eq!(world.carry_out(&world.plan()).err().map(|error| error.to_string()).as_deref(), wanted);
    }
}

#[test]
fn a_first_boot_is_up_when_it_is_finished_and_a_later_one_without_that_word() {
    let first = report("seed-read", "ok", "") + &report("kubelet-active", "ok", "");
    let finished = first.clone() + &report("finished", "ok", "");
    let other = "00000000-0000-4000-8000-000000000008";
    let later =
        first.clone() + &report("kubelet-active", "ok", "").replace("00000000-0000-4000-8000-000000000007", other);
    for (text, wanted) in [(&first, false), (&finished, true), (&later, true)] {
        let world = World::with_good_guests();
        world.guest_says("worker-node-1", text);
        assert_eq!(world.carry_out(&world.plan()).is_ok(), wanted, "{text}");
    }
}

/// What first boot does beside the kubelet is waited for and told, and no node fails by it.
#[test]
fn a_node_is_up_whatever_becomes_of_its_errands() {
    let begun = report("images-imported", "begun", "") + &report("kubelet-active", "ok", "");
    let heard = ["begun: images imported (2 s)", "kubelet active (2 s)"];
    for (end, wanted) in [
        (report("images-imported", "ok", ""), vec!["images imported (2 s)"]),
        (
            report("images-imported", "failed", "Ym9vbQo="),
            vec![
                "failed: images imported (2 s)",
                "warning: worker-node-1 is a node without this: `nodebake logs worker-node-1` tells why",
            ],
        ),
        (
            String::new(),
            vec![
                "warning: worker-node-1 is a node, and not yet known to have this: images imported; \
                 `nodebake logs worker-node-1` tells more",
            ],
        ),
    ] {
        let mut world = World::with_good_guests();
        world.config.nodes[0].settings.keep_seed = true;
        world.guest_says("worker-node-1", &begun);
        let (plan, notes) = (world.plan(), Notes::default());
        plan.shared.iter().for_each(|action| world.apply().shared(action).unwrap());
        let patience = Patience::of_silence(Duration::from_secs(1));
        let apply = Apply { progress: &notes, patience, ..world.apply() };
        let outcome = std::thread::scope(|scope| {
            let node = scope.spawn(|| apply.node(&plan.nodes[0]).unwrap());
            let active = || world.host.domain(world.uuid("worker-node-1")).unwrap()?.mark().map(|mark| mark.state);
            while active() != Some(MarkState::Active) {
                assert!(!node.is_finished(), "{wanted:?}: it does not wait");
                std::thread::yield_now();
            }
            world.guest_says("worker-node-1", &(begun.clone() + &end));
            node.join().unwrap()
        });
        let (notes, wanted) = (notes.0.into_inner().unwrap(), [&heard[..], &wanted].concat());
        let last = notes[notes.len() - wanted.len()..].iter().map(String::as_str).collect::<Vec<_>>();
        assert_eq!((outcome, last), (Outcome::KubeletActive, wanted));
        assert_eq!(world.domain("worker-node-1").mark().unwrap().state, MarkState::Active);
    }
}

/// A node that is up has its secrets on its own disk alone, and is the same machine otherwise.
#[test]
fn the_seed_of_a_node_that_is_up_goes() {
    let world = World::with_sealing_guests();
    world.carry_out(&world.plan()).unwrap();
    let calls = world.host.calls();
    for node in ["worker-node-1", "worker-node-2"] {
        assert_eq!(world.seed_of(node), (Drive::Empty, vec![]));
        let domain = world.domain(node);
        assert_eq!(domain.mark().unwrap().stored, Some(domain.stored_digest()));
        assert!(domain.xml.contains("device='cdrom'"), "the drive stays: {}", domain.xml);
        // Nobody reads the seed when it is overwritten, and it is overwritten before it is deleted.
        let uuid = world.uuid(node).to_string();
        let of_seed = |call: &&String| call.contains(&format!(".{node}.seed.")) || **call == format!("eject {uuid}");
        let kinds: Vec<_> = calls.iter().filter(of_seed).map(|call| call.split(' ').next().unwrap()).collect();
        assert_eq!(kinds, ["upload", "eject", "wipe", "delete"]);
    }
    // Nothing is left to do, and nothing looks changed.
    let again = world.plan();
    assert_eq!(steps(&again), ["worker-node-1 finish", "worker-node-2 finish"]);
    assert!(again.nodes.iter().all(|node| node.sealing.is_none() && node.drift.is_empty()), "{again:?}");
    world.carry_out(&again).unwrap();
    assert_eq!(world.host.calls(), calls);
    // Made anew and taken away like any other.
    world.carry_out(&world.plan_with(None, plan::rebuild).unwrap()).unwrap();
    assert_eq!(world.seed_of("worker-node-1"), (Drive::Empty, vec![]));
    for (node, removal) in &plan::removals(&world.id, &world.config, &world.inventory(None)) {
        world.apply().remove(node, removal).unwrap();
    }
    assert_eq!(world.inventory(None).domains, []);
}

/// What a guest says, how far its machine has come by then, and what is told of it.
type Case<'a> = (String, &'a dyn Fn(&World) -> bool, &'a str);

/// What a guest has told decides how far its seed may go; the next `up` does the rest.
#[test]
fn a_seed_goes_no_further_than_its_guest_does() {
    let kubelet = report("kubelet-active", "ok", "");
    let done = report("cloud-init-done", "ok", "");
    let held = |world: &World| {
        let (Drive::Seed(_), volumes) = world.seed_of("worker-node-1") else { return false };
        volumes == ["whole true"]
    };
    let ejected = |world: &World| world.seed_of("worker-node-1") == (Drive::Empty, vec!["whole true".to_owned()]);
    let cases: [Case; 3] = [
        (String::new(), &held, "its guest has not told that cloud-init is done; the next `up` tries again"),
        (
            done.clone(),
            &ejected,
            "its guest has not yet removed what cloud-init kept of the seed; the next `up` tries again, `nodebake logs \
             worker-node-1` tells more",
        ),
        (
            done + &report("sealed", "failed", ""),
            &ejected,
            "its guest failed to remove what cloud-init kept of the seed; the next `up` tries again, `nodebake logs \
             worker-node-1` tells more",
        ),
    ];
    for (said, is_so, why) in cases {
        let world = World::with_good_guests();
        world.guest_says("worker-node-1", &(kubelet.clone() + &said));
        let (plan, notes) = (world.plan(), Notes::default());
        plan.shared.iter().for_each(|action| world.apply().shared(action).unwrap());
        let apply = Apply { progress: &notes, ..world.apply() };
        assert_eq!(apply.node(&plan.nodes[0]).unwrap(), Outcome::KubeletActive);
        let last = notes.0.into_inner().unwrap().pop().unwrap();
        assert_eq!(last, format!("warning: worker-node-1 is not sealed: {why}"));
        assert!(is_so(&world), "{said}: {:?}", world.seed_of("worker-node-1"));

        // Registered meanwhile: only this is left to do. The guest tells the rest, or only the end of it after a reboot.
        world.change_mark("worker-node-1", |mark| mark.state = MarkState::Registered);
        let plan = world.plan();
        assert_eq!(steps(&plan)[0], "worker-node-1 seal");
        assert!(!plan.is_empty());
        world.guest_says("worker-node-1", &report("sealed", "ok", ""));
        assert_eq!(world.apply().node(&plan.nodes[0]).unwrap(), Outcome::Registered);
        assert_eq!(world.seed_of("worker-node-1"), (Drive::Empty, vec![]));
        assert_eq!(world.plan().nodes[0].drift, []);
        assert_eq!(steps(&world.plan())[0], "worker-node-1 nothing");
    }
}

/// A seed that was never sealed holds a key: its bytes go before it does.
#[test]
fn a_seed_is_overwritten_whenever_it_is_removed() {
    let world = World::with_good_guests();
    world.carry_out(&world.plan()).unwrap();
    let before = world.host.calls().len();
    let node = "worker-node-1".parse().unwrap();
    let all = plan::removals(&world.id, &world.config, &world.inventory(None));
    world.apply().remove(&node, &all[&node]).unwrap();
    let seed = VolumeName::seed(&world.id, &node, world.built[0].seed.digest).to_string();
    let calls = world.host.calls().split_off(before);
    let of_seed: Vec<_> = calls.into_iter().filter(|call| call.contains(&seed)).collect();
    assert_eq!(of_seed, [format!("wipe {seed}"), format!("delete {seed}")]);
}

/// A guest that was made from another seed may be of a nodebake that does not seal; it is asked for nothing.
#[test]
fn a_guest_that_may_not_know_how_is_not_waited_for() {
    for (said, wanted) in [(String::new(), false), (sealed(), true)] {
        let mut world = World::with_good_guests();
        world.carry_out(&world.plan()).unwrap();
        world.change_mark("worker-node-1", |mark| mark.state = MarkState::Registered);
        world.built[0].seed.digest = Digest::of(b"another seed");
        world.guest_says("worker-node-1", &said);
        let (plan, notes) = (world.plan(), Notes::default());
        assert_eq!(steps(&plan)[0], "worker-node-1 seal");
        // Whoever waits here waits for ever.
        let patience = Patience::of_silence(Duration::MAX);
        let apply = Apply { progress: &notes, patience, ..world.apply() };
        assert_eq!(apply.node(&plan.nodes[0]).unwrap(), Outcome::Registered);
        let sealed = "its seed is wiped and removed";
        let unsure = "warning: worker-node-1 is not sealed: its guest has not told that it needs its seed no more, and may \
                      be of an older nodebake; `nodebake rebuild worker-node-1` mends it";
        assert_eq!(notes.0.into_inner().unwrap(), [if wanted { sealed } else { unsure }]);
        assert_eq!(world.seed_of("worker-node-1") == (Drive::Empty, vec![]), wanted);
    }
}

#[test]
fn a_seed_that_is_to_be_kept_stays() {
    let mut world = World::with_sealing_guests();
    world.config.nodes[0].settings.keep_seed = true;
    world.carry_out(&world.plan()).unwrap();
    world.change_mark("worker-node-1", |mark| mark.state = MarkState::Registered);
    let (drive, volumes) = world.seed_of("worker-node-1");
    assert!(matches!(drive, Drive::Seed(_)) && volumes == ["whole true"], "{drive:?} {volumes:?}");
    assert_eq!(world.seed_of("worker-node-2"), (Drive::Empty, vec![]));
    assert_eq!(steps(&world.plan())[0], "worker-node-1 nothing");
}

/// A user's own disc in the drive is no seed, and a change by hand stays one.
#[test]
fn what_is_not_ours_stays_in_the_drive() {
    let world = World::with_good_guests();
    world.carry_out(&world.plan()).unwrap();
    let domain = world.domain("worker-node-1");
    let VolumeInfo { path, .. } =
        world.inventory(None).volumes.into_iter().find(|v| v.name.contains(".worker-node-1.seed.")).unwrap();
    let xml = domain.xml.replace(&path, "/iso/users.iso");
    world.host.put_domain(DomainInfo { xml: xml.clone(), ..domain });
    world.guest_says("worker-node-1", &(report("kubelet-active", "ok", "") + &sealed()));
    world.carry_out(&world.plan()).unwrap();
    assert_eq!(world.seed_of("worker-node-1"), (Drive::Other, vec![]));
    let drift: Vec<_> = world.plan().nodes[0].drift.iter().map(ToString::to_string).collect();
    assert_eq!(drift, ["machine changed by hand"]);
}

/// Keeps what is told.
#[derive(Default)]
struct Notes(std::sync::Mutex<Vec<String>>);

impl Progress for Notes {
    fn task(&self, _: &str, _: Option<u64>) -> Box<dyn Task> {
        Box::new(Silent)
    }

    fn note(&self, _: &str, text: &str) {
        self.0.lock().unwrap().push(text.to_owned());
    }

    fn warn(&self, text: &str) {
        self.0.lock().unwrap().push(format!("warning: {text}"));
    }
}

/// A machine that once came up may hold what nobody else has: whatever keeps it down, `up` starts it again and no more.
#[test]
fn what_once_came_up_is_never_replaced_unasked() {
    for state in [MarkState::Active, MarkState::Registered] {
        let world = World::with_good_guests();
        world.carry_out(&world.plan()).unwrap();
        world.change_mark("worker-node-1", |mark| mark.state = state);
        let domain = world.domain("worker-node-1");
        world.host.put_domain(DomainInfo { state: DomainState::ShutOff, ..domain });
        world.guest_says("worker-node-1", "");
        assert!(world.carry_out(&world.plan()).is_err());
        let mark = world.domain("worker-node-1").mark().unwrap().clone();
        assert_eq!((mark.state, mark.stage.as_deref()), (state, Some("stalled")));
        assert_eq!(steps(&world.plan())[0], "worker-node-1 finish");
    }
}

#[test]
fn one_that_registered_after_it_was_given_up_is_kept() {
    let world = World::with_good_guests();
    world.carry_out(&world.plan()).unwrap();
    world.change_mark("worker-node-1", |mark| {
        mark.state = MarkState::Failed;
        mark.boot_id = Some("a".to_owned());
    });
    for (boot_id, wanted) in [("a", "worker-node-1 finish"), ("b", "worker-node-1 create: the attempt before failed")] {
        let node = NodeStatus {
            name: "worker-node-1".to_owned(),
            boot_id: boot_id.to_owned(),
            internal_ip: "10.0.0.36".to_owned(),
            ..NodeStatus::default()
        };
        let nodes = Nodes::from([(node.name.clone(), node)]);
        assert_eq!(steps(&world.plan_with(Some(nodes), plan::up).unwrap())[0], wanted);
    }
}

#[test]
fn a_paused_machine_is_resumed() {
    let world = World::with_good_guests();
    world.carry_out(&world.plan()).unwrap();
    let domain = world.domain("worker-node-1");
    world.host.put_domain(DomainInfo { state: DomainState::Paused, ..domain });
    assert_eq!(steps(&world.plan())[0], "worker-node-1 start");
    world.carry_out(&world.plan()).unwrap();
    assert_eq!(world.domain("worker-node-1").state, DomainState::Running);
}

#[test]
fn a_silent_guest_and_a_stopped_one_are_given_up() {
    let world = World::with_good_guests();
    world.guest_says("worker-node-1", "");
    world.carry_out(&Plan { nodes: Vec::new(), ..world.plan() }).unwrap();
    let plan = world.plan();
    let error = world.apply().node(&plan.nodes[0]).unwrap_err();
    assert_eq!(error.to_string(), "worker-node-1: nothing new for 0 s; last seen: nothing");

    let domain = world.domain("worker-node-1");
    world.host.put_domain(DomainInfo { state: DomainState::Crashed, ..domain });
    let uuid = world.uuid("worker-node-1");
    let finish = plan::NodePlan { step: Step::Finish(uuid), ..plan.nodes[0].clone() };
    let error = world.apply().node(&finish).unwrap_err();
    assert_eq!(
        error.to_string(),
        "worker-node-1: the guest stopped (Crashed) before it was in the cluster; last seen: nothing"
    );
    assert_eq!(world.domain("worker-node-1").mark().unwrap().stage.as_deref(), Some("stopped"));
}

/// A fault at each call of `up`, at each moment of it, then a plain run: the same as without the fault.
#[test]
fn up_converges_from_a_fault_at_every_call() {
    converges(World::with_good_guests);
}

/// The same where nodes are sealed, at whose end no seed is left.
#[test]
fn sealing_converges_from_a_fault_at_every_call() {
    converges(World::with_sealing_guests);
}

fn converges(new: fn() -> World) {
    let whole = new();
    whole.carry_out(&whole.plan()).unwrap();
    let wanted = holdings(&whole);
    let up = |world: &World| world.carry_out(&world.plan()).map(drop);
    let calls = whole.host.calls();
    assert!(calls.len() > 10, "{calls:?}");
    for fault in Fault::all(&calls) {
        let world = new();
        let when = fault.run(&world, up);
        up(&world).unwrap_or_else(|error| panic!("{when}: {error:?}"));
        assert_eq!(holdings(&world), wanted, "{when}");
    }
}

/// Something that goes wrong in a run.
#[derive(Clone)]
struct Fault {
    call: usize,
    text: String,
    moment: Moment,
    /// Whether nothing works after it, as where the program is killed.
    dies: bool,
}

impl Fault {
    /// Each call fails at each of its moments, and each is the last.
    fn all(calls: &[String]) -> Vec<Self> {
        let mut all = Vec::new();
        for (call, text) in calls.iter().enumerate() {
            for moment in [Moment::Before, Moment::Midway, Moment::After] {
                for dies in [false, true] {
                    all.push(Self { call, text: text.clone(), moment, dies });
                }
            }
        }
        all
    }

    /// Does something with the fault in it, whose call numbers begin here.
    fn run(&self, world: &World, what: impl Fn(&World) -> Result<(), ApplyError>) -> String {
        let call = world.host.calls().len() + self.call;
        if self.dies {
            world.host.cut_at(call, self.moment);
        } else {
            world.host.fail_at(call, self.moment);
        }
        let ended = what(world);
        world.host.mend();
        let Self { call, text, moment, dies } = self;
        format!("call {call} ({text}), {moment:?}, dies {dies}: {ended:?}")
    }
}

/// A failure before the machine runs leaves nothing of it behind.
#[test]
fn what_fails_before_the_start_is_undone() {
    let whole = World::with_good_guests();
    whole.carry_out(&whole.plan()).unwrap();
    for (call, text) in whole.host.calls().iter().enumerate() {
        let world = World::with_good_guests();
        world.host.fail_at(call, Moment::Before);
        if world.carry_out(&world.plan()).is_ok() {
            continue;
        }
        let inventory = world.inventory(None);
        let off: Vec<_> = inventory.domains.iter().filter(|domain| !domain.state.is_active()).collect();
        assert!(off.is_empty(), "call {call} ({text}): {off:?}");
    }
}

#[test]
fn nodes_on_a_golden_image_have_no_drive_for_a_payload() {
    let mut world = World::with_good_guests();
    for built in &mut world.built {
        built.images.payload_drive = false;
    }
    let plan = world.plan();
    let uploads: Vec<_> = plan
        .shared
        .iter()
        .filter_map(
            |action| if let SharedAction::Upload(upload) = action { Some(upload.spec.name.clone()) } else { None },
        )
        .collect();
    assert_eq!(uploads, [VolumeName::Base(world.images.base.digest)]);
    world.carry_out(&plan).unwrap();
    let domain = world.domain("worker-node-1");
    assert!(!domain.xml.contains("vdb") && !domain.xml.contains("payload."), "{}", domain.xml);
    // It runs this payload all the same.
    assert_eq!(domain.mark().unwrap().payload, world.images.payload.digest);
    // A drive where there was none is another machine.
    for built in &mut world.built {
        built.images.payload_drive = true;
    }
    let plan = world.plan();
    let drift: Vec<_> = plan.nodes[0].drift.iter().map(ToString::to_string).collect();
    assert_eq!(drift, ["machine changed in the cluster file"]);
}

#[test]
fn a_machine_that_cannot_seal_its_disk_is_told_of() {
    for (said, wanted) in [
        (report("disk-sealed", "failed", "Zm91bA=="), "worker-node-1: failed to get to \"disk sealed\""),
        (report("payload-copied", "ok", ""), "worker-node-1: nothing new for 0 s; last seen: payload copied"),
        // A failed errand is none here, and says nothing of the disk.
        (
            report("packages-installed", "failed", ""),
            "worker-node-1: nothing new for 0 s; last seen: failed: packages installed",
        ),
    ] {
        let world = World::with_good_guests();
        let plan = world.plan();
        let apply = world.apply();
        plan.shared.iter().for_each(|action| apply.shared(action).unwrap());
        world.guest_says("worker-node-1", &said);
        let error = apply.seal_disk(&plan.nodes[0]).unwrap_err();
        assert_eq!(error.to_string(), wanted);
        assert!(!world.domain("worker-node-1").autostart);
    }
}
