//! Values of the tree on their way to what they mean: every step that fails is reported with its place.

use std::ops::RangeInclusive;

use super::problem::{Position, Problems, quoted};
use super::tree::{Entry, Kind, Tree, join};

/// Longest scalar; the longest sensible one is an SSH key.
const MAX_TEXT: usize = 8192;

/// A value with its place, to be compared with others later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Placed<T> {
    pub(super) value: T,
    pub(super) at: Position,
    pub(super) path: String,
}

/// A value of the tree.
pub(super) struct Value<'t> {
    tree: &'t Tree,
    at: Position,
    path: String,
    problems: &'t Problems,
}

/// The entries of a map whose keys are known.
pub(super) struct Fields<'t> {
    entries: &'t [Entry],
    known: &'static [&'static str],
    unknown: Vec<Unknown<'t>>,
    at: Position,
    path: String,
    problems: &'t Problems,
}

/// An entry whose key is not known, and the known one that was probably meant.
struct Unknown<'t> {
    entry: &'t Entry,
    meant: Option<&'static str>,
}

impl<'t> Value<'t> {
    pub(super) fn root(tree: &'t Tree, problems: &'t Problems) -> Self {
        Self { tree, at: tree.at, path: String::new(), problems }
    }

    /// The line where it stands, from 1.
    pub(super) fn line(&self) -> usize {
        self.at.line
    }

    pub(super) fn report(&self, text: impl Into<String>) {
        self.problems.report(self.at, &self.path, text);
    }

    /// The value as a map with some of the `known` keys.
    pub(super) fn fields(&self, known: &'static [&'static str]) -> Option<Fields<'t>> {
        let fields = self.map(known)?;
        fields.report_unknown();
        Some(fields)
    }

    /// The value as a map whose keys are not looked at yet.
    pub(super) fn map(&self, known: &'static [&'static str]) -> Option<Fields<'t>> {
        let Kind::Map(entries) = &self.tree.kind else {
            self.report_kind(&format!("a map with {}", known.join(", ")));
            return None;
        };
        let unknown = entries.iter().filter(|entry| !known.contains(&entry.key.as_str()));
        let unknown = unknown.map(|entry| Unknown { entry, meant: nearest(&entry.key, known) }).collect();
        Some(Fields { entries, known, unknown, at: self.at, path: self.path.clone(), problems: self.problems })
    }

    /// The value as a list.
    pub(super) fn items(&self, what: &str) -> Option<Vec<Value<'t>>> {
        let Kind::List(items) = &self.tree.kind else {
            self.report_kind(&format!("a list of {what}"));
            return None;
        };
        let item = |(index, tree): (usize, &'t Tree)| Value {
            tree,
            at: tree.at,
            path: format!("{}[{index}]", self.path),
            problems: self.problems,
        };
        Some(items.iter().enumerate().map(item).collect())
    }

    /// The value as a text that `parse` understands; its error is the problem's text.
    ///
    /// A plain scalar is taken as its text, whatever YAML might resolve it to: `no` and `1e3` are fine node names.
    pub(super) fn read<T>(&self, what: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<Placed<T>> {
        let Kind::Text { text, .. } = &self.tree.kind else {
            self.report_kind(what);
            return None;
        };
        match printable(text, what).and_then(parse) {
            Ok(value) => Some(self.placed(value)),
            Err(problem) => {
                self.report(problem);
                None
            }
        }
    }

    /// The value as a whole number in `range`, in plain decimal digits.
    pub(super) fn number(&self, range: &RangeInclusive<u32>) -> Option<u32> {
        let what = format!("a whole number from {} to {}", range.start(), range.end());
        let Kind::Text { text, plain } = &self.tree.kind else {
            self.report_kind(&what);
            return None;
        };
        // A sign, an underscore, a leading zero (octal in YAML 1.1): readers disagree on what they mean.
        let digits = text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0');
        let number = text.parse().ok().filter(|number| digits && range.contains(number));
        if number.is_some() && !plain {
            self.report(format!("expected {what}, found the text {}; leave out the quotes", quoted(text)));
            return None;
        }
        if number.is_none() {
            self.report(format!("expected {what}, found {}", quoted(text)));
        }
        number
    }

    fn placed<T>(&self, value: T) -> Placed<T> {
        Placed { value, at: self.at, path: self.path.clone() }
    }

    fn report_kind(&self, expected: &str) {
        let found = match &self.tree.kind {
            Kind::Refused => return,
            Kind::Null(text) if text.is_empty() => "no value".to_owned(),
            Kind::Null(text) => format!("no value: YAML reads {text} as null; quote it if the text is meant"),
            Kind::Text { .. } => "a single value".to_owned(),
            Kind::List(_) => "a list".to_owned(),
            Kind::Map(_) => "a map".to_owned(),
        };
        self.report(format!("expected {expected}, found {found}"));
    }
}

