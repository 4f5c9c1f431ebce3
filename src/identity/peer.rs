//! The certificate that a server shows.

use jiff::Timestamp;

use super::certificate::{Certificate, CertificateError, Validity};

/// What a server's certificate says of itself; whether to believe it is not asked here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerCertificate {
    /// Start of its validity, in whole seconds.
    pub not_before: Timestamp,
    /// End of its validity, in whole seconds.
    pub not_after: Timestamp,
    /// The DNS names and IP addresses that it is for.
    pub names: Vec<String>,
}

impl PeerCertificate {
    /// Reads a certificate in DER form.
    pub fn read(der: &[u8]) -> Result<Self, CertificateError> {
        let certificate = Certificate::parse(der.to_vec())?;
        let Validity { not_before, not_after } = certificate.validity();
        Ok(Self { not_before, not_after, names: certificate.all_names() })
    }
}
