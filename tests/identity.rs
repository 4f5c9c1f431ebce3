//! Identities, judged by openssl and rustls: CAs and certificates as people bring them, and what we issue.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::fmt::Write as _;
use std::fs::{self, Permissions};
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use nodebake::config::NodeName;
use nodebake::identity::{
    Ca, IdentityError, KeyError, NodeIdentity, NodeRequest, Origin, PemError, Problem, Warning, admin_kubeconfig,
    node_identity, standing_identity, write_private,
};
use nodebake::secret::Secret;

const CA_SUBJECT: &str = "/C=DE/O=Kubernetes/OU=CA/CN=Kubernetes CA";
const CA_EXTENSIONS: &str =
    "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\nsubjectKeyIdentifier=hash\n";
const P256: &[&str] = &["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"];
const DAY: SignedDuration = SignedDuration::from_hours(24);

/// A pki folder and a state folder of one cluster.
struct Cluster {
    folder: tempfile::TempDir,
    now: Timestamp,
}

impl Cluster {
    /// Folders with nothing in them; openssl's certificates begin at the clock's time, so `now` is a little later.
    fn empty() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("pki")).unwrap();
        Self { folder, now: Timestamp::now() + SignedDuration::from_hours(2) }
    }

    /// With an EC P-256 CA of ten years.
    fn new() -> Self {
        let cluster = Self::empty();
        cluster.ca_from(P256);
        cluster
    }

    fn pki(&self) -> PathBuf {
        self.folder.path().join("pki")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.pki().join(name)
    }

    fn state(&self) -> PathBuf {
        self.folder.path().join(".nodebake")
    }

    fn kept(&self, name: &str) -> PathBuf {
        self.state().join("identities/worker-node-1").join(name)
    }

    /// Runs openssl in the pki folder and returns what it prints.
    fn openssl(&self, arguments: &[&str]) -> String {
        let output = Command::new("openssl").args(arguments).current_dir(self.pki()).output().unwrap();
        assert!(output.status.success(), "openssl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Writes ca-key.pem, as an openssl command prints it, and a ca.pem for it.
    fn ca_from(&self, key_command: &[&str]) {
        write_key(&self.file("ca-key.pem"), &self.openssl(key_command));
        self.self_sign("ca", CA_SUBJECT, CA_EXTENSIONS);
    }

    /// NAME.pem for NAME-key.pem.
    fn self_sign(&self, name: &str, subject: &str, extensions: &str) {
        self.write_config(extensions);
        self.openssl(&[
            "req",
            "-x509",
            "-new",
            "-sha256",
            "-days",
            "3650",
            "-config",
            "openssl.cnf",
            "-extensions",
            "extensions",
            "-key",
            &format!("{name}-key.pem"),
            "-subj",
            subject,
            "-out",
            &format!("{name}.pem"),
        ]);
    }

    fn write_config(&self, extensions: &str) {
        let config = format!("[req]\ndistinguished_name=dn\n[dn]\n[extensions]\n{extensions}");
        fs::write(self.file("openssl.cnf"), config).unwrap();
    }

    /// worker-node-1.pem with its key, signed by openssl with the CA of the given name.
    fn provide(&self, ca: &str, subject: &str, extensions: &str, more: &[&str]) {
        self.write_config(extensions);
        write_key(&self.file("worker-node-1-key.pem"), &self.openssl(P256));
        self.openssl(&[
            "req",
            "-new",
            "-config",
            "openssl.cnf",
            "-key",
            "worker-node-1-key.pem",
            "-subj",
            subject,
            "-out",
            "csr",
        ]);
        let (ca, key) = (format!("{ca}.pem"), format!("{ca}-key.pem"));
        let sign = [
            "x509",
            "-req",
            "-in",
            "csr",
            "-CA",
            &ca,
            "-CAkey",
            &key,
            "-CAcreateserial",
            "-extfile",
            "openssl.cnf",
            "-extensions",
            "extensions",
            "-out",
            "worker-node-1.pem",
            "-days",
            "365",
        ];
        self.openssl(&[&sign, more].concat());
    }

    fn ca(&self) -> Ca {
        Ca::load(&self.pki(), self.now).unwrap()
    }

    fn identity(&self) -> Result<NodeIdentity, IdentityError> {
        self.identity_at(&["10.0.0.36"], self.now)
    }

    fn identity_at(&self, addresses: &[&str], now: Timestamp) -> Result<NodeIdentity, IdentityError> {
        let node: NodeName = "worker-node-1".parse().unwrap();
        let addresses: Vec<IpAddr> = addresses.iter().map(|address| address.parse().unwrap()).collect();
        let request = NodeRequest { node: &node, addresses: &addresses };
        node_identity(&Ca::load(&self.pki(), now)?, &request, &self.pki(), &self.state(), now)
    }

    /// What is wrong with the pair in the pki folder.
    fn unfit(&self) -> Vec<Problem> {
        match self.identity() {
            Err(IdentityError::Unfit { problems, .. }) => problems,
            other => unreachable!("{other:?}"),
        }
    }
}

fn write_key(path: &Path, pem: &str) {
    fs::write(path, pem).unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
}

const NODE_SUBJECT: &str = "/O=system:nodes/CN=system:node:worker-node-1";
const NODE_EXTENSIONS: &str = "basicConstraints=CA:FALSE\nkeyUsage=digitalSignature\n\
    extendedKeyUsage=serverAuth,clientAuth\nsubjectAltName=DNS:worker-node-1,IP:10.0.0.36\n";

/// The forms in which CA keys come: the openssl commands that make one, each reading the one before from "key".
const CA_KEYS: &[(&str, &[&[&str]])] = &[
    ("RSA 2048, PKCS#1, as cfssl writes it", &[&["genrsa", "-traditional", "2048"]]),
    ("RSA 4096, PKCS#8", &[&["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:4096"]]),
    ("RSA 3072, text before the block", &[&["genrsa", "3072"], &["rsa", "-in", "key", "-text", "-traditional"]]),
    ("P-256, SEC1, after its parameters", &[&["ecparam", "-name", "prime256v1", "-genkey"]]),
    ("P-256, SEC1, as cfssl writes it", &[&["ecparam", "-name", "prime256v1", "-genkey", "-noout"]]),
    ("P-384, SEC1, after its parameters", &[&["ecparam", "-name", "secp384r1", "-genkey"]]),
    ("P-256, PKCS#8", &[P256]),
    ("P-384, PKCS#8", &[&["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"]]),
    (
        "P-384, SEC1, without its public key",
        &[&["ecparam", "-name", "secp384r1", "-genkey", "-noout"], &["ec", "-in", "key", "-no_public"]],
    ),
    ("Ed25519, PKCS#8", &[&["genpkey", "-algorithm", "ED25519"]]),
];

#[test]
fn openssl_verifies_what_every_ca_issues() {
    for (what, commands) in CA_KEYS {
        let cluster = Cluster::empty();
        for (index, command) in commands.iter().enumerate() {
            let printed = cluster.openssl(command);
            fs::write(cluster.file("key"), &printed).unwrap();
            assert!(index + 1 < commands.len() || !printed.is_empty(), "{what}");
        }
        write_key(&cluster.file("ca-key.pem"), &fs::read_to_string(cluster.file("key")).unwrap());
        cluster.self_sign("ca", CA_SUBJECT, CA_EXTENSIONS);
        let identity = cluster.identity_at(&["10.0.0.36", "fd00::36"], cluster.now).unwrap();
        assert_eq!(identity.origin, Origin::Issued, "{what}");
        assert_eq!(identity.ca_pem, fs::read_to_string(cluster.file("ca.pem")).unwrap(), "{what}");
        fs::write(cluster.file("node.pem"), &identity.certificate_pem).unwrap();
        write_private(&cluster.file("node-key.pem"), &identity.key_pem).unwrap();
        let time = cluster.now.as_second().to_string();
        for purpose in ["sslserver", "sslclient"] {
            for name in [["-verify_hostname", "worker-node-1"], ["-verify_ip", "10.0.0.36"], ["-verify_ip", "fd00::36"]]
            {
                let verify = ["verify", "-x509_strict", "-CAfile", "ca.pem", "-purpose", purpose, "-attime", &time];
                let printed = cluster.openssl(&[&verify[..], &name, &["node.pem"]].concat());
                assert_eq!(printed, "node.pem: OK\n", "{what}");
            }
        }
        assert_eq!(
            cluster.openssl(&["pkey", "-in", "node-key.pem", "-pubout"]),
            cluster.openssl(&["x509", "-in", "node.pem", "-noout", "-pubkey"]),
            "{what}"
        );
        assert_eq!(shown(&cluster, "node.pem"), wanted_text(&identity), "{what}");
    }
}

/// All of a certificate but its keys and signature, in openssl's words.
fn shown(cluster: &Cluster, file: &str) -> String {
    let extensions = "subjectAltName,keyUsage,extendedKeyUsage,basicConstraints";
    cluster.openssl(&[
        "x509",
        "-in",
        file,
        "-noout",
        "-nameopt",
        "RFC2253",
        "-dateopt",
        "iso_8601",
        "-subject",
        "-issuer",
        "-serial",
        "-startdate",
        "-enddate",
        "-ext",
        extensions,
    ])
}

fn wanted_text(identity: &NodeIdentity) -> String {
    let date = |time: Timestamp| time.to_string().replace('T', " ");
    format!(
        "subject=CN=system:node:worker-node-1,O=system:nodes\n\
         issuer=CN=Kubernetes CA,OU=CA,O=Kubernetes,C=DE\n\
         serial={}\nnotBefore={}\nnotAfter={}\n\
         X509v3 Subject Alternative Name: \n    DNS:worker-node-1, IP Address:10.0.0.36, IP Address:FD00:0:0:0:0:0:0:36\n\
         X509v3 Key Usage: critical\n    Digital Signature\n\
         X509v3 Extended Key Usage: \n    TLS Web Server Authentication, TLS Web Client Authentication\n\
         X509v3 Basic Constraints: critical\n    CA:FALSE\n",
        identity.serial.to_uppercase(),
        date(identity.not_before),
        date(identity.not_after),
    )
}

#[test]
fn a_certificate_lasts_a_year_within_its_ca() {
    let cluster = Cluster::new();
    let date = |which: &str| {
        let printed = cluster.openssl(&["x509", "-in", "ca.pem", "-noout", "-dateopt", "iso_8601", which]);
        let date = printed.trim_end().split_once('=').unwrap().1.replace(' ', "T");
        date.parse::<Timestamp>().unwrap()
    };
    let (ca_start, ca_end) = (date("-startdate"), date("-enddate"));
    let hour = SignedDuration::from_hours(1);
    let fraction = SignedDuration::from_millis(900);
    let cases = [
        (ca_start, ca_start, ca_start + 365 * DAY),
        (ca_start + hour, ca_start, ca_start + hour + 365 * DAY),
        (ca_start + 2 * hour + fraction, ca_start + hour, ca_start + 2 * hour + 365 * DAY),
        (ca_end - 366 * DAY, ca_end - 366 * DAY - hour, ca_end - DAY),
        (ca_end - DAY, ca_end - DAY - hour, ca_end),
    ];
    for (now, start, end) in cases {
        let _ = fs::remove_dir_all(cluster.state());
        let identity = cluster.identity_at(&["10.0.0.36"], now).unwrap();
        assert_eq!((identity.not_before, identity.not_after), (start, end), "{now}");
    }
}

#[test]
fn a_ca_is_named_byte_for_byte() {
    for subject in [
        "/DC=com/DC=example/OU=one/OU=two/CN=ca",
        "/O=one+OU=two/CN=ca",
        "/CN=",
        "/emailAddress=ca@example.com/CN=Zertifizierungsstelle äöü",
    ] {
        let cluster = Cluster::empty();
        write_key(&cluster.file("ca-key.pem"), &cluster.openssl(P256));
        let extensions = CA_EXTENSIONS.replace("subjectKeyIdentifier=hash\n", "");
        cluster.write_config(&extensions);
        cluster.openssl(&[
            "req",
            "-x509",
            "-new",
            "-utf8",
            "-days",
            "3650",
            "-config",
            "openssl.cnf",
            "-extensions",
            "extensions",
            "-multivalue-rdn",
            "-key",
            "ca-key.pem",
            "-subj",
            subject,
            "-out",
            "ca.pem",
        ]);
        let identity = cluster.identity().unwrap();
        fs::write(cluster.file("node.pem"), &identity.certificate_pem).unwrap();
        let time = cluster.now.as_second().to_string();
        let printed = cluster.openssl(&["verify", "-CAfile", "ca.pem", "-attime", &time, "node.pem"]);
        assert_eq!(printed, "node.pem: OK\n", "{subject}");
        // Our own check compares the names as Go does.
        assert_eq!(cluster.identity().unwrap().origin, Origin::Reused, "{subject}");
    }
}

#[test]
fn nodes_and_admin_shake_hands() {
    for key in [P256, &["genrsa", "-traditional", "2048"]] {
        let cluster = Cluster::empty();
        cluster.ca_from(key);
        let node = cluster.identity().unwrap();
        let node = (node.certificate_pem, node.key_pem);
        let admin = admin_pair(&cluster);
        for (server, client, name, works) in [
            (&node, &node, "worker-node-1", true),
            (&node, &admin, "10.0.0.36", true),
            (&node, &admin, "10.0.0.37", false),
            (&admin, &node, "worker-node-1", false),
        ] {
            let result = handshake(&cluster, server, client, name);
            assert_eq!(result.is_ok(), works, "{name}: {result:?}");
        }
    }
}

type KeyPair = (String, Secret);

fn admin_pair(cluster: &Cluster) -> KeyPair {
    let name = "seed".parse().unwrap();
    let kubeconfig = admin_kubeconfig(&cluster.ca(), &name, "https://10.0.0.4:6443", cluster.now).unwrap();
    let kubeconfig: serde_yaml::Value = serde_yaml::from_slice(kubeconfig.expose()).unwrap();
    let user = &kubeconfig["users"][0]["user"];
    let data = |key: &str| STANDARD.decode(user[key].as_str().unwrap()).unwrap();
    (String::from_utf8(data("client-certificate-data")).unwrap(), Secret::new(data("client-key-data")))
}

/// A TLS handshake in memory, both sides with a certificate of the CA.
fn handshake(cluster: &Cluster, server: &KeyPair, client: &KeyPair, name: &str) -> Result<(), rustls::Error> {
    use rustls::pki_types::pem::PemObject as _;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
    use rustls::server::WebPkiClientVerifier;

    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(cluster.file("ca.pem")).unwrap()).unwrap();
    let roots = Arc::new(roots);
    let chain = |pair: &KeyPair| vec![CertificateDer::from_pem_slice(pair.0.as_bytes()).unwrap()];
    let key = |pair: &KeyPair| PrivateKeyDer::from_pem_slice(pair.1.expose()).unwrap();
    let clock = Arc::new(FixedClock(cluster.now));

    let clients = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone()).build().unwrap();
    let server_config = rustls::ServerConfig::builder_with_details(provider.clone(), clock.clone())
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(clients)
        .with_single_cert(chain(server), key(server))?;
    let client_config = rustls::ClientConfig::builder_with_details(provider, clock)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain(client), key(client))?;
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut server = rustls::ServerConnection::new(Arc::new(server_config))?;
    let mut client = rustls::ClientConnection::new(Arc::new(client_config), name)?;
    while server.is_handshaking() || client.is_handshaking() {
        let mut wire = Vec::new();
        client.write_tls(&mut wire).unwrap();
        server.read_tls(&mut wire.as_slice()).unwrap();
        server.process_new_packets()?;
        wire.clear();
        server.write_tls(&mut wire).unwrap();
        client.read_tls(&mut wire.as_slice()).unwrap();
        client.process_new_packets()?;
    }
    Ok(())
}

