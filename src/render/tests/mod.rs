#![expect(clippy::unwrap_used, reason = "tests")]

use std::path::Path;

use super::*;
use crate::config::{INIT, Mac, Proxy, Ssh, parse};
use crate::image::PreloadedImage;

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
    bundle_with(config, PayloadContents::default())
}

fn bundle_with(config: &Config, contents: PayloadContents) -> NodeBundle {
    bundle_from(config, contents, PayloadPlace::Drive)
}

fn bundle_from(config: &Config, contents: PayloadContents, place: PayloadPlace) -> NodeBundle {
    try_bundle(config, contents, place).unwrap()
}

fn try_bundle(config: &Config, contents: PayloadContents, place: PayloadPlace) -> Result<NodeBundle, RenderError> {
    let key = Secret::new("SECRET BYTES\n");
    let keys = HostKey::NAMES.map(|name| HostKey {
        name,
        private: Secret::new(format!("SECRET {name}")),
        public: format!("{name} public\n"),
    });
    let credentials = Credentials { ca: "the CA\n", certificate: "the certificate\n", key: &key, host_keys: &keys };
    let payload = Payload { path: "payload.iso".into(), digest: Digest::of(b"payload"), size: 1, contents };
    render(config, &config.nodes[0], &macs(config), credentials, &payload, place)
}

/// The first node's; of further cards the last byte is their number.
fn macs(config: &Config) -> Macs {
    let further = config.nodes[0].settings.machine.nics.keys().cloned().zip(1..);
    let further = further.map(|(name, number)| (name, Mac::from([0x52, 0x54, 0, 0, 0, number])));
    Macs { further: further.collect(), ..Macs::from(MAC.parse::<Mac>().unwrap()) }
}

fn checked(
    bundle: &NodeBundle,
    config: &Config,
    contents: &PayloadContents,
    place: PayloadPlace,
) -> Result<(), RenderError> {
    let templates = Templates::new(&serde_json::json!({}), config, &config.nodes[0])?;
    check::check(bundle, config, &config.nodes[0], &macs(config), contents, place, &templates)
}

/// Something of every kind that a user can give.
fn contents() -> PayloadContents {
    let image = |file: &str, references: &[&str]| PreloadedImage {
        file: file.to_owned(),
        references: references.iter().map(ToString::to_string).collect(),
    };
    PayloadContents {
        binaries: vec!["crictl".to_owned(), "lab-busybox".to_owned()],
        packages: vec!["jq_1.7.1-6_amd64.deb".to_owned()],
        images: vec![
            image("cilium.tar", &["quay.io/cilium/cilium:v1.18.0", "cilium"]),
            image("pause.tar", &["own.example:5000/mirror/pause:3.10"]),
        ],
    }
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
fn the_network_is_static_and_of_the_nodes_own_card() {
    let wanted = "# Rendered by nodebake: the node's own network card, and no card that takes its address, such as a bridge.\n\
                  [Match]\nPermanentMACAddress=52:54:00:12:34:56\n\n\
                  [Network]\nAddress=10.0.0.36/24\nGateway=10.0.0.1\nDNS=10.0.0.1\nDNS=fd00::1\n\
                  DHCP=no\nIPv6AcceptRA=no\nLinkLocalAddressing=no\n";
    let bundle = bundle(&config("worker-node-1"));
    assert_eq!(public(&bundle, network::FILE.0), (wanted, 0o644));
    let lines: Vec<_> = bundle.network_config.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(lines, ["network:", "  config: disabled"]);
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
    assert_eq!(key, &Content::Secret(Secret::new("SECRET BYTES\n"), 0o600));
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
    config.nodes[0].settings.ssh =
        Some(Ssh { user: "n".to_owned(), authorized_keys: vec!["ssh-ed25519 AAAA \"me\": # \\".to_owned()] });
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

fn in_network(bundle: &mut NodeBundle, from: &str, to: &str) {
    let file = bundle.files.iter_mut().find(|file| file.path == network::FILE.0).unwrap();
    let Content::Public(bytes, _) = &mut file.content else { panic!("{file:?}") };
    *bytes = String::from_utf8_lossy(bytes).replace(from, to).into_bytes();
}

#[test]
fn a_bundle_that_reads_back_otherwise_is_refused() {
    let config = config("worker-node-1");
    let spoil: [(&str, Spoil); 9] = [
        ("user-data", |b| b.user_data = b.user_data.replace("preserve_hostname", "preserve_hostnam")),
        ("meta-data", |b| b.first_boot.push('\n')),
        ("vendor-data", |b| b.vendor_data.insert(0, '\n')),
        ("vendor-data", |b| b.vendor_data = b.vendor_data.replace("nodebake/first-boot", "first-boot")),
        ("network-config", |b| b.network_config = b.network_config.replace("disabled", "enabled")),
        (network::FILE.2, |b| in_network(b, "10.0.0.36", "10.0.0.37")),
        (network::FILE.2, |b| in_network(b, "DHCP=no", "DHCP=yes")),
        (network::FILE.2, |b| in_network(b, "Gateway=", "Gatevay=")),
        ("kubelet/config.yaml", |b| b.files.retain(|f| !f.path.ends_with("ca.pem"))),
    ];
    for (wanted, spoil) in spoil {
        let mut bundle = bundle(&config);
        spoil(&mut bundle);
        match checked(&bundle, &config, &PayloadContents::default(), PayloadPlace::Drive) {
            Err(RenderError::Check { template, .. }) => assert_eq!(template.to_string(), wanted),
            other => panic!("{wanted}: {other:?}"),
        }
    }
}

/// Paths of a bundle that another one has not, or not with the same content.
fn differences<'a>(bundle: &'a NodeBundle, other: &NodeBundle) -> Vec<&'a str> {
    let differs = |file: &&GuestFile| other.file(&file.path) != Some(&file.content);
    bundle.files.iter().filter(differs).map(|file| file.path.as_str()).collect()
}

