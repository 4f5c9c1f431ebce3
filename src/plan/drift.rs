//! How a machine that is there differs from what the cluster file asks for.

use std::collections::BTreeMap;
use std::fmt;

use super::{Creation, UNBUILT};
use crate::artifacts::Kind;
use crate::config::HypervisorName;
use crate::digest::Digest;
use crate::machine::{DomainInfo, Parts, VolumeInfo, VolumeName};

/// One difference; never a secret's value. Where it is known what a machine was made of, an image that differs is told by
/// the parts that do; else by its digests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Drift {
    /// Other binaries.
    Payload(Digest, Digest, Vec<String>),
    /// Other configuration or identity.
    Seed(Digest, Digest, Vec<String>),
    /// Another base image.
    Base(String, String, Vec<String>),
    /// A smaller root disk, in bytes; a larger one is no drift, since it grows in place.
    Disk(u64, u64),
    /// Another machine: CPUs, memory, network ...
    Definition,
    /// Somebody edited the machine with other tools.
    ByHand,
    /// The mark cannot be read.
    Unreadable,
    /// It is at another hypervisor than the cluster file binds it to.
    Hypervisor(HypervisorName, HypervisorName),
}

impl Drift {
    fn is_image(&self) -> bool {
        matches!(self, Self::Payload(..) | Self::Seed(..) | Self::Base(..))
    }
}

impl fmt::Display for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Payload(.., parts) | Self::Base(.., parts) if !parts.is_empty() => f.write_str(&parts.join(", ")),
            Self::Seed(.., parts) if !parts.is_empty() => write!(f, "seed changed: {}", parts.join(", ")),
            Self::Payload(from, to, _) => write!(f, "payload {} -> {}", from.short(), to.short()),
            Self::Seed(from, to, _) => write!(f, "seed {} -> {}", from.short(), to.short()),
            Self::Base(from, to, _) => write!(f, "base image {from:.12} -> {to:.12}"),
            Self::Disk(from, to) => write!(f, "disk {} MiB -> {} MiB", from >> 20, to >> 20),
            Self::Definition => f.write_str("machine changed in the cluster file"),
            Self::ByHand => f.write_str("machine changed by hand"),
            Self::Unreadable => f.write_str("mark not readable"),
            Self::Hypervisor(from, to) => write!(f, "hypervisor {from} -> {to}"),
        }
    }
}

/// The parts that differ, by the image that they are of.
#[derive(Default)]
struct Changes {
    payload: Vec<String>,
    base: Vec<String>,
    seed: Vec<String>,
}

impl Changes {
    /// None where it is not known what a machine was made of, or would be.
    fn between(found: &Parts, wanted: &Parts) -> Self {
        let mut changes = Self::default();
        if found.0.is_empty() || wanted.0.is_empty() {
            return changes;
        }
        for (name, found, wanted) in found.differences(wanted) {
            let kind = Kind::ALL.into_iter().find(|kind| name.split(' ').next() == Some(kind.as_str()));
            match kind.filter(|_| !name.starts_with("kubelet config ")) {
                Some(Kind::BaseImage) => changes.base.push(version(name, found, wanted)),
                Some(_) => changes.payload.push(version(name, found, wanted)),
                None if name == "certificate" => changes.seed.push("certificate renewed".to_owned()),
                None if name == "nodebake" => changes.seed.push(version(name, found, wanted)),
                None => changes.seed.push(name.to_owned()),
            }
        }
        if changes.seed.is_empty() {
            let why = if changes.payload.is_empty() { "what is secret" } else { "its payload" };
            changes.seed.push(why.to_owned());
        }
        changes
    }
}

/// `kubelet v1.35.1 -> v1.35.2`. A value is a version, a digest, or both; of one version only the digest tells more.
fn version(name: &str, found: Option<&str>, wanted: Option<&str>) -> String {
    let (Some(found), Some(wanted)) = (found, wanted) else {
        return format!("{name} {}", if found.is_some() { "removed" } else { "added" });
    };
    let parts = |value: &str| -> (String, String) {
        let (version, digest) = value.split_once(' ').unwrap_or((value, ""));
        let v = if semver::Version::parse(version).is_ok() { "v" } else { "" };
        (format!("{v}{version}"), digest.to_owned())
    };
    match (parts(found), parts(wanted)) {
        ((old, from), (new, to)) if old == new => format!("{name} {old} {from} -> {to}"),
        ((old, _), (new, _)) => format!("{name} {old} -> {new}"),
    }
}

