//! What a layer says of a node's machine beyond its size: firmware, disks, and libvirt XML of the user's own.

use std::collections::BTreeMap;
use std::fmt;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::guest;
use super::problem::quoted;
use super::scalar::{self, unknown_word};
use super::value::{Fields, Placed, Value};

/// A machine beyond its size.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Machine {
    /// Its firmware; the base image's own where nobody says.
    pub firmware: Option<Bootware>,
    /// Whether that firmware, UEFI, starts signed loaders alone; as the hypervisor has it where nobody says.
    pub secure_boot: Option<bool>,
    /// How its disks are read and written.
    pub disk_driver: DiskDriver,
    /// Disks that outlast it, by their names.
    pub data_disks: BTreeMap<String, DataDisk>,
    /// Network cards beside the first, by their names.
    pub nics: BTreeMap<String, FurtherNic>,
    /// libvirt XML laid over ours, known to be well formed and to touch nothing that is nodebake's.
    pub domain_xml: Option<String>,
}

/// Firmware to choose from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bootware {
    /// The PC's.
    Bios,
    /// EDK II.
    Uefi,
}

impl fmt::Display for Bootware {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bios => "bios",
            Self::Uefi => "uefi",
        })
    }
}

/// Attributes of libvirt's `<driver>` of a disk (<https://libvirt.org/formatdomain.html#hard-drives-floppy-disks-cdroms>).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskDriver {
    /// The host's page cache.
    pub cache: String,
    /// How QEMU does its input and output; its own choice where nobody says.
    pub io: Option<String>,
    /// Whether what the guest discards is given back to the host.
    pub discard: String,
}

impl Default for DiskDriver {
    fn default() -> Self {
        Self { cache: "writeback".to_owned(), io: None, discard: "unmap".to_owned() }
    }
}

/// A disk that a rebuild keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataDisk {
    /// Bytes, a multiple of 1 MiB.
    pub size: u64,
    /// Where the guest mounts it; one without is for somebody else to use.
    pub mount: Option<Mount>,
}

/// A file system on a data disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Where it is mounted, an absolute path.
    pub path: String,
    /// What is made on a disk that is blank: ext4, or xfs, whose programs must be in the base image.
    pub file_system: String,
}

/// A network card beside the first: no default route leads through it, and no server for names is asked there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FurtherNic {
    /// What it is plugged into; that must be there.
    pub source: NicSource,
    /// Largest packet in bytes, where it is not the network's own.
    pub mtu: Option<u32>,
    /// Static address, with the length of its subnet's prefix.
    pub address: Option<Ipv4Net>,
    /// The same of IPv6.
    pub address6: Option<Ipv6Net>,
}

impl FurtherNic {
    /// Its addresses, with the lengths of their prefixes.
    pub fn addresses(&self) -> impl Iterator<Item = IpNet> {
        self.address.map(IpNet::from).into_iter().chain(self.address6.map(IpNet::from))
    }
}

/// What a network card is plugged into.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum NicSource {
    /// A libvirt network, by its name.
    Network(String),
    /// A bridge of the hypervisor.
    Bridge(String),
}

impl NicSource {
    /// The libvirt network, where it is one.
    pub fn network(&self) -> Option<&str> {
        match self {
            Self::Network(name) => Some(name),
            Self::Bridge(_) => None,
        }
    }
}

/// An address of a further card with its place in the file.
pub(super) type NicAddress = (NicSource, Placed<IpNet>);

/// Most data disks of a machine: their targets are vdc to vdz.
const MOST_DISKS: usize = 24;

/// More would need slots beyond those that libvirt gives a machine without being told.
const MOST_NICS: usize = 8;

/// Reads the keys of a layer that are about its machine, beyond its size. The addresses of further cards come with their
/// places, to be compared with those of other nodes.
pub(super) fn read(fields: &Fields<'_>) -> (Machine, Vec<NicAddress>) {
    let data_disks = data_disks(fields);
    let (nics, addresses) = nics(fields);
    let machine = Machine {
        firmware: fields.optional("firmware", "bios or uefi", firmware).map(|firmware| firmware.value),
        secure_boot: fields.optional("secureBoot", "true or false", scalar::boolean).map(|secure| secure.value),
        disk_driver: fields.get("diskDriver").and_then(|value| disk_driver(&value)).unwrap_or_default(),
        data_disks,
        nics,
        domain_xml: fields.get("domainXml").and_then(|value| domain_xml(&value)),
    };
    (machine, addresses)
}

