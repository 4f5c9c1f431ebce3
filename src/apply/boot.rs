//! Waiting for a machine to come up, by what its guest reports and what the cluster sees.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::{Apply, ApplyError, Goal, LogReader, doing};
use crate::boot::{BootEvent, Decoder, News, Stage};
use crate::cluster::NodeStatus;
use crate::config::NodeName;
use crate::machine::mark::LogKind;
use crate::machine::{DomainState, MarkState, VolumeName};
use crate::plan::{NodePlan, Step, log_pool};

/// How often the log file of the channel is read: a file on the hypervisor can only be polled.
pub(super) const POLL: Duration = Duration::from_millis(500);

/// Bytes of the console that an error shows.
const CONSOLE_TAIL: u64 = 2000;

/// How long is waited. A new byte on the first-boot channel or the console is a sign of life: a slow guest is not a dead
/// one. But a guest that only fills its console gets nowhere, so there is a limit between stages as well.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Longest silence.
    pub stall: Duration,
    /// Longest time between two stages, whatever the console says.
    pub stage: Duration,
}

impl Patience {
    /// Six times as long between stages as without any sign of life.
    pub fn of_silence(stall: Duration) -> Self {
        Self { stall, stage: stall.saturating_mul(6) }
    }
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
pub(super) struct Boot {
    decoder: Decoder,
    told: LogReader,
    console: LogReader,
    last: Option<BootEvent>,
    /// Stages that this boot reached.
    reached: BTreeSet<Stage>,
    /// Stages that failed in this boot, with their logs; first boot and the units report side by side, so that each stage
    /// is mended by its own success alone.
    failures: BTreeMap<Stage, String>,
    /// Errands of this boot that have begun and not ended.
    errands: BTreeSet<Stage>,
    /// Errands of this boot that failed.
    given_up: BTreeSet<Stage>,
    /// The node of this boot as the cluster saw it last.
    seen: Option<NodeStatus>,
    /// Last sign of life.
    life: Instant,
    /// Last news of a stage.
    stage: Instant,
}

impl Boot {
    pub(super) fn new() -> Self {
        Self {
            decoder: Decoder::default(),
            told: LogReader::default(),
            console: LogReader::default(),
            last: None,
            reached: BTreeSet::new(),
            failures: BTreeMap::new(),
            errands: BTreeSet::new(),
            given_up: BTreeSet::new(),
            seen: None,
            life: Instant::now(),
            stage: Instant::now(),
        }
    }

    fn take(&mut self, event: BootEvent) {
        if self.last.as_ref().is_some_and(|last| last.boot_id != event.boot_id) {
            self.reached.clear();
            self.failures.clear();
            self.errands.clear();
            self.given_up.clear();
        }
        self.errands.remove(&event.stage);
        self.given_up.remove(&event.stage);
        match &event.news {
            News::Begun => {
                self.errands.insert(event.stage);
            }
            News::Reached => {
                self.failures.remove(&event.stage);
                self.reached.insert(event.stage);
            }
            // Told, and no more: a node that lacks an image or a package is a node all the same.
            News::Failed(_) if event.stage.is_errand() => {
                self.given_up.insert(event.stage);
            }
            News::Failed(log) => {
                self.failures.insert(event.stage, log.clone());
            }
        }
        self.last = Some(event);
        self.stage = Instant::now();
    }

    /// A first boot is over when it says so; any later one needs no such word.
    fn is_installed(&self) -> bool {
        !self.reached.contains(&Stage::SeedRead) || self.reached.contains(&Stage::Finished)
    }

    /// Takes in what the cluster sees. That it gives another reason why the node is not Ready is a sign of life: what a
    /// network plugin does meanwhile shows on no console.
    fn take_seen(&mut self, seen: Option<&NodeStatus>) {
        let seen = seen.filter(|seen| self.is_in(seen)).cloned();
        if self.seen.as_ref().map(|seen| &seen.not_ready) != seen.as_ref().map(|seen| &seen.not_ready) {
            self.life = Instant::now();
            self.stage = Instant::now();
        }
        self.seen = seen;
    }

    /// Why a node that is in the cluster is not Ready.
    fn not_ready(&self) -> Option<String> {
        let seen = self.seen.as_ref().filter(|seen| !seen.ready)?;
        Some(format!("it is registered, and not Ready: {}", crate::printable::line(&seen.not_ready)))
    }

    /// Whether it is over and known to the cluster.
    pub(super) fn is_in(&self, seen: &NodeStatus) -> bool {
        let last = self.last.as_ref().filter(|_| self.is_installed());
        last.is_some_and(|last| seen.registered(&last.boot_id, last.booted))
    }

    /// A stage that failed, with its log. An errand that failed matters to who waits for it, and its log is not kept.
    pub(super) fn failure(&self, goal: Goal) -> Option<(Stage, String)> {
        let errand = match goal {
            Goal::Stage(stage) => self.given_up.get(&stage).map(|stage| (*stage, String::new())),
            Goal::Registered | Goal::Ready | Goal::Off => None,
        };
        let first = self.failures.first_key_value().map(|(stage, log)| (*stage, log.clone()));
        first.or(errand)
    }

