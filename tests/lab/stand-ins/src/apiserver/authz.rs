//! Who may do what: `system:masters` everything, a node what the Node authorizer and the role `system:node` give it,
//! everyone who is authenticated discovery and questions about themselves.

use super::identity::Identity;
use super::selector::FieldSelector;

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

/// The answer: allowed, or why not (empty: no rule allows it).
pub type Decision = Result<(), String>;

/// Decides.
///
/// # Errors
/// The reason that the authorizer gives; empty when it has none.
pub fn authorize(identity: &Identity, asked: &Attributes) -> Decision {
    if identity.groups.iter().any(|group| group == "system:masters") {
        return Ok(());
    }
    if allowed_for_everyone(asked) {
        return Ok(());
    }
    match identity.node() {
        Some(node) => authorize_node(node, asked),
        None => Err(String::new()),
    }
}

fn allowed_for_everyone(asked: &Attributes) -> bool {
    if asked.resource.is_empty() {
        let open = ["/version", "/healthz", "/livez", "/readyz", "/api", "/apis", "/openapi"];
        return asked.verb == "get"
            && open.iter().any(|prefix| {
                asked.path == *prefix || asked.path.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('/'))
            });
    }
    asked.verb == "create"
        && matches!(
            (asked.group.as_str(), asked.resource.as_str()),
            ("authentication.k8s.io", "selfsubjectreviews") | ("authorization.k8s.io", "selfsubjectaccessreviews")
        )
}

fn authorize_node(node: &str, asked: &Attributes) -> Decision {
    match (asked.group.as_str(), asked.resource.as_str()) {
        ("", "nodes") => node_object(node, asked),
        ("coordination.k8s.io", "leases") => node_lease(node, asked),
        ("", "pods") => node_pods(node, asked),
        ("", "events") => verb_in(asked, &["create", "update", "patch"]),
        ("authorization.k8s.io", "subjectaccessreviews") => verb_in(asked, &["create"]),
        _ => Err(String::new()),
    }
}

fn verb_in(asked: &Attributes, verbs: &[&str]) -> Decision {
    if verbs.contains(&asked.verb.as_str()) { Ok(()) } else { Err(String::new()) }
}

fn node_object(node: &str, asked: &Attributes) -> Decision {
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
            } else {
                Err(format!("node '{node}' cannot read '{name}', only its own Node object"))
            }
        }
        // NodeRestriction compares the name, as with the real pair of authorizer and admission.
        "create" | "update" | "patch" => Ok(()),
        _ => Err(String::new()),
    }
}

fn node_lease(node: &str, asked: &Attributes) -> Decision {
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

fn node_pods(node: &str, asked: &Attributes) -> Decision {
    match asked.verb.as_str() {
        "get" => Ok(()),
        "list" | "watch" if asked.field_selector.exact("spec.nodeName") == Some(node) => Ok(()),
        "list" | "watch" => Err("can only list/watch pods with spec.nodeName field selector".to_owned()),
        _ => Err(String::new()),
    }
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
            assert_eq!(authorize(&node, &asked).is_ok(), allowed, "{asked:?}");
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
            assert_eq!(authorize(&identity, &asked).is_ok(), allowed, "{identity:?}");
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
            assert_eq!(authorize(&node, &asked).is_ok(), allowed, "{resource} {selector}");
        }
    }

    #[test]
    fn a_refusal_reads_like_the_real_one() {
        let node = who("system:node:a", &["system:nodes"]);
        let asked = ask("get", "", "nodes", "", "b");
        let reason = authorize(&node, &asked).unwrap_err();
        assert_eq!(
            refusal(&node, &asked, &reason),
            "User \"system:node:a\" cannot get resource \"nodes\" in API group \"\" at the cluster scope: \
             node 'a' cannot read 'b', only its own Node object"
        );
    }

    #[test]
    fn everyone_may_read_health_and_discovery_and_nothing_beside_it() {
        let nobody = who("x", &[]);
        for (path, allowed) in
            [("/version", true), ("/api/v1", true), ("/livez/ping", true), ("/metrics", false), ("/apisx", false)]
        {
            let asked = Attributes { verb: "get".to_owned(), path: path.to_owned(), ..Attributes::default() };
            assert_eq!(authorize(&nobody, &asked).is_ok(), allowed, "{path}");
        }
    }
}
