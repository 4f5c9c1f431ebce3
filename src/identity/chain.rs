//! The CA's certificate with those above it, and the way from a certificate up to them.
//!
//! ca.pem begins with the CA that signs, as kubeadm takes it; behind it may stand the CA that issued it, and so on up to the
//! root. All of them are trusted: the file goes into nodes and kubeconfigs as it is. What a node presents is its certificate
//! and those on the way up, the root left out (RFC 8446, 4.4.2), so that a peer that trusts the root alone finds the way.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::{CertificateError, Error, RootCertStore};

use super::certificate::{self, Certificate, Validity};
use super::error::{IdentityError, Problem};
use super::store;

/// The certificates of ca.pem; at least one, each issued by the next.
pub(super) struct Chain(Vec<Certificate>);

impl Chain {
    /// Reads ca.pem and checks all of it: every certificate is a CA's and valid at `now`, and issued the one before.
    pub(super) fn load(path: &Path, now: Timestamp) -> Result<Self, IdentityError> {
        let certificates = read(path)?;
        for (index, pair) in certificates.windows(2).enumerate() {
            let [lower, upper] = pair else { continue };
            // Behind a root nothing is left to say.
            if lower.is_self_issued() || lower.signature_problem(upper).is_some() {
                return Err(IdentityError::BrokenChain { path: path.to_owned(), number: index + 2 });
            }
        }
        let own = certificates.iter().take(1).flat_map(|ca| ca.ca_problems(now));
        let above = certificates.iter().skip(1).flat_map(|ca| above(ca, now));
        let mut problems: Vec<_> = own.chain(above).collect();
        problems.extend(too_long(&certificates.iter().collect::<Vec<_>>()));
        if problems.is_empty() {
            Ok(Self(certificates))
        } else {
            Err(IdentityError::CaUnfit { path: path.to_owned(), problems })
        }
    }

    /// The certificate of the CA that signs, which need not be valid any more.
    pub(super) fn first(path: &Path) -> Result<Certificate, IdentityError> {
        Ok(read(path)?.swap_remove(0))
    }

    /// The CA that signs.
    pub(super) fn issuer(&self) -> &Certificate {
        &self.0[0]
    }

    /// All of it.
    pub(super) fn certificates(&self) -> &[Certificate] {
        &self.0
    }

    /// The same in PEM.
    pub(super) fn pem(&self) -> String {
        self.0.iter().map(Certificate::to_pem).collect()
    }

    /// When all of them are valid: nothing that is issued lasts longer.
    pub(super) fn validity(&self) -> Validity {
        let one = self.issuer().validity();
        self.0.iter().map(Certificate::validity).fold(one, |all, one| Validity {
            not_before: all.not_before.max(one.not_before),
            not_after: all.not_after.min(one.not_after),
        })
    }

    /// Whether this very certificate is one of the chain.
    pub(super) fn holds(&self, certificate: &Certificate) -> bool {
        self.0.contains(certificate)
    }

    /// The certificates of the way up from `leaf` to the end of ca.pem, by way of `others`, which nobody need trust; or all
    /// that is wrong with it.
    pub(super) fn way<'a>(
        &'a self,
        leaf: &Certificate,
        others: &'a [Certificate],
        now: Timestamp,
    ) -> Result<Vec<&'a Certificate>, Vec<Problem>> {
        let mut way: Vec<&Certificate> = Vec::new();
        loop {
            let top = way.last().copied().unwrap_or(leaf);
            if let Some(at) = self.0.iter().position(|ca| top.signature_problem(ca).is_none()) {
                let mut problems: Vec<_> = way.iter().flat_map(|ca| above(ca, now)).collect();
                way.extend(&self.0[at..]);
                problems.extend(too_long(&way));
                return if problems.is_empty() { Ok(way) } else { Err(problems) };
            }
            let next = others.iter().find(|ca| !way.contains(ca) && top.signature_problem(ca).is_none());
            let Some(next) = next else {
                // The reason that tells most: of a CA that has the right name.
                let named = self.0.iter().find(|ca| top.names_issuer(ca)).unwrap_or(self.issuer());
                return Err(top.signature_problem(named).into_iter().collect());
            };
            way.push(next);
        }
    }

    /// `leaf` and what it presents with it, in PEM.
    pub(super) fn presented(leaf: &Certificate, way: &[&Certificate]) -> String {
        let between = way.iter().filter(|ca| !ca.is_self_issued()).map(|ca| ca.to_pem());
        std::iter::once(leaf.to_pem()).chain(between).collect()
    }
}

