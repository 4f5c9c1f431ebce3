//! Keys of CAs that somebody has locked away: encrypted, or not in a file at all. They are asked for when something must be
//! signed, once, and never before.

use std::fs;
use std::path::Path;

use nodebake::config::SecretSource;
use nodebake::identity::Origin;

use crate::world::{CA_EXTENSIONS, CA_SUBJECT, Cluster, P256, told, write_key};

const NAMES: &[[&str; 2]] = &[["-verify_hostname", "worker-node-1"], ["-verify_ip", "10.0.0.36"]];

fn command(script: &str, folder: &Path) -> SecretSource {
    let arguments = vec!["-c".to_owned(), script.to_owned()];
    SecretSource::Command { program: "sh".into(), arguments, folder: folder.to_owned() }
}

/// A CA whose key is encrypted in a way that openssl knows, with the passphrase "a secret".
fn encrypted(key: &[&str], how: &[&str]) -> Cluster {
    let cluster = Cluster::empty();
    cluster.key("plain", key);
    cluster.self_sign("plain", CA_SUBJECT, CA_EXTENSIONS);
    fs::rename(cluster.file("plain.pem"), cluster.file("ca.pem")).unwrap();
    let convert = [how, &["-in", "plain-key.pem", "-passout", "pass:a secret"]].concat();
    write_key(&cluster.file("ca-key.pem"), &cluster.openssl(&convert));
    cluster
}

const AES: &[&str] = &["pkey", "-aes256"];

