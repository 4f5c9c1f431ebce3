//! What becomes of a machine, and how a plan tells it.

use nodebake::cluster::{NodeStatus, Nodes};
use nodebake::config::{FurtherNic, Mac, Network6, NicSource};
use nodebake::digest::Digest;
use nodebake::machine::{
    DomainInfo, DomainState, Hypervisor as _, MarkState, NetworkInfo, PoolInfo, Reservation, VolumeName,
};
use nodebake::plan;
use nodebake::plan::{ImageFile, Images, Plan, SharedAction, Step};

use crate::world::{NOW, POOL, World, holdings, network, pool, steps};

/// Puts something in the way of a plan; gives the cluster's nodes.
type Prepare<'a> = &'a dyn Fn(&World) -> Option<Nodes>;

#[test]
fn an_empty_host_gets_everything_once_and_each_node_its_own() {
    let world = World::new();
    let plan = world.plan();
    let shared: Vec<String> = plan
        .shared
        .iter()
        .map(|action| match action {
            SharedAction::CreateNetwork(spec) => format!("network {} {}", spec.name, spec.cidr),
            SharedAction::CreatePool(spec) => format!("pool {} {}", spec.name, spec.path),
            SharedAction::Upload(upload) => format!("upload {} to {}", upload.spec.name, upload.pool),
            other => format!("{other:?}"),
        })
        .collect();
    let Images { payload, base, .. } = &world.images;
    let wanted = [
        "network nodebake 10.0.0.0/24".to_owned(),
        format!("pool nodebake {POOL}"),
        format!("pool nodebake-logs {POOL}-logs"),
        format!("upload nodebake.base.{}.qcow2 to nodebake", base.digest),
        format!("upload nodebake.payload.{}.iso to nodebake", payload.digest),
    ];
    assert_eq!(shared, wanted);
    assert_eq!(steps(&plan), ["worker-node-1 create", "worker-node-2 create"]);
}

#[test]
fn what_is_there_is_used_as_it_is() {
    let world = World::with_good_guests();
    world.host.put_network(network("10.0.0.1/24"));
    world.carry_out(&world.plan()).unwrap();
    let before = holdings(&world);
    let again = world.plan();
    assert_eq!(again.shared, []);
    assert_eq!(steps(&again), ["worker-node-1 finish", "worker-node-2 finish"]);
    let calls = world.host.calls().len();
    world.carry_out(&again).unwrap();
    assert_eq!(holdings(&world), before);
    assert_eq!(world.host.calls().len(), calls, "nothing was changed: {:?}", &world.host.calls()[calls..]);
}

#[test]
fn a_machine_becomes_what_its_mark_and_state_call_for() {
    let set = |world: &World, state, active| {
        world.change_mark("worker-node-1", |mark| mark.state = state);
        let domain = world.domain("worker-node-1");
        let state = if active { DomainState::Running } else { DomainState::ShutOff };
        world.host.put_domain(DomainInfo { state, ..domain });
    };
    for (state, active, wanted) in [
        (MarkState::Creating, false, "create: the attempt before was cut off"),
        (MarkState::Started, false, "start"),
        (MarkState::Started, true, "finish"),
        (MarkState::Registered, false, "start"),
        (MarkState::Registered, true, "nothing"),
        (MarkState::Failed, true, "create: the attempt before failed"),
        (MarkState::Failed, false, "create: the attempt before failed"),
    ] {
        let world = World::with_sealing_guests();
        world.carry_out(&world.plan()).unwrap();
        set(&world, state, active);
        assert_eq!(steps(&world.plan())[0], format!("worker-node-1 {wanted}"), "{state} {active}");
    }
}

