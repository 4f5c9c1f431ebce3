//! The program in a terminal of the test's own.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use nix::pty::openpty;
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{LocalFlags, tcgetattr};
use nix::unistd::Pid;

use crate::world::World;

/// A run at a terminal, and what it shows there.
pub(crate) struct Sitting {
    child: Child,
    keys: File,
    terminal: OwnedFd,
    shown: Receiver<Vec<u8>>,
    /// What was shown and not yet looked at.
    screen: String,
}

impl Sitting {
    pub(crate) fn start(world: &World, arguments: &[&str]) -> Self {
        let pty = openpty(None, None).unwrap();
        let stdio = || Stdio::from(pty.slave.try_clone().unwrap());
        let mut command = world.command(&[]);
        let child = command.args(arguments).stdin(stdio()).stdout(stdio()).stderr(stdio()).spawn().unwrap();
        let keys = File::from(pty.master);
        let mut screen = keys.try_clone().unwrap();
        let (show, shown) = channel();
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = screen.read(&mut bytes) {
                let _ = show.send(bytes[..count].to_vec());
            }
        });
        Self { child, keys, terminal: pty.slave, shown, screen: String::new() }
    }

    /// Everything shown up to a text, which must come.
    pub(crate) fn until(&mut self, text: &str) -> String {
        loop {
            if let Some(at) = self.screen.find(text) {
                return self.screen.drain(..at + text.len()).collect();
            }
            let more = self.shown.recv_timeout(Duration::from_mins(1));
            let more = more.unwrap_or_else(|_| panic!("no {text:?} in {:?}", self.screen));
            self.screen.push_str(&String::from_utf8(more).unwrap());
        }
    }

    pub(crate) fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    /// Whether the terminal hands over each key as it is, and shows none by itself.
    pub(crate) fn is_raw(&self) -> bool {
        let flags = tcgetattr(&self.terminal).unwrap().local_flags;
        !flags.intersects(LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ISIG)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
    }

    /// Exit code, or the signal that ended it as a negative number, and whether the terminal is raw now.
    pub(crate) fn end(&mut self) -> (i32, bool) {
        let status = self.child.wait().unwrap();
        (status.code().unwrap_or_else(|| -status.signal().unwrap()), self.is_raw())
    }
}
