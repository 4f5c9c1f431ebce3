//! `nodebake lock`: pins every input.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::Session;
use crate::artifacts::lock::{LockError, Locking};
use crate::artifacts::release::{self, Newer};
use crate::artifacts::{Entry, Kind, Lock, Trust, wanted, warnings};
use crate::cli;
use crate::config::{Config, parse, set_versions};
use crate::error::Error;
use crate::whole_file;

pub(super) fn run(session: &Session, args: cli::Lock) -> Result<(), Error> {
    if args.check {
        return check(session);
    }
    if session.cli.offline {
        return offline(session);
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
    tell(session, &lock, before.as_ref());
    session.ui.say(&format!("{} {}", if written { "wrote" } else { "nothing changed in" }, path.display()));
    Ok(())
}

/// Only an update asks what an address that moves has now.
fn stays(entry: &Entry, args: cli::Lock) -> bool {
    !args.update || entry.kind != Kind::BaseImage || entry.trust == Trust::Given
}

fn check(session: &Session) -> Result<(), Error> {
    Lock::load(&session.lock_path())?.fits(&wanted(&session.config)?)?;
    session.ui.say("the lock fits the cluster file");
    Ok(())
}

/// Nothing can be asked for: what is locked must do.
fn offline(session: &Session) -> Result<(), Error> {
    tell_config(session, &session.config);
    Lock::load(&session.lock_path())?.fits(&wanted(&session.config)?)?;
    session.ui.say("offline: the lock fits the cluster file and was left as it is");
    Ok(())
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

/// The lock as a table, and what became of it.
fn tell(session: &Session, lock: &Lock, before: Option<&Lock>) {
    let rows = lock.entries().iter().map(|entry| {
        let size = indicatif::HumanBytes(entry.size).to_string();
        let digest = format!("{:.20}…", entry.checksum.to_string());
        vec![entry.to_string(), size, digest, entry.trust.to_string()]
    });
    session.ui.data(&super::table(&rows.collect::<Vec<_>>()));
    for change in before.map(|before| lock.changes_since(before)).unwrap_or_default() {
        session.ui.say(&change);
    }
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
