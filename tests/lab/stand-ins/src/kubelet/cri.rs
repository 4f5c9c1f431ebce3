//! The few messages and calls of CRI (runtime.v1) that one pod needs.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::Mutex;

use super::cgroup::Driver;
use super::grpc::{Channel, GrpcError, UNIMPLEMENTED};

/// `VersionRequest`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct VersionRequest {
    /// Version of the kubelet's runtime API.
    #[prost(string, tag = "1")]
    pub version: String,
}

/// `VersionResponse`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct VersionResponse {
    /// Version of the kubelet's runtime API.
    #[prost(string, tag = "1")]
    pub version: String,
    /// Name of the runtime.
    #[prost(string, tag = "2")]
    pub runtime_name: String,
    /// Version of the runtime.
    #[prost(string, tag = "3")]
    pub runtime_version: String,
    /// Version of the API that the runtime speaks.
    #[prost(string, tag = "4")]
    pub runtime_api_version: String,
}

/// `StatusRequest`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct StatusRequest {
    /// Whether to tell the configuration too.
    #[prost(bool, tag = "1")]
    pub verbose: bool,
}

/// `RuntimeCondition`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct RuntimeCondition {
    /// `RuntimeReady` or `NetworkReady`.
    #[prost(string, tag = "1")]
    pub r#type: String,
    /// Whether it is so.
    #[prost(bool, tag = "2")]
    pub status: bool,
    /// Why not.
    #[prost(string, tag = "3")]
    pub reason: String,
    /// Why not, for people.
    #[prost(string, tag = "4")]
    pub message: String,
}

/// `RuntimeStatus`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct RuntimeStatus {
    /// Conditions.
    #[prost(message, repeated, tag = "1")]
    pub conditions: Vec<RuntimeCondition>,
}

/// `StatusResponse`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct StatusResponse {
    /// The status.
    #[prost(message, optional, tag = "1")]
    pub status: Option<RuntimeStatus>,
    /// The configuration and more, as JSON by name, when asked verbosely.
    #[prost(map = "string, string", tag = "2")]
    pub info: HashMap<String, String>,
}

/// `RuntimeConfigRequest`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct RuntimeConfigRequest {}

/// `LinuxRuntimeConfiguration`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct LinuxRuntimeConfiguration {
    /// 0 systemd, 1 cgroupfs.
    #[prost(int32, tag = "1")]
    pub cgroup_driver: i32,
}

/// `RuntimeConfigResponse`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct RuntimeConfigResponse {
    /// Linux only.
    #[prost(message, optional, tag = "1")]
    pub linux: Option<LinuxRuntimeConfiguration>,
}

/// `PodSandboxMetadata`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct PodSandboxMetadata {
    /// Pod name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Pod UID.
    #[prost(string, tag = "2")]
    pub uid: String,
    /// Pod namespace.
    #[prost(string, tag = "3")]
    pub namespace: String,
    /// Counts the sandboxes of one pod.
    #[prost(uint32, tag = "4")]
    pub attempt: u32,
}

/// `NamespaceOption`; 0 is the pod's own, 1 the container's own, 2 the node's.
#[derive(Clone, PartialEq, prost::Message)]
pub struct NamespaceOption {
    /// Network.
    #[prost(int32, tag = "1")]
    pub network: i32,
    /// Processes.
    #[prost(int32, tag = "2")]
    pub pid: i32,
    /// IPC.
    #[prost(int32, tag = "3")]
    pub ipc: i32,
}

/// [`NamespaceOption`]: the pod's own.
pub const NAMESPACE_POD: i32 = 0;
/// [`NamespaceOption`]: the container's own.
pub const NAMESPACE_CONTAINER: i32 = 1;
/// [`NamespaceOption`]: the node's.
pub const NAMESPACE_NODE: i32 = 2;

