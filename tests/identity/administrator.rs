//! The administrator's kubeconfig.

use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::world::{Cluster, told};

#[test]
fn the_admin_kubeconfig_is_whole() {
    let cluster = Cluster::new();
    // A cluster whose name YAML would read as a boolean.
    let name = "no".parse().unwrap();
    let secret = cluster.admin_kubeconfig(&name).unwrap();
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
    let error = cluster.admin_kubeconfig(&name).unwrap_err();
    let path = cluster.file("ca-key.pem");
    assert_eq!(
        told(&error),
        format!(
            "there is no certificate for kubernetes-admin, and no {0} to issue one\nhint: put the CA's key at {0}",
            path.display()
        )
    );
}