#[derive(Debug)]
struct FixedClock(Timestamp);

impl rustls::time_provider::TimeProvider for FixedClock {
    fn current_time(&self) -> Option<rustls::pki_types::UnixTime> {
        let seconds = u64::try_from(self.0.as_second()).ok()?;
        Some(rustls::pki_types::UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds)))
    }
}

#[test]
fn the_admin_kubeconfig_is_whole() {
    let cluster = Cluster::new();
    // A cluster whose name YAML would read as a boolean.
    let name = "no".parse().unwrap();
    let secret = admin_kubeconfig(&cluster.ca(), &name, "https://10.0.0.4:6443", cluster.now).unwrap();
    let kubeconfig: serde_json::Value = serde_json::from_slice(secret.expose()).unwrap();
    let data = |pointer: &str| kubeconfig.pointer(pointer).unwrap().as_str().unwrap().to_owned();
    let ca = data("/clusters/0/cluster/certificate-authority-data");
    let certificate = data("/users/0/user/client-certificate-data");
    let key = data("/users/0/user/client-key-data");
    let wanted = serde_json::json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{
            "name": "no",
            "cluster": {"server": "https://10.0.0.4:6443", "certificate-authority-data": ca},
        }],
        "users": [{
            "name": "kubernetes-admin",
            "user": {"client-certificate-data": certificate, "client-key-data": key},
        }],
        "contexts": [{
            "name": "kubernetes-admin@no",
            "context": {"cluster": "no", "user": "kubernetes-admin"},
        }],
        "current-context": "kubernetes-admin@no",
    });
    assert_eq!(kubeconfig, wanted);
    // What every client does with the file: read it as YAML.
    assert_eq!(serde_yaml::from_slice::<serde_json::Value>(secret.expose()).unwrap(), wanted);
    assert_eq!(STANDARD.decode(ca).unwrap(), fs::read(cluster.file("ca.pem")).unwrap());
    fs::write(cluster.file("admin.pem"), STANDARD.decode(certificate).unwrap()).unwrap();
    let printed = cluster.openssl(&[
        "x509",
        "-in",
        "admin.pem",
        "-noout",
        "-nameopt",
        "RFC2253",
        "-subject",
        "-ext",
        "subjectAltName,keyUsage,extendedKeyUsage,basicConstraints",
    ]);
    let wanted = "subject=CN=kubernetes-admin,O=system:masters\n\
        X509v3 Key Usage: critical\n    Digital Signature\n\
        X509v3 Extended Key Usage: \n    TLS Web Client Authentication\n\
        X509v3 Basic Constraints: critical\n    CA:FALSE\n";
    assert_eq!(printed, wanted);

    fs::remove_file(cluster.file("ca-key.pem")).unwrap();
    let error = admin_kubeconfig(&cluster.ca(), &name, "https://10.0.0.4:6443", cluster.now).unwrap_err();
    let path = cluster.file("ca-key.pem");
    assert_eq!(
        told(&error),
        format!(
            "there is no certificate for kubernetes-admin, and no {0} to issue one\nhint: put the CA's key at {0}",
            path.display()
        )
    );
}

