//! Values of the tree on their way to what they mean: every step that fails is reported with its place.

use std::ops::RangeInclusive;

use serde_json::Value as Json;

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

impl<T: Copy> Placed<T> {
    /// Another value at the same place.
    pub(super) fn with<U>(&self, change: impl FnOnce(T) -> U) -> Placed<U> {
        Placed { value: change(self.value), at: self.at, path: self.path.clone() }
    }
}

/// What a map says when a key is missing, or its value null.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    /// It is all there is: what must be said is said here, and null says nothing.
    Whole,
    /// A layer: others may say the rest, and null takes away what those before said.
    Layer,
    /// All layers together: what must be said is said, and null is what was taken away.
    Merged,
}

/// A value of the tree.
pub(super) struct Value<'t> {
    tree: &'t Tree,
    at: Position,
    path: String,
    reading: Reading,
    problems: &'t Problems,
}

/// The entries of a map whose keys are known.
pub(super) struct Fields<'t> {
    entries: &'t [Entry],
    known: &'static [&'static str],
    unknown: Vec<Unknown<'t>>,
    at: Position,
    path: String,
    reading: Reading,
    problems: &'t Problems,
}

/// An entry whose key is not known, and the known one that was probably meant.
struct Unknown<'t> {
    entry: &'t Entry,
    meant: Option<&'static str>,
}

impl<'t> Value<'t> {
    pub(super) fn root(tree: &'t Tree, problems: &'t Problems) -> Self {
        Self { tree, at: tree.at, path: String::new(), reading: Reading::Whole, problems }
    }

    /// The same value, read in another way.
    pub(super) fn with(&self, reading: Reading) -> Self {
        let Self { tree, at, path, problems, .. } = self;
        Self { tree, at: *at, path: path.clone(), reading, problems }
    }

    /// Its tree.
    pub(super) fn tree(&self) -> &'t Tree {
        self.tree
    }

    /// Where it stands in the file, as problems show it.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// Whether other layers may say what is missing here.
    pub(super) fn is_layer(&self) -> bool {
        self.reading == Reading::Layer
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
        let fields = self.entries_of(known);
        if fields.is_none() {
            self.report_kind(&format!("a map with {}", known.join(", ")));
        }
        fields
    }

    /// The same for a value that was looked at already: nothing is reported.
    pub(super) fn entries_of(&self, known: &'static [&'static str]) -> Option<Fields<'t>> {
        let Kind::Map(entries) = &self.tree.kind else { return None };
        let unknown = entries.iter().filter(|entry| !known.contains(&entry.key.as_str()));
        let unknown = unknown.map(|entry| Unknown { entry, meant: nearest(&entry.key, known) }).collect();
        let Self { at, reading, problems, .. } = *self;
        Some(Fields { entries, known, unknown, at, path: self.path.clone(), reading, problems })
    }

    /// The value as a map whose keys are the user's; `key` says which are valid. An entry that null takes away has no
    /// value.
    pub(super) fn entries<K>(
        &self,
        what: &str,
        key: impl Fn(&str) -> Result<K, String>,
    ) -> Option<Vec<(K, Option<Value<'t>>)>> {
        let Kind::Map(entries) = &self.tree.kind else {
            self.report_kind(&format!("a map of {what}"));
            return None;
        };
        let read = |entry: &'t Entry| {
            let value = child(entry, &self.path, self.reading, self.problems);
            let valid = printable(&entry.key, what).and_then(&key);
            let key = valid.map_err(|problem| {
                self.problems.report(entry.at, &join(&self.path, &entry.key), problem);
            });
            Some((key.ok()?, value))
        };
        Some(entries.iter().filter_map(read).collect())
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
            // A list is said by one layer.
            reading: Reading::Whole,
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

    /// The value as a text of any length, with several lines or none.
    pub(super) fn text(&self, what: &str) -> Option<&'t str> {
        if let Kind::Text { text, .. } = &self.tree.kind {
            return Some(text);
        }
        self.report_kind(what);
        None
    }

    /// The value as a map of free form.
    pub(super) fn free_map(&self, what: &str) -> Option<serde_json::Map<String, Json>> {
        let Kind::Map(_) = &self.tree.kind else {
            self.report_kind(what);
            return None;
        };
        let Json::Object(map) = self.json() else { return None };
        Some(map)
    }

    /// The value as YAML 1.2's core schema (10.3) reads it. What another reader of YAML would take for another type is
    /// reported; so is a number that JSON does not have.
    fn json(&self) -> Json {
        match &self.tree.kind {
            Kind::Refused | Kind::Null(_) => Json::Null,
            Kind::Text { text, plain: false } => Json::String(text.clone()),
            Kind::Text { text, plain: true } => core_schema(text).unwrap_or_else(|problem| {
                self.report(problem);
                Json::Null
            }),
            Kind::List(items) => {
                let item = |(index, tree): (usize, &'t Tree)| {
                    let path = format!("{}[{index}]", self.path);
                    Self { tree, at: tree.at, path, ..*self }.json()
                };
                Json::Array(items.iter().enumerate().map(item).collect())
            }
            Kind::Map(entries) => {
                let entry = |entry: &'t Entry| {
                    let Entry { key, value: tree, .. } = entry;
                    (key.clone(), Self { tree, at: tree.at, path: join(&self.path, key), ..*self }.json())
                };
                Json::Object(entries.iter().map(entry).collect())
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
            Kind::Null(text) if text.is_empty() && self.reading == Reading::Whole => "no value".to_owned(),
            Kind::Null(text) if text.is_empty() => "no value; null is what takes away an earlier layer's".to_owned(),
            Kind::Null(text) => format!("no value: YAML reads {text} as null; quote it if the text is meant"),
            Kind::Text { .. } => "a single value".to_owned(),
            Kind::List(_) => "a list".to_owned(),
            Kind::Map(_) => "a map".to_owned(),
        };
        self.report(format!("expected {expected}, found {found}"));
    }
}

