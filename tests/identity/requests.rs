//! Identities that somebody else signs: what goes out, and what is taken in.

use std::fs;
use std::path::{Path, PathBuf};

use nodebake::identity::{IdentityError, Imported, Origin, Requested, Warning};

use crate::world::{
    CA_EXTENSIONS, Cluster, NODE_EXTENSIONS, NODE_SUBJECT, P256, certificates, mode, node, request, told, write_key,
};

const NAMES: &[[&str; 2]] = &[["-verify_hostname", "worker-node-1"], ["-verify_ip", "10.0.0.36"]];

fn ask(cluster: &Cluster) -> Requested {
    cluster.with(cluster.now, |all| all.request(&request(&node(), &["10.0.0.36", "fd00::36"]))).unwrap()
}

fn import(cluster: &Cluster, from: &Path, replace: bool) -> Result<Imported, IdentityError> {
    cluster.with(cluster.now, |all| all.import(&request(&node(), &["10.0.0.36"]), from, replace))
}

/// Signs a request, as whoever has the CA does it: with what the request asks for.
fn sign(cluster: &Cluster, request_pem: &str, out: &str) -> PathBuf {
    fs::write(cluster.file("csr"), request_pem).unwrap();
    cluster.write_config(NODE_EXTENSIONS);
    cluster.openssl(&[
        "x509",
        "-req",
        "-in",
        "csr",
        "-CA",
        "ca.pem",
        "-CAkey",
        "signer-key.pem",
        "-CAcreateserial",
        "-out",
        out,
        "-copy_extensions",
        "copy",
        "-days",
        "365",
    ]);
    cluster.file(out)
}

/// A cluster whose CA's key is somebody else's: nodebake does not find it.
fn without_key() -> Cluster {
    let cluster = Cluster::new();
    fs::rename(cluster.file("ca-key.pem"), cluster.file("signer-key.pem")).unwrap();
    cluster
}

#[test]
fn a_request_says_what_the_certificate_must_be() {
    let cluster = without_key();
    let requested = ask(&cluster);
    assert_eq!((requested.key.clone(), mode(&requested.key)), (cluster.kept("csr-key.pem"), 0o600));
    fs::write(cluster.file("csr"), &requested.request_pem).unwrap();
    let text = cluster.openssl(&["req", "-in", "csr", "-verify", "-noout", "-subject", "-nameopt", "RFC2253", "-text"]);
    let lines: Vec<_> = text.lines().map(str::trim).collect();
    let from = lines.iter().position(|line| *line == "Requested Extensions:").unwrap();
    let until = lines.iter().position(|line| line.starts_with("Signature Algorithm:")).unwrap();
    let mut asked = lines[from + 1..until].to_vec();
    asked.sort_unstable();
    let mut wanted = vec![
        "X509v3 Subject Alternative Name:",
        "DNS:worker-node-1, IP Address:10.0.0.36, IP Address:FD00:0:0:0:0:0:0:36",
        "X509v3 Key Usage: critical",
        "Digital Signature",
        "X509v3 Extended Key Usage:",
        "TLS Web Server Authentication, TLS Web Client Authentication",
        "X509v3 Basic Constraints: critical",
        "CA:FALSE",
    ];
    wanted.sort_unstable();
    assert_eq!(asked, wanted);
    assert!(lines.contains(&"subject=CN=system:node:worker-node-1,O=system:nodes"), "{text}");
    // The key is its own, and the same as long as an answer may come.
    let public = cluster.openssl(&["req", "-in", "csr", "-noout", "-pubkey"]);
    assert_eq!(cluster.openssl(&["pkey", "-in", requested.key.to_str().unwrap(), "-pubout"]), public);
    let again = ask(&cluster);
    fs::write(cluster.file("csr"), &again.request_pem).unwrap();
    assert_eq!(cluster.openssl(&["req", "-in", "csr", "-noout", "-pubkey"]), public);
    // A damaged key is told, and never replaced: a certificate for it may be on its way.
    fs::write(cluster.kept("csr-key.pem"), "damaged").unwrap();
    let error = cluster.with(cluster.now, |all| all.request(&request(&node(), &["10.0.0.36"]))).unwrap_err();
    let path = cluster.kept("csr-key.pem");
    assert_eq!(told(&error), format!("{} cannot be used: no private key in it", path.display()));
}

