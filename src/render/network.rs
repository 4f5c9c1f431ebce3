//! The node's network: a file of systemd-networkd's, and the network-config that leaves it to that. A network-config of the
//! user's own takes the place of both.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::NodeBundle;
use super::check::{same, text, yaml};
use super::templates::has_template;
use crate::config::{Config, Mac, Macs, Node};

/// Path in the guest, mode and template. The name puts it before those of netplan, which begin with 10-netplan.
pub(super) const FILE: (&str, u32, &str) = ("/etc/systemd/network/05-nodebake.network", 0o644, "guest/primary.network");

/// Template of the files of further cards.
pub(super) const NIC: &str = "guest/nic.network";

/// Path in the guest of a further card's file.
pub(super) fn nic_path(name: &str) -> String {
    format!("/etc/systemd/network/06-nodebake-{name}.network")
}

/// A network card beside the first, as templates see it.
#[derive(Serialize)]
pub(super) struct NicValues<'a> {
    pub(super) name: &'a str,
    mac: String,
    mtu: Option<u32>,
    /// With the lengths of their prefixes.
    addresses: Vec<IpNet>,
    ipv6: bool,
}

/// The network cards beside the first.
pub(super) fn nics<'a>(node: &'a Node, macs: &'a Macs) -> Vec<NicValues<'a>> {
    let nics = &node.settings.machine.nics;
    let values = |(name, mac): (&'a String, &Mac)| {
        let nic = nics.get(name)?;
        let (mac, addresses) = (mac.to_string(), nic.addresses().collect());
        Some(NicValues { name, mac, mtu: nic.mtu, addresses, ipv6: nic.address6.is_some() })
    };
    macs.further.iter().filter_map(values).collect()
}

/// Whether a network-config of the user's own takes the place of ours.
pub(super) fn is_own(node: &Node) -> bool {
    has_template(node, "network-config")
}

/// Script that waits until the node has its address by DHCP; the kubelet's unit runs it.
pub(super) const ADDRESS: &str = "/usr/local/lib/nodebake/address";

/// Whether the node asks for its address by DHCP, as far as that is ours to say.
pub(super) fn asks(config: &Config, node: &Node) -> bool {
    config.network.dhcp && !is_own(node)
}

