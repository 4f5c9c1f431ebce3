//! nodebake.lock: the address, size and digest of every file that goes into a node.

use std::fmt;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use url::Url;

use super::catalog::{CatalogError, Kind, Published, Signed, Supply, Wanted};
use super::checksum::{self, Algorithm, Checksum, ChecksumFileError};
use super::parallel;
use super::release::{Release, ReleaseError};
use super::signature::{Fingerprint, Keyring, SignatureError, Signer};
use super::source::{Source, SourceError};
use crate::config::{Arch, Location};
use crate::progress::Progress;
use crate::whole_file;

/// Larger than any checksum file that upstream publishes.
const CHECKSUM_FILE_LIMIT: usize = 1 << 20;

const API_VERSION: &str = "nodebake/v1";

const HEADER: &str = "\
# Written by `nodebake lock` from the checksum files that upstream publishes; kept with nodebake.yaml. Nothing else goes
# into a node.
";

/// The lock file: sorted, at most one entry for each kind (where there can be several, each name) and architecture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lock {
    entries: Vec<Entry>,
}

/// One locked file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What it is.
    pub kind: Kind,
    /// The architecture that it is for.
    pub arch: Arch,
    /// Its version without a leading `v`; of a base image the name in the catalogue, of a kind that
    /// [is named](Kind::is_named) its name.
    pub version: String,
    /// Where it is.
    pub from: Location,
    /// Further addresses of the same bytes, asked after the first.
    pub alternates: Vec<Url>,
    /// Its size in bytes.
    pub size: u64,
    /// Its digest.
    pub checksum: Checksum,
    /// When upstream released it, where that says something: of a base image.
    pub released: Option<Date>,
    /// Why the digest is believed.
    pub trust: Trust,
}

/// Why a digest is believed to be what its publisher meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// The list that it stands in was signed by this key.
    Signed(Fingerprint),
    /// Nothing but the way that it came by; the reason why no signature was checked.
    Unsigned(String),
    /// It stands in the cluster file.
    Given,
}

/// As the table of `nodebake lock` shows it.
impl fmt::Display for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signed(key) => write!(f, "signed by {key}"),
            Self::Unsigned(reason) => write!(f, "unsigned: {reason}"),
            Self::Given => f.write_str("given"),
        }
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ({})", self.kind, self.version, self.arch)
    }
}

/// Why there is no lock to build on.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// There is no lock file.
    #[error("there is no {}", path.display())]
    Absent {
        /// Where it should be.
        path: PathBuf,
    },
    /// The lock file cannot be read or written.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried, a verb.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The lock file is not what we write.
    #[error("{} is not a lock file", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        #[source]
        source: serde_yaml::Error,
    },
    /// The lock file's values cannot be.
    #[error("{}: {reason}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong, and with which entry.
        reason: String,
    },
    /// The cluster file asks for something else than what is locked.
    #[error("the lock does not fit the cluster file: {}", changes.join("; "))]
    Stale {
        /// One line for each file that moved.
        changes: Vec<String>,
    },
    /// Files that are needed to lock do not exist.
    #[error("{}", list("files are missing: ", missing))]
    Missing {
        /// All of them.
        missing: Vec<SourceError>,
    },
    /// A file cannot be asked for.
    #[error("cannot lock {artifact}")]
    Source {
        /// Kind, version and architecture.
        artifact: String,
        /// What failed.
        #[source]
        source: SourceError,
    },
    /// Upstream's checksum file does not give the digest.
    #[error("cannot lock {artifact} from {place}")]
    ChecksumFile {
        /// Kind, version and architecture.
        artifact: String,
        /// Where the checksum file came from.
        place: String,
        /// What is wrong with it.
        #[source]
        source: ChecksumFileError,
    },
    /// The checksum file is not what upstream signed.
    #[error("cannot lock {artifact} from {place}")]
    Signature {
        /// Kind, version and architecture.
        artifact: String,
        /// Where the checksum file came from.
        place: String,
        /// What is wrong with its signature.
        #[source]
        source: Box<SignatureError>,
    },
    /// There is no signature where upstream always has one.
    #[error("cannot lock {artifact}, whose checksums upstream always signs")]
    NoSignature {
        /// Kind, version and architecture.
        artifact: String,
        /// What is missing.
        #[source]
        source: SourceError,
    },
    /// It is not known which release is the newest.
    #[error("cannot lock {artifact}")]
    Release {
        /// Kind, version and architecture.
        artifact: String,
        /// What is wrong.
        #[source]
        source: ReleaseError,
    },
    /// The catalogue gives no address for a release.
    #[error("cannot lock {artifact}")]
    Catalog {
        /// Kind, version and architecture.
        artifact: String,
        /// What is wrong.
        #[source]
        source: CatalogError,
    },
    /// A file of the user's own cannot be read.
    #[error("cannot lock {artifact}: {} cannot be read", path.display())]
    GivenFile {
        /// Kind, version and architecture.
        artifact: String,
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A file of the user's own has another digest than the cluster file says.
    #[error("cannot lock {artifact}: {} has {got}, the cluster file says {want}", path.display())]
    GivenDigest {
        /// Kind, version and architecture.
        artifact: String,
        /// The file.
        path: PathBuf,
        /// What the cluster file says.
        want: Box<Checksum>,
        /// What the file has.
        got: Box<Checksum>,
    },
    /// The file is empty where it is published.
    #[error("{artifact} is empty at {place}")]
    Empty {
        /// Kind, version and architecture.
        artifact: String,
        /// Where it was looked for.
        place: String,
    },
}

