//! A new machine in the place of one that works, as a transaction: the old one's definition and disks stay until the new
//! one is up, and come back where it is not.
//!
//! The definition of the new machine holds that of the old one, so that the two change places in one call, and a run that
//! is cut off leaves all that the next one needs to go on or to go back.

use super::{Apply, ApplyError, Outcome, doing};
use crate::cluster::Standing;
use crate::config::NodeName;
use crate::machine::{MarkState, Passing, with_standing};
use crate::plan::{Creation, NodePlan, Replacement, Step};

impl Apply<'_> {
    /// Makes the new machine's disks beside the old one's, takes the old one off, puts the new one in its place and starts
    /// it. Whatever fails before that one runs, the old one is put back.
    pub(super) fn replace(
        &self,
        plan: &NodePlan,
        creation: &Creation,
        replacement: &Replacement,
    ) -> Result<(), ApplyError> {
        let (node, uuid) = (&plan.node, creation.domain.uuid);
        let reason = creation.reason.as_deref().unwrap_or("asked for");
        self.progress.note(&node.to_string(), &format!("replacing its machine: {reason}"));
        if replacement.attempted {
            // It never came up, and its disks are in the way of the next attempt's.
            self.hypervisor.destroy(uuid).map_err(doing(format!("stopping the machine of {node}")))?;
        }
        let made = self.remove(node, &creation.removal).and_then(|()| self.make_disks(&plan.pool, creation));
        // One that never came up has no pods worth a word, and its node is what it was before that attempt.
        let leave = || if replacement.attempted { self.recorded(node) } else { self.leave(node) };
        let ready = made.and_then(|()| leave()).and_then(|standing| {
            self.stop(node, &plan.pool, self.force)?;
            Ok(standing)
        });
        let standing = match ready {
            Ok(standing) => standing,
            Err(error) if replacement.attempted || self.is_off(uuid) => {
                return Err(self.undo_replacement(plan, replacement, error));
            }
            Err(error) if self.is_running(uuid) => {
                // It runs on as if nothing had been.
                self.stay(node);
                self.delete_new(plan, replacement);
                return Err(error);
            }
            // Nobody can tell what becomes of it: the next run sees to that.
            Err(error) => return Err(error),
        };
        let defined = self.define(creation, Some(&replacement.old), standing.as_ref());
        // An attempt before may have registered itself, by whatever UID.
        let whichever = replacement.attempted && standing.is_some();
        let sign_off = || if whichever { self.sign_off_any(node) } else { self.sign_off(node, standing.as_ref()) };
        let signed_off = defined.and_then(|()| sign_off());
        let started = signed_off.and_then(|()| self.start(node, &plan.pool, uuid));
        started.map_err(|error| if self.is_off(uuid) { self.undo_replacement(plan, replacement, error) } else { error })
    }

    /// What a node plan ends with where the machine did not come up: the machine before comes back, if there is one that
    /// this one was to replace.
    pub(super) fn or_put_back(&self, plan: &NodePlan, error: ApplyError) -> ApplyError {
        let uuid = self.id.uuid(&plan.node);
        let failed = || {
            let domain = self.hypervisor.domain(uuid).ok().flatten();
            domain.is_some_and(|domain| domain.mark().is_some_and(|mark| mark.state == MarkState::Failed))
        };
        if !error.is_node_down() || !failed() {
            return error;
        }
        let moving = plan.moving.as_ref().filter(|moving| moving.can_go_back());
        match (&plan.replacement, &plan.take_over, moving) {
            (Some(replacement), ..) => self.undo_replacement(plan, replacement, error),
            (None, Some(take_over), _) => self.undo_take_over(plan, take_over, error),
            (None, None, Some(moving)) => self.undo_move(plan, moving, error),
            (None, None, None) => error,
        }
    }

    /// The error of a replacement that came to nothing, and what became of the old machine.
    fn undo_replacement(&self, plan: &NodePlan, replacement: &Replacement, error: ApplyError) -> ApplyError {
        let (node, cause) = (plan.node.clone(), Box::new(error));
        self.progress.note(&node.to_string(), &cause.beside(&node));
        match self.put_back(plan, replacement) {
            Ok(_) => ApplyError::PutBack { node, cause },
            Err(error) => ApplyError::NotPutBack { node, cause, source: Box::new(error) },
        }
    }

    /// A replacement that an earlier run gave up is undone.
    pub(super) fn go_back(&self, plan: &NodePlan) -> Result<Outcome, ApplyError> {
        let replacement = match (&plan.replacement, &plan.moving) {
            (Some(replacement), _) => replacement,
            (None, Some(moving)) => return self.give_up_move(plan, moving),
            (None, None) => return self.watch_boot(plan, self.id.uuid(&plan.node)),
        };
        let text = "its new machine did not come up in an earlier run";
        self.progress.warn_of(&plan.node, &format!("{}: {text}; the old one is put back", plan.node));
        self.put_back(plan, replacement)
    }

    /// Puts the old machine back and waits until it is up again.
    pub(super) fn put_back(&self, plan: &NodePlan, replacement: &Replacement) -> Result<Outcome, ApplyError> {
        let (node, uuid) = (&plan.node, self.id.uuid(&plan.node));
        self.progress.note(&node.to_string(), "putting the machine before it back");
        self.hypervisor.destroy(uuid).map_err(doing(format!("stopping the machine of {node}")))?;
        // The old machine gets all back, asked for or not.
        let standing = self.recorded(node)?.map(|standing| Standing { keep: true, ..standing });
        let old = standing.as_ref().map(|it| with_standing(&replacement.old, &it.to_record()));
        let old = old.as_ref().unwrap_or(&replacement.old);
        self.hypervisor.define(old).map_err(doing(format!("putting the machine of {node} back")))?;
        self.delete_new(plan, replacement);
        if standing.is_some()
            && let Err(error) = self.sign_off_any(node)
        {
            // The old kubelet takes the new one's Node over.
            self.progress.warn_of(node, &crate::error::chain(&error));
        }
        self.start_after(node, &plan.pool, uuid, true)?;
        // The seeds of the plan are the new machine's.
        let old = NodePlan { step: Step::Finish(uuid), sealing: None, replacement: None, ..plan.clone() };
        self.watch_boot(&old, uuid)
    }

    /// Whatever stays behind, the next `up` removes.
    fn delete_new(&self, plan: &NodePlan, replacement: &Replacement) {
        for volume in &replacement.new_volumes {
            self.tell_failed(&plan.node, self.delete(&plan.pool, volume));
        }
    }

    /// The new machine is up: what was the old one's alone goes; one that was made by hand is kept.
    pub(super) fn settle(&self, plan: &NodePlan) {
        if let Some(take_over) = &plan.take_over {
            self.tell_failed(&plan.node, self.keep_aside(&plan.node, take_over));
        }
        if let Some(moving) = &plan.moving {
            self.tell_failed(&plan.node, self.arrive(plan, moving));
        }
        let Some(replacement) = &plan.replacement else { return };
        let uuid = self.id.uuid(&plan.node);
        let gone = replacement.old_volumes.iter().try_for_each(|volume| self.delete(&plan.pool, volume));
        let settled = gone.and_then(|()| {
            let forgotten = self.hypervisor.forget(uuid, Passing::Previous);
            forgotten.map_err(doing(format!("removing what is left of the machine before {}", plan.node)))
        });
        self.tell_failed(&plan.node, settled);
    }

    pub(super) fn tell_failed(&self, node: &NodeName, done: Result<(), ApplyError>) {
        if let Err(error) = done {
            let why = crate::error::chain(&error);
            self.progress.warn_of(node, &format!("{node}: {why}; the next `up` tries again"));
        }
    }
}
