//! What upstream has released lately: newer images behind addresses that move, newer patches of a minor version.

use std::fmt;

use jiff::civil::Date;
use semver::Version;
use serde::Deserialize;
use url::Url;

use super::catalog::Kind;
use super::source::{Source, SourceError};
use crate::config::{Config, VersionKey, Versions};
use crate::parallel;

/// Larger than what upstream publishes there.
const LIMIT: usize = 1 << 20;

/// How a file names the newest release of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReleaseForm {
    /// Ubuntu's build-info.txt: a line `serial=20251213`, or `serial=20251213.1`.
    BuildInfo,
    /// Debian's manifest: JSON whose item of kind `Build` has the version `20250814-2204`.
    DebianJson,
}

/// A dated release of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    name: String,
    date: Date,
}

/// Why a file does not tell what is newest.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    /// The file does not come.
    #[error("the newest release is not known")]
    Source {
        /// What failed.
        #[source]
        source: SourceError,
    },
    /// The file has another form than upstream's.
    #[error("{place} does not name a release")]
    Form {
        /// Where it came from.
        place: String,
    },
    /// The release's name holds no date.
    #[error("{place} names {name:?}, which is no dated release")]
    Name {
        /// Where the file came from.
        place: String,
        /// What it names, shortened.
        name: String,
    },
}

impl ReleaseError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Source { source } => source.hint(),
            Self::Form { .. } | Self::Name { .. } => {
                Some("what is published there is not what we know; check the mirror or proxy".to_owned())
            }
        }
    }
}

impl Release {
    /// Reads `YYYYMMDD`, possibly with `.N` or `-N` behind it.
    pub fn parse(name: &str) -> Option<Self> {
        let (day, rest) = name.split_at_checked(8)?;
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        if !digits(day) || !(rest.is_empty() || digits(rest.strip_prefix(['.', '-'])?)) || rest.len() > 10 {
            return None;
        }
        let date = format!("{}-{}-{}", &day[..4], &day[4..6], &day[6..]).parse().ok()?;
        Some(Self { name: name.to_owned(), date })
    }

    /// The newest one, as the file at `url` names it.
    pub fn newest(url: &Url, form: ReleaseForm, source: &Source) -> Result<Self, ReleaseError> {
        let file = read(url, source)?;
        let place = source.place(url);
        let name = form.find(&file).ok_or_else(|| ReleaseError::Form { place: place.clone() })?;
        let shortened = || name.chars().take(80).collect();
        Self::parse(&name).ok_or_else(|| ReleaseError::Name { place, name: shortened() })
    }

    /// As in addresses: `20251213`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The day of it.
    pub fn date(&self) -> Date {
        self.date
    }
}

fn read(url: &Url, source: &Source) -> Result<Vec<u8>, ReleaseError> {
    source.read(url, LIMIT).map_err(|source| ReleaseError::Source { source })
}

impl ReleaseForm {
    fn find(self, file: &[u8]) -> Option<String> {
        match self {
            Self::BuildInfo => {
                let text = std::str::from_utf8(file).ok()?;
                text.lines().find_map(|line| Some(line.trim().strip_prefix("serial=")?.to_owned()))
            }
            Self::DebianJson => debian_version(file),
        }
    }
}

#[derive(Deserialize)]
struct Manifest {
    items: Vec<serde_json::Value>,
}

#[derive(Deserialize)]
struct Build {
    info: Info,
}

#[derive(Deserialize)]
struct Info {
    version: String,
}

fn debian_version(file: &[u8]) -> Option<String> {
    let manifest: Manifest = serde_json::from_slice(file).ok()?;
    let build = manifest.items.into_iter().find(|item| item["kind"] == "Build")?;
    let build: Build = serde_json::from_value(build["data"].clone()).ok()?;
    Some(build.info.version)
}

/// A version in the cluster file of which there is a newer patch release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Newer {
    /// Which one.
    pub key: VersionKey,
    /// What the cluster file has.
    pub from: Version,
    /// The newest patch release of the same minor version.
    pub to: Version,
}

impl fmt::Display for Newer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} -> {}", self.key.as_str(), self.from, self.to)
    }
}

/// Which versions could move on within their minor version, in the order of the keys. What the user gives is the user's to
/// move.
pub fn newer(config: &Config, source: &Source) -> Result<Vec<Newer>, ReleaseError> {
    let given = |key: &VersionKey| config.artifacts.iter().any(|given| given.kind == program(*key));
    let keys: Vec<_> = VersionKey::ALL.into_iter().filter(|key| !given(key)).collect();
    let found = parallel::map(&keys, parallel::AT_ONCE, |key| newer_of(*key, &config.versions, source), Result::is_err);
    let found = found.into_iter().flatten().collect::<Result<Vec<_>, _>>()?;
    Ok(found.into_iter().flatten().collect())
}

