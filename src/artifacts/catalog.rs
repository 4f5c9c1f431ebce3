//! What upstream publishes, and where.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use url::Url;

use super::checksum::{Algorithm, Checksum, Place};
use super::release::{Release, ReleaseForm};
use super::signature::Signer;
use crate::config::{Arch, Config, Given, Location};

/// What an artifact is to a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The node agent, a bare binary.
    Kubelet,
    /// The operator's client, a bare binary; not baked into nodes.
    Kubectl,
    /// The container runtime, a tar.gz with bin/.
    Containerd,
    /// The low-level runtime, a bare binary.
    Runc,
    /// The CNI project's plugins, a tar.gz.
    CniPlugins,
    /// The disk that nodes start from.
    BaseImage,
    /// A program of the user's own.
    Binary,
    /// A Debian package of the user's own.
    Package,
    /// A container image of the user's own: an OCI or docker archive.
    ContainerImage,
}

impl Kind {
    /// All of them, in the order of the lock file.
    pub const ALL: [Self; 9] = [
        Self::Kubelet,
        Self::Kubectl,
        Self::Containerd,
        Self::Runc,
        Self::CniPlugins,
        Self::BaseImage,
        Self::Binary,
        Self::Package,
        Self::ContainerImage,
    ];

    /// As in cluster file and lock file.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Kubelet => "kubelet",
            Self::Kubectl => "kubectl",
            Self::Containerd => "containerd",
            Self::Runc => "runc",
            Self::CniPlugins => "cni-plugins",
            Self::BaseImage => "base-image",
            Self::Binary => "binary",
            Self::Package => "package",
            Self::ContainerImage => "container-image",
        }
    }

    /// Whether there can be several, told apart by their names: what upstream does not release for us.
    pub const fn is_named(self) -> bool {
        matches!(self, Self::Binary | Self::Package | Self::ContainerImage)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One file that a cluster file asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// What it is.
    pub kind: Kind,
    /// Its version without a leading `v`; of a base image the name in the catalogue, or of the user's own file; of a kind
    /// that [is named](Kind::is_named) its name.
    pub version: String,
    /// The architecture that it is for.
    pub arch: Arch,
    /// How to come by it.
    pub supply: Supply,
}

/// How to come by a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Supply {
    /// Upstream publishes it under an address that stays.
    Fixed(Published),
    /// Upstream publishes newer ones under other addresses.
    Moving(Moving),
    /// The user's own file.
    Given {
        /// Where it is.
        from: Location,
        /// Its digest.
        checksum: Checksum,
    },
}

/// Where upstream publishes a file, and what it says of its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// Upstream's address of it.
    pub url: Url,
    /// Further addresses of the same bytes.
    pub alternates: Vec<Url>,
    /// Upstream's address of the file with its digest.
    pub checksums: Url,
    /// The hash function of that digest.
    pub algorithm: Algorithm,
    /// How to find the digest in that file.
    pub place: Place,
    /// Whether the file with its digest is signed.
    pub signed: Signed,
}

/// Whether a checksum file is signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signed {
    /// In the file itself, in clear text.
    Clear(Signer),
    /// In a file of its own.
    Detached(Signer, Url),
    /// Not at all, or not in a way that is checked: why.
    No(String),
}

/// A file of which there are newer ones from time to time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moving {
    /// Upstream's address of the file that names the newest release.
    pub newest: Url,
    /// How that file names it.
    pub form: ReleaseForm,
    image: BaseImage,
    arch: Arch,
}

impl Moving {
    /// Where a release is published.
    pub fn at(&self, release: &Release) -> Result<Published, CatalogError> {
        self.image.published(self.arch, release.name())
    }
}

/// How a base image's disk is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ImageFormat {
    /// QEMU's copy-on-write format.
    Qcow2,
}

/// How a machine starts from a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Firmware {
    /// `SeaBIOS`.
    Bios,
    /// OVMF or AAVMF.
    Uefi,
}

/// One base image of the catalogue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseImage {
    /// Its name, as in the cluster file.
    pub name: &'static str,
    /// One line for people.
    pub description: String,
    /// How the disk is stored.
    pub format: ImageFormat,
    /// The image's own default user.
    pub user: String,
    /// The smallest root disk that can stand on it, in bytes.
    pub min_disk: u64,
    /// The file for each architecture that there is.
    pub files: BTreeMap<Arch, ImageFile>,
    addresses: Addresses,
}

