//! From what is wanted to what is locked: asks for checksum files, signatures and sizes.

use std::io;
use std::path::Path;

use jiff::Timestamp;
use jiff::civil::Date;
use url::Url;

use super::{Entry, Lock, LockError, Trust};
use crate::artifacts::catalog::{Published, Signed, Supply, Wanted};
use crate::artifacts::checksum::{self, Algorithm, Checksum};
use crate::artifacts::release::{Release, ReleaseError};
use crate::artifacts::signature::{Keyring, SignatureError, Signer};
use crate::artifacts::source::{Source, SourceError};
use crate::config::Location;
use crate::parallel;
use crate::progress::Progress;

/// Larger than any checksum file that upstream publishes.
const CHECKSUM_FILE_LIMIT: usize = 1 << 20;

/// What a lock is made from.
#[derive(Clone, Copy)]
#[expect(missing_debug_implementations, reason = "who is told of progress has nothing to show")]
pub struct Locking<'a> {
    /// Where it is asked for.
    pub source: &'a Source,
    /// Entries that stay as they are where they fit what is wanted.
    pub kept: &'a [Entry],
    /// When; no key that has expired by then vouches for anything.
    pub now: Timestamp,
    /// Whom to tell.
    pub progress: &'a dyn Progress,
}

pub(super) type Keys<'a> = &'a (dyn Fn(Signer) -> Result<Keyring, SignatureError> + Sync);

impl Lock {
    /// Locks everything wanted: as it was kept, else with the size and the digest that are published now.
    pub fn make(wanted: &[Wanted], how: Locking) -> Result<Self, LockError> {
        Self::make_with(wanted, how, &Signer::keyring)
    }

    pub(super) fn make_with(wanted: &[Wanted], how: Locking, keys: Keys) -> Result<Self, LockError> {
        let task = how.progress.task("lock", None);
        let fatal = |result: &Result<Entry, LockError>| match result {
            Err(LockError::Source { source, .. }) => !source.is_missing(),
            other => other.is_err(),
        };
        let one = |wanted: &Wanted| match how.kept.iter().find(|entry| entry.misfit(wanted).is_none()) {
            Some(entry) => Ok(entry.clone()),
            None => One { wanted, how, keys }.lock(),
        };
        let results = parallel::map(wanted, parallel::AT_ONCE, one, fatal);
        let entries = all_or_missing(results.into_iter().flatten())?;
        task.done();
        Ok(Self::sorted(entries))
    }
}

/// The entries; or the first error that is more than a missing file, else all missing files at once.
fn all_or_missing(results: impl Iterator<Item = Result<Entry, LockError>>) -> Result<Vec<Entry>, LockError> {
    let (mut entries, mut missing) = (Vec::new(), Vec::new());
    for result in results {
        match result {
            Ok(entry) => entries.push(entry),
            Err(LockError::Source { source, .. }) if source.is_missing() => missing.push(source),
            Err(error) => return Err(error),
        }
    }
    if missing.is_empty() { Ok(entries) } else { Err(LockError::Missing { missing }) }
}

/// One file on its way into the lock.
pub(super) struct One<'a> {
    pub(super) wanted: &'a Wanted,
    pub(super) how: Locking<'a>,
    pub(super) keys: Keys<'a>,
}

