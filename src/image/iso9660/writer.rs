//! Writes an image: places are given to files as their sizes are known; once all are, directories and descriptors can be
//! written, before, while or after file data is.

use std::io::{self, Read};

use flate2::Crc;

use super::descriptors::{self, Label, Volume};
use super::tree::{Attributes, Owner, Tree};
use super::{BLOCK, BLOCK_BYTES, Target, Time, blocks, directory};
use crate::digest::Digest;

/// File data is read, summed up and written in pieces of this size: small enough for a second-level cache.
const PIECE: usize = 256 << 10;

/// Size of the smallest image in blocks: libarchive takes a shorter one for an empty tar.
const SMALLEST: u64 = 24;

/// What can go wrong while an image is written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// A path that cannot stand in an image.
    #[error("cannot put {path:?} into an image: {why}")]
    BadPath {
        /// As given.
        path: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A link target that Rock Ridge cannot record as it is.
    #[error("cannot put the link {path} into an image: its target {target:?} is empty, too long or has empty names")]
    BadTarget {
        /// The link.
        path: String,
        /// Its target.
        target: String,
    },
    /// Something other than permission bits.
    #[error("{path}: mode {mode:o} has more than permission bits")]
    BadMode {
        /// Whose mode.
        path: String,
        /// As given.
        mode: u32,
    },
    /// Two things at one path.
    #[error("{path} is given twice")]
    Duplicate {
        /// That path.
        path: String,
    },
    /// A path beneath a file or link.
    #[error("{path} cannot stand beneath {parent}, which is no directory")]
    NotADirectory {
        /// What was to be added.
        path: String,
        /// What stands there.
        parent: String,
    },
    /// More than ISO 9660 can number.
    #[error("the image would be larger than 8 TiB")]
    TooLarge,
    /// The path table numbers parents with 16 bits.
    #[error("the image would have more than 65535 directories")]
    TooManyDirectories,
    /// A file's data is shorter or longer than announced.
    #[error("{path}: {wanted} bytes were announced, {got} came")]
    Size {
        /// The file.
        path: String,
        /// Announced size in bytes.
        wanted: u64,
        /// Bytes that came; one more than wanted if there was more.
        got: u64,
    },
    /// A file's data could not be read.
    #[error("cannot read the data of {path}")]
    Input {
        /// The file in the image.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The image could not be written.
    #[error("cannot write the image")]
    Output {
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl WriteError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Output { source } if source.kind() == io::ErrorKind::StorageFull => {
                Some("make space on the disk of the output folder, or choose another with --out".to_owned())
            }
            _ => None,
        }
    }
}

/// Writes one image to a target that is empty at first.
pub struct Writer<'t, T: ?Sized> {
    target: &'t T,
    label: Label,
    time: Time,
    tree: Tree,
    next: u32,
}

/// A place for a file's data, of a size that is known. Slots may be filled in any order and by several threads, also
/// after [`Writer::finish`]. A slot that is never filled leaves zeros: whoever reads the image back finds out.
#[must_use = "the file's data is zeros until its slot is filled"]
pub struct Slot<'t, T: ?Sized> {
    target: &'t T,
    path: String,
    offset: u64,
    size: u64,
}

impl<'t, T: Target + ?Sized> Writer<'t, T> {
    /// Begins an image in which everything has the time `time`.
    pub fn new(target: &'t T, label: Label, time: Time) -> Self {
        Self { target, label, time, tree: Tree::new(), next: descriptors::FIRST_DATA }
    }

    /// Adds a directory. Directories above a path come into being as root's, with mode 0755; naming one of them later,
    /// once, gives it other attributes.
    pub fn directory(&mut self, path: &str, attributes: impl Into<Attributes>) -> Result<(), WriteError> {
        self.tree.directory(path, attributes.into()).map(|_| ())
    }

    /// Adds a symbolic link.
    pub fn link(&mut self, path: &str, owner: Owner, target: &str) -> Result<(), WriteError> {
        self.tree.link(path, owner, target).map(|_| ())
    }

