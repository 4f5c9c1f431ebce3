//! Every failure of the program with its exit code and hint.

use std::error::Error as StdError;
use std::io;
use std::path::PathBuf;

use crate::apply::{ApplyError, Goal};
use crate::artifacts::bundle::BundleError;
use crate::artifacts::catalog::CatalogError;
use crate::artifacts::fetch::FetchError;
use crate::artifacts::lock::LockError;
use crate::artifacts::release::ReleaseError;
use crate::artifacts::source::SourceError;
use crate::artifacts::store::StoreError;
use crate::build::BuildError;
use crate::cluster::{ClusterError, DrainError};
use crate::commands::{GcError, ImageError};
use crate::config::{self, ConfigError, EditError, HypervisorName, NodeName};
use crate::doctor::Finding;
use crate::identity::IdentityError;
use crate::image::inspect::InspectError;
use crate::machine::MachineError;
use crate::plan::{Blocked, Stuck};
use crate::verify::{Check, VerifyError};

/// How the program ends when it does not end with 0; the numbers are a promise (README, "Exit codes").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitCode {
    /// libvirt, input and output, anything unexpected.
    Unexpected = 1,
    /// Usage, cluster file, or what stands in the way of it.
    Configuration = 2,
    /// The lock is missing or stale.
    Lock = 3,
    /// Other bytes than the locked ones.
    Digest = 4,
    /// A node did not come up.
    NodeDown = 5,
    /// `plan` has something to do; no error.
    Pending = 6,
    /// A certificate is near its end, or past it; no error.
    Expiring = 7,
}

