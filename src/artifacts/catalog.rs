//! What upstream publishes, and where.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use url::Url;

use super::checksum::{Algorithm, Place};
use crate::config::{Arch, Config};

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
    /// Its version without a leading `v`; of a base image the name in the catalogue.
    pub version: String,
    /// The architecture that it is for.
    pub arch: Arch,
    /// Upstream's address of it.
    pub url: Url,
    /// Upstream's address of the file with its digest.
    pub checksums: Url,
    /// The hash function of that digest.
    pub algorithm: Algorithm,
    /// How to find the digest in that file.
    pub place: Place,
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
}

/// A base image for one architecture.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageFile {
    /// Upstream's address; it may move on to newer images.
    #[serde(deserialize_with = "url")]
    pub url: Url,
    /// Upstream's address of the checksum file, which lists the image by its file name.
    #[serde(deserialize_with = "url")]
    pub checksums: Url,
    /// The hash function used there.
    pub algorithm: Algorithm,
    /// How a machine starts from it.
    pub firmware: Firmware,
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
                Some(format!("base images are: {}", BaseImage::names().collect::<Vec<_>>().join(", ")))
            }
            Self::Builtin { .. } | Self::Url { .. } => None,
        }
    }
}

fn url<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Url, D::Error> {
    Url::parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
}

/// The files in images/, by name.
const IMAGES: &[(&str, &str)] = &[
    ("ubuntu-24.04", include_str!("../../images/ubuntu-24.04.yaml")),
    ("debian-13", include_str!("../../images/debian-13.yaml")),
    ("lab-trixie", include_str!("../../images/lab-trixie.yaml")),
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ImageYaml {
    description: String,
    format: ImageFormat,
    user: String,
    min_disk_mib: u64,
    files: BTreeMap<Arch, ImageFile>,
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
        let ImageYaml { description, format, user, min_disk_mib, files } =
            serde_yaml::from_str(yaml).map_err(|source| CatalogError::Builtin { name, source })?;
        Ok(Self { name, description, format, user, min_disk: min_disk_mib << 20, files })
    }

    /// The file for an architecture.
    pub fn file(&self, arch: Arch) -> Result<&ImageFile, CatalogError> {
        self.files.get(&arch).ok_or_else(|| CatalogError::NotForArch { name: self.name.to_owned(), arch })
    }

    fn wanted(&self, arch: Arch) -> Result<Wanted, CatalogError> {
        let ImageFile { url, checksums, algorithm, .. } = self.file(arch)?.clone();
        let name = url.path_segments().and_then(Iterator::last).unwrap_or_default().to_owned();
        let place = Place::Named(name);
        Ok(Wanted { kind: Kind::BaseImage, version: self.name.to_owned(), arch, url, checksums, algorithm, place })
    }
}

/// Everything that the cluster file asks for of upstream, sorted by kind and architecture.
pub fn wanted(config: &Config) -> Result<Vec<Wanted>, CatalogError> {
    let versions = &config.versions;
    let mut wanted = Vec::new();
    for arch in config.architectures() {
        wanted.extend([
            kubernetes(Kind::Kubelet, &versions.kubernetes, arch)?,
            kubernetes(Kind::Kubectl, &versions.kubernetes, arch)?,
            containerd(&versions.containerd, arch)?,
            runc(&versions.runc, arch)?,
            cni_plugins(&versions.cni_plugins, arch)?,
            BaseImage::named(&config.image)?.wanted(arch)?,
        ]);
    }
    wanted.sort_by_key(|wanted| (wanted.kind, wanted.arch));
    Ok(wanted)
}

/// dl.k8s.io has .sha256 and .sha512 beside each binary, each with the digest alone.
fn kubernetes(kind: Kind, version: &semver::Version, arch: Arch) -> Result<Wanted, CatalogError> {
    let url = format!("https://dl.k8s.io/release/v{version}/bin/linux/{arch}/{kind}");
    released(kind, version, arch, &url, &format!("{url}.sha256"), Place::Bare)
}

/// containerd has one .sha256sum beside each archive.
fn containerd(version: &semver::Version, arch: Arch) -> Result<Wanted, CatalogError> {
    let name = format!("containerd-{version}-linux-{arch}.tar.gz");
    let url = format!("https://github.com/containerd/containerd/releases/download/v{version}/{name}");
    released(Kind::Containerd, version, arch, &url, &format!("{url}.sha256sum"), Place::Named(name))
}

/// runc has one clear-signed runc.sha256sum for all its files.
fn runc(version: &semver::Version, arch: Arch) -> Result<Wanted, CatalogError> {
    let folder = format!("https://github.com/opencontainers/runc/releases/download/v{version}");
    let name = format!("runc.{arch}");
    let (url, checksums) = (format!("{folder}/{name}"), format!("{folder}/runc.sha256sum"));
    released(Kind::Runc, version, arch, &url, &checksums, Place::Named(name))
}

/// The CNI project has .sha1, .sha256 and .sha512 beside each archive.
fn cni_plugins(version: &semver::Version, arch: Arch) -> Result<Wanted, CatalogError> {
    let name = format!("cni-plugins-linux-{arch}-v{version}.tgz");
    let url = format!("https://github.com/containernetworking/plugins/releases/download/v{version}/{name}");
    released(Kind::CniPlugins, version, arch, &url, &format!("{url}.sha256"), Place::Named(name))
}

