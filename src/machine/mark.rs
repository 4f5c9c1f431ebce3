//! How we know what is ours: the mark in a domain's metadata, and the names of volumes.
//!
//! Both are read strictly. What does not parse exactly is not ours.

use std::fmt;
use std::str::FromStr;

use super::VolumeFormat;
use super::xml::Element;
use crate::config::{ClusterId, ClusterName, NodeName};
use crate::digest::Digest;

/// XML namespace of the mark. A mark with other fields gets another number here.
pub const NAMESPACE: &str = "https://nodebake.dev/xmlns/domain/1";
/// Prefix of the namespace in the XML that we write.
pub(super) const PREFIX: &str = "nodebake";

/// How far a node's machine came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum MarkState {
    /// Defined, never started.
    Creating,
    /// Started; not known to be registered.
    Started,
    /// Its kubelet ran; there was no kubeconfig to ask the cluster with.
    Active,
    /// The node was seen in the cluster's API.
    Registered,
    /// It did not come up; kept for its logs, and made anew by the next `up`.
    Failed,
}

impl MarkState {
    const ALL: [Self; 5] = [Self::Creating, Self::Started, Self::Active, Self::Registered, Self::Failed];

    /// Whether the machine once was a node that worked: it may hold what nobody else has, and is never replaced unasked.
    pub fn came_up(self) -> bool {
        matches!(self, Self::Active | Self::Registered)
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Creating => "creating",
            Self::Started => "started",
            Self::Active => "active",
            Self::Registered => "registered",
            Self::Failed => "failed",
        }
    }
}

impl fmt::Display for MarkState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The mark of a domain that nodebake made: what it was made from, and how far it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// The cluster's name.
    pub cluster: ClusterName,
    /// Digest of the cluster's CA certificate (DER).
    pub ca: Digest,
    /// The node.
    pub node: NodeName,
    /// Digest of the payload image.
    pub payload: Digest,
    /// Digest of the seed image.
    pub seed: Digest,
    /// Digest of the base image, as its publisher gives it.
    pub base: String,
    /// Digest of the domain's XML as we wrote it, without the mark.
    pub definition: Digest,
    /// How far the machine came.
    pub state: MarkState,
    /// Digest of the domain's XML as libvirt kept it, see [`super::DomainInfo::stored_digest`]; known once it is
    /// defined.
    pub stored: Option<Digest>,
    /// The guest's boot id (`/proc/sys/kernel/random/boot_id`), as it reported it last.
    pub boot_id: Option<String>,
    /// What kept it from coming up the last time: a stage, "stalled" or "stopped".
    pub stage: Option<String>,
}

