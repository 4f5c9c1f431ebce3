//! The serial console of a running machine.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::MachineError;

/// A machine's serial console, open. Reading and writing go on side by side, each in a thread of its own. Dropping it
/// closes it.
pub trait Console: Send + Sync {
    /// Waits until the guest says something, and puts it into `buffer`; gives the number of bytes. 0 is the end: the machine
    /// is off, another session has taken the console over, or this one was closed.
    fn read(&self, buffer: &mut [u8]) -> Result<usize, MachineError>;
    /// Gives all of `bytes` to the guest; waits while it takes none.
    fn write(&self, bytes: &[u8]) -> Result<(), MachineError>;
    /// Ends the session. Whoever waits in `read` comes back.
    fn close(&self);
}

/// The console of a guest in memory, which says whatever it is told.
#[derive(Debug, Default)]
pub(super) struct Echo {
    line: Mutex<Line>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Line {
    said: VecDeque<u8>,
    closed: bool,
}

impl Echo {
    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn hang_up(&self) {
        self.line().closed = true;
        self.changed.notify_all();
    }

    pub(super) fn is_open(&self) -> bool {
        !self.line().closed
    }
}

/// A session on such a console.
#[derive(Debug)]
pub(super) struct EchoSession(pub(super) Arc<Echo>);

impl Console for EchoSession {
    fn read(&self, buffer: &mut [u8]) -> Result<usize, MachineError> {
        let waiting = |line: &mut Line| line.said.is_empty() && !line.closed;
        let line = self.0.changed.wait_while(self.0.line(), waiting);
        let mut line = line.unwrap_or_else(PoisonError::into_inner);
        let count = if line.closed { 0 } else { line.said.len().min(buffer.len()) };
        for (place, byte) in buffer.iter_mut().zip(line.said.drain(..count)) {
            *place = byte;
        }
        Ok(count)
    }

    fn write(&self, bytes: &[u8]) -> Result<(), MachineError> {
        self.0.line().said.extend(bytes);
        self.0.changed.notify_all();
        Ok(())
    }

    fn close(&self) {
        self.0.hang_up();
    }
}

impl Drop for EchoSession {
    fn drop(&mut self) {
        self.close();
    }
}
