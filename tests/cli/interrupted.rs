//! Ctrl-C and SIGTERM: what a run says that is told to end, and what it leaves.

use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::daemon::Daemon;
use crate::guests::{Guests, good};
use crate::server::{Answer, Request, Server};
use crate::world::World;
use crate::{http, rebuilding};

/// A run that goes on meanwhile.
struct Run {
    child: Child,
    stderr: BufReader<ChildStderr>,
    said: String,
}

impl Run {
    fn of(command: &mut Command) -> Self {
        Self::printing_to(command, Stdio::null())
    }

    fn printing_to(command: &mut Command, stdout: Stdio) -> Self {
        let mut child = command.stdout(stdout).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        Self { child, stderr, said: String::new() }
    }

    /// Reads what it says up to a line that has this in it, which must come.
    fn until(&mut self, text: &str) {
        loop {
            let mut line = String::new();
            assert!(self.stderr.read_line(&mut line).unwrap() > 0, "no {text:?} in {:?}", self.said);
            self.said.push_str(&line);
            if line.contains(text) {
                return;
            }
        }
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), signal).unwrap();
    }

    /// The signal that ended it, and all that it said.
    fn end(mut self) -> (Option<i32>, String) {
        self.stderr.read_to_string(&mut self.said).unwrap();
        (self.child.wait().unwrap().signal(), self.said)
    }
}

/// A mirror that is silent amidst the file whose address ends so; says when that is asked for.
fn stalling(world: &World, end: &'static str) -> (Server, Receiver<()>) {
    let (asks, asked) = channel();
    let asks = std::sync::Mutex::new(asks);
    let folder = world.path("mirror");
    let server = Server::start(move |request: &Request| {
        let answer = http::part_of(&folder, request);
        if request.method != "GET" || !request.path.ends_with(end) {
            return answer;
        }
        let _ = asks.lock().unwrap().send(());
        let length = std::fs::metadata(folder.join(request.path.trim_start_matches("/mirror/"))).unwrap().len();
        let length = format!("Content-Length: {length}");
        Answer::raw("200 OK", &[&length], b"").then(Duration::from_mins(2), b"")
    });
    (server, asked)
}

fn interrupted(hint: &str) -> String {
    format!("error: interrupted\n\nhint: {hint}\n")
}

#[test]
fn downloads_end_at_once_and_go_on_later() {
    let world = World::locked();
    let (server, asked) = stalling(&world, ".tar.gz");
    let run = Run::of(world.command(&[]).args(["fetch", "--mirror", &server.base()]));
    asked.recv_timeout(Duration::from_mins(1)).unwrap();
    run.signal(Signal::SIGINT);
    let (signal, said) = run.end();
    let hint = "what has come is in the cache, also parts of files: `nodebake fetch` goes on there";
    assert_eq!(signal, Some(2), "{said}");
    assert!(said.ends_with(&interrupted(hint)), "{said}");
    world.must(&["fetch"]);
    assert_eq!(world.run(&["verify", "--images"]).code, 4, "nothing is built, and all that is fetched is right");
}

#[test]
fn a_lock_is_the_old_one_or_the_new() {
    let world = World::new();
    let (server, asked) = stalling(&world, "sha256sum");
    let run = Run::of(world.command(&[]).args(["lock", "--mirror", &server.base()]));
    asked.recv_timeout(Duration::from_mins(1)).unwrap();
    run.signal(Signal::SIGTERM);
    let (signal, said) = run.end();
    let hint = "the lock is whole, as it was or as it is to be: run `nodebake lock` again";
    assert_eq!(signal, Some(15), "{said}");
    assert!(said.ends_with(&interrupted(hint)), "{said}");
    assert!(!world.path("nodebake.lock").exists());
    world.must(&["lock"]);
}

