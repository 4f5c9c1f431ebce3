//! Two hundred nodes on libvirt's own test driver, which keeps domains, networks and pools as libvirt does and runs nobody:
//! what it cannot do (bytes of volumes, QEMU's capabilities) and what a guest would say is answered here.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use nodebake::apply::{Apply, Outcome, Patience};
use nodebake::config::{Arch, ClusterId, Config, INIT, parse};
use nodebake::digest::Digest;
use nodebake::machine::memory::Memory;
use nodebake::machine::{
    Capabilities, Console, DomainInfo, DomainState, Firmware, HostInfo, Hypervisor, InterfaceInfo, MachineError, Mark,
    Moving, NetworkInfo, NetworkSpec, OverlaySpec, Parts, Passing, PoolInfo, PoolSpec, Reservation, Source, TakenOver,
    VolumeInfo, VolumeName, VolumeSpec, open,
};
use nodebake::plan::{self, Built, ImageFile, Images, Inventory, Plan, Request};
use nodebake::progress::Silent;

const NODES: usize = 200;
/// Peak of a process that brings them up and down, in KiB.
const MEMORY_LIMIT: u64 = 100 << 10;

/// The test driver, with answers for what it lacks.
struct Driver(Box<dyn Hypervisor>);

type Result<T> = std::result::Result<T, MachineError>;

impl Hypervisor for Driver {
    fn uri(&self) -> &str {
        self.0.uri()
    }

    fn host(&self) -> Result<HostInfo> {
        self.0.host()
    }

    fn capabilities(&self, arch: Arch) -> Result<Capabilities> {
        Memory::new().capabilities(arch)
    }

    /// A volume of that name and size; the driver takes no bytes.
    fn upload(&self, pool: &str, spec: &VolumeSpec, _: &mut dyn Source, _: &dyn Fn(u64)) -> Result<VolumeInfo> {
        let spec = OverlaySpec { name: spec.name.clone(), capacity: spec.size, backing: None };
        self.0.create_overlay(pool, &spec)
    }

    fn wipe_volume(&self, _: &str, _: &VolumeName) -> Result<()> {
        Ok(())
    }

    /// A guest that has come up.
    fn read_volume(&self, _: &str, name: &VolumeName, offset: u64, _: usize) -> Result<Vec<u8>> {
        let says = "{\"v\":1,\"boot\":\"00000000-0000-4000-8000-000000000007\",\"booted\":1700000000,\"instance\":\"i\",\
                    \"uptime\":1.5,\"stage\":\"kubelet-active\",\"state\":\"ok\",\"log\":\"\"}\n";
        let first = offset == 0 && name.to_string().ends_with(".first-boot.log");
        Ok(if first { says.as_bytes().to_vec() } else { Vec::new() })
    }

    fn interface(&self, name: &str) -> Result<Option<InterfaceInfo>> {
        self.0.interface(name)
    }

    fn networks(&self) -> Result<Vec<NetworkInfo>> {
        self.0.networks()
    }

    fn network(&self, name: &str) -> Result<Option<NetworkInfo>> {
        self.0.network(name)
    }

    fn create_network(&self, spec: &NetworkSpec) -> Result<NetworkInfo> {
        self.0.create_network(spec)
    }

    fn reserve(&self, name: &str, gone: &[Reservation], wanted: &[Reservation]) -> Result<()> {
        self.0.reserve(name, gone, wanted)
    }

    fn start_network(&self, name: &str) -> Result<()> {
        self.0.start_network(name)
    }

    fn pool(&self, name: &str) -> Result<Option<PoolInfo>> {
        self.0.pool(name)
    }

    fn create_pool(&self, spec: &PoolSpec) -> Result<PoolInfo> {
        self.0.create_pool(spec)
    }

    fn start_pool(&self, name: &str) -> Result<()> {
        self.0.start_pool(name)
    }

    fn refresh_pool(&self, name: &str) -> Result<()> {
        self.0.refresh_pool(name)
    }

    fn written(&self, pool: &str) -> Result<BTreeMap<String, jiff::Timestamp>> {
        self.0.written(pool)
    }

