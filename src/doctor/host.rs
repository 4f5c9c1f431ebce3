//! What the hypervisor can run: libvirt itself, hardware virtualisation, architectures and firmware.

use std::collections::{BTreeMap, BTreeSet};

use semver::Version;

use super::finding::{Check, Finding, or_ok};
use super::{Case, Host};
use crate::build::firmware;
use crate::config::{Acceleration, Arch};
use crate::machine::{Capabilities, Firmware, MachineError, VirtType};

/// The first libvirt that takes the files under a disk from its definition instead of reading their headers, which a guest
/// may have written (`<backingStore>` as input: <https://libvirt.org/formatdomain.html#hard-drives-floppy-disks-cdroms>). It
/// has all else that our XML and calls need, of which the newest are firmware chosen by libvirt (5.2) and validation when
/// a domain is defined (1.2.12).
const LIBVIRT: Version = Version::new(5, 10, 0);
/// The first libvirt that knows `<cpu mode='maximum'>`, what an emulated guest gets
/// (<https://libvirt.org/formatdomain.html#cpu-model-and-topology>).
const LIBVIRT_TCG: Version = Version::new(7, 1, 0);
/// The first QEMU with which libvirt takes the files under a disk from its definition (`-blockdev`).
const QEMU: Version = Version::new(4, 2, 0);

/// Whether libvirt and QEMU are new enough for what we ask of them.
pub(super) fn libvirt(case: Case, host: &Host) -> Vec<Finding> {
    let uri = &case.config.libvirt.uri;
    let Some(known) = host.known() else {
        return vec![Finding::ok(Check::Libvirt, format!("answers at {uri}"))];
    };
    let (libvirt, qemu) = (&known.libvirt_version, &known.hypervisor_version);
    let emulated = host.capabilities.values().flatten().any(|able| is_emulated(case, able));
    let (least, why) = if emulated {
        (LIBVIRT_TCG, "emulated guests need the CPU mode \"maximum\"")
    } else {
        (LIBVIRT, "the files under a disk must be taken from its definition")
    };
    let mut findings = Vec::new();
    if *libvirt < least {
        let found = format!("libvirt {libvirt} at {uri} is older than {least}: {why}");
        findings.push(Finding::failure(
            Check::Libvirt,
            found,
            format!("upgrade libvirt on the host to {least} or newer"),
        ));
    }
    // The test driver's hypervisor is no QEMU.
    if !uri.starts_with("test:") && *qemu < QEMU {
        let found = format!("QEMU {qemu} at {uri} is older than {QEMU}, and libvirt needs that for our disks");
        findings.push(Finding::failure(Check::Libvirt, found, format!("upgrade QEMU on the host to {QEMU} or newer")));
    }
    if uri.starts_with("qemu:///session") && host.inventory.network.is_none() && case.config.network.bridge.is_none() {
        let found =
            format!("{uri} is a user's own daemon, which may not be able to make network {}", case.config.network.name);
        findings.push(Finding::warning(Check::Libvirt, found, "set libvirt.uri to qemu:///system in the cluster file"));
    }
    or_ok(findings, Check::Libvirt, || {
        if uri.starts_with("test:") {
            format!("{libvirt} at {uri}")
        } else {
            format!("{libvirt} with QEMU {qemu} at {uri}")
        }
    })
}

fn is_emulated(case: Case, able: &Capabilities) -> bool {
    able.virt_type(case.config.libvirt.acceleration).is_ok_and(|virt| virt == VirtType::Qemu)
}

/// Whether guests run on the CPU itself; emulated ones take about ten times as long for everything.
pub(super) fn kvm(case: Case, host: &Host) -> Vec<Finding> {
    const SLOW: &str = "guests are emulated (tcg), and about ten times slower";
    let able =
        |(arch, able): (&Arch, &Result<Capabilities, MachineError>)| Some((*arch, able.as_ref().ok()?.kvm.clone()));
    let able: BTreeMap<Arch, Result<(), String>> = host.capabilities.iter().filter_map(able).collect();
    if able.is_empty() {
        return vec![Finding::skipped(Check::Kvm, "the host can run no guest")];
    }
    let wanted = case.config.libvirt.acceleration;
    let judge = |(arch, kvm): (&Arch, &Result<(), String>)| match (wanted, kvm) {
        (Acceleration::Tcg, Ok(())) => Some(Finding::warning(
            Check::Kvm,
            format!("{SLOW}, as libvirt.acceleration asks for, though kvm could be used for {arch}"),
            "set libvirt.acceleration to auto in the cluster file",
        )),
        (Acceleration::Kvm, Err(reason)) => {
            let error = MachineError::NoKvm { reason: reason.clone() };
            Some(Finding::failure(Check::Kvm, format!("{arch}: {error}"), error.hint().unwrap_or_default()))
        }
        (Acceleration::Auto, Err(reason)) => {
            Some(Finding::warning(Check::Kvm, format!("{arch} {SLOW}: {reason}"), cure(*arch, reason, host.info.local)))
        }
        (Acceleration::Tcg, Err(_)) | (Acceleration::Auto | Acceleration::Kvm, Ok(())) => None,
    };
    let findings = able.iter().filter_map(judge).collect();
    or_ok(findings, Check::Kvm, || match wanted {
        Acceleration::Tcg => format!("{SLOW}, as libvirt.acceleration asks for"),
        // What the CPU has can be read here alone.
        _ if host.info.local => "libvirt offers it, and the CPU has what it needs".to_owned(),
        _ => "libvirt offers it; whether the CPU of another machine has what it needs cannot be seen from here"
            .to_owned(),
    })
}

