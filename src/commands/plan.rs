//! `nodebake plan`: what `up` and others would do. Nothing is written, downloaded or issued.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::Session;
use crate::build::{Build, BuildError};
use crate::cli::{Format, Plan};
use crate::cluster::{Binding, Cluster};
use crate::config::{Arch, Node};
use crate::error::Error;
use crate::machine::{self, Firmware, Hypervisor, Parts};
use crate::plan::{self, Action, Built, ImageFile, Images, Inventory, Request, Row, removals};

/// A plan as programs read it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    api_version: &'static str,
    cluster: String,
    plan: &'a [Row],
}

/// Shows the plan; says whether anything is to do.
pub(super) fn run(session: &Session, args: &Plan) -> Result<bool, Error> {
    let config = &session.config;
    let nodes = session.select(&args.which)?;
    let hypervisor = machine::open(&config.libvirt.uri)?;
    let cluster = session.cluster()?;
    let known = cluster.as_ref().map(Cluster::nodes).transpose()?;
    let inputs = session.inputs()?;
    let build = session.build(&inputs, &args.out.dir);
    let id = build.cluster_id();
    let built = foreseen(&build, &*hypervisor, &nodes)?;
    let inventory = Inventory::read(config, &*hypervisor, known)?;
    let now = session.now.as_second();
    let plan = plan::up(Request { config, id: &id, built: &built, inventory: &inventory, now })?;
    let mut gone = removals(&id, config, &inventory);
    gone.retain(|name, _| args.which.is_all() && !config.nodes.iter().any(|node| node.name == *name));
    let mut rows = plan::rows(&plan, &gone);
    rows.extend(cluster.as_ref().and_then(|cluster| binding(session, cluster)));
    let kept = plan::taken_over(&id, &inventory.domains);
    rows.extend(plan::kept_rows(&kept));
    let document = Document { api_version: "nodebake/v1", cluster: id.name.to_string(), plan: &rows };
    session.show(args.output, &document, || table(&rows))?;
    let busy = rows.iter().any(|row| !matches!(row.action, Action::Nothing | Action::Keep));
    if !busy && args.output == Format::Table {
        session.ui.say("nothing is to do");
    }
    Ok(busy)
}

/// What `up` does to let the apiserver in at the kubelets, where the cluster file asks for it.
fn binding(session: &Session, cluster: &Cluster) -> Option<Row> {
    let binding = Binding::of(&session.config.cluster)?;
    match cluster.binds(&binding) {
        Ok(binds) => Some(plan::binding(&binding, &binds)),
        Err(error) => {
            let name = Binding::name();
            session.ui.say(&format!("warning: ClusterRoleBinding {name} could not be looked at: {}", error.said()));
            None
        }
    }
}

/// What the nodes would be made from; what is not built has a stand-in, which the plan knows.
fn foreseen(build: &Build, hypervisor: &dyn Hypervisor, nodes: &[&Node]) -> Result<Vec<Built>, Error> {
    let architectures: BTreeSet<_> = nodes.iter().map(|node| node.arch).collect();
    let known = |arch: Arch| Ok((arch, (hypervisor.capabilities(arch)?, build.foresee_images(arch)?)));
    let known = architectures.into_iter().map(known).collect::<Result<BTreeMap<_, _>, Error>>()?;
    let built = |node: &&Node| {
        let (capabilities, images) = known.get(&node.arch)?;
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
    super::table(&std::iter::once(head).chain(cells).collect::<Vec<_>>())
}
