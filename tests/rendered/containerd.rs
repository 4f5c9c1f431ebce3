//! A real containerd of each major version.

use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

/// Its folder and version.
pub(crate) struct Containerd {
    folder: PathBuf,
    pub(crate) version: String,
}

/// Major versions 1 and 2, as Debian has them.
pub(crate) fn both() -> &'static [Containerd; 2] {
    static BOTH: OnceLock<[Containerd; 2]> = OnceLock::new();
    BOTH.get_or_init(|| {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lab/containerds");
        let output = Command::new(script).stderr(Stdio::inherit()).output().unwrap();
        assert!(output.status.success());
        let folders = String::from_utf8(output.stdout).unwrap();
        let both: Vec<_> = folders.lines().map(|folder| Containerd::at(Path::new(folder))).collect();
        both.try_into().unwrap_or_else(|_| panic!("{folders}"))
    })
}

/// That of a major version.
pub(crate) fn of(major: u64) -> &'static Containerd {
    &both()[usize::try_from(major - 1).unwrap()]
}

impl Containerd {
    fn at(folder: &Path) -> Self {
        let mut containerd = Self { folder: folder.to_owned(), version: String::new() };
        let output = containerd.command().arg("--version").output().unwrap();
        // containerd github.com/containerd/containerd 1.7.24~ds1 1.7.24~ds1-6+deb13u1
        let said = String::from_utf8(output.stdout).unwrap();
        let version = said.split_whitespace().nth(2).unwrap();
        version.trim_start_matches('v').split(['~', '+']).next().unwrap().clone_into(&mut containerd.version);
        containerd
    }

    fn command(&self) -> Command {
        Command::new(self.folder.join("usr/bin/containerd"))
    }

    /// `config dump` of a file: the whole configuration as containerd has it after reading, and what it says of it.
    pub(crate) fn dump(&self, file: &Path) -> (toml::Table, String) {
        let output = self.command().arg("--config").arg(file).args(["config", "dump"]).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{said}");
        (String::from_utf8(output.stdout).unwrap().parse().unwrap(), said)
    }

    /// Starts it with the configuration and the folders that a guest has, and returns when it serves. What it says goes to
    /// `log`.
    pub(crate) fn start(&self, log: &Path) -> Running {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("notify");
        let notified = UnixDatagram::bind(&socket).unwrap();
        notified.set_read_timeout(Some(Duration::from_mins(2))).unwrap();
        let log = std::fs::File::create(log).unwrap();
        let child = self.command().env("NOTIFY_SOCKET", &socket).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        let running = Running(child);
        let mut bytes = [0; 4096];
        loop {
            let length = notified.recv(&mut bytes).unwrap();
            if String::from_utf8_lossy(&bytes[..length]).contains("READY=1") {
                break;
            }
        }
        running
    }
}

/// Ends with its value.
pub(crate) struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
