//! Nodes and administrator meet: both sides of TLS, by rustls.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use nodebake::secret::Secret;

use crate::world::{Cluster, P256};

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
            let result = handshake(&cluster, "ca.pem", server, client, name);
            assert_eq!(result.is_ok(), works, "{name}: {result:?}");
        }
    }
}

pub(crate) type KeyPair = (String, Secret);

pub(crate) fn admin_pair(cluster: &Cluster) -> KeyPair {
    let name = "seed".parse().unwrap();
    let kubeconfig = cluster.admin_kubeconfig(&name).unwrap();
    let kubeconfig: serde_yaml::Value = serde_yaml::from_slice(kubeconfig.expose()).unwrap();
    let user = &kubeconfig["users"][0]["user"];
    let data = |key: &str| STANDARD.decode(user[key].as_str().unwrap()).unwrap();
    (String::from_utf8(data("client-certificate-data")).unwrap(), Secret::new(data("client-key-data")))
}

/// A TLS handshake in memory, both sides with a certificate of the CA.
pub(crate) fn handshake(
    cluster: &Cluster,
    trust: &str,
    server: &KeyPair,
    client: &KeyPair,
    name: &str,
) -> Result<(), rustls::Error> {
    use rustls::pki_types::pem::PemObject as _;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
    use rustls::server::WebPkiClientVerifier;

    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    for trusted in CertificateDer::pem_file_iter(cluster.file(trust)).unwrap() {
        roots.add(trusted.unwrap()).unwrap();
    }
    let roots = Arc::new(roots);
    let chain = |pair: &KeyPair| CertificateDer::pem_slice_iter(pair.0.as_bytes()).map(Result::unwrap).collect();
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
