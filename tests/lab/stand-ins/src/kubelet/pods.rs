//! The pods that the API puts on this node. Each runs on the node's network, with containers of images that the runtime has
//! (nothing is pulled, commands, volumes and probes are not looked at), and is told ready once they run. One that is deleted
//! is stopped at once, and then deleted for good.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};

use super::api::{ApiError, Client};
use super::config::Config;
use super::cri::Runtime;
use super::pod::PodError;
use super::sandbox::{LABEL, Sandbox};
use super::server::State;
use crate::log;

/// How often the API is asked.
const INTERVAL: Duration = Duration::from_secs(1);
/// For whom the sandboxes are.
const KIND: &str = "api";
/// What marks a pod that the API only shows.
const MIRROR: &str = "kubernetes.io/config.mirror";

/// Why a pod is not as it should be.
#[derive(Debug, thiserror::Error)]
enum KeepError {
    /// The runtime.
    #[error("the runtime fails")]
    Runtime(#[source] PodError),
    /// The apiserver.
    #[error("the apiserver fails")]
    Api(#[source] ApiError),
}

/// What is needed for all pods of a node.
#[derive(Debug)]
pub struct Pods {
    /// The runtime.
    pub runtime: Arc<Runtime>,
    /// The configuration.
    pub config: Arc<Config>,
    /// The apiserver.
    pub client: Arc<Client>,
    /// What the kubelet's own port shows.
    pub state: Arc<State>,
    /// Name of the node.
    pub node: String,
}

impl Pods {
    /// Keeps them for good.
    pub async fn keep(self) {
        // Sandboxes by the UID of their pod. Those of an earlier start are gone with it: their pods begin anew.
        let mut running: BTreeMap<String, String> = BTreeMap::new();
        let mut cleared = false;
        loop {
            cleared = cleared || self.clear().await;
            match self.list().await {
                Ok(pods) if cleared => {
                    self.end_the_rest(&pods, &mut running).await;
                    for pod in &pods {
                        if let Err(error) = self.step(pod, &mut running).await {
                            let name = &pod["metadata"]["name"];
                            log::say(format!("pod {name}: {}", log::chain(&error)));
                        }
                    }
                }
                Ok(_) => {}
                // A node that is not registered yet has no pods either.
                Err(error) => log::say(format!("the pods of this node cannot be listed: {error}")),
            }
            tokio::time::sleep(INTERVAL).await;
        }
    }

    async fn clear(&self) -> bool {
        let Ok(old) = self.runtime.sandboxes((LABEL, KIND)).await else { return false };
        for sandbox in old {
            if self.runtime.remove_sandbox(&sandbox.id).await.is_err() {
                return false;
            }
        }
        true
    }

    async fn list(&self) -> Result<Vec<Value>, ApiError> {
        let path = format!("/api/v1/pods?fieldSelector=spec.nodeName%3D{}", self.node);
        let list = self.client.get(&path).await?;
        Ok(list["items"].as_array().cloned().unwrap_or_default())
    }

    /// Stops what runs for pods that the API does not know any more.
    async fn end_the_rest(&self, pods: &[Value], running: &mut BTreeMap<String, String>) {
        let known: Vec<&str> = pods.iter().filter_map(|pod| pod["metadata"]["uid"].as_str()).collect();
        let gone: Vec<String> = running.keys().filter(|uid| !known.contains(&uid.as_str())).cloned().collect();
        for uid in gone {
            if let Err(error) = self.stop(&uid, running).await {
                log::say(format!("the sandbox of pod {uid} stays: {}", log::chain(&error)));
            }
        }
    }

    async fn step(&self, pod: &Value, running: &mut BTreeMap<String, String>) -> Result<(), KeepError> {
        let uid = pod["metadata"]["uid"].as_str().unwrap_or_default();
        if pod["metadata"]["annotations"][MIRROR].is_string() {
            return Ok(());
        }
        if pod["metadata"]["deletionTimestamp"].is_string() {
            self.stop(uid, running).await?;
            return self.delete(pod).await;
        }
        if running.contains_key(uid) || matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed")) {
            return Ok(());
        }
        self.start(pod, uid, running).await
    }

    async fn stop(&self, uid: &str, running: &mut BTreeMap<String, String>) -> Result<(), KeepError> {
        if let Some(sandbox) = running.get(uid) {
            self.runtime.remove_sandbox(sandbox).await.map_err(PodError::Cri).map_err(KeepError::Runtime)?;
            running.remove(uid);
            let mut shown = self.state.pods.lock().unwrap_or_else(PoisonError::into_inner);
            shown.retain(|pod| pod["metadata"]["uid"] != uid);
        }
        Ok(())
    }

    async fn delete(&self, pod: &Value) -> Result<(), KeepError> {
        if pod["metadata"]["deletionGracePeriodSeconds"] == 0 {
            // What holds it now is a finalizer.
            return Ok(());
        }
        let options = json!({
            "kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0,
            "preconditions": {"uid": pod["metadata"]["uid"]},
        });
        match self.client.delete(&path_of(pod), &options).await {
            Err(error) if error.code() != Some(404) => Err(KeepError::Api(error)),
            _ => Ok(()),
        }
    }

    async fn start(&self, pod: &Value, uid: &str, running: &mut BTreeMap<String, String>) -> Result<(), KeepError> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let containers = pod["spec"]["containers"].as_array().map_or(&[][..], Vec::as_slice);
        for container in containers {
            let image = text(&container["image"]);
            let found = self.runtime.image(&image).await.map_err(PodError::Cri).map_err(KeepError::Runtime)?;
            if found.is_none() {
                return self.report(pod, &waiting(pod, &image)).await;
            }
        }
        let (namespace, name) = (text(&pod["metadata"]["namespace"]), text(&pod["metadata"]["name"]));
        let sandbox = Sandbox {
            runtime: &self.runtime,
            config: &self.config,
            namespace: &namespace,
            name: &name,
            uid,
            kind: KIND,
        };
        let id = sandbox.run().await.map_err(KeepError::Runtime)?;
        // Known from here on, so that a pod whose container fails is stopped with its sandbox and begun anew.
        running.insert(uid.to_owned(), id.clone());
        let mut statuses = Vec::new();
        for container in containers {
            let (name, image) = (text(&container["name"]), text(&container["image"]));
            match sandbox.start(&id, &name, &image).await {
                Ok(id) => statuses.push(json!({
                    "name": name, "image": image, "imageID": "", "ready": true, "started": true, "restartCount": 0,
                    "containerID": format!("containerd://{id}"), "state": {"running": {"startedAt": now()}},
                })),
                Err(error) => {
                    self.stop(uid, running).await?;
                    return Err(KeepError::Runtime(error));
                }
            }
        }
        let status = running_status(&statuses);
        let mut shown = pod.clone();
        shown["status"] = status.clone();
        self.state.pods.lock().unwrap_or_else(PoisonError::into_inner).push(shown);
        if let Err(error) = self.report(pod, &status).await {
            self.stop(uid, running).await?;
            return Err(error);
        }
        log::say(format!("pod {namespace}/{name} runs"));
        Ok(())
    }

