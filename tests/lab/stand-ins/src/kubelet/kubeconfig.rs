//! The kubeconfig: which apiserver, verified by which CA, as whom.

use std::path::{Path, PathBuf};

use hyper::Uri;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::Value;

use super::schema::{self, KUBECONFIG, SchemaError};
use crate::tls::{self, TlsError};
use crate::yaml::{self, YamlError};

/// What the current context says.
#[derive(Debug)]
pub struct Kubeconfig {
    /// https URL of the apiserver.
    pub server: Uri,
    /// Name to verify the apiserver's certificate for, if not the URL's.
    pub server_name: Option<String>,
    /// CA of the apiserver.
    pub roots: rustls::RootCertStore,
    /// Client certificate, leaf first.
    pub chain: Vec<CertificateDer<'static>>,
    /// Its key.
    pub key: PrivateKeyDer<'static>,
}

/// Why a kubeconfig is refused.
#[derive(Debug, thiserror::Error)]
pub enum KubeconfigError {
    /// Unreadable.
    #[error("cannot read kubeconfig {path}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Not YAML, or a key twice.
    #[error("cannot parse kubeconfig {path}")]
    Yaml {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: YamlError,
    },
    /// A field that is unknown or of the wrong type.
    #[error("cannot parse kubeconfig {path}")]
    Schema {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: SchemaError,
    },
    /// Another kind of object.
    #[error("{0} is no kubeconfig (apiVersion v1, kind Config)")]
    OtherKind(PathBuf),
    /// The current context, or what it names, is not there or stands twice.
    #[error("invalid kubeconfig: {what} {name:?} {why}")]
    Entry {
        /// context, cluster or user.
        what: &'static str,
        /// Its name.
        name: String,
        /// What is wrong.
        why: &'static str,
    },
    /// The cluster or the user lacks something, or says what the stand-in does not do.
    #[error("invalid kubeconfig: {0}")]
    Unusable(String),
    /// Certificate, key or CA file.
    #[error("invalid kubeconfig: {field}")]
    File {
        /// The field.
        field: &'static str,
        /// Why.
        #[source]
        source: TlsError,
    },
}

impl Kubeconfig {
    /// Reads a kubeconfig and the files that it names (relative ones from its folder).
    ///
    /// # Errors
    /// See [`KubeconfigError`].
    pub fn load(path: &Path) -> Result<Self, KubeconfigError> {
        let own = || path.to_owned();
        let text =
            std::fs::read_to_string(path).map_err(|source| KubeconfigError::Unreadable { path: own(), source })?;
        let document = yaml::parse(&text).map_err(|source| KubeconfigError::Yaml { path: own(), source })?;
        if document["apiVersion"] != "v1" || document["kind"] != "Config" {
            return Err(KubeconfigError::OtherKind(own()));
        }
        schema::check(&document, KUBECONFIG).map_err(|source| KubeconfigError::Schema { path: own(), source })?;
        Self::from_document(path.parent().unwrap_or(Path::new(".")), &document)
    }

    fn from_document(folder: &Path, document: &Value) -> Result<Self, KubeconfigError> {
        let current = document["current-context"].as_str().unwrap_or_default();
        let context = entry(document, "context", current)?;
        let cluster = entry(document, "cluster", context["cluster"].as_str().unwrap_or_default())?;
        let user = entry(document, "user", context["user"].as_str().unwrap_or_default())?;
        let unusable = |why: &str| KubeconfigError::Unusable(why.to_owned());
        if cluster["insecure-skip-tls-verify"] == true || !cluster["proxy-url"].is_null() {
            return Err(unusable("this stand-in verifies the apiserver and knows no proxy"));
        }
        if !user["token"].is_null() || !user["tokenFile"].is_null() {
            return Err(unusable("this stand-in knows client certificates only, no tokens"));
        }
        let text = cluster["server"].as_str().unwrap_or_default();
        let server = text.parse::<Uri>().ok().filter(|uri| uri.scheme_str() == Some("https") && uri.host().is_some());
        let server = server.ok_or_else(|| KubeconfigError::Unusable(format!("server {text:?} is no https URL")))?;
        let file =
            |map: &Value, field: &'static str, data: &str| match map[field].as_str().filter(|path| !path.is_empty()) {
                Some(_) if !map[data].is_null() => {
                    Err(KubeconfigError::Unusable(format!("{field} and {data} are both set")))
                }
                Some(path) => Ok(folder.join(path)),
                None if !map[data].is_null() => {
                    Err(KubeconfigError::Unusable(format!("{data} is not known to this stand-in")))
                }
                None => Err(KubeconfigError::Unusable(format!("{field} is missing"))),
            };
        let wrong = |field| move |source| KubeconfigError::File { field, source };
        let ca = file(cluster, "certificate-authority", "certificate-authority-data")?;
        let certificate = file(user, "client-certificate", "client-certificate-data")?;
        let key = file(user, "client-key", "client-key-data")?;
        Ok(Self {
            server,
            server_name: cluster["tls-server-name"].as_str().map(str::to_owned),
            roots: tls::roots(&ca).map_err(wrong("certificate-authority"))?,
            chain: tls::certificates(&certificate).map_err(wrong("client-certificate"))?,
            key: tls::key(&key).map_err(wrong("client-key"))?,
        })
    }
}

