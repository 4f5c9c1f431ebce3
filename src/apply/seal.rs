//! Sealing a node that is up: from then on its secrets lie on its own disk alone.
//!
//! The guest tells when cloud-init is done, and has switched it off before: the seed may go at any moment then. It is
//! taken out of the drive, which the guest sees and answers by removing what cloud-init kept of it; when it has told so,
//! the seed's volume is wiped and deleted. Each step names a state, and how far it came can be read from the machine and
//! the pool: the next `up` goes on wherever this one was cut off.

use super::boot::{Boot, POLL};
use super::{Apply, ApplyError, doing};
use crate::boot::Stage;
use crate::config::NodeName;
use crate::machine::DomainInfo;
use crate::plan::{NodePlan, Sealing, Step, log_pool};

/// What a warning says to do.
const AGAIN: &str = "the next `up` tries again";

impl Apply<'_> {
    /// Seals the node, if the plan says so. Whatever becomes of it, the node is up: what fails is told, and no more.
    pub(super) fn seal(&self, plan: &NodePlan, uuid: uuid::Uuid, boot: &mut Boot) {
        let Some(sealing) = &plan.sealing else { return };
        let node = &plan.node;
        match self.try_seal(plan, sealing, uuid, boot) {
            Ok(Ok(())) => self.progress.note(&node.to_string(), "its seed is wiped and removed"),
            Ok(Err(why)) => self.progress.warn_of(node, &format!("{node} is not sealed: {why}")),
            Err(error) => {
                let why = crate::error::chain(&error);
                self.progress.warn_of(node, &format!("{node} is not sealed: {why}; {AGAIN}"));
            }
        }
    }

    /// What the guest does not do, in words, or that it is sealed.
    fn try_seal(
        &self,
        plan: &NodePlan,
        sealing: &Sealing,
        uuid: uuid::Uuid,
        boot: &mut Boot,
    ) -> Result<Result<(), String>, ApplyError> {
        let node = &plan.node;
        if matches!(plan.step, Step::Seal(_)) {
            // Nobody listened to this boot yet. The pool may not know of a log that a machine just began.
            let _ = self.hypervisor.refresh_pool(&log_pool(&plan.pool));
            self.catch_up(&log_pool(&plan.pool), node, boot);
        }
        if !sealing.awaited && !is_done(boot) {
            return Ok(Err(format!(
                "its guest has not told that it needs its seed no more, and may be of an older nodebake; `nodebake rebuild \
                 {node}` mends it"
            )));
        }
        if !self.await_stage(plan, uuid, boot, is_done) {
            return Ok(Err(format!("its guest has not told that cloud-init is done; {AGAIN}")));
        }
        self.eject(node, uuid)?;
        if !self.await_stage(plan, uuid, boot, |boot| boot.has_reached(Stage::Sealed)) {
            let failed = if boot.has_given_up(Stage::Sealed) { "failed to remove" } else { "has not yet removed" };
            return Ok(Err(format!(
                "its guest {failed} what cloud-init kept of the seed; {AGAIN}, `nodebake logs {node}` tells more"
            )));
        }
        for seed in &sealing.seeds {
            self.delete(&plan.pool, seed)?;
        }
        Ok(Ok(()))
    }

    /// Waits until the guest has got there, as long as it shows life. What it says meanwhile is told.
    fn await_stage(&self, plan: &NodePlan, uuid: uuid::Uuid, boot: &mut Boot, there: impl Fn(&Boot) -> bool) -> bool {
        let pool = log_pool(&plan.pool);
        loop {
            let running = self.is_running(uuid);
            self.hear(&pool, &plan.node, boot);
            if there(boot) {
                return true;
            }
            let hopeless = !running || boot.has_given_up(Stage::Sealed) || boot.is_silent(self.patience);
            if hopeless || self.progress.is_ending() {
                return false;
            }
            std::thread::sleep(POLL);
        }
    }

    /// Takes the seed out of the machine's drive. The mark knows the digest of the definition, which changes by this: it
    /// is left out while that is under way, so that a cut in between does not look like a change by hand.
    fn eject(&self, node: &NodeName, uuid: uuid::Uuid) -> Result<(), ApplyError> {
        let looking = || doing(format!("looking at the machine of {node}"));
        let stored = |domain: Option<DomainInfo>| domain.map(|domain| domain.stored_digest());
        let before = stored(self.hypervisor.domain(uuid).map_err(looking())?);
        self.mark(node, uuid, |mark| mark.stored = mark.stored.filter(|stored| Some(*stored) != before))?;
        self.hypervisor.eject_seed(uuid).map_err(doing(format!("taking the seed out of the drive of {node}")))?;
        let after = stored(self.hypervisor.domain(uuid).map_err(looking())?);
        self.mark(node, uuid, |mark| mark.stored = mark.stored.or(after))
    }
}

/// A guest that is sealed says only that in its later boots.
fn is_done(boot: &Boot) -> bool {
    boot.has_reached(Stage::CloudInitDone) || boot.has_reached(Stage::Sealed)
}
