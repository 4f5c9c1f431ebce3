//! The reading of cluster files as a whole: text in, config or list of problems out.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;

use super::*;

mod layers;
mod machine;
mod schema;
mod sites;

const FILE: &str = "/srv/lab/nodebake.yaml";

/// A file with every mandatory key and nothing else.
const LEAST: &str = "\
apiVersion: nodebake/v1
cluster:
  name: seed
  apiServer: https://10.0.0.4:6443
  clusterDNS: [10.96.0.10]
  pki: pki
versions: {kubernetes: 1.35.1, containerd: 2.2.1, runc: 1.2.8, cniPlugins: 1.9.0}
image: ubuntu-24.04
network:
  cidr: 10.0.0.0/24
  gateway: 10.0.0.1
  nameservers: [10.0.0.1]
nodes:
  - name: a
    address: 10.0.0.36
";

/// What the reader makes of a file, of which the schema must think alike.
fn read(text: &str) -> Result<Config, ConfigError> {
    let read = parse(Path::new(FILE), text);
    schema::check(text, read.as_ref().err());
    read
}

/// All problems of a file, as the user sees them but for the file's name.
fn problems(text: &str) -> Vec<String> {
    match read(text) {
        Ok(_) => Vec::new(),
        Err(ConfigError::Invalid { problems, .. }) => problems.iter().map(ToString::to_string).collect(),
        Err(error) => panic!("{error}"),
    }
}

/// Problems of [`LEAST`] with one text replaced, which must be in it.
fn changed(from: &str, to: &str) -> Vec<String> {
    assert!(LEAST.contains(from), "{from}");
    problems(&LEAST.replacen(from, to, 1))
}

/// What every changed file must say.
fn check(cases: &[(&str, &str, &[&str])]) {
    for (from, to, expected) in cases {
        assert_eq!(changed(from, to), *expected, "{from:?} -> {to:?}");
    }
}

fn node(name: &str, address: [u8; 4]) -> Node {
    Node {
        name: name.parse().unwrap(),
        address: address.into(),
        address6: None,
        arch: Arch::Amd64,
        mac: None,
        cpus: 2,
        memory: 4 * 1024 * 1024 * 1024,
        disk: 20 * 1024 * 1024 * 1024,
        group: None,
        hypervisor: None,
        settings: Settings::default(),
    }
}

fn seed() -> Config {
    let host = Host { name: "control-plane-1".parse().unwrap(), address: [10, 0, 0, 4].into() };
    Config {
        file: FILE.into(),
        cluster: Cluster {
            name: "seed".parse().unwrap(),
            api_server: "https://10.0.0.4:6443".to_owned(),
            control_plane: vec![host],
            cluster_domain: "cluster.local".to_owned(),
            cluster_dns: vec![[10, 96, 0, 10].into()],
            pki: "/srv/lab/pki".into(),
            ca_key: CaKey::default(),
            certificate_lifetime: SignedDuration::from_hours(365 * 24),
            kubeconfig: Some("/srv/lab/admin.kubeconfig".into()),
            kubelet_client_user: None,
        },
        versions: Versions {
            kubernetes: semver::Version::new(1, 35, 1),
            containerd: semver::Version::new(2, 2, 1),
            runc: semver::Version::new(1, 2, 8),
            cni_plugins: semver::Version::new(1, 9, 0),
        },
        image: "ubuntu-24.04".to_owned(),
        download: Download::default(),
        artifacts: Vec::new(),
        network: Network {
            bridge: None,
            mtu: None,
            name: "nodebake".to_owned(),
            cidr: "10.0.0.0/24".parse().unwrap(),
            gateway: [10, 0, 0, 1].into(),
            ipv6: None,
            dhcp: false,
            apart: false,
            nameservers: vec![[10, 0, 0, 1].into()],
        },
        libvirt: Libvirt {
            uri: "qemu:///system".to_owned(),
            acceleration: Acceleration::Auto,
            pool: "nodebake".to_owned(),
            pool_path: "/var/lib/libvirt/nodebake".into(),
        },
        sites: Vec::new(),
        nodes: vec![node("worker-node-1", [10, 0, 0, 36]), node("worker-node-2", [10, 0, 0, 37])],
        warnings: Vec::new(),
    }
}

/// Who said what is looked at in tests of its own.
fn without_origins(mut config: Config) -> Config {
    config.nodes.iter_mut().for_each(|node| node.settings.origins = Origins::default());
    config
}

#[test]
fn init_is_the_seed_cluster() {
    assert_eq!(without_origins(read(INIT).unwrap()), seed());
}

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f ops@example";

/// A whole hash, of no password.
fn console_hash() -> String {
    format!("$6$salt${}", "a".repeat(86))
}

/// [`INIT`] with all that it shows as a comment, the two examples that are not whole made so.
fn uncommented() -> String {
    // Behind "# " stand keys, and what is indented below them; or a sentence.
    let shown = |line: &str| {
        let indent = line.len() - line.trim_start().len();
        let rest = line[indent..].strip_prefix("# ")?;
        let is_key =
            rest.split_once(':').is_some_and(|(key, _)| key.starts_with(char::is_lowercase) && !key.contains(' '));
        (is_key || rest.starts_with("  ")).then(|| format!("{}{rest}", &line[..indent]))
    };
    let lines: Vec<String> = INIT.lines().map(|line| shown(line).unwrap_or_else(|| line.to_owned())).collect();
    let text = lines.join("\n").replace("ssh-ed25519 AAAAC3Nza... ops@example", KEY);
    text.replace("$y$j9T$...", &console_hash())
}

