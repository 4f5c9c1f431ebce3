//! A worker's machine as libvirt's domain XML.
//!
//! Nothing here asks the host: the same spec gives the same text. Why the settings are as they are:
//!
//! - Disks are named by their path, not by pool and volume: libvirt's `AppArmor` and `SELinux` drivers then know the
//!   files.
//! - `cache='writeback'` keeps the guest's flushes (etcd, kubelet and image layers stay consistent), works on every
//!   file system of the host (`none` needs `O_DIRECT`), and lets all guests share one copy of base image and payload in
//!   the host's page cache. `discard='unmap'` gives deleted container layers back to the host.
//! - The console and the first-boot channel write to files of the host, which are there from the first byte on, need no
//!   reader and so can never stop a boot; virtlogd bounds their size (docs/status.md).
//! - No graphics, USB or tablet: nothing of a worker needs them.

use std::collections::BTreeMap;
use std::fmt;

use super::mark::{Mark, VolumeName};
use super::record::Record;
use super::xml::Element;
use crate::boot::CHANNEL;
use crate::config::{Arch, Bootware, DiskDriver, Mac, NicSource};
use crate::digest::Digest;
use crate::render::payload_serial;

/// How the guest's CPU is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum VirtType {
    /// By hardware virtualisation.
    Kvm,
    /// By QEMU's emulation (TCG).
    Qemu,
}

impl fmt::Display for VirtType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kvm => "kvm",
            Self::Qemu => "qemu",
        })
    }
}

/// The guest's firmware.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Firmware {
    /// `SeaBIOS`; x86 only.
    Bios,
    /// EDK II, chosen by libvirt; the domain gets an NVRAM file of its own.
    Uefi,
}

impl From<Bootware> for Firmware {
    fn from(firmware: Bootware) -> Self {
        match firmware {
            Bootware::Bios => Self::Bios,
            Bootware::Uefi => Self::Uefi,
        }
    }
}

/// A qcow2 disk under a root disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backing {
    /// Its path.
    pub path: String,
}

/// A worker's machine; everything is decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainSpec {
    /// Name in libvirt: the node's.
    pub name: String,
    /// Its UUID, which is also the guest's DMI product UUID.
    pub uuid: uuid::Uuid,
    /// Title that virt-manager shows.
    pub title: String,
    /// Memory in bytes, a multiple of 1 KiB.
    pub memory: u64,
    /// Virtual CPUs.
    pub cpus: u32,
    /// Architecture of the guest.
    pub arch: Arch,
    /// How it runs.
    pub virt: VirtType,
    /// Its firmware.
    pub firmware: Firmware,
    /// Whether UEFI starts signed loaders alone; libvirt chooses where nothing is said.
    pub secure_boot: Option<bool>,
    /// Path of the root disk, qcow2.
    pub root: String,
    /// What the root disk starts from.
    pub backing: Backing,
    /// Path of the payload image, where it has a drive.
    pub payload: Option<String>,
    /// Digest of the payload image; the disk's serial comes from it, see [`payload_serial`].
    pub payload_digest: Digest,
    /// Path of the seed image.
    pub seed: String,
    /// Paths of its data disks, qcow2, by their names.
    pub data: BTreeMap<String, String>,
    /// How its disks are read and written.
    pub driver: DiskDriver,
    /// Its network cards; the first is on the nodes' network.
    pub cards: Vec<NetworkCard>,
    /// Path of the file that keeps what the serial console shows.
    pub console_log: String,
    /// Path of the file that the first-boot channel writes.
    pub first_boot_log: String,
    /// A user's `<domain>`, laid over ours; known to be well formed.
    pub over: Option<String>,
}

/// A network card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkCard {
    /// Its MAC.
    pub mac: Mac,
    /// What it is plugged into.
    pub source: NicSource,
    /// Largest packet in bytes, where it is not the network's own.
    pub mtu: Option<u32>,
}

impl DomainSpec {
    /// Digest of the XML without a mark: what a [`Mark`] keeps as `definition`.
    pub fn digest(&self) -> Digest {
        Digest::of(self.element(Vec::new()).document().as_bytes())
    }

