//! Waiting for a machine to come up, by what its guest reports and what the cluster sees.

use std::time::{Duration, Instant};

use super::{Apply, ApplyError, doing};
use crate::boot::{BootEvent, Decoder, Stage};
use crate::config::NodeName;
use crate::machine::mark::LogKind;
use crate::machine::{MarkState, VolumeName};
use crate::plan::{NodePlan, log_pool};

/// How often the log file of the channel is read: a file on the hypervisor can only be polled.
const POLL: Duration = Duration::from_millis(500);

/// Most bytes of a log that one poll reads.
const READ_LIMIT: usize = 256 * 1024;

/// Bytes of the console that an error shows.
const CONSOLE_TAIL: u64 = 2000;

/// How long silence is borne. Any new byte on the first-boot channel or the console, and any change of the node in the
/// cluster, is a sign of life: a slow guest is not a dead one.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Longest silence.
    pub stall: Duration,
}

/// How far a node came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is in the cluster.
    Registered,
    /// Its kubelet runs; there is no kubeconfig to ask the cluster.
    KubeletActive,
}

/// What is known of a boot under way.
struct Boot {
    decoder: Decoder,
    first_boot_offset: u64,
    console_offset: u64,
    last: Option<BootEvent>,
    kubelet_active: bool,
    /// The stage that failed with its log, unless something was reached after it.
    failure: Option<(Stage, String)>,
    life: Instant,
}

impl Apply<'_> {
    pub(super) fn watch_boot(&self, plan: &NodePlan, uuid: uuid::Uuid) -> Result<Outcome, ApplyError> {
        let result = self.follow(plan, uuid);
        match &result {
            Ok((Outcome::Registered, boot_id)) => self.mark(&plan.node, uuid, |mark| {
                mark.state = MarkState::Registered;
                mark.boot_id = Some(boot_id.to_string());
            })?,
            Err(error) if error.is_node_down() => self.mark(&plan.node, uuid, |mark| {
                mark.state = MarkState::Failed;
                mark.stage = Some(match error {
                    ApplyError::Stage { stage, .. } => stage.to_string(),
                    ApplyError::Stopped { .. } => "stopped".to_owned(),
                    _ => "stalled".to_owned(),
                });
            })?,
            _ => {}
        }
        result.map(|(outcome, _)| outcome)
    }

    fn follow(&self, plan: &NodePlan, uuid: uuid::Uuid) -> Result<(Outcome, uuid::Uuid), ApplyError> {
        let node = &plan.node;
        let pool = log_pool(&plan.pool);
        let mut version = 0;
        let mut boot = Boot {
            decoder: Decoder::default(),
            first_boot_offset: 0,
            console_offset: 0,
            last: None,
            kubelet_active: false,
            failure: None,
            life: Instant::now(),
        };
        let mut refreshed = false;
        loop {
            // The state first: what a guest wrote before it stopped is then still read.
            let domain = self.hypervisor.domain(uuid).map_err(doing(format!("looking at the machine of {node}")))?;
            if !refreshed {
                refreshed = self.hypervisor.refresh_pool(&pool).is_ok();
            }
            for event in self.news(&pool, node, &mut boot) {
                self.take(node, event, &mut boot);
            }
            self.console_life(&pool, node, &mut boot);
            if let Some(done) = self.is_up(node, &boot) {
                return Ok(done);
            }
            if let Some((stage, log)) = boot.failure {
                return Err(ApplyError::Stage { node: node.clone(), stage, log });
            }
            if let Some(state) = domain.as_ref().map(|domain| domain.state).filter(|state| !state.is_active()) {
                return Err(self.stopped(plan, &boot, format!("{state:?}")));
            } else if domain.is_none() {
                return Err(self.stopped(plan, &boot, "gone".to_owned()));
            }
            if boot.life.elapsed() > self.patience.stall {
                return Err(self.stalled(plan, &boot));
            }
            if let Some(watch) = self.watch {
                version = watch.changed(version, POLL);
            } else {
                std::thread::sleep(POLL);
            }
        }
    }

    /// New events of the channel.
    fn news(&self, pool: &str, node: &NodeName, boot: &mut Boot) -> Vec<BootEvent> {
        let name = VolumeName::log(self.id, node, LogKind::FirstBoot);
        let read = self.hypervisor.read_volume(pool, &name, boot.first_boot_offset, READ_LIMIT);
        let bytes = read.unwrap_or_default();
        if bytes.is_empty() {
            return Vec::new();
        }
        boot.first_boot_offset += bytes.len() as u64;
        boot.life = Instant::now();
        boot.decoder.feed(&bytes)
    }

    fn console_life(&self, pool: &str, node: &NodeName, boot: &mut Boot) {
        let name = VolumeName::log(self.id, node, LogKind::Console);
        let read = self.hypervisor.read_volume(pool, &name, boot.console_offset, READ_LIMIT);
        let bytes = read.map_or(0, |bytes| bytes.len() as u64);
        if bytes > 0 {
            boot.console_offset += bytes;
            boot.life = Instant::now();
        }
    }

    /// A failure holds until something is reached after it: a unit that systemd started again, or another boot.
    fn take(&self, node: &NodeName, event: BootEvent, boot: &mut Boot) {
        if boot.last.as_ref().is_some_and(|last| last.boot_id != event.boot_id) {
            boot.kubelet_active = false;
        }
        let subject = node.to_string();
        boot.failure = event.failure.clone().map(|log| (event.stage, log));
        match boot.failure {
            None => self.progress.note(&subject, &format!("{} ({:.0} s)", event.stage, event.uptime)),
            Some(_) => self.progress.note(&subject, &format!("failed: {} ({:.0} s)", event.stage, event.uptime)),
        }
        boot.kubelet_active |= event.stage == Stage::KubeletActive && boot.failure.is_none();
        boot.last = Some(event);
    }

    fn is_up(&self, node: &NodeName, boot: &Boot) -> Option<(Outcome, uuid::Uuid)> {
        let last = boot.last.as_ref()?;
        match self.watch {
            None => boot.kubelet_active.then_some((Outcome::KubeletActive, last.boot_id)),
            Some(watch) => {
                let seen = watch.node(&node.to_string())?;
                if !seen.registered(&last.boot_id, last.booted) {
                    return None;
                }
                self.progress.note(&node.to_string(), "registered");
                Some((Outcome::Registered, last.boot_id))
            }
        }
    }

    fn stopped(&self, plan: &NodePlan, boot: &Boot, state: String) -> ApplyError {
        let log = self.log_tail(&plan.pool, &plan.node, LogKind::Console, CONSOLE_TAIL);
        ApplyError::Stopped { node: plan.node.clone(), state, last: last_seen(boot), log }
    }

    fn stalled(&self, plan: &NodePlan, boot: &Boot) -> ApplyError {
        ApplyError::Stalled {
            node: plan.node.clone(),
            seconds: self.patience.stall.as_secs(),
            last: last_seen(boot),
            trouble: self.watch.and_then(crate::cluster::Watch::trouble),
            log: self.log_tail(&plan.pool, &plan.node, LogKind::Console, CONSOLE_TAIL),
        }
    }
}

fn last_seen(boot: &Boot) -> String {
    boot.last.as_ref().map_or_else(|| "nothing".to_owned(), |event| event.stage.to_string())
}
