//! `rebuild --take-over` on a real libvirtd and QEMU: a machine that the test defines by hand, whose guest does not hear its
//! power button, gives its place to one of ours, gets it back, and is removed at last.

use std::fs;
use std::process::Command;

use nodebake::machine::{DomainInfo, DomainState, NoteState};

use crate::daemon::Daemon;
use crate::guests::{Guests, good, report};
use crate::rebuilding;
use crate::world::{Ran, World, must};

const NODE: &str = "worker-node-1";
const KEPT: &str = "worker-node-1-before-nodebake";

const TAKE_OVER: [&str; 7] = ["rebuild", NODE, "--take-over", "--yes", "--force", "--stall", "3"];

fn virsh(daemon: &Daemon, arguments: &[&str]) -> String {
    let output = must(Command::new("virsh").args(["-q", "-c", &daemon.uri]).args(arguments));
    String::from_utf8(output).unwrap().trim_end().to_owned()
}

/// A running machine under the node's name on the node's network with the node's own MAC: its disk stands on a shared image
/// in a pool of the user's, and it has a CD-ROM outside of all pools.
fn by_hand(daemon: &Daemon, mac: &str) {
    let folder = daemon.folder.path();
    let images = folder.join("images");
    fs::create_dir(&images).unwrap();
    let path = |name: &str| images.join(name).to_str().unwrap().to_owned();
    must(Command::new("qemu-img").args(["create", "-q", "-f", "qcow2", &path("base.qcow2"), "1M"]));
    let overlay = ["create", "-q", "-f", "qcow2", "-b", &path("base.qcow2"), "-F", "qcow2", &path("old.qcow2")];
    must(Command::new("qemu-img").args(overlay));
    fs::write(folder.join("cloud.iso"), vec![0; 1 << 16]).unwrap();
    virsh(daemon, &["pool-define-as", "users", "dir", "--target", images.to_str().unwrap()]);
    virsh(daemon, &["pool-start", "users"]);
    let disk = |device: &str, format: &str, path: &str, target: &str, bus: &str| {
        format!(
            "<disk type='file' device='{device}'><driver name='qemu' type='{format}'/><source file='{path}'/>\
             <target dev='{target}' bus='{bus}'/></disk>"
        )
    };
    let xml = format!(
        "<domain type='qemu'><name>{NODE}</name><description>made by hand</description><memory unit='MiB'>64</memory>\
         <vcpu>1</vcpu><os><type arch='x86_64' machine='q35'>hvm</type></os><features><acpi/></features><devices>{}{}\
         <interface type='network'><mac address='{mac}'/><source network='nodebake'/><model type='virtio'/></interface>\
         </devices></domain>",
        disk("disk", "qcow2", &path("old.qcow2"), "vda", "virtio"),
        disk("cdrom", "raw", folder.join("cloud.iso").to_str().unwrap(), "sda", "sata"),
    );
    let file = folder.join("old.xml");
    fs::write(&file, xml).unwrap();
    virsh(daemon, &["define", file.to_str().unwrap()]);
    virsh(daemon, &["autostart", NODE]);
    virsh(daemon, &["start", NODE]);
}

fn domain(daemon: &Daemon, name: &str) -> Option<DomainInfo> {
    daemon.open().domains().unwrap().into_iter().find(|domain| domain.name == name)
}

/// All that is a user's: the files with their bytes, the pool, and the domain but for its name and what stands there of
/// ours.
fn users(daemon: &Daemon, name: &str) -> (Vec<(String, Vec<u8>)>, String, String) {
    let folder = daemon.folder.path();
    let read = |path: &str| (path.to_owned(), fs::read(folder.join(path)).unwrap());
    let files = ["images/base.qcow2", "images/old.qcow2", "cloud.iso"].map(read).to_vec();
    let xml = virsh(daemon, &["dumpxml", "--inactive", name]).replace(KEPT, NODE);
    let xml = match (xml.find("  <metadata>"), xml.find("</metadata>\n")) {
        (Some(begin), Some(end)) => format!("{}{}", &xml[..begin], &xml[end + "</metadata>\n".len()..]),
        _ => xml,
    };
    (files, virsh(daemon, &["pool-dumpxml", "users"]), xml)
}

