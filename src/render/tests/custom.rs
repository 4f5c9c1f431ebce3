//! What the user makes of a node.

use serde_json::{Value, json};

use super::*;
use crate::config::{Body, Layer, Origin as Source, OwnFile, OwnUnit, Settings};

/// The seed cluster's first node with these settings.
fn with(change: impl FnOnce(&mut Settings)) -> Config {
    let mut config = config("worker-node-1");
    change(&mut config.nodes[0].settings);
    config
}

/// Notes that a line of the cluster file said the value at a path.
fn said(settings: &mut Settings, path: &[&str], line: usize) {
    let path = path.iter().map(ToString::to_string).collect();
    settings.origins.set(path, Source { layer: Layer::Node, line: Some(line) });
}

/// What rendering says, with its hint.
fn refused(config: &Config) -> (String, Option<String>) {
    let error = try_bundle(config, PayloadContents::default(), PayloadPlace::Drive).unwrap_err();
    assert!(error.is_setting(), "{error:?}");
    (crate::error::chain(&error), error.hint())
}

const KUBELET_HINT: &str =
    "mend it in the cluster file; `nodebake explain worker-node-1 kubelet` says where each field comes from";

fn patch(settings: &mut Settings, patch: Value) {
    let Value::Object(patch) = patch else { panic!("{patch}") };
    settings.kubelet = patch;
}

fn kubelet_config(config: &Config) -> String {
    public(&bundle(config), kubelet::PATH).0.to_owned()
}

#[test]
fn the_kubelets_configuration_is_patched_and_else_left_as_it_is() {
    let plain = kubelet_config(&config("worker-node-1"));
    assert!(plain.contains("# Together with SystemdCgroup"), "{plain}");
    let config = with(|settings| {
        let shutdown = json!({"shutdownGracePeriod": "60s", "shutdownGracePeriodCriticalPods": "20s"});
        patch(settings, shutdown);
        settings.kubelet.insert("maxPods".to_owned(), json!(60));
        settings.kubelet.insert("runtimeRequestTimeout".to_owned(), Value::Null);
        settings.kubelet.insert("systemReserved".to_owned(), json!({"cpu": "100m", "memory": "1e3", "pid": "1000"}));
        settings.kubelet.insert("clusterDomain".to_owned(), json!("no"));
        settings.kubelet.insert("authentication".to_owned(), json!({"webhook": {"cacheTTL": "2m0s"}}));
    });
    let wanted = r#"# With what the cluster file lays over nodebake's own (kubelet.config).
apiVersion: "kubelet.config.k8s.io/v1beta1"
authentication:
  anonymous:
    enabled: false
  webhook:
    cacheTTL: "2m0s"
    enabled: true
  x509:
    clientCAFile: "/etc/kubernetes/pki/ca.pem"
authorization:
  mode: "Webhook"
cgroupDriver: "systemd"
clusterDNS:
  - "10.96.0.10"
clusterDomain: "no"
containerRuntimeEndpoint: "unix:///var/run/containerd/containerd.sock"
kind: "KubeletConfiguration"
maxPods: 60
resolvConf: "/run/systemd/resolve/resolv.conf"
shutdownGracePeriod: "60s"
shutdownGracePeriodCriticalPods: "20s"
systemReserved:
  cpu: "100m"
  memory: "1e3"
  pid: "1000"
tlsCertFile: "/etc/kubernetes/pki/worker-node-1.pem"
tlsPrivateKeyFile: "/etc/kubernetes/pki/worker-node-1-key.pem"
"#;
    assert_eq!(kubelet_config(&config), wanted);
    let (unit, bundle) = ("/etc/systemd/system/kubelet.service", bundle(&config));
    assert_eq!(differences(&bundle, &super::bundle(&super::config("worker-node-1"))), [kubelet::PATH, unit]);
    let after = public(&bundle, unit).0.lines().filter(|line| line.contains("logind")).collect::<Vec<_>>();
    assert_eq!(after, ["Wants=systemd-logind.service", "After=systemd-logind.service"]);
}

