//! What is asked of the cluster and made there, against the lab's apiserver, which knows users by their certificates and
//! roles by RBAC's rules.

use std::fs;

use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use nodebake_lab_stand_ins::apiserver::flags::Flags;
use nodebake_lab_stand_ins::apiserver::testing::Server;
use serde_json::{Value, json};

use crate::daemon::Daemon;
use crate::doctoring::issue;
use crate::world::{Ran, World};

const NODE: &str = "worker-node-1";
const BINDING: &str = "kube-apiserver-kubelet-admin";
const GROUP: &str = "rbac.authorization.k8s.io";
/// The `ClusterRole` that users are told to make.
const PAGE: &str = include_str!("../../docs/cluster.md");

/// A locked cluster with small machines, and an apiserver that it is asked to be let in at.
struct Lab {
    daemon: Daemon,
    world: World,
    server: Server,
    runtime: tokio::runtime::Runtime,
}

impl Lab {
    fn new() -> Self {
        let (daemon, world) = (Daemon::start(), World::locked());
        for (from, to) in [
            ("uri: test:///default", format!("uri: {}", daemon.uri)),
            ("memory: 4GiB", "memory: 512MiB".to_owned()),
            // Whatever answers at the addresses of the example in this machine's network.
            ("apiServer: https://10.0.0.4:6443", "apiServer: https://apiserver.invalid:6443".to_owned()),
            (
                "  pki: pki\n",
                "  pki: pki\n  kubeconfig: user.kubeconfig\n  kubeletClientUser: kube-apiserver\n".to_owned(),
            ),
        ] {
            world.edit(from, &to);
        }
        issue(&world, "server", "ca", "IP:127.0.0.1");
        let pki = world.path("pki");
        let flags = Flags::local(
            pki.join("server.pem"),
            pki.join("server-key.pem"),
            pki.join("ca.pem"),
            world.path("requests.jsonl"),
        );
        let server = Server::start(&flags).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let lab = Self { daemon, world, server, runtime };
        lab.user("root", "/O=system:masters/CN=root");
        lab.user("ann", "/CN=ann");
        lab
    }

