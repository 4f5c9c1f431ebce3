//! Files that appear whole or not at all, and of which a killed process leaves nothing that the next run does not clear.
//!
//! A file is written under another name beside its own, `.NAME.nodebake-partial`, and renamed once its bytes are on disk.
//! That name is the same in every run, and whoever writes holds an exclusive `flock` on the file until it is renamed or
//! removed. The kernel lets go of the lock when a process ends, however it ends, so an unlocked partial file is dead.
//!
//! - A writer that finds the name taken waits for the lock. When it gets it and the file still has that name, its writer
//!   is dead: the file is removed and a new one made. It is never taken over, since somebody may have it open, and the
//!   next file's bytes may be secret.
//! - [`sweep`] removes the dead ones of a folder, for targets that the next run does not write.
//! - Nobody removes a name without holding the lock on the file that has it, and nobody renames one either. So a live
//!   file is never lost, except in the instant between its making and its locking: its maker sees that and makes another.
//!
//! What is compared whole whenever it is used, and made again in milliseconds, needs less: it is written without waiting
//! for the disk ([`write_soon`], [`make_folder_soon`]). Each fsync(2) takes milliseconds, and a hundred nodes have five
//! hundred files; a syncfs(2) waits for whatever else the machine has to write. So a loss of power can leave a name without
//! its bytes, and the next run puts that right.
//!
//! `O_TMPFILE` leaves nothing behind either, but cannot replace what stands at the target: linkat(2) fails when the name is
//! taken, and a rename needs a name again. Random names cannot be told from those of a run that is still at work.

use std::fs::{self, File, Permissions};
use std::io::{self, Write as _};
use std::ops::{Deref, DerefMut};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, OFlags, flock};
use tempfile::{NamedTempFile, TempPath};

use crate::scratch::{self, Listed};

const SUFFIX: &str = ".nodebake-partial";

/// A file that has not got its name yet.
#[derive(Debug)]
pub(crate) struct Partial {
    // In this order: it goes before its entry in the list.
    file: NamedTempFile,
    _listed: Listed,
}

impl Deref for Partial {
    type Target = NamedTempFile;

    fn deref(&self) -> &NamedTempFile {
        &self.file
    }
}

impl DerefMut for Partial {
    fn deref_mut(&mut self) -> &mut NamedTempFile {
        &mut self.file
    }
}

