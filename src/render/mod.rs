//! From a node and its identity to the files that its guest reads: a pure function of these and of the files that the
//! node's settings name.

mod bundle;
mod check;
mod cloud_config;
mod containerd;
mod error;
mod field;
mod golden;
mod in_force;
mod inputs;
mod kubelet;
mod kubelet_fields;
mod labels;
mod merge;
mod network;
mod own;
mod preloaded;
mod proxy;
mod seal;
mod templates;
mod units;
mod yaml;

use serde::Serialize;

use crate::config::{Config, Macs, Mount, Node, NodeName, Rotation};
use crate::digest::Digest;
use crate::identity::HostKey;
use crate::image::{Payload, PayloadContents};
use crate::secret::Secret;
pub use bundle::{Account, Content, GuestFile, NodeBundle, Owner};
pub use error::{Origin, RenderError, Said, TakenBy};
pub use golden::render as render_golden;
pub use in_force::in_force;
pub use inputs::{Input, inputs};
pub use kubelet::PATH as KUBELET_CONFIGURATION;
use own::Own;
use preloaded::Import;
pub use preloaded::canonical as canonical_reference;
use templates::Templates;
pub use templates::may_hold_secrets;
use units::Units;

/// What proves who the node is.
#[derive(Debug, Clone, Copy)]
pub struct Credentials<'a> {
    /// The cluster CA's certificates, PEM.
    pub ca: &'a str,
    /// The node's certificate, PEM.
    pub certificate: &'a str,
    /// Its private key, PEM.
    pub key: &'a Secret,
    /// Its SSH host keys; used where the node has a login.
    pub host_keys: &'a [HostKey],
}

/// Where a node has its payload from; templates see it as `payload_place`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PayloadPlace {
    /// A drive of its own, mounted and run in place.
    Drive,
    /// The seed's drive, which may leave: first boot copies it to the node's disk.
    Seed,
    /// The base image, a golden one that holds this very payload.
    BaseImage,
}

/// virtio serial of a payload's drive (`/dev/disk/by-id/virtio-SERIAL`; virtio takes at most 20 bytes). The guest mounts the
/// payload by it, so that a node never runs from another payload than the one it was rendered for.
pub fn payload_serial(payload: Digest) -> String {
    format!("nb-{}", payload.short())
}

/// Renders the bundle of one node. The same input gives the same bytes; no other node has a say in them.
pub fn render(
    config: &Config,
    node: &Node,
    macs: &Macs,
    credentials: Credentials,
    payload: &Payload,
    place: PayloadPlace,
) -> Result<NodeBundle, RenderError> {
    labels::check(config, node)?;
    let (own, units) = (own::files(config, node)?, units::units(config, node)?);
    let values = Values::new(config, node, macs, payload, place, (&own, &units));
    let mut templates = Templates::new(&values, config, node)?;
    let mut files = guest_files(config, node, &payload.contents, &values, credentials, &templates)?;
    let template = |path: &str| template_at(path, config, node, &payload.contents, place);
    own::add(&mut files, own.into_iter().chain(units.files).collect(), node, template)?;
    files.sort_by(|a, b| a.path.cmp(&b.path));
    let mut bundle = NodeBundle {
        node: node.name.clone(),
        user_data: cloud_config::user_data(config, node, &templates)?,
        vendor_data: templates.render("vendor-data")?,
        meta_data: String::new(),
        network_config: templates.render("network-config")?,
        first_boot: templates.render("guest/first-boot")?,
        root_password: node
            .settings
            .console_login
            .as_ref()
            .map(|hash| Secret::new(format!("root:{}\n", hash.expose()))),
        files,
    };
    templates.set("instance_id", &bundle.instance_id());
    bundle.meta_data = templates.render("meta-data")?;
    check::check(&bundle, config, node, macs, &payload.contents, place, &templates)?;
    Ok(bundle)
}

