//! A walk through the directories of an image that nobody vouches for: within its bounds, without loops, and with an end to
//! what it holds in memory.

use std::collections::HashSet;

use super::directory::{Extent, FLAG_ASSOCIATED, FLAG_DIRECTORY, FLAG_GOES_ON, RECORD_HEAD};
use super::fields::{little_endian, read_both16, read_both32};
use super::reader::{Entry, Kind, ReadError, block};
use super::rock_ridge::{self, Posix, RockRidge};
use super::{BLOCK, MAX_PATH, Owner, Source, Time};

/// Most files, links and directories in an image that we read.
const MAX_ENTRIES: usize = 1 << 20;
/// Most bytes of directories and of continuation areas in an image that we read.
const MAX_DIRECTORY_BYTES: u64 = 1 << 28;
/// Most bytes of all paths and link targets together.
const MAX_TEXT: usize = 1 << 28;
/// Most continuation areas of one record; the Linux kernel's bound.
const MAX_CONTINUATIONS: usize = 32;

/// Modes of what has no Rock Ridge attributes, as the Linux kernel shows it.
const PLAIN_DIRECTORY: u32 = 0o555;
const PLAIN_FILE: u32 = 0o444;

/// Whose images are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rules {
    /// Ours: whatever our writer would not write is a fault.
    Ours,
    /// Anybody's: with what the Linux kernel reads too, such as images without Rock Ridge and relocated directories.
    Any,
}

impl Rules {
    /// A number that is recorded in both byte orders; others' big-endian halves are not looked at.
    pub(super) fn number32(self, bytes: &[u8], at: usize) -> Option<u32> {
        match self {
            Self::Ours => read_both32(bytes, at),
            Self::Any => little_endian(bytes, at).map(u32::from_le_bytes),
        }
    }

    /// The same of 16 bits.
    pub(super) fn number16(self, bytes: &[u8], at: usize) -> Option<u16> {
        match self {
            Self::Ours => read_both16(bytes, at),
            Self::Any => little_endian(bytes, at).map(u16::from_le_bytes),
        }
    }

    fn text(self, bytes: Vec<u8>, why: &'static str) -> Result<String, &'static str> {
        match (self, String::from_utf8(bytes)) {
            (_, Ok(text)) => Ok(text),
            (Self::Ours, Err(_)) => Err(why),
            (Self::Any, Err(error)) => Ok(String::from_utf8_lossy(error.as_bytes()).into_owned()),
        }
    }
}

/// Where the name of an entry stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Naming {
    /// In system use fields, which begin so many bytes after the identifier.
    RockRidge { skip: usize },
    /// In the identifier, UCS-2 (Joliet).
    Joliet,
    /// In the identifier.
    Plain,
}

/// A directory record and its system use fields.
struct Record {
    identifier: Vec<u8>,
    extent: Extent,
    flags: u8,
    recorded: [u8; 7],
    rock_ridge: RockRidge,
}

/// A walk through all directories.
pub(super) struct Walk<'s, S> {
    source: &'s S,
    rules: Rules,
    /// Blocks that there are.
    blocks: u64,
    naming: Naming,
    entries: Vec<Entry>,
    /// Directories to read yet: path and place.
    waiting: Vec<(String, Extent)>,
    seen: HashSet<u32>,
    directory_bytes: u64,
    text: usize,
}

impl<'s, S: Source> Walk<'s, S> {
    pub(super) fn new(source: &'s S, rules: Rules, blocks: u64) -> Self {
        let (entries, waiting, seen) = (Vec::new(), Vec::new(), HashSet::new());
        let naming = Naming::Plain;
        Self { source, rules, blocks, naming, entries, waiting, seen, directory_bytes: 0, text: 0 }
    }

