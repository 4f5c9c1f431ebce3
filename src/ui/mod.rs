//! The only place that prints: data on stdout, progress and talk on stderr.

mod journal;
mod live;
mod log;
mod message;

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, IsTerminal as _, Write as _};
use std::os::fd::AsFd as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use clap::error::ErrorKind;
use indicatif::ProgressBar;
use serde::Serialize;

use self::journal::Journal;
use self::live::Live;
use self::message::{Level, Message};
use crate::apply::ApplyError;
use crate::cli::{Format, LogFormat, Talk};
use crate::commands::ImageError;
use crate::config::NodeName;
use crate::error::{Error, chain};
use crate::interrupt;
use crate::progress::{Progress, Task};
use crate::secret::Secret;
use crate::terminal::RawTerminal;
use crate::verify::{Check, Outcome};

/// What the user sees.
#[derive(Debug, Clone)]
pub struct Ui {
    /// Live lines; `None` where nobody sees them, who gets plain lines instead.
    live: Option<Arc<Live>>,
    journal: Arc<Mutex<Journal>>,
    talk: Talk,
}

/// What a verb found as programs read it: what all reports begin with, then its own fields (docs/output.md).
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a, T> {
    api_version: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster: Option<&'a str>,
    #[serde(flatten)]
    fields: &'a T,
}

impl<'a, T> Document<'a, T> {
    fn of(cluster: Option<&'a str>, fields: &'a T) -> Self {
        Self { api_version: "nodebake/v1", cluster, fields }
    }
}

impl Ui {
    /// Looks at stderr; from here on also what goes on inside is said there, if that is asked for.
    pub fn new(talk: Talk) -> Self {
        let ui = Self { live: draws(talk).then(Arc::default), journal: Arc::default(), talk };
        log::begin(&ui);
        ui
    }

    /// Says why the command line is none, or prints the help or version that it asks for; gives the exit code.
    pub fn refuse(error: &clap::Error) -> u8 {
        if error.use_stderr() && asks_for_records(std::env::args_os()) {
            let (text, hint) = in_words(error);
            let message = Message { hint: Some(&hint), ..Message::new(Level::Error, &text) };
            print(&message.written(LogFormat::Json));
        } else {
            let _ = error.print();
        }
        u8::try_from(error.exit_code()).unwrap_or(2)
    }

    /// Data: goes to stdout. A reader that is gone, as in `nodebake status | head -1`, is no error.
    pub fn data(&self, text: &str) {
        self.raw(text.as_bytes());
    }

    /// What a verb found, in the form that was asked for; `cluster` is whose it is, where it is one's.
    pub fn show(
        &self,
        format: Format,
        cluster: Option<&str>,
        fields: &impl Serialize,
        table: impl FnOnce() -> String,
    ) -> Result<(), Error> {
        let text = match format {
            Format::Table => table(),
            Format::Json => serde_json::to_string_pretty(&Document::of(cluster, fields)).map_err(Error::Json)? + "\n",
            Format::Yaml => serde_yaml::to_string(&Document::of(cluster, fields)).map_err(Error::Yaml)?,
        };
        self.data(&text);
        Ok(())
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
        self.tell(&Message::new(Level::Info, text));
    }

    /// The same of a node, which is named first.
    pub fn say_of(&self, node: &NodeName, text: &str) {
        self.news(&node.to_string(), text, true);
    }

    /// The same of what is not as it should be and did no harm.
    pub fn warn(&self, text: &str) {
        self.tell(&Message::new(Level::Warn, text));
    }

    /// The same, where it is about one node, which the text names.
    pub fn warn_of(&self, node: &NodeName, text: &str) {
        let node = node.to_string();
        self.tell(&Message { node: Some(&node), ..Message::new(Level::Warn, text) });
    }

    /// What a question will be about, which is said also to who wants to hear little.
    pub fn lay_out(&self, text: &str) {
        self.calmly(|| print(&Message::new(Level::Info, text).written(self.talk.log_format)));
    }

