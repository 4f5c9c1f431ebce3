//! Writes a payload.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::path::Path;
use std::sync::mpsc::Sender;
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread;

use flate2::read::MultiGzDecoder;
use serde::Serialize;

use super::input::{Input, SharedTask};
use super::places::{Places, Turn};
use super::{Ingredient, LABEL, MANIFEST, NAME, PayloadError, PayloadInputs, check, json};
use crate::artifacts::Kind;
use crate::config::Arch;
use crate::digest::Digest;
use crate::image::contents::{PayloadContents, PreloadedImage};
use crate::image::iso9660::{Slot, WriteError, Writer};
use crate::image::unpack::{self, Limits, Member, UnpackError};
use crate::image::{container_image, deb, elf};
use crate::progress::Progress;

/// Upstream's largest archive is below 200 MB unpacked and has some twenty entries.
const LIMITS: Limits = Limits { entries: 1000, bytes: 4 << 30 };

/// Compressed data is read in pieces of this size.
const PIECE: usize = 128 << 10;

/// Programs taken from containerd's archive.
const CONTAINERD: [&str; 3] = ["bin/containerd", "bin/containerd-shim-runc-v2", "bin/ctr"];
/// Plugins without which no usual CNI works.
const PLUGINS: [&str; 4] = ["bridge", "host-local", "loopback", "portmap"];

/// What [`write`] made.
pub(super) struct Baked {
    pub(super) digest: Digest,
    pub(super) size: u64,
    pub(super) contents: PayloadContents,
}

/// A file in the payload.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct Planned {
    pub(super) path: String,
    pub(super) size: u64,
    #[serde(skip)]
    pub(super) mode: u32,
}

/// `payload.json` in the payload.
#[derive(Serialize)]
struct Manifest<'a> {
    name: &'static str,
    arch: String,
    files: &'a [Planned],
}

/// CRC-32 of each file that was written, by its path.
pub(super) type Sums = HashMap<String, u32>;

/// Writes a payload to an empty file, reads it back and brings it to disk.
pub(super) fn write(
    inputs: &PayloadInputs,
    folder: &Path,
    file: &File,
    progress: &dyn Progress,
) -> Result<Baked, PayloadError> {
    let size = inputs.ingredients.iter().map(|ingredient| Some(ingredient.path.metadata().ok()?.len())).sum();
    let task = Mutex::new(progress.task(&format!("bake payload {}", inputs.arch), size));
    let baked = Baker { inputs, folder, file, task: &task }.run()?;
    task.into_inner().unwrap_or_else(PoisonError::into_inner).done();
    Ok(baked)
}

struct Baker<'a> {
    inputs: &'a PayloadInputs,
    folder: &'a Path,
    file: &'a File,
    task: &'a SharedTask,
}

/// A file that is copied as it is.
struct Copy<'a> {
    ingredient: &'a Ingredient,
    input: Input<'a>,
    planned: Planned,
    slot: Slot<'a, File>,
}

impl<'a> Baker<'a> {
    fn run(&self) -> Result<Baked, PayloadError> {
        let writer = Writer::new(self.file, LABEL, self.inputs.time);
        let (mut writer, mut files, mut sums) = self.archives(writer)?;
        let copies = self.plan_copies(&mut writer)?;
        files.extend(copies.iter().map(|copy| copy.planned.clone()));
        let mut images = Vec::new();
        for ingredient in self.inputs.of(Kind::ContainerImage) {
            let (planned, sum, references) = self.image(ingredient, &mut writer)?;
            images.push(PreloadedImage { file: planned.path["/images/".len()..].to_owned(), references });
            sums.insert(planned.path.clone(), sum);
            files.push(planned);
        }
        files.sort();
        self.manifest(&mut writer, &mut files, &mut sums)?;
        let size = writer.finish(self.inputs.digest()).map_err(self.unwritten())?;
        let digest = self.rest(copies, &files, sums)?;
        let names = |kind| self.inputs.of(kind).map(|ingredient| ingredient.name.clone()).collect();
        let contents = PayloadContents { binaries: names(Kind::Binary), packages: names(Kind::Package), images };
        Ok(Baked { digest, size, contents })
    }

    fn unwritten(&self) -> impl Fn(WriteError) -> PayloadError {
        |source| PayloadError::Write { folder: self.folder.to_owned(), source }
    }

