//! A hypervisor that lives in memory and keeps the contract of [`Hypervisor`]: for tests of plan and apply, whole and
//! with a fault at any call. tests/libvirt.rs holds it and libvirt to the same expectations.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

use super::console::{Echo, EchoSession};
use super::image::Source;
use super::mark::{LogKind, LogPart, Mark, NAMESPACE, VolumeName};
use super::{
    Capabilities, Cause, Console, DomainInfo, DomainState, HostInfo, Hypervisor, InterfaceInfo, MachineError, Moving,
    NetworkInfo, NetworkSpec, OverlaySpec, Passing, PoolInfo, PoolSpec, Reservation, TakenOver, VolumeFormat,
    VolumeInfo, VolumeSpec, check_disk, check_held, check_note, check_set_aside, domain_xml, host_xml, record,
    taken_over, upload,
};
use crate::config::Arch;
use crate::digest::Digest;

type Result<T> = std::result::Result<T, MachineError>;

/// The URI that it goes by.
const URI: &str = "memory:///";

/// When a call that changes something fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Before it has done anything.
    Before,
    /// In its middle: an upload leaves a part; other calls, which are one step, do nothing.
    Midway,
    /// After all was done: the caller hears of a failure that was none.
    After,
}

/// A hypervisor in memory; starts with nothing on it.
#[derive(Debug)]
pub struct Memory {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    capabilities: Capabilities,
    networks: BTreeMap<String, NetworkInfo>,
    pools: BTreeMap<String, Pool>,
    domains: BTreeMap<Uuid, DomainInfo>,
    calls: Vec<String>,
    fault: Option<(usize, Moment)>,
    /// Whether a fault lasts.
    cut: bool,
    lost: bool,
    deaf: bool,
    /// How much of an upload arrives before the line breaks.
    line: Option<u64>,
    guests: Vec<Guest>,
    consoles: BTreeMap<Uuid, Arc<Echo>>,
}

/// What a guest tells over its first-boot channel once its machine is started.
#[derive(Debug)]
struct Guest {
    /// A machine whose definition holds this.
    definition: String,
    /// Its log from then on.
    says: String,
}

#[derive(Debug)]
struct Pool {
    info: PoolInfo,
    volumes: BTreeMap<String, Volume>,
}

#[derive(Debug)]
struct Volume {
    info: VolumeInfo,
    bytes: Vec<u8>,
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

impl Memory {
    /// An empty host of 8 CPUs and 64 GiB, where kvm cannot be used.
    pub fn new() -> Self {
        let capabilities = Capabilities {
            kvm: Err("there is no CPU".to_owned()),
            emulator: "/usr/bin/qemu-system-x86_64".to_owned(),
            machine: "pc-q35-10.0".to_owned(),
            libvirt_version: semver::Version::new(11, 3, 0),
            hypervisor_version: semver::Version::new(10, 0, 2),
            uefi: true,
            secure_boot: true,
            cpu: None,
        };
        let state = State {
            capabilities,
            networks: BTreeMap::new(),
            pools: BTreeMap::new(),
            domains: BTreeMap::new(),
            calls: Vec::new(),
            fault: None,
            cut: false,
            lost: false,
            deaf: false,
            line: None,
            guests: Vec::new(),
            consoles: BTreeMap::new(),
        };
        Self { state: Mutex::new(state) }
    }

    /// The calls so far that may change something, such as `start 6ba7…`; numbered from 0 in this order.
    pub fn calls(&self) -> Vec<String> {
        self.lock().calls.clone()
    }

    /// Lets call number `call`, and no other, fail; the connection then works again.
    pub fn fail_at(&self, call: usize, moment: Moment) {
        self.lock().fault = Some((call, moment));
    }

    /// Has the caller die at call number `call`: it unwinds from there with [`Killed`], without a word, as it does from every
    /// other call that would change something until [`Memory::mend`].
    pub fn cut_at(&self, call: usize, moment: Moment) {
        let mut state = self.lock();
        (state.fault, state.cut) = (Some((call, moment)), true);
    }

    /// Lets the line break, in every upload from now on, once more than so many of its bytes have arrived; a part stays.
    pub fn break_line(&self, bytes: u64) {
        self.lock().line = Some(bytes);
    }