fn cure(arch: Arch, reason: &str, local: bool) -> String {
    let native = match arch {
        Arch::Amd64 => "x86_64",
        Arch::Arm64 => "aarch64",
    };
    if local && std::env::consts::ARCH != native {
        return format!("run {arch} nodes on an {arch} host");
    }
    if reason.contains("vmx") {
        return "enable virtualisation (VT-x, AMD-V) in the firmware; for a host that is itself a virtual machine, nested \
                virtualisation on the machine below"
            .to_owned();
    }
    "load its module on the host (modprobe kvm_intel or kvm_amd), and see that /dev/kvm is there; virt-host-validate qemu \
     tells more"
        .to_owned()
}

/// Whether there is an emulator, and firmware where it is needed, for every architecture of the nodes.
pub(super) fn guests(case: Case, host: &Host) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut fine = BTreeSet::new();
    for (arch, able) in &host.capabilities {
        let of_image = firmware(&case.config.image, *arch);
        let nodes = case.nodes.iter().filter(|node| node.arch == *arch);
        let secure = nodes.clone().find(|node| node.settings.machine.secure_boot == Some(true));
        let chosen: Vec<_> = nodes.filter_map(|node| node.settings.machine.firmware.map(Firmware::from)).collect();
        let uefi = chosen.contains(&Firmware::Uefi) || (chosen.is_empty() && of_image == Firmware::Uefi);
        match able {
            Err(error) => findings.push(Finding::of_error(Check::Guests, error, error.hint())),
            Ok(able) if uefi && !able.uefi => {
                let found =
                    format!("{} needs UEFI firmware for {arch}, and libvirt finds none on the host", case.config.image);
                let fix = format!("install {} on the host", uefi_package(*arch));
                findings.push(Finding::failure(Check::Guests, found, fix));
            }
            Ok(able) if !able.secure_boot && secure.is_some() => {
                let name = secure.map(|node| node.name.to_string()).unwrap_or_default();
                let found = format!(
                    "{name} asks for secure boot, and libvirt finds no firmware for {arch} on the host that has it"
                );
                let fix =
                    format!("install {} on the host, or leave secureBoot out of the cluster file", uefi_package(*arch));
                findings.push(Finding::failure(Check::Guests, found, fix));
            }
            Ok(able) => {
                fine.insert(format!("{arch} by {}, {}", able.emulator, if uefi { "UEFI" } else { "BIOS" }));
            }
        }
    }
    or_ok(findings, Check::Guests, || fine.into_iter().collect::<Vec<_>>().join("; "))
}

