//! A page of Markdown, as far as a reader types it: its blocks, how each is to be run, and what each shows.
//!
//! Comments before a block say how it is run; what is said holds for that block alone, and `world` for all behind it:
//!
//! - `<!-- world: NAME -->`: begin in another place (scene.rs has them all).
//! - `<!-- meanwhile: WHAT -->`: what happens before the block that is no command of the reader's.
//! - `<!-- exit: N -->`: with what the last command of the block ends; all else ends with 0.
//! - `<!-- output: any -->`: only how the commands end is looked at.
//! - `<!-- elsewhere: make TARGET -->`, `<!-- elsewhere: TEST -->`: where that is run, since it cannot run here.

use std::ops::Range;

/// Stands for anything: in a line for some of it, alone in a line for any number of lines.
const ANY: &str = "…";
/// Languages of blocks that hold no command.
const TEXTS: [&str; 4] = ["text", "yaml", "json", "toml"];

/// A block between fences, and what stands above it.
#[derive(Debug, Default)]
pub(super) struct Block {
    /// Line of its opening fence, from 1.
    pub(super) line: usize,
    pub(super) language: String,
    pub(super) lines: Vec<String>,
    pub(super) notes: Notes,
}

/// What the comments above a block say.
#[derive(Debug, Default)]
pub(super) struct Notes {
    pub(super) world: Option<String>,
    pub(super) meanwhile: Vec<String>,
    pub(super) elsewhere: Option<String>,
    pub(super) exit: i32,
    pub(super) any_output: bool,
}

/// A command, and what it shows.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) line: usize,
    pub(super) command: String,
    pub(super) shown: Vec<String>,
}

/// All blocks of a page, and what is wrong with how it is written.
pub(super) fn parse(text: &str) -> (Vec<Block>, Vec<String>) {
    let (mut blocks, mut problems) = (Vec::new(), Vec::new());
    let (mut notes, mut noted) = (Notes::default(), false);
    let mut lines = (1..).zip(text.lines()).peekable();
    let mut before_is_blank = true;
    while let Some((number, line)) = lines.next() {
        if let Some(language) = line.trim_start().strip_prefix("```") {
            let body: Vec<_> = lines.by_ref().map(|(_, line)| line).take_while(|line| !is_fence(line)).collect();
            let lines = body.into_iter().map(str::to_owned).collect();
            let block = Block { line: number, language: language.to_owned(), lines, notes: std::mem::take(&mut notes) };
            problems.extend(misplaced(&block));
            blocks.push(block);
            noted = false;
        } else if let Some(comment) = line.strip_prefix("<!-- ").and_then(|rest| rest.strip_suffix(" -->")) {
            noted = true;
            if !notes.take(comment) {
                problems.push(format!("line {number}: no note is called {comment:?}"));
            }
        } else if line.starts_with("    ") && before_is_blank {
            problems.push(format!("line {number}: an indented block: what is typed stands between ```console and ```"));
        } else if !line.is_empty() && std::mem::take(&mut noted) {
            problems.push(format!("line {number}: the notes above it belong to no block"));
        }
        before_is_blank = line.is_empty();
    }
    (blocks, problems)
}

fn is_fence(line: &str) -> bool {
    line.trim() == "```"
}

/// A command that would be run by nobody.
fn misplaced(block: &Block) -> Option<String> {
    let at = block.line;
    let of_console = block.language == "console";
    if !of_console && !TEXTS.contains(&block.language.as_str()) {
        return Some(format!("line {at}: blocks are console or one of {TEXTS:?}, and not {:?}", block.language));
    }
    let commands = ["$ ", "# nodebake", "nodebake ", "sudo ", "make ", "virsh ", "kubectl "];
    let command = block.lines.iter().find(|line| commands.iter().any(|word| line.starts_with(word)));
    match command {
        Some(line) if !of_console => Some(format!("line {at}: {line:?} is a command, and stands in no console block")),
        None if of_console => Some(format!("line {at}: a console block without any command")),
        _ => None,
    }
}

impl Notes {
    /// Whether the comment is one of ours.
    fn take(&mut self, comment: &str) -> bool {
        let Some((name, value)) = comment.split_once(": ") else { return false };
        match (name, value) {
            ("world", _) => self.world = Some(value.to_owned()),
            ("meanwhile", _) => self.meanwhile.push(value.to_owned()),
            ("elsewhere", _) => self.elsewhere = Some(value.to_owned()),
            ("output", "any") => self.any_output = true,
            ("exit", _) => match value.parse() {
                Ok(code) => self.exit = code,
                Err(_) => return false,
            },
            _ => return false,
        }
        true
    }
}

impl Block {
    /// The commands of a console block. What begins with `> ` goes on with the command above it.
    pub(super) fn steps(&self) -> Vec<Step> {
        let mut steps: Vec<Step> = Vec::new();
        for (line, text) in (self.line + 1..).zip(&self.lines) {
            if let Some(command) = text.strip_prefix("$ ") {
                steps.push(Step { line, command: command.to_owned(), shown: Vec::new() });
                continue;
            }
            let Some(step) = steps.last_mut() else { continue };
            match text.strip_prefix("> ") {
                Some(more) if step.shown.is_empty() => step.command = format!("{}\n{more}", step.command),
                _ => step.shown.push(text.clone()),
            }
        }
        // What stands between two commands for the eye is no output.
        for step in &mut steps {
            while step.shown.last().is_some_and(String::is_empty) {
                step.shown.pop();
            }
        }
        steps
    }
}

impl Step {
    /// Whether something was said that the page shows.
    pub(super) fn shows(&self, said: &str) -> bool {
        let said: Vec<_> = said.trim_end().lines().collect();
        let shown: Vec<_> = self.shown.iter().map(String::as_str).collect();
        fits(&shown, &said)
    }

    /// Whether it shows anything in particular.
    pub(super) fn tells(&self) -> bool {
        self.shown.is_empty() || self.shown.iter().any(|line| line != ANY)
    }
}

fn fits(shown: &[&str], said: &[&str]) -> bool {
    match (shown, said) {
        ([], said) => said.is_empty(),
        ([first, rest @ ..], said) if *first == ANY => (0..=said.len()).any(|from| fits(rest, &said[from..])),
        ([first, shown @ ..], [line, said @ ..]) => line_fits(first.trim_end(), line.trim_end()) && fits(shown, said),
        ([_, ..], []) => false,
    }
}

fn line_fits(shown: &str, said: &str) -> bool {
    let Some((head, rest)) = shown.split_once(ANY) else { return shown == said };
    let Some(said) = said.strip_prefix(head) else { return false };
    let starts = |range: Range<usize>| range.filter(|at| said.is_char_boundary(*at));
    starts(0..said.len() + 1).any(|from| line_fits(rest, &said[from..]))
}
