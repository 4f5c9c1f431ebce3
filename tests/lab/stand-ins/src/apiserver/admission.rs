//! What happens to an object between authorization and storage: the rules of `NodeRestriction`, the taint of a new
//! node, and the pod CIDR that the controller manager would give it.

use std::net::Ipv4Addr;

use serde_json::{Value, json};

use super::authz::NODE_LEASES;
use super::identity::Identity;
use super::resource::{self, Resource};
use super::status::ApiError;
use super::storage::{Key, Objects};

/// The cluster's pod network, of which each node gets a /24.
const POD_NETWORK: Ipv4Addr = Ipv4Addr::new(10, 200, 0, 0);

/// The annotation that makes a pod a mirror pod.
const MIRROR_POD: &str = "kubernetes.io/config.mirror";

/// Labels in the `kubernetes.io` and `k8s.io` domains that a kubelet may set on its node.
const KUBELET_LABELS: [&str; 14] = [
    "beta.kubernetes.io/arch",
    "beta.kubernetes.io/instance-type",
    "beta.kubernetes.io/os",
    "failure-domain.beta.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.kubernetes.io/region",
    "failure-domain.kubernetes.io/zone",
    "kubernetes.io/arch",
    "kubernetes.io/hostname",
    "kubernetes.io/os",
    "node.kubernetes.io/instance-type",
    "topology.kubernetes.io/region",
    "topology.kubernetes.io/zone",
    "node.kubernetes.io/windows-build",
];

/// Domains, with their subdomains, whose labels a kubelet may set.
const KUBELET_LABEL_DOMAINS: [&str; 2] = ["kubelet.kubernetes.io", "node.kubernetes.io"];

/// `NodeRestriction`: what a node may write of its own objects.
///
/// # Errors
/// 403 with the plugin's words.
pub fn restrict_node(
    identity: &Identity,
    (resource, subresource): (&Resource, &str),
    name: &str,
    old: Option<&Value>,
    new: Option<&Value>,
    objects: &Objects,
) -> Result<(), ApiError> {
    let Some(node) = identity.node() else { return Ok(()) };
    let deny = |why: String| Err(ApiError::forbidden(resource, name, &why));
    match resource.plural {
        "nodes" if name != node => deny(format!("node \"{node}\" is not allowed to modify node \"{name}\"")),
        "nodes" => match new {
            Some(new) => restrict_own_node(node, old, new).or_else(deny),
            None => deny(format!("node \"{node}\" is not allowed to delete itself")),
        },
        "leases" => {
            let namespace = new.or(old).and_then(|lease| lease.pointer("/metadata/namespace")).and_then(Value::as_str);
            if namespace.unwrap_or(NODE_LEASES) != NODE_LEASES {
                deny(format!("can only access leases in the \"{NODE_LEASES}\" system namespace"))
            } else if name == node {
                Ok(())
            } else {
                deny("can only access node lease with the same name as the requesting node".to_owned())
            }
        }
        "pods" => restrict_pod(node, subresource, old, new, objects).or_else(deny),
        "persistentvolumeclaims" if subresource != "status" => deny("may only update PVC status".to_owned()),
        "persistentvolumeclaims" => restrict_claim(node, old, new).or_else(deny),
        _ => Ok(()),
    }
}

/// A node ends, reports and evicts its own pods, and makes mirror pods.
fn restrict_pod(
    node: &str,
    subresource: &str,
    old: Option<&Value>,
    new: Option<&Value>,
    objects: &Objects,
) -> Result<(), String> {
    let own = |pod: &Value| pod["spec"]["nodeName"] == node;
    match (subresource, old, new) {
        ("eviction", Some(pod), _) if !own(pod) => {
            Err(format!("node {node} can only evict pods with spec.nodeName set to itself"))
        }
        ("status", Some(old), _) if !own(old) => {
            Err(format!("node \"{node}\" can only update pod status for pods with spec.nodeName set to itself"))
        }
        ("status", Some(old), Some(new)) if old["metadata"]["labels"] != new["metadata"]["labels"] => {
            Err(format!("node \"{node}\" cannot update labels through pod status"))
        }
        ("", Some(pod), None) if !own(pod) => {
            Err(format!("node \"{node}\" can only delete pods with spec.nodeName set to itself"))
        }
        ("", None, Some(pod)) => restrict_new_pod(node, pod, objects),
        _ => Ok(()),
    }
}

