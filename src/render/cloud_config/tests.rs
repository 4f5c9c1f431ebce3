#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::json;

use super::*;
use crate::config::{INIT, Ssh, parse};

const RENDERED: &str = "#cloud-config\n# About it.\nhostname: \"worker-node-1\"\npreserve_hostname: false\n\
                        manage_etc_hosts: false\n";

/// The seed cluster, whose first node is given this.
fn config(given: &Value, ssh: bool) -> Config {
    let mut config = parse(Path::new("/clusters/seed/nodebake.yaml"), INIT).unwrap();
    let settings = &mut config.nodes[0].settings;
    settings.cloud_config = given.as_object().unwrap().clone();
    settings.ssh = ssh.then(|| Ssh { user: "ops".to_owned(), authorized_keys: vec!["ssh-ed25519 AAAA me".to_owned()] });
    config
}

fn made(given: &Value) -> Result<String, Problem> {
    let config = config(given, false);
    finish(RENDERED, &config, &config.nodes[0], false)
}

fn keys(text: &str) -> Value {
    Value::Object(read(text).unwrap())
}

fn refused(field: &str, problem: &str) -> Result<(), (String, String)> {
    Err((field.to_owned(), problem.to_owned()))
}

fn verdict(given: &Value, ssh: bool, image: &str) -> Result<(), (String, String)> {
    let mut config = config(given, ssh);
    config.image = image.to_owned();
    match finish(RENDERED, &config, &config.nodes[0], false) {
        Ok(_) => Ok(()),
        Err(Problem::Given(field)) => Err((field.name(), field.problem)),
        Err(Problem::Template(problem)) => panic!("{problem}"),
    }
}

#[test]
fn every_key_of_the_schema_has_a_rule_and_every_module_a_place() {
    let schema: Value = serde_json::from_str(schema::TEXT).unwrap();
    let known: Vec<_> = schema["properties"].as_object().unwrap().keys().map(String::as_str).collect();
    let ruled: Vec<_> = KEYS.iter().map(|(key, ..)| *key).collect();
    assert_eq!(ruled, known, "sorted, each once");
    let placed: BTreeSet<_> = MODULES.iter().map(|(_, module)| *module).collect();
    let deferred = ["write_files_deferred"];
    let used = KEYS.iter().flat_map(|(_, modules, _)| modules.iter()).chain(&deferred);
    assert_eq!(used.copied().collect::<BTreeSet<_>>(), placed);
    let names: BTreeSet<_> =
        schema["$defs"]["all_modules"]["enum"].as_array().unwrap().iter().map(|n| n.as_str().unwrap()).collect();
    assert_eq!(placed.difference(&names).collect::<Vec<_>>(), [] as [&&str; 0]);
    assert_eq!(placed.len(), MODULES.len(), "each once");
}

/// A module's keys are those of its part of the schema, but for those that are refused.
#[test]
fn keys_need_the_modules_that_the_schema_says() {
    let schema: Value = serde_json::from_str(schema::TEXT).unwrap();
    for (key, modules, rule) in KEYS {
        let said: BTreeSet<_> = schema["$defs"]
            .as_object()
            .unwrap()
            .iter()
            .filter(|(_, part)| part["properties"].get(key).is_some())
            .filter_map(|(name, _)| name.strip_prefix("cc_"))
            .collect();
        if matches!(rule, Rule::Refused(_)) {
            continue;
        }
        let more: BTreeSet<_> = if key == "runcmd" { ["scripts_user"].into() } else { BTreeSet::new() };
        assert_eq!(modules.iter().copied().collect::<BTreeSet<_>>(), &said | &more, "{key}");
    }
}

#[test]
fn without_cloud_config_the_template_keeps_its_text() {
    let lists = "cloud_config_modules: []\ncloud_final_modules: []\ncloud_init_modules:\n  - \"set_hostname\"\n";
    assert_eq!(made(&json!({})), Ok(format!("{RENDERED}{lists}")));
}

#[test]
fn cloud_config_is_laid_over_ours_and_turns_on_what_it_needs() {
    let given = json!({
        "bootcmd": ["echo own", ["echo", "second"]],
        "packages": ["jq"],
        "runcmd": ["true"],
        "timezone": "Europe/Berlin",
        "users": [{"name": "ops", "passwd": "$y$"}],
        "write_files": [{"path": "/a", "content": "a"}, {"path": "/b", "defer": true}],
    });
    let wanted = json!({
        "hostname": "worker-node-1",
        "preserve_hostname": false,
        "manage_etc_hosts": false,
        "bootcmd": ["echo own", ["echo", "second"]],
        "packages": ["jq"],
        "runcmd": ["true"],
        "timezone": "Europe/Berlin",
        "users": [{"name": "ops", "passwd": "$y$"}],
        "write_files": [{"path": "/a", "content": "a"}, {"path": "/b", "defer": true}],
        "cloud_init_modules": ["bootcmd", "write_files", "set_hostname", "users_groups"],
        "cloud_config_modules": ["timezone", "runcmd"],
        "cloud_final_modules": ["package_update_upgrade_install", "write_files_deferred", "scripts_user"],
    });
    assert_eq!(keys(&made(&given).unwrap()), wanted);
}