#[test]
fn a_patch_cannot_contradict_what_else_is_rendered() {
    for (field, value, wanted) in [
        (
            &["cgroupDriver"][..],
            json!({"cgroupDriver": "cgroupfs"}),
            "must stay \"systemd\": containerd's configuration has SystemdCgroup, and the two must never differ",
        ),
        (
            &["cgroupDriver"],
            json!({"cgroupDriver": null}),
            "must stay \"systemd\": containerd's configuration has SystemdCgroup, and the two must never differ",
        ),
        (
            &["containerRuntimeEndpoint"],
            json!({"containerRuntimeEndpoint": "unix:///run/crio.sock"}),
            "must stay \"unix:///var/run/containerd/containerd.sock\": containerd listens there",
        ),
        (
            &["tlsCertFile"],
            json!({"tlsCertFile": "/own.pem"}),
            "must stay \"/etc/kubernetes/pki/worker-node-1.pem\": nodebake writes the node's certificate there",
        ),
        (
            &["tlsPrivateKeyFile"],
            json!({"tlsPrivateKeyFile": null}),
            "must stay \"/etc/kubernetes/pki/worker-node-1-key.pem\": nodebake writes the node's key there",
        ),
        (
            &["authentication", "x509", "clientCAFile"],
            json!({"authentication": null}),
            "must stay \"/etc/kubernetes/pki/ca.pem\": nodebake writes the cluster's CA there",
        ),
        (&["kind"], json!({"kind": "Other"}), "must stay \"KubeletConfiguration\": it is the form of this file"),
        (
            &["apiVersion"],
            json!({"apiVersion": "v2"}),
            "must stay \"kubelet.config.k8s.io/v1beta1\": it is the form of this file",
        ),
    ] {
        let config = with(|settings| {
            patch(settings, value);
            said(settings, &[&["kubelet", "config"], &field[..1]].concat(), 31);
        });
        let wanted = format!("worker-node-1: kubelet.config.{} (nodebake.yaml:31): {wanted}", field.join("."));
        assert_eq!(refused(&config), (wanted, Some(KUBELET_HINT.to_owned())));
    }
    // The same value is no contradiction, and what only the user's own security suffers from is theirs to say.
    let config = with(|settings| {
        patch(settings, json!({"cgroupDriver": "systemd", "authentication": {"anonymous": {"enabled": true}}}));
    });
    assert!(kubelet_config(&config).contains("  anonymous:\n    enabled: true\n"));
}

fn own(text: &str, mode: u32, owner: &str, group: &str) -> OwnFile {
    OwnFile { body: Body::Text(text.to_owned()), mode, owner: owner.to_owned(), group: group.to_owned() }
}

#[test]
fn own_files_have_their_modes_and_owners() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("own"), b"\xff\0").unwrap();
    let config = with(|settings| {
        let files = &mut settings.files;
        files.insert("/etc/own.conf".to_owned(), own("a = 1\n", 0o640, "root", "adm"));
        files.insert("/srv/own/token".to_owned(), own("TOKEN", 0o400, "1000", "1001"));
        let binary = OwnFile { body: Body::Path(folder.path().join("own")), ..own("", 0o755, "root", "root") };
        files.insert("/usr/local/bin/own".to_owned(), binary);
    });
    let bundle = bundle(&config);
    let without = super::bundle(&super::config("worker-node-1"));
    let (adm, numbers) = (Account::Name("adm".to_owned()), Owner { user: Account::Id(1000), group: Account::Id(1001) });
    let wanted = [
        GuestFile {
            owner: Owner { user: Account::Id(0), group: adm },
            ..GuestFile::new("/etc/own.conf", Content::Public(b"a = 1\n".to_vec(), 0o640))
        },
        GuestFile { owner: numbers, ..GuestFile::new("/srv/own/token", Content::Secret(Secret::new("TOKEN"), 0o400)) },
        GuestFile::new("/usr/local/bin/own", Content::Public(b"\xff\0".to_vec(), 0o755)),
    ];
    let added: Vec<_> = bundle.files.iter().filter(|file| without.file(&file.path).is_none()).cloned().collect();
    assert_eq!(added, wanted);
    assert!(bundle.files.is_sorted_by(|a, b| a.path < b.path));
    let chown: Vec<_> =
        bundle.first_boot.lines().map(str::trim_start).filter(|line| line.starts_with("chown ")).collect();
    // Numbers stand in the image.
    assert_eq!(chown, ["chown -h 'root:adm' '/etc/own.conf'"]);
}