/// An error as the command line shows it.
fn told(error: &IdentityError) -> String {
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

#[test]
fn what_was_issued_is_kept_byte_for_byte() {
    let cluster = Cluster::new();
    let issued = cluster.identity().unwrap();
    let files = || (fs::read(cluster.kept("cert.pem")).unwrap(), fs::read(cluster.kept("key.pem")).unwrap());
    let first = files();
    assert_eq!(first, (issued.certificate_pem.clone().into_bytes(), issued.key_pem.expose().to_vec()));
    let reused = cluster.identity().unwrap();
    assert_eq!(reused, NodeIdentity { origin: Origin::Reused, ..issued.clone() });
    assert_eq!(files(), first);
    // Without the CA's key, and with a newer name for the state folder, too.
    fs::remove_file(cluster.file("ca-key.pem")).unwrap();
    assert_eq!(cluster.identity().unwrap(), reused);
}

/// What happens between two runs.
type Change<'a> = &'a dyn Fn(&Cluster);
/// Why the second run issues anew, given what the first one issued.
type Reasons<'a> = &'a dyn Fn(&Cluster, &NodeIdentity) -> Vec<Problem>;

#[test]
fn what_does_not_fit_any_more_is_issued_anew() {
    let other_ca = |cluster: &Cluster| cluster.ca_from(P256);
    let remove = |name: &'static str| move |cluster: &Cluster| fs::remove_file(cluster.kept(name)).unwrap();
    let garble = |name: &'static str| move |cluster: &Cluster| fs::write(cluster.kept(name), "garbage").unwrap();
    let swap_key = |cluster: &Cluster| fs::write(cluster.kept("key.pem"), cluster.openssl(P256)).unwrap();
    let nothing: Change<'_> = &|_| {};
    let damaged = |name: &'static str, what: &'static str| {
        move |cluster: &Cluster, _: &NodeIdentity| {
            vec![Problem::Damaged(format!("{}{what}", cluster.kept(name).display()))]
        }
    };
    let soon = |_: &Cluster, old: &NodeIdentity| vec![Problem::EndsSoon(old.not_after)];
    let over = |_: &Cluster, old: &NodeIdentity| vec![Problem::Expired(old.not_after)];
    let second = SignedDuration::from_secs(1);
    let cases: &[(&str, Change<'_>, &[&str], SignedDuration, Reasons<'_>)] = &[
        ("another address", nothing, &["10.0.0.40"], SignedDuration::ZERO, &|_, _| {
            vec![Problem::MissingAddress("10.0.0.40".parse().unwrap()), Problem::ForeignName("10.0.0.36".to_owned())]
        }),
        ("an address less", nothing, &[], SignedDuration::ZERO, &|_, _| {
            vec![Problem::ForeignName("10.0.0.36".to_owned())]
        }),
        ("another CA of the same name", &other_ca, &["10.0.0.36"], SignedDuration::ZERO, &|_, _| {
            vec![Problem::BadSignature]
        }),
        ("29 days before the end", nothing, &["10.0.0.36"], 335 * DAY + second, &soon),
        ("after the end", nothing, &["10.0.0.36"], 365 * DAY + second, &over),
        (
            "no certificate",
            &remove("cert.pem"),
            &["10.0.0.36"],
            SignedDuration::ZERO,
            &damaged("cert.pem", " is missing"),
        ),
        ("no key", &remove("key.pem"), &["10.0.0.36"], SignedDuration::ZERO, &damaged("key.pem", " is missing")),
        (
            "a garbled certificate",
            &garble("cert.pem"),
            &["10.0.0.36"],
            SignedDuration::ZERO,
            &damaged("cert.pem", ": no certificate in it"),
        ),
        (
            "a garbled key",
            &garble("key.pem"),
            &["10.0.0.36"],
            SignedDuration::ZERO,
            &damaged("key.pem", ": no private key in it"),
        ),
        ("a crash between key and certificate", &swap_key, &["10.0.0.36"], SignedDuration::ZERO, &|_, _| {
            vec![Problem::KeyMismatch]
        }),
    ];
    for (what, change, addresses, later, reasons) in cases {
        let cluster = Cluster::new();
        let old = cluster.identity().unwrap();
        change(&cluster);
        let now = cluster.now + *later;
        let new = cluster.identity_at(addresses, now).unwrap();
        assert_eq!((new.origin, &new.replaced), (Origin::Issued, &reasons(&cluster, &old)), "{what}");
        assert_ne!((&new.serial, &new.key_pem), (&old.serial, &old.key_pem), "{what}");
        let again = cluster.identity_at(addresses, now).unwrap();
        assert_eq!(again, NodeIdentity { origin: Origin::Reused, replaced: vec![], ..new }, "{what}");
    }
}

#[test]
fn thirty_days_before_its_end_it_is_still_kept_and_at_the_end_of_the_ca_too() {
    let cluster = Cluster::new();
    let first = cluster.identity().unwrap();
    let kept = cluster.identity_at(&["10.0.0.36"], first.not_after - 30 * DAY).unwrap();
    assert_eq!((kept.origin, &kept.serial), (Origin::Reused, &first.serial));

    // A certificate that ends with its CA cannot be bettered.
    let end = cluster.ca().not_after();
    let last = cluster.identity_at(&["10.0.0.36"], end - 200 * DAY).unwrap();
    assert_eq!((last.origin, last.not_after), (Origin::Issued, end));
    for days in [20, 1, 0] {
        let kept = cluster.identity_at(&["10.0.0.36"], end - days * DAY).unwrap();
        assert_eq!((kept.origin, &kept.serial), (Origin::Reused, &last.serial), "{days} days");
    }
}

#[test]
fn keys_are_private_whatever_the_umask() {
    let mode = |path: &Path| format!("{:o}", fs::metadata(path).unwrap().permissions().mode() & 0o7777);
    for umask in [0o000, 0o022] {
        let cluster = Cluster::new();
        // The umask is that of the process: the other tests here set the modes that they look at.
        let old = rustix::process::umask(rustix::fs::Mode::from_raw_mode(umask));
        let identity = cluster.identity();
        rustix::process::umask(old);
        identity.unwrap();
        let modes = [
            mode(&cluster.state()),
            mode(&cluster.state().join("identities")),
            mode(&cluster.state().join("identities/.lock")),
            mode(&cluster.kept("")),
            mode(&cluster.kept("key.pem")),
            mode(&cluster.kept("cert.pem")),
        ];
        assert_eq!(modes, ["700", "700", "600", "700", "600", "600"], "umask {umask:03o}");
        let mut files: Vec<_> = fs::read_dir(cluster.kept("")).unwrap().map(|file| file.unwrap().file_name()).collect();
        files.sort();
        assert_eq!(files, ["cert.pem", "key.pem"]);
    }
}

#[test]
fn several_at_once_issue_one() {
    let cluster = Cluster::new();
    let serials = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| cluster.identity().unwrap())).collect();
        threads.into_iter().map(|thread| thread.join().unwrap().serial).collect::<Vec<_>>()
    });
    assert_eq!(serials, vec![serials[0].clone(); 8]);
}

