//! Reads back what was rendered, with types that refuse what they do not know, and compares it with what was meant: a
//! guest that does not understand its files cannot tell anybody.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::templates::Templates;
use super::{
    CERTIFICATES, Content, GuestFile, NodeBundle, Origin, PAYLOAD_MOUNT, PayloadPlace, ROTATED_CLIENT, RenderError,
    cloud_config, containerd, kubelet, network, preloaded, proxy, rotated, seal,
};
use crate::config::{Config, Macs, Node};
use crate::image::PayloadContents;

/// Checks every structured file of a bundle. What the user's own template renders is its author's: of such a file only
/// what other files and first boot rely upon is checked.
pub(super) fn check(
    bundle: &NodeBundle,
    config: &Config,
    node: &Node,
    macs: &Macs,
    contents: &PayloadContents,
    place: PayloadPlace,
    templates: &Templates,
) -> Result<(), RenderError> {
    let own = |name| matches!(templates.origin(name), Origin::Own(_));
    let ours = |name, result: &dyn Fn() -> Result<(), String>| if own(name) { Ok(()) } else { result() };
    let own_network = network::is_own(node);
    let checks: [(&'static str, Result<(), String>); 18] = [
        ("user-data", cloud_config::check(&bundle.user_data, node, own("user-data"))),
        ("vendor-data", vendor_data(&bundle.vendor_data)),
        (
            "network-config",
            if own_network {
                network::check_own(&bundle.network_config, macs.first)
            } else {
                network::check(&bundle.network_config)
            },
        ),
        (
            network::FILE.2,
            if own_network {
                Ok(())
            } else {
                ours(network::FILE.2, &|| network::check_file(bundle, config, node, macs.first))
            },
        ),
        (
            network::NIC,
            if own_network { Ok(()) } else { ours(network::NIC, &|| network::check_nics(bundle, node, macs)) },
        ),
        ("guest/disks", ours("guest/disks", &|| disks(bundle, node))),
        ("kubelet/config.yaml", kubelet::check(bundle, config, node, own("kubelet/config.yaml"))),
        ("systemd/kubelet.service", ours("systemd/kubelet.service", &|| kubelet_unit(bundle, config, node))),
        ("kubelet/kubeconfig", kubeconfig(bundle, config, node)),
        (
            "systemd/containerd-proxy.conf",
            ours("systemd/containerd-proxy.conf", &|| containerd_proxy(bundle, config, node)),
        ),
        ("guest/timesyncd.conf", ours("guest/timesyncd.conf", &|| time_servers(bundle, node))),
        ("guest/modules-load.conf", ours("guest/modules-load.conf", &|| modules(bundle, node))),
        ("guest/sysctl.conf", ours("guest/sysctl.conf", &|| sysctls(bundle, node))),
        ("guest/images", ours("guest/images", &|| images(bundle, contents))),
        (
            "guest/packages",
            ours("guest/packages", &|| {
                errand(bundle, "packages", "nodebake-packages.service", !contents.packages.is_empty())
            }),
        ),
        ("systemd/", payload_mount(bundle, place)),
        ("guest/seal", ours("guest/seal", &|| seal::check(bundle, node))),
        // Last: its instance-id depends on all the others.
        ("meta-data", meta_data(bundle, node)),
    ];
    containerd::check(bundle, config, node, contents).map_err(|fault| fault.of(config, node, templates))?;
    kubelet::check_flags(bundle, config, node, templates)?;
    for (name, result) in checks {
        let template = templates.origin(name);
        result.map_err(|problem| RenderError::Check { node: node.name.clone(), template, problem })?;
    }
    Ok(())
}

pub(super) fn yaml<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_yaml::from_str(text).map_err(|error| error.to_string())
}

pub(super) fn same<T: PartialEq + std::fmt::Debug>(field: &str, got: &T, wanted: &T) -> Result<(), String> {
    if got == wanted { Ok(()) } else { Err(format!("{field} reads back as {got:?}, not as {wanted:?}")) }
}

