//! The routes of this machine, by the kernel's table.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

/// A route to a network, other than the default one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Route {
    /// Where it leads.
    pub(super) to: Ipv4Net,
    /// The interface that it goes through.
    pub(super) interface: String,
}

/// All routes of /proc/net/route (`proc_pid_net(5)`), which writes addresses as hexadecimal numbers in the processor's
/// byte order; none where there is no such file.
pub(super) fn read() -> Vec<Route> {
    parse(&std::fs::read_to_string("/proc/net/route").unwrap_or_default())
}

fn parse(table: &str) -> Vec<Route> {
    let address = |text: &str| u32::from_str_radix(text, 16).ok().map(|number| Ipv4Addr::from(number.to_ne_bytes()));
    let route = |line: &str| {
        let fields: Vec<_> = line.split_ascii_whitespace().collect();
        let to = Ipv4Net::with_netmask(address(fields.get(1)?)?, address(fields.get(7)?)?).ok()?;
        (to.prefix_len() > 0).then(|| Route { to, interface: fields[0].to_owned() })
    };
    table.lines().skip(1).filter_map(route).collect()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_table_is_read() {
        let number = |address: [u8; 4]| format!("{:08X}", u32::from_ne_bytes(address));
        let line = |interface: &str, to: [u8; 4], mask: [u8; 4]| {
            format!("{interface}\t{}\t00000000\t0001\t0\t0\t0\t{}\t0\t0\t0\n", number(to), number(mask))
        };
        let table = [
            "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n".to_owned(),
            line("eth0", [0; 4], [0; 4]),
            line("eth0", [192, 168, 1, 0], [255, 255, 255, 0]),
            line("tun0", [10, 0, 0, 0], [255, 0, 0, 0]),
            "broken\n".to_owned(),
        ];
        let route = |to: &str, interface: &str| Route { to: to.parse().unwrap(), interface: interface.to_owned() };
        assert_eq!(parse(&table.concat()), [route("192.168.1.0/24", "eth0"), route("10.0.0.0/8", "tun0")]);
        assert_eq!(parse(""), []);
    }
}
