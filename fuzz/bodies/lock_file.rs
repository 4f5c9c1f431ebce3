//! A lock file: reading it does not panic, and what is read is written and read again as the same.

use std::path::Path;

use nodebake::artifacts::Lock;

pub(crate) fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let path = Path::new("nodebake.lock");
    match Lock::parse(text, path) {
        Ok(lock) => {
            let written = lock.text(path).expect("what was read can be written");
            let again = Lock::parse(&written, path).unwrap_or_else(|error| panic!("{error:?} in\n{written}"));
            assert_eq!(again, lock);
            assert_eq!(again.text(path).expect("the same"), written);
        }
        Err(error) => {
            let _ = (nodebake::error::chain(&error), error.hint());
        }
    }
}
