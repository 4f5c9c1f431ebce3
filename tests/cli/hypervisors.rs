//! One cluster file over several hypervisors: two real libvirtds, whose machines are real and whose guests are played.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::process::Stdio;
use std::time::{Duration, Instant};

use nodebake::machine::VolumeName;
use serde_json::{Value, json};

use crate::daemon::Daemon;
use crate::guests::{self, Guests};
use crate::hosts::{BRIDGE, Host, Hosts, POOL, WAYS, Way};
use crate::sitting::Sitting;
use crate::world::{Ran, World};

/// A locked cluster of small nodes on these hypervisors.
pub(crate) fn cluster(sites: &str, nodes: &[(&str, u8)]) -> World {
    let world = World::locked();
    let text = world.read("nodebake.yaml");
    let (head, rest) = text.split_once("\nlibvirt:\n").unwrap();
    let (_, rest) = rest.split_once("\n# Optional, with all its keys: what every node is").unwrap();
    let (rest, _) = rest.split_once("\nnodes:\n").unwrap();
    let entry = |(name, address): &(&str, u8)| format!("  - {{name: {name}, address: 10.0.0.{address}}}");
    let nodes: Vec<_> = nodes.iter().map(entry).collect();
    let nodes = nodes.join("\n");
    let text = format!("{head}\nhypervisors:\n{sites}\n# What every node is{rest}\nnodes:\n{nodes}\n");
    std::fs::write(world.path("nodebake.yaml"), text).unwrap();
    for (from, to) in [
        // Whatever answers at the addresses of the example in this machine's network.
        ("apiServer: https://10.0.0.4:6443", "apiServer: https://nowhere.invalid:6443"),
        ("memory: 4GiB", "memory: 512MiB"),
        ("cpus: 2", "cpus: 1"),
        ("disk: 20GiB", "disk: 2GiB"),
    ] {
        world.edit(from, to);
    }
    world
}

/// A locked cluster of so many nodes, n1 and so on, on hosts, each of which is reached in another way. `more` is said of the last host.
fn cluster_on(hosts: &Hosts, count: u8, more: &str) -> World {
    let last = hosts.each.len() - 1;
    let site = |(at, (host, way)): (usize, (&Host, Way))| -> String {
        let more = if at == last { more } else { "" };
        format!("  {}: {{uri: '{}', bridge: {BRIDGE}{more}}}\n", host.name, host.uri(way))
    };
    let sites: String = hosts.each.iter().zip(WAYS).enumerate().map(site).collect();
    let names: Vec<_> = (1..=count).map(|it| format!("n{it}")).collect();
    let nodes: Vec<_> = names.iter().map(String::as_str).zip(41..).collect();
    cluster(&sites, &nodes)
}