    fn volumes(&self, pool: &str) -> Result<Vec<VolumeInfo>> {
        self.0.volumes(pool)
    }

    fn create_overlay(&self, pool: &str, spec: &OverlaySpec) -> Result<VolumeInfo> {
        self.0.create_overlay(pool, spec)
    }

    fn flatten(&self, pool: &str, source: &VolumeName, name: &VolumeName) -> Result<VolumeInfo> {
        self.0.flatten(pool, source, name)
    }

    fn grow(&self, uuid: uuid::Uuid, pool: &str, name: &VolumeName, capacity: u64) -> Result<()> {
        self.0.grow(uuid, pool, name, capacity)
    }

    fn delete_volume(&self, pool: &str, name: &VolumeName) -> Result<()> {
        self.0.delete_volume(pool, name)
    }

    fn download(&self, pool: &str, name: &VolumeName, target: &mut dyn Write) -> Result<u64> {
        self.0.download(pool, name, target)
    }

    fn digest_volume(&self, pool: &str, name: &VolumeName, on_bytes: &dyn Fn(u64)) -> Result<(Digest, u64)> {
        self.0.digest_volume(pool, name, on_bytes)
    }

    fn all_volumes(&self) -> Result<Vec<(String, VolumeInfo)>> {
        self.0.all_volumes()
    }

    fn note(&self, uuid: uuid::Uuid, note: Option<&TakenOver>) -> Result<()> {
        self.0.note(uuid, note)
    }

    fn rename(&self, uuid: uuid::Uuid, name: &str) -> Result<()> {
        self.0.rename(uuid, name)
    }

    fn delete_disk(&self, uuid: uuid::Uuid, pool: &str, volume: &str) -> Result<()> {
        self.0.delete_disk(uuid, pool, volume)
    }

    fn domains(&self) -> Result<Vec<DomainInfo>> {
        self.0.domains()
    }

    fn domain(&self, uuid: uuid::Uuid) -> Result<Option<DomainInfo>> {
        self.0.domain(uuid)
    }

    fn define(&self, xml: &str) -> Result<DomainInfo> {
        self.0.define(xml)
    }

    fn start(&self, uuid: uuid::Uuid, fresh: bool) -> Result<()> {
        self.0.start(uuid, fresh)
    }

    fn set_autostart(&self, uuid: uuid::Uuid, autostart: bool) -> Result<()> {
        self.0.set_autostart(uuid, autostart)
    }

    fn shutdown(&self, uuid: uuid::Uuid) -> Result<()> {
        self.0.shutdown(uuid)
    }

    fn destroy(&self, uuid: uuid::Uuid) -> Result<()> {
        self.0.destroy(uuid)
    }

    fn console(&self, uuid: uuid::Uuid, take_over: bool) -> Result<Box<dyn Console>> {
        self.0.console(uuid, take_over)
    }

    fn undefine(&self, uuid: uuid::Uuid) -> Result<()> {
        self.0.undefine(uuid)
    }

    fn eject_seed(&self, uuid: uuid::Uuid) -> Result<()> {
        self.0.eject_seed(uuid)
    }

    fn set_mark(&self, uuid: uuid::Uuid, mark: &Mark) -> Result<()> {
        self.0.set_mark(uuid, mark)
    }

    fn note_move(&self, uuid: uuid::Uuid, moving: &Moving) -> Result<()> {
        self.0.note_move(uuid, moving)
    }
    fn forget(&self, uuid: uuid::Uuid, what: Passing) -> Result<()> {
        self.0.forget(uuid, what)
    }
}

/// A cluster of so many nodes, as `nodebake init` writes it otherwise.
fn cluster(nodes: usize) -> Config {
    let (head, _) = INIT.split_once("\nnodes:\n").unwrap();
    let head = head.replace("cidr: 10.0.0.0/24", "cidr: 10.0.0.0/16");
    let mut text = format!("{head}\nnodes:\n");
    for node in 0..nodes {
        let (high, low) = (node / 200 + 1, node % 200);
        let _ = write!(text, "  - name: worker-{node}\n    address: 10.0.{high}.{low}\n    keepSeed: true\n");
    }
    parse(Path::new("/clusters/seed/nodebake.yaml"), &text).unwrap()
}

