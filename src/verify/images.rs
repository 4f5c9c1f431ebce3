//! What is in the output folder, against what would be built now.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::difference::{self, Difference};
use super::scratch::Scratch;
use super::{Check, Outcome, VerifyError};
use crate::artifacts::{Checksum, Entry, Kind};
use crate::build::{Build, node_files};
use crate::config::{Arch, Node, NodeName};
use crate::digest::Digest;
use crate::image::Payload;
use crate::render::PayloadPlace;

/// How what differs is made anew.
const BUILD: &str = "run `nodebake build`";

/// What came of building everything again.
#[derive(Debug)]
pub struct Images {
    /// What was compared: locked files, payloads, then the files of each node.
    pub checks: Vec<Check>,
    /// What the machines of the nodes should run from.
    pub expected: Vec<Expected>,
}

/// What a node's machine should run from; none where it could not be made again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// The node.
    pub node: NodeName,
    /// SHA-256 of its payload.
    pub payload: Option<Digest>,
    /// SHA-256 of its seed.
    pub seed: Option<Digest>,
    /// SHA-256 of its base image.
    pub base: Option<Digest>,
    /// The base image is a golden one that holds the payload.
    pub golden: bool,
}

/// Hashes every locked file that goes into the nodes, builds all their images again in a scratch folder and compares
/// them with what stands in the output folder of `build`.
pub fn images(build: &Build<'_>, nodes: &[&Node]) -> Result<Images, VerifyError> {
    let parent = std::env::temp_dir();
    let scratch = Scratch::new(&parent).map_err(|source| VerifyError::Scratch { path: parent, source })?;
    let again = Build { out: scratch.path(), offline: true, ..*build };
    let mut verifier = Verifier { build, again, checks: Vec::new() };
    let architectures: BTreeSet<Arch> = nodes.iter().map(|node| node.arch).collect();
    verifier.check_held(&architectures)?;
    let shared = architectures.iter().map(|arch| Ok((*arch, verifier.shared(*arch)?)));
    let shared = shared.collect::<Result<BTreeMap<_, _>, VerifyError>>()?;
    let mut expected = Vec::new();
    for node in nodes {
        let (payload, base) = shared.get(&node.arch).cloned().unwrap_or_default();
        let seed = if let Some(payload) = &payload {
            verifier.node(node, payload)?
        } else {
            let name = node.name.to_string();
            verifier.unchecked(&name, &build.out.join(&name), "there is no payload");
            None
        };
        let golden = payload.as_ref().is_some_and(|payload| build.place(node.arch, payload) == PayloadPlace::BaseImage);
        let payload = payload.map(|payload| payload.digest);
        expected.push(Expected { node: node.name.clone(), payload, seed, base, golden });
    }
    Ok(Images { checks: verifier.checks, expected })
}

/// The digest by which volumes are named, where it is the locked one.
fn sha256(checksum: &Checksum) -> Option<Digest> {
    match checksum {
        Checksum::Sha256(digest) => Some(*digest),
        Checksum::Sha512(_) => None,
    }
}

struct Verifier<'a> {
    build: &'a Build<'a>,
    /// The same into the scratch folder.
    again: Build<'a>,
    checks: Vec<Check>,
}

impl<'a> Verifier<'a> {
    /// What goes into the nodes of an architecture.
    fn inputs(&self, arch: Arch) -> impl Iterator<Item = &'a Entry> + use<'a> {
        let entries = self.build.lock.entries().iter();
        entries.filter(move |entry| entry.arch == arch && entry.kind != Kind::Kubectl)
    }

    /// Without its inputs no payload can be made again: all that are missing are told at once.
    fn check_held(&self, architectures: &BTreeSet<Arch>) -> Result<(), VerifyError> {
        let all = architectures.iter().flat_map(|arch| self.inputs(*arch));
        let missing = all.filter(|entry| entry.kind != Kind::BaseImage && !self.is_held(entry));
        let missing: Vec<_> = missing.map(ToString::to_string).collect();
        if missing.is_empty() { Ok(()) } else { Err(VerifyError::Missing { missing }) }
    }

    fn is_held(&self, entry: &Entry) -> bool {
        self.build.store.path(&entry.checksum).exists()
    }

    /// The payload of an architecture and the digest of its base image, as far as their inputs are right.
    fn shared(&mut self, arch: Arch) -> Result<(Option<Payload>, Option<Digest>), VerifyError> {
        let (mut whole, mut base) = (true, None);
        for entry in self.inputs(arch) {
            if entry.kind != Kind::BaseImage {
                whole &= self.input(entry)?;
            } else if !self.is_held(entry) {
                // Only machines need it.
                let place = self.build.store.path(&entry.checksum);
                self.unchecked(&entry.to_string(), &place, "it is not in the cache");
                base = sha256(&entry.checksum);
            } else if self.input(entry)? {
                base = Some(self.digest(entry)?);
            }
        }
        if !whole {
            self.unchecked(&format!("payload ({arch})"), self.build.out, "its inputs are damaged");
            return Ok((None, base));
        }
        let (payload, _) = self.again.payload(arch).map_err(VerifyError::Build)?;
        for file in [payload.path.clone(), payload.path.with_extension("json")] {
            self.file(&format!("payload ({arch})"), &file, BUILD)?;
        }
        Ok((Some(payload), base))
    }

