//! Whom the apiserver takes us for, and what of nodebake's work that user may do.

use std::fmt;

use futures_util::future::try_join_all;
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use kube::api::{Api, PostParams};

use super::{Cluster, ClusterError, LEASES, binding};

/// Whoever is in it may do everything, whatever RBAC says (`SystemPrivilegedGroup` of the apiserver).
const MASTERS: &str = "system:masters";

/// What rights are needed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Task {
    /// To see nodes come up.
    Join,
    /// To give nodes labels and taints, and to keep pods off one that is replaced.
    Shape,
    /// To empty a node and take it out of the cluster.
    Leave,
    /// To let the apiserver in at the kubelets.
    Bind,
}

/// The verbs of nodebake that need it.
impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Join => "`up`, `plan`, `status` and `wait`",
            Self::Shape => "`rebuild`, `remove`, and `up` for labels and taints",
            Self::Leave => "`rebuild` and `remove`",
            Self::Bind => "`up` for cluster.kubeletClientUser",
        })
    }
}

/// One verb on one kind of object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Right {
    /// What needs it.
    pub task: Task,
    /// `list`, `patch` and the like.
    pub verb: &'static str,
    /// The API's group; empty for the core.
    pub group: &'static str,
    /// In the plural; of a part with a slash, `pods/eviction`.
    pub resource: &'static str,
    /// The one namespace that matters; all where it is empty, or none where the objects are in none.
    pub namespace: &'static str,
    /// The one object that matters; all where it is empty.
    pub name: &'static str,
}

/// What it is a right to: `leases.coordination.k8s.io in kube-node-lease`.
impl Right {
    /// The objects, as kubectl names them.
    pub fn objects(&self) -> String {
        let Self { group, resource, namespace, name, .. } = self;
        let dot = if group.is_empty() { "" } else { "." };
        let (plural, part) =
            resource.split_once('/').map_or((*resource, String::new()), |(plural, part)| (plural, format!("/{part}")));
        let name = if name.is_empty() { String::new() } else { format!(" {name}") };
        let within = if namespace.is_empty() { String::new() } else { format!(" in {namespace}") };
        format!("{plural}{dot}{group}{part}{name}{within}")
    }

    fn review(&self) -> SelfSubjectAccessReview {
        let (resource, part) = self.resource.split_once('/').unwrap_or((self.resource, ""));
        let given = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        let attributes = ResourceAttributes {
            verb: given(self.verb),
            group: given(self.group),
            resource: given(resource),
            subresource: given(part),
            namespace: given(self.namespace),
            name: given(self.name),
            ..ResourceAttributes::default()
        };
        let spec = SelfSubjectAccessReviewSpec { resource_attributes: Some(attributes), non_resource_attributes: None };
        SelfSubjectAccessReview { spec, ..SelfSubjectAccessReview::default() }
    }
}

/// All that nodebake asks of a cluster, in the order in which it is told.
fn rights(binds: bool) -> Vec<Right> {
    let right = |task, group, resource, verbs: &[&'static str]| {
        let one = |verb: &&'static str| Right { task, verb, group, resource, namespace: "", name: "" };
        verbs.iter().map(one).collect::<Vec<_>>()
    };
    let storage = "storage.k8s.io";
    let follow = ["list", "watch"];
    let mut all = right(Task::Join, "", "nodes", &follow);
    let leases = right(Task::Join, "coordination.k8s.io", "leases", &follow);
    all.extend(leases.into_iter().map(|right| Right { namespace: LEASES, ..right }));
    all.extend(right(Task::Shape, "", "nodes", &["get", "patch"]));
    all.extend(right(Task::Leave, "", "nodes", &["delete"]));
    all.extend(right(Task::Leave, "", "pods", &follow));
    all.extend(right(Task::Leave, "", "pods/eviction", &["create"]));
    all.extend(right(Task::Leave, "", "persistentvolumeclaims", &["get"]));
    all.extend(right(Task::Leave, "", "persistentvolumes", &["get"]));
    all.extend(right(Task::Leave, storage, "volumeattachments", &follow));
    if binds {
        let bindings = right(Task::Bind, binding::GROUP, "clusterrolebindings", &["get", "patch"]);
        all.extend(bindings.into_iter().map(|right| Right { name: binding::NAME, ..right }));
        all.extend(right(Task::Bind, binding::GROUP, "clusterrolebindings", &["create"]));
        // Whoever has all the rights of the role himself needs no word for it; he is told of one right too many.
        let role = right(Task::Bind, binding::GROUP, "clusterroles", &["bind"]);
        all.extend(role.into_iter().map(|right| Right { name: binding::ROLE, ..right }));
    }
    all
}

