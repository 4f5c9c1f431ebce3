//! What could keep nodes from coming up, looked at before anything is changed.
//!
//! Asking and judging are apart: [`Host`], [`apiserver::Probe`] and the like are what was asked, on threads of their own and
//! with a limit; each file of this module judges its part of that without asking anything more. What cannot be looked at
//! is skipped, and told why; it never counts as right.

mod access;
mod apiserver;
mod between;
mod capacity;
mod clocks;
mod cluster;
mod files;
mod finding;
#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod fixture;
mod host;
mod network;
mod routes;
mod runtime;
mod storage;
mod taken;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use jiff::Timestamp;

pub use apiserver::{Probe, probe};
use cluster::Asked;
pub use cluster::{Answers, Questions};
pub use finding::{Check, Finding, Remedy, Status, size};
pub use runtime::Runtime;

use crate::apply::{Presence, presences};
use crate::artifacts::{Lock, Store};
use crate::cluster::{Cluster, Nodes};
use crate::config::{Arch, ClusterId, Config, Node, NodeName, Site};
use crate::error::Error;
use crate::identity::{Ca, IdentityError};
use crate::machine::{self, Capabilities, HostInfo, Hypervisor, MachineError, NetworkInfo};
use crate::plan::{Blocked, ByHand, Ground, Images, Inventory, Move, blocked, making_room, place};

/// How long everything may take that is asked of others.
const LIMIT: Duration = Duration::from_secs(30);

/// What is examined.
#[derive(Debug, Clone, Copy)]
pub struct Case<'a> {
    /// The cluster file.
    pub config: &'a Config,
    /// The nodes asked for.
    pub nodes: &'a [&'a Node],
    /// The cluster; none where its CA cannot be read.
    pub id: Option<&'a ClusterId>,
    /// The present.
    pub now: Timestamp,
    /// What becomes of machines that somebody made by hand under the nodes' names.
    pub by_hand: ByHand<'a>,
}

/// What is on this machine.
pub struct Files<'a> {
    /// The lock, if it fits the cluster file.
    pub lock: Result<Lock, Error>,
    /// The CA.
    pub ca: Result<Ca, IdentityError>,
    /// The cache.
    pub store: Result<Store, Error>,
    /// The output folder.
    pub out: &'a Path,
    /// What nodes of each architecture would be made from, as far as it is built; none where lock or CA are of no use.
    pub images: Option<BTreeMap<Arch, Option<Images>>>,
    /// What nodebake itself needs.
    pub runtime: Runtime,
}

/// What a hypervisor tells.
#[derive(Debug)]
pub struct Host {
    info: HostInfo,
    capabilities: BTreeMap<Arch, Result<Capabilities, MachineError>>,
    networks: Vec<NetworkInfo>,
    inventory: Inventory,
    /// Routes of this machine, where it is the host.
    routes: Vec<routes::Route>,
    /// The way to the pools' folders, where this machine is the host.
    way: access::Way,
    qemu_user: Option<access::User>,
    /// Bytes left where the pool is to be made, where this machine is the host.
    free: Option<u64>,
    /// What is asked only to compare it with others.
    seen: Option<between::Seen>,
}

impl Host {
    /// Asks a hypervisor what it can run of these architectures, and what is on it; volumes only with `whole`, since a
    /// pool that is large or busy takes its time.
    pub fn read(
        config: &Config,
        hypervisor: &dyn Hypervisor,
        architectures: &BTreeSet<Arch>,
        whole: bool,
    ) -> Result<Self, MachineError> {
        let info = hypervisor.host()?;
        let able = |arch: &Arch| (*arch, hypervisor.capabilities(*arch));
        let inventory = if whole { Inventory::read(config, hypervisor, None)? } else { in_short(config, hypervisor)? };
        let folders = storage::folders(config, &inventory);
        Ok(Self {
            info,
            capabilities: architectures.iter().map(able).collect(),
            networks: hypervisor.networks()?,
            routes: if info.local { routes::read() } else { Vec::new() },
            way: if info.local { access::Way::to(&folders) } else { access::Way::default() },
            qemu_user: info.qemu_user.filter(|_| info.local).map(|(uid, gid)| access::User::find(uid, gid)),
            free: folders.first().filter(|_| info.local).and_then(|folder| files::free(folder)),
            inventory,
            seen: None,
        })
    }

