//! The texts of a cluster file and what makes them valid. Every error is the text of a problem.

use std::fmt::Display;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ipnet::{Ipv4Net, Ipv6Net};
use semver::Version;
use url::Url;

use super::problem::quoted;
use super::value::nearest;
use super::{Acceleration, Arch, Mac, NodeName};
use crate::artifacts::{Algorithm, Checksum, Kind};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;

/// Values that check themselves.
pub(super) fn own<T: FromStr<Err: Display>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error: T::Err| error.to_string())
}

/// The name of a host; what /etc/hosts of every node already gives to itself cannot be one.
pub(super) fn host_name(text: &str) -> Result<NodeName, String> {
    if text == "localhost" {
        return Err("\"localhost\" is every host's name for itself".to_owned());
    }
    own(text)
}

/// A MAC address that libvirt takes: it keeps those that start with fe for the host's side of a tap device.
pub(super) fn mac(text: &str) -> Result<Mac, String> {
    let mac: Mac = own(text)?;
    if mac.to_string().starts_with("fe:") {
        return Err(format!("{mac} starts with fe, which libvirt keeps for itself; 52:54:00 is QEMU's range"));
    }
    Ok(mac)
}

pub(super) fn arch(text: &str) -> Result<Arch, String> {
    text.parse().map_err(|_| unknown_word(text, &["amd64", "arm64"]))
}

pub(super) fn acceleration(text: &str) -> Result<Acceleration, String> {
    match text {
        "auto" => Ok(Acceleration::Auto),
        "kvm" => Ok(Acceleration::Kvm),
        "tcg" => Ok(Acceleration::Tcg),
        _ => Err(unknown_word(text, &["auto", "kvm", "tcg"])),
    }
}

pub(super) fn unknown_word(text: &str, known: &[&str]) -> String {
    match nearest(text, known) {
        Some(meant) => format!("{} is not known, did you mean {meant:?}?", quoted(text)),
        None => format!("{} is not one of {}", quoted(text), known.join(", ")),
    }
}

/// Name of a base image: what a file of the catalogue may be called.
pub(super) fn image(text: &str) -> Result<String, String> {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.".contains(&b);
    if text.bytes().all(inner) && text.len() <= 64 && !text.starts_with(['.', '-']) {
        return Ok(text.to_owned());
    }
    Err(format!("{} is not an image's name such as ubuntu-24.04", quoted(text)))
}

/// An IPv4 address; leading zeros are refused, since some readers take them as octal.
pub(super) fn ipv4(text: &str) -> Result<Ipv4Addr, String> {
    text.parse().map_err(|_| format!("{} is not an IPv4 address such as 10.0.0.36", quoted(text)))
}

/// The address of a server that a node or a pod asks, so none that it would take as itself or as many.
pub(super) fn server(text: &str) -> Result<IpAddr, String> {
    let address: IpAddr =
        text.parse().map_err(|_| format!("{} is not an IPv4 or IPv6 address such as 10.0.0.1", quoted(text)))?;
    match unreachable(address) {
        Some(why) => Err(format!("{address} is {why}, no server that a node could reach")),
        None => Ok(address),
    }
}

fn unreachable(address: IpAddr) -> Option<&'static str> {
    if address.is_loopback() {
        Some("a loopback address")
    } else if address.is_unspecified() {
        Some("the unspecified address")
    } else if address.is_multicast() || address == IpAddr::V4(Ipv4Addr::BROADCAST) {
        Some("the address of a group")
    } else {
        None
    }
}

/// A network of IPv4 addresses, given by its own address.
pub(super) fn cidr(text: &str) -> Result<Ipv4Net, String> {
    let net: Ipv4Net =
        text.parse().map_err(|_| format!("{} is not an IPv4 network such as 10.0.0.0/24", quoted(text)))?;
    if net.addr() != net.network() {
        return Err(format!("{net} is an address inside a network, did you mean {}?", net.trunc()));
    }
    // Two hosts are the least: a gateway and a node.
    if !(8..=30).contains(&net.prefix_len()) {
        return Err(format!("{net} has a prefix length of {}, not from 8 to 30", net.prefix_len()));
    }
    if let Some(why) = unreachable(IpAddr::V4(net.network())) {
        return Err(format!("{net} starts with {why}"));
    }
    Ok(net)
}

/// An IPv6 address of one machine, as more than its own link knows it: no kubelet takes a link-local one as its node's.
pub(super) fn ipv6(text: &str) -> Result<Ipv6Addr, String> {
    let address: Ipv6Addr =
        text.parse().map_err(|_| format!("{} is not an IPv6 address such as fd00:10::36", quoted(text)))?;
    match unfit6(address) {
        Some(why) => Err(format!("{address} is {why}, which no node can have here")),
        None => Ok(address),
    }
}

fn unfit6(address: Ipv6Addr) -> Option<&'static str> {
    if address.is_unicast_link_local() {
        return Some("a link-local address");
    }
    if address.to_ipv4_mapped().is_some() {
        return Some("an IPv4 address in the form of IPv6");
    }
    unreachable(address.into())
}

