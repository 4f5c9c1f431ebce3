//! `nodebake wait`: until machines are where they should be, by whomever they are brought there.

use std::time::Duration;

use serde::Serialize;

use super::Session;
use super::fleet::{Fleet, Member};
use crate::apply::{Apply, ApplyError, Patience};
use crate::cli::{Format, WaitFor};
use crate::cluster::Cluster;
use crate::config::Node;
use crate::error::{Error, chain};
use crate::parallel;
use crate::plan;

/// What came of it, as programs read it.
#[derive(Serialize)]
struct Document {
    goal: String,
    nodes: Vec<Waited>,
}

#[derive(Serialize)]
struct Waited {
    name: String,
    reached: bool,
    /// What keeps it from there.
    error: Option<String>,
}

pub(super) fn run(session: &Session, args: &WaitFor) -> Result<(), Error> {
    let nodes = session.select(&args.which)?;
    let cluster = if args.goal.needs_cluster() { session.cluster()? } else { None };
    if args.goal.needs_cluster() && cluster.is_none() {
        return Err(Error::NobodyToAsk { goal: args.goal });
    }
    let fleet = Fleet::open(session)?;
    fleet.tell(session);
    fleet.end(&nodes)?;
    let id = session.cluster_id()?;
    let places = nodes.iter().map(|node| fleet.of(session, &node.name));
    let places: Vec<_> = nodes.iter().zip(places.collect::<Result<Vec<_>, _>>()?).collect();
    for (node, member) in &places {
        let domain = member.hypervisor.domain(id.uuid(&node.name))?;
        plan::own(&id, &node.name, domain.as_ref())?;
    }
    // An apiserver that cannot be asked is told at once.
    cluster.as_ref().map(Cluster::nodes).transpose()?;
    let watch = cluster.as_ref().map(Cluster::watch);
    let wait = |(node, member): &(&&Node, &Member)| {
        let apply = Apply {
            watch: watch.as_ref(),
            cluster: cluster.as_ref(),
            patience: Patience::of_silence(Duration::from_secs(args.wait.stall)),
            ..Apply::new(&*member.hypervisor, &id, session.ui)
        };
        let waited = apply.wait(&node.name, &member.config.libvirt.pool, args.goal);
        if waited.is_ok() {
            session.ui.reached(&node.name);
        }
        if waited.is_ok() && args.report.output == Format::Table {
            session.ui.data(&format!("{} {}\n", node.name, args.goal));
        }
        waited
    };
    session.ui.begin(places.iter().map(|(node, _)| &node.name));
    let results = parallel::map(&places, places.len(), wait, |_| false);
    session.ui.finish();
    let goal = args.goal.to_string();
    let came = |((node, _), result): (&(&&Node, &Member), &Option<Result<(), ApplyError>>)| match result {
        Some(Err(error)) => Waited { name: node.name.to_string(), reached: false, error: Some(chain(error)) },
        _ => Waited { name: node.name.to_string(), reached: true, error: None },
    };
    let document = Document { goal, nodes: places.iter().zip(&results).map(came).collect() };
    session.show(args.report.output, &document, String::new)?;
    let errors: Vec<_> = results.into_iter().flatten().filter_map(Result::err).collect();
    if errors.is_empty() { Ok(()) } else { Err(Error::Nodes(errors)) }
}
