//! Who may do what by cluster roles, and what reviews say of it.

use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use k8s_openapi::api::authorization::v1::{SelfSubjectAccessReview, SubjectAccessReview};
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use kube::Client;
use kube::api::{Api, ListParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::apiserver::refusal;
use crate::control_plane::Server;

const GROUP: &str = "rbac.authorization.k8s.io";

async fn role(client: &Client, name: &str, rules: Value) -> kube::Result<ClusterRole> {
    let role = json!({
        "apiVersion": format!("{GROUP}/v1"), "kind": "ClusterRole", "metadata": {"name": name}, "rules": rules,
    });
    Api::all(client.clone()).create(&PostParams::default(), &serde_json::from_value(role).unwrap()).await
}

async fn bind(client: &Client, role: &str, user: &str) -> kube::Result<ClusterRoleBinding> {
    let binding = json!({
        "apiVersion": format!("{GROUP}/v1"), "kind": "ClusterRoleBinding", "metadata": {"name": format!("{user}-{role}")},
        "roleRef": {"apiGroup": GROUP, "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": GROUP, "kind": "User", "name": user}],
    });
    Api::all(client.clone()).create(&PostParams::default(), &serde_json::from_value(binding).unwrap()).await
}

async fn may(client: &Client, verb: &str, resource: &str) -> (bool, Option<String>) {
    let attributes = json!({"verb": verb, "group": "", "resource": resource});
    let review: SelfSubjectAccessReview =
        serde_json::from_value(json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes}}))
        .unwrap();
    let reviews: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    let status = reviews.create(&PostParams::default(), &review).await.unwrap().status.unwrap();
    (status.allowed, status.reason)
}

#[tokio::test]
async fn one_who_may_list_nodes_may_nothing_else() {
    let server = Server::inside(|flags| flags);
    let (admin, nobody) = (server.client(Some("admin")).await, server.client(Some("nobody")).await);
    let nodes: Api<Node> = Api::all(nobody.clone());
    assert_eq!(
        refusal(nodes.list(&ListParams::default()).await).2,
        "nodes is forbidden: User \"nobody\" cannot list resource \"nodes\" in API group \"\" at the cluster scope"
    );
    assert_eq!(may(&nobody, "list", "nodes").await, (false, None));
    role(&admin, "lister", json!([{"apiGroups": [""], "resources": ["nodes"], "verbs": ["list"]}])).await.unwrap();
    bind(&admin, "lister", "nobody").await.unwrap();
    assert_eq!(nodes.list(&ListParams::default()).await.unwrap().items.len(), 0);
    let why = "RBAC: allowed by ClusterRoleBinding \"nobody-lister\" of ClusterRole \"lister\" to User \"nobody\"";
    assert_eq!(may(&nobody, "list", "nodes").await, (true, Some(why.to_owned())));
    assert_eq!(may(&nobody, "patch", "nodes").await, (false, None));
    let pods: Api<Pod> = Api::default_namespaced(nobody.clone());
    assert_eq!(
        refusal(pods.list(&ListParams::default()).await).2,
        "pods is forbidden: User \"nobody\" cannot list resource \"pods\" in API group \"\" in the namespace \"default\""
    );
    assert_eq!(may(&admin, "delete", "nodes").await, (true, None));

    let reviews: Api<SelfSubjectReview> = Api::all(nobody);
    let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
    let review: SelfSubjectReview = serde_json::from_value(review).unwrap();
    let user = reviews.create(&PostParams::default(), &review).await.unwrap().status.unwrap().user_info.unwrap();
    assert_eq!(
        (user.username.as_deref(), user.groups),
        (Some("nobody"), Some(vec!["system:authenticated".to_owned()]))
    );
}

#[tokio::test]
async fn the_kubelets_api_is_the_apiservers_once_its_role_is_bound() {
    let server = Server::inside(|flags| flags);
    let admin = server.client(Some("admin")).await;
    let roles: Api<ClusterRole> = Api::all(admin.clone());
    assert!(roles.get_opt("system:kubelet-api-admin").await.unwrap().is_some());
    let review: SubjectAccessReview =
        serde_json::from_value(json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
            "spec": {"user": "kubernetes", "groups": ["system:authenticated"],
                "resourceAttributes": {"verb": "get", "resource": "nodes", "subresource": "proxy", "name": "a"}}}))
        .unwrap();
    let reviews: Api<SubjectAccessReview> = Api::all(admin.clone());
    let allowed = || async { reviews.create(&PostParams::default(), &review).await.unwrap().status.unwrap().allowed };
    assert!(!allowed().await);
    bind(&admin, "system:kubelet-api-admin", "kubernetes").await.unwrap();
    assert!(allowed().await);
    assert_eq!(refusal(bind(&admin, "system:kubelet-api-admin", "kubernetes").await).1, "AlreadyExists");

    let bindings: Api<ClusterRoleBinding> = Api::all(admin);
    let other = Patch::Merge(json!({"roleRef": {"name": "cluster-admin"}}));
    let name = "kubernetes-system:kubelet-api-admin";
    assert_eq!(refusal(bindings.patch(name, &PatchParams::default(), &other).await).0, 422);
}

#[tokio::test]
async fn rights_do_not_grow_by_giving_them() {
    let server = Server::inside(|flags| flags);
    let (admin, nobody) = (server.client(Some("admin")).await, server.client(Some("nobody")).await);
    let roles =
        json!([{"apiGroups": [GROUP], "resources": ["clusterroles", "clusterrolebindings"], "verbs": ["create"]}]);
    role(&admin, "giver", roles.clone()).await.unwrap();
    bind(&admin, "giver", "nobody").await.unwrap();
    role(&nobody, "same", roles).await.unwrap();
    let nodes = json!([{"apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "list"]}]);
    let lacks = "is forbidden: user \"nobody\" (groups=[\"system:authenticated\"]) is attempting to grant RBAC permissions not \
                 currently held:\n";
    assert_eq!(
        refusal(role(&nobody, "nodes", nodes).await).2,
        format!(
            "clusterroles.{GROUP} \"nodes\" {lacks}{{APIGroups:[\"\"], Resources:[\"nodes\"], Verbs:[\"get\" \"list\"]}}"
        )
    );
    let refused = refusal(bind(&nobody, "cluster-admin", "nobody").await);
    assert_eq!(
        refused.2,
        format!(
            "clusterrolebindings.{GROUP} \"nobody-cluster-admin\" {lacks}\
             {{APIGroups:[\"*\"], Resources:[\"*\"], Verbs:[\"*\"]}}\n{{NonResourceURLs:[\"*\"], Verbs:[\"*\"]}}"
        )
    );
    bind(&nobody, "same", "nobody").await.unwrap();
}