#[test]
fn what_is_given_adds_files_and_changes_no_other_than_it_must() {
    let mut config = config("worker-node-1");
    let without = bundle(&config);
    let with = bundle_with(&config, contents());
    assert_eq!(
        differences(&with, &without),
        [
            "/etc/containerd/config.toml",
            "/etc/systemd/system/multi-user.target.wants/nodebake-images.service",
            "/etc/systemd/system/multi-user.target.wants/nodebake-packages.service",
            "/etc/systemd/system/nodebake-images.service",
            "/etc/systemd/system/nodebake-packages.service",
            "/usr/local/bin/crictl",
            "/usr/local/bin/lab-busybox",
            "/usr/local/lib/nodebake/images",
            "/usr/local/lib/nodebake/packages",
            "/usr/local/lib/nodebake/report",
        ]
    );
    config.nodes[0].settings.ntp = vec!["10.0.0.1".to_owned()];
    config.nodes[0].settings.proxy =
        Some(Proxy { http: Some("http://10.0.0.9:3128".to_owned()), https: None, no: Vec::new() });
    let guided = bundle(&config);
    let own = [
        "/etc/systemd/system/containerd.service.d/50-nodebake-proxy.conf",
        "/etc/systemd/timesyncd.conf.d/50-nodebake.conf",
    ];
    assert_eq!(differences(&guided, &without), own);
    assert_ne!(guided.first_boot, without.first_boot, "it starts what keeps the time anew");
    assert_eq!((&guided.user_data, &guided.network_config), (&without.user_data, &without.network_config));
}

#[test]
fn binaries_stand_in_the_path_of_units() {
    let bundle = bundle_with(&config("worker-node-1"), contents());
    let wanted = Content::Link("/opt/nodebake/payload/bin/crictl".to_owned());
    assert_eq!(bundle.file("/usr/local/bin/crictl"), Some(&wanted));
}

