//! `hypervisors`: where the machines run, where they are divided among several.

use super::names::HypervisorName;
use super::read::hypervisor;
use super::scalar;
use super::value::{Placed, Value};
use super::{Config, Libvirt, NicSource, Node};

/// A hypervisor of the cluster file, with its pool and its way to the nodes' network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    /// What the cluster file calls it.
    pub name: HypervisorName,
    /// The connection and the pool.
    pub libvirt: Libvirt,
    /// What the nodes' first cards are plugged into there, where it is another than elsewhere.
    pub network: Option<NicSource>,
}

/// What could be read of one.
pub(super) struct SiteDraft {
    pub(super) name: HypervisorName,
    pub(super) uri: Option<Placed<String>>,
    libvirt: Libvirt,
    network: Option<NicSource>,
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
    let network = fields.optional("network", "the name of a libvirt network", scalar::libvirt_name);
    let bridge = fields.optional("bridge", "a bridge of the hypervisor such as br0", scalar::interface);
    if let Some(value) = fields.get("bridge").filter(|_| fields.get("network").is_some()) {
        value.report("network and bridge are both given; the nodes are on one of them");
    }
    let network = network.map(|network| NicSource::Network(network.value));
    let uri = fields.required("uri", "a connection such as qemu+ssh://root@host-a/system", scalar::libvirt_uri);
    Some(SiteDraft {
        name,
        libvirt: hypervisor(&fields, uri.clone()),
        uri,
        network: network.or_else(|| bridge.map(|bridge| NicSource::Bridge(bridge.value))),
    })
}

impl SiteDraft {
    pub(super) fn finish(self) -> Option<Site> {
        self.uri?;
        Some(Site { name: self.name, libvirt: self.libvirt, network: self.network })
    }
}

impl Config {
    /// The cluster file as it is for the machines of one hypervisor: these nodes alone, its connection, pool and network.
    #[must_use]
    pub fn at(&self, site: &Site, nodes: &[&Node]) -> Self {
        let mut here = self.clone();
        here.libvirt = site.libvirt.clone();
        here.sites = Vec::new();
        match &site.network {
            Some(NicSource::Network(name)) => (here.network.name, here.network.bridge) = (name.clone(), None),
            Some(NicSource::Bridge(bridge)) => here.network.bridge = Some(bridge.clone()),
            None => {}
        }
        here.nodes.retain(|node| nodes.iter().any(|one| one.name == node.name));
        here
    }
}
