//! Man pages and completions, which are generated from the command line and kept in the repository for packages; what real
//! shells and readers of man pages make of them, where those are there; and the licences of what the program is built from.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use clap::CommandFactory as _;
use nodebake::cli::Cli;
use serde_json::Value;

use crate::world::{World, must, walk};

/// Completions by their shells, under the names that the shells look for.
const COMPLETIONS: [(&str, &str); 3] =
    [("bash", "completions/nodebake"), ("fish", "completions/nodebake.fish"), ("zsh", "completions/_nodebake")];

/// What a shell is given, and what it makes of it.
const COMPLETED: [(&str, &[&str]); 6] = [
    ("nodebake reb", &["rebuild"]),
    ("nodebake st", &["start", "status", "stop"]),
    ("nodebake identity re", &["renew"]),
    ("nodebake plan -o ", &["json", "table", "yaml"]),
    ("nodebake rebuild --max", &["--max-unavailable"]),
    ("nodebake up --off", &["--offline"]),
];

#[test]
fn kept_files_are_those_of_the_command_line() {
    let made = generated();
    if std::env::var_os("NODEBAKE_GENERATE").is_some() {
        keep(&made);
    }
    let kept = kept();
    let names: BTreeSet<_> = made.keys().chain(kept.keys()).collect();
    let stale: Vec<_> = names.into_iter().filter(|name| made.get(*name) != kept.get(*name)).collect();
    assert!(stale.is_empty(), "`make generated` makes these anew: {stale:?}");
}

#[test]
fn every_verb_has_a_man_page() {
    let there: Vec<_> = kept().into_keys().filter(|name| name.starts_with("man/")).collect();
    let mut wanted = pages_of(&Cli::command(), "man/nodebake");
    wanted.sort();
    assert_eq!(there, wanted);
}

fn pages_of(command: &clap::Command, name: &str) -> Vec<String> {
    let verbs = command.get_subcommands().flat_map(|verb| pages_of(verb, &format!("{name}-{}", verb.get_name())));
    std::iter::once(format!("{name}.1")).chain(verbs).collect()
}

#[test]
fn man_pages_are_read_without_complaint() {
    for page in kept().keys().filter(|name| name.starts_with("man/")) {
        let path = repository().join(page);
        for (program, arguments) in
            [("groff", &["-man", "-ww", "-Tutf8", "-z"][..]), ("mandoc", &["-Tlint", "-Werror"])]
        {
            if is_there(program) {
                let ran = Command::new(program).args(arguments).arg(&path).output().unwrap();
                let said = String::from_utf8([ran.stdout, ran.stderr].concat()).unwrap();
                assert_eq!((ran.status.code(), said.as_str()), (Some(0), ""), "{program} {page}");
            }
        }
    }
}

#[test]
fn bash_completes_words() {
    let complete = "source \"$0\"; COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); \
                    _nodebake nodebake \"${COMP_WORDS[COMP_CWORD]}\" \"${COMP_WORDS[COMP_CWORD - 1]}\"; \
                    printf '%s\\n' \"${COMPREPLY[@]}\"";
    must(Command::new("bash").arg("-n").arg(file_of("bash")));
    for (line, wanted) in COMPLETED {
        let script = file_of("bash");
        // What stands behind the last blank is the word at hand, even if it is empty.
        let printed = must(Command::new("bash").args(["-uc", complete]).arg(script).args(line.split(' ')));
        assert_eq!(words(&printed), wanted, "{line:?}");
    }
}

