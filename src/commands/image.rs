//! `nodebake image`: a base image that holds the payload and its packages already, made by booting one machine once.

use std::fs::File;
use std::io::{self, Write};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

use super::Session;
use super::fleet::Fleet;
use crate::apply::{Apply, ApplyError, Patience};
use crate::artifacts::{BaseImage, Kind};
use crate::build::{Build, make_output_folder};
use crate::cli;
use crate::config::{Config, Machine, Node, NodeName};
use crate::digest::{Digest, Hasher};
use crate::error::{Error, ExitCode};
use crate::image::Payload;
use crate::image::golden::{Golden, Stored};
use crate::image::iso9660::Target as _;
use crate::interrupt::Orderly;
use crate::machine::mark::DiskFormat;
use crate::machine::{Hypervisor, MachineError, Parts, VolumeName};
use crate::plan::{self, Built, Inventory, NodePlan, Request, Step, removals};
use crate::progress::{Progress, Task};
use crate::scratch;
use crate::whole_file;

/// What the nodes of no group are called here.
const UNGROUPED: &str = "default";

/// Space on the disk beside base image and payload, in bytes: what packages take, and what apt needs meanwhile.
const ROOM: u64 = 1 << 30;

/// Why no golden image was made.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// No node is of the group.
    #[error("the cluster file has no node of group {group}{}", crate::error::meant(group, known))]
    NoNode {
        /// As asked for.
        group: String,
        /// The groups that have nodes.
        known: Vec<String>,
    },
    /// A disk is of one architecture.
    #[error("the nodes of group {group} have several architectures")]
    Mixed {
        /// The group.
        group: String,
    },
    /// A node has the name that the machine would have.
    #[error("a golden image is made by a machine called {name}, and a node has that name")]
    Taken {
        /// The name.
        name: String,
    },
    /// The base image holds a payload already.
    #[error("the base image is a golden one already, and a golden image is made from upstream's")]
    Golden,
    /// The machine did not do its work.
    #[error("the machine that makes the image failed")]
    Machine {
        /// Why.
        #[source]
        source: Box<ApplyError>,
    },
    /// The image cannot be kept.
    #[error("cannot write {}", path.display())]
    Output {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl ImageError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoNode { known, .. } => Some(format!("groups with nodes are: {}", known.join(", "))),
            Self::Mixed { .. } => Some("make a group for each architecture".to_owned()),
            Self::Taken { .. } => Some("rename the node".to_owned()),
            Self::Golden => Some("take the base-image out of artifacts: first, then run `nodebake lock`".to_owned()),
            Self::Machine { source } if source.is_node_down() => Some(
                "nothing of it was left; its log is above. Run the command again once the cause is mended".to_owned(),
            ),
            Self::Machine { source } => source.hint(),
            Self::Output { source, .. } => whole_file::hint(source),
        }
    }

    /// The exit code of the program.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::NoNode { .. } | Self::Mixed { .. } | Self::Taken { .. } | Self::Golden => ExitCode::Configuration,
            Self::Machine { source } if source.is_node_down() => ExitCode::NodeDown,
            Self::Machine { .. } | Self::Output { .. } => ExitCode::Unexpected,
        }
    }

    /// Tail of the log that tells why, where there is one.
    pub fn log(&self) -> Option<&str> {
        if let Self::Machine { source } = self { source.log() } else { None }
    }
}

fn failed(source: ApplyError) -> Error {
    ImageError::Machine { source: Box::new(source) }.into()
}

