//! A new machine in the place of one that works.

use nodebake::apply::{Apply, ApplyError};
use nodebake::digest::Digest;
use nodebake::machine::{DomainInfo, DomainState, MarkState};
use nodebake::plan;
use nodebake::plan::ImageFile;

use crate::world::{World, changed, holdings, iso, report, sealed, steps};

#[test]
fn rebuild_keeps_who_the_node_is() {
    let mut world = World::with_good_guests();
    world.carry_out(&world.plan()).unwrap();
    let before = world.domain("worker-node-1");
    world.built.truncate(1);
    let bytes = iso(b"another seed");
    std::fs::write(&world.built[0].seed.path, &bytes).unwrap();
    world.built[0].seed =
        ImageFile { digest: Digest::of(&bytes), size: bytes.len() as u64, ..world.built[0].seed.clone() };
    let plan = world.plan_with(None, plan::rebuild).unwrap();
    assert_eq!(steps(&plan), ["worker-node-1 create: asked for"]);
    world.carry_out(&plan).unwrap();
    let after = world.domain("worker-node-1");
    let mac = |domain: &DomainInfo| domain.xml.lines().find(|line| line.contains("<mac ")).map(ToOwned::to_owned);
    assert!(mac(&before).is_some());
    assert_eq!((after.uuid, &after.name, mac(&after)), (before.uuid, &before.name, mac(&before)));
    let disks = world.inventory(None).volumes;
    let disks: Vec<_> = disks.iter().filter(|v| v.name.contains(".worker-node-1.")).map(|v| v.name.clone()).collect();
    let short = Digest::of(&bytes).short();
    let name = |kind: &str| format!("nodebake.seed.{}.worker-node-1.{kind}", &world.id.ca.to_string()[..8]);
    assert_eq!(disks, [name(&format!("root.{short}.qcow2")), name(&format!("seed.{short}.iso"))]);
}

/// What the calls since a moment did, and to which volume's kind.
fn kinds(calls: &[String]) -> Vec<String> {
    let kind = |call: &String| {
        let mut words = call.split(' ');
        let verb = words.next().unwrap().to_owned();
        let volume = words.next().filter(|word| word.contains(".worker-node-1."));
        volume.map_or(verb.clone(), |name| format!("{verb} {}", name.split('.').nth(4).unwrap()))
    };
    calls.iter().map(kind).collect()
}

#[test]
fn a_machine_that_works_is_kept_until_the_new_one_does() {
    let world = changed();
    let (before, calls) = (world.domain("worker-node-1"), world.host.calls().len());
    let plan = world.plan_with(None, plan::rebuild).unwrap();
    assert_eq!(steps(&plan), ["worker-node-1 create: asked for"]);
    let replacement = plan.nodes[0].replacement.clone().unwrap();
    assert_eq!((&replacement.old, replacement.attempted), (&before.xml, false));
    world.carry_out(&plan).unwrap();
    let calls = &world.host.calls()[calls..];
    let wanted = [
        "create root",
        "upload seed",
        "shutdown",
        "define",
        "mark",
        "autostart",
        "delete first-boot",
        "flatten first-boot",
        "mark",
        "start",
        "mark",
        "delete root",
        "forget",
        "mark",
        "eject",
        "mark",
        "wipe seed",
        "delete seed",
    ];
    assert_eq!(kinds(calls), wanted, "{calls:?}");
    let after = world.domain("worker-node-1");
    let mac = |domain: &DomainInfo| domain.xml.lines().find(|line| line.contains("<mac ")).map(ToOwned::to_owned);
    assert_eq!((after.uuid, &after.name, mac(&after)), (before.uuid, &before.name, mac(&before)));
    assert_eq!(world.disks(), [format!("root.{}.qcow2", world.built[0].seed.digest.short())]);
    let plan = world.plan();
    assert_eq!((steps(&plan)[0].as_str(), &plan.nodes[0].drift), ("worker-node-1 finish", &Vec::new()));
    assert_eq!((&plan.nodes[0].replacement, &plan.nodes[0].strays), (&None, &Vec::new()));
}

/// The same seed once more: the new disk stands beside the old one all the same, and nothing looks changed by it.
#[test]
fn what_has_not_changed_can_be_made_anew_as_well() {
    let world = changed();
    world.rebuild().unwrap();
    let digest = world.built[0].seed.digest;
    let (first, second) = (digest.short(), Digest::of(digest.to_string().as_bytes()).short());
    for wanted in [&second, &first, &second] {
        world.rebuild().unwrap();
        assert_eq!(world.disks(), [format!("root.{wanted}.qcow2")]);
        let plan = world.plan();
        assert_eq!((&plan.nodes[0].drift, &plan.nodes[0].strays), (&Vec::new(), &Vec::new()));
        assert_eq!(plan.nodes[0].growth, []);
    }
}

