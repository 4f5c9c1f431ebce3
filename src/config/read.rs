//! The cluster file's schema: which keys there are, what they hold, what they mean for each other.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use ipnet::{Ipv4Net, Ipv6Net};
use jiff::SignedDuration;

use super::crowd::Crowd;
use super::deprecated;
use super::layer::{self, DEFAULT_CPUS, DEFAULT_DISK, DEFAULT_MEMORY, Said};
use super::layers::Layers;
use super::problem::Problems;
use super::scalar::{self, ApiServer};
use super::signing::{self, CaKey};
use super::site;
use super::supply;
use super::tree::Tree;
use super::value::{Fields, Placed, Value};
use super::{
    Acceleration, Arch, Cluster, ClusterName, Config, Download, Host, HypervisorName, Libvirt, Mac, Network, Network6,
    Node, NodeName, Versions,
};

/// The one form of cluster files that this nodebake reads.
const API_VERSION: &str = "nodebake/v1";
const ADDRESS: &str = "an IPv4 address such as 10.0.0.36";
const NEEDS_KUBECONFIG: &str = "only an administrator can bind a user to a role, and cluster.kubeconfig names none";
const ADDRESS6: &str = "an IPv6 address such as fd00:10::36";
const NODE_NAME: &str = "a name such as worker-node-1";

const KEYS: &[&str] = &[
    "apiVersion",
    "cluster",
    "versions",
    "image",
    "download",
    "artifacts",
    "network",
    "libvirt",
    "hypervisors",
    "defaults",
    "groups",
    "nodes",
];

/// Reads the tree of a cluster file, of which it puts right what moved; `file` is absolute. `None` only after a report; where
/// something was reported, the config that may still come of it means nothing.
pub(super) fn config(file: &Path, tree: &mut Tree, problems: &Problems) -> Option<Config> {
    let folder = file.parent().unwrap_or(file);
    if !is_known_form(tree, problems)? {
        return None;
    }
    let warnings = deprecated::put_right(tree, problems);
    let fields = Value::root(tree, problems).fields(KEYS)?;
    let cluster = fields.must("cluster", "the cluster that the nodes join").and_then(|value| cluster(&value, folder));
    let versions = fields.must("versions", "what is baked").and_then(|value| versions(&value));
    let image = fields.required("image", "a base image such as ubuntu-24.04", scalar::image);
    let (mut layers, defaults) = Layers::read(&fields, folder, problems);
    let arch = defaults.arch.unwrap_or(Arch::Amd64);
    let download =
        fields.get("download").map_or_else(|| Some(Download::default()), |value| supply::download(&value, folder));
    let artifacts = fields.get("artifacts").map(|value| supply::artifacts(&value, folder, arch)).unwrap_or_default();
    let network = fields.must("network", "the network of the nodes").and_then(|value| network(&value));
    let libvirt = fields.get("libvirt").map_or_else(|| Some(default_libvirt()), |value| libvirt(&value));
    let sites = fields.get("hypervisors").map_or_else(|| Some(Vec::new()), |value| site::read(&value));
    if let Some(value) = fields.get("hypervisors").filter(|_| fields.get("libvirt").is_some()) {
        value.report("libvirt and hypervisors are both given; one of them says where the machines run");
    }
    let nodes = nodes(&fields, &mut layers);
    Crowd {
        cluster: cluster.as_ref(),
        network: network.as_ref(),
        sites: sites.as_deref(),
        nodes: nodes.as_deref().unwrap_or_default(),
        problems,
    }
    .check();
    Some(Config {
        file: file.to_owned(),
        cluster: cluster?.finish()?,
        versions: versions?,
        image: image?.value,
        download: download?,
        artifacts,
        network: network?.finish()?,
        libvirt: libvirt?,
        sites: sites?.into_iter().map(site::SiteDraft::finish).collect::<Option<_>>()?,
        nodes: nodes?.into_iter().map(NodeDraft::finish).collect::<Option<_>>()?,
        warnings,
    })
}

/// Whether it is of the form that this nodebake reads, as far as it says: what a file of another form says follows rules that
/// we do not know.
fn is_known_form(tree: &Tree, problems: &Problems) -> Option<bool> {
    let fields = Value::root(tree, problems).map(KEYS)?;
    let known = fields.required("apiVersion", API_VERSION, api_version);
    Some(known.is_some() || fields.get("apiVersion").is_none())
}

