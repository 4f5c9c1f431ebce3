//! The kubelet stand-in's executable, against the apiserver stand-in and a runtime that only talks.

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use futures_util::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{Api, DeleteParams, PostParams, WatchEvent, WatchParams};
use serde_json::{Value, json};

use crate::control_plane::Server;
use crate::runtime;

struct Kubelet(Child);

impl Drop for Kubelet {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Writes configuration and kubeconfig of node a, and gives the command that starts it.
fn command(server: &Server, port: u16, change: impl FnOnce(&mut Value)) -> Command {
    let file = |name: &str| server.pki.file(name);
    let mut config = json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
        "address": "127.0.0.1", "port": port, "healthzPort": 0,
        // Whatever machine the test runs on.
        "failSwapOn": false, "failCgroupV1": false,
        "authentication": {"anonymous": {"enabled": false}, "x509": {"clientCAFile": file("ca.pem")}},
        "cgroupDriver": "systemd",
        "containerRuntimeEndpoint": format!("unix://{}", file("containerd.sock").display()),
        "resolvConf": file("resolv.conf"), "podLogsDir": file("pods"), "tlsCertFile": file("a.pem"), "tlsPrivateKeyFile": file("a-key.pem"),
    });
    change(&mut config);
    let kubeconfig = json!({
        "apiVersion": "v1", "kind": "Config",
        "clusters": [{"name": "c", "cluster": {
            "server": format!("https://{}", server.address), "certificate-authority": "ca.pem",
        }}],
        "users": [{"name": "u", "user": {"client-certificate": "a.pem", "client-key": "a-key.pem"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    });
    std::fs::write(file("config.yaml"), config.to_string()).unwrap();
    std::fs::write(file("kubeconfig"), kubeconfig.to_string()).unwrap();
    std::fs::write(file("resolv.conf"), "nameserver 127.0.0.1\n").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_kubelet-stand-in"));
    command
        .arg(format!("--config={}", file("config.yaml").display()))
        .arg(format!("--kubeconfig={}", file("kubeconfig").display()))
        .args(["--node-ip=127.0.0.1", "--hostname-override=a", "--v=2"])
        .env("NOTIFY_SOCKET", file("notify.sock"));
    command
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Exit code, and the last line of standard error, in which the folder of the test is `DIR`.
fn ends_with(mut command: Command, folder: &Path) -> (Option<i32>, String) {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap().replace(&folder.display().to_string(), "DIR");
    (output.status.code(), stderr.lines().last().unwrap_or_default().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_registers_holds_its_lease_and_tells_systemd() {
    let server = Server::start();
    runtime::serve(&server.pki.file("containerd.sock"), 0);
    let systemd = UnixDatagram::bind(server.pki.file("notify.sock")).unwrap();
    let mut command = command(&server, free_port(), |_| {});
    let _kubelet = Kubelet(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());

    let client = server.client(Some("admin")).await;
    let nodes: Api<Node> = Api::all(client.clone());
    let mut events = nodes.watch(&WatchParams::default().fields("metadata.name=a"), "0").await.unwrap().boxed();
    let WatchEvent::Added(node) = events.try_next().await.unwrap().unwrap() else { panic!("no node") };
    let status = node.status.unwrap();
    let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let info = status.node_info.unwrap();
    assert_eq!(
        (info.boot_id.as_str(), info.kubelet_version.as_str(), info.container_runtime_version.as_str()),
        (boot_id.trim(), "v1.35.1", "containerd://2.1.4")
    );
    let addresses: Vec<_> =
        status.addresses.unwrap().into_iter().map(|address| (address.type_, address.address)).collect();
    let own = |kind: &str, address: &str| (kind.to_owned(), address.to_owned());
    assert_eq!(addresses, [own("InternalIP", "127.0.0.1"), own("Hostname", "a")]);
    let ready = status.conditions.unwrap().into_iter().find(|condition| condition.type_ == "Ready").unwrap();
    assert_eq!(
        (ready.status.as_str(), ready.message.as_deref().unwrap()),
        (
            "False",
            "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady \
             message:Network plugin returns error: cni plugin not initialized"
        )
    );

    let leases: Api<Lease> = Api::namespaced(client, "kube-node-lease");
    let mut events = leases.watch(&WatchParams::default().fields("metadata.name=a"), "0").await.unwrap().boxed();
    let WatchEvent::Added(lease) = events.try_next().await.unwrap().unwrap() else { panic!("no lease") };
    let spec = lease.spec.unwrap();
    assert_eq!((spec.holder_identity.as_deref(), spec.lease_duration_seconds), (Some("a"), Some(40)));
    assert!(spec.renew_time.is_some());

    let mut told = [0; 64];
    let length = systemd.recv(&mut told).unwrap();
    assert_eq!(&told[..length], b"READY=1");
}

/// Waits for the first state of a pod since that version that is as wanted; none is the pod that is gone.
async fn pod_becomes(
    pods: &Api<Pod>,
    (name, since): (&str, &str),
    wanted: impl Fn(Option<&Pod>) -> bool,
) -> Option<Pod> {
    let params = WatchParams::default().fields(&format!("metadata.name={name}")).timeout(60);
    let mut events = pods.watch(&params, since).await.unwrap().boxed();
    while let Some(event) = events.try_next().await.unwrap() {
        let pod = match event {
            WatchEvent::Added(pod) | WatchEvent::Modified(pod) => Some(pod),
            WatchEvent::Deleted(_) => None,
            other => panic!("{other:?}"),
        };
        if wanted(pod.as_ref()) {
            return pod;
        }
    }
    panic!("not in a minute");
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_of_its_node_run_and_end() {
    let server = Server::start();
    runtime::serve(&server.pki.file("containerd.sock"), 0);
    let mut command = command(&server, free_port(), |_| {});
    let _kubelet = Kubelet(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    let pods: Api<Pod> = Api::default_namespaced(server.client(Some("admin")).await);
    for (name, node, image) in
        [("runs", "a", runtime::IMAGE), ("lacks", "a", "example.invalid/missing:1"), ("elsewhere", "b", runtime::IMAGE)]
    {
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
            "spec": {"nodeName": node, "containers": [{"name": "c", "image": image}]},
        });
        pods.create(&PostParams::default(), &serde_json::from_value(pod).unwrap()).await.unwrap();
    }
    let is_ready = |pod: Option<&Pod>| {
        let status = pod.and_then(|pod| pod.status.clone()).unwrap_or_default();
        status.conditions.iter().flatten().any(|condition| condition.type_ == "Ready" && condition.status == "True")
    };
    let pod = pod_becomes(&pods, ("runs", "0"), is_ready).await.unwrap();
    let container = pod.status.unwrap().container_statuses.unwrap().remove(0);
    assert_eq!((container.container_id.as_deref(), container.ready), (Some("containerd://container"), true));
    let waits = |pod: Option<&Pod>| {
        let status = pod.and_then(|pod| pod.status.clone()).unwrap_or_default();
        let waiting =
            status.container_statuses.into_iter().flatten().filter_map(|status| status.state?.waiting?.reason);
        waiting.into_iter().any(|reason| reason == "ErrImageNeverPull")
    };
    pod_becomes(&pods, ("lacks", "0"), waits).await;
    for name in ["runs", "lacks"] {
        let ending = pods.delete(name, &DeleteParams::default()).await.unwrap().left().unwrap();
        let since = ending.metadata.resource_version.unwrap();
        pod_becomes(&pods, (name, &since), |pod| pod.is_none()).await;
    }
    let elsewhere = pods.get("elsewhere").await.unwrap().status.unwrap();
    assert_eq!(elsewhere.phase.as_deref(), Some("Pending"));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_cgroup_driver_ends_it() {
    let server = Server::start();
    runtime::serve(&server.pki.file("containerd.sock"), 1);
    let folder = server.pki.folder();
    let command = command(&server, free_port(), |_| {});
    let ended = tokio::task::spawn_blocking(move || ends_with(command, &folder)).await.unwrap();
    assert_eq!(
        ended,
        (
            Some(1),
            "error: misconfiguration: kubelet cgroup driver: systemd is different from container runtime cgroup \
             driver: cgroupfs"
                .to_owned()
        )
    );
}

#[test]
fn bad_input_ends_it() {
    let server = Server::start();
    let folder = server.pki.folder();
    let with = |change: fn(&mut Value)| ends_with(command(&server, free_port(), change), &folder);
    let error = |text: &str| (Some(1), format!("error: {text}"));
    assert_eq!(
        with(|config| config["clusterDns"] = json!(["10.96.0.10"])),
        error(
            "failed to load kubelet config: failed to decode kubelet config file DIR/config.yaml: \
             strict decoding error: unknown field \"clusterDns\""
        )
    );
    assert_eq!(
        with(|config| config["resolvConf"] = json!("/nonexistent/resolv.conf")),
        error(
            "failed to load kubelet config: invalid configuration: resolvConf names /nonexistent/resolv.conf, \
             which cannot be read: No such file or directory (os error 2)"
        )
    );
    assert_eq!(
        with(|_| {}),
        error(
            "failed to run kubelet: validate service connection: validate CRI v1 runtime API for endpoint \
             \"unix://DIR/containerd.sock\": cannot connect to unix://DIR/containerd.sock: \
             No such file or directory (os error 2)"
        )
    );
    let mut unknown_flag = command(&server, free_port(), |_| {});
    unknown_flag.arg("--network-plugin=cni");
    assert_eq!(ends_with(unknown_flag, &folder), error("failed to parse kubelet flag: unknown flag: --network-plugin"));
}

#[test]
fn its_version_says_what_it_is() {
    let output = Command::new(env!("CARGO_BIN_EXE_kubelet-stand-in")).arg("--version").output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "Kubernetes v1.35.1 (stand-in)\n");
}
