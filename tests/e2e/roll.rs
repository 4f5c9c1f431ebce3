//! `rebuild` of both workers after a change of the cluster file and of the kubelet's release: one after the other, with pods
//! that a budget protects; the same machines in name, UUID, MAC and address, with new disks, as new nodes of the cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::findings::Findings;
use crate::guest::Guest;
use crate::lab::step;
use crate::nodebake::{Cluster, words};
use crate::watch::Watch;
use crate::workers::WORKERS;

/// The one that differs in more than the release.
const NODE: &str = "worker-node-2";
/// Comes with the payload; the runtime pulls none.
const IMAGE: &str = "nodebake-lab.invalid/pod:1";

/// The cluster file asks for the release that is upgraded later.
pub fn begin_with_the_release_before(cluster: &Cluster) {
    let [before, after] = releases(cluster);
    if before != after {
        cluster.edit(&format!("  kubernetes: {after}\n"), &format!("  kubernetes: {before}\n"));
    }
}

/// The same where the lab was given a real kubelet, and none before it.
fn releases(cluster: &Cluster) -> [String; 2] {
    ["KUBERNETES_BEFORE", "KUBERNETES"].map(|name| cluster.lab.version(name))
}

/// Rolls both after a change in the cluster file, while `other` is tried beside it.
pub fn both_workers(cluster: &Cluster, other: impl FnOnce() + Send) {
    // Off since its disk was looked at.
    cluster.run(&["up", WORKERS[0].0]).succeeded();
    let nodes = Watch::begin(cluster, "nodes");
    let pods = Watch::begin(cluster, "pods");
    settle_pods(cluster, &pods);

    let before = WORKERS.map(|(name, _)| Worker::read(cluster, name));
    cluster.edit("  clusterDomain: cluster.local", "  clusterDomain: lab.example");
    let [old, new] = releases(cluster);
    if old != new {
        cluster.edit(&format!("  kubernetes: {old}\n"), &format!("  kubernetes: {new}\n"));
        cluster.run(&["lock"]).succeeded();
    }
    up_replaces_nothing(cluster, &before);
    plan_says_why(cluster, &old, &new);

    let mut rebuild = vec!["rebuild"];
    rebuild.extend(WORKERS.map(|(name, _)| name));
    let refused = cluster.run(&rebuild);
    let (error, hint) = crate::nodebake::error_and_hint(&refused);
    let wanted = ("error: this needs your consent, and there is no terminal to ask on", "hint: add --yes");
    assert_eq!((refused.code, error.as_str(), hint.as_str()), (Some(2), wanted.0, wanted.1));

    rebuild.push("--yes");
    let ran = std::thread::scope(|scope| {
        let rebuilding = scope.spawn(|| cluster.run(&rebuild));
        other();
        rebuilding.join().unwrap()
    });
    assert_eq!(ran.code, Some(0), "{ran:#?}");
    let rows = words(&ran.stdout);
    let rows: Vec<_> = rows.iter().skip(1).map(|row| (row[0], row[1], row[5])).collect();
    assert_eq!(rows, WORKERS.map(|(name, address)| (name, "NotReady", address)));
    for old in &before {
        old.has_come_anew(cluster, &ran.stderr);
    }
    one_was_out_at_a_time(&nodes.end());
    the_budget_was_kept(&pods.end());
}

/// A worker as libvirt and the cluster know it.
#[derive(Debug, PartialEq)]
struct Worker {
    name: &'static str,
    /// UUID, MAC, root disk.
    machine: [String; 3],
    boot: String,
    uid: String,
}

impl Worker {
    fn read(cluster: &Cluster, name: &'static str) -> Self {
        let nodes = cluster.api_nodes();
        let text = |pointer| nodes[name].pointer(pointer).and_then(Value::as_str).unwrap().to_owned();
        let [boot, uid] = ["/status/nodeInfo/bootID", "/metadata/uid"].map(text);
        Self { name, machine: Guest::new(cluster.lab, name).identity(), boot, uid }
    }

    /// What stays has stayed, and all else is new.
    fn has_come_anew(&self, cluster: &Cluster, told: &str) {
        let name = self.name;
        let now = Self::read(cluster, name);
        let mut findings = Findings::of(&format!("{name} after it was rebuilt"));
        findings.same("UUID and MAC", &now.machine[..2], &self.machine[..2]);
        findings.holds("its disk is another one", now.machine[2] != self.machine[2], &now.machine[2]);
        findings.holds("the disk before is gone", !cluster.lab.outside(&self.machine[2]).exists(), &self.machine[2]);
        let guest = Guest::new(cluster.lab, name);
        let reported: Vec<_> = guest.reports().into_iter().map(|report| report.boot).collect();
        findings.holds("its boot is new", now.boot != self.boot && reported.contains(&now.boot), &now.boot);
        findings.holds("its Node object is new", now.uid != self.uid, &now.uid);
        let node = &cluster.api_nodes()[name];
        findings.same("release", node["status"]["nodeInfo"]["kubeletVersion"].as_str(), Some(&cluster.kubernetes()));
        findings.same("cordoned", node["spec"].get("unschedulable"), None);
        let line = |text: &str| told.lines().position(|line| line.starts_with(&format!("{name}: {text}")));
        let order = ["cordoned", "drained", "starting its machine", "registered"].map(line);
        findings.holds("what was told", order.iter().all(Option::is_some) && order.is_sorted(), order);
        findings.end();
    }
}