/// Units that would change the guest behind our back, or wait for what is not there.
const MASKED: [&str; 19] = [
    "apt-daily-upgrade.service",
    "apt-daily-upgrade.timer",
    "apt-daily.service",
    "apt-daily.timer",
    "apt-news.service",
    "esm-cache.service",
    "fwupd-refresh.timer",
    "motd-news.timer",
    "snapd.autoimport.service",
    "snapd.core-fixup.service",
    "snapd.recovery-chooser-trigger.service",
    "snapd.seeded.service",
    "snapd.service",
    "snapd.snap-repair.timer",
    "snapd.socket",
    "swap.target",
    "ua-timer.timer",
    "unattended-upgrades.service",
    "update-notifier-download.timer",
];

/// Masked as well where the cluster file gives no login.
const MASKED_WITHOUT_LOGIN: [&str; 2] = ["ssh.service", "ssh.socket"];

/// Keys only; cloud-init would set this in a module that we do not run.
const SSHD: &str = "PasswordAuthentication no\n";

/// Where the units expect the binaries, and which of the payload's each one is.
const BINARIES: [(&str, &str); 5] = [
    ("/usr/local/bin/containerd", "containerd"),
    ("/usr/local/bin/containerd-shim-runc-v2", "containerd-shim-runc-v2"),
    ("/usr/local/bin/ctr", "ctr"),
    ("/usr/local/bin/kubelet", "kubelet"),
    ("/usr/local/sbin/runc", "runc"),
];

/// Units that start at every boot.
const ENABLED: [&str; 3] = ["containerd.service", "kubelet.service", "nodebake-report.service"];

/// The unit that mounts data disks, and its script. containerd and the kubelet start it.
const DISKS: [&str; 2] = ["/etc/systemd/system/nodebake-disks.service", "/usr/local/lib/nodebake/disks"];

/// The unit that mounts a payload's drive.
const PAYLOAD_MOUNT: &str = "opt-nodebake-payload.mount";

/// Path in the guest, mode and template of what is the same kind of file on every node.
const RENDERED: [(&str, u32, &str); 14] = [
    ("/etc/apt/apt.conf.d/99-nodebake", 0o644, "guest/apt.conf"),
    ("/etc/hostname", 0o644, "guest/hostname"),
    ("/etc/hosts", 0o644, "guest/hosts"),
    ("/etc/kubernetes/kubelet-config.yaml", 0o644, "kubelet/config.yaml"),
    ("/etc/kubernetes/kubelet.kubeconfig", 0o600, "kubelet/kubeconfig"),
    ("/etc/modules-load.d/nodebake.conf", 0o644, "guest/modules-load.conf"),
    ("/etc/sysctl.d/90-nodebake.conf", 0o644, "guest/sysctl.conf"),
    ("/etc/systemd/networkd.conf.d/50-nodebake.conf", 0o644, "guest/networkd.conf"),
    ("/etc/systemd/resolved.conf.d/50-nodebake.conf", 0o644, "guest/resolved.conf"),
    ("/etc/systemd/system/containerd.service", 0o644, "systemd/containerd.service"),
    ("/etc/systemd/system/kubelet.service", 0o644, "systemd/kubelet.service"),
    ("/etc/systemd/system/nodebake-first-boot.service", 0o644, "systemd/nodebake-first-boot.service"),
    ("/etc/systemd/system/nodebake-report.service", 0o644, "systemd/nodebake-report.service"),
    ("/usr/local/lib/nodebake/report", 0o755, "guest/report"),
];

/// The script that gives a kubelet that rotates its certificates the first ones.
const CERTIFICATES: &str = "/usr/local/lib/nodebake/certificates";

/// Where a kubelet keeps the certificate, with its key, that it shows the apiserver and rotates (its
/// `pkg/kubelet/certificate`).
const ROTATED_CLIENT: &str = "/var/lib/kubelet/pki/kubelet-client-current.pem";

/// What of its identity a kubelet replaces by itself, as it calls them in the names of its files.
fn rotated(node: &Node) -> Vec<&'static str> {
    let Rotation { client, server } = node.settings.rotation();
    [(client, "client"), (server, "server")].into_iter().filter(|(does, _)| *does).map(|(_, what)| what).collect()
}

