//! Reads images: strictly, within bounds, and without a panic on any bytes.

use std::collections::HashSet;
use std::io::{self, Read};

use super::descriptors::{PRIMARY, Volume};
use super::directory::{Extent, FLAG_DIRECTORY, FLAG_GOES_ON, RECORD_HEAD};
use super::fields::{read_both16, read_both32};
use super::rock_ridge::{self, Posix, RockRidge};
use super::{BLOCK, BLOCK_BYTES, MAX_PATH, Owner, Source, Time};

/// Most files, links and directories in an image that we read.
const MAX_ENTRIES: usize = 1 << 20;
/// Most bytes of directories in an image that we read.
const MAX_DIRECTORY_BYTES: u64 = 1 << 28;
/// Most continuation areas of one record; the Linux kernel's bound.
const MAX_CONTINUATIONS: usize = 32;
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
    #[error("the image is malformed in {path}: {why}")]
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
    /// Reads descriptors and all directories.
    pub fn open(source: S) -> Result<Self, ReadError> {
        let size = source.size().map_err(|source| ReadError::Io { source })?;
        if size < (PRIMARY + 2) * BLOCK {
            return Err(ReadError::Descriptor { why: "it is too short" });
        }
        let volume = Volume::decode(&block(&source, PRIMARY)?, size).map_err(|why| ReadError::Descriptor { why })?;
        check_terminator(&source, u64::from(volume.blocks))?;
        let mut entries = Walk::new(&source, volume.blocks).run(&volume.root)?;
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

/// Other descriptors (boot, supplementary) may follow the primary one; a terminator must.
fn check_terminator(source: &impl Source, blocks: u64) -> Result<(), ReadError> {
    for number in PRIMARY + 1..(PRIMARY + 32).min(blocks) {
        let block = block(source, number)?;
        if &block[1..6] != b"CD001" {
            break;
        }
        if block[0] == 0xFF {
            return Ok(());
        }
    }
    Err(ReadError::Descriptor { why: "no terminator ends the volume descriptors" })
}

fn block(source: &impl Source, number: u64) -> Result<[u8; BLOCK_BYTES], ReadError> {
    let mut block = [0; BLOCK_BYTES];
    source.read_exact_at(&mut block, number * BLOCK).map_err(|source| ReadError::Io { source })?;
    Ok(block)
}

/// A directory record and its system use fields.
struct Record {
    identifier: Vec<u8>,
    extent: Extent,
    flags: u8,
    rock_ridge: RockRidge,
}

/// A walk through all directories.
struct Walk<'s, S> {
    source: &'s S,
    blocks: u32,
    entries: Vec<Entry>,
    /// Directories to read yet: path and place.
    waiting: Vec<(String, Extent)>,
    seen: HashSet<u32>,
    directory_bytes: u64,
    /// Bytes before the system use fields of every record but the root's first.
    skip: usize,
}

impl<'s, S: Source> Walk<'s, S> {
    fn new(source: &'s S, blocks: u32) -> Self {
        let (entries, waiting, seen) = (Vec::new(), Vec::new(), HashSet::new());
        Self { source, blocks, entries, waiting, seen, directory_bytes: 0, skip: 0 }
    }

    fn run(mut self, root: &[u8]) -> Result<Vec<Entry>, ReadError> {
        let fail = |why| ReadError::Descriptor { why };
        let extent = Extent {
            block: read_both32(root, 2).ok_or(fail("a wrong root record"))?,
            size: read_both32(root, 10).ok_or(fail("a wrong root record"))?,
        };
        self.waiting.push(("/".to_owned(), extent));
        while let Some((path, extent)) = self.waiting.pop() {
            self.directory(&path, extent).map_err(|error| error.at(&path))?;
        }
        Ok(self.entries)
    }

