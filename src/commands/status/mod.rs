//! `nodebake status`: the machines of the cluster in a table, all that is known of single ones, or everything as programs
//! read it; once, or whenever something changes.

mod report;
mod secrets;
mod stages;

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use jiff::tz::TimeZone;

pub(super) use self::report::{Answers, Node};
use self::report::{Boot, COLUMNS, Certificate, Document, Machine, Report, WIDE};
use super::Session;
use super::fleet::{Fleet, Member, cell, insert_hypervisors};
use crate::artifacts::{Kind, Lock};
use crate::boot::{BootEvent, Decoder};
use crate::build::{self, Manifest};
use crate::cli::{Status, StatusFormat};
use crate::cluster::{Cluster, Nodes, Watch};
use crate::config::{self, ClusterId, NodeName};
use crate::error::{Error, chain};
use crate::machine::mark::LogKind;
use crate::machine::{DomainInfo, MachineError, VolumeName};
use crate::plan::{Inventory, log_pool, taken_over};

/// How often is looked for changes. libvirt would tell of a machine's, but of none in a pool or a guest's log.
const POLL: Duration = Duration::from_secs(2);

/// Shows the machines; says whether the certificate of one is near its end.
pub(super) fn run(session: &Session, args: &Status) -> Result<bool, Error> {
    session.select(&args.which)?;
    let fleet = Fleet::open(session)?;
    fleet.tell(session);
    let id = session.cluster_id()?;
    let cluster = cluster(session);
    let nodes = cluster.as_ref().and_then(|cluster| nodes(session, cluster));
    let mut look = Look { session, fleet, id: &id, args };
    let first = look.document(nodes.as_ref())?;
    if args.watch {
        look.watch(cluster.filter(|_| nodes.is_some()).map(|cluster| cluster.watch()).as_ref(), nodes.as_ref(), first)?;
        return Ok(false);
    }
    session.ui.data(&look.text(&first)?);
    for member in &look.fleet.members {
        super::taken_over::tell(session, &id, &member.hypervisor.domains()?);
    }
    tell_age(session);
    Ok(tell_ends(session, &first))
}

/// What is asked, and of whom.
struct Look<'a> {
    session: &'a Session<'a>,
    fleet: Fleet,
    id: &'a ClusterId,
    args: &'a Status,
}

