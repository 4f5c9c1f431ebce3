//! What a request asks for, read from method, path and query.

use std::collections::BTreeMap;

use hyper::Method;

use super::authz::Attributes;
use super::resource::Resource;
use super::selector::{FieldSelector, LabelSelector, SelectorError};
use super::status::ApiError;

/// A request for a resource or for another path.
#[derive(Debug)]
pub enum Target {
    /// An object or a collection.
    Resource(ResourceRequest),
    /// Discovery, health, version and unknown paths.
    Path,
}

/// A request for an object or a collection.
#[derive(Debug)]
pub struct ResourceRequest {
    /// What kind of object.
    pub resource: &'static Resource,
    /// Namespace, or empty.
    pub namespace: String,
    /// Name, or empty for a collection.
    pub name: String,
    /// Subresource, or empty.
    pub subresource: String,
    /// Kubernetes verb.
    pub verb: &'static str,
    /// Decoded query parameters.
    pub query: Query,
}

/// Decoded query parameters.
#[derive(Debug, Default, Clone)]
pub struct Query {
    values: BTreeMap<String, String>,
}

impl Query {
    /// Decodes a query string; the first value of a name counts.
    #[must_use]
    pub fn parse(query: &str) -> Self {
        let mut values = BTreeMap::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            values.entry(decode(name)).or_insert_with(|| decode(value));
        }
        Self { values }
    }

    /// The value of a parameter; a missing one is empty.
    #[must_use]
    pub fn get(&self, name: &str) -> &str {
        self.values.get(name).map_or("", String::as_str)
    }

    /// Whether everything is to be checked and nothing done (`dryRun=All`).
    ///
    /// # Errors
    /// 422 for another word.
    pub fn dry_run(&self) -> Result<bool, ApiError> {
        match self.get("dryRun") {
            "" => Ok(false),
            "All" => Ok(true),
            other => Err(ApiError::unsupported_dry_run(other)),
        }
    }

    /// Whether a parameter is set to true.
    #[must_use]
    pub fn is_true(&self, name: &str) -> bool {
        matches!(self.get(name), "true" | "1")
    }
}

fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let hex = tail.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match (first, hex.and_then(|digits| u8::from_str_radix(digits, 16).ok())) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            (b'+', _) => {
                bytes.push(b' ');
                rest = tail;
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

impl Target {
    /// Reads method, path and query.
    #[must_use]
    pub fn parse(method: &Method, path: &str, query: &str) -> Self {
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let found = match parts.as_slice() {
            ["api", version, rest @ ..] => find("", version, rest),
            ["apis", group, version, rest @ ..] => find(group, version, rest),
            _ => None,
        };
        let Some((resource, namespace, rest)) = found else { return Self::Path };
        let query = Query::parse(query);
        let name = rest.first().map_or("", |name| *name);
        let subresource = rest.get(1).map_or("", |name| *name);
        if rest.len() > 2 {
            return Self::Path;
        }
        let Some(verb) = verb(method, name, &query) else { return Self::Path };
        Self::Resource(ResourceRequest {
            resource,
            namespace: decode(namespace),
            name: decode(name),
            subresource: decode(subresource),
            verb,
            query,
        })
    }
}

fn find<'a>(group: &str, version: &str, rest: &'a [&'a str]) -> Option<(&'static Resource, &'a str, &'a [&'a str])> {
    if let ["namespaces", namespace, plural, rest @ ..] = rest
        && let Some(resource) = Resource::find(group, version, plural)
        && resource.namespaced
    {
        return Some((resource, namespace, rest));
    }
    let [plural, rest @ ..] = rest else { return None };
    let resource = Resource::find(group, version, plural)?;
    // A namespaced resource without a namespace is a collection over all of them.
    (!resource.namespaced || rest.is_empty()).then_some((resource, "", rest))
}

fn verb(method: &Method, name: &str, query: &Query) -> Option<&'static str> {
    match (method, name.is_empty()) {
        (&Method::GET | &Method::HEAD, _) if query.is_true("watch") => Some("watch"),
        (&Method::GET | &Method::HEAD, true) => Some("list"),
        (&Method::GET | &Method::HEAD, false) => Some("get"),
        (&Method::POST, _) => Some("create"),
        (&Method::PUT, _) => Some("update"),
        (&Method::PATCH, _) => Some("patch"),
        (&Method::DELETE, true) => Some("deletecollection"),
        (&Method::DELETE, false) => Some("delete"),
        _ => None,
    }
}

/// The verb of the log and of the authorizer for a path that is no resource.
#[must_use]
pub fn path_verb(method: &Method) -> String {
    method.as_str().to_ascii_lowercase()
}

impl ResourceRequest {
    /// The field selector; a watch or list by name selects it.
    ///
    /// # Errors
    /// The parameter cannot be read.
    pub fn field_selector(&self) -> Result<FieldSelector, SelectorError> {
        FieldSelector::parse(self.query.get("fieldSelector"))
    }

    /// The label selector.
    ///
    /// # Errors
    /// The parameter cannot be read.
    pub fn label_selector(&self) -> Result<LabelSelector, SelectorError> {
        LabelSelector::parse(self.query.get("labelSelector"))
    }

    /// `pods`, `pods/eviction`, `leases.coordination.k8s.io`.
    #[must_use]
    pub fn what(&self) -> String {
        let resource = self.resource.qualified();
        if self.subresource.is_empty() { resource } else { format!("{resource}/{}", self.subresource) }
    }

    /// What the authorizer looks at.
    ///
    /// # Errors
    /// The field selector cannot be read.
    pub fn attributes(&self) -> Result<Attributes, SelectorError> {
        Ok(Attributes {
            verb: self.verb.to_owned(),
            group: self.resource.group.to_owned(),
            resource: self.resource.plural.to_owned(),
            subresource: self.subresource.clone(),
            namespace: self.namespace.clone(),
            name: self.name.clone(),
            field_selector: self.field_selector()?,
            path: String::new(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(method: &Method, path: &str, query: &str) -> Option<(String, String, String, String, &'static str)> {
        match Target::parse(method, path, query) {
            Target::Path => None,
            Target::Resource(request) => {
                Some((request.resource.qualified(), request.namespace, request.name, request.subresource, request.verb))
            }
        }
    }

    #[test]
    fn paths_become_resources_and_verbs() {
        let leases = "/apis/coordination.k8s.io/v1";
        let own = |text: &str| text.to_owned();
        let cases = [
            (Method::GET, own("/api/v1/nodes"), "", Some(("nodes", "", "", "", "list"))),
            (Method::GET, own("/api/v1/nodes"), "watch=true", Some(("nodes", "", "", "", "watch"))),
            (Method::GET, own("/api/v1/nodes/a"), "", Some(("nodes", "", "a", "", "get"))),
            (Method::PATCH, own("/api/v1/nodes/a/status"), "", Some(("nodes", "", "a", "status", "patch"))),
            (Method::GET, own("/api/v1/namespaces/default"), "", Some(("namespaces", "", "default", "", "get"))),
            (Method::POST, own("/api/v1/namespaces/default/events"), "", Some(("events", "default", "", "", "create"))),
            (Method::GET, own("/api/v1/events"), "", Some(("events", "", "", "", "list"))),
            (
                Method::PUT,
                format!("{leases}/namespaces/kube-node-lease/leases/a"),
                "",
                Some(("leases.coordination.k8s.io", "kube-node-lease", "a", "", "update")),
            ),
            (Method::DELETE, own("/api/v1/nodes"), "", Some(("nodes", "", "", "", "deletecollection"))),
            (Method::GET, own("/api/v1"), "", None),
            (Method::GET, own("/api/v1/services"), "", None),
            (Method::GET, own("/api/v1/nodes/a/b/c"), "", None),
            (
                Method::POST,
                own("/api/v1/namespaces/default/pods/p/eviction"),
                "",
                Some(("pods", "default", "p", "eviction", "create")),
            ),
            (
                Method::PATCH,
                own("/apis/policy/v1/namespaces/default/poddisruptionbudgets/b/status"),
                "",
                Some(("poddisruptionbudgets.policy", "default", "b", "status", "patch")),
            ),
            (
                Method::GET,
                own("/apis/storage.k8s.io/v1/volumeattachments"),
                "",
                Some(("volumeattachments.storage.k8s.io", "", "", "", "list")),
            ),
        ];
        for (method, path, query, want) in cases {
            let want = want.map(|(resource, namespace, name, subresource, verb)| {
                (own(resource), own(namespace), own(name), own(subresource), verb)
            });
            assert_eq!(read(&method, &path, query), want, "{method} {path}?{query}");
        }
    }

    #[test]
    fn query_values_are_decoded() {
        let query = Query::parse("fieldSelector=metadata.name%3Da&x=1+2&x=3&broken=%zz");
        assert_eq!(query.get("fieldSelector"), "metadata.name=a");
        assert_eq!(query.get("x"), "1 2");
        assert_eq!(query.get("broken"), "%zz");
        assert_eq!(query.get("none"), "");
    }
}
