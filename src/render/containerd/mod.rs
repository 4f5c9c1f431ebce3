//! What stands below /etc/containerd: its configuration, with what the cluster file lays over it, and the registries that
//! it reaches in another way.

mod registry;
mod rules;

use std::io;
use std::path::PathBuf;

use serde_json::Value;
use toml::Table;

use super::merge::merge;
use super::templates::Templates;
use super::{Content, GuestFile, NodeBundle, RenderError, Said};
use crate::config::{Config, Node};
use crate::image::PayloadContents;
use crate::secret::Secret;
use registry::{Login, Reach};

/// containerd's configuration in the guest.
pub(super) const CONFIG: &str = "/etc/containerd/config.toml";

/// Where containerd looks for what is said of a registry (its docs/hosts.md); the configuration names it.
pub(super) const REGISTRIES: &str = "/etc/containerd/certs.d";

/// The form of containerd's configuration, which goes with its major version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// `version = 2`, of containerd 1.x.
    V2,
    /// `version = 3`, of containerd 2.x.
    V3,
}

impl Form {
    fn of(config: &Config) -> Self {
        if config.versions.containerd.major == 1 { Self::V2 } else { Self::V3 }
    }

    fn template(self) -> &'static str {
        match self {
            Self::V2 => "containerd/config-v2.toml",
            Self::V3 => "containerd/config-v3.toml",
        }
    }

    /// `version` of the file.
    fn version(self) -> i64 {
        match self {
            Self::V2 => 2,
            Self::V3 => 3,
        }
    }

    /// The plugin that runs pods.
    fn runtime(self) -> &'static str {
        match self {
            Self::V2 => "io.containerd.grpc.v1.cri",
            Self::V3 => "io.containerd.cri.v1.runtime",
        }
    }

    /// The plugin that pulls their images.
    fn images(self) -> &'static str {
        match self {
            Self::V2 => "io.containerd.grpc.v1.cri",
            Self::V3 => "io.containerd.cri.v1.images",
        }
    }

    /// The image of the pods' sandboxes, below `plugins`.
    fn sandbox(self) -> &'static [&'static str] {
        match self {
            Self::V2 => &["io.containerd.grpc.v1.cri", "sandbox_image"],
            Self::V3 => &["io.containerd.cri.v1.images", "pinned_images", "sandbox"],
        }
    }
}

/// Why containerd's files could not be made.
#[derive(Debug)]
pub(super) enum Fault {
    /// A template fails.
    Template(RenderError),
    /// What a template renders is wrong.
    Rendered(&'static str, String),
    /// A setting is wrong: its path below `containerd`, and what is wrong with it.
    Setting(Vec<String>, String),
    /// A file that a setting names cannot be read.
    Read(Vec<String>, PathBuf, io::Error),
}

impl Fault {
    /// The same as an error of a node's.
    pub(super) fn of(self, config: &Config, node: &Node, templates: &Templates) -> RenderError {
        let name = node.name.clone();
        let said = |path: Vec<String>| {
            let path: Vec<_> = std::iter::once("containerd").chain(path.iter().map(String::as_str)).collect();
            Said::new(config, node, &path)
        };
        match self {
            Self::Template(error) => error,
            Self::Rendered(template, problem) => {
                RenderError::Check { node: name, template: templates.origin(template), problem }
            }
            Self::Setting(path, problem) => RenderError::Setting { node: name, said: said(path), problem },
            Self::Read(path, file, source) => RenderError::Read { node: name, said: said(path), path: file, source },
        }
    }

    /// A problem of the configuration that the cluster file led to.
    fn patched(path: Vec<String>, problem: String) -> Self {
        Self::Setting(std::iter::once("config".to_owned()).chain(path).collect(), problem)
    }
}

/// The template that is rendered at a path.
pub(super) fn template_at(path: &str, config: &Config) -> Option<&'static str> {
    let is_hosts = || path.strip_prefix(REGISTRIES).is_some_and(|rest| rest.ends_with("/hosts.toml"));
    if path == CONFIG { Some(Form::of(config).template()) } else { is_hosts().then_some(registry::TEMPLATE) }
}

fn owned(path: &[&str]) -> Vec<String> {
    path.iter().map(ToString::to_string).collect()
}

/// All of them; those with a password are secrets.
pub(super) fn files(config: &Config, node: &Node, templates: &Templates) -> Result<Vec<GuestFile>, Fault> {
    let form = Form::of(config);
    let reaches = node.settings.registries.iter().map(|(host, registry)| Reach::new(host, registry));
    let reaches = reaches.collect::<Result<Vec<_>, _>>()?;
    let logins: Vec<&Login> =
        if form == Form::V2 { reaches.iter().flat_map(Reach::logins).collect() } else { Vec::new() };
    let text = configuration(form, node, &logins, templates)?;
    let content = if logins.is_empty() {
        Content::Public(text.into_bytes(), 0o644)
    } else {
        Content::Secret(Secret::new(text), 0o600)
    };
    let mut files = vec![GuestFile::new(CONFIG, content)];
    for reach in &reaches {
        files.extend(reach.files(form, templates)?);
    }
    Ok(files)
}

