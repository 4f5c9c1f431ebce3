//! nodebake.lock: the address, size and digest of every file that goes into a node.

use std::fmt;
use std::io;
use std::path::Path;

use jiff::civil::Date;
use url::Url;

mod error;
mod make;
mod text;

#[cfg(test)]
mod tests;

pub use error::LockError;
pub(crate) use error::list;
pub use make::Locking;

use super::catalog::{Kind, Supply, Wanted};
use super::checksum::Checksum;
use super::signature::Fingerprint;
use crate::config::{Arch, Location};
use crate::whole_file;

/// The lock file: sorted, at most one entry for each kind (where there can be several, each name) and architecture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lock {
    entries: Vec<Entry>,
}

/// One locked file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What it is.
    pub kind: Kind,
    /// The architecture that it is for.
    pub arch: Arch,
    /// Its version without a leading `v`; of a base image the name in the catalogue, of a kind that
    /// [is named](Kind::is_named) its name.
    pub version: String,
    /// Where it is.
    pub from: Location,
    /// Further addresses of the same bytes, asked after the first.
    pub alternates: Vec<Url>,
    /// Its size in bytes.
    pub size: u64,
    /// Its digest.
    pub checksum: Checksum,
    /// When upstream released it, where that says something: of a base image.
    pub released: Option<Date>,
    /// Why the digest is believed.
    pub trust: Trust,
}

/// Why a digest is believed to be what its publisher meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// The list that it stands in was signed by this key.
    Signed(Fingerprint),
    /// Nothing but the way that it came by; the reason why no signature was checked.
    Unsigned(String),
    /// It stands in the cluster file.
    Given,
}

/// As the table of `nodebake lock` shows it.
impl fmt::Display for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signed(key) => write!(f, "signed by {key}"),
            Self::Unsigned(reason) => write!(f, "unsigned: {reason}"),
            Self::Given => f.write_str("given"),
        }
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ({})", self.kind, self.version, self.arch)
    }
}

impl Lock {
    fn sorted(mut entries: Vec<Entry>) -> Self {
        entries.sort_by(|a, b| a.order().cmp(&b.order()));
        Self { entries }
    }

    /// Reads a lock file, strictly.
    pub fn load(path: &Path) -> Result<Self, LockError> {
        let text = std::fs::read_to_string(path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => LockError::Absent { path: path.to_owned() },
            _ => LockError::Io { action: "read", path: path.to_owned(), source },
        })?;
        Self::parse(&text, path)
    }

    /// Writes the lock file, whole or not at all; a file that has these bytes already is not touched. Says whether it
    /// was written.
    pub fn save(&self, path: &Path) -> Result<bool, LockError> {
        let text = self.text(path)?;
        if std::fs::read(path).is_ok_and(|old| old == text.as_bytes()) {
            whole_file::sweep_beside(path);
            return Ok(false);
        }
        // It is no secret and is kept with others' files.
        whole_file::write(path, text.as_bytes(), 0o644).map_err(|source| LockError::Io {
            action: "write",
            path: path.to_owned(),
            source,
        })?;
        Ok(true)
    }

    /// All entries, by kind and architecture.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The entries of a kind for an architecture, sorted by name.
    pub fn of_kind(&self, kind: Kind, arch: Arch) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(move |entry| (entry.kind, entry.arch) == (kind, arch))
    }

    /// The entry of a kind of which there is one for an architecture.
    pub fn get(&self, kind: Kind, arch: Arch) -> Option<&Entry> {
        self.entries.iter().find(|entry| (entry.kind, entry.arch) == (kind, arch))
    }

    /// The entries of what is wanted, in that order; fails with every difference between what the cluster file asks for
    /// and what is locked. Upstream's addresses are not compared: a newer catalogue alone moves nothing.
    pub fn fits(&self, wanted: &[Wanted]) -> Result<Vec<&Entry>, LockError> {
        let (mut entries, mut changes) = (Vec::new(), Vec::new());
        for wanted in wanted {
            let Wanted { kind, version, arch, .. } = wanted;
            match self.entries.iter().find(|entry| entry.order() == wanted.order()) {
                Some(entry) => match entry.misfit(wanted) {
                    Some((locked, wanted)) => {
                        changes.push(format!("{}: {locked} is locked, {wanted} is wanted", entry.subject()));
                    }
                    None => entries.push(entry),
                },
                None if kind.is_named() => changes.push(format!("{kind} {version} ({arch}) is wanted and not locked")),
                None => changes.push(format!("{kind} ({arch}): {version} is wanted and not locked")),
            }
        }
        let gone = |entry: &&Entry| !wanted.iter().any(|wanted| wanted.order() == entry.order());
        changes.extend(self.entries.iter().filter(gone).map(|entry| format!("{entry} is locked and not wanted")));
        if changes.is_empty() { Ok(entries) } else { Err(LockError::Stale { changes }) }
    }

    /// What became of each entry since an older lock, a line each.
    pub fn changes_since(&self, before: &Self) -> Vec<String> {
        let in_both = |entry: &&Entry, other: &Self| other.entries.iter().any(|old| old.order() == entry.order());
        let gone = before.entries.iter().filter(|entry| !in_both(entry, self)).map(|entry| format!("{entry} removed"));
        let moved = self.entries.iter().filter_map(|entry| {
            match before.entries.iter().find(|old| old.order() == entry.order()) {
                Some(old) => entry.moved_from(old),
                None => Some(format!("{entry} added")),
            }
        });
        moved.chain(gone).collect()
    }
}