#[test]
fn own_files_stand_in_nobodys_way() {
    let hint = |text: &str| Some(text.to_owned());
    let folder = "`templates` names a folder, in which guest/hosts is rendered in place of nodebake's own";
    for (path, wanted, hint) in [
        ("/etc/hosts", "stands in the way of /etc/hosts, which is nodebake's own (template guest/hosts)", hint(folder)),
        (
            "/etc/hosts/own",
            "stands in the way of /etc/hosts, which is nodebake's own (template guest/hosts)",
            hint(folder),
        ),
        (
            "/etc/kubernetes/pki",
            "stands in the way of /etc/kubernetes/pki/ca.pem, which is nodebake's own",
            hint("choose another path"),
        ),
        (
            "/etc/systemd/system/kubelet.service",
            "stands in the way of /etc/systemd/system/kubelet.service, which is nodebake's own (template systemd/kubelet.service)",
            hint("what a drop-in says wins over the unit: `units: {kubelet.service.d/50-own.conf: ..}`"),
        ),
        ("etc/own", "must be an absolute path without an empty name, \".\" or \"..\" in it", None),
        ("/etc/../own", "must be an absolute path without an empty name, \".\" or \"..\" in it", None),
        ("/", "must be an absolute path without an empty name, \".\" or \"..\" in it", None),
        ("/run/own", "/run is no folder for files of your own", None),
        ("/var/lib/nodebake/x", "/var/lib/nodebake is no folder for files of your own", None),
    ] {
        let config = with(|settings| {
            settings.files.insert(path.to_owned(), own("", 0o644, "root", "root"));
            said(settings, &["files", path], 40);
        });
        let colon = if hint.is_some() { "" } else { ":" };
        assert_eq!(refused(&config), (format!("worker-node-1: files.{path} (nodebake.yaml:40){colon} {wanted}"), hint));
    }
    let config = with(|settings| {
        settings.files.insert("/etc/systemd/system/own.service".to_owned(), own("", 0o644, "root", "root"));
        settings.units.insert("own.service".to_owned(), unit("[Service]\nExecStart=true\n", None));
        said(settings, &["files", "/etc/systemd/system/own.service"], 40);
        said(settings, &["units", "own.service"], 41);
    });
    let wanted = "worker-node-1: units.own.service (nodebake.yaml:41) stands in the way of /etc/systemd/system/own.service, \
                  which is files./etc/systemd/system/own.service (nodebake.yaml:40)";
    assert_eq!(refused(&config), (wanted.to_owned(), hint("choose another path")));
    let config = with(|settings| {
        let file = OwnFile { body: Body::Path("/nonexistent/own".into()), ..own("", 0o644, "root", "root") };
        settings.files.insert("/etc/own".to_owned(), file);
        said(settings, &["files", "/etc/own"], 40);
    });
    let wanted = "worker-node-1: files./etc/own (nodebake.yaml:40) names /nonexistent/own, which cannot be read: \
                  No such file or directory (os error 2)";
    assert_eq!(refused(&config), (wanted.to_owned(), None));
}

fn unit(text: &str, enabled: Option<bool>) -> OwnUnit {
    OwnUnit { body: Some(Body::Text(text.to_owned())), enabled }
}

