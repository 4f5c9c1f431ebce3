//! The main job: both workers are made, join the cluster, come back after a reboot, and go.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde_json::Value;

use crate::findings::Findings;
use crate::guest::Guest;
use crate::lab::step;
use crate::machine_state::Things;
use crate::nodebake::{Cluster, words};
use crate::{disk, secrets};

/// Name and address.
pub const WORKERS: [(&str, &str); 2] = [("worker-node-1", "10.0.0.36"), ("worker-node-2", "10.0.0.37")];

/// `up` from nothing. Gives the boot id of each worker, when its audit is done.
pub fn come_up(cluster: &Cluster, users: &Things) -> Vec<String> {
    let lab = cluster.lab;
    let ran = cluster.run(&["up"]);
    assert_eq!(ran.code, Some(0), "{ran:#?}");
    is_the_node_table(&ran.stdout, &cluster.kubernetes());
    for (name, _) in WORKERS {
        stages_were_told(&ran.stderr, name);
    }
    let added = users.are_whole_in(&lab.users_things());
    assert_eq!(added, ["domain worker-node-1", "domain worker-node-2", "pool nodebake", "pool nodebake-logs"]);
    let boots = WORKERS.map(|(name, _)| {
        step(&format!("{name}: its audit of itself"));
        Guest::new(lab, name).next_audit(&[])
    });
    are_registered(cluster, &boots);
    spoke_for_themselves(cluster);
    are_sealed(cluster);
    boots.to_vec()
}

/// No seed is left, neither in a drive, running or stored, nor in the pool; what is known of a node says so.
fn are_sealed(cluster: &Cluster) {
    let lab = cluster.lab;
    let mut findings = Findings::of("the seeds of both are gone");
    let volumes = lab.virsh(&["vol-list", "nodebake"]);
    let seeds: Vec<_> = volumes.lines().filter(|line| line.contains(".seed.") && line.contains(".iso")).collect();
    let seeds: Vec<_> = seeds.into_iter().filter(|line| !line.contains(".root.")).collect();
    findings.same("seeds in the pool", seeds, Vec::new());
    for (name, _) in WORKERS {
        for which in [&["domblklist", name][..], &["domblklist", "--inactive", name]] {
            let text = lab.virsh(which);
            let drive = words(&text).into_iter().find(|row| row[0] == "sda");
            findings.same(&format!("the drive of {name}, {which:?}"), drive, Some(vec!["sda", "-"]));
        }
        let status = cluster.run(&["status", name]).succeeded();
        let value = |head: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(head));
            line.unwrap_or_default().trim().to_owned()
        };
        findings.same("secrets", value("secrets"), "the machine's own disk: the kubelet's key".to_owned());
        findings.same("differs", value("differs"), "-".to_owned());
        let ends = cluster.manifest(name)["certificate"]["notAfter"].as_str().unwrap().to_owned();
        findings.same("certificate", value("certificate"), format!("ends {ends}"));
        let (_, table) = status.split_once("\n\n").unwrap_or_else(|| panic!("no stages: {status}"));
        stages_have_times(&Guest::new(lab, name), table, &mut findings);
    }
    let verified = cluster.run(&["verify"]);
    findings.same("exit code of verify", verified.code, Some(0));
    let sealed =
        verified.stdout.lines().filter(|line| line.ends_with("not checked: sealed: wiped and removed")).count();
    findings.same("seeds that verify tells of", sealed, 2);
    findings.end();
}

