//! The command line: types only.

use std::path::PathBuf;

use clap::{ArgAction, ArgGroup, Args, Parser, Subcommand, ValueEnum, ValueHint};

use crate::apply::Goal;
use crate::config::{HypervisorName, NodeName};

/// Heading of what every verb takes.
const EVERYWHERE: &str = "Everywhere";

/// Heading of how pods leave.
const PODS: &str = "Pods of nodes in the cluster";

/// Bakes Kubernetes workers for libvirt into images that register themselves on first boot.
#[derive(Debug, Parser)]
#[command(name = "nodebake", version, max_term_width = 100, arg_required_else_help = true)]
#[command(after_help = "Begin:
  nodebake init && nodebake lock && nodebake kubeconfig && nodebake doctor && nodebake up")]
pub struct Cli {
    /// The cluster file; nodebake.lock and .nodebake/ stand beside it.
    #[arg(long, global = true, help_heading = EVERYWHERE, value_name = "FILE", default_value = "nodebake.yaml")]
    pub config: PathBuf,
    /// Download from here: http(s) bases or folders that hold each upstream URL under HOST/PATH, asked in this order.
    #[arg(long, global = true, help_heading = EVERYWHERE, value_name = "BASE|DIR")]
    #[arg(env = "NODEBAKE_MIRROR", value_delimiter = ',')]
    pub mirror: Vec<String>,
    /// Give a download up, and try it again, after this many seconds without a byte.
    #[arg(long, global = true, help_heading = EVERYWHERE, value_name = "SECONDS")]
    #[arg(env = "NODEBAKE_DOWNLOAD_STALL", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=86400))]
    pub download_stall: u64,
    /// Folder of the download cache [default: ~/.cache/nodebake].
    #[arg(long, global = true, help_heading = EVERYWHERE, value_name = "DIR")]
    #[arg(env = "NODEBAKE_CACHE_DIR", value_hint = ValueHint::DirPath)]
    pub cache_dir: Option<PathBuf>,
    /// Download nothing: what is not in the cache is an error.
    #[arg(long, global = true, help_heading = EVERYWHERE)]
    pub offline: bool,
    /// What is said beside the data.
    #[command(flatten)]
    pub talk: Talk,
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// What is said on stderr, where stdout has the data alone.
#[derive(Debug, Clone, Copy, Default, Args)]
pub struct Talk {
    /// Say nothing but warnings and errors.
    #[arg(short, long, global = true, help_heading = EVERYWHERE, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Tell what goes on inside as well; twice tells more.
    #[arg(short, long, global = true, help_heading = EVERYWHERE, action = ArgAction::Count)]
    pub verbose: u8,
    /// How that is written on stderr; as JSON nothing is asked.
    #[arg(long, global = true, help_heading = EVERYWHERE, value_name = "FORMAT")]
    #[arg(value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
}

/// How messages are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line, with time, level and message; docs/output.md has its fields.
    Json,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Write a commented cluster file to start from.
    Init(Init),
    /// Write nodebake.lock: url, size and digest of every input, from upstream's checksum files, whose signatures are
    /// checked; what is locked and fits stays as it is.
    #[command(after_help = "Examples:
  nodebake lock
  nodebake lock --check
  nodebake lock --update")]
    Lock(Lock),
    /// Download what is locked into the cache; with `kubectl`, also put that program into OUT.
    #[command(after_help = "Examples:
  nodebake fetch
  nodebake fetch kubectl")]
    Fetch(Fetch),
    /// Carry all that is locked to a machine without a network, as one file.
    Bundle(Bundle),
    /// Make the payload and the seeds of nodes; what is there and right is left alone.
    ///
    /// Everything in them is of 2000-01-01 00:00:00 UTC, or of `SOURCE_DATE_EPOCH` (seconds since 1970) where that is set.
    #[command(after_help = "Examples:
  nodebake build worker-node-1
  nodebake build --all
  nodebake build --self-contained worker-node-1")]
    Build(Build),
    /// Print what goes into a node's seed: the list of its files, or one of them.
    #[command(after_help = "Examples:
  nodebake render worker-node-1
  nodebake render worker-node-1 /etc/containerd/config.toml
  nodebake render worker-node-1 user-data --show-secrets")]
    Render(Render),
    /// Make every image once more and compare: the cache, what is built, and the machines.
    #[command(after_help = "Examples:
  nodebake verify
  nodebake verify worker-node-1
  nodebake verify --images")]
    Verify(Verify),
    /// Show what is in an image, ours or another's: it is only read, and no cluster file is needed.
    #[command(after_help = "Examples:
  nodebake inspect build/worker-node-1/seed.iso
  nodebake inspect build/worker-node-1/seed.iso /meta-data
  nodebake inspect --digest debian.iso")]
    Inspect(Inspect),
    /// Show what `up`, `rebuild` and `remove` have to do, and why; exit with 6 if there is anything. Nothing is written.
    #[command(after_help = "Examples:
  nodebake plan
  nodebake plan -g large
  nodebake plan worker-node-1 -o json")]
    Plan(Plan),
    /// Look for what could keep nodes from coming up, and say how to mend it; exit with 2 if anything does.
    #[command(after_help = "Examples:
  nodebake doctor
  nodebake doctor worker-node-1
  nodebake doctor --fix")]
    Doctor(Doctor),
    /// Build, then create and start what is missing, and wait until the nodes are in the cluster.
    #[command(after_help = "Examples:
  nodebake up
  nodebake up worker-node-1 worker-node-2
  nodebake up -g large --parallel 2")]
    Up(Up),
    /// Boot machines that are there, and wait until they are in the cluster; nothing is built.
    #[command(after_help = "Examples:
  nodebake start
  nodebake start -g large")]
    Start(Start),
    /// Press the power button of machines, and wait until they are off.
    #[command(after_help = "Examples:
  nodebake stop worker-node-1
  nodebake stop -g large --force")]
    Stop(Stop),
    /// Stop machines and start them again.
    #[command(after_help = "Examples:
  nodebake restart worker-node-1
  nodebake restart -g large --force")]
    Restart(Stop),
    /// Wait until machines are where they should be, whoever brings them there.
    #[command(after_help = "Examples:
  nodebake wait
  nodebake wait --for ready -g large
  nodebake wait --for stage=kubelet-active worker-node-1")]
    Wait(WaitFor),
    /// Show the machines of this cluster, how they differ from what was built, and where their secrets lie; exit with 7 if the
    /// certificate of one is near its end.
    #[command(after_help = "Examples:
  nodebake status
  nodebake status worker-node-1
  nodebake status -o wide --watch")]
    Status(Status),
    /// Replace machines by new ones of the same name, UUID, MAC and address, there or at another hypervisor.
    #[command(after_help = "Examples:
  nodebake rebuild worker-node-1
  nodebake rebuild --all --max-unavailable 2 --yes
  nodebake rebuild worker-node-1 --take-over --domain old-name
  nodebake rebuild worker-node-1 --to host-b")]
    Rebuild(Rebuild),
    /// Have all nodes leave a hypervisor, one after the other: each is drained, and made anew at another one.
    #[command(after_help = "Examples:
  nodebake evacuate host-a
  nodebake evacuate host-a --max-unavailable 2 --leave-data --yes")]
    Evacuate(Evacuate),
    /// Remove machines with their disks: nothing is drained, and their plugs are pulled; base images, payloads, pools, networks
    /// and data disks stay.
    #[command(after_help = "Examples:
  nodebake down
  nodebake down worker-node-1
  nodebake down --with-data --yes")]
    Down(Down),
    /// Remove the machines of single nodes with their disks and logs, also of nodes that the cluster file no longer names.
    #[command(after_help = "Examples:
  nodebake remove worker-node-3
  nodebake remove --gone --yes
  nodebake remove worker-node-1 --taken-over")]
    Remove(Remove),
    /// Show the settings of a node, and which layer of the cluster file gave each.
    #[command(after_help = "Examples:
  nodebake explain worker-node-1
  nodebake explain worker-node-1 kubelet.config.maxPods")]
    Explain(Explain),
    /// Sit at a running machine's serial console; Ctrl-] leaves.
    #[command(after_help = "Examples:
  nodebake console worker-node-1
  nodebake console worker-node-1 --force")]
    Console(Console),
    /// Show what a machine reported of its boots, and its console.
    #[command(after_help = "Examples:
  nodebake logs worker-node-1
  nodebake logs worker-node-1 --previous
  nodebake logs worker-node-1 --follow --tail 20")]
    Logs(Logs),
    /// Make a golden image: a base image that holds the payload and its packages already, by booting one machine once.
    #[command(after_help = "Examples:
  nodebake image default
  nodebake image large --stall 900")]
    Image(Image),
    /// Remove from the cache what no lock and no machine of any cluster needs, and from the pool what no machine uses.
    #[command(after_help = "Examples:
  nodebake gc --dry-run
  nodebake gc
  nodebake gc --forget /srv/old/nodebake.yaml")]
    Gc(Gc),
    /// Look after certificates and keys: list them, renew them, have them signed elsewhere.
    Identity(Identity),
    /// Write a kubeconfig for the administrator, signed by the cluster's CA.
    #[command(after_help = "Examples:
  nodebake kubeconfig
  nodebake kubeconfig --out ~/.kube/seed")]
    Kubeconfig(KubeconfigArgs),
    /// Print the lines that /etc/hosts of the control plane needs for the nodes.
    #[command(after_help = "Examples:
  nodebake hosts
  nodebake hosts -g large")]
    Hosts(Hosts),
    /// Print a JSON Schema (draft 2020-12) of the cluster file, by which editors complete and check it; no cluster file is
    /// needed.
    Schema,
    /// Print what a shell completes this command line with; no cluster file is needed.
    ///
    /// Of bash, for yourself: nodebake completions bash > ~/.local/share/bash-completion/completions/nodebake
    Completions(Completions),
}

