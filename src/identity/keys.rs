//! Private keys, from any of the forms in which cfssl and openssl write them to the one that is used here (PKCS#8).

use pkcs8::der::asn1::{ObjectIdentifier, OctetStringRef};
use pkcs8::der::{Decode as _, Encode as _};
use pkcs8::pkcs5::pbes2::Kdf;
use pkcs8::spki::AlgorithmIdentifierRef;
use pkcs8::{EncryptedPrivateKeyInfoRef, PrivateKeyInfoRef};
use sec1::EcPrivateKey;

use super::certificate::Certificate;
use super::pem::{self, Block, Encryption, PemError};
use crate::secret::Secret;

/// id-ecPublicKey (RFC 5480, 2.1.1).
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
/// secp256r1 and secp384r1 (RFC 5480, 2.1.1.1), with the length of their private keys in bytes (RFC 5915, 3).
const CURVES: [(ObjectIdentifier, usize); 2] =
    [(ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7"), 32), (ObjectIdentifier::new_unwrap("1.3.132.0.34"), 48)];
/// id-Ed25519 (RFC 8410, 3).
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
/// What ring signs with, in bits of the modulus.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=4096;

/// Why a file holds no usable private key of its certificate.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// A block is damaged.
    #[error("the file is damaged")]
    Pem(#[source] PemError),
    /// No block of a private key.
    #[error("no private key in it")]
    Missing,
    /// Encrypted with a passphrase, where none is asked for.
    #[error("the private key is encrypted")]
    Encrypted,
    /// Encrypted in a way that is not read.
    #[error("the private key is encrypted in a way that is not supported: PKCS#8 with AES or 3DES is")]
    Encryption,
    /// Encrypted with another passphrase.
    #[error("the passphrase is not its own")]
    Passphrase,
    /// Not what its label says.
    #[error("the {0} block holds no such key")]
    Malformed(String),
    /// A kind of key that we cannot use.
    #[error("{0} is not supported: RSA of 2048 to 4096 bits, EC P-256 and P-384, Ed25519 are")]
    Unsupported(String),
    /// A sound key, but of another certificate.
    #[error("the private key belongs to another certificate")]
    Mismatch,
}

/// A private key that can sign, and belongs to the certificate that it was read for.
pub(super) struct PrivateKey {
    pair: rcgen::KeyPair,
}

impl PrivateKey {
    /// A fresh EC P-256 key.
    pub(super) fn generate() -> Result<Self, rcgen::Error> {
        rcgen::KeyPair::generate().map(|pair| Self { pair })
    }

    /// The private key of a PEM file, which must be that of `certificate`, and not encrypted.
    pub(super) fn read(file: &[u8], certificate: &Certificate) -> Result<Self, KeyError> {
        Self::of(&find(file)?, certificate)
    }

    /// A private key that we wrote.
    pub(super) fn read_own(file: &[u8]) -> Result<Self, KeyError> {
        let block = find(file)?;
        let pair = rcgen::KeyPair::try_from(block.der).map_err(|_| KeyError::Malformed(block.label))?;
        Ok(Self { pair })
    }

    /// The private key of a block, which must be that of `certificate`, and not encrypted.
    pub(super) fn of(block: &Block, certificate: &Certificate) -> Result<Self, KeyError> {
        if block.encryption != Encryption::None {
            return Err(KeyError::Encrypted);
        }
        let malformed = || KeyError::Malformed(block.label.clone());
        let key = Form::parse(block)?;
        let pkcs8 = key.to_pkcs8(certificate.public_key()).map_err(|_| malformed())?;
        let pair = rcgen::KeyPair::try_from(pkcs8).map_err(|_| match key {
            // It was tried with the public key of the certificate, for want of its own.
            Form::Ec { public_key: None, .. } => KeyError::Mismatch,
            _ => malformed(),
        })?;
        if pair.public_key_raw() != certificate.public_key() {
            return Err(KeyError::Mismatch);
        }
        Ok(Self { pair })
    }

    /// For rcgen, and to sign.
    pub(super) fn pair(&self) -> &rcgen::KeyPair {
        &self.pair
    }

    /// PKCS#8 in PEM, which openssl and Go's TLS read.
    pub(super) fn to_pem(&self) -> Secret {
        Secret::new(pem::encode("PRIVATE KEY", self.pair.serialized_der()))
    }
}

/// The first private key of a PEM file, as Go's TLS takes it.
pub(super) fn find(file: &[u8]) -> Result<Block, KeyError> {
    let blocks = pem::blocks(file).map_err(KeyError::Pem)?;
    blocks.into_iter().find(|block| block.label.ends_with("PRIVATE KEY")).ok_or(KeyError::Missing)
}

/// Whether a passphrase becomes a key in seconds: by ten million iterations of PBKDF2 at most, where openssl has 2048; or by
/// scrypt in 1 GiB, a few times over, where openssl has 16 MiB, once. A cost that is no power of two is none (RFC 7914, 2).
fn is_bearable(kdf: &Kdf) -> bool {
    match kdf {
        Kdf::Pbkdf2(pbkdf2) => pbkdf2.iteration_count <= 10_000_000,
        Kdf::Scrypt(scrypt) => {
            let (cost, times) = (scrypt.cost_parameter, scrypt.parallelization);
            let memory = cost.saturating_add(u64::from(times)).saturating_mul(128 * u64::from(scrypt.block_size));
            cost.is_power_of_two() && memory <= 1 << 30 && times <= 16
        }
        _ => false,
    }
}

/// A private key that needs a passphrase no more.
pub(super) fn decrypt(block: &Block, passphrase: &Secret) -> Result<Block, KeyError> {
    if block.encryption != Encryption::Pkcs8 {
        return Err(KeyError::Encryption);
    }
    let sealed = EncryptedPrivateKeyInfoRef::from_der(&block.der).map_err(|_| KeyError::Encryption)?;
    let kdf = sealed.encryption_algorithm.pbes2().map(|parameters| &parameters.kdf).ok_or(KeyError::Encryption)?;
    if !is_bearable(kdf) {
        return Err(KeyError::Encryption);
    }
    // Another passphrase is told by the padding, or, once in 256 times, by what is then no key.
    let opened = sealed.decrypt(passphrase.expose()).map_err(|error| match error {
        pkcs8::Error::EncryptedPrivateKey(
            pkcs8::pkcs5::Error::UnsupportedAlgorithm { .. } | pkcs8::pkcs5::Error::AlgorithmParametersInvalid { .. },
        ) => KeyError::Encryption,
        _ => KeyError::Passphrase,
    })?;
    let der = opened.as_bytes().to_vec();
    PrivateKeyInfoRef::from_der(&der).map_err(|_| KeyError::Passphrase)?;
    Ok(Block { label: "PRIVATE KEY".to_owned(), encryption: Encryption::None, der })
}

/// A private key taken out of its wrapping.
enum Form<'a> {
    /// `RSAPrivateKey` (RFC 8017, A.1.2).
    Rsa(&'a [u8]),
    /// What `ECPrivateKey` (RFC 5915, 3) holds; older tools leave out curve or public key.
    Ec { curve: Option<ObjectIdentifier>, private_key: &'a [u8], public_key: Option<&'a [u8]> },
    /// `CurvePrivateKey` (RFC 8410, 7).
    Ed25519(&'a [u8]),
}

impl<'a> Form<'a> {
    fn parse(block: &'a Block) -> Result<Self, KeyError> {
        let malformed = |_| KeyError::Malformed(block.label.clone());
        match block.label.as_str() {
            "RSA PRIVATE KEY" => Ok(Self::Rsa(&block.der)),
            "EC PRIVATE KEY" => Self::sec1(&block.der, None).map_err(malformed),
            "PRIVATE KEY" => {
                let info = PrivateKeyInfoRef::from_der(&block.der).map_err(malformed)?;
                let private_key = info.private_key.as_bytes();
                match info.algorithm.oid {
                    pkcs1::ALGORITHM_OID => Ok(Self::Rsa(private_key)),
                    EC => {
                        let curve = info.algorithm.parameters_oid().map_err(|_| explicit_curve())?;
                        Self::sec1(private_key, Some(curve)).map_err(malformed)
                    }
                    ED25519 => Ok(Self::Ed25519(private_key)),
                    other => Err(KeyError::Unsupported(format!("a key of kind {other}"))),
                }
            }
            other => Err(KeyError::Unsupported(format!("a block of {other:?}"))),
        }
        .and_then(Self::supported)
    }

    fn sec1(der: &'a [u8], curve: Option<ObjectIdentifier>) -> Result<Self, pkcs8::der::Error> {
        let key = EcPrivateKey::from_der(der)?;
        let curve = curve.or_else(|| key.parameters.and_then(sec1::EcParameters::named_curve));
        Ok(Self::Ec { curve, private_key: key.private_key, public_key: key.public_key })
    }

    fn supported(self) -> Result<Self, KeyError> {
        match &self {
            Self::Rsa(der) => {
                let key = pkcs1::RsaPrivateKeyRef::from_der(der)
                    .map_err(|_| KeyError::Malformed("RSA PRIVATE KEY".to_owned()))?;
                let bits = bits(key.modulus.as_bytes());
                if !RSA_BITS.contains(&bits) {
                    return Err(KeyError::Unsupported(format!("an RSA key of {bits} bits")));
                }
            }
            Self::Ec { curve: Some(curve), .. } if CURVES.iter().all(|(known, _)| known != curve) => {
                return Err(KeyError::Unsupported(format!("an EC key on curve {curve}")));
            }
            Self::Ec { .. } | Self::Ed25519(_) => {}
        }
        Ok(self)
    }

    /// PKCS#8, version 1, as ring wants it: an EC key with its public key, and padded to the length of its curve.
    fn to_pkcs8(&self, certificate_key: &[u8]) -> Result<Vec<u8>, pkcs8::der::Error> {
        match self {
            Self::Rsa(der) => wrap(pkcs1::ALGORITHM_ID, der),
            Self::Ed25519(der) => wrap(AlgorithmIdentifierRef { oid: ED25519, parameters: None }, der),
            Self::Ec { curve, private_key, public_key } => {
                let (curve, length) = curve_of(*curve, public_key.unwrap_or(certificate_key));
                let mut padded = vec![0; length.saturating_sub(private_key.len())];
                padded.extend_from_slice(private_key);
                let key = EcPrivateKey {
                    private_key: &padded,
                    parameters: None,
                    public_key: Some(public_key.unwrap_or(certificate_key)),
                };
                wrap(AlgorithmIdentifierRef { oid: EC, parameters: Some((&curve).into()) }, &key.to_der()?)
            }
        }
    }
}

/// The curve as named, else that on which an uncompressed public key (SEC1, 2.3.3) of this length lies.
fn curve_of(named: Option<ObjectIdentifier>, public_key: &[u8]) -> (ObjectIdentifier, usize) {
    let [p256, p384] = CURVES;
    let by_length = if public_key.len() == 1 + 2 * p384.1 { p384 } else { p256 };
    CURVES.into_iter().find(|(curve, _)| Some(*curve) == named).unwrap_or(by_length)
}

fn wrap(algorithm: AlgorithmIdentifierRef<'_>, private_key: &[u8]) -> Result<Vec<u8>, pkcs8::der::Error> {
    PrivateKeyInfoRef::new(algorithm, OctetStringRef::new(private_key)?).to_der()
}

/// Bits of a big-endian number.
fn bits(number: &[u8]) -> usize {
    let significant = number.iter().skip_while(|byte| **byte == 0).copied().collect::<Vec<_>>();
    significant.first().map_or(0, |first| significant.len() * 8 - first.leading_zeros() as usize)
}

fn explicit_curve() -> KeyError {
    KeyError::Unsupported("an EC key with its curve spelled out".to_owned())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::super::der::sequence;
    use super::*;

    /// The generators of P-256 and P-384 (SEC2, 2.4.2 and 2.5.1), so the public keys of the private key 1.
    const G256: &str = "046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296\
        4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5";
    const G384: &str = "04aa87ca22be8b05378eb1c71ef320ad746e1d3b628ba79b9859f741e082542a385502f25dbf55296c3a545e3872760ab7\
        3617de4a96262c6f5d9e98bf9292dc29f8f41dbd289a147ce9da3113b5f0b8c00a60b1ce1d7e819d7a431d7c90ea0e5f";

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
    }

    /// Some tools drop leading zeros of the number, its curve and its public key.
    #[test]
    fn a_bare_and_short_ec_key_is_completed() {
        for public_key in [hex(G256), hex(G384)] {
            let key = EcPrivateKey { private_key: &[1], parameters: None, public_key: None };
            let der = key.to_der().unwrap();
            let block = Block { label: "EC PRIVATE KEY".to_owned(), encryption: Encryption::None, der };
            let pkcs8 = Form::parse(&block).unwrap().to_pkcs8(&public_key).unwrap();
            let pair = rcgen::KeyPair::try_from(pkcs8).unwrap();
            assert_eq!(pair.public_key_raw(), public_key);
        }
    }

    #[test]
    fn bits_of_a_number() {
        for (number, wanted) in [(&[][..], 0), (&[0], 0), (&[1], 1), (&[0, 0x80], 8), (&[0, 1, 0], 9)] {
            assert_eq!(bits(number), wanted, "{number:?}");
        }
    }

    /// An encrypted key that says how much work its passphrase is to make: cost, block size and parallelization of scrypt
    /// (RFC 7914, 7.1), or iterations of PBKDF2.
    fn sealed(work: &[u64]) -> Block {
        let oid = |dotted: &str| ObjectIdentifier::new_unwrap(dotted).to_der().unwrap();
        let octets = |bytes: &[u8]| OctetStringRef::new(bytes).unwrap().to_der().unwrap();
        let salt = octets(&[7; 16]);
        let numbers: Vec<_> = work.iter().map(|number| number.to_der().unwrap()).collect();
        let settings: Vec<&[u8]> = std::iter::once(&salt).chain(&numbers).map(Vec::as_slice).collect();
        let settings = sequence(&settings).unwrap();
        let scrypt = work.len() > 1;
        let kdf = oid(if scrypt { "1.3.6.1.4.1.11591.4.11" } else { "1.2.840.113549.1.5.12" });
        let kdf = sequence(&[&kdf, &settings]).unwrap();
        let cipher = sequence(&[&oid("2.16.840.1.101.3.4.1.42"), &octets(&[0; 16])]).unwrap();
        let parameters = sequence(&[&kdf, &cipher]).unwrap();
        let algorithm = sequence(&[&oid("1.2.840.113549.1.5.13"), &parameters]).unwrap();
        let der = sequence(&[&algorithm, &octets(&[0; 48])]).unwrap();
        Block { label: "ENCRYPTED PRIVATE KEY".to_owned(), encryption: Encryption::Pkcs8, der }
    }

    #[test]
    fn a_key_that_asks_for_too_much_work_is_refused() {
        for (work, wanted) in [
            (&[1024_u64, 8, 1][..], KeyError::Passphrase),
            (&[1 << 23, 8, 1], KeyError::Encryption),
            (&[1 << 62, 8, 1], KeyError::Encryption),
            (&[1024, 65535, 1], KeyError::Encryption),
            (&[1024, 8, 17], KeyError::Encryption),
            // No power of two.
            (&[1000, 8, 1], KeyError::Encryption),
            (&[0, 8, 1], KeyError::Encryption),
            (&[1024, 0, 1], KeyError::Encryption),
            (&[1000], KeyError::Passphrase),
            (&[10_000_001], KeyError::Encryption),
        ] {
            let found = decrypt(&sealed(work), &Secret::new("secret")).err();
            assert_eq!(found, Some(wanted), "{work:?}");
        }
    }
}
