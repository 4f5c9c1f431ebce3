//! `nodebake start`, `stop` and `restart`: machines off and on, as they are.

use std::time::Duration;

use super::Session;
use super::fleet::{Fleet, Member};
use super::up::{self, Brought, Came, Job, Order};
use crate::apply::{Apply, ApplyError, Patience};
use crate::cli::{Format, Pace, Start, Stop};
use crate::cluster::{Cluster, Watch};
use crate::config::{ClusterId, Node, NodeName};
use crate::error::Error;
use crate::interrupt::{self, Orderly};
use crate::parallel;
use crate::plan::{self, Inventory};

pub(super) fn start(session: &Session, args: &Start) -> Result<(), Error> {
    let _held = session.hold()?;
    let power = Power::new(session, args.pace)?;
    let brought = Brought::printed_as(args.report.output);
    power.start(session.cluster()?.as_ref(), &session.select(&args.which)?, brought)
}

pub(super) fn stop(session: &Session, args: &Stop) -> Result<(), Error> {
    let _held = session.hold()?;
    let power = Power::new(session, args.pace)?;
    let nodes = session.select(&args.which)?;
    power.fleet.check_settled(&nodes)?;
    let (stuck, stopped) = power.stop(&nodes, args.force, args.report.output)?;
    stopped.show(session)?;
    failures(stuck)?;
    power.fleet.end(&nodes)
}

/// Off first, and then on again: who asks for that wants nothing of the old boot to live on beside the new one. A machine
/// that does not go off keeps none of the others down.
pub(super) fn restart(session: &Session, args: &Stop) -> Result<(), Error> {
    let _held = session.hold()?;
    let power = Power::new(session, args.pace)?;
    // Before anything is off that could then not be waited for.
    let cluster = session.cluster()?;
    cluster.as_ref().map(Cluster::nodes).transpose()?;
    let nodes = session.select(&args.which)?;
    power.fleet.check_settled(&nodes)?;
    let (stuck, stopped) = power.stop(&nodes, args.force, args.report.output)?;
    if interrupt::signal().is_some() {
        // Nothing is begun any more.
        stopped.show(session)?;
        return failures(stuck);
    }
    let is_stuck = |node: &&Node| stuck.iter().any(|(name, _)| *name == node.name);
    let off: Vec<_> = nodes.into_iter().filter(|node| !is_stuck(node)).collect();
    match power.start(cluster.as_ref(), &off, stopped) {
        Err(Error::Nodes(errors)) => {
            Err(Error::Nodes(stuck.into_iter().map(|(_, error)| error).chain(errors).collect()))
        }
        Err(error) => {
            if let Err(stuck) = failures(stuck) {
                session.ui.error(&stuck);
            }
            Err(error)
        }
        Ok(()) => failures(stuck),
    }
}

/// Nodes that do not go off, each with its error.
type Stuck = Vec<(NodeName, ApplyError)>;

fn failures(stuck: Stuck) -> Result<(), Error> {
    if stuck.is_empty() { Ok(()) } else { Err(Error::Nodes(stuck.into_iter().map(|(_, error)| error).collect())) }
}

/// The host of a run.
struct Power<'a> {
    session: &'a Session<'a>,
    fleet: Fleet,
    id: ClusterId,
    pace: Pace,
}

impl<'a> Power<'a> {
    fn new(session: &'a Session<'a>, pace: Pace) -> Result<Self, Error> {
        let fleet = Fleet::open(session)?;
        fleet.tell(session);
        Ok(Self { session, fleet, id: session.cluster_id()?, pace })
    }

    fn apply<'b>(&'b self, at: &'b Member, cluster: Option<&'b Cluster>, watch: Option<&'b Watch>) -> Apply<'b> {
        let patience = Patience::of_silence(Duration::from_secs(self.pace.wait.stall));
        Apply { watch, cluster, patience, ..Apply::new(&*at.hypervisor, &self.id, self.session.ui) }
    }

    /// `brought` has what was done with nodes before.
    fn start(&self, cluster: Option<&Cluster>, nodes: &[&Node], brought: Brought) -> Result<(), Error> {
        let watch = cluster.map(Cluster::watch);
        let jobs = match self.plan_start(cluster, watch.as_ref(), nodes) {
            Ok(jobs) => jobs,
            Err(error) if brought.nodes.is_empty() => return Err(error),
            Err(error) => {
                brought.show(self.session)?;
                return Err(error);
            }
        };
        up::carry_out(self.session, &jobs, nodes, Order::AtOnce(self.pace.parallel), brought)?;
        self.fleet.end(nodes)
    }

    fn plan_start<'b>(
        &'b self,
        cluster: Option<&'b Cluster>,
        watch: Option<&'b Watch>,
        nodes: &[&Node],
    ) -> Result<Vec<Job<'b>>, Error> {
        self.fleet.check_settled(nodes)?;
        let known = cluster.map(Cluster::nodes).transpose()?;
        let parts = self.fleet.members.iter().map(|member| (member, member.of(nodes)));
        let jobs = parts.filter(|(_, nodes)| !nodes.is_empty()).map(|(member, nodes)| {
            let inventory = Inventory::read(&member.config, &*member.hypervisor, known.clone())?;
            let plan = plan::start(&member.config, &self.id, &nodes, &inventory)?;
            Ok(Job { name: member.name.as_ref(), apply: self.apply(member, cluster, watch), plan })
        });
        jobs.collect()
    }

    /// Gives those that do not go off, and what became of each.
    fn stop(&self, nodes: &[&Node], force: bool, format: Format) -> Result<(Stuck, Brought), Error> {
        let places = self.fleet.members.iter().flat_map(|it| it.of(nodes).into_iter().map(move |node| (node, it)));
        let mut places: Vec<_> = places.collect();
        places.sort_by_key(|(node, _)| nodes.iter().position(|other| other.name == node.name));
        for (node, member) in &places {
            let domain = member.hypervisor.domain(self.id.uuid(&node.name))?;
            plan::own(&self.id, &node.name, domain.as_ref())?;
        }
        let _orderly = Orderly::begin();
        self.session.ui.begin(places.iter().map(|(node, _)| &node.name));
        let stop = |(node, member): &(&Node, &Member)| {
            let stopped = self.apply(member, None, None).stop(&node.name, &member.config.libvirt.pool, force);
            if stopped.is_ok() {
                self.session.ui.reached(&node.name);
            }
            stopped
        };
        let results = parallel::map(&places, self.pace.parallel, stop, |_| false);
        self.session.ui.finish();
        let (mut stuck, mut stopped) = (Vec::new(), Brought::printed_as(format));
        let tell = |text: &str| {
            if format == Format::Table {
                self.session.ui.data(text);
            }
        };
        for ((node, _), result) in places.iter().zip(results.into_iter().flatten()) {
            stopped.nodes.push(match &result {
                Ok(_) => Came::to(&node.name, "off"),
                Err(error) => Came::failed(&node.name, error),
            });
            match result {
                Ok(true) => tell(&format!("{} stopped\n", node.name)),
                Ok(false) => tell(&format!("{} is off\n", node.name)),
                Err(error) => stuck.push((node.name.clone(), error)),
            }
        }
        Ok((stuck, stopped))
    }
}
