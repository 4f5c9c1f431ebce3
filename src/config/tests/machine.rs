//! What nodes' machines are made of, beyond their size, and the addresses beside their first.

use super::layers::{node_of, problems_of};
use super::*;

#[test]
fn data_disks_are_layered_by_their_names() {
    let defaults = "dataDisks: {data: {size: 20GiB, mountPath: /data}, logs: {size: 2GiB}}";
    let group = "g: {dataDisks: {data: {fileSystem: xfs}, logs: null}}";
    let disks = node_of(defaults, group, "group: g\ndataDisks: {data: {size: 30GiB}}").settings.machine.data_disks;
    let mount = Some(Mount { path: "/data".to_owned(), file_system: "xfs".to_owned() });
    assert_eq!(disks, BTreeMap::from([("data".to_owned(), DataDisk { size: 30 << 30, mount })]));
}

#[test]
fn mounts_that_cannot_be_are_refused() {
    for (defaults, expected) in [
        (
            "dataDisks: {a: {size: 1GiB, fileSystem: ext4}, b: {size: 1GiB, mountPath: /d, fileSystem: ext3}}",
            &[
                "17:43: defaults.dataDisks.a.fileSystem: fileSystem means something only beside mountPath",
                "17:93: defaults.dataDisks.b.fileSystem: \"ext3\" is not known, did you mean \"ext4\"?",
            ][..],
        ),
        (
            "dataDisks: {a: {mountPath: /data}}",
            &["17:18: defaults.dataDisks.a.size: missing key: a size such as 20GiB"],
        ),
        (
            "dataDisks: {a: {size: 64MiB, mountPath: /data}}",
            &["17:25: defaults.dataDisks.a.size: a disk with a file system has at least 512MiB"],
        ),
        (
            "dataDisks: {a: {size: 1GiB, mountPath: /d}, b: {size: 1GiB, mountPath: /d}}",
            &["17:14: defaults.dataDisks: a and b are both mounted at /d"],
        ),
        (
            "dataDisks: {a: {size: 1GiB, mountPath: /d}}\nfiles: {/d/e: {content: ''}, /de: {content: ''}}",
            &["17:14: defaults.dataDisks: the file /d/e would be hidden by a, which is mounted at /d"],
        ),
    ] {
        assert_eq!(problems_of(defaults), expected, "{defaults}");
    }
}

/// The network of [`LEAST`] with further lines, and its node with more beside its address.
fn on_network(network: &str, node: &str) -> Result<Config, ConfigError> {
    read(&on_network_text(network, node))
}

fn on_network_text(network: &str, node: &str) -> String {
    let node = format!("    address: 10.0.0.36\n{node}");
    LEAST
        .replace("  gateway: 10.0.0.1\n", &format!("  gateway: 10.0.0.1\n{network}"))
        .replace("    address: 10.0.0.36\n", &node)
}

#[test]
fn ipv6_stands_beside_ipv4() {
    let network = "  cidr6: fd00:10::/64\n  gateway6: FD00:10::0:1\n";
    let config = on_network(network, "    address6: fd00:10::36\n").unwrap();
    let (cidr, gateway) = ("fd00:10::/64".parse().unwrap(), "fd00:10::1".parse().unwrap());
    assert_eq!(config.network.ipv6, Some(Network6 { cidr, gateway }));
    let addresses: [IpAddr; 2] = ["10.0.0.36".parse().unwrap(), "fd00:10::36".parse().unwrap()];
    assert_eq!(config.nodes[0].addresses(), addresses);
    let config = on_network(network, "").unwrap();
    assert_eq!((config.network.ipv6.is_some(), config.nodes[0].addresses()), (true, addresses[..1].to_vec()));
}

#[test]
fn ipv6_addresses_stand_where_they_work() {
    let both = "  cidr6: fd00:10::/64\n  gateway6: fd00:10::1\n";
    let nodes = |second: &str| {
        format!("    address6: fd00:10::36\n  - name: b\n    address: 10.0.0.37\n    address6: {second}\n")
    };
    for (network, node, expected) in [
        (
            "",
            "    address6: fd00:10::36\n",
            &["16:15: nodes[0].address6: there is no network.cidr6 that it could be in"][..],
        ),
        ("  cidr6: fd00:10::/64\n", "", &["10:3: network.gateway6: missing key: an IPv6 address such as fd00:10::1"]),
        ("  gateway6: fd00:10::1\n", "", &["10:3: network.cidr6: missing key: a network such as fd00:10::/64"]),
        (
            "  cidr6: fd00:10::1/64\n  gateway6: fd00:11::1\n  mtu: 1279\n",
            "",
            &[
                "12:10: network.cidr6: fd00:10::1/64 is an address inside a network, did you mean fd00:10::/64?",
                "14:8: network.mtu: IPv6 needs packets of at least 1280 bytes",
            ],
        ),
        (
            "  cidr6: fe80::/64\n  gateway6: fe80::1\n",
            "",
            &[
                "12:10: network.cidr6: fe80::/64 starts with a link-local address",
                "13:13: network.gateway6: fe80::1 is a link-local address, which no node can have here",
            ],
        ),
        (
            "  cidr6: fd00:10::/127\n  gateway6: 10.0.0.1\n",
            "",
            &[
                "12:10: network.cidr6: fd00:10::/127 has a prefix length of 127, not from 8 to 126",
                "13:13: network.gateway6: \"10.0.0.1\" is not an IPv6 address such as fd00:10::36",
            ],
        ),
        (
            "  cidr6: fd00:10::/64\n  gateway6: fd00:11::1\n",
            "    address6: 'fd00:10::'\n",
            &[
                "13:13: network.gateway6: fd00:11::1 is outside the network fd00:10::/64 of line 12",
                "18:15: nodes[0].address6: fd00:10:: stands for the routers of the network (fd00:10::/64, line 12)",
            ],
        ),
        (
            both,
            "    address6: fd00:10::1\n",
            &["18:15: nodes[0].address6: fd00:10::1 is taken by network.gateway6 in line 13"],
        ),
        (
            both,
            &nodes("fd00:10:0::36"),
            &["21:15: nodes[1].address6: fd00:10::36 is taken by nodes[0].address6 in line 18"],
        ),
        (
            both,
            "    address6: 'fd00:10::36/64'\n",
            &["18:15: nodes[0].address6: \"fd00:10::36/64\" is not an IPv6 address such as fd00:10::36"],
        ),
        (
            both,
            "    address6: ::ffff:10.0.0.36\n",
            &[
                "18:15: nodes[0].address6: ::ffff:10.0.0.36 is an IPv4 address in the form of IPv6, which no node can have here",
            ],
        ),
    ] {
        assert_eq!(problems(&on_network_text(network, node)), expected, "{network}{node}");
    }
    let api = on_network_text(both, "    address6: fd00:10::4\n").replace("10.0.0.4:6443", "[fd00:10::4]:6443");
    assert_eq!(problems(&api), ["18:15: nodes[0].address6: fd00:10::4 is taken by cluster.apiServer in line 4"]);
}
