//! The payload: an image with the programs that every worker of an architecture runs, public and shared.
//!
//! It is written straight from the archives as they were published: nothing is unpacked on disk and no file is held in
//! memory. The two programs that are no archives have a known place and are copied by a thread of their own; each
//! archive is decompressed by a thread while this one hashes and writes.
//!
//! Beside `payload-DIGEST12.iso` lies `payload-DIGEST12.json`, which says from which inputs it was made. Both depend
//! on the inputs alone. The size is compared when one is found again; a whole check of its bytes is `verify`'s work.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread;

use serde::{Deserialize, Serialize};

use super::elf::{self, ElfError};
use super::gunzip;
use super::iso9660::{Entry, Image, Kind, Label, ReadError, Slot, Time, WriteError, Writer};
use super::unpack::{self, Limits, Member, UnpackError};
use crate::config::Arch;
use crate::digest::Digest;
use crate::progress::{Progress, Task};
use crate::whole_file;

/// Label of every payload.
pub const LABEL: Label = Label::new("NODEBAKE_PAYLOAD");

/// Raised whenever the same inputs shall give other bytes.
const RECIPE: u32 = 1;

/// Upstream's largest archive is below 200 MB unpacked.
const LIMITS: Limits = Limits { entries: 10_000, bytes: 4 << 30 };

/// Programs taken from containerd's archive.
const CONTAINERD: [&str; 3] = ["bin/containerd", "bin/containerd-shim-runc-v2", "bin/ctr"];
/// Plugins without which no usual CNI works.
const PLUGINS: [&str; 4] = ["bridge", "host-local", "loopback", "portmap"];

/// What a payload is made of: files as upstream publishes them, their digests already checked.
#[derive(Debug, Clone, Copy)]
pub struct PayloadInputs<'a> {
    /// Architecture that every program must have.
    pub arch: Arch,
    /// The kubelet.
    pub kubelet: &'a Path,
    /// containerd's release, tar.gz.
    pub containerd: &'a Path,
    /// runc.
    pub runc: &'a Path,
    /// The CNI project's plugins, tgz.
    pub cni_plugins: &'a Path,
    /// Time of everything in the image; [`Time::FIXED`] unless the user has another.
    pub time: Time,
    /// From [`inputs_digest`]; [`find`] knows the payload by it.
    pub inputs: Digest,
}

/// A payload in the output folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payload {
    /// `OUT/payload-DIGEST12.iso`.
    pub path: PathBuf,
    /// Of the whole image.
    pub digest: Digest,
    /// In bytes.
    pub size: u64,
}

/// Why a payload could not be made.
#[derive(Debug, thiserror::Error)]
pub enum PayloadError {
    /// An artifact could not be opened.
    #[error("cannot open {artifact} ({})", path.display())]
    Open {
        /// Which one: "kubelet", "containerd", "runc", "CNI plugins".
        artifact: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// An archive is damaged, cut off, or holds what it must not.
    #[error("the archive of {artifact} ({}) is refused", path.display())]
    Archive {
        /// Which one.
        artifact: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: UnpackError,
    },
    /// An artifact's data ends early or cannot be read.
    #[error("{artifact} ({}) is damaged", path.display())]
    Damaged {
        /// Which one.
        artifact: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: WriteError,
    },
    /// An archive lacks a program.
    #[error("the archive of {artifact} ({}) holds no {program}", path.display())]
    Missing {
        /// Which one.
        artifact: &'static str,
        /// The file.
        path: PathBuf,
        /// Its path in the archive.
        program: String,
    },
    /// A program that the nodes cannot run.
    #[error("{program} of {artifact} ({}) cannot run on the nodes", path.display())]
    Program {
        /// Which one.
        artifact: &'static str,
        /// The file.
        path: PathBuf,
        /// The program's path in the payload.
        program: String,
        /// Why.
        #[source]
        source: ElfError,
    },
    /// The image cannot be written.
    #[error("cannot write the payload in {}", folder.display())]
    Write {
        /// The output folder.
        folder: PathBuf,
        /// Why.
        #[source]
        source: WriteError,
    },
    /// What was written does not read back; a fault of the disk, of the machine or of nodebake.
    #[error("the payload does not read back as it was written: {what}")]
    ReadBack {
        /// The first difference.
        what: String,
        /// The reader's complaint, if it has one.
        #[source]
        source: Option<ReadError>,
    },
    /// A file in the output folder cannot be made.
    #[error("cannot write {}", path.display())]
    Output {
        /// The file or its folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl PayloadError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Archive { source, .. } => source.hint(),
            Self::Write { source, .. } => source.hint(),
            Self::Open { .. } | Self::Damaged { .. } => Some("fetch it again: nodebake fetch".to_owned()),
            Self::Missing { .. } => Some("check that the lock file names the archive that you mean".to_owned()),
            Self::Program { .. } => Some("the artifact and `arch` in the cluster file must match".to_owned()),
            Self::ReadBack { .. } => Some("check the disk and the memory of this machine, then build again".to_owned()),
            Self::Output { source, .. } => (source.kind() == io::ErrorKind::StorageFull)
                .then(|| "make space on the disk of the output folder, or choose another with --out".to_owned()),
        }
    }
}