/// Arguments of `init`.
#[derive(Debug, Clone, Copy, Args)]
pub struct Init {
    /// What is printed of it.
    #[command(flatten)]
    pub report: Report,
}

/// Arguments of `lock`.
#[derive(Debug, Clone, Copy, Args)]
pub struct Lock {
    /// Move to the newest patch release of each version in the cluster file, which is changed too, and to the newest base
    /// image.
    #[arg(long, conflicts_with_all = ["check", "offline"])]
    pub update: bool,
    /// Change nothing and ask nobody: exit with 3 and every difference where lock and cluster file do not fit.
    #[arg(long)]
    pub check: bool,
    /// What is printed of it.
    #[command(flatten)]
    pub report: Report,
}

/// Arguments of `fetch`.
#[derive(Debug, Args)]
pub struct Fetch {
    /// Only this one.
    #[arg(value_parser = ["kubectl"])]
    pub artifact: Option<String>,
    /// Where images are written.
    #[command(flatten)]
    pub out: Out,
    /// What is printed of it.
    #[command(flatten)]
    pub report: Report,
}

/// Arguments of `bundle`.
#[derive(Debug, Args)]
pub struct Bundle {
    /// What to do with it.
    #[command(subcommand)]
    pub verb: BundleVerb,
}

/// The verbs of `bundle`.
#[derive(Debug, Subcommand)]
pub enum BundleVerb {
    /// Write the lock and every file that it locks to FILE; the same lock gives the same bytes.
    #[command(after_help = "Examples:
  nodebake bundle export lab.tar
  nodebake bundle export - | ssh host-b nodebake bundle import -")]
    Export(BundleExport),
    /// Verify FILE and fill the cache from it; its lock goes beside the cluster file.
    #[command(after_help = "Examples:
  nodebake bundle import lab.tar
  nodebake bundle import lab.tar --replace-lock")]
    Import(BundleImport),
}