/// A base image for one architecture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageFile {
    /// How a machine starts from it.
    pub firmware: Firmware,
}

/// Where a base image is published; `{arch}` and `{release}` stand for those.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Addresses {
    newest: Option<Newest>,
    url: String,
    alternates: Vec<String>,
    checksums: String,
    algorithm: Algorithm,
    signed: SignedYaml,
}

/// Where the newest release is named.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Newest {
    url: String,
    form: ReleaseForm,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum SignedYaml {
    Detached { url: String, signer: Signer },
    No(String),
}

/// Why a wanted file cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// The cluster file names an image that we do not know.
    #[error("no base image is called {name:?}")]
    UnknownImage {
        /// The name asked for.
        name: String,
    },
    /// The image does not exist for the architecture.
    #[error("base image {name} is not published for {arch}")]
    NotForArch {
        /// The image's name.
        name: String,
        /// The architecture asked for.
        arch: Arch,
    },
    /// A file of the built-in catalogue is wrong; the tests hold that this never happens.
    #[error("the built-in catalogue entry {name} is not valid")]
    Builtin {
        /// The image's name.
        name: &'static str,
        /// What is wrong.
        #[source]
        source: serde_yaml::Error,
    },
    /// An address made from a version is not a URL.
    #[error("{text:?} is not a url")]
    Url {
        /// The text.
        text: String,
        /// What is wrong.
        #[source]
        source: url::ParseError,
    },
}

impl CatalogError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::UnknownImage { .. } | Self::NotForArch { .. } => {
                let names = BaseImage::names().filter(|name| *name != LAB).collect::<Vec<_>>();
                Some(format!("base images are: {}", names.join(", ")))
            }
            Self::Builtin { .. } | Self::Url { .. } => None,
        }
    }
}

/// The files in images/, by name.
const IMAGES: &[(&str, &str)] = &[
    ("ubuntu-24.04", include_str!("../../images/ubuntu-24.04.yaml")),
    ("debian-13", include_str!("../../images/debian-13.yaml")),
    (LAB, include_str!("../../images/lab-trixie.yaml")),
];

/// The guest of our own tests, of which nobody else is told.
const LAB: &str = "lab-trixie";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ImageYaml {
    description: String,
    format: ImageFormat,
    user: String,
    min_disk_mib: u64,
    files: BTreeMap<Arch, ImageFile>,
    newest: Option<Newest>,
    url: String,
    #[serde(default)]
    alternates: Vec<String>,
    checksums: String,
    algorithm: Algorithm,
    signature: Option<SignatureYaml>,
    unsigned: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SignatureYaml {
    url: String,
    signer: Signer,
}

const NO_SIGNATURE: &str = "upstream publishes no signature";

impl ImageYaml {
    fn finish(self, name: &'static str) -> Result<BaseImage, serde_yaml::Error> {
        let Self { description, format, user, min_disk_mib, files, newest, .. } = self;
        let Self { url, alternates, checksums, algorithm, signature, unsigned, .. } = self;
        let signed = match (signature, unsigned) {
            (Some(SignatureYaml { url, signer }), None) => SignedYaml::Detached { url, signer },
            (None, Some(reason)) => SignedYaml::No(reason),
            _ => return Err(serde::de::Error::custom("needs either signature or unsigned")),
        };
        let addresses = Addresses { newest, url, alternates, checksums, algorithm, signed };
        Ok(BaseImage { name, description, format, user, min_disk: min_disk_mib << 20, files, addresses })
    }
}

impl BaseImage {
    /// The names in the catalogue.
    pub fn names() -> impl Iterator<Item = &'static str> {
        IMAGES.iter().map(|(name, _)| *name)
    }

    /// The image of that name.
    pub fn named(name: &str) -> Result<Self, CatalogError> {
        let (name, yaml) = *IMAGES
            .iter()
            .find(|(known, _)| *known == name)
            .ok_or_else(|| CatalogError::UnknownImage { name: name.to_owned() })?;
        let read = serde_yaml::from_str(yaml).and_then(|yaml: ImageYaml| yaml.finish(name));
        read.map_err(|source| CatalogError::Builtin { name, source })
    }

    /// The file for an architecture.
    pub fn file(&self, arch: Arch) -> Result<&ImageFile, CatalogError> {
        self.files.get(&arch).ok_or_else(|| CatalogError::NotForArch { name: self.name.to_owned(), arch })
    }

    fn wanted(&self, arch: Arch) -> Result<Wanted, CatalogError> {
        self.file(arch)?;
        let supply = match &self.addresses.newest {
            None => Supply::Fixed(self.published(arch, "")?),
            Some(Newest { url, form }) => {
                let newest = parse(&fill(url, arch, ""))?;
                Supply::Moving(Moving { newest, form: *form, image: self.clone(), arch })
            }
        };
        Ok(Wanted { kind: Kind::BaseImage, version: self.name.to_owned(), arch, supply })
    }

    fn published(&self, arch: Arch, release: &str) -> Result<Published, CatalogError> {
        let Addresses { url, alternates, checksums, algorithm, signed, .. } = &self.addresses;
        let at = |template: &str| parse(&fill(template, arch, release));
        let url = at(url)?;
        let signed = match signed {
            SignedYaml::Detached { url, signer } => Signed::Detached(*signer, at(url)?),
            SignedYaml::No(reason) => Signed::No(reason.clone()),
        };
        Ok(Published {
            place: Place::Named(file_name(&url)),
            url,
            alternates: alternates.iter().map(|url| at(url)).collect::<Result<_, _>>()?,
            checksums: at(checksums)?,
            algorithm: *algorithm,
            signed,
        })
    }
}