    /// The domain's XML with its mark.
    pub fn to_xml(&self, mark: &Mark) -> String {
        self.to_xml_with(mark, &Record::default())
    }

    /// The same with a record beside the mark.
    pub fn to_xml_with(&self, mark: &Mark, record: &Record) -> String {
        let metadata = std::iter::once(mark.element()).chain(record.elements()).collect();
        self.element(metadata).document()
    }

    fn element(&self, metadata: Vec<Element>) -> Element {
        let over = self.over.as_deref().and_then(|xml| roxmltree::Document::parse(xml).ok());
        let own = self.own_element(metadata);
        match over {
            Some(over) => own.overlaid(Element::read(over.root_element())),
            None => own,
        }
    }

    fn own_element(&self, metadata: Vec<Element>) -> Element {
        Element::new("domain")
            .attr("type", self.virt)
            .child(Element::new("name").text(&self.name))
            .child(Element::new("uuid").text(self.uuid))
            .child(Element::new("title").text(&self.title))
            .children((!metadata.is_empty()).then(|| Element::new("metadata").children(metadata)))
            .child(Element::new("memory").attr("unit", "KiB").text(self.memory / 1024))
            .child(Element::new("vcpu").attr("placement", "static").text(self.cpus))
            .child(self.os())
            .child(self.features())
            .child(self.cpu())
            .child(Element::new("clock").attr("offset", "utc"))
            .child(Element::new("on_poweroff").text("destroy"))
            .child(Element::new("on_reboot").text("restart"))
            .child(Element::new("on_crash").text("destroy"))
            .child(self.devices())
    }

    fn os(&self) -> Element {
        let (arch, machine) = match self.arch {
            Arch::Amd64 => ("x86_64", "q35"),
            Arch::Arm64 => ("aarch64", "virt"),
        };
        let os = match self.firmware {
            Firmware::Bios => Element::new("os"),
            Firmware::Uefi => Element::new("os").attr("firmware", "efi"),
        };
        os.child(Element::new("type").attr("arch", arch).attr("machine", machine).text("hvm"))
            .children(self.secure_boot.map(secure_boot))
    }

    fn features(&self) -> Element {
        let features = Element::new("features").child(Element::new("acpi"));
        match self.arch {
            // Code of the guest's could change the firmware's variables otherwise.
            Arch::Amd64 => features
                .child(Element::new("apic"))
                .children((self.secure_boot == Some(true)).then(|| Element::new("smm").attr("state", "on"))),
            Arch::Arm64 => features,
        }
    }

    fn cpu(&self) -> Element {
        let cpu = |mode| Element::new("cpu").attr("mode", mode);
        match (self.virt, self.arch) {
            (VirtType::Kvm, _) => cpu("host-passthrough"),
            // Virtual machines in an emulated one: nobody runs them, but every boot would load their modules.
            (VirtType::Qemu, Arch::Amd64) => {
                cpu("maximum").child(Element::new("feature").attr("policy", "disable").attr("name", "svm"))
            }
            (VirtType::Qemu, Arch::Arm64) => cpu("maximum"),
        }
    }

    fn devices(&self) -> Element {
        Element::new("devices")
            .child(self.root_disk())
            .children(self.payload.as_deref().map(|path| self.payload_disk(path)))
            .children(self.data_disks())
            .children(self.seed_drive())
            .child(Element::new("controller").attr("type", "usb").attr("model", "none"))
            .children(self.cards.iter().map(network_card))
            .child(self.console())
            .child(self.first_boot_channel())
            // The kubelet counts on its memory: none is ever taken back.
            .child(Element::new("memballoon").attr("model", "none"))
            .child(
                Element::new("rng")
                    .attr("model", "virtio")
                    .child(Element::new("backend").attr("model", "random").text("/dev/urandom")),
            )
    }

    fn root_disk(&self) -> Element {
        let format = Element::new("format").attr("type", "qcow2");
        // With the whole chain given, libvirt reads no header of a file that a guest has written.
        let backing = Element::new("backingStore")
            .attr("type", "file")
            .child(format)
            .child(Element::new("source").attr("file", &self.backing.path))
            .child(Element::new("backingStore"));
        Element::new("disk")
            .attr("type", "file")
            .attr("device", "disk")
            .child(self.disk_driver())
            .child(Element::new("source").attr("file", &self.root))
            .child(backing)
            .child(Element::new("target").attr("dev", "vda").attr("bus", "virtio"))
            .child(Element::new("boot").attr("order", 1))
    }

