//! The identity of a node: brought along, kept, or issued.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};

use super::ca::Ca;
use super::certificate::{self, Certificate, Wanted};
use super::error::{IdentityError, Problem, Warning};
use super::issue::{self, Subject};
use super::keys::{KeyError, PrivateKey};
use super::store::{self, Kept};
use crate::config::NodeName;
use crate::secret::Secret;

/// The group of all nodes, which the Node authorizer and the `NodeRestriction` admission plugin ask for.
const GROUP: &str = "system:nodes";
/// What we issued is renewed this long before its end, if a new one would last longer.
const RENEWED_BEFORE_END: SignedDuration = SignedDuration::from_hours(30 * 24);

/// Whose identity is wanted.
#[derive(Debug, Clone, Copy)]
pub struct NodeRequest<'a> {
    /// Name of the node: CN=system:node:NAME, and a DNS name of its certificate.
    pub node: &'a NodeName,
    /// Addresses under which the apiserver reaches the kubelet; IP addresses of its certificate.
    pub addresses: &'a [IpAddr],
}

/// Where an identity came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// NAME.pem and NAME-key.pem stand in the pki folder.
    Provided,
    /// Signed just now.
    Issued,
    /// Signed by an earlier run, and still right.
    Reused,
}

/// A node's key and certificate, as they go into its seed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeIdentity {
    /// The node's certificate, and behind it any other that its file holds, in PEM.
    pub certificate_pem: String,
    /// Its private key, PKCS#8 in PEM.
    pub key_pem: Secret,
    /// The CA's certificate in PEM.
    pub ca_pem: String,
    /// Serial number in lowercase hexadecimal digits, two for each byte, no leading zero byte.
    pub serial: String,
    /// Start of its validity, in whole seconds.
    pub not_before: Timestamp,
    /// End of its validity, in whole seconds.
    pub not_after: Timestamp,
    /// Where it came from.
    pub origin: Origin,
    /// Why the one that was issued before is not used any more; empty when there was none, or it still is.
    pub replaced: Vec<Problem>,
    /// What the user should know, though it works.
    pub warnings: Vec<Warning>,
}

/// The identity of a node: NAME.pem and NAME-key.pem of the pki folder if they are there, else what was issued before if it
/// still fits, else a new one, signed by the CA and kept under `state_dir/identities/NAME`.
///
/// A pair in the pki folder that does not fit is an error, never replaced. What was issued is kept while the CA has
/// signed it, its names and addresses are exactly the node's, key and certificate belong together, and it does not end
/// within 30 days, unless the CA itself ends then and a new one would not last longer.
pub fn node_identity(
    ca: &Ca,
    request: &NodeRequest<'_>,
    pki_dir: &Path,
    state_dir: &Path,
    now: Timestamp,
) -> Result<NodeIdentity, IdentityError> {
    let replaced = match standing(ca, request, pki_dir, state_dir, now)? {
        Standing::Fits(identity) => return Ok(*identity),
        Standing::Unfit(problems) => problems,
    };
    let Some(ca_key) = ca.key() else {
        let (node, ca_key) = (request.node.to_string(), ca.key_path().to_owned());
        let certificate = Some(certificate_path(pki_dir, request.node));
        return Err(IdentityError::NoCaKey { node, ca_key, certificate, replaced });
    };
    let kept = Kept::new(state_dir, &request.node.to_string());
    let lock = kept.lock()?;
    // Another process may have issued one while we waited.
    let replaced = match standing(ca, request, pki_dir, state_dir, now)? {
        Standing::Fits(identity) => return Ok(*identity),
        Standing::Unfit(problems) => problems,
    };
    let subject = Subject {
        common_name: common_name(request.node),
        organization: GROUP,
        server: Some((request.node.to_string(), request.addresses)),
    };
    let (key, certificate) = issue::issue(ca.certificate(), ca_key, &subject, now)?;
    let pair = Pair { certificate_pem: certificate.to_pem(), certificate, key, warning: None };
    kept.write(&lock, &pair.certificate_pem, &pair.key.to_pem())?;
    Ok(NodeIdentity { replaced, ..pair.into_identity(ca, Origin::Issued) })
}

/// The identity that [`node_identity`] would return without issuing one; writes nothing. None: it would issue.
pub fn standing_identity(
    ca: &Ca,
    request: &NodeRequest<'_>,
    pki_dir: &Path,
    state_dir: &Path,
    now: Timestamp,
) -> Result<Option<NodeIdentity>, IdentityError> {
    match standing(ca, request, pki_dir, state_dir, now)? {
        Standing::Fits(identity) => Ok(Some(*identity)),
        Standing::Unfit(_) => Ok(None),
    }
}

/// What stands for a node on the disk.
enum Standing {
    Fits(Box<NodeIdentity>),
    /// Why what was kept is of no use; empty when nothing was.
    Unfit(Vec<Problem>),
}

/// A certificate and its key, read and found to belong together.
struct Pair {
    certificate: Certificate,
    certificate_pem: String,
    key: PrivateKey,
    warning: Option<Warning>,
}

impl Pair {
    fn into_identity(self, ca: &Ca, origin: Origin) -> NodeIdentity {
        NodeIdentity {
            certificate_pem: self.certificate_pem,
            key_pem: self.key.to_pem(),
            ca_pem: ca.certificate_pem().to_owned(),
            serial: self.certificate.serial(),
            not_before: self.certificate.not_before(),
            not_after: self.certificate.not_after(),
            origin,
            replaced: Vec::new(),
            warnings: self.warning.into_iter().collect(),
        }
    }
}