#[test]
fn a_registered_machine_of_another_boot_is_watched_again() {
    let world = World::with_sealing_guests();
    world.carry_out(&world.plan()).unwrap();
    world.change_mark("worker-node-1", |mark| {
        mark.state = MarkState::Registered;
        mark.boot_id = Some("a".to_owned());
    });
    for (boot_id, wanted) in [("a", "worker-node-1 nothing"), ("b", "worker-node-1 finish")] {
        let node = NodeStatus {
            name: "worker-node-1".to_owned(),
            boot_id: boot_id.to_owned(),
            internal_ip: "10.0.0.36".to_owned(),
            ..NodeStatus::default()
        };
        let nodes = Nodes::from([(node.name.clone(), node)]);
        assert_eq!(steps(&world.plan_with(Some(nodes), plan::up).unwrap())[0], wanted);
    }
}

#[test]
fn drift_is_told_and_replaces_nothing() {
    let mut world = World::with_good_guests();
    world.carry_out(&world.plan()).unwrap();
    let old = world.built[0].seed.digest;
    world.built[0].seed.digest = Digest::of(b"another seed");
    let plan = world.plan();
    let drift: Vec<_> = plan.nodes[0].drift.iter().map(ToString::to_string).collect();
    assert_eq!(drift, [format!("seed {} -> {}", old.short(), Digest::of(b"another seed").short())]);
    assert_eq!((steps(&plan)[0].as_str(), &plan.nodes[1].drift), ("worker-node-1 finish", &Vec::new()));

    world.config.nodes[1].cpus = 7;
    let drift: Vec<_> = world.plan().nodes[1].drift.iter().map(ToString::to_string).collect();
    assert_eq!(drift, ["machine changed in the cluster file"]);
    world.config.nodes[0].disk = 10 << 30;
    let drift: Vec<_> = world.plan().nodes[0].drift.iter().map(ToString::to_string).skip(1).collect();
    assert_eq!(drift, ["disk 20480 MiB -> 10240 MiB"]);

    let domain = world.domain("worker-node-2");
    let xml = domain.xml.replace(">2</vcpu>", ">3</vcpu>");
    assert_ne!(xml, domain.xml, "the XML has the element that is changed");
    world.host.put_domain(DomainInfo { xml, ..domain });
    let drift: Vec<_> = world.plan().nodes[1].drift.iter().map(ToString::to_string).collect();
    assert_eq!(drift, ["machine changed in the cluster file", "machine changed by hand"]);
}

#[test]
fn a_larger_disk_grows_in_place() {
    let mut world = World::with_good_guests();
    world.carry_out(&world.plan()).unwrap();
    world.config.nodes[0].disk = 40 << 30;
    let plan = world.plan();
    let growth = plan.nodes[0].growth.first().map(ToString::to_string);
    assert_eq!((growth.as_deref(), &plan.nodes[0].drift), (Some("disk 20480 MiB -> 40960 MiB"), &Vec::new()));
    assert_eq!((&plan.nodes[1].growth, steps(&plan)[0].as_str()), (&Vec::new(), "worker-node-1 finish"));
    let calls = world.host.calls().len();
    world.carry_out(&plan).unwrap();
    let root = format!("nodebake.seed.{}.worker-node-1.root.", &world.id.ca.to_string()[..8]);
    assert!(world.host.calls()[calls].starts_with(&format!("grow {root}")), "{:?}", &world.host.calls()[calls..]);
    let found = world.inventory(None).volumes.into_iter().find(|volume| volume.name.starts_with(&root)).unwrap();
    assert_eq!((found.capacity, &world.plan().nodes[0].growth), (40 << 30, &Vec::new()));
    // One that is made anew has its size from the start.
    world.config.nodes[0].disk = 50 << 30;
    assert_eq!(world.plan_with(None, plan::rebuild).unwrap().nodes[0].growth, []);
}

/// A plan as `nodebake plan` shows it: kind, name, action, command and reasons of each row.
fn shown(plan: &Plan, gone: &[&str]) -> Vec<String> {
    let gone = gone.iter().map(|name| (name.parse().unwrap(), plan::Removal::default())).collect();
    let text = |row: &plan::Row| {
        let command = row.command.as_deref().unwrap_or("-");
        format!("{} {} {} [{command}] {}", row.kind, row.name, row.action, row.reasons.join("; "))
    };
    plan::rows(plan, &gone).iter().map(text).collect()
}

