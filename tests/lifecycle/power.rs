//! Machines off, on, and waited for.

use nodebake::apply::{Apply, ApplyError};
use nodebake::machine::Hypervisor as _;
use nodebake::machine::mark::LogKind;
use nodebake::machine::memory::Moment;
use nodebake::machine::{DomainInfo, DomainState, MarkState, NetworkInfo, VolumeName};
use nodebake::plan;
use nodebake::plan::{Blocked, SharedAction};

use crate::world::{Notes, World, holdings, report, sealed, steps};

#[test]
fn machines_go_off_and_on_as_they_are() {
    let world = World::with_sealing_guests();
    world.carry_out(&world.plan()).unwrap();
    let nodes: Vec<_> = world.config.nodes.iter().collect();
    let start = || plan::start(&world.config, &world.id, &nodes, &world.inventory(None));
    let (name, before) = ("worker-node-1".parse().unwrap(), world.domain("worker-node-1"));
    let stop = |force| world.apply().stop(&name, "nodebake", force);
    assert_eq!((stop(false).unwrap(), stop(false).unwrap()), (true, false));
    assert_eq!(world.domain("worker-node-1"), DomainInfo { state: DomainState::ShutOff, ..before.clone() });
    let network = world.host.network("nodebake").unwrap().unwrap();
    world.host.put_network(NetworkInfo { active: false, ..network });

    let plan = start().unwrap();
    assert_eq!(steps(&plan), ["worker-node-1 start", "worker-node-2 finish"]);
    assert_eq!(plan.shared, [SharedAction::StartNetwork("nodebake".to_owned())]);
    world.carry_out(&plan).unwrap();
    assert_eq!(world.domain("worker-node-1"), before);
    assert_eq!(start().unwrap().shared, []);

    world.host.deafen();
    let error = stop(false).unwrap_err();
    assert!(matches!(error, ApplyError::StillRuns { .. }), "{error}");
    assert_eq!(world.domain("worker-node-1").state, DomainState::Running);
    assert!(stop(true).unwrap());
    assert_eq!(world.domain("worker-node-1").state, DomainState::ShutOff);
}

/// What is kept of a node's logs of the run before: of first boot, and of the console.
fn kept(world: &World, node: &str) -> [Option<String>; 2] {
    [LogKind::FirstBoot, LogKind::Console].map(|kind| {
        let name = VolumeName::previous_log(&world.id, &node.parse().unwrap(), kind);
        let read = world.host.read_volume("nodebake-logs", &name, 0, 1000);
        read.ok().map(|bytes| String::from_utf8(bytes).unwrap())
    })
}

#[test]
fn what_a_machine_told_the_last_time_is_kept_when_it_is_started() {
    let (world, node) = (World::with_sealing_guests(), "worker-node-1");
    let (name, notes) = (node.parse().unwrap(), Notes::default());
    let apply = Apply { progress: &notes, ..world.apply() };
    let plan = world.plan();
    plan.shared.iter().for_each(|action| world.apply().shared(action).unwrap());
    let good = report("kubelet-active", "ok", "") + &sealed();
    apply.node(&plan.nodes[0]).unwrap();
    assert_eq!(kept(&world, node), [Some(good.clone()), None]);

    let nodes = [&world.config.nodes[0]];
    let start = |first_boot: &str, console: &str, fault: Option<usize>| {
        assert!(apply.stop(&name, "nodebake", true).unwrap());
        world.log(node, LogKind::FirstBoot, first_boot);
        world.log(node, LogKind::Console, console);
        world.host.put_guest("", &good);
        let plan = plan::start(&world.config, &world.id, &nodes, &world.inventory(None)).unwrap();
        if let Some(call) = fault {
            world.host.fail_at(world.host.calls().len() + call, Moment::Before);
        }
        apply.node(&plan.nodes[0]).unwrap();
        kept(&world, node)
    };
    let is = |first_boot: &str, console: &str| [Some(first_boot.to_owned()), Some(console.to_owned())];
    assert_eq!(start("one", "1", None), is("one", "1"));
    // A run that wrote nothing takes the place of none, and what is kept is always of one run.
    assert_eq!(start("", "", None), is("one", "1"));
    assert_eq!(start("", "2", None), [None, Some("2".to_owned())]);
    assert_eq!(start("three", "3", None), is("three", "3"));
    // The machine runs, whatever becomes of that; and one that runs is left alone.
    let told = notes.0.lock().unwrap().len();
    assert_eq!(start("four", "4", Some(0)), is("three", "3"));
    let warning = "warning: worker-node-1: what its machine told the last time is not kept: lost the connection to libvirt \
                   at memory:/// (to delete nodebake.seed.69590970.worker-node-1.first-boot.previous.log): a fault was \
                   injected";
    assert_eq!(notes.0.lock().unwrap()[told + 2], warning);
    world.log(node, LogKind::Console, "5");
    apply.node(&plan::start(&world.config, &world.id, &nodes, &world.inventory(None)).unwrap().nodes[0]).unwrap();
    assert_eq!(kept(&world, node), is("three", "3"));

    let removals = plan::removals(&world.id, &world.config, &world.inventory(None));
    apply.remove(&name, &removals[&name]).unwrap();
    assert_eq!(kept(&world, node), [None, None]);
}

