//! The templates of cloud-init/, embedded, and the rules by which they are filled.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use serde::Serialize;
use tera::{Context, Kwargs, State, Tera, Value};

use super::error::{Origin, RenderError, Said};
use crate::config::{Config, Node};

/// A template's name and text; the name is its path below cloud-init/.
type Template = (&'static str, &'static str);

macro_rules! templates {
    ($($name:literal),* $(,)?) => {
        [$(($name, include_str!(concat!("../../cloud-init/", $name)))),*]
    };
}

const TEMPLATES: [Template; 46] = templates![
    "user-data",
    "meta-data",
    "vendor-data",
    "network-config",
    "kubelet/config.yaml",
    "kubelet/kubeconfig",
    "containerd/config-v2.toml",
    "containerd/config-v3.toml",
    "containerd/hosts.toml",
    "systemd/containerd-proxy.conf",
    "systemd/containerd.service",
    "systemd/kubelet.service",
    "systemd/nodebake-disks.service",
    "systemd/nodebake-first-boot.service",
    "systemd/nodebake-grow.service",
    "systemd/nodebake-images.service",
    "systemd/nodebake-packages.service",
    "systemd/nodebake-report.service",
    "systemd/nodebake-swap.service",
    "systemd/var-lib-nodebake-swap.swap",
    "systemd/nodebake-seal.service",
    "systemd/opt-nodebake-payload.mount",
    "golden/first-boot",
    "golden/network-config",
    "golden/user-data",
    "golden/vendor-data",
    "guest/address",
    "guest/apt.conf",
    "guest/certificates",
    "guest/disks",
    "guest/first-boot",
    "guest/grow",
    "guest/hosts",
    "guest/images",
    "guest/modules-load.conf",
    "guest/networkd.conf",
    "guest/nic.network",
    "guest/packages",
    "guest/primary.network",
    "guest/report",
    "guest/resolved.conf",
    "guest/seal",
    "guest/swap",
    "guest/sysctl.conf",
    "guest/timesyncd.conf",
    "guest/hostname",
];

/// Our own templates, parsed once for all nodes; none if they cannot be parsed, which is told where they are needed.
static BUILT_IN: LazyLock<Option<Tera>> = LazyLock::new(|| built_in().ok());

