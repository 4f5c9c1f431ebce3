//! The cluster's nodes, followed by watches on nodes and leases.

use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Node;
use kube::api::Api;
use kube::runtime::{WatchStreamExt as _, watcher};

use super::followed::{Bell, Followed};
use super::{LEASES, NodeStatus, Nodes, lease_renewed};

/// Follows the cluster's nodes in the background; dropping it ends that.
pub struct Watch {
    nodes: Followed<NodeStatus>,
    leases: Followed<Option<i64>>,
    bell: Arc<Bell>,
    /// Keeps the watches' runtime.
    _runtime: Arc<tokio::runtime::Runtime>,
}

impl Watch {
    pub(super) fn start(client: kube::Client, runtime: &Arc<tokio::runtime::Runtime>) -> Self {
        let bell = Arc::<Bell>::default();
        let nodes: Api<Node> = Api::all(client.clone());
        let leases: Api<Lease> = Api::namespaced(client, LEASES);
        let config = watcher::Config::default();
        let node_events = watcher(nodes, config.clone()).default_backoff();
        let lease_events = watcher(leases, config).default_backoff();
        Self {
            nodes: Followed::start(runtime, bell.clone(), node_events, |node: Node| {
                (node.metadata.name.clone().unwrap_or_default(), NodeStatus::of(&node))
            }),
            leases: Followed::start(runtime, bell.clone(), lease_events, |lease: Lease| {
                (lease.metadata.name.clone().unwrap_or_default(), lease_renewed(&lease))
            }),
            bell,
            _runtime: runtime.clone(),
        }
    }

    /// The node as it was last seen.
    pub fn node(&self, name: &str) -> Option<NodeStatus> {
        let node = self.nodes.get(name)?;
        Some(NodeStatus { lease_renewed: self.leases.get(name).flatten(), ..node })
    }

    /// All nodes as they were last seen.
    pub fn nodes(&self) -> Nodes {
        let nodes = self.nodes.all().unwrap_or_default().into_keys();
        nodes.filter_map(|name| Some((name.clone(), self.node(&name)?))).collect()
    }

    /// Why the apiserver cannot be followed right now.
    pub fn trouble(&self) -> Option<String> {
        self.nodes.trouble().or_else(|| self.leases.trouble())
    }

    /// Waits until the node is seen otherwise than `seen`, at most as long as `limit`.
    pub fn changed(&self, name: &str, seen: Option<&NodeStatus>, limit: Duration) {
        let end = Instant::now() + limit;
        loop {
            let count = self.bell.count();
            if self.node(name).as_ref() != seen || Instant::now() >= end {
                return;
            }
            self.bell.wait(count, end);
        }
    }
}
