//! The seed: a `NoCloud` image (label CIDATA) with all that one node has for itself, its secrets included.
//!
//! cloud-init reads /user-data, /vendor-data, /meta-data and /network-config; what first boot needs stands under /nodebake.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::iso9660::{
    Attributes, Image, Kind, Label, Memory, Owner, ReadError, Source, Target, Time, WriteError, Writer,
};
use crate::digest::Digest;
use crate::render::{Content, NodeBundle};
use crate::whole_file;

/// Label by which cloud-init's `NoCloud` finds its volume.
pub const LABEL: Label = Label::new("CIDATA");

/// A seed is smaller than this, in bytes.
pub const MAX_SIZE: u64 = 512 << 10;

/// Mode of a seed on the host and of what cloud-init reads in it.
pub(super) const SECRET_MODE: u32 = 0o600;

/// Where the guest's files stand in a seed.
const GUEST_ROOT: &str = "/nodebake/root";

/// A seed that stands where it was wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Baked {
    /// Of the whole image.
    pub digest: Digest,
    /// In bytes.
    pub size: u64,
    /// Something was written; false if these very bytes were there already.
    pub changed: bool,
}

/// Why a seed could not be made.
#[derive(Debug, thiserror::Error)]
pub enum SeedError {
    /// A rendered file that an image cannot hold.
    #[error("cannot make the seed of {node}")]
    Write {
        /// Whose seed.
        node: String,
        /// Why.
        #[source]
        source: WriteError,
    },
    /// Too large.
    #[error("the seed of {node} has {size} bytes; at most {MAX_SIZE} are allowed")]
    TooLarge {
        /// Whose seed.
        node: String,
        /// In bytes.
        size: u64,
    },
    /// What was written does not read back; a fault of nodebake or of the machine.
    #[error("the seed of {node} does not read back as it was written: {what}")]
    ReadBack {
        /// Whose seed.
        node: String,
        /// The first difference.
        what: String,
        /// The reader's complaint, if it has one.
        #[source]
        source: Option<ReadError>,
    },
    /// The file could not be written.
    #[error("cannot write {}", path.display())]
    Output {
        /// The seed.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl SeedError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Write { source, .. } => source.hint(),
            Self::TooLarge { .. } => Some("a seed is for configuration; put large files elsewhere".to_owned()),
            Self::ReadBack { .. } => None,
            Self::Output { source, .. } => (source.kind() == io::ErrorKind::StorageFull)
                .then(|| "make space on the disk of the output folder, or choose another with --out".to_owned()),
        }
    }
}

/// A seed that is whole, and nowhere yet. It holds a key: no `Debug`.
pub struct Made {
    image: Vec<u8>,
    digest: Digest,
}

/// Makes the seed of `bundle` and reads it back. Everything in it has the time `time` ([`Time::FIXED`] unless the user has
/// another).
pub fn make(bundle: &NodeBundle, time: Time) -> Result<Made, SeedError> {
    let node = || bundle.node.to_string();
    let image = encode(bundle, time).map_err(|source| SeedError::Write { node: node(), source })?;
    let size = image.len() as u64;
    if size >= MAX_SIZE {
        return Err(SeedError::TooLarge { node: node(), size });
    }
    read_back(bundle, time, &image)?;
    Ok(Made { digest: Digest::of(&image), image })
}

impl Made {
    /// Of the whole image.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// In bytes.
    pub fn size(&self) -> u64 {
        self.image.len() as u64
    }

    /// Writes it to `path`, with mode 0600 from its first byte; the folder must exist. It is not waited for the disk:
    /// whoever comes by again compares all of it.
    pub fn store(&self, path: &Path) -> Result<Baked, SeedError> {
        let changed = !stands(&self.image, path);
        if changed {
            whole_file::write_soon(path, &self.image, SECRET_MODE)
                .map_err(|source| SeedError::Output { path: path.to_owned(), source })?;
        }
        Ok(Baked { digest: self.digest, size: self.image.len() as u64, changed })
    }
}

/// Makes the seed of `bundle` and writes it to `path`.
pub fn bake(bundle: &NodeBundle, time: Time, path: &Path) -> Result<Baked, SeedError> {
    make(bundle, time)?.store(path)
}

/// What a seed holds, in the order in which it is written.
struct Item<'a> {
    path: String,
    attributes: Attributes,
    what: What<'a>,
}

