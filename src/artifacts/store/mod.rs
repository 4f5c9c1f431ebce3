//! The content-addressed cache: what upstream publishes, as published, shared by clusters and by concurrent processes.
//!
//! ```text
//! lock                         shared by every process that uses the store, exclusive to `gc`
//! roots/DIGEST                 a link to a cluster file that uses the store; the digest is that of its path
//! blobs/sha256/HEX             a file with that digest, mode 0444
//! blobs/sha256/HEX.verified    what the file looked like when its digest was found right
//! blobs/sha256/HEX.part        on its way; locked by the process that writes it
//! blobs/sha256/HEX.part.from   where the part comes from: address and validator, one line each
//! ```
//!
//! A blob gets its name only by a rename, after every byte was written, hashed, compared and synced: whatever has the
//! name is whole, at every instant, and a reader never sees half of a file. What a killed process leaves is at most a
//! `.part` with its note; the next one hashes it and goes on, or starts anew.
//!
//! A blob is hashed once, not at each use. The sidecar keeps its [`Stamp`]; while the blob looks the same nobody has
//! written to it. If it does not, or the sidecar is missing, the file is hashed again; if its digest is wrong it counts as
//! damaged and is fetched anew. What a stamp does not find, an attacker who can write in the store among it, is found by
//! whoever hashes what it reads.

mod gc;
mod part;

use std::fs::{File, Metadata, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rustix::fs::{FlockOperation, flock};

use super::checksum::Checksum;
use crate::digest::Digest;
use crate::stamp::Stamp;
pub use gc::{Reason, Sweep, Unused, Uses};
pub(super) use part::Note;
pub use part::Part;

/// The cache's folder.
#[derive(Debug, Clone)]
pub struct Store {
    root: PathBuf,
    /// The cluster file that it is used for.
    user: Option<PathBuf>,
    /// The lock that keeps `gc` away, held from the first use on; nothing where there can be none.
    entered: Arc<OnceLock<Option<File>>>,
}

/// What the store knows of a digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Held {
    /// It is there and right.
    Good(PathBuf),
    /// It is there and has other bytes.
    Damaged(PathBuf),
    /// It is not there.
    No,
}

impl Held {
    /// Whether it is there and right.
    pub fn is_good(&self) -> bool {
        matches!(self, Self::Good(_))
    }
}

/// What [`Store::begin`] gives.
#[derive(Debug)]
pub enum Begun {
    /// Another process brought it meanwhile.
    Held(PathBuf),
    /// Ours to write.
    Part(Box<Part>),
}

/// Why the store cannot do its work.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No folder is given and none can be derived.
    #[error("there is no folder for the cache")]
    NoFolder,
    /// A file of the store cannot be read or written.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried, a verb.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The disk is full.
    #[error("no space is left for {}", path.display())]
    Full {
        /// The file that was being written.
        path: PathBuf,
    },
}

impl StoreError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::NoFolder => "set HOME, or give a folder with --cache-dir or NODEBAKE_CACHE_DIR",
            Self::Full { .. } => {
                "make space, or give another folder with --cache-dir or NODEBAKE_CACHE_DIR; then run it again"
            }
            Self::Io { .. } => return None,
        };
        Some(hint.to_owned())
    }

    fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full { path: path.to_owned() },
            _ => Self::Io { action, path: path.to_owned(), source },
        }
    }
}