/// Arguments of `bundle export`.
#[derive(Debug, Args)]
pub struct BundleExport {
    /// The file to write, a tar archive; - is standard output.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// What is printed of it.
    #[command(flatten)]
    pub report: Report,
}

/// Arguments of `bundle import`.
#[derive(Debug, Args)]
pub struct BundleImport {
    /// The file to read; - is standard input.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Take the bundle's lock in place of another one beside the cluster file.
    #[arg(long)]
    pub replace_lock: bool,
    /// What is printed of it.
    #[command(flatten)]
    pub report: Report,
}

/// Where images are written.
#[derive(Debug, Clone, Args)]
pub struct Out {
    /// Folder for what is made.
    #[arg(long = "out", value_name = "DIR", default_value = "build", value_hint = ValueHint::DirPath)]
    pub dir: PathBuf,
}

/// Arguments of `build`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("selection").args(["nodes", "all"]).required(true))]
pub struct Build {
    /// Which nodes.
    #[arg(value_name = "NODE")]
    pub nodes: Vec<NodeName>,
    /// Every node of the cluster file.
    #[arg(long)]
    pub all: bool,
    /// One image for each node that holds its payload too, for machines that take a single drive.
    #[arg(long)]
    pub self_contained: bool,
    /// Where images are written.
    #[command(flatten)]
    pub out: Out,
    /// What is printed of it.
    #[command(flatten)]
    pub report: Report,
}

