//! A guest as it says that it is, and as its disk shows it after it was switched off.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use nodebake::digest::Digest;

use crate::audit::{Audit, Entry, Foreign};
use crate::findings::Findings;
use crate::lab::{Ran, step};
use crate::nodebake::Cluster;

/// Units that must not run, and cannot.
const MASKED: [&str; 8] = [
    "apt-daily-upgrade.service",
    "apt-daily-upgrade.timer",
    "apt-daily.service",
    "apt-daily.timer",
    "snapd.service",
    "snapd.socket",
    "unattended-upgrades.service",
    "ssh.service",
];

/// Units of a node, active.
const ACTIVE: [&str; 5] = [
    "apparmor.service",
    "containerd.service",
    "kubelet.service",
    "opt-nodebake-payload.mount",
    "systemd-networkd.service",
];

/// What one boot's report says, against what was meant.
pub fn guest_is_as_made(cluster: &Cluster, name: &str, tree: &Path, boot: &str, is_first: bool) {
    step(&format!("{name}: its report of boot {boot}"));
    let audit = Audit::read(tree, boot);
    let mut findings = Findings::of(&format!("{name} in boot {boot}, by its own report"));
    let manifest = cluster.manifest(name);
    findings.same("boot", audit.boot_id.as_str(), boot);
    findings.same("hostname", audit.hostname.as_str(), name);
    findings.same("instance", audit.instance_id.as_deref().map(str::trim), manifest["instanceId"].as_str());
    for unit in ACTIVE {
        findings.same(unit, audit.unit(unit, "ActiveState"), "active");
    }
    for unit in MASKED {
        let state = ["LoadState", "ActiveState"].map(|property| audit.unit(unit, property));
        findings.same(unit, state, ["masked", "inactive"]);
    }
    findings.same("restarts of containerd", audit.unit("containerd.service", "NRestarts"), "0");
    findings.same("failed units", &audit.failed, &Vec::new());
    if !is_first {
        for unit in
            ["cloud-init.target", "cloud-init-main.service", "cloud-init-network.service", "cloud-final.service"]
        {
            findings.same(unit, audit.unit(unit, "ActiveState"), "inactive");
        }
    }
    versions(cluster, &audit, &mut findings);
    pod(&audit, &mut findings);
    given(cluster, &audit, is_first, &mut findings);
    kernel(&audit, &mut findings);
    let address = if name == "worker-node-1" { "10.0.0.36" } else { "10.0.0.37" };
    let hosts = format!(
        "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n\n{address} {name}\n10.0.0.4 control-plane-1\n"
    );
    findings.same("/etc/hosts", audit.hosts.as_deref(), Some(hosts.as_str()));
    let resolv = audit.resolv_conf.kubelet.unwrap_or_default();
    let nameservers: Vec<_> = resolv.lines().filter(|line| line.starts_with("nameserver")).collect();
    findings.same("nameservers for pods", nameservers, vec!["nameserver 10.0.0.1"]);
    findings.same("AppArmor", (audit.apparmor.enabled, audit.apparmor.mode.as_str()), (true, "enforce"));
    let addresses: Vec<_> = audit
        .addresses
        .as_array()
        .into_iter()
        .flatten()
        .filter(|link| link["ifname"] != "lo")
        .flat_map(|link| link["addr_info"].as_array().cloned().unwrap_or_default())
        .map(|info| info["local"].to_string())
        .collect();
    findings.same("addresses", addresses, vec![format!("\"{address}\"")]);
    let both = |rule, route| Foreign { rule, route };
    findings.same(
        "systemd-networkd restarted",
        (audit.networkd.restarted.code, audit.networkd.routable.code),
        (Some(0), Some(0)),
    );
    findings.same("foreign rule and route before that", &audit.networkd.before, &both(true, true));
    findings.same("foreign rule and route after that", &audit.networkd.after, &both(true, true));
    // Of a first boot's end the sealing may come a moment later.
    let early = |entry: &Entry| is_first && entry.path == "/var/lib/nodebake/sealed";
    let (mut listed, mut wanted) = (audit.files, wanted_files(cluster, name));
    listed.retain(|entry| is_ours(&entry.path) && !early(entry));
    wanted.retain(|entry| !early(entry));
    findings.same_lists("files, by the report", &listed, &wanted);
    let plugins: Vec<_> = audit.cni.iter().map(|plugin| plugin.path.clone()).collect();
    findings.same_lists("CNI plugins", &plugins, &plugins_of(cluster));
    findings.end();
}