/// Names the inputs of a payload: the recipe, the architecture, the time, and the locked checksums of kubelet,
/// containerd, runc and CNI plugins, in this order.
pub fn inputs_digest(arch: Arch, time: Time, checksums: [&str; 4]) -> Digest {
    let [kubelet, containerd, runc, cni_plugins] = checksums;
    let time = time.unix();
    let text = format!(
        "payload {RECIPE}\narch {arch}\ntime {time}\nkubelet {kubelet}\ncontainerd {containerd}\nrunc {runc}\n\
         cni-plugins {cni_plugins}\n"
    );
    Digest::of(text.as_bytes())
}

/// What stands beside a payload.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sidecar {
    inputs: Digest,
    arch: String,
    digest: Digest,
    size: u64,
}

/// `payload.json` in the payload.
#[derive(Serialize)]
struct Manifest<'a> {
    name: &'static str,
    arch: String,
    files: &'a [Program],
}

/// A program in the payload.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct Program {
    path: String,
    sha256: Digest,
    size: u64,
}

/// The payload that was made from these inputs, if it stands in `folder` with its full size. Its bytes are not read.
pub fn find(folder: &Path, inputs: Digest) -> Option<Payload> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).ok()?.flatten() {
        let path = entry.path();
        let ours = entry.file_name().to_string_lossy().starts_with("payload-");
        if !ours || path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let Some(sidecar) = fs::read(&path).ok().and_then(|text| serde_json::from_slice::<Sidecar>(&text).ok()) else {
            continue;
        };
        let image = folder.join(image_name(sidecar.digest));
        let whole = fs::symlink_metadata(&image).is_ok_and(|image| image.is_file() && image.len() == sidecar.size);
        if sidecar.inputs == inputs && whole {
            found.push(Payload { path: image, digest: sidecar.digest, size: sidecar.size });
        }
    }
    found.into_iter().min_by(|a, b| a.path.cmp(&b.path))
}

fn image_name(digest: Digest) -> String {
    format!("payload-{}.iso", digest.short())
}

/// Makes a payload in `folder`, which must exist, reads it back, and gives it its name (mode 0644) once it is on disk.
/// False beside it: another process has just made the same.
pub fn bake(
    inputs: &PayloadInputs<'_>,
    folder: &Path,
    progress: &dyn Progress,
) -> Result<(Payload, bool), PayloadError> {
    let output = |path: &Path| {
        let path = path.to_owned();
        move |source| PayloadError::Output { path, source }
    };
    let file = whole_file::begin(&folder.join(format!("payload-{}.iso", inputs.arch))).map_err(output(folder))?;
    // Another process may have made it while we waited for the name.
    if let Some(payload) = find(folder, inputs.inputs) {
        return Ok((payload, false));
    }
    let task = progress.task(&format!("bake payload {}", inputs.arch), inputs.size());
    let programs = Baker::new(inputs, folder, file.as_file(), task).run()?;
    let (digest, size) = check(file.as_file(), folder, inputs.time, &programs)?;
    let path = folder.join(image_name(digest));
    let sidecar = Sidecar { inputs: inputs.inputs, arch: inputs.arch.to_string(), digest, size };
    write_sidecar(&sidecar, &path.with_extension("json"))?;
    // Last, so that whoever waits for the name finds both.
    whole_file::publish(file, 0o644, &path).map_err(output(&path))?;
    Ok((Payload { path, digest, size }, true))
}

