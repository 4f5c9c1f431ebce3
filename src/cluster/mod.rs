//! The Kubernetes API: which nodes are in the cluster. `kube` and its runtime stay in here.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Node;
use kube::api::{Api, ListParams};
use kube::config::{KubeConfigOptions, Kubeconfig};

mod authority;
mod binding;
mod drain;
mod followed;
mod metadata;
mod rights;
mod standing;
mod tenants;
mod watch;

pub use binding::{Binding, Binds};
pub use drain::{Drain, DrainError, Watching};
pub use metadata::Metadata;
pub use rights::{Caller, May, Right, Task};
pub use standing::{Cordon, Kept, Standing};
pub use tenants::{Allowed, Obstacle, Tenant};
pub use watch::Watch;

/// How long one request to the apiserver may take.
const REQUEST_LIMIT: Duration = Duration::from_secs(20);

/// How long is waited before a request is made again that may be granted then.
const PAUSES: [Duration; 4] =
    [Duration::from_millis(200), Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4)];

/// However long the apiserver asks for.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// How long a lease counts as alive, in seconds: `nodeLeaseDurationSeconds` of the kubelet.
const LEASE_SECONDS: i64 = 40;

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
        source: Complaint,
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
        source: Refusal,
    },
    /// The apiserver did not answer in time.
    #[error("asking the apiserver for {what}: no answer in {} s", REQUEST_LIMIT.as_secs())]
    Silent {
        /// What was asked for.
        what: &'static str,
    },
}

/// What the client says of a request. Of the way to the apiserver it would say twice that it was the way that failed.
#[derive(Debug)]
pub struct Refusal(Box<kube::Error>);

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            kube::Error::Service(way) => way.fmt(f),
            kube::Error::HyperError(way) => way.fmt(f),
            error => error.fmt(f),
        }
    }
}

impl std::error::Error for Refusal {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &*self.0 {
            kube::Error::Service(way) => way.source(),
            kube::Error::HyperError(way) => way.source(),
            error => error.source(),
        }
    }
}

/// What the client says of a kubeconfig, without the lines of that file which it shows: a token may stand there.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Complaint(String);

impl Complaint {
    fn of(error: &(dyn std::error::Error + 'static)) -> Self {
        let text = crate::error::chain(error);
        Self(text.split("\n -->").next().unwrap_or_default().to_owned())
    }
}

impl ClusterError {
    /// The apiserver's answer, where it gave one.
    fn status(&self) -> Option<&kube::core::Status> {
        match self {
            Self::Request { source, .. } => match &*source.0 {
                kube::Error::Api(status) => Some(status),
                _ => None,
            },
            _ => None,
        }
    }

    /// What went wrong, for a line of a terminal: the apiserver's own words where it refused.
    pub fn said(&self) -> String {
        let words = self.status().map(|status| format!("the apiserver answers: {}", status.message));
        crate::printable::line(&words.unwrap_or_else(|| crate::error::chain(self)))
    }

    /// Whether this user may not do that.
    fn is_forbidden(&self) -> bool {
        self.status().is_some_and(|status| status.code == 403)
    }

    /// Whether somebody else changed the same object meanwhile, or it is another one than was meant.
    fn is_conflict(&self) -> bool {
        self.status().is_some_and(|status| status.code == 409)
    }

    /// Whether the object is not there.
    fn is_missing(&self) -> bool {
        self.status().is_some_and(|status| status.code == 404)
    }

    /// How long the apiserver asks to wait (`Retry-After`, which it gives in the status as well).
    fn retry_after(&self) -> Option<Duration> {
        let seconds = self.status()?.details.as_ref()?.retry_after_seconds;
        (seconds > 0).then(|| Duration::from_secs(seconds.into()))
    }

