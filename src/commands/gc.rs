//! `nodebake gc`: removes from the cache what no cluster uses any more, and from the pool of the cluster file at hand what no
//! machine does.
//!
//! What a cluster uses is what the lock beside its cluster file names, and the base images of the machines on its
//! hypervisor. Their payloads lie in the hypervisor's pool, and a machine that is made anew is made from the lock. Whatever cannot be told for sure is an error, and then nothing is removed.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use indicatif::HumanBytes;
use jiff::Timestamp;
use serde::Serialize;

use super::Session;
use super::fleet::Fleet;
use crate::apply::delete_volume;
use crate::artifacts::lock::LockError;
use crate::artifacts::store::{Reason, StoreError, Sweep, Unused, Uses};
use crate::artifacts::{Lock, Store};
use crate::cli::{Cli, Format, Gc};
use crate::config::{Config, ConfigError};
use crate::digest::Digest;
use crate::error::{Error, ExitCode};
use crate::machine::{self, MachineError, VolumeInfo};
use crate::plan::{self, Inventory};
use crate::ui::Ui;

/// Why it cannot be told what is in use. Nothing was removed.
#[derive(Debug, thiserror::Error)]
pub enum GcError {
    /// The folder of a cluster file is not there: it may be on a disk that is not mounted.
    #[error("it cannot be told what {} uses: its folder is not there, or empty", file.display())]
    NoFolder {
        /// The cluster file.
        file: PathBuf,
    },
    /// The cluster file cannot be looked for.
    #[error("it cannot be told what {} uses", file.display())]
    Look {
        /// The cluster file.
        file: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The cluster file cannot be read or is not valid.
    #[error("it cannot be told what {} uses", file.display())]
    Config {
        /// The cluster file.
        file: PathBuf,
        /// What is wrong.
        #[source]
        source: ConfigError,
    },
    /// The lock cannot be read.
    #[error("it cannot be told what {} uses", file.display())]
    Lock {
        /// The cluster file.
        file: PathBuf,
        /// What is wrong.
        #[source]
        source: LockError,
    },
    /// The machines cannot be asked for.
    #[error("it cannot be told which base images the machines of {} stand on", file.display())]
    Machines {
        /// The cluster file.
        file: PathBuf,
        /// What is wrong.
        #[source]
        source: MachineError,
    },
    /// A machine of ours that this nodebake cannot read.
    #[error("it cannot be told which base image machine {name} at {uri} stands on")]
    Mark {
        /// The domain's name.
        name: String,
        /// The hypervisor.
        uri: String,
    },
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl GcError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        let (file, first) = match self {
            Self::NoFolder { file } => (file, "bring it back, such as by mounting its disk".to_owned()),
            Self::Look { file, .. } => (file, "make it readable".to_owned()),
            Self::Config { file, .. } => (file, "repair the cluster file".to_owned()),
            Self::Lock { file, source } => (file, source.hint()?),
            Self::Machines { file, source } => {
                (file, source.hint().unwrap_or_else(|| "see to it that libvirt answers".to_owned()))
            }
            Self::Mark { .. } => return Some("use the newest nodebake that is used with these machines".to_owned()),
            Self::Store(error) => return error.hint(),
        };
        let file = file.display();
        Some(format!("nothing was removed: {first}; if nothing of that cluster is needed: nodebake gc --forget {file}"))
    }

    /// The exit code of the program.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::NoFolder { .. } | Self::Config { .. } => ExitCode::Configuration,
            Self::Lock { .. } => ExitCode::Lock,
            _ => ExitCode::Unexpected,
        }
    }
}

