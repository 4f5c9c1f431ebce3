//! The identity of a node: brought along, kept, or issued.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};

use super::brought::{self, Pair, Place, Unreadable};
use super::ca::Ca;
use super::certificate::{Validity, Wanted};
use super::error::{IdentityError, Problem, Warning};
use super::issue::{self, Subject};
use super::store::Kept;
use crate::config::{Node, NodeName};
use crate::secret::Secret;

/// The group of all nodes, which the Node authorizer and the `NodeRestriction` admission plugin ask for.
pub(super) const GROUP: &str = "system:nodes";

/// Where the identities of a cluster's nodes stand, and who signs those that do not.
#[derive(Debug, Clone)]
pub struct Identities<'a> {
    /// The cluster's CA.
    pub ca: &'a Ca,
    /// The folder of what is brought along.
    pub pki: &'a Path,
    /// The folder in which issued pairs are kept, `identities/NAME/{cert.pem,key.pem}`.
    pub state: PathBuf,
    /// How long a new one lasts, unless the CA ends before.
    pub lifetime: SignedDuration,
    /// The present.
    pub now: Timestamp,
}

/// Whose identity is wanted.
#[derive(Debug, Clone)]
pub struct NodeRequest<'a> {
    /// Name of the node: CN=system:node:NAME, and a DNS name of its certificate.
    pub node: &'a NodeName,
    /// Addresses under which the apiserver reaches the kubelet; IP addresses of its certificate.
    pub addresses: Vec<IpAddr>,
    /// Whether its kubelet replaces all of it by itself, so that only a machine that is made anew needs one that is still
    /// valid.
    pub rotates: bool,
}

impl<'a> NodeRequest<'a> {
    /// Of a node as the cluster file has it.
    pub fn of(node: &'a Node) -> Self {
        Self { node: &node.name, addresses: node.addresses(), rotates: node.settings.rotation().is_whole() }
    }
}

/// Where an identity came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// It stands in the pki folder.
    Provided,
    /// Signed just now.
    Issued,
    /// Signed by an earlier run, and still right.
    Reused,
}

/// A node's key and certificate, as they go into its seed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeIdentity {
    /// The node's certificate, and behind it the CAs between it and the root, in PEM.
    pub certificate_pem: String,
    /// Its private key, PKCS#8 in PEM.
    pub key_pem: Secret,
    /// The CA's certificate and those above it, in PEM.
    pub ca_pem: String,
    /// What its certificate says.
    pub facts: Facts,
    /// Where it came from.
    pub origin: Origin,
    /// Why the one that was issued before is not used any more; empty when there was none, or it still is.
    pub replaced: Vec<Problem>,
    /// What the user should know, though it works.
    pub warnings: Vec<Warning>,
}

/// What a certificate says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Serial number in lowercase hexadecimal digits, two for each byte, no leading zero byte.
    pub serial: String,
    /// DNS names and IP addresses that it is for, each kind sorted.
    pub names: Vec<String>,
    /// Name of its issuer as people read it.
    pub issuer: String,
    /// When it is valid.
    pub validity: Validity,
}

impl Facts {
    pub(super) fn of(certificate: &super::certificate::Certificate) -> Self {
        Self {
            serial: certificate.serial(),
            names: certificate.all_names(),
            issuer: certificate.issuer_text().to_owned(),
            validity: certificate.validity(),
        }
    }
}

/// What stands for a node on the disk.
enum Standing {
    Fits(Box<NodeIdentity>),
    /// Why what was kept is of no use; empty when nothing was.
    Unfit(Vec<Problem>),
}

