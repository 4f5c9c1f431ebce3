//! Machines: what nodebake asks of a hypervisor, and libvirt as the one that answers.
//!
//! Commands and plans know [`Hypervisor`] alone. [`open`] gives the real one; [`memory::Memory`] keeps the same
//! contract in memory, for tests and fault injection.
//!
//! The contract, for every implementation:
//!
//! - Every verb names a state, not a step: starting what runs, stopping what is stopped and deleting what is gone
//!   succeed. So each may be repeated after a crash.
//! - Nothing without our mark is ever redefined, started, stopped or deleted ([`MachineError::Foreign`]): domains carry
//!   a [`Mark`] in their metadata, networks a marking element in theirs, and a volume's mark is its [`VolumeName`], the
//!   only kind of name that can be written or deleted.
//! - A domain that somebody made by hand is touched only once it carries the note of a take-over ([`TakenOver`]): it may
//!   then be started, stopped, renamed and removed with its disks, and is never redefined.
//! - A volume that was uploaded in part is never taken for a whole one: see [`VolumeInfo::is_whole`].
//! - Paths are those of the hypervisor's machine, which need not be this one.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use jiff::Timestamp;

use crate::config::{Acceleration, Arch, ClusterId, Mac, Network6};
use crate::digest::Digest;

mod console;
mod disks;
pub mod domain_xml;
mod error;
mod fan;
mod host_xml;
mod image;
mod libvirt;
pub mod mark;
pub mod memory;
mod record;
mod resources;
mod taken_over;
mod upload;
mod xml;

pub use console::Console;
pub use disks::{Disk, DiskSource};
pub use domain_xml::{Backing, DomainSpec, Drive, Firmware, NetworkCard, VirtType, volumes as volumes_of};
pub use error::{Cause, MachineError};
pub use fan::upload_to_all;
pub use image::{Block, Image, Piece, Reading, Source, Verified};
pub use libvirt::{client_version, open};
pub use mark::{Mark, MarkError, MarkState, VolumeName};
pub use record::{Moving, Parts, Passing, Record, with_standing};
pub use resources::{Card, Resources};
pub use taken_over::{NoteState, TakenOver};

/// What the rest of nodebake needs of a hypervisor. Safe to use from several threads at once; every call blocks.
pub trait Hypervisor: Send + Sync {
    /// The connection's URI.
    fn uri(&self) -> &str;

    /// What the host can run for guests of one architecture.
    fn capabilities(&self, arch: Arch) -> Result<Capabilities, MachineError>;

    /// Where the host is, what it has, and who QEMU is there.
    fn host(&self) -> Result<HostInfo, MachineError>;

    /// A network interface of the host, such as a bridge, by its name. Fails where libvirt has no driver for
    /// interfaces.
    fn interface(&self, name: &str) -> Result<Option<InterfaceInfo>, MachineError>;

    /// All persistent networks, also those that are not ours, by name.
    fn networks(&self) -> Result<Vec<NetworkInfo>, MachineError>;
    /// A network by its name.
    fn network(&self, name: &str) -> Result<Option<NetworkInfo>, MachineError>;
    /// Defines a NAT network with our marking, autostarts and starts it; one of that name must not exist.
    fn create_network(&self, spec: &NetworkSpec) -> Result<NetworkInfo, MachineError>;
    /// Starts a network; one of ours is also set to autostart.
    fn start_network(&self, name: &str) -> Result<(), MachineError>;
    /// Has the DHCP server of a network of ours keep no more what `gone` says, and then what `wanted` says.
    fn reserve(&self, name: &str, gone: &[Reservation], wanted: &[Reservation]) -> Result<(), MachineError>;

    /// A storage pool by its name.
    fn pool(&self, name: &str) -> Result<Option<PoolInfo>, MachineError>;
    /// Defines a pool over a folder, makes the folder, autostarts and starts the pool; one of that name must not exist.
    fn create_pool(&self, spec: &PoolSpec) -> Result<PoolInfo, MachineError>;
    /// Starts a pool, and makes its folder when it is missing (a crash may have left that to do); one of ours is also set to
    /// autostart.
    fn start_pool(&self, name: &str) -> Result<(), MachineError>;
    /// Makes the pool see the files that others wrote, such as logs. Waits while the pool has a job running.
    fn refresh_pool(&self, name: &str) -> Result<(), MachineError>;

