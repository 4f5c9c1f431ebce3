//! Machines made by hand that give their places to machines of ours.

use nodebake::apply::{Apply, ApplyError};
use nodebake::digest::Digest;
use nodebake::machine::memory::Moment;
use nodebake::machine::{
    DomainInfo, DomainState, Hypervisor as _, MarkState, NoteState, TakenOver, VolumeFormat, VolumeInfo,
};
use nodebake::plan::{self, Blocked, ByHand, Inventory, Plan, Request};

use crate::faults::Fault;
use crate::world::{NOW, World, holdings, pool, report, sealed, steps};

const NODE: &str = "worker-node-1";
const KEPT: &str = "worker-node-1-before-nodebake";
const OLD: uuid::Uuid = uuid::Uuid::from_u128(7);

/// A machine made by hand, with a disk of its own, one on a base image and a CD-ROM.
fn by_hand(name: &str) -> DomainInfo {
    let disk = |path: &str, device: &str| format!("<disk type='file' device='{device}'><source file='{path}'/></disk>");
    let disks = disk("/images/old.qcow2", "disk") + &disk("/srv/data.img", "disk") + &disk("/iso/cloud.iso", "cdrom");
    DomainInfo {
        name: name.to_owned(),
        uuid: OLD,
        state: DomainState::Running,
        autostart: true,
        mark: Ok(None),
        xml: format!("<domain type='kvm'><name>{name}</name><devices>{disks}</devices></domain>"),
    }
}

/// The second node's machine is ours and up; the first one's was made by hand and runs.
pub(crate) fn world() -> World {
    let mut world = World::with_sealing_guests();
    world.host.put_guest("", &(report("kubelet-active", "ok", "") + &sealed()));
    let first = world.built.remove(0);
    world.carry_out(&world.plan()).unwrap();
    world.built = vec![first];
    world.host.put_domain(by_hand(NODE));
    world
}

fn plan_of(world: &World, domain: Option<&str>) -> Result<Plan, Blocked> {
    let World { config, id, built, .. } = world;
    let inventory = Inventory::read(config, &world.host, None).unwrap();
    plan::take_over(Request { config, id, built, inventory: &inventory, now: NOW }, domain)
}

fn take_over(world: &World) -> Result<(), ApplyError> {
    world.carry_out(&plan_of(world, None).unwrap()).map(drop)
}

pub(crate) fn old(world: &World) -> DomainInfo {
    world.host.domain(OLD).unwrap().unwrap()
}

/// What the new machine's guest says.
fn new_guest_says(world: &World, says: &str) {
    world.host.put_guest(&format!("{NODE}.root."), says);
}

#[test]
fn a_machine_made_by_hand_is_stopped_and_kept() {
    let world = world();
    let before = old(&world);
    let plan = plan_of(&world, None).unwrap();
    let aside = plan.nodes[0].take_over.as_ref().unwrap().to_string();
    assert_eq!(
        (steps(&plan), aside),
        (vec![format!("{NODE} create")], format!("domain {NODE} is stopped and kept as {KEPT}"))
    );
    let calls = world.host.calls().len();
    world.carry_out(&plan).unwrap();
    let calls: Vec<_> = world.host.calls()[calls..].iter().map(|call| call.replace(&OLD.to_string(), "OLD")).collect();
    let of_old: Vec<_> = calls.iter().filter(|call| call.contains("OLD")).map(String::as_str).collect();
    let rename = format!("rename OLD {KEPT}");
    assert_eq!(of_old, ["note begun OLD", "shutdown OLD", "autostart OLD", &rename, "note kept OLD"]);
    let at = |text: &str| calls.iter().position(|call| call.starts_with(text)).unwrap();
    assert!(
        at("upload") < at("note begun") && at("rename") < at("define") && at("start") < at("note kept"),
        "{calls:?}"
    );

    let after = old(&world);
    let note = after.taken_over().unwrap().unwrap();
    let wanted = TakenOver {
        cluster: world.id.name.clone(),
        ca: world.id.ca,
        node: NODE.parse().unwrap(),
        state: NoteState::Kept,
        name: NODE.to_owned(),
        autostart: true,
        ran: true,
        standing: None,
    };
    assert_eq!(note, wanted);
    let (state, autostart) = (DomainState::ShutOff, false);
    assert_eq!((after.name.as_str(), after.state, after.autostart), (KEPT, state, autostart));
    assert_eq!(after.stored_digest(), before.stored_digest());
    assert_eq!(world.domain(NODE).mark().unwrap().state, MarkState::Active);
    // Once more: there is nothing left to do, and nothing stands in the way of other verbs.
    assert_eq!(plan_of(&world, None).unwrap().nodes, []);
    assert_eq!(steps(&world.plan()), [format!("{NODE} finish")]);
    let kept = plan::taken_over(&world.id, &world.inventory(None).domains)
        .iter()
        .map(|kept| kept.domain.name.clone())
        .collect::<Vec<_>>();
    assert_eq!(kept, [KEPT]);
    world.rebuild().unwrap();
    assert_eq!(old(&world), after);
}

