//! Who may do what: `system:masters` everything, a node what the Node authorizer and the role `system:node` give it,
//! everyone else what cluster roles are bound to him.

use serde_json::Value;

use super::identity::Identity;
use super::rbac;
use super::resource::{NODES, PERSISTENT_VOLUME_CLAIMS, PODS, VOLUME_ATTACHMENTS};
use super::selector::FieldSelector;
use super::storage::{Key, Objects};

/// The namespace of the node leases.
pub const NODE_LEASES: &str = "kube-node-lease";

/// What is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Kubernetes verb: get, list, watch, create, update, patch, delete, deletecollection.
    pub verb: String,
    /// API group, empty for core.
    pub group: String,
    /// Plural resource name; empty for a path that is no resource.
    pub resource: String,
    /// Subresource, or empty.
    pub subresource: String,
    /// Namespace, or empty.
    pub namespace: String,
    /// Object name, or empty.
    pub name: String,
    /// Field selector of a list or watch.
    pub field_selector: FieldSelector,
    /// The path, for what is no resource.
    pub path: String,
}

/// The answer: allowed and why, or why not (empty: there is no more to say).
pub type Decision = Result<String, String>;

/// Decides.
///
/// # Errors
/// The reasons that the authorizers give; empty when they have none.
pub fn authorize(identity: &Identity, asked: &Attributes, objects: &Objects) -> Decision {
    if identity.is_master() {
        return Ok(String::new());
    }
    let by_node = match identity.node() {
        Some(node) => match authorize_node(node, asked, objects) {
            Ok(()) => return Ok(String::new()),
            Err(reason) => reason,
        },
        None => String::new(),
    };
    rbac::authorize(identity, asked, objects).map_err(|by_role| {
        let reasons: Vec<&str> = [by_node.as_str(), &by_role].into_iter().filter(|reason| !reason.is_empty()).collect();
        reasons.join("\n")
    })
}

fn authorize_node(node: &str, asked: &Attributes, objects: &Objects) -> Result<(), String> {
    match (asked.group.as_str(), asked.resource.as_str()) {
        ("", "nodes") => node_object(node, asked),
        ("coordination.k8s.io", "leases") => node_lease(node, asked),
        ("", "pods") => node_pods(node, asked, objects),
        ("", "persistentvolumeclaims") if asked.subresource == "status" => {
            verb_in(asked, &["update", "patch"]).map_err(|_| "can only get/update/patch this type".to_owned())?;
            related(node, asked, objects)
        }
        ("", "persistentvolumeclaims" | "persistentvolumes") | ("storage.k8s.io", "volumeattachments") => {
            node_get(node, asked, objects)
        }
        ("", "events") => verb_in(asked, &["create", "update", "patch"]),
        ("authorization.k8s.io", "subjectaccessreviews") => verb_in(asked, &["create"]),
        _ => Err(String::new()),
    }
}

fn verb_in(asked: &Attributes, verbs: &[&str]) -> Result<(), String> {
    if verbs.contains(&asked.verb.as_str()) { Ok(()) } else { Err(String::new()) }
}

fn node_object(node: &str, asked: &Attributes) -> Result<(), String> {
    match asked.subresource.as_str() {
        "" => {}
        "status" => verb_in(asked, &["update", "patch"])?,
        _ => return Err(String::new()),
    }
    match asked.verb.as_str() {
        "get" | "list" | "watch" => {
            let name = if asked.name.is_empty() {
                asked.field_selector.exact("metadata.name").unwrap_or_default()
            } else {
                &asked.name
            };
            if name == node {
                Ok(())
            } else if name.is_empty() {
                Err(format!("node '{node}' cannot read all nodes, only its own Node object"))
            } else {
                Err(format!("node '{node}' cannot read '{name}', only its own Node object"))
            }
        }
        // NodeRestriction compares the name, as with the real pair of authorizer and admission.
        "create" | "update" | "patch" => Ok(()),
        _ => Err(String::new()),
    }
}

fn node_lease(node: &str, asked: &Attributes) -> Result<(), String> {
    verb_in(asked, &["get", "create", "update", "patch", "delete"])
        .map_err(|_| "can only get, create, update, patch, or delete a node lease".to_owned())?;
    if !asked.subresource.is_empty() {
        return Err("cannot access leases subresources".to_owned());
    }
    if asked.namespace != NODE_LEASES {
        return Err(format!("can only access leases in the \"{NODE_LEASES}\" system namespace"));
    }
    if asked.verb != "create" && asked.name != node {
        return Err("can only access node lease with the same name as the requesting node".to_owned());
    }
    Ok(())
}

fn node_pods(node: &str, asked: &Attributes, objects: &Objects) -> Result<(), String> {
    // NodeRestriction looks at the node of the pod where something is written.
    match (asked.subresource.as_str(), asked.verb.as_str()) {
        ("", "get") => related(node, asked, objects),
        ("", "list" | "watch") if asked.field_selector.exact("spec.nodeName") == Some(node) => Ok(()),
        ("", "list" | "watch") => Err("can only list/watch pods with spec.nodeName field selector".to_owned()),
        ("", "create" | "delete") | ("status", "update" | "patch") | ("eviction", "create") => Ok(()),
        _ => Err(String::new()),
    }
}

