//! How long a worker takes to come up, by nodebake and by other ways, on the same machine and in turn.
//!
//! - `ours`: `nodebake up`, with images built and uploaded; until its guest reports that the kubelet runs.
//! - `ssh`: a plain guest of the same image, and first-boot/ssh-way from its start on: the nine steps that nodebake
//!   replaces, with a mirror on the guests' own bridge. Two workers one after the other, as that script does.
//! - `bare`: the same image with a seed that configures the network and nothing else, until systemd's network-online.target.
//! - `prototype`: nodebake's seed and payload with the first boot of the hand-made prototype (first-boot/prototype).
//!
//! All times are the host's: a machine starts when its QEMU process does, and what its guest says (on the virtio-serial
//! channel, on the console) counts when it is in the host's file, looked at every 10 ms. Beside the seconds of the clock
//! stand those of QEMU's processors, of which other work on the machine takes none away.
//!
//! Needs root and `tests/lab/lab build`. Everything runs in the lab; its rule against SSH is lifted. The kubelet stand-in is
//! filled up to the size of a real kubelet. Variables beside the lab's:
//!
//! - `NODEBAKE_BENCH_PAIRS`: rounds, 3
//! - `NODEBAKE_BENCH_WAYS`: some of the ways, by commas
//! - `NODEBAKE_BENCH_WORKERS`: `1`, `2` or `1,2`
//! - `NODEBAKE_BENCH_PROGRAM`: another nodebake than the one built with this
#![expect(clippy::print_stdout, clippy::print_stderr, clippy::unwrap_used, reason = "a program of its own, for people")]

#[path = "shared/http.rs"]
mod http;
#[path = "shared/rows.rs"]
mod rows;
#[path = "shared/spread.rs"]
mod spread;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nodebake::digest::Digest;

use rows::Rows;
use spread::{shown, spread};

const CLONE: &str = env!("CARGO_MANIFEST_DIR");
const WORKERS: [(&str, &str); 2] = [("worker-node-1", "10.0.0.36"), ("worker-node-2", "10.0.0.37")];
const MIRROR: &str = "10.0.0.4:8080";
/// Size of upstream's kubelet 1.35, in bytes.
const KUBELET_SIZE: u64 = 60 << 20;
/// Where the machines that are not nodebake's have their files, as the lab's libvirt sees it.
const PLACE: &str = "/var/lib/libvirt/bench";
/// How often the guests' words are looked at.
const LOOK: Duration = Duration::from_millis(10);
/// A way that takes longer has gone astray.
const PATIENCE: Duration = Duration::from_mins(20);
/// Clock ticks of /proc/PID/stat in a second: 100 on every Linux (`USER_HZ`).
const TICKS: f64 = 100.0;

const CLUSTER: &str = "\
apiVersion: nodebake/v1
cluster:
  name: seed
  apiServer: https://10.0.0.4:6443
  controlPlane: [{name: control-plane-1, address: 10.0.0.4}]
  clusterDNS: [10.96.0.10]
  pki: pki
  kubeconfig: admin.kubeconfig
versions:
  kubernetes: KUBERNETES
  containerd: CONTAINERD
  runc: RUNC
  cniPlugins: CNI
image: lab-trixie
artifacts:
  - kind: runc
    url: https://github.com/opencontainers/runc/releases/download/vRUNC/runc.amd64
    sha256: SHA256
network:
  name: seed
  cidr: 10.0.0.0/24
  gateway: 10.0.0.1
  nameservers: [10.0.0.1]
defaults:
  cpus: 1
  memory: 2GiB
  disk: 8GiB
nodes:
  - name: worker-node-1
    address: 10.0.0.36
  - name: worker-node-2
    address: 10.0.0.37
";

const NETWORK: &str = "\
version: 2
ethernets:
  primary:
    match: {macaddress: 'MAC'}
    dhcp4: false
    dhcp6: false
    accept-ra: false
    link-local: []
    addresses: [ADDRESS/24]
    routes: [{to: 0.0.0.0/0, via: 10.0.0.1}]
    nameservers: {addresses: [10.0.0.1]}