fn fill(template: &str, arch: Arch, release: &str) -> String {
    template.replace("{arch}", &arch.to_string()).replace("{release}", release)
}

fn parse(text: &str) -> Result<Url, CatalogError> {
    Url::parse(text).map_err(|source| CatalogError::Url { text: text.to_owned(), source })
}

fn file_name(url: &Url) -> String {
    url.path_segments().and_then(Iterator::last).unwrap_or_default().to_owned()
}

/// Everything that the cluster file asks for, for every architecture of its nodes, in the order of the lock file. A file of
/// the user's own stands in for upstream's of its kind.
pub fn wanted(config: &Config) -> Result<Vec<Wanted>, CatalogError> {
    const UPSTREAM: [Kind; 6] =
        [Kind::Kubelet, Kind::Kubectl, Kind::Containerd, Kind::Runc, Kind::CniPlugins, Kind::BaseImage];
    let mut wanted = Vec::new();
    for arch in config.architectures() {
        // Its firmware and user are those of the catalogue's image, also where the disk itself is the user's.
        BaseImage::named(&config.image)?.file(arch)?;
        let given: Vec<_> = config.artifacts.iter().filter(|given| given.arch == arch).collect();
        for kind in UPSTREAM.into_iter().filter(|kind| !given.iter().any(|given| given.kind == *kind)) {
            wanted.push(upstream(kind, config, arch)?);
        }
        wanted.extend(given.into_iter().map(|given| own(given, config)));
    }
    wanted.sort_by(|a, b| a.order().cmp(&b.order()));
    Ok(wanted)
}

impl Wanted {
    /// By which there is one of it: kind, name where there can be several, architecture.
    pub fn order(&self) -> (Kind, Option<&str>, Arch) {
        (self.kind, self.kind.is_named().then_some(self.version.as_str()), self.arch)
    }
}

fn upstream(kind: Kind, config: &Config, arch: Arch) -> Result<Wanted, CatalogError> {
    let versions = &config.versions;
    match kind {
        Kind::Containerd => containerd(&versions.containerd, arch),
        Kind::Runc => runc(&versions.runc, arch),
        Kind::CniPlugins => cni_plugins(&versions.cni_plugins, arch),
        Kind::BaseImage => BaseImage::named(&config.image)?.wanted(arch),
        _ => kubernetes(kind, &versions.kubernetes, arch),
    }
}

/// A file of the user's own. The version of what stands in for upstream's is that of the cluster file, which the node's
/// configuration is made for.
fn own(given: &Given, config: &Config) -> Wanted {
    let Given { kind, name, arch, from, checksum } = given.clone();
    let versions = &config.versions;
    let version = match (name, kind) {
        (Some(name), _) => name,
        (None, Kind::Kubelet | Kind::Kubectl) => versions.kubernetes.to_string(),
        (None, Kind::Containerd) => versions.containerd.to_string(),
        (None, Kind::Runc) => versions.runc.to_string(),
        (None, Kind::CniPlugins) => versions.cni_plugins.to_string(),
        (None, _) => from.file_name(),
    };
    Wanted { kind, version, arch, supply: Supply::Given { from, checksum } }
}