#[test]
fn a_standing_identity_is_found_without_writing() {
    let cluster = Cluster::new();
    let node: NodeName = "worker-node-1".parse().unwrap();
    let addresses = ["10.0.0.36".parse().unwrap()];
    let request = NodeRequest { node: &node, addresses: &addresses };
    let standing =
        || standing_identity(&cluster.ca(), &request, &cluster.pki(), &cluster.state(), cluster.now).unwrap();
    assert_eq!(standing(), None);
    assert!(!cluster.state().exists());
    let issued = cluster.identity().unwrap();
    assert_eq!(standing(), Some(NodeIdentity { origin: Origin::Reused, ..issued }));
}

#[test]
fn a_pair_in_the_pki_folder_is_used() {
    let cluster = Cluster::new();
    let extra = NODE_EXTENSIONS.replace("DNS:worker-node-1", "DNS:worker-node-1.example.com,DNS:worker-node-1");
    cluster.provide("ca", NODE_SUBJECT, &extra, &[]);
    fs::remove_file(cluster.file("ca-key.pem")).unwrap();
    let identity = cluster.identity().unwrap();
    let certificate = fs::read_to_string(cluster.file("worker-node-1.pem")).unwrap();
    let key = fs::read(cluster.file("worker-node-1-key.pem")).unwrap();
    let serial = cluster.openssl(&["x509", "-in", "worker-node-1.pem", "-noout", "-serial"]);
    assert_eq!(
        (identity.certificate_pem, identity.key_pem, identity.origin, identity.warnings),
        (certificate, Secret::new(key), Origin::Provided, vec![])
    );
    assert_eq!(format!("serial={}\n", identity.serial.to_uppercase()), serial);
    assert!(!cluster.state().exists());

    let path = cluster.file("worker-node-1-key.pem");
    fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    let warning = Warning::ReadableKey { path, mode: 0o644 };
    assert_eq!(cluster.identity().unwrap().warnings, [warning]);
}

