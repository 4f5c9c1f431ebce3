//! Doing what a plan says, through a [`Hypervisor`]. Every step may be repeated: it names a state, not a change.

mod address;
mod boot;
mod leave;
mod logs;
mod moving;
mod power;
mod replace;
mod seal;
mod share;
mod take_over;
mod wait;

use std::fs::File;
use std::io;
use std::ops::Range;

pub use address::{Presence, presences};
pub use boot::{Outcome, Patience};
pub use leave::Leaving;
pub use logs::LogReader;
pub use share::{Share, share};
pub use wait::{Goal, GoalError};

use crate::cluster::{Cluster, ClusterError, DrainError, Standing, Watch};
use crate::config::{ClusterId, HypervisorName, NodeName};
use crate::digest::Digest;
use crate::machine::mark::LogKind;
use crate::machine::{Hypervisor, Image, MachineError, Mark, MarkState, Reading, Record, Verified, VolumeName};
use crate::plan::{Creation, Growth, NodePlan, Removal, SharedAction, Step, Upload, log_pool};
use crate::progress::Progress;

/// Why a plan could not be carried out.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The hypervisor failed.
    #[error("{action}")]
    Machine {
        /// What was being done, in gerunds.
        action: String,
        /// What it said.
        source: MachineError,
    },
    /// A file to upload cannot be opened.
    #[error("opening {}", path.display())]
    Open {
        /// The file.
        path: std::path::PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The node is up, but its labels and taints are not what they should be.
    #[error("{node}: setting its labels and taints")]
    Metadata {
        /// The node.
        node: NodeName,
        /// What the cluster said.
        source: ClusterError,
    },
    /// The cluster does not do what a node's leaving takes.
    #[error("{node}: {action}")]
    Cluster {
        /// The node.
        node: NodeName,
        /// What was being done, in gerunds.
        action: &'static str,
        /// What the cluster said.
        source: ClusterError,
    },
    /// The node's pods do not leave it.
    #[error("{node}: draining it")]
    Drain {
        /// The node.
        node: NodeName,
        /// Why.
        source: DrainError,
    },
    /// A boot stage failed in the guest.
    #[error("{node}: failed to get to \"{stage}\"")]
    Stage {
        /// The node.
        node: NodeName,
        /// The stage that was not reached.
        stage: crate::boot::Stage,
        /// Tail of the failing unit's log; printable.
        log: String,
    },
    /// The guest stopped while it was coming up.
    #[error("{node}: the guest stopped ({state}) before it was in the cluster; last seen: {last}")]
    Stopped {
        /// The node.
        node: NodeName,
        /// What libvirt says of the domain.
        state: String,
        /// The last stage that was reported.
        last: String,
        /// Tail of the console; printable.
        log: String,
    },
    /// A new machine did not come up, and the one whose place it took is a node again.
    #[error("{node}: its new machine did not come up, and the old one was put back")]
    PutBack {
        /// The node.
        node: NodeName,
        /// What was wrong with the new one.
        #[source]
        cause: Box<ApplyError>,
    },
    /// A new machine did not come up, nor did the one whose place it took again.
    #[error("{node}: its new machine did not come up ({}), and the old one is not back", crate::error::chain(cause))]
    NotPutBack {
        /// The node.
        node: NodeName,
        /// What was wrong with the new one.
        cause: Box<ApplyError>,
        /// What keeps the old one down.
        source: Box<ApplyError>,
    },
    /// A new machine did not come up, and the one made by hand whose place it took has it again.
    #[error("{node}: its new machine did not come up, and domain {domain} has its place again")]
    GivenBack {
        /// The node.
        node: NodeName,
        /// The machine made by hand.
        domain: String,
        /// What was wrong with the new one.
        #[source]
        cause: Box<ApplyError>,
    },
    /// A new machine did not come up, nor is the one made by hand what it was.
    #[error(
        "{node}: its new machine did not come up ({}), and domain {domain} does not have its place again",
        crate::error::chain(cause)
    )]
    NotGivenBack {
        /// The node.
        node: NodeName,
        /// The machine made by hand.
        domain: String,
        /// What was wrong with the new one.
        cause: Box<ApplyError>,
        /// What keeps the old one from it.
        source: Box<ApplyError>,
    },
    /// A new machine at another hypervisor did not come up, and the old one is the node again.
    #[error("{node}: its new machine at {from} did not come up, and the old one was started again")]
    CameBack {
        /// The node.
        node: NodeName,
        /// The hypervisor that it comes back from.
        from: HypervisorName,
        /// What was wrong with the new one.
        #[source]
        cause: Box<ApplyError>,
    },
    /// A new machine at another hypervisor did not come up, nor is the old one the node again.
    #[error(
        "{node}: its new machine at {from} did not come up ({}), and the old one is not back",
        crate::error::chain(cause)
    )]
    NotBack {
        /// The node.
        node: NodeName,
        /// The hypervisor that it comes back from.
        from: HypervisorName,
        /// What was wrong with the new one.
        cause: Box<ApplyError>,
        /// What keeps the old one down.
        source: Box<ApplyError>,
    },
    /// The run was told to end.
    #[error("{}interrupted", node.as_ref().map(|node| format!("{node}: ")).unwrap_or_default())]
    Interrupted {
        /// The node that was worked on; none where it was something that nodes share.
        node: Option<NodeName>,
    },
    /// The guest does not go off.
    #[error("{node}: still runs, and nothing new for {seconds} s after its power button was pressed")]
    StillRuns {
        /// The node.
        node: NodeName,
        /// How long it was waited.
        seconds: u64,
    },
    /// Nothing was heard of the guest any more.
    #[error("{node}: nothing new for {seconds} s; last seen: {last}{}", trouble.as_ref().map(|t| format!("; {t}")).unwrap_or_default())]
    Stalled {
        /// The node.
        node: NodeName,
        /// Time since the last stage.
        seconds: u64,
        /// The last stage that was reported.
        last: String,
        /// What stands in the way of asking the cluster.
        trouble: Option<String>,
        /// Tail of the console; printable.
        log: String,
    },
}

