//! The `Status` object that a failed request is answered with, in the words of the real apiserver.

use serde_json::{Map, Value, json};

use super::resource::Resource;

/// A refused or failed request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    /// HTTP status code.
    pub code: u16,
    /// Machine-readable reason, such as `NotFound`.
    pub reason: &'static str,
    /// What a person reads.
    pub message: String,
    /// Resource and object concerned.
    pub details: Option<Box<Details>>,
    /// More about why: reason and message of each cause.
    pub causes: Vec<(&'static str, String)>,
    /// Seconds after which the client may try again; also said in the header `Retry-After`.
    pub retry_after: Option<u32>,
}

/// What an [`ApiError`] concerns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Details {
    /// Object name; may be empty.
    pub name: String,
    /// API group; empty for the core group.
    pub group: String,
    /// Plural resource name, as the real apiserver puts it into `kind`.
    pub kind: String,
}

impl Details {
    fn new(resource: &Resource, name: &str) -> Self {
        Self { name: name.to_owned(), group: resource.group.to_owned(), kind: resource.plural.to_owned() }
    }
}

impl ApiError {
    fn plain(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into(), details: None, causes: Vec::new(), retry_after: None }
    }

    fn about(code: u16, reason: &'static str, message: String, resource: &Resource, name: &str) -> Self {
        Self { details: Some(Box::new(Details::new(resource, name))), ..Self::plain(code, reason, message) }
    }

    /// 400: the request cannot be understood.
    #[must_use]
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::plain(400, "BadRequest", message)
    }

    /// 401: nobody known asks.
    #[must_use]
    pub fn unauthorized() -> Self {
        Self::plain(401, "Unauthorized", "Unauthorized")
    }

    /// 403 with the authorizer's or admission's text.
    #[must_use]
    pub fn forbidden(resource: &Resource, name: &str, why: &str) -> Self {
        let subject =
            if name.is_empty() { resource.qualified() } else { format!("{} \"{name}\"", resource.qualified()) };
        Self::about(403, "Forbidden", format!("{subject} is forbidden: {why}"), resource, name)
    }

    /// 403 for a path that is no resource.
    #[must_use]
    pub fn forbidden_path(user: &str, verb: &str, path: &str) -> Self {
        Self::plain(403, "Forbidden", format!("forbidden: User \"{user}\" cannot {verb} path \"{path}\""))
    }

    /// 404 for an object.
    #[must_use]
    pub fn not_found(resource: &Resource, name: &str) -> Self {
        Self::about(404, "NotFound", format!("{} \"{name}\" not found", resource.qualified()), resource, name)
    }

    /// 404 for a path that is not served.
    #[must_use]
    pub fn no_such_path() -> Self {
        Self::plain(404, "NotFound", "the server could not find the requested resource")
    }

    /// 405: the resource knows no such verb.
    #[must_use]
    pub fn method_not_allowed(resource: &Resource) -> Self {
        Self::about(
            405,
            "MethodNotAllowed",
            "the server does not allow this method on the requested resource".to_owned(),
            resource,
            "",
        )
    }

    /// 406: the client takes nothing that is offered.
    #[must_use]
    pub fn not_acceptable() -> Self {
        Self::plain(
            406,
            "NotAcceptable",
            "only the following media types are accepted: application/json, application/json;stream=watch",
        )
    }

    /// 409: the object is there already.
    #[must_use]
    pub fn already_exists(resource: &Resource, name: &str) -> Self {
        Self::about(409, "AlreadyExists", format!("{} \"{name}\" already exists", resource.qualified()), resource, name)
    }

    /// 409: the object changed meanwhile, or a precondition does not hold.
    #[must_use]
    pub fn conflict(resource: &Resource, name: &str, why: &str) -> Self {
        Self::about(
            409,
            "Conflict",
            format!("Operation cannot be fulfilled on {} \"{name}\": {why}", resource.qualified()),
            resource,
            name,
        )
    }

    /// 409 of a deletion whose precondition does not hold; the real one names the kind here.
    #[must_use]
    pub fn precondition(resource: &Resource, name: &str, why: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {} \"{name}\": {why}", resource.kind);
        let details = Details { kind: resource.kind.to_owned(), ..Details::new(resource, name) };
        Self { details: Some(Box::new(details)), ..Self::plain(409, "Conflict", message) }
    }

    /// 410: the resource version is older than what is remembered.
    #[must_use]
    pub fn expired(asked: u64, oldest: u64) -> Self {
        Self::plain(410, "Expired", format!("too old resource version: {asked} ({oldest})"))
    }

    /// 410 as etcd's compaction makes it.
    #[must_use]
    pub fn forgotten() -> Self {
        let message = "The resourceVersion for the provided watch is too old.";
        Self::plain(410, "Expired", message)
    }

    /// 413: the body is larger than is taken.
    #[must_use]
    pub fn too_large(limit: usize) -> Self {
        Self::plain(413, "RequestEntityTooLarge", format!("Request entity too large: limit is {limit}"))
    }

    /// 415: the body's type is not taken.
    #[must_use]
    pub fn unsupported_media(accepted: &str) -> Self {
        Self::plain(
            415,
            "UnsupportedMediaType",
            format!("the body of the request was in an unknown format - accepted media types include: {accepted}"),
        )
    }

    /// 422: the object is well-formed and wrong.
    #[must_use]
    pub fn invalid(resource: &Resource, name: &str, why: &str) -> Self {
        let kind = if resource.group.is_empty() {
            resource.kind.to_owned()
        } else {
            format!("{}.{}", resource.kind, resource.group)
        };
        Self::about(422, "Invalid", format!("{kind} \"{name}\" is invalid: {why}"), resource, name)
    }

    /// 422: a word in `dryRun` that is not known.
    #[must_use]
    pub fn unsupported_dry_run(word: &str) -> Self {
        let message = format!("dryRun: Unsupported value: {word:?}: supported values: \"All\"");
        Self::plain(422, "Invalid", message)
    }

    /// 429 of an eviction that a budget does not allow, or not yet; without `retry_after` no header says when.
    #[must_use]
    pub fn disruption_budget(cause: String, retry_after: Option<u32>) -> Self {
        let message = "Cannot evict pod as it would violate the pod's disruption budget.";
        Self { causes: vec![("DisruptionBudget", cause)], retry_after, ..Self::plain(429, "TooManyRequests", message) }
    }

    /// 500 of an eviction that two budgets would have to allow; it has no reason.
    #[must_use]
    pub fn several_budgets() -> Self {
        let message =
            "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.";
        Self::plain(500, "", message)
    }

    /// 500 as of a server whose storage fails.
    #[must_use]
    pub fn internal(why: &str) -> Self {
        Self::plain(500, "InternalError", format!("Internal error occurred: {why}"))
    }

    /// 503 as of a server that starts or stops.
    #[must_use]
    pub fn unavailable() -> Self {
        Self::plain(503, "ServiceUnavailable", "the server is currently unable to handle the request")
    }

    /// 504 as the real watch cache answers for a resource version from the future.
    #[must_use]
    pub fn version_from_the_future(asked: u64, current: u64) -> Self {
        Self::plain(504, "Timeout", format!("Too large resource version: {asked}, current: {current}"))
    }

    /// The `Status` object.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "code": self.code,
        });
        if !self.reason.is_empty() {
            status["reason"] = json!(self.reason);
        }
        let details = self.details_json();
        if self.details.is_some() || !details.is_empty() {
            status["details"] = Value::Object(details);
        }
        status
    }

    fn details_json(&self) -> Map<String, Value> {
        let mut map = Map::new();
        if let Some(details) = &self.details {
            for (key, value) in [("name", &details.name), ("group", &details.group), ("kind", &details.kind)] {
                if !value.is_empty() {
                    map.insert(key.to_owned(), Value::String(value.clone()));
                }
            }
        }
        if !self.causes.is_empty() {
            let causes = self.causes.iter().map(|(reason, message)| json!({"reason": reason, "message": message}));
            map.insert("causes".to_owned(), causes.collect());
        }
        if let Some(seconds) = self.retry_after {
            map.insert("retryAfterSeconds".to_owned(), json!(seconds));
        }
        map
    }
}

/// The `Status` that answers a deletion.
#[must_use]
pub fn deleted(resource: &Resource, name: &str, uid: &str) -> Value {
    let mut details = json!({"name": name, "kind": resource.plural, "uid": uid});
    if !resource.group.is_empty() {
        details["group"] = Value::String(resource.group.to_owned());
    }
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apiserver::resource;

    #[test]
    fn a_status_says_what_the_real_one_says() {
        let error = ApiError::not_found(&resource::LEASES, "worker-node-1");
        assert_eq!(
            error.to_json(),
            json!({
                "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                "message": "leases.coordination.k8s.io \"worker-node-1\" not found", "reason": "NotFound", "code": 404,
                "details": {"name": "worker-node-1", "group": "coordination.k8s.io", "kind": "leases"},
            })
        );
    }
}
