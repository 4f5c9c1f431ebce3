//! The README and docs/: what a reader would type is typed, and what the pages show is what is shown.
//!
//! Each block between ```` ```console ```` and ```` ``` ```` is run in order, where its page says (page.rs has the comments
//! for that, scene.rs the places). What a page quotes of a cluster file must be taken by the program; what it quotes of
//! messages must stand in the source. A page that is in no list of this file fails.

mod page;
mod scene;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use clap::CommandFactory as _;
use nodebake::cli::Cli;
use nodebake::config::{Config, INIT};
use serde_json::Value;

use crate::schema;
use crate::world::{Ran, has_extension, walk};
use page::Block;
use scene::Scene;

/// A test for each page.
macro_rules! documents {
    ($($name:ident: $path:literal,)*) => {
        const PAGES: &[&str] = &[$($path,)*];
        $(
            #[test]
            fn $name() {
                let problems = check(&fs::read_to_string(repository().join($path)).unwrap());
                assert!(problems.is_empty(), "{}:\n{}", $path, problems.join("\n"));
            }
        )*
    };
}

documents! {
    readme: "README.md",
    architecture: "docs/architecture.md",
    benchmarks: "docs/benchmarks.md",
    cluster: "docs/cluster.md",
    commands: "docs/commands.md",
    comparison: "docs/comparison.md",
    compatibility: "docs/compatibility.md",
    configuration: "docs/configuration.md",
    drift: "docs/drift.md",
    first_boot: "docs/first-boot.md",
    from_the_ssh_script: "docs/from-the-ssh-script.md",
    hypervisors: "docs/hypervisors.md",
    identity: "docs/identity.md",
    licenses: "docs/licenses.md",
    nodes: "docs/nodes.md",
    operations: "docs/operations.md",
    output: "docs/output.md",
    promises: "docs/promises.md",
    provenance: "docs/provenance.md",
    status: "docs/status.md",
    supply_chain: "docs/supply-chain.md",
    taking_over: "docs/taking-over.md",
    troubleshooting: "docs/troubleshooting.md",
    tutorial: "docs/tutorial.md",
}

#[test]
fn every_page_is_listed() {
    assert_eq!(unlisted(repository(), PAGES), BTreeSet::new());
}

/// Pages of a repository that are not listed.
fn unlisted(repository: &Path, listed: &[&str]) -> BTreeSet<String> {
    let mut pages = BTreeSet::from(["README.md".to_owned()]);
    walk(&repository.join("docs"), &mut |path| {
        let name = path.strip_prefix(repository).unwrap().to_str().unwrap();
        if has_extension(name, "md") {
            pages.insert(name.to_owned());
        }
    });
    pages.into_iter().filter(|page| !listed.contains(&page.as_str())).collect()
}

/// The way of the data stands on the page and in the crate's documentation alike.
#[test]
fn the_way_of_the_data_is_told_alike() {
    let crates = fs::read_to_string(repository().join("src/lib.rs")).unwrap();
    let words: Vec<_> = crates.lines().filter_map(|line| line.strip_prefix("//!")).map(str::trim_start).collect();
    let words = words.join("\n");
    let drawn = words.split("```text\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let page = fs::read_to_string(repository().join("docs/architecture.md")).unwrap();
    assert!(page.contains(&format!("```text\n{drawn}```\n")), "{drawn}");
}

#[test]
fn every_verb_has_a_row() {
    let page = fs::read_to_string(repository().join("docs/commands.md")).unwrap();
    let rows = page.lines().filter_map(|line| line.strip_prefix("| ")?.split(" |").next());
    let named: BTreeSet<_> = rows.flat_map(|cell| cell.split('`').skip(1).step_by(2)).map(first_word).collect();
    let verbs: Vec<_> = Cli::command().get_subcommands().map(|verb| verb.get_name().to_owned()).collect();
    let missing: Vec<_> = verbs.iter().filter(|verb| !named.contains(verb.as_str())).collect();
    assert!(verbs.len() > 25 && missing.is_empty(), "{missing:?}");
}

fn first_word(text: &str) -> &str {
    text.split([' ', ',']).next().unwrap()
}

/// Links from page to page lead somewhere.
#[test]
fn links_lead_to_files_that_are_there() {
    let mut broken = Vec::new();
    for page in PAGES {
        let path = repository().join(page);
        let text = fs::read_to_string(&path).unwrap();
        // What stands in backquotes is no link, however it looks.
        let text: String = text.split('`').step_by(2).collect();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = target.split('#').next().unwrap();
            let elsewhere = file.is_empty() || file.contains("://");
            if !elsewhere && !path.parent().unwrap().join(file).exists() {
                broken.push(format!("{page}: {target}"));
            }
        }
    }
    assert_eq!(broken, [""; 0]);
}

