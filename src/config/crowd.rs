//! What the values of a cluster file mean for each other: nothing twice, every address where it can work.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use super::machine::{NicAddress, NicSource, overlap};
use super::names::HypervisorName;
use super::problem::Problems;
use super::read::{ClusterDraft, Network6Draft, NetworkDraft, NodeDraft};
use super::site::SiteDraft;
use super::value::{Placed, nearest};

/// What could be read of the file. A value that could not be read is missing here, and compared with nothing.
pub(super) struct Crowd<'d> {
    pub(super) cluster: Option<&'d ClusterDraft>,
    pub(super) network: Option<&'d NetworkDraft>,
    /// None where they could not be read.
    pub(super) sites: Option<&'d [SiteDraft]>,
    pub(super) nodes: &'d [NodeDraft],
    pub(super) problems: &'d Problems,
}

impl Crowd<'_> {
    pub(super) fn check(&self) {
        let hosts = self.cluster.map(|cluster| cluster.control_plane.as_slice()).unwrap_or_default();
        let names = hosts.iter().filter_map(|host| host.name.as_ref());
        self.unique(names.chain(self.nodes.iter().filter_map(|node| node.name.as_ref())));
        self.unique(self.nodes.iter().filter_map(|node| node.mac.as_ref()));
        self.unique(self.nodes.iter().filter_map(|node| node.address.as_ref()));
        self.gateway();
        for address in hosts.iter().filter_map(|host| host.address.as_ref()) {
            self.own_address(address);
        }
        for address in self.nodes.iter().filter_map(|node| node.address.as_ref()) {
            self.node_address(address);
        }
        self.addresses6();
        self.nics();
        self.hypervisors();
    }

    /// What names a hypervisor names one that there is, and each is there once.
    fn hypervisors(&self) {
        let Some(sites) = self.sites else { return };
        self.unique(sites.iter().filter_map(|site| site.uri.as_ref()));
        for node in self.nodes {
            for named in node.hypervisor.iter().chain(&node.said.hypervisors) {
                if !sites.iter().any(|site| site.name == named.value) {
                    self.report_once(named, no_hypervisor(&named.value, sites));
                }
            }
        }
        let mut seen = BTreeMap::new();
        for node in self.nodes.iter().filter(|node| node.said.settings.anti_affinity && node.hypervisor.is_none()) {
            let over = if node.said.hypervisors.is_empty() { sites.len() } else { node.said.hypervisors.len() };
            let count: &mut usize = seen.entry(&node.group).or_default();
            *count += 1;
            if let Some(name) = node.name.as_ref().filter(|_| *count > over) {
                let text = format!(
                    "with antiAffinity no two nodes of a group run on one hypervisor, and this is node {count} for {over} of them"
                );
                self.problems.report(name.at, &name.path, text);
            }
        }
    }

    /// Reports every value that stands further up already.
    fn unique<'v, T: Ord + Display + 'v>(&self, values: impl Iterator<Item = &'v Placed<T>>) {
        let mut seen: BTreeMap<&T, &Placed<T>> = BTreeMap::new();
        for value in values {
            if let Some(first) = seen.get(&value.value) {
                self.taken(value, first);
            } else {
                seen.insert(&value.value, value);
            }
        }
    }

    fn taken<T: Display, U>(&self, value: &Placed<T>, by: &Placed<U>) {
        let Placed { value: text, at, path } = value;
        self.problems.report(*at, path, format!("{text} is taken by {} in line {}", by.path, by.at.line));
    }

    fn gateway(&self) {
        let Some(gateway) = self.network.and_then(|network| network.gateway.as_ref()) else { return };
        if self.outside(gateway) {
            return;
        }
        self.own_address(gateway);
    }

    fn node_address(&self, address: &Placed<Ipv4Addr>) {
        if self.outside(address) || self.own_address(address) {
            return;
        }
        let gateway = self.network.and_then(|network| network.gateway.as_ref());
        let hosts = self.cluster.map(|cluster| cluster.control_plane.as_slice()).unwrap_or_default();
        let hosts = hosts.iter().filter_map(|host| host.address.as_ref());
        if let Some(other) = gateway.into_iter().chain(hosts).find(|other| other.value == address.value) {
            return self.taken(address, other);
        }
        self.not_the_apiservers(address);
    }

    fn not_the_apiservers<A: Display + Copy + Into<IpAddr>>(&self, address: &Placed<A>) {
        if let Some(api) = self.cluster.and_then(|cluster| cluster.api_server.as_ref())
            && api.value.address == Some(address.value.into())
        {
            self.taken(address, api);
        }
    }

    fn addresses6(&self) {
        let network = self.network.and_then(|network| network.ipv6.as_ref());
        let addresses = || self.nodes.iter().filter_map(|node| node.address6.as_ref());
        self.unique(addresses());
        let gateway = network.and_then(|network| network.gateway.as_ref());
        if let Some((gateway, network)) = gateway.zip(network) {
            self.misplaced6(gateway, network);
        }
        for address in addresses() {
            match network {
                None if self.network.is_some() => {
                    let text = "there is no network.cidr6 that it could be in";
                    self.problems.report(address.at, &address.path, text);
                }
                Some(network) if !self.misplaced6(address, network) => {
                    match gateway.filter(|gateway| gateway.value == address.value) {
                        Some(gateway) => self.taken(address, gateway),
                        None => self.not_the_apiservers(address),
                    }
                }
                _ => {}
            }
        }
    }

    /// Reports an address outside the IPv6 subnet, or the one that stands for all its routers (RFC 4291, 2.6.1).
    fn misplaced6(&self, address: &Placed<Ipv6Addr>, network: &Network6Draft) -> bool {
        let Some(net) = &network.cidr else { return false };
        let text = if !net.value.contains(&address.value) {
            format!("{} is outside the network {} of line {}", address.value, net.value, net.at.line)
        } else if address.value == net.value.network() {
            format!("{} stands for the routers of the network ({}, line {})", address.value, net.value, net.at.line)
        } else {
            return false;
        };
        self.problems.report(address.at, &address.path, text);
        true
    }

    /// Addresses of further cards: each once on its network, and none in the subnets of the first card, which would then be
    /// reached through either.
    fn nics(&self) {
        let first = self.network.and_then(|network| Some(network.cidr.as_ref()?.with(IpNet::from)));
        let first6 = self.network.and_then(|network| Some(network.ipv6.as_ref()?.cidr.as_ref()?.with(IpNet::from)));
        let mut seen: BTreeMap<(&NicSource, IpAddr), &Placed<IpNet>> = BTreeMap::new();
        let addresses: Vec<&NicAddress> = self.nodes.iter().flat_map(|node| &node.said.nic_addresses).collect();
        for (source, address) in addresses {
            let Placed { value, at, .. } = address;
            if let Some(net) = first.iter().chain(&first6).find(|net| overlap(net.value, *value)) {
                let text =
                    format!("{value} overlaps {}, the network of the first card (line {})", net.value, net.at.line);
                self.report_once(address, text);
            }
            match seen.insert((source, value.addr()), address) {
                Some(other) if other.at == *at => {
                    let text = format!("{} is given to more than one node here; each needs its own", value.addr());
                    self.report_once(address, text);
                }
                Some(other) => self.taken(&address.with(|net| net.addr()), other),
                None => {}
            }
        }
    }

    /// Of a place that several nodes have a value from.
    fn report_once<T>(&self, value: &Placed<T>, text: String) {
        if !self.problems.has(value.at, &text) {
            self.problems.report(value.at, &value.path, text);
        }
    }

    /// Reports an address outside the network.
    fn outside(&self, address: &Placed<Ipv4Addr>) -> bool {
        let Some(net) = self.network.and_then(|network| network.cidr.as_ref()) else { return false };
        let outside = !net.value.contains(&address.value);
        if outside {
            let text = format!("{} is outside the network {} of line {}", address.value, net.value, net.at.line);
            self.problems.report(address.at, &address.path, text);
        }
        outside
    }

    /// Reports an address that stands for the network itself or for all its hosts.
    fn own_address(&self, address: &Placed<Ipv4Addr>) -> bool {
        let Some(net) = self.network.and_then(|network| network.cidr.as_ref()) else { return false };
        let role = if address.value == net.value.network() {
            "the address of the network itself"
        } else if address.value == net.value.broadcast() {
            "the broadcast address of the network"
        } else {
            return false;
        };
        let text = format!("{} is {role} ({}, line {})", address.value, net.value, net.at.line);
        self.problems.report(address.at, &address.path, text);
        true
    }
}

fn no_hypervisor(name: &HypervisorName, sites: &[SiteDraft]) -> String {
    let known: Vec<_> = sites.iter().map(|site| site.name.to_string()).collect();
    let known: Vec<_> = known.iter().map(String::as_str).collect();
    match nearest(&name.to_string(), &known) {
        Some(meant) => format!("there is no hypervisor {name}, did you mean {meant:?}?"),
        None if known.is_empty() => format!("there is no hypervisor {name}; they are named under hypervisors:"),
        None => format!("there is no hypervisor {name}, only {}", known.join(", ")),
    }
}