/// Why an element in our namespace is not a mark.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the fields are named in each message")]
pub enum MarkError {
    /// The element, or the XML around it, is not as we write it.
    #[error("{problem}")]
    Shape { problem: String },
    /// An attribute is absent.
    #[error("the attribute {name:?} is missing")]
    Missing { name: &'static str },
    /// An attribute's value is not valid.
    #[error("the attribute {name:?} has the value {value:?}")]
    Invalid { name: &'static str, value: String },
    /// An attribute that this nodebake does not know.
    #[error("the attribute {name:?} is not known to this version")]
    Unknown { name: String },
}

impl Mark {
    const ATTRIBUTES: [&str; 11] =
        ["cluster", "ca", "node", "payload", "seed", "base", "definition", "state", "stored", "boot-id", "stage"];

    /// Whether it marks a machine of this cluster.
    pub fn belongs_to(&self, id: &ClusterId) -> bool {
        self.cluster == id.name && self.ca == id.ca
    }

    /// The mark as `virDomainSetMetadata` takes it: without the namespace, which libvirt adds.
    pub(super) fn bare_xml(&self) -> String {
        self.attributes(Element::new("mark")).document()
    }

    /// The mark as it stands in a domain's metadata.
    pub(super) fn element(&self) -> Element {
        self.attributes(Element::new("nodebake:mark").attr("xmlns:nodebake", NAMESPACE))
    }

    fn attributes(&self, element: Element) -> Element {
        let mut element = element
            .attr("cluster", &self.cluster)
            .attr("ca", self.ca)
            .attr("node", &self.node)
            .attr("payload", self.payload)
            .attr("seed", self.seed)
            .attr("base", &self.base)
            .attr("definition", self.definition)
            .attr("state", self.state);
        if let Some(stored) = self.stored {
            element = element.attr("stored", stored);
        }
        if let Some(boot_id) = &self.boot_id {
            element = element.attr("boot-id", boot_id);
        }
        if let Some(stage) = &self.stage {
            element = element.attr("stage", stage);
        }
        element
    }

    /// The mark in a domain's XML; `None` if it has no element of our namespace.
    pub fn from_domain_xml(xml: &str) -> Result<Option<Self>, MarkError> {
        let document =
            roxmltree::Document::parse(xml).map_err(|error| MarkError::Shape { problem: error.to_string() })?;
        let metadata = document.root_element().children().find(|node| node.has_tag_name("metadata"));
        let ours = |node: &roxmltree::Node<'_, '_>| node.tag_name().namespace() == Some(NAMESPACE);
        let mut marks = metadata.iter().flat_map(roxmltree::Node::children).filter(ours);
        match (marks.next(), marks.next()) {
            (None, _) => Ok(None),
            (Some(mark), None) => Self::from_node(mark).map(Some),
            (Some(_), Some(_)) => Err(MarkError::Shape { problem: "there are two marks".to_owned() }),
        }
    }

    fn from_node(node: roxmltree::Node<'_, '_>) -> Result<Self, MarkError> {
        if node.tag_name().name() != "mark" || node.children().any(|child| child.is_element()) {
            return Err(MarkError::Shape { problem: format!("<{}> is not a plain mark", node.tag_name().name()) });
        }
        let unknown = |name: &&str| !Self::ATTRIBUTES.contains(name);
        if let Some(name) = node.attributes().map(|attribute| attribute.name()).find(unknown) {
            return Err(MarkError::Unknown { name: name.to_owned() });
        }
        let state: String = required(node, "state")?;
        Ok(Self {
            cluster: required(node, "cluster")?,
            ca: required(node, "ca")?,
            node: required(node, "node")?,
            payload: required(node, "payload")?,
            seed: required(node, "seed")?,
            base: required(node, "base")?,
            definition: required(node, "definition")?,
            state: MarkState::ALL
                .into_iter()
                .find(|known| known.as_str() == state)
                .ok_or(MarkError::Invalid { name: "state", value: state })?,
            stored: optional(node, "stored")?,
            boot_id: optional(node, "boot-id")?,
            stage: optional(node, "stage")?,
        })
    }
}

fn optional<T: FromStr>(node: roxmltree::Node<'_, '_>, name: &'static str) -> Result<Option<T>, MarkError> {
    let parse = |value: &str| value.parse().map_err(|_| MarkError::Invalid { name, value: value.to_owned() });
    node.attribute(name).map(parse).transpose()
}

fn required<T: FromStr>(node: roxmltree::Node<'_, '_>, name: &'static str) -> Result<T, MarkError> {
    optional(node, name)?.ok_or(MarkError::Missing { name })
}

/// Lowercase hexadecimal digits, the head of a digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Short<const N: usize>([u8; N]);

impl<const N: usize> From<Digest> for Short<N> {
    fn from(digest: Digest) -> Self {
        let text = digest.to_string();
        let mut short = [0; N];
        short.copy_from_slice(&text.as_bytes()[..N]);
        Self(short)
    }
}

impl<const N: usize> fmt::Display for Short<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|digit| fmt::Write::write_char(f, char::from(*digit)))
    }
}

impl<const N: usize> FromStr for Short<N> {
    type Err = NotOurs;

    fn from_str(text: &str) -> Result<Self, NotOurs> {
        let lower_hex = |digit: &u8| digit.is_ascii_digit() || (b'a'..=b'f').contains(digit);
        let short = Self(text.as_bytes().try_into().map_err(|_| NotOurs)?);
        if short.0.iter().all(lower_hex) { Ok(short) } else { Err(NotOurs) }
    }
}

/// Not the name of a volume that nodebake makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the name of a volume that nodebake makes")]
pub struct NotOurs;

/// The cluster in a volume's name: its name and the first 8 digits of its CA's digest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterTag {
    /// The cluster's name.
    pub name: ClusterName,
    /// The head of its CA's digest.
    pub ca: Short<8>,
}

