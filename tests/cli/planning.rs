//! `plan` against a real libvirtd: what there is to do, and that nothing is written to find out.

use serde_json::{Value, json};

use crate::daemon::Daemon;
use crate::mirror::Item;
use crate::world::{Ran, World};

/// A locked cluster whose machines are to be on a daemon.
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
    let digest = |path: &str| world.sha256(path)[..12].to_owned();
    let payload = format!("{}, 1 MiB", digest(&world.payload("build")));
    let base = format!("{}, 1 MiB", digest(&format!("mirror/{}", Item::BaseImage.place(Item::BaseImage.version()))));
    let built = [image("base image", base.as_str()), image("payload", &payload), node("worker-node-2", &[])];
    let rows = [&shared[..], &built].concat();
    let cell = |row: &Value, key: &str| row[key].as_str().unwrap().to_owned();
    let mut wanted = vec![["KIND", "NAME", "ACTION", "COMMAND", "REASON"].map(ToOwned::to_owned)];
    wanted.extend(rows.iter().map(|row| {
        let reason = row["reasons"].get(0).map_or("-", |reason| reason.as_str().unwrap());
        [cell(row, "kind"), cell(row, "name"), cell(row, "action"), cell(row, "command"), reason.to_owned()]
    }));
    // Columns are three spaces or more apart.
    let cells =
        |line: &str| line.split("   ").map(|cell| cell.trim().to_owned()).filter(|cell| !cell.is_empty()).collect();
    let lines: Vec<Vec<String>> = ran.stdout.lines().map(cells).collect();
    assert_eq!(lines, wanted);
    let yaml = world.run(&["plan", "worker-node-2", "--output", "yaml"]);
    let document: Value = serde_yaml::from_str(&yaml.stdout).unwrap();
    assert_eq!(document["plan"], Value::Array(rows), "{document}");
    assert_eq!(world.tree(""), before);
}

#[test]
fn a_plan_needs_a_lock_that_fits() {
    let daemon = Daemon::start();
    let world = world(&daemon);
    world.edit("kubernetes: v1.35.1", "kubernetes: v1.35.2");
    let stale = world.run(&["build", "--all"]);
    assert_eq!((world.run(&["plan"]), stale.code), (stale.clone(), 3));
    let error = "the cluster file has no node worker-node-3; did you mean worker-node-1?";
    let unknown = Ran::failed(2, error, "`nodebake hosts` lists the nodes");
    assert_eq!(world.run(&["plan", "worker-node-3"]), unknown);
}
