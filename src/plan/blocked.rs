//! What stands in the way of a plan.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;

use super::inventory::{Domains, further_networks};
use super::take_over::TakeOvers;
use super::{ByHand, Inventory, Request, reservations};
use crate::config::{ClusterId, Config, HypervisorName, Mac, Node, NodeName};
use crate::machine::{DomainInfo, MachineError, Mark, VolumeName};

/// Why nothing can be planned.
#[derive(Debug, thiserror::Error)]
pub enum Blocked {
    /// The cluster file does not name the node.
    #[error("the cluster file has no node {node}")]
    UnknownNode {
        /// The name asked for.
        node: NodeName,
    },
    /// The node has no machine.
    #[error("{node} has no machine")]
    NoMachine {
        /// The node.
        node: NodeName,
    },
    /// The machine was not made to its end.
    #[error("the machine of {node} is half made")]
    HalfMade {
        /// The node.
        node: NodeName,
    },
    /// Another domain has the node's name.
    #[error("domain {node} exists and is not of this cluster")]
    ForeignDomain {
        /// The name.
        node: NodeName,
    },
    /// There is no domain that could be taken over.
    #[error("there is no persistent domain {domain} that could be taken over for {node}")]
    NothingToTakeOver {
        /// The node.
        node: NodeName,
        /// The domain's name.
        domain: String,
    },
    /// The node's machine is ours.
    #[error("the machine of {node} was made by nodebake: there is nothing to take over")]
    AlreadyOurs {
        /// The node.
        node: NodeName,
    },
    /// The domain to take over is a machine of nodebake's, or taken over for another cluster.
    #[error("domain {domain} cannot be taken over for {node}: it carries a mark of nodebake already")]
    OthersDomain {
        /// The node.
        node: NodeName,
        /// The domain's name.
        domain: String,
    },
    /// A take-over that was cut off.
    #[error("the take-over of {node} is not at its end: domain {domain} is the machine before")]
    Unsettled {
        /// The node.
        node: NodeName,
        /// The machine made by hand.
        domain: String,
    },
    /// Another change of a node's machine is not at its end.
    #[error("{node} cannot leave {at}: another change of its machine there is not at its end")]
    Unmovable {
        /// The node.
        node: NodeName,
        /// The hypervisor.
        at: HypervisorName,
    },
    /// A node is on its way from one hypervisor to another.
    #[error("{node} is on its way from or to {other}")]
    OnItsWay {
        /// The node.
        node: NodeName,
        /// The other hypervisor.
        other: HypervisorName,
    },
    /// Two hypervisors have one pool.
    #[error("{node} cannot go from {at} to {to}: their pools hold the same files")]
    SharedPool {
        /// The node.
        node: NodeName,
        /// The hypervisor that it would leave.
        at: HypervisorName,
        /// The one that it would go to.
        to: HypervisorName,
    },
    /// A node has data disks of an earlier time where it would go.
    #[error("{node} has data disks at {at} from an earlier time: {}", disks.join(", "))]
    DataThere {
        /// The node.
        node: NodeName,
        /// The hypervisor.
        at: HypervisorName,
        /// Names of their volumes.
        disks: Vec<String>,
        /// Name of their pool.
        pool: String,
    },
    /// A node's data disks would stay behind.
    #[error("{node} has data disks at {at}, which would stay there: {}", disks.join(", "))]
    DataStays {
        /// The node.
        node: NodeName,
        /// The hypervisor.
        at: HypervisorName,
        /// Names of their volumes.
        disks: Vec<String>,
    },
    /// A domain that was taken over and is to be removed runs.
    #[error("domain {domain} runs")]
    KeptRuns {
        /// The machine made by hand.
        domain: String,
    },
    /// Another domain keeps its UEFI variables in the file that the node's machine would get.
    #[error("domain {domain} keeps its UEFI variables in the file that libvirt would give the machine of {node}")]
    Variables {
        /// The node.
        node: NodeName,
        /// The domain.
        domain: String,
    },
    /// A node of that name is in the cluster and alive, and its machine is not ours.
    #[error("node {node} is in the cluster already, alive and on a machine that is not ours")]
    ForeignNode {
        /// The name.
        node: NodeName,
    },
    /// Another node of the cluster has the address.
    #[error("the address {address} of {node} is taken by node {by}")]
    AddressOfNode {
        /// Whose address it should be.
        node: NodeName,
        /// The address.
        address: IpAddr,
        /// Who has it.
        by: String,
    },
    /// Somebody on the network has the address.
    #[error("the address {address} of {node} is taken: something answers there")]
    AddressAnswers {
        /// Whose address it should be.
        node: NodeName,
        /// The address.
        address: Ipv4Addr,
    },
    /// The network's DHCP server may give the address away.
    #[error("the address {address} of {node} lies in the DHCP range of network {network}")]
    AddressInRange {
        /// Whose address it should be.
        node: NodeName,
        /// The address.
        address: Ipv4Addr,
        /// The libvirt network.
        network: String,
    },
    /// The network that is there is another one.
    #[error("network {network} has the address {found}, the cluster file says {wanted}")]
    OtherNetwork {
        /// The libvirt network.
        network: String,
        /// Its subnet.
        found: IpNet,
        /// The subnet wanted.
        wanted: IpNet,
    },
    /// A network that nodebake does not make is missing.
    #[error("there is no network {network}, which {node} has a card on")]
    NoNetwork {
        /// The node.
        node: NodeName,
        /// The libvirt network.
        network: String,
    },
    /// The node asks for its address by DHCP, and the server keeps none for it.
    #[error("{node} asks for its address by DHCP, and network {network} does not keep {address} for its MAC {mac}")]
    NotReserved {
        /// The node.
        node: NodeName,
        /// Its address.
        address: Ipv4Addr,
        /// Its MAC.
        mac: Mac,
        /// The libvirt network.
        network: String,
    },
    /// A data disk would have to shrink.
    #[error("data disk {disk} of {node} has {} MiB, the cluster file says {} MiB; disks do not shrink", from >> 20, to >> 20)]
    Shrinks {
        /// The node.
        node: NodeName,
        /// The disk's name.
        disk: String,
        /// What it has, in bytes.
        from: u64,
        /// What it should have.
        to: u64,
    },
    /// The pool does not hold files.
    #[error("storage pool {pool} is of type {kind}; disks need a pool over a folder")]
    OtherPool {
        /// The pool.
        pool: String,
        /// libvirt's type.
        kind: String,
    },
    /// The hypervisor cannot do what is asked.
    #[error("the hypervisor cannot run these nodes")]
    Machine(#[source] MachineError),
}

impl Blocked {
    /// What the user can do.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::UnknownNode { .. } => "see `nodebake status` for the nodes there are".to_owned(),
            Self::NoMachine { node } => format!("`nodebake up {node}` makes it"),
            Self::HalfMade { node } => format!("`nodebake up {node}` makes it anew"),
            Self::ForeignDomain { node } => {
                format!(
                    "`nodebake rebuild {node} --take-over` stops and keeps it, and puts a machine of its own in its place; \
                     else rename the node in the cluster file, or remove the domain yourself: virsh undefine {node}"
                )
            }
            Self::NothingToTakeOver { node, .. } => {
                format!(
                    "`nodebake up {node}` makes its machine; --domain names one that has another name than its node"
                )
            }
            Self::AlreadyOurs { node } => format!("`nodebake rebuild {node}` replaces it"),
            Self::OthersDomain { .. } => {
                "name the machine that is to be taken over (--domain), or leave --take-over out".to_owned()
            }
            Self::Unsettled { node, .. } => {
                format!("`nodebake rebuild {node} --take-over` brings it to its end, or that machine back")
            }
            Self::Unmovable { node, .. } => {
                format!("`nodebake up {node}` brings that to its end, or `nodebake rebuild {node} --take-over`")
            }
            Self::OnItsWay { node, .. } => format!("`nodebake up {node}` brings that to its end"),
            Self::SharedPool { .. } => "give each hypervisor a pool of its own (poolPath:)".to_owned(),
            Self::DataThere { disks, pool, .. } => {
                let delete = |disk: &String| format!("virsh vol-delete --pool {pool} {disk}");
                let delete = disks.iter().map(delete).collect::<Vec<_>>().join("; ");
                format!("where nothing on them is needed any more, remove them on that host: {delete}")
            }
            Self::DataStays { .. } => {
                "--leave-data leaves them behind, and the node gets new ones; the old ones stay until somebody removes them \
                 there with virsh vol-delete"
                    .to_owned()
            }
            Self::KeptRuns { domain } => format!("stop it if nobody needs it any more: virsh shutdown {domain}"),
            Self::Variables { node, domain } => format!(
                "while {domain} is off, move that file and name its new place under <nvram> (virsh edit {domain}); or give \
                 {node} `firmware: bios` under machine in the cluster file"
            ),
            Self::ForeignNode { node } => {
                format!(
                    "drain and stop that machine first, then: kubectl delete node {node}; after `nodebake down` its lease \
                     runs out within a minute"
                )
            }
            Self::AddressOfNode { .. } | Self::AddressAnswers { .. } => {
                "give the node another address in the cluster file, or stop the machine that has it".to_owned()
            }
            Self::AddressInRange { network, .. } => {
                format!("choose an address outside the range, or narrow it: virsh net-edit {network}")
            }
            Self::OtherNetwork { .. } => {
                "name another network in the cluster file, or correct network.cidr and network.cidr6".to_owned()
            }
            Self::NotReserved { node, address, mac, network } => format!(
                "virsh net-update {network} add ip-dhcp-host \"<host mac='{mac}' name='{node}' ip='{address}'/>\" --live --config"
            ),
            Self::NoNetwork { .. } => {
                "nodebake makes no network but the nodes' own: define it with virsh, or name another under nics"
                    .to_owned()
            }
            Self::Shrinks { node, .. } => format!(
                "give it its size back in the cluster file, or, where nothing on it is needed: nodebake down {node} --with-data"
            ),
            Self::OtherPool { .. } => "name another pool in the cluster file".to_owned(),
            Self::Machine(source) => return source.hint(),
        })
    }
}

