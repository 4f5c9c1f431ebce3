//! manifest.json: the digests of everything that went into a node and came out. No secret and nothing derived from one
//! alone: the node's key is part of the seed's digest only.

use std::collections::BTreeMap;
use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::Build;
use crate::artifacts::{Entry, Kind};
use crate::config::{Node, Rotation};
use crate::digest::Digest;
use crate::identity::{Facts, NodeIdentity, Origin, State, Validity};
use crate::image::Payload;
use crate::plan::ImageFile;
use crate::render::{Content, NodeBundle, may_hold_secrets};

/// The manifest of one node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Form of this file.
    api_version: String,
    /// The cluster's name.
    cluster: String,
    /// SHA-256 of the cluster's CA certificate (DER).
    ca: Digest,
    /// The node.
    node: String,
    /// What was locked and went in.
    artifacts: Vec<Artifact>,
    /// The node's certificate.
    certificate: Certificate,
    /// cloud-init's instance-id.
    instance_id: String,
    /// SHA-256 of each public file in the seed, by its path in the guest or, for cloud-init's own files, its name.
    files: BTreeMap<String, Digest>,
    /// The payload.
    payload: Image,
    /// The seed.
    seed: Image,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Artifact {
    kind: String,
    version: String,
    arch: String,
    from: String,
    size: u64,
    checksum: String,
}

/// The certificate in a node's seed. What manifests of before did not tell is empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Certificate {
    /// Serial number in lowercase hexadecimal digits.
    pub serial: String,
    /// DNS names and IP addresses that it is for.
    #[serde(default)]
    pub names: Vec<String>,
    /// Its issuer's name.
    #[serde(default)]
    pub issuer: String,
    /// Start of its validity, RFC 3339.
    #[serde(default)]
    pub not_before: String,
    /// End of its validity, RFC 3339.
    pub not_after: String,
    /// Whether it was brought along, and nodebake issues no other in its place.
    #[serde(default)]
    pub brought_along: bool,
    /// What of it the kubelet replaces by itself: `client`, `server`.
    #[serde(default)]
    pub rotates: Vec<String>,
}

impl Certificate {
    fn of(identity: &NodeIdentity, rotation: Rotation) -> Self {
        let Facts { serial, names, issuer, validity } = identity.facts.clone();
        let rotates = [(rotation.client, "client"), (rotation.server, "server")];
        Self {
            serial,
            names,
            issuer,
            not_before: validity.not_before.to_string(),
            not_after: validity.not_after.to_string(),
            brought_along: identity.origin == Origin::Provided,
            rotates: rotates.into_iter().filter(|(does, _)| *does).map(|(_, what)| what.to_owned()).collect(),
        }
    }

    /// When it is valid; of what does not tell its start, one that began a year before its end.
    fn validity(&self) -> Option<Validity> {
        let not_after: Timestamp = self.not_after.parse().ok()?;
        let year = SignedDuration::from_hours(365 * 24);
        let not_before = self.not_before.parse().ok().or_else(|| not_after.checked_sub(year).ok())?;
        Some(Validity { not_before, not_after })
    }

    /// How good it is; none where its dates cannot be read.
    pub fn state(&self, now: Timestamp) -> Option<State> {
        self.validity().map(|validity| State::by_end(validity, now))
    }

    /// What of it the kubelet replaces by itself.
    pub fn rotation(&self) -> Rotation {
        let rotates = |what: &str| self.rotates.iter().any(|word| word == what);
        Rotation { client: rotates("client"), server: rotates("server") }
    }

    /// Whether the machine that was made with it needs another one: its end is near, or past, and its kubelet does not
    /// replace all of it by itself.
    pub fn needs_another(&self, now: Timestamp) -> bool {
        self.state(now).is_some_and(State::is_ending) && !self.rotation().is_whole()
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Image {
    file: String,
    digest: Digest,
    size: u64,
}

impl Manifest {
    pub(super) fn new(
        build: &Build,
        node: &Node,
        bundle: &NodeBundle,
        identity: &NodeIdentity,
        payload: &Payload,
        seed: &ImageFile,
    ) -> Self {
        let artifacts = entries(build, node).into_iter().map(|entry| Artifact {
            kind: entry.kind.to_string(),
            version: entry.version.clone(),
            arch: entry.arch.to_string(),
            // As in the lock file: the folder that the cluster file lies in is not in the bytes.
            from: entry.from.beneath(&build.config.folder()).to_string(),
            size: entry.size,
            checksum: entry.checksum.to_string(),
        });
        Self {
            api_version: "nodebake/v1".to_owned(),
            cluster: build.config.cluster.name.to_string(),
            ca: build.ca.digest(),
            node: node.name.to_string(),
            artifacts: artifacts.collect(),
            certificate: Certificate::of(identity, node.settings.rotation()),
            instance_id: bundle.instance_id(),
            files: files(node, bundle),
            payload: Image { file: file_name(&payload.path), digest: payload.digest, size: payload.size },
            seed: Image { file: file_name(&seed.path), digest: seed.digest, size: seed.size },
        }
    }

    pub(super) fn to_json(&self) -> Vec<u8> {
        // Maps with text keys, numbers and text: nothing that JSON cannot say.
        let mut json = serde_json::to_vec_pretty(self).unwrap_or_default();
        json.push(b'\n');
        json
    }

    /// The manifest of a node in an output folder, if it was built and can be read.
    pub fn load(out: &Path, node: &str) -> Option<Self> {
        let text = std::fs::read(out.join(node).join("manifest.json")).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// Digests of payload and seed.
    pub fn images(&self) -> (Digest, Digest) {
        (self.payload.digest, self.seed.digest)
    }

    /// The certificate in the seed.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }
}

/// What is locked and goes into a node.
pub(super) fn entries<'a>(build: &Build<'a>, node: &Node) -> Vec<&'a Entry> {
    let kinds = [Kind::BaseImage, Kind::CniPlugins, Kind::Containerd, Kind::Kubelet, Kind::Runc];
    let own = [Kind::Binary, Kind::Package, Kind::ContainerImage];
    let own = own.into_iter().flat_map(|kind| build.lock.of_kind(kind, node.arch));
    kinds.iter().filter_map(|kind| build.lock.get(*kind, node.arch)).chain(own).collect()
}

/// A text that may hold a password has no digest here: whoever guesses the password could try it against that.
fn files(node: &Node, bundle: &NodeBundle) -> BTreeMap<String, Digest> {
    texts(node, bundle).into_iter().map(|(name, text)| (name.to_owned(), Digest::of(text))).collect()
}

/// The public files in a seed, by path in the guest or, for cloud-init's own, by name.
pub(super) fn texts<'a>(node: &Node, bundle: &'a NodeBundle) -> Vec<(&'a str, &'a [u8])> {
    let texts = [
        ("user-data", &bundle.user_data),
        ("vendor-data", &bundle.vendor_data),
        ("meta-data", &bundle.meta_data),
        ("network-config", &bundle.network_config),
        ("first-boot", &bundle.first_boot),
    ];
    let own = texts.into_iter().filter(|(name, _)| !may_hold_secrets(node, name));
    let own = own.map(|(name, text)| (name, text.as_bytes()));
    let guest = bundle.files.iter().filter_map(|file| match &file.content {
        Content::Public(bytes, _) => Some((file.path.as_str(), bytes.as_slice())),
        Content::Secret(..) | Content::Link(_) => None,
    });
    own.chain(guest).collect()
}

fn file_name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}
