//! The workers' network: whether it is up, is what the cluster file says, and is nobody else's.

use std::net::Ipv4Addr;

use ipnet::{IpNet, Ipv4Net};

use super::finding::{Check, Finding, Remedy, or_ok};
use super::routes::Route;
use super::{Case, Host};
use crate::config::Network;
use crate::machine::NetworkInfo;
use crate::plan::Blocked;

/// Whether the network is started and has the subnet of the cluster file, and those of further cards are there. One of
/// nodebake's own that is not there, or any that is not started, `up` sees to.
pub(super) fn network(case: Case, host: &Host, blocked: &[Blocked]) -> Vec<Finding> {
    let wanted = &case.config.network;
    let other =
        blocked.iter().filter(|problem| matches!(problem, Blocked::OtherNetwork { .. } | Blocked::NoNetwork { .. }));
    let mut findings: Vec<_> =
        other.map(|problem| Finding::of_error(Check::Network, problem, problem.hint())).collect();
    let is_used = |further: &&NetworkInfo| {
        let mut nics = case.nodes.iter().flat_map(|node| node.settings.machine.nics.values());
        nics.any(|nic| nic.source.network() == Some(&further.name))
    };
    let further = host.inventory.further.iter().filter(is_used);
    let further = further.filter(|further| host.inventory.network.as_ref() != Some(further));
    for network in host.inventory.network.iter().chain(further).filter(|network| !network.active) {
        let found = format!("network {} is not active; `up` starts it", network.name);
        let fix = format!("nodebake doctor --fix, or: virsh net-start {}", network.name);
        findings.push(Finding::warning(Check::Network, found, fix).with(Remedy::StartNetwork(network.name.clone())));
    }
    if let Some(bridge) = wanted.bridge.as_ref().filter(|_| findings.is_empty()) {
        return vec![Finding::skipped(Check::Network, on_bridge(bridge))];
    }
    findings.extend(host.inventory.network.as_ref().and_then(|network| without_ipv6(case, network)));
    or_ok(findings, Check::Network, || match &host.inventory.network {
        None => format!("{} is not there yet; `up` makes it ({}, NAT)", wanted.name, wanted.cidr),
        Some(network) => {
            let mode = network.forward.as_deref().unwrap_or("isolated");
            let address = network.address.map_or_else(String::new, |address| format!("{address}, "));
            format!("{} is active ({address}{mode})", network.name)
        }
    })
}

/// A network that gives its guests an IPv4 gateway and no IPv6 one, where nodes have IPv6.
fn without_ipv6(case: Case, network: &NetworkInfo) -> Option<Finding> {
    let wanted = case.config.network.ipv6?;
    if network.address.is_none() || network.address6.is_some() {
        return None;
    }
    let (name, gateway) = (&network.name, wanted.gateway);
    let found = format!("network {name} has no IPv6 address, so that it is not the nodes' gateway {gateway}");
    let fix = format!(
        "virsh net-edit {name}, add <ip family='ipv6' address='{gateway}' prefix='{}'/>, and start it anew: virsh net-destroy \
         {name} && virsh net-start {name}",
        wanted.cidr.prefix_len()
    );
    Some(Finding::warning(Check::Network, found, fix))
}

/// Whether the subnet is another libvirt network's, or this machine has a route to it that is not the network's own. A
/// network without an address of its own (on a bridge of the host's) is meant to be where others are.
pub(super) fn subnet(case: Case, host: &Host) -> Vec<Finding> {
    let wanted = &case.config.network;
    if let Some(bridge) = &wanted.bridge {
        return vec![Finding::skipped(Check::Subnet, on_bridge(bridge))];
    }
    let ours = host.inventory.network.as_ref();
    if ours.is_some_and(|network| network.address.is_none()) {
        let why = format!("network {} has no address of its own: its subnet is the host's or a router's", wanted.name);
        return vec![Finding::skipped(Check::Subnet, why)];
    }
    let others = host.networks.iter().filter(|network| network.name != wanted.name);
    let mut findings: Vec<_> = others.flat_map(|other| against_network(wanted, other)).collect();
    // The bridges of libvirt's networks are told by the networks.
    let bridge =
        |route: &&Route| !host.networks.iter().any(|network| network.bridge.as_ref() == Some(&route.interface));
    let active = ours.is_some_and(|network| network.active);
    let addresses: Vec<_> = case.nodes.iter().map(|node| node.address).chain([wanted.gateway]).collect();
    let routes = host.routes.iter().filter(bridge);
    findings.extend(routes.filter_map(|route| against_route(wanted.cidr, &addresses, active, route)));
    or_ok(findings, Check::Subnet, || {
        if host.info.local {
            format!("no other network and no route of this machine is in {}", wanted.cidr)
        } else {
            format!("no other network is in {}; routes of another machine cannot be seen from here", wanted.cidr)
        }
    })
}