/// Who searches for a message finds it: each heading of the page is one that the program has.
#[test]
fn symptoms_are_messages_of_the_program() {
    let page = fs::read_to_string(repository().join("docs/troubleshooting.md")).unwrap();
    let messages = quoted_headings(&page);
    assert!(messages.len() > 30, "{messages:?}");
    let source: Vec<_> = sources(&["src"], "rs").iter().map(|text| as_printed(text)).collect();
    let unknown: Vec<_> =
        messages.into_iter().filter(|message| !source.iter().any(|text| text.contains(message.as_str()))).collect();
    assert_eq!(unknown, [""; 0]);
    // And such a comparison can fail.
    assert!(!source.iter().any(|text| text.contains("…: failed to get somewhere near \"…\"")));
}

/// What stands in backquotes in headings that are nothing else.
fn quoted_headings(page: &str) -> Vec<String> {
    let quoted = |line: &str| line.strip_prefix("### `")?.strip_suffix('`').map(str::to_owned);
    page.lines().filter_map(quoted).collect()
}

/// Source with the texts in it as they are printed, and the pages' sign in the place of what is filled in.
fn as_printed(source: &str) -> String {
    let mut text = String::new();
    let mut lines = source.lines();
    while let Some(line) = lines.next() {
        text.push_str(line);
        // A text that goes on in the next line.
        while let Some(begun) = text.strip_suffix('\\').map(str::to_owned) {
            text = begun;
            text.push_str(lines.next().unwrap_or_default().trim_start());
        }
        text.push('\n');
    }
    let mut printed = String::new();
    let mut rest = text.replace("\\\"", "\"");
    while let Some((before, after)) = rest.split_once('{') {
        printed.push_str(before);
        match after.split_once('}') {
            Some((name, after)) if !name.contains(['\n', '"', '{']) => {
                printed.push('…');
                rest = after.to_owned();
            }
            _ => {
                printed.push('{');
                rest = after.to_owned();
            }
        }
    }
    printed + &rest
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What is wrong with a page; nothing stops at the first of it.
fn check(text: &str) -> Vec<String> {
    let (blocks, mut problems) = page::parse(text);
    let mut place = Place::Nowhere;
    for block in &blocks {
        if let Some(world) = &block.notes.world {
            place = match Scene::begin(world) {
                Ok(Some(scene)) => Place::At(Box::new(scene)),
                Ok(None) => Place::NotAsThisUser,
                Err(problem) => {
                    problems.push(format!("line {}: {problem}", block.line));
                    Place::Nowhere
                }
            };
        }
        let found = match (block.language.as_str(), &block.notes.elsewhere) {
            ("console", Some(named)) => is_run_elsewhere(named),
            ("console", None) => run(block, &place),
            ("yaml", _) => quoted_yaml(&block.lines.join("\n")),
            _ => Vec::new(),
        };
        problems.extend(found.into_iter().map(|problem| format!("line {}: {problem}", block.line)));
    }
    problems
}

/// Where the blocks of a page are run.
enum Place {
    Nowhere,
    /// It takes root to make it.
    NotAsThisUser,
    At(Box<Scene>),
}

/// Runs the commands of a block.
fn run(block: &Block, place: &Place) -> Vec<String> {
    let scene = match place {
        Place::At(scene) => scene,
        Place::NotAsThisUser => return Vec::new(),
        Place::Nowhere => return vec!["no world is named above it".to_owned()],
    };
    let mut problems: Vec<_> = block.notes.meanwhile.iter().filter_map(|what| scene.meanwhile(what).err()).collect();
    let steps = block.steps();
    let last = steps.len() - 1;
    for (at, step) in steps.iter().enumerate() {
        let Ran { code, stdout: said, .. } = scene.run(&step.command);
        let wanted = if at == last { block.notes.exit } else { 0 };
        if code != wanted {
            problems.push(format!("{:?} of line {} ends with {code}, not {wanted}:\n{said}", step.command, step.line));
        } else if !block.notes.any_output && !step.shows(&said) {
            problems.push(format!("{:?} of line {} shows something else:\n{said}", step.command, step.line));
        }
        if !block.notes.any_output && !step.tells() {
            problems.push(format!("anything is right for {:?} of line {}: say `output: any`", step.command, step.line));
        }
    }
    problems
}

/// What is run elsewhere must be run there: a target of the Makefile, or a test.
fn is_run_elsewhere(named: &str) -> Vec<String> {
    let found = match named.strip_prefix("make ") {
        Some(target) => targets().contains(target),
        None => tests().contains(named),
    };
    if found { Vec::new() } else { vec![format!("there is no such target or test: {named:?}")] }
}

fn targets() -> BTreeSet<String> {
    let makefile = fs::read_to_string(repository().join("Makefile")).unwrap();
    let names = makefile.lines().filter(|line| !line.starts_with(['\t', ' ', '#', '.']));
    names.filter_map(|line| line.split_once(':')).map(|(name, _)| name.to_owned()).collect()
}

/// Names of the functions behind `#[test]` in tests/ and src/.
fn tests() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for text in sources(&["tests", "src"], "rs") {
        let mut lines = text.lines().map(str::trim);
        while let Some(line) = lines.next() {
            if line == "#[test]" {
                let function = lines.by_ref().find(|line| !line.starts_with('#')).unwrap_or_default();
                let name = function.strip_prefix("fn ").and_then(|rest| rest.split('(').next());
                names.extend(name.map(str::to_owned));
            }
        }
    }
    names
}

