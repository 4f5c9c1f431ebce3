//! The pods of a node, and which of them leave it when it is drained: the rules of `kubectl drain`
//! (<https://kubernetes.io/docs/tasks/administer-cluster/safely-drain-node/>).

use std::collections::BTreeSet;
use std::fmt;

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::api::policy::v1::Eviction;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, ObjectMeta, Preconditions};
use kube::api::{Api, ListParams, PostParams};

use super::{Cluster, ClusterError};
use crate::config::NodeName;

/// Annotation of the object that stands for a pod of a kubelet's own folder; it cannot be evicted.
const MIRROR: &str = "kubernetes.io/config.mirror";

/// Label of nodes that ties a local volume to one.
const HOSTNAME: &str = "kubernetes.io/hostname";

/// What may be lost with a drained node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Allowed {
    /// Pods that nobody makes anew.
    pub unmanaged: bool,
    /// What pods have in emptyDir volumes.
    pub empty_dir: bool,
    /// What is in persistent volumes that lie on the node.
    pub local_volumes: bool,
}

/// A pod of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "facts that have nothing to do with each other")]
pub struct Tenant {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// UID of this very pod: another one of the same name is no obstacle.
    pub uid: String,
    /// Whether it stays until its machine is off: a `DaemonSet`'s, which would come back at once, or a kubelet's own.
    pub stays: bool,
    /// Whether it has ended.
    pub finished: bool,
    /// Whether it is on its way out.
    pub leaving: bool,
    /// Whether no controller makes it anew.
    pub unmanaged: bool,
    /// Whether it has emptyDir volumes.
    pub empty_dir: bool,
    /// The persistent volume claims that it uses.
    pub claims: Vec<String>,
}

impl fmt::Display for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl Tenant {
    pub(super) fn of(pod: &Pod) -> Self {
        let controller = pod.metadata.owner_references.iter().flatten().find(|owner| owner.controller == Some(true));
        let is_mirror = pod.metadata.annotations.as_ref().is_some_and(|all| all.contains_key(MIRROR));
        let is_daemon =
            controller.is_some_and(|owner| owner.kind == "DaemonSet" && owner.api_version.starts_with("apps/"));
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        let volumes = || pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
        let claims = volumes().filter_map(|volume| volume.persistent_volume_claim.as_ref());
        Self {
            namespace: pod.metadata.namespace.clone().unwrap_or_default(),
            name: pod.metadata.name.clone().unwrap_or_default(),
            uid: pod.metadata.uid.clone().unwrap_or_default(),
            stays: is_mirror || is_daemon,
            finished: matches!(phase, Some("Succeeded" | "Failed")),
            leaving: pod.metadata.deletion_timestamp.is_some(),
            unmanaged: controller.is_none(),
            empty_dir: volumes().any(|volume| volume.empty_dir.is_some()),
            claims: claims.map(|claim| claim.claim_name.clone()).collect(),
        }
    }
}

/// Why a pod may not leave without the user's leave.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Obstacle {
    /// The node.
    pub node: NodeName,
    /// The pod, with its namespace.
    pub pod: String,
    /// What would be lost.
    pub loss: Loss,
}

/// What would be lost with a pod.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Loss {
    /// The pod itself.
    Pod,
    /// What is in its emptyDir volumes.
    EmptyDir,
    /// What is in a persistent volume on the node, by its name.
    Volume(String),
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { node, pod, loss } = self;
        match loss {
            Loss::Pod => write!(f, "{node}: pod {pod} has no controller that would make it anew (--allow-unmanaged)"),
            Loss::EmptyDir => write!(f, "{node}: pod {pod} would lose its emptyDir volumes (--allow-emptydir)"),
            Loss::Volume(volume) => write!(
                f,
                "{node}: pod {pod} has the persistent volume {volume}, which lies on this node (--allow-local-pvs)"
            ),
        }
    }
}

