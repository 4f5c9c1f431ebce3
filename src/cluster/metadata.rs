//! Labels and taints of Node objects, given by an administrator.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Node, Taint};
use kube::api::{Api, Patch, PatchParams};
use serde_json::{Value, json};

use super::{Cluster, ClusterError};
use crate::config::{NodeName, Settings, TaintEffect};

/// How often a change is tried anew when somebody else changes the same node meanwhile.
const TRIES: usize = 10;

/// What a Node object shall have, besides all else that it has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Metadata {
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Values of taints, by key and effect.
    pub taints: BTreeMap<(String, TaintEffect), String>,
}

impl Metadata {
    /// What the cluster file says of a node.
    pub fn of(settings: &Settings) -> Self {
        Self { labels: settings.labels.clone(), taints: settings.taints.clone() }
    }

    /// Whether nothing is asked for.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.taints.is_empty()
    }

    /// A merge patch that gives the node what it lacks; none where it lacks nothing. It holds for this version of the node
    /// alone, since the list of taints can only be replaced as a whole, and others change it too.
    fn patch(&self, node: &Node) -> Option<Value> {
        let there = node.metadata.labels.clone().unwrap_or_default();
        let labels: BTreeMap<_, _> = self.labels.iter().filter(|(key, value)| there.get(*key) != Some(value)).collect();
        let before = node.spec.as_ref().and_then(|spec| spec.taints.clone()).unwrap_or_default();
        let taints = self.laid_over(&before);
        if labels.is_empty() && taints == before {
            return None;
        }
        let mut patch = json!({"metadata": {"resourceVersion": node.metadata.resource_version, "labels": labels}});
        if taints != before {
            patch["spec"] = json!({"taints": taints});
        }
        Some(patch)
    }

    fn laid_over(&self, before: &[Taint]) -> Vec<Taint> {
        let mut taints = before.to_vec();
        for ((key, effect), value) in &self.taints {
            let (effect, value) = (effect.to_string(), Some(value.clone()).filter(|value| !value.is_empty()));
            match taints.iter_mut().find(|taint| taint.key == *key && taint.effect == effect) {
                Some(taint) if taint.value.as_deref().unwrap_or_default() == value.as_deref().unwrap_or_default() => {}
                Some(taint) => taint.value = value,
                None => taints.push(Taint { key: key.clone(), effect, value, time_added: None }),
            }
        }
        taints
    }
}

impl Cluster {
    /// Gives a node the labels and taints that it lacks; says whether it lacked any. Others are left as they are.
    pub fn give(&self, node: &NodeName, wanted: &Metadata) -> Result<bool, ClusterError> {
        let name = node.to_string();
        let nodes: Api<Node> = Api::all(self.client.clone());
        let mut tries = 1;
        loop {
            let there = self.ask("a node", nodes.get(&name))?;
            let Some(patch) = wanted.patch(&there) else { return Ok(tries > 1) };
            let params = PatchParams { field_manager: Some("nodebake".to_owned()), ..PatchParams::default() };
            match self.ask("a change of labels and taints", nodes.patch(&name, &params, &Patch::Merge(&patch))) {
                Ok(_) => return Ok(true),
                Err(error) if error.is_conflict() && tries < TRIES => tries += 1,
                Err(error) => return Err(error),
            }
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_given_what_it_lacks_and_keeps_the_rest() {
        let text = |text: &str| text.to_owned();
        let wanted = Metadata {
            labels: [(text("node-role.kubernetes.io/worker"), text("")), (text("own"), text("1"))].into(),
            taints: [
                ((text("own"), TaintEffect::NoSchedule), text("a")),
                ((text("own"), TaintEffect::NoExecute), text("")),
            ]
            .into(),
        };
        let node = |labels: Value, taints: Value| -> Node {
            let spec = json!({"taints": taints});
            serde_json::from_value(json!({"metadata": {"resourceVersion": "7", "labels": labels}, "spec": spec}))
                .unwrap()
        };
        let not_ready = json!({"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"});
        let (no_schedule, no_execute) =
            (json!({"key": "own", "effect": "NoSchedule", "value": "a"}), json!({"key": "own", "effect": "NoExecute"}));
        let other = json!({"key": "own", "effect": "NoSchedule", "value": "b"});
        let all = json!({"node-role.kubernetes.io/worker": "", "own": "1", "kept": "2"});
        for (labels, taints, patch) in [
            (all.clone(), json!([not_ready, no_execute, no_schedule]), None),
            (
                json!({"own": "2", "kept": "2"}),
                json!([no_schedule, no_execute]),
                Some(
                    json!({"metadata": {"resourceVersion": "7", "labels": {"node-role.kubernetes.io/worker": "", "own": "1"}}}),
                ),
            ),
            (
                all.clone(),
                json!([other, not_ready]),
                Some(json!({
                    "metadata": {"resourceVersion": "7", "labels": {}},
                    "spec": {"taints": [no_schedule, not_ready, no_execute]},
                })),
            ),
        ] {
            assert_eq!(wanted.patch(&node(labels, taints)), patch);
        }
        assert_eq!(Metadata::default().patch(&node(json!(null), json!(null))), None);
    }
}