    /// Writes what comes from archives.
    fn archives(&self, writer: Writer<'a, File>) -> Result<(Writer<'a, File>, Vec<Planned>, Sums), PayloadError> {
        let containerd = self.inputs.only(Kind::Containerd)?;
        let plugins = self.inputs.only(Kind::CniPlugins)?;
        let places = Places::<2>::new(writer);
        let [first, second] = places.turns();
        let (containerd, plugins) = thread::scope(|scope| {
            let plugins = scope.spawn(move || ArchiveBaker::new(self, plugins, second).plugins());
            let containerd = ArchiveBaker::new(self, containerd, first).containerd();
            (containerd, plugins.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        });
        let (mut files, mut sums) = containerd?;
        let (more_files, more_sums) = plugins?;
        files.extend(more_files);
        sums.extend(more_sums);
        Ok((places.into_writer(), files, sums))
    }

    fn plan_copies(&self, writer: &mut Writer<'a, File>) -> Result<Vec<Copy<'a>>, PayloadError> {
        let mut copies = Vec::new();
        for kind in [Kind::Kubelet, Kind::Runc] {
            let path = format!("/bin/{kind}");
            copies.push(self.plan_copy(writer, self.inputs.only(kind)?, path, 0o755)?);
        }
        for ingredient in self.inputs.of(Kind::Binary) {
            let path = format!("/bin/{}", ingredient.name);
            copies.push(self.plan_copy(writer, ingredient, path, 0o755)?);
        }
        for ingredient in self.inputs.of(Kind::Package) {
            let path = format!("/packages/{}", ingredient.name);
            copies.push(self.plan_copy(writer, ingredient, path, 0o644)?);
        }
        Ok(copies)
    }

    fn plan_copy(
        &self,
        writer: &mut Writer<'a, File>,
        ingredient: &'a Ingredient,
        path: String,
        mode: u32,
    ) -> Result<Copy<'a>, PayloadError> {
        let input = ingredient.open(self.task)?;
        let planned = Planned { path, size: input.size(), mode };
        let slot = writer.file(&planned.path, planned.mode, planned.size);
        let slot = slot.map_err(|error| self.unplaced(ingredient, error))?;
        Ok(Copy { ingredient, input, planned, slot })
    }

    fn unplaced(&self, ingredient: &Ingredient, error: WriteError) -> PayloadError {
        match error {
            WriteError::Duplicate { path } => PayloadError::Clash { artifact: ingredient.title(), place: path },
            source => self.unwritten()(source),
        }
    }

    /// Writes an archive of container images, decompressed, and looks into it as it passes; returns what it is in the
    /// payload, its CRC-32 and the references of its images.
    fn image(
        &self,
        ingredient: &Ingredient,
        writer: &mut Writer<'a, File>,
    ) -> Result<(Planned, u32, Vec<String>), PayloadError> {
        let stem = [".tar.gz", ".tgz", ".tar"].iter().find_map(|ending| ingredient.name.strip_suffix(ending));
        let path = format!("/images/{}.tar", stem.unwrap_or(&ingredient.name));
        let mut input = ingredient.open(self.task)?;
        let mut growing = writer.grow();
        let mut unwritten = None;
        let mut tee = Tee { data: plain(&mut input), copy: &mut growing, error: &mut unwritten };
        let examined = container_image::examine(&mut tee, self.inputs.arch);
        // An archive ends in zeros; whatever is after those that were read is refused with it.
        drop(tee);
        if let Some(source) = unwritten {
            return Err(self.unwritten()(WriteError::Output { source }));
        }
        let references = examined.map_err(|source| {
            let (artifact, path) = (ingredient.title(), ingredient.path.clone());
            ingredient.judge(PayloadError::Image { artifact, path, source: Box::new(source) })
        })?;
        input.verify()?;
        let finished = growing.finish(&path, 0o644);
        let (size, sum) = finished.map_err(|error| self.unplaced(ingredient, error))?;
        Ok((Planned { path, size, mode: 0o644 }, sum, references))
    }

    fn manifest(
        &self,
        writer: &mut Writer<'a, File>,
        files: &mut Vec<Planned>,
        sums: &mut Sums,
    ) -> Result<(), PayloadError> {
        let text = json(&Manifest { name: NAME, arch: self.inputs.arch.to_string(), files });
        let planned = Planned { path: MANIFEST.to_owned(), size: text.len() as u64, mode: 0o644 };
        let slot = writer.file(&planned.path, planned.mode, planned.size).map_err(self.unwritten())?;
        sums.insert(planned.path.clone(), slot.fill(&mut text.as_slice()).map_err(self.unwritten())?);
        files.push(planned);
        Ok(())
    }

    /// Copies what is no archive, and meanwhile reads back what is written and brings it to disk.
    fn rest(&self, copies: Vec<Copy<'_>>, files: &[Planned], sums: Sums) -> Result<Digest, PayloadError> {
        let unsynced = |source| PayloadError::Output { path: self.folder.to_owned(), source };
        thread::scope(|scope| {
            let (send, written) = mpsc::channel();
            // What the archives gave is on its way to disk before the copies are there: little is left to wait for then.
            let early = scope.spawn(|| self.file.sync_data().map_err(unsynced));
            let copying = scope.spawn(move || {
                self.copy(copies, &send)?;
                // Else whoever waits for more would wait for the disk too.
                drop(send);
                self.file.sync_all().map_err(unsynced)
            });
            let digest = check::read_back(self.file, self.inputs.time, files, sums, &written);
            copying.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
            early.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
            digest
        })
    }

    fn copy(&self, copies: Vec<Copy<'_>>, written: &Sender<(String, u32)>) -> Result<(), PayloadError> {
        for Copy { ingredient, mut input, planned, slot } in copies {
            let (artifact, path) = (ingredient.title(), ingredient.path.clone());
            let filled = if ingredient.kind == Kind::Package {
                check_package(ingredient, self.inputs.arch).map_err(|error| ingredient.judge(error))?;
                self.pour(slot, &mut input)
            } else {
                self.fill(ingredient, &planned.path, slot, &mut input)
            };
            let sum = filled.map_err(|fault| {
                ingredient.judge(match fault {
                    Fault::Read(source) => PayloadError::Read { artifact, path, source },
                    Fault::Told(error) => error,
                })
            })?;
            input.verify()?;
            // Nobody listens once reading back has failed.
            let _ = written.send((planned.path, sum));
        }
        Ok(())
    }

    /// Fills a slot with a program, once its head shows that the nodes can run it; returns its CRC-32.
    fn fill(
        &self,
        ingredient: &Ingredient,
        program: &str,
        slot: Slot<'_, File>,
        data: &mut impl Read,
    ) -> Result<u32, Fault> {
        let head = head(data).map_err(Fault::Read)?;
        check_program(&head, self.inputs.arch, ingredient, program).map_err(Fault::Told)?;
        self.pour(slot, &mut head.as_slice().chain(data))
    }

    fn pour(&self, slot: Slot<'_, File>, data: &mut impl Read) -> Result<u32, Fault> {
        slot.fill(data).map_err(|error| match error {
            WriteError::Input { source, .. } => Fault::Read(source),
            // A file that was cut or went on growing.
            WriteError::Size { .. } => Fault::Read(io::Error::new(io::ErrorKind::UnexpectedEof, error)),
            source => Fault::Told(self.unwritten()(source)),
        })
    }
}

fn check_program(head: &[u8], arch: Arch, ingredient: &Ingredient, program: &str) -> Result<(), PayloadError> {
    elf::check(head, arch).map_err(|source| PayloadError::Program {
        artifact: ingredient.title(),
        path: ingredient.path.clone(),
        program: program.to_owned(),
        source,
    })
}

fn check_package(ingredient: &Ingredient, arch: Arch) -> Result<(), PayloadError> {
    let (artifact, path) = (ingredient.title(), ingredient.path.clone());
    let file = match File::open(&path) {
        Ok(file) => BufReader::with_capacity(PIECE, file),
        Err(source) => return Err(PayloadError::Open { artifact, path, source }),
    };
    deb::examine(file, arch).map_err(|source| PayloadError::Package { artifact, path, source: Box::new(source) })
}

/// A tar that may be compressed: told by the first two bytes of gzip (RFC 1952), which no tar begins with.
fn plain<'i>(input: &'i mut Input<'_>) -> Box<dyn Read + 'i> {
    let mut input = BufReader::with_capacity(PIECE, input);
    match input.fill_buf() {
        Ok([0x1F, 0x8B, ..]) => Box::new(MultiGzDecoder::new(input)),
        // A fault comes again at the first read.
        _ => Box::new(input),
    }
}

/// Copies what is read; a fault of the copy is kept apart from those of the data.
struct Tee<'t, R, W> {
    data: R,
    copy: &'t mut W,
    error: &'t mut Option<io::Error>,
}

