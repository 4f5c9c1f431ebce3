//! What can go wrong with an identity.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::certificate::CertificateError;
use super::keys::KeyError;
use crate::config::NodeName;
use crate::whole_file;

/// An identity that could not be made or must not be used.
///
/// [`is_unexpected`](Self::is_unexpected) tells failures of the machine or of nodebake from faults in the files of the
/// pki folder, which the user can mend.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file could not be read; one that is missing where it may be missing is no error.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A file or folder could not be written or locked.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// There is no ca.pem.
    #[error("there is no CA certificate {}", path.display())]
    MissingCa {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// ca.pem holds more than one certificate.
    #[error("{} holds {count} certificates instead of one", path.display())]
    SeveralCas {
        /// The file.
        path: PathBuf,
        /// How many there are.
        count: usize,
    },
    /// A file holds no readable certificate.
    #[error("{} is no certificate", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: CertificateError,
    },
    /// ca.pem is a certificate, but none that can sign for the cluster now.
    #[error("{} cannot be the cluster's CA: {}", path.display(), listed(problems))]
    CaUnfit {
        /// The file.
        path: PathBuf,
        /// All that is wrong.
        problems: Vec<Problem>,
    },
    /// A file holds no usable private key.
    #[error("{} cannot be used", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: KeyError,
    },
    /// ca-key.pem is the key of another certificate than ca.pem.
    #[error("{} is not the key of {}", key.display(), certificate.display())]
    CaKeyMismatch {
        /// The key's file.
        key: PathBuf,
        /// The certificate's file.
        certificate: PathBuf,
    },
    /// Of NAME.pem and NAME-key.pem only one is there.
    #[error("there is {} but not {}", present.display(), missing.display())]
    HalfPair {
        /// The file that is there.
        present: PathBuf,
        /// The file that is not.
        missing: PathBuf,
    },
    /// A certificate that was brought along does not fit its node.
    #[error("{} does not fit {node}: {}", path.display(), listed(problems))]
    Unfit {
        /// The certificate's file.
        path: PathBuf,
        /// The node.
        node: NodeName,
        /// All that is wrong.
        problems: Vec<Problem>,
    },
    /// A certificate must be issued, and there is no CA key.
    #[error("there is no certificate for {node}, and no {} to issue one{}", ca_key.display(), because(replaced))]
    NoCaKey {
        /// The node, or the admin's user name.
        node: String,
        /// Where the CA key was looked for.
        ca_key: PathBuf,
        /// Where a certificate of the node was looked for; none for the admin.
        certificate: Option<PathBuf>,
        /// Why the certificate that was issued before is not used, where there is one.
        replaced: Vec<Problem>,
    },
    /// The cryptography library refused.
    #[error("cannot sign a certificate")]
    Sign(#[source] rcgen::Error),
    /// The signed certificate could not be put together.
    #[error("cannot encode a certificate")]
    Encode(#[source] pkcs8::der::Error),
    /// What was signed cannot be read back: a fault of nodebake.
    #[error("the issued certificate cannot be read back")]
    Issued(#[source] CertificateError),
    /// A kept SSH host key cannot be read, or one cannot be made.
    #[error("SSH host key {} cannot be used", path.display())]
    HostKey {
        /// Its file.
        path: PathBuf,
        /// What is wrong with it.
        source: ssh_key::Error,
    },
    /// The kubeconfig could not be written as JSON.
    #[error("cannot encode a kubeconfig")]
    Kubeconfig(#[source] serde_json::Error),
}

impl IdentityError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::MissingCa { path } => {
                Some(format!("copy the cluster's CA certificate to {}, or set `pki` to its folder", path.display()))
            }
            Self::SeveralCas { .. } => Some("keep only the certificate that signs the nodes' certificates".to_owned()),
            Self::CaKeyMismatch { key, .. } => Some(format!(
                "copy both files from the same CA, or remove {} and bring the nodes' certificates",
                key.display()
            )),
            Self::Key { path, source: KeyError::Encrypted } => {
                let path = path.display();
                Some(format!("decrypt it, for instance with `openssl pkey -in {path}`, into a file of mode 0600"))
            }
            Self::HalfPair { missing, present } => {
                Some(format!("add {}, or remove {} to have a new pair issued", missing.display(), present.display()))
            }
            Self::Unfit { path, .. } => {
                Some(format!("replace {}, or remove it and its key to have a new pair issued", path.display()))
            }
            Self::NoCaKey { ca_key, certificate: Some(certificate), node, .. } => Some(format!(
                "put the CA's key at {}, or a certificate made elsewhere at {} with its key {node}-key.pem beside it",
                ca_key.display(),
                certificate.display(),
            )),
            Self::NoCaKey { ca_key, .. } => Some(format!("put the CA's key at {}", ca_key.display())),
            Self::HostKey { path, .. } => Some(format!(
                "restore {} from a backup, or remove it: then another one is made, of which clients warn",
                path.display()
            )),
            Self::Write { source, .. } => whole_file::hint(source),
            Self::Read { .. }
            | Self::Certificate { .. }
            | Self::CaUnfit { .. }
            | Self::Key { .. }
            | Self::Sign(_)
            | Self::Encode(_)
            | Self::Issued(_)
            | Self::Kubeconfig(_) => None,
        }
    }

    /// Whether the machine or nodebake failed (exit code 1), rather than the pki folder being at fault (exit code 2).
    pub fn is_unexpected(&self) -> bool {
        match self {
            Self::Read { .. }
            | Self::Write { .. }
            | Self::Sign(_)
            | Self::Encode(_)
            | Self::Issued(_)
            | Self::HostKey { .. }
            | Self::Kubeconfig(_) => true,
            Self::MissingCa { .. }
            | Self::SeveralCas { .. }
            | Self::Certificate { .. }
            | Self::CaUnfit { .. }
            | Self::Key { .. }
            | Self::CaKeyMismatch { .. }
            | Self::HalfPair { .. }
            | Self::Unfit { .. }
            | Self::NoCaKey { .. } => false,
        }
    }

    pub(super) fn read(path: &Path, source: io::Error) -> Self {
        Self::Read { path: path.to_owned(), source }
    }

    pub(super) fn write(path: &Path, source: io::Error) -> Self {
        Self::Write { path: path.to_owned(), source }
    }
}