impl From<&ClusterId> for ClusterTag {
    fn from(id: &ClusterId) -> Self {
        Self { name: id.name.clone(), ca: id.ca.into() }
    }
}

/// Who writes a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LogKind {
    /// The first-boot channel.
    FirstBoot,
    /// The serial console.
    Console,
}

/// Which part of what a log's writer wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LogPart {
    /// The file that is being written, or was while the machine ran last.
    Current,
    /// An older part of it, which virtlogd set aside when the file had its full size; 0 is the newest.
    Rotated(u8),
    /// The end of the run before, kept when the machine was started again.
    Previous,
}

/// How a disk is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DiskFormat {
    /// QEMU's copy-on-write format.
    Qcow2,
    /// As the disk is.
    Raw,
}

impl DiskFormat {
    /// As libvirt calls it, and the ending of a file's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Qcow2 => "qcow2",
            Self::Raw => "raw",
        }
    }
}

/// The name of a volume of ours: its mark.
///
/// ```text
/// nodebake.payload.DIGEST64.iso                     shared by all clusters
/// nodebake.base.DIGEST64.qcow2                      shared by all clusters
/// nodebake.CLUSTER.CA8.NODE.root.DIGEST12.qcow2
/// nodebake.CLUSTER.CA8.NODE.seed.DIGEST12.iso
/// nodebake.CLUSTER.CA8.NODE.data.NAME.qcow2
/// nodebake.CLUSTER.CA8.NODE.golden.qcow2            and golden.raw: what became of a machine that sealed itself
/// nodebake.CLUSTER.CA8.NODE.first-boot.log          and .log.0, .log.1 … where virtlogd rotated it
/// nodebake.CLUSTER.CA8.NODE.console.log
/// nodebake.CLUSTER.CA8.NODE.console.previous.log    and first-boot.previous.log: of the run before
/// ```
///
/// Names of clusters and nodes are DNS labels: they hold hyphens but never a dot, so the dots make the parts plain.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum VolumeName {
    /// The binaries of one lock and architecture.
    Payload(Digest),
    /// A base image, as qcow2.
    Base(Digest),
    /// A node's root disk; the digest is that of what it was made for.
    Root {
        /// Its cluster.
        cluster: ClusterTag,
        /// Its node.
        node: NodeName,
        /// What it was made for.
        digest: Short<12>,
    },
    /// A node's seed.
    Seed {
        /// Its cluster.
        cluster: ClusterTag,
        /// Its node.
        node: NodeName,
        /// The seed's digest.
        digest: Short<12>,
    },
    /// A disk of a node that outlasts its machines.
    Data {
        /// Its cluster.
        cluster: ClusterTag,
        /// Its node.
        node: NodeName,
        /// Its name in the cluster file.
        name: String,
    },
    /// A whole disk without a file under it, to be made a golden image.
    Golden {
        /// Its cluster.
        cluster: ClusterTag,
        /// The machine that it was made by.
        node: NodeName,
        /// How it is stored.
        format: DiskFormat,
    },
    /// A log that the host writes while the node runs.
    Log {
        /// Its cluster.
        cluster: ClusterTag,
        /// Its node.
        node: NodeName,
        /// Who writes it.
        kind: LogKind,
        /// Which part of it.
        part: LogPart,
    },
}

impl VolumeName {
    /// A node's root disk.
    pub fn root(id: &ClusterId, node: &NodeName, digest: Digest) -> Self {
        Self::Root { cluster: id.into(), node: node.clone(), digest: digest.into() }
    }

    /// A node's seed.
    pub fn seed(id: &ClusterId, node: &NodeName, digest: Digest) -> Self {
        Self::Seed { cluster: id.into(), node: node.clone(), digest: digest.into() }
    }

    /// A node's data disk.
    pub fn data(id: &ClusterId, node: &NodeName, name: &str) -> Self {
        Self::Data { cluster: id.into(), node: node.clone(), name: name.to_owned() }
    }

    /// A node's log, the file that is being written.
    pub fn log(id: &ClusterId, node: &NodeName, kind: LogKind) -> Self {
        Self::Log { cluster: id.into(), node: node.clone(), kind, part: LogPart::Current }
    }