#[test]
fn every_encryption_of_pkcs8_is_opened() {
    let rsa = &["genrsa", "-traditional", "2048"][..];
    let sec1 = &["ecparam", "-name", "secp384r1", "-genkey", "-noout"][..];
    let pkcs8 = |more: &[&'static str]| [&["pkcs8", "-topk8"][..], more].concat();
    for (key, how) in [
        (P256, AES.to_vec()),
        (rsa, AES.to_vec()),
        (sec1, AES.to_vec()),
        (P256, vec!["pkey", "-des3"]),
        (P256, vec!["pkey", "-aes-128-cbc"]),
        (P256, vec!["pkey", "-aes-192-cbc"]),
        (P256, pkcs8(&["-v2", "aes-256-cbc", "-v2prf", "hmacWithSHA1"])),
        (P256, pkcs8(&["-v2", "aes-256-cbc", "-v2prf", "hmacWithSHA512", "-iter", "10000"])),
        (P256, pkcs8(&["-scrypt"])),
    ] {
        let mut cluster = encrypted(key, &how);
        cluster.ca_key.passphrase = Some(command("printf 'a secret\\nand more'", Path::new("/")));
        let identity = cluster.identity().unwrap();
        assert_eq!(identity.origin, Origin::Issued, "{how:?}");
        cluster.verify(&identity, &["-CAfile", "ca.pem"], NAMES);
    }
}

#[test]
fn what_is_encrypted_otherwise_is_refused() {
    for how in [
        &["pkcs8", "-topk8", "-v1", "PBE-SHA1-3DES"][..],
        &["pkcs8", "-topk8", "-v2", "camellia256"],
        &["ec", "-aes256"],
    ] {
        let cluster = encrypted(P256, how);
        *cluster.typed.lock().unwrap() = vec!["a secret"];
        let path = cluster.file("ca-key.pem");
        let path = path.display();
        let wanted = format!(
            "{path} cannot be used: the private key is encrypted in a way that is not supported: PKCS#8 with AES or 3DES is\n\
             hint: encrypt it anew, in a file of its own: `openssl pkey -in {path} -aes256 -out {path}.new`"
        );
        assert_eq!(told(&cluster.identity().unwrap_err()), wanted, "{how:?}");
    }
}

#[test]
fn the_passphrase_is_asked_for_once_and_only_to_sign() {
    let cluster = encrypted(P256, AES);
    let path = cluster.file("ca-key.pem");
    let question = format!("Passphrase of the CA's key ({}): ", path.display());
    // Nothing is signed: nobody is asked.
    let ca = cluster.ca();
    assert_eq!((ca.has_key(), ca.asks_for_key(), ca.key_place()), (true, true, path.display().to_string()));
    assert_eq!(*cluster.asked.lock().unwrap(), [""; 0]);
    // A slip or two, then two certificates.
    *cluster.typed.lock().unwrap() = vec!["a secret", "", "a  secret"];
    let names = ["worker-node-1", "worker-node-2"].map(|name| name.parse().unwrap());
    let issued = cluster.with(cluster.now, |all| {
        names.iter().map(|name| all.of(&crate::world::request(name, &["10.0.0.36"]))).collect::<Result<Vec<_>, _>>()
    });
    assert_eq!(issued.unwrap().iter().map(|one| one.origin).collect::<Vec<_>>(), [Origin::Issued; 2]);
    assert_eq!(*cluster.asked.lock().unwrap(), vec![question.clone(); 3]);
    // What was issued is reused without it.
    assert_eq!(cluster.identity().unwrap().origin, Origin::Reused);
    assert_eq!(cluster.asked.lock().unwrap().len(), 3);

    let wrong = format!(
        "{} cannot be used: the passphrase is not its own\n\
         hint: cluster.caKey.passphrase in the cluster file says where the passphrase comes from; its first line counts",
        path.display()
    );
    fs::remove_dir_all(cluster.state()).unwrap();
    *cluster.typed.lock().unwrap() = vec!["never seen", "3", "2", "1"];
    assert_eq!(told(&cluster.identity().unwrap_err()), wrong);
    assert_eq!(*cluster.typed.lock().unwrap(), ["never seen"]);
    cluster.typed.lock().unwrap().clear();
    let nobody = format!(
        "{} is encrypted, and there is no terminal to ask for its passphrase\n\
         hint: have cluster.caKey.passphrase in the cluster file say where it comes from: path, command, env or fd",
        path.display()
    );
    assert_eq!(told(&cluster.identity().unwrap_err()), nobody);
    assert!(!cluster.state().exists());
}

#[test]
fn a_passphrase_comes_from_where_the_cluster_file_says() {
    let mut cluster = encrypted(P256, AES);
    let hint = "cluster.caKey in the cluster file says where it comes from";
    let file = cluster.file("passphrase");
    fs::write(&file, "a secret\r\n").unwrap();
    let path = cluster.file("ca-key.pem");
    let wrong = format!(
        "{} cannot be used: the passphrase is not its own\n\
         hint: cluster.caKey.passphrase in the cluster file says where the passphrase comes from; its first line counts",
        path.display()
    );
    let failed = format!("the output of sh is of no use: sh failed (exit status: 1)\nhint: {hint}");
    let missing = "No such file or directory (os error 2)";
    let nothing = format!("/nonexistent is of no use: it cannot be read: {missing}\nhint: {hint}");
    let unset = format!("the variable NODEBAKE_NOT_SET is of no use: it is not set\nhint: {hint}");
    let closed = format!("file descriptor 1023 is of no use: it cannot be read: {missing}\nhint: {hint}");
    for (passphrase, wanted) in [
        (SecretSource::Path(file.clone()), Ok(Origin::Issued)),
        (command("cat pki/passphrase", cluster.pki().parent().unwrap()), Ok(Origin::Issued)),
        (command("echo 'another secret'", Path::new("/")), Err(wrong.clone())),
        (SecretSource::Environment("CARGO_PKG_NAME".to_owned()), Err(wrong)),
        (command("echo 'a secret'; exit 1", Path::new("/")), Err(failed)),
        (SecretSource::Path("/nonexistent".into()), Err(nothing)),
        (SecretSource::Environment("NODEBAKE_NOT_SET".to_owned()), Err(unset)),
        (SecretSource::Descriptor(1023), Err(closed)),
    ] {
        let _ = fs::remove_dir_all(cluster.state());
        cluster.ca_key.passphrase = Some(passphrase.clone());
        let found = cluster.identity().map(|identity| identity.origin).map_err(|error| told(&error));
        assert_eq!(found, wanted, "{passphrase:?}");
    }
    assert_eq!(*cluster.asked.lock().unwrap(), [""; 0]);
}

#[test]
fn a_key_need_not_be_a_file() {
    let mut cluster = Cluster::new();
    fs::rename(cluster.file("ca-key.pem"), cluster.file("elsewhere.pem")).unwrap();
    let parent = cluster.pki();
    cluster.ca_key.from = Some(command("echo x >>asked; cat elsewhere.pem", &parent));
    let ca = cluster.ca();
    assert_eq!((ca.has_key(), ca.asks_for_key(), ca.key_place()), (true, true, "the output of sh".to_owned()));
    assert!(!cluster.file("asked").exists());
    let identity = cluster.identity().unwrap();
    cluster.verify(&identity, &["-CAfile", "ca.pem"], NAMES);
    assert_eq!(cluster.identity().unwrap().origin, Origin::Reused);
    assert_eq!(fs::read_to_string(cluster.file("asked")).unwrap(), "x\n");

    // What comes is checked like a file.
    fs::remove_dir_all(cluster.state()).unwrap();
    cluster.key("other", P256);
    let ca_pem = cluster.file("ca.pem");
    let hint = "cluster.caKey in the cluster file says where it comes from";
    for (from, wanted) in [
        (command("cat other-key.pem", &parent), format!(
            "the output of sh is not the key of {}\nhint: the first certificate of ca.pem must be the key's own",
            ca_pem.display()
        )),
        (command("echo nothing", &parent), "the output of sh cannot be used: no private key in it".to_owned()),
        (command("cat elsewhere.pem; exit 2", &parent), format!(
            "the output of sh is of no use: sh failed (exit status: 2)\nhint: {hint}"
        )),
        (SecretSource::Environment("CARGO_PKG_NAME".to_owned()),
            "the variable CARGO_PKG_NAME cannot be used: no private key in it".to_owned()),
        (command("openssl ec -aes256 -passout pass:x -in elsewhere.pem 2>/dev/null", &parent),
            "the output of sh cannot be used: the private key is encrypted in a way that is not supported: PKCS#8 with AES \
             or 3DES is\nhint: encrypt it anew: `openssl pkey -in FILE -aes256 -out NEW`".to_owned()),
        (command("openssl pkey -aes256 -passout pass:x -in elsewhere.pem", &parent),
            "the output of sh is encrypted, and there is no terminal to ask for its passphrase\n\
             hint: have cluster.caKey.passphrase in the cluster file say where it comes from: path, command, env or fd"
                .to_owned()),
    ] {
        cluster.ca_key.from = Some(from.clone());
        assert_eq!(told(&cluster.identity().unwrap_err()), wanted, "{from:?}");
        assert!(!cluster.state().exists(), "{from:?}");
    }
    // A file somewhere else, which is there or not.
    cluster.ca_key.from = Some(SecretSource::Path(cluster.file("elsewhere.pem")));
    assert_eq!(cluster.identity().unwrap().origin, Origin::Issued);
    fs::remove_dir_all(cluster.state()).unwrap();
    let nowhere = cluster.file("nowhere.pem");
    cluster.ca_key.from = Some(SecretSource::Path(nowhere.clone()));
    let error = cluster.identity().unwrap_err();
    let wanted = format!("there is no certificate for worker-node-1, and no {} to issue one", nowhere.display());
    assert_eq!(error.to_string(), wanted);
}
