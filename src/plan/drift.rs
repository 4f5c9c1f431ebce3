//! How a machine that is there differs from what the cluster file asks for.

use std::fmt;

use crate::digest::Digest;
use crate::machine::{DomainInfo, Mark};

/// One difference; never a secret's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Drift {
    /// Other binaries.
    Payload(Digest, Digest),
    /// Other configuration or identity.
    Seed(Digest, Digest),
    /// Another base image.
    Base(String, String),
    /// Another machine: CPUs, memory, network ...
    Definition,
    /// Somebody edited the machine with other tools.
    ByHand,
    /// The mark cannot be read.
    Unreadable,
}

impl fmt::Display for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Payload(from, to) => write!(f, "payload {} -> {}", from.short(), to.short()),
            Self::Seed(from, to) => write!(f, "seed {} -> {}", from.short(), to.short()),
            Self::Base(from, to) => write!(f, "base image {from:.12} -> {to:.12}"),
            Self::Definition => f.write_str("machine changed in the cluster file"),
            Self::ByHand => f.write_str("machine changed by hand"),
            Self::Unreadable => f.write_str("mark not readable"),
        }
    }
}

/// Differences between a domain and the mark that it would get today.
pub(super) fn of(domain: &DomainInfo, wanted: &Mark) -> Vec<Drift> {
    let Some(mark) = domain.mark() else { return vec![Drift::Unreadable] };
    let mut drift = Vec::new();
    if mark.payload != wanted.payload {
        drift.push(Drift::Payload(mark.payload, wanted.payload));
    }
    if mark.seed != wanted.seed {
        drift.push(Drift::Seed(mark.seed, wanted.seed));
    }
    if mark.base != wanted.base {
        drift.push(Drift::Base(mark.base.clone(), wanted.base.clone()));
    }
    // Other images change the definition's paths too; that is said above.
    if drift.is_empty() && mark.definition != wanted.definition {
        drift.push(Drift::Definition);
    }
    if mark.stored.is_some_and(|stored| stored != domain.stored_digest()) {
        drift.push(Drift::ByHand);
    }
    drift
}
