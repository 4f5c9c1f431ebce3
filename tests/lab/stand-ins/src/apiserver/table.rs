//! Objects as tables, which is how kubectl asks for what it prints.

use serde_json::{Map, Value, json};

use super::deletion;
use super::resource::Resource;

/// Name, type, format, priority, description of a column. Priority 1 shows with `-o wide` only.
type Column = (&'static str, &'static str, u8);

const NODE_COLUMNS: [Column; 10] = [
    ("Name", "name", 0),
    ("Status", "", 0),
    ("Roles", "", 0),
    ("Age", "", 0),
    ("Version", "", 0),
    ("Internal-IP", "", 1),
    ("External-IP", "", 1),
    ("OS-Image", "", 1),
    ("Kernel-Version", "", 1),
    ("Container-Runtime", "", 1),
];
const LEASE_COLUMNS: [Column; 3] = [("Name", "name", 0), ("Holder", "", 0), ("Age", "", 0)];
const CONFIG_MAP_COLUMNS: [Column; 3] = [("Name", "name", 0), ("Data", "", 0), ("Age", "", 0)];
const NAMESPACE_COLUMNS: [Column; 3] = [("Name", "name", 0), ("Status", "", 0), ("Age", "", 0)];
const EVENT_COLUMNS: [Column; 5] =
    [("Last Seen", "", 0), ("Type", "", 0), ("Reason", "", 0), ("Object", "", 0), ("Message", "", 0)];
const POD_COLUMNS: [Column; 7] = [
    ("Name", "name", 0),
    ("Ready", "", 0),
    ("Status", "", 0),
    ("Restarts", "", 0),
    ("Age", "", 0),
    ("IP", "", 1),
    ("Node", "", 1),
];
const BUDGET_COLUMNS: [Column; 5] = [
    ("Name", "name", 0),
    ("Min Available", "", 0),
    ("Max Unavailable", "", 0),
    ("Allowed Disruptions", "", 0),
    ("Age", "", 0),
];
const DAEMON_SET_COLUMNS: [Column; 5] =
    [("Name", "name", 0), ("Desired", "", 0), ("Current", "", 0), ("Ready", "", 0), ("Age", "", 0)];
const REPLICA_SET_COLUMNS: [Column; 5] = DAEMON_SET_COLUMNS;
const VOLUME_COLUMNS: [Column; 5] =
    [("Name", "name", 0), ("Capacity", "", 0), ("Status", "", 0), ("Claim", "", 0), ("Age", "", 0)];
const CLAIM_COLUMNS: [Column; 4] = [("Name", "name", 0), ("Status", "", 0), ("Volume", "", 0), ("Age", "", 0)];
const ATTACHMENT_COLUMNS: [Column; 6] =
    [("Name", "name", 0), ("Attacher", "", 0), ("PV", "", 0), ("Node", "", 0), ("Attached", "", 0), ("Age", "", 0)];
const BINDING_COLUMNS: [Column; 3] = [("Name", "name", 0), ("Role", "", 0), ("Age", "", 0)];
const ROLE_COLUMNS: [Column; 2] = [("Name", "name", 0), ("Created At", "", 0)];
const OTHER_COLUMNS: [Column; 2] = [("Name", "name", 0), ("Age", "", 0)];

/// Whether the client prefers a table to objects.
#[must_use]
pub fn is_asked_for(accept: &str) -> bool {
    let preferred = accept.split(',').next().unwrap_or_default();
    let mut parameters = preferred.split(';').map(str::trim);
    parameters.any(|parameter| parameter == "as=Table")
        && preferred.contains("g=meta.k8s.io")
        && preferred.contains("v=v1")
        && !preferred.contains("v=v1beta1")
}

