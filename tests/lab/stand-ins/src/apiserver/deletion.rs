//! Deletion: at once, or first a mark that it is wanted. A pod on a node stays until its kubelet has ended it, an object
//! with finalizers until they are gone.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::request::Query;
use super::resource::Resource;
use super::status::ApiError;
use super::storage::{Write, time};

/// What a client says about a deletion: `DeleteOptions`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// Seconds that a pod gets to end; none: as many as the pod says.
    pub grace: Option<i64>,
    /// The UID that the object must have.
    pub uid: Option<String>,
    /// The resource version that the object must have.
    pub resource_version: Option<String>,
    /// Whether everything is checked and nothing done.
    pub dry_run: bool,
}

impl Options {
    /// Reads body and query; the body may be missing, and counts when it is there.
    ///
    /// # Errors
    /// 400 for a value of the wrong type or what the stand-in does not do.
    pub fn read(body: &Value, query: &Query) -> Result<Self, ApiError> {
        let text = |pointer: &str| body.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        let grace = match body.get("gracePeriodSeconds") {
            None | Some(Value::Null) => match query.get("gracePeriodSeconds") {
                "" => None,
                seconds => Some(seconds.parse().map_err(|_| unreadable(seconds))?),
            },
            Some(seconds) => Some(seconds.as_i64().ok_or_else(|| unreadable(&seconds.to_string()))?),
        };
        let policy = text("/propagationPolicy").unwrap_or_else(|| query.get("propagationPolicy").to_owned());
        if !matches!(policy.as_str(), "" | "Background") {
            return Err(ApiError::bad_request(format!("this stand-in knows no propagationPolicy {policy}")));
        }
        Ok(Self {
            grace,
            uid: text("/preconditions/uid"),
            resource_version: text("/preconditions/resourceVersion"),
            dry_run: query.dry_run()? || is_dry(&body["dryRun"])?,
        })
    }

    fn check(&self, resource: &Resource, old: &Value) -> Result<(), ApiError> {
        let name = old["metadata"]["name"].as_str().unwrap_or_default();
        let is = |field: &str| old["metadata"][field].as_str().unwrap_or_default();
        if let Some(wanted) = self.uid.as_deref().filter(|wanted| *wanted != is("uid")) {
            let why = format!(
                "the UID in the precondition ({wanted}) does not match the UID in record ({}). \
                 The object might have been deleted and then recreated",
                is("uid")
            );
            return Err(ApiError::precondition(resource, name, &why));
        }
        if let Some(wanted) = self.resource_version.as_deref().filter(|wanted| *wanted != is("resourceVersion")) {
            let why = format!(
                "the ResourceVersion in the precondition ({wanted}) does not match the ResourceVersion in record ({}). \
                 The object might have been modified",
                is("resourceVersion")
            );
            return Err(ApiError::precondition(resource, name, &why));
        }
        Ok(())
    }
}

fn unreadable(seconds: &str) -> ApiError {
    ApiError::bad_request(format!("gracePeriodSeconds: {seconds} is no number of seconds"))
}

/// A list of `dryRun`: all or nothing.
///
/// # Errors
/// 422 for another word than `All`.
pub fn is_dry(list: &Value) -> Result<bool, ApiError> {
    let words: Vec<&str> = list.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    match words.iter().find(|word| **word != "All") {
        Some(other) => Err(ApiError::unsupported_dry_run(other)),
        None => Ok(!words.is_empty()),
    }
}

/// What becomes of an object that is to be deleted.
///
/// # Errors
/// 409 when a precondition does not hold.
pub fn begin(resource: &Resource, old: &Value, options: &Options, now: Timestamp) -> Result<Write, ApiError> {
    options.check(resource, old)?;
    let finalizers = has_finalizers(old);
    let pending = old["metadata"]["deletionGracePeriodSeconds"].as_i64().unwrap_or_default();
    let wanted = options.grace.map(|seconds| if seconds < 0 { 1 } else { seconds });
    let (grace, since) = if resource.kind != "Pod" {
        (0, now)
    } else if let Some(end) = deletion_time(old) {
        // Once it ends, its time can only be shortened.
        match wanted {
            _ if pending == 0 => (0, now),
            Some(seconds) if seconds < pending => (seconds, end - SignedDuration::from_secs(pending)),
            _ => return Ok(Write::Keep),
        }
    } else {
        (grace_of(old, wanted), now)
    };
    if grace == 0 && !finalizers {
        return Ok(Write::Delete);
    }
    let mut object = old.clone();
    let already = deletion_time(old).is_some();
    if !already || resource.kind == "Pod" {
        object["metadata"]["deletionTimestamp"] = json!(time(since + SignedDuration::from_secs(grace)));
    }
    object["metadata"]["deletionGracePeriodSeconds"] = json!(grace);
    if !already && let Some(generation) = old["metadata"]["generation"].as_i64() {
        object["metadata"]["generation"] = json!(generation + 1);
    }
    Ok(Write::Put(object))
}