fn released(
    kind: Kind,
    version: &semver::Version,
    arch: Arch,
    url: &str,
    checksums: &str,
    place: Place,
) -> Result<Wanted, CatalogError> {
    let parse = |text: &str| Url::parse(text).map_err(|source| CatalogError::Url { text: text.to_owned(), source });
    let (url, checksums) = (parse(url)?, parse(checksums)?);
    Ok(Wanted { kind, version: version.to_string(), arch, url, checksums, algorithm: Algorithm::Sha256, place })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    /// Address, checksum file, hash function, place.
    fn row(wanted: &Wanted) -> (String, String, Algorithm, Place) {
        (wanted.url.to_string(), wanted.checksums.to_string(), wanted.algorithm, wanted.place.clone())
    }

    #[test]
    fn names_upstreams_addresses() {
        let version = |text| semver::Version::parse(text).unwrap();
        let named = |name: &str| Place::Named(name.to_owned());
        let github = "https://github.com";
        let ubuntu = "https://cloud-images.ubuntu.com/noble/current";
        let debian = "https://cloud.debian.org/images/cloud/trixie/latest";
        for (wanted, url, checksums, algorithm, place) in [
            (
                kubernetes(Kind::Kubelet, &version("1.35.1"), Arch::Amd64),
                "https://dl.k8s.io/release/v1.35.1/bin/linux/amd64/kubelet".to_owned(),
                "https://dl.k8s.io/release/v1.35.1/bin/linux/amd64/kubelet.sha256".to_owned(),
                Algorithm::Sha256,
                Place::Bare,
            ),
            (
                kubernetes(Kind::Kubectl, &version("1.36.0-rc.1"), Arch::Arm64),
                "https://dl.k8s.io/release/v1.36.0-rc.1/bin/linux/arm64/kubectl".to_owned(),
                "https://dl.k8s.io/release/v1.36.0-rc.1/bin/linux/arm64/kubectl.sha256".to_owned(),
                Algorithm::Sha256,
                Place::Bare,
            ),
            (
                containerd(&version("2.2.1"), Arch::Amd64),
                format!("{github}/containerd/containerd/releases/download/v2.2.1/containerd-2.2.1-linux-amd64.tar.gz"),
                format!(
                    "{github}/containerd/containerd/releases/download/v2.2.1/containerd-2.2.1-linux-amd64.tar.gz.sha256sum"
                ),
                Algorithm::Sha256,
                named("containerd-2.2.1-linux-amd64.tar.gz"),
            ),
            (
                runc(&version("1.2.8"), Arch::Arm64),
                format!("{github}/opencontainers/runc/releases/download/v1.2.8/runc.arm64"),
                format!("{github}/opencontainers/runc/releases/download/v1.2.8/runc.sha256sum"),
                Algorithm::Sha256,
                named("runc.arm64"),
            ),
            (
                cni_plugins(&version("1.9.0"), Arch::Amd64),
                format!(
                    "{github}/containernetworking/plugins/releases/download/v1.9.0/cni-plugins-linux-amd64-v1.9.0.tgz"
                ),
                format!(
                    "{github}/containernetworking/plugins/releases/download/v1.9.0/cni-plugins-linux-amd64-v1.9.0.tgz.sha256"
                ),
                Algorithm::Sha256,
                named("cni-plugins-linux-amd64-v1.9.0.tgz"),
            ),
            (
                BaseImage::named("ubuntu-24.04").unwrap().wanted(Arch::Arm64),
                format!("{ubuntu}/noble-server-cloudimg-arm64.img"),
                format!("{ubuntu}/SHA256SUMS"),
                Algorithm::Sha256,
                named("noble-server-cloudimg-arm64.img"),
            ),
            (
                BaseImage::named("debian-13").unwrap().wanted(Arch::Amd64),
                format!("{debian}/debian-13-genericcloud-amd64.qcow2"),
                format!("{debian}/SHA512SUMS"),
                Algorithm::Sha512,
                named("debian-13-genericcloud-amd64.qcow2"),
            ),
            (
                BaseImage::named("lab-trixie").unwrap().wanted(Arch::Amd64),
                "https://nodebake.invalid/lab/guest-amd64.img".to_owned(),
                "https://nodebake.invalid/lab/SHA256SUMS".to_owned(),
                Algorithm::Sha256,
                named("guest-amd64.img"),
            ),
        ] {
            assert_eq!(row(&wanted.unwrap()), (url, checksums, algorithm, place));
        }
    }

    #[test]
    fn base_images_are_whole() {
        for name in BaseImage::names() {
            let image = BaseImage::named(name).unwrap();
            assert!(image.min_disk >= 1 << 30 && image.files.contains_key(&Arch::Amd64), "{image:?}");
            assert_eq!(image.wanted(Arch::Amd64).unwrap().version, name);
        }
    }

    #[test]
    fn unknown_images_are_refused_with_the_known_ones() {
        let error = BaseImage::named("ubuntu-22.04").unwrap_err();
        assert_eq!(error.to_string(), "no base image is called \"ubuntu-22.04\"");
        let hint = Some("base images are: ubuntu-24.04, debian-13, lab-trixie".to_owned());
        assert_eq!(error.hint(), hint);
        let error = BaseImage::named("lab-trixie").unwrap().wanted(Arch::Arm64).unwrap_err();
        assert_eq!(error.to_string(), "base image lab-trixie is not published for arm64");
        assert_eq!(error.hint(), hint);
    }

    #[test]
    fn a_cluster_file_wants_one_of_each_kind() {
        let text = include_str!("../config/init.yaml");
        let config = crate::config::parse(std::path::Path::new("/c/nodebake.yaml"), text).unwrap();
        let found: Vec<_> = wanted(&config).unwrap().into_iter().map(|w| (w.kind, w.version, w.arch)).collect();
        let row = |kind, version: &str| (kind, version.to_owned(), Arch::Amd64);
        assert_eq!(
            found,
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
}
