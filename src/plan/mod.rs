//! From what is wanted and what is there to a list of actions that leaves nothing to choose.
//!
//! Pure: no network, no libvirt call, no terminal. The inventory is read before, the actions are done after.

mod blocked;
mod drift;
mod inventory;
mod load;
mod moving;
mod placement;
mod removal;
mod replacement;
mod report;
mod reservations;
mod sealing;
mod take_over;
mod unused;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

pub use blocked::{Blocked, blocked, own};
pub use drift::Drift;
pub use inventory::{Inventory, log_pool};
pub use load::{Amount, Load};
pub use moving::{Move, Obstacle, Way, left_behind};
pub use placement::{Ground, Placement, Stuck, check, evacuation, place};
pub use removal::{Removal, removals};
pub use replacement::Replacement;
pub use report::{Action, Kind, Row, binding, kept_rows, rows, unknown};
pub use reservations::is_of_cluster;
pub use sealing::Sealing;
pub use take_over::{ByHand, Kept, KeptRemoval, TakeOver, kept_removals, making_room, taken_over};
pub use unused::unused;

use inventory::Domains;
use replacement::Old;
use take_over::TakeOvers;

use crate::cluster::Metadata;
use crate::config::{ClusterId, Config, NicSource, Node, NodeName};
use crate::digest::Digest;
use crate::machine::mark::LogKind;
use crate::machine::{
    Backing, Capabilities, DomainInfo, DomainSpec, DomainState, Firmware, Mark, MarkState, NetworkCard, NetworkSpec,
    OverlaySpec, Parts, PoolSpec, Reservation, VolumeInfo, VolumeName, VolumeSpec,
};
use crate::stamp::Stamp;

/// A file on this machine that is to become a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageFile {
    /// Where it is.
    pub path: PathBuf,
    /// SHA-256 of it.
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
    /// What it looked like when its digest was found right, if that is known.
    pub verified: Option<Stamp>,
}

impl ImageFile {
    /// Stands for what is not built yet: a digest that nothing has.
    pub fn unbuilt() -> Self {
        Self { path: PathBuf::new(), digest: UNBUILT, size: 0, verified: None }
    }
}

/// The digest of what is not built yet.
const UNBUILT: Digest = Digest::zero();

/// What was built for one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Built {
    /// The node.
    pub node: NodeName,
    /// Its seed.
    pub seed: ImageFile,
    /// What it shares with all nodes of its architecture.
    pub images: Images,
    /// What it is made of, for the reasons of a plan.
    pub parts: Parts,
    /// What the host can run of its architecture.
    pub capabilities: Capabilities,
}

impl Built {
    fn is_unbuilt(&self) -> bool {
        [&self.seed, &self.images.payload, &self.images.base].iter().any(|image| image.digest == UNBUILT)
    }
}

/// What was built for all nodes of an architecture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Images {
    /// The binaries.
    pub payload: ImageFile,
    /// Whether nodes have them on a drive; else the base image holds them.
    pub payload_drive: bool,
    /// The base image.
    pub base: ImageFile,
    /// Firmware that the base image starts with.
    pub firmware: Firmware,
}

/// One thing to do that serves all nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SharedAction {
    /// Make a NAT network.
    CreateNetwork(NetworkSpec),
    /// Start a network that is there.
    StartNetwork(String),
    /// Have the DHCP server of a network of ours keep addresses.
    Reserve {
        /// The network.
        network: String,
        /// What it keeps no more: it was of other nodes of this cluster, or another address.
        gone: Vec<Reservation>,
        /// What it does not keep yet.
        wanted: Vec<Reservation>,
    },
    /// Make a pool.
    CreatePool(PoolSpec),
    /// Start a pool that is there.
    StartPool(String),
    /// Upload an image into a pool.
    Upload(Upload),
    /// Remove disks and seeds of a node that belongs to another hypervisor: a move left them that was cut off.
    Clear {
        /// The node.
        node: NodeName,
        /// Name of the pool.
        pool: String,
        /// What goes.
        volumes: Vec<VolumeName>,
    },
}

