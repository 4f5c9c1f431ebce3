//! What is there: read from the hypervisor and the cluster before anything is decided.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::Move;
use crate::cluster::{Cordon, Kept, Metadata, NodeStatus, Nodes};
use crate::config::{Config, HypervisorName, Node, NodeName};
use crate::machine::{DomainInfo, Hypervisor, MachineError, Mark, MarkState, NetworkInfo, PoolInfo, VolumeInfo};

/// Everything that a plan depends on and that others may change.
#[derive(Debug, Clone)]
pub struct Inventory {
    /// The workers' network, if it exists.
    pub network: Option<NetworkInfo>,
    /// Those networks that nodes have further cards on, as far as they exist, by name.
    pub further: Vec<NetworkInfo>,
    /// The pool for images and disks, if it exists.
    pub pool: Option<PoolInfo>,
    /// The pool for logs, if it exists.
    pub log_pool: Option<PoolInfo>,
    /// Volumes of the pool; none while it is not active.
    pub volumes: Vec<VolumeInfo>,
    /// Volumes of the log pool.
    pub log_volumes: Vec<VolumeInfo>,
    /// All domains of the host.
    pub domains: Vec<DomainInfo>,
    /// Nodes of the cluster; `None` without a kubeconfig.
    pub nodes: Option<Nodes>,
    /// The hypervisor that all this is of, where there are several.
    pub site: Option<HypervisorName>,
    /// Nodes of this hypervisor that are on their way, and what they have at another one.
    pub moves: BTreeMap<NodeName, Move>,
    /// Nodes of the cluster file that belong to other hypervisors: what this one has of them goes, but a machine.
    pub elsewhere: BTreeSet<NodeName>,
}

/// Name of the pool that holds logs: a pool of their own, since only an idle pool can be refreshed and logs are read
/// while images are uploaded.
pub fn log_pool(pool: &str) -> String {
    format!("{pool}-logs")
}

/// The libvirt networks that a node has further cards on.
pub(super) fn further_networks(node: &Node) -> impl Iterator<Item = &str> {
    node.settings.machine.nics.values().filter_map(|nic| nic.source.network())
}

impl Inventory {
    /// Whether the cluster has heard of the node a moment ago; `now` in seconds since the epoch.
    pub fn is_alive(&self, node: &NodeName, now: i64) -> bool {
        self.node(node).is_some_and(|node| node.is_alive(now))
    }

    /// Whether the cluster knows the node.
    pub fn is_in_cluster(&self, name: &NodeName) -> bool {
        self.node(name).is_some()
    }

    fn node(&self, name: &NodeName) -> Option<&NodeStatus> {
        self.nodes.as_ref()?.get(&name.to_string())
    }

    /// Whether we keep pods off the node.
    pub(super) fn cordoned(&self, name: &NodeName) -> bool {
        self.node(name).is_some_and(|node| node.cordon == Cordon::Ours)
    }

    /// What the node was given by hand, beside what the cluster file gives it.
    pub(super) fn by_hand(&self, node: &Node) -> Kept {
        let given = Metadata::of(&node.settings);
        self.node(&node.name).map(|seen| seen.by_hand.beside(&given)).unwrap_or_default()
    }

    /// Whether the boot that a machine reported last is the one that its Node in the cluster has.
    pub(super) fn has_boot(&self, mark: &Mark) -> bool {
        let node = self.node(&mark.node);
        mark.boot_id.is_some() && node.map(|node| &node.boot_id) == mark.boot_id.as_ref()
    }

    /// Whether the machine's running boot is known to be in the cluster.
    pub(super) fn is_registered(&self, domain: &DomainInfo) -> bool {
        let Some(mark) = domain.mark() else { return false };
        mark.state == MarkState::Registered && mark.stage.is_none() && (self.nodes.is_none() || self.has_boot(mark))
    }

    /// The workers' network; on a bridge they use none of libvirt's.
    pub fn network(config: &Config, hypervisor: &dyn Hypervisor) -> Result<Option<NetworkInfo>, MachineError> {
        if config.network.bridge.is_some() { Ok(None) } else { hypervisor.network(&config.network.name) }
    }

    /// The networks that nodes have further cards on.
    pub fn further(config: &Config, hypervisor: &dyn Hypervisor) -> Result<Vec<NetworkInfo>, MachineError> {
        let names: BTreeSet<_> = config.nodes.iter().flat_map(further_networks).collect();
        let found: Vec<_> = names.into_iter().map(|name| hypervisor.network(name)).collect::<Result<_, _>>()?;
        Ok(found.into_iter().flatten().collect())
    }

    /// Reads all of it; nothing is changed.
    pub fn read(config: &Config, hypervisor: &dyn Hypervisor, nodes: Option<Nodes>) -> Result<Self, MachineError> {
        let name = &config.libvirt.pool;
        let log_name = log_pool(name);
        let pool = hypervisor.pool(name)?;
        let log_pool = hypervisor.pool(&log_name)?;
        let volumes = |name: &str, pool: &Option<PoolInfo>| match pool {
            Some(pool) if pool.active => hypervisor.refresh_pool(name).and_then(|()| hypervisor.volumes(name)),
            _ => Ok(Vec::new()),
        };
        Ok(Self {
            network: Self::network(config, hypervisor)?,
            further: Self::further(config, hypervisor)?,
            volumes: volumes(name, &pool)?,
            log_volumes: volumes(&log_name, &log_pool)?,
            pool,
            log_pool,
            domains: hypervisor.domains()?,
            nodes,
            site: None,
            moves: BTreeMap::new(),
            elsewhere: BTreeSet::new(),
        })
    }
}

/// The domains of a host, found by what is asked for every node.
#[derive(Debug)]
pub(super) struct Domains<'a> {
    by_uuid: BTreeMap<Uuid, &'a DomainInfo>,
    by_name: BTreeMap<&'a str, &'a DomainInfo>,
}

impl<'a> Domains<'a> {
    pub(super) fn of_host(domains: &'a [DomainInfo]) -> Self {
        Self {
            by_uuid: domains.iter().map(|domain| (domain.uuid, domain)).collect(),
            by_name: domains.iter().map(|domain| (domain.name.as_str(), domain)).collect(),
        }
    }

    pub(super) fn of(&self, uuid: Uuid) -> Option<&'a DomainInfo> {
        self.by_uuid.get(&uuid).copied()
    }

    pub(super) fn named(&self, name: &str) -> Option<&'a DomainInfo> {
        self.by_name.get(name).copied()
    }
}
