//! A blob on its way.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Seek as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use super::super::checksum::{Checksum, Hasher};
use super::{Stamp, StoreError, remember, sidecar, with_suffix};

/// Where the bytes of a part come from: what another process needs to go on with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::artifacts) struct Note {
    /// The address asked, without a password.
    pub(in crate::artifacts) address: String,
    /// The file's validator there.
    pub(in crate::artifacts) validator: String,
}

impl Note {
    /// What a torn or foreign file says is nothing.
    fn read(path: &Path) -> Option<Self> {
        let text = std::fs::read_to_string(path).ok()?;
        let (address, validator) = text.strip_suffix('\n')?.split_once('\n')?;
        let whole = !address.is_empty() && !validator.is_empty() && !validator.contains('\n');
        whole.then(|| Self { address: address.to_owned(), validator: validator.to_owned() })
    }
}

/// A blob on its way, locked by us. Dropped without [`Part::finish`] it stays only with a note of where its bytes came
/// from.
#[derive(Debug)]
pub struct Part {
    file: File,
    temporary: PathBuf,
    path: PathBuf,
    checksum: Checksum,
    hasher: Hasher,
    length: u64,
    note: Option<Note>,
    named: bool,
}

impl Part {
    /// The part beside `path`; calls `waiting` and waits while another process has it. What was left of it goes unless
    /// it is kept.
    pub(super) fn claim(path: PathBuf, checksum: Checksum, waiting: &mut dyn FnMut()) -> Result<Self, StoreError> {
        let temporary = with_suffix(&path, ".part");
        loop {
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(false).mode(0o644);
            let file = options.open(&temporary).map_err(StoreError::io("open", &temporary))?;
            let locked = match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Err(rustix::io::Errno::WOULDBLOCK) => {
                    waiting();
                    flock(&file, FlockOperation::LockExclusive)
                }
                locked => locked,
            };
            locked.map_err(|error| StoreError::io("lock", &temporary)(error.into()))?;
            // Who held the lock before may have renamed or removed the file that we opened.
            let ours = file.metadata().and_then(|ours| Ok((ours.ino(), std::fs::metadata(&temporary)?.ino())));
            if ours.is_ok_and(|(ours, named)| ours == named) {
                let hasher = checksum.algorithm().hasher();
                return Ok(Self { file, temporary, path, checksum, hasher, length: 0, note: None, named: false });
            }
        }
    }

    /// Takes what is there and hashes it, as far as it can be of use: a part with a note, or a whole file.
    pub(super) fn keep(mut self, size: u64) -> Result<Self, StoreError> {
        let there = self.file.metadata().map_err(StoreError::io("look at", &self.temporary))?.len();
        self.note = Note::read(&note_path(&self.path));
        if there == 0 || there > size || (there < size && self.note.is_none()) {
            self.restart()?;
            return Ok(self);
        }
        self.hasher.take_all(&mut self.file, |_| {}).map_err(StoreError::io("read", &self.temporary))?;
        self.length = there;
        if there == size && self.digest() != self.checksum {
            self.restart()?;
        }
        Ok(self)
    }

    /// Bytes written so far.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Where they came from, where that is known.
    pub(in crate::artifacts) fn note(&self) -> Option<&Note> {
        self.note.as_ref()
    }

    /// Writes down where the bytes that follow come from. Without that, or where it cannot be written, nothing of a
    /// transfer that is cut stays.
    pub(in crate::artifacts) fn comes_from(&mut self, note: Option<Note>) {
        if self.note == note {
            return;
        }
        let path = note_path(&self.path);
        let Some(note) = note else { return self.forget_note() };
        match std::fs::write(&path, format!("{}\n{}\n", note.address, note.validator)) {
            Ok(()) => self.note = Some(note),
            Err(error) => {
                tracing::debug!(note = %path.display(), %error, "cannot note where a part comes from");
                self.forget_note();
            }
        }
    }

    fn forget_note(&mut self) {
        self.note = None;
        let _ = std::fs::remove_file(note_path(&self.path));
    }

    /// Writes more bytes and hashes them.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.file.write_all(bytes).map_err(StoreError::io("write", &self.temporary))?;
        self.hasher.update(bytes);
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Back to nothing, to be written anew.
    pub fn restart(&mut self) -> Result<(), StoreError> {
        self.forget_note();
        let emptied = self.file.set_len(0).and_then(|()| self.file.rewind());
        emptied.map_err(StoreError::io("truncate", &self.temporary))?;
        self.hasher = self.checksum.algorithm().hasher();
        self.length = 0;
        Ok(())
    }

    /// The digest of what was written so far.
    pub fn digest(&self) -> Checksum {
        self.hasher.clone().finish()
    }

    /// Gives the blob its name, durably, if the digest is the promised one; else says which it is, and keeps nothing.
    pub fn finish(mut self) -> Result<Result<PathBuf, Checksum>, StoreError> {
        // First of all: after the rename nobody would look for a note.
        self.forget_note();
        let got = self.digest();
        if got != self.checksum {
            return Ok(Err(got));
        }
        let path = self.path.clone();
        self.file.sync_all().map_err(StoreError::io("sync", &self.temporary))?;
        std::fs::rename(&self.temporary, &path).map_err(StoreError::io("name", &path))?;
        self.named = true;
        // After the rename, since a read-only .part left by a killed process could not be opened again.
        self.file.set_permissions(Permissions::from_mode(0o444)).map_err(StoreError::io("protect", &path))?;
        if let Some(folder) = path.parent() {
            sync_folder(folder).map_err(StoreError::io("sync", folder))?;
        }
        let stamp = Stamp::of(&self.file).map_err(StoreError::io("look at", &path))?;
        remember(&sidecar(&path), &stamp);
        Ok(Ok(path))
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // Under the lock, so the name is ours. After the rename it may already be another process's.
        if !self.named && (self.note.is_none() || self.length == 0) {
            self.forget_note();
            let _ = std::fs::remove_file(&self.temporary);
        }
    }
}

fn note_path(path: &Path) -> PathBuf {
    with_suffix(path, ".part.from")
}

pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