";
const PLAIN: &str = "#cloud-config\nssh_authorized_keys: [KEY]\n";
/// The prototype's, of which cloud-init does nothing else; without `dsmode: local`, and so in the stage behind the network.
const PROTOTYPE: &str = "#cloud-config
bootcmd:
  - \"echo '<5>nodebake: bootcmd' >/dev/kmsg\"
  - mkdir -p /run/nodebake/seed
  - mount -o ro LABEL=CIDATA /run/nodebake/seed
  - systemd-run --no-block --collect --quiet --unit=nodebake-first-boot /bin/sh /run/nodebake/seed/nodebake/first-boot
cloud_init_modules: [bootcmd]
cloud_config_modules: []
cloud_final_modules: []
";
/// cloud-init brings the network up and does nothing else.
const BARE: &str = "#cloud-config\ncloud_init_modules: []\ncloud_config_modules: []\ncloud_final_modules: []\n";

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    Ours,
    Ssh,
    Bare,
    Prototype,
}

impl Way {
    const ALL: [Self; 4] = [Self::Ours, Self::Ssh, Self::Bare, Self::Prototype];

    fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Ssh => "ssh",
            Self::Bare => "bare",
            Self::Prototype => "prototype",
        }
    }

    /// What its machines are measured to.
    fn end(self) -> &'static str {
        match self {
            Self::Bare => ONLINE,
            _ => "kubelet-active",
        }
    }
}

/// What cloud-init's first word to a seed writes on the console, the boothook of ours or the bootcmd of the prototype.
const BOOTCMD: &str = "nodebake: boot";
/// What systemd writes there.
const ONLINE: &str = "Reached target \u{1b}[0;1;39mnetwork-online.target";

fn main() {
    let words: Vec<_> = std::env::args().skip(1).collect();
    if let [command, folder, address] = &words[..]
        && command == "--serve"
    {
        return http::serve(&TcpListener::bind(address).unwrap(), Path::new(folder));
    }
    let pairs: usize = variable("NODEBAKE_BENCH_PAIRS", "3").parse().unwrap();
    let wanted = variable("NODEBAKE_BENCH_WAYS", "ours,ssh,bare,prototype");
    let ways: Vec<_> = Way::ALL.into_iter().filter(|way| wanted.split(',').any(|word| word == way.name())).collect();
    let counts: Vec<usize> = variable("NODEBAKE_BENCH_WORKERS", "1,2").split(',').map(|n| n.parse().unwrap()).collect();

    let bench = Bench::new();
    let mut runs = BTreeMap::<_, Vec<Run>>::new();
    for pair in 1..=pairs {
        for &workers in &counts {
            // Two of the others are measured against nothing.
            let ways = ways.iter().filter(|way| workers == 1 || matches!(way, Way::Ours | Way::Ssh));
            for &way in ways {
                let run = bench.run(way, workers);
                eprintln!("round {pair} of {pairs}, {}, workers: {workers}", way.name());
                eprint!("{}", run.told());
                runs.entry((way, workers)).or_default().push(run);
            }
        }
    }
    print_table(&runs, pairs);
    drop(bench);
}

fn variable(name: &str, otherwise: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| otherwise.to_owned())
}

/// What one way took, of all its machines.
struct Run {
    seconds: f64,
    cpu: f64,
    /// From bootcmd to the end, of the slowest machine; none where there is no bootcmd.
    from_bootcmd: Option<f64>,
    machines: Vec<Machine>,
}

impl Run {
    fn of(way: Way, machines: Vec<Machine>) -> Self {
        let end = |machine: &Machine| machine.seen[way.end()];
        let start = machines.iter().map(|machine| machine.started).fold(f64::MAX, f64::min);
        let last = machines.iter().map(|machine| end(machine).at).fold(0.0, f64::max);
        let since = |machine: &Machine| Some(end(machine).at - machine.seen.get(BOOTCMD)?.at);
        Self {
            seconds: last - start,
            cpu: machines.iter().map(|machine| end(machine).cpu).sum(),
            from_bootcmd: machines.iter().filter_map(since).reduce(f64::max),
            machines,
        }
    }

