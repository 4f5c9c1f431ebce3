//! The main job: both workers are made, join the cluster, come back after a reboot, and go.

use std::collections::BTreeMap;
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
    is_the_node_table(&ran.stdout, &cluster.lab.version("KUBERNETES"));
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
    boots.to_vec()
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
    // Each is told once, those of the units in their order; what runs beside may come after all of them.
    let mut told = notes[4..].to_vec();
    let in_order: Vec<_> = told.iter().copied().filter(|note| units.contains(note)).collect();
    assert_eq!(in_order, units, "{stderr}");
    let mut wanted = [&units[..], &rest, &["registered", "images imported", "packages installed"]].concat();
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
        findings.same("version", info["kubeletVersion"].as_str(), Some(&cluster.lab.version("KUBERNETES")));
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
    is_the_node_table(&ran.stdout, &cluster.lab.version("KUBERNETES"));
    let notes: Vec<_> = ran.stderr.lines().filter(|line| line.starts_with("worker-node-")).collect();
    assert_eq!(notes, Vec::<&str>::new());
    assert_eq!(things.are_whole_in(&cluster.lab.users_things()), Vec::<String>::new());
    assert_eq!(cluster.output(), output);
    assert_eq!(all_of_ours(cluster), before);
    let status = cluster.run(&["status"]).succeeded();
    let row = |(name, address)| vec![name, "running", "registered", "NotReady", address, "-"];
    let head = vec!["NAME", "MACHINE", "STATE", "CLUSTER", "ADDRESS", "DIFFERS"];
    assert_eq!(words(&status), [head, row(WORKERS[0]), row(WORKERS[1])]);
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

/// The power button's reboot of both, at the same time. Gives the new boot ids, when the audits are done.
pub fn reboot(cluster: &Cluster, boots: &[String]) -> Vec<String> {
    step("both workers reboot");
    let lab = cluster.lab;
    for (name, _) in WORKERS {
        lab.virsh(&["reboot", "--mode", "acpi", name]);
    }
    let reboots: Vec<_> = WORKERS
        .iter()
        .zip(boots)
        .map(|((name, _), boot)| Guest::new(lab, name).next_audit(std::slice::from_ref(boot)))
        .collect();
    are_registered(cluster, &reboots);
    let ran = cluster.run(&["up"]);
    assert_eq!(ran.code, Some(0), "{ran:#?}");
    is_the_node_table(&ran.stdout, &lab.version("KUBERNETES"));
    reboots
}

/// Switches a worker off, and judges its disk and its own reports of both boots.
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
    no_ca_key_anywhere(cluster, name, &tree);
    step(&format!("{name}: on again"));
    cluster.run(&["up", name]).succeeded();
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
    let added = users.are_whole_in(&cluster.lab.users_things());
    assert_eq!(added, ["pool nodebake", "pool nodebake-logs"]);
    let kinds = |pool: &str| {
        let text = cluster.lab.virsh(&["vol-list", pool]);
        let names: Vec<_> = words(&text).iter().map(|row| row[0].to_owned()).collect();
        let mut kinds: Vec<_> = names.iter().map(|name| name.split('.').nth(1).unwrap().to_owned()).collect();
        kinds.sort();
        kinds
    };
    // Two payloads: that of the third worker whose containerd could not start is another one.
    assert_eq!(
        (kinds("nodebake"), kinds("nodebake-logs")),
        (["base", "payload", "payload"].map(String::from).to_vec(), vec![])
    );
}
