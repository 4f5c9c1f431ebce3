//! What was found to be otherwise than it should be: collected, since a guest takes minutes, and told together.

use std::fmt::Debug;

/// Differences between what is and what should be.
pub struct Findings {
    subject: String,
    found: Vec<String>,
}

impl Findings {
    pub fn of(subject: &str) -> Self {
        Self { subject: subject.to_owned(), found: Vec::new() }
    }

    /// `got` must be `wanted`, whole.
    #[expect(clippy::needless_pass_by_value, reason = "both are made for the comparison")]
    pub fn same<T: Debug + PartialEq>(&mut self, what: &str, got: T, wanted: T) {
        if got != wanted {
            self.found.push(format!("{what}:\n    is:     {got:?}\n    should: {wanted:?}"));
        }
    }

    /// Two lists must be the same; only what differs is told.
    pub fn same_lists<T: Debug + PartialEq>(&mut self, what: &str, got: &[T], wanted: &[T]) {
        let extra: Vec<_> = got.iter().filter(|item| !wanted.contains(item)).collect();
        let missing: Vec<_> = wanted.iter().filter(|item| !got.contains(item)).collect();
        if !extra.is_empty() || !missing.is_empty() {
            self.found.push(format!("{what}:\n    too much: {extra:#?}\n    missing:  {missing:#?}"));
        } else if got.len() != wanted.len() {
            self.found.push(format!("{what}: {} entries, not {}", got.len(), wanted.len()));
        }
    }

    /// Something must hold; `evidence` is told where it does not.
    pub fn holds(&mut self, what: &str, holds: bool, evidence: impl Debug) {
        if !holds {
            self.found.push(format!("{what}: does not hold: {evidence:?}"));
        }
    }

    /// Ends the test if anything was found.
    pub fn end(self) {
        assert!(self.found.is_empty(), "{}:\n  {}", self.subject, self.found.join("\n  "));
        eprintln!("      as it should be: {}", self.subject);
    }
}