impl ApplyError {
    /// What the user can do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Machine { source, .. } => source.hint(),
            Self::Metadata { source, .. } | Self::Cluster { source, .. } => source.hint(),
            Self::Drain { source, .. } => source.hint(),
            Self::StillRuns { node, .. } => Some(format!(
                "see `nodebake logs {node}` for what keeps it, wait longer (--stall), or have the plug pulled (--force)"
            )),
            Self::PutBack { node, cause } if cause.is_node_down() => Some(format!(
                "the node is what it was; `nodebake logs {node} --previous` tells of the new machine: mend the cause, and run \
                 `nodebake rebuild {node}` again"
            )),
            Self::NotPutBack { node, .. } | Self::NotBack { node, .. } => {
                Some(format!("the old machine was kept: see `nodebake logs {node}`, and run `nodebake up {node}`"))
            }
            Self::GivenBack { node, cause, .. } if cause.is_node_down() => Some(format!(
                "the node is what it was; `nodebake logs {node}` tells of the new machine: mend the cause, and run `nodebake \
                 rebuild {node} --take-over` again"
            )),
            Self::CameBack { node, from, cause } if cause.is_node_down() => Some(format!(
                "the node is what it was: mend the cause, and run `nodebake rebuild {node} --to {from}` again"
            )),
            Self::PutBack { cause, .. } | Self::GivenBack { cause, .. } | Self::CameBack { cause, .. } => cause.hint(),
            Self::NotGivenBack { node, .. } => Some(format!(
                "nothing of it is lost: `nodebake rebuild {node} --take-over` goes on, and `virsh list --all` shows it"
            )),
            Self::Open { .. } => Some("run `nodebake build` again".to_owned()),
            Self::Interrupted { .. } => Some("run the command again: it goes on where this ended".to_owned()),
            Self::Stage { node, .. } | Self::Stopped { node, .. } | Self::Stalled { node, .. } => Some(format!(
                "the machine was left as it is: see `nodebake logs {node}`, mend the cause, and run `nodebake up` again"
            )),
        }
    }

    /// The node that it is about, where it is about one alone.
    pub fn node(&self) -> Option<&NodeName> {
        match self {
            Self::Machine { .. } | Self::Open { .. } => None,
            Self::Interrupted { node } => node.as_ref(),
            Self::Metadata { node, .. }
            | Self::Cluster { node, .. }
            | Self::Drain { node, .. }
            | Self::Stage { node, .. }
            | Self::Stopped { node, .. }
            | Self::PutBack { node, .. }
            | Self::NotPutBack { node, .. }
            | Self::GivenBack { node, .. }
            | Self::NotGivenBack { node, .. }
            | Self::CameBack { node, .. }
            | Self::NotBack { node, .. }
            | Self::StillRuns { node, .. }
            | Self::Stalled { node, .. } => Some(node),
        }
    }

    /// What is told where the node's name stands already.
    fn beside(&self, node: &NodeName) -> String {
        let text = self.to_string();
        text.strip_prefix(&format!("{node}: ")).map(str::to_owned).unwrap_or(text)
    }

    /// Tail of the log that tells why, where there is one.
    pub fn log(&self) -> Option<&str> {
        match self {
            Self::Stage { log, .. } | Self::Stopped { log, .. } | Self::Stalled { log, .. } => {
                Some(log.as_str()).filter(|log| !log.is_empty())
            }
            Self::PutBack { cause, .. }
            | Self::NotPutBack { cause, .. }
            | Self::GivenBack { cause, .. }
            | Self::NotGivenBack { cause, .. }
            | Self::CameBack { cause, .. }
            | Self::NotBack { cause, .. } => cause.log(),
            _ => None,
        }
    }

    /// Whether nothing is wrong but that the run was told to end.
    pub fn is_interrupted(&self) -> bool {
        self.is_all(&|error| match error {
            Self::Interrupted { .. } => true,
            Self::Drain { source, .. } => matches!(source, DrainError::Interrupted),
            _ => false,
        })
    }

    /// The same, or that connections to libvirt were lost: Ctrl-C ends the ssh of those that go through one as well.
    pub fn is_cut_off(&self) -> bool {
        let lost = |error: &Self| matches!(error, Self::Machine { source: MachineError::Lost { .. }, .. });
        self.is_all(&|error| lost(error) || error.is_interrupted())
    }

    /// Whether all that went wrong is such: what failed first, and what failed when that was undone.
    fn is_all(&self, such: &dyn Fn(&Self) -> bool) -> bool {
        match self {
            Self::PutBack { cause, .. } | Self::GivenBack { cause, .. } | Self::CameBack { cause, .. } => {
                cause.is_all(such)
            }
            Self::NotPutBack { cause, source, .. }
            | Self::NotGivenBack { cause, source, .. }
            | Self::NotBack { cause, source, .. } => cause.is_all(such) && source.is_all(such),
            error => such(error),
        }
    }

    /// Whether a node did not come up, rather than that something around it failed.
    pub fn is_node_down(&self) -> bool {
        match self {
            Self::Stage { .. }
            | Self::Stopped { .. }
            | Self::Stalled { .. }
            | Self::NotPutBack { .. }
            | Self::NotGivenBack { .. }
            | Self::NotBack { .. } => true,
            Self::PutBack { cause, .. } | Self::GivenBack { cause, .. } | Self::CameBack { cause, .. } => {
                cause.is_node_down()
            }
            _ => false,
        }
    }
}

