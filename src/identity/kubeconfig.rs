//! What a kubeconfig says of the user of its current context, as far as his client certificate goes.

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_yaml::Value;

/// The user of a kubeconfig's current context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KubeconfigUser {
    /// What the kubeconfig calls him.
    pub name: String,
    /// Where his client certificate is; none where he has another way in.
    pub certificate: Option<ClientCertificate>,
}

/// Where a client certificate is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientCertificate {
    /// In the kubeconfig: a PEM file's bytes.
    Data(Vec<u8>),
    /// In the kubeconfig, but not as base64.
    Damaged,
    /// In a file; a relative path starts at the kubeconfig's folder.
    File(PathBuf),
}

/// Why a kubeconfig has no user that could be told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KubeconfigError {
    /// It is no YAML.
    #[error("is no kubeconfig")]
    Malformed,
    /// The current context, or the user that it names, is not there.
    #[error("has no user for its current context")]
    NoUser,
}

impl KubeconfigUser {
    /// Reads a kubeconfig's text.
    pub fn read(text: &[u8]) -> Result<Self, KubeconfigError> {
        let document: Value = serde_yaml::from_slice(text).map_err(|_| KubeconfigError::Malformed)?;
        let (name, user) = current_user(&document).ok_or(KubeconfigError::NoUser)?;
        // As kubectl takes it: what stands inside wins.
        let certificate = match (string(user, "client-certificate-data"), string(user, "client-certificate")) {
            (Some(data), _) => Some(STANDARD.decode(data).map_or(ClientCertificate::Damaged, ClientCertificate::Data)),
            (None, Some(path)) => Some(ClientCertificate::File(path.into())),
            (None, None) => None,
        };
        Ok(Self { name: name.to_owned(), certificate })
    }
}

fn current_user(document: &Value) -> Option<(&str, &Value)> {
    let context = named(document, "contexts", string(document, "current-context")?)?.get("context")?;
    let name = string(context, "user")?;
    Some((name, named(document, "users", name)?.get("user")?))
}

fn named<'a>(document: &'a Value, list: &str, name: &str) -> Option<&'a Value> {
    document.get(list)?.as_sequence()?.iter().find(|entry| string(entry, "name") == Some(name))
}

fn string<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key)?.as_str().filter(|text| !text.is_empty())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn with(user: &str) -> String {
        format!(
            "current-context: c\ncontexts: [{{name: c, context: {{user: u}}}}]\nusers: [{{name: u, user: {{{user}}}}}]"
        )
    }

    #[test]
    fn what_stands_inside_wins() {
        let (data, file) = (ClientCertificate::Data(b"abc".to_vec()), ClientCertificate::File("u.pem".into()));
        for (user, wanted) in [
            ("client-certificate-data: YWJj", Some(data.clone())),
            ("client-certificate: u.pem, client-certificate-data: YWJj", Some(data)),
            ("client-certificate: u.pem, client-certificate-data: ''", Some(file.clone())),
            ("client-certificate: u.pem", Some(file)),
            ("client-certificate-data: '!'", Some(ClientCertificate::Damaged)),
            ("token: t", None),
        ] {
            let read = KubeconfigUser::read(with(user).as_bytes()).unwrap();
            assert_eq!(read, KubeconfigUser { name: "u".to_owned(), certificate: wanted }, "{user}");
        }
    }

    #[test]
    fn without_a_user_there_is_nothing_to_tell() {
        let whole = with("token: t");
        for (text, wanted) in [
            ("[".to_owned(), KubeconfigError::Malformed),
            (String::new(), KubeconfigError::NoUser),
            (whole.replace("current-context: c", "current-context: d"), KubeconfigError::NoUser),
            (whole.replace("user: u", "user: v"), KubeconfigError::NoUser),
            (whole.replace("users:", "user:"), KubeconfigError::NoUser),
        ] {
            assert_eq!(KubeconfigUser::read(text.as_bytes()), Err(wanted), "{text}");
        }
    }
}
