//! Files that appear whole or not at all.

use std::fs::{File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use tempfile::NamedTempFile;

/// A new file with no final name yet in `folder`, made with mode 0600 from its first byte.
pub(super) fn begin(folder: &Path) -> io::Result<NamedTempFile> {
    tempfile::Builder::new().prefix(".nodebake-").suffix(".partial").tempfile_in(folder)
}

/// Gives a file, its bytes on disk already, its mode (whatever the umask) and its name, and makes the name durable.
pub(super) fn publish(file: NamedTempFile, mode: u32, path: &Path) -> io::Result<()> {
    file.as_file().set_permissions(Permissions::from_mode(mode))?;
    file.persist(path).map_err(|error| error.error)?;
    File::open(path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new(".")))?.sync_all()
}
