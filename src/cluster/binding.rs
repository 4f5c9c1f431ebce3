//! The `ClusterRoleBinding` that lets the apiserver in at the kubelets. These ask the apiserver what its own client may do
//! with their API (`authorization.mode: Webhook`); without the right there are no `kubectl logs`, `exec`, `port-forward`.

use std::fmt;

use k8s_openapi::api::rbac::v1::{ClusterRoleBinding, RoleRef, Subject};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::json;

use super::{Cluster, ClusterError};

/// The API group of roles, of bindings and of the users that they name.
pub(super) const GROUP: &str = "rbac.authorization.k8s.io";
/// Name of the binding.
pub(super) const NAME: &str = "kube-apiserver-kubelet-admin";
/// Kubernetes' own role for all of the kubelets' API
/// (<https://kubernetes.io/docs/reference/access-authn-authz/kubelet-authn-authz/>).
pub(super) const ROLE: &str = "system:kubelet-api-admin";
/// Whose a thing in the cluster is (<https://kubernetes.io/docs/concepts/overview/working-with-objects/common-labels/>).
const MANAGED_BY: (&str, &str) = ("app.kubernetes.io/managed-by", "nodebake");

/// The binding that the cluster file asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// Whom the apiserver is to its kubelets.
    pub user: String,
}

/// What becomes of a binding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Binds {
    /// It is not there, and is made.
    Create,
    /// It is ours and binds others, and its subjects are replaced; who these are.
    Change(String),
    /// It gives the user the role.
    Nothing,
    /// It does not, and is left as it is: of what is not ours everything, and of what is ours the role, which Kubernetes lets
    /// nobody change. What it is.
    Differs(String),
}

impl Binding {
    /// What the cluster file says.
    pub fn of(cluster: &crate::config::Cluster) -> Option<Self> {
        Some(Self { user: cluster.kubelet_client_user.clone()? })
    }

    /// Its name.
    pub fn name() -> &'static str {
        NAME
    }

    /// What it is for.
    pub fn purpose(&self) -> String {
        format!("lets {} into the kubelets for logs and exec", self.user)
    }

    /// How somebody else's, or one with another role, makes room for it.
    pub fn replaced_by_hand(&self) -> String {
        let subject = format!("--clusterrole={ROLE} --user={}", self.user);
        format!(
            "if it is not needed, have `up` make it anew after: kubectl delete clusterrolebinding {NAME}; or bind the user \
             under another name, and leave cluster.kubeletClientUser out: kubectl create clusterrolebinding NAME {subject}"
        )
    }

    /// What becomes of what is there.
    fn against(&self, found: Option<&ClusterRoleBinding>) -> Binds {
        let Some(found) = found else { return Binds::Create };
        let role = &found.role_ref;
        let bound = found.subjects.iter().flatten().map(Named);
        let names = listed(bound.clone());
        if (role.kind.as_str(), role.name.as_str()) != ("ClusterRole", ROLE) {
            return Binds::Differs(format!("it gives {} {} to {names}", role.kind, role.name));
        }
        if bound.clone().any(|subject| subject.0.kind == "User" && subject.0.name == self.user) {
            return Binds::Nothing;
        }
        let labels = found.metadata.labels.as_ref();
        let ours = labels.and_then(|labels| labels.get(MANAGED_BY.0)).is_some_and(|by| by == MANAGED_BY.1);
        if ours { Binds::Change(names) } else { Binds::Differs(format!("it binds {names}, and is not nodebake's")) }
    }

    fn subject(&self) -> Subject {
        Subject { api_group: Some(GROUP.to_owned()), kind: "User".to_owned(), name: self.user.clone(), namespace: None }
    }

    fn object(&self) -> ClusterRoleBinding {
        let (key, value) = MANAGED_BY;
        ClusterRoleBinding {
            metadata: ObjectMeta {
                name: Some(NAME.to_owned()),
                labels: Some([(key.to_owned(), value.to_owned())].into()),
                ..ObjectMeta::default()
            },
            role_ref: RoleRef { api_group: GROUP.to_owned(), kind: "ClusterRole".to_owned(), name: ROLE.to_owned() },
            subjects: Some(vec![self.subject()]),
        }
    }
}

