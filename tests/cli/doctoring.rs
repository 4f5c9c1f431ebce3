//! `doctor`, and what `up` takes of it, against a real libvirtd with faults really made. The program runs in the daemon's
//! namespaces, whose routes and folders are those of its host.

use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt as _;
use std::process::Command;
use std::sync::{Arc, Mutex};

use nodebake::config::Arch;
use nodebake::machine::{Capabilities, HostInfo, client_version};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};

use crate::daemon::Daemon;
use crate::world::{Ran, World, must, new_authority};

/// The cluster's apiserver, by the cluster file.
const SERVER: &str = "https://10.0.0.4:6443";

/// A locked cluster with small machines, and the host that they are to be on.
struct Lab {
    daemon: Daemon,
    world: World,
}

impl Lab {
    /// None where there is no root to make namespaces.
    fn new() -> Option<Self> {
        let daemon = Daemon::start();
        if !daemon.root {
            return None;
        }
        let world = World::locked();
        for (from, to) in [
            ("uri: test:///default", format!("uri: {}", daemon.uri)),
            ("cpus: 2", "cpus: 1".to_owned()),
            ("memory: 4GiB", "memory: 512MiB".to_owned()),
            // Whatever is free on this machine is enough for these.
            ("disk: 20GiB", "disk: 2GiB".to_owned()),
        ] {
            world.edit(from, &to);
        }
        Some(Self { daemon, world })
    }

    fn command(&self, words: &[&str]) -> Command {
        let wrapper = self.daemon.inside(&self.world.path(""));
        let mut command = Command::new(&wrapper[0]);
        command.args(&wrapper[1..]).args(words);
        command
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        let wrapper = self.daemon.inside(&self.world.path(""));
        let wrapper: Vec<_> = wrapper.iter().map(String::as_str).collect();
        let Ran { code, stdout, stderr } = self.world.run_command(self.world.command(&wrapper).args(arguments));
        Ran { code, stdout: without_sizes(&stdout), stderr: without_sizes(&stderr) }
    }

    fn virsh(&self, words: &[&str]) {
        must(self.command(&["virsh", "-c", &self.daemon.uri]).args(words));
    }

    /// Has libvirt know a thing by its XML, as a user would.
    fn define(&self, verb: &str, xml: &str) {
        fs::write(self.world.path("thing.xml"), xml).unwrap();
        self.virsh(&[verb, "thing.xml"]);
        fs::remove_file(self.world.path("thing.xml")).unwrap();
    }

    /// The workers' network as a user has it, off.
    fn network(&self, dhcp: &str) {
        self.define(
            "net-define",
            &format!(
                "<network><name>nodebake</name><forward mode='nat'/><ip address='10.0.0.1' prefix='24'>{dhcp}</ip></network>"
            ),
        );
    }

    fn able(&self) -> Capabilities {
        self.daemon.open().capabilities(Arch::Amd64).unwrap()
    }

    fn host(&self) -> HostInfo {
        self.daemon.open().host().unwrap()
    }

    fn qemu(&self) -> String {
        let (uid, _) = self.host().qemu_user.unwrap();
        let name = must(Command::new("id").arg("-nu").arg(uid.to_string()));
        String::from_utf8(name).unwrap().trim().to_owned()
    }

    /// How `up` ends with these warnings, besides that guests are emulated, and these failures.
    fn refused(&self, warnings: &[Row], failures: &[Row]) -> Ran {
        let mut said = String::new();
        let fine = self.fine().0;
        for [_, _, found, _] in fine.iter().filter(|row| row[0] == "kvm").chain(warnings) {
            writeln!(said, "warning: {found}").unwrap();
        }
        for [_, _, found, fix] in failures {
            write!(said, "error: {found}\n\nhint: {fix}\n").unwrap();
        }
        Ran { code: 2, stdout: String::new(), stderr: said }
    }

