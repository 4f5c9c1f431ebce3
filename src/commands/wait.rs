//! `nodebake wait`: until machines are where they should be, by whomever they are brought there.

use std::time::Duration;

use super::Session;
use crate::apply::{Apply, Patience};
use crate::cli::WaitFor;
use crate::cluster::Cluster;
use crate::error::Error;
use crate::machine;
use crate::parallel;
use crate::plan;

pub(super) fn run(session: &Session, args: &WaitFor) -> Result<(), Error> {
    let config = &session.config;
    let nodes = session.select(&args.which)?;
    let cluster = if args.goal.needs_cluster() { session.cluster()? } else { None };
    if args.goal.needs_cluster() && cluster.is_none() {
        return Err(Error::NobodyToAsk { goal: args.goal });
    }
    let hypervisor = machine::open(&config.libvirt.uri)?;
    let id = session.cluster_id()?;
    for node in &nodes {
        let domain = hypervisor.domain(id.uuid(&node.name))?;
        plan::own(&id, &node.name, domain.as_ref())?;
    }
    // An apiserver that cannot be asked is told at once.
    cluster.as_ref().map(Cluster::nodes).transpose()?;
    let watch = cluster.as_ref().map(Cluster::watch);
    let apply = Apply {
        watch: watch.as_ref(),
        cluster: cluster.as_ref(),
        patience: Patience::of_silence(Duration::from_secs(args.wait.stall)),
        ..Apply::new(&*hypervisor, &id, session.ui)
    };
    let wait = |node: &&crate::config::Node| {
        let waited = apply.wait(&node.name, &config.libvirt.pool, args.goal);
        if waited.is_ok() {
            session.ui.data(&format!("{} {}\n", node.name, args.goal));
        }
        waited
    };
    let results = parallel::map(&nodes, nodes.len(), wait, |_| false);
    session.ui.finish();
    let errors: Vec<_> = results.into_iter().flatten().filter_map(Result::err).collect();
    if errors.is_empty() { Ok(()) } else { Err(Error::Nodes(errors)) }
}
