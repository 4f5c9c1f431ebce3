//! The cluster as its administrator asks it: whether the kubeconfig is good for what `up` does with it, and whether the
//! apiserver takes kubelets of the version asked for.

use semver::Version;

use super::apiserver::Probe;
use super::finding::{Check, Finding};
use crate::cluster::{ClusterError, Nodes};

/// How many minor versions a kubelet may be behind the apiserver (<https://kubernetes.io/releases/version-skew-policy/>);
/// those before 1.25 two.
const BEHIND: u64 = 3;

/// What the cluster's API said.
#[derive(Debug)]
pub(super) enum Asked {
    /// The cluster file names no kubeconfig.
    Nothing,
    /// There was no answer in time.
    Silent,
    /// All nodes with their leases, or why not.
    Answered(Result<Nodes, ClusterError>),
}

/// Whether the kubeconfig lets its user list nodes and leases.
pub(super) fn kubeconfig(asked: &Asked) -> Finding {
    match asked {
        Asked::Nothing => Finding::skipped(
            Check::Kubeconfig,
            "cluster.kubeconfig is not set: `up` waits for the kubelets, and cannot ask whether they registered",
        ),
        Asked::Silent => Finding::failure(
            Check::Kubeconfig,
            "the apiserver of the kubeconfig does not answer in time",
            "check that the apiserver in the kubeconfig runs and can be reached from here",
        ),
        Asked::Answered(Err(error)) => Finding::of_error(Check::Kubeconfig, error, error.hint()),
        Asked::Answered(Ok(nodes)) => Finding::ok(
            Check::Kubeconfig,
            format!("may list nodes and their leases; nodes in the cluster: {}", nodes.len()),
        ),
    }
}

/// Whether the apiserver's version allows kubelets of this one.
pub(super) fn version_skew(kubelet: &Version, probe: Option<&Probe>) -> Finding {
    let told = match probe {
        Some(Probe::Reached(answer)) => answer.version.as_deref(),
        _ => None,
    };
    told.map_or_else(
        || Finding::skipped(Check::VersionSkew, "the apiserver did not tell its version"),
        |told| judge_skew(kubelet, told),
    )
}

fn judge_skew(kubelet: &Version, told: &str) -> Finding {
    let Ok(apiserver) = told.trim_start_matches('v').parse::<Version>() else {
        return Finding::skipped(Check::VersionSkew, format!("the apiserver calls its version {told:?}"));
    };
    let minor = |version: &Version| format!("{}.{}", version.major, version.minor);
    let both = format!("kubelet {kubelet}, apiserver {apiserver}");
    if (kubelet.major, kubelet.minor) > (apiserver.major, apiserver.minor) {
        let fix = format!(
            "set versions.kubernetes to {} or older in the cluster file, or upgrade the control plane first",
            minor(&apiserver)
        );
        return Finding::failure(Check::VersionSkew, format!("{both}: a kubelet must not be newer"), fix);
    }
    let most = if (kubelet.major, kubelet.minor) < (1, 25) { 2 } else { BEHIND };
    if kubelet.major < apiserver.major || apiserver.minor - kubelet.minor > most {
        let found = format!("{both}: a kubelet may be {most} minor versions older at most");
        let fix = format!("set versions.kubernetes to {} in the cluster file, then: nodebake lock", minor(&apiserver));
        return Finding::failure(Check::VersionSkew, found, fix);
    }
    Finding::ok(Check::VersionSkew, both)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::fixture::lines;

    #[test]
    fn a_kubelet_is_never_newer_and_not_much_older() {
        let newer = "a kubelet must not be newer";
        let older = |most: u8| format!("a kubelet may be {most} minor versions older at most");
        let lower = |minor: &str| {
            format!(
                "set versions.kubernetes to {minor} or older in the cluster file, or upgrade the control plane first"
            )
        };
        let raise =
            |minor: &str| format!("set versions.kubernetes to {minor} in the cluster file, then: nodebake lock");
        for (kubelet, apiserver, wanted) in [
            ("1.35.1", "v1.35.0", "ok: kubelet 1.35.1, apiserver 1.35.0".to_owned()),
            ("1.35.1", "v1.38.0+k3s1", "ok: kubelet 1.35.1, apiserver 1.38.0+k3s1".to_owned()),
            ("1.36.0", "v1.35.4", format!("failure: kubelet 1.36.0, apiserver 1.35.4: {newer} | {}", lower("1.35"))),
            (
                "1.35.1",
                "v1.39.0",
                format!("failure: kubelet 1.35.1, apiserver 1.39.0: {} | {}", older(3), raise("1.39")),
            ),
            (
                "1.24.9",
                "v1.27.0",
                format!("failure: kubelet 1.24.9, apiserver 1.27.0: {} | {}", older(2), raise("1.27")),
            ),
            ("1.35.1", "v2.0.0", format!("failure: kubelet 1.35.1, apiserver 2.0.0: {} | {}", older(3), raise("2.0"))),
            ("1.35.1", "edge", "skipped: the apiserver calls its version \"edge\"".to_owned()),
        ] {
            let kubelet: Version = kubelet.parse().unwrap_or(Version::new(0, 0, 0));
            assert_eq!(lines(vec![judge_skew(&kubelet, apiserver)]), [wanted]);
        }
        let silent = "skipped: the apiserver did not tell its version";
        assert_eq!(lines(vec![version_skew(&Version::new(1, 35, 1), None)]), [silent]);
    }

    #[test]
    fn a_kubeconfig_is_judged_by_what_came_of_it() {
        let nodes = Nodes::from([("a".to_owned(), crate::cluster::NodeStatus::default())]);
        let check = "check that the apiserver in the kubeconfig runs and can be reached from here";
        for (asked, wanted) in [
            (
                Asked::Nothing,
                "skipped: cluster.kubeconfig is not set: `up` waits for the kubelets, and cannot ask whether they registered"
                    .to_owned(),
            ),
            (Asked::Silent, format!("failure: the apiserver of the kubeconfig does not answer in time | {check}")),
            (
                Asked::Answered(Err(ClusterError::Silent { what: "nodes" })),
                format!(
                    "failure: asking the apiserver for nodes: no answer in 20 s | {check}, and that its user may list nodes and \
                     leases"
                ),
            ),
            (Asked::Answered(Ok(nodes)), "ok: may list nodes and their leases; nodes in the cluster: 1".to_owned()),
        ] {
            assert_eq!(lines(vec![kubeconfig(&asked)]), [wanted]);
        }
    }
}
