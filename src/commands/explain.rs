//! `nodebake explain`: what the settings of a node are, and which layer of the cluster file said so.

use serde::Serialize;

use super::Session;
use crate::build::BuildError;
use crate::cli::Explain;
use crate::config::nearest_field;
use crate::error::Error;
use crate::render::in_force;

pub(super) fn run(session: &Session, args: &Explain) -> Result<(), Error> {
    let unknown = || session.unknown(&args.node);
    let node = session.config.nodes.iter().find(|node| node.name == args.node).ok_or_else(unknown)?;
    let config = &session.config;
    let in_force = in_force(config, node).map_err(BuildError::from)?;
    let explained = match &args.field {
        None => config.explain(node, &in_force),
        Some(field) => config
            .explain_field(node, &in_force, field)
            .ok_or_else(|| Error::UnknownField { field: field.clone(), suggestion: nearest_field(field) })?,
    };
    let settings = explained.into_iter().map(|one| {
        let from = one.place(&config.file);
        Setting { field: one.field, value: one.value, from }
    });
    let document = Document { node: node.name.to_string(), settings: settings.collect() };
    session.show(args.report.output, &document, || table(&document.settings))
}

/// What a node is, as programs read it.
#[derive(Serialize)]
struct Document {
    node: String,
    settings: Vec<Setting>,
}

#[derive(Serialize)]
struct Setting {
    field: String,
    /// As a person reads it.
    value: Option<String>,
    from: String,
}

fn table(settings: &[Setting]) -> String {
    let mut rows = vec![["FIELD", "VALUE", "FROM"].map(String::from).to_vec()];
    rows.extend(
        settings
            .iter()
            .map(|one| vec![one.field.clone(), one.value.clone().unwrap_or_else(|| "-".to_owned()), one.from.clone()]),
    );
    super::table(&rows)
}
