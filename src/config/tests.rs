//! The reading of cluster files as a whole: text in, config or list of problems out.

#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;

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

fn read(text: &str) -> Result<Config, ConfigError> {
    parse(Path::new(FILE), text)
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
        mac: None,
        cpus: 2,
        memory: 4 * 1024 * 1024 * 1024,
        disk: 20 * 1024 * 1024 * 1024,
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
            kubeconfig: Some("/srv/lab/admin.kubeconfig".into()),
        },
        versions: Versions {
            kubernetes: semver::Version::new(1, 35, 1),
            containerd: semver::Version::new(2, 2, 1),
            runc: semver::Version::new(1, 2, 8),
            cni_plugins: semver::Version::new(1, 9, 0),
        },
        image: "ubuntu-24.04".to_owned(),
        arch: Arch::Amd64,
        mirror: None,
        network: Network {
            name: "nodebake".to_owned(),
            cidr: "10.0.0.0/24".parse().unwrap(),
            gateway: [10, 0, 0, 1].into(),
            nameservers: vec![[10, 0, 0, 1].into()],
        },
        libvirt: Libvirt {
            uri: "qemu:///system".to_owned(),
            acceleration: Acceleration::Auto,
            pool: "nodebake".to_owned(),
            pool_path: "/var/lib/libvirt/images/nodebake".into(),
        },
        ssh: None,
        nodes: vec![node("worker-node-1", [10, 0, 0, 36]), node("worker-node-2", [10, 0, 0, 37])],
    }
}

#[test]
fn init_is_the_seed_cluster() {
    assert_eq!(read(INIT).unwrap(), seed());
}

#[test]
fn byte_order_mark_and_crlf_change_nothing() {
    let windows = format!("\u{feff}{}", INIT.replace('\n', "\r\n"));
    assert_eq!(read(&windows).unwrap(), seed());
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
        .replace("name: seed", "{name: &&}".trim_matches(['{', '}']).replace("&&", "other").as_str())
        .replace("https://10.0.0.4:6443", "https://api.example:443/")
        .replace("pki: pki", "pki: /etc/pki\n  clusterDomain: k8s.example\n  kubeconfig: ../admin\n  controlPlane: []")
        .replace("[10.96.0.10]", "[10.96.0.10, 'fd00::a']")
        .replace("cidr:", "name: my net\n  cidr:")
        .replace(
            "    address: 10.0.0.36\n",
            "    address: 10.0.0.36\n    mac: 52:54:00:AB:cd:0f\n    cpus: 8\n    disk: 2GiB\n",
        )
        + &format!(
            "mirror: files\narch: arm64\nmachine: {{cpus: 3, memory: 1TiB, disk: 30GiB}}\n\
             libvirt: {{uri: 'qemu+ssh://ops@host/system', acceleration: tcg, pool: p, poolPath: /p}}\n\
             ssh: {{user: ops, authorizedKeys: [{key}]}}\n"
        );
    let mut expected = seed();
    expected.cluster = Cluster {
        name: "other".parse().unwrap(),
        api_server: "https://api.example:443".to_owned(),
        control_plane: Vec::new(),
        cluster_domain: "k8s.example".to_owned(),
        cluster_dns: vec![[10, 96, 0, 10].into(), "fd00::a".parse().unwrap()],
        pki: "/etc/pki".into(),
        kubeconfig: Some("/srv/lab/../admin".into()),
    };
    expected.arch = Arch::Arm64;
    expected.mirror = Some("/srv/lab/files".to_owned());
    expected.network.name = "my net".to_owned();
    expected.libvirt = Libvirt {
        uri: "qemu+ssh://ops@host/system".to_owned(),
        acceleration: Acceleration::Tcg,
        pool: "p".to_owned(),
        pool_path: "/p".into(),
    };
    expected.ssh = Some(Ssh { user: "ops".to_owned(), authorized_keys: vec![key.to_owned()] });
    expected.nodes = vec![Node {
        mac: Some(Mac::from([0x52, 0x54, 0, 0xab, 0xcd, 0x0f])),
        cpus: 8,
        memory: 1 << 40,
        disk: 2 << 30,
        ..node("a", [10, 0, 0, 36])
    }];
    assert_eq!(read(&text).unwrap(), expected);
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
    let deep = format!("{LEAST}ssh: {}", "[".repeat(100_000));
    assert_eq!(problems(&deep), ["x"]);
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
        ("nodes:", "ssh:\nnodes:", &["13:1: ssh: expected a map with user, authorizedKeys, found no value"]),
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