/// One error by itself, several as a list.
pub(crate) fn list(before: &str, items: &[impl fmt::Display]) -> String {
    match items {
        [item] => item.to_string(),
        _ => format!("{before}{}", items.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")),
    }
}

impl LockError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Absent { .. } | Self::Stale { .. } => Some("run `nodebake lock`".to_owned()),
            Self::Syntax { .. } | Self::Invalid { .. } => {
                Some("restore the file, or remove it and run `nodebake lock`".to_owned())
            }
            Self::Missing { missing } => missing.first()?.hint(),
            Self::Source { source, .. } | Self::NoSignature { source, .. } => source.hint(),
            Self::Signature { source, .. } => source.hint(),
            Self::Release { source, .. } => source.hint(),
            Self::Catalog { source, .. } => source.hint(),
            Self::GivenFile { .. } => Some("check the path under artifacts: in the cluster file".to_owned()),
            Self::GivenDigest { .. } => {
                Some("if the file is the right one, write its digest under artifacts: in the cluster file".to_owned())
            }
            Self::ChecksumFile { .. } | Self::Empty { .. } => {
                Some("what is published there is not what we know; check the mirror or proxy".to_owned())
            }
            Self::Io { source, .. } => whole_file::hint(source),
        }
    }

    /// Whether the lock file is missing, stale or not readable as one, so that only `nodebake lock` helps.
    pub fn is_about_the_lock(&self) -> bool {
        matches!(self, Self::Absent { .. } | Self::Stale { .. } | Self::Syntax { .. } | Self::Invalid { .. })
    }

    /// Whether bytes are not what somebody vouches for.
    pub fn is_mismatch(&self) -> bool {
        matches!(self, Self::Signature { .. } | Self::NoSignature { .. } | Self::GivenDigest { .. })
    }

    /// Whether the cluster file names what is not there.
    pub fn is_about_the_cluster_file(&self) -> bool {
        matches!(self, Self::GivenFile { .. } | Self::Catalog { .. })
    }
}

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

type Keys<'a> = &'a (dyn Fn(Signer) -> Result<Keyring, SignatureError> + Sync);

impl Lock {
    /// Locks everything wanted: as it was kept, else with the size and the digest that are published now.
    pub fn make(wanted: &[Wanted], how: Locking) -> Result<Self, LockError> {
        Self::make_with(wanted, how, &Signer::keyring)
    }

    fn make_with(wanted: &[Wanted], how: Locking, keys: Keys) -> Result<Self, LockError> {
        let task = how.progress.task("lock", None);
        let fatal = |result: &Result<Entry, LockError>| match result {
            Err(LockError::Source { source, .. }) => !source.is_missing(),
            other => other.is_err(),
        };
        let one = |wanted: &Wanted| match how.kept.iter().find(|entry| entry.misfit(wanted).is_none()) {
            Some(entry) => Ok(entry.clone()),
            None => One { wanted, how, keys }.lock(),
        };
        let results = parallel::map(wanted, one, fatal);
        let entries = all_or_missing(results.into_iter().flatten())?;
        task.done();
        Ok(Self::sorted(entries))
    }

    fn sorted(mut entries: Vec<Entry>) -> Self {
        entries.sort_by(|a, b| a.order().cmp(&b.order()));
        Self { entries }
    }

    /// Reads a lock file, strictly.
    pub fn load(path: &Path) -> Result<Self, LockError> {
        let text = std::fs::read_to_string(path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => LockError::Absent { path: path.to_owned() },
            _ => LockError::Io { action: "read", path: path.to_owned(), source },
        })?;
        Self::parse(&text, path)
    }

    /// Reads a lock file's text, strictly; `path` is for errors.
    pub fn parse(text: &str, path: &Path) -> Result<Self, LockError> {
        let file: LockYaml =
            serde_yaml::from_str(text).map_err(|source| LockError::Syntax { path: path.to_owned(), source })?;
        file.check(folder_of(path)).map_err(|reason| LockError::Invalid { path: path.to_owned(), reason })
    }

    /// Writes the lock file, whole or not at all; a file that has these bytes already is not touched. Says whether it
    /// was written.
    pub fn save(&self, path: &Path) -> Result<bool, LockError> {
        let text = self.text(path)?;
        if std::fs::read(path).is_ok_and(|old| old == text.as_bytes()) {
            whole_file::sweep_beside(path);
            return Ok(false);
        }
        // It is no secret and is kept with others' files.
        whole_file::write(path, text.as_bytes(), 0o644).map_err(|source| LockError::Io {
            action: "write",
            path: path.to_owned(),
            source,
        })?;
        Ok(true)
    }

    /// The lock file's text; `path` is for errors.
    pub fn text(&self, path: &Path) -> Result<String, LockError> {
        let file = LockYaml {
            api_version: API_VERSION.to_owned(),
            artifacts: self.entries.iter().map(|entry| EntryYaml::new(entry, folder_of(path))).collect(),
        };
        let yaml =
            serde_yaml::to_string(&file).map_err(|source| LockError::Syntax { path: path.to_owned(), source })?;
        Ok(format!("{HEADER}{yaml}"))
    }

    /// All entries, by kind and architecture.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The entries of a kind for an architecture, sorted by name.
    pub fn of_kind(&self, kind: Kind, arch: Arch) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(move |entry| (entry.kind, entry.arch) == (kind, arch))
    }

    /// The entry of a kind of which there is one for an architecture.
    pub fn get(&self, kind: Kind, arch: Arch) -> Option<&Entry> {
        self.entries.iter().find(|entry| (entry.kind, entry.arch) == (kind, arch))
    }

    /// The entries of what is wanted, in that order; fails with every difference between what the cluster file asks for
    /// and what is locked. Upstream's addresses are not compared: a newer catalogue alone moves nothing.
    pub fn fits(&self, wanted: &[Wanted]) -> Result<Vec<&Entry>, LockError> {
        let (mut entries, mut changes) = (Vec::new(), Vec::new());
        for wanted in wanted {
            let Wanted { kind, version, arch, .. } = wanted;
            match self.entries.iter().find(|entry| entry.order() == wanted.order()) {
                Some(entry) => match entry.misfit(wanted) {
                    Some((locked, wanted)) => {
                        changes.push(format!("{}: {locked} is locked, {wanted} is wanted", entry.subject()));
                    }
                    None => entries.push(entry),
                },
                None if kind.is_named() => changes.push(format!("{kind} {version} ({arch}) is wanted and not locked")),
                None => changes.push(format!("{kind} ({arch}): {version} is wanted and not locked")),
            }
        }
        let gone = |entry: &&Entry| !wanted.iter().any(|wanted| wanted.order() == entry.order());
        changes.extend(self.entries.iter().filter(gone).map(|entry| format!("{entry} is locked and not wanted")));
        if changes.is_empty() { Ok(entries) } else { Err(LockError::Stale { changes }) }
    }

    /// What became of each entry since an older lock, a line each.
    pub fn changes_since(&self, before: &Self) -> Vec<String> {
        let in_both = |entry: &&Entry, other: &Self| other.entries.iter().any(|old| old.order() == entry.order());
        let gone = before.entries.iter().filter(|entry| !in_both(entry, self)).map(|entry| format!("{entry} removed"));
        let moved = self.entries.iter().filter_map(|entry| {
            match before.entries.iter().find(|old| old.order() == entry.order()) {
                Some(old) => entry.moved_from(old),
                None => Some(format!("{entry} added")),
            }
        });
        moved.chain(gone).collect()
    }
}

