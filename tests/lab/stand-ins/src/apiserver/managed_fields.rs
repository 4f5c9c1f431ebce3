//! `metadata.managedFields`: which client set which field. Lists count as one field.

use serde_json::{Map, Value, json};

/// Who writes and how.
#[derive(Debug, Clone)]
pub struct Writer<'a> {
    /// Name of the field manager.
    pub manager: &'a str,
    /// `Apply` or `Update`.
    pub operation: &'static str,
    /// Subresource, or empty.
    pub subresource: &'a str,
    /// API version of the written object.
    pub api_version: String,
}

/// Fields that the server itself keeps; nobody manages them.
const SERVERS_OWN: [&str; 9] = [
    "name",
    "namespace",
    "uid",
    "resourceVersion",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generation",
    "managedFields",
];

/// Puts into `new` what `old` recorded, changed by what differs between the two.
pub fn record(old: Option<&Value>, new: &mut Value, writer: &Writer<'_>, now: &str) {
    let changed = changes(old.unwrap_or(&Value::Null), new, 0);
    let mut entries: Vec<Value> = old
        .and_then(|old| old.pointer("/metadata/managedFields"))
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    if let Some(changed) = changed {
        for entry in &mut entries {
            if let Some(fields) = entry.get_mut("fieldsV1") {
                subtract(fields, &changed);
            }
        }
        let place = entries.iter().position(|entry| is_of(entry, writer));
        let mut fields = place.map(|place| entries[place]["fieldsV1"].clone()).unwrap_or_default();
        add(&mut fields, &changed);
        let mut entry = json!({
            "manager": writer.manager, "operation": writer.operation, "apiVersion": writer.api_version,
            "time": now, "fieldsType": "FieldsV1", "fieldsV1": fields,
        });
        if !writer.subresource.is_empty() {
            entry["subresource"] = Value::String(writer.subresource.to_owned());
        }
        match place {
            Some(place) => entries[place] = entry,
            None => entries.push(entry),
        }
        entries.retain(|entry| entry["fieldsV1"].as_object().is_some_and(|fields| !fields.is_empty()));
    }
    if !entries.is_empty() {
        new["metadata"]["managedFields"] = Value::Array(entries);
    }
}

fn is_of(entry: &Value, writer: &Writer<'_>) -> bool {
    entry["manager"] == writer.manager
        && entry["operation"] == writer.operation
        && entry["apiVersion"] == writer.api_version.as_str()
        && entry.get("subresource").and_then(Value::as_str).unwrap_or_default() == writer.subresource
}

/// The fields of `new` that differ from `old`, as `FieldsV1`.
fn changes(old: &Value, new: &Value, depth: usize) -> Option<Value> {
    let Value::Object(new) = new else { return (old != new).then(|| json!({})) };
    let mut found = Map::new();
    for (key, value) in new {
        let top_level_type = depth == 0 && matches!(key.as_str(), "kind" | "apiVersion");
        if top_level_type || (depth == 1 && SERVERS_OWN.contains(&key.as_str())) {
            continue;
        }
        let before = old.get(key).unwrap_or(&Value::Null);
        // Only metadata has fields of the server's own, and only directly below it.
        let below = if depth == 0 && key == "metadata" { 1 } else { 2 };
        if let Some(inner) = changes(before, value, below) {
            found.insert(format!("f:{key}"), inner);
        }
    }
    if found.is_empty() { (new.is_empty() && !old.is_object()).then(|| json!({})) } else { Some(Value::Object(found)) }
}

fn add(fields: &mut Value, more: &Value) {
    if !fields.is_object() {
        *fields = json!({});
    }
    let (Some(fields), Some(more)) = (fields.as_object_mut(), more.as_object()) else { return };
    for (key, value) in more {
        add(fields.entry(key.clone()).or_insert_with(|| json!({})), value);
    }
}

fn subtract(fields: &mut Value, gone: &Value) {
    let (Some(fields), Some(gone)) = (fields.as_object_mut(), gone.as_object()) else { return };
    for (key, inner) in gone {
        let emptied = fields.get_mut(key).is_some_and(|field| {
            subtract(field, inner);
            field.as_object().is_none_or(Map::is_empty)
        });
        if emptied {
            fields.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_belongs_to_its_last_writer() {
        let writer = |manager| Writer { manager, operation: "Update", subresource: "", api_version: "v1".to_owned() };
        let mut first = json!({"metadata": {"name": "n", "labels": {"a": "1", "b": "1"}}, "spec": {"x": [1]}});
        record(None, &mut first, &writer("one"), "T1");
        let mut second = first.clone();
        second["metadata"]["labels"]["a"] = json!("2");
        record(Some(&first), &mut second, &writer("two"), "T2");
        assert_eq!(
            second["metadata"]["managedFields"],
            json!([
                {"manager": "one", "operation": "Update", "apiVersion": "v1", "time": "T1", "fieldsType": "FieldsV1",
                 "fieldsV1": {"f:metadata": {"f:labels": {"f:b": {}}}, "f:spec": {"f:x": {}}}},
                {"manager": "two", "operation": "Update", "apiVersion": "v1", "time": "T2", "fieldsType": "FieldsV1",
                 "fieldsV1": {"f:metadata": {"f:labels": {"f:a": {}}}}},
            ])
        );
    }
}
