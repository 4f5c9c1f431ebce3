//! A wire between the program and libvirtd that sees each call of libvirt's RPC protocol (<https://libvirt.org/kbase/internals/rpc.html>:
//! length, program, version, procedure, type, serial and status, each a big-endian word), and where the program can be
//! killed or the line be cut.

use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// libvirt's own program, and the type of a message that is a call.
const REMOTE: u32 = 0x2000_8086;
const CALL: u32 = 0;

/// What becomes of the program at a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is killed and the daemon never hears of the call.
    KilledBefore,
    /// It is killed when the daemon has answered, and never hears the answer.
    KilledAfter,
    /// The line is cut, and the daemon never hears of the call.
    CutBefore,
    /// The line is cut when the daemon has answered.
    CutAfter,
}

/// A procedure of libvirt's RPC protocol that changes something.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Procedure(u32);

#[derive(Default)]
struct Line {
    /// Calls that change something, since the last [`Wire::begin`].
    calls: Vec<Procedure>,
    due: Option<(usize, Fate)>,
    victim: Option<u32>,
}

impl Fate {
    pub(crate) const ALL: [Self; 4] = [Self::KilledBefore, Self::KilledAfter, Self::CutBefore, Self::CutAfter];
}

/// The wire; it stands for the daemon's own socket.
pub(crate) struct Wire {
    pub(crate) uri: String,
    line: Arc<Mutex<Line>>,
}

impl Wire {
    pub(crate) fn new(daemon: &Path) -> Self {
        let socket = daemon.with_file_name("wire");
        let listener = UnixListener::bind(&socket).unwrap();
        let line = Arc::new(Mutex::new(Line::default()));
        let (shared, daemon) = (Arc::clone(&line), daemon.to_owned());
        std::thread::spawn(move || {
            for client in listener.incoming() {
                connect(client.unwrap(), &daemon, &shared);
            }
        });
        Self { uri: format!("qemu+unix:///system?socket={}", socket.display()), line }
    }

    /// From now on calls are counted anew; one of them may be the last of the process `victim`.
    pub(crate) fn begin(&self, victim: u32, due: Option<(usize, Fate)>) {
        *self.line.lock().unwrap() = Line { calls: Vec::new(), due, victim: Some(victim) };
    }

    /// The calls since then.
    pub(crate) fn calls(&self) -> Vec<Procedure> {
        self.line.lock().unwrap().calls.clone()
    }
}

fn connect(client: UnixStream, daemon: &PathBuf, line: &Arc<Mutex<Line>>) {
    // A daemon that is restarted is not there for a moment.
    let Ok(server) = UnixStream::connect(daemon) else { return };
    // Serial of the call whose answer is the last thing that comes back.
    let last: Arc<Mutex<Option<(u32, Fate)>>> = Arc::default();
    let (mut from_client, mut to_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    let (shared, awaited) = (Arc::clone(line), Arc::clone(&last));
    std::thread::spawn(move || {
        while let Some(message) = receive(&mut from_client) {
            let due = shared.lock().unwrap().note(&message);
            match due {
                Some(fate @ (Fate::KilledBefore | Fate::CutBefore)) => {
                    end(&shared, fate);
                    break;
                }
                Some(fate) => *awaited.lock().unwrap() = Some((word(&message, 5), fate)),
                None => {}
            }
            if to_server.write_all(&message).is_err() {
                break;
            }
        }
        let _ = from_client.shutdown(Shutdown::Both);
        let _ = to_server.shutdown(Shutdown::Both);
    });
    let (mut to_client, mut from_server, shared) = (client, server, Arc::clone(line));
    std::thread::spawn(move || {
        while let Some(message) = receive(&mut from_server) {
            let due = last.lock().unwrap().filter(|(serial, _)| *serial == word(&message, 5));
            if let Some((_, fate)) = due {
                end(&shared, fate);
                break;
            }
            if to_client.write_all(&message).is_err() {
                break;
            }
        }
        let _ = to_client.shutdown(Shutdown::Both);
        let _ = from_server.shutdown(Shutdown::Both);
    });
}

fn end(line: &Mutex<Line>, fate: Fate) {
    if matches!(fate, Fate::KilledBefore | Fate::KilledAfter) {
        let victim = nix::unistd::Pid::from_raw(line.lock().unwrap().victim.unwrap().try_into().unwrap());
        let _ = nix::sys::signal::kill(victim, nix::sys::signal::Signal::SIGKILL);
    }
}

impl Line {
    /// Counts a call; gives what becomes of the program at it.
    fn note(&mut self, message: &[u8]) -> Option<Fate> {
        let is_call = word(message, 1) == REMOTE && word(message, 4) == CALL;
        let procedure = Procedure(word(message, 3));
        if !is_call || !procedure.changes() {
            return None;
        }
        self.calls.push(procedure);
        let number = self.calls.len() - 1;
        let (at, fate) = self.due?;
        (at == number).then(|| self.due = None).map(|()| fate)
    }
}

impl Procedure {
    /// Whether it is one of those that change something, as far as the program uses them.
    fn changes(self) -> bool {
        CHANGES.iter().any(|(number, _)| *number == self.0)
    }
}

impl std::fmt::Debug for Procedure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = CHANGES.iter().find(|(number, _)| *number == self.0).map_or("?", |(_, name)| name);
        f.write_str(name)
    }
}

/// Numbers of libvirt's `remote_protocol.x`, which never change.
const CHANGES: [(u32, &str); 22] = [
    (9, "domain create"),
    (12, "domain destroy"),
    (28, "domain resume"),
    (29, "domain autostart"),
    (33, "domain shutdown"),
    (35, "domain undefine"),
    (39, "network create"),
    (41, "network define"),
    (48, "network autostart"),
    (77, "pool define"),
    (78, "pool create"),
    (79, "pool build"),
    (90, "pool autostart"),
    (93, "volume create"),
    (94, "volume delete"),
    (165, "volume wipe"),
    (174, "domain update device"),
    (208, "volume upload"),
    (231, "domain undefine with flags"),
    (264, "domain metadata"),
    (350, "domain define"),
    (358, "domain rename"),
];

/// A word of a message's head.
fn word(message: &[u8], number: usize) -> u32 {
    u32::from_be_bytes(message[4 * number..4 * number + 4].try_into().unwrap())
}

/// A whole message; none at the end.
fn receive(stream: &mut UnixStream) -> Option<Vec<u8>> {
    let mut message = vec![0; 4];
    stream.read_exact(&mut message).ok()?;
    let length = usize::try_from(word(&message, 0)).unwrap();
    message.resize(length, 0);
    stream.read_exact(&mut message[4..]).ok()?;
    Some(message)
}
