//! A request from its first byte to its answer: who, what, whether, and then the verb.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::{Request, Response, header};
use serde_json::{Value, json};

use super::audit::Log;
use super::authz::{self, Attributes};
use super::identity::Identity;
use super::managed_fields::{self, Writer};
use super::patch;
use super::request::{ResourceRequest, Target, path_verb};
use super::resource::{NAMESPACES, Resource};
use super::status::{self, ApiError};
use super::storage::{Key, Store, Write, new_uid, now};
use super::watch::{self, Filter};
use super::{admission, discovery, review, table, validate};

/// A body of any kind.
pub type Answer = Response<BoxBody<Bytes, Infallible>>;

/// Largest request body, in bytes, as the real apiserver's.
const BODY_LIMIT: usize = 3 * 1024 * 1024;
const PATCH_TYPES: &str =
    "application/merge-patch+json, application/strategic-merge-patch+json, application/apply-patch+yaml";

/// The API.
#[derive(Debug)]
pub struct Api {
    /// The objects.
    pub store: Arc<Store>,
    /// The record of requests.
    pub log: Log,
}

/// What a client said beside method and path.
struct Said {
    accept: String,
    content_type: String,
    agent: String,
    body: Bytes,
}

impl Said {
    /// The name of the field manager: the parameter, else the program's name.
    fn manager<'a>(&'a self, request: &'a ResourceRequest) -> &'a str {
        match request.query.get("fieldManager") {
            "" => self.agent.split('/').next().filter(|name| !name.is_empty()).unwrap_or("unknown"),
            manager => manager,
        }
    }

