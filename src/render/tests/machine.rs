//! What the machine beyond its size makes of the guest's files: data disks, networks, further cards.

use super::*;

/// [`INIT`] with further lines under `network` and `defaults`, and beside its first node.
fn with(network: &str, defaults: &str, node: &str) -> Config {
    let under =
        |text: &str, indent: &str| text.lines().map(|line| format!("{indent}{line}\n")).collect::<Vec<_>>().concat();
    let text = INIT
        .replacen("  name: nodebake\n", &format!("  name: nodebake\n{}", under(network, "  ")), 1)
        .replacen("  arch: amd64\n", &format!("  arch: amd64\n{}", under(defaults, "  ")), 1)
        .replacen("    address: 10.0.0.36\n", &format!("    address: 10.0.0.36\n{}", under(node, "    ")), 1);
    let mut config = parse(Path::new("/clusters/seed/nodebake.yaml"), &text).unwrap();
    config.nodes.truncate(1);
    config
}

#[test]
fn data_disks_are_mounted_before_what_fills_them() {
    let defaults = "dataDisks:\n  logs: {size: 2GiB, mountPath: /data/logs, fileSystem: xfs}\n  \
                    all: {size: 1GiB, mountPath: /data}\n  raw: {size: 1GiB}";
    let (without, bundle) = (bundle(&with("", "", "")), bundle(&with("", defaults, "")));
    let [unit, script] = DISKS;
    let services = ["/etc/systemd/system/containerd.service", "/etc/systemd/system/kubelet.service"];
    assert_eq!(differences(&bundle, &without), [services[0], services[1], unit, script]);
    for service in services {
        let added = "Requires=nodebake-disks.service\nAfter=nodebake-disks.service\n";
        let (text, before) = (public(&bundle, service).0, public(&without, service).0);
        assert_eq!((text.replace(added, ""), text.matches(added).count()), (before.to_owned(), 1), "{service}");
    }
    let (text, mode) = public(&bundle, script);
    // The outer one first.
    let mounts = text.split_once("growfs \"$3\"\n}\n\n").unwrap().1;
    assert_eq!((mounts, mode), ("mount_disk all ext4 '/data'\nmount_disk logs xfs '/data/logs'\n", 0o755));
    // A disk that nobody mounts changes nothing in the guest.
    let raw = super::bundle(&with("", "dataDisks: {raw: {size: 1GiB}}", ""));
    assert_eq!((differences(&raw, &without), &raw.first_boot), (vec![], &without.first_boot));
}

