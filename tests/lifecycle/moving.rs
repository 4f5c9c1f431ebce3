//! Nodes that go from one hypervisor to another.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::Duration;

use nodebake::apply::{Apply, ApplyError, Patience};
use nodebake::cluster::{Cordon, Nodes};
use nodebake::config::{Config, INIT, parse};
use nodebake::machine::memory::{Memory, Moment};
use nodebake::machine::{DomainState, Hypervisor, MarkState, OverlaySpec, VolumeName};
use nodebake::plan::{self, Blocked, Ground, Inventory, Move, Placement, Plan, Request, Step};
use serde_json::json;

use crate::apiserver::{NODE, pod};
use crate::cluster::Member;
use crate::faults::Fault;
use crate::world::{Ends, NOW, POOL, World, changed, held, holdings, pool, report, sealed, steps};

/// A second hypervisor, and a cluster file that has both: the world's own is `here`, this one `there`.
struct Other {
    host: Memory,
    file: Config,
}

impl Other {
    fn new() -> Self {
        let host = Memory::new();
        host.put_pool(pool("nodebake", POOL));
        host.put_pool(pool("nodebake-logs", "/logs"));
        host.put_guest("", &(report("kubelet-active", "ok", "") + &sealed()));
        let (head, rest) = INIT.split_once("\nlibvirt:").unwrap();
        let (_, nodes) = rest.split_once("\nnodes:").unwrap();
        let sites = "hypervisors: {here: {uri: 'test:///a'}, there: {uri: 'test:///b'}}";
        let text = format!("{head}\n{sites}\nnodes:{nodes}");
        Self { host, file: parse(Path::new("/clusters/seed/nodebake.yaml"), &text).unwrap() }
    }

    /// Where the first node's machine is to be, and what is planned for it there.
    fn plan(
        &self,
        world: &World,
        nodes: Option<Nodes>,
        to: Option<&str>,
        make: fn(Request) -> Result<Plan, Blocked>,
    ) -> (usize, Result<Plan, Blocked>) {
        self.plan_with(world, nodes, to, make, false)
    }

    /// The same with `--leave-data`, to the other one.
    fn plan_leaving_data(&self, world: &World) -> (usize, Result<Plan, Blocked>) {
        self.plan_with(world, None, Some("there"), plan::roll, true)
    }

    fn plan_with(
        &self,
        world: &World,
        nodes: Option<Nodes>,
        to: Option<&str>,
        make: fn(Request) -> Result<Plan, Blocked>,
        leave_data: bool,
    ) -> (usize, Result<Plan, Blocked>) {
        let (hosts, file) = ([&world.host, &self.host], &self.file);
        let grounds: Vec<_> = hosts.iter().map(|host| Ground::of(&world.id, &host.domains().unwrap())).collect();
        let asked = to.map(|to| (NODE.parse().unwrap(), to.parse().unwrap())).into_iter().collect();
        let placement = plan::place(file, &world.id, &grounds, &asked)[0];
        let at = placement.at().unwrap();
        let known = nodes.clone();
        let config = |at: usize| file.at(&file.sites[at], &file.nodes.iter().take(1).collect::<Vec<_>>());
        let mut inventory = Inventory::read(&config(at), hosts[at], nodes).unwrap();
        inventory.site = Some(file.sites[at].name.clone());
        if let Placement::Moving { other, back, .. } = placement {
            let left = Inventory::read(&config(other), hosts[other], known).unwrap();
            let (name, config) = (&file.sites[other].name, config(other));
            let found = Move::of(&world.id, &file.nodes[0], &file.sites[at].name, (name, &config, &left), back);
            inventory.moves.extend(found.map(|found| (file.nodes[0].name.clone(), found)));
        }
        if leave_data {
            for moving in inventory.moves.values_mut() {
                moving.data.clear();
            }
        }
        let request =
            Request { config: &config(at), id: &world.id, built: &world.built, inventory: &inventory, now: NOW };
        (at, make(request))
    }