    /// Loses the connection: nothing can be asked or done until [`Memory::mend`].
    pub fn lose(&self) {
        self.lock().lost = true;
    }

    /// No call fails any more.
    pub fn mend(&self) {
        let mut state = self.lock();
        (state.fault, state.cut, state.lost, state.line) = (None, false, false, None);
    }

    /// Lets no guest hear its power button from now on.
    pub fn deafen(&self) {
        self.lock().deaf = true;
    }

    /// Lets every machine whose definition holds a text say something over its first-boot channel when it is started, in
    /// place of what an earlier boot said; what was given last goes before.
    pub fn put_guest(&self, definition: &str, says: &str) {
        let guest = Guest { definition: definition.to_owned(), says: says.to_owned() };
        self.lock().guests.insert(0, guest);
    }

    /// Puts a network there, as a user would.
    pub fn put_network(&self, info: NetworkInfo) {
        self.lock().networks.insert(info.name.clone(), info);
    }

    /// Puts an empty pool there, as a user would.
    pub fn put_pool(&self, info: PoolInfo) {
        self.lock().pools.insert(info.name.clone(), Pool { info, volumes: BTreeMap::new() });
    }

    /// Turns a pool off, as a user would.
    pub fn stop_pool(&self, name: &str) {
        if let Some(pool) = self.lock().pools.get_mut(name) {
            pool.info.active = false;
        }
    }

    /// Puts a volume with its content into a pool, as a user or a guest's log would.
    ///
    /// # Panics
    /// If the pool does not exist.
    pub fn put_volume(&self, pool: &str, info: VolumeInfo, bytes: &[u8]) {
        let mut state = self.lock();
        let pool = state.pools.get_mut(pool).unwrap_or_else(|| panic!("no pool {pool:?}"));
        pool.volumes.insert(info.name.clone(), Volume { info, bytes: bytes.to_vec() });
    }

    /// Puts a domain there, or changes one: as a user with virsh, or as a guest that dies.
    pub fn put_domain(&self, info: DomainInfo) {
        let mut state = self.lock();
        let uuid = info.uuid;
        state.domains.insert(uuid, info);
        state.hang_up();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A test that panicked elsewhere leaves the state as whole as each single call does.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reach(&self) -> Result<MutexGuard<'_, State>> {
        let state = self.lock();
        if state.lost { Err(lost("reach it".to_owned())) } else { Ok(state) }
    }

    /// Notes a call that may change something, and does it unless a fault is due.
    fn change<T>(&self, call: String, change: impl FnOnce(&mut State) -> Result<T>) -> Result<T> {
        let mut state = self.reach()?;
        match state.note(&call) {
            None => change(&mut state),
            Some(Moment::Before | Moment::Midway) => Err(fail(state, call)),
            Some(Moment::After) => {
                change(&mut state)?;
                Err(fail(state, call))
            }
        }
    }
}

/// What a caller unwinds with that dies at [`Memory::cut_at`].
#[derive(Debug, Clone, Copy)]
pub struct Killed;

fn fail(state: MutexGuard<'_, State>, action: String) -> MachineError {
    if state.cut {
        drop(state);
        std::panic::resume_unwind(Box::new(Killed));
    }
    lost(action)
}

fn lost(action: String) -> MachineError {
    let source = Cause { message: "a fault was injected".to_owned(), code: 0 };
    MachineError::Lost { uri: URI.to_owned(), action, source }
}

/// A place in what fits into memory.
fn index(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}

fn missing(kind: &'static str, name: &(impl ToString + ?Sized)) -> MachineError {
    MachineError::Missing { kind, name: name.to_string() }
}

fn exists(kind: &'static str, name: &(impl ToString + ?Sized)) -> MachineError {
    MachineError::Exists { kind, name: name.to_string() }
}

impl State {
    /// The moment of the fault, if it is this call's turn.
    fn note(&mut self, call: &str) -> Option<Moment> {
        let number = self.calls.len();
        self.calls.push(call.to_owned());
        let (at, moment) = self.fault?;
        if self.cut {
            return (number >= at).then_some(if number == at { moment } else { Moment::Before });
        }
        (number == at).then(|| self.fault = None).map(|()| moment)
    }

