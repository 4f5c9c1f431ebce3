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

#[test]
fn further_cards_are_layered_by_their_names() {
    let defaults = "nics: {storage: {network: storage, mtu: 9000}, gone: {bridge: br2}}";
    let group = "g: {nics: {gone: null, storage: {bridge: br1}}}";
    let own = "group: g\nnics: {storage: {address: 10.1.0.36/24, address6: fd00:11::36/64}}";
    let nic = FurtherNic {
        // Of the two that say what it is on, the later layer's.
        source: NicSource::Bridge("br1".to_owned()),
        mtu: Some(9000),
        address: "10.1.0.36/24".parse().ok(),
        address6: "fd00:11::36/64".parse().ok(),
    };
    let nics = node_of(defaults, group, own).settings.machine.nics;
    assert_eq!(nics, BTreeMap::from([("storage".to_owned(), nic)]));
}

#[test]
fn cards_have_macs_of_their_own_that_stay() {
    let mut node = node_of("nics: {a: {network: x}, b: {network: x}}", "", "");
    let id = |ca: &[u8]| ClusterId { name: "seed".parse().unwrap(), ca: Digest::of(ca) };
    let config = read(LEAST).unwrap();
    let macs = config.macs(&id(b"ca"), &node);
    assert_eq!(macs.first, id(b"ca").mac(&node.name));
    assert_eq!(macs.further["a"].to_string(), "52:54:00:67:a1:b3");
    let other = config.macs(&id(b"other"), &node);
    let all = [&macs, &other].map(|macs| std::iter::once(macs.first).chain(macs.further.values().copied()));
    let all: std::collections::BTreeSet<String> = all.into_iter().flatten().map(|mac| mac.to_string()).collect();
    assert_eq!(all.len(), 6);
    // One that is given for the first is the first's alone.
    node.mac = Some(Mac::from([0x52, 0x54, 0, 1, 2, 3]));
    assert_eq!(config.macs(&id(b"ca"), &node), Macs { first: node.mac.unwrap(), ..macs });
}

#[test]
fn cards_that_cannot_be_are_refused() {
    let nine = (0..9).map(|number| format!("n{number}: {{network: x}}")).collect::<Vec<_>>().join(", ");
    let nine = format!("nics: {{{nine}}}");
    for (defaults, expected) in [
        (
            "nics: {A: {network: x}}",
            "17:10: defaults.nics.A: \"A\" is not the name of a network card: at most 16 of a-z, 0-9 and \"-\"",
        ),
        ("nics: {a: {mtu: 9000}}", "17:13: defaults.nics.a: missing key: network or bridge"),
        (
            "nics: {a: {network: x, bridge: y}}",
            "17:34: defaults.nics.a.bridge: network and bridge are both given; a card is on one of them",
        ),
        (
            "nics: {a: {network: x, mtu: 1279, address6: fd00:11::36/64}}",
            "17:31: defaults.nics.a.mtu: IPv6 needs packets of at least 1280 bytes",
        ),
        (
            "nics: {a: {network: x, gateway: 10.1.0.1}}",
            "17:26: defaults.nics.a.gateway: unknown key; known here: network, bridge, mtu, address, address6",
        ),
        (
            "nics: {a: {network: x, address: 10.1.0.36}}",
            "17:35: defaults.nics.a.address: \"10.1.0.36\" is not an address with its prefix such as 10.1.0.36/24",
        ),
        (
            "nics: {a: {network: x, address: 10.1.0.255/24}}",
            "17:35: defaults.nics.a.address: 10.1.0.255 stands for the network 10.1.0.0/24 or for all in it",
        ),
        (
            "nics: {a: {network: x, address: 127.0.0.2/8}}",
            "17:35: defaults.nics.a.address: 127.0.0.2 is a loopback address, which no node can have",
        ),
        (
            "nics: {a: {network: x, address6: fe80::1/64}}",
            "17:36: defaults.nics.a.address6: fe80::1 is a link-local address, which no node can have here",
        ),
        (
            "nics: {a: {network: x, address6: 'fd00:11::/64'}}",
            "17:36: defaults.nics.a.address6: fd00:11:: stands for the routers of the network fd00:11::/64",
        ),
        (
            "nics: {a: {network: x, address: 10.1.0.36/24}, b: {network: y, address: 10.1.0.40/16}}",
            "17:9: defaults.nics: a and b are both in 10.1.0.0/16",
        ),
        (
            "nics: {a: {network: x, address: 10.0.0.40/16}}",
            "17:35: defaults.nics.a.address: 10.0.0.40/16 overlaps 10.0.0.0/24, the network of the first card (line 10)",
        ),
        (&nine, "17:9: defaults.nics: 9 further network cards are more than the 8 that a machine can have"),
    ] {
        assert_eq!(problems_of(defaults), [expected], "{defaults}");
    }
}

#[test]
fn an_address_of_a_card_is_one_nodes_alone() {
    let nodes = |defaults: &str, first: &str, second: &str| {
        let second = format!("  - {{name: b, address: 10.0.0.37, nics: {{a: {second}}}}}\n");
        let text = on_network_text(
            "  cidr6: fd00:10::/64\n  gateway6: fd00:10::1\n",
            &format!("    nics: {{a: {first}}}\n{second}"),
        );
        problems(&format!("{text}defaults: {{nics: {{a: {defaults}}}}}\n"))
    };
    for (defaults, first, second, expected) in [
        ("{network: x}", "{address: 10.1.0.36/24}", "{address: 10.1.0.37/24}", None),
        // Networks that nothing connects.
        ("{}", "{network: x, address: 10.1.0.36/24}", "{network: y, address: 10.1.0.36/24}", None),
        (
            "{network: x}",
            "{address: 10.1.0.36/24}",
            "{address: 10.1.0.36/16}",
            Some("19:55: nodes[1].nics.a.address: 10.1.0.36 is taken by nodes[0].nics.a.address in line 18"),
        ),
        (
            "{network: x, address: 10.1.0.36/24}",
            "{}",
            "{}",
            Some("20:44: defaults.nics.a.address: 10.1.0.36 is given to more than one node here; each needs its own"),
        ),
        (
            "{network: x, address6: fd00:10::40/64}",
            "{}",
            "{address6: fd00:11::40/64}",
            Some(
                "20:45: defaults.nics.a.address6: fd00:10::40/64 overlaps fd00:10::/64, the network of the first card (line 12)",
            ),
        ),
    ] {
        assert_eq!(nodes(defaults, first, second), Vec::from_iter(expected), "{defaults} {first} {second}");
    }
}

#[test]
fn secure_boot_is_of_uefi() {
    let secure = |defaults: &str| node_of(defaults, "", "").settings.machine.secure_boot;
    assert_eq!([secure("firmware: uefi"), secure("{firmware: uefi, secureBoot: false}")], [None, Some(false)]);
    for (defaults, expected) in [
        ("secureBoot: true", "17:15: defaults.secureBoot: secureBoot needs firmware: uefi beside it"),
        (
            "{firmware: bios, secureBoot: false}",
            "17:32: defaults.secureBoot: secureBoot needs firmware: uefi beside it",
        ),
        ("{firmware: uefi, secureBoot: on}", "17:32: defaults.secureBoot: \"on\" is not one of true, false"),
    ] {
        assert_eq!(problems_of(defaults), [expected], "{defaults}");
    }
}