    /// Every machine's stages, in seconds since its start and of its processors.
    fn told(&self) -> String {
        let mut text = String::new();
        for machine in &self.machines {
            let mut seen: Vec<_> = machine.seen.iter().collect();
            seen.sort_by(|a, b| a.1.at.total_cmp(&b.1.at));
            for (stage, seen) in seen {
                let (at, cpu) = (seen.at - machine.started, seen.cpu);
                let _ = writeln!(text, "  {}  {at:>7.2} s  {cpu:>7.2} s of cpu  {stage}", machine.name);
            }
        }
        text
    }
}

/// When something was seen, in seconds since the host started, and what its QEMU had used of the processors by then.
#[derive(Clone, Copy)]
struct Seen {
    at: f64,
    cpu: f64,
}

/// One machine that runs.
struct Machine {
    name: String,
    pid: u32,
    /// Seconds since the host started.
    started: f64,
    console: PathBuf,
    channel: PathBuf,
    seen: BTreeMap<String, Seen>,
}

impl Machine {
    /// Waits for its QEMU process.
    fn found(bench: &Bench, name: &str) -> Self {
        let pid = until(|| qemu_of(name));
        let xml = bench.virsh(&["dumpxml", name]);
        let path = |element: &str, attribute: &str| {
            let (_, after) = xml.split_once(element).unwrap_or_else(|| panic!("no {element}: {xml}"));
            let (_, after) = after.split_once(attribute).unwrap();
            bench.outside(after.split('\'').nth(1).unwrap())
        };
        let started = stat_of(pid).unwrap().started;
        let (console, channel) =
            (path("<serial type='pty'>", "<log file"), path("<channel type='file'>", "<source path"));
        Self { name: name.to_owned(), pid, started, console, channel, seen: BTreeMap::new() }
    }

    fn look(&mut self) {
        let console = read(&self.console);
        let mut stages: Vec<_> =
            [BOOTCMD, ONLINE].into_iter().filter(|sign| console.contains(*sign)).map(ToOwned::to_owned).collect();
        let channel = read(&self.channel);
        for line in channel.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
            let Ok(report) = serde_json::from_str::<serde_json::Value>(line) else { continue };
            let stage = report["stage"].as_str().unwrap_or_default().to_owned();
            assert_ne!(report["state"], "failed", "{}: {stage}: {line}", self.name);
            stages.push(stage);
        }
        let fresh = stages.into_iter().filter(|stage| !self.seen.contains_key(stage)).collect::<Vec<_>>();
        if !fresh.is_empty() {
            let cpu = stat_of(self.pid).unwrap_or_else(|| panic!("{} has ended", self.name)).cpu;
            let seen = Seen { at: now(), cpu };
            self.seen.extend(fresh.into_iter().map(|stage| (stage, seen)));
        }
    }
}

fn read(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}

/// Seconds since the host started.
fn now() -> f64 {
    fs::read_to_string("/proc/uptime").unwrap().split(' ').next().unwrap().parse().unwrap()
}

struct Stat {
    started: f64,
    cpu: f64,
}

fn stat_of(pid: u32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // proc(5): fields 14 and 15 are the ticks in user and kernel mode, 22 the start; the name before may hold anything.
    let fields: Vec<f64> =
        text.rsplit_once(')')?.1.split_whitespace().map(|word| word.parse().unwrap_or(0.0)).collect();
    Some(Stat { started: fields[19] / TICKS, cpu: (fields[11] + fields[12]) / TICKS })
}

fn qemu_of(name: &str) -> Option<u32> {
    let sign = format!("guest={name},");
    fs::read_dir("/proc").unwrap().flatten().find_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let line = fs::read(entry.path().join("cmdline")).ok()?;
        String::from_utf8_lossy(&line).split('\0').any(|word| word.starts_with(&sign)).then_some(pid)
    })
}

fn until<T>(mut found: impl FnMut() -> Option<T>) -> T {
    loop {
        if let Some(found) = found() {
            return found;
        }
        std::thread::sleep(LOOK);
    }
}

/// The lab, a cluster in it whose images are built, and what the other ways need.
struct Bench {
    program: String,
    script: PathBuf,
    dir: PathBuf,
    folder: PathBuf,
    versions: BTreeMap<String, String>,
    server: Option<Child>,
}

