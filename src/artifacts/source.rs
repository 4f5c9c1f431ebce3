//! Where bytes come from: upstream itself, or a mirror.
//!
//! A mirror is a tree that holds each upstream address under HOST/PATH, as `wget -x` lays it out: a folder, or an
//! http(s) base. With a mirror nothing else is asked.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use reqwest::blocking::{Client, Response};
use reqwest::header::{self, HeaderMap, HeaderName};
use reqwest::{Method, StatusCode, redirect};
use url::Url;

/// How long to wait, and how often to try again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// For a connection to stand.
    pub connect: Duration,
    /// Without a single byte; there is no limit on a transfer's total time.
    pub stall: Duration,
    /// Tries in all, at least one.
    pub attempts: u32,
    /// Before the second try; doubled before each further one.
    pub pause: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            stall: Duration::from_secs(30),
            attempts: 4,
            pause: Duration::from_millis(500),
        }
    }
}

#[derive(Debug)]
enum Origin {
    Upstream,
    Http(Url),
    Folder(PathBuf),
}

/// A place to fetch upstream's files from. Made without a look at the network.
#[derive(Debug)]
pub struct Source {
    origin: Origin,
    limits: Limits,
    /// Made when first needed: reading the system's certificates takes longer than a run with nothing to do.
    client: OnceLock<Client>,
}

/// Why a file does not come.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The mirror's setting is neither an http(s) base nor a folder.
    #[error("{text:?} is not a mirror")]
    NotAMirror {
        /// The setting.
        text: String,
    },
    /// The mirror's folder cannot be read.
    #[error("mirror {} cannot be read", path.display())]
    MirrorFolder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The address is reserved and exists only in a mirror.
    #[error("{url} can only come from a mirror")]
    OnlyInMirror {
        /// Upstream's address.
        url: String,
    },
    /// The mirror does not have the file.
    #[error("the mirror lacks {url}: there is no {place}")]
    NotInMirror {
        /// Upstream's address.
        url: String,
        /// Where it should be.
        place: String,
    },
    /// Upstream does not have the file.
    #[error("{url} does not exist")]
    NotUpstream {
        /// Upstream's address.
        url: String,
    },
    /// The server answered with another status than success.
    #[error("{place} answered with status {status}")]
    Status {
        /// The address asked.
        place: String,
        /// The HTTP status.
        status: u16,
    },
    /// The server sent us where we do not go.
    #[error("{place} redirects to where it must not")]
    Redirect {
        /// The address asked.
        place: String,
        /// Why not.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// No connection came to stand.
    #[error("{place} cannot be reached")]
    Unreachable {
        /// The address asked.
        place: String,
        /// What failed.
        #[source]
        source: reqwest::Error,
    },
    /// Nothing came for too long.
    #[error("{place} sent nothing for {} s", limit.as_secs_f32())]
    Stalled {
        /// The address asked.
        place: String,
        /// How long we waited.
        limit: Duration,
    },
    /// The connection broke.
    #[error("the transfer of {place} broke")]
    Broken {
        /// The address asked.
        place: String,
        /// What failed.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The file ended before its size.
    #[error("{place} ended after {got} of {want} bytes")]
    Short {
        /// The address asked.
        place: String,
        /// Bytes that came.
        got: u64,
        /// Bytes that should have come.
        want: u64,
    },
    /// The server does not tell the size.
    #[error("{place} does not tell its size")]
    NoSize {
        /// The address asked.
        place: String,
    },
    /// A checksum file is larger than any real one.
    #[error("{place} is larger than {limit} bytes")]
    TooLarge {
        /// The address asked.
        place: String,
        /// The most that is read.
        limit: usize,
    },
    /// A file of the mirror's folder cannot be read.
    #[error("{} cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The HTTP client cannot be made.
    #[error("the http client cannot be made")]
    Client {
        /// What failed.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl SourceError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::NotAMirror { .. } => {
                "a mirror is an existing folder, or an address that starts with http:// or https://"
            }
            Self::MirrorFolder { .. } => "check the path given as the mirror",
            Self::OnlyInMirror { .. } => "give the mirror that holds it with --mirror or NODEBAKE_MIRROR",
            Self::NotInMirror { url, .. } => {
                return Some(format!(
                    "a mirror holds each address under HOST/PATH, checksum files included: `wget -x {url}` in its folder"
                ));
            }
            Self::NotUpstream { .. } => "check the versions in the cluster file: upstream has no such release",
            Self::Unreachable { .. } => {
                "check the network, the proxy settings (HTTPS_PROXY) and the system's CA certificates, or give a mirror"
            }
            Self::Status { status: 401 | 403 | 407, .. } => {
                "access was refused: check the proxy settings and the mirror"
            }
            Self::Status { .. } | Self::Stalled { .. } | Self::Broken { .. } | Self::Short { .. } => {
                "try again later, or give another mirror"
            }
            Self::NoSize { .. } => "the server must send a Content-Length",
            Self::Redirect { .. } | Self::TooLarge { .. } | Self::Read { .. } | Self::Client { .. } => return None,
        };
        Some(hint.to_owned())
    }

    /// Whether the file is simply not there.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::NotInMirror { .. } | Self::NotUpstream { .. } | Self::OnlyInMirror { .. })
    }

    /// Whether another try may go well.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::Status { status, .. } => matches!(status, 408 | 429 | 500..=599),
            Self::Unreachable { .. } | Self::Stalled { .. } | Self::Broken { .. } | Self::Short { .. } => true,
            _ => false,
        }
    }
}