/// Arguments of `render`.
#[derive(Debug, Args)]
pub struct Render {
    /// Which node.
    #[arg(value_name = "NODE")]
    pub node: NodeName,
    /// A path in the guest, or user-data, vendor-data, meta-data, network-config or first-boot [default: list them].
    #[arg(value_name = "PATH")]
    pub path: Option<String>,
    /// Print secrets as they are, not only how long they are.
    #[arg(long)]
    pub show_secrets: bool,
    /// Where the payload is looked for.
    #[command(flatten)]
    pub out: Out,
    /// What is printed of it.
    #[command(flatten)]
    pub report: Report,
}

/// Arguments of `verify`.
#[derive(Debug, Args)]
pub struct Verify {
    /// Which nodes.
    #[command(flatten)]
    pub which: Which,
    /// Look at images alone: libvirt is not asked.
    #[arg(long)]
    pub images: bool,
    /// Where images are written.
    #[command(flatten)]
    pub out: Out,
    /// What is printed of it.
    #[command(flatten)]
    pub report: Report,
}

/// Arguments of `inspect`.
#[derive(Debug, Args)]
pub struct Inspect {
    /// A payload, a seed, or anybody's ISO 9660 image.
    #[arg(value_name = "IMAGE")]
    pub image: PathBuf,
    /// A file in it, which is printed as it is; of a folder, what is beneath it is listed.
    #[arg(value_name = "PATH")]
    pub path: Option<String>,
    /// Show SHA-256 digests: of the image and of the files in it, or of the file at PATH.
    #[arg(long)]
    pub digest: bool,
    /// Show keys, kubeconfigs, user-data and whatever its owner alone may read, which is "(secret)" else.
    #[arg(long)]
    pub show_secrets: bool,
    /// What is printed of it.
    #[command(flatten)]
    pub report: Report,
}

/// How many machines are worked on, and how long they are waited for.
#[derive(Debug, Clone, Copy, Args)]
pub struct Pace {
    /// Work on at most so many machines at the same time.
    #[arg(long, value_name = "N", default_value_t = 8)]
    #[arg(value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=256))]
    pub parallel: usize,
    /// How long to wait.
    #[command(flatten)]
    pub wait: Wait,
}

/// How long to wait for a silent machine.
#[derive(Debug, Clone, Copy, Args)]
pub struct Wait {
    /// Give a machine up after this many seconds without any sign of life.
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    pub stall: u64,
}

/// How data is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Table,
    /// JSON (RFC 8259).
    Json,
    /// YAML 1.2.
    Yaml,
}

/// What a verb prints on stdout.
#[derive(Debug, Clone, Copy, Args)]
pub struct Report {
    /// How what came of it is printed; docs/output.md has the fields.
    #[arg(short = 'o', long, value_enum, default_value_t = Format::Table)]
    pub output: Format,
}

/// Nodes by their names and groups.
#[derive(Debug, Clone, Default, Args)]
pub struct Which {
    /// Which nodes [default: all].
    #[arg(value_name = "NODE")]
    pub nodes: Vec<NodeName>,
    /// The nodes of this group as well; may be given several times.
    #[arg(short = 'g', long = "group", value_name = "GROUP")]
    pub groups: Vec<String>,
}

/// Help of [`Which::nodes`] where some must be named.
const NAMED: &str = "Which nodes";

/// The same of `down`.
const ALL_THERE: &str = "Which nodes [default: all of this cluster, also those that the cluster file no longer names]";

/// Help of [`Wait::stall`] where nobody waits for a sign of life.
const LAST_STALL: &str =
    "Pull the plug of a machine that is silent for this many seconds after its power button was pressed";

impl Which {
    /// Whether none is named, which stands for all.
    pub fn is_all(&self) -> bool {
        self.nodes.is_empty() && self.groups.is_empty()
    }
}

/// How `status` and `identity list` are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum StatusFormat {
    /// For people.
    Table,
    /// The same with more columns.
    Wide,
    /// JSON (RFC 8259): everything.
    Json,
    /// YAML 1.2: everything.
    Yaml,
}

impl From<StatusFormat> for Format {
    fn from(format: StatusFormat) -> Self {
        match format {
            StatusFormat::Table | StatusFormat::Wide => Self::Table,
            StatusFormat::Json => Self::Json,
            StatusFormat::Yaml => Self::Yaml,
        }
    }
}