fn built_in() -> tera::TeraResult<Tera> {
    let mut tera = Tera::new();
    tera.autoescape_on(Vec::<&'static str>::new());
    tera.register_filter("yaml", yaml);
    tera.register_filter("toml", toml_string);
    tera.register_filter("shell", shell_word);
    tera.register_filter("unit", unit_word);
    tera.add_raw_templates(TEMPLATES)?;
    Ok(tera)
}

/// Templates with one context.
pub(super) struct Templates {
    tera: Cow<'static, Tera>,
    context: Context,
    /// Files that stand in for templates.
    own: BTreeMap<&'static str, PathBuf>,
}

impl Templates {
    /// Parses every template, the user's own in place of ours; `context` must serialize to a map.
    pub(super) fn new(context: &impl Serialize, config: &Config, node: &Node) -> Result<Self, RenderError> {
        let failed = |template| |source| RenderError::Template { template, source: Box::new(source) };
        let mut tera = match &*BUILT_IN {
            Some(parsed) => Cow::Borrowed(parsed),
            None => Cow::Owned(built_in().map_err(failed(Origin::BuiltIn("cloud-init/")))?),
        };
        let mut own = BTreeMap::new();
        for (name, path) in own_templates(config, node)? {
            let said = || Said::new(config, node, &["templates"]);
            let text = fs::read_to_string(&path).map_err(|source| unreadable(node, said(), &path, source))?;
            tera.to_mut().add_raw_template(name, &text).map_err(failed(Origin::Own(path.clone())))?;
            own.insert(name, path);
        }
        let context = Context::from_serialize(context).map_err(failed(Origin::BuiltIn("cloud-init/")))?;
        Ok(Self { tera, context, own })
    }

    /// Adds one value that only became known by rendering others.
    pub(super) fn set(&mut self, name: &'static str, value: &str) {
        self.context.insert(name, value);
    }

    /// Where a template comes from.
    pub(super) fn origin(&self, name: &'static str) -> Origin {
        self.own.get(name).map_or(Origin::BuiltIn(name), |path| Origin::Own(path.clone()))
    }

    /// The rendered text of one template. A variable that has no value is an error, also where Tera itself would let it
    /// pass (in `==`, `~`, lists): the template's variables are compared with the context first.
    pub(super) fn render(&self, name: &'static str) -> Result<String, RenderError> {
        self.render_in(name, &self.context)
    }

    /// The same with one more value, for a template of which a node has several files.
    pub(super) fn render_with(
        &self,
        name: &'static str,
        variable: &'static str,
        value: &impl Serialize,
    ) -> Result<String, RenderError> {
        let mut context = self.context.clone();
        context.insert(variable, value);
        self.render_in(name, &context)
    }

    fn render_in(&self, name: &'static str, context: &Context) -> Result<String, RenderError> {
        let failed = |source| RenderError::Template { template: self.origin(name), source: Box::new(source) };
        let mut variables: Vec<_> = self.tera.get_template_variables(name).map_err(failed)?.into_iter().collect();
        variables.sort_unstable();
        if let Some(variable) = variables.into_iter().find(|variable| !context.contains_key(variable)) {
            return Err(RenderError::Undefined { template: self.origin(name), variable: variable.to_owned() });
        }
        self.tera.render(name, context).map_err(failed)
    }
}

/// Whether the user has a template of this name, such as `vendor-data` or `guest/hosts`, for a node.
pub(super) fn has_template(node: &Node, name: &str) -> bool {
    node.settings.templates.as_ref().is_some_and(|folder| folder.join(name).exists())
}

/// Whether the user has written any of what cloud-init reads (`user-data`, `vendor-data`, `meta-data`, `network-config`) or
/// of `first-boot`: it may then hold a password.
pub fn may_hold_secrets(node: &Node, name: &str) -> bool {
    let template = if name == "first-boot" { "guest/first-boot" } else { name };
    has_template(node, template) || (name == "user-data" && !node.settings.cloud_config.is_empty())
}

fn unreadable(node: &Node, said: Said, path: &Path, source: io::Error) -> RenderError {
    RenderError::Read { node: node.name.clone(), said, path: path.to_owned(), source }
}

/// The files of the folder `settings.templates`, by the template that each stands in for. Whatever else is in it is an
/// error, but for names that begin with a dot.
pub(super) fn own_templates(config: &Config, node: &Node) -> Result<Vec<(&'static str, PathBuf)>, RenderError> {
    let Some(folder) = &node.settings.templates else { return Ok(Vec::new()) };
    let said = || Said::new(config, node, &["templates"]);
    let (mut found, mut folders) = (Vec::new(), vec![folder.clone()]);
    while let Some(place) = folders.pop() {
        let list = || fs::read_dir(&place)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>();
        for path in list().map_err(|source| unreadable(node, said(), &place, source))? {
            if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.')) {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.strip_prefix(folder).unwrap_or(&path).to_string_lossy().into_owned();
            match TEMPLATES.iter().find(|(known, _)| *known == name) {
                Some((known, _)) => found.push((*known, path)),
                None => return Err(no_template(node, said(), folder, &name)),
            }
        }
    }
    found.sort();
    Ok(found)
}

fn no_template(node: &Node, said: Said, folder: &Path, name: &str) -> RenderError {
    let distance = |known: &str| strsim::damerau_levenshtein(known, name);
    let nearest = TEMPLATES.iter().map(|(known, _)| *known).min_by_key(|known| distance(known)).unwrap_or_default();
    let path = folder.join(name);
    let problem = format!("{} stands in for no template; the nearest name is {nearest}", path.display());
    RenderError::Setting { node: node.name.clone(), said, problem }
}

/// A scalar as YAML that no reader takes for another type, whatever its schema: strings always in double quotes, in
/// JSON's form, of which YAML 1.2 is a superset (YAML 1.2.2, 1.3).
fn yaml(value: &Value, _: Kwargs, _: &State) -> tera::TeraResult<String> {
    scalar(value)
}

/// A string as a TOML basic string; its escapes are those of JSON but for U+007F (TOML 1.0, "String").
fn toml_string(value: &Value, _: Kwargs, _: &State) -> tera::TeraResult<String> {
    Ok(scalar(value)?.replace('\u{7f}', "\\u007F"))
}

/// A string as one word of a POSIX shell (Shell Command Language, 2.2.2).
fn shell_word(value: &Value, _: Kwargs, _: &State) -> tera::TeraResult<String> {
    Ok(format!("'{}'", string(value)?.replace('\'', r"'\''")))
}

/// A string as one word of a unit's setting: escapes and specifiers mean nothing in it (systemd.syntax(7), "Quoting";
/// systemd.unit(5), "Specifiers").
fn unit_word(value: &Value, _: Kwargs, _: &State) -> tera::TeraResult<String> {
    let escaped = string(value)?.replace('\\', r"\\").replace('"', r#"\""#).replace('%', "%%");
    Ok(format!("\"{escaped}\""))
}

fn string(value: &Value) -> tera::TeraResult<String> {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(text)) => Ok(text),
        _ => Err(tera::Error::message(format!("only a string can be written here, not a {}", value.name()))),
    }
}

fn scalar(value: &Value) -> tera::TeraResult<String> {
    match serde_json::to_value(value) {
        Ok(json @ (serde_json::Value::String(_) | serde_json::Value::Number(_) | serde_json::Value::Bool(_))) => {
            Ok(json.to_string())
        }
        _ => Err(tera::Error::message(format!("only a scalar can be written here, not a {}", value.name()))),
    }
}
