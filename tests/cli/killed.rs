//! SIGKILL at every call that changes a file, then a plain run: it ends well, with the bytes of an undisturbed run, and
//! nothing else is left. SIGINT at some of them: nothing half written is left even without another run.
//!
//! `NODEBAKE_KILLS=200` adds so many kills at random moments to each test (`make soak`).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::http;
use crate::identities::provide;
use crate::mirror::{self, Item};
use crate::tracer::{Call, End, Verdict, trace};
use crate::world::{World, must};

/// Kills at random moments where the environment says no number.
const RANDOM_KILLS: u32 = 4;

/// Each verb is interrupted at so many calls.
const INTERRUPTS: usize = 12;

/// Parts of the names of what a run has for itself alone.
const SCRATCH: [&str; 2] = [".nodebake-partial", "nodebake-verify-"];

/// Mode and bytes of what a run leaves; no bytes where they are others each time.
type Left = BTreeMap<String, (u32, Option<Vec<u8>>)>;

/// A verb that is killed.
struct Victim {
    world: World,
    arguments: Vec<String>,
    /// Names, or parts of names, of files whose bytes are others each time: keys and what holds them, inode numbers.
    drawn: &'static [&'static str],
    /// Whether a second run has nothing to do.
    settles: bool,
    /// What is there before each run, but for `FIXED`.
    snapshot: TempDir,
}

/// What no run changes.
const FIXED: [&str; 2] = ["mirror", "pki"];

impl Victim {
    fn new(world: World, arguments: &[&str]) -> Self {
        let snapshot = tempfile::tempdir().unwrap();
        must(Command::new("cp").arg("-a").arg(world.path(".")).arg(snapshot.path()));
        for name in FIXED {
            fs::remove_dir_all(snapshot.path().join(name)).unwrap();
        }
        let arguments = arguments.iter().map(ToString::to_string).collect();
        // A verified blob is remembered by its inode.
        Self { world, arguments, drawn: &[".verified"], settles: true, snapshot }
    }

    /// Brings the folder to where it was.
    fn reset(&self) {
        for entry in fs::read_dir(self.world.path("")).unwrap().map(Result::unwrap) {
            match entry.file_type().unwrap() {
                _ if FIXED.iter().any(|name| entry.file_name() == *name) => {}
                kind if kind.is_dir() => fs::remove_dir_all(entry.path()).unwrap(),
                _ => fs::remove_file(entry.path()).unwrap(),
            }
        }
        must(Command::new("cp").arg("-a").arg(self.snapshot.path().join(".")).arg(self.world.path("")));
    }

