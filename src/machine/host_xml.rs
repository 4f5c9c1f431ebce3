//! libvirt's XML of networks, pools, volumes and capabilities: written from specs, read into infos.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};

use jiff::Timestamp;
use roxmltree::{Document, Node};

use super::xml::Element;
use super::{
    CpuModel, NetworkInfo, NetworkSpec, OverlaySpec, PoolInfo, PoolSpec, Reservation, VolumeFormat, VolumeInfo,
    VolumeName, VolumeSpec,
};

/// XML namespace of the marking in a network's metadata.
const NETWORK_NAMESPACE: &str = "https://nodebake.dev/xmlns/network/1";

pub(super) fn network(spec: &NetworkSpec) -> String {
    let made_for = Element::new("nodebake:network")
        .attr("xmlns:nodebake", NETWORK_NAMESPACE)
        .attr("cluster", &spec.cluster.name)
        .attr("ca", spec.cluster.ca);
    Element::new("network")
        .child(Element::new("name").text(&spec.name))
        .child(Element::new("metadata").child(made_for))
        .child(Element::new("forward").attr("mode", "nat").children(spec.ipv6.map(|_| {
            // libvirt routes IPv6 otherwise, and nobody outside knows the way back.
            Element::new("nat").attr("ipv6", "yes")
        })))
        .child(Element::new("bridge").attr("stp", "on").attr("delay", 0))
        .children(spec.mtu.map(|mtu| Element::new("mtu").attr("size", mtu)))
        .child(
            Element::new("ip")
                .attr("family", "ipv4")
                .attr("address", spec.gateway)
                .attr("prefix", spec.cidr.prefix_len())
                .children((!spec.reservations.is_empty()).then(|| {
                    // Without a range it gives nothing to anybody else.
                    Element::new("dhcp").children(spec.reservations.iter().map(host))
                })),
        )
        .children(spec.ipv6.map(|ipv6| {
            let ip = Element::new("ip").attr("family", "ipv6").attr("address", ipv6.gateway);
            ip.attr("prefix", ipv6.cidr.prefix_len())
        }))
        .document()
}

fn host(kept: &Reservation) -> Element {
    let Reservation { mac, name, address } = kept;
    let host = mac.iter().fold(Element::new("host"), |host, mac| host.attr("mac", mac));
    let host = name.iter().fold(host, |host, name| host.attr("name", name));
    address.iter().fold(host, |host, address| host.attr("ip", address))
}

/// What is kept for one guest, as an update of a network takes it.
pub(super) fn reservation(kept: &Reservation) -> String {
    host(kept).document()
}

/// The UUID of a pool that nodebake makes. libvirt keeps no metadata of pools: this is how we know ours again.
pub(super) fn pool_uuid(name: &str) -> uuid::Uuid {
    const NAMESPACE: uuid::Uuid = uuid::Uuid::from_u128(0x2f64_0a7e_93c1_5b0d_9a35_61c8_7e0b_d4f2);
    uuid::Uuid::new_v5(&NAMESPACE, name.as_bytes())
}

pub(super) fn pool(spec: &PoolSpec) -> String {
    Element::new("pool")
        .attr("type", "dir")
        .child(Element::new("name").text(&spec.name))
        .child(Element::new("uuid").text(pool_uuid(&spec.name)))
        .child(Element::new("target").child(Element::new("path").text(&spec.path)))
        .document()
}

/// The volume to upload into. It is defined as raw: libvirt then makes an empty file of the size, and finds the
/// real format by itself when the content is there.
pub(super) fn upload(spec: &VolumeSpec) -> String {
    volume(&spec.name, spec.size).child(target("raw")).document()
}

pub(super) fn overlay(spec: &OverlaySpec) -> String {
    let backing = spec.backing.as_ref().map(|path| {
        Element::new("backingStore")
            .child(Element::new("path").text(path))
            .child(Element::new("format").attr("type", "qcow2"))
    });
    volume(&spec.name, spec.capacity).child(target("qcow2")).children(backing).document()
}