/// `LinuxSandboxSecurityContext`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct LinuxSandboxSecurityContext {
    /// Namespaces.
    #[prost(message, optional, tag = "1")]
    pub namespace_options: Option<NamespaceOption>,
}

/// `LinuxPodSandboxConfig`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct LinuxPodSandboxConfig {
    /// The pod's cgroup.
    #[prost(string, tag = "1")]
    pub cgroup_parent: String,
    /// Namespaces.
    #[prost(message, optional, tag = "2")]
    pub security_context: Option<LinuxSandboxSecurityContext>,
}

/// `DNSConfig`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct DnsConfig {
    /// Servers.
    #[prost(string, repeated, tag = "1")]
    pub servers: Vec<String>,
    /// Search domains.
    #[prost(string, repeated, tag = "2")]
    pub searches: Vec<String>,
    /// Options.
    #[prost(string, repeated, tag = "3")]
    pub options: Vec<String>,
}

/// `PodSandboxConfig`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct PodSandboxConfig {
    /// Who.
    #[prost(message, optional, tag = "1")]
    pub metadata: Option<PodSandboxMetadata>,
    /// Host name of the pod.
    #[prost(string, tag = "2")]
    pub hostname: String,
    /// Folder of the containers' logs.
    #[prost(string, tag = "3")]
    pub log_directory: String,
    /// What goes into the pod's resolv.conf.
    #[prost(message, optional, tag = "4")]
    pub dns_config: Option<DnsConfig>,
    /// Labels.
    #[prost(map = "string, string", tag = "6")]
    pub labels: HashMap<String, String>,
    /// Cgroup and namespaces.
    #[prost(message, optional, tag = "8")]
    pub linux: Option<LinuxPodSandboxConfig>,
}

/// `RunPodSandboxRequest`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct RunPodSandboxRequest {
    /// The sandbox.
    #[prost(message, optional, tag = "1")]
    pub config: Option<PodSandboxConfig>,
}

/// `RunPodSandboxResponse`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct RunPodSandboxResponse {
    /// Its id.
    #[prost(string, tag = "1")]
    pub pod_sandbox_id: String,
}

/// `PodSandboxFilter`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct PodSandboxFilter {
    /// Labels that a sandbox must have.
    #[prost(map = "string, string", tag = "3")]
    pub label_selector: HashMap<String, String>,
}

/// `ListPodSandboxRequest`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ListPodSandboxRequest {
    /// Which.
    #[prost(message, optional, tag = "1")]
    pub filter: Option<PodSandboxFilter>,
}

/// `PodSandbox`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct PodSandbox {
    /// Its id.
    #[prost(string, tag = "1")]
    pub id: String,
    /// Who.
    #[prost(message, optional, tag = "2")]
    pub metadata: Option<PodSandboxMetadata>,
}

/// `ListPodSandboxResponse`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ListPodSandboxResponse {
    /// The sandboxes.
    #[prost(message, repeated, tag = "1")]
    pub items: Vec<PodSandbox>,
}

/// `StopPodSandboxRequest` and `RemovePodSandboxRequest`, which look the same.
#[derive(Clone, PartialEq, prost::Message)]
pub struct PodSandboxIdRequest {
    /// The sandbox.
    #[prost(string, tag = "1")]
    pub pod_sandbox_id: String,
}

/// An answer without content.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Nothing {}

/// `ImageSpec`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ImageSpec {
    /// Name or id.
    #[prost(string, tag = "1")]
    pub image: String,
    /// The name that was asked for.
    #[prost(string, tag = "18")]
    pub user_specified_image: String,
}

/// `ContainerMetadata`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ContainerMetadata {
    /// Name within the pod.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Counts the starts.
    #[prost(uint32, tag = "2")]
    pub attempt: u32,
}

/// `LinuxContainerResources`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct LinuxContainerResources {
    /// CPU shares.
    #[prost(int64, tag = "3")]
    pub cpu_shares: i64,
    /// OOM score adjustment.
    #[prost(int64, tag = "5")]
    pub oom_score_adj: i64,
}