/// What the comments of `init` say of a machine.
fn init_machine() -> Machine {
    let mount = Some(Mount { path: "/var/lib/data".to_owned(), file_system: "ext4".to_owned() });
    Machine {
        firmware: Some(Bootware::Uefi),
        secure_boot: Some(true),
        disk_driver: DiskDriver {
            cache: "none".to_owned(),
            io: Some("native".to_owned()),
            discard: "unmap".to_owned(),
        },
        data_disks: BTreeMap::from([("data".to_owned(), DataDisk { size: 100 << 30, mount })]),
        nics: BTreeMap::from([(
            "storage".to_owned(),
            FurtherNic { source: NicSource::Bridge("br1".to_owned()), mtu: Some(9000), address: None, address6: None },
        )]),
        domain_xml: Some(
            "<domain>\n  <cpu><topology sockets='1' cores='2' threads='1'/></cpu>\n  \
                 <devices><watchdog model='itco' action='reset'/></devices>\n</domain>\n"
                .to_owned(),
        ),
    }
}

/// What the comments of `init` say of the CA's key.
fn init_ca_key() -> CaKey {
    CaKey {
        from: Some(SecretSource::Command {
            program: "pass".into(),
            arguments: ["show", "lab/ca-key"].map(str::to_owned).to_vec(),
            folder: "/srv/lab".into(),
        }),
        passphrase: Some(SecretSource::Descriptor(3)),
    }
}

/// What they say of files of one's own.
fn init_artifacts() -> Vec<Given> {
    let sha256 = |text: &[u8]| Checksum::Sha256(Digest::of(text));
    vec![
        Given {
            kind: Kind::Binary,
            name: Some("crictl".to_owned()),
            arch: Arch::Amd64,
            from: Location::Path("/srv/lab/files/crictl".into()),
            checksum: sha256(b"hello"),
        },
        Given {
            kind: Kind::ContainerImage,
            name: Some("pause-3.10.tar".to_owned()),
            arch: Arch::Amd64,
            from: Location::Url("https://mirror.example/images/pause-3.10.tar".parse().unwrap()),
            checksum: sha256(b"world"),
        },
    ]
}

#[test]
fn what_init_shows_as_a_comment_is_valid_too() {
    let text = uncommented();
    let (key, hash) = (KEY, console_hash());
    let mut expected = seed();
    expected.cluster.kubelet_client_user = Some("kube-apiserver".to_owned());
    expected.download = Download {
        mirrors: vec!["https://mirror.example/upstream".to_owned()],
        fallback: false,
        ca_file: Some("/srv/lab/mirror-ca.pem".into()),
    };
    expected.cluster.ca_key = init_ca_key();
    expected.artifacts = init_artifacts();
    let object = |value: serde_json::Value| value.as_object().unwrap().clone();
    let own_file = OwnFile {
        body: Body::Text("[own]\ncolour = blue\n".to_owned()),
        mode: 0o644,
        owner: "root".to_owned(),
        group: "root".to_owned(),
    };
    let unit = |body, enabled| OwnUnit { body, enabled };
    let settings = Settings {
        hypervisors: Vec::new(),
        anti_affinity: false,
        machine: init_machine(),
        ntp: vec!["10.0.0.1".to_owned()],
        proxy: Some(Proxy {
            http: Some("http://10.0.0.1:3128".to_owned()),
            https: Some("http://10.0.0.1:3128".to_owned()),
            no: vec![".example.internal".to_owned()],
        }),
        ssh: Some(Ssh { user: "ops".to_owned(), authorized_keys: vec![key.to_owned()] }),
        console_login: Some(PasswordHash::new(hash)),
        kubelet: object(serde_json::json!({
            "maxPods": 200,
            "systemReserved": {"cpu": "200m", "memory": "256Mi"},
            "shutdownGracePeriod": "60s",
        })),
        containerd: object(serde_json::json!({"debug": {"level": "info"}})),
        registries: BTreeMap::from([(
            "docker.io".to_owned(),
            Registry {
                mirrors: vec!["https://mirror.example/v2/hub".to_owned()],
                fallback: true,
                ca_file: Some("/srv/lab/mirror-ca.pem".into()),
                credentials: Some(Credentials {
                    username: "puller".to_owned(),
                    password_file: "/srv/lab/secrets/puller".into(),
                }),
            },
        )]),
        files: BTreeMap::from([("/etc/own.conf".to_owned(), own_file)]),
        units: BTreeMap::from([
            ("own.service".to_owned(), unit(Some(Body::Path("/srv/lab/units/own.service".into())), Some(true))),
            (
                "kubelet.service.d/50-own.conf".to_owned(),
                unit(Some(Body::Text("[Service]\nNice=-5\n".to_owned())), None),
            ),
            ("multipathd.service".to_owned(), unit(None, Some(false))),
        ]),
        cloud_config: object(serde_json::json!({"timezone": "Europe/Berlin"})),
        modules: ["nf_tables".to_owned()].into(),
        sysctls: BTreeMap::from([("vm.max_map_count".to_owned(), "262144".to_owned())]),
        labels: BTreeMap::from([("example.com/pool".to_owned(), "general".to_owned())]),
        taints: BTreeMap::from([(("example.com/dedicated".to_owned(), TaintEffect::NoSchedule), "batch".to_owned())]),
        swap: Some(2 << 30),
        templates: Some("/srv/lab/templates".into()),
        keep_seed: false,
        origins: Origins::default(),
    };
    expected.network.mtu = Some(1450);
    let (cidr, gateway) = ("fd00:10::/64".parse().unwrap(), "fd00:10::1".parse().unwrap());
    expected.network.ipv6 = Some(Network6 { cidr, gateway });
    expected.network.dhcp = true;
    for (node, address) in expected.nodes.iter_mut().zip(["fd00:10::36", "fd00:10::37"]) {
        node.address6 = address.parse().ok();
    }
    expected.nodes.iter_mut().for_each(|node| node.settings = settings.clone());
    let nics = &mut expected.nodes[0].settings.machine.nics;
    nics.get_mut("storage").unwrap().address = "10.1.0.36/24".parse().ok();
    let [_, large] = expected.nodes.as_mut_slice() else { panic!() };
    large.group = Some("large".to_owned());
    large.memory = 16 << 30;
    large.settings.labels = BTreeMap::from([("example.com/pool".to_owned(), "large".to_owned())]);
    assert_eq!(without_origins(read(&text).unwrap()), expected);
    // Nothing that can be said is left out.
    for key in layer::KEYS {
        let is_shown = |line: &str| {
            line.trim_start().trim_start_matches("# ").trim_start_matches('(').starts_with(&format!("{key}:"))
        };
        assert!(INIT.lines().any(is_shown), "{key}");
    }
}