/// What of a node has the version.
fn program(key: VersionKey) -> Kind {
    match key {
        VersionKey::Kubernetes => Kind::Kubelet,
        VersionKey::Containerd => Kind::Containerd,
        VersionKey::Runc => Kind::Runc,
        VersionKey::CniPlugins => Kind::CniPlugins,
    }
}

fn newer_of(key: VersionKey, versions: &Versions, source: &Source) -> Result<Option<Newer>, ReleaseError> {
    let from = versions.get(key).clone();
    let found = match key {
        VersionKey::Kubernetes => stable(&from, source),
        VersionKey::Containerd => tagged("containerd/containerd", &from, source),
        VersionKey::Runc => tagged("opencontainers/runc", &from, source),
        VersionKey::CniPlugins => tagged("containernetworking/plugins", &from, source),
    };
    let to = match found {
        // Of a minor version that has only release candidates there is nothing stable yet.
        Err(ReleaseError::Source { source }) if source.is_missing() && !from.pre.is_empty() => None,
        found => found?,
    };
    Ok(to.filter(|to| *to > from).map(|to| Newer { key, from, to }))
}

/// dl.k8s.io names the newest patch release of each minor version, `v1.35.3`.
fn stable(version: &Version, source: &Source) -> Result<Option<Version>, ReleaseError> {
    let url = address(&format!("https://dl.k8s.io/release/stable-{}.{}.txt", version.major, version.minor))?;
    let file = read(&url, source)?;
    let wrong = || ReleaseError::Form { place: source.place(&url) };
    let text = std::str::from_utf8(&file).map_err(|_| wrong())?.trim();
    let stable = text.strip_prefix('v').and_then(|text| Version::parse(text).ok()).ok_or_else(wrong)?;
    Ok(Some(stable).filter(|stable| is_patch_of(stable, version)))
}

#[derive(Deserialize)]
struct Tag {
    #[serde(rename = "ref")]
    name: String,
}

/// GitHub lists the tags that begin so; a mirror holds the answer as a file.
fn tagged(project: &str, version: &Version, source: &Source) -> Result<Option<Version>, ReleaseError> {
    let Version { major, minor, .. } = version;
    let url = address(&format!("https://api.github.com/repos/{project}/git/matching-refs/tags/v{major}.{minor}."))?;
    let file = read(&url, source)?;
    let tags: Vec<Tag> = serde_json::from_slice(&file).map_err(|_| ReleaseError::Form { place: source.place(&url) })?;
    let versions = tags.iter().filter_map(|tag| Version::parse(tag.name.strip_prefix("refs/tags/v")?).ok());
    Ok(versions.filter(|found| is_patch_of(found, version)).max())
}

fn is_patch_of(found: &Version, version: &Version) -> bool {
    (found.major, found.minor) == (version.major, version.minor) && found.pre.is_empty() && found.build.is_empty()
}