/// A file to upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload {
    /// Name of the pool.
    pub pool: String,
    /// The volume.
    pub spec: VolumeSpec,
    /// The file on this machine.
    pub file: PathBuf,
    /// What it looked like when its digest was found right, if that is known.
    pub verified: Option<Stamp>,
}

/// What becomes of one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Make its machine; what is left of an attempt before goes first.
    Create(Box<Creation>),
    /// Boot the machine that is there.
    Start(uuid::Uuid),
    /// It runs; see that it comes up.
    Finish(uuid::Uuid),
    /// The machine that was to replace another did not come up: see [`NodePlan::replacement`] and [`NodePlan::moving`].
    PutBack(uuid::Uuid),
    /// It is in the cluster and runs, and its seed is still there; see [`NodePlan::sealing`].
    Seal(uuid::Uuid),
    /// It is in the cluster and runs.
    Nothing,
}

/// A machine to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Creation {
    /// Why, where it is not the first time.
    pub reason: Option<String>,
    /// What goes first.
    pub removal: Removal,
    /// Its root disk.
    pub overlay: OverlaySpec,
    /// Its data disks; those that are there are used with what is on them.
    pub data: Vec<OverlaySpec>,
    /// Those of its data disks that are there and have less than they shall have: they grow before it is started.
    pub growth: Vec<Growth>,
    /// Its seed.
    pub seed: Upload,
    /// The machine.
    pub domain: DomainSpec,
    /// Its mark when it is defined.
    pub mark: Mark,
    /// What it is made of.
    pub parts: Parts,
}

/// A disk that is to be larger. The guest's own unit grows the file system at its next boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Growth {
    /// The disk.
    pub volume: VolumeName,
    /// What it has, in bytes.
    pub from: u64,
    /// What it shall have, in bytes.
    pub to: u64,
}

impl std::fmt::Display for Growth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = if let VolumeName::Data { name, .. } = &self.volume {
            format!("data disk {name}")
        } else {
            "disk".to_owned()
        };
        write!(f, "{name} {} MiB -> {} MiB", self.from >> 20, self.to >> 20)
    }
}

/// The network cards of a node: the one on the nodes' network first.
fn cards(config: &Config, id: &ClusterId, node: &Node) -> Vec<NetworkCard> {
    let network = &config.network;
    let source = network.bridge.clone().map_or_else(|| NicSource::Network(network.name.clone()), NicSource::Bridge);
    let first = NetworkCard { mac: config.mac(id, node), source, mtu: network.mtu };
    let further = node.settings.machine.nics.iter().map(|(name, nic)| NetworkCard {
        mac: id.nic_mac(&node.name, name),
        source: nic.source.clone(),
        mtu: nic.mtu,
    });
    std::iter::once(first).chain(further).collect()
}

fn data_disk(id: &ClusterId, node: &NodeName, name: &str, capacity: u64) -> OverlaySpec {
    OverlaySpec { name: VolumeName::data(id, node, name), capacity, backing: None }
}