    /// Does that.
    fn run(
        &self,
        world: &World,
        to: Option<&str>,
        make: fn(Request) -> Result<Plan, Blocked>,
        apply: Apply,
        nodes: Option<Nodes>,
    ) -> Result<(), ApplyError> {
        let hosts: [&dyn Hypervisor; 2] = [&world.host, &self.host];
        let others = [0, 1].map(|at| (self.file.sites[at].name.clone(), hosts[at]));
        let (at, plan) = self.plan(world, nodes, to, make);
        let apply = Apply { hypervisor: hosts[at], others: &others, ..apply };
        let plan = plan.unwrap();
        plan.shared.iter().try_for_each(|action| apply.shared(action))?;
        plan.nodes.iter().try_for_each(|node| apply.node(node).map(drop))
    }

    fn go(&self, world: &World, to: &str) -> Result<(), ApplyError> {
        self.run(world, Some(to), plan::roll, world.apply(), None)
    }

    fn up(&self, world: &World) -> Result<(), ApplyError> {
        self.run(world, None, plan::up, world.apply(), None)
    }

    fn holdings(&self, world: &World) -> [Vec<String>; 2] {
        [holdings(world), held(Inventory::read(&world.config, &self.host, None).unwrap())]
    }

    /// Whether the first node's machine is at each of the two, and runs.
    fn machines(&self, world: &World) -> [Option<bool>; 2] {
        let of = |host: &Memory| host.domain(world.uuid(NODE)).unwrap().map(|domain| domain.state.is_active());
        [of(&world.host), of(&self.host)]
    }

    /// The guest of a machine made there says this.
    fn guest_says(&self, says: &str) {
        self.host.put_guest(&format!("{NODE}.root."), says);
    }
}

#[test]
fn a_node_moves_and_leaves_nothing_behind() {
    let (world, other) = (changed(), Other::new());
    let before = world.domain(NODE);
    let (at, plan) = other.plan(&world, None, Some("there"), plan::roll);
    let plan = plan.unwrap();
    let rows = plan::rows(&plan, &BTreeMap::new());
    let row = rows.iter().find(|row| row.name == NODE).unwrap();
    assert_eq!(
        (at, row.action.to_string().as_str(), row.reasons.clone()),
        (1, "move", vec!["moves from here to there".to_owned()])
    );
    assert_eq!(row.command.as_deref(), Some("rebuild worker-node-1 --to there"));
    other.go(&world, "there").unwrap();
    assert_eq!(other.machines(&world), [None, Some(true)]);
    assert_eq!(world.disks(), Vec::<String>::new());
    let after = other.host.domain(world.uuid(NODE)).unwrap().unwrap();
    let mac = |xml: &str| xml.lines().find(|line| line.contains("<mac ")).map(ToOwned::to_owned);
    assert_eq!((after.uuid, &after.name, mac(&after.xml)), (before.uuid, &before.name, mac(&before.xml)));
    assert!(after.autostart);
    // It stays there, and there is nothing more to do with it, however often it is asked for.
    let (at, plan) = other.plan(&world, None, None, plan::up);
    assert_eq!((at, steps(&plan.unwrap())), (1, vec!["worker-node-1 finish".to_owned()]));
    let (at, plan) = other.plan(&world, None, Some("there"), plan::roll);
    assert_eq!((at, steps(&plan.unwrap())), (1, vec![]));
    other.go(&world, "here").unwrap();
    assert_eq!(other.machines(&world), [Some(true), None]);
}

/// The machine that is left is off before the other one starts, and does not start with its host.
#[test]
fn one_of_the_two_runs_at_any_time() {
    let (world, other) = (changed(), Other::new());
    let (from, to) = (world.host.calls().len(), other.host.calls().len());
    other.go(&world, "there").unwrap();
    let uuid = world.uuid(NODE);
    let verbs = |calls: &[String], from: usize| -> Vec<String> {
        let with = |call: &&String| call.contains(&uuid.to_string());
        calls[from..].iter().filter(with).map(|call| call.replace(&format!(" {uuid}"), "")).collect()
    };
    let left = ["note move to there", "shutdown", "autostart", "destroy", "undefine"];
    assert_eq!(verbs(&world.host.calls(), from), left);
    let came: Vec<_> = verbs(&other.host.calls(), to);
    assert!(came.contains(&"start fresh".to_owned()), "{came:?}");
}