enum What<'a> {
    Directory,
    File(&'a [u8]),
    Link(&'a str),
}

fn items(bundle: &NodeBundle) -> Vec<Item<'_>> {
    let own = |path: &str, mode: u32, what| Item { path: path.to_owned(), attributes: mode.into(), what };
    let mut items = vec![
        own("/user-data", SECRET_MODE, What::File(bundle.user_data.as_bytes())),
        own("/vendor-data", SECRET_MODE, What::File(bundle.vendor_data.as_bytes())),
        own("/meta-data", SECRET_MODE, What::File(bundle.meta_data.as_bytes())),
        own("/network-config", SECRET_MODE, What::File(bundle.network_config.as_bytes())),
        own("/nodebake", 0o700, What::Directory),
        own("/nodebake/first-boot", 0o700, What::File(bundle.first_boot.as_bytes())),
        // Its mode and those beneath it are what a copy onto the guest's root leaves there.
        own(GUEST_ROOT, 0o755, What::Directory),
    ];
    if let Some(password) = &bundle.root_password {
        items.push(own("/nodebake/root-password", SECRET_MODE, What::File(password.expose())));
    }
    items.extend(bundle.files.iter().map(|file| {
        let (mode, what) = match &file.content {
            Content::Public(bytes, mode) => (*mode, What::File(bytes)),
            Content::Secret(secret, mode) => (*mode, What::File(secret.expose())),
            Content::Link(target) => (0o777, What::Link(target)),
        };
        let (uid, gid) = file.owner.ids();
        Item {
            path: format!("{GUEST_ROOT}{}", file.path),
            attributes: Attributes { mode, owner: Owner { uid, gid } },
            what,
        }
    }));
    items
}

fn encode(bundle: &NodeBundle, time: Time) -> Result<Vec<u8>, WriteError> {
    let memory = Memory::default();
    let mut writer = Writer::new(&memory, LABEL, time);
    write(&mut writer, bundle)?;
    writer.finish(identity(bundle))?;
    Ok(memory.into_bytes())
}

/// Puts everything of a seed into an image.
pub(super) fn write(writer: &mut Writer<'_, impl Target>, bundle: &NodeBundle) -> Result<(), WriteError> {
    for file in &bundle.files {
        if !file.path.starts_with('/') {
            return Err(WriteError::BadPath { path: file.path.clone(), why: "it does not start with /" });
        }
    }
    for Item { path, attributes, what } in items(bundle) {
        match what {
            What::Directory => writer.directory(&path, attributes)?,
            What::File(bytes) => writer.add(&path, attributes, bytes)?,
            What::Link(target) => writer.link(&path, attributes.owner, target)?,
        }
    }
    Ok(())
}

/// A digest over everything that is in a seed.
pub(super) fn identity(bundle: &NodeBundle) -> Digest {
    let mut text = Vec::new();
    for Item { path, attributes: Attributes { mode, owner: Owner { uid, gid } }, what } in items(bundle) {
        let (kind, data) = match what {
            What::Directory => ("directory", &[][..]),
            What::File(bytes) => ("file", bytes),
            What::Link(target) => ("link", target.as_bytes()),
        };
        let line = format!("{path}\0{mode:o}\0{uid}\0{gid}\0{kind}\0{}\n", Digest::of(data));
        text.extend_from_slice(line.as_bytes());
    }
    Digest::of(&text)
}

/// Reads the image and compares everything in it with the bundle.
fn read_back(bundle: &NodeBundle, time: Time, image: &[u8]) -> Result<(), SeedError> {
    let fail = |(what, source)| SeedError::ReadBack { node: bundle.node.to_string(), what, source };
    let image = Image::open(image).map_err(|source| fail(("the image".to_owned(), Some(source))))?;
    compare(&image, bundle, time, 0).map_err(fail)
}

/// The first path at which an image differs from the bundle, and the reader's complaint, if it has one.
pub(super) type Unlike = (String, Option<ReadError>);

/// Compares everything of a seed with what is in an image, which holds this many `other` files.
pub(super) fn compare(image: &Image<impl Source>, bundle: &NodeBundle, time: Time, other: usize) -> Result<(), Unlike> {
    let fail = |what: String, source| (what, source);
    for Item { path, attributes: Attributes { mode, owner }, what } in items(bundle) {
        let (kind, bytes) = match what {
            What::Directory => (Kind::Directory, &[][..]),
            What::File(bytes) => (Kind::File, bytes),
            What::Link(target) => (Kind::Link(target.to_owned()), &[][..]),
        };
        let entry = image.entry(&path).ok_or_else(|| fail(path.clone(), None))?;
        let got = image.read(entry, MAX_SIZE).map_err(|source| fail(path.clone(), Some(source)))?;
        let same = (&entry.kind, entry.mode, entry.owner, entry.modified) == (&kind, mode, owner, time);
        if !same || got.as_deref() != Some(bytes) {
            return Err(fail(path, None));
        }
    }
    let leaves = image.entries().iter().filter(|entry| entry.kind != Kind::Directory).count();
    let wanted = other + items(bundle).iter().filter(|item| !matches!(item.what, What::Directory)).count();
    if leaves == wanted { Ok(()) } else { Err(fail(format!("{leaves} files, not {wanted}"), None)) }
}

