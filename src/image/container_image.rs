//! Looks into archives of container images: an OCI image layout (image-spec 1.0, image-layout.md) or what `docker save`
//! writes, both a tar. An archive that is both counts as the first, as it does for containerd.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Read};

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::unpack::{self, Limits, Member, UnpackError};
use crate::artifacts::{Algorithm, Checksum};
use crate::config::Arch;

/// What an archive may hold; layers count as one entry each.
const LIMITS: Limits = Limits { entries: 10_000, bytes: 64 << 30 };
/// Largest description of an image that is read, in bytes; containerd's own limit is 8 MiB.
const MAX_JSON: u64 = 1 << 20;
/// Most bytes of all descriptions.
const MAX_ALL_JSON: usize = 8 << 20;
/// How deep indexes may stand in indexes.
const MAX_DEPTH: usize = 4;

/// What is wrong with an archive.
#[derive(Debug, thiserror::Error)]
pub enum ContainerImageError {
    /// It cannot be read, or has entries that it must not have.
    #[error("it is refused")]
    Unpack(#[source] UnpackError),
    /// A tar of something else.
    #[error("it is neither an OCI image layout nor a docker archive")]
    Unknown,
    /// A version of the layout that this is not.
    #[error("its image layout has version {found:?} instead of 1.0.0")]
    Layout {
        /// What it says.
        found: String,
    },
    /// A description that is not as it should be.
    #[error("{path} cannot be read")]
    Json {
        /// Its path in the archive.
        path: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// A blob that is not what its name says.
    #[error("{path} has other bytes than its name says: {got}")]
    Digest {
        /// Its path in the archive.
        path: String,
        /// The digest of what is there.
        got: Box<Checksum>,
    },
    /// Something that an image needs is not there, or not of the announced size.
    #[error("it lacks {path}, which {by} needs")]
    Lacks {
        /// A path in the archive.
        path: String,
        /// What names it.
        by: String,
    },
    /// Descriptions that are too large, too many or too deep.
    #[error("its descriptions are larger or deeper than any image needs")]
    TooMuch,
    /// No image for the nodes.
    #[error("it is built for {got}, not for {wanted}")]
    Architecture {
        /// The nodes' architecture.
        wanted: Arch,
        /// Those of the images, joined by commas.
        got: String,
    },
    /// A name that no registry and no runtime would take.
    #[error("it has an image of the name {name:?}, which is none")]
    Name {
        /// What it says.
        name: String,
    },
    /// Images that nobody could ask for.
    #[error("no image in it has a name")]
    NoName,
}

impl ContainerImageError {
    /// What to do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::NoName | Self::Name { .. } => "save it by its name and tag rather than by its digest or identifier",
            Self::Architecture { .. } => "save the image for the architecture of the nodes",
            _ => "save the image again, for example with `skopeo copy ... oci-archive:FILE:NAME:TAG` or `docker save`",
        }
        .to_owned()
    }
}

/// Checks an archive (decompressed already) and returns the references of its images, in its order: each blob has the
/// digest that its name says, whatever an image needs is there, and at least one image of a name is for `arch`. Reads to
/// the end.
pub fn examine(tar: impl Read, arch: Arch) -> Result<Vec<String>, ContainerImageError> {
    let mut contents = Contents::default();
    let links = unpack::files(tar, LIMITS, |member| contents.take(member))?;
    for path in links {
        contents.files.insert(path, None);
    }
    contents.arch = Some(arch);
    if contents.json.contains_key("oci-layout") {
        contents.layout()
    } else if contents.json.contains_key("manifest.json") {
        contents.docker()
    } else {
        Err(ContainerImageError::Unknown)
    }
}

impl From<UnpackError> for ContainerImageError {
    fn from(error: UnpackError) -> Self {
        Self::Unpack(error)
    }
}

