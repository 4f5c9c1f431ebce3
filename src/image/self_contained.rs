//! The self-contained image: seed and payload in one, for machines that take a single drive.
//!
//! It is a seed (label CIDATA, mode 0600, the node's key in it) that also holds the payload's files, below
//! /nodebake/payload. The guest copies those to its disk first, so that the drive can leave like any seed's. The files come
//! out of a payload's image, whose bytes are hashed before; nothing of it is held in memory. What was written is read back
//! whole: what belongs to the seed against the bundle, every file of the payload by its CRC-32.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use flate2::Crc;

use super::iso9660::{Entry, Image, Kind, ReadError, Time, WriteError, Writer};
use super::seed::{self, Baked, LABEL, SECRET_MODE};
use super::{Payload, payload};
use crate::digest::Digest;
use crate::progress::{Progress, Task};
use crate::render::NodeBundle;
use crate::whole_file;

/// Where the payload's files stand in the image.
pub(super) const ROOT: &str = "/nodebake/payload";

/// Files are read back in pieces of this size.
const PIECE: usize = 256 << 10;

/// Why a self-contained image could not be made.
#[derive(Debug, thiserror::Error)]
pub enum SelfContainedError {
    /// The payload's image cannot be read.
    #[error("cannot read {}", path.display())]
    Payload {
        /// The payload's image.
        path: PathBuf,
        /// Why.
        #[source]
        source: ReadError,
    },
    /// The payload's image is not what it was when it was made.
    #[error("{} has changed: its digest is sha256:{got}, not sha256:{wanted}", path.display())]
    Changed {
        /// The payload's image.
        path: PathBuf,
        /// As it was made.
        wanted: Digest,
        /// As it is.
        got: Digest,
    },
    /// Something that an image cannot hold, or the disk.
    #[error("cannot make {}", path.display())]
    Write {
        /// The image.
        path: PathBuf,
        /// Why.
        #[source]
        source: WriteError,
    },
    /// What was written does not read back; a fault of nodebake or of the machine.
    #[error("{} does not read back as it was written: {what}", path.display())]
    ReadBack {
        /// The image.
        path: PathBuf,
        /// The first difference.
        what: String,
        /// The reader's complaint, if it has one.
        #[source]
        source: Option<ReadError>,
    },
    /// The file could not be made or get its name.
    #[error("cannot write {}", path.display())]
    Output {
        /// The image.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl SelfContainedError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Payload { path, .. } | Self::Changed { path, .. } => {
                Some(format!("remove {}, then run `nodebake build` again", path.display()))
            }
            Self::Write { source, .. } => source.hint(),
            Self::ReadBack { .. } => None,
            Self::Output { source, .. } => whole_file::hint(source),
        }
    }
}

/// Writes the image to `path`, with mode 0600 from its first byte; the folder must exist. The same bytes that are there
/// already stay as they are.
pub fn bake(
    bundle: &NodeBundle,
    payload: &Payload,
    time: Time,
    path: &Path,
    progress: &dyn Progress,
) -> Result<Baked, SelfContainedError> {
    let output = |source| SelfContainedError::Output { path: path.to_owned(), source };
    let task = progress.task(&format!("bake {} of {}", file_name(path), bundle.node), Some(payload.size));
    let source = Source::open(payload)?;
    let file = whole_file::begin(path).map_err(output)?;
    let baking = Baking { bundle, source: &source, time, path, file: file.as_file() };
    let sums = baking.write(&*task)?;
    let (digest, size) = baking.read_back(&sums)?;
    let baked = Baked { digest, size, changed: !stands(path, digest, size) };
    if baked.changed {
        whole_file::publish(file, SECRET_MODE, path).map_err(output)?;
    }
    task.done();
    Ok(baked)
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// A regular file of mode 0600 with these bytes is there already.
fn stands(path: &Path, digest: Digest, size: u64) -> bool {
    let same_shape = fs::symlink_metadata(path).is_ok_and(|found| {
        found.is_file() && found.len() == size && found.permissions().mode() & 0o7777 == SECRET_MODE
    });
    let read = || Digest::of_reader(&mut File::open(path)?);
    same_shape && read().is_ok_and(|found| found == digest)
}

/// A payload whose bytes are what they should be.
struct Source<'p> {
    payload: &'p Payload,
    image: Image<File>,
}