#[test]
fn fish_completes_words() {
    if !is_there("fish") {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    for (line, wanted) in COMPLETED {
        let complete = format!("source {}; complete -C '{line}'", file_of("fish").display());
        let printed = must(Command::new("fish").args(["-N", "-c", &complete]).env("HOME", home.path()));
        assert_eq!(words(&printed), wanted, "{line:?}");
    }
}

#[test]
fn zsh_reads_its_completions() {
    if is_there("zsh") {
        must(Command::new("zsh").arg("-n").arg(file_of("zsh")));
    }
}

/// The first word of each line, in the order of the alphabet.
fn words(printed: &[u8]) -> Vec<String> {
    let text = std::str::from_utf8(printed).unwrap();
    let words: BTreeSet<_> = text.lines().filter_map(|line| line.split_whitespace().next()).collect();
    words.into_iter().map(ToOwned::to_owned).collect()
}

fn file_of(shell: &str) -> std::path::PathBuf {
    let (_, name) = COMPLETIONS.into_iter().find(|(known, _)| *known == shell).unwrap();
    repository().join(name)
}

fn is_there(program: &str) -> bool {
    std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).any(|folder| folder.join(program).is_file())
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// By their paths in the repository: what the program prints of each shell, and a man page of each verb.
fn generated() -> BTreeMap<String, String> {
    // Without any file: none is needed.
    let world = World::empty();
    let print = |(shell, name): (&str, &str)| {
        let ran = world.must(&["completions", shell]);
        assert_eq!(ran.stderr, "");
        (name.to_owned(), ran.stdout)
    };
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    let mut made: BTreeMap<_, _> = COMPLETIONS.into_iter().map(print).collect();
    pages(&mut command, "nodebake", &mut made);
    made
}

/// Adds the man pages of a verb and of those beneath it.
fn pages(command: &mut clap::Command, name: &str, made: &mut BTreeMap<String, String>) {
    made.insert(format!("man/{name}.1"), page(command, name));
    for verb in command.get_subcommands_mut() {
        let name = format!("{name}-{}", verb.get_name());
        pages(verb, &name, made);
    }
}

fn page(command: &mut clap::Command, name: &str) -> String {
    const SOURCE: &str = concat!("nodebake ", env!("CARGO_PKG_VERSION"));
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone()).title(name).date(" ").source(SOURCE).render(&mut page).unwrap();
    let page = String::from_utf8(page).unwrap();
    // The generator's synopsis shows neither what must be given nor what goes with what; that of the help does.
    let (head, rest) = page.split_once(".SH SYNOPSIS\n").unwrap();
    let (_, tail) = rest.split_once(".SH DESCRIPTION\n").unwrap();
    let usage = command.render_usage().to_string();
    let usage = usage.strip_prefix("Usage: ").unwrap().trim().replace('-', "\\-");
    let above = if name == "nodebake" { "" } else { ".SH \"SEE ALSO\"\n\\fBnodebake\\fR(1)\n" };
    // What stands behind the options are examples, which have a section of that name in man pages.
    let tail =
        tail.replace(".SH EXTRA\nExamples:\n", ".SH EXAMPLES\n").replace(".SH EXTRA\nBegin:\n", ".SH EXAMPLES\n");
    format!("{head}.SH SYNOPSIS\n{usage}\n.SH DESCRIPTION\n{tail}{above}")
}

/// The same as they are in the repository.
fn kept() -> BTreeMap<String, String> {
    ["man", "completions"].into_iter().flat_map(|folder| files(&repository().join(folder), repository())).collect()
}

/// The files of a folder, by their paths as seen from `base`.
fn files(folder: &Path, base: &Path) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    walk(folder, &mut |path| {
        if path.is_file() {
            let name = path.strip_prefix(base).unwrap().to_str().unwrap();
            files.insert(name.to_owned(), fs::read_to_string(path).unwrap());
        }
    });
    files
}

/// Puts what was generated in the place of what is kept.
fn keep(made: &BTreeMap<String, String>) {
    for folder in ["man", "completions"].map(|folder| repository().join(folder)) {
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir(&folder).unwrap();
    }
    for (name, text) in made {
        fs::write(repository().join(name), text).unwrap();
    }
}

#[test]
fn kept_licences_are_those_of_the_dependencies() {
    let made = licences(&dependencies());
    let path = repository().join("docs/licenses.md");
    if std::env::var_os("NODEBAKE_GENERATE").is_some() {
        fs::write(&path, &made).unwrap();
    }
    assert!(fs::read_to_string(&path).is_ok_and(|kept| kept == made), "`make generated` makes docs/licenses.md anew");
}

/// As `cargo deny` judges it, which not everybody has.
#[test]
fn every_licence_is_one_that_we_allow() {
    let rules: toml::Table = fs::read_to_string(repository().join("deny.toml")).unwrap().parse().unwrap();
    let words = |list: &toml::Value| -> Vec<String> {
        list.as_array().unwrap().iter().map(|word| word.as_str().unwrap().to_owned()).collect()
    };
    let allowed = words(&rules["licenses"]["allow"]);
    let exceptions: BTreeMap<String, Vec<String>> = rules["licenses"]["exceptions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|rule| (rule["crate"].as_str().unwrap().to_owned(), words(&rule["allow"])))
        .collect();
    let judged = |(name, version, licence): &(String, String, String)| {
        let allowed: Vec<_> = exceptions.get(name).into_iter().flatten().chain(&allowed).map(String::as_str).collect();
        (!is_allowed(licence, &allowed)).then(|| format!("{name} {version}: {licence}"))
    };
    assert_eq!(dependencies().iter().filter_map(judged).collect::<Vec<_>>(), [""; 0]);
    for (licence, wanted) in [
        ("MIT", true),
        ("MIT OR GPL-3.0", true),
        ("GPL-3.0/MIT", true),
        ("MIT AND GPL-3.0", false),
        ("(GPL-3.0 OR MIT) AND Zlib", true),
        ("(GPL-3.0 OR MIT) AND BSL-1.0", false),
        ("Apache-2.0 WITH LLVM-exception", false),
        ("", false),
    ] {
        assert_eq!(is_allowed(licence, &["MIT", "Zlib", "Apache-2.0"]), wanted, "{licence}");
    }
}

/// Whether an SPDX expression can be kept with these licences; AND binds before OR, and a slash is an old OR.
fn is_allowed(expression: &str, allowed: &[&str]) -> bool {
    let expression = expression.replace('/', " OR ");
    parted(&expression, " OR ").any(|part| {
        parted(part, " AND ").all(|part| match part.strip_prefix('(').and_then(|part| part.strip_suffix(')')) {
            Some(inner) => is_allowed(inner, allowed),
            None => allowed.contains(&part),
        })
    })
}

/// The parts of an expression between a word that is in no parentheses.
fn parted<'a>(expression: &'a str, word: &str) -> impl Iterator<Item = &'a str> {
    let depth = |at: usize| {
        let before = &expression[..at];
        before.matches('(').count() - before.matches(')').count()
    };
    let cuts: Vec<_> = expression.match_indices(word).map(|(at, _)| at).filter(|at| depth(*at) == 0).collect();
    let starts = std::iter::once(0).chain(cuts.iter().map(|at| at + word.len())).collect::<Vec<_>>();
    let ends = cuts.into_iter().chain([expression.len()]);
    starts.into_iter().zip(ends).map(|(start, end)| expression[start..end].trim())
}

