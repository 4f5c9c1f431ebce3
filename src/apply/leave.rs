//! A node out of its cluster and back: what is done at the cluster when a machine is replaced or removed. All of it is
//! nothing where there is no cluster to ask.
//!
//! What a run did that is cut off can be read from the cluster and the machine alone: a node that we keep pods off says so
//! by an annotation, and what it was before stands in the new machine's record from the moment on that this one has taken
//! the old one's place.

use super::{Apply, ApplyError, doing};
use crate::cluster::{Cluster, ClusterError, Cordon, Drain, Standing, Watching};
use crate::config::NodeName;
use crate::machine::Passing;
use crate::plan::{NodePlan, Removal};

/// How a node leaves its cluster.
#[derive(Debug, Clone, Copy, Default)]
pub struct Leaving {
    /// How its pods are asked to leave; none where they are not.
    pub drain: Option<Drain>,
    /// Whether the machine in its place gets the labels, taints and annotations that were given by hand.
    pub keep: bool,
}

impl Apply<'_> {
    /// The cluster's side of taking a node's machine off: its pods leave it. Gives what it was before; none where the
    /// cluster does not know the node. After an error it is open for pods, if it was.
    pub(super) fn leave(&self, node: &NodeName) -> Result<Option<Standing>, ApplyError> {
        let Some(cluster) = self.cluster else { return Ok(None) };
        // What the machine that runs has not got back yet is still its own.
        let owed = self.recorded(node)?;
        let asked = cluster.standing(node).map_err(at(node, "looking for it in the cluster"))?;
        let Some((standing, status)) = asked else { return Ok(owed) };
        if let Some(drain) = self.leaving.drain
            && let Err(error) = self.drain(cluster, node, drain, status.is_alive(now()))
        {
            self.stay(node);
            return Err(error);
        }
        let owed = owed.filter(|owed| owed.keep).map(|owed| owed.kept).unwrap_or_default();
        Ok(Some(Standing { keep: self.leaving.keep, kept: standing.kept.clone().and(owed), ..standing }))
    }

    /// The same for one that an earlier run had leave already, and that runs again: gives what it was before as well.
    pub(super) fn leave_again(
        &self,
        node: &NodeName,
        before: Option<Standing>,
    ) -> Result<Option<Standing>, ApplyError> {
        Ok(match (self.leave(node)?, before) {
            (Some(now), Some(before)) => Some(now.and(before)),
            (now, before) => now.or(before),
        })
    }

    /// Takes a node out of the cluster, if it is in it, and removes what is left of it; a machine that does not go off has
    /// its plug pulled.
    pub fn retire(&self, node: &NodeName, pool: &str, removal: &Removal) -> Result<(), ApplyError> {
        if removal.domain.is_some() && self.leave(node)?.is_some() {
            if let Err(error) = self.stop(node, pool, true) {
                self.stay(node);
                return Err(error);
            }
            // While the machine is there: it is what makes the Node object ours.
            self.sign_off_any(node)?;
        }
        self.remove(node, removal)
    }

    fn drain(&self, cluster: &Cluster, node: &NodeName, drain: Drain, alive: bool) -> Result<(), ApplyError> {
        let name = node.to_string();
        cluster.cordon(node).map_err(at(node, "keeping pods off it"))?;
        self.progress.note(&name, "cordoned");
        if !alive {
            self.progress.note(&name, "its kubelet is silent: pods are not waited for");
        }
        let watching =
            Watching { tell: &|text| self.progress.note(&name, text), ending: &|| self.progress.is_ending() };
        let drained = cluster.drain(node, drain, alive, watching);
        drained.map_err(|source| ApplyError::Drain { node: node.clone(), source })?;
        self.progress.note(&name, "drained");
        Ok(())
    }

    /// Lets pods on a node again that does not leave after all.
    pub(super) fn stay(&self, node: &NodeName) {
        let Some(cluster) = self.cluster else { return };
        match cluster.uncordon(node) {
            Ok(true) => self.progress.note(&node.to_string(), "uncordoned"),
            Ok(false) => {}
            Err(error) => {
                let why = crate::error::chain(&error);
                self.progress.warn_of(node, &format!("{node} is still cordoned: {why}; the next `up` tries again"));
            }
        }
    }

    /// Removes the Node object of a machine that is off, so that what the next one is does not mix with what it was.
    pub(super) fn sign_off(&self, node: &NodeName, standing: Option<&Standing>) -> Result<(), ApplyError> {
        let (Some(cluster), Some(standing)) = (self.cluster, standing) else { return Ok(()) };
        cluster.delete_node(node, Some(&standing.uid)).map_err(at(node, "removing it from the cluster"))
    }

    /// As [`Apply::sign_off`], whichever machine it was.
    pub(super) fn sign_off_any(&self, node: &NodeName) -> Result<(), ApplyError> {
        let Some(cluster) = self.cluster else { return Ok(()) };
        cluster.delete_node(node, None).map_err(at(node, "removing it from the cluster"))
    }

    /// What a machine's record wants back for its node.
    pub(super) fn recorded(&self, node: &NodeName) -> Result<Option<Standing>, ApplyError> {
        let domain = self.hypervisor.domain(self.id.uuid(node));
        let domain = domain.map_err(doing(format!("looking at the machine of {node}")))?;
        Ok(domain.and_then(|domain| Standing::from_record(&domain.record().standing?)))
    }

    /// The node is up: it gets back what it had, and its labels and taints.
    pub(super) fn rejoin(&self, plan: &NodePlan, standing: Option<&Standing>) -> Result<(), ApplyError> {
        let node = &plan.node;
        if let (Some(cluster), Some(standing)) = (self.cluster, standing) {
            let failed = |source| ApplyError::Metadata { node: node.clone(), source };
            if cluster.rejoin(node, standing).map_err(failed)? {
                self.progress.note(&node.to_string(), "got back what it had in the cluster");
            }
            let forgotten = self.hypervisor.forget(self.id.uuid(node), Passing::Standing);
            forgotten.map_err(doing(format!("removing what is left of the machine before {node}")))?;
        } else if self.watch.and_then(|watch| watch.node(&node.to_string())).is_some_and(|it| it.cordon == Cordon::Ours)
        {
            self.stay(node);
        }
        self.give_metadata(plan)
    }
}

pub(super) fn at(node: &NodeName, action: &'static str) -> impl FnOnce(ClusterError) -> ApplyError {
    let node = node.clone();
    move |source| ApplyError::Cluster { node, action, source }
}

/// Seconds since the epoch.
fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}
