//! What the settings of a node are, and who said so.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::{Map, Value, json};

use super::layer::KEYS;
use super::layers::is_free;
use super::problem::quoted;
use super::scalar::size_text;
use super::value::nearest;
use super::{Body, Config, DataDisk, DiskDriver, FurtherNic, NicSource, Node, Origin, OwnFile, OwnUnit, Registry};

/// A setting of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explained {
    /// Its keys, joined by dots: `kubelet.config.maxPods`, `files./etc/own.conf.mode`.
    pub field: String,
    /// Its value as a person reads it; none where there is none, or where a layer took an earlier one's away.
    pub value: Option<String>,
    /// Who said so; none where nobody did, and it is as nodebake has it.
    pub origin: Option<Origin>,
}

/// What rendering makes of settings of which nodebake has some of its own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InForce {
    /// The kubelet's whole configuration.
    pub kubelet: Map<String, Value>,
    /// All kernel modules that are loaded.
    pub modules: BTreeSet<String>,
    /// All kernel parameters that are set.
    pub sysctls: BTreeMap<String, String>,
}

/// What stands in place of a secret.
const SECRET: &str = "(secret)";

/// Settings inside of settings; what begins with those that end in a dot has names of the user's own, or of others.
const INNER: &[&str] = &[
    "diskDriver.cache",
    "diskDriver.io",
    "diskDriver.discard",
    "dataDisks.",
    "nics.",
    "proxy.http",
    "proxy.https",
    "proxy.no",
    "ssh.user",
    "ssh.authorizedKeys",
    "consoleLogin.passwordHash",
    "kubelet.config",
    "kubelet.config.",
    "containerd.config",
    "containerd.config.",
    "containerd.registries",
    "containerd.registries.",
    "files.",
    "units.",
    "cloudConfig.",
    "modules.",
    "sysctls.",
    "labels.",
    "taints.",
];

impl Config {
    /// Every setting, in the order in which `nodebake init` shows them. Values of secrets are not among them.
    pub fn explain(&self, node: &Node, in_force: &InForce) -> Vec<Explained> {
        let mut leaves = Vec::new();
        for (key, value) in values(node, in_force, &self.folder()) {
            flatten(vec![key.to_owned()], &value, &mut leaves);
        }
        let origins = &node.settings.origins;
        for (path, _) in origins.iter() {
            // Taken away by its layer.
            if !leaves.iter().any(|(leaf, _)| leaf.starts_with(path)) {
                leaves.push((path.to_vec(), None));
            }
        }
        for key in KEYS {
            if !leaves.iter().any(|(leaf, _)| leaf[0] == *key) {
                leaves.push((vec![(*key).to_owned()], None));
            }
        }
        let place = |path: &[String]| KEYS.iter().position(|key| path[0] == *key);
        leaves.sort_by(|(a, _), (b, _)| place(a).cmp(&place(b)).then_with(|| a.cmp(b)));
        let explained = |(path, value): (Vec<String>, Option<String>)| {
            let keys: Vec<&str> = path.iter().map(String::as_str).collect();
            Explained { field: keys.join("."), value, origin: origins.of(&keys).cloned() }
        };
        leaves.into_iter().map(explained).collect()
    }

    /// The settings at and below `field`; one without value where it could be said but is not. `None` if there is no such
    /// field.
    pub fn explain_field(&self, node: &Node, in_force: &InForce, field: &str) -> Option<Vec<Explained>> {
        let mut found = self.explain(node, in_force);
        found.retain(|Explained { field: other, .. }| {
            other.strip_prefix(field).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        });
        let is_known = |known: &&str| {
            known.strip_suffix('.').map_or(field == *known, |_| field.len() > known.len() && field.starts_with(known))
        };
        if found.is_empty() && INNER.iter().any(is_known) {
            found.push(Explained { field: field.to_owned(), value: None, origin: None });
        }
        (!found.is_empty()).then_some(found)
    }
}

