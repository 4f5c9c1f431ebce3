//! `defaults`, groups and what stands beside a node.

use serde_json::json;

use super::*;

/// [`LEAST`] with `defaults` and `groups` of these lines, and more lines beside its node.
fn layered(defaults: &str, groups: &str, node: &str) -> String {
    let indented = |text: &str, indent: &str| text.lines().flat_map(|line| [indent, line, "\n"]).collect::<String>();
    let section = |key: &str, text: &str| {
        if text.is_empty() { String::new() } else { format!("{key}:\n{}", indented(text, "  ")) }
    };
    let node = indented(node, "    ");
    format!("{LEAST}{node}{}{}", section("defaults", defaults), section("groups", groups))
}

pub(super) fn node_of(defaults: &str, groups: &str, node: &str) -> Node {
    read(&layered(defaults, groups, node)).unwrap().nodes.remove(0)
}

pub(super) fn problems_of(defaults: &str) -> Vec<String> {
    problems(&layered(defaults, "", ""))
}

#[test]
fn the_later_layer_wins() {
    let defaults = "\
arch: arm64
cpus: 3
memory: 1GiB
ntp: [10.0.0.1, 10.0.0.2]
proxy: {http: 'http://p:1', no: [a, b]}
labels: {a: '1', b: '1', c: '1'}
sysctls: {vm.swappiness: 1, vm.max_map_count: 1}
modules: [a, b]
taints: [{key: a, value: x, effect: NoSchedule}, {key: a, value: x, effect: NoExecute}]
keepSeed: true
swap: 1GiB
templates: t";
    let group = "\
g:
  cpus: 4
  disk: 30GiB
  ntp: [10.0.0.3]
  proxy: {https: 'http://q:2'}
  labels: {b: '2', c: '2'}
  modules: [b, c]
  taints: [{key: a, value: y, effect: NoExecute}, {key: b, effect: PreferNoSchedule}]
unused: {cpus: 200}";
    let own = "\
group: g
disk: 40GiB
proxy: {no: [c]}
labels: {c: '3', d: ''}
sysctls: {vm.swappiness: 2}
keepSeed: false
templates: /t";
    let mut found = node_of(defaults, group, own);
    found.settings.origins = Origins::default();
    let text = str::to_owned;
    let pairs = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| (text(k), text(v))).collect::<BTreeMap<_, _>>();
    let settings = Settings {
        ntp: vec![text("10.0.0.3")],
        proxy: Some(Proxy { http: Some(text("http://p:1")), https: Some(text("http://q:2")), no: vec![text("c")] }),
        labels: pairs(&[("a", "1"), ("b", "2"), ("c", "3"), ("d", "")]),
        sysctls: pairs(&[("vm.swappiness", "2"), ("vm.max_map_count", "1")]),
        modules: ["a", "b", "c"].map(text).into(),
        taints: BTreeMap::from([
            ((text("a"), TaintEffect::NoSchedule), text("x")),
            ((text("a"), TaintEffect::NoExecute), text("y")),
            ((text("b"), TaintEffect::PreferNoSchedule), String::new()),
        ]),
        swap: Some(1 << 30),
        templates: Some("/t".into()),
        ..Settings::default()
    };
    let wanted = Node {
        arch: Arch::Arm64,
        cpus: 4,
        memory: 1 << 30,
        disk: 40 << 30,
        group: Some(text("g")),
        settings,
        ..node("a", [10, 0, 0, 36])
    };
    assert_eq!(found, wanted);
}

#[test]
fn null_takes_an_earlier_layers_away() {
    let defaults = "\
cpus: 3
ntp: [10.0.0.1]
ssh: {user: ops, authorizedKeys: []}
proxy: {http: 'http://p:1', https: 'http://p:1'}
labels: {a: '1', b: '1'}
files: {/etc/a: {content: a, mode: '0600'}, /etc/b: {content: b}}
modules: [a]
swap: 1GiB";
    // What no layer gives can be taken away too.
    let own = "\
cpus: null
ntp: ~
ssh: null
proxy: {https: null}
labels: {b: null, c: null}
files: {/etc/a: {mode: null}, /etc/b: null}
modules: null
swap: null
keepSeed: null";
    let defaults = defaults.replace("authorizedKeys: []", &format!("authorizedKeys: ['{KEY}']"));
    let mut found = node_of(&defaults, "", own);
    found.settings.origins = Origins::default();
    let (root, text) = ("root".to_owned(), str::to_owned);
    let file = OwnFile { body: Body::Text(text("a")), mode: 0o644, owner: root.clone(), group: root };
    let settings = Settings {
        proxy: Some(Proxy { http: Some(text("http://p:1")), https: None, no: Vec::new() }),
        labels: BTreeMap::from([(text("a"), text("1"))]),
        files: BTreeMap::from([(text("/etc/a"), file)]),
        ..Settings::default()
    };
    assert_eq!(found, Node { settings, ..node("a", [10, 0, 0, 36]) });
}