/// A node's machine with its mark: it must be there, and this cluster's.
pub fn own<'a>(
    id: &ClusterId,
    node: &NodeName,
    domain: Option<&'a DomainInfo>,
) -> Result<(&'a DomainInfo, &'a Mark), Blocked> {
    let domain = domain.ok_or_else(|| Blocked::NoMachine { node: node.clone() })?;
    let mark = domain.mark().filter(|mark| mark.belongs_to(id));
    mark.map(|mark| (domain, mark)).ok_or_else(|| Blocked::ForeignDomain { node: node.clone() })
}

/// Looks for what stands in the way; tells the first of it.
pub(super) fn check(request: Request, by_hand: ByHand) -> Result<(), Blocked> {
    let Request { config, id, built, inventory, now } = request;
    let by_name: BTreeMap<_, _> = config.nodes.iter().map(|node| (&node.name, node)).collect();
    let named = |name| by_name.get(name).copied().ok_or_else(|| Blocked::UnknownNode { node: NodeName::clone(name) });
    let nodes = built.iter().map(|built| named(&built.node)).collect::<Result<Vec<_>, _>>()?;
    blocked(config, id, &nodes, inventory, now, by_hand).into_iter().next().map_or(Ok(()), Err)
}

/// All that stands in the way of these nodes; `now` in seconds since the epoch.
pub fn blocked(
    config: &Config,
    id: &ClusterId,
    nodes: &[&Node],
    inventory: &Inventory,
    now: i64,
    by_hand: ByHand,
) -> Vec<Blocked> {
    let mut blocked = shared(config, inventory);
    let take_overs = TakeOvers::read(id, &inventory.domains);
    let domains = Domains::of_host(&inventory.domains);
    let aside = |node: &Node| take_overs.find(id, &node.name, &domains, by_hand);
    blocked.extend(nodes.iter().flat_map(|node| of_node(config, id, node, inventory, &domains, now, aside(node))));
    blocked.extend(nodes.iter().flat_map(|node| without_networks(config, node, inventory)));
    blocked
}

