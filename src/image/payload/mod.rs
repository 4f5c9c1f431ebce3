//! The payload: an image with the programs that every worker of an architecture runs, public and shared, and with the
//! user's own files.
//!
//! It is written straight from the files as they were published, in one pass: nothing is unpacked on disk, no file is
//! held in memory, and each input is hashed as it is read and compared with what is locked. First the archives are
//! decompressed, each in a thread of its own (bake.rs). Then every size is known and the directories are written. While
//! a thread copies what is no archive, the image is read back behind it, once: to compare every file and to take the
//! image's digest (check.rs). Meanwhile it goes to disk.
//!
//! Beside `payload-DIGEST12.iso` lies `payload-DIGEST12.json`, which says from which inputs it was made. Both depend
//! on the inputs alone. The size is compared when one is found again; a whole check of its bytes is `verify`'s work.

mod bake;
mod check;
mod error;
mod input;
mod places;

#[cfg(test)]
mod tests;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::contents::PayloadContents;
use super::iso9660::{Label, Time};
use crate::artifacts::{Checksum, Kind};
use crate::config::Arch;
use crate::digest::Digest;
use crate::progress::Progress;
use crate::whole_file;
pub use error::PayloadError;

/// Label of every payload.
pub const LABEL: Label = Label::new("NODEBAKE_PAYLOAD");

/// The file in a payload that says what it holds, and the name that it gives there.
pub(super) const MANIFEST: &str = "/payload.json";
pub(super) const NAME: &str = "nodebake-payload";

/// Raised whenever the same inputs shall give other bytes.
const RECIPE: u32 = 2;

/// What a payload is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PayloadInputs {
    /// Architecture that every program must have.
    pub arch: Arch,
    /// Time of everything in the image; [`Time::FIXED`] unless the user has another.
    pub time: Time,
    /// A kubelet, a containerd, a runc and CNI plugins, and any number of the user's own files.
    pub ingredients: Vec<Ingredient>,
}

/// A file that goes into a payload, as it was published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ingredient {
    /// What it is.
    pub kind: Kind,
    /// Its name, where there can be several of a kind.
    pub name: String,
    /// What its bytes must be; they are checked as they are read.
    pub checksum: Checksum,
    /// Where it is.
    pub path: PathBuf,
}

/// A payload in the output folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payload {
    /// `OUT/payload-DIGEST12.iso`.
    pub path: PathBuf,
    /// Of the whole image.
    pub digest: Digest,
    /// In bytes.
    pub size: u64,
    /// What of the user's own it holds.
    pub contents: PayloadContents,
}

impl PayloadInputs {
    /// Names these inputs, by which [`find`] knows their payload: the recipe, the architecture, the time, and kind, name
    /// and checksum of every file, in order. Where the files are does not matter.
    pub fn digest(&self) -> Digest {
        let Self { arch, time, ingredients } = self;
        let mut text = format!("payload {RECIPE}\narch {arch}\ntime {}\n", time.unix());
        for Ingredient { kind, name, checksum, .. } in ingredients {
            // Writing to a String cannot fail.
            let _ = if kind.is_named() {
                writeln!(text, "{kind} {name:?} {checksum}")
            } else {
                writeln!(text, "{kind} {checksum}")
            };
        }
        Digest::of(text.as_bytes())
    }

    fn of(&self, kind: Kind) -> impl Iterator<Item = &Ingredient> {
        self.ingredients.iter().filter(move |ingredient| ingredient.kind == kind)
    }

    /// The ingredient of a kind of which there is one.
    fn only(&self, kind: Kind) -> Result<&Ingredient, PayloadError> {
        let mut found = self.of(kind);
        match (found.next(), found.next()) {
            (Some(ingredient), None) => Ok(ingredient),
            _ => Err(PayloadError::Ingredient { kind }),
        }
    }
}

impl Ingredient {
    /// What it is called in messages.
    fn title(&self) -> String {
        match self.kind {
            Kind::CniPlugins => "CNI plugins".to_owned(),
            kind if kind.is_named() => format!("{} {}", kind.as_str().replace('-', " "), self.name),
            kind => kind.to_string(),
        }
    }
}

/// What stands beside a payload.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sidecar {
    inputs: Digest,
    arch: String,
    digest: Digest,
    size: u64,
    contents: PayloadContents,
}

/// The payload that was made from these inputs, if it stands in `folder` with its full size. Its bytes are not read.
pub fn find(folder: &Path, inputs: Digest) -> Option<Payload> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).ok()?.flatten() {
        let path = entry.path();
        let ours = entry.file_name().to_string_lossy().starts_with("payload-");
        if !ours || path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let Some(sidecar) = fs::read(&path).ok().and_then(|text| serde_json::from_slice::<Sidecar>(&text).ok()) else {
            continue;
        };
        let Sidecar { digest, size, contents, .. } = sidecar;
        let path = folder.join(image_name(digest));
        let whole = fs::symlink_metadata(&path).is_ok_and(|image| image.is_file() && image.len() == size);
        if sidecar.inputs == inputs && whole {
            found.push(Payload { path, digest, size, contents });
        }
    }
    found.into_iter().min_by(|a, b| a.path.cmp(&b.path))
}

fn image_name(digest: Digest) -> String {
    format!("payload-{}.iso", digest.short())
}

/// Makes a payload in `folder`, which must exist, reads it back, and gives it its name (mode 0644) once it is on disk.
/// False beside it: another process has just made the same.
pub fn bake(inputs: &PayloadInputs, folder: &Path, progress: &dyn Progress) -> Result<(Payload, bool), PayloadError> {
    let output = |path: &Path| {
        let path = path.to_owned();
        move |source| PayloadError::Output { path, source }
    };
    let file = whole_file::begin(&folder.join(format!("payload-{}.iso", inputs.arch))).map_err(output(folder))?;
    let name = inputs.digest();
    // Another process may have made it while we waited for the name.
    if let Some(payload) = find(folder, name) {
        return Ok((payload, false));
    }
    let bake::Baked { digest, size, contents } = bake::write(inputs, folder, file.as_file(), progress)?;
    let path = folder.join(image_name(digest));
    let sidecar = Sidecar { inputs: name, arch: inputs.arch.to_string(), digest, size, contents: contents.clone() };
    let beside = path.with_extension("json");
    whole_file::write(&beside, &json(&sidecar), 0o644).map_err(output(&beside))?;
    // Last, so that whoever waits for the name finds both.
    whole_file::publish(file, 0o644, &path).map_err(output(&path))?;
    Ok((Payload { path, digest, size, contents }, true))
}

/// Our structs always serialize; a fault would show as a file that does not read back.
fn json(value: &impl Serialize) -> Vec<u8> {
    let mut text = serde_json::to_vec_pretty(value).unwrap_or_default();
    text.push(b'\n');
    text
}
