//! A plan as people and programs read it: a row for each thing, with what becomes of it and which command does that.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::{ImageFile, NodePlan, Plan, Removal, SharedAction, Step};
use crate::config::NodeName;
use crate::digest::Digest;
use crate::machine::VolumeName;

/// One thing and what becomes of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// What it is.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// What becomes of it.
    pub action: Action,
    /// The verb of nodebake that does it; none where nothing is to do.
    pub command: Option<String>,
    /// Why, or what is made; never a secret's value.
    pub reasons: Vec<String>,
}

/// What a row tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A libvirt network.
    Network,
    /// A libvirt storage pool.
    Pool,
    /// A base image or payload, for all nodes.
    Image,
    /// A node with its machine.
    Node,
}

/// What becomes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// It is made.
    Create,
    /// What is left of an attempt that came to nothing is removed, and it is made anew.
    Replace,
    /// It is there and is started.
    Start,
    /// It runs, and is waited for until it is in the cluster.
    Finish,
    /// Its seed is taken out and removed.
    Seal,
    /// Its disk is made larger, and its file system at the next boot.
    Grow,
    /// A file is uploaded into the pool.
    Upload,
    /// It differs from what the cluster file asks for.
    Rebuild,
    /// The cluster file does not name it any more.
    Remove,
    /// It is as it should be.
    Nothing,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::Pool => "pool",
            Self::Image => "image",
            Self::Node => "node",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Create => "create",
            Self::Replace => "replace",
            Self::Start => "start",
            Self::Finish => "finish",
            Self::Seal => "seal",
            Self::Grow => "grow",
            Self::Upload => "upload",
            Self::Rebuild => "rebuild",
            Self::Remove => "remove",
            Self::Nothing => "nothing",
        })
    }
}

/// Stands for the digest of what is not built yet.
const UNBUILT: [u8; 32] = [0; 32];

/// Said of what only a build will tell.
const AFTER_BUILD: &str = "after build";

impl ImageFile {
    /// What is not built yet.
    pub fn unbuilt() -> Self {
        Self { path: std::path::PathBuf::new(), digest: Digest::from(UNBUILT), size: 0 }
    }

    /// Whether it stands for what is not built yet.
    pub fn is_unbuilt(&self) -> bool {
        self.digest == Digest::from(UNBUILT)
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
        action: Action::Remove,
        command: Some(format!("down {name}")),
        reasons: vec!["not in the cluster file".to_owned()],
    }));
    rows
}

fn shared(action: &SharedAction) -> Row {
    let row = |kind, name: &str, action, reason: String| {
        let reasons = Some(reason).filter(|reason| !reason.is_empty()).into_iter().collect();
        Row { kind, name: name.to_owned(), action, command: Some("up".to_owned()), reasons }
    };
    match action {
        SharedAction::CreateNetwork(spec) => row(Kind::Network, &spec.name, Action::Create, spec.cidr.to_string()),
        SharedAction::StartNetwork(name) => row(Kind::Network, name, Action::Start, String::new()),
        SharedAction::CreatePool(spec) => row(Kind::Pool, &spec.name, Action::Create, spec.path.clone()),
        SharedAction::StartPool(name) => row(Kind::Pool, name, Action::Start, String::new()),
        SharedAction::Upload(upload) => {
            let name = if matches!(upload.spec.name, VolumeName::Base(_)) { "base image" } else { "payload" };
            let built = upload.spec.digest != Digest::from(UNBUILT);
            let size = || format!("{}, {} MiB", upload.spec.digest.short(), upload.spec.size.div_ceil(1 << 20));
            row(Kind::Image, name, Action::Upload, if built { size() } else { AFTER_BUILD.to_owned() })
        }
    }
}

/// What `up` does, and what it leaves to `rebuild`.
fn node(plan: &NodePlan) -> Vec<Row> {
    let name = plan.node.to_string();
    let row = |action, command: Option<String>, reasons| Row {
        kind: Kind::Node,
        name: name.clone(),
        action,
        command,
        reasons,
    };
    let (action, mut reasons) = match &plan.step {
        Step::Create(creation) => match &creation.reason {
            Some(reason) => (Action::Replace, vec![reason.clone()]),
            None => (Action::Create, Vec::new()),
        },
        Step::Start(_) => (Action::Start, Vec::new()),
        Step::Finish(_) => (Action::Finish, Vec::new()),
        Step::Seal(_) => (Action::Seal, Vec::new()),
        Step::Nothing => (Action::Nothing, Vec::new()),
    };
    if plan.unbuilt {
        let text = if matches!(plan.step, Step::Create(_)) { AFTER_BUILD } else { "what differs is known after build" };
        reasons.push(text.to_owned());
    }
    let up = || Some("up".to_owned());
    let differs = !plan.drift.is_empty();
    let mut rows = Vec::new();
    rows.extend(plan.growth.iter().map(|growth| row(Action::Grow, up(), vec![growth.to_string()])));
    if action != Action::Nothing || !(differs || plan.growth.is_some()) {
        rows.push(row(action, (action != Action::Nothing).then(up).flatten(), reasons));
    }
    if differs {
        let reasons = plan.drift.iter().map(ToString::to_string).collect();
        rows.push(row(Action::Rebuild, Some(format!("rebuild {name}")), reasons));
    }
    rows
}
