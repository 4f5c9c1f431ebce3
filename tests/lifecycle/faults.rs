//! A fault at every single call, or the end of the program there, followed by a plain run.

use std::panic::{AssertUnwindSafe, catch_unwind};

use nodebake::apply::ApplyError;
use nodebake::machine::memory::{Killed, Memory, Moment};
use nodebake::plan;

use crate::world::{World, changed, holdings, report};

/// A fault at each call of `rebuild`: the next `up` finishes or undoes it, and what is undone can be done again.
#[test]
fn rebuild_converges_from_a_fault_at_every_call() {
    let whole = changed();
    let before = whole.host.calls().len();
    whole.rebuild().unwrap();
    let wanted = whole.rebuilt_holdings();
    let calls = &whole.host.calls()[before..];
    let (mut finished, mut undone) = (0, 0);
    for fault in Fault::all(calls) {
        let world = changed();
        let old = (holdings(&world), world.disks());
        let when = fault.run(&world, World::rebuild);
        world.carry_out(&world.plan()).unwrap_or_else(|error| panic!("{when}: {error:?}"));
        let plan = world.plan();
        let node = &plan.nodes[0];
        assert_eq!((&node.replacement, &node.strays), (&None, &Vec::new()), "{when}");
        if world.domain("worker-node-1").mark().unwrap().seed == world.built[0].seed.digest {
            finished += 1;
        } else {
            assert_eq!((holdings(&world), world.disks()), old, "{when}");
            undone += 1;
            world.rebuild().unwrap_or_else(|error| panic!("{when}: {error:?}"));
        }
        assert_eq!(world.rebuilt_holdings(), wanted, "{when}");
    }
    assert!(finished > 10 && undone > 10, "{finished} {undone}");
}

/// The same where the new machine does not come up: whatever goes wrong on the way back, the old one is there in the end.
#[test]
fn putting_back_converges_from_a_fault_at_every_call() {
    let whole = changed();
    let wanted = (holdings(&whole), whole.disks());
    whole.new_guest_says(&report("containerd-active", "failed", "Ym9vbQo="));
    let before = whole.host.calls().len();
    assert!(matches!(whole.rebuild(), Err(ApplyError::PutBack { .. })));
    let calls = whole.host.calls()[before..].to_vec();
    for fault in Fault::all(&calls) {
        let world = changed();
        world.new_guest_says(&report("containerd-active", "failed", "Ym9vbQo="));
        let when = fault.run(&world, World::rebuild);
        // One run may have to find out that the new machine does not come up.
        if let Err(error) = world.carry_out(&world.plan()) {
            assert!(matches!(error, ApplyError::PutBack { .. }), "{when}: {error:?}");
            world.carry_out(&world.plan()).unwrap_or_else(|error| panic!("{when}: {error:?}"));
        }
        assert_eq!((holdings(&world), world.disks()), wanted, "{when}");
    }
}

/// A fault at each call of `down`, then a plain run: nothing is left.
#[test]
fn down_converges_from_a_fault_at_every_call() {
    let down = |world: &World| {
        let removals = plan::removals(&world.id, &world.config, &world.inventory(None));
        removals.iter().try_for_each(|(node, removal)| world.apply().remove(node, removal))
    };
    let up = || {
        let world = World::with_good_guests();
        world.carry_out(&world.plan()).unwrap();
        world
    };
    let whole = up();
    let before = whole.host.calls().len();
    down(&whole).unwrap();
    let (wanted, calls) = (holdings(&whole), whole.host.calls()[before..].to_vec());
    assert_eq!(wanted.len(), 3, "base image, payload and network stay: {wanted:?}");
    assert!(calls.len() > 10, "{calls:?}");
    for fault in Fault::all(&calls) {
        let world = up();
        let when = fault.run(&world, down);
        down(&world).unwrap_or_else(|error| panic!("{when}: {error:?}"));
        assert_eq!(holdings(&world), wanted, "{when}");
    }
}

/// A fault at each call of `up`, at each moment of it, then a plain run: the same as without the fault.
#[test]
fn up_converges_from_a_fault_at_every_call() {
    converges(World::with_good_guests);
}

/// The same where nodes are sealed, at whose end no seed is left.
#[test]
fn sealing_converges_from_a_fault_at_every_call() {
    converges(World::with_sealing_guests);
}

fn converges(new: fn() -> World) {
    let whole = new();
    whole.carry_out(&whole.plan()).unwrap();
    let wanted = holdings(&whole);
    let up = |world: &World| world.carry_out(&world.plan()).map(drop);
    let calls = whole.host.calls();
    assert!(calls.len() > 10, "{calls:?}");
    for fault in Fault::all(&calls) {
        let world = new();
        let when = fault.run(&world, up);
        up(&world).unwrap_or_else(|error| panic!("{when}: {error:?}"));
        assert_eq!(holdings(&world), wanted, "{when}");
    }
}

/// Something that goes wrong in a run.
#[derive(Debug, Clone)]
pub(crate) struct Fault {
    call: usize,
    text: String,
    moment: Moment,
    /// Whether nothing works after it, as where the program is killed.
    dies: bool,
}

impl Fault {
    /// Each call fails at each of its moments, and each is the last.
    pub(crate) fn all(calls: &[String]) -> Vec<Self> {
        let mut all = Vec::new();
        for (call, text) in calls.iter().enumerate() {
            for moment in [Moment::Before, Moment::Midway, Moment::After] {
                for dies in [false, true] {
                    all.push(Self { call, text: text.clone(), moment, dies });
                }
            }
        }
        all
    }

    /// Does something with the fault in it, whose call numbers begin here.
    pub(crate) fn run(&self, world: &World, what: impl Fn(&World) -> Result<(), ApplyError>) -> String {
        self.run_at(&world.host, || what(world))
    }

    /// The same, at one of several hosts.
    pub(crate) fn run_at(&self, host: &Memory, what: impl Fn() -> Result<(), ApplyError>) -> String {
        let call = host.calls().len() + self.call;
        if self.dies {
            host.cut_at(call, self.moment);
        } else {
            host.fail_at(call, self.moment);
        }
        let ended = catch_unwind(AssertUnwindSafe(what));
        assert!(!self.dies || ended.as_ref().is_err_and(|end| end.is::<Killed>()), "{self:?} killed nobody: {ended:?}");
        host.mend();
        let Self { call, text, moment, dies } = self;
        format!("call {call} ({text}), {moment:?}, dies {dies}: {ended:?}")
    }
}

/// A failure before the machine runs leaves nothing of it behind.
#[test]
fn what_fails_before_the_start_is_undone() {
    let whole = World::with_good_guests();
    whole.carry_out(&whole.plan()).unwrap();
    for (call, text) in whole.host.calls().iter().enumerate() {
        let world = World::with_good_guests();
        world.host.fail_at(call, Moment::Before);
        if world.carry_out(&world.plan()).is_ok() {
            continue;
        }
        let inventory = world.inventory(None);
        let off: Vec<_> = inventory.domains.iter().filter(|domain| !domain.state.is_active()).collect();
        assert!(off.is_empty(), "call {call} ({text}): {off:?}");
    }
}