/// A subject as it is told.
#[derive(Clone)]
struct Named<'a>(&'a Subject);

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = crate::printable::line(&self.0.name);
        match self.0.kind.as_str() {
            "User" => f.write_str(&name),
            kind => write!(f, "{} {name}", crate::printable::line(&kind.to_lowercase())),
        }
    }
}

fn listed<'a>(subjects: impl Iterator<Item = Named<'a>>) -> String {
    let names: Vec<_> = subjects.map(|subject| subject.to_string()).collect();
    if names.is_empty() { "nobody".to_owned() } else { names.join(", ") }
}

impl Cluster {
    /// What becomes of the binding; only looked at.
    pub fn binds(&self, binding: &Binding) -> Result<Binds, ClusterError> {
        Ok(binding.against(self.bound()?.as_ref()))
    }

    fn bound(&self) -> Result<Option<ClusterRoleBinding>, ClusterError> {
        let bindings: Api<ClusterRoleBinding> = Api::all(self.client.clone());
        self.ask(WHAT, bindings.get_opt(NAME))
    }

    /// Sees to the binding; says what became of it. Where somebody else is at it too, what is there then decides.
    pub fn bind(&self, binding: &Binding) -> Result<Binds, ClusterError> {
        let bindings: Api<ClusterRoleBinding> = Api::all(self.client.clone());
        let manager = Some("nodebake".to_owned());
        let found = self.bound()?;
        let binds = binding.against(found.as_ref());
        let done = match &binds {
            Binds::Create => {
                let params = PostParams { field_manager: manager, ..PostParams::default() };
                self.ask(WHAT, bindings.create(&params, &binding.object()))
            }
            Binds::Change(_) => {
                let version = found.and_then(|found| found.metadata.resource_version);
                let patch = json!({"metadata": {"resourceVersion": version}, "subjects": [binding.subject()]});
                let params = PatchParams { field_manager: manager, ..PatchParams::default() };
                self.ask(WHAT, bindings.patch(NAME, &params, &Patch::Merge(&patch)))
            }
            Binds::Nothing | Binds::Differs(_) => return Ok(binds),
        };
        match done {
            Ok(_) => Ok(binds),
            Err(error) if error.is_conflict() => self.binds(binding),
            Err(error) => Err(error),
        }
    }
}

const WHAT: &str = "ClusterRoleBinding kube-apiserver-kubelet-admin";

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_missing_or_ours_is_touched() {
        let binding = Binding { user: "kube-apiserver".to_owned() };
        let found = |kind: &str, role: &str, subjects: serde_json::Value, by: &str| -> ClusterRoleBinding {
            serde_json::from_value(json!({
                "metadata": {"name": NAME, "labels": {"app.kubernetes.io/managed-by": by}},
                "roleRef": {"apiGroup": GROUP, "kind": kind, "name": role}, "subjects": subjects,
            }))
            .unwrap()
        };
        let user = |name: &str| json!({"apiGroup": GROUP, "kind": "User", "name": name});
        let (ours, other) = (user("kube-apiserver"), user("kubernetes"));
        let account = json!({"kind": "ServiceAccount", "name": "kube-apiserver", "namespace": "x"});
        for (found, wanted) in [
            (None, Binds::Create),
            (Some(binding.object()), Binds::Nothing),
            (Some(found("ClusterRole", ROLE, json!([other, ours]), "Helm")), Binds::Nothing),
            (Some(found("ClusterRole", ROLE, json!([other, account]), "nodebake")), {
                Binds::Change("kubernetes, serviceaccount kube-apiserver".to_owned())
            }),
            (Some(found("ClusterRole", ROLE, json!(null), "nodebake")), Binds::Change("nobody".to_owned())),
            (Some(found("ClusterRole", ROLE, json!([other]), "Helm")), {
                Binds::Differs("it binds kubernetes, and is not nodebake's".to_owned())
            }),
            (Some(found("ClusterRole", "cluster-admin", json!([ours]), "nodebake")), {
                Binds::Differs("it gives ClusterRole cluster-admin to kube-apiserver".to_owned())
            }),
        ] {
            assert_eq!(binding.against(found.as_ref()), wanted, "{found:?}");
        }
    }
}