/// A bridge is the host's own, and its subnet the host's or a router's.
fn on_bridge(bridge: &str) -> String {
    format!("the nodes are on bridge {bridge} of the host")
}

fn overlap(one: IpNet, other: IpNet) -> bool {
    one.contains(&other.network()) || other.contains(&one.network())
}

fn against_network(wanted: &Network, other: &NetworkInfo) -> Vec<Finding> {
    let pair = other.address.map(|address| ("network.cidr", IpNet::from(wanted.cidr), IpNet::from(address)));
    let pair6 = wanted.ipv6.zip(other.address6);
    let pair6 = pair6.map(|(ipv6, address)| ("network.cidr6", IpNet::from(ipv6.cidr), IpNet::from(address)));
    let overlapping = pair.into_iter().chain(pair6).filter(|(_, wanted, found)| overlap(*wanted, *found));
    let name = &other.name;
    let finding = |(key, wanted, found): (&str, IpNet, IpNet)| {
        let found = format!("libvirt's network {name} has {}, which overlaps {wanted}", found.trunc());
        if other.active {
            let fix = format!("choose another {key} in the cluster file, or use that network: network.name: {name}");
            Finding::failure(Check::Subnet, found, fix)
        } else {
            let fix = format!("choose another {key} in the cluster file, or leave network {name} off");
            Finding::warning(Check::Subnet, format!("{found}; it is not active"), fix)
        }
    };
    overlapping.map(finding).collect()
}

