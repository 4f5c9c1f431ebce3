//! Where bytes come from: mirrors in their order, upstream itself, or both.
//!
//! A mirror is a tree that holds each upstream address under HOST/PATH, as `wget -x` lays it out: a folder, or an
//! http(s) base. With mirrors upstream is asked only where that is wanted.

mod client;
mod error;

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use reqwest::blocking::{Client, Response};
use reqwest::header::{self, HeaderMap, HeaderName};
use reqwest::{Method, StatusCode};
use rustls::pki_types::CertificateDer;
use url::Url;

use client::RefusedRedirect;
pub use error::SourceError;

/// How long to wait, and how often to try again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// For a connection to stand.
    pub connect: Duration,
    /// Without a single byte; there is no limit on a transfer's total time.
    pub stall: Duration,
    /// Tries in all at one place, at least one.
    pub attempts: u32,
    /// Before the second try; doubled before each further one.
    pub pause: Duration,
    /// Before any try, however long the server asks us to wait.
    pub longest_pause: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            stall: Duration::from_secs(30),
            attempts: 4,
            pause: Duration::from_millis(500),
            longest_pause: Duration::from_mins(1),
        }
    }
}

/// Where to fetch upstream's files from. Made without a look at the network.
#[derive(Debug)]
pub struct Source {
    /// In the order in which they are asked; at least one.
    origins: Vec<Origin>,
    limits: Limits,
    /// Certificates that https trusts besides the system's.
    certificates: Vec<CertificateDer<'static>>,
    /// Made when first needed: reading the system's certificates takes longer than a run with nothing to do.
    client: OnceLock<Client>,
}

#[derive(Debug)]
struct Origin {
    tree: Tree,
    /// Could not be reached, in all tries for one file.
    down: AtomicBool,
}

#[derive(Debug)]
enum Tree {
    Upstream,
    Http(Url),
    Folder(PathBuf),
}

impl From<Tree> for Origin {
    fn from(tree: Tree) -> Self {
        Self { tree, down: AtomicBool::new(false) }
    }
}

/// One of the places of a source.
#[derive(Debug, Clone, Copy)]
pub(super) struct Site<'a> {
    source: &'a Source,
    origin: &'a Origin,
}

/// Where a cut transfer goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Resume {
    /// Bytes that are there already.
    pub(super) from: u64,
    /// The file's validator (`ETag` or `Last-Modified`) when they came: a file that changed starts anew.
    pub(super) validator: String,
}

/// A file on its way.
#[derive(Debug)]
pub(super) struct Body {
    /// Size of the whole file in bytes, where known.
    pub(super) size: Option<u64>,
    /// Where in the file this body begins: 0, or where it was asked to go on.
    pub(super) start: u64,
    /// What [`Resume`] needs, where the server gives it.
    pub(super) validator: Option<String>,
    /// `Content-Encoding`, where the server says that it packed the file.
    pub(super) encoding: Option<String>,
    bytes: Bytes,
}

#[derive(Debug)]
enum Bytes {
    File(File, PathBuf),
    Http { response: Response, place: String, stall: Duration },
}

impl Source {
    /// The mirrors in this order, each an http(s) base or a folder that must be there; after them upstream, if there is
    /// none or with `fallback`. `ca_file` names further certificates in PEM form that https trusts.
    pub fn new(mirrors: &[String], fallback: bool, ca_file: Option<&Path>) -> Result<Self, SourceError> {
        let mut trees = mirrors.iter().map(|setting| Tree::mirror(setting)).collect::<Result<Vec<_>, _>>()?;
        if mirrors.is_empty() || fallback {
            trees.push(Tree::Upstream);
        }
        let certificates = ca_file.map(client::certificates).transpose()?.unwrap_or_default();
        let origins = trees.into_iter().map(Origin::from).collect();
        Ok(Self { origins, limits: Limits::default(), certificates, client: OnceLock::new() })
    }

