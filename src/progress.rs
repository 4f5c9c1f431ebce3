//! Progress without a terminal: the library reports, `ui` draws.

use std::fmt::Debug;

use crate::config::NodeName;

/// Where long work reports to.
pub trait Progress: Send + Sync {
    /// Begins a piece of work with a short name ("fetch kubelet v1.35.1") and, where known, its size in bytes.
    fn task(&self, name: &str, total: Option<u64>) -> Box<dyn Task>;
    /// Tells one piece of news of a node: "payload mounted".
    fn note(&self, node: &str, text: &str);
    /// The same of something that nodes share, such as their network.
    fn note_shared(&self, what: &'static str, text: &str) {
        self.note(what, text);
    }
    /// Whether whoever waits for the work wants no more of it: it comes to an end as soon as that leaves nothing half done.
    fn is_ending(&self) -> bool {
        false
    }
    /// Tells of something that is not as it should be and did no harm.
    fn warn(&self, text: &str);
    /// The same, where it is about one node, which the text names.
    fn warn_of(&self, _node: &NodeName, text: &str) {
        self.warn(text);
    }
}

/// One piece of work under way; dropping it without `done` means that it was given up.
pub trait Task: Send + Debug {
    /// `bytes` more are done.
    fn advance(&self, bytes: u64);
    /// The work is finished.
    fn done(self: Box<Self>);
}

/// Reports to nobody.
#[derive(Debug, Clone, Copy)]
pub struct Silent;

impl Progress for Silent {
    fn task(&self, _name: &str, _total: Option<u64>) -> Box<dyn Task> {
        Box::new(Silent)
    }

    fn note(&self, _node: &str, _text: &str) {}

    fn warn(&self, _text: &str) {}
}

impl Task for Silent {
    fn advance(&self, _bytes: u64) {}
    fn done(self: Box<Self>) {}
}