/// Why a redirect is not followed.
#[derive(Debug, thiserror::Error)]
enum RefusedRedirect {
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

/// Where a cut transfer goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resume {
    /// Bytes that are there already.
    pub from: u64,
    /// The file's validator (`ETag` or `Last-Modified`) when they came: a file that changed starts anew.
    pub validator: String,
}

/// A file on its way.
#[derive(Debug)]
pub struct Body {
    /// Size of the whole file in bytes, where known.
    pub size: Option<u64>,
    /// Where in the file this body begins: 0, or where it was asked to go on.
    pub start: u64,
    /// What [`Resume`] needs, where the server gives it.
    pub validator: Option<String>,
    bytes: Bytes,
}

#[derive(Debug)]
enum Bytes {
    File(File, PathBuf),
    Http { response: Response, place: String, stall: Duration },
}

impl Source {
    /// Upstream's own places.
    pub fn upstream() -> Self {
        Self::new(Origin::Upstream)
    }

    /// A mirror: an http(s) base or a folder, which must be there.
    pub fn mirror(setting: &str) -> Result<Self, SourceError> {
        let not_a_mirror = || SourceError::NotAMirror { text: setting.to_owned() };
        if setting.starts_with("http://") || setting.starts_with("https://") {
            let mut base = Url::parse(setting).map_err(|_| not_a_mirror())?;
            if base.query().is_some() || base.fragment().is_some() {
                return Err(not_a_mirror());
            }
            let path = format!("{}/", base.path().trim_end_matches('/'));
            base.set_path(&path);
            return Ok(Self::new(Origin::Http(base)));
        }
        if setting.is_empty() || setting.contains("://") {
            return Err(not_a_mirror());
        }
        let path = PathBuf::from(setting);
        match std::fs::read_dir(&path) {
            Ok(_) => Ok(Self::new(Origin::Folder(path))),
            Err(source) => Err(SourceError::MirrorFolder { path, source }),
        }
    }

    /// The mirror where one is set, else upstream.
    pub fn from_setting(mirror: Option<&str>) -> Result<Self, SourceError> {
        mirror.map_or_else(|| Ok(Self::upstream()), Self::mirror)
    }

    fn new(origin: Origin) -> Self {
        Self { origin, limits: Limits::default(), client: OnceLock::new() }
    }

    /// The same place with other limits.
    #[must_use]
    pub fn with_limits(self, limits: Limits) -> Self {
        Self { limits, client: OnceLock::new(), ..self }
    }

