//! The cluster's CA, as cfssl or openssl left it in the pki folder.

use std::fmt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::certificate::{self, Certificate};
use super::error::{IdentityError, Warning};
use super::keys::{KeyError, PrivateKey};
use super::store;
use crate::digest::Digest;

/// The CA: `ca.pem` of the pki folder and, to sign, `ca-key.pem`.
pub struct Ca {
    certificate: Certificate,
    pem: String,
    key: Option<PrivateKey>,
    key_path: PathBuf,
    warnings: Vec<Warning>,
}

impl Ca {
    /// Reads and checks ca.pem (one certificate, CA:TRUE, allowed to sign, valid at `now`) and ca-key.pem, which may be
    /// missing and else must be its key: RSA, EC P-256 or P-384, or Ed25519, in PKCS#1, SEC1 or PKCS#8 PEM.
    pub fn load(pki_dir: &Path, now: Timestamp) -> Result<Self, IdentityError> {
        let path = pki_dir.join("ca.pem");
        let key_path = pki_dir.join("ca-key.pem");
        let certificate = read_one(&path)?;
        let problems = certificate.ca_problems(now);
        if !problems.is_empty() {
            return Err(IdentityError::CaUnfit { path, problems });
        }
        let (key, warning) = match store::read_key(&key_path)? {
            Some((file, warning)) => (Some(read_key(&key_path, file.expose(), &path, &certificate)?), warning),
            None => (None, None),
        };
        Ok(Self { pem: certificate.to_pem(), certificate, key, key_path, warnings: warning.into_iter().collect() })
    }

    /// The digest of ca.pem alone, which need not be valid any more and whose key is not looked at: what is there must be
    /// found, shown and removed whatever has become of the CA.
    pub fn digest_of(pki_dir: &Path) -> Result<Digest, IdentityError> {
        let path = pki_dir.join("ca.pem");
        Ok(read_one(&path)?.digest())
    }

    /// SHA-256 of the certificate in DER form: it tells clusters of one name apart.
    pub fn digest(&self) -> Digest {
        self.certificate.digest()
    }

    /// The certificate alone, in PEM.
    pub fn certificate_pem(&self) -> &str {
        &self.pem
    }

    /// Whether it can issue certificates.
    pub fn has_key(&self) -> bool {
        self.key.is_some()
    }

    /// When the CA ends, and with it everything that it issued.
    pub fn not_after(&self) -> Timestamp {
        self.certificate.not_after()
    }

    /// What the user should know, though it works.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    pub(super) fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    pub(super) fn key(&self) -> Option<&PrivateKey> {
        self.key.as_ref()
    }

    pub(super) fn key_path(&self) -> &Path {
        &self.key_path
    }
}

impl fmt::Debug for Ca {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ca").field("digest", &self.digest()).field("has_key", &self.has_key()).finish_non_exhaustive()
    }
}

/// The only certificate of a file.
fn read_one(path: &Path) -> Result<Certificate, IdentityError> {
    let Some(file) = store::read_file(path)? else { return Err(IdentityError::MissingCa { path: path.to_owned() }) };
    let mut certificates =
        certificate::read(&file).map_err(|source| IdentityError::Certificate { path: path.to_owned(), source })?;
    let count = certificates.len();
    certificates.pop().filter(|_| count == 1).ok_or_else(|| IdentityError::SeveralCas { path: path.to_owned(), count })
}

fn read_key(path: &Path, file: &[u8], ca_path: &Path, ca: &Certificate) -> Result<PrivateKey, IdentityError> {
    PrivateKey::read(file, ca).map_err(|source| match source {
        KeyError::Mismatch => IdentityError::CaKeyMismatch { key: path.to_owned(), certificate: ca_path.to_owned() },
        source => IdentityError::Key { path: path.to_owned(), source },
    })
}
