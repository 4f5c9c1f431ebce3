//! What seeds cost: a hundred of them against a hundred runs of cloud-localds, and the memory that a payload of 4 GiB takes.
//!
//! Whole processes run in alternation (ours, the peer, ours, the peer, ...), so that whatever else the machine does meets
//! both; a ratio is taken within each pair. A limit that is broken fails the run, after everything is shown.
//!
//! - seeds: `nodebake build --all` of a hundred nodes that have their identities and a payload, but nothing else in the
//!   output folder, against a loop of `cloud-localds` over the same user-data, meta-data and network-config.
//! - nothing to do: the same once everything is built.
//! - payload: `nodebake build` of one node whose payload has a program of 4 GiB.
//!
//! The programs are a small one of this machine under all names: seeds do not hold them.
#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a program of its own, for people")]

use std::cell::Cell;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use nodebake::digest::Digest;

#[path = "shared/pairs.rs"]
mod pairs;
#[path = "shared/rows.rs"]
mod rows;
#[path = "shared/spread.rs"]
mod spread;

use pairs::{Took, pairs_of};
use rows::Rows;
use spread::{shown, spread};

const NODEBAKE: &str = env!("CARGO_BIN_EXE_nodebake");
const NODES: usize = 100;

/// Most that ours may take of the peer's wall time.
const RATIO: f64 = 0.1;
/// Largest seed, in bytes.
const SEED: u64 = 512 << 10;
/// Most memory of a process, in KiB.
const PEAK: u64 = 32 << 10;
/// Size of the large program, in bytes.
const LARGE: u64 = 4 << 30;

const CLUSTER: &str = "\
apiVersion: nodebake/v1
cluster:
  name: bench
  apiServer: https://10.0.0.4:6443
  clusterDNS: [10.96.0.10]
  pki: pki
versions:
  kubernetes: v1.35.1
  containerd: 2.2.5
  runc: 1.3.6
  cniPlugins: 1.9.0
image: lab-trixie
network:
  name: bench
  cidr: 10.0.0.0/24
  gateway: 10.0.0.1
  nameservers: [10.0.0.1]
";

/// A CA, programs and archives as upstream lays them out.
const PREPARE: &str = "
mkdir pki in in/bin
openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=bench -keyout pki/ca-key.pem -out pki/ca.pem \
  -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign 2>log
for name in kubelet kubectl runc; do cp /bin/true in/$name; done
for name in containerd containerd-shim-runc-v2 ctr; do cp /bin/true in/bin/$name; done
for name in bridge host-local loopback portmap; do cp /bin/true in/$name; done
tar -C in -czf in/containerd bin
tar -C in -czf in/cni-plugins bridge host-local loopback portmap
cp /bin/true in/base-image
cp /bin/true large
";

/// The peer: cloud-localds of Debian's cloud-image-utils, once a node.
const LOCALDS: &str = "
mkdir -p peer
for node in out/worker-*; do
  cloud-localds -N \"$node/network-config\" \"peer/${node#out/}.iso\" \"$node/user-data\" \"$node/meta-data\"
done
";

