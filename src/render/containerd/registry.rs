//! How containerd reaches a registry: hosts.toml as its docs/hosts.md describes it.
//!
//! Who asks is said in a header of hosts.toml: containerd 2.x sends it to the registry and, where that wants one, to its
//! token server, and no setting of that is deprecated (tried with 2.1.9). 1.x sends it to the registry only, so that one
//! with a token server stays shut (tried with 1.7.24): there user and password stand in config.toml, in
//! `registry.configs`, which serves both; of its deprecation 1.x will see no end.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde::Serialize;
use toml::{Table, Value};

use super::{Fault, Form, REGISTRIES, Templates};
use crate::config::{Credentials, Node, Registry};
use crate::render::{Content, GuestFile, NodeBundle};
use crate::secret::Secret;

/// The template of each hosts.toml.
pub(super) const TEMPLATE: &str = "containerd/hosts.toml";

/// The namespace of whatever has none of its own.
const DEFAULT: &str = "_default";

/// Docker Hub's name in images' names, and where it is.
const HUB: (&str, &str) = ("docker.io", "https://registry-1.docker.io");

/// A user of a host.
#[derive(Clone)]
pub(super) struct Login {
    /// As the requests name it, `mirror.example:5000`.
    pub(super) host: String,
    pub(super) username: String,
    pub(super) password: String,
}

impl Login {
    /// The value of `Authorization` (RFC 7617).
    fn header(&self) -> String {
        format!("Basic {}", STANDARD.encode(format!("{}:{}", self.username, self.password)))
    }
}

/// One registry, with what its files hold.
pub(super) struct Reach {
    name: String,
    /// CA certificates, PEM.
    ca: Option<Vec<u8>>,
    /// Who is asked, in this order.
    hosts: Vec<Host>,
}

/// One of those who are asked.
struct Host {
    /// None: the registry that an image's name names.
    url: Option<String>,
    login: Option<Login>,
}

/// hosts.toml as its template sees it. It holds a password: no `Debug`.
#[derive(Serialize)]
struct HostsFile<'a> {
    name: &'a str,
    server: Option<&'a str>,
    hosts: Vec<Section<'a>>,
    server_alone: bool,
}

#[derive(Serialize)]
struct Section<'a> {
    /// None: what `server` names.
    url: Option<&'a str>,
    ca: Option<&'a str>,
    /// The URL's path is all there is before a repository's name.
    override_path: bool,
    authorization: Option<String>,
}

impl Reach {
    /// Reads the files that a registry's settings name.
    pub(super) fn new(name: &str, registry: &Registry) -> Result<Self, Fault> {
        let setting = |field: &str| ["registries", name, field].map(str::to_owned).to_vec();
        let ca = registry.ca_file.as_deref().map(|file| certificates(file, &setting("caFile"))).transpose()?;
        let password = registry.credentials.as_ref().map(|of| password(of, &setting("passwordFile"))).transpose()?;
        let mut hosts = Vec::new();
        for (index, url) in asked(name, registry).into_iter().enumerate() {
            // A password is for the mirrors; only where there are none for the registry itself.
            let is_asked_first = index < registry.mirrors.len().max(1);
            let login = match (&registry.credentials, &password) {
                (Some(of), Some(password)) if is_asked_first => {
                    let Some(host) = url.as_deref().and_then(host_of) else {
                        let problem = "whose password is it? every registry without an entry of its own would get it";
                        return Err(Fault::Setting(setting("username"), problem.to_owned()));
                    };
                    if !is_encrypted(url.as_deref()) {
                        let problem =
                            format!("the password would go to http://{host} for everybody on the way to read");
                        return Err(Fault::Setting(setting("username"), problem));
                    }
                    Some(Login { host, username: of.username.clone(), password: password.clone() })
                }
                _ => None,
            };
            hosts.push(Host { url, login });
        }
        Ok(Self { name: name.to_owned(), ca, hosts })
    }

    /// Who asks whom.
    pub(super) fn logins(&self) -> impl Iterator<Item = &Login> {
        self.hosts.iter().filter_map(|host| host.login.as_ref())
    }

    /// hosts.toml and the certificates beside it.
    pub(super) fn files(&self, form: Form, templates: &Templates) -> Result<Vec<GuestFile>, Fault> {
        let ca = ca_path(&self.name);
        let section = |host: &Host, url| Section {
            url,
            ca: (self.ca.is_some() && is_encrypted(host.url.as_deref())).then_some(ca.as_str()),
            override_path: host.url.as_deref().is_some_and(is_whole_path),
            authorization: host.login.as_ref().filter(|_| form == Form::V3).map(Login::header),
        };
        // The last one is the server: else containerd asks the registry itself after the mirrors.
        let Some((server, mirrors)) = self.hosts.split_last() else { return Ok(Vec::new()) };
        let mirrors = mirrors.iter().map(|host| section(host, host.url.as_deref()));
        let hosts: Vec<_> = std::iter::once(section(server, None)).chain(mirrors).collect();
        let is_secret = hosts.iter().any(|section| section.authorization.is_some());
        let registry =
            HostsFile { name: &self.name, server: server.url.as_deref(), server_alone: hosts.len() == 1, hosts };
        let text = templates.render_with(TEMPLATE, "registry", &registry).map_err(Fault::Template)?;
        let content = if is_secret {
            Content::Secret(Secret::new(text), 0o600)
        } else {
            Content::Public(text.into_bytes(), 0o644)
        };
        let mut files = vec![GuestFile::new(format!("{REGISTRIES}/{}/hosts.toml", self.name), content)];
        if let Some(pem) = &self.ca {
            files.push(GuestFile::new(ca.clone(), Content::Public(pem.clone(), 0o644)));
        }
        Ok(files)
    }
}

