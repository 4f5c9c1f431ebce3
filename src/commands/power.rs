//! `nodebake start`, `stop` and `restart`: machines off and on, as they are.

use std::time::Duration;

use super::{Session, up};
use crate::apply::{Apply, ApplyError, Patience};
use crate::cli::{Pace, Restart, Start, Stop};
use crate::cluster::{Cluster, Watch};
use crate::config::{ClusterId, Node};
use crate::error::Error;
use crate::machine::{self, Hypervisor};
use crate::parallel;
use crate::plan::{self, Blocked, Inventory};

pub(super) fn start(session: &Session, args: &Start) -> Result<(), Error> {
    let power = Power::new(session)?;
    let _held = session.hold()?;
    power.start(&session.nodes(&args.nodes)?, args.pace)
}

pub(super) fn stop(session: &Session, args: &Stop) -> Result<(), Error> {
    let power = Power::new(session)?;
    let _held = session.hold()?;
    power.stop(&session.nodes(&args.nodes)?, args.pace, args.force)
}

/// Off first, and then all of them on: who asks for that wants nothing of the old boot to live on beside the new one.
pub(super) fn restart(session: &Session, args: &Restart) -> Result<(), Error> {
    let power = Power::new(session)?;
    let _held = session.hold()?;
    let nodes = session.nodes(&args.nodes)?;
    power.stop(&nodes, args.pace, args.force)?;
    power.start(&nodes, args.pace)
}

/// The host and the cluster of a run.
struct Power<'a> {
    session: &'a Session<'a>,
    hypervisor: Box<dyn Hypervisor>,
    cluster: Option<Cluster>,
    id: ClusterId,
}

impl<'a> Power<'a> {
    fn new(session: &'a Session<'a>) -> Result<Self, Error> {
        let hypervisor = machine::open(&session.config.libvirt.uri)?;
        Ok(Self { session, hypervisor, cluster: session.cluster()?, id: session.cluster_id()? })
    }

    fn apply<'b>(&'b self, watch: Option<&'b Watch>, pace: Pace) -> Apply<'b> {
        Apply {
            hypervisor: &*self.hypervisor,
            id: &self.id,
            watch,
            cluster: self.cluster.as_ref(),
            patience: Patience::of_silence(Duration::from_secs(pace.wait.stall)),
            progress: self.session.ui,
        }
    }

    fn start(&self, nodes: &[&Node], pace: Pace) -> Result<(), Error> {
        let known = self.cluster.as_ref().map(Cluster::nodes).transpose()?;
        let inventory = Inventory::read(&self.session.config, &*self.hypervisor, known)?;
        let plan = plan::start(&self.session.config, &self.id, nodes, &inventory)?;
        let watch = self.cluster.as_ref().map(Cluster::watch);
        up::carry_out(self.session, &self.apply(watch.as_ref(), pace), nodes, &plan, pace)
    }

    fn stop(&self, nodes: &[&Node], pace: Pace, force: bool) -> Result<(), Error> {
        for node in nodes {
            let domain = self.hypervisor.domain(self.id.uuid(&node.name))?;
            let domain = domain.ok_or_else(|| Blocked::NoMachine { node: node.name.clone() })?;
            if !domain.mark().is_some_and(|mark| mark.belongs_to(&self.id)) {
                return Err(Blocked::ForeignDomain { node: node.name.clone() }.into());
            }
        }
        let apply = self.apply(None, pace);
        let pool = &self.session.config.libvirt.pool;
        let stop = |node: &&Node| apply.stop(&node.name, pool, force);
        let results = parallel::map(nodes, pace.parallel, stop, |_| false);
        self.session.ui.finish();
        let mut errors: Vec<ApplyError> = Vec::new();
        for (node, result) in nodes.iter().zip(results.into_iter().flatten()) {
            match result {
                Ok(true) => self.session.ui.data(&format!("{} stopped\n", node.name)),
                Ok(false) => self.session.ui.data(&format!("{} is off\n", node.name)),
                Err(error) => errors.push(error),
            }
        }
        if errors.is_empty() { Ok(()) } else { Err(Error::Nodes(errors)) }
    }
}