    /// Everything beneath the directory of a root record; beneath that of Joliet's where it is there and Rock Ridge is not.
    pub(super) fn run(mut self, root: &[u8], joliet: Option<&[u8]>) -> Result<Vec<Entry>, ReadError> {
        let fail = |why| ReadError::Descriptor { why };
        let place = |rules: Rules, root: &[u8]| {
            let (block, size) = (rules.number32(root, 2), rules.number32(root, 10));
            block.zip(size).map(|(block, size)| Extent { block, size }).ok_or(fail("a wrong root record"))
        };
        let mut extent = place(self.rules, root)?;
        let skip = self.announced(extent).map_err(|fault| fault.at("/"))?;
        self.naming = match (skip, joliet, self.rules) {
            (Some(skip), ..) => Naming::RockRidge { skip: skip.into() },
            (None, _, Rules::Ours) => return Err(Fault::Why("no Rock Ridge").at("/")),
            (None, Some(root), Rules::Any) => {
                extent = place(self.rules, root)?;
                Naming::Joliet
            }
            (None, None, Rules::Any) => Naming::Plain,
        };
        self.waiting.push(("/".to_owned(), extent));
        while let Some((path, extent)) = self.waiting.pop() {
            self.directory(&path, extent).map_err(|fault| fault.at(&path))?;
        }
        Ok(self.entries)
    }

    /// What the SP field of the root's first record says, if there is one: that Rock Ridge is in use.
    fn announced(&self, root: Extent) -> Result<Option<u8>, Fault> {
        self.check_extent(Extent { size: 2048, ..root })?;
        let block = block(self.source, root.block.into()).map_err(Fault::Known)?;
        // The root's identifier is one byte: its fields begin there.
        Ok(match block[RECORD_HEAD + 1..] {
            [b'S', b'P', 7, 1, 0xBE, 0xEF, skip, ..] => Some(skip),
            _ => None,
        })
    }

    /// The record of a directory itself.
    fn first_record(&mut self, number: u32) -> Result<Record, Fault> {
        self.check_extent(Extent { block: number, size: 2048 })?;
        let block = block(self.source, number.into()).map_err(Fault::Known)?;
        let record = block.get(..usize::from(block[0])).unwrap_or_default();
        let record = self.record(record, false)?;
        if record.identifier == [0] { Ok(record) } else { Err("it does not begin with itself and its parent".into()) }
    }

    fn directory(&mut self, path: &str, extent: Extent) -> Result<(), Fault> {
        self.take_bytes(extent.size.into())?;
        self.check_extent(extent)?;
        let whole = u64::from(extent.size).is_multiple_of(BLOCK) || self.rules == Rules::Any;
        if extent.size == 0 || !whole || !self.seen.insert(extent.block) {
            return Err("a directory of a wrong size or place".into());
        }
        let mut records = Vec::new();
        for number in 0..super::blocks(extent.size.into()) {
            let block = block(self.source, u64::from(extent.block) + number).map_err(Fault::Known)?;
            self.records(&block, path == "/", &mut records)?;
        }
        let mut records = records.into_iter();
        match (records.next(), records.next()) {
            (Some(own), Some(up)) if own.identifier == [0] && up.identifier == [1] && self.is_at(&own, extent) => {
                if path == "/" {
                    self.add("/".to_owned(), own, Vec::new())?;
                }
            }
            _ => return Err("it does not begin with itself and its parent".into()),
        }
        self.children(path, records)
    }

    fn is_at(&self, own: &Record, extent: Extent) -> bool {
        own.extent == extent || (self.rules == Rules::Any && own.extent.block == extent.block)
    }

    /// Joins the records of one file and adds what they describe.
    fn children(&mut self, path: &str, records: impl Iterator<Item = Record>) -> Result<(), Fault> {
        let mut open: Option<(Vec<u8>, Vec<Extent>)> = None;
        for mut record in records {
            if record.rock_ridge.moved || record.flags & FLAG_ASSOCIATED != 0 {
                continue;
            }
            let mut extents = match open.take() {
                Some((identifier, extents)) if identifier == record.identifier => extents,
                Some(_) => return Err("the parts of a file are not together".into()),
                None => Vec::new(),
            };
            if record.extent.size > 0 && record.rock_ridge.child.is_none() {
                self.check_extent(record.extent)?;
                extents.push(record.extent);
            }
            if record.flags & FLAG_GOES_ON != 0 {
                if !u64::from(record.extent.size).is_multiple_of(BLOCK) || extents.len() > usize::from(u16::MAX) {
                    return Err("a part of a file has a wrong size".into());
                }
                open = Some((record.identifier, extents));
            } else {
                let name = self.name(&mut record)?;
                if let Some(place) = record.rock_ridge.child {
                    record = self.first_record(place)?;
                }
                self.add(format!("{}/{name}", path.trim_end_matches('/')), record, extents)?;
            }
        }
        if open.is_some() { Err("the last part of a file is missing".into()) } else { Ok(()) }
    }