/// What was found in an archive.
#[derive(Default)]
struct Contents {
    /// Size of each file by its path; of a link none.
    files: HashMap<String, Option<u64>>,
    /// Small files that may be descriptions.
    json: BTreeMap<String, Vec<u8>>,
    json_bytes: usize,
    /// Of the nodes.
    arch: Option<Arch>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Layout {
    image_layout_version: String,
}

/// An image index, an image manifest, or what stands in their place.
#[derive(Deserialize)]
struct Manifest {
    #[serde(default)]
    manifests: Vec<Descriptor>,
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Vec<Descriptor>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    #[serde(default)]
    media_type: String,
    digest: String,
    size: u64,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    platform: Option<Platform>,
}

/// Of a descriptor, and of an image's configuration.
#[derive(Deserialize)]
struct Platform {
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    os: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

/// Architectures that were met, and whether one of them is the nodes'.
#[derive(Default)]
struct Met {
    fits: bool,
    others: Vec<String>,
}

impl Contents {
    fn take(&mut self, member: Member<'_>) -> Result<(), ContainerImageError> {
        let Member { path, size, data, .. } = member;
        let read = |source| ContainerImageError::Unpack(UnpackError::Read { source });
        let checksum = blob(&path);
        if size <= MAX_JSON {
            let mut bytes = Vec::new();
            data.read_to_end(&mut bytes).map_err(read)?;
            verify(&path, checksum, &mut bytes.as_slice()).map_err(read)??;
            if bytes.trim_ascii_start().starts_with(b"{") || bytes.trim_ascii_start().starts_with(b"[") {
                self.json_bytes += bytes.len();
                if self.json_bytes > MAX_ALL_JSON {
                    return Err(ContainerImageError::TooMuch);
                }
                self.json.insert(path.clone(), bytes);
            }
        } else {
            verify(&path, checksum, data).map_err(read)??;
        }
        self.files.insert(path, Some(size));
        Ok(())
    }

    fn parse<T: DeserializeOwned>(&self, path: &str, by: &str) -> Result<T, ContainerImageError> {
        let lacks = || ContainerImageError::Lacks { path: path.to_owned(), by: by.to_owned() };
        let bytes = self.json.get(path).ok_or_else(lacks)?;
        serde_json::from_slice(bytes).map_err(|source| ContainerImageError::Json { path: path.to_owned(), source })
    }

    fn layout(&self) -> Result<Vec<String>, ContainerImageError> {
        let Layout { image_layout_version: version } = self.parse("oci-layout", "an OCI image layout")?;
        if version != "1.0.0" {
            return Err(ContainerImageError::Layout { found: version });
        }
        let index: Manifest = self.parse("index.json", "oci-layout")?;
        let mut met = Met::default();
        let mut names = Vec::new();
        for descriptor in &index.manifests {
            let mut here = Met::default();
            self.image(descriptor, "index.json", MAX_DEPTH, &mut here)?;
            if here.fits {
                names.extend(name(descriptor).filter(|name| !names.contains(name)));
            }
            met.fits |= here.fits;
            met.others.extend(here.others);
        }
        self.judge(met, names)
    }

    /// Follows an index or a manifest to all that it needs.
    fn image(&self, descriptor: &Descriptor, by: &str, depth: usize, met: &mut Met) -> Result<(), ContainerImageError> {
        let path = self.need(descriptor, by)?;
        let manifest: Manifest = self.parse(&path, by)?;
        if let Some(config) = &manifest.config {
            for layer in manifest.layers.iter().filter(|layer| !layer.is_foreign()) {
                self.need(layer, &path)?;
            }
            let config_path = self.need(config, &path)?;
            let platform: Platform = self.parse(&config_path, &path)?;
            self.meet(&platform, met);
        }
        let depth = depth.checked_sub(1).ok_or(ContainerImageError::TooMuch)?;
        for inner in &manifest.manifests {
            // Of an index for many platforms, those of the others may be left out.
            let other = inner.platform.as_ref().filter(|platform| !self.fits(platform));
            match other {
                Some(platform) => self.meet(platform, met),
                None => self.image(inner, &path, depth, met)?,
            }
        }
        Ok(())
    }