    /// Where this source looks for an upstream address: an address without a password, or a path.
    pub fn place(&self, url: &Url) -> String {
        match &self.origin {
            Origin::Upstream => public(url).to_string(),
            Origin::Http(base) => format!("{}{}", public(base), in_tree(url)),
            Origin::Folder(folder) => folder.join(in_tree(url)).display().to_string(),
        }
    }

    fn address(&self, url: &Url) -> String {
        match &self.origin {
            Origin::Http(base) => format!("{base}{}", in_tree(url)),
            _ => url.to_string(),
        }
    }

    /// Size in bytes of the file at an upstream address, without fetching it.
    pub fn size(&self, url: &Url) -> Result<u64, SourceError> {
        if let Origin::Folder(folder) = &self.origin {
            let path = folder.join(in_tree(url));
            return std::fs::metadata(&path).map(|file| file.len()).map_err(|error| self.io_error(url, path, error));
        }
        let head = match self.ask(Method::HEAD, url, None) {
            Ok(response) => length(response.headers()),
            // Some servers know GET only.
            Err(SourceError::Status { status: 403 | 405 | 501, .. }) => None,
            Err(error) => return Err(error),
        };
        match head {
            Some(size) => Ok(size),
            None => self.open(url, None)?.size.ok_or_else(|| SourceError::NoSize { place: self.place(url) }),
        }
    }

    /// Opens the file at an upstream address, from the start or, where the source can, from where it was cut.
    pub fn open(&self, url: &Url, resume: Option<&Resume>) -> Result<Body, SourceError> {
        if let Origin::Folder(folder) = &self.origin {
            let path = folder.join(in_tree(url));
            let opened = File::open(&path).and_then(|file| Ok((file.metadata()?.len(), file)));
            let (size, file) = opened.map_err(|error| self.io_error(url, path.clone(), error))?;
            return Ok(Body { size: Some(size), start: 0, validator: None, bytes: Bytes::File(file, path) });
        }
        match self.ask(Method::GET, url, resume) {
            // Nothing is left to send, or the file shrank: from the start.
            Err(SourceError::Status { status: 416, .. }) if resume.is_some() => self.open(url, None),
            answer => self.body(url, answer?, resume.map_or(0, |resume| resume.from)),
        }
    }

    /// Opens a file of this machine, which no mirror has a say in.
    pub fn open_path(path: &Path) -> Result<Body, SourceError> {
        let opened = File::open(path).and_then(|file| Ok((file.metadata()?.len(), file)));
        let (size, file) = opened.map_err(|source| SourceError::Read { path: path.to_owned(), source })?;
        Ok(Body { size: Some(size), start: 0, validator: None, bytes: Bytes::File(file, path.to_owned()) })
    }

    /// A small file whole.
    pub fn read(&self, url: &Url, limit: usize) -> Result<Vec<u8>, SourceError> {
        let mut body = self.open(url, None)?;
        let (mut bytes, mut block) = (Vec::new(), vec![0; 16 << 10]);
        loop {
            match body.read(&mut block)? {
                0 => return Ok(bytes),
                n if bytes.len() + n > limit => return Err(SourceError::TooLarge { place: self.place(url), limit }),
                n => bytes.extend_from_slice(&block[..n]),
            }
        }
    }

    /// Does the work, and does it again after errors that may pass, a limited number of times with growing pauses.
    pub(crate) fn patiently<T, E: std::error::Error>(
        &self,
        may_pass: impl Fn(&E) -> bool,
        mut work: impl FnMut() -> Result<T, E>,
    ) -> Result<T, E> {
        let mut pause = self.limits.pause;
        for _ in 1..self.limits.attempts {
            match work() {
                Err(error) if may_pass(&error) => tracing::info!(%error, ?pause, "trying again"),
                result => return result,
            }
            std::thread::sleep(pause);
            pause *= 2;
        }
        work()
    }