    /// How the disks that are written are driven.
    fn disk_driver(&self) -> Element {
        let DiskDriver { cache, io, discard } = &self.driver;
        let driver = driver("qcow2").attr("cache", cache);
        let driver = if let Some(io) = io { driver.attr("io", io) } else { driver };
        driver.attr("discard", discard)
    }

    fn data_disks(&self) -> Vec<Element> {
        let disk = |(target, (name, path)): (char, (&String, &String))| {
            Element::new("disk")
                .attr("type", "file")
                .attr("device", "disk")
                .child(self.disk_driver())
                .child(Element::new("source").attr("file", path))
                .child(Element::new("backingStore"))
                .child(Element::new("target").attr("dev", format!("vd{target}")).attr("bus", "virtio"))
                .child(Element::new("serial").text(format!("nd-{name}")))
        };
        // Behind root disk and payload.
        ('c'..='z').zip(&self.data).map(disk).collect()
    }

    fn payload_disk(&self, path: &str) -> Element {
        Element::new("disk")
            .attr("type", "file")
            .attr("device", "disk")
            .child(driver("raw").attr("cache", "writeback"))
            .child(Element::new("source").attr("file", path))
            .child(Element::new("backingStore"))
            .child(Element::new("target").attr("dev", "vdb").attr("bus", "virtio"))
            .child(Element::new("readonly"))
            .child(Element::new("shareable"))
            .child(Element::new("serial").text(payload_serial(self.payload_digest)))
    }

    /// The seed's drive, and the controller where the machine type brings none.
    fn seed_drive(&self) -> Vec<Element> {
        let (bus, controller) = match self.arch {
            Arch::Amd64 => ("sata", None),
            Arch::Arm64 => ("scsi", Some(Element::new("controller").attr("type", "scsi").attr("model", "virtio-scsi"))),
        };
        let drive = Element::new("disk")
            .attr("type", "file")
            .attr("device", "cdrom")
            .child(driver("raw"))
            .child(Element::new("source").attr("file", &self.seed))
            .child(Element::new("backingStore"))
            .child(Element::new("target").attr("dev", "sda").attr("bus", bus))
            .child(Element::new("readonly"));
        std::iter::once(drive).chain(controller).collect()
    }

    fn console(&self) -> Element {
        Element::new("serial")
            .attr("type", "pty")
            .child(Element::new("log").attr("file", &self.console_log).attr("append", "off"))
            .child(Element::new("target").attr("port", 0))
    }

    fn first_boot_channel(&self) -> Element {
        Element::new("channel")
            .attr("type", "file")
            .child(Element::new("source").attr("path", &self.first_boot_log).attr("append", "off"))
            .child(Element::new("target").attr("type", "virtio").attr("name", CHANNEL))
    }
}

/// What firmware libvirt looks for (<https://libvirt.org/formatdomain.html#bios-bootloader>). Without enrolled keys, nothing
/// would be compared with anything.
fn secure_boot(wanted: bool) -> Element {
    let enabled = if wanted { "yes" } else { "no" };
    let feature = |name| Element::new("feature").attr("enabled", enabled).attr("name", name);
    Element::new("firmware").child(feature("secure-boot")).child(feature("enrolled-keys"))
}

fn network_card(card: &NetworkCard) -> Element {
    let (kind, name) = match &card.source {
        NicSource::Network(name) => ("network", name),
        NicSource::Bridge(name) => ("bridge", name),
    };
    Element::new("interface")
        .attr("type", kind)
        .child(Element::new("mac").attr("address", card.mac))
        .child(Element::new("source").attr(kind, name))
        .child(Element::new("model").attr("type", "virtio"))
        .children(card.mtu.map(|mtu| Element::new("mtu").attr("size", mtu)))
}

fn driver(format: &'static str) -> Element {
    Element::new("driver").attr("name", "qemu").attr("type", format)
}