    /// With the cluster's nodes, where they are known.
    #[must_use]
    pub fn in_cluster(mut self, nodes: Option<Nodes>) -> Self {
        self.inventory.nodes = nodes;
        self
    }

    /// With the nodes that come from another hypervisor, or come back from there.
    #[must_use]
    pub fn expecting(mut self, moves: BTreeMap<NodeName, Move>) -> Self {
        self.inventory.moves = moves;
        self
    }

    /// Fails where it can run no guest of one of the architectures.
    pub fn able(mut self) -> Result<Self, MachineError> {
        let able = std::mem::take(&mut self.capabilities).into_iter().map(|(arch, able)| Ok((arch, Ok(able?))));
        self.capabilities = able.collect::<Result<_, MachineError>>()?;
        Ok(self)
    }

    /// Whether a node's own machine runs.
    pub fn runs(&self, id: &ClusterId, node: &Node) -> bool {
        let uuid = id.uuid(&node.name);
        self.inventory.domains.iter().any(|domain| domain.uuid == uuid && domain.state.is_active())
    }

    /// What the host can run of any architecture.
    fn known(&self) -> Option<&Capabilities> {
        self.capabilities.values().find_map(|able| able.as_ref().ok())
    }
}

impl Case<'_> {
    /// The domains made by hand that do not run beside the machines of the nodes that are asked for.
    fn making_room(&self, host: &Host) -> BTreeSet<uuid::Uuid> {
        making_room(self.id, self.nodes, &host.inventory.domains, self.by_hand)
    }
}

/// The inventory without volumes.
fn in_short(config: &Config, hypervisor: &dyn Hypervisor) -> Result<Inventory, MachineError> {
    let pool = &config.libvirt.pool;
    Ok(Inventory {
        network: Inventory::network(config, hypervisor)?,
        further: Inventory::further(config, hypervisor)?,
        pool: hypervisor.pool(pool)?,
        log_pool: hypervisor.pool(&crate::plan::log_pool(pool))?,
        volumes: Vec::new(),
        log_volumes: Vec::new(),
        domains: hypervisor.domains()?,
        nodes: None,
        site: None,
        moves: BTreeMap::new(),
        elsewhere: BTreeSet::new(),
    })
}

/// Work on a thread of its own, which is left to itself if it does not come to an end.
pub struct Begun<T>(Receiver<T>);

impl<T: Send + 'static> Begun<T> {
    /// Begins it.
    pub fn new(work: impl FnOnce() -> T + Send + 'static) -> Self {
        let (give, get) = channel();
        // Nobody may be waiting any more.
        std::thread::spawn(move || give.send(work()));
        Self(get)
    }

    /// What came of it, if it did by then.
    pub fn by(&self, end: Instant) -> Option<T> {
        self.0.recv_timeout(end.saturating_duration_since(Instant::now())).ok()
    }
}

/// What came of asking a hypervisor; none where it did not answer in time.
type Heard = Option<Result<Host, MachineError>>;

/// Asks a hypervisor, whichever nodes are there; with `compared` also what is compared with others.
fn ask_host(config: Config, nodes: &[&Node], compared: bool) -> Begun<Result<Host, MachineError>> {
    let architectures = nodes.iter().map(|node| node.arch).collect();
    let begin = Instant::now();
    Begun::new(move || {
        let hypervisor = machine::open(&config.libvirt.uri)?;
        let host = Host::read(&config, &*hypervisor, &architectures, true)?;
        let seen = compared.then(|| between::Seen::ask(&config, &*hypervisor, &host.inventory, begin));
        Ok(Host { seen, ..host })
    })
}