    /// The same places with other limits.
    #[must_use]
    pub fn with_limits(self, limits: Limits) -> Self {
        Self { limits, client: OnceLock::new(), ..self }
    }

    /// How many CAs https trusts, the system's and further ones; none where nothing is fetched by https.
    pub fn trusted(&self) -> Option<usize> {
        let by_https = |origin: &Origin| match &origin.tree {
            Tree::Upstream => true,
            Tree::Http(url) => url.scheme() == "https",
            Tree::Folder(_) => false,
        };
        self.origins.iter().any(by_https).then(|| client::roots(&self.certificates).len())
    }

    /// The places to ask, in their order.
    pub(super) fn sites(&self) -> impl Iterator<Item = Site<'_>> {
        self.origins.iter().map(|origin| Site { source: self, origin })
    }

    /// Where this source looks for an upstream address: addresses without a password, or paths.
    pub fn place(&self, url: &Url) -> String {
        self.sites().map(|site| site.place(url)).collect::<Vec<_>>().join(" or ")
    }

    /// Size in bytes of the file at an upstream address, without fetching it.
    pub fn size(&self, url: &Url) -> Result<u64, SourceError> {
        self.first(url, |site| site.size(url))
    }

    /// A small file whole.
    pub fn read(&self, url: &Url, limit: usize) -> Result<Vec<u8>, SourceError> {
        self.first(url, |site| site.read(url, limit))
    }

    /// What the first place gives that gives it, each asked patiently.
    fn first<T>(&self, url: &Url, ask: impl Fn(Site<'_>) -> Result<T, SourceError>) -> Result<T, SourceError> {
        let mut tried = Vec::new();
        for site in self.sites() {
            let answer = match site.passed_over(url) {
                Some(down) => Err(down),
                None => site.patiently(|error| Some(error), || ask(site)),
            };
            match answer {
                Ok(answer) => return Ok(answer),
                Err(error) => tried.push(error),
            }
        }
        Err(SourceError::nowhere(url, tried))
    }

    fn client(&self) -> Result<&Client, SourceError> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let client =
            client::client(&self.limits, &self.certificates).map_err(|source| SourceError::Client { source })?;
        Ok(self.client.get_or_init(|| client))
    }
}

impl Tree {
    fn mirror(setting: &str) -> Result<Self, SourceError> {
        let not_a_mirror = || SourceError::NotAMirror { text: setting.to_owned() };
        if setting.starts_with("http://") || setting.starts_with("https://") {
            let mut base = Url::parse(setting).map_err(|_| not_a_mirror())?;
            if base.query().is_some() || base.fragment().is_some() {
                return Err(not_a_mirror());
            }
            let path = format!("{}/", base.path().trim_end_matches('/'));
            base.set_path(&path);
            return Ok(Self::Http(base));
        }
        if setting.is_empty() || setting.contains("://") {
            return Err(not_a_mirror());
        }
        let path = PathBuf::from(setting);
        match std::fs::read_dir(&path) {
            Ok(_) => Ok(Self::Folder(path)),
            Err(source) => Err(SourceError::MirrorFolder { path, source }),
        }
    }
}