    /// Whether there is somebody to ask. Questions are not for programs, which read what is said as JSON.
    pub fn can_ask(&self) -> bool {
        self.talk.log_format == LogFormat::Text && std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
    }

    /// Asks a yes-or-no question; `None` where there is nobody to ask.
    pub fn ask(&self, question: &str) -> Option<bool> {
        if !self.can_ask() {
            return None;
        }
        self.calmly(|| prompt(&format!("{question} [y/N] ")));
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
            prompt(question);
            let typed = terminal.as_ref().map(RawTerminal::line).transpose();
            drop(terminal);
            print("");
            typed
        })
    }

    /// An error with its log and hint.
    pub fn error(&self, error: &Error) {
        self.finish();
        match error {
            Error::Differs(checks) => self.differences(checks),
            Error::Unfit(findings) => {
                for finding in findings {
                    self.failure(&finding.told(), None, None, finding.fix.as_deref());
                }
            }
            Error::Nodes(errors) => {
                for it in errors.iter().filter(|error| !self.is_of_the_end(error)) {
                    self.failure(&chain(it), it.node(), it.log(), it.hint().as_deref());
                }
            }
            Error::Apply(it) if self.is_of_the_end(it) => {}
            Error::Apply(it) => self.failure(&chain(it), it.node(), it.log(), it.hint().as_deref()),
            Error::Image(ImageError::Machine { source }) if self.is_of_the_end(source) => {}
            Error::Image(it) => self.failure(&chain(it), None, it.log(), it.hint().as_deref()),
            error => self.failure(&chain(error), None, None, error.hint().as_deref()),
        }
    }

    /// Whether an error says no more than that the run was told to end.
    fn is_of_the_end(&self, error: &ApplyError) -> bool {
        error.is_interrupted() || (self.is_ending() && error.is_cut_off())
    }

    /// One line for each thing, then once what to do about them; each with its own where programs read it.
    fn differences(&self, checks: &[Check]) {
        let mut hints: Vec<&str> = Vec::new();
        for check in checks {
            if let Outcome::Differs(difference, remedy) = &check.outcome {
                let own = (self.talk.log_format == LogFormat::Json).then_some(remedy.as_str());
                self.failure(&format!("{}: {difference}", check.place), None, None, own);
                if !hints.contains(&remedy.as_str()) {
                    hints.push(remedy);
                }
            }
        }
        if self.talk.log_format == LogFormat::Text {
            self.calmly(|| print(&format!("\nhint: {}", hints.join("; "))));
        }
    }

    fn failure(&self, text: &str, node: Option<&NodeName>, log: Option<&str>, hint: Option<&str>) {
        let node = node.map(ToString::to_string);
        let message = Message { node: node.as_deref(), hint, log, ..Message::new(Level::Error, text) };
        self.tell(&message);
    }

    fn tell(&self, message: &Message) {
        if !(self.talk.quiet && message.level == Level::Info) {
            self.calmly(|| print(&message.written(self.talk.log_format)));
        }
    }

    /// A piece of news of a node, or of something that nodes share.
    fn news(&self, subject: &str, text: &str, is_node: bool) {
        let text = format!("{subject}: {text}");
        self.tell(&Message { node: is_node.then_some(subject), ..Message::new(Level::Info, &text) });
    }

    /// These nodes are worked on from here on.
    pub fn begin<'n>(&self, nodes: impl Iterator<Item = &'n NodeName>) {
        let nodes: Vec<_> = nodes.map(ToString::to_string).collect();
        if let Some(live) = &self.live {
            live.begin(nodes.len());
        }
        self.journal().begin(nodes);
    }

    /// A node is where it was to be.
    pub fn reached(&self, node: &NodeName) {
        let node = node.to_string();
        if let Some(live) = &self.live {
            live.reached(&node);
        }
        self.journal().done(&node);
    }

    fn journal(&self) -> MutexGuard<'_, Journal> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says that the end is under way.
    pub fn ending(&self) {
        self.warn(
            "interrupted: nothing is begun any more, and what is under way comes to an end; once more ends it at once",
        );
    }

    /// Says what is left where the run was told to end.
    pub fn interrupted(&self, hint: &str) {
        self.finish();
        let text = format!("interrupted{}", self.journal().told());
        self.failure(&text, None, None, Some(hint));
    }

    /// Takes the live lines away; what they said last stays.
    pub fn finish(&self) {
        if let Some(live) = &self.live {
            live.finish();
        }
    }

    /// Prints while the live lines are out of the way.
    fn calmly<T>(&self, print: impl FnOnce() -> T) -> T {
        match &self.live {
            Some(live) => live.calmly(print),
            None => print(),
        }
    }
}

