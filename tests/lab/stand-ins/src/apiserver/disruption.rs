//! The disruption controller: how many pods each `PodDisruptionBudget` covers, how many of them are healthy, and how many
//! may be taken away. It counts as the real one does, and at once.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

use super::deletion;
use super::resource::{POD_DISRUPTION_BUDGETS, PODS, REPLICA_SETS};
use super::selector::LabelSelector;
use super::storage::{Key, Objects, time};

/// How long an allowed eviction counts when the pod is not deleted.
const DELETION_TIMEOUT: SignedDuration = SignedDuration::from_mins(2);

/// The budgets whose status is not what it should be, with the right one.
#[must_use]
pub fn outdated(objects: &Objects, now: Timestamp) -> Vec<(Key, Value)> {
    let budgets = objects.iter().filter(|(key, _)| key.is_in(&POD_DISRUPTION_BUDGETS, ""));
    budgets
        .filter_map(|(key, budget)| {
            let status = status(&key.namespace, budget, objects, now);
            (status != budget["status"]).then(|| {
                let mut budget = (**budget).clone();
                budget["status"] = status;
                (key.clone(), budget)
            })
        })
        .collect()
}

/// The budgets of that namespace that select a pod.
#[must_use]
pub fn budgets_of(namespace: &str, pod: &Value, objects: &Objects) -> Vec<Key> {
    let budgets = objects.iter().filter(|(key, _)| key.is_in(&POD_DISRUPTION_BUDGETS, namespace));
    let selects = |budget: &Value| selector(budget).is_some_and(|selector| selector.matches(pod));
    budgets.filter(|(_, budget)| selects(budget)).map(|(key, _)| key.clone()).collect()
}

fn selector(budget: &Value) -> Option<LabelSelector> {
    LabelSelector::of(&budget["spec"]["selector"]).ok().flatten()
}

/// Whether a pod's condition Ready is True.
#[must_use]
pub fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array();
    conditions.is_some_and(|list| list.iter().any(|one| one["type"] == "Ready" && one["status"] == "True"))
}

fn status(namespace: &str, budget: &Value, objects: &Objects, now: Timestamp) -> Value {
    let selector = selector(budget);
    let pods: Vec<&Value> = objects
        .iter()
        .filter(|(key, pod)| {
            key.is_in(&PODS, namespace) && selector.as_ref().is_some_and(|selector| selector.matches(pod))
        })
        .map(|(_, pod)| &**pod)
        .collect();
    let (expected, desired) = match expected(namespace, &budget["spec"], &pods, objects) {
        Ok(counts) => counts,
        Err(why) => return failed(budget, &why, now),
    };
    let disrupted = disrupted(budget, &pods, now);
    let is_healthy = |pod: &&&Value| !deletion::is_wanted(pod) && !disrupted.contains_key(name(pod)) && is_ready(pod);
    let healthy = i64::try_from(pods.iter().filter(is_healthy).count()).unwrap_or_default();
    let allowed = if expected <= 0 { 0 } else { (healthy - desired).max(0) };
    let generation = budget["metadata"]["generation"].clone();
    let mut status = json!({
        "currentHealthy": healthy, "desiredHealthy": desired, "expectedPods": expected, "disruptionsAllowed": allowed,
        "observedGeneration": generation,
    });
    if !disrupted.is_empty() {
        status["disruptedPods"] = Value::Object(disrupted);
    }
    let (value, reason) = if allowed > 0 { ("True", "SufficientPods") } else { ("False", "InsufficientPods") };
    status["conditions"] = json!([condition(budget, value, reason, "", &generation, now)]);
    status
}

/// What the real one writes when it cannot count: nothing is allowed.
fn failed(budget: &Value, why: &str, now: Timestamp) -> Value {
    let number = |field: &str| budget["status"][field].as_i64().unwrap_or_default();
    let generation = &budget["status"]["observedGeneration"];
    let mut status = json!({
        "currentHealthy": number("currentHealthy"), "desiredHealthy": number("desiredHealthy"),
        "expectedPods": number("expectedPods"), "disruptionsAllowed": 0,
        "conditions": [condition(budget, "False", "SyncFailed", why, generation, now)],
    });
    if !generation.is_null() {
        status["observedGeneration"] = generation.clone();
    }
    status
}

