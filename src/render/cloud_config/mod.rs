//! user-data as it goes into the seed: what the template renders, what the cluster file gives as `cloudConfig` laid over it
//! (RFC 7386), and the lists of modules that the result needs.
//!
//! What the cluster file gives is checked by cloud-init's own schema, and by rules of nodebake's own:
//!
//! - The lists of modules hold what the keys of the result need and no more: the stages of cloud-init that have nothing to
//!   do cost no time. A key whose module would not run is refused, and so is one that cloud-init does not know.
//! - `users` come behind nodebake's own, which cannot be taken away.
//! - Refused are keys that fight with what nodebake does itself: the node's name and /etc/hosts, its root file system,
//!   SSH host keys, time servers, swap, reboots. The setting that does the same is named. The network has a file of its
//!   own and is no key of user-data.
//! - Keys of the SSH server are taken where `ssh` gives a login: without one the server does not run.
//!
//! The first stage, and with it `bootcmd`, `write_files` and `users`, runs before the network is up. cloud-init runs as a
//! whole on the first boot alone, so nothing here is done again later.

mod keys;
mod read_back;
mod schema;

use serde_json::{Map, Value};

use super::error::{Origin, RenderError, Said};
use super::field::{FieldProblem, type_name};
use super::merge::merge;
use super::templates::Templates;
use super::yaml;
use crate::config::{Config, Node, nearest};
use keys::{KEYS, MODULES, Rule, Stage};
pub(super) use read_back::check;

/// The first line, by which cloud-init knows what it reads.
const HEADER: &str = "#cloud-config\n";

/// Why user-data could not be made.
#[derive(Debug, PartialEq, Eq)]
enum Problem {
    /// The template renders something else than `#cloud-config`.
    Template(String),
    /// A key of the cluster file's `cloudConfig`.
    Given(FieldProblem),
}

/// Renders user-data.
pub(super) fn user_data(config: &Config, node: &Node, templates: &Templates) -> Result<String, RenderError> {
    let name = "user-data";
    let own = matches!(templates.origin(name), Origin::Own(_));
    finish(&templates.render(name)?, config, node, own).map_err(|problem| match problem {
        Problem::Template(problem) => {
            RenderError::Check { node: node.name.clone(), template: templates.origin(name), problem }
        }
        Problem::Given(field) => RenderError::Setting {
            node: node.name.clone(),
            said: Said::new(config, node, &field.beneath(&["cloudConfig"])),
            problem: format!("template {name}: {}", field.problem),
        },
    })
}

/// Makes user-data of what the template rendered, which is the user's own (`own`) or ours. Without `cloudConfig` its text
/// stays as it is, and the lists follow.
fn finish(rendered: &str, config: &Config, node: &Node, own: bool) -> Result<String, Problem> {
    let given = &node.settings.cloud_config;
    let mut whole = read(rendered).map_err(Problem::Template)?;
    if let Some(list) = Stage::ALL.iter().map(|stage| stage.list()).find(|list| whole.contains_key(*list)) {
        return Err(Problem::Template(format!("{list}: nodebake computes it from the other keys")));
    }
    for (key, value) in given {
        allowed(key, value, config, node).map_err(Problem::Given)?;
    }
    lay_over(&mut whole, given);
    let lists = modules(&whole).map_err(Problem::Template)?;
    if own || !given.is_empty() {
        let keys = Value::Object(whole.clone());
        schema::check(&keys).map_err(|mut problem| {
            place_as_given(&mut problem.path, &keys, given);
            match problem.path.first() {
                Some(key) if given.contains_key(key) => Problem::Given(problem),
                _ => Problem::Template(problem.to_string()),
            }
        })?;
    }
    if given.is_empty() {
        return Ok(format!("{}\n{}", rendered.trim_end(), yaml::text(&Value::Object(lists))));
    }
    whole.extend(lists);
    let text = yaml::text(&Value::Object(whole));
    Ok(format!("{HEADER}# Rendered by nodebake, with the cluster file's cloudConfig.\n{text}"))
}

/// The keys of a `#cloud-config`.
fn read(text: &str) -> Result<Map<String, Value>, String> {
    if !text.starts_with(HEADER) {
        return Err("the first line is not #cloud-config".to_owned());
    }
    serde_yaml::from_str(text).map_err(|error| error.to_string())
}

/// Lists of nodebake's own that the cluster file can only add to.
const ADDED: [&str; 1] = ["users"];

fn allowed(key: &str, value: &Value, config: &Config, node: &Node) -> Result<(), FieldProblem> {
    let refused = |why: &str| Err(FieldProblem::new(&[key], why));
    let Some((_, _, rule)) = KEYS.iter().find(|(known, ..)| *known == key) else {
        let known: Vec<_> = KEYS.iter().filter(|(_, _, rule)| !matches!(rule, Rule::Refused(_))).collect();
        let known: Vec<_> = known.into_iter().map(|(known, ..)| *known).collect();
        return match nearest(key, &known) {
            Some(meant) => refused(&format!("cloud-init knows no such key; did you mean {meant}?")),
            None => refused("cloud-init knows no such key"),
        };
    };
    match rule {
        Rule::Refused(why) => refused(why),
        Rule::Ubuntu if config.image.starts_with("debian") => refused("its module runs on Ubuntu alone"),
        Rule::Ssh if node.settings.ssh.is_none() => refused(NOBODY_LISTENS),
        Rule::Given | Rule::Ubuntu | Rule::Ssh => match (key, value) {
            ("users", Value::Array(users)) => {
                users.iter().enumerate().try_for_each(|(index, user)| own_user(node, index, user))
            }
            ("mounts", Value::Array(mounts)) => no_swap(mounts),
            ("write_files", Value::Array(files)) => no_early_download(files),
            (key, Value::Array(_)) if ADDED.contains(&key) => Ok(()),
            (key, other) if ADDED.contains(&key) => {
                refused(&format!("expected a list, to come behind nodebake's own, found {}", type_name(other)))
            }
            _ => Ok(()),
        },
    }
}