/// `LinuxContainerSecurityContext`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct LinuxContainerSecurityContext {
    /// Namespaces.
    #[prost(message, optional, tag = "3")]
    pub namespace_options: Option<NamespaceOption>,
}

/// `LinuxContainerConfig`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct LinuxContainerConfig {
    /// Resources.
    #[prost(message, optional, tag = "1")]
    pub resources: Option<LinuxContainerResources>,
    /// Namespaces.
    #[prost(message, optional, tag = "2")]
    pub security_context: Option<LinuxContainerSecurityContext>,
}

/// `ContainerConfig`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ContainerConfig {
    /// Who.
    #[prost(message, optional, tag = "1")]
    pub metadata: Option<ContainerMetadata>,
    /// Its image.
    #[prost(message, optional, tag = "2")]
    pub image: Option<ImageSpec>,
    /// Instead of the image's entry point.
    #[prost(string, repeated, tag = "3")]
    pub command: Vec<String>,
    /// Labels.
    #[prost(map = "string, string", tag = "9")]
    pub labels: HashMap<String, String>,
    /// Log file below the sandbox's log folder.
    #[prost(string, tag = "11")]
    pub log_path: String,
    /// Resources and namespaces.
    #[prost(message, optional, tag = "15")]
    pub linux: Option<LinuxContainerConfig>,
}

/// `CreateContainerRequest`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct CreateContainerRequest {
    /// The sandbox.
    #[prost(string, tag = "1")]
    pub pod_sandbox_id: String,
    /// The container.
    #[prost(message, optional, tag = "2")]
    pub config: Option<ContainerConfig>,
    /// The sandbox's configuration.
    #[prost(message, optional, tag = "3")]
    pub sandbox_config: Option<PodSandboxConfig>,
}

/// `CreateContainerResponse`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct CreateContainerResponse {
    /// Its id.
    #[prost(string, tag = "1")]
    pub container_id: String,
}

/// `StartContainerRequest`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct StartContainerRequest {
    /// The container.
    #[prost(string, tag = "1")]
    pub container_id: String,
}

/// `ExecSyncRequest`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ExecSyncRequest {
    /// The container.
    #[prost(string, tag = "1")]
    pub container_id: String,
    /// What to run.
    #[prost(string, repeated, tag = "2")]
    pub cmd: Vec<String>,
    /// Seconds.
    #[prost(int64, tag = "3")]
    pub timeout: i64,
}

/// `ExecSyncResponse`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ExecSyncResponse {
    /// Standard output.
    #[prost(bytes = "vec", tag = "1")]
    pub stdout: Vec<u8>,
    /// Standard error.
    #[prost(bytes = "vec", tag = "2")]
    pub stderr: Vec<u8>,
    /// Exit code.
    #[prost(int32, tag = "3")]
    pub exit_code: i32,
}

/// `ContainerStatusRequest`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ContainerStatusRequest {
    /// The container.
    #[prost(string, tag = "1")]
    pub container_id: String,
    /// Whether to tell its process too.
    #[prost(bool, tag = "2")]
    pub verbose: bool,
}

/// `ContainerStatus`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ContainerStatus {
    /// Its id.
    #[prost(string, tag = "1")]
    pub id: String,
    /// 0 created, 1 running, 2 exited, 3 unknown.
    #[prost(int32, tag = "3")]
    pub state: i32,
    /// Nanoseconds since the epoch.
    #[prost(int64, tag = "5")]
    pub started_at: i64,
    /// Exit code.
    #[prost(int32, tag = "7")]
    pub exit_code: i32,
    /// Why it is in that state.
    #[prost(string, tag = "10")]
    pub reason: String,
}

/// [`ContainerStatus::state`]: running.
pub const CONTAINER_RUNNING: i32 = 1;