fn write_sidecar(sidecar: &Sidecar, path: &Path) -> Result<(), PayloadError> {
    whole_file::write(path, &json(sidecar), 0o644)
        .map_err(|source| PayloadError::Output { path: path.to_owned(), source })
}

/// Our structs always serialize; a fault would show as a file that does not read back.
fn json(value: &impl Serialize) -> Vec<u8> {
    let mut text = serde_json::to_vec_pretty(value).unwrap_or_default();
    text.push(b'\n');
    text
}

impl PayloadInputs<'_> {
    /// Bytes of all inputs, for the progress shown.
    fn size(&self) -> Option<u64> {
        let size = |path: &Path| fs::metadata(path).ok().map(|found| found.len());
        Some(size(self.kubelet)? + size(self.containerd)? + size(self.runc)? + size(self.cni_plugins)?)
    }
}

/// One of the files that a payload is made of.
#[derive(Clone, Copy)]
struct Artifact<'a> {
    name: &'static str,
    path: &'a Path,
}

impl Artifact<'_> {
    fn open(self) -> Result<(File, u64), PayloadError> {
        let fail = |source| PayloadError::Open { artifact: self.name, path: self.path.to_owned(), source };
        let file = File::open(self.path).map_err(fail)?;
        let size = file.metadata().map_err(fail)?.len();
        Ok((file, size))
    }

    fn refused(self, source: UnpackError) -> PayloadError {
        PayloadError::Archive { artifact: self.name, path: self.path.to_owned(), source }
    }

    fn unfit(self, program: &str, source: ElfError) -> PayloadError {
        let program = program.to_owned();
        PayloadError::Program { artifact: self.name, path: self.path.to_owned(), program, source }
    }
}

/// A fault while an archive is walked: of the archive, or one that is already told in full.
enum Fault {
    Archive(UnpackError),
    Told(PayloadError),
}

impl From<UnpackError> for Fault {
    fn from(error: UnpackError) -> Self {
        Self::Archive(error)
    }
}

/// Writes the image.
struct Baker<'a> {
    inputs: &'a PayloadInputs<'a>,
    folder: &'a Path,
    writer: Writer<'a, File>,
    task: Mutex<Box<dyn Task>>,
}

impl<'a> Baker<'a> {
    fn new(inputs: &'a PayloadInputs<'a>, folder: &'a Path, file: &'a File, task: Box<dyn Task>) -> Self {
        Self { inputs, folder, writer: Writer::new(file, LABEL, inputs.time), task: Mutex::new(task) }
    }

    /// Writes everything; returns what the image holds, sorted by path, the manifest included.
    fn run(self) -> Result<Vec<Program>, PayloadError> {
        let Self { inputs, folder, mut writer, task } = self;
        let PayloadInputs { arch, .. } = *inputs;
        let fail = |source| PayloadError::Write { folder: folder.to_owned(), source };
        for folder in ["/bin", "/cni"] {
            writer.directory(folder, 0o755).map_err(fail)?;
        }
        let mut copies = Vec::new();
        for (name, path) in [("runc", inputs.runc), ("kubelet", inputs.kubelet)] {
            let artifact = Artifact { name, path };
            let (file, size) = artifact.open()?;
            let program = format!("/bin/{name}");
            let slot = writer.file(&program, 0o755, size).map_err(fail)?;
            copies.push((artifact, program, size, Counted { inner: file, task: &task }, slot));
        }
        let containerd = Artifact { name: "containerd", path: inputs.containerd };
        let cni_plugins = Artifact { name: "CNI plugins", path: inputs.cni_plugins };
        let archives = [containerd.open()?.0, cni_plugins.open()?.0].map(|inner| Counted { inner, task: &task });

        let mut programs = thread::scope(|scope| {
            let copying = scope.spawn(move || {
                let copy =
                    |(artifact, program, size, mut file, slot): (Artifact<'_>, String, u64, _, Slot<'_, File>)| {
                        let filled = fill(arch, artifact, folder, &program, slot, &mut file)?;
                        Ok((program, size, filled))
                    };
                copies.into_iter().map(copy).collect::<Result<Vec<_>, PayloadError>>()
            });
            let [containerd_tar, plugins_tar] = archives.map(|archive| gunzip::spawn(scope, archive));
            let mut programs = Vec::new();
            let mut baker = ArchiveBaker { arch, folder, writer: &mut writer, programs: &mut programs };
            baker.containerd(containerd, containerd_tar)?;
            baker.plugins(cni_plugins, plugins_tar)?;
            let written = copying.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
            for (path, size, filled) in written {
                programs.push(Program { path, sha256: filled.digest(), size });
                writer.accept(&filled);
            }
            Ok(programs)
        })?;

        programs.sort();
        let manifest = json(&Manifest { name: "nodebake-payload", arch: arch.to_string(), files: &programs });
        let sha256 = writer.add("/payload.json", 0o644, &manifest).map_err(fail)?;
        programs.push(Program { path: "/payload.json".to_owned(), sha256, size: manifest.len() as u64 });
        writer.finish().map_err(fail)?;
        task.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner).done();
        Ok(programs)
    }
}