/// Each program says the version that was locked; Debian's builds may say more behind it.
fn versions(cluster: &Cluster, audit: &Audit, findings: &mut Findings) {
    for (program, before, wanted) in [
        ("containerd", "containerd github.com/containerd/containerd/v2 ", cluster.lab.version("CONTAINERD")),
        ("runc", "runc version ", cluster.lab.version("RUNC")),
        ("kubelet", "Kubernetes ", cluster.kubernetes()),
    ] {
        let said = audit.versions.get(program).map(|said| (said.code, said.out.lines().next().unwrap_or_default()));
        let version = said.and_then(|(_, line)| line.strip_prefix(before)?.split([' ', '+']).next());
        findings.holds(&format!("{program} is {wanted}"), version == Some(&wanted), said);
    }
}

/// The pod's container ran in a slice of systemd, made by containerd's systemd driver below the kubelet's.
fn pod(audit: &Audit, findings: &mut Findings) {
    let cgroup = audit.pod.cgroup.as_deref().unwrap_or_default().trim();
    let parts: Vec<_> = cgroup.strip_prefix("0::/").unwrap_or_default().split('/').collect();
    let shape = match parts.as_slice() {
        [kubepods, quality, pod, scope] => {
            let id = scope.strip_prefix("cri-containerd-").and_then(|rest| rest.strip_suffix(".scope"));
            *kubepods == "kubepods.slice"
                && *quality == "kubepods-besteffort.slice"
                && pod.starts_with("kubepods-besteffort-pod")
                && pod.ends_with(".slice")
                && id.is_some_and(|id| id.len() == 64)
        }
        _ => false,
    };
    findings.holds("the pod's container is in a slice of systemd", shape, cgroup);
    findings.same("its process", audit.pod.comm.as_deref(), Some("sh\n"));
    findings.holds("exec in it worked", audit.pod.said.to_string().contains("kubepods"), &audit.pod.said);
}

/// What the lab's cluster file gives beside upstream's artifacts is in the guest, and was put there once.
fn given(cluster: &Cluster, audit: &Audit, is_first: bool, findings: &mut Findings) {
    let program = |name: &str| audit.programs.get(name).map(|said| (said.code, said.out.as_str()));
    findings.same("the given program", program("busybox-lab"), Some((Some(0), "busybox runs")));
    findings.same("the given packages' program", program("jq"), Some((Some(0), "2")));
    findings.same("half installed packages", program("dpkg"), Some((Some(0), "")));
    for file in cluster.lab.given(".deb") {
        let [package, version, _] = file.split('_').collect::<Vec<_>>().try_into().unwrap();
        let wanted = format!("ii {version}");
        findings.same(&file, audit.packages.get(package), Some(&wanted));
    }
    let pinned = ["io.cri-containerd.image=managed", "io.cri-containerd.pinned=pinned"].map(String::from).to_vec();
    for image in ["nodebake-lab.invalid/pause:1", "nodebake-lab.invalid/pod:1"] {
        findings.same(image, audit.images.get(image), Some(&pinned));
    }
    let names: Vec<_> = audit.images.keys().map(String::as_str).filter(|name| !name.starts_with("sha256:")).collect();
    findings.same("images", names, vec!["nodebake-lab.invalid/pause:1", "nodebake-lab.invalid/pod:1"]);
    // At a first boot the pod may start a moment before the label is set.
    if !is_first {
        findings.same("the pod's image is pinned for the kubelet", &audit.pod.said["pinned"], &true.into());
    }
    findings.same("time servers", audit.time_servers.out.as_str(), "10.0.0.1");
    for unit in ["nodebake-images.service", "nodebake-packages.service"] {
        let property = |name| audit.unit(unit, name);
        let ran = property("ExecMainStartTimestampMonotonic") != "0";
        let state = (property("LoadState"), property("ConditionResult"), property("Result"), ran);
        let (condition, ran) = if is_first { ("yes", true) } else { ("no", false) };
        findings.same(&format!("{unit} runs at the first boot alone"), state, ("loaded", condition, "success", ran));
    }
}

