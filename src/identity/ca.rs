//! The cluster's CA, as cfssl, openssl or kubeadm left it in the pki folder, and its key, wherever that is.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};

use super::certificate::{Certificate, Validity};
use super::chain::Chain;
use super::error::{IdentityError, Warning};
use super::keys::{self, KeyError, PrivateKey};
use super::pem::{Block, Encryption};
use super::source;
use super::store;
use crate::config::{CaKey, SecretSource};
use crate::digest::Digest;
use crate::secret::Secret;

/// Asks somebody for a passphrase, whose question is given; `None` where there is nobody.
pub type Ask = Box<dyn Fn(&str) -> io::Result<Option<Secret>> + Send + Sync>;

/// How often somebody is asked for the right passphrase.
const ATTEMPTS: usize = 3;

/// The CA: `ca.pem` of the pki folder and, to sign, its key, which is asked for when it is first needed.
pub struct Ca {
    path: PathBuf,
    chain: Chain,
    key: Key,
    warnings: Vec<Warning>,
}

/// The key, or how to come by it.
struct Key {
    from: SecretSource,
    passphrase: Option<SecretSource>,
    /// Whether there is anything to be asked.
    there: bool,
    ask: Ask,
    /// Once it was needed.
    opened: Mutex<Option<Arc<PrivateKey>>>,
}

impl Ca {
    /// Reads and checks ca.pem (the CA that signs, and behind it those above it: CA:TRUE, allowed to sign, valid at `now`).
    ///
    /// A key that is a file may be missing, and else must be the CA's: RSA, EC P-256 or P-384, or Ed25519, in PKCS#1,
    /// SEC1 or PKCS#8 PEM. One that is encrypted, or comes from elsewhere, is looked at only when something is signed.
    pub fn load(pki: &Path, key: &CaKey, ask: Ask, now: Timestamp) -> Result<Self, IdentityError> {
        let path = pki.join("ca.pem");
        let chain = Chain::load(&path, now)?;
        let from = key.from.clone().unwrap_or_else(|| SecretSource::Path(pki.join("ca-key.pem")));
        let passphrase = key.passphrase.clone();
        let key = Key { from, passphrase, there: true, ask, opened: Mutex::default() };
        let mut ca = Self { path, chain, key, warnings: Vec::new() };
        if let SecretSource::Path(path) = &ca.key.from {
            let Some((file, warning)) = store::read_key(path)? else {
                ca.key.there = false;
                return Ok(ca);
            };
            ca.warnings.extend(warning);
            let block = keys::find(file.expose()).map_err(|source| ca.key.unfit(source))?;
            match block.encryption {
                Encryption::None => *ca.key.opened() = Some(ca.fitting(&block)?),
                Encryption::Pkcs8 => {}
                Encryption::Legacy => return Err(ca.key.unfit(KeyError::Encryption)),
            }
        }
        Ok(ca)
    }

    /// The digest of the CA in ca.pem alone, which need not be valid any more and whose key is not looked at: what is there
    /// must be found, shown and removed whatever has become of the CA.
    pub fn digest_of(pki: &Path) -> Result<Digest, IdentityError> {
        Ok(Chain::first(&pki.join("ca.pem"))?.digest())
    }

    /// SHA-256 of the certificate that signs, in DER form: it tells clusters of one name apart.
    pub fn digest(&self) -> Digest {
        self.chain.issuer().digest()
    }

    /// What is trusted: the certificate that signs and those above it, in PEM.
    pub fn certificates_pem(&self) -> String {
        self.chain.pem()
    }

    /// Whether it can issue certificates, as far as that is known without asking for its key.
    pub fn has_key(&self) -> bool {
        self.key.there
    }

    /// Where its key comes from, in words.
    pub fn key_place(&self) -> String {
        self.key.from.to_string()
    }

    /// Whether somebody or something must be asked before its key can be used.
    pub fn asks_for_key(&self) -> bool {
        self.key.there && self.key.opened().is_none()
    }

    /// When the CA and those above it are all valid: everything that it issued ends with them.
    pub fn validity(&self) -> Validity {
        self.chain.validity()
    }

    /// Whether it, or one above it, is near its end.
    pub fn ends_soon(&self, now: Timestamp) -> bool {
        ends_soon(self.validity(), now)
    }

    /// What the user should know, though it works.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// ca.pem.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn chain(&self) -> &Chain {
        &self.chain
    }

    pub(super) fn certificate(&self) -> &Certificate {
        self.chain.issuer()
    }

    /// The key, which is fetched and opened if it was not needed before; none where there is none.
    pub(super) fn signer(&self) -> Result<Option<Arc<PrivateKey>>, IdentityError> {
        // Held meanwhile: nobody is asked twice.
        let mut opened = self.key.opened();
        if opened.is_none() && self.key.there {
            let bytes = fetch(&self.key.from)?;
            let block = keys::find(bytes.expose()).map_err(|source| self.key.unfit(source))?;
            let block = match block.encryption {
                Encryption::None => block,
                Encryption::Pkcs8 => self.key.open(&block)?,
                Encryption::Legacy => return Err(self.key.unfit(KeyError::Encryption)),
            };
            *opened = Some(self.fitting(&block)?);
        }
        Ok(opened.clone())
    }

    fn fitting(&self, block: &Block) -> Result<Arc<PrivateKey>, IdentityError> {
        PrivateKey::of(block, self.chain.issuer()).map(Arc::new).map_err(|source| match source {
            KeyError::Mismatch => {
                IdentityError::CaKeyMismatch { key: self.key.from.clone(), certificate: self.path.clone() }
            }
            source => self.key.unfit(source),
        })
    }
}

/// A CA takes all certificates with it, and to replace it takes long.
const NEAR_END: SignedDuration = SignedDuration::from_hours(90 * 24);

/// Whether the end of a CA is near: 90 days.
pub(super) fn ends_soon(validity: Validity, now: Timestamp) -> bool {
    now.duration_until(validity.not_after) < NEAR_END
}

impl Key {
    fn opened(&self) -> std::sync::MutexGuard<'_, Option<Arc<PrivateKey>>> {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unfit(&self, source: KeyError) -> IdentityError {
        IdentityError::CaKey { from: self.from.clone(), source }
    }

    /// With the passphrase from where it is said to be, else from whoever can be asked.
    fn open(&self, block: &Block) -> Result<Block, IdentityError> {
        if let Some(from) = &self.passphrase {
            let passphrase = source::first_line(&fetch(from)?);
            return keys::decrypt(block, &passphrase).map_err(|source| self.unfit(source));
        }
        for _ in 0..ATTEMPTS {
            let question = format!("Passphrase of the CA's key ({}): ", self.from);
            let passphrase = (self.ask)(&question).map_err(IdentityError::Ask)?;
            let Some(passphrase) = passphrase else {
                return Err(IdentityError::NoPassphrase { from: self.from.clone() });
            };
            match keys::decrypt(block, &passphrase) {
                Err(KeyError::Passphrase) => {}
                opened => return opened.map_err(|source| self.unfit(source)),
            }
        }
        Err(self.unfit(KeyError::Passphrase))
    }
}

fn fetch(from: &SecretSource) -> Result<Secret, IdentityError> {
    source::read(from).map_err(|source| IdentityError::Secret { from: from.clone(), source })
}

impl fmt::Debug for Ca {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ca").field("digest", &self.digest()).field("has_key", &self.has_key()).finish_non_exhaustive()
    }
}
