//! `nodebake down` and `nodebake remove`: removes what carries our mark, and nothing else.

use super::Session;
use crate::apply::Apply;
use crate::cli::{Consent, Down, Remove, Which};
use crate::config::NodeName;
use crate::error::Error;
use crate::machine;
use crate::plan::{Inventory, Removal, removals};

pub(super) fn run(session: &Session, args: &Down) -> Result<(), Error> {
    let all = args.which.is_all();
    remove_those(session, &args.which, args.with_data, args.consent, |_| all)
}

pub(super) fn remove(session: &Session, args: &Remove) -> Result<(), Error> {
    remove_those(session, &args.which, args.with_data, args.consent, |name| args.gone && !is_known(session, name))
}

/// Removes the nodes that are named, and whatever of this cluster `also` names.
fn remove_those(
    session: &Session,
    which: &Which,
    with_data: bool,
    consent: Consent,
    also: impl Fn(&NodeName) -> bool,
) -> Result<(), Error> {
    let config = &session.config;
    let hypervisor = machine::open(&config.libvirt.uri)?;
    let id = session.cluster_id()?;
    let _held = session.hold()?;
    let inventory = Inventory::read(config, &*hypervisor, None)?;
    let mut there = removals(&id, config, &inventory);
    let gone = |name: &&NodeName| !is_known(session, name) && !there.contains_key(*name);
    if let Some(name) = which.nodes.iter().find(gone) {
        return Err(session.unknown(name));
    }
    let groups = Which { nodes: Vec::new(), groups: which.groups.clone() };
    let of_groups = if groups.is_all() { Vec::new() } else { session.select(&groups)? };
    let named = |node: &NodeName| which.nodes.contains(node) || of_groups.iter().any(|of| of.name == *node);
    if with_data {
        there = there.into_iter().map(|(node, removal)| (node, removal.with_data())).collect();
    }
    there.retain(|node, removal| !removal.is_empty() && (named(node) || also(node)));
    if there.is_empty() {
        session.ui.say("nothing of this cluster is there");
        return Ok(());
    }
    for (node, removal) in &there {
        session.ui.say(&describe(node, removal));
    }
    session.consent(consent, "Remove them?")?;
    let apply = Apply::new(&*hypervisor, &id, session.ui);
    for (node, removal) in &there {
        apply.remove(node, removal)?;
        session.ui.data(&format!("{node} removed\n"));
    }
    Ok(())
}

fn is_known(session: &Session, name: &NodeName) -> bool {
    session.config.nodes.iter().any(|node| node.name == *name)
}

fn describe(node: &NodeName, removal: &Removal) -> String {
    let machine = if removal.domain.is_some() { "its machine and " } else { "" };
    let count = removal.volumes.len();
    let names: Vec<_> = removal.data.iter().map(|(_, name)| name.to_string()).collect();
    let kept = if names.is_empty() { String::new() } else { format!("; kept: {}", names.join(", ")) };
    format!("{node}: {machine}{count} volume{}{kept}", if count == 1 { "" } else { "s" })
}
