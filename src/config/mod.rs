//! nodebake.yaml: from text to a [`Config`] in which everything is valid.
//!
//! Plain data stands here; [`parse`] makes it, with every problem reported at once, each with its line. On the way
//! the text becomes a tree whose values know their places, then drafts, which are compared with each other.
//!
//! How the YAML is read: the place of a value decides its type. Where a text belongs, a plain scalar is taken as it is
//! written, so that `no`, `on` and `1e3` are the names that they look like; null (`~`, `null`, nothing) is never a
//! text. Where a number belongs, only plain decimal digits are one. Duplicate keys, anchors, aliases, tags and further
//! documents are problems.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use jiff::SignedDuration;
use url::Url;

use crate::artifacts::{Checksum, Kind};
use crate::digest::Digest;

mod crowd;
mod deprecated;
mod edit;
mod explain;
mod guest;
mod layer;
mod layers;
mod machine;
mod names;
mod problem;
mod read;
mod scalar;
mod settings;
mod signing;
mod site;
mod supply;
mod tree;
mod value;

#[cfg(test)]
mod tests;

pub use edit::{EditError, VersionKey, set_versions};
pub use explain::{Explained, InForce, fields, nearest_field};
pub use machine::{Bootware, DataDisk, DiskDriver, FurtherNic, Machine, Mount, NicSource};
pub use names::{Arch, ClusterName, HypervisorName, InvalidName, Mac, NodeName};
pub use problem::{ConfigError, Position, Problem};
pub use settings::{
    Body, Credentials, Layer, Origin, Origins, OwnFile, OwnUnit, PasswordHash, Registry, Rotation, Settings,
    TaintEffect,
};
pub use signing::{CaKey, SecretSource};
pub use site::Site;

use problem::Problems;
use tree::Tree;
pub(crate) use value::nearest;

/// What `nodebake init` writes: a commented cluster file with the values of the seed cluster.
pub const INIT: &str = include_str!("init.yaml");

/// What `nodebake schema` prints: a JSON Schema (draft 2020-12) of the cluster file, for editors. It says which keys there are
/// and what they look like; what they mean for each other, the reader alone knows.
pub const SCHEMA: &str = include_str!("schema.json");

/// Largest cluster file in bytes; a node takes less than 200.
const MAX_FILE: usize = 1 << 20;

/// Reads the text of the cluster file `file`, whose folder is where relative paths start.
///
/// Fails with all problems of the file at once ([`ConfigError::Invalid`]).
pub fn parse(file: &Path, text: &str) -> Result<Config, ConfigError> {
    let absolute = std::path::absolute(file).map_err(|source| ConfigError::Read { path: file.to_owned(), source })?;
    let problems = Problems::default();
    if text.len() > MAX_FILE {
        return Err(too_large(file));
    }
    let tree = Tree::read(text, &problems);
    match tree.and_then(|mut tree| read::config(&absolute, &mut tree, &problems)) {
        Some(config) if problems.is_empty() => Ok(config),
        _ => Err(invalid(file, problems)),
    }
}

fn too_large(file: &Path) -> ConfigError {
    let problems = Problems::default();
    problems.report(Position { line: 1, column: 1 }, "", "the file is larger than 1 MiB");
    invalid(file, problems)
}

fn invalid(file: &Path, problems: Problems) -> ConfigError {
    ConfigError::Invalid { file: file.to_owned(), problems: problems.into_sorted() }
}

/// The place behind the last character of UTF-8 text.
fn end_of(text: &[u8]) -> Position {
    let text = String::from_utf8_lossy(text);
    let last = text.rsplit('\n').next().unwrap_or_default();
    Position { line: text.split('\n').count(), column: last.chars().count() + 1 }
}