fn firmware(text: &str) -> Result<Bootware, String> {
    let known = [Bootware::Bios, Bootware::Uefi];
    known.into_iter().find(|known| known.to_string() == text).ok_or_else(|| unknown_word(text, &["bios", "uefi"]))
}

fn disk_driver(value: &Value<'_>) -> Option<DiskDriver> {
    let fields = value.fields(&["cache", "io", "discard"])?;
    let word = |key: &'static str, known: &'static [&'static str]| {
        let parse = |text: &str| {
            if known.contains(&text) { Ok(text.to_owned()) } else { Err(unknown_word(text, known)) }
        };
        fields.optional(key, "a word that libvirt knows", parse).map(|word| word.value)
    };
    let default = DiskDriver::default();
    let driver = DiskDriver {
        cache: word("cache", &["none", "writeback", "writethrough", "directsync", "unsafe"]).unwrap_or(default.cache),
        io: word("io", &["threads", "native", "io_uring"]),
        discard: word("discard", &["unmap", "ignore"]).unwrap_or(default.discard),
    };
    // QEMU refuses it: Linux does such input and output only beside its page cache.
    let direct = ["none", "directsync"].contains(&driver.cache.as_str());
    if !value.is_layer() && driver.io.as_deref() == Some("native") && !direct {
        value.report(format!("io: native needs cache: none or directsync, found {}", driver.cache));
    }
    Some(driver)
}

fn data_disks(fields: &Fields<'_>) -> BTreeMap<String, DataDisk> {
    let Some(value) = fields.get("dataDisks") else { return BTreeMap::new() };
    let entries =
        value.entries("data disks by their names", |text| device_name("a data disk", text)).unwrap_or_default();
    let disks: BTreeMap<_, _> = entries.into_iter().filter_map(|(name, it)| Some((name, data_disk(&it?)?))).collect();
    if disks.len() > MOST_DISKS {
        value.report(format!("{} data disks are more than the {MOST_DISKS} that a machine can have", disks.len()));
    }
    disks
}

fn data_disk(value: &Value<'_>) -> Option<DataDisk> {
    let fields = value.fields(&["size", "mountPath", "fileSystem"])?;
    let size = fields.required("size", "a size such as 20GiB", |text| scalar::bounded(text, 1 << 20, 64 << 40));
    let path = fields.optional("mountPath", "the path of a folder in the node", guest::mount_path);
    let file_system = fields.optional("fileSystem", "ext4 or xfs", |text| match text {
        "ext4" | "xfs" => Ok(text.to_owned()),
        _ => Err(unknown_word(text, &["ext4", "xfs"])),
    });
    if let Some(value) = fields.get("fileSystem").filter(|value| !value.is_layer())
        && fields.get("mountPath").is_none()
    {
        value.report("fileSystem means something only beside mountPath");
    }
    let file_system = file_system.map_or_else(|| "ext4".to_owned(), |file_system| file_system.value);
    let size = size?.value;
    // Room for what tells a blank disk from another, at both its ends, and for the least that XFS takes.
    if let Some(value) = fields.get("size").filter(|value| !value.is_layer())
        && path.is_some()
        && size < LEAST_MOUNTED
    {
        value.report(format!("a disk with a file system has at least {}", scalar::size_text(LEAST_MOUNTED)));
    }
    Some(DataDisk { size, mount: path.map(|path| Mount { path: path.value, file_system }) })
}

/// Bytes.
const LEAST_MOUNTED: u64 = 512 << 20;

/// Reports disks that are mounted at one place, and files that a disk would hide; `files` are their paths.
pub(super) fn check_mounts<'f>(
    value: &Value<'_>,
    disks: &BTreeMap<String, DataDisk>,
    files: impl Iterator<Item = &'f String>,
) {
    let mounts: Vec<_> = disks.iter().filter_map(|(name, disk)| Some((name, disk.mount.as_ref()?))).collect();
    let mut mounted: BTreeMap<&str, &String> = BTreeMap::new();
    for (name, mount) in &mounts {
        if let Some(other) = mounted.insert(&mount.path, name) {
            value.report(format!("{other} and {name} are both mounted at {}", mount.path));
        }
    }
    for file in files {
        let within = |path: &str| file.strip_prefix(path).is_some_and(|rest| rest.starts_with('/'));
        for (name, mount) in mounts.iter().filter(|(_, mount)| within(&mount.path)) {
            value.report(format!("the file {file} would be hidden by {name}, which is mounted at {}", mount.path));
        }
    }
}

