//! Identities that somebody else signs: the request for a certificate, and what comes back.

use std::fs;
use std::path::{Path, PathBuf};

use super::brought::{self, Place};
use super::certificate::Certificate;
use super::error::{IdentityError, Problem};
use super::issue::{self, Subject};
use super::keys::{KeyError, PrivateKey};
use super::node::{Facts, Identities, NodeRequest, refuse};
use super::store;
use crate::config::NodeName;
use crate::whole_file;

/// A request for a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requested {
    /// The request (PKCS#10), PEM.
    pub request_pem: String,
    /// The file of its key.
    pub key: PathBuf,
}

/// A certificate that was taken in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// Where it stands now.
    pub certificate: PathBuf,
    /// What it says.
    pub facts: Facts,
}

/// What is taken in: a certificate, and maybe its key and CAs.
struct Given {
    path: PathBuf,
    certificate: Certificate,
    others: Vec<Certificate>,
    /// A key that came with it.
    key: Option<PathBuf>,
}

impl Identities<'_> {
    /// A request for a node's certificate. Its key is made once, kept in the state folder, and the same in every request
    /// until a certificate for it is imported: what was sent out may be signed at any time.
    pub fn request(&self, request: &NodeRequest<'_>) -> Result<Requested, IdentityError> {
        let kept = self.kept(request.node);
        let path = kept.requested_key();
        let _lock = kept.lock()?;
        let key = if let Some((bytes, _)) = store::read_key(&path)? {
            PrivateKey::read_own(bytes.expose()).map_err(|source| IdentityError::Key { path: path.clone(), source })?
        } else {
            let key = PrivateKey::generate().map_err(IdentityError::Sign)?;
            store::write_private(&path, &key.to_pem())?;
            key
        };
        Ok(Requested { request_pem: issue::request(&key, &Subject::node(request))?, key: path })
    }

    /// Takes in a certificate that was signed elsewhere, from a PEM file, or from a folder with its key: checked like one
    /// that was brought along, it is put with its key to what was brought along for the node. What stands there already,
    /// and is another, goes only where `replace` is set.
    pub fn import(&self, request: &NodeRequest<'_>, from: &Path, replace: bool) -> Result<Imported, IdentityError> {
        let node = request.node;
        let given = Given::read(from)?;
        let (presented, mut problems) =
            brought::judge(&given.certificate, &given.others, self.ca, &self.wanted(request));
        let place = self.place_for(node)?;
        let key = self.key_for(&given, &place, node)?;
        problems.extend(key.is_none().then_some(Problem::KeyMismatch));
        let Some(key) = key.filter(|_| problems.is_empty()) else {
            return Err(IdentityError::UnfitImport { path: given.path, node: node.clone(), problems });
        };
        let kept = self.kept(node);
        let _lock = kept.lock()?;
        if !replace && is_another(&place, &given.certificate)? {
            let path = if place.certificate.exists() { place.certificate } else { place.key };
            return Err(IdentityError::Standing { node: node.clone(), path });
        }
        if let Some(folder) = place.certificate.parent() {
            whole_file::make_folder(folder, 0o700).map_err(|source| IdentityError::write(folder, source))?;
        }
        store::write_pair(&place, &presented, &key.to_pem())?;
        forget(&kept.requested_key(), &given.certificate)?;
        Ok(Imported { certificate: place.certificate, facts: Facts::of(&given.certificate) })
    }

    /// Where what is brought along for a node stands, or would.
    fn place_for(&self, node: &NodeName) -> Result<Place, IdentityError> {
        match Place::brought(self.pki, node) {
            Ok(Some(place)) => Ok(place),
            Ok(None) | Err(IdentityError::EmptyFolder { .. }) => Ok(Place::folder(&self.pki.join(node.to_string()))),
            Err(error) => Err(error),
        }
    }

    /// The key of what is given: the one that came with it, else that of a request, else the one that stands there already.
    /// None where the one that came with it is another's.
    fn key_for(&self, given: &Given, place: &Place, node: &NodeName) -> Result<Option<PrivateKey>, IdentityError> {
        if let Some(path) = &given.key {
            return read_key(path, &given.certificate);
        }
        for path in [&self.kept(node).requested_key(), &place.key] {
            if let Some(key) = read_key(path, &given.certificate)? {
                return Ok(Some(key));
            }
        }
        Err(IdentityError::NoSuchKey { node: node.clone(), path: given.path.clone() })
    }
}

impl Given {
    fn read(from: &Path) -> Result<Self, IdentityError> {
        let place = if from.is_dir() {
            Place::in_folder(from)?.ok_or_else(|| IdentityError::EmptyFolder { folder: from.to_owned() })?
        } else {
            Place { certificate: from.to_owned(), key: PathBuf::new(), ca: None }
        };
        let path = place.certificate;
        // A key alone is no certificate.
        let file = fs::read(&path).map_err(|source| IdentityError::read(&path, source))?;
        let (certificate, mut others) = brought::leaf(&path, &file).map_err(refuse)?;
        if let Some(ca) = place.ca.filter(|path| path.exists()) {
            let file = fs::read(&ca).map_err(|source| IdentityError::read(&ca, source))?;
            let (first, more) = brought::leaf(&ca, &file).map_err(refuse)?;
            others.extend(std::iter::once(first).chain(more));
        }
        Ok(Self { path, certificate, others, key: Some(place.key).filter(|path| path.exists()) })
    }
}

/// The key in a file if it is that of a certificate; none where there is no such file.
fn read_key(path: &Path, certificate: &Certificate) -> Result<Option<PrivateKey>, IdentityError> {
    let Some((bytes, _)) = store::read_key(path)? else { return Ok(None) };
    match PrivateKey::read(bytes.expose(), certificate) {
        Ok(key) => Ok(Some(key)),
        Err(KeyError::Mismatch) => Ok(None),
        Err(source) => Err(IdentityError::Key { path: path.to_owned(), source }),
    }
}

/// Whether something would be lost if a certificate and its key were put there.
fn is_another(place: &Place, certificate: &Certificate) -> Result<bool, IdentityError> {
    let there = store::read_file(&place.certificate)?;
    let same =
        |file: &[u8]| brought::leaf(&place.certificate, file).is_ok_and(|(standing, _)| standing == *certificate);
    let other_key = place.key.exists() && !matches!(read_key(&place.key, certificate), Ok(Some(_)));
    Ok(other_key || there.is_some_and(|file| !same(&file)))
}

/// Removes the key of a request once its certificate is here.
fn forget(requested: &Path, certificate: &Certificate) -> Result<(), IdentityError> {
    match read_key(requested, certificate) {
        Ok(Some(_)) => fs::remove_file(requested).map_err(|source| IdentityError::write(requested, source)),
        _ => Ok(()),
    }
}