/// The nodes that are asked for, by the hypervisors where they are or would be, once these were heard; with one that does not
/// answer are those that are bound to it.
fn divide<'a>(case: Case<'a>, hosts: &[Heard]) -> Vec<(Config, Vec<&'a Node>)> {
    let Case { config, nodes, id, .. } = case;
    if config.sites.is_empty() {
        return vec![(config.clone(), nodes.to_vec())];
    }
    let ground = |host: &Heard| match host {
        Some(Ok(host)) => id.map_or(Ground::Away, |id| Ground::of(id, &host.inventory.domains)),
        _ => Ground::Away,
    };
    let grounds: Vec<_> = hosts.iter().map(ground).collect();
    let placements = id.map(|id| place(config, id, &grounds, &BTreeMap::new())).unwrap_or_default();
    let part = |(at, site): (usize, &Site)| {
        let bound = |node: &Node| node.hypervisor.as_ref() == Some(&site.name);
        let placed = config.nodes.iter().zip(&placements).filter(|(_, it)| it.at() == Some(at));
        let placed: Vec<_> = placed.map(|(node, _)| &node.name).collect();
        let is_here = |node: &Node| placed.contains(&&node.name) || (!matches!(hosts[at], Some(Ok(_))) && bound(node));
        let here: Vec<&Node> = config.nodes.iter().filter(|node| is_here(node)).collect();
        (config.at(site, &here), nodes.iter().filter(|node| is_here(node)).copied().collect())
    };
    config.sites.iter().enumerate().map(part).collect()
}

/// Examines everything, at all hypervisors at the same time; nothing is changed. The findings are in the order of [`Check`], so
/// that those of several hypervisors stand side by side.
pub fn examine(case: Case, files: &Files) -> Vec<Finding> {
    let end = Instant::now() + LIMIT;
    let config = Arc::new(case.config.clone());
    let sites = config.sites.iter().map(|site| (Some(site.name.clone()), config.at(site, case.nodes)));
    let mut sites: Vec<_> = sites.collect();
    if sites.is_empty() {
        sites.push((None, case.config.clone()));
    }
    let (names, sites): (Vec<_>, Vec<_>) = sites.into_iter().unzip();
    let compared = sites.len() > 1;
    let hosts: Vec<_> = sites.into_iter().map(|config| ask_host(config, case.nodes, compared)).collect();
    let opened = config.cluster.kubeconfig.clone().map(|path| Begun::new(move || Cluster::open(&path)));
    let probe = Begun::new({
        let config = Arc::clone(&config);
        move || probe(&config)
    });
    let (cluster, answers) = match opened.map(|opened| opened.by(end)) {
        None => (Asked::Nothing, None),
        Some(None) => (Asked::Silent, None),
        Some(Some(Err(error))) => (Asked::Answered(Err(error)), None),
        Some(Some(Ok(cluster))) => {
            let questions = Questions::ask(&cluster, &config.cluster);
            let nodes = Begun::new(move || cluster.nodes());
            (nodes.by(end).map_or(Asked::Silent, Asked::Answered), Some(questions.by(end)))
        }
    };
    // The leases are as old as they were then.
    let now = Timestamp::now();
    let hosts: Vec<_> = hosts.iter().map(|host| host.by(end)).collect();
    let probe = probe.by(end);
    let nodes = match &cluster {
        Asked::Answered(Ok(nodes)) => Some(nodes.clone()),
        _ => None,
    };
    let known = |host: Heard| host.map(|host| host.map(|host| host.in_cluster(nodes.clone())));
    let hosts: Vec<_> = hosts.into_iter().map(known).collect();
    // Several are seen from this machine, not from one of them.
    let there = if let [Some(Ok(host))] = hosts.as_slice() { Some(host) } else { None };
    let mut findings = of_files(case, files, there);
    let parts = divide(case, &hosts);
    for ((name, (config, nodes)), host) in names.iter().zip(&parts).zip(&hosts) {
        let case = Case { config, nodes, ..case };
        let found = of_host(case, files, host.as_ref(), probe.as_ref()).into_iter();
        findings.extend(found.map(|finding| Finding { hypervisor: name.clone(), ..finding }));
    }
    let compared = names.iter().zip(&parts).zip(&hosts);
    let compared = compared.filter_map(|((name, (config, _)), host)| Some((name.as_ref()?, config, host)));
    findings.extend(between::judge(Case { now, ..case }, &compared.collect::<Vec<_>>(), files));
    findings.extend(of_cluster(case, there, &cluster, answers.as_ref(), probe.as_ref()));
    findings.sort_by_key(|finding| finding.check);
    findings
}

