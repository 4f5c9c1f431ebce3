//! Seeds, from the drive to their end.

use std::time::Duration;

use nodebake::apply::{Apply, Outcome, Patience};
use nodebake::digest::Digest;
use nodebake::machine::{DomainInfo, Drive, MarkState, VolumeInfo, VolumeName};
use nodebake::plan;

use crate::world::{Notes, World, report, sealed, steps};

/// A node that is up has its secrets on its own disk alone, and is the same machine otherwise.
#[test]
fn the_seed_of_a_node_that_is_up_goes() {
    let world = World::with_sealing_guests();
    world.carry_out(&world.plan()).unwrap();
    let calls = world.host.calls();
    for node in ["worker-node-1", "worker-node-2"] {
        assert_eq!(world.seed_of(node), (Drive::Empty, vec![]));
        let domain = world.domain(node);
        assert_eq!(domain.mark().unwrap().stored, Some(domain.stored_digest()));
        assert!(domain.xml.contains("device='cdrom'"), "the drive stays: {}", domain.xml);
        // Nobody reads the seed when it is overwritten, and it is overwritten before it is deleted.
        let uuid = world.uuid(node).to_string();
        let of_seed = |call: &&String| call.contains(&format!(".{node}.seed.")) || **call == format!("eject {uuid}");
        let kinds: Vec<_> = calls.iter().filter(of_seed).map(|call| call.split(' ').next().unwrap()).collect();
        assert_eq!(kinds, ["upload", "eject", "wipe", "delete"]);
    }
    // Nothing is left to do, and nothing looks changed.
    let again = world.plan();
    assert_eq!(steps(&again), ["worker-node-1 finish", "worker-node-2 finish"]);
    assert!(again.nodes.iter().all(|node| node.sealing.is_none() && node.drift.is_empty()), "{again:?}");
    world.carry_out(&again).unwrap();
    assert_eq!(world.host.calls(), calls);
    // Made anew and taken away like any other.
    world.carry_out(&world.plan_with(None, plan::rebuild).unwrap()).unwrap();
    assert_eq!(world.seed_of("worker-node-1"), (Drive::Empty, vec![]));
    for (node, removal) in &plan::removals(&world.id, &world.config, &world.inventory(None)) {
        world.apply().remove(node, removal).unwrap();
    }
    assert_eq!(world.inventory(None).domains, []);
}

/// What a guest says, how far its machine has come by then, and what is told of it.
type Case<'a> = (String, &'a dyn Fn(&World) -> bool, &'a str);

/// What a guest has told decides how far its seed may go; the next `up` does the rest.
#[test]
fn a_seed_goes_no_further_than_its_guest_does() {
    let kubelet = report("kubelet-active", "ok", "");
    let done = report("cloud-init-done", "ok", "");
    let held = |world: &World| {
        let (Drive::Seed(_), volumes) = world.seed_of("worker-node-1") else { return false };
        volumes == ["whole true"]
    };
    let ejected = |world: &World| world.seed_of("worker-node-1") == (Drive::Empty, vec!["whole true".to_owned()]);
    let cases: [Case; 3] = [
        (String::new(), &held, "its guest has not told that cloud-init is done; the next `up` tries again"),
        (
            done.clone(),
            &ejected,
            "its guest has not yet removed what cloud-init kept of the seed; the next `up` tries again, `nodebake logs \
             worker-node-1` tells more",
        ),
        (
            done + &report("sealed", "failed", ""),
            &ejected,
            "its guest failed to remove what cloud-init kept of the seed; the next `up` tries again, `nodebake logs \
             worker-node-1` tells more",
        ),
    ];
    for (said, is_so, why) in cases {
        let world = World::with_good_guests();
        world.guest_says("worker-node-1", &(kubelet.clone() + &said));
        let (plan, notes) = (world.plan(), Notes::default());
        plan.shared.iter().for_each(|action| world.apply().shared(action).unwrap());
        let apply = Apply { progress: &notes, ..world.apply() };
        assert_eq!(apply.node(&plan.nodes[0]).unwrap(), Outcome::KubeletActive);
        let last = notes.0.into_inner().unwrap().pop().unwrap();
        assert_eq!(last, format!("warning: worker-node-1 is not sealed: {why}"));
        assert!(is_so(&world), "{said}: {:?}", world.seed_of("worker-node-1"));

        // Registered meanwhile: only this is left to do. The guest tells the rest, or only the end of it after a reboot.
        world.change_mark("worker-node-1", |mark| mark.state = MarkState::Registered);
        let plan = world.plan();
        assert_eq!(steps(&plan)[0], "worker-node-1 seal");
        assert!(!plan.is_empty());
        world.guest_says("worker-node-1", &report("sealed", "ok", ""));
        assert_eq!(world.apply().node(&plan.nodes[0]).unwrap(), Outcome::Registered);
        assert_eq!(world.seed_of("worker-node-1"), (Drive::Empty, vec![]));
        assert_eq!(world.plan().nodes[0].drift, []);
        assert_eq!(steps(&world.plan())[0], "worker-node-1 nothing");
    }
}

