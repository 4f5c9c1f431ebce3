//! Nodes of two architectures in one cluster file.

use std::fs;
use std::process::Command;

use crate::mirror::{self, Item};
use crate::world::{World, must, sha256};

/// The second node is for arm64.
fn mixed() -> World {
    let world = World::new();
    let tree = world.path("mirror");
    world.edit("image: lab-trixie", "image: debian-13");
    mirror::debian(&tree, "20250814-2204", b"Debian");
    mirror::publish_arm64(&tree);
    world.edit("    address: 10.0.0.37\n", "    address: 10.0.0.37\n    arch: arm64\n");
    let place = Item::Runc.place("1.3.6").replace("amd64", "arm64");
    let digest = sha256(&tree.join(&place));
    let runc = format!("  - {{kind: runc, arch: arm64, url: 'https://{place}', sha256: {digest}}}\n");
    world.edit("\nartifacts:\n", &format!("\nartifacts:\n{runc}"));
    world.must(&["lock"]);
    world
}

#[test]
fn each_has_its_payload_and_is_carried_and_verified() {
    let world = mixed();
    let built = world.must(&["build", "--all"]).stdout;
    let rows: Vec<Vec<&str>> = built.lines().map(|line| line.split_whitespace().collect()).collect();
    let what: Vec<_> = rows.iter().map(|row| row[0]).collect();
    assert_eq!(what, ["payload", "payload", "worker-node-1", "worker-node-2"]);
    for (row, machine) in rows.iter().zip([62, 183]) {
        for program in ["/bin/kubelet", "/bin/containerd", "/cni/bridge"] {
            let mut isoinfo = Command::new("isoinfo");
            let bytes = must(isoinfo.args(["-R", "-x", program, "-i"]).arg(world.path(row[1])));
            assert_eq!(bytes[18..20], u16::to_le_bytes(machine), "{program} in {}", row[1]);
        }
    }
    // Each seed mounts its own.
    for (node, payload) in [("worker-node-1", rows[0][2]), ("worker-node-2", rows[1][2])] {
        let manifest = world.read(&format!("build/{node}/manifest.json"));
        let manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
        assert_eq!(format!("sha256:{}", manifest["payload"]["digest"].as_str().unwrap()), payload);
    }

    // The base images, which no build needs.
    world.must(&["fetch"]);
    let verified = world.must(&["verify", "--images"]).stdout;
    // Five inputs and a payload with its note for each architecture, eight files for each node, a head.
    let ok = verified.lines().filter(|line| line.ends_with(" ok")).count();
    assert_eq!((verified.lines().count(), ok), (31, 30), "{verified}");

    world.must(&["bundle", "export", "lab.tar"]);
    fs::remove_dir_all(world.path("cache")).unwrap();
    fs::remove_dir_all(world.path("build")).unwrap();
    world.must(&["bundle", "import", "lab.tar"]);
    assert_eq!(world.must(&["--offline", "build", "--all"]).stdout, built);
}
