//! Where the commands of a page are run: a folder, and for most pages a host of its own.
//!
//! A host is a libvirtd with real machines at `qemu:///system`, a network of its own, and an apiserver (the lab's
//! stand-in) that answers at the address of the pages' cluster, 10.0.0.4. What its guests would do the test plays: they
//! report their boots, register, and hear their power button.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;

use nodebake::machine::DomainInfo;
use serde_json::Value;

use crate::apiserver::Apiserver;
use crate::daemon::{Daemon, in_network};
use crate::guests::{Guests, good, report};
use crate::hypervisors::cluster;
use crate::leaving;
use crate::mirror::{self, Item};
use crate::world::{Ran, World, must};

/// The folder of the cluster file, as the pages call it.
const FOLDER: &str = "/srv/seed";
/// The home of who types the commands.
const HOME: &str = "/root";
const NODES: [(&str, &str); 2] = [("worker-node-1", "10.0.0.36"), ("worker-node-2", "10.0.0.37")];
/// What a guest's log says, in Base64: "containerd.service: Main process exited, code=exited, status=1/FAILURE".
const EXITED: &str = "Y29udGFpbmVyZC5zZXJ2aWNlOiBNYWluIHByb2Nlc3MgZXhpdGVkLCBjb2RlPWV4aXRlZCwgc3RhdHVzPTEvRkFJTFVSRQo=";
/// The Kubernetes release behind that of the example, for pages that move to it.
const NEXT: &str = "1.35.2";

pub(super) struct Scene {
    /// None, the one that the commands are typed at, or those that a client reaches.
    hosts: Vec<Host>,
    world: World,
}

/// A hypervisor, with all that the test plays there. In the order in which it ends.
struct Host {
    guests: Guests,
    _buttons: Buttons,
    api: Arc<Apiserver>,
    daemon: Daemon,
}

impl Scene {
    /// The place of this name; none where there is no root to make namespaces.
    pub(super) fn begin(name: &str) -> Result<Option<Self>, String> {
        let scene = match name {
            "folder" => Self { hosts: Vec::new(), world: fresh(None) },
            "locked" => Self { hosts: Vec::new(), world: World::locked() },
            "host" | "cluster file" | "up" | "by hand" => {
                let Some(host) = Host::start(matches!(name, "up" | "by hand")) else { return Ok(None) };
                let world = fresh(Some(&host));
                Self { hosts: vec![host], world }
            }
            "two hosts" => match Self::on_two_hosts() {
                Some(scene) => scene,
                None => return Ok(None),
            },
            _ => return Err(format!("there is no world {name:?}")),
        };
        match name {
            "cluster file" => scene.set_up(),
            "up" => {
                scene.set_up();
                scene.must("nodebake lock && nodebake up");
            }
            "by hand" => scene.make_by_hand(),
            "two hosts" => scene.must("nodebake up"),
            _ => {}
        }
        Ok(Some(scene))
    }

    /// A client of two hosts, with a cluster file of theirs.
    fn on_two_hosts() -> Option<Self> {
        let (a, b) = (Daemon::start(), Daemon::start());
        if !a.root {
            return None;
        }
        let sites = format!("  host-a: {{uri: '{}'}}\n  host-b: {{uri: '{}'}}\n", a.uri, b.uri);
        let world = cluster(&sites, &[("worker-node-1", 36), ("worker-node-2", 37)]);
        world.edit("\n  cidr: 10.0.0.0/24\n", "\n  apart: true\n  cidr: 10.0.0.0/24\n");
        let api = leaving::join(&world);
        let host = |daemon: Daemon| {
            let (guests, buttons) = (leaving::members(&daemon, &api), Buttons::watch(&daemon));
            Host { guests, _buttons: buttons, api: Arc::clone(&api), daemon }
        };
        Some(Self { hosts: [a, b].map(host).into(), world })
    }

    /// What a terminal shows of a command, where this scene is.
    pub(super) fn run(&self, command: &str) -> Ran {
        let folder = self.world.path("");
        let folder = folder.to_str().unwrap().trim_end_matches('/');
        let wrapper = match self.hosts.as_slice() {
            [host] => host.daemon.inside(&self.world.path("")),
            _ => Vec::new(),
        };
        // As with a user: the cache is in the home.
        let script = format!(
            "exec 2>&1\nunset NODEBAKE_CACHE_DIR\nnodebake() {{ \"$0\" \"$@\"; }}\n{}",
            command.replace(FOLDER, folder)
        );
        let wrapper: Vec<_> = wrapper.iter().map(String::as_str).chain(["sh", "-ec", &script]).collect();
        let Ran { code, stdout, stderr } = self.world.run_command(&mut self.world.command(&wrapper));
        let shown = (stdout + &stderr).replace("FOLDER/home", HOME).replace("FOLDER", FOLDER);
        Ran { code, stdout: shown, stderr: String::new() }
    }