    fn ask(&self, method: Method, url: &Url, resume: Option<&Resume>) -> Result<Response, SourceError> {
        // RFC 6761, 6.4: names under .invalid never resolve.
        if matches!(self.origin, Origin::Upstream) && url.host_str().is_some_and(|host| host.ends_with(".invalid")) {
            return Err(SourceError::OnlyInMirror { url: url.to_string() });
        }
        let place = self.place(url);
        // Bytes are taken as they lie at upstream: the digest is over them, packed or not.
        let mut request = self.client()?.request(method, self.address(url)).header(header::ACCEPT_ENCODING, "identity");
        if let Some(Resume { from, validator }) = resume {
            request = request.header(header::RANGE, format!("bytes={from}-")).header(header::IF_RANGE, validator);
        }
        let response = request.send().map_err(|error| self.http_error(place.clone(), error))?;
        match response.status() {
            StatusCode::NOT_FOUND | StatusCode::GONE => Err(self.missing(url)),
            status if status.is_success() => Ok(response),
            status if status.is_redirection() => {
                let to = text(response.headers(), &header::LOCATION).unwrap_or_default().to_owned();
                Err(SourceError::Redirect { place, source: Box::new(RefusedRedirect::NoAddress(to)) })
            }
            status => Err(SourceError::Status { place, status: status.as_u16() }),
        }
    }

    fn body(&self, url: &Url, response: Response, asked: u64) -> Result<Body, SourceError> {
        let headers = response.headers();
        let (start, size) = match (response.status(), content_range(headers)) {
            (StatusCode::PARTIAL_CONTENT, Some((start, size))) if start == asked && asked > 0 => (start, size),
            // A part that was not asked for, or that does not say which part it is.
            (status @ StatusCode::PARTIAL_CONTENT, _) => {
                return Err(SourceError::Status { place: self.place(url), status: status.as_u16() });
            }
            _ => (0, length(headers)),
        };
        let validator = text(headers, &header::ETAG)
            .filter(|tag| !tag.starts_with("W/"))
            .or_else(|| text(headers, &header::LAST_MODIFIED))
            .map(ToOwned::to_owned);
        let bytes = Bytes::Http { response, place: self.place(url), stall: self.limits.stall };
        Ok(Body { size, start, validator, bytes })
    }

    fn missing(&self, url: &Url) -> SourceError {
        match self.origin {
            Origin::Upstream => SourceError::NotUpstream { url: url.to_string() },
            _ => SourceError::NotInMirror { url: url.to_string(), place: self.place(url) },
        }
    }

    fn io_error(&self, url: &Url, path: PathBuf, source: io::Error) -> SourceError {
        match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => self.missing(url),
            _ => SourceError::Read { path, source },
        }
    }

    fn http_error(&self, place: String, source: reqwest::Error) -> SourceError {
        let source = source.without_url();
        if source.is_redirect() {
            SourceError::Redirect { place, source: Box::new(source) }
        } else if source.is_connect() {
            SourceError::Unreachable { place, source }
        } else if source.is_timeout() {
            SourceError::Stalled { place, limit: self.limits.stall }
        } else {
            SourceError::Broken { place, source: Box::new(source) }
        }
    }

    fn client(&self) -> Result<&Client, SourceError> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let client = client(&self.limits).map_err(|source| SourceError::Client { source })?;
        Ok(self.client.get_or_init(|| client))
    }
}

impl Body {
    /// Reads on, as [`Read::read`] does; 0 is the end.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize, SourceError> {
        match &mut self.bytes {
            Bytes::File(file, path) => {
                file.read(buffer).map_err(|source| SourceError::Read { path: path.clone(), source })
            }
            Bytes::Http { response, place, stall } => response.read(buffer).map_err(|source| {
                let inner = source.get_ref().and_then(|inner| inner.downcast_ref::<reqwest::Error>());
                if inner.is_some_and(reqwest::Error::is_timeout) {
                    SourceError::Stalled { place: place.clone(), limit: *stall }
                } else {
                    SourceError::Broken { place: place.clone(), source: Box::new(source) }
                }
            }),
        }
    }
}