/// The table of stages shows what the guest reported, in the order of its clock.
fn stages_have_times(guest: &Guest, table: &str, findings: &mut Findings) {
    let seconds = |cell: &str| cell.strip_suffix(" s").and_then(|cell| cell.parse::<f64>().ok());
    let rows: Vec<Vec<_>> = table
        .lines()
        .skip(1)
        .map(|line| line.split("   ").map(str::trim).filter(|cell| !cell.is_empty()).collect())
        .collect();
    let times: Vec<_> = rows.iter().map(|row| seconds(row[1])).collect();
    findings.holds("each stage has its time, in order", times.iter().all(Option::is_some) && times.is_sorted(), table);
    let mut reported = guest.reports();
    reported.sort_by(|a, b| a.uptime.total_cmp(&b.uptime));
    findings.same("stages", rows.len(), reported.len());
    for (row, report) in rows.iter().zip(&reported) {
        findings.same(row[0], row[1], format!("{:.1} s", report.uptime).as_str());
    }
}

/// `kubectl get nodes` in its columns; the age alone may be anything that is an age.
fn is_the_node_table(stdout: &str, version: &str) {
    let mut rows = words(stdout);
    for row in rows.iter_mut().skip(1) {
        let age = row.get_mut(3).unwrap();
        let (number, unit) = age.split_at(age.len() - 1);
        assert!(number.parse::<u32>().is_ok() && ["s", "m"].contains(&unit), "{age} is no age: {stdout}");
        *age = "AGE";
    }
    let row = |(name, address)| vec![name, "NotReady", "<none>", "AGE", version, address];
    let wanted =
        vec![vec!["NAME", "STATUS", "ROLES", "AGE", "VERSION", "INTERNAL-IP"], row(WORKERS[0]), row(WORKERS[1])];
    assert_eq!(rows, wanted);
}

/// The notes of one node: what was done to its machine, what its guest told, that it registered.
fn stages_were_told(stderr: &str, node: &str) {
    let start = format!("{node}: ");
    let notes = stderr.lines().filter_map(|line| line.strip_prefix(&start));
    let notes: Vec<_> = notes.map(|note| note.split(" (").next().unwrap()).collect();
    let wanted = ["issued a certificate", "making its machine", "starting its machine", "seed read", "files installed"];
    let notes: Vec<_> = notes.into_iter().skip_while(|note| *note == wanted[0]).collect();
    assert_eq!(notes[..4], wanted[1..], "{stderr}");
    let units = ["payload mounted", "containerd active", "kubelet active"];
    let rest = ["begun: images imported", "begun: packages installed", "CNI plugins installed", "first boot finished"];
    let seal = ["cloud-init done", "sealed", "its seed is wiped and removed"];
    // Each is told once, those of the units in their order; what runs beside may come after all of them.
    let mut told = notes[4..].to_vec();
    let in_order: Vec<_> = told.iter().copied().filter(|note| units.contains(note)).collect();
    assert_eq!(in_order, units, "{stderr}");
    let position = |note: &str| told.iter().position(|told| *told == note);
    let order = ["registered", "sealed", "its seed is wiped and removed"].map(position);
    assert!(order.is_sorted(), "a node is sealed when it is registered: {stderr}");
    let mut wanted = [&units[..], &rest, &seal, &["registered", "images imported", "packages installed"]].concat();
    told.sort_unstable();
    wanted.sort_unstable();
    assert_eq!(told, wanted, "{stderr}");
}

/// The cluster's own view, by kubectl.
fn are_registered(cluster: &Cluster, boots: &[String]) {
    let mut findings = Findings::of("both nodes in the cluster's API");
    let nodes = cluster.api_nodes();
    let names: Vec<_> = nodes.keys().map(String::as_str).collect();
    findings.same("names", names, WORKERS.map(|(name, _)| name).to_vec());
    for ((name, address), boot) in WORKERS.iter().zip(boots) {
        let Some(node) = nodes.get(*name) else { continue };
        let addresses: BTreeMap<_, _> = node["status"]["addresses"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|a| (&a["type"], &a["address"]))
            .map(|(kind, a)| (kind.to_string(), a.as_str().unwrap_or_default()))
            .collect();
        let wanted = [("\"Hostname\"".to_owned(), *name), ("\"InternalIP\"".to_owned(), *address)];
        findings.same("addresses", addresses, BTreeMap::from(wanted));
        let info = &node["status"]["nodeInfo"];
        findings.same("boot id", info["bootID"].as_str(), Some(boot));
        findings.same("version", info["kubeletVersion"].as_str(), Some(&cluster.kubernetes()));
        let runtime = format!("containerd://{}", cluster.lab.version("CONTAINERD"));
        let said = info["containerRuntimeVersion"].as_str().unwrap_or_default();
        findings.holds("runtime", said.starts_with(&runtime), said);
    }
    findings.end();
}

