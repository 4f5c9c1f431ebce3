//! Guests played by the test: their machines are real, but have nothing to boot, so what a guest would write to its
//! first-boot channel the test writes into the channel's file.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nodebake::machine::{DomainInfo, open};

use crate::daemon::Daemon;

/// What a guest tells once its machine runs; nothing where it is silent.
type Script = dyn Fn(&DomainInfo) -> Option<String> + Send;

/// All guests of a daemon.
pub(crate) struct Guests {
    script: Arc<Mutex<Box<Script>>>,
    stop: Arc<AtomicBool>,
    player: Option<JoinHandle<()>>,
}

/// A line of the first-boot protocol (docs/first-boot.md). Each machine's boot has an id of its own.
pub(crate) fn report(stage: &str, state: &str, log: &str) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let (seconds, boot) = (now.as_secs(), now.as_nanos() & 0xffff_ffff_ffff);
    format!(
        "{{\"v\":1,\"boot\":\"00000000-0000-4000-8000-{boot:012x}\",\"booted\":{seconds},\"instance\":\"i\",\"uptime\":1.5,\
         \"stage\":\"{stage}\",\"state\":\"{state}\",\"log\":\"{log}\"}}\n"
    )
}

/// A guest that comes up and seals itself.
#[expect(clippy::unnecessary_wraps, reason = "one of several scripts")]
pub(crate) fn good(_: &DomainInfo) -> Option<String> {
    let first = report("kubelet-active", "ok", "");
    let boot = &first[first.find("\"boot\":").unwrap()..first.find(",\"booted\"").unwrap()];
    let same = |stage| {
        let line = report(stage, "ok", "");
        let other = line[line.find("\"boot\":").unwrap()..line.find(",\"booted\"").unwrap()].to_owned();
        line.replace(&other, boot)
    };
    Some(first.clone() + &same("cloud-init-done") + &same("sealed"))
}

impl Guests {
    /// Plays the guests of a daemon whose pool for logs is the default one.
    pub(crate) fn of(daemon: &Daemon, script: impl Fn(&DomainInfo) -> Option<String> + Send + 'static) -> Self {
        let script: Arc<Mutex<Box<Script>>> = Arc::new(Mutex::new(Box::new(script)));
        let stop = Arc::new(AtomicBool::new(false));
        let logs = daemon.folder.path().join("lib/nodebake-logs");
        let (shared, ended, uri) = (Arc::clone(&script), Arc::clone(&stop), daemon.uri.clone());
        let player = std::thread::spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                for log in waiting(&logs) {
                    speak(&log, &uri, &shared);
                }
                // A file can only be polled.
                std::thread::sleep(Duration::from_millis(50));
            }
        });
        Self { script, stop, player: Some(player) }
    }

    /// From now on they say something else.
    pub(crate) fn play(&self, script: impl Fn(&DomainInfo) -> Option<String> + Send + 'static) {
        *self.script.lock().unwrap() = Box::new(script);
    }
}

impl Drop for Guests {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.player.take().map(JoinHandle::join);
        assert!(ended.is_some_and(|ended| ended.is_ok()), "the guests were played to the end");
    }
}

/// Logs that a machine has begun and nobody has written to.
fn waiting(folder: &Path) -> BTreeSet<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    let begun = entries.filter(|entry| entry.metadata().is_ok_and(|found| found.len() == 0));
    begun.map(|entry| entry.path()).filter(|path| path.to_string_lossy().ends_with(".first-boot.log")).collect()
}

fn speak(log: &Path, uri: &str, script: &Mutex<Box<Script>>) {
    let name = log.file_name().unwrap().to_str().unwrap();
    // nodebake.CLUSTER.CA8.NODE.first-boot.log
    let node = name.split('.').nth(3).unwrap();
    let domains = open(uri).and_then(|host| host.domains()).unwrap_or_default();
    let domain = domains.into_iter().find(|domain| domain.name == node && domain.state.is_active());
    let Some(says) = domain.and_then(|domain| script.lock().unwrap()(&domain)) else { return };
    let mut file = fs::OpenOptions::new().append(true).open(log).unwrap();
    file.write_all(says.as_bytes()).unwrap();
}
