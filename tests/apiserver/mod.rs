//! The lab's apiserver stand-in inside a test, with its administrator, and kubelets that the test plays.

use std::net::{IpAddr, SocketAddr};
use std::ops::Deref;
use std::path::{Path, PathBuf};

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Node;
use kube::api::{Api, DynamicObject, GroupVersionKind, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::ApiResource;
use nodebake_lab_stand_ins::apiserver::flags::Flags;
use nodebake_lab_stand_ins::apiserver::testing::Server;
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use serde_json::{Value, json};

pub(crate) const NODE: &str = "worker-node-1";

/// An apiserver with its administrator.
pub(crate) struct Apiserver {
    server: Server,
    pub(crate) client: kube::Client,
    pub(crate) runtime: tokio::runtime::Runtime,
    folder: tempfile::TempDir,
}

impl Deref for Apiserver {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

impl Apiserver {
    /// `kubelets` says whether pods end when they are told to.
    pub(crate) fn start(kubelets: bool) -> Self {
        Self::at(SocketAddr::from(([127, 0, 0, 1], 0)), kubelets)
    }

    /// The same where clients look for it.
    pub(crate) fn at(listen: SocketAddr, kubelets: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name);
        issue(folder.path(), &listen.ip().to_string());
        let flags = Flags::local(file("server.pem"), file("server-key.pem"), file("ca.pem"), file("requests.jsonl"));
        let server = Server::start(&Flags { listen, pods_become_ready: kubelets, ..flags }).unwrap();
        let kubeconfig = json!({
            "clusters": [{"name": "c", "cluster": {
                "server": format!("https://{}", server.address()), "certificate-authority": file("ca.pem"),
            }}],
            "users": [{"name": "u", "user": {
                "client-certificate": file("admin.pem"), "client-key": file("admin-key.pem"),
            }}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        });
        std::fs::write(file("kubeconfig"), kubeconfig.to_string()).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let client = runtime.block_on(async {
            let kubeconfig: Kubeconfig = serde_json::from_value(kubeconfig).unwrap();
            let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
            kube::Client::try_from(config).unwrap()
        });
        Self { server, client, runtime, folder }
    }

    /// kubeconfig, ca.pem, ca-key.pem, and others.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn api(&self, object: &Value) -> Api<DynamicObject> {
        let (version, kind) = (object["apiVersion"].as_str().unwrap(), object["kind"].as_str().unwrap());
        let (group, version) = version.rsplit_once('/').unwrap_or(("", version));
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        match object["metadata"]["namespace"].as_str() {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &resource),
            None => Api::all_with(self.client.clone(), &resource),
        }
    }

    /// Makes an object; one that is there already is as good. As a kubelet, it does not give up at once.
    pub(crate) fn put(&self, object: &Value) {
        let made = serde_json::from_value(object.clone()).unwrap();
        self.persist(|| async {
            match self.api(object).create(&PostParams::default(), &made).await {
                Err(kube::Error::Api(status)) if status.reason == "AlreadyExists" => Ok(()),
                result => result.map(drop),
            }
        });
    }

    fn persist<R: Future<Output = kube::Result<()>>>(&self, request: impl Fn() -> R) {
        let mut ended = self.runtime.block_on(request());
        for _ in 0..5 {
            if ended.is_ok() {
                return;
            }
            ended = self.runtime.block_on(request());
        }
        ended.unwrap();
    }

    pub(crate) fn node(&self, name: &str) -> Option<Node> {
        let nodes: Api<Node> = Api::all(self.client.clone());
        self.runtime.block_on(nodes.get_opt(name)).unwrap()
    }

    /// The kubelet of a boot registers its node, if the cluster does not know it, and renews its lease.
    pub(crate) fn register(&self, name: &str, boot: &str, ready: bool) {
        self.register_at(name, boot, ready, None);
    }

    /// The same of one that tells its address.
    pub(crate) fn register_at(&self, name: &str, boot: &str, ready: bool, address: Option<IpAddr>) {
        let status = if ready { "True" } else { "False" };
        let addresses = address.map(|address| json!([{"type": "InternalIP", "address": address}]));
        self.put(&json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
            "status": {
                "nodeInfo": {
                    "bootID": boot, "architecture": "amd64", "containerRuntimeVersion": "", "kernelVersion": "",
                    "kubeProxyVersion": "", "kubeletVersion": "v1.35.1", "machineID": "", "operatingSystem": "linux",
                    "osImage": "", "systemUUID": "",
                },
                "addresses": addresses,
                "conditions": [{"type": "Ready", "status": status, "reason": "r", "message": "no network yet"}],
            },
        }));
        self.put(&json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {"name": name, "namespace": "kube-node-lease"},
            "spec": {"holderIdentity": name, "leaseDurationSeconds": 40},
        }));
        // A kubelet renews it every few seconds; this one does so once, after its boot.
        self.renew(name, jiff::Timestamp::now() + jiff::SignedDuration::from_secs(5));
    }

    /// Gives a node's lease this time.
    pub(crate) fn renew(&self, name: &str, time: jiff::Timestamp) {
        let leases: Api<Lease> = Api::namespaced(self.client.clone(), "kube-node-lease");
        let time = time.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string();
        let patch = Patch::Merge(json!({"spec": {"renewTime": time}}));
        self.persist(|| async { leases.patch(name, &PatchParams::default(), &patch).await.map(drop) });
    }

    /// Everything that was asked for since a moment but reading, as VERB RESOURCE NAME, but for leases and reviews.
    pub(crate) fn changes(&self, since: usize) -> Vec<String> {
        let log = std::fs::read_to_string(self.file("requests.jsonl")).unwrap();
        let lines = log.lines().skip(since).map(|line| serde_json::from_str::<Value>(line).unwrap());
        let changes = lines.filter(|line| {
            let reads = ["get", "list", "watch"].map(Some).contains(&line["verb"].as_str());
            let resource = line["resource"].as_str().unwrap_or_default();
            !reads && resource != "leases.coordination.k8s.io" && !resource.contains("reviews.")
        });
        let word = |line: &Value, name: &str| line[name].as_str().unwrap_or_default().to_owned();
        changes.map(|line| ["verb", "resource", "name"].map(|name| word(&line, name)).join(" ")).collect()
    }

    pub(crate) fn requests(&self) -> usize {
        std::fs::read_to_string(self.file("requests.jsonl")).unwrap_or_default().lines().count()
    }
}

