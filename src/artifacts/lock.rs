//! nodebake.lock: the address, size and digest of every file that goes into a node.

use std::cmp::Ordering;
use std::fmt;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use url::Url;

use super::catalog::{Kind, Wanted};
use super::checksum::{self, Algorithm, Checksum, ChecksumFileError};
use super::parallel;
use super::source::{Source, SourceError};
use crate::config::Arch;
use crate::progress::Progress;

/// Larger than any checksum file that upstream publishes.
const CHECKSUM_FILE_LIMIT: usize = 1 << 20;

const API_VERSION: &str = "nodebake/v1";

const HEADER: &str = "\
# Written by `nodebake lock` from the checksum files that upstream publishes; kept with nodebake.yaml. Nothing else goes
# into a node.
";

/// The lock file: sorted, at most one entry for each kind and architecture.
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
    /// Its version without a leading `v`; of a base image the name in the catalogue.
    pub version: String,
    /// Upstream's address of it.
    pub url: Url,
    /// Its size in bytes.
    pub size: u64,
    /// Its digest.
    pub checksum: Checksum,
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
            Self::Source { source, .. } => source.hint(),
            Self::ChecksumFile { .. } | Self::Empty { .. } => {
                Some("what is published there is not what we know; check the mirror or proxy".to_owned())
            }
            Self::Io { .. } => None,
        }
    }

    /// Whether the lock file is missing, stale or not readable as one, so that only `nodebake lock` helps.
    pub fn is_about_the_lock(&self) -> bool {
        matches!(self, Self::Absent { .. } | Self::Stale { .. } | Self::Syntax { .. } | Self::Invalid { .. })
    }
}

impl Lock {
    /// Asks `source` for the size and the published digest of everything wanted.
    pub fn make(wanted: &[Wanted], source: &Source, progress: &dyn Progress) -> Result<Self, LockError> {
        let task = progress.task("lock", None);
        let fatal = |result: &Result<Entry, LockError>| match result {
            Err(LockError::Source { source, .. }) => !source.is_missing(),
            other => other.is_err(),
        };
        let results = parallel::map(wanted, |wanted| lock_one(wanted, source), fatal);
        let entries = all_or_missing(results.into_iter().flatten())?;
        task.done();
        Ok(Self::sorted(entries))
    }

    fn sorted(mut entries: Vec<Entry>) -> Self {
        entries.sort_by(by_kind_and_arch);
        Self { entries }
    }

    /// Reads a lock file, strictly.
    pub fn load(path: &Path) -> Result<Self, LockError> {
        let text = std::fs::read_to_string(path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => LockError::Absent { path: path.to_owned() },
            _ => LockError::Io { action: "read", path: path.to_owned(), source },
        })?;
        let file: LockYaml =
            serde_yaml::from_str(&text).map_err(|source| LockError::Syntax { path: path.to_owned(), source })?;
        file.check().map_err(|reason| LockError::Invalid { path: path.to_owned(), reason })
    }

    /// Writes the lock file, whole or not at all; a file that has these bytes already is not touched. Says whether it
    /// was written.
    pub fn save(&self, path: &Path) -> Result<bool, LockError> {
        let io = |action| move |source| LockError::Io { action, path: path.to_owned(), source };
        let text = self.text(path)?;
        if std::fs::read(path).is_ok_and(|old| old == text.as_bytes()) {
            return Ok(false);
        }
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut file = tempfile::Builder::new()
            .prefix(".nodebake.lock.")
            .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
            .tempfile_in(folder)
            .map_err(io("write"))?;
        file.write_all(text.as_bytes()).and_then(|()| file.as_file().sync_all()).map_err(io("write"))?;
        file.persist(path).map_err(|error| io("write")(error.error))?;
        std::fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(io("sync"))?;
        Ok(true)
    }

    fn text(&self, path: &Path) -> Result<String, LockError> {
        let file = LockYaml {
            api_version: API_VERSION.to_owned(),
            artifacts: self.entries.iter().map(EntryYaml::from).collect(),
        };
        let yaml =
            serde_yaml::to_string(&file).map_err(|source| LockError::Syntax { path: path.to_owned(), source })?;
        Ok(format!("{HEADER}{yaml}"))
    }

    /// All entries, by kind and architecture.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The entry of a kind for an architecture.
    pub fn get(&self, kind: Kind, arch: Arch) -> Option<&Entry> {
        self.entries.iter().find(|entry| (entry.kind, entry.arch) == (kind, arch))
    }

    /// The entries of what is wanted, in that order; fails with everything that the cluster file asks for and that is
    /// not locked in this version. Upstream's addresses are not compared: a newer catalogue alone moves nothing.
    pub fn fits(&self, wanted: &[Wanted]) -> Result<Vec<&Entry>, LockError> {
        let (mut entries, mut changes) = (Vec::new(), Vec::new());
        for Wanted { kind, version, arch, .. } in wanted {
            match self.get(*kind, *arch) {
                Some(entry) if entry.version == *version => entries.push(entry),
                Some(entry) => {
                    changes.push(format!("{kind} ({arch}): {} is locked, {version} is wanted", entry.version))
                }
                None => changes.push(format!("{kind} ({arch}): {version} is wanted and not locked")),
            }
        }
        if changes.is_empty() { Ok(entries) } else { Err(LockError::Stale { changes }) }
    }
}

