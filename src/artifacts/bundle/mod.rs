//! A bundle: one file with a lock and everything that it locks, to carry to a machine with no network.
//!
//! ```text
//! SHA256SUMS                   digests of nodebake.lock and of the blobs under blobs/sha256
//! SHA512SUMS                   of the blobs under blobs/sha512; only where there are some
//! nodebake.lock                as it stands beside the cluster file
//! blobs/sha256/HEX             each locked file once, by algorithm and digest
//! blobs/sha512/HEX
//! ```
//!
//! It is a plain tar archive, in this order and with nothing else in it, so that people can look into it and check it by
//! hand: `tar -xf FILE && sha256sum -c SHA256SUMS`. Owner, mode and time of every entry are fixed: the same lock gives
//! the same bytes.
//!
//! Everything in a bundle follows from its lock file, so importing one takes no list on trust: after the lock it knows
//! each byte that is not a blob's, and compares.

mod archive;
mod export;
mod import;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

pub use export::{Locked, export, export_to};
pub use import::Bundle;

use super::checksum::{Algorithm, Checksum};
use super::lock::{Lock, LockError};
use super::store::StoreError;
use crate::error::ExitCode;

const SHA256SUMS: &str = "SHA256SUMS";
const SHA512SUMS: &str = "SHA512SUMS";
const LOCK: &str = "nodebake.lock";

/// Files are copied and hashed in pieces of this size, in bytes.
const PIECE: usize = 256 << 10;

/// Why a bundle cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// A file cannot be read or written.
    #[error("cannot {action} {place}")]
    Io {
        /// What was tried, a verb.
        action: &'static str,
        /// The file.
        place: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Something that is no bundle has the name already.
    #[error("{} is there already and is no bundle", path.display())]
    Taken {
        /// The file.
        path: PathBuf,
    },
    /// A terminal is no place for a bundle.
    #[error("a bundle is not written to a terminal")]
    Terminal,
    /// Standard output is one place, for a bundle or for what is said of it.
    #[error("the bundle goes to standard output, and so would what is to be printed of it")]
    TwoOutputs,
    /// A file of the cache does not have the locked bytes; nothing was written.
    #[error("{artifact} in the cache ({}) has {got}, and {want} is locked", path.display())]
    Blob {
        /// Kind, version and architecture.
        artifact: String,
        /// The file.
        path: PathBuf,
        /// The locked digest or size.
        want: String,
        /// What it has.
        got: String,
    },
    /// It does not begin as a bundle.
    #[error("{place} is not a bundle")]
    NotABundle {
        /// The file.
        place: String,
    },
    /// It is not as it was written.
    #[error("{place} is damaged: {what}")]
    Damaged {
        /// The bundle.
        place: String,
        /// What is wrong, and where.
        what: String,
    },
    /// A file in it has other bytes than its digest promises; nothing of that file was kept.
    #[error("{name} in {place} has digest {got}, and {want} is promised")]
    Mismatch {
        /// The bundle.
        place: String,
        /// The file in it.
        name: String,
        /// As the bundle's lock or its list has it.
        want: Box<Checksum>,
        /// That of its bytes.
        got: Box<Checksum>,
    },
    /// Its lock file cannot be read.
    #[error("{place} holds a lock file that this nodebake cannot read")]
    Lock {
        /// The bundle.
        place: String,
        /// What is wrong with it.
        #[source]
        source: LockError,
    },
    /// There is another lock file already.
    #[error("{} is another lock file than that of {place}", path.display())]
    OtherLock {
        /// The lock file.
        path: PathBuf,
        /// The bundle.
        place: String,
    },
    /// A file cannot be kept.
    #[error("cannot store {name}")]
    Store {
        /// The file in the bundle.
        name: String,
        /// What failed.
        #[source]
        source: StoreError,
    },
}

impl BundleError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                "make space, or name a file on another disk"
            }
            Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => "check the path",
            Self::Io { .. } => return None,
            Self::Taken { .. } => "nothing of yours is overwritten: remove it, or name another file",
            Self::Terminal => {
                "name a file, or send it on: nodebake bundle export - | ssh HOST nodebake bundle import -"
            }
            Self::TwoOutputs => "name a file, or leave -o out",
            Self::Blob { path, .. } => {
                return Some(format!("remove {}, then run `nodebake fetch`", path.display()));
            }
            Self::NotABundle { .. } => "name a file that `nodebake bundle export` wrote",
            Self::Damaged { .. } | Self::Mismatch { .. } => {
                "copy the bundle again; `sha256sum` of both copies tells whether it arrived as it left"
            }
            Self::Lock { .. } => "import it with the nodebake that wrote it, or a newer one",
            Self::OtherLock { .. } => {
                "add --replace-lock to take the bundle's; nothing was imported and the lock file is as it was"
            }
            Self::Store { source, .. } => return source.hint(),
        };
        Some(hint.to_owned())
    }

    /// The exit code of the program.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Blob { .. } | Self::Damaged { .. } | Self::Mismatch { .. } => ExitCode::Digest,
            Self::Lock { .. } | Self::OtherLock { .. } => ExitCode::Lock,
            Self::Taken { .. } | Self::Terminal | Self::TwoOutputs | Self::NotABundle { .. } => ExitCode::Configuration,
            Self::Io { .. } | Self::Store { .. } => ExitCode::Unexpected,
        }
    }
}

/// Names and sizes of the blobs of a lock, each once and in the order of the bundle.
fn blobs(lock: &Lock) -> BTreeMap<String, (Checksum, u64)> {
    let name = |checksum: &Checksum| format!("blobs/{}/{}", checksum.algorithm(), checksum.hex());
    lock.entries().iter().map(|entry| (name(&entry.checksum), (entry.checksum, entry.size))).collect()
}

/// The lists of digests: name and text of each, as sha256sum writes it.
fn sums(lock: &Lock, lock_text: &[u8]) -> Vec<(&'static str, String)> {
    let blobs = blobs(lock);
    let line = |checksum: &Checksum, name: &str| format!("{}  {name}\n", checksum.hex());
    let of = |algorithm| {
        let ours = blobs.iter().filter(move |(_, (checksum, _))| checksum.algorithm() == algorithm);
        ours.map(|(name, (checksum, _))| line(checksum, name)).collect::<String>()
    };
    let mut lists = vec![(SHA256SUMS, of(Algorithm::Sha256) + &line(&digest_of(lock_text), LOCK))];
    let sha512 = of(Algorithm::Sha512);
    if !sha512.is_empty() {
        lists.push((SHA512SUMS, sha512));
    }
    lists
}

fn digest_of(bytes: &[u8]) -> Checksum {
    Checksum::Sha256(crate::digest::Digest::of(bytes))
}