#[test]
fn the_old_machine_starts_again_where_the_new_one_fails() {
    for (says, why) in [
        (report("containerd-active", "failed", "Ym9vbQo="), "failed to get to \"containerd active\""),
        (report("payload-mounted", "ok", ""), "nothing new for 0 s; last seen: payload mounted"),
    ] {
        let (world, other) = (changed(), Other::new());
        other.guest_says(&says);
        let (before, disks) = (other.holdings(&world), world.disks());
        let error = other.go(&world, "there").unwrap_err();
        let text = "worker-node-1: its new machine at there did not come up, and the old one was started again";
        let ApplyError::CameBack { cause, .. } = &error else { panic!("{error:?}") };
        assert_eq!((error.to_string().as_str(), cause.to_string()), (text, format!("worker-node-1: {why}")));
        assert_eq!((error.is_node_down(), error.log()), (true, cause.log()));
        assert_eq!((&other.holdings(&world)[0], world.disks()), (&before[0], disks));
        // What nodes share was uploaded; nothing is left of the node.
        assert_eq!(other.machines(&world), [Some(true), None]);
        assert!(!other.holdings(&world)[1].iter().any(|line| line.contains(NODE)));
    }
}

#[test]
fn a_machine_that_never_came_up_is_not_gone_back_to() {
    for state in [MarkState::Failed, MarkState::Creating] {
        let (world, other) = (changed(), Other::new());
        world.change_mark(NODE, |mark| mark.state = state);
        other.guest_says(&report("containerd-active", "failed", "Ym9vbQo="));
        let ended = other.go(&world, "there");
        assert!(matches!(ended, Err(ApplyError::Stage { .. })), "{state}: {ended:?}");
        assert_eq!(other.machines(&world), [None, Some(true)], "{state}");
        // It is made anew there until it comes up.
        other.guest_says(&(report("kubelet-active", "ok", "") + &sealed()));
        assert_eq!(
            steps(&other.plan(&world, None, None, plan::up).1.unwrap()),
            ["worker-node-1 create: the attempt before failed"]
        );
    }
    // One that was started may have come up.
    let (world, other) = (changed(), Other::new());
    world.change_mark(NODE, |mark| mark.state = MarkState::Started);
    other.guest_says(&report("containerd-active", "failed", "Ym9vbQo="));
    let ended = other.go(&world, "there");
    assert!(matches!(ended, Err(ApplyError::CameBack { .. })), "{ended:?}");
}

#[test]
fn a_machine_that_does_not_go_off_stays_without_force() {
    let (world, other) = (changed(), Other::new());
    world.host.deafen();
    let (before, disks) = (holdings(&world), world.disks());
    let error = other.go(&world, "there").unwrap_err();
    assert!(matches!(error, ApplyError::StillRuns { .. }), "{error:?}");
    assert_eq!((holdings(&world), world.disks(), other.machines(&world)), (before, disks, [Some(true), None]));
    assert_eq!(world.domain(NODE).moving(), None);
    let apply = Apply { force: true, ..world.apply() };
    other.run(&world, Some("there"), plan::roll, apply, None).unwrap();
    assert_eq!(other.machines(&world), [None, Some(true)]);
}

#[test]
fn a_move_that_is_told_to_end_leaves_no_machine_off() {
    // The new machine fails just then.
    let (world, other) = (changed(), Other::new());
    other.guest_says(&report("containerd-active", "failed", "Ym9vbQo="));
    let ends = Ends::at("starting its machine");
    let run = |apply| other.run(&world, Some("there"), plan::roll, apply, None);
    let ended = run(Apply { progress: &ends, ..world.apply() });
    assert!(matches!(ended, Err(ApplyError::CameBack { .. })), "{ended:?}");
    assert_eq!(other.machines(&world), [Some(true), None]);

    // The old one goes off when the end is under way already.
    other.guest_says(&(report("kubelet-active", "ok", "") + &sealed()));
    let ends = Ends::after_press(&world.host);
    let apply = Apply { progress: &ends, patience: Patience::of_silence(Duration::from_secs(30)), ..world.apply() };
    world.hearing_late(world.uuid(NODE), || run(apply)).unwrap();
    assert_eq!(other.machines(&world), [None, Some(true)]);
}

/// How many calls a host gets of something before the first of a verb.
fn calls_before(host: &Memory, verb: &str, what: impl Fn() -> Result<(), ApplyError>) -> usize {
    let from = host.calls().len();
    what().unwrap();
    host.calls()[from..].iter().position(|call| call.starts_with(verb)).unwrap()
}

