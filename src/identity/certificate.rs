//! Reading a certificate, and saying all that is wrong with it for a use.

use std::collections::BTreeSet;
use std::net::IpAddr;

use jiff::{SignedDuration, Timestamp};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::oid_registry::{OID_PKCS1_SHA1WITHRSA, OID_SHA1_WITH_RSA};
use x509_parser::prelude::FromDer as _;
use x509_parser::time::ASN1Time;
use x509_parser::x509::AttributeTypeAndValue;

use super::der::elements;
use super::error::Problem;
use super::pem::{self, PemError};
use crate::digest::Digest;

/// Why bytes are no certificate.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// A PEM block is damaged.
    #[error("the file is damaged")]
    Pem(#[source] PemError),
    /// No block of a certificate.
    #[error("no certificate in it")]
    Missing,
    /// The block is not X.509, or an extension of it is not what it says.
    #[error("the certificate is malformed")]
    Malformed,
}

/// An X.509 certificate, with what is asked of it taken out.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Certificate {
    der: Vec<u8>,
    subject: Vec<u8>,
    subject_text: String,
    issuer: Vec<u8>,
    issuer_text: String,
    serial: Vec<u8>,
    validity: Validity,
    public_key: Vec<u8>,
    common_names: Vec<String>,
    organizations: Vec<String>,
    names: BTreeSet<String>,
    addresses: BTreeSet<IpAddr>,
    other_names: Vec<String>,
    subject_key_id: Option<Vec<u8>>,
    ca: bool,
    /// How many CAs may stand between this one and a certificate that is none (RFC 5280, 4.2.1.9).
    path_length: Option<u32>,
    usage: Usage,
}

/// From when to when a certificate is valid, in whole seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// Its first second.
    pub not_before: Timestamp,
    /// Its last second.
    pub not_after: Timestamp,
}

/// A certificate is near its end for so long, if it lasts three times as long at all.
const NEAR_END: SignedDuration = SignedDuration::from_hours(30 * 24);

impl Validity {
    /// Whether the end is near, or past: the last 30 days, or the last third of what lasts less than 90.
    pub fn ends_soon(&self, now: Timestamp) -> bool {
        let third = self.not_before.duration_until(self.not_after) / 3;
        now.duration_until(self.not_after) < NEAR_END.min(third)
    }

    /// Whether the end is past.
    pub fn is_over(&self, now: Timestamp) -> bool {
        now > self.not_after
    }
}

/// What the key usage extensions allow; an extension that is absent forbids nothing (RFC 5280, 4.2.1.3 and 4.2.1.12).
#[derive(Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is one bit of the certificate")]
struct Usage {
    certificate_signing: bool,
    digital_signature: bool,
    server: bool,
    client: bool,
}

/// What a node's certificate must be, whoever issued it.
pub(super) struct Wanted<'a> {
    pub(super) common_name: String,
    pub(super) organization: &'static str,
    pub(super) name: String,
    pub(super) addresses: &'a [IpAddr],
    /// Whether it counts at a first boot alone, so that its end is no fault.
    pub(super) rotates: bool,
    pub(super) now: Timestamp,
}

/// All certificates of a PEM file, in its order, at least one.
pub(super) fn read(file: &[u8]) -> Result<Vec<Certificate>, CertificateError> {
    let blocks = pem::blocks(file).map_err(CertificateError::Pem)?;
    // The second label is openssl's own, for a certificate with trust settings, which we do not read.
    let certificates: Vec<_> = blocks
        .into_iter()
        .filter(|block| block.label == "CERTIFICATE")
        .map(|block| Certificate::parse(block.der))
        .collect::<Result<_, _>>()?;
    if certificates.is_empty() { Err(CertificateError::Missing) } else { Ok(certificates) }
}

