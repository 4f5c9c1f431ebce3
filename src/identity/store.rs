//! Files of keys: written whole or not at all, and for the owner alone from their first byte.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use super::brought::Place;
use super::error::{IdentityError, Warning};
use crate::secret::Secret;
use crate::whole_file;

/// Writes a secret to `path`, replacing what stands there in one step; mode 0600 whatever the umask.
pub fn write_private(path: &Path, secret: &Secret) -> Result<(), IdentityError> {
    whole_file::write(path, secret.expose(), 0o600).map_err(|source| IdentityError::write(path, source))
}

/// A file's bytes, or nothing when there is no such file.
pub(super) fn read_file(path: &Path) -> Result<Option<Vec<u8>>, IdentityError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(IdentityError::read(path, source)),
    }
}

/// A private key's file, or nothing when there is none, with a warning when others can read it.
pub(super) fn read_key(path: &Path) -> Result<Option<(Secret, Option<Warning>)>, IdentityError> {
    let read = || -> io::Result<_> {
        let mut file = File::open(path)?;
        let mode = file.metadata()?.permissions().mode() & 0o7777;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let warning = (mode & 0o044 != 0).then(|| Warning::ReadableKey { path: path.to_owned(), mode });
        Ok((Secret::new(bytes), warning))
    };
    match read() {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(IdentityError::read(path, source)),
    }
}

/// The folder of what was issued for one node: `identities/NAME/{cert.pem,key.pem}` in the state folder.
///
/// The two files are replaced one after the other. Whoever reads them must see whether they belong together, and
/// takes a mixed pair, as a crash between the two leaves it, for none.
pub(super) struct Kept {
    identities: PathBuf,
    folder: PathBuf,
}

impl Kept {
    pub(super) fn new(state_dir: &Path, node: &str) -> Self {
        let identities = state_dir.join("identities");
        Self { folder: identities.join(node), identities }
    }

    /// The pair; nothing stands beside it.
    pub(super) fn place(&self) -> Place {
        Place { ca: None, ..Place::folder(&self.folder) }
    }

    /// The key of a request that went elsewhere to be signed.
    pub(super) fn requested_key(&self) -> PathBuf {
        self.folder.join("csr-key.pem")
    }

    /// Another secret of the node.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Makes the folder (mode 0700), and keeps other processes from issuing until the lock is dropped.
    pub(super) fn lock(&self) -> Result<File, IdentityError> {
        let make = || -> io::Result<File> {
            DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
            let path = self.identities.join(".lock");
            let lock = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
            lock.lock()?;
            Ok(lock)
        };
        make().map_err(|source| IdentityError::write(&self.folder, source))
    }

    /// Replaces the pair; the lock is asked for so that nobody writes without it.
    pub(super) fn write(&self, _lock: &File, certificate_pem: &str, key_pem: &Secret) -> Result<(), IdentityError> {
        write_pair(&self.place(), certificate_pem, key_pem)
    }
}

/// Replaces the pair at a place, whose folder is there; both files are their owner's alone.
pub(super) fn write_pair(place: &Place, certificate_pem: &str, key_pem: &Secret) -> Result<(), IdentityError> {
    let files = [(&place.key, key_pem.expose()), (&place.certificate, certificate_pem.as_bytes())];
    // Both are on disk before the first gets its name: a full disk must not part the pair that is there.
    let mut ready = Vec::new();
    for (path, bytes) in files {
        ready.push((whole_file::filled(path, bytes).map_err(|source| IdentityError::write(path, source))?, path));
    }
    for (file, path) in ready {
        whole_file::publish(file, 0o600, path).map_err(|source| IdentityError::write(path, source))?;
    }
    Ok(())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_private_file_replaces_a_public_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin.kubeconfig");
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        write_private(&path, &Secret::new("new")).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file is left");
    }

    #[test]
    fn a_missing_folder_is_an_error_with_the_path() {
        let path = Path::new("/nonexistent/folder/key.pem");
        let error = write_private(path, &Secret::new("new")).unwrap_err();
        assert_eq!(error.to_string(), "cannot write /nonexistent/folder/key.pem");
    }

    #[test]
    fn keys_readable_by_others_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca-key.pem");
        assert!(read_key(&path).unwrap().is_none());
        fs::write(&path, "key").unwrap();
        for (mode, readable) in [(0o600, false), (0o400, false), (0o622, false), (0o640, true), (0o604, true)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let warning = readable.then(|| Warning::ReadableKey { path: path.clone(), mode });
            assert_eq!(read_key(&path).unwrap(), Some((Secret::new("key"), warning)));
        }
    }
}
