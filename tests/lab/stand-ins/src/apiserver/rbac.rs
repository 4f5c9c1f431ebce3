//! Rights by `ClusterRole` and `ClusterRoleBinding`: what they allow, and that nobody gives what he does not have.

use std::collections::BTreeMap;

use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule, Subject};
use serde_json::{Value, json};

use super::authz::{Attributes, Decision};
use super::identity::Identity;
use super::resource::{CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, Resource};
use super::status::ApiError;
use super::storage::{Key, Objects};

/// Decides by the bindings of the cluster; the reason of a refusal names roles that are bound and not there.
///
/// # Errors
/// Why not; empty when no rule allows it.
pub fn authorize(identity: &Identity, asked: &Attributes, objects: &Objects) -> Decision {
    let mut missing = Vec::new();
    for (binding, subject) in bindings_of(identity, objects) {
        let name = binding.metadata.name.as_deref().unwrap_or_default();
        let role = &binding.role_ref.name;
        match rules_of(role, objects) {
            Some(rules) if rules.iter().any(|rule| allows(rule, asked)) => {
                let subject = describe(&subject);
                return Ok(format!(
                    "RBAC: allowed by ClusterRoleBinding {name:?} of ClusterRole {role:?} to {subject}"
                ));
            }
            Some(_) => {}
            None => missing.push(format!("clusterrole.rbac.authorization.k8s.io {role:?} not found")),
        }
    }
    Err(if missing.is_empty() { String::new() } else { format!("RBAC: {}", missing.join(", ")) })
}

fn bindings_of<'a>(
    identity: &'a Identity,
    objects: &'a Objects,
) -> impl Iterator<Item = (ClusterRoleBinding, Subject)> + 'a {
    objects.iter().filter(|(key, _)| key.is_in(&CLUSTER_ROLE_BINDINGS, "")).filter_map(|(_, object)| {
        let binding: ClusterRoleBinding = serde_json::from_value((**object).clone()).ok()?;
        let subject = binding.subjects.iter().flatten().find(|subject| is(subject, identity))?.clone();
        Some((binding, subject))
    })
}

fn is(subject: &Subject, identity: &Identity) -> bool {
    match subject.kind.as_str() {
        "User" => subject.name == identity.user,
        "Group" => identity.groups.contains(&subject.name),
        _ => identity.user == service_account(subject),
    }
}

fn service_account(subject: &Subject) -> String {
    format!("system:serviceaccount:{}:{}", subject.namespace.as_deref().unwrap_or_default(), subject.name)
}

fn describe(subject: &Subject) -> String {
    match &subject.namespace {
        Some(namespace) => format!("{} \"{}/{namespace}\"", subject.kind, subject.name),
        None => format!("{} {:?}", subject.kind, subject.name),
    }
}

fn rules_of(role: &str, objects: &Objects) -> Option<Vec<PolicyRule>> {
    let object = objects.get(&Key::new(&CLUSTER_ROLES, "", role))?;
    let role: ClusterRole = serde_json::from_value((**object).clone()).ok()?;
    Some(role.rules.unwrap_or_default())
}

fn held_by(identity: &Identity, objects: &Objects) -> Vec<PolicyRule> {
    let roles = bindings_of(identity, objects).map(|(binding, _)| binding.role_ref.name);
    roles.filter_map(|role| rules_of(&role, objects)).flatten().collect()
}

fn allows(rule: &PolicyRule, asked: &Attributes) -> bool {
    if !has(Some(&rule.verbs), &asked.verb) {
        return false;
    }
    if asked.resource.is_empty() {
        return rule.non_resource_urls.iter().flatten().any(|url| covers_path(url, &asked.path));
    }
    let names = rule.resource_names.as_deref().unwrap_or_default();
    has(rule.api_groups.as_ref(), &asked.group)
        && rule
            .resources
            .iter()
            .flatten()
            .any(|resource| covers_resource(resource, &asked.resource, &asked.subresource))
        && (names.is_empty() || names.contains(&asked.name))
}

fn has(list: Option<&Vec<String>>, wanted: &str) -> bool {
    list.into_iter().flatten().any(|word| word == "*" || word == wanted)
}

fn covers_resource(rule: &str, resource: &str, subresource: &str) -> bool {
    match rule.split_once('/') {
        _ if rule == "*" => true,
        Some(("*", sub)) => sub == subresource,
        Some((plural, sub)) => plural == resource && sub == subresource,
        None => rule == resource && subresource.is_empty(),
    }
}