    /// Adds a file of `size` bytes and reserves the place for its data.
    pub fn file(
        &mut self,
        path: &str,
        attributes: impl Into<Attributes>,
        size: u64,
    ) -> Result<Slot<'t, T>, WriteError> {
        let taken = u32::try_from(blocks(size)).map_err(|_| WriteError::TooLarge)?;
        let after = self.next.checked_add(taken).ok_or(WriteError::TooLarge)?;
        self.tree.file(path, attributes.into(), self.next, size)?;
        let offset = u64::from(std::mem::replace(&mut self.next, after)) * BLOCK;
        Ok(Slot { target: self.target, path: path.to_owned(), offset, size })
    }

    /// Begins a file whose size is not known yet; nothing else can be added until it is finished.
    pub fn grow(&mut self) -> Growing<'_, 't, T> {
        let offset = u64::from(self.next) * BLOCK;
        Growing { writer: self, offset, size: 0, crc: Crc::new() }
    }

    /// Adds a file from memory.
    pub fn add(&mut self, path: &str, attributes: impl Into<Attributes>, data: &[u8]) -> Result<(), WriteError> {
        self.file(path, attributes, data.len() as u64)?.fill(&mut &data[..]).map(|_| ())
    }

    /// Writes directories and descriptors; returns the size of the image in bytes. The volume's modification date is
    /// made from its label, its time and `identity`, which must therefore differ for images of different content.
    pub fn finish(self, identity: Digest) -> Result<u64, WriteError> {
        let (label, time) = (self.label.as_str(), self.time.unix());
        let modified = descriptors::modification(Digest::of(format!("{label}\0{time}\0{identity}").as_bytes()));
        let directories = directory::encode(&self.tree, self.time, self.next)?;
        let offset = u64::from(self.next) * BLOCK;
        self.write(&directories.bytes, offset)?;
        let end = offset + directories.bytes.len() as u64;
        let size = end.max(SMALLEST * BLOCK);
        self.write(&vec![0; usize::try_from(size - end).unwrap_or_default()], end)?;
        let volume = Volume {
            label: label.to_owned(),
            blocks: u32::try_from(size / BLOCK).map_err(|_| WriteError::TooLarge)?,
            path_table_size: directories.path_table_size,
            path_tables: directories.path_tables,
            root: directories.root,
            created: self.time.volume(),
            modified,
        };
        self.write(&vec![0; 16 * BLOCK_BYTES], 0)?;
        self.write(&volume.encode(), descriptors::PRIMARY * BLOCK)?;
        Ok(size)
    }

    fn write(&self, bytes: &[u8], offset: u64) -> Result<(), WriteError> {
        self.target.write_all_at(bytes, offset).map_err(|source| WriteError::Output { source })
    }
}

/// A file that is written until its data ends. Dropped before [`Growing::finish`], it is no part of the image.
pub struct Growing<'w, 't, T: ?Sized> {
    writer: &'w mut Writer<'t, T>,
    offset: u64,
    size: u64,
    crc: Crc,
}

impl<T: Target + ?Sized> Growing<'_, '_, T> {
    /// Gives the file its path; returns its size in bytes and its CRC-32.
    pub fn finish(self, path: &str, attributes: impl Into<Attributes>) -> Result<(u64, u32), WriteError> {
        self.writer.file(path, attributes, self.size).map(|_| (self.size, self.crc.sum()))
    }
}