/// What is in the drive that a machine's seed is put into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Drive {
    /// The machine has no such drive.
    Missing,
    /// Nothing: the seed was taken out.
    Empty,
    /// A seed of ours.
    Seed(VolumeName),
    /// What somebody else put there.
    Other,
}

/// The first CD-ROM drive of a domain; the one with a seed of ours, where there is one.
fn drive_node<'a>(document: &'a roxmltree::Document<'a>) -> Option<(roxmltree::Node<'a, 'a>, Drive)> {
    let devices = document.root_element().children().find(|node| node.has_tag_name("devices"))?;
    let drives =
        devices.children().filter(|node| node.has_tag_name("disk") && node.attribute("device") == Some("cdrom"));
    let mut drives: Vec<_> = drives.map(|drive| (drive, medium(drive))).collect();
    let seed = drives.iter().position(|(_, held)| matches!(held, Drive::Seed(_)));
    (!drives.is_empty()).then(|| drives.swap_remove(seed.unwrap_or(0)))
}

fn medium(drive: roxmltree::Node<'_, '_>) -> Drive {
    let Some(source) = drive.children().find(|node| node.has_tag_name("source")) else { return Drive::Empty };
    let name = source.attribute("file").and_then(|path| path.rsplit('/').next()?.parse().ok());
    name.filter(|name| matches!(name, VolumeName::Seed { .. })).map_or(Drive::Other, Drive::Seed)
}

/// The volumes of ours that a domain's XML names as sources of its disks, each before what it stands on.
pub fn volumes(xml: &str) -> Vec<VolumeName> {
    let Ok(document) = roxmltree::Document::parse(xml) else { return Vec::new() };
    let devices = document.root_element().children().filter(|node| node.has_tag_name("devices"));
    let disks = devices.flat_map(|devices| devices.children()).filter(|node| node.has_tag_name("disk"));
    let sources = disks.flat_map(|disk| disk.descendants()).filter(|node| node.has_tag_name("source"));
    sources.filter_map(|source| source.attribute("file")?.rsplit('/').next()?.parse().ok()).collect()
}

/// What the drive for seeds holds, by a domain's XML.
pub(super) fn drive(xml: &str) -> Drive {
    let document = roxmltree::Document::parse(xml).ok();
    document.as_ref().and_then(drive_node).map_or(Drive::Missing, |(_, held)| held)
}

/// The drive of a domain that holds a seed of ours, as the same `<disk>` with nothing in it, and where that stands in
/// the domain's XML; `None` if no drive holds one.
pub(super) fn emptied_drive(xml: &str) -> Option<(String, std::ops::Range<usize>)> {
    let document = roxmltree::Document::parse(xml).ok()?;
    let (drive, Drive::Seed(_)) = drive_node(&document)? else { return None };
    let whole = drive.range();
    let mut kept = String::new();
    let mut at = whole.start;
    for gone in drive.children().filter(|node| node.has_tag_name("source") || node.has_tag_name("backingStore")) {
        // With the element go the blanks before it.
        kept.push_str(xml[at..gone.range().start].trim_end());
        at = gone.range().end;
    }
    kept.push_str(&xml[at..whole.end]);
    Some((kept, whole))
}

/// Whether libvirt chooses UEFI firmware for a domain, which then has a file of its variables.
pub(super) fn is_uefi(xml: &str) -> bool {
    let Ok(document) = roxmltree::Document::parse(xml) else { return false };
    document.root_element().children().any(|node| node.has_tag_name("os") && node.attribute("firmware") == Some("efi"))
}