impl Identities<'_> {
    /// The identity of a node: what the pki folder holds for it, else what was issued before if it still fits, else a new
    /// one, signed by the CA and kept.
    ///
    /// A pair in the pki folder that does not fit is an error, never replaced. What was issued is kept while the CA has
    /// signed it, its names and addresses are exactly the node's, key and certificate belong together, and its end is not
    /// near, unless a new one would not last longer.
    pub fn of(&self, request: &NodeRequest<'_>) -> Result<NodeIdentity, IdentityError> {
        match self.standing(request)? {
            Standing::Fits(identity) => Ok(*identity),
            Standing::Unfit(replaced) => self.issue(request, replaced, false),
        }
    }

    /// The identity that [`of`](Self::of) would return without issuing one; writes nothing. None: it would issue.
    pub fn present(&self, request: &NodeRequest<'_>) -> Result<Option<NodeIdentity>, IdentityError> {
        match self.standing(request)? {
            Standing::Fits(identity) => Ok(Some(*identity)),
            Standing::Unfit(_) => Ok(None),
        }
    }

    /// A new identity in place of the one that was issued, however good that is.
    pub fn renew(&self, request: &NodeRequest<'_>) -> Result<NodeIdentity, IdentityError> {
        self.renewable(request)?;
        self.issue(request, Vec::new(), true)
    }

    /// Whether [`renew`](Self::renew) may issue one: nothing was brought along.
    pub fn renewable(&self, request: &NodeRequest<'_>) -> Result<(), IdentityError> {
        match Place::brought(self.pki, request.node)? {
            Some(Place { certificate: path, .. }) => {
                Err(IdentityError::BroughtAlong { node: request.node.clone(), path })
            }
            None => Ok(()),
        }
    }

    /// Issues one; `anew` also where another process has made one while we waited.
    fn issue(
        &self,
        request: &NodeRequest<'_>,
        replaced: Vec<Problem>,
        anew: bool,
    ) -> Result<NodeIdentity, IdentityError> {
        let Some(ca_key) = self.ca.signer()? else {
            let (node, ca_key) = (request.node.to_string(), self.ca.key_place());
            let certificate = Some(Place::to_bring(self.pki, request.node));
            return Err(IdentityError::NoCaKey { node, ca_key, certificate, replaced });
        };
        let kept = self.kept(request.node);
        let lock = kept.lock()?;
        let replaced = match self.standing(request)? {
            Standing::Fits(identity) if !anew => return Ok(*identity),
            Standing::Fits(_) => Vec::new(),
            Standing::Unfit(problems) => problems,
        };
        let wanted = self.wanted(request);
        let subject = Subject::node(request);
        let (key, certificate) = issue::issue(self.ca, &ca_key, &subject, self.lifetime, self.now)?;
        let (presented, problems) = brought::judge(&certificate, &[], self.ca, &wanted);
        if !problems.is_empty() {
            let (ca, node) = (self.ca.path().to_owned(), request.node.to_string());
            return Err(IdentityError::Unissuable { ca, node, problems });
        }
        let key_pem = key.to_pem();
        kept.write(&lock, &presented, &key_pem)?;
        Ok(NodeIdentity {
            certificate_pem: presented,
            key_pem,
            ca_pem: self.ca.certificates_pem(),
            facts: Facts::of(&certificate),
            origin: Origin::Issued,
            replaced,
            warnings: Vec::new(),
        })
    }

    fn standing(&self, request: &NodeRequest<'_>) -> Result<Standing, IdentityError> {
        let wanted = self.wanted(request);
        if let Some(place) = Place::brought(self.pki, request.node)? {
            let pair = self.provided(&place, request.node, &wanted)?;
            return Ok(pair.map_or(Standing::Unfit(Vec::new()), |(pair, key)| self.fits(pair, key, Origin::Provided)));
        }
        Ok(match self.issued(request.node, &wanted)? {
            Ok((pair, key)) => self.fits(pair, key, Origin::Reused),
            Err(problems) => Standing::Unfit(problems),
        })
    }

    fn fits(&self, pair: Pair, key_pem: Secret, origin: Origin) -> Standing {
        Standing::Fits(Box::new(NodeIdentity {
            facts: Facts::of(&pair.certificate),
            certificate_pem: pair.presented,
            key_pem,
            ca_pem: self.ca.certificates_pem(),
            origin,
            replaced: Vec::new(),
            warnings: pair.warning.into_iter().collect(),
        }))
    }

    /// What was brought along, which must be right.
    fn provided(
        &self,
        place: &Place,
        node: &NodeName,
        wanted: &Wanted<'_>,
    ) -> Result<Option<(Pair, Secret)>, IdentityError> {
        let Some(pair) = brought::read(place, self.ca, wanted).map_err(refuse)? else { return Ok(None) };
        match pair.key.as_ref().map(super::keys::PrivateKey::to_pem) {
            Some(key) if pair.problems.is_empty() => Ok(Some((pair, key))),
            _ => {
                let (path, node) = (place.certificate.clone(), node.clone());
                Err(IdentityError::Unfit { path, node, problems: pair.problems })
            }
        }
    }

    /// What was issued before, or why it is of no use; no reason at all when there is nothing.
    fn issued(
        &self,
        node: &NodeName,
        wanted: &Wanted<'_>,
    ) -> Result<Result<(Pair, Secret), Vec<Problem>>, IdentityError> {
        let pair = match brought::read(&self.kept(node).place(), self.ca, wanted) {
            Ok(Some(pair)) => pair,
            Ok(None) => return Ok(Err(Vec::new())),
            Err(why) => return damaged(why).map(|problem| Err(vec![problem])),
        };
        let mut problems = self.faults(&pair, wanted);
        match pair.key.as_ref().map(super::keys::PrivateKey::to_pem) {
            Some(key) if problems.is_empty() => Ok(Ok((pair, key))),
            _ => {
                problems.dedup();
                Ok(Err(problems))
            }
        }
    }

    /// All that is wrong with what was issued; of what was brought along, less is asked.
    pub(super) fn faults(&self, pair: &Pair, wanted: &Wanted<'_>) -> Vec<Problem> {
        let mut problems = pair.problems.clone();
        // Of the key it is said last.
        let at = problems.iter().position(|problem| *problem == Problem::KeyMismatch).unwrap_or(problems.len());
        let more = pair.certificate.foreign_names(wanted).into_iter().chain(self.renewal(pair, wanted));
        problems.splice(at..at, more);
        problems
    }

    fn renewal(&self, pair: &Pair, wanted: &Wanted<'_>) -> Option<Problem> {
        let validity = pair.certificate.validity();
        let soon = !wanted.rotates && validity.ends_soon(self.now) && !validity.is_over(self.now);
        let longer = issue::end(self.ca, self.lifetime, self.now) > validity.not_after;
        (soon && longer).then_some(Problem::EndsSoon(validity.not_after))
    }

    pub(super) fn wanted<'r>(&self, request: &'r NodeRequest<'_>) -> Wanted<'r> {
        Wanted {
            common_name: common_name(request.node),
            organization: GROUP,
            name: request.node.to_string(),
            addresses: &request.addresses,
            rotates: request.rotates,
            now: self.now,
        }
    }

    pub(super) fn kept(&self, node: &NodeName) -> Kept {
        Kept::new(&self.state, &node.to_string())
    }
}