    pub(super) fn has_reached(&self, stage: Stage) -> bool {
        self.reached.contains(&stage)
    }

    pub(super) fn has_given_up(&self, stage: Stage) -> bool {
        self.given_up.contains(&stage)
    }

    pub(super) fn is_silent(&self, patience: Patience) -> bool {
        self.life.elapsed() > patience.stall || self.stage.elapsed() > patience.stage
    }
}

impl Apply<'_> {
    pub(super) fn watch_boot(&self, plan: &NodePlan, uuid: uuid::Uuid) -> Result<Outcome, ApplyError> {
        let mut boot = Boot::new();
        let standing = self.recorded(&plan.node)?;
        // Only a node that was Ready has what it takes to be so: the cluster's network.
        let ready = standing.as_ref().is_some_and(|standing| standing.ready);
        let result = self.follow(plan, uuid, &mut boot, ready);
        let boot_id = boot.last.as_ref().map(|last| last.boot_id.to_string());
        match &result {
            Ok(outcome) => self.mark(&plan.node, uuid, |mark| {
                mark.state = match outcome {
                    Outcome::Registered => MarkState::Registered,
                    Outcome::KubeletActive => MarkState::Active,
                };
                mark.boot_id = boot_id;
                mark.stage = None;
            })?,
            Err(error) if error.is_node_down() => self.mark(&plan.node, uuid, |mark| {
                // What once came up is not ours to throw away, whatever keeps it down today.
                if !mark.state.came_up() {
                    mark.state = MarkState::Failed;
                }
                mark.boot_id = boot_id;
                mark.stage = Some(match error {
                    ApplyError::Stage { stage, .. } => stage.to_string(),
                    ApplyError::Stopped { .. } => "stopped".to_owned(),
                    _ => "stalled".to_owned(),
                });
            })?,
            Err(_) => {}
        }
        let outcome = result?;
        let given = self.rejoin(plan, standing.as_ref());
        self.settle(plan);
        self.seal(plan, uuid, &mut boot);
        self.await_errands(plan, uuid, &mut boot);
        given.map(|()| outcome)
    }

    /// Waits for what first boot does beside the kubelet, so that its failure is told. Whatever becomes of it, the node is
    /// up.
    fn await_errands(&self, plan: &NodePlan, uuid: uuid::Uuid, boot: &mut Boot) {
        let (node, pool) = (&plan.node, log_pool(&plan.pool));
        while let Some(errand) = boot.errands.first().copied() {
            let running = self.is_running(uuid);
            self.hear(&pool, node, boot);
            if boot.errands.is_empty() {
                return;
            }
            if !running || boot.is_silent(self.patience) || self.progress.is_ending() {
                let text = "is a node, and not yet known to have this";
                return self
                    .progress
                    .warn_of(node, &format!("{node} {text}: {errand}; `nodebake logs {node}` tells more"));
            }
            std::thread::sleep(POLL);
        }
    }

    pub(super) fn is_running(&self, uuid: uuid::Uuid) -> bool {
        self.hypervisor.domain(uuid).is_ok_and(|domain| domain.is_some_and(|domain| domain.state.is_active()))
    }

    /// Takes in what the guest said since the last time, and tells it.
    pub(super) fn hear(&self, pool: &str, node: &NodeName, boot: &mut Boot) {
        for event in self.news(pool, node, boot).unwrap_or_default() {
            self.tell(node, &event);
            boot.take(event);
        }
        self.console_life(pool, node, boot);
    }

    /// Takes in all that the guest has said so far, without telling it: it is old.
    pub(super) fn catch_up(&self, pool: &str, node: &NodeName, boot: &mut Boot) {
        loop {
            let Some(events) = self.news(pool, node, boot) else { return };
            for event in events {
                boot.take(event);
            }
        }
    }

    /// Waits until the node is up: in the cluster, and Ready if that is asked for.
    fn follow(&self, plan: &NodePlan, uuid: uuid::Uuid, boot: &mut Boot, ready: bool) -> Result<Outcome, ApplyError> {
        let node = &plan.node;
        let pool = log_pool(&plan.pool);
        let mut refreshed = false;
        loop {
            // The state first: what a guest wrote before it stopped is then still read.
            let domain = self.hypervisor.domain(uuid).map_err(doing(format!("looking at the machine of {node}")))?;
            if !refreshed {
                refreshed = self.hypervisor.refresh_pool(&pool).is_ok();
            }
            self.hear(&pool, node, boot);
            if let Some((stage, log)) = boot.failures.pop_first() {
                return Err(ApplyError::Stage { node: node.clone(), stage, log });
            }
            let seen = self.watch.and_then(|watch| watch.node(&node.to_string()));
            boot.take_seen(seen.as_ref());
            if let Some(outcome) = self.is_up(node, boot, ready) {
                return Ok(outcome);
            }
            match domain.map(|domain| domain.state) {
                Some(state) if state.is_active() => {}
                Some(state) => return Err(self.stopped(node, &plan.pool, boot, format!("{state:?}"))),
                None => return Err(self.stopped(node, &plan.pool, boot, "gone".to_owned())),
            }
            self.go_on(node)?;
            if boot.is_silent(self.patience) {
                return Err(self.stalled(node, &plan.pool, boot));
            }
            match self.watch {
                Some(watch) => watch.changed(&node.to_string(), seen.as_ref(), POLL),
                None => std::thread::sleep(POLL),
            }
        }
    }

