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
use super::deletion;
use super::faults::{self, Act, Faults};
use super::identity::Identity;
use super::managed_fields::{self, Writer};
use super::patch;
use super::request::{ResourceRequest, Target, path_verb};
use super::resource::{NAMESPACES, Resource};
use super::status::{self, ApiError};
use super::storage::{Interruption, Key, Objects, Store, Write, new_uid, now};
use super::watch::{self, Filter};
use super::{admission, defaults, discovery, eviction, rbac, review, table, validate, values};

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
    /// What is asked to go wrong.
    pub faults: Faults,
}

/// The connection is to be cut in place of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut;

/// What a client said beside method and path.
struct Said {
    accept: String,
    content_type: String,
    agent: String,
    body: Bytes,
}

impl Said {
    fn of(headers: &header::HeaderMap, body: Bytes) -> Self {
        let header = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
        let content_type = header(header::CONTENT_TYPE);
        Self {
            accept: header(header::ACCEPT),
            content_type: content_type.split(';').next().unwrap_or_default().trim().to_owned(),
            agent: header(header::USER_AGENT),
            body,
        }
    }

    /// The name of the field manager: the parameter, else the program's name.
    fn manager<'a>(&'a self, request: &'a ResourceRequest) -> &'a str {
        match request.query.get("fieldManager") {
            "" => self.agent.split('/').next().filter(|name| !name.is_empty()).unwrap_or("unknown"),
            manager => manager,
        }
    }

