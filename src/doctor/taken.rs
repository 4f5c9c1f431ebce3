//! Whether names, MACs and addresses of the nodes are free, and what should start with the host does.

use super::finding::{Check, Finding, Remedy, or_ok};
use super::{Case, Host};
use crate::apply::Presence;
use crate::config::{ClusterId, Mac, Node};
use crate::machine::MarkState;
use crate::plan::Blocked;

/// Whether another domain has a node's name.
pub(super) fn names(case: Case, blocked: &[Blocked]) -> Vec<Finding> {
    let foreign = blocked.iter().filter(|problem| matches!(problem, Blocked::ForeignDomain { .. }));
    let findings = foreign.map(|problem| Finding::of_error(Check::Names, problem, problem.hint())).collect();
    or_ok(findings, Check::Names, || format!("no other domain has {}", of_nodes(case, "the name")))
}

fn of_nodes(case: Case, what: &str) -> String {
    match case.nodes {
        [node] => format!("{what} of {}", node.name),
        nodes => format!("{what} of one of the {} nodes", nodes.len()),
    }
}

/// Whether another domain on the nodes' network, on or off, has a node's MAC, or the network's DHCP server keeps it for
/// another address.
pub(super) fn macs(case: Case, id: &ClusterId, host: &Host) -> Vec<Finding> {
    let findings = case.nodes.iter().flat_map(|node| macs_of(case, id, host, node)).collect();
    or_ok(findings, Check::Macs, || format!("no other domain of the network has {}", of_nodes(case, "the MAC")))
}

fn macs_of(case: Case, id: &ClusterId, host: &Host, node: &Node) -> Vec<Finding> {
    let (name, mac) = (&node.name, case.config.mac(id, node));
    let network = host.inventory.network.as_ref();
    let bridge = network.and_then(|network| network.bridge.as_deref());
    let is_here = |on: Option<&str>| on == Some(case.config.network.name.as_str()) || (on.is_some() && on == bridge);
    let others = host.inventory.domains.iter().filter(|domain| domain.uuid != id.uuid(name));
    let holders = others
        .filter(|domain| domain.resources().cards.iter().any(|card| card.mac == mac && is_here(card.on.as_deref())));
    let mut findings: Vec<_> = holders
        .map(|domain| {
            let found = format!("the MAC {mac} of {name} is that of domain {} on the same network", domain.name);
            Finding::failure(Check::Macs, found, change_mac(node, &domain.name))
        })
        .collect();
    let kept = network.into_iter().flat_map(|network| &network.reservations);
    findings.extend(kept.filter(|kept| kept.mac == Some(mac)).filter_map(|kept| {
        let address = kept.address.filter(|address| *address != node.address)?;
        let found = format!("DHCP keeps {address} for the MAC {mac} of {name}, whose address is {}", node.address);
        let fix = format!("virsh net-edit {}, and remove or correct that <host>", case.config.network.name);
        Some(Finding::warning(Check::Macs, found, fix))
    }));
    findings
}

fn change_mac(node: &Node, domain: &str) -> String {
    match node.mac {
        Some(_) => format!(
            "give {} another `mac` in the cluster file, or leave the key out; or virsh edit {domain}",
            node.name
        ),
        None => {
            format!("virsh edit {domain}, and give it another MAC; or give {} a `mac` in the cluster file", node.name)
        }
    }
}

/// Whether the addresses are nobody else's: of a node of the cluster, of the network's DHCP server to give away, of
/// whoever answers there. `answers` are those of the nodes, in their order.
pub(super) fn addresses(
    case: Case,
    id: &ClusterId,
    host: &Host,
    blocked: &[Blocked],
    answers: &[Presence],
) -> Vec<Finding> {
    let is_of_address = |problem: &&Blocked| {
        use Blocked as B;
        matches!(problem, B::AddressOfNode { .. } | B::ForeignNode { .. } | B::AddressInRange { .. })
    };
    let problems = blocked.iter().filter(is_of_address);
    let mut findings: Vec<_> =
        problems.map(|problem| Finding::of_error(Check::Addresses, problem, problem.hint())).collect();
    findings.extend(case.nodes.iter().flat_map(|node| reserved(case, host, node, case.config.mac(id, node))));
    for (node, answer) in case.nodes.iter().zip(answers) {
        if *answer == Presence::Taken {
            let problem = Blocked::AddressAnswers { node: node.name.clone(), address: node.address };
            findings.push(Finding::of_error(Check::Addresses, &problem, problem.hint()));
        }
    }
    or_ok(findings, Check::Addresses, || {
        let known =
            if host.inventory.nodes.is_some() { "no other node has" } else { "no DHCP range and no reservation has" };
        let heard = if answers.contains(&Presence::Unknown) {
            "; this machine is not on the network, so nobody there could be asked"
        } else {
            ", and nobody else answers there"
        };
        format!("{known} {}{heard}", of_nodes(case, "the address"))
    })
}

fn reserved(case: Case, host: &Host, node: &Node, own: Mac) -> Vec<Finding> {
    let kept = host.inventory.network.iter().flat_map(|network| &network.reservations);
    let others = kept.filter(|kept| kept.address == Some(node.address) && kept.mac != Some(own));
    let finding = |kept: &crate::machine::Reservation| {
        let whose = match (&kept.mac, &kept.name) {
            (Some(mac), _) => format!("the MAC {mac}"),
            (None, Some(name)) => format!("a guest that calls itself {name}"),
            (None, None) => "another guest".to_owned(),
        };
        let found = format!("DHCP keeps the address {} of {} for {whose}", node.address, node.name);
        let network = &case.config.network.name;
        let fix = format!(
            "give {} another address in the cluster file, or remove that <host>: virsh net-edit {network}",
            node.name
        );
        Finding::failure(Check::Addresses, found, fix)
    };
    others.map(finding).collect()
}

/// Whether our network and the machines that came up start with their host.
pub(super) fn autostart(id: &ClusterId, host: &Host) -> Vec<Finding> {
    let network = host.inventory.network.iter().filter(|network| network.ours && !network.autostart);
    let mut findings: Vec<_> = network
        .map(|network| {
            let found = format!("network {}, which nodebake made, does not start with its host", network.name);
            let fix = format!("nodebake doctor --fix, or: virsh net-autostart {}", network.name);
            Finding::warning(Check::Autostart, found, fix).with(Remedy::StartNetwork(network.name.clone()))
        })
        .collect();
    let came_up = |state: MarkState| matches!(state, MarkState::Active | MarkState::Registered);
    let is_ours = |domain: &&crate::machine::DomainInfo| {
        domain.mark().is_some_and(|mark| mark.belongs_to(id) && came_up(mark.state)) && !domain.autostart
    };
    findings.extend(host.inventory.domains.iter().filter(is_ours).map(|domain| {
        let found = format!("the machine of {} does not start with its host", domain.name);
        let fix = format!("nodebake doctor --fix, or: virsh autostart {}", domain.name);
        let remedy = Remedy::Autostart { uuid: domain.uuid, name: domain.name.clone() };
        Finding::warning(Check::Autostart, found, fix).with(remedy)
    }));
    or_ok(findings, Check::Autostart, || "what nodebake made starts with its host".to_owned())
}
