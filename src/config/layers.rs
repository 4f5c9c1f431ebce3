//! The layers of a cluster file, laid over each other: `defaults`, then a node's group, then its own entry.
//!
//! Every layer is read alone first, which reports all that is wrong with its values, once, also in groups of no node.
//! Then their trees are merged and read again; what is reported now (and was not yet) is what they lack together.
//! A value keeps its place in the file on the way, and so what it comes from.

use std::collections::BTreeMap;
use std::path::Path;

use super::guest;
use super::layer::{self, Said};
use super::problem::{Position, Problems};
use super::settings::{Layer, Origin, Origins};
use super::tree::{Entry, Kind, Tree};
use super::value::{Fields, Reading, Value, nearest};

/// All layers of a file.
pub(super) struct Layers<'t> {
    folder: &'t Path,
    problems: &'t Problems,
    defaults: Option<&'t Tree>,
    groups: BTreeMap<String, &'t Tree>,
    /// Where each layer starts, and how problems name it; sorted.
    starts: Vec<Start>,
    /// What the nodes of a group (or of none) have in common.
    common: BTreeMap<Option<String>, Common>,
}

/// `defaults` and a group.
struct Common {
    tree: Tree,
    /// What the nodes are that say nothing themselves, once there is one.
    said: Option<Said>,
}

struct Start {
    at: Position,
    path: String,
    layer: Layer,
}

impl<'t> Layers<'t> {
    /// Reads `defaults` and `groups`.
    pub(super) fn read(fields: &Fields<'t>, folder: &'t Path, problems: &'t Problems) -> (Self, Said) {
        let mut layers = Self {
            folder,
            problems,
            defaults: None,
            groups: BTreeMap::new(),
            starts: Vec::new(),
            common: BTreeMap::new(),
        };
        let mut defaults = Said::default();
        if let Some(value) = fields.get("defaults") {
            defaults = layers.layer(&value, layer::KEYS, Layer::Defaults);
            layers.defaults = Some(value.tree());
            layers.start_each(&value);
        }
        let groups = fields.get("groups").and_then(|value| value.entries("groups by their names", guest::group));
        for (name, value) in groups.unwrap_or_default() {
            let Some(value) = value else { continue };
            layers.layer(&value, layer::KEYS, Layer::Group(name.clone()));
            layers.groups.insert(name, value.tree());
        }
        (layers, defaults)
    }

    /// Notes where each entry of `defaults` starts: one that moved there stands elsewhere in the file.
    fn start_each(&mut self, value: &Value<'t>) {
        let Kind::Map(entries) = &value.tree().kind else { return };
        let start = |entry: &Entry| Start { at: entry.at, path: value.path().to_owned(), layer: Layer::Defaults };
        self.starts.extend(entries.iter().map(start));
    }