/// Arguments of `plan`.
#[derive(Debug, Args)]
pub struct Plan {
    /// Which nodes; without any, also what is left of nodes that the cluster file no longer names.
    #[command(flatten)]
    pub which: Which,
    /// What is printed of it.
    #[command(flatten)]
    pub report: Report,
    /// Where images are written.
    #[command(flatten)]
    pub out: Out,
}

/// Arguments of `hosts`.
#[derive(Debug, Args)]
pub struct Hosts {
    /// Which nodes.
    #[command(flatten)]
    pub which: Which,
    /// What is printed of it.
    #[command(flatten)]
    pub report: Report,
}

/// Arguments of `doctor`.
#[derive(Debug, Args)]
pub struct Doctor {
    /// Which nodes.
    #[command(flatten)]
    pub which: Which,
    /// Mend what `up` would mend anyway: start networks and pools, have ours start with their host; and take a kubeconfig of
    /// yours away from others (mode 0600). All else is left to you.
    #[arg(long)]
    pub fix: bool,
    /// What is printed of it.
    #[command(flatten)]
    pub report: Report,
    /// Where images are written.
    #[command(flatten)]
    pub out: Out,
}

/// Arguments of `up`.
#[derive(Debug, Args)]
pub struct Up {
    /// Which nodes.
    #[command(flatten)]
    pub which: Which,
    /// Where images are written.
    #[command(flatten)]
    pub out: Out,
    /// How many at once, and how long to wait.
    #[command(flatten)]
    pub pace: Pace,
    /// What is printed of it.
    #[command(flatten)]
    pub report: Report,
}

/// Arguments of `start`.
#[derive(Debug, Args)]
pub struct Start {
    /// Which nodes.
    #[command(flatten)]
    pub which: Which,
    /// How many at once, and how long to wait.
    #[command(flatten)]
    pub pace: Pace,
    /// What is printed of it.
    #[command(flatten)]
    pub report: Report,
}

/// Arguments of `wait`.
#[derive(Debug, Args)]
pub struct WaitFor {
    /// Which nodes.
    #[command(flatten)]
    pub which: Which,
    /// What to wait for: registered (in the cluster), ready, off, or stage=STAGE, such as stage=kubelet-active.
    #[arg(long = "for", value_name = "CONDITION", default_value = "registered")]
    pub goal: Goal,
    /// How long to wait.
    #[command(flatten)]
    pub wait: Wait,
    /// What is printed of it.
    #[command(flatten)]
    pub report: Report,
}

/// Arguments of `stop` and `restart`.
#[derive(Debug, Args)]
pub struct Stop {
    /// Which nodes.
    #[command(flatten)]
    pub which: Which,
    /// Pull the plug of those that do not go off; what their guests have not written yet is lost.
    #[arg(long)]
    pub force: bool,
    /// How many at once, and how long to wait.
    #[command(flatten)]
    pub pace: Pace,
    /// What is printed of it.
    #[command(flatten)]
    pub report: Report,
}

/// Arguments of `status`.
#[derive(Debug, Args)]
pub struct Status {
    /// Which nodes: of those all that is known, else a line for each machine.
    #[command(flatten)]
    pub which: Which,
    /// How it is printed.
    #[arg(short = 'o', long, value_enum, default_value_t = StatusFormat::Table)]
    pub output: StatusFormat,
    /// Go on, and show it again whenever something has changed; with json, a line for each time.
    #[arg(short = 'w', long)]
    pub watch: bool,
    /// Where images are written.
    #[command(flatten)]
    pub out: Out,
}

/// Arguments of `rebuild`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("selection").args(["nodes", "groups", "all"]).required(true).multiple(true))]
#[command(mut_arg("nodes", |arg| arg.help(NAMED)))]
pub struct Rebuild {
    /// Which nodes.
    #[command(flatten)]
    pub which: Which,
    /// Every node of the cluster file that differs from it.
    #[arg(long, conflicts_with_all = ["nodes", "groups"])]
    pub all: bool,
    /// With --all and -g, also nodes that are as the cluster file asks.
    #[arg(long)]
    pub same: bool,
    /// Where images are written.
    #[command(flatten)]
    pub out: Out,
    /// Take machines over that were made by hand under the nodes' names and addresses: each is drained, stopped and kept, and
    /// gets its place back where the new machine does not come up.
    #[arg(long, conflicts_with_all = ["all", "same", "max_unavailable"])]
    pub take_over: bool,
    /// With --take-over of one node: the name of its domain, where that is another.
    #[arg(long, value_name = "NAME", requires = "take_over")]
    pub domain: Option<String>,
    /// Make the new machines at this hypervisor; nodes that are there and as the cluster file asks stay as they are.
    #[arg(long, value_name = "HYPERVISOR", conflicts_with_all = ["all", "take_over"])]
    pub to: Option<HypervisorName>,
    /// How machines are replaced.
    #[command(flatten)]
    pub roll: Roll,
    /// What is printed of it.
    #[command(flatten)]
    pub report: Report,
}