    /// Kills it at each call, and some times at random moments.
    fn kill_everywhere(&self) {
        self.reset();
        let before = self.left();
        let calls = self.calls();
        let wanted = self.left();
        for (number, call) in calls.iter().enumerate() {
            let end = self.killed_before(number);
            let what =
                format!("{:?} killed before call {number} of {}, {call:?}: {end:?}", self.arguments, calls.len());
            self.recovers(&before, &wanted, &what);
        }
        self.reset();
        let began = Instant::now();
        self.plain(&[]).output().unwrap();
        let whole = began.elapsed();
        let count = std::env::var("NODEBAKE_KILLS").map_or(RANDOM_KILLS, |count| count.parse().unwrap());
        for moment in moments(count, whole) {
            self.reset();
            let mut child = self.plain(&[]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            std::thread::sleep(moment);
            child.kill().unwrap();
            let end = child.wait().unwrap();
            let what = format!("{:?} killed after {moment:?} of {whole:?}: {end}", self.arguments);
            self.recovers(&before, &wanted, &what);
        }
    }

    /// Interrupts it at calls from the first to the last.
    fn interrupt_here_and_there(&self) {
        self.reset();
        let before = self.left();
        let count = self.calls().len();
        let wanted = self.left();
        let mut interrupted = 0;
        for number in (0..count).step_by(count.div_ceil(INTERRUPTS)) {
            self.reset();
            let mut calls = 0;
            let judge = |_: &Call| {
                calls += 1;
                if calls == number + 1 { Verdict::Interrupt } else { Verdict::Go }
            };
            let end = trace(|wrapper| self.plain(wrapper), &self.world.path(""), judge);
            let what = format!("{:?} interrupted at call {number} of {count}: {end:?}", self.arguments);
            // It may have been at its end.
            assert!(matches!(end, End::Interrupted | End::Exit(0)), "{what}");
            interrupted += usize::from(end == End::Interrupted);
            let left = self.world.tree("").into_keys().filter(|name| SCRATCH.iter().any(|part| name.contains(part)));
            assert_eq!(left.collect::<Vec<_>>(), Vec::<String>::new(), "{what}");
            self.recovers(&before, &wanted, &what);
        }
        assert!(interrupted > 0, "{:?} was never interrupted", self.arguments);
    }

    fn plain(&self, wrapper: &[&str]) -> Command {
        let mut command = self.world.command(wrapper);
        // What is made beside its folder is looked at as well.
        command.args(&self.arguments).env("TMPDIR", self.world.path(""));
        command
    }

    /// The calls of a run that is left alone.
    fn calls(&self) -> Vec<Call> {
        let mut calls = Vec::new();
        let end = trace(
            |wrapper| self.plain(wrapper),
            &self.world.path(""),
            |call| {
                calls.push(call.clone());
                Verdict::Go
            },
        );
        assert_eq!(end, End::Exit(0));
        // Else the tracer is blind.
        let names: BTreeSet<_> = calls.iter().map(|call| call.name).collect();
        let seen = |part| names.iter().any(|name| name.contains(part));
        assert!(["openat", "write", "fsync", "rename"].into_iter().all(seen), "{names:?}");
        calls
    }

    /// Threads take turns as they like, so that the last calls may not come: then it ends by itself, and well.
    fn killed_before(&self, number: usize) -> End {
        self.reset();
        let mut count = 0;
        let end = trace(
            |wrapper| self.plain(wrapper),
            &self.world.path(""),
            |_| {
                count += 1;
                if count > number { Verdict::Kill } else { Verdict::Go }
            },
        );
        assert!(matches!(end, End::Killed | End::Exit(0)), "{end:?}");
        end
    }

    /// Looks at what is left, runs again and compares.
    fn recovers(&self, before: &Left, wanted: &Left, what: &str) {
        for (name, file) in self.world.tree("") {
            if let Some((_, Some(bytes))) = wanted.get(&name) {
                let old = before.get(&name).is_some_and(|(_, old)| old.as_ref() == Some(&file.content));
                assert!(old || *bytes == file.content, "{what}: {name} is torn");
            }
            let ours = !FIXED.iter().any(|fixed| name.starts_with(fixed));
            let secret = ours && memchr::memmem::find(&file.content, b"PRIVATE KEY").is_some();
            assert!(!secret || file.mode & 0o777 == 0o600, "{what}: {name} can be read by others");
        }
        let ran = self.world.run_command(&mut self.plain(&[]));
        assert_eq!(ran.code, 0, "{what}: {ran:?}");
        let left = self.left();
        let names: BTreeSet<_> = wanted.keys().chain(left.keys()).collect();
        let mode = |all: &Left, name| all.get(name).map(|file| format!("{:o}", file.0));
        let differ: Vec<_> = names
            .into_iter()
            .filter(|name| wanted.get(*name) != left.get(*name))
            .map(|name| (name, mode(wanted, name), mode(&left, name)))
            .collect();
        assert!(differ.is_empty(), "{what}: name, wanted mode, mode found: {differ:?}");
        if self.settles {
            let there = self.world.tree("");
            let again = self.world.run_command(&mut self.plain(&[]));
            assert_eq!(again.code, 0, "{what}: {again:?}");
            let changed = self.world.tree("") != there;
            assert!(!changed && !again.stdout.contains("made"), "{what}: the third run: {again:?}");
        }
    }

    fn left(&self) -> Left {
        let drawn = |name: &str| self.drawn.iter().any(|part| name.contains(part));
        let tree = self.world.tree("").into_iter().filter(|(name, _)| !name.is_empty());
        tree.map(|(name, file)| (name.clone(), (file.mode, (!drawn(&name)).then_some(file.content)))).collect()
    }
}

/// So many moments of a time, and a little beyond its end.
fn moments(count: u32, whole: Duration) -> impl Iterator<Item = Duration> {
    use std::hash::{BuildHasher as _, RandomState};
    let state = RandomState::new();
    (0..count).map(move |number| {
        let part = u32::try_from(state.hash_one(number) >> 33).unwrap();
        whole.mul_f64(1.1 * f64::from(part) / f64::from(1_u32 << 31))
    })
}

/// Both nodes' certificates are brought along, so that their seeds have the same bytes each time.
fn with_identities(world: World) -> World {
    provide(&world, "worker-node-1", "10.0.0.36", "365");
    provide(&world, "worker-node-2", "10.0.0.37", "365");
    world
}

#[test]
fn lock() {
    Victim::new(World::new(), &["lock"]).kill_everywhere();
    // Where a lock stands that lacks something.
    let world = World::locked();
    let text = world.read("nodebake.lock");
    fs::write(world.path("nodebake.lock"), text.split("- kind: base-image").next().unwrap()).unwrap();
    Victim::new(world, &["lock"]).kill_everywhere();
}

#[test]
fn fetch() {
    Victim::new(World::locked(), &["fetch"]).kill_everywhere();
}

#[test]
fn fetch_over_http() {
    let world = World::new();
    // More than one piece of the transfer, so that there is something to go on with.
    world.publish(Item::Runc, &[mirror::program("cat"), vec![7; 1 << 20]].concat());
    world.relock();
    let server = http::with_ranges(world.path("mirror"));
    Victim::new(world, &["--mirror", &server.base(), "fetch"]).kill_everywhere();
    assert!(server.log().iter().any(|request| request.contains("bytes=")), "nothing was gone on with");
}

#[test]
fn fetch_of_kubectl() {
    Victim { settles: false, ..Victim::new(World::locked(), &["fetch", "kubectl"]) }.kill_everywhere();
}

#[test]
fn bundle_export() {
    let world = World::locked();
    world.must(&["fetch"]);
    Victim { settles: false, ..Victim::new(world, &["bundle", "export", "all.bundle"]) }.kill_everywhere();
}

#[test]
fn bundle_import() {
    let world = World::locked();
    world.must(&["fetch"]);
    world.must(&["bundle", "export", "all.bundle"]);
    fs::remove_dir_all(world.path("cache")).unwrap();
    fs::remove_file(world.path("nodebake.lock")).unwrap();
    // Each file is read again, though it is there.
    Victim { settles: false, ..Victim::new(world, &["bundle", "import", "all.bundle"]) }.kill_everywhere();
}

#[test]
fn build() {
    let world = with_identities(World::locked());
    world.must(&["fetch"]);
    Victim::new(world, &["build", "--all"]).kill_everywhere();
}

/// In the place of an earlier build, whose certificates and payload do not fit any more.
#[test]
fn build_that_replaces() {
    let world = World::locked();
    world.must(&["fetch"]);
    world.must(&["build", "--all"]);
    world.edit("address: 10.0.0.36", "address: 10.0.0.46");
    // Whoever holds the new key.
    let drawn = &[
        ".verified",
        "worker-node-1/cert.pem",
        "worker-node-1/key.pem",
        "1/seed.iso",
        "1/manifest.json",
        "1/meta-data",
        "1/worker-node-1.intoto.json",
        "1/worker-node-1.spdx.json",
    ];
    Victim { drawn, ..Victim::new(world, &["build", "--all"]) }.kill_everywhere();
}

#[test]
fn interrupted() {
    Victim::new(World::new(), &["lock"]).interrupt_here_and_there();
    Victim::new(World::locked(), &["fetch"]).interrupt_here_and_there();
    let world = with_identities(World::locked());
    world.must(&["fetch"]);
    Victim::new(world, &["build", "--all"]).interrupt_here_and_there();
    let world = with_identities(World::locked());
    world.must(&["build", "--all"]);
    let verify = Victim { settles: false, ..Victim::new(world, &["verify", "--images"]) };
    verify.interrupt_here_and_there();
}

#[test]
fn kubeconfig() {
    let world = World::new();
    Victim { settles: false, drawn: &["admin.kubeconfig"], ..Victim::new(world, &["kubeconfig"]) }.kill_everywhere();
}
