//! The Node object: made or found, and its status kept up to date.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::api::{ApiError, Client};
use super::config::Config;
use super::cri::{Runtime, StatusResponse, VersionResponse};
use super::flags::{Flags, Taint};
use super::host::{self, Host};
use super::version::version;
use crate::log;

/// What a node says of itself.
#[derive(Debug)]
pub struct Node {
    /// Its name.
    pub name: String,
    host: Host,
    config: Arc<Config>,
    internal_ips: Vec<std::net::IpAddr>,
    labels: Map<String, Value>,
    taints: Vec<Taint>,
}

/// What the runtime said of itself; none when it did not answer.
#[derive(Debug, Clone, Default)]
pub struct RuntimeState {
    version: Option<VersionResponse>,
    status: Option<StatusResponse>,
}

impl RuntimeState {
    /// Asks the runtime.
    pub async fn ask(runtime: &Runtime) -> Self {
        Self { version: runtime.version().await.ok(), status: runtime.status().await.ok() }
    }

    /// `containerd://2.1.4`.
    fn describe(&self) -> String {
        self.version.as_ref().map_or_else(String::new, |version| {
            format!("{}://{}", version.runtime_name, version.runtime_version.trim_start_matches('v'))
        })
    }

    /// Why the node is not ready, in the kubelet's words; empty when it is.
    fn problems(&self) -> String {
        let Some(status) = self.status.as_ref().and_then(|answer| answer.status.as_ref()) else {
            return "container runtime is down".to_owned();
        };
        let problem = |kind: &str, name: &str| match status.conditions.iter().find(|condition| condition.r#type == kind)
        {
            Some(condition) if condition.status => None,
            Some(condition) => Some(format!(
                "{name} not ready: {kind}=false reason:{} message:{}",
                condition.reason, condition.message
            )),
            None => Some(format!("{name} status check may not have completed yet")),
        };
        let found =
            [problem("RuntimeReady", "container runtime"), problem("NetworkReady", "container runtime network")];
        found.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }
}

impl Node {
    /// The node that flags, configuration and machine make.
    #[must_use]
    pub fn new(flags: &Flags, config: Arc<Config>, host: Host) -> Self {
        let name = flags.hostname_override.clone().unwrap_or_else(|| host.name.clone());
        let mut labels = Map::new();
        for (key, value) in [
            ("beta.kubernetes.io/arch", host.architecture),
            ("beta.kubernetes.io/os", "linux"),
            ("kubernetes.io/arch", host.architecture),
            ("kubernetes.io/hostname", name.as_str()),
            ("kubernetes.io/os", "linux"),
        ] {
            labels.insert(key.to_owned(), json!(value));
        }
        labels.extend(flags.node_labels.iter().map(|(key, value)| (key.clone(), json!(value))));
        let taints = if flags.register_with_taints.is_empty() { &config.taints } else { &flags.register_with_taints };
        let taints = taints.clone();
        Self { name, host, config, internal_ips: flags.node_ips.clone(), labels, taints }
    }

    /// `/api/v1/nodes/NAME`.
    fn path(&self) -> String {
        format!("/api/v1/nodes/{}", self.name)
    }

    /// Registers the node, or takes over the one that is there. One attempt.
    ///
    /// # Errors
    /// The apiserver cannot be reached or refuses.
    pub async fn register(&self, client: &Client, runtime: &RuntimeState) -> Result<(), ApiError> {
        log::say(format!("attempting to register node {}", self.name));
        match client.create("/api/v1/nodes", &self.object(runtime)).await {
            Ok(_) => {
                log::say(format!("successfully registered node {}", self.name));
                Ok(())
            }
            Err(error) if error.code() == Some(409) => {
                let existing = client.get(&self.path()).await?;
                log::say(format!("node {} was previously registered", self.name));
                self.reconcile_labels(client, &existing).await
            }
            Err(error) => Err(error),
        }
    }

    /// Labels of ours that a node from before does not have.
    async fn reconcile_labels(&self, client: &Client, existing: &Value) -> Result<(), ApiError> {
        let differing: Map<String, Value> = self
            .labels
            .iter()
            .filter(|(key, value)| {
                existing.pointer("/metadata/labels").and_then(|labels| labels.get(*key)) != Some(*value)
            })
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        if differing.is_empty() {
            return Ok(());
        }
        client.patch(&self.path(), &json!({"metadata": {"labels": differing}})).await.map(|_| ())
    }

    fn object(&self, runtime: &RuntimeState) -> Value {
        let mut spec = Map::new();
        if !self.taints.is_empty() {
            let taints = self.taints.iter().map(|taint| {
                let mut object = json!({"key": taint.key, "effect": taint.effect});
                if !taint.value.is_empty() {
                    object["value"] = json!(taint.value);
                }
                object
            });
            spec.insert("taints".to_owned(), taints.collect());
        }
        if let Some(provider) = &self.config.provider_id {
            spec.insert("providerID".to_owned(), json!(provider));
        }
        json!({
            "kind": "Node", "apiVersion": "v1",
            "metadata": {
                "name": self.name, "labels": self.labels,
                "annotations": {"volumes.kubernetes.io/controller-managed-attach-detach": "true"},
            },
            "spec": spec,
            "status": self.status(runtime, &Value::Null),
        })
    }

