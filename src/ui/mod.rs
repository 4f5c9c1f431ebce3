//! The only place that prints: data on stdout, progress and talk on stderr.
#![expect(clippy::print_stderr, reason = "this is where printing is done")]

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, IsTerminal as _, Write as _};
use std::os::fd::AsFd as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::apply::ApplyError;
use crate::error::{Error, chain};
use crate::progress::{Progress, Task};
use crate::secret::Secret;
use crate::terminal::RawTerminal;
use crate::verify::{Check, Outcome};

/// What the user sees.
#[derive(Debug, Clone)]
pub struct Ui {
    /// Live lines; `None` where stderr is no terminal, which gets plain lines instead.
    live: Option<Arc<Live>>,
}

#[derive(Debug)]
struct Live {
    bars: MultiProgress,
    subjects: Mutex<BTreeMap<String, ProgressBar>>,
}

impl Ui {
    /// Looks at stderr.
    pub fn new() -> Self {
        let live = || Arc::new(Live { bars: MultiProgress::new(), subjects: Mutex::default() });
        Self { live: std::io::stderr().is_terminal().then(live) }
    }

    /// Data: goes to stdout. A reader that is gone, as in `nodebake status | head -1`, is no error.
    pub fn data(&self, text: &str) {
        self.raw(text.as_bytes());
    }

    /// The same for what need not be text.
    pub fn raw(&self, bytes: &[u8]) {
        self.calmly(|| {
            let mut stdout = std::io::stdout().lock();
            let _ = stdout.write_all(bytes).and_then(|()| stdout.flush());
        });
    }

    /// The same of one piece of many; says whether somebody still reads them.
    pub fn stream(&self, text: &str) -> bool {
        self.calmly(|| {
            let mut stdout = std::io::stdout().lock();
            stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).is_ok()
        })
    }

    /// Whether what stands on stdout can be replaced by what is new.
    pub fn redraws(&self) -> bool {
        std::io::stdout().is_terminal()
    }

    /// Where bytes go that are no text; none if stdout is a terminal.
    pub fn bytes(&self) -> io::Result<Option<File>> {
        let stdout = std::io::stdout();
        if stdout.is_terminal() {
            return Ok(None);
        }
        stdout.as_fd().try_clone_to_owned().map(|stdout| Some(stdout.into()))
    }

    /// Talk: goes to stderr.
    pub fn say(&self, text: &str) {
        self.calmly(|| eprintln!("{text}"));
    }

    /// Whether there is somebody to ask.
    pub fn can_ask(&self) -> bool {
        std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
    }

    /// Asks a yes-or-no question; `None` where there is nobody to ask.
    pub fn ask(&self, question: &str) -> Option<bool> {
        if !self.can_ask() {
            return None;
        }
        self.calmly(|| eprint!("{question} [y/N] "));
        let mut answer = String::new();
        std::io::stdin().read_line(&mut answer).ok()?;
        Some(matches!(answer.trim(), "y" | "Y" | "yes"))
    }

    /// Asks for what must not be seen; `None` where there is nobody to ask.
    pub fn ask_secret(&self, question: &str) -> io::Result<Option<Secret>> {
        if !self.can_ask() {
            return Ok(None);
        }
        self.calmly(|| {
            // First of all: what is typed early must not be seen either.
            let terminal = RawTerminal::take()?;
            eprint!("{question}");
            let typed = terminal.as_ref().map(RawTerminal::line).transpose();
            drop(terminal);
            eprintln!();
            typed
        })
    }

    /// An error with its log and hint.
    pub fn error(&self, error: &Error) {
        self.finish();
        if let Error::Differs(checks) = error {
            return self.differences(checks);
        }
        if let Error::Unfit(findings) = error {
            return findings.iter().for_each(|finding| self.failure(&finding.told(), None, finding.fix.clone()));
        }
        let Error::Nodes(errors) = error else {
            let log = match error {
                Error::Apply(error) => error.log(),
                Error::Image(error) => error.log(),
                _ => None,
            };
            return self.failure(&chain(error), log, error.hint());
        };
        for error in errors {
            self.failure(&chain(error), ApplyError::log(error), error.hint());
        }
    }

    /// One line for each thing, then once what to do about them.
    fn differences(&self, checks: &[Check]) {
        let mut hints: Vec<&str> = Vec::new();
        for check in checks {
            if let Outcome::Differs(difference, remedy) = &check.outcome {
                self.failure(&format!("{}: {difference}", check.place), None, None);
                if !hints.contains(&remedy.as_str()) {
                    hints.push(remedy);
                }
            }
        }
        self.say(&format!("\nhint: {}", hints.join("; ")));
    }

    fn failure(&self, text: &str, log: Option<&str>, hint: Option<String>) {
        let mut lines = vec![format!("error: {text}")];
        lines.extend(log.into_iter().flat_map(str::lines).map(|line| format!("  | {line}")));
        if let Some(hint) = hint {
            lines.push(String::new());
            lines.push(format!("hint: {hint}"));
        }
        self.say(&lines.join("\n"));
    }

    /// Takes the live lines away; what they said last stays.
    pub fn finish(&self) {
        if let Some(live) = &self.live {
            let subjects = std::mem::take(&mut *live.subjects.lock().unwrap_or_else(PoisonError::into_inner));
            for bar in subjects.into_values() {
                bar.abandon();
            }
        }
    }

    /// Prints while the live lines are out of the way.
    fn calmly<T>(&self, print: impl FnOnce() -> T) -> T {
        match &self.live {
            Some(live) => live.bars.suspend(print),
            None => print(),
        }
    }
}