    /// All volumes of an active pool, also those that are not ours, by name.
    fn volumes(&self, pool: &str) -> Result<Vec<VolumeInfo>, MachineError>;
    /// When the volumes of an active pool were last written, by their names and to the nanosecond, by the clock of
    /// whoever keeps the files. The folder is looked at anew; one with a job under way is not waited for.
    fn written(&self, pool: &str) -> Result<BTreeMap<String, Timestamp>, MachineError>;
    /// Makes a volume of exactly `source`'s bytes, which must have the size and digest of `spec`; `on_bytes` is told of
    /// each piece's length, holes among them, which take no room. A whole volume of that name is left as it is; a part of one is made anew, once nobody else
    /// writes it. After an error no volume of that name stays behind, unless the connection is lost.
    fn upload(
        &self,
        pool: &str,
        spec: &VolumeSpec,
        source: &mut dyn Source,
        on_bytes: &dyn Fn(u64),
    ) -> Result<VolumeInfo, MachineError>;
    /// Makes a qcow2 volume that starts as its backing file's content, or blank; one of that name must not exist.
    fn create_overlay(&self, pool: &str, spec: &OverlaySpec) -> Result<VolumeInfo, MachineError>;
    /// Makes a volume of what a guest sees on `source`, without a file under it, in the format that `name` tells; one of
    /// that name must not exist. The hypervisor copies; nothing of it passes this machine.
    fn flatten(&self, pool: &str, source: &VolumeName, name: &VolumeName) -> Result<VolumeInfo, MachineError>;
    /// Gives a disk of ours this capacity in bytes, if it has less; `uuid` is the domain whose disk it is, which may
    /// run: its guest sees the larger disk at once.
    fn grow(&self, uuid: uuid::Uuid, pool: &str, name: &VolumeName, capacity: u64) -> Result<(), MachineError>;
    /// Deletes a volume of ours.
    fn delete_volume(&self, pool: &str, name: &VolumeName) -> Result<(), MachineError>;
    /// Overwrites a volume of ours, so that nothing of what it held can be read from the pool again; it stays, and is no
    /// whole image any more.
    fn wipe_volume(&self, pool: &str, name: &VolumeName) -> Result<(), MachineError>;
    /// At most `max` bytes of a volume's content from `offset` on; none at and behind its end.
    fn read_volume(&self, pool: &str, name: &VolumeName, offset: u64, max: usize) -> Result<Vec<u8>, MachineError>;
    /// Gives all of a volume's file to `target`, in pieces; returns its size in bytes.
    fn download(&self, pool: &str, name: &VolumeName, target: &mut dyn Write) -> Result<u64, MachineError>;
    /// SHA-256 of a volume's file and its size in bytes; `on_bytes` is told of each block's length.
    fn digest_volume(
        &self,
        pool: &str,
        name: &VolumeName,
        on_bytes: &dyn Fn(u64),
    ) -> Result<(Digest, u64), MachineError>;

    /// All volumes of all active pools, each with its pool, by pool and name.
    fn all_volumes(&self) -> Result<Vec<(String, VolumeInfo)>, MachineError>;