fn api_version(text: &str) -> Result<(), String> {
    if text == API_VERSION {
        return Ok(());
    }
    Err(format!("{} is not {API_VERSION:?}, the only form that this nodebake reads", super::problem::quoted(text)))
}

/// What could be read of `cluster`, to be compared with the rest of the file.
pub(super) struct ClusterDraft {
    name: Option<Placed<ClusterName>>,
    pub(super) api_server: Option<Placed<ApiServer>>,
    pub(super) control_plane: Vec<HostDraft>,
    cluster_domain: String,
    cluster_dns: Option<Vec<Placed<IpAddr>>>,
    pki: Option<Placed<PathBuf>>,
    ca_key: CaKey,
    certificate_lifetime: SignedDuration,
    kubeconfig: Option<PathBuf>,
    kubelet_client_user: Option<String>,
}

/// What could be read of a host of the control plane.
pub(super) struct HostDraft {
    pub(super) name: Option<Placed<NodeName>>,
    pub(super) address: Option<Placed<Ipv4Addr>>,
}

fn cluster(value: &Value<'_>, folder: &Path) -> Option<ClusterDraft> {
    const KEYS: &[&str] = &[
        "name",
        "apiServer",
        "controlPlane",
        "clusterDomain",
        "clusterDNS",
        "pki",
        "caKey",
        "certificateLifetime",
        "kubeconfig",
        "kubeletClientUser",
    ];
    let fields = value.fields(KEYS)?;
    let domain = fields.optional("clusterDomain", "a DNS domain such as cluster.local", scalar::domain);
    let kubeconfig = fields.optional("kubeconfig", "the path of an admin kubeconfig", scalar::path(folder));
    let user = fields.optional("kubeletClientUser", "a user name such as kube-apiserver", scalar::user_name);
    if let Some(user) = fields.get("kubeletClientUser").filter(|_| fields.get("kubeconfig").is_none()) {
        user.report(NEEDS_KUBECONFIG);
    }
    let lifetime = fields.optional("certificateLifetime", "a time such as 365d", signing::lifetime);
    let default_lifetime = || SignedDuration::from_hours(24 * signing::DEFAULT_LIFETIME);
    Some(ClusterDraft {
        name: fields.required("name", "a cluster name such as seed", scalar::own),
        api_server: fields.required("apiServer", "a URL such as https://10.0.0.4:6443", scalar::api_server),
        control_plane: fields.get("controlPlane").map(|value| hosts(&value)).unwrap_or_default(),
        cluster_domain: domain.map_or_else(|| "cluster.local".to_owned(), |domain| domain.value),
        cluster_dns: fields.list("clusterDNS", "addresses such as 10.96.0.10", scalar::server),
        pki: fields.required("pki", "the path of the folder with ca.pem", scalar::path(folder)),
        ca_key: fields.get("caKey").and_then(|value| signing::ca_key(&value, folder)).unwrap_or_default(),
        certificate_lifetime: lifetime.map_or_else(default_lifetime, |lifetime| lifetime.value),
        kubeconfig: kubeconfig.map(|kubeconfig| kubeconfig.value),
        kubelet_client_user: user.map(|user| user.value),
    })
}

fn hosts(value: &Value<'_>) -> Vec<HostDraft> {
    let host = |value: &Value<'_>| {
        let fields = value.fields(&["name", "address"])?;
        Some(HostDraft {
            name: fields.required("name", "a name such as control-plane-1", scalar::host_name),
            address: fields.required("address", ADDRESS, scalar::ipv4),
        })
    };
    value.items("hosts with name and address").unwrap_or_default().iter().filter_map(host).collect()
}

impl ClusterDraft {
    fn finish(self) -> Option<Cluster> {
        let host = |host: HostDraft| Some(Host { name: host.name?.value, address: host.address?.value });
        Some(Cluster {
            name: self.name?.value,
            api_server: self.api_server?.value.url,
            control_plane: self.control_plane.into_iter().map(host).collect::<Option<_>>()?,
            cluster_domain: self.cluster_domain,
            cluster_dns: values(self.cluster_dns?),
            pki: self.pki?.value,
            ca_key: self.ca_key,
            certificate_lifetime: self.certificate_lifetime,
            kubeconfig: self.kubeconfig,
            kubelet_client_user: self.kubelet_client_user,
        })
    }
}