fn node_get(node: &str, asked: &Attributes, objects: &Objects) -> Result<(), String> {
    verb_in(asked, &["get"]).map_err(|_| "can only get individual resources of this type".to_owned())?;
    if !asked.subresource.is_empty() {
        return Err("cannot get subresource".to_owned());
    }
    related(node, asked, objects)
}

/// Node <- pod <- claim <- volume, and node <- attachment; a node that is not registered has no relations.
fn related(node: &str, asked: &Attributes, objects: &Objects) -> Result<(), String> {
    let found = objects.contains_key(&Key::new(&NODES, "", node))
        && match asked.resource.as_str() {
            "pods" => {
                objects.get(&Key::new(&PODS, &asked.namespace, &asked.name)).is_some_and(|pod| runs_on(pod, node))
            }
            "persistentvolumeclaims" => uses_claim(node, &asked.namespace, &asked.name, objects),
            "persistentvolumes" => objects.iter().any(|(key, claim)| {
                key.is_in(&PERSISTENT_VOLUME_CLAIMS, "")
                    && claim["spec"]["volumeName"] == asked.name.as_str()
                    && uses_claim(node, &key.namespace, &key.name, objects)
            }),
            _ => objects
                .get(&Key::new(&VOLUME_ATTACHMENTS, "", &asked.name))
                .is_some_and(|attachment| attachment["spec"]["nodeName"] == node),
        };
    if found { Ok(()) } else { Err(format!("no relationship found between node '{node}' and this object")) }
}

fn runs_on(pod: &Value, node: &str) -> bool {
    pod["spec"]["nodeName"] == node
}

fn uses_claim(node: &str, namespace: &str, claim: &str, objects: &Objects) -> bool {
    objects.iter().filter(|(key, pod)| key.is_in(&PODS, namespace) && runs_on(pod, node)).any(|(_, pod)| {
        let mut volumes = pod["spec"]["volumes"].as_array().into_iter().flatten();
        volumes.any(|volume| volume["persistentVolumeClaim"]["claimName"] == claim)
    })
}

