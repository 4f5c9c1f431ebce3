//! Objects of one kind, followed by a watch.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use futures_util::{Stream, StreamExt as _};
use kube::runtime::watcher::{self, Event};

use super::lock;

/// Rung whenever anything that is followed has changed.
#[derive(Default)]
pub(super) struct Bell {
    count: Mutex<u64>,
    rung: Condvar,
}

impl Bell {
    fn ring(&self) {
        *lock(&self.count) += 1;
        self.rung.notify_all();
    }

    /// How often it was rung.
    pub(super) fn count(&self) -> u64 {
        *lock(&self.count)
    }

    /// Waits until it is rung once more than `seen`, at most until `end`.
    pub(super) fn wait(&self, seen: u64, end: Instant) {
        let left = end.saturating_duration_since(Instant::now());
        drop(self.rung.wait_timeout_while(lock(&self.count), left, |count| *count == seen));
    }
}

/// What a watch saw last.
struct Seen<T> {
    items: BTreeMap<String, T>,
    /// A list that has begun: whatever is not in it is gone when it is at its end.
    listing: Option<BTreeMap<String, T>>,
    complete: bool,
    /// Why the last request failed, until one succeeds.
    trouble: Option<String>,
}

impl<T> Seen<T> {
    fn new() -> Self {
        Self { items: BTreeMap::new(), listing: None, complete: false, trouble: None }
    }

    fn take<K>(&mut self, event: Event<K>, read: impl Fn(K) -> (String, T)) {
        match event {
            Event::Init => self.listing = Some(BTreeMap::new()),
            Event::InitApply(object) => {
                self.listing.get_or_insert_default().extend([read(object)]);
            }
            Event::InitDone => {
                self.items = self.listing.take().unwrap_or_default();
                self.complete = true;
            }
            Event::Apply(object) => self.items.extend([read(object)]),
            Event::Delete(object) => {
                self.items.remove(&read(object).0);
            }
        }
        self.trouble = None;
    }
}

/// Follows objects in the background; dropping it ends that.
pub(super) struct Followed<T> {
    seen: Arc<Mutex<Seen<T>>>,
    task: tokio::task::JoinHandle<()>,
}

impl<T: Clone + Send + 'static> Followed<T> {
    /// `read` gives each object its key and what is kept of it.
    pub(super) fn start<K: Send + 'static>(
        runtime: &tokio::runtime::Runtime,
        bell: Arc<Bell>,
        stream: impl Stream<Item = watcher::Result<Event<K>>> + Send + 'static,
        read: impl Fn(K) -> (String, T) + Send + 'static,
    ) -> Self {
        let seen = Arc::new(Mutex::new(Seen::new()));
        let shared = seen.clone();
        let task = runtime.spawn(async move {
            let mut stream = std::pin::pin!(stream);
            while let Some(event) = stream.next().await {
                match event {
                    Ok(event) => lock(&shared).take(event, &read),
                    Err(error) => lock(&shared).trouble = Some(crate::error::chain(&error)),
                }
                bell.ring();
            }
        });
        Self { seen, task }
    }

    pub(super) fn get(&self, key: &str) -> Option<T> {
        lock(&self.seen).items.get(key).cloned()
    }

    /// All that there is; none before all of it has been seen once.
    pub(super) fn all(&self) -> Option<BTreeMap<String, T>> {
        let seen = lock(&self.seen);
        seen.complete.then(|| seen.items.clone())
    }

    /// Why the apiserver cannot be followed right now.
    pub(super) fn trouble(&self) -> Option<String> {
        lock(&self.seen).trouble.clone()
    }

    /// All that there is, waited for at most as long as `limit`; else why it cannot be had.
    pub(super) fn first(&self, bell: &Bell, limit: Duration) -> Result<BTreeMap<String, T>, Option<String>> {
        let end = Instant::now() + limit;
        loop {
            let count = bell.count();
            if let Some(all) = self.all() {
                return Ok(all);
            }
            if Instant::now() >= end {
                return Err(self.trouble());
            }
            bell.wait(count, end);
        }
    }
}

impl<T> Drop for Followed<T> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_new_list_lacks_is_gone() {
        let mut seen = Seen::new();
        let read = |name: &'static str| (name.to_owned(), ());
        let names = |seen: &Seen<()>| seen.items.keys().cloned().collect::<Vec<_>>();
        for event in [Event::Init, Event::InitApply("a"), Event::InitApply("b")] {
            seen.take(event, read);
        }
        assert_eq!((names(&seen), seen.complete), (vec![], false));
        seen.take(Event::InitDone, read);
        seen.take(Event::Apply("c"), read);
        seen.take(Event::Delete("a"), read);
        assert_eq!((names(&seen), seen.complete), (vec!["b".to_owned(), "c".to_owned()], true));
        // The watch was cut off, and what happened meanwhile is known from a list alone.
        for event in [Event::Init, Event::InitApply("c"), Event::InitApply("d"), Event::InitDone] {
            seen.take(event, read);
        }
        assert_eq!(names(&seen), ["c", "d"]);
    }
}