/// A node with what becomes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodePlan {
    /// The node.
    pub node: NodeName,
    /// Name of the pool that holds its disks.
    pub pool: String,
    /// What is to do before: its disks grow in place.
    pub growth: Vec<Growth>,
    /// What is to do before: volumes of its own that no machine needs, left by a run that was cut off.
    pub strays: Vec<VolumeName>,
    /// The machine before, where a new one takes its place and that is not settled.
    pub replacement: Option<Replacement>,
    /// The machine made by hand whose place this node's takes, where that is to do or is not settled.
    pub take_over: Option<TakeOver>,
    /// What the node has at another hypervisor, where it is on its way from or to there.
    pub moving: Option<Move>,
    /// What is to do.
    pub step: Step,
    /// Once the node is up: what becomes of its seed. None where it is gone, or stays because the cluster file says so.
    pub sealing: Option<Sealing>,
    /// What its Node object shall have; seen to once it is registered, and by every `up` after.
    pub metadata: Metadata,
    /// How the machine that is there differs from what the cluster file asks for, as far as that is built; where it is not
    /// made anew, `rebuild` mends it.
    pub drift: Vec<Drift>,
    /// Whether a run that was cut off left it cordoned.
    pub cordoned: bool,
    /// What was given to its Node by hand and is lost with the machine, each with its kind.
    pub losses: Vec<String>,
    /// Its seed or one of its images is not built yet; such a plan can be shown, not carried out.
    pub unbuilt: bool,
}

/// All that `up` will do, in its order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// First, once.
    pub shared: Vec<SharedAction>,
    /// Then, each on its own.
    pub nodes: Vec<NodePlan>,
}

impl Plan {
    /// This one's actions, then those of another.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        let missing: Vec<_> = other.shared.into_iter().filter(|action| !self.shared.contains(action)).collect();
        self.shared.extend(missing);
        self.nodes.extend(other.nodes);
        self
    }

    /// Whether anything is to do.
    pub fn is_empty(&self) -> bool {
        let idle = |node: &NodePlan| {
            let settled = node.step == Step::Nothing && node.moving.is_none();
            settled && node.growth.is_empty() && node.strays.is_empty() && !node.cordoned
        };
        self.shared.is_empty() && self.nodes.iter().all(idle)
    }
}

/// What a plan is made from.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The cluster file.
    pub config: &'a Config,
    /// The cluster.
    pub id: &'a ClusterId,
    /// The nodes asked for, with their images.
    pub built: &'a [Built],
    /// What is there.
    pub inventory: &'a Inventory,
    /// Seconds since the epoch.
    pub now: i64,
}

/// Plans `up`: creates, starts and finishes, and never replaces a machine that was started, but one marked as failed.
pub fn up(request: Request) -> Result<Plan, Blocked> {
    plan(request, ByHand::InTheWay, |domain, _| anew(request, domain))
}

/// Plans `rebuild --take-over`: machines made by hand give their places to machines of ours. What a run before began is
/// brought to its end, down to the new machine's seed; a node with nothing left to do is not in the plan. `domain` is the name of one that has another
/// than its node.
pub fn take_over(request: Request, domain: Option<&str>) -> Result<Plan, Blocked> {
    let mut plan = plan(request, ByHand::TakenOver(domain), |domain, _| anew(request, domain))?;
    // Without a cluster to ask nobody knows whether a machine that runs needs more than that.
    let known = request.inventory.nodes.is_some();
    let is_left = |node: &NodePlan| node.sealing.is_some() || node.cordoned || (known && node.step != Step::Nothing);
    plan.nodes.retain(|node| node.take_over.is_some() || is_left(node));
    Ok(plan)
}

/// Why a machine is made anew without being asked for.
fn anew(request: Request, domain: &DomainInfo) -> Option<String> {
    let mark = domain.mark()?;
    match mark.state {
        // A slow one may have got into the cluster after we gave it up.
        MarkState::Failed if request.inventory.has_boot(mark) => None,
        // It goes on where it was cut off, or the machine before it is put back.
        MarkState::Failed | MarkState::Creating if domain.record().previous.is_some() => None,
        MarkState::Failed => Some("the attempt before failed".to_owned()),
        MarkState::Creating => Some("the attempt before was cut off".to_owned()),
        MarkState::Started | MarkState::Active | MarkState::Registered => None,
    }
}

/// Whether a machine was never started.
fn is_half_made(domain: &DomainInfo) -> bool {
    domain.mark().is_some_and(|mark| mark.state == MarkState::Creating)
}