#[test]
fn byte_order_mark_and_crlf_change_nothing() {
    let windows = format!("\u{feff}{}", INIT.replace('\n', "\r\n"));
    assert_eq!(without_origins(read(&windows).unwrap()), seed());
    let wrong = windows.replace("arch: amd64", "arch: arm");
    assert_eq!(problems(&wrong), problems(&INIT.replace("arch: amd64", "arch: arm")));
}

#[test]
fn what_is_left_out_has_its_default() {
    let mut expected = seed();
    expected.cluster.control_plane.clear();
    expected.cluster.kubeconfig = None;
    expected.nodes = vec![node("a", [10, 0, 0, 36])];
    assert_eq!(read(LEAST).unwrap(), expected);
}

#[test]
fn everything_can_be_given() {
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f ops@example";
    let text = LEAST
        .replace("name: seed", "name: other")
        .replace("https://10.0.0.4:6443", "https://api.example:443/")
        .replace(
            "pki: pki",
            "pki: /etc/pki\n  clusterDomain: k8s.example\n  kubeconfig: ../admin\n  caKey: x\n  \
             certificateLifetime: 72h\n  controlPlane: []\n  kubeletClientUser: system:kube-apiserver",
        )
        .replace("[10.96.0.10]", "[10.96.0.10, 'fd00::a']")
        .replace("cidr:", "name: my net\n  cidr:")
        .replace(
            "    address: 10.0.0.36\n",
            "    address: 10.0.0.36\n    mac: 52:54:00:AB:cd:0f\n    cpus: 8\n    disk: 2GiB\n",
        )
        + &format!(
            "download: {{mirrors: [files, 'http://m/b'], fallback: true}}\n\
             libvirt: {{uri: 'qemu+ssh://ops@host/system', acceleration: tcg, pool: p, poolPath: /p}}\n\
             defaults:\n  {{arch: arm64, cpus: 3, memory: 1TiB, disk: 30GiB, ssh: {{user: ops, authorizedKeys: [{key}]}}}}\n"
        );
    let mut expected = seed();
    expected.cluster = Cluster {
        name: "other".parse().unwrap(),
        api_server: "https://api.example:443".to_owned(),
        control_plane: Vec::new(),
        cluster_domain: "k8s.example".to_owned(),
        cluster_dns: vec![[10, 96, 0, 10].into(), "fd00::a".parse().unwrap()],
        pki: "/etc/pki".into(),
        ca_key: CaKey { from: Some(SecretSource::Path("/srv/lab/x".into())), passphrase: None },
        certificate_lifetime: SignedDuration::from_hours(72),
        kubeconfig: Some("/srv/lab/../admin".into()),
        kubelet_client_user: Some("system:kube-apiserver".to_owned()),
    };
    let mirrors = vec!["/srv/lab/files".to_owned(), "http://m/b".to_owned()];
    expected.download = Download { mirrors, fallback: true, ca_file: None };
    expected.network.name = "my net".to_owned();
    expected.libvirt = Libvirt {
        uri: "qemu+ssh://ops@host/system".to_owned(),
        acceleration: Acceleration::Tcg,
        pool: "p".to_owned(),
        pool_path: "/p".into(),
    };
    let ssh = Some(Ssh { user: "ops".to_owned(), authorized_keys: vec![key.to_owned()] });
    expected.nodes = vec![Node {
        arch: Arch::Arm64,
        mac: Some(Mac::from([0x52, 0x54, 0, 0xab, 0xcd, 0x0f])),
        cpus: 8,
        memory: 1 << 40,
        disk: 2 << 30,
        settings: Settings { ssh, ..Settings::default() },
        ..node("a", [10, 0, 0, 36])
    }];
    assert_eq!(without_origins(read(&text).unwrap()), expected);
}

