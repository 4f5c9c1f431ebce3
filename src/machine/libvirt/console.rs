//! A serial console over a stream of libvirt's.

use virt::connect::Connect;
use virt::error::Error as VirtError;
use virt::stream::Stream;

use super::{Result, cause, send_all};
use crate::machine::{Console, MachineError};

/// A console by a stream of libvirt's.
pub(super) struct OpenConsole {
    pub(super) stream: Stream,
    pub(super) connection: Connect,
    pub(super) uri: String,
}

impl OpenConsole {
    fn failed(&self, action: &str) -> impl FnOnce(VirtError) -> MachineError {
        let (source, action) = (cause, action.to_owned());
        move |error| {
            let source = source(&error);
            if self.connection.is_alive().unwrap_or(false) {
                MachineError::Failed { action, source }
            } else {
                MachineError::Lost { uri: self.uri.clone(), action, source }
            }
        }
    }
}

impl Console for OpenConsole {
    fn read(&self, buffer: &mut [u8]) -> Result<usize> {
        match self.stream.recv(buffer) {
            Ok(count) => Ok(usize::try_from(count).unwrap_or(0).min(buffer.len())),
            // "stream had I/O failure": the daemon has ended it, for another session or since the guest is gone.
            Err(_) if self.connection.is_alive().unwrap_or(false) => Ok(0),
            Err(error) => Err(self.failed("read from a console")(error)),
        }
    }

    fn write(&self, bytes: &[u8]) -> Result<()> {
        send_all(&self.stream, bytes).map_err(self.failed("write to a console"))
    }

    fn close(&self) {
        // One that is at its end already cannot be aborted.
        let _ = self.stream.clone().abort();
    }
}

impl Drop for OpenConsole {
    fn drop(&mut self) {
        self.close();
    }
}