#[test]
fn every_transition_is_shown_with_its_command() {
    let mut world = World::with_sealing_guests();
    let payload = world.images.payload.digest.short();
    let base = world.images.base.digest.short();
    let all = [
        "network nodebake create [up] 10.0.0.0/24".to_owned(),
        format!("image base image upload [up] {base}, 1 MiB"),
        format!("image payload upload [up] {payload}, 1 MiB"),
        "node worker-node-1 create [up] ".to_owned(),
        "node worker-node-2 create [up] ".to_owned(),
    ];
    assert_eq!(shown(&world.plan(), &[]), all);
    world.carry_out(&world.plan()).unwrap();
    for node in ["worker-node-1", "worker-node-2"] {
        world.change_mark(node, |mark| mark.state = MarkState::Registered);
    }
    let both = |of_first: &[&str]| -> Vec<String> {
        of_first.iter().chain(&["node worker-node-2 nothing [-] "]).map(ToString::to_string).collect()
    };
    assert_eq!(shown(&world.plan(), &[]), both(&["node worker-node-1 nothing [-] "]));
    let gone = shown(&world.plan(), &["worker-node-7"]);
    assert_eq!(gone[2], "node worker-node-7 remove [remove worker-node-7] not in the cluster file");

    let domain = world.domain("worker-node-1");
    world.host.put_domain(DomainInfo { state: DomainState::ShutOff, ..domain.clone() });
    assert_eq!(shown(&world.plan(), &[]), both(&["node worker-node-1 start [up] "]));
    world.change_mark("worker-node-1", |mark| mark.state = MarkState::Failed);
    let failed = "node worker-node-1 replace [up] the attempt before failed";
    assert_eq!(shown(&world.plan(), &[]), both(&[failed]));
    world.host.put_domain(domain);

    let old = world.built[0].seed.digest;
    world.config.nodes[0].disk = 40 << 30;
    world.built[0].seed.digest = Digest::of(b"another");
    let seed = format!("seed {} -> {}", old.short(), Digest::of(b"another").short());
    let rebuild = format!("node worker-node-1 rebuild [rebuild worker-node-1] {seed}");
    let grow = "node worker-node-1 grow [up] disk 20480 MiB -> 40960 MiB";
    assert_eq!(shown(&world.plan(), &[]), both(&[grow, &rebuild]));

    world.built[0].seed = ImageFile::unbuilt();
    let unknown = "node worker-node-1 build [build worker-node-1] what differs is known after build";
    world.config.nodes[0].disk = 20 << 30;
    assert_eq!(shown(&world.plan(), &[]), both(&[unknown]));
    // What needs no build to be known is told all the same.
    let domain = world.domain("worker-node-1");
    let xml = domain.xml.replace(">2</vcpu>", ">3</vcpu>");
    world.host.put_domain(DomainInfo { xml, ..domain });
    let by_hand = "node worker-node-1 rebuild [rebuild worker-node-1] machine changed by hand";
    assert_eq!(shown(&world.plan(), &[]), both(&[unknown, by_hand]));
}