/// A network of IPv6 addresses, given by its own address.
pub(super) fn cidr6(text: &str) -> Result<Ipv6Net, String> {
    let net: Ipv6Net =
        text.parse().map_err(|_| format!("{} is not an IPv6 network such as fd00:10::/64", quoted(text)))?;
    if net.addr() != net.network() {
        return Err(format!("{net} is an address inside a network, did you mean {}?", net.trunc()));
    }
    if !(8..=126).contains(&net.prefix_len()) {
        return Err(format!("{net} has a prefix length of {}, not from 8 to 126", net.prefix_len()));
    }
    match unfit6(net.network()) {
        Some(why) => Err(format!("{net} starts with {why}")),
        None => Ok(net),
    }
}

/// Sizes of packets in bytes: the least that IPv4 takes (RFC 791), and the most that Linux does.
pub(super) const MTU: RangeInclusive<u32> = 576..=65535;

/// The least of IPv6 (RFC 8200, 5).
pub(super) const MTU6: u32 = 1280;

/// The problem of a size between the two.
pub(super) fn small_mtu6() -> String {
    format!("IPv6 needs packets of at least {MTU6} bytes")
}

/// An address of a machine, with the length of its subnet's prefix.
pub(super) fn host4(text: &str) -> Result<Ipv4Net, String> {
    let net: Ipv4Net =
        text.parse().map_err(|_| format!("{} is not an address with its prefix such as 10.1.0.36/24", quoted(text)))?;
    if let Some(why) = unreachable(net.addr().into()) {
        return Err(format!("{} is {why}, which no node can have", net.addr()));
    }
    // Of two hosts on a line (RFC 3021), and of one, all are.
    if net.prefix_len() < 31 && (net.addr() == net.network() || net.addr() == net.broadcast()) {
        return Err(format!("{} stands for the network {} or for all in it", net.addr(), net.trunc()));
    }
    Ok(net)
}

/// The same of IPv6.
pub(super) fn host6(text: &str) -> Result<Ipv6Net, String> {
    let net: Ipv6Net = text
        .parse()
        .map_err(|_| format!("{} is not an address with its prefix such as fd00:11::36/64", quoted(text)))?;
    ipv6(&net.addr().to_string())?;
    if net.prefix_len() < 127 && net.addr() == net.network() {
        return Err(format!("{} stands for the routers of the network {}", net.addr(), net.trunc()));
    }
    Ok(net)
}

/// The host of the apiserver's URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ApiServer {
    /// `https://HOST:PORT`.
    pub(super) url: String,
    /// The host where it is an address.
    pub(super) address: Option<IpAddr>,
}

/// `https://HOST:PORT` and nothing more: a kubeconfig's server whose certificate names HOST.
pub(super) fn api_server(text: &str) -> Result<ApiServer, String> {
    const MEANT: &str = "https://HOST:PORT such as https://10.0.0.4:6443";
    // The text may hold a password here, so it is not shown.
    if text.contains('@') {
        return Err(format!("a user or password has no place here, meant is {MEANT}"));
    }
    let Some(rest) = text.strip_prefix("https://") else {
        return Err(format!("{} does not start with https://, meant is {MEANT}", quoted(text)));
    };
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    if authority.contains(['/', '?', '#']) {
        return Err(format!("{} has more than a host and a port, meant is {MEANT}", quoted(text)));
    }
    let without_port = || format!("{} names no port, meant is {MEANT}", quoted(text));
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port),
        _ => return Err(without_port()),
    };
    let digits = port.bytes().all(|b| b.is_ascii_digit()) && !port.starts_with('0');
    if !digits || port.parse::<u16>().is_err() {
        return Err(if port.is_empty() { without_port() } else { format!("{} is not a port", quoted(port)) });
    }
    let address = host_of(host)?;
    if host == "localhost" {
        return Err("localhost is the worker itself there; name the apiserver as workers reach it".to_owned());
    }
    if let Some(why) = address.and_then(unreachable) {
        return Err(format!("{host} is {why}; name the apiserver as workers reach it"));
    }
    Ok(ApiServer { url: format!("https://{authority}"), address })
}

/// The address of a URL's host; `None` for a name.
pub(super) fn host_of(host: &str) -> Result<Option<IpAddr>, String> {
    if let Some(inner) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        let address = inner.parse::<Ipv6Addr>().map_err(|_| format!("{} is not an IPv6 address", quoted(inner)))?;
        return Ok(Some(IpAddr::V6(address)));
    }
    if let Ok(address) = host.parse::<Ipv4Addr>() {
        return Ok(Some(IpAddr::V4(address)));
    }
    // A last label of digits makes it an IPv4 address for every client (WHATWG URL, "ends in a number").
    let numeric = host.rsplit('.').next().is_some_and(|label| label.bytes().all(|b| b.is_ascii_digit()));
    if numeric || !is_domain(host) {
        return Err(format!("{} is neither an address nor a host name in lowercase", quoted(host)));
    }
    Ok(None)
}

