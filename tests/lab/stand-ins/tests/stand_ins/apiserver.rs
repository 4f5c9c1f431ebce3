//! The apiserver stand-in's executable, driven by the client that nodebake uses: who may do what, conflicts, watches.

use std::path::Path;
use std::process::Command;

use futures_util::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Node;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use serde_json::{Value, json};

use crate::control_plane::{Pki, Server};

impl Server {
    async fn nodes(&self, who: &str) -> Api<Node> {
        Api::all(self.client(Some(who)).await)
    }

    async fn leases(&self, who: &str) -> Api<Lease> {
        Api::namespaced(self.client(Some(who)).await, "kube-node-lease")
    }
}

pub fn node(name: &str) -> Node {
    serde_json::from_value(json!({
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        "status": {
            "addresses": [{"type": "InternalIP", "address": "10.0.0.36"}],
            "conditions": [{"type": "Ready", "status": "False", "reason": "KubeletNotReady"}],
        },
    }))
    .unwrap()
}

fn lease(name: &str) -> Lease {
    serde_json::from_value(json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": name},
        "spec": {"holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": "2026-01-01T00:00:00.000001Z"},
    }))
    .unwrap()
}

pub fn refusal<T>(result: kube::Result<T>) -> (u16, String, String) {
    match result {
        Err(kube::Error::Api(status)) => (status.code, status.reason.clone(), status.message.clone()),
        Err(other) => panic!("another error: {other}"),
        Ok(_) => panic!("no error"),
    }
}

fn log_lines(path: &Path) -> Vec<Value> {
    std::fs::read_to_string(path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn a_node_registers_itself_and_nobody_else() {
    let server = Server::start();
    let (own, other) = (server.nodes("a").await, server.nodes("b").await);
    let created = own.create(&PostParams::default(), &node("a")).await.unwrap();
    let spec = created.spec.unwrap();
    assert_eq!(spec.pod_cidr.as_deref(), Some("10.200.0.0/24"));
    assert_eq!(spec.taints.unwrap()[0].key, "node.kubernetes.io/not-ready");
    assert!(created.metadata.uid.is_some() && created.metadata.creation_timestamp.is_some());

    let forbidden = |message: &str| (403, "Forbidden".to_owned(), message.to_owned());
    let patch = Patch::Strategic(json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}}));
    assert_eq!(
        refusal(other.create(&PostParams::default(), &node("a")).await),
        forbidden("nodes \"a\" is forbidden: node \"b\" is not allowed to modify node \"a\"")
    );
    assert_eq!(
        refusal(other.patch_status("a", &PatchParams::default(), &patch).await),
        forbidden("nodes \"a\" is forbidden: node \"b\" is not allowed to modify node \"a\"")
    );
    assert_eq!(
        refusal(other.get("a").await),
        forbidden(
            "nodes \"a\" is forbidden: User \"system:node:b\" cannot get resource \"nodes\" in API group \"\" \
             at the cluster scope: node 'b' cannot read 'a', only its own Node object"
        )
    );
    assert_eq!(
        refusal(own.delete("a", &DeleteParams::default()).await),
        forbidden(
            "nodes \"a\" is forbidden: User \"system:node:a\" cannot delete resource \"nodes\" in API group \"\" \
             at the cluster scope"
        )
    );
    let role = Patch::Merge(json!({"metadata": {"labels": {"node-role.kubernetes.io/worker": ""}}}));
    assert_eq!(
        refusal(own.patch("a", &PatchParams::default(), &role).await),
        forbidden("nodes \"a\" is forbidden: is not allowed to modify labels: node-role.kubernetes.io/worker")
    );

    let patched = own.patch_status("a", &PatchParams::default(), &patch).await.unwrap();
    let conditions = patched.status.unwrap().conditions.unwrap();
    assert_eq!((conditions.len(), conditions[0].status.as_str()), (1, "True"));
    let admin = server.nodes("admin").await;
    admin.patch("a", &PatchParams::default(), &role).await.unwrap();
    assert_eq!(admin.list(&ListParams::default()).await.unwrap().items.len(), 1);
    assert_eq!(refusal(admin.create(&PostParams::default(), &node("a")).await).1, "AlreadyExists");
    assert_eq!(refusal(server.nodes("nobody").await.list(&ListParams::default()).await).0, 403);
}

