//! The verbs on machines, as far as they go without a hypervisor: one that cannot be reached, no terminal to ask on, and
//! libvirt's own test driver with the machines of a file, which it forgets at the end of each run.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::ExitStatusExt as _;
use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use nodebake::config::ClusterId;
use serde_json::{Value, json};

use crate::apiserver::Apiserver;
use crate::world::{Ran, World};

const MACHINE_VERBS: [&[&str]; 12] = [
    &["start"],
    &["stop"],
    &["restart", "worker-node-1"],
    &["plan"],
    &["up"],
    &["rebuild", "--yes", "worker-node-1"],
    &["status"],
    &["down"],
    &["down", "--yes"],
    &["logs", "worker-node-1"],
    &["wait", "--for", "off"],
    &["console", "worker-node-1"],
];

#[test]
fn a_libvirt_that_does_not_answer_is_told() {
    let world = World::locked();
    world.edit("uri: test:///default", "uri: qemu+unix:///system?socket=/nonexistent");
    let unreachable = Ran::failed(
        1,
        "libvirt does not answer at qemu+unix:///system?socket=/nonexistent: Failed to connect socket to \
         '/nonexistent': No such file or directory",
        "install libvirt-daemon-system and qemu-system, then: systemctl enable --now libvirtd",
    );
    for verb in MACHINE_VERBS {
        assert_eq!(world.run(verb), unreachable, "{verb:?}");
    }
    // It was asked first: nothing was fetched or built in vain.
    assert!(!world.path("build").exists() && !world.path("cache").exists() && !world.path(".nodebake").exists());
    world.must(&["build", "--all"]);
}

#[test]
fn a_host_that_can_run_no_node_is_told_before_anything_is_fetched() {
    let world = World::locked();
    // The test driver names no emulator.
    let refused = Ran::failed(1, "cannot read libvirt's description of host \"capabilities\": no path", "");
    for verb in [&["up"][..], &["rebuild", "--yes", "worker-node-1"]] {
        assert_eq!(world.run(verb), refused, "{verb:?}");
    }
    assert!(!world.path("build").exists() && !world.path("cache").exists() && !world.path(".nodebake").exists());
}

#[test]
fn rebuild_needs_consent_before_anything_is_done() {
    let world = World::locked();
    world.edit("uri: test:///default", "uri: qemu+unix:///system?socket=/nonexistent");
    let refused = Ran::failed(2, "this needs your consent, and there is no terminal to ask on", "add --yes");
    for verb in [&["rebuild", "worker-node-1"][..], &["rebuild", "worker-node-1", "worker-node-2"]] {
        assert_eq!(world.run(verb), refused, "{verb:?}");
    }
    assert!(!world.path("build").exists() && !world.path("cache").exists());
}

#[test]
fn a_kubeconfig_that_is_missing_or_none_is_told() {
    let world = World::locked();
    world.edit("  pki: pki\n", "  pki: pki\n  kubeconfig: admin.kubeconfig\n");
    let missing = Ran::failed(
        2,
        "kubeconfig FOLDER/admin.kubeconfig is not there",
        "run `nodebake kubeconfig` to make FOLDER/admin.kubeconfig, or remove cluster.kubeconfig from the cluster file \
         to stop at \"kubelet active\"",
    );
    for verb in [&["up"][..], &["rebuild", "--yes", "worker-node-1"]] {
        assert_eq!(world.run(verb), missing, "{verb:?}");
    }
    // What status can say without the cluster, it says.
    let warning = "warning: kubeconfig FOLDER/admin.kubeconfig is not there\n";
    assert_eq!(world.run(&["status"]), Ran::ok(nothing("-"), warning));
    fs::write(world.path("admin.kubeconfig"), "clusters: 7\n").unwrap();
    let none = Ran::failed(
        2,
        "kubeconfig FOLDER/admin.kubeconfig: failed to parse kubeconfig YAML: error: line 1 column 11: expected \
         sequence start",
        "cluster.kubeconfig must name a kubeconfig of an administrator",
    );
    assert_eq!(world.run(&["up"]), none);
    assert!(!world.path("build").exists() && !world.path("cache").exists());
}