impl Certificate {
    pub(super) fn parse(der: Vec<u8>) -> Result<Self, CertificateError> {
        let malformed = |_| CertificateError::Malformed;
        let (rest, x509) = X509Certificate::from_der(&der).map_err(|_| CertificateError::Malformed)?;
        let broken = |extension: &ParsedExtension<'_>| matches!(extension, ParsedExtension::ParseError { .. });
        if !rest.is_empty()
            || !algorithms_agree(&der)
            || x509.iter_extensions().any(|extension| broken(extension.parsed_extension()))
        {
            return Err(CertificateError::Malformed);
        }
        let (mut names, mut addresses, mut other_names) = (BTreeSet::new(), BTreeSet::new(), Vec::new());
        let alternatives = x509.subject_alternative_name().map_err(malformed)?;
        for name in alternatives.iter().flat_map(|extension| &extension.value.general_names) {
            match name {
                GeneralName::DNSName(name) => drop(names.insert((*name).to_owned())),
                GeneralName::IPAddress(bytes) => drop(addresses.insert(address(bytes)?)),
                other => other_names.push(other.to_string()),
            }
        }
        let constraints = x509.basic_constraints().map_err(malformed)?;
        let certificate = Self {
            subject: x509.subject().as_raw().to_vec(),
            subject_text: x509.subject().to_string(),
            issuer: x509.issuer().as_raw().to_vec(),
            issuer_text: x509.issuer().to_string(),
            serial: x509.raw_serial().iter().copied().skip_while(|byte| *byte == 0).collect(),
            validity: Validity {
                not_before: time(&x509.validity().not_before),
                not_after: time(&x509.validity().not_after),
            },
            public_key: x509.public_key().subject_public_key.data.to_vec(),
            common_names: x509.subject().iter_common_name().map(text).collect(),
            organizations: x509.subject().iter_organization().map(text).collect(),
            names,
            addresses,
            other_names,
            subject_key_id: x509.iter_extensions().find_map(|extension| match extension.parsed_extension() {
                ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0.to_vec()),
                _ => None,
            }),
            ca: constraints.as_ref().is_some_and(|extension| extension.value.ca),
            path_length: constraints.and_then(|extension| extension.value.path_len_constraint),
            usage: Usage::of(&x509)?,
            der: Vec::new(),
        };
        Ok(Self { der, ..certificate })
    }

    pub(super) fn to_pem(&self) -> String {
        pem::encode("CERTIFICATE", &self.der)
    }

    pub(super) fn digest(&self) -> Digest {
        Digest::of(&self.der)
    }

    /// In DER.
    pub(super) fn der(&self) -> &[u8] {
        &self.der
    }

    /// The subject's name in DER.
    pub(super) fn subject(&self) -> &[u8] {
        &self.subject
    }

    /// The subject's name as people read it.
    pub(super) fn subject_text(&self) -> &str {
        &self.subject_text
    }

    /// The issuer's name as people read it.
    pub(super) fn issuer_text(&self) -> &str {
        &self.issuer_text
    }

    /// Whether it names itself as its issuer, as roots do.
    pub(super) fn is_self_issued(&self) -> bool {
        self.issuer == self.subject
    }

    /// Whether the subject of `ca` is named as its issuer: compared as Go does, byte for byte.
    pub(super) fn names_issuer(&self, ca: &Self) -> bool {
        self.issuer == ca.subject
    }

    pub(super) fn path_length(&self) -> Option<u32> {
        self.path_length
    }

    /// The subjectPublicKey: a point for EC, an `RSAPublicKey` for RSA.
    pub(super) fn public_key(&self) -> &[u8] {
        &self.public_key
    }

    pub(super) fn subject_key_id(&self) -> Option<&[u8]> {
        self.subject_key_id.as_deref()
    }

    /// Serial number, in lowercase hexadecimal digits, two for each byte.
    pub(super) fn serial(&self) -> String {
        self.serial.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
    }

    pub(super) fn validity(&self) -> Validity {
        self.validity
    }

    /// All that keeps this certificate from being the CA of a cluster at `now`.
    pub(super) fn ca_problems(&self, now: Timestamp) -> Vec<Problem> {
        let mut problems = self.date_problems(now);
        if !self.ca {
            problems.push(Problem::NotACa);
        }
        if !self.usage.certificate_signing {
            problems.push(Problem::Usage("signing certificates"));
        }
        // Clients trust the CA for its key and do not look at its own signature, but that shows a damaged file. One of an
        // algorithm that we cannot check, such as SHA-1, is no fault there.
        if self.is_self_issued() && self.signature_problem(self) == Some(Problem::BadSignature) {
            problems.push(Problem::BadSelfSignature);
        }
        problems
    }

    /// All that keeps this certificate from being that of a node but who signed it: whose it is, what it is for, whether it is valid at `now`.
    pub(super) fn problems(&self, wanted: &Wanted<'_>, now: Timestamp) -> Vec<Problem> {
        let mut problems = Vec::new();
        if self.common_names != [wanted.common_name.as_str()] {
            let (found, wanted) = (self.common_names.clone(), wanted.common_name.clone());
            problems.push(Problem::CommonName { found, wanted });
        }
        // Kubernetes takes every organization for a group: another one is a right that a node must not have.
        if self.organizations != [wanted.organization] {
            let (found, wanted) = (self.organizations.clone(), wanted.organization.to_owned());
            problems.push(Problem::Organization { found, wanted });
        }
        if !self.names.contains(&wanted.name) {
            problems.push(Problem::MissingName(wanted.name.clone()));
        }
        let missing = wanted.addresses.iter().filter(|address| !self.addresses.contains(address));
        problems.extend(missing.copied().map(Problem::MissingAddress));
        problems.extend(self.date_problems(now));
        let usage = [
            (self.usage.digital_signature, "digital signatures"),
            (self.usage.server, "servers"),
            (self.usage.client, "clients"),
        ];
        problems.extend(usage.into_iter().filter(|(allowed, _)| !allowed).map(|(_, usage)| Problem::Usage(usage)));
        if self.ca {
            problems.push(Problem::IsACa);
        }
        problems
    }

    /// Names in the certificate beyond the wanted ones.
    pub(super) fn foreign_names(&self, wanted: &Wanted<'_>) -> Vec<Problem> {
        let names = self.names.iter().filter(|name| **name != wanted.name).cloned();
        let addresses = self.addresses.iter().filter(|address| !wanted.addresses.contains(address));
        names
            .chain(addresses.map(ToString::to_string))
            .chain(self.other_names.iter().cloned())
            .map(Problem::ForeignName)
            .collect()
    }

    /// All DNS names and IP addresses that it is for.
    pub(super) fn all_names(&self) -> Vec<String> {
        self.names.iter().cloned().chain(self.addresses.iter().map(ToString::to_string)).collect()
    }

    /// What is wrong with it as a client's certificate at `now`, whoever's it is.
    pub(super) fn client_problems(&self, now: Timestamp) -> Vec<Problem> {
        let usage = (!self.usage.client).then_some(Problem::Usage("clients"));
        self.date_problems(now).into_iter().chain(usage).collect()
    }

    fn date_problems(&self, now: Timestamp) -> Vec<Problem> {
        let Validity { not_before, not_after } = self.validity;
        let early = (now < not_before).then_some(Problem::NotYetValid(not_before));
        let late = (now > not_after).then_some(Problem::Expired(not_after));
        early.into_iter().chain(late).collect()
    }

    /// Why it is not signed by this CA, if it is not.
    pub(super) fn signature_problem(&self, ca: &Self) -> Option<Problem> {
        if !self.names_issuer(ca) {
            return Some(Problem::ForeignIssuer(self.issuer_text.clone()));
        }
        let (Ok((_, x509)), Ok((_, ca))) = (X509Certificate::from_der(&self.der), X509Certificate::from_der(&ca.der))
        else {
            return Some(Problem::BadSignature);
        };
        let algorithm = &x509.signature_algorithm.algorithm;
        if [OID_PKCS1_SHA1WITHRSA, OID_SHA1_WITH_RSA].contains(algorithm) {
            return Some(Problem::SignatureAlgorithm(algorithm.to_id_string()));
        }
        match x509.verify_signature(Some(ca.public_key())) {
            Ok(()) => None,
            Err(x509_parser::error::X509Error::SignatureUnsupportedAlgorithm) => {
                Some(Problem::SignatureAlgorithm(algorithm.to_id_string()))
            }
            Err(_) => Some(Problem::BadSignature),
        }
    }
}

