//! The CA and its key, in all the forms in which they come.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;

use jiff::{SignedDuration, Timestamp};
use nodebake::identity::{IdentityError, KeyError, PemError, Warning};

use crate::world::{CA_EXTENSIONS, CA_SUBJECT, Cluster, DAY, P256, SECOND, told, write_key};

#[test]
fn without_a_ca_key_the_files_that_would_help_are_named() {
    let cluster = Cluster::new();
    let old = cluster.identity().unwrap();
    fs::remove_file(cluster.file("ca-key.pem")).unwrap();
    let ca = cluster.ca();
    assert_eq!((ca.has_key(), ca.warnings()), (false, &[][..]));
    let later = old.facts.validity.not_after + SignedDuration::from_secs(1);
    let error = cluster.identity_at(&["10.0.0.36"], later).unwrap_err();
    let (key, certificate) = (cluster.file("ca-key.pem"), cluster.file("worker-node-1.pem"));
    let (key, certificate) = (key.display(), certificate.display());
    let wanted = format!(
        "there is no certificate for worker-node-1, and no {key} to issue one (of the last one: expired at {})\n\
         hint: put the CA's key at {key}, or a certificate made elsewhere at {certificate} with its key \
         worker-node-1-key.pem beside it, or have one signed: `nodebake identity csr worker-node-1`",
        old.facts.validity.not_after
    );
    assert_eq!(told(&error), wanted);
}

#[test]
fn a_ca_is_checked() {
    let cluster = Cluster::empty();
    let load = |now: Timestamp| cluster.load(now).map(|ca| ca.has_key()).map_err(|error| told(&error));
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
    let end = cluster.ca().validity().not_after;
    assert_eq!(load(end), Ok(true));
    assert_eq!(load(end + SECOND), Err(format!("{ca} cannot be the cluster's CA: expired at {end}")));
    let start = end - 3650 * DAY;
    assert_eq!(load(start), Ok(true));
    assert_eq!(load(start - SECOND), Err(format!("{ca} cannot be the cluster's CA: not valid before {start}")));

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
            "{ca} is no chain: its certificate 2 did not issue the one before\n\
             hint: put the CA first that signs the nodes' certificates, then the one that issued it, and so on; leave out \
             all others"
        ))
    );
    fs::write(cluster.file("ca.pem"), cluster.openssl(P256)).unwrap();
    assert_eq!(
        load(cluster.now),
        Err(format!(
            "{ca} is no certificate: no certificate in it\n\
             hint: it must be PEM: `openssl x509 -inform der -in {ca}` makes that of DER"
        ))
    );
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
    let lasts = identity.facts.validity.not_before.duration_until(identity.facts.validity.not_after);
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
    let unsupported = |what: &str| KeyError::Unsupported(what.to_owned());
    let cases: &[(&str, &[&[&str]], KeyError)] = &[
        (
            "encrypted PKCS#1",
            &[&["genrsa", "-traditional", "-aes256", "-passout", "pass:secret", "2048"]],
            KeyError::Encryption,
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
        match cluster.load(cluster.now) {
            Err(IdentityError::CaKey { source, .. }) => assert_eq!(&source, wanted, "{what}"),
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
        match cluster.load(cluster.now) {
            Err(IdentityError::CaKey { source, .. }) => assert_eq!(source, wanted, "{text}"),
            other => unreachable!("{text}: {other:?}"),
        }
    }
}
