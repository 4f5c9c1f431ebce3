//! The file of an upload: its data and its holes, read once, and hashed beside that unless its digest is known.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::ops::{Deref, Range};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::JoinHandle;

use rustix::fs::SeekFrom;
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};

use crate::digest::Digest;
use crate::stamp::Stamp;

/// A file is read in blocks of this size, in bytes.
pub(super) const BLOCK: usize = 1 << 20;
/// Zeros are looked for in runs of this size, in bytes.
const RUN: usize = 64 << 10;
/// Longest hole in one piece, in bytes: what is hashed of it after its reader has gone.
const HOLE: u64 = 64 << 20;
/// Pieces that may wait for being hashed.
const WAITING: usize = 16;
/// Blocks that a reader waits for in order to read into them again.
const KEPT: usize = 3 * WAITING;

/// Holes are sent and hashed from here.
static ZEROS: [u8; RUN] = [0; RUN];

/// Bytes that can be read at any place, by several threads at once.
pub trait Image: Sync {
    /// Number of bytes.
    fn size(&self) -> io::Result<u64>;
    /// The next stretch at or behind `offset` that is no hole; `None` where there is none up to the end. A stretch may end
    /// behind the last byte.
    fn extent(&self, offset: u64) -> io::Result<Option<Range<u64>>>;
    /// Reads from `offset` on; nothing at and behind the end.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// The digest of all bytes, where it is known without reading them, by what is so at this moment.
    fn known(&self) -> Option<Digest> {
        None
    }
}

impl Image for File {
    fn size(&self) -> io::Result<u64> {
        self.metadata().map(|metadata| metadata.len())
    }

    /// The file's own position is moved, and means nothing here.
    fn extent(&self, offset: u64) -> io::Result<Option<Range<u64>>> {
        let begin = match rustix::fs::seek(self, SeekFrom::Data(offset)) {
            Ok(begin) => begin,
            Err(Errno::NXIO) => return Ok(None),
            // A file system that knows of no holes.
            Err(_) => return Ok(Some(offset..u64::MAX)),
        };
        Ok(Some(begin..rustix::fs::seek(self, SeekFrom::Hole(begin)).unwrap_or(u64::MAX)))
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        FileExt::read_at(self, buffer, offset)
    }
}

/// A file whose digest was found right at some time. It is known as long as the file looks as it did then.
#[derive(Debug)]
pub struct Verified {
    /// The file.
    pub file: File,
    /// SHA-256 of it.
    pub digest: Digest,
    /// What it looked like before it was read for that; none where nobody has.
    pub stamp: Option<Stamp>,
}

impl Image for Verified {
    fn size(&self) -> io::Result<u64> {
        self.file.size()
    }

    fn extent(&self, offset: u64) -> io::Result<Option<Range<u64>>> {
        self.file.extent(offset)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        Image::read_at(&self.file, buffer, offset)
    }

    fn known(&self) -> Option<Digest> {
        let stamp = self.stamp?;
        (Stamp::of(&self.file).ok()? == stamp).then_some(self.digest)
    }
}

impl Image for &[u8] {
    fn size(&self) -> io::Result<u64> {
        Ok(self.len() as u64)
    }

    fn extent(&self, offset: u64) -> io::Result<Option<Range<u64>>> {
        Ok(Some(offset..self.len() as u64).filter(|range| !range.is_empty()))
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let rest = usize::try_from(offset).ok().and_then(|offset| self.get(offset..)).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }
}

/// Bytes that several share.
#[derive(Debug, Clone)]
pub struct Block {
    bytes: Arc<Vec<u8>>,
    range: Range<usize>,
}

impl Deref for Block {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[self.range.clone()]
    }
}

/// The next bytes of an image.
#[derive(Debug, Clone)]
pub enum Piece {
    /// These.
    Data(Block),
    /// So many zeros.
    Hole(u64),
}

impl Piece {
    /// Its length in bytes.
    pub(super) fn length(&self) -> u64 {
        match self {
            Self::Data(block) => block.len() as u64,
            Self::Hole(length) => *length,
        }
    }

    /// What a range of it holds that is neither empty nor a hole.
    pub(super) fn data(&self, range: Range<u64>) -> Option<&[u8]> {
        let Self::Data(block) = self else { return None };
        let index = |at| usize::try_from(at).ok();
        block.get(index(range.start)?..index(range.end)?).filter(|data| !data.is_empty())
    }
}

/// An image on its way, from its first byte to its last.
pub trait Source {
    /// The next piece; none at the end.
    fn piece(&mut self) -> io::Result<Option<Piece>>;
    /// Digest of all pieces, holes included; to be asked once, at the end.
    fn digest(&mut self) -> io::Result<Digest>;
}