/// Links and units that these entries add, and what first boot does with them.
fn units_of(entries: &[(&str, OwnUnit)]) -> (Vec<(String, Option<String>)>, Vec<String>) {
    let config = with(|settings| {
        settings.units = entries.iter().map(|(name, unit)| ((*name).to_owned(), unit.clone())).collect();
    });
    let (bundle, without) = (bundle(&config), bundle(&super::config("worker-node-1")));
    let added = bundle.files.iter().filter(|file| without.file(&file.path).is_none()).map(|file| {
        let target = if let Content::Link(target) = &file.content { Some(target.clone()) } else { None };
        (file.path.strip_prefix("/etc/systemd/system/").unwrap().to_owned(), target)
    });
    let old: Vec<_> = without.first_boot.lines().collect();
    let lines =
        bundle.first_boot.lines().filter(|line| !old.contains(line)).map(|line| line.trim_start().to_owned()).collect();
    (added.collect(), lines)
}

#[test]
fn own_units_start_when_they_are_enabled() {
    let link = |path: &str, target: &str| (path.to_owned(), Some(format!("/etc/systemd/system/{target}")));
    let file = |path: &str| (path.to_owned(), None);
    let start = |units: &str| {
        let units = if units.is_empty() { String::new() } else { format!(" {units}") };
        let read = "# The cluster file's own units and drop-ins may be of units that systemd has read already.";
        let start = format!("systemctl start --no-block nodebake-grow.service kubelet.service{units}");
        let start = (!units.is_empty()).then_some(start);
        start.into_iter().chain([read.to_owned(), "reload=yes".to_owned()]).collect()
    };
    let timer = "[Timer]\nOnBootSec=1\n[Install]\n# WantedBy=no.target\nWantedBy=old.target\nWantedBy=\nWantedBy = timers.target \\\n  own.target\n";
    assert_eq!(
        units_of(&[("own.timer", unit(timer, Some(true)))]),
        (
            vec![
                link("own.target.wants/own.timer", "own.timer"),
                file("own.timer"),
                link("timers.target.wants/own.timer", "own.timer")
            ],
            start("'own.timer'")
        )
    );
    let service = "[Service]\nExecStart=true\n[Install]\nRequiredBy=kubelet.service\nAlias=other.service\n";
    assert_eq!(
        units_of(&[
            ("own.service", unit(service, Some(true))),
            ("kubelet.service.d/50-own.conf", unit("[Service]\nNice=1\n", None))
        ]),
        (
            vec![
                file("kubelet.service.d/50-own.conf"),
                link("kubelet.service.requires/own.service", "own.service"),
                link("other.service", "own.service"),
                file("own.service"),
            ],
            start("'own.service'"),
        )
    );
    // What belongs to the end of a machine is not started at its beginning; what is not enabled neither.
    let end = "[Service]\nExecStart=true\n[Install]\nWantedBy=shutdown.target\n";
    assert_eq!(
        units_of(&[("end.service", unit(end, Some(true))), ("off.service", unit(service, Some(false)))]),
        (
            vec![file("end.service"), file("off.service"), link("shutdown.target.wants/end.service", "end.service")],
            start("")
        )
    );
    let template = "[Service]\nExecStart=true %i\n[Install]\nWantedBy=multi-user.target\nDefaultInstance=a\n";
    let instance = OwnUnit { body: None, enabled: Some(true) };
    assert_eq!(
        units_of(&[("own@.service", unit(template, Some(true))), ("own@b.service", instance)]),
        (
            vec![
                link("multi-user.target.wants/own@a.service", "own@.service"),
                link("multi-user.target.wants/own@b.service", "own@.service"),
                file("own@.service"),
            ],
            start("'own@a.service' 'own@b.service'"),
        )
    );
}

