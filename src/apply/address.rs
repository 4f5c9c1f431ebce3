//! Whether somebody already has an address, asked before a machine that would share it is made.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use crate::config::Mac;

/// The kubelet's port: a worker made by hand answers there.
const KUBELET: u16 = 10250;

/// Longer than the kernel takes to give up a neighbour that it knew: five seconds of delay, then three probes a second
/// apart (arp(7)); one that it never knew is given up after the probes.
const LIMIT: Duration = Duration::from_secs(12);

/// Who has an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// Somebody answers there.
    Taken,
    /// Nobody does.
    Free,
    /// This machine is not on the subnet, so it cannot tell.
    Unknown,
}

/// Asks whether a host answers at the address. Only asked where this machine is itself on the subnet, as it is on the
/// hypervisor; elsewhere nothing is sent. Any answer counts, a refusal too; without one the kernel's neighbour table tells
/// whether somebody other than `own`, the node's machine that does not run now, said that the address is theirs.
fn presence(address: Ipv4Addr, own: Mac, subnet: ipnet::Ipv4Net) -> Presence {
    if !is_attached(address, subnet) {
        return Presence::Unknown;
    }
    let taken = match TcpStream::connect_timeout(&SocketAddr::new(address.into(), KUBELET), LIMIT) {
        Ok(_) => true,
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => true,
        // No neighbour of that address: the kernel asked and nobody said that it is theirs.
        Err(error) if error.kind() == ErrorKind::HostUnreachable => false,
        Err(_) => is_neighbour(address, own, &std::fs::read_to_string("/proc/net/arp").unwrap_or_default()),
    };
    if taken { Presence::Taken } else { Presence::Free }
}

/// The same of several addresses at once, in their order.
pub fn presences(addresses: &[(Ipv4Addr, Mac)], subnet: ipnet::Ipv4Net) -> Vec<Presence> {
    std::thread::scope(|scope| {
        let ask = |(address, own): &(Ipv4Addr, Mac)| {
            let (address, own) = (*address, *own);
            scope.spawn(move || presence(address, own, subnet))
        };
        let asked: Vec<_> = addresses.iter().map(ask).collect();
        asked.into_iter().map(|thread| thread.join().unwrap_or(Presence::Unknown)).collect()
    })
}

/// Whether the kernel would send from an address inside the subnet, without a router between. Connecting a UDP socket
/// sends nothing.
fn is_attached(address: Ipv4Addr, subnet: ipnet::Ipv4Net) -> bool {
    let local = || {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
        socket.connect((address, KUBELET)).ok()?;
        socket.local_addr().ok()
    };
    matches!(local().map(|local| local.ip()), Some(IpAddr::V4(local)) if subnet.contains(&local) && local != address)
}

/// Whether /proc/net/arp (`proc_pid_net(5)`) holds a complete entry (flag 0x2) for the address, of another machine than
/// `own`: one that was heard of less than a minute ago counts as reachable and is not asked again, so it stays there.
fn is_neighbour(address: Ipv4Addr, own: Mac, table: &str) -> bool {
    let (address, own) = (address.to_string(), own.to_string());
    table.lines().skip(1).any(|line| {
        let fields: Vec<_> = line.split_ascii_whitespace().collect();
        let flags = fields.get(2).and_then(|flags| u32::from_str_radix(flags.trim_start_matches("0x"), 16).ok());
        fields.first() == Some(&address.as_str())
            && flags.is_some_and(|flags| flags & 2 != 0)
            && fields.get(3) != Some(&own.as_str())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "IP address       HW type     Flags       HW address            Mask     Device\n\
                         10.0.0.36        0x1         0x2         52:54:00:12:34:56     *        virbr0\n\
                         10.0.0.37        0x1         0x0         00:00:00:00:00:00     *        virbr0\n";

    #[test]
    fn only_complete_neighbours_of_others_count() {
        let (own, other) = (Mac::from([0x52, 0x54, 0, 0x12, 0x34, 0x56]), Mac::from([0x52, 0x54, 0, 0, 0, 1]));
        for (address, mac, wanted) in [
            ([10, 0, 0, 36], other, true),
            ([10, 0, 0, 36], own, false),
            ([10, 0, 0, 37], other, false),
            ([10, 0, 0, 3], other, false),
        ] {
            assert_eq!(is_neighbour(address.into(), mac, TABLE), wanted, "{address:?} {mac}");
        }
    }

    #[test]
    fn an_address_of_another_subnet_is_not_asked_for() {
        assert!(!is_attached([127, 0, 0, 2].into(), ipnet::Ipv4Net::new_assert([10, 9, 8, 0].into(), 24)));
    }
}