/// Reads an image once. Holes are not read: neither those that the file system knows, nor are long runs of zeros told as
/// anything else.
pub struct Reading<'a> {
    image: &'a dyn Image,
    at: u64,
    /// Where the data that is being read ends.
    end: u64,
    /// Read and not yet given.
    ready: VecDeque<Piece>,
    /// Blocks that were given; who gets the first of them back reads into it again.
    given: VecDeque<Arc<Vec<u8>>>,
    check: Check,
}

/// How the digest of what is read is found.
enum Check {
    /// Nothing has been read.
    Open,
    /// By hashing it.
    Hashing(Hashing),
    /// It was known before the first byte was read.
    Known(Digest),
}

impl Check {
    /// For what is read from now on.
    fn of(image: &dyn Image) -> Self {
        image.known().map_or_else(|| Self::Hashing(Hashing::new()), Self::Known)
    }

    fn fork(&mut self) -> Self {
        match self {
            Self::Open => Self::Open,
            Self::Hashing(hashing) => Self::Hashing(hashing.fork()),
            Self::Known(digest) => Self::Known(*digest),
        }
    }
}

impl<'a> Reading<'a> {
    /// From the beginning. Nothing is read before the first piece is asked for.
    pub fn new(image: &'a dyn Image) -> Self {
        Self { image, at: 0, end: 0, ready: VecDeque::new(), given: VecDeque::new(), check: Check::Open }
    }

    /// Another reader, who goes on where this one is.
    pub(super) fn fork(&mut self) -> Self {
        Self { ready: self.ready.clone(), given: VecDeque::new(), check: self.check.fork(), ..*self }
    }

    /// Finds out what comes next; false at the end.
    fn look(&mut self) -> io::Result<bool> {
        if self.at < self.end {
            return self.read();
        }
        let extent = self.image.extent(self.at)?;
        let data = match &extent {
            Some(extent) => extent.start,
            None => self.image.size()?,
        };
        let found = extent.is_some() || data > self.at;
        self.end = extent.map_or(0, |extent| extent.end);
        self.leave_out(data);
        Ok(found)
    }

    /// A hole up to here.
    fn leave_out(&mut self, data: u64) {
        while self.at < data {
            let length = HOLE.min(data - self.at);
            self.ready.push_back(Piece::Hole(length));
            self.at += length;
        }
    }

    fn read(&mut self) -> io::Result<bool> {
        let mut bytes = self.block();
        // Nobody else has it.
        let Some(buffer) = Arc::get_mut(&mut bytes) else { return Ok(false) };
        let wanted = usize::try_from(self.end - self.at).unwrap_or(BLOCK).min(BLOCK);
        let mut filled = 0;
        while filled < wanted {
            match self.image.read_at(&mut buffer[filled..wanted], self.at + filled as u64) {
                // It ends earlier than was said.
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.at += filled as u64;
        self.ready.extend(runs(&bytes, filled));
        self.given.push_back(bytes);
        Ok(filled > 0)
    }

    fn block(&mut self) -> Arc<Vec<u8>> {
        if let Some(mut block) = self.given.pop_front() {
            if Arc::get_mut(&mut block).is_some() {
                return block;
            }
            // Somebody slow may keep it for long.
            if self.given.len() < KEPT {
                self.given.push_front(block);
            }
        }
        Arc::new(vec![0; BLOCK])
    }
}

/// What a block holds, zeros apart.
fn runs(bytes: &Arc<Vec<u8>>, filled: usize) -> Vec<Piece> {
    let is_hole = |chunk: &&[u8]| **chunk == ZEROS[..chunk.len()];
    let mut pieces: Vec<Piece> = Vec::new();
    let mut at = 0;
    for chunk in bytes[..filled].chunks(RUN) {
        let end = at + chunk.len();
        match (is_hole(&chunk), pieces.last_mut()) {
            (true, Some(Piece::Hole(length))) => *length += chunk.len() as u64,
            (false, Some(Piece::Data(block))) => block.range.end = end,
            (true, _) => pieces.push(Piece::Hole(chunk.len() as u64)),
            (false, _) => pieces.push(Piece::Data(Block { bytes: bytes.clone(), range: at..end })),
        }
        at = end;
    }
    pieces
}

impl Source for Reading<'_> {
    fn piece(&mut self) -> io::Result<Option<Piece>> {
        if matches!(self.check, Check::Open) {
            self.check = Check::of(self.image);
        }
        while self.ready.is_empty() && self.look()? {}
        let piece = self.ready.pop_front();
        if let (Some(piece), Check::Hashing(hashing)) = (&piece, &self.check) {
            hashing.add(piece.clone());
        }
        Ok(piece)
    }

    fn digest(&mut self) -> io::Result<Digest> {
        match std::mem::replace(&mut self.check, Check::Open) {
            Check::Open => Hashing::new().finish(),
            Check::Hashing(hashing) => hashing.finish(),
            // Whatever was read, nobody has written to it meanwhile.
            Check::Known(digest) if self.image.known() == Some(digest) => Ok(digest),
            Check::Known(_) => Err(io::Error::other("it was changed while it was sent")),
        }
    }
}

/// What a thread that hashes is told.
enum Told {
    Piece(Piece),
    /// Give what has been hashed so far.
    Copy(Sender<Sha256>),
}

/// Hashes on a thread of its own.
struct Hashing {
    tell: SyncSender<Told>,
    thread: JoinHandle<Option<Digest>>,
}

impl Hashing {
    fn new() -> Self {
        let (tell, begin) = channel();
        // It is there: the thread has what it waits for.
        let _ = tell.send(Sha256::new());
        Self::after(begin)
    }

