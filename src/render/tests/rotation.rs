//! Kubelets that replace their certificates by themselves, and where they find the first ones.

use serde_json::{Value, json};

use super::*;

const UNIT: &str = "/etc/systemd/system/kubelet.service";
const KUBECONFIG: &str = "/etc/kubernetes/kubelet.kubeconfig";

/// The seed cluster's first node, whose kubelet rotates these.
fn rotating(fields: &[&str]) -> Config {
    let mut config = config("worker-node-1");
    for field in fields {
        config.nodes[0].settings.kubelet.insert((*field).to_owned(), Value::Bool(true));
    }
    config
}

fn user(bundle: &NodeBundle) -> Value {
    let kubeconfig: Value = serde_yaml::from_str(public(bundle, KUBECONFIG).0).unwrap();
    kubeconfig["users"][0]["user"].clone()
}

fn serves(bundle: &NodeBundle) -> [Value; 2] {
    let config: Value = serde_yaml::from_str(public(bundle, kubelet::PATH).0).unwrap();
    ["tlsCertFile", "tlsPrivateKeyFile"].map(|field| config.get(field).cloned().unwrap_or_default())
}

#[test]
fn a_kubelet_finds_what_it_rotates_where_it_keeps_it() {
    let baked = ["/etc/kubernetes/pki/worker-node-1.pem", "/etc/kubernetes/pki/worker-node-1-key.pem"].map(Value::from);
    let pair = |certificate: &Value, key: &Value| json!({"client-certificate": certificate, "client-key": key});
    let current = Value::from("/var/lib/kubelet/pki/kubelet-client-current.pem");
    let none = [Value::Null, Value::Null];
    for (fields, client, server, uses) in [
        (&[][..], pair(&baked[0], &baked[1]), &baked, None),
        (&["rotateCertificates"], pair(&current, &current), &baked, Some("for use in client; do")),
        (&["serverTLSBootstrap"], pair(&baked[0], &baked[1]), &none, Some("for use in server; do")),
        (
            &["rotateCertificates", "serverTLSBootstrap"],
            pair(&current, &current),
            &none,
            Some("for use in client server; do"),
        ),
    ] {
        let bundle = bundle(&rotating(fields));
        assert_eq!((user(&bundle), &serves(&bundle)), (client, server), "{fields:?}");
        let script = bundle.file(CERTIFICATES).map(|_| public(&bundle, CERTIFICATES));
        let found = script.and_then(|(text, _)| text.lines().find(|line| line.starts_with("for ")));
        assert_eq!((found, script.map(|(_, mode)| mode)), (uses, uses.map(|_| 0o755)), "{fields:?}");
        // Whenever the kubelet starts, since only then all that it needs is mounted.
        let unit = public(&bundle, UNIT).0.lines().filter(|line| line.starts_with("ExecStartPre=")).collect::<Vec<_>>();
        let wanted: &[&str] = if uses.is_some() { &["ExecStartPre=/usr/local/lib/nodebake/certificates"] } else { &[] };
        assert_eq!(unit, wanted, "{fields:?}");
        // The pair itself is in the seed once.
        assert!(bundle.files.iter().all(|file| !file.path.starts_with("/var/lib/kubelet")), "{fields:?}");
    }
}

#[test]
fn what_is_off_is_not_rotated() {
    let mut config = rotating(&[]);
    for value in [json!(false), Value::Null, json!("true")] {
        config.nodes[0].settings.kubelet = [("rotateCertificates".to_owned(), value.clone())].into_iter().collect();
        assert_eq!(rotated(&config.nodes[0]), [""; 0], "{value}");
    }
}

#[test]
fn a_kubeconfig_that_names_what_nobody_makes_is_refused() {
    let config = rotating(&["rotateCertificates"]);
    let whole = bundle(&config);
    let checked = |bundle: &NodeBundle| {
        let result = checked(bundle, &config, &PayloadContents::default(), PayloadPlace::Drive);
        result.map_err(|error| crate::error::chain(&error))
    };
    assert_eq!(checked(&whole), Ok(()));
    let mut without = whole.clone();
    without.files.retain(|file| file.path != CERTIFICATES);
    without.meta_data = whole.meta_data.replace(&whole.instance_id(), &without.instance_id());
    let wanted = "worker-node-1: what template systemd/kubelet.service renders is not valid: it names \
                  /usr/local/lib/nodebake/certificates, which the bundle does not hold";
    assert_eq!(checked(&without), Err(wanted.to_owned()));
    let mut without = whole.clone();
    edit(&mut without, UNIT, "ExecStartPre", "ExecStartPost");
    let wanted = "worker-node-1: what template systemd/kubelet.service renders is not valid: ExecStartPre reads back as [], not as \
                  [\"/usr/local/lib/nodebake/certificates\"]";
    assert_eq!(checked(&without), Err(wanted.to_owned()));
    // A unit of the user's own is its author's, but for this.
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("systemd")).unwrap();
    let unit = public(&whole, UNIT).0.replace("ExecStartPre=/usr/local/lib/nodebake/certificates\n", "");
    std::fs::write(folder.path().join("systemd/kubelet.service"), unit).unwrap();
    let mut own = rotating(&["rotateCertificates"]);
    own.nodes[0].settings.templates = Some(folder.path().to_owned());
    let error = try_bundle(&own, PayloadContents::default(), PayloadPlace::Drive).unwrap_err();
    let wanted = "worker-node-1: what template kubelet/kubeconfig renders is not valid: that the kubelet's unit makes what it names \
                  reads back as false, not as true";
    assert_eq!(error.to_string(), wanted);
    // One of the two, or the file of another.
    let mut half = whole.clone();
    edit(&mut half, KUBECONFIG, "client-key: \"/var/lib/kubelet/pki/kubelet-client-current.pem\"", "client-key: /none");
    let wanted = "worker-node-1: what template kubelet/kubeconfig renders is not valid: it names /var/lib/kubelet/pki/kubelet-client-current.pem, which the \
                  bundle does not hold";
    assert_eq!(checked(&half), Err(wanted.to_owned()));
}

#[test]
fn nothing_of_ours_stands_where_a_kubelet_serves_with_its_own() {
    let mut config = rotating(&["serverTLSBootstrap"]);
    config.nodes[0].settings.kubelet.insert("tlsCertFile".to_owned(), json!("/own.pem"));
    let error = try_bundle(&config, PayloadContents::default(), PayloadPlace::Drive).unwrap_err();
    let wanted =
        "worker-node-1: kubelet.config.tlsCertFile: must not be set: nodebake writes the node's certificate there";
    assert_eq!(error.to_string(), wanted);
}
