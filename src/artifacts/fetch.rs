//! From a lock to verified files in the store.

use std::path::PathBuf;

use super::checksum::Checksum;
use super::lock::{Entry, list};
use super::parallel;
use super::source::{Body, Resume, Source, SourceError};
use super::store::{Begun, Held, Part, Store, StoreError};
use crate::config::Location;
use crate::progress::{Progress, Task};

/// A locked file in the store, verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob {
    /// What it is.
    pub entry: Entry,
    /// Where it is; read-only.
    pub path: PathBuf,
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
            Self::Mismatch { .. } | Self::WrongSize { .. } => Some(
                "if upstream has replaced the file (cloud images move on under one address), `nodebake lock` takes the new \
                 one; else somebody has tampered with it"
                    .to_owned(),
            ),
            Self::Source { source, .. } => source.hint(),
            Self::Store { source, .. } => source.hint(),
        }
    }

    /// Whether other bytes came than were locked.
    pub fn is_mismatch(&self) -> bool {
        matches!(self, Self::Mismatch { .. } | Self::WrongSize { .. })
    }

    fn is_missing(&self) -> bool {
        matches!(self, Self::Source { source, .. } if source.is_missing())
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
    if offline {
        return held(entries, store);
    }
    let one = |entry: &&Entry| Fetching { entry, store, source, progress }.run();
    let stop = |result: &Result<PathBuf, FetchError>| result.as_ref().is_err_and(|error| !error.is_missing());
    let (mut blobs, mut missing) = (Vec::new(), Vec::new());
    for (entry, result) in entries.iter().zip(parallel::map(entries, one, stop)) {
        match result {
            Some(Ok(path)) => blobs.push(Blob { entry: (*entry).clone(), path }),
            Some(Err(FetchError::Source { source, .. })) if source.is_missing() => missing.push(source),
            Some(Err(error)) => return Err(error),
            // Not begun, after an error that stands further on.
            None => {}
        }
    }
    if missing.is_empty() { Ok(blobs) } else { Err(FetchError::Missing { missing }) }
}

/// What is in the store already; an error names everything that is not.
fn held(entries: &[&Entry], store: &Store) -> Result<Vec<Blob>, FetchError> {
    let look_up = |entry: &&Entry| store.look_up(&entry.checksum, entry.size);
    let (mut blobs, mut missing) = (Vec::new(), Vec::new());
    let all = parallel::map(entries, look_up, |_| false);
    for (&entry, held) in entries.iter().zip(all.into_iter().flatten()) {
        match held.map_err(|source| FetchError::Store { artifact: entry.to_string(), source })? {
            Held::Good(path) => blobs.push(Blob { entry: entry.clone(), path }),
            Held::Damaged(path) => missing.push(format!("{entry}, whose copy {} is damaged", path.display())),
            Held::No => missing.push(entry.to_string()),
        }
    }
    if missing.is_empty() { Ok(blobs) } else { Err(FetchError::Offline { missing }) }
}

struct Fetching<'a> {
    entry: &'a Entry,
    store: &'a Store,
    source: &'a Source,
    progress: &'a dyn Progress,
}

impl Fetching<'_> {
    fn run(&self) -> Result<PathBuf, FetchError> {
        let Entry { checksum, size, .. } = self.entry;
        if let Held::Good(path) = self.store.look_up(checksum, *size).map_err(|error| self.storing(error))? {
            return Ok(path);
        }
        let mut part = match self.store.begin(checksum, *size).map_err(|error| self.storing(error))? {
            Begun::Held(path) => return Ok(path),
            Begun::Part(part) => part,
        };
        let resumed = self.download(&mut part)?;
        if resumed && part.digest() != *checksum {
            // Two halves of two files, whatever the server said of their being one: once more, in one piece.
            part.restart().map_err(|error| self.storing(error))?;
            self.download(&mut part)?;
        }
        part.finish().map_err(|error| self.storing(error))?.map_err(|got| FetchError::Mismatch {
            artifact: self.entry.to_string(),
            place: self.place(),
            want: Box::new(*checksum),
            got: Box::new(got),
        })
    }

    /// Fills `part` to the locked size, over several tries where it must be. Says whether it went on where an earlier
    /// try was cut.
    fn download(&self, part: &mut Part) -> Result<bool, FetchError> {
        let mut validator: Option<String> = None;
        let mut resumed = false;
        let may_pass = |error: &FetchError| matches!(error, FetchError::Source { source, .. } if source.may_pass());
        self.source.patiently(may_pass, || {
            let resume = validator.clone().filter(|_| part.length() > 0);
            let resume = resume.map(|validator| Resume { from: part.length(), validator });
            let opened = match &self.entry.from {
                Location::Url(url) => self.source.open(url, resume.as_ref()),
                Location::Path(path) => Source::open_path(path),
            };
            let mut body = opened.map_err(|error| self.sourcing(error))?;
            if body.start == 0 {
                part.restart().map_err(|error| self.storing(error))?;
            }
            resumed = body.start > 0;
            validator = body.validator.take();
            self.announced(&body)?;
            self.copy(&mut body, part)
        })?;
        Ok(resumed)
    }

    /// A server that announces another size is not asked for the bytes.
    fn announced(&self, body: &Body) -> Result<(), FetchError> {
        match body.size {
            Some(got) if got != self.entry.size => Err(self.wrong_size(got, false)),
            _ => Ok(()),
        }
    }

    fn copy(&self, body: &mut Body, part: &mut Part) -> Result<(), FetchError> {
        let Entry { kind, version, size, .. } = self.entry;
        let task: Box<dyn Task> = self.progress.task(&format!("fetch {kind} {version}"), Some(*size));
        task.advance(part.length());
        let mut block = vec![0; 256 << 10];
        loop {
            let n = body.read(&mut block).map_err(|error| self.sourcing(error))?;
            if part.length() + n as u64 > *size {
                return Err(self.wrong_size(part.length() + n as u64, true));
            }
            if n == 0 {
                break;
            }
            part.write(&block[..n]).map_err(|error| self.storing(error))?;
            task.advance(n as u64);
        }
        if part.length() < *size {
            let place = self.place();
            return Err(self.sourcing(SourceError::Short { place, got: part.length(), want: *size }));
        }
        task.done();
        Ok(())
    }

    fn place(&self) -> String {
        match &self.entry.from {
            Location::Url(url) => self.source.place(url),
            Location::Path(path) => path.display().to_string(),
        }
    }

    fn wrong_size(&self, got: u64, more: bool) -> FetchError {
        let place = self.place();
        FetchError::WrongSize { artifact: self.entry.to_string(), place, want: self.entry.size, got, more }
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
            let limits = Limits { stall: self.stall, pause: Duration::from_millis(1), ..Limits::default() };
            Source::mirror(&self.server.base()).unwrap().with_limits(limits)
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
            let result = case.one(&file);
            match status {
                "416 Range Not Satisfiable" => result.unwrap(),
                _ => assert_eq!(result.unwrap_err().to_string(), "cannot fetch runc a (amd64)"),
            }
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