    /// All persistent domains, also those that are not ours, by name.
    fn domains(&self) -> Result<Vec<DomainInfo>, MachineError>;
    /// A domain by its UUID.
    fn domain(&self, uuid: uuid::Uuid) -> Result<Option<DomainInfo>, MachineError>;
    /// Defines a domain or, if it carries our mark, redefines it; validated against libvirt's schema.
    fn define(&self, xml: &str) -> Result<DomainInfo, MachineError>;
    /// Boots a domain; a paused one is resumed. The UEFI firmware of a `fresh` one has its variables, such as the keys of
    /// secure boot, as they come with it, and not as a machine before has left them.
    fn start(&self, uuid: uuid::Uuid, fresh: bool) -> Result<(), MachineError>;
    /// Whether the domain starts with the host.
    fn set_autostart(&self, uuid: uuid::Uuid, autostart: bool) -> Result<(), MachineError>;
    /// Asks the guest to power off (ACPI) and returns at once; poll [`Hypervisor::domain`] for the end.
    fn shutdown(&self, uuid: uuid::Uuid) -> Result<(), MachineError>;
    /// Pulls the plug.
    fn destroy(&self, uuid: uuid::Uuid) -> Result<(), MachineError>;
    /// Opens the serial console of a running domain of ours. One session has it at a time; `take_over` ends the one before.
    fn console(&self, uuid: uuid::Uuid, take_over: bool) -> Result<Box<dyn Console>, MachineError>;
    /// Forgets a domain that is shut off, with its NVRAM and saved state; its volumes stay.
    fn undefine(&self, uuid: uuid::Uuid) -> Result<(), MachineError>;
    /// Takes a seed of ours out of the domain's drive, in its definition and, if it runs, in the running machine. The drive
    /// stays, and whatever else is in it.
    fn eject_seed(&self, uuid: uuid::Uuid) -> Result<(), MachineError>;
    /// Replaces the domain's mark, in its definition and, if it runs, in the running machine.
    fn set_mark(&self, uuid: uuid::Uuid, mark: &Mark) -> Result<(), MachineError>;
    /// Notes in the domain's metadata that its node goes to another hypervisor, or comes back from there.
    fn note_move(&self, uuid: uuid::Uuid, moving: &Moving) -> Result<(), MachineError>;
    /// Takes what stands there only while a machine is being replaced out of the domain's metadata.
    fn forget(&self, uuid: uuid::Uuid, what: Passing) -> Result<(), MachineError>;

    /// Notes in a domain that is not ours that a machine of ours takes its place, or takes that note out; in its definition
    /// and, if it runs, in the running machine. Nothing else of it is changed.
    fn note(&self, uuid: uuid::Uuid, note: Option<&TakenOver>) -> Result<(), MachineError>;
    /// Gives a domain with such a note, which must be off, another name that nobody has.
    fn rename(&self, uuid: uuid::Uuid, name: &str) -> Result<(), MachineError>;
    /// Deletes a volume that is a disk of a domain with such a note, which must be off.
    fn delete_disk(&self, uuid: uuid::Uuid, pool: &str, volume: &str) -> Result<(), MachineError>;
}

/// What a host can run for one guest architecture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capabilities {
    /// Whether hardware virtualisation can be used, else why not.
    pub kvm: Result<(), String>,
    /// Path of the emulator.
    pub emulator: String,
    /// Versioned machine type that `q35` (`virt` on arm64) stands for, `pc-q35-10.0`.
    pub machine: String,
    /// libvirt of the host, `11.3.0`.
    pub libvirt_version: semver::Version,
    /// The hypervisor of the host (QEMU), `10.0.2`.
    pub hypervisor_version: semver::Version,
    /// Whether the host has UEFI firmware for such guests.
    pub uefi: bool,
    /// Whether one of these starts signed loaders alone.
    pub secure_boot: bool,
    /// The CPU that guests can have with hardware virtualisation, as far as libvirt tells.
    pub cpu: Option<CpuModel>,
}

/// A CPU as libvirt describes it (`host-model`): by the model that comes nearest, and how it differs from that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CpuModel {
    /// libvirt's name of the model, `Skylake-Server-IBRS`.
    pub name: String,
    /// Features that it has beside the model's.
    pub more: BTreeSet<String>,
    /// Features of the model that it lacks.
    pub less: BTreeSet<String>,
}

/// A network interface of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InterfaceInfo {
    /// Whether it is up, and has a link.
    pub active: bool,
    /// Largest packet in bytes, where libvirt tells it.
    pub mtu: Option<u32>,
}

/// A host, whatever it can run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostInfo {
    /// Whether it is this machine, so that paths and routes of the one are those of the other.
    pub local: bool,
    /// User and group that QEMU runs as, where libvirt changes them: for a daemon of root's.
    pub qemu_user: Option<(u32, u32)>,
    /// Its CPUs.
    pub cpus: u32,
    /// Its memory in bytes.
    pub memory: u64,
}

