//! Who holds a lock (flock(2)) that one would like to have.

use std::fs::File;
use std::os::unix::fs::MetadataExt as _;

/// The process that holds an exclusive lock on an open file: its number, and its command line where that can be read. From
/// `/proc/locks` (`proc_locks(5)`); none where the kernel does not tell, as of a process in another PID namespace.
pub(super) fn of(file: &File) -> Option<String> {
    let found = file.metadata().ok()?;
    let process = find(&std::fs::read_to_string("/proc/locks").ok()?, found.dev(), found.ino())?;
    let command = std::fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
    let words: Vec<_> = command.split(|byte| *byte == 0).map(String::from_utf8_lossy).collect();
    let command = crate::printable::line(words.join(" ").trim());
    Some(if command.is_empty() { format!("process {process}") } else { format!("process {process}: {command}") })
}

/// The process of the line `7: FLOCK  ADVISORY  WRITE 1234 fd:00:5678 0 EOF` of a device and inode.
fn find(locks: &str, device: u64, inode: u64) -> Option<u32> {
    let place = format!("{:02x}:{:02x}:{inode}", rustix::fs::major(device), rustix::fs::minor(device));
    locks.lines().find_map(|line| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        // One that waits for a lock has an arrow before its kind.
        let is_lock = fields.next()? == "FLOCK" && fields.next().is_some() && fields.next()? == "WRITE";
        let process = fields.next()?.parse().ok().filter(|process| *process > 0)?;
        (is_lock && fields.next()? == place).then_some(process)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_is_told_and_nobody_else() {
        let locks = "1: POSIX  ADVISORY  WRITE 7 fd:01:99 0 EOF\n\
                     2: FLOCK  ADVISORY  READ  8 fd:01:99 0 EOF\n\
                     3: FLOCK  ADVISORY  WRITE 9 fd:01:98 0 EOF\n\
                     4: FLOCK  ADVISORY  WRITE -1 fd:01:99 0 EOF\n\
                     5: FLOCK  ADVISORY  WRITE 10 fd:01:99 0 EOF\n\
                     5: -> FLOCK  ADVISORY  WRITE 11 fd:01:99 0 EOF\n";
        let device = rustix::fs::makedev(0xfd, 1);
        let found = [99, 98, 97].map(|inode| find(locks, device, inode));
        assert_eq!(found, [Some(10), Some(9), None]);
        assert_eq!(find("", device, 99), None);
    }
}