impl Entry {
    /// By which there is one of it: kind, name where there can be several, architecture.
    pub fn order(&self) -> (Kind, Option<&str>, Arch) {
        (self.kind, self.kind.is_named().then_some(self.version.as_str()), self.arch)
    }

    /// Kind, name where there can be several, and architecture.
    fn subject(&self) -> String {
        if self.kind.is_named() { self.to_string() } else { format!("{} ({})", self.kind, self.arch) }
    }

    /// In what it differs from what is wanted: what is locked, and what should be.
    fn misfit(&self, wanted: &Wanted) -> Option<(String, String)> {
        if self.order() != wanted.order() || self.version != wanted.version {
            return Some((self.version.clone(), wanted.version.clone()));
        }
        match (&wanted.supply, self.trust == Trust::Given) {
            (Supply::Given { .. }, false) => Some(("upstream's".to_owned(), "a given one".to_owned())),
            (Supply::Given { checksum, .. }, true) if *checksum != self.checksum => {
                Some((self.checksum.to_string(), checksum.to_string()))
            }
            (Supply::Given { from, .. }, true) if *from != self.from => Some((self.from.to_string(), from.to_string())),
            (Supply::Fixed(_) | Supply::Moving(_), true) => Some(("a given one".to_owned(), "upstream's".to_owned())),
            _ => None,
        }
    }

    fn moved_from(&self, old: &Self) -> Option<String> {
        let Self { kind, version, arch, .. } = self;
        let trust = |entry: &Self| entry.trust.to_string();
        if old.version != *version {
            return Some(format!("{kind} {} -> {version} ({arch})", old.version));
        }
        if let (Some(before), Some(after)) = (old.released, self.released)
            && before != after
        {
            return Some(format!("{kind} {version} of {before} -> {after} ({arch})"));
        }
        let (before, after) = if old.checksum != self.checksum {
            (old.checksum.to_string(), self.checksum.to_string())
        } else if old.from != self.from {
            (old.from.to_string(), self.from.to_string())
        } else if old.trust != self.trust {
            (trust(old), trust(self))
        } else {
            return (old != self).then(|| format!("{self} is recorded anew"));
        };
        Some(format!("{self}: {before} -> {after}"))
    }
}
