//! Several hosts with a libvirtd each, in one network: what a cluster over several hypervisors stands on.
//!
//! Each host is a [`Daemon`] of root's, whose network has the bridge `br-nodes`. A cable (a veth pair) leads from each
//! bridge to a switch in a further network namespace, which is where clients are as well: a host is reached from there
//! by ssh and TLS over TCP, and by its Unix socket from everywhere. Each host has its own ports, hostname, pool and
//! view of the folders. Needs sshd, ssh, openssl, ip, nft; as another user than root there are no hosts.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nodebake::machine::{Hypervisor, MachineError, open};

use crate::daemon::{Daemon, in_network};

/// The bridge that guests of all hosts share.
pub(crate) const BRIDGE: &str = "br-nodes";
/// A folder for a pool; each host has one of its own there, and this machine has none.
pub(crate) const POOL: &str = "/var/lib/libvirt/nodes";
/// Where clients are: the workers' gateway of a cluster file of ours.
pub(crate) const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

const SSH: u16 = 22;
/// libvirt's port for TLS.
const TLS: u16 = 16514;

/// How a client reaches a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Unix,
    Ssh,
    Tls,
}

pub(crate) const WAYS: [Way; 3] = [Way::Unix, Way::Ssh, Way::Tls];

/// Hosts that end, with all that they started, when this is dropped or the test dies.
pub(crate) struct Hosts {
    pub(crate) each: Vec<Host>,
    switch: Switch,
    folder: tempfile::TempDir,
}

/// One of them, and its faults.
pub(crate) struct Host {
    pub(crate) daemon: Daemon,
    pub(crate) address: Ipv4Addr,
    /// Its hostname, and the name of the switch's port that its cable leads to.
    pub(crate) name: String,
    switch: String,
    /// What clients have.
    client: PathBuf,
}

impl Hosts {
    /// Two or three, say, at 10.0.0.11, 10.0.0.12 and so on. None where there is no root to make namespaces.
    pub(crate) fn start(count: u8) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            return None;
        }
        let folder = tempfile::Builder::new().prefix("nodebake-hosts-").tempdir().unwrap();
        let switch = Switch::start();
        let (authority, client) = (folder.path().join("authority"), folder.path().join("client"));
        make_authority(&authority);
        make_client(&authority, &client);
        let each: Vec<_> = (1..=count).map(|number| Host::begin(number, &switch, &authority, &client)).collect();
        for host in &each {
            host.daemon.wait();
            host.plug();
        }
        each.iter().for_each(Host::wait);
        Some(Self { each, switch, folder })
    }

    /// What to put before a command that shall run where clients are.
    pub(crate) fn client(&self) -> [String; 4] {
        ["nsenter", "-t", &self.switch.pid(), "-n"].map(str::to_owned)
    }

    /// Does something where clients are; what is opened there may be used from everywhere.
    pub(crate) fn at_client<T: Send>(&self, run: impl FnOnce() -> T + Send) -> T {
        in_network(&self.switch.pid(), run)
    }

    pub(crate) fn open(&self, uri: &str) -> Result<Box<dyn Hypervisor>, MachineError> {
        self.at_client(|| open(uri))
    }

    /// What clients have: for ssh `ssh` (the program), `key` and `known_hosts`; for TLS `cacert.pem`, `clientcert.pem`
    /// and `clientkey.pem`.
    pub(crate) fn client_folder(&self) -> PathBuf {
        self.folder.path().join("client")
    }
}

impl Host {
    fn begin(number: u8, switch: &Switch, authority: &Path, client: &Path) -> Self {
        let address = Ipv4Addr::new(10, 0, 0, 10 + number);
        let name = format!("host{number}");
        let daemon = Daemon::begin(|folder| prepare(folder, number, &name, address, authority, client));
        Self { daemon, address, name, switch: switch.pid(), client: client.to_owned() }
    }

    /// The URI that leads here, from where clients are.
    pub(crate) fn uri(&self, way: Way) -> String {
        self.uri_with(way, &self.client)
    }

    /// The same with what another client has.
    pub(crate) fn uri_with(&self, way: Way, client: &Path) -> String {
        let (address, client) = (self.address, client.display());
        match way {
            Way::Unix => self.daemon.uri.clone(),
            // libvirt gives the program `-i` for the key and, without a terminal, BatchMode.
            Way::Ssh => {
                format!("qemu+ssh://root@{address}/system?command={client}/ssh&keyfile={client}/key&no_tty=1")
            }
            Way::Tls => format!("qemu+tls://{address}/system?pkipath={client}"),
        }
    }

    /// Runs a command there.
    pub(crate) fn run(&self, words: &[&str]) -> String {
        let wrapper = self.daemon.inside(Path::new("/"));
        must(Command::new(&wrapper[0]).args(&wrapper[1..]).args(words))
    }

    /// Ends libvirtd alone, as a crash does: its guests and sshd live on.
    pub(crate) fn stop(&self) {
        self.daemon.stop_libvirtd();
    }