/// A DNS domain in lowercase, without a dot at its end.
pub(super) fn domain(text: &str) -> Result<String, String> {
    if is_domain(text) {
        return Ok(text.to_owned());
    }
    Err(format!("{} is not a DNS domain in lowercase such as cluster.local", quoted(text)))
}

pub(super) fn is_domain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(|label| label.parse::<NodeName>().is_ok())
}

/// A full version; a leading `v` is dropped.
pub(super) fn version(text: &str) -> Result<Version, String> {
    let version = Version::parse(text.strip_prefix('v').unwrap_or(text))
        .map_err(|_| format!("{} is not a full version such as 1.2.3", quoted(text)))?;
    if !version.build.is_empty() {
        return Err(format!("{version} has build metadata, which no upstream release has"));
    }
    Ok(version)
}

/// Kubernetes from 1.30 on; what we render was never meant for an older kubelet.
pub(super) fn kubernetes(text: &str) -> Result<Version, String> {
    let version = version(text)?;
    if version.major != 1 || version.minor < 30 {
        return Err(format!("kubernetes {version} is not supported, meant is 1.30 or newer"));
    }
    Ok(version)
}

/// containerd 1.x from 1.6 on (the first with CRI v1, which every such kubelet demands) or 2.x: for these the
/// configuration's schema is known.
pub(super) fn containerd(text: &str) -> Result<Version, String> {
    let version = version(text)?;
    if !matches!((version.major, version.minor), (1, 6..) | (2, _)) {
        return Err(format!("containerd {version} is not supported, meant is 2.x, or 1.x from 1.6 on"));
    }
    Ok(version)
}

/// A size in bytes: a whole number with MiB, GiB or TiB.
fn size(text: &str) -> Result<u64, String> {
    const MEANT: &str = "a whole number with its unit such as 512MiB or 4GiB";
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    if number.is_empty() {
        return Err(format!("{} is not a size, meant is {MEANT}", quoted(text)));
    }
    if unit.is_empty() {
        return Err(format!("{} has no unit, meant is {MEANT}", quoted(text)));
    }
    let factor = match unit {
        "MiB" => MIB,
        "GiB" => GIB,
        "TiB" => TIB,
        _ => return Err(wrong_unit(number, unit)),
    };
    if number.contains('.') {
        return Err(fraction(number, factor).map_or_else(
            || format!("{} is not a multiple of 1MiB, meant is {MEANT}", quoted(text)),
            |mebibytes| format!("{} is not a whole number, did you mean \"{mebibytes}MiB\"?", quoted(text)),
        ));
    }
    let bytes = number.parse::<u64>().ok().and_then(|number| number.checked_mul(factor));
    bytes.ok_or_else(|| format!("{} is too large", quoted(text)))
}

fn wrong_unit(number: &str, unit: &str) -> String {
    let meant = match unit.trim_start().to_ascii_lowercase().as_str() {
        "m" | "mi" | "mb" | "mib" => "MiB",
        "g" | "gi" | "gb" | "gib" => "GiB",
        "t" | "ti" | "tb" | "tib" => "TiB",
        _ => return format!("{} is not a unit of size: MiB, GiB or TiB", quoted(unit)),
    };
    format!("{} is not a size, did you mean \"{number}{meant}\"?", quoted(&format!("{number}{unit}")))
}

/// A decimal fraction of `factor` bytes in MiB, where it comes out even.
fn fraction(number: &str, factor: u64) -> Option<u64> {
    let (whole, part) = number.split_once('.')?;
    let scale = 10_u64.checked_pow(u32::try_from(part.len()).ok()?)?;
    let mebibytes = factor / MIB;
    let part = part.parse::<u64>().ok()?.checked_mul(mebibytes)?;
    let whole = whole.parse::<u64>().ok()?.checked_mul(mebibytes)?;
    part.is_multiple_of(scale).then(|| whole.checked_add(part / scale)).flatten()
}

/// Memory of a machine: below 512 MiB no distribution's image starts containerd and a kubelet.
pub(super) fn memory(text: &str) -> Result<u64, String> {
    bounded(text, 512 * MIB, 16 * TIB)
}

/// The root disk of a machine; the smallest image of the catalogue fits into 2 GiB.
pub(super) fn disk(text: &str) -> Result<u64, String> {
    bounded(text, 2 * GIB, 64 * TIB)
}

pub(super) fn bounded(text: &str, least: u64, most: u64) -> Result<u64, String> {
    let bytes = size(text)?;
    if bytes < least {
        return Err(format!("{text} is less than {}", size_text(least)));
    }
    if bytes > most {
        return Err(format!("{text} is more than {}", size_text(most)));
    }
    Ok(bytes)
}