/// ca.pem, and server and admin with their keys.
fn issue(folder: &Path, address: &str) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "cluster-ca");
    let key = KeyPair::generate().unwrap();
    std::fs::write(folder.join("ca.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
    std::fs::write(folder.join("ca-key.pem"), key.serialize_pem()).unwrap();
    let issuer = Issuer::new(params, key);
    for (name, group) in [("server", "none"), ("admin", "system:masters")] {
        let mut params = CertificateParams::new(vec![address.to_owned()]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.distinguished_name.push(DnType::OrganizationName, group);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &issuer).unwrap().pem();
        std::fs::write(folder.join(format!("{name}.pem")), certificate).unwrap();
        std::fs::write(folder.join(format!("{name}-key.pem")), key.serialize_pem()).unwrap();
    }
}

/// A pod on the first node with the label app=NAME; `owner` is the kind of the controller that makes it anew.
pub(crate) fn pod(name: &str, owner: Option<&str>, more: &Value) -> Value {
    let owner = owner.map(|kind| {
        json!([{
            "apiVersion": "apps/v1", "kind": kind, "name": "owner", "uid": "1234", "controller": true,
        }])
    });
    let mut spec = json!({"nodeName": NODE, "containers": [{"name": "c", "image": "i"}]});
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let metadata = json!({"namespace": "default", "name": name, "labels": {"app": name}, "ownerReferences": owner});
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
}
