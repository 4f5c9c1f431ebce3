//! `rebuild` as a transaction on a real libvirtd and QEMU, with guests that the test plays.

use nodebake::machine::{DomainInfo, DomainState, VolumeName};

use crate::daemon::Daemon;
use crate::guests::{Guests, good, report};
use crate::mirror::{self, Item};
use crate::world::{Ran, World};

const NODE: &str = "worker-node-1";

/// A locked cluster whose machines are on a daemon and small.
pub(crate) fn world(uri: &str) -> World {
    let world = World::locked();
    world.edit("uri: test:///default", &format!("uri: {uri}"));
    world.edit("memory: 4GiB", "memory: 512MiB");
    world.edit("https://10.0.0.4:6443", "https://nowhere.invalid:6443");
    world
}

/// What the first node's machine is, and the volumes of all pools, without what moves by itself.
fn holdings(daemon: &Daemon) -> (DomainInfo, Vec<String>) {
    let host = daemon.open();
    let domain = host.domains().unwrap().into_iter().find(|domain| domain.name == NODE).unwrap();
    host.refresh_pool("nodebake").unwrap();
    let volumes = host.volumes("nodebake").unwrap();
    let volumes = volumes.iter().map(|volume| format!("{} whole {}", volume.name, volume.is_whole())).collect();
    (domain, volumes)
}

/// A daemon and a cluster on it; none where there is no root to make namespaces.
fn lab() -> Option<(Daemon, World)> {
    let daemon = Daemon::start();
    let world = world(&daemon.uri);
    daemon.root.then_some((daemon, world))
}

/// Everything but the boot that a mark tells of.
fn lasting(domain: &DomainInfo) -> (Option<nodebake::machine::Mark>, nodebake::digest::Digest, DomainState, bool) {
    let mut mark = domain.mark().cloned();
    if let Some(mark) = &mut mark {
        mark.boot_id = None;
    }
    (mark, domain.stored_digest(), domain.state, domain.autostart)
}

fn plan_of(world: &World) -> Ran {
    world.run(&["plan", NODE])
}

