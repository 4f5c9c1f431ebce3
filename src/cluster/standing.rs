//! How a node stands in the cluster: whether pods are kept off it and by whom, and what a new machine in its place is to
//! have of it.

use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, Taint};
use kube::api::{Api, DeleteParams, Patch, PatchParams, Preconditions};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Cluster, ClusterError, LEASES, Metadata, NodeStatus, lease_renewed};
use crate::config::NodeName;

/// Annotation of a node that nodebake keeps pods off: whoever finds it may let them on again.
const CORDONED: &str = "nodebake.dev/cordoned";

/// How often a change is tried anew when somebody else changes the same node meanwhile.
const TRIES: usize = 10;

/// Whether pods are kept off a node (`spec.unschedulable`), and by whom.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Cordon {
    /// They are not.
    #[default]
    Open,
    /// By nodebake, which did not get to let them on again.
    Ours,
    /// By somebody else.
    Others,
}

impl Cordon {
    pub(super) fn of(node: &Node) -> Self {
        let annotations = node.metadata.annotations.as_ref();
        match node.spec.as_ref().and_then(|spec| spec.unschedulable) {
            Some(true) if annotations.is_some_and(|annotations| annotations.contains_key(CORDONED)) => Self::Ours,
            Some(true) => Self::Others,
            _ => Self::Open,
        }
    }
}

/// A taint, without when it was added.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct KeptTaint {
    /// Its key.
    pub key: String,
    /// `NoSchedule`, `PreferNoSchedule` or `NoExecute`.
    pub effect: String,
    /// Its value; none where it has none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub value: String,
}

/// Labels, taints and annotations of a node that neither its kubelet nor a controller gave it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Taints.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub taints: Vec<KeptTaint>,
    /// Annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// Labels within Kubernetes' own domains that people give, on machines without a cloud
/// (<https://kubernetes.io/docs/reference/labels-annotations-taints/>).
const BY_HAND: [&str; 5] = [
    "node-role.kubernetes.io/",
    "node-restriction.kubernetes.io/",
    "topology.kubernetes.io/",
    "node.kubernetes.io/exclude-from-external-load-balancers",
    "node.kubernetes.io/out-of-service",
];

/// Domains whose keys the kubelet, Kubernetes' controllers and network plugins give by themselves. `kubectl` and the
/// others that write notes of their own are no users either.
const BY_PROGRAMS: [&str; 6] =
    ["kubernetes.io", "k8s.io", "cilium.io", "projectcalico.org", "flannel.com", "nodebake.dev"];

/// Whether a key is a person's: of no domain, or of one that no program here writes to.
fn is_by_hand(key: &str) -> bool {
    let Some((domain, _)) = key.split_once('/') else { return true };
    let within = |known: &str| domain.strip_suffix(known).is_some_and(|sub| sub.is_empty() || sub.ends_with('.'));
    BY_HAND.into_iter().any(|known| key.starts_with(known)) || !BY_PROGRAMS.into_iter().any(within)
}

impl Kept {
    pub(super) fn of(node: &Node) -> Self {
        let own = |map: Option<&BTreeMap<String, String>>| -> BTreeMap<String, String> {
            let entries = map.into_iter().flatten().filter(|(key, _)| is_by_hand(key));
            entries.map(|(key, value)| (key.clone(), value.clone())).collect()
        };
        let taints = node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
        let taints = taints.filter(|taint| is_by_hand(&taint.key)).map(|taint| KeptTaint {
            key: taint.key.clone(),
            effect: taint.effect.clone(),
            value: taint.value.clone().unwrap_or_default(),
        });
        Self {
            labels: own(node.metadata.labels.as_ref()),
            taints: taints.collect(),
            annotations: own(node.metadata.annotations.as_ref()),
        }
    }

