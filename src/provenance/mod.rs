//! What a node was made from, in forms that others' tools read: an SPDX document (its bill of materials) and an in-toto
//! statement with SLSA's provenance.
//!
//! Both are functions of what the node's manifest is made from: no clock, nothing random, no folder of this machine. There
//! is no secret in them and no digest of one: an input that may hold a password is named, and that is all.

mod purl;
mod spdx;
mod statement;

use std::path::Path;

use serde::Serialize;

use crate::artifacts::{Entry, Kind, Trust};
use crate::config::{ClusterId, Location, Node};
use crate::digest::Digest;
use crate::image::iso9660::Time;
use crate::image::{Golden, Payload};
use crate::plan::ImageFile;
use crate::render::{Input, PayloadPlace};
pub use spdx::document;
pub use statement::{Byproduct, statement};

/// The version of nodebake that makes them.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What both tell of: a node's image, and all that went into it.
#[derive(Debug, Clone, Copy)]
pub struct Made<'a> {
    /// The node.
    pub node: &'a Node,
    /// The cluster that it is for.
    pub cluster: &'a ClusterId,
    /// SHA-256 of its certificate as it is in the image: PEM, with the CAs below the root.
    pub certificate: Digest,
    /// cloud-init's instance-id, which is a digest of all that was rendered.
    pub instance_id: &'a str,
    /// What is locked and went in.
    pub entries: &'a [&'a Entry],
    /// Files of the user's own that it was rendered from.
    pub inputs: &'a [Input],
    /// The folder of the cluster file, which is in no byte.
    pub folder: &'a Path,
    /// The payload.
    pub payload: &'a Payload,
    /// Where the node has it from.
    pub place: PayloadPlace,
    /// What its base image is, where that is a golden one.
    pub golden: Option<&'a Golden>,
    /// The seed, or the image that is seed and payload.
    pub image: &'a ImageFile,
    /// The time of everything in the images.
    pub time: Time,
}

impl<'a> Made<'a> {
    /// What is locked and in the payload.
    fn packed(&self) -> impl Iterator<Item = &'a Entry> {
        self.entries.iter().copied().filter(|entry| entry.kind != Kind::BaseImage)
    }

    fn base(&self) -> Option<&'a Entry> {
        self.entries.iter().copied().find(|entry| entry.kind == Kind::BaseImage)
    }
}

/// The address that a file was published at; a path of this machine is none.
fn address(entry: &Entry) -> Option<&str> {
    match &entry.from {
        Location::Url(url) => Some(url.as_str()),
        Location::Path(_) => None,
    }
}

/// Whether upstream made it: a file that the cluster file gives may be anybody's, whatever it stands in for.
fn is_upstream(entry: &Entry) -> bool {
    entry.trust != Trust::Given
}

/// What a locked file is called.
fn name(entry: &Entry) -> String {
    match entry.kind {
        Kind::Package => deb_name(&entry.version).map_or_else(|| entry.version.clone(), |(name, ..)| name.to_owned()),
        Kind::BaseImage => entry.version.clone(),
        kind if kind.is_named() => entry.version.clone(),
        kind => kind.to_string(),
    }
}

/// Its version, where it has one: of a base image the day of its release.
fn version(entry: &Entry) -> Option<String> {
    match entry.kind {
        Kind::Package => deb_name(&entry.version).map(|(_, version, _)| version),
        Kind::BaseImage => entry.released.map(|day| day.to_string()),
        kind if kind.is_named() => None,
        _ => Some(entry.version.clone()),
    }
}

/// Name, version and architecture (`all` for one that is for all) of a Debian package by its file's name,
/// `NAME_VERSION_ARCH.deb`, where the colon behind an epoch is written `%3a`.
fn deb_name(file: &str) -> Option<(&str, String, &str)> {
    let mut parts = file.strip_suffix(".deb")?.split('_');
    let (name, version, arch) = (parts.next()?, parts.next()?, parts.next()?);
    let whole = parts.next().is_none() && ![name, version, arch].contains(&"");
    whole.then(|| (name, version.replace("%3a", ":").replace("%3A", ":"), arch))
}

fn file_name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// Structs, lists and texts: nothing that JSON cannot say.
fn json(value: &impl Serialize) -> Vec<u8> {
    let mut json = serde_json::to_vec_pretty(value).unwrap_or_default();
    json.push(b'\n');
    json
}
