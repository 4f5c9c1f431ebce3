//! Blobs of the cache that something has happened to: found at the next use, and repaired.

use std::fs::{self, File};
use std::path::Path;

use crate::daemon::Daemon;
use crate::guests::{Guests, good};
use crate::mirror::Item;
use crate::rebuilding;
use crate::world::{Ran, World, sha256};

/// What it is called, and how it is done to a file.
type Hurt<'a> = (&'a str, &'a dyn Fn(&Path));

fn writable(path: &Path) -> File {
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    File::options().read(true).write(true).open(path).unwrap()
}

fn flip(path: &Path) {
    use std::os::unix::fs::FileExt as _;
    let file = writable(path);
    let mut byte = [0];
    file.read_exact_at(&mut byte, 1000).unwrap();
    file.write_all_at(&[!byte[0]], 1000).unwrap();
}

#[test]
fn what_happened_to_a_blob_is_found_and_repaired() {
    let world = World::locked();
    world.must(&["fetch"]);
    let name = world.cached(Item::Kubelet);
    let blob = world.path(&name);
    let good = fs::read(&blob).unwrap();
    let flip_unseen = |path: &Path| {
        let modified = fs::metadata(path).unwrap().modified().unwrap();
        flip(path);
        writable(path).set_modified(modified).unwrap();
    };
    let grow = |path: &Path| writable(path).set_len(good.len() as u64 + 1).unwrap();
    let shrink = |path: &Path| writable(path).set_len(0).unwrap();
    let replace = |path: &Path| {
        fs::remove_file(path).unwrap();
        fs::write(path, good.iter().map(|byte| !byte).collect::<Vec<_>>()).unwrap();
    };
    let remove = |path: &Path| fs::remove_file(path).unwrap();
    let hurts: [Hurt; 6] = [
        ("a byte", &flip),
        ("a byte, with the time put back", &flip_unseen),
        ("longer", &grow),
        ("empty", &shrink),
        ("another file", &replace),
        ("gone", &remove),
    ];
    for (what, hurt) in hurts {
        hurt(&blob);
        let damaged = if blob.exists() { format!(", whose copy FOLDER/{name} is damaged") } else { String::new() };
        let error = format!("offline, and the cache lacks kubelet 1.35.1 (amd64){damaged}");
        let hint = "run `nodebake fetch` without --offline where there is a network or a mirror";
        assert_eq!(world.run(&["build", "--all", "--offline"]), Ran::failed(1, &error, hint), "{what}");
        let ran = world.must(&["fetch"]);
        assert!(ran.stderr.contains("; fetched 1 of them now ("), "{what}: {ran:?}");
        assert!(fs::read(&blob).unwrap() == good, "{what}");
        assert_eq!(fs::metadata(&blob).unwrap().permissions(), std::os::unix::fs::PermissionsExt::from_mode(0o100_444));
        assert_eq!(world.tree("cache/blobs/sha256").len(), 1 + 2 * 6, "{what}");
    }
    world.must(&["build", "--all", "--offline"]);
}

#[test]
fn a_right_blob_that_was_touched_stays_as_it_is() {
    let world = World::locked();
    world.must(&["fetch"]);
    let name = world.cached(Item::Kubelet);
    let blob = world.path(&name);
    let inode = world.tree(&name)[&name].stamp.0;
    // As a copy from a backup, or a process that was killed before it had set the mode.
    drop(writable(&blob));
    fs::remove_file(world.path(&format!("{name}.verified"))).unwrap();
    let ran = world.must(&["fetch", "--offline"]);
    assert!(!ran.stderr.contains("fetched"), "{ran:?}");
    let found = &world.tree(&name)[&name];
    assert_eq!((found.stamp.0, found.mode), (inode, 0o100_444));
    assert!(world.path(&format!("{name}.verified")).exists());
    let before = world.tree("cache");
    world.must(&["fetch", "--offline"]);
    assert_eq!(world.tree("cache"), before);
}

/// As a disk does that gives other bytes than were written: what the cache has verified is not read twice, and of a payload
/// of an earlier run nobody knows.
#[test]
fn a_base_image_is_sent_as_the_cache_vouches_for_it_and_a_payload_is_not() {
    let daemon = Daemon::start();
    if !daemon.root {
        return;
    }
    let world = rebuilding::world(&daemon.uri);
    let _guests = Guests::of(&daemon, good);
    world.must(&["fetch"]);
    let blob = world.cached(Item::BaseImage);
    let digest = world.sha256(&blob);
    flip(&world.path(&blob));
    world.vouch(&blob);
    let vouched = world.sha256(&blob);
    assert_ne!(vouched, digest);
    world.must(&["up", "worker-node-1"]);
    let volume = |name: &str| daemon.folder.path().join("lib/nodebake").join(name);
    assert_eq!(sha256(&volume(&format!("nodebake.base.{digest}.qcow2"))), vouched);

    world.must(&["down", "--yes"]);
    let payload = world.payload("build");
    let right = world.sha256(&payload);
    let name = format!("nodebake.payload.{right}.iso");
    fs::remove_file(volume(&name)).unwrap();
    flip(&world.path(&payload));
    let got = world.sha256(&payload);
    let ran = world.run(&["up", "worker-node-1", "-o", "json"]);
    let error = format!("uploading the payload: the file for volume {name} has sha256 {got}, not {right}");
    let hint = "remove the file and build again";
    assert!(ran.stderr.ends_with(&format!("error: {error}\n\nhint: {hint}\n")), "{ran:?}");
    // It is in the document too.
    let printed: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    let errors = serde_json::json!([{"message": error, "hint": hint}]);
    assert_eq!((ran.code, &printed["nodes"], &printed["errors"]), (4, &serde_json::json!([]), &errors));
}
