//! The proxy that containerd pulls images through.

use crate::config::{Config, Proxy};

/// Where containerd's unit reads it.
pub(super) const DROP_IN: &str = "/etc/systemd/system/containerd.service.d/50-nodebake-proxy.conf";

/// `NAME=VALUE` of each variable, as Go's net/http reads them (golang.org/x/net/http/httpproxy, `FromEnvironment`).
pub(super) fn variables(config: &Config, proxy: &Proxy) -> Vec<String> {
    let set = [("HTTP_PROXY", &proxy.http), ("HTTPS_PROXY", &proxy.https)];
    let set = set.into_iter().filter_map(|(name, url)| url.as_ref().map(|url| format!("{name}={url}")));
    set.chain([format!("NO_PROXY={}", direct(config, proxy).join(","))]).collect()
}

/// What is reached without it: the node itself, its network, the cluster; then what the cluster file adds. Each once.
fn direct(config: &Config, proxy: &Proxy) -> Vec<String> {
    let mut hosts = vec!["localhost".to_owned(), "127.0.0.0/8".to_owned(), config.network.cidr.to_string()];
    hosts.extend(config.network.ipv6.map(|ipv6| ipv6.cidr.to_string()));
    hosts.extend(api_server(&config.cluster.api_server));
    hosts.extend([".svc".to_owned(), format!(".{}", config.cluster.cluster_domain)]);
    hosts.extend(proxy.no.iter().cloned());
    let mut seen = std::collections::BTreeSet::new();
    hosts.retain(|host| seen.insert(host.clone()));
    hosts
}

/// The apiserver's host; an IPv6 address without its brackets.
fn api_server(url: &str) -> Option<String> {
    match url::Url::parse(url).ok()?.host()? {
        url::Host::Domain(name) => Some(name.to_owned()),
        url::Host::Ipv4(address) => Some(address.to_string()),
        url::Host::Ipv6(address) => Some(address.to_string()),
    }
}
