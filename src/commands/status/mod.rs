//! `nodebake status`: the machines of the cluster in a table, or all that is known of single ones.

mod secrets;
mod stages;

use std::collections::BTreeSet;
use std::path::Path;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::Session;
use crate::artifacts::{Kind, Lock};
use crate::boot::{BootEvent, Decoder};
use crate::build::Manifest;
use crate::cli::Status;
use crate::cluster::Nodes;
use crate::config::{ClusterId, Node, NodeName};
use crate::error::{Error, chain};
use crate::machine::mark::LogKind;
use crate::machine::{self, DomainInfo, DomainState, Hypervisor, VolumeName};
use crate::plan::{Inventory, log_pool};

pub(super) fn run(session: &Session, args: &Status) -> Result<(), Error> {
    let config = &session.config;
    let asked = session.nodes(&args.nodes)?;
    let hypervisor = machine::open(&config.libvirt.uri)?;
    let id = session.cluster_id()?;
    let inventory = Inventory::read(config, &*hypervisor, nodes(session))?;
    let view = View { session, hypervisor: &*hypervisor, id: &id, inventory: &inventory, out: &args.out.dir };
    if args.nodes.is_empty() {
        session.ui.data(&view.table());
    } else {
        let whole: Vec<_> = asked.iter().map(|node| view.node(node)).collect();
        session.ui.data(&whole.join("\n"));
    }
    tell_age(session);
    Ok(())
}

/// What is known, and how more can be asked.
struct View<'a> {
    session: &'a Session<'a>,
    hypervisor: &'a dyn Hypervisor,
    id: &'a ClusterId,
    inventory: &'a Inventory,
    out: &'a Path,
}

/// Heads of the table's columns, and of the lines of a single node.
const COLUMNS: [&str; 7] = ["NAME", "MACHINE", "STATE", "CLUSTER", "ADDRESS", "SECRETS", "DIFFERS"];

impl View<'_> {
    /// A line for each machine.
    fn table(&self) -> String {
        let config = &self.session.config;
        let mut rows = vec![COLUMNS.map(String::from).to_vec()];
        rows.extend(config.nodes.iter().map(|node| self.row(&node.name, &node.address.to_string()).to_vec()));
        let named = |name: &NodeName| config.nodes.iter().any(|node| node.name == *name);
        for domain in &self.inventory.domains {
            if let Some(mark) = domain.mark().filter(|mark| mark.belongs_to(self.id) && !named(&mark.node)) {
                let mut row = self.row(&mark.node, "-");
                "not in the cluster file".clone_into(&mut row[6]);
                rows.push(row.to_vec());
            }
        }
        crate::commands::table(&rows)
    }

    fn domain(&self, name: &NodeName) -> Option<&DomainInfo> {
        let uuid = self.id.uuid(name);
        self.inventory.domains.iter().find(|domain| domain.uuid == uuid)
    }

    fn secrets(&self, name: &NodeName) -> Vec<secrets::Place> {
        secrets::places(self.session, self.id, name, self.out, self.domain(name), &self.inventory.volumes)
    }

    fn row(&self, name: &NodeName, address: &str) -> [String; 7] {
        let domain = self.domain(name);
        let node = self.inventory.nodes.as_ref().and_then(|nodes| nodes.get(&name.to_string()));
        let cluster = match (&self.inventory.nodes, node) {
            (None, _) => "?",
            (_, None) => "-",
            (_, Some(node)) if node.ready => "Ready",
            _ => "NotReady",
        };
        let state = domain.and_then(DomainInfo::mark).map_or_else(
            || "-".to_owned(),
            |mark| match &mark.stage {
                Some(stage) => format!("{} ({stage})", mark.state),
                None => mark.state.to_string(),
            },
        );
        let manifest = Manifest::load(self.out, &name.to_string());
        [
            name.to_string(),
            domain.map_or("-", |domain| machine_state(domain.state)).to_owned(),
            state,
            cluster.to_owned(),
            address.to_owned(),
            secrets::column(&self.secrets(name)),
            domain.map_or_else(|| "-".to_owned(), |domain| differs(domain, manifest.as_ref())),
        ]
    }

    /// All that is known of one node.
    fn node(&self, node: &Node) -> String {
        let name = &node.name;
        let row = self.row(name, &node.address.to_string());
        let mut lines: Vec<(String, String)> =
            COLUMNS.iter().zip(row).map(|(head, cell)| (head.to_lowercase(), cell)).collect();
        let at = lines.iter().position(|(head, _)| head == "secrets").unwrap_or(lines.len());
        let places = self.secrets(name);
        // Each place on a line of its own, under one head.
        let heads = std::iter::once("secrets").chain(std::iter::repeat(""));
        let places = heads.zip(&places).map(|(head, place)| (head.to_owned(), place.what.clone()));
        lines.splice(at..=at, places.collect::<Vec<_>>());
        lines.extend(self.made_from(name));
        let boot = stages::newest_boot(self.reports(name));
        if let Some(last) = boot.last() {
            let began = Timestamp::from_second(last.booted).map_or_else(|_| "?".to_owned(), |time| time.to_string());
            lines.push(("boot".to_owned(), format!("{}, began {began} by the guest's clock", last.boot_id)));
        }
        let rows: Vec<_> = lines.into_iter().map(|(head, value)| vec![head, value]).collect();
        let mut text = crate::commands::table(&rows);
        if !boot.is_empty() {
            text.push('\n');
            text.push_str(&stages::table(&boot));
        }
        text
    }

    /// The images that the machine was made from, and the end of its certificate where that is known.
    fn made_from(&self, name: &NodeName) -> Vec<(String, String)> {
        let Some(mark) = self.domain(name).and_then(DomainInfo::mark) else { return Vec::new() };
        let mut lines = vec![
            ("payload".to_owned(), format!("sha256:{}", mark.payload)),
            ("seed".to_owned(), format!("sha256:{}", mark.seed)),
            ("base image".to_owned(), format!("sha256:{}", mark.base)),
        ];
        // The certificate is a part of the seed: what was built for another one tells nothing of this one.
        let manifest = Manifest::load(self.out, &name.to_string()).filter(|built| built.images().1 == mark.seed);
        lines.extend(manifest.map(|built| ("certificate".to_owned(), format!("ends {}", built.certificate_end()))));
        lines
    }

    /// What the guest told over its first-boot channel. Where that cannot be read, the rest is of use all the same.
    fn reports(&self, name: &NodeName) -> Vec<BootEvent> {
        let log = VolumeName::log(self.id, name, LogKind::FirstBoot);
        let (pool, volumes) = (log_pool(&self.session.config.libvirt.pool), &self.inventory.log_volumes);
        let bytes = super::logs::tail(self.hypervisor, &pool, volumes, &log).unwrap_or_else(|error| {
            self.session.ui.say(&format!("warning: {}", chain(&error)));
            None
        });
        Decoder::default().feed(&bytes.unwrap_or_default())
    }
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
