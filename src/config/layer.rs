//! What one layer says of nodes, or all of them together: which keys there are, and what they hold.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::guest;
use super::machine::{self, Bootware, Machine, NicAddress};
use super::scalar;
use super::settings::{Body, Credentials, OwnFile, OwnUnit, Registry, Settings, TaintEffect};
use super::supply;
use super::value::{Fields, Placed, Value};
use super::{Arch, HypervisorName, Ssh};

/// The keys of an entry of `nodes`: its own, then those of every layer.
pub(super) const NODE_KEYS: &[&str] = &[
    "name",
    "address",
    "address6",
    "mac",
    "group",
    "hypervisor",
    "arch",
    "cpus",
    "memory",
    "disk",
    "firmware",
    "secureBoot",
    "diskDriver",
    "dataDisks",
    "nics",
    "domainXml",
    "ntp",
    "proxy",
    "ssh",
    "consoleLogin",
    "kubelet",
    "containerd",
    "files",
    "units",
    "cloudConfig",
    "modules",
    "sysctls",
    "labels",
    "taints",
    "swap",
    "templates",
    "keepSeed",
    "hypervisors",
    "antiAffinity",
];

/// The keys of a layer.
pub(super) const KEYS: &[&str] = NODE_KEYS.split_at(6).1;

/// The size of a machine of which nobody says one: CPUs, and bytes.
pub(super) const DEFAULT_CPUS: u32 = 2;
pub(super) const DEFAULT_MEMORY: u64 = 4 << 30;
pub(super) const DEFAULT_DISK: u64 = 20 << 30;

/// What a layer says; the machine's size stands apart from the settings, as in [`Node`](super::Node).
#[derive(Debug, Clone, Default)]
pub(super) struct Said {
    pub(super) arch: Option<Arch>,
    pub(super) cpus: Option<u32>,
    pub(super) memory: Option<u64>,
    pub(super) disk: Option<u64>,
    pub(super) settings: Settings,
    /// The hypervisors among which the nodes are divided, with their places.
    pub(super) hypervisors: Vec<Placed<HypervisorName>>,
    /// Addresses of its further network cards, with their places; known once all layers are one.
    pub(super) nic_addresses: Vec<NicAddress>,
}

/// Reads a layer, or what all of them make; its unknown keys are the caller's. Relative paths start at `folder`.
pub(super) fn read(fields: &Fields<'_>, folder: &Path) -> Said {
    let said = said(fields, folder);
    let disk = said.disk.unwrap_or(DEFAULT_DISK);
    if let Some(value) = fields.get("swap").filter(|value| !value.is_layer())
        && said.settings.swap.is_some_and(|swap| swap >= disk)
    {
        value.report(format!("leaves no room on the node's disk of {}", scalar::size_text(disk)));
    }
    if let Some(value) = fields.get("firmware").filter(|value| !value.is_layer())
        && said.arch == Some(Arch::Arm64)
        && said.settings.machine.firmware == Some(Bootware::Bios)
    {
        value.report("arm64 has no BIOS; its firmware is uefi");
    }
    if let Some(value) = fields.get("secureBoot").filter(|value| !value.is_layer())
        && said.settings.machine.firmware != Some(Bootware::Uefi)
    {
        value.report("secureBoot needs firmware: uefi beside it");
    }
    if let Some(value) = fields.get("dataDisks").filter(|value| !value.is_layer()) {
        machine::check_mounts(&value, &said.settings.machine.data_disks, said.settings.files.keys());
    }
    said
}

fn said(fields: &Fields<'_>, folder: &Path) -> Said {
    let arch = fields.optional("arch", "amd64 or arm64", scalar::arch);
    // More than 256 need an interrupt controller that the domain XML does not set up.
    let cpus = fields.get("cpus").and_then(|value| value.number(&(1..=255)));
    let memory = fields.optional("memory", "a size such as 4GiB", scalar::memory);
    let disk = fields.optional("disk", "a size such as 20GiB", scalar::disk);
    let (machine, nic_addresses) = machine::read(fields);
    let list = |_| fields.list("hypervisors", "hypervisors of the cluster file", scalar::own);
    Said {
        hypervisors: fields.get("hypervisors").and_then(list).unwrap_or_default(),
        arch: arch.map(|arch| arch.value),
        cpus,
        memory: memory.map(|memory| memory.value),
        disk: disk.map(|disk| disk.value),
        settings: settings(fields, folder, machine),
        nic_addresses,
    }
}

