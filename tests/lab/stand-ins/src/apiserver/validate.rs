//! What an object must be to be stored: of the right kind, with fields of the right types. Fields that the API does not
//! know are dropped, as the real apiserver drops them.

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Event, Namespace, Node};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::resource::Resource;
use super::status::ApiError;

/// Checks `object` against its resource's type and gives it back as the API knows it.
///
/// # Errors
/// 400 for a wrong kind or type, 422 for a wrong value.
pub fn canonical(resource: &Resource, object: Value) -> Result<Value, ApiError> {
    check_kind(resource, &object)?;
    let mut object = match resource.kind {
        "Node" => typed::<Node>(resource, object),
        "Lease" => typed::<Lease>(resource, object),
        "Event" => typed::<Event>(resource, object),
        "Namespace" => typed::<Namespace>(resource, object),
        _ => Err(ApiError::method_not_allowed(resource)),
    }?;
    drop_empty(&mut object);
    check_values(resource, &object)?;
    Ok(object)
}

/// Checks `apiVersion` and `kind`.
///
/// # Errors
/// 400 when they are missing or another's.
pub fn check_kind(resource: &Resource, object: &Value) -> Result<(), ApiError> {
    let text = |key: &str| object.get(key).and_then(Value::as_str).unwrap_or_default();
    let (version, kind) = (text("apiVersion"), text("kind"));
    if version.is_empty() || kind.is_empty() {
        return Err(ApiError::bad_request("Object 'Kind' or 'apiVersion' is missing in the body"));
    }
    if version != resource.api_version() || kind != resource.kind {
        return Err(ApiError::bad_request(format!(
            "{kind} in version \"{version}\" cannot be handled as a {}: the object does not match the path",
            resource.kind
        )));
    }
    Ok(())
}

fn typed<T: DeserializeOwned + Serialize>(resource: &Resource, object: Value) -> Result<Value, ApiError> {
    let wrong = |error: serde_json::Error| {
        ApiError::bad_request(format!(
            "{} in version \"{}\" cannot be handled as a {}: {error}",
            resource.kind, resource.version, resource.kind
        ))
    };
    let object: T = serde_json::from_value(object).map_err(wrong)?;
    serde_json::to_value(object).map_err(wrong)
}

/// Go's `omitempty` for maps and lists of the metadata.
fn drop_empty(object: &mut Value) {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.retain(|_, value| match value {
            Value::Object(map) => !map.is_empty(),
            Value::Array(list) => !list.is_empty(),
            Value::String(text) => !text.is_empty(),
            Value::Null => false,
            _ => true,
        });
    }
}

fn check_values(resource: &Resource, object: &Value) -> Result<(), ApiError> {
    let name = object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
    if !name.is_empty() && !is_dns_subdomain(name) {
        return Err(ApiError::invalid(
            resource,
            name,
            &format!(
                "metadata.name: Invalid value: \"{name}\": a lowercase RFC 1123 subdomain must consist of lower case \
                 alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character"
            ),
        ));
    }
    if resource.kind == "Lease" {
        check_lease(resource, name, object)?;
    }
    Ok(())
}

fn check_lease(resource: &Resource, name: &str, object: &Value) -> Result<(), ApiError> {
    if let Some(seconds) = object.pointer("/spec/leaseDurationSeconds").and_then(Value::as_i64)
        && seconds <= 0
    {
        return Err(ApiError::invalid(
            resource,
            name,
            &format!("spec.leaseDurationSeconds: Invalid value: {seconds}: must be greater than 0"),
        ));
    }
    if let Some(holder) = object.pointer("/spec/holderIdentity").and_then(Value::as_str)
        && holder.is_empty()
    {
        return Err(ApiError::invalid(resource, name, "spec.holderIdentity: Invalid value: \"\": must not be empty"));
    }
    Ok(())
}

/// RFC 1123 subdomain, at most 253 characters.
#[must_use]
pub fn is_dns_subdomain(name: &str) -> bool {
    name.len() <= 253
        && name.split('.').all(|label| {
            !label.is_empty()
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::apiserver::resource::{LEASES, NODES};
    use serde_json::json;

    #[test]
    fn unknown_fields_go_and_known_ones_stay() {
        let object = json!({
            "apiVersion": "v1", "kind": "Node", "nonsense": 1,
            "metadata": {"name": "a", "labels": {}}, "status": {"nodeInfo": {
                "architecture": "amd64", "bootID": "b", "containerRuntimeVersion": "c", "kernelVersion": "k",
                "kubeProxyVersion": "", "kubeletVersion": "v", "machineID": "m", "operatingSystem": "linux",
                "osImage": "o", "systemUUID": "s",
            }},
        });
        let mut want = object.clone();
        want.as_object_mut().unwrap().remove("nonsense");
        want["metadata"].as_object_mut().unwrap().remove("labels");
        assert_eq!(canonical(&NODES, object).unwrap(), want);
    }

    #[test]
    fn what_is_wrong_is_refused() {
        let cases = [
            (json!({"apiVersion": "v1", "kind": "Lease", "metadata": {"name": "a"}}), 400),
            (json!({"metadata": {"name": "a"}}), 400),
            (json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "A"}}), 422),
            (
                json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "a"},
                    "spec": {"leaseDurationSeconds": 0}}),
                422,
            ),
            (
                json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "a"},
                    "spec": {"leaseDurationSeconds": "40"}}),
                400,
            ),
        ];
        for (object, code) in cases {
            assert_eq!(canonical(&LEASES, object.clone()).unwrap_err().code, code, "{object}");
        }
    }
}
