//! Checksums as upstream publishes them: SHA-256 or SHA-512, and the files that list them.

use std::fmt;
use std::io::{self, Read};

use sha2::{Digest as _, Sha256, Sha512};

/// What is hashed whole is read in pieces of this size, in bytes.
const PIECE: usize = 256 << 10;

/// A hash function that upstream uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Algorithm {
    /// SHA-256.
    Sha256,
    /// SHA-512.
    Sha512,
}

/// The digest of one file; shown as `sha256:HEX`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Checksum {
    /// SHA-256.
    Sha256(crate::digest::Digest),
    /// SHA-512.
    Sha512([u8; 64]),
}

/// How to find a file's digest in a checksum file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// The file holds the digest and nothing else (dl.k8s.io).
    Bare,
    /// The file lists `HEX  NAME` or `HEX *NAME`, one a line, as sha256sum writes it; `OpenPGP`'s clear-signed form too.
    Named(String),
}

/// Why a checksum file does not give a digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChecksumFileError {
    /// It is not text.
    #[error("the checksum file is not text")]
    NotText,
    /// It should hold one digest and does not.
    #[error("the checksum file holds {found:?} instead of a {algorithm} digest")]
    NotADigest {
        /// The hash function that was expected.
        algorithm: Algorithm,
        /// What stands there, shortened.
        found: String,
    },
    /// No line names the file.
    #[error("the checksum file does not list {name}")]
    NotListed {
        /// The file's name.
        name: String,
    },
    /// Two lines name the file and differ.
    #[error("the checksum file lists {name} twice, with different digests")]
    Ambiguous {
        /// The file's name.
        name: String,
    },
}

impl Algorithm {
    /// Begins a digest.
    pub fn hasher(self) -> Hasher {
        match self {
            Self::Sha256 => Hasher::Sha256(Sha256::new()),
            Self::Sha512 => Hasher::Sha512(Sha512::new()),
        }
    }

    /// Reads a digest of this kind from hexadecimal digits.
    pub fn parse(self, hex: &str) -> Option<Checksum> {
        match self {
            Self::Sha256 => parse_hex::<32>(hex).map(|bytes| Checksum::Sha256(bytes.into())),
            Self::Sha512 => parse_hex(hex).map(Checksum::Sha512),
        }
    }
}

fn parse_hex<const N: usize>(hex: &str) -> Option<[u8; N]> {
    // from_str_radix would take a sign.
    if hex.len() != 2 * N || !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, at) in bytes.iter_mut().zip((0..).step_by(2)) {
        *byte = u8::from_str_radix(&hex[at..at + 2], 16).ok()?;
    }
    Some(bytes)
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        })
    }
}

impl Checksum {
    /// The hash function.
    pub fn algorithm(&self) -> Algorithm {
        match self {
            Self::Sha256(_) => Algorithm::Sha256,
            Self::Sha512(_) => Algorithm::Sha512,
        }
    }

    /// The digest in lowercase hexadecimal digits: 64 or 128.
    pub fn hex(&self) -> String {
        use std::fmt::Write as _;
        let bytes: &[u8] = match self {
            Self::Sha256(digest) => digest.bytes(),
            Self::Sha512(bytes) => bytes,
        };
        bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
    }

    /// The first 12 hexadecimal digits, as used in names.
    pub fn short(&self) -> String {
        self.hex()[..12].to_owned()
    }
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm(), self.hex())
    }
}

impl fmt::Debug for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Checksum({self})")
    }
}

/// A digest under way.
#[derive(Debug, Clone)]
pub enum Hasher {
    /// SHA-256.
    Sha256(Sha256),
    /// SHA-512.
    Sha512(Sha512),
}