/// The program where clients of the hosts are.
fn at_client(hosts: &Hosts, world: &World) -> std::process::Command {
    let client = hosts.client();
    world.command(&client.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Names of the machines at each host.
fn machines_of(hosts: &Hosts) -> Vec<Vec<String>> {
    let names = |host: &Host| host.daemon.open().domains().unwrap().into_iter().map(|it| it.name).collect();
    hosts.each.iter().map(names).collect()
}

/// The last error that a run told.
pub(crate) fn error_of(ran: &Ran) -> &str {
    ran.stderr.lines().rfind(|line| line.starts_with("error: ")).unwrap_or_default()
}

/// A locked cluster of four small nodes, and the hosts that they are to be on.
pub(crate) struct Lab {
    pub(crate) a: Daemon,
    pub(crate) b: Daemon,
    pub(crate) world: World,
}

impl Lab {
    /// None where there is no root to make namespaces.
    pub(crate) fn new() -> Option<Self> {
        let (a, b) = (Daemon::start(), Daemon::start());
        if !a.root {
            return None;
        }
        let sites = format!("  a: {{uri: '{}'}}\n  b: {{uri: '{}'}}\n", a.uri, b.uri);
        let nodes = [("worker-node-1", 36), ("n3", 43), ("n4", 44), ("worker-node-2", 37)];
        let world = cluster(&sites, &nodes);
        Some(Self { a, b, world })
    }

    /// Names of the machines at each host.
    pub(crate) fn machines(&self) -> [Vec<String>; 2] {
        [&self.a, &self.b].map(|host| host.open().domains().unwrap().into_iter().map(|domain| domain.name).collect())
    }
}

/// The nodes' rows of a plan: where each is, and what becomes of it.
pub(crate) fn nodes(ran: &Ran) -> BTreeMap<String, (Value, Value)> {
    let document: Value = serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"));
    let rows = document["plan"].as_array().unwrap().iter().filter(|row| row["kind"] == "node");
    rows.map(|row| {
        let place = row.get("hypervisor").cloned().unwrap_or_default();
        (row["name"].as_str().unwrap().to_owned(), (place, row["action"].clone()))
    })
    .collect()
}

fn all<const N: usize>(rows: [(&str, &str, &str); N]) -> BTreeMap<String, (Value, Value)> {
    rows.into_iter().map(|(name, place, action)| (name.to_owned(), (json!(place), json!(action)))).collect()
}

/// What a plan says of the hypervisors.
fn standings(ran: &Ran) -> Value {
    let document: Value = serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"));
    document["hypervisors"].clone()
}

#[test]
fn nodes_are_divided_and_one_host_less_keeps_nobody_up() {
    let Some(mut lab) = Lab::new() else { return };
    let world = &lab.world;
    // Two networks behind NAT do not meet.
    let why = |at: &str| format!("at {at} network nodebake is not there, and would be made with NAT");
    let error = format!("the nodes of several hypervisors would not reach each other: {}; {}", why("a"), why("b"));
    let hint = "have the nodes on a bridge or a routed network (bridge: or network: of each hypervisor); where something else \
                joins these, say network.apart: true";
    for verb in [&["plan"][..], &["up"]] {
        assert_eq!(world.run(verb), Ran::failed(2, &error, hint));
    }
    world.edit("\n  cidr: 10.0.0.0/24\n", "\n  apart: true\n  cidr: 10.0.0.0/24\n");

    let ran = world.run(&["plan", "-o", "json"]);
    let standing = |host: &Daemon| {
        let there = host.open().host().unwrap();
        let cpus = json!({"host": there.cpus, "nodes": 2, "others": 0});
        let memory = json!({"host": there.memory, "nodes": 1_u64 << 30, "others": 0});
        json!({"answers": true, "nodes": 2, "cpus": cpus, "memory": memory, "poolAvailable": null})
    };
    assert_eq!(standings(&ran), json!({"a": standing(&lab.a), "b": standing(&lab.b)}));
    let planned = nodes(&ran);
    let create = [("worker-node-1", "a"), ("n3", "b"), ("n4", "a"), ("worker-node-2", "b")];
    assert_eq!(planned, all(create.map(|(name, place)| (name, place, "create"))));
    let table = world.run(&["plan", "n3"]);
    let heads: Vec<_> = table.stdout.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(heads, ["KIND", "NAME", "HYPERVISOR", "ACTION", "COMMAND", "REASON"]);
    // All of them, whichever nodes are named.
    let below: Vec<_> = table.stdout.lines().skip_while(|line| !line.is_empty()).skip(1).collect();
    let firsts: Vec<_> = below.iter().map(|line| line.split_whitespace().take(3).collect::<Vec<_>>()).collect();
    assert_eq!(firsts, [["HYPERVISOR", "NODES", "CPUS"], ["a", "2", "2"], ["b", "2", "2"]], "{table:?}");

    let played = (Guests::of(&lab.a, guests::good), Guests::of(&lab.b, guests::good));
    let ran = world.run(&["up"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(
        lab.machines(),
        [["n4", "worker-node-1"], ["n3", "worker-node-2"]].map(|names| names.map(str::to_owned).to_vec())
    );
    // Without a kubeconfig nobody knows whether they registered.
    let there = create.map(|(name, place)| (name, place, "finish"));
    let ran = world.run(&["plan", "-o", "json"]);
    assert_eq!(nodes(&ran), all(there));
    let after = ["a", "b"].map(|name| standings(&ran)[name].clone());
    assert!(after.iter().all(|it| it["nodes"] == 2 && it["poolAvailable"].as_u64() > Some(0)), "{after:?}");

    // One more, above all others, moves none.
    world.edit("\nnodes:\n", "\nnodes:\n  - {name: n0, address: 10.0.0.40}\n");
    let planned = nodes(&world.run(&["plan", "-o", "json"]));
    let [one, three, four, two] = there;
    assert_eq!(planned, all([("n0", "a", "create"), one, three, four, two]));
    let places = |ran: &Ran| {
        let document: Value = serde_json::from_str(&ran.stdout).unwrap();
        let rows = document["nodes"].as_array().unwrap().clone();
        rows.iter()
            .map(|row| json!([row["name"], row["hypervisor"], row["machine"]["power"], row["unknown"]]))
            .collect::<Vec<_>>()
    };
    let status = places(&world.run(&["status", "-o", "json"]));
    let runs = |name: &str, place: &str| json!([name, place, "running", null]);
    let before = [
        json!(["n0", "a", null, null]),
        runs("worker-node-1", "a"),
        runs("n3", "b"),
        runs("n4", "a"),
        runs("worker-node-2", "b"),
    ];
    assert_eq!(status, before);

    // Without b, what is there is not known, and what is new may be there.
    lab.b.kill();
    let status = world.run(&["status", "-o", "json"]);
    assert_eq!(status.code, 0, "{status:?}");
    let unknown = |name: &str| json!([name, null, null, true]);
    assert_eq!(
        places(&status),
        [unknown("n0"), runs("worker-node-1", "a"), unknown("n3"), runs("n4", "a"), unknown("worker-node-2")]
    );
    assert!(status.stderr.starts_with("warning: hypervisor b: "), "{status:?}");
    let planned = world.run(&["plan", "-o", "json"]);
    let lost = |name| (name, "unknown");
    let known = [("worker-node-1", "finish"), ("n4", "finish")];
    let shown: BTreeMap<_, _> = nodes(&planned).into_iter().map(|(name, (_, action))| (name, action)).collect();
    let wanted = [&known[..], &["n0", "n3", "worker-node-2"].map(lost)].concat();
    assert_eq!(shown, wanted.into_iter().map(|(name, action)| (name.to_owned(), json!(action))).collect());
    assert_eq!(planned.code, 1, "{planned:?}");
    let standings = standings(&planned);
    // What may be there counts nowhere.
    assert_eq!((&standings["a"]["nodes"], &standings["b"]["answers"]), (&json!(2), &json!(false)), "{standings}");
    assert_eq!(standings["b"].as_object().unwrap().keys().collect::<Vec<_>>(), ["answers", "why"]);
    let ran = world.run(&["up"]);
    let error = error_of(&ran);
    assert!(
        error.starts_with("error: hypervisor b: ") && error.ends_with("; nothing is known of n0, n3, worker-node-2"),
        "{ran:?}"
    );
    assert!(ran.stderr.ends_with("hint: see to it, and run the command again: it does what is left\n"), "{ran:?}");
    assert_eq!(ran.code, 1);

    // It comes back, with machines that its end has ended, and the next run completes it.
    lab.b.restart();
    let ran = world.run(&["up"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    assert_eq!(lab.machines(), [names(&["n0", "n4", "worker-node-1"]), names(&["n3", "worker-node-2"])]);

    let ran = lab.world.run(&["down", "--yes"]);
    assert_eq!(
        (ran.code, ran.stdout.as_str()),
        (0, "n0 removed\nn3 removed\nn4 removed\nworker-node-1 removed\nworker-node-2 removed\n")
    );
    assert_eq!(lab.machines(), [names(&[]), names(&[])]);
    drop(played);
}

#[test]
fn six_nodes_are_on_three_hosts_that_are_reached_in_three_ways() {
    let Some(hosts) = Hosts::start(3) else { return };
    let world = cluster_on(&hosts, 6, "");
    let run = |words: &[&str]| world.run_command(at_client(&hosts, &world).args(words));
    let machines = || machines_of(&hosts);
    let spread = [["n1", "n4"], ["n2", "n5"], ["n3", "n6"]];
    let played: Vec<_> = hosts.each.iter().map(|host| Guests::of(&host.daemon, guests::good)).collect();

    // A daemon in the middle does not run: the rest goes on.
    hosts.each[1].stop();
    let ran = run(&["up"]);
    let ends = error_of(&ran);
    assert!(
        ran.code == 1 && ends.starts_with("error: hypervisor host2: libvirt does not answer at qemu+ssh://"),
        "{ran:?}"
    );
    assert!(ends.ends_with("; nothing is known of n1, n2, n3, n4, n5, n6"), "{ends}");
    hosts.each[1].start();
    let ran = run(&["up"]);
    assert_eq!((ran.code, machines()), (0, spread.map(|names| names.map(str::to_owned).to_vec()).to_vec()), "{ran:?}");

    hosts.each[1].stop();
    let ran = run(&["up"]);
    let ends = error_of(&ran);
    assert!(ran.code == 1 && ends.ends_with("; nothing is known of n2, n5"), "{ran:?}");
    let rows =
        |ran: &Ran| nodes(ran).into_iter().map(|(name, (_, action))| format!("{name} {action}")).collect::<Vec<_>>();
    let planned = run(&["plan", "-o", "json"]);
    let wanted = ["n1 finish", "n2 unknown", "n3 finish", "n4 finish", "n5 unknown", "n6 finish"];
    assert_eq!(rows(&planned), wanted.map(|row| row.replace(' ', " \"") + "\""));
    hosts.each[1].start();

    // Findings of the three stand side by side, and then what is between them. Guests that are played write nothing to
    // their disks; here something else does.
    let pool = "/var/lib/libvirt/nodebake";
    let write = format!("for i in $(seq 60); do echo >>{pool}/busy; sleep 0.2; done");
    for host in &hosts.each {
        host.run(&["touch", &format!("{pool}/busy")]);
    }
    let doctor = || {
        let found = run(&["doctor", "-o", "json"]);
        let document: Value = serde_json::from_str(&found.stdout).unwrap();
        document["findings"].as_array().unwrap().clone()
    };
    let (quiet, busy) = (doctor(), |host: &Host| host.run(&["sh", "-c", &write]));
    let findings = std::thread::scope(|scope| {
        hosts.each.iter().for_each(|host| drop(scope.spawn(move || busy(host))));
        doctor()
    });
    hosts.each[2].run(&["touch", "-d", "+1 hour", &format!("{pool}/future")]);
    let fast = doctor();
    let of = |findings: &[Value], check: &str| -> Vec<_> {
        let rows = findings.iter().filter(|row| row["check"] == check);
        rows.map(|row| json!([row["hypervisor"], row["status"], row["found"]])).collect()
    };
    let libvirt: Vec<_> = of(&findings, "libvirt").iter().map(|row| json!([row[0], row[1]])).collect();
    assert_eq!(libvirt, ["host1", "host2", "host3"].map(|name| json!([name, "ok"])));
    let unwritten = |name: &str| format!("{name} (no file of its pool was written while we looked)");
    let unwritten = ["host1", "host2", "host3"].map(unwritten);
    let [one, two, three] = &unwritten;
    let untold = "libvirt does not tell the time, and nothing shows that of";
    let emulated = "amd64 guests are emulated at host1, host2 and host3: nothing of the hosts' CPUs matters to them";
    let near = "a file written just now at each of host1, host2 and host3 has a time within 60 s of the clock here";
    for (findings, check, status, found) in [
        (&findings, "cpu-features", "ok", emulated),
        (&findings, "joined", "skipped", "the cluster cannot be asked which nodes it hears"),
        (&findings, "host-clocks", "ok", near),
        (&quiet, "host-clocks", "skipped", &format!("{untold} {one}, {two} and {three}")),
    ] {
        assert_eq!(of(findings, check), [json!([null, status, found])]);
    }
    let clocks = of(&fast, "host-clocks");
    let ahead = clocks[0][2].as_str().unwrap();
    assert!(
        ahead.starts_with("a file at host3 was written 3") && ahead.ends_with("its clock is ahead of the one here"),
        "{clocks:?}"
    );
    assert_eq!(clocks[1..], [json!([null, "skipped", format!("{untold} {one} and {two}")])]);
    // This machine's libvirt may have no driver for interfaces, and its disk may be small.
    let bridges = of(&findings, "bridges");
    assert!(!bridges.is_empty() && bridges.iter().all(|row| row[0].is_null()), "{bridges:?}");
    assert!(!of(&findings, "spare").is_empty(), "{findings:?}");

    // What guests told, and their consoles, come by the connection, whichever it is.
    for node in ["n1", "n2", "n3"] {
        let ran = run(&["logs", node]);
        assert!(ran.code == 0 && ran.stdout.contains("kubelet active"), "{ran:?}");
        let mut sitting = Sitting::of(at_client(&hosts, &world), &["console", node]);
        sitting.until(&format!("the console of {node}: Ctrl-] leaves, Enter brings a prompt\r\n"));
        sitting.press("\u{1d}");
        sitting.until(&format!("left the console of {node}\r\n"));
    }

    // All leave one, each to the emptiest of the two others; these guests hear no power button.
    let ran = run(&["evacuate", "host2", "--yes", "--force", "--stall", "3"]);
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let left = vec![names(&["n1", "n2", "n4"]), names(&[]), names(&["n3", "n5", "n6"])];
    assert_eq!((ran.code, machines()), (0, left), "{ran:?}");

    let ran = run(&["down", "--yes"]);
    assert_eq!((ran.code, machines()), (0, vec![Vec::new(), Vec::new(), Vec::new()]), "{ran:?}");
    drop(played);
}

#[test]
fn a_host_that_says_nothing_is_not_waited_for() {
    let Some(hosts) = Hosts::start(2) else { return };
    let world = cluster_on(&hosts, 2, "");
    world.must(&["build", "--all"]);
    let run = |words: &[&str]| world.run_command(at_client(&hosts, &world).args(words));
    hosts.each[1].freeze();
    let ran = run(&["status"]);
    let told =
        format!("warning: hypervisor host2: libvirt at {} did not answer in 20 s\n", hosts.each[1].uri(Way::Ssh));
    assert_eq!((ran.code, ran.stderr.strip_prefix(&told).is_some()), (0, true), "{ran:?}");
    let shown: Vec<Vec<_>> = ran.stdout.lines().map(|line| line.split_whitespace().take(3).collect()).collect();
    assert_eq!(shown, [["NAME", "HYPERVISOR", "MACHINE"], ["n1", "-", "unknown"], ["n2", "-", "unknown"]]);
    hosts.each[1].thaw();

    // What cannot be looked at counts as no success.
    hosts.each[1].stop();
    let ran = run(&["verify"]);
    assert!(ran.code == 1 && error_of(&ran).ends_with("; nothing is known of n1, n2"), "{ran:?}");
    // The base image was never fetched: all else is as it was built.
    let rows: Vec<_> = ran.stdout.lines().skip(1).filter(|line| !line.starts_with("base-image ")).collect();
    assert!(rows.len() > 4 && rows.iter().all(|line| line.ends_with(" ok")), "{ran:?}");
    let found = run(&["doctor", "-o", "json"]);
    let document: Value = serde_json::from_str(&found.stdout).unwrap();
    let findings = document["findings"].as_array().unwrap().iter();
    let of = |check: &str| -> Vec<_> {
        let rows = findings.clone().filter(|row| row["check"] == check);
        rows.map(|row| (row["hypervisor"].clone(), row["status"].clone())).collect()
    };
    assert_eq!(of("libvirt"), [(json!("host1"), json!("ok")), (json!("host2"), json!("failure"))]);
    assert_eq!(of("pool"), [(json!("host1"), json!("ok")), (json!("host2"), json!("skipped"))]);
}

#[test]
fn a_host_that_goes_and_comes_back_is_watched() {
    let Some(hosts) = Hosts::start(2) else { return };
    let world = cluster_on(&hosts, 2, "");
    let mut watch = at_client(&hosts, &world);
    let mut watch = watch.args(["status", "--watch", "-o", "json"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut documents = BufReader::new(watch.stdout.take().unwrap()).lines();
    // The next one in which this is known of the second host, and of whether its node's machine is.
    let mut until = |answers: bool| {
        let found =
            documents.by_ref().map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap()).find(|document| {
                let unknown = document["nodes"][1]["unknown"] == true;
                document["hypervisors"]["host2"]["answers"] == answers && unknown != answers
            });
        assert!(found.is_some(), "answers: {answers}");
    };
    until(true);
    hosts.each[1].stop();
    until(false);
    hosts.each[1].start();
    until(true);
    watch.kill().unwrap();
    watch.wait().unwrap();
}

/// Whether a host has so many bytes of a payload already.
fn has_part(host: &Host, least: u64) -> bool {
    let Ok(files) = std::fs::read_dir(host.daemon.folder.path().join("lib/nodebake")) else { return false };
    let payloads = files.flatten().filter(|file| file.file_name().to_string_lossy().starts_with("nodebake.payload."));
    payloads.into_iter().any(|file| file.metadata().is_ok_and(|file| file.blocks() * 512 >= least))
}

#[test]
fn a_link_cut_during_an_upload_keeps_no_other_host_down() {
    const LARGE: usize = 24 << 20;
    let Some(hosts) = Hosts::start(2) else { return };
    let world = cluster_on(&hosts, 2, "");
    // A program that is no hole and cannot be compressed: its upload takes a while.
    let mut noise = std::fs::File::open("/dev/urandom").unwrap().take(LARGE as u64);
    let mut program = crate::mirror::program("true");
    noise.read_to_end(&mut program).unwrap();
    std::fs::write(world.path("large"), &program).unwrap();
    let digest = world.sha256("large");
    let own = format!("\nartifacts:\n  - {{kind: binary, name: large, path: large, sha256: {digest}}}\n");
    world.edit("\nartifacts:\n", &own);
    world.must(&["lock"]);
    let played: Vec<_> = hosts.each.iter().map(|host| Guests::of(&host.daemon, guests::good)).collect();
    let far = &hosts.each[1];
    far.narrow(40_000);
    let mut up = at_client(&hosts, &world);
    let up = up.args(["up", "--stall", "20"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let begun = Instant::now();
    while !has_part(far, 1 << 20) {
        assert!(begun.elapsed() < Duration::from_mins(2), "nothing is uploaded");
        std::thread::sleep(Duration::from_millis(50));
    }
    far.cut();
    let output = up.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    let error = said.lines().rfind(|line| line.starts_with("error: ")).unwrap_or_default();
    assert!(error.starts_with("error: uploading the payload to host2: "), "{said}");
    assert_eq!((output.status.code(), machines_of(&hosts)), (Some(1), vec![vec!["n1".to_owned()], vec![]]), "{said}");
    // What arrived there is no payload, and the next run makes it one.
    let payload = || {
        let host = far.daemon.open();
        host.refresh_pool("nodebake").unwrap();
        let volumes = host.volumes("nodebake").unwrap();
        volumes.into_iter().find(|volume| matches!(volume.ours(), Some(VolumeName::Payload(_))))
    };
    assert!(payload().is_none_or(|part| !part.is_whole()));
    far.mend();
    let ran = world.run_command(at_client(&hosts, &world).args(["up", "--stall", "20"]));
    assert_eq!((ran.code, machines_of(&hosts)), (0, vec![vec!["n1".to_owned()], vec!["n2".to_owned()]]), "{ran:?}");
    let whole = payload().unwrap();
    let Some(VolumeName::Payload(digest)) = whole.ours() else { unreachable!() };
    let (found, _) = far.daemon.open().digest_volume("nodebake", &VolumeName::Payload(digest), &|_| ()).unwrap();
    assert_eq!((found, whole.is_whole()), (digest, true));
    drop(played);
}

#[test]
fn a_group_that_may_not_share_hosts_is_told_that_none_is_left() {
    let Some(lab) = Lab::new() else { return };
    let world = &lab.world;
    world.edit("\n  cidr: 10.0.0.0/24\n", "\n  apart: true\n  cidr: 10.0.0.0/24\n");
    world.edit("\nnodes:\n", "\ngroups:\n  db: {antiAffinity: true, hypervisors: [a, b]}\n\nnodes:\n");
    for (name, address) in [("worker-node-1", 36), ("n4", 44)] {
        let bare = format!("{{name: {name}, address: 10.0.0.{address}}}");
        world.edit(&bare, &bare.replace('}', ", group: db}"));
    }
    let played = (Guests::of(&lab.a, guests::good), Guests::of(&lab.b, guests::good));
    let ran = world.run(&["up", "worker-node-1", "n4"]);
    let names = |name: &str| vec![name.to_owned()];
    assert_eq!((ran.code, lab.machines()), (0, [names("worker-node-1"), names("n4")]), "{ran:?}");
    // One may go nowhere, and a third one has no place at all.
    let none = |name: &str| {
        format!(
            "no hypervisor is left for {name}: of those that answer, each has a node of its group, and may not have two"
        )
    };
    let hint = "add a hypervisor to `hypervisors:`, or, where nodes of the group may share one, leave antiAffinity out";
    for arguments in [&["rebuild", "n4", "--to", "a", "--yes"][..], &["evacuate", "b", "--yes"]] {
        assert_eq!(world.run(arguments), Ran::failed(2, &none("n4"), hint), "{arguments:?}");
    }
    drop(played);
    world.must(&["down", "--yes"]);
}

#[test]
fn a_full_host_keeps_no_other_one_down() {
    let Some(hosts) = Hosts::start(2) else { return };
    let world = cluster_on(&hosts, 2, &format!(", poolPath: {POOL}"));
    hosts.each[1].small_pool(16 << 10);
    let played = Guests::of(&hosts.each[0].daemon, guests::good);
    let ran = world.run_command(at_client(&hosts, &world).arg("up"));
    let error = error_of(&ran);
    assert!(
        error.starts_with("error: uploading the ") && error.contains(" to host2: storage pool \"nodebake\" has "),
        "{ran:?}"
    );
    assert_eq!((ran.code, machines_of(&hosts)), (1, vec![vec!["n1".to_owned()], vec![]]), "{ran:?}");
    assert_eq!(hosts.each[1].daemon.open().volumes("nodebake").unwrap(), []);
    drop(played);
}