/// Arguments of `evacuate`.
#[derive(Debug, Args)]
pub struct Evacuate {
    /// The hypervisor, by its name in the cluster file.
    #[arg(value_name = "HYPERVISOR")]
    pub hypervisor: HypervisorName,
    /// Where images are written.
    #[command(flatten)]
    pub out: Out,
    /// How machines are replaced.
    #[command(flatten)]
    pub roll: Roll,
    /// What is printed of it.
    #[command(flatten)]
    pub report: Report,
}

/// How machines are replaced, one after the other.
#[derive(Debug, Clone, Copy, Args)]
pub struct Roll {
    /// Pull the plug of machines that do not go off when their power button is pressed.
    #[arg(long)]
    pub force: bool,
    /// Have at most so many of these nodes out at the same time, a number or such as 10%; groups go one after the other, and
    /// after a failure none is begun any more.
    #[arg(long, value_name = "N|P%", default_value = "1", alias = "parallel")]
    pub max_unavailable: MaxUnavailable,
    /// Give the new machines' nodes the labels, taints and annotations that were given by hand.
    #[arg(long)]
    pub keep_labels: bool,
    /// Leave data disks behind where nodes go to another hypervisor: they get new ones there.
    #[arg(long)]
    pub leave_data: bool,
    /// How pods leave.
    #[command(flatten)]
    pub leave: Leave,
    /// How long to wait.
    #[command(flatten)]
    pub wait: Wait,
    /// Whether to ask.
    #[command(flatten)]
    pub consent: Consent,
}

/// How pods leave a node whose machine goes.
#[derive(Debug, Clone, Copy, Args)]
#[expect(clippy::struct_excessive_bools, reason = "flags of a command line")]
pub struct Leave {
    /// Leave them where they are: they end with the machine.
    #[arg(long, help_heading = PODS)]
    pub no_drain: bool,
    /// Give the node up that is not drained after this many seconds.
    #[arg(long, help_heading = PODS, value_name = "SECONDS", default_value_t = 600)]
    pub drain_timeout: u64,
    /// Give each pod this many seconds to end [default: its own].
    #[arg(long, help_heading = PODS, value_name = "SECONDS")]
    pub grace_period: Option<u32>,
    /// Evict pods that no controller makes anew.
    #[arg(long, help_heading = PODS)]
    pub allow_unmanaged: bool,
    /// Evict pods that have emptyDir volumes, whose content is lost.
    #[arg(long, help_heading = PODS, alias = "delete-emptydir-data")]
    pub allow_emptydir: bool,
    /// Evict pods whose persistent volumes lie on the node.
    #[arg(long, help_heading = PODS)]
    pub allow_local_pvs: bool,
}

/// How many nodes may be out at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MaxUnavailable {
    /// So many.
    Nodes(usize),
    /// So many of a hundred.
    Percent(usize),
}

impl MaxUnavailable {
    /// How many of `nodes`; rounded down, as Kubernetes does it, but never none.
    pub fn of(self, nodes: usize) -> usize {
        match self {
            Self::Nodes(count) => count,
            Self::Percent(percent) => (nodes * percent / 100).max(1),
        }
    }
}

impl std::str::FromStr for MaxUnavailable {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (digits, most, make): (_, _, fn(usize) -> Self) = match text.strip_suffix('%') {
            Some(percent) => (percent, 100, Self::Percent),
            None => (text, 256, Self::Nodes),
        };
        let number = digits.parse().ok().filter(|number| (1..=most).contains(number) && !digits.starts_with('+'));
        number.map(make).ok_or_else(|| "a number from 1 to 256, or a percentage from 1% to 100%".to_owned())
    }
}

