//! Registries with one small image (OCI Distribution Specification, pulls alone), over TLS with a CA of their own.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use nodebake::digest::Digest;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::PrivateKeyDer;

/// Who may pull, and how a registry is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gate {
    /// Anybody.
    Open,
    /// Nobody: it has no image.
    Empty,
    /// Who says user and password with each request (RFC 7617).
    Basic,
    /// Who shows a token, which is given for user and password (distribution's docs, "Token Authentication").
    Token,
}

/// Who may.
pub(crate) const USER: &str = "robot$own";
pub(crate) const PASSWORD: &str = "p:a ss\"w\\r'd{{ x }}ü";

/// A CA, and servers that it vouches for.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) pem: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    fn server(&self, name: &str) -> Arc<rustls::ServerConfig> {
        let key = KeyPair::generate().unwrap();
        let server = CertificateParams::new([name.to_owned()]).unwrap().signed_by(&key, &self.issuer).unwrap();
        let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![server.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into()));
        Arc::new(config.unwrap())
    }
}

/// What registries were asked.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    /// Which registry, by whom, and the status of the answer, since this was called last; each once, in the order in which
    /// it was the first time.
    pub(crate) fn take(&self) -> Vec<String> {
        let mut seen = BTreeSet::new();
        let mut lines = std::mem::take(&mut *self.0.lock().unwrap());
        lines.retain(|line| seen.insert(line.clone()));
        lines
    }
}

/// A registry, as long as the test runs.
pub(crate) struct Registry {
    /// A name that leads to an address of this machine.
    pub(crate) name: &'static str,
    /// What stands before its repositories.
    pub(crate) prefix: &'static str,
    pub(crate) gate: Gate,
}

impl Registry {
    /// Serves at port 443.
    pub(crate) fn serve(self, authority: &Authority, log: &Log) {
        let listener = TcpListener::bind((self.name, 443)).unwrap();
        let (config, log) = (authority.server(self.name), log.clone());
        let prefix = format!("/v2{}/", self.prefix);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (config, log, prefix) = (Arc::clone(&config), log.clone(), prefix.clone());
                std::thread::spawn(move || {
                    let connection = rustls::ServerConnection::new(config).ok()?;
                    let mut stream = rustls::StreamOwned::new(connection, stream);
                    let request = Request::read(&mut stream)?;
                    let answer = request.answer(self.name, &prefix, self.gate);
                    log.0.lock().unwrap().push(format!("{} {} {}", self.name, request.who(), answer.status));
                    answer.write(&mut stream, request.method == "HEAD")?;
                    stream.conn.send_close_notify();
                    stream.flush().ok()
                });
            }
        });
    }
}

struct Request {
    method: String,
    path: String,
    authorization: Option<String>,
    body: String,
}

