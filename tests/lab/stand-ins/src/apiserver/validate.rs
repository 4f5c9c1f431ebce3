//! What an object must be to be stored: of the right kind, with fields of the right types. Fields that the API does not
//! know are dropped, as the real apiserver drops them.

use k8s_openapi::api::apps::v1::{DaemonSet, ReplicaSet};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Event, Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use k8s_openapi::api::storage::v1::VolumeAttachment;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::resource::Resource;
use super::status::ApiError;
use super::{defaults, values};

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
        "Pod" => typed::<Pod>(resource, object),
        "ConfigMap" => typed::<ConfigMap>(resource, object),
        "PersistentVolume" => typed::<PersistentVolume>(resource, object),
        "PersistentVolumeClaim" => typed::<PersistentVolumeClaim>(resource, object),
        "DaemonSet" => typed::<DaemonSet>(resource, object),
        "ReplicaSet" => typed::<ReplicaSet>(resource, object),
        "PodDisruptionBudget" => typed::<PodDisruptionBudget>(resource, object),
        "VolumeAttachment" => typed::<VolumeAttachment>(resource, object),
        "ClusterRole" => typed::<ClusterRole>(resource, object),
        "ClusterRoleBinding" => typed::<ClusterRoleBinding>(resource, object),
        _ => Err(ApiError::method_not_allowed(resource)),
    }?;
    drop_empty(&mut object);
    defaults::fill(resource, &mut object);
    let name = object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
    refuse(resource, name, &values::problems(resource, &object))?;
    Ok(object)
}

/// 422 with all problems, if there are any.
///
/// # Errors
/// See above.
pub fn refuse(resource: &Resource, name: &str, problems: &[String]) -> Result<(), ApiError> {
    match problems {
        [] => Ok(()),
        [one] => Err(ApiError::invalid(resource, name, one)),
        several => Err(ApiError::invalid(resource, name, &format!("[{}]", several.join(", ")))),
    }
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
