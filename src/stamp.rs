//! What a file looks like without reading it: by that it is known for the one that was read before.
//!
//! Size, inode, modification time and change time in nanoseconds. While all four are the same nobody has written to the
//! file, since the kernel sets the change time to now at each write, truncation, rename or change of mode, and no program
//! can choose it short of setting the clock. This finds what programs do to files, but for a write in the very tick of
//! the kernel's clock (1 to 10 ms) in which the file was finished. It does not find a disk that returns other bytes than
//! were written.

use std::fmt::{self, Display, Formatter};
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::str::FromStr;

/// The looks of a file at one time. As text: a line of size, inode, and both times in seconds with nine decimals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    size: u64,
    inode: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    /// As it is now.
    pub fn of(file: &File) -> io::Result<Self> {
        let data = file.metadata()?;
        Ok(Self {
            size: data.size(),
            inode: data.ino(),
            modified: (data.mtime(), data.mtime_nsec()),
            changed: (data.ctime(), data.ctime_nsec()),
        })
    }

    /// Bytes.
    pub fn size(&self) -> u64 {
        self.size
    }
}

impl Display for Stamp {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { size, inode, modified, changed } = self;
        writeln!(f, "{size} {inode} {}.{:09} {}.{:09}", modified.0, modified.1, changed.0, changed.1)
    }
}

/// A text that is no stamp, or half of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a stamp")]
pub struct NoStamp;

impl FromStr for Stamp {
    type Err = NoStamp;

    fn from_str(text: &str) -> Result<Self, NoStamp> {
        let stamp = parse(text).ok_or(NoStamp)?;
        // Written as we write it, to its last byte.
        if stamp.to_string() == text { Ok(stamp) } else { Err(NoStamp) }
    }
}

fn parse(text: &str) -> Option<Stamp> {
    let mut words = text.split_whitespace();
    let size = words.next()?.parse().ok()?;
    let inode = words.next()?.parse().ok()?;
    let mut time = || {
        let (seconds, nanoseconds) = words.next()?.split_once('.')?;
        Some((seconds.parse().ok()?, nanoseconds.parse().ok()?))
    };
    Some(Stamp { size, inode, modified: time()?, changed: time()? })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_back_whole_or_not_at_all() {
        let file = tempfile::tempfile().unwrap();
        let stamp = Stamp::of(&file).unwrap();
        let text = stamp.to_string();
        assert_eq!(text.parse(), Ok(stamp));
        let early: Stamp = "5 7 -1.000000009 0.100000000\n".parse().unwrap();
        assert_eq!(early, Stamp { size: 5, inode: 7, modified: (-1, 9), changed: (0, 100_000_000) });
        for length in 0..text.len() {
            assert_eq!(text[..length].parse::<Stamp>(), Err(NoStamp), "{length}");
        }
        for text in ["5 7 1.9 0.100000000\n", "5 7 1.000000009 0.100000000 x\n"] {
            assert_eq!(text.parse::<Stamp>(), Err(NoStamp), "{text}");
        }
    }
}