    /// What is found of a host that lacks nothing and has nothing yet.
    fn fine(&self) -> Findings {
        let Capabilities { libvirt_version, hypervisor_version, kvm, emulator, .. } = self.able();
        let cpus = self.host().cpus;
        let end = self.world.openssl(&["x509", "-in", "ca.pem", "-noout", "-enddate", "-dateopt", "iso_8601"]);
        let end = end.trim().trim_start_matches("notAfter=").replace(' ', "T");
        let module = "load its module on the host (modprobe kvm_intel or kvm_amd), and see that /dev/kvm is there; \
                      virt-host-validate qemu tells more";
        let slow = format!("amd64 guests are emulated (tcg), and about ten times slower: {}", kvm.unwrap_err());
        let files = self.world.read("nodebake.lock").matches("sha256:").count();
        Findings(vec![
            ok("lock", &format!("nodebake.lock fits the cluster file, with {files} files")),
            ok("ca", &format!("valid until {end}, with its key")),
            ok("certificates", "every node has one that lasts, or is issued one when it is built"),
            ok("cache", "FOLDER/cache can be written; N are free, at most N will be needed"),
            ok("output", "build can be written; N are free, at most N will be needed"),
            ok("runtime", &format!("libvirt's client library is {}", client_version().unwrap())),
            ok("libvirt", &format!("{libvirt_version} with QEMU {hypervisor_version} at {}", self.daemon.uri)),
            finding("kvm", "warning", &slow, module),
            ok("guests", &format!("amd64 by {emulator}, BIOS")),
            ok("cpus", &format!("2 of {cpus} are given to machines")),
            ok("memory", "N of N are given to machines"),
            ok("pool", "nodebake is not there yet; `up` makes it over /var/lib/libvirt/nodebake"),
            ok(
                "pool-path",
                &format!("QEMU's user {} may pass through every folder on the way that is there", self.qemu()),
            ),
            ok(
                "space",
                "N are free where the pool is to be, images and full root disks need N, not counting the payload, which is \
                 not built yet",
            ),
            ok("network", "nodebake is not there yet; `up` makes it (10.0.0.0/24, NAT)"),
            ok("subnet", "no other network and no route of this machine is in 10.0.0.0/24"),
            ok("names", "no other domain has the name of one of the 2 nodes"),
            ok("macs", "no other domain of the network has the MAC of one of the 2 nodes"),
            ok(
                "addresses",
                "no DHCP range and no reservation has the address of one of the 2 nodes; this machine is not on the \
                 network, so nobody there could be asked",
            ),
            ok("autostart", "what nodebake made starts with its host"),
            skipped(
                "apiserver",
                &format!(
                    "{SERVER} cannot be reached: Network is unreachable (os error 101); it is in the workers' network, which \
                     is not active"
                ),
            ),
            ok("guest-route", "10.0.0.4 is in the nodes' own network 10.0.0.0/24"),
            skipped("clock", "the apiserver told no time"),
            skipped(
                "kubeconfig",
                "cluster.kubeconfig is not set: `up` waits for the kubelets, and cannot ask whether they registered",
            ),
            skipped("rights", "cluster.kubeconfig is not set"),
            skipped("client-ca", "cluster.kubeconfig is not set"),
            skipped("kubelet-client", "cluster.kubeconfig is not set"),
            skipped("version-skew", "the apiserver did not tell its version"),
        ])
    }
}

/// A check, how it stands, what was found and what mends it.
type Row = [String; 4];

fn finding(check: &str, status: &str, found: &str, fix: &str) -> Row {
    [check, status, found, fix].map(str::to_owned)
}

fn ok(check: &str, found: &str) -> Row {
    finding(check, "ok", found, "")
}

fn skipped(check: &str, why: &str) -> Row {
    finding(check, "skipped", why, "")
}

#[derive(Clone)]
struct Findings(Vec<Row>);

impl Findings {
    /// With these in place of those of the same checks.
    fn with(mut self, rows: &[Row]) -> Self {
        for check in rows.iter().map(|row| &row[0]).collect::<std::collections::BTreeSet<_>>() {
            let at = self.0.iter().position(|row| row[0] == *check).unwrap();
            self.0.retain(|row| row[0] != *check);
            let new: Vec<_> = rows.iter().filter(|row| row[0] == *check).cloned().collect();
            self.0.splice(at..at, new);
        }
        self
    }

    /// The whole run that tells them.
    fn ran(&self) -> Ran {
        let width =
            |column: usize, head: &str| self.0.iter().map(|row| row[column].len()).max().unwrap().max(head.len());
        let (check, status) = (width(0, "CHECK"), width(1, "STATUS"));
        let mut text = format!("{:check$}   {:status$}   FOUND\n", "CHECK", "STATUS");
        for [name, state, found, fix] in &self.0 {
            writeln!(text, "{name:check$}   {state:status$}   {found}").unwrap();
            if !fix.is_empty() {
                writeln!(text, "{:check$}   {:status$}   fix: {fix}", "", "").unwrap();
            }
        }
        let failed = self.0.iter().any(|row| row[1] == "failure");
        Ran { code: if failed { 2 } else { 0 }, stdout: text, stderr: String::new() }
    }
}

/// With N for every size: what is free changes, and what is needed is judged elsewhere.
fn without_sizes(text: &str) -> String {
    let mut out = String::new();
    for word in text.split_inclusive(' ') {
        match word.split_once("iB") {
            Some(("G" | "M", rest)) if out.trim_end().ends_with(|c: char| c.is_ascii_digit()) => {
                let kept = out.trim_end().trim_end_matches(|c: char| c.is_ascii_digit() || c == '.').len();
                out.truncate(kept);
                out.push('N');
                out.push_str(rest);
            }
            _ => out.push_str(word),
        }
    }
    out
}