/// Does something that dies at a call of a host's, counted from now on.
fn cut(host: &Memory, call: usize, moment: Moment, what: impl Fn() -> Result<(), ApplyError>) {
    host.cut_at(host.calls().len() + call, moment);
    catch_unwind(AssertUnwindSafe(what)).unwrap_err();
    host.mend();
}

/// A world whose machines came up, the first of them with a data disk.
fn with_data() -> (World, Other) {
    let (mut world, mut other) = (World::with_sealing_guests(), Other::new());
    world.host.put_guest("", &(report("kubelet-active", "ok", "") + &sealed()));
    let text = INIT.replace("name: worker-node-1\n", "name: worker-node-1\n    dataDisks: {logs: {size: 1GiB}}\n");
    world.config = parse(Path::new("/clusters/seed/nodebake.yaml"), &text).unwrap();
    other.file.nodes.clone_from(&world.config.nodes);
    world.carry_out(&world.plan()).unwrap();
    world.built.truncate(1);
    (world, other)
}

#[test]
fn what_would_be_lost_or_is_not_settled_stays() {
    let (world, other) = with_data();
    let before = holdings(&world);
    let refused = |other: &Other| other.plan(&world, None, Some("there"), plan::roll).1.unwrap_err().to_string();
    let disk = format!("nodebake.seed.{}.worker-node-1.data.logs.qcow2", &world.id.ca.to_string()[..8]);
    assert_eq!(refused(&other), format!("worker-node-1 has data disks at here, which would stay there: {disk}"));
    assert_eq!(holdings(&world), before);

    // A replacement that is cut off after the new machine was started.
    let (world, other) = (changed(), Other::new());
    let probe = changed();
    let starts = calls_before(&probe.host, "start ", || probe.rebuild());
    cut(&world.host, starts, Moment::After, || world.rebuild());
    let text = other.plan(&world, None, Some("there"), plan::roll).1.unwrap_err().to_string();
    assert_eq!(text, "worker-node-1 cannot leave here: another change of its machine there is not at its end");
}

/// Whoever started the old machine again by hand meanwhile has no two of them.
#[test]
fn the_old_machine_is_off_before_the_new_one_is_waited_for() {
    let (world, other) = (changed(), Other::new());
    let (probe, there) = (changed(), Other::new());
    let starts = calls_before(&there.host, "start ", || there.go(&probe, "there"));
    cut(&other.host, starts, Moment::After, || other.go(&world, "there"));
    world.host.start(world.uuid(NODE), false).unwrap();
    assert_eq!(other.machines(&world), [Some(true), Some(true)]);
    other.up(&world).unwrap();
    assert_eq!(other.machines(&world), [None, Some(true)]);
}

/// A new machine that fails gives way to an old one that runs again, which starts with its host then.
#[test]
fn an_old_machine_that_runs_again_stays() {
    let (world, other) = (changed(), Other::new());
    let (probe, there) = (changed(), Other::new());
    let starts = calls_before(&there.host, "start ", || there.go(&probe, "there"));
    cut(&other.host, starts, Moment::After, || other.go(&world, "there"));
    let mut mark = other.host.domain(world.uuid(NODE)).unwrap().unwrap().mark().unwrap().clone();
    mark.state = MarkState::Failed;
    other.host.set_mark(world.uuid(NODE), &mark).unwrap();
    world.host.start(world.uuid(NODE), false).unwrap();
    other.up(&world).unwrap();
    assert_eq!(other.machines(&world), [Some(true), None]);
    assert_eq!((world.domain(NODE).autostart, world.domain(NODE).moving()), (true, None));
}

/// Disks of an earlier time are no new ones.
#[test]
fn a_node_does_not_get_data_that_it_left_behind() {
    let (world, other) = with_data();
    let disk = VolumeName::data(&world.id, &NODE.parse().unwrap(), "logs");
    other
        .host
        .create_overlay("nodebake", &OverlaySpec { name: disk.clone(), capacity: 1 << 30, backing: None })
        .unwrap();
    let (_, plan) = other.plan_leaving_data(&world);
    let wanted = format!("worker-node-1 has data disks at there from an earlier time: {disk}");
    assert_eq!(plan.unwrap_err().to_string(), wanted);
    other.host.delete_volume("nodebake", &disk).unwrap();
    assert_eq!(steps(&other.plan_leaving_data(&world).1.unwrap()), ["worker-node-1 create"]);
}