fn kernel(audit: &Audit, findings: &mut Findings) {
    for module in ["overlay", "br_netfilter"] {
        findings.holds(&format!("module {module}"), audit.modules.iter().any(|name| name == module), &audit.modules);
    }
    let sysctls = BTreeMap::from(
        [
            ("net.bridge.bridge-nf-call-ip6tables", "1"),
            ("net.bridge.bridge-nf-call-iptables", "1"),
            ("net.ipv4.ip_forward", "1"),
            // The seed cluster has no IPv6.
            ("net.ipv6.conf.all.forwarding", "0"),
        ]
        .map(|(name, value)| (name.to_owned(), Some(value.to_owned()))),
    );
    findings.same("sysctls", &audit.sysctls, &sysctls);
    findings.same("swap", &audit.swaps, &Vec::new());
    let mounts = audit.mounts["filesystems"].as_array().cloned().unwrap_or_default();
    let payload = mounts.iter().find(|mount| mount["target"] == "/opt/nodebake/payload");
    let options: Vec<_> = payload.and_then(|mount| mount["options"].as_str()).unwrap_or_default().split(',').collect();
    let read_only = ["ro", "nosuid", "nodev"].iter().all(|option| options.contains(option));
    findings.holds("the payload is mounted read-only", read_only, payload);
    let on_ssh: Vec<_> = audit.listening.iter().filter(|line| line.contains(":22 ")).collect();
    findings.same("listeners on port 22", on_ssh, Vec::new());
}

/// Paths where every entry is nodebake's or known.
fn is_ours(path: &str) -> bool {
    let trees = [
        "/etc/kubernetes",
        "/etc/containerd",
        "/etc/nodebake",
        "/opt/cni",
        "/opt/nodebake",
        "/usr/local/bin",
        "/usr/local/sbin",
        "/usr/local/lib/nodebake",
        "/var/lib/nodebake",
    ];
    let below = |tree: &&str| path.strip_prefix(*tree).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let single = [
        "/etc/hosts",
        "/etc/hostname",
        "/etc/apt/apt.conf.d/99-nodebake",
        "/etc/modules-load.d/nodebake.conf",
        "/etc/sysctl.d/90-nodebake.conf",
        "/etc/systemd/network/05-nodebake.network",
        "/etc/systemd/networkd.conf.d/50-nodebake.conf",
        "/etc/systemd/resolved.conf.d/50-nodebake.conf",
        "/etc/systemd/timesyncd.conf.d/50-nodebake.conf",
    ];
    let units = path.starts_with("/etc/systemd/system/")
        && (path.ends_with(".service") || path.ends_with(".mount"))
        && ["containerd", "kubelet", "nodebake"].iter().any(|name| path.contains(name));
    (trees.iter().any(below) || single.contains(&path) || units) && !path.starts_with("/opt/nodebake/payload/")
}

