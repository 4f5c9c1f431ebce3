//! What users make of their nodes, through the cluster file: what is said lands in the seed, and what cannot be is refused
//! with its line.

use std::fs;
use std::process::Command;

use crate::world::{Ran, World, must};

const NODE: &str = "worker-node-1";

/// A locked world with this beneath `defaults:`.
fn with(defaults: &str) -> World {
    let world = World::locked();
    say(&world, defaults);
    world
}

/// Puts lines beneath `defaults:`.
fn say(world: &World, defaults: &str) {
    let lines: Vec<_> = defaults.lines().map(|line| format!("  {line}\n")).collect();
    world.edit("\ndefaults:\n", &format!("\ndefaults:\n{}", lines.concat()));
}

/// Line of the cluster file that holds this text.
fn line(world: &World, text: &str) -> usize {
    world.read("nodebake.yaml").lines().position(|line| line.contains(text)).unwrap() + 1
}

/// A file of the seed, by a reader that is not ours.
fn in_seed(world: &World, path: &str) -> String {
    let seed = world.path(&format!("build/{NODE}/seed.iso"));
    let path = format!("/nodebake{path}");
    String::from_utf8(must(Command::new("isoinfo").args(["-R", "-x", &path, "-i"]).arg(seed))).unwrap()
}

/// What is there of these words in any file that is not meant for the owner alone, by path.
fn shown(world: &World, words: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for (path, file) in world.tree("") {
        let text = String::from_utf8_lossy(&file.content);
        let is_ours = !path.ends_with("nodebake.yaml") && file.mode & 0o077 != 0;
        if is_ours && words.iter().any(|word| text.contains(word)) {
            found.push(path);
        }
    }
    found
}

