//! The release that the stand-in says it is. `lab build` makes a second one of the same program, for an upgrade: with another
//! release appended to the executable, where the loader does not look.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::sync::OnceLock;

use crate::KUBERNETES_VERSION;

/// What stands before the appended release, which ends with the file.
const MARK: &str = "\nnodebake-lab-kubelet ";
/// Longer than any mark with its release.
const TAIL: u64 = 64;

/// The appended release, or the one that is imitated.
#[must_use]
pub fn version() -> &'static str {
    static VERSION: OnceLock<String> = OnceLock::new();
    VERSION.get_or_init(|| appended(Path::new("/proc/self/exe")).unwrap_or_else(|| KUBERNETES_VERSION.to_owned()))
}

fn appended(program: &Path) -> Option<String> {
    let mut file = File::open(program).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL))).ok()?;
    let mut tail = Vec::new();
    file.read_to_end(&mut tail).ok()?;
    let tail = String::from_utf8_lossy(&tail);
    let (_, version) = tail.trim_end().rsplit_once(MARK)?;
    Some(version.to_owned())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_release_that_is_appended_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kubelet");
        for (text, wanted) in [
            (format!("{}{MARK}v1.35.0\n", "a program\n".repeat(100)), Some("v1.35.0")),
            (format!("short{MARK}v1.34.10\n"), Some("v1.34.10")),
            ("a program\n".repeat(100), None),
            (String::new(), None),
        ] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(appended(&path).as_deref(), wanted);
        }
    }
}