/// Plans `rebuild` of nodes by name: every one is made anew; name, UUID, MAC and address stay. A machine that came up is kept
/// until the new one has.
pub fn rebuild(request: Request) -> Result<Plan, Blocked> {
    plan(request, ByHand::InTheWay, |_, _| Some("asked for".to_owned()))
}

/// Plans `rebuild` of nodes that differ from the cluster file; what a run before began is brought to its end, and all else is
/// not in the plan. So a run that was cut off is gone on with by the same command.
pub fn roll(request: Request) -> Result<Plan, Blocked> {
    let differs = |domain: &DomainInfo, drift: &[Drift]| {
        anew(request, domain).or_else(|| (!drift.is_empty()).then(|| "differs".to_owned()))
    };
    let mut plan = plan(request, ByHand::InTheWay, differs)?;
    let begun = |node: &NodePlan| {
        let under_way = node.replacement.is_some() || node.moving.is_some();
        under_way || node.cordoned || matches!(node.step, Step::Create(_))
    };
    plan.nodes.retain(begun);
    Ok(plan)
}

/// Plans `start`: machines that are there are started, and what they need with them. Nothing is built for it, so nothing is
/// known of drift, and the seed of one that is up stays for `up` to take.
pub fn start(config: &Config, id: &ClusterId, nodes: &[&Node], inventory: &Inventory) -> Result<Plan, Blocked> {
    let nodes = nodes.iter().map(|node| started(config, id, node, inventory)).collect::<Result<Vec<_>, _>>()?;
    let mut shared = Vec::new();
    if nodes.iter().any(|node| matches!(node.step, Step::Start(_))) {
        let network = inventory.network.as_ref().filter(|network| !network.active);
        shared.extend(network.map(|network| SharedAction::StartNetwork(network.name.clone())));
        shared.extend(inventory.network.as_ref().and_then(|network| reservations::action(config, id, network)));
        let starts = nodes.iter().filter(|node| matches!(node.step, Step::Start(_))).map(|node| &node.node);
        shared.extend(start_further(config, starts, inventory));
        let pools = [&inventory.pool, &inventory.log_pool].into_iter().flatten().filter(|pool| !pool.active);
        shared.extend(pools.map(|pool| SharedAction::StartPool(pool.name.clone())));
    }
    Ok(Plan { shared, nodes })
}

/// Starts the networks that further cards of these nodes are on, where they are off.
fn start_further<'a>(
    config: &Config,
    nodes: impl Iterator<Item = &'a NodeName>,
    inventory: &Inventory,
) -> Vec<SharedAction> {
    let nodes: BTreeSet<_> = nodes.collect();
    let nodes = config.nodes.iter().filter(|node| nodes.contains(&node.name));
    let wanted: BTreeSet<_> = nodes.flat_map(inventory::further_networks).collect();
    let off = inventory.further.iter().filter(|network| !network.active && wanted.contains(network.name.as_str()));
    off.map(|network| SharedAction::StartNetwork(network.name.clone())).collect()
}

/// A paused machine does not run: it is started too, which resumes it.
fn runs(domain: &DomainInfo) -> bool {
    domain.state.is_active() && domain.state != DomainState::Paused
}

fn started(config: &Config, id: &ClusterId, node: &Node, inventory: &Inventory) -> Result<NodePlan, Blocked> {
    let uuid = id.uuid(&node.name);
    let domain = inventory.domains.iter().find(|domain| domain.uuid == uuid);
    let (domain, mark) = own(id, &node.name, domain)?;
    let replacement = Replacement::under_way(domain);
    if mark.state == MarkState::Creating && replacement.is_none() {
        return Err(Blocked::HalfMade { node: node.name.clone() });
    }
    let step = step(domain, inventory, replacement.is_some(), false);
    Ok(NodePlan {
        node: node.name.clone(),
        pool: config.libvirt.pool.clone(),
        growth: Vec::new(),
        strays: Vec::new(),
        replacement,
        take_over: None,
        moving: None,
        step,
        sealing: None,
        metadata: Metadata::of(&node.settings),
        drift: Vec::new(),
        cordoned: inventory.cordoned(&node.name),
        losses: Vec::new(),
        unbuilt: false,
    })
}