/// One thing that is wrong with a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// Issued by another CA; its name.
    ForeignIssuer(String),
    /// The issuer's name is right, its signature is not.
    BadSignature,
    /// A CA's signature of itself is wrong.
    BadSelfSignature,
    /// Signed with an algorithm that Go refuses, or that we cannot check; its object identifier.
    SignatureAlgorithm(String),
    /// Another common name than the wanted one.
    CommonName {
        /// What stands there.
        found: Vec<String>,
        /// What must stand there.
        wanted: String,
    },
    /// Other organizations (groups, to Kubernetes) than the wanted one.
    Organization {
        /// What stands there.
        found: Vec<String>,
        /// What must stand there.
        wanted: String,
    },
    /// The node's name is not among the DNS names.
    MissingName(String),
    /// An address of the node is not among the IP addresses.
    MissingAddress(IpAddr),
    /// A subject alternative name that the node has not (any more).
    ForeignName(String),
    /// Not valid before this time.
    NotYetValid(Timestamp),
    /// Not valid after this time.
    Expired(Timestamp),
    /// Still valid, but renewed this early.
    EndsSoon(Timestamp),
    /// Not for this use: a key usage or an extended key usage that is missing.
    Usage(&'static str),
    /// Where a CA is wanted: CA:TRUE is missing.
    NotACa,
    /// A node's certificate that could sign others.
    IsACa,
    /// The key beside it is another certificate's.
    KeyMismatch,
    /// What was kept is damaged; a part of the pair is missing or cannot be read as what it should be.
    Damaged(String),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ForeignIssuer(issuer) => write!(f, "issued by {issuer:?} instead of the CA in ca.pem"),
            Self::BadSignature => f.write_str("not signed with the key of the CA in ca.pem"),
            Self::BadSelfSignature => f.write_str("its own signature is wrong, so the file is damaged"),
            Self::SignatureAlgorithm(oid) => write!(f, "signed with an algorithm that is not accepted ({oid})"),
            Self::CommonName { found, wanted } => write!(f, "common name {found:?} instead of {wanted:?}"),
            Self::Organization { found, wanted } => write!(f, "organization {found:?} instead of {wanted:?}"),
            Self::MissingName(name) => write!(f, "DNS name {name:?} is missing"),
            Self::MissingAddress(address) => write!(f, "IP address {address} is missing"),
            Self::ForeignName(name) => write!(f, "name {name:?} is not the node's"),
            Self::NotYetValid(time) => write!(f, "not valid before {time}"),
            Self::Expired(time) => write!(f, "expired at {time}"),
            Self::EndsSoon(time) => write!(f, "ends soon, at {time}"),
            Self::Usage(usage) => write!(f, "not for {usage}"),
            Self::NotACa => f.write_str("not a CA certificate"),
            Self::IsACa => f.write_str("is a CA certificate"),
            Self::KeyMismatch => f.write_str("the key beside it is another certificate's"),
            Self::Damaged(what) => f.write_str(what),
        }
    }
}

fn listed(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

fn because(replaced: &[Problem]) -> String {
    if replaced.is_empty() { String::new() } else { format!(" (of the last one: {})", listed(replaced)) }
}

/// Something that works, and that the user should know of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Warning {
    /// A private key that others on this machine can read.
    ReadableKey {
        /// The key's file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ReadableKey { path, mode } => {
                write!(f, "{} can be read by others (mode {mode:04o}); chmod 600 it", path.display())
            }
        }
    }
}
