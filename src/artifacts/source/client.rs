//! The HTTP client: whom it trusts, where it lets itself be sent, how long it waits.

use std::path::Path;
use std::sync::Arc;

use reqwest::blocking::Client;
use reqwest::redirect;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use url::Url;

use super::{Limits, SourceError};

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Reads the certificates of a PEM file, at least one; other sections are passed over.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, SourceError> {
    let refused = |source: Cause| SourceError::CaFile { path: path.to_owned(), source };
    let bytes = std::fs::read(path).map_err(|error| refused(error.into()))?;
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(&bytes)
        .collect::<Result<_, _>>()
        .map_err(|_| refused("it is not PEM".into()))?;
    if certificates.is_empty() {
        return Err(refused("it holds no certificate in PEM form".into()));
    }
    let mut roots = rustls::RootCertStore::empty();
    for certificate in &certificates {
        roots.add(certificate.clone()).map_err(|error| refused(error.into()))?;
    }
    Ok(certificates)
}

/// The system's certificates and `further` ones. A machine without any can still use a plain mirror; https then fails with
/// an unknown issuer.
pub(super) fn roots(further: &[CertificateDer<'static>]) -> rustls::RootCertStore {
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots.add_parsable_certificates(further.iter().cloned());
    roots
}

/// A client that trusts the system's certificates and `further` ones. The proxies that
/// the environment names are used, as reqwest reads it: `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY`.
pub(super) fn client(limits: &Limits, further: &[CertificateDer<'static>]) -> Result<Client, Cause> {
    let tls = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots(further))
        .with_no_client_auth();
    let client = Client::builder()
        .tls_backend_preconfigured(tls)
        .user_agent(concat!("nodebake/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(limits.connect)
        // Of the blocking client: for the head of the answer, and then for each read; not for the whole transfer.
        .timeout(limits.stall)
        .redirect(redirect::Policy::custom(follow))
        .build()?;
    Ok(client)
}

/// Whether the server's certificate, or its TLS, is what stands in the way: no later try changes that.
pub(super) fn is_distrust(error: &reqwest::Error) -> bool {
    let causes = std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source());
    causes.into_iter().any(|cause| {
        // An io::Error hides what it wraps from `source`.
        let inner = cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        cause.is::<rustls::Error>() || inner.is_some_and(<dyn std::error::Error + Send + Sync>::is::<rustls::Error>)
    })
}

/// Why a redirect is not followed.
#[derive(Debug, thiserror::Error)]
pub(super) enum RefusedRedirect {
    #[error("more than {MOST_REDIRECTS} redirects")]
    TooMany,
    #[error("{0} is neither http nor https")]
    Scheme(Url),
    #[error("{0} is not encrypted, and the address before it was")]
    Downgrade(Url),
    #[error("{0:?} is no address")]
    NoAddress(String),
}

const MOST_REDIRECTS: usize = 10;

fn follow(attempt: redirect::Attempt<'_>) -> redirect::Action {
    match allowed(attempt.url(), attempt.previous().last(), attempt.previous().len()) {
        Ok(()) => attempt.follow(),
        Err(refused) => attempt.error(refused),
    }
}

/// Whether the way leads on to `next`, after so many `steps`.
fn allowed(next: &Url, before: Option<&Url>, steps: usize) -> Result<(), RefusedRedirect> {
    let encrypted = before.is_some_and(|url| url.scheme() == "https");
    match next.scheme() {
        _ if steps > MOST_REDIRECTS => Err(RefusedRedirect::TooMany),
        "http" if encrypted => Err(RefusedRedirect::Downgrade(next.clone())),
        "http" | "https" => Ok(()),
        _ => Err(RefusedRedirect::Scheme(next.clone())),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::error::chain;

    #[test]
    fn an_encrypted_address_never_leads_to_a_plain_one() {
        let url = |text: &str| Url::parse(text).unwrap();
        let refused =
            |from: &str, to: &str| allowed(&url(to), Some(&url(from)), 1).err().map(|error| error.to_string());
        assert_eq!(refused("https://a/", "https://b/"), None);
        assert_eq!(refused("http://a/", "https://b/"), None);
        assert_eq!(refused("http://a/", "http://b/"), None);
        assert_eq!(
            refused("https://a/", "http://b/").as_deref(),
            Some("http://b/ is not encrypted, and the address before it was")
        );
    }

    #[test]
    fn files_without_certificates_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        let refused = || chain(&certificates(&path).unwrap_err());
        let about = |why: &str| format!("no CA certificates can be read from {}: {why}", path.display());
        assert_eq!(refused(), about("No such file or directory (os error 2)"));
        for (text, why) in [
            ("", "it holds no certificate in PEM form"),
            ("no certificate", "it holds no certificate in PEM form"),
            ("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "it holds no certificate in PEM form"),
            ("-----BEGIN CERTIFICATE-----\nAAAA\n", "it is not PEM"),
            ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "invalid peer certificate: BadEncoding"),
        ] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(refused(), about(why), "{text}");
        }
    }

    #[test]
    fn each_certificate_of_a_file_counts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        let made = || rcgen::generate_simple_self_signed(["ca".to_owned()]).unwrap().cert;
        let (one, two) = (made(), made());
        std::fs::write(&path, format!("# Ours\n{}\n{}", one.pem(), two.pem())).unwrap();
        assert_eq!(certificates(&path).unwrap(), [one.der().clone(), two.der().clone()]);
    }
}