/// What the apiserver noted of each request: from the node's own address, with the certificate that was baked for it.
/// Only the stand-in notes serials; a real apiserver's audit log is elsewhere.
fn spoke_for_themselves(cluster: &Cluster) {
    let Ok(log) = fs::read_to_string(cluster.lab.dir.join("run/apiserver.jsonl")) else {
        return step("no log of the apiserver stand-in: a real apiserver runs here");
    };
    let log: Vec<Value> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let text = |entry: &Value, key: &str| entry[key].as_str().unwrap_or_default().to_owned();
    let mut findings = Findings::of("the nodes' requests, as the apiserver noted them");
    for (name, address) in WORKERS {
        let user = format!("system:node:{name}");
        let from = |entry: &&Value| text(entry, "remote").split(':').next() == Some(address);
        let own: Vec<_> = log.iter().filter(|entry| text(entry, "user") == user).collect();
        let serial = cluster.manifest(name)["certificate"]["serial"].as_str().unwrap().to_owned();
        let who = |entry: &&Value| (text(entry, "remote").split(':').next().unwrap().to_owned(), text(entry, "serial"));
        let mut callers: Vec<_> = own.iter().map(who).collect();
        callers.sort();
        callers.dedup();
        findings.same("address and serial", callers, vec![(address.to_owned(), serial)]);
        for (method, path) in [("POST", "/api/v1/nodes".to_owned()), ("PATCH", format!("/api/v1/nodes/{name}/status"))]
        {
            let found = own.iter().any(|entry| {
                text(entry, "method") == method
                    && text(entry, "path").split('?').next() == Some(&path)
                    && matches!(entry["code"].as_u64(), Some(200 | 201))
            });
            findings.holds(&format!("{method} {path}"), found, own.len());
        }
        let refused: Vec<_> =
            log.iter().filter(from).filter(|e| matches!(e["code"].as_u64(), Some(0 | 401 | 403))).collect();
        findings.same("requests that were refused", refused, Vec::new());
    }
    findings.end();
}

/// A second `up` has nothing to do and does nothing.
pub fn up_again_changes_nothing(cluster: &Cluster) {
    let before = all_of_ours(cluster);
    let (things, output) = (cluster.lab.users_things(), cluster.output());
    let ran = cluster.run(&["up"]);
    assert_eq!(ran.code, Some(0), "{ran:#?}");
    is_the_node_table(&ran.stdout, &cluster.kubernetes());
    let notes: Vec<_> = ran.stderr.lines().filter(|line| line.starts_with("worker-node-")).collect();
    assert_eq!(notes, Vec::<&str>::new());
    assert_eq!(things.are_whole_in(&cluster.lab.users_things()), Vec::<String>::new());
    assert_eq!((cluster.output(), all_of_ours(cluster)), (output.clone(), before.clone()));
    let status = cluster.run(&["status"]).succeeded();
    let row =
        |(name, address)| vec![name, "running", "registered", "NotReady", address, "disk,", "build,", ".nodebake", "-"];
    let head = vec!["NAME", "MACHINE", "STATE", "CLUSTER", "ADDRESS", "SECRETS", "DIFFERS"];
    assert_eq!(words(&status), [head, row(WORKERS[0]), row(WORKERS[1])]);
    let planned = cluster.run(&["plan"]);
    let nothing = |(name, _)| vec!["node", name, "nothing", "-", "-"];
    assert_eq!(words(&planned.stdout)[1..], [nothing(WORKERS[0]), nothing(WORKERS[1])]);
    assert_eq!((planned.code, planned.stderr.as_str()), (Some(0), "nothing is to do\n"));
    assert_eq!((cluster.output(), all_of_ours(cluster)), (output, before));
}