/// network-config that turns cloud-init's part off (cloud-init's "Network configuration", "Disabling network
/// configuration"; its JSON schema knows arrays alone in this place).
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NetworkConfig {
    network: Network,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Network {
    config: String,
}

/// Compares network-config as it reads back with what was meant.
pub(super) fn check(text: &str) -> Result<(), String> {
    let NetworkConfig { network } = yaml(text)?;
    same("config", &network.config.as_str(), &"disabled")
}

/// What holds of any network-config: it is of version 2, and about the node's card.
pub(super) fn check_own(text: &str, mac: Mac) -> Result<(), String> {
    let data: Value = yaml(text)?;
    same("version", &data.get("version"), &Some(&Value::from(2)))?;
    let ethernets = data.get("ethernets").and_then(Value::as_object);
    let is_ours =
        |card: &Value| card.pointer("/match/macaddress").and_then(Value::as_str) == Some(mac.to_string().as_str());
    same("that a card is matched by the node's MAC", &ethernets.is_some_and(|cards| cards.values().any(is_ours)), &true)
}

/// One setting of a .network file that we use (systemd.network(5)), by its section and name.
#[derive(Debug, PartialEq)]
enum Setting {
    Card(Mac),
    Mtu(u32),
    Address(IpNet),
    Gateway(IpAddr),
    Dns(IpAddr),
    Off(&'static str),
    LinkLocal6,
    NotWaitedFor,
    /// By DHCP, as one that is known by its MAC.
    Asks(&'static str),
}

/// What networkd does of itself on a card, unless it is told not to.
const OFF: [&str; 3] = ["DHCP", "IPv6AcceptRA", "LinkLocalAddressing"];

/// What is said where the address comes by DHCP: in `[Network]`, and in `[DHCPv4]`. The rest of what a server tells is left.
const ASKS: [&str; 6] =
    ["DHCP=ipv4", "KeepConfiguration=dhcp-on-stop", "ClientIdentifier=mac", "UseDNS=no", "UseNTP=no", "UseHostname=no"];

/// What is said of that: all of it is off, but that neighbours find each other by IPv6 through link-local addresses
/// (RFC 4291, 2.8), where a card has IPv6.
fn off(ipv6: bool) -> impl Iterator<Item = Setting> {
    OFF.into_iter().map(move |name| match name {
        "LinkLocalAddressing" if ipv6 => Setting::LinkLocal6,
        name => Setting::Off(name),
    })
}

/// The node's IPv6 address with the length of its prefix.
pub(super) fn address6(config: &Config, node: &Node) -> Option<IpNet> {
    let net = config.network.ipv6?.cidr;
    Ipv6Net::new(node.address6?, net.prefix_len()).ok().map(IpNet::from)
}

/// Compares the .network file as it reads back with what was meant.
pub(super) fn check_file(bundle: &NodeBundle, config: &Config, node: &Node, mac: Mac) -> Result<(), String> {
    let (path, ..) = FILE;
    let got = settings(text(bundle, path)?)?;
    let network = &config.network;
    let address = Ipv4Net::new(node.address, network.cidr.prefix_len()).map_err(|error| error.to_string())?;
    let address6 = address6(config, node);
    let gateway6 = network.ipv6.filter(|_| address6.is_some()).map(|ipv6| ipv6.gateway.into());
    let mut wanted = vec![Setting::Card(mac)];
    wanted.extend(network.mtu.map(Setting::Mtu));
    let (own, own_gateway) = if network.dhcp {
        wanted.extend(ASKS[..2].iter().copied().map(Setting::Asks));
        (None, None)
    } else {
        (Some(address.into()), Some(network.gateway.into()))
    };
    wanted.extend(own.into_iter().chain(address6).map(Setting::Address));
    wanted.extend(own_gateway.into_iter().chain(gateway6).map(Setting::Gateway));
    wanted.extend(network.nameservers.iter().copied().map(Setting::Dns));
    wanted.extend(off(address6.is_some()).filter(|off| !(network.dhcp && *off == Setting::Off("DHCP"))));
    if network.dhcp {
        wanted.extend(ASKS[2..].iter().copied().map(Setting::Asks));
    }
    same("the settings", &got, &wanted)
}

/// Compares the files of further cards as they read back with what was meant.
pub(super) fn check_nics(bundle: &NodeBundle, node: &Node, macs: &Macs) -> Result<(), String> {
    for (name, nic) in &node.settings.machine.nics {
        let mac = macs.further.get(name).ok_or_else(|| format!("{name} has no MAC"))?;
        let mut wanted = vec![Setting::Card(*mac), Setting::NotWaitedFor];
        wanted.extend(nic.mtu.map(Setting::Mtu));
        wanted.extend(nic.addresses().map(Setting::Address));
        wanted.extend(off(nic.address6.is_some()));
        same(&format!("the settings of {name}"), &settings(text(bundle, &nic_path(name))?)?, &wanted)?;
    }
    Ok(())
}

fn settings(text: &str) -> Result<Vec<Setting>, String> {
    let mut section = "";
    let mut found = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = name;
            continue;
        }
        let (key, value) = line.split_once('=').ok_or_else(|| format!("{line:?} is no setting"))?;
        if let Some(asks) = ASKS.into_iter().find(|asks| *asks == line && ["Network", "DHCPv4"].contains(&section)) {
            found.push(Setting::Asks(asks));
            continue;
        }
        found.push(setting(section, key, value).ok_or_else(|| format!("[{section}] {line} is not understood"))?);
    }
    Ok(found)
}

fn setting(section: &str, key: &str, value: &str) -> Option<Setting> {
    match (section, key) {
        ("Match", "PermanentMACAddress") => value.parse().ok().map(Setting::Card),
        ("Link", "RequiredForOnline") if value == "no" => Some(Setting::NotWaitedFor),
        ("Link", "MTUBytes") => value.parse().ok().map(Setting::Mtu),
        ("Network", "Address") => value.parse().ok().map(Setting::Address),
        ("Network", "Gateway") => value.parse().ok().map(Setting::Gateway),
        ("Network", "DNS") => value.parse().ok().map(Setting::Dns),
        ("Network", "LinkLocalAddressing") if value == "ipv6" => Some(Setting::LinkLocal6),
        ("Network", _) if value == "no" => OFF.into_iter().find(|off| *off == key).map(Setting::Off),
        _ => None,
    }
}