#[test]
fn a_new_machine_takes_the_place_of_the_old_or_the_old_one_comes_back() {
    let Some((daemon, world)) = lab() else { return };
    let guests = Guests::of(&daemon, good);
    assert_eq!(world.must(&["up", NODE]).stdout, "");
    let (first, _) = holdings(&daemon);

    // Another setting: told by its name, and made so.
    world.edit("  disk: 20GiB\n", "  disk: 20GiB\n  kubelet:\n    config:\n      maxPods: 77\n");
    let told = plan_of(&world);
    assert_eq!(
        (told.code, reasons(&told).as_slice()),
        (6, &["-", "seed changed: kubelet config maxPods"].map(str::to_owned)[..])
    );
    let ran = world.run(&["rebuild", NODE, "--yes", "--force", "--stall", "3"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (0, ""), "{ran:?}");
    let (second, volumes) = holdings(&daemon);
    let mark = second.mark().unwrap();
    assert_eq!((second.uuid, mark.state), (first.uuid, first.mark().unwrap().state));
    assert_ne!(mark.seed, first.mark().unwrap().seed);
    assert_eq!(second.record().previous, None);
    assert_eq!(volumes.iter().filter(|name| name.contains(".root.")).count(), 1, "{volumes:?}");
    assert_eq!(world.run(&["plan", NODE, "-o", "json"]).code, 6, "a node that nobody asks the cluster for is finished");

    // A machine that does not come up gives way to the one before it.
    world.edit("maxPods: 77", "maxPods: 78");
    let old = mark.seed;
    guests.play(move |domain| {
        if domain.mark()?.seed == old { good(domain) } else { Some(report("containerd-active", "failed", "Ym9vbQo=")) }
    });
    let ran = world.run(&["rebuild", NODE, "--yes", "--force", "--stall", "3"]);
    let error = "error: worker-node-1: its new machine did not come up, and the old one was put back: worker-node-1: failed to \
                 get to \"containerd active\"\n";
    let hint = "hint: the node is what it was; `nodebake logs worker-node-1 --previous` tells of the new machine: mend the \
                cause, and run `nodebake rebuild worker-node-1` again\n";
    assert_eq!((ran.code, ran.stdout.as_str()), (5, ""), "{ran:?}");
    assert!(ran.stderr.contains(error) && ran.stderr.contains(hint) && ran.stderr.contains("| boom\n"), "{ran:?}");
    let (third, left) = holdings(&daemon);
    assert_eq!((lasting(&third), left), (lasting(&second), volumes));
    assert_eq!(third.record(), second.record());

    let logs = world.must(&["logs", NODE, "--previous"]).stdout;
    assert!(logs.contains("failed: containerd active\n  | boom\n"), "{logs}");

    // With the cause mended it is replaced, by one with another payload; the old one is of no use then.
    guests.play(good);
    let payload = mark.payload;
    world.publish(Item::Kubelet, &[mirror::program("cat"), vec![7; 1 << 10]].concat());
    world.relock();
    world.must(&["build", NODE]);
    let ran = world.run(&["plan", NODE, "-o", "json"]);
    assert!(ran.stdout.contains("\"kubelet v1.35.1 "), "{ran:?}");
    world.must(&["rebuild", NODE, "--yes", "--force", "--stall", "3"]);
    let (fourth, before) = holdings(&daemon);
    assert_ne!(fourth.mark().unwrap().seed, old);
    let name = VolumeName::Payload(payload).to_string();
    for (verb, tells, gone) in [(&["gc", "--dry-run"][..], true, false), (&["gc"], true, true), (&["gc"], false, true)]
    {
        let told = world.must(verb).stdout.contains(&format!("nodebake/{name} "));
        let left: Vec<_> = before.iter().filter(|line| !gone || !line.starts_with(&name)).cloned().collect();
        assert_eq!((holdings(&daemon), told), ((fourth.clone(), left), tells), "{verb:?}");
    }
    world.must(&["down", "--yes"]);
    assert_eq!(daemon.open().domains().unwrap(), []);
}

/// libvirtd dies while a machine is waited for: the run says so, and the next one finishes.
#[test]
fn a_restart_of_libvirtd_is_survived() {
    let Some((daemon, world)) = lab() else { return };
    let guests = Guests::of(&daemon, |_| None);
    let up = std::thread::scope(|scope| {
        let up = scope.spawn(|| world.run(&["up", NODE]));
        let runs = || daemon.open().domains().unwrap().iter().any(|domain| domain.state == DomainState::Running);
        while !runs() {
            assert!(!up.is_finished(), "it waits");
            std::thread::yield_now();
        }
        daemon.kill_libvirtd();
        up.join().unwrap()
    });
    let error = up.stderr.lines().find(|line| line.starts_with("error: ")).unwrap_or_default();
    let head = "error: looking at the machine of worker-node-1: lost the connection to";
    assert!(up.code == 1 && error.starts_with(head), "{up:?}");
    daemon.wait();
    assert_eq!(holdings(&daemon).0.state, DomainState::Running);
    guests.play(good);
    world.must(&["up", NODE]);
    world.must(&["down", "--yes"]);
}

/// The reasons in a plan's table.
fn reasons(ran: &Ran) -> Vec<String> {
    ran.stdout.lines().skip(1).map(|line| line.split("   ").map(str::trim).last().unwrap().to_owned()).collect()
}

/// So many days from now.
fn later(world: &World, days: u32, arguments: &[&str]) -> Ran {
    world.run_command(world.command(&["faketime", "-f", &format!("+{days}d")]).args(arguments))
}

#[test]
fn an_identity_that_is_renewed_is_a_reason_to_rebuild() {
    let Some((daemon, world)) = lab() else { return };
    let _guests = Guests::of(&daemon, good);
    world.must(&["up", NODE]);
    assert_eq!(reasons(&plan_of(&world)), ["-"]);
    world.must(&["identity", "renew", NODE]);
    let told = plan_of(&world);
    assert_eq!((told.code, reasons(&told)), (6, vec!["-".to_owned(), "seed changed: certificate renewed".to_owned()]));
    let ran = world.must(&["up", NODE]);
    let differs =
        "worker-node-1: differs: seed changed: certificate renewed; `nodebake rebuild worker-node-1` replaces it\n";
    assert!(ran.stderr.contains(differs), "{ran:?}");
    world.must(&["rebuild", NODE, "--yes", "--force", "--stall", "3"]);
    assert_eq!(reasons(&plan_of(&world)), ["-"]);
}

/// What a kubelet rotates it goes on rotating, whatever becomes of the pair that was baked for it.
#[test]
fn a_machine_whose_kubelet_rotates_is_left_alone() {
    let Some((daemon, world)) = lab() else { return };
    let _guests = Guests::of(&daemon, good);
    world.edit(
        "  disk: 20GiB\n",
        "  disk: 20GiB\n  kubelet: {config: {rotateCertificates: true, serverTLSBootstrap: true}}\n",
    );
    world.must(&["up", NODE]);
    let serial = |world: &World| {
        let path = format!("../.nodebake/identities/{NODE}/cert.pem");
        world.openssl(&["x509", "-in", &path, "-noout", "-serial"])
    };
    let (first, (machine, _)) = (serial(&world), holdings(&daemon));
    for days in [0, 350, 400] {
        let told = later(&world, days, &["plan", NODE]);
        assert_eq!(reasons(&told), ["-"], "{days}: {told:?}");
        let ran = later(&world, days, &["up", NODE]);
        assert_eq!((ran.code, ran.stderr.contains("differs")), (0, false), "{days}: {ran:?}");
        assert_eq!(later(&world, days, &["status", NODE, "-o", "json"]).code, 0, "{days}");
        assert_eq!((serial(&world), holdings(&daemon).0.mark()), (first.clone(), machine.mark()), "{days}");
    }
    // A build for whoever uses the image otherwise says what to do.
    let ran = later(&world, 400, &["build", NODE]);
    let warning = "which is no fault as long as its kubelet rotates it; for another machine: `nodebake identity renew \
                   worker-node-1`\n";
    assert!(ran.code == 0 && ran.stderr.contains(warning), "{ran:?}");
    // A machine that is made anew begins with a good one.
    let ran = later(&world, 400, &["rebuild", NODE, "--yes", "--force", "--stall", "3"]);
    assert!(ran.code == 0 && ran.stderr.contains("worker-node-1: issued a certificate: expired at "), "{ran:?}");
    assert_ne!(serial(&world), first);
    assert_ne!(holdings(&daemon).0.mark().unwrap().seed, machine.mark().unwrap().seed);
    assert_eq!(reasons(&later(&world, 400, &["plan", NODE])), ["-"]);
}