/// Writes what the payload takes from archives.
struct ArchiveBaker<'w, 't> {
    arch: Arch,
    folder: &'w Path,
    writer: &'w mut Writer<'t, File>,
    programs: &'w mut Vec<Program>,
}

impl ArchiveBaker<'_, '_> {
    fn containerd(&mut self, artifact: Artifact<'_>, tar: impl Read) -> Result<(), PayloadError> {
        self.walk(artifact, tar, |baker, member| {
            if !CONTAINERD.contains(&member.path.as_str()) {
                return Ok(());
            }
            let program = format!("/{}", member.path);
            baker.add(artifact, program, member.size, member.data)
        })?;
        self.require(artifact, "/", &CONTAINERD)
    }

    /// All programs at the top of the archive; what is no program there (LICENSE, README.md) is left out.
    fn plugins(&mut self, artifact: Artifact<'_>, tar: impl Read) -> Result<(), PayloadError> {
        self.walk(artifact, tar, |baker, member| {
            if member.path.contains('/') {
                return Ok(());
            }
            let read = |source| artifact.refused(UnpackError::Read { source });
            let head = head(member.data).map_err(read)?;
            if !elf::is_elf(&head) {
                return Ok(());
            }
            baker.add(artifact, format!("/cni/{}", member.path), member.size, head.as_slice().chain(member.data))
        })?;
        self.require(artifact, "/cni/", &PLUGINS)
    }

    fn walk(
        &mut self,
        artifact: Artifact<'_>,
        tar: impl Read,
        mut visit: impl FnMut(&mut Self, Member<'_>) -> Result<(), PayloadError>,
    ) -> Result<(), PayloadError> {
        unpack::files(tar, LIMITS, |member| visit(self, member).map_err(Fault::Told)).map_err(|fault| match fault {
            Fault::Archive(source) => artifact.refused(source),
            Fault::Told(error) => error,
        })
    }

    fn add(
        &mut self,
        artifact: Artifact<'_>,
        path: String,
        size: u64,
        mut data: impl Read,
    ) -> Result<(), PayloadError> {
        let slot = self.writer.file(&path, 0o755, size);
        let slot = slot.map_err(|source| PayloadError::Write { folder: self.folder.to_owned(), source })?;
        let filled = fill(self.arch, artifact, self.folder, &path, slot, &mut data)?;
        self.programs.push(Program { path, sha256: filled.digest(), size });
        self.writer.accept(&filled);
        Ok(())
    }

    fn require(&self, artifact: Artifact<'_>, folder: &str, programs: &[&str]) -> Result<(), PayloadError> {
        let there = |program: &&&str| self.programs.iter().any(|found| found.path == format!("{folder}{program}"));
        match programs.iter().find(|program| !there(program)) {
            None => Ok(()),
            Some(program) => Err(PayloadError::Missing {
                artifact: artifact.name,
                path: artifact.path.to_owned(),
                program: (*program).to_owned(),
            }),
        }
    }
}

/// Fills a slot with a program, once its head shows that the nodes can run it.
fn fill(
    arch: Arch,
    artifact: Artifact<'_>,
    folder: &Path,
    program: &str,
    slot: Slot<'_, File>,
    data: &mut impl Read,
) -> Result<super::iso9660::Filled, PayloadError> {
    let damaged = |source| PayloadError::Damaged { artifact: artifact.name, path: artifact.path.to_owned(), source };
    let head = head(data).map_err(|source| damaged(WriteError::Input { path: program.to_owned(), source }))?;
    elf::check(&head, arch).map_err(|source| artifact.unfit(program, source))?;
    slot.fill(&mut head.as_slice().chain(data)).map_err(|error| match error {
        WriteError::Input { .. } | WriteError::Size { .. } => damaged(error),
        source => PayloadError::Write { folder: folder.to_owned(), source },
    })
}

/// The first bytes of a file: enough for [`elf::check`], or all that there is.
fn head(data: &mut (impl Read + ?Sized)) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    data.take(elf::HEAD as u64).read_to_end(&mut head)?;
    Ok(head)
}