impl Entry {
    /// By which there is one of it: kind, name where there can be several, architecture.
    pub fn order(&self) -> (Kind, Option<&str>, Arch) {
        (self.kind, self.kind.is_named().then_some(self.version.as_str()), self.arch)
    }

    /// Kind, name where there can be several, and architecture.
    fn subject(&self) -> String {
        if self.kind.is_named() { self.to_string() } else { format!("{} ({})", self.kind, self.arch) }
    }

    /// In what it differs from what is wanted: what is locked, and what should be.
    fn misfit(&self, wanted: &Wanted) -> Option<(String, String)> {
        if self.order() != wanted.order() || self.version != wanted.version {
            return Some((self.version.clone(), wanted.version.clone()));
        }
        match (&wanted.supply, self.trust == Trust::Given) {
            (Supply::Given { .. }, false) => Some(("upstream's".to_owned(), "a given one".to_owned())),
            (Supply::Given { checksum, .. }, true) if *checksum != self.checksum => {
                Some((self.checksum.to_string(), checksum.to_string()))
            }
            (Supply::Given { from, .. }, true) if *from != self.from => Some((self.from.to_string(), from.to_string())),
            (Supply::Fixed(_) | Supply::Moving(_), true) => Some(("a given one".to_owned(), "upstream's".to_owned())),
            _ => None,
        }
    }

