//! The cluster as its administrator asks it: whether the kubeconfig is good for what nodebake does with it, whether nodes
//! will be let in, and the apiserver at them, and whether it takes kubelets of the version asked for.

use std::time::Instant;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use semver::Version;

use super::Begun;
use super::apiserver::Probe;
use super::finding::{Check, Finding, listed};
use crate::cluster::{Binding, Binds, Caller, Cluster, ClusterError, May, Nodes, Right, Task};
use crate::config;
use crate::printable;

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

/// What the apiserver is asked by an administrator besides nodes, each on a thread of its own.
pub struct Questions {
    caller: Begun<Result<Caller, ClusterError>>,
    version: Begun<Result<String, ClusterError>>,
    authorities: Begun<Result<Option<Vec<Vec<u8>>>, ClusterError>>,
    binding: Option<(Binding, Begun<Result<Binds, ClusterError>>)>,
    /// The certificates of ca.pem, in DER form.
    own: Vec<Vec<u8>>,
}

/// What came of asking.
#[derive(Debug)]
pub struct Answers {
    pub(super) caller: Result<Caller, ClusterError>,
    version: Result<String, ClusterError>,
    authorities: Result<Option<Vec<Vec<u8>>>, ClusterError>,
    binding: Option<(Binding, Result<Binds, ClusterError>)>,
    own: Vec<Vec<u8>>,
}

impl Questions {
    /// Asks.
    pub fn ask(cluster: &Cluster, config: &config::Cluster) -> Self {
        let binding = Binding::of(config);
        let binds = binding.is_some();
        let ca = std::fs::read(config.pki.join("ca.pem")).unwrap_or_default();
        Self {
            caller: begin(cluster, move |cluster| cluster.caller(binds)),
            version: begin(cluster, Cluster::version),
            authorities: begin(cluster, Cluster::client_authorities),
            binding: binding.map(|it| (it.clone(), begin(cluster, move |cluster| cluster.binds(&it)))),
            own: CertificateDer::pem_slice_iter(&ca).flatten().map(|der| der.to_vec()).collect(),
        }
    }

    /// What came of it by then.
    pub fn by(&self, end: Instant) -> Answers {
        fn answer<T: Send + 'static>(begun: &Begun<Result<T, ClusterError>>, end: Instant) -> Result<T, ClusterError> {
            begun.by(end).unwrap_or(Err(ClusterError::Silent { what: "what doctor looks at" }))
        }
        Answers {
            caller: answer(&self.caller, end),
            version: answer(&self.version, end),
            authorities: answer(&self.authorities, end),
            binding: self.binding.as_ref().map(|(it, begun)| (it.clone(), answer(begun, end))),
            own: self.own.clone(),
        }
    }
}

fn begin<T: Send + 'static>(cluster: &Cluster, question: impl FnOnce(&Cluster) -> T + Send + 'static) -> Begun<T> {
    let cluster = cluster.clone();
    Begun::new(move || question(&cluster))
}

/// All that stays open where nobody could be asked.
pub(super) fn unanswered(asked: &Asked) -> [Finding; 3] {
    let why = match asked {
        Asked::Nothing => "cluster.kubeconfig is not set",
        _ => "the cluster's API cannot be asked",
    };
    [Check::Rights, Check::ClientCa, Check::KubeletClient].map(|check| Finding::skipped(check, why))
}

/// Whether the kubeconfig's user may do all that nodebake does: what is missing, with the verbs that need it. Without what
/// `up` needs no node would be seen to come up.
pub(super) fn rights(caller: &Result<Caller, ClusterError>) -> Vec<Finding> {
    let caller = match caller {
        Err(error) => return vec![Finding::skipped(Check::Rights, error.said())],
        Ok(caller) => caller,
    };
    let user = match &caller.user {
        Some(user) => printable::line(user),
        None => "the kubeconfig's user (the apiserver does not tell its name; it can since Kubernetes 1.28)".to_owned(),
    };
    let missing = match &caller.may {
        May::Everything => {
            return vec![Finding::ok(Check::Rights, format!("{user} is in system:masters, and may do everything"))];
        }
        May::AllBut(missing) if missing.is_empty() => {
            return vec![Finding::ok(Check::Rights, format!("{user} may do all that nodebake asks for"))];
        }
        May::AllBut(missing) => missing,
    };
    let lacks = |rights: &[Right]| {
        let task = rights[0].task;
        let found = format!("{user} may not {}; {task} need that", without(rights));
        let fix = "grant it by a ClusterRole (docs/cluster.md has one), or have cluster.kubeconfig name an administrator's: \
                   `nodebake kubeconfig` makes one";
        if task == Task::Join {
            Finding::failure(Check::Rights, found, fix)
        } else {
            Finding::warning(Check::Rights, found, fix)
        }
    };
    missing.chunk_by(|one, next| one.task == next.task).map(lacks).collect()
}

