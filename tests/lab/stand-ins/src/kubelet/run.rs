//! The kubelet's life: check everything, take the port, tell systemd, then register, renew and report for good.

use std::sync::Arc;
use std::time::Duration;

use super::api::{ApiError, Client};
use super::cgroup::Driver;
use super::config::{Config, ConfigError};
use super::cri::Runtime;
use super::flags::Flags;
use super::grpc::GrpcError;
use super::host::{self, Host, HostError};
use super::kubeconfig::{Kubeconfig, KubeconfigError};
use super::lease::Lease;
use super::node::{Node, RuntimeState};
use super::pod::Pod;
use super::pods::Pods;
use super::server::{self, Server, ServerError, State};
use super::{notify, schema};
use crate::log;

/// Pause after a first failure to renew the lease, as the real kubelet's.
const FIRST_LEASE_PAUSE: Duration = Duration::from_millis(200);
/// Longest pause between attempts to register or to renew the lease, as the real kubelet's.
const LONGEST_PAUSE: Duration = Duration::from_secs(7);
/// Pause between looks for the pod's image.
const IMAGE_PAUSE: Duration = Duration::from_secs(2);
/// Longest pause between attempts to run the pod.
const LONGEST_POD_PAUSE: Duration = Duration::from_secs(15);

/// Why the kubelet does not run. Each ends it with exit code 1.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// `--config` is missing: the built-in configuration is not enough for this stand-in.
    #[error("this stand-in needs --config")]
    NoConfig,
    /// `--kubeconfig` is missing: there is no standalone mode.
    #[error("this stand-in needs --kubeconfig")]
    NoKubeconfig,
    /// The configuration.
    #[error("failed to load kubelet config")]
    Config(#[source] ConfigError),
    /// The kubeconfig.
    #[error("invalid kubeconfig")]
    Kubeconfig(#[source] KubeconfigError),
    /// The client certificate.
    #[error("invalid kubeconfig")]
    Client(#[source] ApiError),
    /// The machine.
    #[error("failed to run kubelet")]
    Host(#[source] HostError),
    /// The runtime does not answer.
    #[error(
        "failed to run kubelet: validate service connection: validate CRI v1 runtime API for endpoint \"unix://{endpoint}\""
    )]
    Runtime {
        /// The socket.
        endpoint: String,
        /// Why.
        #[source]
        source: GrpcError,
    },
    /// Kubelet and runtime disagree about who makes cgroups; the real pair would crash-loop.
    #[error(
        "misconfiguration: kubelet cgroup driver: {kubelet} is different from container runtime cgroup driver: {runtime}"
    )]
    CgroupDriver {
        /// `cgroupDriver`.
        kubelet: Driver,
        /// What the runtime says.
        runtime: Driver,
    },
    /// The ports.
    #[error("failed to run kubelet")]
    Server(#[source] ServerError),
    /// The asynchronous runtime or its signals.
    #[error("the asynchronous runtime cannot be started")]
    Start(#[source] std::io::Error),
}

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// See [`RunError`].
pub fn run(flags: &Flags) -> Result<(), RunError> {
    for flag in &flags.ignored {
        log::say(format!("--{flag} is a kubelet flag that does nothing in this stand-in"));
    }
    let config = flags.config.as_ref().ok_or(RunError::NoConfig)?;
    let config = Config::load(config).map_err(RunError::Config)?;
    config.check_files().map_err(RunError::Config)?;
    let kubeconfig = flags.kubeconfig.as_ref().ok_or(RunError::NoKubeconfig)?;
    let kubeconfig = Kubeconfig::load(kubeconfig).map_err(RunError::Kubeconfig)?;
    let client = Client::new(kubeconfig).map_err(RunError::Client)?;
    if config.fail_swap_on {
        host::refuse_swap().map_err(RunError::Host)?;
    }
    if config.fail_cgroup_v1 {
        host::refuse_cgroup_v1().map_err(RunError::Host)?;
    }
    let host = Host::read().map_err(RunError::Host)?;
    log::say(format!(
        "configuration is good: {} fields known, cgroup driver {}, runtime unix://{}",
        schema::KUBELET_CONFIGURATION.len(),
        config.cgroup_driver,
        config.runtime_socket.display()
    ));
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().map_err(RunError::Start)?;
    let ended = runtime.block_on(live(flags, Arc::new(config), Arc::new(client), host));
    // Attempts under way need not be waited for.
    runtime.shutdown_background();
    ended
}

async fn live(flags: &Flags, config: Arc<Config>, client: Arc<Client>, host: Host) -> Result<(), RunError> {
    let runtime = Arc::new(Runtime::new(&config.runtime_socket, config.runtime_timeout));
    check_runtime(&runtime, &config).await?;
    let boot_id = host.boot_id.clone();
    let node = Arc::new(Node::new(flags, Arc::clone(&config), host));
    let state = Arc::new(State {
        node: node.name.clone(),
        client: Some(Arc::clone(&client)),
        config: Arc::clone(&config),
        pods: std::sync::Mutex::default(),
    });
    if let Some(server) = Server::bind(&config).await.map_err(RunError::Server)? {
        log::say(format!("serving https on {}:{}", config.address, config.port));
        tokio::spawn(server.serve(Arc::clone(&state)));
    }
    server::serve_health(&config).await.map_err(RunError::Server)?;
    let mut terminate =
        tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).map_err(RunError::Start)?;
    tokio::spawn(renew_lease(Arc::clone(&client), Lease::new(&node.name, config.lease_seconds)));
    tokio::spawn(keep_node(Arc::clone(&node), Arc::clone(&client), Arc::clone(&runtime), Arc::clone(&config)));
    let pods = Pods {
        runtime: Arc::clone(&runtime),
        config: Arc::clone(&config),
        client,
        state: Arc::clone(&state),
        node: node.name.clone(),
    };
    tokio::spawn(pods.keep());
    tokio::spawn(keep_pod(runtime, config, node, boot_id, state));
    notify::send("READY=1");
    log::say("started kubelet (stand-in)");
    if let Some(interval) = notify::watchdog_interval() {
        tokio::spawn(async move {
            loop {
                notify::send("WATCHDOG=1");
                tokio::time::sleep(interval).await;
            }
        });
    }
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    log::say("ends on a signal");
    Ok(())
}

