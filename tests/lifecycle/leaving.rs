//! Nodes that leave their cluster while their machines are replaced or removed, and come back.

use std::sync::atomic::Ordering;
use std::time::Duration;

use nodebake::apply::{ApplyError, Leaving};
use nodebake::cluster::{Allowed, Cordon, Drain};
use nodebake::plan;
use nodebake_lab_stand_ins::apiserver::faults::{Act, Fault};
use serde_json::{Value, json};

use crate::apiserver::{NODE, pod};
use crate::cluster::{BOOT, Member, drain};
use crate::faults;
use crate::taking_over;
use crate::world::report;

/// A budget that lets no pod of that label go.
fn budget(name: &str) -> Value {
    json!({
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
        "metadata": {"namespace": "default", "name": name},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": name}}},
    })
}

fn uid(member: &Member) -> String {
    member.api.node(NODE).unwrap().metadata.uid.unwrap()
}

/// The texts of an error and its causes.
fn text(ended: Result<(), ApplyError>) -> String {
    nodebake::error::chain(&ended.unwrap_err())
}

#[test]
fn a_node_is_drained_and_comes_back_as_a_new_one() {
    let member = Member::new();
    for (name, owner) in [("web", Some("ReplicaSet")), ("done", None), ("agent", Some("DaemonSet"))] {
        member.api.put(&pod(name, owner, &json!({})));
    }
    member.api.end_pod("done");
    let (before, since) = (uid(&member), member.api.requests());
    member.run(plan::rebuild).unwrap();
    assert_ne!(uid(&member), before);
    assert_eq!((member.standing(), member.api.pods()), ((Cordon::Open, vec![]), vec!["agent".to_owned()]));
    let told: Vec<_> = member.told();
    let wanted = [
        "replacing its machine: asked for",
        "cordoned",
        "evicting 2 pods",
        "drained",
        "stopping its machine",
        "off",
        "starting its machine",
        "registered, Ready",
    ];
    let said: Vec<_> = told.iter().filter(|text| wanted.contains(&text.as_str())).collect();
    assert_eq!(said, wanted.iter().collect::<Vec<_>>(), "{told:?}");
    let node = |verb: &str| format!("{verb} nodes {NODE}");
    let evicted = |pod: &str| format!("create pods/eviction {pod}");
    let mut changes = member.api.changes(since);
    changes[1..3].sort_unstable();
    assert_eq!(changes, [node("patch"), evicted("done"), evicted("web"), node("delete"), node("create")]);
    let record = member.world.domain(NODE).record();
    assert_eq!((record.previous, record.standing), (None, None));
    // Nothing is left to do.
    assert!(member.plan(plan::up).is_empty());
}

#[test]
fn what_would_be_lost_needs_leave() {
    let mut member = Member::new();
    let claim = |name: &str| {
        json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"namespace": "default", "name": name},
            "spec": {
                "accessModes": ["ReadWriteOnce"], "volumeName": name, "resources": {"requests": {"storage": "1Gi"}},
            },
        })
    };
    let volume = |name: &str, source: Value| {
        let mut spec = json!({"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"]});
        spec.as_object_mut().unwrap().extend(source.as_object().unwrap().clone());
        json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}, "spec": spec})
    };
    let uses = |name: &str| json!({"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": name}}]});
    let on_node = json!({"required": {"nodeSelectorTerms": [{"matchExpressions": [
        {"key": "kubernetes.io/hostname", "operator": "In", "values": [NODE]},
    ]}]}});
    for object in [
        pod("alone", None, &json!({})),
        pod("scratch", Some("ReplicaSet"), &json!({"volumes": [{"name": "v", "emptyDir": {}}]})),
        volume("here", json!({"local": {"path": "/data"}, "nodeAffinity": on_node})),
        volume("elsewhere", json!({"csi": {"driver": "d", "volumeHandle": "h"}})),
        claim("here"),
        claim("elsewhere"),
        pod("base", Some("StatefulSet"), &uses("here")),
        pod("free", Some("StatefulSet"), &uses("elsewhere")),
        pod("agent", Some("DaemonSet"), &uses("here")),
    ] {
        member.api.put(&object);
    }
    let (before, holdings) = (uid(&member), member.holdings());
    let wanted = "worker-node-1: draining it: \
        worker-node-1: pod default/alone has no controller that would make it anew (--allow-unmanaged); \
        worker-node-1: pod default/base has the persistent volume here, which lies on this node (--allow-local-pvs); \
        worker-node-1: pod default/scratch would lose its emptyDir volumes (--allow-emptydir)";
    assert_eq!(text(member.run(plan::rebuild)), wanted);
    assert_eq!((uid(&member), member.standing().0, member.holdings()), (before, Cordon::Open, holdings));
    assert_eq!(member.api.pods().len(), 5);

    let allowed = Allowed { unmanaged: true, empty_dir: true, local_volumes: true };
    member.leaving.drain = Some(Drain { allowed, ..drain() });
    member.run(plan::rebuild).unwrap();
    assert_eq!(member.api.pods(), ["agent"]);
}

