//! What there is of identities, and for how long: read only, and told also where it is of no use.

use std::fmt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::admin;
use super::brought::{self, Place};
use super::certificate::{self, Certificate, Validity};
use super::error::{IdentityError, Problem};
use super::kubeconfig::{ClientCertificate, KubeconfigUser};
use super::node::{Facts, Identities, NodeRequest, damaged};
use crate::config::Rotation;

/// What a certificate is for, and whose it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The CA, or one above it.
    Ca,
    /// The administrator's.
    Administrator,
    /// A node's, from the pki folder.
    BroughtAlong,
    /// A node's, issued by nodebake.
    Issued,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ca => "CA",
            Self::Administrator => "administrator",
            Self::BroughtAlong => "brought along",
            Self::Issued => "issued",
        })
    }
}

/// How good a certificate is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Of use, and for long.
    Valid,
    /// Of use, and not for long any more.
    EndsSoon,
    /// Its end is past.
    Expired,
    /// Not signed by the cluster's CA.
    Foreign,
    /// Of no use for another reason.
    Unfit,
    /// There is none.
    Missing,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Valid => "valid",
            Self::EndsSoon => "near its end",
            Self::Expired => "expired",
            Self::Foreign => "foreign",
            Self::Unfit => "unfit",
            Self::Missing => "missing",
        })
    }
}

impl State {
    /// How good a certificate is that nothing is wrong with but, maybe, its end.
    pub fn by_end(validity: Validity, now: Timestamp) -> Self {
        if validity.is_over(now) {
            Self::Expired
        } else if validity.ends_soon(now) {
            Self::EndsSoon
        } else {
            Self::Valid
        }
    }

    /// Whether time is what is the matter.
    pub fn is_ending(self) -> bool {
        matches!(self, Self::EndsSoon | Self::Expired)
    }
}

/// What a kubelet does by itself about the end of the pair that was baked for it; nothing to say where it does nothing.
pub fn rotation_note(rotation: Rotation) -> &'static str {
    match rotation {
        Rotation { client: false, server: false } => "",
        Rotation { client: true, server: true } => "its kubelet rotates it",
        Rotation { client: true, server: false } => {
            "its kubelet rotates what it shows the apiserver, but not what it serves with"
        }
        Rotation { client: false, server: true } => {
            "its kubelet rotates what it serves with, but not what it shows the apiserver"
        }
    }
}

/// A certificate, or where one should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The node, the administrator's user or the CA's subject.
    pub name: String,
    /// None where there is none.
    pub kind: Option<Kind>,
    /// How good it is.
    pub state: State,
    /// Its file.
    pub file: Option<PathBuf>,
    /// What it says; none where it cannot be read.
    pub facts: Option<Facts>,
    /// All that is wrong with it.
    pub problems: Vec<Problem>,
    /// Whether a request for one went out, of which the key is kept.
    pub requested: bool,
}

impl Identities<'_> {
    /// The CA's certificate and those above it.
    pub fn list_cas(&self) -> Vec<Listed> {
        let ca = |certificate: &Certificate| Listed {
            name: certificate.subject_text().to_owned(),
            kind: Some(Kind::Ca),
            state: if super::ca::ends_soon(certificate.validity(), self.now) { State::EndsSoon } else { State::Valid },
            file: Some(self.ca.path().to_owned()),
            facts: Some(Facts::of(certificate)),
            problems: Vec::new(),
            requested: false,
        };
        self.ca.chain().certificates().iter().map(ca).collect()
    }

    /// The certificate of a node: the one that was brought along, else the one that was issued.
    pub fn list_node(&self, request: &NodeRequest<'_>) -> Result<Listed, IdentityError> {
        // Its own end is what is asked for.
        let request = NodeRequest { rotates: false, ..request.clone() };
        let brought = match Place::brought(self.pki, request.node) {
            Ok(place) => place.map(|place| (Kind::BroughtAlong, place)),
            Err(error) if error.is_unexpected() => return Err(error),
            Err(error) => {
                let problem = Problem::Damaged(error.to_string());
                return Ok(self.listed(&request, Some(Kind::BroughtAlong), None, (None, vec![problem])));
            }
        };
        let (kind, place) = brought.unwrap_or_else(|| (Kind::Issued, self.kept(request.node).place()));
        let wanted = self.wanted(&request);
        let found = match brought::read(&place, self.ca, &wanted) {
            Ok(None) => return Ok(self.listed(&request, None, None, (None, Vec::new()))),
            Ok(Some(pair)) => {
                let issued = kind == Kind::Issued;
                let problems = if issued { self.faults(&pair, &wanted) } else { pair.problems };
                (Some(pair.certificate), problems)
            }
            Err(why) => (None, vec![damaged(why)?]),
        };
        Ok(self.listed(&request, Some(kind), Some(place.certificate), found))
    }

    fn listed(
        &self,
        request: &NodeRequest<'_>,
        kind: Option<Kind>,
        file: Option<PathBuf>,
        (certificate, problems): (Option<Certificate>, Vec<Problem>),
    ) -> Listed {
        Listed {
            name: request.node.to_string(),
            state: if kind.is_none() { State::Missing } else { self.state_of(certificate.as_ref(), &problems) },
            kind,
            file,
            facts: certificate.as_ref().map(Facts::of),
            problems,
            requested: self.kept(request.node).requested_key().exists(),
        }
    }

    /// The client certificate in a kubeconfig; none where that is not there, or has another way in.
    pub fn list_administrator(&self, kubeconfig: &Path) -> Result<Option<Listed>, IdentityError> {
        let Some(text) = super::store::read_file(kubeconfig)? else { return Ok(None) };
        let entry = |name: &str, certificate: Option<&Certificate>, problems: Vec<Problem>| Listed {
            name: name.to_owned(),
            kind: Some(Kind::Administrator),
            state: self.state_of(certificate, &problems),
            file: Some(kubeconfig.to_owned()),
            facts: certificate.map(Facts::of),
            problems,
            requested: false,
        };
        let damaged = |what: &str| vec![Problem::Damaged(format!("{} {what}", kubeconfig.display()))];
        let KubeconfigUser { name, certificate } = match KubeconfigUser::read(&text) {
            Ok(user) => user,
            Err(error) => return Ok(Some(entry("-", None, damaged(&error.to_string())))),
        };
        let file = match certificate {
            Some(ClientCertificate::Data(pem)) => Some(pem),
            Some(ClientCertificate::Damaged) => None,
            Some(ClientCertificate::File(path)) => std::fs::read(kubeconfig.with_file_name("").join(path)).ok(),
            None => return Ok(None),
        };
        let certificate = file.and_then(|file| certificate::read(&file).ok()).map(|mut all| all.swap_remove(0));
        let Some(certificate) = certificate else {
            return Ok(Some(entry(&name, None, damaged("has a certificate that cannot be read"))));
        };
        let (_, problems) = admin::judged(&certificate, self.ca, self.now);
        Ok(Some(entry(&name, Some(&certificate), problems)))
    }

    fn state_of(&self, certificate: Option<&Certificate>, problems: &[Problem]) -> State {
        let Some(certificate) = certificate else { return State::Unfit };
        let validity = certificate.validity();
        let foreign = |problem: &Problem| matches!(problem, Problem::ForeignIssuer(_) | Problem::BadSignature);
        let bears = |problem: &Problem| matches!(problem, Problem::EndsSoon(_));
        match State::by_end(validity, self.now) {
            _ if problems.iter().any(foreign) => State::Foreign,
            State::Expired => State::Expired,
            _ if !problems.iter().all(bears) => State::Unfit,
            state => state,
        }
    }
}