#[test]
fn what_stands_in_the_way_is_told_before_anything_is_made() {
    let foreign = |world: &World, name: &str, uuid| {
        let (name, xml) = (name.to_owned(), "<domain/>".to_owned());
        world.host.put_domain(DomainInfo {
            name,
            uuid,
            state: DomainState::ShutOff,
            autostart: false,
            mark: Ok(None),
            xml,
        });
    };
    let node = |name: &str, address: &str, renewed| {
        let node = NodeStatus {
            name: name.to_owned(),
            internal_ip: address.to_owned(),
            lease_renewed: Some(renewed),
            ..NodeStatus::default()
        };
        Some(Nodes::from([(node.name.clone(), node)]))
    };
    let cases: [(Prepare, &str); 7] = [
        (
            &|w| {
                foreign(w, "worker-node-1", uuid::Uuid::from_u128(7));
                None
            },
            "domain worker-node-1 exists and is not of this cluster",
        ),
        (
            &|w| {
                foreign(w, "other", w.uuid("worker-node-2"));
                None
            },
            "domain worker-node-2 exists and is not of this cluster",
        ),
        (&|_| node("db-1", "10.0.0.37", NOW), "the address 10.0.0.37 of worker-node-2 is taken by node db-1"),
        (
            &|_| node("worker-node-1", "10.0.0.99", NOW - 39),
            "node worker-node-1 is in the cluster already, alive and on a machine that is not ours",
        ),
        (
            &|w| {
                w.host.put_network(network("10.0.1.1/24"));
                None
            },
            "network nodebake has the address 10.0.1.0/24, the cluster file says 10.0.0.0/24",
        ),
        (
            &|w| {
                let dhcp = vec![("10.0.0.30".parse().unwrap(), "10.0.0.36".parse().unwrap())];
                w.host.put_network(NetworkInfo { dhcp, ..network("10.0.0.1/24") });
                None
            },
            "the address 10.0.0.36 of worker-node-1 lies in the DHCP range of network nodebake",
        ),
        (
            &|w| {
                w.host.put_pool(PoolInfo { kind: "logical".to_owned(), ..pool("nodebake", "/dev/vg") });
                None
            },
            "storage pool nodebake is of type logical; disks need a pool over a folder",
        ),
    ];
    for (prepare, wanted) in cases {
        let world = World::new();
        let nodes = prepare(&world);
        match world.plan_with(nodes, plan::up) {
            Err(blocked) => {
                assert_eq!(blocked.to_string(), wanted);
                assert!(blocked.hint().is_some(), "{wanted}");
            }
            Ok(plan) => panic!("{wanted}: {plan:?}"),
        }
    }
    // A lease that has run out, or a node that we removed a moment ago, stands in nobody's way.
    for nodes in [node("worker-node-1", "10.0.0.99", NOW - 40), node("worker-node-1", "10.0.0.36", NOW)] {
        assert!(World::new().plan_with(nodes, plan::up).is_ok());
    }
}

/// The same for the second family of addresses.
#[test]
fn what_stands_in_the_way_of_ipv6_is_told_too() {
    let mut world = World::new();
    let (cidr, gateway) = ("fd00:10::/64".parse().unwrap(), "fd00:10::1".parse().unwrap());
    world.config.network.ipv6 = Some(Network6 { cidr, gateway });
    world.config.nodes[0].address6 = "fd00:10::36".parse().ok();
    let Some(SharedAction::CreateNetwork(spec)) = world.plan().shared.first().cloned() else { panic!() };
    assert_eq!(spec.ipv6, world.config.network.ipv6);
    let node = NodeStatus {
        name: "db-1".to_owned(),
        internal_ip: "10.0.0.99".to_owned(),
        other_ips: vec!["fd00:10::36".to_owned()],
        ..NodeStatus::default()
    };
    let taken = world.plan_with(Some(Nodes::from([(node.name.clone(), node)])), plan::up).unwrap_err();
    assert_eq!(taken.to_string(), "the address fd00:10::36 of worker-node-1 is taken by node db-1");
    for (address6, wanted) in [
        ("fd00:10::1/64", None),
        ("fd00:11::1/64", Some("network nodebake has the address fd00:11::/64, the cluster file says fd00:10::/64")),
    ] {
        world.host.put_network(NetworkInfo { address6: address6.parse().ok(), ..network("10.0.0.1/24") });
        let blocked = world.plan_with(None, plan::up).err().map(|blocked| blocked.to_string());
        assert_eq!(blocked.as_deref(), wanted);
    }
}