impl Bench {
    fn new() -> Self {
        let dir = std::env::var_os("LAB_DIR").map_or_else(|| Path::new(CLONE).join("target/lab"), PathBuf::from);
        let build = std::env::var_os("LAB_BUILD_DIR").map_or_else(|| dir.clone(), PathBuf::from);
        let versions = fs::read_to_string(build.join("versions.env")).expect("run `tests/lab/lab build` first");
        let versions = versions.lines().filter_map(|line| line.split_once('='));
        let versions = versions.map(|(name, version)| (name.to_owned(), version.to_owned())).collect();
        let folder = dir.join("bench");
        let program = variable("NODEBAKE_BENCH_PROGRAM", env!("CARGO_BIN_EXE_nodebake"));
        let script = Path::new(CLONE).join("tests/lab/lab");
        let mut bench = Self { program, script, dir, folder, versions, server: None };
        must(Command::new(&bench.script).arg("down"));
        let _ = fs::remove_dir_all(&bench.folder);
        fs::create_dir_all(bench.folder.join("files")).unwrap();
        must(Command::new(&bench.script).arg("up"));
        // The lab lets no SSH pass; its peer here lives on it.
        must(bench.inside("nft").args(["delete", "table", "bridge", "lab"]));
        fs::create_dir_all(bench.outside(PLACE)).unwrap();
        bench.make_mirror(&build.join("mirror"));
        bench.make_cluster();
        let mut server = Command::new(&bench.script);
        server.arg("cp").arg(std::env::current_exe().unwrap()).arg("--serve").arg(bench.folder.join("mirror"));
        bench.server = Some(server.arg(MIRROR).stdin(Stdio::null()).spawn().unwrap());
        bench
    }

    /// The lab's mirror, with a kubelet of a real kubelet's size.
    fn make_mirror(&self, from: &Path) {
        let mirror = self.folder.join("mirror");
        must(Command::new("cp").args(["-a", "--reflink=auto"]).arg(from).arg(&mirror));
        let version = &self.versions["KUBERNETES"];
        let folder = mirror.join("dl.k8s.io/release").join(version).join("bin/linux/amd64");
        let kubelet = folder.join("kubelet");
        let size = fs::metadata(&kubelet).unwrap().len();
        if size < KUBELET_SIZE {
            // What follows a program's sections is never read when it runs, but carried wherever it goes.
            let mut noise = File::open("/dev/urandom").unwrap().take(KUBELET_SIZE - size);
            std::io::copy(&mut noise, &mut File::options().append(true).open(&kubelet).unwrap()).unwrap();
        }
        for algorithm in ["sha256", "sha512"] {
            let said = must(Command::new(format!("{algorithm}sum")).arg(&kubelet));
            fs::write(folder.join(format!("kubelet.{algorithm}")), said.split(' ').next().unwrap()).unwrap();
        }
    }

    fn make_cluster(&self) {
        let mut text = CLUSTER.to_owned();
        let runc = format!("github.com/opencontainers/runc/releases/download/v{}/runc.amd64", self.versions["RUNC"]);
        let runc = Digest::of(&fs::read(self.folder.join("mirror").join(runc)).unwrap());
        text = text.replace("SHA256", &runc.to_string());
        for (name, version) in &self.versions {
            text = text.replace(name, version);
        }
        fs::write(self.folder.join("nodebake.yaml"), text).unwrap();
        for file in ["pki", "admin.kubeconfig"] {
            must(Command::new("cp").arg("-a").arg(self.dir.join("cluster").join(file)).arg(&self.folder));
        }
        must(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(self.folder.join("key")));
        must(self.nodebake(Command::new(&self.program)).arg("lock"));
        must(self.nodebake(Command::new(&self.program)).args(["build", "--all"]));
        for (name, _) in WORKERS {
            let mut extract = Command::new("xorriso");
            extract.args(["-osirrox", "on", "-indev"]).arg(self.folder.join("build").join(name).join("seed.iso"));
            must(extract.args(["-extract", "/"]).arg(self.folder.join("seeds").join(name)));
            let root = self.folder.join("seeds").join(name).join("nodebake/root");
            must(Command::new("cp").arg("-a").arg(root).arg(self.folder.join("files").join(name)));
        }
    }