#[test]
fn units_of_the_image_are_enabled_and_masked() {
    let (on, off) = (OwnUnit { body: None, enabled: Some(true) }, OwnUnit { body: None, enabled: Some(false) });
    let (files, lines) = units_of(&[("cron.service", on.clone()), ("multipathd.service", off.clone())]);
    assert_eq!(files, [("multipathd.service".to_owned(), Some("/dev/null".to_owned()))]);
    assert_eq!(lines.len(), 5, "{lines:#?}");
    assert_eq!(lines[0], "systemctl start --no-block nodebake-grow.service kubelet.service 'cron.service'");
    assert_eq!(lines[3], "systemctl --quiet --no-reload enable 'cron.service'");
    assert!(lines[4].starts_with("systemctl stop --no-block apt-daily"), "{}", lines[4]);
    assert!(lines[4].contains(" multipathd.service "), "{}", lines[4]);
    // What we mask, and the user wants.
    let config = with(|settings| {
        settings.units.insert("ssh.socket".to_owned(), on);
        settings.units.insert("snapd.service".to_owned(), off);
    });
    let bundle = bundle(&config);
    assert_eq!(bundle.file("/etc/systemd/system/ssh.socket"), None);
    assert_eq!(bundle.file("/etc/systemd/system/snapd.service"), Some(&Content::Link("/dev/null".to_owned())));
}

#[test]
fn units_that_cannot_be_enabled_are_refused() {
    let section = |install: &str| unit(&format!("[Service]\nExecStart=true\n[Install]\n{install}"), Some(true));
    for (name, unit, wanted) in [
        (
            "own.service",
            section(""),
            "cannot be enabled: its [Install] section says neither WantedBy= nor RequiredBy= nor Alias=",
        ),
        (
            "own.service",
            section("WantedBy=%i.target\n"),
            "cannot be enabled: \"%i.target\" in its [Install] section is no plain name of a unit",
        ),
        (
            "own.service",
            section("Also=b.service\n"),
            "cannot be enabled: its [Install] section has Also=; give each unit `enabled` of its own",
        ),
        (
            "own@.service",
            section("WantedBy=a.target\n"),
            "cannot be enabled: it is a template; enable an instance, own@NAME.service",
        ),
        ("a.service.d/b.conf", section(""), "a drop-in cannot be enabled"),
    ] {
        let config = with(|settings| {
            settings.units.insert(name.to_owned(), unit);
            said(settings, &["units", name, "enabled"], 50);
            said(settings, &["units", name, "content"], 49);
        });
        assert_eq!(refused(&config), (format!("worker-node-1: units.{name} (nodebake.yaml:49): {wanted}"), None));
    }
}

#[test]
fn modules_and_kernel_parameters_are_added() {
    let config = with(|settings| {
        settings.modules.extend(["nf_conntrack".to_owned(), "ip_vs".to_owned()]);
        settings.sysctls.insert("vm.max_map_count".to_owned(), "262144".to_owned());
        settings.sysctls.insert("net.ipv4.ip_local_port_range".to_owned(), "1024 65000".to_owned());
    });
    let bundle = bundle(&config);
    assert_eq!(public(&bundle, "/etc/modules-load.d/nodebake.conf").0, "overlay\nbr_netfilter\nip_vs\nnf_conntrack\n");
    let wanted = "net.bridge.bridge-nf-call-iptables = 1\nnet.bridge.bridge-nf-call-ip6tables = 1\nnet.ipv4.ip_forward = 1\n\
                  net.ipv4.ip_local_port_range = 1024 65000\nvm.max_map_count = 262144\n";
    assert_eq!(public(&bundle, "/etc/sysctl.d/90-nodebake.conf").0, wanted);
    let probe: Vec<_> =
        bundle.first_boot.lines().map(str::trim_start).filter(|line| line.starts_with("modprobe")).collect();
    assert_eq!(probe, ["modprobe -a overlay br_netfilter 'ip_vs' 'nf_conntrack'"]);
}

/// A folder with a template of the user's.
fn templates(name: &str, text: &str) -> (tempfile::TempDir, Config) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
    let config = with(|settings| {
        settings.templates = Some(folder.path().to_owned());
        said(settings, &["templates"], 60);
    });
    (folder, config)
}