impl Site<'_> {
    /// Where an upstream address is looked for: an address without a password, or a path.
    pub(super) fn place(self, url: &Url) -> String {
        match &self.origin.tree {
            Tree::Upstream => public(url).to_string(),
            Tree::Http(base) => format!("{}{}", public(base), in_tree(url)),
            Tree::Folder(folder) => folder.join(in_tree(url)).display().to_string(),
        }
    }

    fn address(self, url: &Url) -> String {
        match &self.origin.tree {
            Tree::Http(base) => format!("{base}{}", in_tree(url)),
            _ => url.to_string(),
        }
    }

    fn size(self, url: &Url) -> Result<u64, SourceError> {
        if let Tree::Folder(folder) = &self.origin.tree {
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

    fn read(self, url: &Url, limit: usize) -> Result<Vec<u8>, SourceError> {
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

    /// Opens the file at an upstream address, from the start or, where the source can, from where it was cut.
    pub(super) fn open(self, url: &Url, resume: Option<&Resume>) -> Result<Body, SourceError> {
        if let Tree::Folder(folder) = &self.origin.tree {
            let path = folder.join(in_tree(url));
            return Body::of_file(&path).map_err(|error| self.io_error(url, path, error));
        }
        let Some(resume) = resume else { return self.body(url, self.ask(Method::GET, url, None)?, 0) };
        let answer =
            self.ask(Method::GET, url, Some(resume)).and_then(|response| self.body(url, response, resume.from));
        match answer {
            // Nothing is left to send, the file shrank, or it is not told which part this is: from the start.
            Err(SourceError::Status { status: 206 | 416, .. }) => self.open(url, None),
            // A server that does not know If-Range, and whose file has changed.
            Ok(Body { start: 1.., validator: Some(now), .. }) if now != resume.validator => self.open(url, None),
            answer => answer,
        }
    }

    /// Does the work, and does it again after errors that may pass, a limited number of times with growing pauses.
    /// `cause` is what an error says of this place. One that could not be reached in all tries is down from then on.
    pub(super) fn patiently<T, E: std::fmt::Display>(
        self,
        cause: impl Fn(&E) -> Option<&SourceError>,
        mut work: impl FnMut() -> Result<T, E>,
    ) -> Result<T, E> {
        let Limits { attempts, mut pause, longest_pause, .. } = self.source.limits;
        let mut attempt = 1;
        loop {
            let error = match work() {
                Err(error) => error,
                done => return done,
            };
            match cause(&error) {
                Some(cause) if cause.may_pass() && attempt < attempts => {
                    let pause = cause.wait().unwrap_or_default().max(pause).min(longest_pause);
                    tracing::info!(%error, ?pause, "trying again");
                    std::thread::sleep(pause);
                }
                cause => {
                    if matches!(cause, Some(SourceError::Unreachable { .. })) {
                        self.origin.down.store(true, Ordering::Relaxed);
                    }
                    return Err(error);
                }
            }
            (attempt, pause) = (attempt + 1, pause * 2);
        }
    }

    /// Why this place is not to be asked: it is down, and there are others.
    pub(super) fn passed_over(self, url: &Url) -> Option<SourceError> {
        let down = self.source.origins.len() > 1 && self.origin.down.load(Ordering::Relaxed);
        down.then(|| SourceError::Down { place: self.place(url) })
    }

    fn ask(self, method: Method, url: &Url, resume: Option<&Resume>) -> Result<Response, SourceError> {
        // RFC 6761, 6.4: names under .invalid never resolve.
        if matches!(self.origin.tree, Tree::Upstream) && url.host_str().is_some_and(|host| host.ends_with(".invalid")) {
            return Err(SourceError::OnlyInMirror { url: url.to_string() });
        }
        let place = self.place(url);
        // Bytes are taken as they lie at upstream: the digest is over them, packed or not.
        let request = self.source.client()?.request(method, self.address(url));
        let mut request = request.header(header::ACCEPT_ENCODING, "identity");
        if let Some(Resume { from, validator }) = resume {
            request = request.header(header::RANGE, format!("bytes={from}-")).header(header::IF_RANGE, validator);
        }
        tracing::debug!(%place, from = resume.map_or(0, |resume| resume.from), "asking");
        let response = request.send().map_err(|error| self.http_error(place.clone(), error))?;
        tracing::debug!(%place, status = response.status().as_u16(), "answered");
        match response.status() {
            StatusCode::NOT_FOUND | StatusCode::GONE => Err(self.missing(url)),
            status if status.is_success() => Ok(response),
            status if status.is_redirection() => {
                let to = text(response.headers(), &header::LOCATION).unwrap_or_default().to_owned();
                Err(SourceError::Redirect { place, source: Box::new(RefusedRedirect::NoAddress(to)) })
            }
            status => {
                Err(SourceError::Status { place, status: status.as_u16(), wait: retry_after(response.headers()) })
            }
        }
    }

    fn body(self, url: &Url, response: Response, asked: u64) -> Result<Body, SourceError> {
        let headers = response.headers();
        let (start, size) = match (response.status(), content_range(headers)) {
            (StatusCode::PARTIAL_CONTENT, Some((start, size))) if start == asked && asked > 0 => (start, size),
            // A part that was not asked for, or that does not say which part it is.
            (status @ StatusCode::PARTIAL_CONTENT, _) => {
                return Err(SourceError::Status { place: self.place(url), status: status.as_u16(), wait: None });
            }
            _ => (0, length(headers)),
        };
        let validator = text(headers, &header::ETAG)
            .filter(|tag| !tag.starts_with("W/"))
            .or_else(|| text(headers, &header::LAST_MODIFIED))
            .map(ToOwned::to_owned);
        let encoding = text(headers, &header::CONTENT_ENCODING).filter(|name| !name.eq_ignore_ascii_case("identity"));
        let encoding = encoding.map(ToOwned::to_owned);
        let bytes = Bytes::Http { response, place: self.place(url), stall: self.source.limits.stall };
        Ok(Body { size, start, validator, encoding, bytes })
    }

    fn missing(self, url: &Url) -> SourceError {
        match self.origin.tree {
            Tree::Upstream => SourceError::NotUpstream { url: url.to_string() },
            _ => SourceError::NotInMirror { url: url.to_string(), place: self.place(url) },
        }
    }

    fn io_error(self, url: &Url, path: PathBuf, source: io::Error) -> SourceError {
        match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => self.missing(url),
            _ => SourceError::Read { path, source },
        }
    }

    fn http_error(self, place: String, source: reqwest::Error) -> SourceError {
        let source = source.without_url();
        if source.is_redirect() {
            SourceError::Redirect { place, source: Box::new(source) }
        } else if client::is_distrust(&source) {
            SourceError::Untrusted { place, source }
        } else if source.is_connect() {
            SourceError::Unreachable { place, source }
        } else if source.is_timeout() {
            SourceError::Stalled { place, limit: self.source.limits.stall }
        } else {
            SourceError::Broken { place, source: Box::new(source) }
        }
    }
}

impl Body {
    /// A file of this machine, from its start.
    pub(super) fn of_file(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let size = Some(file.metadata()?.len());
        let bytes = Bytes::File(file, path.to_owned());
        Ok(Self { size, start: 0, validator: None, encoding: None, bytes })
    }

    /// Reads on, as [`Read::read`] does; 0 is the end.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, SourceError> {
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

/// How long to wait: `Retry-After` gives seconds or a date (RFC 9110, 10.2.3).
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let wait = text(headers, &header::RETRY_AFTER)?;
    if let Ok(seconds) = wait.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(wait).ok()?;
    // A date that has passed is no wait.
    Some(Duration::try_from(date.duration_since(jiff::Timestamp::now())).unwrap_or_default())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::super::server::{Answer, Server};
    use super::*;
    use crate::error::chain;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    fn mirror(setting: &str) -> Result<Source, SourceError> {
        Source::new(&[setting.to_owned()], false, None)
    }

    fn upstream() -> Source {
        Source::new(&[], false, None).unwrap()
    }

    fn open(source: &Source, address: &str) -> Result<Body, SourceError> {
        source.sites().next().unwrap().open(&url(address), None)
    }

    #[test]
    fn trust_is_counted_where_https_is_spoken() {
        let folder = tempfile::tempdir().unwrap();
        let (tree, ca) = (folder.path().to_str().unwrap(), folder.path().join("ca.pem"));
        std::fs::write(&ca, rcgen::generate_simple_self_signed(["ca".to_owned()]).unwrap().cert.pem()).unwrap();
        let trusted = |mirrors: &[&str], fallback, ca: Option<&Path>| {
            let mirrors: Vec<_> = mirrors.iter().map(|&mirror| mirror.to_owned()).collect();
            Source::new(&mirrors, fallback, ca).unwrap().trusted()
        };
        let system = trusted(&[], false, None).unwrap();
        for (mirrors, fallback, further, wanted) in [
            (&[tree][..], false, Some(&*ca), None),
            (&["http://m", tree], false, None, None),
            (&["http://m", "https://n"], false, None, Some(system)),
            (&[tree], true, None, Some(system)),
            (&[], false, Some(&ca), Some(system + 1)),
        ] {
            assert_eq!(trusted(mirrors, fallback, further), wanted, "{mirrors:?}");
        }
    }

    #[test]
    fn a_mirror_is_a_tree_of_host_and_path() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_str().unwrap();
        for (setting, address, place) in [
            ("http://m", "https://h.org/a/b", "http://m/h.org/a/b".to_owned()),
            ("https://m:8443/x/", "https://h.org/a/b", "https://m:8443/x/h.org/a/b".to_owned()),
            ("http://user:secret@m/x", "https://h.org:444/a", "http://m/x/h.org:444/a".to_owned()),
            (path, "https://h.org/a/b", format!("{path}/h.org/a/b")),
            // Nothing leads out of the tree.
            (path, "https://h.org/../../etc/passwd", format!("{path}/h.org/etc/passwd")),
            (path, "https://h.org/%2e%2e/%2e%2e/a", format!("{path}/h.org/a")),
            (path, "https://h.org/..%2f..%2fa", format!("{path}/h.org/..%2f..%2fa")),
        ] {
            let source = mirror(setting).unwrap();
            assert_eq!(source.place(&url(address)), place);
        }
        assert_eq!(upstream().place(&url("https://h.org/a")), "https://h.org/a");
    }

    #[test]
    fn settings_that_are_no_mirror_are_refused() {
        for bad in ["", "ftp://h/", "file:///tmp", "http://", "http://h/?q"] {
            let error = mirror(bad).unwrap_err();
            assert_eq!(error.to_string(), format!("{bad:?} is not a mirror"));
        }
        let error = mirror("/nonexistent/mirror").unwrap_err();
        assert_eq!(error.to_string(), "mirror /nonexistent/mirror cannot be read");
    }

    #[test]
    fn a_folder_gives_sizes_and_bytes() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("h.org/a")).unwrap();
        std::fs::write(folder.path().join("h.org/a/b"), b"abc").unwrap();
        let source = mirror(folder.path().to_str().unwrap()).unwrap();
        assert_eq!(source.size(&url("https://h.org/a/b")).unwrap(), 3);
        assert_eq!(source.read(&url("https://h.org/a/b"), 3).unwrap(), b"abc");
        let error = source.read(&url("https://h.org/a/b"), 2).unwrap_err();
        assert_eq!(error.to_string(), format!("{}/h.org/a/b is larger than 2 bytes", folder.path().display()));
        for missing in ["https://h.org/c", "https://h.org/a/b/c", "https://other.org/a/b"] {
            assert!(source.size(&url(missing)).unwrap_err().is_missing());
            assert!(open(&source, missing).unwrap_err().is_missing());
        }
    }

    #[test]
    fn a_folder_where_a_file_should_be_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("h.org/a")).unwrap();
        let source = mirror(folder.path().to_str().unwrap()).unwrap();
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
            let source = mirror(&server.base()).unwrap();
            assert_eq!(source.size(&url("https://h.org/a")).unwrap(), 3);
        }
        let server = Server::start(|_| Answer::raw("200 OK", &[], b"abc"));
        let error = mirror(&server.base()).unwrap().size(&url("https://h.org/a")).unwrap_err();
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
            let source = mirror(&server.base()).unwrap();
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
    fn servers_say_how_long_to_wait_in_seconds_or_by_a_date() {
        let wait = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::RETRY_AFTER, text.parse().unwrap());
            retry_after(&headers)
        };
        assert_eq!(retry_after(&HeaderMap::new()), None);
        for (text, seconds) in [
            ("0", Some(0)),
            ("120", Some(120)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(0)),
            ("soon", None),
            ("-1", None),
            ("1.5", None),
        ] {
            assert_eq!(wait(text), seconds.map(Duration::from_secs), "{text}");
        }
        let later = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(100);
        let date = jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&later).unwrap();
        let wait = wait(&date).unwrap();
        assert!((Duration::from_secs(98)..=Duration::from_secs(100)).contains(&wait), "{wait:?}");
    }

    #[test]
    fn no_server_makes_us_wait_for_long() {
        let server = Server::start(|request| match request.before {
            0 => Answer::raw("429 Too Many Requests", &["Content-Length: 0", "Retry-After: 86400"], b""),
            _ => Answer::file(b"abc"),
        });
        let limits = Limits { longest_pause: Duration::from_millis(10), ..Limits::default() };
        let source = mirror(&server.base()).unwrap().with_limits(limits);
        assert_eq!(source.read(&url("https://h.org/a"), 3).unwrap(), b"abc");
    }

    #[test]
    fn several_places_are_asked_in_their_order() {
        let server = |status: &'static str| Server::start(move |_| Answer::raw(status, &["Content-Length: 3"], b"abc"));
        let (lacks, refuses, has, last) =
            (server("404 Not Found"), server("403 Forbidden"), server("200 OK"), server("200 OK"));
        let address = url("https://nodebake.invalid/a");
        let source = |servers: &[&Server], fallback| {
            Source::new(&servers.iter().map(|server| server.base()).collect::<Vec<_>>(), fallback, None).unwrap()
        };
        assert_eq!(source(&[&lacks, &refuses, &has, &last], false).read(&address, 3).unwrap(), b"abc");
        assert_eq!(source(&[&lacks, &has, &last], false).size(&address).unwrap(), 3);
        assert_eq!(last.log(), [""; 0]);
        let error = source(&[&lacks, &refuses], true).read(&address, 3).unwrap_err();
        let text = format!(
            "no place gives {address}: there is no {}/nodebake.invalid/a; {}/nodebake.invalid/a answered with status 403; \
             {address} can only come from a mirror",
            lacks.base(),
            refuses.base()
        );
        assert_eq!((error.to_string(), error.is_missing()), (text, false));
        let missing = source(&[&lacks, &lacks], false).read(&address, 3).unwrap_err();
        assert!(missing.is_missing());
        let place = format!("{0}/nodebake.invalid/a or {0}/nodebake.invalid/a", lacks.base());
        assert_eq!(source(&[&lacks, &lacks], false).place(&address), place);
    }

    #[test]
    fn a_place_without_a_server_cannot_be_reached() {
        // One that was free a moment ago may be another test's server now; nobody is given this one.
        let port = 1;
        let source = mirror(&format!("http://user:secret@127.0.0.1:{port}")).unwrap();
        let error = source.read(&url("https://h.org/a"), 10).unwrap_err();
        assert_eq!(error.to_string(), format!("http://127.0.0.1:{port}/h.org/a cannot be reached"));
        assert!(error.may_pass());
        assert!(!chain(&error).contains("secret") && !format!("{error:?}").contains("secret"));
    }

    #[test]
    fn reserved_addresses_come_only_from_a_mirror() {
        let error = upstream().size(&url("https://nodebake.invalid/lab/a")).unwrap_err();
        assert_eq!(error.to_string(), "https://nodebake.invalid/lab/a can only come from a mirror");
        assert!(error.is_missing() && !error.may_pass());
    }
}