    /// Starts libvirtd again after [`Host::stop`].
    pub(crate) fn start(&self) {
        self.daemon.start_libvirtd();
    }

    /// Has libvirtd do nothing any more: the kernel takes connections for it, and nobody answers.
    pub(crate) fn freeze(&self) {
        self.daemon.signal_libvirtd("-STOP");
    }

    /// Ends [`Host::freeze`].
    pub(crate) fn thaw(&self) {
        self.daemon.signal_libvirtd("-CONT");
    }

    /// Pulls the cable: nobody knows where the host's address is any more.
    pub(crate) fn cut(&self) {
        self.at_switch(&["ip", "link", "set", &self.name, "down"]);
    }

    /// Ends [`Host::cut`], and waits until the host is reached.
    pub(crate) fn mend(&self) {
        self.at_switch(&["ip", "link", "set", &self.name, "up"]);
        self.wait();
    }

    /// Lets no more than so many kbit a second come to the host, so that what is sent there takes its time.
    pub(crate) fn narrow(&self, kbit: u32) {
        let rate = format!("{kbit}kbit");
        let limit = ["root", "tbf", "rate", &rate, "burst", "64kb", "latency", "400ms"];
        self.at_switch(&[&["tc", "qdisc", "add", "dev", &self.name], &limit[..]].concat());
    }

    /// Drops all that comes to the host by IP, as a firewall does; its address is still found.
    pub(crate) fn silence(&self) {
        let rules =
            "add table inet silence; add chain inet silence input { type filter hook input priority 0; policy drop; }";
        self.run(&["nft", rules]);
    }

    /// Ends [`Host::silence`].
    pub(crate) fn speak(&self) {
        self.run(&["nft", "delete", "table", "inet", "silence"]);
    }

    /// Pulls the plug: all that runs there ends at once.
    pub(crate) fn crash(&mut self) {
        self.daemon.kill();
    }

    /// Boots it after [`Host::crash`]: with its definitions, volumes and keys, and its cable.
    pub(crate) fn boot(&mut self) {
        self.daemon.restart();
        self.plug();
        self.wait();
    }

    /// Leaves so many bytes to what will be in [`POOL`]; before there is a pool.
    pub(crate) fn small_pool(&self, bytes: u64) {
        self.run(&["mkdir", POOL]);
        self.run(&["mount", "-t", "tmpfs", "-o", &format!("size={bytes},mode=755"), "none", POOL]);
    }

    fn at_switch(&self, words: &[&str]) {
        must(Command::new("nsenter").args(["-t", &self.switch, "-n"]).args(words));
    }

    /// Leads a cable from the switch here. A port of before goes with the network that it led to, but not at once.
    fn plug(&self) {
        let (name, inner) = (&self.name, self.daemon.inner());
        let plug = "ip link delete $0 2>/dev/null || :
ip link add $0 type veth peer name uplink netns $1 && ip link set $0 master switch up";
        self.at_switch(&["sh", "-c", plug, name, &inner]);
        self.run(&["ip", "link", "set", "uplink", "master", BRIDGE, "up"]);
    }

