//! Pods, their deletion, evictions and budgets, as the client that nodebake uses sees them.

use futures_util::{StreamExt as _, TryStreamExt as _};
use hyper::Request;
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::{Api, DeleteParams, EvictParams, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use kube::core::Status;
use nodebake_lab_stand_ins::apiserver::flags::Flags;
use nodebake_lab_stand_ins::apiserver::server::Order;
use serde_json::{Value, json};

use crate::apiserver::{node, refusal};
use crate::control_plane::Server;

fn pod(name: &str, node: Option<&str>) -> Pod {
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": "a"}},
        "spec": {"containers": [{"name": "c", "image": "i"}]},
    });
    if let Some(node) = node {
        pod["spec"]["nodeName"] = json!(node);
    }
    serde_json::from_value(pod).unwrap()
}

fn budget(name: &str, spec: &Value) -> PodDisruptionBudget {
    let mut budget = json!({
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": name},
        "spec": {"selector": {"matchLabels": {"app": "a"}}},
    });
    budget["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    serde_json::from_value(budget).unwrap()
}

struct Cluster {
    server: Server,
    pods: Api<Pod>,
    budgets: Api<PodDisruptionBudget>,
    nodes: Api<Node>,
    sets: Api<ReplicaSet>,
}

impl Cluster {
    /// Nodes a and b, both ready.
    async fn with(change: impl FnOnce(Flags) -> Flags) -> Self {
        let server = Server::inside(change);
        let client = server.client(Some("admin")).await;
        let cluster = Self {
            pods: Api::default_namespaced(client.clone()),
            budgets: Api::default_namespaced(client.clone()),
            nodes: Api::all(client.clone()),
            sets: Api::default_namespaced(client),
            server,
        };
        for name in ["a", "b"] {
            let mut ready = serde_json::to_value(node(name)).unwrap();
            ready["status"]["conditions"][0]["status"] = json!("True");
            let ready: Node = serde_json::from_value(ready).unwrap();
            cluster.nodes.create(&PostParams::default(), &ready).await.unwrap();
        }
        cluster
    }

    async fn start() -> Self {
        Self::with(|flags| flags).await
    }

    async fn run(&self, name: &str, node: &str, ready: &str) {
        self.pods.create(&PostParams::default(), &pod(name, Some(node))).await.unwrap();
        let status = json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": ready}]}});
        self.pods.patch_status(name, &PatchParams::default(), &Patch::Strategic(status)).await.unwrap();
    }

    async fn budget(&self, name: &str, spec: Value) {
        self.budgets.create(&PostParams::default(), &budget(name, &spec)).await.unwrap();
    }

    /// Healthy, desired, expected, allowed.
    async fn count(&self, name: &str) -> [i32; 4] {
        let status = self.budgets.get_status(name).await.unwrap().status.unwrap();
        [status.current_healthy, status.desired_healthy, status.expected_pods, status.disruptions_allowed]
    }

    async fn evict(&self, who: &str, name: &str, options: Value) -> kube::Result<Status> {
        let eviction = json!({
            "apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}, "deleteOptions": options,
        });
        let request = Request::post(format!("/api/v1/namespaces/default/pods/{name}/eviction"))
            .header("content-type", "application/json")
            .body(eviction.to_string().into_bytes())
            .unwrap();
        self.server.client(Some(who)).await.request(request).await
    }

    /// Seconds that a pod was given to end, or nothing when it does not end.
    async fn ends_in(&self, name: &str) -> Option<i64> {
        self.pods.get(name).await.unwrap().metadata.deletion_grace_period_seconds
    }

    /// Waits until the pods are as wanted.
    async fn until(&self, wanted: impl Fn(&[Pod]) -> bool) -> Vec<Pod> {
        let start = self.pods.list(&ListParams::default()).await.unwrap();
        let version = start.metadata.resource_version.unwrap();
        let mut events = self.pods.watch(&WatchParams::default().timeout(60), &version).await.unwrap().boxed();
        loop {
            let pods = self.pods.list(&ListParams::default()).await.unwrap().items;
            if wanted(&pods) {
                return pods;
            }
            match events.try_next().await.unwrap() {
                Some(WatchEvent::Error(error)) => panic!("{error:?}"),
                Some(_) => {}
                None => panic!("not in a minute: {pods:?}"),
            }
        }
    }
}

#[tokio::test]
async fn a_pod_ends_when_its_kubelet_says_so() {
    let cluster = Cluster::start().await;
    cluster.run("p", "a", "True").await;
    let deleted = cluster.pods.delete("p", &DeleteParams::default()).await.unwrap().left().unwrap();
    assert_eq!(deleted.metadata.deletion_grace_period_seconds, Some(30));
    assert!(deleted.metadata.deletion_timestamp.is_some());
    cluster.pods.delete("p", &DeleteParams::default().grace_period(5)).await.unwrap();
    assert_eq!(cluster.ends_in("p").await, Some(5));
    let own: Api<Pod> = Api::default_namespaced(cluster.server.client(Some("a")).await);
    let other: Api<Pod> = Api::default_namespaced(cluster.server.client(Some("b")).await);
    let at_once = DeleteParams::default().grace_period(0);
    assert_eq!(
        refusal(other.delete("p", &at_once).await).2,
        "pods \"p\" is forbidden: node \"b\" can only delete pods with spec.nodeName set to itself"
    );
    own.delete("p", &at_once).await.unwrap();
    assert_eq!(cluster.pods.get_opt("p").await.unwrap(), None);

    cluster.pods.create(&PostParams::default(), &pod("nowhere", None)).await.unwrap();
    cluster.pods.delete("nowhere", &DeleteParams::default()).await.unwrap();
    assert_eq!(cluster.pods.get_opt("nowhere").await.unwrap(), None);
}

#[tokio::test]
async fn finalizers_hold_and_preconditions_and_dry_runs_spare() {
    let cluster = Cluster::start().await;
    cluster.run("p", "a", "True").await;
    let hold = Patch::Merge(json!({"metadata": {"finalizers": ["example.com/hold"]}}));
    cluster.pods.patch("p", &PatchParams::default(), &hold).await.unwrap();
    let at_once = DeleteParams::default().grace_period(0);
    cluster.pods.delete("p", &at_once.clone().dry_run()).await.unwrap();
    assert_eq!(cluster.ends_in("p").await, None);
    let other = DeleteParams::default()
        .preconditions(kube::api::Preconditions { uid: Some("other".to_owned()), resource_version: None });
    assert_eq!(refusal(cluster.pods.delete("p", &other).await).0, 409);
    cluster.pods.delete("p", &at_once).await.unwrap();
    assert_eq!(cluster.ends_in("p").await, Some(0));
    let more = Patch::Merge(json!({"metadata": {"finalizers": ["example.com/hold", "example.com/more"]}}));
    assert_eq!(refusal(cluster.pods.patch("p", &PatchParams::default(), &more).await).0, 422);
    let let_go = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    cluster.pods.patch("p", &PatchParams::default(), &let_go).await.unwrap();
    assert_eq!(cluster.pods.get_opt("p").await.unwrap(), None);
}

#[tokio::test]
async fn lists_select_by_node_phase_and_label() {
    let cluster = Cluster::start().await;
    cluster.run("p", "a", "True").await;
    cluster.run("q", "b", "True").await;
    cluster.pods.create(&PostParams::default(), &pod("r", Some("a"))).await.unwrap();
    for (fields, labels, want) in [
        ("spec.nodeName=a", "", &["p", "r"][..]),
        ("spec.nodeName=a,status.phase=Running", "", &["p"]),
        ("status.phase!=Running", "app=a", &["r"]),
        ("metadata.name=q", "app in (a,b)", &["q"]),
        ("", "app=b", &[]),
    ] {
        let params = ListParams::default().fields(fields).labels(labels);
        let found = cluster.pods.list(&params).await.unwrap().items;
        let names: Vec<_> = found.into_iter().map(|pod| pod.metadata.name.unwrap()).collect();
        assert_eq!(names, want, "{fields} {labels}");
    }
    let unknown = ListParams::default().fields("spec.hostname=x");
    assert_eq!(refusal(cluster.pods.list(&unknown).await).2, "field label not supported: spec.hostname");
}

#[tokio::test]
async fn a_budget_lets_one_go_at_a_time() {
    let cluster = Cluster::start().await;
    cluster.run("p", "a", "True").await;
    cluster.run("q", "b", "True").await;
    cluster.budget("one", json!({"minAvailable": 1})).await;
    assert_eq!(cluster.count("one").await, [2, 1, 2, 1]);

    cluster.evict("admin", "p", json!({"dryRun": ["All"]})).await.unwrap();
    assert_eq!((cluster.count("one").await, cluster.ends_in("p").await), ([2, 1, 2, 1], None));
    let done = cluster.evict("admin", "p", json!({"gracePeriodSeconds": 7})).await.unwrap();
    assert_eq!(done.code, 201);
    assert_eq!((cluster.count("one").await, cluster.ends_in("p").await), ([1, 1, 2, 0], Some(7)));
    let conditions = cluster.pods.get("p").await.unwrap().status.unwrap().conditions.unwrap();
    let target = conditions.into_iter().find(|condition| condition.type_ == "DisruptionTarget").unwrap();
    assert_eq!(target.reason.as_deref(), Some("EvictionByEvictionAPI"));

    let Err(kube::Error::Api(status)) = cluster.evict("admin", "q", Value::Null).await else { panic!("evicted") };
    assert_eq!((status.code, status.reason.as_str()), (429, "TooManyRequests"));
    assert_eq!(status.message, "Cannot evict pod as it would violate the pod's disruption budget.");
    let details = status.details.unwrap();
    assert_eq!(details.retry_after_seconds, 0);
    assert_eq!(
        (details.causes[0].reason.as_str(), details.causes[0].message.as_str()),
        ("DisruptionBudget", "The disruption budget one needs 1 healthy pods and has 1 currently")
    );
    // One that ends already goes on ending; nothing is taken from the budget.
    cluster.evict("admin", "p", Value::Null).await.unwrap();
    assert_eq!(cluster.ends_in("p").await, Some(7));
    cluster.pods.delete("p", &DeleteParams::default().grace_period(0)).await.unwrap();
    cluster.run("r", "b", "True").await;
    assert_eq!(cluster.count("one").await, [2, 1, 2, 1]);
    cluster.evict("admin", "q", Value::Null).await.unwrap();
    assert_eq!(cluster.ends_in("q").await, Some(30));
}

#[tokio::test]
async fn budgets_have_no_say_in_pods_that_are_not_healthy() {
    let cluster = Cluster::start().await;
    cluster.run("ready", "a", "True").await;
    cluster.run("unready", "a", "False").await;
    cluster.pods.create(&PostParams::default(), &pod("pending", Some("a"))).await.unwrap();
    cluster.budget("all", json!({"minAvailable": 1})).await;
    for name in ["unready", "pending"] {
        cluster.evict("admin", name, Value::Null).await.unwrap();
        assert_eq!(cluster.ends_in(name).await, Some(30), "{name}");
    }
    assert_eq!(refusal(cluster.evict("admin", "ready", Value::Null).await).0, 429);
    let done = Patch::Strategic(json!({"status": {"phase": "Succeeded"}}));
    cluster.pods.patch_status("ready", &PatchParams::default(), &done).await.unwrap();
    cluster.evict("admin", "ready", Value::Null).await.unwrap();
    assert_eq!(cluster.pods.get_opt("ready").await.unwrap(), None);
}

#[tokio::test]
async fn two_budgets_are_an_error_and_one_that_is_not_counted_yet_asks_for_patience() {
    let cluster = Cluster::start().await;
    cluster.run("p", "a", "True").await;
    cluster.server.obey(&Order::RestBudgets);
    cluster.budget("one", json!({"minAvailable": 0})).await;
    let Err(kube::Error::Api(status)) = cluster.evict("admin", "p", Value::Null).await else { panic!("evicted") };
    let details = status.details.unwrap();
    assert_eq!((status.code, details.retry_after_seconds), (429, 10));
    assert_eq!(details.causes[0].message, "The disruption budget one is still being processed by the server.");
    cluster.server.obey(&Order::SettleBudgets);

    cluster.budget("two", json!({"minAvailable": 0})).await;
    assert_eq!(
        refusal(cluster.evict("admin", "p", Value::Null).await),
        (
            500,
            String::new(),
            "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
                .to_owned()
        )
    );
    cluster.budgets.delete("two", &DeleteParams::default()).await.unwrap();
    assert_eq!(refusal(cluster.evict("admin", "none", Value::Null).await).0, 404);
    // As with the real one, what is refused by a precondition was taken from the budget before, for two minutes.
    let other = json!({"preconditions": {"uid": "other"}});
    assert_eq!(cluster.count("one").await, [1, 0, 1, 1]);
    assert_eq!(refusal(cluster.evict("admin", "p", other).await).0, 409);
    assert_eq!(cluster.count("one").await, [0, 0, 1, 0]);
    cluster.budgets.delete("one", &DeleteParams::default()).await.unwrap();
    assert_eq!(
        refusal(cluster.evict("b", "p", Value::Null).await).2,
        "pods \"p\" is forbidden: node b can only evict pods with spec.nodeName set to itself"
    );
    cluster.evict("a", "p", Value::Null).await.unwrap();
}

/// kube 5 writes `delete_options`, which no apiserver knows: grace period and preconditions do not arrive.
#[tokio::test]
async fn the_client_s_own_eviction_loses_its_options() {
    let cluster = Cluster::start().await;
    cluster.run("p", "a", "True").await;
    let params =
        EvictParams { delete_options: Some(DeleteParams::default().grace_period(1)), ..EvictParams::default() };
    cluster.pods.evict("p", &params).await.unwrap();
    assert_eq!(cluster.ends_in("p").await, Some(30));
}

#[tokio::test]
async fn pods_of_a_replica_set_come_back_on_another_node() {
    let cluster = Cluster::with(|flags| Flags { replicaset_controller: true, pods_become_ready: true, ..flags }).await;
    let labels = json!({"app": "a"});
    let set = json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": "rs"},
        "spec": {
            "replicas": 2, "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "i"}]}},
        },
    });
    cluster.sets.create(&PostParams::default(), &serde_json::from_value(set).unwrap()).await.unwrap();
    let ready = |pod: &Pod| {
        let conditions = pod.status.as_ref().and_then(|status| status.conditions.clone()).unwrap_or_default();
        conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
    };
    let nodes = |pods: &[Pod]| {
        let nodes = pods.iter().filter(|pod| ready(pod));
        let mut nodes: Vec<_> =
            nodes.filter_map(|pod| Some((pod.spec.as_ref()?.node_name.clone()?, pod.metadata.name.clone()?))).collect();
        nodes.sort();
        nodes
    };
    let pods = cluster.until(|pods| nodes(pods).len() == 2).await;
    let before = nodes(&pods);
    assert_eq!(before.iter().map(|(node, _)| node.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    cluster.budget("one", json!({"maxUnavailable": 1})).await;
    cluster.nodes.cordon("a").await.unwrap();
    cluster.evict("admin", &before[0].1, Value::Null).await.unwrap();
    let pods = cluster.until(|pods| pods.len() == 2 && nodes(pods).iter().all(|(node, _)| node == "b")).await;
    assert!(nodes(&pods).iter().all(|(_, name)| *name != before[0].1));
    assert_eq!(cluster.count("one").await, [2, 1, 2, 1]);
    let taints = cluster.nodes.get("a").await.unwrap().spec.unwrap().taints.unwrap();
    let taints: Vec<_> = taints.into_iter().map(|taint| taint.key).collect();
    assert_eq!(taints, ["node.kubernetes.io/unschedulable"]);

    cluster.sets.delete("rs", &DeleteParams::default()).await.unwrap();
    cluster.until(<[Pod]>::is_empty).await;
}