fn built(config: &Config, capabilities: &Capabilities, folder: &Path) -> Vec<Built> {
    let path = folder.join("image");
    std::fs::write(&path, b"image").unwrap();
    let image = |name: &str| ImageFile {
        path: path.clone(),
        digest: Digest::of(name.as_bytes()),
        size: 1 << 20,
        verified: None,
    };
    let images =
        Images { payload: image("payload"), payload_drive: true, base: image("base"), firmware: Firmware::Bios };
    config
        .nodes
        .iter()
        .map(|node| Built {
            node: node.name.clone(),
            seed: image(&node.name.to_string()),
            images: images.clone(),
            parts: Parts((0..60).map(|part| (format!("/etc/part-{part}"), format!("{part:012}"))).collect()),
            capabilities: capabilities.clone(),
        })
        .collect()
}

/// Everything that the driver has.
fn holdings(driver: &Driver) -> (Vec<String>, Vec<String>, Vec<String>) {
    let domains = driver.domains().unwrap().into_iter().map(|domain| format!("{} {:?}", domain.name, domain.state));
    let networks = driver.networks().unwrap().into_iter().map(|network| network.name);
    let pools = ["nodebake", "nodebake-logs"].into_iter().filter(|pool| driver.pool(pool).unwrap().is_some());
    let volumes = pools.flat_map(|pool| driver.volumes(pool).unwrap()).map(|volume| volume.name);
    (domains.collect(), networks.collect(), volumes.collect())
}

/// Does a plan with some threads, as the program does.
fn carry_out(apply: &Apply, plan: &Plan) -> Vec<Outcome> {
    plan.shared.iter().for_each(|action| apply.shared(action).unwrap());
    let parts: Vec<_> = plan.nodes.chunks(plan.nodes.len().div_ceil(8)).collect();
    std::thread::scope(|scope| {
        let work = |part: &'_ [plan::NodePlan]| part.iter().map(|node| apply.node(node).unwrap()).collect::<Vec<_>>();
        let threads: Vec<_> = parts.iter().map(|part| scope.spawn(move || work(part))).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    })
}

#[test]
fn two_hundred_nodes_come_and_go() {
    let folder = tempfile::tempdir().unwrap();
    let driver = Driver(open("test:///default").unwrap());
    let before = holdings(&driver);
    let config = cluster(NODES);
    let id = ClusterId { name: config.cluster.name.clone(), ca: Digest::of(b"ca") };
    let built = built(&config, &driver.capabilities(Arch::Amd64).unwrap(), folder.path());
    let plan = || {
        let inventory = Inventory::read(&config, &driver, None).unwrap();
        plan::up(Request { config: &config, id: &id, built: &built, inventory: &inventory, now: 0 }).unwrap()
    };
    let patience = Patience::of_silence(Duration::from_mins(1));
    let apply = Apply { patience, ..Apply::new(&driver, &id, &Silent) };

    assert_eq!(carry_out(&apply, &plan()), [Outcome::KubeletActive; NODES]);
    let (domains, networks, volumes) = holdings(&driver);
    assert_eq!(domains.len(), before.0.len() + NODES);
    let running =
        |node: &nodebake::config::Node| domains.contains(&format!("{} {:?}", node.name, DomainState::Running));
    assert!(config.nodes.iter().all(running), "{domains:?}");
    assert_eq!((networks.len(), volumes.len()), (before.1.len() + 1, 2 + 2 * NODES), "{volumes:?}");
    let again = plan();
    assert!(again.nodes.iter().all(|node| node.drift.is_empty() && matches!(node.step, plan::Step::Finish(_))));

    let removals = plan::removals(&id, &config, &Inventory::read(&config, &driver, None).unwrap());
    assert_eq!(removals.len(), NODES);
    for (node, removal) in &removals {
        apply.remove(node, removal).unwrap();
    }
    let (domains, networks, volumes) = holdings(&driver);
    assert_eq!((domains, networks.len(), volumes.len()), (before.0, before.1.len() + 1, 2), "images stay");
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(peak < MEMORY_LIMIT, "{peak} KiB");
}