/// The sentence of a 403, as the real apiserver writes it.
#[must_use]
pub fn refusal(identity: &Identity, asked: &Attributes, reason: &str) -> String {
    let resource = if asked.subresource.is_empty() {
        asked.resource.clone()
    } else {
        format!("{}/{}", asked.resource, asked.subresource)
    };
    let place = if asked.namespace.is_empty() {
        "at the cluster scope".to_owned()
    } else {
        format!("in the namespace \"{}\"", asked.namespace)
    };
    let sentence = format!(
        "User \"{}\" cannot {} resource \"{resource}\" in API group \"{}\" {place}",
        identity.user, asked.verb, asked.group
    );
    if reason.is_empty() { sentence } else { format!("{sentence}: {reason}") }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use serde_json::json;

    fn who(user: &str, groups: &[&str]) -> Identity {
        Identity {
            user: user.to_owned(),
            groups: groups.iter().map(|group| (*group).to_owned()).collect(),
            serial: "01".to_owned(),
        }
    }

    fn ask(verb: &str, group: &str, resource: &str, namespace: &str, name: &str) -> Attributes {
        let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        Attributes {
            verb: verb.to_owned(),
            group: group.to_owned(),
            resource: resource.to_owned(),
            subresource: subresource.to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            ..Attributes::default()
        }
    }

    #[test]
    fn a_node_reaches_its_own_objects_only() {
        let node = who("system:node:a", &["system:nodes"]);
        let leases = "coordination.k8s.io";
        let cases = [
            (ask("get", "", "nodes", "", "a"), true),
            (ask("get", "", "nodes", "", "b"), false),
            (ask("list", "", "nodes", "", ""), false),
            (ask("create", "", "nodes", "", ""), true),
            (ask("patch", "", "nodes/status", "", "a"), true),
            (ask("get", "", "nodes/status", "", "a"), false),
            (ask("patch", "", "nodes/proxy", "", "a"), false),
            (ask("delete", "", "nodes", "", "a"), false),
            (ask("get", leases, "leases", NODE_LEASES, "a"), true),
            (ask("update", leases, "leases", NODE_LEASES, "a"), true),
            (ask("update", leases, "leases", NODE_LEASES, "b"), false),
            (ask("create", leases, "leases", NODE_LEASES, ""), true),
            (ask("create", leases, "leases", "default", ""), false),
            (ask("list", leases, "leases", NODE_LEASES, ""), false),
            (ask("create", "", "events", "default", ""), true),
            (ask("delete", "", "events", "default", "e"), false),
            (ask("list", "", "namespaces", "", ""), false),
            (ask("list", "", "pods", "", ""), false),
        ];
        for (asked, allowed) in cases {
            assert_eq!(authorize(&node, &asked, &registered()).is_ok(), allowed, "{asked:?}");
        }
    }

    #[test]
    fn the_group_makes_the_node_and_the_master() {
        let asked = ask("get", "", "nodes", "", "a");
        let cases = [
            (who("system:node:a", &["system:nodes"]), true),
            (who("system:node:a", &["system:authenticated"]), false),
            (who("system:node:", &["system:nodes"]), false),
            (who("a", &["system:nodes"]), false),
            (who("root", &["system:masters"]), true),
        ];
        for (identity, allowed) in cases {
            assert_eq!(authorize(&identity, &asked, &registered()).is_ok(), allowed, "{identity:?}");
        }
    }

    #[test]
    fn a_list_with_the_right_selector_is_allowed() {
        let node = who("system:node:a", &["system:nodes"]);
        for (resource, selector, allowed) in [
            ("nodes", "metadata.name=a", true),
            ("nodes", "metadata.name=b", false),
            ("nodes", "metadata.name!=a", false),
            ("pods", "spec.nodeName=a", true),
            ("pods", "spec.nodeName=b", false),
        ] {
            let asked = Attributes {
                field_selector: FieldSelector::parse(selector).unwrap(),
                ..ask("list", "", resource, "", "")
            };
            assert_eq!(authorize(&node, &asked, &registered()).is_ok(), allowed, "{resource} {selector}");
        }
    }

    #[test]
    fn a_refusal_reads_like_the_real_one() {
        let node = who("system:node:a", &["system:nodes"]);
        let asked = ask("get", "", "nodes", "", "b");
        let reason = authorize(&node, &asked, &registered()).unwrap_err();
        assert_eq!(
            refusal(&node, &asked, &reason),
            "User \"system:node:a\" cannot get resource \"nodes\" in API group \"\" at the cluster scope: \
             node 'a' cannot read 'b', only its own Node object"
        );
    }

    /// Nodes a and b, a pod with a volume on each.
    fn registered() -> Objects {
        let mut objects = Objects::new();
        let mut put = |key: Key, object: Value| drop(objects.insert(key, object.into()));
        for node in ["a", "b"] {
            put(Key::new(&NODES, "", node), json!({}));
            let volumes = json!([{"name": "v", "persistentVolumeClaim": {"claimName": format!("claim-{node}")}}]);
            put(
                Key::new(&PODS, "default", &format!("on-{node}")),
                json!({"spec": {"nodeName": node, "volumes": volumes}}),
            );
            let claim = Key::new(&PERSISTENT_VOLUME_CLAIMS, "default", &format!("claim-{node}"));
            put(claim, json!({"spec": {"volumeName": format!("volume-{node}")}}));
            put(Key::new(&VOLUME_ATTACHMENTS, "", &format!("att-{node}")), json!({"spec": {"nodeName": node}}));
        }
        objects
    }

    #[test]
    fn a_node_reads_what_its_pods_use() {
        let node = who("system:node:a", &["system:nodes"]);
        let unknown = who("system:node:c", &["system:nodes"]);
        let storage = "storage.k8s.io";
        let unrelated = "no relationship found between node 'a' and this object";
        for (asked, want) in [
            (ask("get", "", "pods", "default", "on-a"), Ok(())),
            (ask("get", "", "pods", "default", "on-b"), Err(unrelated)),
            (ask("get", "", "pods", "default", "none"), Err(unrelated)),
            (ask("create", "", "pods/eviction", "default", "on-b"), Ok(())),
            (ask("delete", "", "pods", "default", "on-b"), Ok(())),
            (ask("patch", "", "pods/status", "default", "on-b"), Ok(())),
            (ask("patch", "", "pods", "default", "on-a"), Err("")),
            (ask("create", "", "pods/binding", "default", "on-a"), Err("")),
            (ask("get", "", "persistentvolumeclaims", "default", "claim-a"), Ok(())),
            (ask("get", "", "persistentvolumeclaims", "default", "claim-b"), Err(unrelated)),
            (
                ask("list", "", "persistentvolumeclaims", "default", ""),
                Err("can only get individual resources of this type"),
            ),
            (ask("get", "", "persistentvolumes", "", "volume-a"), Ok(())),
            (ask("get", "", "persistentvolumes", "", "volume-b"), Err(unrelated)),
            (ask("get", storage, "volumeattachments", "", "att-a"), Ok(())),
            (ask("get", storage, "volumeattachments", "", "att-b"), Err(unrelated)),
            (ask("list", "policy", "poddisruptionbudgets", "", ""), Err("")),
        ] {
            let decided = authorize(&node, &asked, &registered()).map(|_| ());
            assert_eq!(decided, want.map_err(str::to_owned), "{asked:?}");
        }
        let asked = ask("get", "", "pods", "default", "on-a");
        assert!(authorize(&unknown, &asked, &registered()).is_err());
    }
}