fn covers_path(rule: &str, path: &str) -> bool {
    rule == path || rule.strip_suffix('*').is_some_and(|prefix| path.starts_with(prefix))
}

/// That nobody makes a role with more rights than he has, or binds one, unless the verbs `escalate` and `bind` allow it.
///
/// # Errors
/// 403 with the rights that are missing, 404 for a role that is bound and not there.
pub fn confirm_no_escalation(
    identity: &Identity,
    resource: &'static Resource,
    object: &Value,
    objects: &Objects,
) -> Result<(), ApiError> {
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    let (verb, role) = match resource.kind {
        "ClusterRole" => ("escalate", name),
        "ClusterRoleBinding" => ("bind", object["roleRef"]["name"].as_str().unwrap_or_default()),
        _ => return Ok(()),
    };
    let asked = Attributes {
        verb: verb.to_owned(),
        group: CLUSTER_ROLES.group.to_owned(),
        resource: CLUSTER_ROLES.plural.to_owned(),
        name: role.to_owned(),
        ..Attributes::default()
    };
    if identity.is_master() || authorize(identity, &asked, objects).is_ok() {
        return Ok(());
    }
    let wanted = if verb == "bind" {
        rules_of(role, objects).ok_or_else(|| ApiError::not_found(&CLUSTER_ROLES, role))?
    } else {
        serde_json::from_value(object["rules"].clone()).unwrap_or_default()
    };
    let missing = missing(&wanted, &held_by(identity, objects));
    if missing.is_empty() {
        return Ok(());
    }
    let groups: Vec<String> = identity.groups.iter().map(|group| format!("{group:?}")).collect();
    let why = format!(
        "user {:?} (groups=[{}]) is attempting to grant RBAC permissions not currently held:\n{}",
        identity.user,
        groups.join(" "),
        missing.join("\n")
    );
    Err(ApiError::forbidden(resource, name, &why))
}

/// What of the wanted rules the held ones do not allow, in the words of the real apiserver.
fn missing(wanted: &[PolicyRule], held: &[PolicyRule]) -> Vec<String> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for rule in wanted {
        for (what, single) in single_rules(rule) {
            if !held.iter().any(|held| allows_rule(held, &single)) {
                let verbs = found.entry(what).or_default();
                if !verbs.contains(&single.verb) {
                    verbs.push(single.verb);
                }
            }
        }
    }
    let quoted = |verbs: Vec<String>| verbs.iter().map(|verb| format!("{verb:?}")).collect::<Vec<_>>().join(" ");
    found.into_iter().map(|(what, verbs)| format!("{{{what}, Verbs:[{}]}}", quoted(verbs))).collect()
}

/// A rule, taken apart into one verb on one thing each.
fn single_rules(rule: &PolicyRule) -> Vec<(String, Attributes)> {
    let mut single = Vec::new();
    let one_or_none = |list: &Option<Vec<String>>| match list.as_deref() {
        None | Some([]) => vec![String::new()],
        Some(names) => names.to_vec(),
    };
    for verb in &rule.verbs {
        for path in rule.non_resource_urls.iter().flatten() {
            let asked = Attributes { verb: verb.clone(), path: path.clone(), ..Attributes::default() };
            single.push((format!("NonResourceURLs:[{path:?}]"), asked));
        }
        for group in rule.api_groups.iter().flatten() {
            for resource in rule.resources.iter().flatten() {
                for name in one_or_none(&rule.resource_names) {
                    let (plural, sub) = resource.split_once('/').unwrap_or((resource, ""));
                    let named = if name.is_empty() { String::new() } else { format!(", ResourceNames:[{name:?}]") };
                    let asked = Attributes {
                        verb: verb.clone(),
                        group: group.clone(),
                        resource: plural.to_owned(),
                        subresource: sub.to_owned(),
                        name,
                        ..Attributes::default()
                    };
                    single.push((format!("APIGroups:[{group:?}], Resources:[{resource:?}]{named}"), asked));
                }
            }
        }
    }
    single
}

/// As for a request, and a right over every name needs one over every name.
fn allows_rule(held: &PolicyRule, single: &Attributes) -> bool {
    let everything = held.resource_names.as_ref().is_none_or(Vec::is_empty);
    allows(held, single) && (everything || !single.name.is_empty())
}