/// The texts of all files of some folders of the repository with this extension.
fn sources(folders: &[&str], extension: &str) -> Vec<String> {
    let mut files: Vec<PathBuf> = Vec::new();
    for folder in folders {
        walk(&repository().join(folder), &mut |path| {
            if path.is_file() && path.extension().is_some_and(|found| found == extension) {
                files.push(path.to_owned());
            }
        });
    }
    files.iter().map(|path| fs::read_to_string(path).unwrap()).collect()
}

/// YAML of a page is an object of Kubernetes, or goes into a cluster file: laid over the example, it must be taken.
fn quoted_yaml(text: &str) -> Vec<String> {
    let patch: Value = match serde_yaml::from_str(text) {
        Ok(patch) => patch,
        Err(error) => return vec![format!("no YAML: {error}")],
    };
    if patch.get("kind").is_some() {
        return Vec::new();
    }
    let mut whole: Value = serde_yaml::from_str(INIT).unwrap();
    // Of two ways to say a thing a file has one.
    for (key, other) in [("hypervisors", "/libvirt"), ("libvirt", "/hypervisors")] {
        if patch.get(key).is_some() {
            remove(&mut whole, other);
        }
    }
    if patch.pointer("/network/bridge").is_some() || patch.get("hypervisors").is_some() {
        remove(&mut whole, "/network/name");
    }
    lay_over(&mut whole, &patch);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("nodebake.yaml");
    fs::write(&file, serde_yaml::to_string(&whole).unwrap()).unwrap();
    match Config::load(&file) {
        Ok(_) => schema::check(&file),
        Err(error) => return vec![format!("the program does not take it: {}", nodebake::error::chain(&error))],
    }
    Vec::new()
}

fn remove(document: &mut Value, pointer: &str) {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    document.pointer_mut(parent).and_then(Value::as_object_mut).and_then(|map| map.remove(key));
}

