//! Pairs that people bring, in the pki folder.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;

use nodebake::identity::{IdentityError, Origin, Problem, Warning};
use nodebake::secret::Secret;

use crate::world::{CA_EXTENSIONS, CA_SUBJECT, Cluster, NODE_EXTENSIONS, NODE_SUBJECT, P256, SECOND, told, write_key};

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
    assert_eq!(format!("serial={}\n", identity.facts.serial.to_uppercase()), serial);
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
        cluster.key("other", P256);
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
    assert_eq!(
        problems_at(identity.facts.validity.not_after + SECOND),
        [Problem::Expired(identity.facts.validity.not_after)]
    );
    assert_eq!(cluster.identity_at(&["10.0.0.36"], identity.facts.validity.not_after).unwrap(), identity);

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
fn a_folder_of_the_nodes_own_serves_as_well() {
    for names in [["cert.pem", "key.pem", "ca.pem"], ["tls.crt", "tls.key", "ca.crt"]] {
        let cluster = Cluster::new();
        cluster.provide("ca", NODE_SUBJECT, NODE_EXTENSIONS, &[]);
        let flat = cluster.identity().unwrap();
        let folder = cluster.file("worker-node-1");
        fs::create_dir(&folder).unwrap();
        fs::rename(cluster.file("worker-node-1.pem"), folder.join(names[0])).unwrap();
        fs::rename(cluster.file("worker-node-1-key.pem"), folder.join(names[1])).unwrap();
        assert_eq!(cluster.identity().unwrap(), flat, "{names:?}");
        // The CA beside it must be the cluster's; it may be more than that.
        cluster.key("other", P256);
        cluster.self_sign("other", CA_SUBJECT, CA_EXTENSIONS);
        let ca = folder.join(names[2]);
        fs::copy(cluster.file("ca.pem"), &ca).unwrap();
        assert_eq!(cluster.identity().unwrap(), flat, "{names:?}");
        cluster.concatenate(&["other.pem", "ca.pem"], &format!("worker-node-1/{}", names[2]));
        assert_eq!(cluster.identity().unwrap(), flat, "{names:?}");
        fs::copy(cluster.file("other.pem"), &ca).unwrap();
        assert_eq!(cluster.unfit(), [Problem::OtherCa(ca.clone())], "{names:?}");
        fs::write(&ca, "no certificate").unwrap();
        let wanted = format!("{} is no certificate", ca.display());
        assert_eq!(cluster.identity().unwrap_err().to_string(), wanted);
        fs::remove_file(ca).unwrap();
        fs::remove_file(folder.join(names[1])).unwrap();
        let wanted = format!("there is {0}/{1} but not {0}/{2}", folder.display(), names[0], names[1]);
        assert_eq!(cluster.identity().unwrap_err().to_string(), wanted);
    }
}

#[test]
fn what_is_meant_must_be_clear() {
    let cluster = Cluster::new();
    cluster.provide("ca", NODE_SUBJECT, NODE_EXTENSIONS, &[]);
    let folder = cluster.file("worker-node-1");
    let (flat, shown) = (cluster.file("worker-node-1.pem"), folder.display());
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("node.crt"), "").unwrap();
    let wanted = format!(
        "{shown} holds neither cert.pem and key.pem nor tls.crt and tls.key\n\
         hint: put both files there, or remove {shown} to have a pair issued"
    );
    assert_eq!(told(&cluster.identity().unwrap_err()), wanted);
    for (name, wanted) in [
        ("cert.pem", format!("there are both {} and {shown}/cert.pem", flat.display())),
        ("tls.key", format!("there are both {shown}/cert.pem and {shown}/tls.key")),
    ] {
        fs::write(folder.join(name), "").unwrap();
        let wanted = format!("{wanted}\nhint: remove one of them, with its key");
        assert_eq!(told(&cluster.identity().unwrap_err()), wanted);
    }
}