    /// Without what the cluster file gives the node anyway.
    #[must_use]
    pub fn beside(&self, given: &Metadata) -> Self {
        let given_taint = |taint: &KeptTaint| {
            given.taints.iter().any(|((key, effect), _)| *key == taint.key && effect.to_string() == taint.effect)
        };
        let mut kept = self.clone();
        kept.labels.retain(|key, _| !given.labels.contains_key(key));
        kept.taints.retain(|taint| !given_taint(taint));
        kept
    }
}

impl Kept {
    /// This, and what of another is not in it.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        for (key, value) in other.labels {
            self.labels.entry(key).or_insert(value);
        }
        for (key, value) in other.annotations {
            self.annotations.entry(key).or_insert(value);
        }
        for taint in other.taints {
            if !self.taints.iter().any(|own| own.key == taint.key && own.effect == taint.effect) {
                self.taints.push(taint);
            }
        }
        self
    }
}

impl fmt::Display for KeptTaint {
    /// As `kubectl` writes it: `key=value:Effect`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let equals = if self.value.is_empty() { "" } else { "=" };
        write!(f, "{}{equals}{}:{}", self.key, self.value, self.effect)
    }
}

impl Kept {
    /// Each with its kind: `label disk=ssd`. Values of annotations, which may be long, are left out.
    pub fn names(&self) -> Vec<String> {
        let labels = self.labels.iter().map(|(key, value)| format!("label {key}={value}"));
        let taints = self.taints.iter().map(|taint| format!("taint {taint}"));
        let annotations = self.annotations.keys().map(|key| format!("annotation {key}"));
        labels.chain(taints).chain(annotations).map(|text| crate::printable::line(&text)).collect()
    }
}

/// What a node was when its machine began to be replaced. It is kept with the new machine's definition until that is what
/// the old one was.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// UID of its Node object, which goes before another machine of that name starts.
    pub uid: String,
    /// Whether it was Ready; the new one is waited for until it is as well.
    pub ready: bool,
    /// Whether somebody kept pods off it, who will want that to stay so.
    pub cordoned: bool,
    /// Whether the new machine gets `kept`; the old one does in any case where it is put back.
    pub keep: bool,
    /// What was given by hand.
    #[serde(default)]
    pub kept: Kept,
}

impl Standing {
    /// With what an earlier run saw of the same node, which a Node object that is new by now may lack.
    #[must_use]
    pub fn and(mut self, before: Self) -> Self {
        self.ready |= before.ready;
        self.cordoned |= before.cordoned;
        self.keep |= before.keep;
        for (key, value) in before.kept.labels {
            self.kept.labels.entry(key).or_insert(value);
        }
        for (key, value) in before.kept.annotations {
            self.kept.annotations.entry(key).or_insert(value);
        }
        let same = |taint: &KeptTaint, other: &KeptTaint| taint.key == other.key && taint.effect == other.effect;
        for taint in before.kept.taints {
            if !self.kept.taints.iter().any(|there| same(there, &taint)) {
                self.kept.taints.push(taint);
            }
        }
        self
    }

