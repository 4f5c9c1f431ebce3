//! `nodebake remove NODE --taken-over`: removes what is kept of machines made by hand.

use super::Session;
use crate::apply::Apply;
use crate::cli::{Remove, Which};
use crate::config::{ClusterId, NodeName};
use crate::error::Error;
use crate::machine::{self, DomainInfo, NoteState};
use crate::plan::{KeptRemoval, kept_removals, taken_over};

pub(super) fn remove(session: &Session, args: &Remove) -> Result<(), Error> {
    let hypervisor = machine::open(&session.config.libvirt.uri)?;
    let id = session.cluster_id()?;
    let _held = session.hold()?;
    let domains = hypervisor.domains()?;
    let nodes = asked(session, &args.which, &id, &domains)?;
    let kept = taken_over(&id, &domains);
    if !kept.iter().any(|kept| nodes.contains(&kept.note.node)) {
        session.ui.say("nothing is kept of machines that were taken over");
        return Ok(());
    }
    let removals = kept_removals(&id, &nodes, &domains, &hypervisor.all_volumes()?)?;
    for removal in &removals {
        session.ui.say(&describe(removal));
    }
    session.consent(args.consent, "Remove them?")?;
    let apply = Apply::new(&*hypervisor, &id, session.ui);
    for removal in &removals {
        apply.remove_kept(removal)?;
        session.ui.data(&format!("{} removed\n", removal.name));
    }
    Ok(())
}

/// The nodes that are named, by themselves or by their groups; also one that the cluster file no longer names.
fn asked(session: &Session, which: &Which, id: &ClusterId, domains: &[DomainInfo]) -> Result<Vec<NodeName>, Error> {
    let kept = taken_over(id, domains);
    let mut nodes = which.nodes.clone();
    let is_known = |name: &NodeName| {
        session.config.nodes.iter().any(|node| node.name == *name) || kept.iter().any(|kept| kept.note.node == *name)
    };
    if let Some(name) = nodes.iter().find(|name| !is_known(name)) {
        return Err(session.unknown(name));
    }
    if !which.groups.is_empty() {
        let groups = Which { nodes: Vec::new(), groups: which.groups.clone() };
        nodes.extend(session.select(&groups)?.into_iter().map(|node| node.name.clone()));
    }
    Ok(nodes)
}

fn describe(removal: &KeptRemoval) -> String {
    let count = removal.volumes.len();
    let head = format!(
        "{}: the machine before {} was taken over, and {count} volume{}",
        removal.name,
        removal.node,
        if count == 1 { "" } else { "s" }
    );
    let goes =
        removal.volumes.iter().map(|(pool, volume)| format!("\n  goes: {pool}/{} ({})", volume.name, volume.path));
    let stays = removal.left.iter().map(|(source, why)| format!("\n  stays: {source} ({why})"));
    crate::printable::text(&(head + &goes.chain(stays).collect::<String>()))
}

/// What is kept, and what to do about it; and what is not at its end.
pub(super) fn tell(session: &Session, id: &ClusterId, domains: &[DomainInfo]) {
    for kept in taken_over(id, domains) {
        let (name, node) = (&kept.domain.name, &kept.note.node);
        session.ui.say(&crate::printable::line(&match kept.note.state {
            NoteState::Kept => format!("{name} is kept; `nodebake remove {node} --taken-over` removes it"),
            NoteState::Begun => format!(
                "the take-over of {node} from domain {name} is not at its end; `nodebake rebuild {node} --take-over` brings \
                 it there, or that machine back"
            ),
        }));
    }
}