/// The field that was probably meant by one that is none.
pub fn nearest_field(field: &str) -> Option<&'static str> {
    let known: Vec<&'static str> = KEYS.iter().chain(INNER).copied().filter(|known| !known.ends_with('.')).collect();
    nearest(field, &known)
}

/// The names of all fields that are not below another.
pub fn fields() -> &'static [&'static str] {
    KEYS
}

/// What a node is, in the form of a layer; paths beneath `folder` as they are from there.
fn values(node: &Node, in_force: &InForce, folder: &Path) -> Vec<(&'static str, Value)> {
    let settings = &node.settings;
    let path = |path: &Path| json!(path.strip_prefix(folder).unwrap_or(path));
    let body = |body: &Body| match body {
        Body::Text(text) => ("content", json!(text)),
        Body::Path(file) => ("path", path(file)),
    };
    let proxy = settings.proxy.as_ref();
    let proxy = proxy.map(|proxy| json!({"http": proxy.http, "https": proxy.https, "no": some(&proxy.no)}));
    let ssh = settings.ssh.as_ref().map(|ssh| json!({"user": ssh.user, "authorizedKeys": ssh.authorized_keys}));
    let login = settings.console_login.as_ref().map(|_| json!({"passwordHash": SECRET}));
    let taint = |((key, effect), value): (&(String, _), &String)| (format!("{key}:{effect}"), json!(value));
    vec![
        ("arch", json!(node.arch)),
        ("cpus", json!(node.cpus)),
        ("memory", json!(size_text(node.memory))),
        ("disk", json!(size_text(node.disk))),
        ("firmware", json!(settings.machine.firmware.map(|firmware| firmware.to_string()))),
        ("secureBoot", json!(settings.machine.secure_boot)),
        ("diskDriver", disk_driver(&settings.machine.disk_driver)),
        ("dataDisks", map(&settings.machine.data_disks, |(name, disk)| (name.clone(), data_disk(disk)))),
        ("nics", map(&settings.machine.nics, |(name, it)| (name.clone(), nic(it)))),
        ("domainXml", json!(settings.machine.domain_xml)),
        ("ntp", json!(some(&settings.ntp))),
        ("proxy", json!(proxy)),
        ("ssh", json!(ssh)),
        ("consoleLogin", json!(login)),
        ("kubelet", json!({"config": in_force.kubelet})),
        (
            "containerd",
            json!({"config": settings.containerd, "registries": map(&settings.registries, |(host, it)| (host.clone(), registry(it, path)))}),
        ),
        ("files", map(&settings.files, |(path, it)| (path.clone(), file(it, body)))),
        ("units", map(&settings.units, |(name, it)| (name.clone(), unit(it, body)))),
        ("cloudConfig", Value::Object(settings.cloud_config.clone())),
        ("modules", map(&in_force.modules, |name| (name.clone(), json!("loaded")))),
        ("sysctls", json!(in_force.sysctls)),
        ("labels", json!(settings.labels)),
        ("taints", map(&settings.taints, taint)),
        ("swap", json!(settings.swap.map(size_text))),
        ("templates", json!(settings.templates.as_deref().map(path))),
        ("keepSeed", json!(settings.keep_seed)),
        ("hypervisors", json!(Some(&settings.hypervisors).filter(|it| !it.is_empty()))),
        ("antiAffinity", json!(settings.anti_affinity)),
    ]
}

fn data_disk(disk: &DataDisk) -> Value {
    let mount = disk.mount.as_ref();
    json!({
        "size": size_text(disk.size),
        "mountPath": mount.map(|mount| &mount.path),
        "fileSystem": mount.map(|mount| &mount.file_system),
    })
}

fn nic(nic: &FurtherNic) -> Value {
    let (key, name) = match &nic.source {
        NicSource::Network(name) => ("network", name),
        NicSource::Bridge(name) => ("bridge", name),
    };
    json!({key: name, "mtu": nic.mtu, "address": nic.address, "address6": nic.address6})
}

