//! A golden image: what is on its disk and what is not, and that a worker starts from it without a payload's drive.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use nodebake::digest::Digest;
use serde_json::Value;

use crate::findings::Findings;
use crate::guest::Guest;
use crate::lab::{Lab, Ran, step};
use crate::nodebake::{Cluster, words};
use crate::secrets;

const NODE: &str = "worker-node-1";

/// Makes the image, looks at it, locks it and starts a worker from it.
pub fn is_made_and_used(cluster: &Cluster) {
    let lab = cluster.lab;
    cluster.run(&["lock"]).succeeded();
    let before = lab.users_things();
    let ran = cluster.run(&["image", "default"]);
    assert_eq!(ran.code, Some(0), "{ran:#?}");
    let added = before.are_whole_in(&lab.users_things());
    assert_eq!(added, ["pool nodebake", "pool nodebake-logs"]);
    let volumes = |pool: &str| {
        let text = lab.virsh(&["vol-list", pool]);
        let mut kinds: Vec<_> =
            words(&text).iter().map(|row| row[0].split('.').nth(1).unwrap_or_default().to_owned()).collect();
        kinds.sort();
        kinds
    };
    assert_eq!(
        (volumes("nodebake"), volumes("nodebake-logs")),
        (vec!["base".to_owned(), "payload".to_owned()], vec![])
    );

    let golden: Value = serde_json::from_slice(&fs::read(cluster.folder.join("build/default.json")).unwrap()).unwrap();
    let qcow2 = cluster.folder.join("build/default.qcow2");
    let digest = Digest::of(&fs::read(&qcow2).unwrap()).to_string();
    assert_eq!(golden["qcow2"]["digest"], digest.as_str());
    let snippet = format!(
        "artifacts:\n  - kind: base-image\n    path: \"build/default.qcow2\"\n    sha256: {digest}\n    arch: amd64\n"
    );
    assert_eq!(ran.stdout, snippet);
    the_same_disk_twice(&qcow2, &cluster.folder.join("build/default.raw"));
    its_disk_is_clean(cluster, &golden);

    step("it is locked, and a worker is made from it");
    cluster.edit("\nartifacts:\n", &format!("\n{snippet}"));
    cluster.run(&["lock"]).succeeded();
    let ran = cluster.run(&["up", NODE]);
    assert_eq!(ran.code, Some(0), "{ran:#?}");
    let xml = lab.virsh(&["dumpxml", NODE]);
    assert!(!xml.contains("<serial>nb-") && !xml.contains(".payload."), "{xml}");
    let guest = Guest::new(lab, NODE);
    let boot = guest.next_audit(&[]);
    let stages: Vec<_> = guest.reports().into_iter().map(|report| report.stage).collect();
    assert!(!stages.iter().any(|stage| stage.starts_with("payload")), "{stages:?}");
    let nodes = cluster.api_nodes();
    assert_eq!(nodes[NODE]["status"]["nodeInfo"]["bootID"].as_str(), Some(boot.as_str()));
    cluster.run(&["down", "--yes"]).succeeded();
}

/// Both files are one disk, by qemu-img, and none has a file under it.
fn the_same_disk_twice(qcow2: &Path, raw: &Path) {
    let told =
        |words: &[&str], files: &[&Path]| Ran::quietly(Command::new("qemu-img").args(words).args(files)).succeeded();
    assert_eq!(told(&["compare", "-f", "qcow2", "-F", "raw"], &[qcow2, raw]), "Images are identical.\n");
    let info: Value = serde_json::from_str(&told(&["info", "--output=json"], &[qcow2])).unwrap();
    assert_eq!((&info["format"], info.get("backing-filename")), (&Value::from("qcow2"), None));
}

/// The root file system of a disk, copied out as `lab disk` does it.
fn tree_of(lab: &Lab, raw: &Path) -> PathBuf {
    let tree = lab.work().join("golden");
    fs::create_dir(&tree).unwrap();
    let mut copy = Command::new("cp");
    Ran::quietly(copy.arg("--sparse=always").arg(raw).arg(tree.with_extension("raw"))).succeeded();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lab/lab");
    let mut unshare = Command::new("unshare");
    unshare.args(["--mount", "--propagation", "private"]).arg(script).arg("--copy-tree").arg(&tree);
    Ran::quietly(&mut unshare).succeeded();
    tree
}

fn its_disk_is_clean(cluster: &Cluster, golden: &Value) {
    let tree = tree_of(cluster.lab, &cluster.folder.join("build/default.raw"));
    let mut findings = Findings::of("the disk of a golden image");
    let stat = fs::read_to_string(tree.with_extension("stat")).unwrap();
    let kinds: BTreeMap<&str, &str> = stat
        .lines()
        .filter_map(|line| {
            let cells: Vec<_> = line.split('\t').collect();
            Some((*cells.first()?, *cells.get(4)?))
        })
        .collect();
    let files_below = |folder: &str| {
        kinds.iter().filter(|(path, kind)| **kind == "f" && path.starts_with(folder)).map(|(path, _)| *path).collect()
    };
    let none: Vec<&str> = Vec::new();
    findings.same("machine-id", fs::read(tree.join("etc/machine-id")).unwrap(), Vec::new());
    for folder in ["/var/lib/cloud/", "/etc/ssh/ssh_host_", "/var/log/", "/etc/kubernetes/", "/var/lib/kubelet/"] {
        findings.same(folder, files_below(folder), none.clone());
    }
    for path in [
        "/etc/cloud/cloud-init.disabled",
        "/etc/netplan/50-cloud-init.yaml",
        "/usr/sbin/policy-rc.d",
        "/var/lib/dbus/machine-id",
        "/var/lib/nodebake/instance-id",
        "/var/lib/systemd/random-seed",
    ] {
        findings.same(path, kinds.get(path), None);
    }
    // What it is for.
    let payload = golden["payload"].as_str().unwrap();
    let serial = fs::read_to_string(tree.join("opt/nodebake/payload/serial")).unwrap_or_default();
    findings.same("the payload's serial", serial, format!("nb-{}\n", &payload[..12]));
    for program in ["containerd", "containerd-shim-runc-v2", "ctr", "kubelet", "runc"] {
        findings.same(program, kinds.get(format!("/opt/nodebake/payload/bin/{program}").as_str()), Some(&"f"));
    }
    let stamp = format!("/var/lib/nodebake/packages-installed.nb-{}", &payload[..12]);
    findings.same(&stamp, kinds.get(stamp.as_str()), Some(&"f"));
    let ca = secrets::Key::of(&cluster.folder.join("pki/ca-key.pem"));
    for file in ["default.raw", "default.qcow2"] {
        let file = cluster.folder.join("build").join(file);
        findings.same(&format!("pieces of the CA's key in {}", file.display()), ca.pieces_in(&file), 0);
    }
    findings.end();
}