pub(super) fn run(session: &Session, args: &cli::Image) -> Result<(), Error> {
    let model = model(&session.config, &args.group)?;
    let fleet = Fleet::open(session)?;
    let Some(member) = fleet.members.first() else { return fleet.end(&[]) };
    let hypervisor = &member.hypervisor;
    let capabilities = hypervisor.capabilities(model.arch)?;
    let _held = session.hold()?;
    let inputs = session.inputs()?;
    let build = session.build(&inputs, &args.out.dir);
    build.sweep();
    let (payload, _) = build.payload(model.arch)?;
    if build.golden(model.arch).is_some() {
        return Err(ImageError::Golden.into());
    }
    let node = builder(&args.group, &session.config.image, model, &payload)?;
    let mut config = Config { nodes: vec![node.clone()], ..member.config.clone() };
    config.network.dhcp = false;
    let (folder, _listed) = scratch::folder(tempfile::tempdir)
        .map_err(|source| ImageError::Output { path: std::env::temp_dir(), source })?;
    let seed = build.golden_seed(&node, &payload, folder.path())?;
    let images = build.images(node.arch, &payload)?;
    let built = [Built { node: node.name.clone(), seed, images, parts: Parts::default(), capabilities }];
    let inventory = Inventory::read(&config, &**hypervisor, None)?;
    let id = build.cluster_id();
    // What a run before has left goes with it.
    let request =
        Request { config: &config, id: &id, built: &built, inventory: &inventory, now: session.now.as_second() };
    let plan = plan::rebuild(request)?;
    let patience = Patience::of_silence(Duration::from_secs(args.wait.stall));
    let apply = Apply { patience, ..Apply::new(&**hypervisor, &id, session.ui) };
    // Its machine goes, whatever comes of it.
    let _orderly = Orderly::begin();
    let made = plan.shared.iter().try_for_each(|action| apply.shared(action)).map_err(failed);
    let golden = made.and_then(|()| {
        let [plan] = plan.nodes.as_slice() else { return Err(ImageError::Golden.into()) };
        let making = Making { session, build: &build, apply: &apply, name: &args.group, out: &args.out.dir };
        making.run(plan, &payload)
    });
    // Whatever came of it, nothing of the machine stays.
    let left = Inventory::read(&config, &**hypervisor, None)?;
    let removed = match removals(&id, &config, &left).get(&node.name) {
        Some(removal) => apply.remove(&node.name, removal).map_err(failed),
        None => Ok(()),
    };
    let golden = golden?;
    removed?;
    let artifact = Artifact::of(&config, &args.out.dir, &golden);
    let made = Made { group: &args.group, artifact, golden: &golden };
    session.show(args.report.output, &made, || made.artifact.snippet())
}

/// What was made, as programs read it.
#[derive(Serialize)]
struct Made<'a> {
    group: &'a str,
    artifact: Artifact,
    golden: &'a Golden,
}

/// What to write into the cluster file.
#[derive(Serialize)]
struct Artifact {
    kind: Kind,
    path: String,
    sha256: Digest,
    arch: String,
}

impl Artifact {
    fn of(config: &Config, out: &Path, golden: &Golden) -> Self {
        let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let path = absolute(&out.join(&golden.qcow2.file));
        let path = path.strip_prefix(absolute(&config.folder())).unwrap_or(&path).display().to_string();
        Self { kind: Kind::BaseImage, path, sha256: golden.qcow2.digest, arch: golden.arch.clone() }
    }

    fn snippet(&self) -> String {
        let Self { kind, path, sha256, arch } = self;
        let path = serde_json::Value::from(path.as_str());
        format!("artifacts:\n  - kind: {kind}\n    path: {path}\n    sha256: {sha256}\n    arch: {arch}\n")
    }
}

/// One node of the group, for what all of them have in common.
fn model<'a>(config: &'a Config, group: &str) -> Result<&'a Node, ImageError> {
    let group_of = |node: &Node| node.group.clone().unwrap_or_else(|| UNGROUPED.to_owned());
    let members: Vec<_> = config.nodes.iter().filter(|node| group_of(node) == group).collect();
    match members.as_slice() {
        [] => {
            let mut known: Vec<_> = config.nodes.iter().map(group_of).collect();
            known.sort();
            known.dedup();
            Err(ImageError::NoNode { group: group.to_owned(), known })
        }
        [first, rest @ ..] if rest.iter().any(|node| node.arch != first.arch) => {
            Err(ImageError::Mixed { group: group.to_owned() })
        }
        [first, ..] => {
            let name = machine_name(group);
            if config.nodes.iter().any(|node| node.name.to_string() == name) {
                return Err(ImageError::Taken { name });
            }
            Ok(first)
        }
    }
}

/// The machine's own, by cloud-init/golden/network-config: it talks to nobody.
const ADDRESS: Ipv4Addr = Ipv4Addr::new(169, 254, 78, 66);

