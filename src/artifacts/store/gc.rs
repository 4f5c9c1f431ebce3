//! What of the store nobody uses any more.
//!
//! Only names of ours, on regular files, are looked at; whatever else lies in the folder is somebody else's.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use super::super::checksum::{Algorithm, Checksum};
use super::{Store, StoreError, root_name};
use crate::digest::Digest;

/// What must stay.
#[derive(Debug, Clone, Default)]
pub struct Uses {
    /// Digests that locks name.
    pub checksums: BTreeSet<Checksum>,
    /// SHA-256 of base images that machines stand on, whatever upstream's digest of them is.
    pub bases: BTreeSet<Digest>,
}

/// Something that can go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unused {
    /// Its place in the store.
    pub name: PathBuf,
    /// Its bytes; the few of what belongs to it do not count.
    pub size: u64,
    /// Why.
    pub why: Reason,
}

/// Why something can go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// No lock and no machine names this blob.
    Unnamed,
    /// A part of a blob that nobody names, or that is there whole.
    Stale,
    /// What belonged to a blob or part that has gone.
    Orphan,
    /// The cluster file that this link names has gone.
    NoCluster(PathBuf),
}

/// The store while nobody else changes it.
#[derive(Debug)]
pub struct Sweep<'a> {
    store: &'a Store,
    _lock: Option<File>,
}

impl Store {
    /// Keeps others out for as long as the sweep lives, or, to look only, keeps it as it is. Calls `waiting` once if
    /// others have to end first. There is nothing to sweep where there is no store.
    pub fn sweep(&self, look_only: bool, waiting: impl FnOnce()) -> Result<Option<Sweep<'_>>, StoreError> {
        if !self.root.is_dir() {
            return Ok(None);
        }
        if look_only {
            return Ok(Some(Sweep { store: self, _lock: super::writable(self.lock(FlockOperation::LockShared))? }));
        }
        let lock = match self.lock(FlockOperation::NonBlockingLockExclusive) {
            Err(StoreError::Io { source, .. }) if source.kind() == io::ErrorKind::WouldBlock => {
                waiting();
                self.lock(FlockOperation::LockExclusive)?
            }
            locked => locked?,
        };
        Ok(Some(Sweep { store: self, _lock: Some(lock) }))
    }
}

impl Sweep<'_> {
    /// The cluster files that use the store, sorted.
    pub fn users(&self) -> Result<Vec<PathBuf>, StoreError> {
        let folder = self.store.root.join("roots");
        let mut users = Vec::new();
        for name in names(&folder)? {
            // What is no link of ours, or no longer the one that was made, is somebody else's.
            let user = std::fs::read_link(folder.join(&name));
            users.extend(user.ok().filter(|user| name == root_name(user)));
        }
        users.sort();
        Ok(users)
    }

    /// The link of a cluster file, to be removed.
    pub fn root_of(&self, cluster_file: &Path) -> Unused {
        let name = Path::new("roots").join(root_name(cluster_file));
        Unused { name, size: 0, why: Reason::NoCluster(cluster_file.to_owned()) }
    }

    /// Everything of ours that is not in `uses`, sorted by name.
    pub fn unused(&self, uses: &Uses) -> Result<Vec<Unused>, StoreError> {
        let mut unused = Vec::new();
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            let folder = Path::new("blobs").join(algorithm.to_string());
            for (hex, files) in self.by_digest(&folder, algorithm)? {
                self.judge(&folder.join(hex), &files, uses, &mut unused)?;
            }
        }
        unused.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(unused)
    }

    /// The files of ours in a folder of blobs: for each digest what there is of it.
    fn by_digest(&self, folder: &Path, algorithm: Algorithm) -> Result<BTreeMap<String, Files>, StoreError> {
        let mut all: BTreeMap<String, Files> = BTreeMap::new();
        let place = self.store.root.join(folder);
        for name in names(&place)? {
            let (hex, suffix) = name.split_once('.').unwrap_or((&name, ""));
            // As we write it: lowercase digits, all of them.
            let Some(checksum) = algorithm.parse(hex).filter(|checksum| checksum.hex() == hex) else { continue };
            let path = place.join(&name);
            let found = match std::fs::symlink_metadata(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                found => found.map_err(StoreError::io("look at", &path))?,
            };
            if !found.is_file() {
                continue;
            }
            let files = all.entry(hex.to_owned()).or_insert_with(|| Files::of(checksum));
            let slot = match suffix {
                "" => &mut files.blob,
                "verified" => &mut files.verified,
                "part" => &mut files.part,
                "part.from" => &mut files.note,
                _ => continue,
            };
            *slot = Some(found.len());
        }
        Ok(all)
    }

    fn judge(&self, name: &Path, files: &Files, uses: &Uses, unused: &mut Vec<Unused>) -> Result<(), StoreError> {
        let kept = uses.checksums.contains(&files.checksum) || self.is_base(name, files, uses)?;
        let mut go = |suffix: &str, size: Option<u64>, why: Reason| {
            unused.push(Unused { name: super::with_suffix(name, suffix), size: size.unwrap_or_default(), why });
        };
        match files.blob {
            Some(_) if !kept => go("", files.blob, Reason::Unnamed),
            None if files.verified.is_some() => go(".verified", files.verified, Reason::Orphan),
            _ => {}
        }
        // A part that is wanted and not there as a blob is gone on with.
        let stale = !kept || files.blob.is_some();
        if files.part.is_some() && stale && self.is_idle(&super::with_suffix(name, ".part"))? {
            go(".part", files.part, Reason::Stale);
        } else if files.part.is_none() && files.note.is_some() {
            go(".part.from", files.note, Reason::Orphan);
        }
        Ok(())
    }

    /// Whether a machine stands on this blob. Of one that upstream names by SHA-512 only reading it tells.
    fn is_base(&self, name: &Path, files: &Files, uses: &Uses) -> Result<bool, StoreError> {
        match files.checksum {
            Checksum::Sha256(digest) => Ok(uses.bases.contains(&digest)),
            Checksum::Sha512(_) if uses.bases.is_empty() || files.blob.is_none() => Ok(false),
            Checksum::Sha512(_) => {
                let path = self.store.root.join(name);
                let digest = File::open(&path).and_then(|mut file| Digest::of_reader(&mut file));
                digest.map(|digest| uses.bases.contains(&digest)).map_err(StoreError::io("read", &path))
            }
        }
    }

    /// Whether no process writes this part: one that does holds its lock.
    fn is_idle(&self, name: &Path) -> Result<bool, StoreError> {
        let path = self.store.root.join(name);
        let file = match File::options().read(true).write(true).open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            opened => opened.map_err(StoreError::io("open", &path))?,
        };
        Ok(flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok())
    }

    /// Removes it with what belongs to it. What has gone meanwhile is no error.
    pub fn remove(&self, unused: &Unused) -> Result<(), StoreError> {
        let path = self.store.root.join(&unused.name);
        // First what says something of it: alone it would say it of nothing.
        let belongs = match unused.why {
            Reason::Unnamed => Some(".verified"),
            Reason::Stale => Some(".from"),
            Reason::Orphan | Reason::NoCluster(_) => None,
        };
        for path in belongs.map(|suffix| super::with_suffix(&path, suffix)).into_iter().chain([path]) {
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                removed => removed.map_err(StoreError::io("remove", &path))?,
            }
        }
        Ok(())
    }

    /// Number and size of the blobs that are there.
    pub fn blobs(&self) -> Result<(usize, u64), StoreError> {
        let (mut count, mut size) = (0, 0);
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            let folder = Path::new("blobs").join(algorithm.to_string());
            for blob in self.by_digest(&folder, algorithm)?.values().filter_map(|files| files.blob) {
                (count, size) = (count + 1, size + blob);
            }
        }
        Ok((count, size))
    }
}