    fn name(&self, record: &mut Record) -> Result<String, Fault> {
        let plain = std::mem::take(&mut record.identifier);
        let name = match (self.naming, record.rock_ridge.name.take(), self.rules) {
            (Naming::RockRidge { .. }, Some(name), _) => self.rules.text(name, "a name that is not UTF-8")?,
            (Naming::RockRidge { .. }, None, Rules::Ours) => return Err("an entry without a Rock Ridge name".into()),
            (Naming::Joliet, ..) => {
                let (units, []) = plain.as_chunks::<2>() else { return Err("a Joliet name of an odd length".into()) };
                let units: Vec<_> = units.iter().map(|unit| u16::from_be_bytes(*unit)).collect();
                unversioned(&String::from_utf16_lossy(&units))
            }
            (Naming::RockRidge { .. } | Naming::Plain, ..) => unversioned(&String::from_utf8_lossy(&plain)),
        };
        if matches!(name.as_str(), "" | "." | "..") || name.contains(['/', '\0']) {
            return Err("a name that no file can have".into());
        }
        Ok(name)
    }

    fn add(&mut self, path: String, record: Record, extents: Vec<Extent>) -> Result<(), Fault> {
        if path.len() > MAX_PATH {
            return Err("a path is longer than 4095 bytes".into());
        }
        let Record { extent, flags, recorded, rock_ridge, .. } = record;
        let is_directory = flags & FLAG_DIRECTORY != 0;
        let (posix, modified) = match self.rules {
            Rules::Ours => (
                rock_ridge.posix.ok_or("an entry without attributes (PX)")?,
                rock_ridge.modified.ok_or("an entry without a time (TF)")?,
            ),
            Rules::Any => (
                rock_ridge.posix.unwrap_or_else(|| unattributed(is_directory)),
                rock_ridge.modified.or_else(|| Time::from_record(recorded)).unwrap_or(Time::UNKNOWN),
            ),
        };
        let kind = self.kind(posix.mode, is_directory, rock_ridge.link)?;
        self.text += path.len() + if let Kind::Link(target) = &kind { target.len() } else { 0 };
        if self.entries.len() == MAX_ENTRIES || self.text > MAX_TEXT {
            return Err(Fault::Known(ReadError::TooMany));
        }
        let extents = if kind == Kind::File { extents } else { Vec::new() };
        if is_directory && path != "/" {
            self.waiting.push((path.clone(), extent));
        }
        let size = extents.iter().map(|extent| u64::from(extent.size)).sum();
        let (mode, owner) = (posix.mode & 0o7777, posix.owner);
        self.entries.push(Entry { path, kind, mode, owner, size, modified, extents });
        Ok(())
    }

