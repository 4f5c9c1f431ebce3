//! Reads images: strictly, within bounds, and without a panic on any bytes.

use std::io::{self, Read};

use super::descriptors::{Descriptor, PRIMARY, Volume};
use super::directory::{Extent, ROOT_RECORD_SIZE};
use super::walk::{Rules, Walk};
use super::{BLOCK, BLOCK_BYTES, Owner, Source, Time};
use crate::printable;

/// Files are read in pieces of this size.
const PIECE: usize = 128 << 10;

/// What is wrong with an image.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Not an image as we know them.
    #[error("the image is malformed: {why}")]
    Descriptor {
        /// What is wrong.
        why: &'static str,
    },
    /// A directory that does not hold together.
    #[error("the image is malformed in {}: {why}", printable::line(path))]
    Directory {
        /// The directory or entry.
        path: String,
        /// What is wrong.
        why: &'static str,
    },
    /// More than we are ready to read.
    #[error("the image holds too many entries")]
    TooMany,
    /// The image could not be read.
    #[error("cannot read the image")]
    Io {
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl ReadError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Io { .. } => None,
            _ => Some("the image was not made by nodebake, or it is damaged: build it again".to_owned()),
        }
    }
}

/// What stands at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A directory.
    Directory,
    /// A regular file.
    File,
    /// A symbolic link to this target.
    Link(String),
    /// A device, pipe or socket, in others' images: its letter in `ls -l`.
    Special(char),
}

/// One file, link or directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Absolute path.
    pub path: String,
    /// What stands there.
    pub kind: Kind,
    /// Permission bits, set-id and sticky bits.
    pub mode: u32,
    /// Who owns it.
    pub owner: Owner,
    /// Size of a file's data in bytes; 0 for anything else.
    pub size: u64,
    /// When it was last modified.
    pub modified: Time,
    pub(super) extents: Vec<Extent>,
}

impl Entry {
    /// Where a file's data stands in the image: offsets and sizes in bytes, in the order of the data.
    pub fn spans(&self) -> impl Iterator<Item = (u64, u64)> {
        self.extents.iter().map(|extent| (u64::from(extent.block) * BLOCK, extent.size.into()))
    }
}

/// An image whose directories were read and found in order.
pub struct Image<S> {
    source: S,
    volume: Volume,
    entries: Vec<Entry>,
}

impl<S: Source> Image<S> {
    /// Reads descriptors and all directories of an image of ours: whatever our writer would not write is an error.
    pub fn open(source: S) -> Result<Self, ReadError> {
        Self::open_by(Rules::Ours, source)
    }

    /// The same of an image that anybody made, as the Linux kernel would show it: where it has no Rock Ridge, names come
    /// from Joliet, or else from ISO 9660 itself. Names that are no UTF-8 have U+FFFD in them.
    pub fn open_any(source: S) -> Result<Self, ReadError> {
        Self::open_by(Rules::Any, source)
    }

    fn open_by(rules: Rules, source: S) -> Result<Self, ReadError> {
        let size = source.size().map_err(|source| ReadError::Io { source })?;
        if size < (PRIMARY + 2) * BLOCK {
            return Err(ReadError::Descriptor { why: "it is too short" });
        }
        let volume = Volume::decode(&block(&source, PRIMARY)?, size, rules);
        let volume = volume.map_err(|why| ReadError::Descriptor { why })?;
        let blocks = if rules == Rules::Ours { volume.blocks.into() } else { super::blocks(size) };
        let joliet = other_descriptors(&source, blocks)?;
        let mut entries = Walk::new(&source, rules, blocks).run(&volume.root, joliet.as_ref().map(|root| &root[..]))?;
        entries.sort_by(|a, b| a.path.cmp(&b.path));
        if let Some(pair) = entries.windows(2).find(|pair| pair[0].path == pair[1].path) {
            return Err(ReadError::Directory { path: pair[0].path.clone(), why: "it is there twice" });
        }
        Ok(Self { source, volume, entries })
    }

    /// The volume's label.
    pub fn label(&self) -> &str {
        &self.volume.label
    }