/// What becomes of a machine that stays; `before` says whether there is one to go back to where it failed, and `unsettled`
/// whether its coming up settles more than itself.
fn step(domain: &DomainInfo, inventory: &Inventory, before: bool, unsettled: bool) -> Step {
    let unsettled = unsettled || before || domain.record().standing.is_some();
    let failed = domain.mark().is_some_and(|mark| mark.state == MarkState::Failed && !inventory.has_boot(mark));
    if failed && before {
        Step::PutBack(domain.uuid)
    } else if !runs(domain) {
        Step::Start(domain.uuid)
    } else if inventory.is_registered(domain) && !unsettled {
        Step::Nothing
    } else {
        Step::Finish(domain.uuid)
    }
}

fn plan(
    request: Request,
    by_hand: ByHand,
    replace: impl Fn(&DomainInfo, &[Drift]) -> Option<String>,
) -> Result<Plan, Blocked> {
    blocked::check(request, by_hand)?;
    let layout = Layout::new(request, by_hand);
    let mut nodes = Vec::new();
    for built in request.built {
        let node = layout.nodes.get(&built.node);
        let node = node.ok_or_else(|| Blocked::UnknownNode { node: built.node.clone() })?;
        nodes.push(layout.node(node, built, &replace)?);
    }
    let shared = layout.shared(&nodes);
    Ok(Plan { shared, nodes })
}

/// Where everything stands, or will. What is looked up for every node is found by its name: a plan of many nodes takes no
/// longer for each of them.
struct Layout<'a> {
    request: Request<'a>,
    by_hand: ByHand<'a>,
    take_overs: TakeOvers<'a>,
    nodes: BTreeMap<&'a NodeName, &'a Node>,
    domains: Domains<'a>,
    volumes: BTreeMap<VolumeName, &'a VolumeInfo>,
    removals: BTreeMap<NodeName, Removal>,
    pool_path: String,
    log_path: String,
}

impl<'a> Layout<'a> {
    fn new(request: Request<'a>, by_hand: ByHand<'a>) -> Self {
        let Request { config, inventory, .. } = request;
        let wanted = config.libvirt.pool_path.to_string_lossy().into_owned();
        let pool_path = inventory.pool.as_ref().map_or(wanted, |pool| pool.path.clone());
        let beside = format!("{}-logs", pool_path.trim_end_matches('/'));
        let log_path = inventory.log_pool.as_ref().map_or(beside, |pool| pool.path.clone());
        Self {
            request,
            by_hand,
            take_overs: TakeOvers::read(request.id, &inventory.domains),
            nodes: config.nodes.iter().map(|node| (&node.name, node)).collect(),
            domains: Domains::of_host(&inventory.domains),
            volumes: inventory.volumes.iter().filter_map(|volume| Some((volume.ours()?, volume))).collect(),
            removals: removals(request.id, config, inventory),
            pool_path,
            log_path,
        }
    }

    fn path(&self, volume: &VolumeName) -> String {
        format!("{}/{volume}", self.pool_path.trim_end_matches('/'))
    }

    fn log_path(&self, node: &NodeName, kind: LogKind) -> String {
        let volume = VolumeName::log(self.request.id, node, kind);
        format!("{}/{volume}", self.log_path.trim_end_matches('/'))
    }