    /// Writes the node's status. One attempt.
    ///
    /// # Errors
    /// The apiserver cannot be reached or refuses.
    pub async fn update_status(&self, client: &Client, runtime: &RuntimeState) -> Result<(), ApiError> {
        let existing = client.get(&self.path()).await?;
        let status = self.status(runtime, &existing["status"]["conditions"]);
        let patch = json!({"status": replacing_addresses(status)});
        client.patch(&format!("{}/status", self.path()), &patch).await.map(|_| ())
    }

    fn status(&self, runtime: &RuntimeState, conditions: &Value) -> Value {
        let capacity = json!({
            "cpu": self.host.cpus.to_string(),
            "memory": format!("{}Ki", self.host.memory_kib),
            "pods": self.config.max_pods.to_string(),
        });
        json!({
            "capacity": capacity,
            "allocatable": capacity,
            "addresses": self.addresses(),
            "conditions": conditions_of(runtime, conditions),
            "daemonEndpoints": {"kubeletEndpoint": {"Port": self.config.port}},
            "nodeInfo": {
                "machineID": self.host.machine_id, "systemUUID": self.host.system_uuid, "bootID": self.host.boot_id,
                "kernelVersion": self.host.kernel, "osImage": self.host.os_image,
                "containerRuntimeVersion": runtime.describe(), "kubeletVersion": version(),
                "kubeProxyVersion": "", "operatingSystem": "linux", "architecture": self.host.architecture,
            },
        })
    }

    /// The addresses given by flag that are this machine's, and the name.
    fn addresses(&self) -> Value {
        let mut addresses = Vec::new();
        for address in &self.internal_ips {
            if host::has_address(*address) {
                addresses.push(json!({"type": "InternalIP", "address": address}));
            } else {
                log::say(format!(
                    "failed to validate nodeIP: node IP \"{address}\" not found in the host's network interfaces"
                ));
            }
        }
        addresses.push(json!({"type": "Hostname", "address": self.name}));
        Value::Array(addresses)
    }
}

/// The API merges addresses by their type, of which a node of two families has one twice: so the kubelet has the list
/// replaced (`fixupPatchForNodeStatusAddresses`).
fn replacing_addresses(mut status: Value) -> Value {
    if let Some(addresses) = status["addresses"].as_array_mut() {
        addresses.push(json!({"$patch": "replace"}));
    }
    status
}

/// The conditions, each with the time since which it holds: `before` is what the node had.
fn conditions_of(runtime: &RuntimeState, before: &Value) -> Value {
    let now = format!("{:.0}", jiff::Timestamp::now());
    let problems = runtime.problems();
    let ready = if problems.is_empty() {
        ("Ready", "True", "KubeletReady", "kubelet is posting ready status".to_owned())
    } else {
        ("Ready", "False", "KubeletNotReady", problems)
    };
    let well = |kind, reason, message: &str| (kind, "False", reason, message.to_owned());
    let conditions = [
        well("MemoryPressure", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
        well("DiskPressure", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
        well("PIDPressure", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
        ready,
    ];
    conditions
        .into_iter()
        .map(|(kind, status, reason, message)| {
            let old = before.as_array().and_then(|list| list.iter().find(|old| old["type"] == kind));
            let since = old.filter(|old| old["status"] == status).map(|old| old["lastTransitionTime"].clone());
            json!({
                "type": kind, "status": status, "reason": reason, "message": message,
                "lastHeartbeatTime": now, "lastTransitionTime": since.unwrap_or_else(|| json!(now)),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubelet::cri::{RuntimeCondition, RuntimeStatus};

    fn state(network: bool) -> RuntimeState {
        let condition = |kind: &str, status: bool, reason: &str, message: &str| RuntimeCondition {
            r#type: kind.to_owned(),
            status,
            reason: reason.to_owned(),
            message: message.to_owned(),
        };
        let conditions = vec![
            condition("RuntimeReady", true, "", ""),
            condition(
                "NetworkReady",
                network,
                "NetworkPluginNotReady",
                "Network plugin returns error: cni plugin not initialized",
            ),
        ];
        let version = VersionResponse {
            runtime_name: "containerd".to_owned(),
            runtime_version: "v2.1.4".to_owned(),
            ..VersionResponse::default()
        };
        let status = StatusResponse { status: Some(RuntimeStatus { conditions }), ..StatusResponse::default() };
        RuntimeState { version: Some(version), status: Some(status) }
    }

    #[test]
    fn a_node_without_a_cni_says_why_it_is_not_ready() {
        assert_eq!(
            state(false).problems(),
            "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady \
             message:Network plugin returns error: cni plugin not initialized"
        );
        assert_eq!(state(true).problems(), "");
        assert_eq!(RuntimeState::default().problems(), "container runtime is down");
        assert_eq!(state(true).describe(), "containerd://2.1.4");
    }
}
