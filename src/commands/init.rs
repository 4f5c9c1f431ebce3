//! `nodebake init`: a commented cluster file to start from.

use std::fs;
use std::io::{ErrorKind, Write as _};
use std::path::Path;

use serde::Serialize;

use crate::cli::Init;
use crate::config::INIT;
use crate::error::Error;
use crate::ui::Ui;
use crate::whole_file;

/// What was written, as programs read it.
#[derive(Serialize)]
struct Written {
    file: String,
}

/// Writes the file; one that is there is never overwritten.
pub(super) fn run(path: &Path, ui: &Ui, args: Init) -> Result<(), Error> {
    let file = |action| move |source| Error::File { action, path: path.to_owned(), source };
    if fs::symlink_metadata(path).is_ok() {
        return Err(Error::Exists { path: path.to_owned() });
    }
    let mut target = whole_file::begin(path).map_err(file("creating"))?;
    target.as_file_mut().write_all(INIT.as_bytes()).map_err(file("writing"))?;
    // The umask is for our secrets; this is none.
    whole_file::publish_new(target, 0o644, path).map_err(|source| match source.kind() {
        ErrorKind::AlreadyExists => Error::Exists { path: path.to_owned() },
        _ => file("creating")(source),
    })?;
    ui.say(&format!("wrote {}; adapt it, then run `nodebake lock`", path.display()));
    ui.show(args.report.output, None, &Written { file: path.display().to_string() }, String::new)
}
