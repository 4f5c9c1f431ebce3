//! Nodes that go from one hypervisor to another: two real libvirtds and QEMU; guests and kubelets are played by the test, the
//! apiserver is the lab's stand-in.

use std::process::Stdio;
use std::sync::Arc;

use nodebake::machine::{Mark, MarkState};
use serde_json::{Value, json};

use crate::apiserver::{Apiserver, pod};
use crate::daemon::Daemon;
use crate::guests::{Guests, good, report};
use crate::hypervisors::{Lab, cluster, error_of, nodes};
use crate::leaving::{join, member, members, run};
use crate::wire::{Fate, Wire};
use crate::world::{Ran, World};

/// Two hosts, whose networks are said to meet, with two nodes on each: `worker-node-1` and `n4`, `n3` and `worker-node-2`.
struct Site {
    lab: Lab,
    api: Arc<Apiserver>,
    guests: [Guests; 2],
}

impl Site {
    fn new() -> Option<Self> {
        let lab = Lab::new()?;
        lab.world.edit("\n  cidr: 10.0.0.0/24\n", "\n  apart: true\n  cidr: 10.0.0.0/24\n");
        let api = join(&lab.world);
        let guests = [members(&lab.a, &api), members(&lab.b, &api)];
        let ran = lab.world.run(&["up", "--stall", "20"]);
        assert_eq!((ran.code, lab.machines()), (0, [names("n4 worker-node-1"), names("n3 worker-node-2")]), "{ran:?}");
        Some(Self { lab, api, guests })
    }

    /// These guests hear no power button.
    fn run(&self, arguments: &[&str]) -> Ran {
        run(&self.lab.world, &[arguments, &["--force"]].concat())
    }

    /// Names of volumes of a node at each host.
    fn volumes(&self, node: &str) -> [usize; 2] {
        [&self.lab.a, &self.lab.b].map(|host| {
            let host = host.open();
            for pool in ["nodebake", "nodebake-logs"] {
                host.refresh_pool(pool).unwrap();
            }
            let all = host.all_volumes().unwrap();
            all.iter().filter(|(_, volume)| volume.name.contains(&format!(".{node}."))).count()
        })
    }

    fn changes(&self, since: usize) -> Vec<String> {
        self.api.changes(since).into_iter().filter(|line| line.contains(" nodes ")).collect()
    }
}

fn names(names: &str) -> Vec<String> {
    names.split_whitespace().map(str::to_owned).collect()
}

fn leaves(node: &str) -> Vec<String> {
    ["patch", "delete", "create"].map(|verb| format!("{verb} nodes {node}")).to_vec()
}

#[test]
fn a_node_moves_where_it_is_sent() {
    let Some(site) = Site::new() else { return };
    let (world, since) = (&site.lab.world, site.api.requests());
    let uid = || site.api.node("n4").unwrap().metadata.uid;
    let before = uid();
    let ran = site.run(&["rebuild", "n4", "--to", "b"]);
    let moved = [names("worker-node-1"), names("n3 n4 worker-node-2")];
    assert_eq!((ran.code, site.lab.machines()), (0, moved.clone()), "{ran:?}");
    let row = ran.stderr.lines().find(|line| line.starts_with("node ")).unwrap_or_default();
    let wanted = ["node", "n4", "b", "move", "rebuild", "n4", "--to", "b", "moves", "from", "a", "to", "b"];
    assert_eq!(row.split_whitespace().collect::<Vec<_>>(), wanted, "{ran:?}");
    assert_eq!((site.changes(since), site.volumes("n4")[0]), (leaves("n4"), 0));
    assert_ne!(uid(), before);
    // Asked for again, there is nothing more to do.
    let since = site.api.requests();
    let ran = site.run(&["rebuild", "n4", "--to", "b"]);
    let nothing = "all are at b, and nothing differs from the cluster file; --same replaces them all the same\n";
    assert_eq!((ran.code, site.changes(since).len()), (0, 0), "{ran:?}");
    assert!(ran.stderr.ends_with(nothing), "{ran:?}");
    // The cluster file moves a node too.
    world.edit("{name: n4, address: 10.0.0.44}", "{name: n4, address: 10.0.0.44, hypervisor: a}");
    let planned = world.run(&["plan", "n4", "-o", "json"]);
    let document: Value = serde_json::from_str(&planned.stdout).unwrap();
    let row = document["plan"].as_array().unwrap().iter().find(|row| row["name"] == "n4").unwrap();
    assert_eq!((&row["action"], &row["reasons"]), (&json!("rebuild"), &json!(["hypervisor b -> a"])), "{planned:?}");
    let ran = site.run(&["rebuild", "--all"]);
    assert_eq!((ran.code, site.lab.machines()), (0, [names("n4 worker-node-1"), names("n3 worker-node-2")]), "{ran:?}");

    // What cannot be is refused before anything is done.
    let since = site.api.requests();
    let there = "there are a, b";
    let bound = "change or remove `hypervisor:` beside the node; `nodebake rebuild NODE` then moves it";
    for (arguments, error, hint) in [
        (&["rebuild", "n3", "--to", "x", "--yes"][..], "the cluster file has no hypervisor x", there),
        (&["evacuate", "x", "--yes"], "the cluster file has no hypervisor x", there),
        (&["rebuild", "n4", "--to", "b", "--yes"], "the cluster file binds n4 to a", bound),
        (&["evacuate", "a", "--yes"], "the cluster file binds n4 to a", bound),
    ] {
        assert_eq!(world.run(arguments), Ran::failed(2, error, hint), "{arguments:?}");
    }
    assert_eq!(site.changes(since), Vec::<String>::new());
    world.must(&["down", "--yes"]);
}

