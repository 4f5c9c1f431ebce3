//! The one pod: a host-network pod from an image that the runtime has, and the report of what became of it.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::config::Config;
use super::cri::{CONTAINER_RUNNING, Runtime};
use super::grpc::GrpcError;
use super::sandbox::{LABEL, Sandbox};
use crate::log;

/// Where the report goes; `NODEBAKE_LAB_POD_REPORT` names another place.
const REPORT: &str = "/run/nodebake-lab/pod.json";
/// The image, which the runtime has been given.
const IMAGE: &str = "nodebake-lab.invalid/pod:1";
const NAMESPACE: &str = "default";
const POD: &str = "nodebake-lab";
const CONTAINER: &str = "busybox";
/// For whom its sandbox is.
const KIND: &str = "kubelet";
/// What is executed in the container to show that exec works.
const COMMAND: [&str; 3] = ["/bin/busybox", "cat", "/proc/self/cgroup"];

/// Why the pod does not run.
#[derive(Debug, thiserror::Error)]
pub enum PodError {
    /// A CRI call failed.
    #[error("CRI call failed")]
    Cri(#[source] GrpcError),
    /// The container ended.
    #[error("the container is not running: {0}")]
    NotRunning(String),
    /// The command in the container failed.
    #[error("the command in the container ended with {code}: {message}")]
    Exec {
        /// Exit code.
        code: i32,
        /// Its standard error.
        message: String,
    },
    /// A file of the report or of /proc.
    #[error("cannot use {path}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// The pod's surroundings.
#[derive(Debug)]
pub struct Pod<'a> {
    /// The runtime.
    pub runtime: &'a Runtime,
    /// The configuration.
    pub config: &'a Config,
    /// The node's name.
    pub node: &'a str,
    /// The node's boot id.
    pub boot_id: &'a str,
}

impl Pod<'_> {
    /// Whether the runtime has the pod's image: nothing is ever pulled.
    ///
    /// # Errors
    /// The runtime does not answer.
    pub async fn has_image(&self) -> Result<bool, PodError> {
        Ok(self.runtime.image(IMAGE).await.map_err(PodError::Cri)?.is_some())
    }

    /// Runs the pod anew and writes the report; the pod as the API would show it comes back.
    ///
    /// # Errors
    /// See [`PodError`].
    pub async fn run(&self) -> Result<Value, PodError> {
        for old in self.runtime.sandboxes((LABEL, KIND)).await.map_err(PodError::Cri)? {
            log::say(format!("removing the sandbox {} of an earlier start", old.id));
            self.runtime.remove_sandbox(&old.id).await.map_err(PodError::Cri)?;
        }
        let uid = uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_DNS, format!("{}.{POD}.invalid", self.node).as_bytes())
            .to_string();
        let (runtime, config) = (self.runtime, self.config);
        let pod = Sandbox { runtime, config, namespace: NAMESPACE, name: POD, uid: &uid, kind: KIND };
        let cgroup_parent = self.config.cgroup_driver.best_effort_pod(&uid);
        let sandbox = pod.run().await?;
        let container = pod.start(&sandbox, CONTAINER, IMAGE).await?;
        log::say(format!("container {container} started in sandbox {sandbox}"));
        let pid = self.pid(&container).await?;
        let cgroup = read(&format!("/proc/{pid}/cgroup"))?;
        let exec = self.runtime.exec(&container, &COMMAND).await.map_err(PodError::Cri)?;
        let stdout = String::from_utf8_lossy(&exec.stdout).into_owned();
        let stderr = String::from_utf8_lossy(&exec.stderr).into_owned();
        if exec.exit_code != 0 {
            return Err(PodError::Exec { code: exec.exit_code, message: stderr });
        }
        let version = self.runtime.version().await.map_err(PodError::Cri)?;
        let image = self.runtime.image(IMAGE).await.map_err(PodError::Cri)?;
        let report = json!({
            "time": jiff::Timestamp::now().to_string(),
            "node": self.node, "bootID": self.boot_id,
            "runtime": {"name": version.runtime_name, "version": version.runtime_version},
            "pod": {"namespace": NAMESPACE, "name": POD, "uid": uid, "cgroupParent": cgroup_parent},
            "sandbox": sandbox, "container": container, "image": IMAGE,
            "pinned": image.is_some_and(|image| image.pinned),
            "pid": pid, "cgroup": cgroup.lines().collect::<Vec<_>>(),
            "hostNetwork": same_network_namespace(pid),
            "exec": {"command": COMMAND, "exitCode": exec.exit_code, "stdout": stdout, "stderr": stderr},
        });
        let path = std::env::var_os("NODEBAKE_LAB_POD_REPORT").map_or_else(|| PathBuf::from(REPORT), PathBuf::from);
        write_report(&path, &report).map_err(|source| PodError::File { path: path.clone(), source })?;
        log::say(format!("pod {NAMESPACE}/{POD} runs; report in {}", path.display()));
        Ok(self.object(&uid, &container))
    }

    async fn pid(&self, container: &str) -> Result<i64, PodError> {
        let answer = self.runtime.container_status(container).await.map_err(PodError::Cri)?;
        let status = answer.status.unwrap_or_default();
        if status.state != CONTAINER_RUNNING {
            return Err(PodError::NotRunning(format!("exit code {}, {}", status.exit_code, status.reason)));
        }
        let info: Value = answer.info.get("info").and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        info["pid"].as_i64().filter(|pid| *pid > 0).ok_or_else(|| PodError::NotRunning("no process id".to_owned()))
    }

    /// The pod as the API shows a pod.
    fn object(&self, uid: &str, container: &str) -> Value {
        json!({
            "metadata": {"name": POD, "namespace": NAMESPACE, "uid": uid},
            "spec": {
                "nodeName": self.node, "hostNetwork": true, "containers": [{"name": CONTAINER, "image": IMAGE}],
            },
            "status": {
                "phase": "Running", "qosClass": "BestEffort",
                "containerStatuses": [{
                    "name": CONTAINER, "image": IMAGE, "imageID": "", "ready": true, "restartCount": 0,
                    "containerID": format!("containerd://{container}"),
                }],
            },
        })
    }
}

fn read(path: &str) -> Result<String, PodError> {
    std::fs::read_to_string(path).map_err(|source| PodError::File { path: path.into(), source })
}

fn same_network_namespace(pid: i64) -> bool {
    let of = |who: &str| std::fs::read_link(format!("/proc/{who}/ns/net")).ok();
    of("self").is_some() && of("self") == of(&pid.to_string())
}

/// Whole or not at all: who waits for the file may read it at once.
fn write_report(path: &Path, report: &Value) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let temporary = path.with_extension("json.new");
    let mut file = std::fs::File::create(&temporary)?;
    file.write_all(format!("{report:#}\n").as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)
}
