//! Versions that are known to be bad, from the projects' own advisories.
//!
//! A short list of what matters on a worker, not a scanner: a version without a warning is not thereby safe.

use std::fmt;

use semver::Version;

use super::catalog::Kind;
use crate::config::Config;

/// A version in the cluster file that has a known fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// What is affected.
    pub kind: Kind,
    /// The version asked for.
    pub version: Version,
    /// The faults' names.
    pub cves: &'static [&'static str],
    /// What the fault gives to an attacker.
    pub effect: &'static str,
    /// The first good version of the same branch, or of the next one that was mended.
    pub fixed: Version,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, version, cves, effect, fixed } = self;
        write!(f, "{kind} {version} is open to {} ({effect}); fixed in {fixed}", cves.join(", "))
    }
}

struct Advisory {
    kind: Kind,
    cves: &'static [&'static str],
    effect: &'static str,
    /// Versions before this one never had the fault.
    since: &'static str,
    /// The first good version of each branch that was mended, ascending; branches after the last are good.
    fixed: &'static [&'static str],
}

impl Advisory {
    /// The version to move to when `version` has the fault: the first good one of its branch or, where its branch was
    /// not mended, of the next one that was.
    fn first_good(&self, version: &Version) -> Option<Version> {
        // Every text here parses; a test holds that.
        let since = Version::parse(self.since).ok()?;
        let mut fixed = self.fixed.iter().filter_map(|text| Version::parse(text).ok());
        let branch = |version: &Version| (version.major, version.minor);
        let next = fixed.find(|fixed| branch(fixed) >= branch(version))?;
        (*version >= since && *version < next).then_some(next)
    }
}

/// Sources: the security pages of the projects on GitHub (GHSA) and Kubernetes' CVE feed, as read in November 2026.
const ADVISORIES: &[Advisory] = &[
    Advisory {
        kind: Kind::Runc,
        cves: &["CVE-2024-21626"],
        effect: "a container can leave through a leaked file descriptor",
        since: "0.0.0",
        fixed: &["1.1.12"],
    },
    Advisory {
        kind: Kind::Runc,
        cves: &["CVE-2025-31133", "CVE-2025-52565", "CVE-2025-52881"],
        effect: "a container can write to the host's /proc and leave",
        since: "0.0.0",
        fixed: &["1.2.8", "1.3.3", "1.4.0-rc.3"],
    },
    Advisory {
        kind: Kind::Runc,
        cves: &["CVE-2026-41579"],
        effect: "an image with a /dev link can write to the host, in a limited way",
        since: "0.0.0",
        fixed: &["1.3.6", "1.4.3", "1.5.0-rc.3"],
    },
    Advisory {
        kind: Kind::Containerd,
        cves: &["CVE-2024-25621", "CVE-2025-64329"],
        effect: "local users can read its folders, attach can use up memory",
        since: "0.0.0",
        fixed: &["1.7.29", "2.0.7", "2.1.5", "2.2.0"],
    },
    Advisory {
        kind: Kind::Containerd,
        cves: &["CVE-2026-53488"],
        effect: "a label of an image can run commands as root on the host",
        since: "1.7.0",
        fixed: &["1.7.33", "2.0.10", "2.1.9", "2.2.5", "2.3.2"],
    },
    Advisory {
        kind: Kind::CniPlugins,
        cves: &["CVE-2025-67499"],
        effect: "portmap with nftables takes traffic that is not for this host",
        since: "1.6.0",
        fixed: &["1.9.0"],
    },
    Advisory {
        kind: Kind::Kubelet,
        cves: &["CVE-2024-10220"],
        effect: "a gitRepo volume can run commands on the host",
        since: "0.0.0",
        fixed: &["1.28.12", "1.29.7", "1.30.3"],
    },
    Advisory {
        kind: Kind::Kubelet,
        cves: &["CVE-2025-0426"],
        effect: "the checkpoint API can fill the disk",
        since: "1.25.0",
        fixed: &["1.29.14", "1.30.10", "1.31.6", "1.32.2"],
    },
];

/// What is known to be bad of the versions in a cluster file, by kind.
pub fn warnings(config: &Config) -> Vec<Warning> {
    let versions = &config.versions;
    [
        (Kind::Kubelet, &versions.kubernetes),
        (Kind::Containerd, &versions.containerd),
        (Kind::Runc, &versions.runc),
        (Kind::CniPlugins, &versions.cni_plugins),
    ]
    .into_iter()
    .flat_map(|(kind, version)| known(kind, version))
    .collect()
}