    /// Reads the entries of `nodes` as layers, the last there are.
    pub(super) fn nodes(&mut self, values: &[Value<'t>]) {
        for value in values {
            self.layer(value, layer::NODE_KEYS, Layer::Node);
        }
        self.starts.sort_by_key(|start| start.at);
    }

    fn layer(&mut self, value: &Value<'t>, keys: &'static [&'static str], layer: Layer) -> Said {
        let fields = value.with(Reading::Layer).fields(keys);
        self.starts.push(Start { at: value.tree().at, path: value.path().to_owned(), layer });
        fields.map(|fields| layer::read(&fields, self.folder)).unwrap_or_default()
    }

    /// Checks that there is such a group.
    pub(super) fn group(&self, name: &str) -> Result<String, String> {
        if self.groups.contains_key(name) {
            return Ok(name.to_owned());
        }
        guest::group(name)?;
        let known: Vec<&str> = self.groups.keys().map(String::as_str).collect();
        Err(match nearest(name, &known) {
            Some(meant) => format!("there is no group {name:?}, did you mean {meant:?}?"),
            None if known.is_empty() => format!("there is no group {name:?}; groups are made under groups:"),
            None => format!("there is no group {name:?}, only {}", known.join(", ")),
        })
    }

    /// What the layers make of the node whose own entry is `own`. All layers have been read before.
    pub(super) fn said(&mut self, group: Option<&str>, own: &Tree) -> Said {
        let mut common = self
            .common
            .remove(&group.map(str::to_owned))
            .unwrap_or_else(|| Common { tree: self.common(group), said: None });
        let says = |entry: &Entry| layer::KEYS.contains(&entry.key.as_str());
        let said = match &own.kind {
            Kind::Map(entries) if entries.iter().any(says) => self.merged(&merge(&common.tree, own, &[])),
            _ => common.said.get_or_insert_with(|| self.merged(&common.tree)).clone(),
        };
        self.common.insert(group.map(str::to_owned), common);
        said
    }

    fn common(&self, group: Option<&str>) -> Tree {
        let nothing = Tree { at: Position { line: 1, column: 1 }, kind: Kind::Map(Vec::new()) };
        let group = group.and_then(|group| self.groups.get(group)).copied();
        // What is no map was reported as that.
        let layers = self.defaults.into_iter().chain(group).filter(|layer| matches!(layer.kind, Kind::Map(_)));
        layers.fold(nothing, |tree, over| merge(&tree, over, &[]))
    }

    fn merged(&self, tree: &Tree) -> Said {
        let found = Problems::default();
        let fields = Value::root(tree, &found).with(Reading::Merged).map(layer::NODE_KEYS);
        let mut said = fields.map(|fields| layer::read(&fields, self.folder)).unwrap_or_default();
        for problem in found.into_sorted() {
            if !self.problems.has(problem.at, &problem.text) {
                self.problems.report(problem.at, &self.path(problem.at, &problem.path), problem.text);
            }
        }
        for (_, address) in &mut said.nic_addresses {
            address.path = self.path(address.at, &address.path);
        }
        for hypervisor in &mut said.hypervisors {
            hypervisor.path = self.path(hypervisor.at, &hypervisor.path);
        }
        said.settings.origins = self.origins(tree);
        said
    }

    /// The path in the file of what stands there, from its path in its layer.
    fn path(&self, at: Position, within: &str) -> String {
        let start = self.start(at).map(|start| start.path.as_str()).unwrap_or_default();
        [start, within].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(".")
    }

    fn start(&self, at: Position) -> Option<&Start> {
        let after = self.starts.partition_point(|start| start.at <= at);
        self.starts.get(after.checked_sub(1)?)
    }

    fn origins(&self, tree: &Tree) -> Origins {
        let mut leaves = Vec::new();
        let Kind::Map(entries) = &tree.kind else { return Origins::default() };
        for entry in entries.iter().filter(|entry| layer::KEYS.contains(&entry.key.as_str())) {
            collect(&entry.value, entry.at, &mut vec![entry.key.clone()], &mut leaves);
        }
        let origin = |(path, at): (Vec<String>, Position)| {
            let layer = self.start(at)?.layer.clone();
            Some((path, Origin { layer, line: Some(at.line) }))
        };
        leaves.into_iter().filter_map(origin).collect()
    }
}

/// Whether what stands at `path` is patched by RFC 7386, so that null is a value there.
pub(super) fn is_free(path: &[String]) -> bool {
    match path {
        [first, ..] if first == "cloudConfig" => true,
        [first, second, ..] => (first == "kubelet" || first == "containerd") && second == "config",
        _ => false,
    }
}

/// Lists whose elements come from all layers.
fn is_united(path: &[&str]) -> bool {
    matches!(path, ["modules" | "taints"])
}

/// The places of all that is said beneath `path`: of texts, of lists, and of each element of those that unite.
fn collect(tree: &Tree, at: Position, path: &mut Vec<String>, leaves: &mut Vec<(Vec<String>, Position)>) {
    match &tree.kind {
        Kind::Map(entries) if !entries.is_empty() || !is_free(path) => {
            for entry in entries {
                path.push(entry.key.clone());
                collect(&entry.value, entry.at, path, leaves);
                path.pop();
            }
        }
        Kind::List(items) if matches!(path.as_slice(), [first] if is_united(&[first])) => {
            for item in items {
                if let Some(name) = name_of(item) {
                    // The later layer's counts.
                    leaves.push((vec![path[0].clone(), name], item.at));
                }
            }
        }
        _ => leaves.push((path.clone(), at)),
    }
}

/// What an element of a list that unites is known by: a module's name, a taint's `KEY:EFFECT`.
fn name_of(item: &Tree) -> Option<String> {
    let text = |tree: &Tree| match &tree.kind {
        Kind::Text { text, .. } => Some(text.clone()),
        _ => None,
    };
    let Kind::Map(entries) = &item.kind else { return text(item) };
    let of = |key: &str| text(&entries.iter().find(|entry| entry.key == key)?.value);
    Some(format!("{}:{}", of("key")?, of("effect")?))
}

/// `over` laid over `base`, of two patches (RFC 7386) one that does what both do: maps by key, lists that unite one behind the other, anything else in place of the other.
fn merge(base: &Tree, over: &Tree, path: &[&str]) -> Tree {
    match (&base.kind, &over.kind) {
        (Kind::Map(old), Kind::Map(new)) => Tree { at: base.at, kind: Kind::Map(merge_entries(old, new, path)) },
        (Kind::List(old), Kind::List(new)) if is_united(path) => {
            Tree { at: base.at, kind: Kind::List(old.iter().chain(new).cloned().collect()) }
        }
        _ => over.clone(),
    }
}

fn merge_entries(old: &[Entry], new: &[Entry], path: &[&str]) -> Vec<Entry> {
    let mut fresh: BTreeMap<&str, &Entry> = new.iter().map(|entry| (entry.key.as_str(), entry)).collect();
    let is_given = |key: &str| fresh.get(key).is_some_and(|entry| !matches!(entry.value.kind, Kind::Null(_)));
    // Of the two that say where bytes are, or what a card is on, the later layer's counts.
    let either: &[&str] = match path {
        ["files" | "units", _] => &["content", "path"],
        ["nics", _] => &["network", "bridge"],
        _ => &[],
    };
    let says = either.iter().any(|key| is_given(key));
    let stays = |entry: &&Entry| !(says && either.contains(&entry.key.as_str()));
    let mut merged = Vec::with_capacity(old.len() + new.len());
    for entry in old.iter().filter(stays) {
        let Some(over) = fresh.remove(entry.key.as_str()) else {
            merged.push(entry.clone());
            continue;
        };
        let path: Vec<&str> = path.iter().copied().chain([entry.key.as_str()]).collect();
        merged.push(Entry { value: merge(&entry.value, &over.value, &path), ..over.clone() });
    }
    // In their own order.
    merged.extend(new.iter().filter(|entry| fresh.contains_key(entry.key.as_str())).cloned());
    merged
}