impl Look<'_> {
    /// All that is known now of the nodes that are asked for.
    fn document(&self, nodes: Option<&Nodes>) -> Result<Document, Error> {
        let (mut inventories, mut hypervisors) = (Vec::new(), self.fleet.names());
        for member in &self.fleet.members {
            match (Inventory::read(&member.config, &*member.hypervisor, nodes.cloned()), &member.name) {
                (Ok(inventory), _) => inventories.push((member, inventory)),
                // It has gone since it was asked first. An upload keeps a pool, and no host.
                (Err(error), Some(name)) if !matches!(error, MachineError::Busy { .. }) => {
                    hypervisors.insert(name.to_string(), Answers { answers: false, why: Some(chain(&error)) });
                }
                (Err(error), _) => return Err(error.into()),
            }
        }
        let out = &self.args.out.dir;
        let views = inventories.iter().map(|(member, inventory)| View { look: self, member, inventory, out });
        let views: Vec<_> = views.collect();
        let asked = self.session.select(&self.args.which)?;
        let report = |node: &config::Node| match place_of(&views, &node.name) {
            Some(view) => view.report(&node.name, Some(node)),
            None => self.unknown(node, nodes),
        };
        let mut reports: Vec<_> = asked.into_iter().map(report).collect();
        if self.args.which.is_all() {
            reports.extend(views.iter().flat_map(|view| view.gone().map(|name| view.report(name, None))));
        }
        let cluster = self.id.name.to_string();
        let nodes_known = nodes.is_some();
        Ok(Document { api_version: "nodebake/v1", cluster, hypervisors, nodes_known, nodes: reports })
    }

    /// A node whose machine, if it has one, is at a hypervisor that does not answer.
    fn unknown(&self, node: &config::Node, nodes: Option<&Nodes>) -> Report {
        let Look { session, id, fleet, .. } = self;
        let member = fleet.members.iter().find(|member| member.has(&node.name));
        let seen = nodes.and_then(|nodes| nodes.get(&node.name.to_string()));
        Report {
            address: Some(node.address.to_string()),
            address6: node.address6.map(|address| address.to_string()),
            mac: Some(session.config.mac(id, node).to_string()),
            node: seen.map(Node::of),
            unknown: true,
            hypervisor: member.and_then(|member| member.name.clone()).or_else(|| node.hypervisor.clone()),
            ..Report::new(node.name.to_string(), true, id.uuid(&node.name))
        }
    }

    fn text(&self, document: &Document) -> Result<String, Error> {
        Ok(match self.args.output {
            StatusFormat::Table if self.args.which.is_all() => table(document, false),
            StatusFormat::Table => {
                let whole: Vec<_> = document.nodes.iter().map(|node| whole(node, document.nodes_known)).collect();
                whole.join("\n")
            }
            StatusFormat::Wide => table(document, true),
            // Of a stream each line is a document: JSON Lines.
            StatusFormat::Json if self.args.watch => serde_json::to_string(document).map_err(Error::Json)? + "\n",
            StatusFormat::Json => serde_json::to_string_pretty(document).map_err(Error::Json)? + "\n",
            StatusFormat::Yaml => serde_yaml::to_string(document).map_err(Error::Yaml)?,
        })
    }

    /// Shows everything again whenever something has changed, until nobody reads it any more.
    fn watch(&mut self, watch: Option<&Watch>, known: Option<&Nodes>, mut shown: Document) -> Result<(), Error> {
        let redraws = matches!(self.args.output, StatusFormat::Table | StatusFormat::Wide) && self.session.ui.redraws();
        let between = match self.args.output {
            _ if redraws => CLEAR,
            StatusFormat::Json => "",
            StatusFormat::Yaml => "---\n",
            StatusFormat::Table | StatusFormat::Wide => "\n",
        };
        let first = if redraws { CLEAR } else { "" };
        let mut read = self.session.ui.stream(&format!("{first}{}", self.text(&shown)?));
        while read {
            std::thread::sleep(POLL);
            // One that went may have come back; where none answers, what was known of it is as good.
            if shown.hypervisors.values().any(|it| !it.answers)
                && let Ok(fleet) = Fleet::open(self.session)
            {
                self.fleet = fleet;
            }
            // A watch that has only begun knows of none yet.
            let seen = watch.map(Watch::nodes).filter(|seen| !seen.is_empty()).or_else(|| known.cloned());
            match self.document(seen.as_ref()) {
                Ok(now) if now == shown => {}
                Ok(now) => {
                    read = self.session.ui.stream(&format!("{between}{}", self.text(&now)?));
                    shown = now;
                }
                // An upload keeps the pool: there will be more to tell after it.
                Err(Error::Machine(MachineError::Busy { .. })) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Where a node is to be looked for. One that is on its way may be at two: where its machine runs it is looked for, then
/// where one is; also where it has gone since the hypervisors were asked first.
fn place_of<'a, 'b>(views: &'a [View<'b>], name: &NodeName) -> Option<&'a View<'b>> {
    let own = views.iter().find(|view| view.member.has(name));
    let machine = |view: &View, runs: bool| view.domain(name).is_some_and(|it| it.state.is_active() || !runs);
    let with =
        |runs: bool| own.filter(|view| machine(view, runs)).or_else(|| views.iter().find(|view| machine(view, runs)));
    with(true).or_else(|| with(false)).or(own)
}

/// Puts the cursor of a terminal at its top left and removes what is on it (ECMA-48: CUP, ED).
const CLEAR: &str = "\x1b[H\x1b[2J";

/// What is known, and how more can be asked.
struct View<'a> {
    look: &'a Look<'a>,
    member: &'a Member,
    inventory: &'a Inventory,
    out: &'a Path,
}

impl View<'_> {
    /// Machines of this cluster whose nodes the cluster file no longer names.
    fn gone(&self) -> impl Iterator<Item = &NodeName> {
        let named = |name: &NodeName| self.look.session.config.nodes.iter().any(|node| node.name == *name);
        let marks = self.inventory.domains.iter().filter_map(DomainInfo::mark);
        marks.filter(move |mark| mark.belongs_to(self.look.id) && !named(&mark.node)).map(|mark| &mark.node)
    }

    fn domain(&self, name: &NodeName) -> Option<&DomainInfo> {
        let uuid = self.look.id.uuid(name);
        self.inventory.domains.iter().find(|domain| domain.uuid == uuid)
    }

    /// All that is known of one node, which may be none of the cluster file.
    fn report(&self, name: &NodeName, node: Option<&config::Node>) -> Report {
        let Look { session, id, .. } = self.look;
        let domain = self.domain(name);
        let manifest = Manifest::load(self.out, &name.to_string());
        let certificate = domain.and_then(|domain| certificate(domain, manifest.as_ref()));
        let seen = self.inventory.nodes.as_ref().and_then(|nodes| nodes.get(&name.to_string()));
        Report {
            hypervisor: self.member.name.clone(),
            address: node.map(|node| node.address.to_string()),
            address6: node.and_then(|node| node.address6).map(|address| address.to_string()),
            mac: node.map(|node| session.config.mac(id, node).to_string()),
            machine: domain.map(Machine::of),
            node: seen.map(Node::of),
            certificate_end: certificate.map(|certificate| certificate.not_after.clone()),
            certificate: certificate.map(|certificate| Certificate::of(certificate, session.now)),
            boot: Boot::of(&stages::newest_boot(self.told(name))),
            secrets: secrets::places(
                session,
                &self.member.config.libvirt.pool,
                id,
                name,
                self.out,
                domain,
                &self.inventory.volumes,
            ),
            differs: domain.map_or_else(Vec::new, |domain| differs(domain, manifest.as_ref())),
            taken_over: taken_over(id, &self.inventory.domains)
                .into_iter()
                .filter(|kept| kept.note.node == *name)
                .map(|kept| crate::printable::line(&kept.domain.name))
                .collect(),
            ..Report::new(name.to_string(), node.is_some(), id.uuid(name))
        }
    }

    /// What the guest told over its first-boot channel. Where that cannot be read, the rest is of use all the same.
    fn told(&self, name: &NodeName) -> Vec<BootEvent> {
        // The table of all has no place for it.
        let args = self.look.args;
        if args.which.is_all() && matches!(args.output, StatusFormat::Table | StatusFormat::Wide) {
            return Vec::new();
        }
        let log = VolumeName::log(self.look.id, name, LogKind::FirstBoot);
        let pool = log_pool(&self.member.config.libvirt.pool);
        let volumes = &self.inventory.log_volumes;
        let bytes = super::logs::tail(&*self.member.hypervisor, &pool, volumes, &log).unwrap_or_else(|error| {
            self.look.session.ui.warn(&chain(&error));
            None
        });
        Decoder::default().feed(&bytes.unwrap_or_default())
    }
}