/// Domains with what they do, and volumes of our pool.
fn holdings(daemon: &Daemon) -> (Vec<String>, Vec<String>) {
    let host = daemon.open();
    host.refresh_pool("nodebake").unwrap();
    let domains = host.domains().unwrap();
    let domains = domains.iter().map(|domain| format!("{} {:?} {}", domain.name, domain.state, domain.autostart));
    (domains.collect(), host.volumes("nodebake").unwrap().into_iter().map(|volume| volume.name).collect())
}

fn error_of(ran: &Ran) -> (i32, Vec<String>) {
    let told = ran.stderr.lines().filter(|line| line.starts_with("error: ") || line.starts_with("hint: "));
    (ran.code, told.map(str::to_owned).collect())
}

fn world_with_the_second_node(daemon: &Daemon) -> World {
    let world = rebuilding::world(&daemon.uri);
    world.must(&["up", "worker-node-2"]);
    let status: serde_json::Value = serde_json::from_str(&world.must(&["status", "-o", "json"]).stdout).unwrap();
    by_hand(daemon, status["nodes"][0]["mac"].as_str().unwrap());
    world
}

#[test]
fn a_machine_made_by_hand_gives_its_place_to_ours_or_gets_it_back() {
    let daemon = Daemon::start();
    if !daemon.root {
        return;
    }
    let guests = Guests::of(&daemon, good);
    let world = world_with_the_second_node(&daemon);
    let (theirs, before) = (users(&daemon, NODE), holdings(&daemon));
    let whole = domain(&daemon, NODE).unwrap();

    // Nobody touches it who was not asked to.
    let foreign = "error: domain worker-node-1 exists and is not of this cluster".to_owned();
    let hint = "hint: `nodebake rebuild worker-node-1 --take-over` stops and keeps it, and puts a machine of its own in its \
                place; else rename the node in the cluster file, or remove the domain yourself: virsh undefine worker-node-1";
    let ran = world.run(&["plan", NODE]);
    assert_eq!(error_of(&ran), (2, vec![foreign, hint.to_owned()]), "{ran:?}");
    for verb in [&["up", NODE][..], &["rebuild", NODE, "--yes"], &["down", "worker-node-1", "--yes"]] {
        world.run(verb);
        assert_eq!((domain(&daemon, NODE).as_ref(), holdings(&daemon)), (Some(&whole), before.clone()), "{verb:?}");
    }
    let no_consent = world.run(&["rebuild", NODE, "--take-over"]);
    assert_eq!(no_consent, Ran::failed(2, "this needs your consent, and there is no terminal to ask on", "add --yes"));
    let ran = world.run(&["rebuild", NODE, "worker-node-2", "--take-over", "--domain", "old", "--yes"]);
    let text = "--domain names the machine of one node, and 2 are asked for";
    assert_eq!(ran, Ran::failed(2, text, "take nodes over one by one where their domains have other names"));

    // Its guest does not hear its power button: it runs on.
    let ran = world.run(&["rebuild", NODE, "--take-over", "--yes", "--stall", "2"]);
    let (code, told) = error_of(&ran);
    let deaf = "error: worker-node-1: still runs, and nothing new for 2 s after its power button was pressed";
    assert_eq!((code, told.first().map(String::as_str)), (1, Some(deaf)), "{ran:?}");
    assert_eq!((domain(&daemon, NODE).as_ref(), holdings(&daemon)), (Some(&whole), before.clone()));

    // Ours does not come up: the old one gets all back, and runs.
    guests.play(|domain| match domain.name.as_str() {
        NODE => Some(report("containerd-active", "failed", "Ym9vbQo=")),
        _ => good(domain),
    });
    let ran = world.run(&TAKE_OVER);
    let failed = "error: worker-node-1: its new machine did not come up, and domain worker-node-1 has its place again: \
                  worker-node-1: failed to get to \"containerd active\"";
    let hint = "hint: the node is what it was; `nodebake logs worker-node-1` tells of the new machine: mend the cause, and \
                run `nodebake rebuild worker-node-1 --take-over` again";
    assert_eq!(error_of(&ran), (5, vec![failed.to_owned(), hint.to_owned()]), "{ran:?}");
    assert!(ran.stderr.contains("| boom\n"), "{ran:?}");
    assert_eq!((domain(&daemon, NODE).as_ref(), holdings(&daemon).0), (Some(&whole), before.0.clone()));
    assert_eq!(users(&daemon, NODE), theirs);
    let images = |name: &&String| name.starts_with("nodebake.base.") || name.starts_with("nodebake.payload.");
    let left: Vec<_> = holdings(&daemon).1.into_iter().filter(|name| !images(&name)).collect();
    assert_eq!(left, before.1.iter().filter(|name| !images(name)).cloned().collect::<Vec<_>>());
    let logs = world.must(&["logs", NODE]).stdout;
    assert!(logs.contains("failed: containerd active\n  | boom\n"), "{logs}");

    // Ours comes up: the old one is off, kept, and what it was.
    guests.play(good);
    let ran = world.run(&TAKE_OVER);
    assert_eq!((ran.code, ran.stdout.as_str()), (0, ""), "{ran:?}");
    assert!(
        ran.stderr.contains("domain worker-node-1 is stopped and kept as worker-node-1-before-nodebake"),
        "{ran:?}"
    );
    let running = |name: &str| format!("{name} Running true");
    let wanted = [running(NODE), format!("{KEPT} ShutOff false"), running("worker-node-2")];
    assert_eq!(holdings(&daemon).0, wanted);
    let kept = domain(&daemon, KEPT).unwrap();
    assert_eq!((kept.uuid, kept.taken_over().unwrap().unwrap().state), (whole.uuid, NoteState::Kept));
    assert_eq!(users(&daemon, KEPT), theirs);
    let done = world.run(&TAKE_OVER);
    assert_eq!((done.code, done.stdout.as_str()), (0, ""), "{done:?}");
    assert!(done.stderr.ends_with("all that was asked for has been taken over already\n"), "{done:?}");
    let told = format!("{KEPT} is kept; `nodebake remove {NODE} --taken-over` removes it\n");
    let status = world.must(&["status", "-o", "json"]);
    let json: serde_json::Value = serde_json::from_str(&status.stdout).unwrap();
    assert_eq!(
        (&json["nodes"][0]["takenOver"], status.stderr.lines().next()),
        (&serde_json::json!([KEPT]), told.lines().next())
    );
    let plan: serde_json::Value = serde_json::from_str(&world.run(&["plan", NODE, "-o", "json"]).stdout).unwrap();
    let row = serde_json::json!({
        "kind": "domain", "name": KEPT, "action": "keep", "command": "remove worker-node-1 --taken-over",
        "reasons": ["the machine before worker-node-1 was taken over"],
    });
    assert_eq!(plan["plan"].as_array().unwrap().last(), Some(&row));

    removed(&daemon, &world, &running);
}

