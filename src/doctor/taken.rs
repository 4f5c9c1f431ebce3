//! Whether names, MACs and addresses of the nodes are free, and what should start with the host does.

use super::finding::{Check, Finding, Remedy, or_ok};
use super::{Case, Host};
use crate::apply::Presence;
use crate::config::{ClusterId, Mac, NicSource, Node};
use crate::machine::{MarkState, NetworkInfo, Reservation};
use crate::plan::{Blocked, is_of_cluster};

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
    let mut findings: Vec<_> =
        cards(case, id, host, node).iter().flat_map(|card| holders(case, id, host, node, card)).collect();
    let kept = network.into_iter().flat_map(|network| &network.reservations);
    let kept = kept.filter(|kept| kept.mac == Some(mac) && !is_seen_to(case, id, host, kept));
    findings.extend(kept.filter_map(|kept| {
        let address = kept.address.filter(|address| *address != node.address)?;
        let found = format!("DHCP keeps {address} for the MAC {mac} of {name}, whose address is {}", node.address);
        let fix = format!("virsh net-edit {}, and remove or correct that <host>", case.config.network.name);
        Some(Finding::warning(Check::Macs, found, fix))
    }));
    findings
}

/// A network card of a node.
struct Card<'a> {
    /// Its name, where it is not the first.
    further: Option<&'a str>,
    mac: Mac,
    /// The names by which other domains may have a card on the same network.
    on: Vec<&'a str>,
}

fn cards<'a>(case: Case<'a>, id: &ClusterId, host: &'a Host, node: &'a Node) -> Vec<Card<'a>> {
    let wanted = &case.config.network;
    let bridge_of = |network: Option<&'a NetworkInfo>| network.and_then(|network| network.bridge.as_deref());
    let own = match &wanted.bridge {
        Some(bridge) => vec![bridge.as_str()],
        None => std::iter::once(wanted.name.as_str()).chain(bridge_of(host.inventory.network.as_ref())).collect(),
    };
    let first = Card { further: None, mac: case.config.mac(id, node), on: own };
    let further = node.settings.machine.nics.iter().map(|(name, nic)| {
        let on = match &nic.source {
            NicSource::Bridge(bridge) => vec![bridge.as_str()],
            NicSource::Network(name) => {
                let found = host.inventory.further.iter().find(|network| network.name == *name);
                std::iter::once(name.as_str()).chain(bridge_of(found)).collect()
            }
        };
        Card { further: Some(name), mac: id.nic_mac(&node.name, name), on }
    });
    std::iter::once(first).chain(further).collect()
}

/// Other domains with the MAC of a card on the same network.
fn holders(case: Case, id: &ClusterId, host: &Host, node: &Node, card: &Card) -> Vec<Finding> {
    let Card { further, mac, on } = card;
    let is_here =
        |other: &crate::machine::Card| other.mac == *mac && other.on.as_deref().is_some_and(|at| on.contains(&at));
    let others = host.inventory.domains.iter().filter(|domain| domain.uuid != id.uuid(&node.name));
    let finding = |domain: &crate::machine::DomainInfo| {
        let whose = further.map_or_else(|| node.name.to_string(), |nic| format!("the card {nic} of {}", node.name));
        let found = format!("the MAC {mac} of {whose} is that of domain {} on the same network", domain.name);
        let fix = match further {
            None => change_mac(node, &domain.name),
            Some(_) => format!("virsh edit {}, and give it another MAC", domain.name),
        };
        Finding::failure(Check::Macs, found, fix)
    };
    let others = others.filter(|domain| domain.resources().cards.iter().any(is_here));
    let making_room = case.making_room(host);
    others.filter(|domain| !making_room.contains(&domain.uuid)).map(finding).collect()
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
        matches!(
            problem,
            B::AddressOfNode { .. } | B::ForeignNode { .. } | B::AddressInRange { .. } | B::NotReserved { .. }
        )
    };
    let problems = blocked.iter().filter(is_of_address);
    let mut findings: Vec<_> =
        problems.map(|problem| Finding::of_error(Check::Addresses, problem, problem.hint())).collect();
    findings.extend(case.nodes.iter().flat_map(|node| reserved(case, id, host, node)));
    findings.extend(case.nodes.iter().filter_map(|node| asked_elsewhere(case, id, host, node)));
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

