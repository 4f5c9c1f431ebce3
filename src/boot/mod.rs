//! What a guest tells of its boot over the virtio-serial channel (the other end is cloud-init/guest/report).
//!
//! A guest may be broken or hostile, so its text is untrusted: lines and logs are bounded, what does not parse is left
//! out, and control characters never reach a terminal.

use std::fmt;

use base64::Engine as _;
use serde::{Deserialize, Serialize};

use crate::printable;

/// Name of the channel inside the guest, below /dev/virtio-ports/.
pub const CHANNEL: &str = "io.nodebake.first-boot.0";

/// Longest line that is read; a report's own limit is a log of 3000 bytes in base64.
const LINE_LIMIT: usize = 16 * 1024;

/// How far a boot has come, in the order in which a first boot reaches it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// cloud-init found the seed and started our first boot.
    SeedRead,
    /// The bundle's files stand in the guest.
    FilesInstalled,
    /// The payload is copied to the disk, where it came with the seed.
    PayloadCopied,
    /// The binaries are there.
    PayloadMounted,
    /// The data disks are mounted, where there are any to mount; containerd and the kubelet wait for it.
    DisksMounted,
    /// The DHCP server gave the node its own address; only a failure is told, of another address.
    AddressGiven,
    /// The container runtime runs.
    ContainerdActive,
    /// The kubelet read its configuration and runs.
    KubeletActive,
    /// The CNI plugins are copied; off the way to the kubelet, so that it may come before it or after.
    CniInstalled,
    /// First boot is over and will not run again for this instance.
    Finished,
    /// containerd has the container images of the payload; an errand.
    ImagesImported,
    /// The Debian packages of the payload are installed; an errand.
    PackagesInstalled,
    /// A machine that makes a golden image has left nothing of itself on its disk, and switches itself off.
    DiskSealed,
    /// The root file system fills a disk that has grown; an errand, of which only a failure is told.
    DiskGrown,
    /// cloud-init has done all that it will ever do here, and is switched off: the seed may go. An errand.
    CloudInitDone,
    /// The seed was taken out, and what cloud-init kept of it is gone; an errand.
    Sealed,
}

impl Stage {
    /// Whether it is reached beside the rest: a node is one without it.
    pub fn is_errand(self) -> bool {
        matches!(
            self,
            Self::ImagesImported | Self::PackagesInstalled | Self::DiskGrown | Self::CloudInitDone | Self::Sealed
        )
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::SeedRead => "seed read",
            Self::PayloadCopied => "payload copied",
            Self::FilesInstalled => "files installed",
            Self::PayloadMounted => "payload mounted",
            Self::DisksMounted => "data disks mounted",
            Self::AddressGiven => "address given",
            Self::ContainerdActive => "containerd active",
            Self::KubeletActive => "kubelet active",
            Self::CniInstalled => "CNI plugins installed",
            Self::Finished => "first boot finished",
            Self::ImagesImported => "images imported",
            Self::PackagesInstalled => "packages installed",
            Self::DiskSealed => "disk sealed",
            Self::DiskGrown => "disk grown",
            Self::CloudInitDone => "cloud-init done",
            Self::Sealed => "sealed",
        })
    }
}

/// One line of a guest's report.
#[derive(Debug, Clone, PartialEq)]
pub struct BootEvent {
    /// The kernel's id of this boot, as the Node object shows it in `status.nodeInfo.bootID`.
    pub boot_id: uuid::Uuid,
    /// When the guest's kernel started, seconds since the epoch by the guest's clock.
    pub booted: i64,
    /// Instance that the guest runs as, as it says; printable, on one line.
    pub instance: String,
    /// Seconds since the guest's kernel started.
    pub uptime: f64,
    /// Which stage it is about.
    pub stage: Stage,
    /// What became of it.
    pub news: News,
}

/// What became of a stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// What leads to it has begun, and its end will be told. Told of errands only.
    Begun,
    /// It is reached.
    Reached,
    /// It failed: the tail of the failing unit's log, printable.
    Failed(String),
}

