//! What happens in the cluster meanwhile, by its administrator's hand or by itself.

use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams};
use nodebake_lab_stand_ins::apiserver::server::Order;
use serde_json::{Value, json};

use crate::apiserver::{Apiserver, NODE};

impl Apiserver {
    pub(crate) fn delete(&self, object: &Value) {
        let name = object["metadata"]["name"].as_str().unwrap();
        self.runtime.block_on(self.api(object).delete(name, &DeleteParams::default())).unwrap();
    }

    pub(crate) fn change_node(&self, patch: &Value) {
        let nodes: Api<Node> = Api::all(self.client.clone());
        let (params, patch) = (PatchParams::default(), Patch::Merge(patch));
        self.runtime.block_on(nodes.patch(NODE, &params, &patch)).unwrap();
    }

    /// The first node's network is there.
    pub(crate) fn become_ready(&self) {
        let nodes: Api<Node> = Api::all(self.client.clone());
        let patch =
            Patch::Merge(json!({"status": {"conditions": [{"type": "Ready", "status": "True", "reason": "r"}]}}));
        self.runtime.block_on(nodes.patch_status(NODE, &PatchParams::default(), &patch)).unwrap();
    }

    /// The first node is at this address.
    pub(crate) fn be_at(&self, address: &str) {
        let nodes: Api<Node> = Api::all(self.client.clone());
        let addresses = json!({"status": {"addresses": [{"type": "InternalIP", "address": address}]}});
        self.runtime.block_on(nodes.patch_status(NODE, &PatchParams::default(), &Patch::Merge(addresses))).unwrap();
    }

    /// A pod is at its end.
    pub(crate) fn end_pod(&self, name: &str) {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), "default");
        let patch = Patch::Merge(json!({"status": {"phase": "Succeeded"}}));
        self.runtime.block_on(pods.patch_status(name, &PatchParams::default(), &patch)).unwrap();
    }

    /// Nothing was heard of a node's kubelet for an hour.
    pub(crate) fn silence(&self, name: &str) {
        self.renew(name, jiff::Timestamp::now() - jiff::SignedDuration::from_hours(1));
    }

    pub(crate) fn clear_faults(&self) {
        self.obey(Order::ClearFaults).unwrap();
    }

    /// Names of the pods on the first node.
    pub(crate) fn pods(&self) -> Vec<String> {
        let pods: Api<Pod> = Api::all(self.client.clone());
        let on_node = ListParams::default().fields(&format!("spec.nodeName={NODE}"));
        let found = self.runtime.block_on(pods.list(&on_node)).unwrap();
        found.items.into_iter().map(|pod| pod.metadata.name.unwrap()).collect()
    }
}