/// A seed that was never sealed holds a key: its bytes go before it does.
#[test]
fn a_seed_is_overwritten_whenever_it_is_removed() {
    let world = World::with_good_guests();
    world.carry_out(&world.plan()).unwrap();
    let before = world.host.calls().len();
    let node = "worker-node-1".parse().unwrap();
    let all = plan::removals(&world.id, &world.config, &world.inventory(None));
    world.apply().remove(&node, &all[&node]).unwrap();
    let seed = VolumeName::seed(&world.id, &node, world.built[0].seed.digest).to_string();
    let calls = world.host.calls().split_off(before);
    let of_seed: Vec<_> = calls.into_iter().filter(|call| call.contains(&seed)).collect();
    assert_eq!(of_seed, [format!("wipe {seed}"), format!("delete {seed}")]);
}

/// A guest that was made from another seed may be of a nodebake that does not seal; it is asked for nothing.
#[test]
fn a_guest_that_may_not_know_how_is_not_waited_for() {
    for (said, wanted) in [(String::new(), false), (sealed(), true)] {
        let mut world = World::with_good_guests();
        world.carry_out(&world.plan()).unwrap();
        world.change_mark("worker-node-1", |mark| mark.state = MarkState::Registered);
        world.built[0].seed.digest = Digest::of(b"another seed");
        world.guest_says("worker-node-1", &said);
        let (plan, notes) = (world.plan(), Notes::default());
        assert_eq!(steps(&plan)[0], "worker-node-1 seal");
        // Whoever waits here waits for ever.
        let patience = Patience::of_silence(Duration::MAX);
        let apply = Apply { progress: &notes, patience, ..world.apply() };
        assert_eq!(apply.node(&plan.nodes[0]).unwrap(), Outcome::Registered);
        let sealed = "its seed is wiped and removed";
        let unsure = "warning: worker-node-1 is not sealed: its guest has not told that it needs its seed no more, and may \
                      be of an older nodebake; `nodebake rebuild worker-node-1` mends it";
        assert_eq!(notes.0.into_inner().unwrap(), [if wanted { sealed } else { unsure }]);
        assert_eq!(world.seed_of("worker-node-1") == (Drive::Empty, vec![]), wanted);
    }
}

#[test]
fn a_seed_that_is_to_be_kept_stays() {
    let mut world = World::with_sealing_guests();
    world.config.nodes[0].settings.keep_seed = true;
    world.carry_out(&world.plan()).unwrap();
    world.change_mark("worker-node-1", |mark| mark.state = MarkState::Registered);
    let (drive, volumes) = world.seed_of("worker-node-1");
    assert!(matches!(drive, Drive::Seed(_)) && volumes == ["whole true"], "{drive:?} {volumes:?}");
    assert_eq!(world.seed_of("worker-node-2"), (Drive::Empty, vec![]));
    assert_eq!(steps(&world.plan())[0], "worker-node-1 nothing");
}

/// A user's own disc in the drive is no seed, and a change by hand stays one.
#[test]
fn what_is_not_ours_stays_in_the_drive() {
    let world = World::with_good_guests();
    world.carry_out(&world.plan()).unwrap();
    let domain = world.domain("worker-node-1");
    let VolumeInfo { path, .. } =
        world.inventory(None).volumes.into_iter().find(|v| v.name.contains(".worker-node-1.seed.")).unwrap();
    let xml = domain.xml.replace(&path, "/iso/users.iso");
    world.host.put_domain(DomainInfo { xml: xml.clone(), ..domain });
    world.guest_says("worker-node-1", &(report("kubelet-active", "ok", "") + &sealed()));
    world.carry_out(&world.plan()).unwrap();
    assert_eq!(world.seed_of("worker-node-1"), (Drive::Other, vec![]));
    let drift: Vec<_> = world.plan().nodes[0].drift.iter().map(ToString::to_string).collect();
    assert_eq!(drift, ["machine changed by hand"]);
}