#[test]
fn a_host_that_has_nothing_yet_is_fit_and_stays_as_it_is() {
    let Some(lab) = Lab::new() else { return };
    let before = lab.world.tree("");
    assert_eq!(lab.run(&["doctor"]), lab.fine().ran());
    // Nothing is there to mend.
    assert_eq!(lab.run(&["doctor", "--fix"]), lab.fine().ran());
    assert_eq!(lab.world.tree(""), before);
    assert_eq!(lab.daemon.open().networks().unwrap(), []);

    let rows = |row: &Row| {
        let [check, status, found, fix] = row;
        json!({"check": check, "status": status, "found": found, "fix": Some(fix).filter(|fix| !fix.is_empty())})
    };
    let findings: Vec<Value> = lab.fine().0.iter().map(rows).collect();
    let wanted = json!({"apiVersion": "nodebake/v1", "cluster": "seed", "findings": findings});
    let ran = lab.run(&["doctor", "-o", "json"]);
    assert_eq!((ran.code, serde_json::from_str::<Value>(&ran.stdout).unwrap()), (0, wanted.clone()));
    let ran = lab.run(&["doctor", "-o", "yaml"]);
    assert_eq!((ran.code, serde_yaml::from_str::<Value>(&ran.stdout).unwrap()), (0, wanted));

    let ran = lab.run(&["doctor", "worker-node-3"]);
    let error = "the cluster file has no node worker-node-3; did you mean worker-node-1?";
    assert_eq!(ran, Ran::failed(2, error, "`nodebake hosts` lists the nodes"));
}

#[test]
fn what_is_off_is_started_where_that_is_asked_for() {
    let Some(lab) = Lab::new() else { return };
    lab.network("");
    let pool = lab.daemon.folder.path().join("lib/pool");
    let path = "/var/lib/libvirt/pool";
    lab.define(
        "pool-define",
        &format!("<pool type='dir'><name>nodebake</name><target><path>{path}</path></target></pool>"),
    );
    let off = lab.fine().with(&[
        finding(
            "pool",
            "warning",
            "storage pool nodebake is not active; `up` starts it",
            "nodebake doctor --fix, or: virsh pool-start nodebake",
        ),
        skipped("space", "storage pool nodebake is not active"),
        finding(
            "network",
            "warning",
            "network nodebake is not active; `up` starts it",
            "nodebake doctor --fix, or: virsh net-start nodebake",
        ),
    ]);
    assert_eq!(lab.run(&["doctor"]), off.ran());
    assert!(!pool.exists());

    let on = lab.fine().with(&[
        ok("pool", &format!("nodebake is active, over {path}")),
        ok("pool-path", &format!("QEMU's user {} may pass through every folder on the way that is there", lab.qemu())),
        ok(
            "space",
            &format!("N are free in {path}, images and full root disks need N, not counting the payload, which is not built yet"),
        ),
        ok("network", "nodebake is active (10.0.0.1/24, nat)"),
        ok(
            "addresses",
            "no DHCP range and no reservation has the address of one of the 2 nodes, and nobody else answers there",
        ),
        finding(
            "apiserver",
            "failure",
            &format!("{SERVER} cannot be reached: No route to host (os error 113)"),
            "start the apiserver, or correct cluster.apiServer in the cluster file",
        ),
    ]);
    let started = "starting storage pool nodebake\nstarting network nodebake\n";
    assert_eq!(lab.run(&["doctor", "--fix"]), on.ran().after(started));
    assert_eq!(lab.run(&["doctor", "--fix"]), on.ran());
    assert!(pool.exists());
    // A remedy that fails is told after what was found.
    lab.virsh(&["net-destroy", "nodebake"]);
    must(&mut lab.command(&["ip", "link", "add", "taken", "type", "bridge"]));
    must(&mut lab.command(&["ip", "address", "add", "10.0.0.1/24", "dev", "taken"]));
    must(&mut lab.command(&["ip", "link", "set", "taken", "up"]));
    let ran = lab.run(&["doctor", "--fix", "-o", "json"]);
    let document: Value = serde_json::from_str(&ran.stdout).unwrap();
    let status = |check: &str| {
        let findings = document["findings"].as_array().unwrap();
        findings.iter().find(|row| row["check"] == check).unwrap()["status"].clone()
    };
    assert_eq!((ran.code, status("network"), status("subnet")), (1, json!("warning"), json!("failure")));
    let taken = Ran::failed(
        1,
        "cannot start network \"nodebake\": internal error: Network is already in use by interface taken",
        "the hypervisor's log tells more: journalctl -u libvirtd, and /var/log/libvirt/qemu/ for one machine",
    );
    assert_eq!(ran.stderr, taken.after("starting network nodebake\n").stderr);
    // What is the user's starts with the host as the user said.
    assert!(!lab.daemon.open().network("nodebake").unwrap().unwrap().autostart);
}

