//! network-config, read back with types that refuse what they do not know.

use std::net::{IpAddr, Ipv4Addr};

use serde::Deserialize;
use serde_json::Value;

use super::check::{same, yaml};
use crate::config::{Config, Mac, Node};

/// The part of network-config version 2 that we use (cloud-init's "Networking config Version 2").
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NetworkConfig {
    version: u8,
    ethernets: Ethernets,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ethernets {
    primary: Ethernet,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Ethernet {
    r#match: Match,
    dhcp4: bool,
    dhcp6: bool,
    accept_ra: bool,
    link_local: Vec<String>,
    addresses: Vec<String>,
    routes: Vec<Route>,
    nameservers: Nameservers,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Match {
    macaddress: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Route {
    to: ipnet::Ipv4Net,
    via: Ipv4Addr,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nameservers {
    addresses: Vec<IpAddr>,
}

/// Compares network-config as it reads back with what was meant.
pub(super) fn check(text: &str, config: &Config, node: &Node, mac: Mac) -> Result<(), String> {
    let NetworkConfig { version, ethernets: Ethernets { primary } } = yaml(text)?;
    same("version", &version, &2)?;
    same("macaddress", &primary.r#match.macaddress, &mac.to_string())?;
    same("dhcp4, dhcp6, accept-ra", &(primary.dhcp4, primary.dhcp6, primary.accept_ra), &(false, false, false))?;
    same("link-local", &primary.link_local, &Vec::new())?;
    let address = format!("{}/{}", node.address, config.network.cidr.prefix_len());
    same("addresses", &primary.addresses, &vec![address])?;
    let routes: Vec<_> = primary.routes.iter().map(|route| (route.to, route.via)).collect();
    same("routes", &routes, &vec![(ipnet::Ipv4Net::default(), config.network.gateway)])?;
    same("nameservers", &primary.nameservers.addresses, &config.network.nameservers)
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