/// What is kept goes once its user says so, and with it the disk that nobody else uses.
fn removed(daemon: &Daemon, world: &World, running: &dyn Fn(&str) -> String) {
    let remove = ["remove", NODE, "--taken-over"];
    virsh(daemon, &["start", KEPT]);
    let runs = format!("stop it if nobody needs it any more: virsh shutdown {KEPT}");
    assert_eq!(world.run(&remove), Ran::failed(2, &format!("domain {KEPT} runs"), &runs));
    virsh(daemon, &["destroy", KEPT]);
    let folder = daemon.folder.path().display();
    let list = format!(
        "{KEPT}: the machine before {NODE} was taken over, and 1 volume\n  goes: users/old.qcow2 ({folder}/images/old.qcow2)\n  \
         stays: {folder}/cloud.iso (a medium, read-only or shared)\n"
    );
    let refused = Ran::failed(2, "this needs your consent, and there is no terminal to ask on", "add --yes");
    assert_eq!(world.run(&remove), refused.after(&list));
    assert_eq!(domain(daemon, KEPT).map(|domain| domain.state), Some(DomainState::ShutOff));
    let yes = [&remove[..], &["--yes"]].concat();
    assert_eq!(world.run(&yes), Ran::ok(format!("{KEPT} removed\n"), list));
    assert_eq!(holdings(daemon).0, [running(NODE), running("worker-node-2")]);
    let images = fs::read_dir(daemon.folder.path().join("images")).unwrap();
    let images: Vec<_> = images.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!((images, daemon.folder.path().join("cloud.iso").exists()), (vec!["base.qcow2".to_owned()], true));
    assert_eq!(world.run(&yes), Ran::ok("", "nothing is kept of machines that were taken over\n"));
}
