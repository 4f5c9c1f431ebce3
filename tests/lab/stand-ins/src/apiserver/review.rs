//! Reviews: who am I, may I, may they.

use serde_json::{Value, json};

use super::authz::{self, Attributes};
use super::identity::Identity;
use super::resource::Resource;
use super::status::ApiError;
use super::validate;

/// Answers a review object.
///
/// # Errors
/// 400 when the object is not the review that the path says, 422 when it does not say what to review.
pub fn answer(resource: &Resource, identity: &Identity, mut review: Value) -> Result<Value, ApiError> {
    validate::check_kind(resource, &review)?;
    review["metadata"] = json!({"creationTimestamp": null});
    match resource.plural {
        "selfsubjectreviews" => {
            review["status"] = json!({"userInfo": {"username": identity.user, "groups": identity.groups}});
        }
        "selfsubjectaccessreviews" => {
            review["status"] = decide(resource, identity, &review["spec"])?;
        }
        _ => {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let groups = review["spec"]["groups"].as_array().cloned().unwrap_or_default();
            let subject = Identity {
                user: text(&review["spec"]["user"]),
                groups: groups.iter().map(text).collect(),
                serial: String::new(),
            };
            if subject.user.is_empty() && subject.groups.is_empty() {
                return Err(ApiError::invalid(
                    resource,
                    "",
                    "spec.user: Invalid value: \"\": at least one of user or group must be specified",
                ));
            }
            review["status"] = decide(resource, &subject, &review["spec"])?;
        }
    }
    Ok(review)
}

fn decide(resource: &Resource, identity: &Identity, spec: &Value) -> Result<Value, ApiError> {
    let text = |pointer: &str| spec.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let asked = if spec["resourceAttributes"].is_object() {
        Attributes {
            verb: text("/resourceAttributes/verb"),
            group: text("/resourceAttributes/group"),
            resource: text("/resourceAttributes/resource"),
            subresource: text("/resourceAttributes/subresource"),
            namespace: text("/resourceAttributes/namespace"),
            name: text("/resourceAttributes/name"),
            ..Attributes::default()
        }
    } else if spec["nonResourceAttributes"].is_object() {
        Attributes {
            verb: text("/nonResourceAttributes/verb"),
            path: text("/nonResourceAttributes/path"),
            ..Attributes::default()
        }
    } else {
        return Err(ApiError::invalid(
            resource,
            "",
            "spec.resourceAttributes: Invalid value: null: exactly one of nonResourceAttributes or resourceAttributes must be specified",
        ));
    };
    Ok(match authz::authorize(identity, &asked) {
        Ok(()) => json!({"allowed": true}),
        Err(reason) if reason.is_empty() => json!({"allowed": false}),
        Err(reason) => json!({"allowed": false, "reason": reason}),
    })
}