/// A node makes mirror pods alone, and they refer to nothing but the node.
fn restrict_new_pod(node: &str, pod: &Value, objects: &Objects) -> Result<(), String> {
    if !pod["metadata"]["annotations"][MIRROR_POD].is_string() {
        return Err(format!(
            "pod does not have \"{MIRROR_POD}\" annotation, node \"{node}\" can only create mirror pods"
        ));
    }
    let only = |what: &str| Err(format!("node \"{node}\" can only create pods with {what}"));
    if pod["spec"]["nodeName"] != node {
        return only("spec.nodeName set to itself");
    }
    let owners = pod["metadata"]["ownerReferences"].as_array().map_or(&[][..], Vec::as_slice);
    let [owner] = owners else {
        return only(if owners.is_empty() {
            "an owner reference set to itself"
        } else {
            "a single owner reference set to itself"
        });
    };
    if owner["apiVersion"] != "v1" || owner["kind"] != "Node" || owner["name"] != node {
        return only("an owner reference set to itself");
    }
    if owner["controller"] != true {
        return only("a controller owner reference set to itself");
    }
    if owner["blockOwnerDeletion"] == true {
        return Err(format!("node \"{node}\" must not set blockOwnerDeletion on an owner reference"));
    }
    let there = objects.get(&Key::new(&resource::NODES, "", node));
    let there = there.ok_or_else(|| format!("node \"{node}\" not found"))?;
    if owner["uid"] != there["metadata"]["uid"] {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (wanted, got) = (text(&owner["uid"]), text(&there["metadata"]["uid"]));
        return Err(format!("node {node} UID mismatch: expected {wanted} got {got}"));
    }
    restrict_references(node, &pod["spec"])
}

fn restrict_references(node: &str, spec: &Value) -> Result<(), String> {
    let refers = |what: &str| Err(format!("node \"{node}\" can not create pods that reference {what}"));
    if spec["serviceAccountName"].as_str().is_some_and(|name| !name.is_empty()) {
        return refers("a service account");
    }
    for (field, what) in
        [("secret", "secrets"), ("configMap", "configmaps"), ("persistentVolumeClaim", "persistentvolumeclaims")]
    {
        if spec["volumes"].as_array().into_iter().flatten().any(|volume| !volume[field].is_null()) {
            return refers(what);
        }
    }
    Ok(())
}

/// A node says how large a claim is and how it is, and nothing else.
fn restrict_claim(node: &str, old: Option<&Value>, new: Option<&Value>) -> Result<(), String> {
    let bare = |claim: Option<&Value>| {
        let mut claim = claim.cloned().unwrap_or_default();
        for (map, fields) in [
            ("status", &["capacity", "conditions", "allocatedResources", "allocatedResourceStatuses"][..]),
            ("metadata", &["resourceVersion", "managedFields"]),
        ] {
            if let Some(map) = claim.get_mut(map).and_then(Value::as_object_mut) {
                map.retain(|field, _| !fields.contains(&field.as_str()));
            }
        }
        claim
    };
    if bare(old) == bare(new) {
        return Ok(());
    }
    let why = "is not allowed to update fields other than status.capacity and status.conditions";
    Err(format!("node \"{node}\" {why}"))
}

fn restrict_own_node(node: &str, old: Option<&Value>, new: &Value) -> Result<(), String> {
    let Some(old) = old else {
        return match forbidden_labels(&Value::Null, new) {
            labels if labels.is_empty() => Ok(()),
            labels => Err(format!("is not allowed to set the following labels: {}", labels.join(", "))),
        };
    };
    let differs = |pointer: &str| old.pointer(pointer) != new.pointer(pointer);
    if differs("/metadata/ownerReferences") {
        return Err(format!("node \"{node}\" is not allowed to modify ownerReferences"));
    }
    if differs("/spec/taints") {
        return Err(format!("node \"{node}\" is not allowed to modify taints"));
    }
    match forbidden_labels(old, new) {
        labels if labels.is_empty() => Ok(()),
        labels => Err(format!("is not allowed to modify labels: {}", labels.join(", "))),
    }
}

/// Labels that differ and that a kubelet may not touch, sorted.
fn forbidden_labels(old: &Value, new: &Value) -> Vec<String> {
    let labels =
        |object: &Value| object.pointer("/metadata/labels").and_then(Value::as_object).cloned().unwrap_or_default();
    let (old, new) = (labels(old), labels(new));
    let mut names: Vec<String> = old
        .keys()
        .chain(new.keys())
        .filter(|name| old.get(*name) != new.get(*name) && !kubelet_may_set(name))
        .cloned()
        .collect();
    names.sort();
    names.dedup();
    names
}

