//! `nodebake fetch`: fills the cache from the lock.

use std::fs::File;
use std::io;
use std::path::Path;

use indicatif::HumanBytes;
use serde::Serialize;

use super::Session;
use crate::artifacts::{Blob, Entry, Kind, Lock, fetch};
use crate::build::make_output_folder;
use crate::cli::Fetch;
use crate::config::Arch;
use crate::error::Error;
use crate::whole_file;

pub(super) fn run(session: &Session, args: &Fetch) -> Result<(), Error> {
    let lock = session.lock()?;
    let (store, source) = (session.store()?, session.source()?);
    let kubectl_only = args.artifact.is_some();
    let entries: Vec<_> =
        if kubectl_only { own_kubectl(&lock).into_iter().collect() } else { lock.entries().iter().collect() };
    let blobs = fetch(&entries, &store, &source, session.cli.offline, session.ui)?;
    if !kubectl_only {
        let bytes = |blobs: &mut dyn Iterator<Item = &Blob>| HumanBytes(blobs.map(|blob| blob.entry.size).sum());
        let fresh = blobs.iter().filter(|blob| blob.fresh);
        let now = match fresh.clone().count() {
            0 => String::new(),
            count => format!("; fetched {count} of them now ({})", bytes(&mut fresh.into_iter())),
        };
        session.ui.say(&format!("{} files are in the cache ({}){now}", blobs.len(), bytes(&mut blobs.iter())));
        let files = blobs.iter().map(|blob| Fetched::of(blob, &blob.path)).collect();
        return session.show(args.report.output, &Document { files }, String::new);
    }
    let mut files = Vec::new();
    for blob in blobs.iter().filter(|blob| blob.entry.kind == Kind::Kubectl) {
        let path = args.out.dir.join("kubectl");
        let failed = |action| {
            let path = path.clone();
            move |source| Error::File { action, path, source }
        };
        make_output_folder(&args.out.dir)?;
        let mut from = File::open(&blob.path).map_err(failed("reading"))?;
        let mut file = whole_file::begin(&path).map_err(failed("creating"))?;
        io::copy(&mut from, file.as_file_mut()).map_err(failed("writing"))?;
        whole_file::publish(file, 0o755, &path).map_err(failed("writing"))?;
        files.push(Fetched::of(blob, &path));
    }
    let document = Document { files };
    let line = |file: &Fetched| format!("{}\n", file.file);
    session.show(args.report.output, &document, || document.files.iter().map(line).collect())
}

/// What is there, as programs read it.
#[derive(Serialize)]
struct Document {
    files: Vec<Fetched>,
}

#[derive(Serialize)]
struct Fetched {
    kind: Kind,
    arch: Arch,
    /// Its version; of what has a name, that.
    version: String,
    size: u64,
    digest: String,
    file: String,
    /// Whether it was not in the cache before.
    fresh: bool,
}

impl Fetched {
    fn of(blob: &Blob, file: &Path) -> Self {
        let Entry { kind, arch, version, size, checksum, .. } = &blob.entry;
        let (version, digest, file) = (version.clone(), checksum.to_string(), file.display().to_string());
        Self { kind: *kind, arch: *arch, version, size: *size, digest, file, fresh: blob.fresh }
    }
}

/// The kubectl that runs on this machine; where none is locked for it, the first that is.
fn own_kubectl(lock: &Lock) -> Option<&Entry> {
    let all = || lock.entries().iter().filter(|entry| entry.kind == Kind::Kubectl);
    let runs_here = |entry: &&Entry| match entry.arch {
        Arch::Amd64 => cfg!(target_arch = "x86_64"),
        Arch::Arm64 => cfg!(target_arch = "aarch64"),
    };
    all().find(runs_here).or_else(|| all().next())
}
