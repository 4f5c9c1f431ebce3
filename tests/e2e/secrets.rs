//! Looks for private keys in files and disks, as text and as bytes.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::Path;

use base64::Engine as _;

/// Pieces of one private key by which it is found, whichever way it is written.
pub struct Key(Vec<Vec<u8>>);

impl Key {
    /// Of a PEM file: every full line of its base64, and windows of the bytes that it stands for.
    pub fn of(path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap();
        let lines: Vec<_> = text.lines().filter(|line| !line.starts_with("-----")).collect();
        let bytes = base64::engine::general_purpose::STANDARD.decode(lines.concat()).unwrap();
        let full = lines.iter().filter(|line| line.len() == 64).map(|line| line.as_bytes().to_vec());
        // The head of a key names its kind and size; the rest is the key's own.
        let windows = bytes[32..].chunks_exact(32).map(<[u8]>::to_vec);
        let pieces: Vec<_> = full.chain(windows).collect();
        assert!(pieces.len() >= 4, "{} is too short to look for", path.display());
        Self(pieces)
    }

    /// Of a text that is written as it is.
    pub fn of_text(text: &str) -> Self {
        Self(vec![text.as_bytes().to_vec()])
    }

    /// How many of its pieces are in the file.
    pub fn pieces_in(&self, path: &Path) -> usize {
        let finders: Vec<_> = self.0.iter().map(memchr::memmem::Finder::new).collect();
        let mut found = vec![false; finders.len()];
        each_block(path, |block| {
            for (finder, found) in finders.iter().zip(&mut found) {
                *found = *found || finder.find(block).is_some();
            }
        });
        found.iter().filter(|found| **found).count()
    }
}

/// Goes through a file in blocks that overlap by more than any piece; blocks of zeros, the holes, are left out.
fn each_block(path: &Path, mut look: impl FnMut(&[u8])) {
    const OVERLAP: usize = 128;
    let mut file = File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut block = vec![0; 4 << 20];
    let mut kept = 0;
    loop {
        let read = file.read(&mut block[kept..]).unwrap();
        if read == 0 {
            return;
        }
        let filled = kept + read;
        if block[..filled].iter().any(|byte| *byte != 0) {
            look(&block[..filled]);
        }
        kept = filled.min(OVERLAP);
        block.copy_within(filled - kept..filled, 0);
    }
}