    fn nodebake(&self, mut command: Command) -> Command {
        command.current_dir(&self.folder).env("NODEBAKE_CACHE_DIR", self.folder.join("cache"));
        command.env("NODEBAKE_MIRROR", self.folder.join("mirror")).stdin(Stdio::null());
        command
    }

    fn inside(&self, program: &str) -> Command {
        let mut command = Command::new(&self.script);
        command.arg("exec").arg(program).stdin(Stdio::null());
        command
    }

    fn virsh(&self, words: &[&str]) -> String {
        must(self.inside("virsh").arg("--quiet").args(words))
    }

    /// A path in the lab as the machine sees it.
    fn outside(&self, path: &str) -> PathBuf {
        self.dir.join("host").join(path.trim_start_matches('/'))
    }

    fn run(&self, way: Way, workers: usize) -> Run {
        let workers = &WORKERS[..workers];
        // The first machine of ours shows how the others' are made.
        if way != Way::Ours && !self.folder.join(format!("{}.xml", workers[0].0)).exists() {
            self.ours(workers);
        }
        match way {
            Way::Ours => self.ours(workers),
            _ => self.other(way, workers),
        }
    }

    fn ours(&self, workers: &[(&str, &str)]) -> Run {
        let names = workers.iter().map(|(name, _)| *name);
        let mut up = self.nodebake(self.inside(&self.program));
        let mut up = up.arg("up").args(names.clone()).stderr(self.log("up")).stdout(Stdio::null()).spawn().unwrap();
        let mut machines: Vec<_> = names.clone().map(|name| Machine::found(self, name)).collect();
        // Now, since a machine that is a node loses its seed.
        for name in names.clone() {
            let xml = self.virsh(&["dumpxml", "--inactive", name]);
            fs::write(self.folder.join(format!("{name}.xml")), xml).unwrap();
        }
        watch(&mut machines, |machine| ["finished", "kubelet-active"].iter().all(|s| machine.seen.contains_key(*s)));
        assert!(up.wait().unwrap().success(), "nodebake up: {}", self.said("up"));
        must(self.nodebake(self.inside(&self.program)).args(["down", "--yes"]).args(names));
        Run::of(Way::Ours, machines)
    }

    /// Makes plain machines like those of nodebake, with another seed.
    fn other(&self, way: Way, workers: &[(&str, &str)]) -> Run {
        for (name, _) in workers {
            self.make_seed(way, name);
            let xml = self.definition(way, name);
            fs::write(self.folder.join("machine.xml"), xml).unwrap();
            must(self.inside("virsh").arg("--quiet").arg("create").arg(self.folder.join("machine.xml")));
        }
        let script = (way == Way::Ssh).then(|| self.start_script(workers));
        let mut machines: Vec<_> = workers.iter().map(|(name, _)| Machine::found(self, name)).collect();
        watch(&mut machines, |machine| machine.seen.contains_key(way.end()));
        if let Some(mut script) = script {
            assert!(script.wait().unwrap().success(), "{}", self.said("ssh"));
        }
        for (name, _) in workers {
            self.virsh(&["destroy", name]);
        }
        Run::of(way, machines)
    }

    /// A seed with the node's own network, and what the way asks for.
    fn make_seed(&self, way: Way, name: &str) {
        let (ours, folder) = (self.folder.join("seeds").join(name), self.folder.join("seed"));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir(&folder).unwrap();
        let key = fs::read_to_string(self.folder.join("key.pub")).unwrap();
        let user_data = match way {
            Way::Ssh => PLAIN.replace("KEY", key.trim()),
            Way::Prototype => {
                must(Command::new("cp").arg("-a").arg(ours.join("nodebake")).arg(&folder));
                fs::copy(Path::new(CLONE).join("benches/first-boot/prototype"), folder.join("nodebake/first-boot"))
                    .unwrap();
                PROTOTYPE.to_owned()
            }
            _ => BARE.to_owned(),
        };
        fs::write(folder.join("user-data"), user_data).unwrap();
        fs::write(folder.join("meta-data"), format!("instance-id: bench\nlocal-hostname: {name}\n")).unwrap();
        fs::write(folder.join("network-config"), self.network_config(name)).unwrap();
        let image = self.outside(&format!("{PLACE}/{name}.iso"));
        must(Command::new("genisoimage").args(["-quiet", "-R", "-V", "CIDATA", "-o"]).arg(image).arg(folder));
    }

