//! The files of the user's own that a node is rendered from.

use std::path::{Path, PathBuf};

use super::error::{RenderError, Said};
use super::own;
use super::templates::own_templates;
use crate::config::{Body, Config, Node};
use crate::digest::Digest;

/// A file that the cluster file names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    /// The setting that names it, its keys joined by dots: `files./etc/own.conf`.
    pub setting: String,
    /// Where it is.
    pub path: PathBuf,
    /// SHA-256 of it; none where it may hold a password, which whoever guesses it could try against that.
    pub digest: Option<Digest>,
}

/// Templates of the user's own that may hold a password, beside those of cloud-init's golden images: what comes of them may,
/// or is root's alone in the guest.
const SECRET_TEMPLATES: [&str; 8] = [
    "containerd/config-v2.toml",
    "containerd/hosts.toml",
    "guest/first-boot",
    "kubelet/kubeconfig",
    "meta-data",
    "network-config",
    "user-data",
    "vendor-data",
];

/// All of them: templates, then files, units, and what the registries need.
pub fn inputs(config: &Config, node: &Node) -> Result<Vec<Input>, RenderError> {
    let reader = Reader { config, node };
    let settings = &node.settings;
    let templates = own_templates(config, node)?.into_iter().map(|(name, path)| {
        let is_secret = SECRET_TEMPLATES.contains(&name) || name.starts_with("golden/");
        reader.input(&["templates"], &path, is_secret)
    });
    let files = settings.files.iter().filter_map(|(path, file)| match &file.body {
        Body::Path(from) => Some(reader.input(&["files", path], from, file.is_secret())),
        Body::Text(_) => None,
    });
    let units = settings.units.iter().filter_map(|(name, unit)| match &unit.body {
        Some(Body::Path(from)) => Some(reader.input(&["units", name], from, false)),
        Some(Body::Text(_)) | None => None,
    });
    let registries = settings.registries.iter().flat_map(|(host, registry)| {
        let at = |key: &'static str| ["containerd", "registries", host.as_str(), key];
        let ca = registry.ca_file.as_ref().map(|path| reader.input(&at("caFile"), path, false));
        let password = registry.credentials.as_ref();
        let password = password.map(|of| reader.input(&at("passwordFile"), &of.password_file, true));
        ca.into_iter().chain(password)
    });
    templates.chain(files).chain(units).chain(registries).collect()
}

struct Reader<'a> {
    config: &'a Config,
    node: &'a Node,
}

impl Reader<'_> {
    fn input(&self, setting: &[&str], path: &Path, is_secret: bool) -> Result<Input, RenderError> {
        let said = Said::new(self.config, self.node, setting);
        let digest = || Ok(Digest::of(&own::read(&Body::Path(path.to_owned()), self.node, &said)?));
        let digest = if is_secret { None } else { Some(digest()?) };
        Ok(Input { setting: setting.join("."), path: path.to_owned(), digest })
    }
}
