//! What the machine beyond its size makes of the guest's files: data disks, networks, further cards.

use super::*;

/// [`INIT`] with further lines under `network` and `defaults`, and beside its first node.
fn with(network: &str, defaults: &str, node: &str) -> Config {
    let under = |text: &str, indent: &str| text.lines().map(|line| format!("{indent}{line}\n")).collect::<String>();
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

#[test]
fn disks_that_read_back_otherwise_are_refused() {
    let config = with("", "dataDisks: {data: {size: 1GiB, mountPath: /data}}", "");
    let spoil = |path: &str, from: &str, to: &str| {
        let mut bundle = bundle(&config);
        let file = bundle.files.iter_mut().find(|file| file.path == path).unwrap();
        let Content::Public(bytes, _) = &mut file.content else { panic!("{file:?}") };
        *bytes = String::from_utf8_lossy(bytes).replacen(from, to, 1).into_bytes();
        match checked(&bundle, &config, &PayloadContents::default(), PayloadPlace::Drive) {
            Err(RenderError::Check { template, .. }) => template.to_string(),
            other => panic!("{path}: {other:?}"),
        }
    };
    assert_eq!(spoil(DISKS[1], "ext4 '/data'", "ext4 '/date'"), "guest/disks");
    let kubelet = "/etc/systemd/system/kubelet.service";
    assert_eq!(spoil(kubelet, "Requires=nodebake-disks.service\n", ""), "guest/disks");
}