/// A table of the objects. `metadata` is the table's own; `whole` puts objects into the rows instead of their metadata.
#[must_use]
pub fn of<'a>(
    resource: &Resource,
    objects: impl IntoIterator<Item = &'a Value>,
    metadata: &Value,
    include: &str,
    now: jiff::Timestamp,
) -> Value {
    let definitions: Vec<Value> = columns(resource)
        .iter()
        .map(|(name, format, priority)| {
            json!({"name": name, "type": "string", "format": format, "description": "", "priority": priority})
        })
        .collect();
    let rows: Vec<Value> = objects
        .into_iter()
        .map(|object| {
            let mut row = json!({"cells": cells(resource, object, now)});
            match include {
                "None" => {}
                "Object" => row["object"] = object.clone(),
                _ => {
                    row["object"] = json!({
                        "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"],
                    });
                }
            }
            row
        })
        .collect();
    json!({
        "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": metadata,
        "columnDefinitions": definitions, "rows": rows,
    })
}

fn columns(resource: &Resource) -> &'static [Column] {
    match resource.plural {
        "nodes" => &NODE_COLUMNS,
        "leases" => &LEASE_COLUMNS,
        "configmaps" => &CONFIG_MAP_COLUMNS,
        "namespaces" => &NAMESPACE_COLUMNS,
        "events" => &EVENT_COLUMNS,
        "pods" => &POD_COLUMNS,
        "poddisruptionbudgets" => &BUDGET_COLUMNS,
        "daemonsets" => &DAEMON_SET_COLUMNS,
        "replicasets" => &REPLICA_SET_COLUMNS,
        "persistentvolumes" => &VOLUME_COLUMNS,
        "persistentvolumeclaims" => &CLAIM_COLUMNS,
        "volumeattachments" => &ATTACHMENT_COLUMNS,
        "clusterroles" => &ROLE_COLUMNS,
        "clusterrolebindings" => &BINDING_COLUMNS,
        _ => &OTHER_COLUMNS,
    }
}

fn cells(resource: &Resource, object: &Value, now: jiff::Timestamp) -> Vec<String> {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let name = text("/metadata/name");
    let age = age(&text("/metadata/creationTimestamp"), now);
    let plain = |pointer: &str| match object.pointer(pointer) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Null) | None => String::new(),
        Some(other) => other.to_string(),
    };
    let number = |pointer: &str| object.pointer(pointer).and_then(Value::as_i64).unwrap_or_default().to_string();
    let or_unset = |value: String| if value.is_empty() { "N/A".to_owned() } else { value };
    let or_none = |value: String| if value.is_empty() { "<none>".to_owned() } else { value };
    let or_unknown = |value: String| if value.is_empty() { "<unknown>".to_owned() } else { value };
    match resource.plural {
        "nodes" => vec![
            name,
            node_status(object),
            or_none(node_roles(object)),
            age,
            text("/status/nodeInfo/kubeletVersion"),
            or_none(node_address(object, "InternalIP")),
            or_none(node_address(object, "ExternalIP")),
            or_unknown(text("/status/nodeInfo/osImage")),
            or_unknown(text("/status/nodeInfo/kernelVersion")),
            or_unknown(text("/status/nodeInfo/containerRuntimeVersion")),
        ],
        "leases" => vec![name, text("/spec/holderIdentity"), age],
        "configmaps" => {
            let parts = [&object["data"], &object["binaryData"]].into_iter().filter_map(Value::as_object);
            vec![name, parts.map(Map::len).sum::<usize>().to_string(), age]
        }
        "namespaces" => vec![name, text("/status/phase"), age],
        "events" => vec![
            self::age(&text("/lastTimestamp"), now),
            text("/type"),
            text("/reason"),
            format!("{}/{}", text("/involvedObject/kind").to_lowercase(), text("/involvedObject/name")),
            text("/message"),
        ],
        "pods" => {
            let [ready, status, restarts] = pod_state(object);
            vec![name, ready, status, restarts, age, or_none(text("/status/podIP")), or_none(text("/spec/nodeName"))]
        }
        "poddisruptionbudgets" => vec![
            name,
            or_unset(plain("/spec/minAvailable")),
            or_unset(plain("/spec/maxUnavailable")),
            number("/status/disruptionsAllowed"),
            age,
        ],
        "daemonsets" => vec![
            name,
            number("/status/desiredNumberScheduled"),
            number("/status/currentNumberScheduled"),
            number("/status/numberReady"),
            age,
        ],
        "replicasets" => {
            vec![name, number("/spec/replicas"), number("/status/replicas"), number("/status/readyReplicas"), age]
        }
        "persistentvolumes" => {
            let claim = match text("/spec/claimRef/name") {
                claim if claim.is_empty() => claim,
                claim => format!("{}/{claim}", text("/spec/claimRef/namespace")),
            };
            vec![name, text("/spec/capacity/storage"), text("/status/phase"), claim, age]
        }
        "persistentvolumeclaims" => vec![name, text("/status/phase"), text("/spec/volumeName"), age],
        "volumeattachments" => vec![
            name,
            text("/spec/attacher"),
            text("/spec/source/persistentVolumeName"),
            text("/spec/nodeName"),
            plain("/status/attached"),
            age,
        ],
        "clusterroles" => vec![name, text("/metadata/creationTimestamp")],
        "clusterrolebindings" => vec![name, format!("ClusterRole/{}", text("/roleRef/name")), age],
        _ => vec![name, age],
    }
}