/// Differences between a domain and the machine that would be made today. Of an image that is not built yet nothing is
/// told, nor of the definition, which names all of them.
pub(super) fn of(domain: &DomainInfo, creation: &Creation, volumes: &BTreeMap<VolumeName, &VolumeInfo>) -> Vec<Drift> {
    let Some(mark) = domain.mark() else { return vec![Drift::Unreadable] };
    let wanted = &creation.mark;
    let changes = Changes::between(&domain.record().parts, &creation.parts);
    let differs = |found: Digest, wanted: Digest| wanted != UNBUILT && found != wanted;
    let mut drift = Vec::new();
    if differs(mark.payload, wanted.payload) {
        drift.push(Drift::Payload(mark.payload, wanted.payload, changes.payload));
    }
    if differs(mark.seed, wanted.seed) {
        drift.push(Drift::Seed(mark.seed, wanted.seed, changes.seed));
    }
    if wanted.base != UNBUILT.to_string() && mark.base != wanted.base {
        drift.push(Drift::Base(mark.base.clone(), wanted.base.clone(), changes.base));
    }
    if let Some(root) = domain.root()
        && let Some(volume) = volumes.get(&root)
        && volume.capacity > creation.overlay.capacity
    {
        drift.push(Drift::Disk(volume.capacity, creation.overlay.capacity));
    }
    // Other images change the definition's paths too; that is said above.
    let unbuilt = wanted.payload == UNBUILT || wanted.seed == UNBUILT || wanted.base == UNBUILT.to_string();
    if !unbuilt && !drift.iter().any(Drift::is_image) && mark.definition != wanted.definition {
        drift.push(Drift::Definition);
    }
    if mark.stored.is_some_and(|stored| stored != domain.stored_digest()) {
        drift.push(Drift::ByHand);
    }
    drift
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn parts(text: &str) -> Parts {
        Parts(
            text.lines().map(|line| line.split_once('=').unwrap()).map(|(a, b)| (a.to_owned(), b.to_owned())).collect(),
        )
    }

    #[test]
    fn reasons_are_versions_and_fields() {
        let old = "base-image=ubuntu-24.04 aa\nkubelet=1.35.1 11\nrunc=1.3.6 22\npackage nfs=33\nnodebake=0.1.0\n\
                   certificate=1\nkubelet config maxPods=44\n/etc/hosts=55\nuser-data=66\nbinary mine=77";
        for (from, to, payload, base, seed) in [
            ("kubelet=1.35.1 11", "kubelet=1.35.2 12", "kubelet v1.35.1 -> v1.35.2", "", "its payload"),
            ("runc=1.3.6 22", "runc=1.3.6 23", "runc v1.3.6 22 -> 23", "", "its payload"),
            ("package nfs=33", "package nfs=34", "package nfs 33 -> 34", "", "its payload"),
            ("binary mine=77", "binary other=77", "binary mine removed; binary other added", "", "its payload"),
            ("ubuntu-24.04 aa", "ubuntu-24.04 bb", "", "base-image ubuntu-24.04 aa -> bb", "what is secret"),
            ("ubuntu-24.04 aa", "debian-13 bb", "", "base-image ubuntu-24.04 -> debian-13", "what is secret"),
            ("maxPods=44", "maxPods=45", "", "", "kubelet config maxPods"),
            ("certificate=1", "certificate=2", "", "", "certificate renewed"),
            ("nodebake=0.1.0", "nodebake=0.2.0", "", "", "nodebake v0.1.0 -> v0.2.0"),
            ("/etc/hosts=55\nuser-data=66", "/etc/hosts=5\nuser-data=6", "", "", "/etc/hosts; user-data"),
            ("x", "x", "", "", "what is secret"),
        ] {
            let changes = Changes::between(&parts(old), &parts(&old.replace(from, to)));
            let found = [changes.payload, changes.base, changes.seed].map(|names| names.join("; "));
            assert_eq!(found, [payload, base, seed], "{from} {to}");
        }
    }

    #[test]
    fn what_is_not_known_is_told_by_digests() {
        for (found, wanted) in [("", "runc=1 2"), ("runc=1 2", ""), ("", "")] {
            let changes = Changes::between(&parts(found), &parts(wanted));
            assert!([changes.payload, changes.base, changes.seed].iter().all(Vec::is_empty));
        }
        let (a, b) = (Digest::of(b"a"), Digest::of(b"b"));
        let text = |drift: Drift| drift.to_string();
        assert_eq!(text(Drift::Seed(a, b, Vec::new())), format!("seed {} -> {}", a.short(), b.short()));
        assert_eq!(text(Drift::Payload(a, b, Vec::new())), format!("payload {} -> {}", a.short(), b.short()));
        assert_eq!(text(Drift::Seed(a, b, vec!["x".to_owned(), "y".to_owned()])), "seed changed: x, y");
    }
}