/// Whether a kubelet may give its node this label.
#[must_use]
pub fn kubelet_may_set(label: &str) -> bool {
    let domain = label.split_once('/').map_or("", |(domain, _)| domain);
    let below = |parent: &str| domain == parent || domain.ends_with(&format!(".{parent}"));
    if below("node-restriction.kubernetes.io") {
        return false;
    }
    if !below("kubernetes.io") && !below("k8s.io") {
        return true;
    }
    KUBELET_LABELS.contains(&label) || KUBELET_LABEL_DOMAINS.into_iter().any(below)
}

/// What admission and the controller manager add to a new object.
pub fn complete_new(resource: &Resource, object: &mut Value, objects: &Objects) {
    match resource.plural {
        "nodes" => {
            add_not_ready_taint(object);
            if object.pointer("/spec/podCIDR").is_none()
                && let Some(cidr) = free_pod_cidr(objects)
            {
                object["spec"]["podCIDR"] = json!(cidr);
                object["spec"]["podCIDRs"] = json!([cidr]);
            }
        }
        "namespaces" => {
            object["metadata"]["labels"]["kubernetes.io/metadata.name"] = object["metadata"]["name"].clone();
            object["spec"]["finalizers"] = json!(["kubernetes"]);
            object["status"]["phase"] = json!("Active");
        }
        _ => {}
    }
}

/// `TaintNodesByCondition`: a node is not ready until its conditions were seen.
fn add_not_ready_taint(node: &mut Value) {
    let taint = json!({"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"});
    match node["spec"]["taints"].as_array_mut() {
        Some(taints) if taints.iter().any(|old| old["key"] == taint["key"] && old["effect"] == taint["effect"]) => {}
        Some(taints) => taints.push(taint),
        None => node["spec"]["taints"] = json!([taint]),
    }
}

