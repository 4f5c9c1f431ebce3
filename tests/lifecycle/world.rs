//! A cluster of two nodes, a hypervisor in memory for it, and what its guests say.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nodebake::apply::{Apply, ApplyError, Outcome};
use nodebake::cluster::Nodes;
use nodebake::config::{Arch, ClusterId, Config, INIT, parse};
use nodebake::digest::Digest;
use nodebake::machine::Hypervisor as _;
use nodebake::machine::mark::LogKind;
use nodebake::machine::memory::Memory;
use nodebake::machine::{
    DomainInfo, DomainState, Drive, Firmware, Mark, NetworkInfo, Parts, PoolInfo, VolumeFormat, VolumeInfo, VolumeName,
};
use nodebake::plan;
use nodebake::plan::{Blocked, Built, ImageFile, Images, Inventory, Plan, Request, Step};
use nodebake::progress::{Progress, Silent, Task};

pub(crate) const NOW: i64 = 1_700_000_000;

pub(crate) const POOL: &str = "/var/lib/libvirt/nodebake";

/// A cluster of two nodes with images on the disk, and a host that has none of it.
pub(crate) struct World {
    pub(crate) config: Config,
    pub(crate) id: ClusterId,
    pub(crate) images: Images,
    pub(crate) built: Vec<Built>,
    pub(crate) host: Memory,
    _folder: tempfile::TempDir,
}

impl World {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = parse(Path::new("/clusters/seed/nodebake.yaml"), INIT).unwrap();
        let id = ClusterId { name: config.cluster.name.clone(), ca: Digest::of(b"ca") };
        let image = |name: &str, bytes: Vec<u8>| {
            let path = folder.path().join(name);
            std::fs::write(&path, &bytes).unwrap();
            ImageFile { path, digest: Digest::of(&bytes), size: bytes.len() as u64, verified: None }
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
    pub(crate) fn with_good_guests() -> Self {
        let world = Self::new();
        world.host.put_pool(pool("nodebake", POOL));
        world.host.put_pool(pool("nodebake-logs", "/logs"));
        for built in &world.built {
            world.guest_says(&built.node.to_string(), &report("kubelet-active", "ok", ""));
        }
        world
    }

    /// As [`World::with_good_guests`], and the guests tell all that a whole first boot tells.
    pub(crate) fn with_sealing_guests() -> Self {
        let world = Self::with_good_guests();
        for built in &world.built {
            world.guest_says(&built.node.to_string(), &(report("kubelet-active", "ok", "") + &sealed()));
        }
        world
    }

    /// What of a node's seed is where: in the drive, and as volumes of the pool with their state.
    pub(crate) fn seed_of(&self, node: &str) -> (Drive, Vec<String>) {
        let volumes = self.inventory(None).volumes;
        let seed = format!(".{node}.seed.");
        let seeds = volumes.iter().filter(|volume| volume.name.contains(&seed));
        (self.domain(node).drive(), seeds.map(|volume| format!("whole {}", volume.is_whole())).collect())
    }

    pub(crate) fn guest_says(&self, node: &str, text: &str) {
        self.log(node, LogKind::FirstBoot, text);
    }

    /// Has a log hold this.
    pub(crate) fn log(&self, node: &str, kind: LogKind, text: &str) {
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

    pub(crate) fn inventory(&self, nodes: Option<Nodes>) -> Inventory {
        Inventory::read(&self.config, &self.host, nodes).unwrap()
    }

    pub(crate) fn plan_with(
        &self,
        nodes: Option<Nodes>,
        make: fn(Request) -> Result<Plan, Blocked>,
    ) -> Result<Plan, Blocked> {
        let inventory = self.inventory(nodes);
        let Self { config, id, built, .. } = self;
        make(Request { config, id, built, inventory: &inventory, now: NOW })
    }

    pub(crate) fn plan(&self) -> Plan {
        self.plan_with(None, plan::up).unwrap()
    }

    pub(crate) fn apply(&self) -> Apply<'_> {
        Apply::new(&self.host, &self.id, &Silent)
    }

    pub(crate) fn carry_out(&self, plan: &Plan) -> Result<Vec<Outcome>, ApplyError> {
        let apply = self.apply();
        plan.shared.iter().try_for_each(|action| apply.shared(action))?;
        plan.nodes.iter().map(|node| apply.node(node)).collect()
    }

    pub(crate) fn uuid(&self, node: &str) -> uuid::Uuid {
        self.id.uuid(&node.parse().unwrap())
    }

    pub(crate) fn domain(&self, node: &str) -> DomainInfo {
        self.host.domain(self.uuid(node)).unwrap().unwrap()
    }

    pub(crate) fn change_mark(&self, node: &str, change: impl FnOnce(&mut Mark)) {
        let mut mark = self.domain(node).mark().unwrap().clone();
        change(&mut mark);
        self.host.set_mark(self.uuid(node), &mark).unwrap();
    }
}

pub(crate) fn iso(content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 20 * 2048];
    bytes[32768..32774].copy_from_slice(b"\x01CD001");
    bytes.extend_from_slice(content);
    bytes
}