/// A copy of another volume's content, with no file under it.
pub(super) fn flat(name: &VolumeName, capacity: u64) -> String {
    let format = if name.format() == VolumeFormat::Qcow2 { "qcow2" } else { "raw" };
    volume(name, capacity).child(target(format)).document()
}

fn volume(name: &VolumeName, capacity: u64) -> Element {
    Element::new("volume")
        .child(Element::new("name").text(name))
        .child(Element::new("capacity").attr("unit", "bytes").text(capacity))
        .child(Element::new("allocation").attr("unit", "bytes").text(0))
}

fn target(format: &'static str) -> Element {
    // Seeds hold keys: nobody but root and, while a guest runs, QEMU may read any of our files.
    Element::new("target")
        .child(Element::new("format").attr("type", format))
        .child(Element::new("permissions").child(Element::new("mode").text("0600")))
}

/// Why a text is not what libvirt should have sent.
type Problem = String;

fn parse(xml: &str) -> Result<Document<'_>, Problem> {
    Document::parse(xml).map_err(|error| error.to_string())
}

fn child<'a, 'input>(node: Node<'a, 'input>, name: &str) -> Option<Node<'a, 'input>> {
    node.children().find(|child| child.has_tag_name(name))
}

fn text_at<'a>(root: Node<'a, '_>, path: &[&str]) -> Option<&'a str> {
    path.iter().try_fold(root, |node, name| child(node, name))?.text()
}

fn need<'a>(root: Node<'a, '_>, path: &[&str]) -> Result<&'a str, Problem> {
    text_at(root, path).ok_or_else(|| format!("no {}", path.join("/")))
}

/// What the driver tells beside the XML.
pub(super) struct Running {
    pub(super) active: bool,
    pub(super) autostart: bool,
}

pub(super) fn read_network(xml: &str, running: &Running) -> Result<NetworkInfo, Problem> {
    let document = parse(xml)?;
    let root = document.root_element();
    let ip = root
        .children()
        .find(|node| node.has_tag_name("ip") && node.attribute("family").is_none_or(|family| family == "ipv4"));
    let ip6 = root.children().find(|node| node.has_tag_name("ip") && node.attribute("family") == Some("ipv6"));
    let ours = child(root, "metadata")
        .is_some_and(|metadata| metadata.children().any(|node| node.tag_name().namespace() == Some(NETWORK_NAMESPACE)));
    Ok(NetworkInfo {
        name: need(root, &["name"])?.to_owned(),
        active: running.active,
        autostart: running.autostart,
        bridge: child(root, "bridge").and_then(|node| node.attribute("name")).map(str::to_owned),
        // libvirt's default mode of a <forward> without one is NAT.
        forward: child(root, "forward").map(|node| node.attribute("mode").unwrap_or("nat").to_owned()),
        address: ip.map(read_address).transpose()?,
        address6: ip6.map(read_address6).transpose()?,
        dhcp: ip.and_then(|ip| child(ip, "dhcp")).map(read_ranges).transpose()?.unwrap_or_default(),
        reservations: ip.and_then(|ip| child(ip, "dhcp")).map(read_reservations).transpose()?.unwrap_or_default(),
        ours,
    })
}

fn ipv4(node: Node<'_, '_>, attribute: &str) -> Result<Ipv4Addr, Problem> {
    let text = node.attribute(attribute).unwrap_or_default();
    text.parse().map_err(|_| format!("{attribute} {text:?} is not an IPv4 address"))
}

fn read_address(ip: Node<'_, '_>) -> Result<ipnet::Ipv4Net, Problem> {
    let address = ipv4(ip, "address")?;
    if let Some(prefix) = ip.attribute("prefix") {
        let prefix = prefix.parse().map_err(|_| format!("prefix {prefix:?}"))?;
        return ipnet::Ipv4Net::new(address, prefix).map_err(|error| error.to_string());
    }
    if ip.attribute("netmask").is_some() {
        return ipnet::Ipv4Net::with_netmask(address, ipv4(ip, "netmask")?).map_err(|error| error.to_string());
    }
    // libvirt then takes the class of the address (RFC 791).
    let prefix = match address.octets()[0] {
        0..=127 => 8,
        128..=191 => 16,
        _ => 24,
    };
    ipnet::Ipv4Net::new(address, prefix).map_err(|error| error.to_string())
}

