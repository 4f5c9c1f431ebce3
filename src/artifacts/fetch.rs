//! From a lock to verified files in the store.

use std::path::PathBuf;

use super::checksum::Checksum;
use super::lock::{Entry, list};
use super::parallel;
use super::source::{Body, Resume, Source, SourceError};
use super::store::{Begun, Held, Part, Store, StoreError};
use crate::progress::{Progress, Task};

/// A locked file in the store, verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob {
    /// What it is.
    pub entry: Entry,
    /// Where it is; read-only.
    pub path: PathBuf,
}

/// Why a locked file is not in the store.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// Nothing may be fetched, and these are not there or damaged.
    #[error("offline, and the cache lacks {}", missing.join(", "))]
    Offline {
        /// Kind, version and architecture of each.
        missing: Vec<String>,
    },
    /// The place to fetch from does not have them.
    #[error("{}", list("files are missing: ", missing))]
    Missing {
        /// All of them.
        missing: Vec<SourceError>,
    },
    /// The file that came has another digest than the locked one; nothing of it was kept.
    #[error("{artifact} from {place} has digest {got}, and {want} is locked")]
    Mismatch {
        /// Kind, version and architecture.
        artifact: String,
        /// Where it came from.
        place: String,
        /// The locked digest.
        want: Box<Checksum>,
        /// What came.
        got: Box<Checksum>,
    },
    /// The file has another size than the locked one; nothing of it was kept.
    #[error("{artifact} from {place} has {got} bytes{}, and {want} are locked", if *more { " or more" } else { "" })]
    WrongSize {
        /// Kind, version and architecture.
        artifact: String,
        /// Where it came from.
        place: String,
        /// The locked size in bytes.
        want: u64,
        /// The size that is announced or that came.
        got: u64,
        /// Whether there may be more: reading stopped there.
        more: bool,
    },
    /// The file does not come.
    #[error("cannot fetch {artifact}")]
    Source {
        /// Kind, version and architecture.
        artifact: String,
        /// What failed.
        #[source]
        source: SourceError,
    },
    /// The file cannot be kept.
    #[error("cannot store {artifact}")]
    Store {
        /// Kind, version and architecture.
        artifact: String,
        /// What failed.
        #[source]
        source: StoreError,
    },
}

impl FetchError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Offline { .. } => Some("run `nodebake fetch` without --offline where there is a network or a mirror".to_owned()),
            Self::Missing { missing } => missing.first()?.hint(),
            Self::Mismatch { .. } | Self::WrongSize { .. } => Some(
                "if upstream has replaced the file (cloud images move on under one address), `nodebake lock` takes the new \
                 one; else somebody has tampered with it"
                    .to_owned(),
            ),
            Self::Source { source, .. } => source.hint(),
            Self::Store { source, .. } => source.hint(),
        }
    }

    /// Whether other bytes came than were locked.
    pub fn is_mismatch(&self) -> bool {
        matches!(self, Self::Mismatch { .. } | Self::WrongSize { .. })
    }

    fn is_missing(&self) -> bool {
        matches!(self, Self::Source { source, .. } if source.is_missing())
    }
}

/// Brings locked files into the store, several at once, and gives them in the same order. What is there and verified
/// is not asked for again; a damaged blob is replaced.
pub fn fetch(
    entries: &[&Entry],
    store: &Store,
    source: &Source,
    offline: bool,
    progress: &dyn Progress,
) -> Result<Vec<Blob>, FetchError> {
    if offline {
        return held(entries, store);
    }
    let one = |entry: &&Entry| Fetching { entry, store, source, progress }.run();
    let stop = |result: &Result<PathBuf, FetchError>| result.as_ref().is_err_and(|error| !error.is_missing());
    let (mut blobs, mut missing) = (Vec::new(), Vec::new());
    for (entry, result) in entries.iter().zip(parallel::map(entries, one, stop)) {
        match result {
            Some(Ok(path)) => blobs.push(Blob { entry: (*entry).clone(), path }),
            Some(Err(FetchError::Source { source, .. })) if source.is_missing() => missing.push(source),
            Some(Err(error)) => return Err(error),
            // Not begun, after an error that stands further on.
            None => {}
        }
    }
    if missing.is_empty() { Ok(blobs) } else { Err(FetchError::Missing { missing }) }
}

