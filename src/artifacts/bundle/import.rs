//! Reading a bundle, strictly.

use std::io::{self, Read};
use std::path::Path;

use super::super::checksum::Checksum;
use super::super::lock::Lock;
use super::super::store::{Begun, Part, Store};
use super::{BundleError, LOCK, PIECE, SHA256SUMS, SHA512SUMS, archive, blobs, digest_of, sums};
use crate::progress::Progress;

/// Largest list of digests or lock file that is read, in bytes.
const MAX_TEXT: u64 = 16 << 20;

/// A bundle that was opened: its lock was read and found to be the one that its lists of digests mean.
pub struct Bundle<R> {
    input: Input<R>,
    lock: Lock,
    lock_text: Vec<u8>,
}

impl<R: Read> Bundle<R> {
    /// Reads everything before the blobs; errors call the bundle `place`.
    pub fn open(reader: R, place: &str) -> Result<Self, BundleError> {
        let mut input = Input { reader, place: place.to_owned() };
        let mut head = [0; archive::BLOCK];
        let whole = input.fill(&mut head)?;
        if !whole || !is_first(&head) {
            return Err(BundleError::NotABundle { place: input.place });
        }
        let mut lists = vec![(SHA256SUMS, input.text(SHA256SUMS, &head)?)];
        input.whole(&mut head, LOCK)?;
        if archive::peek(&head).0 == SHA512SUMS {
            lists.push((SHA512SUMS, input.text(SHA512SUMS, &head)?));
            input.whole(&mut head, LOCK)?;
        }
        let lock_text = input.text(LOCK, &head)?;
        input.check_lock(&lists[0].1, &lock_text)?;
        let text = std::str::from_utf8(&lock_text).map_err(|_| input.damaged(format!("{LOCK} is not text")))?;
        let lock = Lock::parse(text, Path::new(LOCK))
            .map_err(|source| BundleError::Lock { place: input.place.clone(), source })?;
        let wanted = sums(&lock, &lock_text);
        let same = |((name, bytes), (wanted_name, text)): (&(&str, Vec<u8>), &(&str, String))| {
            name == wanted_name && bytes == text.as_bytes()
        };
        if lists.len() != wanted.len() || !lists.iter().zip(&wanted).all(same) {
            return Err(input.damaged("its lists of digests are not those of its lock file"));
        }
        Ok(Self { input, lock, lock_text })
    }

    /// The lock.
    pub fn lock(&self) -> &Lock {
        &self.lock
    }

    /// The bytes of its file.
    pub fn lock_text(&self) -> &[u8] {
        &self.lock_text
    }

    /// Brings all blobs into the store, each whole and verified or not at all; what is there already is read and verified
    /// all the same. Returns how many there are, once the bundle has ended as it should.
    pub fn fill(mut self, store: &Store, progress: &dyn Progress) -> Result<usize, BundleError> {
        let blobs = blobs(&self.lock);
        for (name, (checksum, size)) in &blobs {
            self.input.head(&archive::head(name, *size), name)?;
            let entry = self.lock.entries().iter().find(|entry| entry.checksum == *checksum);
            let what = entry.map_or_else(|| name.clone(), |entry| format!("{} {}", entry.kind, entry.version));
            let task = progress.task(&format!("import {what}"), Some(*size));
            self.input.blob(name, checksum, *size, store, &|bytes| task.advance(bytes))?;
            task.done();
        }
        self.input.head(&archive::END, "its end")?;
        if self.input.fill(&mut [0])? {
            return Err(self.input.damaged("something follows its end"));
        }
        Ok(blobs.len())
    }
}

/// Whether these are the first bytes of a bundle.
pub(super) fn is_first(head: &[u8; archive::BLOCK]) -> bool {
    let size = archive::peek(head).1;
    size.is_some_and(|size| archive::head(SHA256SUMS, size) == head)
}

struct Input<R> {
    reader: R,
    place: String,
}

impl<R: Read> Input<R> {
    fn damaged(&self, what: impl Into<String>) -> BundleError {
        BundleError::Damaged { place: self.place.clone(), what: what.into() }
    }

    fn failed(&self, source: io::Error) -> BundleError {
        BundleError::Io { action: "read", place: self.place.clone(), source }
    }

