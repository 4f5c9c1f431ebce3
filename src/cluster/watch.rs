//! The cluster's nodes, followed by watches on nodes and leases.

use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use futures_util::{Stream, StreamExt as _};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Node;
use kube::api::Api;
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt as _, watcher as watch};

use super::{LEASES, NodeStatus, Nodes, lock};

/// What the watches saw last.
#[derive(Default)]
struct Seen {
    nodes: Nodes,
    /// Why the last request failed, until one succeeds.
    trouble: Option<String>,
}

#[derive(Default)]
struct Shared {
    seen: Mutex<Seen>,
    changed: Condvar,
}

/// Follows the cluster's nodes in the background; dropping it ends that.
pub struct Watch {
    shared: Arc<Shared>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
    /// Keeps the tasks' runtime.
    _runtime: Arc<tokio::runtime::Runtime>,
}

impl Watch {
    pub(super) fn start(client: kube::Client, runtime: &Arc<tokio::runtime::Runtime>) -> Self {
        let shared = Arc::new(Shared::default());
        let nodes: Api<Node> = Api::all(client.clone());
        let leases: Api<Lease> = Api::namespaced(client, LEASES);
        let config = watcher::Config::default();
        let tasks = vec![
            runtime.spawn(follow(watch(nodes, config.clone()).default_backoff(), shared.clone(), node_event)),
            runtime.spawn(follow(watch(leases, config).default_backoff(), shared.clone(), lease_event)),
        ];
        Self { shared, tasks, _runtime: runtime.clone() }
    }

    /// The node as it was last seen.
    pub fn node(&self, name: &str) -> Option<NodeStatus> {
        lock(&self.shared.seen).nodes.get(name).filter(|node| !node.name.is_empty()).cloned()
    }

    /// All nodes as they were last seen.
    pub fn nodes(&self) -> Nodes {
        let seen = lock(&self.shared.seen);
        let named = seen.nodes.iter().filter(|(_, node)| !node.name.is_empty());
        named.map(|(name, node)| (name.clone(), node.clone())).collect()
    }

    /// Why the apiserver cannot be followed right now.
    pub fn trouble(&self) -> Option<String> {
        lock(&self.shared.seen).trouble.clone()
    }

    /// Waits until the node is seen otherwise than `seen`, at most as long as `limit`.
    pub fn changed(&self, name: &str, seen: Option<&NodeStatus>, limit: Duration) {
        let same = |now: &mut Seen| now.nodes.get(name).filter(|node| !node.name.is_empty()) == seen;
        let guard = lock(&self.shared.seen);
        drop(self.shared.changed.wait_timeout_while(guard, limit, same));
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.tasks.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

async fn follow<K>(
    stream: impl Stream<Item = watcher::Result<Event<K>>>,
    shared: Arc<Shared>,
    take: fn(&mut Nodes, Event<K>),
) {
    let mut stream = std::pin::pin!(stream);
    while let Some(event) = stream.next().await {
        let mut seen = lock(&shared.seen);
        match event {
            Ok(event) => {
                take(&mut seen.nodes, event);
                seen.trouble = None;
            }
            Err(error) => seen.trouble = Some(crate::error::chain(&error)),
        }
        drop(seen);
        shared.changed.notify_all();
    }
}

fn node_event(nodes: &mut Nodes, event: Event<Node>) {
    match event {
        Event::Apply(node) | Event::InitApply(node) => {
            nodes.entry(node.metadata.name.clone().unwrap_or_default()).or_default().take_node(&node);
        }
        Event::Delete(node) => {
            nodes.remove(node.metadata.name.as_deref().unwrap_or_default());
        }
        Event::Init | Event::InitDone => {}
    }
}

fn lease_event(nodes: &mut Nodes, event: Event<Lease>) {
    if let Event::Apply(lease) | Event::InitApply(lease) = event {
        nodes.entry(lease.metadata.name.clone().unwrap_or_default()).or_default().take_lease(&lease);
    }
}
