//! The first difference between two files, by file and field.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use serde_json::Value;

use crate::digest::{Digest, Hasher};
use crate::image::iso9660::{Entry, Image, Kind};

/// Files are compared in pieces of this size, in bytes.
const PIECE: usize = 256 << 10;

/// Files up to this size, in bytes, are looked into when they differ.
const MAX_TEXT: u64 = 4 << 20;

/// Permission bits of what is its owner's alone.
const SECRET_MODE: u32 = 0o600;

/// How something differs from what it should be. Never a value: it may be a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// It is not there.
    Absent,
    /// Something else than a regular file stands there.
    NotAFile,
    /// Its permission bits let others read it.
    Mode {
        /// Its own.
        found: u32,
        /// Those that it should have.
        wanted: u32,
    },
    /// Its size in bytes.
    Size {
        /// Its own.
        found: u64,
        /// The right one.
        wanted: u64,
    },
    /// Its digest, where its bytes cannot be compared.
    Digest {
        /// Its own, with the algorithm.
        found: String,
    },
    /// Its bytes, first at this place.
    Content(Place),
    /// An image that cannot be read any more; first at this byte.
    Malformed {
        /// The reader's complaint.
        why: String,
        /// Counted from 0.
        byte: u64,
    },
    /// Something in an image.
    Inside {
        /// Its path there.
        path: String,
        /// How it differs.
        what: Inside,
    },
    /// What an image says of itself.
    Image {
        /// A field of its descriptor, or its directories.
        part: &'static str,
        /// First at this byte, counted from 0.
        byte: u64,
    },
    /// Something else, told in words.
    Other(String),
}

/// How something in an image differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Inside {
    /// It is not there.
    Absent,
    /// It should not be there.
    Extra,
    /// Its kind (file, directory, link), mode, owner, time, or target.
    Attribute(&'static str),
    /// Its size in bytes.
    Size(u64, u64),
    /// Its bytes.
    Content(Place),
}

/// A place in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A byte, counted from 0.
    Byte(u64),
    /// A line, counted from 1.
    Line(usize),
    /// A field of a JSON document, as `artifacts[2].size`.
    Field(String),
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("not built"),
            Self::NotAFile => f.write_str("no regular file"),
            Self::Mode { found, wanted } => write!(f, "mode is {found:04o}, not {wanted:04o}"),
            Self::Size { found, wanted } => write!(f, "size is {found} bytes, not {wanted}"),
            Self::Digest { found } => write!(f, "digest is {found}"),
            Self::Content(place) => write!(f, "content differs {place}"),
            Self::Malformed { why, byte } => write!(f, "{why}; content differs at byte {byte}"),
            Self::Inside { path, what } => write!(f, "{path}: {what}"),
            Self::Image { part, byte } => write!(f, "{part}: content differs at byte {byte}"),
            Self::Other(text) => f.write_str(text),
        }
    }
}

impl fmt::Display for Inside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("is missing"),
            Self::Extra => f.write_str("should not be there"),
            Self::Attribute(name) => write!(f, "{name} differs"),
            Self::Size(found, wanted) => write!(f, "size is {found} bytes, not {wanted}"),
            Self::Content(place) => write!(f, "content differs {place}"),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Byte(byte) => write!(f, "at byte {byte}"),
            Self::Line(line) => write!(f, "in line {line}"),
            Self::Field(field) => write!(f, "in {field}"),
        }
    }
}

/// Compares a file with the one that it should be; also gives the digest of the latter. `on_bytes` is told of progress.
pub(super) fn compare(found: &Path, wanted: &Path, on_bytes: &dyn Fn(u64)) -> io::Result<(Digest, Option<Difference>)> {
    let right = File::open(wanted)?;
    let file = match open(found)? {
        Ok(file) => file,
        Err(difference) => return Ok((Digest::of_reader(&mut &right)?, Some(difference))),
    };
    let (digest, byte) = first_byte(&mut &file, &mut &right, on_bytes)?;
    let is_image = wanted.extension().is_some_and(|extension| extension == "iso");
    let difference = match byte {
        Some(byte) if is_image => Some(in_images(&file, &right, byte)?),
        Some(byte) => Some(in_files(&file, &right, byte)?),
        None => in_modes(&file, &right)?,
    };
    Ok((digest, difference))
}