    /// Whether the same request may be granted a moment later.
    fn is_passing(&self) -> bool {
        match self {
            Self::Request { .. } => self.status().is_none_or(|status| status.code == 429 || status.code >= 500),
            Self::Silent { .. } => true,
            Self::NoKubeconfig { .. } | Self::Kubeconfig { .. } | Self::Runtime(_) => false,
        }
    }

    /// Whether the apiserver has a certificate that none of the kubeconfig's CAs has signed.
    fn is_distrust(&self) -> bool {
        // The client keeps what the TLS library says as a text alone.
        matches!(self, Self::Request { .. }) && crate::error::chain(self).ends_with("certificate: UnknownIssuer")
    }

    /// Whether it takes a look at several things to know why there is no answer.
    pub fn has_several_causes(&self) -> bool {
        matches!(self, Self::Request { .. } | Self::Silent { .. }) && !self.is_distrust()
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
            _ if self.is_distrust() => {
                "the apiserver's certificate is not signed by the CA in the kubeconfig: put that cluster's CA into the pki \
                 folder and run `nodebake kubeconfig`, or correct cluster.apiServer"
                    .to_owned()
            }
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
    /// Further ones of that type, as a node with IPv4 and IPv6 has.
    pub other_ips: Vec<String>,
    /// The kernel's id of the boot that the kubelet last reported.
    pub boot_id: String,
    /// When the kubelet's lease was last renewed, seconds since the epoch by the node's clock.
    pub lease_renewed: Option<i64>,
    /// Whether pods are kept off it, and by whom.
    pub cordon: Cordon,
    /// Why it is not Ready, as its kubelet says it; empty where nothing is said.
    pub not_ready: String,
    /// What somebody gave it by hand.
    pub by_hand: Kept,
}

impl NodeStatus {
    /// Whether the kubelet of this very boot is in the cluster. A Node object that an earlier machine of that name left
    /// behind has another bootID, and a lease from before the boot.
    pub fn registered(&self, boot_id: &uuid::Uuid, booted: i64) -> bool {
        self.boot_id == boot_id.to_string() && self.lease_renewed.is_some_and(|renewed| renewed > booted)
    }

    /// As kubectl shows it: `Ready`, `NotReady,SchedulingDisabled`.
    pub fn summary(&self) -> String {
        let ready = if self.ready { "Ready" } else { "NotReady" };
        let cordoned = if self.cordon == Cordon::Open { "" } else { ",SchedulingDisabled" };
        format!("{ready}{cordoned}")
    }

    /// Whether its kubelet was heard a moment ago; `now` in seconds since the epoch.
    pub fn is_alive(&self, now: i64) -> bool {
        self.lease_renewed.is_some_and(|renewed| renewed + LEASE_SECONDS > now)
    }

    /// Whether it is one of its addresses in the cluster.
    pub fn has_address(&self, address: std::net::IpAddr) -> bool {
        std::iter::once(&self.internal_ip).chain(&self.other_ips).any(|own| own.parse() == Ok(address))
    }