impl One<'_> {
    fn lock(&self) -> Result<Entry, LockError> {
        match &self.wanted.supply {
            Supply::Fixed(published) => self.published(published, None),
            Supply::Moving(moving) => {
                let release = Release::newest(&moving.newest, moving.form, self.how.source);
                let release = release.map_err(|source| self.no_release(source))?;
                let published = moving.at(&release);
                let published = published.map_err(|source| LockError::Catalog { artifact: self.artifact(), source })?;
                self.published(&published, Some(release.date()))
            }
            Supply::Given { from, checksum } => self.given(from, *checksum),
        }
    }

    fn artifact(&self) -> String {
        let Wanted { kind, version, arch, .. } = self.wanted;
        format!("{kind} {version} ({arch})")
    }

    fn sourcing(&self, source: SourceError) -> LockError {
        LockError::Source { artifact: self.artifact(), source }
    }

    /// A file that is simply missing is told with the others that are.
    fn no_release(&self, source: ReleaseError) -> LockError {
        match source {
            ReleaseError::Source { source } if source.is_missing() => self.sourcing(source),
            source => LockError::Release { artifact: self.artifact(), source },
        }
    }

    fn entry(&self, from: Location, size: u64, checksum: Checksum, trust: Trust) -> Entry {
        let Wanted { kind, version, arch, .. } = self.wanted;
        let (version, alternates) = (version.clone(), Vec::new());
        Entry { kind: *kind, arch: *arch, version, from, alternates, size, checksum, released: None, trust }
    }

    pub(super) fn published(&self, published: &Published, released: Option<Date>) -> Result<Entry, LockError> {
        let Published { url, alternates, checksums, algorithm, place, signed } = published;
        let file = self.read(checksums).map_err(|source| self.sourcing(source))?;
        let (file, trust) = self.verified(file, checksums, signed)?;
        let checksum = checksum::find(&file, *algorithm, place).map_err(|error| LockError::ChecksumFile {
            artifact: self.artifact(),
            place: self.how.source.place(checksums),
            source: error,
        })?;
        let entry = self.entry(Location::Url(url.clone()), self.size(url)?, checksum, trust);
        Ok(Entry { alternates: alternates.clone(), released, ..entry })
    }

    fn read(&self, url: &Url) -> Result<Vec<u8>, SourceError> {
        self.how.source.read(url, CHECKSUM_FILE_LIMIT)
    }

    /// The part of a checksum file that may be believed, and why.
    fn verified(&self, file: Vec<u8>, url: &Url, signed: &Signed) -> Result<(Vec<u8>, Trust), LockError> {
        let artifact = || self.artifact();
        let bad = |source| {
            let (place, source) = (self.how.source.place(url), Box::new(source));
            LockError::Signature { artifact: artifact(), place, source }
        };
        match signed {
            Signed::No(reason) => Ok((file, Trust::Unsigned(reason.clone()))),
            Signed::Clear(signer) => {
                let keys = (self.keys)(*signer).map_err(bad)?;
                let (text, key) = keys.clear_signed(&file, self.how.now).map_err(bad)?;
                Ok((text.into_bytes(), Trust::Signed(key)))
            }
            Signed::Detached(signer, url) => {
                let signature = self.read(url).map_err(|source| match source {
                    source if source.is_missing() => LockError::NoSignature { artifact: artifact(), source },
                    source => self.sourcing(source),
                })?;
                let keys = (self.keys)(*signer).map_err(bad)?;
                let key = keys.detached(&file, &signature, self.how.now).map_err(bad)?;
                Ok((file, Trust::Signed(key)))
            }
        }
    }

    fn size(&self, url: &Url) -> Result<u64, LockError> {
        let source = self.how.source;
        match source.size(url).map_err(|source| self.sourcing(source))? {
            0 => Err(LockError::Empty { artifact: self.artifact(), place: source.place(url) }),
            size => Ok(size),
        }
    }

    /// The bytes of a file of this machine are there to be looked at; those behind an address are when they are fetched.
    fn given(&self, from: &Location, checksum: Checksum) -> Result<Entry, LockError> {
        let size = match from {
            Location::Url(url) => self.size(url)?,
            Location::Path(path) => {
                let (size, got) = digest(path, checksum.algorithm()).map_err(|source| LockError::GivenFile {
                    artifact: self.artifact(),
                    path: path.clone(),
                    source,
                })?;
                if got != checksum {
                    let (want, got) = (Box::new(checksum), Box::new(got));
                    return Err(LockError::GivenDigest { artifact: self.artifact(), path: path.clone(), want, got });
                }
                if size == 0 {
                    return Err(LockError::Empty { artifact: self.artifact(), place: path.display().to_string() });
                }
                size
            }
        };
        Ok(self.entry(from.clone(), size, checksum, Trust::Given))
    }
}

/// Size in bytes and digest of a file.
fn digest(path: &Path, algorithm: Algorithm) -> io::Result<(u64, Checksum)> {
    let mut hasher = algorithm.hasher();
    let size = hasher.take_all(&mut std::fs::File::open(path)?, |_| {})?;
    Ok((size, hasher.finish()))
}
