//! Who asks: the subject of a client certificate.

use x509_parser::prelude::{FromDer as _, X509Certificate};

/// An authenticated client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// User name: the certificate's common name.
    pub user: String,
    /// Groups: the certificate's organizations, then `system:authenticated`.
    pub groups: Vec<String>,
    /// Serial number of the certificate: lowercase hexadecimal, two digits a byte, no separators.
    pub serial: String,
}

/// Why a certificate names nobody.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum IdentityError {
    /// The DER does not parse.
    #[error("the client certificate cannot be parsed")]
    Malformed,
    /// No common name: x509 authentication has no user name then.
    #[error("the client certificate has no common name")]
    NoCommonName,
}

impl Identity {
    /// Reads user and groups as x509 authentication does: CN is the user, each O a group.
    ///
    /// # Errors
    /// The certificate does not parse or has no common name.
    pub fn from_certificate(der: &[u8]) -> Result<Self, IdentityError> {
        let (_, certificate) = X509Certificate::from_der(der).map_err(|_| IdentityError::Malformed)?;
        let user = certificate
            .subject()
            .iter_common_name()
            .find_map(|name| name.as_str().ok())
            .filter(|name| !name.is_empty())
            .ok_or(IdentityError::NoCommonName)?
            .to_owned();
        let mut groups: Vec<String> = certificate
            .subject()
            .iter_organization()
            .filter_map(|name| name.as_str().ok())
            .map(str::to_owned)
            .collect();
        groups.push("system:authenticated".to_owned());
        // DER puts a zero byte before a number whose highest bit is set; it is no part of the number.
        let serial = match certificate.raw_serial() {
            [0, rest @ ..] if !rest.is_empty() => rest,
            serial => serial,
        };
        let serial = serial.iter().fold(String::new(), |mut text, byte| {
            use std::fmt::Write as _;
            let _ = write!(text, "{byte:02x}");
            text
        });
        Ok(Self { user, groups, serial })
    }

    /// Whether this identity may do everything, whatever the cluster says.
    #[must_use]
    pub fn is_master(&self) -> bool {
        self.groups.iter().any(|group| group == "system:masters")
    }

    /// The node that this identity is, if it is one: `system:node:NAME` in group `system:nodes`.
    #[must_use]
    pub fn node(&self) -> Option<&str> {
        let name = self.user.strip_prefix("system:node:").filter(|name| !name.is_empty())?;
        self.groups.iter().any(|group| group == "system:nodes").then_some(name)
    }
}
