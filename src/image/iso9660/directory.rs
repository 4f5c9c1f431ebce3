//! Directory records, directory extents and path tables (ECMA-119 6.8, 6.9, 9.1, 9.4).

use std::collections::HashMap;

use super::fields::{both16, both32};
use super::names::{Identifier, Identifiers};
use super::rock_ridge::{self, Continuation, DIRECTORY, FILE, Field, LINK};
use super::tree::{NodeId, NodeKind, ROOT, Tree};
use super::{BLOCK, BLOCK_BYTES, MAX_EXTENT, Time, WriteError, blocks};

/// Size of the root's record in the volume descriptor.
pub(super) const ROOT_RECORD_SIZE: usize = 34;
/// Size of a record before its identifier.
pub(super) const RECORD_HEAD: usize = 33;
/// Largest record: an even number in one byte.
const MAX_RECORD: usize = 254;
/// Bits of the file flags.
pub(super) const FLAG_DIRECTORY: u8 = 0x02;
/// A file that belongs to another one of the same name (Apple's resource forks).
pub(super) const FLAG_ASSOCIATED: u8 = 0x04;
pub(super) const FLAG_GOES_ON: u8 = 0x80;
/// Identifiers of a directory itself and of its parent.
const SELF: &[u8] = &[0];
const UP: &[u8] = &[1];

/// Where a file or directory stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) block: u32,
    /// In bytes.
    pub(super) size: u32,
}

/// The encoded directories of a tree.
pub(super) struct Directories {
    /// Path tables, directories and continuation areas, in whole blocks.
    pub(super) bytes: Vec<u8>,
    pub(super) path_table_size: u32,
    pub(super) path_tables: [u32; 2],
    pub(super) root: [u8; ROOT_RECORD_SIZE],
}

/// Encodes all directories of `tree`, to stand from `first_block` on.
pub(super) fn encode(tree: &Tree, time: Time, first_block: u32) -> Result<Directories, WriteError> {
    let order = Order::new(tree);
    // No record's length depends on where things stand: a first pass measures, the second has every place.
    let mut places = Places::default();
    let path_table_size = order.path_table(&places, u32::to_le_bytes)?.len();
    let table_blocks = count(blocks(path_table_size as u64))?;
    let measured = order.directories(tree, time, &places)?;
    let big_endian = add(first_block, table_blocks)?;
    let mut next = add(big_endian, table_blocks)?;
    for (id, directory) in order.ids.iter().zip(&measured.extents) {
        places.extents.insert(*id, Extent { block: next, size: count(directory.len() as u64)? });
        next = add(next, count(blocks(directory.len() as u64))?)?;
    }
    places.continuation = next;
    add(next, count(blocks(measured.continuation.len() as u64))?)?;

    let mut bytes = Vec::new();
    for encode in [u32::to_le_bytes, u32::to_be_bytes] {
        bytes.extend(order.path_table(&places, encode)?);
        bytes.resize(bytes.len().next_multiple_of(BLOCK_BYTES), 0);
    }
    let encoded = order.directories(tree, time, &places)?;
    bytes.extend(encoded.extents.concat());
    bytes.extend(encoded.continuation);
    let root = record(places.extent(ROOT), time, FLAG_DIRECTORY, SELF, &[]);
    Ok(Directories {
        bytes,
        path_table_size: count(path_table_size as u64)?,
        path_tables: [first_block, big_endian],
        root: root.first_chunk().copied().ok_or(WriteError::TooLarge)?,
    })
}

/// Where directories and continuation areas stand; all zeros while sizes are measured.
#[derive(Default)]
struct Places {
    extents: HashMap<NodeId, Extent>,
    continuation: u32,
}

impl Places {
    fn extent(&self, id: NodeId) -> Extent {
        self.extents.get(&id).copied().unwrap_or_default()
    }
}

/// Encoded directory extents in the order of the path table, and all continuation areas.
struct Encoded {
    extents: Vec<Vec<u8>>,
    continuation: Vec<u8>,
}

