//! The program in a terminal of the test's own.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, Stdio};
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
        Self::of(world.command(&[]), arguments)
    }

    /// The same of a command that is to run elsewhere.
    pub(crate) fn of(mut command: Command, arguments: &[&str]) -> Self {
        let pty = openpty(None, None).unwrap();
        let stdio = || Stdio::from(pty.slave.try_clone().unwrap());
        let child = command.args(arguments).stdin(stdio()).stdout(stdio()).stderr(stdio()).spawn().unwrap();
        let keys = File::from(pty.master);
        let mut screen = keys.try_clone().unwrap();
        let (show, shown) = channel();
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            loop {
                match screen.read(&mut bytes) {
                    Ok(0) => return,
                    Ok(count) => drop(show.send(bytes[..count].to_vec())),
                    Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                    Err(_) => return,
                }
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
            let more = more.unwrap_or_else(|end| panic!("no {text:?} in {:?}: {end}; {}", self.screen, self.threads()));
            self.screen.push_str(&String::from_utf8(more).unwrap());
        }
    }

    /// What each thread of the program waits for in the kernel.
    fn threads(&self) -> String {
        let tasks = format!("/proc/{}/task", self.child.id());
        let tasks = std::fs::read_dir(tasks).into_iter().flatten().filter_map(Result::ok);
        let of = |path: std::path::PathBuf| {
            let read = |name| std::fs::read_to_string(path.join(name)).unwrap_or_default();
            format!("{} {} {}", read("comm").trim(), read("wchan"), read("syscall").trim())
        };
        tasks.map(|task| of(task.path())).collect::<Vec<_>>().join("; ")
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