/// Ready containers of all, phase or Terminating, restarts.
fn pod_state(pod: &Value) -> [String; 3] {
    let statuses = pod.pointer("/status/containerStatuses").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let all = pod.pointer("/spec/containers").and_then(Value::as_array).map_or(0, Vec::len);
    let ready = statuses.iter().filter(|status| status["ready"] == true).count();
    let restarts: i64 = statuses.iter().filter_map(|status| status["restartCount"].as_i64()).sum();
    let phase = pod.pointer("/status/phase").and_then(Value::as_str).unwrap_or_default();
    let status = if deletion::is_wanted(pod) { "Terminating" } else { phase };
    [format!("{ready}/{all}"), status.to_owned(), restarts.to_string()]
}

fn node_status(node: &Value) -> String {
    let conditions = node.pointer("/status/conditions").and_then(Value::as_array);
    let ready = conditions.and_then(|list| list.iter().find(|condition| condition["type"] == "Ready"));
    let mut status = match ready {
        Some(condition) if condition["status"] == "True" => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    }
    .to_owned();
    if node.pointer("/spec/unschedulable") == Some(&Value::Bool(true)) {
        status.push_str(",SchedulingDisabled");
    }
    status
}

fn node_roles(node: &Value) -> String {
    let labels = node.pointer("/metadata/labels").and_then(Value::as_object);
    let mut roles: Vec<&str> = labels
        .into_iter()
        .flatten()
        .filter_map(|(label, value)| match label.strip_prefix("node-role.kubernetes.io/") {
            Some(role) if !role.is_empty() => Some(role),
            _ if label == "kubernetes.io/role" => value.as_str().filter(|role| !role.is_empty()),
            _ => None,
        })
        .collect();
    roles.sort_unstable();
    roles.dedup();
    roles.join(",")
}

fn node_address(node: &Value, kind: &str) -> String {
    let addresses = node.pointer("/status/addresses").and_then(Value::as_array);
    addresses
        .into_iter()
        .flatten()
        .find(|address| address["type"] == kind)
        .and_then(|address| address["address"].as_str())
        .unwrap_or_default()
        .to_owned()
}

/// How long ago, as kubectl writes it.
fn age(since: &str, now: jiff::Timestamp) -> String {
    match since.parse::<jiff::Timestamp>() {
        Ok(since) => human_duration(now.as_second() - since.as_second()),
        Err(_) => "<unknown>".to_owned(),
    }
}

