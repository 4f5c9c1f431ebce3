//! What a person sees: the program in a real terminal, which tmux is.

use std::ffi::OsStr;
use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::daemon::Daemon;
use crate::guests::{Guests, good};
use crate::rebuilding;
use crate::world::must;

/// A terminal with one program in it.
struct Screen {
    folder: TempDir,
}

impl Screen {
    fn start(columns: u16, rows: u16, command: &Command) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let settings = "set -g remain-on-exit on\nset -g status off\n";
        std::fs::write(folder.path().join("tmux.conf"), settings).unwrap();
        let screen = Self { folder };
        let (columns, rows) = (columns.to_string(), rows.to_string());
        let mut start = screen.tmux(&["new-session", "-d", "-x", &columns, "-y", &rows, "-c"]);
        start.arg(command.get_current_dir().unwrap()).args(["env", "-i", "TERM=tmux-256color"]);
        for (name, value) in command.get_envs() {
            start.arg([name, OsStr::new("="), value.unwrap()].join(OsStr::new("")));
        }
        must(start.arg(command.get_program()).args(command.get_args()));
        screen
    }

    fn tmux(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("tmux");
        command.env_remove("TMUX").env("LC_ALL", "C.UTF-8");
        command.arg("-S").arg(self.folder.path().join("socket")).arg("-f").arg(self.folder.path().join("tmux.conf"));
        command.args(arguments);
        command
    }

    fn ask(&self, arguments: &[&str]) -> String {
        String::from_utf8(must(&mut self.tmux(arguments))).unwrap()
    }

    /// What is on it, without the blanks at the end of lines and without empty lines.
    fn lines(&self) -> Vec<String> {
        let shown = self.ask(&["capture-pane", "-p"]);
        shown.lines().map(|line| line.trim_end().to_owned()).filter(|line| !line.is_empty()).collect()
    }

    /// Whether the program has let go of it. That it has ended, and how, tmux 3.3 does not always notice.
    fn is_over(&self) -> bool {
        self.ask(&["display-message", "-p", "#{pane_dead}"]).trim() == "1"
    }

    /// Looks at it until it is as it should be: a screen can only be polled.
    fn until(&self, wanted: impl Fn(&[String]) -> bool) -> Vec<String> {
        let end = Instant::now() + Duration::from_mins(1);
        loop {
            let lines = self.lines();
            if wanted(&lines) {
                return lines;
            }
            assert!(Instant::now() < end, "{lines:#?}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = self.tmux(&["kill-server"]).output();
    }
}

/// A line with its time and the sign that turns taken out.
fn still(line: &str) -> String {
    let words: Vec<_> = line.split(' ').collect();
    let is_time = |word: &str| word.strip_suffix('s').is_some_and(|it| it.chars().all(|c| c.is_ascii_digit()));
    let word = |word: &&str| if is_time(word) { "0s".to_owned() } else { (*word).to_owned() };
    let line = words.iter().map(word).collect::<Vec<_>>().join(" ");
    if line.starts_with(|c: char| !c.is_ascii()) { line.chars().skip(1).collect() } else { line }
}

fn has_both(lines: &[String], text: &str) -> bool {
    let has = |node: &str| lines.iter().filter(|line| line.contains(node) && line.contains(text)).count() == 1;
    has("worker-node-1") && has("worker-node-2")
}

#[test]
fn each_node_has_a_line_of_its_own() {
    let daemon = Daemon::start();
    if !daemon.root {
        return;
    }
    let world = rebuilding::world(&daemon.uri);
    world.must(&["build", "--all"]);
    let guests = Guests::of(&daemon, |_| None);
    let mut command = world.command(&[]);
    command.args(["up", "--stall", "120"]);
    let screen = Screen::start(120, 30, &command);
    let drawn = |lines: &[String]| -> Vec<String> {
        let mut drawn: Vec<_> = lines.iter().rev().take(3).map(|line| still(line)).collect();
        drawn.reverse();
        drawn.sort_by_key(|line| line.contains("nodes done"));
        drawn[..2].sort();
        drawn
    };
    let wanted = [
        " worker-node-1               0s starting its machine",
        " worker-node-2               0s starting its machine",
        "  0 of 2 nodes done, 0s",
    ];
    let lines = screen.until(|lines| has_both(lines, "starting its machine"));
    assert_eq!(drawn(&lines), wanted, "{lines:#?}");

    // Smaller, and drawn anew: time goes by.
    must(&mut screen.tmux(&["resize-window", "-x", "80", "-y", "24"]));
    let before = screen.lines();
    let lines = screen.until(|lines| *lines != before && has_both(lines, "starting its machine"));
    assert_eq!(drawn(&lines), wanted, "{lines:#?}");
    assert!(lines.iter().all(|line| line.chars().count() <= 80), "{lines:#?}");

    // The end: a line for each, and nothing of what was drawn.
    guests.play(good);
    screen.until(|_| screen.is_over());
    let lines = screen.lines();
    let of_nodes: Vec<_> = lines.iter().filter(|line| line.contains("worker-node-")).map(|line| still(line)).collect();
    let mut sorted = of_nodes.clone();
    sorted.sort();
    let last = "its seed is wiped and removed";
    let wanted = [1, 2].map(|number| format!("  worker-node-{number}               0s {last}"));
    assert_eq!(sorted, wanted, "{lines:#?}");
    assert!(!lines.iter().any(|line| line.contains("nodes done")), "{lines:#?}");
    assert!(lines.iter().any(|line| line.starts_with("the kubelets are active;")), "{lines:#?}");
}