    /// The object's name: the path's, or where one is made the body's.
    fn name(&self, request: &ResourceRequest) -> String {
        if request.verb != "create" || !request.name.is_empty() {
            return request.name.clone();
        }
        let body: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        body["metadata"]["name"].as_str().unwrap_or_default().to_owned()
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
    ///
    /// # Errors
    /// A fault wants the connection cut.
    pub async fn serve(
        &self,
        remote: SocketAddr,
        identity: Option<&Identity>,
        request: Request<Incoming>,
    ) -> Result<Answer, Cut> {
        let (parts, body) = request.into_parts();
        let path = parts.uri.path().to_owned();
        let target = Target::parse(&parts.method, &path, parts.uri.query().unwrap_or_default());
        let verb = match &target {
            Target::Resource(request) => request.verb.to_owned(),
            Target::Path => path_verb(&parts.method),
        };
        let body = read(body).await;
        let said = Said::of(&parts.headers, body.clone().unwrap_or_default());
        let (what, name) = match &target {
            Target::Resource(request) => (request.what(), said.name(request)),
            Target::Path => (path.clone(), String::new()),
        };
        let (namespace, resource) = match &target {
            Target::Resource(request) => (request.namespace.as_str(), Some(request.resource)),
            Target::Path => ("", None),
        };
        let asked = faults::Request { verb: &verb, what: &what, namespace, name: &name, resource };
        let fault = self.faults.meet(&asked);
        let whole = parts.uri.path_and_query().map_or(path.as_str(), |whole| whole.as_str());
        let line = (parts.method.as_str(), whole, said.agent.as_str());
        if let Some(pause) = fault.as_ref().and_then(Act::pause) {
            tokio::time::sleep(pause).await;
        }
        if fault == Some(Act::CutBefore) {
            self.log.request(remote, identity, &asked, line, (0, fault.as_ref()));
            return Err(Cut);
        }
        let answer = match (&fault, identity, body) {
            (Some(Act::Busy { retry_after }), ..) => busy(*retry_after),
            (_, None, _) => failure(&ApiError::unauthorized()),
            (_, _, Err(error)) => failure(&error),
            (fault, Some(identity), Ok(_)) => {
                let refusal = fault.as_ref().and_then(|fault| fault.refusal(&asked));
                let done = match refusal {
                    Some(refusal) => Err(refusal),
                    None => self.answer(identity, &target, &asked, &said, fault.as_ref()),
                };
                done.unwrap_or_else(|error| failure(&error))
            }
        };
        let cut = fault == Some(Act::CutAfter);
        let code = if cut { 0 } else { answer.status().as_u16() };
        self.log.request(remote, identity, &asked, line, (code, fault.as_ref()));
        if cut { Err(Cut) } else { Ok(answer) }
    }

    fn answer(
        &self,
        identity: &Identity,
        target: &Target,
        asked: &faults::Request<'_>,
        said: &Said,
        fault: Option<&Act>,
    ) -> Result<Answer, ApiError> {
        if !acceptable(&said.accept) {
            return Err(ApiError::not_acceptable());
        }
        match target {
            Target::Path => {
                let (verb, path) = (asked.verb, asked.what);
                let asked = Attributes { verb: verb.to_owned(), path: path.to_owned(), ..Attributes::default() };
                self.store
                    .view(|objects| authz::authorize(identity, &asked, objects))
                    .map_err(|_| ApiError::forbidden_path(&identity.user, verb, path))?;
                match discovery::page(path) {
                    Some(discovery::Page::Json(value)) if verb == "get" => Ok(reply(200, &value)),
                    Some(discovery::Page::Text(text)) if verb == "get" => Ok(text_reply(text)),
                    _ => Err(ApiError::no_such_path()),
                }
            }
            Target::Resource(request) => {
                let asked = request.attributes().map_err(|error| ApiError::bad_request(error.to_string()))?;
                self.store.view(|objects| authz::authorize(identity, &asked, objects)).map_err(|reason| {
                    ApiError::forbidden(request.resource, &request.name, &authz::refusal(identity, &asked, &reason))
                })?;
                self.resource(identity, request, said, fault)
            }
        }
    }

    fn resource(
        &self,
        identity: &Identity,
        request: &ResourceRequest,
        said: &Said,
        fault: Option<&Act>,
    ) -> Result<Answer, ApiError> {
        let resource = request.resource;
        let verbs = match (request.subresource.as_str(), resource.kind) {
            ("", _) => resource.verbs,
            ("status", _) if resource.has_status => &["get", "patch", "update"],
            ("eviction", "Pod") => &["create"],
            _ => return Err(ApiError::no_such_path()),
        };
        // A name in the path of a new object, or none where an object is changed.
        let misplaced = match request.verb {
            "create" => request.subresource.is_empty() != request.name.is_empty(),
            "update" | "patch" => request.name.is_empty(),
            _ => false,
        };
        if misplaced || !verbs.contains(&request.verb) {
            return Err(ApiError::method_not_allowed(resource));
        }
        if resource.group == "authorization.k8s.io" || resource.group == "authentication.k8s.io" {
            let review = said.json()?;
            let answer = self.store.view(|objects| review::answer(resource, identity, review, objects))?;
            return Ok(reply(201, &answer));
        }
        match request.verb {
            "get" => self.get(request, said),
            "list" => self.list(request, said),
            "watch" => {
                let interruption = match fault {
                    Some(Act::EndWatch) => Some(Interruption::End),
                    Some(Act::ExpireWatch) => Some(Interruption::Expire),
                    _ => None,
                };
                let stream = watch::start(&self.store, request, &said.accept, interruption)?;
                Ok(response(200, "application/json", stream.boxed()))
            }
            "create" if request.subresource == "eviction" => self.evict(identity, request, said),
            "create" => self.create(identity, request, said),
            "update" => self.update(identity, request, said),
            "patch" => self.patch(identity, request, said),
            "delete" => self.delete(identity, request, said),
            _ => self.delete_collection(request, said),
        }
    }

    fn evict(&self, identity: &Identity, request: &ResourceRequest, said: &Said) -> Result<Answer, ApiError> {
        let options = eviction::read(request, said.json()?)?;
        let key = Key::new(request.resource, &request.namespace, &request.name);
        self.store.view(|objects| {
            let pod = objects.get(&key).map(|pod| &**pod);
            let what = (request.resource, "eviction");
            admission::restrict_node(identity, what, &request.name, pod, None, objects)
        })?;
        eviction::evict(&self.store, request, &options)?;
        let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201});
        Ok(reply(201, &status))
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
        Ok(reply(200, &list_of(request.resource, &objects, &metadata)))
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
        let key = Key::new(resource, &request.namespace, &name);
        let writer = writer(request, said, "Update");
        let stored = self.store.transact(&key, request.query.dry_run()?, |current, objects| {
            admission::restrict_node(identity, (resource, ""), &name, None, Some(&object), objects)?;
            rbac::confirm_no_escalation(identity, resource, &object, objects)?;
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
        let restrict = |old: Option<&Value>, new: &Value, objects: &Objects| {
            let what = (resource, request.subresource.as_str());
            admission::restrict_node(identity, what, &request.name, old, Some(new), objects)
        };
        let stored = self.store.transact(&key, request.query.dry_run()?, |current, objects| {
            let Some(old) = current else {
                // A node that may not see the object learns nothing else from its absence.
                if create || resource.kind != "Pod" {
                    restrict(None, &json!({}), objects)?;
                }
                if !create {
                    return Err(ApiError::not_found(resource, &request.name));
                }
                let mut object = validate::canonical(resource, make(&Value::Null)?)?;
                place(request, &mut object)?;
                restrict(None, &object, objects)?;
                rbac::confirm_no_escalation(identity, resource, &object, objects)?;
                code = 201;
                return Ok(Write::Put(finish_new(resource, object, objects, &request.namespace, writer)?));
            };
            // Before the patch is looked at: another's object is forbidden, whatever is sent.
            restrict(Some(old), old, objects)?;
            let mut object = validate::canonical(resource, make(old)?)?;
            place(request, &mut object)?;
            check_preconditions(resource, &request.name, old, &object["metadata"])?;
            keep_the_rest(&request.subresource, resource, old, &mut object);
            restrict(Some(old), &object, objects)?;
            validate::refuse(resource, &request.name, &values::forbidden_changes(resource, old, &object))?;
            if ["rules", "roleRef", "subjects"].iter().any(|field| old[field] != object[field]) {
                rbac::confirm_no_escalation(identity, resource, &object, objects)?;
            }
            managed_fields::record(Some(old), &mut object, writer, &now());
            Ok(Write::Put(object))
        })?;
        Ok(reply(code, &stored))
    }

    fn delete(&self, identity: &Identity, request: &ResourceRequest, said: &Said) -> Result<Answer, ApiError> {
        let resource = request.resource;
        let options: Value = if said.body.is_empty() { Value::Null } else { said.json()? };
        let options = deletion::Options::read(&options, &request.query)?;
        let key = Key::new(resource, &request.namespace, &request.name);
        let mut gone = false;
        let object = self.store.transact(&key, options.dry_run, |current, objects| {
            admission::restrict_node(identity, (resource, ""), &request.name, current, None, objects)?;
            let old = current.ok_or_else(|| ApiError::not_found(resource, &request.name))?;
            let fate = deletion::begin(resource, old, &options, jiff::Timestamp::now())?;
            gone = matches!(fate, Write::Delete);
            Ok(fate)
        })?;
        if !gone || resource.returns_deleted {
            return Ok(reply(200, &object));
        }
        let uid = object["metadata"]["uid"].as_str().unwrap_or_default();
        Ok(reply(200, &status::deleted(resource, &request.name, uid)))
    }

    fn delete_collection(&self, request: &ResourceRequest, said: &Said) -> Result<Answer, ApiError> {
        let options: Value = if said.body.is_empty() { Value::Null } else { said.json()? };
        let options = deletion::Options::read(&options, &request.query)?;
        let (objects, revision) = Filter::of(request)?.list(&self.store);
        for object in &objects {
            let key = Key::of(request.resource, object);
            self.store.transact(&key, options.dry_run, |current, _| match current {
                Some(old) => deletion::begin(request.resource, old, &options, jiff::Timestamp::now()),
                None => Ok(Write::Keep),
            })?;
        }
        let metadata = json!({"resourceVersion": revision.to_string()});
        Ok(reply(200, &list_of(request.resource, &objects, &metadata)))
    }
}

/// A list as it is answered: its items do not say their kind.
fn list_of(resource: &Resource, objects: &[Arc<Value>], metadata: &Value) -> Value {
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
    json!({
        "kind": format!("{}List", resource.kind), "apiVersion": resource.api_version(),
        "metadata": metadata, "items": items,
    })
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
    objects: &Objects,
    namespace: &str,
    writer: &Writer<'_>,
) -> Result<Value, ApiError> {
    if resource.namespaced && !objects.contains_key(&Key::new(&NAMESPACES, "", namespace)) {
        return Err(ApiError::not_found(&NAMESPACES, namespace));
    }
    let now = now();
    managed_fields::record(None, &mut object, writer, &now);
    defaults::begin(resource, &mut object);
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
    let servers = [
        "uid",
        "creationTimestamp",
        "resourceVersion",
        "managedFields",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generation",
    ];
    let Some(metadata) = new.get_mut("metadata").and_then(Value::as_object_mut) else { return };
    for field in servers {
        match old["metadata"].get(field) {
            Some(value) => metadata.insert(field.to_owned(), value.clone()),
            None => metadata.remove(field),
        };
    }
    if subresource == "status" && resource.kind == "Pod" {
        match old["metadata"].get("ownerReferences") {
            Some(owners) => metadata.insert("ownerReferences".to_owned(), owners.clone()),
            None => metadata.remove("ownerReferences"),
        };
    }
    if resource.counts_generations && old.get("spec") != new.get("spec") {
        let generation = old["metadata"]["generation"].as_i64().unwrap_or_default();
        new["metadata"]["generation"] = json!(generation + 1);
    }
}

fn reply(code: u16, value: &Value) -> Answer {
    let mut body = value.to_string().into_bytes();
    body.push(b'\n');
    response(code, "application/json", Full::new(Bytes::from(body)).boxed())
}

fn failure(error: &ApiError) -> Answer {
    let mut answer = reply(error.code, &error.to_json());
    if let Some(seconds) = error.retry_after {
        answer.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    answer
}

/// As priority and fairness turns a request away.
fn busy(retry_after: u32) -> Answer {
    let text = "Too many requests, please try again later.\n";
    let body = Full::new(Bytes::from_static(text.as_bytes())).boxed();
    let mut answer = response(429, "text/plain; charset=utf-8", body);
    answer.headers_mut().insert(header::RETRY_AFTER, retry_after.into());
    answer
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
