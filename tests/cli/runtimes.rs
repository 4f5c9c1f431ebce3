//! containerd, its registries, proxies and time servers as a cluster file's layers have them, node by node.

use std::fs;

use base64::Engine as _;

use crate::world::{Ran, World, changed};

const PASSWORD: &str = "p:a ss\"w\\r'd{{ x }}ü";

/// Two nodes: the second is in a group, which says otherwise.
fn world() -> World {
    let world = World::locked();
    fs::create_dir(world.path("secrets")).unwrap();
    world.write_key("secrets/hub", format!("{PASSWORD}\n").as_bytes());
    let defaults = "
  ntp: [10.0.0.1]
  proxy: {http: 'http://10.0.0.9:3128', no: [.own.example]}
  containerd:
    config: {debug: {level: debug}}
    registries:
      docker.io:
        mirrors: [https://mirror.example/v2/hub]
        fallback: true
        caFile: pki/ca.pem
        username: puller
        passwordFile: secrets/hub
";
    let group = "
groups:
  edge:
    ntp: [192.0.2.1, time.example]
    proxy: {http: null, https: 'http://192.0.2.9:3128'}
    containerd:
      config: {debug: null, plugins: {io.containerd.cri.v1.images: {snapshotter: native}}}
      registries: {docker.io: {mirrors: [https://near.example], fallback: false, username: null, passwordFile: null}}

nodes:
";
    world.edit("\n  disk: 20GiB\n", &format!("\n  disk: 20GiB{defaults}"));
    world.edit("\nnodes:\n", group);
    world.edit("    address: 10.0.0.37\n", "    address: 10.0.0.37\n    group: edge\n");
    world
}

/// A file of both nodes, as `render` shows it.
fn of_both(world: &World, path: &str) -> [String; 2] {
    ["worker-node-1", "worker-node-2"].map(|node| world.must(&["render", node, path, "--show-secrets"]).stdout)
}

#[test]
fn each_node_has_what_its_layers_say() {
    let world = world();
    let drop_in = |name: &str, port: &str, no: &str| {
        format!(
            "# Images are pulled through it. NO_PROXY always holds the cluster's own.\n[Service]\n\
             Environment=\"{name}=http://{port}\"\n\
             Environment=\"NO_PROXY=localhost,127.0.0.0/8,10.0.0.0/24,10.0.0.4,.svc,.cluster.local{no}\"\n"
        )
    };
    assert_eq!(
        of_both(&world, "/etc/systemd/system/containerd.service.d/50-nodebake-proxy.conf"),
        [
            drop_in("HTTP_PROXY", "10.0.0.9:3128", ",.own.example"),
            drop_in("HTTPS_PROXY", "192.0.2.9:3128", ",.own.example")
        ]
    );
    let time = |servers: &str| format!("# The given servers alone.\n[Time]\nNTP={servers}\nFallbackNTP=\n");
    assert_eq!(
        of_both(&world, "/etc/systemd/timesyncd.conf.d/50-nodebake.conf"),
        [time("10.0.0.1"), time("192.0.2.1 time.example")]
    );
    let ca = "ca = \"/etc/containerd/certs.d/docker.io/ca.pem\"\n";
    let header = format!(
        "header = {{ Authorization = \"Basic {}\" }}\n",
        base64::engine::general_purpose::STANDARD.encode(format!("puller:{PASSWORD}"))
    );
    let note = "# Who is asked for images of docker.io: each [host] in its order, then `server`.\n";
    let may = "capabilities = [\"pull\", \"resolve\"]\n";
    assert_eq!(
        of_both(&world, "/etc/containerd/certs.d/docker.io/hosts.toml"),
        [
            format!(
                "{note}server = \"https://registry-1.docker.io\"\n{may}{ca}\n[host.\"https://mirror.example/v2/hub\"]\n\
                 {may}{ca}override_path = true\n{header}"
            ),
            format!(
                "{note}server = \"https://near.example\"\n{may}{ca}\n# containerd 1.x takes no file without it.\n[host]\n"
            ),
        ]
    );
    let authority = world.read("pki/ca.pem");
    assert_eq!(of_both(&world, "/etc/containerd/certs.d/docker.io/ca.pem"), [authority.clone(), authority]);
    let [one, two] = of_both(&world, "/etc/containerd/config.toml").map(|text| text.parse::<toml::Table>().unwrap());
    let debug = toml::Table::from_iter([("level".to_owned(), "debug".into())]);
    assert_eq!((one.get("debug"), two.get("debug")), (Some(&debug.into()), None));
    let snapshotter = |table: &toml::Table| table["plugins"]["io.containerd.cri.v1.images"].get("snapshotter").cloned();
    assert_eq!((snapshotter(&one), snapshotter(&two)), (None, Some("native".into())));
}

/// Paths of the files that hold the password, as it is or in base64.
fn holders(world: &World) -> Vec<String> {
    let encoded = base64::engine::general_purpose::STANDARD.encode(format!("puller:{PASSWORD}"));
    let there = |bytes: &[u8], part: &str| bytes.windows(part.len()).any(|window| window == part.as_bytes());
    let files = world.tree("").into_iter();
    files
        .filter(|(_, file)| there(&file.content, PASSWORD) || there(&file.content, &encoded))
        .map(|(name, file)| format!("{name} {:o}", file.mode & 0o777))
        .collect()
}

#[test]
fn a_password_is_in_its_file_and_in_the_seeds_that_need_it() {
    let world = world();
    world.must(&["build", "--all"]);
    let wanted = ["build/worker-node-1/seed.iso 600", "secrets/hub 600"];
    assert_eq!(holders(&world), wanted);
    let manifest: serde_json::Value = serde_json::from_str(&world.read("build/worker-node-1/manifest.json")).unwrap();
    let files = manifest["files"].as_object().unwrap().keys().filter(|path| path.starts_with("/etc/containerd/"));
    let public = ["/etc/containerd/certs.d/docker.io/ca.pem", "/etc/containerd/config.toml"];
    assert_eq!(files.collect::<Vec<_>>(), public);
    let said = [
        world.must(&["render", "worker-node-1", "/etc/containerd/certs.d/docker.io/hosts.toml"]),
        world.must(&["render", "worker-node-1"]),
        world.must(&["explain", "worker-node-1"]),
    ];
    let said = format!("{said:?}");
    assert!(!said.contains(PASSWORD) && !said.contains("Basic "), "{said}");

    // Another password makes another seed for the node that has it.
    let before = world.tree("build");
    world.write_key("secrets/hub", b"other\n");
    world.must(&["build", "--all"]);
    let told = ["worker-node-1.intoto.json", "worker-node-1.spdx.json"];
    let seed = ["manifest.json", "meta-data", "seed.iso"].into_iter().chain(told);
    let seed: Vec<_> = seed.map(|file| format!("build/worker-node-1/{file}")).collect();
    assert_eq!(changed(&before, &world.tree("build")), seed);
    assert_eq!(holders(&world), [""; 0]);
}

/// containerd 1.x has it in its configuration, which is then a secret.
#[test]
fn a_password_of_containerd_1_is_a_secret_too() {
    let world = world();
    world.edit("containerd: 2.2.5", "containerd: 1.7.29");
    world.edit("{debug: null, plugins: {io.containerd.cri.v1.images: {snapshotter: native}}}", "{debug: null}");
    let path = "/etc/containerd/config.toml";
    let shown = world.must(&["render", "worker-node-1", path, "--show-secrets"]).stdout;
    let table: toml::Table = shown.parse().unwrap();
    let auth = &table["plugins"]["io.containerd.grpc.v1.cri"]["registry"]["configs"]["mirror.example"]["auth"];
    assert_eq!(serde_json::to_value(auth).unwrap(), serde_json::json!({"username": "puller", "password": PASSWORD}));
    let hidden = format!("(secret, {} bytes)\n", shown.len());
    assert_eq!(world.must(&["render", "worker-node-1", path]).stdout, hidden);
}

#[test]
fn what_the_kubelet_or_containerd_would_stumble_over_is_told_with_its_line() {
    for (from, to, error) in [
        (
            "config: {debug: {level: debug}}",
            "config: {grpc: {address: /run/own.sock}}",
            "worker-node-1: containerd.config.grpc.address (nodebake.yaml:LINE): the kubelet looks for containerd at \
             /run/containerd/containerd.sock",
        ),
        (
            "snapshotter: native",
            "registry: {config_path: null}",
            "worker-node-2: containerd.config.plugins.io.containerd.cri.v1.images.registry.config_path \
             (nodebake.yaml:LINE): what is said of registries stands in /etc/containerd/certs.d",
        ),
        (
            "passwordFile: secrets/hub",
            "passwordFile: secrets/none",
            "worker-node-1: containerd.registries.docker.io.passwordFile (nodebake.yaml:LINE) names \
             FOLDER/secrets/none, which cannot be read: No such file or directory (os error 2)",
        ),
        (
            "caFile: pki/ca.pem",
            "caFile: pki/ca-key.pem",
            "worker-node-1: containerd.registries.docker.io.caFile (nodebake.yaml:LINE): FOLDER/pki/ca-key.pem: there is \
             a private key in it",
        ),
    ] {
        let world = world();
        world.edit(from, to);
        let line = world.read("nodebake.yaml").lines().position(|line| line.contains(to)).unwrap() + 1;
        let error = error.replace("LINE", &line.to_string());
        let ran = world.run(&["build", "--all"]);
        let failed = Ran::failed(2, &error, "");
        assert_eq!((ran.code, ran.stderr.lines().last()), (2, failed.stderr.lines().last()), "{ran:?}");
        assert!(!world.path("build/worker-node-2/seed.iso").exists());
    }
}
