//! Reviews: who am I, may I, may they.

use serde_json::{Value, json};

use super::authz::{self, Attributes};
use super::identity::Identity;
use super::resource::Resource;
use super::status::ApiError;
use super::storage::Objects;
use super::validate;

/// Answers a review object.
///
/// # Errors
/// 400 when the object is not the review that the path says, 422 when it does not say what to review.
pub fn answer(
    resource: &Resource,
    identity: &Identity,
    mut review: Value,
    objects: &Objects,
) -> Result<Value, ApiError> {
    validate::check_kind(resource, &review)?;
    review["metadata"] = json!({"creationTimestamp": null});
    match resource.plural {
        "selfsubjectreviews" => {
            review["status"] = json!({"userInfo": {"username": identity.user, "groups": identity.groups}});
        }
        "selfsubjectaccessreviews" => {
            review["status"] = decide(resource, identity, &review["spec"], objects)?;
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
            review["status"] = decide(resource, &subject, &review["spec"], objects)?;
        }
    }
    Ok(review)
}

fn decide(resource: &Resource, identity: &Identity, spec: &Value, objects: &Objects) -> Result<Value, ApiError> {
    let text = |pointer: &str| spec.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let asked = if spec["resourceAttributes"].is_object() && spec["nonResourceAttributes"].is_object() {
        let why =
            "spec.nonResourceAttributes: Invalid value: cannot be specified in combination with resourceAttributes";
        return Err(ApiError::invalid(resource, "", why));
    } else if spec["resourceAttributes"].is_object() {
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
    let (allowed, reason) = match authz::authorize(identity, &asked, objects) {
        Ok(reason) => (true, reason),
        Err(reason) => (false, reason),
    };
    Ok(if reason.is_empty() { json!({"allowed": allowed}) } else { json!({"allowed": allowed, "reason": reason}) })
}