/// RFC 7386, without its null.
fn lay_over(whole: &mut Value, patch: &Value) {
    match (whole, patch) {
        (Value::Object(whole), Value::Object(patch)) => {
            for (key, value) in patch {
                lay_over(whole.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (whole, patch) => *whole = patch.clone(),
    }
}

/// A page with one block, and what is found wrong with it: the line, and how that begins.
#[test]
fn a_page_that_is_wrong_is_found_out() {
    let console = |notes: &str, lines: &str| format!("<!-- world: folder -->\n{notes}```console\n{lines}\n```\n");
    let wrong = [
        (console("", "$ echo one\ntwo"), "line 2: \"echo one\" of line 3 shows something else:\none\n"),
        (console("", "$ echo one"), "line 2: \"echo one\" of line 3 shows something else:\none\n"),
        (console("", "$ false"), "line 2: \"false\" of line 3 ends with 1, not 0:\n"),
        (console("<!-- exit: 2 -->\n", "$ false"), "line 3: \"false\" of line 4 ends with 1, not 2:\n"),
        (console("<!-- exit: 1 -->\n", "$ false\n$ false"), "line 3: \"false\" of line 4 ends with 1, not 0:\n"),
        (console("", "$ echo one\n…"), "line 2: anything is right for \"echo one\" of line 3: say `output: any`"),
        (console("<!-- meanwhile: it rains -->\n", "$ true"), "line 3: nothing is called \"it rains\" here"),
        (console("<!-- elsewhere: make hay -->\n", "$ x"), "line 3: there is no such target or test: \"make hay\""),
        (console("<!-- elsewhere: check -->\n", "$ x"), "line 3: there is no such target or test: \"check\""),
        (console("<!-- exti: 1 -->\n", "$ true"), "line 2: no note is called \"exti: 1\""),
        (console("", "true"), "line 2: a console block without any command"),
        ("```console\n$ true\n```\n".to_owned(), "line 1: no world is named above it"),
        ("<!-- world: flat -->\n```console\n$ true\n```\n".to_owned(), "line 2: there is no world \"flat\""),
        ("<!-- exit: 1 -->\nText.\n".to_owned(), "line 2: the notes above it belong to no block"),
        (
            "```sh\nls\n```\n".to_owned(),
            "line 1: blocks are console or one of [\"text\", \"yaml\", \"json\", \"toml\"], and not \"sh\"",
        ),
        (
            "```text\nnodebake up\n```\n".to_owned(),
            "line 1: \"nodebake up\" is a command, and stands in no console block",
        ),
        (
            "Text:\n\n    nodebake up\n".to_owned(),
            "line 3: an indented block: what is typed stands between ```console and ```",
        ),
        ("```yaml\ndefaults: {memroy: 1GiB}\n```\n".to_owned(), "line 1: the program does not take it: "),
        ("```yaml\n- [\n```\n".to_owned(), "line 1: no YAML: "),
    ];
    for (page, wanted) in wrong {
        let problems = check(&page);
        assert!(problems.first().is_some_and(|problem| problem.starts_with(wanted)), "{page}\n{problems:?}");
    }
    let right = [
        console("", "$ printf 'one\\ntwo\\nthree\\n'\no…\n…\nthree\n\n$ true"),
        console("", "$ printf 'a b\\n'\na…b"),
        console("", "$ cat <<'END'\n> one\n> END\none"),
        console("<!-- exit: 1 -->\n", "$ echo one; false\none"),
        console("<!-- output: any -->\n", "$ echo one"),
        console("<!-- elsewhere: make demo -->\n", "$ make demo"),
        console("<!-- elsewhere: every_page_is_listed -->\n", "$ make demo"),
        "```yaml\ndefaults: {memory: 1GiB}\n```\n".to_owned(),
    ];
    for page in right {
        assert_eq!(check(&page), [""; 0], "{page}");
    }
}

#[test]
fn a_page_that_is_not_listed_is_found_out() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("docs/more")).unwrap();
    for name in ["README.md", "docs/one.md", "docs/more/two.md", "docs/picture.svg"] {
        fs::write(folder.path().join(name), "").unwrap();
    }
    let found = unlisted(folder.path(), &["README.md", "docs/one.md"]);
    assert_eq!(found, BTreeSet::from(["docs/more/two.md".to_owned()]));
}