fn open(path: &Path) -> io::Result<Result<File, Difference>> {
    match std::fs::symlink_metadata(path) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(Err(Difference::Absent))
        }
        Err(error) => Err(error),
        Ok(found) if found.is_file() => File::open(path).map(Ok),
        Ok(_) => Ok(Err(Difference::NotAFile)),
    }
}

/// Digest of `wanted`, and the first byte in which `found` differs from it.
fn first_byte(
    found: &mut dyn Read,
    wanted: &mut dyn Read,
    on_bytes: &dyn Fn(u64),
) -> io::Result<(Digest, Option<u64>)> {
    let mut hasher = Hasher::new(io::sink());
    let (mut theirs, mut right) = (vec![0; PIECE], vec![0; PIECE]);
    let (mut done, mut first) = (0, None);
    loop {
        let (got, count) = (fill(found, &mut theirs)?, fill(wanted, &mut right)?);
        io::Write::write_all(&mut hasher, &right[..count])?;
        let (theirs, right) = (&theirs[..got], &right[..count]);
        if first.is_none() && theirs != right {
            let same = theirs.iter().zip(right).take_while(|(a, b)| a == b).count();
            first = Some(done + same as u64);
        }
        if count == 0 {
            return Ok((hasher.finish().1, first));
        }
        done += count as u64;
        on_bytes(count as u64);
    }
}