/// `list and watch nodes, create pods/eviction`.
fn without(rights: &[Right]) -> String {
    let same = rights.chunk_by(|one, next| one.objects() == next.objects());
    let texts = same.map(|same| format!("{} {}", listed(same.iter().map(|right| right.verb)), same[0].objects()));
    texts.collect::<Vec<_>>().join(", ")
}

/// Whether the apiserver knows nodes by the CA that their certificates are signed by: else it would let none in (401).
pub(super) fn client_ca(answers: &Answers) -> Finding {
    let theirs = match &answers.authorities {
        Err(error) => return Finding::skipped(Check::ClientCa, error.said()),
        Ok(None) => return Finding::skipped(Check::ClientCa, "the apiserver does not tell whose clients it lets in"),
        Ok(Some(theirs)) => theirs,
    };
    judge_client_ca(&answers.own, theirs)
}

fn judge_client_ca(own: &[Vec<u8>], theirs: &[Vec<u8>]) -> Finding {
    let is_root = |der: &Vec<u8>| {
        x509_parser::parse_x509_certificate(der).is_ok_and(|(_, it)| it.subject().as_raw() == it.issuer().as_raw())
    };
    if own.is_empty() {
        return Finding::skipped(Check::ClientCa, "the CA cannot be read");
    }
    if own.iter().any(|der| theirs.contains(der)) {
        return Finding::ok(Check::ClientCa, "the apiserver lets clients in that the CA in ca.pem signed");
    }
    if !own.iter().any(is_root) {
        let why = "the apiserver lets clients of other CAs in; ca.pem has none of these, and not the root of its own";
        return Finding::skipped(Check::ClientCa, why);
    }
    Finding::failure(
        Check::ClientCa,
        "the apiserver lets clients of another CA in, and would refuse the nodes: theirs are signed by the one in ca.pem",
        "put the CA of that cluster into the pki folder, or add ca.pem to the file of the apiserver's --client-ca-file",
    )
}

