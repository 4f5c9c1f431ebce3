//! A plan as people and programs read it: a row for each thing, with what becomes of it and which command does that.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Serialize, Serializer};

use super::{Kept, NodePlan, Plan, Removal, SharedAction, Step, UNBUILT, Way};
use crate::cluster::{Binding, Binds};
use crate::config::{HypervisorName, NodeName};
use crate::machine::{NoteState, Reservation, VolumeName};

/// One thing and what becomes of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// What it is.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// The hypervisor that it is at, where there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hypervisor: Option<HypervisorName>,
    /// What becomes of it.
    pub action: Action,
    /// The verb of nodebake that does it; none where nothing is to do.
    pub command: Option<String>,
    /// Why, or what is made; never a secret's value.
    pub reasons: Vec<String>,
}

/// What a row tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A libvirt network.
    Network,
    /// A libvirt storage pool.
    Pool,
    /// A base image or payload, for all nodes.
    Image,
    /// A node with its machine.
    Node,
    /// A `ClusterRoleBinding`.
    Binding,
    /// A libvirt domain that is no machine of ours.
    Domain,
}

/// What becomes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// It is made.
    Create,
    /// What is left of an attempt that came to nothing is removed, and it is made anew.
    Replace,
    /// Its replacement did not come up: the machine before is put back and started.
    PutBack,
    /// Disks that a run left which was cut off are removed.
    Clear,
    /// It is there and is started.
    Start,
    /// Its DHCP server is to keep addresses for nodes.
    Reserve,
    /// It runs, and is waited for until it is in the cluster.
    Finish,
    /// A run that was cut off left pods kept off it: they are let on again.
    Uncordon,
    /// Its seed is taken out and removed.
    Seal,
    /// Its disk is made larger, and its file system at the next boot.
    Grow,
    /// A file is uploaded into the pool.
    Upload,
    /// It runs; whether it is as the cluster file asks is known once its images are built.
    Build,
    /// It differs from what the cluster file asks for.
    Rebuild,
    /// It is changed in place.
    Change,
    /// It is not as the cluster file asks, and is not nodebake's to change.
    Differs,
    /// It goes from one hypervisor to another.
    Move,
    /// A machine made by hand gives its place to one of ours.
    TakeOver,
    /// A machine made by hand was taken over, and is kept.
    Keep,
    /// The cluster file does not name it any more.
    Remove,
    /// Its hypervisor cannot be asked.
    Unknown,
    /// It is as it should be.
    Nothing,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Network => "network",
            Self::Pool => "pool",
            Self::Image => "image",
            Self::Node => "node",
            Self::Binding => "binding",
            Self::Domain => "domain",
        })
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Create => "create",
            Self::Replace => "replace",
            Self::PutBack => "put back",
            Self::Clear => "clear",
            Self::Start => "start",
            Self::Reserve => "reserve",
            Self::Finish => "finish",
            Self::Uncordon => "uncordon",
            Self::Seal => "seal",
            Self::Grow => "grow",
            Self::Upload => "upload",
            Self::Build => "build",
            Self::Rebuild => "rebuild",
            Self::Change => "change",
            Self::Differs => "differs",
            Self::Move => "move",
            Self::TakeOver => "take over",
            Self::Keep => "keep",
            Self::Remove => "remove",
            Self::Unknown => "unknown",
            Self::Nothing => "nothing",
        })
    }
}