#[test]
fn a_node_that_does_not_come_up_elsewhere_comes_back() {
    let Some(mut site) = Site::new() else { return };
    let before = (site.lab.machines(), site.volumes("n4"));
    site.guests[1].play(|_| Some(report("containerd-active", "failed", "Ym9vbQo=")));
    let ran = site.run(&["rebuild", "n4", "--to", "b"]);
    let error = "error: n4: its new machine at b did not come up, and the old one was started again: n4: failed to get to \
                 \"containerd active\"";
    assert_eq!((ran.code, error_of(&ran)), (5, error), "{ran:?}");
    let hint = "hint: the node is what it was: mend the cause, and run `nodebake rebuild n4 --to b` again\n";
    assert!(ran.stderr.ends_with(hint), "{ran:?}");
    assert_eq!(site.lab.machines(), before.0);
    // Its disk and two logs, and what is kept of the console of the run before; there, the logs tell what went wrong.
    assert_eq!((before.1, site.volumes("n4")), ([3, 0], [4, 2]));
    let planned = site.lab.world.run(&["plan", "-o", "json"]);
    assert!(nodes(&planned).values().all(|(_, action)| action == "nothing"), "{planned:?}");

    // The host where it would go goes away in the middle: nothing of the node is touched until it is back.
    site.guests[1].play(member(&site.api));
    site.lab.b.kill();
    let ran = site.run(&["rebuild", "n4", "--to", "b"]);
    assert_eq!((ran.code, error_of(&ran).ends_with("; nothing is known of n4")), (1, true), "{ran:?}");
    let ran = site.run(&["evacuate", "b"]);
    assert_eq!((ran.code, error_of(&ran).starts_with("error: hypervisor b: ")), (1, true), "{ran:?}");
    assert_eq!(site.lab.a.open().domains().unwrap().len(), 2);
}

#[test]
fn a_hypervisor_is_left_by_one_node_after_the_other() {
    let Some(site) = Site::new() else { return };
    for (name, node) in [("web-1", "worker-node-1"), ("web-2", "n4")] {
        site.api.put(&pod(name, Some("ReplicaSet"), &json!({"nodeName": node})));
    }
    let among = json!([{"key": "app", "operator": "In", "values": ["web-1", "web-2"]}]);
    let budget = json!({
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"namespace": "default", "name": "web"},
        "spec": {"minAvailable": 1, "selector": {"matchExpressions": among}},
    });
    site.api.put(&budget);
    let since = site.api.requests();
    // The second may not leave as long as nobody makes the first one's pod anew.
    let ran = site.run(&["evacuate", "a", "--drain-timeout", "3"]);
    let error = "error: n4: draining it: not drained in 3 s: default/web-2: Cannot evict pod as it would violate the pod's \
                 disruption budget.";
    assert_eq!((ran.code, error_of(&ran)), (1, error), "{ran:?}");
    assert_eq!(site.lab.machines(), [names("n4"), names("n3 worker-node-1 worker-node-2")]);
    let cordon = || "patch nodes n4".to_owned();
    assert_eq!(site.changes(since), [leaves("worker-node-1"), vec![cordon(), cordon()]].concat());

    site.api.put(&pod("web-1", Some("ReplicaSet"), &json!({"nodeName": "n3"})));
    let ran = site.run(&["evacuate", "a"]);
    assert_eq!((ran.code, site.lab.machines()), (0, [vec![], names("n3 n4 worker-node-1 worker-node-2")]), "{ran:?}");
    assert_eq!((site.volumes("n4")[0], site.volumes("worker-node-1")[0]), (0, 0));
    let ran = site.run(&["evacuate", "a"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, "no machine of this cluster is there\n"), "{ran:?}");
    let planned = site.lab.world.run(&["plan", "-o", "json"]);
    assert!(nodes(&planned).values().all(|(place, action)| place == "b" && action == "nothing"), "{planned:?}");
    site.lab.world.must(&["down", "--yes"]);
}