/// A valid cluster file. Paths are absolute: relative ones in the file start at its folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The cluster file itself.
    pub file: PathBuf,
    /// The cluster that the workers join.
    pub cluster: Cluster,
    /// What is baked.
    pub versions: Versions,
    /// Name of the base image in the catalogue, `ubuntu-24.04`.
    pub image: String,
    /// Where files are downloaded from.
    pub download: Download,
    /// The user's own files, in the file's order; at most one for a kind (or a kind and name) and architecture.
    pub artifacts: Vec<Given>,
    /// The network of the workers.
    pub network: Network,
    /// Where the machines run, where all of them run at one place.
    pub libvirt: Libvirt,
    /// The hypervisors among which the machines are divided, in the file's order; none where they all run at one place.
    pub sites: Vec<Site>,
    /// The workers, in the file's order. Names, addresses and MACs are unique.
    pub nodes: Vec<Node>,
    /// What a later nodebake will not read as it is written, in the order of the file.
    pub warnings: Vec<Problem>,
}

/// What a worker must know of its cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    /// Part of every derived identifier.
    pub name: ClusterName,
    /// Base URL of the apiserver as the workers reach it, `https://10.0.0.4:6443`, no trailing slash.
    pub api_server: String,
    /// Hosts of the control plane, for /etc/hosts of the workers.
    pub control_plane: Vec<Host>,
    /// DNS domain of services, `cluster.local`.
    pub cluster_domain: String,
    /// Addresses of the cluster's DNS service.
    pub cluster_dns: Vec<IpAddr>,
    /// Folder with ca.pem, what was brought along for nodes and, to sign, ca-key.pem.
    pub pki: PathBuf,
    /// Where the CA's key comes from when something must be signed.
    pub ca_key: CaKey,
    /// How long certificates last that are issued, in whole hours.
    pub certificate_lifetime: SignedDuration,
    /// Admin kubeconfig; without it `up` stops at "kubelet active".
    pub kubeconfig: Option<PathBuf>,
    /// Whom the apiserver is to its kubelets: the user name (CN) of its `--kubelet-client-certificate`. With it `up` sees to a
    /// [`crate::cluster::Binding`]; then there is a kubeconfig.
    pub kubelet_client_user: Option<String>,
}

/// A name and an address for /etc/hosts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// DNS label.
    pub name: NodeName,
    /// Address of the host.
    pub address: Ipv4Addr,
}

/// Versions without a leading `v`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Versions {
    /// kubelet and kubectl.
    pub kubernetes: semver::Version,
    /// containerd; its major version chooses the configuration's schema.
    pub containerd: semver::Version,
    /// runc.
    pub runc: semver::Version,
    /// The CNI project's plugins.
    pub cni_plugins: semver::Version,
}

/// The libvirt network and the addressing on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// Name of the libvirt network; an existing one is used as it is, else a NAT network is made.
    pub name: String,
    /// A bridge of the hypervisor in place of a libvirt network.
    pub bridge: Option<String>,
    /// Largest packet in bytes, where it is not the network's own.
    pub mtu: Option<u32>,
    /// Subnet, with the network address as its address.
    pub cidr: ipnet::Ipv4Net,
    /// Default gateway, inside `cidr`.
    pub gateway: Ipv4Addr,
    /// IPv6 beside it.
    pub ipv6: Option<Network6>,
    /// Whether nodes ask for their IPv4 addresses by DHCP; they must be given just those that the cluster file has.
    pub dhcp: bool,
    /// Whether nodes of several hypervisors may be on networks that do not meet by themselves.
    pub apart: bool,
    /// Resolvers of the nodes, at least one.
    pub nameservers: Vec<IpAddr>,
}

/// The addressing by IPv6 on the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network6 {
    /// Subnet, with the network address as its address.
    pub cidr: ipnet::Ipv6Net,
    /// Default gateway, inside `cidr`.
    pub gateway: Ipv6Addr,
}

/// The hypervisor and where it stores volumes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Libvirt {
    /// Connection URI, `qemu:///system`.
    pub uri: String,
    /// How guests run.
    pub acceleration: Acceleration,
    /// Name of the storage pool; an existing one is used as it is.
    pub pool: String,
    /// Folder (on the hypervisor) of the pool when we make it.
    pub pool_path: PathBuf,
}

