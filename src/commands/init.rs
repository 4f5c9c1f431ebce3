//! `nodebake init`: a commented cluster file to start from.

use std::fs::{OpenOptions, Permissions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::config::INIT;
use crate::error::Error;
use crate::ui::Ui;

/// Writes the file; one that is there is never overwritten.
pub(super) fn run(path: &Path, ui: &Ui) -> Result<(), Error> {
    let file = |action| move |source| Error::File { action, path: path.to_owned(), source };
    let mut options = OpenOptions::new();
    let opened = options.write(true).create_new(true).open(path);
    let mut target = opened.map_err(|source| match source.kind() {
        ErrorKind::AlreadyExists => Error::Exists { path: path.to_owned() },
        _ => file("creating")(source),
    })?;
    target.write_all(INIT.as_bytes()).map_err(file("writing"))?;
    // The umask is for our secrets; this is none.
    target.set_permissions(Permissions::from_mode(0o644)).map_err(file("setting the mode of"))?;
    ui.say(&format!("wrote {}; adapt it, then run `nodebake lock`", path.display()));
    Ok(())
}