const NOBODY_LISTENS: &str = "the SSH server runs only where the setting `ssh` gives a login";

fn own_user(node: &Node, index: usize, user: &Value) -> Result<(), FieldProblem> {
    let place = format!("[{index}]");
    let refused = |key: &str, why: &str| Err(FieldProblem::new(&["users", &place, key], why));
    match &node.settings.ssh {
        None => match ["ssh_authorized_keys", "ssh_import_id", "ssh_redirect_user"]
            .iter()
            .find(|key| !user[**key].is_null())
        {
            Some(key) => refused(key, NOBODY_LISTENS),
            None => Ok(()),
        },
        Some(ssh) if user["name"] == ssh.user.as_str() => {
            refused("name", "it is the user that the setting `ssh` makes")
        }
        Some(_) => Ok(()),
    }
}

/// First boot turns swap off, and the kubelet must know of it.
fn no_swap(mounts: &[Value]) -> Result<(), FieldProblem> {
    match mounts.iter().position(|mount| mount[2] == "swap") {
        Some(index) => {
            let place = format!("[{index}]");
            Err(FieldProblem::new(&["mounts", &place], "the setting `swap` gives the node its swap"))
        }
        None => Ok(()),
    }
}

/// The first stage runs before the network is up (`dsmode: local` in meta-data).
fn no_early_download(files: &[Value]) -> Result<(), FieldProblem> {
    match files.iter().position(|file| !file["source"].is_null() && file["defer"] != true) {
        Some(index) => {
            let place = format!("[{index}]");
            let problem = "is fetched before the network is up, unless `defer: true` puts it off";
            Err(FieldProblem::new(&["write_files", &place, "source"], problem))
        }
        None => Ok(()),
    }
}

fn lay_over(whole: &mut Map<String, Value>, given: &Map<String, Value>) {
    for (key, value) in given {
        match (whole.get_mut(key), value) {
            (Some(Value::Array(ours)), Value::Array(theirs)) if ADDED.contains(&key.as_str()) => {
                ours.extend(theirs.iter().cloned());
            }
            (_, Value::Null) => drop(whole.remove(key)),
            _ => merge(whole.entry(key.clone()).or_insert(Value::Null), value),
        }
    }
}

/// The three lists, for these keys.
fn modules(config: &Map<String, Value>) -> Result<Map<String, Value>, String> {
    let mut needed = Vec::new();
    for (key, value) in config {
        let (_, modules, _) =
            KEYS.iter().find(|(known, ..)| known == key).ok_or(format!("cloud-init knows no key {key}"))?;
        match key.as_str() {
            "write_files" => needed.extend(writers(value)),
            "users" => needed.extend(modules.iter().chain(importer(value))),
            _ => needed.extend(*modules),
        }
    }
    let of = |stage: Stage| {
        MODULES
            .iter()
            .filter(|(of, name)| *of == stage && needed.contains(name))
            .map(|(_, name)| Value::from(*name))
            .collect()
    };
    Ok(Stage::ALL.into_iter().map(|stage| (stage.list().to_owned(), of(stage))).collect())
}

/// A file with `defer` is written in the last stage.
fn writers(files: &Value) -> impl Iterator<Item = &'static str> {
    let files = files.as_array().map(Vec::as_slice).unwrap_or_default();
    let has = |deferred: bool| files.iter().any(|file| (file["defer"] == true) == deferred);
    [("write_files", has(false)), ("write_files_deferred", has(true))]
        .into_iter()
        .filter(|(_, has)| *has)
        .map(|(name, _)| name)
}

/// A user whose keys are fetched.
fn importer(users: &Value) -> Option<&'static &'static str> {
    let users = users.as_array().map(Vec::as_slice).unwrap_or_default();
    users.iter().any(|user| !user["ssh_import_id"].is_null()).then_some(&"ssh_import_id")
}

/// Turns the place of an element behind ours into its place in the cluster file.
fn place_as_given(path: &mut [String], whole: &Value, given: &Map<String, Value>) {
    let [key, place, ..] = path else { return };
    let length = |list: Option<&Value>| list.and_then(Value::as_array).map_or(0, Vec::len);
    let index = place.trim_matches(['[', ']']).parse::<usize>();
    if let Ok(index) = index
        && ADDED.contains(&key.as_str())
    {
        let ours = length(whole.get(key.as_str())) - length(given.get(key.as_str()));
        *place = format!("[{}]", index.saturating_sub(ours));
    }
}

#[cfg(test)]
mod tests;