#[test]
fn all_problems_come_at_once_in_the_order_of_the_file() {
    let text = "\
apiVersion: nodebake/v1
cluster:
  name: Seed
  apiserver: https://10.0.0.4:6443
  clusterDNS: 10.96.0.10
  pki:
versions: {kubernetes: '1.35', containerd: 2.2.1, runc: 1.2.8}
image: ubuntu-24.04
network:
  cidr: 10.0.0.0/24
  gateway: 10.0.1.1
  nameservers: []
nodes:
  - name: a
    address: 10.0.0.36
    memroy: 4GiB
  - name: a
    address: 10.0.0.36
    cpus: two
";
    let error = read(text).unwrap_err();
    assert_eq!(
        error.to_string(),
        "\
12 problems in /srv/lab/nodebake.yaml
/srv/lab/nodebake.yaml:3:9: cluster.name: \"Seed\" is not a cluster name: 1 to 32 of a-z, 0-9 and \"-\", not at the ends
/srv/lab/nodebake.yaml:4:3: cluster.apiserver: unknown key, did you mean \"apiServer\"?
/srv/lab/nodebake.yaml:5:15: cluster.clusterDNS: expected a list of addresses such as 10.96.0.10, found a single value
/srv/lab/nodebake.yaml:6:3: cluster.pki: expected the path of the folder with ca.pem, found no value
/srv/lab/nodebake.yaml:7:11: versions.cniPlugins: missing key: a version such as v1.9.0
/srv/lab/nodebake.yaml:7:24: versions.kubernetes: \"1.35\" is not a full version such as 1.2.3
/srv/lab/nodebake.yaml:11:12: network.gateway: 10.0.1.1 is outside the network 10.0.0.0/24 of line 10
/srv/lab/nodebake.yaml:12:16: network.nameservers: expected at least one of addresses such as 10.0.0.1, found an empty list
/srv/lab/nodebake.yaml:16:5: nodes[0].memroy: unknown key, did you mean \"memory\"?
/srv/lab/nodebake.yaml:17:11: nodes[1].name: a is taken by nodes[0].name in line 14
/srv/lab/nodebake.yaml:18:14: nodes[1].address: 10.0.0.36 is taken by nodes[0].address in line 15
/srv/lab/nodebake.yaml:19:11: nodes[1].cpus: expected a whole number from 1 to 255, found \"two\""
    );
    assert_eq!(
        error.hint().as_deref(),
        Some("`nodebake init`, run in an empty folder, writes a complete example with comments")
    );
}

#[test]
fn yaml_that_would_lose_something_is_refused() {
    check(&[
        ("  pki: pki", "  pki: pki\n  pki: other", &["7:3: cluster.pki: duplicate key, first given in line 6"]),
        ("  pki: pki", "  pki: pki\n  \"pki\": pki", &["7:3: cluster.pki: duplicate key, first given in line 6"]),
        ("image: ", "image: a\nimage: ", &["9:1: image: duplicate key, first given in line 8"]),
        ("name: a", "name: a\n    name: b", &["15:5: nodes[0].name: duplicate key, first given in line 14"]),
        ("name: a", "name: &x a", &["14:11: nodes[0].name: an anchor (&); write the value out wherever it is meant"]),
        ("name: a", "name: !!str a", &["14:11: nodes[0].name: a tag (!); leave it out, quotes make a text"]),
        ("name: a", "? [x]\n    : y\n    name: a", &["14:7: nodes[0]: a key must be a word, not a list or a map"]),
        ("name: a", "~: y\n    name: a", &["14:5: nodes[0]: a key is missing before \":\""]),
        ("apiVersion", "%YAML 1.2\n---\napiVersion", &[]),
    ]);
    assert_eq!(
        problems(&LEAST.replace("pki: pki", "pki: &p pki").replace("name: a", "name: *p")),
        [
            "6:8: cluster.pki: an anchor (&); write the value out wherever it is meant",
            "14:11: nodes[0].name: an alias (*); write the value out"
        ]
    );
    assert_eq!(problems(&format!("{LEAST}---\n{LEAST}")), ["16:1: a second document; a cluster file is one"]);
    for empty in ["", "\u{feff}", "# nothing\r\n", "---\n"] {
        assert!(matches!(problems(empty).as_slice(), [_]), "{empty:?}: {:?}", problems(empty));
    }
    let deep = format!("{LEAST}ssh: {}{}", "[".repeat(20), "]".repeat(20));
    let path = format!("ssh{}", "[0]".repeat(15));
    assert_eq!(problems(&deep), [format!("16:21: {path}: nested deeper than 16 levels")]);
}

#[test]
fn null_is_never_a_text() {
    check(&[
        ("name: a", "name:", &["14:5: nodes[0].name: expected a name such as worker-node-1, found no value"]),
        (
            "name: a",
            "name: null",
            &[
                "14:11: nodes[0].name: expected a name such as worker-node-1, found no value: YAML reads null as null; quote it if the text is meant",
            ],
        ),
        (
            "name: a",
            "name: ~",
            &[
                "14:11: nodes[0].name: expected a name such as worker-node-1, found no value: YAML reads ~ as null; quote it if the text is meant",
            ],
        ),
        ("name: a", "name: ''", &["14:11: nodes[0].name: expected a name such as worker-node-1, found an empty text"]),
        (
            "    address: 10.0.0.36",
            "    address: 10.0.0.36\n    mac:",
            &["16:5: nodes[0].mac: expected a MAC address such as 52:54:00:12:34:56, found no value"],
        ),
        (
            "nodes:",
            "defaults:\n  ssh:\nnodes:",
            &[
                "14:3: defaults.ssh: expected a map with user, authorizedKeys, found no value; null is what takes away an earlier layer's",
            ],
        ),
        ("name: a", "name: 'null'", &[]),
    ]);
}

#[test]
fn plain_scalars_are_the_texts_that_they_look_like() {
    for name in ["no", "on", "y", "true", "1e3", "0x10", "007", "12", "1-30"] {
        let config = read(&LEAST.replace("name: a", &format!("name: {name}"))).unwrap();
        assert_eq!(config.nodes, [node(name, [10, 0, 0, 36])]);
    }
}

#[test]
fn the_apiservers_user_is_one_of_its_own_and_an_administrator_binds_it() {
    let needs = "only an administrator can bind a user to a role, and cluster.kubeconfig names none";
    let key = |text: &str| changed("  pki: pki", &format!("  pki: pki\n  {text}"));
    let at = |line: u8, text: &str| vec![format!("{line}:22: cluster.kubeletClientUser: {text}")];
    assert_eq!(key("kubeconfig: admin\n  kubeletClientUser: kube-apiserver"), [""; 0]);
    assert_eq!(key("kubeletClientUser: kube-apiserver"), at(7, needs));
    for (user, problem) in [
        ("system:anonymous", "\"system:anonymous\" is everybody who does not say who he is"),
        ("system:node:a", "\"system:node:a\" is a node; meant is the apiserver"),
        ("[a]", "expected a user name such as kube-apiserver, found a list"),
    ] {
        assert_eq!(key(&format!("kubeconfig: admin\n  kubeletClientUser: {user}")), at(8, problem));
    }
}