#[test]
fn images_are_imported_and_pinned_the_sandbox_first() {
    let mut config = config("worker-node-1");
    for (containerd, sync_fs, wanted) in [
        (semver::Version::new(1, 7, 29), "", "  sandbox_image = \"own.example:5000/mirror/pause:3.10\""),
        (semver::Version::new(2, 1, 4), "--sync-fs ", "  sandbox = \"own.example:5000/mirror/pause:3.10\""),
    ] {
        config.versions.containerd = containerd;
        let bundle = bundle_with(&config, contents());
        let (script, mode) = public(&bundle, "/usr/local/lib/nodebake/images");
        let steps = script.split_once("\n}\n\n").unwrap().1;
        let name = format!("/var/lib/nodebake/images-imported.nb-{}", Digest::of(b"payload").short());
        let wanted_steps = format!(
            "ctr images import {sync_fs}/opt/nodebake/payload/images/'pause.tar' >/dev/null\n\
             name 'own.example:5000/mirror/pause:3.10' 'own.example:5000/mirror/pause:3.10'\n\
             ctr images import {sync_fs}/opt/nodebake/payload/images/'cilium.tar' >/dev/null\n\
             name 'quay.io/cilium/cilium:v1.18.0' 'quay.io/cilium/cilium:v1.18.0'\n\
             name 'cilium' 'docker.io/library/cilium:latest'\n\
             # containerd's records are on the disk, but not yet what was unpacked.\n\
             sync -f /var/lib/containerd\ntouch '{name}'\nsync -f /var/lib/nodebake\n"
        );
        assert_eq!((steps, mode), (wanted_steps.as_str(), 0o755));
        let (config, _) = public(&bundle, "/etc/containerd/config.toml");
        assert_eq!(config.lines().find(|line| line.starts_with("  sandbox")), Some(wanted));
        let (unit, _) = public(&bundle, "/etc/systemd/system/nodebake-images.service");
        assert!(unit.contains(&format!("\nConditionPathExists=!{name}\n")), "{unit}");
    }
}

#[test]
fn first_boot_sets_errands_off_unless_they_are_done() {
    let config = config("worker-node-1");
    let lines = |bundle: &NodeBundle| bundle.first_boot.lines().map(String::from).collect::<Vec<_>>();
    let without = lines(&bundle(&config));
    let with = lines(&bundle_with(&config, contents()));
    let added: Vec<_> = with.iter().filter(|line| !without.contains(line)).map(String::as_str).collect();
    let serial = payload_serial(Digest::of(b"payload"));
    let errand = |stage: &str, unit: &str| {
        [
            format!("if [ ! -e /var/lib/nodebake/{stage}.{serial} ]; then"),
            format!("    send begun {stage} ''"),
            format!("    systemctl start --no-block {unit}"),
        ]
    };
    let note = "# Beside the kubelet. What is not done at the end of this boot is started by systemd at the next.";
    let mut wanted = vec![note.to_owned()];
    wanted.extend(errand("images-imported", "nodebake-images.service"));
    wanted.extend(errand("packages-installed", "nodebake-packages.service"));
    assert_eq!(added, wanted);
    assert!(with.iter().any(|line| line == "fi"), "{with:#?}");
    let stages = [crate::boot::Stage::ImagesImported, crate::boot::Stage::PackagesInstalled];
    let names = stages.map(|stage| stage.to_string().replace(' ', "-"));
    assert_eq!(names, [IMAGES_IMPORTED, PACKAGES_INSTALLED]);
}

/// A node that keeps its seed has nothing that would remove what cloud-init has of it, and is the same otherwise.
#[test]
fn a_node_seals_itself_unless_it_keeps_its_seed() {
    let mut config = config("worker-node-1");
    let sealing = bundle(&config);
    config.nodes[0].settings.keep_seed = true;
    let keeping = bundle(&config);
    let own = [
        "/etc/systemd/system/multi-user.target.wants/nodebake-seal.service",
        "/etc/systemd/system/nodebake-seal.service",
        "/usr/local/lib/nodebake/seal",
    ];
    assert_eq!(differences(&sealing, &keeping), own);
    assert_eq!(differences(&keeping, &sealing), [""; 0]);
    let added: Vec<_> =
        sealing.first_boot.lines().filter(|line| !keeping.first_boot.lines().any(|other| other == *line)).collect();
    assert_eq!(added, ["# Once cloud-init is done.", "systemctl start --no-block nodebake-seal.service"]);
    assert_eq!((&sealing.user_data, public(&sealing, own[2]).1), (&keeping.user_data, 0o755));
    // The other way round neither is taken for the other.
    for (spoilt, wanted) in [(&keeping, false), (&sealing, true)] {
        config.nodes[0].settings.keep_seed = wanted;
        match checked(spoilt, &config, &PayloadContents::default(), PayloadPlace::Drive) {
            Err(RenderError::Check { template, .. }) => assert_eq!(template.to_string(), "guest/seal"),
            other => panic!("{other:?}"),
        }
    }
}