#[test]
fn a_budget_is_minded_until_the_limit_and_the_node_stays_as_it_was() {
    let mut member = Member::new();
    member.api.put(&pod("web", Some("ReplicaSet"), &json!({})));
    member.api.put(&budget("web"));
    let (before, holdings) = (uid(&member), member.holdings());
    member.leaving.drain = Some(Drain { limit: Duration::from_secs(2), ..drain() });
    let refused = "Cannot evict pod as it would violate the pod's disruption budget.";
    let wanted = format!("worker-node-1: draining it: not drained in 2 s: default/web: {refused}");
    assert_eq!(text(member.run(plan::rebuild)), wanted);
    assert_eq!((uid(&member), member.standing().0, member.holdings()), (before, Cordon::Open, holdings));
    let told = member.told();
    assert!(
        told.contains(&format!("default/web stays for now: {refused}")) && told.contains(&"uncordoned".to_owned()),
        "{told:?}"
    );

    // Once it lets go, the pod leaves, and the machine is replaced.
    member.leaving.drain = Some(drain());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !member.told().iter().any(|text| text.contains("stays for now")) {
                std::thread::sleep(Duration::from_millis(20));
            }
            member.api.delete(&budget("web"));
        });
        member.run(plan::rebuild).unwrap();
    });
    assert_eq!(member.api.pods(), Vec::<String>::new());
}

#[test]
fn volumes_are_detached_before_the_machine_goes() {
    let mut member = Member::new();
    let attachment = json!({
        "apiVersion": "storage.k8s.io/v1", "kind": "VolumeAttachment", "metadata": {"name": "a"},
        "spec": {"attacher": "d", "nodeName": NODE, "source": {"persistentVolumeName": "v"}},
    });
    member.api.put(&attachment);
    member.leaving.drain = Some(Drain { limit: Duration::from_secs(1), ..drain() });
    let wanted = "worker-node-1: draining it: not drained in 1 s: volume v is attached";
    assert_eq!(text(member.run(plan::rebuild)), wanted);
    member.leaving.drain = Some(drain());
    member.told();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !member.told().contains(&"waiting for 1 attached volumes".to_owned()) {
                std::thread::sleep(Duration::from_millis(20));
            }
            member.api.delete(&attachment);
        });
        member.run(plan::rebuild).unwrap();
    });
}

/// What people gave to a node: a label, a taint, an annotation, and a cordon.
fn decorate(member: &Member) {
    member.api.change_node(&json!({
        "metadata": {"labels": {"disk": "ssd"}, "annotations": {"note": "n"}},
        "spec": {"unschedulable": true, "taints": [{"key": "gpu", "value": "yes", "effect": "NoSchedule"}]},
    }));
}

const DECORATION: [&str; 3] = ["label disk=ssd", "taint gpu=yes:NoSchedule", "annotation note"];