fn disk_driver(driver: &DiskDriver) -> Value {
    json!({"cache": driver.cache, "io": driver.io, "discard": driver.discard})
}

fn map<T>(items: impl IntoIterator<Item = T>, entry: impl Fn(T) -> (String, Value)) -> Value {
    Value::Object(items.into_iter().map(entry).collect::<Map<_, _>>())
}

/// A list that holds something.
fn some(list: &[String]) -> Option<&[String]> {
    Some(list).filter(|list| !list.is_empty())
}

fn registry(registry: &Registry, path: impl Fn(&Path) -> Value) -> Value {
    let credentials = registry.credentials.as_ref();
    json!({
        "mirrors": some(&registry.mirrors),
        "fallback": registry.fallback,
        "caFile": registry.ca_file.as_deref().map(&path),
        "username": credentials.map(|credentials| &credentials.username),
        "passwordFile": credentials.map(|credentials| path(&credentials.password_file)),
    })
}

fn file(file: &OwnFile, body: impl Fn(&Body) -> (&'static str, Value)) -> Value {
    let (key, body) = body(&file.body);
    let body = if file.is_secret() && key == "content" { json!(SECRET) } else { body };
    json!({key: body, "mode": format!("{:04o}", file.mode), "owner": file.owner, "group": file.group})
}

fn unit(unit: &OwnUnit, body: impl Fn(&Body) -> (&'static str, Value)) -> Value {
    let (key, text) = unit.body.as_ref().map_or(("content", Value::Null), body);
    json!({key: text, "enabled": unit.enabled})
}

/// The leaves of a tree with their paths. Null is nothing but in patches, where it removes.
fn flatten(path: Vec<String>, value: &Value, leaves: &mut Vec<(Vec<String>, Option<String>)>) {
    match value {
        Value::Object(entries) if !entries.is_empty() => {
            for (key, value) in entries {
                flatten(path.iter().chain([key]).cloned().collect(), value, leaves);
            }
        }
        // Nothing is said; but within a patch this makes an empty map.
        Value::Object(_) if !is_free(&path[..path.len() - 1]) => {}
        Value::Null if !is_free(&path) => {}
        _ => {
            let shown = shown(&path, value);
            leaves.push((path, Some(shown)));
        }
    }
}

fn shown(path: &[String], value: &Value) -> String {
    if is_free(path) {
        return if is_secret(path) { SECRET.to_owned() } else { redacted(value).to_string() };
    }
    match value {
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(", "),
        value => plain(value),
    }
}

/// A text without quotes, where it is one line of them.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) if text.is_empty() || text.contains(char::is_control) => quoted(text),
        Value::String(text) => text.clone(),
        value => value.to_string(),
    }
}

/// Whether one of these keys of a patch is by its name that of a secret, as cloud-config's `chpasswd` or containerd's `auth`.
/// The kubelet's configuration holds no secrets.
fn is_secret(path: &[String]) -> bool {
    let named = |key: &String| {
        let key = key.to_ascii_lowercase();
        key == "auth" || ["passw", "secret", "token", "private"].iter().any(|word| key.contains(word))
    };
    is_free(path) && path[0] != "kubelet" && path.iter().any(named)
}

fn redacted(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(redacted).collect(),
        Value::Object(entries) => {
            let entry = |(key, value): (&String, &Value)| {
                let is_secret = is_secret(&["cloudConfig".to_owned(), key.clone()]);
                (key.clone(), if is_secret { json!(SECRET) } else { redacted(value) })
            };
            Value::Object(entries.iter().map(entry).collect())
        }
        value => value.clone(),
    }
}

impl Explained {
    /// Who said so, as a person reads it; `file` is the cluster file.
    pub fn place(&self, file: &Path) -> String {
        self.origin.as_ref().map_or_else(|| "built in".to_owned(), |origin| origin.place(file))
    }
}