#[test]
fn a_key_of_any_form_is_handed_on_as_pkcs8() {
    for convert in [&["ec"][..], &["ec", "-no_public"], &["pkey", "-text"]] {
        let cluster = Cluster::new();
        cluster.provide("ca", NODE_SUBJECT, NODE_EXTENSIONS, &[]);
        let pkcs8 = fs::read(cluster.file("worker-node-1-key.pem")).unwrap();
        let converted = cluster.openssl(&[convert, &["-in", "worker-node-1-key.pem"]].concat());
        write_key(&cluster.file("worker-node-1-key.pem"), &converted);
        assert_eq!(cluster.identity().unwrap().key_pem, Secret::new(pkcs8), "{convert:?}");
    }
}

#[test]
fn all_that_is_wrong_with_a_pair_is_said_at_once() {
    let cluster = Cluster::new();
    let address = |text: &str| Problem::MissingAddress(text.parse().unwrap());
    let name = |found: &str| Problem::CommonName {
        found: vec![found.to_owned()],
        wanted: "system:node:worker-node-1".to_owned(),
    };
    let group = |found: &[&str]| Problem::Organization {
        found: found.iter().map(|text| (*text).to_owned()).collect(),
        wanted: "system:nodes".to_owned(),
    };
    let with = |from: &str, to: &str| NODE_EXTENSIONS.replace(from, to);
    let cases: &[(&str, &str, Vec<Problem>)] = &[
        ("/O=system:nodes/CN=system:node:worker-node-2", NODE_EXTENSIONS, vec![name("system:node:worker-node-2")]),
        ("/CN=system:node:worker-node-1", NODE_EXTENSIONS, vec![group(&[])]),
        (
            "/O=system:nodes/O=system:masters/CN=system:node:worker-node-1",
            NODE_EXTENSIONS,
            vec![group(&["system:nodes", "system:masters"])],
        ),
        (NODE_SUBJECT, &with("DNS:worker-node-1,", ""), vec![Problem::MissingName("worker-node-1".to_owned())]),
        (NODE_SUBJECT, &with("10.0.0.36", "10.0.0.37"), vec![address("10.0.0.36")]),
        (NODE_SUBJECT, &with("serverAuth,", ""), vec![Problem::Usage("servers")]),
        (NODE_SUBJECT, &with(",clientAuth", ""), vec![Problem::Usage("clients")]),
        (
            NODE_SUBJECT,
            &with("keyUsage=digitalSignature", "keyUsage=keyEncipherment"),
            vec![Problem::Usage("digital signatures")],
        ),
        (NODE_SUBJECT, &with("CA:FALSE", "CA:TRUE"), vec![Problem::IsACa]),
        (
            "/O=nodes/CN=x",
            "basicConstraints=CA:TRUE\nkeyUsage=keyCertSign\nextendedKeyUsage=codeSigning\nsubjectAltName=DNS:x\n",
            vec![
                name("x"),
                group(&["nodes"]),
                Problem::MissingName("worker-node-1".to_owned()),
                address("10.0.0.36"),
                Problem::Usage("digital signatures"),
                Problem::Usage("servers"),
                Problem::Usage("clients"),
                Problem::IsACa,
            ],
        ),
    ];
    for (subject, extensions, problems) in cases {
        cluster.provide("ca", subject, extensions, &[]);
        assert_eq!(&cluster.unfit(), problems, "{subject} {extensions}");
    }
    // No extended key usage at all forbids nothing.
    cluster.provide("ca", NODE_SUBJECT, &with("extendedKeyUsage=serverAuth,clientAuth\n", ""), &[]);
    assert_eq!(cluster.identity().unwrap().origin, Origin::Provided);
}