    /// The path of a blob, which must be there with its size.
    fn need(&self, descriptor: &Descriptor, by: &str) -> Result<String, ContainerImageError> {
        let path = format!("blobs/{}", descriptor.digest.replacen(':', "/", 1));
        match self.files.get(&path) {
            Some(size) if size.is_none_or(|size| size == descriptor.size) => Ok(path),
            _ => Err(ContainerImageError::Lacks { path, by: by.to_owned() }),
        }
    }

    fn docker(&self) -> Result<Vec<String>, ContainerImageError> {
        let by = "manifest.json";
        let images: Vec<Saved> = self.parse(by, "a docker archive")?;
        let mut met = Met::default();
        let mut names = Vec::new();
        for Saved { config, repo_tags, layers } in images {
            if let Some(path) = layers.into_iter().find(|layer| !self.files.contains_key(layer)) {
                return Err(ContainerImageError::Lacks { path, by: by.to_owned() });
            }
            let platform: Platform = self.parse(&config, by)?;
            self.meet(&platform, &mut met);
            if self.fits(&platform) {
                for name in repo_tags.unwrap_or_default() {
                    if !names.contains(&name) {
                        names.push(name);
                    }
                }
            }
        }
        self.judge(met, names)
    }

    fn fits(&self, platform: &Platform) -> bool {
        let arch = self.arch.map(|arch| arch.to_string());
        platform.os == "linux" && Some(&platform.architecture) == arch.as_ref()
    }

    fn meet(&self, platform: &Platform, met: &mut Met) {
        let Platform { architecture, os } = platform;
        if self.fits(platform) {
            met.fits = true;
        } else {
            met.others.push(if os == "linux" { architecture.clone() } else { format!("{os}/{architecture}") });
        }
    }