    /// Goes on from a state that is still to come.
    fn after(begin: Receiver<Sha256>) -> Self {
        let (tell, told) = sync_channel(WAITING);
        Self { tell, thread: std::thread::spawn(move || Some(hash(begin.recv().ok()?, &told))) }
    }

    fn fork(&mut self) -> Self {
        let (give, begin) = channel();
        self.tell(Told::Copy(give));
        Self::after(begin)
    }

    fn add(&self, piece: Piece) {
        self.tell(Told::Piece(piece));
    }

    /// A thread that has ended is met in [`Hashing::finish`].
    fn tell(&self, told: Told) {
        let _ = self.tell.send(told);
    }

    fn finish(self) -> io::Result<Digest> {
        drop(self.tell);
        let digest = self.thread.join().ok().flatten();
        digest.ok_or_else(|| io::Error::other("the thread that hashes it has ended"))
    }
}

fn hash(mut state: Sha256, told: &Receiver<Told>) -> Digest {
    for told in told {
        match told {
            Told::Piece(Piece::Data(block)) => state.update(&*block),
            Told::Piece(Piece::Hole(length)) => zeros(length).for_each(|zeros| state.update(zeros)),
            Told::Copy(give) => drop(give.send(state.clone())),
        }
    }
    let digest: [u8; 32] = state.finalize().into();
    digest.into()
}

/// So many zeros, in slices.
pub(super) fn zeros(length: u64) -> impl Iterator<Item = &'static [u8]> {
    let slice = move |at| &ZEROS[..usize::try_from(length - at).unwrap_or(RUN).min(RUN)];
    (0..length).step_by(RUN).map(slice)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    /// What a source gives: length of each piece, with whether it is data, and all bytes.
    fn all(source: &mut dyn Source) -> (Vec<(bool, u64)>, Vec<u8>) {
        let (mut pieces, mut bytes) = (Vec::new(), Vec::new());
        while let Some(piece) = source.piece().unwrap() {
            pieces.push((matches!(piece, Piece::Data(_)), piece.length()));
            match piece {
                Piece::Data(block) => bytes.extend_from_slice(&block),
                Piece::Hole(length) => zeros(length).for_each(|zeros| bytes.extend_from_slice(zeros)),
            }
        }
        (pieces, bytes)
    }

    #[test]
    fn holes_are_found_and_no_byte_is_lost() {
        let (page, run, block) = (4096, RUN, BLOCK);
        // What lies where in a file: length, and whether it is written, as zeros or as something else.
        let hole = |length| (length, None);
        let zero = |length| (length, Some(0));
        let data = |length| (length, Some(7));
        let cases = [
            (vec![], vec![]),
            (vec![data(5)], vec![(true, 5)]),
            (vec![hole(block)], vec![(false, block)]),
            (vec![data(2 * block + 5)], vec![(true, block), (true, block), (true, 5)]),
            (vec![hole(block + page), data(page), hole(3)], vec![(false, block + page), (true, page), (false, 3)]),
            (vec![data(run), zero(run * 3), data(1)], vec![(true, run), (false, run * 3), (true, 1)]),
            (vec![data(run), zero(run - 1), data(1)], vec![(true, 2 * run)]),
            (vec![zero(2 * block)], vec![(false, block), (false, block)]),
            (vec![hole(run), zero(run), data(run), zero(5)], vec![(false, run), (false, run), (true, run), (false, 5)]),
        ];
        for (parts, expected) in cases {
            let file = tempfile::tempfile().unwrap();
            let mut bytes = Vec::new();
            for (length, written) in &parts {
                let offset = bytes.len() as u64;
                bytes.resize(bytes.len() + length, written.unwrap_or(0));
                if let Some(byte) = written {
                    file.write_all_at(&vec![*byte; *length], offset).unwrap();
                }
            }
            file.set_len(bytes.len() as u64).unwrap();
            let expected: Vec<_> = expected.into_iter().map(|(data, length)| (data, length as u64)).collect();
            let mut reading = Reading::new(&file);
            assert_eq!(all(&mut reading), (expected, bytes.clone()), "{parts:?}");
            assert_eq!(reading.digest().unwrap(), Digest::of(&bytes), "{parts:?}");
            let memory = &*bytes;
            let mut reading = Reading::new(&memory);
            assert_eq!((all(&mut reading).1, reading.digest().unwrap()), (bytes.clone(), Digest::of(&bytes)));
        }
    }

