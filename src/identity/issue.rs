//! Signing certificates with the CA's key.

use std::net::IpAddr;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use pkcs8::der::asn1::BitStringRef;
use pkcs8::der::{self, Encode as _};
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair,
    KeyUsagePurpose, PublicKeyData, SanType, SerialNumber, SignatureAlgorithm, SigningKey,
};

use super::ca::Ca;
use super::certificate::Certificate;
use super::der::{elements, sequence};
use super::error::IdentityError;
use super::keys::PrivateKey;
use super::node::{self, NodeRequest};
use super::pem;
use crate::digest::Digest;

/// How far `NotBefore` lies back: a guest's clock may be behind ours until it has found its time server.
pub const BACKDATED: SignedDuration = SignedDuration::from_hours(1);

/// Whose certificate is issued, and what for.
pub(super) struct Subject<'a> {
    pub(super) common_name: String,
    /// To Kubernetes: the group.
    pub(super) organization: &'static str,
    /// DNS name and addresses under which it serves; without a name it is a client only.
    pub(super) server: Option<(String, &'a [IpAddr])>,
}

impl<'a> Subject<'a> {
    /// A node, as client and as server.
    pub(super) fn node(request: &'a NodeRequest<'_>) -> Self {
        let server = Some((request.node.to_string(), request.addresses.as_slice()));
        Self { common_name: node::common_name(request.node), organization: node::GROUP, server }
    }

    /// What it says of whoever holds it, signed or asked for.
    fn params(&self) -> Result<CertificateParams, rcgen::Error> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, self.organization);
        params.distinguished_name.push(DnType::CommonName, self.common_name.as_str());
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        if let Some((name, addresses)) = &self.server {
            params.extended_key_usages.insert(0, ExtendedKeyUsagePurpose::ServerAuth);
            params.subject_alt_names.push(SanType::DnsName(name.as_str().try_into()?));
            params.subject_alt_names.extend(addresses.iter().copied().map(SanType::IpAddress));
        }
        Ok(params)
    }
}

/// When a certificate ends that is issued now.
pub(super) fn end(ca: &Ca, lifetime: SignedDuration, now: Timestamp) -> Timestamp {
    seconds(now).saturating_add(lifetime).unwrap_or(Timestamp::MAX).min(ca.validity().not_after)
}

/// A fresh key and its certificate.
pub(super) fn issue(
    ca: &Ca,
    ca_key: &PrivateKey,
    subject: &Subject<'_>,
    lifetime: SignedDuration,
    now: Timestamp,
) -> Result<(PrivateKey, Certificate), IdentityError> {
    let key = PrivateKey::generate().map_err(IdentityError::Sign)?;
    let start = seconds(now).saturating_sub(BACKDATED).unwrap_or(Timestamp::MIN).max(ca.validity().not_before);
    let mut params = subject.params().map_err(IdentityError::Sign)?;
    params.not_before = rcgen::date_time_ymd(1970, 1, 1) + since_1970(start);
    params.not_after = rcgen::date_time_ymd(1970, 1, 1) + since_1970(end(ca, lifetime, now));
    params.serial_number = Some(serial(key.pair()));
    params.use_authority_key_identifier_extension = true;
    let der = sign(&params, key.pair(), ca.certificate(), ca_key.pair())?;
    let certificate = Certificate::parse(der).map_err(IdentityError::Issued)?;
    Ok((key, certificate))
}

/// A request for somebody else to sign (PKCS#10, RFC 2986), in PEM: with the names, and with the uses that are wanted.
pub(super) fn request(key: &PrivateKey, subject: &Subject<'_>) -> Result<String, IdentityError> {
    let signed = subject.params().and_then(|params| params.serialize_request(key.pair()));
    Ok(pem::encode("CERTIFICATE REQUEST", signed.map_err(IdentityError::Sign)?.der()))
}

/// 126 bits of the digest of a fresh public key, as unforeseeable as the key; positive and always of 16 bytes
/// (RFC 5280, 4.1.2.2).
fn serial(key: &KeyPair) -> SerialNumber {
    let mut bytes = Digest::of(key.public_key_raw()).bytes()[..16].to_vec();
    bytes[0] = bytes[0] & 0x3f | 0x40;
    SerialNumber::from(bytes)
}

fn sign(
    params: &CertificateParams,
    key: &KeyPair,
    ca: &Certificate,
    ca_key: &KeyPair,
) -> Result<Vec<u8>, IdentityError> {
    let mut issuer = CertificateParams::default();
    if let Some(id) = ca.subject_key_id() {
        issuer.key_identifier_method = KeyIdMethod::PreSpecified(id.to_vec());
    }
    let draft = params.signed_by(key, &Issuer::new(issuer, Unsigned(ca_key))).map_err(IdentityError::Sign)?;
    let body = with_issuer(draft.der(), ca.subject()).map_err(IdentityError::Encode)?;
    let signature = ca_key.sign(&body).map_err(IdentityError::Sign)?;
    signed(draft.der(), &body, &signature).map_err(IdentityError::Encode)
}

/// The part of a certificate that is signed, with its issuer replaced.
///
/// rcgen keeps one attribute of a kind in a name and cannot write two in one set, so that it would misname a CA such
/// as DC=example, DC=com; Go compares the names byte for byte.
fn with_issuer(certificate: &[u8], issuer: &[u8]) -> der::Result<Vec<u8>> {
    /// version, serialNumber and signature stand before it (RFC 5280, 4.1).
    const ISSUER: usize = 3;
    let body = elements(certificate)?.into_iter().next().unwrap_or_default();
    let mut fields = elements(body)?;
    if let Some(field) = fields.get_mut(ISSUER) {
        *field = issuer;
    }
    sequence(&fields)
}

fn signed(draft: &[u8], body: &[u8], signature: &[u8]) -> der::Result<Vec<u8>> {
    let algorithm = elements(draft)?.get(1).copied().unwrap_or_default();
    sequence(&[body, algorithm, &BitStringRef::from_bytes(signature)?.to_der()?])
}

/// The CA's key, which leaves the signature empty: the draft is signed once it names its issuer.
struct Unsigned<'a>(&'a KeyPair);

impl PublicKeyData for Unsigned<'_> {
    fn der_bytes(&self) -> &[u8] {
        self.0.der_bytes()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        PublicKeyData::algorithm(self.0)
    }
}

impl SigningKey for Unsigned<'_> {
    fn sign(&self, _message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        Ok(Vec::new())
    }
}

/// Certificates count in whole seconds.
fn seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

fn since_1970(time: Timestamp) -> Duration {
    Duration::from_secs(u64::try_from(time.as_second()).unwrap_or_default())
}