#[test]
fn what_was_given_by_hand_is_told_and_kept_if_asked_for() {
    for (keep, left) in [(false, vec![]), (true, DECORATION.to_vec())] {
        let mut member = Member::new();
        decorate(&member);
        let told = plan::rows(&member.plan(plan::up), &[].into());
        let lost = DECORATION.map(|name| format!("loses {name}"));
        assert!(lost.iter().all(|loss| told.iter().any(|row| row.reasons.contains(loss))), "{told:?}");
        member.leaving.keep = keep;
        member.run(plan::rebuild).unwrap();
        // A cordon of somebody else's stays in any case.
        assert_eq!(member.standing(), (Cordon::Others, left.into_iter().map(ToOwned::to_owned).collect()));
        assert_eq!(member.world.domain(NODE).record().standing, None);
    }
}

#[test]
fn a_node_that_is_put_back_is_what_it_was() {
    let member = Member::new();
    decorate(&member);
    let holdings = member.holdings();
    member.world.new_guest_says(&report("containerd-active", "failed", "Ym9vbQo="));
    let ended = member.run(plan::rebuild);
    assert!(matches!(ended, Err(ApplyError::PutBack { .. })), "{ended:?}");
    assert_eq!(member.standing(), (Cordon::Others, DECORATION.map(ToOwned::to_owned).to_vec()));
    assert_eq!(member.holdings(), holdings);
}

#[test]
fn a_node_that_was_ready_must_be_so_again() {
    let member = Member::new();
    member.ready.store(false, Ordering::Relaxed);
    let ended = text(member.run(plan::rebuild));
    // Neither the new machine nor the old one: what both lack is the cluster's.
    let missing = "last seen: sealed; it is registered, and not Ready: no network yet";
    assert_eq!(ended.matches(missing).count(), 2, "{ended}");
    assert!(member.world.domain(NODE).record().standing.is_some());
    assert_eq!(member.plan(plan::up).nodes[0].step, plan::Step::Finish(member.world.uuid(NODE)));
    member.api.become_ready();
    member.run(plan::up).unwrap();
    assert_eq!(member.world.domain(NODE).record().standing, None);
    assert!(member.plan(plan::up).is_empty());

    // One that was not Ready has only to register.
    let member = Member::new();
    member.ready.store(false, Ordering::Relaxed);
    member.api.delete(&json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}}));
    member.api.register(NODE, BOOT, false);
    member.run(plan::rebuild).unwrap();
    assert!(member.plan(plan::up).is_empty());
}

/// What a node could not be given back in time is owed to it, and no reason not to drain it the next time.
#[test]
fn what_is_owed_to_a_node_outlasts_another_rebuild() {
    let mut member = Member::new();
    decorate(&member);
    member.leaving.keep = true;
    member.api.fault(Fault::new("patch", "nodes", Act::Internal).from_nth(1, 0));
    let wanted =
        "worker-node-1: setting its labels and taints: asking the apiserver for a node's state of before: ApiError";
    assert!(text(member.run(plan::rebuild)).starts_with(wanted));
    member.api.clear_faults();
    assert_eq!((member.standing(), member.world.domain(NODE).record().previous), ((Cordon::Open, vec![]), None));
    member.api.put(&pod("web", Some("ReplicaSet"), &json!({})));
    member.run(plan::rebuild).unwrap();
    assert_eq!(member.api.pods(), Vec::<String>::new());
    let mut left = member.standing().1;
    left.sort_unstable();
    assert_eq!(left, ["annotation note", "label disk=ssd", "taint gpu=yes:NoSchedule"]);
}

#[test]
fn a_silent_kubelet_ends_no_pods_and_is_not_waited_for() {
    let member = Member::without_kubelets();
    member.api.put(&pod("web", Some("ReplicaSet"), &json!({})));
    member.api.silence(NODE);
    let since = member.api.requests();
    member.run(plan::rebuild).unwrap();
    assert!(member.told().contains(&"its kubelet is silent: pods are not waited for".to_owned()));
    assert_eq!(member.api.changes(since).iter().filter(|line| *line == "create pods/eviction web").count(), 1);
}

#[test]
fn pods_may_be_left_where_they_are() {
    let mut member = Member::new();
    member.leaving = Leaving::default();
    member.api.put(&pod("alone", None, &json!({})));
    let (before, since) = (uid(&member), member.api.requests());
    member.run(plan::rebuild).unwrap();
    let changes = member.api.changes(since);
    assert!(!changes.iter().any(|line| line.contains("eviction") || line.starts_with("patch nodes")), "{changes:?}");
    assert_ne!(uid(&member), before);
}