fn values<T>(placed: Vec<Placed<T>>) -> Vec<T> {
    placed.into_iter().map(|placed| placed.value).collect()
}

fn versions(value: &Value<'_>) -> Option<Versions> {
    let fields = value.fields(&["kubernetes", "containerd", "runc", "cniPlugins"])?;
    let kubernetes = fields.required("kubernetes", "a version such as v1.35.1", scalar::kubernetes);
    let containerd = fields.required("containerd", "a version such as 2.2.1", scalar::containerd);
    let runc = fields.required("runc", "a version such as v1.2.8", scalar::version);
    let cni_plugins = fields.required("cniPlugins", "a version such as v1.9.0", scalar::version);
    Some(Versions {
        kubernetes: kubernetes?.value,
        containerd: containerd?.value,
        runc: runc?.value,
        cni_plugins: cni_plugins?.value,
    })
}

/// What could be read of `network`.
pub(super) struct NetworkDraft {
    name: String,
    bridge: Option<String>,
    mtu: Option<u32>,
    pub(super) cidr: Option<Placed<Ipv4Net>>,
    pub(super) gateway: Option<Placed<Ipv4Addr>>,
    pub(super) ipv6: Option<Network6Draft>,
    dhcp: bool,
    apart: bool,
    nameservers: Option<Vec<Placed<IpAddr>>>,
}

/// What could be read of its IPv6.
pub(super) struct Network6Draft {
    pub(super) cidr: Option<Placed<Ipv6Net>>,
    pub(super) gateway: Option<Placed<Ipv6Addr>>,
}

fn network6(fields: &Fields<'_>, mtu: Option<u32>) -> Option<Network6Draft> {
    fields.get("cidr6").or_else(|| fields.get("gateway6"))?;
    if let Some(value) = fields.get("mtu").filter(|_| mtu.is_some_and(|mtu| mtu < scalar::MTU6)) {
        value.report(scalar::small_mtu6());
    }
    Some(Network6Draft {
        cidr: fields.required("cidr6", "a network such as fd00:10::/64", scalar::cidr6),
        gateway: fields.required("gateway6", "an IPv6 address such as fd00:10::1", scalar::ipv6),
    })
}

fn network(value: &Value<'_>) -> Option<NetworkDraft> {
    const KEYS: &[&str] =
        &["name", "bridge", "mtu", "cidr", "gateway", "cidr6", "gateway6", "dhcp", "apart", "nameservers"];
    let fields = value.fields(KEYS)?;
    let name = fields.optional("name", "the name of a libvirt network", scalar::libvirt_name);
    let bridge = fields.optional("bridge", "a bridge of the hypervisor such as br0", scalar::interface);
    if let Some(value) = fields.get("bridge").filter(|_| fields.get("name").is_some()) {
        value.report("name and bridge are both given; the nodes are on one of them");
    }
    let mtu = fields.get("mtu").and_then(|value| value.number(&scalar::MTU));
    Some(NetworkDraft {
        bridge: bridge.map(|bridge| bridge.value),
        mtu,
        ipv6: network6(&fields, mtu),
        dhcp: fields.optional("dhcp", "true or false", scalar::boolean).is_some_and(|dhcp| dhcp.value),
        apart: fields.optional("apart", "true or false", scalar::boolean).is_some_and(|apart| apart.value),
        name: name.map_or_else(|| "nodebake".to_owned(), |name| name.value),
        cidr: fields.required("cidr", "a network such as 10.0.0.0/24", scalar::cidr),
        gateway: fields.required("gateway", "an IPv4 address such as 10.0.0.1", scalar::ipv4),
        nameservers: fields.list("nameservers", "addresses such as 10.0.0.1", scalar::server),
    })
}

impl NetworkDraft {
    fn finish(self) -> Option<Network> {
        let network6 = |draft: Network6Draft| Some(Network6 { cidr: draft.cidr?.value, gateway: draft.gateway?.value });
        Some(Network {
            ipv6: match self.ipv6 {
                Some(draft) => Some(network6(draft)?),
                None => None,
            },
            dhcp: self.dhcp,
            apart: self.apart,
            name: self.name,
            bridge: self.bridge,
            mtu: self.mtu,
            cidr: self.cidr?.value,
            gateway: self.gateway?.value,
            nameservers: values(self.nameservers?),
        })
    }
}

