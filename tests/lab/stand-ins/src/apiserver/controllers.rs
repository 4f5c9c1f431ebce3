//! What a controller manager, a scheduler and kubelets do with pods, as far as tests ask for it: pods of a `ReplicaSet`
//! come back, on another node when theirs is cordoned, and become ready.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::resource::{NODES, PODS, REPLICA_SETS};
use super::selector::LabelSelector;
use super::storage::{Key, Objects, Store, Write, new_uid, time};
use super::{defaults, deletion, disruption, validate};

/// How long a pod outlives its Node object (the pod garbage collector's quarantine).
const ORPHANED: Duration = Duration::from_secs(40);
/// How often orphans are looked for.
const LOOK: Duration = Duration::from_secs(1);
/// The taint of a node whose condition Ready is not True.
const NOT_READY: &str = "node.kubernetes.io/not-ready";
/// The taint of a cordoned node.
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";

/// Which of them run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tasks {
    /// Taints of nodes, pods of replica sets, the scheduler, the pod garbage collector.
    pub manage: bool,
    /// Kubelets of all nodes that there are.
    pub run_pods: bool,
}

/// A write that a controller wants, if the object is still the one that it saw.
#[derive(Debug)]
struct Step {
    key: Key,
    seen: Value,
    write: Write,
}

impl Step {
    fn new(key: &Key, seen: &Value, write: Write) -> Self {
        Self { key: key.clone(), seen: seen["metadata"]["resourceVersion"].clone(), write }
    }

    fn take(self, store: &Store) {
        let Self { key, seen, write } = self;
        // Somebody else was first: the next look sees it.
        let done = store.transact(&key, false, |current, _| {
            let version = current.map_or(&Value::Null, |current| &current["metadata"]["resourceVersion"]);
            Ok(if *version == seen { write } else { Write::Keep })
        });
        if let Err(error) = done {
            crate::log::say(format!("a controller's write failed: {}", error.message));
        }
    }
}

/// Runs for good.
pub async fn run(store: Arc<Store>, tasks: Tasks) {
    let mut writes = store.subscribe();
    let mut orphans = BTreeMap::new();
    let mut look = tokio::time::interval(LOOK);
    loop {
        loop {
            let mut steps = store.view(|objects| wanted(objects, tasks, Timestamp::now()));
            if tasks.manage {
                steps.extend(store.view(|objects| collect_orphans(objects, &mut orphans, Instant::now())));
            }
            if steps.is_empty() {
                break;
            }
            for step in steps {
                step.take(&store);
            }
        }
        tokio::select! {
            written = writes.changed() => if written.is_err() { return },
            _ = look.tick(), if tasks.manage => {}
        }
    }
}

fn wanted(objects: &Objects, tasks: Tasks, now: Timestamp) -> Vec<Step> {
    let mut steps = Vec::new();
    if tasks.manage {
        steps
            .extend(objects.iter().filter(|(key, _)| key.is_in(&NODES, "")).filter_map(|(key, node)| taint(key, node)));
        for (key, set) in objects.iter().filter(|(key, _)| key.is_in(&REPLICA_SETS, "")) {
            steps.extend(replicate(key, set, objects, now));
        }
        steps.extend(schedule(objects, now));
    }
    if tasks.run_pods {
        let pods = objects.iter().filter(|(key, _)| key.is_in(&PODS, ""));
        steps.extend(pods.filter_map(|(key, pod)| keep_pod(key, pod, objects, now)));
    }
    steps
}

/// `TaintNodesByCondition` of the node lifecycle controller.
fn taint(key: &Key, node: &Value) -> Option<Step> {
    let cordoned = node["spec"]["unschedulable"] == true;
    let before = node["spec"]["taints"].as_array().cloned().unwrap_or_default();
    let mut after = before.clone();
    for (taint, wanted) in [(NOT_READY, !disruption::is_ready(node)), (UNSCHEDULABLE, cordoned)] {
        let is = |one: &Value| one["key"] == taint && one["effect"] == "NoSchedule";
        if wanted && !after.iter().any(is) {
            after.push(json!({"key": taint, "effect": "NoSchedule"}));
        } else if !wanted {
            after.retain(|one| !is(one));
        }
    }
    if after == before {
        return None;
    }
    let mut tainted = node.clone();
    if let Some(spec) = tainted["spec"].as_object_mut() {
        spec.remove("taints");
    }
    if !after.is_empty() {
        tainted["spec"]["taints"] = Value::Array(after);
    }
    Some(Step::new(key, node, Write::Put(tainted)))
}

