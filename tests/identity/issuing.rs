//! What is issued, verified by openssl.

use std::fs;

use jiff::{SignedDuration, Timestamp};
use nodebake::identity::{NodeIdentity, Origin};

use crate::world::{CA_EXTENSIONS, CA_SUBJECT, Cluster, DAY, P256, write_key};

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

/// What the node is called by.
const NAMES: &[[&str; 2]] =
    &[["-verify_hostname", "worker-node-1"], ["-verify_ip", "10.0.0.36"], ["-verify_ip", "fd00::36"]];

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
        cluster.verify(&identity, &["-CAfile", "ca.pem"], NAMES);
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
        identity.facts.serial.to_uppercase(),
        date(identity.facts.validity.not_before),
        date(identity.facts.validity.not_after),
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
        assert_eq!((identity.facts.validity.not_before, identity.facts.validity.not_after), (start, end), "{now}");
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
        cluster.key("ca", P256);
        cluster.self_sign("ca", subject, &CA_EXTENSIONS.replace("subjectKeyIdentifier=hash\n", ""));
        let identity = cluster.identity().unwrap();
        fs::write(cluster.file("node.pem"), &identity.certificate_pem).unwrap();
        let time = cluster.now.as_second().to_string();
        let printed = cluster.openssl(&["verify", "-CAfile", "ca.pem", "-attime", &time, "node.pem"]);
        assert_eq!(printed, "node.pem: OK\n", "{subject}");
        // Our own check compares the names as Go does.
        assert_eq!(cluster.identity().unwrap().origin, Origin::Reused, "{subject}");
    }
}