/// What is in the store already; an error names everything that is not.
fn held(entries: &[&Entry], store: &Store) -> Result<Vec<Blob>, FetchError> {
    let look_up = |entry: &&Entry| store.look_up(&entry.checksum, entry.size);
    let (mut blobs, mut missing) = (Vec::new(), Vec::new());
    let all = parallel::map(entries, look_up, |_| false);
    for (&entry, held) in entries.iter().zip(all.into_iter().flatten()) {
        match held.map_err(|source| FetchError::Store { artifact: entry.to_string(), source })? {
            Held::Good(path) => blobs.push(Blob { entry: entry.clone(), path }),
            Held::Damaged(path) => missing.push(format!("{entry}, whose copy {} is damaged", path.display())),
            Held::No => missing.push(entry.to_string()),
        }
    }
    if missing.is_empty() { Ok(blobs) } else { Err(FetchError::Offline { missing }) }
}

struct Fetching<'a> {
    entry: &'a Entry,
    store: &'a Store,
    source: &'a Source,
    progress: &'a dyn Progress,
}

impl Fetching<'_> {
    fn run(&self) -> Result<PathBuf, FetchError> {
        let Entry { checksum, size, .. } = self.entry;
        if let Held::Good(path) = self.store.look_up(checksum, *size).map_err(|error| self.storing(error))? {
            return Ok(path);
        }
        let mut part = match self.store.begin(checksum, *size).map_err(|error| self.storing(error))? {
            Begun::Held(path) => return Ok(path),
            Begun::Part(part) => part,
        };
        let resumed = self.download(&mut part)?;
        if resumed && part.digest() != *checksum {
            // Two halves of two files, whatever the server said of their being one: once more, in one piece.
            part.restart().map_err(|error| self.storing(error))?;
            self.download(&mut part)?;
        }
        part.finish().map_err(|error| self.storing(error))?.map_err(|got| FetchError::Mismatch {
            artifact: self.entry.to_string(),
            place: self.source.place(&self.entry.url),
            want: Box::new(*checksum),
            got: Box::new(got),
        })
    }

    /// Fills `part` to the locked size, over several tries where it must be. Says whether it went on where an earlier
    /// try was cut.
    fn download(&self, part: &mut Part) -> Result<bool, FetchError> {
        let mut validator: Option<String> = None;
        let mut resumed = false;
        let may_pass = |error: &FetchError| matches!(error, FetchError::Source { source, .. } if source.may_pass());
        self.source.patiently(may_pass, || {
            let resume = validator.take().filter(|_| part.length() > 0);
            let resume = resume.map(|validator| Resume { from: part.length(), validator });
            let mut body = self.source.open(&self.entry.url, resume.as_ref()).map_err(|error| self.sourcing(error))?;
            if body.start == 0 {
                part.restart().map_err(|error| self.storing(error))?;
            }
            resumed = body.start > 0;
            validator = body.validator.take();
            self.announced(&body)?;
            self.copy(&mut body, part)
        })?;
        Ok(resumed)
    }

    /// A server that announces another size is not asked for the bytes.
    fn announced(&self, body: &Body) -> Result<(), FetchError> {
        match body.size {
            Some(got) if got != self.entry.size => Err(self.wrong_size(got, false)),
            _ => Ok(()),
        }
    }

    fn copy(&self, body: &mut Body, part: &mut Part) -> Result<(), FetchError> {
        let Entry { kind, version, size, .. } = self.entry;
        let task: Box<dyn Task> = self.progress.task(&format!("fetch {kind} {version}"), Some(*size));
        task.advance(part.length());
        let mut block = vec![0; 256 << 10];
        loop {
            let n = body.read(&mut block).map_err(|error| self.sourcing(error))?;
            if part.length() + n as u64 > *size {
                return Err(self.wrong_size(part.length() + n as u64, true));
            }
            if n == 0 {
                break;
            }
            part.write(&block[..n]).map_err(|error| self.storing(error))?;
            task.advance(n as u64);
        }
        if part.length() < *size {
            let place = self.source.place(&self.entry.url);
            return Err(self.sourcing(SourceError::Short { place, got: part.length(), want: *size }));
        }
        task.done();
        Ok(())
    }

    fn wrong_size(&self, got: u64, more: bool) -> FetchError {
        let place = self.source.place(&self.entry.url);
        FetchError::WrongSize { artifact: self.entry.to_string(), place, want: self.entry.size, got, more }
    }

    fn sourcing(&self, source: SourceError) -> FetchError {
        FetchError::Source { artifact: self.entry.to_string(), source }
    }

    fn storing(&self, source: StoreError) -> FetchError {
        FetchError::Store { artifact: self.entry.to_string(), source }
    }
}
