//! The text of nodebake.lock, read strictly and written with stable bytes.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use url::Url;

use super::{Entry, Lock, LockError, Trust};
use crate::artifacts::catalog::Kind;
use crate::artifacts::checksum::Algorithm;
use crate::artifacts::signature::Fingerprint;
use crate::config::{Arch, Location};

const API_VERSION: &str = "nodebake/v1";

pub(super) const HEADER: &str = "\
# Written by `nodebake lock` from the checksum files that upstream publishes; kept with nodebake.yaml. Nothing else goes
# into a node.
";

impl Lock {
    /// Reads a lock file's text, strictly; `path` is for errors.
    pub fn parse(text: &str, path: &Path) -> Result<Self, LockError> {
        let file: LockYaml =
            serde_yaml::from_str(text).map_err(|source| LockError::Syntax { path: path.to_owned(), source })?;
        file.check(folder_of(path)).map_err(|reason| LockError::Invalid { path: path.to_owned(), reason })
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
}

impl Lock {
    /// Its entries, each as it stands in the lock file at `path`.
    pub fn as_written(&self, path: &Path) -> Vec<impl Serialize + use<>> {
        self.entries.iter().map(|entry| EntryYaml::new(entry, folder_of(path))).collect()
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
        let (url, path) = match from.beneath(folder) {
            Location::Url(url) => (Some(url.into()), None),
            Location::Path(path) => (None, Some(path)),
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
