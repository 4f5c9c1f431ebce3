//! The tree of an image while it is being written.

use std::collections::BTreeMap;

use super::writer::WriteError;
use super::{MAX_LINK, MAX_NAME, MAX_PATH};

/// Place of a node in a [`Tree`]; the root is [`ROOT`].
pub(super) type NodeId = usize;

/// The root directory.
pub(super) const ROOT: NodeId = 0;

/// Who owns an entry, in numbers: names mean something in a guest only.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Owner {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

impl Owner {
    /// root:root.
    pub const ROOT: Self = Self { uid: 0, gid: 0 };
}

/// Permission bits and owner of a file or directory. A mode alone is root's. Set-id and sticky bits are refused: nothing
/// that a guest mounts or installs from an image of ours may raise rights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attributes {
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub owner: Owner,
}

impl From<u32> for Attributes {
    fn from(mode: u32) -> Self {
        Self { mode, owner: Owner::ROOT }
    }
}

/// A file, link or directory.
pub(super) struct Node {
    pub(super) name: String,
    pub(super) parent: NodeId,
    pub(super) attributes: Attributes,
    pub(super) kind: NodeKind,
}

pub(super) enum NodeKind {
    /// Children by name; `named` once it was added by its own path rather than by a path beneath it.
    Directory { children: BTreeMap<String, NodeId>, named: bool },
    /// File data from a block on.
    File { block: u32, size: u64 },
    /// Target of a symbolic link.
    Link(String),
}

/// All nodes, parents before children.
pub(super) struct Tree {
    pub(super) nodes: Vec<Node>,
}

impl Tree {
    pub(super) fn new() -> Self {
        let kind = NodeKind::Directory { children: BTreeMap::new(), named: false };
        Self { nodes: vec![Node { name: String::new(), parent: ROOT, attributes: Attributes::from(0o755), kind }] }
    }

    /// Adds a directory, or gives its attributes to one that already came into being by a path beneath it.
    pub(super) fn directory(&mut self, path: &str, attributes: Attributes) -> Result<NodeId, WriteError> {
        check_mode(path, attributes)?;
        let id = if path == "/" { ROOT } else { self.directories(path, &components(path)?)? };
        let node = &mut self.nodes[id];
        let NodeKind::Directory { named, .. } = &mut node.kind else {
            return Err(WriteError::Duplicate { path: path.to_owned() });
        };
        if std::mem::replace(named, true) {
            return Err(WriteError::Duplicate { path: path.to_owned() });
        }
        node.attributes = attributes;
        Ok(id)
    }

    /// Adds a file whose data will stand at `block`.
    pub(super) fn file(
        &mut self,
        path: &str,
        attributes: Attributes,
        block: u32,
        size: u64,
    ) -> Result<NodeId, WriteError> {
        check_mode(path, attributes)?;
        self.leaf(path, attributes, NodeKind::File { block, size })
    }

    /// Adds a symbolic link.
    pub(super) fn link(&mut self, path: &str, owner: Owner, target: &str) -> Result<NodeId, WriteError> {
        let names = target.strip_prefix('/').unwrap_or(target);
        let whole = target == "/" || names.split('/').all(|name| !name.is_empty() && name.len() <= MAX_NAME);
        if !whole || target.len() > MAX_LINK || target.contains('\0') {
            return Err(WriteError::BadTarget { path: path.to_owned(), target: target.to_owned() });
        }
        self.leaf(path, Attributes { mode: 0o777, owner }, NodeKind::Link(target.to_owned()))
    }

    /// The path of a node, from `/` on.
    pub(super) fn path(&self, id: NodeId) -> String {
        let node = &self.nodes[id];
        match (id, node.parent) {
            (ROOT, _) => "/".to_owned(),
            (_, ROOT) => format!("/{}", node.name),
            (_, parent) => format!("{}/{}", self.path(parent), node.name),
        }
    }

    fn leaf(&mut self, path: &str, attributes: Attributes, kind: NodeKind) -> Result<NodeId, WriteError> {
        let names = components(path)?;
        let Some((name, parents)) = names.split_last() else {
            return Err(WriteError::BadPath { path: path.to_owned(), why: "it names the root" });
        };
        let parent = self.directories(path, parents)?;
        if self.child(parent, name).is_some() {
            return Err(WriteError::Duplicate { path: path.to_owned() });
        }
        Ok(self.insert(parent, name, attributes, kind))
    }

    /// The directory of these names beneath the root, made where it is missing, root's and with mode 0755.
    fn directories(&mut self, path: &str, names: &[&str]) -> Result<NodeId, WriteError> {
        let mut id = ROOT;
        for name in names {
            id = self.child(id, name).unwrap_or_else(|| {
                let kind = NodeKind::Directory { children: BTreeMap::new(), named: false };
                self.insert(id, name, Attributes::from(0o755), kind)
            });
            if !matches!(self.nodes[id].kind, NodeKind::Directory { .. }) {
                return Err(WriteError::NotADirectory { path: path.to_owned(), parent: self.path(id) });
            }
        }
        Ok(id)
    }

    fn child(&self, id: NodeId, name: &str) -> Option<NodeId> {
        match &self.nodes[id].kind {
            NodeKind::Directory { children, .. } => children.get(name).copied(),
            _ => None,
        }
    }

    fn insert(&mut self, parent: NodeId, name: &str, attributes: Attributes, kind: NodeKind) -> NodeId {
        let id = self.nodes.len();
        self.nodes.push(Node { name: name.to_owned(), parent, attributes, kind });
        if let NodeKind::Directory { children, .. } = &mut self.nodes[parent].kind {
            children.insert(name.to_owned(), id);
        }
        id
    }
}

/// The names of an absolute, plain path.
fn components(path: &str) -> Result<Vec<&str>, WriteError> {
    let bad = |why| Err(WriteError::BadPath { path: path.to_owned(), why });
    let Some(relative) = path.strip_prefix('/') else { return bad("it does not start with /") };
    let names: Vec<_> = relative.split('/').collect();
    if path.len() > MAX_PATH {
        return bad("it is longer than 4095 bytes");
    }
    if names.iter().any(|name| matches!(*name, "" | "." | "..")) {
        return bad("it has an empty name, \".\" or \"..\" in it");
    }
    if names.iter().any(|name| name.len() > MAX_NAME) {
        return bad("a name in it is longer than 253 bytes");
    }
    if path.contains('\0') {
        return bad("it has a NUL in it");
    }
    Ok(names)
}

fn check_mode(path: &str, Attributes { mode, .. }: Attributes) -> Result<(), WriteError> {
    if mode & !0o777 == 0 { Ok(()) } else { Err(WriteError::BadMode { path: path.to_owned(), mode }) }
}