/// What the machine is called; the name of a group may be as long as that of a node.
fn machine_name(group: &str) -> String {
    let mut name = format!("image-{group}");
    name.truncate(63);
    name.trim_end_matches('-').to_owned()
}

/// The machine, as a node of a cluster of its own.
fn builder(group: &str, image: &str, model: &Node, payload: &Payload) -> Result<Node, ImageError> {
    let name = machine_name(group);
    let name: NodeName = name.parse().map_err(|_| ImageError::Taken { name })?;
    let base = BaseImage::named(image).map_or(0, |image| image.min_disk);
    let disk = (base + 2 * payload.size + ROOM).next_multiple_of(1 << 20);
    let mut node = Node { name, mac: None, address: ADDRESS, address6: None, disk, ..model.clone() };
    // Disks that would outlast it, and devices and addresses that a node may be using, are the nodes' own.
    let Machine { firmware, secure_boot, disk_driver, .. } = node.settings.machine;
    node.settings.machine = Machine { firmware, secure_boot, disk_driver, ..Machine::default() };
    Ok(node)
}

struct Making<'a> {
    session: &'a Session<'a>,
    build: &'a Build<'a>,
    apply: &'a Apply<'a>,
    /// The group.
    name: &'a str,
    out: &'a Path,
}

impl Making<'_> {
    /// Boots the machine, waits until it has sealed its disk, and brings the disk here.
    fn run(&self, plan: &NodePlan, payload: &Payload) -> Result<Golden, Error> {
        let Step::Create(creation) = &plan.step else { return Err(ImageError::Golden.into()) };
        self.apply.seal_disk(plan).map_err(failed)?;
        make_output_folder(self.out)?;
        let hypervisor = self.apply.hypervisor;
        let disk = |format| {
            let volume = VolumeName::golden(self.apply.id, &plan.node, format);
            hypervisor.flatten(&plan.pool, &creation.overlay.name, &volume)?;
            let stored = self.download(hypervisor, &plan.pool, &volume, format)?;
            hypervisor.delete_volume(&plan.pool, &volume)?;
            Ok::<_, Error>(stored)
        };
        let base = self.build.lock.get(Kind::BaseImage, creation.domain.arch);
        let golden = Golden {
            api_version: Golden::API_VERSION.to_owned(),
            arch: creation.domain.arch.to_string(),
            base: base.map(|entry| entry.checksum.to_string()).unwrap_or_default(),
            payload: payload.digest,
            packages: payload.contents.packages.clone(),
            disk: creation.overlay.capacity,
            qcow2: disk(DiskFormat::Qcow2)?,
            raw: disk(DiskFormat::Raw)?,
        };
        let path = self.out.join(format!("{}.json", self.name));
        whole_file::write(&path, &golden.to_json(), 0o644).map_err(|source| ImageError::Output { path, source })?;
        Ok(golden)
    }

    fn download(
        &self,
        hypervisor: &dyn Hypervisor,
        pool: &str,
        volume: &VolumeName,
        format: DiskFormat,
    ) -> Result<Stored, Error> {
        let name = format!("{}.{}", self.name, format.as_str());
        let path = self.out.join(&name);
        let output = |source| ImageError::Output { path: path.clone(), source };
        let file = whole_file::begin(&path).map_err(output)?;
        let task = self.session.ui.task(&format!("download {name}"), None);
        let mut hasher = Hasher::new(Sparse { file: file.as_file(), at: 0, task: &*task });
        match hypervisor.download(pool, volume, &mut hasher) {
            Err(MachineError::Target { source, .. }) => return Err(output(source).into()),
            read => read?,
        };
        let (_, digest, size) = hasher.finish();
        file.as_file().set_len(size).map_err(output)?;
        whole_file::publish(file, 0o644, &path).map_err(output)?;
        task.done();
        Ok(Stored { file: name, digest, size })
    }
}

/// Leaves holes where there are zeros: most of a disk was never written.
struct Sparse<'a> {
    file: &'a File,
    at: u64,
    task: &'a dyn Task,
}

impl Write for Sparse<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.iter().any(|byte| *byte != 0) {
            self.file.write_all_at(bytes, self.at)?;
        }
        self.at += bytes.len() as u64;
        self.task.advance(bytes.len() as u64);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
