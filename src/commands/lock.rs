//! `nodebake lock`: pins every input.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::Session;
use crate::artifacts::lock::{LockError, Locking};
use crate::artifacts::release::{self, Newer};
use crate::artifacts::{Entry, Kind, Lock, Trust, wanted, warnings};
use crate::cli::{self, Format};
use crate::config::{Config, parse, set_versions};
use crate::error::Error;
use crate::whole_file;

pub(super) fn run(session: &Session, args: cli::Lock) -> Result<(), Error> {
    if args.check {
        return check(session, args.report.output);
    }
    if session.cli.offline {
        return offline(session, args.report.output);
    }
    let path = session.lock_path();
    let before = match Lock::load(&path) {
        Err(LockError::Absent { .. }) => None,
        lock => Some(lock?),
    };
    let source = session.source()?;
    let edit = if args.update { Edit::newest(session, &source)? } else { None };
    let config = edit.as_ref().map_or(&session.config, |edit| &edit.config);
    tell_config(session, config);
    let kept: Vec<Entry> = before.iter().flat_map(Lock::entries).filter(|entry| stays(entry, args)).cloned().collect();
    let how = Locking { source: &source, kept: &kept, now: session.now, progress: session.ui };
    let lock = Lock::make(&wanted(config)?, how)?;
    // First the cluster file: should nothing come after it, then `nodebake lock` mends what is left.
    if let Some(edit) = &edit {
        edit.save(session)?;
    } else if args.update {
        session.ui.say("no newer patch releases of the versions in the cluster file");
    }
    let written = lock.save(&path)?;
    let changes = before.map(|before| lock.changes_since(&before)).unwrap_or_default();
    show(session, args.report.output, &lock, written, &changes)?;
    for change in &changes {
        session.ui.say(change);
    }
    session.ui.say(&format!("{} {}", if written { "wrote" } else { "nothing changed in" }, path.display()));
    Ok(())
}

/// Only an update asks what an address that moves has now.
fn stays(entry: &Entry, args: cli::Lock) -> bool {
    !args.update || entry.kind != Kind::BaseImage || entry.trust == Trust::Given
}

fn check(session: &Session, format: Format) -> Result<(), Error> {
    let lock = Lock::load(&session.lock_path())?;
    lock.fits(&wanted(&session.config)?)?;
    session.ui.say("the lock fits the cluster file");
    fitting(session, format, &lock)
}

/// People know what is in a lock that fits; programs are told.
fn fitting(session: &Session, format: Format, lock: &Lock) -> Result<(), Error> {
    if format == Format::Table { Ok(()) } else { show(session, format, lock, false, &[]) }
}

/// Nothing can be asked for: what is locked must do.
fn offline(session: &Session, format: Format) -> Result<(), Error> {
    tell_config(session, &session.config);
    let lock = Lock::load(&session.lock_path()).map_err(Error::LockOffline)?;
    lock.fits(&wanted(&session.config)?).map_err(Error::LockOffline)?;
    session.ui.say("offline: the lock fits the cluster file and was left as it is");
    fitting(session, format, &lock)
}

/// What is to be said of a cluster file's choices.
fn tell_config(session: &Session, config: &Config) {
    for warning in warnings(config) {
        session.ui.warn(&warning.to_string());
    }
    let used = config.architectures();
    for given in config.artifacts.iter().filter(|given| !used.contains(&given.arch)) {
        let (kind, from, arch) = (given.kind, given.from.file_name(), given.arch);
        session.ui.warn(&format!("{kind} {from} is for {arch}, and no node is: it is left out"));
    }
}

/// A lock as programs read it.
#[derive(Serialize)]
struct Document<'a, T> {
    file: String,
    /// Whether it was written anew.
    written: bool,
    /// What differs from the lock before, in words.
    changes: &'a [String],
    /// As they stand in the file.
    artifacts: Vec<T>,
}

fn show(session: &Session, format: Format, lock: &Lock, written: bool, changes: &[String]) -> Result<(), Error> {
    let path = session.lock_path();
    let document = Document { file: path.display().to_string(), written, changes, artifacts: lock.as_written(&path) };
    session.show(format, &document, || table(lock))
}

fn table(lock: &Lock) -> String {
    let rows = lock.entries().iter().map(|entry| {
        let size = indicatif::HumanBytes(entry.size).to_string();
        let digest = format!("{:.20}…", entry.checksum.to_string());
        vec![entry.to_string(), size, digest, entry.trust.to_string()]
    });
    super::table(&rows.collect::<Vec<_>>())
}

/// A cluster file with newer versions.
struct Edit {
    text: String,
    config: Config,
    newer: Vec<Newer>,
}

impl Edit {
    /// With the newest patch releases; `None` where there are none.
    fn newest(session: &Session, source: &crate::artifacts::Source) -> Result<Option<Self>, Error> {
        let newer = release::newer(&session.config, source)?;
        if newer.is_empty() {
            return Ok(None);
        }
        let file = &session.config.file;
        let old = std::fs::read_to_string(file).map_err(|source| failed("reading", file, source))?;
        let changes: Vec<_> = newer.iter().map(|newer| (newer.key, newer.to.clone())).collect();
        let text = set_versions(file, &old, &changes)?;
        Ok(Some(Self { config: parse(file, &text)?, text, newer }))
    }

    /// Replaces the cluster file, whole or not at all; where it is a link, what it leads to.
    fn save(&self, session: &Session) -> Result<(), Error> {
        let file = &session.config.file;
        let target = std::fs::canonicalize(file).map_err(|source| failed("reading", file, source))?;
        let mode = std::fs::metadata(&target).map_err(|source| failed("reading", file, source))?.mode() & 0o7777;
        whole_file::write(&target, self.text.as_bytes(), mode).map_err(|source| failed("writing", file, source))?;
        for newer in &self.newer {
            session.ui.say(&format!("{}: {newer}", file.display()));
        }
        Ok(())
    }
}

fn failed(action: &'static str, path: &Path, source: std::io::Error) -> Error {
    Error::File { action, path: PathBuf::from(path), source }
}