    fn json(&self) -> Result<Value, ApiError> {
        if !matches!(self.content_type.as_str(), "" | "application/json") {
            return Err(ApiError::unsupported_media("application/json"));
        }
        serde_json::from_slice(&self.body).map_err(unreadable)
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the form of map_err")]
fn unreadable(error: serde_json::Error) -> ApiError {
    ApiError::bad_request(format!("the object provided is unrecognized: {error}"))
}

impl Api {
    /// Answers a request and records it.
    pub async fn serve(&self, remote: SocketAddr, identity: Option<&Identity>, request: Request<Incoming>) -> Answer {
        let (parts, body) = request.into_parts();
        let path = parts.uri.path().to_owned();
        let target = Target::parse(&parts.method, &path, parts.uri.query().unwrap_or_default());
        let verb = match &target {
            Target::Resource(request) => request.verb.to_owned(),
            Target::Path => path_verb(&parts.method),
        };
        let header = |name| {
            parts
                .headers
                .get(name)
                .and_then(|value: &header::HeaderValue| value.to_str().ok())
                .unwrap_or_default()
                .to_owned()
        };
        let content_type = header(header::CONTENT_TYPE);
        let mut said = Said {
            accept: header(header::ACCEPT),
            content_type: content_type.split(';').next().unwrap_or_default().trim().to_owned(),
            agent: header(header::USER_AGENT),
            body: Bytes::new(),
        };
        let result = match (identity, read(body).await) {
            (None, _) => Err(ApiError::unauthorized()),
            (_, Err(error)) => Err(error),
            (Some(identity), Ok(body)) => {
                said.body = body;
                self.answer(identity, &target, &verb, &path, &said)
            }
        };
        let answer = result.unwrap_or_else(|error| reply(error.code, &error.to_json()));
        let whole = parts.uri.path_and_query().map_or(path.as_str(), |whole| whole.as_str());
        let line = (parts.method.as_str(), whole, said.agent.as_str());
        self.log.request(remote, identity, &verb, line, answer.status().as_u16());
        answer
    }

    fn answer(
        &self,
        identity: &Identity,
        target: &Target,
        verb: &str,
        path: &str,
        said: &Said,
    ) -> Result<Answer, ApiError> {
        if !acceptable(&said.accept) {
            return Err(ApiError::not_acceptable());
        }
        match target {
            Target::Path => {
                let asked = Attributes { verb: verb.to_owned(), path: path.to_owned(), ..Attributes::default() };
                authz::authorize(identity, &asked).map_err(|_| ApiError::forbidden_path(&identity.user, verb, path))?;
                match discovery::page(path) {
                    Some(discovery::Page::Json(value)) if verb == "get" => Ok(reply(200, &value)),
                    Some(discovery::Page::Text(text)) if verb == "get" => Ok(text_reply(text)),
                    _ => Err(ApiError::no_such_path()),
                }
            }
            Target::Resource(request) => {
                let asked = request.attributes().map_err(|error| ApiError::bad_request(error.to_string()))?;
                authz::authorize(identity, &asked).map_err(|reason| {
                    ApiError::forbidden(request.resource, &request.name, &authz::refusal(identity, &asked, &reason))
                })?;
                self.resource(identity, request, said)
            }
        }
    }

    fn resource(&self, identity: &Identity, request: &ResourceRequest, said: &Said) -> Result<Answer, ApiError> {
        let resource = request.resource;
        if !(request.subresource.is_empty() || (request.subresource == "status" && resource.has_status)) {
            return Err(ApiError::no_such_path());
        }
        if !resource.verbs.contains(&request.verb) {
            return Err(ApiError::method_not_allowed(resource));
        }
        if !request.query.get("dryRun").is_empty() {
            return Err(ApiError::bad_request("this stand-in knows no dryRun"));
        }
        if resource.group == "authorization.k8s.io" || resource.group == "authentication.k8s.io" {
            return Ok(reply(201, &review::answer(resource, identity, said.json()?)?));
        }
        match request.verb {
            "get" => self.get(request, said),
            "list" => self.list(request, said),
            "watch" => {
                let stream = watch::start(&self.store, request, &said.accept)?;
                Ok(response(200, "application/json", stream.boxed()))
            }
            "create" => self.create(identity, request, said),
            "update" => self.update(identity, request, said),
            "patch" => self.patch(identity, request, said),
            "delete" => self.delete(identity, request, said),
            _ => self.delete_collection(request),
        }
    }

    fn get(&self, request: &ResourceRequest, said: &Said) -> Result<Answer, ApiError> {
        let key = Key::new(request.resource, &request.namespace, &request.name);
        let object = self.store.get(&key).ok_or_else(|| ApiError::not_found(request.resource, &request.name))?;
        if table::is_asked_for(&said.accept) {
            let metadata = json!({"resourceVersion": object["metadata"]["resourceVersion"]});
            let include = request.query.get("includeObject");
            return Ok(reply(
                200,
                &table::of(request.resource, [&*object], &metadata, include, jiff::Timestamp::now()),
            ));
        }
        Ok(reply(200, &object))
    }

    fn list(&self, request: &ResourceRequest, said: &Said) -> Result<Answer, ApiError> {
        let (objects, revision) = Filter::of(request)?.list(&self.store);
        match request.query.get("resourceVersion").parse::<u64>() {
            Ok(asked) if asked > revision => return Err(ApiError::version_from_the_future(asked, revision)),
            _ => {}
        }
        let metadata = json!({"resourceVersion": revision.to_string()});
        if table::is_asked_for(&said.accept) {
            let rows = objects.iter().map(|object| &**object);
            let include = request.query.get("includeObject");
            return Ok(reply(200, &table::of(request.resource, rows, &metadata, include, jiff::Timestamp::now())));
        }
        let items: Vec<Value> = objects
            .iter()
            .map(|object| {
                let mut item = (**object).clone();
                if let Some(map) = item.as_object_mut() {
                    map.remove("kind");
                    map.remove("apiVersion");
                }
                item
            })
            .collect();
        let list = json!({
            "kind": format!("{}List", request.resource.kind), "apiVersion": request.resource.api_version(),
            "metadata": metadata, "items": items,
        });
        Ok(reply(200, &list))
    }

    fn create(&self, identity: &Identity, request: &ResourceRequest, said: &Said) -> Result<Answer, ApiError> {
        let resource = request.resource;
        let mut object = validate::canonical(resource, said.json()?)?;
        if !object["metadata"].is_object() {
            object["metadata"] = json!({});
        }
        if object["metadata"]["resourceVersion"].is_string() {
            return Err(ApiError::bad_request("resourceVersion should not be set on objects to be created"));
        }
        place(request, &mut object)?;
        let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        admission::restrict_node(identity, resource, &name, None, Some(&object))?;
        let key = Key::new(resource, &request.namespace, &name);
        let writer = writer(request, said, "Update");
        let stored = self.store.transact(&key, |current, objects| {
            if current.is_some() {
                return Err(ApiError::already_exists(resource, &name));
            }
            Ok(Write::Put(finish_new(resource, object, objects, &request.namespace, &writer)?))
        })?;
        Ok(reply(201, &stored))
    }

    fn update(&self, identity: &Identity, request: &ResourceRequest, said: &Said) -> Result<Answer, ApiError> {
        let resource = request.resource;
        let object = said.json()?;
        if !resource.unconditional_update
            && object.pointer("/metadata/resourceVersion").and_then(Value::as_str).unwrap_or_default().is_empty()
            && self.store.get(&Key::new(resource, &request.namespace, &request.name)).is_some()
        {
            let why = "metadata.resourceVersion: Invalid value: 0: must be specified for an update";
            return Err(ApiError::invalid(resource, &request.name, why));
        }
        let create = resource.create_on_update && request.subresource.is_empty();
        let writer = writer(request, said, "Update");
        self.modify(identity, request, &writer, create, |_| Ok(object))
    }

    fn patch(&self, identity: &Identity, request: &ResourceRequest, said: &Said) -> Result<Answer, ApiError> {
        let kind = request.resource.kind;
        let apply = said.content_type == "application/apply-patch+yaml";
        if apply && request.query.get("fieldManager").is_empty() {
            let why =
                "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch";
            return Err(ApiError::bad_request(why));
        }
        let body: Value = match said.content_type.as_str() {
            "application/merge-patch+json" | "application/strategic-merge-patch+json" => {
                serde_json::from_slice(&said.body).map_err(unreadable)?
            }
            "application/apply-patch+yaml" => {
                let text = std::str::from_utf8(&said.body).map_err(|error| ApiError::bad_request(error.to_string()))?;
                let body = crate::yaml::parse(text).map_err(|error| ApiError::bad_request(error.to_string()))?;
                validate::check_kind(request.resource, &body)?;
                body
            }
            _ => return Err(ApiError::unsupported_media(PATCH_TYPES)),
        };
        let writer = writer(request, said, if apply { "Apply" } else { "Update" });
        let plain_merge = said.content_type == "application/merge-patch+json";
        self.modify(identity, request, &writer, apply && request.subresource.is_empty(), |old| {
            if plain_merge {
                return Ok(patch::merge(old.clone(), body));
            }
            patch::strategic_merge(kind, old.clone(), body).map_err(|error| ApiError::bad_request(error.to_string()))
        })
    }

    /// Replaces an object by what `make` makes of it; with `create`, an object that is not there is made.
    fn modify(
        &self,
        identity: &Identity,
        request: &ResourceRequest,
        writer: &Writer<'_>,
        create: bool,
        make: impl FnOnce(&Value) -> Result<Value, ApiError>,
    ) -> Result<Answer, ApiError> {
        let resource = request.resource;
        let key = Key::new(resource, &request.namespace, &request.name);
        let mut code = 200;
        let stored = self.store.transact(&key, |current, objects| {
            let Some(old) = current else {
                // A node that may not see the object learns nothing else from its absence.
                admission::restrict_node(identity, resource, &request.name, None, Some(&json!({})))?;
                if !create {
                    return Err(ApiError::not_found(resource, &request.name));
                }
                let mut object = validate::canonical(resource, make(&Value::Null)?)?;
                place(request, &mut object)?;
                admission::restrict_node(identity, resource, &request.name, None, Some(&object))?;
                code = 201;
                return Ok(Write::Put(finish_new(resource, object, objects, &request.namespace, writer)?));
            };
            // Before the patch is looked at: another's object is forbidden, whatever is sent.
            admission::restrict_node(identity, resource, &request.name, Some(old), Some(old))?;
            let mut object = validate::canonical(resource, make(old)?)?;
            place(request, &mut object)?;
            check_preconditions(resource, &request.name, old, &object["metadata"])?;
            keep_the_rest(&request.subresource, resource, old, &mut object);
            admission::restrict_node(identity, resource, &request.name, Some(old), Some(&object))?;
            managed_fields::record(Some(old), &mut object, writer, &now());
            Ok(Write::Put(object))
        })?;
        Ok(reply(code, &stored))
    }

    fn delete(&self, identity: &Identity, request: &ResourceRequest, said: &Said) -> Result<Answer, ApiError> {
        let resource = request.resource;
        let options: Value = if said.body.is_empty() { Value::Null } else { said.json()? };
        let key = Key::new(resource, &request.namespace, &request.name);
        let gone = self.store.transact(&key, |current, _| {
            admission::restrict_node(identity, resource, &request.name, current, None)?;
            let old = current.ok_or_else(|| ApiError::not_found(resource, &request.name))?;
            check_preconditions(resource, &request.name, old, &options["preconditions"])?;
            Ok(Write::Delete)
        })?;
        let uid = gone["metadata"]["uid"].as_str().unwrap_or_default();
        Ok(reply(200, &status::deleted(resource, &request.name, uid)))
    }

    fn delete_collection(&self, request: &ResourceRequest) -> Result<Answer, ApiError> {
        let (objects, _) = Filter::of(request)?.list(&self.store);
        for object in &objects {
            let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default();
            let key = Key::new(request.resource, text("namespace"), text("name"));
            self.store.transact(&key, |_, _| Ok(Write::Delete))?;
        }
        Ok(reply(200, &json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"})))
    }
}

fn writer<'a>(request: &'a ResourceRequest, said: &'a Said, operation: &'static str) -> Writer<'a> {
    Writer {
        manager: said.manager(request),
        operation,
        subresource: &request.subresource,
        api_version: request.resource.api_version(),
    }
}

async fn read(body: Incoming) -> Result<Bytes, ApiError> {
    match Limited::new(body, BODY_LIMIT).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(ApiError::too_large(BODY_LIMIT)),
        Err(error) => Err(ApiError::bad_request(format!("the body cannot be read: {error}"))),
    }
}

fn acceptable(accept: &str) -> bool {
    accept.is_empty()
        || accept.split(',').any(|range| {
            let kind = range.split(';').next().unwrap_or_default().trim();
            matches!(kind, "application/json" | "application/*" | "*/*" | "text/plain")
        })
}

/// Gives the object the name and namespace of the path, or refuses another one.
fn place(request: &ResourceRequest, object: &mut Value) -> Result<(), ApiError> {
    let text = |object: &Value, field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
    let (name, namespace) = (text(object, "name"), text(object, "namespace"));
    if request.name.is_empty() && name.is_empty() {
        let prefix = text(object, "generateName");
        if prefix.is_empty() {
            let why = "metadata.name: Required value: name or generateName is required";
            return Err(ApiError::invalid(request.resource, "", why));
        }
        let suffix: String = new_uid().chars().take(5).collect();
        object["metadata"]["name"] = json!(format!("{prefix}{suffix}"));
    } else if !request.name.is_empty() && name.is_empty() {
        object["metadata"]["name"] = json!(request.name);
    } else if !request.name.is_empty() && name != request.name {
        return Err(ApiError::bad_request(format!(
            "the name of the object ({name}) does not match the name on the URL ({})",
            request.name
        )));
    }
    if request.resource.namespaced {
        if !namespace.is_empty() && namespace != request.namespace {
            return Err(ApiError::bad_request(
                "the namespace of the provided object does not match the namespace sent on the request",
            ));
        }
        object["metadata"]["namespace"] = json!(request.namespace);
    }
    Ok(())
}

fn finish_new(
    resource: &'static Resource,
    mut object: Value,
    objects: &super::storage::Objects,
    namespace: &str,
    writer: &Writer<'_>,
) -> Result<Value, ApiError> {
    if resource.namespaced && !objects.contains_key(&Key::new(&NAMESPACES, "", namespace)) {
        return Err(ApiError::not_found(&NAMESPACES, namespace));
    }
    let now = now();
    managed_fields::record(None, &mut object, writer, &now);
    admission::complete_new(resource, &mut object, objects);
    object["metadata"]["uid"] = json!(new_uid());
    object["metadata"]["creationTimestamp"] = json!(now);
    Ok(object)
}

/// A UID or resource version that the client names must be the object's.
fn check_preconditions(resource: &Resource, name: &str, old: &Value, wanted: &Value) -> Result<(), ApiError> {
    let is = |field: &str| old["metadata"][field].as_str().unwrap_or_default();
    let want = |field: &str| wanted[field].as_str().filter(|text| !text.is_empty());
    if let Some(uid) = want("uid")
        && uid != is("uid")
    {
        let why = format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {}", is("uid"));
        return Err(ApiError::conflict(resource, name, &why));
    }
    if let Some(version) = want("resourceVersion")
        && version != is("resourceVersion")
    {
        let why = "the object has been modified; please apply your changes to the latest version and try again";
        return Err(ApiError::conflict(resource, name, why));
    }
    Ok(())
}

/// What an update may not touch stays: the status for the object itself, the spec for its status, and what is the
/// server's own.
fn keep_the_rest(subresource: &str, resource: &Resource, old: &Value, new: &mut Value) {
    let kept = match (subresource, resource.has_status) {
        ("status", _) => Some("spec"),
        (_, true) => Some("status"),
        _ => None,
    };
    let Some(map) = new.as_object_mut() else { return };
    if let Some(field) = kept {
        match old.get(field) {
            Some(value) => map.insert(field.to_owned(), value.clone()),
            None => map.remove(field),
        };
    }
    for field in ["uid", "creationTimestamp", "resourceVersion", "managedFields"] {
        new["metadata"][field] = old["metadata"][field].clone();
    }
}

fn reply(code: u16, value: &Value) -> Answer {
    let mut body = value.to_string().into_bytes();
    body.push(b'\n');
    response(code, "application/json", Full::new(Bytes::from(body)).boxed())
}

fn text_reply(text: &'static str) -> Answer {
    response(200, "text/plain; charset=utf-8", Full::new(Bytes::from_static(text.as_bytes())).boxed())
}

fn response(code: u16, kind: &'static str, body: BoxBody<Bytes, Infallible>) -> Answer {
    let mut response = Response::new(body);
    *response.status_mut() = hyper::StatusCode::from_u16(code).unwrap_or(hyper::StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-cache, private"));
    headers.insert("audit-stand-in", header::HeaderValue::from_static("nodebake-lab"));
    response
}