/// Makes the pods that a replica set lacks, deletes those that it has too many, and says how many there are.
fn replicate(key: &Key, set: &Value, objects: &Objects, now: Timestamp) -> Vec<Step> {
    let Ok(Some(selector)) = LabelSelector::of(&set["spec"]["selector"]) else { return Vec::new() };
    let pods: Vec<(&Key, &Value)> = objects
        .iter()
        .filter(|(pod, object)| {
            let mut owners = object["metadata"]["ownerReferences"].as_array().into_iter().flatten();
            pod.is_in(&PODS, &key.namespace)
                && selector.matches(object)
                && owners.any(|owner| owner["controller"] == true && owner["uid"] == set["metadata"]["uid"])
                && !deletion::is_wanted(object)
                && !has_ended(object)
        })
        .map(|(key, pod)| (key, &**pod))
        .collect();
    let wanted = if deletion::is_wanted(set) { 0 } else { set["spec"]["replicas"].as_u64().unwrap_or(1) };
    let wanted = usize::try_from(wanted).unwrap_or_default();
    let mut steps: Vec<Step> = (pods.len()..wanted).filter_map(|_| new_pod(key, set, now)).collect();
    for (key, pod) in pods.iter().skip(wanted) {
        if let Ok(write) = deletion::begin(&PODS, pod, &deletion::Options::default(), now) {
            steps.push(Step::new(key, pod, write));
        }
    }
    let ready = pods.iter().filter(|(_, pod)| disruption::is_ready(pod)).count();
    let mut status = json!({
        "replicas": pods.len(), "fullyLabeledReplicas": pods.len(), "readyReplicas": ready, "availableReplicas": ready,
        "observedGeneration": set["metadata"]["generation"],
    });
    // As Go leaves zeros out.
    if let Some(status) = status.as_object_mut() {
        status.retain(|field, value| field == "replicas" || *value != 0);
    }
    if status != set["status"] {
        let mut counted = set.clone();
        counted["status"] = status;
        steps.push(Step::new(key, set, Write::Put(counted)));
    }
    steps
}

fn has_ended(pod: &Value) -> bool {
    matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"))
}

fn new_pod(set: &Key, owner: &Value, now: Timestamp) -> Option<Step> {
    let suffix: String = new_uid().chars().take(5).collect();
    let name = format!("{}-{suffix}", set.name);
    let template = &owner["spec"]["template"];
    let mut metadata = json!({
        "name": name, "generateName": format!("{}-", set.name), "namespace": set.namespace, "labels": template["metadata"]["labels"],
        "ownerReferences": [{
            "apiVersion": REPLICA_SETS.api_version(), "kind": "ReplicaSet", "name": set.name,
            "uid": owner["metadata"]["uid"], "controller": true, "blockOwnerDeletion": true,
        }],
    });
    if !template["metadata"]["annotations"].is_null() {
        metadata["annotations"] = template["metadata"]["annotations"].clone();
    }
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]});
    // The template was checked with the set.
    let mut pod = validate::canonical(&PODS, pod).ok()?;
    defaults::begin(&PODS, &mut pod);
    pod["metadata"]["uid"] = json!(new_uid());
    pod["metadata"]["creationTimestamp"] = json!(time(now));
    Some(Step { key: Key::new(&PODS, &set.namespace, &name), seen: Value::Null, write: Write::Put(pod) })
}

/// Puts each pod that has no node on the fitting node with the fewest pods.
fn schedule(objects: &Objects, now: Timestamp) -> Vec<Step> {
    let mut load: BTreeMap<&str, usize> = BTreeMap::new();
    for (_, pod) in objects.iter().filter(|(key, pod)| key.is_in(&PODS, "") && !has_ended(pod)) {
        *load.entry(pod["spec"]["nodeName"].as_str().unwrap_or_default()).or_default() += 1;
    }
    let mut steps = Vec::new();
    for (key, pod) in objects.iter().filter(|(key, pod)| key.is_in(&PODS, "") && waits_for_a_node(pod)) {
        let fitting = objects.iter().filter(|(key, node)| key.is_in(&NODES, "") && fits(pod, node));
        let best =
            fitting.map(|(key, _)| key.name.as_str()).min_by_key(|name| load.get(name).copied().unwrap_or_default());
        let mut placed = (**pod).clone();
        match best {
            Some(node) => {
                *load.entry(node).or_default() += 1;
                placed["spec"]["nodeName"] = json!(node);
                condition(&mut placed, "PodScheduled", ("True", "", ""), now);
            }
            None => condition(
                &mut placed,
                "PodScheduled",
                ("False", "Unschedulable", "no node is schedulable and has taints that the pod bears"),
                now,
            ),
        }
        if placed != **pod {
            steps.push(Step::new(key, pod, Write::Put(placed)));
        }
    }
    steps
}