/// A seed that is kept is the new machine's as well as the old one's, where nothing has changed.
#[test]
fn a_seed_of_both_machines_stays_where_the_old_one_is_put_back() {
    let mut world = World::with_good_guests();
    world.config.nodes.iter_mut().for_each(|node| node.settings.keep_seed = true);
    let good = report("kubelet-active", "ok", "");
    world.host.put_guest("", &good);
    world.carry_out(&world.plan()).unwrap();
    let (before, disks) = (holdings(&world), world.disks());
    assert_eq!(disks.len(), 2, "{disks:?}");
    world.host.put_guest(&Digest::of(world.built[0].seed.digest.to_string().as_bytes()).short(), "");
    world.built.truncate(1);
    assert!(matches!(world.rebuild(), Err(ApplyError::PutBack { .. })));
    assert_eq!((holdings(&world), world.disks()), (before, disks));
}

#[test]
fn the_old_machine_comes_back_where_the_new_one_fails() {
    for (says, why) in [
        (report("containerd-active", "failed", "Ym9vbQo="), "failed to get to \"containerd active\""),
        (report("kubelet-active", "failed", "Ym9vbQo="), "failed to get to \"kubelet active\""),
        (report("payload-mounted", "ok", ""), "nothing new for 0 s; last seen: payload mounted"),
        (String::new(), "nothing new for 0 s; last seen: nothing"),
    ] {
        let world = changed();
        world.new_guest_says(&says);
        let (before, disks) = (holdings(&world), world.disks());
        let error = world.rebuild().unwrap_err();
        let text = "worker-node-1: its new machine did not come up, and the old one was put back";
        let ApplyError::PutBack { cause, .. } = &error else { panic!("{error:?}") };
        assert_eq!((error.to_string().as_str(), cause.to_string()), (text, format!("worker-node-1: {why}")));
        assert_eq!((error.is_node_down(), error.log()), (true, cause.log()));
        assert_eq!((holdings(&world), world.disks()), (before, disks));
        assert_eq!(steps(&world.plan())[0], "worker-node-1 finish");
    }
}

/// A run that was killed has not noted that its machine came up: it is kept like one that did.
#[test]
fn a_machine_that_was_started_is_kept_as_well() {
    for (state, kept) in [(MarkState::Started, true), (MarkState::Failed, false)] {
        let world = changed();
        world.change_mark("worker-node-1", |mark| mark.state = state);
        world.new_guest_says(&report("containerd-active", "failed", "Ym9vbQo="));
        let disks = world.disks();
        let error = world.rebuild().unwrap_err();
        assert_eq!((matches!(error, ApplyError::PutBack { .. }), world.disks() == disks), (kept, kept), "{error:?}");
    }
}

#[test]
fn a_machine_that_does_not_go_off_is_not_replaced_without_force() {
    let world = changed();
    world.host.deafen();
    let before = holdings(&world);
    assert!(matches!(world.rebuild(), Err(ApplyError::StillRuns { .. })));
    assert_eq!(holdings(&world), before);
    let plan = world.plan_with(None, plan::rebuild).unwrap();
    let apply = Apply { force: true, ..world.apply() };
    apply.node(&plan.nodes[0]).unwrap();
    assert_eq!(world.domain("worker-node-1").mark().unwrap().seed, world.built[0].seed.digest);
}

/// An old machine that does not come back either is told of, and kept.
#[test]
fn neither_machine_may_come_up() {
    let world = changed();
    world.host.put_guest("", "");
    let error = world.rebuild().unwrap_err();
    let text = "worker-node-1: its new machine did not come up (worker-node-1: nothing new for 0 s; last seen: nothing), and \
                the old one is not back";
    assert_eq!((error.to_string().as_str(), error.is_node_down()), (text, true));
    assert_eq!(steps(&world.plan())[0], "worker-node-1 finish");
    world.host.put_guest("", &(report("kubelet-active", "ok", "") + &sealed()));
    let domain = world.domain("worker-node-1");
    world.host.put_domain(DomainInfo { state: DomainState::ShutOff, ..domain });
    world.carry_out(&world.plan()).unwrap();
}
