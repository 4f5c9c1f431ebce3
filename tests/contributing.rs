//! CONTRIBUTING.md leads through the code: each place that it names is there.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What stands between backticks, each with what stands behind it.
fn spans(text: &str) -> Vec<(&str, &str)> {
    let mut spans = Vec::new();
    let mut rest = text;
    while let Some((_, behind)) = rest.split_once('`') {
        let (span, behind) = behind.split_once('`').unwrap();
        spans.push((span, behind));
        rest = behind;
    }
    spans
}

/// The text without its blocks, and the lines of these.
fn parts(text: &str) -> (String, Vec<&str>) {
    let blocks = text.split("```").skip(1).step_by(2);
    (text.split("```").step_by(2).collect(), blocks.flat_map(str::lines).collect())
}

fn is_path(span: &str) -> bool {
    let document = Path::new(span).extension().is_some_and(|it| it == "md" || it == "toml");
    let like_one = span.contains('/') || document || span == "Makefile";
    // What is built is not in the repository.
    like_one && !span.contains([' ', ':']) && !span.starts_with("target/")
}

/// The names in brackets behind a file's, each between backticks.
fn names(behind: &str) -> Vec<&str> {
    let inner = behind.trim_start().strip_prefix("(`").and_then(|rest| Some(rest.split_once(')')?.0));
    inner.into_iter().flat_map(|inner| inner.split(',')).map(|name| name.trim().trim_matches('`')).collect()
}

/// Whether a text has a name as a word of its own.
fn has(text: &str, name: &str) -> bool {
    let part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.match_indices(name).any(|(at, _)| !text[..at].ends_with(part) && !text[at + name.len()..].starts_with(part))
}

/// What a text names that is not there.
fn missing(text: &str) -> Vec<String> {
    let (prose, lines) = parts(text);
    let mut missing = Vec::new();
    for (span, behind) in spans(&prose).into_iter().filter(|(span, _)| is_path(span)) {
        let path = repository().join(span);
        if !path.exists() {
            missing.push(span.to_owned());
            continue;
        }
        for name in names(behind).into_iter().filter(|_| path.is_file()) {
            if !has(&fs::read_to_string(&path).unwrap(), name) {
                missing.push(format!("{name} in {span}"));
            }
        }
    }
    let makefile = fs::read_to_string(repository().join("Makefile")).unwrap();
    let is_target = |word: &str| makefile.lines().any(|line| line.starts_with(&format!("{word}:")));
    let commands = spans(&prose).into_iter().map(|(span, _)| span).chain(lines).filter(|it| it.starts_with("make "));
    let targets = commands.flat_map(|it| it.split(' ').skip(1).take_while(|word| !word.contains('=')));
    missing.extend(targets.filter(|word| !is_target(word)).map(|word| format!("make {word}")));
    let is_test = |name: &str| {
        let tests = repository().join("tests");
        tests.join(format!("{name}.rs")).exists() || tests.join(name).join("main.rs").exists()
    };
    let tests = text.split("--test ").skip(1).filter_map(|rest| rest.split([' ', '`', '"', '\n']).next());
    missing.extend(tests.filter(|name| !is_test(name)).map(|name| format!("--test {name}")));
    missing
}

#[test]
fn what_is_named_is_there() {
    let text = fs::read_to_string(repository().join("CONTRIBUTING.md")).unwrap();
    assert_eq!(missing(&text), [""; 0]);
    // It is no empty list that nothing is missing of.
    let (prose, _) = parts(&text);
    let all = spans(&prose);
    assert!(all.iter().filter(|(span, _)| is_path(span)).count() > 40, "{all:?}");
    assert!(all.iter().flat_map(|(_, behind)| names(behind)).count() > 20, "{all:?}");
}

#[test]
fn what_is_not_there_is_found() {
    for (text, wanted) in [
        ("see `src/nowhere.rs`", &["src/nowhere.rs"][..]),
        ("see `src/cli.rs` (`Cli`, `NoSuchName`)", &["NoSuchName in src/cli.rs"]),
        ("see `src/cli.rs`\n(`Cli`,\n  `Gone`)", &["Gone in src/cli.rs"]),
        ("see `src/cli.rs` (`Cl`)", &["Cl in src/cli.rs"]),
        ("`Makefile`, `NOTES.md`, `make lint frob X=1`", &["NOTES.md", "make frob"]),
        ("```text\nmake frob\ncargo test --test frob\n```\n", &["make frob", "--test frob"]),
        ("`target/release/nodebake`, `--offline`, `a b/c`, `make lint`, `cargo test --test packaging -- x`", &[]),
    ] {
        assert_eq!(missing(text), wanted, "{text}");
    }
}

/// What is built without tests is what is built with them: else all that stands on what differs is built twice.
#[test]
fn tests_ask_no_more_of_what_is_shared() {
    let crates = |edges: &str| {
        let mut tree = Command::new(env!("CARGO"));
        tree.args(["tree", "--workspace", "--locked", "--offline", "--prefix", "none", "-f", "{p} {f}", "-e", edges]);
        let output = tree.current_dir(repository()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let lines = String::from_utf8(output.stdout).unwrap();
        lines.lines().map(|line| line.trim_end_matches(" (*)").to_owned()).collect::<BTreeSet<_>>()
    };
    let (without, with) = (crates("normal,build"), crates("normal,build,dev"));
    assert!(without.len() > 100, "{without:?}");
    assert_eq!(without.difference(&with).collect::<Vec<_>>(), Vec::<&String>::new());
}