    /// Does what is no command.
    pub(super) fn meanwhile(&self, what: &str) -> Result<(), String> {
        match (what, self.hosts.first()) {
            ("the test's own files", _) => self.stand_in(),
            ("upstream releases a patch", _) => self.release(),
            ("new machines fail", Some(host)) => host.fail_new(),
            ("new machines are well", Some(host)) => host.guests.play(host.member(true)),
            _ => return Err(format!("nothing is called {what:?} here")),
        }
        Ok(())
    }

    /// What upstream's alone could sign, the test gives by its digest; and machines are small, for two of them to fit
    /// beside other tests.
    fn stand_in(&self) {
        let given = |item: Item| {
            let place = item.place(item.version());
            let digest = crate::world::sha256(&self.world.path("mirror").join(&place));
            format!("  - kind: {}\n    url: https://{place}\n    sha256: {digest}\n", item.kind())
        };
        let artifacts = given(Item::Runc) + &given(Item::BaseImage);
        self.world.edit("\nnodes:\n", &format!("\nartifacts:\n{artifacts}\nnodes:\n"));
        for (from, to) in [("memory: 4GiB", "memory: 512MiB"), ("cpus: 2", "cpus: 1"), ("disk: 20GiB", "disk: 4GiB")] {
            self.world.edit(from, to);
        }
    }

    /// A Kubernetes release comes out, whose kubelet is another one.
    fn release(&self) {
        let mirror = self.world.path("mirror");
        for (item, program) in [(Item::Kubelet, "false"), (Item::Kubectl, "echo")] {
            mirror::publish(&mirror, item, NEXT, &mirror::program(program));
        }
        let tags: [(&str, &[&str]); 3] = [
            ("containerd/containerd", &["v2.2.5"]),
            ("opencontainers/runc", &["v1.3.6"]),
            ("containernetworking/plugins", &["v1.9.0"]),
        ];
        mirror::release(&mirror, &format!("v{NEXT}"), &tags);
    }

    /// A folder as the tutorial has it before `nodebake lock`.
    fn set_up(&self) {
        let versions = "s/containerd: 2.2.1/containerd: 2.2.5/; s/runc: v1.2.8/runc: v1.3.6/";
        self.must(&format!(
            "nodebake init && cp -r ~/pki . && sed -i '{versions}' nodebake.yaml && nodebake kubeconfig"
        ));
        self.stand_in();
    }

    /// Types what must succeed.
    fn must(&self, command: &str) {
        let ran = self.run(command);
        assert_eq!(ran.code, 0, "{command}: {ran:?}");
    }

    /// Two workers as the SSH script leaves them, on a network that somebody else made.
    fn make_by_hand(&self) {
        let host = &self.hosts[0];
        host.virsh(
            "net-define",
            "<network><name>seed</name><forward mode='nat'/><ip address='10.0.0.1' prefix='24'/></network>",
        );
        host.virsh_on(&["net-start", "seed"]);
        let images = host.daemon.folder.path().join("images");
        fs::create_dir(&images).unwrap();
        host.virsh_on(&["pool-define-as", "default", "dir", "--target", images.to_str().unwrap()]);
        host.virsh_on(&["pool-start", "default"]);
        for (name, address) in NODES {
            let disk = images.join(format!("{name}.qcow2"));
            must(Command::new("qemu-img").args(["create", "-q", "-f", "qcow2"]).arg(&disk).arg("1M"));
            host.virsh(
                "define",
                &format!(
                    "<domain type='qemu'><name>{name}</name><memory unit='MiB'>64</memory><vcpu>1</vcpu><os>\
                     <type arch='x86_64' machine='q35'>hvm</type></os><features><acpi/></features><devices>\
                     <disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='{}'/>\
                     <target dev='vda' bus='virtio'/></disk><interface type='network'><source network='seed'/>\
                     <model type='virtio'/></interface></devices></domain>",
                    disk.display()
                ),
            );
            host.virsh_on(&["autostart", name]);
            host.virsh_on(&["start", name]);
            in_network(&host.daemon.inner(), || {
                host.api.register_at(name, "by-hand", true, Some(address.parse().unwrap()));
            });
        }
    }
}