impl Store {
    /// The store in a folder, which is made when the first blob comes.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), user: None, entered: Arc::default() }
    }

    /// The same for the cluster of this file, an absolute path: what its lock names is kept by `gc` from the first use
    /// on.
    #[must_use]
    pub fn used_by(self, cluster_file: &Path) -> Self {
        Self { user: Some(cluster_file.to_owned()), entered: Arc::default(), ..self }
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// `$XDG_CACHE_HOME/nodebake`, else `~/.cache/nodebake` (XDG base directory specification: only absolute paths
    /// count).
    pub fn default_folder() -> Result<PathBuf, StoreError> {
        let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        absolute("XDG_CACHE_HOME")
            .or_else(|| Some(absolute("HOME")?.join(".cache")))
            .map(|cache| cache.join("nodebake"))
            .ok_or(StoreError::NoFolder)
    }

    /// Where the blob with this digest is, if it is there.
    pub fn path(&self, checksum: &Checksum) -> PathBuf {
        self.folder(checksum).join(checksum.hex())
    }

    fn folder(&self, checksum: &Checksum) -> PathBuf {
        self.root.join("blobs").join(checksum.algorithm().to_string())
    }

    /// Looks up a blob by digest and size, and verifies it unless nothing has touched it since that was done. A blob that
    /// was found stays as long as this store or a clone of it lives.
    pub fn look_up(&self, checksum: &Checksum, size: u64) -> Result<Held, StoreError> {
        if self.entered.get().is_none() && !self.root.is_dir() {
            return Ok(Held::No);
        }
        self.enter()?;
        let path = self.path(checksum);
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Held::No),
            Err(error) => return Err(StoreError::io("open", &path)(error)),
        };
        let stamp = Stamp::of(&file).map_err(StoreError::io("look at", &path))?;
        if stamp.size() != size {
            return Ok(Held::Damaged(path));
        }
        if remembered(&path, |_| true) == Some(stamp) {
            return Ok(Held::Good(path));
        }
        // A process that was killed before it could do this; whoever may not is not who made it.
        let _ = file.set_permissions(Permissions::from_mode(0o444));
        let stamp = Stamp::of(&file).map_err(StoreError::io("look at", &path))?;
        let mut hasher = checksum.algorithm().hasher();
        hasher.take_all(&mut file, |_| {}).map_err(StoreError::io("read", &path))?;
        if hasher.finish() != *checksum {
            return Ok(Held::Damaged(path));
        }
        // Else a loss of power could keep the sidecar and not the bytes. The stamp is from before the hashing: a write
        // during it leaves one that does not fit.
        file.sync_all().map_err(StoreError::io("sync", &path))?;
        remember(&sidecar(&path), &stamp);
        Ok(Held::Good(path))
    }

    /// What a blob looked like when its digest was found right, if it was we who found that, or root, and nobody else may
    /// write to it. Where others use the store too, their word is not enough for not hashing what is read; and who holds a
    /// file open or mapped can write to it in ways that a stamp tells late.
    pub fn verified(&self, checksum: &Checksum) -> Option<Stamp> {
        let path = self.path(checksum);
        let us = [0, rustix::process::geteuid().as_raw()];
        let is_ours = |found: &Metadata| us.contains(&found.uid()) && found.mode() & 0o022 == 0;
        if !is_ours(&std::fs::metadata(&path).ok()?) {
            return None;
        }
        remembered(&path, is_ours)
    }

    /// Has a blob verified at its next use, whatever it looks like: someone read other bytes than were verified.
    pub fn distrust(&self, checksum: &Checksum) {
        let sidecar = sidecar(&self.path(checksum));
        if let Err(error) = std::fs::remove_file(&sidecar) {
            tracing::debug!(sidecar = %sidecar.display(), %error, "cannot forget that a blob was verified");
        }
    }

    /// Begins to write the blob with this digest, from its start; waits while another process is at it.
    pub fn begin(&self, checksum: &Checksum, size: u64) -> Result<Begun, StoreError> {
        let begun = self.go_on(checksum, size, &mut || {})?;
        if let Begun::Part(mut part) = begun {
            part.restart()?;
            return Ok(Begun::Part(part));
        }
        Ok(begun)
    }

    /// The same, with what an earlier process brought of it; calls `waiting` before it waits.
    pub(super) fn go_on(&self, checksum: &Checksum, size: u64, waiting: &mut dyn FnMut()) -> Result<Begun, StoreError> {
        let folder = self.folder(checksum);
        std::fs::create_dir_all(&folder).map_err(StoreError::io("make", &folder))?;
        self.enter()?;
        let part = Part::claim(self.path(checksum), *checksum, waiting)?;
        match self.look_up(checksum, size)? {
            Held::Good(path) => Ok(Begun::Held(path)),
            _ => Ok(Begun::Part(Box::new(part.keep(size)?))),
        }
    }

    /// Says that the store is in use, until this store and its clones are dropped, and by which cluster file.
    fn enter(&self) -> Result<(), StoreError> {
        if self.entered.get().is_some() {
            return Ok(());
        }
        let lock = writable(self.lock(FlockOperation::LockShared))?;
        writable(self.register())?;
        let _ = self.entered.set(lock);
        Ok(())
    }

    /// Takes the store's lock.
    fn lock(&self, operation: FlockOperation) -> Result<File, StoreError> {
        let path = self.root.join("lock");
        // Writing is asked for because NFS gives no exclusive lock without it.
        let file = match OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o644).open(&path)
        {
            Err(error) if is_read_only(&error) && operation == FlockOperation::LockShared => File::open(&path),
            opened => opened,
        };
        let file = file.map_err(StoreError::io("open", &path))?;
        flock(&file, operation).map_err(|error| StoreError::io("lock", &path)(error.into()))?;
        Ok(file)
    }

    /// Names the cluster file as one whose lock counts; once.
    fn register(&self) -> Result<(), StoreError> {
        let Some(user) = &self.user else { return Ok(()) };
        let folder = self.root.join("roots");
        let root = folder.join(root_name(user));
        if std::fs::read_link(&root).is_ok_and(|path| path == *user) {
            return Ok(());
        }
        std::fs::create_dir_all(&folder).map_err(StoreError::io("make", &folder))?;
        // A link is there whole or not at all, and needs no temporary file.
        match std::os::unix::fs::symlink(user, &root) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            made => made.and_then(|()| part::sync_folder(&folder)).map_err(StoreError::io("make", &root)),
        }
    }
}

