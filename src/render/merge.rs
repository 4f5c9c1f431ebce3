//! JSON merge patches (RFC 7386), and how two values differ.

use serde_json::Value;

/// Lays a patch over a value (RFC 7386, 2): maps are merged by key, null removes, all else replaces.
pub(super) fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(changes) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(serde_json::Map::new());
    }
    let Value::Object(fields) = target else { return };
    for (key, change) in changes {
        if change.is_null() {
            fields.remove(key);
        } else {
            merge(fields.entry(key.clone()).or_insert(Value::Null), change);
        }
    }
}

/// Two values that stand at one path.
type Pair<'a> = (Option<&'a Value>, Option<&'a Value>);

/// The path of the first difference, and what stands there in each.
pub(super) fn difference<'a>(one: &'a Value, other: &'a Value) -> Option<(Vec<&'a str>, Pair<'a>)> {
    match (one, other) {
        (Value::Object(left), Value::Object(right)) => {
            let keys: std::collections::BTreeSet<_> = left.keys().chain(right.keys()).collect();
            keys.into_iter().find_map(|key| {
                let (mut path, pair) = match (left.get(key), right.get(key)) {
                    (Some(left), Some(right)) => difference(left, right)?,
                    pair => (Vec::new(), pair),
                };
                path.insert(0, key);
                Some((path, pair))
            })
        }
        _ => (one != other).then_some((Vec::new(), (Some(one), Some(other)))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The examples of RFC 7386, appendix A.
    #[test]
    fn patches_do_what_their_rfc_shows() {
        for (original, patch, wanted) in [
            (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "b"}), json!({"b": "c"}), json!({"a": "b", "b": "c"})),
            (json!({"a": "b"}), json!({"a": null}), json!({})),
            (json!({"a": "b", "b": "c"}), json!({"a": null}), json!({"b": "c"})),
            (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "c"}), json!({"a": ["b"]}), json!({"a": ["b"]})),
            (json!({"a": {"b": "c"}}), json!({"a": {"b": "d", "c": null}}), json!({"a": {"b": "d"}})),
            (json!({"a": [{"b": "c"}]}), json!({"a": [1]}), json!({"a": [1]})),
            (json!(["a", "b"]), json!(["c", "d"]), json!(["c", "d"])),
            (json!({"a": "b"}), json!(["c"]), json!(["c"])),
            (json!({"a": "foo"}), json!(null), json!(null)),
            (json!({"a": "foo"}), json!("bar"), json!("bar")),
            (json!({"e": null}), json!({"a": 1}), json!({"e": null, "a": 1})),
            (json!([1, 2]), json!({"a": "b", "c": null}), json!({"a": "b"})),
            (json!({}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}})),
        ] {
            let mut target = original.clone();
            merge(&mut target, &patch);
            assert_eq!(target, wanted, "{original} with {patch}");
        }
    }

    #[test]
    fn the_first_difference_is_found() {
        let one = json!({"a": {"b": 1, "c": [1]}, "d": 2});
        for (other, path, pair) in [
            (json!({"a": {"b": 1, "c": [2]}, "d": 2}), vec!["a", "c"], (Some(json!([1])), Some(json!([2])))),
            (json!({"a": {"b": 1, "c": [1]}}), vec!["d"], (Some(json!(2)), None)),
            (json!({"a": {"b": 1, "c": [1], "e": 0}, "d": 2}), vec!["a", "e"], (None, Some(json!(0)))),
        ] {
            assert_eq!(difference(&one, &other), Some((path, (pair.0.as_ref(), pair.1.as_ref()))));
        }
        assert_eq!(difference(&one, &one.clone()), None);
    }
}
