//! From a lock to verified files in the store.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use url::Url;

use super::checksum::Checksum;
use super::lock::{Entry, Trust, list};
use super::source::{Body, Resume, Site, Source, SourceError};
use super::store::{Begun, Held, Note, Part, Store, StoreError};
use crate::config::Location;
use crate::error::chain;
use crate::parallel;
use crate::progress::{Progress, Task};

/// A locked file in the store, verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob {
    /// What it is.
    pub entry: Entry,
    /// Where it is; read-only.
    pub path: PathBuf,
    /// Whether it was not there before.
    pub fresh: bool,
}

/// Why a locked file is not in the store.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// Nothing may be fetched, and these are not there or damaged.
    #[error("offline, and the cache lacks {}", missing.join(", "))]
    Offline {
        /// Kind, version and architecture of each.
        missing: Vec<String>,
    },
    /// The place to fetch from does not have them.
    #[error("{}", list("files are missing: ", missing))]
    Missing {
        /// All of them.
        missing: Vec<SourceError>,
    },
    /// The file that came has another digest than the locked one; nothing of it was kept.
    #[error("{artifact} from {place} has digest {got}, and {want} is locked")]
    Mismatch {
        /// Kind, version and architecture.
        artifact: String,
        /// Where it came from.
        place: String,
        /// The locked digest.
        want: Box<Checksum>,
        /// What came.
        got: Box<Checksum>,
        /// Whether the locked digest was given in the cluster file.
        given: bool,
    },
    /// The file has another size than the locked one; nothing of it was kept.
    #[error("{artifact} from {place} has {got} bytes{}, and {want} are locked", if *more { " or more" } else { "" })]
    WrongSize {
        /// Kind, version and architecture.
        artifact: String,
        /// Where it came from.
        place: String,
        /// The locked size in bytes.
        want: u64,
        /// The size that is announced or that came.
        got: u64,
        /// Whether there may be more: reading stopped there.
        more: bool,
        /// Whether the locked digest was given in the cluster file.
        given: bool,
    },
    /// Several places were asked, and at least one of them has other bytes than the locked ones.
    #[error("no place gives {artifact} as it is locked: {}", failures.iter().map(Self::short).collect::<Vec<_>>().join("; "))]
    Nowhere {
        /// Kind, version and architecture.
        artifact: String,
        /// Each place's answer, in the order in which they were asked.
        failures: Vec<FetchError>,
    },
    /// The file does not come.
    #[error("cannot fetch {artifact}")]
    Source {
        /// Kind, version and architecture.
        artifact: String,
        /// What failed.
        #[source]
        source: SourceError,
    },
    /// The file cannot be kept.
    #[error("cannot store {artifact}")]
    Store {
        /// Kind, version and architecture.
        artifact: String,
        /// What failed.
        #[source]
        source: StoreError,
    },
}

impl FetchError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Offline { .. } => Some("run `nodebake fetch` without --offline where there is a network or a mirror".to_owned()),
            Self::Missing { missing } => missing.first()?.hint(),
            Self::Mismatch { given: true, .. } | Self::WrongSize { given: true, .. } => Some(
                "if the file is the right one, give its digest in the cluster file and run `nodebake lock`; else somebody \
                 has tampered with it"
                    .to_owned(),
            ),
            Self::Mismatch { .. } | Self::WrongSize { .. } | Self::Nowhere { .. } => Some(
                "if upstream has replaced the file, take its entry out of nodebake.lock and run `nodebake lock`; else somebody \
                 has tampered with it"
                    .to_owned(),
            ),
            Self::Source { source, .. } => source.hint(),
            Self::Store { source, .. } => source.hint(),
        }
    }

    /// Whether other bytes came than were locked.
    pub fn is_mismatch(&self) -> bool {
        matches!(self, Self::Mismatch { .. } | Self::WrongSize { .. } | Self::Nowhere { .. })
    }

    fn is_missing(&self) -> bool {
        self.source_error().is_some_and(SourceError::is_missing)
    }

    fn source_error(&self) -> Option<&SourceError> {
        match self {
            Self::Source { source, .. } => Some(source),
            _ => None,
        }
    }

    /// The error in a list of places.
    fn short(&self) -> String {
        match self {
            Self::Source { source, .. } => source.short(),
            other => chain(other),
        }
    }
}