fn by_kind_and_arch(a: &Entry, b: &Entry) -> Ordering {
    (a.kind, a.arch).cmp(&(b.kind, b.arch))
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

fn lock_one(wanted: &Wanted, source: &Source) -> Result<Entry, LockError> {
    let Wanted { kind, version, arch, url, checksums, algorithm, place } = wanted;
    let artifact = format!("{kind} {version} ({arch})");
    let failed = |source| LockError::Source { artifact: artifact.clone(), source };
    let file =
        source.patiently(SourceError::may_pass, || source.read(checksums, CHECKSUM_FILE_LIMIT)).map_err(failed)?;
    let checksum = checksum::find(&file, *algorithm, place).map_err(|error| LockError::ChecksumFile {
        artifact: artifact.clone(),
        place: source.place(checksums),
        source: error,
    })?;
    let size = source.patiently(SourceError::may_pass, || source.size(url)).map_err(failed)?;
    if size == 0 {
        return Err(LockError::Empty { artifact, place: source.place(url) });
    }
    Ok(Entry { kind: *kind, arch: *arch, version: version.clone(), url: url.clone(), size, checksum })
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct LockYaml {
    api_version: String,
    artifacts: Vec<EntryYaml>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EntryYaml {
    kind: Kind,
    version: String,
    arch: Arch,
    url: String,
    size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sha512: Option<String>,
}

impl From<&Entry> for EntryYaml {
    fn from(entry: &Entry) -> Self {
        let Entry { kind, arch, version, url, size, checksum } = entry.clone();
        let hex = |algorithm| (checksum.algorithm() == algorithm).then(|| checksum.hex());
        let (sha256, sha512) = (hex(Algorithm::Sha256), hex(Algorithm::Sha512));
        Self { kind, version, arch, url: url.into(), size, sha256, sha512 }
    }
}

impl LockYaml {
    fn check(self) -> Result<Lock, String> {
        if self.api_version != API_VERSION {
            return Err(format!("apiVersion is {:?}, not {API_VERSION}", self.api_version));
        }
        let entries = self.artifacts.into_iter().map(EntryYaml::check).collect::<Result<_, _>>()?;
        let lock = Lock::sorted(entries);
        let twice = lock.entries.windows(2).find(|pair| by_kind_and_arch(&pair[0], &pair[1]).is_eq());
        match twice {
            Some(pair) => Err(format!("{} ({}) is listed twice", pair[0].kind, pair[0].arch)),
            None => Ok(lock),
        }
    }
}

impl EntryYaml {
    fn check(self) -> Result<Entry, String> {
        let Self { kind, version, arch, url, size, sha256, sha512 } = self;
        let about = |reason: &str| format!("{kind} ({arch}): {reason}");
        let parse = |algorithm: Algorithm, hex: String| {
            algorithm.parse(&hex).ok_or_else(|| about(&format!("{hex:?} is not a {algorithm} digest")))
        };
        let checksum = match (sha256, sha512) {
            (Some(hex), None) => parse(Algorithm::Sha256, hex)?,
            (None, Some(hex)) => parse(Algorithm::Sha512, hex)?,
            _ => return Err(about("needs either sha256 or sha512")),
        };
        if version.is_empty() || size == 0 {
            return Err(about("version and size must not be empty"));
        }
        let url = address(&url).ok_or_else(|| about(&format!("{url:?} is not an http(s) address of a file")))?;
        Ok(Entry { kind, arch, version, url, size, checksum })
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
