//! What values an object may have, in the words of the real apiserver: what matters to who makes nodes, drains them and
//! gives rights. All problems of an object are found, not the first alone.

use std::collections::BTreeSet;

use serde_json::Value;

use super::resource::Resource;
use super::selector::LabelSelector;

/// What is wrong with an object.
#[must_use]
pub fn problems(resource: &Resource, object: &Value) -> Vec<String> {
    let mut found = Vec::new();
    metadata(resource, &object["metadata"], &mut found);
    let spec = &object["spec"];
    match resource.kind {
        "Lease" => lease(spec, &mut found),
        "Node" => taints(spec, &mut found),
        "Pod" => pod("spec", spec, &mut found),
        "ReplicaSet" | "DaemonSet" => workload(spec, &mut found),
        "PodDisruptionBudget" => budget(spec, &mut found),
        "PersistentVolume" => volume(spec, &mut found),
        "PersistentVolumeClaim" => claim(spec, &mut found),
        "VolumeAttachment" => attachment(spec, &mut found),
        "ClusterRole" => role(&object["rules"], &mut found),
        "ClusterRoleBinding" => binding(object, &mut found),
        _ => {}
    }
    found
}

/// What of an object may not be changed as it was.
#[must_use]
pub fn forbidden_changes(resource: &Resource, old: &Value, new: &Value) -> Vec<String> {
    let differs = |pointer: &str| old.pointer(pointer) != new.pointer(pointer);
    let immutable = |path: &str| vec![format!("{path}: Invalid value: field is immutable")];
    let mut found = match resource.kind {
        "Pod" if bare_pod(&old["spec"]) != bare_pod(&new["spec"]) => vec![
            "spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`,\
             `spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing \
             tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
                .to_owned(),
        ],
        "ReplicaSet" | "DaemonSet" if differs("/spec/selector") => immutable("spec.selector"),
        "VolumeAttachment" if differs("/spec") => immutable("spec"),
        "ClusterRoleBinding" if differs("/roleRef") => {
            vec![format!("roleRef: Invalid value: {}: cannot change roleRef", new["roleRef"])]
        }
        "Node" if old.pointer("/spec/podCIDR").is_some() && differs("/spec/podCIDR") => vec![
            "spec.podCIDRs: Forbidden: node updates may not change podCIDR except from \"\" to valid".to_owned(),
        ],
        "Node" if old.pointer("/spec/providerID").is_some() && differs("/spec/providerID") => vec![
            "spec.providerID: Forbidden: node updates may not change providerID except from \"\" to valid".to_owned(),
        ],
        _ => Vec::new(),
    };
    if old["metadata"]["deletionTimestamp"].is_string() {
        let names = |object: &Value| {
            let list = object["metadata"]["finalizers"].as_array().cloned().unwrap_or_default();
            list.iter().filter_map(Value::as_str).map(str::to_owned).collect::<BTreeSet<_>>()
        };
        let new: Vec<String> = names(new).difference(&names(old)).map(|name| format!("{name:?}")).collect();
        if !new.is_empty() {
            found.push(format!(
                "metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, found new \
                 finalizers []string{{{}}}",
                new.join(", ")
            ));
        }
    }
    found
}

/// A pod's spec without what may be changed.
fn bare_pod(spec: &Value) -> Value {
    let mut spec = spec.clone();
    if let Some(map) = spec.as_object_mut() {
        map.remove("activeDeadlineSeconds");
        map.remove("tolerations");
    }
    for list in ["containers", "initContainers"] {
        for container in spec[list].as_array_mut().into_iter().flatten() {
            container["image"] = Value::Null;
        }
    }
    spec
}

fn metadata(resource: &Resource, metadata: &Value, found: &mut Vec<String>) {
    let name = metadata["name"].as_str().unwrap_or_default();
    if resource.group == "rbac.authorization.k8s.io" {
        if matches!(name, "." | "..") || name.contains(['/', '%']) {
            found
                .push(format!("metadata.name: Invalid value: {name:?}: may not be '.' or '..', or contain '/' or '%'"));
        }
    } else if !name.is_empty() && !is_dns_subdomain(name) {
        found.push(format!(
            "metadata.name: Invalid value: {name:?}: a lowercase RFC 1123 subdomain must consist of lower case \
             alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character"
        ));
    }
    for (key, value) in metadata["labels"].as_object().into_iter().flatten() {
        check_key("metadata.labels", key, found);
        let value = value.as_str().unwrap_or_default();
        if !is_label_value(value) {
            found.push(format!(
                "metadata.labels: Invalid value: {value:?}: a valid label must be an empty string or consist of \
                 alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character, and be \
                 no more than 63 characters"
            ));
        }
    }
    for (key, _) in metadata["annotations"].as_object().into_iter().flatten() {
        check_key("metadata.annotations", &key.to_lowercase(), found);
    }
}