    /// The digest by which volumes are named, of a file that was just found right.
    fn digest(&self, entry: &Entry) -> Result<Digest, VerifyError> {
        if let Some(digest) = sha256(&entry.checksum) {
            return Ok(digest);
        }
        let path = self.build.store.path(&entry.checksum);
        let digest = File::open(&path).and_then(|mut file| Digest::of_reader(&mut file));
        digest.map_err(|source| VerifyError::Read { path, source })
    }

    /// Hashes a locked file; says whether it is right.
    fn input(&mut self, entry: &Entry) -> Result<bool, VerifyError> {
        let path = self.build.store.path(&entry.checksum);
        let failed = |source| VerifyError::Read { path: path.clone(), source };
        let mut file = File::open(&path).map_err(failed)?;
        let size = file.metadata().map_err(failed)?.len();
        let difference = if size == entry.size {
            let task = self.build.progress.task(&format!("hash {} {}", entry.kind, entry.version), Some(size));
            let mut hasher = entry.checksum.algorithm().hasher();
            hasher.take_all(&mut file, |bytes| task.advance(bytes)).map_err(failed)?;
            task.done();
            let digest = hasher.finish();
            (digest != entry.checksum).then(|| Difference::Digest { found: digest.to_string() })
        } else {
            Some(Difference::Size { found: size, wanted: entry.size })
        };
        let same = difference.is_none();
        let remedy = format!("remove {}, then run `nodebake fetch`", path.display());
        let digest = Some(entry.checksum.to_string());
        self.checks.push(Check::new(entry.to_string(), path.display().to_string(), digest, difference, remedy));
        Ok(same)
    }

    /// Compares a file of the scratch folder with the one in the output folder, where `build` makes it; gives its digest.
    fn file(&mut self, what: &str, again: &Path, build: &str) -> Result<Digest, VerifyError> {
        let failed = |source| VerifyError::Read { path: again.to_owned(), source };
        let name = again.strip_prefix(self.again.out).unwrap_or(again);
        let path = self.build.out.join(name);
        let size = fs::metadata(again).map_err(failed)?.len();
        let task = self.build.progress.task(&format!("compare {}", name.display()), Some(size));
        let compared = difference::compare(&path, again, &|bytes| task.advance(bytes));
        let (digest, difference) = compared.map_err(|source| VerifyError::Read { path: path.clone(), source })?;
        // Small files come and go unseen.
        if size > 1 << 20 {
            task.done();
        }
        // `build` looks at the whole of everything but a payload.
        let is_payload = name.parent() == Some(Path::new(""));
        let remedy = match &difference {
            Some(difference) if is_payload && *difference != Difference::Absent => {
                format!("remove {}, then {build}", path.display())
            }
            _ => build.to_owned(),
        };
        self.checks.push(Check::new(
            what,
            path.display().to_string(),
            Some(format!("sha256:{digest}")),
            difference,
            remedy,
        ));
        Ok(digest)
    }

    /// All files of a node; gives the seed's digest.
    fn node(&mut self, node: &Node, payload: &Payload) -> Result<Option<Digest>, VerifyError> {
        let name = node.name.to_string();
        let there = self.build.out.join(&name);
        let built = |place| {
            let (image, manifest) = node_files(&there, place);
            image.exists() || manifest.exists()
        };
        // A node may be built for a machine of one drive alone.
        let place = self.build.place(node.arch, payload);
        let digest =
            if built(place) || !built(PayloadPlace::Seed) { self.node_in(node, payload, place)? } else { None };
        if built(PayloadPlace::Seed) {
            self.node_in(node, payload, PayloadPlace::Seed)?;
        }
        Ok(digest)
    }

    fn node_in(&mut self, node: &Node, payload: &Payload, place: PayloadPlace) -> Result<Option<Digest>, VerifyError> {
        let name = node.name.to_string();
        let there = self.build.out.join(&name);
        let output = self.again.node_again(node, payload, place).map_err(VerifyError::Build)?;
        let Some(output) = output.filter(|_| there.exists()) else {
            self.checks.push(Check::new(name, there.display().to_string(), None, Some(Difference::Absent), BUILD));
            return Ok(None);
        };
        let folder = self.again.out.join(&name);
        let read = |source| VerifyError::Read { path: folder.clone(), source };
        let files = fs::read_dir(&folder).and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect());
        let mut files: Vec<PathBuf> = files.map_err(read)?;
        files.sort();
        let build = if place == PayloadPlace::Seed { "run `nodebake build --self-contained`" } else { BUILD };
        for file in files {
            self.file(&name, &file, build)?;
        }
        // Each is as large as a payload.
        fs::remove_dir_all(&folder).map_err(read)?;
        Ok(Some(output.seed.digest))
    }

    fn unchecked(&mut self, what: &str, place: &Path, why: &'static str) {
        let (what, place, outcome) = (what.to_owned(), place.display().to_string(), Outcome::Unchecked(why));
        self.checks.push(Check { what, place, digest: None, outcome });
    }
}
