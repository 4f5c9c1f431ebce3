//! From what is wanted and what is there to a list of actions that leaves nothing to choose.
//!
//! Pure: no network, no libvirt call, no terminal. The inventory is read before, the actions are done after.

mod blocked;
mod drift;
mod inventory;
mod removal;
mod report;
mod sealing;

use std::path::PathBuf;

pub use blocked::{Blocked, blocked};
pub use drift::Drift;
pub use inventory::{Inventory, log_pool};
pub use removal::{Removal, removals};
pub use report::{Action, Kind, Row, rows};
pub use sealing::Sealing;

use crate::cluster::Metadata;
use crate::config::{ClusterId, Config, Node, NodeName};
use crate::digest::Digest;
use crate::machine::mark::LogKind;
use crate::machine::{
    Backing, Capabilities, DomainInfo, DomainSpec, DomainState, Firmware, Mark, MarkState, NetworkSpec, OverlaySpec,
    PoolSpec, VolumeName, VolumeSpec,
};

/// A file on this machine that is to become a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageFile {
    /// Where it is.
    pub path: PathBuf,
    /// SHA-256 of it.
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
}

impl ImageFile {
    /// Stands for what is not built yet: a digest that nothing has.
    pub fn unbuilt() -> Self {
        Self { path: PathBuf::new(), digest: UNBUILT, size: 0 }
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
    /// Make a pool.
    CreatePool(PoolSpec),
    /// Start a pool that is there.
    StartPool(String),
    /// Upload an image into a pool.
    Upload(Upload),
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
    /// Its seed.
    pub seed: Upload,
    /// The machine.
    pub domain: DomainSpec,
    /// Its mark when it is defined.
    pub mark: Mark,
}

/// A root disk that is to be larger. The guest's own unit grows the file system at its next boot.
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
        write!(f, "disk {} MiB -> {} MiB", self.from >> 20, self.to >> 20)
    }
}

/// A node with what becomes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodePlan {
    /// The node.
    pub node: NodeName,
    /// Name of the pool that holds its disks.
    pub pool: String,
    /// What is to do before: its disk grows in place.
    pub growth: Option<Growth>,
    /// What is to do.
    pub step: Step,
    /// Once the node is up: what becomes of its seed. None where it is gone, or stays because the cluster file says so.
    pub sealing: Option<Sealing>,
    /// What its Node object shall have; seen to once it is registered, and by every `up` after.
    pub metadata: Metadata,
    /// How the machine that is there differs from what the cluster file asks for, as far as that is built; `rebuild` mends
    /// it.
    pub drift: Vec<Drift>,
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
    /// Whether anything is to do.
    pub fn is_empty(&self) -> bool {
        self.shared.is_empty() && self.nodes.iter().all(|node| node.step == Step::Nothing && node.growth.is_none())
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
    plan(request, |domain| {
        let mark = domain.mark()?;
        match mark.state {
            // A slow one may have got into the cluster after we gave it up.
            MarkState::Failed if request.inventory.has_boot(mark) => None,
            MarkState::Failed => Some("the attempt before failed".to_owned()),
            MarkState::Creating => Some("the attempt before was cut off".to_owned()),
            MarkState::Started | MarkState::Active | MarkState::Registered => None,
        }
    })
}

/// Plans `rebuild`: every node asked for is made anew; name, UUID, MAC and address stay.
pub fn rebuild(request: Request) -> Result<Plan, Blocked> {
    plan(request, |_| Some("asked for".to_owned()))
}

/// Plans `start`: machines that are there are started, and what they need with them. Nothing is built for it, so nothing is
/// known of drift, and the seed of one that is up stays for `up` to take.
pub fn start(config: &Config, id: &ClusterId, nodes: &[&Node], inventory: &Inventory) -> Result<Plan, Blocked> {
    let nodes = nodes.iter().map(|node| started(config, id, node, inventory)).collect::<Result<Vec<_>, _>>()?;
    let mut shared = Vec::new();
    if nodes.iter().any(|node| matches!(node.step, Step::Start(_))) {
        let network = inventory.network.as_ref().filter(|network| !network.active);
        shared.extend(network.map(|network| SharedAction::StartNetwork(network.name.clone())));
        let pools = [&inventory.pool, &inventory.log_pool].into_iter().flatten().filter(|pool| !pool.active);
        shared.extend(pools.map(|pool| SharedAction::StartPool(pool.name.clone())));
    }
    Ok(Plan { shared, nodes })
}

/// A paused machine does not run: it is started too, which resumes it.
fn runs(domain: &DomainInfo) -> bool {
    domain.state.is_active() && domain.state != DomainState::Paused
}

fn started(config: &Config, id: &ClusterId, node: &Node, inventory: &Inventory) -> Result<NodePlan, Blocked> {
    let uuid = id.uuid(&node.name);
    let domain = inventory.domains.iter().find(|domain| domain.uuid == uuid);
    let domain = domain.ok_or_else(|| Blocked::NoMachine { node: node.name.clone() })?;
    let mark = domain.mark().filter(|mark| mark.belongs_to(id));
    let mark = mark.ok_or_else(|| Blocked::ForeignDomain { node: node.name.clone() })?;
    if mark.state == MarkState::Creating {
        return Err(Blocked::HalfMade { node: node.name.clone() });
    }
    let step = if !runs(domain) {
        Step::Start(uuid)
    } else if inventory.is_registered(domain) {
        Step::Nothing
    } else {
        Step::Finish(uuid)
    };
    Ok(NodePlan {
        node: node.name.clone(),
        pool: config.libvirt.pool.clone(),
        growth: None,
        step,
        sealing: None,
        metadata: Metadata::of(&node.settings),
        drift: Vec::new(),
        unbuilt: false,
    })
}

