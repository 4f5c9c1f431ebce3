//! CAs below other CAs: what is trusted, what is presented, and what breaks a chain.

use std::fs;

use nodebake::identity::{Origin, Problem};

use crate::handshakes::{admin_pair, handshake};
use crate::world::{CA_EXTENSIONS, CA_SUBJECT, Cluster, NODE_EXTENSIONS, NODE_SUBJECT, P256, certificates, told};

const NAMES: &[[&str; 2]] = &[["-verify_hostname", "worker-node-1"], ["-verify_ip", "10.0.0.36"]];

/// root.pem, below it middle.pem and below that ca.pem with its key, which is all of the chain, or ends before the root.
fn cluster(root: &[&str], key: &[&str], files: &[&str]) -> Cluster {
    let cluster = Cluster::empty();
    cluster.key("root", root);
    cluster.self_sign("root", "/CN=root", CA_EXTENSIONS);
    cluster.sign("middle", "root", "/CN=middle", CA_EXTENSIONS, &[]);
    below(&cluster, "middle", key, CA_EXTENSIONS);
    cluster.concatenate(files, "ca.pem");
    cluster
}

/// own.pem and ca-key.pem, signed by another CA.
fn below(cluster: &Cluster, upper: &str, key: &[&str], extensions: &str) {
    cluster.key("ca", key);
    cluster.write_config(extensions);
    let request = ["req", "-new", "-config", "openssl.cnf", "-key", "ca-key.pem", "-subj", CA_SUBJECT, "-out", "csr"];
    cluster.openssl(&request);
    cluster.sign_request("own.pem", upper, &[]);
}

const RSA: &[&str] = &["genrsa", "-traditional", "2048"];
const SEC1: &[&str] = &["ecparam", "-name", "secp384r1", "-genkey", "-noout"];
const WHOLE: &[&str] = &["own.pem", "middle.pem", "root.pem"];

#[test]
fn openssl_verifies_what_an_intermediate_issues() {
    for (root, key) in [(RSA, SEC1), (P256, RSA), (SEC1, P256)] {
        for files in [WHOLE, &["own.pem", "middle.pem"], &["own.pem"]] {
            let cluster = cluster(root, key, files);
            let identity = cluster.identity().unwrap();
            assert_eq!(identity.ca_pem, fs::read_to_string(cluster.file("ca.pem")).unwrap(), "{files:?}");
            let chain = certificates(&identity.certificate_pem);
            let text = |name: &str| fs::read_to_string(cluster.file(name)).unwrap();
            let between: Vec<_> = files.iter().filter(|name| **name != "root.pem").map(|name| text(name)).collect();
            assert_eq!(chain[1..], between, "{files:?}");
            // A peer that trusts the root, and is shown what the node presents.
            fs::write(cluster.file("presented.pem"), chain.concat()).unwrap();
            let whole = files.len() > 1;
            let untrusted = if whole { "presented.pem" } else { "middle.pem" };
            cluster.concatenate(&[untrusted, "presented.pem"], "untrusted.pem");
            cluster.verify(&identity, &["-CAfile", "root.pem", "-untrusted", "untrusted.pem"], NAMES);
            // One that trusts what is in ca.pem; openssl wants to be told that less than the root will do.
            cluster.verify(&identity, &["-partial_chain", "-CAfile", "ca.pem"], NAMES);
            if files == WHOLE {
                cluster.verify(&identity, &["-CAfile", "ca.pem"], NAMES);
            }
            assert_eq!(cluster.identity().unwrap().origin, Origin::Reused, "{files:?}");
        }
    }
}

#[test]
fn nodes_and_administrator_meet_below_an_intermediate() {
    let cluster = cluster(P256, P256, WHOLE);
    let identity = cluster.identity().unwrap();
    let node = (identity.certificate_pem, identity.key_pem);
    let admin = admin_pair(&cluster);
    for trust in ["ca.pem", "root.pem", "own.pem"] {
        handshake(&cluster, trust, &node, &node, "worker-node-1").unwrap();
        handshake(&cluster, trust, &node, &admin, "10.0.0.36").unwrap();
    }
}