#[test]
fn layers_say_together_what_none_says_alone() {
    let defaults = "\
ssh: {user: ops}
files: {/etc/a: {mode: '0600', content: a}}
units: {own.service: {path: own.service}}
containerd: {registries: {r: {username: me}}}";
    let own = format!(
        "\
ssh: {{authorizedKeys: ['{KEY}']}}
files: {{/etc/a: {{path: a}}}}
units: {{own.service: {{enabled: true}}}}
containerd: {{registries: {{r: {{passwordFile: p}}}}}}"
    );
    let settings = node_of(defaults, "", &own).settings;
    assert_eq!(settings.ssh, Some(Ssh { user: "ops".to_owned(), authorized_keys: vec![KEY.to_owned()] }));
    // The later of content and path counts.
    let file = &settings.files["/etc/a"];
    assert_eq!((&file.body, file.mode), (&Body::Path("/srv/lab/a".into()), 0o600));
    let unit = OwnUnit { body: Some(Body::Path("/srv/lab/own.service".into())), enabled: Some(true) };
    assert_eq!(settings.units["own.service"], unit);
    let credentials = Credentials { username: "me".to_owned(), password_file: "/srv/lab/p".into() };
    assert_eq!(settings.registries["r"].credentials, Some(credentials));
}

#[test]
fn every_problem_is_told_once_in_the_layer_where_it_stands() {
    let defaults = "memory: 4GB\nssh: {user: ops}\nfiles: {/etc/a: {mode: '0644'}}\nntp: [a, 127.0.0.1]";
    let groups = "\
unused:
  cpsu: 3
  labels: {-a: b}
  modules: [a b]
used:
  proxy: {no: [a]}
Used: {}
3: x";
    // Three nodes that share all of it.
    let node = "group: used\ndisk: 1GiB";
    let more =
        "  - {name: b, address: 10.0.0.37, group: used}\n  - {name: c, address: 10.0.0.38, group: usde, cpus: null}\n";
    let text = layered(defaults, groups, node).replace("disk: 1GiB\n", &format!("disk: 1GiB\n{more}"));
    assert_eq!(
        problems(&text),
        [
            "17:11: nodes[0].disk: 1GiB is less than 2GiB",
            "19:42: nodes[2].group: there is no group \"usde\", did you mean \"used\"?",
            "21:11: defaults.memory: \"4GB\" is not a size, did you mean \"4GiB\"?",
            "22:8: defaults.ssh.authorizedKeys: missing key: a list of public SSH keys",
            "23:19: defaults.files.\"/etc/a\": missing key: content or path",
            "24:12: defaults.ntp[1]: 127.0.0.1 is a loopback address, no server that a node could reach",
            "27:5: groups.unused.cpsu: unknown key, did you mean \"cpus\"?",
            "28:14: groups.unused.labels.-a: \"-a\" is not a key such as example.com/pool: at most 63 letters, digits and \"-_.\", the first and last a letter or digit",
            "29:15: groups.unused.modules[0]: \"a b\" is not a kernel module such as nf_tables",
            "31:12: groups.used.proxy: expected http, https or both, found neither",
            "32:3: groups.Used: \"Used\" is not a group's name: 1 to 63 of a-z, 0-9 and \"-\", not at the ends",
            "33:6: groups.3: expected a map with arch, cpus, memory, disk, firmware, secureBoot, diskDriver, dataDisks, nics, domainXml, ntp, proxy, ssh, consoleLogin, kubelet, containerd, files, units, cloudConfig, modules, sysctls, labels, taints, swap, templates, keepSeed, hypervisors, antiAffinity, found a single value",
        ]
    );
}