/// The URLs that are asked, in this order, the server last; none is whatever registry an image's name names.
fn asked(name: &str, registry: &Registry) -> Vec<Option<String>> {
    let mut asked: Vec<_> = registry.mirrors.iter().cloned().map(Some).collect();
    if asked.is_empty() || registry.fallback {
        asked.push(match name {
            DEFAULT => None,
            name if name == HUB.0 => Some(HUB.1.to_owned()),
            name => Some(format!("https://{name}")),
        });
    }
    asked
}

fn ca_path(name: &str) -> String {
    format!("{REGISTRIES}/{name}/ca.pem")
}

/// `HOST:PORT` of a URL, as containerd's client has it.
fn host_of(url: &str) -> Option<String> {
    let (_, rest) = url.split_once("://")?;
    rest.split('/').next().map(str::to_owned)
}

/// containerd tries https first where a host has certificates, also one whose URL says http.
fn is_encrypted(url: Option<&str>) -> bool {
    url.is_none_or(|url| !url.starts_with("http://"))
}

/// Whether a URL has the API's own `/v2` within its path (`https://harbor.example/v2/hub`), so that containerd must not add
/// it; behind another path (`https://nexus.example/docker`) or a bare host it adds it itself.
pub(super) fn is_whole_path(url: &str) -> bool {
    let path = url.split_once("://").and_then(|(_, rest)| rest.split_once('/')).map_or("", |(_, path)| path);
    let mut parts = path.trim_end_matches('/').split('/').rev().skip(1);
    parts.any(|part| part == "v2")
}

/// A PEM file of CA certificates, and of nothing that is a secret: everybody may read it in the guest.
fn certificates(file: &Path, setting: &[String]) -> Result<Vec<u8>, Fault> {
    let bytes = fs::read(file).map_err(|source| Fault::Read(setting.to_vec(), file.to_owned(), source))?;
    let refused = |why: &str| Fault::Setting(setting.to_vec(), format!("{}: {why}", file.display()));
    if String::from_utf8_lossy(&bytes).contains("PRIVATE KEY-----") {
        return Err(refused("there is a private key in it"));
    }
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let found = found.map_err(|_| refused("it is no PEM file"))?;
    if found.is_empty() {
        return Err(refused("it holds no certificate in PEM form"));
    }
    if found.iter().any(|der| x509_parser::parse_x509_certificate(der).is_err()) {
        return Err(refused("a certificate in it cannot be read"));
    }
    Ok(bytes)
}

/// The first line of a password's file; never part of an error.
fn password(of: &Credentials, setting: &[String]) -> Result<String, Fault> {
    let file = &of.password_file;
    let bytes = fs::read(file).map_err(|source| Fault::Read(setting.to_vec(), file.clone(), source))?;
    let refused = |why: &str| Fault::Setting(setting.to_vec(), format!("{}: {why}", file.display()));
    let text = String::from_utf8(bytes).map_err(|_| refused("it is not UTF-8"))?;
    let line = text.lines().next().unwrap_or_default();
    if line.is_empty() {
        return Err(refused("its first line is empty, where the password should stand"));
    }
    if line.chars().any(char::is_control) {
        return Err(refused("there are control characters in the password"));
    }
    Ok(line.to_owned())
}

/// Every registry has a file that names those who are asked, and no certificates but its own.
pub(super) fn check(bundle: &NodeBundle, node: &Node) -> Result<(), String> {
    for (name, registry) in &node.settings.registries {
        let path = format!("{REGISTRIES}/{name}/hosts.toml");
        let bytes = match bundle.file(&path) {
            Some(Content::Public(bytes, _)) => bytes.as_slice(),
            Some(Content::Secret(secret, _)) => secret.expose(),
            _ => return Err(format!("{path} is not there")),
        };
        let text = std::str::from_utf8(bytes).map_err(|error| format!("{path}: {error}"))?;
        // Its whole error would show the line, which can be a password's.
        let table: Table = text.parse().map_err(|error: toml::de::Error| format!("{path}: {}", error.message()))?;
        read_back(bundle, name, registry, &table).map_err(|problem| format!("{path}: {problem}"))?;
    }
    Ok(())
}

fn read_back(bundle: &NodeBundle, name: &str, registry: &Registry, table: &Table) -> Result<(), String> {
    let mut mirrors = asked(name, registry);
    let server = mirrors.pop().flatten();
    let found = table.get("server").and_then(Value::as_str).map(str::to_owned);
    if found != server {
        return Err(format!("server reads back as {found:?}, not as {server:?}"));
    }
    let Some(hosts) = table.get("host").and_then(Value::as_table) else {
        return Err("there is no host".to_owned());
    };
    let found: BTreeSet<_> = hosts.keys().cloned().collect();
    let wanted: BTreeSet<_> = mirrors.into_iter().flatten().collect();
    if found != wanted {
        return Err(format!("the hosts read back as {found:?}, not as {wanted:?}"));
    }
    let sections = hosts.iter().filter_map(|(url, section)| Some((Some(url.as_str()), section.as_table()?)));
    for (url, section) in sections.chain([(server.as_deref(), table)]) {
        let ca = section.get("ca").and_then(Value::as_str);
        let wanted = (registry.ca_file.is_some() && is_encrypted(url)).then(|| ca_path(name));
        if ca != wanted.as_deref() || wanted.is_some_and(|path| bundle.file(&path).is_none()) {
            return Err(format!("ca reads back as {ca:?}, which is not what the cluster file says"));
        }
    }
    Ok(())
}