/// dl.k8s.io has .sha256 and .sha512 beside each binary, each with the digest alone.
fn kubernetes(kind: Kind, version: &semver::Version, arch: Arch) -> Result<Wanted, CatalogError> {
    let url = format!("https://dl.k8s.io/release/v{version}/bin/linux/{arch}/{kind}");
    let signed = Signed::No("upstream signs with cosign, which is not checked".to_owned());
    released(kind, version, arch, &url, &format!("{url}.sha256"), Place::Bare, signed)
}

/// containerd has one .sha256sum beside each archive.
fn containerd(version: &semver::Version, arch: Arch) -> Result<Wanted, CatalogError> {
    let name = format!("containerd-{version}-linux-{arch}.tar.gz");
    let url = format!("https://github.com/containerd/containerd/releases/download/v{version}/{name}");
    let signed = Signed::No("upstream publishes build attestations (sigstore), which are not checked".to_owned());
    released(Kind::Containerd, version, arch, &url, &format!("{url}.sha256sum"), Place::Named(name), signed)
}

/// runc has one clear-signed runc.sha256sum for all its files.
fn runc(version: &semver::Version, arch: Arch) -> Result<Wanted, CatalogError> {
    let folder = format!("https://github.com/opencontainers/runc/releases/download/v{version}");
    let name = format!("runc.{arch}");
    let (url, checksums) = (format!("{folder}/{name}"), format!("{folder}/runc.sha256sum"));
    released(Kind::Runc, version, arch, &url, &checksums, Place::Named(name), Signed::Clear(Signer::Runc))
}

/// The CNI project has .sha1, .sha256 and .sha512 beside each archive.
fn cni_plugins(version: &semver::Version, arch: Arch) -> Result<Wanted, CatalogError> {
    let name = format!("cni-plugins-linux-{arch}-v{version}.tgz");
    let url = format!("https://github.com/containernetworking/plugins/releases/download/v{version}/{name}");
    let signed = Signed::No(NO_SIGNATURE.to_owned());
    released(Kind::CniPlugins, version, arch, &url, &format!("{url}.sha256"), Place::Named(name), signed)
}

