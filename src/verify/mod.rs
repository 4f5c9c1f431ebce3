//! Whether what was built, and what runs, is what the cluster file, the lock and the identities make today.
//!
//! Everything is made once more in a scratch folder, by the same code that `build` runs, and compared byte by byte. What
//! was made elsewhere, the locked files in the store, is hashed: the store's own note that it did so before is not
//! enough here. Of machines, the digests in their marks are compared, and their volumes are read back and hashed.
//!
//! Nothing but the scratch folder is written, and no identity is issued. Nothing of a file's content is told, only
//! where it differs: it may be a secret.

mod difference;
mod images;
mod machines;
mod scratch;

use std::io;
use std::path::PathBuf;

pub use difference::{Difference, Place};
pub use images::{Expected, Images, images};
pub use machines::machines;

use crate::build::BuildError;
use crate::error::ExitCode;

/// One thing that was compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What it is: an artifact, a payload, a node, a volume.
    pub what: String,
    /// Where it is.
    pub place: String,
    /// The digest that it should have, with its algorithm; none where that cannot be told.
    pub digest: Option<String>,
    /// How it ended.
    pub outcome: Outcome,
}

/// How a comparison ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is the same.
    Same,
    /// It differs; what to do about it.
    Differs(Difference, String),
    /// There was nothing to compare with, for this reason.
    Unchecked(&'static str),
}

impl Check {
    fn new(
        what: impl Into<String>,
        place: impl Into<String>,
        digest: Option<String>,
        difference: Option<Difference>,
        remedy: impl Into<String>,
    ) -> Self {
        let differs = |difference| Outcome::Differs(difference, remedy.into());
        let outcome = difference.map_or(Outcome::Same, differs);
        Self { what: what.into(), place: place.into(), digest, outcome }
    }
}

/// Why a comparison could not be made.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// Something cannot be built again.
    #[error(transparent)]
    Build(BuildError),
    /// Inputs are not in the store.
    #[error("the cache lacks {}", missing.join(", "))]
    Missing {
        /// Kind, version and architecture of each.
        missing: Vec<String>,
    },
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// There is no scratch folder.
    #[error("cannot make a folder in {}", path.display())]
    Scratch {
        /// The folder for temporary files.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl VerifyError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Build(error) => error.hint(),
            Self::Missing { .. } => Some("run `nodebake fetch`".to_owned()),
            Self::Scratch { .. } => Some("set TMPDIR to a folder with space for a payload".to_owned()),
            Self::Read { .. } => None,
        }
    }

    /// The exit code of the program.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Build(error) => error.exit_code(),
            Self::Missing { .. } | Self::Read { .. } | Self::Scratch { .. } => ExitCode::Unexpected,
        }
    }
}
