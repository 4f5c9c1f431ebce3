//! What is served, as clients ask for it, and the version and health paths.

use serde_json::{Value, json};

use super::resource::{ALL, Resource};
use crate::KUBERNETES_VERSION;

/// An answer to a path that is no resource.
#[derive(Debug, PartialEq, Eq)]
pub enum Page {
    /// JSON.
    Json(Value),
    /// Plain text.
    Text(&'static str),
}

/// The page at that path, if there is one.
#[must_use]
pub fn page(path: &str) -> Option<Page> {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    match parts.as_slice() {
        ["version"] => Some(Page::Json(version())),
        ["healthz" | "livez" | "readyz"] | ["healthz" | "livez" | "readyz", "ping"] => Some(Page::Text("ok")),
        ["api"] => {
            Some(Page::Json(json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []})))
        }
        ["apis"] => Some(Page::Json(json!({
            "kind": "APIGroupList", "apiVersion": "v1", "groups": groups().into_iter().map(group).collect::<Vec<_>>(),
        }))),
        ["apis", name] => groups().into_iter().find(|group| group == name).map(|name| {
            let mut found = group(name);
            found["kind"] = json!("APIGroup");
            found["apiVersion"] = json!("v1");
            Page::Json(found)
        }),
        ["api", "v1"] => Some(Page::Json(resources(""))),
        ["apis", name, "v1"] if groups().contains(name) => Some(Page::Json(resources(name))),
        _ => None,
    }
}

fn version() -> Value {
    let mut numbers = KUBERNETES_VERSION.trim_start_matches('v').split('.');
    json!({
        "major": numbers.next().unwrap_or_default(), "minor": numbers.next().unwrap_or_default(),
        "gitVersion": format!("{KUBERNETES_VERSION}+stand-in"), "gitCommit": "", "gitTreeState": "clean",
        "buildDate": "", "goVersion": "", "compiler": "rustc", "platform": "linux/amd64",
    })
}

fn groups() -> Vec<&'static str> {
    let mut groups: Vec<&str> = ALL.iter().map(|resource| resource.group).filter(|group| !group.is_empty()).collect();
    groups.sort_unstable();
    groups.dedup();
    groups
}

fn group(name: &str) -> Value {
    let version = json!({"groupVersion": format!("{name}/v1"), "version": "v1"});
    json!({"name": name, "versions": [version.clone()], "preferredVersion": version})
}

fn resources(group: &str) -> Value {
    let mut list = Vec::new();
    for resource in ALL.into_iter().filter(|resource| resource.group == group) {
        list.push(entry(resource));
        if resource.has_status {
            list.push(json!({
                "name": format!("{}/status", resource.plural), "singularName": "", "namespaced": resource.namespaced,
                "kind": resource.kind, "verbs": ["get", "patch", "update"],
            }));
        }
        if resource.kind == "Pod" {
            // What clients look for that evict.
            list.push(json!({
                "name": "pods/eviction", "singularName": "", "namespaced": true, "group": "policy", "version": "v1",
                "kind": "Eviction", "verbs": ["create"],
            }));
        }
    }
    let version = if group.is_empty() { "v1".to_owned() } else { format!("{group}/v1") };
    json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": list})
}

fn entry(resource: &Resource) -> Value {
    let mut entry = json!({
        "name": resource.plural, "singularName": resource.singular, "namespaced": resource.namespaced,
        "kind": resource.kind, "verbs": resource.verbs,
    });
    if !resource.short_names.is_empty() {
        entry["shortNames"] = json!(resource.short_names);
    }
    entry
}