    fn moved_from(&self, old: &Self) -> Option<String> {
        let Self { kind, version, arch, .. } = self;
        let trust = |entry: &Self| entry.trust.to_string();
        if old.version != *version {
            return Some(format!("{kind} {} -> {version} ({arch})", old.version));
        }
        if let (Some(before), Some(after)) = (old.released, self.released)
            && before != after
        {
            return Some(format!("{kind} {version} of {before} -> {after} ({arch})"));
        }
        let (before, after) = if old.checksum != self.checksum {
            (old.checksum.to_string(), self.checksum.to_string())
        } else if old.from != self.from {
            (old.from.to_string(), self.from.to_string())
        } else if old.trust != self.trust {
            (trust(old), trust(self))
        } else {
            return (old != self).then(|| format!("{self} is recorded anew"));
        };
        Some(format!("{self}: {before} -> {after}"))
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
struct One<'a> {
    wanted: &'a Wanted,
    how: Locking<'a>,
    keys: Keys<'a>,
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

    fn published(&self, published: &Published, released: Option<Date>) -> Result<Entry, LockError> {
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
    let mut file = std::fs::File::open(path)?;
    let (mut hasher, mut buffer, mut size) = (algorithm.hasher(), vec![0; 1 << 16], 0);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok((size, hasher.finish())),
            n => {
                hasher.update(&buffer[..n]);
                size += n as u64;
            }
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct LockYaml {
    api_version: String,
    artifacts: Vec<EntryYaml>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct EntryYaml {
    kind: Kind,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    arch: Arch,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<PathBuf>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    alternates: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    released: Option<String>,
    size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sha512: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signed_by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unsigned: Option<String>,
    #[serde(default, skip_serializing_if = "is_false")]
    given: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn is_false(value: &bool) -> bool {
    !value
}

/// Where the paths of a lock file start.
fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

impl EntryYaml {
    /// Paths beneath `folder` are written from there, so that the file means the same elsewhere.
    fn new(entry: &Entry, folder: &Path) -> Self {
        let Entry { kind, arch, version, from, alternates, size, checksum, released, trust } = entry.clone();
        let hex = |algorithm| (checksum.algorithm() == algorithm).then(|| checksum.hex());
        let (sha256, sha512) = (hex(Algorithm::Sha256), hex(Algorithm::Sha512));
        let (version, name) = if kind.is_named() { (None, Some(version)) } else { (Some(version), None) };
        let (url, path) = match from {
            Location::Url(url) => (Some(url.into()), None),
            Location::Path(path) => (None, Some(path.strip_prefix(folder).unwrap_or(&path).to_owned())),
        };
        let alternates = alternates.into_iter().map(Into::into).collect();
        let released = released.map(|date| date.to_string());
        let (signed_by, unsigned, given) = match trust {
            Trust::Signed(fingerprint) => (Some(fingerprint.to_string()), None, false),
            Trust::Unsigned(reason) => (None, Some(reason), false),
            Trust::Given => (None, None, true),
        };
        Self {
            kind,
            version,
            name,
            arch,
            url,
            path,
            alternates,
            released,
            size,
            sha256,
            sha512,
            signed_by,
            unsigned,
            given,
        }
    }
}

impl LockYaml {
    fn check(self, folder: &Path) -> Result<Lock, String> {
        if self.api_version != API_VERSION {
            return Err(format!("apiVersion is {:?}, not {API_VERSION}", self.api_version));
        }
        let entries = self.artifacts.into_iter().map(|entry| entry.check(folder)).collect::<Result<_, _>>()?;
        let lock = Lock::sorted(entries);
        let twice = lock.entries.windows(2).find(|pair| pair[0].order() == pair[1].order());
        match twice {
            Some(pair) if pair[0].kind.is_named() => Err(format!("{} is listed twice", pair[0])),
            Some(pair) => Err(format!("{} ({}) is listed twice", pair[0].kind, pair[0].arch)),
            None => Ok(lock),
        }
    }
}

impl EntryYaml {
    fn check(self, folder: &Path) -> Result<Entry, String> {
        let Self { kind, version, name, arch, url, path, alternates, released, size, sha256, sha512, .. } = self;
        let (signed_by, unsigned, given) = (self.signed_by, self.unsigned, self.given);
        let about = |reason: &str| format!("{kind} ({arch}): {reason}");
        let parse = |algorithm: Algorithm, hex: String| {
            algorithm.parse(&hex).ok_or_else(|| about(&format!("{hex:?} is not a {algorithm} digest")))
        };
        let checksum = match (sha256, sha512) {
            (Some(hex), None) => parse(Algorithm::Sha256, hex)?,
            (None, Some(hex)) => parse(Algorithm::Sha512, hex)?,
            _ => return Err(about("needs either sha256 or sha512")),
        };
        let trust = match (signed_by, unsigned, given) {
            (Some(key), None, false) => {
                let key = Fingerprint::parse(&key).ok_or_else(|| about(&format!("{key:?} is not a fingerprint")))?;
                Trust::Signed(key)
            }
            (None, Some(reason), false) => Trust::Unsigned(reason),
            (None, None, true) => Trust::Given,
            _ => return Err(about("needs either signedBy, unsigned or given")),
        };
        let version = match (version, name, kind.is_named()) {
            (None, Some(name), true) => name,
            (Some(version), None, false) => version,
            (_, _, true) => return Err(about("needs a name and no version")),
            (_, _, false) => return Err(about("needs a version and no name")),
        };
        if version.is_empty() || size == 0 {
            return Err(about("version and size must not be empty"));
        }
        let web =
            |text: &str| address(text).ok_or_else(|| about(&format!("{text:?} is not an http(s) address of a file")));
        let from = match (url, path) {
            (Some(url), None) => Location::Url(web(&url)?),
            (None, Some(path)) => Location::Path(folder.join(path)),
            _ => return Err(about("needs either url or path")),
        };
        let alternates = alternates.iter().map(|text| web(text)).collect::<Result<_, _>>()?;
        let date = |text: String| text.parse().map_err(|_| about(&format!("{text:?} is not a date")));
        let released = released.map(date).transpose()?;
        Ok(Entry { kind, arch, version, from, alternates, size, checksum, released, trust })
    }
}

/// An address that a mirror can hold as HOST/PATH.
fn address(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    let plain = matches!(url.scheme(), "http" | "https")
        && url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none()
        && !url.path().ends_with('/');
    plain.then_some(url)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::super::checksum::Place;
    use super::*;
    use crate::progress::Silent;

    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    const REASON: &str = "upstream publishes no signature";

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    fn published(version: &str, name: &str) -> Published {
        Published {
            url: url(&format!("https://example.org/{version}/{name}")),
            alternates: Vec::new(),
            checksums: url(&format!("https://example.org/{version}/SUMS")),
            algorithm: Algorithm::Sha256,
            place: Place::Named(name.to_owned()),
            signed: Signed::No(REASON.to_owned()),
        }
    }

    fn wanted(kind: Kind, version: &str, name: &str) -> Wanted {
        let supply = Supply::Fixed(published(version, name));
        Wanted { kind, version: version.to_owned(), arch: Arch::Amd64, supply }
    }

    fn given(kind: Kind, version: &str, from: Location, hex: &str) -> Wanted {
        let checksum = Algorithm::Sha256.parse(hex).unwrap();
        Wanted { kind, version: version.to_owned(), arch: Arch::Amd64, supply: Supply::Given { from, checksum } }
    }

    fn entry(kind: Kind, version: &str, name: &str) -> Entry {
        Entry {
            kind,
            arch: Arch::Amd64,
            version: version.to_owned(),
            from: Location::Url(Url::parse(&format!("https://example.org/{version}/{name}")).unwrap()),
            alternates: Vec::new(),
            size: 3,
            checksum: Algorithm::Sha256.parse(ABC).unwrap(),
            released: None,
            trust: Trust::Unsigned(REASON.to_owned()),
        }
    }

    fn make(wanted: &[Wanted], source: &Source, kept: &[Entry]) -> Result<Lock, LockError> {
        let now = Timestamp::from_second(1_795_300_000).unwrap();
        let how = Locking { source, kept, now, progress: &Silent };
        Lock::make_with(wanted, how, &|_| Keyring::read(include_str!("fixtures/key.asc")))
    }

    /// A mirror with `files` under example.org.
    fn mirror(files: &[(&str, &str)]) -> (tempfile::TempDir, Source) {
        let folder = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = folder.path().join("example.org").join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let source = Source::new(&[folder.path().to_str().unwrap().to_owned()], false, None).unwrap();
        (folder, source)
    }

    #[test]
    fn locks_what_the_mirror_publishes() {
        let sums = format!("{ABC}  a\n{ABC} *b\n");
        let (_folder, source) = mirror(&[("1.0.0/SUMS", &sums), ("1.0.0/a", "abc"), ("1.0.0/b", "abc")]);
        let wanted = [wanted(Kind::Runc, "1.0.0", "b"), wanted(Kind::Kubelet, "1.0.0", "a")];
        let lock = make(&wanted, &source, &[]).unwrap();
        assert_eq!(lock.entries(), [entry(Kind::Kubelet, "1.0.0", "a"), entry(Kind::Runc, "1.0.0", "b")]);
        assert_eq!(lock.get(Kind::Runc, Arch::Amd64), Some(&entry(Kind::Runc, "1.0.0", "b")));
        assert_eq!(lock.get(Kind::Runc, Arch::Arm64), None);
        assert_eq!(
            lock.fits(&wanted).unwrap(),
            [&entry(Kind::Runc, "1.0.0", "b"), &entry(Kind::Kubelet, "1.0.0", "a")]
        );
    }

    #[test]
    fn names_every_missing_file_at_once() {
        let (folder, source) = mirror(&[("1.0.0/SUMS", &format!("{ABC}  a\n"))]);
        let wanted = [wanted(Kind::Kubelet, "1.0.0", "a"), wanted(Kind::Runc, "2.0.0", "b")];
        let error = make(&wanted, &source, &[]).unwrap_err();
        let lacks = |path: &str| {
            let place = folder.path().join("example.org").join(path);
            format!("the mirror lacks https://example.org/{path}: there is no {}", place.display())
        };
        assert_eq!(error.to_string(), format!("files are missing: {}; {}", lacks("1.0.0/a"), lacks("2.0.0/SUMS")));
        assert_eq!(
            error.hint().unwrap(),
            "a mirror holds each address under HOST/PATH, checksum files included: `wget -x https://example.org/1.0.0/a` \
             in its folder"
        );
        assert!(!error.is_about_the_lock());
    }

    #[test]
    fn refuses_bad_checksum_files_and_empty_files() {
        for (sums, file, message) in [
            ("junk", "abc", "cannot lock runc 1.0.0 (amd64) from MIRROR/example.org/1.0.0/SUMS"),
            (&format!("{ABC}  a\n"), "", "runc 1.0.0 (amd64) is empty at MIRROR/example.org/1.0.0/a"),
            (&"x".repeat((1 << 20) + 1), "abc", "cannot lock runc 1.0.0 (amd64)"),
        ] {
            let (folder, source) = mirror(&[("1.0.0/SUMS", sums), ("1.0.0/a", file)]);
            let error = make(&[wanted(Kind::Runc, "1.0.0", "a")], &source, &[]).unwrap_err();
            assert_eq!(error.to_string().replace(folder.path().to_str().unwrap(), "MIRROR"), message);
        }
    }

    const TEXT: &str = "\
# Written by `nodebake lock` from the checksum files that upstream publishes; kept with nodebake.yaml. Nothing else goes
# into a node.
apiVersion: nodebake/v1
artifacts:
- kind: kubelet
  version: 1.0.0
  arch: amd64
  url: https://example.org/1.0.0/a
  size: 3
  sha256: ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad
  unsigned: upstream publishes no signature
- kind: base-image
  version: debian-13
  arch: amd64
  url: https://example.org/debian-13/b
  size: 3
  sha512: \
        ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f
  unsigned: upstream publishes no signature
";

    #[test]
    fn the_file_has_stable_bytes_and_is_written_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("nodebake.lock");
        let mut image = entry(Kind::BaseImage, "debian-13", "b");
        let mut hasher = Algorithm::Sha512.hasher();
        hasher.update(b"abc");
        image.checksum = hasher.finish();
        let lock = Lock::sorted(vec![image, entry(Kind::Kubelet, "1.0.0", "a")]);
        assert!(lock.save(&path).unwrap());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), TEXT);
        assert_eq!(std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&path).unwrap()) & 0o777, 0o644);
        let written = std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(&path).unwrap());
        assert!(!lock.save(&path).unwrap());
        assert_eq!(std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(&path).unwrap()), written);
        assert_eq!(Lock::load(&path).unwrap(), lock);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn reads_strictly() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("nodebake.lock");
        let one = TEXT.split("- kind: base-image").next().unwrap();
        let url = "url: https://example.org/1.0.0/a";
        let invalid = [
            (one.replace("nodebake/v1", "nodebake/v2"), "apiVersion is \"nodebake/v2\", not nodebake/v1".to_owned()),
            (
                format!("{one}{}", one.split("artifacts:\n").nth(1).unwrap()),
                "kubelet (amd64) is listed twice".to_owned(),
            ),
            (one.replace("size: 3", "size: 0"), "kubelet (amd64): version and size must not be empty".to_owned()),
            (one.replace("1.0.0\n  arch", "\n  arch"), "kubelet (amd64): needs a version and no name".to_owned()),
            (one.replace(ABC, &ABC[1..]), format!("kubelet (amd64): {:?} is not a sha256 digest", &ABC[1..])),
            (one.replace("sha256", "sha512"), format!("kubelet (amd64): {ABC:?} is not a sha512 digest")),
            (
                one.replace(&format!("  sha256: {ABC}\n"), ""),
                "kubelet (amd64): needs either sha256 or sha512".to_owned(),
            ),
            (format!("{one}  sha512: ab\n"), "kubelet (amd64): needs either sha256 or sha512".to_owned()),
        ];
        for (text, reason) in invalid {
            std::fs::write(&path, &text).unwrap();
            let error = Lock::load(&path).unwrap_err();
            assert_eq!(error.to_string(), format!("{}: {reason}", path.display()), "{text}");
            assert!(error.is_about_the_lock());
        }
        for bad in ["file:///etc/passwd", "https://u:p@h/a", "https://h/", "https://h/a?b", "https://h/a#b", "a"] {
            std::fs::write(&path, one.replace(url, &format!("url: {bad}"))).unwrap();
            let reason = format!("kubelet (amd64): {bad:?} is not an http(s) address of a file");
            let error = Lock::load(&path).unwrap_err();
            assert_eq!(error.to_string(), format!("{}: {reason}", path.display()));
        }
        let unreadable = [
            (String::new(), "missing field `apiVersion`"),
            (format!("{one}  unknown: 1\n"), "unknown field `unknown`"),
            (format!("{one}  size: 4\n"), "duplicate field `size`"),
            (one.replace("size: 3", "size: -3"), "invalid type: integer `-3`, expected u64"),
            (one.replace("kind: kubelet", "kind: kubeadm"), "unknown variant `kubeadm`"),
            (format!("{one}apiVersion: nodebake/v1\n"), "duplicate field `apiVersion`"),
        ];
        for (text, reason) in unreadable {
            std::fs::write(&path, &text).unwrap();
            let LockError::Syntax { source, .. } = Lock::load(&path).unwrap_err() else { panic!("{text}") };
            // The parser's own words around it are not ours to fix.
            assert!(source.to_string().contains(reason), "{source}");
        }
        std::fs::remove_file(&path).unwrap();
        let error = Lock::load(&path).unwrap_err();
        assert_eq!(error.to_string(), format!("there is no {}", path.display()));
        assert_eq!(error.hint().as_deref(), Some("run `nodebake lock`"));
    }

    #[test]
    fn what_is_kept_is_not_asked_for_again() {
        let (_folder, source) = mirror(&[("2.0.0/SUMS", &format!("{ABC}  a\n")), ("2.0.0/a", "abc")]);
        let wanted = [wanted(Kind::Kubelet, "1.0.0", "a"), wanted(Kind::Runc, "2.0.0", "a")];
        // The mirror has lost the first one, and the second one is locked in another version.
        let kept = [entry(Kind::Kubelet, "1.0.0", "a"), entry(Kind::Runc, "1.0.0", "a")];
        let lock = make(&wanted, &source, &kept).unwrap();
        assert_eq!(lock.entries(), [entry(Kind::Kubelet, "1.0.0", "a"), entry(Kind::Runc, "2.0.0", "a")]);
    }

    const CLEAR: &str = include_str!("fixtures/clear.asc");
    const SUMS: &str = include_str!("fixtures/sums");
    const SHA512: &str = include_str!("fixtures/sha512.asc");
    const KEY: &str = "DFB17A57C88797DBCD405624C04262DC69E1120F";

    /// What comes of a file whose checksums are signed that way, from a mirror with these files.
    fn signed(how: Signed, files: &[(&str, &str)]) -> Result<Trust, (String, Option<String>)> {
        let mut wanted = wanted(Kind::Runc, "1.0.0", "runc.amd64");
        let Supply::Fixed(published) = &mut wanted.supply else { panic!("not fixed") };
        published.signed = how;
        let (folder, source) = mirror(&[&[("1.0.0/runc.amd64", "abc")], files].concat());
        let path = folder.path().to_str().unwrap().to_owned();
        make(&[wanted], &source, &[]).map(|lock| lock.entries()[0].trust.clone()).map_err(|error| {
            assert!(error.is_mismatch(), "{error:?}");
            (crate::error::chain(&error).replace(&path, "M"), error.hint())
        })
    }

    #[test]
    fn signatures_are_checked_when_locking() {
        let detached = || Signed::Detached(Signer::Ubuntu, url("https://example.org/1.0.0/SUMS.gpg"));
        let clear = || Signed::Clear(Signer::Runc);
        let by_key = || Ok(Trust::Signed(Fingerprint::parse(KEY).unwrap()));
        assert_eq!(signed(clear(), &[("1.0.0/SUMS", CLEAR)]), by_key());
        assert_eq!(signed(detached(), &[("1.0.0/SUMS", SUMS), ("1.0.0/SUMS.gpg", SHA512)]), by_key());

        let distrust =
            "what is published there is not what upstream signed: check the mirror or proxy, and trust none of it";
        let failed = |why: &str| {
            let error = format!("cannot lock runc 1.0.0 (amd64) from M/example.org/1.0.0/SUMS: {why}");
            Err((error, Some(distrust.to_owned())))
        };
        let tampered = CLEAR.replace("ba78", "ba79");
        let other = format!("the signature by {KEY} is not over this text");
        assert_eq!(signed(clear(), &[("1.0.0/SUMS", &tampered)]), failed(&other));
        assert_eq!(signed(clear(), &[("1.0.0/SUMS", SUMS)]), failed("it is not signed"));
        let longer = format!("{SUMS}\n");
        assert_eq!(signed(detached(), &[("1.0.0/SUMS", &longer), ("1.0.0/SUMS.gpg", SHA512)]), failed(&other));
        let missing = "cannot lock runc 1.0.0 (amd64), whose checksums upstream always signs: the mirror lacks \
                       https://example.org/1.0.0/SUMS.gpg: there is no M/example.org/1.0.0/SUMS.gpg";
        let hint = "a mirror holds each address under HOST/PATH, checksum files included: `wget -x \
                    https://example.org/1.0.0/SUMS.gpg` in its folder";
        assert_eq!(signed(detached(), &[("1.0.0/SUMS", SUMS)]), Err((missing.to_owned(), Some(hint.to_owned()))));
    }

    #[test]
    fn moving_addresses_are_locked_to_a_dated_release() {
        let image = super::super::catalog::wanted(&config()).unwrap().pop().unwrap();
        let name = "ubuntu-24.04-server-cloudimg-amd64.img";
        let sums = SUMS.replace("runc.amd64", name);
        let dated = |name: &str| format!("../cloud-images.ubuntu.com/releases/noble/release-20251213/{name}");
        let (folder, source) = mirror(&[
            ("../cloud-images.ubuntu.com/releases/noble/release/unpacked/build-info.txt", "serial=20251213\n"),
            (&dated("SHA256SUMS"), &sums),
            (&dated("SHA256SUMS.gpg"), SHA512),
            (&dated(name), "abc"),
        ]);
        // The fixture signs other names: the failure is of the dated folder's own list, by its own signature.
        let place = folder.path().join("cloud-images.ubuntu.com/releases/noble/release-20251213/SHA256SUMS");
        let error = make(std::slice::from_ref(&image), &source, &[]).unwrap_err();
        assert_eq!(
            crate::error::chain(&error),
            format!(
                "cannot lock base-image ubuntu-24.04 (amd64) from {}: the signature by {KEY} is not over this text",
                place.display()
            )
        );
        let Supply::Moving(moving) = &image.supply else { panic!("not moving") };
        let release = Release::parse("20251213").unwrap();
        let published = Published { signed: Signed::No(REASON.to_owned()), ..moving.at(&release).unwrap() };
        let now = Timestamp::UNIX_EPOCH;
        let how = Locking { source: &source, kept: &[], now, progress: &Silent };
        let one = One { wanted: &image, how, keys: &|_| Signer::Ubuntu.keyring() };
        let entry = one.published(&published, Some(release.date())).unwrap();
        let tree = "releases/noble/release-20251213";
        let expected = Entry {
            kind: Kind::BaseImage,
            arch: Arch::Amd64,
            version: "ubuntu-24.04".to_owned(),
            from: Location::Url(url(&format!("https://cloud-images.ubuntu.com/{tree}/{name}"))),
            alternates: vec![url(&format!("http://cloud-images-archive.ubuntu.com/{tree}/{name}"))],
            size: 3,
            checksum: Algorithm::Sha256.parse(ABC).unwrap(),
            released: Some("2025-12-13".parse().unwrap()),
            trust: Trust::Unsigned(REASON.to_owned()),
        };
        assert_eq!(entry, expected);
        // What is locked stays, wherever the address has moved meanwhile.
        let nothing = mirror(&[]).1;
        assert_eq!(make(&[image], &nothing, &[entry]).unwrap().entries(), [expected]);
    }

    fn config() -> crate::config::Config {
        crate::config::parse(Path::new("/c/nodebake.yaml"), crate::config::INIT).unwrap()
    }

    #[test]
    fn own_files_are_locked_by_the_cluster_files_digest() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("crictl");
        std::fs::write(&path, "abc").unwrap();
        let (_mirror, source) = mirror(&[("runc", "abc")]);
        let from = Location::Url(url("https://example.org/runc"));
        let wanted = [
            given(Kind::Runc, "1.0.0", from.clone(), ABC),
            given(Kind::Binary, "crictl", Location::Path(path.clone()), ABC),
        ];
        let lock = make(&wanted, &source, &[]).unwrap();
        let own = |entry: Entry, from| Entry { from, trust: Trust::Given, ..entry };
        let expected = [
            own(entry(Kind::Runc, "1.0.0", ""), from),
            own(entry(Kind::Binary, "crictl", ""), Location::Path(path.clone())),
        ];
        assert_eq!(lock.entries(), expected);

        // In the file the path starts at the file's folder.
        let file = folder.path().join("nodebake.lock");
        lock.save(&file).unwrap();
        let text = std::fs::read_to_string(&file).unwrap();
        let tail = format!(
            "- kind: runc\n  version: 1.0.0\n  arch: amd64\n  url: https://example.org/runc\n  size: 3\n  sha256: {ABC}\n  \
             given: true\n- kind: binary\n  name: crictl\n  arch: amd64\n  path: crictl\n  size: 3\n  sha256: {ABC}\n  given: true\n"
        );
        assert_eq!(text, format!("{HEADER}apiVersion: nodebake/v1\nartifacts:\n{tail}"));
        assert_eq!(Lock::load(&file).unwrap(), lock);

        std::fs::write(&path, "abcd").unwrap();
        let error = make(&wanted[1..], &source, &[]).unwrap_err();
        assert!(error.is_mismatch());
        assert_eq!(
            error.to_string(),
            format!(
                "cannot lock binary crictl (amd64): {} has \
                 sha256:88d4266fd4e6338d13b845fcf289579d209c897823b9217da3e161936f031589, the cluster file says sha256:{ABC}",
                path.display()
            )
        );
        std::fs::remove_file(&path).unwrap();
        let error = make(&wanted[1..], &source, &[]).unwrap_err();
        assert!(error.is_about_the_cluster_file());
        assert_eq!(error.to_string(), format!("cannot lock binary crictl (amd64): {} cannot be read", path.display()));
    }

    #[test]
    fn every_entry_says_why_it_is_believed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("nodebake.lock");
        let image = Entry {
            alternates: vec![url("http://archive.example.org/b")],
            released: Some("2025-12-13".parse().unwrap()),
            trust: Trust::Signed(Fingerprint::parse(KEY).unwrap()),
            ..entry(Kind::BaseImage, "ubuntu-24.04", "b")
        };
        let lock = Lock::sorted(vec![image]);
        lock.save(&path).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let expected = format!(
            "{HEADER}apiVersion: nodebake/v1\nartifacts:\n- kind: base-image\n  version: ubuntu-24.04\n  arch: amd64\n  \
             url: https://example.org/ubuntu-24.04/b\n  alternates:\n  - http://archive.example.org/b\n  \
             released: 2025-12-13\n  size: 3\n  sha256: {ABC}\n  signedBy: {KEY}\n"
        );
        assert_eq!(text, expected);
        assert_eq!(Lock::load(&path).unwrap(), lock);
        let either = "base-image (amd64): needs either signedBy, unsigned or given";
        for (from, to, reason) in [
            (format!("  signedBy: {KEY}\n"), "", either),
            (format!("  signedBy: {KEY}\n"), "  given: false\n", either),
            (format!("  signedBy: {KEY}\n"), &format!("  signedBy: {KEY}\n  given: true\n"), either),
            (KEY.to_owned(), "me", "base-image (amd64): \"me\" is not a fingerprint"),
            ("2025-12-13".to_owned(), "yesterday", "base-image (amd64): \"yesterday\" is not a date"),
        ] {
            std::fs::write(&path, text.replace(&from, to)).unwrap();
            let error = Lock::load(&path).unwrap_err();
            assert_eq!(error.to_string(), format!("{}: {reason}", path.display()));
        }
    }

    #[test]
    fn changes_are_told_by_what_moved() {
        let released = |date: &str, digest: &str| Entry {
            released: Some(date.parse().unwrap()),
            checksum: Algorithm::Sha256.parse(&ABC.replace("ba78", digest)).unwrap(),
            ..entry(Kind::BaseImage, "ubuntu-24.04", "b")
        };
        let own = |from: &str| Entry {
            from: Location::Url(url(from)),
            trust: Trust::Given,
            ..entry(Kind::Binary, "crictl", "c")
        };
        let same = entry(Kind::CniPlugins, "1.9.0", "a");
        let before = Lock::sorted(vec![
            entry(Kind::Kubelet, "1.35.1", "a"),
            entry(Kind::Containerd, "2.2.1", "a"),
            entry(Kind::Runc, "1.2.8", "a"),
            same.clone(),
            released("2025-11-13", "ba78"),
            own("https://h/1"),
            entry(Kind::Package, "a.deb", "a"),
        ]);
        let after = Lock::sorted(vec![
            entry(Kind::Kubelet, "1.35.3", "a"),
            Entry { trust: Trust::Given, ..entry(Kind::Containerd, "2.2.1", "a") },
            Entry {
                checksum: Algorithm::Sha256.parse(&ABC.replace("ba78", "ba79")).unwrap(),
                ..entry(Kind::Runc, "1.2.8", "a")
            },
            same,
            released("2025-12-13", "ba79"),
            own("https://h/2"),
            entry(Kind::Package, "b.deb", "b"),
        ]);
        let moved = ABC.replace("ba78", "ba79");
        assert_eq!(
            after.changes_since(&before),
            [
                "kubelet 1.35.1 -> 1.35.3 (amd64)".to_owned(),
                format!("containerd 2.2.1 (amd64): unsigned: {REASON} -> given"),
                format!("runc 1.2.8 (amd64): sha256:{ABC} -> sha256:{moved}"),
                "base-image ubuntu-24.04 of 2025-11-13 -> 2025-12-13 (amd64)".to_owned(),
                "binary crictl (amd64): https://h/1 -> https://h/2".to_owned(),
                "package b.deb (amd64) added".to_owned(),
                "package a.deb (amd64) removed".to_owned(),
            ]
        );
        assert_eq!(after.changes_since(&after), <[String; 0]>::default());
    }

    #[test]
    fn a_stale_lock_names_what_moved() {
        let own = |version: &str, digest: &str| Entry {
            trust: Trust::Given,
            checksum: Algorithm::Sha256.parse(&ABC.replace("ba78", digest)).unwrap(),
            ..entry(Kind::Binary, version, "c")
        };
        let lock = Lock::sorted(vec![
            entry(Kind::Runc, "1.2.8", "a"),
            entry(Kind::Kubelet, "1.35.1", "b"),
            own("crictl", "ba78"),
            own("nerdctl", "ba78"),
        ]);
        let from = |version: &str| Location::Url(url(&format!("https://example.org/{version}/c")));
        let crictl = given(Kind::Binary, "crictl", from("crictl"), ABC);
        let nerdctl = given(Kind::Binary, "nerdctl", from("nerdctl"), ABC);
        let (runc, kubelet) = (wanted(Kind::Runc, "1.2.8", "elsewhere"), wanted(Kind::Kubelet, "1.35.1", "b"));
        let fits =
            |wanted: &[Wanted]| lock.fits(wanted).map(|entries| entries.len()).map_err(|error| error.to_string());
        // Another address of the same version is no reason.
        assert_eq!(fits(&[kubelet, runc.clone(), crictl, nerdctl]), Ok(4));
        let moved = [
            wanted(Kind::Kubelet, "1.35.2", "b"),
            given(Kind::Runc, "1.2.8", from("x"), ABC),
            wanted(Kind::CniPlugins, "1.9.0", "c"),
            given(Kind::Binary, "crictl", from("crictl"), &ABC.replace("ba78", "ba79")),
            given(Kind::Binary, "helm", from("helm"), ABC),
        ];
        assert_eq!(
            fits(&moved),
            Err(format!(
                "the lock does not fit the cluster file: kubelet (amd64): 1.35.1 is locked, 1.35.2 is wanted; runc (amd64): \
                 upstream's is locked, a given one is wanted; cni-plugins (amd64): 1.9.0 is wanted and not locked; binary \
                 crictl (amd64): sha256:{ABC} is locked, sha256:{} is wanted; binary helm (amd64) is wanted and not locked; \
                 binary nerdctl (amd64) is locked and not wanted",
                ABC.replace("ba78", "ba79")
            ))
        );
        let upstream = [given(Kind::Binary, "crictl", from("other"), ABC), runc];
        let lock =
            Lock::sorted(vec![Entry { trust: Trust::Given, ..entry(Kind::Runc, "1.2.8", "a") }, own("crictl", "ba78")]);
        assert_eq!(
            lock.fits(&upstream).unwrap_err().to_string(),
            "the lock does not fit the cluster file: binary crictl (amd64): https://example.org/crictl/c is locked, \
             https://example.org/other/c is wanted; runc (amd64): a given one is locked, upstream's is wanted"
        );
    }
}