    /// What is kept of a node's log of the run before.
    pub fn previous_log(id: &ClusterId, node: &NodeName, kind: LogKind) -> Self {
        Self::Log { cluster: id.into(), node: node.clone(), kind, part: LogPart::Previous }
    }

    /// The disk that a machine sealed, without a file under it.
    pub fn golden(id: &ClusterId, node: &NodeName, format: DiskFormat) -> Self {
        Self::Golden { cluster: id.into(), node: node.clone(), format }
    }

    /// Format of the volume's content.
    pub fn format(&self) -> VolumeFormat {
        match self {
            Self::Payload(_) | Self::Seed { .. } => VolumeFormat::Iso,
            Self::Base(_) | Self::Root { .. } | Self::Data { .. } | Self::Golden { format: DiskFormat::Qcow2, .. } => {
                VolumeFormat::Qcow2
            }
            Self::Log { .. } | Self::Golden { format: DiskFormat::Raw, .. } => VolumeFormat::Raw,
        }
    }

    /// Whether one machine has it for itself: all else is shared, or outlives it.
    pub fn is_own(&self) -> bool {
        matches!(self, Self::Root { .. } | Self::Seed { .. })
    }

    /// The cluster and node that it belongs to; none for what clusters share.
    pub fn owner(&self) -> Option<(&ClusterTag, &NodeName)> {
        match self {
            Self::Payload(_) | Self::Base(_) => None,
            Self::Root { cluster, node, .. }
            | Self::Seed { cluster, node, .. }
            | Self::Data { cluster, node, .. }
            | Self::Golden { cluster, node, .. }
            | Self::Log { cluster, node, .. } => Some((cluster, node)),
        }
    }

    /// Whether it belongs to a node of this cluster.
    pub fn belongs_to(&self, id: &ClusterId) -> bool {
        self.owner().is_some_and(|(cluster, _)| *cluster == ClusterTag::from(id))
    }
}

impl fmt::Display for VolumeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((cluster, node)) = self.owner() {
            write!(f, "nodebake.{}.{}.{node}.", cluster.name, cluster.ca)?;
        }
        match self {
            Self::Payload(digest) => write!(f, "nodebake.payload.{digest}.iso"),
            Self::Base(digest) => write!(f, "nodebake.base.{digest}.qcow2"),
            Self::Root { digest, .. } => write!(f, "root.{digest}.qcow2"),
            Self::Seed { digest, .. } => write!(f, "seed.{digest}.iso"),
            Self::Data { name, .. } => write!(f, "data.{name}.qcow2"),
            Self::Golden { format, .. } => write!(f, "golden.{}", format.as_str()),
            Self::Log { kind, part, .. } => {
                let kind = match kind {
                    LogKind::FirstBoot => "first-boot",
                    LogKind::Console => "console",
                };
                match part {
                    LogPart::Current => write!(f, "{kind}.log"),
                    LogPart::Rotated(number) => write!(f, "{kind}.log.{number}"),
                    LogPart::Previous => write!(f, "{kind}.previous.log"),
                }
            }
        }
    }
}

impl FromStr for VolumeName {
    type Err = NotOurs;

    fn from_str(text: &str) -> Result<Self, NotOurs> {
        let parts: Vec<&str> = text.split('.').collect();
        let name = match parts.as_slice() {
            ["nodebake", "payload", digest, "iso"] => Self::Payload(digest.parse().map_err(|_| NotOurs)?),
            ["nodebake", "base", digest, "qcow2"] => Self::Base(digest.parse().map_err(|_| NotOurs)?),
            ["nodebake", name, ca, node, rest @ ..] => {
                let cluster = ClusterTag { name: name.parse().map_err(|_| NotOurs)?, ca: ca.parse()? };
                Self::of_node(cluster, node.parse().map_err(|_| NotOurs)?, rest)?
            }
            _ => return Err(NotOurs),
        };
        // Only the one spelling counts: a digest in capitals or a number with a leading zero is somebody else's.
        if name.to_string() == text { Ok(name) } else { Err(NotOurs) }
    }
}

