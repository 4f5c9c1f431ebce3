//! `nodebake console`: a machine's serial console, in the terminal of the one who calls.

use std::convert::Infallible;
use std::io::Read as _;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;

use super::Session;
use super::fleet::Fleet;
use crate::cli;
use crate::config::NodeName;
use crate::error::Error;
use crate::machine::{Console, Hypervisor, MachineError};
use crate::plan;
use crate::terminal::RawTerminal;

/// The key that leaves: Ctrl-], as with virsh and telnet.
const LEAVE: u8 = 0x1d;

/// Bytes that are read at once, of the guest and of the keyboard.
const BLOCK: usize = 4096;

/// Blocks of the guest that may wait for a slow terminal; the guest's console waits behind them.
const WAITING: usize = 16;

/// Blocks of the keyboard that may wait for a guest that does not listen; what is typed beyond is dropped, as a terminal
/// does it.
const UNHEARD: usize = 64;

/// How long a guest is waited for that does not listen, when the user leaves.
const HEARD_LIMIT: Duration = Duration::from_secs(1);

/// A machine's console ends a moment before libvirt tells that the machine is off.
const OFF_LIMIT: Duration = Duration::from_secs(5);

pub(super) fn run(session: &Session, args: &cli::Console) -> Result<(), Error> {
    let node = &args.node;
    let fleet = Fleet::open(session)?;
    let hypervisor = &fleet.of(session, node)?.hypervisor;
    let id = session.cluster_id()?;
    let uuid = id.uuid(node);
    let domain = hypervisor.domain(uuid)?;
    if domain.is_none() {
        session.nodes(std::slice::from_ref(node))?;
    }
    plan::own(&id, node, domain.as_ref())?;
    if !std::io::IsTerminal::is_terminal(&std::io::stdin()) {
        return Err(Error::NoTerminal);
    }
    let console: Arc<dyn Console> = hypervisor.console(uuid, args.force)?.into();
    match sit_at(session, node, &console)? {
        End::Left => session.ui.say(&format!("\nleft the console of {node}")),
        End::Signal(signal) => {
            // As if it had not been caught: whoever sent it sees that it did its work.
            signal_hook::low_level::emulate_default_handler(signal).map_err(Error::Terminal)?;
        }
        End::Closed if is_off(&**hypervisor, uuid)? => session.ui.say(&format!("\n{node}: its machine went off")),
        End::Closed => return Err(Error::ConsoleClosed { node: node.clone() }),
    }
    Ok(())
}

/// How a session ended.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// The user left, or has no terminal any more.
    Left,
    /// The console is at its end.
    Closed,
    /// This program was told to end.
    Signal(i32),
}

/// What happens in a session.
enum Event {
    Typed(Vec<u8>),
    NoMoreTyped,
    Said(Vec<u8>),
    Closed(Result<(), MachineError>),
    Signal(i32),
}

/// The session, with the terminal as it was at the end of it, however it ends.
fn sit_at(session: &Session, node: &NodeName, console: &Arc<dyn Console>) -> Result<End, Error> {
    let (happens, events) = sync_channel(WAITING);
    // Before the terminal is taken over: a signal must find somebody who gives it back.
    watch_signals(happens.clone())?;
    let terminal = RawTerminal::take().map_err(Error::Terminal)?.ok_or(Error::NoTerminal)?;
    // Only now is every key for the guest; and a line ends as a raw terminal needs it.
    session.ui.say(&format!("the console of {node}: Ctrl-] leaves, Enter brings a prompt\r"));
    listen(console.clone(), happens.clone());
    read_keys(happens);
    let (guest, heard) = speak(console.clone());
    let end = converse(&guest, &events, |bytes| session.ui.raw(bytes));
    drop(guest);
    if matches!(end, Ok(End::Left)) {
        // What was typed before the key that leaves is still for the guest. Nothing is ever sent here: it is the end.
        let _ = heard.recv_timeout(HEARD_LIMIT);
        // The daemon answers this when it has taken in all that was sent before.
        console.close();
    }
    drop(terminal);
    Ok(end?)
}

/// Carries what is typed to the guest and what it says to `show`, until the session ends.
fn converse(
    guest: &SyncSender<Vec<u8>>,
    events: &Receiver<Event>,
    mut show: impl FnMut(&[u8]),
) -> Result<End, MachineError> {
    while let Ok(event) = events.recv() {
        match event {
            Event::Typed(bytes) => {
                let leaves = bytes.iter().position(|byte| *byte == LEAVE);
                let bytes = &bytes[..leaves.unwrap_or(bytes.len())];
                // Who no longer takes anything has a reason, which `Closed` will tell.
                if guest.try_send(bytes.to_vec()).is_err() {
                    tracing::debug!("the guest does not listen");
                }
                if leaves.is_some() {
                    return Ok(End::Left);
                }
            }
            Event::Said(bytes) => show(&bytes),
            Event::Closed(result) => return result.map(|()| End::Closed),
            Event::NoMoreTyped => break,
            Event::Signal(signal) => return Ok(End::Signal(signal)),
        }
    }
    Ok(End::Left)
}