/// The longer route wins. libvirt refuses to start a network whose very subnet has a route already.
fn against_route(wanted: Ipv4Net, addresses: &[Ipv4Addr], active: bool, route: &Route) -> Option<Finding> {
    const FIX: &str = "choose another network.cidr in the cluster file, or take that route away";
    let Route { to, interface } = route;
    if !overlap(wanted.into(), (*to).into()) {
        return None;
    }
    if *to == wanted {
        let found = format!("this machine has a route to {to} through {interface} already");
        return Some(if active {
            Finding::warning(Check::Subnet, format!("{found}, beside the network's own"), FIX)
        } else {
            Finding::failure(Check::Subnet, format!("{found}, so that libvirt cannot start the network"), FIX)
        });
    }
    if to.prefix_len() < wanted.prefix_len() {
        let found = format!("{wanted} hides a part of {to}, which this machine reaches through {interface}");
        return Some(Finding::warning(
            Check::Subnet,
            found,
            "choose another network.cidr in the cluster file if anything is there",
        ));
    }
    let found = format!("this machine reaches {to}, a part of {wanted}, through {interface}");
    let hit = addresses.iter().find(|address| to.contains(*address));
    Some(match hit {
        Some(address) => Finding::failure(Check::Subnet, format!("{found}, and with it {address}"), FIX),
        None => Finding::warning(Check::Subnet, found, FIX),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::fixture::{self, Fixture};

    #[test]
    fn the_network_is_up_and_what_the_cluster_file_says() {
        let mut fixture = Fixture::new();
        let judge = |fixture: &Fixture, blocked: &[Blocked]| fixture.judge(|case, host| network(case, host, blocked));
        assert_eq!(judge(&fixture, &[]), ["ok: nodebake is active (10.0.0.1/24, nat)"]);
        fixture.config.network.bridge = Some("br0".to_owned());
        assert_eq!(judge(&fixture, &[]), ["skipped: the nodes are on bridge br0 of the host"]);
        assert_eq!(fixture.judge(subnet), ["skipped: the nodes are on bridge br0 of the host"]);
        fixture.config.network.bridge = None;
        fixture.network().forward = None;
        assert_eq!(judge(&fixture, &[]), ["ok: nodebake is active (10.0.0.1/24, isolated)"]);
        fixture.network().active = false;
        let off = "warning: network nodebake is not active; `up` starts it | nodebake doctor --fix, or: virsh net-start nodebake";
        assert_eq!(judge(&fixture, &[]), [off]);
        let net = |text: &str| IpNet::from(text.parse::<Ipv4Net>().unwrap_or_default());
        let other = Blocked::OtherNetwork {
            network: "nodebake".to_owned(),
            found: net("10.0.1.0/24"),
            wanted: net("10.0.0.0/24"),
        };
        let mixed = "failure: network nodebake has the address 10.0.1.0/24, the cluster file says 10.0.0.0/24 | name another \
                     network in the cluster file, or correct network.cidr and network.cidr6";
        assert_eq!(judge(&fixture, &[other]), [mixed, off]);
        fixture.host.inventory.network = None;
        assert_eq!(judge(&fixture, &[]), ["ok: nodebake is not there yet; `up` makes it (10.0.0.0/24, NAT)"]);
    }

    #[test]
    fn ipv6_is_looked_at_where_nodes_have_it() {
        let mut fixture = Fixture::new();
        let (cidr, gateway) = ("fd00:10::/64".parse().unwrap_or_default(), std::net::Ipv6Addr::LOCALHOST);
        fixture.config.network.ipv6 = Some(crate::config::Network6 { cidr, gateway });
        let judge = |fixture: &Fixture| fixture.judge(|case, host| network(case, host, &[]));
        let lacks = "warning: network nodebake has no IPv6 address, so that it is not the nodes' gateway ::1 | virsh net-edit \
                     nodebake, add <ip family='ipv6' address='::1' prefix='64'/>, and start it anew: virsh net-destroy \
                     nodebake && virsh net-start nodebake";
        assert_eq!(judge(&fixture), [lacks]);
        fixture.network().address6 = "fd00:10::1/64".parse().ok();
        assert_eq!(judge(&fixture), ["ok: nodebake is active (10.0.0.1/24, nat)"]);
        // On a bridge of the host's, whose gateway is somebody else.
        (fixture.network().address, fixture.network().address6) = (None, None);
        assert_eq!(judge(&fixture), ["ok: nodebake is active (nat)"]);
        let mut fixture = Fixture { config: fixture.config, ..Fixture::new() };
        let mut other = fixture::network("default", "192.168.122.1/24");
        other.address6 = "fd00:10:0:0:1::1/80".parse().ok();
        fixture.host.networks.push(other);
        let overlaps = "failure: libvirt's network default has fd00:10:0:0:1::/80, which overlaps fd00:10::/64 | choose another \
                        network.cidr6 in the cluster file, or use that network: network.name: default";
        assert_eq!(fixture.judge(subnet), [overlaps]);
    }

    #[test]
    fn networks_of_further_cards_are_there_and_active() {
        let mut fixture = Fixture::new();
        let nic = |source| crate::config::FurtherNic { source, mtu: None, address: None, address6: None };
        let storage = nic(crate::config::NicSource::Network("storage".to_owned()));
        fixture.config.nodes[0].settings.machine.nics.insert("a".to_owned(), storage);
        let judge = |fixture: &Fixture, blocked: &[Blocked]| fixture.judge(|case, host| network(case, host, blocked));
        let missing = Blocked::NoNetwork { node: fixture.config.nodes[0].name.clone(), network: "storage".to_owned() };
        let told = "failure: there is no network storage, which worker-node-1 has a card on | nodebake makes no network but the \
                    nodes' own: define it with virsh, or name another under nics";
        assert_eq!(judge(&fixture, &[missing]), [told]);
        let off = NetworkInfo { active: false, ..fixture::network("storage", "10.1.0.1/24") };
        fixture.host.inventory.further = vec![off];
        let off = "warning: network storage is not active; `up` starts it | nodebake doctor --fix, or: virsh net-start storage";
        assert_eq!(judge(&fixture, &[]), [off]);
        fixture.config.network.bridge = Some("br0".to_owned());
        fixture.host.inventory.network = None;
        assert_eq!(judge(&fixture, &[]), [off]);
        // Only the nodes asked for count.
        fixture.config.nodes.remove(0);
        assert_eq!(judge(&fixture, &[]), ["skipped: the nodes are on bridge br0 of the host"]);
    }

    #[test]
    fn other_networks_must_not_overlap() {
        let mut fixture = Fixture::new();
        fixture.host.networks.push(fixture::network("default", "192.168.122.1/24"));
        let free = "ok: no other network and no route of this machine is in 10.0.0.0/24";
        assert_eq!(fixture.judge(subnet), [free]);
        let found = "libvirt's network default has 10.0.0.128/25, which overlaps 10.0.0.0/24";
        fixture.host.networks[1] = fixture::network("default", "10.0.0.129/25");
        let overlaps = format!(
            "failure: {found} | choose another network.cidr in the cluster file, or use that network: network.name: default"
        );
        assert_eq!(fixture.judge(subnet), [overlaps]);
        fixture.host.networks[1].active = false;
        let off = format!(
            "warning: {found}; it is not active | choose another network.cidr in the cluster file, or leave network default off"
        );
        assert_eq!(fixture.judge(subnet), [off]);
        fixture.network().address = None;
        let bridged = "skipped: network nodebake has no address of its own: its subnet is the host's or a router's";
        assert_eq!(fixture.judge(subnet), [bridged]);
        let mut fixture = Fixture::new();
        fixture.host.info.local = false;
        let remote = "ok: no other network is in 10.0.0.0/24; routes of another machine cannot be seen from here";
        assert_eq!(fixture.judge(subnet), [remote]);
    }

    #[test]
    fn routes_of_the_host_must_not_lead_elsewhere() {
        let fix = "choose another network.cidr in the cluster file";
        let away = format!("{fix}, or take that route away");
        let already = "this machine has a route to 10.0.0.0/24 through tun0 already";
        let part = |to: &str| format!("this machine reaches {to}, a part of 10.0.0.0/24, through tun0");
        for (to, interface, active, wanted) in [
            ("10.0.1.0/24", "tun0", true, None),
            // The network's own.
            ("10.0.0.0/24", "br-nodebake", true, None),
            ("10.0.0.0/24", "tun0", true, Some(format!("warning: {already}, beside the network's own | {away}"))),
            (
                "10.0.0.0/24",
                "tun0",
                false,
                Some(format!("failure: {already}, so that libvirt cannot start the network | {away}")),
            ),
            (
                "10.0.0.0/8",
                "tun0",
                true,
                Some(format!(
                    "warning: 10.0.0.0/24 hides a part of 10.0.0.0/8, which this machine reaches through tun0 | {fix} if anything is there"
                )),
            ),
            ("10.0.0.128/25", "tun0", true, Some(format!("warning: {} | {away}", part("10.0.0.128/25")))),
            (
                "10.0.0.37/32",
                "tun0",
                true,
                Some(format!("failure: {}, and with it 10.0.0.37 | {away}", part("10.0.0.37/32"))),
            ),
            (
                "10.0.0.0/29",
                "tun0",
                true,
                Some(format!("failure: {}, and with it 10.0.0.1 | {away}", part("10.0.0.0/29"))),
            ),
        ] {
            let mut fixture = Fixture::new();
            fixture.network().active = active;
            fixture.host.routes = vec![Route { to: to.parse().unwrap_or_default(), interface: interface.to_owned() }];
            let free = || "ok: no other network and no route of this machine is in 10.0.0.0/24".to_owned();
            assert_eq!(fixture.judge(subnet), [wanted.unwrap_or_else(free)], "{to} {interface}");
        }
    }
}
