//! The folder in which everything is made once more.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use tempfile::TempDir;

use crate::scratch::{self, Listed};

const PREFIX: &str = "nodebake-verify-";

/// A folder of mode 0700, since nodes' keys come into it. It goes when this is dropped; what a killed run left of its own
/// goes with the next. Whoever uses one holds a lock on it, so an unlocked one is dead.
pub(super) struct Scratch {
    folder: TempDir,
    _listed: Listed,
    _lock: File,
}

impl Scratch {
    pub(super) fn new(parent: &Path) -> io::Result<Self> {
        sweep(parent);
        loop {
            let (folder, listed) = scratch::folder(|| tempfile::Builder::new().prefix(PREFIX).tempdir_in(parent))?;
            // Another run may take it for dead before it is locked.
            match lock(folder.path(), FlockOperation::LockExclusive) {
                Ok(Some(lock)) => return Ok(Self { folder, _listed: listed, _lock: lock }),
                Ok(None) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
    }

    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// Locks a folder; none if it has lost its name meanwhile.
fn lock(path: &Path, how: FlockOperation) -> io::Result<Option<File>> {
    let folder = File::open(path)?;
    flock(&folder, how)?;
    let (ours, named) = (folder.metadata()?, fs::symlink_metadata(path)?);
    Ok(((ours.dev(), ours.ino()) == (named.dev(), named.ino())).then_some(folder))
}

/// Removes what killed runs of this user left. What cannot be removed stays: it is in nobody's way.
fn sweep(parent: &Path) {
    let own = rustix::process::geteuid().as_raw();
    let is_ours = |entry: &fs::DirEntry| {
        entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX))
            && entry.metadata().is_ok_and(|found| found.is_dir() && found.uid() == own)
    };
    for entry in fs::read_dir(parent).into_iter().flatten().flatten().filter(is_ours) {
        let path = entry.path();
        let removed = lock(&path, FlockOperation::NonBlockingLockExclusive)
            .and_then(|dead| if dead.is_some() { fs::remove_dir_all(&path) } else { Ok(()) });
        if let Err(error) = removed {
            tracing::debug!(path = %path.display(), %error, "cannot remove a scratch folder");
        }
    }
}