/// config.toml: the template's own text, or, where something is laid over it, the whole as TOML with sorted keys.
fn configuration(form: Form, node: &Node, logins: &[&Login], templates: &Templates) -> Result<String, Fault> {
    let template = form.template();
    let text = templates.render(template).map_err(Fault::Template)?;
    let patch = &node.settings.containerd;
    if patch.is_empty() && logins.is_empty() {
        return Ok(text);
    }
    let rendered = |error: toml::de::Error| Fault::Rendered(template, error.to_string());
    let base: Table = text.parse().map_err(rendered)?;
    let mut table = patched(&base, patch).map_err(|(path, problem)| Fault::patched(path, problem.to_owned()))?;
    let registries = !node.settings.registries.is_empty();
    let of_template = rules::problems(form, &base, registries);
    let mut problems = rules::problems(form, &table, registries).into_iter();
    if let Some((path, problem)) = problems.find(|problem| !of_template.contains(problem)) {
        return Err(Fault::patched(path, problem));
    }
    for login in logins {
        let path = ["plugins", form.images(), "registry", "configs", &login.host, "auth"];
        let auth = [("username", &login.username), ("password", &login.password)];
        let auth = auth.map(|(key, value)| (key.to_owned(), toml::Value::String(value.clone())));
        place(&mut table, &path, Table::from_iter(auth));
    }
    let serialized = |error: toml::ser::Error| Fault::Rendered(template, error.to_string());
    let whole = toml::to_string(&table).map_err(serialized)?;
    Ok(format!("# With what the cluster file lays over nodebake's own (containerd).\n{whole}"))
}

/// A table with a JSON object laid over it as RFC 7386 says; or what of it TOML cannot say.
fn patched(table: &Table, patch: &serde_json::Map<String, Value>) -> Result<Table, (Vec<String>, &'static str)> {
    // Text, numbers, truth values, lists and tables: JSON has them all.
    let mut json = serde_json::to_value(table).unwrap_or_default();
    merge(&mut json, &Value::Object(patch.clone()));
    match value_of(&json, &mut Vec::new())? {
        toml::Value::Table(table) => Ok(table),
        _ => Ok(Table::new()),
    }
}

/// A JSON value as TOML has it; where it has not, the path that it stands at.
fn value_of(json: &Value, path: &mut Vec<String>) -> Result<toml::Value, (Vec<String>, &'static str)> {
    Ok(match json {
        Value::Null => return Err((path.clone(), "a list in TOML holds no null")),
        Value::Bool(value) => (*value).into(),
        Value::String(text) => text.clone().into(),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(integer), _) => integer.into(),
            (None, Some(float)) if !number.is_u64() => float.into(),
            _ => return Err((path.clone(), "a number in TOML is less than 2^63")),
        },
        Value::Array(values) => values.iter().map(|value| value_of(value, path)).collect::<Result<Vec<_>, _>>()?.into(),
        Value::Object(fields) => {
            let mut table = Table::new();
            for (key, value) in fields {
                path.push(key.clone());
                table.insert(key.clone(), value_of(value, path)?);
                path.pop();
            }
            table.into()
        }
    })
}

/// Sets a table at a path; what is on the way and no table is replaced.
fn place(table: &mut Table, path: &[&str], value: Table) {
    match path {
        [] => table.extend(value),
        [key, rest @ ..] => {
            let entry = table.entry(*key).or_insert_with(|| Table::new().into());
            if !entry.is_table() {
                *entry = Table::new().into();
            }
            if let Some(inner) = entry.as_table_mut() {
                place(inner, rest, value);
            }
        }
    }
}

/// Reads back what was rendered: nothing in it contradicts the kubelet, and without a word of the cluster file the sandbox
/// image is the wanted one.
pub(super) fn check(
    bundle: &NodeBundle,
    config: &Config,
    node: &Node,
    contents: &PayloadContents,
) -> Result<(), Fault> {
    let form = Form::of(config);
    let wrong = |problem: String| Fault::Rendered(form.template(), problem);
    let text = match bundle.file(CONFIG) {
        Some(Content::Public(bytes, _)) => std::str::from_utf8(bytes),
        Some(Content::Secret(secret, _)) => std::str::from_utf8(secret.expose()),
        _ => return Err(wrong(format!("{CONFIG} is not there"))),
    };
    let text = text.map_err(|error| wrong(error.to_string()))?;
    // Where a reader fails it shows the line, which can be a password's.
    let table: Table = text.parse().map_err(|error: toml::de::Error| wrong(error.message().to_owned()))?;
    let registries = !node.settings.registries.is_empty();
    if let Some((path, problem)) = rules::problems(form, &table, registries).into_iter().next() {
        return Err(wrong(format!("{}: {problem}", path.join("."))));
    }
    let patch = Value::Object(node.settings.containerd.clone());
    let path: Vec<String> =
        std::iter::once("plugins").chain(form.sandbox().iter().copied()).map(str::to_owned).collect();
    let wanted = super::sandbox_image(config, contents);
    let found = find(&table, &path).and_then(toml::Value::as_str);
    if found != Some(wanted.as_str()) && !is_said(&patch, &path) {
        return Err(wrong(format!("the sandbox image reads back as {found:?}, not as {wanted:?}")));
    }
    registry::check(bundle, node).map_err(|problem| Fault::Rendered(registry::TEMPLATE, problem))
}

/// The value at a path.
fn find<'a>(table: &'a Table, path: &[String]) -> Option<&'a toml::Value> {
    let (first, rest) = path.split_first()?;
    rest.iter().try_fold(table.get(first)?, |value, key| value.get(key))
}

/// Whether a patch says anything of what is at a path, or of what stands above it.
fn is_said(patch: &Value, path: &[String]) -> bool {
    let mut at = patch;
    for key in path {
        match at.as_object().map(|object| object.get(key)) {
            Some(Some(value)) => at = value,
            Some(None) => return false,
            None => return true,
        }
    }
    true
}

#[cfg(test)]
mod tests;