fn of_files(case: Case, files: &Files, host: Option<&Host>) -> Vec<Finding> {
    let lock = files.lock.as_ref().ok();
    let unbuilt = files.images.as_ref().is_some_and(|images| images.values().any(Option::is_none));
    let mut findings = vec![
        files::lock(&files.lock),
        match &files.store {
            Ok(store) => files::cache(store, lock),
            Err(error) => Finding::of_error(Check::Cache, error, error.hint()),
        },
        files::output(case, files.out, lock, unbuilt),
    ];
    findings.extend(files::ca(&files.ca, case.now));
    findings.extend(files::certificates(case, &files.ca, host, files.out));
    findings.extend(runtime::runtime(case, &files.runtime));
    findings
}

fn of_host(
    case: Case,
    files: &Files,
    host: Option<&Result<Host, MachineError>>,
    probe: Option<&Probe>,
) -> Vec<Finding> {
    let host = match host {
        Some(Ok(host)) => host,
        Some(Err(error)) => return without_host(Finding::of_error(Check::Libvirt, error, error.hint())),
        None => {
            let found = format!("libvirt at {} did not tell all in {} s", case.config.libvirt.uri, LIMIT.as_secs());
            let fix = "wait until no job runs in its pools, or look at the daemon on that host: journalctl -u libvirtd";
            return without_host(Finding::failure(Check::Libvirt, found, fix));
        }
    };
    let blocked = blocked_by(case, host);
    let mut findings = able(case, host, &blocked);
    findings.extend(match &files.images {
        Some(images) => storage::space(case, host, images),
        None => vec![Finding::skipped(Check::Space, "lock and CA must be right first")],
    });
    match case.id {
        Some(id) => {
            findings.extend(taken::addresses(case, id, host, &blocked, &ask_for_addresses(case, id, host)));
            findings.extend(taken::autostart(id, host));
        }
        None => findings.extend([Check::Addresses, Check::Autostart].map(|check| Finding::skipped(check, NO_CA))),
    }
    findings.extend(apiserver::guest_route(case, host, probe));
    findings
}

const NO_CA: &str = "the CA cannot be read, and identifiers derive from it";

/// What the short form looks at too.
fn able(case: Case, host: &Host, blocked: &[Blocked]) -> Vec<Finding> {
    let mut findings = host::libvirt(case, host);
    findings.extend(host::kvm(case, host));
    findings.extend(host::guests(case, host));
    findings.extend(capacity::cpus(case, host));
    findings.extend(capacity::memory(case, host));
    findings.extend(storage::pool(case, host, blocked));
    findings.extend(storage::pool_path(host));
    findings.extend(network::network(case, host, blocked));
    findings.extend(network::subnet(case, host));
    match case.id {
        Some(id) => {
            findings.extend(taken::names(case, blocked));
            findings.extend(taken::macs(case, id, host));
        }
        None => findings.extend([Check::Names, Check::Macs].map(|check| Finding::skipped(check, NO_CA))),
    }
    findings
}