/// Where files are downloaded from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Download {
    /// Mirrors (http(s) bases or folders), asked in this order; the flag and the environment win over them.
    pub mirrors: Vec<String>,
    /// Whether upstream itself is asked after the mirrors.
    pub fallback: bool,
    /// PEM file with CA certificates that are trusted besides the system's.
    pub ca_file: Option<PathBuf>,
}

/// A file of the user's own: in place of what upstream publishes, or beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    /// What it is.
    pub kind: Kind,
    /// What it is called in the nodes; for kinds of which there can be several: binary, package, container image.
    pub name: Option<String>,
    /// The architecture that it is for.
    pub arch: Arch,
    /// Where it is.
    pub from: Location,
    /// Its digest.
    pub checksum: Checksum,
}

impl Given {
    /// Whether both would stand at one place of a node.
    fn is_same_place(&self, other: &Self) -> bool {
        (self.kind, &self.name, self.arch) == (other.kind, &other.name, other.arch)
    }
}

/// Where a file is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Location {
    /// An http(s) address of a file, as upstream publishes it; a mirror holds it under HOST/PATH.
    Url(Url),
    /// A file of this machine.
    Path(PathBuf),
}

impl Location {
    /// The last name in it.
    pub fn file_name(&self) -> String {
        match self {
            Self::Url(url) => url.path_segments().and_then(Iterator::last).unwrap_or_default().to_owned(),
            Self::Path(path) => path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        }
    }
}

impl Location {
    /// The same as seen from `folder`: what lies beneath it is the same file wherever the folder is.
    #[must_use]
    pub fn beneath(&self, folder: &Path) -> Self {
        match self {
            Self::Path(path) => Self::Path(path.strip_prefix(folder).unwrap_or(path).to_owned()),
            Self::Url(_) => self.clone(),
        }
    }
}

impl std::fmt::Display for Location {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Url(url) => url.fmt(f),
            Self::Path(path) => path.display().fmt(f),
        }
    }
}

/// The proxy of the nodes, without user and password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxy {
    /// For http, `http://HOST:PORT`.
    pub http: Option<String>,
    /// For https.
    pub https: Option<String>,
    /// Hosts, domains and networks that are reached without it, besides the cluster's own.
    pub no: Vec<String>,
}

/// How guests run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acceleration {
    /// kvm where it really works, else tcg.
    Auto,
    /// Hardware virtualisation.
    Kvm,
    /// Emulation by QEMU; slow, works everywhere.
    Tcg,
}

/// A login on the nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ssh {
    /// Login name; may sudo.
    pub user: String,
    /// Lines of `authorized_keys`.
    pub authorized_keys: Vec<String>,
}

/// One worker; what its own entry leaves out is filled from its group, `defaults` and the built-in values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Host name and name of the Node object.
    pub name: NodeName,
    /// Its architecture.
    pub arch: Arch,
    /// Static address inside the network.
    pub address: Ipv4Addr,
    /// Static address inside the network's IPv6 subnet.
    pub address6: Option<Ipv6Addr>,
    /// MAC of its network card; derived from cluster, CA and name when the file gives none.
    pub mac: Option<Mac>,
    /// Virtual CPUs.
    pub cpus: u32,
    /// Memory in bytes, a multiple of 1 MiB.
    pub memory: u64,
    /// Size of the root disk in bytes, a multiple of 1 MiB.
    pub disk: u64,
    /// The group that it belongs to.
    pub group: Option<String>,
    /// The hypervisor that it is bound to.
    pub hypervisor: Option<HypervisorName>,
    /// What the cluster file says of it, all layers laid over each other.
    pub settings: Settings,
}