    /// Network, pools and images: only what is missing, and only if a node needs it.
    fn shared(&self, nodes: &[NodePlan]) -> Vec<SharedAction> {
        let Request { config, id, inventory, built, .. } = self.request;
        let boot = |node: &&NodePlan| matches!(node.step, Step::Create(_) | Step::Start(_));
        let mut actions = moving::left_behind(id, inventory, &config.libvirt.pool);
        if !nodes.iter().any(|node| boot(&node)) {
            return actions;
        }
        match &inventory.network {
            // The user's own bridge is used as it is.
            _ if config.network.bridge.is_some() => {}
            None => actions.push(SharedAction::CreateNetwork(NetworkSpec {
                name: config.network.name.clone(),
                cidr: config.network.cidr,
                gateway: config.network.gateway,
                ipv6: config.network.ipv6,
                reservations: reservations::wanted(config, id),
                mtu: config.network.mtu,
                cluster: id.clone(),
            })),
            Some(network) => {
                actions.extend((!network.active).then(|| SharedAction::StartNetwork(network.name.clone())));
                actions.extend(reservations::action(config, id, network));
            }
        }
        actions.extend(start_further(config, nodes.iter().filter(boot).map(|node| &node.node), inventory));
        let pool = &config.libvirt.pool;
        let pools =
            [(pool.clone(), &inventory.pool, &self.pool_path), (log_pool(pool), &inventory.log_pool, &self.log_path)];
        for (name, found, path) in pools {
            match found {
                None => actions.push(SharedAction::CreatePool(PoolSpec { name, path: path.clone() })),
                Some(pool) if !pool.active => actions.push(SharedAction::StartPool(name)),
                Some(_) => {}
            }
        }
        let mut images = Vec::new();
        for (_, built) in nodes.iter().zip(built).filter(|(node, _)| matches!(node.step, Step::Create(_))) {
            let Images { base, payload, payload_drive, .. } = &built.images;
            let drive = payload_drive.then_some((VolumeName::Payload(payload.digest), payload));
            for image in std::iter::once((VolumeName::Base(base.digest), base)).chain(drive) {
                if !images.contains(&image) {
                    images.push(image);
                }
            }
        }
        for (name, file) in images {
            if !self.volumes.get(&name).is_some_and(|volume| volume.is_whole()) {
                actions.push(SharedAction::Upload(self.upload(name, file)));
            }
        }
        actions
    }

    fn upload(&self, name: VolumeName, file: &ImageFile) -> Upload {
        Upload {
            pool: self.request.config.libvirt.pool.clone(),
            spec: VolumeSpec { name, size: file.size, digest: file.digest },
            file: file.path.clone(),
            verified: file.verified,
        }
    }

