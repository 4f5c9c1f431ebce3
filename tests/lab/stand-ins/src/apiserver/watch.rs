//! Watches: a stream of JSON lines, each a change of an object that the watch selects.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::request::ResourceRequest;
use super::resource::Resource;
use super::selector::{FieldSelector, LabelSelector};
use super::status::ApiError;
use super::storage::{Change, Interruption, Key, Store};
use super::table;

/// How long a watch lasts when the client names no time, as the real one's least.
const DEFAULT_TIMEOUT: Duration = Duration::from_mins(30);
/// How often a client that wants bookmarks gets one.
const BOOKMARK_INTERVAL: Duration = Duration::from_mins(1);

/// What a list or a watch selects.
#[derive(Debug, Clone)]
pub struct Filter {
    resource: &'static Resource,
    namespace: String,
    name: String,
    fields: FieldSelector,
    labels: LabelSelector,
}

impl Filter {
    /// Reads the selectors of a request.
    ///
    /// # Errors
    /// 400 for a selector that cannot be read or a field that cannot be selected by.
    pub fn of(request: &ResourceRequest) -> Result<Self, ApiError> {
        let unreadable = |error: super::selector::SelectorError| ApiError::bad_request(error.to_string());
        let fields = request.field_selector().map_err(unreadable)?;
        if let Some(field) = fields.unsupported(request.resource.plural) {
            return Err(ApiError::bad_request(format!("field label not supported: {field}")));
        }
        Ok(Self {
            resource: request.resource,
            namespace: request.namespace.clone(),
            name: request.name.clone(),
            fields,
            labels: request.label_selector().map_err(unreadable)?,
        })
    }

    /// Whether an object of the right resource is selected.
    #[must_use]
    pub fn selects(&self, object: &Value) -> bool {
        (self.name.is_empty() || object["metadata"]["name"] == self.name.as_str())
            && self.fields.matches(object)
            && self.labels.matches(object)
    }

    /// The objects that are selected now, and the revision of that view.
    #[must_use]
    pub fn list(&self, store: &Store) -> (Vec<Arc<Value>>, u64) {
        let (mut objects, revision) = store.list(self.resource, &self.namespace);
        objects.retain(|object| self.selects(object));
        (objects, revision)
    }

    /// What a change means to this selection: an object may enter or leave it without being made or removed.
    fn event(&self, change: &Change) -> Option<(&'static str, Value)> {
        if !self.holds(&change.key) {
            return None;
        }
        let before = change.before.as_deref().filter(|object| self.selects(object));
        let after = change.after.as_deref().filter(|object| self.selects(object));
        match (before, after) {
            (None, None) => None,
            (None, Some(after)) => Some(("ADDED", after.clone())),
            (Some(_), Some(after)) => Some(("MODIFIED", after.clone())),
            (Some(before), None) => {
                let mut gone = before.clone();
                gone["metadata"]["resourceVersion"] = json!(change.revision.to_string());
                Some(("DELETED", gone))
            }
        }
    }

    fn holds(&self, key: &Key) -> bool {
        key.is_in(self.resource, &self.namespace)
    }
}

/// The receiving end of a watch, as a response body.
#[derive(Debug)]
pub struct Stream {
    lines: mpsc::Receiver<Bytes>,
}

impl Body for Stream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.lines.poll_recv(context).map(|line| line.map(|line| Ok(Frame::data(line))))
    }
}

#[derive(Debug)]
struct Watch {
    filter: Filter,
    store: Arc<Store>,
    lines: mpsc::Sender<Bytes>,
    bookmarks: bool,
    /// `includeObject` of a client that wants tables.
    tables: Option<String>,
    seen: u64,
    deadline: Instant,
}

/// The client went away.
struct Gone;