/// What a user may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum May {
    /// Everything, as a member of system:masters.
    Everything,
    /// All that nodebake does but this.
    AllBut(Vec<Right>),
}

/// Whom the apiserver takes us for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The user's name; none where the apiserver does not tell.
    pub user: Option<String>,
    /// What it may do.
    pub may: May,
}

impl Cluster {
    /// Asks who we are, and, unless that answers it, for every right that nodebake uses, all at once; those for a
    /// [`super::Binding`] only if it `binds`.
    pub fn caller(&self, binds: bool) -> Result<Caller, ClusterError> {
        self.ask("the rights of the kubeconfig's user", async {
            let (user, groups) = match self.who().await {
                Ok(who) => who,
                // Without the API, which is there since Kubernetes 1.28, or without the right to ask for oneself.
                Err(kube::Error::Api(status)) if matches!(status.code, 403..=405) => (None, Vec::new()),
                Err(error) => return Err(error),
            };
            if groups.iter().any(|group| group == MASTERS) {
                return Ok(Caller { user, may: May::Everything });
            }
            let reviews: Api<SelfSubjectAccessReview> = Api::all(self.client.clone());
            let asked = rights(binds).into_iter().map(|right| {
                let reviews = &reviews;
                async move {
                    let answer = reviews.create(&PostParams::default(), &right.review()).await?;
                    let allowed = answer.status.is_some_and(|status| status.allowed);
                    Ok::<_, kube::Error>(Some(right).filter(|_| !allowed))
                }
            });
            let missing = try_join_all(asked).await?.into_iter().flatten().collect();
            Ok(Caller { user, may: May::AllBut(missing) })
        })
    }

    async fn who(&self) -> Result<(Option<String>, Vec<String>), kube::Error> {
        let reviews: Api<SelfSubjectReview> = Api::all(self.client.clone());
        let answer = reviews.create(&PostParams::default(), &SelfSubjectReview::default()).await?;
        let info = answer.status.and_then(|status| status.user_info).unwrap_or_default();
        Ok((info.username, info.groups.unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_are_named_as_kubectl_names_them_and_asked_for_once() {
        let named: Vec<_> = rights(true).iter().map(|right| format!("{} {}", right.verb, right.objects())).collect();
        assert_eq!(
            named,
            [
                "list nodes",
                "watch nodes",
                "list leases.coordination.k8s.io in kube-node-lease",
                "watch leases.coordination.k8s.io in kube-node-lease",
                "get nodes",
                "patch nodes",
                "delete nodes",
                "list pods",
                "watch pods",
                "create pods/eviction",
                "get persistentvolumeclaims",
                "get persistentvolumes",
                "list volumeattachments.storage.k8s.io",
                "watch volumeattachments.storage.k8s.io",
                "get clusterrolebindings.rbac.authorization.k8s.io kube-apiserver-kubelet-admin",
                "patch clusterrolebindings.rbac.authorization.k8s.io kube-apiserver-kubelet-admin",
                "create clusterrolebindings.rbac.authorization.k8s.io",
                "bind clusterroles.rbac.authorization.k8s.io system:kubelet-api-admin",
            ]
        );
        assert!(rights(false).iter().all(|right| right.task != Task::Bind));
        let tasks: Vec<_> = rights(true).iter().map(|right| right.task).collect();
        assert!(tasks.is_sorted(), "{tasks:?}");
    }

    #[test]
    fn a_right_is_asked_for_by_its_parts() {
        let asked = |at: usize| serde_json::to_value(rights(true)[at].review().spec).unwrap_or_default();
        let attributes = |attributes| serde_json::json!({"resourceAttributes": attributes});
        for (at, wanted) in [
            (0, serde_json::json!({"verb": "list", "resource": "nodes"})),
            (
                2,
                serde_json::json!({"verb": "list", "group": "coordination.k8s.io", "resource": "leases",
                    "namespace": "kube-node-lease"}),
            ),
            (9, serde_json::json!({"verb": "create", "resource": "pods", "subresource": "eviction"})),
            (
                14,
                serde_json::json!({"verb": "get", "group": "rbac.authorization.k8s.io", "resource": "clusterrolebindings",
                    "name": "kube-apiserver-kubelet-admin"}),
            ),
        ] {
            assert_eq!(asked(at), attributes(wanted));
        }
    }
}
