//! A machine of ours in the place of one that somebody made by hand, as a transaction: the old one is drained, stopped and
//! kept under another name, and gets all back where ours does not come up.
//!
//! A note in the old machine's metadata, written before it is stopped, says what it is to get back; with the new machine's
//! mark it tells the next run how far this one came. Nothing else of it is changed but its name and whether it starts with
//! the host.

use std::time::Instant;

use super::boot::POLL;
use super::leave::at;
use super::{Apply, ApplyError, doing};
use crate::cluster::{Cluster, Standing};
use crate::config::NodeName;
use crate::machine::{DomainInfo, MachineError, NoteState, TakenOver};
use crate::plan::{Creation, KeptRemoval, NodePlan, Removal, TakeOver};

impl Apply<'_> {
    /// Makes the new machine's disks, sets the old machine aside, makes the new one and starts it. Whatever fails before
    /// that one runs, the old one gets all back.
    pub(super) fn take_over(
        &self,
        plan: &NodePlan,
        creation: &Creation,
        take_over: &TakeOver,
    ) -> Result<(), ApplyError> {
        let (node, uuid) = (&plan.node, creation.domain.uuid);
        self.progress.note(&node.to_string(), &format!("taking its place over: {take_over}"));
        let made = self.remove(node, &creation.removal).and_then(|()| self.make_disks(&plan.pool, creation));
        let standing = match made.and_then(|()| self.set_aside(plan, take_over)) {
            Ok(standing) => standing,
            Err(error) => return Err(self.undo_take_over(plan, take_over, error)),
        };
        let defined = self.define(creation, None, standing.as_ref());
        let signed_off = defined.and_then(|()| self.sign_off(node, standing.as_ref()));
        let started = signed_off.and_then(|()| self.start(node, &plan.pool, uuid));
        started.map_err(|error| if self.is_off(uuid) { self.undo_take_over(plan, take_over, error) } else { error })
    }

    /// Has the old machine leave the cluster, go off and make room for its name; gives what its node was.
    fn set_aside(&self, plan: &NodePlan, take_over: &TakeOver) -> Result<Option<Standing>, ApplyError> {
        let (node, name, uuid) = (&plan.node, &take_over.name, take_over.uuid);
        let domain = self.aside(node, take_over)?;
        let before = standing_of(&domain);
        // One that is off, and noted, left the cluster before it went off.
        let standing = if domain.state.is_active() || note_of(&domain).is_none() {
            let standing = self.leave_again(node, before)?;
            let note = self.note(node, take_over, NoteState::Begun, standing.as_ref());
            let noted = self.hypervisor.note(uuid, Some(&note));
            noted.map_err(doing(format!("noting at domain {name} that it is taken over")))?;
            standing
        } else {
            before.map(|before| Standing { keep: before.keep || self.leaving.keep, ..before })
        };
        self.press(node, uuid, None, self.force)?;
        self.hypervisor.set_autostart(uuid, false).map_err(doing(format!("unsetting autostart of domain {name}")))?;
        self.hypervisor.rename(uuid, &take_over.kept_as).map_err(doing(format!("renaming domain {name}")))?;
        self.progress.note(&node.to_string(), &format!("domain {name} is kept as {}", take_over.kept_as));
        Ok(standing)
    }

    fn note(&self, node: &NodeName, take_over: &TakeOver, state: NoteState, standing: Option<&Standing>) -> TakenOver {
        TakenOver {
            cluster: self.id.name.clone(),
            ca: self.id.ca,
            node: node.clone(),
            state,
            name: take_over.name.clone(),
            autostart: take_over.autostart,
            ran: take_over.ran,
            standing: standing.map(Standing::to_record),
        }
    }

    /// The old machine as it is now.
    fn aside(&self, node: &NodeName, take_over: &TakeOver) -> Result<DomainInfo, ApplyError> {
        let failed = || doing(format!("looking at the machine before {node}"));
        let domain = self.hypervisor.domain(take_over.uuid).map_err(failed())?;
        let missing = MachineError::Missing { kind: "domain", name: take_over.name.clone() };
        domain.ok_or(missing).map_err(failed())
    }

    /// The error of a take-over that came to nothing, and what became of the old machine.
    pub(super) fn undo_take_over(&self, plan: &NodePlan, take_over: &TakeOver, error: ApplyError) -> ApplyError {
        let (node, domain, cause) = (plan.node.clone(), take_over.name.clone(), Box::new(error));
        self.progress.note(&node.to_string(), &cause.beside(&node));
        match self.give_back(plan, take_over) {
            // Nothing had been done to it, and nothing has.
            Ok(false) => *cause,
            Ok(true) => ApplyError::GivenBack { node, domain, cause },
            Err(error) => ApplyError::NotGivenBack { node, domain, cause, source: Box::new(error) },
        }
    }

    /// Removes our machine and gives the old one all back; its note goes last. Says whether it had been stopped.
    fn give_back(&self, plan: &NodePlan, take_over: &TakeOver) -> Result<bool, ApplyError> {
        let (node, name, uuid) = (&plan.node, &take_over.name, take_over.uuid);
        // The two have one address: while ours is there the old one may not run.
        let ours = Removal { domain: Some(self.id.uuid(node)), ..Removal::default() };
        self.remove(node, &ours)?;
        for volume in &take_over.new_volumes {
            self.tell_failed(node, self.delete(&plan.pool, volume));
        }
        let domain = self.aside(node, take_over)?;
        let runs = domain.state.is_active();
        if note_of(&domain).is_none() {
            self.stay(node);
            return Ok(false);
        }
        // The old machine's node gets all back, asked for or not.
        let standing = standing_of(&domain).map(|standing| Standing { keep: true, ..standing });
        if !runs {
            self.progress.note(&node.to_string(), &format!("giving domain {name} its place back"));
            self.hypervisor.rename(uuid, name).map_err(doing(format!("giving domain {name} its name back")))?;
        }
        let autostart = self.hypervisor.set_autostart(uuid, take_over.autostart);
        autostart.map_err(doing(format!("setting autostart of domain {name} as it was")))?;
        if take_over.ran && !runs {
            if standing.is_some()
                && let Err(error) = self.sign_off_any(node)
            {
                // Its kubelet takes the new one's Node over.
                self.progress.warn_of(node, &crate::error::chain(&error));
            }
            self.hypervisor.start(uuid, false).map_err(doing(format!("starting domain {name} again")))?;
        }
        if let (Some(cluster), Some(standing)) = (self.cluster, standing.filter(|_| take_over.ran)) {
            self.await_node(plan, cluster, &standing)?;
        }
        self.hypervisor.note(uuid, None).map_err(doing(format!("removing the note from domain {name}")))?;
        Ok(!runs)
    }

    /// Waits until the old machine's node is in the cluster again, and Ready if it was; then it gets back what it had.
    fn await_node(&self, plan: &NodePlan, cluster: &Cluster, standing: &Standing) -> Result<(), ApplyError> {
        let (node, begin) = (&plan.node, Instant::now());
        loop {
            let seen = cluster.standing(node);
            if seen.as_ref().is_ok_and(|seen| seen.as_ref().is_some_and(|(seen, _)| seen.ready || !standing.ready)) {
                break;
            }
            self.go_on(node)?;
            if begin.elapsed() > self.patience.stage {
                let trouble = seen.err().map(|error| crate::error::chain(&error));
                let (seconds, last) = (begin.elapsed().as_secs(), "nothing".to_owned());
                return Err(ApplyError::Stalled { node: node.clone(), seconds, last, trouble, log: String::new() });
            }
            std::thread::sleep(POLL);
        }
        let back = cluster.rejoin(node, standing).map_err(at(node, "giving it back what it had"))?;
        if back {
            self.progress.note(&node.to_string(), "got back what it had in the cluster");
        }
        Ok(())
    }

    /// Our machine is up: the old one is kept from now on.
    pub(super) fn keep_aside(&self, node: &NodeName, take_over: &TakeOver) -> Result<(), ApplyError> {
        let kept = self.note(node, take_over, NoteState::Kept, None);
        let noted = self.hypervisor.note(take_over.uuid, Some(&kept));
        noted.map_err(doing(format!("noting at domain {} that it is kept", take_over.kept_as)))
    }

    /// Removes a machine that was taken over. The disks first: they are known by its definition.
    pub fn remove_kept(&self, removal: &KeptRemoval) -> Result<(), ApplyError> {
        let KeptRemoval { uuid, name, volumes, .. } = removal;
        for (pool, volume) in volumes {
            let deleted = self.hypervisor.delete_disk(*uuid, pool, &volume.name);
            deleted.map_err(doing(format!("deleting volume {} of domain {name}", volume.name)))?;
        }
        self.hypervisor.undefine(*uuid).map_err(doing(format!("removing domain {name}")))
    }
}

fn note_of(domain: &DomainInfo) -> Option<TakenOver> {
    domain.taken_over().ok().flatten().filter(|note| note.state == NoteState::Begun)
}

fn standing_of(domain: &DomainInfo) -> Option<Standing> {
    Standing::from_record(&note_of(domain)?.standing?)
}