    fn kind(&self, mode: u32, is_directory: bool, link: Option<Vec<u8>>) -> Result<Kind, Fault> {
        match (mode & rock_ridge::TYPE_MASK, is_directory, link) {
            (rock_ridge::DIRECTORY, true, None) => Ok(Kind::Directory),
            (rock_ridge::FILE, false, None) => Ok(Kind::File),
            (rock_ridge::LINK, false, Some(target)) if !target.is_empty() && !target.contains(&0) => {
                Ok(Kind::Link(self.rules.text(target, "a link target that is not UTF-8")?))
            }
            (kind, false, None) if self.rules == Rules::Any => {
                let special = rock_ridge::SPECIAL.iter().find(|(known, _)| *known == kind);
                special.map(|(_, letter)| Kind::Special(*letter)).ok_or("an entry of an unknown kind".into())
            }
            _ => Err("an entry that is no file, link or directory".into()),
        }
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

    /// Reads a record; what stands first in a directory may be the root's, whose fields begin at once.
    fn record(&mut self, record: &[u8], first: bool) -> Result<Record, Fault> {
        let &[_, attributes, .., flags, unit, gap, _, _, _, _, length] =
            record.first_chunk::<RECORD_HEAD>().ok_or("a record is too short")?;
        let mut extent = Extent {
            block: self.rules.number32(record, 2).ok_or("a record's place differs between byte orders")?,
            size: self.rules.number32(record, 10).ok_or("a record's size differs between byte orders")?,
        };
        let recorded = record[18..].first_chunk().copied().unwrap_or_default();
        let known = match self.rules {
            Rules::Ours => FLAG_DIRECTORY | FLAG_GOES_ON,
            Rules::Any => u8::MAX,
        };
        if (unit, gap) != (0, 0) || (attributes != 0 && self.rules == Rules::Ours) || !self.is_alone(record) {
            return Err("extended attributes, interleaving and sets of volumes are not supported".into());
        }
        if flags & !known != 0 || flags & (FLAG_DIRECTORY | FLAG_GOES_ON) == FLAG_DIRECTORY | FLAG_GOES_ON {
            return Err("a record with flags that are not supported".into());
        }
        // Extended attributes stand before the data.
        extent.block = extent.block.checked_add(attributes.into()).ok_or("something stands outside of the volume")?;
        let end = RECORD_HEAD + usize::from(length);
        let identifier = record.get(RECORD_HEAD..end).filter(|id| !id.is_empty()).ok_or("a wrong identifier")?.to_vec();
        let Naming::RockRidge { skip } = self.naming else {
            return Ok(Record { identifier, extent, flags, recorded, rock_ridge: RockRidge::default() });
        };
        let mut system_use = record.get(end.next_multiple_of(2)..).unwrap_or_default();
        if !first {
            system_use = system_use.get(skip..).unwrap_or_default();
        }
        let rock_ridge = self.rock_ridge(system_use)?;
        if rock_ridge.skip.is_some() && !first {
            return Err("a SP field in the wrong place".into());
        }
        if self.rules == Rules::Ours && (rock_ridge.moved || rock_ridge.child.is_some()) {
            return Err("relocated directories are not supported".into());
        }
        Ok(Record { identifier, extent, flags, recorded, rock_ridge })
    }

    /// It is on the one volume that there is.
    fn is_alone(&self, record: &[u8]) -> bool {
        match self.rules {
            Rules::Ours => self.rules.number16(record, 28) == Some(1),
            Rules::Any => self.rules.number16(record, 28).is_some_and(|number| number <= 1),
        }
    }

    /// Follows the fields through their continuation areas.
    fn rock_ridge(&mut self, system_use: &[u8]) -> Result<RockRidge, Fault> {
        let mut fields = RockRidge::default();
        fields.parse(system_use)?;
        for _ in 0..MAX_CONTINUATIONS {
            let Some((number, offset, size)) = fields.next.take() else {
                return if fields.is_whole() { Ok(fields) } else { Err("a name or link is cut off".into()) };
            };
            self.take_bytes(size.into())?;
            self.check_extent(Extent { block: number, size: 2048 })?;
            let block = block(self.source, number.into()).map_err(Fault::Known)?;
            let start = usize::try_from(offset).unwrap_or(usize::MAX);
            let end = start.saturating_add(usize::try_from(size).unwrap_or(usize::MAX));
            fields.parse(block.get(start..end).ok_or("a continuation area crosses a block")?)?;
        }
        Err("too many continuation areas".into())
    }

    fn take_bytes(&mut self, count: u64) -> Result<(), Fault> {
        self.directory_bytes += count;
        if self.directory_bytes > MAX_DIRECTORY_BYTES { Err(Fault::Known(ReadError::TooMany)) } else { Ok(()) }
    }

    fn check_extent(&self, extent: Extent) -> Result<(), Fault> {
        let end = u64::from(extent.block) + super::blocks(extent.size.into());
        if end > self.blocks { Err("something stands outside of the volume".into()) } else { Ok(()) }
    }
}

/// An identifier without version number and idle dot: `KUBELET.;1`.
fn unversioned(identifier: &str) -> String {
    let name = identifier.strip_suffix(";1").unwrap_or(identifier);
    name.strip_suffix('.').unwrap_or(name).to_owned()
}

fn unattributed(is_directory: bool) -> Posix {
    let mode = if is_directory { rock_ridge::DIRECTORY | PLAIN_DIRECTORY } else { rock_ridge::FILE | PLAIN_FILE };
    Posix { mode, links: 1, owner: Owner::ROOT }
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
