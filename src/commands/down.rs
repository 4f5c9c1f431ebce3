//! `nodebake down` and `nodebake remove`: removes what carries our mark, and nothing else.

use std::time::Duration;

use serde::Serialize;

use super::Session;
use super::fleet::{Fleet, Member};
use crate::apply::{Apply, ApplyError, Leaving, Patience};
use crate::cli::{Consent, Down, Format, Leave, Remove, Wait, Which};
use crate::cluster::{Cluster, Nodes};
use crate::config::{HypervisorName, NodeName};
use crate::error::Error;
use crate::interrupt::{self, Orderly};
use crate::machine::VolumeName;
use crate::plan::{Inventory, Removal, removals};

pub(super) fn run(session: &Session, args: &Down) -> Result<(), Error> {
    let all = args.which.is_all();
    let how = How { with_data: args.with_data, leave: None, consent: args.consent, format: args.report.output };
    remove_those(session, &args.which, how, |_| all)
}

pub(super) fn remove(session: &Session, args: &Remove) -> Result<(), Error> {
    let leave = Some((args.leave, args.wait));
    let how = How { with_data: args.with_data, leave, consent: args.consent, format: args.report.output };
    remove_those(session, &args.which, how, |name| args.gone && !is_known(session, name))
}

/// How nodes are removed.
#[derive(Clone, Copy)]
struct How {
    with_data: bool,
    /// How they leave the cluster, and how long a machine is waited for; without it the cluster is not asked.
    leave: Option<(Leave, Wait)>,
    consent: Consent,
    format: Format,
}

/// Removes the nodes that are named, and whatever of this cluster `also` names.
fn remove_those(session: &Session, which: &Which, how: How, also: impl Fn(&NodeName) -> bool) -> Result<(), Error> {
    let _held = session.hold()?;
    let fleet = Fleet::open(session)?;
    fleet.tell(session);
    let id = session.cluster_id()?;
    let (cluster, known) = how.leave.map_or(Ok((None, None)), |(leave, _)| reach(session, leave))?;
    let mut there = Vec::new();
    for member in &fleet.members {
        let inventory = Inventory::read(&member.config, &*member.hypervisor, known.clone())?;
        let removals = removals(&id, &member.config, &inventory).into_iter();
        there.extend(removals.map(|(node, removal)| Goes { member, node, removal }));
    }
    let gone = |name: &&NodeName| !is_known(session, name) && !there.iter().any(|goes| goes.node == **name);
    if let Some(name) = which.nodes.iter().find(gone) {
        return Err(session.unknown(name));
    }
    let groups = Which { nodes: Vec::new(), groups: which.groups.clone() };
    let of_groups = if groups.is_all() { Vec::new() } else { session.select(&groups)? };
    let named = |node: &NodeName| which.nodes.contains(node) || of_groups.iter().any(|of| of.name == *node);
    if how.with_data {
        there = there.into_iter().map(|goes| Goes { removal: goes.removal.with_data(), ..goes }).collect();
    }
    there.retain(|Goes { node, removal, .. }| !removal.is_empty() && (named(node) || also(node)));
    there.sort_by(|one, other| one.node.cmp(&other.node));
    let asked: Vec<_> = session.config.nodes.iter().filter(|node| named(&node.name) || also(&node.name)).collect();
    if there.is_empty() {
        fleet.end(&asked)?;
        session.ui.say("nothing of this cluster is there");
        return session.show(how.format, &Document::default(), String::new);
    }
    for goes in &there {
        session.lay_out(how.consent, &describe(goes));
    }
    let drain = how.leave.and_then(|(leave, _)| leave.drain());
    let machines: Vec<_> = there.iter().filter(|goes| goes.removal.domain.is_some()).map(|goes| &goes.node).collect();
    super::up::check_tenants(session, cluster.as_ref(), known.as_ref(), drain, &machines)?;
    session.consent(how.consent, "Remove them?")?;
    let watch = cluster.as_ref().map(Cluster::watch);
    let stall = how.leave.map_or(Duration::ZERO, |(_, wait)| Duration::from_secs(wait.stall));
    let _orderly = Orderly::begin();
    session.ui.begin(there.iter().map(|goes| &goes.node));
    let mut document = Document::default();
    let done = there.iter().try_for_each(|goes @ Goes { member, node, removal }| {
        let apply = Apply {
            watch: watch.as_ref(),
            cluster: cluster.as_ref(),
            patience: Patience::of_silence(stall),
            leaving: Leaving { drain, keep: false },
            ..Apply::new(&*member.hypervisor, &id, session.ui)
        };
        if interrupt::signal().is_some() {
            return Err(ApplyError::Interrupted { node: Some(node.clone()) }.into());
        }
        match how.leave {
            Some(_) => apply.retire(node, &member.config.libvirt.pool, removal)?,
            None => apply.remove(node, removal)?,
        }
        if how.format == Format::Table {
            session.ui.data(&format!("{node} removed\n"));
        }
        session.ui.reached(node);
        document.removed.push(Removed::of(goes));
        Ok::<(), Error>(())
    });
    // Also where not all came to go.
    session.show(how.format, &document, String::new)?;
    done?;
    fleet.end(&asked)
}

/// What went, as programs read it.
#[derive(Default, Serialize)]
struct Document {
    removed: Vec<Removed>,
}

#[derive(Serialize)]
struct Removed {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    hypervisor: Option<HypervisorName>,
    /// Whether it had a machine.
    machine: bool,
    /// Pool and name of each.
    volumes: Vec<String>,
    /// Data disks that stay.
    kept: Vec<String>,
}

impl Removed {
    fn of(Goes { member, node, removal }: &Goes) -> Self {
        let named = |(pool, volume): &(String, VolumeName)| format!("{pool}/{volume}");
        Self {
            name: node.to_string(),
            hypervisor: member.name.clone(),
            machine: removal.domain.is_some(),
            volumes: removal.volumes.iter().map(named).collect(),
            kept: removal.data.iter().map(named).collect(),
        }
    }
}

/// What goes of a node, and where it is.
struct Goes<'a> {
    member: &'a Member,
    node: NodeName,
    removal: Removal,
}

/// The cluster with its nodes. Who drains none can do without: a machine may go because its cluster has.
fn reach(session: &Session, leave: Leave) -> Result<(Option<Cluster>, Option<Nodes>), Error> {
    let Some(cluster) = session.cluster()? else { return Ok((None, None)) };
    match cluster.nodes() {
        Ok(nodes) => Ok((Some(cluster), Some(nodes))),
        Err(error) if leave.no_drain => {
            session.ui.warn(&format!("{}; Node objects stay", crate::error::chain(&error)));
            Ok((None, None))
        }
        Err(error) => Err(error.into()),
    }
}

fn is_known(session: &Session, name: &NodeName) -> bool {
    session.config.nodes.iter().any(|node| node.name == *name)
}

fn describe(Goes { member, node, removal }: &Goes) -> String {
    let machine = if removal.domain.is_some() { "its machine and " } else { "" };
    let count = removal.volumes.len();
    let names: Vec<_> = removal.data.iter().map(|(_, name)| name.to_string()).collect();
    let kept = if names.is_empty() { String::new() } else { format!("; kept: {}", names.join(", ")) };
    format!("{node}: {machine}{count} volume{}{}{kept}", if count == 1 { "" } else { "s" }, member.at())
}