    async fn report(&self, pod: &Value, status: &Value) -> Result<(), KeepError> {
        let same = status.as_object().is_some_and(|map| map.iter().all(|(key, value)| pod["status"][key] == *value));
        if same {
            return Ok(());
        }
        // With its UID: a pod that came in its place meanwhile is another one.
        let change = json!({"metadata": {"uid": pod["metadata"]["uid"]}, "status": status});
        self.client.patch(&format!("{}/status", path_of(pod)), &change).await.map(|_| ()).map_err(KeepError::Api)
    }
}

fn path_of(pod: &Value) -> String {
    let text = |field: &str| pod["metadata"][field].as_str().unwrap_or_default();
    format!("/api/v1/namespaces/{}/pods/{}", text("namespace"), text("name"))
}

fn now() -> String {
    format!("{:.0}", jiff::Timestamp::now())
}

fn running_status(containers: &[Value]) -> Value {
    let conditions: Vec<Value> =
        ["PodReadyToStartContainers", "Initialized", "ContainersReady", "Ready", "PodScheduled"]
            .iter()
            .map(|kind| json!({"type": kind, "status": "True", "lastTransitionTime": now()}))
            .collect();
    json!({"phase": "Running", "startTime": now(), "conditions": conditions, "containerStatuses": containers})
}

/// As `imagePullPolicy: Never` is told.
fn waiting(pod: &Value, missing: &str) -> Value {
    let containers = pod["spec"]["containers"].as_array().map_or(&[][..], Vec::as_slice);
    let statuses: Vec<Value> = containers
        .iter()
        .map(|container| {
            let reason = if container["image"] == missing { "ErrImageNeverPull" } else { "ContainerCreating" };
            json!({
                "name": container["name"], "image": container["image"], "imageID": "", "ready": false, "restartCount": 0,
                "state": {"waiting": {"reason": reason}}, "started": false,
            })
        })
        .collect();
    json!({"phase": "Pending", "containerStatuses": statuses})
}