/// Two units at most, the second only while it matters.
fn human_duration(seconds: i64) -> String {
    let two = |big: i64, big_unit: &str, small: i64, small_unit: &str| {
        if small == 0 { format!("{big}{big_unit}") } else { format!("{big}{big_unit}{small}{small_unit}") }
    };
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        ..-1 => "<invalid>".to_owned(),
        -1..0 => "0s".to_owned(),
        0..120 => format!("{seconds}s"),
        120..600 => two(minutes, "m", seconds % 60, "s"),
        600..10_800 => format!("{minutes}m"),
        10_800..28_800 => two(hours, "h", minutes % 60, "m"),
        28_800..172_800 => format!("{hours}h"),
        172_800..691_200 => two(days, "d", hours % 24, "h"),
        691_200..63_072_000 => format!("{days}d"),
        63_072_000..252_288_000 => two(days / 365, "y", days % 365, "d"),
        _ => format!("{}y", days / 365),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::apiserver::resource::NODES;

    #[test]
    fn kubectl_gets_its_table_when_it_asks_first_for_it() {
        for (accept, table) in [
            (
                "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json",
                true,
            ),
            ("application/json", false),
            ("application/json;as=Table;v=v1beta1;g=meta.k8s.io", false),
            ("application/json, application/json;as=Table;v=v1;g=meta.k8s.io", false),
        ] {
            assert_eq!(is_asked_for(accept), table, "{accept}");
        }
    }

    #[test]
    fn a_worker_without_a_cni_is_not_ready() {
        let node = json!({
            "metadata": {"name": "worker-node-1", "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"unschedulable": true},
            "status": {
                "conditions": [{"type": "Ready", "status": "False"}],
                "addresses": [{"type": "InternalIP", "address": "10.0.0.36"}, {"type": "Hostname", "address": "worker-node-1"}],
                "nodeInfo": {"kubeletVersion": "v1.35.1", "osImage": "Debian", "kernelVersion": "6", "containerRuntimeVersion": "containerd://2"},
            },
        });
        let now: jiff::Timestamp = "2026-01-01T00:00:42Z".parse().unwrap();
        assert_eq!(
            cells(&NODES, &node, now),
            [
                "worker-node-1",
                "NotReady,SchedulingDisabled",
                "<none>",
                "42s",
                "v1.35.1",
                "10.0.0.36",
                "<none>",
                "Debian",
                "6",
                "containerd://2",
            ]
        );
    }

    #[test]
    fn a_terminating_pod_and_a_budget_are_told() {
        use crate::apiserver::resource::{POD_DISRUPTION_BUDGETS, PODS};
        let now: jiff::Timestamp = "2026-01-01T00:00:42Z".parse().unwrap();
        let born = "2026-01-01T00:00:00Z";
        let pod = json!({
            "metadata": {"name": "p", "creationTimestamp": born, "deletionTimestamp": born},
            "spec": {"nodeName": "a", "containers": [{}, {}]},
            "status": {"phase": "Running", "containerStatuses": [{"ready": true, "restartCount": 2}, {"ready": false}]},
        });
        assert_eq!(cells(&PODS, &pod, now), ["p", "1/2", "Terminating", "2", "42s", "<none>", "a"]);
        let budget = json!({
            "metadata": {"name": "b", "creationTimestamp": born}, "spec": {"maxUnavailable": "50%"},
            "status": {"disruptionsAllowed": 1},
        });
        assert_eq!(cells(&POD_DISRUPTION_BUDGETS, &budget, now), ["b", "N/A", "50%", "1", "42s"]);
    }

    #[test]
    fn ages_read_as_kubectl_writes_them() {
        for (seconds, want) in [
            (-5, "<invalid>"),
            (-1, "0s"),
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (125, "2m5s"),
            (601, "10m"),
            (10_800, "3h"),
            (10_860, "3h1m"),
            (30_000, "8h"),
            (172_800, "2d"),
            (176_400, "2d1h"),
            (700_000, "8d"),
            (63_158_400, "2y1d"),
            (315_360_000, "10y"),
        ] {
            assert_eq!(human_duration(seconds), want, "{seconds}");
        }
    }
}
