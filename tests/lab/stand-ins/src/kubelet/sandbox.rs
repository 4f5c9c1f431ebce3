//! A pod in the runtime: its sandbox on the node's network, and its containers, from images that the runtime has.

use std::collections::HashMap;

use super::config::Config;
use super::cri::{
    ContainerConfig, ContainerMetadata, CreateContainerRequest, DnsConfig, ImageSpec, LinuxContainerConfig,
    LinuxContainerResources, LinuxContainerSecurityContext, LinuxPodSandboxConfig, LinuxSandboxSecurityContext,
    NAMESPACE_CONTAINER, NAMESPACE_NODE, NAMESPACE_POD, NamespaceOption, PodSandboxConfig, PodSandboxMetadata, Runtime,
};
use super::pod::PodError;

/// The label of the sandboxes that this stand-in makes; its value says for whom.
pub const LABEL: &str = "nodebake-lab.invalid/stand-in";
/// The label of a sandbox with the UID of its pod.
pub const UID: &str = "io.kubernetes.pod.uid";

/// A pod as the runtime gets it.
#[derive(Debug, Clone)]
pub struct Sandbox<'a> {
    /// The runtime.
    pub runtime: &'a Runtime,
    /// The configuration.
    pub config: &'a Config,
    /// Namespace of the pod.
    pub namespace: &'a str,
    /// Name of the pod.
    pub name: &'a str,
    /// UID of the pod.
    pub uid: &'a str,
    /// Value of [`LABEL`].
    pub kind: &'a str,
}

impl Sandbox<'_> {
    /// Makes the sandbox: its id.
    ///
    /// # Errors
    /// The runtime refuses.
    pub async fn run(&self) -> Result<String, PodError> {
        self.runtime.run_sandbox(self.sandbox()).await.map_err(PodError::Cri)
    }

    /// Starts a container of that image in the sandbox: its id.
    ///
    /// # Errors
    /// The runtime refuses, or the folder of the log cannot be made.
    pub async fn start(&self, sandbox: &str, container: &str, image: &str) -> Result<String, PodError> {
        let image = ImageSpec { image: image.to_owned(), user_specified_image: image.to_owned() };
        let mut labels = self.labels();
        labels.insert("io.kubernetes.container.name".to_owned(), container.to_owned());
        let config = ContainerConfig {
            metadata: Some(ContainerMetadata { name: container.to_owned(), attempt: 0 }),
            image: Some(image),
            command: Vec::new(),
            labels,
            log_path: format!("{container}/0.log"),
            linux: Some(LinuxContainerConfig {
                // What a best-effort container gets.
                resources: Some(LinuxContainerResources { cpu_shares: 2, oom_score_adj: 1000 }),
                security_context: Some(LinuxContainerSecurityContext {
                    namespace_options: Some(namespaces(NAMESPACE_CONTAINER)),
                }),
            }),
        };
        let folder = self.log_directory().join(container);
        std::fs::create_dir_all(&folder).map_err(|source| PodError::File { path: folder, source })?;
        let question = CreateContainerRequest {
            pod_sandbox_id: sandbox.to_owned(),
            config: Some(config),
            sandbox_config: Some(self.sandbox()),
        };
        let container = self.runtime.create_container(&question).await.map_err(PodError::Cri)?;
        self.runtime.start_container(&container).await.map_err(PodError::Cri)?;
        Ok(container)
    }

    fn sandbox(&self) -> PodSandboxConfig {
        let mut labels = self.labels();
        labels.insert(LABEL.to_owned(), self.kind.to_owned());
        PodSandboxConfig {
            metadata: Some(PodSandboxMetadata {
                name: self.name.to_owned(),
                uid: self.uid.to_owned(),
                namespace: self.namespace.to_owned(),
                attempt: 0,
            }),
            // The kubelet leaves it empty for a pod on the node's network.
            hostname: String::new(),
            log_directory: self.log_directory().to_string_lossy().into_owned(),
            dns_config: self.dns(),
            labels,
            linux: Some(LinuxPodSandboxConfig {
                cgroup_parent: self.config.cgroup_driver.best_effort_pod(self.uid),
                security_context: Some(LinuxSandboxSecurityContext {
                    namespace_options: Some(namespaces(NAMESPACE_POD)),
                }),
            }),
        }
    }

    fn log_directory(&self) -> std::path::PathBuf {
        self.config.pod_logs.join(format!("{}_{}_{}", self.namespace, self.name, self.uid))
    }

    fn labels(&self) -> HashMap<String, String> {
        [("io.kubernetes.pod.name", self.name), ("io.kubernetes.pod.namespace", self.namespace), (UID, self.uid)]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into()
    }

    /// A pod on the node's network has the node's DNS, from resolvConf.
    fn dns(&self) -> Option<DnsConfig> {
        let text = std::fs::read_to_string(self.config.resolv_conf.as_ref()?).ok()?;
        Some(dns_of(&text))
    }
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
