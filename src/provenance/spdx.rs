//! An SPDX document in JSON (SPDX specification 2.3): what is in a node's images, package by package.

#![expect(clippy::struct_field_names, reason = "the names are SPDX's")]

use std::collections::BTreeSet;

use serde::Serialize;

use super::{Made, VERSION, address, file_name, is_upstream, json, name, purl, version};
use crate::artifacts::{Checksum, Entry, Kind};
use crate::config::Location;
use crate::digest::Digest;
use crate::render::{PayloadPlace, canonical_reference};

/// What is said where nothing is known.
const NOASSERTION: &str = "NOASSERTION";
/// The licence of nodebake and of the programs that every node has, as their projects state it.
const APACHE: &str = "Apache-2.0";

const DOCUMENT: &str = "SPDXRef-DOCUMENT";
const IMAGE: &str = "SPDXRef-image";
const PAYLOAD: &str = "SPDXRef-payload";
const TOOL: &str = "SPDXRef-nodebake";
const GOLDEN_BASE: &str = "SPDXRef-golden-base";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    spdx_version: &'static str,
    data_license: &'static str,
    #[serde(rename = "SPDXID")]
    id: &'static str,
    name: String,
    document_namespace: String,
    creation_info: CreationInfo,
    packages: Vec<Package>,
    relationships: Vec<Relationship>,
}