fn read_address6(ip: Node<'_, '_>) -> Result<ipnet::Ipv6Net, Problem> {
    let text = ip.attribute("address").unwrap_or_default();
    let address: Ipv6Addr = text.parse().map_err(|_| format!("address {text:?} is not an IPv6 address"))?;
    // libvirt's own where none is given.
    let prefix = ip.attribute("prefix").unwrap_or("64");
    let prefix = prefix.parse().map_err(|_| format!("prefix {prefix:?}"))?;
    ipnet::Ipv6Net::new(address, prefix).map_err(|error| error.to_string())
}

fn read_ranges(dhcp: Node<'_, '_>) -> Result<Vec<(Ipv4Addr, Ipv4Addr)>, Problem> {
    let ranges = dhcp.children().filter(|node| node.has_tag_name("range"));
    ranges.map(|range| Ok((ipv4(range, "start")?, ipv4(range, "end")?))).collect()
}

fn read_reservations(dhcp: Node<'_, '_>) -> Result<Vec<Reservation>, Problem> {
    let hosts = dhcp.children().filter(|node| node.has_tag_name("host"));
    let reservation = |host: Node<'_, '_>| {
        let address = host.attribute("ip").map(|_| ipv4(host, "ip")).transpose()?;
        // A MAC that is none of a guest of ours' kind is none that we need.
        let mac = host.attribute("mac").and_then(|mac| mac.parse().ok());
        Ok(Reservation { mac, name: host.attribute("name").map(str::to_owned), address })
    };
    hosts.map(reservation).collect()
}

pub(super) fn read_pool(xml: &str, running: &Running) -> Result<PoolInfo, Problem> {
    let document = parse(xml)?;
    let root = document.root_element();
    Ok(PoolInfo {
        name: need(root, &["name"])?.to_owned(),
        kind: root.attribute("type").unwrap_or_default().to_owned(),
        path: text_at(root, &["target", "path"]).unwrap_or_default().to_owned(),
        active: running.active,
        autostart: running.autostart,
        capacity: 0,
        available: 0,
    })
}

pub(super) fn read_volume(xml: &str) -> Result<VolumeInfo, Problem> {
    let document = parse(xml)?;
    let root = document.root_element();
    let bytes = |name| {
        let text = need(root, &[name])?;
        text.parse().map_err(|_| format!("{name} {text:?}"))
    };
    let format = child(root, "target").and_then(|target| child(target, "format")?.attribute("type"));
    Ok(VolumeInfo {
        name: need(root, &["name"])?.to_owned(),
        path: need(root, &["target", "path"])?.to_owned(),
        capacity: bytes("capacity")?,
        allocation: bytes("allocation")?,
        format: match format {
            None | Some("raw") => VolumeFormat::Raw,
            Some("qcow2") => VolumeFormat::Qcow2,
            Some("iso") => VolumeFormat::Iso,
            Some(other) => VolumeFormat::Other(other.to_owned()),
        },
        backing: text_at(root, &["backingStore", "path"]).map(str::to_owned),
    })
}

/// Size of a volume's file in bytes, where libvirt tells it; the capacity is what a guest sees in it.
pub(super) fn read_file_size(xml: &str) -> Result<Option<u64>, Problem> {
    let document = parse(xml)?;
    let text = text_at(document.root_element(), &["physical"]);
    text.map(|text| text.parse().map_err(|_| format!("physical {text:?}"))).transpose()
}

/// What guests of one kind can have.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct DomainCapabilities {
    pub(super) emulator: String,
    /// The versioned machine type.
    pub(super) machine: String,
    /// Whether libvirt finds UEFI firmware for it,
    pub(super) uefi: bool,
    /// and some with secure boot.
    pub(super) secure_boot: bool,
    pub(super) cpu: Option<CpuModel>,
}