    /// As it stands in a machine's record; one that cannot be read tells nothing.
    pub fn from_record(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// Its form for a machine's record: JSON in ASCII, since XML has no place for some other characters.
    pub fn to_record(&self) -> String {
        let text = serde_json::to_string(self).unwrap_or_default();
        text.chars().fold(String::new(), |mut ascii, c| {
            if c.is_ascii() {
                ascii.push(c);
            } else {
                let units = c.encode_utf16(&mut [0; 2]).to_vec();
                ascii.extend(units.into_iter().map(|unit| format!("\\u{unit:04x}")));
            }
            ascii
        })
    }

    /// A merge patch that gives the node what it had; none where it lacks nothing.
    fn patch(&self, node: &Node) -> Option<Value> {
        let kept = if self.keep { self.kept.clone() } else { Kept::default() };
        let lacking = |wanted: &BTreeMap<String, String>, there: Option<&BTreeMap<String, String>>| {
            let lacks = |(key, _): &(&String, &String)| there.is_none_or(|there| !there.contains_key(*key));
            json!(wanted.iter().filter(lacks).collect::<BTreeMap<_, _>>())
        };
        let labels = lacking(&kept.labels, node.metadata.labels.as_ref());
        let mut annotations = lacking(&kept.annotations, node.metadata.annotations.as_ref());
        let mut spec = json!({});
        let before = node.spec.as_ref().and_then(|spec| spec.taints.clone()).unwrap_or_default();
        let same = |taint: &Taint, kept: &KeptTaint| taint.key == kept.key && taint.effect == kept.effect;
        let missing = kept.taints.iter().filter(|kept| !before.iter().any(|taint| same(taint, kept)));
        let missing: Vec<_> = missing.map(taint).collect();
        if !missing.is_empty() {
            spec["taints"] = json!([before, missing].concat());
        }
        match Cordon::of(node) {
            Cordon::Open if self.cordoned => spec["unschedulable"] = json!(true),
            Cordon::Ours => {
                annotations[CORDONED] = Value::Null;
                if !self.cordoned {
                    spec["unschedulable"] = Value::Null;
                }
            }
            Cordon::Open | Cordon::Others => {}
        }
        let is_empty = |value: &Value| value.as_object().is_some_and(serde_json::Map::is_empty);
        if [&labels, &annotations, &spec].into_iter().all(is_empty) {
            return None;
        }
        let version = &node.metadata.resource_version;
        let metadata = json!({"resourceVersion": version, "labels": labels, "annotations": annotations});
        Some(json!({"metadata": metadata, "spec": spec}))
    }
}

fn taint(kept: &KeptTaint) -> Taint {
    let value = Some(kept.value.clone()).filter(|value| !value.is_empty());
    Taint { key: kept.key.clone(), effect: kept.effect.clone(), value, time_added: None }
}

impl Cluster {
    /// How a node stands, and what its kubelet was heard of last; none where the cluster does not know it.
    pub fn standing(&self, node: &NodeName) -> Result<Option<(Standing, NodeStatus)>, ClusterError> {
        let name = node.to_string();
        let nodes: Api<Node> = Api::all(self.client.clone());
        let Some(found) = self.persist("a node", || nodes.get_opt(&name))? else { return Ok(None) };
        let leases: Api<Lease> = Api::namespaced(self.client.clone(), LEASES);
        let lease = self.persist("a node's lease", || leases.get_opt(&name))?;
        let status = NodeStatus { lease_renewed: lease.as_ref().and_then(lease_renewed), ..NodeStatus::of(&found) };
        let standing = Standing {
            uid: found.metadata.uid.unwrap_or_default(),
            ready: status.ready,
            cordoned: status.cordon == Cordon::Others,
            keep: false,
            kept: status.by_hand.clone(),
        };
        Ok(Some((standing, status)))
    }

    /// Keeps new pods off a node, with a note that it was us; where somebody else does already, nothing is changed.
    pub fn cordon(&self, node: &NodeName) -> Result<(), ClusterError> {
        self.change(node, "keeping pods off a node", |there| {
            let version = &there.metadata.resource_version;
            let metadata = json!({"resourceVersion": version, "annotations": {CORDONED: "true"}});
            let patch = json!({"metadata": metadata, "spec": {"unschedulable": true}});
            (Cordon::of(there) == Cordon::Open).then_some(patch)
        })
        .map(drop)
    }

    /// Lets pods on a node again, if it was us who kept them off; says whether it was.
    pub fn uncordon(&self, node: &NodeName) -> Result<bool, ClusterError> {
        self.change(node, "letting pods on a node", |there| {
            let version = &there.metadata.resource_version;
            let metadata = json!({"resourceVersion": version, "annotations": {CORDONED: null}});
            let patch = json!({"metadata": metadata, "spec": {"unschedulable": null}});
            (Cordon::of(there) == Cordon::Ours).then_some(patch)
        })
    }

    /// Gives a node what it had before its machine was replaced; says whether it lacked any of it.
    pub fn rejoin(&self, node: &NodeName, standing: &Standing) -> Result<bool, ClusterError> {
        self.change(node, "a node's state of before", |there| standing.patch(there))
    }