fn blocked_by(case: Case, host: &Host) -> Vec<Blocked> {
    let now = case.now.as_second();
    case.id.map_or_else(Vec::new, |id| blocked(case.config, id, case.nodes, &host.inventory, now, case.by_hand))
}

/// Who answers at the nodes' addresses; those whose own machine runs are not asked for.
fn ask_for_addresses(case: Case, id: &ClusterId, host: &Host) -> Vec<Presence> {
    let runs = |node: &Node| host.runs(id, node);
    let asked: Vec<_> = case.nodes.iter().filter(|node| !runs(node)).collect();
    let addresses: Vec<_> = asked.iter().map(|node| (node.address, case.config.mac(id, node))).collect();
    let mut answers = presences(&addresses, case.config.network.cidr).into_iter();
    case.nodes
        .iter()
        .map(|node| if runs(node) { Presence::Free } else { answers.next().unwrap_or(Presence::Unknown) })
        .collect()
}

/// All that needs the hypervisor, without it.
fn without_host(finding: Finding) -> Vec<Finding> {
    use Check as C;
    let rest = [
        C::Kvm,
        C::Guests,
        C::Cpus,
        C::Memory,
        C::Pool,
        C::PoolPath,
        C::Space,
        C::Network,
        C::Subnet,
        C::Names,
        C::Macs,
        C::Addresses,
        C::Autostart,
        C::GuestRoute,
    ];
    let skipped = rest.map(|check| Finding::skipped(check, "libvirt cannot be asked"));
    [finding].into_iter().chain(skipped).collect()
}

fn of_cluster(
    case: Case,
    host: Option<&Host>,
    cluster: &Asked,
    answers: Option<&Answers>,
    probe: Option<&Probe>,
) -> Vec<Finding> {
    let mut findings = apiserver::apiserver(case, host, probe);
    findings.extend(apiserver::clock(probe));
    findings.extend(case.config.cluster.kubeconfig.as_deref().and_then(files::readable));
    findings.push(cluster::kubeconfig(cluster));
    match answers {
        Some(answers) => {
            findings.extend(cluster::rights(&answers.caller));
            findings.push(cluster::client_ca(answers));
            findings.push(cluster::kubelet_client(answers));
        }
        None => findings.extend(cluster::unanswered(cluster)),
    }
    findings.push(cluster::version_skew(&case.config.versions.kubernetes, probe, answers));
    findings
}

/// What `up` looks at before it builds anything: what is cheap to ask and decides. Only failures and warnings; not what
/// `up` sees to by itself. An apiserver that does not answer is a warning here: it may be on its way, and nodes wait for it.
pub fn brief(case: Case, host: &Host, answers: Option<&Answers>, probe: Option<&Probe>) -> Vec<Finding> {
    let blocked = blocked_by(case, host);
    let mut findings = able(case, host, &blocked);
    if let Some(id) = case.id {
        findings.extend(taken::addresses(case, id, host, &blocked, &[]));
    }
    let reached = matches!(probe, Some(Probe::Reached(_)));
    let apiserver = apiserver::apiserver(case, Some(host), probe);
    findings.extend(apiserver.into_iter().map(|finding| match finding.status {
        Status::Failure if !reached => Finding { status: Status::Warning, ..finding },
        _ => finding,
    }));
    findings.extend(apiserver::clock(probe));
    if let Some(answers) = answers {
        // What the user may not do beyond that is no matter of `up`.
        findings.extend(cluster::rights(&answers.caller).into_iter().filter(Finding::is_failure));
        findings.push(cluster::client_ca(answers));
    }
    findings.push(cluster::version_skew(&case.config.versions.kubernetes, probe, answers));
    findings.retain(|finding| matches!(finding.status, Status::Failure | Status::Warning) && finding.remedy.is_none());
    findings.sort_by_key(|finding| finding.check);
    findings
}