impl Node {
    /// All its addresses on the nodes' network; the first is the one that the cluster knows it by (Kubernetes' "IPv4/IPv6
    /// dual-stack": `--node-ip` takes one of each family, and the first of them is the node's primary address).
    pub fn addresses(&self) -> Vec<IpAddr> {
        std::iter::once(self.address.into()).chain(self.address6.map(IpAddr::from)).collect()
    }
}

/// Identifies a cluster: its name and the digest of its CA certificate (DER). Two clusters of one name never meet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterId {
    /// Name from the cluster file.
    pub name: ClusterName,
    /// SHA-256 of the CA certificate in DER form.
    pub ca: Digest,
}

impl ClusterId {
    /// Namespace of our version 5 UUIDs (RFC 9562, 5.5).
    const NAMESPACE: uuid::Uuid = uuid::Uuid::from_u128(0x9b1d_6c0e_5f0a_5d6c_8f1e_2d0f_4a77_6b11);

    /// UUID of a node's domain.
    pub fn uuid(&self, node: &NodeName) -> uuid::Uuid {
        uuid::Uuid::new_v5(&Self::NAMESPACE, self.name_of(node).as_bytes())
    }

    /// MAC of a node's first network card, in QEMU's own range 52:54:00.
    pub fn mac(&self, node: &NodeName) -> Mac {
        let digest = Digest::of(format!("mac\n{}", self.name_of(node)).as_bytes());
        let [a, b, c, ..] = *digest.bytes();
        Mac::from([0x52, 0x54, 0x00, a, b, c])
    }

    /// The same of one of its further cards.
    pub fn nic_mac(&self, node: &NodeName, nic: &str) -> Mac {
        let digest = Digest::of(format!("mac\n{}\n{nic}", self.name_of(node)).as_bytes());
        let [a, b, c, ..] = *digest.bytes();
        Mac::from([0x52, 0x54, 0x00, a, b, c])
    }

    fn name_of(&self, node: &NodeName) -> String {
        format!("{}\n{}\n{node}", self.name, self.ca)
    }
}

/// The MACs of a node's network cards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Macs {
    /// Of the one on the nodes' network.
    pub first: Mac,
    /// Of the others, by their names.
    pub further: BTreeMap<String, Mac>,
}

impl From<Mac> for Macs {
    fn from(first: Mac) -> Self {
        Self { first, further: BTreeMap::new() }
    }
}

impl Config {
    /// Reads the cluster file at `path`: UTF-8, with or without a byte order mark, lines ending in LF or CRLF.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let mut bytes = Vec::new();
        let limit = MAX_FILE as u64 + 1;
        File::open(path)
            .and_then(|file| file.take(limit).read_to_end(&mut bytes))
            .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        if bytes.len() > MAX_FILE {
            return Err(too_large(path));
        }
        match std::str::from_utf8(&bytes) {
            Ok(text) => parse(path, text),
            Err(error) => {
                let problems = Problems::default();
                let (good, _) = bytes.split_at(error.valid_up_to());
                problems.report(end_of(good), "", "a byte that is not UTF-8; save the file as UTF-8");
                Err(invalid(path, problems))
            }
        }
    }

    /// Folder of the cluster file; nodebake.lock and .nodebake/ stand there.
    pub fn folder(&self) -> PathBuf {
        self.file.parent().map_or_else(PathBuf::new, Into::into)
    }

    /// The architectures of the nodes, sorted, each once.
    pub fn architectures(&self) -> BTreeSet<Arch> {
        self.nodes.iter().map(|node| node.arch).collect()
    }

    /// The node's MAC: as given, else derived.
    pub fn mac(&self, id: &ClusterId, node: &Node) -> Mac {
        node.mac.unwrap_or_else(|| id.mac(&node.name))
    }

    /// The MACs of all its cards; those of further ones are always derived.
    pub fn macs(&self, id: &ClusterId, node: &Node) -> Macs {
        let further = node.settings.machine.nics.keys();
        let further = further.map(|name| (name.clone(), id.nic_mac(&node.name, name))).collect();
        Macs { first: self.mac(id, node), further }
    }
}
