//! How far nodes have come, for who ends the program amidst the work.

/// Nodes that are worked on, in their order.
#[derive(Debug, Default)]
pub(super) struct Journal(Vec<(String, Stand)>);

/// How far one has come.
#[derive(Debug, PartialEq, Eq)]
enum Stand {
    NotBegun,
    /// The last that was told of it.
    Begun(String),
    Done,
}

impl Journal {
    /// So many are worked on from here on.
    pub(super) fn begin(&mut self, nodes: Vec<String>) {
        self.0 = nodes.into_iter().map(|node| (node, Stand::NotBegun)).collect();
    }

    pub(super) fn note(&mut self, node: &str, text: &str) {
        self.set(node, Stand::Begun(text.to_owned()));
    }

    pub(super) fn done(&mut self, node: &str) {
        self.set(node, Stand::Done);
    }

    fn set(&mut self, node: &str, now: Stand) {
        if let Some((_, stand)) = self.0.iter_mut().find(|(name, stand)| name == node && *stand != Stand::Done) {
            *stand = now;
        }
    }

    /// All that is known, as the end of a sentence; nothing where no nodes are worked on.
    pub(super) fn told(&self) -> String {
        let those = |which: &dyn Fn(&Stand) -> Option<String>| {
            let shown = self.0.iter().filter_map(|(name, stand)| Some(format!("{name}{}", which(stand)?)));
            shown.collect::<Vec<_>>().join(", ")
        };
        let parts = [
            ("done", those(&|stand| (*stand == Stand::Done).then(String::new))),
            (
                "under way",
                those(&|stand| if let Stand::Begun(text) = stand { Some(format!(" ({text})")) } else { None }),
            ),
            ("not begun", those(&|stand| (*stand == Stand::NotBegun).then(String::new))),
        ];
        let parts = parts.into_iter().filter(|(_, nodes)| !nodes.is_empty());
        parts.map(|(what, nodes)| format!("; {what}: {nodes}")).collect::<Vec<_>>().concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_tells_how_far_each_has_come() {
        let mut journal = Journal::default();
        assert_eq!(journal.told(), "");
        journal.begin(["a", "b", "c", "d"].map(str::to_owned).to_vec());
        assert_eq!(journal.told(), "; not begun: a, b, c, d");
        for (node, text) in [("a", "making its machine"), ("b", "stopping"), ("x", "not asked for"), ("b", "off")] {
            journal.note(node, text);
        }
        journal.done("a");
        journal.note("a", "its seed is gone");
        journal.done("d");
        assert_eq!(journal.told(), "; done: a, d; under way: b (off); not begun: c");
    }
}
