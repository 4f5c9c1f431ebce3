//! The program killed, or its line cut, before and after each of its calls to a real libvirtd that change something; then
//! a plain run: it finishes or undoes what was begun, and nothing else is left.
//!
//! Each call meets one fate, the next call the next. `NODEBAKE_KILLS=100` has every call meet all of them, and adds so
//! many kills at random moments (`make soak`).

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use nodebake::digest::Digest;

use crate::daemon::Daemon;
use crate::guests::{Guests, good};
use crate::rebuilding;
use crate::wire::{Fate, Procedure, Wire};
use crate::world::{World, must};

const NODE: &str = "worker-node-1";

/// A run is waited for no longer: a guest of these tests speaks at once.
const STALL: &str = "20";

/// These guests do not hear their power button; soon their plug is pulled.
const REBUILD: [&str; 6] = ["rebuild", NODE, "--yes", "--force", "--stall", "2"];

/// So many daemons are worked on at once: the runs wait more than they work.
const AT_ONCE: usize = 3;

/// What becomes of a run.
#[derive(Debug, Clone, Copy)]
enum Mishap {
    At(usize, Fate),
    /// Killed after this part of the time that a run takes, in thousandths.
    After(u32),
}

/// A daemon with a wire, guests that come up, and a cluster of one small node.
struct Site {
    world: World,
    wire: Wire,
    _guests: Guests,
    daemon: Daemon,
}

impl Site {
    /// The next one has the identities of the first, so that their seeds have the same bytes.
    fn new(first: Option<&World>) -> Self {
        let daemon = Daemon::start();
        let wire = Wire::new(&daemon.folder.path().join("run/libvirt-sock"));
        let world = rebuilding::world(&wire.uri);
        let max_pods = "  disk: 20GiB\n  kubelet:\n    config:\n      maxPods: 101\n";
        world.edit("  disk: 20GiB\n", max_pods);
        if let Some(first) = first {
            must(Command::new("cp").arg("-a").arg(first.path(".nodebake")).arg(world.path("")));
        }
        world.must(&["build", NODE]);
        Self { world, wire, _guests: Guests::of(&daemon, good), daemon }
    }

    fn up(&self) {
        self.world.must(&["up", NODE, "--stall", STALL]);
    }

    /// Runs a verb, and has it meet a mishap; says how it ended, and the calls that it made.
    fn run(&self, arguments: &[&str], mishap: Option<Mishap>, whole: Duration) -> (String, Vec<Procedure>) {
        let mut command = self.world.command(&[]);
        command.args(arguments).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let due = match mishap {
            Some(Mishap::At(call, fate)) => Some((call, fate)),
            _ => None,
        };
        self.wire.begin(child.id(), due);
        if let Some(Mishap::After(part)) = mishap {
            std::thread::sleep(whole.mul_f64(f64::from(part) / 1000.0));
            let _ = child.kill();
        }
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        let calls = self.wire.calls();
        // A run that made fewer calls than others leaves its mishap to nobody.
        self.wire.begin(0, None);
        (format!("{mishap:?} of {arguments:?}: {}\n{said}", output.status), calls)
    }

    /// Everything that libvirt has, without what moves by itself. Which of two names a root disk has tells nothing.
    fn holdings(&self) -> Vec<String> {
        let host = self.daemon.open();
        let mut all = Vec::new();
        let mut again = String::new();
        for domain in host.domains().unwrap() {
            let Some(mut mark) = domain.mark().cloned() else {
                let (state, autostart, note) = (domain.state, domain.autostart, domain.taken_over());
                all.push(format!(
                    "{} {state:?} autostart {autostart} {note:?} {}",
                    domain.name,
                    domain.stored_digest()
                ));
                continue;
            };
            again = Digest::of(mark.seed.to_string().as_bytes()).short();
            mark.boot_id = None;
            let as_marked = mark.stored.take() == Some(domain.stored_digest());
            all.push(format!("{} {:?} autostart {} {mark:?}", domain.name, domain.state, domain.autostart));
            all.push(format!("as marked {as_marked}, {:?}, {:?}", domain.drive(), domain.record()));
        }
        let seed = host.domains().unwrap().iter().find_map(|domain| Some(domain.mark()?.seed.short()));
        for pool in ["nodebake", "nodebake-logs"] {
            let Some(found) = host.pool(pool).unwrap() else { continue };
            all.push(format!("pool {} {} {} {}", found.name, found.path, found.active, found.autostart));
            host.refresh_pool(pool).unwrap();
            for volume in host.volumes(pool).unwrap() {
                let name = volume.name.replace(&again, seed.as_deref().unwrap_or_default());
                all.push(
                    if again.is_empty() { volume.name.clone() } else { name } + &format!(" {}", volume.is_whole()),
                );
            }
        }
        all.extend(host.network("nodebake").unwrap().map(|network| format!("{network:?}")));
        all
    }

    /// An empty host again.
    fn clear(&self) {
        self.world.must(&["down", "--yes"]);
        let uri = &self.daemon.uri;
        let virsh =
            |arguments: &[&str]| Command::new("virsh").args(["-q", "-c", uri]).args(arguments).output().unwrap();
        for pool in ["nodebake", "nodebake-logs"] {
            let host = self.daemon.open();
            for volume in host.volumes(pool).unwrap_or_default() {
                must(Command::new("virsh").args(["-q", "-c", uri, "vol-delete", "--pool", pool, &volume.name]));
            }
            for verb in ["pool-destroy", "pool-delete", "pool-undefine"] {
                virsh(&[verb, pool]);
            }
        }
        for verb in ["net-destroy", "net-undefine"] {
            virsh(&[verb, "nodebake"]);
        }
        assert_eq!(self.holdings(), Vec::<String>::new());
    }
}