#[tokio::test]
async fn leases_are_renewed_by_their_node_and_stale_writes_conflict() {
    let server = Server::start();
    let (own, other) = (server.leases("a").await, server.leases("b").await);
    assert_eq!(
        refusal(own.get("a").await),
        (404, "NotFound".to_owned(), "leases.coordination.k8s.io \"a\" not found".to_owned())
    );
    let first = own.create(&PostParams::default(), &lease("a")).await.unwrap();
    assert_eq!(refusal(other.create(&PostParams::default(), &lease("a")).await).0, 403);
    assert_eq!(refusal(other.replace("a", &PostParams::default(), &first).await).0, 403);

    let mut second = first.clone();
    second.spec.as_mut().unwrap().lease_duration_seconds = Some(41);
    own.replace("a", &PostParams::default(), &second).await.unwrap();
    second.spec.as_mut().unwrap().lease_duration_seconds = Some(42);
    assert_eq!(
        refusal(own.replace("a", &PostParams::default(), &second).await),
        (
            409,
            "Conflict".to_owned(),
            "Operation cannot be fulfilled on leases.coordination.k8s.io \"a\": the object has been modified; \
             please apply your changes to the latest version and try again"
                .to_owned()
        )
    );
    assert_eq!(refusal(own.replace("a", &PostParams::default(), &lease("a")).await).0, 422);
    let admin: Api<Lease> = Api::all(server.client(Some("admin")).await);
    let listed = admin.list(&ListParams::default()).await.unwrap();
    assert_eq!(listed.items[0].spec.as_ref().unwrap().lease_duration_seconds, Some(41));
}

#[tokio::test]
async fn a_watch_tells_what_happens_and_refuses_the_forgotten_past() {
    let server = Server::start();
    let nodes = server.nodes("admin").await;
    let start = nodes.list(&ListParams::default()).await.unwrap().metadata.resource_version.unwrap();
    let params = WatchParams::default().fields("metadata.name=a").timeout(60);
    let mut events = nodes.watch(&params, &start).await.unwrap().boxed();
    for name in ["b", "a"] {
        nodes.create(&PostParams::default(), &node(name)).await.unwrap();
    }
    let patch = Patch::Merge(json!({"spec": {"unschedulable": true}}));
    nodes.patch("a", &PatchParams::default(), &patch).await.unwrap();
    nodes.delete("a", &DeleteParams::default()).await.unwrap();
    let mut seen = Vec::new();
    while seen.len() < 3 {
        seen.push(match events.try_next().await.unwrap().unwrap() {
            WatchEvent::Added(node) => ("added", node.metadata.name.unwrap()),
            WatchEvent::Modified(node) => ("modified", node.metadata.name.unwrap()),
            WatchEvent::Deleted(node) => ("deleted", node.metadata.name.unwrap()),
            other => panic!("{other:?}"),
        });
    }
    assert_eq!(seen, ["added", "modified", "deleted"].map(|kind| (kind, "a".to_owned())));

    let mut events = nodes.watch(&WatchParams::default(), "1").await.unwrap().boxed();
    match events.try_next().await.unwrap().unwrap() {
        WatchEvent::Error(status) => assert_eq!((status.code, status.reason.as_str()), (410, "Expired")),
        other => panic!("{other:?}"),
    }
    assert!(events.try_next().await.unwrap().is_none());
}