/// Whether the apiserver will be let in at the kubelets.
pub(super) fn kubelet_client(answers: &Answers) -> Finding {
    let check = Check::KubeletClient;
    let Some((binding, binds)) = &answers.binding else {
        return Finding::skipped(
            check,
            "cluster.kubeletClientUser is not set: who lets the apiserver into the kubelets, for logs and exec, is not \
             looked at",
        );
    };
    let (name, user) = (Binding::name(), &binding.user);
    match binds {
        Err(error) => Finding::skipped(check, error.said()),
        Ok(Binds::Create) => {
            Finding::ok(check, format!("ClusterRoleBinding {name} is not there yet; `up` makes it for {user}"))
        }
        Ok(Binds::Change(names)) => {
            Finding::ok(check, format!("ClusterRoleBinding {name} binds {names}; `up` has it bind {user}"))
        }
        Ok(Binds::Nothing) => Finding::ok(check, format!("ClusterRoleBinding {name} lets {user} into the kubelets")),
        Ok(Binds::Differs(how)) => {
            let found = format!("ClusterRoleBinding {name} does not let {user} into the kubelets: {how}");
            Finding::warning(check, found, binding.replaced_by_hand())
        }
    }
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
pub(super) fn version_skew(kubelet: &Version, probe: Option<&Probe>, answers: Option<&Answers>) -> Finding {
    let anybody = match probe {
        Some(Probe::Reached(answer)) => answer.version.as_deref(),
        _ => None,
    };
    // One with --anonymous-auth=false tells only those whom it knows.
    let known = || answers.and_then(|answers| answers.version.as_deref().ok());
    anybody.or_else(known).map_or_else(
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
        assert_eq!(lines(vec![version_skew(&Version::new(1, 35, 1), None, None)]), [silent]);
    }

    #[test]
    fn what_a_user_may_not_do_is_told_by_what_needs_it() {
        let right = |task, verb, group, resource| Right { task, verb, group, resource, namespace: "", name: "" };
        let who = |user: Option<&str>, may| Ok(Caller { user: user.map(str::to_owned), may });
        let fix = "grant it by a ClusterRole (docs/cluster.md has one), or have cluster.kubeconfig name an administrator's: \
                   `nodebake kubeconfig` makes one";
        let unnamed = "the kubeconfig's user (the apiserver does not tell its name; it can since Kubernetes 1.28) may do all that \
             nodebake asks for";
        let some = vec![
            Right { namespace: "kube-node-lease", ..right(Task::Join, "watch", "coordination.k8s.io", "leases") },
            right(Task::Leave, "list", "", "pods"),
            right(Task::Leave, "watch", "", "pods"),
            right(Task::Leave, "create", "", "pods/eviction"),
        ];
        for (caller, wanted) in [
            (
                who(Some("root\n"), May::Everything),
                vec!["ok: root\\n is in system:masters, and may do everything".to_owned()],
            ),
            (who(Some("ann"), May::AllBut(Vec::new())), vec!["ok: ann may do all that nodebake asks for".to_owned()]),
            (who(None, May::AllBut(Vec::new())), vec![format!("ok: {unnamed}")]),
            (
                who(Some("ann"), May::AllBut(some)),
                vec![
                    format!(
                        "failure: ann may not watch leases.coordination.k8s.io in kube-node-lease; `up`, `plan`, `status` \
                         and `wait` need that | {fix}"
                    ),
                    format!(
                        "warning: ann may not list and watch pods, create pods/eviction; `rebuild` and `remove` need that | {fix}"
                    ),
                ],
            ),
            (
                Err(ClusterError::Silent { what: "the rights of the kubeconfig's user" }),
                vec![
                    "skipped: asking the apiserver for the rights of the kubeconfig's user: no answer in 20 s"
                        .to_owned(),
                ],
            ),
        ] {
            assert_eq!(lines(rights(&caller)), wanted);
        }
    }

    /// A CA that is signed by itself, and one that it signed, in DER form.
    fn authorities() -> Result<(Vec<u8>, Vec<u8>), rcgen::Error> {
        let params = |name: &str| -> Result<_, rcgen::Error> {
            let mut params = rcgen::CertificateParams::new(Vec::new())?;
            params.distinguished_name.push(rcgen::DnType::CommonName, name);
            params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
            Ok(params)
        };
        let (root_key, key) = (rcgen::KeyPair::generate()?, rcgen::KeyPair::generate()?);
        let (root_params, params) = (params("root")?, params("below")?);
        let root = root_params.self_signed(&root_key)?;
        let below = params.signed_by(&key, &rcgen::Issuer::new(root_params, &root_key))?;
        Ok((root.der().to_vec(), below.der().to_vec()))
    }

    #[test]
    fn nodes_are_let_in_by_their_ca() -> Result<(), rcgen::Error> {
        let ((root, below), (other, _)) = (authorities()?, authorities()?);
        let lets = "ok: the apiserver lets clients in that the CA in ca.pem signed";
        let refuses = "failure: the apiserver lets clients of another CA in, and would refuse the nodes: theirs are signed by \
                       the one in ca.pem | put the CA of that cluster into the pki folder, or add ca.pem to the file of the \
                       apiserver's --client-ca-file";
        for (own, theirs, wanted) in [
            (vec![], vec![root.clone()], "skipped: the CA cannot be read"),
            (vec![root.clone()], vec![other.clone(), root.clone()], lets),
            (vec![root.clone()], vec![other.clone()], refuses),
            (vec![below.clone(), root.clone()], vec![root.clone()], lets),
            (
                vec![below.clone()],
                vec![root.clone()],
                "skipped: the apiserver lets clients of other CAs in; ca.pem has none of these, and not the root of its own",
            ),
            (vec![below, root], vec![other], refuses),
        ] {
            assert_eq!(lines(vec![judge_client_ca(&own, &theirs)]), [wanted]);
        }
        Ok(())
    }

    #[test]
    fn the_apiservers_own_way_in_is_told_as_up_would_leave_it() {
        let name = "ClusterRoleBinding kube-apiserver-kubelet-admin";
        let answers = |binds: Option<Binds>, version: Option<&str>| Answers {
            caller: Ok(Caller { user: None, may: May::Everything }),
            version: version.map(str::to_owned).ok_or(ClusterError::Silent { what: "its version" }),
            authorities: Ok(None),
            binding: binds.map(|binds| (Binding { user: "kube-apiserver".to_owned() }, Ok(binds))),
            own: Vec::new(),
        };
        for (binds, wanted) in [
            (
                None,
                "skipped: cluster.kubeletClientUser is not set: who lets the apiserver into the kubelets, for logs and exec, \
                 is not looked at"
                    .to_owned(),
            ),
            (Some(Binds::Create), format!("ok: {name} is not there yet; `up` makes it for kube-apiserver")),
            (Some(Binds::Change("x".to_owned())), format!("ok: {name} binds x; `up` has it bind kube-apiserver")),
            (Some(Binds::Nothing), format!("ok: {name} lets kube-apiserver into the kubelets")),
            (
                Some(Binds::Differs("it binds x, and is not nodebake's".to_owned())),
                format!(
                    "warning: {name} does not let kube-apiserver into the kubelets: it binds x, and is not nodebake's | if it \
                     is not needed, have `up` make it anew after: kubectl delete clusterrolebinding \
                     kube-apiserver-kubelet-admin; or bind the user under another name, and leave cluster.kubeletClientUser \
                     out: kubectl create clusterrolebinding NAME --clusterrole=system:kubelet-api-admin --user=kube-apiserver"
                ),
            ),
        ] {
            assert_eq!(lines(vec![kubelet_client(&answers(binds, None))]), [wanted]);
        }
        // An apiserver that tells its version only to those whom it knows.
        let skew = |version| version_skew(&Version::new(1, 35, 1), None, Some(&answers(None, version)));
        assert_eq!(lines(vec![skew(Some("v1.36.0"))]), ["ok: kubelet 1.35.1, apiserver 1.36.0"]);
        assert_eq!(lines(vec![skew(None)]), ["skipped: the apiserver did not tell its version"]);
        assert_eq!(
            lines(vec![client_ca(&answers(None, None))]),
            ["skipped: the apiserver does not tell whose clients it lets in"]
        );
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