/// What others may have against a certificate that has no fault of its own, such as names that a CA must not give
/// (RFC 5280, 4.2.1.10): rustls judges, as a client that calls the server by `names`, and as a server. Only the last of the
/// way is trusted.
pub(super) fn refused(
    leaf: &Certificate,
    way: &[&Certificate],
    names: Option<(&str, &[IpAddr])>,
    now: Timestamp,
) -> Option<Problem> {
    let der = |certificate: &Certificate| CertificateDer::from(certificate.der().to_vec());
    let (leaf, between): (_, Vec<_>) = (der(leaf), way.iter().map(|ca| der(ca)).collect());
    let mut roots = RootCertStore::empty();
    // One that cannot be read is missing, and so nothing leads to it.
    let _ = roots.add(between.last()?.clone());
    let (roots, provider) = (Arc::new(roots), Arc::new(rustls::crypto::ring::default_provider()));
    let now = UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(now.as_second()).ok()?));
    let judge = || {
        let clients = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone());
        let other = |error: rustls::server::VerifierBuilderError| Error::General(error.to_string());
        clients.build().map_err(other)?.verify_client_cert(&leaf, &between, now)?;
        let Some((name, addresses)) = names else { return Ok(()) };
        let servers = WebPkiServerVerifier::builder_with_provider(roots, provider).build().map_err(other)?;
        let name = ServerName::try_from(name).map_err(|error| Error::General(error.to_string()))?;
        let addresses = addresses.iter().map(|address| ServerName::from(*address));
        std::iter::once(name).chain(addresses).try_for_each(|name| {
            servers.verify_server_cert(&leaf, &between, &name, &[], now)?;
            Ok::<_, Error>(())
        })
    };
    judge().err().map(|error| {
        Problem::Refused(match error {
            Error::InvalidCertificate(CertificateError::Other(why)) => why.to_string(),
            Error::InvalidCertificate(why) => why.to_string(),
            other => other.to_string(),
        })
    })
}

/// What is wrong with a CA that stands between.
fn above(ca: &Certificate, now: Timestamp) -> Vec<Problem> {
    let of_it = |problem| Problem::Above { ca: ca.subject_text().to_owned(), problem: Box::new(problem) };
    ca.ca_problems(now).into_iter().map(of_it).collect()
}

/// CAs below which there are more than they allow; of the way, the lowest first. One that issued itself does not count
/// (RFC 5280, 4.2.1.9).
fn too_long(way: &[&Certificate]) -> Vec<Problem> {
    let below = |index: usize| way.iter().take(index).filter(|ca| !ca.is_self_issued()).count();
    let exceeds = |(index, ca): (usize, &&Certificate)| {
        let most = ca.path_length()?;
        let too_long = below(index) > usize::try_from(most).unwrap_or(usize::MAX);
        let problem = || Problem::Above { ca: ca.subject_text().to_owned(), problem: Box::new(Problem::PathTooLong) };
        too_long.then(problem)
    };
    way.iter().enumerate().filter_map(exceeds).collect()
}

/// The certificates of ca.pem, at least one.
fn read(path: &Path) -> Result<Vec<Certificate>, IdentityError> {
    let Some(file) = store::read_file(path)? else { return Err(IdentityError::MissingCa { path: path.to_owned() }) };
    certificate::read(&file).map_err(|source| IdentityError::Certificate { path: path.to_owned(), source })
}