/// Reads the image back: everything must be as it was written. Meanwhile it goes to disk and its digest is taken.
fn check(file: &File, folder: &Path, time: Time, programs: &[Program]) -> Result<(Digest, u64), PayloadError> {
    let failed = |source| PayloadError::Output { path: folder.to_owned(), source };
    thread::scope(|scope| {
        let on_disk = scope.spawn(|| file.sync_all());
        let digest = scope.spawn(|| Digest::of_reader(&mut &*file));
        let compared = compare(file, time, programs);
        let digest = digest.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)).map_err(failed);
        on_disk.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)).map_err(failed)?;
        compared?;
        Ok((digest?, file.metadata().map_err(failed)?.len()))
    })
}

fn compare(file: &File, time: Time, programs: &[Program]) -> Result<(), PayloadError> {
    let image = Image::open(file)
        .map_err(|source| PayloadError::ReadBack { what: "its directories".to_owned(), source: Some(source) })?;
    let differs = |what: &str| PayloadError::ReadBack { what: what.to_owned(), source: None };
    let mut wanted: Vec<_> = ["/", "/bin", "/cni"].map(|path| (path.to_owned(), Kind::Directory, 0o755, 0)).into();
    wanted.extend(programs.iter().map(|program| {
        let mode = if program.path == "/payload.json" { 0o644 } else { 0o755 };
        (program.path.clone(), Kind::File, mode, program.size)
    }));
    wanted.sort_by(|a, b| a.0.cmp(&b.0));
    let root_owned = |entry: &Entry| (entry.uid, entry.gid, entry.modified) == (0, 0, time);
    let got = image.entries().iter().map(|entry| (entry.path.clone(), entry.kind.clone(), entry.mode, entry.size));
    if image.label() != LABEL.as_str() || !got.eq(wanted) || !image.entries().iter().all(root_owned) {
        return Err(differs("its directories"));
    }
    for program in programs {
        let entry = image.entry(&program.path).ok_or_else(|| differs(&program.path))?;
        let read =
            |source| PayloadError::ReadBack { what: program.path.clone(), source: Some(ReadError::Io { source }) };
        if Digest::of_reader(&mut image.file(entry)).map_err(read)? != program.sha256 {
            return Err(differs(&program.path));
        }
    }
    Ok(())
}

/// Reports what is read from an artifact.
struct Counted<'t> {
    inner: File,
    task: &'t Mutex<Box<dyn Task>>,
}

