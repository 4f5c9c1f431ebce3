//! A node from one hypervisor to another, as a transaction: the machine that is left stops before the new one starts, and is
//! kept until that is up; where it does not come up, the old one is started again.
//!
//! The two have one address, so that at most one of them runs at any time. That the old one is to stop, and whether it is to
//! come back, is noted in its record before it is done: a run that is cut off leaves all that the next one needs.

use super::{Apply, ApplyError, Outcome, doing};
use crate::cluster::Standing;
use crate::config::{HypervisorName, NodeName};
use crate::machine::{DomainInfo, MachineError, Moving, Passing, with_standing};
use crate::plan::{Creation, Move, NodePlan, Removal, Step, Way};

impl Apply<'_> {
    /// The same at the other hypervisor of a node on its way.
    fn at_other(&self, node: &NodeName, moving: &Move) -> Result<Self, ApplyError> {
        let other = self.others.iter().find(|(name, _)| moving.other.as_ref() == Some(name));
        let unknown = || MachineError::Missing {
            kind: "hypervisor",
            name: moving.other.as_ref().unwrap_or(&moving.here).to_string(),
        };
        let (_, hypervisor) =
            other.ok_or_else(|| doing(format!("looking for the other machine of {node}"))(unknown()))?;
        Ok(Apply { hypervisor: *hypervisor, ..*self })
    }

    /// Makes the new machine's disks, has the old one leave the cluster and go off, and starts the new one. Whatever fails
    /// before that one runs, the old one gets all back.
    pub(super) fn make_there(&self, plan: &NodePlan, creation: &Creation, moving: &Move) -> Result<(), ApplyError> {
        let (node, uuid) = (&plan.node, creation.domain.uuid);
        let old = self.at_other(node, moving)?;
        self.progress.note(&node.to_string(), &moving.to_string());
        if !moving.kept {
            // It never came up: there is nothing to go back to, and nobody to drain.
            old.clear(node, &moving.removal)?;
            return self.make(node, &plan.pool, creation);
        }
        let made = self.remove(node, &creation.removal).and_then(|()| self.make_disks(&plan.pool, creation));
        let standing = match made.and_then(|()| old.depart(node, moving)) {
            Ok(standing) => standing,
            Err(error) => return Err(self.undo_move(plan, moving, error)),
        };
        let defined = self.define(creation, None, standing.as_ref());
        let signed_off = defined.and_then(|()| self.sign_off(node, standing.as_ref()));
        let started = signed_off.and_then(|()| self.start(node, &plan.pool, uuid));
        started.map_err(|error| if self.is_off(uuid) { self.undo_move(plan, moving, error) } else { error })
    }

    /// At the hypervisor that is left: the node out of the cluster, its machine off, and not to start with its host. Gives
    /// what the node was.
    fn depart(&self, node: &NodeName, moving: &Move) -> Result<Option<Standing>, ApplyError> {
        let uuid = self.id.uuid(node);
        let domain = self.left(node)?;
        let before = domain.moving().map(|note| standing_of(&note));
        let standing = match before {
            // One that is off, and noted, left the cluster before it went off.
            Some(before) if !domain.state.is_active() => {
                before.map(|it| Standing { keep: it.keep || self.leaving.keep, ..it })
            }
            before => {
                let standing = self.leave_again(node, before.flatten())?;
                self.note_move(node, &moving.here, false, standing.as_ref())?;
                standing
            }
        };
        self.stop(node, &moving.pool, self.force)?;
        let autostart = self.hypervisor.set_autostart(uuid, false);
        autostart.map_err(doing(format!("unsetting autostart of the machine of {node}")))?;
        Ok(standing)
    }

    fn note_move(
        &self,
        node: &NodeName,
        to: &HypervisorName,
        back: bool,
        standing: Option<&Standing>,
    ) -> Result<(), ApplyError> {
        let note = Moving { to: to.clone(), back, standing: standing.map(Standing::to_record) };
        let noted = self.hypervisor.note_move(self.id.uuid(node), &note);
        noted.map_err(doing(format!("noting at the machine of {node} where it goes")))
    }

    /// The machine that is left, as it is now.
    fn left(&self, node: &NodeName) -> Result<DomainInfo, ApplyError> {
        let failed = || doing(format!("looking at the machine that {node} leaves"));
        let domain = self.hypervisor.domain(self.id.uuid(node)).map_err(failed())?;
        domain.ok_or_else(|| failed()(MachineError::Missing { kind: "domain", name: node.to_string() }))
    }

    /// The error of a move that came to nothing, and what became of the old machine.
    pub(super) fn undo_move(&self, plan: &NodePlan, moving: &Move, error: ApplyError) -> ApplyError {
        let (node, from, cause) = (plan.node.clone(), moving.here.clone(), Box::new(error));
        self.progress.note(&node.to_string(), &cause.beside(&node));
        match self.turn_back(plan, moving) {
            // Nothing had been done to it, and nothing has.
            Ok(None) => *cause,
            Ok(Some(_)) => ApplyError::CameBack { node, from, cause },
            Err(error) => ApplyError::NotBack { node, from, cause, source: Box::new(error) },
        }
    }

    /// A move that an earlier run gave up is undone.
    pub(super) fn give_up_move(&self, plan: &NodePlan, moving: &Move) -> Result<Outcome, ApplyError> {
        let text = format!("its machine at {} did not come up in an earlier run", moving.here);
        self.progress.warn_of(&plan.node, &format!("{}: {text}; the old one is started again", plan.node));
        Ok(self.turn_back(plan, moving)?.unwrap_or(Outcome::Registered))
    }

    /// Before the new machine is waited for by another run than the one that began: whoever started the old one again
    /// meanwhile would have two of them.
    pub(super) fn keep_off(&self, plan: &NodePlan, moving: &Move) -> Result<(), ApplyError> {
        self.at_other(&plan.node, moving)?.stop(&plan.node, &moving.pool, self.force).map(drop)
    }

    /// Removes the new machine and has the old one be the node again; none where it never was to stop.
    fn turn_back(&self, plan: &NodePlan, moving: &Move) -> Result<Option<Outcome>, ApplyError> {
        let (node, old) = (&plan.node, self.at_other(&plan.node, moving)?);
        let domain = old.left(node)?;
        let new = self.of_new_machine(plan);
        let Some(note) = domain.moving() else {
            self.tell_failed(node, self.clear(node, &new));
            self.stay(node);
            return Ok(None);
        };
        if domain.state.is_active() {
            // It did not go off, and runs on as if nothing had been.
            self.clear(node, &new)?;
            self.stay(node);
            // Somebody may have started it again after that was unset.
            let autostart = old.hypervisor.set_autostart(domain.uuid, true);
            autostart.map_err(doing(format!("setting autostart of the machine of {node}")))?;
            old.forget_move(node)?;
            return Ok(None);
        }
        old.note_move(node, &moving.here, true, standing_of(&note).as_ref())?;
        let back = Move {
            here: moving.other.clone().unwrap_or_else(|| moving.here.clone()),
            other: Some(moving.here.clone()),
            pool: plan.pool.clone(),
            removal: new,
            way: Way::Back,
            ..moving.clone()
        };
        // Growth, strays and seeds of the plan are the new machine's.
        let home = NodePlan {
            pool: moving.pool.clone(),
            growth: Vec::new(),
            strays: Vec::new(),
            sealing: None,
            moving: Some(back),
            step: Step::Start(self.id.uuid(node)),
            cordoned: false,
            ..plan.clone()
        };
        let others = [(moving.here.clone(), self.hypervisor)];
        // Also where the run is told to end: the machine that it stopped is not left off.
        Apply { others: &others, ..old }.bring_up(&home).map(Some)
    }

    /// What the new machine has for itself, by its plan and its definition.
    fn of_new_machine(&self, plan: &NodePlan) -> Removal {
        let uuid = self.id.uuid(&plan.node);
        let mut volumes = match &plan.step {
            Step::Create(creation) => vec![creation.overlay.name.clone(), creation.seed.spec.name.clone()],
            _ => Vec::new(),
        };
        let domain = self.hypervisor.domain(uuid).ok().flatten();
        volumes.extend(domain.map(|domain| domain.own_volumes()).unwrap_or_default());
        volumes.sort();
        volumes.dedup();
        let volumes = volumes.into_iter().map(|volume| (plan.pool.clone(), volume)).collect();
        Removal { domain: Some(uuid), volumes, data: Vec::new() }
    }

    /// Before the machine of a node that comes back is started: that of the other hypervisor goes, and this one gets what it
    /// had.
    pub(super) fn come_back(&self, plan: &NodePlan, moving: &Move) -> Result<(), ApplyError> {
        let (node, uuid) = (&plan.node, self.id.uuid(&plan.node));
        self.progress.note(&node.to_string(), "putting the machine before it back");
        if moving.other.is_some() {
            self.at_other(node, moving)?.clear(node, &moving.removal)?;
        }
        let domain = self.left(node)?;
        // The old machine's node gets all back, asked for or not.
        let standing = domain.moving().and_then(|note| standing_of(&note));
        let standing = standing.map(|standing| Standing { keep: true, ..standing });
        if let Some(standing) = standing.filter(|_| !domain.state.is_active()) {
            let failed = || doing(format!("putting the machine of {node} back"));
            self.hypervisor.define(&with_standing(&domain.xml, &standing.to_record())).map_err(failed())?;
            if let Err(error) = self.sign_off_any(node) {
                // Its kubelet takes the new one's Node over.
                self.progress.warn_of(node, &crate::error::chain(&error));
            }
        }
        let autostart = self.hypervisor.set_autostart(uuid, true);
        autostart.map_err(doing(format!("setting autostart of the machine of {node}")))
    }

    /// The node is up where it belongs: what it has at the other hypervisor goes, or the note that it was to go there.
    pub(super) fn arrive(&self, plan: &NodePlan, moving: &Move) -> Result<(), ApplyError> {
        if moving.is_back() {
            return self.forget_move(&plan.node);
        }
        self.at_other(&plan.node, moving)?.clear(&plan.node, &moving.removal)
    }

    fn forget_move(&self, node: &NodeName) -> Result<(), ApplyError> {
        let forgotten = self.hypervisor.forget(self.id.uuid(node), Passing::Moving);
        forgotten.map_err(doing(format!("removing from the machine of {node} where it was to go")))
    }

    /// Removes what a hypervisor has of a node. The machine last: as long as it is there, the next run finds what is left.
    fn clear(&self, node: &NodeName, removal: &Removal) -> Result<(), ApplyError> {
        let machine = |action: &str| doing(format!("{action} the machine of {node}"));
        let there = match removal.domain {
            Some(uuid) => self.hypervisor.domain(uuid).map_err(machine("looking for"))?,
            None => None,
        };
        if let Some(domain) = &there {
            self.hypervisor.destroy(domain.uuid).map_err(machine("stopping"))?;
        }
        removal.volumes.iter().try_for_each(|(pool, volume)| self.delete(pool, volume))?;
        match there {
            Some(domain) => self.hypervisor.undefine(domain.uuid).map_err(machine("removing")),
            None => Ok(()),
        }
    }
}

fn standing_of(note: &Moving) -> Option<Standing> {
    Standing::from_record(note.standing.as_deref()?)
}