/// What was brought along and cannot be read is an error.
pub(super) fn refuse(why: Unreadable) -> IdentityError {
    match why {
        Unreadable::Half { present, missing } => IdentityError::HalfPair { present, missing },
        Unreadable::Certificate(path, source) => IdentityError::Certificate { path, source },
        Unreadable::Key(path, source) => IdentityError::Key { path, source },
        Unreadable::File(error) => error,
    }
}

/// What was issued and cannot be read is issued again.
pub(super) fn damaged(why: Unreadable) -> Result<Problem, IdentityError> {
    let damaged = |path: &Path, error: &dyn std::error::Error| Problem::Damaged(format!("{}: {error}", path.display()));
    match why {
        Unreadable::Half { missing, .. } => Ok(Problem::Damaged(format!("{} is missing", missing.display()))),
        Unreadable::Certificate(path, error) => Ok(damaged(&path, &error)),
        Unreadable::Key(path, error) => Ok(damaged(&path, &error)),
        Unreadable::File(error) => Err(error),
    }
}

/// The files of the node's private keys that are there: in the pki folder, and of what was issued or asked for.
pub fn private_keys(node: &NodeName, pki: &Path, state: &Path) -> Vec<PathBuf> {
    let kept = Kept::new(state, &node.to_string());
    let places = Place::keys(pki, node).into_iter().chain([kept.place().key, kept.requested_key()]);
    places.filter(|path| path.exists()).collect()
}

/// The user that the Node authorizer takes for the node.
pub(super) fn common_name(node: &NodeName) -> String {
    format!("system:node:{node}")
}