/// Whether a network of ours keeps this for a node of the cluster, so that `up` makes it what it must be.
fn is_seen_to(case: Case, id: &ClusterId, host: &Host, kept: &Reservation) -> bool {
    let ours = host.inventory.network.as_ref().is_some_and(|network| network.ours);
    ours && case.config.network.dhcp && is_of_cluster(case.config, id, kept)
}

/// A node that asks a DHCP server for its address of which libvirt knows nothing.
fn asked_elsewhere(case: Case, id: &ClusterId, host: &Host, node: &Node) -> Option<Finding> {
    let wanted = &case.config.network;
    let silent = |network: &NetworkInfo| network.address.is_none() && !network.ours;
    let place = match (&wanted.bridge, &host.inventory.network) {
        (Some(bridge), _) => format!("bridge {bridge}"),
        (None, Some(network)) if silent(network) => format!("network {}", network.name),
        _ => return None,
    };
    let (address, mac, name) = (node.address, case.config.mac(id, node), &node.name);
    let found = format!(
        "the DHCP server on {place} must keep {address} for the MAC {mac} of {name}; it cannot be asked from here"
    );
    wanted.dhcp.then(|| Finding::skipped(Check::Addresses, found))
}

fn reserved(case: Case, id: &ClusterId, host: &Host, node: &Node) -> Vec<Finding> {
    let own = case.config.mac(id, node);
    let kept = host.inventory.network.iter().flat_map(|network| &network.reservations);
    let others = kept.filter(|kept| kept.address == Some(node.address) && kept.mac != Some(own));
    let others = others.filter(|kept| !is_seen_to(case, id, host, kept));
    let finding = |kept: &Reservation| {
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
        let came_up = domain.mark().is_some_and(|mark| mark.belongs_to(id) && came_up(mark.state));
        // One whose node goes to another hypervisor must not start beside the new one.
        came_up && !domain.autostart && domain.moving().is_none()
    };
    findings.extend(host.inventory.domains.iter().filter(is_ours).map(|domain| {
        let found = format!("the machine of {} does not start with its host", domain.name);
        let fix = format!("nodebake doctor --fix, or: virsh autostart {}", domain.name);
        let remedy = Remedy::Autostart { uuid: domain.uuid, name: domain.name.clone() };
        Finding::warning(Check::Autostart, found, fix).with(remedy)
    }));
    or_ok(findings, Check::Autostart, || "what nodebake made starts with its host".to_owned())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::doctor::fixture::{Fixture, card, domain};
    use crate::machine::DomainState::{Running, ShutOff};

    #[test]
    fn a_mac_is_one_machines_alone() {
        let mut fixture = Fixture::new();
        let mac = fixture.config.mac(&fixture.id, &fixture.config.nodes[0]);
        let judge = |fixture: &Fixture| fixture.judge(|case, host| macs(case, &fixture.id, host));
        let free = "ok: no other domain of the network has the MAC of one of the 2 nodes";
        // Its own machine, one on another network, and one on none.
        let own = domain("worker-node-1", Running, &card(mac, "nodebake"));
        let own = crate::machine::DomainInfo { uuid: fixture.id.uuid(&fixture.config.nodes[0].name), ..own };
        let elsewhere = domain("elsewhere", Running, &card(mac, "default"));
        let none =
            domain("none", Running, &format!("<devices><interface><mac address='{mac}'/></interface></devices>"));
        fixture.host.inventory.domains = vec![own, elsewhere, none];
        assert_eq!(judge(&fixture), [free]);
        let taken = format!("failure: the MAC {mac} of worker-node-1 is that of domain clone on the same network");
        let edit = "virsh edit clone, and give it another MAC; or give worker-node-1 a `mac` in the cluster file";
        for on in ["nodebake", "br-nodebake"] {
            fixture.host.inventory.domains.push(domain("clone", ShutOff, &card(mac.to_string().to_uppercase(), on)));
            assert_eq!(judge(&fixture), [format!("{taken} | {edit}")], "{on}");
            fixture.host.inventory.domains.pop();
        }
        // On a bridge of the host, the network of that name is another one.
        fixture.config.network.bridge = Some("br0".to_owned());
        fixture.host.inventory.network = None;
        for (on, wanted) in [("nodebake", free.to_owned()), ("br0", format!("{taken} | {edit}"))] {
            let domains = &mut fixture.host.inventory.domains;
            domains.retain(|domain| domain.name != "worker-node-1");
            domains.push(domain("clone", ShutOff, &card(mac, on)));
            assert_eq!(judge(&fixture), [wanted], "{on}");
            fixture.host.inventory.domains.pop();
        }
        let before = Fixture::new();
        (fixture.host.inventory.network, fixture.config.network.bridge) = (before.host.inventory.network, None);
        fixture.host.inventory.domains.push(domain("clone", ShutOff, &card(mac, "nodebake")));
        // A further card's is compared on its own network alone.
        let nic = crate::config::FurtherNic {
            source: NicSource::Bridge("br1".to_owned()),
            mtu: None,
            address: None,
            address6: None,
        };
        let own = fixture.id.nic_mac(&fixture.config.nodes[0].name, "a");
        let mut with_nic = Fixture::new();
        with_nic.config.nodes[0].settings.machine.nics.insert("a".to_owned(), nic);
        for (on, wanted) in [
            ("nodebake", free.to_owned()),
            (
                "br1",
                format!(
                    "failure: the MAC {own} of the card a of worker-node-1 is that of domain clone on the same network | virsh \
                     edit clone, and give it another MAC"
                ),
            ),
        ] {
            with_nic.host.inventory.domains = vec![domain("clone", ShutOff, &card(own, on))];
            assert_eq!(judge(&with_nic), [wanted], "{on}");
        }
        fixture.config.nodes[0].mac = Some(mac);
        let given = "give worker-node-1 another `mac` in the cluster file, or leave the key out; or virsh edit clone";
        assert_eq!(judge(&fixture), [format!("{taken} | {given}")]);
    }

    #[test]
    fn what_dhcp_keeps_is_not_given_to_another() {
        let mut fixture = Fixture::new();
        let [first, second] = [0, 1].map(|node| fixture.config.mac(&fixture.id, &fixture.config.nodes[node]));
        let kept = |mac: Option<Mac>, name: Option<&str>, address: &str| Reservation {
            mac,
            name: name.map(str::to_owned),
            address: Some(address.parse().unwrap()),
        };
        fixture.network().reservations = vec![
            kept(Some(first), None, "10.0.0.36"),
            kept(Some(second), None, "10.0.0.99"),
            kept(Some(first), None, "10.0.0.37"),
            kept(None, Some("guest"), "10.0.0.37"),
        ];
        let keeps = |mac: Mac, node: &str, kept: &str, own: &str| {
            format!(
                "warning: DHCP keeps {kept} for the MAC {mac} of {node}, whose address is {own} | virsh net-edit nodebake, and \
                 remove or correct that <host>"
            )
        };
        let wanted = [
            keeps(first, "worker-node-1", "10.0.0.37", "10.0.0.36"),
            keeps(second, "worker-node-2", "10.0.0.99", "10.0.0.37"),
        ];
        assert_eq!(fixture.judge(|case, host| macs(case, &fixture.id, host)), wanted);
        let whose = |whose: &str| {
            format!(
                "failure: DHCP keeps the address 10.0.0.37 of worker-node-2 for {whose} | give worker-node-2 another address \
                 in the cluster file, or remove that <host>: virsh net-edit nodebake"
            )
        };
        let answers = [Presence::Free, Presence::Free];
        let found = fixture.judge(|case, host| addresses(case, &fixture.id, host, &[], &answers));
        assert_eq!(found, [whose(&format!("the MAC {first}")), whose("a guest that calls itself guest")]);
    }

    #[test]
    fn what_nodes_ask_for_is_kept_for_them() {
        let mut fixture = Fixture::new();
        fixture.config.network.dhcp = true;
        fixture.config.nodes.truncate(1);
        let judge = |fixture: &Fixture| {
            let mut found = fixture.judge(|case, host| macs(case, &fixture.id, host));
            found.extend(fixture.judge(|case, host| addresses(case, &fixture.id, host, &[], &[Presence::Free])));
            found
        };
        let mac = fixture.config.mac(&fixture.id, &fixture.config.nodes[0]);
        let kept = |mac: Mac, name: &str, address: [u8; 4]| Reservation {
            mac: Some(mac),
            name: Some(name.to_owned()),
            address: Some(address.into()),
        };
        let free = [
            "ok: no other domain of the network has the MAC of worker-node-1",
            "ok: no DHCP range and no reservation has the address of worker-node-1, and nobody else answers there",
        ];
        // Of our own network `up` makes of it what it must be: of a MAC and a name before, and of a node that is no more.
        let gone = fixture.id.mac(&"gone".parse().unwrap());
        let stale = [
            kept(Mac::from([0x52, 0x54, 0, 0, 0, 1]), "worker-node-1", [10, 0, 0, 36]),
            kept(mac, "worker-node-1", [10, 0, 0, 99]),
            kept(gone, "gone", [10, 0, 0, 36]),
        ];
        for stale in stale {
            fixture.network().reservations = vec![stale];
            assert_eq!(judge(&fixture), free);
        }
        let foreign = "failure: DHCP keeps the address 10.0.0.36 of worker-node-1 for the MAC 52:54:00:00:00:01 | give \
                       worker-node-1 another address in the cluster file, or remove that <host>: virsh net-edit nodebake";
        fixture.network().reservations = vec![kept(Mac::from([0x52, 0x54, 0, 0, 0, 1]), "other", [10, 0, 0, 36])];
        assert_eq!(judge(&fixture), [free[0], foreign]);
        // Elsewhere nobody can be asked.
        fixture.network().reservations.clear();
        (fixture.network().address, fixture.network().ours) = (None, false);
        let must = |place: &str| {
            format!(
                "skipped: the DHCP server on {place} must keep 10.0.0.36 for the MAC {mac} of worker-node-1; it cannot be asked \
                 from here"
            )
        };
        assert_eq!(judge(&fixture), [free[0].to_owned(), must("network nodebake")]);
        fixture.config.network.bridge = Some("br0".to_owned());
        fixture.host.inventory.network = None;
        assert_eq!(judge(&fixture), [free[0].to_owned(), must("bridge br0")]);
    }

    #[test]
    fn addresses_are_free_as_far_as_anybody_could_be_asked() {
        use Presence::{Free, Taken, Unknown};
        let mut fixture = Fixture::new();
        let node = fixture.config.nodes[0].name.clone();
        let judge = |fixture: &Fixture, blocked: &[Blocked], answers: &[Presence]| {
            fixture.judge(|case, host| addresses(case, &fixture.id, host, blocked, answers))
        };
        let of = "the address of one of the 2 nodes";
        let quiet = format!("ok: no DHCP range and no reservation has {of}, and nobody else answers there");
        assert_eq!(judge(&fixture, &[], &[Free, Free]), [quiet]);
        let deaf = "this machine is not on the network, so nobody there could be asked";
        fixture.host.inventory.nodes = Some(crate::cluster::Nodes::new());
        assert_eq!(judge(&fixture, &[], &[Free, Unknown]), [format!("ok: no other node has {of}; {deaf}")]);
        let answers = "failure: the address 10.0.0.37 of worker-node-2 is taken: something answers there | give the node \
                       another address in the cluster file, or stop the machine that has it";
        let address = fixture.config.nodes[0].address;
        let ranged = Blocked::AddressInRange { node: node.clone(), address, network: "nodebake".to_owned() };
        let range = "failure: the address 10.0.0.36 of worker-node-1 lies in the DHCP range of network nodebake | choose an \
                     address outside the range, or narrow it: virsh net-edit nodebake";
        assert_eq!(judge(&fixture, &[ranged], &[Free, Taken]), [range, answers]);
        let foreign = Blocked::ForeignDomain { node };
        let named = "failure: domain worker-node-1 exists and is not of this cluster | `nodebake rebuild worker-node-1 \
                     --take-over` stops and keeps it, and puts a machine of its own in its place; else rename the node in \
                     the cluster file, or remove the domain yourself: virsh undefine worker-node-1";
        assert_eq!(fixture.judge(|case, _| names(case, &[foreign])), [named]);
        fixture.config.nodes.pop();
        assert_eq!(fixture.judge(|case, _| names(case, &[])), ["ok: no other domain has the name of worker-node-1"]);
    }

    #[test]
    fn ours_starts_with_the_host_and_others_are_not_looked_at() {
        let mut fixture = Fixture::new();
        let judge = |fixture: &Fixture| fixture.judge(|_, host| autostart(&fixture.id, host));
        fixture.host.inventory.domains = vec![fixture.machine(0, Running), domain("other", Running, "")];
        assert_eq!(judge(&fixture), ["ok: what nodebake made starts with its host"]);
        fixture.host.inventory.domains[0].autostart = false;
        fixture.network().autostart = false;
        let machine = "warning: the machine of worker-node-1 does not start with its host | nodebake doctor --fix, or: virsh \
                       autostart worker-node-1";
        let network = "warning: network nodebake, which nodebake made, does not start with its host | nodebake doctor --fix, \
                       or: virsh net-autostart nodebake";
        assert_eq!(judge(&fixture), [network, machine]);
        fixture.network().ours = false;
        assert_eq!(judge(&fixture), [machine]);
    }
}
