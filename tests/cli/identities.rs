//! The pki folder in all the states in which people bring it, and the administrator's kubeconfig.

use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::world::{Ran, World, new_authority};

/// Builds and fails; nothing is left of a node.
fn refused(world: &World, wanted: &Ran) {
    world.must(&["fetch"]);
    let mut ran = world.run(&["build", "--all"]);
    // The payload is nobody's, and may be there already.
    ran.stderr = ran.stderr.split_inclusive('\n').filter(|line| !line.starts_with("bake payload")).collect();
    assert_eq!(ran, *wanted);
    let seeds: Vec<_> = world.tree("build").into_keys().filter(|name| name.contains("worker-node")).collect();
    assert_eq!(seeds, [""; 0]);
    assert!(!world.path(".nodebake").exists());
}

/// NAME.pem and NAME-key.pem for a node, signed by the CA for so many days.
pub(crate) fn provide(world: &World, node: &str, address: &str, days: &str) {
    world.openssl(&["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", "key.tmp"]);
    world.write_key(&format!("pki/{node}-key.pem"), world.read("pki/key.tmp").as_bytes());
    fs::remove_file(world.path("pki/key.tmp")).unwrap();
    let extensions = format!(
        "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature,keyEncipherment\n\
         extendedKeyUsage=serverAuth,clientAuth\nsubjectAltName=DNS:{node},IP:{address}\n"
    );
    fs::write(world.path("pki/ext"), extensions).unwrap();
    let (key, subject) = (format!("{node}-key.pem"), format!("/O=system:nodes/CN=system:node:{node}"));
    world.openssl(&["req", "-new", "-key", &key, "-subj", &subject, "-out", "csr"]);
    let sign = ["x509", "-req", "-in", "csr", "-CA", "ca.pem", "-CAkey", "ca-key.pem", "-extfile", "ext", "-sha256"];
    world.openssl(&[&sign[..], &["-set_serial", "4711", "-days", days, "-out", &format!("{node}.pem")]].concat());
    fs::remove_file(world.path("pki/ext")).unwrap();
    fs::remove_file(world.path("pki/csr")).unwrap();
}

#[test]
fn a_ca_that_cannot_sign_is_refused() {
    let world = World::locked();
    let (foreign, _) = new_authority("3650");
    let ca = world.read("pki/ca.pem");
    fs::write(world.path("pki/ca.pem"), &foreign).unwrap();
    let mismatch = Ran::failed(
        2,
        "FOLDER/pki/ca-key.pem is not the key of FOLDER/pki/ca.pem",
        "copy both files from the same CA, or remove FOLDER/pki/ca-key.pem and bring the nodes' certificates",
    );
    refused(&world, &mismatch);
    for verb in [&["up"][..], &["kubeconfig"]] {
        assert_eq!(world.run(verb), mismatch, "{verb:?}");
    }
    // What is there is shown and removed whatever has become of the CA's key.
    for verb in ["status", "down"] {
        assert_eq!(world.run(&[verb]).code, 0, "{verb}");
    }

    fs::write(world.path("pki/ca.pem"), format!("{ca}{}", String::from_utf8(foreign).unwrap())).unwrap();
    let several = "FOLDER/pki/ca.pem is no chain: its certificate 2 did not issue the one before";
    let hint = "put the CA first that signs the nodes' certificates, then the one that issued it, and so on; leave out all \
                others";
    refused(&world, &Ran::failed(2, several, hint));

    fs::remove_file(world.path("pki/ca.pem")).unwrap();
    let hint = "copy the cluster's CA certificate to FOLDER/pki/ca.pem, or set `pki` to its folder";
    refused(&world, &Ran::failed(2, "there is no CA certificate FOLDER/pki/ca.pem", hint));

    fs::write(world.path("pki/ca.pem"), "no certificate").unwrap();
    let hint = "it must be PEM: `openssl x509 -inform der -in FOLDER/pki/ca.pem` makes that of DER";
    refused(&world, &Ran::failed(2, "FOLDER/pki/ca.pem is no certificate: no certificate in it", hint));
}

#[test]
fn a_ca_key_that_cannot_be_read_is_refused() {
    let world = World::locked();
    let key = world.read("pki/ca-key.pem");
    fs::write(world.path("pki/ca-key.pem"), &key[..key.len() / 2]).unwrap();
    let error = "FOLDER/pki/ca-key.pem cannot be used: the file is damaged: PEM block 1 has no matching END line";
    refused(&world, &Ran::failed(2, error, ""));
    fs::write(world.path("pki/ca-key.pem"), &key).unwrap();
    let convert = ["rsa", "-traditional", "-in", "ca-key.pem", "-aes128", "-passout", "pass:secret"];
    world.openssl(&[&convert[..], &["-out", "ca-key.pem"]].concat());
    let error = "FOLDER/pki/ca-key.pem cannot be used: the private key is encrypted in a way that is not supported: PKCS#8 with \
                 AES or 3DES is";
    let hint = "encrypt it anew, in a file of its own: `openssl pkey -in FOLDER/pki/ca-key.pem -aes256 -out \
                FOLDER/pki/ca-key.pem.new`";
    refused(&world, &Ran::failed(2, error, hint));
}