#[test]
fn another_version_hides_the_rest() {
    let text = LEAST.replace("nodebake/v1", "nodebake/v2").replace("nodes:", "machines:");
    assert_eq!(
        problems(&text),
        ["1:13: apiVersion: \"nodebake/v2\" is not \"nodebake/v1\", the only form that this nodebake reads"]
    );
    assert_eq!(changed("apiVersion: nodebake/v1\n", ""), ["1:1: apiVersion: missing key: nodebake/v1"]);
    assert_eq!(changed("apiVersion", "apiversion"), ["1:1: apiversion: unknown key, did you mean \"apiVersion\"?"]);
}

#[test]
fn kinds_are_told_apart() {
    let cpus = |text: &str| changed("name: a", &format!("name: a\n    cpus: {text}"));
    let refused =
        |found: &str| vec![format!("15:11: nodes[0].cpus: expected a whole number from 1 to 255, found {found}")];
    assert_eq!(cpus("255"), [""; 0]);
    assert_eq!(cpus("'2'"), refused("the text \"2\"; leave out the quotes"));
    for bad in ["0", "256", "02", "0x2", "2.0", "+2", "-1", "1e1", "1_0", "2 cores", "true", "99999999999"] {
        assert_eq!(cpus(bad), refused(&format!("{bad:?}")));
    }
    assert_eq!(cpus("[2]"), refused("a list"));
    assert_eq!(cpus("{2: 2}"), refused("a map"));
    assert_eq!(
        problems("just text"),
        [
            "1:1: expected a map with apiVersion, cluster, versions, image, download, artifacts, network, libvirt, hypervisors, defaults, groups, nodes, found a single value"
        ]
    );
    check(&[
        (
            "name: a\n    address: 10.0.0.36",
            "a",
            &[
                "14:5: nodes[0]: expected a map with name, address, address6, mac, group, hypervisor, arch, cpus, memory, disk, firmware, secureBoot, diskDriver, dataDisks, nics, domainXml, ntp, proxy, ssh, consoleLogin, kubelet, containerd, files, units, cloudConfig, modules, sysctls, labels, taints, swap, templates, keepSeed, hypervisors, antiAffinity, found a single value",
            ],
        ),
        (
            "image: ubuntu-24.04",
            "image: {name: a}",
            &["8:8: image: expected a base image such as ubuntu-24.04, found a map"],
        ),
        (
            "pki: pki",
            "pki: |\n    a\n    b",
            &["7:5: cluster.pki: expected the path of the folder with ca.pem, found a text of several lines"],
        ),
        (
            "pki: pki",
            "pki: \"a\\e[31m\"",
            &["6:8: cluster.pki: expected the path of the folder with ca.pem, found a text with a control character"],
        ),
        (
            "pki: pki",
            "pki: ' a'",
            &["6:8: cluster.pki: expected the path of the folder with ca.pem, found a text with a blank at its end"],
        ),
    ]);
}

#[test]
fn unknown_keys_are_named_with_what_was_probably_meant() {
    let key = |key: &str| changed("  pki: pki", &format!("  pki: pki\n  {key}: x"));
    let meant = |key: &str, meant: &str| vec![format!("7:3: cluster.{key}: unknown key, did you mean {meant:?}?")];
    assert_eq!(key("cluster_domain"), meant("cluster_domain", "clusterDomain"));
    assert_eq!(key("kubeconfg"), meant("kubeconfg", "kubeconfig"));
    assert_eq!(key("kubeConfig"), meant("kubeConfig", "kubeconfig"));
    let known = "known here: name, apiServer, controlPlane, clusterDomain, clusterDNS, pki, caKey, certificateLifetime, \
                 kubeconfig, kubeletClientUser";
    for other in ["dns", "x", "<<", &"k".repeat(50)] {
        let shown = if other == "<<" { "\"<<\"" } else { other };
        assert_eq!(key(other), [format!("7:3: cluster.{shown}: unknown key; {known}")]);
    }
    let escaped = format!("7:3: cluster.\"\\u{{1b}}[2J\": unknown key; {known}");
    assert_eq!(key("\"\\e[2J\""), [escaped]);
}

#[test]
fn nothing_is_given_twice() {
    let nodes = "nodes:
  - {name: a, address: 10.0.0.36, mac: '52:54:00:00:00:01'}
  - {name: b, address: 10.0.0.36, mac: '52:54:00:00:00:0A'}
  - {name: a, address: 10.0.0.37, mac: '52:54:00:00:00:0a'}
  - {name: cp, address: 10.0.0.4}
  - {name: a, address: 10.0.0.5}
";
    let text = LEAST.replace(
        "  pki: pki",
        "  pki: pki\n  controlPlane: [{name: cp, address: 10.0.0.5}, {name: cp, address: 10.0.0.5}]",
    );
    let text = format!("{}{nodes}", text.split("nodes:").next().unwrap());
    assert_eq!(
        problems(&text),
        [
            "7:56: cluster.controlPlane[1].name: cp is taken by cluster.controlPlane[0].name in line 7",
            "16:24: nodes[1].address: 10.0.0.36 is taken by nodes[0].address in line 15",
            "17:12: nodes[2].name: a is taken by nodes[0].name in line 15",
            "17:40: nodes[2].mac: 52:54:00:00:00:0a is taken by nodes[1].mac in line 16",
            "18:12: nodes[3].name: cp is taken by cluster.controlPlane[0].name in line 7",
            "18:25: nodes[3].address: 10.0.0.4 is taken by cluster.apiServer in line 4",
            "19:12: nodes[4].name: a is taken by nodes[0].name in line 15",
            "19:24: nodes[4].address: 10.0.0.5 is taken by cluster.controlPlane[0].address in line 7",
        ]
    );
}