#[test]
fn a_pair_of_another_ca_or_time_is_refused() {
    let cluster = Cluster::new();
    // The same name with another key, then another name.
    for (subject, problem) in
        [(CA_SUBJECT, Problem::BadSignature), ("/CN=other", Problem::ForeignIssuer("CN=other".to_owned()))]
    {
        write_key(&cluster.file("other-key.pem"), &cluster.openssl(P256));
        cluster.self_sign("other", subject, CA_EXTENSIONS);
        cluster.provide("other", NODE_SUBJECT, NODE_EXTENSIONS, &[]);
        assert_eq!(cluster.unfit(), [problem]);
    }

    cluster.provide("ca", NODE_SUBJECT, NODE_EXTENSIONS, &[]);
    let identity = cluster.identity().unwrap();
    let problems_at = |now| match cluster.identity_at(&["10.0.0.36"], now) {
        Err(IdentityError::Unfit { problems, .. }) => problems,
        other => unreachable!("{other:?}"),
    };
    let second = SignedDuration::from_secs(1);
    assert_eq!(problems_at(identity.not_after + second), [Problem::Expired(identity.not_after)]);
    assert_eq!(cluster.identity_at(&["10.0.0.36"], identity.not_after).unwrap(), identity);

    // The key of another certificate, beside one that is otherwise wrong too.
    write_key(&cluster.file("worker-node-1-key.pem"), &cluster.openssl(P256));
    let error = cluster.identity_at(&["10.0.0.37"], cluster.now).unwrap_err();
    let path = cluster.file("worker-node-1.pem");
    assert_eq!(
        told(&error),
        format!(
            "{0} does not fit worker-node-1: IP address 10.0.0.37 is missing; the key beside it is another certificate's\n\
             hint: replace {0}, or remove it and its key to have a new pair issued",
            path.display()
        )
    );
}

#[test]
fn a_sha1_signature_is_refused_as_go_refuses_it() {
    let cluster = Cluster::empty();
    cluster.ca_from(&["genrsa", "2048"]);
    cluster.provide("ca", NODE_SUBJECT, NODE_EXTENSIONS, &["-sha1"]);
    assert_eq!(cluster.unfit(), [Problem::SignatureAlgorithm("1.2.840.113549.1.1.5".to_owned())]);
}

#[test]
fn half_a_pair_is_an_error() {
    for (present, missing) in
        [("worker-node-1.pem", "worker-node-1-key.pem"), ("worker-node-1-key.pem", "worker-node-1.pem")]
    {
        let cluster = Cluster::new();
        cluster.provide("ca", NODE_SUBJECT, NODE_EXTENSIONS, &[]);
        fs::remove_file(cluster.file(missing)).unwrap();
        let (present, missing) = (cluster.file(present), cluster.file(missing));
        let (present, missing) = (present.display(), missing.display());
        let wanted = format!(
            "there is {present} but not {missing}\nhint: add {missing}, or remove {present} to have a new pair issued"
        );
        assert_eq!(told(&cluster.identity().unwrap_err()), wanted);
    }
}

#[test]
fn without_a_ca_key_the_files_that_would_help_are_named() {
    let cluster = Cluster::new();
    let old = cluster.identity().unwrap();
    fs::remove_file(cluster.file("ca-key.pem")).unwrap();
    let ca = cluster.ca();
    assert_eq!((ca.has_key(), ca.warnings()), (false, &[][..]));
    let later = old.not_after + SignedDuration::from_secs(1);
    let error = cluster.identity_at(&["10.0.0.36"], later).unwrap_err();
    let (key, certificate) = (cluster.file("ca-key.pem"), cluster.file("worker-node-1.pem"));
    let (key, certificate) = (key.display(), certificate.display());
    let wanted = format!(
        "there is no certificate for worker-node-1, and no {key} to issue one (of the last one: expired at {})\n\
         hint: put the CA's key at {key}, or a certificate made elsewhere at {certificate} with its key \
         worker-node-1-key.pem beside it",
        old.not_after
    );
    assert_eq!(told(&error), wanted);
}

