//! What an image is, whoever made it, and what in it is secret. Nothing that it says is trusted.

use std::fs::File;
use std::io::{self, Read as _, Write};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::iso9660::{Entry, Image, Kind, ReadError};
use super::{payload, self_contained};
use crate::digest::Digest;
use crate::error::ExitCode;
use crate::printable;

/// Descriptions of an image that are larger than this, in bytes, are none.
const MAX_DESCRIPTION: u64 = 1 << 20;

/// Why an image could not be shown.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// There is no such file, or it may not be read.
    #[error("cannot open {}", path.display())]
    Open {
        /// The image.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is no image, or a damaged one.
    #[error("cannot read {}", path.display())]
    Image {
        /// The image.
        path: PathBuf,
        /// Why.
        #[source]
        source: ReadError,
    },
    /// There is nothing at a path in it.
    #[error("{} has no {}", path.display(), printable::line(wanted))]
    Absent {
        /// The image.
        path: PathBuf,
        /// What was asked for.
        wanted: String,
    },
    /// A file that is not shown unasked.
    #[error("{} in {} is secret", printable::line(file), path.display())]
    Secret {
        /// The image.
        path: PathBuf,
        /// The file in it.
        file: String,
    },
    /// A file's data cannot be read.
    #[error("cannot read {} in {}", printable::line(file), path.display())]
    Data {
        /// The image.
        path: PathBuf,
        /// The file in it, or all of it.
        file: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file that a terminal cannot show.
    #[error("{} in {} is no text", printable::line(file), path.display())]
    Binary {
        /// The image.
        path: PathBuf,
        /// The file in it.
        file: String,
    },
    /// Its data cannot be written.
    #[error("cannot write to standard output")]
    Output {
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl InspectError {
    /// What the user can do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Open { source, .. } if source.kind() == io::ErrorKind::NotFound => Some("check the path".to_owned()),
            Self::Image { source: ReadError::Io { .. }, .. }
            | Self::Open { .. }
            | Self::Data { .. }
            | Self::Output { .. } => None,
            Self::Image { .. } => Some("it is no ISO 9660 image, or a damaged one".to_owned()),
            Self::Absent { path, .. } => Some(format!("`nodebake inspect {}` lists what it has", path.display())),
            Self::Secret { .. } => Some("add --show-secrets".to_owned()),
            Self::Binary { .. } => Some("redirect standard output to a file".to_owned()),
        }
    }

    /// The exit code of the program.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Image { source: ReadError::Io { .. }, .. }
            | Self::Open { .. }
            | Self::Data { .. }
            | Self::Output { .. } => ExitCode::Unexpected,
            Self::Image { .. } | Self::Absent { .. } | Self::Secret { .. } | Self::Binary { .. } => {
                ExitCode::Configuration
            }
        }
    }
}

/// What the node's cloud-init is told first.
#[derive(Debug, Default, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct MetaData {
    /// Changes with anything in the seed.
    pub instance_id: Option<String>,
    /// The node's name.
    pub local_hostname: Option<String>,
}

/// What of `payload.json` tells whose payload it is.
#[derive(Debug, Deserialize)]
struct PayloadJson {
    name: String,
    arch: String,
}

/// An image that is looked at.
pub struct Inspection {
    path: PathBuf,
    image: Image<File>,
}

impl Inspection {
    /// Opens an image and reads its directories.
    pub fn open(path: &Path) -> Result<Self, InspectError> {
        let file = File::open(path).map_err(|source| InspectError::Open { path: path.to_owned(), source })?;
        let image = Image::open_any(file).map_err(|source| InspectError::Image { path: path.to_owned(), source })?;
        Ok(Self { path: path.to_owned(), image })
    }

    /// The image.
    pub fn image(&self) -> &Image<File> {
        &self.image
    }

    /// What stands at a path, from the image's root on; its first slash may be missing, and others may be doubled.
    pub fn entry(&self, path: &str) -> Result<&Entry, InspectError> {
        let names: Vec<_> = path.split('/').filter(|name| !name.is_empty()).collect();
        let absent = || InspectError::Absent { path: self.path.clone(), wanted: path.to_owned() };
        self.image.entry(&format!("/{}", names.join("/"))).ok_or_else(absent)
    }

    /// An entry and all that is beneath it.
    pub fn beneath<'a>(&'a self, entry: &'a Entry) -> impl Iterator<Item = &'a Entry> {
        let folder = format!("{}/", entry.path.trim_end_matches('/'));
        let entries = self.image.entries().iter();
        entries.filter(move |found| found.path == entry.path || found.path.starts_with(&folder))
    }