#[test]
fn a_template_of_the_users_replaces_ours() {
    let text = "127.0.0.1 localhost\n{{ node.address }} {{ node.name }} own\n";
    let (folder, config) = templates("guest/hosts", text);
    std::fs::write(folder.path().join(".gitignore"), "*~\n").unwrap();
    let plain = bundle(&super::config("worker-node-1"));
    assert_eq!(differences(&bundle(&config), &plain), ["/etc/hosts"]);
    assert_eq!(public(&bundle(&config), "/etc/hosts").0, "127.0.0.1 localhost\n10.0.0.36 worker-node-1 own\n");
    // Its author may say what ours does not, but not what the rest of the node cannot live with.
    let ours = include_str!("../../../cloud-init/kubelet/config.yaml");
    let (_folder, config) = templates("kubelet/config.yaml", &ours.replace("15m", "20m"));
    assert!(kubelet_config(&config).contains("runtimeRequestTimeout: 20m\n"));
    let (folder, config) =
        templates("kubelet/config.yaml", &ours.replace("cgroupDriver: systemd", "cgroupDriver: cgroupfs"));
    let path = folder.path().join("kubelet/config.yaml").display().to_string();
    let wanted = format!(
        "worker-node-1: what template {path} renders is not valid: cgroupDriver reads back as \"cgroupfs\", not as \"systemd\": \
         containerd's configuration has SystemdCgroup, and the two must never differ"
    );
    assert_eq!(refused(&config), (wanted, Some(format!("mend {path}"))));
    let ours = include_str!("../../../cloud-init/user-data");
    let (_folder, config) = templates("user-data", &format!("{ours}timezone: Europe/Berlin\n"));
    let lists =
        "cloud_config_modules:\n  - \"timezone\"\ncloud_final_modules: []\ncloud_init_modules:\n  - \"set_hostname\"\n";
    let user_data = bundle(&config).user_data;
    assert!(user_data.ends_with(&format!("timezone: Europe/Berlin\n{lists}")), "{user_data}");
    let (_folder, config) = templates("user-data", &format!("{ours}vendor_data: {{enabled: false}}\n"));
    let (problem, _) = refused(&config);
    assert!(
        problem.ends_with("vendor_data reads back as Some(Object {\"enabled\": Bool(false)}), not as None"),
        "{problem}"
    );
    let (_folder, config) = templates("vendor-data", "#cloud-boothook\n#!/bin/sh\n");
    assert!(refused(&config).0.ends_with("that it starts first boot reads back as false, not as true"));
}

#[test]
fn a_network_config_of_the_users_takes_the_place_of_ours() {
    let text = "version: 2\nethernets:\n  own:\n    match: {macaddress: \"{{ node.mac }}\"}\n    dhcp4: true\n";
    let (_folder, config) = templates("network-config", text);
    let bundle = bundle(&config);
    assert_eq!(bundle.network_config, text.replace("{{ node.mac }}", "52:54:00:12:34:56"));
    assert_eq!(bundle.file(network::FILE.0), None);
    let (_folder, config) = templates("network-config", &text.replace("{{ node.mac }}", "52:54:00:00:00:00"));
    let wanted = "that a card is matched by the node's MAC reads back as false, not as true";
    assert!(refused(&config).0.ends_with(wanted));
}