fn default_libvirt() -> Libvirt {
    Libvirt {
        uri: "qemu:///system".to_owned(),
        acceleration: Acceleration::Auto,
        pool: "nodebake".to_owned(),
        pool_path: PathBuf::from("/var/lib/libvirt/nodebake"),
    }
}

fn libvirt(value: &Value<'_>) -> Option<Libvirt> {
    let fields = value.fields(&["uri", "acceleration", "pool", "poolPath"])?;
    Some(hypervisor(&fields, fields.optional("uri", "a connection such as qemu:///system", scalar::libvirt_uri)))
}

/// A hypervisor and its pool; what is not said is as it is elsewhere.
pub(super) fn hypervisor(fields: &Fields<'_>, uri: Option<Placed<String>>) -> Libvirt {
    let acceleration = fields.optional("acceleration", "auto, kvm or tcg", scalar::acceleration);
    let pool = fields.optional("pool", "the name of a storage pool", scalar::libvirt_name);
    let path = fields.optional("poolPath", "a folder on the hypervisor", scalar::remote_path);
    let default = default_libvirt();
    Libvirt {
        uri: uri.map_or(default.uri, |uri| uri.value),
        acceleration: acceleration.map_or(default.acceleration, |acceleration| acceleration.value),
        pool: pool.map_or(default.pool, |pool| pool.value),
        pool_path: path.map_or(default.pool_path, |path| path.value),
    }
}

/// What could be read of a node.
pub(super) struct NodeDraft {
    pub(super) name: Option<Placed<NodeName>>,
    pub(super) address: Option<Placed<Ipv4Addr>>,
    pub(super) address6: Option<Placed<Ipv6Addr>>,
    pub(super) mac: Option<Placed<Mac>>,
    pub(super) group: Option<String>,
    pub(super) hypervisor: Option<Placed<HypervisorName>>,
    pub(super) said: Said,
}

fn nodes<'t>(fields: &Fields<'t>, layers: &mut Layers<'t>) -> Option<Vec<NodeDraft>> {
    const ITEMS: &str = "nodes with name and address";
    let value = fields.must("nodes", &format!("a list of {ITEMS}"))?;
    let items = value.items(ITEMS)?;
    if items.is_empty() {
        value.report("expected at least one node, found an empty list");
    }
    layers.nodes(&items);
    Some(items.iter().filter_map(|item| node(item, layers)).collect())
}

fn node<'t>(value: &Value<'t>, layers: &mut Layers<'t>) -> Option<NodeDraft> {
    // What is no map was reported when the layers were read, and so were unknown keys.
    let fields = value.entries_of(layer::NODE_KEYS)?;
    let group = fields.optional("group", "the name of a group", |name| layers.group(name)).map(|group| group.value);
    Some(NodeDraft {
        name: fields.required("name", NODE_NAME, scalar::host_name),
        address: fields.required("address", ADDRESS, scalar::ipv4),
        address6: fields.optional("address6", ADDRESS6, scalar::ipv6),
        mac: fields.optional("mac", "a MAC address such as 52:54:00:12:34:56", scalar::mac),
        hypervisor: fields.optional("hypervisor", "the name of a hypervisor", scalar::own),
        said: layers.said(group.as_deref(), value.tree()),
        group,
    })
}

impl NodeDraft {
    fn finish(self) -> Option<Node> {
        let Said { arch, cpus, memory, disk, mut settings, hypervisors, .. } = self.said;
        settings.hypervisors = values(hypervisors);
        Some(Node {
            name: self.name?.value,
            arch: arch.unwrap_or(Arch::Amd64),
            address: self.address?.value,
            address6: self.address6.map(|address| address.value),
            mac: self.mac.map(|mac| mac.value),
            cpus: cpus.unwrap_or(DEFAULT_CPUS),
            memory: memory.unwrap_or(DEFAULT_MEMORY),
            disk: disk.unwrap_or(DEFAULT_DISK),
            group: self.group,
            hypervisor: self.hypervisor.map(|hypervisor| hypervisor.value),
            settings,
        })
    }
}
