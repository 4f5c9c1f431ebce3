//! Reads a payload back, behind whoever writes it: everything must be as it was written.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;

use flate2::Crc;

use super::bake::{Planned, Sums};
use super::{LABEL, PayloadError};
use crate::digest::{Digest, Hasher};
use crate::image::iso9660::{Entry, Image, Kind, Owner, ReadError, Source as _, Time};

/// The image is read in pieces of this size, which stay in a second-level cache.
const PIECE: usize = 256 << 10;
/// Pieces between the thread that reads and the one that hashes.
const DEPTH: usize = 4;

/// Compares directories and data with what was written, and returns the digest of the whole image. It reads every byte
/// once, in order. A file whose sum is not among `sums` is read as soon as its sum comes from `written`; if it never does,
/// that is a difference.
pub(super) fn read_back(
    file: &File,
    time: Time,
    files: &[Planned],
    sums: Sums,
    written: &Receiver<(String, u32)>,
) -> Result<Digest, PayloadError> {
    let image = Image::open(file).map_err(|source| unlike("its directories", Some(source)))?;
    compare_directories(&image, time, files)?;
    thread::scope(|scope| {
        let (send, receive) = sync_channel(DEPTH);
        let (give_back, used) = channel();
        let hashing = scope.spawn(move || hash(&receive, &give_back));
        let mut reading = Reading { file, at: 0, send, used };
        let read = reading.files(&image, sums, written).and_then(|()| reading.to(image.size()));
        // The other thread ends when there is nothing more to come.
        drop(reading);
        let digest = hashing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        read.map(|()| digest)
    })
}

fn unlike(what: &str, source: Option<ReadError>) -> PayloadError {
    PayloadError::ReadBack { what: what.to_owned(), source }
}

fn unreadable(source: io::Error) -> PayloadError {
    unlike("its bytes", Some(ReadError::Io { source }))
}

fn compare_directories(image: &Image<&File>, time: Time, files: &[Planned]) -> Result<(), PayloadError> {
    let parent = |file: &Planned| file.path.rfind('/').map(|at| file.path[..at.max(1)].to_owned());
    let directories: BTreeSet<_> = files.iter().filter_map(parent).collect();
    let mut wanted: Vec<_> = directories.iter().map(|path| (path.as_str(), &Kind::Directory, 0o755, 0)).collect();
    wanted.extend(files.iter().map(|file| (file.path.as_str(), &Kind::File, file.mode, file.size)));
    wanted.sort_by_key(|(path, ..)| *path);
    let root_owned = |entry: &Entry| (entry.owner, entry.modified) == (Owner::ROOT, time);
    let got = image.entries().iter().map(|entry| (entry.path.as_str(), &entry.kind, entry.mode, entry.size));
    if image.label() == LABEL.as_str() && got.eq(wanted) && image.entries().iter().all(root_owned) {
        Ok(())
    } else {
        Err(unlike("its directories", None))
    }
}

fn hash(pieces: &Receiver<Vec<u8>>, give_back: &Sender<Vec<u8>>) -> Digest {
    let mut hasher = Hasher::new(io::sink());
    for piece in pieces {
        // A sink takes everything.
        let _ = io::Write::write_all(&mut hasher, &piece);
        // The reader may have ended already.
        let _ = give_back.send(piece);
    }
    hasher.finish().1
}

/// Reads an image from its first byte to its last.
struct Reading<'f> {
    file: &'f File,
    at: u64,
    send: SyncSender<Vec<u8>>,
    used: Receiver<Vec<u8>>,
}

impl Reading<'_> {
    /// Reads up to the end of the last file and compares each.
    fn files(
        &mut self,
        image: &Image<&File>,
        mut sums: Sums,
        written: &Receiver<(String, u32)>,
    ) -> Result<(), PayloadError> {
        let mut files: Vec<_> = image.entries().iter().filter(|entry| entry.size > 0).collect();
        files.sort_by_key(|entry| entry.spans().next());
        for entry in files {
            while !sums.contains_key(&entry.path) {
                let (path, sum) = written.recv().map_err(|_| unlike(&entry.path, None))?;
                sums.insert(path, sum);
            }
            let mut crc = Crc::new();
            for (start, size) in entry.spans() {
                if start < self.at {
                    return Err(unlike(&entry.path, None));
                }
                self.to(start)?;
                self.pass(start + size, |piece| crc.update(piece))?;
            }
            if sums.get(&entry.path) != Some(&crc.sum()) {
                return Err(unlike(&entry.path, None));
            }
        }
        Ok(())
    }

    /// Reads on to `end`.
    fn to(&mut self, end: u64) -> Result<(), PayloadError> {
        self.pass(end, |_| {})
    }

    fn pass(&mut self, end: u64, mut look: impl FnMut(&[u8])) -> Result<(), PayloadError> {
        while self.at < end {
            let mut piece = self.used.try_recv().unwrap_or_default();
            piece.resize(usize::try_from(end - self.at).unwrap_or(PIECE).min(PIECE), 0);
            self.file.read_exact_at(&mut piece, self.at).map_err(unreadable)?;
            self.at += piece.len() as u64;
            look(&piece);
            self.send.send(piece).map_err(|_| unreadable(io::ErrorKind::BrokenPipe.into()))?;
        }
        Ok(())
    }
}