    fn pool(&mut self, name: &str) -> Result<&mut Pool> {
        let pool = self.pools.get_mut(name).ok_or_else(|| missing("storage pool", name))?;
        if pool.info.active {
            return Ok(pool);
        }
        let source = Cause { message: format!("storage pool '{name}' is not active"), code: 55 };
        Err(MachineError::Failed { action: format!("use storage pool {name:?}"), source })
    }

    /// What the guest of a machine that was off says goes where its definition has it written.
    fn boot(&mut self, xml: &str) {
        let Some(guest) =
            self.guests.iter().find(|guest| record::without(xml, Passing::Previous).contains(&guest.definition))
        else {
            return;
        };
        let paths = xml.split('\'').filter_map(|path| path.rsplit_once('/'));
        let logs = paths.filter_map(|(folder, name)| Some((folder, name.parse::<VolumeName>().ok()?)));
        let first_boot = |name: &VolumeName| {
            matches!(name, VolumeName::Log { kind: LogKind::FirstBoot, part: LogPart::Current, .. })
        };
        for (folder, name) in logs.filter(|(_, name)| first_boot(name)) {
            for pool in self.pools.values_mut().filter(|pool| pool.info.path == folder) {
                pool.put(&name, guest.says.clone().into_bytes());
            }
        }
    }

    /// Consoles of machines that are off are at their end.
    fn hang_up(&mut self) {
        let runs = |uuid| self.domains.get(uuid).is_some_and(|domain| domain.state.is_active());
        self.consoles.iter().filter(|(uuid, _)| !runs(uuid)).for_each(|(_, console)| console.hang_up());
    }

    fn held(&mut self, uuid: Uuid) -> Result<&mut DomainInfo> {
        let domain = self.domains.get_mut(&uuid).ok_or_else(|| missing("domain", &uuid))?;
        check_held(domain)?;
        Ok(domain)
    }

    fn ours(&mut self, uuid: Uuid) -> Result<&mut DomainInfo> {
        let domain = self.domains.get_mut(&uuid).ok_or_else(|| missing("domain", &uuid))?;
        check_ours(domain)?;
        Ok(domain)
    }
}

fn check_ours(domain: &DomainInfo) -> Result<()> {
    match &domain.mark {
        Ok(Some(_)) => Ok(()),
        Ok(None) => Err(MachineError::Foreign { kind: "domain", name: domain.name.clone() }),
        Err(source) => Err(MachineError::Mark { name: domain.name.clone(), source: source.clone() }),
    }
}

/// The XML with another mark in it.
fn replace_mark(xml: &str, mark: &Mark) -> Option<String> {
    let document = roxmltree::Document::parse(xml).ok()?;
    let old = document.descendants().find(|node| node.tag_name().namespace() == Some(NAMESPACE))?.range();
    Some(format!("{}{}{}", &xml[..old.start], mark.element().document().trim_end(), &xml[old.end..]))
}

/// The format that libvirt would find.
fn probe(bytes: &[u8]) -> VolumeFormat {
    if bytes.get(32769..32774) == Some(b"CD001") {
        VolumeFormat::Iso
    } else if bytes.starts_with(b"QFI\xfb") {
        VolumeFormat::Qcow2
    } else {
        VolumeFormat::Raw
    }
}

/// The size that a guest sees: a qcow2 header has it, big-endian, in bytes 24 to 31.
fn capacity(bytes: &[u8]) -> u64 {
    match (probe(bytes), bytes.get(24..32).map(<[u8; 8]>::try_from)) {
        (VolumeFormat::Qcow2, Some(Ok(size))) => u64::from_be_bytes(size),
        _ => bytes.len() as u64,
    }
}

impl Pool {
    fn put(&mut self, name: &VolumeName, bytes: Vec<u8>) -> VolumeInfo {
        let info = VolumeInfo {
            name: name.to_string(),
            path: format!("{}/{name}", self.info.path),
            capacity: capacity(&bytes),
            allocation: bytes.len() as u64,
            format: probe(&bytes),
            backing: None,
        };
        self.volumes.insert(name.to_string(), Volume { info: info.clone(), bytes });
        info
    }
}

impl Hypervisor for Memory {
    fn uri(&self) -> &str {
        URI
    }

    fn capabilities(&self, _arch: Arch) -> Result<Capabilities> {
        Ok(self.reach()?.capabilities.clone())
    }