#[test]
fn a_ca_is_checked() {
    let cluster = Cluster::empty();
    let load = |now: Timestamp| Ca::load(&cluster.pki(), now).map(|ca| ca.has_key()).map_err(|error| told(&error));
    let (ca, key) = (cluster.file("ca.pem"), cluster.file("ca-key.pem"));
    let (ca, key) = (ca.display(), key.display());
    assert_eq!(
        load(cluster.now),
        Err(format!(
            "there is no CA certificate {ca}\n\
             hint: copy the cluster's CA certificate to {ca}, or set `pki` to its folder"
        ))
    );

    cluster.ca_from(P256);
    assert_eq!(load(cluster.now), Ok(true));
    let end = cluster.ca().not_after();
    let second = SignedDuration::from_secs(1);
    assert_eq!(load(end), Ok(true));
    assert_eq!(load(end + second), Err(format!("{ca} cannot be the cluster's CA: expired at {end}")));
    let start = end - 3650 * DAY;
    assert_eq!(load(start), Ok(true));
    assert_eq!(load(start - second), Err(format!("{ca} cannot be the cluster's CA: not valid before {start}")));

    for (extensions, problems) in [
        ("basicConstraints=CA:FALSE\n", "not a CA certificate"),
        ("subjectKeyIdentifier=hash\n", "not a CA certificate"),
        ("basicConstraints=CA:TRUE\nkeyUsage=cRLSign\n", "not for signing certificates"),
        ("basicConstraints=CA:FALSE\nkeyUsage=cRLSign\n", "not a CA certificate; not for signing certificates"),
    ] {
        cluster.self_sign("ca", CA_SUBJECT, extensions);
        assert_eq!(load(cluster.now), Err(format!("{ca} cannot be the cluster's CA: {problems}")));
    }
    cluster.self_sign("ca", CA_SUBJECT, "basicConstraints=CA:TRUE\n");
    assert_eq!(load(cluster.now), Ok(true));

    // The key of another CA, of the same kind and of another.
    for command in [P256, &["genrsa", "2048"], &["ecparam", "-name", "secp384r1", "-genkey"]] {
        write_key(&cluster.file("ca-key.pem"), &cluster.openssl(command));
        assert_eq!(
            load(cluster.now),
            Err(format!(
                "{key} is not the key of {ca}\n\
                 hint: copy both files from the same CA, or remove {key} and bring the nodes' certificates"
            ))
        );
    }

    cluster.ca_from(P256);
    let pem = fs::read_to_string(cluster.file("ca.pem")).unwrap();
    fs::write(cluster.file("ca.pem"), pem.repeat(2)).unwrap();
    assert_eq!(
        load(cluster.now),
        Err(format!(
            "{ca} holds 2 certificates instead of one\n\
             hint: keep only the certificate that signs the nodes' certificates"
        ))
    );
    fs::write(cluster.file("ca.pem"), cluster.openssl(P256)).unwrap();
    assert_eq!(load(cluster.now), Err(format!("{ca} is no certificate: no certificate in it")));
    fs::write(cluster.file("ca.pem"), pem.replace("-----END", "!\n-----END")).unwrap();
    let wanted = format!("{ca} is no certificate: the file is damaged: PEM block 1 is not base64");
    assert_eq!(load(cluster.now), Err(wanted));
}

#[test]
fn a_ca_of_no_end_is_taken() {
    let cluster = Cluster::empty();
    write_key(&cluster.file("ca-key.pem"), &cluster.openssl(P256));
    cluster.write_config(&format!(
        "{CA_EXTENSIONS}[ca]\ndefault_ca=d\n[d]\ndatabase=index\nserial=serial\nnew_certs_dir=.\npolicy=p\n\
         default_md=sha256\n[p]\ncommonName=supplied\n"
    ));
    fs::write(cluster.file("index"), "").unwrap();
    fs::write(cluster.file("serial"), "01\n").unwrap();
    cluster.openssl(&["req", "-new", "-config", "openssl.cnf", "-key", "ca-key.pem", "-subj", "/CN=ca", "-out", "csr"]);
    cluster.openssl(&[
        "ca",
        "-selfsign",
        "-batch",
        "-notext",
        "-config",
        "openssl.cnf",
        "-keyfile",
        "ca-key.pem",
        "-in",
        "csr",
        "-out",
        "ca.pem",
        "-extensions",
        "extensions",
        "-enddate",
        "99991231235959Z",
    ]);
    let identity = cluster.identity().unwrap();
    let lasts = identity.not_before.duration_until(identity.not_after);
    assert_eq!(lasts, 365 * DAY + SignedDuration::from_hours(1));
}

#[test]
fn the_ca_key_is_private() {
    let cluster = Cluster::new();
    let path = cluster.file("ca-key.pem");
    assert_eq!(cluster.ca().warnings(), []);
    fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    let warning = Warning::ReadableKey { path: path.clone(), mode: 0o644 };
    let ca = cluster.ca();
    assert_eq!(ca.warnings(), std::slice::from_ref(&warning));
    let wanted = format!("{} can be read by others (mode 0644); chmod 600 it", path.display());
    assert_eq!(warning.to_string(), wanted);
    assert_eq!(format!("{ca:?}"), format!("Ca {{ digest: {:?}, has_key: true, .. }}", ca.digest()));
    let shown = format!("{:?}", cluster.identity().unwrap());
    assert!(!shown.contains("PRIVATE KEY"), "{shown}");
    let der = cluster.openssl(&["x509", "-in", "ca.pem", "-noout", "-fingerprint", "-sha256"]);
    let wanted = der.trim_end().split_once('=').unwrap().1.replace(':', "").to_lowercase();
    assert_eq!(ca.digest().to_string(), wanted);
}

