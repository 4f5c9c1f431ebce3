//! An in-toto statement (<https://in-toto.io/Statement/v1>) with SLSA's provenance (<https://slsa.dev/provenance/v1>): what
//! came out, what went in, and what made it.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Made, VERSION, address, file_name, json, purl};
use crate::artifacts::Entry;
use crate::config::{Arch, Location};
use crate::digest::Digest;
use crate::render::{Input, PayloadPlace};

/// How the parameters and inputs are to be read (docs/provenance.md); another number for another meaning.
const BUILD_TYPE: &str = "https://nodebake.dev/build/v1";

/// A file that came out beside the images.
#[derive(Debug, Clone)]
pub struct Byproduct {
    /// Its name.
    pub name: String,
    /// SHA-256 of it.
    pub digest: Digest,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Statement<'a> {
    #[serde(rename = "_type")]
    form: &'static str,
    subject: Vec<Resource>,
    predicate_type: &'static str,
    predicate: Predicate<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Predicate<'a> {
    build_definition: BuildDefinition<'a>,
    run_details: RunDetails,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct BuildDefinition<'a> {
    build_type: &'static str,
    external_parameters: ExternalParameters,
    internal_parameters: InternalParameters<'a>,
    resolved_dependencies: Vec<Resource>,
}

/// What was asked for.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ExternalParameters {
    cluster: String,
    node: String,
    arch: Arch,
    payload_place: PayloadPlace,
    /// `SOURCE_DATE_EPOCH`, or what stands in for it.
    time: String,
}

/// What came of it on the way.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct InternalParameters<'a> {
    instance_id: &'a str,
}

#[derive(Serialize)]
struct RunDetails {
    builder: Builder,
    byproducts: Vec<Resource>,
}

#[derive(Serialize)]
struct Builder {
    id: String,
    version: BTreeMap<&'static str, &'static str>,
}

/// in-toto's `ResourceDescriptor`.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Resource {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    uri: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    digest: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    download_location: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<&'static str, String>,
}

/// The statement of a node's image and payload. No time of the build is in it, which would make two of the same differ.
pub fn statement(made: &Made, byproducts: Vec<Byproduct>) -> Vec<u8> {
    let resource = |byproduct: Byproduct| Resource::of(byproduct.name, byproduct.digest);
    json(&Statement {
        form: "https://in-toto.io/Statement/v1",
        subject: vec![
            Resource::of(file_name(&made.image.path), made.image.digest),
            Resource::of(file_name(&made.payload.path), made.payload.digest),
        ],
        predicate_type: "https://slsa.dev/provenance/v1",
        predicate: Predicate {
            build_definition: BuildDefinition {
                build_type: BUILD_TYPE,
                external_parameters: ExternalParameters {
                    cluster: made.cluster.name.to_string(),
                    node: made.node.name.to_string(),
                    arch: made.node.arch,
                    payload_place: made.place,
                    time: made.time.to_string(),
                },
                internal_parameters: InternalParameters { instance_id: made.instance_id },
                resolved_dependencies: dependencies(made),
            },
            run_details: RunDetails {
                builder: Builder {
                    id: format!("https://nodebake.dev/nodebake/{VERSION}"),
                    version: BTreeMap::from([("nodebake", VERSION)]),
                },
                byproducts: byproducts.into_iter().map(resource).collect(),
            },
        },
    })
}

fn dependencies(made: &Made) -> Vec<Resource> {
    let locked = made.entries.iter().map(|entry| locked(entry, made));
    let golden = made.golden.map(|golden| {
        let (algorithm, digits) = golden.base.split_once(':').unwrap_or(("sha256", &golden.base));
        let digest = BTreeMap::from([(algorithm.to_owned(), digits.to_owned())]);
        Resource { name: "base of the golden image".to_owned(), digest, ..Resource::default() }
    });
    let certificates = [("cluster CA certificate", made.cluster.ca), ("node certificate", made.certificate)];
    let certificates = certificates.map(|(name, digest)| Resource::of(name.to_owned(), digest));
    let own = made.inputs.iter().map(|input| own(input, made));
    locked.chain(golden).chain(certificates).chain(own).collect()
}

fn locked(entry: &Entry, made: &Made) -> Resource {
    let mut annotations = BTreeMap::from([("trust", entry.trust.to_string()), ("size", entry.size.to_string())]);
    if let path @ Location::Path(_) = entry.from.beneath(made.folder) {
        annotations.insert("path", path.to_string());
    }
    Resource {
        name: entry.to_string(),
        uri: Some(purl::of(entry)),
        digest: BTreeMap::from([(entry.checksum.algorithm().to_string(), entry.checksum.hex())]),
        download_location: address(entry).map(str::to_owned),
        annotations,
    }
}

/// A file of the user's own, by its path from the cluster file's folder.
fn own(input: &Input, made: &Made) -> Resource {
    let name = Location::Path(input.path.clone()).beneath(made.folder).to_string();
    let why = input.digest.is_none().then(|| ("withheld", "the digest of what may hold a secret".to_owned()));
    Resource {
        name,
        digest: input.digest.iter().map(|digest| ("sha256".to_owned(), digest.to_string())).collect(),
        annotations: std::iter::once(("setting", input.setting.clone())).chain(why).collect(),
        ..Resource::default()
    }
}

impl Resource {
    fn of(name: String, digest: Digest) -> Self {
        Self { name, digest: BTreeMap::from([("sha256".to_owned(), digest.to_string())]), ..Self::default() }
    }
}
