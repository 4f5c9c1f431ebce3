//! Lines that are drawn anew as long as work goes on, in a terminal: one for each node at work, each transfer, and all nodes
//! together. What is done becomes a line that stays, above these, so that any number of nodes fits any screen.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use indicatif::{HumanDuration, MultiProgress, ProgressBar, ProgressStyle};

/// How often a line shows that time goes by.
const TICK: Duration = Duration::from_millis(200);

/// Nodes and what they share. What does not fit the width of the screen is cut off.
const SUBJECT: &str = "{spinner} {prefix:<24!} {elapsed:>5} {wide_msg}";
/// All nodes that are worked on.
const ALL: &str = "  {pos} of {len} nodes done, {elapsed}";
/// Work of a known size, and of an unknown one.
const SIZED: &str = "{prefix:<26!} {bar:12} {bytes:>10} / {total_bytes:<10} {bytes_per_sec:>12}";
const ENDLESS: &str = "{spinner} {elapsed:>5} {wide_msg}";

#[derive(Debug, Default)]
pub(super) struct Live {
    bars: MultiProgress,
    lines: Mutex<Lines>,
}

#[derive(Debug, Default)]
struct Lines {
    subjects: BTreeMap<String, ProgressBar>,
    all: Option<ProgressBar>,
}

impl Live {
    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// So many nodes are worked on; one needs no sum.
    pub(super) fn begin(&self, nodes: usize) {
        if nodes > 1 {
            let all = self.bars.add(bar(ALL, Some(nodes as u64)));
            all.enable_steady_tick(TICK);
            self.lines().all = Some(all);
        }
    }

    /// Shows on a subject's own line what it does.
    pub(super) fn note(&self, subject: &str, text: &str) {
        let Lines { subjects, all } = &mut *self.lines();
        let line = subjects.entry(subject.to_owned()).or_insert_with(|| {
            let line = bar(SUBJECT, None);
            // The sum stays the last.
            let line = match all {
                Some(all) => self.bars.insert_before(all, line),
                None => self.bars.add(line),
            };
            line.set_prefix(subject.to_owned());
            line.enable_steady_tick(TICK);
            line
        });
        line.set_message(text.to_owned());
    }

    /// A node is where it was to be.
    pub(super) fn reached(&self, node: &str) {
        let mut lines = self.lines();
        let line = lines.subjects.remove(node);
        if let Some(all) = &lines.all {
            all.inc(1);
        }
        drop(lines);
        if let Some(line) = line {
            self.keep(&line);
        }
    }

    /// Makes of a line one that stays.
    fn keep(&self, line: &ProgressBar) {
        let elapsed = format!("{:#}", HumanDuration(line.elapsed()));
        let text = format!("  {:<24} {elapsed:>5} {}", line.prefix(), line.message());
        line.finish_and_clear();
        let _ = self.bars.println(text);
    }

    /// A line of its own for one piece of work.
    pub(super) fn task(&self, name: &str, total: Option<u64>) -> ProgressBar {
        let line = self.bars.add(bar(if total.is_some() { SIZED } else { ENDLESS }, total));
        if total.is_some() {
            line.set_prefix(name.to_owned());
        } else {
            line.set_message(name.to_owned());
            line.enable_steady_tick(TICK);
        }
        line
    }

    /// Takes the lines away; what they said last stays.
    pub(super) fn finish(&self) {
        let Lines { subjects, all } = std::mem::take(&mut *self.lines());
        for line in subjects.into_values() {
            self.keep(&line);
        }
        if let Some(all) = all {
            all.finish_and_clear();
        }
    }

    /// Does something while the lines are out of the way.
    pub(super) fn calmly<T>(&self, work: impl FnOnce() -> T) -> T {
        self.bars.suspend(work)
    }
}

/// The templates are constants of this file; should one be wrong, indicatif's own style serves.
fn bar(template: &str, total: Option<u64>) -> ProgressBar {
    let bar = total.map_or_else(ProgressBar::no_length, ProgressBar::new);
    bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}
