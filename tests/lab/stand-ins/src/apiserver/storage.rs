//! The objects, in memory, with one revision counter over all of them and a bounded history for watches.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use tokio::sync::watch;

use super::resource::{self, Resource};
use super::status::ApiError;
use super::{deletion, disruption, rbac};

/// Changes that are remembered for watches; what is older answers 410.
const HISTORY: usize = 2000;

/// Where an object is stored.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// Group and plural name of its resource.
    resource: (&'static str, &'static str),
    /// Namespace, or empty.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl Key {
    /// The key of an object.
    #[must_use]
    pub fn new(resource: &'static Resource, namespace: &str, name: &str) -> Self {
        Self { resource: (resource.group, resource.plural), namespace: namespace.to_owned(), name: name.to_owned() }
    }

    /// The key of an object that says itself where it is.
    #[must_use]
    pub fn of(resource: &'static Resource, object: &Value) -> Self {
        let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default();
        Self::new(resource, text("namespace"), text("name"))
    }

    /// The resource of the object.
    #[must_use]
    pub fn resource(&self) -> Option<&'static Resource> {
        resource::ALL.into_iter().find(|known| self.resource == (known.group, known.plural))
    }

    /// Whether the object is of this resource, in this namespace (empty: any).
    #[must_use]
    pub fn is_in(&self, resource: &Resource, namespace: &str) -> bool {
        self.resource == (resource.group, resource.plural) && (namespace.is_empty() || self.namespace == namespace)
    }
}

/// What a watch tells of one write.
#[derive(Debug, Clone)]
pub struct Change {
    /// Revision of the write.
    pub revision: u64,
    /// The object's place.
    pub key: Key,
    /// The object before, if it was there.
    pub before: Option<Arc<Value>>,
    /// The object after, if it still is there.
    pub after: Option<Arc<Value>>,
}

/// What a transaction does with its object.
#[derive(Debug)]
pub enum Write {
    /// Store this.
    Put(Value),
    /// Remove it.
    Delete,
    /// Leave it as it is.
    Keep,
}

/// What is done to all watches at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interruption {
    /// They end, as they do when their time is over.
    End,
    /// They are told 410: the client must list anew.
    Expire,
}

/// All objects; part of a transaction's view.
pub type Objects = BTreeMap<Key, Arc<Value>>;

#[derive(Debug)]
struct Inner {
    revision: u64,
    /// Watches from before this revision cannot be served.
    oldest: u64,
    objects: Objects,
    history: VecDeque<Change>,
    /// Whether the disruption controller stands still.
    budgets_rest: bool,
}

/// The store.
#[derive(Debug)]
pub struct Store {
    inner: Mutex<Inner>,
    changed: watch::Sender<u64>,
    interrupted: watch::Sender<Option<Interruption>>,
}

impl Store {
    /// A store with the namespaces and cluster roles that every cluster has. `first_revision` must grow from start to
    /// start, so that a resource version of an earlier run is too old rather than wrong: seconds since the epoch do.
    #[must_use]
    pub fn new(first_revision: u64) -> Self {
        let store = Self {
            inner: Mutex::new(Inner {
                revision: first_revision,
                oldest: first_revision,
                objects: Objects::new(),
                history: VecDeque::new(),
                budgets_rest: false,
            }),
            changed: watch::channel(first_revision).0,
            interrupted: watch::channel(None).0,
        };
        let mut inner = store.lock();
        for name in ["default", "kube-node-lease", "kube-public", "kube-system"] {
            let namespace = json!({
                "kind": "Namespace", "apiVersion": "v1",
                "metadata": {
                    "name": name, "uid": new_uid(), "creationTimestamp": now(),
                    "labels": {"kubernetes.io/metadata.name": name},
                },
                "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"},
            });
            write(&mut inner, Key::new(&resource::NAMESPACES, "", name), Some(namespace));
        }
        for (resource, mut object) in rbac::bootstrap() {
            object["metadata"]["uid"] = json!(new_uid());
            object["metadata"]["creationTimestamp"] = json!(now());
            let key = Key::of(resource, &object);
            write(&mut inner, key, Some(object));
        }
        inner.oldest = inner.revision;
        drop(inner);
        store
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One object.
    #[must_use]
    pub fn get(&self, key: &Key) -> Option<Arc<Value>> {
        self.lock().objects.get(key).cloned()
    }

