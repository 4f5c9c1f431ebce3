//! PEM (RFC 7468, RFC 1421) as openssl and cfssl write it: several blocks in a file, text before and between them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";
const DASHES: &str = "-----";
/// RFC 7468, 11.
const ENCRYPTED: &str = "ENCRYPTED PRIVATE KEY";

/// One block: its label, how its content is encrypted, and its DER.
#[derive(PartialEq, Eq)]
pub(super) struct Block {
    pub(super) label: String,
    pub(super) encryption: Encryption,
    /// What is encrypted in the way of RFC 1421 is not looked at.
    pub(super) der: Vec<u8>,
}

/// Whether a passphrase is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encryption {
    None,
    /// An `EncryptedPrivateKeyInfo` (RFC 5958, 3), known by its label.
    Pkcs8,
    /// `Proc-Type: 4,ENCRYPTED` (RFC 1421), with openssl's own way from passphrase to key.
    Legacy,
}

/// What is wrong with a block; counted from 1 in the file's order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PemError {
    /// A block without its END line, or with that of another block.
    #[error("PEM block {0} has no matching END line")]
    Unfinished(usize),
    /// A block that is not base64.
    #[error("PEM block {0} is not base64")]
    Base64(usize),
}

/// All blocks of a file, in its order; text outside of blocks is passed over, whatever its encoding.
pub(super) fn blocks(file: &[u8]) -> Result<Vec<Block>, PemError> {
    let text = String::from_utf8_lossy(file);
    // A byte order mark stands before the first line of what some editors save.
    let mut lines = text.trim_start_matches('\u{feff}').lines().map(str::trim);
    let mut blocks = Vec::new();
    while let Some(line) = lines.next() {
        if let Some(label) = line.strip_prefix(BEGIN).and_then(|rest| rest.strip_suffix(DASHES)) {
            blocks.push(block(label, &mut lines, blocks.len() + 1)?);
        }
    }
    Ok(blocks)
}

fn block<'a>(label: &str, lines: &mut impl Iterator<Item = &'a str>, number: usize) -> Result<Block, PemError> {
    let mut encryption = if label == ENCRYPTED { Encryption::Pkcs8 } else { Encryption::None };
    let mut base64 = String::new();
    for line in lines {
        if let Some(end) = line.strip_prefix(END) {
            if end.strip_suffix(DASHES) != Some(label) {
                return Err(PemError::Unfinished(number));
            }
            let der = if encryption == Encryption::Legacy { Vec::new() } else { decode(&base64, number)? };
            return Ok(Block { label: label.to_owned(), encryption, der });
        }
        // RFC 1421 headers; base64 has no colon.
        match line.split_once(':') {
            Some(("Proc-Type", value)) if value.contains("ENCRYPTED") => encryption = Encryption::Legacy,
            Some(_) => {}
            None => base64.push_str(line),
        }
    }
    Err(PemError::Unfinished(number))
}

fn decode(base64: &str, number: usize) -> Result<Vec<u8>, PemError> {
    STANDARD.decode(base64).map_err(|_| PemError::Base64(number))
}

/// One block in 64 columns, with a line feed at its end, as openssl writes it.
pub(super) fn encode(label: &str, der: &[u8]) -> String {
    let base64 = STANDARD.encode(der);
    let mut pem = format!("{BEGIN}{label}{DASHES}\n");
    for column in (0..base64.len()).step_by(64) {
        pem.push_str(&base64[column..base64.len().min(column + 64)]);
        pem.push('\n');
    }
    pem + &format!("{END}{label}{DASHES}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(file: &[u8]) -> Result<Vec<(String, Encryption, Vec<u8>)>, PemError> {
        Ok(blocks(file)?.into_iter().map(|block| (block.label, block.encryption, block.der)).collect())
    }

    #[test]
    fn reads_what_stands_between_the_lines() {
        let with = |label: &str, encryption, der: &[u8]| Ok(vec![(label.to_owned(), encryption, der.to_vec())]);
        let one = |label, der| with(label, Encryption::None, der);
        let cases: &[(&[u8], Result<_, _>)] = &[
            (b"", Ok(vec![])),
            (b"no block here\n", Ok(vec![])),
            (b"-----BEGIN A-----\nYWJj\n-----END A-----", one("A", b"abc")),
            (b"\xef\xbb\xbf-----BEGIN A B-----\r\nYW\r\nJj\r\n-----END A B-----\r\n", one("A B", b"abc")),
            (b"Certificate:\n \xff Data\n-----BEGIN A-----\n\nYWJj\n-----END A-----\n", one("A", b"abc")),
            (
                b"-----BEGIN A-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\n!!\n-----END A-----\n",
                with("A", Encryption::Legacy, b""),
            ),
            (
                b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nYWJj\n-----END ENCRYPTED PRIVATE KEY-----\n",
                with("ENCRYPTED PRIVATE KEY", Encryption::Pkcs8, b"abc"),
            ),
            (b"-----BEGIN A-----\nYWJj\n", Err(PemError::Unfinished(1))),
            (b"-----BEGIN A-----\nYWJj\n-----END B-----\n", Err(PemError::Unfinished(1))),
            (
                b"-----BEGIN A-----\nYWJj\n-----END A-----\n-----BEGIN B-----\nYW J\n-----END B-----\n",
                Err(PemError::Base64(2)),
            ),
            (b"-----BEGIN A-----\nYWJ\n-----END A-----\n", Err(PemError::Base64(1))),
        ];
        for (file, wanted) in cases {
            assert_eq!(&summary(file), wanted, "{}", String::from_utf8_lossy(file));
        }
    }

    #[test]
    fn writes_64_columns() {
        let der: Vec<u8> = (0..50).collect();
        let wanted = "-----BEGIN CERTIFICATE-----\n\
            AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4v\n\
            MDE=\n\
            -----END CERTIFICATE-----\n";
        assert_eq!(encode("CERTIFICATE", &der), wanted);
        assert_eq!(summary(wanted.as_bytes()), Ok(vec![("CERTIFICATE".to_owned(), Encryption::None, der)]));
        assert_eq!(encode("A", &[0; 48]).lines().count(), 3);
    }
}