// Each of these threads waits for something that need not come before the program ends; none is waited for.

fn watch_signals(happens: SyncSender<Event>) -> Result<(), Error> {
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGQUIT, SIGTERM]).map_err(Error::Terminal)?;
    std::thread::spawn(move || signals.forever().try_for_each(|signal| happens.send(Event::Signal(signal))));
    Ok(())
}

fn read_keys(happens: SyncSender<Event>) {
    std::thread::spawn(move || {
        let mut keys = vec![0; BLOCK];
        while let Ok(count @ 1..) = std::io::stdin().read(&mut keys) {
            if happens.send(Event::Typed(keys[..count].to_vec())).is_err() {
                return;
            }
        }
        let _ = happens.send(Event::NoMoreTyped);
    });
}

fn listen(console: Arc<dyn Console>, happens: SyncSender<Event>) {
    std::thread::spawn(move || {
        let mut said = vec![0; BLOCK];
        let end = loop {
            match console.read(&mut said) {
                Ok(0) => break Ok(()),
                Ok(count) if happens.send(Event::Said(said[..count].to_vec())).is_err() => return,
                Ok(_) => {}
                Err(error) => break Err(error),
            }
        };
        let _ = happens.send(Event::Closed(end));
    });
}

/// A thread of its own, since a guest that does not listen lets the writer wait; the second channel ends with it.
fn speak(console: Arc<dyn Console>) -> (SyncSender<Vec<u8>>, Receiver<Infallible>) {
    let (give, get) = sync_channel::<Vec<u8>>(UNHEARD);
    let (ends, heard) = sync_channel(0);
    std::thread::spawn(move || {
        let _ends = ends;
        get.iter().try_for_each(|bytes| console.write(&bytes))
    });
    (give, heard)
}

fn is_off(hypervisor: &dyn Hypervisor, uuid: uuid::Uuid) -> Result<bool, Error> {
    let begin = Instant::now();
    loop {
        if !hypervisor.domain(uuid)?.is_some_and(|domain| domain.state.is_active()) {
            return Ok(true);
        }
        if begin.elapsed() > OFF_LIMIT {
            return Ok(false);
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(text: &str) -> Event {
        Event::Typed(text.as_bytes().to_vec())
    }

    fn said(text: &str) -> Event {
        Event::Said(text.as_bytes().to_vec())
    }

    fn failure() -> MachineError {
        MachineError::Busy { pool: "vms".to_owned(), source: crate::machine::Cause { message: String::new(), code: 0 } }
    }

    #[test]
    fn a_session_carries_both_ways_until_its_end() {
        for (events, heard, shown, wanted) in [
            (vec![typed("ls\r"), said("ls\r\n"), said("$ "), typed("x\u{1d}y")], "ls\rx", "ls\r\n$ ", Ok(End::Left)),
            (vec![typed("\u{3}\u{4}"), Event::NoMoreTyped, typed("late")], "\u{3}\u{4}", "", Ok(End::Left)),
            (vec![said("bye"), Event::Closed(Ok(())), said("late")], "", "bye", Ok(End::Closed)),
            (vec![typed("a"), Event::Signal(SIGTERM), typed("late")], "a", "", Ok(End::Signal(SIGTERM))),
            (vec![Event::Closed(Err(failure()))], "", "", Err(failure().to_string())),
            (vec![], "", "", Ok(End::Left)),
        ] {
            let (happens, get) = sync_channel(events.len());
            for event in events {
                assert!(happens.send(event).is_ok());
            }
            drop(happens);
            let (guest, hears) = sync_channel(UNHEARD);
            let mut screen = Vec::new();
            let end = converse(&guest, &get, |bytes| screen.extend_from_slice(bytes));
            drop(guest);
            let all: Vec<u8> = hears.iter().flatten().collect();
            assert_eq!(end.map_err(|error| error.to_string()), wanted);
            assert_eq!((String::from_utf8_lossy(&all), String::from_utf8_lossy(&screen)), (heard.into(), shown.into()));
        }
    }

    #[test]
    fn a_deaf_guest_keeps_nobody_at_its_console() {
        let (happens, events) = sync_channel(UNHEARD + 3);
        (0..=UNHEARD).for_each(|_| assert!(happens.send(typed("x")).is_ok()));
        assert!(happens.send(typed("\u{1d}")).is_ok());
        let (guest, _nobody_reads) = sync_channel(UNHEARD);
        assert!(matches!(converse(&guest, &events, |_| ()), Ok(End::Left)));
    }
}