impl<'t> Fields<'t> {
    fn report_unknown(&self) {
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
        child(entry, &self.path, self.reading, self.problems)
    }

    /// The value of a key that must be there. A misspelt one is reported as unknown already, and not as missing too.
    pub(super) fn must(&self, key: &str, what: &str) -> Option<Value<'t>> {
        let value = self.get(key);
        let misspelt = || self.unknown.iter().any(|unknown| unknown.meant == Some(key));
        if value.is_none() && self.reading != Reading::Layer && !misspelt() {
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

/// The value of an entry; none where null takes it away.
fn child<'t>(entry: &'t Entry, path: &str, reading: Reading, problems: &'t Problems) -> Option<Value<'t>> {
    let tree = &entry.value;
    let at = match &tree.kind {
        // An empty value has no place of its own.
        Kind::Null(text) if text.is_empty() => entry.at,
        Kind::Null(_) if reading != Reading::Whole => return None,
        _ => tree.at,
    };
    Some(Value { tree, at, path: join(path, &entry.key), reading, problems })
}

/// A plain scalar other than null by YAML 1.2's core schema (10.3.2). Texts are not quoted in problems: what stands in a
/// map of free form may be a secret.
fn core_schema(text: &str) -> Result<Json, String> {
    const BOTH: &str = "what some readers of YAML take for";
    match text {
        "true" | "True" | "TRUE" => return Ok(Json::Bool(true)),
        "false" | "False" | "FALSE" => return Ok(Json::Bool(false)),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" | "-.inf" | "-.Inf" | "-.INF" | ".nan" | ".NaN"
        | ".NAN" => return Err("a number without end, or none at all, has no place here".to_owned()),
        _ => {}
    }
    if ["yes", "no", "on", "off"].contains(&text.to_ascii_lowercase().as_str()) {
        return Err(format!("{BOTH} true or false, and others for a text; write true or false, or quote the text"));
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if is_digits(unsigned) {
        if unsigned.len() > 1 && unsigned.starts_with('0') {
            return Err(format!("{BOTH} an octal number, and others for a decimal one; quote it if a text is meant"));
        }
        let text = text.strip_prefix('+').unwrap_or(text);
        return kept(text.parse::<i64>().map(Json::from).or_else(|_| text.parse::<u64>().map(Json::from)).ok());
    }
    for (prefix, radix) in [("0x", 16), ("0o", 8)] {
        if let Some(digits) = text.strip_prefix(prefix)
            && !digits.is_empty()
            && digits.chars().all(|digit| digit.is_digit(radix))
        {
            return kept(u64::from_str_radix(digits, radix).map(Json::from).ok());
        }
    }
    let (mantissa, exponent) = unsigned.split_once(['e', 'E']).map_or((unsigned, None), |(m, e)| (m, Some(e)));
    let exponent_fits =
        exponent.is_none_or(|exponent| is_digits(exponent.strip_prefix(['-', '+']).unwrap_or(exponent)));
    let (before, after) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if exponent_fits && digits(before) && digits(after) && !(before.is_empty() && after.is_empty()) {
        let number = text.parse::<f64>().ok().and_then(serde_json::Number::from_f64);
        return kept(number.map(Json::Number));
    }
    Ok(Json::String(text.to_owned()))
}

fn kept(number: Option<Json>) -> Result<Json, String> {
    number.ok_or_else(|| "a number too large to be kept as it is; quote it if a text is meant".to_owned())
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