/// Seconds that a running pod gets: none when no node runs it or it ended already.
fn grace_of(pod: &Value, wanted: Option<i64>) -> i64 {
    let unbound = pod["spec"]["nodeName"].as_str().unwrap_or_default().is_empty();
    let ended = matches!(pod["status"]["phase"].as_str(), Some("Failed" | "Succeeded"));
    if unbound || ended {
        return 0;
    }
    wanted.or_else(|| pod["spec"]["terminationGracePeriodSeconds"].as_i64()).unwrap_or_default()
}

fn has_finalizers(object: &Value) -> bool {
    object["metadata"]["finalizers"].as_array().is_some_and(|list| !list.is_empty())
}

fn deletion_time(object: &Value) -> Option<Timestamp> {
    object["metadata"]["deletionTimestamp"].as_str()?.parse().ok()
}

/// Whether a deletion was begun.
#[must_use]
pub fn is_wanted(object: &Value) -> bool {
    object["metadata"]["deletionTimestamp"].is_string()
}

/// Whether nothing holds an object any more whose deletion was begun: an update that takes the last finalizer ends it.
#[must_use]
pub fn is_due(object: &Value) -> bool {
    is_wanted(object)
        && !has_finalizers(object)
        && object["metadata"]["deletionGracePeriodSeconds"].as_i64().unwrap_or_default() == 0
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::apiserver::resource::{NODES, PODS};

    fn pod(change: &Value) -> Value {
        let pod = json!({
            "metadata": {"name": "p", "uid": "u", "resourceVersion": "7", "generation": 1},
            "spec": {"nodeName": "a", "terminationGracePeriodSeconds": 30}, "status": {"phase": "Running"},
        });
        crate::apiserver::patch::merge(pod, change.clone())
    }

    fn fate(resource: &Resource, object: &Value, options: &Options) -> String {
        match begin(resource, object, options, "2026-01-01T00:00:00Z".parse().unwrap()) {
            Ok(Write::Delete) => "deleted".to_owned(),
            Ok(Write::Keep) => "as it was".to_owned(),
            Ok(Write::Put(object)) => {
                let metadata = &object["metadata"];
                format!("{} {}", metadata["deletionTimestamp"], metadata["deletionGracePeriodSeconds"])
            }
            Err(error) => error.message,
        }
    }

    #[test]
    fn a_pod_on_a_node_ends_in_its_time() {
        let grace = |seconds| Options { grace: Some(seconds), ..Options::default() };
        let ending =
            json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:30Z", "deletionGracePeriodSeconds": 30}});
        for (change, options, want) in [
            (json!({}), Options::default(), "\"2026-01-01T00:00:30Z\" 30"),
            (json!({}), grace(5), "\"2026-01-01T00:00:05Z\" 5"),
            (json!({}), grace(-5), "\"2026-01-01T00:00:01Z\" 1"),
            (json!({}), grace(0), "deleted"),
            (json!({"spec": {"nodeName": null}}), Options::default(), "deleted"),
            (json!({"status": {"phase": "Succeeded"}}), Options::default(), "deleted"),
            (json!({"metadata": {"finalizers": ["x/y"]}}), grace(0), "\"2026-01-01T00:00:00Z\" 0"),
            (ending.clone(), Options::default(), "as it was"),
            (ending.clone(), grace(60), "as it was"),
            (ending.clone(), grace(10), "\"2026-01-01T00:00:10Z\" 10"),
            (ending, grace(0), "deleted"),
        ] {
            assert_eq!(fate(&PODS, &pod(&change), &options), want, "{change} {options:?}");
        }
    }

    #[test]
    fn others_go_at_once_unless_a_finalizer_holds_them() {
        let node = json!({"metadata": {"name": "a", "uid": "u"}});
        assert_eq!(fate(&NODES, &node, &Options { grace: Some(30), ..Options::default() }), "deleted");
        let held = json!({"metadata": {"name": "a", "uid": "u", "finalizers": ["x/y"]}});
        assert_eq!(fate(&NODES, &held, &Options::default()), "\"2026-01-01T00:00:00Z\" 0");
        assert!(!is_due(&held) && !is_wanted(&held));
        assert!(is_due(&json!({"metadata": {"deletionTimestamp": "x", "deletionGracePeriodSeconds": 0}})));
    }

    #[test]
    fn preconditions_hold_or_it_stays() {
        let options = Options { uid: Some("other".to_owned()), ..Options::default() };
        assert_eq!(
            fate(&PODS, &pod(&json!({})), &options),
            "Operation cannot be fulfilled on Pod \"p\": the UID in the precondition (other) does not match the UID in \
             record (u). The object might have been deleted and then recreated"
        );
        let options = Options { resource_version: Some("6".to_owned()), ..Options::default() };
        assert_eq!(
            fate(&PODS, &pod(&json!({})), &options),
            "Operation cannot be fulfilled on Pod \"p\": the ResourceVersion in the precondition (6) does not match the \
             ResourceVersion in record (7). The object might have been modified"
        );
    }
}