pub(super) fn run(cli: &Cli, ui: &Ui, args: &Gc) -> Result<(), Error> {
    let store = Store::new(super::cache_folder(cli)?);
    let waiting = || ui.say("waiting for other runs of nodebake that use the cache");
    let Some(sweep) = store.sweep(args.dry_run, waiting).map_err(GcError::from)? else {
        ui.say(&format!("there is no cache in {}", store.root().display()));
        let gone = volumes(cli, ui, args)?.iter().map(Gone::volume).collect();
        return Document::of(args.dry_run, gone, 0, 0).show(ui, args.report.output);
    };
    let forgotten = args.forget.iter().map(|path| absolute(path)).collect::<Result<Vec<_>, _>>()?;
    let known = sweep.users().map_err(GcError::from)?;
    for file in forgotten.iter().filter(|file| !known.contains(file)) {
        ui.warn(&format!("{} has not used the cache", file.display()));
    }
    let (uses, gone) = uses(&sweep, &absolute(&cli.config)?, &forgotten)?;
    let mut unused: Vec<_> = gone.iter().map(|file| sweep.root_of(file)).collect();
    unused.extend(sweep.unused(&uses).map_err(GcError::from)?);
    let volumes = volumes(cli, ui, args)?;
    let (count, size) = sweep.blobs().map_err(GcError::from)?;
    if !args.dry_run {
        for unused in &unused {
            sweep.remove(unused).map_err(GcError::from)?;
        }
    }
    let gone = unused.iter().map(Gone::blob).chain(volumes.iter().map(Gone::volume)).collect();
    let blobs = || unused.iter().filter(|unused| unused.why == Reason::Unnamed);
    let kept = size.saturating_sub(blobs().map(|unused| unused.size).sum());
    let document = Document::of(args.dry_run, gone, count - blobs().count(), kept);
    document.show(ui, args.report.output)?;
    let verb = if args.dry_run { "would be removed" } else { "removed" };
    let (freed, Kept { files, bytes }) = (HumanBytes(document.freed), document.kept);
    ui.say(&format!("{freed} {verb}; {files} files stay ({})", HumanBytes(bytes)));
    Ok(())
}

/// What was removed, or would be, as programs read it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    dry_run: bool,
    removed: Vec<Gone>,
    /// In bytes.
    freed: u64,
    kept: Kept,
}

#[derive(Serialize)]
struct Gone {
    /// Its place in the cache, or pool and volume.
    name: String,
    bytes: u64,
    reason: String,
}

/// What stays in the cache.
#[derive(Clone, Copy, Serialize)]
struct Kept {
    files: usize,
    bytes: u64,
}

impl Document {
    fn of(dry_run: bool, removed: Vec<Gone>, files: usize, bytes: u64) -> Self {
        let freed = removed.iter().map(|gone| gone.bytes).sum();
        Self { dry_run, removed, freed, kept: Kept { files, bytes } }
    }

    fn show(&self, ui: &Ui, format: Format) -> Result<(), Error> {
        let row = |gone: &Gone| vec![gone.name.clone(), HumanBytes(gone.bytes).to_string(), gone.reason.clone()];
        ui.show(format, None, self, || super::table(&self.removed.iter().map(row).collect::<Vec<_>>()))
    }
}

impl Gone {
    fn volume((pool, volume): &(String, VolumeInfo)) -> Self {
        let (name, bytes) = (format!("{pool}/{}", volume.name), volume.allocation);
        Self { name, bytes, reason: "no machine uses it".to_owned() }
    }

    fn blob(unused: &Unused) -> Self {
        let reason = match &unused.why {
            Reason::Unnamed => "no lock or machine needs it".to_owned(),
            Reason::Stale => "a part that nobody waits for".to_owned(),
            Reason::Orphan => "what it belonged to has gone".to_owned(),
            Reason::NoCluster(file) => format!("{} counts no more", file.display()),
        };
        Self { name: unused.name.display().to_string(), bytes: unused.size, reason }
    }
}