/// The script's own word for a blank disk, run on files: whatever is on one, at either end or as blkid knows it, it is none.
#[test]
fn a_disk_that_holds_anything_is_not_blank() {
    let bundle = bundle(&with("", "dataDisks: {data: {size: 1GiB, mountPath: /data}}", ""));
    let script = public(&bundle, DISKS[1]).0;
    let start = script.find("is_blank() {").unwrap();
    let length = script[start..].find("\n}\n").unwrap();
    let is_blank = &script[start..start + length];
    let disk = tempfile::NamedTempFile::new().unwrap();
    let says = |prepare: &str| {
        let shell = format!(
            "set -eu\nblockdev() {{ stat -c %s \"$2\"; }}\n{is_blank}\n}}\nrm \"$0\"\ntruncate -s 1G \"$0\"\n\
             {prepare}\nif is_blank \"$0\"; then echo blank; else echo not; fi"
        );
        let output = std::process::Command::new("sh").arg("-c").arg(shell).arg(disk.path()).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(says(""), "blank\n");
    for prepare in [
        "mkfs.ext4 -q -F \"$0\"",
        "mkswap \"$0\" >/dev/null",
        "echo label: gpt | sfdisk -q \"$0\"",
        "printf x | dd of=\"$0\" bs=1 seek=16000000 conv=notrunc status=none",
        "printf x | dd of=\"$0\" bs=1 seek=1073741823 conv=notrunc status=none",
    ] {
        assert_eq!(says(prepare), "not\n", "{prepare}");
    }
}

/// [`INIT`] with two further cards for its first node.
fn further_cards() -> Config {
    let own = "nics: {b: {address: 10.1.0.36/24, address6: fd00:11::36/64}}";
    with("", "nics: {a: {network: x}, b: {bridge: br1, mtu: 9000}}", own)
}

#[test]
fn further_cards_have_files_of_their_own_without_a_way_out() {
    let (without, bundle) = (bundle(&with("", "", "")), bundle(&further_cards()));
    let [a, b] = ["a", "b"].map(network::nic_path);
    assert_eq!(differences(&bundle, &without), [a.as_str(), b.as_str()]);
    let head = |name: &str| {
        format!(
            "# Rendered by nodebake: the network card {name}, beside the node's first. No default route leads through it.\n"
        )
    };
    let wanted = head("a")
        + "[Match]\nPermanentMACAddress=52:54:00:00:00:01\n\n[Link]\n# Nothing waits for it.\nRequiredForOnline=no\n\n\
           [Network]\nDHCP=no\nIPv6AcceptRA=no\nLinkLocalAddressing=no\n";
    assert_eq!(public(&bundle, &a), (wanted.as_str(), 0o644));
    let wanted = head("b")
        + "[Match]\nPermanentMACAddress=52:54:00:00:00:02\n\n[Link]\n# Nothing waits for it.\nRequiredForOnline=no\n\
           MTUBytes=9000\n\n[Network]\nAddress=10.1.0.36/24\nAddress=fd00:11::36/64\nDHCP=no\nIPv6AcceptRA=no\n\
           LinkLocalAddressing=ipv6\n";
    assert_eq!(public(&bundle, &b), (wanted.as_str(), 0o644));
    // A network-config of the user's own says all of the network.
    let folder = tempfile::tempdir().unwrap();
    let own = "version: 2\nethernets: {primary: {match: {macaddress: '{{ node.mac }}'}}}\n";
    std::fs::write(folder.path().join("network-config"), own).unwrap();
    let mut config = further_cards();
    config.nodes[0].settings.templates = Some(folder.path().to_owned());
    let own = super::bundle(&config);
    assert_eq!([&a, &b].map(|path| own.file(path).is_some()), [false; 2]);
}

#[test]
fn a_node_that_asks_for_its_address_waits_for_just_that() {
    let (without, bundle) = (bundle(&with("", "", "")), bundle(&with("dhcp: true", "", "")));
    let (unit, file) = ("/etc/systemd/system/kubelet.service", network::FILE.0);
    assert_eq!(differences(&bundle, &without), [file, unit, network::ADDRESS]);
    let wanted = "[Network]\nDHCP=ipv4\n# The address stays while networkd starts anew.\nKeepConfiguration=dhcp-on-stop\n\
                  DNS=10.0.0.1\nIPv6AcceptRA=no\nLinkLocalAddressing=no\n\n# Its address is kept for its MAC; the rest is as \
                  the cluster file says.\n[DHCPv4]\nClientIdentifier=mac\nUseDNS=no\nUseNTP=no\nUseHostname=no\n";
    assert_eq!(public(&bundle, file).0.split_once("\n\n").unwrap().1, wanted);
    let wanted = public(&without, unit).0.replace(
        "# Not behind the network: first boot sets the address itself, and until the apiserver answers the kubelet tries again.\n",
        "After=systemd-networkd.service\n",
    );
    let starts =
        "[Service]\nExecStartPre=/usr/local/lib/nodebake/address\n# It waits for 300 of them.\nTimeoutStartSec=400\n";
    assert_eq!(public(&bundle, unit).0, wanted.replace("[Service]\n", starts));
    assert!(!bundle.first_boot.contains("address add") && without.first_boot.contains("address add"));
    // IPv6 is static beside it.
    let both =
        super::bundle(&with("dhcp: true\ncidr6: fd00:10::/64\ngateway6: fd00:10::1", "", "address6: fd00:10::36"));
    let text = public(&both, file).0;
    assert!(
        text.contains("KeepConfiguration=dhcp-on-stop\nAddress=fd00:10::36/64\nGateway=fd00:10::1\nDNS="),
        "{text}"
    );
}

/// The script that waits, with programs of the test's in place of the system's: of which address is told what.
#[test]
fn another_address_than_its_own_is_no_address() {
    let script = bundle(&with("dhcp: true", "", ""));
    let script = public(&script, network::ADDRESS).0;
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    for (card, mac) in [("lo", "00:00:00:00:00:00"), ("eth7", MAC), ("cni0", MAC)] {
        std::fs::create_dir_all(folder.path().join("net").join(card)).unwrap();
        std::fs::write(folder.path().join("net").join(card).join("address"), format!("{mac}\n")).unwrap();
    }
    std::fs::create_dir(folder.path().join("net/eth7/device")).unwrap();
    let script = script
        .replace("/sys/class/net", &path("net"))
        .replace("/usr/lib/systemd/systemd-networkd-wait-online", &path("wait"))
        .replace("/usr/local/lib/nodebake/report", &path("report"))
        .replace("$(ip ", &format!("$({} ", path("ip")));
    let program = |name: &str, text: &str| {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::write(path(name), format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(path(name), std::fs::Permissions::from_mode(0o755)).unwrap();
    };
    let run = |waits: &str, address: &str| {
        program("wait", &format!("echo wait $*; {waits}"));
        program("ip", &format!("echo '2: eth7    inet {address}/24 brd 10.0.0.255 scope global dynamic eth7'"));
        program("report", "echo report $*");
        let output = std::process::Command::new("sh").arg("-c").arg(&script).output().unwrap();
        let [stdout, stderr] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
        (output.status.code(), stdout, stderr)
    };
    let wait = "wait --interface=eth7 --ipv4 --timeout=300\n";
    assert_eq!(run("true", "10.0.0.36"), (Some(0), wait.to_owned(), String::new()));
    for other in ["10.0.0.99", "10.0.0.3", "110.0.0.36"] {
        let told = format!("the DHCP server gave the node {other}; it must keep 10.0.0.36 for the MAC {MAC}\n");
        let reported = format!("{wait}report failed address-given kubelet.service\n");
        assert_eq!(run("true", other), (Some(1), reported, told));
    }
    let none = format!("no DHCP server gives the node an address; one must keep 10.0.0.36 for the MAC {MAC}\n");
    assert_eq!(run("false", ""), (Some(1), wait.to_owned(), none));
    std::fs::remove_dir(folder.path().join("net/eth7/device")).unwrap();
    let missing = format!("no network card has the MAC {MAC}\n");
    assert_eq!(run("true", "10.0.0.36"), (Some(1), String::new(), missing));
}

/// The template that is refused when a file of a bundle reads back otherwise than it was meant.
fn spoilt(config: &Config, path: &str, from: &str, to: &str) -> String {
    let mut bundle = bundle(config);
    let file = bundle.files.iter_mut().find(|file| file.path == path).unwrap();
    let Content::Public(bytes, _) = &mut file.content else { panic!("{file:?}") };
    let text = String::from_utf8_lossy(bytes).into_owned();
    assert!(text.contains(from), "{path}: {from}");
    *bytes = text.replacen(from, to, 1).into_bytes();
    match checked(&bundle, config, &PayloadContents::default(), PayloadPlace::Drive) {
        Err(RenderError::Check { template, .. }) => template.to_string(),
        other => panic!("{path}: {other:?}"),
    }
}

#[test]
fn what_reads_back_otherwise_is_refused() {
    let disks = with("", "dataDisks: {data: {size: 1GiB, mountPath: /data}}", "");
    let (kubelet, file) = ("/etc/systemd/system/kubelet.service", network::FILE.0);
    for (config, path, from, to, template) in [
        (&disks, DISKS[1], "ext4 '/data'", "ext4 '/date'", "guest/disks"),
        (&disks, kubelet, "Requires=nodebake-disks.service\n", "", "guest/disks"),
        (&further_cards(), &network::nic_path("b"), "DHCP=no", "DHCP=yes", "guest/nic.network"),
        (
            &further_cards(),
            &network::nic_path("b"),
            "[Network]\n",
            "[Network]\nGateway=10.1.0.1\n",
            "guest/nic.network",
        ),
        (&further_cards(), &network::nic_path("a"), "00:00:00:01", "00:00:00:02", "guest/nic.network"),
        (&with("dhcp: true", "", ""), kubelet, "ExecStartPre=", "ExecStartPost=", "systemd/kubelet.service"),
        (&with("dhcp: true", "", ""), file, "DHCP=ipv4", "DHCP=no", "guest/primary.network"),
        (&with("dhcp: true", "", ""), file, "ClientIdentifier=mac\n", "", "guest/primary.network"),
        (&dual_stack(), kubelet, ",fd00:10::36", "", "systemd/kubelet.service"),
        (&dual_stack(), file, "Address=fd00:10::36/64\n", "", "guest/primary.network"),
        (&dual_stack(), file, "Gateway=fd00:10::1\n", "", "guest/primary.network"),
        (&dual_stack(), file, "LinkLocalAddressing=ipv6", "LinkLocalAddressing=no", "guest/primary.network"),
        (
            &dual_stack(),
            "/etc/sysctl.d/90-nodebake.conf",
            "net.ipv6.conf.all.forwarding = 1\n",
            "",
            "guest/sysctl.conf",
        ),
    ] {
        assert_eq!(spoilt(config, path, from, to), template, "{path}: {from}");
    }
}

/// [`INIT`] with IPv6 on the network, and an address of it for its first node.
fn dual_stack() -> Config {
    with("cidr6: fd00:10::/64\ngateway6: fd00:10::1", "", "address6: fd00:10::36")
}

#[test]
fn a_node_with_ipv6_has_it_wherever_its_addresses_stand() {
    let (without, bundle) = (bundle(&with("", "", "")), bundle(&dual_stack()));
    let (unit, file) = ("/etc/systemd/system/kubelet.service", network::FILE.0);
    assert_eq!(differences(&bundle, &without), ["/etc/hosts", "/etc/sysctl.d/90-nodebake.conf", file, unit]);
    for (path, from, to) in [
        ("/etc/hosts", "10.0.0.36 worker-node-1\n", "10.0.0.36 worker-node-1\nfd00:10::36 worker-node-1\n"),
        (
            "/etc/sysctl.d/90-nodebake.conf",
            "net.ipv4.ip_forward = 1\n",
            "net.ipv4.ip_forward = 1\nnet.ipv6.conf.all.forwarding = 1\n",
        ),
        (unit, "--node-ip=10.0.0.36 ", "--node-ip=10.0.0.36,fd00:10::36 "),
        (
            file,
            "Address=10.0.0.36/24\nGateway=10.0.0.1\n",
            "Address=10.0.0.36/24\nAddress=fd00:10::36/64\nGateway=10.0.0.1\nGateway=fd00:10::1\n",
        ),
    ] {
        let wanted = public(&without, path).0.replace(from, to);
        assert_eq!(public(&bundle, path).0, wanted.replace("LinkLocalAddressing=no", "LinkLocalAddressing=ipv6"));
    }
    let static6 = "proto static\naddress add fd00:10::36/64 dev $name nodad\n\
                   route add default via fd00:10::1 dev $name proto static\nEND\n";
    let first_boot = without.first_boot.replace("proto static\nEND\n", static6).replace("none up", "eui64 up");
    assert_eq!(bundle.first_boot, first_boot);
    // The network may have IPv6 before a node has.
    let network = super::bundle(&with("cidr6: fd00:10::/64\ngateway6: fd00:10::1", "", ""));
    assert_eq!((differences(&network, &without), &network.first_boot), (vec![], &without.first_boot));
}