/// Programs read the words that people do.
impl Serialize for Kind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for Action {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The rows of a plan for `up`: what serves all nodes, each node, and last what is left of nodes that the cluster file no
/// longer names (`gone`).
pub fn rows(plan: &Plan, gone: &BTreeMap<NodeName, Removal>) -> Vec<Row> {
    let mut rows: Vec<_> = plan.shared.iter().map(shared).collect();
    rows.extend(plan.nodes.iter().flat_map(node));
    rows.extend(gone.keys().map(|name| Row {
        kind: Kind::Node,
        name: name.to_string(),
        hypervisor: None,
        action: Action::Remove,
        command: Some(format!("remove {name}")),
        reasons: vec!["not in the cluster file".to_owned()],
    }));
    rows
}

/// The row of the binding that lets the apiserver in at the kubelets.
pub fn binding(binding: &Binding, binds: &Binds) -> Row {
    let (action, reason) = match binds {
        Binds::Create => (Action::Create, Some(binding.purpose())),
        Binds::Change(names) => (Action::Change, Some(format!("{} in place of {names}", binding.purpose()))),
        Binds::Nothing => (Action::Nothing, None),
        Binds::Differs(how) => (Action::Differs, Some(how.clone())),
    };
    let made = matches!(binds, Binds::Create | Binds::Change(_));
    Row {
        kind: Kind::Binding,
        name: Binding::name().to_owned(),
        hypervisor: None,
        action,
        command: made.then(|| "up".to_owned()),
        reasons: reason.into_iter().collect(),
    }
}

/// A row for each machine made by hand that was taken over: nothing is to do with it, and it may go.
pub fn kept_rows(kept: &[Kept]) -> Vec<Row> {
    let row = |kept: &Kept| Row {
        kind: Kind::Domain,
        name: kept.domain.name.clone(),
        hypervisor: None,
        action: Action::Keep,
        command: Some(format!("remove {} --taken-over", kept.note.node)),
        reasons: vec![format!("the machine before {} was taken over", kept.note.node)],
    };
    kept.iter().filter(|kept| kept.note.state == NoteState::Kept).map(row).collect()
}

/// A row for a node of which nothing can be known now, and why.
pub fn unknown(node: &NodeName, why: String) -> Row {
    Row {
        kind: Kind::Node,
        name: node.to_string(),
        hypervisor: None,
        action: Action::Unknown,
        command: None,
        reasons: vec![why],
    }
}

fn shared(action: &SharedAction) -> Row {
    let row = |kind, name: &str, action, reason: Option<String>| Row {
        kind,
        name: name.to_owned(),
        hypervisor: None,
        action,
        command: Some("up".to_owned()),
        reasons: reason.into_iter().collect(),
    };
    match action {
        SharedAction::CreateNetwork(spec) => {
            row(Kind::Network, &spec.name, Action::Create, Some(spec.cidr.to_string()))
        }
        SharedAction::StartNetwork(name) => row(Kind::Network, name, Action::Start, None),
        SharedAction::Reserve { network, gone, wanted } => {
            let kept = wanted.iter().map(reservation);
            let gone = gone.iter().map(|gone| format!("no more {}", reservation(gone)));
            Row { reasons: gone.chain(kept).collect(), ..row(Kind::Network, network, Action::Reserve, None) }
        }
        SharedAction::CreatePool(spec) => row(Kind::Pool, &spec.name, Action::Create, Some(spec.path.clone())),
        SharedAction::StartPool(name) => row(Kind::Pool, name, Action::Start, None),
        SharedAction::Clear { node, volumes, .. } => {
            let reasons = volumes.iter().map(ToString::to_string).collect();
            Row { reasons, ..row(Kind::Node, &node.to_string(), Action::Clear, None) }
        }
        SharedAction::Upload(upload) => {
            let name = if matches!(upload.spec.name, VolumeName::Base(_)) { "base image" } else { "payload" };
            let reason = if upload.spec.digest == UNBUILT {
                AFTER_BUILD.to_owned()
            } else {
                format!("{}, {} MiB", upload.spec.digest.short(), upload.spec.size.div_ceil(1 << 20))
            };
            row(Kind::Image, name, Action::Upload, Some(reason))
        }
    }
}

/// `10.0.0.36 for worker-node-1`.
fn reservation(kept: &Reservation) -> String {
    let part = |part: Option<String>| part.unwrap_or_else(|| "?".to_owned());
    let name = kept.name.clone().or_else(|| kept.mac.map(|mac| mac.to_string()));
    format!("{} for {}", part(kept.address.map(|address| address.to_string())), part(name))
}

/// Said of what only a build will tell.
const AFTER_BUILD: &str = "after build";

/// What `up` does with a node, and what it leaves to `rebuild`; nothing only where both have nothing to do.
fn node(plan: &NodePlan) -> Vec<Row> {
    let name = plan.node.to_string();
    let row = |action, command: &str, reasons| Row {
        kind: Kind::Node,
        name: name.clone(),
        hypervisor: None,
        action,
        command: Some(command.to_owned()),
        reasons,
    };
    let cut_off = |what: &str| format!("its {what} was cut off");
    let replacing = plan.replacement.iter().map(|_| cut_off("replacement"));
    let replacing = replacing.chain(plan.take_over.iter().map(|_| cut_off("take-over")));
    let replacing = replacing.chain(plan.moving.iter().map(ToString::to_string)).collect();
    let mut rows = Vec::new();
    let growth = if let Step::Create(creation) = &plan.step { &creation.growth } else { &plan.growth };
    if !growth.is_empty() {
        rows.push(row(Action::Grow, "up", growth.iter().map(ToString::to_string).collect()));
    }
    if !plan.strays.is_empty() {
        rows.push(row(Action::Clear, "up", plan.strays.iter().map(ToString::to_string).collect()));
    }
    if plan.cordoned {
        rows.push(row(Action::Uncordon, "up", vec!["cordoned by a run that was cut off".to_owned()]));
    }
    let lost = || plan.losses.iter().map(|loss| format!("loses {loss}"));
    match &plan.step {
        Step::PutBack(_) => {
            let left = plan.moving.as_ref().and_then(|moving| moving.other.as_ref());
            let back = left.map(|left| format!("it goes back to {left}"));
            let reasons = std::iter::once("its replacement did not come up".to_owned()).chain(back);
            rows.push(row(Action::PutBack, "up", reasons.collect()));
        }
        Step::Create(creation) => {
            let action = match (&plan.take_over, &plan.moving, &creation.reason) {
                (Some(_), ..) => Action::TakeOver,
                (None, Some(_), _) => Action::Move,
                (None, None, Some(_)) => Action::Replace,
                (None, None, None) => Action::Create,
            };
            let after = plan.unbuilt.then(|| AFTER_BUILD.to_owned());
            let moves = plan.moving.as_ref().filter(|moving| moving.way == Way::Asked);
            let replaces = plan.replacement.is_some() || plan.take_over.is_some() || moves.is_some();
            let differs = plan.drift.iter().filter(|_| replaces).map(ToString::to_string);
            let flag = match moves {
                Some(moving) => format!(" --to {}", moving.here),
                None if plan.take_over.is_some() => " --take-over".to_owned(),
                None => String::new(),
            };
            let verb = if replaces { format!("rebuild {name}{flag}") } else { "up".to_owned() };
            let aside = plan.take_over.as_ref().map(ToString::to_string);
            let aside = aside.or_else(|| plan.moving.as_ref().map(ToString::to_string));
            let reasons = creation.reason.clone().into_iter().chain(aside).chain(after).chain(differs);
            rows.push(row(action, &verb, reasons.chain(lost().filter(|_| replaces)).collect()));
        }
        Step::Start(_) => rows.push(row(Action::Start, "up", replacing)),
        Step::Finish(_) => rows.push(row(Action::Finish, "up", replacing)),
        Step::Seal(_) => rows.push(row(Action::Seal, "up", Vec::new())),
        Step::Nothing => {}
    }
    if plan.unbuilt && !matches!(plan.step, Step::Create(_)) {
        let reasons = vec!["what differs is known after build".to_owned()];
        rows.push(row(Action::Build, &format!("build {name}"), reasons));
    }
    if !plan.drift.is_empty() && !matches!(plan.step, Step::Create(_)) {
        let reasons = plan.drift.iter().map(ToString::to_string).chain(lost()).collect();
        rows.push(row(Action::Rebuild, &format!("rebuild {name}"), reasons));
    }
    if rows.is_empty() {
        rows.push(Row {
            kind: Kind::Node,
            name,
            hypervisor: None,
            action: Action::Nothing,
            command: None,
            reasons: Vec::new(),
        });
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_binding_is_told_with_the_verb_that_makes_it() {
        let wanted = Binding { user: "kube-apiserver".to_owned() };
        let lets = "lets kube-apiserver into the kubelets for logs and exec";
        let text = |text: &str| text.to_owned();
        for (binds, action, command, reasons) in [
            (Binds::Create, Action::Create, Some("up"), vec![text(lets)]),
            (Binds::Change(text("x, y")), Action::Change, Some("up"), vec![format!("{lets} in place of x, y")]),
            (Binds::Nothing, Action::Nothing, None, vec![]),
            (Binds::Differs(text("it is another")), Action::Differs, None, vec![text("it is another")]),
        ] {
            let (kind, name) = (Kind::Binding, text("kube-apiserver-kubelet-admin"));
            let command = command.map(text);
            assert_eq!(binding(&wanted, &binds), Row { kind, name, hypervisor: None, action, command, reasons });
        }
    }
}