/// Removes from the pool of the cluster file at hand what no machine uses; gives it with the pool's name.
fn volumes(cli: &Cli, ui: &Ui, args: &Gc) -> Result<Vec<(String, VolumeInfo)>, Error> {
    if !cli.config.exists() || args.forget.contains(&cli.config) {
        return Ok(Vec::new());
    }
    let session = Session { cli, ui, config: Config::load(&cli.config)?, now: Timestamp::now() };
    let fleet = Fleet::open(&session)?;
    fleet.tell(&session);
    let _held = if args.dry_run { None } else { Some(session.hold()?) };
    let mut all = Vec::new();
    for member in &fleet.members {
        let inventory = Inventory::read(&member.config, &*member.hypervisor, None)?;
        let unused = plan::unused(session.cluster_id().ok().as_ref(), &inventory);
        let pool = &member.config.libvirt.pool;
        if !args.dry_run {
            for name in unused.iter().filter_map(VolumeInfo::ours) {
                delete_volume(&*member.hypervisor, pool, &name, ui)?;
            }
        }
        let place = member.name.as_ref().map_or_else(|| pool.clone(), |name| format!("{name}:{pool}"));
        all.extend(unused.into_iter().map(|volume| (place.clone(), volume)));
    }
    Ok(all)
}

fn absolute(path: &Path) -> Result<PathBuf, Error> {
    std::path::absolute(path).map_err(|source| Error::File { action: "looking for", path: path.to_owned(), source })
}

/// What clusters use, and the cluster files that have gone. The cluster file at hand counts also if it has not used the
/// store yet.
fn uses(sweep: &Sweep<'_>, own: &Path, forgotten: &[PathBuf]) -> Result<(Uses, Vec<PathBuf>), GcError> {
    let mut files = sweep.users()?;
    let (mut uses, mut gone) = (Uses::default(), Vec::new());
    let mut asked = BTreeSet::new();
    if own.exists() && !files.iter().chain(forgotten).any(|file| file == own) {
        files.push(own.to_owned());
    }
    for file in files {
        if forgotten.contains(&file) {
            gone.push(file);
            continue;
        }
        let there = is_there(&file)?;
        // Also of a lock alone, as where a bundle was imported before there is a cluster file.
        match Lock::load(&file.with_file_name("nodebake.lock")) {
            Ok(lock) => uses.checksums.extend(lock.entries().iter().map(|entry| entry.checksum)),
            Err(LockError::Absent { .. }) if !there => gone.push(file.clone()),
            // A cluster that is not locked, or not any more, names nothing.
            Err(LockError::Absent { .. }) => {}
            Err(source) => return Err(GcError::Lock { file, source }),
        }
        if there {
            let config = Config::load(&file).map_err(|source| GcError::Config { file: file.clone(), source })?;
            let own = config.sites.is_empty().then_some(&config.libvirt.uri);
            for uri in own.into_iter().chain(config.sites.iter().map(|site| &site.libvirt.uri)) {
                if asked.insert(uri.clone()) {
                    uses.bases.extend(bases(uri, &file)?);
                }
            }
        }
    }
    Ok((uses, gone))
}

/// Whether the cluster file is there. One is gone for good only if something else still is where it was: else its disk
/// may just not be mounted.
fn is_there(file: &Path) -> Result<bool, GcError> {
    let look = |source| GcError::Look { file: file.to_owned(), source };
    if file.try_exists().map_err(look)? {
        return Ok(true);
    }
    let folder = file.parent().unwrap_or(Path::new("/"));
    match std::fs::read_dir(folder).map(|mut entries| entries.next().is_some()) {
        Ok(true) => Ok(false),
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(look(error)),
        _ => Err(GcError::NoFolder { file: file.to_owned() }),
    }
}

/// SHA-256 of the base images of all machines with our mark at a hypervisor, of whatever cluster.
fn bases(uri: &str, file: &Path) -> Result<Vec<Digest>, GcError> {
    let failed = |source| GcError::Machines { file: file.to_owned(), source };
    let mut bases = Vec::new();
    for domain in machine::open(uri).map_err(failed)?.domains().map_err(failed)? {
        let unknown = || GcError::Mark { name: domain.name.clone(), uri: uri.to_owned() };
        let Some(mark) = domain.mark.as_ref().map_err(|_| unknown())? else { continue };
        bases.push(mark.base.trim_start_matches("sha256:").parse().map_err(|_| unknown())?);
    }
    Ok(bases)
}