#[test]
fn an_apiserver_that_does_not_answer_is_told() {
    let world = World::locked();
    world.edit("  pki: pki\n", "  pki: pki\n  kubeconfig: admin.kubeconfig\n");
    world.must(&["kubeconfig"]);
    // A port that nothing listens on: this one was free, and is again.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let kubeconfig = world.read("admin.kubeconfig").replace("10.0.0.4:6443", &free.to_string());
    fs::write(world.path("admin.kubeconfig"), kubeconfig).unwrap();
    let ran = world.run(&["up"]);
    let refused = Ran::failed(
        1,
        "asking the apiserver for nodes: client error (Connect): tcp connect error: Connection refused (os error 111)",
        "check that the apiserver in the kubeconfig runs and can be reached from here, and that its user may list nodes \
         and leases; `nodebake doctor` looks at each",
    );
    assert_eq!(ran, refused);
    assert!(!world.path("build").exists() && !world.path("cache").exists());
}

#[test]
fn an_apiserver_of_another_ca_is_told() {
    let world = World::locked();
    world.edit("  pki: pki\n", "  pki: pki\n  kubeconfig: admin.kubeconfig\n");
    world.must(&["kubeconfig"]);
    let api = Apiserver::start(true);
    let kubeconfig = world.read("admin.kubeconfig").replace("10.0.0.4:6443", &api.address().to_string());
    fs::write(world.path("admin.kubeconfig"), kubeconfig).unwrap();
    let distrusted = Ran::failed(
        1,
        "asking the apiserver for nodes: client error (Connect): invalid peer certificate: UnknownIssuer",
        "the apiserver's certificate is not signed by the CA in the kubeconfig: put that cluster's CA into the pki folder \
         and run `nodebake kubeconfig`, or correct cluster.apiServer",
    );
    assert_eq!(world.run(&["plan"]), distrusted);
}

/// `status` where there is no machine, with where secrets lie.
fn nothing(secrets: &str) -> String {
    let width = secrets.len().max("SECRETS".len());
    let row = |node: u8| {
        format!("worker-node-{node}   -         -       ?         10.0.0.3{}   {secrets:width$}   -\n", node + 5)
    };
    let head = "NAME            MACHINE   STATE   CLUSTER   ADDRESS";
    format!("{head}     {:width$}   DIFFERS\n{}{}", "SECRETS", row(1), row(2))
}

/// What `status NODE` says: labels in a column of their own.
fn lines(rows: &[(&str, &str)]) -> String {
    let width = rows.iter().map(|(label, _)| label.len()).max().unwrap();
    rows.iter().map(|(label, value)| format!("{label:width$}   {value}\n")).collect::<Vec<_>>().concat()
}

#[test]
fn without_machines_there_is_little_to_say() {
    let world = World::built();
    let before = world.tree("");
    assert_eq!(world.run(&["status"]), Ran::ok(nothing("build, .nodebake"), ""));
    assert_eq!(world.run(&["status", "--out", "elsewhere"]), Ran::ok(nothing(".nodebake"), ""));
    let whole = lines(&[
        ("name", "worker-node-2"),
        ("machine", "-"),
        ("state", "-"),
        ("cluster", "?"),
        ("address", "10.0.0.37"),
        ("secrets", "build/worker-node-2/seed.iso"),
        ("", "FOLDER/.nodebake/identities/worker-node-2/key.pem"),
        ("differs", "-"),
    ]);
    assert_eq!(world.run(&["status", "worker-node-2"]), Ran::ok(whole, ""));
    // The test driver has a machine, and it is somebody else's.
    for verb in [&["down"][..], &["down", "--yes"], &["down", "worker-node-2"]] {
        assert_eq!(world.run(verb), Ran::ok("", "nothing of this cluster is there\n"), "{verb:?}");
    }
    let hint = "`nodebake hosts` lists the nodes";
    let error = "the cluster file has no node worker-node-3; did you mean worker-node-1?";
    assert_eq!(world.run(&["down", "worker-node-3"]), Ran::failed(2, error, hint));
    assert_eq!(world.run(&["logs", "worker-node-3"]), Ran::failed(2, error, hint));
    assert_eq!(world.run(&["status", "worker-node-3"]), Ran::failed(2, error, hint));
    assert_eq!(world.run(&["logs", "worker-node-1"]), Ran::ok("", "worker-node-1 has no log yet\n"));
    assert_eq!(world.tree(""), before);
}