#[test]
fn what_comes_back_is_taken_in_and_used() {
    let cluster = without_key();
    let requested = ask(&cluster);
    let signed = sign(&cluster, &requested.request_pem, "signed.pem");
    let key = fs::read_to_string(&requested.key).unwrap();
    let imported = import(&cluster, &signed, false).unwrap();
    let folder = cluster.file("worker-node-1");
    assert_eq!(imported.certificate, folder.join("cert.pem"));
    assert_eq!((mode(&folder), mode(&folder.join("cert.pem")), mode(&folder.join("key.pem"))), (0o700, 0o600, 0o600));
    assert_eq!(fs::read_to_string(folder.join("key.pem")).unwrap(), key);
    assert!(!requested.key.exists());
    let identity = cluster.identity().unwrap();
    assert_eq!((identity.origin, &identity.facts), (Origin::Provided, &imported.facts));
    assert_eq!(identity.warnings, Vec::<Warning>::new());
    cluster.verify(&identity, &["-CAfile", "ca.pem"], NAMES);
    // Once more changes nothing.
    assert_eq!(import(&cluster, &signed, false).unwrap(), imported);

    // The next one has another key, and takes the place of the first only where that is said.
    let next = ask(&cluster);
    let signed = sign(&cluster, &next.request_pem, "signed.pem");
    let hint = "hint: add --replace if it is to go";
    let wanted =
        format!("there is another certificate of worker-node-1 already: {}\n{hint}", folder.join("cert.pem").display());
    assert_eq!(told(&import(&cluster, &signed, false).unwrap_err()), wanted);
    assert_eq!(cluster.identity().unwrap().facts, identity.facts);
    let replaced = import(&cluster, &signed, true).unwrap();
    assert_ne!(replaced.facts.serial, imported.facts.serial);
    assert_eq!(cluster.identity().unwrap().facts, replaced.facts);
    assert!(!next.key.exists());
}

#[test]
fn a_cut_between_the_files_is_mended_by_the_next_run() {
    let cluster = without_key();
    let requested = ask(&cluster);
    let key = fs::read_to_string(&requested.key).unwrap();
    let signed = sign(&cluster, &requested.request_pem, "signed.pem");
    fs::create_dir(cluster.file("worker-node-1")).unwrap();
    // Nothing yet; the key; both, with the request's key still there.
    import(&cluster, &signed, false).unwrap();
    for left in ["cert.pem", "csr-key.pem"] {
        write_key(&cluster.kept("csr-key.pem"), &key);
        if left == "cert.pem" {
            fs::remove_file(cluster.file("worker-node-1/cert.pem")).unwrap();
        }
        import(&cluster, &signed, false).unwrap();
        assert_eq!(cluster.identity().unwrap().origin, Origin::Provided, "{left}");
        assert!(!cluster.kept("csr-key.pem").exists(), "{left}");
    }
}

#[test]
fn a_pair_may_be_taken_in_from_a_folder() {
    for names in [["cert.pem", "key.pem", "ca.pem"], ["tls.crt", "tls.key", "ca.crt"]] {
        let cluster = Cluster::new();
        cluster.sign("middle", "ca", "/CN=middle", CA_EXTENSIONS, &[]);
        cluster.sign("given", "middle", NODE_SUBJECT, NODE_EXTENSIONS, &[]);
        let folder = cluster.file("given");
        fs::create_dir(&folder).unwrap();
        fs::copy(cluster.file("given.pem"), folder.join(names[0])).unwrap();
        fs::copy(cluster.file("given-key.pem"), folder.join(names[1])).unwrap();
        cluster.concatenate(&["middle.pem", "ca.pem"], &format!("given/{}", names[2]));
        let imported = import(&cluster, &folder, false).unwrap();
        let presented = fs::read_to_string(&imported.certificate).unwrap();
        let text = |name: &str| fs::read_to_string(cluster.file(name)).unwrap();
        assert_eq!(certificates(&presented), [text("given.pem"), text("middle.pem")]);
        assert_eq!(cluster.identity().unwrap().origin, Origin::Provided);
    }
}

#[test]
fn what_stands_beside_the_ca_is_replaced_where_it_stands() {
    let cluster = Cluster::new();
    cluster.provide("ca", NODE_SUBJECT, NODE_EXTENSIONS, &[]);
    cluster.sign("next", "ca", NODE_SUBJECT, NODE_EXTENSIONS, &[]);
    fs::create_dir(cluster.file("next")).unwrap();
    fs::rename(cluster.file("next.pem"), cluster.file("next/tls.crt")).unwrap();
    fs::rename(cluster.file("next-key.pem"), cluster.file("next/tls.key")).unwrap();
    let path = cluster.file("worker-node-1.pem");
    let standing = format!("there is another certificate of worker-node-1 already: {}", path.display());
    assert_eq!(import(&cluster, &cluster.file("next"), false).unwrap_err().to_string(), standing);
    let imported = import(&cluster, &cluster.file("next"), true).unwrap();
    assert_eq!(imported.certificate, path);
    assert_eq!(cluster.identity().unwrap().facts, imported.facts);
    assert!(!cluster.file("worker-node-1").exists());
    // The same key signed again needs no leave: nothing is lost but the old certificate's end... which is another.
    cluster.openssl(&[
        "req",
        "-new",
        "-config",
        "openssl.cnf",
        "-key",
        "worker-node-1-key.pem",
        "-subj",
        NODE_SUBJECT,
        "-out",
        "csr",
    ]);
    cluster.sign_request("again.pem", "ca", &[]);
    assert_eq!(import(&cluster, &cluster.file("again.pem"), false).unwrap_err().to_string(), standing);
    let again = import(&cluster, &cluster.file("again.pem"), true).unwrap();
    assert_eq!(cluster.identity().unwrap().facts, again.facts);
}

