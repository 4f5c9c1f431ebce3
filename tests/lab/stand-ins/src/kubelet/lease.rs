//! The node's lease: the sign of life that is renewed every quarter of its duration.

use serde_json::{Value, json};

use super::api::{ApiError, Client};

/// The lease of one node.
#[derive(Debug)]
pub struct Lease {
    node: String,
    seconds: i32,
    /// The lease as it was last seen: an update needs its resource version.
    latest: Option<Value>,
}

const COLLECTION: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";

impl Lease {
    /// The lease of that node, for so many seconds.
    #[must_use]
    pub fn new(node: &str, seconds: i32) -> Self {
        Self { node: node.to_owned(), seconds, latest: None }
    }

    /// How often it is renewed.
    #[must_use]
    pub fn interval(&self) -> std::time::Duration {
        std::time::Duration::from_secs(u64::try_from(self.seconds).unwrap_or(40)) / 4
    }

    /// Renews it, or makes it. One attempt; after a failure the next one looks first.
    ///
    /// # Errors
    /// The apiserver cannot be reached or refuses.
    pub async fn renew(&mut self, client: &Client) -> Result<(), ApiError> {
        let path = format!("{COLLECTION}/{}", self.node);
        let known = match self.latest.take() {
            Some(lease) => Some(lease),
            None => match client.get(&path).await {
                Ok(lease) => Some(lease),
                Err(error) if error.code() == Some(404) => None,
                Err(error) => return Err(error),
            },
        };
        let owner = self.missing_owner(client, known.as_ref()).await;
        let is_new = known.is_none();
        let mut lease = known.unwrap_or_else(|| {
            json!({
                "kind": "Lease", "apiVersion": "coordination.k8s.io/v1",
                "metadata": {"name": self.node, "namespace": "kube-node-lease"},
            })
        });
        lease["spec"] = self.spec();
        if let Some(owner) = owner {
            lease["metadata"]["ownerReferences"] = owner;
        }
        let written = if is_new { client.create(COLLECTION, &lease).await } else { client.update(&path, &lease).await };
        self.latest = Some(written?);
        Ok(())
    }

    /// A lease goes with its node: the reference is set as soon as the node is there.
    async fn missing_owner(&self, client: &Client, known: Option<&Value>) -> Option<Value> {
        if known.is_some_and(|lease| lease.pointer("/metadata/ownerReferences/0").is_some()) {
            return None;
        }
        let node = client.get(&format!("/api/v1/nodes/{}", self.node)).await.ok()?;
        Some(json!([{"apiVersion": "v1", "kind": "Node", "name": self.node, "uid": node["metadata"]["uid"]}]))
    }

    fn spec(&self) -> Value {
        json!({
            "holderIdentity": self.node, "leaseDurationSeconds": self.seconds,
            "renewTime": format!("{:.6}", jiff::Timestamp::now()),
        })
    }
}
