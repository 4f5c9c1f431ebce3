//! A cluster and its host, as judgements see them in tests.

use std::collections::BTreeMap;
use std::path::Path;

use jiff::Timestamp;

use super::access::Way;
use super::{Case, Finding, Host};
use crate::config::{Arch, ClusterId, Config, INIT, parse};
use crate::digest::Digest;
use crate::machine::{Capabilities, DomainInfo, DomainState, HostInfo, Mark, MarkState, NetworkInfo, PoolInfo};
use crate::plan::{ByHand, Inventory};

/// What `init` writes: two nodes of 2 CPUs, 4 GiB and 20 GiB at 10.0.0.36 and .37, and a host that is fit for them.
pub(super) struct Fixture {
    pub(super) config: Config,
    pub(super) id: ClusterId,
    pub(super) host: Host,
}

impl Fixture {
    pub(super) fn new() -> Self {
        let config = parse(Path::new("/c/nodebake.yaml"), INIT).unwrap();
        let id = ClusterId { name: config.cluster.name.clone(), ca: Digest::of(b"ca") };
        let inventory = Inventory {
            network: Some(network("nodebake", "10.0.0.1/24")),
            further: Vec::new(),
            pool: Some(pool("nodebake")),
            log_pool: Some(pool("nodebake-logs")),
            volumes: Vec::new(),
            log_volumes: Vec::new(),
            domains: Vec::new(),
            nodes: None,
            site: None,
            moves: BTreeMap::new(),
            elsewhere: std::collections::BTreeSet::new(),
        };
        let host = Host {
            info: HostInfo { local: true, qemu_user: Some((64055, 108)), cpus: 8, memory: 16 << 30 },
            capabilities: BTreeMap::from([(Arch::Amd64, Ok(able()))]),
            networks: vec![network("nodebake", "10.0.0.1/24")],
            inventory,
            routes: Vec::new(),
            way: Way::default(),
            qemu_user: None,
            free: None,
            seen: None,
        };
        Self { config, id, host }
    }

    /// What is found of all nodes, a line each.
    pub(super) fn judge(&self, judge: impl FnOnce(Case, &Host) -> Vec<Finding>) -> Vec<String> {
        let nodes: Vec<_> = self.config.nodes.iter().collect();
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let by_hand = ByHand::InTheWay;
        let case = Case { config: &self.config, nodes: &nodes, id: Some(&self.id), now, by_hand };
        lines(judge(case, &self.host))
    }

    pub(super) fn able(&mut self) -> &mut Capabilities {
        self.host.capabilities.get_mut(&Arch::Amd64).unwrap().as_mut().unwrap()
    }

    pub(super) fn network(&mut self) -> &mut NetworkInfo {
        self.host.inventory.network.as_mut().unwrap()
    }

    /// The machine of a node, as we made it.
    pub(super) fn machine(&self, node: usize, state: DomainState) -> DomainInfo {
        let name = &self.config.nodes[node].name;
        let mark = Mark {
            cluster: self.id.name.clone(),
            ca: self.id.ca,
            node: name.clone(),
            payload: Digest::of(b"payload"),
            seed: Digest::of(b"seed"),
            base: String::new(),
            definition: Digest::of(b"definition"),
            state: MarkState::Registered,
            stored: None,
            boot_id: None,
            stage: None,
        };
        let (uuid, mark) = (self.id.uuid(name), Ok(Some(mark)));
        DomainInfo { mark, uuid, autostart: true, ..domain(&name.to_string(), state, &resources(4, 2)) }
    }
}

/// `status: found`, and ` | ` with what mends it.
pub(super) fn lines(findings: Vec<Finding>) -> Vec<String> {
    let line = |finding: Finding| {
        let fix = finding.fix.map(|fix| format!(" | {fix}")).unwrap_or_default();
        format!("{}: {}{fix}", finding.status, finding.found)
    };
    findings.into_iter().map(line).collect()
}

fn able() -> Capabilities {
    Capabilities {
        kvm: Ok(()),
        emulator: "/usr/bin/qemu-system-x86_64".to_owned(),
        machine: "pc-q35-10.0".to_owned(),
        libvirt_version: semver::Version::new(8, 0, 0),
        hypervisor_version: semver::Version::new(6, 2, 0),
        uefi: true,
        secure_boot: true,
        cpu: None,
    }
}

pub(super) fn network(name: &str, address: &str) -> NetworkInfo {
    NetworkInfo {
        name: name.to_owned(),
        active: true,
        autostart: true,
        bridge: Some(format!("br-{name}")),
        forward: Some("nat".to_owned()),
        address: Some(address.parse().unwrap()),
        address6: None,
        dhcp: Vec::new(),
        reservations: Vec::new(),
        ours: true,
    }
}

fn pool(name: &str) -> PoolInfo {
    PoolInfo {
        name: name.to_owned(),
        kind: "dir".to_owned(),
        path: format!("/pools/{name}"),
        active: true,
        autostart: true,
        capacity: 100 << 30,
        available: 100 << 30,
    }
}

/// Somebody else's domain.
pub(super) fn domain(name: &str, state: DomainState, inner: &str) -> DomainInfo {
    DomainInfo {
        name: name.to_owned(),
        uuid: uuid::Uuid::new_v5(&uuid::Uuid::nil(), name.as_bytes()),
        state,
        autostart: false,
        mark: Ok(None),
        xml: format!("<domain>{inner}</domain>"),
    }
}

/// Memory in GiB and CPUs of a domain.
pub(super) fn resources(memory: u64, cpus: u32) -> String {
    format!("<memory unit='GiB'>{memory}</memory><vcpu>{cpus}</vcpu>")
}

/// A network card of a domain.
pub(super) fn card(mac: impl std::fmt::Display, network: &str) -> String {
    format!("<devices><interface><mac address='{mac}'/><source network='{network}'/></interface></devices>")
}
