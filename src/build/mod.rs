//! From lock, store and identities to images in the output folder: OUT/payload-DIGEST12.iso and, per node,
//! OUT/NODE/{seed.iso,user-data,vendor-data,meta-data,network-config,manifest.json}; for machines that take one drive
//! OUT/NODE/self-contained.{iso,json}, the latter being its manifest. Beside either lie the two files of
//! [`crate::provenance`]. What is there and right is left alone.

mod manifest;
mod output;
mod parts;

use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

pub use manifest::{Certificate, Manifest};
pub(crate) use output::folder as make_output_folder;

use crate::artifacts::{BaseImage, Blob, Checksum, Entry, Kind, Lock, Source, Store, fetch};
use crate::config::{Arch, ClusterId, Config, Location, Node, NodeName};
use crate::digest::Digest;
use crate::error::ExitCode;
use crate::identity::{
    Ca, HostKey, Identities, IdentityError, NodeIdentity, NodeRequest, host_keys, standing_host_keys,
};
use crate::image::iso9660::Time;
use crate::image::payload::{self, Ingredient, PayloadError, PayloadInputs};
use crate::image::{Baked, Golden, Payload, SeedError, SelfContainedError, seed, self_contained};
use crate::machine::{Firmware, Parts};
use crate::plan::{ImageFile, Images};
use crate::progress::Progress;
use crate::provenance::{self, Byproduct, Made};
use crate::render::{self, Credentials, NodeBundle, PayloadPlace, RenderError};
use crate::whole_file;

/// Why images could not be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The lock or the cache fails.
    #[error(transparent)]
    Fetch(#[from] crate::artifacts::fetch::FetchError),
    /// The identity of a node cannot be had.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The node cannot be rendered.
    #[error(transparent)]
    Render(#[from] RenderError),
    /// The payload cannot be baked.
    #[error(transparent)]
    Payload(#[from] PayloadError),
    /// A seed cannot be baked.
    #[error(transparent)]
    Seed(#[from] SeedError),
    /// A self-contained image cannot be baked.
    #[error(transparent)]
    SelfContained(#[from] SelfContainedError),
    /// The base image does not fit onto the node's disk.
    #[error("{node}: a disk of {disk} bytes is too small for base image {image}, which needs {needed}{}", with_payload(*payload))]
    SmallDisk {
        /// The node.
        node: NodeName,
        /// Its disk in bytes.
        disk: u64,
        /// Name in the catalogue.
        image: String,
        /// Bytes.
        needed: u64,
        /// Bytes of a payload that is copied to the disk; none of one that is not.
        payload: u64,
    },
    /// A file cannot be written or read.
    #[error("cannot {action} {}", path.display())]
    File {
        /// What was tried, a verb.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl BuildError {
    /// What the user can do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Fetch(error) => error.hint(),
            Self::Identity(error) => error.hint(),
            Self::Render(error) => error.hint(),
            Self::Payload(error) => error.hint(),
            Self::Seed(error) => error.hint(),
            Self::SelfContained(error) => error.hint(),
            Self::SmallDisk { .. } => {
                Some("raise defaults.disk, or the node's own disk, in the cluster file".to_owned())
            }
            Self::File { source, .. } => whole_file::hint(source),
        }
    }

    /// The exit code of the program.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Fetch(error) if error.is_mismatch() => ExitCode::Digest,
            Self::Payload(error) if error.changed().is_some() => ExitCode::Digest,
            Self::SelfContained(SelfContainedError::Changed { .. }) => ExitCode::Digest,
            Self::Identity(error) if !error.is_unexpected() => ExitCode::Configuration,
            Self::Render(error) if error.is_setting() => ExitCode::Configuration,
            Self::SmallDisk { .. } => ExitCode::Configuration,
            _ => ExitCode::Unexpected,
        }
    }
}

fn with_payload(bytes: u64) -> String {
    if bytes == 0 { String::new() } else { format!(" and {bytes} more for its payload") }
}

/// Everything that building needs.
#[derive(Clone, Copy)]
pub struct Build<'a> {
    /// The cluster file.
    pub config: &'a Config,
    /// Its lock, known to fit.
    pub lock: &'a Lock,
    /// The cluster's CA.
    pub ca: &'a Ca,
    /// Where downloads are kept.
    pub store: &'a Store,
    /// Where downloads come from.
    pub source: &'a Source,
    /// Download nothing.
    pub offline: bool,
    /// The output folder.
    pub out: &'a Path,
    /// Who is told.
    pub progress: &'a dyn Progress,
    /// The present, for certificates.
    pub now: Timestamp,
    /// Time of everything in the images; [`self.time`] unless the user has another.
    pub time: Time,
}

