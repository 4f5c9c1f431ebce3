//! `hosts`: how the control plane finds the nodes.

use serde_json::{Value, json};

use crate::world::{Ran, World};

#[test]
fn nodes_are_named_as_etc_hosts_has_it() {
    let world = World::new();
    // As the file has them, whatever their names and addresses.
    world.edit(
        "    address: 10.0.0.37\n",
        "    address: 10.0.0.37\n    group: large\n  - {name: a, address: 10.0.0.9}\n",
    );
    world.edit("\nnodes:\n", "\ngroups:\n  large:\n    cloudConfig: {fqdn: worker-node-2.lab.example}\n\nnodes:\n");
    let before = world.tree("");
    let (one, two, a) =
        ("10.0.0.36 worker-node-1\n", "10.0.0.37 worker-node-2 worker-node-2.lab.example\n", "10.0.0.9 a\n");
    for (arguments, wanted) in [
        (&[][..], [one, two, a].concat()),
        (&["-g", "large"], two.to_owned()),
        (&["a", "worker-node-1"], [one, a].concat()),
    ] {
        assert_eq!(world.run(&[&["hosts"], arguments].concat()), Ran::ok(wanted, ""), "{arguments:?}");
    }
    let wanted = json!({
        "apiVersion": "nodebake/v1", "cluster": "seed",
        "hosts": [
            {"address": "10.0.0.36", "names": ["worker-node-1"]},
            {"address": "10.0.0.37", "names": ["worker-node-2", "worker-node-2.lab.example"]},
            {"address": "10.0.0.9", "names": ["a"]},
        ],
    });
    let json = world.must(&["hosts", "-o", "json"]).stdout;
    let yaml = world.must(&["hosts", "-o", "yaml"]).stdout;
    assert_eq!(serde_json::from_str::<Value>(&json).unwrap(), wanted);
    assert_eq!(serde_yaml::from_str::<Value>(&yaml).unwrap(), wanted);
    // Neither lock nor CA nor libvirt is needed for it.
    assert_eq!(world.tree(""), before);
    // With IPv6 a node has two.
    world.edit("  gateway: 10.0.0.1\n", "  gateway: 10.0.0.1\n  cidr6: fd00:10::/64\n  gateway6: fd00:10::1\n");
    world.edit("address: 10.0.0.9}", "address: 10.0.0.9, address6: 'fd00:10::9'}");
    assert_eq!(world.run(&["hosts", "a"]), Ran::ok("10.0.0.9 a\nfd00:10::9 a\n", ""));
}