impl<'t> Fields<'t> {
    pub(super) fn report_unknown(&self) {
        for Unknown { entry, meant } in &self.unknown {
            let text = match meant {
                Some(meant) => format!("unknown key, did you mean {meant:?}?"),
                None => format!("unknown key; known here: {}", self.known.join(", ")),
            };
            self.problems.report(entry.at, &join(&self.path, &entry.key), text);
        }
    }

    /// The value of a key that may be left out.
    pub(super) fn get(&self, key: &str) -> Option<Value<'t>> {
        let entry = self.entries.iter().find(|entry| entry.key == key)?;
        // An empty value has no place of its own.
        let empty = matches!(&entry.value.kind, Kind::Null(text) if text.is_empty());
        let at = if empty { entry.at } else { entry.value.at };
        Some(Value { tree: &entry.value, at, path: join(&self.path, key), problems: self.problems })
    }

    /// The value of a key that must be there. A misspelt one is reported as unknown already, and not as missing too.
    pub(super) fn must(&self, key: &str, what: &str) -> Option<Value<'t>> {
        let value = self.get(key);
        let misspelt = || self.unknown.iter().any(|unknown| unknown.meant == Some(key));
        if value.is_none() && !misspelt() {
            self.problems.report(self.at, &join(&self.path, key), format!("missing key: {what}"));
        }
        value
    }

    /// Reads a key that must be there.
    pub(super) fn required<T>(
        &self,
        key: &str,
        what: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<Placed<T>> {
        self.must(key, what)?.read(what, parse)
    }

    /// Reads a key that may be left out. `None` also for a value that was reported: no [`Config`](super::Config)
    /// comes of it then.
    pub(super) fn optional<T>(
        &self,
        key: &str,
        what: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<Placed<T>> {
        self.get(key)?.read(what, parse)
    }

    /// Reads a list of at least one text.
    pub(super) fn list<T>(
        &self,
        key: &str,
        what: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<Vec<Placed<T>>> {
        let value = self.must(key, &format!("a list of {what}"))?;
        let items = value.items(what)?;
        if items.is_empty() {
            value.report(format!("expected at least one of {what}, found an empty list"));
        }
        Some(items.iter().filter_map(|item| item.read(what, &parse)).collect())
    }
}

/// No value of the cluster file is empty, has several lines, or holds what a terminal would obey.
fn printable<'a>(text: &'a str, what: &str) -> Result<&'a str, String> {
    let problem = if text.is_empty() {
        "an empty text"
    } else if text.len() > MAX_TEXT {
        "a text of more than 8192 bytes"
    } else if text.contains('\n') {
        "a text of several lines"
    } else if text.chars().any(char::is_control) {
        "a text with a control character"
    } else if text.trim() != text {
        "a text with a blank at its end"
    } else {
        return Ok(text);
    };
    Err(format!("expected {what}, found {problem}"))
}

/// The known word that was probably meant: the same but for case and separators, or a slip of a letter or two.
pub(crate) fn nearest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    let bare = |text: &str| text.to_lowercase().replace(['-', '_', ' '], "");
    if word.len() > 40 {
        return None;
    }
    let word = bare(word);
    let distance = |known: &str| strsim::osa_distance(&word, &bare(known));
    let (distance, meant) =
        known.iter().map(|known| (distance(known), *known)).min_by_key(|(distance, _)| *distance)?;
    (distance <= 2 && distance * 3 <= meant.len()).then_some(meant)
}