/// A new file for `path`, of mode 0600 and with nothing in it; waits while another process writes the same one. Dropped
/// before [`publish`], nothing of it stays.
pub(crate) fn begin(path: &Path) -> io::Result<Partial> {
    let partial = partial(path)?;
    let new = || File::options().read(true).write(true).create_new(true).mode(0o600).open(&partial);
    loop {
        match scratch::file(&partial, new) {
            Ok((file, listed)) => {
                flock(&file, FlockOperation::LockExclusive)?;
                // Else it was taken for dead before it was locked, and the name may be another's by now.
                if has_name(&file, &partial)? {
                    let file = NamedTempFile::from_parts(file, TempPath::try_from_path(partial)?);
                    return Ok(Partial { file, _listed: listed });
                }
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                remove_dead(&partial, FlockOperation::LockExclusive)?;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Gives a file from [`begin`] its mode, whatever the umask, and the name `path` in the same folder, replacing what stands
/// there in one step. Its bytes and then its name are on disk when this returns.
pub(crate) fn publish(file: Partial, mode: u32, path: &Path) -> io::Result<()> {
    ready(&file, mode)?;
    name(file, path)?;
    sync_folder(path)
}

/// Whoever is told to end names nothing any more.
fn name(Partial { file, _listed }: Partial, path: &Path) -> io::Result<()> {
    scratch::at_once(|| file.persist(path)).map(drop).map_err(|error| error.error)
}

/// The same for a name that nothing has yet; fails with `AlreadyExists`.
pub(crate) fn publish_new(file: Partial, mode: u32, path: &Path) -> io::Result<()> {
    ready(&file, mode)?;
    let Partial { file, _listed } = file;
    scratch::at_once(|| file.persist_noclobber(path)).map_err(|error| error.error)?;
    sync_folder(path)
}

fn ready(file: &NamedTempFile, mode: u32) -> io::Result<()> {
    file.as_file().set_permissions(Permissions::from_mode(mode))?;
    file.as_file().sync_all()
}

/// Puts `bytes` at `path`, whatever stands there.
pub(crate) fn write(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    publish(filled(path, bytes)?, mode, path)
}

/// Puts `bytes` at `path`, whatever stands there, in one step; when they are on disk is up to the kernel.
pub(crate) fn write_soon(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut file = begin(path)?;
    file.as_file_mut().write_all(bytes)?;
    file.as_file().set_permissions(Permissions::from_mode(mode))?;
    name(file, path)
}

/// A new file for `path` with these bytes, on disk and without its name: for several files, all of which are to be there
/// before the first gets its name, since the disk may be too full for the second.
pub(crate) fn filled(path: &Path, bytes: &[u8]) -> io::Result<Partial> {
    let mut file = begin(path)?;
    file.as_file_mut().write_all(bytes)?;
    file.as_file().sync_all()?;
    Ok(file)
}

/// What to do when a file could not be written because the disk is full.
pub(crate) fn hint(error: &io::Error) -> Option<String> {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
        .then(|| "make space on that disk, then run the command again".to_owned())
}

/// Makes a folder with this mode, whatever the umask; one that is there keeps its own. Its parents get what the umask
/// leaves.
pub(crate) fn make_folder(path: &Path, mode: u32) -> io::Result<()> {
    if make_folder_soon(path, mode)? { sync_folder(path) } else { Ok(()) }
}

/// The same without waiting for the disk. Says whether it was made here.
pub(crate) fn make_folder_soon(path: &Path, mode: u32) -> io::Result<bool> {
    // A folder, too, has its mode before it has its name: killed in between, the next run would take the umask's for ours.
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => return Ok(false),
        Ok(_) => return Err(rustix::io::Errno::EXIST.into()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    // Its parents, too, may be scratch, and just removed for good.
    scratch::at_once(|| fs::create_dir_all(folder_of(path)))?;
    let partial = partial(path)?;
    loop {
        // In one step: a folder of that name is on no list.
        let named = scratch::at_once(|| {
            match fs::create_dir(&partial) {
                // Left by a killed process, or another's that makes the same one: it is empty, and whoever comes first names
                // it.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                made => made?,
            }
            Ok::<_, io::Error>(
                fs::set_permissions(&partial, Permissions::from_mode(mode)).and_then(|()| fs::rename(&partial, path)),
            )
        })?;
        match named {
            Ok(()) => return Ok(true),
            Err(_) if path.is_dir() => {
                // Another process was first and has put something in it. If ours is gone as well, all the better.
                let _ = fs::remove_dir(&partial);
                return Ok(false);
            }
            // Swept.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
}

/// Removes what killed processes left beside `path`, as [`sweep`] does.
pub(crate) fn sweep_beside(path: &Path) {
    sweep(folder_of(path));
}

/// Removes from a folder what killed processes left in it. What cannot be removed stays: it is in nobody's way.
pub(crate) fn sweep(folder: &Path) {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let ours = name.to_str().is_some_and(|name| name.starts_with('.') && name.ends_with(SUFFIX));
        if !ours {
            continue;
        }
        let path = entry.path();
        let removed = match entry.file_type() {
            Ok(kind) if kind.is_file() => remove_dead(&path, FlockOperation::NonBlockingLockExclusive),
            // Of make_folder; one with anything in it is not removed.
            Ok(kind) if kind.is_dir() => fs::remove_dir(&path),
            _ => continue,
        };
        if let Err(error) = removed {
            tracing::debug!(path = %path.display(), %error, "cannot remove a partial file");
        }
    }
}

/// Removes a partial file once nobody holds its lock.
fn remove_dead(partial: &Path, lock: FlockOperation) -> io::Result<()> {
    let mut options = File::options();
    // Writing is asked for because NFS gives no exclusive lock without it.
    options.read(true).write(true).custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed());
    let file = match options.open(partial) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        file => file?,
    };
    if !file.metadata()?.is_file() {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    flock(&file, lock)?;
    if has_name(&file, partial)? { fs::remove_file(partial) } else { Ok(()) }
}

/// Whether the name leads to this very file.
fn has_name(file: &File, name: &Path) -> io::Result<bool> {
    let ours = file.metadata()?;
    match fs::symlink_metadata(name) {
        Ok(named) => Ok((named.dev(), named.ino()) == (ours.dev(), ours.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn partial(path: &Path) -> io::Result<PathBuf> {
    let mut partial = std::ffi::OsString::from(".");
    partial.push(path.file_name().ok_or(io::ErrorKind::InvalidFilename)?);
    partial.push(SUFFIX);
    Ok(folder_of(path).join(partial))
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Only then does a new name outlast a loss of power.
fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(folder_of(path))?.sync_all()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::sync::Barrier;
    use std::thread;

    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn a_file_has_its_bytes_and_mode_before_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("seed.iso");
        fs::write(&path, "old").unwrap();
        let mut file = begin(&path).unwrap();
        file.write_all(b"new").unwrap();
        assert_eq!(names(folder.path()), [".seed.iso.nodebake-partial", "seed.iso"]);
        assert_eq!((fs::read(&path).unwrap(), mode(file.path())), (b"old".to_vec(), 0o600));
        publish(file, 0o640, &path).unwrap();
        assert_eq!((fs::read(&path).unwrap(), mode(&path)), (b"new".to_vec(), 0o640));

        drop(begin(&path).unwrap());
        assert_eq!(names(folder.path()), ["seed.iso"]);
        let taken = publish_new(begin(&path).unwrap(), 0o644, &path).unwrap_err();
        assert_eq!((taken.kind(), names(folder.path())), (io::ErrorKind::AlreadyExists, vec!["seed.iso".to_owned()]));
    }

    /// Whoever removes all scratch holds its list: what is made meanwhile would stay.
    #[test]
    fn no_folder_is_made_while_scratch_goes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gone/node");
        let (says, said) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            scratch::at_once(|| {
                scope.spawn(|| {
                    says.send(fs::read_link("/proc/thread-self").unwrap()).unwrap();
                    make_folder_soon(&path, 0o755).unwrap();
                });
                let status = Path::new("/proc").join(said.recv().unwrap()).join("status");
                // It is quick to where it sleeps until the list is free.
                while !fs::read_to_string(&status).unwrap().contains("State:\tS") {
                    std::thread::yield_now();
                }
                assert_eq!(names(folder.path()), Vec::<String>::new());
            });
        });
        assert!(path.is_dir());
    }

    /// A reader that opened the dead file must not see what is written next.
    #[test]
    fn what_a_killed_process_left_is_replaced_by_a_new_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.pem");
        let left = folder.path().join(".key.pem.nodebake-partial");
        fs::write(&left, "left").unwrap();
        fs::set_permissions(&left, Permissions::from_mode(0o644)).unwrap();
        let watched = File::open(&left).unwrap();
        let file = begin(&path).unwrap();
        assert_eq!((mode(&left), file.as_file().metadata().unwrap().len()), (0o600, 0));
        assert_ne!(watched.metadata().unwrap().ino(), file.as_file().metadata().unwrap().ino());
    }

    #[test]
    fn a_name_that_is_no_file_of_ours_is_not_removed() {
        let folder = tempfile::tempdir().unwrap();
        let (path, left) = (folder.path().join("x"), folder.path().join(".x.nodebake-partial"));
        fs::write(folder.path().join("theirs"), "theirs").unwrap();
        std::os::unix::fs::symlink("theirs", &left).unwrap();
        begin(&path).unwrap_err();
        sweep(folder.path());
        fs::remove_file(&left).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, &left, rustix::fs::Mode::RWXU).unwrap();
        begin(&path).unwrap_err();
        sweep(folder.path());
        assert_eq!(names(folder.path()), [".x.nodebake-partial", "theirs"]);
    }

    #[test]
    fn sweeping_takes_the_dead_and_leaves_the_living() {
        let folder = tempfile::tempdir().unwrap();
        let live = begin(&folder.path().join("live")).unwrap();
        for name in [".dead.nodebake-partial", "no.nodebake-partial", ".theirs.partial", ".nodebake-partial-no"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        fs::create_dir(folder.path().join(".folder.nodebake-partial")).unwrap();
        fs::create_dir_all(folder.path().join(".full.nodebake-partial/x")).unwrap();
        sweep(folder.path());
        let wanted = [
            ".full.nodebake-partial",
            ".live.nodebake-partial",
            ".nodebake-partial-no",
            ".theirs.partial",
            "no.nodebake-partial",
        ];
        assert_eq!(names(folder.path()), wanted);
        publish(live, 0o644, &folder.path().join("live")).unwrap();
        sweep(&folder.path().join("not there"));
    }

    /// Writers and sweepers of one name at once: every write succeeds, every reader sees one of them whole.
    #[test]
    fn writers_and_sweepers_do_not_disturb_each_other() {
        const ROUNDS: usize = 200;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shared");
        let start = Barrier::new(6);
        let whole = |bytes: &[u8]| bytes.len() == 64 << 10 && bytes.iter().all(|byte| *byte == bytes[0]);
        write(&path, &vec![0; 64 << 10], 0o644).unwrap();
        thread::scope(|scope| {
            for writer in 1..=4_u8 {
                let (path, start) = (&path, &start);
                scope.spawn(move || {
                    start.wait();
                    (0..ROUNDS).for_each(|_| write(path, &vec![writer; 64 << 10], 0o644).unwrap());
                });
            }
            for _ in 0..2 {
                scope.spawn(|| {
                    start.wait();
                    for _ in 0..ROUNDS {
                        sweep(folder.path());
                        assert!(whole(&fs::read(&path).unwrap()));
                    }
                });
            }
        });
        assert_eq!(names(folder.path()), ["shared"]);
    }

    #[test]
    fn folders_have_their_mode_with_their_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b");
        // Left by a killed process.
        fs::create_dir_all(folder.path().join("a/.b.nodebake-partial")).unwrap();
        make_folder(&path, 0o755).unwrap();
        assert_eq!((mode(&path), names(&folder.path().join("a"))), (0o755, vec!["b".to_owned()]));
        fs::set_permissions(&path, Permissions::from_mode(0o700)).unwrap();
        make_folder(&path, 0o755).unwrap();
        assert_eq!(mode(&path), 0o700);

        let many = folder.path().join("many");
        thread::scope(|scope| {
            let make = || {
                scope.spawn(|| (0..100).for_each(|n| make_folder(&many.join(n.to_string()), 0o755).unwrap()));
                scope.spawn(|| (0..100).for_each(|_| sweep(&many)));
            };
            (0..3).for_each(|_| make());
        });
        assert_eq!(names(&many).len(), 100);
        fs::write(folder.path().join("file"), "").unwrap();
        let taken = make_folder(&folder.path().join("file"), 0o755).unwrap_err();
        assert_eq!((taken.kind(), mode(&folder.path().join("file"))), (io::ErrorKind::AlreadyExists, 0o644));
        assert_eq!(names(folder.path()), ["a", "file", "many"]);
    }
}
