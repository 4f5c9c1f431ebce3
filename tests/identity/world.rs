//! A cluster's folders, and openssl.

use std::fmt::Write as _;
use std::fs::{self, Permissions};
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use jiff::{SignedDuration, Timestamp};
use nodebake::config::{CaKey, ClusterName, NodeName};
use nodebake::identity::{Ask, Ca, Identities, IdentityError, NodeIdentity, NodeRequest, Problem, admin_kubeconfig};
use nodebake::secret::Secret;

pub(crate) const CA_SUBJECT: &str = "/C=DE/O=Kubernetes/OU=CA/CN=Kubernetes CA";
pub(crate) const CA_EXTENSIONS: &str =
    "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\nsubjectKeyIdentifier=hash\n";
pub(crate) const NODE_SUBJECT: &str = "/O=system:nodes/CN=system:node:worker-node-1";
pub(crate) const NODE_EXTENSIONS: &str = "basicConstraints=CA:FALSE\nkeyUsage=digitalSignature\n\
    extendedKeyUsage=serverAuth,clientAuth\nsubjectAltName=DNS:worker-node-1,IP:10.0.0.36\n";
pub(crate) const P256: &[&str] = &["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"];
pub(crate) const DAY: SignedDuration = SignedDuration::from_hours(24);
pub(crate) const SECOND: SignedDuration = SignedDuration::from_secs(1);

/// A pki folder and a state folder of one cluster.
pub(crate) struct Cluster {
    folder: tempfile::TempDir,
    pub(crate) now: Timestamp,
    pub(crate) ca_key: CaKey,
    pub(crate) lifetime: SignedDuration,
    /// What somebody at the terminal types, the last first; nobody is there if nothing is left.
    pub(crate) typed: Arc<Mutex<Vec<&'static str>>>,
    /// What was asked there.
    pub(crate) asked: Arc<Mutex<Vec<String>>>,
}

