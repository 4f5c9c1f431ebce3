//! Nodes by name, by group and all; and what a verb does while another run is at work.

use std::fs::File;

use rustix::fs::{FlockOperation, flock};
use serde_json::Value;

use crate::daemon::Daemon;
use crate::world::{Ran, World};

fn world(daemon: &Daemon) -> World {
    let world = World::locked();
    world.edit("uri: test:///default", &format!("uri: {}", daemon.uri));
    world.edit("  - name: worker-node-2\n", "  - name: worker-node-2\n    group: large\n");
    world.edit("\nnodes:\n", "\ngroups:\n  large:\n    memory: 16GiB\n\nnodes:\n");
    world
}

fn planned(world: &World, arguments: &[&str]) -> Vec<String> {
    let ran = world.run(&[&["plan", "-o", "json"], arguments].concat());
    let document: Value = serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"));
    let rows = document["plan"].as_array().unwrap();
    let nodes = rows.iter().filter(|row| row["kind"] == "node");
    nodes.map(|row| row["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn groups_stand_for_their_nodes() {
    let daemon = Daemon::start();
    let world = world(&daemon);
    let (one, two) = ("worker-node-1", "worker-node-2");
    for (arguments, wanted) in [
        (&[][..], &[one, two][..]),
        (&["-g", "large"], &[two]),
        (&["--group", "large", one], &[one, two]),
        (&[two], &[two]),
    ] {
        assert_eq!(planned(&world, arguments), wanted, "{arguments:?}");
    }
    let unknown = Ran::failed(2, "no node is of group \"small\"", "there are nodes of large");
    let verbs = [
        "up", "plan", "start", "stop", "restart", "rebuild", "down", "remove", "status", "wait", "doctor", "verify",
        "hosts",
    ];
    for verb in verbs {
        assert_eq!(world.run(&[verb, "-g", "small"]), unknown, "{verb}");
    }
    // What replaces or removes takes nothing for granted.
    for verb in ["rebuild", "remove"] {
        assert_eq!(world.run(&[verb]).code, 2, "{verb}");
    }
    let consent = Ran::failed(2, "this needs your consent, and there is no terminal to ask on", "add --yes");
    assert_eq!(world.run(&["rebuild", "--all"]), consent);
    assert_eq!(world.run(&["remove", "--gone"]), Ran::ok("", "nothing of this cluster is there\n"));
}

#[test]
fn who_is_at_work_is_told() {
    let daemon = Daemon::start();
    let world = world(&daemon);
    let folder = File::open(world.path("")).unwrap();
    flock(&folder, FlockOperation::LockExclusive).unwrap();
    let own = std::fs::read("/proc/self/cmdline").unwrap();
    let own: Vec<_> = own.split(|byte| *byte == 0).map(String::from_utf8_lossy).collect();
    let by = format!("process {}: {}", std::process::id(), own.join(" ").trim());
    let error = format!("another nodebake is changing machines of this cluster ({by})");
    let wanted = Ran::failed(1, &error, "wait for it to end, then run the command again");
    for verb in [
        &["up"][..],
        &["start"],
        &["stop"],
        &["restart"],
        &["rebuild", "--all", "--yes"],
        &["down"],
        &["remove", "--gone"],
    ] {
        assert_eq!(world.run(verb), wanted, "{verb:?}");
    }
    // Who only looks is not kept waiting.
    assert_eq!(planned(&world, &[]).len(), 2);
    drop(folder);
    assert_eq!(world.run(&["down"]), Ran::ok("", "nothing of this cluster is there\n"));
}
