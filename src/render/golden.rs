//! The bundle of a machine that makes a golden image: it has no identity and no secret, and leaves nothing of itself.

use super::templates::Templates;
use super::units::Units;
use super::{Content, GuestFile, NodeBundle, PayloadPlace, RenderError, Values};
use crate::config::{Config, Mac, Macs, Node};
use crate::image::Payload;

/// Renders it for a machine that is called and sized as `node`; nothing else of a node is in it.
pub fn render(config: &Config, node: &Node, mac: Mac, payload: &Payload) -> Result<NodeBundle, RenderError> {
    let units = Units::default();
    let macs = Macs::from(mac);
    let values = Values::new(config, node, &macs, payload, PayloadPlace::Drive, (&[], &units));
    let mut templates = Templates::new(&values, config, node)?;
    let script = |path: &str, template| {
        Ok(GuestFile::new(path, Content::Public(templates.render(template)?.into_bytes(), 0o755)))
    };
    let mut bundle = NodeBundle {
        node: node.name.clone(),
        user_data: templates.render("golden/user-data")?,
        vendor_data: templates.render("golden/vendor-data")?,
        meta_data: String::new(),
        network_config: templates.render("golden/network-config")?,
        first_boot: templates.render("golden/first-boot")?,
        root_password: None,
        files: vec![
            script("/usr/local/lib/nodebake/packages", "guest/packages")?,
            script("/usr/local/lib/nodebake/report", "guest/report")?,
        ],
    };
    templates.set("instance_id", &bundle.instance_id());
    bundle.meta_data = templates.render("meta-data")?;
    Ok(bundle)
}