impl<'p> Source<'p> {
    fn open(payload: &'p Payload) -> Result<Self, SelfContainedError> {
        let fail = |source| SelfContainedError::Payload { path: payload.path.clone(), source };
        let mut file = File::open(&payload.path).map_err(|source| fail(ReadError::Io { source }))?;
        let got = Digest::of_reader(&mut file).map_err(|source| fail(ReadError::Io { source }))?;
        if got != payload.digest {
            return Err(SelfContainedError::Changed { path: payload.path.clone(), wanted: payload.digest, got });
        }
        let image = Image::open(file).map_err(fail)?;
        if image.label() != payload::LABEL.as_str() {
            return Err(fail(ReadError::Descriptor { why: "its label is not a payload's" }));
        }
        Ok(Self { payload, image })
    }

    fn folders(&self) -> impl Iterator<Item = &Entry> {
        self.image.entries().iter().filter(|entry| entry.kind == Kind::Directory)
    }

    /// In the order in which they stand in the image: it is read from front to back.
    fn files(&self) -> Vec<&Entry> {
        let mut files: Vec<_> = self.image.entries().iter().filter(|entry| entry.kind == Kind::File).collect();
        files.sort_by_key(|entry| entry.spans().next());
        files
    }
}

/// Where something of the payload stands in the image.
fn place(entry: &Entry) -> String {
    if entry.path == "/" { ROOT.to_owned() } else { format!("{ROOT}{}", entry.path) }
}

/// An image that is being made.
struct Baking<'a> {
    bundle: &'a NodeBundle,
    source: &'a Source<'a>,
    time: Time,
    path: &'a Path,
    file: &'a File,
}

impl Baking<'_> {
    /// Writes it; gives the CRC-32 of each file of the payload, in their order.
    fn write(&self, task: &dyn Task) -> Result<Vec<u32>, SelfContainedError> {
        let unwritten = |source| SelfContainedError::Write { path: self.path.to_owned(), source };
        let mut writer = Writer::new(self.file, LABEL, self.time);
        seed::write(&mut writer, self.bundle).map_err(unwritten)?;
        for folder in self.source.folders() {
            writer.directory(&place(folder), folder.mode).map_err(unwritten)?;
        }
        let mut sums = Vec::new();
        for entry in self.source.files() {
            let slot = writer.file(&place(entry), entry.mode, entry.size).map_err(unwritten)?;
            let mut data = Counted { data: self.source.image.file(entry), task };
            sums.push(slot.fill(&mut data).map_err(unwritten)?);
        }
        let identity = format!("{}\0{}", seed::identity(self.bundle), self.source.payload.digest);
        writer.finish(Digest::of(identity.as_bytes())).map_err(unwritten)?;
        Ok(sums)
    }

    /// Compares everything in the image with what it was made of; gives its digest and its size in bytes.
    fn read_back(&self, sums: &[u32]) -> Result<(Digest, u64), SelfContainedError> {
        let fail = |(what, source)| SelfContainedError::ReadBack { path: self.path.to_owned(), what, source };
        let image = Image::open(self.file).map_err(|source| fail(("the image".to_owned(), Some(source))))?;
        let files = self.source.files();
        seed::compare(&image, self.bundle, self.time, files.len()).map_err(fail)?;
        for wanted in self.source.folders() {
            self.entry(&image, wanted).map_err(fail)?;
        }
        for (wanted, sum) in files.into_iter().zip(sums) {
            let entry = self.entry(&image, wanted).map_err(fail)?;
            let got = checksum(image.file(entry)).map_err(|source| fail((place(wanted), Some(source))))?;
            if got != *sum {
                return Err(fail((place(wanted), None)));
            }
        }
        let digest = self.digest().map_err(|source| fail(("its bytes".to_owned(), Some(ReadError::Io { source }))))?;
        Ok((digest, image.size()))
    }

    fn entry<'i>(&self, image: &'i Image<&File>, wanted: &Entry) -> Result<&'i Entry, seed::Unlike> {
        let entry = image.entry(&place(wanted)).ok_or_else(|| (place(wanted), None))?;
        let look = |entry: &Entry| (entry.kind.clone(), entry.mode, entry.owner, entry.size);
        let same = look(entry) == look(wanted) && entry.modified == self.time;
        if same { Ok(entry) } else { Err((place(wanted), None)) }
    }

    fn digest(&self) -> io::Result<Digest> {
        use std::io::Seek as _;
        let mut file = self.file;
        file.rewind()?;
        Digest::of_reader(&mut file)
    }
}