/// Does what the findings' remedies say of files, up to the first that fails; `tell` hears of each before it is done. Says
/// whether there was any.
pub fn mend_files(findings: &[Finding], tell: &mut dyn FnMut(&str)) -> Result<bool, Error> {
    let mut any = false;
    for remedy in findings.iter().filter_map(|finding| finding.remedy.as_ref()) {
        let Remedy::Private(path) = remedy else { continue };
        tell(&format!("making {} its owner's alone", path.display()));
        let action = "changing the mode of";
        files::make_private(path).map_err(|source| Error::File { action, path: path.clone(), source })?;
        any = true;
    }
    Ok(any)
}

/// Does what the findings' remedies say of the host, each once, up to the first that fails; `tell` hears of each before it
/// is done. Says whether there was any.
pub fn mend(
    hypervisor: &dyn Hypervisor,
    findings: &[Finding],
    tell: &mut dyn FnMut(&str),
) -> Result<bool, MachineError> {
    let mut done: Vec<&Remedy> = Vec::new();
    for remedy in findings.iter().filter_map(|finding| finding.remedy.as_ref()) {
        if done.contains(&remedy) {
            continue;
        }
        match remedy {
            Remedy::Private(_) => continue,
            Remedy::StartNetwork(name) => {
                tell(&format!("starting network {name}"));
                hypervisor.start_network(name)?;
            }
            Remedy::StartPool(name) => {
                tell(&format!("starting storage pool {name}"));
                hypervisor.start_pool(name)?;
            }
            Remedy::Autostart { uuid, name } => {
                tell(&format!("having the machine of {name} start with its host"));
                hypervisor.set_autostart(*uuid, true)?;
            }
        }
        done.push(remedy);
    }
    Ok(!done.is_empty())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::machine::memory::Memory;

    #[test]
    fn each_remedy_is_applied_once_and_nothing_else() {
        let host = Memory::new();
        host.put_network(NetworkInfo { active: false, autostart: false, ..fixture::network("n", "10.0.0.1/24") });
        let remedy = || Remedy::StartNetwork("n".to_owned());
        let findings = [
            Finding::warning(Check::Network, "off", "").with(remedy()),
            Finding::failure(Check::Subnet, "taken", ""),
            Finding::warning(Check::Autostart, "not", "").with(remedy()),
        ];
        let mut told = Vec::new();
        assert!(mend(&host, &findings, &mut |text| told.push(text.to_owned())).unwrap());
        assert_eq!((told, host.calls()), (vec!["starting network n".to_owned()], vec!["start network n".to_owned()]));
        let network = host.network("n").unwrap();
        assert_eq!(network, Some(fixture::network("n", "10.0.0.1/24")));
        assert!(!mend(&host, &findings[1..2], &mut |_| ()).unwrap());
        assert_eq!(host.calls().len(), 1);
    }

    #[test]
    fn without_libvirt_all_that_needs_it_is_skipped() {
        let skipped = without_host(Finding::failure(Check::Libvirt, "gone", "start it"));
        let mut checks: Vec<_> = skipped.iter().map(|finding| (finding.check, finding.status)).collect();
        checks.sort_by_key(|(check, _)| *check);
        let all = fixture::Fixture::new();
        let judged = |case: Case, host: &Host| {
            let mut findings = able(case, host, &[]);
            findings.extend(taken::addresses(case, &all.id, host, &[], &[]));
            findings.extend(taken::autostart(&all.id, host));
            findings.extend(apiserver::guest_route(case, host, None));
            findings.extend(storage::space(case, host, &BTreeMap::new()));
            findings
        };
        let mut with = Vec::new();
        all.judge(|case, host| {
            with = judged(case, host).into_iter().map(|finding| finding.check).collect();
            Vec::new()
        });
        with.sort();
        let expected = with
            .into_iter()
            .map(|check| (check, if check == Check::Libvirt { Status::Failure } else { Status::Skipped }));
        assert_eq!(checks, expected.collect::<Vec<_>>());
    }
}