fn shared(config: &Config, inventory: &Inventory) -> Vec<Blocked> {
    let mut blocked = Vec::new();
    if let Some(network) = &inventory.network {
        let found6 = network.address6.zip(config.network.ipv6).map(|(found, ipv6)| (found.into(), ipv6.cidr.into()));
        let found = network.address.map(|found| (found.into(), config.network.cidr.into()));
        for (found, wanted) in found.into_iter().chain(found6).filter(|(a, b): &(IpNet, IpNet)| a.trunc() != *b) {
            blocked.push(Blocked::OtherNetwork { network: network.name.clone(), found: found.trunc(), wanted });
        }
    }
    if let Some(pool) = inventory.pool.as_ref().filter(|pool| !matches!(pool.kind.as_str(), "dir" | "fs" | "netfs")) {
        blocked.push(Blocked::OtherPool { pool: pool.name.clone(), kind: pool.kind.clone() });
    }
    blocked
}

/// Networks of its further cards that are not there. Its own network is made, where it is none of a bridge.
fn without_networks<'a>(
    config: &'a Config,
    node: &'a Node,
    inventory: &'a Inventory,
) -> impl Iterator<Item = Blocked> + 'a {
    let made = |name: &str| config.network.bridge.is_none() && config.network.name == name;
    let missing = move |name: &&str| !made(name) && inventory.further.iter().all(|network| network.name != *name);
    let blocked = |network: &str| Blocked::NoNetwork { node: node.name.clone(), network: network.to_owned() };
    further_networks(node).filter(missing).map(blocked)
}