#[test]
fn it_gets_all_back_where_the_new_machine_fails() {
    for (says, why) in [
        (report("containerd-active", "failed", "Ym9vbQo="), "failed to get to \"containerd active\""),
        (String::new(), "nothing new for 0 s; last seen: nothing"),
    ] {
        for (state, autostart) in [(DomainState::Running, true), (DomainState::ShutOff, false)] {
            let world = world();
            world.host.put_domain(DomainInfo { state, autostart, ..old(&world) });
            new_guest_says(&world, &says);
            let (before, disks) = (old(&world), holdings(&world));
            let error = take_over(&world).unwrap_err();
            let text = "worker-node-1: its new machine did not come up, and domain worker-node-1 has its place again";
            let ApplyError::GivenBack { cause, .. } = &error else { panic!("{error:?}") };
            assert_eq!((error.to_string().as_str(), cause.to_string()), (text, format!("{NODE}: {why}")));
            assert_eq!((error.is_node_down(), error.log()), (true, cause.log()));
            assert_eq!((old(&world), holdings(&world)), (before, disks));
        }
    }
}

#[test]
fn one_that_does_not_go_off_runs_on_without_force() {
    let world = world();
    let before = (old(&world), holdings(&world));
    world.host.deafen();
    assert!(matches!(take_over(&world), Err(ApplyError::StillRuns { .. })));
    assert_eq!((old(&world), holdings(&world)), before);
    let apply = Apply { force: true, ..world.apply() };
    apply.node(&plan_of(&world, None).unwrap().nodes[0]).unwrap();
    assert_eq!((old(&world).name.as_str(), old(&world).state), (KEPT, DomainState::ShutOff));
}

/// A fault at each call: the same command brings it to the same end, and nothing but it touches the old machine meanwhile.
#[test]
fn taking_over_converges_from_a_fault_at_every_call() {
    let whole = world();
    let before = whole.host.calls().len();
    take_over(&whole).unwrap();
    let wanted = (old(&whole), holdings(&whole));
    let calls = whole.host.calls()[before..].to_vec();
    let (mut back, mut cut_off) = (0, 0);
    for fault in Fault::all(&calls) {
        let world = world();
        let first = (old(&world), holdings(&world));
        let when = fault.run(&world, take_over);
        if (old(&world), holdings(&world)) == first {
            back += 1;
        }
        let (between, up) = (old(&world), world.plan_with(None, plan::up));
        match up {
            Err(Blocked::Unsettled { .. } | Blocked::ForeignDomain { .. }) => cut_off += 1,
            Err(other) => panic!("{when}: {other:?}"),
            Ok(plan) => {
                // Ours came up: whoever finishes it notes that the old one is kept, and no more.
                world.carry_out(&plan).unwrap_or_else(|error| panic!("{when}: {error:?}"));
                let note = old(&world).taken_over().unwrap().unwrap();
                let renoted =
                    TakenOver { state: NoteState::Kept, standing: None, ..between.taken_over().unwrap().unwrap() };
                assert_eq!(
                    (note, old(&world).name, old(&world).state),
                    (renoted, between.name, between.state),
                    "{when}"
                );
            }
        }
        let plan = plan_of(&world, None).unwrap_or_else(|error| panic!("{when}: {error:?}"));
        world.carry_out(&plan).unwrap_or_else(|error| panic!("{when}: {error:?}"));
        assert_eq!((old(&world), holdings(&world)), wanted, "{when}");
    }
    assert!(back > 10 && cut_off > 30, "{back} {cut_off}");
}