    fn node(
        &self,
        node: &Node,
        built: &Built,
        replace: &impl Fn(&DomainInfo, &[Drift]) -> Option<String>,
    ) -> Result<NodePlan, Blocked> {
        let Request { config, id, inventory, .. } = self.request;
        let domain = self.domains.of(id.uuid(&node.name));
        let own = self.removals.get(&node.name).map_or(&[][..], |removal| &removal.volumes);
        let first = self.creation(node, built, None)?;
        let mut drift = domain.map(|domain| drift::of(domain, &first.0, &self.volumes)).unwrap_or_default();
        if let (Some(at), Some(bound), Some(_)) = (&inventory.site, &node.hypervisor, domain)
            && at != bound
        {
            drift.push(Drift::Hypervisor(at.clone(), bound.clone()));
        }
        let moving = moving::of(inventory, &node.name, domain, &config.libvirt.pool);
        let moving = moving.map(|moving| moving.possible(&node.name)).transpose()?;
        if let Some(moving) = moving.as_ref().filter(|moving| moving.way == Way::Asked) {
            self.check_data(node, moving)?;
        }
        let reason = domain.and_then(|domain| match &moving {
            None => replace(domain, &drift),
            // What is under way comes to its end first.
            Some(moving) if moving.is_back() => None,
            Some(moving) => anew(self.request, domain).filter(|_| !moving.kept || is_half_made(domain)),
        });
        let old = domain.filter(|_| reason.is_some() && moving.is_none()).and_then(Old::at);
        let aside = self.take_overs.find(id, &node.name, &self.domains, self.by_hand)?;
        let (creation, replaced) = if old.is_some() { self.creation(node, built, old)? } else { first };
        let (step, replacement) = match domain {
            Some(domain) if reason.is_none() => {
                let replacement = Replacement::under_way(domain);
                let before = replacement.is_some() || moving.as_ref().is_some_and(Move::can_go_back);
                (step(domain, inventory, before, aside.is_some() || moving.is_some()), replacement)
            }
            _ => (Step::Create(Box::new(Creation { reason, ..creation })), replaced),
        };
        if let Step::Create(creation) = &step {
            self.check_variables(node, creation.domain.firmware)?;
        }
        let new = || match &step {
            Step::Create(creation) => vec![creation.overlay.name.clone(), creation.seed.spec.name.clone()],
            _ => domain.map(DomainInfo::own_volumes).unwrap_or_default(),
        };
        let take_over = aside.map(|aside| self.take_overs.take_over(&node.name, aside, &inventory.domains, new()));
        // What becomes of its disks otherwise, the step tells.
        let stays = domain.filter(|_| !matches!(step, Step::Create(_) | Step::PutBack(_)));
        let growth = stays.map(|domain| self.growth(Some(domain), node)).unwrap_or_default();
        let left = |domain| replacement::strays(id, &node.name, own, domain, replacement.as_ref());
        let strays = stays.map(left).unwrap_or_default();
        let sealing = sealing::of(node, domain, own, &step, &drift);
        let step = match step {
            Step::Nothing if sealing.is_some() => Step::Seal(id.uuid(&node.name)),
            step => step,
        };
        Ok(NodePlan {
            node: node.name.clone(),
            pool: config.libvirt.pool.clone(),
            growth,
            strays,
            replacement,
            take_over,
            moving,
            sealing,
            cordoned: inventory.cordoned(&node.name) && !matches!(step, Step::Create(_)),
            losses: inventory.by_hand(node).names(),
            step,
            metadata: Metadata::of(&node.settings),
            drift,
            unbuilt: built.is_unbuilt(),
        })
    }

    /// A data disk of an earlier time, which `--leave-data` left here, is no new one.
    fn check_data(&self, node: &Node, moving: &Move) -> Result<(), Blocked> {
        let Request { config, id, .. } = self.request;
        let wanted = node.settings.machine.data_disks.keys().map(|disk| VolumeName::data(id, &node.name, disk));
        let disks: Vec<_> =
            wanted.filter(|disk| self.volumes.contains_key(disk)).map(|disk| disk.to_string()).collect();
        let (name, at, pool) = (node.name.clone(), moving.here.clone(), config.libvirt.pool.clone());
        if disks.is_empty() { Ok(()) } else { Err(Blocked::DataThere { node: name, at, disks, pool }) }
    }

    /// libvirt names the file for UEFI's variables by the domain's name when a machine is first defined, and a domain that
    /// is renamed keeps its file: another one of that name would write to it, and remove it with itself.
    fn check_variables(&self, node: &Node, firmware: Firmware) -> Result<(), Blocked> {
        let (Request { id, inventory, .. }, name) = (self.request, &node.name);
        let file = format!("/{name}_VARS.");
        let has = |domain: &&DomainInfo| domain.uuid != id.uuid(name) && domain.xml.contains(&file);
        match inventory.domains.iter().find(has) {
            Some(domain) if firmware == Firmware::Uefi => {
                Err(Blocked::Variables { node: name.clone(), domain: domain.name.clone() })
            }
            _ => Ok(()),
        }
    }