/// A size of whole MiB in the largest unit that shows it whole.
pub(super) fn size_text(bytes: u64) -> String {
    match bytes {
        bytes if bytes.is_multiple_of(TIB) => format!("{}TiB", bytes / TIB),
        bytes if bytes.is_multiple_of(GIB) => format!("{}GiB", bytes / GIB),
        bytes => format!("{}MiB", bytes / MIB),
    }
}

/// A path of this machine; relative ones start at `folder`.
pub(super) fn path(folder: &Path) -> impl Fn(&str) -> Result<PathBuf, String> {
    move |text| {
        if text.starts_with('~') {
            return Err(format!("{}: a shell knows ~, a file does not; write the path out", quoted(text)));
        }
        Ok(folder.join(text))
    }
}

/// A path of the hypervisor, which may be another machine.
pub(super) fn remote_path(text: &str) -> Result<PathBuf, String> {
    if text.starts_with('/') && text.len() > 1 {
        return Ok(PathBuf::from(text));
    }
    Err(format!("{} is not the full path of a folder on the hypervisor, starting with /", quoted(text)))
}

/// An http(s) base, or a folder; relative ones start at `folder`.
pub(super) fn mirror(folder: &Path) -> impl Fn(&str) -> Result<String, String> {
    move |text| {
        if text.contains("://") {
            return mirror_url(text);
        }
        let path = path(folder)(text)?;
        path.into_os_string().into_string().map_err(|_| "the path of this folder is not UTF-8".to_owned())
    }
}

pub(super) fn mirror_url(text: &str) -> Result<String, String> {
    let url = Url::parse(text).map_err(|error| format!("not a URL: {error}"))?;
    // The text may hold a password here, so it is not shown.
    if !url.username().is_empty() || url.password().is_some() {
        return Err("a user or password has no place in the cluster file".to_owned());
    }
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("{} is neither http:// nor https://; a folder is written as its path", quoted(text)));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(format!("{} has a query or fragment, meant is the base of a tree of files", quoted(text)));
    }
    Ok(text.to_owned())
}

/// `true` or `false`; what else YAML 1.1 takes for a boolean is refused.
pub(super) fn boolean(text: &str) -> Result<bool, String> {
    text.parse().map_err(|_| unknown_word(text, &["true", "false"]))
}

/// What a file of the user's own is.
pub(super) fn kind(text: &str) -> Result<Kind, String> {
    let known = Kind::ALL.map(|kind| (kind.as_str(), kind));
    let found = known.iter().find(|(name, _)| *name == text);
    found.map(|(_, kind)| *kind).ok_or_else(|| unknown_word(text, &known.map(|(name, _)| name)))
}

/// The file name of a program.
pub(super) fn program(text: &str) -> Result<String, String> {
    plain_name(text).ok_or_else(|| format!("{} is not a program's name such as crictl", quoted(text)))
}

/// What a file of this kind may be called; it becomes a file's name in an image and in the nodes.
pub(super) fn file_name(kind: Kind, name: &str) -> Result<String, String> {
    let endings: &[&str] = if kind == Kind::Package { &[".deb"] } else { &[".tar", ".tar.gz", ".tgz"] };
    let fits = endings.iter().any(|ending| name.len() > ending.len() && name.ends_with(ending));
    // apt writes the colon behind an epoch so: nfs-common_1%3a2.8.3-1_amd64.deb.
    let spelled = if kind == Kind::Package { name.replace("%3a", "") } else { name.to_owned() };
    plain_name(&spelled).filter(|_| fits).map(|_| name.to_owned()).ok_or_else(|| {
        let endings = endings.join(", ");
        format!(
            "{} is not the name of a {kind}'s file: letters, digits and \"-_.+~\", ending in {endings}",
            quoted(name)
        )
    })
}

fn plain_name(text: &str) -> Option<String> {
    let inner = |b: u8| b.is_ascii_alphanumeric() || b"-_.+~".contains(&b);
    (text.bytes().all(inner) && text.len() <= 128 && !text.starts_with(['.', '-'])).then(|| text.to_owned())
}

/// An address that a mirror can hold as HOST/PATH.
pub(super) fn file_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(mirror_url(text)?.as_str()).map_err(|error| format!("not a URL: {error}"))?;
    if url.path().ends_with('/') {
        return Err(format!("{} is a folder, meant is a file", quoted(text)));
    }
    Ok(url)
}

/// A digest in hexadecimal digits.
pub(super) fn digest(algorithm: Algorithm) -> impl Fn(&str) -> Result<Checksum, String> {
    move |text| algorithm.parse(text).ok_or_else(|| format!("{} is not a {algorithm} digest", quoted(text)))
}

/// A server that nodes ask for the time: an address, or a name that they can look up.
pub(super) fn time_server(text: &str) -> Result<String, String> {
    if text.parse::<IpAddr>().is_ok() {
        return server(text).map(|address| address.to_string());
    }
    host_of(text).map(|_| text.to_owned())
}

/// `http://HOST:PORT` of a proxy.
pub(super) fn proxy(text: &str) -> Result<String, String> {
    let url = Url::parse(mirror_url(text)?.as_str()).map_err(|error| format!("not a URL: {error}"))?;
    if url.path() != "/" {
        return Err(format!("{} has more than a host and a port", quoted(text)));
    }
    Ok(text.trim_end_matches('/').to_owned())
}