#[test]
fn an_expired_ca_is_refused() {
    let world = World::locked();
    let (ca, key) = new_authority("1");
    fs::write(world.path("pki/ca.pem"), ca).unwrap();
    world.write_key("pki/ca-key.pem", &key);
    world.must(&["fetch"]);
    let end = world.openssl(&["x509", "-in", "ca.pem", "-noout", "-enddate", "-dateopt", "iso_8601"]);
    let end = end.trim_start_matches("notAfter=").trim().replace(' ', "T");
    let mut later = world.command(&["faketime", "-f", "+2d"]);
    let error = format!("FOLDER/pki/ca.pem cannot be the cluster's CA: expired at {end}");
    assert_eq!(world.run_command(later.args(["build", "--all"])), Ran::failed(2, &error, ""));
    assert_eq!(world.run(&["build", "--all"]).code, 0);
}

#[test]
fn without_the_ca_key_certificates_must_be_brought_along() {
    let world = World::locked();
    provide(&world, "worker-node-1", "10.0.0.36", "365");
    let key = world.read("pki/ca-key.pem");
    fs::remove_file(world.path("pki/ca-key.pem")).unwrap();
    world.must(&["fetch"]);
    let ran = world.must(&["build", "worker-node-1"]);
    assert!(!ran.stderr.contains("issued"), "{ran:?}");
    assert!(!world.path(".nodebake").exists());
    let manifest: Value = serde_json::from_str(&world.read("build/worker-node-1/manifest.json")).unwrap();
    assert_eq!(manifest["certificate"]["serial"], "1267");

    let error = "there is no certificate for worker-node-2, and no FOLDER/pki/ca-key.pem to issue one";
    let hint = "put the CA's key at FOLDER/pki/ca-key.pem, or a certificate made elsewhere at \
                FOLDER/pki/worker-node-2.pem with its key worker-node-2-key.pem beside it, or have one signed: `nodebake \
                identity csr worker-node-2`";
    assert_eq!(world.run(&["build", "--all"]), Ran::failed(2, error, hint));
    let error = "there is no certificate for kubernetes-admin, and no FOLDER/pki/ca-key.pem to issue one";
    assert_eq!(world.run(&["kubeconfig"]), Ran::failed(2, error, "put the CA's key at FOLDER/pki/ca-key.pem"));

    // What was issued while there was a key serves on without it.
    world.write_key("pki/ca-key.pem", key.as_bytes());
    world.must(&["build", "--all"]);
    fs::remove_file(world.path("pki/ca-key.pem")).unwrap();
    let before = world.tree("");
    world.must(&["build", "--all"]);
    assert_eq!(world.tree(""), before);
}

#[test]
fn a_certificate_brought_along_that_does_not_fit_is_refused() {
    let world = World::locked();
    provide(&world, "worker-node-1", "10.0.0.99", "365");
    let hint = "replace FOLDER/pki/worker-node-1.pem, or remove it and its key to have a new pair issued";
    let error = "FOLDER/pki/worker-node-1.pem does not fit worker-node-1: IP address 10.0.0.36 is missing";
    refused(&world, &Ran::failed(2, error, hint));

    provide(&world, "worker-node-1", "10.0.0.36", "365");
    fs::remove_file(world.path("pki/worker-node-1-key.pem")).unwrap();
    let error = "there is FOLDER/pki/worker-node-1.pem but not FOLDER/pki/worker-node-1-key.pem";
    let hint = "add FOLDER/pki/worker-node-1-key.pem, or remove FOLDER/pki/worker-node-1.pem to have a new pair issued";
    refused(&world, &Ran::failed(2, error, hint));
}

#[test]
fn keys_that_others_can_read_are_told() {
    let world = World::built();
    world.chmod("pki/ca-key.pem", 0o640);
    world.chmod(".nodebake/identities/worker-node-2/key.pem", 0o604);
    let ran = world.run(&["build", "--all"]);
    let warnings = "warning: FOLDER/pki/ca-key.pem can be read by others (mode 0640); chmod 600 it\n\
                    warning: worker-node-2: FOLDER/.nodebake/identities/worker-node-2/key.pem can be read by others \
                    (mode 0604); chmod 600 it\n";
    assert_eq!((ran.code, ran.stderr.as_str()), (0, warnings));
}