#[test]
fn what_others_have_is_told_and_up_builds_nothing() {
    let Some(lab) = Lab::new() else { return };
    let mac = "52:54:00:0a:0b:0c";
    lab.world.edit("address: 10.0.0.36", &format!("address: 10.0.0.36\n    mac: {mac}"));
    lab.network(
        "<dhcp><range start='10.0.0.30' end='10.0.0.36'/><host mac='52:54:00:00:00:01' ip='10.0.0.37'/></dhcp>",
    );
    lab.define(
        "net-define",
        "<network><name>users</name><forward mode='nat'/><ip address='10.0.0.129' prefix='25'></ip></network>",
    );
    for (name, inner) in [
        (
            "clone",
            format!(
                "<devices><interface type='network'><source network='nodebake'/><mac address='{mac}'/></interface></devices>"
            ),
        ),
        ("worker-node-2", String::new()),
    ] {
        let os = "<os><type arch='x86_64'>hvm</type></os>";
        lab.define(
            "define",
            &format!("<domain type='qemu'><name>{name}</name><memory>1024</memory>{os}{inner}</domain>"),
        );
    }
    // More than the host has.
    let much = (lab.host().memory >> 30) + 1;
    lab.world.edit("memory: 512MiB", &format!("memory: {much}GiB"));
    let lower = "lower `memory` in the cluster file, or run fewer machines";
    let failures = [
        finding("memory", "failure", "worker-node-1 is to have N, and the host has N", lower),
        finding("memory", "failure", "worker-node-2 is to have N, and the host has N", lower),
        finding(
            "names",
            "failure",
            "domain worker-node-2 exists and is not of this cluster",
            "`nodebake rebuild worker-node-2 --take-over` stops and keeps it, and puts a machine of its own in its place; else \
             rename the node in the cluster file, or remove the domain yourself: virsh undefine worker-node-2",
        ),
        finding(
            "macs",
            "failure",
            &format!("the MAC {mac} of worker-node-1 is that of domain clone on the same network"),
            "give worker-node-1 another `mac` in the cluster file, or leave the key out; or virsh edit clone",
        ),
        finding(
            "addresses",
            "failure",
            "the address 10.0.0.36 of worker-node-1 lies in the DHCP range of network nodebake",
            "choose an address outside the range, or narrow it: virsh net-edit nodebake",
        ),
        finding(
            "addresses",
            "failure",
            "DHCP keeps the address 10.0.0.37 of worker-node-2 for the MAC 52:54:00:00:00:01",
            "give worker-node-2 another address in the cluster file, or remove that <host>: virsh net-edit nodebake",
        ),
    ];
    let overlap = "libvirt's network users has 10.0.0.128/25, which overlaps 10.0.0.0/24; it is not active";
    let warnings = [
        finding(
            "subnet",
            "warning",
            overlap,
            "choose another network.cidr in the cluster file, or leave network users off",
        ),
        finding(
            "network",
            "warning",
            "network nodebake is not active; `up` starts it",
            "nodebake doctor --fix, or: virsh net-start nodebake",
        ),
    ];
    let found = lab.fine().with(&failures).with(&warnings);
    assert_eq!(lab.run(&["doctor"]), found.ran());

    let before = lab.world.tree("");
    // What it starts itself needs no warning.
    assert_eq!(lab.run(&["up"]), lab.refused(&warnings[..1], &failures));
    assert_eq!(lab.world.tree(""), before);
    assert_eq!(lab.daemon.open().pool("nodebake").unwrap(), None);
}

#[test]
fn a_pool_that_qemu_cannot_get_to_is_told_and_the_fix_works() {
    let Some(lab) = Lab::new() else { return };
    let pool = lab.world.path("pool");
    lab.world.edit("poolPath: /var/lib/libvirt/nodebake", &format!("poolPath: {}", pool.display()));
    // As the temporary folder of a test is, and a home.
    lab.world.chmod("", 0o700);
    let qemu = lab.qemu();
    let there = ok("pool", "nodebake is not there yet; `up` makes it over FOLDER/pool");
    let found = format!("QEMU runs as {qemu}, which may not pass through FOLDER (mode 0700) to the pool");
    let fix = format!("setfacl -m u:{qemu}:x FOLDER, or: chmod o+x FOLDER");
    let shut = lab.fine().with(&[there.clone(), finding("pool-path", "failure", &found, &fix)]);
    assert_eq!(lab.run(&["doctor"]), shut.ran());
    assert_eq!(lab.run(&["up"]), lab.refused(&[], &[finding("pool-path", "failure", &found, &fix)]));
    must(Command::new("chmod").arg("o+x").arg(lab.world.path("")));
    let open = ok("pool-path", &format!("QEMU's user {qemu} may pass through every folder on the way that is there"));
    assert_eq!(lab.run(&["doctor"]), lab.fine().with(&[there, open]).ran());
}