/// `ContainerStatusResponse`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ContainerStatusResponse {
    /// The status.
    #[prost(message, optional, tag = "1")]
    pub status: Option<ContainerStatus>,
    /// JSON by name, when asked verbosely; `info` has the process id.
    #[prost(map = "string, string", tag = "2")]
    pub info: HashMap<String, String>,
}

/// `ImageStatusRequest`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ImageStatusRequest {
    /// Which.
    #[prost(message, optional, tag = "1")]
    pub image: Option<ImageSpec>,
}

/// `Image`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Image {
    /// Its id.
    #[prost(string, tag = "1")]
    pub id: String,
    /// Its names.
    #[prost(string, repeated, tag = "2")]
    pub repo_tags: Vec<String>,
    /// Whether the kubelet must leave it when it makes room.
    #[prost(bool, tag = "8")]
    pub pinned: bool,
}

/// `ImageStatusResponse`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ImageStatusResponse {
    /// The image, if it is there.
    #[prost(message, optional, tag = "1")]
    pub image: Option<Image>,
}

/// `PullImageRequest`, without credentials of a pod's own.
#[derive(Clone, PartialEq, prost::Message)]
pub struct PullImageRequest {
    /// Which.
    #[prost(message, optional, tag = "1")]
    pub image: Option<ImageSpec>,
}

/// `PullImageResponse`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct PullImageResponse {
    /// Its id.
    #[prost(string, tag = "1")]
    pub image_ref: String,
}

/// A runtime, connected when it is needed.
#[derive(Debug)]
pub struct Runtime {
    socket: PathBuf,
    timeout: Duration,
    channel: Mutex<Option<Channel>>,
}

impl Runtime {
    /// The runtime at that socket; calls end after `timeout`.
    #[must_use]
    pub fn new(socket: &Path, timeout: Duration) -> Self {
        Self { socket: socket.to_owned(), timeout, channel: Mutex::new(None) }
    }

    async fn call<Q: prost::Message, A: prost::Message + Default>(
        &self,
        method: &'static str,
        question: &Q,
    ) -> Result<A, GrpcError> {
        self.channel().await?.call(method, question, self.timeout).await
    }

    /// The connection, made anew when it broke; calls run beside each other on it.
    async fn channel(&self) -> Result<Channel, GrpcError> {
        let mut held = self.channel.lock().await;
        if let Some(channel) = held.as_ref().filter(|channel| !channel.is_closed()) {
            return Ok(channel.clone());
        }
        let channel = Channel::connect(&self.socket).await?;
        *held = Some(channel.clone());
        Ok(channel)
    }

    /// `Version`.
    ///
    /// # Errors
    /// The call failed.
    pub async fn version(&self) -> Result<VersionResponse, GrpcError> {
        let question = VersionRequest { version: "0.1.0".to_owned() };
        self.call("/runtime.v1.RuntimeService/Version", &question).await
    }

    /// `Status`.
    ///
    /// # Errors
    /// The call failed.
    pub async fn status(&self) -> Result<StatusResponse, GrpcError> {
        self.call("/runtime.v1.RuntimeService/Status", &StatusRequest { verbose: false }).await
    }