#[test]
fn unusable_keys_are_told_apart() {
    let encrypted = KeyError::Encrypted;
    let unsupported = |what: &str| KeyError::Unsupported(what.to_owned());
    let cases: &[(&str, &[&[&str]], KeyError)] = &[
        (
            "encrypted PKCS#8",
            &[&[
                "genpkey",
                "-algorithm",
                "EC",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-aes256",
                "-pass",
                "pass:secret",
            ]],
            encrypted,
        ),
        (
            "encrypted PKCS#1",
            &[&["genrsa", "-traditional", "-aes256", "-passout", "pass:secret", "2048"]],
            KeyError::Encrypted,
        ),
        ("short RSA", &[&["genrsa", "-traditional", "1024"]], unsupported("an RSA key of 1024 bits")),
        ("P-521", &[&["ecparam", "-name", "secp521r1", "-genkey"]], unsupported("an EC key on curve 1.3.132.0.35")),
        (
            "a curve spelled out",
            &[&[
                "genpkey",
                "-algorithm",
                "EC",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-pkeyopt",
                "ec_param_enc:explicit",
            ]],
            unsupported("an EC key with its curve spelled out"),
        ),
        ("Ed448", &[&["genpkey", "-algorithm", "ED448"]], unsupported("a key of kind 1.3.101.113")),
        ("only a public key", &[P256, &["pkey", "-in", "key", "-pubout"]], KeyError::Missing),
    ];
    let cluster = Cluster::new();
    for (what, commands, wanted) in cases {
        for command in *commands {
            fs::write(cluster.file("key"), cluster.openssl(command)).unwrap();
        }
        fs::copy(cluster.file("key"), cluster.file("ca-key.pem")).unwrap();
        match Ca::load(&cluster.pki(), cluster.now) {
            Err(IdentityError::Key { source, .. }) => assert_eq!(&source, wanted, "{what}"),
            other => unreachable!("{what}: {other:?}"),
        }
    }
    for (text, wanted) in [
        ("", KeyError::Missing),
        ("garbage \u{0} ä", KeyError::Missing),
        ("-----BEGIN PRIVATE KEY-----\n", KeyError::Pem(PemError::Unfinished(1))),
        ("-----BEGIN PRIVATE KEY-----\nä\n-----END PRIVATE KEY-----\n", KeyError::Pem(PemError::Base64(1))),
        ("-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n", KeyError::Malformed("PRIVATE KEY".to_owned())),
        (
            "-----BEGIN RSA PRIVATE KEY-----\nMAA=\n-----END RSA PRIVATE KEY-----\n",
            KeyError::Malformed("RSA PRIVATE KEY".to_owned()),
        ),
        (
            "-----BEGIN EC PRIVATE KEY-----\nMAA=\n-----END EC PRIVATE KEY-----\n",
            KeyError::Malformed("EC PRIVATE KEY".to_owned()),
        ),
        (
            "-----BEGIN DSA PRIVATE KEY-----\nMAA=\n-----END DSA PRIVATE KEY-----\n",
            KeyError::Unsupported("a block of \"DSA PRIVATE KEY\"".to_owned()),
        ),
    ] {
        fs::write(cluster.file("ca-key.pem"), text).unwrap();
        match Ca::load(&cluster.pki(), cluster.now) {
            Err(IdentityError::Key { source, .. }) => assert_eq!(source, wanted, "{text}"),
            other => unreachable!("{text}: {other:?}"),
        }
    }
}

/// The DER of a file's only PEM block, and its label.
fn der_of(path: &Path) -> (String, Vec<u8>) {
    let text = fs::read_to_string(path).unwrap();
    let mut lines = text.lines();
    let label = lines.next().unwrap().trim_matches('-').strip_prefix("BEGIN ").unwrap().to_owned();
    let base64: String = lines.take_while(|line| !line.starts_with('-')).collect();
    (label, STANDARD.decode(base64).unwrap())
}

#[test]
fn a_flipped_bit_anywhere_is_refused() {
    let cluster = Cluster::empty();
    for command in [P256, &["ecparam", "-name", "prime256v1", "-genkey", "-noout"]] {
        cluster.ca_from(command);
        cluster.provide("ca", NODE_SUBJECT, NODE_EXTENSIONS, &[]);
        for name in ["ca.pem", "ca-key.pem", "worker-node-1.pem", "worker-node-1-key.pem"] {
            let path = cluster.file(name);
            let original = fs::read(&path).unwrap();
            let (label, der) = der_of(&path);
            let issuer = if name == "ca.pem" { issuer_of(&der) } else { 0..0 };
            for index in (0..der.len()).filter(|index| !issuer.contains(index)) {
                for damaged in [flipped(&der, index), der[..index].to_vec()] {
                    let pem =
                        format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(&damaged));
                    fs::write(&path, pem).unwrap();
                    let result = cluster.identity();
                    assert!(result.is_err(), "{name}, byte {index} of {}: {result:?}", der.len());
                }
            }
            fs::write(&path, original).unwrap();
            assert_eq!(cluster.identity().unwrap().origin, Origin::Provided);
        }
    }
}

/// Where a certificate names its issuer: a CA of another issuer cannot be checked, and need not be.
fn issuer_of(der: &[u8]) -> std::ops::Range<usize> {
    let (_, certificate) = x509_parser::parse_x509_certificate(der).unwrap();
    let name = certificate.issuer().as_raw();
    let start = der.windows(name.len()).position(|window| window == name).unwrap();
    start..start + name.len()
}

/// With one bit of a byte flipped, another one from byte to byte.
fn flipped(der: &[u8], index: usize) -> Vec<u8> {
    let mut der = der.to_vec();
    der[index] ^= 1 << (index % 8);
    der
}
