//! What crossed the bridge while the lab was up: tcpdump's record of it, read packet by packet.

use std::collections::BTreeMap;
use std::fs;
use std::net::Ipv4Addr;

use crate::findings::Findings;
use crate::lab::{Lab, step};

const APISERVER: (Ipv4Addr, u16) = (Ipv4Addr::new(10, 0, 0, 4), 6443);
/// The hypervisor's end of the bridge: gateway and nameserver.
const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const KUBELET: u16 = 10250;

/// Only ARP and its like of IPv6, the apiserver's TCP, DNS and NTP, which the gateway is asked for and does not have; from the hypervisor itself also nodebake's question whether an address is
/// free, which is a connection to the kubelet's port.
pub fn only_what_belongs_there(lab: &Lab) {
    step("what crossed the bridge");
    let record = fs::read(lab.dir.join("run/bridge.pcap")).unwrap();
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    for frame in frames(&record) {
        *kinds.entry(kind(frame)).or_default() += 1;
    }
    for (kind, count) in &kinds {
        eprintln!("        {count:>6} {kind}");
    }
    let mut findings = Findings::of("what crossed the bridge is the apiserver's, DNS, NTP and ARP");
    let foreign: Vec<_> = kinds.iter().filter(|(kind, _)| kind.starts_with("foreign")).collect();
    findings.same("foreign packets", foreign, Vec::new());
    findings.holds("the record is not empty", kinds.contains_key("apiserver"), &kinds);
    findings.holds("the given time server is asked", kinds.contains_key("NTP, which the gateway is asked for"), &kinds);
    // The filter would have dropped a packet for port 22 before the record: it counts them.
    let rules = crate::lab::Ran::quietly(lab.inside("nft").args(["list", "table", "bridge", "lab"])).succeeded();
    let drops: Vec<_> = rules.lines().map(str::trim).filter(|line| line.contains("dport 22")).collect();
    findings.same("packets for port 22", drops, vec!["tcp dport 22 counter packets 0 bytes 0 drop"; 3]);
    findings.end();
}

/// The frames of a pcap file (the classic form, microseconds, this machine's byte order, Ethernet).
fn frames(record: &[u8]) -> impl Iterator<Item = &[u8]> {
    let number = |at: usize| u32::from_le_bytes(record[at..at + 4].try_into().unwrap());
    assert_eq!((number(0), number(20)), (0xa1b2_c3d4, 1), "a pcap file of Ethernet frames");
    let mut at = 24;
    std::iter::from_fn(move || {
        let length = usize::try_from(u32::from_le_bytes(record.get(at + 8..at + 12)?.try_into().unwrap())).unwrap();
        let frame = record.get(at + 16..at + 16 + length)?;
        at += 16 + length;
        Some(frame)
    })
}

fn kind(frame: &[u8]) -> String {
    match frame.get(12..14) {
        Some([0x08, 0x06]) => "ARP".to_owned(),
        Some([0x08, 0x00]) => ipv4(&frame[14..]),
        Some([0x86, 0xdd]) => ipv6(&frame[14..]),
        Some([high, low]) => format!("foreign: EtherType {high:02x}{low:02x}, {:02x?}", &frame[..frame.len().min(60)]),
        _ => "foreign: a frame without a type".to_owned(),
    }
}

/// The customised node has IPv6: it looks for neighbours (RFC 4861) and joins their groups (RFC 3810); nobody else answers.
fn ipv6(packet: &[u8]) -> String {
    // The options before those reports, in units of eight bytes (RFC 8200, 4.3).
    let (protocol, at) = match (packet.get(6), packet.get(40), packet.get(41)) {
        (Some(0), Some(next), Some(length)) => (*next, 48 + 8 * usize::from(*length)),
        (Some(next), ..) => (*next, 40),
        _ => return "foreign: an IPv6 packet without a head".to_owned(),
    };
    match (protocol, packet.get(at)) {
        (58, Some(133..=136 | 143)) => "IPv6 neighbours".to_owned(),
        (protocol, kind) => format!("foreign: IPv6 protocol {protocol}, type {kind:?}"),
    }
}

fn ipv4(packet: &[u8]) -> String {
    let address = |at: usize| Ipv4Addr::from(<[u8; 4]>::try_from(&packet[at..at + 4]).unwrap());
    let (from, to, protocol) = (address(12), address(16), packet[9]);
    let ports = usize::from(packet[0] & 0xf) * 4;
    let port = |at: usize| u16::from_be_bytes(packet[ports + at..ports + at + 2].try_into().unwrap());
    // The kernel's bridge itself, where it is born: it joins the group of all snoopers.
    if protocol == 2 && from == GATEWAY && packet[ports..].windows(4).any(|group| group == [224, 0, 0, 106]) {
        return "IGMP of the bridge itself (multicast snooping)".to_owned();
    }
    // ICMP's "port unreachable" holds the packet that it answers, from its byte 8 on.
    let refused = packet.get(ports + 8..).filter(|inner| packet[ports..ports + 2] == [3, 3] && inner.len() >= 24);
    if protocol == 1 && from == GATEWAY && refused.is_some_and(|inner| inner[9] == 17 && inner[22..24] == [0, 123]) {
        return "NTP, which the gateway does not have".to_owned();
    }
    if !matches!(protocol, 6 | 17) {
        return format!("foreign: IP protocol {protocol} {from} -> {to}");
    }
    let (source, target) = ((from, port(0)), (to, port(2)));
    match protocol {
        6 if source == APISERVER || target == APISERVER => "apiserver".to_owned(),
        6 | 17 if source == (GATEWAY, 53) || target == (GATEWAY, 53) => "DNS".to_owned(),
        6 if (from == GATEWAY && target.1 == KUBELET) || (to == GATEWAY && source.1 == KUBELET) => {
            "nodebake asks whether an address is free".to_owned()
        }
        17 if target == (GATEWAY, 123) => "NTP, which the gateway is asked for".to_owned(),
        _ => format!("foreign: IP protocol {protocol} {source:?} -> {target:?}"),
    }
}