#[test]
fn what_is_waited_for_comes_or_is_told_why_not() {
    let (started, kubelet) = (report("seed-read", "ok", ""), report("kubelet-active", "ok", ""));
    let broken = report("containerd-active", "failed", "Ym9vbQo=");
    let no_images = report("images-imported", "failed", "Ym9vbQo=");
    let nothing_new = |last: &str| Some(format!("worker-node-1: nothing new for 0 s; last seen: {last}"));
    let failed = |stage: &str| Some(format!("worker-node-1: failed to get to \"{stage}\""));
    let off = |state: &str, last: &str| {
        let what = format!("the guest stopped ({state}) before it was in the cluster");
        Some(format!("worker-node-1: {what}; last seen: {last}"))
    };
    let (on, shut) = (Some(DomainState::Running), Some(DomainState::ShutOff));
    for (says, state, goal, wanted) in [
        (&kubelet, on, "stage=kubelet-active", None),
        (&(broken.clone() + &report("containerd-active", "ok", "")), on, "stage=containerd-active", None),
        (&started, on, "stage=kubelet-active", nothing_new("seed read")),
        (&broken, on, "stage=kubelet-active", failed("containerd active")),
        (&broken, on, "off", nothing_new("failed: containerd active")),
        (&no_images, on, "stage=images-imported", failed("images imported")),
        (&(no_images.clone() + &kubelet), on, "stage=kubelet-active", None),
        (&started, shut, "stage=kubelet-active", off("ShutOff", "seed read")),
        (&started, None, "stage=kubelet-active", off("gone", "seed read")),
        (&kubelet, shut, "stage=kubelet-active", off("ShutOff", "kubelet active")),
        (&started, shut, "off", None),
        (&started, None, "off", None),
        // Without the cluster nobody is ever known to be in it.
        (&kubelet, on, "registered", nothing_new("kubelet active")),
    ] {
        let world = World::with_good_guests();
        world.carry_out(&world.plan()).unwrap();
        world.guest_says("worker-node-1", says);
        let domain = world.domain("worker-node-1");
        if let Some(state) = state {
            world.host.put_domain(DomainInfo { state, ..domain });
        } else {
            world.host.destroy(domain.uuid).unwrap();
            world.host.undefine(domain.uuid).unwrap();
        }
        let (before, calls) = (holdings(&world), world.host.calls().len());
        let waited = world.apply().wait(&"worker-node-1".parse().unwrap(), "nodebake", goal.parse().unwrap());
        assert_eq!(waited.as_ref().err().map(ToString::to_string), wanted, "{goal} of {says}");
        assert!(waited.is_ok() || waited.is_err_and(|error| error.is_node_down()));
        assert_eq!((holdings(&world), world.host.calls().len()), (before, calls), "{goal}: something was changed");
    }
}

#[test]
fn what_was_not_made_cannot_be_started() {
    let world = World::with_good_guests();
    let nodes: Vec<_> = world.config.nodes.iter().take(1).collect();
    let start = || plan::start(&world.config, &world.id, &nodes, &world.inventory(None)).unwrap_err();
    let told = |error: Blocked| (error.to_string(), error.hint().unwrap_or_default());
    let wanted = ("worker-node-1 has no machine", "`nodebake up worker-node-1` makes it");
    assert_eq!(told(start()), (wanted.0.to_owned(), wanted.1.to_owned()));
    world.carry_out(&world.plan()).unwrap();
    world.change_mark("worker-node-1", |mark| mark.state = MarkState::Creating);
    let wanted = ("the machine of worker-node-1 is half made", "`nodebake up worker-node-1` makes it anew");
    assert_eq!(told(start()), (wanted.0.to_owned(), wanted.1.to_owned()));
}

#[test]
fn a_paused_machine_is_resumed() {
    let world = World::with_good_guests();
    world.carry_out(&world.plan()).unwrap();
    let domain = world.domain("worker-node-1");
    world.host.put_domain(DomainInfo { state: DomainState::Paused, ..domain });
    assert_eq!(steps(&world.plan())[0], "worker-node-1 start");
    world.carry_out(&world.plan()).unwrap();
    assert_eq!(world.domain("worker-node-1").state, DomainState::Running);
}