fn wanted_files(cluster: &Cluster, name: &str) -> Vec<Entry> {
    let entry = |path: &str, kind: &str, mode: &str, target: &str| Entry {
        path: path.to_owned(),
        r#type: kind.to_owned(),
        mode: mode.to_owned(),
        uid: 0,
        gid: 0,
        target: target.to_owned(),
    };
    let mut all = Vec::new();
    for folder in [
        "/etc/kubernetes",
        "/etc/kubernetes/pki",
        "/etc/containerd",
        "/opt/cni",
        "/opt/cni/bin",
        "/opt/nodebake",
        "/opt/nodebake/payload",
        "/usr/local/bin",
        "/usr/local/sbin",
        "/usr/local/lib/nodebake",
        "/var/lib/nodebake",
    ] {
        all.push(entry(folder, "directory", "0755", ""));
    }
    let units = "/etc/systemd/system";
    let pki = format!("/etc/kubernetes/pki/{name}");
    let manifest = cluster.manifest(name);
    let digest = manifest["payload"]["digest"].as_str().unwrap();
    let serial = format!("nb-{}", &digest[..12]);
    for (path, mode) in [
        ("/etc/apt/apt.conf.d/99-nodebake", "0644"),
        ("/etc/containerd/config.toml", "0644"),
        ("/etc/hostname", "0644"),
        ("/etc/hosts", "0644"),
        ("/etc/kubernetes/kubelet-config.yaml", "0644"),
        ("/etc/kubernetes/kubelet.kubeconfig", "0600"),
        ("/etc/kubernetes/pki/ca.pem", "0644"),
        (&format!("{pki}.pem"), "0644"),
        (&format!("{pki}-key.pem"), "0600"),
        ("/etc/modules-load.d/nodebake.conf", "0644"),
        ("/etc/sysctl.d/90-nodebake.conf", "0644"),
        ("/etc/systemd/network/05-nodebake.network", "0644"),
        ("/etc/systemd/networkd.conf.d/50-nodebake.conf", "0644"),
        ("/etc/systemd/resolved.conf.d/50-nodebake.conf", "0644"),
        ("/etc/systemd/timesyncd.conf.d/50-nodebake.conf", "0644"),
        (&format!("{units}/containerd.service"), "0644"),
        (&format!("{units}/kubelet.service"), "0644"),
        (&format!("{units}/nodebake-first-boot.service"), "0644"),
        (&format!("{units}/nodebake-grow.service"), "0644"),
        (&format!("{units}/nodebake-images.service"), "0644"),
        (&format!("{units}/nodebake-packages.service"), "0644"),
        (&format!("{units}/nodebake-report.service"), "0644"),
        (&format!("{units}/nodebake-seal.service"), "0644"),
        (&format!("{units}/opt-nodebake-payload.mount"), "0644"),
        ("/usr/local/lib/nodebake/grow", "0755"),
        ("/usr/local/lib/nodebake/images", "0755"),
        ("/usr/local/lib/nodebake/packages", "0755"),
        ("/usr/local/lib/nodebake/report", "0755"),
        ("/usr/local/lib/nodebake/seal", "0755"),
        ("/var/lib/nodebake/grown", "0644"),
        (&format!("/var/lib/nodebake/images-imported.{serial}"), "0644"),
        ("/var/lib/nodebake/instance-id", "0644"),
        (&format!("/var/lib/nodebake/packages-installed.{serial}"), "0644"),
        ("/var/lib/nodebake/sealed", "0644"),
    ] {
        all.push(entry(path, "file", mode, ""));
    }
    for unit in [
        "containerd.service",
        "kubelet.service",
        "nodebake-grow.service",
        "nodebake-images.service",
        "nodebake-packages.service",
        "nodebake-report.service",
        "nodebake-seal.service",
        "opt-nodebake-payload.mount",
    ] {
        all.push(entry(&format!("{units}/multi-user.target.wants/{unit}"), "link", "0777", &format!("{units}/{unit}")));
    }
    for (place, binary) in [
        ("bin", "containerd"),
        ("bin", "containerd-shim-runc-v2"),
        ("bin", "ctr"),
        ("bin", "kubelet"),
        ("bin", "busybox-lab"),
        ("sbin", "runc"),
    ] {
        let target = format!("/opt/nodebake/payload/bin/{binary}");
        all.push(entry(&format!("/usr/local/{place}/{binary}"), "link", "0777", &target));
    }
    all.extend(plugins_of(cluster).iter().map(|plugin| entry(plugin, "file", "0755", "")));
    all
}