    fn directory(&mut self, path: &str, extent: Extent) -> Result<(), Fault> {
        self.directory_bytes += u64::from(extent.size);
        if self.directory_bytes > MAX_DIRECTORY_BYTES {
            return Err(Fault::Known(ReadError::TooMany));
        }
        self.check_extent(extent)?;
        if extent.size == 0 || !u64::from(extent.size).is_multiple_of(BLOCK) || !self.seen.insert(extent.block) {
            return Err("a directory of a wrong size or place".into());
        }
        let mut records = Vec::new();
        for number in 0..extent.size / 2048 {
            let block = block(self.source, u64::from(extent.block) + u64::from(number)).map_err(Fault::Known)?;
            self.records(&block, path == "/", &mut records)?;
        }
        let mut records = records.into_iter();
        match (records.next(), records.next()) {
            (Some(own), Some(up)) if own.identifier == [0] && up.identifier == [1] && own.extent == extent => {
                if path == "/" {
                    self.add("/".to_owned(), &own, Vec::new())?;
                }
            }
            _ => return Err("it does not begin with itself and its parent".into()),
        }
        self.children(path, records)
    }

    /// Joins the records of one file and adds what they describe.
    fn children(&mut self, path: &str, records: impl Iterator<Item = Record>) -> Result<(), Fault> {
        let mut open: Option<(Vec<u8>, Vec<Extent>)> = None;
        for record in records {
            let mut extents = match open.take() {
                Some((identifier, extents)) if identifier == record.identifier => extents,
                Some(_) => return Err("the parts of a file are not together".into()),
                None => Vec::new(),
            };
            if record.extent.size > 0 {
                self.check_extent(record.extent)?;
                extents.push(record.extent);
            }
            if record.flags & FLAG_GOES_ON != 0 {
                if !u64::from(record.extent.size).is_multiple_of(BLOCK) || extents.len() > usize::from(u16::MAX) {
                    return Err("a part of a file has a wrong size".into());
                }
                open = Some((record.identifier, extents));
            } else {
                let name = record.rock_ridge.name.as_deref().ok_or("an entry without a Rock Ridge name")?;
                let name = std::str::from_utf8(name).map_err(|_| "a name that is not UTF-8")?;
                if matches!(name, "" | "." | "..") || name.contains(['/', '\0']) {
                    return Err("a name that no file can have".into());
                }
                self.add(format!("{}/{name}", path.trim_end_matches('/')), &record, extents)?;
            }
        }
        if open.is_some() { Err("the last part of a file is missing".into()) } else { Ok(()) }
    }

    fn add(&mut self, path: String, record: &Record, extents: Vec<Extent>) -> Result<(), Fault> {
        if self.entries.len() == MAX_ENTRIES {
            return Err(Fault::Known(ReadError::TooMany));
        }
        if path.len() > MAX_PATH {
            return Err("a path is longer than 4095 bytes".into());
        }
        let Posix { mode, owner, .. } = record.rock_ridge.posix.ok_or("an entry without attributes (PX)")?;
        let modified = record.rock_ridge.modified.ok_or("an entry without a time (TF)")?;
        let is_directory = record.flags & FLAG_DIRECTORY != 0;
        let link = record.rock_ridge.link.as_deref();
        let kind = match (mode & rock_ridge::TYPE_MASK, is_directory, link) {
            (rock_ridge::DIRECTORY, true, None) => Kind::Directory,
            (rock_ridge::FILE, false, None) => Kind::File,
            (rock_ridge::LINK, false, Some(target)) if !target.is_empty() && !target.contains(&0) => {
                Kind::Link(String::from_utf8(target.to_vec()).map_err(|_| "a link target that is not UTF-8")?)
            }
            _ => return Err("an entry that is no file, link or directory".into()),
        };
        let extents = if kind == Kind::File { extents } else { Vec::new() };
        if is_directory && path != "/" {
            self.waiting.push((path.clone(), record.extent));
        }
        let size = extents.iter().map(|extent| u64::from(extent.size)).sum();
        self.entries.push(Entry { path, kind, mode: mode & 0o7777, owner, size, modified, extents });
        Ok(())
    }

