//! Man pages and completions, which are generated from the command line and kept in the repository for packages; and
//! what real shells and readers of man pages make of them, where those are there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use clap::CommandFactory as _;
use nodebake::cli::Cli;

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