impl<R: Read, W: Write> Read for Tee<'_, R, W> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let count = self.data.read(bytes)?;
        self.copy.write_all(&bytes[..count]).map_err(|error| {
            let kind = error.kind();
            *self.error = Some(error);
            io::Error::from(kind)
        })?;
        Ok(count)
    }
}

/// The first bytes of a file: enough for [`elf::check`], or all that there is.
fn head(data: &mut (impl Read + ?Sized)) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    data.take(elf::HEAD as u64).read_to_end(&mut head)?;
    Ok(head)
}

/// What goes wrong while data passes: it cannot be read, or something that is told in full already.
enum Fault {
    Read(io::Error),
    Told(PayloadError),
}

/// The same while an archive is walked.
enum ArchiveFault {
    Archive(UnpackError),
    Told(PayloadError),
}

impl From<UnpackError> for ArchiveFault {
    fn from(error: UnpackError) -> Self {
        Self::Archive(error)
    }
}

impl From<Fault> for ArchiveFault {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Read(source) => Self::Archive(UnpackError::Read { source }),
            Fault::Told(error) => Self::Told(error),
        }
    }
}

/// Writes what the payload takes from an archive.
struct ArchiveBaker<'b, 'a, 'p> {
    baker: &'b Baker<'a>,
    ingredient: &'b Ingredient,
    turn: Turn<'p, 'a, 2>,
    files: Vec<Planned>,
    sums: Sums,
}