/// What there is of a digest: sizes in bytes.
struct Files {
    checksum: Checksum,
    blob: Option<u64>,
    verified: Option<u64>,
    part: Option<u64>,
    note: Option<u64>,
}

impl Files {
    fn of(checksum: Checksum) -> Self {
        Self { checksum, blob: None, verified: None, part: None, note: None }
    }
}

/// Names in a folder that are text, as ours are; none where there is no folder.
fn names(folder: &Path) -> Result<Vec<String>, StoreError> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(StoreError::io("read", folder))?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry.map_err(StoreError::io("read", folder))?.file_name();
        names.extend(std::str::from_utf8(name.as_bytes()).map(ToOwned::to_owned));
    }
    Ok(names)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::super::Begun;
    use super::*;

    fn put(store: &Store, algorithm: Algorithm, bytes: &[u8]) -> Checksum {
        let mut hasher = algorithm.hasher();
        hasher.update(bytes);
        let checksum = hasher.finish();
        if let Begun::Part(mut part) = store.begin(&checksum, bytes.len() as u64).unwrap() {
            part.write(bytes).unwrap();
            part.finish().unwrap().unwrap();
        }
        checksum
    }

    #[test]
    fn base_images_stay_under_whatever_digest_they_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path());
        let blobs = [(Algorithm::Sha256, b"a"), (Algorithm::Sha256, b"b"), (Algorithm::Sha512, b"c")];
        let [a, b, c] = blobs.map(|(algorithm, bytes)| put(&store, algorithm, bytes));
        let d = put(&store, Algorithm::Sha512, b"d");
        let sweep = store.sweep(true, || {}).unwrap().unwrap();
        let unused = |checksums: &[Checksum], bases: &[&[u8]]| {
            let bases = bases.iter().map(|bytes| Digest::of(bytes)).collect();
            let uses = Uses { checksums: checksums.iter().copied().collect(), bases };
            sweep.unused(&uses).unwrap()
        };
        let goes = |checksums: &[Checksum]| -> Vec<Unused> {
            let name =
                |checksum: &Checksum| Path::new("blobs").join(checksum.algorithm().to_string()).join(checksum.hex());
            let mut all: Vec<_> =
                checksums.iter().map(|sum| Unused { name: name(sum), size: 1, why: Reason::Unnamed }).collect();
            all.sort_by(|a, b| a.name.cmp(&b.name));
            all
        };
        assert_eq!(unused(&[], &[]), goes(&[a, b, c, d]));
        assert_eq!(unused(&[a, d], &[]), goes(&[b, c]));
        assert_eq!(unused(&[], &[b"b", b"c"]), goes(&[a, d]));
        assert_eq!(unused(&[a, b, c, d], &[]), goes(&[]));
        assert_eq!(sweep.blobs().unwrap(), (4, 4));
        for unused in &goes(&[a, c]) {
            // What has gone meanwhile is no error.
            sweep.remove(unused).unwrap();
            sweep.remove(unused).unwrap();
        }
        assert_eq!(unused(&[], &[]), goes(&[b, d]));
    }

    #[test]
    fn a_sweep_waits_only_for_others() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Store::new(folder.path().join("none")).sweep(false, || panic!("nobody is there")).unwrap().is_none());
        put(&Store::new(folder.path()), Algorithm::Sha256, b"a");
        let store = Store::new(folder.path());
        assert!(store.sweep(false, || panic!("whoever wrote is done")).unwrap().is_some());
    }
}
