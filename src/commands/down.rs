//! `nodebake down`: removes what carries our mark, and nothing else.

use super::Session;
use crate::apply::{Apply, Patience};
use crate::cli::Down;
use crate::config::NodeName;
use crate::error::Error;
use crate::machine;
use crate::plan::{Inventory, Removal, removals};

pub(super) fn run(session: &Session, args: &Down) -> Result<(), Error> {
    let config = &session.config;
    let hypervisor = machine::open(&config.libvirt.uri)?;
    let id = session.cluster_id()?;
    let _held = session.hold()?;
    let inventory = Inventory::read(config, &*hypervisor, None)?;
    let mut there = removals(&id, config, &inventory);
    if let Some(name) = args.nodes.iter().find(|name| !is_known(session, name) && !there.contains_key(*name)) {
        return Err(session.unknown(name));
    }
    there.retain(|node, removal| !removal.is_empty() && (args.nodes.is_empty() || args.nodes.contains(node)));
    if there.is_empty() {
        session.ui.say("nothing of this cluster is there");
        return Ok(());
    }
    for (node, removal) in &there {
        session.ui.say(&describe(node, removal));
    }
    session.consent(args.consent, "Remove them?")?;
    let apply = Apply {
        hypervisor: &*hypervisor,
        id: &id,
        watch: None,
        cluster: None,
        patience: Patience::of_silence(std::time::Duration::ZERO),
        force: false,
        progress: session.ui,
    };
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
    format!("{node}: {machine}{count} volume{}", if count == 1 { "" } else { "s" })
}