/// The roles and bindings that a cluster begins with, as far as they concern what is served here.
#[must_use]
pub fn bootstrap() -> Vec<(&'static Resource, Value)> {
    let discovery = ["/api", "/api/*", "/apis", "/apis/*", "/openapi", "/openapi/*"];
    let health = ["/healthz", "/livez", "/readyz", "/version", "/version/"];
    let paths = |paths: &[&str]| json!([{"nonResourceURLs": paths, "verbs": ["get"]}]);
    let kubelet =
        ["nodes/proxy", "nodes/metrics", "nodes/stats", "nodes/log", "nodes/pods", "nodes/healthz", "nodes/configz"];
    let roles = [
        (
            "cluster-admin",
            json!([
                {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}, {"nonResourceURLs": ["*"], "verbs": ["*"]},
            ]),
        ),
        ("system:discovery", paths(&[&discovery[..], &health[..]].concat())),
        ("system:public-info-viewer", paths(&health)),
        (
            "system:basic-user",
            json!([
                {"apiGroups": ["authorization.k8s.io"], "verbs": ["create"],
                 "resources": ["selfsubjectaccessreviews", "selfsubjectrulesreviews"]},
                {"apiGroups": ["authentication.k8s.io"], "verbs": ["create"], "resources": ["selfsubjectreviews"]},
            ]),
        ),
        (
            "system:kubelet-api-admin",
            json!([
                {"apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "list", "watch"]},
                {"apiGroups": [""], "resources": ["nodes"], "verbs": ["proxy"]},
                {"apiGroups": [""], "resources": kubelet, "verbs": ["*"]},
            ]),
        ),
    ];
    let bindings = [
        ("cluster-admin", &["system:masters"][..]),
        ("system:basic-user", &["system:authenticated"]),
        ("system:discovery", &["system:authenticated"]),
        ("system:public-info-viewer", &["system:authenticated", "system:unauthenticated"]),
    ];
    let metadata = |name: &str| {
        json!({
            "name": name, "annotations": {"rbac.authorization.kubernetes.io/autoupdate": "true"},
            "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"},
        })
    };
    let group = CLUSTER_ROLES.group;
    let roles = roles.map(|(name, rules)| {
        let version = CLUSTER_ROLES.api_version();
        (
            &CLUSTER_ROLES,
            json!({"apiVersion": version, "kind": "ClusterRole", "metadata": metadata(name), "rules": rules}),
        )
    });
    let bindings = bindings.map(|(name, groups)| {
        let subjects: Vec<Value> =
            groups.iter().map(|name| json!({"apiGroup": group, "kind": "Group", "name": name})).collect();
        let binding = json!({
            "apiVersion": CLUSTER_ROLE_BINDINGS.api_version(), "kind": "ClusterRoleBinding", "metadata": metadata(name),
            "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": name}, "subjects": subjects,
        });
        (&CLUSTER_ROLE_BINDINGS, binding)
    });
    roles.into_iter().chain(bindings).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster(more: impl IntoIterator<Item = (&'static Resource, Value)>) -> Objects {
        let objects = bootstrap().into_iter().chain(more);
        objects.map(|(resource, object)| (Key::of(resource, &object), object.into())).collect()
    }

    fn role(name: &str, rules: &Value) -> (&'static Resource, Value) {
        let object = json!({"metadata": {"name": name}, "rules": rules});
        (&CLUSTER_ROLES, object)
    }

    fn bound(name: &str, user: &str) -> (&'static Resource, Value) {
        let object = json!({
            "metadata": {"name": name}, "roleRef": {"apiGroup": CLUSTER_ROLES.group, "kind": "ClusterRole", "name": name},
            "subjects": [{"kind": "User", "name": user}],
        });
        (&CLUSTER_ROLE_BINDINGS, object)
    }

    fn ann() -> Identity {
        let groups = vec!["system:authenticated".to_owned()];
        Identity { user: "ann".to_owned(), groups, serial: String::new() }
    }

    fn ask(verb: &str, resource: &str, name: &str) -> Attributes {
        let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        let own = str::to_owned;
        Attributes {
            verb: own(verb),
            resource: own(resource),
            subresource: own(subresource),
            name: own(name),
            ..Attributes::default()
        }
    }

    #[test]
    fn rules_allow_what_they_say_and_nothing_beside() {
        let rules = json!([
            {"apiGroups": [""], "resources": ["nodes"], "verbs": ["list", "get"]},
            {"apiGroups": [""], "resources": ["pods/eviction"], "verbs": ["create"]},
            {"apiGroups": [""], "resources": ["*/status"], "verbs": ["patch"]},
            {"apiGroups": [""], "resources": ["events"], "resourceNames": ["e"], "verbs": ["*"]},
        ]);
        let objects = cluster([role("r", &rules), bound("r", "ann"), bound("gone", "ann")]);
        let missing = "RBAC: clusterrole.rbac.authorization.k8s.io \"gone\" not found";
        let allowed = "RBAC: allowed by ClusterRoleBinding \"r\" of ClusterRole \"r\" to User \"ann\"";
        for (asked, may) in [
            (ask("list", "nodes", ""), true),
            (ask("patch", "nodes", "a"), false),
            (ask("get", "nodes/proxy", "a"), false),
            (ask("create", "pods/eviction", "p"), true),
            (ask("create", "pods", ""), false),
            (ask("patch", "pods/status", "p"), true),
            (ask("get", "events", "e"), true),
            (ask("get", "events", "f"), false),
            (ask("list", "events", ""), false),
            (Attributes { group: "apps".to_owned(), ..ask("list", "nodes", "") }, false),
        ] {
            let want = if may { Ok(allowed.to_owned()) } else { Err(missing.to_owned()) };
            assert_eq!(authorize(&ann(), &asked, &objects), want, "{asked:?}");
        }
    }

    #[test]
    fn everyone_may_read_health_and_discovery_and_ask_about_himself() {
        let objects = cluster([]);
        let path = |path: &str| Attributes { verb: "get".to_owned(), path: path.to_owned(), ..Attributes::default() };
        let review = |group: &str, resource| Attributes { group: group.to_owned(), ..ask("create", resource, "") };
        for (asked, may) in [
            (path("/version"), true),
            (path("/livez"), true),
            (path("/api/v1"), true),
            (path("/apisx"), false),
            (path("/metrics"), false),
            (review("authentication.k8s.io", "selfsubjectreviews"), true),
            (review("authorization.k8s.io", "selfsubjectaccessreviews"), true),
            (review("authorization.k8s.io", "subjectaccessreviews"), false),
        ] {
            assert_eq!(authorize(&ann(), &asked, &objects).is_ok(), may, "{asked:?}");
        }
    }

    #[test]
    fn nobody_gives_what_he_does_not_have() {
        let nodes = json!([{"apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "list", "delete"]}]);
        let mine = json!([{"apiGroups": [""], "resources": ["nodes"], "verbs": ["get"]}]);
        let binds = json!([{"apiGroups": [CLUSTER_ROLES.group], "resources": ["clusterroles"], "verbs": ["bind"],
            "resourceNames": ["binds"]}]);
        let known = [role("mine", &mine), role("nodes", &nodes), role("binds", &binds)];
        let objects = cluster(known.into_iter().chain([bound("mine", "ann"), bound("binds", "ann")]));
        let try_it = |(resource, object): (&'static Resource, Value)| {
            confirm_no_escalation(&ann(), resource, &object, &objects).map_err(|error| error.message)
        };
        let lacking = |subject: &str, verbs: &str| {
            Err(format!(
                "{subject} is forbidden: user \"ann\" (groups=[\"system:authenticated\"]) is attempting to grant RBAC \
                 permissions not currently held:\n{{APIGroups:[\"\"], Resources:[\"nodes\"], Verbs:[{verbs}]}}"
            ))
        };
        let group = CLUSTER_ROLES.group;
        assert_eq!(try_it(role("copy", &mine)), Ok(()));
        assert_eq!(
            try_it(role("more", &nodes)),
            lacking(&format!("clusterroles.{group} \"more\""), "\"list\" \"delete\"")
        );
        assert_eq!(
            try_it(bound("nodes", "ann")),
            lacking(&format!("clusterrolebindings.{group} \"nodes\""), "\"list\" \"delete\"")
        );
        assert_eq!(try_it(bound("mine", "bob")), Ok(()));
        assert_eq!(try_it(bound("binds", "bob")), Ok(()));
        assert_eq!(try_it(bound("none", "bob")), Err(format!("clusterroles.{group} \"none\" not found")));
        let master = Identity { groups: vec!["system:masters".to_owned()], ..ann() };
        let (resource, object) = bound("none", "bob");
        assert_eq!(confirm_no_escalation(&master, resource, &object, &objects), Ok(()));
    }
}