/// The same, where the cluster file asks for it.
fn rendered_when_given(
    config: &Config,
    node: &Node,
    contents: &PayloadContents,
    place: PayloadPlace,
) -> Vec<(&'static str, u32, &'static str)> {
    let mut files = seal::files(node);
    if place == PayloadPlace::Drive {
        let path = "/etc/systemd/system/opt-nodebake-payload.mount";
        files.push((path, 0o644, "systemd/opt-nodebake-payload.mount"));
    }
    if !node.settings.ntp.is_empty() {
        files.push(("/etc/systemd/timesyncd.conf.d/50-nodebake.conf", 0o644, "guest/timesyncd.conf"));
    }
    if node.settings.proxy.is_some() {
        files.push((proxy::DROP_IN, 0o644, "systemd/containerd-proxy.conf"));
    }
    if node.settings.swap.is_some() {
        files.push(("/etc/systemd/system/nodebake-swap.service", 0o644, "systemd/nodebake-swap.service"));
        files.push(("/etc/systemd/system/var-lib-nodebake-swap.swap", 0o644, "systemd/var-lib-nodebake-swap.swap"));
        files.push(("/usr/local/lib/nodebake/swap", 0o755, "guest/swap"));
    }
    if network::asks(config, node) {
        files.push((network::ADDRESS, 0o755, "guest/address"));
    }
    if !mounted(node).is_empty() {
        files.push((DISKS[0], 0o644, "systemd/nodebake-disks.service"));
        files.push((DISKS[1], 0o755, "guest/disks"));
    }
    if !rotated(node).is_empty() {
        files.push((CERTIFICATES, 0o755, "guest/certificates"));
    }
    if !contents.packages.is_empty() {
        files.push(("/etc/systemd/system/nodebake-packages.service", 0o644, "systemd/nodebake-packages.service"));
        files.push(("/usr/local/lib/nodebake/packages", 0o755, "guest/packages"));
    }
    if !contents.images.is_empty() {
        files.push(("/etc/systemd/system/nodebake-images.service", 0o644, "systemd/nodebake-images.service"));
        files.push(("/usr/local/lib/nodebake/images", 0o755, "guest/images"));
    }
    files
}

fn guest_files(
    config: &Config,
    node: &Node,
    contents: &PayloadContents,
    values: &Values,
    credentials: Credentials,
    templates: &Templates,
) -> Result<Vec<GuestFile>, RenderError> {
    let mut files = Vec::new();
    let mut add = |path: &str, content| files.push(GuestFile::new(path, content));
    let given = rendered_when_given(config, node, contents, values.payload_place);
    let network = (!network::is_own(node)).then_some(network::FILE);
    for (path, mode, template) in RENDERED.into_iter().chain(network).chain(given) {
        let mut text = templates.render(template)?;
        if path == kubelet::PATH {
            text = kubelet::configuration(text, config, node, &templates.origin(template))?;
        }
        add(path, Content::Public(text.into_bytes(), mode));
    }
    for nic in values.nics.iter().filter(|_| network.is_some()) {
        let text = templates.render_with(network::NIC, "nic", nic)?;
        add(&network::nic_path(nic.name), Content::Public(text.into_bytes(), 0o644));
    }
    add(&values.paths.ca, Content::Public(credentials.ca.into(), 0o644));
    add(&values.paths.certificate, Content::Public(credentials.certificate.into(), 0o644));
    add(&values.paths.key, Content::Secret(credentials.key.clone(), 0o600));
    if node.settings.ssh.is_some() {
        add("/etc/ssh/sshd_config.d/10-nodebake.conf", Content::Public(SSHD.into(), 0o644));
        for HostKey { name, private, public } in credentials.host_keys {
            add(&format!("/etc/ssh/{name}"), Content::Secret(private.clone(), 0o600));
            add(&format!("/etc/ssh/{name}.pub"), Content::Public(public.clone().into_bytes(), 0o644));
        }
    }
    for (path, binary) in BINARIES {
        add(path, Content::Link(format!("/opt/nodebake/payload/bin/{binary}")));
    }
    for binary in &contents.binaries {
        add(&format!("/usr/local/bin/{binary}"), Content::Link(format!("/opt/nodebake/payload/bin/{binary}")));
    }
    if node.settings.swap.is_some() {
        let unit = "var-lib-nodebake-swap.swap";
        add(
            &format!("/etc/systemd/system/swap.target.wants/{unit}"),
            Content::Link(format!("/etc/systemd/system/{unit}")),
        );
    }
    for unit in masked(node) {
        add(&format!("/etc/systemd/system/{unit}"), Content::Link("/dev/null".to_owned()));
    }
    let mount = (values.payload_place == PayloadPlace::Drive).then_some(PAYLOAD_MOUNT);
    let errands = values.errands.iter().map(|errand| errand.unit);
    for unit in ENABLED.into_iter().chain(mount).chain(seal::units(node)).chain(errands) {
        let link = format!("/etc/systemd/system/multi-user.target.wants/{unit}");
        add(&link, Content::Link(format!("/etc/systemd/system/{unit}")));
    }
    files.extend(containerd::files(config, node, templates).map_err(|fault| fault.of(config, node, templates))?);
    Ok(files)
}