/// Digest of a domain's XML as libvirt keeps it, without `<metadata>`.
pub(super) fn stored_digest(xml: &str) -> Digest {
    let metadata = roxmltree::Document::parse(xml).ok().and_then(|document| {
        document.root_element().children().find(|node| node.has_tag_name("metadata")).map(|node| node.range())
    });
    match metadata {
        // libvirt puts the element on lines of its own: with it go the blanks before it.
        Some(range) => Digest::of(format!("{}{}", xml[..range.start].trim_end(), &xml[range.end..]).as_bytes()),
        None => Digest::of(xml.as_bytes()),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::machine::MarkState;

    fn card(source: NicSource, mtu: Option<u32>) -> NetworkCard {
        NetworkCard { mac: "52:54:00:12:34:56".parse().unwrap(), source, mtu }
    }

    fn spec() -> DomainSpec {
        DomainSpec {
            name: "worker-node-1".to_owned(),
            uuid: uuid::Uuid::from_u128(0x0123_4567_89ab_5def_8123_4567_89ab_cdef),
            title: "seed/worker-node-1 (nodebake)".to_owned(),
            memory: 2 << 30,
            cpus: 2,
            arch: Arch::Amd64,
            virt: VirtType::Kvm,
            firmware: Firmware::Bios,
            secure_boot: None,
            root: "/pool/root.qcow2".to_owned(),
            backing: Backing { path: "/pool/base.qcow2".to_owned() },
            payload: Some("/pool/payload.iso".to_owned()),
            payload_digest: Digest::of(b"payload"),
            seed: "/pool/seed.iso".to_owned(),
            data: BTreeMap::new(),
            driver: DiskDriver::default(),
            cards: vec![card(NicSource::Network("seed".to_owned()), None)],
            console_log: "/logs/console.log".to_owned(),
            first_boot_log: "/logs/first-boot.log".to_owned(),
            over: None,
        }
    }

    fn mark(spec: &DomainSpec) -> Mark {
        Mark {
            cluster: "seed".parse().unwrap(),
            ca: Digest::of(b"ca"),
            node: spec.name.parse().unwrap(),
            payload: spec.payload_digest,
            seed: Digest::of(b"seed"),
            base: Digest::of(b"base").to_string(),
            definition: spec.digest(),
            state: MarkState::Creating,
            stored: None,
            boot_id: None,
            stage: None,
        }
    }

    fn data(names: &[&str]) -> BTreeMap<String, String> {
        names.iter().map(|name| ((*name).to_owned(), format!("/pool/{name}.qcow2"))).collect()
    }

    /// What a user may want: pinning, huge pages, a watchdog, a flag of QEMU's own.
    const OVER: &str = "<domain xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
      <memoryBacking><hugepages/></memoryBacking>
      <cputune><vcpupin vcpu='0' cpuset='2'/></cputune>
      <cpu><topology sockets='1' cores='2' threads='1'/></cpu>
      <on_crash>restart</on_crash>
      <devices><watchdog model='itco' action='reset'/></devices>
      <qemu:commandline><qemu:arg value='-no-user-config'/></qemu:commandline>
    </domain>";

    /// tests/libvirt.rs has libvirt validate the same files. `NODEBAKE_BLESS=1` writes them anew.
    #[test]
    fn golden() {
        let tcg = DomainSpec { virt: VirtType::Qemu, ..spec() };
        let further = [
            ("a", NicSource::Network("storage".to_owned()), None),
            ("b", NicSource::Bridge("br1".to_owned()), Some(9000)),
        ];
        let id = crate::config::ClusterId { name: "seed".parse().unwrap(), ca: Digest::of(b"ca") };
        let mac = |name| id.nic_mac(&"worker-node-1".parse().unwrap(), name);
        let further = further.map(|(name, source, mtu)| NetworkCard { mac: mac(name), source, mtu }).to_vec();
        let cases = [
            ("amd64-kvm-bios", spec()),
            ("amd64-tcg-bios", tcg.clone()),
            ("amd64-kvm-uefi", DomainSpec { firmware: Firmware::Uefi, ..spec() }),
            ("secure-boot", DomainSpec { firmware: Firmware::Uefi, secure_boot: Some(true), ..spec() }),
            ("no-secure-boot", DomainSpec { firmware: Firmware::Uefi, secure_boot: Some(false), ..spec() }),
            ("arm64-tcg-uefi", DomainSpec { arch: Arch::Arm64, firmware: Firmware::Uefi, ..tcg }),
            ("bridge", DomainSpec { cards: vec![card(NicSource::Bridge("br0".to_owned()), Some(1450))], ..spec() }),
            ("further-cards", DomainSpec { cards: [spec().cards, further].concat(), ..spec() }),
            (
                "disk-driver",
                DomainSpec {
                    driver: DiskDriver {
                        cache: "none".to_owned(),
                        io: Some("native".to_owned()),
                        discard: "ignore".to_owned(),
                    },
                    ..spec()
                },
            ),
            ("data-disks", DomainSpec { data: data(&["data", "logs"]), ..spec() }),
            ("users-xml", DomainSpec { over: Some(OVER.to_owned()), ..spec() }),
            (
                "escaped",
                DomainSpec {
                    root: "/a 'b' \"c\" & <d>/ä.qcow2".to_owned(),
                    cards: vec![card(NicSource::Network("<&'\"".to_owned()), None)],
                    ..spec()
                },
            ),
        ];
        for (name, spec) in cases {
            let file = format!("{}/src/machine/golden/{name}.xml", env!("CARGO_MANIFEST_DIR"));
            let xml = spec.to_xml(&mark(&spec));
            if std::env::var_os("NODEBAKE_BLESS").is_some() {
                std::fs::write(&file, &xml).unwrap();
            }
            assert_eq!(xml, std::fs::read_to_string(&file).unwrap(), "{name}");
        }
    }

    #[test]
    fn a_seed_of_ours_and_nothing_else_is_taken_out_of_the_drive() {
        let id = crate::config::ClusterId { name: "seed".parse().unwrap(), ca: Digest::of(b"ca") };
        let seed = VolumeName::seed(&id, &"worker-node-1".parse().unwrap(), Digest::of(b"seed"));
        for arch in [Arch::Amd64, Arch::Arm64] {
            let with = DomainSpec { seed: format!("/pool/{seed}"), arch, ..spec() };
            let with = with.to_xml(&mark(&with));
            assert_eq!(drive(&with), Drive::Seed(seed.clone()));
            let (emptied, range) = emptied_drive(&with).unwrap();
            let bus = if arch == Arch::Amd64 { "sata" } else { "scsi" };
            let wanted = format!(
                "<disk type='file' device='cdrom'>\n      <driver name='qemu' type='raw'/>\n      \
                 <target dev='sda' bus='{bus}'/>\n      <readonly/>\n    </disk>"
            );
            assert_eq!(emptied, wanted);
            let without = format!("{}{emptied}{}", &with[..range.start], &with[range.end..]);
            assert_eq!((drive(&without), emptied_drive(&without)), (Drive::Empty, None));
        }
        // What a user put there, another kind of volume of ours, and a machine without a drive.
        let base = VolumeName::Base(Digest::of(b"base")).to_string();
        for other in ["/iso/debian.iso", "/pool/", &format!("/pool/{base}")] {
            let xml = DomainSpec { seed: other.to_owned(), ..spec() }.element(Vec::new()).document();
            assert_eq!((drive(&xml), emptied_drive(&xml)), (Drive::Other, None), "{other}");
        }
        for none in ["", "<domain/>", "<domain><devices><disk device='disk'/></devices></domain>"] {
            assert_eq!((drive(none), emptied_drive(none)), (Drive::Missing, None), "{none}");
        }
        // One of two drives.
        let two = format!(
            "<domain><devices><disk device='cdrom'><source file='/x.iso'/></disk><disk device='cdrom'>\
             <source file='/pool/{seed}'/></disk></devices></domain>"
        );
        assert_eq!(drive(&two), Drive::Seed(seed));
        assert_eq!(emptied_drive(&two).unwrap().0, "<disk device='cdrom'></disk>");
    }

    #[test]
    fn uefi_is_told_by_the_definition() {
        let xml = |firmware| DomainSpec { firmware, ..spec() }.element(Vec::new()).document();
        let found = [xml(Firmware::Bios), xml(Firmware::Uefi), "<domain".to_owned()].map(|xml| is_uefi(&xml));
        assert_eq!(found, [false, true, false]);
    }

    #[test]
    fn the_mark_is_no_part_of_the_definition() {
        let started = Mark { state: MarkState::Started, ..mark(&spec()) };
        let with_mark = spec().to_xml(&started);
        assert_eq!(Mark::from_domain_xml(&with_mark), Ok(Some(started)));
        assert_eq!(stored_digest(&with_mark), spec().digest());
        assert_ne!(DomainSpec { cpus: 3, ..spec() }.digest(), spec().digest());
    }
}
