//! The supply chain against the shell pipeline that it replaces, on the lab's artifacts at their real sizes.
//!
//! Whole processes run in alternation (ours, the peer, ours, the peer, ...), so that whatever else the machine does meets
//! both. A ratio is taken within each pair; shown are the median and the spread. Nothing fails here: a limit that is
//! broken stands in the table as such.
//!
//! - payload: `nodebake build` of one node from a store with compressed archives, against `sha256sum -c`, `tar -xzf`,
//!   `cp` and `genisoimage`. Ours also verifies the inputs, reads the image back, takes its digest, and is on disk when
//!   it ends; the pipeline does none of that but the first.
//! - nothing to do: the same once everything is built, against the same pipeline.
//! - fetch: `nodebake fetch` of all locked files into an empty store from an HTTP server in this process, against curl of
//!   the same files one after another and `sha256sum -c`.
//!
//! `tests/lab/lab mirror` makes the artifacts. Two are stood in for: the kubelet by Debian's kubectl, which is a real
//! program of the same language and size, and the base image by noise of the lab's image's size, since nothing looks
//! into it here.
#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a program of its own, for people")]

#[path = "shared/http.rs"]
mod http;
#[path = "shared/pairs.rs"]
mod pairs;
#[path = "shared/rows.rs"]
mod rows;
#[path = "shared/spread.rs"]
mod spread;

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use nodebake::digest::Digest;

use pairs::{Took, pairs_of};
use rows::Rows;
use spread::{shown, spread};

const NODEBAKE: &str = env!("CARGO_BIN_EXE_nodebake");
/// Size of the lab's guest image, in bytes.
const BASE_IMAGE: u64 = 144 << 20;

const CLUSTER: &str = "\
apiVersion: nodebake/v1
cluster:
  name: bench
  apiServer: https://10.0.0.4:6443
  clusterDNS: [10.96.0.10]
  pki: pki
versions:
  kubernetes: v1.35.1
  containerd: CONTAINERD
  runc: RUNC
  cniPlugins: CNI
image: lab-trixie
network:
  name: bench
  cidr: 10.0.0.0/24
  gateway: 10.0.0.1
  nameservers: [10.0.0.1]
nodes:
  - name: worker-node-1
    address: 10.0.0.36
";

/// Everything in FILES, each in the way that one would in a script.
const PIPELINE: &str = "
rm -rf tree && mkdir -p tree/bin tree/cni
(cd files && sha256sum -c --quiet SUMS)
tar -xzf files/containerd -C tree
tar -xzf files/cni-plugins -C tree/cni
cp files/kubelet files/runc tree/bin/
genisoimage -quiet -R -V NODEBAKE_PAYLOAD -o tree.iso tree
";

const CURL: &str = "
rm -rf fetched && mkdir fetched && cd fetched
while read -r sum url; do
  curl -sSf -o \"${url##*/}\" \"$MIRROR/$url\"
  printf '%s  %s\\n' \"$sum\" \"${url##*/}\" >>SUMS
done <../URLS
sha256sum -c --quiet SUMS
";

fn main() {
    let lab = std::env::var_os("LAB_BUILD_DIR")
        .or_else(|| std::env::var_os("LAB_DIR"))
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target/lab"), PathBuf::from);
    let pairs = std::env::var("NODEBAKE_BENCH_PAIRS").ok().map_or(7, |count| count.parse().unwrap());
    // Beside what is built, since /tmp may be memory.
    let folder = tempfile::Builder::new().prefix("bench-").tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let bench = Bench::new(folder.path(), &lab);
    println!("{pairs} pairs a row; seconds: median (least to most)\n");
    let mut rows = Rows::of("supply-chain");
    let mut table = vec![["", "OURS", "PEER", "RATIO", "LIMIT", "MET", "CPU RATIO", "PEAK"].map(ToOwned::to_owned)];

    let build = [NODEBAKE, "--offline", "--cache-dir", "store", "build", "--out", "out", "worker-node-1"];
    // The first run issues a certificate, which stays.
    bench.run(&build);
    let in_turn = |ours: &[&str], peer: &str, before: &dyn Fn()| {
        pairs_of(pairs, before, || bench.run(ours), || bench.shell(peer))
    };
    let out = bench.folder.join("out");
    let payload = in_turn(&build, PIPELINE, &|| fs::remove_dir_all(&out).unwrap());
    table.push(row(&mut rows, ["payload", "sha256sum, tar, genisoimage"], &payload, 0.25, 32 << 10));
    let nothing = in_turn(&build, PIPELINE, &|| {});
    table.push(row(&mut rows, ["nothing to do", "sha256sum, tar, genisoimage"], &nothing, 0.02, u64::MAX));
    let mirror = bench.mirror.clone();
    let fetch = [NODEBAKE, "--mirror", &mirror, "--cache-dir", "fetched-store", "fetch"];
    let store = bench.folder.join("fetched-store");
    let fetched = in_turn(&fetch, CURL, &|| drop(fs::remove_dir_all(&store)));
    table.push(row(&mut rows, ["fetch", "curl, sha256sum"], &fetched, 0.5, u64::MAX));
    print_table(&table);

    println!("\nfiles written, made or renamed when there is nothing to do: {}", bench.writes(&build));
    let size = |name: &str| fs::metadata(bench.folder.join(name)).unwrap().len() / 1_000_000;
    let names = ["kubelet", "containerd", "runc", "cni-plugins"];
    let sizes: Vec<_> = names.iter().map(|name| format!("{name} {} MB", size(&format!("files/{name}")))).collect();
    println!("in: {}; out: {} MB", sizes.join(", "), size("tree.iso"));
}