pub(super) fn read_domain_capabilities(xml: &str) -> Result<DomainCapabilities, Problem> {
    let document = parse(xml)?;
    let root = document.root_element();
    let os = child(root, "os");
    let offers = |element: Option<Node<'_, '_>>, name: &str, word: &str| {
        let choices = element.into_iter().flat_map(|element| element.children());
        let mut choices = choices.filter(|node| node.attribute("name") == Some(name));
        choices.any(|node| node.children().any(|value| value.text() == Some(word)))
    };
    Ok(DomainCapabilities {
        emulator: need(root, &["path"])?.to_owned(),
        machine: need(root, &["machine"])?.to_owned(),
        uefi: offers(os, "firmware", "efi"),
        secure_boot: offers(os.and_then(|os| child(os, "loader")), "secure", "yes"),
        cpu: read_host_model(root),
    })
}

/// The mode `host-model` of domain capabilities (<https://libvirt.org/formatdomaincaps.html#cpu-configuration>).
fn read_host_model(root: Node<'_, '_>) -> Option<CpuModel> {
    let modes = child(root, "cpu")?.children().filter(|node| node.has_tag_name("mode"));
    let mode = modes.into_iter().find(|mode| mode.attribute("name") == Some("host-model"))?;
    let with = |policy: &str| -> BTreeSet<String> {
        let features = mode.children().filter(|node| node.has_tag_name("feature"));
        let features = features.filter(|feature| feature.attribute("policy") == Some(policy));
        features.filter_map(|feature| feature.attribute("name")).map(str::to_owned).collect()
    };
    Some(CpuModel { name: text_at(mode, &["model"])?.to_owned(), more: with("require"), less: with("disable") })
}

/// Largest packet of a host's interface in bytes, where libvirt tells it.
pub(super) fn read_mtu(xml: &str) -> Result<Option<u32>, Problem> {
    let document = parse(xml)?;
    let size = child(document.root_element(), "mtu").and_then(|mtu| mtu.attribute("size"));
    size.map(|size| size.parse().map_err(|_| format!("mtu {size:?}"))).transpose()
}

/// When a volume was last written, where libvirt tells it.
pub(super) fn read_written(xml: &str) -> Result<Option<Timestamp>, Problem> {
    let document = parse(xml)?;
    let text = text_at(document.root_element(), &["target", "timestamps", "mtime"]);
    // <seconds>.<nanoseconds>, of these always all nine digits.
    let time = |text: &str| {
        let (seconds, nanoseconds) = text.split_once('.').unwrap_or((text, "0"));
        Timestamp::new(seconds.parse().ok()?, nanoseconds.parse().ok()?).ok()
    };
    text.map(|text| time(text).ok_or_else(|| format!("mtime {text:?}"))).transpose()
}

/// User and group that libvirt runs QEMU as, from the host's capabilities: the base label of the security model `dac` for
/// guests that are not emulated, which is also that of those that are, as in `+64055:+108`.
pub(super) fn read_qemu_user(xml: &str) -> Result<Option<(u32, u32)>, Problem> {
    let document = parse(xml)?;
    let host = child(document.root_element(), "host");
    let models = host.into_iter().flat_map(|host| host.children()).filter(|node| node.has_tag_name("secmodel"));
    let Some(dac) = models.into_iter().find(|model| text_at(*model, &["model"]) == Some("dac")) else {
        return Ok(None);
    };
    let label = text_at(dac, &["baselabel"]).unwrap_or_default();
    let id = |text: &str| text.trim_start_matches('+').parse().map_err(|_| format!("baselabel {label:?}"));
    let (user, group) = label.split_once(':').ok_or_else(|| format!("baselabel {label:?}"))?;
    Ok(Some((id(user)?, id(group)?)))
}

/// Name and UUID of a domain's XML.
pub(super) fn read_domain_names(xml: &str) -> Result<(String, uuid::Uuid), Problem> {
    let document = parse(xml)?;
    let root = document.root_element();
    let uuid = need(root, &["uuid"])?;
    Ok((need(root, &["name"])?.to_owned(), uuid.parse().map_err(|_| format!("uuid {uuid:?}"))?))
}

/// libvirt's version numbers: major * 1,000,000 + minor * 1,000 + release.
pub(super) fn version(number: u32) -> semver::Version {
    semver::Version::new(u64::from(number / 1_000_000), u64::from(number / 1000 % 1000), u64::from(number % 1000))
}

