//! What a plan costs: its time a node, of a cluster that is up, with four times the nodes.
//!
//! Both sizes are planned in alternation and the fastest run of each counts, so that whatever else the machine does meets
//! both. Where four hundred nodes take longer for each than a hundred do, by more than half, the run fails.
#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a program of its own, for people")]

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use nodebake::apply::{Apply, Patience};
use nodebake::config::{Arch, ClusterId, Config, INIT, parse};
use nodebake::digest::Digest;
use nodebake::machine::memory::Memory;
use nodebake::machine::{Firmware, Hypervisor as _, Parts};
use nodebake::plan::{self, Built, ImageFile, Images, Inventory, Plan, Request};
use nodebake::progress::Silent;

#[path = "shared/rows.rs"]
mod rows;
#[path = "shared/spread.rs"]
mod spread;

use rows::Rows;

const RUNS: usize = 30;
/// Most time a node, against that with a quarter of the nodes.
const RATIO: f64 = 1.5;

const READY: &str = "{\"v\":1,\"boot\":\"00000000-0000-4000-8000-000000000007\",\"booted\":1700000000,\"instance\":\"i\",\
                     \"uptime\":1.5,\"stage\":\"kubelet-active\",\"state\":\"ok\",\"log\":\"\"}\n";

/// A cluster that is up, with all that its plan is made from.
struct Site {
    config: Config,
    id: ClusterId,
    built: Vec<Built>,
    host: Memory,
}

impl Site {
    fn new(nodes: usize, folder: &Path) -> Self {
        let config = cluster(nodes);
        let id = ClusterId { name: config.cluster.name.clone(), ca: Digest::of(b"ca") };
        let host = Memory::new();
        host.put_guest("", READY);
        let image = |name: &str| image(name, folder);
        let images =
            Images { payload: image("payload"), payload_drive: true, base: image("base"), firmware: Firmware::Bios };
        let capabilities = host.capabilities(Arch::Amd64).unwrap();
        let parts = || Parts((0..60).map(|part| (format!("/etc/part-{part}"), format!("{part:012}"))).collect());
        let built = config.nodes.iter().map(|node| Built {
            node: node.name.clone(),
            seed: image(&node.name.to_string()),
            images: images.clone(),
            parts: parts(),
            capabilities: capabilities.clone(),
        });
        let site = Self { id, built: built.collect(), host, config };
        let patience = Patience::of_silence(Duration::from_mins(1));
        let (hypervisor, id, progress) = (&site.host, &site.id, &Silent);
        let apply = Apply { patience, ..Apply::new(hypervisor, id, progress) };
        let plan = site.plan(&site.inventory());
        plan.shared.iter().for_each(|action| apply.shared(action).unwrap());
        for node in &plan.nodes {
            apply.node(node).unwrap();
        }
        site
    }

    fn inventory(&self) -> Inventory {
        Inventory::read(&self.config, &self.host, None).unwrap()
    }

    fn plan(&self, inventory: &Inventory) -> Plan {
        let Self { config, id, built, .. } = self;
        plan::up(Request { config, id, built, inventory, now: 0 }).unwrap()
    }

    /// Seconds a node.
    fn time(&self) -> f64 {
        let inventory = self.inventory();
        let began = Instant::now();
        let plan = self.plan(&inventory);
        let took = began.elapsed().as_secs_f64();
        took / f64::from(u32::try_from(plan.nodes.len()).unwrap())
    }
}

/// An image that the hypervisor in memory takes for one: of ISO 9660 and qcow2 it knows no more than their magic.
fn image(name: &str, folder: &Path) -> ImageFile {
    let mut bytes = vec![0; 20 * 2048];
    if name == "base" {
        bytes[..4].copy_from_slice(b"QFI\xfb");
    } else {
        bytes[32768..32774].copy_from_slice(b"\x01CD001");
    }
    bytes.extend_from_slice(name.as_bytes());
    let path = folder.join(name);
    std::fs::write(&path, &bytes).unwrap();
    ImageFile { path, digest: Digest::of(&bytes), size: bytes.len() as u64, verified: None }
}

/// A cluster of so many nodes, as `nodebake init` writes it otherwise.
fn cluster(nodes: usize) -> Config {
    let (head, _) = INIT.split_once("\nnodes:\n").unwrap();
    let mut text = head.replace("cidr: 10.0.0.0/24", "cidr: 10.0.0.0/16") + "\nnodes:\n";
    for node in 0..nodes {
        let (high, low) = (node / 200 + 1, node % 200);
        let _ = write!(text, "  - name: worker-{node}\n    address: 10.0.{high}.{low}\n    keepSeed: true\n");
    }
    parse(Path::new("/clusters/seed/nodebake.yaml"), &text).unwrap()
}

fn main() -> ExitCode {
    let folder = tempfile::tempdir().unwrap();
    let [few, many] = [100, 400].map(|nodes| Site::new(nodes, folder.path()));
    let pairs: Vec<_> = (0..RUNS).map(|_| [few.time(), many.time()]).collect();
    let best = |which: usize| pairs.iter().map(|pair| pair[which]).fold(f64::INFINITY, f64::min);
    let ratio = best(1) / best(0);
    let ratios = || pairs.iter().map(|[few, many]| many / few);
    Rows::of("plan").add("a node of 400", "a node of 100", ratios(), Some((RATIO, ratio <= RATIO)));
    println!("plan: time a node with 400 nodes, against that with 100: {ratio:.2} (at most {RATIO})");
    println!("of each pair: {}", spread::shown(ratios(), 2));
    if ratio <= RATIO { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
