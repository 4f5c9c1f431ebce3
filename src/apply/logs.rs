//! The logs of a machine: read while they are written, and kept when it is started again.

use super::Apply;
use crate::config::NodeName;
use crate::machine::mark::LogKind;
use crate::machine::{Hypervisor, MachineError, VolumeName};
use crate::plan::log_pool;

/// Most bytes of a log that are kept of the run before. virtlogd sets a file aside at 2 MiB (`max_size` in virtlogd.conf):
/// what is larger than this was written past it (`stdio_handler = "file"` in qemu.conf), and is not copied.
const KEEP_LIMIT: u64 = 16 << 20;

/// Most bytes that one look at a log reads.
const READ_LIMIT: usize = 256 * 1024;

/// How far a log was read that is still written.
#[derive(Debug, Clone, Copy, Default)]
pub struct LogReader {
    /// Bytes read so far, or passed over.
    offset: u64,
}

impl LogReader {
    /// Reads from `offset` bytes on.
    pub fn from(offset: u64) -> Self {
        Self { offset }
    }

    /// What was written to the log since the last look, at most 256 KiB of it. A file that was set aside or begun anew is
    /// read from its beginning.
    pub fn read(&mut self, hypervisor: &dyn Hypervisor, pool: &str, log: &VolumeName) -> Result<Vec<u8>, MachineError> {
        let mut bytes = hypervisor.read_volume(pool, log, self.offset, READ_LIMIT)?;
        // A file that has merely not grown still has the byte before.
        let is_new = |last: u64| Ok(hypervisor.read_volume(pool, log, last, 1)?.is_empty());
        if bytes.is_empty() && self.offset > 0 && is_new(self.offset - 1)? {
            self.offset = 0;
            bytes = hypervisor.read_volume(pool, log, 0, READ_LIMIT)?;
        }
        self.offset += bytes.len() as u64;
        Ok(bytes)
    }
}

impl Apply<'_> {
    /// Keeps what the machine's last run wrote, before it is started and its logs begin anew. Whatever fails at that is
    /// told, and keeps no machine down.
    pub(super) fn keep_logs(&self, node: &NodeName, pool: &str) {
        let pool = log_pool(pool);
        if !self.is_off(self.id.uuid(node)) {
            return;
        }
        if let Err(error) = self.copy_logs(node, &pool) {
            let why = crate::error::chain(&error);
            self.progress.warn_of(node, &format!("{node}: what its machine told the last time is not kept: {why}"));
        }
    }

    /// The hypervisor copies. Both logs are of one run: where that wrote one of them alone, the other is kept of none. A run
    /// that wrote nothing, as where QEMU did not even start, takes the place of none.
    fn copy_logs(&self, node: &NodeName, pool: &str) -> Result<(), MachineError> {
        if !self.hypervisor.pool(pool)?.is_some_and(|pool| pool.active) {
            return Ok(());
        }
        self.hypervisor.refresh_pool(pool)?;
        let volumes = self.hypervisor.volumes(pool)?;
        let size =
            |name: &VolumeName| volumes.iter().find(|info| info.ours().as_ref() == Some(name)).map(|i| i.capacity);
        let logs = [LogKind::FirstBoot, LogKind::Console].map(|kind| {
            let log = VolumeName::log(self.id, node, kind);
            (size(&log).unwrap_or(0), log, VolumeName::previous_log(self.id, node, kind))
        });
        if logs.iter().all(|(bytes, ..)| *bytes == 0) {
            return Ok(());
        }
        for (bytes, log, kept) in &logs {
            if size(kept).is_some() {
                self.hypervisor.delete_volume(pool, kept)?;
            }
            match bytes {
                0 => {}
                1..=KEEP_LIMIT => self.hypervisor.flatten(pool, log, kept).map(drop)?,
                _ => self.progress.warn(&format!("{log} is not kept: it has {bytes} bytes, more than virtlogd leaves")),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::config::ClusterId;
    use crate::digest::Digest;
    use crate::machine::memory::Memory;
    use crate::machine::{PoolSpec, VolumeFormat, VolumeInfo};

    #[test]
    fn a_log_is_read_as_it_grows_and_when_it_begins_anew() {
        let host = Memory::new();
        host.create_pool(&PoolSpec { name: "logs".to_owned(), path: "/logs".to_owned() }).unwrap();
        let id = ClusterId { name: "seed".parse().unwrap(), ca: Digest::of(b"ca") };
        let name = VolumeName::log(&id, &"n".parse().unwrap(), LogKind::Console);
        let holds = |text: &str| {
            let (format, size) = (VolumeFormat::Raw, text.len() as u64);
            let (path, backing) = (format!("/logs/{name}"), None);
            let info = VolumeInfo { name: name.to_string(), path, capacity: size, allocation: size, format, backing };
            host.put_volume("logs", info, text.as_bytes());
        };
        let mut reader = LogReader::default();
        for (text, news) in [
            ("", ""),
            ("one", "one"),
            ("one", ""),
            ("one two", " two"),
            ("3", "3"),
            ("3", ""),
            ("", ""),
            ("four", "four"),
        ] {
            holds(text);
            assert_eq!(String::from_utf8(reader.read(&host, "logs", &name).unwrap()).unwrap(), news, "{text:?}");
        }
    }
}
