//! `nodebake build`: images, without touching a machine.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Serialize;

use super::Session;
use crate::build::{Build, BuildError, NodeOutput};
use crate::cli;
use crate::config::{Arch, Node};
use crate::digest::Digest;
use crate::error::Error;
use crate::identity::{NodeIdentity, Origin};
use crate::image::Payload;
use crate::parallel;
use crate::render::PayloadPlace;

/// What was built.
pub(super) struct Outputs {
    /// One for each architecture of the nodes, and whether it was made now.
    pub(super) payloads: BTreeMap<Arch, (Payload, bool)>,
    /// The nodes, in the order asked for.
    pub(super) nodes: Vec<NodeOutput>,
}

pub(super) fn run(session: &Session, args: &cli::Build) -> Result<(), Error> {
    let nodes = session.nodes(&args.nodes)?;
    let inputs = session.inputs()?;
    let build = session.build(&inputs, &args.out.dir);
    let outputs = all(session, &build, &nodes, args.self_contained)?;
    let document = Document::of(session, &build, &outputs);
    session.show(args.report.output, &document, || document.table())?;
    outputs.nodes.iter().for_each(|output| tell_end(session, output));
    if args.self_contained {
        let id = build.cluster_id();
        for node in nodes {
            let mac = session.config.mac(&id, node);
            session.ui.say_of(&node.name, &format!("its network card must have the address {mac}"));
        }
    }
    Ok(())
}

/// What was built, as programs read it.
#[derive(Serialize)]
struct Document {
    payloads: Vec<Baked>,
    nodes: Vec<Seeded>,
}

#[derive(Serialize)]
struct Baked {
    arch: Arch,
    image: String,
    digest: String,
    size: u64,
    /// Whether it was made now.
    made: bool,
}

#[derive(Serialize)]
struct Seeded {
    name: String,
    /// What its network card must have.
    mac: Option<String>,
    #[serde(flatten)]
    baked: Baked,
}

impl Document {
    fn of(session: &Session, build: &Build, outputs: &Outputs) -> Self {
        let image = |arch, path: &Path, digest: &Digest, size, made| Baked {
            arch,
            image: path.display().to_string(),
            digest: format!("sha256:{digest}"),
            size,
            made,
        };
        let payloads = outputs.payloads.iter();
        let payloads = payloads.map(|(arch, (it, made))| image(*arch, &it.path, &it.digest, it.size, *made)).collect();
        let id = build.cluster_id();
        let mac = |output: &NodeOutput| {
            let node = session.config.nodes.iter().find(|node| node.name == output.node)?;
            Some(session.config.mac(&id, node).to_string())
        };
        let nodes = outputs.nodes.iter().map(|it| Seeded {
            name: it.node.to_string(),
            mac: mac(it),
            baked: image(it.arch, &it.seed.path, &it.seed.digest, it.seed.size, it.changed),
        });
        Self { payloads, nodes: nodes.collect() }
    }

    fn table(&self) -> String {
        let row = |name: &str, image: &Baked| {
            let made = if image.made { "made" } else { "unchanged" };
            vec![name.to_owned(), image.image.clone(), image.digest.clone(), made.to_owned()]
        };
        let nodes = self.nodes.iter().map(|node| row(&node.name, &node.baked));
        super::table(&self.payloads.iter().map(|image| row("payload", image)).chain(nodes).collect::<Vec<_>>())
    }
}

/// Payloads and seeds of the nodes; says what was done for their identities.
pub(super) fn all(session: &Session, build: &Build, nodes: &[&Node], self_contained: bool) -> Result<Outputs, Error> {
    build.sweep();
    let architectures: BTreeSet<Arch> = nodes.iter().map(|node| node.arch).collect();
    let payloads = architectures.into_iter().map(|arch| Ok((arch, build.payload(arch)?)));
    let payloads = payloads.collect::<Result<BTreeMap<_, _>, BuildError>>()?;
    let with_payload = nodes.iter().filter_map(|node| {
        let (payload, _) = payloads.get(&node.arch)?;
        let place = if self_contained { PayloadPlace::Seed } else { build.place(node.arch, payload) };
        Some((*node, payload, place))
    });
    let nodes: Vec<_> = with_payload.collect();
    let mut outputs = Vec::new();
    // What is rendered ahead writes nothing: nodes are written in their order, and none behind one that fails.
    let prepare = |(node, payload, place): &(&Node, &Payload, PayloadPlace)| build.prepare(node, payload, *place);
    parallel::ahead(&nodes, prepare, |(node, payload, place), prepared| {
        let output = match prepared {
            Ok(Some(prepared)) => build.finish(node, payload, prepared)?,
            // What fails now may be mended by an identity that is issued anew.
            _ => build.node(node, payload, *place)?,
        };
        tell(session, node, &output);
        outputs.push(output);
        Ok::<(), BuildError>(())
    })?;
    Ok(Outputs { payloads, nodes: outputs })
}

/// Says what was done for the identity of a node.
fn tell(session: &Session, node: &Node, output: &NodeOutput) {
    for warning in &output.identity.warnings {
        session.ui.warn_of(&node.name, &format!("{}: {warning}", node.name));
    }
    tell_identity(session, node, &output.identity);
}

/// Says so of an image whose certificate is over: only a machine that stands, whose kubelet rotates it, can do with that.
fn tell_end(session: &Session, output: &NodeOutput) {
    let (node, validity) = (&output.node, output.identity.facts.validity);
    if validity.is_over(session.now) {
        let text = format!(
            "{node}: its certificate expired at {}, which is no fault as long as its kubelet rotates it; for another \
             machine: `nodebake identity renew {node}`",
            validity.not_after
        );
        session.ui.warn_of(node, &text);
    }
}

/// Says what was done for an identity.
pub(super) fn tell_identity(session: &Session, node: &Node, identity: &NodeIdentity) {
    if identity.origin == Origin::Issued {
        let reasons: Vec<_> = identity.replaced.iter().map(ToString::to_string).collect();
        let because = if reasons.is_empty() { String::new() } else { format!(": {}", reasons.join(", ")) };
        session.ui.say_of(&node.name, &format!("issued a certificate{because}"));
    }
}
