//! The objects, in memory, with one revision counter over all of them and a bounded history for watches.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use tokio::sync::watch;

use super::resource::{self, Resource};
use super::status::ApiError;

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
}

/// The store.
#[derive(Debug)]
pub struct Store {
    inner: Mutex<Inner>,
    changed: watch::Sender<u64>,
}

impl Store {
    /// A store with the namespaces that every cluster has. `first_revision` must grow from start to start, so that a
    /// resource version of an earlier run is too old rather than wrong: seconds since the epoch do.
    #[must_use]
    pub fn new(first_revision: u64) -> Self {
        let store = Self {
            inner: Mutex::new(Inner {
                revision: first_revision,
                oldest: first_revision,
                objects: Objects::new(),
                history: VecDeque::new(),
            }),
            changed: watch::channel(first_revision).0,
        };
        for name in ["default", "kube-node-lease", "kube-public", "kube-system"] {
            let namespace = json!({
                "kind": "Namespace", "apiVersion": "v1",
                "metadata": {
                    "name": name, "uid": new_uid(), "creationTimestamp": now(),
                    "labels": {"kubernetes.io/metadata.name": name},
                },
                "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"},
            });
            let mut inner = store.lock();
            write(&mut inner, Key::new(&resource::NAMESPACES, "", name), Some(namespace));
            inner.oldest = inner.revision;
        }
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

    /// Reads and writes one object with nothing in between. `decide` sees the object, if there, and all others. What is
    /// stored gets the next resource version; an object that would not change is not written. Removing a Node removes
    /// what it owns (its lease), as the garbage collector would.
    ///
    /// # Errors
    /// What `decide` answers.
    pub fn transact(
        &self,
        key: &Key,
        decide: impl FnOnce(Option<&Value>, &Objects) -> Result<Write, ApiError>,
    ) -> Result<Arc<Value>, ApiError> {
        let mut inner = self.lock();
        let before = inner.objects.get(key).cloned();
        let result = match (decide(before.as_deref(), &inner.objects)?, before) {
            (Write::Put(object), Some(before)) if same_but_times(&object, &before) => before,
            (Write::Put(object), _) => write(&mut inner, key.clone(), Some(object)),
            (Write::Delete, Some(before)) => {
                write(&mut inner, key.clone(), None);
                collect_dependents(&mut inner, before.pointer("/metadata/uid").and_then(Value::as_str));
                before
            }
            (Write::Delete, None) => Arc::new(Value::Null),
        };
        let revision = inner.revision;
        drop(inner);
        self.changed.send_replace(revision);
        Ok(result)
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

fn collect_dependents(inner: &mut Inner, owner: Option<&str>) {
    let Some(owner) = owner else { return };
    let dependents: Vec<Key> = inner
        .objects
        .iter()
        .filter(|(_, object)| {
            let references = object.pointer("/metadata/ownerReferences").and_then(Value::as_array);
            references.is_some_and(|list| !list.is_empty() && list.iter().all(|reference| reference["uid"] == owner))
        })
        .map(|(key, _)| key.clone())
        .collect();
    for key in dependents {
        write(inner, key, None);
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

/// Now, as metadata has it: UTC, whole seconds.
#[must_use]
pub fn now() -> String {
    format!("{:.0}", jiff::Timestamp::now())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn put(store: &Store, name: &str, value: u32) -> String {
        let key = Key::new(&resource::NODES, "", name);
        let object = json!({"metadata": {"name": name, "uid": name}, "value": value});
        let stored = store.transact(&key, |_, _| Ok(Write::Put(object))).unwrap();
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
        store.transact(&lease, |_, _| Ok(Write::Put(object))).unwrap();
        store.transact(&Key::new(&resource::NODES, "", "a"), |_, _| Ok(Write::Delete)).unwrap();
        assert_eq!(store.get(&lease), None);
    }
}
