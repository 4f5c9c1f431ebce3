//! A cluster's certificates and an apiserver stand-in that knows them.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use serde_json::{Value, json};

pub struct Pki {
    folder: tempfile::TempDir,
    issuer: Issuer<'static, KeyPair>,
    ca: String,
}

impl Pki {
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "cluster-ca");
        let key = KeyPair::generate().unwrap();
        let ca = params.self_signed(&key).unwrap().pem();
        let pki = Self { folder: tempfile::tempdir().unwrap(), issuer: Issuer::new(params, key), ca };
        std::fs::write(pki.file("ca.pem"), &pki.ca).unwrap();
        pki
    }

    pub fn folder(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Certificate and key as NAME.pem and NAME-key.pem; the serial number is 0x00 0xab 0xcd, which is abcd.
    pub fn issue(&self, name: &str, user: &str, group: Option<&str>) {
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, user);
        if let Some(group) = group {
            params.distinguished_name.push(DnType::OrganizationName, group);
        }
        params.serial_number = Some(rcgen::SerialNumber::from_slice(&[0xab, 0xcd]));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        std::fs::write(self.file(&format!("{name}.pem")), params.signed_by(&key, &self.issuer).unwrap().pem()).unwrap();
        std::fs::write(self.file(&format!("{name}-key.pem")), key.serialize_pem()).unwrap();
    }
}

pub struct Server {
    process: Child,
    pub address: String,
    pub pki: Pki,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Server {
    pub fn start() -> Self {
        let pki = Pki::new();
        pki.issue("server", "kube-apiserver", None);
        pki.issue("admin", "admin", Some("system:masters"));
        pki.issue("a", "system:node:a", Some("system:nodes"));
        pki.issue("b", "system:node:b", Some("system:nodes"));
        pki.issue("nobody", "nobody", None);
        let mut process = Command::new(env!("CARGO_BIN_EXE_kube-apiserver-stand-in"))
            .args(["--listen", "127.0.0.1:0", "--tls-cert"])
            .arg(pki.file("server.pem"))
            .arg("--tls-key")
            .arg(pki.file("server-key.pem"))
            .arg("--client-ca")
            .arg(pki.file("ca.pem"))
            .arg("--log")
            .arg(pki.file("requests.jsonl"))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on ").unwrap().to_owned();
        Self { process, address, pki }
    }

    pub async fn client(&self, who: Option<&str>) -> Client {
        let kubeconfig: Kubeconfig = serde_json::from_value(self.kubeconfig(who)).unwrap();
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
        Client::try_from(config).unwrap()
    }

    pub fn kubeconfig(&self, who: Option<&str>) -> Value {
        let user = who.map_or_else(
            || json!({}),
            |who| {
                json!({
                    "client-certificate": self.pki.file(&format!("{who}.pem")),
                    "client-key": self.pki.file(&format!("{who}-key.pem")),
                })
            },
        );
        json!({
            "clusters": [{"name": "c", "cluster": {
                "server": format!("https://{}", self.address), "certificate-authority": self.pki.file("ca.pem"),
            }}],
            "users": [{"name": "u", "user": user}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        })
    }
}
