//! user-data, read back with types that refuse what they do not know.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::keys::Stage;
use super::{ADDED, modules, read};
use crate::config::Node;
use crate::render::check::same;
use crate::render::merge::merge;

/// The keys of `#cloud-config` that we use (cloud-init's module reference), but for the lists of modules.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UserData {
    hostname: String,
    preserve_hostname: bool,
    manage_etc_hosts: bool,
    #[serde(default, rename = "disable_root")]
    _disable_root: Option<bool>,
    #[serde(default, rename = "ssh_deletekeys")]
    _ssh_deletekeys: Option<bool>,
    #[serde(default, rename = "ssh_genkeytypes")]
    _ssh_genkeytypes: Vec<String>,
    #[serde(default)]
    users: Vec<User>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct User {
    name: String,
    lock_passwd: bool,
    #[serde(rename = "shell")]
    _shell: String,
    #[serde(rename = "sudo")]
    _sudo: String,
    ssh_authorized_keys: Vec<String>,
}

/// Compares user-data as it reads back with what was meant. Of what the user's own template (`own`) renders, only what
/// first boot relies upon is ours to judge.
pub(in crate::render) fn check(text: &str, node: &Node, own: bool) -> Result<(), String> {
    let mut keys = read(text)?;
    let wanted = lists(&keys, node, own)?;
    let found: Map<_, _> = wanted.keys().filter_map(|list| keys.remove_entry(list)).collect();
    same("the lists of modules", &found, &wanted)?;
    for (key, value) in &node.settings.cloud_config {
        take_given(&mut keys, key, value)?;
    }
    if own { check_own(&keys, node) } else { check_ours(keys, node) }
}

/// It gives the node its name, and leaves vendor-data alone, which starts first boot.
fn check_own(keys: &Map<String, Value>, node: &Node) -> Result<(), String> {
    same("hostname", &keys.get("hostname").and_then(Value::as_str), &Some(node.name.to_string().as_str()))?;
    same("vendor_data", &keys.get("vendor_data"), &None)
}

fn check_ours(keys: Map<String, Value>, node: &Node) -> Result<(), String> {
    let data: UserData = serde_json::from_value(Value::Object(keys)).map_err(|error| error.to_string())?;
    same("hostname", &data.hostname, &node.name.to_string())?;
    same("preserve_hostname", &data.preserve_hostname, &false)?;
    same("manage_etc_hosts", &data.manage_etc_hosts, &false)?;
    let users: Vec<_> = data.users.iter().map(|u| (&u.name, u.lock_passwd, &u.ssh_authorized_keys)).collect();
    let wanted: Vec<_> = node.settings.ssh.iter().map(|ssh| (&ssh.user, true, &ssh.authorized_keys)).collect();
    same("users", &users, &wanted)
}

/// The lists of modules as they must be: of our own template alone they are known beforehand.
fn lists(keys: &Map<String, Value>, node: &Node, own: bool) -> Result<Map<String, Value>, String> {
    if own || !node.settings.cloud_config.is_empty() {
        let is_list = |key: &str| Stage::ALL.iter().any(|stage| stage.list() == key);
        let others = keys.iter().filter(|(key, _)| !is_list(key)).map(|(key, value)| (key.clone(), value.clone()));
        return modules(&others.collect());
    }
    let mut network = vec!["set_hostname"];
    if node.settings.ssh.is_some() {
        network.extend(["users_groups", "ssh"]);
    }
    let lists = [(Stage::Init, network), (Stage::Config, Vec::new()), (Stage::Final, Vec::new())];
    Ok(lists.into_iter().map(|(stage, modules)| (stage.list().to_owned(), modules.into())).collect())
}

/// Takes out what the cluster file gives, and finds it as it was given.
fn take_given(keys: &mut Map<String, Value>, key: &str, given: &Value) -> Result<(), String> {
    match (keys.get_mut(key), given) {
        (Some(Value::Array(all)), Value::Array(theirs)) if ADDED.contains(&key) => {
            let rest = all.split_off(all.len().saturating_sub(theirs.len()));
            as_given(key, &rest == theirs)
        }
        _ => {
            let mut wanted = Value::Object(Map::new());
            merge(&mut wanted, &json!({ key: given }));
            let found: Map<_, _> = keys.remove_entry(key).into_iter().collect();
            as_given(key, Value::Object(found) == wanted)
        }
    }
}

/// Names the key alone: its value can be a secret.
fn as_given(key: &str, is_so: bool) -> Result<(), String> {
    if is_so { Ok(()) } else { Err(format!("{key} does not read back as it was given")) }
}