impl Cluster {
    /// Folders with nothing in them; openssl's certificates begin at the clock's time, so `now` is a little later.
    pub(crate) fn empty() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("pki")).unwrap();
        Self {
            folder,
            now: Timestamp::now() + SignedDuration::from_hours(2),
            ca_key: CaKey::default(),
            lifetime: 365 * DAY,
            typed: Arc::default(),
            asked: Arc::default(),
        }
    }

    /// With an EC P-256 CA of ten years.
    pub(crate) fn new() -> Self {
        let cluster = Self::empty();
        cluster.ca_from(P256);
        cluster
    }

    pub(crate) fn pki(&self) -> PathBuf {
        self.folder.path().join("pki")
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.pki().join(name)
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.folder.path().join(".nodebake")
    }

    pub(crate) fn kept(&self, name: &str) -> PathBuf {
        self.state().join("identities/worker-node-1").join(name)
    }

    /// Runs openssl in the pki folder and returns what it prints.
    pub(crate) fn openssl(&self, arguments: &[&str]) -> String {
        let output = Command::new("openssl").args(arguments).current_dir(self.pki()).output().unwrap();
        assert!(output.status.success(), "openssl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// NAME-key.pem, as an openssl command prints it.
    pub(crate) fn key(&self, name: &str, command: &[&str]) {
        write_key(&self.file(&format!("{name}-key.pem")), &self.openssl(command));
    }

    /// Writes ca-key.pem, as an openssl command prints it, and a ca.pem for it.
    pub(crate) fn ca_from(&self, key_command: &[&str]) {
        self.key("ca", key_command);
        self.self_sign("ca", CA_SUBJECT, CA_EXTENSIONS);
    }

    /// NAME.pem for NAME-key.pem.
    pub(crate) fn self_sign(&self, name: &str, subject: &str, extensions: &str) {
        self.write_config(extensions);
        let (key, out) = (format!("{name}-key.pem"), format!("{name}.pem"));
        let fixed = ["req", "-x509", "-new", "-utf8", "-sha256", "-days", "3650", "-config", "openssl.cnf"];
        let own = ["-extensions", "extensions", "-multivalue-rdn", "-key", &key, "-subj", subject, "-out", &out];
        self.openssl(&[&fixed[..], &own].concat());
    }

    pub(crate) fn write_config(&self, extensions: &str) {
        let config = format!("[req]\ndistinguished_name=dn\n[dn]\n[extensions]\n{extensions}");
        fs::write(self.file("openssl.cnf"), config).unwrap();
    }

    /// NAME.pem for NAME-key.pem, which is made, signed by openssl with the CA of the given name.
    pub(crate) fn sign(&self, name: &str, ca: &str, subject: &str, extensions: &str, more: &[&str]) {
        self.key(name, P256);
        self.write_config(extensions);
        let key = format!("{name}-key.pem");
        self.openssl(&["req", "-new", "-config", "openssl.cnf", "-key", &key, "-subj", subject, "-out", "csr"]);
        self.sign_request(&format!("{name}.pem"), ca, more);
    }

    /// Signs the request "csr" with the extensions of openssl.cnf, for a year.
    pub(crate) fn sign_request(&self, out: &str, ca: &str, more: &[&str]) {
        let (ca, key) = (format!("{ca}.pem"), format!("{ca}-key.pem"));
        let fixed = ["x509", "-req", "-in", "csr", "-CA", &ca, "-CAkey", &key, "-CAcreateserial", "-out", out];
        let own = ["-extfile", "openssl.cnf", "-extensions", "extensions", "-days", "365"];
        self.openssl(&[&fixed[..], &own, more].concat());
    }

    /// worker-node-1.pem with its key, signed by openssl with the CA of the given name.
    pub(crate) fn provide(&self, ca: &str, subject: &str, extensions: &str, more: &[&str]) {
        self.sign("worker-node-1", ca, subject, extensions, more);
    }

    /// Files of the pki folder, one after the other, as another.
    pub(crate) fn concatenate(&self, names: &[&str], name: &str) {
        let text: String = names.iter().map(|name| fs::read_to_string(self.file(name)).unwrap()).collect();
        fs::write(self.file(name), text).unwrap();
    }

    pub(crate) fn load(&self, now: Timestamp) -> Result<Ca, IdentityError> {
        let (typed, asked) = (self.typed.clone(), self.asked.clone());
        let ask: Ask = Box::new(move |question| {
            asked.lock().unwrap().push(question.to_owned());
            Ok(typed.lock().unwrap().pop().map(Secret::new))
        });
        Ca::load(&self.pki(), &self.ca_key, ask, now)
    }

    pub(crate) fn ca(&self) -> Ca {
        self.load(self.now).unwrap()
    }

    /// Does something with the identities that there are at a time.
    pub(crate) fn with<T>(
        &self,
        now: Timestamp,
        act: impl FnOnce(&Identities<'_>) -> Result<T, IdentityError>,
    ) -> Result<T, IdentityError> {
        let (ca, pki) = (self.load(now)?, self.pki());
        act(&Identities { ca: &ca, pki: &pki, state: self.state(), lifetime: self.lifetime, now })
    }

    pub(crate) fn identity(&self) -> Result<NodeIdentity, IdentityError> {
        self.identity_at(&["10.0.0.36"], self.now)
    }

    pub(crate) fn identity_at(&self, addresses: &[&str], now: Timestamp) -> Result<NodeIdentity, IdentityError> {
        self.with(now, |identities| identities.of(&request(&node(), addresses)))
    }

    /// What is wrong with the pair in the pki folder.
    pub(crate) fn unfit(&self) -> Vec<Problem> {
        match self.identity() {
            Err(IdentityError::Unfit { problems, .. }) => problems,
            other => unreachable!("{other:?}"),
        }
    }

    pub(crate) fn admin_kubeconfig(&self, name: &ClusterName) -> Result<Secret, IdentityError> {
        admin_kubeconfig(&self.ca(), name, "https://10.0.0.4:6443", self.lifetime, self.now)
    }

    /// Writes a node's pair to node.pem and node-key.pem, and has openssl verify all that it is for. `trust` are options
    /// that say whom.
    pub(crate) fn verify(&self, identity: &NodeIdentity, trust: &[&str], names: &[[&str; 2]]) {
        fs::write(self.file("node.pem"), &identity.certificate_pem).unwrap();
        write_key(&self.file("node-key.pem"), std::str::from_utf8(identity.key_pem.expose()).unwrap());
        let time = self.now.as_second().to_string();
        for purpose in ["sslserver", "sslclient"] {
            for name in names {
                let verify = ["verify", "-x509_strict", "-purpose", purpose, "-attime", &time];
                let printed = self.openssl(&[&verify[..], trust, name, &["node.pem"]].concat());
                assert_eq!(printed, "node.pem: OK\n", "{purpose} {name:?}");
            }
        }
        let public = ["x509", "-in", "node.pem", "-noout", "-pubkey"];
        assert_eq!(self.openssl(&["pkey", "-in", "node-key.pem", "-pubout"]), self.openssl(&public));
    }
}

/// The node of all these tests.
pub(crate) fn node() -> NodeName {
    "worker-node-1".parse().unwrap()
}

pub(crate) fn request<'a>(node: &'a NodeName, addresses: &[&str]) -> NodeRequest<'a> {
    let addresses: Vec<IpAddr> = addresses.iter().map(|address| address.parse().unwrap()).collect();
    NodeRequest { node, addresses, rotates: false }
}

pub(crate) fn write_key(path: &Path, pem: &str) {
    fs::write(path, pem).unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
}

pub(crate) fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

/// An error as the command line shows it.
pub(crate) fn told(error: &IdentityError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        write!(text, ": {error}").unwrap();
        source = error.source();
    }
    if let Some(hint) = error.hint() {
        write!(text, "\nhint: {hint}").unwrap();
    }
    text
}

/// The certificates of a PEM text.
pub(crate) fn certificates(pem: &str) -> Vec<String> {
    pem.split_inclusive("-----END CERTIFICATE-----\n").map(ToOwned::to_owned).collect()
}
