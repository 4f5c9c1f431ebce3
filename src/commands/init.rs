//! `nodebake init`: a commented cluster file to start from.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use crate::config::INIT;
use crate::error::Error;
use crate::ui::Ui;

/// Writes the file; one that is there is never overwritten.
pub(super) fn run(path: &Path, ui: &Ui) -> Result<(), Error> {
    let file = |action| move |source| Error::File { action, path: path.to_owned(), source };
    let mut options = OpenOptions::new();
    let mut target = options.write(true).create_new(true).mode(0o644).open(path).map_err(file("creating"))?;
    target.write_all(INIT.as_bytes()).map_err(file("writing"))?;
    ui.say(&format!("wrote {}; adapt it, then run `nodebake lock`", path.display()));
    Ok(())
}