/// A folder with a cluster, a store and the same files for the shell.
struct Bench {
    folder: PathBuf,
    mirror: String,
}

impl Bench {
    fn new(folder: &Path, lab: &Path) -> Self {
        let versions = fs::read_to_string(lab.join("runtime.env")).expect("run `tests/lab/lab mirror` first");
        let version = |key: &str| {
            let line = versions.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
            line.unwrap().to_owned()
        };
        let [containerd, runc, cni] = ["CONTAINERD", "RUNC", "CNI"].map(version);
        let cluster = CLUSTER.replace("CONTAINERD", &containerd).replace("RUNC", &runc).replace("CNI", &cni);
        fs::write(folder.join("nodebake.yaml"), cluster).unwrap();
        let bench = Self { folder: folder.to_owned(), mirror: serve(folder.join("mirror")) };
        bench.shell(
            "mkdir pki && openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=bench -keyout pki/ca-key.pem \
             -out pki/ca.pem -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign 2>log",
        );
        bench.collect(lab, [&containerd, &runc, &cni]);
        bench.run(&[NODEBAKE, "--mirror", "mirror", "--cache-dir", "store", "fetch"]);
        bench
    }

    /// Lays out mirror, lock and the shell's files.
    fn collect(&self, lab: &Path, [containerd, runc, cni]: [&str; 3]) {
        let github = "github.com";
        let kubernetes = "dl.k8s.io/release/v1.35.1/bin/linux/amd64";
        let upstream = [
            ("kubelet", "1.35.1", format!("{kubernetes}/kubelet")),
            ("kubectl", "1.35.1", format!("{kubernetes}/kubectl")),
            (
                "containerd",
                containerd,
                format!(
                    "{github}/containerd/containerd/releases/download/v{containerd}/containerd-{containerd}-linux-amd64.tar.gz"
                ),
            ),
            ("runc", runc, format!("{github}/opencontainers/runc/releases/download/v{runc}/runc.amd64")),
            (
                "cni-plugins",
                cni,
                format!(
                    "{github}/containernetworking/plugins/releases/download/v{cni}/cni-plugins-linux-amd64-v{cni}.tgz"
                ),
            ),
            ("base-image", "lab-trixie", "nodebake.invalid/lab/guest-amd64.img".to_owned()),
        ];
        fs::create_dir(self.folder.join("files")).unwrap();
        let (mut lock, mut urls, mut sums) =
            ("apiVersion: nodebake/v1\nartifacts:\n".to_owned(), String::new(), String::new());
        for (kind, version, place) in upstream {
            let published = self.folder.join("mirror").join(&place);
            fs::create_dir_all(published.parent().unwrap()).unwrap();
            match kind {
                "kubelet" | "kubectl" => drop(fs::copy(lab.join("kubectl"), &published).unwrap()),
                "base-image" => noise(&published, BASE_IMAGE),
                _ => drop(fs::copy(lab.join("mirror").join(&place), &published).unwrap()),
            }
            let digest = Digest::of_reader(&mut File::open(&published).unwrap()).unwrap();
            let size = published.metadata().unwrap().len();
            write!(
                lock,
                "- kind: {kind}\n  version: {version}\n  arch: amd64\n  url: https://{place}\n  size: {size}\n  \
                 sha256: {digest}\n  unsigned: a benchmark\n"
            )
            .unwrap();
            writeln!(urls, "{digest} {place}").unwrap();
            if !matches!(kind, "kubectl" | "base-image") {
                fs::copy(&published, self.folder.join("files").join(kind)).unwrap();
                writeln!(sums, "{digest}  {kind}").unwrap();
            }
        }
        fs::write(self.folder.join("nodebake.lock"), lock).unwrap();
        fs::write(self.folder.join("URLS"), urls).unwrap();
        fs::write(self.folder.join("files/SUMS"), sums).unwrap();
    }