#[test]
fn a_list_holds_no_module_that_nothing_needs() {
    let lists = |given: Value| {
        let keys = keys(&made(&given).unwrap());
        Stage::ALL.map(|stage| {
            keys[stage.list()]
                .as_array()
                .unwrap()
                .iter()
                .map(|name| name.as_str().unwrap().to_owned())
                .collect::<Vec<_>>()
        })
    };
    let ours = ["set_hostname"];
    for (given, init, config, last) in [
        (json!({"write_files": [{"path": "/b", "defer": true}]}), &[][..], &[][..], &["write_files_deferred"][..]),
        (json!({"write_files": [{"path": "/b"}]}), &["write_files"], &[], &[]),
        (json!({"output": {"all": "| tee -a /var/log/cloud-init-output.log"}}), &[], &[], &[]),
        (json!({"timezone": null}), &[], &[], &[]),
        (json!({"chpasswd": {"users": [{"name": "root", "password": "x"}]}}), &["set_passwords"], &[], &[]),
        (json!({"final_message": "up"}), &[], &[], &["final_message"]),
        (json!({"apt": {"conf": "x"}}), &[], &["apt_configure"], &[]),
    ] {
        let [got_init, got_config, got_last] = lists(given.clone());
        let more: Vec<_> = got_init.iter().map(String::as_str).filter(|name| !ours.contains(name)).collect();
        assert_eq!(
            (more.as_slice(), got_config.as_slice(), got_last.as_slice()),
            (init, strings(config).as_slice(), strings(last).as_slice()),
            "{given}"
        );
    }
}

fn strings(names: &[&str]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

#[test]
fn what_cannot_be_is_refused_by_its_field() {
    let listens = NOBODY_LISTENS;
    for (given, field, problem) in [
        (json!({"package": ["jq"]}), "package", "cloud-init knows no such key; did you mean packages?"),
        (json!({"run_cmd": ["true"]}), "run_cmd", "cloud-init knows no such key; did you mean runcmd?"),
        (json!({"network": {}}), "network", "cloud-init knows no such key"),
        (json!({"hostname": "other"}), "hostname", "a node's name is its name in the cluster file"),
        (json!({"hostname": null}), "hostname", "a node's name is its name in the cluster file"),
        (
            json!({"cloud_final_modules": ["runcmd"]}),
            "cloud_final_modules",
            "nodebake computes the lists of modules from the other keys",
        ),
        (json!({"power_state": {"mode": "reboot"}}), "power_state", "nodebake starts, stops and reboots the machine"),
        (json!({"yum_repos": {}}), "yum_repos", "its module runs on neither Debian nor Ubuntu"),
        (json!({"vendor_data": {"enabled": true}}), "vendor_data", "nodebake's own vendor-data starts first boot"),
        (json!({"users": null}), "users", "expected a list, to come behind nodebake's own, found null"),
        (json!({"users": "ops"}), "users", "expected a list, to come behind nodebake's own, found a text"),
        (
            json!({"mounts": [["a", "/a"], ["/dev/vdb", "none", "swap"]]}),
            "mounts[1]",
            "the setting `swap` gives the node its swap",
        ),
        (json!({"disable_root": false}), "disable_root", listens),
        (
            json!({"users": [{"name": "a"}, {"name": "b", "ssh_import_id": ["gh:b"]}]}),
            "users[1].ssh_import_id",
            listens,
        ),
        (
            json!({"write_files": [{"path": "/a", "source": {"uri": "http://own.example/a"}}]}),
            "write_files[0].source",
            "is fetched before the network is up, unless `defer: true` puts it off",
        ),
        // By cloud-init's schema.
        (json!({"packages": "jq"}), "packages", "want array, but got string"),
        (
            json!({"write_files": [{"path": "/a", "permissions": 420}]}),
            "write_files[0].permissions",
            "want string, but got number",
        ),
        (
            json!({"write_files": [{"path": "/a", "mode": "0644"}]}),
            "write_files[0]",
            "additionalProperties 'mode' not allowed",
        ),
        (json!({"write_files": [{"content": "a"}]}), "write_files[0]", "missing properties 'path'"),
        (json!({"users": [{"name": "a", "expiredate": "tomorrow"}]}), "users[0].expiredate", "is no date"),
        (json!({"bootcmd": ["true", 1]}), "bootcmd[1]", "want array, but got number"),
        (json!({"runcmd": []}), "runcmd", "minimum 1 items required, but got 0 items"),
        (json!({"locale": "de_DE", "timezone": 1}), "timezone", "want string, but got number"),
    ] {
        assert_eq!(verdict(&given, false, "ubuntu-24.04"), refused(field, problem), "{given}");
    }
    let own = json!({"users": [{"name": "b"}, {"name": "ops"}]});
    assert_eq!(
        verdict(&own, true, "ubuntu-24.04"),
        refused("users[1].name", "it is the user that the setting `ssh` makes")
    );
    let wireguard = json!({"ubuntu_pro": {"token": "t"}});
    assert_eq!(verdict(&wireguard, false, "debian-13"), refused("ubuntu_pro", "its module runs on Ubuntu alone"));
    assert_eq!(verdict(&wireguard, false, "ubuntu-24.04"), Ok(()));
    assert_eq!(verdict(&json!({"disable_root": false}), true, "ubuntu-24.04"), Ok(()));
    // No URI, and right all the same.
    let apt = json!({"apt": {"primary": [{"arches": ["default"], "uri": "http://%(region)s.archive.example/"}]}});
    assert_eq!(verdict(&apt, false, "ubuntu-24.04"), Ok(()));
}

#[test]
fn problems_hold_no_value() {
    let given = json!({"chpasswd": {"users": [{"name": "root", "password": "hunter2", "type": "hunter3"}]}});
    let refused = verdict(&given, false, "ubuntu-24.04");
    assert!(refused.is_err() && !format!("{refused:?}").contains("hunter"), "{refused:?}");
}