    /// Waits until it is reached by TCP.
    fn wait(&self) {
        let begin = Instant::now();
        let limit = Duration::from_secs(1);
        let answers = |port| TcpStream::connect_timeout(&SocketAddr::from((self.address, port)), limit).is_ok();
        let all = || in_network(&self.switch, || [SSH, TLS].into_iter().all(answers));
        while !all() {
            let log = || fs::read_to_string(self.daemon.folder.path().join("daemon.log")).unwrap();
            assert!(begin.elapsed() < Duration::from_mins(1), "{} is not reached: {}", self.name, log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// A network namespace with a bridge in it, and nothing that runs there but what holds it.
struct Switch(Child);

impl Switch {
    fn start() -> Self {
        let make = "ip link set lo up && ip link add switch address 02:00:00:00:00:01 type bridge &&
ip address add $0/24 dev switch && ip link set switch up && echo made && exec sleep infinity";
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "unshare", "-n", "sh", "-c", make, &CLIENT.to_string()]);
        let mut process = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let switch = Self(process);
        assert_eq!(line, "made\n");
        switch
    }

    fn pid(&self) -> String {
        self.0.id().to_string()
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What a host does before its libvirtd starts. Root there is not this machine's: with a shell that reads no file of a
/// user, and a password that is not locked, with which sshd would let root in by no means. What sshd trusts must not be
/// in a folder that others may write to, such as this machine's /tmp.
const HOST: &str = "hostname NAME
ip link add BRIDGE address 02:00:00:00:00:NUMBER type bridge
ip address add ADDRESS/24 dev BRIDGE
ip link set BRIDGE up
cp $0/libvirtd.conf $0/etc/libvirtd.conf
echo 'root:*:1::::::' >$0/shadow
mount --bind $0/shadow /etc/shadow
sed 's|^root:.*|root:x:0:0:root:/run/root:/bin/sh|' /etc/passwd >$0/passwd
mount --bind $0/passwd /etc/passwd
chmod 755 /run
mkdir -m 755 /run/sshd /run/root
cp $0/authorized_keys /run/sshd
$(command -v sshd) -f $0/sshd_config -E $0/sshd.log
listen=--listen
";

const SSHD: &str = "ListenAddress ADDRESS
HostKey FOLDER/host_key
AuthorizedKeysFile /run/sshd/authorized_keys
AuthenticationMethods publickey
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
UsePAM no
MaxStartups 100
PidFile none
";

const LIBVIRTD: &str = "listen_tls = 1
listen_tcp = 0
listen_addr = \"ADDRESS\"
ca_file = \"FOLDER/cacert.pem\"
cert_file = \"FOLDER/servercert.pem\"
key_file = \"FOLDER/serverkey.pem\"
host_uuid = \"6b3f5a6e-1f0c-4d2e-9a53-0000000000NUMBER\"
";

fn prepare(folder: &Path, number: u8, name: &str, address: Ipv4Addr, authority: &Path, client: &Path) {
    let fill = |text: &str| {
        let text = text.replace("NAME", name).replace("BRIDGE", BRIDGE).replace("ADDRESS", &address.to_string());
        text.replace("NUMBER", &(10 + number).to_string()).replace("FOLDER", folder.to_str().unwrap())
    };
    for (file, text) in [("host", HOST), ("sshd_config", SSHD), ("libvirtd.conf", LIBVIRTD)] {
        fs::write(folder.join(file), fill(text)).unwrap();
    }
    fs::copy(client.join("key.pub"), folder.join("authorized_keys")).unwrap();
    make_ssh_key(&folder.join("host_key"));
    let key = fs::read_to_string(folder.join("host_key.pub")).unwrap();
    let mut known = fs::OpenOptions::new().create(true).append(true).open(client.join("known_hosts")).unwrap();
    write!(known, "{address} {key}").unwrap();
    fs::copy(authority.join("cacert.pem"), folder.join("cacert.pem")).unwrap();
    make_certificate(authority, folder, "server", &format!("subjectAltName=IP:{address}"));
}

/// A CA for TLS.
pub(crate) fn make_authority(folder: &Path) {
    fs::create_dir(folder).unwrap();
    fs::write(folder.join("openssl.cnf"), "[req]\ndistinguished_name=dn\n[dn]\n").unwrap();
    let extensions = ["-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign"];
    request(folder, folder, ("cacert.pem", "cakey.pem"), "hosts' CA", &extensions);
}

/// What a client needs, but for the keys of hosts that it knows.
pub(crate) fn make_client(authority: &Path, folder: &Path) {
    fs::create_dir(folder).unwrap();
    // No file of this machine's user and no agent has a say.
    let ssh = "#!/bin/sh\nhere=$(dirname \"$0\")\nexec ssh -F none -o UserKnownHostsFile=\"$here\"/known_hosts \
               -o GlobalKnownHostsFile=none -o StrictHostKeyChecking=yes -o IdentitiesOnly=yes -o IdentityAgent=none \
               \"$@\"\n";
    fs::OpenOptions::new().write(true).create_new(true).mode(0o755).open(folder.join("ssh")).unwrap();
    fs::write(folder.join("ssh"), ssh).unwrap();
    make_ssh_key(&folder.join("key"));
    fs::copy(authority.join("cacert.pem"), folder.join("cacert.pem")).unwrap();
    make_certificate(authority, folder, "client", "extendedKeyUsage=clientAuth");
}

fn make_ssh_key(path: &Path) {
    must(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", "", "-f"]).arg(path));
}

/// libvirt looks for both usages, whatever the key is.
fn make_certificate(authority: &Path, folder: &Path, role: &str, extension: &str) {
    let ca = ["cacert.pem", "cakey.pem"].map(|file| authority.join(file));
    let [ca, key] = ca.each_ref().map(|path| path.to_str().unwrap());
    let usage = "keyUsage=critical,digitalSignature,keyEncipherment";
    let names = (format!("{role}cert.pem"), format!("{role}key.pem"));
    let more = ["-CA", ca, "-CAkey", key, "-addext", "basicConstraints=critical,CA:FALSE", "-addext", usage];
    request(authority, folder, (&names.0, &names.1), role, &[&more[..], &["-addext", extension]].concat());
}

/// A certificate of a day, with a key of its own.
fn request(authority: &Path, folder: &Path, (certificate, key): (&str, &str), subject: &str, more: &[&str]) {
    let config = authority.join("openssl.cnf");
    let mut command = Command::new("openssl");
    command.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1"]);
    command.args(["-subj", &format!("/CN={subject}"), "-out", certificate, "-keyout", key]).arg("-config").arg(config);
    must(command.args(more).current_dir(folder));
    fs::set_permissions(folder.join(key), fs::Permissions::from_mode(0o600)).unwrap();
}

fn must(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