/// The template that is rendered at a path.
fn template_at(
    path: &str,
    config: &Config,
    node: &Node,
    contents: &PayloadContents,
    place: PayloadPlace,
) -> Option<&'static str> {
    let mut rendered =
        RENDERED.into_iter().chain([network::FILE]).chain(rendered_when_given(config, node, contents, place));
    let found = rendered.find(|(there, ..)| *there == path).map(|(.., template)| template);
    let is_nic = node.settings.machine.nics.keys().any(|name| network::nic_path(name) == path);
    found.or(is_nic.then_some(network::NIC)).or_else(|| containerd::template_at(path, config))
}

/// What we mask; what the cluster file says of a unit goes before it.
fn masked(node: &Node) -> Vec<&'static str> {
    let without_login = if node.settings.ssh.is_some() { &[][..] } else { &MASKED_WITHOUT_LOGIN };
    MASKED
        .iter()
        .chain(without_login)
        .copied()
        .filter(|unit| !units::wants(node, unit) && (*unit != "swap.target" || node.settings.swap.is_none()))
        .collect()
}

/// The image of the pods' sandboxes: one that the payload holds, so that no registry is needed; else what the kubelet of a
/// minor version expects (its `cmd/kubeadm/app/constants`).
fn sandbox_image(config: &Config, contents: &PayloadContents) -> String {
    preloaded::sandbox(contents).unwrap_or_else(|| expected_sandbox_image(&config.versions.kubernetes).to_owned())
}

fn expected_sandbox_image(kubernetes: &semver::Version) -> &'static str {
    match kubernetes.minor {
        ..=30 => "registry.k8s.io/pause:3.9",
        31..=33 => "registry.k8s.io/pause:3.10",
        _ => "registry.k8s.io/pause:3.10.1",
    }
}

/// What templates can use.
#[derive(Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is a question that a template asks")]
struct Values<'a> {
    cluster: ClusterValues<'a>,
    node: NodeValues<'a>,
    network: NetworkValues<'a>,
    paths: Paths,
    /// What of its identity the kubelet replaces by itself: client, server.
    rotated: Vec<&'static str>,
    ssh: Option<SshValues<'a>>,
    payload_serial: String,
    payload_place: PayloadPlace,
    channel: &'static str,
    sandbox_image: String,
    masked_units: String,
    errands: Vec<Errand>,
    images: Vec<Import<'a>>,
    images_stamp: String,
    packages_stamp: String,
    /// Whether `ctr images import` can write what it unpacks to the disk before containerd notes it; containerd 1.x cannot.
    sync_fs: bool,
    keep_seed: bool,
    ntp: &'a [String],
    /// Variables of containerd's environment.
    proxy: Vec<String>,
    /// Kernel modules besides those that containers need.
    modules: Vec<&'a str>,
    /// Kernel parameters besides those that containers need.
    sysctls: Vec<SysctlValues<'a>>,
    /// Files whose owners only the guest can look up.
    owned: Vec<OwnedValues<'a>>,
    /// Units of the image to enable.
    enabled_units: &'a [String],
    /// Units to start at first boot.
    own_units: &'a [String],
    /// Size of the swap file in bytes.
    swap: Option<u64>,
    /// Network cards beside the first.
    nics: Vec<network::NicValues<'a>>,
    /// Data disks that are mounted, those first that others are mounted in.
    disks: Vec<DiskValues<'a>>,
    /// Whether root has a password at the console.
    console_login: bool,
    /// Labels as the kubelet's flag takes them.
    node_labels: String,
    /// Taints that the kubelet registers with.
    taints: Vec<labels::Taint<'a>>,
    /// Whether systemd must read all units anew.
    reload: bool,
    /// Whether the kubelet holds a shutdown up, and so needs logind.
    graceful_shutdown: bool,
    /// Whether a network-config of the user's own says what the network is.
    own_network: bool,
}