    /// All records in one block of a directory.
    fn records(&mut self, block: &[u8], root: bool, records: &mut Vec<Record>) -> Result<(), Fault> {
        let mut rest = block;
        while let Some(size) = rest.first().copied().filter(|size| *size > 0) {
            let (record, after) = rest.split_at_checked(usize::from(size)).ok_or("a record crosses a block")?;
            if records.len() == MAX_ENTRIES {
                return Err(Fault::Known(ReadError::TooMany));
            }
            records.push(self.record(record, root && records.is_empty())?);
            rest = after;
        }
        if rest.iter().all(|byte| *byte == 0) { Ok(()) } else { Err("there is something between two records".into()) }
    }

    fn record(&mut self, record: &[u8], first_of_root: bool) -> Result<Record, Fault> {
        let &[_, attributes, .., flags, unit, gap, _, _, _, _, length] =
            record.first_chunk::<RECORD_HEAD>().ok_or("a record is too short")?;
        let extent = Extent {
            block: read_both32(record, 2).ok_or("a record's place differs between byte orders")?,
            size: read_both32(record, 10).ok_or("a record's size differs between byte orders")?,
        };
        if (attributes, unit, gap) != (0, 0, 0) || read_both16(record, 28) != Some(1) {
            return Err("extended attributes, interleaving and sets of volumes are not supported".into());
        }
        if flags & !(FLAG_DIRECTORY | FLAG_GOES_ON) != 0 || flags == FLAG_DIRECTORY | FLAG_GOES_ON {
            return Err("a record with flags that are not supported".into());
        }
        let end = RECORD_HEAD + usize::from(length);
        let identifier = record.get(RECORD_HEAD..end).filter(|id| !id.is_empty()).ok_or("a wrong identifier")?.to_vec();
        let mut system_use = record.get(end.next_multiple_of(2)..).unwrap_or_default();
        if !first_of_root {
            system_use = system_use.get(self.skip..).unwrap_or_default();
        }
        let rock_ridge = self.rock_ridge(system_use)?;
        if first_of_root {
            self.skip = rock_ridge.skip.ok_or("no Rock Ridge")?.into();
        } else if rock_ridge.skip.is_some() {
            return Err("a SP field in the wrong place".into());
        }
        Ok(Record { identifier, extent, flags, rock_ridge })
    }

    /// Follows the fields through their continuation areas.
    fn rock_ridge(&self, system_use: &[u8]) -> Result<RockRidge, Fault> {
        let mut fields = RockRidge::default();
        fields.parse(system_use)?;
        for _ in 0..MAX_CONTINUATIONS {
            let Some((number, offset, size)) = fields.next.take() else {
                return if fields.is_whole() { Ok(fields) } else { Err("a name or link is cut off".into()) };
            };
            self.check_extent(Extent { block: number, size: 2048 })?;
            let block = block(self.source, number.into()).map_err(Fault::Known)?;
            let start = usize::try_from(offset).unwrap_or(usize::MAX);
            let end = start.saturating_add(usize::try_from(size).unwrap_or(usize::MAX));
            fields.parse(block.get(start..end).ok_or("a continuation area crosses a block")?)?;
        }
        Err("too many continuation areas".into())
    }

    fn check_extent(&self, extent: Extent) -> Result<(), Fault> {
        let end = u64::from(extent.block) + super::blocks(extent.size.into());
        if end > u64::from(self.blocks) { Err("something stands outside of the volume".into()) } else { Ok(()) }
    }
}

/// A fault in a directory whose path is added on the way out.
enum Fault {
    Why(&'static str),
    Known(ReadError),
}

impl Fault {
    fn at(self, path: &str) -> ReadError {
        match self {
            Self::Why(why) => ReadError::Directory { path: path.to_owned(), why },
            Self::Known(error) => error,
        }
    }
}

impl From<&'static str> for Fault {
    fn from(why: &'static str) -> Self {
        Self::Why(why)
    }
}