#[test]
fn a_layer_is_a_map() {
    let map = "expected a map with arch, cpus, memory, disk, firmware, secureBoot, diskDriver, dataDisks, nics, domainXml, ntp, proxy, ssh, consoleLogin, kubelet, containerd, files, units, cloudConfig, modules, sysctls, labels, taints, swap, templates, keepSeed, hypervisors, antiAffinity, found";
    assert_eq!(problems(&format!("{LEAST}defaults: x\n")), [format!("16:11: defaults: {map} a single value")]);
    assert_eq!(
        problems(&layered("", "g: ~\nh:", "group: g")),
        [
            format!("18:6: groups.g: {map} no value: YAML reads ~ as null; quote it if the text is meant"),
            format!("19:3: groups.h: {map} no value; null is what takes away an earlier layer's"),
        ]
    );
}

#[test]
fn a_group_must_be_there() {
    let own = |groups: &str| problems(&layered("", groups, "group: x"));
    assert_eq!(own(""), ["16:12: nodes[0].group: there is no group \"x\"; groups are made under groups:"]);
    assert_eq!(own("large: {}\nsmall: {}"), ["16:12: nodes[0].group: there is no group \"x\", only large, small"]);
    assert_eq!(own("x: {}"), [""; 0]);
}

/// As it is written in its new place, but for warnings and places in the file.
#[test]
fn keys_that_moved_are_read_where_they_stood_and_warn() {
    let ssh = "ssh: {user: ops, authorizedKeys: [ssh-ed25519 \
               AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f a]}\n";
    let old = format!("machine:\n  cpus: 3\n  memory: 8GiB\n  disk: 30GiB\narch: arm64\nntp: [10.0.0.1]\n{ssh}");
    let new = format!("defaults:\n  cpus: 3\n  memory: 8GiB\n  disk: 30GiB\n  arch: arm64\n  ntp: [10.0.0.1]\n  {ssh}");
    let (before, after) = (read(&format!("{LEAST}{old}")).unwrap(), read(&format!("{LEAST}{new}")).unwrap());
    assert_eq!(after.warnings, []);
    let said: Vec<_> = before.warnings.iter().map(ToString::to_string).collect();
    let says = |at: &str, from: &str, to: &str| {
        format!("{at}: {from}: is defaults.{to} now; it is read here until nodebake 0.3")
    };
    let wanted = [
        says("17:3", "machine.cpus", "cpus"),
        says("18:3", "machine.memory", "memory"),
        says("19:3", "machine.disk", "disk"),
        says("20:1", "arch", "arch"),
        says("21:1", "ntp", "ntp"),
        says("22:1", "ssh", "ssh"),
    ];
    assert_eq!(said, wanted);
    assert_eq!(without_origins(Config { warnings: Vec::new(), ..before.clone() }), without_origins(after));
    // Who said so is told by the line at which it stands, above the layers and below them.
    let origin = |config: &Config| config.nodes[0].settings.origins.of(&["ntp"]).cloned();
    let stands = |line| Some(Origin { layer: Layer::Defaults, line: Some(line) });
    assert_eq!(origin(&before), stands(21));
    let above = LEAST.replacen("cluster:\n", "ntp: [10.0.0.1]\ncluster:\n", 1);
    let config = read(&format!("{above}defaults: {{cpus: 3}}\n")).unwrap();
    assert_eq!((config.nodes[0].cpus, origin(&config)), (3, stands(2)));
}

