//! Nodes of a cluster that are rolled and removed, on a real libvirtd and QEMU: guests and kubelets are played by the test,
//! the apiserver is the lab's stand-in.

use std::sync::Arc;

use nodebake::machine::DomainInfo;
use serde_json::json;

use crate::apiserver::{Apiserver, NODE, pod};
use crate::daemon::Daemon;
use crate::guests::{Guests, good};
use crate::rebuilding;
use crate::world::{Ran, World};

const OTHER: &str = "worker-node-2";

/// A cluster of the apiserver's CA, whose machines register themselves there.
pub(crate) fn cluster(daemon: &Daemon) -> (World, Arc<Apiserver>, Guests) {
    let world = rebuilding::world(&daemon.uri);
    let api = join(&world);
    let guests = members(daemon, &api);
    (world, api, guests)
}

/// An apiserver, whose CA and kubeconfig a cluster gets.
pub(crate) fn join(world: &World) -> Arc<Apiserver> {
    let api = Arc::new(Apiserver::start(true));
    for file in ["ca.pem", "ca-key.pem"] {
        std::fs::write(world.path("pki").join(file), std::fs::read(api.file(file)).unwrap()).unwrap();
    }
    std::fs::copy(api.file("kubeconfig"), world.path("admin.kubeconfig")).unwrap();
    world.edit("  pki: pki\n", "  pki: pki\n  kubeconfig: admin.kubeconfig\n");
    api
}

/// Guests of a daemon that come up and register themselves.
pub(crate) fn members(daemon: &Daemon, api: &Arc<Apiserver>) -> Guests {
    Guests::of(daemon, member(api))
}

/// One that comes up and registers itself.
pub(crate) fn member(api: &Arc<Apiserver>) -> impl Fn(&DomainInfo) -> Option<String> + Send + 'static {
    let registers = Arc::clone(api);
    move |domain| {
        let says = good(domain)?;
        let event: serde_json::Value = serde_json::from_str(says.lines().next()?).ok()?;
        registers.register(&domain.name, event["boot"].as_str()?, true);
        Some(says)
    }
}

/// A run that is waited for no longer than such guests need, which hear no power button.
pub(crate) fn run(world: &World, arguments: &[&str]) -> Ran {
    world.run(&[arguments, &["--yes", "--stall", "3"]].concat())
}

#[test]
fn nodes_leave_the_cluster_one_after_the_other_and_come_back() {
    let daemon = Daemon::start();
    if !daemon.root {
        return;
    }
    let (world, api, _guests) = cluster(&daemon);
    assert_eq!(world.run(&["up", "--stall", "20"]).code, 0);
    let uids = || [NODE, OTHER].map(|name| api.node(name).map(|node| node.metadata.uid.unwrap()));
    let first = uids();
    let nothing = "nothing differs from the cluster file; --same, or a node's name, replaces it all the same\n";
    let ran = run(&world, &["rebuild", "--all", "--force"]);
    assert_eq!((ran.code, ran.stdout.as_str(), uids()), (0, "", first.clone()), "{ran:?}");
    assert!(ran.stderr.ends_with(nothing), "{ran:?}");

    // What would be lost is told of all nodes, and nothing is done.
    world.edit("  disk: 20GiB\n", "  disk: 20GiB\n  kubelet:\n    config:\n      maxPods: 77\n");
    for (name, node) in [("alone", NODE), ("alone-too", OTHER)] {
        api.put(&pod(name, None, &json!({"nodeName": node})));
    }
    let since = api.requests();
    let ran = run(&world, &["rebuild", "--all", "--force"]);
    let errors: Vec<_> = ran.stderr.lines().filter(|line| line.starts_with("error: ")).collect();
    let refused = |node: &str, pod: &str| {
        format!(
            "error: {node}: draining it: {node}: pod default/{pod} has no controller that would make it anew \
             (--allow-unmanaged)"
        )
    };
    assert_eq!((ran.code, errors), (2, vec![&*refused(NODE, "alone"), &refused(OTHER, "alone-too")]), "{ran:?}");
    assert_eq!(api.changes(since), Vec::<String>::new());

    // One is out at a time.
    let ran = run(&world, &["rebuild", "--all", "--force", "--allow-unmanaged"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let second = uids();
    assert!(first.iter().zip(&second).all(|(first, second)| second.is_some() && first != second), "{second:?}");
    let of_nodes: Vec<_> = api.changes(since).into_iter().filter(|line| line.contains(" nodes ")).collect();
    let leaves = |node: &str| ["patch", "delete", "create"].map(|verb| format!("{verb} nodes {node}"));
    assert_eq!(of_nodes, [leaves(NODE), leaves(OTHER)].concat());
    assert_eq!(run(&world, &["rebuild", "--all", "--force"]).code, 0);
    assert_eq!(uids(), second);

    let ran = run(&world, &["remove", OTHER]);
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "worker-node-2 removed\n"), "{ran:?}");
    assert_eq!(uids(), [second[0].clone(), None]);
    world.must(&["down", "--yes"]);
}