/// The name of a cluster file's link in roots/.
fn root_name(cluster_file: &Path) -> String {
    Digest::of(std::os::unix::ffi::OsStrExt::as_bytes(cluster_file.as_os_str())).to_string()
}

/// Nothing, where the store may only be read: whoever may only read it has nothing to say in it.
fn writable<T>(result: Result<T, StoreError>) -> Result<Option<T>, StoreError> {
    match result {
        Ok(done) => Ok(Some(done)),
        Err(StoreError::Io { action, path, source }) if is_read_only(&source) => {
            tracing::debug!(path = %path.display(), error = %source, "cannot {action}");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn is_read_only(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn sidecar(path: &Path) -> PathBuf {
    with_suffix(path, ".verified")
}

/// What the sidecar of a blob tells, if it is to be believed.
fn remembered(path: &Path, believed: impl FnOnce(&Metadata) -> bool) -> Option<Stamp> {
    let file = File::open(sidecar(path)).ok()?;
    if !believed(&file.metadata().ok()?) {
        return None;
    }
    io::read_to_string(file).ok()?.parse().ok()
}

/// Writes the sidecar, in place: half a stamp fits no file, so it only has the blob hashed again. The same goes for a
/// store that cannot be written to.
fn remember(sidecar: &Path, stamp: &Stamp) {
    if let Err(error) = std::fs::write(sidecar, stamp.to_string()) {
        tracing::debug!(sidecar = %sidecar.display(), %error, "cannot remember that a blob was verified");
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::super::checksum::Algorithm;
    use super::*;

    fn sum(bytes: &[u8]) -> Checksum {
        let mut hasher = Algorithm::Sha256.hasher();
        hasher.update(bytes);
        hasher.finish()
    }

    fn part(store: &Store, bytes: &[u8]) -> Box<Part> {
        match store.begin(&sum(bytes), bytes.len() as u64).unwrap() {
            Begun::Part(part) => part,
            Begun::Held(path) => panic!("{} is there", path.display()),
        }
    }

    fn put(store: &Store, bytes: &[u8]) -> PathBuf {
        let mut part = part(store, bytes);
        part.write(bytes).unwrap();
        part.finish().unwrap().unwrap()
    }

    /// Names in the folder of the blobs, sorted.
    fn names(store: &Store) -> Vec<String> {
        let folder = std::fs::read_dir(store.root.join("blobs/sha256")).unwrap();
        let mut names: Vec<_> = folder.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_blob_is_whole_and_read_only() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path().join("made"));
        assert_eq!(store.look_up(&sum(b"abc"), 3).unwrap(), Held::No);
        let path = put(&store, b"abc");
        assert_eq!(path, store.root.join("blobs/sha256").join(sum(b"abc").hex()));
        assert_eq!(std::fs::read(&path).unwrap(), b"abc");
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o7777, 0o444);
        assert_eq!(store.look_up(&sum(b"abc"), 3).unwrap(), Held::Good(path));
        assert_eq!(names(&store), [sum(b"abc").hex(), format!("{}.verified", sum(b"abc").hex())]);
    }

    #[test]
    fn other_bytes_get_no_name() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path());
        let mut part = part(&store, b"abc");
        part.write(b"abd").unwrap();
        assert_eq!(part.finish().unwrap(), Err(sum(b"abd")));
        assert_eq!(names(&store), [""; 0]);
    }

    #[test]
    fn a_part_can_start_anew_and_follow_a_killed_process() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path());
        drop(part(&store, b"abc"));
        std::fs::write(with_suffix(&store.path(&sum(b"abc")), ".part"), b"left by a killed process").unwrap();
        let mut part = part(&store, b"abc");
        part.write(b"long ago").unwrap();
        part.restart().unwrap();
        part.write(b"ab").unwrap();
        part.write(b"c").unwrap();
        assert_eq!(std::fs::read(part.finish().unwrap().unwrap()).unwrap(), b"abc");
        assert_eq!(names(&store).len(), 2);
    }

    fn gone_on(store: &Store, bytes: &[u8]) -> Box<Part> {
        match store.go_on(&sum(bytes), bytes.len() as u64, &mut || panic!("nobody has it")).unwrap() {
            Begun::Part(part) => part,
            Begun::Held(path) => panic!("{} is there", path.display()),
        }
    }

    #[test]
    fn a_part_with_a_note_is_gone_on_with() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path());
        let note = || Note { address: "http://m/a".to_owned(), validator: "\"one\"".to_owned() };
        let left = |bytes: &[u8], note: Option<Note>| {
            let mut part = part(&store, b"abcdef");
            part.comes_from(note);
            part.write(bytes).unwrap();
            drop(part);
            names(&store).len()
        };
        // Nothing to go on with is nothing to keep.
        assert_eq!((left(b"abc", None), left(b"", Some(note()))), (0, 0));
        assert_eq!(left(b"abc", Some(note())), 2);
        let mut part = gone_on(&store, b"abcdef");
        assert_eq!((part.length(), part.note(), part.digest()), (3, Some(&note()), sum(b"abc")));
        part.write(b"def").unwrap();
        let path = part.finish().unwrap().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"abcdef");
        assert_eq!(names(&store).len(), 2);

        // Whoever begins gets nothing of another's; nothing stays of what turns out wrong.
        std::fs::remove_file(path).unwrap();
        assert_eq!(left(b"abc", Some(note())), 2 + 1);
        let mut begun = match store.begin(&sum(b"abcdef"), 6).unwrap() {
            Begun::Part(part) => part,
            Begun::Held(path) => panic!("{} is there", path.display()),
        };
        assert_eq!((begun.length(), begun.note()), (0, None));
        begun.comes_from(Some(note()));
        begun.write(b"abcdeF").unwrap();
        assert_eq!(begun.finish().unwrap(), Err(sum(b"abcdeF")));
        assert_eq!(names(&store).len(), 1);
    }

    #[test]
    fn a_cluster_file_is_noted_once_and_at_the_first_use() {
        let folder = tempfile::tempdir().unwrap();
        let user = folder.path().join("nodebake.yaml");
        let root = folder.path().join("store");
        let store = Store::new(&root).used_by(&user);
        assert_eq!(store.look_up(&sum(b"abc"), 3).unwrap(), Held::No);
        assert!(!root.exists());
        put(&store, b"abc");
        let link = root.join("roots").join(Digest::of(user.to_str().unwrap().as_bytes()).to_string());
        assert_eq!(std::fs::read_link(&link).unwrap(), user);
        let stamp = || std::fs::symlink_metadata(&link).map(|link| (link.ino(), link.ctime_nsec())).unwrap();
        let before = stamp();
        assert_eq!(
            Store::new(&root).used_by(&user).look_up(&sum(b"abc"), 3).unwrap(),
            store.look_up(&sum(b"abc"), 3).unwrap()
        );
        assert_eq!(stamp(), before);
    }

    #[test]
    fn what_others_could_say_of_a_blob_is_not_vouched_for() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path());
        let path = put(&store, b"abc");
        let sidecar = sidecar(&path);
        let stamp = || Stamp::of(&File::open(&path).unwrap()).unwrap();
        let verified = || store.verified(&sum(b"abc"));
        let shut = |of: &Path, mode| std::fs::set_permissions(of, Permissions::from_mode(mode)).unwrap();
        // The change of mode is a change: what is remembered is of the file as it is then.
        let remember = || remember(&sidecar, &stamp());
        for of in [&sidecar, &path] {
            for (mode, good) in [(0o644, true), (0o664, false), (0o646, false), (0o600, true)] {
                shut(of, mode);
                remember();
                assert_eq!(verified(), good.then(stamp), "{} {mode:o}", of.display());
                // It is looked up by that all the same.
                assert_eq!(store.look_up(&sum(b"abc"), 3).unwrap(), Held::Good(path.clone()));
            }
        }
        // Somebody else's, where that can be had.
        if rustix::process::geteuid().is_root() {
            for of in [&sidecar, &path] {
                std::os::unix::fs::chown(of, Some(12345), None).unwrap();
                remember();
                assert_eq!(verified(), None, "{}", of.display());
                std::os::unix::fs::chown(of, Some(0), None).unwrap();
                remember();
                assert_eq!(verified(), Some(stamp()), "{}", of.display());
            }
        }
        std::fs::remove_file(&sidecar).unwrap();
        assert_eq!(verified(), None);
    }

    #[test]
    fn what_is_verified_is_not_hashed_again_until_it_is_touched() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path());
        let path = put(&store, b"abc");
        let good = Held::Good(path.clone());
        let damaged = Held::Damaged(path.clone());
        let look_up = || store.look_up(&sum(b"abc"), 3).unwrap();

        // A sidecar that vouches for a file is believed: had it been hashed, it would be found damaged.
        let write = |bytes: &[u8]| {
            std::fs::remove_file(&path).unwrap();
            std::fs::write(&path, bytes).unwrap();
        };
        write(b"xyz");
        remember(&sidecar(&path), &Stamp::of(&File::open(&path).unwrap()).unwrap());
        assert_eq!(look_up(), good);

        // The clock of change times moves in ticks of some milliseconds.
        let tick = || std::thread::sleep(std::time::Duration::from_millis(20));
        tick();
        // Written in place, same size and modification time: the change time tells.
        let modified = std::fs::metadata(&path).unwrap().modified().unwrap();
        std::fs::write(&path, b"xyy").unwrap();
        File::options().write(true).open(&path).unwrap().set_modified(modified).unwrap();
        assert_eq!(look_up(), damaged);

        // Another size needs no hashing.
        write(b"abcd");
        assert_eq!(look_up(), damaged);

        // Touched but right: hashed, then remembered again.
        tick();
        write(b"abc");
        let before = std::fs::read_to_string(sidecar(&path)).unwrap();
        assert_eq!(look_up(), good);
        assert_ne!(std::fs::read_to_string(sidecar(&path)).unwrap(), before);

        // Half a sidecar vouches for nothing.
        let whole = std::fs::read_to_string(sidecar(&path)).unwrap();
        std::fs::write(sidecar(&path), &whole[..whole.len() - 1]).unwrap();
        tick();
        std::fs::write(&path, b"abd").unwrap();
        assert_eq!(look_up(), damaged);
    }

    #[test]
    fn a_damaged_blob_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path());
        let path = put(&store, b"abc");
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, b"xyz").unwrap();
        assert_eq!(std::fs::read(put(&store, b"abc")).unwrap(), b"abc");
        assert_eq!(store.look_up(&sum(b"abc"), 3).unwrap(), Held::Good(path));
    }

    #[test]
    fn one_writes_and_the_others_wait() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path());
        let writers = std::sync::atomic::AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| match store.begin(&sum(b"abc"), 3).unwrap() {
                    Begun::Part(mut part) => {
                        writers.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                        std::thread::sleep(std::time::Duration::from_millis(20));
                        part.write(b"abc").unwrap();
                        part.finish().unwrap().unwrap();
                    }
                    Begun::Held(path) => assert_eq!(std::fs::read(path).unwrap(), b"abc"),
                });
            }
        });
        assert_eq!(writers.into_inner(), 1);
        assert_eq!(names(&store).len(), 2);
    }

    #[test]
    fn errors_name_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, b"").unwrap();
        let error = Store::new(&file).begin(&sum(b""), 0).unwrap_err();
        let blobs = file.join("blobs/sha256");
        assert_eq!((error.to_string(), error.hint()), (format!("cannot make {}", blobs.display()), None));
        let full = StoreError::io("write", &file)(io::ErrorKind::StorageFull.into());
        assert_eq!(full.to_string(), format!("no space is left for {}", file.display()));
    }
}