/// Makes NAME.pem and NAME-key.pem in the pki folder, a server's, signed by CA.pem.
pub(crate) fn issue(world: &World, name: &str, ca: &str, names: &str) {
    let key = format!("{name}-key.pem");
    world.openssl(&["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", &key]);
    world.openssl(&["req", "-new", "-key", &key, "-subj", "/CN=kubernetes", "-out", "request.pem"]);
    fs::write(world.path("pki/names"), format!("subjectAltName={names}\n")).unwrap();
    let (ca_key, ca, out) = (format!("{ca}-key.pem"), format!("{ca}.pem"), format!("{name}.pem"));
    let sign = ["x509", "-req", "-in", "request.pem", "-CA", &ca, "-CAkey", &ca_key, "-CAcreateserial", "-days", "365"];
    world.openssl(&[&sign[..], &["-extfile", "names", "-out", &out]].concat());
}

/// What an apiserver is.
struct Manner {
    config: Arc<rustls::ServerConfig>,
    /// How many seconds its clock is ahead.
    ahead: i64,
    version: &'static str,
    /// Certificates of the CAs whose clients it lets in.
    clients: String,
}

impl Manner {
    /// With a certificate of the pki folder.
    fn new(world: &World, name: &str, ahead: i64, version: &'static str) -> Self {
        let read = |name: String| fs::read(world.path("pki").join(name)).unwrap();
        let certificate = CertificateDer::from_pem_slice(&read(format!("{name}.pem"))).unwrap();
        let key = PrivateKeyDer::from_pem_slice(&read(format!("{name}-key.pem"))).unwrap();
        let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        Self { config: Arc::new(config), ahead, version, clients: world.read("pki/ca.pem") }
    }
}

/// An apiserver that knows one node; its manner may be changed while it runs.
fn serve(listener: TcpListener, manner: &Arc<Mutex<Manner>>) {
    let manner = Arc::clone(manner);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let manner = manner.lock().unwrap();
            let connection = rustls::ServerConnection::new(Arc::clone(&manner.config)).unwrap();
            answer(&mut rustls::StreamOwned::new(connection, stream), &manner);
        }
    });
}

/// One request on one connection; one that breaks off got what it wanted.
fn answer(stream: &mut rustls::StreamOwned<rustls::ServerConnection, std::net::TcpStream>, manner: &Manner) {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(()) = stream.read_exact(&mut byte) else { return };
        head.extend(byte);
    }
    let head = String::from_utf8(head).unwrap();
    let path = head.split([' ', '?']).nth(1).unwrap();
    let length = head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    let Ok(()) = stream.read_exact(&mut body) else { return };
    let list =
        |kind: &str, api: &str, items: Value| json!({"kind": kind, "apiVersion": api, "metadata": {}, "items": items});
    let body = match path {
        "/version" => {
            let rest =
                ["buildDate", "compiler", "gitCommit", "gitTreeState", "goVersion", "major", "minor", "platform"];
            let mut told: Value = rest.into_iter().map(|key| (key.to_owned(), json!(""))).collect();
            told["gitVersion"] = json!(manner.version);
            told
        }
        "/apis/authentication.k8s.io/v1/selfsubjectreviews" => json!({
            "kind": "SelfSubjectReview", "apiVersion": "authentication.k8s.io/v1", "metadata": {},
            "status": {"userInfo": {"username": "kubernetes-admin", "groups": ["system:masters", "system:authenticated"]}},
        }),
        "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication" => json!({
            "kind": "ConfigMap", "apiVersion": "v1", "metadata": {}, "data": {"client-ca-file": manner.clients},
        }),
        "/api/v1/nodes" => list("NodeList", "v1", json!([{"metadata": {"name": "control-plane-1"}}])),
        "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases" => {
            list("LeaseList", "coordination.k8s.io/v1", json!([]))
        }
        other => panic!("{other} is asked for"),
    };
    let now = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(manner.ahead);
    let date = jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&now).unwrap();
    let body = body.to_string();
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nDate: {date}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let _ = stream.write_all(answer.as_bytes());
    stream.conn.send_close_notify();
    let _ = stream.flush();
}