/// What was built for a node.
#[derive(Debug)]
pub struct NodeOutput {
    /// The node.
    pub node: NodeName,
    /// Its architecture.
    pub arch: Arch,
    /// Its seed, which may hold the payload too.
    pub seed: ImageFile,
    /// Whether anything was written.
    pub changed: bool,
    /// Its identity.
    pub identity: NodeIdentity,
    /// What it is made of.
    pub parts: Parts,
}

/// A node of which nothing is written yet. It holds a key: no `Debug`.
pub struct Prepared {
    identity: NodeIdentity,
    bundle: NodeBundle,
    place: PayloadPlace,
    /// None: a self-contained image is too large to be held in memory.
    seed: Option<seed::Made>,
}

/// The kinds that go into a payload, in the order of its inputs.
const PAYLOAD: [Kind; 7] =
    [Kind::Kubelet, Kind::Containerd, Kind::Runc, Kind::CniPlugins, Kind::Binary, Kind::Package, Kind::ContainerImage];

/// What a payload of an architecture is made of.
fn payload_inputs(lock: &Lock, store: &Store, arch: Arch, time: Time) -> PayloadInputs {
    let entries = PAYLOAD.iter().flat_map(|kind| lock.of_kind(*kind, arch));
    let ingredients = entries.map(|entry| Ingredient {
        kind: entry.kind,
        name: entry.version.clone(),
        checksum: entry.checksum,
        path: store.path(&entry.checksum),
    });
    PayloadInputs { arch, time, ingredients: ingredients.collect() }
}

/// The payload of an architecture, if it stands in the output folder.
pub fn standing_payload(lock: &Lock, store: &Store, out: &Path, arch: Arch, time: Time) -> Option<Payload> {
    payload::find(out, payload_inputs(lock, store, arch, time).digest())
}

