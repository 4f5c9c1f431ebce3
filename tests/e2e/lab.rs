//! The lab as the tests use it, and commands with what they said.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::guest::Guest;

/// Longest silence of a guest before a test gives up on it; how long it takes altogether says nothing.
const STALL: Duration = Duration::from_mins(5);

/// How often a condition is looked at.
const POLL: Duration = Duration::from_millis(200);

/// Says what is done now, with the seconds since the start.
pub fn step(text: &str) {
    static START: OnceLock<Instant> = OnceLock::new();
    let seconds = START.get_or_init(Instant::now).elapsed().as_secs();
    eprintln!("[{seconds:>4} s] {text}");
}

/// What a command said and how it ended.
#[derive(Debug, Clone)]
pub struct Ran {
    pub command: String,
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    /// Runs it to its end; what it says on stderr is shown while it runs.
    pub fn of(command: &mut Command) -> Self {
        Self::with(command, true)
    }

    /// The same, without a word.
    pub fn quietly(command: &mut Command) -> Self {
        Self::with(command, false)
    }

    fn with(command: &mut Command, show: bool) -> Self {
        let shown = describe(command);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{shown}: {error}"));
        let mut stdout = child.stdout.take().unwrap();
        let reader = std::thread::spawn(move || {
            let mut text = Vec::new();
            stdout.read_to_end(&mut text).unwrap();
            String::from_utf8_lossy(&text).into_owned()
        });
        let mut stderr = String::new();
        for line in BufReader::new(child.stderr.take().unwrap()).split(b'\n') {
            let line = String::from_utf8_lossy(&line.unwrap()).into_owned();
            if show {
                eprintln!("        {line}");
            }
            stderr.push_str(&line);
            stderr.push('\n');
        }
        let code = child.wait().unwrap().code();
        Self { command: shown, code, stdout: reader.join().unwrap(), stderr }
    }

    /// Its output; it must have ended well.
    pub fn succeeded(self) -> String {
        assert_eq!(self.code, Some(0), "{}: {self:#?}", self.command);
        self.stdout
    }
}

