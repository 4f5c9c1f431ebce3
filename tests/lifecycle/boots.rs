//! How a boot is followed, and when it is given up.

use std::time::Duration;

use nodebake::apply::{Apply, Outcome, Patience};
use nodebake::cluster::{NodeStatus, Nodes};
use nodebake::machine::Hypervisor as _;
use nodebake::machine::{DomainInfo, DomainState, MarkState};
use nodebake::plan;
use nodebake::plan::{Plan, Step};

use crate::world::{Notes, World, report, steps};

#[test]
fn a_failing_stage_leaves_the_machine_for_its_logs() {
    let world = World::with_good_guests();
    world.guest_says("worker-node-1", &report("containerd-active", "failed", "Ym9vbQo="));
    let plan = world.plan();
    plan.shared.iter().for_each(|action| world.apply().shared(action).unwrap());
    let error = world.apply().node(&plan.nodes[0]).unwrap_err();
    assert_eq!(error.to_string(), "worker-node-1: failed to get to \"containerd active\"");
    assert_eq!((error.log(), error.is_node_down()), (Some("boom\n"), true));
    let domain = world.domain("worker-node-1");
    let mark = domain.mark().unwrap();
    assert_eq!((mark.state, mark.stage.as_deref()), (MarkState::Failed, Some("containerd active")));
    assert_eq!(domain.state, DomainState::Running);
    world.guest_says("worker-node-1", &report("kubelet-active", "ok", ""));
    assert_eq!(steps(&world.plan())[0], "worker-node-1 create: the attempt before failed");
    assert_eq!(world.carry_out(&world.plan()).unwrap(), [Outcome::KubeletActive; 2]);
}

#[test]
fn a_failure_is_overcome_by_its_own_stage_alone() {
    let kubelet = report("kubelet-active", "ok", "");
    for (between, wanted) in [
        (report("containerd-active", "ok", ""), None),
        (report("payload-mounted", "ok", ""), Some("worker-node-1: failed to get to \"containerd active\"")),
    ] {
        let world = World::with_good_guests();
        let text = report("containerd-active", "failed", "") + &between + &kubelet;
        world.guest_says("worker-node-1", &text);
        assert_eq!(world.carry_out(&world.plan()).err().map(|error| error.to_string()).as_deref(), wanted);
    }
}

#[test]
fn a_first_boot_is_up_when_it_is_finished_and_a_later_one_without_that_word() {
    let first = report("seed-read", "ok", "") + &report("kubelet-active", "ok", "");
    let finished = first.clone() + &report("finished", "ok", "");
    let other = "00000000-0000-4000-8000-000000000008";
    let later =
        first.clone() + &report("kubelet-active", "ok", "").replace("00000000-0000-4000-8000-000000000007", other);
    for (text, wanted) in [(&first, false), (&finished, true), (&later, true)] {
        let world = World::with_good_guests();
        world.guest_says("worker-node-1", text);
        assert_eq!(world.carry_out(&world.plan()).is_ok(), wanted, "{text}");
    }
}

/// What first boot does beside the kubelet is waited for and told, and no node fails by it.
#[test]
fn a_node_is_up_whatever_becomes_of_its_errands() {
    let begun = report("images-imported", "begun", "") + &report("kubelet-active", "ok", "");
    let heard = ["begun: images imported (2 s)", "kubelet active (2 s)"];
    for (end, wanted) in [
        (report("images-imported", "ok", ""), vec!["images imported (2 s)"]),
        (
            report("images-imported", "failed", "Ym9vbQo="),
            vec![
                "failed: images imported (2 s)",
                "warning: worker-node-1 is a node without this: `nodebake logs worker-node-1` tells why",
            ],
        ),
        (
            String::new(),
            vec![
                "warning: worker-node-1 is a node, and not yet known to have this: images imported; \
                 `nodebake logs worker-node-1` tells more",
            ],
        ),
    ] {
        let mut world = World::with_good_guests();
        world.config.nodes[0].settings.keep_seed = true;
        world.guest_says("worker-node-1", &begun);
        let (plan, notes) = (world.plan(), Notes::default());
        plan.shared.iter().for_each(|action| world.apply().shared(action).unwrap());
        let patience = Patience::of_silence(Duration::from_secs(1));
        let apply = Apply { progress: &notes, patience, ..world.apply() };
        let outcome = std::thread::scope(|scope| {
            let node = scope.spawn(|| apply.node(&plan.nodes[0]).unwrap());
            let active = || world.host.domain(world.uuid("worker-node-1")).unwrap()?.mark().map(|mark| mark.state);
            while active() != Some(MarkState::Active) {
                assert!(!node.is_finished(), "{wanted:?}: it does not wait");
                std::thread::yield_now();
            }
            world.guest_says("worker-node-1", &(begun.clone() + &end));
            node.join().unwrap()
        });
        let (notes, wanted) = (notes.0.into_inner().unwrap(), [&heard[..], &wanted].concat());
        let last = notes[notes.len() - wanted.len()..].iter().map(String::as_str).collect::<Vec<_>>();
        assert_eq!((outcome, last), (Outcome::KubeletActive, wanted));
        assert_eq!(world.domain("worker-node-1").mark().unwrap().state, MarkState::Active);
    }
}

