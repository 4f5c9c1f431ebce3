//! The hypervisor behind libvirt. The only room that knows the `virt` crate.
//!
//! libvirt's drivers report one failure by different error codes, so what counts here is the state after a failed
//! call: a domain that runs is started, whatever `virDomainCreate` said. Only "there is no such object" has the same
//! code everywhere.

mod console;
mod domains;
mod storage;

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use console::OpenConsole;
use uuid::Uuid;
use virt::connect::Connect;
use virt::error::{Error as VirtError, ErrorNumber};
use virt::network::Network;
use virt::storage_vol::StorageVol;
use virt::stream::Stream;
use virt::sys;

use super::host_xml::{self, DomainCapabilities, Running};
use super::image::Source;
use super::mark::{Mark, NAMESPACE, PREFIX, VolumeName};
use super::record::{Moving, Passing};
use super::taken_over::{self, TakenOver};
use super::{
    Capabilities, Cause, Console, DomainInfo, DomainState, HostInfo, Hypervisor, InterfaceInfo, MachineError,
    NetworkInfo, NetworkSpec, OverlaySpec, PoolInfo, PoolSpec, Reservation, VolumeInfo, VolumeSpec, check_disk,
    check_note, transport,
};
use crate::config::Arch;
use crate::digest::{Digest, Hasher};

type Result<T> = std::result::Result<T, MachineError>;

/// Pause between two looks at something that no event tells about.
const POLL: Duration = Duration::from_millis(200);
/// Seconds of silence after which a far daemon is asked whether it is there, and how often before it is given up.
const KEEP_ALIVE: (i32, u32) = (5, 3);
/// A volume is read back in blocks of this size, in bytes.
const DOWNLOAD_BLOCK: usize = 1 << 20;
/// Most bytes in one message of a stream. Measured: a MiB each takes twice as long, since client and daemon then allocate
/// anew for every message, and wait for one another.
const PACKET: usize = 128 << 10;
/// For how long the daemon may fail to read its own schema.
const SCHEMA_LIMIT: Duration = Duration::from_secs(5);

/// Connects to the hypervisor at a libvirt URI such as `qemu:///system`.
pub fn open(uri: &str) -> Result<Box<dyn Hypervisor>> {
    Ok(Box::new(Libvirt::open(uri)?))
}

/// The version of libvirt's client library here, where it tells.
pub fn client_version() -> Option<semver::Version> {
    Connect::version().ok().map(host_xml::version)
}

/// Whether the daemon is reached through a network, which may fail without a word.
fn is_far(uri: &str) -> bool {
    matches!(transport(uri), "ssh" | "libssh" | "libssh2" | "tls" | "tcp")
}

/// Has libvirt look after connections meanwhile: it asks a daemon that has been silent for a while, and gives the connection up
/// when nothing comes back, only where a program runs its event loop
/// (<https://libvirt.org/html/libvirt-libvirt-host.html#virConnectSetKeepAlive>). Says whether it does.
fn watch_connections() -> bool {
    static WATCHED: OnceLock<bool> = OnceLock::new();
    *WATCHED.get_or_init(|| {
        let run = || while virt::event::event_run_default_impl().is_ok() {};
        let registered = virt::event::event_register_default_impl().is_ok();
        registered && std::thread::Builder::new().name("libvirt".to_owned()).spawn(run).is_ok()
    })
}

/// Why a URI cannot be one of a hypervisor of ours. Asked first, since libvirt hands a scheme that it does not know to
/// the system's daemon, and then tells of that one.
fn unfit(uri: &str) -> Option<&'static str> {
    let driver = uri.split_once(':').map(|(scheme, _)| scheme.split('+').next().unwrap_or_default());
    match driver {
        _ if uri.contains('\0') => Some("it holds a NUL"),
        Some("qemu" | "test") => None,
        _ => Some("it does not begin with qemu: or qemu+ and a transport"),
    }
}