/// The same where the new machine does not come up: whatever goes wrong on the way back, the old one is what it was.
#[test]
fn giving_back_converges_from_a_fault_at_every_call() {
    let fails = || {
        let world = world();
        new_guest_says(&world, &report("containerd-active", "failed", "Ym9vbQo="));
        world
    };
    let whole = fails();
    let wanted = (old(&whole), holdings(&whole));
    let before = whole.host.calls().len();
    assert!(matches!(take_over(&whole), Err(ApplyError::GivenBack { .. })));
    let calls = whole.host.calls()[before..].to_vec();
    for fault in Fault::all(&calls) {
        let world = fails();
        let when = fault.run(&world, take_over);
        if (old(&world), holdings(&world)) != wanted {
            let again = take_over(&world);
            assert!(matches!(again, Err(ApplyError::GivenBack { .. })), "{when}: {again:?}");
        }
        assert_eq!((old(&world), holdings(&world)), wanted, "{when}");
    }
}

/// Puts something in the way of a take-over.
type Prepare<'a> = &'a dyn Fn(&World);

#[test]
fn what_cannot_be_taken_over_is_told() {
    let note = |world: &World, change: &dyn Fn(&mut TakenOver)| {
        let mut note = TakenOver {
            cluster: world.id.name.clone(),
            ca: world.id.ca,
            node: NODE.parse().unwrap(),
            state: NoteState::Begun,
            name: NODE.to_owned(),
            autostart: true,
            ran: true,
            standing: None,
        };
        change(&mut note);
        world.host.note(OLD, Some(&note)).unwrap();
    };
    let other_ca = |note: &mut TakenOver| note.ca = Digest::of(b"other");
    let marked = |world: &World| {
        let ours = world.domain("worker-node-2");
        world.host.put_domain(DomainInfo { name: NODE.to_owned(), ..ours });
    };
    let gone: Prepare = &|world| {
        world.host.note(OLD, None).unwrap();
        world.host.put_domain(DomainInfo { name: "elsewhere".to_owned(), ..old(world) });
    };
    let cases: [(Prepare, Option<&str>, &str); 7] = [
        (gone, None, "there is no persistent domain worker-node-1 that could be taken over for worker-node-1"),
        (&|_| {}, Some("old"), "there is no persistent domain old that could be taken over for worker-node-1"),
        (gone, Some("elsewhere"), ""),
        (
            &|world| {
                gone(world);
                marked(world);
            },
            None,
            "domain worker-node-1 cannot be taken over for worker-node-1: it carries a mark of nodebake already",
        ),
        (
            &|world| note(world, &other_ca),
            None,
            "domain worker-node-1 cannot be taken over for worker-node-1: it carries a mark of nodebake already",
        ),
        (
            &|world| note(world, &|_| {}),
            Some("old"),
            "the take-over of worker-node-1 is not at its end: domain worker-node-1 is the machine before",
        ),
        (
            &|world| {
                gone(world);
                new_guest_says(world, &report("kubelet-active", "ok", ""));
                world.carry_out(&world.plan()).unwrap();
            },
            None,
            "the machine of worker-node-1 was made by nodebake: there is nothing to take over",
        ),
    ];
    for (prepare, domain, wanted) in cases {
        let world = world();
        prepare(&world);
        let told = plan_of(&world, domain).err().map(|error| error.to_string());
        assert_eq!(told.unwrap_or_default(), wanted, "{domain:?}");
    }

    // Without being asked for it stands in the way, however far a take-over came.
    let world = world();
    let told = |world: &World| world.plan_with(None, plan::up).unwrap_err().to_string();
    assert_eq!(told(&world), "domain worker-node-1 exists and is not of this cluster");
    note(&world, &|_| {});
    let unsettled = "the take-over of worker-node-1 is not at its end: domain worker-node-1 is the machine before";
    assert_eq!(told(&world), unsettled);
    let inventory = world.inventory(None);
    let nodes: Vec<_> = world.config.nodes.iter().collect();
    let all = plan::blocked(&world.config, &world.id, &nodes, &inventory, NOW, ByHand::TakenOver(None));
    assert_eq!(
        all.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["the machine of worker-node-2 was made by nodebake: there is nothing to take over"]
    );
}