#[derive(Serialize)]
struct SysctlValues<'a> {
    name: &'a str,
    value: &'a str,
}

#[derive(Serialize)]
struct DiskValues<'a> {
    name: &'a str,
    path: &'a str,
    file_system: &'a str,
}

/// The data disks that the guest mounts.
fn mounted(node: &Node) -> Vec<DiskValues<'_>> {
    let mut mounted = Vec::new();
    for (name, disk) in &node.settings.machine.data_disks {
        if let Some(Mount { path, file_system }) = &disk.mount {
            mounted.push(DiskValues { name, path, file_system });
        }
    }
    mounted.sort_by_key(|disk| disk.path);
    mounted
}

#[derive(Serialize)]
struct OwnedValues<'a> {
    path: &'a str,
    /// `USER:GROUP`.
    owner: String,
}

/// What a first boot does beside the kubelet.
#[derive(Serialize)]
struct Errand {
    /// The stage that it leads to, as it is reported.
    stage: &'static str,
    unit: &'static str,
    /// A file that is there when it is done; named after the payload, so that a copied disk does it again.
    stamp: String,
}

impl Errand {
    fn of(contents: &PayloadContents, payload: Digest) -> Vec<Self> {
        let mut errands = Vec::new();
        let mut add = |stage, unit| errands.push(Self { stage, unit, stamp: stamp(stage, payload) });
        if !contents.images.is_empty() {
            add(IMAGES_IMPORTED, "nodebake-images.service");
        }
        if !contents.packages.is_empty() {
            add(PACKAGES_INSTALLED, "nodebake-packages.service");
        }
        errands
    }
}

/// [`crate::boot::Stage::ImagesImported`] as the guest writes it.
const IMAGES_IMPORTED: &str = "images-imported";
/// [`crate::boot::Stage::PackagesInstalled`] as the guest writes it.
const PACKAGES_INSTALLED: &str = "packages-installed";

fn stamp(stage: &str, payload: Digest) -> String {
    format!("/var/lib/nodebake/{stage}.{}", payload_serial(payload))
}

#[derive(Serialize)]
struct ClusterValues<'a> {
    name: &'a crate::config::ClusterName,
    api_server: &'a str,
    domain: &'a str,
    dns: &'a [std::net::IpAddr],
    control_plane: Vec<HostValues<'a>>,
}

#[derive(Serialize)]
struct HostValues<'a> {
    name: &'a NodeName,
    address: std::net::Ipv4Addr,
}

#[derive(Serialize)]
struct NodeValues<'a> {
    name: &'a NodeName,
    /// User of the Node authorizer.
    user: String,
    address: std::net::Ipv4Addr,
    address_with_prefix: String,
    address6: Option<std::net::Ipv6Addr>,
    address6_with_prefix: Option<String>,
    /// All of them, parted by commas, as the kubelet's `--node-ip` takes them.
    addresses: String,
    mac: String,
}

#[derive(Serialize)]
struct NetworkValues<'a> {
    gateway: std::net::Ipv4Addr,
    gateway6: Option<std::net::Ipv6Addr>,
    /// Whether networkd asks for the IPv4 address by DHCP.
    dhcp: bool,
    nameservers: &'a [std::net::IpAddr],
    /// Largest packet in bytes, where it is not the network's own.
    mtu: Option<u32>,
}

