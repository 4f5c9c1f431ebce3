//! Decompression in a thread of its own, so that it goes on while its output is hashed and written.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::Scope;

use flate2::read::MultiGzDecoder;

/// Size of a piece; a decoder fills it at once and it stays in a second-level cache.
const PIECE: usize = 256 << 10;
/// Pieces on their way.
const DEPTH: usize = 4;

/// Decompresses `gzip` (all its members; a checksum or length that differs is an error) in a thread of `scope`.
/// The thread ends with its input, or soon after the reader is dropped.
pub fn spawn<'scope>(scope: &'scope Scope<'scope, '_>, gzip: impl Read + Send + 'scope) -> Pieces {
    let (send, receive) = sync_channel(DEPTH);
    let (give_back, used) = channel();
    scope.spawn(move || decompress(gzip, &send, &used));
    Pieces { receive, give_back, piece: Vec::new(), at: 0, ended: false }
}

fn decompress(gzip: impl Read, send: &SyncSender<io::Result<Vec<u8>>>, used: &Receiver<Vec<u8>>) {
    let mut decoder = MultiGzDecoder::new(io::BufReader::with_capacity(PIECE / 2, gzip));
    loop {
        let mut piece = used.try_recv().unwrap_or_default();
        piece.resize(PIECE, 0);
        let filled = fill(&mut decoder, &mut piece);
        let last = !matches!(filled, Ok(PIECE));
        // Nobody listens any more: whoever read has failed already.
        if send
            .send(filled.map(|count| {
                piece.truncate(count);
                piece
            }))
            .is_err()
            || last
        {
            return;
        }
    }
}

/// Reads until `piece` is full or the input ends.
fn fill(reader: &mut impl Read, piece: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < piece.len() {
        match reader.read(&mut piece[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// What a thread decompresses, as a reader.
pub struct Pieces {
    receive: Receiver<io::Result<Vec<u8>>>,
    give_back: Sender<Vec<u8>>,
    piece: Vec<u8>,
    at: usize,
    ended: bool,
}

impl Read for Pieces {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        while self.at == self.piece.len() && !self.ended {
            match self.receive.recv() {
                Ok(piece) => {
                    let used = std::mem::replace(&mut self.piece, piece.inspect_err(|_| self.ended = true)?);
                    self.at = 0;
                    // The thread may have ended already.
                    drop(self.give_back.send(used));
                }
                Err(_) => self.ended = true,
            }
        }
        let count = bytes.len().min(self.piece.len() - self.at);
        bytes[..count].copy_from_slice(&self.piece[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::io::Write as _;
    use std::thread;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn gunzip(gzip: &[u8]) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        thread::scope(|scope| spawn(scope, gzip).read_to_end(&mut bytes)).map(|_| bytes)
    }

    #[test]
    fn yields_all_members_of_any_size() {
        for size in [0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE] {
            let bytes: Vec<u8> = (0..=250).cycle().take(size).collect();
            assert!(gunzip(&gzip(&bytes)).unwrap() == bytes, "{size}");
            let (first, second) = bytes.split_at(size / 2);
            assert!(gunzip(&[gzip(first), gzip(second)].concat()).unwrap() == bytes, "{size} in two members");
        }
    }

    #[test]
    fn tells_damage_and_cuts() {
        let whole = gzip(&vec![7; 2 * PIECE]);
        let kind = |bytes: &[u8]| gunzip(bytes).map_err(|error| error.kind());
        assert_eq!(kind(&whole[..whole.len() - 1]), Err(io::ErrorKind::UnexpectedEof));
        let mut damaged = whole.clone();
        let crc = damaged.len() - 8;
        damaged[crc] ^= 1;
        assert_eq!(kind(&damaged), Err(io::ErrorKind::InvalidInput));
        assert_eq!(kind(b"not gzip, not gzip"), Err(io::ErrorKind::InvalidInput));
    }

    #[test]
    fn a_reader_that_stops_early_stops_the_thread() {
        let whole = gzip(&vec![7; 64 * PIECE]);
        let mut first = [0];
        thread::scope(|scope| spawn(scope, whole.as_slice()).read_exact(&mut first)).unwrap();
        assert_eq!(first, [7]);
    }
}