#[test]
fn who_ignores_a_signal_is_not_ended_by_it() {
    let world = World::locked();
    let (server, asked) = stalling(&world, ".tar.gz");
    let mut command = world.command(&["/bin/sh", "-c", "trap '' HUP; exec \"$@\"", "sh"]);
    let run = Run::of(command.args(["fetch", "--mirror", &server.base()]));
    asked.recv_timeout(Duration::from_mins(1)).unwrap();
    run.signal(Signal::SIGHUP);
    run.signal(Signal::SIGTERM);
    // Had it heeded the first, that would have been its end.
    assert_eq!(run.end().0, Some(15));
}

#[test]
fn machines_are_told_of_and_the_next_run_goes_on() {
    let daemon = Daemon::start();
    if !daemon.root {
        return;
    }
    let world = rebuilding::world(&daemon.uri);
    world.must(&["build", "--all"]);
    let guests = Guests::of(&daemon, |domain| if domain.name == "worker-node-1" { good(domain) } else { None });
    let mut run = Run::of(world.command(&[]).args(["up", "--parallel", "1"]));
    run.until("worker-node-2: starting its machine");
    run.signal(Signal::SIGINT);
    let (signal, said) = run.end();
    let asked = "warning: interrupted: nothing is begun any more, and what is under way comes to an end; once more ends it at \
                 once\n";
    let left = "error: interrupted; done: worker-node-1; under way: worker-node-2 (starting its machine)\n\n\
                hint: machines stay as they are: `nodebake up` goes on where this ended\n";
    assert_eq!(signal, Some(2), "{said}");
    assert!(said.ends_with(&format!("{asked}{left}")), "{said}");

    guests.play(good);
    let again = world.must(&["up", "--stall", "20"]);
    assert!(!again.stderr.contains("making its machine"), "what was there was made anew: {again:?}");
    assert_eq!(daemon.open().domains().unwrap().len(), 2);

    // As JSON, before the second is begun.
    world.must(&["down", "--yes"]);
    guests.play(|_| None);
    let mut run = Run::of(world.command(&[]).args(["up", "--parallel", "1", "--log-format", "json"]));
    run.until("worker-node-1: starting its machine");
    run.signal(Signal::SIGTERM);
    let (signal, said) = run.end();
    let last: serde_json::Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
    assert_eq!((signal, &last["level"]), (Some(15), &"error".into()));
    let text = "interrupted; under way: worker-node-1 (starting its machine); not begun: worker-node-2";
    assert_eq!(last["message"], text);
    assert_eq!(world.must(&["down", "--yes"]).stdout, "worker-node-1 removed\n");
}

/// A run that waits for a guest that says nothing.
fn coming_up(daemon: &Daemon) -> (World, Guests, Run) {
    let world = rebuilding::world(&daemon.uri);
    world.must(&["build", "--all"]);
    let guests = Guests::of(daemon, |_| None);
    let mut run = Run::of(world.command(&[]).args(["up", "worker-node-1"]));
    run.until("worker-node-1: starting its machine");
    (world, guests, run)
}

#[test]
fn a_second_signal_ends_what_does_not_end() {
    let daemon = Daemon::start();
    if !daemon.root {
        return;
    }
    let (_world, _guests, mut run) = coming_up(&daemon);
    // Whatever is asked of it from here on is never answered.
    daemon.signal_libvirtd("-STOP");
    run.signal(Signal::SIGINT);
    run.until("once more ends it at once");
    // One that comes at once is the same.
    run.signal(Signal::SIGINT);
    std::thread::sleep(Duration::from_millis(700));
    assert_eq!(run.child.try_wait().unwrap(), None);
    let begin = Instant::now();
    run.signal(Signal::SIGINT);
    let (signal, said) = run.end();
    assert!(begin.elapsed() < Duration::from_secs(15), "it ended by itself: {said}");
    daemon.signal_libvirtd("-CONT");
    assert_eq!(signal, Some(2), "{said}");
    let left = "error: interrupted; under way: worker-node-1 (starting its machine)\n\n\
                hint: machines stay as they are: `nodebake up` goes on where this ended\n";
    assert!(said.ends_with(left), "{said}");
}