fn free_pod_cidr(objects: &Objects) -> Option<String> {
    let taken: Vec<&str> = objects
        .iter()
        .filter(|(key, _)| key.is_in(&resource::NODES, ""))
        .filter_map(|(_, node)| node.pointer("/spec/podCIDR").and_then(Value::as_str))
        .collect();
    let [first, second, ..] = POD_NETWORK.octets();
    (0..=u8::MAX).map(|third| format!("{first}.{second}.{third}.0/24")).find(|cidr| !taken.contains(&cidr.as_str()))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::apiserver::resource::{LEASES, NODES};

    fn worker() -> Identity {
        Identity { user: "system:node:a".to_owned(), groups: vec!["system:nodes".to_owned()], serial: String::new() }
    }

    fn node(labels: &Value) -> Value {
        json!({"metadata": {"name": "a", "labels": labels}, "spec": {}})
    }

    fn message(result: Result<(), ApiError>) -> Option<String> {
        result.err().map(|error| error.message)
    }

    #[test]
    fn a_node_writes_its_own_node_only() {
        let other = json!({"metadata": {"name": "b"}});
        assert_eq!(
            message(restrict_node(&worker(), (&NODES, ""), "b", None, Some(&other), &Objects::new())).unwrap(),
            "nodes \"b\" is forbidden: node \"a\" is not allowed to modify node \"b\""
        );
        assert_eq!(
            message(restrict_node(&worker(), (&LEASES, ""), "b", None, Some(&other), &Objects::new())).unwrap(),
            "leases.coordination.k8s.io \"b\" is forbidden: \
             can only access node lease with the same name as the requesting node"
        );
        let admin = Identity { user: "admin".to_owned(), ..worker() };
        assert_eq!(restrict_node(&admin, (&NODES, ""), "b", None, Some(&other), &Objects::new()), Ok(()));
    }

    #[test]
    fn labels_of_others_are_out_of_reach() {
        for (label, allowed) in [
            ("kubernetes.io/hostname", true),
            ("node.kubernetes.io/anything", true),
            ("x.kubelet.kubernetes.io/anything", true),
            ("example.com/anything", true),
            ("plain", true),
            ("node-role.kubernetes.io/worker", false),
            ("node-restriction.kubernetes.io/x", false),
            ("x.node-restriction.kubernetes.io/x", false),
            ("kubernetes.io/other", false),
            ("app.k8s.io/x", false),
        ] {
            let before = node(&json!({}));
            let after = node(&json!({label: "1"}));
            for old in [None, Some(&before)] {
                let result = restrict_node(&worker(), (&NODES, ""), "a", old, Some(&after), &Objects::new());
                assert_eq!(result.is_ok(), allowed, "{label} on top of {old:?}");
            }
        }
    }

    #[test]
    fn taints_may_come_with_the_node_and_not_change() {
        let before = node(&json!({}));
        let mut after = before.clone();
        after["spec"]["taints"] = json!([{"key": "x", "effect": "NoSchedule"}]);
        assert_eq!(restrict_node(&worker(), (&NODES, ""), "a", None, Some(&after), &Objects::new()), Ok(()));
        assert_eq!(
            message(restrict_node(&worker(), (&NODES, ""), "a", Some(&before), Some(&after), &Objects::new())).unwrap(),
            "nodes \"a\" is forbidden: node \"a\" is not allowed to modify taints"
        );
    }

    #[test]
    fn a_node_ends_reports_and_evicts_its_own_pods_and_makes_mirror_pods() {
        let on = |node: &str| json!({"metadata": {"labels": {"a": "1"}}, "spec": {"nodeName": node}});
        let (mine, others) = (on("a"), on("b"));
        let mut relabelled = mine.clone();
        relabelled["metadata"]["labels"]["a"] = json!("2");
        let mirror = json!({
            "metadata": {
                "annotations": {MIRROR_POD: "hash"},
                "ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": "a", "uid": "u", "controller": true}],
            },
            "spec": {"nodeName": "a"},
        });
        let but = |pointer: &str, value: Value| {
            let mut pod = mirror.clone();
            *pod.pointer_mut(pointer).unwrap() = value;
            pod
        };
        let objects: Objects = [(Key::new(&NODES, "", "a"), json!({"metadata": {"uid": "u"}}).into())].into();
        let own_only = "node \"a\" can only update pod status for pods with spec.nodeName set to itself";
        let owner = "/metadata/ownerReferences/0";
        for (subresource, old, new, want) in [
            ("", Some(&mine), None, None),
            ("", Some(&others), None, Some("node \"a\" can only delete pods with spec.nodeName set to itself")),
            ("eviction", Some(&mine), None, None),
            ("eviction", Some(&others), None, Some("node a can only evict pods with spec.nodeName set to itself")),
            ("status", Some(&mine), Some(&mine), None),
            ("status", Some(&others), Some(&others), Some(own_only)),
            ("status", Some(&mine), Some(&relabelled), Some("node \"a\" cannot update labels through pod status")),
            ("", None, Some(&mirror), None),
            (
                "",
                None,
                Some(&mine),
                Some(
                    "pod does not have \"kubernetes.io/config.mirror\" annotation, node \"a\" can only create mirror pods",
                ),
            ),
            (
                "",
                None,
                Some(&but("/spec/nodeName", json!("b"))),
                Some("node \"a\" can only create pods with spec.nodeName set to itself"),
            ),
            (
                "",
                None,
                Some(&but("/metadata/ownerReferences", json!([]))),
                Some("node \"a\" can only create pods with an owner reference set to itself"),
            ),
            (
                "",
                None,
                Some(&but(&format!("{owner}/controller"), json!(false))),
                Some("node \"a\" can only create pods with a controller owner reference set to itself"),
            ),
            ("", None, Some(&but(&format!("{owner}/uid"), json!("v"))), Some("node a UID mismatch: expected v got u")),
            (
                "",
                None,
                Some(&but("/spec", json!({"nodeName": "a", "volumes": [{"secret": {}}]}))),
                Some("node \"a\" can not create pods that reference secrets"),
            ),
        ] {
            let result = restrict_node(&worker(), (&resource::PODS, subresource), "p", old, new, &objects);
            let want = want.map(|why| format!("pods \"p\" is forbidden: {why}"));
            assert_eq!(message(result), want, "{subresource} {old:?} {new:?}");
        }
    }

    #[test]
    fn a_new_node_gets_the_taint_and_the_next_network() {
        let mut objects = Objects::new();
        let mut first = node(&json!({}));
        complete_new(&NODES, &mut first, &objects);
        assert_eq!(
            first["spec"],
            json!({
                "taints": [{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}],
                "podCIDR": "10.200.0.0/24", "podCIDRs": ["10.200.0.0/24"],
            })
        );
        objects.insert(crate::apiserver::storage::Key::new(&NODES, "", "a"), first.into());
        let mut second = node(&json!({}));
        second["spec"]["taints"] = json!([{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}]);
        complete_new(&NODES, &mut second, &objects);
        assert_eq!(
            second["spec"],
            json!({
                "taints": [{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}],
                "podCIDR": "10.200.1.0/24", "podCIDRs": ["10.200.1.0/24"],
            })
        );
    }
}
