//! The terminal of the one who called, taken over for a session.

use std::io::{self, IsTerminal as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};

use crate::secret::Secret;

const CTRL_C: u8 = 3;
const CTRL_D: u8 = 4;
const BACKSPACE: u8 = 8;
const CTRL_U: u8 = 21;
const DELETE: u8 = 127;

/// Takes the last character away, all of its bytes in UTF-8.
fn erase(line: &mut Vec<u8>) {
    while line.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {}
}

/// The terminal that is taken over, and as it was: a program that is ended by a signal gives it back.
static TAKEN: Mutex<Option<(OwnedFd, Termios)>> = Mutex::new(None);

fn taken() -> MutexGuard<'static, Option<(OwnedFd, Termios)>> {
    TAKEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes a terminal that is taken over what it was. From then on none is taken over any more: whoever tries waits for the
/// end of the program.
pub fn give_back_for_good() {
    let mut taken = taken();
    restore(&mut taken);
    std::mem::forget(taken);
}

fn restore(taken: &mut Option<(OwnedFd, Termios)>) {
    if let Some((terminal, before)) = taken.take() {
        // A terminal that is gone needs nothing more.
        let _ = tcsetattr(terminal, OptionalActions::Now, &before);
    }
}

/// Standard input as a terminal that gives every key as it is pressed, Ctrl-C too, and shows none by itself. Dropping it,
/// also while a panic unwinds, makes the terminal what it was.
#[derive(Debug)]
pub struct RawTerminal {
    terminal: OwnedFd,
}

impl RawTerminal {
    /// Takes the terminal over; `None` where standard input is none.
    pub fn take() -> io::Result<Option<Self>> {
        let stdin = io::stdin();
        if !stdin.is_terminal() {
            return Ok(None);
        }
        let terminal = stdin.as_fd().try_clone_to_owned()?;
        let before = tcgetattr(&terminal)?;
        let mut raw = before.clone();
        raw.make_raw();
        let known = terminal.try_clone()?;
        let mut taken = taken();
        tcsetattr(&terminal, OptionalActions::Now, &raw)?;
        *taken = Some((known, before));
        drop(taken);
        Ok(Some(Self { terminal }))
    }

    /// A line that nobody sees, as it is typed up to Enter. Backspace and Ctrl-U work; Ctrl-C is an error, since it ends
    /// nothing here.
    pub fn line(&self) -> io::Result<Secret> {
        let mut line = Vec::new();
        let mut key = [0];
        while rustix::io::read(&self.terminal, &mut key)? == 1 {
            match key[0] {
                b'\r' | b'\n' => return Ok(Secret::new(line)),
                CTRL_C => return Err(io::Error::new(io::ErrorKind::Interrupted, "given up")),
                CTRL_D if line.is_empty() => break,
                CTRL_U => line.clear(),
                BACKSPACE | DELETE => erase(&mut line),
                byte => line.push(byte),
            }
        }
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        restore(&mut taken());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_character_is_erased_whole() {
        for (line, wanted) in [("", ""), ("a", ""), ("ab", "a"), ("aä", "a"), ("€", ""), ("ä€a", "ä€")] {
            let mut bytes = line.as_bytes().to_vec();
            erase(&mut bytes);
            assert_eq!(bytes, wanted.as_bytes(), "{line}");
        }
    }
}