fn nics(fields: &Fields<'_>) -> (BTreeMap<String, FurtherNic>, Vec<NicAddress>) {
    let Some(value) = fields.get("nics") else { return Default::default() };
    let named = |text: &str| device_name("a network card", text);
    let (mut nics, mut addresses) = (BTreeMap::new(), Vec::new());
    for (name, value) in value.entries("network cards by their names", named).unwrap_or_default() {
        if let Some((nic, own)) = value.and_then(|value| nic(&value)) {
            addresses.extend(own.into_iter().map(|address| (nic.source.clone(), address)));
            nics.insert(name, nic);
        }
    }
    if nics.len() > MOST_NICS {
        value.report(format!(
            "{} further network cards are more than the {MOST_NICS} that a machine can have",
            nics.len()
        ));
    }
    if !value.is_layer() {
        check_subnets(&value, &nics);
    }
    (nics, addresses)
}

fn nic(value: &Value<'_>) -> Option<(FurtherNic, Vec<Placed<IpNet>>)> {
    let fields = value.fields(&["network", "bridge", "mtu", "address", "address6"])?;
    let network = fields.optional("network", "the name of a libvirt network", scalar::libvirt_name);
    let bridge = fields.optional("bridge", "a bridge of the hypervisor such as br0", scalar::interface);
    match (fields.get("network"), fields.get("bridge")) {
        (Some(_), Some(value)) => value.report("network and bridge are both given; a card is on one of them"),
        (None, None) if !value.is_layer() => value.report("missing key: network or bridge"),
        _ => {}
    }
    let mtu = fields.get("mtu").and_then(|value| value.number(&scalar::MTU));
    let address = fields.optional("address", "an address with its prefix such as 10.1.0.36/24", scalar::host4);
    let address6 = fields.optional("address6", "an address with its prefix such as fd00:11::36/64", scalar::host6);
    if let Some(value) = fields.get("mtu").filter(|_| address6.is_some() && mtu.is_some_and(|mtu| mtu < scalar::MTU6)) {
        value.report(scalar::small_mtu6());
    }
    let placed = address.as_ref().map(|address| address.with(IpNet::from));
    let placed6 = address6.as_ref().map(|address| address.with(IpNet::from));
    let source = bridge.map(|bridge| NicSource::Bridge(bridge.value));
    let nic = FurtherNic {
        source: source.or_else(|| network.map(|network| NicSource::Network(network.value)))?,
        mtu,
        address: address.map(|address| address.value),
        address6: address6.map(|address| address.value),
    };
    Some((nic, placed.into_iter().chain(placed6).collect()))
}

/// Two cards of a node in one subnet: the kernel would send through either, whichever was asked.
fn check_subnets(value: &Value<'_>, nics: &BTreeMap<String, FurtherNic>) {
    let subnets = nics.iter().flat_map(|(name, nic)| nic.addresses().map(move |net| (name, net)));
    let mut seen: Vec<(&String, IpNet)> = Vec::new();
    for (name, net) in subnets {
        if let Some((other, _)) = seen.iter().find(|(_, other)| overlap(*other, net)) {
            value.report(format!("{other} and {name} are both in {}", net.trunc()));
        }
        seen.push((name, net));
    }
}

/// Whether two subnets have an address in common.
pub(super) fn overlap(one: IpNet, other: IpNet) -> bool {
    one.contains(&other.network()) || other.contains(&one.network())
}

/// What a disk or network card may be called: it becomes part of a disk's serial, of which virtio takes 20 bytes, or of a
/// file's name.
fn device_name(what: &str, text: &str) -> Result<String, String> {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let edge = |b: Option<&u8>| b.is_some_and(|b| *b != b'-');
    let bytes = text.as_bytes();
    if (1..=16).contains(&text.len()) && text.bytes().all(inner) && edge(bytes.first()) && edge(bytes.last()) {
        return Ok(text.to_owned());
    }
    Err(format!("{} is not the name of {what}: at most 16 of a-z, 0-9 and \"-\"", quoted(text)))
}

/// What of `<domain>` is nodebake's alone.
const OURS: [&str; 11] = [
    "name",
    "uuid",
    "title",
    "metadata",
    "memory",
    "currentMemory",
    "maxMemory",
    "vcpu",
    "os",
    // What `stop` and a replacement count on.
    "on_poweroff",
    "on_reboot",
];

fn domain_xml(value: &Value<'_>) -> Option<String> {
    let text = value.text("a <domain> of libvirt's XML")?;
    match check_xml(text) {
        Ok(()) => Some(text.to_owned()),
        Err(problem) => {
            value.report(problem);
            None
        }
    }
}

