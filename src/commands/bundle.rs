//! `nodebake bundle`: what is locked, carried to a machine without a network.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use indicatif::HumanBytes;
use serde::Serialize;

use super::Session;
use crate::artifacts::bundle::{self, Bundle, BundleError, Locked};
use crate::artifacts::{Lock, fetch};
use crate::cli::{BundleExport, BundleImport, Cli, Format};
use crate::error::Error;
use crate::ui::Ui;
use crate::whole_file;

pub(super) fn export(session: &Session, args: &BundleExport) -> Result<(), Error> {
    let format = args.report.output;
    if is_dash(&args.file) && format != Format::Table {
        return Err(BundleError::TwoOutputs.into());
    }
    // That it fits the cluster file; what goes into the bundle is made from the bytes that are read here.
    session.lock()?;
    let path = session.lock_path();
    let text = fs::read(&path).map_err(|source| Error::File { action: "reading", path: path.clone(), source })?;
    let lock = Lock::parse(&String::from_utf8_lossy(&text), &path)?;
    let locked = Locked { lock: &lock, text: &text };
    let stdout = if is_dash(&args.file) { Some(stdout(session.ui)?) } else { None };
    let entries: Vec<_> = lock.entries().iter().collect();
    let blobs = fetch(&entries, &session.store()?, &session.source()?, session.cli.offline, session.ui)?;
    let (place, size) = if let Some(mut stdout) = stdout {
        let place = "standard output".to_owned();
        let size = bundle::export(locked, &blobs, &mut stdout, &place, session.ui)?;
        (place, size)
    } else {
        let size = bundle::export_to(&args.file, locked, &blobs, session.ui)?;
        (args.file.display().to_string(), size)
    };
    let count = blobs.iter().map(|blob| &blob.path).collect::<BTreeSet<_>>().len();
    session.ui.say(&format!("wrote {place}: {count} files, {}", HumanBytes(size)));
    session.show(format, &Exported { file: place, files: count, size }, String::new)
}

/// What was written, as programs read it.
#[derive(Serialize)]
struct Exported {
    file: String,
    files: usize,
    /// In bytes.
    size: u64,
}

/// What was taken in, as programs read it.
#[derive(Serialize)]
struct Imported {
    /// So many are in the cache.
    files: usize,
    /// Where its lock is; none where it stays in the bundle.
    lock: Option<String>,
    /// Whether that was written now.
    written: bool,
}

fn stdout(ui: &Ui) -> Result<File, Error> {
    let failed = |source| BundleError::Io { action: "write", place: "standard output".to_owned(), source };
    Ok(ui.bytes().map_err(failed)?.ok_or(BundleError::Terminal)?)
}

fn is_dash(path: &Path) -> bool {
    path == Path::new("-")
}

/// Works without a cluster file: the store is then filled all the same.
pub(super) fn import(cli: &Cli, ui: &Ui, args: &BundleImport) -> Result<(), Error> {
    let (reader, place): (Box<dyn Read>, _) = if is_dash(&args.file) {
        (Box::new(std::io::stdin()), "standard input".to_owned())
    } else {
        let place = args.file.display().to_string();
        let failed = |source| BundleError::Io { action: "read", place: place.clone(), source };
        (Box::new(File::open(&args.file).map_err(failed)?), place)
    };
    let bundle = Bundle::open(reader, &place)?;
    let target = Target::of(&cli.config, &bundle)?;
    if let Target::Other(path) = &target
        && !args.replace_lock
    {
        return Err(BundleError::OtherLock { path: path.clone(), place }.into());
    }
    let text = bundle.lock_text().to_vec();
    let count = bundle.fill(&super::store(cli)?, ui)?;
    ui.say(&format!("{count} files are in the cache"));
    // Last: where there is a lock, there is what it locks.
    let (lock, written) = match target {
        Target::Free(path) | Target::Other(path) => {
            let failed = |source| Error::File { action: "writing", path: path.clone(), source };
            whole_file::write(&path, &text, 0o644).map_err(failed)?;
            ui.say(&format!("wrote {}", path.display()));
            (Some(path), true)
        }
        Target::Same(path) => {
            ui.say(&format!("nothing changed in {}", path.display()));
            (Some(path), false)
        }
        Target::Nowhere => {
            let config = cli.config.display();
            ui.say(&format!(
                "there is no {config}, so the lock stays in the bundle: put the cluster file there, then import again"
            ));
            (None, false)
        }
    };
    let lock = lock.map(|path| path.display().to_string());
    ui.show(args.report.output, None, &Imported { files: count, lock, written }, String::new)
}

/// Where the bundle's lock goes.
enum Target {
    /// There is no cluster file.
    Nowhere,
    /// No lock stands beside the cluster file.
    Free(PathBuf),
    /// The same lock does.
    Same(PathBuf),
    /// Another one does, or something that is none.
    Other(PathBuf),
}

impl Target {
    fn of(config: &Path, bundle: &Bundle<impl Read>) -> Result<Self, Error> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| Error::File { action: "reading", path, source }
        };
        if !config.try_exists().map_err(failed(config))? {
            return Ok(Self::Nowhere);
        }
        let path = std::path::absolute(config).map_err(failed(config))?.with_file_name("nodebake.lock");
        match fs::read(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Self::Free(path)),
            Err(source) => Err(failed(&path)(source)),
            Ok(text) => {
                // Comments and the order of keys say nothing.
                let parse = |text: &[u8]| Lock::parse(&String::from_utf8_lossy(text), &path).ok();
                let (ours, theirs) = (parse(&text), parse(bundle.lock_text()));
                let same = text == bundle.lock_text() || ours.is_some() && ours == theirs;
                Ok(if same { Self::Same(path) } else { Self::Other(path) })
            }
        }
    }
}
