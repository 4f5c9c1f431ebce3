//! Runs that are told to end amidst their work.

use std::time::{Duration, Instant};

use nodebake::apply::{Apply, ApplyError, Patience, Share, share};
use nodebake::cluster::Cordon;
use nodebake::machine::memory::Memory;
use nodebake::machine::{DomainState, Hypervisor as _, MachineError, NoteState};
use nodebake::plan::{self, Request};
use nodebake::progress::{Progress, Silent, Task};

use crate::apiserver::NODE;
use crate::cluster::Member;
use crate::taking_over;
use crate::world::{Ends, POOL, World, changed, pool, report};

/// Longer than any of these runs may take.
const PATIENT: Duration = Duration::from_secs(30);

fn ending<'a>(world: &'a World, ends: &'a Ends<'a>) -> Apply<'a> {
    Apply { progress: ends, patience: Patience::of_silence(PATIENT), ..world.apply() }
}

/// The guest hears its button, and goes off whatever becomes of the run.
#[test]
fn a_machine_that_goes_off_gets_its_successor() {
    let world = changed();
    let plan = world.plan_with(None, plan::rebuild).unwrap();
    plan.shared.iter().for_each(|action| world.apply().shared(action).unwrap());
    let ends = Ends::after_press(&world.host);
    world.hearing_late(world.uuid(NODE), || ending(&world, &ends).node(&plan.nodes[0])).unwrap();
    let domain = world.domain(NODE);
    assert_eq!((domain.state, domain.mark().unwrap().seed), (DomainState::Running, world.built[0].seed.digest));

    let world = taking_over::world();
    let take_over = |request: Request| plan::take_over(request, None);
    let plan = world.plan_with(None, take_over).unwrap();
    plan.shared.iter().for_each(|action| world.apply().shared(action).unwrap());
    let (ends, old) = (Ends::after_press(&world.host), taking_over::old(&world).uuid);
    world.hearing_late(old, || ending(&world, &ends).node(&plan.nodes[0])).unwrap();
    let note = taking_over::old(&world).taken_over().unwrap().unwrap();
    assert_eq!((note.state, world.domain(NODE).state), (NoteState::Kept, DomainState::Running));
}

#[test]
fn no_button_is_pressed_any_more() {
    let world = changed();
    let ends = Ends::at("stopping its machine");
    let calls = world.host.calls().len();
    let stopped = ending(&world, &ends).stop(&NODE.parse().unwrap(), "nodebake", false);
    assert!(matches!(stopped, Err(ApplyError::Interrupted { .. })), "{stopped:?}");
    assert_eq!(world.host.calls()[calls..], [""; 0]);
}

/// Loses the connection at a word.
struct Loses<'a> {
    host: &'a Memory,
    word: &'static str,
    member: &'a Member,
}

impl Progress for Loses<'_> {
    fn task(&self, _: &str, _: Option<u64>) -> Box<dyn Task> {
        Box::new(Silent)
    }

    fn note(&self, node: &str, text: &str) {
        self.member.note(node, text);
        if text == self.word {
            self.host.lose();
        }
    }

    fn warn(&self, text: &str) {
        self.member.warn(text);
    }
}

#[test]
fn a_machine_that_cannot_be_asked_about_is_not_said_to_run_on() {
    let member = Member::new();
    let watch = member.cluster.watch();
    let plan = member.plan(plan::rebuild);
    plan.shared.iter().for_each(|action| member.apply(&watch).shared(action).unwrap());
    let loses = Loses { host: &member.world.host, word: "stopping its machine", member: &member };
    let error = Apply { progress: &loses, ..member.apply(&watch) }.node(&plan.nodes[0]).unwrap_err();
    assert!(matches!(error, ApplyError::Machine { source: MachineError::Lost { .. }, .. }), "{error:?}");
    assert!(error.is_cut_off() && !error.is_interrupted());
    assert_eq!(member.told().last().unwrap(), "stopping its machine");
    assert_eq!(member.standing().0, Cordon::Ours);
    member.world.host.mend();
    member.run(plan::up).unwrap();
    assert_eq!(member.standing().0, Cordon::Open);
    assert!(member.plan(plan::up).is_empty());
}