/// Whether what is in a volume is on one node alone.
fn is_local(volume: &PersistentVolume) -> bool {
    let Some(spec) = &volume.spec else { return false };
    let terms = spec.node_affinity.iter().flat_map(|affinity| affinity.required.iter());
    let mut keys =
        terms.flat_map(|terms| &terms.node_selector_terms).flat_map(|term| term.match_expressions.iter().flatten());
    spec.local.is_some() || spec.host_path.is_some() || keys.any(|term| term.key == HOSTNAME)
}

/// What the apiserver made of an eviction.
pub(super) enum Evicted {
    /// The pod is on its way out, or gone.
    Granted,
    /// Not now; why, and how long it asks to wait.
    Later(String, Option<std::time::Duration>),
}

impl Cluster {
    /// The pods of a node as they are now.
    pub fn tenants(&self, node: &NodeName) -> Result<Vec<Tenant>, ClusterError> {
        let pods: Api<Pod> = Api::all(self.client.clone());
        let on_node = ListParams::default().fields(&format!("spec.nodeName={node}"));
        Ok(self.persist("a node's pods", || pods.list(&on_node))?.items.iter().map(Tenant::of).collect())
    }

    /// What stands in the way of draining a node of these pods.
    pub fn obstacles(
        &self,
        node: &NodeName,
        tenants: &[Tenant],
        allowed: Allowed,
    ) -> Result<Vec<Obstacle>, ClusterError> {
        let mut found = BTreeSet::new();
        // One that has ended has nothing left to lose, but a volume outlasts it.
        for tenant in tenants.iter().filter(|tenant| !tenant.stays && !tenant.leaving) {
            let obstacle = |loss| Obstacle { node: node.clone(), pod: tenant.to_string(), loss };
            if tenant.unmanaged && !tenant.finished && !allowed.unmanaged {
                found.insert(obstacle(Loss::Pod));
            }
            if tenant.empty_dir && !tenant.finished && !allowed.empty_dir {
                found.insert(obstacle(Loss::EmptyDir));
            }
            if !allowed.local_volumes {
                let local = self.volumes_of(tenant)?.into_iter().filter(is_local);
                found.extend(local.map(|volume| obstacle(Loss::Volume(volume.metadata.name.unwrap_or_default()))));
            }
        }
        Ok(found.into_iter().collect())
    }

    /// The persistent volumes that a pod's claims are bound to.
    pub(super) fn volumes_of(&self, tenant: &Tenant) -> Result<Vec<PersistentVolume>, ClusterError> {
        let claims: Api<PersistentVolumeClaim> = Api::namespaced(self.client.clone(), &tenant.namespace);
        let volumes: Api<PersistentVolume> = Api::all(self.client.clone());
        let mut found = Vec::new();
        for name in &tenant.claims {
            let claim = self.persist("a persistent volume claim", || claims.get_opt(name))?;
            let Some(volume) = claim.and_then(|claim| claim.spec?.volume_name).filter(|name| !name.is_empty()) else {
                continue;
            };
            found.extend(self.persist("a persistent volume", || volumes.get_opt(&volume))?);
        }
        Ok(found)
    }

    /// Asks for a pod to leave, by the Eviction API, which minds every `PodDisruptionBudget`.
    pub(super) fn evict(&self, tenant: &Tenant, grace: Option<u32>) -> Result<Evicted, ClusterError> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &tenant.namespace);
        let options = DeleteOptions {
            grace_period_seconds: grace.map(i64::from),
            // A pod that has come in its place meanwhile is another one.
            preconditions: Some(Preconditions { uid: Some(tenant.uid.clone()), resource_version: None }),
            ..DeleteOptions::default()
        };
        let metadata = ObjectMeta {
            name: Some(tenant.name.clone()),
            namespace: Some(tenant.namespace.clone()),
            ..ObjectMeta::default()
        };
        let eviction = Eviction { metadata, delete_options: Some(options) };
        let posted = self.ask("a pod's eviction", async {
            let params = PostParams::default();
            // The answer is a Status.
            pods.create_subresource::<_, serde_json::Value>("eviction", &tenant.name, &params, &eviction)
                .await
                .map(drop)
        });
        match posted {
            Ok(()) => Ok(Evicted::Granted),
            Err(error) if error.is_missing() || error.is_conflict() => Ok(Evicted::Granted),
            Err(error) if error.is_passing() || is_of_ending_namespace(&error) => {
                let why = error.status().map_or_else(|| crate::error::chain(&error), |status| status.message.clone());
                Ok(Evicted::Later(crate::printable::line(&why), error.retry_after()))
            }
            Err(error) => Err(error),
        }
    }
}