fn settings(fields: &Fields<'_>, folder: &Path, machine: Machine) -> Settings {
    let path = || scalar::path(folder);
    let containerd = fields.get("containerd").and_then(|value| value.fields(&["config", "registries"]));
    let registries = containerd.as_ref().and_then(|containerd| containerd.get("registries"));
    Settings {
        machine,
        ntp: texts(fields, "ntp", "addresses or host names of time servers", scalar::time_server),
        proxy: fields.get("proxy").and_then(|value| supply::proxy(&value)),
        ssh: fields.get("ssh").and_then(|value| ssh(&value)),
        console_login: fields.get("consoleLogin").and_then(|value| {
            let fields = value.fields(&["passwordHash"])?;
            Some(fields.required("passwordHash", "a hash as `mkpasswd` prints it", guest::password_hash)?.value)
        }),
        kubelet: fields
            .get("kubelet")
            .and_then(|value| value.fields(&["config"])?.get("config"))
            .and_then(|value| value.free_map("a map with fields of the kubelet's configuration"))
            .unwrap_or_default(),
        containerd: containerd
            .and_then(|containerd| containerd.get("config"))
            .and_then(|value| value.free_map("a map with keys of containerd's configuration"))
            .unwrap_or_default(),
        registries: registries.map(|value| self::registries(&value, folder)).unwrap_or_default(),
        files: map(fields, "files", "files by their paths in the node", guest::path, |value| file(value, folder)),
        units: units(fields, folder),
        cloud_config: fields
            .get("cloudConfig")
            .and_then(|value| value.free_map("a map with keys of cloud-config"))
            .unwrap_or_default(),
        modules: texts(fields, "modules", "kernel modules", guest::module).into_iter().collect::<BTreeSet<_>>(),
        sysctls: map(fields, "sysctls", "kernel parameters", guest::sysctl, |value| {
            Some(value.read("the value of a kernel parameter", |text| Ok(text.to_owned()))?.value)
        }),
        labels: map(fields, "labels", "labels", guest::qualified_name, label_value),
        taints: taints(fields),
        swap: fields.optional("swap", "a size such as 2GiB", guest::swap).map(|size| size.value),
        templates: fields.optional("templates", "the path of a folder with templates", path()).map(|path| path.value),
        anti_affinity: fields.optional("antiAffinity", "true or false", scalar::boolean).is_some_and(|it| it.value),
        keep_seed: fields.optional("keepSeed", "true or false", scalar::boolean).is_some_and(|keep| keep.value),
        ..Settings::default()
    }
}

/// A list that may be left out.
fn texts<T>(fields: &Fields<'_>, key: &str, what: &str, parse: impl Fn(&str) -> Result<T, String>) -> Vec<T> {
    let list = fields.get(key).and_then(|_| fields.list(key, what, parse));
    list.unwrap_or_default().into_iter().map(|placed| placed.value).collect()
}

