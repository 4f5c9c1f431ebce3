//! `plan` against a real libvirtd: what there is to do, and that nothing is written to find out.

use serde_json::{Value, json};

use crate::daemon::Daemon;
use crate::world::{Ran, World};

/// A cluster on a daemon with nothing on it, or with our pool.
fn world(daemon: &Daemon) -> World {
    let world = World::locked();
    world.edit("uri: test:///default", &format!("uri: {}", daemon.uri));
    world
}

fn rows(ran: &Ran) -> Vec<Value> {
    let document: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((&document["apiVersion"], &document["cluster"]), (&json!("nodebake/v1"), &json!("seed")), "{document}");
    document["plan"].as_array().unwrap().clone()
}

fn row(kind: &str, name: &str, action: &str, command: Option<&str>, reasons: &[&str]) -> Value {
    json!({"kind": kind, "name": name, "action": action, "command": command, "reasons": reasons})
}

#[test]
fn an_empty_host_has_everything_to_do_and_nothing_is_written() {
    let daemon = Daemon::start();
    let world = world(&daemon);
    let before = world.tree("");
    let up = Some("up");
    let ran = world.run(&["plan", "-o", "json"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (6, ""), "{ran:?}");
    let shared = [
        row("network", "nodebake", "create", up, &["10.0.0.0/24"]),
        row("pool", "nodebake", "create", up, &["/var/lib/libvirt/nodebake"]),
        row("pool", "nodebake-logs", "create", up, &["/var/lib/libvirt/nodebake-logs"]),
    ];
    let image = |name, reason| row("image", name, "upload", up, &[reason]);
    let node = |name, reasons| row("node", name, "create", up, reasons);
    let unbuilt = [
        image("base image", "after build"),
        image("payload", "after build"),
        node("worker-node-1", &["after build"]),
        node("worker-node-2", &["after build"]),
    ];
    assert_eq!(rows(&ran), [&shared[..], &unbuilt].concat());
    assert_eq!(world.tree(""), before);
    assert_eq!(daemon.open().domains().unwrap(), []);
    assert_eq!(daemon.open().pool("nodebake").unwrap(), None);

    world.must(&["build", "--all"]);
    let before = world.tree("");
    let ran = world.run(&["plan", "worker-node-2"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (6, ""), "{ran:?}");
    let lines: Vec<Vec<_>> = ran.stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["KIND", "NAME", "ACTION", "COMMAND", "REASON"]);
    assert_eq!(lines[5][..4], ["image", "payload", "upload", "up"]);
    assert_eq!(lines[6..], [["node", "worker-node-2", "create", "up", "-"]]);
    let yaml = world.run(&["plan", "worker-node-2", "--output", "yaml"]);
    let document: Value = serde_yaml::from_str(&yaml.stdout).unwrap();
    assert_eq!(document["plan"].as_array().unwrap().len(), 6, "{document}");
    assert_eq!(world.tree(""), before);
}

#[test]
fn a_plan_needs_a_lock_that_fits() {
    let daemon = Daemon::start();
    let world = world(&daemon);
    world.edit("kubernetes: v1.35.1", "kubernetes: v1.35.2");
    assert_eq!(world.run(&["plan"]).code, 3);
    let error = "the cluster file has no node worker-node-3; did you mean worker-node-1?";
    let unknown = Ran::failed(2, error, "`nodebake status` lists the nodes");
    assert_eq!(world.run(&["plan", "worker-node-3"]), unknown);
}