    fn of(node: &Node) -> Self {
        let labels = node.metadata.labels.iter().flatten();
        let status = node.status.clone().unwrap_or_default();
        let info = status.node_info.unwrap_or_default();
        let conditions = status.conditions.unwrap_or_default();
        let addresses = status.addresses.into_iter().flatten();
        let mut addresses = addresses.filter(|address| address.type_ == "InternalIP").map(|address| address.address);
        let ready = conditions.iter().find(|condition| condition.type_ == "Ready");
        let is_ready = ready.is_some_and(|condition| condition.status == "True");
        Self {
            name: node.metadata.name.clone().unwrap_or_default(),
            ready: is_ready,
            roles: labels.filter_map(|(key, _)| key.strip_prefix("node-role.kubernetes.io/")).map(Into::into).collect(),
            created: node.metadata.creation_timestamp.as_ref().map(|time| time.0.as_second()),
            version: info.kubelet_version,
            internal_ip: addresses.next().unwrap_or_default(),
            other_ips: addresses.collect(),
            boot_id: info.boot_id,
            lease_renewed: None,
            cordon: Cordon::of(node),
            not_ready: ready.filter(|_| !is_ready).and_then(|it| it.message.clone()).unwrap_or_default(),
            by_hand: Kept::of(node),
        }
    }
}

fn lease_renewed(lease: &Lease) -> Option<i64> {
    let renewed = lease.spec.as_ref().and_then(|spec| spec.renew_time.as_ref());
    renewed.map(|time| time.0.as_second())
}

/// Nodes by name.
pub type Nodes = BTreeMap<String, NodeStatus>;

/// A client of one cluster's API.
#[derive(Clone)]
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
        let unusable = |error: Box<dyn std::error::Error + Send + Sync>| ClusterError::Kubeconfig {
            path: kubeconfig.to_owned(),
            source: Complaint::of(&*error),
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .map_err(ClusterError::Runtime)?;
        let file = Kubeconfig::read_from(kubeconfig).map_err(|error| unusable(Box::new(error)))?;
        let client = runtime
            .block_on(async {
                let mut config = kube::Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?;
                // The client would wait for as long as the apiserver asks, and say nothing: an eviction that a budget forbids
                // would be no news for half a minute.
                config.default_retry = false;
                Ok::<_, Box<dyn std::error::Error + Send + Sync>>(kube::Client::try_from(config)?)
            })
            .map_err(unusable)?;
        Ok(Self { client, runtime: Arc::new(runtime) })
    }

    /// The cluster's nodes with their leases, as they are now.
    pub fn nodes(&self) -> Result<Nodes, ClusterError> {
        let mut nodes = Nodes::new();
        let all: Api<Node> = Api::all(self.client.clone());
        // Who does not answer at all is told at once.
        let everything = ListParams::default();
        let busy = |error: &ClusterError| error.status().is_some() && error.is_passing();
        for node in self.again("nodes", || all.list(&everything), busy)? {
            nodes.insert(node.metadata.name.clone().unwrap_or_default(), NodeStatus::of(&node));
        }
        let leases: Api<Lease> = Api::namespaced(self.client.clone(), LEASES);
        for lease in self.again("node leases", || leases.list(&everything), busy)? {
            if let Some(node) = nodes.get_mut(lease.metadata.name.as_deref().unwrap_or_default()) {
                node.lease_renewed = lease_renewed(&lease);
            }
        }
        Ok(nodes)
    }

    fn ask<T>(
        &self,
        what: &'static str,
        request: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<T, ClusterError> {
        tracing::debug!("asking the apiserver: {what}");
        match self.runtime.block_on(async { tokio::time::timeout(REQUEST_LIMIT, request).await }) {
            Ok(answer) => answer.map_err(|source| ClusterError::Request { what, source: Refusal(Box::new(source)) }),
            Err(_) => Err(ClusterError::Silent { what }),
        }
    }

    /// The same, asked again where the answer may be another one a moment later.
    fn persist<T, R: Future<Output = Result<T, kube::Error>>>(
        &self,
        what: &'static str,
        request: impl Fn() -> R,
    ) -> Result<T, ClusterError> {
        self.again(what, request, ClusterError::is_passing)
    }

    /// The same, asked again after the errors that `passing` names.
    fn again<T, R: Future<Output = Result<T, kube::Error>>>(
        &self,
        what: &'static str,
        request: impl Fn() -> R,
        passing: impl Fn(&ClusterError) -> bool,
    ) -> Result<T, ClusterError> {
        let mut pauses = PAUSES.iter();
        loop {
            match (self.ask(what, request()), pauses.next()) {
                (Err(error), Some(pause)) if passing(&error) => {
                    let pause = error.retry_after().unwrap_or(*pause).min(LONGEST_PAUSE);
                    tracing::debug!("{}: asking again in {pause:?}", crate::error::chain(&error));
                    std::thread::sleep(pause);
                }
                (result, _) => return result,
            }
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