fn describe(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

/// The lab that runs; it ends when this is dropped, unless KEEP=1.
pub struct Lab {
    script: PathBuf,
    /// State of the lab.
    pub dir: PathBuf,
    /// Prefix of its namespaces.
    pub name: String,
}

impl Lab {
    /// Takes down what a run before may have left, and brings the lab up.
    pub fn up() -> Self {
        let clone = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let dir = std::env::var_os("LAB_DIR").map_or_else(|| clone.join("target/lab"), PathBuf::from);
        let name = std::env::var("LAB_NAME").unwrap_or_else(|_| "nblab".to_owned());
        let lab = Self { script: clone.join("tests/lab/lab"), dir, name };
        assert!(rustix::process::geteuid().is_root(), "the lab needs root: see tests/lab/README.md");
        step("the lab comes up: libvirt and QEMU in namespaces of their own");
        lab.command(&["down"]).succeeded();
        let work = lab.work();
        if work.exists() {
            fs::remove_dir_all(&work).unwrap();
        }
        fs::create_dir_all(&work).unwrap();
        // Its controllers keep the pods that a ReplicaSet asks for.
        let mut up = Command::new(&lab.script);
        Ran::of(up.arg("up").env("LAB_APISERVER_FLAGS", "--replicaset-controller")).succeeded();
        let log = fs::read_to_string(lab.dir.join("run/apiserver.log")).unwrap_or_default();
        step(&format!("the apiserver at 10.0.0.4 says of itself: {}", log.lines().next().unwrap_or("nothing")));
        lab
    }

    /// Ends the lab now; nothing of it may be left then.
    pub fn down(&self) {
        if keep() {
            return step("KEEP=1: the lab stays up");
        }
        step("the lab goes down");
        self.command(&["down"]).succeeded();
    }

    /// Where the tests keep their own files.
    pub fn work(&self) -> PathBuf {
        self.dir.join("e2e")
    }

    /// The lab's mirror of upstream.
    pub fn mirror(&self) -> PathBuf {
        self.build_dir().join("mirror")
    }

    /// Names of the files with this ending that the lab's cluster file gives.
    pub fn given(&self, ending: &str) -> Vec<String> {
        let files = fs::read_dir(self.build_dir().join("given")).unwrap();
        let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
        let names: Vec<_> = names.filter(|name| name.ends_with(ending)).collect();
        assert!(!names.is_empty(), "no file ends with {ending}");
        names
    }

    fn build_dir(&self) -> PathBuf {
        std::env::var_os("LAB_BUILD_DIR").map_or_else(|| self.dir.clone(), PathBuf::from)
    }

    /// A version that `lab build` put into the mirror.
    pub fn version(&self, name: &str) -> String {
        let text = fs::read_to_string(self.build_dir().join("versions.env")).unwrap();
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        value.unwrap_or_else(|| panic!("{name} is not in versions.env")).to_owned()
    }

    fn command(&self, words: &[&str]) -> Ran {
        Ran::of(Command::new(&self.script).args(words))
    }

    /// A command inside the lab, where `qemu:///system` is the lab's.
    pub fn inside(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(&self.script);
        command.arg("exec").arg(program);
        command
    }

    /// What virsh says in the lab; it must succeed.
    pub fn virsh(&self, words: &[&str]) -> String {
        Ran::quietly(self.inside("virsh").arg("--quiet").args(words)).succeeded()
    }

    /// A command in control-plane-1's network.
    pub fn control_plane(&self, words: &[&str]) {
        Ran::of(Command::new(&self.script).arg("cp").args(words)).succeeded();
    }

    /// A stopped domain's root file system, copied out, with a listing and the whole disk beside it.
    pub fn disk(&self, domain: &str) -> PathBuf {
        let tree = self.work().join(format!("disk-{domain}"));
        self.command(&["disk", domain, tree.to_str().unwrap()]).succeeded();
        tree
    }

    /// A path inside the lab as the machine sees it.
    pub fn outside(&self, path: &str) -> PathBuf {
        let below = path.strip_prefix("/var/lib/libvirt/").unwrap_or_else(|| panic!("{path} is elsewhere"));
        self.dir.join("host/var/lib/libvirt").join(below)
    }

    /// Waits until `done` gives something, as long as one of the files still grows.
    #[expect(clippy::unused_self, reason = "reads as what it is: the lab is waited for")]
    pub fn wait<T>(&self, what: &str, signs: &[PathBuf], mut done: impl FnMut() -> Option<T>) -> T {
        let size = |path: &PathBuf| fs::metadata(path).map_or(0, |info| info.len());
        let (mut life, mut seen) = (Instant::now(), u64::MAX);
        loop {
            if let Some(found) = done() {
                return found;
            }
            let now = signs.iter().map(size).sum();
            if now != seen {
                (life, seen) = (Instant::now(), now);
            }
            assert!(life.elapsed() < STALL, "nothing moves any more while waiting for {what}");
            std::thread::sleep(POLL);
        }
    }

    /// Does it; where it panics, the guests' logs are shown before all ends.
    pub fn guarded(&self, scenario: impl FnOnce()) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(scenario)) {
            self.tell_why();
            resume_unwind(panic);
        }
    }

    fn tell_why(&self) {
        let domains = Ran::quietly(self.inside("virsh").args(["--quiet", "list", "--all"]));
        eprintln!("=== domains\n{}", domains.stdout);
        for line in domains.stdout.lines() {
            let Some(name) = line.split_whitespace().nth(1).filter(|name| name.starts_with("worker-")) else {
                continue;
            };
            let guest = Guest::new(self, name);
            eprintln!("=== {name}: first boot\n{}", tail(&guest.first_boot, 6000));
            eprintln!("=== {name}: console\n{}", tail(&guest.console, 6000));
        }
        for log in ["run/apiserver.log", "host/var/log/libvirt/libvirtd.log"] {
            eprintln!("=== {log}\n{}", tail(&self.dir.join(log), 3000));
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if !keep() {
            let ended = Command::new(&self.script).arg("down").stdin(Stdio::null()).status();
            if !ended.is_ok_and(|status| status.success()) {
                eprintln!("the lab could not be taken down: run tests/lab/lab down");
            }
        }
    }
}

/// Whether the lab shall stay.
pub fn keep() -> bool {
    std::env::var_os("KEEP").is_some_and(|value| value == "1")
}

fn tail(path: &Path, bytes: usize) -> String {
    let text = fs::read(path).unwrap_or_default();
    String::from_utf8_lossy(&text[text.len().saturating_sub(bytes)..]).into_owned()
}