fn check_key(path: &str, key: &str, found: &mut Vec<String>) {
    if !is_qualified_name(key) {
        found.push(format!(
            "{path}: Invalid value: {key:?}: name part must consist of alphanumeric characters, '-', '_' or '.', and must \
             start and end with an alphanumeric character, with an optional DNS subdomain prefix and '/'"
        ));
    }
}

fn is_qualified_name(key: &str) -> bool {
    let (prefix, name) = key.split_once('/').map_or((None, key), |(prefix, name)| (Some(prefix), name));
    !name.is_empty() && is_label_value(name) && prefix.is_none_or(is_dns_subdomain)
}

fn is_label_value(value: &str) -> bool {
    let ends = |character: Option<char>| character.is_none_or(|character| character.is_ascii_alphanumeric());
    value.len() <= 63
        && value.chars().all(|character| character.is_ascii_alphanumeric() || "-_.".contains(character))
        && ends(value.chars().next())
        && ends(value.chars().next_back())
}

/// RFC 1123 subdomain, at most 253 characters.
#[must_use]
pub fn is_dns_subdomain(name: &str) -> bool {
    name.len() <= 253 && name.split('.').all(is_dns_part)
}

fn is_dns_label(name: &str) -> bool {
    name.len() <= 63 && is_dns_part(name)
}

fn is_dns_part(part: &str) -> bool {
    !part.is_empty()
        && !part.starts_with('-')
        && !part.ends_with('-')
        && part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

fn text<'a>(map: &'a Value, field: &str) -> &'a str {
    map[field].as_str().unwrap_or_default()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn one_of(path: &str, value: &str, known: &[&str], found: &mut Vec<String>) {
    if !known.contains(&value) {
        let known: Vec<String> = known.iter().map(|word| format!("{word:?}")).collect();
        found.push(format!("{path}: Unsupported value: {value:?}: supported values: {}", known.join(", ")));
    }
}

fn lease(spec: &Value, found: &mut Vec<String>) {
    if let Some(seconds) = spec["leaseDurationSeconds"].as_i64().filter(|seconds| *seconds <= 0) {
        found.push(format!("spec.leaseDurationSeconds: Invalid value: {seconds}: must be greater than 0"));
    }
    if spec["holderIdentity"].as_str() == Some("") {
        found.push("spec.holderIdentity: Invalid value: \"\": must not be empty".to_owned());
    }
}

fn taints(spec: &Value, found: &mut Vec<String>) {
    let mut seen = BTreeSet::new();
    for (place, taint) in list(&spec["taints"]).iter().enumerate() {
        let (key, effect) = (text(taint, "key"), text(taint, "effect"));
        check_key(&format!("spec.taints[{place}].key"), key, found);
        let path = format!("spec.taints[{place}].effect");
        one_of(&path, effect, &["NoSchedule", "PreferNoSchedule", "NoExecute"], found);
        if !seen.insert((key, effect)) {
            found.push(format!(
                "spec.taints[{place}]: Duplicate value: {taint}: taints must be unique by key and effect pair"
            ));
        }
    }
}

fn pod(path: &str, spec: &Value, found: &mut Vec<String>) {
    let mut volumes = BTreeSet::new();
    for (place, volume) in list(&spec["volumes"]).iter().enumerate() {
        named(&format!("{path}.volumes[{place}].name"), text(volume, "name"), &mut volumes, found);
    }
    if list(&spec["containers"]).is_empty() {
        found.push(format!("{path}.containers: Required value"));
    }
    let mut names = BTreeSet::new();
    for (place, container) in list(&spec["containers"]).iter().enumerate() {
        let path = format!("{path}.containers[{place}]");
        named(&format!("{path}.name"), text(container, "name"), &mut names, found);
        if text(container, "image").is_empty() {
            found.push(format!("{path}.image: Required value"));
        }
        for (place, mount) in list(&container["volumeMounts"]).iter().enumerate() {
            let name = text(mount, "name");
            if !volumes.contains(name) {
                found.push(format!("{path}.volumeMounts[{place}].name: Not found: {name:?}"));
            }
        }
    }
    let policy = text(spec, "restartPolicy");
    one_of(&format!("{path}.restartPolicy"), policy, &["Always", "OnFailure", "Never"], found);
}