/// Whether the pod's whole namespace is on its way out, which takes it along.
fn is_of_ending_namespace(error: &ClusterError) -> bool {
    let causes = error.status().and_then(|status| status.details.as_ref()).map(|details| details.causes.as_slice());
    causes.unwrap_or_default().iter().any(|cause| cause.reason == "NamespaceTerminating")
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn tenant(pod: Value) -> Tenant {
        Tenant::of(&serde_json::from_value(pod).unwrap())
    }

    #[test]
    fn a_pod_is_what_its_object_says() {
        let owner = |kind: &str, controller: bool| json!([{"apiVersion": "apps/v1", "kind": kind, "name": "o", "uid": "1", "controller": controller}]);
        let plain = Tenant {
            namespace: "default".to_owned(),
            name: "a".to_owned(),
            uid: "7".to_owned(),
            stays: false,
            finished: false,
            leaving: false,
            unmanaged: true,
            empty_dir: false,
            claims: Vec::new(),
        };
        let metadata = |more: Value| {
            let mut metadata = json!({"namespace": "default", "name": "a", "uid": "7"});
            metadata.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            metadata
        };
        for (pod, wanted) in [
            (json!({"metadata": metadata(json!({}))}), plain.clone()),
            (
                json!({"metadata": metadata(json!({"ownerReferences": owner("ReplicaSet", true)}))}),
                Tenant { unmanaged: false, ..plain.clone() },
            ),
            (json!({"metadata": metadata(json!({"ownerReferences": owner("ReplicaSet", false)}))}), plain.clone()),
            (
                json!({"metadata": metadata(json!({"ownerReferences": owner("DaemonSet", true)}))}),
                Tenant { unmanaged: false, stays: true, ..plain.clone() },
            ),
            (
                json!({"metadata": metadata(json!({"annotations": {"kubernetes.io/config.mirror": "x"}}))}),
                Tenant { stays: true, ..plain.clone() },
            ),
            (
                json!({
                    "metadata": metadata(json!({"deletionTimestamp": "2026-01-01T00:00:00Z"})),
                    "spec": {"containers": [], "volumes": [
                        {"name": "a", "emptyDir": {}}, {"name": "b", "persistentVolumeClaim": {"claimName": "c"}},
                    ]},
                    "status": {"phase": "Succeeded"},
                }),
                Tenant {
                    finished: true,
                    leaving: true,
                    empty_dir: true,
                    claims: vec!["c".to_owned()],
                    ..plain.clone()
                },
            ),
        ] {
            assert_eq!(tenant(pod.clone()), wanted, "{pod}");
        }
    }

    #[test]
    fn volumes_on_one_node_are_local() {
        let affinity = |key: &str| {
            let expressions = json!([{"key": key, "operator": "In", "values": ["n"]}]);
            json!({"required": {"nodeSelectorTerms": [{"matchExpressions": expressions}]}})
        };
        for (spec, wanted) in [
            (json!({"local": {"path": "/a"}}), true),
            (json!({"hostPath": {"path": "/a"}}), true),
            (json!({"csi": {"driver": "d", "volumeHandle": "v"}}), false),
            (json!({"csi": {"driver": "d", "volumeHandle": "v"}, "nodeAffinity": affinity(HOSTNAME)}), true),
            (json!({"nodeAffinity": affinity("topology.kubernetes.io/zone")}), false),
        ] {
            assert_eq!(is_local(&serde_json::from_value(json!({"spec": spec})).unwrap()), wanted, "{spec}");
        }
    }
}