    /// Makes NAME.kubeconfig.
    fn user(&self, name: &str, subject: &str) {
        let world = &self.world;
        let (key, certificate) = (format!("{name}-key.pem"), format!("{name}.pem"));
        world.openssl(&["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", &key]);
        world.openssl(&["req", "-new", "-key", &key, "-subj", subject, "-out", "request.pem"]);
        fs::write(world.path("pki/usage"), "extendedKeyUsage=clientAuth\n").unwrap();
        let sign = ["x509", "-req", "-in", "request.pem", "-CA", "ca.pem", "-CAkey", "ca-key.pem", "-CAcreateserial"];
        world.openssl(&[&sign[..], &["-days", "365", "-extfile", "usage", "-out", &certificate]].concat());
        let file = |name: &str| world.path("pki").join(name);
        let kubeconfig = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": name,
            "clusters": [{"name": "seed", "cluster": {
                "server": format!("https://{}", self.server.address()), "certificate-authority": file("ca.pem"),
            }}],
            "users": [{"name": name, "user": {"client-certificate": file(&certificate), "client-key": file(&key)}}],
            "contexts": [{"name": name, "context": {"cluster": "seed", "user": name}}],
        });
        world.write_key(&format!("{name}.kubeconfig"), kubeconfig.to_string().as_bytes());
    }

    /// From now on the cluster file's kubeconfig is that of another user.
    fn as_user(&self, name: &str) {
        let kubeconfig = self.world.read(&format!("{name}.kubeconfig"));
        self.world.write_key("user.kubeconfig", kubeconfig.as_bytes());
    }

    /// Does something as the administrator, by a client of its own.
    fn administer<T, F: Future<Output = T>>(&self, work: impl FnOnce(kube::Client) -> F) -> T {
        let file = Kubeconfig::read_from(self.world.path("root.kubeconfig")).unwrap();
        self.runtime.block_on(async {
            let config = kube::Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.unwrap();
            work(kube::Client::try_from(config).unwrap()).await
        })
    }

    /// Makes a binding of users to a role, in place of one of that name.
    fn bind(&self, name: &str, role: &str, users: &[&str], by: &str) {
        let subjects: Vec<Value> =
            users.iter().map(|name| json!({"apiGroup": GROUP, "kind": "User", "name": name})).collect();
        let binding = serde_json::from_value(json!({
            "metadata": {"name": name, "labels": {"app.kubernetes.io/managed-by": by}},
            "roleRef": {"apiGroup": GROUP, "kind": "ClusterRole", "name": role}, "subjects": subjects,
        }));
        self.unbind(name);
        self.administer(|client| async move {
            let bindings: Api<ClusterRoleBinding> = Api::all(client);
            bindings.create(&PostParams::default(), &binding.unwrap()).await.unwrap();
        });
    }

    fn unbind(&self, name: &str) {
        self.administer(|client| async move {
            let bindings: Api<ClusterRoleBinding> = Api::all(client);
            let _ = bindings.delete(name, &DeleteParams::default()).await;
        });
    }

    /// Whom a binding gives what, and who manages it.
    fn bound(&self) -> Option<Value> {
        let found = self.administer(|client| async move {
            let bindings: Api<ClusterRoleBinding> = Api::all(client);
            bindings.get_opt(BINDING).await.unwrap()
        })?;
        let users: Vec<_> = found.subjects.iter().flatten().map(|subject| subject.name.clone()).collect();
        let by = found.metadata.labels.unwrap_or_default().remove("app.kubernetes.io/managed-by");
        Some(json!([found.role_ref.name, users, by]))
    }

    /// What `doctor` finds of these checks: status, found, fix.
    fn doctor(&self, checks: &[&str]) -> Vec<Value> {
        let ran = self.world.run(&["doctor", "-o", "json"]);
        let document: Value = serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"));
        let all = document["findings"].as_array().unwrap();
        let asked = all.iter().filter(|row| checks.contains(&row["check"].as_str().unwrap()));
        asked.map(|row| json!([row["status"], row["found"], row["fix"]])).collect()
    }

    /// The row of the plan that is about the binding, and all that is said beside the plan.
    fn planned(&self) -> (Value, String) {
        let Ran { stdout, stderr, .. } = self.world.run(&["plan", "-o", "json"]);
        let document: Value = serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}: {stdout}{stderr}"));
        let rows = document["plan"].as_array().unwrap().iter().filter(|row| row["kind"] == "binding");
        (rows.cloned().collect(), stderr)
    }

    /// What `up` says of the binding. Its machine has nothing to boot, so it gives that up.
    fn up(&self) -> Vec<String> {
        let ran = self.world.run(&["up", NODE, "--stall", "1"]);
        assert_eq!(ran.code, 5, "{ran:?}");
        ran.stderr.lines().filter(|line| line.contains("ClusterRoleBinding")).map(str::to_owned).collect()
    }
}

fn row(action: &str, command: Option<&str>, reasons: &[&str]) -> (Value, String) {
    let row = json!({"kind": "binding", "name": BINDING, "action": action, "command": command, "reasons": reasons});
    (json!([row]), String::new())
}