#[test]
fn addresses_stand_where_they_work() {
    check(&[
        (
            "10.0.0.36",
            "10.0.1.36",
            &["15:14: nodes[0].address: 10.0.1.36 is outside the network 10.0.0.0/24 of line 10"],
        ),
        (
            "10.0.0.36",
            "10.0.0.0",
            &["15:14: nodes[0].address: 10.0.0.0 is the address of the network itself (10.0.0.0/24, line 10)"],
        ),
        (
            "10.0.0.36",
            "10.0.0.255",
            &["15:14: nodes[0].address: 10.0.0.255 is the broadcast address of the network (10.0.0.0/24, line 10)"],
        ),
        ("10.0.0.36", "10.0.0.1", &["15:14: nodes[0].address: 10.0.0.1 is taken by network.gateway in line 11"]),
        (
            "10.0.0.36",
            "10.0.0.036",
            &["15:14: nodes[0].address: \"10.0.0.036\" is not an IPv4 address such as 10.0.0.36"],
        ),
        (
            "10.0.0.36",
            "10.0.0.36/24",
            &["15:14: nodes[0].address: \"10.0.0.36/24\" is not an IPv4 address such as 10.0.0.36"],
        ),
        (
            "gateway: 10.0.0.1",
            "gateway: 10.0.0.255",
            &["11:12: network.gateway: 10.0.0.255 is the broadcast address of the network (10.0.0.0/24, line 10)"],
        ),
        (
            "gateway: 10.0.0.1",
            "gateway: 10.1.0.1",
            &["11:12: network.gateway: 10.1.0.1 is outside the network 10.0.0.0/24 of line 10"],
        ),
        (
            "pki: pki",
            "pki: pki\n  controlPlane: [{name: b, address: 10.0.0.0}]",
            &[
                "7:37: cluster.controlPlane[0].address: 10.0.0.0 is the address of the network itself (10.0.0.0/24, line 11)",
            ],
        ),
        ("pki: pki", "pki: pki\n  controlPlane: [{name: b, address: 10.1.0.0}]", &[]),
        (
            "cidr: 10.0.0.0/24",
            "cidr: 10.0.0.0/33",
            &["10:9: network.cidr: \"10.0.0.0/33\" is not an IPv4 network such as 10.0.0.0/24"],
        ),
        (
            "[10.0.0.1]",
            "[10.0.0.1, 127.0.0.53, 'fd00::1', x]",
            &[
                "12:27: network.nameservers[1]: 127.0.0.53 is a loopback address, no server that a node could reach",
                "12:50: network.nameservers[3]: \"x\" is not an IPv4 or IPv6 address such as 10.0.0.1",
            ],
        ),
        (
            "  nameservers: [10.0.0.1]\n",
            "",
            &["10:3: network.nameservers: missing key: a list of addresses such as 10.0.0.1"],
        ),
        (
            "nodes:\n  - name: a\n    address: 10.0.0.36",
            "nodes: []",
            &["13:8: nodes: expected at least one node, found an empty list"],
        ),
    ]);
}

/// A small generator of numbers (`SplitMix64`), so that a failure is the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) >> 33).unwrap() % limit
    }
}

/// What a mutation puts into the text: what YAML and our own values are sensitive to.
const SPLINTERS: &[&str] = &[
    "",
    " ",
    "\n",
    "\r",
    "\t",
    ":",
    "- ",
    "? ",
    "{",
    "}",
    "[",
    "]",
    ",",
    "&a ",
    "*a",
    "!!str ",
    "|\n",
    ">-\n",
    "\"",
    "'",
    "\\",
    "#",
    "---\n",
    "...\n",
    "%TAG ! x\n",
    "<<: ",
    "null",
    "~",
    "0",
    "99999999999999999999",
    "-1",
    ".",
    "1.5GiB",
    "e9",
    "/",
    "@",
    "://",
    "\u{feff}",
    "\u{0}",
    "\u{85}",
    "\u{2028}",
    "\u{1f642}",
    "ä",
];