/// One machine on the host of the test driver.
struct Machine<'a> {
    cluster: &'a ClusterId,
    node: &'a str,
    payload: &'a str,
    seed: &'a str,
    /// Attributes of the mark that are not always there, and its state.
    state: &'a str,
    /// The domain's name.
    name: &'a str,
    /// Whether its seed was taken out and removed.
    sealed: bool,
}

impl Machine<'_> {
    fn xml(&self, host: &mut String) {
        let Self { cluster, node, payload, seed, state, name: domain, sealed } = self;
        let [_, volume] = self.disks();
        let medium = if *sealed { String::new() } else { format!("<source file='/pool/{volume}'/>") };
        let (name, ca, uuid) = (&cluster.name, cluster.ca, cluster.uuid(&node.parse().unwrap()));
        write!(
            host,
            "<domain type='test'><name>{domain}</name><uuid>{uuid}</uuid><metadata><n:mark \
             xmlns:n='https://nodebake.dev/xmlns/domain/1' cluster='{name}' ca='{ca}' node='{node}' payload='{payload}' \
             seed='{seed}' base='{seed}' definition='{seed}' {state}/></metadata>\
             <memory>2048</memory><os><type>hvm</type></os><devices><disk type='file' device='cdrom'>{medium}\
             <target dev='hdc' bus='ide'/></disk></devices></domain>"
        )
        .unwrap();
    }

    /// What it has in the pool.
    fn volumes(&self) -> Vec<String> {
        self.disks().into_iter().take(if self.sealed { 1 } else { 2 }).collect()
    }

    /// Its root disk and seed.
    fn disks(&self) -> [String; 2] {
        let Self { cluster, node, seed, .. } = self;
        let stem = format!("nodebake.{}.{}.{node}", cluster.name, &cluster.ca.to_string()[..8]);
        [format!("{stem}.root.{}.qcow2", &seed[..12]), format!("{stem}.seed.{}.iso", &seed[..12])]
    }
}

/// Gives the test driver two machines of this cluster, one of a namesake and one of nobody, with their disks.
pub(crate) fn with_machines(world: &World) {
    let manifest = |node: &str| -> serde_json::Value {
        serde_json::from_str(&world.read(&format!("build/{node}/manifest.json"))).unwrap()
    };
    let built = manifest("worker-node-1");
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let ours = ClusterId { name: "seed".parse().unwrap(), ca: text(&built["ca"]).parse().unwrap() };
    let other = "0".repeat(64);
    let namesake = ClusterId { name: ours.name.clone(), ca: other.parse().unwrap() };
    let (payload, seed) = (text(&built["payload"]["digest"]), text(&built["seed"]["digest"]));
    let machines = [
        Machine {
            cluster: &ours,
            node: "worker-node-1",
            payload: &payload,
            seed: &seed,
            state: "state='registered'",
            name: "worker-node-1",
            sealed: false,
        },
        Machine {
            cluster: &ours,
            node: "worker-node-2",
            payload: &other,
            seed: &seed,
            state: &format!("state='failed' stored='{other}' stage='containerd active'"),
            name: "worker-node-2",
            sealed: false,
        },
        Machine {
            cluster: &ours,
            node: "old-node",
            payload: &payload,
            seed: &seed,
            state: "state='started'",
            name: "old-node",
            sealed: true,
        },
        Machine {
            cluster: &namesake,
            node: "worker-node-1",
            payload: &payload,
            seed: &seed,
            state: "state='started'",
            name: "of-the-namesake",
            sealed: false,
        },
    ];
    let mut host =
        "<node><domain type='test'><name>users-domain</name><memory>2048</memory><os><type>hvm</type></os></domain>"
            .to_owned();
    for machine in &machines {
        machine.xml(&mut host);
    }
    let folder = world.path("pool");
    write!(host, "<pool type='dir'><name>nodebake</name><target><path>{}</path></target>", folder.display()).unwrap();
    for name in machines.iter().flat_map(Machine::volumes).chain(["users-disk.qcow2".to_owned()]) {
        let path = folder.join(&name);
        let format = if name.ends_with("iso") { "raw" } else { "qcow2" };
        write!(
            host,
            "<volume><name>{name}</name><capacity>1024</capacity><target><path>{}</path><format type='{format}'/>\
             </target></volume>",
            path.display()
        )
        .unwrap();
    }
    host.push_str("</pool></node>");
    fs::write(world.path("host.xml"), host).unwrap();
    world.edit("uri: test:///default", &format!("uri: test://{}", world.path("host.xml").display()));
}