impl Build<'_> {
    /// The cluster that nodes are built for.
    pub fn cluster_id(&self) -> ClusterId {
        ClusterId { name: self.config.cluster.name.clone(), ca: self.ca.digest() }
    }

    /// The payload of an architecture: found if it stands in the output folder, else baked. Says whether it was baked.
    pub fn payload(&self, arch: Arch) -> Result<(Payload, bool), BuildError> {
        let inputs = payload_inputs(self.lock, self.store, arch, self.time);
        if let Some(payload) = payload::find(self.out, inputs.digest()) {
            return Ok((payload, false));
        }
        let entries: Vec<_> = PAYLOAD.iter().flat_map(|kind| self.lock.of_kind(*kind, arch)).collect();
        let bake = || {
            fetch(&entries, self.store, self.source, self.offline, self.progress)?;
            output::folder(self.out)?;
            Ok(payload::bake(&inputs, self.out, self.progress)?)
        };
        let baked = bake();
        if let Err(BuildError::Payload(error)) = &baked
            && let Some(checksum) = error.changed()
        {
            // The disk gives other bytes than when they were verified: verify again, fetch anew, try once more.
            self.store.distrust(checksum);
            return bake();
        }
        baked
    }

    /// Clears what killed runs left, also of files that this one has no reason to write.
    pub fn sweep(&self) {
        let state = self.state();
        whole_file::sweep(&self.config.folder());
        whole_file::sweep(self.out);
        for node in &self.config.nodes {
            let name = node.name.to_string();
            whole_file::sweep(&self.out.join(&name));
            whole_file::sweep(&state.join("identities").join(&name));
        }
    }

    /// Where what was issued is kept.
    fn state(&self) -> PathBuf {
        self.config.folder().join(".nodebake")
    }

    fn identities(&self) -> Identities<'_> {
        let cluster = &self.config.cluster;
        let (lifetime, now) = (cluster.certificate_lifetime, self.now);
        Identities { ca: self.ca, pki: &cluster.pki, state: self.state(), lifetime, now }
    }

    /// Sees to it that the identity of a node whose machine is to be made is good for a first boot: of a kubelet that rotates
    /// it, an old one is no fault else. Says what was done, if anything was.
    pub fn freshen(&self, node: &Node) -> Result<Option<NodeIdentity>, BuildError> {
        let request = NodeRequest { rotates: false, ..NodeRequest::of(node) };
        let standing = !NodeRequest::of(node).rotates || self.identities().present(&request)?.is_some();
        if standing { Ok(None) } else { Ok(Some(self.identities().of(&request)?)) }
    }

    /// A lock that fits holds every kind, so this is not met; it is an error all the same.
    fn lacking(&self) -> BuildError {
        BuildError::File {
            action: "find every kind in",
            path: self.config.folder().join("nodebake.lock"),
            source: io::ErrorKind::NotFound.into(),
        }
    }

    fn entries(&self, kinds: &[Kind], arch: Arch) -> Vec<&Entry> {
        kinds.iter().filter_map(|kind| self.lock.get(*kind, arch)).collect()
    }

    /// The seed of one node with the files that went into it, or its self-contained image; an identity is issued where
    /// there is none.
    pub fn node(&self, node: &Node, payload: &Payload, place: PayloadPlace) -> Result<NodeOutput, BuildError> {
        self.check_disk(node, payload, place)?;
        let identity = self.identities().of(&NodeRequest::of(node))?;
        let host_keys = node.settings.ssh.as_ref().map(|_| host_keys(&self.state(), &node.name)).transpose()?;
        let prepared = self.prepare_as(node, payload, place, identity, &host_keys.unwrap_or_default())?;
        self.finish(node, payload, prepared)
    }

    /// The same with the identity that it has already; none where one would have to be issued.
    pub fn node_again(
        &self,
        node: &Node,
        payload: &Payload,
        place: PayloadPlace,
    ) -> Result<Option<NodeOutput>, BuildError> {
        let prepared = self.prepare(node, payload, place)?;
        prepared.map(|prepared| self.finish(node, payload, prepared)).transpose()
    }

    /// All of a node that can be made without writing anything; none where an identity would have to be issued first.
    pub fn prepare(&self, node: &Node, payload: &Payload, place: PayloadPlace) -> Result<Option<Prepared>, BuildError> {
        self.check_disk(node, payload, place)?;
        let identity = self.identities().present(&NodeRequest::of(node))?;
        let host_keys = node
            .settings
            .ssh
            .as_ref()
            .map_or(Ok(Some(Vec::new())), |_| standing_host_keys(&self.state(), &node.name))?;
        let (Some(identity), Some(host_keys)) = (identity, host_keys) else { return Ok(None) };
        self.prepare_as(node, payload, place, identity, &host_keys).map(Some)
    }

    fn prepare_as(
        &self,
        node: &Node,
        payload: &Payload,
        place: PayloadPlace,
        identity: NodeIdentity,
        host_keys: &[HostKey],
    ) -> Result<Prepared, BuildError> {
        let config = self.config;
        let credentials = Credentials {
            ca: &identity.ca_pem,
            certificate: &identity.certificate_pem,
            key: &identity.key_pem,
            host_keys,
        };
        let macs = config.macs(&self.cluster_id(), node);
        let bundle = render::render(config, node, &macs, credentials, payload, place)?;
        let seed = match place {
            PayloadPlace::Drive | PayloadPlace::BaseImage => Some(seed::make(&bundle, self.time)?),
            PayloadPlace::Seed => None,
        };
        Ok(Prepared { identity, bundle, place, seed })
    }

    /// What nodes of an architecture would share, as far as that can be told without writing or downloading anything: the
    /// payload that stands in the output folder, and a base image whose digest is known.
    pub fn foresee_images(&self, arch: Arch) -> Result<Option<(Payload, Images)>, BuildError> {
        let Some(payload) = standing_payload(self.lock, self.store, self.out, arch, self.time) else {
            return Ok(None);
        };
        let entry = self.lock.get(Kind::BaseImage, arch).ok_or_else(|| self.lacking())?;
        let base = Blob { entry: entry.clone(), path: self.store.path(&entry.checksum), fresh: false };
        // Where upstream publishes SHA-512 alone, the file itself must be there to tell.
        if !matches!(entry.checksum, Checksum::Sha256(_)) && !base.path.exists() {
            return Ok(None);
        }
        let images = self.shared_images(arch, &payload, &base)?;
        Ok(Some((payload, images)))
    }

    /// The seed that a build of the node would write, and what it is made of; none where an identity would have to be
    /// issued first.
    pub fn foresee_seed(&self, node: &Node, payload: &Payload) -> Result<Option<(ImageFile, Parts)>, BuildError> {
        let place = self.place(node.arch, payload);
        let Some(Prepared { identity, bundle, seed: Some(seed), .. }) = self.prepare(node, payload, place)? else {
            return Ok(None);
        };
        let (path, _) = node_files(&self.out.join(node.name.to_string()), place);
        let image = ImageFile { path, digest: seed.digest(), size: seed.size(), verified: None };
        Ok(Some((image, parts::of(self, node, &bundle, &identity, payload.digest))))
    }

    /// Writes what was prepared for a node.
    pub fn finish(&self, node: &Node, payload: &Payload, prepared: Prepared) -> Result<NodeOutput, BuildError> {
        let Prepared { identity, bundle, place, seed } = prepared;
        let folder = self.out.join(node.name.to_string());
        output::node_folder(&folder)?;
        let (path, manifest) = node_files(&folder, place);
        let (baked, mut changed) = if let Some(seed) = seed {
            let baked = seed.store(&path)?;
            (baked, baked.changed | texts(&bundle, &folder)?)
        } else {
            let baked = self_contained::bake(&bundle, payload, self.time, &path, self.progress)?;
            (baked, baked.changed)
        };
        let Baked { digest, size, .. } = baked;
        tracing::info!(node = %node.name, image = %path.display(), %digest, changed, "rendered and baked");
        let seed = ImageFile { path, digest, size, verified: None };
        let text = Manifest::new(self, node, &bundle, &identity, payload, &seed).to_json();
        changed |= output::file(&manifest, &text, output::PUBLIC)?;
        let entries = manifest::entries(self, node);
        let golden = self.golden(node.arch);
        let made = Made {
            node,
            cluster: &self.cluster_id(),
            certificate: Digest::of(identity.certificate_pem.as_bytes()),
            instance_id: &bundle.instance_id(),
            entries: &entries,
            inputs: &render::inputs(self.config, node)?,
            folder: &self.config.folder(),
            payload,
            place,
            golden: golden.as_ref(),
            image: &seed,
            time: self.time,
        };
        changed |= write_provenance(&made, &folder, byproduct(&manifest, &text))?;
        let parts = parts::of(self, node, &bundle, &identity, payload.digest);
        Ok(NodeOutput { node: node.name.clone(), arch: node.arch, seed, changed, identity, parts })
    }

    /// What the base image of an architecture is, where it is a golden one.
    pub fn golden(&self, arch: Arch) -> Option<Golden> {
        let entry = self.lock.get(Kind::BaseImage, arch)?;
        match (&entry.from, &entry.checksum) {
            (Location::Path(path), Checksum::Sha256(digest)) => Golden::beside(path, *digest),
            _ => None,
        }
    }

    /// Where the nodes of an architecture have this payload from: the base image if it holds it, else a drive.
    pub fn place(&self, arch: Arch, payload: &Payload) -> PayloadPlace {
        match self.golden(arch) {
            Some(golden) if golden.payload == payload.digest => PayloadPlace::BaseImage,
            _ => PayloadPlace::Drive,
        }
    }

    /// The seed of a machine that makes a golden image, in a folder that is there. There is nothing in it that is a secret
    /// or of one node.
    pub fn golden_seed(&self, node: &Node, payload: &Payload, folder: &Path) -> Result<ImageFile, BuildError> {
        let mac = self.config.mac(&self.cluster_id(), node);
        let bundle = render::render_golden(self.config, node, mac, payload)?;
        let path = folder.join("seed.iso");
        let Baked { digest, size, .. } = seed::bake(&bundle, self.time, &path)?;
        Ok(ImageFile { path, digest, size, verified: None })
    }

    fn check_disk(&self, node: &Node, payload: &Payload, place: PayloadPlace) -> Result<(), BuildError> {
        let golden = self.golden(node.arch).map_or(0, |golden| golden.disk);
        let needed = BaseImage::named(&self.config.image).map_or(0, |image| image.min_disk).max(golden);
        let payload = if place == PayloadPlace::Seed { payload.size } else { 0 };
        if node.disk >= needed + payload {
            return Ok(());
        }
        let (disk, image) = (node.disk, self.config.image.clone());
        Err(BuildError::SmallDisk { node: node.name.clone(), disk, image, needed, payload })
    }

    /// The shared images of an architecture as a plan needs them; the base image is fetched for it.
    pub fn images(&self, arch: Arch, payload: &Payload) -> Result<Images, BuildError> {
        let blobs =
            fetch(&self.entries(&[Kind::BaseImage], arch), self.store, self.source, self.offline, self.progress)?;
        let [base] = blobs.as_slice() else { return Err(self.lacking()) };
        self.shared_images(arch, payload, base)
    }

    fn shared_images(&self, arch: Arch, payload: &Payload, base: &Blob) -> Result<Images, BuildError> {
        let digest = sha256_of(base)?;
        let verified = self.store.verified(&base.entry.checksum);
        let payload_file =
            ImageFile { path: payload.path.clone(), digest: payload.digest, size: payload.size, verified: None };
        Ok(Images {
            payload: payload_file,
            payload_drive: self.place(arch, payload) == PayloadPlace::Drive,
            base: ImageFile { path: base.path.clone(), digest, size: base.entry.size, verified },
            firmware: firmware(&self.config.image, arch),
        })
    }
}