impl fmt::Display for BootEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.news {
            News::Begun => write!(f, "begun: {}", self.stage),
            News::Reached => self.stage.fmt(f),
            News::Failed(_) => write!(f, "failed: {}", self.stage),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    v: u8,
    boot: uuid::Uuid,
    booted: i64,
    instance: String,
    uptime: f64,
    stage: Stage,
    state: State,
    log: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum State {
    Begun,
    Ok,
    Failed,
}

/// Splits what arrives from a channel, in pieces of any size, into events.
#[derive(Debug, Default)]
pub struct Decoder {
    line: Vec<u8>,
    /// The line under way is longer than allowed: skip to its end.
    overlong: bool,
}

impl Decoder {
    /// Events that `bytes` complete. Lines that are no report are left out.
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<BootEvent> {
        let mut events = Vec::new();
        for &byte in bytes {
            if byte != b'\n' {
                self.overlong |= self.line.len() >= LINE_LIMIT;
                if !self.overlong {
                    self.line.push(byte);
                }
                continue;
            }
            if !self.overlong {
                events.extend(parse(&self.line));
            }
            self.line.clear();
            self.overlong = false;
        }
        events
    }
}

fn parse(line: &[u8]) -> Option<BootEvent> {
    let Line { v: 1, boot, booted, instance, uptime, stage, state, log } = serde_json::from_slice(line).ok()? else {
        return None;
    };
    let news = match state {
        State::Begun => News::Begun,
        State::Ok => News::Reached,
        State::Failed => {
            let bytes = base64::engine::general_purpose::STANDARD.decode(log).unwrap_or_default();
            News::Failed(printable::text(&String::from_utf8_lossy(&bytes)))
        }
    };
    Some(BootEvent { boot_id: boot, booted, instance: printable::line(&instance), uptime, stage, news })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const BOOT: &str = "2f3b0c5e-7f5c-4c1c-9d5a-0a4c5b6d7e8f";

    fn line(stage: &str, state: &str, log: &str) -> String {
        format!(
            r#"{{"v":1,"boot":"{BOOT}","booted":1700000000,"instance":"nodebake-ab","uptime":12.5,"stage":"{stage}","state":"{state}","log":"{log}"}}"#
        )
    }

    fn event(stage: Stage, news: News) -> BootEvent {
        BootEvent {
            boot_id: BOOT.parse().unwrap(),
            booted: 1_700_000_000,
            instance: "nodebake-ab".to_owned(),
            uptime: 12.5,
            stage,
            news,
        }
    }

    #[test]
    fn events_come_whole_whatever_the_pieces() {
        let text = [
            ("seed-read", "ok", ""),
            ("images-imported", "begun", ""),
            ("containerd-active", "failed", "aGkbWzFtIQo="),
        ];
        let text: String = text.iter().map(|(stage, state, log)| line(stage, state, log) + "\n").collect();
        let wanted = vec![
            event(Stage::SeedRead, News::Reached),
            event(Stage::ImagesImported, News::Begun),
            event(Stage::ContainerdActive, News::Failed("hi\\u{1b}[1m!\n".to_owned())),
        ];
        let shown: Vec<_> = wanted.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["seed read", "begun: images imported", "failed: containerd active"]);
        for size in [1, 2, 7, 100, text.len()] {
            let mut decoder = Decoder::default();
            let got: Vec<_> = text.as_bytes().chunks(size).flat_map(|piece| decoder.feed(piece)).collect();
            assert_eq!(got, wanted, "pieces of {size}");
        }
    }

    #[test]
    fn what_is_no_report_is_left_out() {
        let good = line("kubelet-active", "ok", "");
        for junk in [
            String::new(),
            "\u{1b}[2J".to_owned(),
            "{}".to_owned(),
            good.replace("\"v\":1", "\"v\":2"),
            good.replace("kubelet-active", "kubelet"),
            good.replace("uptime", "uptim"),
            good.replace(BOOT, "x"),
            "a".repeat(LINE_LIMIT + 1),
            "a".repeat(10 * LINE_LIMIT),
        ] {
            let mut decoder = Decoder::default();
            let got = decoder.feed(format!("{junk}\n{good}\n").as_bytes());
            assert_eq!(got, vec![event(Stage::KubeletActive, News::Reached)], "{junk:.60}");
            assert!(decoder.line.capacity() <= 2 * LINE_LIMIT);
        }
    }

    /// JSON lets every text hold any character, whatever the guest's own script writes.
    #[test]
    fn an_instance_is_one_line() {
        let told = line("seed-read", "ok", "").replace("nodebake-ab", "a\\nworker-node-2: registered\\u001b[2J");
        let events = Decoder::default().feed((told + "\n").as_bytes());
        let instances: Vec<_> = events.iter().map(|event| event.instance.as_str()).collect();
        assert_eq!(instances, ["a\\nworker-node-2: registered\\u{1b}[2J"]);
    }

    #[test]
    fn a_line_under_way_is_no_event() {
        assert_eq!(Decoder::default().feed(line("seed-read", "ok", "").as_bytes()), vec![]);
    }
}
