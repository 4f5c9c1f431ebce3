//! nodebake.lock: the address, size and digest of every file that goes into a node.

use std::cmp::Ordering;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use url::Url;

use super::catalog::{Kind, Wanted};
use super::checksum::{self, Algorithm, Checksum, ChecksumFileError};
use super::parallel;
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
    /// The list that it stands in was signed by this key (fingerprint, uppercase hexadecimal digits).
    Signed(String),
    /// Nothing but the way that it came by; the reason why no signature was checked.
    Unsigned(String),
    /// It stands in the cluster file.
    Given,
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
        Self::parse(&text, path)
    }

    /// Reads a lock file's text, strictly; `path` is for errors.
    pub fn parse(text: &str, path: &Path) -> Result<Self, LockError> {
        let file: LockYaml =
            serde_yaml::from_str(text).map_err(|source| LockError::Syntax { path: path.to_owned(), source })?;
        file.check().map_err(|reason| LockError::Invalid { path: path.to_owned(), reason })
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

    /// The entries of a kind for an architecture, sorted by name.
    pub fn of_kind(&self, kind: Kind, arch: Arch) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(move |entry| (entry.kind, entry.arch) == (kind, arch))
    }

    /// The entry of a kind of which there is one for an architecture.
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
                Some(Entry { version: locked, .. }) => {
                    changes.push(format!("{kind} ({arch}): {locked} is locked, {version} is wanted"));
                }
                None => changes.push(format!("{kind} ({arch}): {version} is wanted and not locked")),
            }
        }
        if changes.is_empty() { Ok(entries) } else { Err(LockError::Stale { changes }) }
    }
}

fn by_kind_and_arch(a: &Entry, b: &Entry) -> Ordering {
    // Of what upstream releases there is one for each architecture, of the named ones any number.
    let name = |entry: &Entry| entry.kind.is_named().then(|| entry.version.clone());
    (a.kind, name(a), a.arch).cmp(&(b.kind, name(b), b.arch))
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
    let file = source.read(checksums, CHECKSUM_FILE_LIMIT).map_err(failed)?;
    let checksum = checksum::find(&file, *algorithm, place).map_err(|error| LockError::ChecksumFile {
        artifact: artifact.clone(),
        place: source.place(checksums),
        source: error,
    })?;
    let size = source.size(url).map_err(failed)?;
    if size == 0 {
        return Err(LockError::Empty { artifact, place: source.place(url) });
    }
    Ok(Entry {
        kind: *kind,
        arch: *arch,
        version: version.clone(),
        from: Location::Url(url.clone()),
        alternates: Vec::new(),
        size,
        checksum,
        released: None,
        trust: Trust::Unsigned("its signature was not looked at".to_owned()),
    })
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

impl From<&Entry> for EntryYaml {
    fn from(entry: &Entry) -> Self {
        let Entry { kind, arch, version, from, alternates, size, checksum, released, trust } = entry.clone();
        let hex = |algorithm| (checksum.algorithm() == algorithm).then(|| checksum.hex());
        let (sha256, sha512) = (hex(Algorithm::Sha256), hex(Algorithm::Sha512));
        let (version, name) = if kind.is_named() { (None, Some(version)) } else { (Some(version), None) };
        let (url, path) = match from {
            Location::Url(url) => (Some(url.into()), None),
            Location::Path(path) => (None, Some(path)),
        };
        let alternates = alternates.into_iter().map(Into::into).collect();
        let released = released.map(|date| date.to_string());
        let (signed_by, unsigned, given) = match trust {
            Trust::Signed(fingerprint) => (Some(fingerprint), None, false),
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
    fn check(self) -> Result<Lock, String> {
        if self.api_version != API_VERSION {
            return Err(format!("apiVersion is {:?}, not {API_VERSION}", self.api_version));
        }
        let entries = self.artifacts.into_iter().map(EntryYaml::check).collect::<Result<_, _>>()?;
        let lock = Lock::sorted(entries);
        let twice = lock.entries.windows(2).find(|pair| by_kind_and_arch(&pair[0], &pair[1]).is_eq());
        match twice {
            Some(pair) if pair[0].kind.is_named() => Err(format!("{} is listed twice", pair[0])),
            Some(pair) => Err(format!("{} ({}) is listed twice", pair[0].kind, pair[0].arch)),
            None => Ok(lock),
        }
    }
}

impl EntryYaml {
    fn check(self) -> Result<Entry, String> {
        let Self { kind, version, name, arch, url, path, alternates, released, size, sha256, sha512, .. } = self;
        let trust = match (self.signed_by, self.unsigned, self.given) {
            (Some(fingerprint), None, false) => Some(Trust::Signed(fingerprint)),
            (None, Some(reason), false) => Some(Trust::Unsigned(reason)),
            (None, None, true) => Some(Trust::Given),
            _ => None,
        };
        let about = |reason: &str| format!("{kind} ({arch}): {reason}");
        let parse = |algorithm: Algorithm, hex: String| {
            algorithm.parse(&hex).ok_or_else(|| about(&format!("{hex:?} is not a {algorithm} digest")))
        };
        let checksum = match (sha256, sha512) {
            (Some(hex), None) => parse(Algorithm::Sha256, hex)?,
            (None, Some(hex)) => parse(Algorithm::Sha512, hex)?,
            _ => return Err(about("needs either sha256 or sha512")),
        };
        let trust = trust.ok_or_else(|| about("needs either signedBy, unsigned or given"))?;
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
            (None, Some(path)) => Location::Path(path),
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

    fn wanted(kind: Kind, version: &str, name: &str) -> Wanted {
        let url = |text: &str| Url::parse(text).unwrap();
        Wanted {
            kind,
            version: version.to_owned(),
            arch: Arch::Amd64,
            url: url(&format!("https://example.org/{version}/{name}")),
            checksums: url(&format!("https://example.org/{version}/SUMS")),
            algorithm: Algorithm::Sha256,
            place: Place::Named(name.to_owned()),
        }
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
            trust: Trust::Unsigned("its signature was not looked at".to_owned()),
        }
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
        let lock = Lock::make(&wanted, &source, &Silent).unwrap();
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
        let error = Lock::make(&wanted, &source, &Silent).unwrap_err();
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
            let error = Lock::make(&[wanted(Kind::Runc, "1.0.0", "a")], &source, &Silent).unwrap_err();
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
  unsigned: its signature was not looked at
- kind: base-image
  version: debian-13
  arch: amd64
  url: https://example.org/debian-13/b
  size: 3
  sha512: \
        ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f
  unsigned: its signature was not looked at
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
    fn a_stale_lock_names_what_moved() {
        let lock = Lock::sorted(vec![entry(Kind::Runc, "1.2.8", "a"), entry(Kind::Kubelet, "1.35.1", "b")]);
        let fits =
            |wanted: &[Wanted]| lock.fits(wanted).map(|entries| entries.len()).map_err(|error| error.to_string());
        // Another address of the same version is no reason.
        assert_eq!(fits(&[wanted(Kind::Runc, "1.2.8", "elsewhere")]), Ok(1));
        let moved = [
            wanted(Kind::Kubelet, "1.35.2", "b"),
            wanted(Kind::Runc, "1.2.8", "a"),
            wanted(Kind::CniPlugins, "1.9.0", "c"),
        ];
        assert_eq!(
            fits(&moved),
            Err("the lock does not fit the cluster file: kubelet (amd64): 1.35.1 is locked, 1.35.2 is wanted; \
                 cni-plugins (amd64): 1.9.0 is wanted and not locked"
                .to_owned())
        );
    }
}
