//! Files of the output folder: written whole or not at all, and not touched where they are right already.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::BuildError;
use crate::whole_file;

/// Makes the folder of the output. It is public: what is secret in it has a mode of its own.
pub(crate) fn folder(path: &Path) -> Result<(), BuildError> {
    whole_file::make_folder(path, 0o755).map_err(|source| unmade(path, source))
}

/// Makes the folder of a node in it.
pub(super) fn node_folder(path: &Path) -> Result<(), BuildError> {
    whole_file::make_folder_soon(path, 0o755).map(|_| ()).map_err(|source| unmade(path, source))
}

fn unmade(path: &Path, source: io::Error) -> BuildError {
    BuildError::File { action: "make", path: path.to_owned(), source }
}

/// Mode of what others may read.
pub(super) const PUBLIC: u32 = 0o644;
/// Mode of what can hold a secret.
pub(super) const SECRET: u32 = 0o600;

/// Puts `bytes` at `path`; says whether they were not there already. A secret file that others could read is put anew. It
/// is not waited for the disk: whoever comes by again compares all of it.
pub(super) fn file(path: &Path, bytes: &[u8], mode: u32) -> Result<bool, BuildError> {
    let is_closed = || fs::symlink_metadata(path).is_ok_and(|found| found.is_file() && found.mode() & 0o7777 == mode);
    if fs::read(path).is_ok_and(|old| old == bytes) && (mode != SECRET || is_closed()) {
        return Ok(false);
    }
    whole_file::write_soon(path, bytes, mode).map(|()| true).map_err(|source| BuildError::File {
        action: "write",
        path: path.to_owned(),
        source,
    })
}