fn checksum(mut data: impl Read) -> Result<u32, ReadError> {
    let (mut crc, mut piece) = (Crc::new(), vec![0; PIECE]);
    loop {
        match data.read(&mut piece).map_err(|source| ReadError::Io { source })? {
            0 => return Ok(crc.sum()),
            count => crc.update(&piece[..count]),
        }
    }
}

/// Tells how much was read.
struct Counted<'t, R> {
    data: R,
    task: &'t dyn Task,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let count = self.data.read(bytes)?;
        self.task.advance(count as u64);
        Ok(count)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;
    use crate::image::PayloadContents;
    use crate::progress::Silent;
    use crate::render::{Content, GuestFile};
    use crate::secret::Secret;

    fn bundle() -> NodeBundle {
        let file = |path: &str, content| GuestFile::new(path, content);
        NodeBundle {
            node: "worker-node-1".parse().unwrap(),
            user_data: "#cloud-config\n".to_owned(),
            vendor_data: "#cloud-boothook\n".to_owned(),
            meta_data: "instance-id: x\n".to_owned(),
            network_config: "version: 2\n".to_owned(),
            first_boot: "#!/bin/sh\n".to_owned(),
            root_password: None,
            files: vec![
                file("/etc/kubernetes/pki/node-key.pem", Content::Secret(Secret::new(*b"key"), 0o600)),
                file("/usr/local/bin/kubelet", Content::Link("/opt/nodebake/payload/bin/kubelet".to_owned())),
            ],
        }
    }

    fn kubelet() -> Vec<u8> {
        (0..700_000_u32).flat_map(u32::to_be_bytes).collect()
    }

    /// A payload of two files; what is written first stands first.
    fn payload(folder: &Path) -> Payload {
        let path = folder.join("payload.iso");
        let file = File::create_new(&path).unwrap();
        let mut writer = Writer::new(&file, payload::LABEL, Time::FIXED);
        writer.add("/payload.json", 0o644, b"{}\n").unwrap();
        writer.add("/bin/kubelet", 0o755, &kubelet()).unwrap();
        writer.finish(Digest::of(b"payload")).unwrap();
        let bytes = fs::read(&path).unwrap();
        let contents = PayloadContents::default();
        Payload { path, digest: Digest::of(&bytes), size: bytes.len() as u64, contents }
    }

    #[test]
    fn holds_seed_and_payload_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let (payload, path) = (payload(folder.path()), folder.path().join("self-contained.iso"));
        let baked = bake(&bundle(), &payload, Time::FIXED, &path, &Silent).unwrap();
        let bytes = fs::read(&path).unwrap();
        assert_eq!(baked, Baked { digest: Digest::of(&bytes), size: bytes.len() as u64, changed: true });
        let before = fs::metadata(&path).unwrap();
        assert_eq!(before.mode(), 0o100_600);
        let image = Image::open(bytes.as_slice()).unwrap();
        assert_eq!(image.label(), "CIDATA");
        let listing = image.entries().iter().map(|entry| (entry.path.as_str(), entry.mode, entry.size));
        let wanted = [
            ("/", 0o755, 0),
            ("/meta-data", 0o600, 15),
            ("/network-config", 0o600, 11),
            ("/nodebake", 0o700, 0),
            ("/nodebake/first-boot", 0o700, 10),
            ("/nodebake/payload", 0o755, 0),
            ("/nodebake/payload/bin", 0o755, 0),
            ("/nodebake/payload/bin/kubelet", 0o755, 2_800_000),
            ("/nodebake/payload/payload.json", 0o644, 3),
            ("/nodebake/root", 0o755, 0),
            ("/nodebake/root/etc", 0o755, 0),
            ("/nodebake/root/etc/kubernetes", 0o755, 0),
            ("/nodebake/root/etc/kubernetes/pki", 0o755, 0),
            ("/nodebake/root/etc/kubernetes/pki/node-key.pem", 0o600, 3),
            ("/nodebake/root/usr", 0o755, 0),
            ("/nodebake/root/usr/local", 0o755, 0),
            ("/nodebake/root/usr/local/bin", 0o755, 0),
            ("/nodebake/root/usr/local/bin/kubelet", 0o777, 0),
            ("/user-data", 0o600, 14),
            ("/vendor-data", 0o600, 16),
        ];
        assert_eq!(listing.collect::<Vec<_>>(), wanted);
        let read = |path| image.read(image.entry(path).unwrap(), 1 << 24).unwrap().unwrap();
        assert_eq!(read("/nodebake/payload/bin/kubelet"), kubelet());
        assert_eq!(read("/nodebake/root/etc/kubernetes/pki/node-key.pem"), b"key");

        // The same bytes are left alone; a mode that others can read is put right.
        let again = bake(&bundle(), &payload, Time::FIXED, &path, &Silent).unwrap();
        let after = fs::metadata(&path).unwrap();
        assert_eq!((again, after.ino()), (Baked { changed: false, ..baked }, before.ino()));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(bake(&bundle(), &payload, Time::FIXED, &path, &Silent).unwrap(), baked);
        assert_eq!(fs::metadata(&path).unwrap().mode(), 0o100_600);
        let mut names: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["payload.iso", "self-contained.iso"]);
    }

    #[test]
    fn its_volume_is_another_for_another_payload_or_node() {
        let folder = tempfile::tempdir().unwrap();
        let (one, path) = (payload(folder.path()), folder.path().join("self-contained.iso"));
        let uuid = |bundle: &NodeBundle, payload: &Payload| {
            bake(bundle, payload, Time::FIXED, &path, &Silent).unwrap();
            // The volume's modification date, which blkid takes for its UUID.
            fs::read(&path).unwrap()[16 * 2048 + 830..][..17].to_vec()
        };
        let first = uuid(&bundle(), &one);
        assert_eq!(uuid(&bundle(), &one), first);
        assert_ne!(uuid(&NodeBundle { user_data: "#cloud-config\n#\n".to_owned(), ..bundle() }, &one), first);
        // The same files in another image.
        let file = File::options().append(true).open(&one.path).unwrap();
        file.set_len(one.size + 2048).unwrap();
        let digest = Digest::of(&fs::read(&one.path).unwrap());
        assert_ne!(uuid(&bundle(), &Payload { digest, size: one.size + 2048, ..one }), first);
    }

    #[test]
    fn refuses_a_payload_that_changed_or_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let (payload, path) = (payload(folder.path()), folder.path().join("self-contained.iso"));
        let shown = |payload: &Payload| {
            let error = bake(&bundle(), payload, Time::FIXED, &path, &Silent).unwrap_err();
            crate::error::chain(&error).replace(folder.path().to_str().unwrap(), "F")
        };
        let wanted = payload.digest;
        let mut bytes = fs::read(&payload.path).unwrap();
        bytes[50_000] ^= 1;
        fs::write(&payload.path, &bytes).unwrap();
        let got = Digest::of(&bytes);
        assert_eq!(
            shown(&payload),
            format!("F/payload.iso has changed: its digest is sha256:{got}, not sha256:{wanted}")
        );
        assert!(!path.exists());

        bake(&bundle(), &Payload { digest: got, ..payload.clone() }, Time::FIXED, &path, &Silent).unwrap();
        let image = fs::read(&path).unwrap();
        let seed = Payload { path: path.clone(), digest: Digest::of(&image), ..payload.clone() };
        assert_eq!(
            shown(&seed),
            "cannot read F/self-contained.iso: the image is malformed: its label is not a payload's"
        );
        let gone = Payload { path: folder.path().join("gone.iso"), ..payload };
        assert_eq!(
            shown(&gone),
            "cannot read F/gone.iso: cannot read the image: No such file or directory (os error 2)"
        );
    }
}