/// What starts a base image, by its name in the catalogue.
pub fn firmware(image: &str, arch: Arch) -> Firmware {
    let uefi = |image: BaseImage| image.file(arch).is_ok_and(|file| file.firmware == crate::artifacts::Firmware::Uefi);
    if BaseImage::named(image).is_ok_and(uefi) { Firmware::Uefi } else { Firmware::Bios }
}

/// Where a node's image stands in its folder, and what tells of it.
pub fn node_files(folder: &Path, place: PayloadPlace) -> (PathBuf, PathBuf) {
    let (image, manifest) = match place {
        PayloadPlace::Drive | PayloadPlace::BaseImage => ("seed.iso", "manifest.json"),
        PayloadPlace::Seed => ("self-contained.iso", "self-contained.json"),
    };
    (folder.join(image), folder.join(manifest))
}

/// Where what tells of a node's image in others' forms stands in its folder: its bill of materials, and the statement of what
/// went into it.
fn provenance_files(folder: &Path, node: &NodeName, place: PayloadPlace) -> [PathBuf; 2] {
    let image = match place {
        PayloadPlace::Drive | PayloadPlace::BaseImage => "",
        PayloadPlace::Seed => ".self-contained",
    };
    ["spdx", "intoto"].map(|form| folder.join(format!("{node}{image}.{form}.json")))
}