/// A fault at each call at either host: the next `up` brings it to its end or back, and what came back can be done again.
#[test]
fn a_move_converges_from_a_fault_at_every_call() {
    let (whole, there) = (changed(), Other::new());
    let from = [whole.host.calls().len(), there.host.calls().len()];
    there.go(&whole, "there").unwrap();
    let wanted = there.holdings(&whole);
    let calls = [whole.host.calls()[from[0]..].to_vec(), there.host.calls()[from[1]..].to_vec()];
    let (mut finished, mut back) = (0, 0);
    for (at, calls) in calls.iter().enumerate() {
        for fault in Fault::all(calls) {
            let (world, other) = (changed(), Other::new());
            let old = other.holdings(&world)[0].clone();
            let host = [&world.host, &other.host][at];
            let when = fault.run_at(host, || other.go(&world, "there"));
            assert_ne!(other.machines(&world), [Some(true), Some(true)], "{when}");
            other.up(&world).unwrap_or_else(|error| panic!("{when}: {error:?}"));
            match other.machines(&world) {
                [None, Some(true)] => finished += 1,
                [Some(true), None] => {
                    assert_eq!(holdings(&world), old, "{when}");
                    back += 1;
                    other.go(&world, "there").unwrap_or_else(|error| panic!("{when}: {error:?}"));
                }
                machines => panic!("{when}: {machines:?}"),
            }
            assert_eq!(other.holdings(&world), wanted, "{when}");
        }
    }
    assert!(finished > 10 && back > 10, "{finished} {back}");
}

/// The same where the new machine does not come up: in the end the old one is there.
#[test]
fn coming_back_converges_from_a_fault_at_every_call() {
    let new = || {
        let (world, other) = (changed(), Other::new());
        other.guest_says(&report("containerd-active", "failed", "Ym9vbQo="));
        (world, other)
    };
    let (whole, there) = new();
    let wanted = holdings(&whole);
    let from = [whole.host.calls().len(), there.host.calls().len()];
    assert!(matches!(there.go(&whole, "there"), Err(ApplyError::CameBack { .. })));
    let calls = [whole.host.calls()[from[0]..].to_vec(), there.host.calls()[from[1]..].to_vec()];
    for (at, calls) in calls.iter().enumerate() {
        for fault in Fault::all(calls) {
            let (world, other) = new();
            let when = fault.run_at([&world.host, &other.host][at], || other.go(&world, "there"));
            assert_ne!(other.machines(&world), [Some(true), Some(true)], "{when}");
            // One run may have to find out that the new machine does not come up.
            if let Err(error) = other.up(&world) {
                assert!(matches!(error, ApplyError::CameBack { .. }), "{when}: {error:?}");
                other.up(&world).unwrap_or_else(|error| panic!("{when}: {error:?}"));
            }
            assert_eq!((holdings(&world), other.machines(&world)), (wanted.clone(), [Some(true), None]), "{when}");
            assert_eq!(world.domain(NODE).moving(), None, "{when}");
        }
    }
}

/// A hypervisor that the cluster file does not name any more cannot be gone to: the old machine is the node again.
#[test]
fn a_move_to_a_hypervisor_that_is_gone_ends_where_it_began() {
    let (world, mut other) = (changed(), Other::new());
    let wanted = holdings(&world);
    let (probe, there) = (changed(), Other::new());
    let defines = calls_before(&there.host, "define ", || there.go(&probe, "there"));
    cut(&other.host, defines, Moment::Before, || other.go(&world, "there"));
    assert_eq!(world.domain(NODE).state, DomainState::ShutOff);
    other.host = Memory::new();
    other.file.sites[1].name = "elsewhere".parse().unwrap();
    let (at, plan) = other.plan(&world, None, None, plan::up);
    let plan = plan.unwrap();
    let rows = plan::rows(&plan, &BTreeMap::new());
    let row = rows.iter().find(|row| row.name == NODE).unwrap();
    assert_eq!((at, &plan.nodes[0].step), (0, &Step::Start(world.uuid(NODE))));
    assert_eq!(row.reasons, ["stays: there, where it was to go, is not in the cluster file"]);
    other.up(&world).unwrap();
    assert_eq!((holdings(&world), world.domain(NODE).moving()), (wanted, None));
}