fn known(kind: Kind, version: &Version) -> impl Iterator<Item = Warning> {
    ADVISORIES.iter().filter(move |advisory| advisory.kind == kind).filter_map(move |advisory| {
        let fixed = advisory.first_good(version)?;
        let Advisory { cves, effect, .. } = *advisory;
        Some(Warning { kind, version: version.clone(), cves, effect, fixed })
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    type Case = (Kind, &'static str, Vec<(&'static [&'static str], &'static str)>);

    #[test]
    fn the_table_is_well_formed() {
        for advisory in ADVISORIES {
            assert!(Version::parse(advisory.since).is_ok(), "{:?}", advisory.cves);
            let fixed: Vec<_> = advisory.fixed.iter().map(|text| Version::parse(text).unwrap()).collect();
            assert!(
                !fixed.is_empty() && fixed.is_sorted_by(|a, b| (a.major, a.minor) < (b.major, b.minor)),
                "{fixed:?}"
            );
        }
    }

    #[test]
    fn bad_versions_are_named_with_the_next_good_one() {
        let masks = ["CVE-2025-31133", "CVE-2025-52565", "CVE-2025-52881"].as_slice();
        let dev = ["CVE-2026-41579"].as_slice();
        let leaky = ["CVE-2024-21626"].as_slice();
        let label = ["CVE-2026-53488"].as_slice();
        let attach = ["CVE-2024-25621", "CVE-2025-64329"].as_slice();
        let (git_repo, checkpoint) = (["CVE-2024-10220"].as_slice(), ["CVE-2025-0426"].as_slice());
        let table: Vec<Case> = vec![
            (Kind::Runc, "1.1.11", vec![(leaky, "1.1.12"), (masks, "1.2.8"), (dev, "1.3.6")]),
            (Kind::Runc, "1.2.5", vec![(masks, "1.2.8"), (dev, "1.3.6")]),
            (Kind::Runc, "1.2.8", vec![(dev, "1.3.6")]),
            (Kind::Runc, "1.3.2", vec![(masks, "1.3.3"), (dev, "1.3.6")]),
            (Kind::Runc, "1.4.0-rc.2", vec![(masks, "1.4.0-rc.3"), (dev, "1.4.3")]),
            (Kind::Runc, "1.4.0-rc.3", vec![(dev, "1.4.3")]),
            (Kind::Runc, "1.5.0-rc.2", vec![(dev, "1.5.0-rc.3")]),
            (Kind::Runc, "1.3.6", vec![]),
            (Kind::Runc, "1.6.0", vec![]),
            (Kind::Containerd, "1.6.39", vec![(attach, "1.7.29")]),
            (Kind::Containerd, "2.1.4", vec![(attach, "2.1.5"), (label, "2.1.9")]),
            (Kind::Containerd, "2.2.1", vec![(label, "2.2.5")]),
            (Kind::Containerd, "2.2.5", vec![]),
            (Kind::CniPlugins, "1.5.1", vec![]),
            (Kind::CniPlugins, "1.8.0", vec![(["CVE-2025-67499"].as_slice(), "1.9.0")]),
            (Kind::CniPlugins, "1.9.0", vec![]),
            (Kind::Kubelet, "1.24.0", vec![(git_repo, "1.28.12")]),
            (Kind::Kubelet, "1.30.2", vec![(git_repo, "1.30.3"), (checkpoint, "1.30.10")]),
            (Kind::Kubelet, "1.35.1", vec![]),
        ];
        for (kind, version, expected) in table {
            let version = Version::parse(version).unwrap();
            let found: Vec<_> = known(kind, &version).map(|w| (w.cves, w.fixed.to_string())).collect();
            let expected: Vec<_> = expected.into_iter().map(|(cves, fixed)| (cves, fixed.to_owned())).collect();
            assert_eq!(found, expected, "{kind} {version}");
        }
    }

    #[test]
    fn a_warning_says_what_to_do() {
        let warning = known(Kind::Runc, &Version::new(1, 3, 5)).next().unwrap();
        assert_eq!(
            warning.to_string(),
            "runc 1.3.5 is open to CVE-2026-41579 (an image with a /dev link can write to the host, in a limited way); \
             fixed in 1.3.6"
        );
    }

    #[test]
    fn a_cluster_file_is_looked_through_by_kind() {
        let text = include_str!("../config/init.yaml").replace("runc: v1.2.8", "runc: v1.2.5");
        let config = crate::config::parse(std::path::Path::new("/c/nodebake.yaml"), &text).unwrap();
        let found: Vec<_> = warnings(&config).iter().map(|w| (w.kind, w.version.to_string(), w.cves[0])).collect();
        assert_eq!(
            found,
            [
                (Kind::Containerd, "2.2.1".to_owned(), "CVE-2026-53488"),
                (Kind::Runc, "1.2.5".to_owned(), "CVE-2025-31133"),
                (Kind::Runc, "1.2.5".to_owned(), "CVE-2026-41579"),
            ]
        );
    }
}
