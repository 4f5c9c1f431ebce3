//! A run that is told to end: by Ctrl-C, by SIGTERM, or by SIGHUP where its terminal has gone.
//!
//! Whatever is cut off is gone on with by the next run. So where only files are written, a run ends at once, without what
//! it had for itself alone ([`scratch`](crate::scratch)). While machines are worked on ([`Orderly`]) it is asked to come to
//! an end: what was begun is finished or undone as far as that takes no waiting, and nothing else is begun. A second signal
//! ends that too, and so does a libvirt that does not answer.

use std::io;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::scratch;
use crate::terminal;

/// How long a run may take to end in order.
const LIMIT: Duration = Duration::from_secs(20);

/// A signal so soon after the first is the same: timeout(1) for one sends it to the program and to its group.
const SAME: Duration = Duration::from_millis(500);

/// How long it may take to say what is left.
const SAY_LIMIT: Duration = Duration::from_secs(1);

/// The signal that came; 0 as long as none has.
static CAME: AtomicI32 = AtomicI32::new(0);

/// So many are at work that are to end in order.
static ORDERLY: AtomicUsize = AtomicUsize::new(0);

/// Whoever has it ends the program.
static END: Mutex<()> = Mutex::new(());

/// The signal by which the program was told to end.
pub fn signal() -> Option<i32> {
    Some(CAME.load(Ordering::SeqCst)).filter(|signal| *signal != 0)
}

/// Work that looks by itself whether it is to end, as long as this is there.
#[derive(Debug)]
pub struct Orderly(());

impl Orderly {
    /// Such work begins.
    pub fn begin() -> Self {
        ORDERLY.fetch_add(1, Ordering::SeqCst);
        Self(())
    }
}

impl Drop for Orderly {
    fn drop(&mut self) {
        ORDERLY.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Has signals end the program from here on. `asked` says that the end is under way, `left` what is left at it.
pub fn watch(asked: impl FnOnce() + Send + 'static, left: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let heeded: Vec<_> = [SIGHUP, SIGINT, SIGTERM].into_iter().filter(|signal| !is_ignored(*signal)).collect();
    let mut signals = Signals::new(heeded)?;
    let (happens, came) = channel();
    std::thread::spawn(move || signals.forever().try_for_each(|signal| happens.send(signal)));
    std::thread::spawn(move || {
        let Ok(signal) = came.recv() else { return };
        CAME.store(signal, Ordering::SeqCst);
        if ORDERLY.load(Ordering::SeqCst) > 0 {
            // Apart, since nobody may read what is said: that keeps no run from its end.
            std::thread::spawn(asked);
            await_end(&came);
        }
        end(signal, left);
    });
    Ok(())
}

/// Waits for a second signal, and as long as a run may take to end.
fn await_end(came: &Receiver<i32>) {
    let begin = Instant::now();
    while came.recv_timeout(LIMIT.saturating_sub(begin.elapsed())).is_ok() && begin.elapsed() < SAME {}
}

/// Ends the program as the signal would have: whoever sent it sees that it did its work. `left` says what is left.
pub fn end(signal: i32, left: impl FnOnce() + Send + 'static) {
    // Never given back: there is one end.
    std::mem::forget(END.lock().unwrap_or_else(PoisonError::into_inner));
    scratch::remove_all();
    terminal::give_back_for_good();
    // Whoever waits at the terminal for an answer keeps all else from being said there.
    let (says, said) = channel();
    std::thread::spawn(move || {
        left();
        says.send(())
    });
    let _ = said.recv_timeout(SAY_LIMIT);
    let _ = signal_hook::low_level::emulate_default_handler(signal);
}

/// Whether whoever started this program has it ignore a signal, as nohup(1) does it (`proc_pid_status(5)`).
fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| (mask >> (signal - 1)) & 1 == 1)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn one_stop_may_come_as_several_signals() {
        let (happens, came) = channel();
        let begin = Instant::now();
        happens.send(SIGTERM).unwrap();
        happens.send(SIGHUP).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(3 * SAME);
                happens.send(SIGTERM).unwrap();
            });
            await_end(&came);
        });
        assert!((SAME..LIMIT).contains(&begin.elapsed()));
    }
}