    /// Makes a machine that seals its own disk, boots it, and waits until it has done so and is off.
    pub fn seal_disk(&self, plan: &NodePlan) -> Result<(), ApplyError> {
        let Step::Create(creation) = &plan.step else { return Ok(()) };
        let (node, uuid) = (&plan.node, creation.domain.uuid);
        self.create(node, &plan.pool, creation)?;
        // A host that starts anew has no use for it.
        let autostart = self.hypervisor.set_autostart(uuid, false);
        autostart.map_err(doing(format!("unsetting autostart of {node}")))?;
        self.start(node, &plan.pool, uuid)?;
        self.await_sealed(plan, uuid)
    }

    fn await_sealed(&self, plan: &NodePlan, uuid: uuid::Uuid) -> Result<(), ApplyError> {
        let (node, pool) = (&plan.node, log_pool(&plan.pool));
        let (mut boot, mut refreshed) = (Boot::new(), false);
        loop {
            // The state first: what a guest wrote before it stopped is then still read.
            let domain = self.hypervisor.domain(uuid).map_err(doing(format!("looking at the machine of {node}")))?;
            if !refreshed {
                refreshed = self.hypervisor.refresh_pool(&pool).is_ok();
            }
            self.hear(&pool, node, &mut boot);
            let state = domain.map(|domain| domain.state);
            if !state.is_some_and(DomainState::is_active) {
                return if boot.reached.contains(&Stage::DiskSealed) {
                    Ok(())
                } else {
                    let state = state.map_or_else(|| "gone".to_owned(), |state| format!("{state:?}"));
                    Err(self.stopped(node, &plan.pool, &boot, state))
                };
            }
            if let Some((stage, log)) = boot.failures.pop_first() {
                return Err(ApplyError::Stage { node: node.clone(), stage, log });
            }
            self.go_on(node)?;
            if boot.is_silent(self.patience) {
                return Err(self.stalled(node, &plan.pool, &boot));
            }
            std::thread::sleep(POLL);
        }
    }

    /// New events of the channel; `None` where the guest wrote nothing.
    fn news(&self, pool: &str, node: &NodeName, boot: &mut Boot) -> Option<Vec<BootEvent>> {
        let log = VolumeName::log(self.id, node, LogKind::FirstBoot);
        let bytes = boot.told.read(self.hypervisor, pool, &log).ok().filter(|bytes| !bytes.is_empty())?;
        boot.life = Instant::now();
        Some(boot.decoder.feed(&bytes))
    }

    fn console_life(&self, pool: &str, node: &NodeName, boot: &mut Boot) {
        let log = VolumeName::log(self.id, node, LogKind::Console);
        if boot.console.read(self.hypervisor, pool, &log).is_ok_and(|bytes| !bytes.is_empty()) {
            boot.life = Instant::now();
        }
    }

    fn tell(&self, node: &NodeName, event: &BootEvent) {
        self.progress.note(&node.to_string(), &format!("{event} ({:.0} s)", event.uptime));
        if event.stage.is_errand() && matches!(event.news, News::Failed(_)) {
            self.progress.warn_of(node, &format!("{node} is a node without this: `nodebake logs {node}` tells why"));
        }
    }

    fn is_up(&self, node: &NodeName, boot: &Boot, ready: bool) -> Option<Outcome> {
        if self.watch.is_none() {
            let active = boot.is_installed() && boot.reached.contains(&Stage::KubeletActive);
            return active.then_some(Outcome::KubeletActive);
        }
        let seen = boot.seen.as_ref().filter(|seen| seen.ready || !ready)?;
        self.progress.note(&node.to_string(), if ready && seen.ready { "registered, Ready" } else { "registered" });
        Some(Outcome::Registered)
    }

    pub(super) fn stopped(&self, node: &NodeName, pool: &str, boot: &Boot, state: String) -> ApplyError {
        let log = self.log_tail(pool, node, LogKind::Console, CONSOLE_TAIL);
        ApplyError::Stopped { node: node.clone(), state, last: last_seen(boot), log }
    }

    pub(super) fn stalled(&self, node: &NodeName, pool: &str, boot: &Boot) -> ApplyError {
        ApplyError::Stalled {
            node: node.clone(),
            seconds: boot.stage.elapsed().as_secs(),
            last: last_seen(boot),
            trouble: self.watch.and_then(crate::cluster::Watch::trouble).or_else(|| boot.not_ready()),
            log: self.log_tail(pool, node, LogKind::Console, CONSOLE_TAIL),
        }
    }
}

fn last_seen(boot: &Boot) -> String {
    boot.last.as_ref().map_or_else(|| "nothing".to_owned(), ToString::to_string)
}