#[test]
fn a_removed_node_leaves_the_cluster() {
    let member = Member::new();
    member.api.put(&pod("web", Some("ReplicaSet"), &json!({})));
    let watch = member.cluster.watch();
    let removals = plan::removals(&member.world.id, &member.world.config, &member.world.inventory(None));
    let node = NODE.parse().unwrap();
    member.apply(&watch).retire(&node, "nodebake", &removals[&node]).unwrap();
    assert_eq!((member.api.node(NODE), member.api.pods()), (None, vec![]));
    assert_eq!(member.world.disks(), Vec::<String>::new());
}

/// What goes wrong with a request, and how often in a row: once is got over, for good is told.
#[test]
fn whatever_fails_at_the_apiserver_the_end_is_the_same() {
    let whole = member_with_pods();
    let since = whole.api.requests();
    whole.run(plan::rebuild).unwrap();
    let (wanted, requests) = (whole.world.rebuilt_holdings(), whole.api.requests() - since);
    assert!(requests > 10, "{requests}");
    let acts =
        [Act::Unavailable, Act::CutBefore, Act::CutAfter, Act::Busy { retry_after: 1 }, Act::Conflict, Act::EndWatch];
    let (mut at_once, mut later) = (0, 0);
    for nth in 1..=u32::try_from(requests).unwrap() {
        // Each act meets every request in the full run; one of them in turn otherwise.
        for act in acts.iter().enumerate().filter(|(number, _)| full() || nth as usize % acts.len() == *number) {
            let member = member_with_pods();
            let when = format!("request {nth}: {:?}", act.1);
            member.api.fault(Fault::new("*", "*", act.1.clone()).from_nth(nth, 1));
            let ended = member.run(plan::rebuild);
            member.api.clear_faults();
            if ended.is_ok() {
                at_once += 1;
            } else {
                later += 1;
            }
            comes_to_an_end(&member, &wanted, &format!("{when}: {ended:?}"));
        }
    }
    assert!(at_once > later, "{at_once} {later}");
}

/// A run that dies at any call of the hypervisor's, or fails there.
#[test]
fn a_run_that_is_cut_off_is_gone_on_with() {
    let whole = member_with_pods();
    let before = whole.world.host.calls().len();
    whole.run(plan::rebuild).unwrap();
    let wanted = whole.world.rebuilt_holdings();
    let calls = whole.world.host.calls()[before..].to_vec();
    for (number, fault) in faults::Fault::all(&calls).into_iter().enumerate() {
        if !full() && number % 5 != 0 {
            continue;
        }
        let member = member_with_pods();
        let when = fault.run(&member.world, |_| member.run(plan::rebuild));
        comes_to_an_end(&member, &wanted, &when);
    }
}

/// A run that dies between any two steps, as far as it tells of them.
#[test]
fn a_run_that_dies_at_any_word_is_gone_on_with() {
    let whole = member_with_pods();
    whole.run(plan::rebuild).unwrap();
    let (wanted, words) = (whole.world.rebuilt_holdings(), whole.told());
    assert!(words.len() > 8, "{words:?}");
    for nth in 1..=words.len() {
        let member = member_with_pods();
        let word = member.dies(plan::rebuild, nth);
        if member.cordon() == Some(Cordon::Ours) {
            let plan = member.plan(plan::up);
            let told = plan::rows(&plan, &[].into()).iter().any(|row| row.action == plan::Action::Uncordon);
            assert!(told, "{word}: {plan:?}");
        }
        comes_to_an_end(&member, &wanted, &word);
    }
}

fn full() -> bool {
    std::env::var_os("NODEBAKE_KILLS").is_some()
}

fn member_with_pods() -> Member {
    let member = Member::new();
    member.api.change_node(&json!({"metadata": {"labels": {"disk": "ssd"}}}));
    for (name, owner) in [("web", "ReplicaSet"), ("agent", "DaemonSet")] {
        member.api.put(&pod(name, Some(owner), &json!({})));
    }
    member
}