#[test]
fn status_lists_the_clusters_machines_and_how_they_differ() {
    let world = World::built();
    with_machines(&world);
    let table = "NAME            MACHINE   STATE                        CLUSTER   ADDRESS     SECRETS                        DIFFERS\n\
                 worker-node-1   running   registered                   ?         10.0.0.36   disk, pool, build, .nodebake   -\n\
                 worker-node-2   running   failed (containerd active)   ?         10.0.0.37   disk, pool, build, .nodebake   payload, seed, changed by hand\n\
                 old-node        running   started                      ?         -           disk                           not in the cluster file\n";
    assert_eq!(world.run(&["status"]), Ran::ok(table, ""));
    // Without images there is nothing to compare with, and no seed.
    let elsewhere = table.replace("payload, seed, ", "").replace(", build", "").replace("SECRETS       ", "SECRETS");
    let elsewhere = elsewhere.replace("disk                    ", "disk             ");
    assert_eq!(world.run(&["status", "--out", "elsewhere"]), Ran::ok(elsewhere, ""));
}

#[test]
fn status_of_a_node_tells_all_that_is_known_of_it() {
    let world = World::built();
    with_machines(&world);
    let manifest: serde_json::Value = serde_json::from_str(&world.read("build/worker-node-1/manifest.json")).unwrap();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let (payload, seed) = (text(&manifest["payload"]["digest"]), text(&manifest["seed"]["digest"]));
    let (ends, serial) = (text(&manifest["certificate"]["notAfter"]), text(&manifest["certificate"]["serial"]));
    let ca = &text(&manifest["ca"])[..8];
    let volume = |node: &str| format!("nodebake/nodebake.seed.{ca}.{node}.seed.{}.iso", &seed[..12]);
    let of = |node: &str, own: &[(&str, &str)], images: &[(&str, &str)]| {
        let disk = "the machine's own disk: the kubelet's key, and what cloud-init keeps of its seed";
        let volume = format!("{}, in the machine's drive", volume(node));
        let (built, key) = (format!("build/{node}/seed.iso"), format!("FOLDER/.nodebake/identities/{node}/key.pem"));
        let secrets = [("secrets", disk), ("", &volume), ("", &built), ("", &key)];
        lines(&[&[("name", node), ("machine", "running")], own, &secrets, images].concat())
    };
    let image = |digest: &str| format!("sha256:{digest}");
    let (payload, seed, zeros) = (image(&payload), image(&seed), image(&"0".repeat(64)));
    let first = of(
        "worker-node-1",
        &[("state", "registered"), ("cluster", "?"), ("address", "10.0.0.36")],
        &[
            ("differs", "-"),
            ("payload", &payload),
            ("seed", &seed),
            ("base image", &seed),
            ("certificate", &format!("ends {ends}")),
            ("serial", &serial),
            ("names", "worker-node-1, 10.0.0.36"),
        ],
    );
    assert_eq!(world.run(&["status", "worker-node-1"]), Ran::ok(first.clone(), ""));
    // The machine of the second was made from another seed than that which was built: its certificate is not known.
    let second = of(
        "worker-node-2",
        &[("state", "failed (containerd active)"), ("cluster", "?"), ("address", "10.0.0.37")],
        &[("differs", "payload, seed, changed by hand"), ("payload", &zeros), ("seed", &seed), ("base image", &seed)],
    );
    let both = format!("{first}\n{second}");
    assert_eq!(world.run(&["status", "worker-node-2", "worker-node-1"]), Ran::ok(both, ""));
}