/// Arguments of `down`.
#[derive(Debug, Args)]
#[command(mut_arg("nodes", |arg| arg.help(ALL_THERE)))]
pub struct Down {
    /// Which nodes; without any all of this cluster, also those that the cluster file no longer names.
    #[command(flatten)]
    pub which: Which,
    /// Their data disks as well.
    #[arg(long)]
    pub with_data: bool,
    /// Whether to ask.
    #[command(flatten)]
    pub consent: Consent,
    /// What is printed of it.
    #[command(flatten)]
    pub report: Report,
}

/// Arguments of `remove`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("selection").args(["nodes", "groups", "gone"]).required(true).multiple(true))]
#[command(mut_arg("nodes", |arg| arg.help(NAMED)))]
#[command(mut_arg("stall", |arg| arg.help(LAST_STALL)))]
pub struct Remove {
    /// Which nodes.
    #[command(flatten)]
    pub which: Which,
    /// Nodes that the cluster file no longer names.
    #[arg(long)]
    pub gone: bool,
    /// Only what is kept of the machines before, which were taken over: their domains, and those of their disks that are
    /// volumes of libvirt's pools and that nobody else uses.
    #[arg(long, conflicts_with_all = ["gone", "with_data"])]
    pub taken_over: bool,
    /// Their data disks as well.
    #[arg(long)]
    pub with_data: bool,
    /// How pods leave.
    #[command(flatten)]
    pub leave: Leave,
    /// How long to wait for a machine to go off before its plug is pulled.
    #[command(flatten)]
    pub wait: Wait,
    /// Whether to ask.
    #[command(flatten)]
    pub consent: Consent,
    /// What is printed of it.
    #[command(flatten)]
    pub report: Report,
}

/// Consent to what cannot be undone.
#[derive(Debug, Clone, Copy, Args)]
pub struct Consent {
    /// Do not ask; needed where there is no terminal to ask on.
    #[arg(long)]
    pub yes: bool,
}

/// Arguments of `explain`.
#[derive(Debug, Args)]
pub struct Explain {
    /// Which node.
    #[arg(value_name = "NODE")]
    pub node: NodeName,
    /// Only this setting and those below it, such as kubelet.config.maxPods [default: all].
    #[arg(value_name = "FIELD")]
    pub field: Option<String>,
    /// What is printed of it.
    #[command(flatten)]
    pub report: Report,
}

/// Arguments of `console`.
#[derive(Debug, Args)]
pub struct Console {
    /// Which node.
    #[arg(value_name = "NODE")]
    pub node: NodeName,
    /// Take the console over from another session, which is cut off.
    #[arg(long)]
    pub force: bool,
}

/// Arguments of `logs`.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "flags of a command line")]
pub struct Logs {
    /// Which node.
    #[arg(value_name = "NODE")]
    pub node: NodeName,
    /// Show what it told before it was started the last time.
    #[arg(short = 'p', long)]
    pub previous: bool,
    /// Go on with what it tells, until its machine is off.
    #[arg(short = 'f', long, conflicts_with = "previous")]
    pub follow: bool,
    /// Only the stages that it reported.
    #[arg(long, conflicts_with = "console")]
    pub first_boot: bool,
    /// Only its console.
    #[arg(long)]
    pub console: bool,
    /// At most so many lines of each, the last ones.
    #[arg(long, value_name = "LINES")]
    pub tail: Option<usize>,
}

/// Arguments of `image`.
#[derive(Debug, Args)]
pub struct Image {
    /// For the nodes of this group; `default` for those of none.
    #[arg(value_name = "GROUP")]
    pub group: String,
    /// Where images are written.
    #[command(flatten)]
    pub out: Out,
    /// How long to wait.
    #[command(flatten)]
    pub wait: Wait,
    /// What is printed of it.
    #[command(flatten)]
    pub report: Report,
}

/// Arguments of `gc`.
#[derive(Debug, Args)]
pub struct Gc {
    /// Show what would be removed, and remove nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// A cluster file that has used the cache and counts no more, as where its disk or its hypervisor is lost.
    #[arg(long, value_name = "FILE")]
    pub forget: Vec<PathBuf>,
    /// What is printed of it.
    #[command(flatten)]
    pub report: Report,
}

/// Arguments of `identity`.
#[derive(Debug, Args)]
pub struct Identity {
    /// What to do.
    #[command(subcommand)]
    pub verb: IdentityVerb,
}

