//! A cluster's certificates and an apiserver stand-in that knows them.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use nodebake_lab_stand_ins::apiserver::faults::Fault;
use nodebake_lab_stand_ins::apiserver::flags::Flags;
use nodebake_lab_stand_ins::apiserver::server::Order;
use nodebake_lab_stand_ins::apiserver::testing;
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

/// How the apiserver runs; each ends it when it is dropped.
enum Runs {
    Process(Child),
    Thread(testing::Server),
}

pub struct Server {
    runs: Runs,
    pub address: String,
    pub pki: Pki,
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Runs::Process(process) = &mut self.runs {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

fn pki() -> Pki {
    let pki = Pki::new();
    pki.issue("server", "kube-apiserver", None);
    pki.issue("admin", "admin", Some("system:masters"));
    pki.issue("a", "system:node:a", Some("system:nodes"));
    pki.issue("b", "system:node:b", Some("system:nodes"));
    pki.issue("nobody", "nobody", None);
    pki
}

impl Server {
    /// The executable.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// The executable with more flags; its control socket is `control.sock`.
    pub fn start_with(flags: &[&str]) -> Self {
        let pki = pki();
        let mut process = Command::new(env!("CARGO_BIN_EXE_kube-apiserver-stand-in"))
            .args(["--listen", "127.0.0.1:0", "--tls-cert"])
            .arg(pki.file("server.pem"))
            .arg("--tls-key")
            .arg(pki.file("server-key.pem"))
            .arg("--client-ca")
            .arg(pki.file("ca.pem"))
            .arg("--log")
            .arg(pki.file("requests.jsonl"))
            .arg("--control")
            .arg(pki.file("control.sock"))
            .args(flags)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on ").unwrap().to_owned();
        Self { runs: Runs::Process(process), address, pki }
    }

    /// Inside the test.
    pub fn inside(change: impl FnOnce(Flags) -> Flags) -> Self {
        let pki = pki();
        let file = |name| pki.file(name);
        let flags = Flags::local(file("server.pem"), file("server-key.pem"), file("ca.pem"), file("requests.jsonl"));
        let server = testing::Server::start(&change(flags)).unwrap();
        Self { address: server.address().to_string(), runs: Runs::Thread(server), pki }
    }

    /// Sends a signal to the executable.
    pub fn signal(&self, signal: &str) {
        let Runs::Process(process) = &self.runs else { panic!("it is no process") };
        assert!(Command::new("kill").args([signal, &process.id().to_string()]).status().unwrap().success());
    }

    /// Tells it something, by the way that there is.
    pub fn obey(&self, order: &Order) {
        match &self.runs {
            Runs::Thread(server) => server.obey(order.clone()).unwrap(),
            Runs::Process(_) => assert_eq!(self.tell(&serde_json::to_string(order).unwrap()), "{}"),
        }
    }

    pub fn fault(&self, fault: Fault) {
        self.obey(&Order::Fault(fault));
    }

    /// A line to the control socket, and the one that comes back.
    pub fn tell(&self, line: &str) -> String {
        let mut stream = UnixStream::connect(self.pki.file("control.sock")).unwrap();
        writeln!(stream, "{line}").unwrap();
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer).unwrap();
        answer.trim().to_owned()
    }

    /// What the log says of requests with these verbs: verb, resource, name, code.
    pub fn recorded(&self, verbs: &[&str]) -> Vec<String> {
        let log = std::fs::read_to_string(self.pki.file("requests.jsonl")).unwrap();
        let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let of_interest = lines.filter(|line| verbs.contains(&line["verb"].as_str().unwrap()));
        of_interest
            .map(|line| {
                let text = |field: &str| line[field].as_str().unwrap().to_owned();
                format!("{} {} {} {}", text("verb"), text("resource"), text("name"), line["code"])
            })
            .collect()
    }

    pub async fn client(&self, who: Option<&str>) -> Client {
        let kubeconfig: Kubeconfig = serde_json::from_value(self.kubeconfig(who)).unwrap();
        let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
        // What the server answers is to be seen, 429 and 503 too, which the client would ask about anew on its own.
        config.default_retry = false;
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