    fn host(&self) -> Result<HostInfo> {
        Ok(HostInfo { local: false, qemu_user: None, cpus: 8, memory: 64 << 30 })
    }

    /// It has none.
    fn interface(&self, _: &str) -> Result<Option<InterfaceInfo>> {
        Ok(None)
    }

    fn networks(&self) -> Result<Vec<NetworkInfo>> {
        Ok(self.reach()?.networks.values().cloned().collect())
    }

    fn network(&self, name: &str) -> Result<Option<NetworkInfo>> {
        Ok(self.reach()?.networks.get(name).cloned())
    }

    fn create_network(&self, spec: &NetworkSpec) -> Result<NetworkInfo> {
        self.change(format!("create network {}", spec.name), |state| {
            if state.networks.contains_key(&spec.name) {
                return Err(exists("network", &spec.name));
            }
            let running = host_xml::Running { active: true, autostart: true };
            let mut info = host_xml::read_network(&host_xml::network(spec), &running)
                .map_err(|problem| MachineError::Answer { kind: "network", name: spec.name.clone(), problem })?;
            info.bridge = Some(format!("virbr{}", state.networks.len()));
            state.networks.insert(spec.name.clone(), info.clone());
            Ok(info)
        })
    }

    fn start_network(&self, name: &str) -> Result<()> {
        self.change(format!("start network {name}"), |state| {
            let network = state.networks.get_mut(name).ok_or_else(|| missing("network", name))?;
            network.active = true;
            network.autostart |= network.ours;
            Ok(())
        })
    }

    fn reserve(&self, name: &str, gone: &[Reservation], wanted: &[Reservation]) -> Result<()> {
        self.change(format!("reserve {name}"), |state| {
            let network = state.networks.get_mut(name).ok_or_else(|| missing("network", name))?;
            if !network.ours {
                return Err(MachineError::Foreign { kind: "network", name: name.to_owned() });
            }
            network.reservations.retain(|kept| !gone.contains(kept));
            let new: Vec<_> = wanted.iter().filter(|kept| !network.reservations.contains(kept)).cloned().collect();
            network.reservations.extend(new);
            Ok(())
        })
    }

    fn pool(&self, name: &str) -> Result<Option<PoolInfo>> {
        Ok(self.reach()?.pools.get(name).map(|pool| pool.info.clone()))
    }

    fn create_pool(&self, spec: &PoolSpec) -> Result<PoolInfo> {
        self.change(format!("create pool {}", spec.name), |state| {
            if state.pools.contains_key(&spec.name) {
                return Err(exists("storage pool", &spec.name));
            }
            let info = PoolInfo {
                name: spec.name.clone(),
                kind: "dir".to_owned(),
                path: spec.path.clone(),
                active: true,
                autostart: true,
                capacity: 1 << 40,
                available: 1 << 40,
            };
            state.pools.insert(spec.name.clone(), Pool { info: info.clone(), volumes: BTreeMap::new() });
            Ok(info)
        })
    }

    fn start_pool(&self, name: &str) -> Result<()> {
        self.change(format!("start pool {name}"), |state| {
            state.pools.get_mut(name).ok_or_else(|| missing("storage pool", name))?.info.active = true;
            Ok(())
        })
    }

    fn refresh_pool(&self, name: &str) -> Result<()> {
        self.reach()?.pool(name).map(|_| ())
    }

    /// No clock runs there.
    fn written(&self, pool: &str) -> Result<BTreeMap<String, jiff::Timestamp>> {
        self.reach()?.pool(pool).map(|_| BTreeMap::new())
    }

    fn volumes(&self, pool: &str) -> Result<Vec<VolumeInfo>> {
        Ok(self.reach()?.pool(pool)?.volumes.values().map(|volume| volume.info.clone()).collect())
    }