/// Any failure of a verb.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is one module's failure, documented there")]
pub enum Error {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The lock is missing or stale, and nothing can be asked for that could mend it.
    #[error(transparent)]
    LockOffline(LockError),
    #[error(transparent)]
    Release(#[from] ReleaseError),
    #[error(transparent)]
    Edit(#[from] EditError),
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error(transparent)]
    Gc(#[from] GcError),
    #[error(transparent)]
    Image(#[from] ImageError),
    #[error(transparent)]
    Bundle(#[from] BundleError),
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error(transparent)]
    Build(#[from] BuildError),
    #[error(transparent)]
    Machine(#[from] MachineError),
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    #[error(transparent)]
    Blocked(#[from] Blocked),
    #[error(transparent)]
    Apply(#[from] ApplyError),
    #[error(transparent)]
    Verify(#[from] VerifyError),
    #[error(transparent)]
    Inspect(#[from] InspectError),
    /// What is there is not what it should be; at least one thing.
    #[error("{} things differ", .0.len())]
    Differs(Vec<Check>),
    /// Some nodes did not come up; at least one.
    #[error("{} of the nodes did not come up", .0.len())]
    Nodes(Vec<ApplyError>),
    /// What nodes would not come up with; at least one finding.
    #[error("{} things stand in the way", .0.len())]
    Unfit(Vec<Finding>),
    /// What was found cannot be told as JSON.
    #[error("writing JSON")]
    Json(#[source] serde_json::Error),
    /// What was found cannot be told as YAML.
    #[error("writing YAML")]
    Yaml(#[source] serde_yaml::Error),
    /// A file of ours cannot be written or read.
    #[error("{action} {}", path.display())]
    File { action: &'static str, path: PathBuf, source: io::Error },
    /// `init` would overwrite a file.
    #[error("{} is there already", path.display())]
    Exists { path: PathBuf },
    /// A node that the cluster file does not name.
    #[error("the cluster file has no node {node}{}", suggestion.as_ref().map(|s| format!("; did you mean {s}?")).unwrap_or_default())]
    UnknownNode { node: String, suggestion: Option<String> },
    /// A file that a node's seed does not hold.
    #[error("the seed of {node} has no {path}; did you mean {nearest}?")]
    UnknownFile { node: NodeName, path: String, nearest: String },
    /// A field that no node has.
    #[error("nodes have no field {field:?}{}", suggestion.map(|s| format!("; did you mean {s}?")).unwrap_or_default())]
    UnknownField { field: String, suggestion: Option<&'static str> },
    /// A time for images that is none, or none that an image can record.
    #[error("SOURCE_DATE_EPOCH is {text:?}; it must be seconds since 1970, up to the end of 2155")]
    SourceDate { text: String },
    /// A group that no node is of.
    #[error("no node is of group {group:?}{}", meant(group, groups))]
    UnknownGroup { group: String, groups: Vec<String> },
    /// Another run is at work on this cluster.
    #[error("another nodebake is changing machines of this cluster{}", by.as_ref().map(|by| format!(" ({by})")).unwrap_or_default())]
    Running { by: Option<String> },
    /// Something would be lost and nobody can be asked.
    #[error("this needs your consent, and there is no terminal to ask on")]
    NoConsent,
    /// Only the cluster could tell.
    #[error("the cluster file names no kubeconfig, so that nobody can be asked whether nodes are {goal}")]
    NobodyToAsk { goal: Goal },
    /// Somebody must sit at a console.
    #[error("a console needs a terminal, and standard input is none")]
    NoTerminal,
    /// The terminal cannot be used as a console needs it.
    #[error("setting up the terminal")]
    Terminal(#[source] io::Error),
    /// The session on a console was ended by somebody else, while the machine runs on.
    #[error("the console of {node} was closed: another session took it over, or libvirtd ended")]
    ConsoleClosed { node: NodeName },
    /// A domain's name for more nodes than one.
    #[error("--domain names the machine of one node, and {nodes} are asked for")]
    OneDomain { nodes: usize },
    /// Hypervisors of the cluster file that do not answer, each with the reason, and the nodes that may be there.
    #[error(
        "{}{}",
        away.iter().map(|(name, why)| format!("hypervisor {name}: {why}")).collect::<Vec<_>>().join("; "),
        listed("; nothing is known of", nodes)
    )]
    Away { away: Vec<(HypervisorName, String)>, nodes: Vec<NodeName> },
    /// The nodes of several hypervisors are on networks that do not meet, each with the reason.
    #[error(
        "the nodes of several hypervisors would not reach each other: {}",
        networks.iter().map(|(name, why)| format!("at {name} {why}")).collect::<Vec<_>>().join("; ")
    )]
    Apart { networks: Vec<(HypervisorName, String)> },
    /// Nodes of a group that may not share hypervisors, for which none is left.
    #[error("no hypervisor is left{}: each has a node of their group, and may not have two", listed(" for", nodes))]
    Crowded { nodes: Vec<NodeName> },
    /// A hypervisor that the cluster file does not name.
    #[error("the cluster file has no hypervisor {name}{}", meant(&name.to_string(), known))]
    UnknownHypervisor { name: HypervisorName, known: Vec<HypervisorName> },
    /// A hypervisor that all nodes were to leave still has some of them.
    #[error("{hypervisor} still has {}", left.join(", "))]
    StillThere { hypervisor: HypervisorName, left: Vec<String> },
    /// Nodes that were to go to a hypervisor, and whose earlier way there was given up first.
    #[error("{} did not go to {to}: an earlier machine there had not come up, and was given up first", nodes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))]
    NotThere { nodes: Vec<NodeName>, to: HypervisorName },
    /// A node cannot go to another hypervisor.
    #[error(transparent)]
    Stuck(#[from] Stuck),
    /// The user said no.
    #[error("nothing was done")]
    Declined,
}

impl Error {
    /// The exit code of the program.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Config(_)
            | Self::Unfit(_)
            | Self::Catalog(_)
            | Self::Edit(_)
            | Self::Blocked(_)
            | Self::Exists { .. }
            | Self::UnknownNode { .. }
            | Self::UnknownGroup { .. }
            | Self::UnknownFile { .. }
            | Self::UnknownField { .. }
            | Self::NoConsent
            | Self::OneDomain { .. }
            | Self::SourceDate { .. }
            | Self::Cluster(ClusterError::NoKubeconfig { .. } | ClusterError::Kubeconfig { .. })
            | Self::NoTerminal
            | Self::NobodyToAsk { .. }
            | Self::Crowded { .. }
            | Self::UnknownHypervisor { .. }
            | Self::Stuck(_)
            | Self::Apart { .. }
            | Self::Machine(
                MachineError::BadUri { .. }
                | MachineError::NoKvm { .. }
                | MachineError::Inactive { .. }
                | MachineError::ConsoleTaken { .. },
            ) => ExitCode::Configuration,
            Self::Source(error) if error.is_setting() => ExitCode::Configuration,
            Self::Lock(error) | Self::LockOffline(error) if error.is_about_the_lock() => ExitCode::Lock,
            Self::Lock(error) if error.is_mismatch() => ExitCode::Digest,
            Self::Lock(error) if error.is_about_the_cluster_file() => ExitCode::Configuration,
            Self::Fetch(error) if error.is_mismatch() => ExitCode::Digest,
            Self::Bundle(error) => error.exit_code(),
            Self::Identity(error) if !error.is_unexpected() => ExitCode::Configuration,
            Self::Build(error) => error.exit_code(),
            Self::Gc(error) => error.exit_code(),
            Self::Image(error) => error.exit_code(),
            Self::Apply(error) => apply_code(error),
            Self::Verify(error) => error.exit_code(),
            Self::Inspect(error) => error.exit_code(),
            Self::Differs(_) => ExitCode::Digest,
            Self::Nodes(errors) if errors.iter().any(ApplyError::is_node_down) => ExitCode::NodeDown,
            Self::Nodes(errors) => errors.first().map_or(ExitCode::Unexpected, apply_code),
            _ => ExitCode::Unexpected,
        }
    }

    /// What the user can do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Config(error) => error.hint(),
            Self::Catalog(error) => error.hint(),
            Self::LockOffline(LockError::Absent { .. } | LockError::Stale { .. }) => Some(
                "run `nodebake lock` without --offline where upstream or a mirror can be reached, or `nodebake bundle import \
                 FILE`"
                    .to_owned(),
            ),
            Self::Lock(error) | Self::LockOffline(error) => error.hint(),
            Self::Release(error) => error.hint(),
            Self::Edit(error) => error.hint(),
            Self::Source(error) => error.hint(),
            Self::Store(error) => error.hint(),
            Self::Fetch(error) => error.hint(),
            Self::Gc(error) => error.hint(),
            Self::Image(error) => error.hint(),
            Self::Bundle(error) => error.hint(),
            Self::Identity(error) => error.hint(),
            Self::Build(error) => error.hint(),
            Self::Machine(error) => error.hint(),
            Self::Cluster(error) if error.has_several_causes() => {
                error.hint().map(|hint| format!("{hint}; `nodebake doctor` looks at each"))
            }
            Self::Cluster(error) => error.hint(),
            Self::Blocked(error) => error.hint(),
            Self::Apply(error) => error.hint(),
            Self::Verify(error) => error.hint(),
            Self::Inspect(error) => error.hint(),
            Self::Exists { .. } => Some(
                "nothing of yours is overwritten: remove it, or name another file (init: --config FILE, kubeconfig: --out FILE)"
                    .to_owned(),
            ),
            Self::UnknownNode { .. } => Some("`nodebake hosts` lists the nodes".to_owned()),
            Self::UnknownFile { node, .. } => Some(format!("`nodebake render {node}` lists what there is")),
            Self::UnknownField { .. } => {
                Some(format!("`nodebake explain NODE` lists all that are set; there are {}", config::fields().join(", ")))
            }
            Self::UnknownGroup { groups, .. } if groups.is_empty() => {
                Some("groups are made under groups: in the cluster file; `group:` of a node names its own".to_owned())
            }
            Self::UnknownGroup { groups, .. } => Some(format!("there are nodes of {}", groups.join(", "))),
            Self::Running { .. } => Some("wait for it to end, then run the command again".to_owned()),
            Self::NoConsent => Some("add --yes".to_owned()),
            Self::Away { nodes, .. } if nodes.is_empty() => None,
            Self::Away { .. } => Some("see to it, and run the command again: it does what is left".to_owned()),
            Self::Apart { .. } => Some(
                "have the nodes on a bridge or a routed network (bridge: or network: of each hypervisor); where something else \
                 joins these, say network.apart: true"
                    .to_owned(),
            ),
            Self::Crowded { .. } => Some(
                "add a hypervisor, remove a node of the group, or leave antiAffinity out".to_owned(),
            ),
            Self::UnknownHypervisor { known, .. } if known.is_empty() => {
                Some("hypervisors: in the cluster file, in the place of libvirt:, names several".to_owned())
            }
            Self::UnknownHypervisor { known, .. } => {
                let known: Vec<_> = known.iter().map(ToString::to_string).collect();
                Some(format!("there are {}", known.join(", ")))
            }
            Self::StillThere { .. } => Some(
                "run the command again; `nodebake remove --gone` removes machines of nodes that the cluster file names no more"
                    .to_owned(),
            ),
            Self::NotThere { .. } => Some("run the command again: it begins anew".to_owned()),
            Self::Stuck(stuck) => Some(stuck.hint().to_owned()),
            Self::OneDomain { .. } => Some("take nodes over one by one where their domains have other names".to_owned()),
            Self::NobodyToAsk { .. } => Some(
                "set cluster.kubeconfig (`nodebake kubeconfig` makes one), or wait with --for stage=kubelet-active"
                    .to_owned(),
            ),
            Self::NoTerminal => Some("`nodebake logs -f NODE` shows what a console shows".to_owned()),
            Self::ConsoleClosed { node } => Some(format!("`nodebake console {node} --force` takes it over again")),
            Self::SourceDate { .. } => {
                Some("unset it, and everything in the images is of 2000-01-01 00:00:00 UTC".to_owned())
            }
            Self::File { action: "creating", path, source } if source.kind() == io::ErrorKind::NotFound => {
                path.parent().map(|folder| format!("make the folder first: mkdir -p {}", folder.display()))
            }
            Self::Differs(_)
            | Self::Unfit(_)
            | Self::Nodes(_)
            | Self::File { .. }
            | Self::Json(_)
            | Self::Yaml(_)
            | Self::Terminal(_)
            | Self::Declined => None,
        }
    }
}

/// The known name that was probably meant, as the end of a sentence.
pub(crate) fn meant(name: &str, known: &[impl ToString]) -> String {
    let known: Vec<_> = known.iter().map(ToString::to_string).collect();
    let known: Vec<_> = known.iter().map(String::as_str).collect();
    config::nearest(name, &known).map(|meant| format!("; did you mean {meant}?")).unwrap_or_default()
}

fn listed(before: &str, nodes: &[NodeName]) -> String {
    let names: Vec<_> = nodes.iter().map(ToString::to_string).collect();
    if names.is_empty() { String::new() } else { format!("{before} {}", names.join(", ")) }
}

fn apply_code(error: &ApplyError) -> ExitCode {
    match error {
        ApplyError::Machine { source: MachineError::Digest { .. } | MachineError::Size { .. }, .. } => ExitCode::Digest,
        // Only the user can say what may be lost.
        ApplyError::Drain { source: DrainError::Obstacles { .. }, .. } => ExitCode::Configuration,
        error if error.is_node_down() => ExitCode::NodeDown,
        _ => ExitCode::Unexpected,
    }
}

/// `error` and its sources, joined by ": "; no source repeats in the text of what it caused.
pub fn chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}
