//! Keys that once stood elsewhere: for a while they are read where they stood, with a warning (docs/compatibility.md).
//!
//! The tree is put right before anybody reads it, so that nobody else knows of former places. What moves keeps its place in
//! the file, and so problems keep their lines.

use super::problem::{Position, Problem, Problems};
use super::tree::{Entry, Kind, Tree, join};

/// A key that moved.
struct Moved {
    /// Where it stood.
    from: &'static [&'static str],
    /// Where it stands.
    to: &'static [&'static str],
    /// The first version that does not read it where it stood; at least two minor versions after it moved.
    until: &'static str,
}

/// All of them. One whose time is over is taken out of here and of schema.json.
const MOVED: [Moved; 7] = [
    Moved { from: &["arch"], to: &["defaults", "arch"], until: "0.3" },
    Moved { from: &["machine", "cpus"], to: &["defaults", "cpus"], until: "0.3" },
    Moved { from: &["machine", "memory"], to: &["defaults", "memory"], until: "0.3" },
    Moved { from: &["machine", "disk"], to: &["defaults", "disk"], until: "0.3" },
    Moved { from: &["ntp"], to: &["defaults", "ntp"], until: "0.3" },
    Moved { from: &["proxy"], to: &["defaults", "proxy"], until: "0.3" },
    Moved { from: &["ssh"], to: &["defaults", "ssh"], until: "0.3" },
];

/// Puts every key to where it belongs; gives a warning for each. One that stands there as well is a problem: nobody could
/// tell which is meant.
pub(super) fn put_right(tree: &mut Tree, problems: &Problems) -> Vec<Problem> {
    let mut warnings = Vec::new();
    for Moved { from, to, until } in &MOVED {
        let Some(entry) = take(tree, from) else { continue };
        let (at, from, stands) = (entry.at, path(from), path(to));
        match put(tree, to, entry) {
            Ok(()) => {
                let text = format!("is {stands} now; it is read here until nodebake {until}");
                warnings.push(Problem { at, path: from, text });
            }
            Err(there) => {
                problems.report(at, &from, format!("is {stands} now, which line {} gives already", there.line));
            }
        }
    }
    warnings.sort();
    warnings
}

fn path(keys: &[&str]) -> String {
    keys.iter().fold(String::new(), |path, key| join(&path, key))
}

/// Takes an entry out of a tree, and the maps around it that it leaves empty.
fn take(tree: &mut Tree, keys: &[&str]) -> Option<Entry> {
    let (key, rest) = keys.split_first()?;
    let Kind::Map(entries) = &mut tree.kind else { return None };
    let at = entries.iter().position(|entry| entry.key == *key)?;
    if rest.is_empty() {
        return Some(entries.remove(at));
    }
    let inner = &mut entries.get_mut(at)?.value;
    let taken = take(inner, rest)?;
    if matches!(&inner.kind, Kind::Map(left) if left.is_empty()) {
        entries.remove(at);
    }
    Some(taken)
}

/// Puts an entry under the last of `keys`; or says where one stands already. Into what is no map nothing can be put: that is
/// reported by whoever reads it.
fn put(tree: &mut Tree, keys: &[&str], entry: Entry) -> Result<(), Position> {
    let (Some((key, rest)), Kind::Map(entries)) = (keys.split_first(), &mut tree.kind) else { return Ok(()) };
    let there = entries.iter_mut().find(|there| there.key == *key);
    if rest.is_empty() {
        if let Some(there) = there {
            return Err(there.at);
        }
        entries.push(Entry { key: (*key).to_owned(), ..entry });
        return Ok(());
    }
    if let Some(there) = there {
        return put(&mut there.value, rest, entry);
    }
    let at = entry.at;
    let mut value = Tree { at, kind: Kind::Map(Vec::new()) };
    let done = put(&mut value, rest, entry);
    entries.push(Entry { key: (*key).to_owned(), at, value });
    done
}

/// The first key of each former place, for the schema's tests.
#[cfg(test)]
pub(super) fn roots() -> std::collections::BTreeSet<&'static str> {
    MOVED.iter().filter_map(|moved| moved.from.first().copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A version that promised to read a key no more does not read it.
    #[test]
    fn what_is_over_is_taken_out() {
        let this = number(env!("CARGO_PKG_VERSION"));
        for Moved { from, until, .. } in &MOVED {
            assert!(this < number(until), "{from:?} was to be read until {until}");
        }
        assert!(number("0.2.9") < number("0.3") && number("0.3.0") >= number("0.3") && number("0.10") > number("0.9"));
    }

    fn number(version: &str) -> Vec<u64> {
        version.split('.').take(2).map(|part| part.parse().unwrap_or_default()).collect()
    }
}