pub(crate) fn qcow2(content: &[u8]) -> Vec<u8> {
    [b"QFI\xfb\0\0\0\x03".as_slice(), &[0; 4096], content].concat()
}

pub(crate) fn report(stage: &str, state: &str, log: &str) -> String {
    format!(
        "{{\"v\":1,\"boot\":\"00000000-0000-4000-8000-000000000007\",\"booted\":{NOW},\"instance\":\"i\",\"uptime\":1.5,\
         \"stage\":\"{stage}\",\"state\":\"{state}\",\"log\":\"{log}\"}}\n"
    )
}

/// A guest that seals itself.
pub(crate) fn sealed() -> String {
    report("cloud-init-done", "ok", "") + &report("sealed", "ok", "")
}

pub(crate) fn pool(name: &str, path: &str) -> PoolInfo {
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

pub(crate) fn network(address: &str) -> NetworkInfo {
    NetworkInfo {
        name: "nodebake".to_owned(),
        active: true,
        autostart: true,
        bridge: Some("virbr1".to_owned()),
        forward: Some("nat".to_owned()),
        address: Some(address.parse().unwrap()),
        address6: None,
        dhcp: Vec::new(),
        reservations: Vec::new(),
        ours: false,
    }
}

pub(crate) fn steps(plan: &Plan) -> Vec<String> {
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
pub(crate) fn holdings(world: &World) -> Vec<String> {
    held(world.inventory(None))
}

/// The same of an inventory.
pub(crate) fn held(inventory: Inventory) -> Vec<String> {
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

/// A world whose machines came up, and whose first node has another seed since; its guests do what guests do.
pub(crate) fn changed() -> World {
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
    pub(crate) fn new_guest_says(&self, says: &str) {
        let short = self.built[0].seed.digest.short();
        self.host.put_guest(&format!("worker-node-1.root.{short}"), says);
    }

    pub(crate) fn rebuild(&self) -> Result<(), ApplyError> {
        self.carry_out(&self.plan_with(None, plan::rebuild).unwrap()).map(drop)
    }

    /// Volumes of the first node, without the name that all have in common.
    pub(crate) fn disks(&self) -> Vec<String> {
        let head = format!("nodebake.seed.{}.worker-node-1.", &self.id.ca.to_string()[..8]);
        let volumes = self.inventory(None).volumes;
        volumes.iter().filter_map(|volume| volume.name.strip_prefix(&head).map(ToOwned::to_owned)).collect()
    }

    /// As [`holdings`], but which of two names a root disk has tells nothing.
    pub(crate) fn rebuilt_holdings(&self) -> Vec<String> {
        let again = Digest::of(self.built[0].seed.digest.to_string().as_bytes()).short();
        holdings(self).iter().map(|line| line.replace(&again, &self.built[0].seed.digest.short())).collect()
    }
}

/// Keeps what is told.
#[derive(Default)]
pub(crate) struct Notes(pub(crate) std::sync::Mutex<Vec<String>>);

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

/// Keeps what is told, and from the first word of it that begins so is told to end.
pub(crate) struct Ends<'a> {
    word: &'static str,
    heard: AtomicBool,
    told: Notes,
    /// Where a button is to be pressed before.
    presses: Option<&'a Memory>,
}

impl<'a> Ends<'a> {
    pub(crate) fn at(word: &'static str) -> Self {
        Self { word, heard: AtomicBool::new(false), told: Notes::default(), presses: None }
    }

    /// As soon as the power button of a host's machine was pressed.
    pub(crate) fn after_press(host: &'a Memory) -> Self {
        Self { presses: Some(host), ..Self::at("stopping its machine") }
    }

    pub(crate) fn told(&self) -> Vec<String> {
        self.told.0.lock().unwrap().clone()
    }
}

impl Progress for Ends<'_> {
    fn task(&self, name: &str, _: Option<u64>) -> Box<dyn Task> {
        self.note("", name);
        Box::new(Silent)
    }

    fn note(&self, node: &str, text: &str) {
        self.told.note(node, text);
        if text.starts_with(self.word) {
            self.heard.store(true, Ordering::SeqCst);
        }
    }

    fn is_ending(&self) -> bool {
        self.heard.load(Ordering::SeqCst) && self.presses.is_none_or(is_pressed)
    }

    fn warn(&self, text: &str) {
        self.told.warn(text);
    }
}

fn is_pressed(host: &Memory) -> bool {
    host.calls().iter().any(|call| call.starts_with("shutdown "))
}

impl World {
    /// Does something, while a guest goes off a moment after its button was pressed.
    pub(crate) fn hearing_late<T>(&self, uuid: uuid::Uuid, what: impl FnOnce() -> T) -> T {
        self.host.deafen();
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !is_pressed(&self.host) && !over.load(Ordering::SeqCst) {
                    std::thread::sleep(Duration::from_millis(5));
                }
                let domain = self.host.domain(uuid).unwrap().unwrap();
                self.host.put_domain(DomainInfo { state: DomainState::ShutOff, ..domain });
            });
            let result = what();
            over.store(true, Ordering::SeqCst);
            result
        })
    }
}