/// Addresses that are made here always parse.
fn address(text: &str) -> Result<Url, ReleaseError> {
    Url::parse(text).map_err(|_| ReleaseError::Form { place: text.to_owned() })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::path::Path;

    use super::*;

    /// A mirror with these files.
    fn mirror(files: &[(&str, &str)]) -> (tempfile::TempDir, Source) {
        let folder = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let source = Source::new(&[folder.path().to_str().unwrap().to_owned()], false, None).unwrap();
        (folder, source)
    }

    #[test]
    fn releases_are_dated() {
        for (name, date) in [("20251213", "2025-12-13"), ("20251213.1", "2025-12-13"), ("20250814-2204", "2025-08-14")]
        {
            let release = Release::parse(name).unwrap();
            assert_eq!((release.name(), release.date().to_string().as_str()), (name, date));
        }
        for bad in
            ["", "2025121", "20251301", "20250230", "20251213.", "20251213x", "20251213-1/..", "2025121ü", "../../.."]
        {
            assert_eq!(Release::parse(bad), None, "{bad}");
        }
    }

    const BUILD_INFO: &str = "build_name=server\nserial=20251213\norig_prefix=noble-server-cloudimg\n";
    const MANIFEST: &str = r#"{"apiVersion": "v1", "kind": "List", "items": [
        {"kind": "Upload", "data": {"ref": "images/cloud/trixie/latest/a.qcow2"}},
        {"kind": "Build", "data": {"info": {"arch": "amd64", "version": "20250814-2204"}, "packages": []}}]}"#;

    #[test]
    fn the_newest_release_is_read_in_upstreams_forms() {
        let url = Url::parse("https://h.org/newest").unwrap();
        let newest = |text: &str, form| {
            let (folder, source) = mirror(&[("h.org/newest", text)]);
            let found = Release::newest(&url, form, &source);
            let place = folder.path().to_str().unwrap();
            found.map(|release| release.name).map_err(|error| error.to_string().replace(place, "M"))
        };
        let (info, json) = (ReleaseForm::BuildInfo, ReleaseForm::DebianJson);
        let unnamed = || Err("M/h.org/newest does not name a release".to_owned());
        for (text, form, expected) in [
            (BUILD_INFO, info, Ok("20251213".to_owned())),
            (&BUILD_INFO.replace('\n', "\r\n"), info, Ok("20251213".to_owned())),
            (MANIFEST, json, Ok("20250814-2204".to_owned())),
            ("", info, unnamed()),
            ("<html>", info, unnamed()),
            ("<html>", json, unnamed()),
            ("{\"items\": []}", json, unnamed()),
            ("{\"items\": [{\"kind\": \"Build\"}]}", json, unnamed()),
            (
                "serial=../../evil",
                info,
                Err("M/h.org/newest names \"../../evil\", which is no dated release".to_owned()),
            ),
        ] {
            assert_eq!(newest(text, form), expected, "{text}");
        }
    }

    fn config(edits: &[(&str, &str)]) -> Config {
        let text = edits.iter().fold(crate::config::INIT.to_owned(), |text, (from, to)| text.replace(from, to));
        crate::config::parse(Path::new("/c/nodebake.yaml"), &text).unwrap()
    }

    const STABLE: (&str, &str) = ("dl.k8s.io/release/stable-1.35.txt", "v1.35.3");

    fn tags(names: &[&str]) -> String {
        let tag = |name: &&str| format!("{{\"ref\": \"refs/tags/{name}\", \"object\": {{\"type\": \"tag\"}}}}");
        format!("[{}]", names.iter().map(tag).collect::<Vec<_>>().join(","))
    }

    fn place(project: &str, tag: &str) -> String {
        format!("api.github.com/repos/{project}/git/matching-refs/tags/{tag}")
    }

    #[test]
    fn only_newer_patches_of_the_same_minor_version_count() {
        let containerd = place("containerd/containerd", "v2.2.");
        let runc = place("opencontainers/runc", "v1.2.");
        let cni = place("containernetworking/plugins", "v1.9.");
        let tagged = [
            tags(&["v2.2.0", "v2.2.10", "v2.2.9", "v2.2.11-rc.1", "v2.2.x", "v2.20.1"]),
            tags(&["v1.2.7", "v1.2.8"]),
            tags(&["v1.9.0", "v1.9.0+fork", "v1.9.0-rc1"]),
        ];
        let files = [STABLE, (&containerd, &tagged[0]), (&runc, &tagged[1]), (&cni, &tagged[2])];
        let found = |config: &Config, files: &[(&str, &str)]| -> Vec<String> {
            let (_folder, source) = mirror(files);
            newer(config, &source).unwrap().iter().map(ToString::to_string).collect()
        };
        assert_eq!(found(&config(&[]), &files), ["kubernetes 1.35.1 -> 1.35.3", "containerd 2.2.1 -> 2.2.10"]);
        // Never down, and never to another minor version.
        let ahead = config(&[("v1.35.1", "1.35.4"), ("containerd: 2.2.1", "containerd: 2.2.10")]);
        assert_eq!(found(&ahead, &files), <[String; 0]>::default());
        assert_eq!(
            found(&config(&[]), &[("dl.k8s.io/release/stable-1.35.txt", "v1.36.2\n"), files[1], files[2], files[3]])
                .len(),
            1
        );
        // A release candidate moves to the release; where there is none yet, it stays.
        let candidate = config(&[("v1.35.1", "1.35.3-rc.0"), ("runc: v1.2.8", "runc: v1.6.0-rc.1")]);
        assert_eq!(found(&candidate, &files), ["kubernetes 1.35.3-rc.0 -> 1.35.3", "containerd 2.2.1 -> 2.2.10"]);
        // What the user gives is the user's to move.
        let digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let own = format!("\nartifacts:\n  - {{kind: kubelet, path: k, sha256: {digest}}}\n\nnodes:\n");
        assert_eq!(found(&config(&[("\nnodes:\n", &own)]), &files), ["containerd 2.2.1 -> 2.2.10"]);
    }

    #[test]
    fn what_upstream_does_not_say_is_an_error() {
        let containerd = place("containerd/containerd", "v2.2.");
        let error = |files: &[(&str, &str)]| {
            let (folder, source) = mirror(files);
            let version = Version::new(2, 2, 1);
            let error = tagged("containerd/containerd", &version, &source).unwrap_err();
            let chain = crate::error::chain(&error).replace(folder.path().to_str().unwrap(), "M");
            (chain, error.hint().is_some())
        };
        let at = format!("M/{containerd}");
        assert_eq!(
            error(&[]),
            (format!("the newest release is not known: the mirror lacks https://{containerd}: there is no {at}"), true)
                .clone()
        );
        assert_eq!(
            error(&[(&containerd, "{\"message\": \"rate limit\"}")]),
            (format!("{at} does not name a release"), true)
        );
        let (folder, source) = mirror(&[("dl.k8s.io/release/stable-1.35.txt", "<html>")]);
        let error = stable(&Version::new(1, 35, 1), &source).unwrap_err().to_string();
        let at = folder.path().join("dl.k8s.io/release/stable-1.35.txt");
        assert_eq!(error, format!("{} does not name a release", at.display()));
    }
}
