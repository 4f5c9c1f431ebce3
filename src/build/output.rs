//! Files of the output folder: written whole or not at all, and not touched where they are right already.

use std::fs;
use std::io;
use std::path::Path;

use super::BuildError;
use crate::whole_file;

/// Makes the folder of the output. It is public: what is secret in it has a mode of its own.
pub(crate) fn folder(path: &Path) -> Result<(), BuildError> {
    whole_file::make_folder(path, 0o755).map_err(|source| unmade(path, source))
}

/// Makes the folder of a node in it, on disk after [`settle`].
pub(super) fn node_folder(path: &Path) -> Result<(), BuildError> {
    whole_file::make_folder_soon(path, 0o755).map(|_| ()).map_err(|source| unmade(path, source))
}

fn unmade(path: &Path, source: io::Error) -> BuildError {
    BuildError::File { action: "make", path: path.to_owned(), source }
}

/// Brings all that was written to the output to disk.
pub(super) fn settle(out: &Path) -> Result<(), BuildError> {
    whole_file::settle(out).map_err(|source| BuildError::File { action: "write", path: out.to_owned(), source })
}

/// Puts `bytes` at `path`, mode 0644, on disk after [`settle`]; says whether they were not there already.
pub(super) fn file(path: &Path, bytes: &[u8]) -> Result<bool, BuildError> {
    if fs::read(path).is_ok_and(|old| old == bytes) {
        return Ok(false);
    }
    whole_file::write_soon(path, bytes, 0o644).map(|()| true).map_err(|source| BuildError::File {
        action: "write",
        path: path.to_owned(),
        source,
    })
}
