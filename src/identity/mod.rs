//! Who a node is: its private key and its certificate, signed by the cluster's CA; and the operator's kubeconfig.
//!
//! Certificates come from the pki folder, from an earlier run, or are issued; so are SSH host keys: the one place where
//! nodebake draws random numbers. docs/identity.md tells the whole. Nothing here is shown: keys are [`Secret`](crate::secret::Secret), and their files are of mode 0600 from
//! their first byte.

mod admin;
mod brought;
mod ca;
mod certificate;
mod chain;
mod der;
mod error;
mod issue;
mod keys;
mod kubeconfig;
mod list;
mod node;
mod peer;
mod pem;
mod request;
mod source;
mod ssh;
mod store;

pub use admin::admin_kubeconfig;
pub use ca::{Ask, Ca};
pub use certificate::{CertificateError, Validity};
pub use error::{IdentityError, Problem, Warning};
pub use issue::BACKDATED;
pub use keys::KeyError;
pub use kubeconfig::{ClientCertificate, KubeconfigError, KubeconfigUser};
pub use list::{Kind, Listed, State, rotation_note};
pub use node::{Facts, Identities, NodeIdentity, NodeRequest, Origin, private_keys};
pub use peer::PeerCertificate;
pub use pem::PemError;
pub use request::{Imported, Requested};
pub use source::SourceError;
pub use ssh::{HostKey, host_keys, standing_host_keys};
pub use store::write_private;
