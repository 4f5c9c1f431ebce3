//! Files of the user's own, by path: copied into the cache and verified there.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use crate::mirror::{self, Item};
use crate::world::{Ran, World, must};

const WRONG: &str = "if the file is the right one, give its digest in the cluster file and run `nodebake lock`; else \
                     somebody has tampered with it";

/// A world that takes the kubelet from a file beside the cluster file.
fn with_own_kubelet() -> World {
    let world = World::new();
    let upstream = world.path("mirror").join(Item::Kubelet.place("1.35.1"));
    fs::create_dir(world.path("own")).unwrap();
    fs::rename(upstream, world.path("own/kubelet")).unwrap();
    let own = format!("  - {{kind: kubelet, path: own/kubelet, sha256: {}}}\n", world.sha256("own/kubelet"));
    world.edit("\nartifacts:\n", &format!("\nartifacts:\n{own}"));
    world.must(&["lock"]);
    world
}

/// Where the cache keeps it.
fn cached(world: &World) -> String {
    format!("cache/blobs/sha256/{}", world.sha256("own/kubelet"))
}

#[test]
fn an_own_file_is_copied_and_verified() {
    // Also offline: no network is needed for it.
    for arguments in [&["build", "--all"][..], &["build", "--all", "--offline"]] {
        let world = with_own_kubelet();
        let blob = world.path(&cached(&world));
        world.must(&["fetch"]);
        fs::remove_file(&blob).unwrap();
        let ran = world.must(arguments);
        assert!(ran.stderr.starts_with("fetch kubelet 1.35.1: done "), "{ran:?}");
        assert!(fs::read(blob).unwrap() == fs::read(world.path("own/kubelet")).unwrap());
        // From then on the cache's copy counts.
        fs::remove_file(world.path("own/kubelet")).unwrap();
        fs::remove_dir_all(world.path("build")).unwrap();
        world.must(&["build", "--all", "--offline"]);
    }
}

#[test]
fn an_own_file_that_is_another_one_is_refused() {
    let world = with_own_kubelet();
    let (bytes, locked) = (fs::read(world.path("own/kubelet")).unwrap(), world.sha256("own/kubelet"));
    let about = "kubelet 1.35.1 (amd64) from FOLDER/own/kubelet has";
    let put = |bytes: &[u8]| fs::write(world.path("own/kubelet"), bytes).unwrap();
    put(&[&bytes[1..], b"!"].concat());
    let digest = format!("{about} digest sha256:{}, and sha256:{locked} is locked", world.sha256("own/kubelet"));
    assert_eq!(last(world.run(&["fetch"])), Ran::failed(4, &digest, WRONG));
    put(b"short");
    let size = format!("{about} 5 bytes, and {} are locked", bytes.len());
    assert_eq!(last(world.run(&["fetch"])), Ran::failed(4, &size, WRONG));
    put(&bytes);
    assert!(!world.path(&cached(&world)).exists());
}

/// Without what is said of the other files.
fn last(ran: Ran) -> Ran {
    let lines = ran.stderr.lines().filter(|line| !line.starts_with("fetch "));
    Ran { stderr: lines.fold(String::new(), |text, line| text + line + "\n"), ..ran }
}

#[test]
fn own_files_that_are_not_there_are_named_with_the_rest() {
    let world = with_own_kubelet();
    fs::remove_file(world.path("own/kubelet")).unwrap();
    let runc = Item::Runc.place("1.3.6");
    fs::remove_file(world.path("mirror").join(&runc)).unwrap();
    let error = format!(
        "files are missing: there is no FOLDER/own/kubelet; the mirror lacks https://{runc}: there is no FOLDER/mirror/{runc}"
    );
    assert_eq!(last(world.run(&["fetch"])), Ran::failed(1, &error, "check the path that the cluster file gives"));
    let error = "offline, and the cache lacks kubelet 1.35.1 (amd64), whose file FOLDER/own/kubelet is not there, runc \
                 1.3.6 (amd64)";
    let hint = "run `nodebake fetch` without --offline where there is a network or a mirror";
    assert_eq!(world.run(&["fetch", "--offline"]), Ran::failed(1, error, hint));
}

#[test]
fn a_program_of_the_users_own_is_in_payload_and_manifest() {
    let world = World::new();
    fs::write(world.path("crictl"), mirror::program("true")).unwrap();
    let digest = world.sha256("crictl");
    let own = format!("\nartifacts:\n  - {{kind: binary, name: crictl, path: crictl, sha256: {digest}}}\n");
    world.edit("\nartifacts:\n", &own);
    world.must(&["lock"]);
    world.must(&["build", "--all"]);
    let payload = world.path(&world.payload("build"));
    let read = must(Command::new("isoinfo").args(["-R", "-x", "/bin/crictl", "-i"]).arg(payload));
    assert!(read == mirror::program("true"), "{} bytes", read.len());
    let manifest: Value = serde_json::from_str(&world.read("build/worker-node-1/manifest.json")).unwrap();
    let wanted = json!({
        "kind": "binary",
        "version": "crictl",
        "arch": "amd64",
        "from": "crictl",
        "size": mirror::program("true").len(),
        "checksum": format!("sha256:{digest}"),
    });
    assert_eq!(manifest["artifacts"].as_array().unwrap().last(), Some(&wanted));
}
