//! Package URLs (ECMA-427, <https://github.com/package-url/purl-spec>), by which scanners know a package.

use std::fmt::Write as _;

use super::{address, deb_name, is_upstream, name, version};
use crate::artifacts::{Entry, Kind};

/// That of a locked file. Upstream's programs are Go modules, under which their vulnerabilities are told; what nobody has
/// given a name of its own is `generic`, known by its digest.
pub(super) fn of(entry: &Entry) -> String {
    let version = entry.version.as_str();
    match entry.kind {
        Kind::Kubelet if is_upstream(entry) => go("k8s.io/kubernetes", version, Some("cmd/kubelet")),
        Kind::Kubectl if is_upstream(entry) => go("k8s.io/kubernetes", version, Some("cmd/kubectl")),
        Kind::Containerd if is_upstream(entry) => go(&containerd(version), version, None),
        Kind::Runc if is_upstream(entry) => go("github.com/opencontainers/runc", version, None),
        Kind::CniPlugins if is_upstream(entry) => go("github.com/containernetworking/plugins", version, None),
        Kind::Package => debian(entry).unwrap_or_else(|| generic(entry)),
        _ => generic(entry),
    }
}

/// A module's path ends in its major version from the second on (Go Modules Reference, "Major version suffixes").
fn containerd(version: &str) -> String {
    let path = "github.com/containerd/containerd";
    match version.split('.').next().and_then(|major| major.parse::<u32>().ok()) {
        Some(major) if major >= 2 => format!("{path}/v{major}"),
        _ => path.to_owned(),
    }
}

fn go(module: &str, version: &str, within: Option<&str>) -> String {
    let module: Vec<_> = module.split('/').map(encoded).collect();
    let within = within.map(|path| format!("#{path}")).unwrap_or_default();
    format!("pkg:golang/{}@v{}{within}", module.join("/"), encoded(version))
}

/// That of a package of an archive of Debian's or Ubuntu's own; whose one from elsewhere is, cannot be told.
fn debian(entry: &Entry) -> Option<String> {
    let host = address(entry).and_then(|url| url::Url::parse(url).ok()?.host_str().map(str::to_owned))?;
    let is_of = |domain: &str| host == domain || host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'));
    let vendor = ["debian.org", "ubuntu.com"].into_iter().find(|domain| is_of(domain))?;
    let (name, version, arch) = deb_name(&entry.version)?;
    let vendor = vendor.split('.').next().unwrap_or_default();
    Some(format!("pkg:deb/{vendor}/{}@{}?arch={}", encoded(name), encoded(&version), encoded(arch)))
}

fn generic(entry: &Entry) -> String {
    let version = version(entry).map(|version| format!("@{}", encoded(&version))).unwrap_or_default();
    let mut purl = format!("pkg:generic/{}{version}?checksum={}", encoded(&name(entry)), entry.checksum);
    if let Some(url) = address(entry) {
        // Writing to a String cannot fail.
        let _ = write!(purl, "&download_url={}", value(url));
    }
    purl
}

/// That of a container image, by the name that containerd knows it by: `REGISTRY/PATH:TAG`, or `@DIGEST` behind the path.
pub(super) fn image(reference: &str) -> Option<String> {
    let (registry, path) = reference.split_once('/')?;
    let (path, version) = parted(path)?;
    let path: Vec<_> = path.split('/').map(encoded).collect();
    let registry = if registry == "docker.io" { String::new() } else { format!("?repository_url={}", value(registry)) };
    Some(format!("pkg:docker/{}@{}{registry}", path.join("/"), encoded(version)))
}

/// A reference without its tag or digest, and that; of both the digest counts.
pub(super) fn parted(reference: &str) -> Option<(&str, &str)> {
    // A colon before the last slash is a port's.
    let tagged = |text: &str| text.rfind(':').filter(|colon| !text[*colon..].contains('/'));
    match reference.split_once('@') {
        Some((name, digest)) => Some((tagged(name).map_or(name, |colon| &name[..colon]), digest)),
        None => tagged(reference).map(|colon| (&reference[..colon], &reference[colon + 1..])),
    }
}

/// Percent-encoded but for what stands as it is in every part; so does the colon.
fn encoded(text: &str) -> String {
    encode(text, b"-._~:")
}

/// The same in a qualifier's value, where a slash parts nothing.
fn value(text: &str) -> String {
    encode(text, b"-._~:/")
}

