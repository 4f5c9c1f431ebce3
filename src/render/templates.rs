//! The templates of cloud-init/, embedded, and the rules by which they are filled.

use serde::Serialize;
use tera::{Context, Kwargs, State, Tera, Value};

use super::RenderError;

/// A template's name and text; the name is its path below cloud-init/.
type Template = (&'static str, &'static str);

macro_rules! templates {
    ($($name:literal),* $(,)?) => {
        [$(($name, include_str!(concat!("../../cloud-init/", $name)))),*]
    };
}

const TEMPLATES: [Template; 30] = templates![
    "user-data",
    "meta-data",
    "network-config",
    "kubelet/config.yaml",
    "kubelet/kubeconfig",
    "containerd/config-v2.toml",
    "containerd/config-v3.toml",
    "systemd/containerd-proxy.conf",
    "systemd/containerd.service",
    "systemd/kubelet.service",
    "systemd/nodebake-images.service",
    "systemd/nodebake-packages.service",
    "systemd/nodebake-report.service",
    "systemd/opt-nodebake-payload.mount",
    "golden/first-boot",
    "golden/network-config",
    "golden/user-data",
    "guest/apt.conf",
    "guest/bootcmd",
    "guest/first-boot",
    "guest/hosts",
    "guest/images",
    "guest/modules-load.conf",
    "guest/networkd.conf",
    "guest/packages",
    "guest/report",
    "guest/resolved.conf",
    "guest/sysctl.conf",
    "guest/timesyncd.conf",
    "guest/hostname",
];

/// Templates with one context.
pub(super) struct Templates {
    tera: Tera,
    context: Context,
}

impl Templates {
    /// Parses every template; `context` must serialize to a map.
    pub(super) fn new(context: &impl Serialize) -> Result<Self, RenderError> {
        let internal = |source| RenderError::Template { template: "cloud-init/".to_owned(), source: Box::new(source) };
        let mut tera = Tera::new();
        tera.autoescape_on(Vec::<&'static str>::new());
        tera.register_filter("yaml", yaml);
        tera.register_filter("toml", toml_string);
        tera.register_filter("shell", shell_word);
        tera.register_filter("unit", unit_word);
        tera.add_raw_templates(TEMPLATES).map_err(internal)?;
        let context = Context::from_serialize(context).map_err(internal)?;
        Ok(Self { tera, context })
    }

    /// Adds one value that only became known by rendering others.
    pub(super) fn set(&mut self, name: &'static str, value: &str) {
        self.context.insert(name, value);
    }

    /// The rendered text of one template. A variable that has no value is an error, also where Tera itself would let it
    /// pass (in `==`, `~`, lists): the template's variables are compared with the context first.
    pub(super) fn render(&self, name: &str) -> Result<String, RenderError> {
        let failed = |source| RenderError::Template { template: name.to_owned(), source: Box::new(source) };
        let mut variables: Vec<_> = self.tera.get_template_variables(name).map_err(failed)?.into_iter().collect();
        variables.sort_unstable();
        if let Some(variable) = variables.into_iter().find(|variable| !self.context.contains_key(variable)) {
            return Err(RenderError::Undefined { template: name.to_owned(), variable: variable.to_owned() });
        }
        self.tera.render(name, &self.context).map_err(failed)
    }
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
