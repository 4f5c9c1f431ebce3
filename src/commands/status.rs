//! `nodebake status`: the machines of the cluster.

use std::collections::BTreeSet;

use jiff::tz::TimeZone;

use super::Session;
use crate::artifacts::{Kind, Lock};
use crate::build::Manifest;
use crate::cli::Status;
use crate::cluster::Nodes;
use crate::config::NodeName;
use crate::error::{Error, chain};
use crate::machine::{self, DomainInfo, DomainState};
use crate::plan::Inventory;

pub(super) fn run(session: &Session, args: &Status) -> Result<(), Error> {
    let config = &session.config;
    let hypervisor = machine::open(&config.libvirt.uri)?;
    let id = session.cluster_id()?;
    let inventory = Inventory::read(config, &*hypervisor, nodes(session))?;
    let mut rows = vec![["NAME", "MACHINE", "STATE", "CLUSTER", "ADDRESS", "DIFFERS"].map(String::from).to_vec()];
    for node in &config.nodes {
        let uuid = id.uuid(&node.name);
        let domain = inventory.domains.iter().find(|domain| domain.uuid == uuid);
        let manifest = Manifest::load(&args.out.dir, &node.name.to_string());
        rows.push(row(&node.name, domain, &inventory, &node.address.to_string(), manifest.as_ref()));
    }
    let named = |name: &NodeName| config.nodes.iter().any(|node| node.name == *name);
    for domain in &inventory.domains {
        if let Some(mark) = domain.mark().filter(|mark| mark.belongs_to(&id) && !named(&mark.node)) {
            let mut row = row(&mark.node, Some(domain), &inventory, "-", None);
            if let Some(last) = row.last_mut() {
                "not in the cluster file".clone_into(last);
            }
            rows.push(row);
        }
    }
    session.ui.data(&super::table(&rows));
    tell_age(session);
    Ok(())
}

/// Days after which a base image lacks so many mended faults that it is worth a warning.
const OLD: i32 = 90;

/// How old the base images are, where upstream dates them. Without a lock there is nothing to tell.
fn tell_age(session: &Session) {
    let Ok(lock) = Lock::load(&session.lock_path()) else { return };
    let today = session.now.to_zoned(TimeZone::UTC).date();
    let images = lock.entries().iter().filter(|entry| entry.kind == Kind::BaseImage);
    // Architectures of one release share a line.
    let dated: BTreeSet<_> = images.filter_map(|entry| Some((&entry.version, entry.released?))).collect();
    for (name, date) in dated {
        // A clock that is behind makes no image younger than new.
        let days = (today - date).get_days().max(0);
        let line = format!("base image {name} of {date} is {days} days old");
        session.ui.say(&if days > OLD {
            format!("warning: {line}; `nodebake lock --update` takes the newest")
        } else {
            line
        });
    }
}

/// The cluster is asked where it can be; `status` is of use without it.
fn nodes(session: &Session) -> Option<Nodes> {
    let asked = session.cluster().and_then(|cluster| cluster.map(|c| c.nodes().map_err(Error::from)).transpose());
    asked.unwrap_or_else(|error| {
        session.ui.say(&format!("warning: {}", chain(&error)));
        None
    })
}

fn row(
    name: &NodeName,
    domain: Option<&DomainInfo>,
    inventory: &Inventory,
    address: &str,
    manifest: Option<&Manifest>,
) -> Vec<String> {
    let node = inventory.nodes.as_ref().and_then(|nodes| nodes.get(&name.to_string()));
    let cluster = match (&inventory.nodes, node) {
        (None, _) => "?",
        (_, None) => "-",
        (_, Some(node)) if node.ready => "Ready",
        _ => "NotReady",
    };
    let mark = domain.and_then(DomainInfo::mark);
    let state = mark.map_or_else(
        || "-".to_owned(),
        |mark| match &mark.stage {
            Some(stage) => format!("{} ({stage})", mark.state),
            None => mark.state.to_string(),
        },
    );
    vec![
        name.to_string(),
        domain.map_or("-", |domain| machine_state(domain.state)).to_owned(),
        state,
        cluster.to_owned(),
        address.to_owned(),
        domain.map_or_else(|| "-".to_owned(), |domain| differs(domain, manifest)),
    ]
}

fn machine_state(state: DomainState) -> &'static str {
    match state {
        DomainState::Running => "running",
        DomainState::Paused => "paused",
        DomainState::ShuttingDown => "shutting down",
        DomainState::ShutOff => "shut off",
        DomainState::Crashed => "crashed",
        DomainState::Unknown => "unknown",
    }
}

/// How a machine differs from what was built last, and from what we defined.
fn differs(domain: &DomainInfo, manifest: Option<&Manifest>) -> String {
    let Some(mark) = domain.mark() else { return "mark not readable".to_owned() };
    let mut found = Vec::new();
    if let Some((payload, seed)) = manifest.map(Manifest::images) {
        if mark.payload != payload {
            found.push("payload");
        }
        if mark.seed != seed {
            found.push("seed");
        }
    }
    if mark.stored.is_some_and(|stored| stored != domain.stored_digest()) {
        found.push("changed by hand");
    }
    if found.is_empty() { "-".to_owned() } else { found.join(", ") }
}