/// Whether there is a terminal that lines can be drawn on, and whoever sits there wants to see them.
fn draws(talk: Talk) -> bool {
    let able = std::env::var_os("TERM").is_none_or(|name| name != "dumb");
    able && !talk.quiet && talk.log_format == LogFormat::Text && std::io::stderr().is_terminal()
}

/// A line on stderr. That nobody reads it any more keeps no work from being done.
fn print(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// A question, whose answer stands on its line.
fn prompt(text: &str) {
    let _ = write!(std::io::stderr().lock(), "{text}");
}

/// Whether a command line that could not be read asks for JSON on stderr.
fn asks_for_records(words: impl Iterator<Item = OsString>) -> bool {
    let words: Vec<_> = words.collect();
    let apart = words.windows(2).any(|pair| pair[0] == "--log-format" && pair[1] == "json");
    apart || words.iter().any(|word| word == "--log-format=json")
}

/// What is wrong with a command line, and what to do about it.
fn in_words(error: &clap::Error) -> (String, String) {
    if matches!(error.kind(), ErrorKind::MissingSubcommand | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand) {
        return ("no verb is given".to_owned(), "`nodebake --help` shows what there is".to_owned());
    }
    let rendered = error.render().to_string();
    let mut parts = rendered.split("\n\n").map(str::trim);
    let text = parts.next().unwrap_or_default().trim_start_matches("error: ").to_owned();
    let tips: Vec<_> = parts.flat_map(str::lines).filter_map(|line| line.trim().strip_prefix("tip: ")).collect();
    let hint = if tips.is_empty() { "try '--help'".to_owned() } else { tips.join("; ") };
    (text, hint)
}

impl Progress for Ui {
    fn is_ending(&self) -> bool {
        interrupt::signal().is_some()
    }

    fn warn(&self, text: &str) {
        Self::warn(self, text);
    }

    fn warn_of(&self, node: &NodeName, text: &str) {
        Self::warn_of(self, node, text);
    }

    fn task(&self, name: &str, total: Option<u64>) -> Box<dyn Task> {
        let bar = self.live.as_ref().map(|live| live.task(name, total));
        Box::new(Work { ui: self.clone(), bar, name: name.to_owned(), total })
    }

    fn note(&self, node: &str, text: &str) {
        self.draw(node, text, true);
    }

    fn note_shared(&self, what: &'static str, text: &str) {
        self.draw(what, text, false);
    }
}

impl Ui {
    /// Shows on a subject's own line what it does; as a line of its own where there are none.
    fn draw(&self, subject: &str, text: &str, is_node: bool) {
        if is_node {
            self.journal().note(subject, text);
        }
        match &self.live {
            Some(live) => live.note(subject, text),
            None => self.news(subject, text, is_node),
        }
    }
}

#[derive(Debug)]
struct Work {
    ui: Ui,
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
        if let Some(bar) = &self.bar {
            return bar.finish_and_clear();
        }
        let size = self.total.map(|total| format!(" ({})", indicatif::HumanBytes(total)));
        self.ui.say(&format!("{}: done{}", self.name, size.unwrap_or_default()));
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