    /// `RuntimeConfig`: the runtime's cgroup driver; none when the runtime is too old to tell.
    ///
    /// # Errors
    /// The call failed otherwise.
    pub async fn cgroup_driver(&self) -> Result<Option<Driver>, GrpcError> {
        let answer: Result<RuntimeConfigResponse, _> =
            self.call("/runtime.v1.RuntimeService/RuntimeConfig", &RuntimeConfigRequest {}).await;
        match answer {
            Ok(answer) => Ok(answer.linux.map(|linux| match linux.cgroup_driver {
                0 => Driver::Systemd,
                _ => Driver::Cgroupfs,
            })),
            Err(error) if error.code() == Some(UNIMPLEMENTED) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// `RunPodSandbox`: its id.
    ///
    /// # Errors
    /// The call failed.
    pub async fn run_sandbox(&self, config: PodSandboxConfig) -> Result<String, GrpcError> {
        let question = RunPodSandboxRequest { config: Some(config) };
        let answer: RunPodSandboxResponse = self.call("/runtime.v1.RuntimeService/RunPodSandbox", &question).await?;
        Ok(answer.pod_sandbox_id)
    }

    /// `ListPodSandbox` of those with this label.
    ///
    /// # Errors
    /// The call failed.
    pub async fn sandboxes(&self, label: (&str, &str)) -> Result<Vec<PodSandbox>, GrpcError> {
        let label_selector = HashMap::from([(label.0.to_owned(), label.1.to_owned())]);
        let question = ListPodSandboxRequest { filter: Some(PodSandboxFilter { label_selector }) };
        let answer: ListPodSandboxResponse = self.call("/runtime.v1.RuntimeService/ListPodSandbox", &question).await?;
        Ok(answer.items)
    }

    /// `StopPodSandbox`, then `RemovePodSandbox`.
    ///
    /// # Errors
    /// A call failed.
    pub async fn remove_sandbox(&self, id: &str) -> Result<(), GrpcError> {
        let question = PodSandboxIdRequest { pod_sandbox_id: id.to_owned() };
        let _: Nothing = self.call("/runtime.v1.RuntimeService/StopPodSandbox", &question).await?;
        let _: Nothing = self.call("/runtime.v1.RuntimeService/RemovePodSandbox", &question).await?;
        Ok(())
    }

    /// `CreateContainer`: its id.
    ///
    /// # Errors
    /// The call failed.
    pub async fn create_container(&self, question: &CreateContainerRequest) -> Result<String, GrpcError> {
        let answer: CreateContainerResponse = self.call("/runtime.v1.RuntimeService/CreateContainer", question).await?;
        Ok(answer.container_id)
    }

    /// `StartContainer`.
    ///
    /// # Errors
    /// The call failed.
    pub async fn start_container(&self, id: &str) -> Result<(), GrpcError> {
        let question = StartContainerRequest { container_id: id.to_owned() };
        let _: Nothing = self.call("/runtime.v1.RuntimeService/StartContainer", &question).await?;
        Ok(())
    }

    /// `ExecSync`.
    ///
    /// # Errors
    /// The call failed.
    pub async fn exec(&self, id: &str, command: &[&str]) -> Result<ExecSyncResponse, GrpcError> {
        let question = ExecSyncRequest {
            container_id: id.to_owned(),
            cmd: command.iter().map(|word| (*word).to_owned()).collect(),
            timeout: 60,
        };
        self.call("/runtime.v1.RuntimeService/ExecSync", &question).await
    }

    /// `ContainerStatus`, verbose.
    ///
    /// # Errors
    /// The call failed.
    pub async fn container_status(&self, id: &str) -> Result<ContainerStatusResponse, GrpcError> {
        let question = ContainerStatusRequest { container_id: id.to_owned(), verbose: true };
        self.call("/runtime.v1.RuntimeService/ContainerStatus", &question).await
    }

    /// `ImageStatus`: the image, if the runtime has it.
    ///
    /// # Errors
    /// The call failed.
    pub async fn image(&self, image: &str) -> Result<Option<Image>, GrpcError> {
        let image = ImageSpec { image: image.to_owned(), user_specified_image: String::new() };
        let question = ImageStatusRequest { image: Some(image) };
        let answer: ImageStatusResponse = self.call("/runtime.v1.ImageService/ImageStatus", &question).await?;
        Ok(answer.image)
    }

    /// `PullImage`: its id.
    ///
    /// # Errors
    /// The call failed.
    pub async fn pull(&self, image: &str) -> Result<String, GrpcError> {
        let image = ImageSpec { image: image.to_owned(), user_specified_image: String::new() };
        let question = PullImageRequest { image: Some(image) };
        let answer: PullImageResponse = self.call("/runtime.v1.ImageService/PullImage", &question).await?;
        Ok(answer.image_ref)
    }
}