/// Why an x86 host cannot use kvm, by its /proc/cpuinfo.
///
/// Where a hypervisor hands out /dev/kvm without the CPU's extensions, libvirt lists kvm, and guests die at once.
pub(super) fn cpu_lacks_kvm(cpuinfo: &str) -> Option<String> {
    let flags = cpuinfo.lines().find_map(|line| line.strip_prefix("flags")?.split_once(':'))?.1;
    let has = |flag| flags.split_whitespace().any(|word| word == flag);
    (!has("vmx") && !has("svm")).then(|| "the CPU has neither vmx nor svm (/proc/cpuinfo)".to_owned())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::config::{ClusterId, Mac, Network6};
    use crate::digest::Digest;

    const STOPPED: Running = Running { active: false, autostart: false };

    fn net(text: &str) -> ipnet::Ipv4Net {
        text.parse().unwrap()
    }

    #[test]
    fn our_network_reads_back() {
        let spec = NetworkSpec {
            mtu: None,
            ipv6: None,
            reservations: Vec::new(),
            name: "seed <1>".to_owned(),
            cidr: net("10.0.0.0/20"),
            gateway: "10.0.0.1".parse().unwrap(),
            cluster: ClusterId { name: "seed".parse().unwrap(), ca: Digest::of(b"ca") },
        };
        let info = read_network(&network(&spec), &Running { active: true, autostart: false }).unwrap();
        let expected = NetworkInfo {
            name: "seed <1>".to_owned(),
            active: true,
            autostart: false,
            bridge: None,
            forward: Some("nat".to_owned()),
            address: Some(net("10.0.0.1/20")),
            address6: None,
            dhcp: Vec::new(),
            reservations: Vec::new(),
            ours: true,
        };
        assert_eq!(info, expected);
        let kept = |number: u8| Reservation {
            mac: Some(Mac::from([0x52, 0x54, 0, 0, 0, number])),
            name: Some(format!("n{number}")),
            address: Some([10, 0, 0, number].into()),
        };
        let spec = NetworkSpec { reservations: vec![kept(2), kept(3)], ..spec };
        let read = read_network(&network(&spec), &Running { active: true, autostart: false }).unwrap();
        assert_eq!(read, NetworkInfo { reservations: spec.reservations.clone(), ..expected.clone() });
        assert_eq!(reservation(&kept(2)), "<host mac='52:54:00:00:00:02' name='n2' ip='10.0.0.2'/>\n");
        let spec = NetworkSpec { reservations: Vec::new(), ..spec };
        let ipv6 = Network6 { cidr: "fd00:10::/64".parse().unwrap(), gateway: "fd00:10::1".parse().unwrap() };
        let xml = network(&NetworkSpec { ipv6: Some(ipv6), ..spec });
        assert!(xml.contains("<forward mode='nat'>\n    <nat ipv6='yes'/>\n  </forward>\n"), "{xml}");
        let info = read_network(&xml, &Running { active: true, autostart: false }).unwrap();
        assert_eq!(info, NetworkInfo { address6: "fd00:10::1/64".parse().ok(), ..expected });
    }

    #[test]
    fn other_networks() {
        let ip = "<ip address='192.168.122.1' netmask='255.255.255.0'><dhcp><range start='192.168.122.2' \
                  end='192.168.122.254'/></dhcp></ip>";
        let cases = [
            ("", None, None, vec![]),
            ("<forward/>", Some("nat"), None, vec![]),
            ("<forward mode='bridge'/><bridge name='br0'/>", Some("bridge"), None, vec![]),
            (
                ip,
                None,
                Some("192.168.122.1/24"),
                vec![("192.168.122.2".parse().unwrap(), "192.168.122.254".parse().unwrap())],
            ),
            (
                "<ip family='ipv6' address='fd00::1' prefix='64'/><ip address='172.16.0.1'/>",
                None,
                Some("172.16.0.1/16"),
                vec![],
            ),
        ];
        for (inner, forward, address, dhcp) in cases {
            let info = read_network(&format!("<network><name>n</name>{inner}</network>"), &STOPPED).unwrap();
            let got = (info.forward.as_deref(), info.address, info.dhcp, info.ours);
            assert_eq!(got, (forward, address.map(net), dhcp, false), "{inner}");
        }
        for bad in ["<network/>", "<network>", "<network><name>n</name><ip address='x'/></network>"] {
            assert!(read_network(bad, &STOPPED).is_err(), "{bad}");
        }
    }

    #[test]
    fn reservations() {
        let hosts =
            "<host mac='52:54:00:AB:00:01' name='a' ip='10.0.0.5'/><host name='b' ip='10.0.0.6'/><host mac='x'/>";
        let xml = |hosts| format!("<network><name>n</name><ip address='10.0.0.1'><dhcp>{hosts}</dhcp></ip></network>");
        let reservation = |mac: Option<&str>, name: Option<&str>, address: Option<&str>| Reservation {
            mac: mac.map(|mac| mac.parse().unwrap()),
            name: name.map(str::to_owned),
            address: address.map(|address| address.parse().unwrap()),
        };
        let wanted = vec![
            reservation(Some("52:54:00:ab:00:01"), Some("a"), Some("10.0.0.5")),
            reservation(None, Some("b"), Some("10.0.0.6")),
            reservation(None, None, None),
        ];
        assert_eq!(read_network(&xml(hosts), &STOPPED).unwrap().reservations, wanted);
        let bad = read_network(&xml("<host ip='10.0.0'/>"), &STOPPED).unwrap_err();
        assert_eq!(bad, "ip \"10.0.0\" is not an IPv4 address");
    }

    #[test]
    fn firmware_and_the_user_of_qemu() {
        let os = |os: &str| format!("<domainCapabilities><path>/q</path><machine>m</machine>{os}</domainCapabilities>");
        let efi = "<os supported='yes'><enum name='firmware'><value>bios</value><value>efi</value></enum><loader><enum \
                   name='type'><value>yes</value></enum><enum name='secure'><value>no</value></enum></loader></os>";
        let secure = efi.replace("<value>no</value>", "<value>yes</value><value>no</value>");
        for (xml, uefi, secure_boot) in [
            (os(efi), true, false),
            (os(&secure), true, true),
            (os(&efi.replace("<value>efi</value>", "")), false, false),
            (os(""), false, false),
        ] {
            let (emulator, machine) = ("/q".to_owned(), "m".to_owned());
            let wanted = DomainCapabilities { emulator, machine, uefi, secure_boot, cpu: None };
            assert_eq!(read_domain_capabilities(&xml), Ok(wanted), "{xml}");
        }
        let model = |model: &str| format!("<capabilities><host><cpu/>{model}</host></capabilities>");
        let apparmor = "<secmodel><model>apparmor</model><doi>0</doi></secmodel>";
        let dac = "<secmodel><model>dac</model><doi>0</doi><baselabel type='kvm'>+64055:+108</baselabel><baselabel \
                   type='qemu'>+64055:+108</baselabel></secmodel>";
        for (models, wanted) in [
            (format!("{apparmor}{dac}"), Ok(Some((64055, 108)))),
            (apparmor.to_owned(), Ok(None)),
            (String::new(), Ok(None)),
            (dac.replace("+108", "kvm"), Err("baselabel \"+64055:kvm\"".to_owned())),
            (dac.replace(":+108", ""), Err("baselabel \"+64055\"".to_owned())),
        ] {
            assert_eq!(read_qemu_user(&model(&models)), wanted, "{models}");
        }
    }

    #[test]
    fn the_cpu_of_guests() {
        let cpu = |modes: &str| {
            let xml = format!("<domainCapabilities><path>/q</path><machine>m</machine>{modes}</domainCapabilities>");
            read_domain_capabilities(&xml).unwrap().cpu
        };
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let mode = "<mode name='host-model' supported='yes'><model fallback='forbid'>EPYC</model><vendor>AMD</vendor>\
                    <maxphysaddr mode='passthrough'/><feature policy='require' name='x2apic'/><feature policy='disable' \
                    name='svm'/><feature policy='require' name='hypervisor'/></mode>";
        let passthrough = "<mode name='host-passthrough' supported='yes'/>";
        let custom = "<mode name='custom' supported='yes'><model usable='yes'>qemu64</model></mode>";
        let wanted =
            CpuModel { name: "EPYC".to_owned(), more: names(&["hypervisor", "x2apic"]), less: names(&["svm"]) };
        for (modes, wanted) in [
            (format!("<cpu>{passthrough}{mode}{custom}</cpu>"), Some(wanted)),
            (format!("<cpu>{passthrough}<mode name='host-model' supported='no'/>{custom}</cpu>"), None),
            (format!("<cpu>{passthrough}{custom}</cpu>"), None),
            (String::new(), None),
        ] {
            assert_eq!(cpu(&modes), wanted, "{modes}");
        }
    }

    #[test]
    fn interfaces_and_times_of_files() {
        for (inner, wanted) in [
            ("<mtu size='9000'/><bridge/>", Ok(Some(9000))),
            ("<bridge/>", Ok(None)),
            ("<mtu size='large'/>", Err("mtu \"large\"".to_owned())),
        ] {
            assert_eq!(
                read_mtu(&format!("<interface type='bridge' name='br0'>{inner}</interface>")),
                wanted,
                "{inner}"
            );
        }
        let volume = |times: &str| format!("<volume><name>a</name><target>{times}</target></volume>");
        for (times, wanted) in [
            (
                "<timestamps><atime>9.1</atime><mtime>1700000000.123456789</mtime></timestamps>",
                Ok(Some((1_700_000_000, 123_456_789))),
            ),
            ("<timestamps><mtime>1700000000</mtime></timestamps>", Ok(Some((1_700_000_000, 0)))),
            ("<timestamps><atime>9</atime></timestamps>", Ok(None)),
            ("", Ok(None)),
            ("<timestamps><mtime>today</mtime></timestamps>", Err("mtime \"today\"".to_owned())),
        ] {
            let found = read_written(&volume(times));
            let found = found.map(|time| time.map(|time| (time.as_second(), time.subsec_nanosecond())));
            assert_eq!(found, wanted, "{times}");
        }
    }

    #[test]
    fn volumes() {
        let xml = "<volume type='file'><name>a.iso</name><key>/p/a.iso</key><capacity unit='bytes'>4096</capacity>\
                   <allocation unit='bytes'>0</allocation><target><path>/p/a.iso</path><format type='iso'/></target>\
                   <backingStore><path>/p/base</path></backingStore></volume>";
        let expected = VolumeInfo {
            name: "a.iso".to_owned(),
            path: "/p/a.iso".to_owned(),
            capacity: 4096,
            allocation: 0,
            format: VolumeFormat::Iso,
            backing: Some("/p/base".to_owned()),
        };
        assert_eq!(read_volume(xml), Ok(expected));
        assert_eq!(read_volume(&xml.replace("4096", "-1")), Err("capacity \"-1\"".to_owned()));
        let sized = |size| xml.replace("<target>", &format!("<physical unit='bytes'>{size}</physical><target>"));
        assert_eq!(read_file_size(xml), Ok(None));
        assert_eq!(read_file_size(&sized("8192")), Ok(Some(8192)));
        assert_eq!(read_file_size(&sized("8 KiB")), Err("physical \"8 KiB\"".to_owned()));
    }

    #[test]
    fn kvm_needs_the_cpu() {
        let lacking = Some("the CPU has neither vmx nor svm (/proc/cpuinfo)".to_owned());
        for (cpuinfo, expected) in [
            ("processor\t: 0\nflags\t\t: fpu vmx sse\n", None),
            ("flags\t\t: fpu svm\n", None),
            ("flags\t\t: fpu vmx_no svm2\n", lacking),
            // arm64 has "Features" and no such flag.
            ("processor\t: 0\nFeatures\t: fp asimd\n", None),
        ] {
            assert_eq!(cpu_lacks_kvm(cpuinfo), expected, "{cpuinfo}");
        }
    }

    #[test]
    fn versions() {
        assert_eq!(version(11_003_000), semver::Version::new(11, 3, 0));
    }
}