    fn shell(&self, script: &str) -> Took {
        self.run(&["bash", "-euo", "pipefail", "-c", script])
    }

    fn run(&self, command: &[&str]) -> Took {
        pairs::run(&self.folder, &[("MIRROR", &self.mirror)], command)
    }

    /// How many of a command's system calls make, change or rename a file; "unknown" where strace cannot trace.
    fn writes(&self, command: &[&str]) -> String {
        let told = self.folder.join("strace");
        let traced = Command::new("strace")
            .args(["-f", "-qq", "-y", "-e", "signal=none"])
            .args([
                "-e",
                "trace=%file,write,writev,pwrite64,pwritev,pwritev2,ftruncate,fallocate,fchmod,fchown,copy_file_range",
            ])
            .arg("-o")
            .arg(&told)
            .args(command)
            .current_dir(&self.folder)
            .output();
        if !traced.is_ok_and(|output| output.status.success()) {
            return "unknown (strace does not work here)".to_owned();
        }
        let told = fs::read_to_string(told).unwrap();
        let writes: Vec<_> = told.lines().filter(|line| changes_a_file(line)).collect();
        if writes.is_empty() { "0".to_owned() } else { format!("{}\n  {}", writes.len(), writes.join("\n  ")) }
    }
}

/// Whether a line of strace tells of more than looking, or of writing to a pipe or terminal.
fn changes_a_file(line: &str) -> bool {
    const LOOK: [&str; 9] =
        ["access", "execve", "faccessat", "newfstatat", "readlink", "stat", "statfs", "statx", "getcwd"];
    let call = line.trim_start_matches(|c: char| c.is_ascii_digit() || c == ' ');
    let name = call.split('(').next().unwrap_or_default();
    match name {
        "open" | "openat" => ["O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC"].iter().any(|flag| call.contains(flag)),
        // Paths of descriptors are shown; those of pipes, sockets and events have no slash at their start.
        name if name.contains("write") => call.contains("</") && !call.contains("</dev/"),
        name => !LOOK.iter().any(|look| name.starts_with(look)) && !name.starts_with("readlink") && name != "chdir",
    }
}

fn row(rows: &mut Rows, [name, peer]: [&str; 2], pairs: &[[Took; 2]], limit: f64, peak_limit: u64) -> [String; 8] {
    let wall = |which: usize| shown(pairs.iter().map(|pair| pair[which].wall), 3);
    let ratios = || pairs::ratios(pairs, |took| took.wall);
    let peak = pairs.iter().map(|[ours, _]| ours.peak).max().unwrap_or_default();
    let (limits, within) = match peak_limit {
        u64::MAX => (format!("{limit}"), true),
        most => (format!("{limit}, {} MiB", most >> 10), peak <= most),
    };
    let met = spread(ratios()).is_some_and(|[median, ..]| median <= limit) && within;
    rows.add(name, peer, ratios(), Some((limit, met)));
    let cpu = spread(pairs::ratios(pairs, |took| took.cpu)).map_or(0.0, |[median, ..]| median);
    [
        name.to_owned(),
        wall(0),
        wall(1),
        shown(ratios(), 3),
        limits,
        if met { "yes" } else { "NO" }.to_owned(),
        format!("{cpu:.3}"),
        format!("{} MiB", peak.div_ceil(1 << 10)),
    ]
}

fn print_table(table: &[[String; 8]]) {
    let widths: Vec<_> = (0..8).map(|column| table.iter().map(|row| row[column].len()).max().unwrap_or(0)).collect();
    for row in table {
        let cells: Vec<_> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        println!("{}", cells.join("   ").trim_end());
    }
}

/// Fills a file with bytes that no compression makes smaller (xorshift).
fn noise(path: &Path, size: u64) {
    let mut file = io::BufWriter::new(File::create(path).unwrap());
    let mut state: u64 = 0x9E37_79B9_7F4A_7C15;
    for _ in 0..size / 8 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        file.write_all(&state.to_le_bytes()).unwrap();
    }
    file.flush().unwrap();
}

/// Serves a folder over HTTP, one thread a connection, as long as this process lives; returns its address.
fn serve(folder: PathBuf) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || http::serve(&listener, &folder));
    address
}
