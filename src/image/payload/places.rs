//! Gives places in the image to files of several archives that are decompressed at the same time.
//!
//! Which file stands where must depend on the archives alone, not on which thread was faster. So files are placed in the
//! order in which their headers come in the tar streams: one that starts at byte 1000 of its stream stands before one
//! that starts at byte 2000 of another stream. A thread that asks for a place waits until every other one has come at
//! least as far, or is known to have no header before there. The streams pass at about the same pace, so it rarely waits
//! for long; what is furthest behind never waits.

use std::fs::File;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::image::iso9660::{Slot, WriteError, Writer};
use crate::image::unpack::Member;

/// A writer that is shared by the threads of several archives.
pub(super) struct Places<'t, const N: usize> {
    state: Mutex<State<'t, N>>,
    moved: Condvar,
}

struct State<'t, const N: usize> {
    writer: Writer<'t, File>,
    /// How far each stream has come at least: no header comes before that byte.
    at: [u64; N],
}

/// One archive's part of it.
pub(super) struct Turn<'p, 't, const N: usize> {
    places: &'p Places<'t, N>,
    number: usize,
}

impl<'t, const N: usize> Places<'t, N> {
    pub(super) fn new(writer: Writer<'t, File>) -> Self {
        Self { state: Mutex::new(State { writer, at: [0; N] }), moved: Condvar::new() }
    }

    /// One for each archive, the order breaking ties. The archive is over for the others once its turn is dropped.
    pub(super) fn turns(&self) -> [Turn<'_, 't, N>; N] {
        std::array::from_fn(|number| Turn { places: self, number })
    }

    pub(super) fn into_writer(self) -> Writer<'t, File> {
        self.state.into_inner().unwrap_or_else(PoisonError::into_inner).writer
    }

    fn lock(&self) -> MutexGuard<'_, State<'t, N>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn come(&self, number: usize, at: u64) -> MutexGuard<'_, State<'t, N>> {
        let mut state = self.lock();
        state.at[number] = at;
        self.moved.notify_all();
        state
    }
}

impl<'t, const N: usize> Turn<'_, 't, N> {
    /// A place for an archive's member.
    pub(super) fn place(&self, member: &Member<'_>, path: &str, mode: u32) -> Result<Slot<'t, File>, WriteError> {
        let state = self.places.come(self.number, member.at);
        let is_first = |state: &State<'t, N>| {
            let others = state.at.iter().enumerate().filter(|(number, _)| *number != self.number);
            others.into_iter().all(|(number, at)| (*at, number) > (member.at, self.number))
        };
        let wait = self.places.moved.wait_while(state, |state| !is_first(state));
        let mut state = wait.unwrap_or_else(PoisonError::into_inner);
        let slot = state.writer.file(path, mode, member.size);
        drop(state);
        self.pass(member);
        slot
    }

    /// A member that gets no place.
    pub(super) fn pass(&self, member: &Member<'_>) {
        drop(self.places.come(self.number, member.end()));
    }
}

impl<const N: usize> Drop for Turn<'_, '_, N> {
    fn drop(&mut self) {
        drop(self.places.come(self.number, u64::MAX));
    }
}