#[test]
fn what_is_wrong_with_keys_that_moved_is_told_where_they_stand() {
    let more = |text: &str| problems(&format!("{LEAST}{text}\n"));
    assert_eq!(
        more("ntp: [127.0.0.1]"),
        ["16:7: defaults.ntp[0]: 127.0.0.1 is a loopback address, no server that a node could reach"]
    );
    let twice = ["16:1: ntp: is defaults.ntp now, which line 17 gives already"];
    assert_eq!(more("ntp: [10.0.0.1]\ndefaults: {ntp: [10.0.0.1]}"), twice);
    let known = "apiVersion, cluster, versions, image, download, artifacts, network, libvirt, hypervisors, defaults, groups, nodes";
    assert_eq!(more("machine: {cpus: 2, colour: blue}"), [format!("16:1: machine: unknown key; known here: {known}")]);
    let no_map = more("ntp: [10.0.0.1]\ndefaults: x");
    assert!(no_map.iter().all(|problem| problem.starts_with("17:11: defaults: expected a map with ")), "{no_map:?}");
    assert_eq!(no_map.len(), 1);
    // Of another form nothing is known, not even what moved.
    let other = LEAST.replacen("nodebake/v1", "nodebake/v2", 1);
    let only = "1:13: apiVersion: \"nodebake/v2\" is not \"nodebake/v1\", the only form that this nodebake reads";
    assert_eq!(problems(&format!("{other}ntp: [10.0.0.1]\ndefaults: {{ntp: [10.0.0.1]}}\n")), [only]);
}

#[test]
fn given_files_are_of_the_architecture_of_defaults() {
    let artifacts = format!("artifacts:\n- {{kind: runc, path: r, sha256: {}}}\n", "0".repeat(64));
    let config = read(&format!("{}{artifacts}", layered("arch: arm64", "", "arch: amd64"))).unwrap();
    assert_eq!((config.artifacts[0].arch, config.nodes[0].arch), (Arch::Arm64, Arch::Amd64));
}

#[test]
fn patches_keep_the_types_of_yaml() {
    let defaults = r#"
kubelet:
  config:
    bools: [true, False, "true"]
    whole: [0, -7, +7, 18446744073709551615, 0x1F, 0o17, "12"]
    floats: [1.5, -.5, 1., 1e3, 2.5E-1]
    nulls: [null, ~, "null", '']
    empty:
    texts: [1.2.3, 1_000, 12:30, 60s, "", +, e5, nope]
    maps: {a: {b: c}, "d e": {}}
    lines: |
      one
      two
cloudConfig: {a: {b: 1, c: 2}, l: [1, 2], gone: null}"#;
    let own = "cloudConfig: {a: {b: null, d: x}, l: [3], m: {n: 1}}";
    let found = node_of(defaults, "", own).settings;
    let kubelet = json!({
        "bools": [true, false, "true"],
        "whole": [0, -7, 7, 18_446_744_073_709_551_615_u64, 31, 15, "12"],
        "floats": [1.5, -0.5, 1.0, 1000.0, 0.25],
        "nulls": [null, null, "null", ""],
        "empty": null,
        "texts": ["1.2.3", "1_000", "12:30", "60s", "", "+", "e5", "nope"],
        "maps": {"a": {"b": "c"}, "d e": {}},
        "lines": "one\ntwo\n",
    });
    assert_eq!(serde_json::Value::Object(found.kubelet), kubelet);
    // Patches one after the other are a patch: what is removed stays removed.
    let cloud = json!({"a": {"b": null, "c": 2, "d": "x"}, "l": [3], "gone": null, "m": {"n": 1}});
    assert_eq!(serde_json::Value::Object(found.cloud_config), cloud);
}

#[test]
fn what_readers_of_yaml_disagree_on_is_refused_in_patches() {
    let found = |value: &str| problems_of(&format!("cloudConfig: {{k: [{value}]}}"));
    let told = |text: &str| vec![format!("17:21: defaults.cloudConfig.k[0]: {text}")];
    let boolean = "what some readers of YAML take for true or false, and others for a text; write true or false, or quote the text";
    for text in ["yes", "No", "ON", "off"] {
        assert_eq!(found(text), told(boolean));
    }
    let octal =
        "what some readers of YAML take for an octal number, and others for a decimal one; quote it if a text is meant";
    for text in ["0644", "-01", "00"] {
        assert_eq!(found(text), told(octal));
    }
    for text in [".inf", "-.Inf", ".nan"] {
        assert_eq!(found(text), told("a number without end, or none at all, has no place here"));
    }
    for text in ["18446744073709551616", "0x10000000000000000", "1e999"] {
        assert_eq!(found(text), told("a number too large to be kept as it is; quote it if a text is meant"));
    }
    for (patch, expected) in [
        (
            "kubelet: {config: [a]}",
            "17:21: defaults.kubelet.config: expected a map with fields of the kubelet's configuration, found a list",
        ),
        (
            "cloudConfig: x",
            "17:16: defaults.cloudConfig: expected a map with keys of cloud-config, found a single value",
        ),
        ("kubelet: {maxPods: 3}", "17:13: defaults.kubelet.maxPods: unknown key; known here: config"),
    ] {
        assert_eq!(problems_of(patch), [expected]);
    }
}