fn waits_for_a_node(pod: &Value) -> bool {
    pod["spec"]["nodeName"].as_str().unwrap_or_default().is_empty()
        && pod["spec"]["schedulerName"] == "default-scheduler"
        && !deletion::is_wanted(pod)
        && !has_ended(pod)
}

fn fits(pod: &Value, node: &Value) -> bool {
    let taints = node["spec"]["taints"].as_array().into_iter().flatten();
    let tolerations = pod["spec"]["tolerations"].as_array().map_or(&[][..], Vec::as_slice);
    let labels = pod["spec"]["nodeSelector"].as_object().into_iter().flatten();
    !deletion::is_wanted(node)
        && node["spec"]["unschedulable"] != true
        && labels.into_iter().all(|(key, value)| node["metadata"]["labels"].get(key) == Some(value))
        && taints
            .filter(|taint| taint["effect"] != "PreferNoSchedule")
            .all(|taint| tolerations.iter().any(|toleration| bears(toleration, taint)))
}

fn bears(toleration: &Value, taint: &Value) -> bool {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (key, effect) = (text(&toleration["key"]), text(&toleration["effect"]));
    let exists = toleration["operator"] == "Exists";
    (effect.is_empty() || effect == text(&taint["effect"]))
        && (key == text(&taint["key"]) || (key.is_empty() && exists))
        && (exists || text(&toleration["value"]) == text(&taint["value"]))
}

/// A kubelet: a pod on its node runs and is ready at once, and ends at once when it is to be deleted.
fn keep_pod(key: &Key, pod: &Value, objects: &Objects, now: Timestamp) -> Option<Step> {
    let node = pod["spec"]["nodeName"].as_str().filter(|node| !node.is_empty())?;
    objects.get(&Key::new(&NODES, "", node))?;
    if deletion::is_wanted(pod) {
        // Finalizers may still hold it, and then it was already marked.
        let options = deletion::Options { grace: Some(0), ..deletion::Options::default() };
        let write = deletion::begin(&PODS, pod, &options, now).ok()?;
        let marked = pod["metadata"]["deletionGracePeriodSeconds"] == 0;
        return (matches!(write, Write::Delete) || !marked).then(|| Step::new(key, pod, write));
    }
    if pod["status"]["phase"] != "Pending" {
        return None;
    }
    let mut running = pod.clone();
    running["status"]["phase"] = json!("Running");
    running["status"]["startTime"] = json!(time(now));
    for kind in ["Initialized", "PodReadyToStartContainers", "ContainersReady", "Ready", "PodScheduled"] {
        condition(&mut running, kind, ("True", "", ""), now);
    }
    running["status"]["containerStatuses"] = pod["spec"]["containers"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|container| {
            json!({
                "name": container["name"], "image": container["image"], "imageID": "", "ready": true, "started": true,
                "restartCount": 0, "state": {"running": {"startedAt": time(now)}},
            })
        })
        .collect();
    Some(Step::new(key, pod, Write::Put(running)))
}