#[test]
fn the_apiserver_is_let_into_the_kubelets_where_that_is_asked_for() {
    let lab = Lab::new();
    if !lab.daemon.root {
        return;
    }
    lab.as_user("root");
    let lets = "lets kube-apiserver into the kubelets for logs and exec";
    let role = "system:kubelet-api-admin";
    let check = || lab.doctor(&["kubelet-client"]);
    let named = format!("ClusterRoleBinding {BINDING}");
    let well = vec![json!(["ok", format!("{named} lets kube-apiserver into the kubelets"), null])];

    assert_eq!(lab.planned(), row("create", Some("up"), &[lets]));
    let missing = format!("{named} is not there yet; `up` makes it for kube-apiserver");
    assert_eq!((check(), lab.bound()), (vec![json!(["ok", missing, null])], None));
    assert_eq!(lab.up(), [format!("made {named}: {lets}")]);
    assert_eq!(lab.bound(), Some(json!([role, ["kube-apiserver"], "nodebake"])));
    assert_eq!((lab.planned(), check()), (row("nothing", None, &[]), well.clone()));
    assert_eq!(lab.up(), [""; 0]);

    // Ours follows the cluster file.
    lab.bind(BINDING, role, &["kubernetes"], "nodebake");
    let instead = format!("{lets} in place of kubernetes");
    let binds = format!("{named} binds kubernetes; `up` has it bind kube-apiserver");
    assert_eq!((lab.planned(), check()), (row("change", Some("up"), &[&instead]), vec![json!(["ok", binds, null])]));
    assert_eq!(lab.up(), [format!("changed {named}: {lets}")]);
    assert_eq!(lab.bound(), Some(json!([role, ["kube-apiserver"], "nodebake"])));

    // Another's that does what is asked for is good as it is; all else of others stays, and so does the role of any.
    lab.bind(BINDING, role, &["kubernetes", "kube-apiserver"], "Helm");
    assert_eq!((lab.planned(), check(), lab.up()), (row("nothing", None, &[]), well, vec![]));
    for (role, users, by, how) in [
        (role, &["kubernetes"][..], "Helm", "it binds kubernetes, and is not nodebake's"),
        ("cluster-admin", &["kube-apiserver"], "nodebake", "it gives ClusterRole cluster-admin to kube-apiserver"),
    ] {
        lab.bind(BINDING, role, users, by);
        let fix = format!(
            "if it is not needed, have `up` make it anew after: kubectl delete clusterrolebinding {BINDING}; or bind the user \
             under another name, and leave cluster.kubeletClientUser out: kubectl create clusterrolebinding NAME \
             --clusterrole=system:kubelet-api-admin --user=kube-apiserver"
        );
        let found = format!("{named} does not let kube-apiserver into the kubelets: {how}");
        assert_eq!((lab.planned(), check()), (row("differs", None, &[how]), vec![json!(["warning", found, fix])]));
        assert_eq!(lab.up(), [format!("warning: {named} was left as it is: {how}; {fix}")]);
        assert_eq!(lab.bound(), Some(json!([role, users, by])));
    }
}

#[test]
fn whose_certificates_the_apiserver_takes_is_found_out() {
    let lab = Lab::new();
    if !lab.daemon.root {
        return;
    }
    lab.as_user("root");
    let check = || lab.doctor(&["client-ca"]);
    assert_eq!(check(), [json!(["ok", "the apiserver lets clients in that the CA in ca.pem signed", null])]);

    // As if it had been started with another CA's file.
    let another = String::from_utf8(crate::world::new_authority("365").0).unwrap();
    lab.administer(|client| async move {
        let maps: Api<ConfigMap> = Api::namespaced(client, "kube-system");
        let patch = Patch::Merge(json!({"data": {"client-ca-file": another}}));
        maps.patch("extension-apiserver-authentication", &PatchParams::default(), &patch).await.unwrap();
    });
    let fix =
        "put the CA of that cluster into the pki folder, or add ca.pem to the file of the apiserver's --client-ca-file";
    let found = "the apiserver lets clients of another CA in, and would refuse the nodes: theirs are signed by the one in ca.pem";
    assert_eq!(check(), [json!(["failure", found, fix])]);

    lab.as_user("ann");
    assert_eq!(check(), [json!(["skipped", "the apiserver does not tell whose clients it lets in", null])]);
}