/// One of the words of `NO_PROXY`, which are parted by commas.
pub(super) fn no_proxy(text: &str) -> Result<String, String> {
    let inner = |b: u8| b.is_ascii_alphanumeric() || b"-_.:/*[]".contains(&b);
    if text.bytes().all(inner) {
        return Ok(text.to_owned());
    }
    Err(format!("{} is not a host, a domain or a network", quoted(text)))
}

/// A name that libvirt takes for a network or a pool: it becomes a file's name there, so no slash.
pub(super) fn libvirt_name(text: &str) -> Result<String, String> {
    if text.contains('/') || text == "." || text == ".." || text.len() > 200 {
        return Err(format!("{} is not a name for libvirt: at most 200 bytes, no \"/\"", quoted(text)));
    }
    Ok(text.to_owned())
}

/// A network interface of Linux (`dev_valid_name` in net/core/dev.c): at most 15 bytes, no slash, colon or white space.
pub(super) fn interface(text: &str) -> Result<String, String> {
    let inner = |c: char| c.is_ascii_graphic() && c != '/' && c != ':';
    if text.is_empty() || text.len() > 15 || text == "." || text == ".." || !text.chars().all(inner) {
        return Err(format!("{} is not the name of a network interface such as br0", quoted(text)));
    }
    Ok(text.to_owned())
}

/// A connection to a QEMU daemon, `qemu[+TRANSPORT]://[HOST]/system` or `/session`; or libvirt's own test driver.
/// `/embed` has neither storage nor networks.
pub(super) fn libvirt_uri(text: &str) -> Result<String, String> {
    const MEANT: &str = "qemu:///system, or qemu+ssh://USER@HOST/system for another machine";
    const TRANSPORTS: [&str; 8] = ["", "+unix", "+ssh", "+libssh", "+libssh2", "+tls", "+tcp", "+ext"];
    let url = Url::parse(text).map_err(|error| format!("not a URI ({error}), meant is {MEANT}"))?;
    if url.password().is_some() {
        return Err("a password has no place in the cluster file".to_owned());
    }
    let Some(transport) = url.scheme().strip_prefix("qemu") else {
        return if url.scheme() == "test" { Ok(text.to_owned()) } else { Err(not_qemu(text, MEANT)) };
    };
    if !TRANSPORTS.contains(&transport) {
        return Err(not_qemu(text, MEANT));
    }
    if !matches!(url.path(), "/system" | "/session") {
        return Err(format!("{} ends in neither /system nor /session, meant is {MEANT}", quoted(text)));
    }
    Ok(text.to_owned())
}

fn not_qemu(text: &str, meant: &str) -> String {
    format!("{} does not lead to QEMU, meant is {meant}", quoted(text))
}

/// Users and groups of every Debian and Ubuntu (base-passwd's passwd.master and group.master, openssh-server's):
/// `useradd` refuses them, or worse, takes them over.
const SYSTEM_ACCOUNTS: &[&str] = &[
    "root", "daemon", "bin", "sys", "sync", "games", "man", "lp", "mail", "news", "uucp", "proxy", "www-data",
    "backup", "list", "irc", "nobody", "nogroup", "adm", "tty", "disk", "kmem", "dialout", "fax", "voice", "cdrom",
    "floppy", "tape", "sudo", "audio", "dip", "operator", "src", "shadow", "utmp", "video", "sasl", "plugdev", "staff",
    "users", "sshd",
];

/// A login name as useradd of Debian and Ubuntu takes it, and none that the system has already.
pub(super) fn ssh_user(text: &str) -> Result<String, String> {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-".contains(&b);
    let starts = text.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
    if !starts || text.len() > 32 || !text.bytes().all(inner) {
        return Err(format!("{} is not a login name: at most 32 of a-z, 0-9, _ and -, a letter first", quoted(text)));
    }
    if SYSTEM_ACCOUNTS.contains(&text) {
        return Err(format!("{text:?} is an account of the system; give the login a name of its own"));
    }
    Ok(text.to_owned())
}

/// A user as the apiserver knows it, who is given rights: not one that anybody or any node is.
pub(super) fn user_name(text: &str) -> Result<String, String> {
    if text == "system:anonymous" {
        return Err(format!("{} is everybody who does not say who he is", quoted(text)));
    }
    if text.starts_with("system:node:") {
        return Err(format!("{} is a node; meant is the apiserver", quoted(text)));
    }
    Ok(text.to_owned())
}

const KEY_TYPES: &[&str] = &[
    "ssh-ed25519",
    "ssh-rsa",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
];

