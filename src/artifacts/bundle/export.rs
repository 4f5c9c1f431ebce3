//! Writing a bundle.

use std::fs::File;
use std::io::{self, Read as _, Write};
use std::path::Path;

use super::super::fetch::Blob;
use super::super::lock::Lock;
use super::{BundleError, LOCK, PIECE, archive, blobs, sums};
use crate::progress::Progress;
use crate::whole_file;

/// A lock and the text that it was read from.
#[derive(Debug, Clone, Copy)]
pub struct Locked<'a> {
    /// The lock.
    pub lock: &'a Lock,
    /// Its file's bytes.
    pub text: &'a [u8],
}

/// Writes the bundle of a lock, whose blobs are all in the store, to `output` (which errors call `place`); returns its
/// size in bytes. Each blob is hashed on its way: one that does not have its digest fails the bundle.
pub fn export(
    locked: Locked<'_>,
    held: &[Blob],
    output: &mut dyn Write,
    place: &str,
    progress: &dyn Progress,
) -> Result<u64, BundleError> {
    let mut exporter = Exporter { output, place, size: 0 };
    for (name, text) in sums(locked.lock, locked.text) {
        exporter.file(name, text.as_bytes())?;
    }
    exporter.file(LOCK, locked.text)?;
    for (name, (checksum, _)) in blobs(locked.lock) {
        // The lock's blobs are those that were fetched for it.
        let Some(blob) = held.iter().find(|blob| blob.entry.checksum == checksum) else { continue };
        exporter.blob(&name, blob, progress)?;
    }
    exporter.write(&archive::END)?;
    exporter.output.flush().map_err(|source| exporter.failed(source))?;
    Ok(exporter.size)
}

/// The same as a file of mode 0644, which appears whole or not at all. A bundle is replaced, anything else is not.
pub fn export_to(path: &Path, locked: Locked<'_>, held: &[Blob], progress: &dyn Progress) -> Result<u64, BundleError> {
    let place = path.display().to_string();
    let failed = |source| BundleError::Io { action: "write", place: place.clone(), source };
    if !is_free(path).map_err(failed)? {
        return Err(BundleError::Taken { path: path.to_owned() });
    }
    let mut file = whole_file::begin(path).map_err(failed)?;
    let size = export(locked, held, file.as_file_mut(), &place, progress)?;
    whole_file::publish(file, 0o644, path).map_err(failed)?;
    Ok(size)
}

struct Exporter<'a> {
    output: &'a mut dyn Write,
    place: &'a str,
    size: u64,
}

impl Exporter<'_> {
    fn failed(&self, source: io::Error) -> BundleError {
        BundleError::Io { action: "write", place: self.place.to_owned(), source }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), BundleError> {
        self.output.write_all(bytes).map_err(|source| self.failed(source))?;
        self.size += bytes.len() as u64;
        Ok(())
    }

    fn file(&mut self, name: &str, bytes: &[u8]) -> Result<(), BundleError> {
        let size = bytes.len() as u64;
        self.write(&archive::head(name, size))?;
        self.write(bytes)?;
        self.write(archive::padding(size))
    }

    fn blob(&mut self, name: &str, blob: &Blob, progress: &dyn Progress) -> Result<(), BundleError> {
        let Blob { entry, path, .. } = blob;
        let unlike = |want: String, got: String| {
            let (artifact, path) = (entry.to_string(), path.clone());
            Err(BundleError::Blob { artifact, path, want, got })
        };
        let reading = |source| BundleError::Io { action: "read", place: path.display().to_string(), source };
        let mut file = File::open(path).map_err(reading)?;
        let length = file.metadata().map_err(reading)?.len();
        if length != entry.size {
            return unlike(bytes(entry.size), bytes(length));
        }
        self.write(&archive::head(name, entry.size))?;
        let task = progress.task(&format!("export {} {}", entry.kind, entry.version), Some(entry.size));
        let mut hasher = entry.checksum.algorithm().hasher();
        let (mut piece, mut done) = (vec![0; PIECE], 0);
        // One byte beyond the size tells a file that grew.
        let mut data = (&mut file).take(entry.size + 1);
        loop {
            let got = match data.read(&mut piece) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                got => got.map_err(reading)?,
            };
            if got == 0 {
                break;
            }
            done += got as u64;
            hasher.update(&piece[..got]);
            self.write(&piece[..got])?;
            task.advance(got as u64);
        }
        let digest = hasher.finish();
        if done != entry.size {
            return unlike(bytes(entry.size), bytes(done));
        }
        if digest != entry.checksum {
            return unlike(entry.checksum.to_string(), digest.to_string());
        }
        task.done();
        self.write(archive::padding(entry.size))
    }
}

fn bytes(count: u64) -> String {
    format!("{count} bytes")
}

/// Whether a bundle may take this name: nothing has it, or a bundle does.
fn is_free(path: &Path) -> io::Result<bool> {
    let found = match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        found => found?,
    };
    if !found.is_file() {
        return Ok(false);
    }
    let mut head = [0; archive::BLOCK];
    let whole = File::open(path)?.read_exact(&mut head).is_ok();
    Ok(whole && super::import::is_first(&head))
}
