//! Several hypervisors, and the nodes among them.

use super::*;

/// The problems of the least cluster file with these lines in place of its node, which is in line 14.
fn problems_with(nodes: &str, more: &str) -> Vec<String> {
    let (head, _) = LEAST.split_once("nodes:\n").unwrap();
    problems(&format!("{head}nodes:\n{nodes}{more}"))
}

const SITES: &str =
    "hypervisors:\n  a: {uri: qemu+ssh://a/system, bridge: br0}\n  b: {uri: qemu+tls://b/system, pool: fast}\n";

#[test]
fn each_has_its_own_connection_pool_and_network() {
    let text = LEAST.replace("  - name: a\n", "  - name: a\n    hypervisor: b\n") + SITES;
    let config = read(&text).unwrap();
    let site = |name: &str| config.sites.iter().find(|site| site.name.to_string() == name).unwrap();
    let nodes: Vec<_> = config.nodes.iter().collect();
    let [a, b] = [config.at(site("a"), &[]), config.at(site("b"), &nodes)];
    let seen =
        |at: &Config| (at.libvirt.uri.clone(), at.libvirt.pool.clone(), at.network.bridge.clone(), at.nodes.len());
    let text = |text: &str| text.to_owned();
    assert_eq!(seen(&a), (text("qemu+ssh://a/system"), text("nodebake"), Some(text("br0")), 0));
    assert_eq!(seen(&b), (text("qemu+tls://b/system"), text("fast"), None, 1));
    assert_eq!(b.nodes, config.nodes);
    assert_eq!(config.nodes[0].hypervisor.as_ref().map(ToString::to_string), Some(text("b")));
}

#[test]
fn what_cannot_be_is_refused() {
    const NODE: &str = "  - {name: a, address: 10.0.0.36}\n";
    for (nodes, more, wanted) in [
        (NODE, SITES, &[][..]),
        (
            NODE,
            "libvirt: {}\nhypervisors: {a: {uri: qemu:///system}}\n",
            &["16:14: hypervisors: libvirt and hypervisors are both given; one of them says where the machines run"],
        ),
        (NODE, "hypervisors: {}\n", &["15:14: hypervisors: expected at least one hypervisor, found an empty map"]),
        (
            NODE,
            "hypervisors: {A: {uri: qemu:///system}, b: {bridge: br0, network: n}}\n",
            &[
                "15:15: hypervisors.A: \"A\" is not a name of a hypervisor: 1 to 32 of a-z, 0-9 and \"-\", not at the ends",
                "15:44: hypervisors.b.uri: missing key: a connection such as qemu+ssh://root@host-a/system",
                "15:53: hypervisors.b.bridge: network and bridge are both given; the nodes are on one of them",
            ],
        ),
        (
            NODE,
            "hypervisors: {a: {uri: qemu:///system}, b: {uri: qemu:///system}}\n",
            &["15:50: hypervisors.b.uri: qemu:///system is taken by hypervisors.a.uri in line 15"],
        ),
        (
            "  - {name: a, address: 10.0.0.36, hypervisor: host-a, hypervisors: [host-b, host-c]}\n",
            "hypervisors: {host-a1: {uri: qemu+ssh://a/system}, host-b: {uri: qemu+ssh://b/system}}\n",
            &[
                "14:47: nodes[0].hypervisor: there is no hypervisor host-a, did you mean \"host-a1\"?",
                "14:77: nodes[0].hypervisors[1]: there is no hypervisor host-c, did you mean \"host-b\"?",
            ],
        ),
        (
            "  - {name: a, address: 10.0.0.36, hypervisor: x}\n",
            "",
            &["14:47: nodes[0].hypervisor: there is no hypervisor x; they are named under hypervisors:"],
        ),
        (
            "  - {name: a, address: 10.0.0.36}\n  - {name: b, address: 10.0.0.37}\n  - {name: c, address: 10.0.0.38}\n",
            "defaults: {antiAffinity: true}\nhypervisors: {a: {uri: qemu+ssh://a/system}, b: {uri: qemu+ssh://b/system}}\n",
            &[
                "16:12: nodes[2].name: with antiAffinity no two nodes of a group run on one hypervisor, and this is node 3 for 2 \
                 of them",
            ],
        ),
    ] {
        assert_eq!(problems_with(nodes, more), wanted, "{more}");
    }
}