#[test]
fn what_a_user_may_not_do_is_told_with_the_verbs_that_need_it() {
    let lab = Lab::new();
    if !lab.daemon.root {
        return;
    }
    let rights = || lab.doctor(&["rights"]);
    lab.as_user("root");
    assert_eq!(rights(), [json!(["ok", "root is in system:masters, and may do everything", null])]);
    let versions = [json!(["ok", "kubelet 1.35.1, apiserver 1.35.1+stand-in", null])];
    assert_eq!(lab.doctor(&["version-skew"]), versions);

    // Nobody gave him anything.
    lab.as_user("ann");
    let fix = "grant it by a ClusterRole (docs/cluster.md has one), or have cluster.kubeconfig name an administrator's: \
               `nodebake kubeconfig` makes one";
    let lacks = |status: &str, what: &str| json!([status, format!("ann may not {what} need that"), fix]);
    let joining = "list and watch nodes, list and watch leases.coordination.k8s.io in kube-node-lease; `up`, `plan`, `status` \
                   and `wait`";
    let binding = "get and patch clusterrolebindings.rbac.authorization.k8s.io kube-apiserver-kubelet-admin, create \
                   clusterrolebindings.rbac.authorization.k8s.io, bind clusterroles.rbac.authorization.k8s.io \
                   system:kubelet-api-admin; `up` for cluster.kubeletClientUser";
    let leaving = "delete nodes, list and watch pods, create pods/eviction, get persistentvolumeclaims, get \
                   persistentvolumes, list and watch volumeattachments.storage.k8s.io; `rebuild` and `remove`";
    let all = [
        lacks("failure", joining),
        lacks("warning", "get and patch nodes; `rebuild`, `remove`, and `up` for labels and taints"),
        lacks("warning", leaving),
        lacks("warning", binding),
    ];
    assert_eq!(rights(), all);

    let (_, role) = PAGE.split_once("```yaml\n").unwrap();
    let role: ClusterRole = serde_yaml::from_str(role.split_once("```").unwrap().0).unwrap();
    let given = role.clone();
    lab.administer(|client| async move {
        let roles: Api<ClusterRole> = Api::all(client.clone());
        roles.create(&PostParams::default(), &given).await.unwrap();
    });
    lab.bind("ann", "nodebake", &["ann"], "kubectl");
    assert_eq!(rights(), [json!(["ok", "ann may do all that nodebake asks for", null])]);
    // And that is enough for what needs it most: a right that he does not have himself.
    let lets = "lets kube-apiserver into the kubelets for logs and exec";
    assert_eq!(lab.up(), [format!("made ClusterRoleBinding {BINDING}: {lets}")]);

    // Without what the binding takes, nodes come up all the same.
    let lesser = ClusterRole {
        rules: role.rules.map(|rules| {
            rules.into_iter().filter(|rule| rule.api_groups.as_deref() != Some(&[GROUP.to_owned()])).collect()
        }),
        ..role
    };
    lab.unbind(BINDING);
    lab.administer(|client| async move {
        let roles: Api<ClusterRole> = Api::all(client);
        roles.delete("nodebake", &DeleteParams::default()).await.unwrap();
        roles.create(&PostParams::default(), &lesser).await.unwrap();
    });
    assert_eq!(rights(), all[3..]);
    let words = format!(
        "the apiserver answers: clusterrolebindings.{GROUP} \"{BINDING}\" is forbidden: User \"ann\" cannot get resource \
         \"clusterrolebindings\" in API group \"{GROUP}\" at the cluster scope"
    );
    let warning = |what: &str| format!("warning: ClusterRoleBinding {BINDING} {what}: {words}");
    assert_eq!(lab.planned(), (json!([]), warning("could not be looked at") + "\n"));
    assert_eq!(lab.doctor(&["kubelet-client"]), [json!(["skipped", words, null])]);
    assert_eq!(lab.up(), [warning("could not be made, and kubectl logs and exec may not work")]);
}