/// What the guest writes is what the reader of its reports knows.
#[test]
fn the_stages_that_scripts_tell_are_known() {
    let bundle = bundle_with(&config("worker-node-1"), contents());
    let scripts = bundle.files.iter().filter(|file| file.path.starts_with("/usr/local/lib/nodebake/"));
    let texts = scripts.map(|file| public(&bundle, &file.path).0).chain([bundle.first_boot.as_str()]);
    let mut told: Vec<String> = Vec::new();
    for line in texts.flat_map(str::lines).filter(|line| !line.trim_start().starts_with('#')) {
        let words: Vec<_> = line.split_whitespace().map(|word| word.trim_matches('"')).collect();
        let said = words.windows(3).filter(|said| said[0].ends_with("report") || said[0] == "send");
        told.extend(said.filter(|said| matches!(said[1], "ok" | "failed" | "begun")).map(|said| said[2].to_owned()));
    }
    told.sort_unstable();
    told.dedup();
    told.retain(|stage| !stage.starts_with('$'));
    let wanted = [
        "cloud-init-done",
        "cni-installed",
        "disk-grown",
        "files-installed",
        "finished",
        "images-imported",
        "packages-installed",
        "sealed",
        "seed-read",
    ];
    assert_eq!(told, wanted);
    for stage in told {
        let known: Result<crate::boot::Stage, _> = serde_json::from_value(stage.clone().into());
        assert!(known.is_ok(), "{stage}");
    }
}

#[test]
fn time_servers_are_the_given_ones_alone() {
    let mut config = config("worker-node-1");
    config.nodes[0].settings.ntp = vec!["10.0.0.1".to_owned(), "ntp.own.example".to_owned()];
    let bundle = bundle(&config);
    let wanted = "# The given servers alone.\n[Time]\nNTP=10.0.0.1 ntp.own.example\nFallbackNTP=\n";
    assert_eq!(public(&bundle, "/etc/systemd/timesyncd.conf.d/50-nodebake.conf"), (wanted, 0o644));
    let restarts = bundle.first_boot.lines().filter(|line| line.contains("timesyncd")).collect::<Vec<_>>();
    assert_eq!(restarts, ["systemctl restart --no-block systemd-timesyncd.service"]);
}

#[test]
fn the_cluster_itself_is_never_reached_through_the_proxy() {
    let mut config = config("worker-node-1");
    config.cluster.api_server = "https://[fd00::4]:6443".to_owned();
    config.nodes[0].settings.proxy = Some(Proxy {
        http: Some("http://10.0.0.9:3128".to_owned()),
        https: Some("http://own.example:3128/%41\"\\".to_owned()),
        no: vec![".own.example".to_owned(), "localhost".to_owned(), "10.96.0.0/16".to_owned()],
    });
    let wanted = "# Images are pulled through it. NO_PROXY always holds the cluster's own.\n[Service]\n\
                  Environment=\"HTTP_PROXY=http://10.0.0.9:3128\"\n\
                  Environment=\"HTTPS_PROXY=http://own.example:3128/%%41\\\"\\\\\"\n\
                  Environment=\"NO_PROXY=localhost,127.0.0.0/8,10.0.0.0/24,fd00::4,.svc,.cluster.local,.own.example,\
                  10.96.0.0/16\"\n";
    assert_eq!(public(&bundle(&config), proxy::DROP_IN), (wanted, 0o644));
}

/// Replaces a text in a public file, which must hold it.
fn edit(bundle: &mut NodeBundle, path: &str, from: &str, to: &str) {
    let file = bundle.files.iter_mut().find(|file| file.path == path).unwrap();
    let Content::Public(bytes, _) = &mut file.content else { panic!("{path}") };
    let text = String::from_utf8(bytes.clone()).unwrap();
    assert!(text.contains(from), "{text}");
    *bytes = text.replace(from, to).into_bytes();
}

