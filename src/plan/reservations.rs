//! What the DHCP server of the nodes' network keeps for them, where they ask it for their addresses.

use super::SharedAction;
use crate::config::{ClusterId, Config, Mac, Node};
use crate::machine::{NetworkInfo, Reservation};

/// What is to be kept for every node of the cluster file.
pub(super) fn wanted(config: &Config, id: &ClusterId) -> Vec<Reservation> {
    if !config.network.dhcp {
        return Vec::new();
    }
    config.nodes.iter().map(|node| of(config, id, node)).collect()
}

fn of(config: &Config, id: &ClusterId, node: &Node) -> Reservation {
    Reservation { mac: Some(config.mac(id, node)), name: Some(node.name.to_string()), address: Some(node.address) }
}

/// Has a network of ours keep just that for the nodes of this cluster; what it keeps for others stays.
pub(super) fn action(config: &Config, id: &ClusterId, network: &NetworkInfo) -> Option<SharedAction> {
    let wanted = wanted(config, id);
    if wanted.is_empty() || !network.ours {
        return None;
    }
    let stale = |kept: &&Reservation| !wanted.contains(kept) && is_of_cluster(config, id, kept);
    let gone: Vec<_> = network.reservations.iter().filter(stale).cloned().collect();
    let missing: Vec<_> = wanted.iter().filter(|kept| !network.reservations.contains(kept)).cloned().collect();
    let nothing = gone.is_empty() && missing.is_empty();
    (!nothing).then(|| SharedAction::Reserve { network: network.name.clone(), gone, wanted: missing })
}

/// Whether a network of ours keeps this for a node of the cluster, or did for one that is no more: by the MAC that a
/// node of its name would have.
pub fn is_of_cluster(config: &Config, id: &ClusterId, kept: &Reservation) -> bool {
    let derived = |name: &String| name.parse().ok().map(|name| id.mac(&name));
    let of_node = |node: &Node| {
        kept.mac == Some(config.mac(id, node)) || kept.name.as_deref() == Some(node.name.to_string().as_str())
    };
    (kept.mac.is_some() && kept.name.as_ref().and_then(derived) == kept.mac) || config.nodes.iter().any(of_node)
}

/// Whether a DHCP server of libvirt's, on a network that is not ours, keeps no address for a node that asks it for one. A
/// network without an address has none.
pub(super) fn is_missing(config: &Config, node: &Node, mac: Mac, network: &NetworkInfo) -> bool {
    let kept = |kept: &Reservation| kept.mac == Some(mac) && kept.address == Some(node.address);
    config.network.dhcp && !network.ours && network.address.is_some() && !network.reservations.iter().any(kept)
}