#[derive(Serialize)]
struct CreationInfo {
    created: String,
    creators: Vec<String>,
}

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Package {
    #[serde(rename = "SPDXID")]
    id: String,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    version_info: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    package_file_name: Option<String>,
    supplier: String,
    download_location: String,
    files_analyzed: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    checksums: Vec<PackageChecksum>,
    license_concluded: &'static str,
    license_declared: &'static str,
    copyright_text: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    source_info: Option<String>,
    primary_package_purpose: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    external_refs: Vec<ExternalRef>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PackageChecksum {
    algorithm: String,
    checksum_value: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ExternalRef {
    reference_category: &'static str,
    reference_type: &'static str,
    reference_locator: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Relationship {
    spdx_element_id: String,
    relationship_type: &'static str,
    related_spdx_element: String,
}

/// The bill of materials of a node's image: the image itself, the payload with all that is in it, the base image, and
/// nodebake, whose scripts and units are in the image.
pub fn document(made: &Made) -> Vec<u8> {
    let mut packages = vec![image(made), payload(made), tool()];
    let relate = |from: &str, kind, to: &str| Relationship {
        spdx_element_id: from.to_owned(),
        relationship_type: kind,
        related_spdx_element: to.to_owned(),
    };
    let holds_payload = match made.place {
        PayloadPlace::Seed => relate(IMAGE, "CONTAINS", PAYLOAD),
        PayloadPlace::Drive | PayloadPlace::BaseImage => relate(IMAGE, "DEPENDS_ON", PAYLOAD),
    };
    let mut relationships = vec![
        relate(DOCUMENT, "DESCRIBES", IMAGE),
        holds_payload,
        relate(TOOL, "BUILD_TOOL_OF", IMAGE),
        relate(TOOL, "BUILD_TOOL_OF", PAYLOAD),
    ];
    if let Some(entry) = made.base() {
        let base = locked(entry, made);
        relationships.push(relate(IMAGE, "DEPENDS_ON", &base.id));
        if let Some(golden) = made.golden {
            let origin = golden_base(&golden.base);
            relationships.push(relate(&base.id, "DESCENDANT_OF", &origin.id));
            packages.push(origin);
        }
        if made.place == PayloadPlace::BaseImage {
            relationships.push(relate(&base.id, "CONTAINS", PAYLOAD));
        }
        packages.push(base);
    }
    for entry in made.packed() {
        let package = locked(entry, made);
        relationships.push(relate(PAYLOAD, "CONTAINS", &package.id));
        for image in preloaded(entry, made) {
            relationships.push(relate(&package.id, "CONTAINS", &image.id));
            packages.push(image);
        }
        packages.push(package);
    }
    packages.sort_by(|a, b| a.id.cmp(&b.id));
    let document = Document {
        spdx_version: "SPDX-2.3",
        data_license: "CC0-1.0",
        id: DOCUMENT,
        name: made.node.name.to_string(),
        document_namespace: String::new(),
        creation_info: CreationInfo {
            created: made.time.to_string(),
            creators: vec![format!("Tool: nodebake-{VERSION}")],
        },
        packages,
        relationships,
    };
    json(&Document { document_namespace: namespace(&document, made), ..document })
}

/// No two documents that differ have the same (SPDX 2.3, 6.5): it is named by a digest of all the rest.
fn namespace(document: &Document, made: &Made) -> String {
    let digest = Digest::of(&json(document));
    format!("https://nodebake.dev/spdx/{}/{}/{digest}", made.cluster.name, made.node.name)
}

/// A package of which nothing but its name is known.
fn unknown(id: String, name: String, purpose: &'static str) -> Package {
    Package {
        id,
        name,
        supplier: NOASSERTION.to_owned(),
        download_location: NOASSERTION.to_owned(),
        license_concluded: NOASSERTION,
        license_declared: NOASSERTION,
        copyright_text: NOASSERTION,
        primary_package_purpose: purpose,
        ..Package::default()
    }
}

fn image(made: &Made) -> Package {
    let name = file_name(&made.image.path);
    Package {
        package_file_name: Some(name),
        checksums: vec![sha256(made.image.digest)],
        ..unknown(IMAGE.to_owned(), made.node.name.to_string(), "INSTALL")
    }
}

fn payload(made: &Made) -> Package {
    let name = file_name(&made.payload.path);
    Package {
        package_file_name: Some(name),
        checksums: vec![sha256(made.payload.digest)],
        ..unknown(PAYLOAD.to_owned(), format!("nodebake-payload-{}", made.node.arch), "ARCHIVE")
    }
}

fn tool() -> Package {
    Package {
        version_info: Some(VERSION.to_owned()),
        license_declared: APACHE,
        ..unknown(TOOL.to_owned(), "nodebake".to_owned(), "APPLICATION")
    }
}

/// The disk that a golden image was made from; its address is in the lock of then.
fn golden_base(digest: &str) -> Package {
    let (algorithm, digits) = digest.split_once(':').unwrap_or(("sha256", digest));
    Package {
        checksums: vec![checksum(algorithm, digits)],
        ..unknown(GOLDEN_BASE.to_owned(), "golden-base".to_owned(), "OPERATING_SYSTEM")
    }
}

fn locked(entry: &Entry, made: &Made) -> Package {
    let purpose = match entry.kind {
        Kind::BaseImage => "OPERATING_SYSTEM",
        Kind::ContainerImage => "CONTAINER",
        Kind::Package => "INSTALL",
        _ => "APPLICATION",
    };
    let id = if entry.kind.is_named() { format!("{} {}", entry.kind, entry.version) } else { entry.kind.to_string() };
    let from = entry.from.beneath(made.folder);
    let (supplier, license) = stated(entry);
    Package {
        version_info: version(entry),
        package_file_name: Some(match &from {
            Location::Url(_) => from.file_name(),
            Location::Path(path) => path.display().to_string(),
        }),
        supplier: supplier.map_or_else(|| NOASSERTION.to_owned(), |name| format!("Organization: {name}")),
        download_location: address(entry).unwrap_or(NOASSERTION).to_owned(),
        checksums: vec![match &entry.checksum {
            Checksum::Sha256(digest) => sha256(*digest),
            Checksum::Sha512(_) => checksum("sha512", &entry.checksum.hex()),
        }],
        license_declared: license,
        source_info: Some(entry.trust.to_string()),
        external_refs: vec![package_url(purl::of(entry))],
        ..unknown(spdx_id(&id), name(entry), purpose)
    }
}

/// Who publishes a file, and the licence that they state for it, as far as nodebake knows.
fn stated(entry: &Entry) -> (Option<&'static str>, &'static str) {
    match entry.kind {
        _ if !is_upstream(entry) => (None, NOASSERTION),
        Kind::Kubelet | Kind::Kubectl => (Some("The Kubernetes Authors"), APACHE),
        Kind::Containerd => (Some("The containerd Authors"), APACHE),
        Kind::Runc => (Some("Open Container Initiative"), APACHE),
        Kind::CniPlugins => (Some("CNI authors"), APACHE),
        _ => (None, NOASSERTION),
    }
}

/// The images in an archive, by the names that containerd knows them by.
fn preloaded(entry: &Entry, made: &Made) -> Vec<Package> {
    let archives = made.payload.contents.images.iter();
    let archives = archives.filter(|image| entry.kind == Kind::ContainerImage && image.file == entry.version);
    let references: BTreeSet<_> =
        archives.flat_map(|image| &image.references).map(|reference| canonical_reference(reference)).collect();
    let package = |reference: String| {
        let (name, version) = purl::parted(&reference).unwrap_or((&reference, ""));
        Package {
            version_info: Some(version.to_owned()).filter(|version| !version.is_empty()),
            external_refs: purl::image(&reference).map(package_url).into_iter().collect(),
            // An image may be in several archives.
            ..unknown(spdx_id(&format!("{} {reference}", entry.version)), name.to_owned(), "CONTAINER")
        }
    };
    references.into_iter().map(package).collect()
}

/// An identifier of letters, digits, "." and "-" alone (SPDX 2.3, 7.2); a digest keeps texts apart that would be the same.
fn spdx_id(text: &str) -> String {
    let plain: String = text.chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' }).collect();
    if plain == text || text.bytes().all(|b| b.is_ascii_lowercase() || b == b'-') {
        return format!("SPDXRef-{plain}");
    }
    format!("SPDXRef-{plain}-{}", Digest::of(text.as_bytes()).short())
}

fn sha256(digest: Digest) -> PackageChecksum {
    checksum("sha256", &digest.to_string())
}

fn checksum(algorithm: &str, digits: &str) -> PackageChecksum {
    PackageChecksum { algorithm: algorithm.to_uppercase(), checksum_value: digits.to_owned() }
}

fn package_url(purl: String) -> ExternalRef {
    ExternalRef { reference_category: "PACKAGE-MANAGER", reference_type: "purl", reference_locator: purl }
}