/// libvirt would give the new machine the old one's file.
#[test]
fn the_old_machines_uefi_variables_are_nobody_elses() {
    let mut world = world();
    let nvram = "<os><nvram>/var/lib/libvirt/qemu/nvram/worker-node-1_VARS.fd</nvram></os><devices>";
    let xml = old(&world).xml.replace("<devices>", nvram);
    world.host.put_domain(DomainInfo { xml, ..old(&world) });
    assert!(plan_of(&world, None).is_ok(), "a machine with BIOS has none");
    world.built[0].images.firmware = nodebake::machine::Firmware::Uefi;
    let error = plan_of(&world, None).unwrap_err();
    let text = "domain worker-node-1 keeps its UEFI variables in the file that libvirt would give the machine of worker-node-1";
    assert_eq!(error.to_string(), text);
}

fn volume(path: &str, backing: Option<&str>) -> VolumeInfo {
    let (name, backing) = (path.rsplit('/').next().unwrap().to_owned(), backing.map(ToOwned::to_owned));
    VolumeInfo { name, path: path.to_owned(), capacity: 1, allocation: 1, format: VolumeFormat::Raw, backing }
}

#[test]
fn what_is_kept_goes_with_the_disks_that_nobody_else_needs() {
    let world = world();
    world.host.put_pool(pool("users", "/images"));
    world.host.put_pool(pool("iso", "/iso"));
    for (pool, path, backing) in [
        ("users", "/images/old.qcow2", Some("/images/base.qcow2")),
        ("users", "/images/base.qcow2", None),
        ("iso", "/iso/cloud.iso", None),
    ] {
        world.host.put_volume(pool, volume(path, backing), b"x");
    }
    take_over(&world).unwrap();
    let nodes = [NODE.parse().unwrap()];
    let removals = |world: &World| {
        let (domains, volumes) = (world.host.domains().unwrap(), world.host.all_volumes().unwrap());
        plan::kept_removals(&world.id, &nodes, &domains, &volumes).map_err(|error| error.to_string())
    };
    let told = |world: &World| {
        let removal = removals(world).unwrap().remove(0);
        let goes = removal.volumes.iter().map(|(pool, volume)| format!("{pool}/{}", volume.name)).collect::<Vec<_>>();
        let stays = removal.left.iter().map(|(source, why)| format!("{source}: {why}")).collect::<Vec<_>>();
        (goes, stays)
    };
    let stays = ["/srv/data.img: in no pool of libvirt's", "/iso/cloud.iso: a medium, read-only or shared"];
    assert_eq!(told(&world), (vec!["users/old.qcow2".to_owned()], stays.map(str::to_owned).to_vec()));

    // What another machine has, or stands on, is not taken away.
    let other = DomainInfo { name: "other".to_owned(), uuid: uuid::Uuid::from_u128(8), ..by_hand("other") };
    world.host.put_domain(other.clone());
    assert_eq!(told(&world).0, Vec::<String>::new());
    world.host.put_domain(DomainInfo { xml: other.xml.replace("old.qcow2", "clone.qcow2"), ..other });
    world.host.put_volume("users", volume("/images/clone.qcow2", Some("/images/old.qcow2")), b"x");
    let stays = [stays[0], stays[1], "/images/old.qcow2: under another volume"].map(str::to_owned).to_vec();
    assert_eq!(told(&world), (Vec::new(), stays));
    world.host.put_volume("users", volume("/images/clone.qcow2", None), b"x");

    let kept = old(&world);
    world.host.put_domain(DomainInfo { state: DomainState::Running, ..kept.clone() });
    assert_eq!(removals(&world).unwrap_err(), format!("domain {KEPT} runs"));
    world.host.put_domain(kept.clone());
    let volumes = || world.host.volumes("users").unwrap().into_iter().map(|volume| volume.name).collect::<Vec<_>>();
    // Cut off between the two: the same once more.
    let removal = removals(&world).unwrap().remove(0);
    world.host.fail_at(world.host.calls().len() + 1, Moment::Before);
    world.apply().remove_kept(&removal).unwrap_err();
    assert_eq!((old(&world), volumes()), (kept, vec!["base.qcow2".to_owned(), "clone.qcow2".to_owned()]));
    world.apply().remove_kept(&removals(&world).unwrap()[0]).unwrap();
    assert_eq!((world.host.domain(OLD).unwrap(), removals(&world).unwrap()), (None, Vec::new()));
    assert_eq!(volumes(), ["base.qcow2", "clone.qcow2"]);
}