fn main() -> ExitCode {
    let pairs = std::env::var("NODEBAKE_BENCH_PAIRS").ok().map_or(7, |count| count.parse().unwrap());
    // Beside what is built, since /tmp may be memory.
    let folder = tempfile::Builder::new().prefix("bench-").tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let bench = Bench { folder: folder.path().to_owned() };
    bench.prepare();
    let build = [NODEBAKE, "--offline", "--cache-dir", "store", "build", "--out", "out", "--all"];
    // The first run issues the certificates, which stay, and makes the payload.
    bench.run(&build);
    let nodes = || {
        fs::read_dir(bench.folder.join("out")).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir())
    };
    let seeds: Vec<_> = nodes().map(|node| node.join("seed.iso").metadata().unwrap().len()).collect();
    assert_eq!(seeds.len(), NODES);

    println!("{pairs} pairs a row; seconds: median (least to most)\n");
    let in_turn = |before: &dyn Fn()| pairs_of(pairs, before, || bench.run(&build), || bench.shell(LOCALDS));
    // Put aside, not removed: for five seconds ext4 may not give out the inodes of removed files again, and looks long for
    // others. Nobody builds right behind a removal.
    let aside = Cell::new(0);
    let anew = in_turn(&|| {
        let place = bench.folder.join(format!("aside-{}", aside.replace(aside.get() + 1)));
        fs::create_dir(&place).unwrap();
        nodes().for_each(|node| fs::rename(&node, place.join(node.file_name().unwrap())).unwrap());
    });
    let nothing = in_turn(&|| {});
    let mut kept = Rows::of("seeds");
    let mut fine = row(&mut kept, &format!("{NODES} seeds"), &anew);
    fine &= row(&mut kept, "nothing to do", &nothing);
    let largest = seeds.into_iter().max().unwrap_or_default();
    fine &= limit("largest seed, KiB", largest.div_ceil(1 << 10), SEED >> 10);
    fine &= limit("peak memory of these, KiB", anew.iter().map(|[ours, _]| ours.peak).max().unwrap_or_default(), PEAK);
    let large = bench.large();
    fine &= limit(&format!("peak memory for a payload of 4 GiB ({:.1} s), KiB", large.wall), large.peak, PEAK);
    if fine { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A folder with a cluster of many nodes, and all that their images are made of.
struct Bench {
    folder: PathBuf,
}

impl Bench {
    fn prepare(&self) {
        self.shell(PREPARE);
        self.cluster(&[]);
        self.run(&[NODEBAKE, "--mirror", "mirror", "--cache-dir", "store", "fetch"]);
    }

    /// Writes cluster file, lock and mirror, with the user's own programs.
    fn cluster(&self, own: &[&str]) {
        let mut cluster = CLUSTER.to_owned();
        let mut lock = "apiVersion: nodebake/v1\nartifacts:\n".to_owned();
        let github = "github.com";
        let kubernetes = "dl.k8s.io/release/v1.35.1/bin/linux/amd64";
        for (kind, version, place) in [
            ("kubelet", "1.35.1", format!("{kubernetes}/kubelet")),
            ("kubectl", "1.35.1", format!("{kubernetes}/kubectl")),
            (
                "containerd",
                "2.2.5",
                format!("{github}/containerd/containerd/releases/download/v2.2.5/containerd-2.2.5-linux-amd64.tar.gz"),
            ),
            ("runc", "1.3.6", format!("{github}/opencontainers/runc/releases/download/v1.3.6/runc.amd64")),
            (
                "cni-plugins",
                "1.9.0",
                format!(
                    "{github}/containernetworking/plugins/releases/download/v1.9.0/cni-plugins-linux-amd64-v1.9.0.tgz"
                ),
            ),
            ("base-image", "lab-trixie", "nodebake.invalid/lab/guest-amd64.img".to_owned()),
        ] {
            let published = self.folder.join("mirror").join(&place);
            fs::create_dir_all(published.parent().unwrap()).unwrap();
            fs::copy(self.folder.join("in").join(kind), &published).unwrap();
            let (digest, size) = measure(&published);
            write!(
                lock,
                "- kind: {kind}\n  version: {version}\n  arch: amd64\n  url: https://{place}\n  size: {size}\n  \
                 sha256: {digest}\n  unsigned: a benchmark\n"
            )
            .unwrap();
        }
        fs::write(self.folder.join("nodebake.lock"), lock).unwrap();
        if !own.is_empty() {
            cluster.push_str("artifacts:\n");
        }
        for name in own {
            let (digest, _) = measure(&self.folder.join(name));
            writeln!(cluster, "  - {{kind: binary, name: {name}, path: {name}, sha256: {digest}}}").unwrap();
        }
        cluster.push_str("nodes:\n");
        for number in 1..=NODES {
            writeln!(cluster, "  - {{name: worker-{number}, address: 10.0.0.{}}}", 50 + number).unwrap();
        }
        fs::write(self.folder.join("nodebake.yaml"), cluster).unwrap();
    }

    /// Builds a payload with a large program, sparse until it is in the store.
    fn large(&self) -> Took {
        File::options().append(true).open(self.folder.join("large")).unwrap().set_len(LARGE).unwrap();
        self.cluster(&["large"]);
        self.run(&[NODEBAKE, "--mirror", "mirror", "--cache-dir", "store", "lock"]);
        self.run(&[NODEBAKE, "--mirror", "mirror", "--cache-dir", "store", "fetch"]);
        self.run(&[NODEBAKE, "--offline", "--cache-dir", "store", "build", "--out", "large-out", "worker-1"])
    }

    fn shell(&self, script: &str) -> Took {
        self.run(&["bash", "-euo", "pipefail", "-c", script])
    }

    fn run(&self, command: &[&str]) -> Took {
        pairs::run(&self.folder, &[], command)
    }
}

fn measure(path: &Path) -> (Digest, u64) {
    let mut file = File::open(path).unwrap();
    (Digest::of_reader(&mut file).unwrap(), file.metadata().unwrap().len())
}

/// Shows a row; says whether its limit is met.
fn row(kept: &mut Rows, name: &str, pairs: &[[Took; 2]]) -> bool {
    let wall = |which: usize| shown(pairs.iter().map(|pair| pair[which].wall), 3);
    let ratios = || pairs::ratios(pairs, |took| took.wall);
    let fine = spread(ratios()).is_some_and(|[median, ..]| median <= RATIO);
    let (ours, peer, ratio, cpu) =
        (wall(0), wall(1), shown(ratios(), 3), shown(pairs::ratios(pairs, |took| took.cpu), 3));
    kept.add(name, "cloud-localds", ratios(), Some((RATIO, fine)));
    println!("{name}: ours {ours}, cloud-localds {peer}, ratio {ratio}, of cpu {cpu}, limit {RATIO}: {}", word(fine));
    fine
}

/// Shows a figure; says whether its limit is met.
fn limit(name: &str, got: u64, most: u64) -> bool {
    println!("{name}: {got}, limit {most}: {}", word(got <= most));
    got <= most
}

fn word(fine: bool) -> &'static str {
    if fine { "met" } else { "NOT MET" }
}