/// The verbs of `identity`.
#[derive(Debug, Subcommand)]
pub enum IdentityVerb {
    /// Show the certificates of nodes, administrator and CA, and how long they last; exit with 7 if one is near its end.
    #[command(after_help = "Examples:
  nodebake identity list
  nodebake identity list worker-node-1 -o wide")]
    List(IdentityList),
    /// Write a request for a node's certificate, for whoever signs it; its key is made here, and stays here.
    #[command(after_help = "Examples:
  nodebake identity csr worker-node-1
  nodebake identity csr --all --out requests")]
    Csr(IdentityCsr),
    /// Take in a node's certificate that was signed elsewhere, once it fits the node, its key and the CA.
    #[command(after_help = "Examples:
  nodebake identity import worker-node-1 signed.pem
  nodebake identity import worker-node-1 signed.pem --replace")]
    Import(IdentityImport),
    /// Issue nodes a new key and certificate, however good the old ones are; `rebuild` brings them to the machines.
    #[command(after_help = "Examples:
  nodebake identity renew worker-node-1
  nodebake identity renew --all")]
    Renew(IdentityRenew),
}

/// Arguments of `identity list`.
#[derive(Debug, Args)]
pub struct IdentityList {
    /// Which nodes; without any, administrator and CA too.
    #[command(flatten)]
    pub which: Which,
    /// How it is printed.
    #[arg(short = 'o', long, value_enum, default_value_t = StatusFormat::Table)]
    pub output: StatusFormat,
}

/// Arguments of `identity csr`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("selection").args(["nodes", "groups", "all"]).required(true).multiple(true))]
#[command(mut_arg("nodes", |arg| arg.help(NAMED)))]
pub struct IdentityCsr {
    /// Which nodes.
    #[command(flatten)]
    pub which: Which,
    /// Every node of the cluster file.
    #[arg(long, conflicts_with_all = ["nodes", "groups"])]
    pub all: bool,
    /// Folder for NODE.csr.
    #[arg(long = "out", value_name = "DIR", default_value = "build", value_hint = ValueHint::DirPath)]
    pub out: PathBuf,
    /// What is printed of it.
    #[command(flatten)]
    pub report: Report,
}

/// Arguments of `identity import`.
#[derive(Debug, Args)]
pub struct IdentityImport {
    /// Which node.
    #[arg(value_name = "NODE")]
    pub node: NodeName,
    /// The certificate, with the CAs above it behind it if they are not in ca.pem (PEM); or a folder with cert.pem and
    /// key.pem, or tls.crt and tls.key.
    #[arg(value_name = "FILE|DIR")]
    pub file: PathBuf,
    /// Let another certificate go that was brought along before, and its key.
    #[arg(long)]
    pub replace: bool,
    /// What is printed of it.
    #[command(flatten)]
    pub report: Report,
}

/// Arguments of `identity renew`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("selection").args(["nodes", "groups", "all"]).required(true).multiple(true))]
#[command(mut_arg("nodes", |arg| arg.help(NAMED)))]
pub struct IdentityRenew {
    /// Which nodes.
    #[command(flatten)]
    pub which: Which,
    /// Every node of the cluster file.
    #[arg(long, conflicts_with_all = ["nodes", "groups"])]
    pub all: bool,
    /// What is printed of it.
    #[command(flatten)]
    pub report: Report,
}

/// Arguments of `completions`.
#[derive(Debug, Clone, Copy, Args)]
pub struct Completions {
    /// Which shell.
    #[arg(value_enum, value_name = "SHELL")]
    pub shell: Shell,
}

/// Shells that complete words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    /// Bash 4.4 and later.
    Bash,
    /// The Z shell.
    Zsh,
    /// The friendly interactive shell.
    Fish,
}

/// Arguments of `kubeconfig`.
#[derive(Debug, Args)]
pub struct KubeconfigArgs {
    /// The file to write, mode 0600 [default: cluster.kubeconfig of the cluster file, else admin.kubeconfig beside it].
    #[arg(long = "out", value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// What is printed of it.
    #[command(flatten)]
    pub report: Report,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_nodes_that_may_be_out_are_a_number_or_a_part() {
        for (text, of_seven) in
            [("1", Some(1)), ("256", Some(256)), ("10%", Some(1)), ("50%", Some(3)), ("100%", Some(7))]
        {
            assert_eq!(text.parse::<MaxUnavailable>().ok().map(|most| most.of(7)), of_seven, "{text}");
        }
        for text in ["", "0", "0%", "101%", "257", "-1", "+1", "1.5", "%", "ten"] {
            assert!(text.parse::<MaxUnavailable>().is_err(), "{text}");
        }
    }
}