impl VolumeName {
    fn of_node(cluster: ClusterTag, node: NodeName, rest: &[&str]) -> Result<Self, NotOurs> {
        let log = |name: &str| match name {
            "first-boot" => Ok(LogKind::FirstBoot),
            "console" => Ok(LogKind::Console),
            _ => Err(NotOurs),
        };
        Ok(match rest {
            ["root", digest, "qcow2"] => Self::Root { cluster, node, digest: digest.parse()? },
            ["seed", digest, "iso"] => Self::Seed { cluster, node, digest: digest.parse()? },
            ["data", name, "qcow2"] if is_label(name) => Self::Data { cluster, node, name: (*name).to_owned() },
            ["golden", "qcow2"] => Self::Golden { cluster, node, format: DiskFormat::Qcow2 },
            ["golden", "raw"] => Self::Golden { cluster, node, format: DiskFormat::Raw },
            [kind, "log"] => Self::Log { cluster, node, kind: log(kind)?, part: LogPart::Current },
            [kind, "previous", "log"] => Self::Log { cluster, node, kind: log(kind)?, part: LogPart::Previous },
            [kind, "log", number] => {
                let part = LogPart::Rotated(number.parse().map_err(|_| NotOurs)?);
                Self::Log { cluster, node, kind: log(kind)?, part }
            }
            _ => return Err(NotOurs),
        })
    }
}