fn client(limits: &Limits) -> Result<Client, Box<dyn std::error::Error + Send + Sync>> {
    let mut roots = rustls::RootCertStore::empty();
    // A machine without certificates can still use a plain mirror; https then fails with an unknown issuer.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let tls = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
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

/// Where `wget -x` puts an address: HOST/PATH. The url crate has removed every `..`.
fn in_tree(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{host}{port}{}", url.path())
}

/// An address without its user and password, for messages.
fn public(url: &Url) -> Url {
    let mut url = url.clone();
    // Both fail only for addresses that cannot have a user.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn length(headers: &HeaderMap) -> Option<u64> {
    text(headers, &header::CONTENT_LENGTH)?.parse().ok()
}

/// Start and total size in `Content-Range: bytes START-END/TOTAL` (RFC 9110, 14.4).
fn content_range(headers: &HeaderMap) -> Option<(u64, Option<u64>)> {
    let (range, total) = text(headers, &header::CONTENT_RANGE)?.strip_prefix("bytes ")?.split_once('/')?;
    Some((range.split_once('-')?.0.parse().ok()?, total.parse().ok()))
}

/// For messages: `upstream`, or the mirror without a password.
impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.origin {
            Origin::Upstream => f.write_str("upstream"),
            Origin::Http(base) => write!(f, "mirror {}", public(base)),
            Origin::Folder(folder) => write!(f, "mirror {}", Path::display(folder)),
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::super::server::{Answer, Server};
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    /// An error and everything below it.
    fn chain(error: &dyn std::error::Error) -> String {
        std::iter::successors(Some(error), |error| error.source())
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(": ")
    }

    #[test]
    fn a_mirror_is_a_tree_of_host_and_path() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_str().unwrap();
        for (mirror, address, place) in [
            ("http://m", "https://h.org/a/b", "http://m/h.org/a/b".to_owned()),
            ("https://m:8443/x/", "https://h.org/a/b", "https://m:8443/x/h.org/a/b".to_owned()),
            ("http://user:secret@m/x", "https://h.org:444/a", "http://m/x/h.org:444/a".to_owned()),
            (path, "https://h.org/a/b", format!("{path}/h.org/a/b")),
            // Nothing leads out of the tree.
            (path, "https://h.org/../../etc/passwd", format!("{path}/h.org/etc/passwd")),
            (path, "https://h.org/%2e%2e/%2e%2e/a", format!("{path}/h.org/a")),
            (path, "https://h.org/..%2f..%2fa", format!("{path}/h.org/..%2f..%2fa")),
        ] {
            let source = Source::mirror(mirror).unwrap();
            assert_eq!(source.place(&url(address)), place);
            assert!(!format!("{source}").contains("secret"));
        }
        assert_eq!(Source::upstream().place(&url("https://h.org/a")), "https://h.org/a");
    }

    #[test]
    fn settings_that_are_no_mirror_are_refused() {
        for bad in ["", "ftp://h/", "file:///tmp", "http://", "http://h/?q"] {
            let error = Source::mirror(bad).unwrap_err();
            assert_eq!(error.to_string(), format!("{bad:?} is not a mirror"));
        }
        let error = Source::mirror("/nonexistent/mirror").unwrap_err();
        assert_eq!(error.to_string(), "mirror /nonexistent/mirror cannot be read");
    }

    #[test]
    fn a_folder_gives_sizes_and_bytes() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("h.org/a")).unwrap();
        std::fs::write(folder.path().join("h.org/a/b"), b"abc").unwrap();
        let source = Source::mirror(folder.path().to_str().unwrap()).unwrap();
        assert_eq!(source.size(&url("https://h.org/a/b")).unwrap(), 3);
        assert_eq!(source.read(&url("https://h.org/a/b"), 3).unwrap(), b"abc");
        let error = source.read(&url("https://h.org/a/b"), 2).unwrap_err();
        assert_eq!(error.to_string(), format!("{}/h.org/a/b is larger than 2 bytes", folder.path().display()));
        for missing in ["https://h.org/c", "https://h.org/a/b/c", "https://other.org/a/b"] {
            assert!(source.size(&url(missing)).unwrap_err().is_missing());
            assert!(source.open(&url(missing), None).unwrap_err().is_missing());
        }
    }

    #[test]
    fn a_folder_where_a_file_should_be_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("h.org/a")).unwrap();
        let source = Source::mirror(folder.path().to_str().unwrap()).unwrap();
        let error = source.read(&url("https://h.org/a"), 10).unwrap_err();
        let path = folder.path().join("h.org/a");
        assert_eq!(chain(&error), format!("{} cannot be read: Is a directory (os error 21)", path.display()));
    }

    #[test]
    fn sizes_come_by_head_or_else_by_get() {
        for head in ["200 OK", "405 Method Not Allowed", "403 Forbidden"] {
            let server = Server::start(move |request| match request.method.as_str() {
                "HEAD" if head == "200 OK" => Answer::raw(head, &["Content-Length: 3"], b""),
                "HEAD" => Answer::status(head),
                _ => Answer::file(b"abc"),
            });
            let source = Source::mirror(&server.base()).unwrap();
            assert_eq!(source.size(&url("https://h.org/a")).unwrap(), 3);
        }
        let server = Server::start(|_| Answer::raw("200 OK", &[], b"abc"));
        let error = Source::mirror(&server.base()).unwrap().size(&url("https://h.org/a")).unwrap_err();
        assert_eq!(error.to_string(), format!("{}/h.org/a does not tell its size", server.base()));
    }

    #[test]
    fn redirects_lead_only_to_http() {
        let target = Server::start(|_| Answer::file(b"abc"));
        let there = format!("{}/there", target.base());
        for (location, result) in [
            (there, Ok(b"abc".to_vec())),
            ("file:///etc/passwd".to_owned(), Err("\"file:///etc/passwd\" is no address".to_owned())),
            ("file://h.org/a".to_owned(), Err("file://h.org/a is neither http nor https".to_owned())),
            ("ftp://h.org/a".to_owned(), Err("ftp://h.org/a is neither http nor https".to_owned())),
            // Round and round.
            ("/mirror/h.org/a".to_owned(), Err("more than 10 redirects".to_owned())),
        ] {
            let header = format!("Location: {location}");
            let server = Server::start(move |_| Answer::raw("302 Found", &[&header, "Content-Length: 0"], b""));
            let source = Source::mirror(&server.base()).unwrap();
            let read = source.read(&url("https://h.org/a"), 10);
            let refused = |error: SourceError| {
                let place = format!("{}/h.org/a redirects to where it must not: ", server.base());
                let chain = chain(&error);
                let reason = chain.strip_prefix(&place).unwrap_or(&chain);
                reason.trim_start_matches("error following redirect: ").to_owned()
            };
            assert_eq!(read.map_err(refused), result);
        }
    }

    #[test]
    fn an_encrypted_address_never_leads_to_a_plain_one() {
        // The policy alone, since the tests have no TLS server.
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
    fn a_place_without_a_server_cannot_be_reached() {
        // A port that was free a moment ago.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let source = Source::mirror(&format!("http://user:secret@127.0.0.1:{port}")).unwrap();
        let error = source.read(&url("https://h.org/a"), 10).unwrap_err();
        assert_eq!(error.to_string(), format!("http://127.0.0.1:{port}/h.org/a cannot be reached"));
        assert!(error.may_pass());
        assert!(!chain(&error).contains("secret") && !format!("{error:?}").contains("secret"));
    }

    #[test]
    fn reserved_addresses_come_only_from_a_mirror() {
        let error = Source::upstream().size(&url("https://nodebake.invalid/lab/a")).unwrap_err();
        assert_eq!(error.to_string(), "https://nodebake.invalid/lab/a can only come from a mirror");
        assert!(error.is_missing() && !error.may_pass());
    }
}