/// Reads until `bytes` are full or the reader ends.
fn fill(reader: &mut dyn Read, bytes: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < bytes.len() {
        match reader.read(&mut bytes[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// What holds a secret must be its owner's alone.
fn in_modes(found: &File, wanted: &File) -> io::Result<Option<Difference>> {
    let mode = |file: &File| Ok::<_, io::Error>(file.metadata()?.mode() & 0o7777);
    let (found, wanted) = (mode(found)?, mode(wanted)?);
    Ok((wanted == SECRET_MODE && found != wanted).then_some(Difference::Mode { found, wanted }))
}

fn in_files(found: &File, wanted: &File, byte: u64) -> io::Result<Difference> {
    let sizes = (found.metadata()?.len(), wanted.metadata()?.len());
    if sizes.0.max(sizes.1) > MAX_TEXT {
        return Ok(Difference::Content(Place::Byte(byte)));
    }
    let read = |file: &File| {
        let mut bytes = vec![0; usize::try_from(file.metadata()?.len()).unwrap_or_default()];
        std::os::unix::fs::FileExt::read_exact_at(file, &mut bytes, 0).map(|()| bytes)
    };
    Ok(Difference::Content(place(&read(found)?, &read(wanted)?)))
}

/// Where two texts differ; they do.
fn place(found: &[u8], wanted: &[u8]) -> Place {
    let json = |bytes| serde_json::from_slice::<Value>(bytes).ok();
    if let Some(field) = json(found).zip(json(wanted)).and_then(|(found, wanted)| field(&found, &wanted)) {
        return Place::Field(field);
    }
    let same = found.iter().zip(wanted).take_while(|(a, b)| a == b).count();
    let is_text = |bytes: &[u8]| !bytes.contains(&0) && std::str::from_utf8(bytes).is_ok();
    if is_text(wanted) {
        Place::Line(wanted[..same].split(|byte| *byte == b'\n').count())
    } else {
        Place::Byte(same as u64)
    }
}

/// The first field of a document that is another one: keys in the order of the alphabet.
fn field(found: &Value, wanted: &Value) -> Option<String> {
    let below = |name: String, rest: String| match rest.as_bytes().first() {
        None | Some(b'[') => name + &rest,
        Some(_) => format!("{name}.{rest}"),
    };
    match (found, wanted) {
        (Value::Object(found), Value::Object(wanted)) => {
            let keys: std::collections::BTreeSet<_> = found.keys().chain(wanted.keys()).collect();
            keys.into_iter().find_map(|key| match (found.get(key), wanted.get(key)) {
                (Some(found), Some(wanted)) => field(found, wanted).map(|rest| below(key.clone(), rest)),
                _ => Some(key.clone()),
            })
        }
        (Value::Array(found), Value::Array(wanted)) => {
            let both = found.iter().zip(wanted).enumerate();
            let inside = |(at, (found, wanted))| field(found, wanted).map(|rest| below(format!("[{at}]"), rest));
            let longer = (found.len() != wanted.len()).then(|| format!("[{}]", found.len().min(wanted.len())));
            both.into_iter().find_map(inside).or(longer)
        }
        _ => (found != wanted).then(String::new),
    }
}

/// Names the file in an image, or else the part of the image, that differs.
fn in_images(found: &File, wanted: &File, byte: u64) -> io::Result<Difference> {
    let (size, right_size) = (found.metadata()?.len(), wanted.metadata()?.len());
    let other_size = (size != right_size).then_some(Difference::Size { found: size, wanted: right_size });
    let image = match Image::open(found) {
        Ok(image) => image,
        Err(error) => {
            let why = crate::error::chain(&error);
            return Ok(other_size.unwrap_or(Difference::Malformed { why, byte }));
        }
    };
    let right = Image::open(wanted).map_err(|error| io::Error::other(crate::error::chain(&error)))?;
    if let Some((path, what)) = in_entries(&image, &right)? {
        return Ok(Difference::Inside { path, what });
    }
    Ok(other_size.unwrap_or_else(|| Difference::Image { part: right.part_at(byte), byte }))
}

type FileImage<'a> = Image<&'a File>;

/// The first path, in the order of the alphabet, at which something else stands.
fn in_entries(found: &FileImage<'_>, wanted: &FileImage<'_>) -> io::Result<Option<(String, Inside)>> {
    let extra = found.entries().iter().find(|entry| wanted.entry(&entry.path).is_none());
    let extra = extra.map(|entry| (entry.path.clone(), Inside::Extra));
    for right in wanted.entries() {
        if extra.as_ref().is_some_and(|(path, _)| *path < right.path) {
            break;
        }
        let what = match found.entry(&right.path) {
            None => Some(Inside::Absent),
            Some(entry) => match in_attributes(entry, right) {
                None if entry.kind == Kind::File => in_data((found, entry), (wanted, right))?,
                attribute => attribute,
            },
        };
        if let Some(what) = what {
            return Ok(Some((right.path.clone(), what)));
        }
    }
    Ok(extra)
}

fn in_attributes(found: &Entry, wanted: &Entry) -> Option<Inside> {
    let kind = std::mem::discriminant(&found.kind) != std::mem::discriminant(&wanted.kind);
    let checks = [
        (kind, "kind"),
        (found.kind != wanted.kind, "target"),
        (found.mode != wanted.mode, "mode"),
        (found.owner != wanted.owner, "owner"),
        (found.modified != wanted.modified, "time"),
    ];
    let attribute = checks.into_iter().find(|(differs, _)| *differs).map(|(_, name)| Inside::Attribute(name));
    attribute.or_else(|| (found.size != wanted.size).then_some(Inside::Size(found.size, wanted.size)))
}

/// Both have the same size.
fn in_data(found: (&FileImage<'_>, &Entry), wanted: (&FileImage<'_>, &Entry)) -> io::Result<Option<Inside>> {
    let differs = first_byte(&mut found.0.file(found.1), &mut wanted.0.file(wanted.1), &|_| ())?.1;
    let Some(byte) = differs else { return Ok(None) };
    let read = |(image, entry): (&FileImage<'_>, &Entry)| {
        image.read(entry, MAX_TEXT).map_err(|error| io::Error::other(crate::error::chain(&error)))
    };
    let texts = read(found)?.zip(read(wanted)?);
    let place = texts.map_or(Place::Byte(byte), |(found, wanted)| place(&found, &wanted));
    Ok(Some(Inside::Content(place)))
}