/// What was given up may have got into the cluster after that, and its pods leave it like any other's.
#[test]
fn a_node_that_came_up_late_is_drained_too() {
    let (member, other) = (member(), Other::new());
    member.world.change_mark(NODE, |mark| mark.state = MarkState::Failed);
    other.guest_says(&report("containerd-active", "failed", "Ym9vbQo="));
    let ended = cross(&member, &other, Some("there"));
    assert!(matches!(ended, Err(ApplyError::CameBack { .. })), "{ended:?}");
    assert!(member.told().contains(&"drained".to_owned()));
    assert_eq!(other.machines(&member.world), [Some(true), None]);
}

/// The first node of a cluster goes there.
fn cross(member: &Member, other: &Other, to: Option<&str>) -> Result<(), ApplyError> {
    let watch = member.cluster.watch();
    let nodes = member.cluster.nodes().unwrap();
    let make = if to.is_some() { plan::roll } else { plan::up };
    other.run(&member.world, to, make, member.apply(&watch), Some(nodes))
}

fn member() -> Member {
    let member = Member::new();
    member.api.change_node(&json!({"metadata": {"labels": {"disk": "ssd"}}}));
    for (name, owner) in [("web", "ReplicaSet"), ("agent", "DaemonSet")] {
        member.api.put(&pod(name, Some(owner), &json!({})));
    }
    member
}

#[test]
fn a_node_is_drained_before_it_goes() {
    let (member, other) = (member(), Other::new());
    let since = member.api.requests();
    cross(&member, &other, Some("there")).unwrap();
    let node = |verb: &str| format!("{verb} nodes {NODE}");
    let wanted = [node("patch"), "create pods/eviction web".to_owned(), node("delete"), node("create")];
    assert_eq!(member.api.changes(since), wanted);
    assert_eq!((member.standing(), member.api.pods()), ((Cordon::Open, vec![]), vec!["agent".to_owned()]));
    assert_eq!(other.machines(&member.world), [None, Some(true)]);
    let told = member.told();
    let at = |text: &str| told.iter().position(|told| told == text).unwrap_or_else(|| panic!("{text}: {told:?}"));
    assert!(at("cordoned") < at("drained") && at("drained") < at("off") && at("off") < at("starting its machine"));
}

#[test]
fn a_node_that_comes_back_is_what_it_was() {
    let (member, other) = (member(), Other::new());
    let before = (member.standing(), holdings(&member.world));
    other.guest_says(&report("containerd-active", "failed", "Ym9vbQo="));
    let ended = cross(&member, &other, Some("there"));
    assert!(matches!(ended, Err(ApplyError::CameBack { .. })), "{ended:?}");
    assert_eq!((member.standing(), holdings(&member.world)), before);
    assert_eq!(member.api.pods(), ["agent"]);
}

/// A run that dies between any two steps, as far as it tells of them.
#[test]
fn a_move_that_dies_at_any_word_is_gone_on_with() {
    let (whole, there) = (member(), Other::new());
    cross(&whole, &there, Some("there")).unwrap();
    let (wanted, words) = (there.holdings(&whole.world), whole.told());
    assert!(words.len() > 8, "{words:?}");
    for nth in 1..=words.len() {
        let (member, other) = (member(), Other::new());
        let word = member.dies_in(|| cross(&member, &other, Some("there")), nth);
        cross(&member, &other, None).unwrap_or_else(|error| panic!("{word}: {error:?}"));
        assert_eq!(member.standing().0, Cordon::Open, "{word}");
        if other.machines(&member.world)[0].is_some() {
            assert_eq!(member.standing().1, ["label disk=ssd"], "{word}");
            cross(&member, &other, Some("there")).unwrap_or_else(|error| panic!("{word}: {error:?}"));
        }
        assert_eq!(other.holdings(&member.world), wanted, "{word}");
        assert_eq!(
            (member.standing(), member.api.pods()),
            ((Cordon::Open, vec![]), vec!["agent".to_owned()]),
            "{word}"
        );
    }
}