/// A move whose run was cut off when its machine had just been given up: the same command gives it up first, and says so.
#[test]
fn a_move_that_was_given_up_is_no_success() {
    let Some(site) = Site::new() else { return };
    site.guests[1].play(|_| None);
    let mut run = site.lab.world.command(&[]);
    let run = run.args(["rebuild", "n4", "--to", "b", "--yes", "--force", "--stall", "5"]).stdout(Stdio::null());
    let mut run = run.stderr(Stdio::null()).spawn().unwrap();
    let host = site.lab.b.open();
    let machine = || host.domains().unwrap().into_iter().find(|domain| domain.name == "n4" && domain.state.is_active());
    let given_up = loop {
        if let Some(machine) = machine() {
            break machine;
        }
        assert_eq!(run.try_wait().unwrap(), None);
        std::thread::sleep(std::time::Duration::from_millis(50));
    };
    run.kill().unwrap();
    run.wait().unwrap();
    let mark = Mark { state: MarkState::Failed, ..given_up.mark().unwrap().clone() };
    host.set_mark(given_up.uuid, &mark).unwrap();
    site.guests[1].play(member(&site.api));
    let ran = site.run(&["rebuild", "n4", "--to", "b"]);
    let error = "error: n4 did not go to b: an earlier machine there had not come up, and was given up first";
    assert_eq!((ran.code, error_of(&ran)), (1, error), "{ran:?}");
    assert_eq!(site.lab.machines(), [names("n4 worker-node-1"), names("n3 worker-node-2")]);
    let ran = site.run(&["rebuild", "n4", "--to", "b"]);
    assert_eq!((ran.code, site.lab.machines()), (0, [names("worker-node-1"), names("n3 n4 worker-node-2")]), "{ran:?}");
    site.lab.world.must(&["down", "--yes"]);
}

/// Two hosts with one pool: what is of a node at one of them is no leftover at the other.
#[test]
fn hosts_that_share_a_pool_take_nothing_from_each_other() {
    let Some(lab) = Lab::new() else { return };
    let world = &lab.world;
    world.edit("\n  cidr: 10.0.0.0/24\n", "\n  apart: true\n  cidr: 10.0.0.0/24\n");
    let pool = lab.a.folder.path().join("lib/both");
    for host in [&lab.a, &lab.b] {
        let (uri, path) = (&host.uri, format!(", poolPath: {}}}", pool.display()));
        world.edit(&format!("uri: '{uri}'}}"), &format!("uri: '{uri}'{path}"));
    }
    // Nobody plays guests: the machines are made and started, which is all that matters here.
    assert_eq!(world.run(&["up", "--stall", "1"]).code, 5);
    let there = [names("n4 worker-node-1"), names("n3 worker-node-2")];
    let files = || {
        let host = lab.b.open();
        host.refresh_pool("nodebake").unwrap();
        host.volumes("nodebake").unwrap().into_iter().map(|volume| volume.name).collect::<Vec<_>>()
    };
    let before = (lab.machines(), files());
    assert_eq!((&before.0, before.1.iter().filter(|name| name.contains(".root.")).count()), (&there, 4));
    let planned = world.run(&["plan", "-o", "json"]);
    assert!(nodes(&planned).values().all(|(_, action)| action != "clear"), "{planned:?}");
    let ran = run(world, &["rebuild", "n4", "--to", "b"]);
    let error = "error: n4 cannot go from a to b: their pools hold the same files";
    assert_eq!((ran.code, error_of(&ran)), (2, error), "{ran:?}");
    world.run(&["up", "--stall", "1"]);
    assert_eq!(lab.machines(), there);
    assert_eq!(files().iter().filter(|name| name.contains(".root.")).count(), 4);
    world.run(&["down", "--yes"]);
}

/// Two hosts with a wire to each, and a cluster of one node.
struct Wired {
    world: World,
    wires: [Wire; 2],
    hosts: [Daemon; 2],
    _guests: [Guests; 2],
}