/// Networks of further cards are the user's: they must be there, and are started; another one is another machine.
#[test]
fn further_cards_are_on_networks_that_are_there() {
    let mut world = World::with_good_guests();
    let nic = |source| FurtherNic { source, mtu: None, address: None, address6: None };
    let nics = &mut world.config.nodes[0].settings.machine.nics;
    nics.insert("a".to_owned(), nic(NicSource::Network("storage".to_owned())));
    nics.insert("b".to_owned(), nic(NicSource::Bridge("br1".to_owned())));
    // The one that is made.
    nics.insert("c".to_owned(), nic(NicSource::Network("nodebake".to_owned())));
    let missing = world.plan_with(None, plan::up).unwrap_err();
    assert_eq!(missing.to_string(), "there is no network storage, which worker-node-1 has a card on");
    let hint = "nodebake makes no network but the nodes' own: define it with virsh, or name another under nics";
    assert_eq!(missing.hint().as_deref(), Some(hint));

    let storage = NetworkInfo { name: "storage".to_owned(), active: false, ..network("10.1.0.1/24") };
    world.host.put_network(storage.clone());
    let started = |plan: &Plan| {
        let name = |action: &SharedAction| match action {
            SharedAction::StartNetwork(name) => Some(name.clone()),
            _ => None,
        };
        plan.shared.iter().filter_map(name).collect::<Vec<_>>()
    };
    let plan = world.plan();
    assert_eq!(started(&plan), ["storage"]);
    let Step::Create(creation) = &plan.nodes[0].step else { panic!("{plan:?}") };
    let cards: Vec<_> = creation.domain.cards.iter().map(|card| (card.mac, card.source.clone())).collect();
    let name = &world.config.nodes[0].name;
    let net = |name: &str| NicSource::Network(name.to_owned());
    let wanted = [
        (world.id.mac(name), net("nodebake")),
        (world.id.nic_mac(name, "a"), net("storage")),
        (world.id.nic_mac(name, "b"), NicSource::Bridge("br1".to_owned())),
        (world.id.nic_mac(name, "c"), net("nodebake")),
    ];
    assert_eq!(cards, wanted);
    world.carry_out(&plan).unwrap();
    assert_eq!(started(&world.plan()), Vec::<String>::new());

    // `start` brings it up too, for the node that needs it.
    world.host.put_network(storage);
    for node in ["worker-node-1", "worker-node-2"] {
        world.host.destroy(world.uuid(node)).unwrap();
    }
    let start = |world: &World, node: usize| {
        let inventory = world.inventory(None);
        started(&plan::start(&world.config, &world.id, &[&world.config.nodes[node]], &inventory).unwrap())
    };
    assert_eq!((start(&world, 0), start(&world, 1)), (vec!["storage".to_owned()], Vec::new()));

    world.config.nodes[0].settings.machine.nics.remove("b");
    let drift: Vec<_> = world.plan().nodes[0].drift.iter().map(ToString::to_string).collect();
    assert_eq!(drift, ["machine changed in the cluster file"]);
}

/// What the network keeps for nodes: address and name.
fn kept(world: &World) -> Vec<String> {
    let reservations = world.inventory(None).network.unwrap().reservations;
    let text = |kept: &Reservation| format!("{} {}", kept.address.unwrap(), kept.name.as_deref().unwrap_or("?"));
    reservations.iter().map(text).collect()
}

#[test]
fn a_network_of_ours_keeps_the_addresses_that_nodes_ask_for() {
    let mut world = World::with_good_guests();
    world.config.network.dhcp = true;
    let plan = world.plan();
    assert_eq!(shown(&plan, &[])[0], "network nodebake create [up] 10.0.0.0/24");
    world.carry_out(&plan).unwrap();
    assert_eq!(kept(&world), ["10.0.0.36 worker-node-1", "10.0.0.37 worker-node-2"]);
    assert_eq!(world.plan().shared, []);

    // Addresses that change places, a node that is no more, and what is another guest's.
    let addresses = [0, 1].map(|node| world.config.nodes[node].address);
    for (node, address) in world.config.nodes.iter_mut().zip([addresses[1], addresses[0]]) {
        node.address = address;
    }
    let info = world.inventory(None).network.unwrap();
    let other = |mac, name: &str, address: [u8; 4]| Reservation {
        mac: Some(mac),
        name: Some(name.to_owned()),
        address: Some(address.into()),
    };
    let gone = other(world.id.mac(&"gone".parse().unwrap()), "gone", [10, 0, 0, 40]);
    let users = other(Mac::from([0x52, 0x54, 0, 0, 0, 1]), "users", [10, 0, 0, 41]);
    let reservations = [info.reservations.clone(), vec![gone, users]].concat();
    world.host.put_network(NetworkInfo { reservations, ..info });
    world.host.destroy(world.uuid("worker-node-1")).unwrap();
    let wanted = "network nodebake reserve [up] no more 10.0.0.36 for worker-node-1; no more 10.0.0.37 for worker-node-2; no \
                  more 10.0.0.40 for gone; 10.0.0.37 for worker-node-1; 10.0.0.36 for worker-node-2";
    let plan = world.plan();
    assert_eq!(shown(&plan, &[])[0], wanted);
    let inventory = world.inventory(None);
    let start = plan::start(&world.config, &world.id, &[&world.config.nodes[0]], &inventory).unwrap();
    assert_eq!(shown(&start, &[])[0], wanted);
    world.carry_out(&plan).unwrap();
    assert_eq!(kept(&world), ["10.0.0.41 users", "10.0.0.37 worker-node-1", "10.0.0.36 worker-node-2"]);
}

