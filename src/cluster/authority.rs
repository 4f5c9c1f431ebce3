//! What the apiserver tells an administrator of itself: its version, and by whose certificates it knows its clients.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::Api;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::{Cluster, ClusterError};

/// Where the apiserver publishes what it was started with
/// (<https://kubernetes.io/docs/tasks/extend-kubernetes/configure-aggregation-layer/>), and under which key its
/// `--client-ca-file`.
const PUBLISHED: (&str, &str, &str) = ("kube-system", "extension-apiserver-authentication", "client-ca-file");

impl Cluster {
    /// Its version, `v1.35.1`.
    pub fn version(&self) -> Result<String, ClusterError> {
        Ok(self.ask("its version", self.client.apiserver_version())?.git_version)
    }

    /// The CA certificates, in DER form, that it knows clients by; none where it does not tell this user.
    pub fn client_authorities(&self) -> Result<Option<Vec<Vec<u8>>>, ClusterError> {
        let (namespace, name, key) = PUBLISHED;
        let maps: Api<ConfigMap> = Api::namespaced(self.client.clone(), namespace);
        let text = match self.ask("its client CA", maps.get_opt(name)) {
            Ok(map) => map.and_then(|map| map.data?.remove(key)),
            Err(error) if error.is_forbidden() => None,
            Err(error) => return Err(error),
        };
        let certificates =
            |text: String| CertificateDer::pem_slice_iter(text.as_bytes()).flatten().map(|der| der.to_vec()).collect();
        Ok(text.map(certificates).filter(|all: &Vec<_>| !all.is_empty()))
    }
}