/// Starts a watch. A resource version that is too old is told in the stream, as the real one does. With a fault it
/// is interrupted at once.
///
/// # Errors
/// 400 for parameters that cannot be read.
pub fn start(
    store: &Arc<Store>,
    request: &ResourceRequest,
    accept: &str,
    fault: Option<Interruption>,
) -> Result<Stream, ApiError> {
    let filter = Filter::of(request)?;
    let query = &request.query;
    let seconds = match query.get("timeoutSeconds") {
        "" | "0" => DEFAULT_TIMEOUT,
        text => Duration::from_secs(
            text.parse()
                .map_err(|_| ApiError::bad_request(format!("strconv.ParseInt: parsing \"{text}\": invalid syntax")))?,
        ),
    };
    let send_initial = query.is_true("sendInitialEvents");
    if send_initial && query.get("resourceVersionMatch") != "NotOlderThan" {
        return Err(ApiError::bad_request("sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"));
    }
    let since = match query.get("resourceVersion") {
        "" | "0" => None,
        text => {
            Some(text.parse::<u64>().map_err(|_| ApiError::bad_request(format!("Invalid resource version: {text}")))?)
        }
    };
    let (initial, seen) = match since {
        Some(revision) if !send_initial => (Vec::new(), revision),
        _ => filter.list(store),
    };
    let (lines, receiver) = mpsc::channel(64);
    let watch = Watch {
        filter,
        store: Arc::clone(store),
        lines,
        bookmarks: query.is_true("allowWatchBookmarks"),
        tables: table::is_asked_for(accept).then(|| query.get("includeObject").to_owned()),
        seen,
        deadline: Instant::now() + seconds,
    };
    tokio::spawn(async move {
        // The client's going away is a watch's normal end.
        let _: Result<(), Gone> = match fault {
            Some(Interruption::Expire) => watch.interrupt(Interruption::Expire).await,
            fault => watch.run(initial, send_initial, fault.is_some()).await,
        };
    });
    Ok(Stream { lines: receiver })
}

impl Watch {
    async fn run(mut self, initial: Vec<Arc<Value>>, mark_initial_end: bool, ends_at_once: bool) -> Result<(), Gone> {
        let mut writes = self.store.subscribe();
        let mut interruptions = self.store.interruptions();
        for object in initial {
            self.send("ADDED", (*object).clone()).await?;
        }
        if mark_initial_end {
            self.bookmark(&json!({"k8s.io/initial-events-end": "true"})).await?;
        }
        if ends_at_once {
            return Ok(());
        }
        let mut interval = tokio::time::interval_at(Instant::now() + BOOKMARK_INTERVAL, BOOKMARK_INTERVAL);
        loop {
            match self.store.changes_after(self.seen) {
                Ok((changes, now)) => {
                    for change in &changes {
                        if let Some((kind, object)) = self.filter.event(change) {
                            self.send(kind, object).await?;
                        }
                    }
                    self.seen = now;
                }
                Err(error) => return self.line(&json!({"type": "ERROR", "object": error.to_json()})).await,
            }
            tokio::select! {
                write = writes.changed() => if write.is_err() { return Ok(()) },
                _ = interval.tick(), if self.bookmarks => self.bookmark(&json!({})).await?,
                () = tokio::time::sleep_until(self.deadline) => {
                    return if self.bookmarks { self.bookmark(&json!({})).await } else { Ok(()) };
                }
                () = self.lines.closed() => return Err(Gone),
                interrupted = interruptions.changed() => {
                    let how = *interruptions.borrow_and_update();
                    return match (interrupted, how) {
                        (Ok(()), Some(how)) => self.interrupt(how).await,
                        _ => Ok(()),
                    };
                }
            }
        }
    }

    async fn interrupt(&self, how: Interruption) -> Result<(), Gone> {
        match how {
            Interruption::End => Ok(()),
            Interruption::Expire => {
                let error = ApiError::expired(self.seen, self.store.revision());
                self.line(&json!({"type": "ERROR", "object": error.to_json()})).await
            }
        }
    }

    async fn send(&self, kind: &str, object: Value) -> Result<(), Gone> {
        let object = match &self.tables {
            Some(include) => {
                let metadata = json!({"resourceVersion": object["metadata"]["resourceVersion"]});
                table::of(self.filter.resource, [&object], &metadata, include, jiff::Timestamp::now())
            }
            None => object,
        };
        self.line(&json!({"type": kind, "object": object})).await
    }

    async fn bookmark(&self, annotations: &Value) -> Result<(), Gone> {
        let mut metadata = json!({"resourceVersion": self.seen.to_string(), "creationTimestamp": null});
        if annotations.as_object().is_some_and(|map| !map.is_empty()) {
            metadata["annotations"] = annotations.clone();
        }
        let object = match &self.tables {
            Some(_) => table::of(self.filter.resource, [], &metadata, "None", jiff::Timestamp::now()),
            None => json!({
                "kind": self.filter.resource.kind, "apiVersion": self.filter.resource.api_version(), "metadata": metadata,
            }),
        };
        self.line(&json!({"type": "BOOKMARK", "object": object})).await
    }

    async fn line(&self, event: &Value) -> Result<(), Gone> {
        let mut line = event.to_string().into_bytes();
        line.push(b'\n');
        self.lines.send(Bytes::from(line)).await.map_err(|_| Gone)
    }
}
