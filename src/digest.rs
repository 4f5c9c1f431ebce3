//! SHA-256 digests of bytes, as names and as checks.

use std::fmt;
use std::io::{self, Read, Write};
use std::str::FromStr;

use sha2::{Digest as _, Sha256};

/// A SHA-256 digest; shown and parsed as 64 lowercase hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

/// A text that is not 64 hexadecimal digits.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0:?} is not a sha256 digest of 64 hexadecimal digits")]
pub struct ParseDigestError(String);

impl Digest {
    /// Sixty-four zeros, which no bytes are known to have.
    pub(crate) const fn zero() -> Self {
        Self([0; 32])
    }

    /// Digest of bytes in memory.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// Digest of all that `reader` still yields, read in blocks.
    pub fn of_reader(reader: &mut impl Read) -> io::Result<Self> {
        let mut hasher = Hasher::new(io::sink());
        let mut block = vec![0; 1 << 20];
        loop {
            match reader.read(&mut block)? {
                0 => return Ok(hasher.finish().1),
                n => hasher.write_all(&block[..n])?,
            }
        }
    }

    /// The raw 32 bytes.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The first 12 hexadecimal digits, as used in file names and serials.
    pub fn short(&self) -> String {
        self.to_string()[..12].to_owned()
    }
}

impl From<[u8; 32]> for Digest {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digit = |nibble: u8| char::from_digit(nibble.into(), 16).unwrap_or_default();
        let mut digits = String::with_capacity(64);
        digits.extend(self.0.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 0xF)]));
        f.write_str(&digits)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

impl FromStr for Digest {
    type Err = ParseDigestError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParseDigestError(text.to_owned());
        if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(error());
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| error())?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| error())?;
        }
        Ok(Self(bytes))
    }
}

impl serde::Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Hashes what passes through it on the way to `inner`.
pub struct Hasher<W> {
    inner: W,
    sha256: Sha256,
    length: u64,
}

impl<W: Write> Hasher<W> {
    /// A writer that hands everything on to `inner`.
    pub fn new(inner: W) -> Self {
        Self { inner, sha256: Sha256::new(), length: 0 }
    }

    /// The inner writer, the digest and the number of bytes that passed.
    pub fn finish(self) -> (W, Digest, u64) {
        (self.inner, Digest(self.sha256.finalize().into()), self.length)
    }
}

impl<W: Write> Write for Hasher<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(bytes)?;
        self.sha256.update(&bytes[..n]);
        self.length += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn agrees_with_fips_180() {
        assert_eq!(Digest::of(b"abc").to_string(), ABC);
        assert_eq!(Digest::of_reader(&mut &b"abc"[..]).ok(), ABC.parse().ok());
        let mut hasher = Hasher::new(Vec::new());
        assert!(hasher.write_all(b"abc").is_ok());
        let (bytes, digest, length) = hasher.finish();
        assert_eq!((bytes.as_slice(), digest.to_string().as_str(), length), (&b"abc"[..], ABC, 3));
    }

    #[test]
    fn parses_only_whole_digests() {
        for text in ["", "ba78", &ABC[1..], &format!("{ABC}0"), &ABC.replace('b', "g"), "é"] {
            assert_eq!(text.parse::<Digest>(), Err(ParseDigestError(text.to_owned())));
        }
    }
}