/// Sets a condition; its time stays where its status does.
fn condition(pod: &mut Value, kind: &str, (status, reason, message): (&str, &str, &str), now: Timestamp) {
    let mut list = pod["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let old = list.iter().find(|one| one["type"] == kind && one["status"] == status);
    let since = old.map_or_else(|| json!(time(now)), |old| old["lastTransitionTime"].clone());
    let mut new = json!({"type": kind, "status": status, "lastTransitionTime": since});
    for (field, value) in [("reason", reason), ("message", message)] {
        if !value.is_empty() {
            new[field] = json!(value);
        }
    }
    list.retain(|one| one["type"] != kind);
    list.push(new);
    pod["status"]["conditions"] = Value::Array(list);
}

/// Pods whose node has not been there for long enough.
fn collect_orphans(objects: &Objects, since: &mut BTreeMap<String, Instant>, now: Instant) -> Vec<Step> {
    let gone = |node: &str| !node.is_empty() && !objects.contains_key(&Key::new(&NODES, "", node));
    let pods = || objects.iter().filter(|(key, _)| key.is_in(&PODS, ""));
    let node_of = |pod: &Value| pod["spec"]["nodeName"].as_str().unwrap_or_default().to_owned();
    since.retain(|node, _| gone(node));
    for node in pods().map(|(_, pod)| node_of(pod)).filter(|node| gone(node)) {
        since.entry(node).or_insert(now);
    }
    pods()
        .filter(|(_, pod)| since.get(&node_of(pod)).is_some_and(|since| now.duration_since(*since) >= ORPHANED))
        .filter(|(_, pod)| pod["metadata"]["deletionGracePeriodSeconds"] != 0)
        .filter_map(|(key, pod)| {
            let options = deletion::Options { grace: Some(0), ..deletion::Options::default() };
            let write = deletion::begin(&PODS, pod, &options, Timestamp::now()).ok()?;
            Some(Step::new(key, pod, write))
        })
        .collect()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const NOW: &str = "2026-01-01T00:00:00Z";

    fn node(name: &str, spec: &Value) -> (Key, Value) {
        let status = json!({"conditions": [{"type": "Ready", "status": "True"}]});
        (
            Key::new(&NODES, "", name),
            json!({"metadata": {"name": name, "labels": {"n": name}}, "spec": spec, "status": status}),
        )
    }

    fn pod(name: &str, spec: &Value) -> (Key, Value) {
        let mut pod = json!({"metadata": {"name": name}, "spec": {"schedulerName": "default-scheduler"}, "status": {}});
        pod["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        (Key::new(&PODS, "default", name), pod)
    }

    fn cluster(objects: impl IntoIterator<Item = (Key, Value)>) -> Objects {
        objects.into_iter().map(|(key, object)| (key, object.into())).collect()
    }

    #[test]
    fn a_pod_goes_to_the_fitting_node_with_the_fewest() {
        let busy = pod("other", &json!({"nodeName": "a"}));
        let taint = json!({"taints": [{"key": "k", "value": "v", "effect": "NoSchedule"}]});
        let (free, cordoned) = (json!({}), json!({"unschedulable": true}));
        for (a, b, spec, want) in [
            (&free, &free, json!({}), Some("b")),
            (&free, &cordoned, json!({}), Some("a")),
            (&cordoned, &cordoned, json!({}), None),
            (&free, &taint, json!({}), Some("a")),
            (&free, &taint, json!({"tolerations": [{"key": "k", "operator": "Equal", "value": "v"}]}), Some("b")),
            (&free, &taint, json!({"tolerations": [{"key": "k", "operator": "Equal", "value": "w"}]}), Some("a")),
            (
                &free,
                &taint,
                json!({"tolerations": [{"key": "k", "operator": "Exists", "effect": "NoExecute"}]}),
                Some("a"),
            ),
            (&free, &taint, json!({"tolerations": [{"operator": "Exists"}]}), Some("b")),
            (&free, &free, json!({"nodeSelector": {"n": "a"}}), Some("a")),
        ] {
            let objects = cluster([node("a", a), node("b", b), busy.clone(), pod("p", &spec)]);
            let steps = schedule(&objects, NOW.parse().unwrap());
            let [Step { write: Write::Put(placed), .. }] = steps.as_slice() else { panic!("{steps:?}") };
            assert_eq!(placed["spec"]["nodeName"].as_str(), want, "{a} {b} {spec}");
        }
    }

    #[test]
    fn the_taints_of_a_node_follow_its_state() {
        let own = json!({"key": "own", "effect": "NoExecute"});
        let (not_ready, cordoned) =
            (json!({"key": NOT_READY, "effect": "NoSchedule"}), json!({"key": UNSCHEDULABLE, "effect": "NoSchedule"}));
        for (spec, want) in [
            (json!({}), None),
            (json!({"taints": [own, not_ready]}), Some(json!({"taints": [own]}))),
            (
                json!({"taints": [own], "unschedulable": true}),
                Some(json!({"taints": [own, cordoned], "unschedulable": true})),
            ),
            (json!({"taints": [cordoned]}), Some(json!({}))),
        ] {
            let (key, node) = node("a", &spec);
            let got = taint(&key, &node).map(|step| match step.write {
                Write::Put(node) => node["spec"].clone(),
                other => panic!("{other:?}"),
            });
            assert_eq!(got, want, "{spec}");
        }
    }

    #[test]
    fn pods_outlive_their_node_a_while() {
        let start = Instant::now();
        let objects =
            cluster([node("a", &json!({})), pod("p", &json!({"nodeName": "a"})), pod("q", &json!({"nodeName": "b"}))]);
        let mut since = BTreeMap::new();
        assert!(collect_orphans(&objects, &mut since, start).is_empty());
        assert!(collect_orphans(&objects, &mut since, start + ORPHANED / 2).is_empty());
        let steps = collect_orphans(&objects, &mut since, start + ORPHANED);
        assert_eq!(steps.iter().map(|step| step.key.name.as_str()).collect::<Vec<_>>(), ["q"]);
    }
}