/// A line of `authorized_keys` without options: type, key in base64, comment. Messages never quote it: what was pasted
/// here by mistake may be a private key.
pub(super) fn ssh_key(text: &str) -> Result<String, String> {
    if text.contains("PRIVATE KEY") {
        return Err("this is a private key; the public one ends in .pub".to_owned());
    }
    let mut words = text.split_ascii_whitespace();
    let kind = words.next().unwrap_or_default();
    if !KEY_TYPES.contains(&kind) {
        return Err(format!("a public key starts with its type: {}", KEY_TYPES.join(", ")));
    }
    let Some(body) = words.next() else {
        return Err(format!("after {kind} the key itself is missing"));
    };
    let Ok(blob) = STANDARD.decode(body) else {
        return Err(format!("after {kind} comes no base64; was the key copied whole?"));
    };
    // RFC 4253, 6.6: the key repeats its type as a string with its length in front.
    let inner = blob.split_first_chunk::<4>().and_then(|(length, rest)| {
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        rest.split_at_checked(length)
    });
    match inner {
        Some((inner, key)) if inner == kind.as_bytes() && !key.is_empty() => Ok(text.to_owned()),
        _ => Err(format!("the key is not a whole one of type {kind}")),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    /// Every text with its value, as `Debug` shows it, or with the problem.
    fn check<T: std::fmt::Debug>(parse: impl Fn(&str) -> Result<T, String>, cases: &[(&str, Result<&str, &str>)]) {
        for (text, expected) in cases {
            let found = parse(text).map(|value| format!("{value:?}"));
            assert_eq!(found, expected.map(str::to_owned).map_err(str::to_owned), "{text:?}");
        }
    }

    #[test]
    fn sizes() {
        check(
            memory,
            &[
                ("512MiB", Ok("536870912")),
                ("4GiB", Ok("4294967296")),
                ("16TiB", Ok("17592186044416")),
                ("4", Err("\"4\" has no unit, meant is a whole number with its unit such as 512MiB or 4GiB")),
                ("much", Err("\"much\" is not a size, meant is a whole number with its unit such as 512MiB or 4GiB")),
                ("-4GiB", Err("\"-4GiB\" is not a size, meant is a whole number with its unit such as 512MiB or 4GiB")),
                ("4Gi", Err("\"4Gi\" is not a size, did you mean \"4GiB\"?")),
                ("4 GB", Err("\"4 GB\" is not a size, did you mean \"4GiB\"?")),
                ("4gib", Err("\"4gib\" is not a size, did you mean \"4GiB\"?")),
                ("4PiB", Err("\"PiB\" is not a unit of size: MiB, GiB or TiB")),
                ("1.5GiB", Err("\"1.5GiB\" is not a whole number, did you mean \"1536MiB\"?")),
                (
                    "1.3GiB",
                    Err(
                        "\"1.3GiB\" is not a multiple of 1MiB, meant is a whole number with its unit such as 512MiB or 4GiB",
                    ),
                ),
                ("511MiB", Err("511MiB is less than 512MiB")),
                ("17TiB", Err("17TiB is more than 16TiB")),
                ("18446744073709551615GiB", Err("\"18446744073709551615GiB\" is too large")),
            ],
        );
        check(disk, &[("2GiB", Ok("2147483648")), ("2047MiB", Err("2047MiB is less than 2GiB"))]);
    }

    #[test]
    fn versions() {
        let shown = |parse: fn(&str) -> Result<Version, String>| move |text: &str| parse(text).map(|v| v.to_string());
        check(
            shown(kubernetes),
            &[
                ("v1.35.1", Ok("\"1.35.1\"")),
                ("1.30.0-rc.1", Ok("\"1.30.0-rc.1\"")),
                ("1.29.9", Err("kubernetes 1.29.9 is not supported, meant is 1.30 or newer")),
                ("2.0.0", Err("kubernetes 2.0.0 is not supported, meant is 1.30 or newer")),
                ("1.35", Err("\"1.35\" is not a full version such as 1.2.3")),
                ("vv1.35.1", Err("\"vv1.35.1\" is not a full version such as 1.2.3")),
                ("latest", Err("\"latest\" is not a full version such as 1.2.3")),
                ("1.35.1+k3s1", Err("1.35.1+k3s1 has build metadata, which no upstream release has")),
            ],
        );
        check(
            shown(containerd),
            &[
                ("2.2.1", Ok("\"2.2.1\"")),
                ("v1.7.30", Ok("\"1.7.30\"")),
                ("1.5.0", Err("containerd 1.5.0 is not supported, meant is 2.x, or 1.x from 1.6 on")),
                ("3.0.0", Err("containerd 3.0.0 is not supported, meant is 2.x, or 1.x from 1.6 on")),
            ],
        );
    }

    #[test]
    fn api_servers() {
        let url = |text: &str| api_server(text).map(|api| api.url);
        check(
            url,
            &[
                ("https://10.0.0.4:6443", Ok("\"https://10.0.0.4:6443\"")),
                ("https://10.0.0.4:443/", Ok("\"https://10.0.0.4:443\"")),
                ("https://api.seed.example:6443", Ok("\"https://api.seed.example:6443\"")),
                ("https://[fd00::4]:6443", Ok("\"https://[fd00::4]:6443\"")),
                (
                    "http://10.0.0.4:6443",
                    Err(
                        "\"http://10.0.0.4:6443\" does not start with https://, meant is https://HOST:PORT such as https://10.0.0.4:6443",
                    ),
                ),
                (
                    "https://10.0.0.4",
                    Err("\"https://10.0.0.4\" names no port, meant is https://HOST:PORT such as https://10.0.0.4:6443"),
                ),
                (
                    "https://[fd00::4]",
                    Err(
                        "\"https://[fd00::4]\" names no port, meant is https://HOST:PORT such as https://10.0.0.4:6443",
                    ),
                ),
                (
                    "https://10.0.0.4:",
                    Err(
                        "\"https://10.0.0.4:\" names no port, meant is https://HOST:PORT such as https://10.0.0.4:6443",
                    ),
                ),
                (
                    "https://10.0.0.4:6443/api",
                    Err(
                        "\"https://10.0.0.4:6443/api\" has more than a host and a port, meant is https://HOST:PORT such as https://10.0.0.4:6443",
                    ),
                ),
                (
                    "https://me:secret@10.0.0.4:6443",
                    Err(
                        "a user or password has no place here, meant is https://HOST:PORT such as https://10.0.0.4:6443",
                    ),
                ),
                ("https://10.0.0.4:0", Err("\"0\" is not a port")),
                ("https://10.0.0.4:65536", Err("\"65536\" is not a port")),
                ("https://10.0.0.300:6443", Err("\"10.0.0.300\" is neither an address nor a host name in lowercase")),
                ("https://:6443", Err("\"\" is neither an address nor a host name in lowercase")),
                ("https://fd00::4:6443", Err("\"fd00::4\" is neither an address nor a host name in lowercase")),
                ("https://[10.0.0.4]:6443", Err("\"10.0.0.4\" is not an IPv6 address")),
                (
                    "https://127.0.0.1:6443",
                    Err("127.0.0.1 is a loopback address; name the apiserver as workers reach it"),
                ),
                (
                    "https://localhost:6443",
                    Err("localhost is the worker itself there; name the apiserver as workers reach it"),
                ),
            ],
        );
        assert_eq!(api_server("https://10.0.0.4:6443").unwrap().address, Some([10, 0, 0, 4].into()));
        assert_eq!(api_server("https://[fd00::4]:6443").unwrap().address, "fd00::4".parse().ok());
        assert_eq!(api_server("https://a.example:6443").unwrap().address, None);
    }

    #[test]
    fn networks_and_addresses() {
        check(
            cidr,
            &[
                ("10.0.0.0/24", Ok("10.0.0.0/24")),
                ("10.0.0.0/30", Ok("10.0.0.0/30")),
                ("10.0.0.5/24", Err("10.0.0.5/24 is an address inside a network, did you mean 10.0.0.0/24?")),
                ("10.0.0.0", Err("\"10.0.0.0\" is not an IPv4 network such as 10.0.0.0/24")),
                ("10.0.0.0/31", Err("10.0.0.0/31 has a prefix length of 31, not from 8 to 30")),
                ("0.0.0.0/0", Err("0.0.0.0/0 has a prefix length of 0, not from 8 to 30")),
                ("127.0.0.0/8", Err("127.0.0.0/8 starts with a loopback address")),
                ("fd00::/64", Err("\"fd00::/64\" is not an IPv4 network such as 10.0.0.0/24")),
            ],
        );
        check(
            server,
            &[
                ("10.96.0.10", Ok("10.96.0.10")),
                ("fd00::a", Ok("fd00::a")),
                ("::1", Err("::1 is a loopback address, no server that a node could reach")),
                ("0.0.0.0", Err("0.0.0.0 is the unspecified address, no server that a node could reach")),
                ("224.0.0.251", Err("224.0.0.251 is the address of a group, no server that a node could reach")),
                ("dns", Err("\"dns\" is not an IPv4 or IPv6 address such as 10.0.0.1")),
            ],
        );
    }

    #[test]
    fn words_and_names() {
        check(arch, &[("arm64", Ok("Arm64")), ("amd46", Err("\"amd46\" is not known, did you mean \"amd64\"?"))]);
        check(arch, &[("x86_64", Err("\"x86_64\" is not one of amd64, arm64"))]);
        check(acceleration, &[("kvm", Ok("Kvm")), ("KVM", Err("\"KVM\" is not known, did you mean \"kvm\"?"))]);
        check(
            image,
            &[
                ("debian-13", Ok("\"debian-13\"")),
                ("../x", Err("\"../x\" is not an image's name such as ubuntu-24.04")),
            ],
        );
        check(
            host_name,
            &[
                ("cp", Ok("NodeName(\"cp\")")),
                ("localhost", Err("\"localhost\" is every host's name for itself")),
                ("a.b", Err("\"a.b\" is not a node name: 1 to 63 of a-z, 0-9 and \"-\", not at the ends")),
            ],
        );
        check(
            mac,
            &[(
                "fe:54:00:00:00:01",
                Err("fe:54:00:00:00:01 starts with fe, which libvirt keeps for itself; 52:54:00 is QEMU's range"),
            )],
        );
        check(
            domain,
            &[
                ("cluster.local", Ok("\"cluster.local\"")),
                ("cluster.local.", Err("\"cluster.local.\" is not a DNS domain in lowercase such as cluster.local")),
            ],
        );
        check(
            libvirt_name,
            &[
                ("my pool", Ok("\"my pool\"")),
                ("..", Err("\"..\" is not a name for libvirt: at most 200 bytes, no \"/\"")),
                ("a/b", Err("\"a/b\" is not a name for libvirt: at most 200 bytes, no \"/\"")),
            ],
        );
    }

    #[test]
    fn places() {
        check(path(Path::new("/f")), &[("a/b", Ok("\"/f/a/b\"")), ("/a", Ok("\"/a\""))]);
        check(path(Path::new("/f")), &[("~/a", Err("\"~/a\": a shell knows ~, a file does not; write the path out"))]);
        check(
            remote_path,
            &[
                ("/srv", Ok("\"/srv\"")),
                ("srv", Err("\"srv\" is not the full path of a folder on the hypervisor, starting with /")),
                ("/", Err("\"/\" is not the full path of a folder on the hypervisor, starting with /")),
            ],
        );
        check(
            mirror(Path::new("/f")),
            &[
                ("m", Ok("\"/f/m\"")),
                ("http://m.example/a/", Ok("\"http://m.example/a/\"")),
                ("file:///m", Err("\"file:///m\" is neither http:// nor https://; a folder is written as its path")),
                ("https://m/?a", Err("\"https://m/?a\" has a query or fragment, meant is the base of a tree of files")),
                ("https://", Err("not a URL: empty host")),
            ],
        );
    }

    #[test]
    fn libvirt_uris() {
        const MEANT: &str = "meant is qemu:///system, or qemu+ssh://USER@HOST/system for another machine";
        for good in [
            "qemu:///system",
            "qemu:///session",
            "qemu+unix:///system?socket=/run/x",
            "qemu+ssh://me@host:22/system?keyfile=/k",
            "test:///default",
        ] {
            assert_eq!(libvirt_uri(good).as_deref(), Ok(good));
        }
        for (bad, problem) in [
            ("qemu", "not a URI (relative URL without a base)"),
            ("xen:///system", "\"xen:///system\" does not lead to QEMU"),
            ("qemu+http://host/system", "\"qemu+http://host/system\" does not lead to QEMU"),
            ("qemu:///embed?root=/r", "\"qemu:///embed?root=/r\" ends in neither /system nor /session"),
            ("qemu://system", "\"qemu://system\" ends in neither /system nor /session"),
        ] {
            assert_eq!(libvirt_uri(bad), Err(format!("{problem}, {MEANT}")));
        }
    }

    #[test]
    fn ssh_users() {
        for good in ["ops", "_a", "n", "no-1", &"a".repeat(32)] {
            assert_eq!(ssh_user(good).as_deref(), Ok(good));
        }
        for bad in ["1a", "-a", "A", "a.b", "a b", "a:b", &"a".repeat(33)] {
            let problem = format!("{bad:?} is not a login name: at most 32 of a-z, 0-9, _ and -, a letter first");
            assert_eq!(ssh_user(bad), Err(problem));
        }
        for taken in ["root", "sudo", "sshd"] {
            let problem = format!("{taken:?} is an account of the system; give the login a name of its own");
            assert_eq!(ssh_user(taken), Err(problem));
        }
    }

    #[test]
    fn ssh_keys() {
        const BODY: &str = "AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";
        let ed25519 = format!("ssh-ed25519 {BODY}");
        assert_eq!(ssh_key(&ed25519).as_ref(), Ok(&ed25519));
        let commented = format!("{ed25519} me at home");
        assert_eq!(ssh_key(&commented).as_ref(), Ok(&commented));
        let types = format!("a public key starts with its type: {}", KEY_TYPES.join(", "));
        for (bad, problem) in [
            (format!("from=\"10.0.0.0/8\" {ed25519}"), types.as_str()),
            (format!("ssh-dss {BODY}"), &types),
            ("ssh-ed25519".to_owned(), "after ssh-ed25519 the key itself is missing"),
            ("ssh-ed25519 AAA".to_owned(), "after ssh-ed25519 comes no base64; was the key copied whole?"),
            (format!("ssh-rsa {BODY}"), "the key is not a whole one of type ssh-rsa"),
            ("ssh-ed25519 AAAAC3Nz".to_owned(), "the key is not a whole one of type ssh-ed25519"),
            ("-----BEGIN OPENSSH PRIVATE KEY-----".to_owned(), "this is a private key; the public one ends in .pub"),
        ] {
            assert_eq!(ssh_key(&bad), Err(problem.to_owned()), "{bad}");
        }
    }
}