/// More than libvirt's format ever has.
const DEEPEST: usize = 32;

fn check_xml(text: &str) -> Result<(), String> {
    // The error quotes what it met, whatever that is.
    let malformed = |error: roxmltree::Error| crate::printable::line(&format!("this is not well-formed XML: {error}"));
    let document = roxmltree::Document::parse(text).map_err(malformed)?;
    let root = document.root_element();
    if root.tag_name().name() != "domain" || root.tag_name().namespace().is_some() {
        return Err(format!("this begins with <{}>, not with <domain>", root.tag_name().name()));
    }
    if let Some(attribute) = root.attributes().next() {
        return Err(format!("the attribute {:?} of <domain> is nodebake's own", attribute.name()));
    }
    if root.descendants().any(|node| node.ancestors().nth(DEEPEST).is_some()) {
        return Err(format!("elements stand within each other more than {DEEPEST} deep"));
    }
    // libvirt gives none back, so a machine that is put back would stand open.
    let mut attributes = root.descendants().flat_map(|node| node.attributes()).map(|attribute| attribute.name());
    if let Some(name) = attributes.find(|name| ["passwd", "password"].contains(name)) {
        return Err(format!("a password has no place in the cluster file, found the attribute {name:?}"));
    }
    let mut elements = root.children().filter(roxmltree::Node::is_element);
    if let Some(node) = elements.find(|node| OURS.contains(&node.tag_name().name())) {
        return Err(format!("<{}> is nodebake's own", node.tag_name().name()));
    }
    let is_volume = |path: &str| path.rsplit('/').next().is_some_and(|name| name.starts_with("nodebake."));
    let mut values = root.descendants().flat_map(|node| node.attributes()).map(|attribute| attribute.value());
    match values.find(|value| is_volume(value)) {
        Some(path) => Err(format!("{} is a volume of nodebake's own", quoted(path))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_disks_fit_into_serials() {
        for good in ["data", "a", "0-9", "abcdefghijklmnop"] {
            assert_eq!(device_name("a data disk", good).as_deref(), Ok(good));
        }
        for bad in ["", "-a", "a-", "A", "a.b", "a_b", "abcdefghijklmnopq"] {
            let wanted = format!("{bad:?} is not the name of a data disk: at most 16 of a-z, 0-9 and \"-\"");
            assert_eq!(device_name("a data disk", bad), Err(wanted));
        }
    }

    #[test]
    fn xml_may_add_and_not_take_over() {
        for (text, wanted) in [
            ("<domain/>", Ok(())),
            ("<domain><cpu><topology sockets='1' cores='2' threads='1'/></cpu></domain>", Ok(())),
            ("<domain xmlns:q='urn:x'><q:commandline/></domain>", Ok(())),
            ("<devices/>", Err("this begins with <devices>, not with <domain>")),
            ("<domain type='xen'/>", Err("the attribute \"type\" of <domain> is nodebake's own")),
            ("<domain><uuid>1</uuid></domain>", Err("<uuid> is nodebake's own")),
            ("<domain><cpu/><os/></domain>", Err("<os> is nodebake's own")),
            ("<domain><on_poweroff>restart</on_poweroff></domain>", Err("<on_poweroff> is nodebake's own")),
            (
                "<domain><devices><disk><source file='/pool/nodebake.a.qcow2'/></disk></devices></domain>",
                Err("\"/pool/nodebake.a.qcow2\" is a volume of nodebake's own"),
            ),
        ] {
            assert_eq!(check_xml(text), wanted.map_err(ToOwned::to_owned), "{text}");
        }
        let deep = |levels: usize| format!("<domain>{}{}</domain>", "<a>".repeat(levels), "</a>".repeat(levels));
        assert_eq!(check_xml(&deep(30)), Ok(()));
        assert_eq!(check_xml(&deep(100_000)), Err("elements stand within each other more than 32 deep".to_owned()));
        let open = "<domain><devices><graphics type='vnc' passwd='x'/></devices></domain>";
        let wanted = "a password has no place in the cluster file, found the attribute \"passwd\"";
        assert_eq!(check_xml(open), Err(wanted.to_owned()));
        let error = check_xml("<domain>").err().unwrap_or_default();
        assert!(error.starts_with("this is not well-formed XML: "), "{error}");
        let tab = check_xml("<domain><a/\t></domain>");
        assert_eq!(tab, Err("this is not well-formed XML: expected '>' not '\\t' at 1:12".to_owned()));
    }
}
