//! What is rendered is checked before it is baked: the error names the template, the field and the cluster file's line.

use crate::world::{Ran, World};

const NODE: &str = "worker-node-1";

/// A cluster file whose second node has these settings, whose first line is the one that is returned.
fn with(settings: &str) -> (World, usize) {
    let world = World::new();
    let after = "  - name: worker-node-2\n    address: 10.0.0.37\n";
    world.edit(after, &format!("{after}{settings}"));
    let line =
        world.read("nodebake.yaml").lines().position(|line| line == settings.lines().next().unwrap()).unwrap() + 1;
    (world, line)
}

#[test]
fn what_no_guest_would_understand_is_refused_by_its_line() {
    let units = "    units: {kubelet.service.d/50-own.conf: {content: \"[Service]\\nExecStart=\\nExecStart=/usr/local/bin/kubelet \
                 --max-pods=5\\n\"}}\n";
    for (settings, below, said, problem) in [
        (
            "    cloudConfig:\n      package: [jq]\n",
            1,
            "cloudConfig.package",
            "template user-data: cloud-init knows no such key; did you mean packages?",
        ),
        (
            "    cloudConfig:\n      hostname: own\n",
            1,
            "cloudConfig.hostname",
            "template user-data: a node's name is its name in the cluster file",
        ),
        (
            "    cloudConfig:\n      timezone: UTC\n      write_files:\n        - path: /a\n        - content: b\n",
            2,
            "cloudConfig.write_files[1]",
            "template user-data: missing properties 'path'",
        ),
        (
            "    kubelet:\n      config:\n        maxPods: many\n",
            2,
            "kubelet.config.maxPods",
            "template kubelet/config.yaml: expected an integer, found a text",
        ),
        (
            "    kubelet:\n      config:\n        systemReserved:\n          memory: 1GB\n",
            3,
            "kubelet.config.systemReserved.memory",
            "template kubelet/config.yaml: expected a quantity such as \"500m\" or \"1Gi\"",
        ),
        (
            units,
            0,
            "units.kubelet.service.d/50-own.conf",
            "ExecStart.--max-pods: kubelet 1.35 marks it as deprecated: the setting `kubelet` goes into its configuration",
        ),
    ] {
        let (world, line) = with(settings);
        let error = format!("worker-node-2: {said} (nodebake.yaml:{}): {problem}", line + below);
        world.must(&["lock"]);
        for arguments in [&["build", "--all"][..], &["render", "worker-node-2", "user-data"]] {
            let ran = world.run(arguments);
            let told = ran.stderr.lines().find(|line| line.starts_with("error: ")).map(String::from);
            assert_eq!((ran.code, told), (2, Some(format!("error: {error}"))), "{arguments:?}: {ran:?}");
        }
        assert!(!world.path("build/worker-node-2/seed.iso").exists());
    }
}

#[test]
fn what_is_given_stands_in_the_seed_of_its_node_alone() {
    let (world, _) = with("    cloudConfig: {timezone: Europe/Berlin, runcmd: [echo own]}\n");
    world.must(&["lock"]);
    world.must(&["build", "--all"]);
    let one = world.read("build/worker-node-1/user-data");
    let other = world.read("build/worker-node-2/user-data");
    assert!(
        one.ends_with("cloud_config_modules: []\ncloud_final_modules: []\ncloud_init_modules:\n  - \"set_hostname\"\n")
    );
    let keys: serde_json::Value = serde_yaml::from_str(&other).unwrap();
    assert_eq!(keys["cloud_config_modules"], serde_json::json!(["timezone", "runcmd"]));
    assert_eq!(keys["cloud_final_modules"], serde_json::json!(["scripts_user"]));
    assert_eq!(keys["cloud_init_modules"], serde_json::json!(["set_hostname"]));
    assert_eq!(keys["runcmd"], serde_json::json!(["echo own"]));
    let Ran { code, stdout, .. } = world.run(&["render", NODE, "user-data"]);
    assert_eq!((code, stdout), (0, one));
}
