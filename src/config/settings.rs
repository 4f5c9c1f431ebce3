//! What can be said of a node in three places: `defaults`, its group, and beside its name. Each layer wins over the one
//! before; every value remembers which said it, for `explain` and for errors.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::HypervisorName;
use super::Machine;
use super::Proxy;
use super::Ssh;

/// The settings of a node, all layers laid over each other.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// Its machine beyond its size.
    pub machine: Machine,
    /// Servers that the node takes its time from, addresses or host names; where there are none, the image's own.
    pub ntp: Vec<String>,
    /// The proxy that containerd pulls images through.
    pub proxy: Option<Proxy>,
    /// A login on the node; without it there is no user and no SSH host key.
    pub ssh: Option<Ssh>,
    /// A password for root at the console, as crypt(5) writes it; without it nobody can log in there.
    pub console_login: Option<PasswordHash>,
    /// What is laid over the kubelet's configuration (RFC 7386).
    pub kubelet: Map<String, Value>,
    /// What is laid over containerd's configuration (RFC 7386, on the TOML's tree).
    pub containerd: Map<String, Value>,
    /// Registries that containerd reaches in another way, by their host (and port), or `_default`.
    pub registries: BTreeMap<String, Registry>,
    /// Files of the user's own, by their path in the guest.
    pub files: BTreeMap<String, OwnFile>,
    /// Units and drop-ins of the user's own, by their path below /etc/systemd/system (`own.service`,
    /// `kubelet.service.d/50-own.conf`), and what becomes of the image's.
    pub units: BTreeMap<String, OwnUnit>,
    /// Further `#cloud-config`, laid over ours (RFC 7386).
    pub cloud_config: Map<String, Value>,
    /// Kernel modules to load besides those that containers need.
    pub modules: BTreeSet<String>,
    /// Kernel parameters as sysctl(8) names them, besides those that containers need.
    pub sysctls: BTreeMap<String, String>,
    /// Labels of the Node object.
    pub labels: BTreeMap<String, String>,
    /// Taints of the Node object, by key and effect.
    pub taints: BTreeMap<(String, TaintEffect), String>,
    /// Size of a swap file in bytes, a multiple of 1 MiB; the kubelet then lets pods use it within their limits.
    pub swap: Option<u64>,
    /// A folder whose files stand in for the templates of the same path.
    pub templates: Option<PathBuf>,
    /// The seed stays attached, and its secrets on the node's disk where cloud-init left them.
    pub keep_seed: bool,
    /// The hypervisors among which the group's nodes are divided evenly; all of them where there are none.
    pub hypervisors: Vec<HypervisorName>,
    /// Whether no two nodes of the group run on one hypervisor.
    pub anti_affinity: bool,
    /// Who said what.
    pub origins: Origins,
}

/// What of its identity a kubelet replaces by itself, by requests to the cluster.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rotation {
    /// The certificate that it shows the apiserver (`rotateCertificates`).
    pub client: bool,
    /// The certificate that it serves with (`serverTLSBootstrap`).
    pub server: bool,
}

impl Rotation {
    /// Whether nothing of it is left for others to replace.
    pub fn is_whole(self) -> bool {
        self.client && self.server
    }
}

impl Settings {
    /// What the kubelet replaces by itself, as far as the cluster file says so; what a template of the user's own says is
    /// not known.
    pub fn rotation(&self) -> Rotation {
        let says = |field: &str| self.kubelet.get(field) == Some(&Value::Bool(true));
        Rotation { client: says("rotateCertificates"), server: says("serverTLSBootstrap") }
    }
}

/// A password as crypt(5) writes it; `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(String);

impl PasswordHash {
    /// Takes what crypt(5) wrote.
    pub fn new(hash: String) -> Self {
        Self(hash)
    }

    /// The hash, for /etc/shadow.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(redacted)")
    }
}

/// How containerd reaches a registry (containerd's docs/hosts.md).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Registry {
    /// Base URLs that are asked first, in this order.
    pub mirrors: Vec<String>,
    /// Whether the registry itself is asked after them.
    pub fallback: bool,
    /// PEM file with the CA certificates of these hosts.
    pub ca_file: Option<PathBuf>,
    /// Who asks.
    pub credentials: Option<Credentials>,
}