/// These bytes are a regular file of mode 0600 there already.
fn stands(image: &[u8], path: &Path) -> bool {
    let same_shape = fs::symlink_metadata(path).is_ok_and(|found| {
        found.is_file() && found.len() == image.len() as u64 && found.permissions().mode() & 0o7777 == SECRET_MODE
    });
    same_shape && fs::read(path).is_ok_and(|found| found == image)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;
    use crate::render::GuestFile;
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
                file("/etc/hosts", Content::Public(b"127.0.0.1 localhost\n".to_vec(), 0o644)),
                file("/etc/kubernetes/pki/node-key.pem", Content::Secret(Secret::new(*b"key"), 0o600)),
                file(
                    "/etc/systemd/system/multi-user.target.wants/kubelet.service",
                    Content::Link("../kubelet.service".to_owned()),
                ),
            ],
        }
    }

    fn listing(image: &[u8]) -> Vec<(String, u32, u64)> {
        let image = Image::open(image).unwrap();
        assert_eq!(image.label(), "CIDATA");
        image.entries().iter().map(|entry| (entry.path.clone(), entry.mode, entry.size)).collect()
    }

    #[test]
    fn holds_the_bundle_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("seed.iso");
        let baked = bake(&bundle(), Time::FIXED, &path).unwrap();
        let image = fs::read(&path).unwrap();
        assert_eq!(baked, Baked { digest: Digest::of(&image), size: image.len() as u64, changed: true });
        let wanted = [
            ("/", 0o755, 0),
            ("/meta-data", 0o600, 15),
            ("/network-config", 0o600, 11),
            ("/nodebake", 0o700, 0),
            ("/nodebake/first-boot", 0o700, 10),
            ("/nodebake/root", 0o755, 0),
            ("/nodebake/root/etc", 0o755, 0),
            ("/nodebake/root/etc/hosts", 0o644, 20),
            ("/nodebake/root/etc/kubernetes", 0o755, 0),
            ("/nodebake/root/etc/kubernetes/pki", 0o755, 0),
            ("/nodebake/root/etc/kubernetes/pki/node-key.pem", 0o600, 3),
            ("/nodebake/root/etc/systemd", 0o755, 0),
            ("/nodebake/root/etc/systemd/system", 0o755, 0),
            ("/nodebake/root/etc/systemd/system/multi-user.target.wants", 0o755, 0),
            ("/nodebake/root/etc/systemd/system/multi-user.target.wants/kubelet.service", 0o777, 0),
            ("/user-data", 0o600, 14),
            ("/vendor-data", 0o600, 16),
        ];
        assert_eq!(listing(&image), wanted.map(|(path, mode, size)| (path.to_owned(), mode, size)));
    }

    #[test]
    fn same_bytes_are_not_written_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("seed.iso");
        let first = bake(&bundle(), Time::FIXED, &path).unwrap();
        let before = fs::metadata(&path).unwrap();
        assert_eq!(before.mode(), 0o100_600);
        assert_eq!(bake(&bundle(), Time::FIXED, &path).unwrap(), Baked { changed: false, ..first });
        let after = fs::metadata(&path).unwrap();
        assert_eq!((before.ino(), before.mtime_nsec()), (after.ino(), after.mtime_nsec()));

        // A mode that others can read is put right, a changed bundle is written, nothing else is left in the folder.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(bake(&bundle(), Time::FIXED, &path).unwrap(), first);
        assert_eq!(fs::metadata(&path).unwrap().mode(), 0o100_600);
        let changed = bake(&NodeBundle { first_boot: "#!/bin/sh -e\n".to_owned(), ..bundle() }, Time::FIXED, &path);
        assert!(changed.is_ok_and(|baked| baked.changed && baked.digest != first.digest));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn refuses_what_is_too_large_or_wrong() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("seed.iso");
        let file = |path: &str, content| GuestFile::new(path, content);
        let cases = [
            (
                file("/big", Content::Public(vec![0; 500 << 10], 0o644)),
                "the seed of worker-node-1 has 587776 bytes; at most 524288 are allowed",
            ),
            (
                file("etc/x", Content::Public(Vec::new(), 0o644)),
                "cannot make the seed of worker-node-1: cannot put \"etc/x\" into an image: it does not start with /",
            ),
            (
                file("/etc/../x", Content::Public(Vec::new(), 0o644)),
                "cannot make the seed of worker-node-1: cannot put \"/nodebake/root/etc/../x\" into an image: \
                 it has an empty name, \".\" or \"..\" in it",
            ),
            (
                file("/etc/hosts", Content::Public(Vec::new(), 0o644)),
                "cannot make the seed of worker-node-1: /nodebake/root/etc/hosts is given twice",
            ),
            (
                file("/x", Content::Public(Vec::new(), 0o4755)),
                "cannot make the seed of worker-node-1: /nodebake/root/x: mode 4755 has more than permission bits",
            ),
        ];
        for (extra, wanted) in cases {
            let mut bundle = bundle();
            bundle.files.push(extra);
            let error = bake(&bundle, Time::FIXED, &path).unwrap_err();
            let chain = std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source());
            let text: Vec<_> = chain.map(ToString::to_string).collect();
            assert_eq!(text.join(": "), wanted);
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