/// The identifiers of all nodes and the order of directories: by level, parent and identifier (ECMA-119 6.9.1).
struct Order {
    ids: Vec<NodeId>,
    /// Children of each of `ids`, sorted.
    children: Vec<Vec<(Identifier, NodeId)>>,
    identifiers: HashMap<NodeId, Vec<u8>>,
}

impl Order {
    fn new(tree: &Tree) -> Self {
        let mut order = Self { ids: vec![ROOT], children: Vec::new(), identifiers: HashMap::new() };
        let mut at = 0;
        while let Some(id) = order.ids.get(at) {
            let children = sorted_children(tree, *id);
            let is_directory = |id: &NodeId| matches!(tree.nodes[*id].kind, NodeKind::Directory { .. });
            for (identifier, child) in children.iter().filter(|(_, child)| is_directory(child)) {
                order.ids.push(*child);
                order.identifiers.insert(*child, identifier.bytes());
            }
            order.children.push(children);
            at += 1;
        }
        order
    }

    fn path_table(&self, places: &Places, encode: fn(u32) -> [u8; 4]) -> Result<Vec<u8>, WriteError> {
        let little_endian = encode(1) == u32::to_le_bytes(1);
        let mut numbers = HashMap::new();
        for (id, number) in self.ids.iter().zip(1..) {
            numbers.insert(*id, u16::try_from(number).map_err(|_| WriteError::TooManyDirectories)?);
        }
        let mut parents = HashMap::from([(ROOT, 1)]);
        for (id, children) in self.ids.iter().zip(&self.children) {
            parents.extend(children.iter().map(|(_, child)| (*child, numbers.get(id).copied().unwrap_or(1))));
        }
        let mut table = Vec::new();
        for id in &self.ids {
            let identifier = self.identifiers.get(id).map_or(SELF, Vec::as_slice);
            let parent: u16 = parents.get(id).copied().unwrap_or(1);
            table.extend([u8::try_from(identifier.len()).unwrap_or(u8::MAX), 0]);
            table.extend(encode(places.extent(*id).block));
            table.extend(if little_endian { parent.to_le_bytes() } else { parent.to_be_bytes() });
            table.extend(identifier);
            table.resize(table.len().next_multiple_of(2), 0);
        }
        Ok(table)
    }

    fn directories(&self, tree: &Tree, time: Time, places: &Places) -> Result<Encoded, WriteError> {
        let mut continuation = Continuation::new(places.continuation);
        let mut extents = Vec::new();
        for (id, children) in self.ids.iter().zip(&self.children) {
            let mut encoder = Encoder { tree, time, places, continuation: &mut continuation, extent: Vec::new() };
            encoder.directory(*id, children)?;
            let mut extent = encoder.extent;
            extent.resize(extent.len().next_multiple_of(BLOCK_BYTES), 0);
            extents.push(extent);
        }
        Ok(Encoded { extents, continuation: continuation.into_blocks() })
    }
}

fn sorted_children(tree: &Tree, id: NodeId) -> Vec<(Identifier, NodeId)> {
    let NodeKind::Directory { children, .. } = &tree.nodes[id].kind else { return Vec::new() };
    let mut identifiers = Identifiers::default();
    let identify = |(name, child): (&String, &NodeId)| {
        let directory = matches!(tree.nodes[*child].kind, NodeKind::Directory { .. });
        (identifiers.assign(name, directory), *child)
    };
    let mut sorted: Vec<_> = children.iter().map(identify).collect();
    sorted.sort();
    sorted
}

/// Encodes one directory.
struct Encoder<'a> {
    tree: &'a Tree,
    time: Time,
    places: &'a Places,
    continuation: &'a mut Continuation,
    extent: Vec<u8>,
}