/// A machine that once came up may hold what nobody else has: whatever keeps it down, `up` starts it again and no more.
#[test]
fn what_once_came_up_is_never_replaced_unasked() {
    for state in [MarkState::Active, MarkState::Registered] {
        let world = World::with_good_guests();
        world.carry_out(&world.plan()).unwrap();
        world.change_mark("worker-node-1", |mark| mark.state = state);
        let domain = world.domain("worker-node-1");
        world.host.put_domain(DomainInfo { state: DomainState::ShutOff, ..domain });
        world.guest_says("worker-node-1", "");
        assert!(world.carry_out(&world.plan()).is_err());
        let mark = world.domain("worker-node-1").mark().unwrap().clone();
        assert_eq!((mark.state, mark.stage.as_deref()), (state, Some("stalled")));
        assert_eq!(steps(&world.plan())[0], "worker-node-1 finish");
    }
}

#[test]
fn one_that_registered_after_it_was_given_up_is_kept() {
    let world = World::with_good_guests();
    world.carry_out(&world.plan()).unwrap();
    world.change_mark("worker-node-1", |mark| {
        mark.state = MarkState::Failed;
        mark.boot_id = Some("a".to_owned());
    });
    for (boot_id, wanted) in [("a", "worker-node-1 finish"), ("b", "worker-node-1 create: the attempt before failed")] {
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
fn a_silent_guest_and_a_stopped_one_are_given_up() {
    let world = World::with_good_guests();
    world.guest_says("worker-node-1", "");
    world.carry_out(&Plan { nodes: Vec::new(), ..world.plan() }).unwrap();
    let plan = world.plan();
    let error = world.apply().node(&plan.nodes[0]).unwrap_err();
    assert_eq!(error.to_string(), "worker-node-1: nothing new for 0 s; last seen: nothing");

    let domain = world.domain("worker-node-1");
    world.host.put_domain(DomainInfo { state: DomainState::Crashed, ..domain });
    let uuid = world.uuid("worker-node-1");
    let finish = plan::NodePlan { step: Step::Finish(uuid), ..plan.nodes[0].clone() };
    let error = world.apply().node(&finish).unwrap_err();
    assert_eq!(
        error.to_string(),
        "worker-node-1: the guest stopped (Crashed) before it was in the cluster; last seen: nothing"
    );
    assert_eq!(world.domain("worker-node-1").mark().unwrap().stage.as_deref(), Some("stopped"));
}

#[test]
fn a_machine_that_cannot_seal_its_disk_is_told_of() {
    for (said, wanted) in [
        (report("disk-sealed", "failed", "Zm91bA=="), "worker-node-1: failed to get to \"disk sealed\""),
        (report("payload-copied", "ok", ""), "worker-node-1: nothing new for 0 s; last seen: payload copied"),
        // A failed errand is none here, and says nothing of the disk.
        (
            report("packages-installed", "failed", ""),
            "worker-node-1: nothing new for 0 s; last seen: failed: packages installed",
        ),
    ] {
        let world = World::with_good_guests();
        let plan = world.plan();
        let apply = world.apply();
        plan.shared.iter().for_each(|action| apply.shared(action).unwrap());
        world.guest_says("worker-node-1", &said);
        let error = apply.seal_disk(&plan.nodes[0]).unwrap_err();
        assert_eq!(error.to_string(), wanted);
        assert!(!world.domain("worker-node-1").autostart);
    }
}