/// Carries plans out on one hypervisor for one cluster.
#[derive(Clone, Copy)]
pub struct Apply<'a> {
    /// Where the machines run.
    pub hypervisor: &'a dyn Hypervisor,
    /// Whose machines they are.
    pub id: &'a ClusterId,
    /// The cluster's nodes; without it a node is up when its kubelet is active.
    pub watch: Option<&'a Watch>,
    /// The cluster, for labels and taints of its nodes.
    pub cluster: Option<&'a Cluster>,
    /// How long is waited for a machine.
    pub patience: Patience,
    /// Whether the plug is pulled of a machine that is to be replaced and does not go off.
    pub force: bool,
    /// How nodes leave the cluster whose machines are replaced or removed.
    pub leaving: Leaving,
    /// The other hypervisors of the cluster, for nodes that go from one to another.
    pub others: &'a [(HypervisorName, &'a dyn Hypervisor)],
    /// Who is told.
    pub progress: &'a dyn Progress,
}

/// The file of an upload, which is hashed while it is sent unless it still looks as it did when it was verified.
fn open<'a>(upload: &Upload, progress: &'a dyn Progress) -> io::Result<Ending<'a>> {
    let file = Verified { file: File::open(&upload.file)?, digest: upload.spec.digest, stamp: upload.verified };
    Ok(Ending { file, progress })
}