    /// The volume's UUID as blkid has it: the date of its modification, else of its creation, down to hundredths of a
    /// second. None if neither is a date.
    pub fn uuid(&self) -> Option<String> {
        self.volume.uuid()
    }

    /// Size of the volume in bytes; the image may have padding behind it.
    pub fn size(&self) -> u64 {
        u64::from(self.volume.blocks) * BLOCK
    }

    /// Everything in the image, the root included, sorted by path (bytewise).
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// What stands at an absolute path.
    pub fn entry(&self, path: &str) -> Option<&Entry> {
        self.entries.binary_search_by(|entry| entry.path.as_str().cmp(path)).ok().map(|at| &self.entries[at])
    }

    /// What stands at a byte that is no file's data, in words.
    pub fn part_at(&self, byte: u64) -> &'static str {
        let (number, offset) = (byte / BLOCK, usize::try_from(byte % BLOCK).unwrap_or_default());
        let holds = |extent: &Extent| {
            let start = u64::from(extent.block);
            (start..start + super::blocks(extent.size.into())).contains(&number)
        };
        let is_padding = self.entries.iter().any(|entry| entry.extents.iter().any(holds));
        match number {
            0..PRIMARY => "the system area",
            PRIMARY => Volume::field_at(offset),
            _ if number == PRIMARY + 1 => "the end of the descriptors",
            _ if is_padding => "the padding of a file",
            _ => "the path tables and directories",
        }
    }

    /// Reads a file's data; of a link or directory nothing.
    pub fn file<'a>(&'a self, entry: &'a Entry) -> FileReader<'a, S> {
        FileReader { source: &self.source, extents: &entry.extents, done: 0 }
    }

    /// All data of a file of at most `limit` bytes; none if it is larger.
    pub fn read(&self, entry: &Entry, limit: u64) -> Result<Option<Vec<u8>>, ReadError> {
        if entry.size > limit {
            return Ok(None);
        }
        let mut data = Vec::new();
        self.file(entry).read_to_end(&mut data).map_err(|source| ReadError::Io { source })?;
        Ok(Some(data))
    }
}

/// Reads the data of one file.
pub struct FileReader<'a, S> {
    source: &'a S,
    extents: &'a [Extent],
    /// Bytes of the first extent that were read.
    done: u32,
}

impl<S: Source> Read for FileReader<'_, S> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        while let [extent, rest @ ..] = self.extents {
            let left = usize::try_from(extent.size - self.done).unwrap_or(usize::MAX);
            if left == 0 {
                (self.extents, self.done) = (rest, 0);
                continue;
            }
            let count = bytes.len().min(left).min(PIECE);
            self.source.read_exact_at(&mut bytes[..count], u64::from(extent.block) * BLOCK + u64::from(self.done))?;
            self.done += u32::try_from(count).unwrap_or_default();
            return Ok(count);
        }
        Ok(0)
    }
}

/// Other descriptors (boot, supplementary) may follow the primary one; a terminator must. Gives the root record of a
/// Joliet tree if there is one.
fn other_descriptors(source: &impl Source, blocks: u64) -> Result<Option<[u8; ROOT_RECORD_SIZE]>, ReadError> {
    let mut joliet = None;
    for number in PRIMARY + 1..(PRIMARY + 32).min(blocks) {
        match Descriptor::of(&block(source, number)?) {
            Some(Descriptor::Terminator) => return Ok(joliet),
            Some(Descriptor::Joliet { root }) => joliet = joliet.or(Some(root)),
            Some(Descriptor::Other) => {}
            None => break,
        }
    }
    Err(ReadError::Descriptor { why: "no terminator ends the volume descriptors" })
}

/// One whole block.
pub(super) fn block(source: &impl Source, number: u64) -> Result<[u8; BLOCK_BYTES], ReadError> {
    let mut block = [0; BLOCK_BYTES];
    source.read_exact_at(&mut block, number * BLOCK).map_err(|source| ReadError::Io { source })?;
    Ok(block)
}