    /// Fills `bytes`; says no if the bundle ends before.
    fn fill(&mut self, bytes: &mut [u8]) -> Result<bool, BundleError> {
        match self.reader.read_exact(bytes) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            Err(error) => Err(self.failed(error)),
        }
    }

    fn whole(&mut self, bytes: &mut [u8], what: &str) -> Result<(), BundleError> {
        if self.fill(bytes)? { Ok(()) } else { Err(self.damaged(format!("it ends in or before {what}"))) }
    }

    /// Compares the next blocks with those that should be there: `what`'s header, or the end of the archive.
    fn head(&mut self, wanted: &[u8], what: &str) -> Result<(), BundleError> {
        let mut found = vec![0; wanted.len()];
        self.whole(&mut found, what)?;
        if found == wanted { Ok(()) } else { Err(self.unlike(what, found.first_chunk())) }
    }

    /// Reads the zeros behind a file's data.
    fn padding(&mut self, size: u64, name: &str) -> Result<(), BundleError> {
        let wanted = archive::padding(size);
        let mut found = [0; archive::BLOCK];
        let found = &mut found[..wanted.len()];
        self.whole(found, &format!("the end of {name}"))?;
        if found == wanted { Ok(()) } else { Err(self.damaged(format!("something stands behind {name}"))) }
    }

    /// Says what stands in the place of something else.
    fn unlike(&self, what: &str, head: Option<&[u8; archive::BLOCK]>) -> BundleError {
        let found = head.filter(|head| head.iter().any(|byte| *byte != 0)).map(archive::peek);
        self.damaged(match found {
            Some((name, _)) if name != what => format!("{name:?} stands where {what} should"),
            Some(_) => format!("{what} has a header that nodebake does not write"),
            None => format!("zeros stand where {what} should"),
        })
    }

    /// Reads one of the texts, whose header was read already.
    fn text(&mut self, name: &str, head: &[u8; archive::BLOCK]) -> Result<Vec<u8>, BundleError> {
        let size = archive::peek(head).1.filter(|size| archive::head(name, *size) == head);
        let size = size.ok_or_else(|| self.unlike(name, Some(head)))?;
        if size > MAX_TEXT {
            return Err(self.damaged(format!("{name} has {size} bytes, and at most {MAX_TEXT} are read")));
        }
        let mut text = vec![0; usize::try_from(size).unwrap_or_default()];
        self.whole(&mut text, name)?;
        self.padding(size, name)?;
        Ok(text)
    }

    /// Compares the lock with what the list says of it, before it is read.
    fn check_lock(&self, list: &[u8], lock: &[u8]) -> Result<(), BundleError> {
        let list = String::from_utf8_lossy(list);
        let listed = list.lines().find_map(|line| line.strip_suffix(LOCK)?.strip_suffix("  "));
        let want = listed.and_then(|hex| super::Algorithm::Sha256.parse(hex));
        let want = want.ok_or_else(|| self.damaged(format!("{SHA256SUMS} does not list {LOCK}")))?;
        self.compare(LOCK, &want, digest_of(lock))
    }

    fn compare(&self, name: &str, want: &Checksum, got: Checksum) -> Result<(), BundleError> {
        if got == *want {
            return Ok(());
        }
        let (place, name) = (self.place.clone(), name.to_owned());
        Err(BundleError::Mismatch { place, name, want: Box::new(*want), got: Box::new(got) })
    }

    fn blob(
        &mut self,
        name: &str,
        checksum: &Checksum,
        size: u64,
        store: &Store,
        on_bytes: &dyn Fn(u64),
    ) -> Result<(), BundleError> {
        let storing = |source| BundleError::Store { name: name.to_owned(), source };
        let mut part: Option<Box<Part>> = match store.begin(checksum, size).map_err(storing)? {
            Begun::Held(_) => None,
            Begun::Part(part) => Some(part),
        };
        let mut hasher = checksum.algorithm().hasher();
        let mut piece = vec![0; PIECE.min(usize::try_from(size).unwrap_or(PIECE))];
        let mut left = size;
        while left > 0 {
            let count = piece.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            self.whole(&mut piece[..count], name)?;
            match &mut part {
                Some(part) => part.write(&piece[..count]).map_err(storing)?,
                None => hasher.update(&piece[..count]),
            }
            left -= count as u64;
            on_bytes(count as u64);
        }
        let got = match part {
            Some(part) => part.finish().map_err(storing)?.err().unwrap_or(*checksum),
            None => hasher.finish(),
        };
        self.compare(name, checksum, got)?;
        self.padding(size, name)
    }
}
