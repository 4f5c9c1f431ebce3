//! `nodebake plan`: what `up` and others would do. Nothing is written, downloaded or issued.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::Session;
use super::capacity::{self, Standing};
use super::fleet::{Fleet, cell, insert_hypervisors};
use crate::build::{Build, BuildError};
use crate::cli::{Format, Plan};
use crate::cluster::{Binding, Cluster};
use crate::config::{Arch, HypervisorName, Node};
use crate::error::Error;
use crate::image::Payload;
use crate::machine::{Firmware, Hypervisor, Parts};
use crate::plan::{self, Action, Built, ImageFile, Images, Request, Row, removals};

/// A plan as programs read it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    plan: &'a [Row],
    /// The hypervisors of the cluster file, where there are several.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    hypervisors: &'a BTreeMap<String, Standing>,
}

/// Shows the plan; says whether anything is to do.
pub(super) fn run(session: &Session, args: &Plan) -> Result<bool, Error> {
    let config = &session.config;
    let nodes = session.select(&args.which)?;
    let fleet = Fleet::open(session)?;
    fleet.tell(session);
    fleet.check_networks(session)?;
    let cluster = session.cluster()?;
    let known = cluster.as_ref().map(Cluster::nodes).transpose()?;
    let inputs = session.inputs()?;
    let build = session.build(&inputs, &args.out.dir);
    let id = build.cluster_id();
    let foreseen = foresee(&build, &nodes)?;
    let (mut rows, mut kept) = (Vec::new(), Vec::new());
    for member in &fleet.members {
        let nodes = member.of(&nodes);
        if nodes.is_empty() && !args.which.is_all() {
            continue;
        }
        let built = built(&build, &*member.hypervisor, &foreseen, &nodes)?;
        let inventory = fleet.inventory(&id, member, known.clone())?;
        let now = session.now.as_second();
        let request = Request { config: &member.config, id: &id, built: &built, inventory: &inventory, now };
        let mut gone = removals(&id, &member.config, &inventory);
        gone.retain(|name, _| args.which.is_all() && !config.nodes.iter().any(|node| node.name == *name));
        rows.extend(named(plan::rows(&plan::up(request)?, &gone), member.name.as_ref()));
        let taken_over = plan::taken_over(&id, &inventory.domains);
        kept.extend(named(plan::kept_rows(&taken_over), member.name.as_ref()));
    }
    rows.extend(unknown(&fleet, &nodes));
    rows.extend(cluster.as_ref().and_then(|cluster| binding(session, cluster)));
    rows.extend(kept);
    let hypervisors = capacity::standings(&fleet, &id)?;
    let document = Document { plan: &rows, hypervisors: &hypervisors };
    session.show(args.report.output, &document, || [table(&rows), capacity::table(&hypervisors)].concat())?;
    let busy = rows.iter().any(|row| !matches!(row.action, Action::Nothing | Action::Keep));
    fleet.end(&nodes)?;
    if !busy && args.report.output == Format::Table {
        session.ui.say("nothing is to do");
    }
    Ok(busy)
}

/// Rows of what is at a hypervisor.
pub(super) fn named(rows: Vec<Row>, hypervisor: Option<&HypervisorName>) -> Vec<Row> {
    rows.into_iter().map(|row| Row { hypervisor: hypervisor.cloned(), ..row }).collect()
}

/// Rows of nodes whose hypervisors do not answer, or that have none.
fn unknown(fleet: &Fleet, nodes: &[&Node]) -> Vec<Row> {
    let away: Vec<_> = fleet.away.iter().map(|away| away.name.to_string()).collect();
    let row = |node: &&Node| {
        if fleet.crowded.contains(&node.name) {
            return Some(plan::unknown(&node.name, "no hypervisor is left for its group".to_owned()));
        }
        let silent = || plan::unknown(&node.name, format!("{} cannot be asked", away.join(" and ")));
        fleet.unknown.contains(&node.name).then(silent)
    };
    nodes.iter().filter_map(row).collect()
}

/// What `up` does to let the apiserver in at the kubelets, where the cluster file asks for it.
fn binding(session: &Session, cluster: &Cluster) -> Option<Row> {
    let binding = Binding::of(&session.config.cluster)?;
    match cluster.binds(&binding) {
        Ok(binds) => Some(plan::binding(&binding, &binds)),
        Err(error) => {
            let name = Binding::name();
            session.ui.warn(&format!("ClusterRoleBinding {name} could not be looked at: {}", error.said()));
            None
        }
    }
}

/// What nodes of an architecture would be made from, as far as it is built.
type Foreseen = BTreeMap<Arch, Option<(Payload, Images)>>;

fn foresee(build: &Build, nodes: &[&Node]) -> Result<Foreseen, BuildError> {
    let architectures: BTreeSet<_> = nodes.iter().map(|node| node.arch).collect();
    architectures.into_iter().map(|arch| Ok((arch, build.foresee_images(arch)?))).collect()
}

/// What the nodes of a hypervisor would be made from; what is not built has a stand-in, which the plan knows.
fn built(
    build: &Build,
    hypervisor: &dyn Hypervisor,
    foreseen: &Foreseen,
    nodes: &[&Node],
) -> Result<Vec<Built>, Error> {
    let able = super::up::capabilities(hypervisor, nodes)?;
    let built = |node: &&Node| {
        let (capabilities, images) = (able.get(&node.arch)?, foreseen.get(&node.arch)?);
        let seed = images.as_ref().map(|(payload, _)| build.foresee_seed(node, payload)).transpose();
        let unknown = || (ImageFile::unbuilt(), Parts::default());
        Some(seed.map(|seed| seed.flatten().unwrap_or_else(unknown)).map(|(seed, parts)| Built {
            node: node.name.clone(),
            seed,
            parts,
            images: images.as_ref().map_or_else(unbuilt, |(_, images)| images.clone()),
            capabilities: capabilities.clone(),
        }))
    };
    Ok(nodes.iter().filter_map(built).collect::<Result<Vec<_>, BuildError>>()?)
}

fn unbuilt() -> Images {
    Images { payload: ImageFile::unbuilt(), payload_drive: true, base: ImageFile::unbuilt(), firmware: Firmware::Bios }
}

pub(super) fn table(rows: &[Row]) -> String {
    let head = ["KIND", "NAME", "ACTION", "COMMAND", "REASON"].map(String::from).to_vec();
    let cells = rows.iter().map(|row| {
        let command = row.command.clone().unwrap_or_else(|| "-".to_owned());
        let reasons = if row.reasons.is_empty() { "-".to_owned() } else { row.reasons.join(", ") };
        vec![row.kind.to_string(), row.name.clone(), row.action.to_string(), command, reasons]
    });
    let mut cells: Vec<_> = std::iter::once(head).chain(cells).collect();
    if rows.iter().any(|row| row.hypervisor.is_some()) {
        insert_hypervisors(&mut cells, 2, rows.iter().map(|row| cell(row.hypervisor.as_ref())));
    }
    super::table(&cells)
}