fn condition(budget: &Value, value: &str, reason: &str, why: &str, generation: &Value, now: Timestamp) -> Value {
    let before = budget["status"]["conditions"].as_array().and_then(|list| list.first());
    let since = before.filter(|before| before["status"] == value).map(|before| before["lastTransitionTime"].clone());
    let mut condition = json!({
        "type": "DisruptionAllowed", "status": value, "reason": reason, "message": why,
        "lastTransitionTime": since.unwrap_or_else(|| json!(time(now))),
    });
    if !generation.is_null() {
        condition["observedGeneration"] = generation.clone();
    }
    condition
}

fn name(pod: &Value) -> &str {
    pod["metadata"]["name"].as_str().unwrap_or_default()
}

/// Evictions that were allowed and that the pods do not show yet.
fn disrupted(budget: &Value, pods: &[&Value], now: Timestamp) -> Map<String, Value> {
    let noted = budget["status"]["disruptedPods"].as_object().cloned().unwrap_or_default();
    let is_recent = |since: &Value| {
        let since = since.as_str().and_then(|since| since.parse::<Timestamp>().ok());
        since.is_some_and(|since| since + DELETION_TIMEOUT > now)
    };
    let still_there = |name: &str| pods.iter().any(|pod| self::name(pod) == name && !deletion::is_wanted(pod));
    noted.into_iter().filter(|(name, since)| still_there(name) && is_recent(since)).collect()
}

/// How many pods there should be, and how many of them healthy.
fn expected(namespace: &str, spec: &Value, pods: &[&Value], objects: &Objects) -> Result<(i64, i64), String> {
    let (maximum, minimum) = (&spec["maxUnavailable"], &spec["minAvailable"]);
    if !maximum.is_null() {
        let expected = scale(namespace, pods, objects)?;
        return Ok((expected, (expected - scaled(maximum, expected)).max(0)));
    }
    if minimum.is_string() {
        let expected = scale(namespace, pods, objects)?;
        return Ok((expected, scaled(minimum, expected)));
    }
    if let Some(minimum) = minimum.as_i64() {
        return Ok((i64::try_from(pods.len()).unwrap_or_default(), minimum));
    }
    Ok((0, 0))
}

/// An integer, or a percentage of the whole, rounded up.
fn scaled(value: &Value, whole: i64) -> i64 {
    let percent = value.as_str().and_then(|text| text.strip_suffix('%')).and_then(|digits| digits.parse::<i64>().ok());
    percent.map_or_else(|| value.as_i64().unwrap_or_default(), |percent| (percent * whole + 99).div_euclid(100))
}

