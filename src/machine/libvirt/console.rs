//! A serial console over a stream of libvirt's.
//!
//! A session has a connection of its own, and nothing but the console goes through it. When another session takes the console
//! over, one thread of the daemon takes the stream away while another one looks whether what comes in through that connection
//! belongs to the stream. A call that comes at that moment may be dropped with it, and is never answered: libvirt's
//! `daemonStreamFilter` (`src/remote/remote_daemon_stream.c`; seen with 11.3, within 2000 such ends).

use std::sync::mpsc::{SyncSender, sync_channel};

use uuid::Uuid;
use virt::connect::Connect;
use virt::error::{Error as VirtError, ErrorNumber};
use virt::stream::Stream;
use virt::sys;

use super::{Libvirt, Result, cause, send_all};
use crate::machine::{Console, MachineError};

/// A console by a stream of libvirt's.
pub(super) struct OpenConsole {
    stream: Stream,
    connection: Connect,
    uri: String,
    /// The last to go.
    _farewell: Farewell,
}

impl OpenConsole {
    /// A session through a connection that serves nothing else.
    pub(super) fn begin(own: Libvirt, uuid: Uuid, take_over: bool) -> Result<Self> {
        let domain = own.ours(uuid)?;
        let name = domain.name().map_err(own.failed("name a domain"))?;
        let failed = || own.failed(format!("open the console of domain {name:?}"));
        let stream = Stream::new(&own.connection, 0).map_err(failed())?;
        let flags = sys::VIR_DOMAIN_CONSOLE_SAFE | if take_over { sys::VIR_DOMAIN_CONSOLE_FORCE } else { 0 };
        match domain.open_console(None, &stream, flags) {
            Ok(()) => {
                let farewell = Farewell::of(stream.clone(), own.connection.clone());
                Ok(Self { stream, connection: own.connection, uri: own.uri, _farewell: farewell })
            }
            Err(_) if !Libvirt::state(&domain).map_err(failed())?.is_active() => Err(MachineError::Inactive { name }),
            // QEMU's driver has this code for nothing else here.
            Err(error) if error.code().is(ErrorNumber::OperationFailed) => Err(MachineError::ConsoleTaken { name }),
            Err(error) => Err(failed()(error)),
        }
    }

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

/// Closes a connection once this is dropped, in a thread of its own: the daemon is asked to close it, and may not answer.
struct Farewell(#[expect(dead_code, reason = "its end is what counts")] SyncSender<()>);

impl Farewell {
    fn of(stream: Stream, connection: Connect) -> Self {
        let (stays, ends) = sync_channel(0);
        std::thread::spawn(move || {
            let _ = ends.recv();
            drop((stream, connection));
        });
        Self(stays)
    }
}