/// `aside` is the machine made by hand whose place the node's takes, if there is one, or what is wrong with that.
fn of_node(
    config: &Config,
    id: &ClusterId,
    node: &Node,
    inventory: &Inventory,
    domains: &Domains,
    now: i64,
    aside: Result<Option<&DomainInfo>, Blocked>,
) -> Vec<Blocked> {
    let mut blocked = Vec::new();
    let aside = match aside {
        Ok(aside) => aside.map(|domain| domain.uuid),
        Err(problem) => return vec![problem],
    };
    let name = node.name.clone();
    let address = node.address;
    let uuid = id.uuid(&node.name);
    let ours = domains.of(uuid);
    let own_name = name.to_string();
    let same_name = domains.named(&own_name);
    let foreign_mark = ours.is_some_and(|domain| !domain.mark().is_some_and(|mark| mark.belongs_to(id)));
    if foreign_mark || same_name.is_some_and(|domain| domain.uuid != uuid && Some(domain.uuid) != aside) {
        blocked.push(Blocked::ForeignDomain { node: name.clone() });
    }
    let nodes = inventory.nodes.iter().flatten().map(|(_, node)| node);
    let own_address = address.to_string();
    for other in nodes.clone().filter(|other| other.name != own_name) {
        for address in node.addresses().into_iter().filter(|address| other.has_address(*address)) {
            blocked.push(Blocked::AddressOfNode { node: name.clone(), address, by: other.name.clone() });
        }
    }
    // At our own address it is either what we removed a moment ago, or somebody who answers there: that is asked later.
    let mut same = nodes.clone().filter(|other| other.name == own_name);
    let elsewhere = same.any(|other| other.internal_ip != own_address);
    // The one that it is to come from is ours too.
    let ours_elsewhere = inventory.moves.contains_key(&name);
    if ours.is_none() && !ours_elsewhere && elsewhere && inventory.is_alive(&name, now) {
        blocked.push(Blocked::ForeignNode { node: name.clone() });
    }
    for (disk, wanted) in &node.settings.machine.data_disks {
        let volume = VolumeName::data(id, &node.name, disk);
        let found = inventory.volumes.iter().find(|found| found.ours().as_ref() == Some(&volume));
        if let Some(found) = found.filter(|found| found.capacity > wanted.size) {
            let (disk, from, to) = (disk.clone(), found.capacity, wanted.size);
            blocked.push(Blocked::Shrinks { node: name.clone(), disk, from, to });
        }
    }
    if let Some(network) = &inventory.network {
        let (mac, network_name) = (config.mac(id, node), network.name.clone());
        if reservations::is_missing(config, node, mac, network) {
            blocked.push(Blocked::NotReserved { node: name, address, mac, network: network_name });
        } else if !config.network.dhcp && network.dhcp.iter().any(|(first, last)| (*first..=*last).contains(&address)) {
            // What a server keeps for one guest it gives to no other, in its range or not.
            blocked.push(Blocked::AddressInRange { node: name, address, network: network_name });
        }
    }
    blocked
}
