//! What goes, what may go, and what stays.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use nodebake::config::DataDisk;
use nodebake::digest::Digest;
use nodebake::machine::memory::{Killed, Moment};
use nodebake::machine::{DomainInfo, DomainState, MarkState, VolumeFormat, VolumeInfo};
use nodebake::plan;

use crate::world::{POOL, World, changed, holdings, network};

/// Data disks outlast their machines: rebuilt, taken down, made anew.
#[test]
fn data_disks_outlast_their_machines() {
    let data = |world: &mut World, size| {
        let disk = DataDisk { size, mount: None };
        world.config.nodes[0].settings.machine.data_disks = [("data".to_owned(), disk)].into();
    };
    let down = |world: &World, all: bool| {
        for (node, removal) in plan::removals(&world.id, &world.config, &world.inventory(None)) {
            let removal = if all { removal.with_data() } else { removal };
            world.apply().remove(&node, &removal).unwrap();
        }
    };
    let mut world = changed();
    data(&mut world, 1 << 30);
    let drift: Vec<_> = world.plan().nodes[0].drift.iter().map(ToString::to_string).collect();
    assert_eq!(drift.len(), 1, "another seed was built: {drift:?}");
    world.rebuild().unwrap();
    let root = |world: &World| format!("root.{}.qcow2", world.built[0].seed.digest.short());
    assert_eq!(world.disks(), ["data.data.qcow2".to_owned(), root(&world)]);
    let xml = world.domain("worker-node-1").xml;
    assert!(xml.contains("<serial>nd-data</serial>") && xml.contains(".data.data.qcow2"), "{xml}");

    data(&mut world, 2 << 30);
    let plan = world.plan();
    let grows: Vec<_> = plan.nodes[0].growth.iter().map(ToString::to_string).collect();
    assert_eq!((grows, &plan.nodes[0].drift), (vec!["data disk data 1024 MiB -> 2048 MiB".to_owned()], &Vec::new()));
    world.carry_out(&plan).unwrap();
    assert_eq!(world.plan().nodes[0].growth, []);
    world.rebuild().unwrap();
    down(&world, false);
    assert_eq!(world.disks(), ["data.data.qcow2"]);
    world.carry_out(&world.plan()).unwrap();
    let found = |world: &World| {
        let volumes = world.inventory(None).volumes;
        volumes.into_iter().find(|volume| volume.name.ends_with(".data.data.qcow2")).map(|volume| volume.capacity)
    };
    assert_eq!(found(&world), Some(2 << 30), "the same disk");
    assert_eq!(plan::unused(Some(&world.id), &world.inventory(None)), []);

    data(&mut world, 1 << 30);
    let error = world.plan_with(None, plan::up).unwrap_err();
    let hint = "give it its size back in the cluster file, or, where nothing on it is needed: nodebake down worker-node-1 \
                --with-data";
    let text = "data disk data of worker-node-1 has 2048 MiB, the cluster file says 1024 MiB; disks do not shrink";
    assert_eq!((error.to_string().as_str(), error.hint().as_deref()), (text, Some(hint)));
    down(&world, true);
    assert_eq!(world.disks(), Vec::<String>::new());
}

/// A data disk that outlasts its machine has its new size from the next one's first boot on, whatever became of the old one.
#[test]
fn a_kept_data_disk_grows_for_the_machine_that_is_made_anew() {
    let gone = |world: &World| {
        for (node, removal) in plan::removals(&world.id, &world.config, &world.inventory(None)) {
            world.apply().remove(&node, &removal).unwrap();
        }
        plan::up as fn(plan::Request) -> Result<plan::Plan, plan::Blocked>
    };
    let failed = |world: &World| {
        world.change_mark("worker-node-1", |mark| mark.state = MarkState::Failed);
        plan::up as fn(plan::Request) -> Result<plan::Plan, plan::Blocked>
    };
    let asked = |_: &World| plan::rebuild as fn(plan::Request) -> Result<plan::Plan, plan::Blocked>;
    for before in [&gone as &dyn Fn(&World) -> _, &failed, &asked] {
        let mut world = changed();
        let data = |world: &mut World, size| {
            let disk = DataDisk { size, mount: None };
            world.config.nodes[0].settings.machine.data_disks = [("data".to_owned(), disk)].into();
        };
        data(&mut world, 1 << 30);
        world.rebuild().unwrap();
        let make = before(&world);
        data(&mut world, 2 << 30);
        let plan = world.plan_with(None, make).unwrap();
        let grow = "grow data disk data 1024 MiB -> 2048 MiB";
        let shown = plan::rows(&plan, &BTreeMap::new());
        let of_node = shown.iter().filter(|row| row.name == "worker-node-1");
        let rows: Vec<_> = of_node.map(|row| format!("{} {}", row.action, row.reasons.join("; "))).collect();
        assert_eq!((rows.len(), rows[0].as_str()), (2, grow), "{rows:?}");
        let calls = world.host.calls().len();
        world.carry_out(&plan).unwrap();
        let kinds = ["define", "grow", "start"];
        let calls = world.host.calls().split_off(calls);
        let order: Vec<_> =
            calls.iter().filter_map(|call| call.split(' ').next()).filter(|call| kinds.contains(call)).collect();
        assert_eq!(order, kinds, "{calls:?}");
        let again = world.plan();
        assert_eq!((&again.nodes[0].growth, &again.nodes[0].drift), (&Vec::new(), &Vec::new()));
    }
}