fn released(
    kind: Kind,
    version: &semver::Version,
    arch: Arch,
    url: &str,
    checksums: &str,
    place: Place,
    signed: Signed,
) -> Result<Wanted, CatalogError> {
    let (url, checksums, algorithm) = (parse(url)?, parse(checksums)?, Algorithm::Sha256);
    let published = Published { url, alternates: Vec::new(), checksums, algorithm, place, signed };
    Ok(Wanted { kind, version: version.to_string(), arch, supply: Supply::Fixed(published) })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    /// Addresses, checksum file, hash function, place.
    fn row(published: &Published) -> (Vec<String>, String, Algorithm, Place) {
        let addresses = std::iter::once(&published.url).chain(&published.alternates).map(ToString::to_string);
        (addresses.collect(), published.checksums.to_string(), published.algorithm, published.place.clone())
    }

    fn fixed(wanted: Result<Wanted, CatalogError>) -> Published {
        let Supply::Fixed(published) = wanted.unwrap().supply else { panic!("not fixed") };
        published
    }

    fn moving(name: &str, arch: Arch) -> Moving {
        let wanted = BaseImage::named(name).unwrap().wanted(arch).unwrap();
        let Supply::Moving(moving) = wanted.supply else { panic!("not moving") };
        moving
    }

    #[test]
    fn names_upstreams_addresses() {
        let version = |text| semver::Version::parse(text).unwrap();
        let named = |name: &str| Place::Named(name.to_owned());
        let unsigned = |reason: &str| Signed::No(reason.to_owned());
        let github = "https://github.com";
        let cosign = || unsigned("upstream signs with cosign, which is not checked");
        for (wanted, url, checksums, place, signed) in [
            (
                kubernetes(Kind::Kubelet, &version("1.35.1"), Arch::Amd64),
                "https://dl.k8s.io/release/v1.35.1/bin/linux/amd64/kubelet".to_owned(),
                "https://dl.k8s.io/release/v1.35.1/bin/linux/amd64/kubelet.sha256".to_owned(),
                Place::Bare,
                cosign(),
            ),
            (
                kubernetes(Kind::Kubectl, &version("1.36.0-rc.1"), Arch::Arm64),
                "https://dl.k8s.io/release/v1.36.0-rc.1/bin/linux/arm64/kubectl".to_owned(),
                "https://dl.k8s.io/release/v1.36.0-rc.1/bin/linux/arm64/kubectl.sha256".to_owned(),
                Place::Bare,
                cosign(),
            ),
            (
                containerd(&version("2.2.1"), Arch::Amd64),
                format!("{github}/containerd/containerd/releases/download/v2.2.1/containerd-2.2.1-linux-amd64.tar.gz"),
                format!(
                    "{github}/containerd/containerd/releases/download/v2.2.1/containerd-2.2.1-linux-amd64.tar.gz.sha256sum"
                ),
                named("containerd-2.2.1-linux-amd64.tar.gz"),
                unsigned("upstream publishes build attestations (sigstore), which are not checked"),
            ),
            (
                runc(&version("1.2.8"), Arch::Arm64),
                format!("{github}/opencontainers/runc/releases/download/v1.2.8/runc.arm64"),
                format!("{github}/opencontainers/runc/releases/download/v1.2.8/runc.sha256sum"),
                named("runc.arm64"),
                Signed::Clear(Signer::Runc),
            ),
            (
                cni_plugins(&version("1.9.0"), Arch::Amd64),
                format!(
                    "{github}/containernetworking/plugins/releases/download/v1.9.0/cni-plugins-linux-amd64-v1.9.0.tgz"
                ),
                format!(
                    "{github}/containernetworking/plugins/releases/download/v1.9.0/cni-plugins-linux-amd64-v1.9.0.tgz.sha256"
                ),
                named("cni-plugins-linux-amd64-v1.9.0.tgz"),
                unsigned(NO_SIGNATURE),
            ),
            (
                BaseImage::named("lab-trixie").unwrap().wanted(Arch::Amd64),
                "https://nodebake.invalid/lab/guest-amd64.img".to_owned(),
                "https://nodebake.invalid/lab/SHA256SUMS".to_owned(),
                named("guest-amd64.img"),
                unsigned("the lab signs nothing"),
            ),
        ] {
            let published = fixed(wanted);
            assert_eq!(row(&published), (vec![url], checksums, Algorithm::Sha256, place));
            assert_eq!(published.signed, signed);
        }
    }

    #[test]
    fn moving_addresses_lead_to_dated_ones() {
        let ubuntu = moving("ubuntu-24.04", Arch::Arm64);
        let releases = "cloud-images.ubuntu.com/releases/noble";
        assert_eq!(ubuntu.newest.as_str(), format!("https://{releases}/release/unpacked/build-info.txt"));
        let published = ubuntu.at(&Release::parse("20251213.1").unwrap()).unwrap();
        let name = "ubuntu-24.04-server-cloudimg-arm64.img";
        let dated = format!("https://{releases}/release-20251213.1");
        let archived = format!("http://cloud-images-archive.ubuntu.com/releases/noble/release-20251213.1/{name}");
        let place = Place::Named(name.to_owned());
        let (image, sums) = (format!("{dated}/{name}"), format!("{dated}/SHA256SUMS"));
        assert_eq!(row(&published), (vec![image, archived], sums.clone(), Algorithm::Sha256, place));
        let signature = Url::parse(&format!("{sums}.gpg")).unwrap();
        assert_eq!(published.signed, Signed::Detached(Signer::Ubuntu, signature));

        let debian = moving("debian-13", Arch::Amd64);
        let trixie = "https://cloud.debian.org/images/cloud/trixie";
        assert_eq!(debian.newest.as_str(), format!("{trixie}/latest/debian-13-genericcloud-amd64.json"));
        let published = debian.at(&Release::parse("20250814-2204").unwrap()).unwrap();
        let name = "debian-13-genericcloud-amd64-20250814-2204.qcow2";
        let (image, sums) = (format!("{trixie}/20250814-2204/{name}"), format!("{trixie}/20250814-2204/SHA512SUMS"));
        let place = Place::Named(name.to_owned());
        assert_eq!(row(&published), (vec![image], sums, Algorithm::Sha512, place));
        assert_eq!(published.signed, Signed::No(NO_SIGNATURE.to_owned()));
    }

    #[test]
    fn base_images_are_whole() {
        for name in BaseImage::names() {
            let image = BaseImage::named(name).unwrap();
            assert!(image.min_disk >= 1 << 30 && image.files.contains_key(&Arch::Amd64), "{image:?}");
            for arch in image.files.keys() {
                assert_eq!(image.wanted(*arch).unwrap().version, name);
                assert!(image.published(*arch, "20250814-2204").is_ok());
            }
        }
    }

    #[test]
    fn unknown_images_are_refused_with_the_known_ones() {
        let error = BaseImage::named("ubuntu-22.04").unwrap_err();
        assert_eq!(error.to_string(), "no base image is called \"ubuntu-22.04\"");
        let hint = Some("base images are: ubuntu-24.04, debian-13".to_owned());
        assert_eq!(error.hint(), hint);
        let error = BaseImage::named("lab-trixie").unwrap().wanted(Arch::Arm64).unwrap_err();
        assert_eq!(error.to_string(), "base image lab-trixie is not published for arm64");
        assert_eq!(error.hint(), hint);
    }

    fn config(edits: &[(&str, &str)]) -> Config {
        let text = edits.iter().fold(include_str!("../config/init.yaml").to_owned(), |text, (from, to)| {
            assert!(text.contains(from), "{from}");
            text.replace(from, to)
        });
        crate::config::parse(std::path::Path::new("/c/nodebake.yaml"), &text).unwrap()
    }

    fn asked(config: &Config) -> Vec<(Kind, String, Arch, bool)> {
        let given = |wanted: &Wanted| matches!(wanted.supply, Supply::Given { .. });
        wanted(config).unwrap().into_iter().map(|w| (w.kind, w.version.clone(), w.arch, given(&w))).collect()
    }

    #[test]
    fn a_cluster_file_wants_one_of_each_kind() {
        let row = |kind, version: &str| (kind, version.to_owned(), Arch::Amd64, false);
        assert_eq!(
            asked(&config(&[])),
            [
                row(Kind::Kubelet, "1.35.1"),
                row(Kind::Kubectl, "1.35.1"),
                row(Kind::Containerd, "2.2.1"),
                row(Kind::Runc, "1.2.8"),
                row(Kind::CniPlugins, "1.9.0"),
                row(Kind::BaseImage, "ubuntu-24.04"),
            ]
        );
    }

    #[test]
    fn architectures_and_own_files_stand_side_by_side() {
        let digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let artifacts = [
            "{kind: package, url: 'https://h/b_1_arm64.deb', arch: arm64",
            "{kind: package, path: a_1_amd64.deb",
            "{kind: binary, name: crictl, path: x",
            "{kind: runc, path: build/runc, arch: arm64",
            "{kind: base-image, url: 'https://h/own.qcow2'",
        ];
        let artifacts = artifacts.map(|item| format!("  - {item}, sha256: {digest}}}\n")).concat();
        let edits = [
            ("\nnodes:\n", &format!("\nartifacts:\n{artifacts}\nnodes:\n")[..]),
            ("    address: 10.0.0.37\n", "    address: 10.0.0.37\n    arch: arm64\n"),
        ];
        let (amd64, arm64) = (Arch::Amd64, Arch::Arm64);
        let row = |kind, version: &str, arch, given| (kind, version.to_owned(), arch, given);
        assert_eq!(
            asked(&config(&edits)),
            [
                row(Kind::Kubelet, "1.35.1", amd64, false),
                row(Kind::Kubelet, "1.35.1", arm64, false),
                row(Kind::Kubectl, "1.35.1", amd64, false),
                row(Kind::Kubectl, "1.35.1", arm64, false),
                row(Kind::Containerd, "2.2.1", amd64, false),
                row(Kind::Containerd, "2.2.1", arm64, false),
                row(Kind::Runc, "1.2.8", amd64, false),
                row(Kind::Runc, "1.2.8", arm64, true),
                row(Kind::CniPlugins, "1.9.0", amd64, false),
                row(Kind::CniPlugins, "1.9.0", arm64, false),
                row(Kind::BaseImage, "own.qcow2", amd64, true),
                row(Kind::BaseImage, "ubuntu-24.04", arm64, false),
                row(Kind::Binary, "crictl", amd64, true),
                row(Kind::Package, "a_1_amd64.deb", amd64, true),
                row(Kind::Package, "b_1_arm64.deb", arm64, true),
            ]
        );
        // What no node is for is left out.
        let one = &edits[..1];
        assert!(asked(&config(one)).iter().all(|(_, _, arch, _)| *arch == amd64));
    }

    #[test]
    fn an_own_base_image_needs_an_image_of_the_catalogue_still() {
        let digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let artifacts = format!("\nartifacts:\n  - {{kind: base-image, path: own.img, sha256: {digest}}}\n\nnodes:\n");
        let config = config(&[("\nnodes:\n", &artifacts), ("image: ubuntu-24.04", "image: mine")]);
        assert_eq!(wanted(&config).unwrap_err().to_string(), "no base image is called \"mine\"");
    }
}