/// An empty folder, with a mirror of upstream and, of a host, the cluster's pki in the home.
fn fresh(host: Option<&Host>) -> World {
    let world = World::empty();
    mirror::make(&world.path("mirror"));
    if let Some(host) = host {
        fs::create_dir_all(world.path("home/pki")).unwrap();
        for file in ["ca.pem", "ca-key.pem"] {
            world.write_key(&format!("home/pki/{file}"), &fs::read(host.api.file(file)).unwrap());
        }
    }
    world
}

impl Host {
    /// None where there is no root.
    fn start(ready: bool) -> Option<Self> {
        let daemon = Daemon::start();
        if !daemon.root {
            return None;
        }
        let inner = daemon.inner();
        must(Command::new("nsenter").args(["-t", &inner, "-n", "ip", "address", "add", "10.0.0.4/32", "dev", "lo"]));
        let api = Arc::new(in_network(&inner, || Apiserver::at("10.0.0.4:6443".parse().unwrap(), true)));
        let guests = Guests::of(&daemon, member(&inner, &api, ready));
        let buttons = Buttons::watch(&daemon);
        Some(Self { guests, _buttons: buttons, api, daemon })
    }

    fn member(&self, ready: bool) -> impl Fn(&DomainInfo) -> Option<String> + Send + use<> {
        member(&self.daemon.inner(), &self.api, ready)
    }

    /// Machines of seeds that are not there yet do not come up.
    fn fail_new(&self) {
        let seed = |domain: &DomainInfo| domain.mark().map(|mark| mark.seed);
        let known: Vec<_> = self.daemon.open().domains().unwrap().iter().filter_map(seed).collect();
        let well = self.member(true);
        self.guests.play(move |domain| {
            let is_new = seed(domain).is_some_and(|seed| !known.contains(&seed));
            if is_new { Some(report("containerd-active", "failed", EXITED)) } else { well(domain) }
        });
    }

    fn virsh_on(&self, words: &[&str]) {
        must(Command::new("virsh").args(["-q", "-c", &self.daemon.uri]).args(words));
    }

    /// Has libvirt know a thing by its XML.
    fn virsh(&self, verb: &str, xml: &str) {
        let file = self.daemon.folder.path().join("thing.xml");
        fs::write(&file, xml).unwrap();
        self.virsh_on(&[verb, file.to_str().unwrap()]);
    }
}

/// A guest that comes up and registers itself from the host's network.
fn member(inner: &str, api: &Arc<Apiserver>, ready: bool) -> impl Fn(&DomainInfo) -> Option<String> + Send + use<> {
    let (inner, api) = (inner.to_owned(), Arc::clone(api));
    move |domain| {
        let (name, address) = NODES.into_iter().find(|(name, _)| *name == domain.name)?;
        let says = good(domain)?;
        let event: Value = serde_json::from_str(says.lines().next()?).ok()?;
        let boot = event["boot"].as_str()?;
        in_network(&inner, || api.register_at(name, boot, ready, Some(address.parse().unwrap())));
        Some(says)
    }
}

/// Ends machines whose power button was pressed: there is nobody in them who would.
struct Buttons {
    events: Child,
    presser: Option<JoinHandle<()>>,
}

impl Buttons {
    fn watch(daemon: &Daemon) -> Self {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "stdbuf", "-oL", "virsh", "-c", &daemon.uri]);
        command.args(["qemu-monitor-event", "--loop", "--event", "POWERDOWN"]);
        let mut events = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let lines = BufReader::new(events.stdout.take().unwrap()).lines();
        let uri = daemon.uri.clone();
        let presser = std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                // event POWERDOWN at 1764403200.123456 for domain 'worker-node-1': {}
                let Some(name) = line.split('\'').nth(1) else { continue };
                // It may be gone already, by --force.
                let _ = Command::new("virsh").args(["-q", "-c", &uri, "destroy", name]).output();
            }
        });
        Self { events, presser: Some(presser) }
    }
}

impl Drop for Buttons {
    fn drop(&mut self) {
        let _ = self.events.kill();
        let _ = self.events.wait();
        if let Some(presser) = self.presser.take() {
            let _ = presser.join();
        }
    }
}