#[test]
fn what_does_not_fit_is_not_taken_in() {
    let cluster = without_key();
    let requested = ask(&cluster);
    let hint = "hint: have it signed as the request says that `nodebake identity csr worker-node-1` writes";
    let path = cluster.file("signed.pem");
    let path = path.display();
    let csr = |subject: &str, extensions: &str| {
        cluster.write_config(extensions);
        let key = requested.key.to_str().unwrap();
        cluster.openssl(&["req", "-new", "-config", "openssl.cnf", "-key", key, "-subj", subject, "-out", "csr"]);
        let fixed = ["x509", "-req", "-in", "csr", "-CA", "ca.pem", "-CAkey", "signer-key.pem", "-CAcreateserial"];
        let own = ["-extfile", "openssl.cnf", "-extensions", "extensions", "-out", "signed.pem"];
        cluster.openssl(&[&fixed[..], &own, &["-days", "365"]].concat());
    };
    for (subject, extensions, problem) in [
        ("/CN=system:node:worker-node-1", NODE_EXTENSIONS.to_owned(), "organization [] instead of \"system:nodes\""),
        (NODE_SUBJECT, NODE_EXTENSIONS.replace("10.0.0.36", "10.0.0.37"), "IP address 10.0.0.36 is missing"),
        (NODE_SUBJECT, NODE_EXTENSIONS.replace("serverAuth,", ""), "not for servers"),
        (NODE_SUBJECT, NODE_EXTENSIONS.replace(",clientAuth", ""), "not for clients"),
    ] {
        csr(subject, &extensions);
        let error = import(&cluster, &cluster.file("signed.pem"), false).unwrap_err();
        assert_eq!(told(&error), format!("{path} does not fit worker-node-1: {problem}\n{hint}"));
    }
    // Another CA's.
    cluster.key("other", P256);
    cluster.self_sign("other", "/CN=other", CA_EXTENSIONS);
    fs::write(cluster.file("csr"), &requested.request_pem).unwrap();
    cluster.write_config(NODE_EXTENSIONS);
    cluster.sign_request("signed.pem", "other", &[]);
    let error = import(&cluster, &cluster.file("signed.pem"), false).unwrap_err();
    let foreign =
        format!("{path} does not fit worker-node-1: issued by \"CN=other\" instead of the CA in ca.pem\n{hint}");
    assert_eq!(told(&error), foreign);
    // Right, but for a key that nobody has.
    fs::rename(cluster.file("signer-key.pem"), cluster.file("ca-key.pem")).unwrap();
    cluster.sign("signed", "ca", NODE_SUBJECT, NODE_EXTENSIONS, &[]);
    let error = import(&cluster, &cluster.file("signed.pem"), false).unwrap_err();
    let wanted = format!(
        "none of the keys of worker-node-1 that are here belongs to {path}\n\
         hint: have a certificate signed for the request that `nodebake identity csr worker-node-1` writes, or import a \
         folder with certificate and key"
    );
    assert_eq!(told(&error), wanted);
    // With another key beside it.
    let folder = cluster.file("given");
    fs::create_dir(&folder).unwrap();
    fs::copy(cluster.file("signed.pem"), folder.join("cert.pem")).unwrap();
    fs::copy(cluster.file("ca-key.pem"), folder.join("key.pem")).unwrap();
    let wanted = format!(
        "{}/cert.pem does not fit worker-node-1: the key beside it is another certificate's\n{hint}",
        folder.display()
    );
    assert_eq!(told(&import(&cluster, &folder, false).unwrap_err()), wanted);
    // No file, no certificate, no folder of a known kind.
    let missing = "No such file or directory (os error 2)";
    let nowhere = cluster.file("nowhere.pem");
    let error = import(&cluster, &nowhere, false).unwrap_err();
    assert_eq!(told(&error), format!("cannot read {}: {missing}\nhint: check the path", nowhere.display()));
    cluster.openssl(&["x509", "-in", "signed.pem", "-outform", "der", "-out", "signed.der"]);
    let der = cluster.file("signed.der");
    let wanted = format!(
        "{0} is no certificate: no certificate in it\nhint: it must be PEM: `openssl x509 -inform der -in {0}` makes that of \
         DER",
        der.display()
    );
    assert_eq!(told(&import(&cluster, &der, false).unwrap_err()), wanted);
    let empty = cluster.file("empty");
    fs::create_dir(&empty).unwrap();
    let wanted = format!("{} holds neither cert.pem and key.pem nor tls.crt and tls.key", empty.display());
    assert_eq!(import(&cluster, &empty, false).unwrap_err().to_string(), wanted);
    assert!(!cluster.file("worker-node-1").exists() && requested.key.exists());
}