    /// Whether a file is shown only to whoever asks for secrets: one that its owner alone may read, user-data and the like,
    /// keys and kubeconfigs. Others' images often have one mode for all files.
    pub fn is_secret(&self, entry: &Entry) -> bool {
        let name = entry.path.rsplit('/').next().unwrap_or_default().to_lowercase().replace('_', "-");
        let named = matches!(name.as_str(), "user-data" | "vendor-data" | "network-config")
            || name.contains("kubeconfig")
            || [".key", "-key.pem"].iter().any(|end| name.ends_with(end));
        let others = entry.mode & 0o077;
        entry.kind == Kind::File && (named || others == 0)
    }

    /// Architecture of the payload that the image is, or that is in it.
    pub fn payload(&self) -> Option<String> {
        let places = ["", self_contained::ROOT].map(|folder| format!("{folder}{}", payload::MANIFEST));
        let read = |place: &String| serde_json::from_slice::<PayloadJson>(&self.description(place)?).ok();
        places.iter().find_map(read).filter(|found| found.name == payload::NAME).map(|found| found.arch)
    }

    /// What a `NoCloud` seed says of its node.
    pub fn seed(&self) -> Option<MetaData> {
        let is_seed = self.image.label().eq_ignore_ascii_case("cidata");
        let text = is_seed.then(|| self.description("/meta-data"))??;
        yaml(&text)
    }

    fn description(&self, path: &str) -> Option<Vec<u8>> {
        let entry = self.image.entry(path).filter(|entry| entry.kind == Kind::File)?;
        self.image.read(entry, MAX_DESCRIPTION).ok()?
    }

    /// SHA-256 of the whole file; `progress` is told of bytes that were read.
    pub fn digest(&self, progress: impl Fn(u64)) -> Result<Digest, InspectError> {
        let failed = |source| self.unread("all of it", source);
        // Of its own, since a disk's file stands at its end once its size is known.
        let file = File::open(&self.path).map_err(failed)?;
        Digest::of_reader(&mut Counted { reader: file, progress }).map_err(failed)
    }

    /// SHA-256 of a file in the image.
    pub fn file_digest(&self, entry: &Entry, progress: impl Fn(u64)) -> Result<Digest, InspectError> {
        let mut reader = Counted { reader: self.image.file(entry), progress };
        Digest::of_reader(&mut reader).map_err(|source| self.unread(&entry.path, source))
    }

    /// A file that is short text with nothing in it that drives a terminal.
    pub fn text(&self, entry: &Entry) -> Result<String, InspectError> {
        let binary = || InspectError::Binary { path: self.path.clone(), file: entry.path.clone() };
        if entry.size > MAX_DESCRIPTION {
            return Err(binary());
        }
        let mut bytes = Vec::new();
        self.image.file(entry).read_to_end(&mut bytes).map_err(|source| self.unread(&entry.path, source))?;
        let text = String::from_utf8(bytes).map_err(|_| binary())?;
        let untabbed = text.replace('\t', "");
        if printable::text(&untabbed) == untabbed { Ok(text) } else { Err(binary()) }
    }

    /// Writes a file's data, of any size.
    pub fn copy(&self, entry: &Entry, to: &mut impl Write) -> Result<(), InspectError> {
        let mut reader = self.image.file(entry);
        let mut piece = vec![0; 128 << 10];
        loop {
            let count = reader.read(&mut piece).map_err(|source| self.unread(&entry.path, source))?;
            if count == 0 {
                return Ok(());
            }
            match to.write_all(&piece[..count]) {
                // Whoever reads has seen enough.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
                written => written.map_err(|source| InspectError::Output { source })?,
            }
        }
    }

    /// Refuses a secret.
    pub fn check_open(&self, entry: &Entry) -> Result<(), InspectError> {
        if self.is_secret(entry) {
            return Err(InspectError::Secret { path: self.path.clone(), file: entry.path.clone() });
        }
        Ok(())
    }

    fn unread(&self, file: &str, source: io::Error) -> InspectError {
        InspectError::Data { path: self.path.clone(), file: file.to_owned(), source }
    }
}

fn yaml<T: DeserializeOwned>(text: &[u8]) -> Option<T> {
    serde_yaml::from_slice(text).ok()
}

/// Tells how much was read.
struct Counted<R, F> {
    reader: R,
    progress: F,
}

impl<R: io::Read, F: Fn(u64)> io::Read for Counted<R, F> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(bytes)?;
        (self.progress)(count as u64);
        Ok(count)
    }
}