#[test]
fn an_apiserver_is_known_by_its_certificate_and_clock() {
    let Some(lab) = Lab::new() else { return };
    let Lab { world, daemon, .. } = &lab;
    must(&mut lab.command(&["ip", "address", "add", "10.0.0.4/32", "dev", "lo"]));
    let refused = format!(
        "{SERVER} cannot be reached: Connection refused (os error 111); it is in the workers' network, which is not active"
    );
    assert_eq!(lab.run(&["doctor"]), lab.fine().with(&[skipped("apiserver", &refused)]).ran());

    let (other, key) = new_authority("3650");
    fs::write(world.path("pki/other.pem"), other).unwrap();
    world.write_key("pki/other-key.pem", &key);
    issue(world, "foreign", "other", "IP:10.0.0.4");
    issue(world, "named", "ca", "DNS:control-plane-1,IP:10.0.0.5");
    issue(world, "right", "ca", "IP:10.0.0.4");
    let manner = Arc::new(Mutex::new(Manner::new(world, "foreign", 0, "v1.35.1")));
    let be = |name, ahead, version| *manner.lock().unwrap() = Manner::new(world, name, ahead, version);
    serve(daemon.listen("10.0.0.4:6443".parse().unwrap()), &manner);
    let foreign = finding(
        "apiserver",
        "failure",
        &format!("the certificate of {SERVER} is not signed by the CA in ca.pem: no node would trust it"),
        "put the CA of that cluster into the pki folder, or correct cluster.apiServer in the cluster file",
    );
    let named = finding(
        "apiserver",
        "failure",
        &format!(
            "the certificate of {SERVER} is for control-plane-1 and 10.0.0.5, and not for the name that nodes ask by"
        ),
        "issue the apiserver a certificate with that name, or have cluster.apiServer name one of these",
    );
    for (name, wanted) in [("foreign", foreign), ("named", named)] {
        be(name, 0, "v1.35.1");
        assert_eq!(lab.run(&["doctor"]), lab.fine().with(std::slice::from_ref(&wanted)).ran());
        assert_eq!(lab.run(&["up"]), lab.refused(&[], &[wanted]));
        assert!(!world.path("build").exists());
    }

    world.edit("  pki: pki\n", "  pki: pki\n  kubeconfig: admin.kubeconfig\n");
    world.must(&["kubeconfig"]);
    let answers = ok("apiserver", &format!("{SERVER} answers, with a certificate of the cluster's CA"));
    let kubeconfig = ok("kubeconfig", "may list nodes and their leases; nodes in the cluster: 1");
    let addresses = ok(
        "addresses",
        "no other node has the address of one of the 2 nodes; this machine is not on the network, so nobody there could be \
         asked",
    );
    be("right", 0, "v1.36.0");
    let right = lab.fine().with(&[answers, kubeconfig, addresses]).with(&[
        ok("clock", "the apiserver's clock and the one here differ by less than 6 s"),
        ok("rights", "kubernetes-admin is in system:masters, and may do everything"),
        ok("client-ca", "the apiserver lets clients in that the CA in ca.pem signed"),
        skipped(
            "kubelet-client",
            "cluster.kubeletClientUser is not set: who lets the apiserver into the kubelets, for logs and exec, is not looked at",
        ),
        ok("version-skew", "kubelet 1.35.1, apiserver 1.36.0"),
    ]);
    assert_eq!(lab.run(&["doctor"]), right.ran());

    manner.lock().unwrap().clients = world.read("pki/other.pem");
    let refuses = finding(
        "client-ca",
        "failure",
        "the apiserver lets clients of another CA in, and would refuse the nodes: theirs are signed by the one in ca.pem",
        "put the CA of that cluster into the pki folder, or add ca.pem to the file of the apiserver's --client-ca-file",
    );
    assert_eq!(lab.run(&["doctor"]), right.clone().with(std::slice::from_ref(&refuses)).ran());
    assert_eq!(lab.run(&["up"]), lab.refused(&[], &[refuses]));
    assert!(!world.path("build").exists());

    be("right", -7200, "v1.34.9");
    let ran = lab.run(&["doctor", "-o", "json"]);
    let document: Value = serde_json::from_str(&ran.stdout).unwrap();
    let of = |check: &str| {
        document["findings"].as_array().unwrap().iter().find(|row| row["check"] == check).cloned().unwrap()
    };
    let found = of("clock")["found"].as_str().unwrap().split_whitespace().skip(5).collect::<Vec<_>>().join(" ");
    let behind = "s behind the one here: to it the nodes' certificates would not be valid yet";
    assert_eq!((ran.code, of("clock")["status"].as_str(), found.as_str()), (2, Some("failure"), behind));
    let skew = json!({
        "check": "version-skew", "status": "failure",
        "found": "kubelet 1.35.1, apiserver 1.34.9: a kubelet must not be newer",
        "fix": "set versions.kubernetes to 1.34 or older in the cluster file, or upgrade the control plane first",
    });
    assert_eq!(of("version-skew"), skew);
}

