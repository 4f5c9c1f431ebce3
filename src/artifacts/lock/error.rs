//! Why there is no lock.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::artifacts::catalog::CatalogError;
use crate::artifacts::checksum::{Checksum, ChecksumFileError};
use crate::artifacts::release::ReleaseError;
use crate::artifacts::signature::SignatureError;
use crate::artifacts::source::SourceError;
use crate::whole_file;

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