/// Every program of the locked archive, as the mirror has it, where it must stand in the guest.
fn plugins_of(cluster: &Cluster) -> Vec<String> {
    let version = cluster.lab.version("CNI");
    let release = format!("github.com/containernetworking/plugins/releases/download/v{version}");
    let archive = cluster.lab.mirror().join(release).join(format!("cni-plugins-linux-amd64-v{version}.tgz"));
    let list = Ran::quietly(Command::new("tar").arg("-tzf").arg(archive)).succeeded();
    let names = list.lines().filter_map(|name| name.strip_prefix("./")).filter(|name| !name.is_empty());
    let programs = names.filter(|name| !["LICENSE", "README.md"].contains(name));
    programs.map(|name| format!("/opt/cni/bin/{name}")).collect()
}

/// The same files on the disk, and the bytes that the manifest names.
pub fn files_are_as_made(cluster: &Cluster, name: &str, tree: &Path) {
    let mut findings = Findings::of(&format!("the files of {name}, on its disk"));
    let stat = fs::read_to_string(tree.with_extension("stat")).unwrap();
    let listed: Vec<_> = stat.lines().filter_map(stat_entry).filter(|entry| is_ours(&entry.path)).collect();
    findings.same_lists("entries", &listed, &wanted_files(cluster, name));
    let manifest = cluster.manifest(name);
    let mut compared = 0;
    for (path, digest) in manifest["files"].as_object().unwrap().iter().filter(|(path, _)| path.starts_with('/')) {
        let bytes = fs::read(tree.join(&path[1..])).unwrap_or_default();
        findings.same(&format!("content of {path}"), Digest::of(&bytes).to_string().as_str(), digest.as_str().unwrap());
        compared += 1;
    }
    findings.holds("files of the manifest", compared > 10, compared);
    findings.end();
}

/// cloud-init is off, and nothing of what it read in the seed is left, not even in freed blocks.
pub fn cloud_init_has_nothing(tree: &Path) {
    let mut findings = Findings::of("what cloud-init kept of the seed is gone");
    findings.holds("it is off", tree.join("etc/cloud/cloud-init.disabled").exists(), tree);
    findings.holds("it has no part in the network", !tree.join("etc/netplan/50-cloud-init.yaml").exists(), tree);
    findings.holds(
        "its link to the instance",
        fs::symlink_metadata(tree.join("var/lib/cloud/instance")).is_err(),
        tree,
    );
    for folder in ["instances", "seed"] {
        let left: Vec<_> = fs::read_dir(tree.join("var/lib/cloud").join(folder)).into_iter().flatten().collect();
        findings.holds(folder, left.is_empty(), left);
    }
    let comment = "The node is never changed in place: change the cluster file and rebuild it.";
    let seed = crate::secrets::Key::of_text(comment);
    findings.same("its user-data on the whole disk", seed.pieces_in(&tree.with_extension("raw")), 0);
    findings.end();
}

/// The root file system fills its disk of 8 GiB in the first boots, and of 9 GiB in the last.
pub fn grows(tree: &Path, boots: &[String]) {
    let mut findings = Findings::of("the root file system fills its disk");
    let gib = |size: u64| (size << 30) - (256 << 20)..=size << 30;
    for (number, boot) in boots.iter().enumerate() {
        let audit = Audit::read(tree, boot);
        let wanted = if number + 1 == boots.len() { 9 } else { 8 };
        let root = find(&audit.disks["blockdevices"], &|device| {
            device["mountpoints"].as_array().is_some_and(|points| points.iter().any(|point| point == "/"))
        });
        let size = root.and_then(|device| device["size"].as_u64()).unwrap_or_default();
        findings.holds(&format!("its partition in boot {number}"), gib(wanted).contains(&size), size);
        let mounts = audit.mounts["filesystems"].as_array().cloned().unwrap_or_default();
        let mount = mounts.iter().find(|mount| mount["target"] == "/").cloned().unwrap_or_default();
        let said = mount["size"].as_str().unwrap_or_default().trim_end_matches('G').parse::<f64>().unwrap_or_default();
        // The file system's own tables take a little of it.
        #[expect(clippy::cast_precision_loss, reason = "a few GiB")]
        let wanted = wanted as f64;
        findings.holds(&format!("it in boot {number}"), said > wanted * 0.93 && said < wanted, mount);
    }
    findings.end();
}