#[test]
fn a_template_of_the_users_that_is_wrong_is_named_with_its_line() {
    let (folder, config) = templates("guest/host", "");
    let path = folder.path().join("guest/host").display().to_string();
    let wanted = format!(
        "worker-node-1: templates (nodebake.yaml:60): {path} stands in for no template; the nearest name is guest/hosts"
    );
    assert_eq!(refused(&config), (wanted, None));
    let (folder, config) = templates("guest/hosts", "a\n{{ node.nam }}\n");
    let path = folder.path().join("guest/hosts").display().to_string();
    let (text, hint) = refused(&config);
    assert!(text.starts_with(&format!("template {path}: ")) && text.contains("2:"), "{text}");
    assert_eq!(hint, Some(format!("mend {path}")));
    let (folder, config) = templates("guest/hosts", "a\n{% if %}\n");
    let path = folder.path().join("guest/hosts").display().to_string();
    let (text, _) = refused(&config);
    assert!(text.starts_with(&format!("template {path}: ")) && text.contains("2:"), "{text}");
    let (_folder, config) = templates("guest/hosts", "{{ nobody }}\n");
    assert!(refused(&config).0.ends_with("guest/hosts uses \"nobody\", which is not defined"));
}

#[test]
fn swap_is_made_where_it_is_asked_for() {
    let plain = bundle(&super::config("worker-node-1"));
    let config = with(|settings| settings.swap = Some(2 << 30));
    let swapped = bundle(&config);
    let units = "/etc/systemd/system";
    assert_eq!(
        differences(&swapped, &plain),
        [
            kubelet::PATH,
            "/etc/systemd/system/kubelet.service",
            "/etc/systemd/system/nodebake-swap.service",
            "/etc/systemd/system/swap.target.wants/var-lib-nodebake-swap.swap",
            "/etc/systemd/system/var-lib-nodebake-swap.swap",
            "/usr/local/lib/nodebake/swap",
        ]
    );
    assert_eq!(
        differences(&plain, &swapped),
        [kubelet::PATH, "/etc/systemd/system/kubelet.service", "/etc/systemd/system/swap.target"]
    );
    let beyond = |path: &str| lines_beyond(public(&swapped, path).0, public(&plain, path).0).join("\n");
    assert_eq!(beyond(kubelet::PATH), "failSwapOn: false\nmemorySwap:\n  swapBehavior: LimitedSwap");
    let swap = "Requires=var-lib-nodebake-swap.swap\nAfter=var-lib-nodebake-swap.swap";
    assert_eq!(beyond("/etc/systemd/system/kubelet.service"), swap);
    let (script, mode) = public(&swapped, "/usr/local/lib/nodebake/swap");
    assert_eq!((script.contains("\nfallocate --length 2147483648 \"$new\"\n"), mode), (true, 0o755), "{script}");
    let link = Content::Link(format!("{units}/var-lib-nodebake-swap.swap"));
    assert_eq!(swapped.file(&format!("{units}/swap.target.wants/var-lib-nodebake-swap.swap")), Some(&link));
    assert!(!swapped.first_boot.contains(" swap.target "), "{}", swapped.first_boot);
    // The kubelet may be told not to use it, but not to refuse it.
    let config = with(|settings| {
        settings.swap = Some(2 << 30);
        patch(settings, json!({"memorySwap": {"swapBehavior": "NoSwap"}}));
    });
    assert!(kubelet_config(&config).contains("swapBehavior: \"NoSwap\"\n"));
    let config = with(|settings| {
        settings.swap = Some(2 << 30);
        patch(settings, json!({"failSwapOn": true}));
        said(settings, &["kubelet", "config", "failSwapOn"], 31);
    });
    let wanted = "worker-node-1: kubelet.config.failSwapOn (nodebake.yaml:31): must stay false: the node has swap, and its \
                  kubelet would not start";
    assert_eq!(refused(&config), (wanted.to_owned(), Some(KUBELET_HINT.to_owned())));
}

