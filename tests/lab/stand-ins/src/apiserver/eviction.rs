//! The subresource `eviction` of a pod: a deletion that asks the pod's `PodDisruptionBudget` first.

use jiff::Timestamp;
use k8s_openapi::api::policy::v1::Eviction;
use serde_json::{Value, json};

use super::deletion::{self, Options};
use super::disruption;
use super::request::ResourceRequest;
use super::resource::PODS;
use super::status::ApiError;
use super::storage::{Key, Objects, Store, Write, time};

/// Largest number of evictions that were allowed and are not seen yet.
const MOST_DISRUPTED: usize = 2000;
/// Seconds after which an eviction may be tried again that the server could not decide yet.
const RETRY_SECONDS: u32 = 10;

/// What the body says. Fields that an Eviction does not have are dropped, as everywhere, `delete_options` too.
///
/// # Errors
/// 400 for another object, or one of another name.
pub fn read(request: &ResourceRequest, mut body: Value) -> Result<Options, ApiError> {
    let text = |key: &str| body.get(key).and_then(Value::as_str).unwrap_or_default();
    let known = matches!((text("apiVersion"), text("kind")), ("policy/v1" | "policy/v1beta1" | "", "Eviction" | ""));
    if !known {
        return Err(ApiError::bad_request(format!("not a Eviction object: {} {}", text("apiVersion"), text("kind"))));
    }
    body["apiVersion"] = json!("policy/v1");
    body["kind"] = json!("Eviction");
    let eviction: Eviction = serde_json::from_value(body).map_err(|error| {
        ApiError::bad_request(format!("Eviction in version \"v1\" cannot be handled as a Eviction: {error}"))
    })?;
    if eviction.metadata.name.as_deref() != Some(&request.name) {
        return Err(ApiError::bad_request("name in URL does not match name in Eviction object"));
    }
    let options = serde_json::to_value(eviction.delete_options).unwrap_or_default();
    Options::read(&options, &request.query)
}

/// Evicts the pod, if its budget allows it.
///
/// # Errors
/// 404 without the pod, 409 for a precondition, 429 while the budget does not allow it, 500 with two budgets.
pub fn evict(store: &Store, request: &ResourceRequest, options: &Options) -> Result<(), ApiError> {
    let key = Key::new(&PODS, &request.namespace, &request.name);
    let pod = store.get(&key).ok_or_else(|| ApiError::not_found(&PODS, &request.name))?;
    let mut guarded = None;
    if is_disrupted_anyway(&pod) {
        // One that could become ready meanwhile must not slip through.
        if pod["status"]["phase"] == "Pending" && !deletion::is_wanted(&pod) {
            guarded = Some(None);
        }
    } else if let Some(budget) = store.view(|objects| the_budget(&request.namespace, &pod, objects))? {
        if may_go_unready(&pod, &store.get(&budget).unwrap_or_default()) {
            guarded = Some(Some(budget.name));
        } else {
            take_from(store, &budget, &request.name, options.dry_run)?;
        }
    }
    let guarded = guarded.filter(|_| options.resource_version.is_none());
    let mut guard = options.clone();
    if guarded.is_some() {
        guard.resource_version = pod["metadata"]["resourceVersion"].as_str().map(str::to_owned);
    }
    let deleted = store.transact(&key, options.dry_run, |current, _| {
        let current = current.ok_or_else(|| ApiError::not_found(&PODS, &request.name))?;
        let fate = deletion::begin(&PODS, current, &guard, Timestamp::now())?;
        Ok(if let Write::Put(pod) = fate { Write::Put(marked(pod)) } else { fate })
    });
    match (deleted, guarded) {
        (Err(error), Some(Some(budget))) if error.code == 409 => Err(still_processed(&budget)),
        (Err(error), Some(None)) if error.code == 409 => evict(store, request, options),
        (deleted, _) => deleted.map(|_| ()),
    }
}