/// An image that cannot be read any further once the run is told to end: its uploads end, and what had come of it is removed,
/// as after any failure.
struct Ending<'a> {
    file: Verified,
    progress: &'a dyn Progress,
}

impl Ending<'_> {
    fn still_wanted(&self) -> io::Result<&Verified> {
        if self.progress.is_ending() { Err(io::Error::other("interrupted")) } else { Ok(&self.file) }
    }
}

impl Image for Ending<'_> {
    fn size(&self) -> io::Result<u64> {
        self.file.size()
    }

    fn extent(&self, offset: u64) -> io::Result<Option<Range<u64>>> {
        self.still_wanted()?.extent(offset)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.still_wanted()?.read_at(buffer, offset)
    }

    fn known(&self) -> Option<Digest> {
        self.file.known()
    }
}

/// An image in words.
fn what(name: &VolumeName) -> String {
    match name {
        VolumeName::Base(_) => "base image".to_owned(),
        VolumeName::Payload(_) => "payload".to_owned(),
        name => name.owner().map_or_else(String::new, |(_, node)| format!("seed of {node}")),
    }
}

fn doing(action: impl Into<String>) -> impl FnOnce(MachineError) -> ApplyError {
    let action = action.into();
    move |source| ApplyError::Machine { action, source }
}

impl<'a> Apply<'a> {
    /// Without a cluster to ask, for what waits for nobody.
    pub fn new(hypervisor: &'a dyn Hypervisor, id: &'a ClusterId, progress: &'a dyn Progress) -> Self {
        let patience = Patience::of_silence(std::time::Duration::ZERO);
        Self {
            hypervisor,
            id,
            watch: None,
            cluster: None,
            patience,
            force: false,
            leaving: Leaving::default(),
            others: &[],
            progress,
        }
    }
}

/// Deletes a volume of ours; the bytes of a seed, which holds a node's key, are overwritten first.
pub fn delete_volume(
    hypervisor: &dyn Hypervisor,
    pool: &str,
    volume: &VolumeName,
    progress: &dyn Progress,
) -> Result<(), ApplyError> {
    if matches!(volume, VolumeName::Seed { .. })
        && let Err(error) = hypervisor.wipe_volume(pool, volume)
        && !matches!(error, MachineError::Missing { .. })
    {
        // Better gone with its bytes left on the host's disk than still there to be read.
        let why = crate::error::chain(&error);
        progress.warn(&format!("{volume} is removed without being overwritten: {why}"));
    }
    hypervisor.delete_volume(pool, volume).map_err(doing(format!("deleting volume {volume}")))
}