impl Default for Ui {
    fn default() -> Self {
        Self::new()
    }
}

impl Progress for Ui {
    fn warn(&self, text: &str) {
        self.say(&format!("warning: {text}"));
    }

    fn task(&self, name: &str, total: Option<u64>) -> Box<dyn Task> {
        let bar = self.live.as_ref().map(|live| {
            let bar = total.map_or_else(ProgressBar::no_length, ProgressBar::new);
            let template = if total.is_some() {
                "{prefix:<32} {bar:24} {bytes:>10} / {total_bytes} {bytes_per_sec}"
            } else {
                "{prefix:<32} {spinner} {elapsed}"
            };
            bar.set_style(style(template));
            bar.set_prefix(name.to_owned());
            live.bars.add(bar)
        });
        Box::new(Work { bar, name: name.to_owned(), total })
    }

    fn note(&self, subject: &str, text: &str) {
        let Some(live) = &self.live else { return eprintln!("{subject}: {text}") };
        let mut subjects = live.subjects.lock().unwrap_or_else(PoisonError::into_inner);
        let bar = subjects.entry(subject.to_owned()).or_insert_with(|| {
            let bar = live.bars.add(ProgressBar::no_length());
            bar.set_style(style("{spinner} {prefix:<20} {elapsed:>5} {msg}"));
            bar.set_prefix(subject.to_owned());
            bar.enable_steady_tick(Duration::from_millis(200));
            bar
        });
        bar.set_message(text.to_owned());
    }
}

/// The templates are constants of this file; should one be wrong, indicatif's own style serves.
fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

#[derive(Debug)]
struct Work {
    bar: Option<ProgressBar>,
    name: String,
    total: Option<u64>,
}

impl Task for Work {
    fn advance(&self, bytes: u64) {
        if let Some(bar) = &self.bar {
            bar.inc(bytes);
        }
    }

    fn done(self: Box<Self>) {
        match &self.bar {
            Some(bar) => bar.finish_and_clear(),
            None => match self.total {
                Some(total) => eprintln!("{}: done ({})", self.name, indicatif::HumanBytes(total)),
                None => eprintln!("{}: done", self.name),
            },
        }
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