fn named<'a>(path: &str, name: &'a str, names: &mut BTreeSet<&'a str>, found: &mut Vec<String>) {
    if name.is_empty() {
        found.push(format!("{path}: Required value"));
    } else if !is_dns_label(name) {
        found.push(format!(
            "{path}: Invalid value: {name:?}: a lowercase RFC 1123 label must consist of lower case alphanumeric characters \
             or '-', and must start and end with an alphanumeric character"
        ));
    } else if !names.insert(name) {
        found.push(format!("{path}: Duplicate value: {name:?}"));
    }
}

fn selector(path: &str, selector: &Value, found: &mut Vec<String>) -> Option<LabelSelector> {
    match LabelSelector::of(selector) {
        Ok(selector) => selector,
        Err(error) => {
            found.push(format!("{path}.matchExpressions.{}", error.0));
            None
        }
    }
}

fn workload(spec: &Value, found: &mut Vec<String>) {
    if let Some(replicas) = spec["replicas"].as_i64().filter(|replicas| *replicas < 0) {
        found.push(format!("spec.replicas: Invalid value: {replicas}: must be greater than or equal to 0"));
    }
    let template = &spec["template"];
    match selector("spec.selector", &spec["selector"], found) {
        None => found.push("spec.selector: Required value".to_owned()),
        Some(selector) if selector.is_empty() => {
            found.push("spec.selector: Invalid value: {}: empty selector is invalid".to_owned());
        }
        Some(selector) if !selector.matches_labels(&template["metadata"]["labels"]) => found.push(format!(
            "spec.template.metadata.labels: Invalid value: {}: `selector` does not match template `labels`",
            template["metadata"]["labels"]
        )),
        Some(_) => {}
    }
    pod("spec.template.spec", &template["spec"], found);
    one_of("spec.template.spec.restartPolicy", text(&template["spec"], "restartPolicy"), &["Always"], found);
}

fn budget(spec: &Value, found: &mut Vec<String>) {
    if !spec["minAvailable"].is_null() && !spec["maxUnavailable"].is_null() {
        found.push(format!("spec: Invalid value: {spec}: minAvailable and maxUnavailable cannot be both set"));
    }
    for field in ["minAvailable", "maxUnavailable"] {
        int_or_percent(&format!("spec.{field}"), &spec[field], found);
    }
    if let Some(policy) = spec["unhealthyPodEvictionPolicy"].as_str() {
        one_of("spec.unhealthyPodEvictionPolicy", policy, &["AlwaysAllow", "IfHealthyBudget"], found);
    }
    selector("spec.selector", &spec["selector"], found);
}

fn int_or_percent(path: &str, value: &Value, found: &mut Vec<String>) {
    if let Some(number) = value.as_i64().filter(|number| *number < 0) {
        found.push(format!("{path}: Invalid value: {number}: must be greater than or equal to 0"));
    }
    let Some(text) = value.as_str() else { return };
    let digits = text.strip_suffix('%').filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
    match digits.and_then(|digits| digits.parse::<u32>().ok()) {
        None => found.push(format!(
            "{path}: Invalid value: {text:?}: a valid percent string must be a numeric string followed by an ending '%' \
             (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')"
        )),
        Some(percent) if percent > 100 => {
            found.push(format!("{path}: Invalid value: {text:?}: must not be greater than 100%"));
        }
        Some(_) => {}
    }
}

fn volume(spec: &Value, found: &mut Vec<String>) {
    if spec["capacity"]["storage"].is_null() {
        found.push("spec.capacity: Required value".to_owned());
    }
    access_modes(spec, found);
    let sources = [
        "local",
        "hostPath",
        "nfs",
        "csi",
        "iscsi",
        "fc",
        "rbd",
        "cephfs",
        "awsElasticBlockStore",
        "gcePersistentDisk",
    ];
    match sources.iter().filter(|source| !spec[**source].is_null()).count() {
        0 => found.push("spec: Required value: must specify a volume type".to_owned()),
        1 => {}
        _ => found.push("spec: Forbidden: may not specify more than 1 volume type".to_owned()),
    }
    if !spec["local"].is_null() && spec["nodeAffinity"]["required"].is_null() {
        found.push("spec.nodeAffinity: Required value: Local volume requires node affinity".to_owned());
    }
}

