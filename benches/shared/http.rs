//! An HTTP server for the benchmarks: a folder's files, one thread a connection.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;

/// Answers as long as this process lives.
pub(crate) fn serve(listener: &TcpListener, folder: &Path) {
    std::thread::scope(|scope| {
        for stream in listener.incoming().flatten() {
            // A client that hangs up is no matter of ours.
            scope.spawn(move || answer(&stream, folder));
        }
    });
}

fn answer(stream: &TcpStream, folder: &Path) -> io::Result<()> {
    let mut requests = BufReader::new(stream);
    loop {
        let mut lines = (&mut requests).lines();
        let Some(first) = lines.next().transpose()? else { return Ok(()) };
        while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
        let mut words = first.split(' ');
        let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let mut out = stream;
        match File::open(folder.join(path.trim_start_matches('/'))) {
            Ok(mut file) => {
                write!(out, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", file.metadata()?.len())?;
                if method == "GET" {
                    io::copy(&mut file, &mut out)?;
                }
            }
            Err(_) => write!(out, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")?,
        }
    }
}