/// As the cluster file names data disks.
fn is_label(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn mark() -> Mark {
        Mark {
            cluster: "seed".parse().unwrap(),
            ca: Digest::of(b"ca"),
            node: "worker-node-1".parse().unwrap(),
            payload: Digest::of(b"payload"),
            seed: Digest::of(b"seed"),
            base: "sha512:<&>'\"".to_owned(),
            definition: Digest::of(b"definition"),
            state: MarkState::Creating,
            stored: None,
            boot_id: None,
            stage: None,
        }
    }

    fn domain(metadata: &str) -> String {
        format!("<domain type='kvm'><name>n</name><metadata>{metadata}</metadata></domain>")
    }

    #[test]
    fn marks_read_back() {
        let full = Mark {
            stored: Some(Digest::of(b"stored")),
            boot_id: Some("b6d4".to_owned()),
            stage: Some("containerd".to_owned()),
            ..mark()
        };
        for state in MarkState::ALL {
            for mark in [mark(), full.clone()] {
                let mark = Mark { state, ..mark };
                let other = "<x:y xmlns:x='urn:x' cluster='other'/>";
                let xml = domain(&format!("{other}{}", mark.element().document()));
                assert_eq!(Mark::from_domain_xml(&xml), Ok(Some(mark)));
            }
        }
    }

    #[test]
    fn a_domain_without_our_namespace_has_no_mark() {
        for metadata in ["", "<mark cluster='seed'/>", "<nodebake:mark xmlns:nodebake='urn:x'/>"] {
            assert_eq!(Mark::from_domain_xml(&domain(metadata)), Ok(None), "{metadata}");
        }
        let elsewhere = format!("<domain><devices>{}</devices></domain>", mark().element().document());
        assert_eq!(Mark::from_domain_xml(&elsewhere), Ok(None));
    }

    #[test]
    fn marks_are_read_strictly() {
        let good = mark().element().document();
        let invalid = |name, value: &str| MarkError::Invalid { name, value: value.to_owned() };
        let shape = |problem: &str| MarkError::Shape { problem: problem.to_owned() };
        let cases = [
            (good.replace(" node='worker-node-1'", ""), MarkError::Missing { name: "node" }),
            (good.replace("worker-node-1", "Worker"), invalid("node", "Worker")),
            (good.replace("'creating'", "'Creating'"), invalid("state", "Creating")),
            (good.replace(&Digest::of(b"seed").to_string(), "12"), invalid("seed", "12")),
            (good.replace(" node=", " new='x' node="), MarkError::Unknown { name: "new".to_owned() }),
            (good.replace("nodebake:mark", "nodebake:label"), shape("<label> is not a plain mark")),
            (good.replace("/>", "><more/></nodebake:mark>"), shape("<mark> is not a plain mark")),
            (format!("{good}{good}"), shape("there are two marks")),
        ];
        for (metadata, error) in cases {
            assert_eq!(Mark::from_domain_xml(&domain(&metadata)), Err(error), "{metadata}");
        }
    }

    fn id() -> ClusterId {
        ClusterId { name: "a-b".parse().unwrap(), ca: Digest::of(b"ca") }
    }

    #[test]
    fn volume_names_read_back() {
        let (id, node) = (id(), "worker-node-1".parse().unwrap());
        let digest = Digest::of(b"x");
        let head = format!("nodebake.a-b.{}.worker-node-1", &id.ca.to_string()[..8]);
        let rotated = VolumeName::Log {
            cluster: (&id).into(),
            node: "worker-node-1".parse().unwrap(),
            kind: LogKind::Console,
            part: LogPart::Rotated(2),
        };
        let cases = [
            (VolumeName::Payload(digest), format!("nodebake.payload.{digest}.iso")),
            (VolumeName::Base(digest), format!("nodebake.base.{digest}.qcow2")),
            (VolumeName::root(&id, &node, digest), format!("{head}.root.{}.qcow2", digest.short())),
            (VolumeName::seed(&id, &node, digest), format!("{head}.seed.{}.iso", digest.short())),
            (VolumeName::data(&id, &node, "etcd-1"), format!("{head}.data.etcd-1.qcow2")),
            (VolumeName::golden(&id, &node, DiskFormat::Qcow2), format!("{head}.golden.qcow2")),
            (VolumeName::golden(&id, &node, DiskFormat::Raw), format!("{head}.golden.raw")),
            (VolumeName::log(&id, &node, LogKind::FirstBoot), format!("{head}.first-boot.log")),
            (rotated, format!("{head}.console.log.2")),
            (VolumeName::previous_log(&id, &node, LogKind::FirstBoot), format!("{head}.first-boot.previous.log")),
            (VolumeName::previous_log(&id, &node, LogKind::Console), format!("{head}.console.previous.log")),
        ];
        for (name, text) in cases {
            assert_eq!(name.to_string(), text);
            assert_eq!(text.parse(), Ok(name));
        }
    }

    #[test]
    fn other_names_are_not_ours() {
        let digest = Digest::of(b"x");
        let upper = digest.to_string().to_uppercase();
        for text in [
            "",
            "nodebake",
            "worker-node-1.qcow2",
            "nodebake.payload.1234.iso",
            &format!("nodebake.payload.{digest}.qcow2"),
            &format!("nodebake.payload.{upper}.iso"),
            &format!("nodebake.payload.{digest}.iso.part"),
            "nodebake.a.12345678.n.root.123456789abc.iso",
            "nodebake.a.12345678.n.root.123456789ab.qcow2",
            "nodebake.a.1234567.n.root.123456789abc.qcow2",
            "nodebake.A.12345678.n.root.123456789abc.qcow2",
            "nodebake.a.12345678.-n.root.123456789abc.qcow2",
            "nodebake.a.12345678.n.root.123456789ABC.qcow2",
            "nodebake.a.12345678.n.m.root.123456789abc.qcow2",
            "nodebake.a.12345678.n.console.log.00",
            "nodebake.a.12345678.n.console.log.+1",
            "nodebake.a.12345678.n.other.log",
            "nodebake.a.12345678.n.other.previous.log",
            "nodebake.a.12345678.n.console.previous.log.0",
            "nodebake.a.12345678.n.console.Previous.log",
            "nodebake.a.12345678.n.console.previous",
            "nodebake.a.12345678.n.previous.log",
            "nodebake.a.12345678.n.golden.iso",
            "nodebake.a.12345678.n.data.qcow2",
            "nodebake.a.12345678.n.data..qcow2",
            "nodebake.a.12345678.n.data.A.qcow2",
            "nodebake.a.12345678.n.data.a.raw",
            "nodebake.a.12345678.n",
        ] {
            assert_eq!(text.parse::<VolumeName>(), Err(NotOurs), "{text}");
        }
    }

    #[test]
    fn a_cluster_of_the_same_name_owns_nothing_here() {
        let other = ClusterId { ca: Digest::of(b"other"), ..id() };
        let node = "n".parse().unwrap();
        let name = VolumeName::seed(&id(), &node, Digest::of(b"x"));
        assert_eq!((name.belongs_to(&id()), name.belongs_to(&other)), (true, false));
        assert!(!VolumeName::Base(Digest::of(b"x")).belongs_to(&id()));
        let marked = Mark { cluster: id().name, ..mark() };
        assert_eq!((marked.belongs_to(&id()), marked.belongs_to(&other)), (true, false));
    }
}
