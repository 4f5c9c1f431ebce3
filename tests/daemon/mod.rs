//! A libvirtd of the test's own.
//!
//! As root it gets mount, network, PID and UTS namespaces: it sees none of this machine's networks and domains, and all
//! that it starts ends with it. As another user it is a session daemon with its own folders. Needs libvirtd, virtlogd
//! and qemu-system-x86_64.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nodebake::machine::{Hypervisor, PoolSpec, open};

/// A daemon that ends, with all that it started, when this is dropped or the test dies.
pub(crate) struct Daemon {
    process: Child,
    pub(crate) folder: tempfile::TempDir,
    pub(crate) uri: String,
    pub(crate) root: bool,
}

/// The shell stays as PID 1: QEMU, once it is nobody's child, must be reaped before libvirtd believes in its end.
/// No KVM: where only root may use it, libvirtd finds what it keeps of QEMU's capabilities stale at every look, and
/// takes a minute for what takes a second; libvirtd's own namespace for QEMU fails at what hides it. No cgroups:
/// daemons of several tests would meet in them. A folder may say what its host has besides (`host`), and that libvirtd
/// is not to be started again (`stopped`).
const NAMESPACES: &str = "set -e
mount -t tmpfs none /run
mkdir /run/libvirt /run/lock
for name in lib log cache; do mkdir -p $0/$name /var/$name/libvirt; mount --bind $0/$name /var/$name/libvirt; done
mkdir -p $0/etc
mount --bind $0/etc /etc/libvirt
mount --bind $0/run /run/libvirt
if test -e /dev/kvm; then : >$0/kvm; chmod 0 $0/kvm; mount --bind $0/kvm /dev/kvm; fi
printf 'namespaces = []\ncgroup_controllers = []\n' >$0/etc/qemu.conf
cat /usr/share/libvirt/schemas/domain.rng >$0/domain.rng
mount --bind $0/domain.rng /usr/share/libvirt/schemas/domain.rng
ip link set lo up
rm -f $0/stopped
listen=
test ! -e $0/host || . $0/host
virtlogd -d
while :; do
  while test -e $0/stopped; do sleep 0.1; done
  libvirtd $listen || :
done";

impl Daemon {
    pub(crate) fn start() -> Self {
        let daemon = Self::begin(|_| ());
        daemon.wait();
        daemon
    }

    /// One that may not answer yet, over a folder that is prepared for it.
    pub(crate) fn begin(prepare: impl FnOnce(&Path)) -> Self {
        let folder = tempfile::Builder::new().prefix("nodebake-libvirt-").tempdir().unwrap();
        // QEMU runs as a user of its own, and must reach the volumes.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let path = folder.path();
        fs::create_dir(path.join("run")).unwrap();
        let root = rustix::process::geteuid().is_root();
        let socket = if root { "system?socket=RUN" } else { "session?socket=RUN/libvirt" };
        let run = path.join("run");
        let uri = format!("qemu+unix:///{}/libvirt-sock", socket.replace("RUN", run.to_str().unwrap()));
        prepare(path);
        Self { process: Self::spawn(path, root), folder, uri, root }
    }

