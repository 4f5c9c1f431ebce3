//! What can be wrong with a cluster file, and where.

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::path::PathBuf;

/// A place in the text of the cluster file; both counts start at 1, columns count characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Line.
    pub line: usize,
    /// Column.
    pub column: usize,
}

/// One thing in the cluster file that must be corrected. Shown as `LINE:COLUMN: PATH: TEXT`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Where it stands.
    pub at: Position,
    /// The value that it concerns, as `nodes[0].memory`; empty for the file as a whole.
    pub path: String,
    /// What was found and what was meant. It never holds a secret and never a control character.
    pub text: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", self.at.line, self.at.column)?;
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.text)
    }
}

/// Why there is no [`Config`](super::Config).
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The cluster file cannot be read.
    #[error("cannot read the cluster file {}", path.display())]
    Read {
        /// The file as it was named.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The cluster file is not valid.
    #[error("{}", listing(file, problems))]
    Invalid {
        /// The file as it was named.
        file: PathBuf,
        /// All that is wrong with it, in the order of the file.
        problems: Vec<Problem>,
    },
}

/// A heading, then one line a problem in the form in which compilers report, which editors can follow.
fn listing(file: &std::path::Path, problems: &[Problem]) -> String {
    let file = file.display();
    let count = match problems.len() {
        1 => "1 problem".to_owned(),
        n => format!("{n} problems"),
    };
    let heading = format!("{count} in {file}");
    let lines = problems.iter().map(|problem| format!("{file}:{problem}"));
    std::iter::once(heading).chain(lines).collect::<Vec<_>>().join("\n")
}

impl ConfigError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Read { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                Some("run `nodebake init` to write one, or name yours with --config FILE".to_owned())
            }
            Self::Read { .. } => None,
            Self::Invalid { .. } => {
                Some("`nodebake init`, run in an empty folder, writes a complete example with comments".to_owned())
            }
        }
    }
}

/// Collects problems while the file is read, so that one bad value does not hide the next.
#[derive(Default)]
pub(super) struct Problems(RefCell<Vec<Problem>>);

impl Problems {
    pub(super) fn report(&self, at: Position, path: &str, text: impl Into<String>) {
        self.0.borrow_mut().push(Problem { at, path: path.to_owned(), text: text.into() });
    }

    /// Whether the same was reported of this place already.
    pub(super) fn has(&self, at: Position, text: &str) -> bool {
        self.0.borrow().iter().any(|problem| problem.at == at && problem.text == text)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }

    /// All problems in the order of the file.
    pub(super) fn into_sorted(self) -> Vec<Problem> {
        let mut problems = self.0.into_inner();
        problems.sort_by_key(|problem| problem.at);
        problems
    }
}

/// A text from the file as messages quote it: escaped, and cut where it gets long.
pub(super) fn quoted(text: &str) -> String {
    const LIMIT: usize = 60;
    match text.char_indices().nth(LIMIT) {
        Some((end, _)) => format!("{:?}...", &text[..end]),
        None => format!("{text:?}"),
    }
}
