//! What can go wrong with a hypervisor.

use std::{fmt, io};

use super::mark::MarkError;
use super::transport;
use crate::digest::Digest;

/// What libvirt said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// The message, in the daemon's words.
    pub message: String,
    /// libvirt's error number (virErrorNumber); it differs between drivers for one failure.
    pub code: u32,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Cause {}

/// A failure of a hypervisor, or of a request to it.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the fields are named in each message")]
pub enum MachineError {
    /// No daemon answers at the URI.
    #[error("libvirt does not answer at {uri}")]
    Unreachable { uri: String, source: Cause },
    /// The daemon is there but this user may not use it.
    #[error("no permission to use libvirt at {uri}")]
    Denied { uri: String, source: Cause },
    /// No driver takes the URI.
    #[error("{uri:?} is not a URI that libvirt can open")]
    BadUri { uri: String, source: Cause },
    /// The connection broke while in use.
    #[error("lost the connection to libvirt at {uri} (to {action})")]
    Lost { uri: String, action: String, source: Cause },
    /// The host cannot run guests of this architecture.
    #[error("the host cannot run {arch} guests")]
    NoArch { arch: crate::config::Arch, source: Cause },
    /// The cluster file demands kvm.
    #[error("hardware virtualisation (kvm) cannot be used: {reason}")]
    NoKvm { reason: String },
    /// A network, pool, volume or domain is missing.
    #[error("there is no {kind} {name:?}")]
    Missing { kind: &'static str, name: String },
    /// A network, pool or volume is there already.
    #[error("{kind} {name:?} exists already")]
    Exists { kind: &'static str, name: String },
    /// Something bears the name that we need.
    #[error("{kind} {name:?} exists and was not made by nodebake for this node")]
    Foreign { kind: &'static str, name: String },
    /// A domain is ours that should be somebody else's.
    #[error("domain {name:?} was made by nodebake: there is nothing to take over")]
    Ours { name: String },
    /// A domain runs that must be off.
    #[error("domain {name:?} is not shut off")]
    Active { name: String },
    /// A domain is off that must run.
    #[error("domain {name:?} is not running")]
    Inactive { name: String },
    /// Another session has the console.
    #[error("the console of domain {name:?} is in use by another session")]
    ConsoleTaken { name: String },
    /// A domain's mark is not readable.
    #[error("the mark of domain {name:?} cannot be read")]
    Mark { name: String, source: MarkError },
    /// libvirt refuses a definition.
    #[error("libvirt refuses the definition of {kind} {name:?}")]
    Refused { kind: &'static str, name: String, source: Cause },
    /// There is no space for a volume.
    #[error("storage pool {pool:?} has {available} bytes left, {volume} needs {needed}")]
    Full { pool: String, volume: String, needed: u64, available: u64 },
    /// A job keeps the pool.
    #[error("storage pool {pool:?} stays busy")]
    Busy { pool: String, source: Cause },
    /// Somebody else writes the volume, and does not come to an end.
    #[error("another nodebake is writing volume {volume}")]
    Contended { volume: String },
    /// The file to upload cannot be read.
    #[error("cannot read the file for volume {volume}")]
    Source { volume: String, source: io::Error },
    /// What a volume gives cannot be kept.
    #[error("cannot write what volume {volume} holds")]
    Target { volume: String, source: io::Error },
    /// The file to upload is not the one that was meant.
    #[error("the file for volume {volume} has {got} bytes, not {wanted}")]
    Size { volume: String, wanted: u64, got: u64 },
    /// The file to upload is not the one that was meant.
    #[error("the file for volume {volume} has sha256 {got}, not {wanted}")]
    Digest { volume: String, wanted: Digest, got: Digest },
    /// An upload ended well, but the volume is not whole.
    #[error("volume {volume} was uploaded, but libvirt sees no valid image in it")]
    NotWhole { volume: String },
    /// An upload ended well, but the volume has not the file's size.
    #[error("volume {volume} was uploaded, but has {got} bytes there, not {wanted}")]
    Arrived { volume: String, wanted: u64, got: u64 },
    /// libvirt's answer makes no sense to us.
    #[error("cannot read libvirt's description of {kind} {name:?}: {problem}")]
    Answer { kind: &'static str, name: String, problem: String },
    /// Anything else that libvirt fails at.
    #[error("cannot {action}")]
    Failed { action: String, source: Cause },
}

impl MachineError {
    /// What a user can do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Unreachable { uri, .. } | Self::Denied { uri, .. } if transport(uri).contains("ssh") => {
                "check that you can log in to that host with ssh without a password, that its host key is known, and that libvirtd \
                 runs there and lets that user in"
                    .to_owned()
            }
            Self::Unreachable { uri, .. } if uri.ends_with("/session") => {
                "install libvirt-daemon-system and qemu-system; for qemu:///session the daemon starts by itself"
                    .to_owned()
            }
            Self::Unreachable { uri, .. } | Self::Denied { uri, .. } if transport(uri) == "tls" => {
                "check that libvirtd listens there (--listen, or virtproxyd-tls.socket), and that both sides have certificates \
                 which the other knows: https://libvirt.org/kbase/tlscerts.html"
                    .to_owned()
            }
            Self::Unreachable { .. } => {
                "install libvirt-daemon-system and qemu-system, then: systemctl enable --now libvirtd".to_owned()
            }
            Self::Denied { .. } => {
                "add yourself to the group libvirt (sudo usermod -aG libvirt $USER) and log in again, or use sudo"
                    .to_owned()
            }
            Self::BadUri { .. } => "the usual one is qemu:///system; set libvirt.uri in the cluster file".to_owned(),
            Self::Lost { .. } => "run the same command again: it goes on where it stopped".to_owned(),
            Self::NoArch { arch, .. } => {
                let package = match arch {
                    crate::config::Arch::Amd64 => "qemu-system-x86",
                    crate::config::Arch::Arm64 => "qemu-system-arm",
                };
                format!("install {package} on the host")
            }
            Self::NoKvm { .. } => {
                "set acceleration: auto or tcg (slow), or enable virtualisation in the firmware".to_owned()
            }
            Self::Foreign { kind, name } => {
                format!("rename the node, or remove {kind} {name} yourself if nobody needs it")
            }
            Self::Inactive { name } => format!(
                "`nodebake start {name}` boots it; `nodebake logs {name}` shows what its console showed while it ran"
            ),
            Self::ConsoleTaken { .. } => {
                "wait for that session to end, or take the console over (--force), which cuts the other off".to_owned()
            }
            Self::Mark { .. } => {
                "it was made by another version of nodebake: use that one, or remove it with virsh".to_owned()
            }
            Self::Full { .. } => "free space there, or name another pool in the cluster file".to_owned(),
            Self::Contended { .. } => "wait for the other run to end, then run the command again".to_owned(),
            Self::Digest { .. } | Self::Size { .. } | Self::NotWhole { .. } => {
                "remove the file and build again".to_owned()
            }
            Self::Target { source, .. } => return crate::whole_file::hint(source),
            Self::Missing { .. }
            | Self::Exists { .. }
            | Self::Ours { .. }
            | Self::Active { .. }
            | Self::Busy { .. }
            | Self::Arrived { .. }
            | Self::Source { .. }
            | Self::Answer { .. } => return None,
            Self::Failed { .. } | Self::Refused { .. } => {
                "the hypervisor's log tells more: journalctl -u libvirtd, and /var/log/libvirt/qemu/ for one machine"
                    .to_owned()
            }
        })
    }
}