/// The mishaps of a verb that makes so many calls.
fn mishaps(calls: usize) -> Vec<Mishap> {
    let fates = Fate::ALL;
    let Ok(random) = std::env::var("NODEBAKE_KILLS") else {
        return (0..calls).map(|call| Mishap::At(call, fates[call % fates.len()])).collect();
    };
    let every = (0..calls).flat_map(|call| fates.map(|fate| Mishap::At(call, fate)));
    let random = (0..random.parse::<u32>().unwrap()).map(|_| Mishap::After(rand::random::<u32>() % 1100));
    every.chain(random).collect()
}

/// Has a verb meet each of its mishaps once: `before` brings a site to where it begins, `after` brings it to its end and
/// is told how the verb ended.
fn everywhere(
    before: impl Fn(&Site) + Sync,
    arguments: impl Fn(&Site) -> Vec<&'static str> + Sync,
    after: impl Fn(&Site, &str) + Sync,
) {
    let site = Site::new(None);
    if !site.daemon.root {
        return;
    }
    before(&site);
    let began = Instant::now();
    let (ended, calls) = site.run(&arguments(&site), None, Duration::ZERO);
    let whole = began.elapsed();
    let count = calls.len();
    assert!(count > 4, "the wire sees its calls: {calls:?} {ended}");
    after(&site, &format!("after {calls:?}: {ended}"));
    let wanted = site.holdings();
    let all = mishaps(count);
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..AT_ONCE).map(|_| Site::new(Some(&site.world))).collect();
        for site in std::iter::once(site).chain(others) {
            scope.spawn(|| {
                let site = site;
                while let Some(mishap) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
                    before(&site);
                    let (ended, calls) = site.run(&arguments(&site), Some(*mishap), whole);
                    let what = format!("after {calls:?}: {ended}");
                    after(&site, &what);
                    let found = site.holdings();
                    let other = |one: &[String], other: &[String]| -> Vec<_> {
                        one.iter().filter(|line| !other.contains(line)).cloned().collect()
                    };
                    let differ = (other(&found, &wanted), other(&wanted, &found));
                    assert_eq!(differ, (vec![], vec![]), "found and wanted {what}");
                }
            });
        }
    });
}

#[test]
fn up() {
    let end = |site: &Site, what: &str| {
        let ran = site.world.run(&["up", NODE, "--stall", STALL]);
        assert_eq!(ran.code, 0, "{what}: {ran:?}");
    };
    everywhere(Site::clear, |_| vec!["up", NODE, "--stall", STALL], end);
}

#[test]
fn down() {
    let end = |site: &Site, what: &str| {
        let ran = site.world.run(&["down", "--yes"]);
        assert_eq!(ran.code, 0, "{what}: {ran:?}");
    };
    everywhere(Site::up, |_| vec!["down", "--yes"], end);
}

/// What was begun is finished or undone; what was undone is done again by the same command.
#[test]
fn rebuild() {
    let change = |site: &Site| {
        if site.world.read("nodebake.yaml").contains("maxPods: 102") {
            site.world.edit("maxPods: 102", "maxPods: 101");
            site.world.must(&REBUILD);
        } else {
            site.up();
        }
        site.world.edit("maxPods: 101", "maxPods: 102");
    };
    let end = |site: &Site, what: &str| {
        let ran = site.world.run(&["up", NODE, "--stall", STALL]);
        assert_eq!(ran.code, 0, "{what}: {ran:?}");
        if ran.stderr.contains("differs") {
            let ran = site.world.run(&REBUILD);
            assert_eq!(ran.code, 0, "{what}: {ran:?}");
        }
    };
    everywhere(change, |_| REBUILD.to_vec(), end);
}

/// A machine made by hand runs under the node's name, and nothing of ours is there but what all nodes share.
fn made_by_hand(site: &Site) {
    if site.daemon.open().network("nodebake").unwrap().is_none() {
        site.up();
    }
    site.world.must(&["down", "--yes"]);
    let virsh =
        |arguments: &[&str]| Command::new("virsh").args(["-q", "-c", &site.daemon.uri]).args(arguments).output();
    for name in [NODE, "worker-node-1-before-nodebake"] {
        for verb in ["destroy", "undefine"] {
            virsh(&[verb, name]).unwrap();
        }
    }
    let xml = site.daemon.folder.path().join("old.xml");
    let text = format!(
        "<domain type='qemu'><name>{NODE}</name><uuid>00000000-0000-4000-8000-000000000007</uuid><memory \
         unit='MiB'>64</memory><os><type arch='x86_64' machine='q35'>hvm</type></os></domain>"
    );
    std::fs::write(&xml, text).unwrap();
    for arguments in [&["define", xml.to_str().unwrap()][..], &["autostart", NODE], &["start", NODE]] {
        assert!(virsh(arguments).unwrap().status.success(), "{arguments:?}");
    }
}

/// The same command brings it to its end. What runs meanwhile is the old machine, or ours, or none, and never both.
#[test]
fn take_over() {
    const TAKE_OVER: [&str; 7] = ["rebuild", NODE, "--take-over", "--yes", "--force", "--stall", "2"];
    let end = |site: &Site, what: &str| {
        let running = site.daemon.open().domains().unwrap();
        let running = running.iter().filter(|domain| domain.state.is_active()).count();
        assert!(running <= 1, "{what}");
        let ran = site.world.run(&TAKE_OVER);
        assert_eq!(ran.code, 0, "{what}: {ran:?}");
        assert!(!what.contains("None of") || what.contains("domain rename, "), "the wire knows all calls: {what}");
    };
    everywhere(made_by_hand, |_| TAKE_OVER.to_vec(), end);
}