#[test]
fn labels_and_taints_are_the_kubelets_where_it_may() {
    let label =
        |settings: &mut Settings, key: &str, value: &str| settings.labels.insert(key.to_owned(), value.to_owned());
    let mut config = with(|settings| {
        label(settings, "own.example/disk", "ssd");
        label(settings, "topology.kubernetes.io/zone", "");
        label(settings, "node-role.kubernetes.io/worker", "");
        settings.taints.insert(("own".to_owned(), crate::config::TaintEffect::NoSchedule), "a".to_owned());
        settings.taints.insert(("own".to_owned(), crate::config::TaintEffect::NoExecute), String::new());
        said(settings, &["labels", "node-role.kubernetes.io/worker"], 70);
    });
    config.cluster.kubeconfig = Some("/admin.kubeconfig".into());
    let bundle = bundle(&config);
    let unit = public(&bundle, "/etc/systemd/system/kubelet.service").0;
    let start = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap();
    let flags: Vec<_> = start.split(' ').filter(|word| word.starts_with("--node-labels")).collect();
    let labels = "--node-labels=own.example/disk=ssd,topology.kubernetes.io/zone=";
    assert_eq!(flags, [labels]);
    let plain = super::bundle(&super::config("worker-node-1"));
    let taints = lines_beyond(public(&bundle, kubelet::PATH).0, public(&plain, kubelet::PATH).0).join("\n");
    let wanted = r#"registerWithTaints:
  - key: "own"
    value: "a"
    effect: NoSchedule
  - key: "own"
    value: ""
    effect: NoExecute"#;
    assert_eq!(taints, wanted);
    config.cluster.kubeconfig = None;
    let wanted = "worker-node-1: labels.node-role.kubernetes.io/worker (nodebake.yaml:70): no kubelet may give its own node this \
                  label, and without cluster.kubeconfig nobody else can";
    assert_eq!(refused(&config), (wanted.to_owned(), None));
    config.nodes[0].settings.labels.remove("node-role.kubernetes.io/worker");
    assert!(public(&super::bundle(&config), "/etc/systemd/system/kubelet.service").0.contains(labels));
}

#[test]
fn a_console_login_is_a_secret_of_the_seed() {
    let hash = "$y$j9T$SALT$HASH";
    let config = with(|settings| settings.console_login = Some(crate::config::PasswordHash::new(hash.to_owned())));
    let (plain, bundle) = (bundle(&super::config("worker-node-1")), bundle(&config));
    assert_eq!(bundle.root_password, Some(Secret::new(format!("root:{hash}\n"))));
    assert_eq!(differences(&bundle, &plain), [""; 0]);
    assert_eq!((&bundle.user_data, &plain.root_password), (&plain.user_data, &None));
    let lines = lines_beyond(&bundle.first_boot, &plain.first_boot);
    assert_eq!(lines, ["    chpasswd --encrypted <\"$seed/nodebake/root-password\""]);
    let other = NodeBundle { root_password: Some(Secret::new("root:other\n")), ..bundle.clone() };
    assert!(other.instance_id() != bundle.instance_id() && plain.instance_id() != bundle.instance_id());
    assert!(!format!("{bundle:?}").contains("SALT"));
}

#[test]
fn host_keys_are_the_nodes_own() {
    let ssh = Ssh { user: "admin".to_owned(), authorized_keys: vec!["ssh-ed25519 AAAA me".to_owned()] };
    let config = with(|settings| settings.ssh = Some(ssh));
    let bundle = bundle(&config);
    for name in HostKey::NAMES {
        let private = Content::Secret(Secret::new(format!("SECRET {name}")), 0o600);
        assert_eq!(bundle.file(&format!("/etc/ssh/{name}")), Some(&private));
        assert_eq!(public(&bundle, &format!("/etc/ssh/{name}.pub")), (&*format!("{name} public\n"), 0o644));
    }
    assert!(bundle.user_data.contains("\nssh_deletekeys: false\nssh_genkeytypes: [ed25519, ecdsa]\n"));
    let plain = super::bundle(&super::config("worker-node-1"));
    assert!(plain.files.iter().all(|file| !file.path.contains("ssh_host")) && !plain.first_boot.contains("ssh_host"));
    let others = "    for key in /etc/ssh/ssh_host_*; do";
    assert!(lines_beyond(&bundle.first_boot, &plain.first_boot).contains(&others), "{}", bundle.first_boot);
}