    fn spawn(path: &Path, root: bool) -> Child {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]);
        if root {
            command.args(["unshare", "-mnpuf", "--kill-child", "--mount-proc", "sh", "-c", NAMESPACES]).arg(path);
        } else {
            command.arg("libvirtd").env("XDG_RUNTIME_DIR", path.join("run")).env("HOME", path);
            command.env_remove("XDG_CONFIG_HOME").env_remove("XDG_CACHE_HOME");
        }
        let log = fs::File::create(path.join("daemon.log")).unwrap();
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        command.spawn().expect("setpriv, unshare and libvirtd are installed")
    }

    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    pub(crate) fn restart(&mut self) {
        self.process = Self::spawn(self.folder.path(), self.root);
        self.wait();
    }

    /// Kills libvirtd alone: what it started lives on, and it is started again.
    pub(crate) fn kill_libvirtd(&self) {
        self.signal_libvirtd("-KILL");
    }

    /// Kills libvirtd alone, for good, and waits for its end.
    pub(crate) fn stop_libvirtd(&self) {
        fs::write(self.folder.path().join("stopped"), "").unwrap();
        let killed = self.signal_libvirtd("-KILL");
        while killed.iter().any(|pid| Path::new("/proc").join(pid).exists()) {
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub(crate) fn start_libvirtd(&self) {
        fs::remove_file(self.folder.path().join("stopped")).unwrap();
        self.wait();
    }

    /// Sends a signal to libvirtd, whose processes it returns, and to nothing that libvirtd started.
    pub(crate) fn signal_libvirtd(&self, signal: &str) -> Vec<String> {
        assert!(self.root);
        let parents = |pid: &str| -> Option<(String, String)> {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            let (head, tail) = stat.rsplit_once(") ")?;
            Some((head.split_once('(')?.1.to_owned(), tail.split(' ').nth(1)?.to_owned()))
        };
        let ours = |pid: &str| {
            let ancestors = std::iter::successors(Some(pid.to_owned()), |pid| Some(parents(pid)?.1));
            ancestors.take(8).any(|pid| pid == self.process.id().to_string())
        };
        let pids = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let daemons = pids.filter(|pid| parents(pid).is_some_and(|(name, _)| name == "libvirtd") && ours(pid));
        let daemons: Vec<_> = daemons.collect();
        assert!(!daemons.is_empty(), "libvirtd runs");
        assert!(Command::new("kill").arg(signal).args(&daemons).status().unwrap().success());
        daemons
    }

    pub(crate) fn wait(&self) {
        let begin = Instant::now();
        while open(&self.uri).is_err() {
            let log = || fs::read_to_string(self.folder.path().join("daemon.log")).unwrap();
            assert!(begin.elapsed() < Duration::from_mins(1), "libvirtd does not answer: {}", log());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// The first process in root's daemon's namespaces.
    pub(crate) fn inner(&self) -> String {
        let outer = self.process.id();
        let children = fs::read_to_string(format!("/proc/{outer}/task/{outer}/children")).unwrap();
        children.split_whitespace().next().unwrap().to_owned()
    }

    /// What to put before a command that shall run in a folder where root's daemon is: with its networks, and with its
    /// view of the folders.
    pub(crate) fn inside(&self, folder: &Path) -> Vec<String> {
        let enter = ["nsenter", "-t", &self.inner(), "-m", "-n", "-p", "-u", "sh", "-c", "cd \"$0\" && exec \"$@\""];
        enter.into_iter().chain([folder.to_str().unwrap()]).map(str::to_owned).collect()
    }

    /// A socket of this process in the network of root's daemon.
    pub(crate) fn listen(&self, address: SocketAddr) -> TcpListener {
        in_network(&self.inner(), || TcpListener::bind(address).unwrap())
    }

    pub(crate) fn open(&self) -> Box<dyn Hypervisor> {
        open(&self.uri).unwrap()
    }

    pub(crate) fn pool(&self) -> String {
        let path = self.folder.path().join("pool").to_str().unwrap().to_owned();
        self.open().create_pool(&PoolSpec { name: "vms".to_owned(), path: path.clone() }).unwrap();
        path
    }
}

/// Does something in the network of a process: its sockets, and the programs that it starts, are there.
pub(crate) fn in_network<T: Send>(pid: &str, run: impl FnOnce() -> T + Send) -> T {
    let network = fs::File::open(format!("/proc/{pid}/ns/net")).unwrap();
    // A thread of its own: only that moves there.
    let inside = || {
        nix::sched::setns(network, nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
        run()
    };
    std::thread::scope(|scope| scope.spawn(inside).join().unwrap())
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