impl Capabilities {
    /// How guests run here when the cluster file asks for `wanted`.
    pub fn virt_type(&self, wanted: Acceleration) -> Result<VirtType, MachineError> {
        match (wanted, &self.kvm) {
            (Acceleration::Tcg, _) | (Acceleration::Auto, Err(_)) => Ok(VirtType::Qemu),
            (_, Ok(())) => Ok(VirtType::Kvm),
            (Acceleration::Kvm, Err(reason)) => Err(MachineError::NoKvm { reason: reason.clone() }),
        }
    }
}

/// A NAT network to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkSpec {
    /// Name in libvirt.
    pub name: String,
    /// The subnet.
    pub cidr: ipnet::Ipv4Net,
    /// The host's address in it, the guests' default gateway; libvirt's dnsmasq answers DNS there.
    pub gateway: Ipv4Addr,
    /// The same by IPv6, translated (NAT) as IPv4 is.
    pub ipv6: Option<Network6>,
    /// What its DHCP server keeps for guests; there is one for them alone, and none where this is empty.
    pub reservations: Vec<Reservation>,
    /// Largest packet in bytes, where it is not libvirt's own.
    pub mtu: Option<u32>,
    /// The cluster it is made for.
    pub cluster: ClusterId,
}

/// A network as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkInfo {
    /// Name in libvirt.
    pub name: String,
    /// Whether it is started.
    pub active: bool,
    /// Whether it starts with the host.
    pub autostart: bool,
    /// Name of its bridge on the host.
    pub bridge: Option<String>,
    /// Forward mode: `nat`, `route`, `bridge` …; an isolated network has none.
    pub forward: Option<String>,
    /// The host's IPv4 address in it, with its prefix.
    pub address: Option<ipnet::Ipv4Net>,
    /// The host's IPv6 address in it, with its prefix.
    pub address6: Option<ipnet::Ipv6Net>,
    /// IPv4 ranges that its DHCP server hands out, first and last address.
    pub dhcp: Vec<(Ipv4Addr, Ipv4Addr)>,
    /// What its DHCP server keeps for single guests.
    pub reservations: Vec<Reservation>,
    /// Whether nodebake made it.
    pub ours: bool,
}

/// An address that a DHCP server keeps for one guest, known by its MAC or its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reservation {
    /// Whose it is.
    pub mac: Option<Mac>,
    /// What that guest calls itself.
    pub name: Option<String>,
    /// The address; none where only a name is given to a MAC.
    pub address: Option<Ipv4Addr>,
}

/// A pool over a folder, to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolSpec {
    /// Name in libvirt.
    pub name: String,
    /// Absolute path of the folder.
    pub path: String,
}

/// A storage pool as it is; the sizes are zero while it is inactive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolInfo {
    /// Name in libvirt.
    pub name: String,
    /// libvirt's pool type; only `dir` (and `fs`, `netfs`) hold files.
    pub kind: String,
    /// Absolute path of the folder.
    pub path: String,
    /// Whether it is started.
    pub active: bool,
    /// Whether it starts with the host.
    pub autostart: bool,
    /// Bytes in all.
    pub capacity: u64,
    /// Bytes left.
    pub available: u64,
}

/// What is inside a volume's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VolumeFormat {
    /// Anything that libvirt does not know.
    Raw,
    /// A QEMU disk image.
    Qcow2,
    /// An ISO 9660 file system.
    Iso,
    /// Another format, by libvirt's name.
    Other(String),
}

/// A volume to upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeSpec {
    /// Its name, which also tells its format.
    pub name: VolumeName,
    /// Exact number of bytes of the file.
    pub size: u64,
    /// SHA-256 of the file.
    pub digest: Digest,
}

/// A disk to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OverlaySpec {
    /// Its name.
    pub name: VolumeName,
    /// Size of the disk as the guest sees it, in bytes.
    pub capacity: u64,
    /// Path of the qcow2 file under it; a data disk has none.
    pub backing: Option<String>,
}