/// Our own domains with their marks, and the volumes of our pool with their inodes and changes, except the disks that
/// running guests write to.
fn all_of_ours(cluster: &Cluster) -> Vec<String> {
    use std::os::unix::fs::MetadataExt as _;
    let mut all: Vec<_> = WORKERS.map(|(name, _)| cluster.lab.virsh(&["dumpxml", name])).to_vec();
    for entry in fs::read_dir(cluster.lab.outside(&pool_path(cluster))).unwrap() {
        let path = entry.unwrap().path();
        let info = fs::metadata(&path).unwrap();
        let changed = if path.to_string_lossy().contains(".root.") { 0 } else { info.mtime() };
        all.push(format!("{} {} {changed}", path.display(), info.ino()));
    }
    all.sort();
    all
}

/// The folder of our pool.
pub fn pool_path(cluster: &Cluster) -> String {
    let xml = cluster.lab.virsh(&["pool-dumpxml", "nodebake"]);
    let document = roxmltree::Document::parse(&xml).unwrap();
    let path = document.descendants().find(|node| node.has_tag_name("path")).unwrap();
    path.text().unwrap().to_owned()
}

/// The power button's reboot of the first worker; the other goes on. Gives the new boot id, when the audit is done.
pub fn reboot(cluster: &Cluster, boots: &[String]) -> String {
    let (name, _) = WORKERS[0];
    step(&format!("{name} reboots"));
    let lab = cluster.lab;
    lab.virsh(&["reboot", "--mode", "acpi", name]);
    let boot = Guest::new(lab, name).next_audit(&boots[..1]);
    are_registered(cluster, &[boot.clone(), boots[1].clone()]);
    let ran = cluster.run(&["up"]);
    assert_eq!(ran.code, Some(0), "{ran:#?}");
    is_the_node_table(&ran.stdout, &cluster.kubernetes());
    boot
}

/// Switches a worker off and on again, with a larger disk. Gives the boot id, when the audit is done.
pub fn cold_start(cluster: &Cluster, name: &str, boots: &[String]) -> String {
    step(&format!("{name}: off, a GiB more of disk, and on again"));
    let lab = cluster.lab;
    let guest = Guest::new(lab, name);
    let stopped = cluster.run(&["stop", name]);
    assert_eq!(
        (stopped.code, stopped.stdout.as_str()),
        (Some(0), format!("{name} stopped\n").as_str()),
        "{stopped:#?}"
    );
    let again = cluster.run(&["stop", name]);
    assert_eq!((again.code, again.stdout.as_str()), (Some(0), format!("{name} is off\n").as_str()), "{again:#?}");
    let address = "    address: 10.0.0.36\n";
    cluster.edit(address, &format!("{address}    disk: 9GiB\n"));
    let planned = cluster.run(&["plan", name]);
    let lines: Vec<_> = words(&planned.stdout).iter().skip(1).map(|row| row.join(" ")).collect();
    let grow = format!("node {name} grow up disk 8192 MiB -> 9216 MiB");
    assert_eq!((planned.code, lines), (Some(6), vec![grow, format!("node {name} start up -")]));
    let ran = cluster.run(&["up", name]);
    assert_eq!(ran.code, Some(0), "{ran:#?}");
    let boot = guest.next_audit(boots);
    let told: Vec<_> = guest.reports().into_iter().filter(|report| report.boot == boot).collect();
    let told: Vec<_> = told.iter().map(|report| (report.stage.as_str(), report.state.as_str())).collect();
    let wanted = ["payload-mounted", "containerd-active", "kubelet-active", "sealed"].map(|stage| (stage, "ok"));
    assert_eq!(told, wanted);
    let node = &cluster.api_nodes()[name];
    assert_eq!(node["status"]["nodeInfo"]["bootID"].as_str(), Some(boot.as_str()));
    boot
}

