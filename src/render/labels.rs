//! Labels and taints of a Node object: what its kubelet may say itself, and what only an administrator may.

use serde::Serialize;

use super::error::{RenderError, Said};
use crate::config::{Config, Node};

/// Labels of the kubernetes.io and k8s.io domains that a kubelet may give its own node (k8s.io/kubelet/pkg/apis,
/// `well_known_labels.go`; the `NodeRestriction` admission plugin and the flag --node-labels go by the same list).
const OF_KUBELETS: [&str; 11] = [
    "beta.kubernetes.io/arch",
    "beta.kubernetes.io/instance-type",
    "beta.kubernetes.io/os",
    "failure-domain.beta.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "kubernetes.io/arch",
    "kubernetes.io/hostname",
    "kubernetes.io/os",
    "node.kubernetes.io/instance-type",
    "topology.kubernetes.io/region",
    "topology.kubernetes.io/zone",
];

/// Whether a name is this domain or in it.
fn is_in(name: &str, domain: &str) -> bool {
    name.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// Whether a kubelet may give its own node this label.
fn is_for_kubelet(key: &str) -> bool {
    let domain = key.split_once('/').map_or("", |(domain, _)| domain);
    let is_kubernetes = ["kubernetes.io", "k8s.io"].iter().any(|ours| is_in(domain, ours));
    let allowed = || ["kubelet.kubernetes.io", "node.kubernetes.io"].iter().any(|ours| is_in(domain, ours));
    !is_kubernetes || OF_KUBELETS.contains(&key) || allowed()
}

/// Refuses labels that the kubelet may not give where there is nobody else to give them.
pub(super) fn check(config: &Config, node: &Node) -> Result<(), RenderError> {
    if config.cluster.kubeconfig.is_some() {
        return Ok(());
    }
    match node.settings.labels.keys().find(|key| !is_for_kubelet(key)) {
        None => Ok(()),
        Some(key) => Err(RenderError::Setting {
            node: node.name.clone(),
            said: Said::new(config, node, &["labels", key]),
            problem: "no kubelet may give its own node this label, and without cluster.kubeconfig nobody else can"
                .to_owned(),
        }),
    }
}

/// The value of the kubelet's `--node-labels`: those that it may give.
pub(super) fn flag(node: &Node) -> String {
    let own = node.settings.labels.iter().filter(|(key, _)| is_for_kubelet(key));
    own.map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
}

/// An entry of the kubelet's `registerWithTaints`.
#[derive(Debug, Serialize)]
pub(super) struct Taint<'a> {
    key: &'a str,
    value: &'a str,
    effect: String,
}

/// The node's taints; its kubelet may register with any, and change none later.
pub(super) fn taints(node: &Node) -> Vec<Taint<'_>> {
    let taints =
        node.settings.taints.iter().map(|((key, effect), value)| Taint { key, value, effect: effect.to_string() });
    taints.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kubelet_gives_its_own_labels() {
        for (key, wanted) in [
            ("own", true),
            ("own.example/zone", true),
            ("notkubernetes.io/x", true),
            ("kubernetes.io/hostname", true),
            ("kubernetes.io/other", false),
            ("topology.kubernetes.io/zone", true),
            ("topology.kubernetes.io/rack", false),
            ("node.kubernetes.io/own", true),
            ("own.node.kubernetes.io/x", true),
            ("kubelet.kubernetes.io/x", true),
            ("node-role.kubernetes.io/worker", false),
            ("node-restriction.kubernetes.io/x", false),
            ("own.k8s.io/x", false),
            ("k8s.io/x", false),
        ] {
            assert_eq!(is_for_kubelet(key), wanted, "{key}");
        }
    }
}
