//! A node as its user wants it: everything that a cluster file can say of one, found again in the guest and in the cluster.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::audit::Audit;
use crate::findings::Findings;
use crate::guest::Guest;
use crate::lab::step;
use crate::nodebake::Cluster;

const NODE: &str = "worker-node-2";
/// Of the word `lab`, by yescrypt.
const HASH: &str = "$y$j9T$5DOsbYgUN7rWwT/bF3eCa0$6xmQmFnKOQvCDGGDf7BBzzEpKLvXdXB2yhkRXkPgPx4";
const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f lab";

/// Settings of the node, below its entry in the cluster file.
const SETTINGS: &str = "
    address6: fd00:10::37
    group: own
    dataDisks:
      data: {size: 1GiB, mountPath: /var/lib/own-data}
    nics:
      storage: {network: seed, address: 10.9.0.37/24, address6: fd00:9::37/64}
    sysctls:
      vm.max_map_count: \"262144\"
    swap: 64MiB
    ssh:
      user: ops
      authorizedKeys: [KEY]
    consoleLogin:
      passwordHash: HASH
    files:
      /etc/own/plain.conf:
        content: \"plain\\n\"
      /etc/own/secret.conf:
        content: \"hunter2\\n\"
        mode: \"0640\"
        owner: root
        group: adm
    units:
      own.service:
        enabled: true
        content: |
          [Unit]
          Description=A unit of the user's own
          [Service]
          Type=oneshot
          RemainAfterExit=yes
          ExecStart=/bin/sh -c 'echo ran >/var/lib/own-unit'
          [Install]
          WantedBy=multi-user.target
      kubelet.service.d/50-own.conf:
        content: |
          [Service]
          Nice=-5
      e2scrub_all.timer:
        enabled: false
    cloudConfig:
      timezone: Europe/Berlin
      bootcmd: [\"echo ran >/var/lib/own-bootcmd\"]
      runcmd: [\"echo ran >/var/lib/own-runcmd\"]
      users: [{name: own, lock_passwd: true, shell: /bin/sh, groups: [adm]}]
      write_files:
        - {path: /etc/own/early, content: early, permissions: \"0604\"}
        - {path: /etc/own/late, content: late, defer: true, owner: own:adm}
";

/// A group of one, whose labels and taints the node has from there.
const GROUP: &str = "groups:
  own:
    modules: [dummy]
    kubelet:
      config:
        maxPods: 42
        shutdownGracePeriod: 30s
        shutdownGracePeriodCriticalPods: 10s
    labels:
      lab.example/pool: own
      node-role.kubernetes.io/worker: \"\"
    taints:
      - {key: lab.example/dedicated, value: batch, effect: NoSchedule}

nodes:
";

/// Says all of it in the cluster file.
pub fn ask_for_everything(cluster: &Cluster) {
    let address = "    address: 10.0.0.37\n";
    let settings = SETTINGS.trim_start_matches('\n').replace("KEY", KEY).replace("HASH", HASH);
    cluster.edit(address, &format!("{address}{settings}"));
    cluster.edit("\nnodes:\n", &format!("\n{GROUP}"));
    let gateway = "  gateway: 10.0.0.1\n";
    cluster.edit(gateway, &format!("{gateway}  cidr6: fd00:10::/64\n  gateway6: fd00:10::1\n"));
}

/// Looks for it in the cluster and, once the guest is off, on its disk.
pub fn is_as_asked(cluster: &Cluster) {
    in_the_cluster(cluster);
    let guest = Guest::new(cluster.lab, NODE);
    let boot = guest.next_audit(&[]);
    guest.shut_down();
    let tree = cluster.lab.disk(NODE);
    let mut findings = Findings::of(&format!("{NODE} with everything that a cluster file can say of a node"));
    by_its_report(&Audit::read(&tree, &boot), &mut findings);
    on_its_disk(cluster, &tree, &mut findings);
    findings.end();
    crate::disk::cloud_init_has_nothing(&tree);
}

fn in_the_cluster(cluster: &Cluster) {
    step(&format!("{NODE}: what the cluster knows of it"));
    let mut findings = Findings::of("labels, taints and capacity of the customised node");
    let node = &cluster.api_nodes()[NODE];
    let label = |name: &str| node["metadata"]["labels"].get(name).cloned();
    findings.same("its own label", label("lab.example/pool"), Some(json!("own")));
    findings.same("the label that it may not give itself", label("node-role.kubernetes.io/worker"), Some(json!("")));
    let ours = |taint: &&Value| taint["key"] == "lab.example/dedicated";
    let taint = node["spec"]["taints"].as_array().and_then(|taints| taints.iter().find(ours).cloned());
    let wanted = json!({"key": "lab.example/dedicated", "value": "batch", "effect": "NoSchedule"});
    findings.same("its taint", taint, Some(wanted));
    findings.same("pods", &node["status"]["capacity"]["pods"], &json!("42"));
    let internal = |address: &&Value| address["type"] == "InternalIP";
    let addresses = node["status"]["addresses"].as_array().into_iter().flatten().filter(internal);
    let addresses: Vec<_> = addresses.map(|address| address["address"].clone()).collect();
    findings.same("its addresses", addresses, vec![json!("10.0.0.37"), json!("fd00:10::37")]);
    findings.end();
}

fn by_its_report(audit: &Audit, findings: &mut Findings) {
    findings.same("failed units", &audit.failed, &Vec::new());
    findings.holds("module dummy", audit.modules.iter().any(|name| name == "dummy"), &audit.modules);
    let swaps: Vec<_> = audit.swaps.iter().map(|line| line.split_whitespace().take(3).collect::<Vec<_>>()).collect();
    // proc(5): of its size, in KiB, the head takes a page.
    findings.same("swap", swaps, vec![vec!["/var/lib/nodebake/swap", "file", "65532"]]);
    let listens = |line: &&String| line.contains(":22 ");
    findings.holds("the SSH server listens", audit.listening.iter().any(|line| listens(&line)), &audit.listening);
    on_its_cards(audit, findings);
    let mounts = audit.mounts["filesystems"].as_array().cloned().unwrap_or_default();
    let data = mounts.iter().find(|mount| mount["target"] == "/var/lib/own-data").cloned().unwrap_or_default();
    findings.same("the data disk's file system", &data["fstype"], &json!("ext4"));
    let drop_ins = audit.unit("kubelet.service", "DropInPaths");
    findings.same("the kubelet's drop-ins", drop_ins, "/etc/systemd/system/kubelet.service.d/50-own.conf");
}

/// Addresses that are not link-local, with their prefixes, of each card that has any; and that IPv6 is forwarded.
fn on_its_cards(audit: &Audit, findings: &mut Findings) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let cards = audit.addresses.as_array().into_iter().flatten().filter(|link| link["link_type"] == "ether");
    let addresses = |link: &Value| {
        let global = link["addr_info"].as_array().into_iter().flatten().filter(|info| info["scope"] == "global");
        let mut addresses: Vec<_> =
            global.map(|info| format!("{}/{}", text(&info["local"]), info["prefixlen"])).collect();
        addresses.sort();
        addresses.join(" ")
    };
    let mut found: Vec<_> = cards.map(addresses).filter(|addresses| !addresses.is_empty()).collect();
    found.sort();
    findings.same(
        "addresses of its network cards",
        found,
        vec!["10.0.0.37/24 fd00:10::37/64".to_owned(), "10.9.0.37/24 fd00:9::37/64".to_owned()],
    );
    let forwards = audit.sysctls.get("net.ipv6.conf.all.forwarding").cloned().flatten();
    findings.same("forwarding of IPv6", forwards.as_deref(), Some("1"));
}

fn on_its_disk(cluster: &Cluster, tree: &Path, findings: &mut Findings) {
    let text = |path: &str| fs::read_to_string(tree.join(path)).unwrap_or_else(|error| format!("{path}: {error}"));
    let stat = text("../disk-worker-node-2.stat");
    let passwd = text("etc/passwd");
    let id = |name: &str, file: &str| {
        let text = text(file);
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name}:x:")));
        line.and_then(|rest| rest.split(':').next()).unwrap_or_default().to_owned()
    };
    let (own, adm) = (id("own", "etc/passwd"), id("adm", "etc/group"));
    for (path, content, attributes) in [
        ("etc/own/plain.conf", "plain\n", "0644 0 0".to_owned()),
        ("etc/own/secret.conf", "hunter2\n", format!("0640 0 {adm}")),
        ("etc/own/early", "early", "0604 0 0".to_owned()),
        ("etc/own/late", "late", format!("0644 {own} {adm}")),
        ("var/lib/own-unit", "ran\n", "0644 0 0".to_owned()),
        ("var/lib/own-bootcmd", "ran\n", "0644 0 0".to_owned()),
        ("var/lib/own-runcmd", "ran\n", "0644 0 0".to_owned()),
        ("home/ops/.ssh/authorized_keys", &format!("{KEY}\n"), format!("0600 {0} {0}", id("ops", "etc/passwd"))),
    ] {
        findings.same(path, text(path).as_str(), content);
        let line = stat.lines().find_map(|line| line.strip_prefix(&format!("/{path}\t")));
        let found = line.map(|rest| rest.split('\t').take(3).collect::<Vec<_>>().join(" "));
        findings.same(&format!("mode and owners of {path}"), found, Some(attributes));
    }
    findings.holds("the user of cloudConfig", passwd.contains("\nown:"), &passwd);
    let shadow = text("etc/shadow");
    let hash = shadow.lines().find_map(|line| line.strip_prefix("root:")?.split(':').next());
    findings.same("root's password at the console", hash, Some(HASH));
    findings.same("timezone", text("etc/timezone").as_str(), "Europe/Berlin\n");
    let timer = fs::read_link(tree.join("etc/systemd/system/e2scrub_all.timer")).ok();
    findings.same("the image's timer", timer.as_deref(), Some(Path::new("/dev/null")));
    let sysctl = text("etc/sysctl.d/90-nodebake.conf");
    findings.holds("the sysctl", sysctl.ends_with("vm.max_map_count = 262144\n"), &sysctl);
    for key in ["ssh_host_ecdsa_key", "ssh_host_ed25519_key"] {
        let kept = cluster.folder.join(".nodebake/identities").join(NODE).join(key);
        let kept = fs::read_to_string(&kept).unwrap_or_else(|error| format!("{}: {error}", kept.display()));
        findings.holds(&format!("{key} is the node's own"), text(&format!("etc/ssh/{key}")) == kept, key);
    }
}