    fn upload(
        &self,
        pool: &str,
        spec: &VolumeSpec,
        source: &mut dyn Source,
        on_bytes: &dyn Fn(u64),
    ) -> Result<VolumeInfo> {
        let mut state = self.reach()?;
        let call = format!("upload {}", spec.name);
        let moment = state.note(&call);
        if moment == Some(Moment::Before) {
            return Err(fail(state, call));
        }
        let pool_name = pool;
        let pool = state.pool(pool)?;
        if let Some(whole) = pool.volumes.get(&spec.name.to_string()).filter(|volume| volume.info.is_whole()) {
            return if moment.is_none() { Ok(whole.info.clone()) } else { Err(fail(state, call)) };
        }
        pool.volumes.remove(&spec.name.to_string());
        if pool.info.available < spec.size {
            return Err(MachineError::Full {
                pool: pool_name.to_owned(),
                volume: spec.name.to_string(),
                needed: spec.size,
                available: pool.info.available,
            });
        }
        let mut bytes = Vec::new();
        let line = state.line;
        let pool = state.pool(pool_name)?;
        let body = upload::body(spec, &upload::Claim::new(), source, on_bytes, &mut |offset, data| {
            bytes.resize(index(offset), 0);
            bytes.extend_from_slice(data);
            if line.is_some_and(|line| bytes.len() as u64 > line) { Err(lost(call.clone())) } else { Ok(()) }
        });
        bytes.resize(index(spec.size), 0);
        let page = match body {
            Err(error @ MachineError::Lost { .. }) => {
                pool.put(&spec.name, bytes);
                return Err(error);
            }
            body => body?,
        };
        if moment == Some(Moment::Midway) {
            pool.put(&spec.name, bytes);
            return Err(fail(state, call));
        }
        let start = index(upload::page_offset(&spec.name));
        bytes[start..start + page.len()].copy_from_slice(&page);
        if probe(&bytes) != spec.name.format() {
            return Err(MachineError::NotWhole { volume: spec.name.to_string() });
        }
        let info = pool.put(&spec.name, bytes);
        if moment.is_none() { Ok(info) } else { Err(fail(state, call)) }
    }

    fn create_overlay(&self, pool: &str, spec: &OverlaySpec) -> Result<VolumeInfo> {
        self.change(format!("create {}", spec.name), |state| {
            let pool = state.pool(pool)?;
            if pool.volumes.contains_key(&spec.name.to_string()) {
                return Err(exists("volume", &spec.name));
            }
            let info = VolumeInfo {
                capacity: spec.capacity,
                format: VolumeFormat::Qcow2,
                backing: spec.backing.clone(),
                ..pool.put(&spec.name, Vec::new())
            };
            pool.volumes.insert(info.name.clone(), Volume { info: info.clone(), bytes: Vec::new() });
            Ok(info)
        })
    }

    fn flatten(&self, pool: &str, source: &VolumeName, name: &VolumeName) -> Result<VolumeInfo> {
        self.change(format!("flatten {source} to {name}"), |state| {
            let pool = state.pool(pool)?;
            if pool.volumes.contains_key(&name.to_string()) {
                return Err(exists("volume", name));
            }
            let from = pool.volumes.get(&source.to_string()).ok_or_else(|| missing("volume", source))?;
            let (capacity, bytes) = (from.info.capacity, from.bytes.clone());
            let info = VolumeInfo { capacity, format: name.format(), backing: None, ..pool.put(name, bytes.clone()) };
            pool.volumes.insert(info.name.clone(), Volume { info: info.clone(), bytes });
            Ok(info)
        })
    }

    fn grow(&self, _: Uuid, pool: &str, name: &VolumeName, capacity: u64) -> Result<()> {
        self.change(format!("grow {name}"), |state| {
            let volume = state.pool(pool)?.volumes.get_mut(&name.to_string()).ok_or_else(|| missing("volume", name))?;
            volume.info.capacity = volume.info.capacity.max(capacity);
            Ok(())
        })
    }

    fn delete_volume(&self, pool: &str, name: &VolumeName) -> Result<()> {
        self.change(format!("delete {name}"), |state| {
            state.pool(pool)?.volumes.remove(&name.to_string());
            Ok(())
        })
    }

    fn wipe_volume(&self, pool: &str, name: &VolumeName) -> Result<()> {
        self.change(format!("wipe {name}"), |state| {
            let volume = state.pool(pool)?.volumes.get_mut(&name.to_string()).ok_or_else(|| missing("volume", name))?;
            volume.bytes.fill(0);
            volume.info.format = probe(&volume.bytes);
            Ok(())
        })
    }