#[derive(Serialize)]
struct Paths {
    ca: String,
    /// The pair that is baked.
    certificate: String,
    key: String,
    /// What the kubelet shows the apiserver: the same, or what it rotates to.
    client_certificate: String,
    client_key: String,
}

impl Paths {
    fn of(node: &Node) -> Self {
        let [certificate, key] = ["", "-key"].map(|what| format!("/etc/kubernetes/pki/{}{what}.pem", node.name));
        let rotates = node.settings.rotation().client;
        let shown = |baked: &String| if rotates { ROTATED_CLIENT.to_owned() } else { baked.clone() };
        Self {
            ca: "/etc/kubernetes/pki/ca.pem".to_owned(),
            client_certificate: shown(&certificate),
            client_key: shown(&key),
            certificate,
            key,
        }
    }
}

#[derive(Serialize)]
struct SshValues<'a> {
    user: &'a str,
    authorized_keys: &'a [String],
}

impl<'a> Values<'a> {
    fn new(
        config: &'a Config,
        node: &'a Node,
        macs: &'a Macs,
        payload: &'a Payload,
        place: PayloadPlace,
        (own, units): (&'a [Own], &'a Units),
    ) -> Self {
        let (cluster, settings) = (&config.cluster, &node.settings);
        let masked = masked(node).into_iter().chain(units.masked.iter().map(String::as_str));
        let owned = own.iter().map(|own| &own.file).filter(|file| file.owner.has_names());
        let hosts = &cluster.control_plane;
        Self {
            cluster: ClusterValues {
                name: &cluster.name,
                api_server: &cluster.api_server,
                domain: &cluster.cluster_domain,
                dns: &cluster.cluster_dns,
                control_plane: hosts.iter().map(|h| HostValues { name: &h.name, address: h.address }).collect(),
            },
            node: NodeValues {
                name: &node.name,
                user: format!("system:node:{}", node.name),
                address: node.address,
                address_with_prefix: format!("{}/{}", node.address, config.network.cidr.prefix_len()),
                address6: node.address6,
                address6_with_prefix: network::address6(config, node).map(|address| address.to_string()),
                addresses: node.addresses().iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
                mac: macs.first.to_string(),
            },
            network: NetworkValues {
                gateway: config.network.gateway,
                gateway6: config.network.ipv6.map(|ipv6| ipv6.gateway),
                dhcp: network::asks(config, node),
                nameservers: &config.network.nameservers,
                mtu: config.network.mtu,
            },
            paths: Paths::of(node),
            rotated: rotated(node),
            ssh: settings.ssh.as_ref().map(|ssh| SshValues { user: &ssh.user, authorized_keys: &ssh.authorized_keys }),
            payload_serial: payload_serial(payload.digest),
            payload_place: place,
            channel: crate::boot::CHANNEL,
            sandbox_image: sandbox_image(config, &payload.contents),
            masked_units: masked.collect::<Vec<_>>().join(" "),
            errands: Errand::of(&payload.contents, payload.digest),
            images: preloaded::imports(&payload.contents),
            images_stamp: stamp(IMAGES_IMPORTED, payload.digest),
            packages_stamp: stamp(PACKAGES_INSTALLED, payload.digest),
            sync_fs: config.versions.containerd.major > 1,
            keep_seed: settings.keep_seed,
            ntp: &settings.ntp,
            proxy: settings.proxy.as_ref().map(|proxy| proxy::variables(config, proxy)).unwrap_or_default(),
            modules: settings.modules.iter().map(String::as_str).collect(),
            sysctls: settings.sysctls.iter().map(|(name, value)| SysctlValues { name, value }).collect(),
            owned: owned.map(|file| OwnedValues { path: &file.path, owner: file.owner.to_string() }).collect(),
            enabled_units: &units.enable,
            own_units: &units.start,
            swap: settings.swap,
            nics: network::nics(node, macs),
            disks: mounted(node),
            console_login: settings.console_login.is_some(),
            node_labels: labels::flag(node),
            taints: labels::taints(node),
            reload: !settings.units.is_empty(),
            graceful_shutdown: kubelet::shuts_down_gracefully(node),
            own_network: network::is_own(node),
        }
    }
}

#[cfg(test)]
mod tests;