impl Read for Counted<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(bytes)?;
        self.task.lock().unwrap_or_else(std::sync::PoisonError::into_inner).advance(count as u64);
        Ok(count)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::error::Error;
    use std::os::unix::fs::MetadataExt as _;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;
    use crate::progress::Silent;

    const PROGRAM: &[u8] = b"\x7FELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x3E\0 and so on";
    const FOREIGN: &[u8] = b"\x7FELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\xB7\0 and so on";

    fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        for (path, data) in files {
            let mut header = tar::Header::new_gnu();
            header.set_mode(0o755);
            header.set_uid(1001);
            header.set_size(data.len() as u64);
            builder.append_data(&mut header, path, *data).unwrap();
        }
        builder.into_inner().unwrap().finish().unwrap()
    }

    /// A folder with the four artifacts; `change` may spoil them before they are written.
    struct Artifacts {
        folder: tempfile::TempDir,
    }

    impl Artifacts {
        fn new(change: impl FnOnce(&mut [Vec<u8>; 4])) -> Self {
            let containerd = archive(&[
                ("bin/containerd-shim-runc-v2", &[PROGRAM, b"shim"].concat()),
                ("bin/containerd", &[PROGRAM, &[7; 5000]].concat()),
                ("bin/containerd-stress", PROGRAM),
                ("bin/ctr", PROGRAM),
            ]);
            let plugins = archive(&[
                ("./LICENSE", b"words"),
                ("./bridge", &[PROGRAM, b"bridge"].concat()),
                ("./host-local", PROGRAM),
                ("./loopback", PROGRAM),
                ("./portmap", PROGRAM),
            ]);
            let mut files = [[PROGRAM, b"kubelet"].concat(), containerd, [PROGRAM, b"runc"].concat(), plugins];
            change(&mut files);
            let folder = tempfile::tempdir().unwrap();
            for (name, bytes) in ["kubelet", "containerd", "runc", "cni"].iter().zip(files) {
                fs::write(folder.path().join(name), bytes).unwrap();
            }
            Self { folder }
        }

        fn bake(&self, out: &Path) -> Result<Payload, PayloadError> {
            let path = |name| self.folder.path().join(name);
            let inputs = PayloadInputs {
                arch: Arch::Amd64,
                kubelet: &path("kubelet"),
                containerd: &path("containerd"),
                runc: &path("runc"),
                cni_plugins: &path("cni"),
                time: Time::FIXED,
                inputs: Digest::of(b"inputs"),
            };
            bake(&inputs, out, &Silent).map(|(payload, _)| payload)
        }
    }

    #[test]
    fn holds_the_programs_and_says_so() {
        let out = tempfile::tempdir().unwrap();
        let payload = Artifacts::new(|_| {}).bake(out.path()).unwrap();
        let bytes = fs::read(&payload.path).unwrap();
        let digest = Digest::of(&bytes);
        let path = out.path().join(format!("payload-{}.iso", digest.short()));
        assert_eq!(payload, Payload { path, digest, size: bytes.len() as u64 });
        assert_eq!(fs::metadata(&payload.path).unwrap().mode(), 0o100_644);

        let image = Image::open(bytes.as_slice()).unwrap();
        assert_eq!(image.label(), "NODEBAKE_PAYLOAD");
        let wanted = [
            ("/bin/containerd", [PROGRAM, &[7; 5000]].concat()),
            ("/bin/containerd-shim-runc-v2", [PROGRAM, b"shim"].concat()),
            ("/bin/ctr", PROGRAM.to_vec()),
            ("/bin/kubelet", [PROGRAM, b"kubelet"].concat()),
            ("/bin/runc", [PROGRAM, b"runc"].concat()),
            ("/cni/bridge", [PROGRAM, b"bridge"].concat()),
            ("/cni/host-local", PROGRAM.to_vec()),
            ("/cni/loopback", PROGRAM.to_vec()),
            ("/cni/portmap", PROGRAM.to_vec()),
        ];
        let files: Vec<_> = wanted
            .iter()
            .map(|(path, data)| serde_json::json!({"path": path, "sha256": Digest::of(data), "size": data.len()}))
            .collect();
        let manifest = serde_json::json!({"name": "nodebake-payload", "arch": "amd64", "files": files});
        let mut got = Vec::new();
        for entry in image.entries().iter().filter(|entry| entry.kind == Kind::File) {
            let data = image.read(entry, 1 << 20).unwrap().unwrap();
            if entry.path == "/payload.json" {
                assert_eq!(serde_json::from_slice::<serde_json::Value>(&data).unwrap(), manifest);
                assert_eq!(entry.mode, 0o644);
            } else {
                assert_eq!(entry.mode, 0o755);
                got.push((entry.path.clone(), data));
            }
        }
        assert_eq!(got, wanted.map(|(path, data)| (path.to_owned(), data)));
    }

    #[test]
    fn same_inputs_give_the_same_bytes_and_are_found_again() {
        let out = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let artifacts = Artifacts::new(|_| {});
        let [first, second] = out.each_ref().map(|out| artifacts.bake(out.path()).unwrap());
        assert_eq!((first.digest, first.size), (second.digest, second.size));
        assert_eq!(fs::read(&first.path).unwrap(), fs::read(&second.path).unwrap());
        let sidecars = [&first, &second].map(|payload| fs::read(payload.path.with_extension("json")).unwrap());
        assert_eq!(sidecars[0], sidecars[1]);
        assert_eq!(fs::read_dir(out[0].path()).unwrap().count(), 2);

        let folder = out[0].path();
        assert_eq!(find(folder, Digest::of(b"inputs")), Some(first.clone()));
        assert_eq!(find(folder, Digest::of(b"others")), None);
        File::options().write(true).open(&first.path).unwrap().set_len(first.size - 1).unwrap();
        assert_eq!(find(folder, Digest::of(b"inputs")), None);
        fs::remove_file(&first.path).unwrap();
        assert_eq!(find(folder, Digest::of(b"inputs")), None);
        assert_eq!(find(&folder.join("nowhere"), Digest::of(b"inputs")), None);
    }

    #[test]
    fn inputs_are_told_apart() {
        let digest = |arch, time, checksums| inputs_digest(arch, time, checksums);
        let later = Time::from_unix(0).unwrap();
        let all = [
            digest(Arch::Amd64, Time::FIXED, ["a", "b", "c", "d"]),
            digest(Arch::Arm64, Time::FIXED, ["a", "b", "c", "d"]),
            digest(Arch::Amd64, later, ["a", "b", "c", "d"]),
            digest(Arch::Amd64, Time::FIXED, ["b", "a", "c", "d"]),
            digest(Arch::Amd64, Time::FIXED, ["a", "b", "c", "e"]),
        ];
        assert_eq!(std::collections::HashSet::from(all).len(), all.len());
    }

    #[test]
    fn faults_name_the_artifact_and_leave_nothing() {
        type Change = fn(&mut [Vec<u8>; 4]);
        let cases: [(Change, &str); 8] = [
            (
                |files| files[0] = FOREIGN.to_vec(),
                "/bin/kubelet of kubelet (F/kubelet) cannot run on the nodes: \
                 it is not built for amd64 (ELF machine 183)",
            ),
            (
                |files| files[2] = b"<html>".to_vec(),
                "/bin/runc of runc (F/runc) cannot run on the nodes: it is not an ELF program",
            ),
            (
                |files| files[1].truncate(100),
                "the archive of containerd (F/containerd) is refused: it cannot be read as an archive: \
                 incomplete deflate stream",
            ),
            (
                |files| {
                    let crc = files[3].len() - 8;
                    files[3][crc] ^= 1;
                },
                "the archive of CNI plugins (F/cni) is refused: it cannot be read as an archive: \
                 corrupt gzip stream does not have a matching checksum",
            ),
            (
                |files| files[1] = archive(&[("bin/containerd", PROGRAM), ("bin/ctr", PROGRAM)]),
                "the archive of containerd (F/containerd) holds no bin/containerd-shim-runc-v2",
            ),
            (
                |files| files[1] = archive(&[("bin/ctr", FOREIGN)]),
                "/bin/ctr of containerd (F/containerd) cannot run on the nodes: \
                 it is not built for amd64 (ELF machine 183)",
            ),
            (
                |files| files[3] = archive(&[("bridge", PROGRAM), ("bridge", PROGRAM)]),
                "the archive of CNI plugins (F/cni) is refused: entry \"bridge\" is refused: it is there twice",
            ),
            (
                |files| files[3] = archive(&[("plugins/bridge", PROGRAM)]),
                "the archive of CNI plugins (F/cni) holds no bridge",
            ),
        ];
        for (change, wanted) in cases {
            let out = tempfile::tempdir().unwrap();
            let artifacts = Artifacts::new(change);
            let error = artifacts.bake(out.path()).unwrap_err();
            let chain = std::iter::successors(Some(&error as &dyn Error), |error: &&dyn Error| (*error).source());
            let text = chain.map(ToString::to_string).collect::<Vec<_>>().join(": ");
            assert_eq!(text.replace(artifacts.folder.path().to_str().unwrap(), "F"), wanted);
            assert!(error.hint().is_some());
            assert_eq!(fs::read_dir(out.path()).unwrap().count(), 0, "nothing is left");
        }
    }
}