fn access_modes(spec: &Value, found: &mut Vec<String>) {
    if list(&spec["accessModes"]).is_empty() {
        found.push("spec.accessModes: Required value".to_owned());
    }
    for mode in list(&spec["accessModes"]) {
        let known = ["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];
        one_of("spec.accessModes", mode.as_str().unwrap_or_default(), &known, found);
    }
}

fn claim(spec: &Value, found: &mut Vec<String>) {
    access_modes(spec, found);
    if spec["resources"]["requests"]["storage"].is_null() {
        found.push("spec.resources[storage]: Required value".to_owned());
    }
}

fn attachment(spec: &Value, found: &mut Vec<String>) {
    for field in ["attacher", "nodeName"] {
        if text(spec, field).is_empty() {
            found.push(format!("spec.{field}: Required value"));
        }
    }
    let source = &spec["source"];
    if source["persistentVolumeName"].is_null() == source["inlineVolumeSpec"].is_null() {
        let why = "must specify exactly one of inlineVolumeSpec and persistentVolumeName";
        found.push(format!("spec.source: Required value: {why}"));
    }
}

fn role(rules: &Value, found: &mut Vec<String>) {
    for (place, rule) in list(rules).iter().enumerate() {
        let missing = |field: &str| list(&rule[field]).is_empty();
        let mut require = |field: &str, why: &str| {
            if missing(field) {
                found.push(format!("rules[{place}].{field}: Required value{why}"));
            }
        };
        require("verbs", ": verbs must contain at least one value");
        if missing("nonResourceURLs") {
            require("apiGroups", ": resource rules must supply at least one api group");
            require("resources", ": resource rules must supply at least one resource");
        } else if !(missing("apiGroups") && missing("resources") && missing("resourceNames")) {
            let why = "rules cannot apply to both regular resources and non-resource URLs";
            found.push(format!("rules[{place}].nonResourceURLs: Invalid value: {}: {why}", rule["nonResourceURLs"]));
        }
    }
}

fn binding(binding: &Value, found: &mut Vec<String>) {
    let (group, role) = ("rbac.authorization.k8s.io", &binding["roleRef"]);
    one_of("roleRef.apiGroup", text(role, "apiGroup"), &[group], found);
    one_of("roleRef.kind", text(role, "kind"), &["ClusterRole"], found);
    if text(role, "name").is_empty() {
        found.push("roleRef.name: Required value".to_owned());
    }
    for (place, subject) in list(&binding["subjects"]).iter().enumerate() {
        let path = format!("subjects[{place}]");
        if text(subject, "name").is_empty() {
            found.push(format!("{path}.name: Required value"));
        }
        one_of(&format!("{path}.kind"), text(subject, "kind"), &["ServiceAccount", "User", "Group"], found);
        let account = text(subject, "kind") == "ServiceAccount";
        one_of(&format!("{path}.apiGroup"), text(subject, "apiGroup"), &[if account { "" } else { group }], found);
        if account && text(subject, "namespace").is_empty() {
            found.push(format!("{path}.namespace: Required value"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apiserver::resource::{
        CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, DAEMON_SETS, NODES, PERSISTENT_VOLUMES, POD_DISRUPTION_BUDGETS, PODS,
        VOLUME_ATTACHMENTS,
    };
    use serde_json::json;

    #[test]
    fn all_that_is_wrong_is_said() {
        let pod = json!({"restartPolicy": "Always", "containers": [{"name": "c", "image": "i"}]});
        let budget = |spec: Value| (&POD_DISRUPTION_BUDGETS, json!({"spec": spec}));
        let none: &[&str] = &[];
        for ((resource, object), want) in [
            ((&PODS, json!({"spec": pod})), none),
            (
                (&PODS, json!({"spec": {"restartPolicy": "Sometimes"}})),
                &[
                    "spec.containers: Required value",
                    "spec.restartPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\", \"OnFailure\", \"Never\"",
                ],
            ),
            (
                (
                    &PODS,
                    json!({"spec": {"restartPolicy": "Never", "containers": [
                    {"name": "c", "image": "i", "volumeMounts": [{"name": "v"}]}, {"name": "c"}]}}),
                ),
                &[
                    "spec.containers[0].volumeMounts[0].name: Not found: \"v\"",
                    "spec.containers[1].name: Duplicate value: \"c\"",
                    "spec.containers[1].image: Required value",
                ],
            ),
            (
                (
                    &NODES,
                    json!({"metadata": {"labels": {"a/b/c": "", "good.io/x": "no good"}}, "spec": {"taints": [
                    {"key": "k", "effect": "NoSchedule"}, {"key": "k", "effect": "NoSchedule"}]}}),
                ),
                &[
                    "metadata.labels: Invalid value: \"a/b/c\": name part must consist of alphanumeric characters, '-', '_' or \
                     '.', and must start and end with an alphanumeric character, with an optional DNS subdomain prefix and '/'",
                    "metadata.labels: Invalid value: \"no good\": a valid label must be an empty string or consist of \
                     alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character, and be \
                     no more than 63 characters",
                    "spec.taints[1]: Duplicate value: {\"effect\":\"NoSchedule\",\"key\":\"k\"}: taints must be unique by key \
                     and effect pair",
                ],
            ),
            (budget(json!({"minAvailable": "50%", "selector": {}})), none),
            (
                budget(json!({"minAvailable": "all", "maxUnavailable": -1})),
                &[
                    "spec: Invalid value: {\"maxUnavailable\":-1,\"minAvailable\":\"all\"}: minAvailable and maxUnavailable \
                     cannot be both set",
                    "spec.minAvailable: Invalid value: \"all\": a valid percent string must be a numeric string followed by an \
                     ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')",
                    "spec.maxUnavailable: Invalid value: -1: must be greater than or equal to 0",
                ],
            ),
            (
                budget(json!({"maxUnavailable": "101%"})),
                &["spec.maxUnavailable: Invalid value: \"101%\": must not be greater than 100%"],
            ),
            (
                (&DAEMON_SETS, json!({"spec": {"selector": {"matchLabels": {"a": "1"}}, "template": {"spec": pod}}})),
                &["spec.template.metadata.labels: Invalid value: null: `selector` does not match template `labels`"],
            ),
            (
                (
                    &PERSISTENT_VOLUMES,
                    json!({"spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"],
                    "local": {"path": "/x"}}}),
                ),
                &["spec.nodeAffinity: Required value: Local volume requires node affinity"],
            ),
            (
                (&VOLUME_ATTACHMENTS, json!({"spec": {"attacher": "x", "source": {}}})),
                &[
                    "spec.nodeName: Required value",
                    "spec.source: Required value: must specify exactly one of inlineVolumeSpec and persistentVolumeName",
                ],
            ),
            (
                (&CLUSTER_ROLES, json!({"metadata": {"name": "system:a"}, "rules": [{"apiGroups": [""]}]})),
                &[
                    "rules[0].verbs: Required value: verbs must contain at least one value",
                    "rules[0].resources: Required value: resource rules must supply at least one resource",
                ],
            ),
            (
                (
                    &CLUSTER_ROLE_BINDINGS,
                    json!({"roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole"},
                    "subjects": [{"kind": "Users", "apiGroup": "rbac.authorization.k8s.io", "name": "x"}]}),
                ),
                &[
                    "roleRef.name: Required value",
                    "subjects[0].kind: Unsupported value: \"Users\": supported values: \"ServiceAccount\", \"User\", \"Group\"",
                ],
            ),
        ] {
            assert_eq!(problems(resource, &object), want, "{object}");
        }
    }

    #[test]
    fn what_is_fixed_stays() {
        let pod = json!({"spec": {"nodeName": "a", "containers": [{"name": "c", "image": "1"}]}});
        let mut image = pod.clone();
        image["spec"]["containers"][0]["image"] = json!("2");
        let mut moved = pod.clone();
        moved["spec"]["nodeName"] = json!("b");
        let binding = |role: &str| json!({"roleRef": {"name": role}});
        let leaving = |finalizers: &[&str]| json!({"metadata": {"deletionTimestamp": "x", "finalizers": finalizers}});
        for (resource, old, new, count) in [
            (&PODS, pod.clone(), image, 0),
            (&PODS, pod, moved, 1),
            (&CLUSTER_ROLE_BINDINGS, binding("a"), binding("a"), 0),
            (&CLUSTER_ROLE_BINDINGS, binding("a"), binding("b"), 1),
            (&NODES, leaving(&["x"]), leaving(&[]), 0),
            (&NODES, leaving(&["x"]), leaving(&["x", "y"]), 1),
        ] {
            assert_eq!(forbidden_changes(resource, &old, &new).len(), count, "{old} {new}");
        }
    }
}