#[test]
fn a_users_network_must_keep_what_nodes_ask_for() {
    let mut world = World::new();
    world.config.network.dhcp = true;
    world.built.truncate(1);
    let mac = world.id.mac(&world.config.nodes[0].name);
    // In the range or not: it is kept for one guest.
    let dhcp = vec![([10, 0, 0, 30].into(), [10, 0, 0, 40].into())];
    let users = NetworkInfo { dhcp, ..network("10.0.0.1/24") };
    world.host.put_network(users.clone());
    let blocked = world.plan_with(None, plan::up).unwrap_err();
    let text = format!(
        "worker-node-1 asks for its address by DHCP, and network nodebake does not keep 10.0.0.36 for its MAC {mac}"
    );
    let hint = format!(
        "virsh net-update nodebake add ip-dhcp-host \"<host mac='{mac}' name='worker-node-1' ip='10.0.0.36'/>\" --live --config"
    );
    assert_eq!((blocked.to_string(), blocked.hint()), (text, Some(hint)));
    let kept = |mac| Reservation { mac: Some(mac), name: None, address: Some([10, 0, 0, 36].into()) };
    for (network, fits) in [
        (NetworkInfo { reservations: vec![kept(mac)], ..users.clone() }, true),
        (NetworkInfo { reservations: vec![kept(Mac::from([0x52, 0x54, 0, 0, 0, 1]))], ..users.clone() }, false),
        // On a bridge of the host's, with a server that nobody here can ask.
        (NetworkInfo { address: None, dhcp: Vec::new(), ..users }, true),
    ] {
        world.host.put_network(network.clone());
        let plan = world.plan_with(None, plan::up);
        assert_eq!(plan.is_ok(), fits, "{network:?}");
        // What is the user's is never changed.
        let of_network = |action: &SharedAction| matches!(action, SharedAction::Reserve { .. });
        assert!(!plan.is_ok_and(|plan| plan.shared.iter().any(of_network)));
    }
}

#[test]
fn nodes_on_a_golden_image_have_no_drive_for_a_payload() {
    let mut world = World::with_good_guests();
    for built in &mut world.built {
        built.images.payload_drive = false;
    }
    let plan = world.plan();
    let uploads: Vec<_> = plan
        .shared
        .iter()
        .filter_map(
            |action| if let SharedAction::Upload(upload) = action { Some(upload.spec.name.clone()) } else { None },
        )
        .collect();
    assert_eq!(uploads, [VolumeName::Base(world.images.base.digest)]);
    world.carry_out(&plan).unwrap();
    let domain = world.domain("worker-node-1");
    assert!(!domain.xml.contains("vdb") && !domain.xml.contains("payload."), "{}", domain.xml);
    // It runs this payload all the same.
    assert_eq!(domain.mark().unwrap().payload, world.images.payload.digest);
    // A drive where there was none is another machine.
    for built in &mut world.built {
        built.images.payload_drive = true;
    }
    let plan = world.plan();
    let drift: Vec<_> = plan.nodes[0].drift.iter().map(ToString::to_string).collect();
    assert_eq!(drift, ["machine changed in the cluster file"]);
}