/// Switches a worker off for good, and judges its disk and its own reports of all boots, of which the last had a larger disk.
pub fn stay_as_made(cluster: &Cluster, name: &str, boots: &[String]) {
    step(&format!("{name}: off, for its disk"));
    let lab = cluster.lab;
    Guest::new(lab, name).shut_down();
    let tree = lab.disk(name);
    for (number, boot) in boots.iter().enumerate() {
        disk::guest_is_as_made(cluster, name, &tree, boot, number == 0);
    }
    disk::files_are_as_made(cluster, name, &tree);
    disk::certificate_holds(cluster, name, &tree);
    disk::cloud_init_has_nothing(&tree);
    disk::grows(&tree, boots);
    no_ca_key_anywhere(cluster, name, &tree);
}

/// Not on the guest's whole disk, nor in any image. The node's own key is found by the same search where it belongs.
fn no_ca_key_anywhere(cluster: &Cluster, name: &str, tree: &std::path::Path) {
    step("no private key of the CA in disk, seeds, payload and pool");
    let mut findings = Findings::of("the private key of the CA is nowhere");
    let ca = secrets::Key::of(&cluster.folder.join("pki/ca-key.pem"));
    let own = secrets::Key::of(&tree.join(format!("etc/kubernetes/pki/{name}-key.pem")));
    let raw = tree.with_extension("raw");
    let mut images: Vec<_> =
        cluster.output().into_keys().filter(|path| path.extension().is_some_and(|e| e == "iso")).collect();
    images.push(raw.clone());
    let pool = cluster.lab.outside(&pool_path(cluster));
    images.extend(fs::read_dir(pool).unwrap().map(|entry| entry.unwrap().path()));
    for image in &images {
        findings.same(&format!("pieces of the CA's key in {}", image.display()), ca.pieces_in(image), 0);
    }
    let seed = cluster.folder.join("build").join(name).join("seed.iso");
    for place in [&raw, &seed] {
        let found = own.pieces_in(place);
        findings.holds(&format!("the node's own key in {}", place.display()), found > 0, found);
    }
    findings.end();
}

/// `down` takes the workers away and leaves what is shared, and all that is the user's.
pub fn go(cluster: &Cluster, users: &Things) {
    let ran = cluster.run(&["down", "--yes"]);
    assert_eq!(
        (ran.code, ran.stdout.as_str()),
        (Some(0), "worker-node-1 removed\nworker-node-2 removed\n"),
        "{ran:#?}"
    );
    // The customised node's data disk stays until it is asked for.
    let disks = || cluster.lab.virsh(&["vol-list", "nodebake"]).matches(".worker-node-2.data.data.qcow2 ").count();
    assert_eq!(disks(), 1);
    cluster.run(&["down", "--with-data", "--yes"]).succeeded();
    assert_eq!(disks(), 0);
    let added = users.are_whole_in(&cluster.lab.users_things());
    assert_eq!(added, ["pool nodebake", "pool nodebake-logs"]);
    let kinds = |pool: &str| {
        let text = cluster.lab.virsh(&["vol-list", pool]);
        let names: Vec<_> = words(&text).iter().map(|row| row[0].to_owned()).collect();
        let mut kinds: Vec<_> = names.iter().map(|name| name.split('.').nth(1).unwrap().to_owned()).collect();
        kinds.sort();
        kinds
    };
    // A payload of each release, and that of the third worker whose containerd could not start.
    let releases = BTreeSet::from(["KUBERNETES_BEFORE", "KUBERNETES"].map(|name| cluster.lab.version(name)));
    let mut wanted = vec!["base".to_owned()];
    wanted.resize(releases.len() + 2, "payload".to_owned());
    assert_eq!((kinds("nodebake"), kinds("nodebake-logs")), (wanted, vec![]));
}
