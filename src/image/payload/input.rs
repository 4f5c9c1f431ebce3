//! Reads ingredients, and compares their bytes with what is locked.

use std::fs::File;
use std::io::{self, Read};
use std::sync::{Mutex, PoisonError};

use super::{Ingredient, PayloadError};
use crate::artifacts::Checksum;
use crate::artifacts::checksum::Hasher;
use crate::progress::Task;

/// The work that is reported, shared by threads.
pub(super) type SharedTask = Mutex<Box<dyn Task>>;

/// An ingredient that is being read.
pub(super) struct Input<'a> {
    ingredient: &'a Ingredient,
    file: File,
    hasher: Hasher,
    size: u64,
    task: &'a SharedTask,
}

impl Ingredient {
    pub(super) fn open<'a>(&'a self, task: &'a SharedTask) -> Result<Input<'a>, PayloadError> {
        let fail = |source| PayloadError::Open { artifact: self.title(), path: self.path.clone(), source };
        let file = File::open(&self.path).map_err(fail)?;
        let size = file.metadata().map_err(fail)?.len();
        let hasher = self.checksum.algorithm().hasher();
        Ok(Input { ingredient: self, file, hasher, size, task })
    }

    /// The error, or the cause of it: that the file has other bytes than it should.
    pub(super) fn judge(&self, error: PayloadError) -> PayloadError {
        let hash = || {
            let mut hasher = self.checksum.algorithm().hasher();
            hasher.take_all(&mut File::open(&self.path)?, |_| {})?;
            Ok::<_, io::Error>(hasher.finish())
        };
        match hash() {
            Ok(got) if got != self.checksum => self.changed(got),
            _ => error,
        }
    }

    fn changed(&self, got: Checksum) -> PayloadError {
        let (wanted, got) = (Box::new(self.checksum), Box::new(got));
        PayloadError::Changed { artifact: self.title(), path: self.path.clone(), wanted, got }
    }
}

impl Input<'_> {
    /// In bytes.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Once everything is read: it was what it should be.
    pub(super) fn verify(self) -> Result<(), PayloadError> {
        let got = self.hasher.finish();
        if got == self.ingredient.checksum { Ok(()) } else { Err(self.ingredient.changed(got)) }
    }
}

impl Read for Input<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(bytes)?;
        self.hasher.update(&bytes[..count]);
        self.task.lock().unwrap_or_else(PoisonError::into_inner).advance(count as u64);
        Ok(count)
    }
}