/// Brings locked files into the store, several at once, and gives them in the same order. What is there and verified
/// is not asked for again; a damaged blob is replaced.
pub fn fetch(
    entries: &[&Entry],
    store: &Store,
    source: &Source,
    offline: bool,
    progress: &dyn Progress,
) -> Result<Vec<Blob>, FetchError> {
    let held = held(entries, store)?;
    if offline {
        nothing_to_download(entries, &held)?;
    }
    let lacking = entries.iter().zip(&held).filter(|(_, held)| !held.is_good()).map(|(entry, _)| *entry);
    let lacking: Vec<&Entry> = lacking.collect();
    let total = Total::new(&lacking, progress);
    let one = |entry: &&Entry| Fetching { entry, store, source, progress, total: &total }.run();
    let stop = |result: &Result<PathBuf, FetchError>| result.as_ref().is_err_and(|error| !error.is_missing());
    let mut fetched = parallel::map(&lacking, parallel::AT_ONCE, one, stop).into_iter();
    let (mut blobs, mut missing) = (Vec::new(), Vec::new());
    for (&entry, held) in entries.iter().zip(held) {
        let (path, fresh) = match held {
            Held::Good(path) => (path, false),
            Held::Damaged(_) | Held::No => match fetched.next().flatten() {
                Some(Ok(path)) => (path, true),
                Some(Err(FetchError::Source { source, .. })) if source.is_missing() => {
                    missing.push(source);
                    continue;
                }
                Some(Err(error)) => return Err(error),
                // Not begun, after an error that stands further on.
                None => continue,
            },
        };
        blobs.push(Blob { entry: entry.clone(), path, fresh });
    }
    if missing.is_empty() { Ok(blobs) } else { Err(FetchError::Missing { missing }) }
}

/// What the store knows of each.
fn held(entries: &[&Entry], store: &Store) -> Result<Vec<Held>, FetchError> {
    let look_up = |entry: &&Entry| store.look_up(&entry.checksum, entry.size);
    let all = parallel::map(entries, parallel::AT_ONCE, look_up, |_| false);
    let named = |(entry, held): (&&Entry, Result<Held, StoreError>)| {
        held.map_err(|source| FetchError::Store { artifact: entry.to_string(), source })
    };
    entries.iter().zip(all.into_iter().flatten()).map(named).collect()
}

/// Fails with everything that is neither in the store nor a file of this machine, which needs no network.
fn nothing_to_download(entries: &[&Entry], held: &[Held]) -> Result<(), FetchError> {
    let lacking = |(entry, held): (&&Entry, &Held)| match (held, &entry.from) {
        (Held::Good(_), _) => None,
        (_, Location::Path(path)) if path.exists() => None,
        (_, Location::Path(path)) => Some(format!("{entry}, whose file {} is not there", path.display())),
        (Held::Damaged(path), _) => Some(format!("{entry}, whose copy {} is damaged", path.display())),
        (Held::No, _) => Some(entry.to_string()),
    };
    let missing: Vec<_> = entries.iter().zip(held).filter_map(lacking).collect();
    if missing.is_empty() { Ok(()) } else { Err(FetchError::Offline { missing }) }
}

/// The progress of all files together; said by nobody where there is only one.
struct Total(Mutex<Option<Box<dyn Task>>>);

impl Total {
    fn new(entries: &[&Entry], progress: &dyn Progress) -> Self {
        let bytes = entries.iter().map(|entry| entry.size).sum();
        let several = entries.len() > 1;
        Self(Mutex::new(several.then(|| progress.task(&format!("all {} files", entries.len()), Some(bytes)))))
    }