/// A pod that has ended, is ending, or has not begun: no budget has a say.
fn is_disrupted_anyway(pod: &Value) -> bool {
    deletion::is_wanted(pod) || matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed" | "Pending"))
}

fn the_budget(namespace: &str, pod: &Value, objects: &Objects) -> Result<Option<Key>, ApiError> {
    let mut budgets = disruption::budgets_of(namespace, pod, objects).into_iter();
    match (budgets.next(), budgets.next()) {
        (_, Some(_)) => Err(ApiError::several_budgets()),
        (budget, None) => Ok(budget),
    }
}

/// An unready pod does not count as healthy: it may go if the budget says so, or is kept without it.
fn may_go_unready(pod: &Value, budget: &Value) -> bool {
    let number = |field: &str| budget["status"][field].as_i64().unwrap_or_default();
    let kept = number("desiredHealthy") > 0 && number("currentHealthy") >= number("desiredHealthy");
    !disruption::is_ready(pod) && (budget["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow" || kept)
}

/// Takes one disruption from the budget.
fn take_from(store: &Store, budget: &Key, pod: &str, dry: bool) -> Result<(), ApiError> {
    let now = time(Timestamp::now());
    let taken = store.transact(budget, dry, |current, _| {
        let mut budget = current.cloned().unwrap_or_default();
        let allowed = allowed(&budget)?;
        budget["status"]["disruptionsAllowed"] = json!(allowed - 1);
        budget["status"]["disruptedPods"][pod] = json!(now);
        Ok(Write::Put(budget))
    });
    taken.map(|_| ())
}

/// How many disruptions the budget allows; at least one.
fn allowed(budget: &Value) -> Result<i64, ApiError> {
    let (status, name) = (&budget["status"], budget["metadata"]["name"].as_str().unwrap_or_default());
    let number = |field: &str| status[field].as_i64().unwrap_or_default();
    if number("observedGeneration") < budget["metadata"]["generation"].as_i64().unwrap_or_default() {
        return Err(still_processed(name));
    }
    if status["disruptedPods"].as_object().is_some_and(|pods| pods.len() > MOST_DISRUPTED) {
        let why = "DisruptedPods map too big - too many evictions not confirmed by PDB controller";
        return Err(ApiError::forbidden(&super::resource::POD_DISRUPTION_BUDGETS, name, why));
    }
    match number("disruptionsAllowed") {
        0 => Err(ApiError::disruption_budget(denial(name, status), None)),
        allowed => Ok(allowed),
    }
}

fn denial(name: &str, status: &Value) -> String {
    let number = |field: &str| status[field].as_i64().unwrap_or_default();
    let condition = &status["conditions"][0];
    if condition["reason"] == "SyncFailed" {
        let why = condition["message"].as_str().unwrap_or_default();
        return format!(
            "The disruption budget {name} does not allow evicting pods currently because it failed sync: {why}"
        );
    }
    let (desired, healthy) = (number("desiredHealthy"), number("currentHealthy"));
    if healthy <= desired {
        format!("The disruption budget {name} needs {desired} healthy pods and has {healthy} currently")
    } else {
        format!("The disruption budget {name} does not allow evicting pods currently")
    }
}

fn still_processed(budget: &str) -> ApiError {
    let why = format!("The disruption budget {budget} is still being processed by the server.");
    ApiError::disruption_budget(why, Some(RETRY_SECONDS))
}

/// The condition that says why the pod ends.
fn marked(mut pod: Value) -> Value {
    let condition = json!({
        "type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI",
        "message": "Eviction API: evicting", "lastTransitionTime": time(Timestamp::now()),
    });
    if !pod["status"]["conditions"].is_array() {
        pod["status"]["conditions"] = json!([]);
    }
    if let Some(conditions) = pod["status"]["conditions"].as_array_mut() {
        conditions.retain(|one| one["type"] != "DisruptionTarget");
        conditions.push(condition);
    }
    pod
}