impl<T: Target + ?Sized> io::Write for Growing<'_, '_, T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writer.target.write_all_at(bytes, self.offset + self.size)?;
        self.crc.update(bytes);
        self.size += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<T: Target + ?Sized> Slot<'_, T> {
    /// Writes all that `data` yields, which must be exactly as much as was announced; returns its CRC-32.
    pub fn fill(self, data: &mut impl Read) -> Result<u32, WriteError> {
        let mut crc = Crc::new();
        let mut piece = vec![0; PIECE.min(usize::try_from(self.size).unwrap_or(PIECE).max(1))];
        let mut done = 0;
        loop {
            // One byte beyond the end tells a file that is too long.
            let wanted = piece.len().min(usize::try_from(self.size - done).unwrap_or(usize::MAX).max(1));
            let got = match data.read(&mut piece[..wanted]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                got => got.map_err(|source| WriteError::Input { path: self.path.clone(), source })?,
            };
            if (got == 0) != (done == self.size) {
                return Err(WriteError::Size { path: self.path, wanted: self.size, got: done + got as u64 });
            }
            if got == 0 {
                return Ok(crc.sum());
            }
            crc.update(&piece[..got]);
            let written = self.target.write_all_at(&piece[..got], self.offset + done);
            written.map_err(|source| WriteError::Output { source })?;
            done += got as u64;
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::image::iso9660::directory::Extent;
    use crate::image::iso9660::{Entry, Image, Kind, MAX_EXTENT, Memory, Source};

    const LABEL: Label = Label::new("TEST");

    fn identity() -> Digest {
        Digest::of(b"identity")
    }

    fn crc(data: &[u8]) -> u32 {
        let mut crc = Crc::new();
        crc.update(data);
        crc.sum()
    }

    #[test]
    fn files_from_4_gib_on_have_several_extents() {
        let full = u32::try_from(MAX_EXTENT).unwrap();
        let second = 18 + full / 2048;
        let extent = |block, size| Extent { block, size };
        let cases = [
            (MAX_EXTENT, vec![extent(18, full)]),
            (MAX_EXTENT + 1, vec![extent(18, full), extent(second, 1)]),
            ((1 << 32) + 5, vec![extent(18, full), extent(second, 2053)]),
            (2 * MAX_EXTENT, vec![extent(18, full), extent(second, full)]),
        ];
        for (size, extents) in cases {
            let target = tempfile::tempfile().unwrap();
            let mut writer = Writer::new(&target, LABEL, Time::FIXED);
            // Nothing is written there: the target is sparse.
            drop(writer.file("/large", 0o644, size).unwrap());
            writer.add("/small", 0o644, b"small").unwrap();
            writer.finish(identity()).unwrap();

            let image = Image::open(&target).unwrap();
            let large = image.entry("/large").unwrap();
            assert_eq!((large.size, &large.kind, &large.extents), (size, &Kind::File, &extents));
            let small = image.entry("/small").unwrap();
            assert_eq!(image.read(small, 5).unwrap().as_deref(), Some(&b"small"[..]));
        }
    }

    #[test]
    fn reading_goes_on_from_extent_to_extent() {
        let image = Image::open(empty()).unwrap();
        let extents = vec![Extent { block: 18, size: 3 }, Extent { block: 16, size: 6 }];
        let entry = Entry { size: 9, extents, ..image.entry("/").unwrap().clone() };
        assert_eq!(image.read(&entry, 9).unwrap().as_deref(), Some(&b"\x01\0\x14\x01CD001"[..]));
    }

    /// An image with nothing in it; block 18 has the path table: a name of one byte, no attributes, block 20.
    fn empty() -> Vec<u8> {
        let memory = Memory::default();
        Writer::new(&memory, LABEL, Time::FIXED).finish(identity()).unwrap();
        memory.into_bytes()
    }

    #[test]
    fn slots_take_exactly_what_was_announced() {
        let memory = Memory::default();
        let mut writer = Writer::new(&memory, LABEL, Time::FIXED);
        let [short, long, whole] = ["/a", "/b", "/c"].map(|path| writer.file(path, 0o644, 4).unwrap());
        let text = |error: WriteError| error.to_string();
        assert_eq!(short.fill(&mut &b"abc"[..]).map_err(text).unwrap_err(), "/a: 4 bytes were announced, 3 came");
        assert_eq!(long.fill(&mut &b"abcdef"[..]).map_err(text).unwrap_err(), "/b: 4 bytes were announced, 5 came");
        // Directories may be there before the data is.
        writer.finish(identity()).unwrap();
        assert_eq!(whole.fill(&mut &b"abcd"[..]).unwrap(), crc(b"abcd"));
        let image = Image::open(memory.into_bytes()).unwrap();
        let read = |path| image.read(image.entry(path).unwrap(), 9).unwrap().unwrap();
        assert_eq!(read("/c"), b"abcd");
    }

    #[test]
    fn files_of_unknown_size_grow_until_they_are_named() {
        let memory = Memory::default();
        let mut writer = Writer::new(&memory, LABEL, Time::FIXED);
        // One that is given up leaves nothing but bytes that the next writes over.
        io::Write::write_all(&mut writer.grow(), &[9; 5000]).unwrap();
        let mut growing = writer.grow();
        io::Write::write_all(&mut growing, &[7; 3000]).unwrap();
        io::Write::write_all(&mut growing, b"end").unwrap();
        let data = [&[7; 3000][..], b"end"].concat();
        assert_eq!(growing.finish("/grown", 0o644).unwrap(), (3003, crc(&data)));
        writer.add("/next", 0o644, b"next").unwrap();
        writer.finish(identity()).unwrap();
        let image = Image::open(memory.into_bytes()).unwrap();
        let read = |path| image.read(image.entry(path).unwrap(), 1 << 20).unwrap().unwrap();
        assert_eq!((read("/grown"), read("/next")), (data, b"next".to_vec()));
        assert_eq!(image.entry("/grown").unwrap().spans().collect::<Vec<_>>(), [(18 * BLOCK, 3003)]);
    }

    #[test]
    fn refuses_what_cannot_stand_in_an_image() {
        let memory = Memory::default();
        let mut writer = Writer::new(&memory, LABEL, Time::FIXED);
        writer.add("/a/file", 0o644, b"").unwrap();
        writer.link("/link", Owner::ROOT, "a").unwrap();
        let long = format!("/{}", "n".repeat(254));
        let deep = "/n".repeat(2048);
        let bad = |path: &str, why: &str| format!("cannot put {path:?} into an image: {why}");
        let empty = "it has an empty name, \".\" or \"..\" in it";
        let paths = [
            ("a", bad("a", "it does not start with /")),
            ("/a//b", bad("/a//b", empty)),
            ("/a/./b", bad("/a/./b", empty)),
            ("/a/..", bad("/a/..", empty)),
            ("/", bad("/", empty)),
            ("/\0", bad("/\0", "it has a NUL in it")),
            (&long, bad(&long, "a name in it is longer than 253 bytes")),
            (&deep, bad(&deep, "it is longer than 4095 bytes")),
            ("/a/file", "/a/file is given twice".to_owned()),
            ("/a", "/a is given twice".to_owned()),
            ("/a/file/b", "/a/file/b cannot stand beneath /a/file, which is no directory".to_owned()),
            ("/link/b", "/link/b cannot stand beneath /link, which is no directory".to_owned()),
        ];
        for (path, wanted) in paths {
            assert_eq!(writer.add(path, 0o644, b"").unwrap_err().to_string(), wanted);
        }
        for target in ["", "a//b", "a/", "//a", "a\0b"] {
            let wanted = format!(
                "cannot put the link /l into an image: its target {target:?} is empty, too long or has empty names"
            );
            assert_eq!(writer.link("/l", Owner::ROOT, target).unwrap_err().to_string(), wanted);
        }
        writer.directory("/a", 0o700).unwrap();
        assert_eq!(writer.directory("/a", 0o700).unwrap_err().to_string(), "/a is given twice");
        assert_eq!(
            writer.directory("/b", 0o1777).unwrap_err().to_string(),
            "/b: mode 1777 has more than permission bits"
        );
    }

    #[test]
    fn two_images_never_share_a_modification_date() {
        let date = |label, time, identity: &[u8]| {
            let memory = Memory::default();
            Writer::new(&memory, label, time).finish(Digest::of(identity)).unwrap();
            let mut date = vec![0; 17];
            memory.into_bytes().read_exact_at(&mut date, 16 * BLOCK + 830).unwrap();
            date
        };
        let later = Time::from_unix(0).unwrap();
        let dates = [
            date(LABEL, Time::FIXED, b"x"),
            date(Label::new("OTHER"), Time::FIXED, b"x"),
            date(LABEL, later, b"x"),
            date(LABEL, Time::FIXED, b"y"),
        ];
        assert_eq!(std::collections::HashSet::from(dates.clone()).len(), dates.len());
        assert_eq!(date(LABEL, Time::FIXED, b"x"), dates[0]);
    }
}
