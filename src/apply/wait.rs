//! Waiting for what others do: nothing is changed, and nothing is noted at the machine.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize as _;
use serde::de::IntoDeserializer as _;
use serde::de::value::Error as NoStage;

use super::boot::{Boot, POLL};
use super::{Apply, ApplyError, doing};
use crate::boot::Stage;
use crate::cluster::NodeStatus;
use crate::config::NodeName;
use crate::machine::{DomainInfo, DomainState};
use crate::plan::log_pool;

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goal {
    /// The boot that the machine is in is known to the cluster.
    Registered,
    /// The same, and the cluster says that the node is ready.
    Ready,
    /// The boot that the machine is in has got to a stage.
    Stage(Stage),
    /// The machine is off.
    Off,
}

/// Nothing that can be waited for.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum GoalError {
    /// No such condition.
    #[error("it must be registered, ready, off or stage=STAGE")]
    Unknown,
    /// No such stage.
    #[error("{0}")]
    Stage(NoStage),
}

impl FromStr for Goal {
    type Err = GoalError;

    fn from_str(text: &str) -> Result<Self, GoalError> {
        match text.split_once('=') {
            None if text == "registered" => Ok(Self::Registered),
            None if text == "ready" => Ok(Self::Ready),
            None if text == "off" => Ok(Self::Off),
            Some(("stage", stage)) => {
                Stage::deserialize(stage.into_deserializer()).map(Self::Stage).map_err(GoalError::Stage)
            }
            _ => Err(GoalError::Unknown),
        }
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registered => f.write_str("registered"),
            Self::Ready => f.write_str("ready"),
            Self::Stage(stage) => stage.fmt(f),
            Self::Off => f.write_str("off"),
        }
    }
}

impl Goal {
    /// Whether only the cluster can tell.
    pub fn needs_cluster(self) -> bool {
        matches!(self, Self::Registered | Self::Ready)
    }
}

impl Apply<'_> {
    /// Waits until a node's machine, which is there, is where it should be. The error is what keeps it from that: a stage
    /// that failed, a machine that is off, or that nothing was heard of it for as long as the patience lasts.
    pub fn wait(&self, node: &NodeName, pool: &str, goal: Goal) -> Result<(), ApplyError> {
        let (uuid, logs) = (self.id.uuid(node), log_pool(pool));
        self.progress.note(&node.to_string(), &format!("waiting: {goal}"));
        // Files that libvirt did not make are seen only when it looks again; without them there is just less to hear.
        let mut refreshed = self.hypervisor.refresh_pool(&logs).is_ok();
        let mut boot = Boot::new();
        self.catch_up(&logs, node, &mut boot);
        loop {
            // The state first: what a guest wrote before it stopped is then still read.
            let domain = self.hypervisor.domain(uuid).map_err(doing(format!("looking at the machine of {node}")))?;
            refreshed = refreshed || self.hypervisor.refresh_pool(&logs).is_ok();
            self.hear(&logs, node, &mut boot);
            let seen = self.watch.and_then(|watch| watch.node(&node.to_string()));
            if is_at(goal, domain.as_ref(), &boot, seen.as_ref()) {
                self.progress.note(&node.to_string(), &goal.to_string());
                return Ok(());
            }
            if goal != Goal::Off {
                let state = domain.map(|domain| domain.state);
                if !state.is_some_and(DomainState::is_active) {
                    let state = state.map_or_else(|| "gone".to_owned(), |state| format!("{state:?}"));
                    return Err(self.stopped(node, pool, &boot, state));
                }
                if let Some((stage, log)) = boot.failure(goal) {
                    return Err(ApplyError::Stage { node: node.clone(), stage, log });
                }
            }
            self.go_on(node)?;
            if boot.is_silent(self.patience) {
                return Err(self.stalled(node, pool, &boot));
            }
            match self.watch {
                Some(watch) => watch.changed(&node.to_string(), seen.as_ref(), POLL),
                None => std::thread::sleep(POLL),
            }
        }
    }
}

fn is_at(goal: Goal, domain: Option<&DomainInfo>, boot: &Boot, seen: Option<&NodeStatus>) -> bool {
    let runs = domain.is_some_and(|domain| domain.state.is_active());
    let registered = || runs && seen.is_some_and(|seen| boot.is_in(seen));
    match goal {
        Goal::Off => !runs,
        // The last stage of a machine that makes an image is told as it goes off.
        Goal::Stage(stage) => boot.has_reached(stage) && (runs || stage == Stage::DiskSealed),
        Goal::Registered => registered(),
        Goal::Ready => registered() && seen.is_some_and(|seen| seen.ready),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goals_are_read() {
        for (text, wanted) in [
            ("registered", Ok(Goal::Registered)),
            ("ready", Ok(Goal::Ready)),
            ("off", Ok(Goal::Off)),
            ("stage=kubelet-active", Ok(Goal::Stage(Stage::KubeletActive))),
            ("stage=disk-sealed", Ok(Goal::Stage(Stage::DiskSealed))),
            ("Ready", Err("it must be registered, ready, off or stage=STAGE")),
            ("", Err("it must be registered, ready, off or stage=STAGE")),
            ("off=1", Err("it must be registered, ready, off or stage=STAGE")),
        ] {
            assert_eq!(
                text.parse::<Goal>().map_err(|error| error.to_string()),
                wanted.map_err(str::to_owned),
                "{text}"
            );
        }
        let error = "stage=kubelet".parse::<Goal>().map_err(|error| error.to_string());
        assert_eq!(
            error,
            Err("unknown variant `kubelet`, expected one of `seed-read`, `files-installed`, `payload-copied`, \
                 `payload-mounted`, `disks-mounted`, `address-given`, `containerd-active`, `kubelet-active`, \
                 `cni-installed`, `finished`, `images-imported`, `packages-installed`, `disk-sealed`, `disk-grown`, \
                 `cloud-init-done`, `sealed`"
                .to_owned())
        );
    }
}
