//! Who a node is: its private key and its certificate, signed by the cluster's CA; and the operator's kubeconfig.
//!
//! Certificates come from the pki folder, from an earlier run, or are issued; so are SSH host keys: the one place where nodebake draws random
//! numbers. Nothing here is shown: keys are [`Secret`](crate::secret::Secret), and their files are of mode 0600 from
//! their first byte.

mod admin;
mod ca;
mod certificate;
mod der;
mod error;
mod issue;
mod keys;
mod node;
mod peer;
mod pem;
mod ssh;
mod store;

pub use admin::admin_kubeconfig;
pub use ca::Ca;
pub use certificate::CertificateError;
pub use error::{IdentityError, Problem, Warning};
pub use issue::BACKDATED;
pub use keys::KeyError;
pub use node::{NodeIdentity, NodeRequest, Origin, node_identity, private_keys, standing_identity};
pub use peer::PeerCertificate;
pub use pem::PemError;
pub use ssh::{HostKey, host_keys, standing_host_keys};
pub use store::write_private;