    /// What the disks of a node that are there lack of their sizes in the cluster file: its data disks, or those of them that a
    /// machine that stays has, and the root disk of such a one.
    fn growth(&self, stays: Option<&DomainInfo>, node: &Node) -> Vec<Growth> {
        let id = self.request.id;
        let data = node.settings.machine.data_disks.iter();
        let data = data.map(|(disk, it)| (VolumeName::data(id, &node.name, disk), it.size));
        let root = stays.and_then(DomainInfo::root);
        let wanted = root.map(|root| (root, node.disk)).into_iter().chain(data);
        // One that outlasted an earlier machine is no disk of this one until it is made anew.
        let attached = stays.map(DomainInfo::volumes);
        let lacks = |(volume, to): (VolumeName, u64)| {
            let is_there = attached.as_ref().is_none_or(|attached| attached.contains(&volume));
            let found = self.volumes.get(&volume).filter(|_| is_there)?;
            (found.capacity < to).then_some(Growth { volume, from: found.capacity, to })
        };
        wanted.filter_map(lacks).collect()
    }

    /// The machine to make, and what becomes of an old one in whose place it comes.
    fn creation(
        &self,
        node: &Node,
        built: &Built,
        old: Option<Old>,
    ) -> Result<(Creation, Option<Replacement>), Blocked> {
        let Request { config, id, .. } = self.request;
        let Built { images, capabilities, .. } = built;
        let virt = capabilities.virt_type(config.libvirt.acceleration).map_err(Blocked::Machine)?;
        let name = &node.name;
        let kept = old.as_ref().map_or(&[][..], |old| &old.volumes);
        let first = VolumeName::root(id, name, built.seed.digest);
        let root = replacement::root_name(id, name, built.seed.digest, kept);
        let seed = VolumeName::seed(id, name, built.seed.digest);
        let backing = self.path(&VolumeName::Base(images.base.digest));
        let machine = &node.settings.machine;
        let data: BTreeMap<_, _> =
            machine.data_disks.iter().map(|(disk, it)| (disk.clone(), data_disk(id, name, disk, it.size))).collect();
        let mut domain = DomainSpec {
            name: name.to_string(),
            uuid: id.uuid(name),
            title: format!("{name} of cluster {}", id.name),
            memory: node.memory,
            cpus: node.cpus,
            arch: node.arch,
            virt,
            firmware: machine.firmware.map_or(images.firmware, Firmware::from),
            secure_boot: machine.secure_boot,
            root: self.path(&first),
            backing: Backing { path: backing.clone() },
            payload: images.payload_drive.then(|| self.path(&VolumeName::Payload(images.payload.digest))),
            payload_digest: images.payload.digest,
            seed: self.path(&seed),
            data: data.iter().map(|(name, disk)| (name.clone(), self.path(&disk.name))).collect(),
            driver: machine.disk_driver.clone(),
            cards: cards(config, id, node),
            console_log: self.log_path(name, LogKind::Console),
            first_boot_log: self.log_path(name, LogKind::FirstBoot),
            over: machine.domain_xml.clone(),
        };
        let mark = Mark {
            cluster: id.name.clone(),
            ca: id.ca,
            node: name.clone(),
            payload: images.payload.digest,
            seed: built.seed.digest,
            base: images.base.digest.to_string(),
            definition: domain.digest(),
            state: MarkState::Creating,
            stored: None,
            boot_id: None,
            stage: None,
        };
        // Which of two names its disk has says nothing of the machine.
        domain.root = self.path(&root);
        let removal = self.removals.get(name).cloned().unwrap_or_default().without_logs();
        let removal = if old.is_some() { removal.disks_but(kept) } else { removal };
        let replacement = old.map(|old| old.replaced_by(&[root.clone(), seed.clone()]));
        let creation = Creation {
            reason: None,
            removal,
            overlay: OverlaySpec { name: root, capacity: node.disk, backing: Some(backing) },
            data: data.into_values().collect(),
            growth: self.growth(None, node),
            seed: self.upload(seed, &built.seed),
            domain,
            mark,
            parts: built.parts.clone(),
        };
        Ok((creation, replacement))
    }
}