/// A user of a registry; the password stays in its file until it is rendered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// User name.
    pub username: String,
    /// File whose first line is the password.
    pub password_file: PathBuf,
}

/// Where the bytes of a file or unit come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// From the cluster file.
    Text(String),
    /// From a file of this machine.
    Path(PathBuf),
}

/// A file of the user's own in the guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnFile {
    /// Its bytes.
    pub body: Body,
    /// Permission bits; a file of which neither group nor others have any bit is a secret, and treated as one.
    pub mode: u32,
    /// Its owner, a name of the guest or a number.
    pub owner: String,
    /// Its group, a name of the guest or a number.
    pub group: String,
}

/// A unit of the user's own, or what becomes of one of the image's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnUnit {
    /// Its text; without it the image's own is meant.
    pub body: Option<Body>,
    /// Whether it starts at every boot (`Some(true)`), or is masked (`Some(false)`).
    pub enabled: Option<bool>,
}

/// What a taint does to pods that do not tolerate it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TaintEffect {
    /// They are not scheduled here.
    NoSchedule,
    /// Only if nowhere else.
    PreferNoSchedule,
    /// Those that run are evicted as well.
    NoExecute,
}

impl OwnFile {
    /// Whether others than its owner cannot read it.
    pub fn is_secret(&self) -> bool {
        self.mode.trailing_zeros() >= 6
    }
}

impl fmt::Display for TaintEffect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::NoSchedule => "NoSchedule",
            Self::PreferNoSchedule => "PreferNoSchedule",
            Self::NoExecute => "NoExecute",
        })
    }
}

/// A layer of the cluster file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Layer {
    /// What nodebake does when nobody says anything.
    BuiltIn,
    /// `defaults`.
    Defaults,
    /// A group, by its name.
    Group(String),
    /// The node's own entry.
    Node,
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BuiltIn => f.write_str("built in"),
            Self::Defaults => f.write_str("defaults"),
            Self::Group(name) => write!(f, "group {name}"),
            Self::Node => f.write_str("the node"),
        }
    }
}

/// Where a value was said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The layer that won.
    pub layer: Layer,
    /// Line of the cluster file, from 1; none for what is built in.
    pub line: Option<usize>,
}

impl Origin {
    /// As messages name it; `file` is the cluster file: `defaults, nodebake.yaml:31`.
    pub fn place(&self, file: &Path) -> String {
        let name = file.file_name().unwrap_or(file.as_os_str()).display();
        self.line.map_or_else(|| self.layer.to_string(), |line| format!("{}, {name}:{line}", self.layer))
    }
}

/// The origin of every value that a layer set, by its path in the layer as the file spells it: `["kubelet", "config",
/// "maxPods"]`, `["sysctls", "vm.max_map_count"]`, `["files", "/etc/own.conf", "mode"]`. Lists have one origin, but for those
/// that unite, whose elements have their own: `["modules", "nf_tables"]`, `["taints", "example.com/pool:NoSchedule"]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origins(BTreeMap<Vec<String>, Origin>);

impl FromIterator<(Vec<String>, Origin)> for Origins {
    fn from_iter<I: IntoIterator<Item = (Vec<String>, Origin)>>(origins: I) -> Self {
        Self(origins.into_iter().collect())
    }
}

impl Origins {
    /// Notes who said the value at `path`; what was said of it and of what is beneath it before counts no more.
    pub fn set(&mut self, path: Vec<String>, origin: Origin) {
        self.0.retain(|old, _| !old.starts_with(&path));
        self.0.insert(path, origin);
    }

    /// Who said the value at `path`, or the nearest one above it.
    pub fn of(&self, path: &[&str]) -> Option<&Origin> {
        let path = path.iter().map(ToString::to_string).collect::<Vec<_>>();
        (1..=path.len()).rev().find_map(|length| self.0.get(&path[..length]))
    }

    /// All of them, by their paths.
    pub fn iter(&self) -> impl Iterator<Item = (&[String], &Origin)> {
        self.0.iter().map(|(path, origin)| (path.as_slice(), origin))
    }
}