/// The one entry of that name in the list of contexts, clusters or users.
fn entry<'a>(document: &'a Value, what: &'static str, name: &str) -> Result<&'a Value, KubeconfigError> {
    let wrong = |why| KubeconfigError::Entry { what, name: name.to_owned(), why };
    let list = document[format!("{what}s")].as_array().map_or(&[][..], Vec::as_slice);
    let mut found = list.iter().filter(|entry| entry["name"] == name && !name.is_empty());
    let first = found.next().ok_or_else(|| wrong("does not exist"))?;
    if found.next().is_some() {
        return Err(wrong("stands twice"));
    }
    Ok(&first[what])
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn read(from: &str, to: &str) -> String {
        let text = "apiVersion: v1\nkind: Config\nclusters: [{name: c, cluster: {server: 'https://10.0.0.4:6443', certificate-authority: ca.pem}}]\n\
                    users: [{name: u, user: {client-certificate: u.pem, client-key: u-key.pem}}]\n\
                    contexts: [{name: d, context: {cluster: c, user: u}}]\ncurrent-context: d\n";
        assert!(text.contains(from));
        let folder = tempfile::tempdir().unwrap();
        let certified = rcgen::generate_simple_self_signed(["u".to_owned()]).unwrap();
        for (name, content) in [
            ("ca.pem", certified.cert.pem()),
            ("u.pem", certified.cert.pem()),
            ("u-key.pem", certified.signing_key.serialize_pem()),
            ("kubeconfig", text.replacen(from, to, 1)),
        ] {
            std::fs::write(folder.path().join(name), content).unwrap();
        }
        match Kubeconfig::load(&folder.path().join("kubeconfig")) {
            Ok(config) => config.server.to_string(),
            Err(error) => {
                let mut text = error.to_string();
                if let Some(source) = std::error::Error::source(&error) {
                    text = format!("{text}: {source}");
                }
                text.replace(&folder.path().display().to_string(), "")
            }
        }
    }

    #[test]
    fn the_current_context_counts_and_everything_is_checked() {
        for (from, to, want) in [
            ("name: d", "name: d", "https://10.0.0.4:6443/"),
            ("https", "http", "invalid kubeconfig: server \"http://10.0.0.4:6443\" is no https URL"),
            ("name: d", "name: e", "invalid kubeconfig: context \"d\" does not exist"),
            ("user: u}", "user: x}", "invalid kubeconfig: user \"x\" does not exist"),
            (
                "client-key: u-key.pem",
                "client-keys: u-key.pem",
                "cannot parse kubeconfig /kubeconfig: strict decoding error: unknown field \"users[0].user.client-keys\"",
            ),
            (", client-key: u-key.pem", "", "invalid kubeconfig: client-key is missing"),
            (
                "client-key: u-key.pem",
                "client-key: nothing.pem",
                "invalid kubeconfig: client-key: cannot read key /nothing.pem",
            ),
            (
                "certificate-authority: ca.pem",
                "certificate-authority: u-key.pem",
                "invalid kubeconfig: certificate-authority: /u-key.pem holds no certificate",
            ),
            ("kind: Config", "kind: Configuration", "/kubeconfig is no kubeconfig (apiVersion v1, kind Config)"),
            (
                "server:",
                "token: x, server:",
                "cannot parse kubeconfig /kubeconfig: strict decoding error: unknown field \"clusters[0].cluster.token\"",
            ),
        ] {
            assert_eq!(read(from, to), want, "{to}");
        }
    }
}