/// The sum of what the controllers of the pods want; pods without a controller are not counted.
fn scale(namespace: &str, pods: &[&Value], objects: &Objects) -> Result<i64, String> {
    let mut scales = BTreeMap::new();
    for pod in pods {
        let owners = pod["metadata"]["ownerReferences"].as_array();
        let Some(owner) = owners.and_then(|list| list.iter().find(|owner| owner["controller"] == true)) else {
            continue;
        };
        let text = |field: &str| owner[field].as_str().unwrap_or_default();
        if text("kind") == "DaemonSet" {
            return Err("daemonsets.apps does not implement the scale subresource".to_owned());
        }
        let found = objects.get(&Key::new(&REPLICA_SETS, namespace, text("name")));
        match found.filter(|set| text("kind") == "ReplicaSet" && set["metadata"]["uid"] == text("uid")) {
            Some(set) => scales.insert(text("uid"), set["spec"]["replicas"].as_i64().unwrap_or(1)),
            None => return Err(format!("found no controllers for pod {:?}", name(pod))),
        };
    }
    Ok(scales.into_values().sum())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const NOW: &str = "2026-01-01T00:00:00Z";

    fn pod(name: &str, ready: &str, owner: Option<(&str, &str)>) -> (Key, Value) {
        let mut pod = json!({
            "metadata": {"name": name, "namespace": "default", "labels": {"app": "a"}},
            "status": {"conditions": [{"type": "Ready", "status": ready}]},
        });
        if let Some((kind, name)) = owner {
            pod["metadata"]["ownerReferences"] = json!([{"kind": kind, "name": name, "uid": name, "controller": true}]);
        }
        (Key::new(&PODS, "default", name), pod)
    }

    /// Status of the budget beside these objects: healthy, desired, expected, allowed, and the reason.
    fn count(spec: &Value, objects: impl IntoIterator<Item = (Key, Value)>) -> (i64, i64, i64, i64, String) {
        let mut budget = json!({
            "metadata": {"name": "b", "namespace": "default", "generation": 1},
            "spec": {"selector": {"matchLabels": {"app": "a"}}},
            "status": {"disruptedPods": {"late": "2025-12-31T23:57:00Z", "soon": "2025-12-31T23:59:00Z"}},
        });
        budget["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        let own = (Key::new(&POD_DISRUPTION_BUDGETS, "default", "b"), budget);
        let objects: Objects = objects.into_iter().chain([own]).map(|(key, object)| (key, object.into())).collect();
        let found = outdated(&objects, NOW.parse().unwrap());
        let status = &found[0].1["status"];
        let number = |field: &str| status[field].as_i64().unwrap();
        let condition = &status["conditions"][0];
        let reason = match condition["message"].as_str().unwrap() {
            "" => condition["reason"].as_str().unwrap(),
            why => why,
        };
        let mut settled = objects;
        settled.insert(found[0].0.clone(), found[0].1.clone().into());
        assert_eq!(outdated(&settled, NOW.parse().unwrap()), [], "a count that holds is not written anew");
        let [healthy, desired, expected, allowed] =
            ["currentHealthy", "desiredHealthy", "expectedPods", "disruptionsAllowed"].map(number);
        (healthy, desired, expected, allowed, reason.to_owned())
    }

    fn set(replicas: u32) -> (Key, Value) {
        let set = json!({"metadata": {"name": "rs", "uid": "rs"}, "spec": {"replicas": replicas}});
        (Key::new(&REPLICA_SETS, "default", "rs"), set)
    }

    #[test]
    fn budgets_are_counted_as_the_real_controller_counts() {
        let managed = |name, ready| pod(name, ready, Some(("ReplicaSet", "rs")));
        let three = || [managed("p", "True"), managed("q", "True"), managed("r", "False"), set(3)];
        let mut leaving = managed("p", "True");
        leaving.1["metadata"]["deletionTimestamp"] = json!(NOW);
        let enough =
            |healthy, desired, expected, allowed| (healthy, desired, expected, allowed, "SufficientPods".to_owned());
        let short = |healthy, desired, expected| (healthy, desired, expected, 0, "InsufficientPods".to_owned());
        for (spec, objects, want) in [
            (json!({"minAvailable": 1}), three().to_vec(), enough(2, 1, 3, 1)),
            (json!({"minAvailable": 2}), three().to_vec(), short(2, 2, 3)),
            (json!({"minAvailable": "50%"}), three().to_vec(), short(2, 2, 3)),
            (json!({"minAvailable": "1%"}), three().to_vec(), enough(2, 1, 3, 1)),
            (json!({"maxUnavailable": 1}), three().to_vec(), short(2, 2, 3)),
            (json!({"maxUnavailable": 2}), three().to_vec(), enough(2, 1, 3, 1)),
            (json!({"maxUnavailable": "34%"}), three().to_vec(), enough(2, 1, 3, 1)),
            (json!({"maxUnavailable": 0}), three().to_vec(), short(2, 3, 3)),
            (json!({"minAvailable": 0}), vec![], short(0, 0, 0)),
            (json!({"minAvailable": 0}), vec![leaving, set(1)], short(0, 0, 1)),
            (json!({"minAvailable": 0}), vec![managed("soon", "True"), set(1)], short(0, 0, 1)),
            (json!({"minAvailable": 0}), vec![managed("late", "True"), set(1)], enough(1, 0, 1, 1)),
            (json!({"maxUnavailable": 1}), vec![pod("p", "True", None)], short(1, 0, 0)),
            (json!({"minAvailable": 0}), vec![pod("p", "True", None)], enough(1, 0, 1, 1)),
            (json!({"selector": {}, "minAvailable": 0}), vec![pod("p", "True", None)], enough(1, 0, 1, 1)),
            (json!({"selector": null, "minAvailable": 0}), vec![pod("p", "True", None)], short(0, 0, 0)),
            (
                json!({"maxUnavailable": 1}),
                vec![pod("p", "True", Some(("DaemonSet", "ds")))],
                (0, 0, 0, 0, "daemonsets.apps does not implement the scale subresource".to_owned()),
            ),
            (
                json!({"maxUnavailable": 1}),
                vec![managed("p", "True")],
                (0, 0, 0, 0, "found no controllers for pod \"p\"".to_owned()),
            ),
        ] {
            assert_eq!(count(&spec, objects), want, "{spec}");
        }
    }
}