#[test]
fn texts_of_files_and_units_are_as_they_stand() {
    let defaults = "\
files:
  /etc/lines:
    content: |
      one

      two
    owner: '1000'
    group: adm
  /etc/empty: {content: '', mode: 4755}
units:
  service.d/all.conf: {content: \"[Service]\\n\"}
  own@.service: {path: u}
  own@1.service: {enabled: true}";
    let settings = node_of(defaults, "", "").settings;
    let file = |text: &str, mode, owner: &str, group: &str| OwnFile {
        body: Body::Text(text.to_owned()),
        mode,
        owner: owner.to_owned(),
        group: group.to_owned(),
    };
    let files = [
        ("/etc/lines".to_owned(), file("one\n\ntwo\n", 0o644, "1000", "adm")),
        ("/etc/empty".to_owned(), file("", 0o4755, "root", "root")),
    ];
    assert_eq!(settings.files, BTreeMap::from(files));
    let units = [
        ("service.d/all.conf", OwnUnit { body: Some(Body::Text("[Service]\n".to_owned())), enabled: None }),
        ("own@.service", OwnUnit { body: Some(Body::Path("/srv/lab/u".into())), enabled: None }),
        ("own@1.service", OwnUnit { body: None, enabled: Some(true) }),
    ];
    assert_eq!(settings.units, BTreeMap::from(units.map(|(name, unit)| (name.to_owned(), unit))));
}

#[test]
fn settings_that_cannot_be_are_refused() {
    for (text, expected) in [
        ("files: [a]", "17:10: defaults.files: expected a map of files by their paths in the node, found a list"),
        (
            "files: {/etc/a: a}",
            "17:19: defaults.files.\"/etc/a\": expected a map with content, path, mode, owner, group, found a single value",
        ),
        (
            "files: {/etc/a: {content: a, path: b}}",
            "17:19: defaults.files.\"/etc/a\": content and path are both given; one of them says what is in it",
        ),
        ("files: {/etc/a: {content: [a]}}", "17:29: defaults.files.\"/etc/a\".content: expected a text, found a list"),
        ("units: {own.service: {}}", "17:24: defaults.units.\"own.service\": missing key: content, path or enabled"),
        (
            "units: {a.service.d/b.conf: {}}",
            "17:31: defaults.units.\"a.service.d/b.conf\": missing key: content or path",
        ),
        (
            "units: {a.service.d/b.conf: {content: a, enabled: true}}",
            "17:53: defaults.units.\"a.service.d/b.conf\".enabled: a drop-in is not enabled; its unit is",
        ),
        (
            "units: {a@.service: {enabled: true}}",
            "17:33: defaults.units.\"a@.service\".enabled: a template is not enabled; its instances are, such as own@1.service",
        ),
        (
            "taints: [{key: a}]",
            "17:12: defaults.taints[0].effect: missing key: NoSchedule, PreferNoSchedule or NoExecute",
        ),
        (
            "taints: [{key: a, effect: NoSchedule}, {key: a, value: b, effect: NoSchedule}]",
            "17:42: defaults.taints[1]: a with the effect NoSchedule is given twice",
        ),
        ("consoleLogin: {}", "17:17: defaults.consoleLogin.passwordHash: missing key: a hash as `mkpasswd` prints it"),
        ("keepSeed: yes", "17:13: defaults.keepSeed: \"yes\" is not one of true, false"),
        ("swap: 1MiB", "17:9: defaults.swap: 1MiB is less than 64MiB"),
        ("swap: 20GiB", "17:9: defaults.swap: leaves no room on the node's disk of 20GiB"),
        ("{swap: 3GiB, disk: 3GiB}", "17:10: defaults.swap: leaves no room on the node's disk of 3GiB"),
        ("templates: ~/t", "17:14: defaults.templates: \"~/t\": a shell knows ~, a file does not; write the path out"),
        (
            "containerd: {registries: {r: {fallback: true}}}",
            "17:32: defaults.containerd.registries.r: fallback means something only beside mirrors",
        ),
        (
            "containerd: {registries: {r: {username: a}}}",
            "17:32: defaults.containerd.registries.r: username and passwordFile go together, found one of them",
        ),
        (
            "sysctls: {vm.x: [1]}",
            "17:19: defaults.sysctls.\"vm.x\": expected the value of a kernel parameter, found a list",
        ),
        (
            "labels: {a: b c}",
            "17:15: defaults.labels.a: \"b c\" is not the value of a label or taint: at most 63 letters, digits and \"-_.\", the first and last a letter or digit",
        ),
    ] {
        assert_eq!(problems_of(text), [expected], "{text}");
    }
}

#[test]
fn origins_name_the_layer_and_line_of_every_value() {
    let defaults = "\
cpus: 3
labels: {a: '1', b: '1'}
modules: [m, n]
kubelet:
  config:
    maxPods: 1
    evictionHard: {a: 1, b: 2}
ntp:
  - 10.0.0.1
files:
  /etc/a: {content: a, mode: '0600'}
taints: [{key: t, effect: NoExecute}]";
    let groups = "g:\n  labels: {b: '2'}\n  kubelet: {config: {evictionHard: {b: null}}}\n  modules: [n, o]";
    let own = "group: g\ncpus: 4\nfiles:\n  /etc/a:\n    path: a\nlabels: {a: null}";
    let node = node_of(defaults, groups, own);
    let found: Vec<String> = node
        .settings
        .origins
        .iter()
        .map(|(path, origin)| format!("{}: {}", path.join(" "), origin.place(Path::new(FILE))))
        .collect();
    assert_eq!(
        found,
        [
            "cpus: the node, nodebake.yaml:17",
            "files /etc/a mode: defaults, nodebake.yaml:33",
            "files /etc/a path: the node, nodebake.yaml:20",
            "kubelet config evictionHard a: defaults, nodebake.yaml:29",
            "kubelet config evictionHard b: group g, nodebake.yaml:38",
            "kubelet config maxPods: defaults, nodebake.yaml:28",
            "labels a: the node, nodebake.yaml:21",
            "labels b: group g, nodebake.yaml:37",
            "modules m: defaults, nodebake.yaml:25",
            "modules n: group g, nodebake.yaml:39",
            "modules o: group g, nodebake.yaml:39",
            "ntp: defaults, nodebake.yaml:30",
            "taints t:NoExecute: defaults, nodebake.yaml:34",
        ]
    );
    let of = |path: &[&str]| node.settings.origins.of(path).map(|origin| origin.place(Path::new(FILE)));
    assert_eq!(of(&["ntp", "0"]).as_deref(), Some("defaults, nodebake.yaml:30"));
    assert_eq!(of(&["memory"]), None);
}

#[test]
fn secrets_of_settings_are_not_repeated() {
    for text in [
        "consoleLogin: {passwordHash: b3BlbnNza}",
        "consoleLogin: {passwordHash: $y$j9T$b3BlbnNza}",
        "consoleLogin: {passwordHash: $1$b3BlbnNza}",
        "consoleLogin: {passwordHash: 'b3BlbnNza '}",
        "containerd: {registries: {r: {username: 'me:b3BlbnNza'}}}",
        "containerd: {registries: {r: {mirrors: ['https://me:b3BlbnNza@m']}}}",
        "containerd: {registries: {r: {mirrors: ['me:b3BlbnNza@m']}}}",
        "containerd: {registries: {r: {mirrors: 'b3BlbnNza'}}}",
        "containerd: {registries: {r: {username: me, password: b3BlbnNza}}}",
        "files: {/etc/a: b3BlbnNza}",
        "files: {/etc/a: {content: b3BlbnNza, mode: '9'}}",
    ] {
        let problems = problems_of(text);
        assert!(!problems.is_empty() && !problems.concat().contains("b3BlbnNza"), "{problems:?}");
    }
    let hash = format!("$6$b3BlbnNza${}", "a".repeat(86));
    let node = node_of(&format!("consoleLogin: {{passwordHash: {hash}}}"), "", "");
    assert_eq!(node.settings.console_login.as_ref().map(PasswordHash::expose), Some(hash.as_str()));
    assert!(!format!("{node:?}").contains("b3BlbnNza"));
}