/// Writes into a pipe until it is full.
fn fill(pipe: &ChildStderr) {
    // Opened anew: that this one does not wait is of no matter to whoever has the pipe.
    let path = format!("/proc/self/fd/{}", pipe.as_raw_fd());
    let mut end = OpenOptions::new().write(true).custom_flags(nix::libc::O_NONBLOCK).open(path).unwrap();
    for bytes in [&[b'.'; 4096][..], b"."] {
        while end.write(bytes).is_ok() {}
    }
}

#[test]
fn a_reader_that_reads_no_more_keeps_no_run_from_its_end() {
    let daemon = Daemon::start();
    if !daemon.root {
        return;
    }
    let (_world, _guests, mut run) = coming_up(&daemon);
    fill(run.stderr.get_ref());
    daemon.signal_libvirtd("-STOP");
    run.signal(Signal::SIGTERM);
    // One that comes sooner is the same.
    std::thread::sleep(Duration::from_millis(700));
    let begin = Instant::now();
    run.signal(Signal::SIGTERM);
    while begin.elapsed() < Duration::from_secs(15) && run.child.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(100));
    }
    let ended = run.child.try_wait().unwrap().and_then(|status| status.signal());
    daemon.signal_libvirtd("-CONT");
    run.child.kill().unwrap();
    assert_eq!(ended, Some(15));
}

#[test]
fn a_restart_that_is_told_to_end_says_what_is_off() {
    let daemon = Daemon::start();
    if !daemon.root {
        return;
    }
    let world = rebuilding::world(&daemon.uri);
    let _guests = Guests::of(&daemon, good);
    world.must(&["up"]);
    world.must(&["stop", "worker-node-2", "--force", "--stall", "1"]);
    let printed = File::create(world.path("printed")).unwrap();
    let mut command = world.command(&[]);
    let mut run = Run::printing_to(command.args(["restart", "--stall", "120", "-o", "json"]), printed.into());
    run.until("worker-node-1: stopping its machine");
    run.signal(Signal::SIGINT);
    let (signal, said) = run.end();
    assert_eq!(signal, Some(2), "{said}");
    assert!(!said.contains("starting its machine"), "{said}");
    let printed: serde_json::Value = serde_json::from_str(&world.read("printed")).unwrap();
    let nodes = printed["nodes"].as_array().unwrap().iter();
    let nodes: Vec<_> = nodes.map(|node| (node["name"].as_str().unwrap(), node["outcome"].as_str().unwrap())).collect();
    assert_eq!(nodes, [("worker-node-1", "failed"), ("worker-node-2", "off")]);
}

#[test]
fn a_rebuild_that_has_not_begun_leaves_the_old_machine() {
    let daemon = Daemon::start();
    if !daemon.root {
        return;
    }
    let world = rebuilding::world(&daemon.uri);
    let _guests = Guests::of(&daemon, good);
    world.must(&["up", "worker-node-1"]);
    let (before, planned) = (daemon.open().domains().unwrap(), world.run(&["plan", "worker-node-1"]));
    // These guests do not hear their power button: they are waited for.
    let mut run = Run::of(world.command(&[]).args(["rebuild", "worker-node-1", "--yes", "--stall", "120"]));
    run.until("worker-node-1: stopping its machine");
    run.signal(Signal::SIGINT);
    let (signal, said) = run.end();
    assert_eq!(signal, Some(2), "{said}");
    assert!(said.contains("\nerror: interrupted; under way: worker-node-1 ("), "{said}");
    let after = daemon.open().domains().unwrap();
    let lasting = |domains: &[nodebake::machine::DomainInfo]| {
        domains.iter().map(|it| (it.uuid, it.state, it.stored_digest())).collect::<Vec<_>>()
    };
    assert_eq!(lasting(&after), lasting(&before));
    let host = daemon.open();
    host.refresh_pool("nodebake").unwrap();
    let roots = host.volumes("nodebake").unwrap();
    assert_eq!(roots.iter().filter(|it| it.name.contains(".root.")).count(), 1, "the new disk is gone");
    assert_eq!(world.run(&["plan", "worker-node-1"]), planned);
}
