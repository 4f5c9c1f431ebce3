//! Identifiers of ISO 9660 itself, beneath the Rock Ridge names: d-characters (A-Z, 0-9, _) and short.

use std::collections::{HashMap, HashSet};

/// Longest stem; with a dot and [`MAX_EXTENSION`] it stays below the 31 characters of ECMA-119 7.5.1 and 7.6.3.
const MAX_STEM: usize = 24;
/// Longest extension of a file's identifier.
const MAX_EXTENSION: usize = 5;

/// An identifier without its version number; ordered as ECMA-119 9.3 orders records in a directory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Identifier {
    stem: String,
    extension: String,
    directory: bool,
}

impl Identifier {
    /// The bytes in a directory record or path table: `KUBELET`, `CONFIG.TOML;1`.
    pub(super) fn bytes(&self) -> Vec<u8> {
        if self.directory {
            self.stem.clone().into_bytes()
        } else {
            format!("{}.{};1", self.stem, self.extension).into_bytes()
        }
    }
}

/// Gives identifiers to the names of one directory, unique in it; the same names in the same order get the same.
#[derive(Default)]
pub(super) struct Identifiers {
    taken: HashSet<(String, String)>,
    tried: HashMap<(String, String), u64>,
}

impl Identifiers {
    /// The identifier for the next name.
    pub(super) fn assign(&mut self, name: &str, directory: bool) -> Identifier {
        let (stem, extension) = match name.rsplit_once('.') {
            Some((stem, extension)) if !directory && !stem.is_empty() => (stem, extension),
            _ => (name, ""),
        };
        let wanted = (d_characters(stem, MAX_STEM), d_characters(extension, MAX_EXTENSION));
        let mut got = wanted.clone();
        while !self.taken.insert(got.clone()) {
            let number = self.tried.entry(wanted.clone()).or_default();
            *number += 1;
            let digits = number.to_string();
            let kept = wanted.0.len().min(MAX_STEM - digits.len());
            got.0 = format!("{}{digits}", &wanted.0[..kept]);
        }
        Identifier { stem: got.0, extension: got.1, directory }
    }
}

/// `text` in upper case, everything that is no d-character replaced, cut to `longest`.
fn d_characters(text: &str, longest: usize) -> String {
    let d_character = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    text.chars().map(d_character).take(longest).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_short_plain_and_unique() {
        let mut identifiers = Identifiers::default();
        let long = "a".repeat(60);
        let cases = [
            ("kubelet", false, "KUBELET.;1"),
            ("config.toml", false, "CONFIG.TOML;1"),
            ("Config.toml", false, "CONFIG1.TOML;1"),
            ("config.toml", true, "CONFIG_TOML"),
            (".bashrc", false, "_BASHRC.;1"),
            ("kubelet", true, "KUBELET1"),
            ("a.b.service", false, "A_B.SERVI;1"),
            ("é", false, "_.;1"),
            ("ü", false, "_1.;1"),
            (&long, false, "AAAAAAAAAAAAAAAAAAAAAAAA.;1"),
            (&long, true, "AAAAAAAAAAAAAAAAAAAAAAA1"),
        ];
        for (name, directory, wanted) in cases {
            assert_eq!(String::from_utf8_lossy(&identifiers.assign(name, directory).bytes()), wanted, "{name}");
        }
    }

    #[test]
    fn order_ignores_the_version() {
        let mut identifiers = Identifiers::default();
        let mut sorted: Vec<_> = ["a.b1", "a.b", "a1.b", "a"].map(|name| identifiers.assign(name, false)).into();
        sorted.sort();
        let bytes: Vec<_> = sorted.iter().map(|id| String::from_utf8_lossy(&id.bytes()).into_owned()).collect();
        assert_eq!(bytes, ["A.;1", "A.B;1", "A.B1;1", "A1.B;1"]);
    }
}