fn not_open(uri: String, error: &VirtError) -> MachineError {
    use ErrorNumber as N;
    let source = cause(error);
    let code = error.code();
    // A socket's errno is only in the message, which the client library writes in English.
    let denied = source.message.contains("Permission denied")
        || code.is_any(vec![N::AuthFailed, N::AuthUnavailable, N::AuthCancelled, N::AccessDenied, N::OperationDenied]);
    if denied {
        MachineError::Denied { uri, source }
    } else if code.is_any(vec![N::NoConnect, N::InvalidArg, N::NoSupport, N::ConfigUnsupported, N::XmlError]) {
        MachineError::BadUri { uri, source }
    } else {
        MachineError::Unreachable { uri, source }
    }
}

fn cause(error: &VirtError) -> Cause {
    Cause { message: error.message().trim_end().to_owned(), code: error.code().to_raw() }
}

/// `None` if libvirt says that the object does not exist.
fn found<T>(result: std::result::Result<T, VirtError>) -> std::result::Result<Option<T>, VirtError> {
    use ErrorNumber as N;
    match result {
        Ok(object) => Ok(Some(object)),
        Err(error)
            if error.code().is_any(vec![
                N::NoDomain,
                N::NoNetwork,
                N::NoStoragePool,
                N::NoStorageVolume,
                N::NoInterface,
            ]) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn missing(kind: &'static str, name: &(impl ToString + ?Sized)) -> MachineError {
    MachineError::Missing { kind, name: name.to_string() }
}

fn exists(kind: &'static str, name: &(impl ToString + ?Sized)) -> MachineError {
    MachineError::Exists { kind, name: name.to_string() }
}

fn answer(kind: &'static str, name: &(impl ToString + ?Sized)) -> impl FnOnce(String) -> MachineError {
    let name = name.to_string();
    move |problem| MachineError::Answer { kind, name, problem }
}

struct Libvirt {
    connection: Connect,
    uri: String,
    /// Held while a domain is defined; see [`Libvirt::define_valid`].
    defining: Mutex<()>,
}

impl Libvirt {
    fn open(uri: &str) -> Result<Self> {
        // libvirt's own handler prints every error on stderr, also those that are expected here.
        virt::error::clear_error_callback();
        if let Some(problem) = unfit(uri) {
            return Err(MachineError::BadUri {
                uri: uri.to_owned(),
                source: Cause { message: problem.to_owned(), code: 0 },
            });
        }
        tracing::info!(uri, "connecting to libvirt");
        let watched = is_far(uri) && watch_connections();
        match Connect::open(Some(uri)) {
            Ok(connection) => {
                if watched {
                    // An old daemon may not know them; then a connection that is cut is found out by TCP alone.
                    let _ = connection.set_keep_alive(KEEP_ALIVE.0, KEEP_ALIVE.1);
                }
                Ok(Self { connection, uri: uri.to_owned(), defining: Mutex::new(()) })
            }
            Err(error) => Err(not_open(uri.to_owned(), &error)),
        }
    }

    /// The error of a failed call; `action` reads after "cannot".
    fn failed(&self, action: impl Into<String>) -> impl FnOnce(VirtError) -> MachineError {
        let action = action.into();
        let alive = || self.connection.is_alive().unwrap_or(false);
        move |error| {
            let source = cause(&error);
            if alive() {
                MachineError::Failed { action, source }
            } else {
                MachineError::Lost { uri: self.uri.clone(), action, source }
            }
        }
    }

    /// The error of a definition that did not come to be.
    fn refused(&self, kind: &'static str, name: &str) -> impl FnOnce(VirtError) -> MachineError {
        let name = name.to_owned();
        move |error| {
            if self.connection.is_alive().unwrap_or(false) {
                MachineError::Refused { kind, name, source: cause(&error) }
            } else {
                self.failed(format!("define {kind} {name:?}"))(error)
            }
        }
    }

    /// Whether the host is this machine. A URI names a host between `://` and the next slash.
    fn is_local(&self) -> bool {
        self.uri.split_once("://").is_none_or(|(_, rest)| rest.is_empty() || rest.starts_with(['/', '?']))
    }

    fn find_network(&self, name: &str) -> Result<Option<Network>> {
        found(self.connection.lookup_network_by_name(name)).map_err(self.failed(format!("look up network {name:?}")))
    }

    fn describe_network(&self, network: &Network, name: &str) -> Result<NetworkInfo> {
        let failed = || self.failed(format!("describe network {name:?}"));
        let xml = network.xml_desc(0).map_err(failed())?;
        let running = Running {
            active: network.is_active().map_err(failed())?,
            autostart: network.autostart().map_err(failed())?,
        };
        host_xml::read_network(&xml, &running).map_err(answer("network", name))
    }
}

/// Takes everything, and tells how much.
struct Told<'a>(&'a dyn Fn(u64));

impl Write for Told<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        (self.0)(bytes.len() as u64);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn send_all(stream: &Stream, mut bytes: &[u8]) -> std::result::Result<(), VirtError> {
    while !bytes.is_empty() {
        let sent = stream.send(&bytes[..bytes.len().min(PACKET)])?;
        bytes = &bytes[usize::try_from(sent).unwrap_or(0)..];
    }
    Ok(())
}

impl Hypervisor for Libvirt {
    fn uri(&self) -> &str {
        &self.uri
    }

    fn capabilities(&self, arch: Arch) -> Result<Capabilities> {
        let (libvirt_arch, machine) = match arch {
            Arch::Amd64 => ("x86_64", "q35"),
            Arch::Arm64 => ("aarch64", "virt"),
        };
        let ask = |virt| self.connection.domain_capabilities(None, Some(libvirt_arch), Some(machine), Some(virt), 0);
        let emulated = match ask("qemu") {
            Ok(xml) => xml,
            Err(_) if !self.connection.is_alive().unwrap_or(false) => {
                return Err(self.failed("read the host's capabilities")(VirtError::last_error()));
            }
            Err(error) => return Err(MachineError::NoArch { arch, source: cause(&error) }),
        };
        let DomainCapabilities { emulator, machine, uefi, secure_boot, .. } =
            host_xml::read_domain_capabilities(&emulated).map_err(answer("host", "capabilities"))?;
        let accelerated = ask("kvm");
        let cpu = accelerated.as_ref().ok().and_then(|xml| host_xml::read_domain_capabilities(xml).ok()?.cpu);
        let unusable = match accelerated {
            Err(error) => Some(cause(&error).message),
            Ok(_) if self.is_local() => {
                std::fs::read_to_string("/proc/cpuinfo").ok().and_then(|text| host_xml::cpu_lacks_kvm(&text))
            }
            Ok(_) => None,
        };
        let failed = || self.failed("read the host's versions");
        Ok(Capabilities {
            kvm: unusable.map_or(Ok(()), Err),
            emulator,
            machine,
            libvirt_version: host_xml::version(self.connection.lib_version().map_err(failed())?),
            hypervisor_version: host_xml::version(self.connection.hyp_version().map_err(failed())?),
            uefi,
            secure_boot,
            cpu,
        })
    }

    fn host(&self) -> Result<HostInfo> {
        let xml = self.connection.capabilities().map_err(self.failed("read the host's capabilities"))?;
        let qemu_user = host_xml::read_qemu_user(&xml).map_err(answer("host", "capabilities"))?;
        let node = self.connection.node_info().map_err(self.failed("describe the host"))?;
        // The test driver's host is nowhere.
        let local = self.is_local() && !self.uri.starts_with("test:");
        Ok(HostInfo { local, qemu_user, cpus: node.cpus, memory: node.memory * 1024 })
    }

    fn interface(&self, name: &str) -> Result<Option<InterfaceInfo>> {
        let failed = || self.failed(format!("look at interface {name:?}"));
        let Some(interface) = found(self.connection.lookup_interface_by_name(name)).map_err(failed())? else {
            return Ok(None);
        };
        let active = interface.is_active().map_err(failed())?;
        let xml = interface.xml_desc(0).map_err(failed())?;
        let mtu = host_xml::read_mtu(&xml).map_err(answer("interface", name))?;
        Ok(Some(InterfaceInfo { active, mtu }))
    }

    fn networks(&self) -> Result<Vec<NetworkInfo>> {
        let networks = self
            .connection
            .list_all_networks(sys::VIR_CONNECT_LIST_NETWORKS_PERSISTENT)
            .map_err(self.failed("list the networks"))?;
        let describe = |network: &Network| {
            let name = network.name().map_err(self.failed("name a network"))?;
            // It may have gone since it was listed.
            let gone = matches!(self.find_network(&name), Ok(None));
            if gone { Ok(None) } else { self.describe_network(network, &name).map(Some) }
        };
        let infos: Result<Vec<_>> = networks.iter().map(describe).collect();
        let mut infos: Vec<NetworkInfo> = infos?.into_iter().flatten().collect();
        infos.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(infos)
    }

    fn network(&self, name: &str) -> Result<Option<NetworkInfo>> {
        self.find_network(name)?.map(|network| self.describe_network(&network, name)).transpose()
    }

    fn create_network(&self, spec: &NetworkSpec) -> Result<NetworkInfo> {
        let name = &spec.name;
        if self.find_network(name)?.is_some() {
            return Err(exists("network", name));
        }
        let refused = self.refused("network", name);
        let network = self.connection.define_network_xml(&host_xml::network(spec)).map_err(refused)?;
        self.start_network(name)?;
        self.describe_network(&network, name)
    }

    fn start_network(&self, name: &str) -> Result<()> {
        let network = self.find_network(name)?.ok_or_else(|| missing("network", name))?;
        let failed = || self.failed(format!("start network {name:?}"));
        let info = self.describe_network(&network, name)?;
        if info.ours && !info.autostart {
            network.set_autostart(true).map_err(failed())?;
        }
        if info.active {
            return Ok(());
        }
        match network.create() {
            Ok(()) => Ok(()),
            Err(_) if network.is_active().unwrap_or(false) => Ok(()),
            Err(error) => Err(failed()(error)),
        }
    }

    fn reserve(&self, name: &str, gone: &[Reservation], wanted: &[Reservation]) -> Result<()> {
        let network = self.find_network(name)?.ok_or_else(|| missing("network", name))?;
        let info = self.describe_network(&network, name)?;
        if !info.ours {
            return Err(MachineError::Foreign { kind: "network", name: name.to_owned() });
        }
        let live = if info.active { sys::VIR_NETWORK_UPDATE_AFFECT_LIVE } else { 0 };
        let update = |command, kept: &Reservation| {
            let (section, xml) = (sys::VIR_NETWORK_SECTION_IP_DHCP_HOST, host_xml::reservation(kept));
            // The one <ip> with DHCP, or else the first.
            network
                .update(command, section, -1, &xml, live | sys::VIR_NETWORK_UPDATE_AFFECT_CONFIG)
                .map_err(self.failed(format!("change what DHCP of network {name:?} keeps")))
        };
        let there = |kept: &&Reservation| info.reservations.contains(kept);
        gone.iter().filter(there).try_for_each(|kept| update(sys::VIR_NETWORK_UPDATE_COMMAND_DELETE, kept))?;
        let missing = wanted.iter().filter(|kept| !there(kept));
        missing.into_iter().try_for_each(|kept| update(sys::VIR_NETWORK_UPDATE_COMMAND_ADD_LAST, kept))
    }

    fn pool(&self, name: &str) -> Result<Option<PoolInfo>> {
        self.find_pool(name)?.map(|pool| self.describe_pool(&pool, name)).transpose()
    }

    fn create_pool(&self, spec: &PoolSpec) -> Result<PoolInfo> {
        let name = &spec.name;
        if self.find_pool(name)?.is_some() {
            return Err(exists("storage pool", name));
        }
        let refused = self.refused("storage pool", name);
        let pool = self.connection.define_storage_pool_xml(&host_xml::pool(spec), 0).map_err(refused)?;
        self.start_pool(name)?;
        self.describe_pool(&pool, name)
    }

    fn start_pool(&self, name: &str) -> Result<()> {
        let pool = self.need_pool(name)?;
        let active = || pool.is_active().unwrap_or(false);
        // Between define and autostart a crash is possible.
        let failed = || self.failed(format!("autostart storage pool {name:?}"));
        if pool.uuid().map_err(failed())? == host_xml::pool_uuid(name) && !pool.autostart().map_err(failed())? {
            pool.set_autostart(true).map_err(failed())?;
        }
        if active() || pool.create(0).is_ok() {
            return Ok(());
        }
        // The folder is missing: between define and build a crash is possible.
        match pool.build(0).and_then(|()| pool.create(0)) {
            Ok(()) => Ok(()),
            Err(_) if active() => Ok(()),
            Err(error) => Err(self.failed(format!("start storage pool {name:?}"))(error)),
        }
    }

    fn refresh_pool(&self, name: &str) -> Result<()> {
        self.refresh(&self.need_pool(name)?, name)
    }

    fn volumes(&self, pool: &str) -> Result<Vec<VolumeInfo>> {
        let volumes = self
            .need_pool(pool)?
            .list_all_volumes(0)
            .map_err(self.failed(format!("list the volumes of storage pool {pool:?}")))?;
        let infos: Result<Vec<_>> = volumes.iter().map(|volume| self.describe_volume(volume)).collect();
        let mut infos: Vec<VolumeInfo> = infos?.into_iter().flatten().collect();
        infos.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(infos)
    }

    fn written(&self, name: &str) -> Result<BTreeMap<String, jiff::Timestamp>> {
        let pool = self.need_pool(name)?;
        let failed = || self.failed(format!("look through storage pool {name:?}"));
        pool.refresh(0).map_err(failed())?;
        let mut written = BTreeMap::new();
        for volume in pool.list_all_volumes(0).map_err(failed())? {
            // One may have gone since they were listed.
            let Some(xml) = found(volume.xml_desc(0)).map_err(failed())? else { continue };
            let volume = volume.name().map_err(failed())?;
            let time = host_xml::read_written(&xml).map_err(answer("volume", &volume))?;
            written.extend(time.map(|time| (volume, time)));
        }
        Ok(written)
    }

    fn upload(
        &self,
        pool_name: &str,
        spec: &VolumeSpec,
        source: &mut dyn Source,
        on_bytes: &dyn Fn(u64),
    ) -> Result<VolumeInfo> {
        let pool = self.need_pool(pool_name)?;
        // The name may be taken, freed and taken again by others, but not for ever.
        for _ in 0..3 {
            if let Some(volume) = self.create_upload_volume(&pool, pool_name, spec)? {
                if self.fill(&pool, &volume, spec, source, on_bytes)?.is_some() {
                    let arrived = self.arrived(&pool, pool_name, spec);
                    if matches!(arrived, Err(MachineError::NotWhole { .. } | MachineError::Arrived { .. })) {
                        self.remove(&pool, &spec.name)?;
                    }
                    return arrived;
                }
                // Taken over: the source is used up, so only the other one can bring it to its end.
                let other = self.wait_for_other(&pool, pool_name, &spec.name)?;
                return other.ok_or_else(|| MachineError::Contended { volume: spec.name.to_string() });
            }
            if let Some(whole) = self.wait_for_other(&pool, pool_name, &spec.name)? {
                return Ok(whole);
            }
        }
        Err(MachineError::Contended { volume: spec.name.to_string() })
    }

    fn create_overlay(&self, pool_name: &str, spec: &OverlaySpec) -> Result<VolumeInfo> {
        let pool = self.need_pool(pool_name)?;
        if self.find_volume(&pool, &spec.name)?.is_some() {
            return Err(exists("volume", &spec.name));
        }
        let volume = StorageVol::create_xml(&pool, &host_xml::overlay(spec), 0)
            .map_err(self.failed(format!("create volume {}", spec.name)))?;
        self.describe_volume(&volume)?.ok_or_else(|| missing("volume", &spec.name))
    }

    fn grow(&self, uuid: Uuid, pool_name: &str, name: &VolumeName, capacity: u64) -> Result<()> {
        let pool = self.need_pool(pool_name)?;
        let failed = || self.failed(format!("grow volume {name}"));
        let volume = self.find_volume(&pool, name)?.ok_or_else(|| missing("volume", name))?;
        if volume.info().map_err(failed())?.capacity >= capacity {
            return Ok(());
        }
        let domain = self.ours(uuid)?;
        let grown = if Self::state(&domain).map_err(failed())?.is_active() {
            // QEMU has the file open, and must be the one who changes it.
            let path = volume.path().map_err(failed())?;
            domain.block_resize(&path, capacity, sys::VIR_DOMAIN_BLOCK_RESIZE_BYTES)
        } else {
            volume.resize(capacity, 0)
        };
        grown.map_err(failed())?;
        self.refresh(&pool, pool_name)
    }

    fn delete_volume(&self, pool: &str, name: &VolumeName) -> Result<()> {
        self.remove(&self.need_pool(pool)?, name)
    }

    fn wipe_volume(&self, pool: &str, name: &VolumeName) -> Result<()> {
        let pool_name = pool;
        let pool = self.need_pool(pool)?;
        let volume = self.find_volume(&pool, name)?.ok_or_else(|| missing("volume", name))?;
        volume.wipe(0).map_err(self.failed(format!("wipe volume {name}")))?;
        // libvirt notes what it found in a file until it looks again.
        self.refresh(&pool, pool_name)
    }

    fn read_volume(&self, pool: &str, name: &VolumeName, offset: u64, max: usize) -> Result<Vec<u8>> {
        let pool = self.need_pool(pool)?;
        let volume = self.find_volume(&pool, name)?.ok_or_else(|| missing("volume", name))?;
        let size = volume.info().map_err(self.failed(format!("measure volume {name}")))?.capacity;
        let rest = usize::try_from(size.saturating_sub(offset)).unwrap_or(usize::MAX);
        if rest.min(max) == 0 {
            return Ok(Vec::new());
        }
        self.read(&volume, name, offset, rest.min(max))
    }

    fn flatten(&self, pool_name: &str, source: &VolumeName, name: &VolumeName) -> Result<VolumeInfo> {
        let pool = self.need_pool(pool_name)?;
        let from = self.find_volume(&pool, source)?.ok_or_else(|| missing("volume", source))?;
        if self.find_volume(&pool, name)?.is_some() {
            return Err(exists("volume", name));
        }
        let capacity = from.info().map_err(self.failed(format!("measure volume {source}")))?.capacity;
        let volume = StorageVol::create_xml_from(&pool, &host_xml::flat(name, capacity), &from, 0)
            .map_err(self.failed(format!("copy volume {source} to {name}")))?;
        self.describe_volume(&volume)?.ok_or_else(|| missing("volume", name))
    }

    fn download(&self, pool: &str, name: &VolumeName, target: &mut dyn Write) -> Result<u64> {
        let pool = self.need_pool(pool)?;
        let volume = self.find_volume(&pool, name)?.ok_or_else(|| missing("volume", name))?;
        let failed = || self.failed(format!("read volume {name}"));
        let stream = Stream::new(&self.connection, 0).map_err(failed())?;
        // A length of 0 means up to the end of the file; the capacity of a qcow2 volume is not its file's size.
        volume.download(&stream, 0, 0, 0).map_err(failed())?;
        let mut block = vec![0; DOWNLOAD_BLOCK];
        let mut size = 0;
        loop {
            match stream.recv(&mut block).map(usize::try_from) {
                Ok(Ok(0)) => break,
                Ok(count) => {
                    let count = count.unwrap_or_default().min(block.len());
                    if let Err(source) = target.write_all(&block[..count]) {
                        let _ = stream.abort();
                        return Err(MachineError::Target { volume: name.to_string(), source });
                    }
                    size += count as u64;
                }
                Err(error) => {
                    let _ = stream.abort();
                    return Err(failed()(error));
                }
            }
        }
        stream.finish().map_err(failed())?;
        Ok(size)
    }

    fn digest_volume(&self, pool: &str, name: &VolumeName, on_bytes: &dyn Fn(u64)) -> Result<(Digest, u64)> {
        let mut hasher = Hasher::new(Told(on_bytes));
        self.download(pool, name, &mut hasher)?;
        let (_, digest, size) = hasher.finish();
        Ok((digest, size))
    }

    fn domains(&self) -> Result<Vec<DomainInfo>> {
        let domains = self
            .connection
            .list_all_domains(sys::VIR_CONNECT_LIST_DOMAINS_PERSISTENT)
            .map_err(self.failed("list the domains"))?;
        let infos: Result<Vec<_>> = domains.iter().map(|domain| self.describe_domain(domain)).collect();
        let mut infos: Vec<DomainInfo> = infos?.into_iter().flatten().collect();
        infos.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(infos)
    }

    fn domain(&self, uuid: Uuid) -> Result<Option<DomainInfo>> {
        self.find_domain(uuid)?.map_or(Ok(None), |domain| self.describe_domain(&domain))
    }

    fn define(&self, xml: &str) -> Result<DomainInfo> {
        let (name, uuid) = host_xml::read_domain_names(xml).map_err(answer("domain", "to define"))?;
        let named = found(self.connection.lookup_domain_by_name(&name))
            .map_err(self.failed(format!("look up domain {name:?}")))?;
        if named.is_some_and(|domain| domain.uuid().ok() != Some(uuid)) {
            return Err(MachineError::Foreign { kind: "domain", name });
        }
        if let Some(domain) = self.find_domain(uuid)? {
            self.check_ours(&domain)?;
        }
        let domain = self.define_valid(xml).map_err(self.refused("domain", &name))?;
        self.describe_domain(&domain)?.ok_or_else(|| missing("domain", &name))
    }

    fn start(&self, uuid: Uuid, fresh: bool) -> Result<()> {
        let domain = self.held(uuid)?;
        let running = |state| matches!(state, DomainState::Running | DomainState::ShuttingDown);
        self.until(&domain, "start", running, || match Self::state(&domain)? {
            DomainState::Paused => domain.resume(),
            _ if fresh && self.can_reset_nvram(&domain)? => domain.create_with_flags(sys::VIR_DOMAIN_START_RESET_NVRAM),
            _ => domain.create(),
        })
    }

    fn set_autostart(&self, uuid: Uuid, autostart: bool) -> Result<()> {
        let domain = self.held(uuid)?;
        domain.set_autostart(autostart).map_err(self.failed(format!("set autostart of domain {uuid}")))
    }

    fn shutdown(&self, uuid: Uuid) -> Result<()> {
        let domain = self.held(uuid)?;
        let ending = |state: DomainState| !state.is_active() || state == DomainState::ShuttingDown;
        self.until(&domain, "shut down", ending, || domain.shutdown())
    }

    fn destroy(&self, uuid: Uuid) -> Result<()> {
        let Some(domain) = self.find_domain(uuid)? else { return Ok(()) };
        self.check_held(&domain)?;
        self.until(&domain, "stop", |state| !state.is_active(), || domain.destroy())
    }

    fn console(&self, uuid: Uuid, take_over: bool) -> Result<Box<dyn Console>> {
        Ok(Box::new(OpenConsole::begin(Self::open(&self.uri)?, uuid, take_over)?))
    }

    fn undefine(&self, uuid: Uuid) -> Result<()> {
        let Some(domain) = self.find_domain(uuid)? else { return Ok(()) };
        self.check_held(&domain)?;
        // A running one would live on without its definition.
        if Self::state(&domain).map_err(self.failed(format!("look at domain {uuid}")))?.is_active() {
            return Err(MachineError::Active { name: domain.name().unwrap_or_default() });
        }
        // Not every driver takes both flags, and each fails only where it is needed: so the plain way comes last.
        let flags = sys::VIR_DOMAIN_UNDEFINE_MANAGED_SAVE | sys::VIR_DOMAIN_UNDEFINE_NVRAM;
        // A machine made by hand may have these; ours never do.
        let notes = sys::VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA | sys::VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA;
        let undefine = |flags| domain.undefine_flags(flags);
        match undefine(flags | notes).or_else(|_| undefine(flags)).or_else(|_| domain.undefine()) {
            Ok(()) => Ok(()),
            Err(_) if self.find_domain(uuid)?.is_none() => Ok(()),
            Err(error) => Err(self.failed(format!("undefine domain {uuid}"))(error)),
        }
    }

    fn eject_seed(&self, uuid: Uuid) -> Result<()> {
        let domain = self.ours(uuid)?;
        // At first as a user would, with the guest's leave; a guest that keeps its drive locked is not asked again: it
        // has told that it needs the seed no more.
        match Self::empty_drive(&domain, 0).or_else(|_| Self::empty_drive(&domain, sys::VIR_DOMAIN_DEVICE_MODIFY_FORCE))
        {
            Ok(()) => Ok(()),
            Err(_) if Self::holders_of_seed(&domain).is_ok_and(|holders| holders.is_empty()) => Ok(()),
            Err(error) => Err(self.failed(format!("eject the seed of domain {uuid}"))(error)),
        }
    }

    fn set_mark(&self, uuid: Uuid, mark: &Mark) -> Result<()> {
        self.set_metadata(uuid, Some(&mark.bare_xml()), PREFIX, NAMESPACE)
    }

    fn note_move(&self, uuid: Uuid, moving: &Moving) -> Result<()> {
        let (what, element) = (Passing::Moving, Passing::Moving.bare_xml(&moving.to_record()));
        self.set_metadata(uuid, Some(&element), what.prefix(), what.namespace())
    }

    fn forget(&self, uuid: Uuid, what: Passing) -> Result<()> {
        let found = self.find_domain(uuid)?.map_or(Ok(None), |domain| self.describe_domain(&domain))?;
        if !found.is_some_and(|domain| domain.record().has(what)) {
            return Ok(());
        }
        self.set_metadata(uuid, None, what.prefix(), what.namespace())
    }

    fn all_volumes(&self) -> Result<Vec<(String, VolumeInfo)>> {
        let pools = self.connection.list_all_storage_pools(sys::VIR_CONNECT_LIST_STORAGE_POOLS_ACTIVE);
        let pools = pools.map_err(self.failed("list the storage pools"))?;
        let names: Result<Vec<_>> =
            pools.iter().map(|pool| pool.name().map_err(self.failed("name a storage pool"))).collect();
        let mut names = names?;
        names.sort();
        let mut all = Vec::new();
        for name in names {
            self.refresh_pool(&name)?;
            all.extend(self.volumes(&name)?.into_iter().map(|volume| (name.clone(), volume)));
        }
        Ok(all)
    }

    fn note(&self, uuid: Uuid, note: Option<&TakenOver>) -> Result<()> {
        let domain = self.find_domain(uuid)?.ok_or_else(|| missing("domain", &uuid))?;
        let Some(info) = self.describe_domain(&domain)? else { return Err(missing("domain", &uuid)) };
        check_note(&info, note)?;
        if note.is_none() && info.taken_over().is_ok_and(|there| there.is_none()) {
            return Ok(());
        }
        let element = note.map(TakenOver::bare_xml);
        self.put_metadata(&domain, element.as_deref(), taken_over::PREFIX, taken_over::NAMESPACE)
    }

    fn rename(&self, uuid: Uuid, name: &str) -> Result<()> {
        let (domain, info) = self.set_aside(uuid)?;
        if info.name == name {
            return Ok(());
        }
        let failed = || self.failed(format!("rename domain {:?} to {name:?}", info.name));
        if found(self.connection.lookup_domain_by_name(name)).map_err(failed())?.is_some() {
            return Err(exists("domain", name));
        }
        match domain.rename(name, 0) {
            Ok(()) => Ok(()),
            // The object at hand may still have the old name.
            Err(_) if self.find_domain(uuid)?.is_some_and(|it| it.name().is_ok_and(|now| now == name)) => Ok(()),
            Err(error) => Err(failed()(error)),
        }
    }

    fn delete_disk(&self, uuid: Uuid, pool: &str, volume: &str) -> Result<()> {
        let (_, info) = self.set_aside(uuid)?;
        let failed = || self.failed(format!("delete volume {volume} of storage pool {pool:?}"));
        let Some(there) = found(self.need_pool(pool)?.lookup_storage_vol_by_name(volume)).map_err(failed())? else {
            return Ok(());
        };
        let path = there.path().map_err(failed())?;
        check_disk(&info, pool, volume, &path)?;
        there.delete(0).map_err(failed())
    }
}