#[test]
fn what_comes_of_the_end_alone_is_told_from_failures() {
    let node = || NODE.parse().unwrap();
    let ended = || Box::new(ApplyError::Interrupted { node: Some(node()) });
    let failed = || Box::new(ApplyError::StillRuns { node: node(), seconds: 1 });
    for (cause, source, wanted) in
        [(ended(), ended(), true), (failed(), ended(), false), (ended(), failed(), false), (failed(), failed(), false)]
    {
        let error = ApplyError::NotPutBack { node: node(), cause, source };
        assert_eq!((error.is_interrupted(), error.is_cut_off()), (wanted, wanted), "{error:?}");
    }
    let error = ApplyError::NotGivenBack { node: node(), domain: "old".to_owned(), cause: ended(), source: ended() };
    assert!(error.is_interrupted());
    let error = ApplyError::NotBack { node: node(), from: "there".parse().unwrap(), cause: ended(), source: ended() };
    assert!(error.is_interrupted());
    assert!(!ApplyError::PutBack { node: node(), cause: failed() }.is_interrupted());
}

#[test]
fn an_upload_to_several_ends_and_the_next_is_not_begun() {
    let (world, other) = (World::with_good_guests(), Memory::new());
    other.put_pool(pool("nodebake", POOL));
    other.put_pool(pool("nodebake-logs", "/logs"));
    let ends = Ends::at("upload");
    let here = ending(&world, &ends);
    let there = Apply { hypervisor: &other, ..here };
    let plan = world.plan();
    let all = [&here, &there].map(|apply| Share { apply, name: None, actions: &plan.shared });
    let results = share(&all);
    assert!(results.iter().all(|result| matches!(result, Err(ApplyError::Interrupted { node: None }))), "{results:?}");
    for host in [&world.host, &other] {
        let uploads = host.calls().iter().filter(|call| call.starts_with("upload ")).count();
        assert_eq!((uploads, host.volumes("nodebake").unwrap()), (1, vec![]));
    }
}

#[test]
fn sealing_is_waited_for_no_longer() {
    let world = World::with_good_guests();
    let plan = world.plan();
    plan.shared.iter().for_each(|action| world.apply().shared(action).unwrap());
    let (ends, begin) = (Ends::at("kubelet active"), Instant::now());
    ending(&world, &ends).node(&plan.nodes[0]).unwrap();
    assert!(begin.elapsed() < PATIENT);
    let told = "warning: worker-node-1 is not sealed: its guest has not told that cloud-init is done; the next `up` tries again";
    assert_eq!(ends.told().last().unwrap(), told);
}

#[test]
fn a_node_made_by_hand_is_waited_for_no_longer_and_gets_the_rest_later() {
    let member = Member::by_hand(taking_over::world());
    member.world.host.put_guest(&format!("{NODE}.root."), &report("containerd-active", "failed", ""));
    let (watch, ends) = (member.cluster.watch(), Ends::at("giving domain"));
    let plan = member.plan(|request| plan::take_over(request, None));
    plan.shared.iter().for_each(|action| member.apply(&watch).shared(action).unwrap());
    let error = Apply { progress: &ends, ..member.apply(&watch) }.node(&plan.nodes[0]).unwrap_err();
    let ApplyError::NotGivenBack { source, .. } = &error else { panic!("{error:?}") };
    assert!(source.is_interrupted() && !error.is_interrupted(), "{error:?}");
    let old = taking_over::old(&member.world);
    assert_eq!((old.state, old.taken_over().unwrap().unwrap().state), (DomainState::Running, NoteState::Begun));
}