async fn check_runtime(runtime: &Runtime, config: &Config) -> Result<(), RunError> {
    let failed = |source| RunError::Runtime { endpoint: config.runtime_socket.display().to_string(), source };
    let version = runtime.version().await.map_err(failed)?;
    log::say(format!("container runtime {} {}", version.runtime_name, version.runtime_version));
    match runtime.cgroup_driver().await.map_err(failed)? {
        Some(driver) if driver != config.cgroup_driver => {
            Err(RunError::CgroupDriver { kubelet: config.cgroup_driver, runtime: driver })
        }
        Some(_) => Ok(()),
        None => {
            log::say("the runtime does not tell its cgroup driver; taking that of the configuration");
            Ok(())
        }
    }
}

async fn renew_lease(client: Arc<Client>, mut lease: Lease) {
    let interval = lease.interval();
    let mut pause = FIRST_LEASE_PAUSE;
    loop {
        match lease.renew(&client).await {
            Ok(()) => {
                pause = FIRST_LEASE_PAUSE;
                tokio::time::sleep(interval).await;
            }
            Err(error) => {
                log::say(format!("failed to ensure lease exists, will retry: {}", chain(&error)));
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

async fn keep_node(node: Arc<Node>, client: Arc<Client>, runtime: Arc<Runtime>, config: Arc<Config>) {
    if config.register_node {
        register(&node, &client, &runtime).await;
    } else {
        log::say("registerNode is false: the node is not registered");
    }
    loop {
        let state = RuntimeState::ask(&runtime).await;
        // Deleted meanwhile: the real kubelet does not register again until it is restarted.
        if let Err(error) = node.update_status(&client, &state).await {
            log::say(format!("error updating node status, will retry: {}", chain(&error)));
        }
        tokio::time::sleep(config.status_interval).await;
    }
}

/// Tries for good.
async fn register(node: &Node, client: &Client, runtime: &Runtime) {
    let mut pause = Duration::from_millis(100);
    loop {
        let state = RuntimeState::ask(runtime).await;
        match node.register(client, &state).await {
            Ok(()) => return,
            Err(error) => {
                log::say(format!("unable to register node {} with the apiserver: {}", node.name, chain(&error)));
            }
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

async fn keep_pod(runtime: Arc<Runtime>, config: Arc<Config>, node: Arc<Node>, boot_id: String, state: Arc<State>) {
    let pod = Pod { runtime: &runtime, config: &config, node: &node.name, boot_id: &boot_id };
    if !matches!(pod.has_image().await, Ok(true)) {
        log::say("the runtime does not have the pod's image: no pod is run before it has");
        while !matches!(pod.has_image().await, Ok(true)) {
            tokio::time::sleep(IMAGE_PAUSE).await;
        }
    }
    let mut pause = Duration::from_secs(2);
    loop {
        match pod.run().await {
            Ok(object) => {
                state.pods.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(object);
                return;
            }
            Err(error) => log::say(format!("the pod does not run, will retry: {}", chain(&error))),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_POD_PAUSE);
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {}", chain(source)))
}
