//! Merge patches (RFC 7396) and strategic merge patches for the lists of the served kinds.

use serde_json::{Map, Value};

/// A patch that cannot be applied.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PatchError {
    /// A patch is an object.
    #[error("the patch is no object")]
    NotAnObject,
    /// A list element lacks the key that identifies it.
    #[error("map: {path} does not contain declared merge key: {key}")]
    NoMergeKey {
        /// The list.
        path: String,
        /// The key.
        key: &'static str,
    },
    /// A directive of strategic merge that does not exist.
    #[error("unknown $patch directive {directive} at {path}")]
    UnknownDirective {
        /// Where it stands.
        path: String,
        /// What it says.
        directive: String,
    },
}

/// How a list is patched.
enum ListStrategy {
    /// Elements with the same value of this key are one.
    ByKey(&'static str),
    /// A set of plain values.
    Set,
    /// The patch's list is the new list.
    Replace,
}

/// The merge keys of the API types served here (their `patchMergeKey` tags); every other list is replaced.
fn strategy(kind: &str, path: &str) -> ListStrategy {
    match (kind, path) {
        ("Node", ".status.addresses") | (_, ".status.conditions") => ListStrategy::ByKey("type"),
        ("Pod", ".spec.containers" | ".spec.initContainers" | ".spec.volumes" | ".spec.containers.env") => {
            ListStrategy::ByKey("name")
        }
        ("Pod", ".status.podIPs" | ".status.hostIPs") => ListStrategy::ByKey("ip"),
        ("Pod", ".spec.containers.volumeMounts") => ListStrategy::ByKey("mountPath"),
        (_, ".metadata.ownerReferences") => ListStrategy::ByKey("uid"),
        (_, ".metadata.finalizers") | ("Node", ".spec.podCIDRs") => ListStrategy::Set,
        _ => ListStrategy::Replace,
    }
}

/// RFC 7396.
#[must_use]
pub fn merge(current: Value, patch: Value) -> Value {
    let Value::Object(patch) = patch else { return patch };
    let mut current = if let Value::Object(map) = current { map } else { Map::new() };
    for (key, value) in patch {
        if value.is_null() {
            current.remove(&key);
        } else {
            let before = current.remove(&key).unwrap_or_default();
            current.insert(key, merge(before, value));
        }
    }
    Value::Object(current)
}

/// A strategic merge patch for an object of `kind`.
///
/// # Errors
/// The patch is no object, misses a merge key or has an unknown directive.
pub fn strategic_merge(kind: &str, current: Value, patch: Value) -> Result<Value, PatchError> {
    let Value::Object(patch) = patch else { return Err(PatchError::NotAnObject) };
    let current = if let Value::Object(map) = current { map } else { Map::new() };
    Ok(Value::Object(merge_maps(kind, "", current, patch)?))
}

fn merge_maps(
    kind: &str,
    path: &str,
    mut current: Map<String, Value>,
    mut changes: Map<String, Value>,
) -> Result<Map<String, Value>, PatchError> {
    match changes.remove("$patch") {
        None => {}
        Some(Value::String(directive)) if directive == "merge" => {}
        Some(Value::String(directive)) if directive == "replace" => return Ok(changes),
        Some(Value::String(directive)) if directive == "delete" => return Ok(Map::new()),
        Some(other) => {
            return Err(PatchError::UnknownDirective { path: path.to_owned(), directive: other.to_string() });
        }
    }
    let retain = changes.remove("$retainKeys");
    let (directives, plain): (Vec<_>, Vec<_>) = changes.into_iter().partition(|(key, _)| key.starts_with('$'));
    for (key, value) in plain {
        let below = format!("{path}.{key}");
        if value.is_null() {
            current.remove(&key);
            continue;
        }
        let before = current.remove(&key);
        let after = match value {
            Value::Object(value) => {
                let before = if let Some(Value::Object(map)) = before { map } else { Map::new() };
                Value::Object(merge_maps(kind, &below, before, value)?)
            }
            Value::Array(value) => {
                let before = if let Some(Value::Array(list)) = before { list } else { Vec::new() };
                Value::Array(merge_lists(kind, &below, before, value)?)
            }
            scalar => scalar,
        };
        current.insert(key, after);
    }
    for (directive, value) in directives {
        apply_list_directive(kind, path, &mut current, &directive, value)?;
    }
    if let Some(Value::Array(kept)) = retain {
        current.retain(|key, _| kept.iter().any(|name| name == key));
    }
    Ok(current)
}

fn merge_lists(kind: &str, path: &str, mut current: Vec<Value>, changes: Vec<Value>) -> Result<Vec<Value>, PatchError> {
    match strategy(kind, path) {
        ListStrategy::Replace => Ok(changes),
        ListStrategy::Set => {
            for value in changes {
                if !current.contains(&value) {
                    current.push(value);
                }
            }
            Ok(current)
        }
        ListStrategy::ByKey(key) => {
            // A bare `{"$patch": "replace"}` element: the rest of the changes is the new list.
            if changes.iter().any(|element| {
                element.get("$patch").is_some_and(|directive| directive == "replace") && element.get(key).is_none()
            }) {
                return Ok(changes.into_iter().filter(|element| element.get("$patch").is_none()).collect());
            }
            for element in changes {
                merge_element(kind, path, key, &mut current, element)?;
            }
            Ok(current)
        }
    }
}

fn merge_element(
    kind: &str,
    path: &str,
    key: &'static str,
    current: &mut Vec<Value>,
    element: Value,
) -> Result<(), PatchError> {
    let no_key = || PatchError::NoMergeKey { path: path.to_owned(), key };
    let Value::Object(element) = element else { return Err(no_key()) };
    let id = element.get(key).cloned().ok_or_else(no_key)?;
    let place = current.iter().position(|old| old.get(key) == Some(&id));
    if element.get("$patch").is_some_and(|directive| directive == "delete") {
        if let Some(place) = place {
            current.remove(place);
        }
        return Ok(());
    }
    let before = match place.map(|place| current[place].clone()) {
        Some(Value::Object(map)) => map,
        _ => Map::new(),
    };
    let merged = Value::Object(merge_maps(kind, path, before, element)?);
    match place {
        Some(place) => current[place] = merged,
        None => current.push(merged),
    }
    Ok(())
}

fn apply_list_directive(
    kind: &str,
    path: &str,
    current: &mut Map<String, Value>,
    directive: &str,
    value: Value,
) -> Result<(), PatchError> {
    let unknown = || PatchError::UnknownDirective { path: path.to_owned(), directive: directive.to_owned() };
    let (name, field) = directive.split_once('/').ok_or_else(unknown)?;
    let Value::Array(wanted) = value else { return Err(unknown()) };
    let Some(Value::Array(list)) = current.get_mut(field) else { return Ok(()) };
    match name {
        "$deleteFromPrimitiveList" => list.retain(|element| !wanted.contains(element)),
        "$setElementOrder" => {
            let key = match strategy(kind, &format!("{path}.{field}")) {
                ListStrategy::ByKey(key) => Some(key),
                ListStrategy::Set => None,
                ListStrategy::Replace => return Ok(()),
            };
            let id = |element: &Value| key.map_or_else(|| element.clone(), |key| element[key].clone());
            let wanted: Vec<Value> = wanted.iter().map(id).collect();
            // Stable: what the order does not name stays behind what it names.
            list.sort_by_key(|element| wanted.iter().position(|want| *want == id(element)).unwrap_or(usize::MAX));
        }
        _ => return Err(unknown()),
    }
    Ok(())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn merge_follows_rfc_7396() {
        let cases = [
            (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "b"}), json!({"b": "c"}), json!({"a": "b", "b": "c"})),
            (json!({"a": "b"}), json!({"a": null}), json!({})),
            (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": {"b": "c"}}), json!({"a": {"b": "d", "c": null}}), json!({"a": {"b": "d"}})),
            (json!({"a": [{"b": "c"}]}), json!({"a": [1]}), json!({"a": [1]})),
            (json!({"e": null}), json!({"a": 1}), json!({"e": null, "a": 1})),
            (json!({}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}})),
        ];
        for (current, patch, want) in cases {
            assert_eq!(merge(current, patch.clone()), want, "{patch}");
        }
    }

    #[test]
    fn lists_of_a_node_merge_by_their_keys() {
        let node = json!({
            "metadata": {"finalizers": ["x"]},
            "spec": {"taints": [{"key": "a"}]},
            "status": {"conditions": [{"type": "Ready", "status": "False", "reason": "r"}, {"type": "DiskPressure", "status": "False"}]},
        });
        let patch = json!({
            "metadata": {"finalizers": ["y"]},
            "spec": {"taints": [{"key": "b"}]},
            "status": {
                "$setElementOrder/conditions": [{"type": "PIDPressure"}, {"type": "Ready"}],
                "conditions": [
                    {"type": "Ready", "status": "True", "reason": null},
                    {"type": "DiskPressure", "$patch": "delete"},
                    {"type": "PIDPressure", "status": "False"},
                ],
            },
        });
        assert_eq!(
            strategic_merge("Node", node, patch).unwrap(),
            json!({
                "metadata": {"finalizers": ["x", "y"]},
                "spec": {"taints": [{"key": "b"}]},
                "status": {"conditions": [{"type": "PIDPressure", "status": "False"}, {"type": "Ready", "status": "True"}]},
            })
        );
    }

    #[test]
    fn addresses_of_two_families_replace_what_was_there() {
        let address = |address: &str| json!({"type": "InternalIP", "address": address});
        let node = json!({"status": {"addresses": [address("10.0.0.9")]}});
        let both = json!([address("10.0.0.36"), address("fd00::36")]);
        let merged =
            |list: Value| strategic_merge("Node", node.clone(), json!({"status": {"addresses": list}})).unwrap();
        // By their type they are one.
        assert_eq!(merged(both.clone()), json!({"status": {"addresses": [address("fd00::36")]}}));
        let replace = json!([address("10.0.0.36"), address("fd00::36"), {"$patch": "replace"}]);
        assert_eq!(merged(replace), json!({"status": {"addresses": both}}));
    }

    #[test]
    fn directives_are_obeyed_and_unknown_ones_refused() {
        let current = json!({"metadata": {"finalizers": ["x", "y"], "labels": {"a": "1", "b": "2"}}});
        let cases = [
            (
                json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["x"]}}),
                Ok(json!({"metadata": {"finalizers": ["y"], "labels": {"a": "1", "b": "2"}}})),
            ),
            (
                json!({"metadata": {"labels": {"$patch": "replace", "c": "3"}}}),
                Ok(json!({"metadata": {"finalizers": ["x", "y"], "labels": {"c": "3"}}})),
            ),
            (
                json!({"metadata": {"labels": {"$retainKeys": ["b"]}}}),
                Ok(json!({"metadata": {"finalizers": ["x", "y"], "labels": {"b": "2"}}})),
            ),
            (
                json!({"metadata": {"$patch": "eat"}}),
                Err(PatchError::UnknownDirective { path: ".metadata".to_owned(), directive: "\"eat\"".to_owned() }),
            ),
            (
                json!({"status": {"addresses": [{"address": "10.0.0.1"}]}}),
                Err(PatchError::NoMergeKey { path: ".status.addresses".to_owned(), key: "type" }),
            ),
            (json!([]), Err(PatchError::NotAnObject)),
        ];
        for (patch, want) in cases {
            assert_eq!(strategic_merge("Node", current.clone(), patch.clone()), want, "{patch}");
        }
    }
}