#[test]
fn what_is_said_is_in_the_seed() {
    let world = with(
        "kubelet: {config: {maxPods: 60}}\n\
         labels: {own.example/disk: ssd}\n\
         taints: [{key: own, value: a, effect: NoSchedule}]\n\
         swap: 1GiB\n\
         sysctls: {vm.max_map_count: \"262144\"}\n\
         modules: [nf_conntrack]\n\
         files: {/etc/own.conf: {content: \"a = 1\\n\", owner: \"1000\", group: \"1001\", mode: \"0640\"}}\n\
         units: {own.service: {path: own.service, enabled: true}}",
    );
    fs::write(world.path("own.service"), "[Service]\nExecStart=true\n[Install]\nWantedBy=multi-user.target\n").unwrap();
    world.must(&["build", NODE]);
    let file = |path: &str| in_seed(&world, &format!("/root{path}"));
    let kubelet = file("/etc/kubernetes/kubelet-config.yaml");
    let taint = "\nregisterWithTaints:\n  -\n    effect: \"NoSchedule\"\n    key: \"own\"\n    value: \"a\"\n";
    assert!(kubelet.contains("\nmaxPods: 60\n") && kubelet.contains(taint), "{kubelet}");
    let unit = file("/etc/systemd/system/kubelet.service");
    assert!(unit.contains(" --node-labels=own.example/disk=ssd\n"), "{unit}");
    assert_eq!(file("/etc/own.conf"), "a = 1\n");
    assert_eq!(file("/etc/modules-load.d/nodebake.conf"), "overlay\nbr_netfilter\nnf_conntrack\n");
    assert!(file("/etc/sysctl.d/90-nodebake.conf").ends_with("\nvm.max_map_count = 262144\n"));
    assert!(file("/usr/local/lib/nodebake/swap").contains("\nfallocate --length 1073741824 \"$new\"\n"));
    let listed = world.must(&["render", NODE]).stdout;
    let row = |path: &str| {
        let row = listed.lines().find(|row| row.split_whitespace().next() == Some(path)).unwrap_or_default();
        row.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(row("/etc/own.conf"), "/etc/own.conf 0640 1000:1001 6 file");
    let link = "/etc/systemd/system/multi-user.target.wants/own.service";
    assert_eq!(row(link), format!("{link} 0777 root:root - link to /etc/systemd/system/own.service"));
    // The image has the numbers, which isoinfo shows in octal.
    let seed = world.path(&format!("build/{NODE}/seed.iso"));
    let list = String::from_utf8(must(Command::new("isoinfo").args(["-R", "-l", "-i"]).arg(seed))).unwrap();
    let own = list.lines().find(|line| line.trim_end().ends_with("  own.conf")).unwrap();
    assert_eq!(own.split_whitespace().take(5).collect::<Vec<_>>(), ["-rw-r-----", "1", "1750", "1751", "6"]);
    // A second build finds all of it as it is.
    assert!(world.must(&["build", NODE]).stdout.lines().all(|line| line.ends_with("unchanged")));
}

#[test]
fn secrets_stay_secret() {
    let hash = "$6$SALTSALT$0123456789012345678901234567890123456789012345678901234567890123456789012345678901234.";
    let world = with(&format!(
        "ssh: {{user: admin, authorizedKeys: [ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGdHYmFzZTY0Z2FyYmFnZWdhcmJhZ2VnYXJiYWdl me]}}\n\
         consoleLogin: {{passwordHash: {hash}}}\n\
         files: {{/etc/own.token: {{content: SECRETTOKEN, mode: \"0400\"}}}}"
    ));
    world.chmod("nodebake.yaml", 0o600);
    world.must(&["build", NODE]);
    assert_eq!(in_seed(&world, "/root-password"), format!("root:{hash}\n"));
    assert_eq!(in_seed(&world, "/root/etc/own.token"), "SECRETTOKEN");
    for name in ["ssh_host_ed25519_key", "ssh_host_ecdsa_key"] {
        let kept = format!(".nodebake/identities/{NODE}/{name}");
        assert_eq!(in_seed(&world, &format!("/root/etc/ssh/{name}")), world.read(&kept));
        assert_eq!(
            fs::metadata(world.path(&kept)).unwrap().permissions(),
            std::os::unix::fs::PermissionsExt::from_mode(0o100_600)
        );
    }
    assert_eq!(shown(&world, &["SALTSALT", "SECRETTOKEN", "OPENSSH PRIVATE"]), [""; 0]);
    let told = |path: &str| world.must(&["render", NODE, path]).stdout;
    assert_eq!(told("root-password"), format!("(secret, {} bytes)\n", hash.len() + 6));
    assert_eq!(told("/etc/own.token"), "(secret, 11 bytes)\n");
    // The keys stay the same over rebuilds, and verify makes the same again.
    let before = world.tree(".nodebake");
    fs::remove_dir_all(world.path("build")).unwrap();
    world.must(&["build", NODE]);
    assert_eq!(world.tree(".nodebake"), before);
    world.must(&["verify", NODE, "--images"]);
    // Without them there is nothing to compare with.
    fs::remove_file(world.path(&format!(".nodebake/identities/{NODE}/ssh_host_ecdsa_key"))).unwrap();
    assert_eq!(world.run(&["verify", NODE, "--images"]).code, 4);
}

#[test]
fn what_cannot_be_is_refused_with_its_line() {
    for (defaults, word, error, hint) in [
        (
            "kubelet:\n  config:\n    maxPods: 60\n    cgroupDriver: cgroupfs",
            "cgroupDriver: cgroupfs",
            "worker-node-1: kubelet.config.cgroupDriver (nodebake.yaml:LINE): must stay \"systemd\": containerd's configuration \
             has SystemdCgroup, and the two must never differ",
            "mend it in the cluster file; `nodebake explain worker-node-1 kubelet` says where each field comes from",
        ),
        (
            "labels:\n  own: a\n  node-role.kubernetes.io/worker: \"\"",
            "node-role.kubernetes.io/worker",
            "worker-node-1: labels.node-role.kubernetes.io/worker (nodebake.yaml:LINE): no kubelet may give its own node this \
             label, and without cluster.kubeconfig nobody else can",
            "",
        ),
        (
            "files:\n  /etc/hosts: {content: a}",
            "/etc/hosts: {content",
            "worker-node-1: files./etc/hosts (nodebake.yaml:LINE) stands in the way of /etc/hosts, which is nodebake's own \
             (template guest/hosts)",
            "`templates` names a folder, in which guest/hosts is rendered in place of nodebake's own",
        ),
        (
            "units:\n  own.service: {content: \"[Service]\\nExecStart=true\\n\", enabled: true}",
            "own.service: {content",
            "worker-node-1: units.own.service (nodebake.yaml:LINE): cannot be enabled: its [Install] section says neither \
             WantedBy= nor RequiredBy= nor Alias=",
            "",
        ),
        (
            "files:\n  /etc/own: {path: not-there}",
            "path: not-there",
            "worker-node-1: files./etc/own (nodebake.yaml:LINE) names FOLDER/not-there, which cannot be read: No such file or \
             directory (os error 2)",
            "",
        ),
        (
            "templates: own",
            "templates: own",
            "worker-node-1: templates (nodebake.yaml:LINE): FOLDER/own/guest/host stands in for no template; the nearest name is \
             guest/hosts",
            "",
        ),
    ] {
        let world = with(defaults);
        fs::create_dir_all(world.path("own/guest")).unwrap();
        fs::write(world.path("own/guest/host"), "").unwrap();
        let error = error.replace("LINE", &line(&world, word).to_string());
        // The first of them is found before anything is asked of anybody.
        assert_eq!(world.run(&["render", NODE]).code, 2);
        let ran = world.run(&["build", NODE]);
        let said = ran.stderr.split_inclusive('\n').skip_while(|line| !line.starts_with("error: "));
        assert_eq!(Ran { stderr: said.collect(), ..ran }, Ran::failed(2, &error, hint));
    }
}

#[test]
fn a_template_of_the_users_is_rendered_and_its_faults_are_named() {
    let world = with("templates: own");
    fs::create_dir_all(world.path("own/guest")).unwrap();
    fs::write(world.path("own/guest/hosts"), "127.0.0.1 localhost\n{{ node.address }} {{ node.name }} own\n").unwrap();
    world.must(&["build", NODE]);
    assert_eq!(in_seed(&world, "/root/etc/hosts"), "127.0.0.1 localhost\n10.0.0.36 worker-node-1 own\n");
    fs::write(world.path("own/guest/hosts"), "{{ nobody }}\n").unwrap();
    let error = "template FOLDER/own/guest/hosts uses \"nobody\", which is not defined";
    let hint = "mend FOLDER/own/guest/hosts";
    assert_eq!(world.run(&["build", NODE]), Ran::failed(2, error, hint));
}

/// What is added to user-data can hold a password.
#[test]
fn user_data_with_additions_is_shown_only_to_whoever_asks_for_secrets() {
    let world = with("cloudConfig: {chpasswd: {users: [{name: own, password: hunter2, type: text}]}}");
    let ran = world.run(&["render", NODE, "user-data"]);
    let shown = world.must(&["render", NODE, "user-data", "--show-secrets"]);
    assert_eq!((ran.code, ran.stdout), (0, format!("(secret, {} bytes)\n", shown.stdout.len())));
    assert!(shown.stdout.contains("hunter2"), "{}", shown.stdout);
}

/// So can every template that is the user's own; ours cannot.
#[test]
fn templates_of_the_users_are_shown_only_to_whoever_asks_for_secrets() {
    let world = with("templates: own");
    fs::create_dir_all(world.path("own/guest")).unwrap();
    let first_boot = "#cloud-boothook\n#!/bin/sh\n# hunter2\nexec /nodebake/first-boot\n";
    fs::write(world.path("own/vendor-data"), first_boot).unwrap();
    for (path, own) in [("vendor-data", true), ("user-data", false), ("network-config", false)] {
        let (told, shown) = (world.run(&["render", NODE, path]), world.must(&["render", NODE, path, "--show-secrets"]));
        let wanted = if own { format!("(secret, {} bytes)\n", shown.stdout.len()) } else { shown.stdout };
        assert_eq!((told.code, told.stdout), (0, wanted), "{path}");
    }
    world.must(&["build", NODE]);
    // Nor does the manifest, which others may read, have a digest to try a guess of the password against.
    let manifest: serde_json::Value = serde_json::from_str(&world.read("build/worker-node-1/manifest.json")).unwrap();
    let told =
        ["user-data", "vendor-data", "network-config", "first-boot"].map(|text| manifest["files"].get(text).is_some());
    assert_eq!(told, [true, false, true, true]);
    let holding = world
        .tree("build/worker-node-1")
        .into_iter()
        .filter(|(_, file)| memchr::memmem::find(&file.content, b"hunter2").is_some());
    let modes: Vec<_> = holding.map(|(name, file)| format!("{:o} {name}", file.mode)).collect();
    assert_eq!(modes, ["100600 build/worker-node-1/seed.iso", "100600 build/worker-node-1/vendor-data"]);
}