/// A volume as libvirt last saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeInfo {
    /// File name.
    pub name: String,
    /// Absolute path.
    pub path: String,
    /// Bytes that a guest sees.
    pub capacity: u64,
    /// Bytes that it takes on the host.
    pub allocation: u64,
    /// Format found in the file.
    pub format: VolumeFormat,
    /// Path of its backing file.
    pub backing: Option<String>,
}

impl VolumeInfo {
    /// The name, if it is one of ours.
    pub fn ours(&self) -> Option<VolumeName> {
        self.name.parse().ok()
    }

    /// Whether a volume of ours has all its bytes.
    ///
    /// libvirt cannot rename volumes. So an upload writes the page that makes the file an ISO 9660 or qcow2 image last,
    /// when everything else has arrived and its digest was right; until then libvirt finds the format `raw`.
    pub fn is_whole(&self) -> bool {
        self.ours().is_some_and(|name| name.format() == self.format)
    }
}

/// What a domain does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DomainState {
    /// It runs.
    Running,
    /// Its CPUs are halted by the host: by a user, an I/O error, or suspended to memory.
    Paused,
    /// The guest is powering off.
    ShuttingDown,
    /// It is off.
    ShutOff,
    /// It is off after a crash.
    Crashed,
    /// libvirt does not know.
    Unknown,
}

impl DomainState {
    /// Whether there is a process for it on the host.
    pub fn is_active(self) -> bool {
        matches!(self, Self::Running | Self::Paused | Self::ShuttingDown)
    }
}

/// A persistent domain as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainInfo {
    /// Name in libvirt.
    pub name: String,
    /// Its UUID.
    pub uuid: uuid::Uuid,
    /// What it does.
    pub state: DomainState,
    /// Whether it starts with the host.
    pub autostart: bool,
    /// Our mark; `Ok(None)` on a foreign domain, an error if a mark is there that this nodebake cannot read.
    pub mark: Result<Option<Mark>, MarkError>,
    /// The definition that the next start uses.
    pub xml: String,
}

impl DomainInfo {
    /// Our mark, where there is one that can be read.
    pub fn mark(&self) -> Option<&Mark> {
        self.mark.as_ref().ok()?.as_ref()
    }

    /// Digest of the definition as libvirt keeps it, without metadata: it changes when someone edits the domain.
    pub fn stored_digest(&self) -> Digest {
        domain_xml::stored_digest(&self.xml)
    }

    /// What its metadata tells beside the mark.
    pub fn record(&self) -> Record {
        Record::from_domain_xml(&self.xml)
    }

    /// Its definition without the machine whose place it took: what another one keeps of it.
    pub fn kept(&self) -> String {
        record::without(&record::without(&self.xml, Passing::Previous), Passing::Standing)
    }

    /// Where its node goes to, while a machine for it is made at another hypervisor.
    pub fn moving(&self) -> Option<Moving> {
        // Most domains have no such note, and need not be parsed to know it.
        self.xml.contains(Passing::Moving.namespace()).then(|| self.record().moving)?
    }

    /// The note of a take-over; `Ok(None)` where there is none, an error if one is there that this nodebake cannot read.
    pub fn taken_over(&self) -> Result<Option<TakenOver>, MarkError> {
        TakenOver::from_domain_xml(&self.xml)
    }

    /// Its disks, by the definition.
    pub fn disks(&self) -> Vec<Disk> {
        disks::read(&self.xml)
    }

    /// The volumes of ours that its definition names, in its order.
    pub fn volumes(&self) -> Vec<VolumeName> {
        domain_xml::volumes(&self.xml)
    }

    /// Those of them that it has for itself.
    pub fn own_volumes(&self) -> Vec<VolumeName> {
        self.volumes().into_iter().filter(VolumeName::is_own).collect()
    }

    /// Its root disk, by the definition.
    pub fn root(&self) -> Option<VolumeName> {
        self.volumes().into_iter().find(|volume| matches!(volume, VolumeName::Root { .. }))
    }