fn standing(
    ca: &Ca,
    request: &NodeRequest<'_>,
    pki_dir: &Path,
    state_dir: &Path,
    now: Timestamp,
) -> Result<Standing, IdentityError> {
    let wanted = Wanted {
        ca: ca.certificate(),
        common_name: common_name(request.node),
        organization: GROUP,
        name: request.node.to_string(),
        addresses: request.addresses,
        now,
    };
    if let Some(pair) = provided(&wanted, request.node, pki_dir)? {
        return Ok(Standing::Fits(Box::new(pair.into_identity(ca, Origin::Provided))));
    }
    Ok(match kept(&wanted, &Kept::new(state_dir, &wanted.name))? {
        Ok(pair) => Standing::Fits(Box::new(pair.into_identity(ca, Origin::Reused))),
        Err(problems) => Standing::Unfit(problems),
    })
}

fn provided(wanted: &Wanted<'_>, node: &NodeName, pki_dir: &Path) -> Result<Option<Pair>, IdentityError> {
    let path = certificate_path(pki_dir, node);
    let key_path = key_path(pki_dir, node);
    let (file, key_file) = match (store::read_file(&path)?, store::read_key(&key_path)?) {
        (None, None) => return Ok(None),
        (Some(_), None) => return Err(IdentityError::HalfPair { present: path, missing: key_path }),
        (None, Some(_)) => return Err(IdentityError::HalfPair { present: key_path, missing: path }),
        (Some(file), Some(key_file)) => (file, key_file),
    };
    let (certificate, certificate_pem) =
        read_chain(&file).map_err(|source| IdentityError::Certificate { path: path.clone(), source })?;
    let mut problems = certificate.problems(wanted);
    let key = match PrivateKey::read(key_file.0.expose(), &certificate) {
        Ok(key) => Some(key),
        Err(KeyError::Mismatch) => None,
        Err(source) => return Err(IdentityError::Key { path: key_path, source }),
    };
    match key {
        Some(key) if problems.is_empty() => Ok(Some(Pair { certificate, certificate_pem, key, warning: key_file.1 })),
        key => {
            problems.extend(key.is_none().then_some(Problem::KeyMismatch));
            Err(IdentityError::Unfit { path, node: node.clone(), problems })
        }
    }
}

/// What was issued before, or why it is of no use; no reason at all when there is nothing.
fn kept(wanted: &Wanted<'_>, kept: &Kept) -> Result<Result<Pair, Vec<Problem>>, IdentityError> {
    let (certificate_path, key_path) = (kept.certificate(), kept.key());
    let damaged = |path: &Path, error: &dyn std::error::Error| {
        Ok(Err(vec![Problem::Damaged(format!("{}: {error}", path.display()))]))
    };
    let missing = |path: &Path| Ok(Err(vec![Problem::Damaged(format!("{} is missing", path.display()))]));
    let (file, (key_file, warning)) = match (store::read_file(&certificate_path)?, store::read_key(&key_path)?) {
        (None, None) => return Ok(Err(Vec::new())),
        (Some(_), None) => return missing(&key_path),
        (None, Some(_)) => return missing(&certificate_path),
        (Some(file), Some(key_file)) => (file, key_file),
    };
    let (certificate, certificate_pem) = match read_chain(&file) {
        Ok(read) => read,
        Err(error) => return damaged(&certificate_path, &error),
    };
    let mut problems = certificate.problems(wanted);
    problems.extend(certificate.foreign_names(wanted));
    problems.extend(renewal(&certificate, wanted));
    match PrivateKey::read(key_file.expose(), &certificate) {
        Ok(key) if problems.is_empty() => Ok(Ok(Pair { certificate, certificate_pem, key, warning })),
        Ok(_) => Ok(Err(problems)),
        Err(KeyError::Mismatch) => {
            problems.push(Problem::KeyMismatch);
            Ok(Err(problems))
        }
        Err(error) => damaged(&key_path, &error),
    }
}

fn renewal(certificate: &Certificate, wanted: &Wanted<'_>) -> Option<Problem> {
    let end = certificate.not_after();
    let soon = wanted.now <= end && wanted.now.duration_until(end) < RENEWED_BEFORE_END;
    (soon && issue::end(wanted.ca, wanted.now) > end).then_some(Problem::EndsSoon(end))
}

/// The first certificate of a file, which is the node's own, and all of them in PEM.
fn read_chain(file: &[u8]) -> Result<(Certificate, String), certificate::CertificateError> {
    let mut certificates = certificate::read(file)?;
    let pem = certificates.iter().map(Certificate::to_pem).collect();
    Ok((certificates.swap_remove(0), pem))
}

fn certificate_path(pki_dir: &Path, node: &NodeName) -> PathBuf {
    pki_dir.join(format!("{node}.pem"))
}

fn key_path(pki_dir: &Path, node: &NodeName) -> PathBuf {
    pki_dir.join(format!("{node}-key.pem"))
}

/// The files of the node's private keys that are there: in the pki folder, and of what was issued.
pub fn private_keys(node: &NodeName, pki_dir: &Path, state_dir: &Path) -> Vec<PathBuf> {
    let places = [key_path(pki_dir, node), Kept::new(state_dir, &node.to_string()).key()];
    places.into_iter().filter(|path| path.exists()).collect()
}

fn common_name(node: &NodeName) -> String {
    format!("system:node:{node}")
}