fn encode(text: &str, plain: &[u8]) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || plain.contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::artifacts::{Algorithm, Trust};
    use crate::config::{Arch, Location};

    const DIGEST: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn entry(kind: Kind, version: &str, url: &str) -> Entry {
        Entry {
            kind,
            arch: Arch::Arm64,
            version: version.to_owned(),
            from: Location::Url(url.parse().unwrap()),
            alternates: Vec::new(),
            size: 1,
            checksum: Algorithm::Sha256.parse(DIGEST).unwrap(),
            released: None,
            trust: Trust::Unsigned("nobody signs".to_owned()),
        }
    }

    /// Each is as packageurl-python 0.17, which is the purl project's own, writes it anew.
    #[test]
    fn scanners_know_what_upstream_makes() {
        let released = Some("2025-08-14".parse().unwrap());
        for (kind, version, wanted) in [
            (Kind::Kubelet, "1.35.1", "pkg:golang/k8s.io/kubernetes@v1.35.1#cmd/kubelet"),
            (Kind::Kubectl, "1.36.0-rc.1", "pkg:golang/k8s.io/kubernetes@v1.36.0-rc.1#cmd/kubectl"),
            (Kind::Containerd, "1.7.29", "pkg:golang/github.com/containerd/containerd@v1.7.29"),
            (Kind::Containerd, "2.2.1", "pkg:golang/github.com/containerd/containerd/v2@v2.2.1"),
            (Kind::Runc, "1.3.6", "pkg:golang/github.com/opencontainers/runc@v1.3.6"),
            (Kind::CniPlugins, "1.9.0", "pkg:golang/github.com/containernetworking/plugins@v1.9.0"),
        ] {
            assert_eq!(of(&entry(kind, version, "https://h.example/x")), wanted);
        }
        let base = Entry { released, ..entry(Kind::BaseImage, "debian-13", "https://h.example/a%20b+c.qcow2") };
        let wanted = format!(
            "pkg:generic/debian-13@2025-08-14?checksum=sha256:{DIGEST}&download_url=https://h.example/a%2520b%2Bc.qcow2"
        );
        assert_eq!(of(&base), wanted);
    }

    #[test]
    fn what_the_cluster_file_gives_is_nobodys() {
        let own = |kind, version: &str| Entry {
            from: Location::Path("/own/file".into()),
            trust: Trust::Given,
            ..entry(kind, version, "https://h.example/x")
        };
        for (kind, version, wanted) in [
            (Kind::Kubelet, "1.35.1", "kubelet@1.35.1"),
            (Kind::Containerd, "2.2.1", "containerd@2.2.1"),
            (Kind::BaseImage, "own.img", "own.img"),
            (Kind::Binary, "crictl", "crictl"),
            (Kind::ContainerImage, "a b.tar", "a%20b.tar"),
            (Kind::Package, "jq_1.7.1-6+deb13u3_arm64.deb", "jq@1.7.1-6%2Bdeb13u3"),
        ] {
            assert_eq!(of(&own(kind, version)), format!("pkg:generic/{wanted}?checksum=sha256:{DIGEST}"));
        }
    }

    #[test]
    fn packages_of_debians_and_ubuntus_archives_are_theirs() {
        let pool = "pool/main/j/jq/jq_1.7_arm64.deb";
        for (host, file, wanted) in [
            ("deb.debian.org", "jq_1.7.1-6+deb13u3_arm64.deb", "pkg:deb/debian/jq@1.7.1-6%2Bdeb13u3?arch=arm64"),
            ("ports.ubuntu.com", "libssl3t64_3.0.13_arm64.deb", "pkg:deb/ubuntu/libssl3t64@3.0.13?arch=arm64"),
            ("debian.org", "vim_2%3a9.1_arm64.deb", "pkg:deb/debian/vim@2:9.1?arch=arm64"),
            ("deb.debian.org", "tzdata_2025b-4_all.deb", "pkg:deb/debian/tzdata@2025b-4?arch=all"),
        ] {
            let entry = entry(Kind::Package, file, &format!("https://{host}/{pool}"));
            assert_eq!(of(&entry), wanted);
        }
        for (host, file) in [
            ("notdebian.org", "jq_1.7_arm64.deb"),
            ("debian.org.example", "jq_1.7_arm64.deb"),
            ("deb.debian.org", "jq.deb"),
            ("deb.debian.org", "jq_1.7_arm64_x.deb"),
            ("deb.debian.org", "_1.7_arm64.deb"),
        ] {
            let found = of(&entry(Kind::Package, file, &format!("https://{host}/{pool}")));
            assert!(found.starts_with("pkg:generic/"), "{found}");
        }
    }

    #[test]
    fn container_images_are_known_by_their_references() {
        for (reference, wanted) in [
            ("docker.io/library/nginx:1.29", "pkg:docker/library/nginx@1.29"),
            ("registry.k8s.io/pause:3.10", "pkg:docker/pause@3.10?repository_url=registry.k8s.io"),
            ("h.example:5000/a/b@sha256:00", "pkg:docker/a/b@sha256:00?repository_url=h.example:5000"),
            ("h.example/a:1.2@sha256:00", "pkg:docker/a@sha256:00?repository_url=h.example"),
        ] {
            assert_eq!(image(reference).as_deref(), Some(wanted));
        }
        for none in ["", "nginx", "docker.io/nginx"] {
            assert_eq!(image(none), None, "{none:?}");
        }
    }
}