/// Two pods, one a worker, of which one may be away.
fn settle_pods(cluster: &Cluster, pods: &Watch) {
    let labels = json!({"app": "lab"});
    // No node is ready without a CNI.
    let borne = ["node.kubernetes.io/not-ready", "lab.example/dedicated"];
    let borne = borne.map(|key| json!({"key": key, "operator": "Exists", "effect": "NoSchedule"}));
    let replicas = json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": "lab"},
        "spec": {
            "replicas": 2, "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {
                "containers": [{"name": "pod", "image": IMAGE, "imagePullPolicy": "Never"}],
                "tolerations": borne,
            }},
        },
    });
    let budget = json!({
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "lab"},
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": labels}},
    });
    for (path, object) in [
        ("/apis/policy/v1/namespaces/default/poddisruptionbudgets", budget),
        ("/apis/apps/v1/namespaces/default/replicasets", replicas),
    ] {
        let mut create = cluster.kubectl();
        create.args(["create", "--raw", path, "-f", "-"]).stdin(Stdio::piped()).stdout(Stdio::null());
        let mut create = create.spawn().unwrap();
        create.stdin.take().unwrap().write_all(object.to_string().as_bytes()).unwrap();
        assert!(create.wait().unwrap().success(), "kubectl create --raw {path}");
    }
    step("a pod on each worker");
    let on_both = BTreeSet::from(WORKERS.map(|(name, _)| name.to_owned()));
    cluster.lab.wait("a pod on each worker", std::slice::from_ref(&pods.file), || {
        let now = pods.states().pop().unwrap_or_default();
        let ready = now.values().filter(|pod| is_ready(pod));
        let nodes: BTreeSet<_> = ready.filter_map(|pod| pod["spec"]["nodeName"].as_str()).map(str::to_owned).collect();
        (nodes == on_both).then_some(())
    });
}

fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    pod["metadata"].get("deletionTimestamp").is_none()
        && conditions.into_iter().any(|one| one["type"] == "Ready" && one["status"] == "True")
}

fn up_replaces_nothing(cluster: &Cluster, before: &[Worker]) {
    step("`up` tells what differs, and replaces nothing");
    let ran = cluster.run(&["up", NODE]);
    assert_eq!(ran.code, Some(0), "{ran:#?}");
    let start = format!("{NODE}: differs: ");
    let told = ran.stderr.lines().find(|line| line.starts_with(&start)).unwrap_or_else(|| panic!("{ran:#?}"));
    assert!(told.ends_with(&format!("; `nodebake rebuild {NODE}` replaces it")), "{told}");
    // Beside all that was asked for since.
    assert!(told.contains("kubelet config clusterDomain") && !told.contains("what is secret"), "{told}");
    assert_eq!(WORKERS.map(|(name, _)| Worker::read(cluster, name)), before);
    let status = cluster.run(&["status"]).succeeded();
    let row = words(&status).into_iter().find(|row| row[0] == NODE).unwrap();
    assert_eq!(row[..8], [NODE, "running", "registered", "NotReady", "10.0.0.37", "disk,", "build,", ".nodebake"]);
    assert!(row[8..].join(" ").contains("seed"), "{row:?}");
}

fn plan_says_why(cluster: &Cluster, old: &str, new: &str) {
    let planned = cluster.run(&["plan", NODE]);
    assert_eq!(planned.code, Some(6), "{planned:#?}");
    let table = words(&planned.stdout);
    let row = table.last().unwrap();
    assert_eq!(row[..5], ["node", NODE, "rebuild", "rebuild", NODE]);
    let why = row[5..].join(" ");
    let release = format!("kubelet {old} -> {new}");
    assert!(why.contains("seed changed: ") && (old == new || why.contains(&release)), "{why}");
}

/// A worker that is cordoned or no node is out; never both, and each once.
fn one_was_out_at_a_time(states: &[BTreeMap<String, Value>]) {
    let there = |state: &&BTreeMap<String, Value>| WORKERS.iter().all(|(name, _)| state.contains_key(*name));
    let from = states.iter().position(|state| there(&state)).expect("both were there");
    let out = |state: &BTreeMap<String, Value>| {
        let names = WORKERS.iter().map(|(name, _)| *name);
        let is_out = |name: &&str| state.get(*name).is_none_or(|node| node["spec"]["unschedulable"] == true);
        names.filter(is_out).collect::<Vec<_>>()
    };
    let mut seen: Vec<_> = states[from..].iter().map(out).collect();
    seen.dedup();
    let [first, second] = WORKERS.map(|(name, _)| vec![name]);
    assert_eq!(seen, [vec![], first, vec![], second, vec![]]);
}

/// Of two ready pods one may go at a time, and both have gone.
fn the_budget_was_kept(states: &[BTreeMap<String, Value>]) {
    let ready = |state: &BTreeMap<String, Value>| state.values().filter(|pod| is_ready(pod)).count();
    let from = states.iter().position(|state| ready(state) == 2).expect("both were ready");
    let least = states[from..].iter().map(ready).min();
    assert_eq!(least, Some(1), "ready pods at the worst moment");
    let names = |state: &BTreeMap<String, Value>| state.keys().cloned().collect::<BTreeSet<_>>();
    let (first, last) = (names(&states[from]), names(states.last().unwrap()));
    assert!(first.is_disjoint(&last), "{first:?} were evicted; {last:?} are there now");
}