type FromArchive = Result<(Vec<Planned>, Sums), PayloadError>;

impl<'b, 'a, 'p> ArchiveBaker<'b, 'a, 'p> {
    fn new(baker: &'b Baker<'a>, ingredient: &'b Ingredient, turn: Turn<'p, 'a, 2>) -> Self {
        Self { baker, ingredient, turn, files: Vec::new(), sums: Sums::new() }
    }

    fn containerd(mut self) -> FromArchive {
        self.walk(|archive, member| {
            if CONTAINERD.contains(&member.path.as_str()) {
                let program = format!("/{}", member.path);
                archive.add(program, member, &[])
            } else {
                archive.turn.pass(&member);
                Ok(())
            }
        })?;
        self.done("/", &CONTAINERD)
    }

    /// All programs at the top of the archive; what is no program there (LICENSE, README.md) is left out.
    fn plugins(mut self) -> FromArchive {
        self.walk(|archive, member| {
            if !member.path.contains('/') {
                let head = head(member.data).map_err(Fault::Read)?;
                if elf::is_elf(&head) {
                    return archive.add(format!("/cni/{}", member.path), member, &head);
                }
            }
            archive.turn.pass(&member);
            Ok(())
        })?;
        self.done("/cni/", &PLUGINS)
    }

    fn walk(
        &mut self,
        mut visit: impl FnMut(&mut Self, Member<'_>) -> Result<(), ArchiveFault>,
    ) -> Result<(), PayloadError> {
        let ingredient = self.ingredient;
        let mut input = ingredient.open(self.baker.task)?;
        let tar = MultiGzDecoder::new(BufReader::with_capacity(PIECE, &mut input));
        let walked = unpack::files(tar, LIMITS, |member| visit(self, member));
        walked.map_err(|fault| {
            ingredient.judge(match fault {
                ArchiveFault::Archive(source) => {
                    let (artifact, path) = (ingredient.title(), ingredient.path.clone());
                    PayloadError::Archive { artifact, path, source }
                }
                ArchiveFault::Told(error) => error,
            })
        })?;
        input.verify()
    }

    /// Writes a program of which `head` was read already.
    fn add(&mut self, path: String, member: Member<'_>, head: &[u8]) -> Result<(), ArchiveFault> {
        let mode = 0o755;
        let slot = self.turn.place(&member, &path, mode);
        let slot = slot.map_err(|source| ArchiveFault::Told(self.baker.unwritten()(source)))?;
        let sum = self.baker.fill(self.ingredient, &path, slot, &mut head.chain(member.data))?;
        self.sums.insert(path.clone(), sum);
        self.files.push(Planned { path, size: member.size, mode });
        Ok(())
    }

    fn done(self, folder: &str, programs: &[&str]) -> FromArchive {
        let there = |program: &&&str| self.files.iter().any(|found| found.path == format!("{folder}{program}"));
        match programs.iter().find(|program| !there(program)) {
            None => Ok((self.files, self.sums)),
            Some(program) => Err(PayloadError::Missing {
                artifact: self.ingredient.title(),
                path: self.ingredient.path.clone(),
                program: (*program).to_owned(),
            }),
        }
    }
}
