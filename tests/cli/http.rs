//! A server of one folder, for a mirror over http.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};

use crate::server::{Answer, Request, Server};

/// Serves the files of a folder and notes what it is asked; it has validators and gives parts.
pub(crate) fn with_ranges(folder: PathBuf) -> Server {
    Server::start(move |request| part_of(&folder, request))
}

pub(crate) fn part_of(folder: &Path, request: &Request) -> Answer {
    let Ok(bytes) = fs::read(folder.join(request.path.trim_start_matches("/mirror/"))) else {
        return Answer::status("404 Not Found");
    };
    let tag = format!("ETag: \"{}\"", bytes.len());
    let length = |length| format!("Content-Length: {length}");
    let Some(range) = request.headers.get("range") else {
        let body = if request.method == "GET" { &bytes[..] } else { &[] };
        return Answer::raw("200 OK", &[&length(bytes.len()), &tag], body);
    };
    assert_eq!(format!("ETag: {}", request.headers["if-range"]), tag);
    let from: usize = range.strip_prefix("bytes=").unwrap().strip_suffix('-').unwrap().parse().unwrap();
    let said = format!("Content-Range: bytes {from}-{}/{}", bytes.len() - 1, bytes.len());
    Answer::raw("206 Partial Content", &[&said, &length(bytes.len() - from), &tag], &bytes[from..])
}

/// Serves the files of a folder under /some/where until the tests end.
pub(crate) fn serve(folder: PathBuf) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let folder = folder.clone();
            std::thread::spawn(move || answer(stream.unwrap(), &folder));
        }
    });
    address
}

/// One request on one connection; whoever is gone before the answer has got what it wanted.
fn answer(mut stream: TcpStream, folder: &Path) -> Option<()> {
    let mut lines = BufReader::new(stream.try_clone().ok()?).lines();
    let first = lines.next()?.ok()?;
    while !lines.next()?.ok()?.is_empty() {}
    let (method, rest) = first.split_once(' ')?;
    let path = rest.split(' ').next()?.strip_prefix("/some/where/")?;
    let Ok(bytes) = fs::read(folder.join(path)) else {
        return stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").ok();
    };
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", bytes.len());
    stream.write_all(head.as_bytes()).ok()?;
    if method == "GET" { stream.write_all(&bytes).ok() } else { Some(()) }
}