/// Debian's and Ubuntu's name of the package with UEFI firmware.
fn uefi_package(arch: Arch) -> &'static str {
    match arch {
        Arch::Amd64 => "ovmf",
        Arch::Arm64 => "qemu-efi-aarch64",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::fixture::Fixture;
    use crate::machine::Cause;

    #[test]
    fn old_programs_and_daemons_of_a_users_own_are_told() {
        let upgrade = "upgrade libvirt on the host to";
        let session = "qemu:///session is a user's own daemon, which may not be able to make network nodebake | set \
                       libvirt.uri to qemu:///system in the cluster file";
        let fine = |libvirt: &str| format!("ok: {libvirt} with QEMU 6.2.0 at qemu:///system");
        for (libvirt, kvm, wanted) in [
            ("8.0.0", true, fine("8.0.0")),
            ("5.10.0", true, fine("5.10.0")),
            (
                "5.9.0",
                true,
                format!(
                    "failure: libvirt 5.9.0 at qemu:///system is older than 5.10.0: the files under a disk must be taken from its definition | {upgrade} 5.10.0 or newer"
                ),
            ),
            (
                "7.0.0",
                false,
                format!(
                    "failure: libvirt 7.0.0 at qemu:///system is older than 7.1.0: emulated guests need the CPU mode \"maximum\" | {upgrade} 7.1.0 or newer"
                ),
            ),
            ("7.1.0", false, fine("7.1.0")),
        ] {
            let mut fixture = Fixture::new();
            fixture.able().libvirt_version = libvirt.parse().unwrap_or(Version::new(0, 0, 0));
            fixture.able().kvm = if kvm { Ok(()) } else { Err("none".to_owned()) };
            assert_eq!(fixture.judge(self::libvirt), [wanted], "{libvirt}");
        }
        let mut fixture = Fixture::new();
        fixture.able().hypervisor_version = Version::new(4, 1, 1);
        let old = "failure: QEMU 4.1.1 at qemu:///system is older than 4.2.0, and libvirt needs that for our disks | upgrade \
                   QEMU on the host to 4.2.0 or newer";
        assert_eq!(fixture.judge(libvirt), [old]);
        let mut fixture = Fixture::new();
        fixture.config.libvirt.uri = "qemu:///session".to_owned();
        assert_eq!(fixture.judge(libvirt), ["ok: 8.0.0 with QEMU 6.2.0 at qemu:///session"]);
        fixture.host.inventory.network = None;
        assert_eq!(fixture.judge(libvirt), [format!("warning: {session}")]);
        fixture.config.libvirt.uri = "test:///default".to_owned();
        assert_eq!(fixture.judge(libvirt), ["ok: 8.0.0 at test:///default"]);
    }

    #[test]
    fn emulation_is_told_with_its_reason() {
        use Acceleration as A;
        let slow = "guests are emulated (tcg), and about ten times slower";
        let asked = ", as libvirt.acceleration asks for";
        let seen = "ok: libvirt offers it, and the CPU has what it needs";
        let unseen =
            "ok: libvirt offers it; whether the CPU of another machine has what it needs cannot be seen from here";
        let nested = "enable virtualisation (VT-x, AMD-V) in the firmware; for a host that is itself a virtual machine, \
                      nested virtualisation on the machine below";
        let module = "load its module on the host (modprobe kvm_intel or kvm_amd), and see that /dev/kvm is there; \
                      virt-host-validate qemu tells more";
        let lacks = Err("the CPU has neither vmx nor svm");
        for (wanted, local, kvm, line) in [
            (A::Auto, true, Ok(()), seen.to_owned()),
            (A::Kvm, false, Ok(()), unseen.to_owned()),
            (A::Auto, false, lacks, format!("warning: amd64 {slow}: the CPU has neither vmx nor svm | {nested}")),
            (A::Auto, false, Err("no /dev/kvm"), format!("warning: amd64 {slow}: no /dev/kvm | {module}")),
            (
                A::Kvm,
                true,
                Err("no /dev/kvm"),
                "failure: amd64: hardware virtualisation (kvm) cannot be used: no /dev/kvm | set acceleration: auto or tcg \
                 (slow), or enable virtualisation in the firmware"
                    .to_owned(),
            ),
            (A::Tcg, true, lacks, format!("ok: {slow}{asked}")),
            (
                A::Tcg,
                true,
                Ok(()),
                format!("warning: {slow}{asked}, though kvm could be used for amd64 | set libvirt.acceleration to auto in the cluster file"),
            ),
        ] {
            let mut fixture = Fixture::new();
            (fixture.config.libvirt.acceleration, fixture.host.info.local) = (wanted, local);
            fixture.able().kvm = kvm.map_err(str::to_owned);
            assert_eq!(fixture.judge(self::kvm), [line]);
        }
    }

    #[test]
    fn emulator_and_firmware_are_there_for_each_architecture() {
        let mut fixture = Fixture::new();
        assert_eq!(fixture.judge(guests), ["ok: amd64 by /usr/bin/qemu-system-x86_64, BIOS"]);
        fixture.config.nodes[1].settings.machine.secure_boot = Some(true);
        assert_eq!(fixture.judge(guests), ["ok: amd64 by /usr/bin/qemu-system-x86_64, BIOS"]);
        fixture.able().secure_boot = false;
        let unsigned = "failure: worker-node-2 asks for secure boot, and libvirt finds no firmware for amd64 on the host that \
                        has it | install ovmf on the host, or leave secureBoot out of the cluster file";
        assert_eq!(fixture.judge(guests), [unsigned]);
        fixture.config.nodes[1].settings.machine.secure_boot = None;
        let mut arm = fixture.able().clone();
        arm.emulator = "/usr/bin/qemu-system-aarch64".to_owned();
        fixture.host.capabilities.insert(Arch::Arm64, Ok(arm.clone()));
        let both = "ok: amd64 by /usr/bin/qemu-system-x86_64, BIOS; arm64 by /usr/bin/qemu-system-aarch64, UEFI";
        assert_eq!(fixture.judge(guests), [both]);
        arm.uefi = false;
        fixture.host.capabilities.insert(Arch::Arm64, Ok(arm));
        let bare = "failure: ubuntu-24.04 needs UEFI firmware for arm64, and libvirt finds none on the host | install \
                    qemu-efi-aarch64 on the host";
        assert_eq!(fixture.judge(guests), [bare]);
        let source = Cause { message: "no emulator".to_owned(), code: 8 };
        fixture.host.capabilities.insert(Arch::Arm64, Err(MachineError::NoArch { arch: Arch::Arm64, source }));
        let none = "failure: the host cannot run arm64 guests: no emulator | install qemu-system-arm on the host";
        assert_eq!(fixture.judge(guests), [none]);
        fixture.host.capabilities.clear();
        assert_eq!(fixture.judge(kvm), ["skipped: the host can run no guest"]);
        assert_eq!(fixture.judge(libvirt), ["ok: answers at qemu:///system"]);
    }
}
