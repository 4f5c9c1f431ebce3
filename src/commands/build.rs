//! `nodebake build`: images, without touching a machine.

use super::{Inputs, Session};
use crate::build::{Build, NodeOutput};
use crate::cli;
use crate::config::Node;
use crate::error::Error;
use crate::identity::Origin;
use crate::image::Payload;

pub(super) fn run(session: &Session, args: &cli::Build) -> Result<(), Error> {
    let nodes = session.nodes(&args.nodes)?;
    let inputs = session.inputs()?;
    let build = session.build(&inputs, &args.out.dir);
    let (payload, baked, outputs) = all(session, &build, &nodes)?;
    let word = |changed| if changed { "made" } else { "unchanged" };
    let mut rows = vec![vec![
        "payload".to_owned(),
        payload.path.display().to_string(),
        format!("sha256:{}", payload.digest),
        word(baked).to_owned(),
    ]];
    for output in &outputs {
        rows.push(vec![
            output.node.to_string(),
            output.seed.path.display().to_string(),
            format!("sha256:{}", output.seed.digest),
            word(output.changed).to_owned(),
        ]);
    }
    session.ui.data(&super::table(&rows));
    Ok(())
}

/// Payload and seeds of the nodes; says what was done for their identities.
pub(super) fn all(
    session: &Session,
    build: &Build,
    nodes: &[&Node],
) -> Result<(Payload, bool, Vec<NodeOutput>), Error> {
    let (payload, baked) = build.payload()?;
    let mut outputs = Vec::new();
    for node in nodes {
        let output = build.node(node, &payload)?;
        for warning in &output.identity.warnings {
            session.ui.say(&format!("warning: {}: {warning}", node.name));
        }
        if output.identity.origin == Origin::Issued {
            let reasons: Vec<_> = output.identity.replaced.iter().map(ToString::to_string).collect();
            let because = if reasons.is_empty() { String::new() } else { format!(": {}", reasons.join(", ")) };
            session.ui.say(&format!("{}: issued a certificate{because}", node.name));
        }
        outputs.push(output);
    }
    Ok((payload, baked, outputs))
}

/// The same for a verb that goes on with it.
pub(super) fn for_plan(
    session: &Session,
    inputs: &Inputs,
    out: &std::path::Path,
    nodes: &[&Node],
) -> Result<(Payload, Vec<NodeOutput>), Error> {
    let build = session.build(inputs, out);
    let (payload, _, outputs) = all(session, &build, nodes)?;
    Ok((payload, outputs))
}