impl Usage {
    fn of(x509: &X509Certificate<'_>) -> Result<Self, CertificateError> {
        let key = x509.key_usage().map_err(|_| CertificateError::Malformed)?;
        let extended = x509.extended_key_usage().map_err(|_| CertificateError::Malformed)?;
        Ok(Self {
            certificate_signing: key.as_ref().is_none_or(|usage| usage.value.key_cert_sign()),
            digital_signature: key.as_ref().is_none_or(|usage| usage.value.digital_signature()),
            server: extended.as_ref().is_none_or(|usage| usage.value.any || usage.value.server_auth),
            client: extended.as_ref().is_none_or(|usage| usage.value.any || usage.value.client_auth),
        })
    }
}

/// Whether the signature's algorithm is named alike inside and outside of what is signed (RFC 5280, 4.1.1.2), as Go
/// demands; x509-parser does not look.
fn algorithms_agree(certificate: &[u8]) -> bool {
    let inner = |outer: &[&[u8]]| {
        let fields = elements(outer.first()?).ok()?;
        // After the version, which version 1 leaves out, and the serial number.
        let versioned = fields.first()?.first() == Some(&0xa0);
        fields.get(if versioned { 2 } else { 1 }).map(|algorithm| algorithm.to_vec())
    };
    elements(certificate).is_ok_and(|outer| outer.len() == 3 && inner(&outer).as_deref() == outer.get(1).copied())
}

fn text(attribute: &AttributeTypeAndValue<'_>) -> String {
    let lossy = || String::from_utf8_lossy(attribute.as_slice()).into_owned();
    attribute.as_str().map_or_else(|_| lossy(), ToOwned::to_owned)
}

/// RFC 5280 (4.1.2.5) writes "no end" as 9999-12-31T23:59:59Z, which lies beyond jiff's range.
fn time(time: &ASN1Time) -> Timestamp {
    let seconds = time.timestamp().clamp(Timestamp::MIN.as_second(), Timestamp::MAX.as_second());
    Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX)
}

fn address(bytes: &[u8]) -> Result<IpAddr, CertificateError> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).map_err(|_| CertificateError::Malformed)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_near_for_a_month_or_a_third() {
        let day = SignedDuration::from_hours(24);
        let second = SignedDuration::from_secs(1);
        let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        for (days, near) in [(365, 30), (3650, 30), (90, 30), (60, 20), (3, 1)] {
            let validity = Validity { not_before: start, not_after: start + days * day };
            let at = |time| (validity.ends_soon(time), validity.is_over(time));
            let end = validity.not_after;
            assert_eq!(at(start), (false, false), "{days}");
            assert_eq!(at(end - near * day), (false, false), "{days}");
            assert_eq!(at(end - near * day + second), (true, false), "{days}");
            assert_eq!((at(end), at(end + second)), ((true, false), (true, true)), "{days}");
        }
    }
}