    fn advance(&self, bytes: u64) {
        if let Some(task) = &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            task.advance(bytes);
        }
    }
}

/// The progress of one file: it never goes back, also where a transfer must start anew.
struct Meter<'a> {
    task: Box<dyn Task>,
    total: &'a Total,
    furthest: u64,
}

impl Meter<'_> {
    fn reached(&mut self, length: u64) {
        let more = length.saturating_sub(self.furthest);
        self.furthest += more;
        self.task.advance(more);
        self.total.advance(more);
    }
}

/// What came of one place's bytes.
struct Came {
    /// Whether they follow bytes of an earlier transfer.
    resumed: bool,
    /// How the server says that it packed them.
    encoding: Option<String>,
}

struct Fetching<'a> {
    entry: &'a Entry,
    store: &'a Store,
    source: &'a Source,
    progress: &'a dyn Progress,
    total: &'a Total,
}

impl Fetching<'_> {
    fn run(&self) -> Result<PathBuf, FetchError> {
        let Entry { kind, version, checksum, size, .. } = self.entry;
        let mut waits = None;
        let mut waiting =
            || waits = Some(self.progress.task(&format!("{kind} {version}: another run fetches it"), None));
        let begun = self.store.go_on(checksum, *size, &mut waiting).map_err(|error| self.storing(error))?;
        drop(waits);
        let mut part = match begun {
            Begun::Held(path) => return Ok(path),
            Begun::Part(part) => part,
        };
        let task = self.progress.task(&format!("fetch {kind} {version}"), Some(*size));
        let mut meter = Meter { task, total: self.total, furthest: 0 };
        meter.reached(part.length());
        // All had come, and only the name was missing.
        if part.length() < *size {
            self.fill(&mut part, &mut meter)?;
        }
        let path = match part.finish().map_err(|error| self.storing(error))? {
            Ok(path) => path,
            Err(got) => return Err(self.mismatch("the cache".to_owned(), got)),
        };
        meter.task.done();
        Ok(path)
    }

    /// Fills the part with the right bytes.
    fn fill(&self, part: &mut Part, meter: &mut Meter) -> Result<(), FetchError> {
        let filled = match &self.entry.from {
            Location::Url(url) => self.fill_from_web(url, part, meter),
            Location::Path(path) => self.fill_from_path(path, part, meter),
        };
        if let Err(FetchError::Store { .. }) = &filled {
            // Space, if that is what lacks, is not kept from others.
            let _ = part.restart();
        }
        filled
    }

    /// From the first place that has the right bytes; each is asked for all the addresses.
    fn fill_from_web(&self, url: &Url, part: &mut Part, meter: &mut Meter) -> Result<(), FetchError> {
        let mut failures = Vec::new();
        let urls = || std::iter::once(url).chain(&self.entry.alternates);
        for (site, url) in self.source.sites().flat_map(|site| urls().map(move |url| (site, url))) {
            let came = match site.passed_over(url) {
                Some(down) => Err(self.sourcing(down)),
                None => self.fill_from_site(site, url, part, meter),
            };
            match came {
                Ok(()) => {
                    self.warn(&failures, &site.place(url));
                    return Ok(());
                }
                Err(error @ FetchError::Store { .. }) => return Err(error),
                Err(error) => failures.push(error),
            }
        }
        Err(self.nowhere(url, failures))
    }

    fn fill_from_path(&self, path: &Path, part: &mut Part, meter: &mut Meter) -> Result<(), FetchError> {
        let place = path.display().to_string();
        part.restart().map_err(|error| self.storing(error))?;
        let mut body = Body::of_file(path).map_err(|source| {
            self.sourcing(match source.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => SourceError::NoFile { path: path.to_owned() },
                _ => SourceError::Read { path: path.to_owned(), source },
            })
        })?;
        self.announced(&body, &place)?;
        self.copy(&mut body, part, meter, &place)?;
        self.compare(part, place, None)
    }

    /// Fills the part from one place and compares the digest.
    fn fill_from_site(&self, site: Site<'_>, url: &Url, part: &mut Part, meter: &mut Meter) -> Result<(), FetchError> {
        let mut came = self.download(site, url, part, meter)?;
        if came.resumed && part.digest() != self.entry.checksum {
            // Two halves of two files, whatever the server said of their being one: once more, in one piece.
            part.restart().map_err(|error| self.storing(error))?;
            came = self.download(site, url, part, meter)?;
        }
        self.compare(part, site.place(url), came.encoding)
    }

    /// Whether the part is what is locked; nothing stays of what is not.
    fn compare(&self, part: &mut Part, place: String, encoding: Option<String>) -> Result<(), FetchError> {
        let got = part.digest();
        if got == self.entry.checksum {
            return Ok(());
        }
        part.restart().map_err(|error| self.storing(error))?;
        Err(match encoding {
            Some(encoding) => self.sourcing(SourceError::Encoded { place, encoding }),
            None => self.mismatch(place, got),
        })
    }

    /// Fills the part to the locked size, over several tries where it must be.
    fn download(&self, site: Site<'_>, url: &Url, part: &mut Part, meter: &mut Meter) -> Result<Came, FetchError> {
        let address = site.place(url);
        site.patiently(FetchError::source_error, || {
            let noted = part.note().filter(|note| note.address == address && part.length() > 0);
            let resume = noted.map(|note| Resume { from: part.length(), validator: note.validator.clone() });
            let mut body = site.open(url, resume.as_ref()).map_err(|error| self.sourcing(error))?;
            self.announced(&body, &address)?;
            let resumed = body.start > 0;
            if !resumed {
                part.restart().map_err(|error| self.storing(error))?;
                let validator = body.validator.take();
                part.comes_from(validator.map(|validator| Note { address: address.clone(), validator }));
            }
            self.copy(&mut body, part, meter, &address)?;
            Ok(Came { resumed, encoding: body.encoding })
        })
    }

    /// A server that announces another size is not asked for the bytes.
    fn announced(&self, body: &Body, place: &str) -> Result<(), FetchError> {
        match body.size {
            Some(got) if got != self.entry.size => Err(self.wrong_size(body, place, got, false)),
            _ => Ok(()),
        }
    }

    fn copy(&self, body: &mut Body, part: &mut Part, meter: &mut Meter, place: &str) -> Result<(), FetchError> {
        let want = self.entry.size;
        let mut block = vec![0; 256 << 10];
        loop {
            let n = body.read(&mut block).map_err(|error| self.sourcing(error))?;
            if n == 0 {
                break;
            }
            let reached = part.length() + n as u64;
            if reached > want {
                part.restart().map_err(|error| self.storing(error))?;
                return Err(self.wrong_size(body, place, reached, true));
            }
            part.write(&block[..n]).map_err(|error| self.storing(error))?;
            meter.reached(reached);
        }
        let got = part.length();
        if got < want {
            return Err(self.sourcing(SourceError::Short { place: place.to_owned(), got, want }));
        }
        Ok(())
    }

    /// Says what was wrong elsewhere with a file that came in the end; a mirror may simply lack a file.
    fn warn(&self, failures: &[FetchError], place: &str) {
        let told = |error: &&FetchError| {
            !error.is_missing() && !matches!(error.source_error(), Some(SourceError::Down { .. }))
        };
        for error in failures.iter().filter(told) {
            self.progress.warn(&format!("{}; it came from {place}", error.short()));
        }
    }

    /// One error for all the places that were asked.
    fn nowhere(&self, url: &Url, mut failures: Vec<FetchError>) -> FetchError {
        if let [_] = failures.as_slice()
            && let Some(only) = failures.pop()
        {
            return only;
        }
        if failures.iter().any(FetchError::is_mismatch) {
            return FetchError::Nowhere { artifact: self.entry.to_string(), failures };
        }
        let tried = failures.into_iter().filter_map(|error| match error {
            FetchError::Source { source, .. } => Some(source),
            _ => None,
        });
        self.sourcing(SourceError::nowhere(url, tried.collect()))
    }

    fn mismatch(&self, place: String, got: Checksum) -> FetchError {
        let (artifact, want) = (self.entry.to_string(), Box::new(self.entry.checksum));
        FetchError::Mismatch { artifact, place, want, got: Box::new(got), given: self.entry.trust == Trust::Given }
    }

    fn wrong_size(&self, body: &Body, place: &str, got: u64, more: bool) -> FetchError {
        let (artifact, place) = (self.entry.to_string(), place.to_owned());
        if let Some(encoding) = body.encoding.clone() {
            return self.sourcing(SourceError::Encoded { place, encoding });
        }
        let given = self.entry.trust == Trust::Given;
        FetchError::WrongSize { artifact, place, want: self.entry.size, got, more, given }
    }

    fn sourcing(&self, source: SourceError) -> FetchError {
        FetchError::Source { artifact: self.entry.to_string(), source }
    }

    fn storing(&self, source: StoreError) -> FetchError {
        FetchError::Store { artifact: self.entry.to_string(), source }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::time::Duration;

    use url::Url;

    use super::super::catalog::Kind;
    use super::super::checksum::Algorithm;
    use super::super::server::{Answer, Request, Server};
    use super::super::source::Limits;
    use super::*;
    use crate::config::Arch;
    use crate::progress::Silent;

    /// Larger than a block, so that a cut falls between two of them.
    const SIZE: usize = 1 << 20;

    fn bytes(seed: u8) -> Vec<u8> {
        (0..SIZE).map(|n| n.to_le_bytes().into_iter().fold(seed, |sum, byte| sum.rotate_left(1) ^ byte)).collect()
    }

    fn entry(name: &str, bytes: &[u8]) -> Entry {
        let mut hasher = Algorithm::Sha256.hasher();
        hasher.update(bytes);
        Entry {
            kind: Kind::Runc,
            arch: Arch::Amd64,
            version: name.to_owned(),
            from: Location::Url(Url::parse(&format!("https://example.org/{name}")).unwrap()),
            alternates: Vec::new(),
            size: bytes.len() as u64,
            checksum: hasher.finish(),
            released: None,
            trust: super::super::lock::Trust::Given,
        }
    }

    struct Case {
        server: Server,
        folder: tempfile::TempDir,
        stall: Duration,
    }

    impl Case {
        fn new(answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
            let (server, folder) = (Server::start(answer), tempfile::tempdir().unwrap());
            Self { server, folder, stall: Duration::from_secs(30) }
        }

        fn source(&self) -> Source {
            self.source_of(&[self.server.base()])
        }

        fn source_of(&self, mirrors: &[String]) -> Source {
            let limits = Limits { stall: self.stall, pause: Duration::from_millis(1), ..Limits::default() };
            Source::new(mirrors, false, None).unwrap().with_limits(limits)
        }

        fn store(&self) -> Store {
            Store::new(self.folder.path())
        }

        fn fetch(&self, entries: &[&Entry]) -> Result<Vec<Blob>, FetchError> {
            fetch(entries, &self.store(), &self.source(), false, &Silent)
        }

        /// Fetches one file and checks what the store then holds of it.
        fn one(&self, file: &[u8]) -> Result<(), FetchError> {
            let entry = entry("a", file);
            let result = self.fetch(&[&entry]);
            let held = self.store().look_up(&entry.checksum, entry.size).unwrap();
            let files = std::fs::read_dir(self.folder.path().join("blobs/sha256")).unwrap().count();
            let expected = match result.as_deref() {
                // The blob and its sidecar.
                Ok([blob]) => (Held::Good(blob.path.clone()), 2, Some(file.to_vec())),
                _ => (Held::No, 0, None),
            };
            let content = result.as_deref().ok().map(|blobs| std::fs::read(&blobs[0].path).unwrap());
            assert!((held, files, content) == expected);
            result.map(drop)
        }

        /// The error's text, with the server's address replaced.
        fn message(&self, file: &[u8]) -> String {
            self.one(file).unwrap_err().to_string().replace(&self.server.base(), "MIRROR")
        }

        /// The same of the error below it.
        fn cause(&self, file: &[u8]) -> String {
            let error = self.one(file).unwrap_err();
            let source = std::error::Error::source(&error).unwrap();
            source.to_string().replace(&self.server.base(), "MIRROR")
        }
    }

    fn whole(file: &[u8]) -> Answer {
        Answer::file(file)
    }

    /// The head of the whole file, and then less of it.
    fn cut(file: &[u8], at: usize, headers: &[&str]) -> Answer {
        let length = format!("Content-Length: {}", file.len());
        Answer::raw("200 OK", &[headers, &[&length]].concat(), &file[..at])
    }

    fn rest(file: &[u8], from: usize, headers: &[&str]) -> Answer {
        let range = format!("Content-Range: bytes {from}-{}/{}", file.len() - 1, file.len());
        let length = format!("Content-Length: {}", file.len() - from);
        Answer::raw("206 Partial Content", &[headers, &[&range, &length]].concat(), &file[from..])
    }

    #[test]
    fn fetches_several_and_then_asks_no_more() {
        let case = Case::new(|request| match request.path.as_str() {
            "/mirror/example.org/a" => whole(&bytes(1)),
            "/mirror/example.org/b" => whole(b"small"),
            _ => Answer::status("404 Not Found"),
        });
        let entries = [entry("a", &bytes(1)), entry("b", b"small")];
        let blobs = case.fetch(&[&entries[0], &entries[1]]).unwrap();
        assert_eq!(blobs.iter().map(|blob| &blob.entry).collect::<Vec<_>>(), entries.iter().collect::<Vec<_>>());
        assert!(std::fs::read(&blobs[0].path).unwrap() == bytes(1));
        assert_eq!(std::fs::read(&blobs[1].path).unwrap(), b"small");
        assert!(blobs.iter().all(|blob| blob.fresh));
        let blobs: Vec<_> = blobs.into_iter().map(|blob| Blob { fresh: false, ..blob }).collect();
        assert_eq!(case.fetch(&[&entries[0], &entries[1]]).unwrap(), blobs);
        let offline = fetch(&[&entries[0], &entries[1]], &case.store(), &case.source(), true, &Silent);
        assert_eq!(offline.unwrap(), blobs);
        let mut log = case.server.log();
        log.sort();
        assert_eq!(log, ["GET /mirror/example.org/a", "GET /mirror/example.org/b"]);
    }

    #[test]
    fn the_bytes_are_stored_as_published() {
        // Packed bytes with a header that says so: what the digest is over is what lies at upstream.
        let case = Case::new(|request| {
            assert_eq!(request.headers.get("accept-encoding").map(String::as_str), Some("identity"));
            let packed = b"\x1f\x8b\x08\0\0\0\0\0\x02\x03KLJ\x06\0\xc2A$5\x03\0\0\0";
            Answer::raw("200 OK", &["Content-Encoding: gzip", "Content-Length: 23"], packed)
        });
        case.one(b"\x1f\x8b\x08\0\0\0\0\0\x02\x03KLJ\x06\0\xc2A$5\x03\0\0\0").unwrap();
    }

    #[test]
    fn other_bytes_are_refused() {
        let file = bytes(1);
        let other = bytes(2);
        let sum = |bytes: &[u8]| entry("", bytes).checksum;
        let message = format!(
            "runc a (amd64) from MIRROR/example.org/a has digest {}, and {} is locked",
            sum(&other),
            sum(&file)
        );
        let case = Case::new(move |_| whole(&other));
        assert_eq!(case.message(&file), message);
        assert!(case.one(&file).unwrap_err().is_mismatch());
        // Asked once each time: a wrong digest does not pass.
        assert_eq!(case.server.log().len(), 2);
    }

    #[test]
    fn other_sizes_are_refused() {
        let chunked = |body: &[u8]| {
            let chunks = [format!("{:x}\r\n", body.len()).as_bytes(), body, b"\r\n0\r\n\r\n"].concat();
            Answer::raw("200 OK", &["Transfer-Encoding: chunked"], &chunks)
        };
        let case = Case::new(move |request| match request.before {
            0 => Answer::file(b"abc"),
            1 => Answer::file(b"abcde"),
            _ => chunked(b"abcde"),
        });
        let runc = "runc a (amd64) from MIRROR/example.org/a has";
        assert_eq!(case.message(b"abcd"), format!("{runc} 3 bytes, and 4 are locked"));
        assert_eq!(case.message(b"abcd"), format!("{runc} 5 bytes, and 4 are locked"));
        assert_eq!(case.message(b"abcd"), format!("{runc} 5 bytes or more, and 4 are locked"));
        assert_eq!(case.server.log().len(), 3);
        let short = Case::new(move |_| chunked(b"abc"));
        assert_eq!(short.cause(b"abcd"), "MIRROR/example.org/a ended after 3 of 4 bytes");
        assert_eq!(short.server.log().len(), 4);
    }

    #[test]
    fn errors_that_may_pass_are_tried_again() {
        for first in ["429 Too Many Requests", "500 Internal Server Error", "503 Service Unavailable"] {
            let case = Case::new(move |request| match request.before {
                0 | 1 => Answer::status(first),
                _ => whole(b"abc"),
            });
            case.one(b"abc").unwrap();
            assert_eq!(case.server.log().len(), 3);
        }
        let case = Case::new(|_| Answer::status("502 Bad Gateway"));
        assert_eq!(case.cause(b"abc"), "MIRROR/example.org/a answered with status 502");
        assert_eq!(case.server.log().len(), 4);
        let case = Case::new(|_| Answer::status("403 Forbidden"));
        assert_eq!(case.cause(b"abc"), "MIRROR/example.org/a answered with status 403");
        assert_eq!(case.server.log().len(), 1);
    }

    #[test]
    fn missing_files_are_named_together_and_asked_for_once() {
        let case = Case::new(|request| match request.path.as_str() {
            "/mirror/example.org/b" => whole(b"abc"),
            _ => Answer::status("404 Not Found"),
        });
        let entries = [entry("a", b"1"), entry("b", b"abc"), entry("c", b"3")];
        let error = case.fetch(&entries.iter().collect::<Vec<_>>()).unwrap_err();
        assert_eq!(
            error.to_string().replace(&case.server.base(), "MIRROR"),
            "files are missing: the mirror lacks https://example.org/a: there is no MIRROR/example.org/a; the mirror \
             lacks https://example.org/c: there is no MIRROR/example.org/c"
        );
        assert_eq!(case.server.log().len(), 3);
        let offline = fetch(&entries.iter().collect::<Vec<_>>(), &case.store(), &case.source(), true, &Silent);
        assert_eq!(offline.unwrap_err().to_string(), "offline, and the cache lacks runc a (amd64), runc c (amd64)");
        assert_eq!(case.server.log().len(), 3);
    }

    #[test]
    fn a_cut_transfer_goes_on_where_it_was_cut() {
        let file = bytes(1);
        let served = file.clone();
        let case = Case::new(move |request| match request.headers.get("range") {
            None => cut(&served, SIZE / 3, &["ETag: \"one\""]),
            Some(range) => {
                assert_eq!(request.headers.get("if-range").map(String::as_str), Some("\"one\""));
                let from = range.trim_start_matches("bytes=").trim_end_matches('-').parse().unwrap();
                rest(&served, from, &["ETag: \"one\""])
            }
        });
        case.one(&file).unwrap();
        let log = case.server.log();
        assert_eq!(log.len(), 2);
        // All that had come by then was kept.
        assert_eq!(log[1], format!("GET /mirror/example.org/a bytes={}-", SIZE / 3));
    }

    #[test]
    fn a_cut_transfer_starts_anew_without_a_validator_or_when_the_file_changed() {
        for validator in [None, Some("ETag: W/\"weak\""), Some("ETag: \"old\"")] {
            let file = bytes(1);
            let served = file.clone();
            let case = Case::new(move |request| match request.before {
                0 => cut(&bytes(2), SIZE / 3, &validator.into_iter().collect::<Vec<_>>()),
                // Asked for a part of the old file or not: this is the new one, whole.
                _ => whole(&served),
            });
            case.one(&file).unwrap();
            let range =
                if validator == Some("ETag: \"old\"") { format!(" bytes={}-", SIZE / 3) } else { String::new() };
            assert_eq!(
                case.server.log(),
                ["GET /mirror/example.org/a".to_owned(), format!("GET /mirror/example.org/a{range}")]
            );
        }
    }

    #[test]
    fn two_halves_of_two_files_are_fetched_again_in_one_piece() {
        let file = bytes(1);
        let served = file.clone();
        let case = Case::new(move |request| match request.headers.get("range") {
            None if request.before == 0 => cut(&bytes(2), SIZE / 3, &["ETag: \"same\""]),
            None => whole(&served),
            // A server that ignores If-Range.
            Some(_) => rest(&served, SIZE / 3, &["ETag: \"same\""]),
        });
        case.one(&file).unwrap();
        assert_eq!(case.server.log().len(), 3);
    }

    #[test]
    fn a_range_that_cannot_be_served_starts_anew() {
        for status in ["416 Range Not Satisfiable", "206 Partial Content"] {
            let file = bytes(1);
            let served = file.clone();
            let case = Case::new(move |request| match request.before {
                0 => cut(&served, SIZE / 3, &["ETag: \"one\""]),
                // A part without a word of which part it is.
                1 => Answer::raw(status, &["Content-Length: 3"], b"abc"),
                _ => whole(&served),
            });
            case.one(&file).unwrap();
            assert_eq!(case.server.log().len(), 3);
        }
    }

    #[test]
    fn a_stalled_transfer_ends() {
        let begun = |_: &Request| cut(b"abcdef", 3, &[]).then(Duration::from_secs(5), b"def");
        let silent = |_: &Request| Answer(vec![]).then(Duration::from_secs(5), b"");
        for case in [Case::new(begun), Case::new(silent)] {
            let case = Case { stall: Duration::from_millis(200), ..case };
            assert_eq!(case.cause(b"abcdef"), "MIRROR/example.org/a sent nothing for 0.2 s");
            assert_eq!(case.server.log().len(), 4);
        }
    }

    #[test]
    fn a_slow_transfer_does_not() {
        // Longer than the limit in all, and much shorter than it for each read.
        let step = Duration::from_millis(600);
        let slow = Case::new(move |_| {
            cut(b"abcdef", 1, &[]).then(step, b"b").then(step, b"c").then(step, b"d").then(step, b"ef")
        });
        let slow = Case { stall: Duration::from_secs(2), ..slow };
        slow.one(b"abcdef").unwrap();
        assert_eq!(slow.server.log().len(), 1);
    }

    #[test]
    fn a_damaged_blob_is_fetched_anew_and_named_offline() {
        let case = Case::new(|_| whole(b"abc"));
        case.one(b"abc").unwrap();
        let entry = entry("a", b"abc");
        let path = case.store().path(&entry.checksum);
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, b"abd").unwrap();
        let offline = fetch(&[&entry], &case.store(), &case.source(), true, &Silent);
        let message = format!("offline, and the cache lacks runc a (amd64), whose copy {} is damaged", path.display());
        assert_eq!(offline.unwrap_err().to_string(), message);
        case.one(b"abc").unwrap();
        assert_eq!(case.server.log().len(), 2);
    }
}
