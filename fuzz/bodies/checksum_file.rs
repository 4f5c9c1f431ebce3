//! A checksum file: a digest that is found stands there, on its own or in a line of its own with the file's name.

use nodebake::artifacts::Algorithm;
use nodebake::artifacts::checksum::{Place, find};

const NAME: &str = "runc.amd64";

pub(crate) fn run(bytes: &[u8]) {
    for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
        if let Ok(digest) = find(bytes, algorithm, &Place::Bare) {
            let text = std::str::from_utf8(bytes).expect("only text is read");
            assert_eq!((digest.algorithm(), digest.hex()), (algorithm, text.trim().to_lowercase()));
        }
        match find(bytes, algorithm, &Place::Named(NAME.to_owned())) {
            Ok(digest) => {
                let text = std::str::from_utf8(bytes).expect("only text is read");
                let lines = text.lines().map(|line| line.trim_end_matches('\r').to_lowercase());
                let wanted = [" ", "*"].map(|mark| format!("{} {mark}{NAME}", digest.hex()));
                assert!(lines.into_iter().any(|line| wanted.contains(&line)), "{digest}");
            }
            Err(error) => drop(error.to_string()),
        }
    }
}
