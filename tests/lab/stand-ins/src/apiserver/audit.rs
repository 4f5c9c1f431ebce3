//! The record of every request: one JSON line each.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use serde::Serialize;

use super::faults;
use super::identity::Identity;

/// One request, as it is recorded.
#[derive(Debug, Serialize)]
pub struct Entry<'a> {
    /// When it was answered: RFC 3339, UTC, microseconds.
    pub time: String,
    /// Address and port of the client.
    pub remote: String,
    /// User; empty when nobody known asked.
    pub user: &'a str,
    /// Groups of the user.
    pub groups: &'a [String],
    /// Serial number of the client certificate, lowercase hexadecimal without separators; empty without one.
    pub serial: &'a str,
    /// Kubernetes verb, or the method in lowercase; `tls-handshake` for a connection that failed before a request.
    pub verb: &'a str,
    /// `pods`, `pods/eviction`, `leases.coordination.k8s.io`; empty for what is no resource.
    pub resource: &'a str,
    /// Namespace, or empty.
    pub namespace: &'a str,
    /// Name of the object, of the one in the body where one is made; empty for several.
    pub name: &'a str,
    /// HTTP method.
    pub method: &'a str,
    /// Path and query.
    pub path: &'a str,
    /// HTTP status; 0 when the connection failed before a request, or was cut before the answer.
    pub code: u16,
    /// What a test asked to go wrong, as it is written there; not there without.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<&'a faults::Act>,
    /// `User-Agent`, or why a handshake failed.
    pub agent: &'a str,
}

/// The log file.
#[derive(Debug)]
pub struct Log {
    file: Mutex<File>,
}

impl Log {
    /// Opens the file for appending, making it when it is not there.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn open(path: &Path) -> std::io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        Ok(Self { file: Mutex::new(file) })
    }

    /// Records a request.
    pub fn request(
        &self,
        remote: SocketAddr,
        identity: Option<&Identity>,
        asked: &faults::Request<'_>,
        (method, path, agent): (&str, &str, &str),
        (code, fault): (u16, Option<&faults::Act>),
    ) {
        self.write(&Entry {
            time: format!("{:.6}", jiff::Timestamp::now()),
            remote: remote.to_string(),
            user: identity.map_or("", |identity| &identity.user),
            groups: identity.map_or(&[], |identity| &identity.groups),
            serial: identity.map_or("", |identity| &identity.serial),
            verb: asked.verb,
            resource: if asked.resource.is_some() { asked.what } else { "" },
            namespace: asked.namespace,
            name: asked.name,
            method,
            path,
            code,
            fault,
            agent,
        });
    }

    /// Records a connection that failed before a request.
    pub fn failed_handshake(&self, remote: SocketAddr, why: &str) {
        let asked = faults::Request { verb: "tls-handshake", what: "", namespace: "", name: "", resource: None };
        self.request(remote, None, &asked, ("", "", why), (0, None));
    }

    fn write(&self, entry: &Entry<'_>) {
        let Ok(mut line) = serde_json::to_vec(entry) else { return };
        line.push(b'\n');
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = file.write_all(&line) {
            crate::log::say(format!("the request log cannot be written: {error}"));
        }
    }
}