#[test]
fn a_kubeconfig_that_others_can_read_is_told_and_taken_away_from_them() {
    let Some(lab) = Lab::new() else { return };
    let Lab { world, .. } = &lab;
    world.edit("  pki: pki\n", "  pki: pki\n  kubeconfig: admin.kubeconfig\n");
    world.must(&["kubeconfig"]);
    // Nobody listens there.
    let text = world.read("admin.kubeconfig");
    fs::write(world.path("admin.kubeconfig"), text.replace("10.0.0.4:6443", "127.0.0.1:1")).unwrap();
    let mode = || fs::metadata(world.path("admin.kubeconfig")).unwrap().mode() & 0o7777;
    let fine = |ran: &Ran| {
        let document: Value = serde_json::from_str(&ran.stdout).unwrap();
        let found = document["findings"].as_array().unwrap();
        found
            .iter()
            .filter(|row| row["check"] == "kubeconfig" && row["status"] == "warning")
            .cloned()
            .collect::<Vec<_>>()
    };
    let open = |fix: &str| {
        let found = "FOLDER/admin.kubeconfig is an administrator's way in, and open to others (mode 0644)";
        json!({"check": "kubeconfig", "status": "warning", "found": found, "fix": fix})
    };
    let doctor = |fix: &[&str]| lab.run(&[&["doctor", "-o", "json"], fix].concat());
    assert_eq!((fine(&doctor(&[])), mode()), (vec![], 0o600));
    world.chmod("admin.kubeconfig", 0o644);
    let mine = open("nodebake doctor --fix, or: chmod 600 FOLDER/admin.kubeconfig");
    assert_eq!((fine(&doctor(&[])), mode()), (vec![mine], 0o644));

    // Another's is another's to mend.
    std::os::unix::fs::chown(world.path("admin.kubeconfig"), Some(65534), None).unwrap();
    let theirs = open("it is for nobody to say who may read it: chmod 600 FOLDER/admin.kubeconfig");
    let ran = doctor(&["--fix"]);
    assert_eq!((fine(&ran), ran.stderr.as_str(), mode()), (vec![theirs], "", 0o644));

    std::os::unix::fs::chown(world.path("admin.kubeconfig"), Some(0), None).unwrap();
    let ran = doctor(&["--fix"]);
    let said = "making FOLDER/admin.kubeconfig its owner's alone\n";
    assert_eq!((fine(&ran), ran.stderr.as_str(), mode()), (vec![], said, 0o600));
    let ran = doctor(&["--fix"]);
    assert_eq!((fine(&ran), ran.stderr.as_str()), (vec![], ""));
}

#[test]
fn what_nodebake_itself_needs_is_told_where_it_is_not_there() {
    let world = World::locked();
    world.edit("https://10.0.0.4:6443", "https://nowhere.invalid:6443");
    world.edit("  pki: pki\n", "  pki: pki\n  caKey: {command: [./ca-key]}\n");
    let uri = "qemu+ssh://root@nowhere.invalid/system";
    world.edit("uri: test:///default", &format!("uri: {uri}"));
    let runtime = |change: &dyn Fn(&mut Command)| -> Vec<Row> {
        let mut command = world.command(&[]);
        command.args(["doctor", "-o", "json"]).env("PATH", "/nonexistent").env("SSL_CERT_FILE", "/dev/null");
        change(&mut command);
        let ran = world.run_command(&mut command);
        assert_eq!(ran.code, 2, "{ran:?}");
        let document: Value = serde_json::from_str(&ran.stdout).unwrap();
        let rows = document["findings"].as_array().unwrap().iter().filter(|row| row["check"] == "runtime");
        let cell = |row: &Value, key: &str| row[key].as_str().unwrap_or_default().to_owned();
        rows.map(|row| ["check", "status", "found", "fix"].map(|key| cell(row, key))).collect()
    };
    let ssh = finding(
        "runtime",
        "failure",
        &format!("{uri} is reached by ssh, and there is no such program"),
        "install openssh-client here, or correct the URI in the cluster file",
    );
    let key = finding(
        "runtime",
        "warning",
        "the CA's key is fetched by FOLDER/./ca-key, and there is no such program",
        "install it, or correct cluster.caKey in the cluster file; certificates are issued with it",
    );
    let trust = finding(
        "runtime",
        "warning",
        "no CA is trusted on this machine, so that nothing can be downloaded by https",
        "install ca-certificates, or name a file of theirs with download.caFile in the cluster file",
    );
    // A mirror in a folder needs no trust, and `--offline` asks nobody.
    assert_eq!(runtime(&|_| ()), [ssh.clone(), key.clone()]);
    let upstream = |command: &mut Command| {
        command.env_remove("NODEBAKE_MIRROR");
    };
    assert_eq!(runtime(&upstream), [ssh.clone(), key.clone(), trust]);
    assert_eq!(runtime(&|command| upstream(command.arg("--offline"))), [ssh.clone(), key.clone()]);

    fs::write(world.path("ca-key"), "#!/bin/sh\n").unwrap();
    assert_eq!(runtime(&|_| ()), [ssh.clone(), key]);
    world.chmod("ca-key", 0o700);
    assert_eq!(runtime(&|_| ()), [ssh]);
}