    /// What it takes of its host, by the definition.
    pub fn resources(&self) -> Resources {
        resources::read(&self.xml)
    }

    /// What the drive for seeds holds, by the definition.
    pub fn drive(&self) -> Drive {
        domain_xml::drive(&self.xml)
    }
}

/// How the daemon at a URI is reached, by the name that libvirt has for it; empty where it is this machine's own
/// (<https://libvirt.org/uri.html#remote-uris>: a host without a transport is reached by TLS).
fn transport(uri: &str) -> &str {
    let Some((scheme, rest)) = uri.split_once("://") else { return "" };
    match scheme.split_once('+') {
        Some((_, transport)) => transport,
        None if rest.starts_with('/') => "",
        None => "tls",
    }
}

/// The program by which libvirt reaches a daemon through ssh: `ssh`, or the one that the URI names
/// (<https://libvirt.org/uri.html#ssh-transport>); none where it is reached in another way.
pub fn remote_shell(uri: &str) -> Option<PathBuf> {
    if transport(uri) != "ssh" {
        return None;
    }
    let url = url::Url::parse(uri).ok();
    let named = url.and_then(|url| Some(url.query_pairs().find(|(key, _)| key == "command")?.1.into_owned()));
    Some(named.unwrap_or_else(|| "ssh".to_owned()).into())
}

/// Whether a domain may be started and stopped: it is ours, or taken over.
fn check_held(domain: &DomainInfo) -> Result<(), MachineError> {
    let unreadable = |source| MachineError::Mark { name: domain.name.clone(), source };
    match &domain.mark {
        Ok(Some(_)) => Ok(()),
        Err(source) => Err(unreadable(source.clone())),
        Ok(None) => match domain.taken_over().map_err(unreadable)? {
            Some(_) => Ok(()),
            None => Err(MachineError::Foreign { kind: "domain", name: domain.name.clone() }),
        },
    }
}

/// Whether a domain may carry this note: it is nobody's, or the same cluster's already.
fn check_note(domain: &DomainInfo, note: Option<&TakenOver>) -> Result<(), MachineError> {
    if !matches!(domain.mark, Ok(None)) {
        return Err(MachineError::Ours { name: domain.name.clone() });
    }
    let there = domain.taken_over();
    let there = there.map_err(|source| MachineError::Mark { name: domain.name.clone(), source })?;
    match (there, note) {
        (Some(there), Some(note)) if (&there.cluster, there.ca) != (&note.cluster, note.ca) => {
            Err(MachineError::Foreign { kind: "domain", name: domain.name.clone() })
        }
        _ => Ok(()),
    }
}

/// Whether a domain may get another name, and lose its disks: it is taken over, and off.
fn check_set_aside(domain: &DomainInfo) -> Result<(), MachineError> {
    if !matches!(domain.mark, Ok(None)) {
        return Err(MachineError::Ours { name: domain.name.clone() });
    }
    check_held(domain)?;
    if domain.state.is_active() { Err(MachineError::Active { name: domain.name.clone() }) } else { Ok(()) }
}

/// Whether a volume is a disk that a domain alone writes.
fn check_disk(domain: &DomainInfo, pool: &str, volume: &str, path: &str) -> Result<(), MachineError> {
    let named = [DiskSource::Path(path.to_owned()), DiskSource::Volume(pool.to_owned(), volume.to_owned())];
    if domain.disks().iter().any(|disk| disk.own && named.contains(&disk.source)) {
        return Ok(());
    }
    Err(MachineError::Foreign { kind: "volume", name: volume.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::transport;

    #[test]
    fn a_host_is_reached_by_what_its_uri_says() {
        for (uri, wanted) in [
            ("qemu:///system", ""),
            ("test:///default", ""),
            ("qemu+unix:///system?socket=/home/ssh/tls", "unix"),
            ("qemu+ssh://root@host/system", "ssh"),
            ("qemu+libssh2://host/system", "libssh2"),
            ("qemu+tls://host/system", "tls"),
            ("qemu://host/system", "tls"),
            ("qemu", ""),
        ] {
            assert_eq!(transport(uri), wanted, "{uri}");
        }
    }
}