/// Name, version and licence of all that the program is built from: normal dependencies, theirs, and so on.
fn dependencies() -> BTreeSet<(String, String, String)> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(repository()).args(["metadata", "--format-version", "1", "--offline", "--locked"]);
    let printed = must(cargo.args(["--filter-platform", "x86_64-unknown-linux-gnu"]));
    let metadata: Value = serde_json::from_slice(&printed).unwrap();
    let items = |value: &Value| value.as_array().unwrap().clone();
    let by_id = |list: Vec<Value>| -> BTreeMap<String, Value> {
        list.into_iter().map(|item| (item["id"].as_str().unwrap().to_owned(), item)).collect()
    };
    let (packages, nodes) = (by_id(items(&metadata["packages"])), by_id(items(&metadata["resolve"]["nodes"])));
    let root = packages.iter().find(|(_, package)| package["name"] == "nodebake").unwrap().0.clone();
    let (mut found, mut next) = (BTreeSet::new(), vec![root.clone()]);
    while let Some(id) = next.pop() {
        if found.insert(id.clone()) {
            let is_normal = |of: &Value| items(&of["dep_kinds"]).iter().any(|kind| kind["kind"].is_null());
            let normal = items(&nodes[&id]["deps"]).into_iter().filter(is_normal);
            next.extend(normal.map(|of| of["pkg"].as_str().unwrap().to_owned()));
        }
    }
    found.remove(&root);
    let text = |package: &Value, field: &str| package[field].as_str().unwrap_or_default().to_owned();
    found
        .iter()
        .map(|id| &packages[id])
        .map(|package| (text(package, "name"), text(package, "version"), text(package, "license")))
        .collect()
}

fn licences(dependencies: &BTreeSet<(String, String, String)>) -> String {
    let head = "\
# Licences

nodebake is under the Apache License 2.0. This is what it is built from on x86-64 Linux, with the licences that each states
(SPDX expressions; of alternatives, those that deny.toml allows are chosen). libvirt's client library, LGPL-2.1 or later, is
linked dynamically, and so is the C library. Written by `make generated`; a test compares it with Cargo.lock.

| Crate | Version | Licence |
|---|---|---|
";
    let row = |(name, version, licence): &(String, String, String)| format!("| {name} | {version} | {licence} |\n");
    head.to_owned() + &dependencies.iter().map(row).collect::<String>()
}

/// The oldest Rust is told in three places, and what builds this is not older.
#[test]
fn the_oldest_rust_is_the_one_that_is_told() {
    let oldest = env!("CARGO_PKG_RUST_VERSION");
    let told = |page: &str, before: &str, after: &str| {
        let text = fs::read_to_string(repository().join(page)).unwrap();
        let (_, rest) = text.split_once(before).unwrap_or_else(|| panic!("{page} does not say {before:?}"));
        rest.split_once(after).unwrap().0.to_owned()
    };
    assert_eq!(told("README.md", "with a Rust toolchain (", ","), oldest);
    assert_eq!(told("docs/compatibility.md", "`rust-version` of Cargo.toml, ", ". "), oldest);
    let rustc = Path::new(env!("CARGO")).with_file_name("rustc");
    let printed = String::from_utf8(must(Command::new(rustc).arg("--version"))).unwrap();
    let version: semver::Version = printed.split_whitespace().nth(1).unwrap().parse().unwrap();
    let oldest: semver::Version = format!("{oldest}.0").parse().unwrap();
    assert!(version >= oldest, "{printed} is older than {oldest}");
}