/// A line for each machine.
fn table(document: &Document, wide: bool) -> String {
    let cells = |own: &[String], more: &[String]| [own, if wide { more } else { &[] }].concat();
    let heads = cells(&COLUMNS.map(String::from), &WIDE.map(String::from));
    let rows = document.nodes.iter().map(|node| cells(&node.row(document.nodes_known), &node.wide()));
    let mut rows: Vec<_> = std::iter::once(heads).chain(rows).collect();
    if !document.hypervisors.is_empty() {
        insert_hypervisors(&mut rows, 1, document.nodes.iter().map(|node| cell(node.hypervisor.as_ref())));
    }
    super::table(&rows)
}

/// All that is known of one node.
fn whole(node: &Report, nodes_known: bool) -> String {
    let mut text = super::table(&node.lines(nodes_known));
    if let Some(boot) = &node.boot {
        text.push('\n');
        text.push_str(&stages::table(&boot.stages));
    }
    text
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
        if days > OLD {
            session.ui.warn(&format!("{line}; `nodebake lock --update` takes the newest"));
        } else {
            session.ui.say(&line);
        }
    }
}

/// The cluster, where it can be asked; `status` is of use without it.
fn cluster(session: &Session) -> Option<Cluster> {
    session.cluster().unwrap_or_else(|error| {
        session.ui.warn(&chain(&error));
        None
    })
}

fn nodes(session: &Session, cluster: &Cluster) -> Option<Nodes> {
    let asked = cluster.nodes().map_err(Error::from);
    asked.map_err(|error| session.ui.warn(&chain(&error))).ok()
}

/// The certificate in the machine's seed. It is a part of the seed: what was built for another one tells nothing of this
/// one.
fn certificate<'a>(domain: &DomainInfo, manifest: Option<&'a Manifest>) -> Option<&'a build::Certificate> {
    let mark = domain.mark()?;
    Some(manifest.filter(|built| built.images().1 == mark.seed)?.certificate())
}

/// Says of which machines the certificates are near their ends; says whether there is any that needs another.
fn tell_ends(session: &Session, document: &Document) -> bool {
    let mut any = false;
    for (name, certificate) in document.nodes.iter().filter_map(|node| Some((&node.name, node.certificate.as_ref()?))) {
        if let Some(text) = certificate.remark(name) {
            if certificate.needs_another { session.ui.warn(&text) } else { session.ui.say(&text) }
        }
        any |= certificate.needs_another;
    }
    any
}

/// How a machine differs from what was built last, and from what we defined.
fn differs(domain: &DomainInfo, manifest: Option<&Manifest>) -> Vec<&'static str> {
    let Some(mark) = domain.mark() else { return vec!["mark not readable"] };
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
    found
}