#[test]
fn nothing_outlasts_the_chain() {
    let cluster = cluster(P256, P256, WHOLE);
    let end = cluster.ca().validity().not_after;
    // openssl's CA certificates below the root are of a year.
    let identity = cluster.identity().unwrap();
    assert_eq!(identity.facts.validity.not_after, end);
    assert_eq!(cluster.ca().digest(), {
        fs::copy(cluster.file("own.pem"), cluster.file("ca.pem")).unwrap();
        cluster.ca().digest()
    });
    // With less of the chain in ca.pem the node presents less, and is the same node.
    let shorter = cluster.identity().unwrap();
    assert_eq!((shorter.origin, &shorter.facts), (Origin::Reused, &identity.facts));
    assert_eq!(certificates(&shorter.certificate_pem), certificates(&identity.certificate_pem)[..2]);
}

#[test]
fn a_broken_chain_is_refused() {
    let whole = || cluster(P256, P256, WHOLE);
    let hint = "hint: put the CA first that signs the nodes' certificates, then the one that issued it, and so on; leave \
                out all others";
    for (files, number) in [
        (&["root.pem", "middle.pem", "own.pem"][..], 2),
        (&["own.pem", "root.pem"], 2),
        (&["own.pem", "own.pem"], 2),
        (&["own.pem", "middle.pem", "root.pem", "root.pem"], 4),
        (&["own.pem", "middle.pem", "other.pem"], 3),
    ] {
        let cluster = whole();
        cluster.key("other", P256);
        cluster.self_sign("other", "/CN=root", CA_EXTENSIONS);
        cluster.concatenate(files, "ca.pem");
        let path = cluster.file("ca.pem");
        let wanted =
            format!("{} is no chain: its certificate {number} did not issue the one before\n{hint}", path.display());
        assert_eq!(told(&cluster.load(cluster.now).unwrap_err()), wanted, "{files:?}");
    }
    // Every one of them must be a CA, and allow those below it.
    for (extensions, problem) in [
        ("basicConstraints=CA:FALSE\n", "not a CA certificate"),
        ("basicConstraints=CA:TRUE\nkeyUsage=cRLSign\n", "not for signing certificates"),
        ("basicConstraints=CA:TRUE,pathlen:0\n", "there are more CAs below it than it allows"),
    ] {
        let cluster = Cluster::empty();
        cluster.key("root", P256);
        cluster.self_sign("root", "/CN=root", CA_EXTENSIONS);
        cluster.sign("middle", "root", "/CN=middle", extensions, &[]);
        below(&cluster, "middle", P256, CA_EXTENSIONS);
        cluster.concatenate(WHOLE, "ca.pem");
        let path = cluster.file("ca.pem");
        let wanted = format!("{} cannot be the cluster's CA: its issuer \"CN=middle\": {problem}", path.display());
        assert_eq!(told(&cluster.load(cluster.now).unwrap_err()), wanted);
    }
    // Whatever is over is told, from the CA upwards.
    let cluster = whole();
    let end = |name: &str| {
        let printed = cluster.openssl(&["x509", "-in", name, "-noout", "-dateopt", "iso_8601", "-enddate"]);
        printed.trim_end().split_once('=').unwrap().1.replace(' ', "T")
    };
    let late = cluster.ca().validity().not_after + crate::world::DAY;
    let wanted = format!(
        "{} cannot be the cluster's CA: expired at {}; its issuer \"CN=middle\": expired at {}",
        cluster.file("ca.pem").display(),
        end("own.pem"),
        end("middle.pem")
    );
    assert_eq!(told(&cluster.load(late).unwrap_err()), wanted);
}