/// Both of them; says whether either was not there already.
fn write_provenance(made: &Made, folder: &Path, manifest: Byproduct) -> Result<bool, BuildError> {
    let [materials, statement] = provenance_files(folder, &made.node.name, made.place);
    let document = provenance::document(made);
    let text = provenance::statement(made, vec![manifest, byproduct(&materials, &document)]);
    let changed = output::file(&materials, &document, output::PUBLIC)?;
    Ok(changed | output::file(&statement, &text, output::PUBLIC)?)
}

fn byproduct(path: &Path, text: &[u8]) -> Byproduct {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    Byproduct { name, digest: Digest::of(text) }
}

/// What cloud-init reads of a seed, beside it; says whether it was not there already.
fn texts(bundle: &NodeBundle, folder: &Path) -> Result<bool, BuildError> {
    let mut changed = false;
    for (name, text, mode) in [
        // cloudConfig and templates of the user's own may hold passwords.
        ("user-data", &bundle.user_data, output::SECRET),
        ("vendor-data", &bundle.vendor_data, output::SECRET),
        ("meta-data", &bundle.meta_data, output::PUBLIC),
        ("network-config", &bundle.network_config, output::SECRET),
    ] {
        changed |= output::file(&folder.join(name), text.as_bytes(), mode)?;
    }
    Ok(changed)
}

/// SHA-256 of a blob: what is locked, or, where upstream publishes SHA-512 only, read from the verified file.
fn sha256_of(blob: &Blob) -> Result<Digest, BuildError> {
    if let Checksum::Sha256(digest) = &blob.entry.checksum {
        return Ok(*digest);
    }
    let failed = |source| BuildError::File { action: "read", path: blob.path.clone(), source };
    let mut file = std::fs::File::open(&blob.path).map_err(failed)?;
    Digest::of_reader(&mut file).map_err(failed)
}
