#![expect(clippy::unwrap_used, reason = "tests")]

use std::path::Path;

use super::*;
use crate::config::{INIT, Ssh, parse};

/// Damages a bundle.
type Spoil = fn(&mut NodeBundle);

const MAC: &str = "52:54:00:12:34:56";

/// The seed cluster with one node of this name and two nameservers.
fn config(name: &str) -> Config {
    let mut config = parse(Path::new("/clusters/seed/nodebake.yaml"), INIT).unwrap();
    config.nodes.truncate(1);
    config.nodes[0].name = name.parse().unwrap();
    config.network.nameservers.push("fd00::1".parse().unwrap());
    config
}

fn bundle(config: &Config) -> NodeBundle {
    let key = Secret::new("SECRET BYTES\n");
    let credentials = Credentials { ca: "the CA\n", certificate: "the certificate\n", key: &key };
    render(config, &config.nodes[0], MAC.parse().unwrap(), credentials, &Digest::of(b"payload")).unwrap()
}

fn public<'a>(bundle: &'a NodeBundle, path: &str) -> (&'a str, u32) {
    match bundle.file(path).unwrap() {
        Content::Public(bytes, mode) => (std::str::from_utf8(bytes).unwrap(), *mode),
        other => panic!("{other:?}"),
    }
}

#[test]
fn names_that_yaml_reads_as_something_else_stay_names() {
    for name in ["no", "on", "null", "1e3", "0x10", "y", "0o7", "12", "true", "1-2"] {
        let bundle = bundle(&config(name));
        assert!(bundle.user_data.contains(&format!("hostname: \"{name}\"\n")), "{}", bundle.user_data);
        assert_eq!(public(&bundle, "/etc/hostname"), (&*format!("{name}\n"), 0o644));
    }
}

#[test]
fn the_network_is_static_and_matched_by_mac() {
    let wanted = r#"version: 2
ethernets:
  primary:
    match:
      macaddress: "52:54:00:12:34:56"
    dhcp4: false
    dhcp6: false
    accept-ra: false
    link-local: []
    addresses:
      - "10.0.0.36/24"
    # Not "default": cloud-init refuses that word outside netplan.
    routes:
      - to: 0.0.0.0/0
        via: "10.0.0.1"
    nameservers:
      addresses:
        - "10.0.0.1"
        - "fd00::1"
"#;
    assert_eq!(bundle(&config("worker-node-1")).network_config, wanted);
}

#[test]
fn hosts_name_this_node_and_the_control_plane_only() {
    let wanted = "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n\n\
                  10.0.0.36 worker-node-1\n10.0.0.4 control-plane-1\n";
    assert_eq!(public(&bundle(&config("worker-node-1")), "/etc/hosts"), (wanted, 0o644));
}

#[test]
fn the_key_is_secret_and_everything_else_has_its_mode() {
    let bundle = bundle(&config("worker-node-1"));
    let key = bundle.file("/etc/kubernetes/pki/worker-node-1-key.pem").unwrap();
    assert_eq!(key, &Content::Secret(Secret::new("SECRET BYTES\n")));
    assert_eq!(public(&bundle, "/etc/kubernetes/pki/worker-node-1.pem"), ("the certificate\n", 0o644));
    assert_eq!(public(&bundle, "/etc/kubernetes/pki/ca.pem"), ("the CA\n", 0o644));
    assert_eq!(public(&bundle, "/etc/kubernetes/kubelet.kubeconfig").1, 0o600);
    assert!(!format!("{bundle:?}").contains("SECRET"));
    assert!(bundle.files.is_sorted_by(|a, b| a.path < b.path), "sorted, each path once");
}

#[test]
fn containerd_is_configured_for_its_major_version() {
    let mut config = config("worker-node-1");
    for (version, wanted) in [((1, 7, 29), "version = 2"), ((2, 0, 7), "version = 3"), ((2, 2, 1), "version = 3")] {
        config.versions.containerd = semver::Version::new(version.0, version.1, version.2);
        let bundle = bundle(&config);
        let (text, _) = public(&bundle, "/etc/containerd/config.toml");
        assert_eq!(text.lines().nth(1), Some(wanted));
    }
}

#[test]
fn a_login_is_made_only_when_asked_for() {
    let without = bundle(&config("worker-node-1"));
    let mask = "/etc/systemd/system/ssh.service";
    // cloud-init's schema wants no empty list; without its module no default user is made either.
    assert!(!without.user_data.contains("users"), "{}", without.user_data);
    assert_eq!(without.file(mask), Some(&Content::Link("/dev/null".to_owned())));
    let mut config = config("worker-node-1");
    config.ssh = Some(Ssh { user: "n".to_owned(), authorized_keys: vec!["ssh-ed25519 AAAA \"me\": # \\".to_owned()] });
    let with = bundle(&config);
    assert!(with.user_data.contains("  - name: \"n\"\n"), "{}", with.user_data);
    assert_eq!(with.file(mask), None);
    let sshd = "/etc/ssh/sshd_config.d/10-nodebake.conf";
    assert_eq!((public(&with, sshd), without.file(sshd)), (("PasswordAuthentication no\n", 0o644), None));
}

#[test]
fn the_instance_changes_with_any_part_and_with_nothing_else() {
    let first = bundle(&config("worker-node-1"));
    assert_eq!(first, bundle(&config("worker-node-1")));
    let mut changed = first.clone();
    changed.meta_data.clear();
    assert_eq!(changed.instance_id(), first.instance_id());
    let mut ids = vec![first.instance_id()];
    for index in 0..first.files.len() {
        let mut changed = first.clone();
        changed.files[index].content = Content::Public(b"other".to_vec(), 0o644);
        ids.push(changed.instance_id());
    }
    ids.push(bundle(&config("worker-node-2")).instance_id());
    let count = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), count);
}

#[test]
fn another_node_changes_no_byte() {
    let mut config = config("worker-node-1");
    let alone = bundle(&config);
    let mut other = config.nodes[0].clone();
    other.name = "worker-node-3".parse().unwrap();
    other.address = "10.0.0.38".parse().unwrap();
    config.nodes.push(other);
    assert_eq!(bundle(&config), alone);
}

#[test]
fn a_bundle_that_reads_back_otherwise_is_refused() {
    let config = config("worker-node-1");
    let spoil: [(&str, Spoil); 4] = [
        ("user-data", |b| b.user_data = b.user_data.replace("preserve_hostname", "preserve_hostnam")),
        ("meta-data", |b| b.first_boot.push('\n')),
        ("network-config", |b| b.network_config = b.network_config.replace("0.0.0.0/0", "default")),
        ("kubelet/config.yaml", |b| b.files.retain(|f| !f.path.ends_with("ca.pem"))),
    ];
    for (wanted, spoil) in spoil {
        let mut bundle = bundle(&config);
        spoil(&mut bundle);
        match check::check(&bundle, &config, &config.nodes[0], MAC.parse().unwrap()) {
            Err(RenderError::Check { template, .. }) => assert_eq!(template, wanted),
            other => panic!("{wanted}: {other:?}"),
        }
    }
}