    fn judge(&self, met: Met, names: Vec<String>) -> Result<Vec<String>, ContainerImageError> {
        let Met { fits, mut others } = met;
        match self.arch {
            Some(wanted) if !fits && !others.is_empty() => {
                others.sort();
                others.dedup();
                Err(ContainerImageError::Architecture { wanted, got: others.join(", ") })
            }
            _ if names.is_empty() => Err(ContainerImageError::NoName),
            _ => match names.iter().find(|name| !is_name(name)) {
                Some(name) => Err(ContainerImageError::Name { name: name.clone() }),
                None => Ok(names),
            },
        }
    }
}

impl Descriptor {
    /// Layers that are fetched from elsewhere and never saved (image-spec, layer.md, "non-distributable").
    fn is_foreign(&self) -> bool {
        self.media_type.contains("nondistributable") || self.media_type.contains("foreign")
    }
}

/// The name of an image, as containerd takes it. `ref.name` alone is often no more than a tag, which names nothing.
fn name(descriptor: &Descriptor) -> Option<String> {
    let annotation = |key: &str| descriptor.annotations.get(key).filter(|name| !name.is_empty());
    let full = |name: &&String| name.contains(['/', ':']);
    annotation("io.containerd.image.name")
        .or_else(|| annotation("org.opencontainers.image.ref.name").filter(full))
        .cloned()
}

/// Whether it has the characters of an image's name, with its registry, tag and digest (distribution-spec 1.1, "Pulling
/// manifests"); containerd refuses what else is wrong.
fn is_name(name: &str) -> bool {
    let inner = |b: u8| b.is_ascii_alphanumeric() || b"-_./:@+".contains(&b);
    name.len() <= 512 && name.bytes().all(inner) && !name.starts_with('-')
}

/// The digest in a blob's path.
fn blob(path: &str) -> Option<Checksum> {
    let (algorithm, hex) = path.strip_prefix("blobs/")?.split_once('/')?;
    let algorithm = match algorithm {
        "sha256" => Algorithm::Sha256,
        "sha512" => Algorithm::Sha512,
        _ => return None,
    };
    algorithm.parse(hex)
}

/// Compares data with its digest, if it has one.
fn verify(
    path: &str,
    checksum: Option<Checksum>,
    data: &mut (impl Read + ?Sized),
) -> io::Result<Result<(), ContainerImageError>> {
    let Some(wanted) = checksum else { return Ok(Ok(())) };
    let mut hasher = wanted.algorithm().hasher();
    hasher.take_all(data, |_| {})?;
    let got = hasher.finish();
    Ok(if got == wanted {
        Ok(())
    } else {
        Err(ContainerImageError::Digest { path: path.to_owned(), got: Box::new(got) })
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::error::Error;

    use serde_json::{Value, json};

    use super::*;
    use crate::digest::Digest;
    use crate::image::unpack::tests::plain_files;

    type Files = Vec<(String, Vec<u8>)>;

    fn tar(files: &[(String, Vec<u8>)]) -> Vec<u8> {
        plain_files(files).into_inner().unwrap()
    }

    /// Adds a blob; returns its descriptor.
    fn put(files: &mut Files, data: &[u8]) -> Value {
        let digest = Digest::of(data);
        let path = format!("blobs/sha256/{digest}");
        if !files.iter().any(|(found, _)| *found == path) {
            files.push((path, data.to_vec()));
        }
        json!({"mediaType": "application/x", "digest": format!("sha256:{digest}"), "size": data.len()})
    }

    fn config(os: &str, arch: &str) -> Vec<u8> {
        json!({"os": os, "architecture": arch, "rootfs": {}}).to_string().into_bytes()
    }

    /// Adds an image of one layer; returns its descriptor.
    fn image(files: &mut Files, os: &str, arch: &str) -> Value {
        let config = put(files, &config(os, arch));
        // Larger than any description that is read.
        let layer = put(files, &vec![0; (1 << 20) + 1]);
        let foreign = json!({
            "mediaType": "application/vnd.oci.image.layer.nondistributable.v1.tar",
            "digest": format!("sha256:{}", Digest::of(b"foreign")),
            "size": 5,
        });
        put(files, json!({"config": config, "layers": [layer, foreign]}).to_string().as_bytes())
    }

    fn named(mut descriptor: Value, annotations: &Value) -> Value {
        descriptor["annotations"] = annotations.clone();
        descriptor
    }

    fn layout(mut files: Files, descriptors: &[Value]) -> Files {
        files.push(("index.json".to_owned(), json!({"manifests": descriptors}).to_string().into_bytes()));
        files.push(("oci-layout".to_owned(), br#"{"imageLayoutVersion": "1.0.0"}"#.to_vec()));
        files
    }

    const PAUSE: &str = "registry.k8s.io/pause:3.10";

    fn pause() -> Files {
        let mut files = Files::new();
        let descriptor = image(&mut files, "linux", "amd64");
        layout(files, &[named(descriptor, &json!({"org.opencontainers.image.ref.name": PAUSE}))])
    }

    fn examined(files: &[(String, Vec<u8>)]) -> Result<Vec<String>, String> {
        examine(tar(files).as_slice(), Arch::Amd64).map_err(|error| {
            let chain = std::iter::successors(Some(&error as &dyn Error), |error| (*error).source());
            chain.map(ToString::to_string).collect::<Vec<_>>().join(": ")
        })
    }

    #[test]
    fn names_of_oci_layouts_are_read_as_containerd_reads_them() {
        assert_eq!(examined(&pause()), Ok(vec![PAUSE.to_owned()]));
        let names = |annotations: Value| {
            let mut files = Files::new();
            let descriptor = image(&mut files, "linux", "amd64");
            examined(&layout(files, &[named(descriptor, &annotations)]))
        };
        let both = json!({"io.containerd.image.name": "a.example/x:1", "org.opencontainers.image.ref.name": "1"});
        assert_eq!(names(both), Ok(vec!["a.example/x:1".to_owned()]));
        assert_eq!(names(json!({"org.opencontainers.image.ref.name": "x:1"})), Ok(vec!["x:1".to_owned()]));
        for nameless in [json!({}), json!({"org.opencontainers.image.ref.name": "3.10"})] {
            assert_eq!(names(nameless), Err("no image in it has a name".to_owned()));
        }
    }

    #[test]
    fn an_index_for_many_platforms_need_hold_only_that_of_the_nodes() {
        let mut files = Files::new();
        let mut own = image(&mut files, "linux", "amd64");
        own["platform"] = json!({"os": "linux", "architecture": "amd64"});
        let absent = json!({
            "digest": format!("sha256:{}", Digest::of(b"absent")),
            "size": 6,
            "platform": {"os": "linux", "architecture": "arm64"},
        });
        let index = put(&mut files, json!({"manifests": [absent, own]}).to_string().as_bytes());
        // Of two images of one archive, that for other machines is passed over.
        let foreign = image(&mut files, "linux", "arm64");
        let descriptors = [
            named(index, &json!({"io.containerd.image.name": "a.example/many:1"})),
            named(foreign, &json!({"io.containerd.image.name": "a.example/arm:1"})),
        ];
        assert_eq!(examined(&layout(files, &descriptors)), Ok(vec!["a.example/many:1".to_owned()]));
    }

    /// What `docker save` wrote before it wrote OCI layouts.
    fn saved(tags: Option<&[&str]>, os: &str) -> Files {
        let manifest = json!([{"Config": "c.json", "RepoTags": tags, "Layers": ["a/layer.tar"]}]);
        vec![
            ("a/layer.tar".to_owned(), b"layer".to_vec()),
            ("c.json".to_owned(), config(os, "amd64")),
            ("manifest.json".to_owned(), manifest.to_string().into_bytes()),
        ]
    }

    #[test]
    fn names_of_docker_archives_are_their_tags() {
        let tags = ["busybox:1.37", "own.example/busybox:1"];
        assert_eq!(examined(&saved(Some(&tags), "linux")), Ok(tags.map(ToOwned::to_owned).into()));
        for none in [None, Some(&[][..])] {
            assert_eq!(examined(&saved(none, "linux")), Err("no image in it has a name".to_owned()));
        }
        assert_eq!(
            examined(&saved(Some(&tags), "windows")),
            Err("it is built for windows/amd64, not for amd64".to_owned())
        );
        let lacking = |path: &str| {
            let mut files = saved(Some(&tags), "linux");
            files.retain(|(found, _)| found != path);
            examined(&files).unwrap_err()
        };
        assert_eq!(lacking("a/layer.tar"), "it lacks a/layer.tar, which manifest.json needs");
        assert_eq!(lacking("c.json"), "it lacks c.json, which manifest.json needs");
        assert_eq!(lacking("manifest.json"), "it is neither an OCI image layout nor a docker archive");
    }

    #[test]
    fn names_that_are_none_are_refused() {
        for name in ["a b:1", "a\nb:1", "é:1", "--all", "a;b:1"] {
            let wanted = Err(format!("it has an image of the name {name:?}, which is none"));
            assert_eq!(examined(&saved(Some(&[name]), "linux")), wanted);
        }
        let name = "own.example:5000/a_b/c-d:v1.0@sha256:00".to_owned();
        assert_eq!(examined(&saved(Some(&[&name]), "linux")), Ok(vec![name]));
    }

    #[test]
    fn layers_may_be_links_to_one_another() {
        let mut files = saved(Some(&["x:1"]), "linux");
        let manifest = json!([{"Config": "c.json", "RepoTags": ["x:1"], "Layers": ["a/layer.tar", "b/layer.tar"]}]);
        files[2].1 = manifest.to_string().into_bytes();
        assert_eq!(examined(&files), Err("it lacks b/layer.tar, which manifest.json needs".to_owned()));
        let mut builder = plain_files(&files);
        let mut link = tar::Header::new_gnu();
        link.set_mode(0o777);
        link.set_entry_type(tar::EntryType::Symlink);
        link.set_size(0);
        builder.append_link(&mut link, "b/layer.tar", "../a/layer.tar").unwrap();
        let archive = builder.into_inner().unwrap();
        assert_eq!(examine(archive.as_slice(), Arch::Amd64).unwrap(), ["x:1"]);
    }

    #[test]
    fn every_blob_is_checked_and_everything_needed_must_be_there() {
        let whole = pause();
        let [config, layer, manifest] = [0, 1, 2].map(|number: usize| whole[number].0.clone());
        let changed = |path: &str| {
            let mut files = whole.clone();
            let file = files.iter_mut().find(|(found, _)| found == path).unwrap();
            *file.1.last_mut().unwrap() ^= 1;
            let got = Digest::of(&file.1);
            (examined(&files), Err(format!("{path} has other bytes than its name says: sha256:{got}")))
        };
        for path in [&config, &layer, &manifest] {
            let (got, wanted) = changed(path);
            assert_eq!(got, wanted);
        }
        let lacking = |path: &str| {
            let files: Files = whole.iter().filter(|(found, _)| found != path).cloned().collect();
            examined(&files).unwrap_err()
        };
        assert_eq!(lacking(&layer), format!("it lacks {layer}, which {manifest} needs"));
        assert_eq!(lacking(&config), format!("it lacks {config}, which {manifest} needs"));
        assert_eq!(lacking(&manifest), format!("it lacks {manifest}, which index.json needs"));
        assert_eq!(lacking("index.json"), "it lacks index.json, which oci-layout needs");
        assert_eq!(lacking("oci-layout"), "it is neither an OCI image layout nor a docker archive");
    }

    #[test]
    fn refuses_other_platforms_layouts_and_files() {
        let mut files = Files::new();
        let [arm, windows] = [("linux", "arm64"), ("windows", "amd64")].map(|(os, arch)| image(&mut files, os, arch));
        let name = json!({"io.containerd.image.name": "x:1"});
        let files = layout(files, &[named(arm, &name), named(windows, &name)]);
        assert_eq!(examined(&files), Err("it is built for arm64, windows/amd64, not for amd64".to_owned()));
        assert_eq!(examined(&layout(Files::new(), &[])), Err("no image in it has a name".to_owned()));

        let mut other = pause();
        other.last_mut().unwrap().1 = br#"{"imageLayoutVersion": "2.0.0"}"#.to_vec();
        assert_eq!(examined(&other), Err("its image layout has version \"2.0.0\" instead of 1.0.0".to_owned()));
        let at = other.len() - 2;
        other[at].1 = b"{".to_vec();
        other[at + 1].1 = br#"{"imageLayoutVersion": "1.0.0"}"#.to_vec();
        let error = "index.json cannot be read: EOF while parsing an object at line 1 column 1";
        assert_eq!(examined(&other), Err(error.to_owned()));
        assert_eq!(
            examine(&b"<html>"[..], Arch::Amd64).unwrap_err().to_string(),
            "it is refused",
            "a page in its place"
        );

        // An index in an index in an index, and descriptions that fill memory.
        let mut files = Files::new();
        let mut descriptor = image(&mut files, "linux", "amd64");
        for _ in 0..=MAX_DEPTH {
            descriptor = put(&mut files, json!({"manifests": [descriptor]}).to_string().as_bytes());
        }
        let too_much = "its descriptions are larger or deeper than any image needs";
        assert_eq!(examined(&layout(files, &[descriptor])), Err(too_much.to_owned()));
        let large = [b"{\"\":\"".to_vec(), vec![b'x'; 1 << 19]].concat();
        let files: Files = (0..17).map(|number| (format!("{number}.json"), large.clone())).collect();
        assert_eq!(examined(&files), Err(too_much.to_owned()));
    }
}