#[test]
fn no_text_makes_it_panic() {
    let mut numbers = Numbers(1);
    let mut refused = 0;
    // Without comments, in which nothing can be wrong.
    let lines = uncommented();
    let lines = lines.lines().filter(|line| !line.trim_start().starts_with('#'));
    let whole: Vec<char> = lines.flat_map(|line| line.chars().chain(['\n'])).collect();
    for _ in 0..5000 {
        let mut text: Vec<char> = whole.clone();
        for _ in 0..=numbers.below(4) {
            let from = numbers.below(text.len());
            let to = (from + numbers.below(6)).min(text.len());
            text.splice(from..to, SPLINTERS[numbers.below(SPLINTERS.len())].chars());
        }
        let text: String = text.into_iter().collect();
        // Not shown to the schema: readers of YAML differ in what no editor would let stand.
        match parse(Path::new(FILE), &text) {
            Ok(_) => {}
            Err(ConfigError::Invalid { problems, .. }) => {
                refused += 1;
                let lines = text.split(['\n', '\r']).count();
                assert!(!problems.is_empty(), "{text}");
                for problem in problems {
                    assert!((1..=lines).contains(&problem.at.line) && problem.at.column > 0, "{problem}\n{text}");
                    assert!(!problem.to_string().contains(char::is_control), "{problem:?}\n{text}");
                }
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert!(refused > 2500, "{refused}");
}

/// The end of a text is on its last line, be there a line feed or not.
#[test]
fn what_ends_too_soon_is_told_at_its_end() {
    let told = |place: &str| {
        vec![format!("{place}: not valid YAML: while parsing a flow mapping, did not find expected ',' or '}}'")]
    };
    assert_eq!(problems("a: {b: c"), told("1:9"));
    assert_eq!(problems("a:\r\n  {b: c"), told("2:8"));
    assert_eq!(problems("a: {b: c\n"), told("2:1"));
}

#[test]
fn load_tells_what_it_cannot_read() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("nodebake.yaml");
    let missing = Config::load(&file).unwrap_err();
    assert_eq!(missing.to_string(), format!("cannot read the cluster file {}", file.display()));
    assert_eq!(missing.hint().as_deref(), Some("run `nodebake init` to write one, or name yours with --config FILE"));
    assert_eq!(Config::load(folder.path()).unwrap_err().hint(), None);

    std::fs::write(&file, INIT).unwrap();
    assert_eq!(Config::load(&file).unwrap().cluster.pki, folder.path().join("pki"));

    let invalid = |bytes: &[u8]| {
        std::fs::write(&file, bytes).unwrap();
        Config::load(&file).unwrap_err().to_string().replace(&*file.to_string_lossy(), "F")
    };
    assert_eq!(
        invalid(b"a: 1\n\xc3\xa4: \xe4\n"),
        "1 problem in F\nF:2:4: a byte that is not UTF-8; save the file as UTF-8"
    );
    let large = [b"#".repeat(MAX_FILE), "ä".into()].concat();
    assert_eq!(invalid(&large), "1 problem in F\nF:1:1: the file is larger than 1 MiB");
}

#[test]
fn secrets_are_not_repeated() {
    let key = "-----BEGIN OPENSSH PRIVATE KEY----- b3BlbnNzaC1rZXk";
    let cases = [
        (
            "nodes:",
            format!(
                "defaults: {{ssh: {{user: ops, authorizedKeys: ['{key}', 'ssh-rsa b3BlbnNza', 'b3BlbnNza']}}}}\nnodes:"
            ),
        ),
        ("https://10.0.0.4:6443", "https://ops:b3BlbnNza@10.0.0.4:6443".to_owned()),
        ("nodes:", "download: {mirrors: ['https://ops:b3BlbnNza@mirror.example']}\nnodes:".to_owned()),
        ("nodes:", "download: {mirrors: ['ftp://b3BlbnNza@mirror.example']}\nnodes:".to_owned()),
        ("nodes:", "defaults: {proxy: {http: 'http://ops:b3BlbnNza@proxy.example'}}\nnodes:".to_owned()),
        ("nodes:", "libvirt: {uri: 'qemu+ssh://ops:b3BlbnNza@host/system'}\nnodes:".to_owned()),
    ];
    for (from, to) in cases {
        let problems = changed(from, &to);
        assert!(!problems.is_empty() && !problems.concat().contains("b3BlbnNza"), "{problems:?}");
    }
}

#[test]
fn files_of_the_users_own_are_known_by_their_digest() {
    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let artifacts = |items: &str| problems(&format!("{LEAST}artifacts:\n{items}"));
    let good = format!(
        "- {{kind: kubelet, path: k, sha256: {ABC}}}\n- {{kind: kubelet, path: k, sha256: {ABC}, arch: arm64}}\n\
         - {{kind: package, path: a_1%3a1.0-1~b+c_amd64.deb, sha512: {ABC}{ABC}}}\n\
         - {{kind: binary, name: a, path: p, sha256: {ABC}}}\n- {{kind: binary, name: b, path: p, sha256: {ABC}}}\n"
    );
    assert_eq!(artifacts(&good), [""; 0]);
    let cases = [
        (
            format!("- {{kind: kubelt, path: k, sha256: {ABC}}}"),
            "17:10: artifacts[0].kind: \"kubelt\" is not known, did you mean \"kubelet\"?",
        ),
        (
            format!("- {{kind: binary, path: k, sha256: {ABC}}}"),
            "17:3: artifacts[0].name: missing key: the program's name in the nodes",
        ),
        (
            format!("- {{kind: binary, name: ../k, path: k, sha256: {ABC}}}"),
            "17:24: artifacts[0].name: \"../k\" is not a program's name such as crictl",
        ),
        (
            format!("- {{kind: runc, name: k, path: k, sha256: {ABC}}}"),
            "17:3: artifacts[0]: runc takes its name from its file, so \"k\" has no place here",
        ),
        (
            format!("- {{kind: package, path: a.rpm, sha256: {ABC}}}"),
            "17:3: artifacts[0]: \"a.rpm\" is not the name of a package's file: letters, digits and \"-_.+~\", ending \
             in .deb",
        ),
        (
            format!("- {{kind: container-image, url: 'https://h/a b.tar', sha256: {ABC}}}"),
            "17:3: artifacts[0]: \"a%20b.tar\" is not the name of a container-image's file: letters, digits and \
             \"-_.+~\", ending in .tar, .tar.gz, .tgz",
        ),
        (
            format!("- {{kind: kubelet, url: 'https://h/', sha256: {ABC}}}"),
            "17:24: artifacts[0].url: \"https://h/\" is a folder, meant is a file",
        ),
        (format!("- {{kind: kubelet, sha256: {ABC}}}"), "17:3: artifacts[0]: missing key: url or path"),
        (
            format!("- {{kind: kubelet, url: 'https://h/k', path: k, sha256: {ABC}}}"),
            "17:3: artifacts[0]: url and path are both given; one of them says where the file is",
        ),
        (
            "- {kind: kubelet, path: k}".to_owned(),
            "17:3: artifacts[0]: missing key: sha256 or sha512, which is how a file is known",
        ),
        (
            format!("- {{kind: kubelet, path: k, sha512: {ABC}}}"),
            "17:36: artifacts[0].sha512: \"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f200\"... is not a sha512 digest",
        ),
        (
            format!("- {{kind: runc, path: a, sha256: {ABC}}}\n- {{kind: runc, path: b, sha256: {ABC}}}"),
            "18:3: artifacts[1]: runc (amd64) is given already in line 17",
        ),
    ];
    for (items, problem) in cases {
        assert_eq!(artifacts(&items), [problem], "{items}");
    }
}

#[test]
fn what_nodes_use_of_their_surroundings_is_checked() {
    let more = |text: &str| problems(&format!("{LEAST}{text}\n"));
    assert_eq!(more("defaults: {ntp: [10.0.0.1, 'fd00::1', ntp.example]}"), [""; 0]);
    for (text, problem) in [
        (
            "defaults: {ntp: [127.0.0.1]}",
            "16:18: defaults.ntp[0]: 127.0.0.1 is a loopback address, no server that a node could reach",
        ),
        (
            "defaults: {ntp: []}",
            "16:17: defaults.ntp: expected at least one of addresses or host names of time servers, found an empty list",
        ),
        ("defaults: {proxy: {no: [a]}}", "16:19: defaults.proxy: expected http, https or both, found neither"),
        (
            "defaults: {proxy: {http: 'http://p:1/x'}}",
            "16:26: defaults.proxy.http: \"http://p:1/x\" has more than a host and a port",
        ),
        (
            "defaults: {proxy: {http: 'http://p:1', no: ['a,b']}}",
            "16:45: defaults.proxy.no[0]: \"a,b\" is not a host, a domain or a network",
        ),
        ("download: {fallback: true}", "16:11: download: fallback means something only beside mirrors"),
        ("download: {mirrors: [m], fallback: yes}", "16:36: download.fallback: \"yes\" is not one of true, false"),
    ] {
        assert_eq!(more(text), [problem], "{text}");
    }
}

#[test]
fn the_ca_key_comes_from_one_place() {
    let key = |said: &str| {
        let text = LEAST.replace("pki: pki\n", &format!("pki: pki\n  caKey: {said}\n"));
        read(&text).map(|config| config.cluster.ca_key).map_err(|_| problems(&text))
    };
    let path = |path: &str| SecretSource::Path(path.into());
    let command = |program: &str| SecretSource::Command {
        program: program.into(),
        arguments: ["no", "1"].map(str::to_owned).to_vec(),
        folder: "/srv/lab".into(),
    };
    let variable = |name: &str| SecretSource::Environment(name.to_owned());
    let valid = |from: Option<SecretSource>, passphrase| Ok(CaKey { from, passphrase });
    let one = "one of path, command, env and fd says where it comes from";
    let wrong = |place: &str, problem: &str| Err(vec![format!("{place}: {problem}")]);
    for (said, wanted) in [
        ("keys/ca.pem", valid(Some(path("/srv/lab/keys/ca.pem")), None)),
        ("{path: /ca.pem}", valid(Some(path("/ca.pem")), None)),
        ("{command: [bin/key, no, '1']}", valid(Some(command("/srv/lab/bin/key")), None)),
        ("{command: [key, no, '1']}", valid(Some(command("key")), None)),
        ("{env: CA_KEY2}", valid(Some(variable("CA_KEY2")), None)),
        ("{fd: 0}", valid(Some(SecretSource::Descriptor(0)), None)),
        ("{passphrase: {env: P}}", valid(None, Some(variable("P")))),
        ("{env: K, passphrase: {path: p}}", valid(Some(variable("K")), Some(path("/srv/lab/p")))),
        ("{}", wrong("7:10: cluster.caKey", &format!("missing key: {one}"))),
        ("{env: K, fd: 3}", wrong("7:10: cluster.caKey", &format!("there are several: {one}"))),
        ("{passphrase: {}}", wrong("7:23: cluster.caKey.passphrase", &format!("missing key: {one}"))),
        (
            "{passphrase: secret}",
            wrong("7:23: cluster.caKey.passphrase", "expected a map with path, command, env, fd, found a single value"),
        ),
        (
            "{command: pass}",
            wrong(
                "7:20: cluster.caKey.command",
                "expected a list of words of a command such as [pass, show, ca-key], found a single value",
            ),
        ),
        (
            "{command: []}",
            wrong(
                "7:20: cluster.caKey.command",
                "expected at least one of words of a command such as [pass, show, ca-key], found an empty list",
            ),
        ),
        ("{env: 2K}", wrong("7:16: cluster.caKey.env", "\"2K\" is not the name of a variable: letters, digits and _")),
        (
            "{fd: 1024}",
            wrong("7:15: cluster.caKey.fd", "\"1024\" is not the number of a file descriptor, from 0 to 1023"),
        ),
        ("{fd: -1}", wrong("7:15: cluster.caKey.fd", "\"-1\" is not the number of a file descriptor, from 0 to 1023")),
        (
            "~",
            wrong(
                "7:10: cluster.caKey",
                "expected a map with path, command, env, fd, passphrase, found no value: YAML reads ~ as null; quote it if \
             the text is meant",
            ),
        ),
        (
            "~/ca.pem",
            wrong("7:10: cluster.caKey", "\"~/ca.pem\": a shell knows ~, a file does not; write the path out"),
        ),
    ] {
        assert_eq!(key(said), wanted, "{said}");
    }
}