    /// Stamps differ by the kernel's clock, which stands still for some milliseconds.
    fn change(file: &File, bytes: &[u8]) {
        let before = Stamp::of(file).unwrap();
        while Stamp::of(file).unwrap() == before {
            file.write_all_at(bytes, 0).unwrap();
        }
    }

    #[test]
    fn what_is_known_is_not_hashed_unless_it_was_changed() {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(b"abc", 0).unwrap();
        let (stamp, told) = (Stamp::of(&file).unwrap(), Digest::of(b"told"));
        let verified = |stamp| Verified { file: file.try_clone().unwrap(), digest: told, stamp };
        let read = |image: &Verified, meanwhile: &dyn Fn()| {
            let mut reading = Reading::new(image);
            let first = reading.piece().unwrap();
            let mut fork = reading.fork();
            meanwhile();
            assert!(first.is_some() && reading.piece().unwrap().is_none() && fork.piece().unwrap().is_none());
            [&mut reading, &mut fork].map(|reading| reading.digest().map_err(|error| error.to_string()))
        };
        let hashed = || Ok(Digest::of(b"abc"));
        // What was told is not what is in it: nobody has looked.
        assert_eq!(read(&verified(Some(stamp)), &|| ()), [Ok(told), Ok(told)]);
        assert_eq!(read(&verified(None), &|| ()), [hashed(), hashed()]);
        let changed = || Err("it was changed while it was sent".to_owned());
        assert_eq!(read(&verified(Some(stamp)), &|| change(&file, b"abc")), [changed(), changed()]);
        assert_eq!(read(&verified(Some(stamp)), &|| ()), [hashed(), hashed()]);
    }

    /// Ends or grows, whatever it said before.
    struct Liar {
        says: u64,
        has: u64,
    }

    impl Image for Liar {
        fn size(&self) -> io::Result<u64> {
            Ok(self.says)
        }

        fn extent(&self, offset: u64) -> io::Result<Option<Range<u64>>> {
            Ok(Some(offset..self.says).filter(|range| !range.is_empty()))
        }

        fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
            // Short reads, as from a slow file system.
            let count = usize::try_from(self.has.saturating_sub(offset)).unwrap().min(buffer.len()).min(1000);
            buffer[..count].fill(1);
            Ok(count)
        }
    }

    #[test]
    fn a_file_that_changes_ends_where_it_ends() {
        for (says, has, length) in [(5000, 3000, 3000), (3000, 5000, 3000), (u64::MAX, 5000, 5000), (5, 0, 0)] {
            assert_eq!(all(&mut Reading::new(&Liar { says, has })).1, vec![1; length]);
        }
    }

    #[test]
    fn a_fork_goes_on_by_itself() {
        let bytes: Vec<u8> = (0..5 * BLOCK)
            .map(|i| if (i / RUN).is_multiple_of(3) { 0 } else { u8::try_from(i % 253).unwrap() })
            .collect();
        let memory = &*bytes;
        for pieces in [0, 1, 2, 20, 1000] {
            let mut reading = Reading::new(&memory);
            let begun: u64 = (0..pieces).map_while(|_| reading.piece().unwrap()).map(|piece| piece.length()).sum();
            let rest = &bytes[usize::try_from(begun).unwrap()..];
            let mut fork = reading.fork();
            for source in [&mut reading, &mut fork] {
                assert_eq!((all(source).1, source.digest().unwrap()), (rest.to_vec(), Digest::of(&bytes)), "{pieces}");
            }
        }
    }

    #[test]
    fn blocks_that_are_held_are_not_written_again() {
        let bytes: Vec<u8> = (0..(KEPT + 4) * BLOCK).map(|i| u8::try_from((i / BLOCK) % 250 + 1).unwrap()).collect();
        let memory = &*bytes;
        let mut reading = Reading::new(&memory);
        let held: Vec<_> = std::iter::from_fn(|| reading.piece().unwrap()).collect();
        let first = |piece: &Piece| piece.data(0..BLOCK as u64).map(|data| (data[0], data[BLOCK - 1]));
        let expected: Vec<_> = bytes.chunks(BLOCK).map(|block| Some((block[0], block[BLOCK - 1]))).collect();
        assert_eq!(held.iter().map(first).collect::<Vec<_>>(), expected);
    }
}