/// A data disk that the machine does not have is no disk of it, which could grow; it does when the machine is made anew.
#[test]
fn a_data_disk_of_an_earlier_machine_grows_with_the_next_one() {
    let mut world = changed();
    let data = |world: &mut World, size: Option<u64>| {
        let disk = size.map(|size| ("data".to_owned(), DataDisk { size, mount: None }));
        world.config.nodes[0].settings.machine.data_disks = disk.into_iter().collect();
    };
    data(&mut world, Some(1 << 30));
    world.rebuild().unwrap();
    data(&mut world, None);
    world.rebuild().unwrap();
    data(&mut world, Some(2 << 30));
    assert_eq!(world.plan().nodes[0].growth, []);
    world.carry_out(&world.plan()).unwrap();
    world.rebuild().unwrap();
    let volumes = world.inventory(None).volumes;
    let disk = volumes.iter().find(|volume| volume.name.ends_with(".data.data.qcow2"));
    assert_eq!(disk.map(|disk| disk.capacity), Some(2 << 30));
}

/// What no machine needs may go: also of a machine that is kept, and never what another cluster or a user has.
#[test]
fn volumes_that_no_machine_uses_can_go() {
    let unused = |world: &World| -> Vec<String> {
        plan::unused(Some(&world.id), &world.inventory(None)).into_iter().map(|volume| volume.name).collect()
    };
    let world = changed();
    assert_eq!(unused(&world), Vec::<String>::new());
    let volume = |name: &str, backing: Option<&str>| {
        let (name, path) = (name.to_owned(), format!("{POOL}/{name}"));
        let backing = backing.map(|name| format!("{POOL}/{name}"));
        let info = VolumeInfo { name, path, capacity: 1, allocation: 1, format: VolumeFormat::Raw, backing };
        world.host.put_volume("nodebake", info, b"x");
    };
    let image = |kind: &str, ending: &str| format!("nodebake.{kind}.{}.{ending}", Digest::of(b"old"));
    let (base, payload) = (image("base", "qcow2"), image("payload", "iso"));
    let head = format!("nodebake.seed.{}.worker-node-1", &world.id.ca.to_string()[..8]);
    let stray = format!("{head}.root.0123456789ab.qcow2");
    let foreign = "nodebake.other.01234567.worker-node-1.root.0123456789ab.qcow2";
    for name in ["users.qcow2", &base, &payload, &stray, &format!("{head}.seed.0123456789ab.iso")] {
        volume(name, None);
    }
    volume(foreign, Some(&base));
    assert_eq!(unused(&world), [payload.clone(), stray, format!("{head}.seed.0123456789ab.iso")]);
    // Without its CA a cluster is not known.
    let shared: Vec<_> = plan::unused(None, &world.inventory(None)).into_iter().map(|volume| volume.name).collect();
    assert_eq!(shared, std::slice::from_ref(&payload));

    // While a replacement is under way both machines need theirs.
    world.new_guest_says("");
    let plan = world.plan_with(None, plan::rebuild).unwrap();
    world.host.cut_at(world.host.calls().len() + 8, Moment::After);
    let killed = catch_unwind(AssertUnwindSafe(|| world.apply().node(&plan.nodes[0])));
    assert!(killed.is_err_and(|end| end.is::<Killed>()));
    world.host.mend();
    assert!(world.domain("worker-node-1").record().previous.is_some());
    assert_eq!(unused(&world), [payload]);
}

#[test]
fn down_removes_ours_and_nothing_else() {
    let world = World::with_good_guests();
    world.host.put_network(network("10.0.0.1/24"));
    let foreign = DomainInfo {
        name: "users".to_owned(),
        uuid: uuid::Uuid::from_u128(7),
        state: DomainState::Running,
        autostart: false,
        mark: Ok(None),
        xml: "<domain/>".to_owned(),
    };
    world.host.put_domain(foreign.clone());
    let names = ["users.qcow2", "nodebake.other.01234567.worker-node-1.root.0123456789ab.qcow2", "nodebake.iso"];
    for name in names {
        let (name, path) = (name.to_owned(), format!("{POOL}/{name}"));
        let info = VolumeInfo { name, path, capacity: 1, allocation: 1, format: VolumeFormat::Raw, backing: None };
        world.host.put_volume("nodebake", info, b"x");
    }
    let before = holdings(&world);
    world.carry_out(&world.plan()).unwrap();
    let inventory = world.inventory(None);
    let removals = plan::removals(&world.id, &world.config, &inventory);
    assert_eq!(removals.keys().map(ToString::to_string).collect::<Vec<_>>(), ["worker-node-1", "worker-node-2"]);
    for (node, removal) in &removals {
        world.apply().remove(node, removal).unwrap();
    }
    let kept = ["nodebake.base.", "nodebake.payload."];
    let mut left = holdings(&world);
    let images = left.extract_if(.., |line| kept.iter().any(|kept| line.starts_with(kept))).count();
    assert_eq!((images, left), (2, before));
}