#[test]
fn what_was_given_and_reads_back_otherwise_is_refused() {
    let mut config = config("worker-node-1");
    config.nodes[0].settings.ntp = vec!["10.0.0.1".to_owned()];
    config.nodes[0].settings.proxy =
        Some(Proxy { http: Some("http://10.0.0.9:3128".to_owned()), https: None, no: Vec::new() });
    let lib = "/usr/local/lib/nodebake";
    let units = "/etc/systemd/system";
    for (wanted, path, from, to) in [
        ("containerd/config-v3.toml", "/etc/containerd/config.toml".to_owned(), "own.example", "other.example"),
        ("systemd/containerd-proxy.conf", proxy::DROP_IN.to_owned(), ".svc,", ""),
        ("guest/timesyncd.conf", "/etc/systemd/timesyncd.conf.d/50-nodebake.conf".to_owned(), "10.0.0.1", "10.0.0.2"),
        ("guest/images", format!("{lib}/images"), "'cilium.tar'", "'other.tar'"),
        ("guest/images", format!("{lib}/images"), "library/cilium", "library/other"),
        ("guest/images", format!("{units}/nodebake-images.service"), "images-imported", "images"),
        ("guest/packages", format!("{units}/nodebake-packages.service"), "/packages\n", "/package\n"),
    ] {
        let mut bundle = bundle_with(&config, contents());
        edit(&mut bundle, &path, from, to);
        match checked(&bundle, &config, &contents(), PayloadPlace::Drive) {
            Err(RenderError::Check { template, .. }) => assert_eq!(template.to_string(), wanted, "{path}"),
            other => panic!("{path}: {other:?}"),
        }
    }
}

/// Lines of a text that another one has not, in their order.
fn lines_beyond<'a>(text: &'a str, other: &str) -> Vec<&'a str> {
    text.lines().filter(|line| !other.lines().any(|found| found == *line)).collect()
}

/// A file of a node whose payload comes with its seed: the lines that only one with a drive has, and those of its own.
type Beside<'a> = (&'a str, Vec<&'a str>, Vec<&'a str>);

#[test]
fn without_a_drive_the_payload_is_copied_and_nothing_waits_for_a_mount() {
    let config = config("worker-node-1");
    let drive = bundle_from(&config, contents(), PayloadPlace::Drive);
    let seed = bundle_from(&config, contents(), PayloadPlace::Seed);
    let mount = ["Requires=opt-nodebake-payload.mount", "After=opt-nodebake-payload.mount"];
    let unit = |name: &str| format!("/etc/systemd/system/{name}");
    let gone = [unit("multi-user.target.wants/opt-nodebake-payload.mount"), unit("opt-nodebake-payload.mount")];
    let paths = |bundle: &NodeBundle| bundle.files.iter().map(|file| file.path.clone()).collect::<Vec<_>>();
    let left: Vec<_> = paths(&drive).into_iter().filter(|path| !gone.contains(path)).collect();
    assert_eq!((paths(&drive).len(), paths(&seed)), (left.len() + 2, left));
    let found: Vec<Beside> = differences(&seed, &drive)
        .into_iter()
        .map(|path| {
            let (with, without) = (public(&drive, path).0, public(&seed, path).0);
            (path, lines_beyond(with, without), lines_beyond(without, with))
        })
        .collect();
    let units = ["containerd", "kubelet", "nodebake-images", "nodebake-packages", "nodebake-report"];
    let units = units.map(|name| unit(&format!("{name}.service")));
    let mut wanted: Vec<Beside> = units.iter().map(|path| (path.as_str(), mount.to_vec(), vec![])).collect();
    wanted[4].1.remove(0);
    let start = "    start payload-mounted opt-nodebake-payload.mount || return 1";
    wanted.push(("/usr/local/lib/nodebake/report", vec![start], vec![]));
    assert_eq!(found, wanted);
    assert_eq!(
        lines_beyond(&drive.first_boot, &seed.first_boot),
        [
            "    # With all that it needs. Growing goes on beside it; the kubelet itself waits for it.",
            "    start_node",
            "cp -f --preserve=mode,ownership /opt/nodebake/payload/cni/* /opt/cni/bin/",
        ]
    );
    assert_eq!(
        lines_beyond(&seed.first_boot, &drive.first_boot),
        [
            "# Whole or not at all; the network waits for none of it. The drive may be gone at the next boot.",
            "stage=payload-copied",
            "# Room for it first; the unit of that name says what went wrong, if anything did.",
            "/usr/local/lib/nodebake/grow || true",
            "rm -rf /opt/nodebake/payload.new",
            "mkdir -p /opt/nodebake/payload.new",
            "cp -a \"$seed/nodebake/payload/.\" /opt/nodebake/payload.new",
            "echo 'nb-239f59ed55e7' >/opt/nodebake/payload.new/serial",
            "rm -rf /opt/nodebake/payload",
            "mv /opt/nodebake/payload.new /opt/nodebake/payload",
            "send ok payload-copied ''",
            "start_node",
            "mv -f /opt/nodebake/payload/cni/* /opt/cni/bin/",
        ]
    );
    assert_ne!(seed.instance_id(), drive.instance_id());

    // A unit that waits for what will not be there, or does not wait for what will.
    for (bundle, place, problem) in [
        (&drive, PayloadPlace::Seed, "/etc/systemd/system/containerd.service names opt-nodebake-payload.mount"),
        (&seed, PayloadPlace::Drive, "no file names opt-nodebake-payload.mount"),
    ] {
        let refused = checked(bundle, &config, &contents(), place);
        let wanted = format!("worker-node-1: what template systemd/ renders is not valid: {problem}");
        assert_eq!(refused.unwrap_err().to_string(), wanted);
    }
}

