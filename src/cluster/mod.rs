//! The Kubernetes API: which nodes are in the cluster. `kube` and its runtime stay in here.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Node;
use kube::api::{Api, ListParams};
use kube::config::{KubeConfigOptions, Kubeconfig};

mod metadata;
mod watch;

pub use metadata::Metadata;
pub use watch::Watch;

/// How long one request to the apiserver may take.
const REQUEST_LIMIT: Duration = Duration::from_secs(20);

/// Namespace of the kubelets' leases.
const LEASES: &str = "kube-node-lease";

/// Why the cluster's API could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// The kubeconfig file is not there.
    #[error("kubeconfig {path} is not there")]
    NoKubeconfig {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The kubeconfig cannot be read or used.
    #[error("kubeconfig {path}")]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The runtime for the client could not start.
    #[error("starting the client of the cluster's API")]
    Runtime(#[source] std::io::Error),
    /// The apiserver did not answer, or refused.
    #[error("asking the apiserver for {what}")]
    Request {
        /// What was asked for.
        what: &'static str,
        /// What the client says.
        source: Box<kube::Error>,
    },
    /// The apiserver did not answer in time.
    #[error("asking the apiserver for {what}: no answer in {} s", REQUEST_LIMIT.as_secs())]
    Silent {
        /// What was asked for.
        what: &'static str,
    },
}

impl ClusterError {
    /// Whether somebody else changed the same object meanwhile.
    fn is_conflict(&self) -> bool {
        matches!(self, Self::Request { source, .. } if matches!(&**source, kube::Error::Api(status) if status.code == 409))
    }

    /// What the user can do.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NoKubeconfig { path } => format!(
                "run `nodebake kubeconfig` to make {}, or remove cluster.kubeconfig from the cluster file to stop at \
                 \"kubelet active\"",
                path.display()
            ),
            Self::Kubeconfig { .. } => "cluster.kubeconfig must name a kubeconfig of an administrator".to_owned(),
            Self::Runtime(_) => return None,
            Self::Request { .. } | Self::Silent { .. } => {
                "check that the apiserver in the kubeconfig runs and can be reached from here, and that its user may \
                 list nodes and leases"
                    .to_owned()
            }
        })
    }
}

/// A node as the cluster sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeStatus {
    /// Name of the Node object.
    pub name: String,
    /// Condition Ready is True.
    pub ready: bool,
    /// From the node-role labels, sorted.
    pub roles: Vec<String>,
    /// When the Node object was made, seconds since the epoch.
    pub created: Option<i64>,
    /// The kubelet's version.
    pub version: String,
    /// Address of type `InternalIP`.
    pub internal_ip: String,
    /// The kernel's id of the boot that the kubelet last reported.
    pub boot_id: String,
    /// When the kubelet's lease was last renewed, seconds since the epoch by the node's clock.
    pub lease_renewed: Option<i64>,
}

impl NodeStatus {
    /// Whether the kubelet of this very boot is in the cluster. A Node object that an earlier machine of that name left
    /// behind has another bootID, and a lease from before the boot.
    pub fn registered(&self, boot_id: &uuid::Uuid, booted: i64) -> bool {
        self.boot_id == boot_id.to_string() && self.lease_renewed.is_some_and(|renewed| renewed > booted)
    }

    fn take_node(&mut self, node: &Node) {
        let labels = node.metadata.labels.iter().flatten();
        let status = node.status.clone().unwrap_or_default();
        let info = status.node_info.unwrap_or_default();
        let conditions = status.conditions.unwrap_or_default();
        let mut addresses = status.addresses.into_iter().flatten();
        self.name = node.metadata.name.clone().unwrap_or_default();
        self.ready = conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True");
        self.roles =
            labels.filter_map(|(key, _)| key.strip_prefix("node-role.kubernetes.io/")).map(Into::into).collect();
        self.created = node.metadata.creation_timestamp.as_ref().map(|time| time.0.as_second());
        self.version = info.kubelet_version;
        self.internal_ip = addresses.find(|a| a.type_ == "InternalIP").map(|a| a.address).unwrap_or_default();
        self.boot_id = info.boot_id;
    }

    fn take_lease(&mut self, lease: &Lease) {
        let renewed = lease.spec.as_ref().and_then(|spec| spec.renew_time.as_ref());
        self.lease_renewed = renewed.map(|time| time.0.as_second());
    }
}

/// Nodes by name.
pub type Nodes = BTreeMap<String, NodeStatus>;

/// A client of one cluster's API.
pub struct Cluster {
    client: kube::Client,
    runtime: Arc<tokio::runtime::Runtime>,
}

impl Cluster {
    /// Reads the kubeconfig; nothing is asked yet.
    pub fn open(kubeconfig: &Path) -> Result<Self, ClusterError> {
        if !kubeconfig.exists() {
            return Err(ClusterError::NoKubeconfig { path: kubeconfig.to_owned() });
        }
        let unusable = |source: Box<dyn std::error::Error + Send + Sync>| ClusterError::Kubeconfig {
            path: kubeconfig.to_owned(),
            source,
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .map_err(ClusterError::Runtime)?;
        let file = Kubeconfig::read_from(kubeconfig).map_err(|error| unusable(Box::new(error)))?;
        let client = runtime
            .block_on(async {
                let config = kube::Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?;
                Ok::<_, Box<dyn std::error::Error + Send + Sync>>(kube::Client::try_from(config)?)
            })
            .map_err(unusable)?;
        Ok(Self { client, runtime: Arc::new(runtime) })
    }

    /// The cluster's nodes with their leases, as they are now.
    pub fn nodes(&self) -> Result<Nodes, ClusterError> {
        let mut nodes = Nodes::new();
        let all: Api<Node> = Api::all(self.client.clone());
        for node in self.ask("nodes", all.list(&ListParams::default()))? {
            nodes.entry(node.metadata.name.clone().unwrap_or_default()).or_default().take_node(&node);
        }
        let leases: Api<Lease> = Api::namespaced(self.client.clone(), LEASES);
        for lease in self.ask("node leases", leases.list(&ListParams::default()))? {
            if let Some(node) = nodes.get_mut(lease.metadata.name.as_deref().unwrap_or_default()) {
                node.take_lease(&lease);
            }
        }
        Ok(nodes)
    }

    fn ask<T>(
        &self,
        what: &'static str,
        request: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<T, ClusterError> {
        match self.runtime.block_on(async { tokio::time::timeout(REQUEST_LIMIT, request).await }) {
            Ok(answer) => answer.map_err(|source| ClusterError::Request { what, source: Box::new(source) }),
            Err(_) => Err(ClusterError::Silent { what }),
        }
    }

    /// Follows the cluster's nodes until the [`Watch`] is dropped.
    pub fn watch(&self) -> Watch {
        Watch::start(self.client.clone(), &self.runtime)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_node_is_not_registered() {
        let boot = uuid::Uuid::from_u128(7);
        let node = |boot_id: &uuid::Uuid, lease_renewed| NodeStatus {
            boot_id: boot_id.to_string(),
            lease_renewed,
            ..NodeStatus::default()
        };
        let other = uuid::Uuid::from_u128(8);
        for (status, wanted) in [
            (node(&boot, Some(101)), true),
            (node(&boot, Some(100)), false),
            (node(&boot, None), false),
            (node(&other, Some(101)), false),
        ] {
            assert_eq!(status.registered(&boot, 100), wanted, "{status:?}");
        }
    }
}
