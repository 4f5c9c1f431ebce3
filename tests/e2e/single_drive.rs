//! A machine of one disk and one drive, which nodebake did not make: it becomes a node from the self-contained image
//! alone, and stays one without it.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::audit::Audit;
use crate::findings::Findings;
use crate::guest::{Guest, Report};
use crate::lab::{Lab, Ran, step};
use crate::nodebake::Cluster;

const NODE: &str = "worker-node-1";
/// Its folder, as libvirt in the lab sees it.
const FOLDER: &str = "/var/lib/libvirt/single-drive";

/// Makes the image and the machine, and waits until it is in the cluster, twice: with the drive and without it.
pub fn is_enough(cluster: &Cluster) {
    let lab = cluster.lab;
    cluster.run(&["lock"]).succeeded();
    cluster.run(&["build", "--self-contained", NODE]).succeeded();
    make_machine(cluster);
    let guest = Guest::new(lab, NODE);
    step("its audit of itself");
    let first = guest.next_audit(&[]);
    for errand in ["images-imported", "packages-installed"] {
        guest.wait_for_stage(errand);
    }
    is_registered(cluster, &first);
    stages(&guest, &first, &["seed-read", "files-installed", "payload-copied", "containerd-active", "kubelet-active"]);

    step("the drive is ejected, and the machine reboots");
    lab.virsh(&["change-media", NODE, "sda", "--eject", "--live", "--config"]);
    guest.wait_for_stage("sealed");
    lab.virsh(&["reboot", "--mode", "acpi", NODE]);
    let second = guest.next_audit(std::slice::from_ref(&first));
    is_registered(cluster, &second);
    stages(&guest, &second, &["containerd-active", "kubelet-active"]);

    step("it is off, for its disk");
    guest.shut_down();
    disk_holds_the_payload(cluster, &lab.disk(NODE), &[first, second]);
    lab.virsh(&["undefine", NODE]);
}

fn make_machine(cluster: &Cluster) {
    let lab = cluster.lab;
    step("a machine of one disk and one drive");
    let folder = lab.outside(FOLDER);
    fs::create_dir(&folder).unwrap();
    fs::copy(cluster.folder.join("build").join(NODE).join("self-contained.iso"), folder.join("drive.iso")).unwrap();
    let base = lab.mirror().join("nodebake.invalid/lab/guest-amd64.img");
    let mut create = Command::new("qemu-img");
    create.args(["create", "-q", "-f", "qcow2", "-F", "qcow2", "-b"]).arg(base).arg(folder.join("root.qcow2"));
    Ran::quietly(create.arg("8G")).succeeded();
    let xml = folder.join("domain.xml");
    fs::write(&xml, definition(&mac(lab, &folder.join("drive.iso")))).unwrap();
    lab.virsh(&["define", "--validate", xml.to_str().unwrap()]);
    lab.virsh(&["start", NODE]);
}

/// As the image itself says, to a program that is not ours.
fn mac(lab: &Lab, image: &Path) -> String {
    let mut read = lab.inside("isoinfo");
    let path = "/nodebake/root/etc/systemd/network/05-nodebake.network";
    let text = Ran::quietly(read.args(["-R", "-x", path, "-i"]).arg(image)).succeeded();
    text.lines().find_map(|line| line.strip_prefix("PermanentMACAddress=")).unwrap().to_owned()
}