#[test]
fn a_ca_that_may_not_give_the_name_issues_nothing() {
    let cluster = Cluster::empty();
    cluster.key("root", P256);
    cluster.self_sign("root", "/CN=root", CA_EXTENSIONS);
    let constrained = format!("{CA_EXTENSIONS}nameConstraints=critical,permitted;DNS:example.com\n");
    below(&cluster, "root", P256, &constrained);
    cluster.concatenate(&["own.pem", "root.pem"], "ca.pem");
    let wanted = format!(
        "a certificate that {} signed for worker-node-1 would be of no use: TLS refuses it: NameConstraintViolation\n\
         hint: take another CA for the cluster, or names and addresses that this one may give",
        cluster.file("ca.pem").display()
    );
    assert_eq!(told(&cluster.identity().unwrap_err()), wanted);
    assert!(!cluster.kept("key.pem").exists());
    // Nor is one believed that was brought along.
    fs::copy(cluster.file("own.pem"), cluster.file("signer.pem")).unwrap();
    fs::copy(cluster.file("ca-key.pem"), cluster.file("signer-key.pem")).unwrap();
    cluster.provide("signer", NODE_SUBJECT, NODE_EXTENSIONS, &[]);
    assert_eq!(cluster.unfit(), [Problem::Refused("NameConstraintViolation".to_owned())]);
}

#[test]
fn what_is_brought_along_may_bring_its_own_way_up() {
    let cluster = Cluster::new();
    cluster.sign("middle", "ca", "/CN=middle", CA_EXTENSIONS, &[]);
    cluster.sign("lower", "middle", "/CN=lower", CA_EXTENSIONS, &[]);
    cluster.provide("lower", NODE_SUBJECT, NODE_EXTENSIONS, &[]);
    assert_eq!(cluster.unfit(), [Problem::ForeignIssuer("CN=lower".to_owned())]);
    fs::copy(cluster.file("worker-node-1.pem"), cluster.file("leaf.pem")).unwrap();
    cluster.concatenate(&["leaf.pem", "lower.pem"], "worker-node-1.pem");
    assert_eq!(cluster.unfit(), [Problem::ForeignIssuer("CN=middle".to_owned())]);
    // In any order, and with what has no part in it; presented is what leads up, in its order.
    for files in [&["leaf.pem", "lower.pem", "middle.pem"][..], &["leaf.pem", "ca.pem", "middle.pem", "lower.pem"]] {
        cluster.concatenate(files, "worker-node-1.pem");
        let identity = cluster.identity().unwrap();
        assert_eq!(identity.origin, Origin::Provided);
        cluster.concatenate(&["leaf.pem", "lower.pem", "middle.pem"], "wanted.pem");
        assert_eq!(identity.certificate_pem, fs::read_to_string(cluster.file("wanted.pem")).unwrap());
        cluster.concatenate(&["lower.pem", "middle.pem"], "untrusted.pem");
        cluster.verify(&identity, &["-CAfile", "ca.pem", "-untrusted", "untrusted.pem"], NAMES);
    }
    // CAs that sign each other lead nowhere.
    cluster.key("a", P256);
    cluster.self_sign("a", "/CN=a", CA_EXTENSIONS);
    cluster.provide("a", NODE_SUBJECT, NODE_EXTENSIONS, &[]);
    fs::copy(cluster.file("worker-node-1.pem"), cluster.file("leaf.pem")).unwrap();
    cluster.concatenate(&["leaf.pem", "a.pem", "a.pem"], "worker-node-1.pem");
    assert_eq!(cluster.unfit(), [Problem::ForeignIssuer("CN=a".to_owned())]);
}

#[test]
fn a_ca_between_is_checked_too() {
    let cluster = Cluster::new();
    for (extensions, problem) in [
        ("basicConstraints=CA:FALSE\n", Problem::NotACa),
        ("basicConstraints=CA:TRUE\nkeyUsage=cRLSign\n", Problem::Usage("signing certificates")),
    ] {
        cluster.sign("middle", "ca", "/CN=middle", extensions, &[]);
        cluster.provide("middle", NODE_SUBJECT, NODE_EXTENSIONS, &[]);
        fs::copy(cluster.file("worker-node-1.pem"), cluster.file("leaf.pem")).unwrap();
        cluster.concatenate(&["leaf.pem", "middle.pem"], "worker-node-1.pem");
        assert_eq!(cluster.unfit(), [Problem::Above { ca: "CN=middle".to_owned(), problem: Box::new(problem) }]);
    }
}
