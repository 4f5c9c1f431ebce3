//! What the API fills in where an object says nothing, and what a new object may not bring along.

use serde_json::{Value, json};

use super::resource::Resource;

/// How long a pod that does not say otherwise bears a node that is gone, in seconds (`DefaultTolerationSeconds`).
const TOLERATION_SECONDS: u32 = 300;

/// Fills in what an object leaves out.
pub fn fill(resource: &Resource, object: &mut Value) {
    match resource.kind {
        "Pod" => pod_spec(object, "/spec"),
        "ReplicaSet" => {
            default(object, "/spec", "replicas", json!(1));
            pod_spec(object, "/spec/template/spec");
        }
        "DaemonSet" => pod_spec(object, "/spec/template/spec"),
        "PersistentVolume" => {
            default(object, "/spec", "persistentVolumeReclaimPolicy", json!("Retain"));
            default(object, "/spec", "volumeMode", json!("Filesystem"));
        }
        "PersistentVolumeClaim" => default(object, "/spec", "volumeMode", json!("Filesystem")),
        "ClusterRoleBinding" => binding(object),
        _ => {}
    }
}

/// Sets a field of the map at `place` that is not there; without the map there is nothing to fill in.
fn default(object: &mut Value, place: &str, field: &str, value: Value) {
    if let Some(map) = object.pointer_mut(place).and_then(Value::as_object_mut) {
        map.entry(field).or_insert(value);
    }
}

fn list_at<'a>(object: &'a mut Value, place: &str) -> impl Iterator<Item = &'a mut Value> + use<'a> {
    object.pointer_mut(place).and_then(Value::as_array_mut).into_iter().flatten()
}

fn pod_spec(object: &mut Value, place: &str) {
    for (field, value) in [
        ("restartPolicy", json!("Always")),
        ("terminationGracePeriodSeconds", json!(30)),
        ("dnsPolicy", json!("ClusterFirst")),
        ("schedulerName", json!("default-scheduler")),
        ("securityContext", json!({})),
        ("enableServiceLinks", json!(true)),
    ] {
        default(object, place, field, value);
    }
    for container in list_at(object, &format!("{place}/containers")) {
        let image = container["image"].as_str().unwrap_or_default();
        let latest = image.ends_with(":latest") || !image.rsplit('/').next().unwrap_or_default().contains([':', '@']);
        let policy = if latest { "Always" } else { "IfNotPresent" };
        for (field, value) in [
            ("imagePullPolicy", json!(policy)),
            ("resources", json!({})),
            ("terminationMessagePath", json!("/dev/termination-log")),
            ("terminationMessagePolicy", json!("File")),
        ] {
            default(container, "", field, value);
        }
    }
}

fn binding(binding: &mut Value) {
    let group = json!("rbac.authorization.k8s.io");
    // An empty group is what clients write that leave it out.
    let default_group = |one: &mut Value| {
        if one["apiGroup"].as_str().unwrap_or_default().is_empty() {
            one["apiGroup"] = group.clone();
        }
    };
    if let Some(role) = binding.get_mut("roleRef") {
        default_group(role);
    }
    list_at(binding, "/subjects").filter(|subject| subject["kind"] != "ServiceAccount").for_each(default_group);
}

/// What the server alone says of a new object: its first status, its generation, a pod's tolerations.
pub fn begin(resource: &Resource, object: &mut Value) {
    if resource.counts_generations {
        object["metadata"]["generation"] = json!(1);
    }
    let status = match resource.kind {
        "Pod" => {
            tolerate(&mut object["spec"]);
            json!({"phase": "Pending", "qosClass": quality(&object["spec"])})
        }
        "PersistentVolume" | "PersistentVolumeClaim" => json!({"phase": "Pending"}),
        "ReplicaSet" => json!({"replicas": 0}),
        "DaemonSet" => json!({
            "currentNumberScheduled": 0, "numberMisscheduled": 0, "desiredNumberScheduled": 0, "numberReady": 0,
        }),
        "PodDisruptionBudget" => json!({
            "disruptionsAllowed": 0, "currentHealthy": 0, "desiredHealthy": 0, "expectedPods": 0,
        }),
        "VolumeAttachment" => json!({"attached": false}),
        // A kubelet says at once how its node is.
        _ => return,
    };
    object["status"] = status;
}

fn tolerate(spec: &mut Value) {
    if !spec["tolerations"].is_array() {
        spec["tolerations"] = json!([]);
    }
    let Some(tolerations) = spec["tolerations"].as_array_mut() else { return };
    for key in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
        let said = tolerations.iter().any(|one| {
            (one["key"] == key || one["key"].as_str().unwrap_or_default().is_empty())
                && (one["effect"] == "NoExecute" || one["effect"].as_str().unwrap_or_default().is_empty())
        });
        if !said {
            tolerations.push(json!({
                "key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": TOLERATION_SECONDS,
            }));
        }
    }
}

/// The class by requests and limits of processor and memory.
fn quality(spec: &Value) -> &'static str {
    let asks =
        |container: &Value, kind: &str, what: &str| container["resources"][kind][what].as_str().map(str::to_owned);
    let resources = ["cpu", "memory"];
    let nothing = |container: &Value| {
        resources
            .iter()
            .all(|what| asks(container, "requests", what).is_none() && asks(container, "limits", what).is_none())
    };
    let all = |container: &Value| {
        resources.iter().all(|what| {
            let limit = asks(container, "limits", what);
            limit.is_some() && asks(container, "requests", what).is_none_or(|request| Some(request) == limit)
        })
    };
    let list = spec["containers"].as_array().map_or(&[][..], Vec::as_slice);
    if list.iter().all(nothing) {
        "BestEffort"
    } else if list.iter().all(all) {
        "Guaranteed"
    } else {
        "Burstable"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apiserver::resource::PODS;

    #[test]
    fn a_bare_pod_becomes_a_whole_one() {
        let mut pod = json!({
            "metadata": {}, "spec": {"containers": [{"name": "c", "image": "x/y:1"}], "nodeName": "a"},
            "status": {"phase": "Running"},
        });
        fill(&PODS, &mut pod);
        begin(&PODS, &mut pod);
        let tolerated =
            |key: &str| json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300});
        assert_eq!(
            pod,
            json!({
                "metadata": {"generation": 1},
                "spec": {
                    "containers": [{
                        "name": "c", "image": "x/y:1", "imagePullPolicy": "IfNotPresent", "resources": {},
                        "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
                    }],
                    "nodeName": "a", "restartPolicy": "Always", "terminationGracePeriodSeconds": 30,
                    "dnsPolicy": "ClusterFirst", "schedulerName": "default-scheduler", "securityContext": {},
                    "enableServiceLinks": true,
                    "tolerations": [tolerated("node.kubernetes.io/not-ready"), tolerated("node.kubernetes.io/unreachable")],
                },
                "status": {"phase": "Pending", "qosClass": "BestEffort"},
            })
        );
    }

    #[test]
    fn the_class_follows_requests_and_limits() {
        for (resources, class) in [
            (json!({}), "BestEffort"),
            (json!({"requests": {"cpu": "1"}}), "Burstable"),
            (json!({"limits": {"cpu": "1", "memory": "1Gi"}}), "Guaranteed"),
            (json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}}), "Burstable"),
        ] {
            assert_eq!(quality(&json!({"containers": [{"resources": resources}]})), class, "{resources}");
        }
    }
}
