//! What a run has on disk for itself alone: files without their names, folders to work in. Most go when they are dropped;
//! a run that is ended by a signal drops nothing, and takes them away by this list.
//!
//! What it does not list, the next run clears (`whole_file`, `verify::scratch`): nothing can be done against SIGKILL.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tempfile::TempDir;

/// What is there, with its device and inode: once it has gone, its name may be another run's.
static LISTED: Mutex<BTreeMap<PathBuf, (u64, u64)>> = Mutex::new(BTreeMap::new());

fn listed() -> MutexGuard<'static, BTreeMap<PathBuf, (u64, u64)>> {
    LISTED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An entry of the list; dropped when what it names is gone, or is scratch no more.
#[derive(Debug)]
pub(crate) struct Listed(PathBuf);

impl Drop for Listed {
    fn drop(&mut self) {
        listed().remove(&self.0);
    }
}

/// Makes a file and lists it: it is never there without being listed.
pub(crate) fn file(path: &Path, make: impl FnOnce() -> io::Result<File>) -> io::Result<(File, Listed)> {
    let mut listed = listed();
    let file = make()?;
    let entry = list(&mut listed, path, &file.metadata()?)?;
    Ok((file, entry))
}

/// The same of a folder of whatever name.
pub(crate) fn folder(make: impl FnOnce() -> io::Result<TempDir>) -> io::Result<(TempDir, Listed)> {
    let mut listed = listed();
    let folder = make()?;
    let entry = list(&mut listed, folder.path(), &fs::symlink_metadata(folder.path())?)?;
    Ok((folder, entry))
}

fn list(listed: &mut BTreeMap<PathBuf, (u64, u64)>, path: &Path, found: &fs::Metadata) -> io::Result<Listed> {
    let path = std::path::absolute(path)?;
    listed.insert(path.clone(), (found.dev(), found.ino()));
    Ok(Listed(path))
}

/// Does in one step what leaves something half done in between, as far as a signal goes.
pub(crate) fn at_once<T>(work: impl FnOnce() -> T) -> T {
    let _listed = listed();
    work()
}

/// Removes all that is listed. From then on nothing is made or named any more: whoever tries waits for the end of the
/// program.
pub fn remove_all() {
    let listed = listed();
    for (path, made) in &*listed {
        let is_ours = |found: &fs::Metadata| (found.dev(), found.ino()) == *made;
        let removed = match fs::symlink_metadata(path) {
            Ok(found) if is_ours(&found) && found.is_dir() => fs::remove_dir_all(path),
            Ok(found) if is_ours(&found) => fs::remove_file(path),
            _ => Ok(()),
        };
        if let Err(error) = removed {
            tracing::debug!(path = %path.display(), %error, "cannot remove it");
        }
    }
    std::mem::forget(listed);
}
