//! nodebake.yaml: from text to a [`Config`] in which everything is valid.
//!
//! Plain data stands here; `parse` reads it, with every problem reported at once, each with its line.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use crate::digest::Digest;

mod names;

pub use names::{Arch, ClusterName, Mac, NodeName};

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
    /// Architecture of every node.
    pub arch: Arch,
    /// A mirror (http(s) base or folder) set in the file; the flag and the environment win over it.
    pub mirror: Option<String>,
    /// The network of the workers.
    pub network: Network,
    /// Where the machines run.
    pub libvirt: Libvirt,
    /// A login on the nodes; without it there is no user and no SSH host key.
    pub ssh: Option<Ssh>,
    /// The workers, in the file's order. Names, addresses and MACs are unique.
    pub nodes: Vec<Node>,
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
    /// Folder with ca.pem and, to sign, ca-key.pem.
    pub pki: PathBuf,
    /// Admin kubeconfig; without it `up` stops at "kubelet active".
    pub kubeconfig: Option<PathBuf>,
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
    /// Subnet, with the network address as its address.
    pub cidr: ipnet::Ipv4Net,
    /// Default gateway, inside `cidr`.
    pub gateway: Ipv4Addr,
    /// Resolvers of the nodes, at least one.
    pub nameservers: Vec<IpAddr>,
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

/// One worker; what the file leaves out is filled from `machine:` and the built-in defaults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Host name and name of the Node object.
    pub name: NodeName,
    /// Static address inside the network.
    pub address: Ipv4Addr,
    /// MAC of its network card; derived from cluster, CA and name when the file gives none.
    pub mac: Option<Mac>,
    /// Virtual CPUs.
    pub cpus: u32,
    /// Memory in bytes, a multiple of 1 MiB.
    pub memory: u64,
    /// Size of the root disk in bytes, a multiple of 1 MiB.
    pub disk: u64,
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

    /// MAC of a node's network card, in QEMU's own range 52:54:00.
    pub fn mac(&self, node: &NodeName) -> Mac {
        let digest = Digest::of(format!("mac\n{}", self.name_of(node)).as_bytes());
        let [a, b, c, ..] = *digest.bytes();
        Mac::from([0x52, 0x54, 0x00, a, b, c])
    }

    fn name_of(&self, node: &NodeName) -> String {
        format!("{}\n{}\n{node}", self.name, self.ca)
    }
}

impl Config {
    /// Folder of the cluster file; nodebake.lock and .nodebake/ stand there.
    pub fn folder(&self) -> PathBuf {
        self.file.parent().map_or_else(PathBuf::new, Into::into)
    }

    /// The node's MAC: as given, else derived.
    pub fn mac(&self, id: &ClusterId, node: &Node) -> Mac {
        node.mac.unwrap_or_else(|| id.mac(&node.name))
    }
}