/// The first device, or child of one, that is meant.
fn find<'a>(
    devices: &'a serde_json::Value,
    is_it: &dyn Fn(&serde_json::Value) -> bool,
) -> Option<&'a serde_json::Value> {
    devices.as_array()?.iter().find_map(
        |device| {
            if is_it(device) { Some(device) } else { find(&device["children"], is_it) }
        },
    )
}

/// One line of `lab disk`'s listing: path, mode, uid, gid, type, link target.
fn stat_entry(line: &str) -> Option<Entry> {
    let [path, mode, uid, gid, kind, target] = line.split('\t').collect::<Vec<_>>().try_into().ok()?;
    let r#type = match kind {
        "f" => "file",
        "d" => "directory",
        "l" => "link",
        other => other,
    };
    Some(Entry {
        path: path.to_owned(),
        r#type: r#type.to_owned(),
        mode: mode.to_owned(),
        uid: uid.parse().ok()?,
        gid: gid.parse().ok()?,
        target: target.to_owned(),
    })
}

/// By openssl, from the disk's files: the chain, what the certificate says, and that the key is its own.
pub fn certificate_holds(cluster: &Cluster, name: &str, tree: &Path) {
    let mut findings = Findings::of(&format!("the certificate of {name}, on its disk"));
    let pki = tree.join("etc/kubernetes/pki");
    let [ca, certificate, key] =
        ["ca.pem", &format!("{name}.pem"), &format!("{name}-key.pem")].map(|file| pki.join(file));
    let openssl = |words: &[&str]| Ran::quietly(Command::new("openssl").args(words)).succeeded();
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let (ca, certificate, key) = (text(&ca), text(&certificate), text(&key));
    findings.same("the CA", fs::read(&ca).unwrap(), fs::read(cluster.folder.join("pki/ca.pem")).unwrap());
    for purpose in ["sslclient", "sslserver"] {
        let verified = openssl(&["verify", "-x509_strict", "-CAfile", &ca, "-purpose", purpose, &certificate]);
        findings.same(purpose, verified, format!("{certificate}: OK\n"));
    }
    let public =
        [openssl(&["x509", "-in", &certificate, "-noout", "-pubkey"]), openssl(&["pkey", "-in", &key, "-pubout"])];
    findings.same("key pair", &public[0], &public[1]);
    let subject = openssl(&["x509", "-in", &certificate, "-noout", "-subject", "-nameopt", "RFC2253"]);
    findings.same("subject", subject, format!("subject=CN=system:node:{name},O=system:nodes\n"));
    let address = if name == "worker-node-1" { "10.0.0.36" } else { "10.0.0.37" };
    let says = openssl(&["x509", "-in", &certificate, "-noout", "-ext", "subjectAltName,extendedKeyUsage,keyUsage"]);
    let mut says: Vec<_> = says.lines().map(str::trim).collect();
    says.sort_unstable();
    let names = format!("DNS:{name}, IP Address:{address}");
    let mut wanted = vec![
        "X509v3 Subject Alternative Name:",
        names.as_str(),
        "X509v3 Extended Key Usage:",
        "TLS Web Server Authentication, TLS Web Client Authentication",
        "X509v3 Key Usage: critical",
        "Digital Signature",
    ];
    wanted.sort_unstable();
    findings.same("names and uses", says, wanted);
    findings.end();
}