    /// Removes a Node object: that with this UID, or whichever has the name. One that is not there is as good as removed.
    pub fn delete_node(&self, node: &NodeName, uid: Option<&str>) -> Result<(), ClusterError> {
        let (name, nodes): (_, Api<Node>) = (node.to_string(), Api::all(self.client.clone()));
        let preconditions = uid.map(|uid| Preconditions { uid: Some(uid.to_owned()), resource_version: None });
        let params = DeleteParams { preconditions, ..DeleteParams::default() };
        let mut tries = 1;
        loop {
            match self.persist("removing a node", || async { nodes.delete(&name, &params).await.map(drop) }) {
                Err(error) if error.is_missing() => return Ok(()),
                // Of that name there is another one by now, which is somebody's; or somebody changed this one meanwhile.
                Err(error) if error.is_conflict() && tries < TRIES => {
                    let there = self.persist("a node", || nodes.get_opt(&name))?;
                    if there.is_none_or(|there| uid.is_some() && there.metadata.uid.as_deref() != uid) {
                        return Ok(());
                    }
                    tries += 1;
                }
                result => return result,
            }
        }
    }

    /// Patches a node by what it is, again while others change it too; says whether there was anything to patch. A node
    /// that is not there needs none.
    fn change(
        &self,
        node: &NodeName,
        what: &'static str,
        patch: impl Fn(&Node) -> Option<Value>,
    ) -> Result<bool, ClusterError> {
        let name = node.to_string();
        let nodes: Api<Node> = Api::all(self.client.clone());
        let params = PatchParams { field_manager: Some("nodebake".to_owned()), ..PatchParams::default() };
        let mut tries = 1;
        loop {
            let Some(there) = self.persist(what, || nodes.get_opt(&name))? else { return Ok(false) };
            let Some(patch) = patch(&there).map(Patch::Merge) else { return Ok(tries > 1) };
            match self.persist(what, || nodes.patch(&name, &params, &patch)) {
                Ok(_) => return Ok(true),
                Err(error) if error.is_missing() => return Ok(false),
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

    fn node(value: Value) -> Node {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn what_people_gave_is_told_from_what_programs_did() {
        for (key, wanted) in [
            ("disk", true),
            ("example.com/rack", true),
            ("node-role.kubernetes.io/worker", true),
            ("topology.kubernetes.io/zone", true),
            ("kubernetes.io/hostname", false),
            ("beta.kubernetes.io/os", false),
            ("csi.volume.kubernetes.io/nodeid", false),
            ("node.kubernetes.io/not-ready", false),
            ("kubectl.kubernetes.io/last-applied-configuration", false),
            ("network.cilium.io/ipv4-pod-cidr", false),
            ("nodebake.dev/cordoned", false),
            ("notkubernetes.io/a", true),
        ] {
            assert_eq!(is_by_hand(key), wanted, "{key}");
        }
    }

    #[test]
    fn what_the_cluster_file_gives_is_not_lost() {
        let there = node(json!({
            "metadata": {
                "labels": {"kubernetes.io/os": "linux", "disk": "ssd", "own": "1"},
                "annotations": {"note": "long", "volumes.kubernetes.io/controller-managed-attach-detach": "true"},
            },
            "spec": {"taints": [
                {"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"},
                {"key": "gpu", "effect": "NoSchedule", "value": "yes"},
                {"key": "own", "effect": "NoExecute"},
            ]},
        }));
        let given = Metadata {
            labels: [("own".to_owned(), "2".to_owned())].into(),
            taints: [(("own".to_owned(), crate::config::TaintEffect::NoExecute), String::new())].into(),
        };
        let names = ["label disk=ssd", "taint gpu=yes:NoSchedule", "annotation note"];
        assert_eq!(Kept::of(&there).beside(&given).names(), names);
    }

    #[test]
    fn a_node_gets_back_what_it_had() {
        let kept = Kept {
            labels: [("disk".to_owned(), "ssd".to_owned())].into(),
            taints: vec![KeptTaint { key: "gpu".to_owned(), effect: "NoSchedule".to_owned(), value: String::new() }],
            annotations: [("note".to_owned(), "n".to_owned())].into(),
        };
        let standing = |cordoned, keep| Standing { cordoned, keep, kept: kept.clone(), ..Standing::default() };
        let fresh = json!({"metadata": {"resourceVersion": "7"}});
        let ours = json!({
            "metadata": {"resourceVersion": "7", "annotations": {CORDONED: "true"}},
            "spec": {"unschedulable": true},
        });
        let theirs = json!({"metadata": {"resourceVersion": "7"}, "spec": {"unschedulable": true}});
        let all = json!({
            "metadata": {"resourceVersion": "7", "labels": {"disk": "hdd"}, "annotations": {"note": "n"}},
            "spec": {"taints": [{"key": "gpu", "effect": "NoSchedule"}]},
        });
        let patch = |labels: Value, annotations: Value, spec: Value| {
            let metadata = json!({"resourceVersion": "7", "labels": labels, "annotations": annotations});
            Some(json!({"metadata": metadata, "spec": spec}))
        };
        let taints = json!([{"key": "gpu", "effect": "NoSchedule"}]);
        for (there, standing, wanted) in [
            (&fresh, standing(false, false), None),
            (&fresh, standing(true, false), patch(json!({}), json!({}), json!({"unschedulable": true}))),
            (
                &fresh,
                standing(false, true),
                patch(json!({"disk": "ssd"}), json!({"note": "n"}), json!({"taints": taints})),
            ),
            (&ours, standing(false, false), patch(json!({}), json!({CORDONED: null}), json!({"unschedulable": null}))),
            (&ours, standing(true, false), patch(json!({}), json!({CORDONED: null}), json!({}))),
            (&theirs, standing(false, false), None),
            (&theirs, standing(true, false), None),
            // Whoever gave the new one another value meant it.
            (&all, standing(false, true), None),
        ] {
            assert_eq!(standing.patch(&node(there.clone())), wanted, "{there} {standing:?}");
        }
    }

    #[test]
    fn what_an_earlier_run_saw_is_not_lost() {
        let taint = |key: &str, value: &str| KeptTaint {
            key: key.to_owned(),
            effect: "NoSchedule".to_owned(),
            value: value.to_owned(),
        };
        let label = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let standing = |uid: &str, labels: &[(String, String)], taints: &[KeptTaint]| Standing {
            uid: uid.to_owned(),
            kept: Kept { labels: labels.iter().cloned().collect(), taints: taints.to_vec(), ..Kept::default() },
            ..Standing::default()
        };
        let now = standing("now", &[label("a", "2")], &[taint("t", "2")]);
        let before = standing("then", &[label("a", "1"), label("b", "1")], &[taint("t", "1"), taint("u", "1")]);
        let before = Standing { ready: true, cordoned: true, ..before };
        let both = standing("now", &[label("a", "2"), label("b", "1")], &[taint("t", "2"), taint("u", "1")]);
        assert_eq!(now.and(before), Standing { ready: true, cordoned: true, ..both });
    }

    #[test]
    fn standings_read_back_from_records() {
        let full = Standing {
            uid: "u".to_owned(),
            ready: true,
            cordoned: true,
            keep: true,
            kept: Kept {
                labels: [("a".to_owned(), "<b>&\"'\u{fffe}\u{1f600}".to_owned())].into(),
                taints: vec![KeptTaint { key: "k".to_owned(), effect: "NoExecute".to_owned(), value: "v".to_owned() }],
                annotations: [("c".to_owned(), "d\n".to_owned())].into(),
            },
        };
        for standing in [Standing::default(), full] {
            assert_eq!(Standing::from_record(&standing.to_record()), Some(standing));
        }
        for text in ["", "{", "{\"uid\": 1}", "[]"] {
            assert_eq!(Standing::from_record(text), None, "{text}");
        }
    }
}