/// One disk, one drive, one network card; the channel alone is more than any machine has, to see how far it comes.
fn definition(mac: &str) -> String {
    format!(
        "<domain type='qemu'>
  <name>{NODE}</name>
  <memory unit='GiB'>2</memory>
  <vcpu>1</vcpu>
  <os><type arch='x86_64' machine='q35'>hvm</type></os>
  <features><acpi/><apic/></features>
  <cpu mode='maximum'/>
  <on_reboot>restart</on_reboot>
  <devices>
    <disk type='file' device='disk'>
      <driver name='qemu' type='qcow2'/>
      <source file='{FOLDER}/root.qcow2'/>
      <target dev='vda' bus='virtio'/>
    </disk>
    <disk type='file' device='cdrom'>
      <driver name='qemu' type='raw'/>
      <source file='{FOLDER}/drive.iso'/>
      <target dev='sda' bus='sata'/>
      <readonly/>
    </disk>
    <interface type='network'>
      <mac address='{mac}'/>
      <source network='seed'/>
      <model type='virtio'/>
    </interface>
    <serial type='pty'><log file='{FOLDER}/console.log' append='off'/></serial>
    <channel type='file'>
      <source path='{FOLDER}/first-boot.log' append='off'/>
      <target type='virtio' name='io.nodebake.first-boot.0'/>
    </channel>
  </devices>
</domain>
"
    )
}

fn is_registered(cluster: &Cluster, boot: &str) {
    let nodes = cluster.api_nodes();
    let boots: Vec<_> =
        nodes.iter().map(|(name, node)| (name.as_str(), node["status"]["nodeInfo"]["bootID"].as_str())).collect();
    assert_eq!(boots, [(NODE, Some(boot))]);
}

/// The way to the kubelet in one boot; what runs beside it comes when it comes.
fn stages(guest: &Guest, boot: &str, wanted: &[&str]) {
    let beside = [
        "cni-installed",
        "finished",
        "images-imported",
        "packages-installed",
        "disk-grown",
        "cloud-init-done",
        "sealed",
    ];
    let own = |report: &Report| report.boot == boot && !beside.contains(&report.stage.as_str());
    let told = guest.reports().into_iter().filter(own).map(|report| (report.stage, report.state)).collect::<Vec<_>>();
    let wanted: Vec<_> = wanted.iter().map(|stage| ((*stage).to_owned(), "ok".to_owned())).collect();
    assert_eq!(told, wanted);
}

/// The files of the payload are on the disk as they are in the image, the plugins where they belong; and nothing is
/// mounted there.
fn disk_holds_the_payload(cluster: &Cluster, tree: &Path, boots: &[String]) {
    let mut findings = Findings::of("a worker whose payload is on its disk");
    let image = cluster.lab.work().join("self-contained");
    let mut xorriso = Command::new("xorriso");
    xorriso.args(["-osirrox", "on", "-indev"]).arg(cluster.lab.outside(FOLDER).join("drive.iso"));
    Ran::quietly(xorriso.args(["-extract", "/nodebake/payload"]).arg(&image)).succeeded();
    let names = |folder: &Path| {
        let mut names: Vec<_> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    let payload = tree.join("opt/nodebake/payload");
    let mut wanted = names(&image);
    wanted.push("serial".to_owned());
    wanted.sort();
    findings.same("what is in the payload's folder", names(&payload), wanted);
    for (from, to) in
        [("bin", "opt/nodebake/payload/bin"), ("cni", "opt/cni/bin"), ("packages", "opt/nodebake/payload/packages")]
    {
        findings.same_lists(to, &names(&tree.join(to)), &names(&image.join(from)));
        for name in names(&image.join(from)) {
            let read = |folder: &Path| fs::read(folder.join(&name)).unwrap_or_default();
            let same = read(&image.join(from)) == read(&tree.join(to));
            findings.holds(&format!("bytes of {to}/{name}"), same, ());
        }
    }
    findings.same("plugins left in the payload's folder", names(&payload.join("cni")), Vec::new());
    for boot in boots {
        let audit = Audit::read(tree, boot);
        let mounts = audit.mounts["filesystems"].as_array().cloned().unwrap_or_default();
        let below = |mount: &&Value| mount["target"].as_str().is_some_and(|target| target.starts_with("/opt"));
        findings.same("mounts below /opt", mounts.iter().filter(below).count(), 0);
        for unit in ["containerd.service", "kubelet.service"] {
            findings.same(unit, audit.unit(unit, "ActiveState"), "active");
        }
    }
    findings.end();
}
