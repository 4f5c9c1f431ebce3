//! `hypervisors`: where the machines run, where they are divided among several.

use super::names::HypervisorName;
use super::read::default_libvirt;
use super::scalar;
use super::value::{Placed, Value};
use super::{Config, Libvirt, Node};

/// A hypervisor of the cluster file, with its pool and its way to the nodes' network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    /// What the cluster file calls it.
    pub name: HypervisorName,
    /// The connection and the pool.
    pub libvirt: Libvirt,
    /// The libvirt network of the nodes there, where it has another name than elsewhere.
    pub network: Option<String>,
    /// A bridge there in place of a libvirt network.
    pub bridge: Option<String>,
}

/// What could be read of one.
pub(super) struct SiteDraft {
    pub(super) name: HypervisorName,
    pub(super) uri: Option<Placed<String>>,
    libvirt: Libvirt,
    network: Option<String>,
    bridge: Option<String>,
}

pub(super) fn read(value: &Value<'_>) -> Option<Vec<SiteDraft>> {
    let entries = value.entries("hypervisors by their names", scalar::own)?;
    if entries.is_empty() {
        value.report("expected at least one hypervisor, found an empty map");
    }
    Some(entries.into_iter().filter_map(|(name, value)| site(name, &value?)).collect())
}

fn site(name: HypervisorName, value: &Value<'_>) -> Option<SiteDraft> {
    let fields = value.fields(&["uri", "acceleration", "pool", "poolPath", "network", "bridge"])?;
    let acceleration = fields.optional("acceleration", "auto, kvm or tcg", scalar::acceleration);
    let pool = fields.optional("pool", "the name of a storage pool", scalar::libvirt_name);
    let path = fields.optional("poolPath", "a folder on the hypervisor", scalar::remote_path);
    let network = fields.optional("network", "the name of a libvirt network", scalar::libvirt_name);
    let bridge = fields.optional("bridge", "a bridge of the hypervisor such as br0", scalar::interface);
    if let Some(value) = fields.get("bridge").filter(|_| fields.get("network").is_some()) {
        value.report("network and bridge are both given; the nodes are on one of them");
    }
    let uri = fields.required("uri", "a connection such as qemu+ssh://root@host-a/system", scalar::libvirt_uri);
    let default = default_libvirt();
    Some(SiteDraft {
        name,
        libvirt: Libvirt {
            uri: String::new(),
            acceleration: acceleration.map_or(default.acceleration, |acceleration| acceleration.value),
            pool: pool.map_or(default.pool, |pool| pool.value),
            pool_path: path.map_or(default.pool_path, |path| path.value),
        },
        uri,
        network: network.map(|network| network.value),
        bridge: bridge.map(|bridge| bridge.value),
    })
}

impl SiteDraft {
    pub(super) fn finish(self) -> Option<Site> {
        let libvirt = Libvirt { uri: self.uri?.value, ..self.libvirt };
        Some(Site { name: self.name, libvirt, network: self.network, bridge: self.bridge })
    }
}

impl Config {
    /// The cluster file as it is for the machines of one hypervisor: these nodes alone, its connection, pool and network.
    #[must_use]
    pub fn at(&self, site: &Site, nodes: &[&Node]) -> Self {
        let mut here = self.clone();
        here.libvirt = site.libvirt.clone();
        here.sites = Vec::new();
        if let Some(network) = &site.network {
            (here.network.name, here.network.bridge) = (network.clone(), None);
        }
        if site.bridge.is_some() {
            here.network.bridge.clone_from(&site.bridge);
        }
        here.nodes.retain(|node| nodes.iter().any(|one| one.name == node.name));
        here
    }
}