#[test]
fn what_is_wrong_on_this_machine_is_told_without_asking_for_more() {
    let Some(lab) = Lab::new() else { return };
    let Lab { world, .. } = &lab;
    let unasked = skipped("space", "lock and CA must be right first");
    let fine = lab.fine();
    let ca_end = |path: &str| {
        let end = world.openssl(&["x509", "-in", path, "-noout", "-enddate", "-dateopt", "iso_8601"]);
        end.trim().trim_start_matches("notAfter=").replace(' ', "T")
    };

    fs::rename(world.path("pki/ca-key.pem"), world.path("ca-key.pem")).unwrap();
    let lacks = |node: &str| {
        let fix = format!("put the CA's key at FOLDER/pki/ca-key.pem, or bring {node}.pem and {node}-key.pem there");
        finding(
            "certificates",
            "failure",
            &format!("there is no certificate for {node}, and no ca-key.pem to issue one"),
            &fix,
        )
    };
    let valid = format!("valid until {}, without its key, so that certificates must be brought", ca_end("ca.pem"));
    let keyless = fine.clone().with(&[ok("ca", &valid), lacks("worker-node-1"), lacks("worker-node-2")]);
    assert_eq!(lab.run(&["doctor"]), keyless.ran());

    // One that ends soon, and whose key others can read.
    let (ca, key) = new_authority("60");
    fs::write(world.path("pki/ca.pem"), ca).unwrap();
    world.write_key("pki/ca-key.pem", &key);
    world.chmod("pki/ca-key.pem", 0o644);
    let soon = format!("the CA ends soon, at {}, and with it every certificate of the cluster", ca_end("ca.pem"));
    let readable = "FOLDER/pki/ca-key.pem can be read by others (mode 0644); chmod 600 it";
    let late = fine.clone().with(&[
        finding("ca", "warning", readable, "make the key its owner's alone: chmod 600"),
        finding(
            "ca",
            "warning",
            &soon,
            "replace the cluster's CA in time (kubernetes.io: manual rotation of CA certificates)",
        ),
    ]);
    assert_eq!(lab.run(&["doctor"]), late.ran());

    fs::remove_file(world.path("pki/ca.pem")).unwrap();
    fs::remove_file(world.path("nodebake.lock")).unwrap();
    let underived = ["names", "macs", "addresses", "autostart"]
        .map(|check| skipped(check, "the CA cannot be read, and identifiers derive from it"));
    let bare = fine
        .with(&[
            finding("lock", "failure", "there is no FOLDER/nodebake.lock", "run `nodebake lock`"),
            finding(
                "ca",
                "failure",
                "there is no CA certificate FOLDER/pki/ca.pem",
                "copy the cluster's CA certificate to FOLDER/pki/ca.pem, or set `pki` to its folder",
            ),
            skipped("certificates", "the CA cannot be used"),
            unasked,
            ok("cache", "FOLDER/cache can be written; N are free, and how much will be needed the lock tells"),
            ok("output", "build can be written; N are free, and how much will be needed the lock tells"),
        ])
        .with(&underived);
    assert_eq!(lab.run(&["doctor"]), bare.ran());

    world.edit(&format!("uri: {}", lab.daemon.uri), "uri: qemu+unix:///system?socket=/nonexistent");
    let error = "libvirt does not answer at qemu+unix:///system?socket=/nonexistent: Failed to connect socket to \
                 '/nonexistent': No such file or directory";
    let hint = "install libvirt-daemon-system and qemu-system, then: systemctl enable --now libvirtd";
    let rest = [
        "kvm",
        "guests",
        "cpus",
        "memory",
        "pool",
        "pool-path",
        "space",
        "network",
        "subnet",
        "names",
        "macs",
        "addresses",
        "autostart",
        "guest-route",
    ];
    let apart = finding(
        "apiserver",
        "warning",
        &format!(
            "{SERVER} cannot be reached: Network is unreachable (os error 101) from here; whether the nodes reach it cannot be told"
        ),
        "see that the hypervisor's guests reach it; cluster.apiServer names it",
    );
    let alone = bare
        .with(&[finding("libvirt", "failure", error, hint), apart])
        .with(&rest.map(|check| skipped(check, "libvirt cannot be asked")));
    assert_eq!(lab.run(&["doctor"]), alone.ran());
    assert_eq!(lab.run(&["doctor", "--fix"]), alone.ran());
}
