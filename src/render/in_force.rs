//! What the files of a node make of settings of which nodebake has some of its own, for `explain`.

use std::path::PathBuf;

use serde_json::{Map, Value};

use super::merge::merge;
use super::templates::Templates;
use super::units::Units;
use super::{PayloadPlace, RenderError, Values};
use crate::config::{Config, InForce, Mac, Macs, Node};
use crate::digest::Digest;
use crate::image::{Payload, PayloadContents};

/// Renders them. They are the same whatever the payload is, so none must have been built.
pub fn in_force(config: &Config, node: &Node) -> Result<InForce, RenderError> {
    let contents = PayloadContents::default();
    let payload = Payload { path: PathBuf::new(), digest: Digest::of(b""), size: 0, contents };
    let macs = Macs::from(node.mac.unwrap_or_else(|| Mac::from([0x52, 0x54, 0, 0, 0, 0])));
    let units = Units::default();
    let values = Values::new(config, node, &macs, &payload, PayloadPlace::Drive, (&[], &units));
    let templates = Templates::new(&values, config, node)?;
    let lines = |text: String| {
        let settings = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with(['#', ';']));
        settings.map(str::to_owned).collect::<Vec<_>>()
    };
    let sysctls = lines(templates.render("guest/sysctl.conf")?).into_iter().filter_map(|line| {
        let (name, value) = line.split_once('=')?;
        Some((name.trim().to_owned(), value.trim().to_owned()))
    });
    Ok(InForce {
        kubelet: kubelet_fields(node, &templates)?,
        modules: lines(templates.render("guest/modules-load.conf")?).into_iter().collect(),
        sysctls: sysctls.collect(),
    })
}

/// What the cluster file may not change is told when a node is built, not here: here one looks for what said it.
fn kubelet_fields(node: &Node, templates: &Templates) -> Result<Map<String, Value>, RenderError> {
    const TEMPLATE: &str = "kubelet/config.yaml";
    let wrong = |problem| RenderError::Check { node: node.name.clone(), template: templates.origin(TEMPLATE), problem };
    let mut fields: Value =
        serde_yaml::from_str(&templates.render(TEMPLATE)?).map_err(|error| wrong(error.to_string()))?;
    merge(&mut fields, &Value::Object(node.settings.kubelet.clone()));
    match fields {
        Value::Object(mut fields) => {
            // The node's taints, which are settings of their own.
            if !node.settings.kubelet.contains_key("registerWithTaints") {
                fields.remove("registerWithTaints");
            }
            Ok(fields)
        }
        _ => Err(wrong("it is no map".to_owned())),
    }
}
