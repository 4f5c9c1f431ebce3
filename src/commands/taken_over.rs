//! `nodebake remove NODE --taken-over`: removes what is kept of machines made by hand.

use serde::Serialize;

use super::Session;
use super::fleet::Fleet;
use crate::apply::{Apply, ApplyError};
use crate::cli::{Format, Remove, Which};
use crate::config::{ClusterId, NodeName};
use crate::error::Error;
use crate::interrupt::{self, Orderly};
use crate::machine::{DomainInfo, NoteState};
use crate::plan::{KeptRemoval, kept_removals, taken_over};

pub(super) fn remove(session: &Session, args: &Remove) -> Result<(), Error> {
    let _held = session.hold()?;
    let format = args.report.output;
    let fleet = Fleet::open(session)?;
    fleet.tell(session);
    let id = session.cluster_id()?;
    let there = fleet.members.iter().map(|member| Ok((member, member.hypervisor.domains()?)));
    let there = there.collect::<Result<Vec<_>, Error>>()?;
    let all: Vec<_> = there.iter().flat_map(|(_, domains)| domains).cloned().collect();
    let nodes = asked(session, &args.which, &id, &all)?;
    if !taken_over(&id, &all).iter().any(|kept| nodes.contains(&kept.note.node)) {
        session.ui.say("nothing is kept of machines that were taken over");
        return session.show(format, &Document::default(), String::new);
    }
    let mut removals = Vec::new();
    for (member, domains) in &there {
        let found = kept_removals(&id, &nodes, domains, &member.hypervisor.all_volumes()?)?;
        removals.extend(found.into_iter().map(|removal| (member, removal)));
    }
    for (_, removal) in &removals {
        session.lay_out(args.consent, &describe(removal));
    }
    session.consent(args.consent, "Remove them?")?;
    let _orderly = Orderly::begin();
    let mut document = Document::default();
    let done = removals.iter().try_for_each(|(member, removal)| {
        if interrupt::signal().is_some() {
            return Err(ApplyError::Interrupted { node: None }.into());
        }
        Apply::new(&*member.hypervisor, &id, session.ui).remove_kept(removal)?;
        if format == Format::Table {
            session.ui.data(&format!("{} removed\n", removal.name));
        }
        document.removed.push(Removed::of(removal));
        Ok::<(), Error>(())
    });
    // Also where not all came to go.
    session.show(format, &document, String::new)?;
    done
}

/// What went, as programs read it.
#[derive(Default, Serialize)]
struct Document {
    removed: Vec<Removed>,
}

#[derive(Serialize)]
struct Removed {
    /// The domain.
    name: String,
    /// The node that took its place.
    node: String,
    /// Pool and name of each that went with it.
    volumes: Vec<String>,
    /// What it had in its drives and stays.
    kept: Vec<String>,
}

impl Removed {
    fn of(removal: &KeptRemoval) -> Self {
        Self {
            name: removal.name.clone(),
            node: removal.node.to_string(),
            volumes: removal.volumes.iter().map(|(pool, volume)| format!("{pool}/{}", volume.name)).collect(),
            kept: removal.left.iter().map(|(source, _)| source.to_string()).collect(),
        }
    }
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