    /// The objects of a resource in a namespace (empty: all), by namespace and name, and the revision of that view.
    #[must_use]
    pub fn list(&self, resource: &'static Resource, namespace: &str) -> (Vec<Arc<Value>>, u64) {
        let inner = self.lock();
        let found = inner.objects.iter().filter(|(key, _)| key.is_in(resource, namespace));
        (found.map(|(_, object)| Arc::clone(object)).collect(), inner.revision)
    }

    /// The revision of the latest write.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.lock().revision
    }

    /// The writes after `revision`, and the revision up to which they go.
    ///
    /// # Errors
    /// 410 when they are not all remembered; 504 when the revision has not been yet.
    pub fn changes_after(&self, revision: u64) -> Result<(Vec<Change>, u64), ApiError> {
        let inner = self.lock();
        if revision < inner.oldest {
            return Err(ApiError::expired(revision, inner.oldest));
        }
        if revision > inner.revision {
            return Err(ApiError::version_from_the_future(revision, inner.revision));
        }
        let first = inner.history.partition_point(|change| change.revision <= revision);
        Ok((inner.history.range(first..).cloned().collect(), inner.revision))
    }

    /// Wakes on every write.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Looks at all objects with nothing in between.
    pub fn view<T>(&self, look: impl FnOnce(&Objects) -> T) -> T {
        look(&self.lock().objects)
    }

    /// Reads and writes one object with nothing in between. `decide` sees the object, if there, and all others. What is
    /// stored gets the next resource version; an object that would not change is not written, and one that was to be
    /// deleted goes with its last finalizer. Removing an object removes what it owns, as the garbage collector would,
    /// and the budgets are counted anew, as the disruption controller would. With `dry` nothing is written at all.
    ///
    /// # Errors
    /// What `decide` answers.
    pub fn transact(
        &self,
        key: &Key,
        dry: bool,
        decide: impl FnOnce(Option<&Value>, &Objects) -> Result<Write, ApiError>,
    ) -> Result<Arc<Value>, ApiError> {
        let mut inner = self.lock();
        let before = inner.objects.get(key).cloned();
        let result = match (decide(before.as_deref(), &inner.objects)?, before) {
            (Write::Put(object), _) if dry => return Ok(Arc::new(object)),
            (Write::Keep, before) => return Ok(before.unwrap_or_default()),
            (_, before) if dry => return Ok(before.unwrap_or_default()),
            (Write::Put(object), Some(before)) if same_but_times(&object, &before) => return Ok(before),
            (Write::Put(object), Some(_)) if deletion::is_due(&object) => {
                remove(&mut inner, key);
                Arc::new(object)
            }
            (Write::Put(object), _) => write(&mut inner, key.clone(), Some(object)),
            (Write::Delete, Some(before)) => {
                remove(&mut inner, key);
                before
            }
            (Write::Delete, None) => Arc::new(Value::Null),
        };
        settle_budgets(&mut inner);
        let revision = inner.revision;
        drop(inner);
        self.changed.send_replace(revision);
        Ok(result)
    }

    /// Forgets all history: watches from before now answer 410. Those that run go on.
    pub fn compact(&self) {
        let mut inner = self.lock();
        inner.oldest = inner.revision;
        inner.history.clear();
    }

    /// Does something to all watches that run.
    pub fn interrupt(&self, how: Interruption) {
        self.interrupted.send_replace(Some(how));
    }

    /// Wakes on every interruption from now on.
    #[must_use]
    pub fn interruptions(&self) -> watch::Receiver<Option<Interruption>> {
        let mut receiver = self.interrupted.subscribe();
        receiver.mark_unchanged();
        receiver
    }

    /// Makes the disruption controller stand still or go on. While it stands still, budgets keep the status that they have.
    pub fn rest_budgets(&self, rest: bool) {
        let mut inner = self.lock();
        inner.budgets_rest = rest;
        settle_budgets(&mut inner);
        let revision = inner.revision;
        drop(inner);
        self.changed.send_replace(revision);
    }
}

fn settle_budgets(inner: &mut Inner) {
    if inner.budgets_rest {
        return;
    }
    for (key, budget) in disruption::outdated(&inner.objects, jiff::Timestamp::now()) {
        write(inner, key, Some(budget));
    }
}

fn write(inner: &mut Inner, key: Key, object: Option<Value>) -> Arc<Value> {
    inner.revision += 1;
    let revision = inner.revision;
    let before = inner.objects.remove(&key);
    let (after, result) = if let Some(mut object) = object {
        object["metadata"]["resourceVersion"] = Value::String(revision.to_string());
        let object = Arc::new(object);
        inner.objects.insert(key.clone(), Arc::clone(&object));
        (Some(Arc::clone(&object)), object)
    } else {
        (None, before.clone().unwrap_or_default())
    };
    inner.history.push_back(Change { revision, key, before, after });
    while inner.history.len() > HISTORY {
        if let Some(forgotten) = inner.history.pop_front() {
            inner.oldest = forgotten.revision;
        }
    }
    result
}