pub(super) fn text<'a>(bundle: &'a NodeBundle, path: &str) -> Result<&'a str, String> {
    match bundle.file(path) {
        Some(Content::Public(bytes, _)) => std::str::from_utf8(bytes).map_err(|error| error.to_string()),
        _ => Err(format!("{path} is not there")),
    }
}

/// Without it nothing else of the seed is ever looked at.
fn vendor_data(text: &str) -> Result<(), String> {
    same("the first line", &text.lines().next(), &Some("#cloud-boothook"))?;
    same("that it starts first boot", &text.contains("/nodebake/first-boot"), &true)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct MetaData {
    instance_id: String,
    local_hostname: String,
    dsmode: String,
}

fn meta_data(bundle: &NodeBundle, node: &Node) -> Result<(), String> {
    let data: MetaData = yaml(&bundle.meta_data)?;
    same("instance-id", &data.instance_id, &bundle.instance_id())?;
    same("local-hostname", &data.local_hostname, &node.name.to_string())?;
    same("dsmode", &data.dsmode.as_str(), &"local")
}

pub(super) fn files_are_there(bundle: &NodeBundle, paths: &[&str]) -> Result<(), String> {
    match paths.iter().find(|path| bundle.file(path).is_none()) {
        Some(path) => Err(format!("it names {path}, which the bundle does not hold")),
        None => Ok(()),
    }
}

/// The part of a kubeconfig (client-go's v1 Config) that we use; files are named, never embedded.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Kubeconfig {
    #[serde(rename = "apiVersion")]
    api_version: String,
    kind: String,
    clusters: [NamedCluster; 1],
    users: [NamedUser; 1],
    contexts: [NamedContext; 1],
    current_context: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NamedCluster {
    name: String,
    cluster: ClusterEntry,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct ClusterEntry {
    certificate_authority: String,
    server: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NamedUser {
    name: String,
    user: UserEntry,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct UserEntry {
    client_certificate: String,
    client_key: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NamedContext {
    name: String,
    context: ContextEntry,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ContextEntry {
    cluster: String,
    user: String,
}

fn kubeconfig(bundle: &NodeBundle, config: &Config, node: &Node) -> Result<(), String> {
    let got: Kubeconfig = yaml(text(bundle, "/etc/kubernetes/kubelet.kubeconfig")?)?;
    same("apiVersion and kind", &(got.api_version.as_str(), got.kind.as_str()), &("v1", "Config"))?;
    let [cluster] = got.clusters;
    let [user] = got.users;
    let [context] = got.contexts;
    same("server", &cluster.cluster.server, &config.cluster.api_server)?;
    same("the user", &user.name, &format!("system:node:{}", node.name))?;
    same("the context", &(context.context.cluster, context.context.user), &(cluster.name, user.name))?;
    same("current-context", &got.current_context, &context.name)?;
    let UserEntry { client_certificate, client_key } = &user.user;
    files_are_there(bundle, &[&cluster.cluster.certificate_authority])?;
    if client_certificate == ROTATED_CLIENT && client_key == ROTATED_CLIENT {
        files_are_there(bundle, &[CERTIFICATES])?;
        let before = settings(bundle, "/etc/systemd/system/kubelet.service", "ExecStartPre")?.unwrap_or_default();
        return same("that the kubelet's unit makes what it names", &before.contains(&CERTIFICATES), &true);
    }
    files_are_there(bundle, &[client_certificate, client_key])
}

/// The kubelet says the node's addresses as they are on its card, and as its certificate has them. Where they come by DHCP, it
/// starts once they have; where it rotates certificates, once it has the first ones.
fn kubelet_unit(bundle: &NodeBundle, config: &Config, node: &Node) -> Result<(), String> {
    const UNIT: &str = "/etc/systemd/system/kubelet.service";
    let waits = network::asks(config, node).then_some(network::ADDRESS);
    let found = settings(bundle, UNIT, "ExecStartPre")?.unwrap_or_default();
    let first = (!rotated(node).is_empty()).then_some(CERTIFICATES);
    let before: Vec<_> = waits.into_iter().chain(first).collect();
    same("ExecStartPre", &found, &before)?;
    files_are_there(bundle, &before)?;
    let start = settings(bundle, UNIT, "ExecStart")?.unwrap_or_default();
    let words = start.iter().flat_map(|line| line.split(' '));
    let got: Vec<_> = words.filter_map(|word| word.strip_prefix("--node-ip=")).collect();
    let wanted: Vec<_> = node.addresses().iter().map(ToString::to_string).collect();
    same("--node-ip", &got, &vec![wanted.join(",").as_str()])
}

/// The values of one setting in a file of systemd, in their order; `None` where there is no such file.
pub(super) fn settings<'a>(bundle: &'a NodeBundle, path: &str, name: &str) -> Result<Option<Vec<&'a str>>, String> {
    if bundle.file(path).is_none() {
        return Ok(None);
    }
    let lines = text(bundle, path)?.lines();
    Ok(Some(lines.filter_map(|line| line.strip_prefix(name)?.strip_prefix('=')).collect()))
}

fn containerd_proxy(bundle: &NodeBundle, config: &Config, node: &Node) -> Result<(), String> {
    let found = settings(bundle, proxy::DROP_IN, "Environment")?;
    let found: Option<Vec<String>> = found.map(|words| words.into_iter().map(unit_word).collect());
    same("containerd's environment", &found, &node.settings.proxy.as_ref().map(|proxy| proxy::variables(config, proxy)))
}

/// One quoted word of a unit as systemd reads it.
fn unit_word(quoted: &str) -> String {
    let inner = quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or_default();
    let mut word = String::new();
    let mut all = inner.chars();
    while let Some(c) = all.next() {
        match c {
            '\\' => word.extend(all.next()),
            '%' => word.extend(all.next().filter(|next| *next == '%')),
            c => word.push(c),
        }
    }
    word
}

fn time_servers(bundle: &NodeBundle, node: &Node) -> Result<(), String> {
    let path = "/etc/systemd/timesyncd.conf.d/50-nodebake.conf";
    let wanted = Some(&node.settings.ntp).filter(|servers| !servers.is_empty());
    same("NTP", &settings(bundle, path, "NTP")?, &wanted.map(|servers| servers.join(" ")).as_deref().map(|s| vec![s]))?;
    same("FallbackNTP", &settings(bundle, path, "FallbackNTP")?, &wanted.map(|_| vec![""]))
}

fn modules(bundle: &NodeBundle, node: &Node) -> Result<(), String> {
    let got: Vec<_> = text(bundle, "/etc/modules-load.d/nodebake.conf")?.lines().collect();
    let wanted = ["overlay", "br_netfilter"].into_iter().chain(node.settings.modules.iter().map(String::as_str));
    same("the modules", &got, &wanted.collect())
}

fn sysctls(bundle: &NodeBundle, node: &Node) -> Result<(), String> {
    let lines = text(bundle, "/etc/sysctl.d/90-nodebake.conf")?.lines();
    let got: Vec<_> = lines.map(|line| line.split_once(" = ").unwrap_or((line, ""))).collect();
    let ours = ["net.bridge.bridge-nf-call-iptables", "net.bridge.bridge-nf-call-ip6tables", "net.ipv4.ip_forward"];
    let forwarding6 = node.address6.map(|_| "net.ipv6.conf.all.forwarding");
    let ours = ours.into_iter().chain(forwarding6).map(|name| (name, "1"));
    let own = node.settings.sysctls.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    same("the kernel parameters", &got, &ours.chain(own).collect())
}

/// Both programs that fill data disks wait for their unit, where there is one, and it mounts each disk where it belongs.
fn disks(bundle: &NodeBundle, node: &Node) -> Result<(), String> {
    let mounted = super::mounted(node);
    let wanted = !mounted.is_empty();
    let there = super::DISKS.map(|path| bundle.file(path).is_some());
    same("the presence of the unit and its script", &there, &[wanted; 2])?;
    for unit in ["containerd.service", "kubelet.service"] {
        let path = format!("/etc/systemd/system/{unit}");
        for setting in ["Requires", "After"] {
            let found = settings(bundle, &path, setting)?.unwrap_or_default();
            let waits = found.iter().any(|units| units.split(' ').any(|unit| unit == "nodebake-disks.service"));
            same(&format!("{setting} of {unit}"), &waits, &wanted)?;
        }
    }
    if !wanted {
        return Ok(());
    }
    let lines = text(bundle, super::DISKS[1])?.lines().filter_map(|line| line.strip_prefix("mount_disk "));
    let got: Vec<_> = lines.map(|line| line.replace('\'', "")).collect();
    let line = |disk: &super::DiskValues<'_>| format!("{} {} {}", disk.name, disk.file_system, disk.path);
    same("the mounts", &got, &mounted.iter().map(line).collect())
}

/// Where the payload has no drive, no unit waits for one: it would never start.
fn payload_mount(bundle: &NodeBundle, place: PayloadPlace) -> Result<(), String> {
    let names = |file: &&GuestFile| match &file.content {
        Content::Public(bytes, _) => bytes.windows(PAYLOAD_MOUNT.len()).any(|word| word == PAYLOAD_MOUNT.as_bytes()),
        Content::Link(target) => target.ends_with(PAYLOAD_MOUNT),
        Content::Secret(..) => false,
    };
    match bundle.files.iter().find(names) {
        Some(file) if place != PayloadPlace::Drive => Err(format!("{} names {PAYLOAD_MOUNT}", file.path)),
        None if place == PayloadPlace::Drive => Err(format!("no file names {PAYLOAD_MOUNT}")),
        _ => Ok(()),
    }
}

/// A script, its unit and the unit's place among those that start are there together or not at all, and the unit is left
/// out once the script has left its stamp.
fn errand(bundle: &NodeBundle, script: &str, unit: &str, wanted: bool) -> Result<(), String> {
    let script = format!("/usr/local/lib/nodebake/{script}");
    let path = format!("/etc/systemd/system/{unit}");
    let link = format!("/etc/systemd/system/multi-user.target.wants/{unit}");
    let there = [&script, &path, &link].map(|path| bundle.file(path).is_some());
    same(&format!("the presence of {script} and its unit"), &there, &[wanted; 3])?;
    if !wanted {
        return Ok(());
    }
    same("ExecStart", &settings(bundle, &path, "ExecStart")?, &Some(vec![script.as_str()]))?;
    let stamp = text(bundle, &script)?.lines().find_map(|line| line.strip_prefix("touch ")).unwrap_or_default();
    let condition = format!("!{}", stamp.trim_matches('\''));
    same("ConditionPathExists", &settings(bundle, &path, "ConditionPathExists")?, &Some(vec![condition.as_str()]))
}

fn images(bundle: &NodeBundle, contents: &PayloadContents) -> Result<(), String> {
    errand(bundle, "images", "nodebake-images.service", !contents.images.is_empty())?;
    if contents.images.is_empty() {
        return Ok(());
    }
    let lines = text(bundle, "/usr/local/lib/nodebake/images")?.lines();
    let word = |word: &str| word.trim_matches('\'').to_owned();
    let read = lines.filter_map(|line| match line.split(' ').collect::<Vec<_>>().as_slice() {
        ["ctr", "images", "import", .., path, ">/dev/null"] => {
            path.strip_prefix("/opt/nodebake/payload/images/").map(|file| vec![word(file)])
        }
        ["name", given, canonical] => Some(vec![word(given), word(canonical)]),
        _ => None,
    });
    same("what is imported", &read.collect::<Vec<_>>(), &preloaded::steps(contents))
}