    fn read_volume(&self, pool: &str, name: &VolumeName, offset: u64, max: usize) -> Result<Vec<u8>> {
        let mut state = self.reach()?;
        let volume = state.pool(pool)?.volumes.get(&name.to_string()).ok_or_else(|| missing("volume", name))?;
        let rest = usize::try_from(offset).ok().and_then(|offset| volume.bytes.get(offset..)).unwrap_or_default();
        Ok(rest[..rest.len().min(max)].to_vec())
    }

    fn download(&self, pool: &str, name: &VolumeName, target: &mut dyn Write) -> Result<u64> {
        let mut state = self.reach()?;
        let volume = state.pool(pool)?.volumes.get(&name.to_string()).ok_or_else(|| missing("volume", name))?;
        let written = target.write_all(&volume.bytes);
        written.map_err(|source| MachineError::Target { volume: name.to_string(), source })?;
        Ok(volume.bytes.len() as u64)
    }

    fn digest_volume(&self, pool: &str, name: &VolumeName, on_bytes: &dyn Fn(u64)) -> Result<(Digest, u64)> {
        let mut state = self.reach()?;
        let volume = state.pool(pool)?.volumes.get(&name.to_string()).ok_or_else(|| missing("volume", name))?;
        let size = volume.bytes.len() as u64;
        on_bytes(size);
        Ok((Digest::of(&volume.bytes), size))
    }

    fn domains(&self) -> Result<Vec<DomainInfo>> {
        let mut domains: Vec<DomainInfo> = self.reach()?.domains.values().cloned().collect();
        domains.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(domains)
    }

    fn domain(&self, uuid: Uuid) -> Result<Option<DomainInfo>> {
        Ok(self.reach()?.domains.get(&uuid).cloned())
    }

    fn define(&self, xml: &str) -> Result<DomainInfo> {
        let (name, uuid) = host_xml::read_domain_names(xml).map_err(|problem| MachineError::Answer {
            kind: "domain",
            name: "to define".to_owned(),
            problem,
        })?;
        self.change(format!("define {name}"), |state| {
            if state.domains.values().any(|domain| domain.name == name && domain.uuid != uuid) {
                return Err(MachineError::Foreign { kind: "domain", name: name.clone() });
            }
            let old = state.domains.get(&uuid);
            old.map_or(Ok(()), check_ours)?;
            let info = DomainInfo {
                name: name.clone(),
                uuid,
                state: old.map_or(DomainState::ShutOff, |old| old.state),
                autostart: old.is_some_and(|old| old.autostart),
                mark: Mark::from_domain_xml(xml),
                xml: xml.to_owned(),
            };
            state.domains.insert(uuid, info.clone());
            Ok(info)
        })
    }

    fn start(&self, uuid: Uuid, fresh: bool) -> Result<()> {
        self.change(format!("start {uuid}{}", if fresh { " fresh" } else { "" }), |state| {
            let domain = state.held(uuid)?;
            let boots = !domain.state.is_active();
            domain.state = DomainState::Running;
            let xml = domain.xml.clone();
            if boots {
                state.boot(&xml);
            }
            Ok(())
        })
    }

    fn set_autostart(&self, uuid: Uuid, autostart: bool) -> Result<()> {
        self.change(format!("autostart {uuid}"), |state| {
            state.held(uuid)?.autostart = autostart;
            Ok(())
        })
    }

    fn shutdown(&self, uuid: Uuid) -> Result<()> {
        self.change(format!("shutdown {uuid}"), |state| {
            let deaf = state.deaf;
            let domain = state.held(uuid)?;
            if !deaf {
                domain.state = DomainState::ShutOff;
            }
            state.hang_up();
            Ok(())
        })
    }

    fn destroy(&self, uuid: Uuid) -> Result<()> {
        self.change(format!("destroy {uuid}"), |state| {
            if state.domains.contains_key(&uuid) {
                state.held(uuid)?.state = DomainState::ShutOff;
            }
            state.hang_up();
            Ok(())
        })
    }

    fn console(&self, uuid: Uuid, take_over: bool) -> Result<Box<dyn Console>> {
        let mut state = self.reach()?;
        let domain = state.ours(uuid)?;
        let name = domain.name.clone();
        if !domain.state.is_active() {
            return Err(MachineError::Inactive { name });
        }
        if let Some(before) = state.consoles.get(&uuid).filter(|before| before.is_open()) {
            if !take_over {
                return Err(MachineError::ConsoleTaken { name });
            }
            before.hang_up();
        }
        let console = Arc::<Echo>::default();
        state.consoles.insert(uuid, console.clone());
        Ok(Box::new(EchoSession(console)))
    }

