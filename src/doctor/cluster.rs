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