impl Wired {
    fn new() -> Option<Self> {
        let hosts = [Daemon::start(), Daemon::start()];
        if !hosts[0].root {
            return None;
        }
        let wires = [0, 1].map(|at: usize| Wire::new(&hosts[at].folder.path().join("run/libvirt-sock")));
        let sites = format!("  a: {{uri: '{}'}}\n  b: {{uri: '{}'}}\n", wires[0].uri, wires[1].uri);
        let world = cluster(&sites, &[("n1", 41)]);
        world.edit("\n  cidr: 10.0.0.0/24\n", "\n  apart: true\n  cidr: 10.0.0.0/24\n");
        let guests = [Guests::of(&hosts[0], good), Guests::of(&hosts[1], good)];
        world.must(&["up", "--stall", "20"]);
        Some(Self { world, wires, hosts, _guests: guests })
    }

    /// Sends the node somewhere, and has the run meet a fate at a call to one of the hosts; gives how many calls it made to
    /// each, and how it ended.
    fn send(&self, to: &str, due: Option<(usize, usize, Fate)>) -> ([usize; 2], String) {
        let mut command = self.world.command(&[]);
        command.args(["rebuild", "n1", "--to", to, "--yes", "--force", "--stall", "2"]);
        let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        for (at, wire) in self.wires.iter().enumerate() {
            wire.begin(child.id(), due.filter(|due| due.0 == at).map(|(_, call, fate)| (call, fate)));
        }
        let output = child.wait_with_output().unwrap();
        let calls = [0, 1].map(|at: usize| self.wires[at].calls().len());
        self.wires.iter().for_each(|wire| wire.begin(0, None));
        (calls, format!("{due:?}: {}\n{}", output.status, String::from_utf8(output.stderr).unwrap()))
    }

    /// Whether the node's machine is at each host, and runs.
    fn machines(&self) -> [Option<bool>; 2] {
        [0, 1].map(|at: usize| self.hosts[at].open().domains().unwrap().first().map(|domain| domain.state.is_active()))
    }

    /// Disks and seeds of the node at a host.
    fn disks(&self, at: usize) -> Vec<String> {
        let host = self.hosts[at].open();
        host.refresh_pool("nodebake").unwrap();
        let names = host.volumes("nodebake").unwrap().into_iter().map(|volume| volume.name);
        names.filter(|name| name.contains(".n1.")).collect()
    }
}

/// Killed, or the line cut, before and after calls to the two daemons that change something; then a plain `up`, and the same
/// command again where that brought the node back. `NODEBAKE_KILLS` has every call meet every fate (`make soak`).
#[test]
fn a_move_that_is_cut_off_anywhere_comes_to_an_end() {
    let Some(site) = Wired::new() else { return };
    let (calls, ended) = site.send("b", None);
    assert_eq!(site.machines(), [None, Some(true)], "{ended}");
    let (forth, mut at) = (calls, 1);
    assert!(calls.iter().all(|calls| *calls > 4), "the wires see its calls: {calls:?}");
    let all = std::env::var_os("NODEBAKE_KILLS").is_some();
    // First to the host that is left, then to the other; the way back makes as many calls as the way there.
    let mishaps = [0, 1].into_iter().flat_map(|host| (0..forth[host]).map(move |call| (host, call)));
    let mishaps = mishaps.flat_map(|(host, call)| Fate::ALL.map(|fate| (host, call, fate)));
    let chosen = mishaps.enumerate().filter(|(number, _)| all || number % 13 == 0);
    for (_, (host, call, fate)) in chosen {
        let (from, to) = (at, 1 - at);
        // `host` counts from where the node is.
        let due = (if host == 0 { from } else { to }, call, fate);
        let (_, ended) = site.send(["a", "b"][to], Some(due));
        assert_ne!(site.machines(), [Some(true), Some(true)], "{ended}");
        let ran = site.world.run(&["up", "--stall", "20"]);
        assert_eq!(ran.code, 0, "{ended}: {ran:?}");
        if site.machines()[from].is_some() {
            assert_eq!((site.machines()[to], site.disks(to)), (None, vec![]), "{ended}: {ran:?}");
            let (_, again) = site.send(["a", "b"][to], None);
            assert_eq!(site.machines()[to], Some(true), "{ended}: {ran:?}: {again}");
        }
        assert_eq!((site.machines()[from], site.disks(from)), (None, vec![]), "{ended}: {ran:?}");
        // Its root disk: the seed went by sealing.
        assert_eq!((site.machines()[to], site.disks(to).len()), (Some(true), 1), "{ended}: {ran:?}");
        at = to;
    }
}
