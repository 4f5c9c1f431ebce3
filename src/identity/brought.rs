//! Pairs of certificate and key: where they stand, and all that is wrong with them.

use std::path::{Path, PathBuf};

use super::ca::Ca;
use super::certificate::{self, Certificate, CertificateError, Wanted};
use super::chain::{Chain, refused};
use super::error::{IdentityError, Problem, Warning};
use super::keys::{KeyError, PrivateKey};
use super::store;
use crate::config::NodeName;

/// The files of a pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
    /// Certificates of CAs, if such a file may stand beside them.
    pub(super) ca: Option<PathBuf>,
}

impl Place {
    /// NAME.pem and NAME-key.pem.
    fn flat(pki: &Path, node: &NodeName) -> Self {
        let [certificate, key] = ["", "-key"].map(|what| pki.join(format!("{node}{what}.pem")));
        Self { certificate, key, ca: None }
    }

    /// In a folder of the node's own, as nodebake itself names them.
    pub(super) fn folder(folder: &Path) -> Self {
        Self::of(folder, ["cert.pem", "key.pem", "ca.pem"])
    }

    /// In a folder, by one of the ways in which such files are called: nodebake's, and that of Kubernetes' secrets of type
    /// kubernetes.io/tls. None where there is no such file.
    pub(super) fn in_folder(folder: &Path) -> Result<Option<Self>, IdentityError> {
        the_one([Self::folder(folder), Self::of(folder, ["tls.crt", "tls.key", "ca.crt"])])
    }

    fn of(folder: &Path, [certificate, key, ca]: [&str; 3]) -> Self {
        Self { certificate: folder.join(certificate), key: folder.join(key), ca: Some(folder.join(ca)) }
    }

    /// What was brought along for a node; none where nothing was.
    pub(super) fn brought(pki: &Path, node: &NodeName) -> Result<Option<Self>, IdentityError> {
        let folder = pki.join(node.to_string());
        let in_folder = Self::in_folder(&folder)?;
        if in_folder.is_none() && folder.is_dir() {
            return Err(IdentityError::EmptyFolder { folder });
        }
        the_one([Some(Self::flat(pki, node)), in_folder].into_iter().flatten())
    }

    /// Where a certificate for a node would be put that comes from elsewhere.
    pub(super) fn to_bring(pki: &Path, node: &NodeName) -> PathBuf {
        Self::flat(pki, node).certificate
    }

    /// Where keys of a node may stand in the pki folder.
    pub(super) fn keys(pki: &Path, node: &NodeName) -> [PathBuf; 3] {
        let folder = pki.join(node.to_string());
        [Self::flat(pki, node).key, folder.join("key.pem"), folder.join("tls.key")]
    }
}

/// The one of which a file is there.
fn the_one(places: impl IntoIterator<Item = Place>) -> Result<Option<Place>, IdentityError> {
    let mut there = places.into_iter().filter(|place| place.certificate.exists() || place.key.exists());
    let file = |place: &Place| {
        if place.certificate.exists() { place.certificate.clone() } else { place.key.clone() }
    };
    match (there.next(), there.next()) {
        (Some(first), Some(second)) => Err(IdentityError::TwoPairs { first: file(&first), second: file(&second) }),
        (one, _) => Ok(one),
    }
}

/// Why the files of a pair are not looked at any further.
pub(super) enum Unreadable {
    /// Of the two only one is there.
    Half { present: PathBuf, missing: PathBuf },
    /// A file holds no certificate.
    Certificate(PathBuf, CertificateError),
    /// A file holds no key that can be used.
    Key(PathBuf, KeyError),
    /// The system does not give it.
    File(IdentityError),
}

impl From<IdentityError> for Unreadable {
    fn from(error: IdentityError) -> Self {
        Self::File(error)
    }
}

/// A pair as it was found.
pub(super) struct Pair {
    pub(super) certificate: Certificate,
    /// The certificate and those on the way up that it presents; the certificate alone where there is no way.
    pub(super) presented: String,
    /// None where it is another certificate's.
    pub(super) key: Option<PrivateKey>,
    pub(super) problems: Vec<Problem>,
    pub(super) warning: Option<Warning>,
}

/// Reads the pair at a place, and judges it; none where neither file is there.
pub(super) fn read(place: &Place, ca: &Ca, wanted: &Wanted<'_>) -> Result<Option<Pair>, Unreadable> {
    let (file, key_file) = match (store::read_file(&place.certificate)?, store::read_key(&place.key)?) {
        (None, None) => return Ok(None),
        (Some(_), None) => {
            return Err(Unreadable::Half { present: place.certificate.clone(), missing: place.key.clone() });
        }
        (None, Some(_)) => {
            return Err(Unreadable::Half { present: place.key.clone(), missing: place.certificate.clone() });
        }
        (Some(file), Some(key_file)) => (file, key_file),
    };
    let (certificate, mut others) = leaf(&place.certificate, &file)?;
    let beside = beside(place)?;
    let other_ca = beside.iter().find(|(_, cas)| !cas.iter().any(|beside| ca.chain().holds(beside)));
    let other_ca = other_ca.map(|(path, _)| Problem::OtherCa(path.clone()));
    others.extend(beside.into_iter().flat_map(|(_, certificates)| certificates));
    let (presented, mut problems) = judge(&certificate, &others, ca, wanted);
    problems.extend(other_ca);
    let (key_bytes, warning) = key_file;
    let key = match PrivateKey::read(key_bytes.expose(), &certificate) {
        Ok(key) => Some(key),
        Err(KeyError::Mismatch) => {
            problems.push(Problem::KeyMismatch);
            None
        }
        Err(source) => return Err(Unreadable::Key(place.key.clone(), source)),
    };
    Ok(Some(Pair { certificate, presented, key, problems, warning }))
}

/// The first certificate of a file, which is the node's own, and the others.
pub(super) fn leaf(path: &Path, file: &[u8]) -> Result<(Certificate, Vec<Certificate>), Unreadable> {
    let read = certificate::read(file).map_err(|source| Unreadable::Certificate(path.to_owned(), source));
    let mut certificates = read?;
    let certificate = certificates.remove(0);
    Ok((certificate, certificates))
}

/// What the file of CAs beside a pair holds, if there is one.
fn beside(place: &Place) -> Result<Option<(PathBuf, Vec<Certificate>)>, Unreadable> {
    let Some(path) = &place.ca else { return Ok(None) };
    let Some(file) = store::read_file(path)? else { return Ok(None) };
    let certificates = certificate::read(&file).map_err(|source| Unreadable::Certificate(path.clone(), source))?;
    Ok(Some((path.clone(), certificates)))
}

/// All that is wrong with a certificate but its key, and what it presents.
pub(super) fn judge(
    certificate: &Certificate,
    others: &[Certificate],
    ca: &Ca,
    wanted: &Wanted<'_>,
) -> (String, Vec<Problem>) {
    let way = ca.chain().way(certificate, others, wanted.now);
    let mut problems = way.as_ref().err().cloned().unwrap_or_default();
    let last = certificate.validity().not_after;
    let now = if wanted.rotates { wanted.now.min(last) } else { wanted.now };
    problems.extend(certificate.problems(wanted, now));
    let way = way.unwrap_or_default();
    if problems.is_empty() {
        problems.extend(refused(certificate, &way, Some((&wanted.name, wanted.addresses)), now));
    }
    (Chain::presented(certificate, &way), problems)
}