#[tokio::test]
async fn the_watcher_of_kube_follows_a_node() {
    use kube::runtime::watcher::{Config, Event, watcher};
    let server = Server::start();
    let nodes = server.nodes("admin").await;
    nodes.create(&PostParams::default(), &node("a")).await.unwrap();
    for config in [Config::default(), Config::default().streaming_lists()] {
        let mut events = watcher(nodes.clone(), config).boxed();
        let mut names = Vec::new();
        loop {
            match events.try_next().await.unwrap().unwrap() {
                Event::InitApply(node) => names.push(node.metadata.name.unwrap()),
                Event::InitDone => break,
                Event::Init => {}
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(names, ["a"]);
        let patch = Patch::Merge(json!({"metadata": {"annotations": {"seen": names.len().to_string()}}}));
        nodes.patch("a", &PatchParams::default(), &patch).await.unwrap();
    }
}

/// What nodebake does with the administrator's kubeconfig, and what a second time finds nothing to do.
#[test]
fn labels_and_taints_are_given_and_others_stay() {
    use nodebake::cluster::{Cluster, Metadata};
    let server = Server::start();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let nodes = runtime.block_on(server.nodes("admin"));
    let mut there = node("a");
    there.spec = serde_json::from_value(json!({"taints": [{"key": "other", "effect": "NoExecute"}]})).unwrap();
    runtime.block_on(nodes.create(&PostParams::default(), &there)).unwrap();
    let path = server.pki.file("kubeconfig");
    std::fs::write(&path, server.kubeconfig(Some("admin")).to_string()).unwrap();
    let cluster = Cluster::open(&path).unwrap();
    let name = "a".parse().unwrap();
    let wanted = Metadata {
        labels: [("node-role.kubernetes.io/worker".to_owned(), String::new())].into(),
        taints: [(("own".to_owned(), nodebake::config::TaintEffect::NoSchedule), "1".to_owned())].into(),
    };
    assert!(cluster.give(&name, &wanted).unwrap());
    let before = runtime.block_on(nodes.get("a")).unwrap();
    assert!(!cluster.give(&name, &wanted).unwrap());
    let given = runtime.block_on(nodes.get("a")).unwrap();
    assert_eq!(given.metadata.resource_version, before.metadata.resource_version);
    let labels = [("kubernetes.io/hostname", "a"), ("node-role.kubernetes.io/worker", "")];
    let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    assert_eq!(given.metadata.labels, Some(labels));
    let taints = serde_json::to_value(given.spec.unwrap().taints).unwrap();
    let not_ready = json!({"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"});
    let taints: Vec<_> = taints.as_array().unwrap().iter().filter(|taint| **taint != not_ready).collect();
    let own = json!({"key": "own", "effect": "NoSchedule", "value": "1"});
    assert_eq!(taints, [&json!({"key": "other", "effect": "NoExecute"}), &own]);
}

#[tokio::test]
async fn every_request_is_recorded_with_its_certificate() {
    let server = Server::start();
    let nodes = server.nodes("a").await;
    nodes.create(&PostParams::default(), &node("a")).await.unwrap();
    let anonymous: Api<Node> = Api::all(server.client(None).await);
    assert_eq!(refusal(anonymous.list(&ListParams::default()).await).0, 401);
    let lines = log_lines(&server.pki.file("requests.jsonl"));
    let facts: Vec<Value> = lines
        .iter()
        .map(|line| {
            assert!(line["remote"].as_str().unwrap().starts_with("127.0.0.1:"));
            assert!(line["time"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok());
            json!([line["user"], line["groups"], line["serial"], line["verb"], line["method"], line["code"]])
        })
        .collect();
    assert_eq!(
        facts,
        [
            json!(["system:node:a", ["system:nodes", "system:authenticated"], "abcd", "create", "POST", 201]),
            json!(["", [], "", "list", "GET", 401]),
        ]
    );
}

#[tokio::test]
async fn a_certificate_of_another_ca_is_turned_away() {
    let server = Server::start();
    let stranger = Pki::new();
    stranger.issue("admin", "admin", Some("system:masters"));
    for name in ["admin.pem", "admin-key.pem"] {
        std::fs::copy(stranger.file(name), server.pki.file(name)).unwrap();
    }
    let error = server.nodes("admin").await.list(&ListParams::default()).await.unwrap_err();
    assert!(!matches!(error, kube::Error::Api(_)), "{error}");
    // The client hears of the refusal before the server has written it down.
    let log = server.pki.file("requests.jsonl");
    let written = async {
        while log_lines(&log).is_empty() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), written).await.unwrap();
    let lines = log_lines(&log);
    assert!(lines.iter().all(|line| line["verb"] == "tls-handshake" && line["code"] == 0), "{lines:?}");
}

#[test]
fn unusable_files_end_it_with_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing.pem");
    let output = Command::new(env!("CARGO_BIN_EXE_kube-apiserver-stand-in"))
        .args(["--listen", "127.0.0.1:0"])
        .args(["--tls-cert", "--tls-key", "--client-ca"].into_iter().flat_map(|flag| [Path::new(flag), &missing]))
        .arg("--log")
        .arg(folder.path().join("log"))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8(output.stderr).unwrap();
    let last = stderr.lines().last().unwrap();
    assert!(
        last.starts_with(&format!(
            "error: the TLS files cannot be used: cannot read certificate {}",
            missing.display()
        )),
        "{last}"
    );
}