impl Apply<'_> {
    /// Fails where the run was told to end.
    fn go_on(&self, node: &NodeName) -> Result<(), ApplyError> {
        if self.progress.is_ending() { Err(ApplyError::Interrupted { node: Some(node.clone()) }) } else { Ok(()) }
    }

    /// Does one action that serves all nodes.
    pub fn shared(&self, action: &SharedAction) -> Result<(), ApplyError> {
        if self.progress.is_ending() {
            return Err(ApplyError::Interrupted { node: None });
        }
        let hypervisor = self.hypervisor;
        match action {
            SharedAction::CreateNetwork(spec) => {
                self.progress.note_shared("network", &format!("making {} ({})", spec.name, spec.cidr));
                hypervisor.create_network(spec).map(drop).map_err(doing(format!("making network {}", spec.name)))
            }
            SharedAction::StartNetwork(name) => {
                self.progress.note_shared("network", &format!("starting {name}"));
                hypervisor.start_network(name).map_err(doing(format!("starting network {name}")))
            }
            SharedAction::Reserve { network, gone, wanted } => {
                self.progress.note_shared("network", &format!("having {network} keep the nodes' addresses"));
                let kept = hypervisor.reserve(network, gone, wanted);
                kept.map_err(doing(format!("having network {network} keep the nodes' addresses")))
            }
            SharedAction::CreatePool(spec) => {
                self.progress.note_shared("pool", &format!("making {} ({})", spec.name, spec.path));
                hypervisor.create_pool(spec).map(drop).map_err(doing(format!("making pool {}", spec.name)))
            }
            SharedAction::StartPool(name) => {
                self.progress.note_shared("pool", &format!("starting {name}"));
                hypervisor.start_pool(name).map_err(doing(format!("starting pool {name}")))
            }
            SharedAction::Upload(upload) => self.upload(upload),
            SharedAction::Clear { node, pool, volumes } => {
                self.progress.note(&node.to_string(), "removing what a move left that was cut off");
                // No reason to keep anything else waiting.
                self.tell_failed(node, volumes.iter().try_for_each(|volume| self.delete(pool, volume)));
                Ok(())
            }
        }
    }

    fn upload(&self, upload: &Upload) -> Result<(), ApplyError> {
        let image =
            open(upload, self.progress).map_err(|source| ApplyError::Open { path: upload.file.clone(), source })?;
        let what = what(&upload.spec.name);
        let task = self.progress.task(&format!("upload {what}"), Some(upload.spec.size));
        let mut source = Reading::new(&image);
        let advance = |bytes| task.advance(bytes);
        match self.hypervisor.upload(&upload.pool, &upload.spec, &mut source, &advance) {
            Ok(_) => task.done(),
            Err(_) if self.progress.is_ending() => return Err(ApplyError::Interrupted { node: None }),
            Err(error) => return Err(doing(format!("uploading the {what}"))(error)),
        }
        Ok(())
    }

    /// Brings one node up, and waits until it is.
    pub fn node(&self, plan: &NodePlan) -> Result<Outcome, ApplyError> {
        self.go_on(&plan.node)?;
        self.bring_up(plan)
    }

    fn bring_up(&self, plan: &NodePlan) -> Result<Outcome, ApplyError> {
        let uuid = self.id.uuid(&plan.node);
        let later = if matches!(plan.step, Step::Start(_)) { "" } else { "; its file system grows at the next boot" };
        for growth in &plan.growth {
            let root = matches!(growth.volume, VolumeName::Root { .. });
            self.grow(&plan.node, &plan.pool, growth, if root { later } else { "" })?;
        }
        plan.strays.iter().try_for_each(|stray| self.delete(&plan.pool, stray))?;
        if plan.cordoned {
            self.stay(&plan.node);
        }
        match &plan.moving {
            Some(moving) if moving.is_back() => self.come_back(plan, moving)?,
            Some(moving) if moving.kept && matches!(plan.step, Step::Start(_) | Step::Finish(_)) => {
                self.keep_off(plan, moving)?;
            }
            _ => {}
        }
        match &plan.step {
            Step::Nothing => return self.give_metadata(plan).map(|()| Outcome::Registered),
            Step::Seal(_) => {
                let given = self.give_metadata(plan);
                self.seal(plan, uuid, &mut boot::Boot::new());
                return given.map(|()| Outcome::Registered);
            }
            Step::PutBack(_) => return self.go_back(plan),
            Step::Finish(_) => {}
            Step::Start(_) => {
                self.sign_off(&plan.node, self.recorded(&plan.node)?.as_ref())?;
                self.start(&plan.node, &plan.pool, uuid)?;
            }
            Step::Create(creation) => match (&plan.replacement, &plan.take_over, &plan.moving) {
                (Some(replacement), ..) => self.replace(plan, creation, replacement)?,
                (None, Some(take_over), _) => self.take_over(plan, creation, take_over)?,
                (None, None, Some(moving)) => self.make_there(plan, creation, moving)?,
                (None, None, None) => self.make(&plan.node, &plan.pool, creation)?,
            },
        }
        self.watch_boot(plan, uuid).map_err(|error| self.or_put_back(plan, error))
    }

    /// Makes a machine and starts it; what fails before it runs is undone.
    fn make(&self, node: &NodeName, pool: &str, creation: &Creation) -> Result<(), ApplyError> {
        let uuid = creation.domain.uuid;
        let started = self.create(node, pool, creation).and_then(|()| self.start(node, pool, uuid));
        if started.is_err() && self.is_off(uuid) {
            self.undo(node, pool, creation);
        }
        started
    }

    fn grow(&self, node: &NodeName, pool: &str, growth: &Growth, later: &str) -> Result<(), ApplyError> {
        self.progress.note(&node.to_string(), &format!("{growth}{later}"));
        let grown = self.hypervisor.grow(self.id.uuid(node), pool, &growth.volume, growth.to);
        grown.map_err(doing(format!("growing the disk of {node}")))
    }

    /// Gives the node's object the labels and taints that the cluster file asks for, where it lacks any.
    fn give_metadata(&self, plan: &NodePlan) -> Result<(), ApplyError> {
        let Some(cluster) = self.cluster.filter(|_| !plan.metadata.is_empty()) else { return Ok(()) };
        let failed = |source| ApplyError::Metadata { node: plan.node.clone(), source };
        if cluster.give(&plan.node, &plan.metadata).map_err(failed)? {
            self.progress.note(&plan.node.to_string(), "labels and taints set");
        }
        Ok(())
    }

    fn create(&self, node: &NodeName, pool: &str, creation: &Creation) -> Result<(), ApplyError> {
        let name = node.to_string();
        if let Some(reason) = &creation.reason {
            self.progress.note(&name, &format!("replacing its machine: {reason}"));
        }
        self.remove(node, &creation.removal)?;
        self.progress.note(&name, "making its machine");
        self.make_disks(pool, creation)?;
        self.define(creation, None, None)
    }

    /// Whether the machine is known not to run; where that cannot be told nothing may be undone.
    fn is_off(&self, uuid: uuid::Uuid) -> bool {
        let state = |domain: Option<crate::machine::DomainInfo>| domain.is_none_or(|domain| !domain.state.is_active());
        self.hypervisor.domain(uuid).is_ok_and(state)
    }

    /// What failed before it ran has told nothing worth keeping.
    fn undo(&self, node: &NodeName, pool: &str, creation: &Creation) {
        let left = Removal {
            domain: Some(creation.domain.uuid),
            volumes: vec![
                (pool.to_owned(), creation.overlay.name.clone()),
                (pool.to_owned(), creation.seed.spec.name.clone()),
            ],
            data: Vec::new(),
        };
        if let Err(error) = self.remove(node, &left) {
            self.progress.note(&node.to_string(), &format!("could not undo: {}", crate::error::chain(&error)));
        }
    }

    fn make_disks(&self, pool: &str, creation: &Creation) -> Result<(), ApplyError> {
        let name = &creation.domain.name;
        self.hypervisor
            .create_overlay(pool, &creation.overlay)
            .map_err(doing(format!("making the root disk of {name}")))?;
        for disk in &creation.data {
            match self.hypervisor.create_overlay(pool, disk) {
                // It outlasted the machine that it was made for.
                Ok(_) | Err(MachineError::Exists { .. }) => {}
                Err(error) => return Err(doing(format!("making a data disk of {name}"))(error)),
            }
        }
        self.upload(&creation.seed)
    }

    /// Defines the machine; `previous` is the definition of one whose place it takes, and `standing` what its node was.
    fn define(
        &self,
        creation: &Creation,
        previous: Option<&str>,
        standing: Option<&Standing>,
    ) -> Result<(), ApplyError> {
        let name = &creation.domain.name;
        let record = Record {
            parts: creation.parts.clone(),
            previous: previous.map(ToOwned::to_owned),
            standing: standing.map(Standing::to_record),
            moving: None,
        };
        let domain = self
            .hypervisor
            .define(&creation.domain.to_xml_with(&creation.mark, &record))
            .map_err(doing(format!("defining the machine of {name}")))?;
        let mark = Mark { stored: Some(domain.stored_digest()), ..creation.mark.clone() };
        self.hypervisor.set_mark(domain.uuid, &mark).map_err(doing(format!("marking the machine of {name}")))?;
        // The machine before, whose they may be too, is off: nobody has them open.
        let (node, pool) = (&creation.mark.node, &creation.seed.pool);
        creation.growth.iter().try_for_each(|growth| self.grow(node, pool, growth, ""))?;
        self.hypervisor.set_autostart(domain.uuid, true).map_err(doing(format!("setting autostart of {name}")))
    }

    fn start(&self, node: &NodeName, pool: &str, uuid: uuid::Uuid) -> Result<(), ApplyError> {
        self.start_after(node, pool, uuid, false)
    }

    /// Marked before it is started: a machine that is marked as being made has then never run, whatever was cut off. One that
    /// never came up, or that comes after `another`, takes nothing over from that one's firmware.
    fn start_after(&self, node: &NodeName, pool: &str, uuid: uuid::Uuid, another: bool) -> Result<(), ApplyError> {
        let mut fresh = another;
        self.keep_logs(node, pool);
        self.progress.note(&node.to_string(), "starting its machine");
        self.mark(node, uuid, |mark| {
            if !mark.state.came_up() {
                mark.state = MarkState::Started;
                fresh = true;
            }
            mark.boot_id = None;
            mark.stage = None;
        })?;
        self.hypervisor.start(uuid, fresh).map_err(doing(format!("starting the machine of {node}")))
    }

    /// Removes what is left of a node: the domain first, so that nothing uses the disks.
    pub fn remove(&self, node: &NodeName, removal: &Removal) -> Result<(), ApplyError> {
        if let Some(uuid) = removal.domain
            && self.hypervisor.domain(uuid).map_err(doing(format!("looking for the machine of {node}")))?.is_some()
        {
            self.hypervisor.destroy(uuid).map_err(doing(format!("stopping the machine of {node}")))?;
            self.hypervisor.undefine(uuid).map_err(doing(format!("removing the machine of {node}")))?;
        }
        for (pool, volume) in &removal.volumes {
            self.delete(pool, volume)?;
        }
        Ok(())
    }

    fn delete(&self, pool: &str, volume: &VolumeName) -> Result<(), ApplyError> {
        delete_volume(self.hypervisor, pool, volume, self.progress)
    }

    /// Changes the mark of a machine that is there.
    fn mark(&self, node: &NodeName, uuid: uuid::Uuid, change: impl FnOnce(&mut Mark)) -> Result<(), ApplyError> {
        let failed = || doing(format!("marking the machine of {node}"));
        let domain = self.hypervisor.domain(uuid).map_err(failed())?;
        let Some(old) = domain.and_then(|domain| domain.mark().cloned()) else { return Ok(()) };
        let mut mark = old.clone();
        change(&mut mark);
        if mark == old {
            return Ok(());
        }
        self.hypervisor.set_mark(uuid, &mark).map_err(failed())
    }

    /// Tail of a node's log, printable; empty where there is none.
    pub fn log_tail(&self, pool: &str, node: &NodeName, kind: LogKind, max: u64) -> String {
        let name = VolumeName::log(self.id, node, kind);
        let pool = log_pool(pool);
        let size = || {
            self.hypervisor.refresh_pool(&pool).ok()?;
            let volumes = self.hypervisor.volumes(&pool).ok()?;
            volumes.iter().find(|volume| volume.ours().as_ref() == Some(&name)).map(|volume| volume.capacity)
        };
        let start = size().unwrap_or(0).saturating_sub(max);
        let bytes = self.hypervisor.read_volume(&pool, &name, start, usize::try_from(max).unwrap_or(usize::MAX));
        crate::printable::text(&String::from_utf8_lossy(&bytes.unwrap_or_default()))
    }
}
