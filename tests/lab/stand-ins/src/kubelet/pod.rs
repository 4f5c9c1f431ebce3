//! The one pod: a host-network pod from an image that the runtime has, and the report of what became of it.

use std::collections::HashMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::config::Config;
use super::cri::{
    CONTAINER_RUNNING, ContainerConfig, ContainerMetadata, CreateContainerRequest, DnsConfig, ImageSpec,
    LinuxContainerConfig, LinuxContainerResources, LinuxContainerSecurityContext, LinuxPodSandboxConfig,
    LinuxSandboxSecurityContext, NAMESPACE_CONTAINER, NAMESPACE_NODE, NAMESPACE_POD, NamespaceOption, PodSandboxConfig,
    PodSandboxMetadata, Runtime,
};
use super::grpc::GrpcError;
use crate::log;

/// Where the report goes; `NODEBAKE_LAB_POD_REPORT` names another place.
const REPORT: &str = "/run/nodebake-lab/pod.json";
/// The image, which the runtime has been given.
const IMAGE: &str = "nodebake-lab.invalid/pod:1";
const NAMESPACE: &str = "default";
const POD: &str = "nodebake-lab";
const CONTAINER: &str = "busybox";
const LABEL: (&str, &str) = ("nodebake-lab.invalid/stand-in", "kubelet");
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
        for old in self.runtime.sandboxes(LABEL).await.map_err(PodError::Cri)? {
            log::say(format!("removing the sandbox {} of an earlier start", old.id));
            self.runtime.remove_sandbox(&old.id).await.map_err(PodError::Cri)?;
        }
        let uid = uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_DNS, format!("{}.{POD}.invalid", self.node).as_bytes())
            .to_string();
        let sandbox_config = self.sandbox(&uid);
        let cgroup_parent = self.config.cgroup_driver.best_effort_pod(&uid);
        let sandbox = self.runtime.run_sandbox(sandbox_config.clone()).await.map_err(PodError::Cri)?;
        let container = self.start_container(&sandbox, &uid, sandbox_config).await?;
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

    fn sandbox(&self, uid: &str) -> PodSandboxConfig {
        let mut labels = pod_labels(uid);
        labels.insert(LABEL.0.to_owned(), LABEL.1.to_owned());
        PodSandboxConfig {
            metadata: Some(PodSandboxMetadata {
                name: POD.to_owned(),
                uid: uid.to_owned(),
                namespace: NAMESPACE.to_owned(),
                attempt: 0,
            }),
            // The kubelet leaves it empty for a pod on the node's network.
            hostname: String::new(),
            log_directory: format!("/var/log/pods/{NAMESPACE}_{POD}_{uid}"),
            dns_config: self.dns(),
            labels,
            linux: Some(LinuxPodSandboxConfig {
                cgroup_parent: self.config.cgroup_driver.best_effort_pod(uid),
                security_context: Some(LinuxSandboxSecurityContext {
                    namespace_options: Some(namespaces(NAMESPACE_POD)),
                }),
            }),
        }
    }

    /// A pod on the node's network has the node's DNS, from resolvConf.
    fn dns(&self) -> Option<DnsConfig> {
        let text = std::fs::read_to_string(self.config.resolv_conf.as_ref()?).ok()?;
        Some(dns_of(&text))
    }

    async fn start_container(
        &self,
        sandbox: &str,
        uid: &str,
        sandbox_config: PodSandboxConfig,
    ) -> Result<String, PodError> {
        let image = ImageSpec { image: IMAGE.to_owned(), user_specified_image: IMAGE.to_owned() };
        let mut labels = pod_labels(uid);
        labels.insert("io.kubernetes.container.name".to_owned(), CONTAINER.to_owned());
        let config = ContainerConfig {
            metadata: Some(ContainerMetadata { name: CONTAINER.to_owned(), attempt: 0 }),
            image: Some(image),
            command: Vec::new(),
            labels,
            log_path: format!("{CONTAINER}/0.log"),
            linux: Some(LinuxContainerConfig {
                // What a best-effort container gets.
                resources: Some(LinuxContainerResources { cpu_shares: 2, oom_score_adj: 1000 }),
                security_context: Some(LinuxContainerSecurityContext {
                    namespace_options: Some(namespaces(NAMESPACE_CONTAINER)),
                }),
            }),
        };
        let folder = Path::new(&sandbox_config.log_directory).join(CONTAINER);
        std::fs::create_dir_all(&folder).map_err(|source| PodError::File { path: folder, source })?;
        let question = CreateContainerRequest {
            pod_sandbox_id: sandbox.to_owned(),
            config: Some(config),
            sandbox_config: Some(sandbox_config),
        };
        let container = self.runtime.create_container(&question).await.map_err(PodError::Cri)?;
        self.runtime.start_container(&container).await.map_err(PodError::Cri)?;
        Ok(container)
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

fn pod_labels(uid: &str) -> HashMap<String, String> {
    [("io.kubernetes.pod.name", POD), ("io.kubernetes.pod.namespace", NAMESPACE), ("io.kubernetes.pod.uid", uid)]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
}

fn namespaces(pid: i32) -> NamespaceOption {
    NamespaceOption { network: NAMESPACE_NODE, pid, ipc: NAMESPACE_POD }
}

fn dns_of(resolv_conf: &str) -> DnsConfig {
    let mut dns = DnsConfig::default();
    for line in resolv_conf.lines() {
        let mut words = line.split_whitespace();
        let rest = |words: std::str::SplitWhitespace<'_>| words.map(str::to_owned).collect::<Vec<_>>();
        match words.next() {
            Some("nameserver") => dns.servers.extend(words.next().map(str::to_owned)),
            Some("search") => dns.searches = rest(words),
            Some("options") => dns.options = rest(words),
            _ => {}
        }
    }
    dns
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_network_pod_has_the_node_s_dns() {
        let own = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        assert_eq!(
            dns_of("# x\nnameserver 10.0.0.1\nnameserver 1.1.1.1\nsearch a b\noptions edns0\n"),
            DnsConfig { servers: own(&["10.0.0.1", "1.1.1.1"]), searches: own(&["a", "b"]), options: own(&["edns0"]) }
        );
    }
}