fn plan(request: Request, replace: impl Fn(&DomainInfo) -> Option<String>) -> Result<Plan, Blocked> {
    blocked::check(request)?;
    let layout = Layout::new(request);
    let mut nodes = Vec::new();
    for built in request.built {
        let node = request.config.nodes.iter().find(|node| node.name == built.node);
        let node = node.ok_or_else(|| Blocked::UnknownNode { node: built.node.clone() })?;
        nodes.push(layout.node(node, built, &replace)?);
    }
    let shared = layout.shared(&nodes);
    Ok(Plan { shared, nodes })
}

/// Where everything stands, or will.
struct Layout<'a> {
    request: Request<'a>,
    pool_path: String,
    log_path: String,
}

impl<'a> Layout<'a> {
    fn new(request: Request<'a>) -> Self {
        let Request { config, inventory, .. } = request;
        let wanted = config.libvirt.pool_path.to_string_lossy().into_owned();
        let pool_path = inventory.pool.as_ref().map_or(wanted, |pool| pool.path.clone());
        let beside = format!("{}-logs", pool_path.trim_end_matches('/'));
        let log_path = inventory.log_pool.as_ref().map_or(beside, |pool| pool.path.clone());
        Self { request, pool_path, log_path }
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
        let boots = nodes.iter().any(|node| matches!(node.step, Step::Create(_) | Step::Start(_)));
        if !boots {
            return Vec::new();
        }
        let mut actions = Vec::new();
        match &inventory.network {
            None => actions.push(SharedAction::CreateNetwork(NetworkSpec {
                name: config.network.name.clone(),
                cidr: config.network.cidr,
                gateway: config.network.gateway,
                cluster: id.clone(),
            })),
            Some(network) if !network.active => actions.push(SharedAction::StartNetwork(network.name.clone())),
            Some(_) => {}
        }
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
            let whole =
                |volume: &&crate::machine::VolumeInfo| volume.ours().as_ref() == Some(&name) && volume.is_whole();
            if inventory.volumes.iter().find(whole).is_none() {
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
        }
    }

    fn node(
        &self,
        node: &Node,
        built: &Built,
        replace: &impl Fn(&DomainInfo) -> Option<String>,
    ) -> Result<NodePlan, Blocked> {
        let Request { config, id, inventory, .. } = self.request;
        let creation = self.creation(node, built)?;
        let unbuilt = built.is_unbuilt();
        let uuid = id.uuid(&node.name);
        let domain = inventory.domains.iter().find(|domain| domain.uuid == uuid);
        let (step, drift) = match domain {
            None => (Step::Create(Box::new(creation)), Vec::new()),
            Some(domain) => {
                let drift = drift::of(domain, &creation, &inventory.volumes, id);
                match (replace(domain), runs(domain)) {
                    (Some(reason), _) => {
                        let creation = Creation { reason: Some(reason), ..creation };
                        (Step::Create(Box::new(creation)), Vec::new())
                    }
                    (None, false) => (Step::Start(uuid), drift),
                    (None, true) if inventory.is_registered(domain) => (Step::Nothing, drift),
                    (None, true) => (Step::Finish(uuid), drift),
                }
            }
        };
        let grows = domain.filter(|_| !matches!(step, Step::Create(_))).and_then(DomainInfo::mark);
        let growth = grows.and_then(|mark| self.growth(mark, node));
        let sealing = sealing::of(id, node, domain, &inventory.volumes, &step, &drift);
        let step = if step == Step::Nothing && sealing.is_some() { Step::Seal(uuid) } else { step };
        Ok(NodePlan {
            node: node.name.clone(),
            pool: config.libvirt.pool.clone(),
            growth,
            step,
            sealing,
            metadata: Metadata::of(&node.settings),
            drift,
            unbuilt,
        })
    }

    /// What the root disk of a machine lacks of the size in the cluster file.
    fn growth(&self, mark: &Mark, node: &Node) -> Option<Growth> {
        let volume = VolumeName::root(self.request.id, &node.name, mark.seed);
        let found = self.request.inventory.volumes.iter().find(|found| found.ours().as_ref() == Some(&volume))?;
        (found.capacity < node.disk).then_some(Growth { volume, from: found.capacity, to: node.disk })
    }

    fn creation(&self, node: &Node, built: &Built) -> Result<Creation, Blocked> {
        let Request { config, id, inventory, .. } = self.request;
        let Built { images, capabilities, .. } = built;
        let virt = capabilities.virt_type(config.libvirt.acceleration).map_err(Blocked::Machine)?;
        let name = &node.name;
        let root = VolumeName::root(id, name, built.seed.digest);
        let seed = VolumeName::seed(id, name, built.seed.digest);
        let backing = self.path(&VolumeName::Base(images.base.digest));
        let domain = DomainSpec {
            name: name.to_string(),
            uuid: id.uuid(name),
            title: format!("{name} of cluster {}", id.name),
            memory: node.memory,
            cpus: node.cpus,
            arch: node.arch,
            virt,
            firmware: images.firmware,
            root: self.path(&root),
            backing: Backing { path: backing.clone() },
            payload: images.payload_drive.then(|| self.path(&VolumeName::Payload(images.payload.digest))),
            payload_digest: images.payload.digest,
            seed: self.path(&seed),
            mac: config.mac(id, node),
            network: config.network.name.clone(),
            console_log: self.log_path(name, LogKind::Console),
            first_boot_log: self.log_path(name, LogKind::FirstBoot),
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
        Ok(Creation {
            reason: None,
            removal: removal::of_node(id, name, config, inventory).without_logs(),
            overlay: OverlaySpec { name: root, capacity: node.disk, backing },
            seed: self.upload(seed, &built.seed),
            domain,
            mark,
        })
    }
}