impl Request {
    fn read(stream: &mut impl Read) -> Option<Self> {
        let (mut head, mut byte) = (Vec::new(), [0]);
        while !head.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte).ok()?;
            head.extend(byte);
        }
        let head = String::from_utf8(head).ok()?;
        let field = |name: &str| {
            head.lines().find_map(|line| {
                let (found, value) = line.split_once(": ")?;
                found.eq_ignore_ascii_case(name).then(|| value.to_owned())
            })
        };
        let mut body = vec![0; field("content-length").map_or(0, |length| length.parse().unwrap())];
        stream.read_exact(&mut body).ok()?;
        let mut words = head.split(' ');
        let (method, target) = (words.next()?.to_owned(), words.next()?);
        let path = target.split('?').next()?.to_owned();
        Some(Self { method, path, authorization: field("authorization"), body: String::from_utf8(body).ok()? })
    }

    fn basic() -> String {
        format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{USER}:{PASSWORD}")))
    }

    /// The user and password in a form (application/x-www-form-urlencoded).
    fn has_form(&self) -> bool {
        let form: BTreeMap<_, _> = url::form_urlencoded::parse(self.body.as_bytes()).collect();
        let is = |key: &str, value: &str| form.get(key).is_some_and(|found| found == value);
        is("username", USER) && is("password", PASSWORD)
    }

    fn who(&self) -> &'static str {
        match &self.authorization {
            Some(value) if *value == Self::basic() => "user",
            Some(value) if value == "Bearer TOKEN" => "token",
            Some(_) => "stranger",
            None if self.has_form() => "form",
            None => "nobody",
        }
    }

    fn answer(&self, name: &str, prefix: &str, gate: Gate) -> Answer {
        let challenge = match gate {
            Gate::Token if self.path == "/token" => {
                let status = if matches!(self.who(), "user" | "form") { 200 } else { 401 };
                return Answer::new(status, br#"{"token":"TOKEN","access_token":"TOKEN"}"#);
            }
            Gate::Basic if self.who() != "user" => "Basic realm=\"own\"".to_owned(),
            Gate::Token if self.who() != "token" => format!("Bearer realm=\"https://{name}/token\",service=\"own\""),
            Gate::Empty => return Answer::new(404, b""),
            _ => return self.blob(prefix),
        };
        Answer { challenge, ..Answer::new(401, b"") }
    }

    fn blob(&self, prefix: &str) -> Answer {
        let image = Image::new();
        let Some((repository, rest)) = self.path.strip_prefix(prefix).and_then(|rest| rest.split_once('/')) else {
            return Answer::new(404, b"");
        };
        let known: BTreeMap<String, &[u8]> = [
            ("manifests/1".to_owned(), image.manifest.as_bytes()),
            (format!("manifests/sha256:{}", Digest::of(image.manifest.as_bytes())), image.manifest.as_bytes()),
            (format!("blobs/sha256:{}", Digest::of(image.config.as_bytes())), image.config.as_bytes()),
            (format!("blobs/sha256:{}", Digest::of(&image.layer)), &image.layer),
        ]
        .into();
        match known.get(rest).filter(|_| repository == "pod") {
            Some(bytes) if rest.starts_with("manifests/") => {
                Answer { kind: "application/vnd.oci.image.manifest.v1+json", ..Answer::new(200, bytes) }
            }
            Some(bytes) => Answer::new(200, bytes),
            None => Answer::new(404, b""),
        }
    }
}

struct Answer {
    status: u16,
    kind: &'static str,
    challenge: String,
    body: Vec<u8>,
}

impl Answer {
    fn new(status: u16, body: &[u8]) -> Self {
        Self { status, kind: "application/octet-stream", challenge: String::new(), body: body.to_vec() }
    }

    fn write(&self, stream: &mut impl Write, head_alone: bool) -> Option<()> {
        let Self { status, kind, challenge, body } = self;
        let (length, digest) = (body.len(), Digest::of(body));
        write!(stream, "HTTP/1.1 {status} -\r\nConnection: close\r\nContent-Type: {kind}\r\n").ok()?;
        write!(stream, "Content-Length: {length}\r\nDocker-Content-Digest: sha256:{digest}\r\n").ok()?;
        if !challenge.is_empty() {
            write!(stream, "WWW-Authenticate: {challenge}\r\n").ok()?;
        }
        stream.write_all(b"\r\n").ok()?;
        stream.write_all(if head_alone { &[] } else { body }).ok()
    }
}

/// An image of one layer with one file (OCI Image Format Specification).
pub(crate) struct Image {
    manifest: String,
    config: String,
    layer: Vec<u8>,
}

impl Image {
    pub(crate) fn new() -> Self {
        let mut layer = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_ustar();
        header.set_size(4);
        header.set_mode(0o644);
        layer.append_data(&mut header, "own", &b"own\n"[..]).unwrap();
        let layer = layer.into_inner().unwrap();
        let digest = Digest::of(&layer);
        let config = format!(
            r#"{{"architecture":"amd64","os":"linux","config":{{}},"rootfs":{{"type":"layers","diff_ids":["sha256:{digest}"]}}}}"#
        );
        let blob = |kind: &str, bytes: &[u8]| {
            let (digest, size) = (Digest::of(bytes), bytes.len());
            format!(r#"{{"mediaType":"application/vnd.oci.image.{kind}","digest":"sha256:{digest}","size":{size}}}"#)
        };
        let manifest = format!(
            r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{},"layers":[{}]}}"#,
            blob("config.v1+json", config.as_bytes()),
            blob("layer.v1.tar", &layer)
        );
        Self { manifest, config, layer }
    }

    /// As CRI names it.
    pub(crate) fn id(&self) -> String {
        format!("sha256:{}", Digest::of(self.config.as_bytes()))
    }
}
