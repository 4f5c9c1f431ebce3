//! Golden images: base images that hold a payload already, and what stands beside each to say so.
//!
//! `NAME.json` lies beside `NAME.qcow2` and names its digest, so that it speaks for that very file. A base image without
//! one is like any other.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// What a golden image is and holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Golden {
    /// Form of this file.
    pub api_version: String,
    /// Architecture.
    pub arch: String,
    /// Digest of the base image that it was made from, with its algorithm.
    pub base: String,
    /// Digest of the payload that is on it.
    pub payload: Digest,
    /// File names of the Debian packages that are installed on it.
    pub packages: Vec<String>,
    /// Size of the disk as a guest sees it, in bytes.
    pub disk: u64,
    /// The image as qcow2.
    pub qcow2: Stored,
    /// The same disk, not packed.
    pub raw: Stored,
}

/// A file of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stored {
    /// Its name.
    pub file: String,
    /// Of the whole file.
    pub digest: Digest,
    /// In bytes.
    pub size: u64,
}

impl Golden {
    /// The form that this version writes and reads.
    pub const API_VERSION: &str = "nodebake/v1";

    /// What stands beside an image of this digest, if it is a golden one.
    pub fn beside(image: &Path, digest: Digest) -> Option<Self> {
        let text = fs::read(image.with_extension("json")).ok()?;
        let golden: Self = serde_json::from_slice(&text).ok()?;
        (golden.api_version == Self::API_VERSION && golden.qcow2.digest == digest).then_some(golden)
    }

    /// The text that stands beside it.
    pub fn to_json(&self) -> Vec<u8> {
        // Our structs always serialize.
        let mut text = serde_json::to_vec_pretty(self).unwrap_or_default();
        text.push(b'\n');
        text
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn what_lies_beside_speaks_for_one_file_alone() {
        let folder = tempfile::tempdir().unwrap();
        let stored = |file: &str| Stored { file: file.to_owned(), digest: Digest::of(file.as_bytes()), size: 1 };
        let golden = Golden {
            api_version: Golden::API_VERSION.to_owned(),
            arch: "amd64".to_owned(),
            base: "sha256:00".to_owned(),
            payload: Digest::of(b"payload"),
            packages: vec!["jq.deb".to_owned()],
            disk: 4 << 30,
            qcow2: stored("workers.qcow2"),
            raw: stored("workers.raw"),
        };
        let image = folder.path().join("workers.qcow2");
        assert_eq!(Golden::beside(&image, golden.qcow2.digest), None);
        fs::write(folder.path().join("workers.json"), golden.to_json()).unwrap();
        assert_eq!(Golden::beside(&image, golden.qcow2.digest), Some(golden.clone()));
        assert_eq!(Golden::beside(&image, golden.raw.digest), None);
        let other = Golden { api_version: "nodebake/v2".to_owned(), ..golden.clone() };
        fs::write(folder.path().join("workers.json"), other.to_json()).unwrap();
        assert_eq!(Golden::beside(&image, golden.qcow2.digest), None);
    }
}