    /// The node's own network, by cloud-init's means: as static as nodebake's.
    fn network_config(&self, name: &str) -> String {
        let xml = fs::read_to_string(self.folder.join(format!("{name}.xml"))).unwrap();
        let (_, mac) = xml.split_once("<mac address='").unwrap();
        let (_, address) = WORKERS.iter().find(|(known, _)| *known == name).unwrap();
        NETWORK.replace("MAC", mac.split('\'').next().unwrap()).replace("ADDRESS", address)
    }

    /// The machine that nodebake made for this node, with disks and logs of its own.
    fn definition(&self, way: Way, name: &str) -> String {
        let xml = fs::read_to_string(self.folder.join(format!("{name}.xml"))).unwrap();
        let document = roxmltree::Document::parse(&xml).unwrap();
        let mut cut = Vec::new();
        let mut base = String::new();
        for node in document.descendants() {
            let file = |parent: roxmltree::Node| {
                let source = parent.children().find(|child| child.has_tag_name("source"));
                source.and_then(|source| source.attribute("file")).unwrap_or_default().to_owned()
            };
            let mut replace = |node: roxmltree::Node, attribute: &str, file: String| {
                cut.push((node.attribute_node(attribute).unwrap().range_value(), file));
            };
            let is = |parent: &str| node.parent().is_some_and(|above| above.has_tag_name(parent));
            match node.tag_name().name() {
                "metadata" => cut.push((node.range(), String::new())),
                "backingStore" if !file(node).is_empty() => base = file(node),
                "source" if is("channel") => replace(node, "path", format!("{PLACE}/{name}.channel")),
                "log" if is("serial") => replace(node, "file", format!("{PLACE}/{name}.console")),
                "disk" if file(node).contains(".payload.") && way != Way::Prototype => {
                    cut.push((node.range(), String::new()));
                }
                "source" if is("disk") => {
                    let file = node.attribute("file").unwrap();
                    if file.contains(".root.") {
                        replace(node, "file", format!("{PLACE}/{name}.qcow2"));
                    } else if file.contains(".seed.") {
                        replace(node, "file", format!("{PLACE}/{name}.iso"));
                    }
                }
                _ => {}
            }
        }
        let overlay = self.outside(&format!("{PLACE}/{name}.qcow2"));
        let mut create = self.inside("qemu-img");
        must(create.args(["create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", &base]).arg(overlay).arg("8G"));
        for log in ["channel", "console"] {
            let _ = fs::remove_file(self.outside(&format!("{PLACE}/{name}.{log}")));
        }
        let mut text = xml.clone();
        cut.sort_by_key(|(range, _)| std::cmp::Reverse(range.start));
        for (range, with) in cut {
            text.replace_range(range, &with);
        }
        text
    }

    /// The script bootstraps one worker after the other, as its original does.
    fn start_script(&self, workers: &[(&str, &str)]) -> Child {
        for (name, address) in workers {
            // Without it, a first packet to a guest that is not up yet would hold up all others for a second.
            let xml = self.virsh(&["dumpxml", name]);
            let (_, mac) = xml.split_once("<mac address='").unwrap();
            let mac = mac.split('\'').next().unwrap();
            let mut neighbour = self.inside("ip");
            neighbour.args(["neighbour", "replace", address, "lladdr", mac, "dev", "virbr-seed", "nud", "permanent"]);
            must(&mut neighbour);
        }
        let calls: Vec<_> =
            workers.iter().map(|(name, ip)| format!("{CLONE}/benches/first-boot/ssh-way {name} {ip}")).collect();
        let mut script = self.inside("bash");
        script.args(["-c", &calls.join(" && ")]).envs(&self.versions).env("MIRROR", format!("http://{MIRROR}"));
        script.env("KEY", self.folder.join("key")).env("FILES", self.folder.join("files")).env("LOGIN", "debian");
        script.stdout(Stdio::null()).stderr(self.log("ssh")).spawn().unwrap()
    }