mod custom;
mod machine;
mod rotation;

#[test]
fn a_machine_that_makes_a_golden_image_has_no_identity() {
    let config = config("worker-node-1");
    let payload = Payload { path: "payload.iso".into(), digest: Digest::of(b"payload"), size: 1, contents: contents() };
    let golden = render_golden(&config, &config.nodes[0], MAC.parse().unwrap(), &payload).unwrap();
    let paths: Vec<_> = golden.files.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(paths, ["/usr/local/lib/nodebake/packages", "/usr/local/lib/nodebake/report"]);
    assert!(golden.files.iter().all(|file| matches!(file.content, Content::Public(_, 0o755))));
    // Neither its address nor that of anybody else.
    for text in [&golden.user_data, &golden.vendor_data, &golden.network_config, &golden.first_boot] {
        assert!(!text.contains("10.0.0.") && !text.contains("worker-node-1"), "{text}");
    }
    assert!(golden.first_boot.contains("/dev/disk/by-id/virtio-nb-239f59ed55e7 "), "{}", golden.first_boot);
    let modules = golden.user_data.lines().find(|line| line.starts_with("cloud_init_modules"));
    assert_eq!(modules, Some("cloud_init_modules: [growpart, resizefs]"));
}

#[test]
fn on_a_golden_image_nothing_is_mounted_or_copied_and_the_payload_is_asked_for() {
    let config = config("worker-node-1");
    let [drive, seed, base] = [PayloadPlace::Drive, PayloadPlace::Seed, PayloadPlace::BaseImage]
        .map(|place| bundle_from(&config, contents(), place));
    assert_eq!(differences(&base, &seed), [""; 0]);
    let added = lines_beyond(&base.first_boot, &drive.first_boot);
    let read = "    read -r serial 2>/dev/null </opt/nodebake/payload/serial || serial=";
    let asked = "    if [ \"$serial\" != 'nb-239f59ed55e7' ]; then";
    let told = "        echo 'the base image does not hold the payload nb-239f59ed55e7' >&2";
    let comment = "    # Another base image than this node was rendered for would start other programs, or none.";
    assert_eq!(added, [comment, read, asked, told, "        exit 1"]);
    assert_eq!(
        lines_beyond(&drive.first_boot, &base.first_boot),
        ["cp -f --preserve=mode,ownership /opt/nodebake/payload/cni/* /opt/cni/bin/"]
    );
    for place in [PayloadPlace::Seed, PayloadPlace::BaseImage] {
        let refused = checked(&drive, &config, &contents(), place);
        assert!(refused.is_err(), "{place:?}");
    }
}