/// Takes an object away, and begins to delete what only it owned.
fn remove(inner: &mut Inner, key: &Key) {
    let gone = write(inner, key.clone(), None);
    let Some(owner) = gone.pointer("/metadata/uid").and_then(Value::as_str) else { return };
    let dependents: Vec<(Key, Arc<Value>)> = inner
        .objects
        .iter()
        .filter(|(_, object)| {
            let references = object.pointer("/metadata/ownerReferences").and_then(Value::as_array);
            references.is_some_and(|list| !list.is_empty() && list.iter().all(|reference| reference["uid"] == owner))
        })
        .map(|(key, object)| (key.clone(), Arc::clone(object)))
        .collect();
    for (key, object) in dependents {
        let Some(resource) = key.resource() else { continue };
        match deletion::begin(resource, &object, &deletion::Options::default(), jiff::Timestamp::now()) {
            Ok(Write::Put(object)) => drop(write(inner, key, Some(object))),
            Ok(Write::Delete) => remove(inner, &key),
            Ok(Write::Keep) | Err(_) => {}
        }
    }
}

/// Whether a write would change nothing that anyone asked for.
fn same_but_times(new: &Value, old: &Value) -> bool {
    let bare = |object: &Value| {
        let mut object = object.clone();
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("managedFields");
            metadata.remove("resourceVersion");
        }
        object
    };
    bare(new) == bare(old)
}

/// A random UID.
#[must_use]
pub fn new_uid() -> String {
    let mut bytes = [0_u8; 16];
    // An unreadable /dev/urandom would only make lab UIDs equal; reading it cannot fail on Linux after boot.
    if let Ok(mut source) = std::fs::File::open("/dev/urandom") {
        let _ = std::io::Read::read_exact(&mut source, &mut bytes);
    }
    uuid::Builder::from_random_bytes(bytes).into_uuid().to_string()
}

/// Now, as metadata has it.
#[must_use]
pub fn now() -> String {
    time(jiff::Timestamp::now())
}

/// A time as metadata has it: UTC, whole seconds.
#[must_use]
pub fn time(at: jiff::Timestamp) -> String {
    format!("{at:.0}")
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn put(store: &Store, name: &str, value: u32) -> String {
        let key = Key::new(&resource::NODES, "", name);
        let object = json!({"metadata": {"name": name, "uid": name}, "value": value});
        let stored = store.transact(&key, false, |_, _| Ok(Write::Put(object))).unwrap();
        stored["metadata"]["resourceVersion"].as_str().unwrap().to_owned()
    }

    #[test]
    fn revisions_grow_and_an_equal_write_is_none() {
        let store = Store::new(100);
        let start = store.revision();
        assert_eq!(put(&store, "a", 1), (start + 1).to_string());
        assert_eq!(put(&store, "a", 1), (start + 1).to_string());
        assert_eq!(put(&store, "a", 2), (start + 2).to_string());
        assert_eq!(store.revision(), start + 2);
    }

    #[test]
    fn history_is_bounded_and_says_so() {
        let store = Store::new(100);
        let start = store.revision();
        for value in 0..=u32::try_from(HISTORY).unwrap() {
            put(&store, "a", value);
        }
        assert_eq!(store.changes_after(start).unwrap_err(), ApiError::expired(start, start + 1));
        assert_eq!(store.changes_after(start + 1).unwrap().0.len(), HISTORY);
        let now = store.revision();
        assert_eq!(store.changes_after(now + 1).unwrap_err(), ApiError::version_from_the_future(now + 1, now));
    }

    #[test]
    fn a_node_takes_its_lease_with_it() {
        let store = Store::new(100);
        put(&store, "a", 1);
        let lease = Key::new(&resource::LEASES, "kube-node-lease", "a");
        let object = json!({"metadata": {"name": "a", "ownerReferences": [{"uid": "a"}]}});
        store.transact(&lease, false, |_, _| Ok(Write::Put(object))).unwrap();
        store.transact(&Key::new(&resource::NODES, "", "a"), false, |_, _| Ok(Write::Delete)).unwrap();
        assert_eq!(store.get(&lease), None);
    }
}
