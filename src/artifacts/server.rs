//! A small HTTP server for the tests: answers what a test tells it to, byte by byte, and notes what it was asked.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// One request as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    /// `GET` or `HEAD`.
    pub(crate) method: String,
    /// Path of the request line.
    pub(crate) path: String,
    /// Headers with lowercase names.
    pub(crate) headers: BTreeMap<String, String>,
    /// Requests for this path with this method before this one.
    pub(crate) before: usize,
}

/// What is sent back: these bytes, a silence, these bytes, and so on; then the connection is closed.
#[derive(Debug, Clone)]
pub(crate) struct Answer(pub(crate) Vec<Step>);

#[derive(Debug, Clone)]
pub(crate) enum Step {
    Send(Vec<u8>),
    Silence(Duration),
}

impl Answer {
    /// A status line, headers, an empty line and a body, as they are given.
    pub(crate) fn raw(status: &str, headers: &[&str], body: &[u8]) -> Self {
        let mut bytes = format!("HTTP/1.1 {status}\r\nConnection: close\r\n").into_bytes();
        for header in headers {
            bytes.extend_from_slice(format!("{header}\r\n").as_bytes());
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(body);
        Self(vec![Step::Send(bytes)])
    }

    /// 200 with the right length.
    pub(crate) fn file(body: &[u8]) -> Self {
        Self::raw("200 OK", &[&format!("Content-Length: {}", body.len())], body)
    }

    /// A status without a body.
    pub(crate) fn status(status: &str) -> Self {
        Self::raw(status, &["Content-Length: 0"], b"")
    }

    /// After the rest, silence and then more.
    pub(crate) fn then(mut self, silence: Duration, bytes: &[u8]) -> Self {
        self.0.extend([Step::Silence(silence), Step::Send(bytes.to_vec())]);
        self
    }
}

/// A server on a port of its own; its thread ends with the test process.
#[derive(Debug)]
pub(crate) struct Server {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    pub(crate) fn start(answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let requests: Arc<Mutex<Vec<Request>>> = Arc::default();
        let (noted, answer) = (Arc::clone(&requests), Arc::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (noted, answer) = (Arc::clone(&noted), Arc::clone(&answer));
                std::thread::spawn(move || serve(stream, &noted, answer.as_ref()));
            }
        });
        Self { address, requests }
    }

    /// A base address for a mirror.
    pub(crate) fn base(&self) -> String {
        format!("http://{}/mirror", self.address)
    }

    /// All requests so far.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Method, path and Range header of all requests so far.
    pub(crate) fn log(&self) -> Vec<String> {
        let range = |request: &Request| request.headers.get("range").map(|range| format!(" {range}"));
        let line = |r: &Request| format!("{} {}{}", r.method, r.path, range(r).unwrap_or_default());
        self.requests().iter().map(line).collect()
    }
}

fn serve(mut stream: TcpStream, noted: &Mutex<Vec<Request>>, answer: &dyn Fn(&Request) -> Answer) {
    let mut lines = BufReader::new(stream.try_clone().expect("a second handle")).lines().map_while(Result::ok);
    let Some(first) = lines.next() else { return };
    let mut words = first.split(' ').map(ToOwned::to_owned);
    let (Some(method), Some(path)) = (words.next(), words.next()) else { return };
    let headers = lines
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_once(": ").map(|(name, value)| (name.to_lowercase(), value.to_owned())))
        .collect();
    let request = {
        let mut noted = noted.lock().unwrap_or_else(PoisonError::into_inner);
        let before = noted.iter().filter(|old| (&old.method, &old.path) == (&method, &path)).count();
        let request = Request { method, path, headers, before };
        noted.push(request.clone());
        request
    };
    for step in answer(&request).0 {
        match step {
            Step::Silence(time) => std::thread::sleep(time),
            // The client may have gone; some tests want that.
            Step::Send(bytes) if stream.write_all(&bytes).is_err() => return,
            Step::Send(_) => {}
        }
    }
}