#[test]
fn an_identity_is_issued_anew_when_it_no_longer_fits() {
    let world = World::built();
    let keys = |world: &World| {
        ["worker-node-1", "worker-node-2"].map(|node| world.read(&format!(".nodebake/identities/{node}/key.pem")))
    };
    let before = keys(&world);
    world.edit("    address: 10.0.0.37", "    address: 10.0.0.38");
    let ran = world.must(&["build", "--all"]);
    let said = "worker-node-2: issued a certificate: IP address 10.0.0.38 is missing, name \"10.0.0.37\" is not the \
                node's\n";
    assert_eq!(ran.stderr, said);
    let after = keys(&world);
    assert_eq!((before[0] == after[0], before[1] == after[1]), (true, false));
    let names = |world: &World| {
        let certificate = "../.nodebake/identities/worker-node-2/cert.pem";
        let text = world.openssl(&["x509", "-in", certificate, "-noout", "-ext", "subjectAltName"]);
        text.lines().nth(1).unwrap().trim().to_owned()
    };
    assert_eq!(names(&world), "DNS:worker-node-2, IP Address:10.0.0.38");
    // With IPv6 it has two, and the node that has none keeps its own.
    world.edit("  gateway: 10.0.0.1\n", "  gateway: 10.0.0.1\n  cidr6: fd00:10::/64\n  gateway6: fd00:10::1\n");
    world.edit("    address: 10.0.0.38\n", "    address: 10.0.0.38\n    address6: fd00:10::38\n");
    let ran = world.must(&["build", "--all"]);
    assert_eq!(ran.stderr, "worker-node-2: issued a certificate: IP address fd00:10::38 is missing\n");
    assert_eq!(names(&world), "DNS:worker-node-2, IP Address:10.0.0.38, IP Address:FD00:10:0:0:0:0:0:38");
    assert_eq!(after[0], keys(&world)[0]);
}

#[test]
fn the_kubeconfig_is_the_administrators() {
    let world = World::new();
    let said = "wrote FOLDER/admin.kubeconfig (cluster administrator, https://10.0.0.4:6443)\n";
    assert_eq!(world.run(&["kubeconfig"]), Ran::ok("", said));
    let file: Value = serde_json::from_str(&world.read("admin.kubeconfig")).unwrap();
    let data = |value: &Value| STANDARD.decode(value.as_str().unwrap()).unwrap();
    let (cluster, user) = (&file["clusters"][0]["cluster"], &file["users"][0]["user"]);
    assert_eq!(
        file,
        json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "seed", "cluster": {
                "server": "https://10.0.0.4:6443",
                "certificate-authority-data": cluster["certificate-authority-data"],
            }}],
            "users": [{"name": "kubernetes-admin", "user": {
                "client-certificate-data": user["client-certificate-data"],
                "client-key-data": user["client-key-data"],
            }}],
            "contexts": [{"name": "kubernetes-admin@seed", "context": {"cluster": "seed", "user": "kubernetes-admin"}}],
            "current-context": "kubernetes-admin@seed",
        })
    );
    assert_eq!(data(&cluster["certificate-authority-data"]), fs::read(world.path("pki/ca.pem")).unwrap());
    fs::write(world.path("pki/admin.pem"), data(&user["client-certificate-data"])).unwrap();
    fs::write(world.path("pki/admin-key.pem"), data(&user["client-key-data"])).unwrap();
    let subject = world.openssl(&["x509", "-in", "admin.pem", "-noout", "-subject", "-nameopt", "RFC2253"]);
    assert_eq!(subject, "subject=CN=kubernetes-admin,O=system:masters\n");
    let verified = world.openssl(&["verify", "-CAfile", "ca.pem", "-purpose", "sslclient", "admin.pem"]);
    assert_eq!(verified, "admin.pem: OK\n");
    let of_certificate = world.openssl(&["x509", "-in", "admin.pem", "-noout", "-pubkey"]);
    assert_eq!(world.openssl(&["pkey", "-in", "admin-key.pem", "-pubout"]), of_certificate);

    // Where the cluster file says, or where the command line does.
    world.edit("  pki: pki\n", "  pki: pki\n  kubeconfig: here.kubeconfig\n");
    let said = |path| format!("wrote {path} (cluster administrator, https://10.0.0.4:6443)\n");
    assert_eq!(world.run(&["kubeconfig"]), Ran::ok("", said("FOLDER/here.kubeconfig")));
    assert_eq!(world.run(&["kubeconfig", "--out", "there"]), Ran::ok("", said("there")));
    assert!(world.path("here.kubeconfig").exists() && world.path("there").exists());
    let error = "cannot write no/folder: No such file or directory (os error 2)";
    assert_eq!(world.run(&["kubeconfig", "--out", "no/folder"]), Ran::failed(1, error, ""));
}