/// A plain `up`, and the same `rebuild` again where that undid it: the node is as it would have been without the fault.
fn comes_to_an_end(member: &Member, wanted: &[String], when: &str) {
    member.run(plan::up).unwrap_or_else(|error| panic!("{when}: {error:?}"));
    assert_eq!(member.standing().0, Cordon::Open, "{when}");
    let seed = |member: &Member| member.world.domain(NODE).mark().unwrap().seed;
    if seed(member) != member.world.built[0].seed.digest {
        assert_eq!(member.standing().1, ["label disk=ssd"], "{when}");
        member.run(plan::rebuild).unwrap_or_else(|error| panic!("{when}: {error:?}"));
    }
    assert_eq!(member.world.rebuilt_holdings(), wanted, "{when}");
    assert_eq!((member.standing(), member.api.pods()), ((Cordon::Open, vec![]), vec!["agent".to_owned()]), "{when}");
    assert!(member.plan(plan::up).is_empty(), "{when}");
}

/// The first node's machine, made by hand, gives its place to one of ours.
fn take_over(member: &Member) -> Result<(), ApplyError> {
    member.run(|request| plan::take_over(request, None))
}

#[test]
fn a_node_made_by_hand_is_drained_before_its_place_is_taken() {
    let member = Member::by_hand(taking_over::world());
    for (name, owner) in [("web", Some("ReplicaSet")), ("agent", Some("DaemonSet"))] {
        member.api.put(&pod(name, owner, &json!({})));
    }
    let (before, since) = (uid(&member), member.api.requests());
    take_over(&member).unwrap();
    assert_ne!(uid(&member), before);
    assert_eq!((member.standing().0, member.api.pods()), (Cordon::Open, vec!["agent".to_owned()]));
    let node = |verb: &str| format!("{verb} nodes {NODE}");
    let changes = [node("patch"), "create pods/eviction web".to_owned(), node("delete"), node("create")];
    assert_eq!(member.api.changes(since), changes);
    let told = member.told();
    let at = |text: &str| told.iter().position(|told| told == text).unwrap_or_else(|| panic!("{text}: {told:?}"));
    assert!(at("cordoned") < at("drained") && at("drained") < at("off") && at("off") < at("starting its machine"));
    assert!(!taking_over::old(&member.world).state.is_active());
}

#[test]
fn a_node_made_by_hand_that_cannot_be_drained_stays_as_it_was() {
    let mut member = Member::by_hand(taking_over::world());
    member.api.put(&pod("web", Some("ReplicaSet"), &json!({})));
    member.api.put(&budget("web"));
    let before = (uid(&member), taking_over::old(&member.world), member.holdings());
    member.leaving.drain = Some(Drain { limit: Duration::from_secs(2), ..drain() });
    let refused = "Cannot evict pod as it would violate the pod's disruption budget.";
    let wanted = format!("worker-node-1: draining it: not drained in 2 s: default/web: {refused}");
    assert_eq!(text(take_over(&member)), wanted);
    assert_eq!((uid(&member), taking_over::old(&member.world), member.holdings()), before);
    assert_eq!((member.standing().0, member.api.pods()), (Cordon::Open, vec!["web".to_owned()]));
}

#[test]
fn a_node_made_by_hand_gets_all_back_where_ours_does_not_come_up() {
    let member = Member::by_hand(taking_over::world());
    member.api.change_node(&json!({"metadata": {"labels": {"hand/given": "yes"}}}));
    let before = member.standing();
    assert_eq!(before, (Cordon::Open, vec!["label hand/given=yes".to_owned()]));
    member.world.host.put_guest(&format!("{NODE}.root."), &report("containerd-active", "failed", ""));
    let error = std::thread::scope(|scope| {
        scope.spawn(|| {
            // The kubelet of the machine made by hand, once that starts again.
            let back = || member.cordon().is_none() && taking_over::old(&member.world).state.is_active();
            while !back() {
                std::thread::sleep(Duration::from_millis(20));
            }
            member.api.register(NODE, "old", true);
        });
        take_over(&member).unwrap_err()
    });
    assert!(matches!(error, ApplyError::GivenBack { .. }), "{error:?}");
    assert!(taking_over::old(&member.world).state.is_active());
    assert_eq!(member.standing(), before);
}