impl Encoder<'_> {
    fn directory(&mut self, id: NodeId, children: &[(Identifier, NodeId)]) -> Result<(), WriteError> {
        let mut fields = if id == ROOT { vec![rock_ridge::sp()] } else { Vec::new() };
        fields.extend(self.attributes(id));
        if id == ROOT {
            fields.push(rock_ridge::er());
        }
        self.push(self.places.extent(id), FLAG_DIRECTORY, SELF, &fields);
        let parent = self.tree.nodes[id].parent;
        self.push(self.places.extent(parent), FLAG_DIRECTORY, UP, &self.attributes(parent));
        for (identifier, child) in children {
            self.child(*child, &identifier.bytes())?;
        }
        Ok(())
    }

    fn child(&mut self, id: NodeId, identifier: &[u8]) -> Result<(), WriteError> {
        let node = &self.tree.nodes[id];
        let mut fields = self.attributes(id);
        fields.extend(rock_ridge::nm(&node.name));
        match &node.kind {
            NodeKind::Directory { .. } => self.push(self.places.extent(id), FLAG_DIRECTORY, identifier, &fields),
            NodeKind::Link(target) => {
                fields.extend(rock_ridge::sl(target));
                self.push(Extent::default(), 0, identifier, &fields);
            }
            NodeKind::File { block, size } => {
                let mut block = *block;
                let mut left = *size;
                while left > MAX_EXTENT {
                    self.push(Extent { block, size: count(MAX_EXTENT)? }, FLAG_GOES_ON, identifier, &fields);
                    block = add(block, count(MAX_EXTENT / BLOCK)?)?;
                    left -= MAX_EXTENT;
                }
                self.push(Extent { block, size: count(left)? }, 0, identifier, &fields);
            }
        }
        Ok(())
    }

    /// Adds a record; none crosses a block.
    fn push(&mut self, extent: Extent, flags: u8, identifier: &[u8], fields: &[Field]) {
        let head = (RECORD_HEAD + identifier.len()).next_multiple_of(2);
        let system_use = self.continuation.pack(fields, MAX_RECORD - head);
        let record = record(extent, self.time, flags, identifier, &system_use);
        let free = self.extent.len().next_multiple_of(BLOCK_BYTES) - self.extent.len();
        if record.len() > free {
            self.extent.resize(self.extent.len() + free, 0);
        }
        self.extent.extend(record);
    }

    /// PX and TF.
    fn attributes(&self, id: NodeId) -> Vec<Field> {
        let node = &self.tree.nodes[id];
        let is_directory = |id: &&NodeId| matches!(self.tree.nodes[**id].kind, NodeKind::Directory { .. });
        let (kind, links) = match &node.kind {
            NodeKind::Directory { children, .. } => (DIRECTORY, 2 + children.values().filter(is_directory).count()),
            NodeKind::File { .. } => (FILE, 1),
            NodeKind::Link(_) => (LINK, 1),
        };
        let number = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
        vec![
            rock_ridge::px(kind | node.attributes.mode, number(links), node.attributes.owner, number(id + 1)),
            rock_ridge::tf(self.time),
        ]
    }
}

/// A directory record, of an even length.
fn record(extent: Extent, time: Time, flags: u8, identifier: &[u8], system_use: &[u8]) -> Vec<u8> {
    let mut record = Vec::with_capacity(MAX_RECORD);
    record.extend_from_slice(&[0, 0]);
    record.extend_from_slice(&both32(extent.block));
    record.extend_from_slice(&both32(extent.size));
    record.extend_from_slice(&time.record());
    record.extend_from_slice(&[flags, 0, 0]);
    record.extend_from_slice(&both16(1));
    record.push(u8::try_from(identifier.len()).unwrap_or(u8::MAX));
    record.extend_from_slice(identifier);
    record.resize(record.len().next_multiple_of(2), 0);
    record.extend_from_slice(system_use);
    record.resize(record.len().next_multiple_of(2), 0);
    record[0] = u8::try_from(record.len()).unwrap_or(u8::MAX);
    record
}

fn count(value: u64) -> Result<u32, WriteError> {
    u32::try_from(value).map_err(|_| WriteError::TooLarge)
}

fn add(a: u32, b: u32) -> Result<u32, WriteError> {
    a.checked_add(b).ok_or(WriteError::TooLarge)
}