impl Hasher {
    /// Takes in more bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hasher) => hasher.update(bytes),
            Self::Sha512(hasher) => hasher.update(bytes),
        }
    }

    /// Takes in all that `reader` still yields, piece by piece, and tells `passed` the bytes of each; says how many there
    /// were.
    pub fn take_all(&mut self, reader: &mut (impl Read + ?Sized), mut passed: impl FnMut(u64)) -> io::Result<u64> {
        let (mut piece, mut size) = (vec![0; PIECE], 0);
        loop {
            match reader.read(&mut piece) {
                Ok(0) => return Ok(size),
                Ok(count) => {
                    self.update(&piece[..count]);
                    size += count as u64;
                    passed(count as u64);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The digest of all bytes taken in.
    pub fn finish(self) -> Checksum {
        match self {
            Self::Sha256(hasher) => Checksum::Sha256(<[u8; 32]>::from(hasher.finalize()).into()),
            Self::Sha512(hasher) => Checksum::Sha512(hasher.finalize().into()),
        }
    }
}

/// Finds a file's digest in a checksum file.
pub fn find(file: &[u8], algorithm: Algorithm, place: &Place) -> Result<Checksum, ChecksumFileError> {
    let text = std::str::from_utf8(file).map_err(|_| ChecksumFileError::NotText)?;
    match place {
        Place::Bare => bare(text.trim(), algorithm),
        Place::Named(name) => named(text, algorithm, name),
    }
}

fn bare(text: &str, algorithm: Algorithm) -> Result<Checksum, ChecksumFileError> {
    let shortened = || text.chars().take(80).collect();
    algorithm.parse(text).ok_or_else(|| ChecksumFileError::NotADigest { algorithm, found: shortened() })
}

fn named(text: &str, algorithm: Algorithm, name: &str) -> Result<Checksum, ChecksumFileError> {
    let mut found = None;
    for digest in signed_text(text).lines().filter_map(|line| entry(line, name)) {
        let digest = bare(digest, algorithm)?;
        if found.is_some_and(|before| before != digest) {
            return Err(ChecksumFileError::Ambiguous { name: name.to_owned() });
        }
        found = Some(digest);
    }
    found.ok_or_else(|| ChecksumFileError::NotListed { name: name.to_owned() })
}

/// What stands before the separator in a line `HEX  NAME` (text mode) or `HEX *NAME` (binary mode) that names `name`.
fn entry<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let (digest, rest) = line.trim_end_matches('\r').split_once(' ')?;
    (rest.strip_prefix([' ', '*'])? == name).then_some(digest)
}

/// The signed part of a clear-signed text (RFC 9580, 7), else all of it; what stands around a signed part is not
/// upstream's word. Lines of hexadecimal digits are never dash-escaped.
fn signed_text(text: &str) -> &str {
    let Some((_, signed)) = text.split_once("-----BEGIN PGP SIGNED MESSAGE-----") else { return text };
    let body = signed.split_once("\n\n").or_else(|| signed.split_once("\r\n\r\n")).map_or("", |(_, body)| body);
    body.split_once("-----BEGIN PGP SIGNATURE-----").map_or("", |(body, _)| body)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const A: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    const B: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn sha256(hex: &str) -> Checksum {
        Algorithm::Sha256.parse(hex).unwrap()
    }

    #[test]
    fn agrees_with_fips_180() {
        for (algorithm, hex) in [
            (Algorithm::Sha256, A.to_owned()),
            (
                Algorithm::Sha512,
                [
                    "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a",
                    "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
                ]
                .concat(),
            ),
        ] {
            let mut hasher = algorithm.hasher();
            hasher.update(b"a");
            hasher.update(b"bc");
            let digest = hasher.finish();
            assert_eq!(digest.to_string(), format!("{algorithm}:{hex}"));
            let (mut hasher, mut told) = (algorithm.hasher(), 0);
            assert_eq!(hasher.take_all(&mut &b"abc"[..], |bytes| told += bytes).unwrap(), 3);
            assert_eq!((hasher.finish(), told), (digest, 3));
            assert_eq!(algorithm.parse(&hex), Some(digest));
        }
    }

    #[test]
    fn finds_digests_in_the_files_that_upstream_publishes() {
        let name = Place::Named("runc.amd64".into());
        let clear_signed = format!(
            "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\n{B}  libseccomp-2.5.6.tar.gz\n{A}  runc.amd64\n\
             {B}  runc.amd64.asc\n{B}  runc.arm64\n-----BEGIN PGP SIGNATURE-----\n\niQIzBAEBCgAd\n=abcd\n\
             -----END PGP SIGNATURE-----\n{B}  runc.amd64\n"
        );
        for (text, place) in [
            // dl.k8s.io: the digest alone, with and without a newline.
            (A.to_owned(), Place::Bare),
            (format!("{A}\n"), Place::Bare),
            (A.to_uppercase(), Place::Bare),
            // containerd and CNI: one line. Debian: many, text mode. Ubuntu: many, binary mode.
            (format!("{A}  runc.amd64\n"), name.clone()),
            (format!("{B}  other\n{A}  runc.amd64\n{B}  xrunc.amd64"), name.clone()),
            (format!("{B} *other\r\n{A} *runc.amd64\r\n"), name.clone()),
            (format!("{A}  runc.amd64\n{A} *runc.amd64\n"), name.clone()),
            (clear_signed, name),
        ] {
            assert_eq!(find(text.as_bytes(), Algorithm::Sha256, &place), Ok(sha256(A)), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_not_a_digest() {
        let name = Place::Named("x".into());
        let not = |found: &str| ChecksumFileError::NotADigest { algorithm: Algorithm::Sha256, found: found.into() };
        let missing = ChecksumFileError::NotListed { name: "x".into() };
        let short = &A[1..];
        for (text, place, error) in [
            (&b"\xff\xfe"[..], &Place::Bare, ChecksumFileError::NotText),
            (b"", &Place::Bare, not("")),
            (b"<html>404</html>", &Place::Bare, not("<html>404</html>")),
            (format!("+{short}").as_bytes(), &Place::Bare, not(&format!("+{short}"))),
            (format!("{A} {A}").as_bytes(), &Place::Bare, not(&format!("{A} {}", &A[..15]))),
            (b"", &name, missing.clone()),
            (A.as_bytes(), &name, missing.clone()),
            (format!("{A} x").as_bytes(), &name, missing.clone()),
            (format!("{A}  x.asc\n{A}  dir/x\n# {A}  x\n").as_bytes(), &name, missing.clone()),
            (format!("{short}  x").as_bytes(), &name, not(short)),
            (format!("{A}{A}  x").as_bytes(), &name, not(&format!("{A}{}", &A[..16]))),
            (format!("{A}  x\n{B}  x\n").as_bytes(), &name, ChecksumFileError::Ambiguous { name: "x".into() }),
            // A signature that never begins: the text was cut.
            (format!("-----BEGIN PGP SIGNED MESSAGE-----\n\n{A}  x\n").as_bytes(), &name, missing),
        ] {
            assert_eq!(find(text, Algorithm::Sha256, place), Err(error), "{}", String::from_utf8_lossy(text));
        }
    }
}
