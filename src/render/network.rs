//! The node's network: a file of systemd-networkd's, and the network-config that leaves it to that. A network-config of the
//! user's own takes the place of both.

use std::net::{IpAddr, Ipv4Addr};

use serde::Deserialize;
use serde_json::Value;

use super::NodeBundle;
use super::check::{same, text, yaml};
use super::templates::has_template;
use crate::config::{Config, Mac, Node};

/// Path in the guest, mode and template. The name puts it before those of netplan, which begin with 10-netplan.
pub(super) const FILE: (&str, u32, &str) = ("/etc/systemd/network/05-nodebake.network", 0o644, "guest/primary.network");

/// Whether a network-config of the user's own takes the place of ours.
pub(super) fn is_own(node: &Node) -> bool {
    has_template(node, "network-config")
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
    Address(ipnet::Ipv4Net),
    Gateway(Ipv4Addr),
    Dns(IpAddr),
    Off(&'static str),
}

/// What networkd does of itself on a card, unless it is told not to.
const OFF: [&str; 3] = ["DHCP", "IPv6AcceptRA", "LinkLocalAddressing"];

/// Compares the .network file as it reads back with what was meant.
pub(super) fn check_file(bundle: &NodeBundle, config: &Config, node: &Node, mac: Mac) -> Result<(), String> {
    let (path, ..) = FILE;
    let got = settings(text(bundle, path)?)?;
    let address =
        ipnet::Ipv4Net::new(node.address, config.network.cidr.prefix_len()).map_err(|error| error.to_string())?;
    let mut wanted = vec![Setting::Card(mac)];
    wanted.extend(config.network.mtu.map(Setting::Mtu));
    wanted.extend([Setting::Address(address), Setting::Gateway(config.network.gateway)]);
    wanted.extend(config.network.nameservers.iter().copied().map(Setting::Dns));
    wanted.extend(OFF.map(Setting::Off));
    same("the settings", &got, &wanted)
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
        found.push(setting(section, key, value).ok_or_else(|| format!("[{section}] {line} is not understood"))?);
    }
    Ok(found)
}

fn setting(section: &str, key: &str, value: &str) -> Option<Setting> {
    match (section, key) {
        ("Match", "PermanentMACAddress") => value.parse().ok().map(Setting::Card),
        ("Link", "MTUBytes") => value.parse().ok().map(Setting::Mtu),
        ("Network", "Address") => value.parse().ok().map(Setting::Address),
        ("Network", "Gateway") => value.parse().ok().map(Setting::Gateway),
        ("Network", "DNS") => value.parse().ok().map(Setting::Dns),
        ("Network", _) if value == "no" => OFF.into_iter().find(|off| *off == key).map(Setting::Off),
        _ => None,
    }
}