/// A map with keys of the user's own, which may be left out; without the entries that null takes away.
fn map<V>(
    fields: &Fields<'_>,
    key: &str,
    what: &str,
    parse: impl Fn(&str) -> Result<String, String>,
    read: impl Fn(&Value<'_>) -> Option<V>,
) -> BTreeMap<String, V> {
    let Some(value) = fields.get(key) else { return BTreeMap::new() };
    let entries = value.entries(what, parse).unwrap_or_default();
    entries.into_iter().filter_map(|(key, value)| Some((key, read(&value?)?))).collect()
}

fn ssh(value: &Value<'_>) -> Option<Ssh> {
    let fields = value.fields(&["user", "authorizedKeys"])?;
    let user = fields.required("user", "a login name", scalar::ssh_user);
    let keys = fields.list("authorizedKeys", "public SSH keys", scalar::ssh_key);
    Some(Ssh { user: user?.value, authorized_keys: keys?.into_iter().map(|key| key.value).collect() })
}

fn registries(value: &Value<'_>, folder: &Path) -> BTreeMap<String, Registry> {
    let entries = value.entries("registries by their hosts", guest::registry).unwrap_or_default();
    entries.into_iter().filter_map(|(host, value)| Some((host, registry(&value?, folder)?))).collect()
}

fn registry(value: &Value<'_>, folder: &Path) -> Option<Registry> {
    let fields = value.fields(&["mirrors", "fallback", "caFile", "username", "passwordFile"])?;
    let mirrors = texts(&fields, "mirrors", "http(s) addresses of mirrors", guest::registry_mirror);
    let fallback = fields.optional("fallback", "true or false", scalar::boolean);
    let ca_file = fields.optional("caFile", "the path of a PEM file with CA certificates", scalar::path(folder));
    let username = fields.optional("username", "a user of the registry", guest::registry_user);
    let password_file =
        fields.optional("passwordFile", "the path of a file with the user's password", scalar::path(folder));
    if !value.is_layer() {
        let given = |key| fields.get(key).is_some();
        if given("fallback") && !given("mirrors") {
            value.report("fallback means something only beside mirrors");
        }
        if given("username") != given("passwordFile") {
            value.report("username and passwordFile go together, found one of them");
        }
    }
    Some(Registry {
        // Without a mirror there is nobody else to ask.
        fallback: mirrors.is_empty() || fallback.is_some_and(|fallback| fallback.value),
        mirrors,
        ca_file: ca_file.map(|path| path.value),
        credentials: username.zip(password_file).map(|(username, password_file)| Credentials {
            username: username.value,
            password_file: password_file.value,
        }),
    })
}

/// The two keys of which one says where the bytes are.
fn body(value: &Value<'_>, fields: &Fields<'_>, folder: &Path) -> Option<Body> {
    let content = fields.get("content").and_then(|value| value.text("a text").map(str::to_owned));
    let path = fields.optional("path", "the path of a file", scalar::path(folder));
    if fields.get("content").is_some() && fields.get("path").is_some() {
        value.report("content and path are both given; one of them says what is in it");
    }
    content.map(Body::Text).or_else(|| path.map(|Placed { value, .. }: Placed<PathBuf>| Body::Path(value)))
}

fn file(value: &Value<'_>, folder: &Path) -> Option<OwnFile> {
    let fields = value.fields(&["content", "path", "mode", "owner", "group"])?;
    let body = body(value, &fields, folder);
    let mode = fields.optional("mode", "a mode such as \"0644\"", guest::mode);
    let owner = fields.optional("owner", "the name or number of a user", guest::account);
    let group = fields.optional("group", "the name or number of a group", guest::account);
    if !value.is_layer() && fields.get("content").is_none() && fields.get("path").is_none() {
        value.report("missing key: content or path");
    }
    let name = |account: Option<Placed<String>>| account.map_or_else(|| "root".to_owned(), |account| account.value);
    Some(OwnFile { body: body?, mode: mode.map_or(0o644, |mode| mode.value), owner: name(owner), group: name(group) })
}

fn units(fields: &Fields<'_>, folder: &Path) -> BTreeMap<String, OwnUnit> {
    let Some(value) = fields.get("units") else { return BTreeMap::new() };
    let entries = value.entries("units such as own.service", guest::unit).unwrap_or_default();
    entries.into_iter().filter_map(|(name, value)| Some((name.clone(), unit(&name, &value?, folder)?))).collect()
}

fn unit(name: &str, value: &Value<'_>, folder: &Path) -> Option<OwnUnit> {
    let fields = value.fields(&["content", "path", "enabled"])?;
    let body = body(value, &fields, folder);
    let enabled = fields.optional("enabled", "true or false", scalar::boolean);
    let is_drop_in = name.contains('/');
    if let Some(value) = fields.get("enabled") {
        if is_drop_in {
            value.report("a drop-in is not enabled; its unit is");
        } else if name.contains("@.") && enabled.as_ref().is_some_and(|enabled| enabled.value) {
            value.report("a template is not enabled; its instances are, such as own@1.service");
        }
    }
    let has_body = fields.get("content").is_some() || fields.get("path").is_some();
    if !value.is_layer() && !has_body {
        if is_drop_in {
            value.report("missing key: content or path");
        } else if fields.get("enabled").is_none() {
            value.report("missing key: content, path or enabled");
        }
    }
    Some(OwnUnit { body, enabled: enabled.map(|enabled| enabled.value) })
}

fn label_value(value: &Value<'_>) -> Option<String> {
    let text = value.text("the value of a label")?;
    guest::label_value(text).map_err(|problem| value.report(problem)).ok()
}

/// Of two taints with the same key and effect the later one counts: it is the later layer's.
fn taints(fields: &Fields<'_>) -> BTreeMap<(String, TaintEffect), String> {
    let Some(value) = fields.get("taints") else { return BTreeMap::new() };
    let items = value.items("taints with key, value and effect").unwrap_or_default();
    let mut taints = BTreeMap::new();
    for item in &items {
        let Some((key, taint)) = taint(item) else { continue };
        let (name, effect) = &key;
        if value.is_layer() && taints.contains_key(&key) {
            item.report(format!("{name} with the effect {effect} is given twice"));
        }
        taints.insert(key, taint);
    }
    taints
}

fn taint(value: &Value<'_>) -> Option<((String, TaintEffect), String)> {
    let fields = value.fields(&["key", "value", "effect"])?;
    let key = fields.required("key", "a key such as example.com/pool", guest::qualified_name);
    let taint = fields.get("value").map(|value| label_value(&value));
    let effect = fields.required("effect", "NoSchedule, PreferNoSchedule or NoExecute", guest::taint_effect);
    Some(((key?.value, effect?.value), taint.unwrap_or_else(|| Some(String::new()))?))
}