    fn undefine(&self, uuid: Uuid) -> Result<()> {
        self.change(format!("undefine {uuid}"), |state| {
            let Some(domain) = state.domains.get(&uuid) else { return Ok(()) };
            check_held(domain)?;
            if domain.state.is_active() {
                return Err(MachineError::Active { name: domain.name.clone() });
            }
            state.domains.remove(&uuid);
            Ok(())
        })
    }

    fn eject_seed(&self, uuid: Uuid) -> Result<()> {
        self.change(format!("eject {uuid}"), |state| {
            let domain = state.ours(uuid)?;
            if let Some((emptied, range)) = domain_xml::emptied_drive(&domain.xml) {
                domain.xml.replace_range(range, &emptied);
            }
            Ok(())
        })
    }

    fn set_mark(&self, uuid: Uuid, mark: &Mark) -> Result<()> {
        self.change(format!("mark {uuid} {}", mark.state), |state| {
            let domain = state.ours(uuid)?;
            domain.mark = Ok(Some(mark.clone()));
            domain.xml = replace_mark(&domain.xml, mark).unwrap_or_default();
            Ok(())
        })
    }

    fn note_move(&self, uuid: Uuid, moving: &Moving) -> Result<()> {
        let way = if moving.back { "back from" } else { "to" };
        self.change(format!("note move {way} {} {uuid}", moving.to), |state| {
            let domain = state.ours(uuid)?;
            domain.xml = record::with_moving(&domain.xml, moving);
            Ok(())
        })
    }

    fn forget(&self, uuid: Uuid, what: Passing) -> Result<()> {
        let name = match what {
            Passing::Previous => "previous",
            Passing::Standing => "standing",
            Passing::Moving => "move",
        };
        self.change(format!("forget {name} {uuid}"), |state| {
            let Some(domain) = state.domains.get_mut(&uuid) else { return Ok(()) };
            check_ours(domain)?;
            domain.xml = record::without(&domain.xml, what);
            Ok(())
        })
    }

    fn all_volumes(&self) -> Result<Vec<(String, VolumeInfo)>> {
        let state = self.reach()?;
        let pools = state.pools.iter().filter(|(_, pool)| pool.info.active);
        let of = |(name, pool): (&String, &Pool)| {
            pool.volumes.values().map(|volume| (name.clone(), volume.info.clone())).collect::<Vec<_>>()
        };
        Ok(pools.flat_map(of).collect())
    }

    fn note(&self, uuid: Uuid, note: Option<&TakenOver>) -> Result<()> {
        let what = note.map_or_else(|| "none".to_owned(), |note| note.state.to_string());
        self.change(format!("note {what} {uuid}"), |state| {
            let domain = state.domains.get_mut(&uuid).ok_or_else(|| missing("domain", &uuid))?;
            check_note(domain, note)?;
            domain.xml = taken_over::noted(&domain.xml, note);
            Ok(())
        })
    }

    fn rename(&self, uuid: Uuid, name: &str) -> Result<()> {
        self.change(format!("rename {uuid} {name}"), |state| {
            if state.domains.values().any(|domain| domain.name == name && domain.uuid != uuid) {
                return Err(exists("domain", name));
            }
            let domain = state.domains.get_mut(&uuid).ok_or_else(|| missing("domain", &uuid))?;
            check_set_aside(domain)?;
            name.clone_into(&mut domain.name);
            Ok(())
        })
    }

    fn delete_disk(&self, uuid: Uuid, pool: &str, volume: &str) -> Result<()> {
        self.change(format!("delete disk {pool}/{volume} {uuid}"), |state| {
            let domain = state.domains.get(&uuid).cloned().ok_or_else(|| missing("domain", &uuid))?;
            check_set_aside(&domain)?;
            let volumes = &mut state.pool(pool)?.volumes;
            let Some(there) = volumes.get(volume) else { return Ok(()) };
            check_disk(&domain, pool, volume, &there.info.path)?;
            volumes.remove(volume);
            Ok(())
        })
    }
}