/// What is known of the two machines of [`with_machines`] and of one that the cluster file does not name, as a program reads
/// it; with the path of the world's folder, as it is shown.
fn document(world: &World, folder: &str) -> Value {
    let manifest: Value = serde_json::from_str(&world.read("build/worker-node-1/manifest.json")).unwrap();
    let ca = manifest["ca"].as_str().unwrap();
    let id = ClusterId { name: "seed".parse().unwrap(), ca: ca.parse().unwrap() };
    let (payload, seed) = (&manifest["payload"]["digest"], &manifest["seed"]["digest"]);
    let key = |node: &str| format!("{folder}/.nodebake/identities/{node}/key.pem");
    let secrets = |node: &str| {
        let volume = format!("nodebake/nodebake.seed.{}.{node}.seed.{:.12}.iso", &ca[..8], seed.as_str().unwrap());
        let disk = "the machine's own disk: the kubelet's key, and what cloud-init keeps of its seed";
        json!([
            {"place": "disk", "what": disk},
            {"place": "pool", "what": format!("{volume}, in the machine's drive")},
            {"place": "build", "what": format!("build/{node}/seed.iso")},
            {"place": ".nodebake", "what": key(node)},
        ])
    };
    let machine = |state: &str, failure: Value, payload: &Value| {
        let mark = json!({
            "state": state, "failure": failure, "bootId": null, "payload": payload, "seed": seed, "baseImage": seed,
        });
        json!({"power": "running", "autostart": false, "mark": mark})
    };
    let mut certificate = manifest["certificate"].clone();
    certificate["state"] = "valid".into();
    let name = |node: &str| node.parse().unwrap();
    let own = |node: &str| (id.uuid(&name(node)).to_string(), id.mac(&name(node)).to_string());
    let [(first, first_mac), (second, second_mac), (old, _)] = ["worker-node-1", "worker-node-2", "old-node"].map(own);
    let disk = json!([{"place": "disk", "what": "the machine's own disk: the kubelet's key"}]);
    json!({
        "apiVersion": "nodebake/v1",
        "cluster": "seed",
        "nodesKnown": false,
        "nodes": [
            {
                "name": "worker-node-1", "inClusterFile": true, "address": "10.0.0.36", "address6": null, "uuid": first, "mac": first_mac,
                "machine": machine("registered", Value::Null, payload), "node": null,
                "certificateEnd": manifest["certificate"]["notAfter"], "certificate": certificate, "boot": null,
                "secrets": secrets("worker-node-1"), "differs": [], "takenOver": [],
            },
            {
                "name": "worker-node-2", "inClusterFile": true, "address": "10.0.0.37", "address6": null, "uuid": second,
                "mac": second_mac, "machine": machine("failed", "containerd active".into(), &"0".repeat(64).into()),
                "node": null, "certificateEnd": null, "certificate": null, "boot": null, "secrets": secrets("worker-node-2"),
                "differs": ["payload", "seed", "changed by hand"], "takenOver": [],
            },
            {
                "name": "old-node", "inClusterFile": false, "address": null, "address6": null, "uuid": old, "mac": null,
                "machine": machine("started", Value::Null, payload), "node": null, "certificateEnd": null,
                "certificate": null, "boot": null, "secrets": disk, "differs": [], "takenOver": [],
            },
        ],
    })
}

#[test]
fn status_tells_programs_everything() {
    let world = World::built();
    with_machines(&world);
    let wanted = document(&world, "FOLDER");
    let json: Value = serde_json::from_str(&world.must(&["status", "-o", "json"]).stdout).unwrap();
    assert_eq!(json, wanted);
    let yaml: Value = serde_yaml::from_str(&world.must(&["status", "-o", "yaml"]).stdout).unwrap();
    assert_eq!(yaml, wanted);
    let ran = world.must(&["status", "worker-node-2", "-o", "json"]);
    let one: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(one["nodes"], json!([wanted["nodes"][1]]));

    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let node = &wanted["nodes"][0];
    let wide = [
        ["NAME", "MACHINE", "STATE", "CLUSTER", "ADDRESS", "SECRETS", "DIFFERS"].map(str::to_owned).to_vec(),
        ["UUID", "MAC", "BOOT", "CERTIFICATE-END", "PAYLOAD", "SEED"].map(str::to_owned).to_vec(),
    ];
    let cells = [
        ["worker-node-1", "running", "registered", "?", "10.0.0.36", "disk, pool, build, .nodebake", "-"]
            .map(str::to_owned)
            .to_vec(),
        vec![
            text(&node["uuid"]),
            text(&node["mac"]),
            "-".to_owned(),
            text(&node["certificateEnd"]),
            text(&node["machine"]["mark"]["payload"])[..12].to_owned(),
            text(&node["machine"]["mark"]["seed"])[..12].to_owned(),
        ],
    ];
    let shown = world.must(&["status", "-o", "wide", "worker-node-1"]).stdout;
    let shown: Vec<Vec<String>> = shown
        .lines()
        .map(|line| line.split("   ").map(|cell| cell.trim().to_owned()).filter(|c| !c.is_empty()).collect())
        .collect();
    assert_eq!(shown, [wide.concat(), cells.concat()]);
}

