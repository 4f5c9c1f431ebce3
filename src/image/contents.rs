//! What a payload holds beyond the programs that every worker needs: what the user gave.

use serde::{Deserialize, Serialize};

/// The user's own files in a payload, each list in the order in which they stand in the lock file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PayloadContents {
    /// Names of programs: NAME stands at `/bin/NAME`.
    pub binaries: Vec<String>,
    /// File names of Debian packages: FILE stands at `/packages/FILE`.
    pub packages: Vec<String>,
    /// Archives of container images.
    pub images: Vec<PreloadedImage>,
}

/// An archive of container images in a payload: a tar, not compressed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PreloadedImage {
    /// Its file name: FILE stands at `/images/FILE`.
    pub file: String,
    /// The references by which its images can be asked for, as the archive gives them; at least one.
    pub references: Vec<String>,
}