    fn log(&self, name: &str) -> File {
        File::create(self.folder.join(format!("{name}.log"))).unwrap()
    }

    fn said(&self, name: &str) -> String {
        fs::read_to_string(self.folder.join(format!("{name}.log"))).unwrap_or_default()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = Command::new(&self.script).arg("down").stdin(Stdio::null()).status();
        if let Some(mut server) = self.server.take() {
            let _ = server.wait();
        }
    }
}

fn watch(machines: &mut [Machine], done: impl Fn(&Machine) -> bool) {
    let start = Instant::now();
    until(|| {
        let seen = || machines.iter().map(|machine| machine.seen.keys().collect::<Vec<_>>()).collect::<Vec<_>>();
        assert!(start.elapsed() < PATIENCE, "no machine comes up; seen: {:?}", seen());
        machines.iter_mut().for_each(Machine::look);
        machines.iter().all(&done).then_some(())
    });
}

/// Its output; it must end well.
fn must(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn print_table(runs: &BTreeMap<(Way, usize), Vec<Run>>, pairs: usize) {
    println!("{pairs} rounds; median (least to most)\n");
    println!("{:<10} {:<8} {:<26} {:<26} FROM BOOTCMD", "WAY", "WORKERS", "SECONDS", "SECONDS OF CPU");
    for ((way, workers), of) in runs {
        let seconds = shown(of.iter().map(|run| run.seconds), 2);
        let cpu = shown(of.iter().map(|run| run.cpu), 2);
        let bootcmd = shown(of.iter().filter_map(|run| run.from_bootcmd), 2);
        println!("{:<10} {workers:<8} {seconds:<26} {cpu:<26} {bootcmd}", way.name());
    }
    println!("\n{:<34} {:<26} {:<26} {:<6} MET", "OURS AGAINST", "RATIO", "RATIO OF CPU", "LIMIT");
    let whole = |run: &Run| Some(run.seconds);
    let (all, mut kept) = (runs, Rows::of("first-boot"));
    let mut ratio = |name: &str, ways, limit, value: &dyn Fn(&Run) -> Option<f64>| {
        ratio(&mut kept, name, all, ways, limit, value);
    };
    ratio("ssh, one worker", [(Way::Ours, 1), (Way::Ssh, 1)], 0.55, &whole);
    ratio("ssh, two at once", [(Way::Ours, 2), (Way::Ssh, 2)], 0.5, &whole);
    ratio("bare", [(Way::Ours, 1), (Way::Bare, 1)], 1.15, &whole);
    ratio("prototype, from bootcmd on", [(Way::Ours, 1), (Way::Prototype, 1)], 1.0 / 3.0, &|run| run.from_bootcmd);
    std::io::stdout().flush().unwrap();
}

fn ratio(
    kept: &mut Rows,
    name: &str,
    runs: &BTreeMap<(Way, usize), Vec<Run>>,
    [ours, peer]: [(Way, usize); 2],
    limit: f64,
    value: &dyn Fn(&Run) -> Option<f64>,
) {
    let what = format!("{} worker{}", ours.1, if ours.1 == 1 { "" } else { "s" });
    let (Some(ours), Some(peer)) = (runs.get(&ours), runs.get(&peer)) else { return };
    let pairs = || ours.iter().zip(peer);
    let ratios: Vec<_> = pairs().filter_map(|(ours, peer)| Some(value(ours)? / value(peer)?)).collect();
    let fine = spread(ratios.clone()).is_some_and(|[median, ..]| median <= limit);
    kept.add(&what, name, ratios.iter().copied(), Some((limit, fine)));
    let met = if fine { "yes" } else { "NO" };
    let cpu = shown(pairs().map(|(ours, peer)| ours.cpu / peer.cpu), 3);
    println!("{name:<34} {:<26} {cpu:<26} {limit:<6.3} {met}", shown(ratios, 3));
}