#[test]
fn status_is_shown_again_when_something_has_changed() {
    let world = World::built();
    with_machines(&world);
    let watch = |format: &str| {
        let mut command = world.command(&[]);
        let command = command.args(["status", "--watch", "-o", format]).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        (child, lines)
    };
    let (mut json, mut documents) = watch("json");
    let (mut table, mut rows) = watch("table");
    let mut next = || serde_json::from_str::<Value>(&documents.next().unwrap().unwrap()).unwrap();
    let mut wanted = document(&world, world.path("").to_str().unwrap().trim_end_matches('/'));
    assert_eq!(next(), wanted);
    let mut row = || rows.next().unwrap().unwrap();
    let first = [row(), row(), row(), row()];
    assert!(first[2].contains("disk, pool, build, .nodebake"), "{first:?}");
    fs::remove_file(world.path("build/worker-node-2/seed.iso")).unwrap();
    wanted["nodes"][1]["secrets"].as_array_mut().unwrap().remove(2);
    assert_eq!(next(), wanted);
    let again = [row(), row(), row(), row(), row()];
    let second = first[2].replace("disk, pool, build, .nodebake", "disk, pool, .nodebake       ");
    assert_eq!(again, [String::new(), first[0].clone(), first[1].clone(), second, first[3].clone()]);
    for child in [&mut json, &mut table] {
        kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGINT).unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(Signal::SIGINT as i32));
    }
}

#[test]
fn down_names_what_goes_and_needs_consent() {
    let world = World::built();
    with_machines(&world);
    let all = "old-node: its machine and 1 volume\n\
               worker-node-1: its machine and 2 volumes\n\
               worker-node-2: its machine and 2 volumes\n";
    let refused = Ran::failed(2, "this needs your consent, and there is no terminal to ask on", "add --yes");
    assert_eq!(world.run(&["down"]), refused.clone().after(all));
    let one = "worker-node-2: its machine and 2 volumes\n";
    assert_eq!(world.run(&["down", "worker-node-2"]), refused.after(one));
    let removed = "old-node removed\nworker-node-1 removed\nworker-node-2 removed\n";
    // The test driver cannot overwrite volumes; that the keys in them are not is told.
    let manifest: serde_json::Value = serde_json::from_str(&world.read("build/worker-node-1/manifest.json")).unwrap();
    let (ca, seed) = (manifest["ca"].as_str().unwrap(), manifest["seed"]["digest"].as_str().unwrap());
    let unwiped = ["worker-node-1", "worker-node-2"].map(|node| {
        let volume = format!("nodebake.seed.{}.{node}.seed.{}.iso", &ca[..8], &seed[..12]);
        format!(
            "warning: {volume} is removed without being overwritten: cannot wipe volume {volume}: this function is not \
             supported by the connection driver: virStorageVolWipe\n"
        )
    });
    assert_eq!(world.run(&["down", "--yes"]), Ran::ok(removed, format!("{all}{}", unwiped.concat())));
    let alone = format!("{one}{}", unwiped[1]);
    assert_eq!(world.run(&["down", "--yes", "worker-node-2"]), Ran::ok("worker-node-2 removed\n", alone));
    assert_eq!(
        world.run(&["down", "old-node", "--yes"]),
        Ran::ok("old-node removed\n", "old-node: its machine and 1 volume\n")
    );
}
