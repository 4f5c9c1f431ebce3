//! What can go wrong with an identity.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::certificate::CertificateError;
use super::keys::KeyError;
use super::source::SourceError;
use crate::config::{NodeName, SecretSource};
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
    /// A certificate of ca.pem is not the issuer of the one before.
    #[error("{} is no chain: its certificate {number} did not issue the one before", path.display())]
    BrokenChain {
        /// The file.
        path: PathBuf,
        /// Which one, counted from 1.
        number: usize,
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
    /// The CA's key cannot be used.
    #[error("{from} cannot be used")]
    CaKey {
        /// Where it comes from.
        from: SecretSource,
        /// What is wrong with it.
        source: KeyError,
    },
    /// The CA's key is that of another certificate than the first of ca.pem.
    #[error("{key} is not the key of {}", certificate.display())]
    CaKeyMismatch {
        /// Where the key comes from.
        key: SecretSource,
        /// The certificate's file.
        certificate: PathBuf,
    },
    /// The CA's key, or its passphrase, cannot be fetched.
    #[error("{from} is of no use")]
    Secret {
        /// Where it should come from.
        from: SecretSource,
        /// Why it does not.
        source: SourceError,
    },
    /// The terminal cannot be asked for a passphrase.
    #[error("asking for a passphrase")]
    Ask(#[source] io::Error),
    /// The CA's key is encrypted, and there is nobody to ask for its passphrase.
    #[error("{from} is encrypted, and there is no terminal to ask for its passphrase")]
    NoPassphrase {
        /// Where the key comes from.
        from: SecretSource,
    },
    /// Of a certificate and its key only one is there.
    #[error("there is {} but not {}", present.display(), missing.display())]
    HalfPair {
        /// The file that is there.
        present: PathBuf,
        /// The file that is not.
        missing: PathBuf,
    },
    /// A node's files were brought along in two places.
    #[error("there are both {} and {}", first.display(), second.display())]
    TwoPairs {
        /// A file of the one.
        first: PathBuf,
        /// A file of the other.
        second: PathBuf,
    },
    /// A folder was made for a node, and what should be in it is not.
    #[error("{} holds neither cert.pem and key.pem nor tls.crt and tls.key", folder.display())]
    EmptyFolder {
        /// The folder.
        folder: PathBuf,
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
    /// A certificate that was signed elsewhere does not fit its node.
    #[error("{} does not fit {node}: {}", path.display(), listed(problems))]
    UnfitImport {
        /// The certificate's file.
        path: PathBuf,
        /// The node.
        node: NodeName,
        /// All that is wrong.
        problems: Vec<Problem>,
    },
    /// A certificate must be issued, and there is no CA key.
    #[error("there is no certificate for {node}, and no {ca_key} to issue one{}", because(replaced))]
    NoCaKey {
        /// The node, or the admin's user name.
        node: String,
        /// Where the CA key was looked for.
        ca_key: String,
        /// Where a certificate of the node was looked for; none for the admin.
        certificate: Option<PathBuf>,
        /// Why the certificate that was issued before is not used, where there is one.
        replaced: Vec<Problem>,
    },
    /// What the CA would issue would not be taken for the node's.
    #[error("a certificate that {} signed for {node} would be of no use: {}", ca.display(), listed(problems))]
    Unissuable {
        /// The CA's file.
        ca: PathBuf,
        /// The node, or the admin's user name.
        node: String,
        /// All that would be wrong.
        problems: Vec<Problem>,
    },
    /// A node's certificate was brought along, so that no other is issued.
    #[error("the certificate of {} was not issued by nodebake: {}", node, path.display())]
    BroughtAlong {
        /// The node.
        node: NodeName,
        /// The certificate's file.
        path: PathBuf,
    },
    /// A certificate would take the place of another one.
    #[error("there is another certificate of {node} already: {}", path.display())]
    Standing {
        /// The node.
        node: NodeName,
        /// That certificate's file.
        path: PathBuf,
    },
    /// A certificate came back for a key that is not here.
    #[error("none of the keys of {node} that are here belongs to {}", path.display())]
    NoSuchKey {
        /// The node.
        node: NodeName,
        /// The certificate's file.
        path: PathBuf,
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
            Self::BrokenChain { .. } => Some(
                "put the CA first that signs the nodes' certificates, then the one that issued it, and so on; leave out all \
                 others"
                    .to_owned(),
            ),
            Self::Certificate { path, source: CertificateError::Missing } => {
                let path = path.display();
                Some(format!("it must be PEM: `openssl x509 -inform der -in {path}` makes that of DER"))
            }
            Self::CaKeyMismatch { key: SecretSource::Path(key), .. } => Some(format!(
                "copy both files from the same CA, or remove {} and bring the nodes' certificates",
                key.display()
            )),
            Self::CaKeyMismatch { .. } => Some("the first certificate of ca.pem must be the key's own".to_owned()),
            Self::CaKey { from, source } => encryption_hint(from, source),
            Self::Secret { .. } => Some("cluster.caKey in the cluster file says where it comes from".to_owned()),
            Self::NoPassphrase { .. } => Some(
                "have cluster.caKey.passphrase in the cluster file say where it comes from: path, command, env or fd"
                    .to_owned(),
            ),
            Self::Key { path, source: KeyError::Encrypted } => {
                let path = path.display();
                Some(format!("decrypt it, for instance with `openssl pkey -in {path}`, into a file of mode 0600"))
            }
            Self::HalfPair { missing, present } => {
                Some(format!("add {}, or remove {} to have a new pair issued", missing.display(), present.display()))
            }
            Self::TwoPairs { .. } => Some("remove one of them, with its key".to_owned()),
            Self::EmptyFolder { folder } => {
                Some(format!("put both files there, or remove {} to have a pair issued", folder.display()))
            }
            Self::Unfit { path, .. } => {
                Some(format!("replace {}, or remove it and its key to have a new pair issued", path.display()))
            }
            Self::NoCaKey { ca_key, certificate: Some(certificate), node, .. } => Some(format!(
                "put the CA's key at {ca_key}, or a certificate made elsewhere at {} with its key {node}-key.pem beside it, \
                 or have one signed: `nodebake identity csr {node}`",
                certificate.display(),
            )),
            Self::NoCaKey { ca_key, .. } => Some(format!("put the CA's key at {ca_key}")),
            Self::Unissuable { .. } => {
                Some("take another CA for the cluster, or names and addresses that this one may give".to_owned())
            }
            Self::BroughtAlong { node, .. } => Some(format!(
                "have another one signed where it came from (`nodebake identity csr {node}`), or remove it and its key"
            )),
            Self::Standing { .. } => Some("add --replace if it is to go".to_owned()),
            Self::UnfitImport { node, .. } => {
                Some(format!("have it signed as the request says that `nodebake identity csr {node}` writes"))
            }
            Self::NoSuchKey { node, .. } => Some(format!(
                "have a certificate signed for the request that `nodebake identity csr {node}` writes, or import a folder \
                 with certificate and key"
            )),
            Self::HostKey { path, .. } => Some(format!(
                "restore {} from a backup, or remove it: then another one is made, of which clients warn",
                path.display()
            )),
            Self::Read { source, .. } if source.kind() == io::ErrorKind::NotFound => Some("check the path".to_owned()),
            Self::Write { source, .. } => whole_file::hint(source),
            Self::Read { .. }
            | Self::Certificate { .. }
            | Self::CaUnfit { .. }
            | Self::Key { .. }
            | Self::Ask(_)
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
            | Self::Ask(_)
            | Self::Sign(_)
            | Self::Encode(_)
            | Self::Issued(_)
            | Self::HostKey { .. }
            | Self::Kubeconfig(_) => true,
            Self::MissingCa { .. }
            | Self::BrokenChain { .. }
            | Self::Certificate { .. }
            | Self::CaUnfit { .. }
            | Self::Key { .. }
            | Self::CaKey { .. }
            | Self::CaKeyMismatch { .. }
            | Self::Secret { .. }
            | Self::NoPassphrase { .. }
            | Self::HalfPair { .. }
            | Self::TwoPairs { .. }
            | Self::EmptyFolder { .. }
            | Self::Unfit { .. }
            | Self::UnfitImport { .. }
            | Self::NoCaKey { .. }
            | Self::Unissuable { .. }
            | Self::BroughtAlong { .. }
            | Self::Standing { .. }
            | Self::NoSuchKey { .. } => false,
        }
    }

    pub(super) fn read(path: &Path, source: io::Error) -> Self {
        Self::Read { path: path.to_owned(), source }
    }

    pub(super) fn write(path: &Path, source: io::Error) -> Self {
        Self::Write { path: path.to_owned(), source }
    }
}

/// What to do about a key that is encrypted, and cannot be opened.
fn encryption_hint(from: &SecretSource, error: &KeyError) -> Option<String> {
    match (error, from) {
        (KeyError::Encryption, SecretSource::Path(path)) => {
            let path = path.display();
            Some(format!("encrypt it anew, in a file of its own: `openssl pkey -in {path} -aes256 -out {path}.new`"))
        }
        (KeyError::Encryption, _) => Some("encrypt it anew: `openssl pkey -in FILE -aes256 -out NEW`".to_owned()),
        (KeyError::Passphrase, _) => Some(
            "cluster.caKey.passphrase in the cluster file says where the passphrase comes from; its first line counts"
                .to_owned(),
        ),
        _ => None,
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
    /// The CA file beside it holds no certificate of ca.pem.
    OtherCa(PathBuf),
    /// Of a CA on the way up.
    Above {
        /// Its subject.
        ca: String,
        /// What is wrong with it.
        problem: Box<Problem>,
    },
    /// There are more CAs below a CA than it allows.
    PathTooLong,
    /// A client or server of TLS would refuse it; its words.
    Refused(String),
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
            Self::OtherCa(path) => write!(f, "{} beside it is of another CA than ca.pem", path.display()),
            Self::Above { ca, problem } => write!(f, "its issuer {ca:?}: {problem}"),
            Self::PathTooLong => f.write_str("there are more CAs below it than it allows"),
            Self::Refused(why) => write!(f, "TLS refuses it: {why}"),
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
