//! YAML text as a tree in which every value knows its place.
//!
//! The tree holds what serde's data model loses: lines, duplicate keys, and whether a scalar was quoted. What a
//! cluster file has no use for is refused, not interpreted: anchors and aliases (and with them documents that
//! expand without bound), tags, several documents, nesting without bound.

use std::collections::BTreeMap;

use saphyr_parser::{Event, Parser, ScalarStyle, Span};

use super::problem::{Position, Problems, quoted};

/// Levels of lists and maps; the cluster file needs four.
const MAX_DEPTH: usize = 16;

/// A value and where it starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tree {
    pub(super) at: Position,
    pub(super) kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// A plain scalar that YAML 1.2's core schema (10.3.2) resolves to null, with its text.
    Null(String),
    /// Any other scalar. What it means is up to the place where it stands, so it keeps its text.
    Text {
        text: String,
        plain: bool,
    },
    List(Vec<Tree>),
    /// Keys are unique.
    Map(Vec<Entry>),
    /// Already reported; whoever meets it stays silent.
    Refused,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) key: String,
    /// Where the key starts.
    pub(super) at: Position,
    pub(super) value: Tree,
}

impl Tree {
    /// Reads the one document of `text`; `None` where there is none that could be looked at further (reported).
    pub(super) fn read(text: &str, problems: &Problems) -> Option<Self> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut builder = Builder { problems, open: Vec::new(), root: None };
        let mut parser = Parser::new_from_str(text);
        let mut documents = 0;
        while let Some(next) = parser.next_event() {
            let (event, span) = match next {
                Ok(next) => next,
                Err(error) => {
                    problems.report(place(text, *error.marker()), "", format!("not valid YAML: {}", error.info()));
                    return None;
                }
            };
            if matches!(event, Event::DocumentStart(_)) {
                documents += 1;
                if documents > 1 {
                    problems.report(start(span), "", "a second document; a cluster file is one");
                    break;
                }
            }
            if !builder.take(event, span) {
                return None;
            }
        }
        if builder.root.is_none() {
            problems.report(Position { line: 1, column: 1 }, "", "the file is empty");
        }
        builder.root
    }
}

fn position(marker: saphyr_parser::Marker) -> Position {
    Position { line: marker.line(), column: marker.col() + 1 }
}

/// The place of what is not YAML. Of a text without a line feed at its end the parser puts that end on a line of its own.
fn place(text: &str, marker: saphyr_parser::Marker) -> Position {
    let at = position(marker);
    let last = text.rsplit(['\n', '\r']).next().unwrap_or_default().chars().count();
    let beyond = last > 0 && at.column == 1 && marker.index() >= text.chars().count();
    if beyond { Position { line: at.line - 1, column: last + 1 } } else { at }
}

fn start(span: Span) -> Position {
    position(span.start)
}

/// Appends a key to a path; a key that is no plain word is quoted.
pub(super) fn join(path: &str, key: &str) -> String {
    let word =
        !key.is_empty() && key.len() <= 60 && key.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b));
    let key = if word { key.to_owned() } else { quoted(key) };
    if path.is_empty() { key } else { format!("{path}.{key}") }
}

/// A list or map whose end has not been met yet.
enum Open {
    List { at: Position, items: Vec<Tree> },
    Map { at: Position, entries: Vec<Entry>, seen: BTreeMap<String, Position>, next: Next },
}

/// What the next value inside a map is.
enum Next {
    Key,
    ValueOf(String, Position),
    /// The value of a key that was refused.
    Dropped,
}

struct Builder<'p> {
    problems: &'p Problems,
    open: Vec<Open>,
    root: Option<Tree>,
}

impl Builder<'_> {
    /// Takes one event; false when reading on makes no sense.
    fn take(&mut self, event: Event<'_>, span: Span) -> bool {
        let at = start(span);
        match event {
            Event::Alias(_) => {
                self.refuse(at, "an alias (*); write the value out");
                self.place(Tree { at, kind: Kind::Refused });
            }
            Event::Scalar(text, style, anchor, tag) => {
                self.refuse_properties(at, anchor, tag.is_some());
                let plain = style == ScalarStyle::Plain;
                let kind = if tag.is_some() {
                    Kind::Refused
                } else if plain && matches!(&*text, "" | "~" | "null" | "Null" | "NULL") {
                    Kind::Null(text.into_owned())
                } else {
                    Kind::Text { text: text.into_owned(), plain }
                };
                self.place(Tree { at, kind });
            }
            Event::SequenceStart(anchor, tag) => {
                self.refuse_properties(at, anchor, tag.is_some());
                return self.enter(Open::List { at, items: Vec::new() }, at);
            }
            Event::MappingStart(anchor, tag) => {
                self.refuse_properties(at, anchor, tag.is_some());
                let map = Open::Map { at, entries: Vec::new(), seen: BTreeMap::new(), next: Next::Key };
                return self.enter(map, at);
            }
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(Open::List { at, items }) => self.place(Tree { at, kind: Kind::List(items) }),
                Some(Open::Map { at, entries, .. }) => self.place(Tree { at, kind: Kind::Map(entries) }),
                None => {}
            },
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) | Event::DocumentEnd => {}
        }
        true
    }

    fn enter(&mut self, open: Open, at: Position) -> bool {
        if self.open.len() == MAX_DEPTH {
            self.refuse(at, &format!("nested deeper than {MAX_DEPTH} levels"));
            return false;
        }
        self.open.push(open);
        true
    }

    fn refuse_properties(&self, at: Position, anchor: usize, tagged: bool) {
        if anchor != 0 {
            self.refuse(at, "an anchor (&); write the value out wherever it is meant");
        }
        if tagged {
            self.refuse(at, "a tag (!); leave it out, quotes make a text");
        }
    }

    fn refuse(&self, at: Position, text: &str) {
        self.problems.report(at, &self.path(), text);
    }

    /// Path of the value that comes next.
    fn path(&self) -> String {
        self.open.iter().fold(String::new(), |path, open| match open {
            Open::List { items, .. } => format!("{path}[{}]", items.len()),
            Open::Map { next: Next::ValueOf(key, _), .. } => join(&path, key),
            Open::Map { .. } => path,
        })
    }

    /// Puts a finished value where it belongs.
    fn place(&mut self, tree: Tree) {
        match self.open.last_mut() {
            None => self.root = Some(tree),
            Some(Open::List { items, .. }) => items.push(tree),
            Some(Open::Map { entries, next, .. }) => match std::mem::replace(next, Next::Key) {
                Next::Key => self.place_key(tree),
                Next::ValueOf(key, at) => entries.push(Entry { key, at, value: tree }),
                Next::Dropped => {}
            },
        }
    }

    fn place_key(&mut self, tree: Tree) {
        let path = self.path();
        let Some(Open::Map { seen, next, .. }) = self.open.last_mut() else { return };
        *next = Next::Dropped;
        let problem = match tree.kind {
            Kind::Text { text, .. } => {
                let Some(first) = seen.get(&text) else {
                    seen.insert(text.clone(), tree.at);
                    *next = Next::ValueOf(text, tree.at);
                    return;
                };
                (join(&path, &text), format!("duplicate key, first given in line {}", first.line))
            }
            Kind::Null(_) => (path, "a key is missing before \":\"".to_owned()),
            Kind::List(_) | Kind::Map(_) => (path, "a key must be a word, not a list or a map".to_owned()),
            Kind::Refused => return,
        };
        self.problems.report(tree.at, &problem.0, problem.1);
    }
}
