//! What can go wrong with a payload.

use std::io;
use std::path::PathBuf;

use crate::artifacts::{Checksum, Kind};
use crate::image::container_image::ContainerImageError;
use crate::image::deb::DebError;
use crate::image::elf::ElfError;
use crate::image::iso9660::{ReadError, WriteError};
use crate::image::unpack::UnpackError;

/// Why a payload could not be made.
#[derive(Debug, thiserror::Error)]
pub enum PayloadError {
    /// There must be one of a kind.
    #[error("a payload needs exactly one {kind}")]
    Ingredient {
        /// That kind.
        kind: Kind,
    },
    /// An artifact could not be opened.
    #[error("cannot open {artifact} ({})", path.display())]
    Open {
        /// Which one: "kubelet", "containerd", "runc", "CNI plugins", "binary crictl".
        artifact: String,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// An artifact's file has other bytes than those that are locked.
    #[error("the file of {artifact} has changed ({}): {wanted} is locked, {got} is there", path.display())]
    Changed {
        /// Which one.
        artifact: String,
        /// The file.
        path: PathBuf,
        /// What is locked.
        wanted: Box<Checksum>,
        /// What is there.
        got: Box<Checksum>,
    },
    /// An archive is damaged, cut off, or holds what it must not.
    #[error("the archive of {artifact} ({}) is refused", path.display())]
    Archive {
        /// Which one.
        artifact: String,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: UnpackError,
    },
    /// An artifact's file cannot be read.
    #[error("cannot read {artifact} ({})", path.display())]
    Read {
        /// Which one.
        artifact: String,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// An archive lacks a program.
    #[error("the archive of {artifact} ({}) holds no {program}", path.display())]
    Missing {
        /// Which one.
        artifact: String,
        /// The file.
        path: PathBuf,
        /// Its path in the archive.
        program: String,
    },
    /// A program that the nodes cannot run.
    #[error("{program} of {artifact} ({}) cannot run on the nodes", path.display())]
    Program {
        /// Which one.
        artifact: String,
        /// The file.
        path: PathBuf,
        /// The program's path in the payload.
        program: String,
        /// Why.
        #[source]
        source: ElfError,
    },
    /// A package that the nodes cannot install.
    #[error("{artifact} ({}) is no package for the nodes", path.display())]
    Package {
        /// Which one.
        artifact: String,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<DebError>,
    },
    /// An archive of container images that the nodes cannot use.
    #[error("{artifact} ({}) is of no use to the nodes", path.display())]
    Image {
        /// Which one.
        artifact: String,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<ContainerImageError>,
    },
    /// Two files of one name.
    #[error("{artifact} cannot stand at {place} of the payload: something else does")]
    Clash {
        /// The second one.
        artifact: String,
        /// The path in the payload.
        place: String,
    },
    /// The image cannot be written.
    #[error("cannot write the payload in {}", folder.display())]
    Write {
        /// The output folder.
        folder: PathBuf,
        /// Why.
        #[source]
        source: WriteError,
    },
    /// What was written does not read back; a fault of the disk, of the machine or of nodebake.
    #[error("the payload does not read back as it was written: {what}")]
    ReadBack {
        /// The first difference.
        what: String,
        /// The reader's complaint, if it has one.
        #[source]
        source: Option<ReadError>,
    },
    /// A file in the output folder cannot be made.
    #[error("cannot write {}", path.display())]
    Output {
        /// The file or its folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl PayloadError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Archive { source, .. } => return source.hint(),
            Self::Write { source, .. } => return source.hint(),
            Self::Ingredient { .. } => "lock it: nodebake lock",
            Self::Open { .. } => "fetch it again: nodebake fetch",
            Self::Changed { .. } => "what is there will not be used: run it again, and the file is fetched anew",
            Self::Missing { .. } => {
                "its bytes are those that were locked: check that the lock file names the archive that you mean"
            }
            Self::Program { .. } => {
                "its bytes are those that were locked: check its address in the lock file, and `arch` in the cluster file"
            }
            Self::Package { .. } => {
                "its bytes are those that were given: check its digest and address, and `arch` in the cluster file"
            }
            Self::Image { source, .. } => return Some(source.hint()),
            Self::Clash { .. } => "give it another name in the cluster file",
            Self::ReadBack { .. } => "check the disk and the memory of this machine, then build again",
            Self::Output { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                "make space on the disk of the output folder, or choose another with --out"
            }
            Self::Read { .. } | Self::Output { .. } => return None,
        };
        Some(hint.to_owned())
    }

    /// The locked digest that a file in the cache no longer has.
    pub fn changed(&self) -> Option<&Checksum> {
        if let Self::Changed { wanted, .. } = self { Some(wanted) } else { None }
    }
}
