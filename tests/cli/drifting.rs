//! The unit in docs/examples/systemd, which reports what differs from the cluster file: what it starts, where it may
//! not write and as a root without any of root's powers.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::apiserver::NODE;
use crate::daemon::Daemon;
use crate::leaving;
use crate::world::{Ran, World, changed, must};

/// As the unit's sandbox is, as far as it can be had without systemd: the folder cannot be written, capabilities are
/// gone for good.
const SANDBOX: &str = "mount --bind \"$0\" \"$0\"
mount -o remount,bind,ro \"$0\"
cd \"$0\"
exec setpriv --no-new-privs --inh-caps=-all --bounding-set=-all \"$@\"";

/// The value of a setting of the unit.
fn setting(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/examples/systemd/nodebake-drift.service");
    let text = fs::read_to_string(path).unwrap();
    let values: Vec<_> = text.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('=')).collect();
    assert_eq!(values.len(), 1, "{name}: {values:?}");
    values[0].to_owned()
}

/// What the unit runs, behind the program's name.
fn arguments() -> Vec<String> {
    let line = setting("ExecStart");
    let mut words = line.split(' ').map(str::to_owned);
    assert_eq!(words.next().as_deref(), Some("nodebake"));
    words.collect()
}

/// Runs what the unit runs, in its folder.
fn look(world: &World) -> Ran {
    let folder = world.path("");
    let sandbox = ["unshare", "-m", "--propagation", "private", "sh", "-ec", SANDBOX, folder.to_str().unwrap()];
    world.run_command(world.command(&sandbox).args(arguments()))
}

/// What a plan has to say of the first node: its action and its reasons.
fn told(ran: &Ran) -> Vec<String> {
    let line = ran.stdout.lines().find(|line| line.contains(NODE)).unwrap_or_else(|| panic!("{ran:?}"));
    let cells = line.split("   ").map(str::trim).filter(|cell| !cell.is_empty());
    cells.skip(2).map(str::to_owned).collect()
}

#[test]
fn a_unit_fails_where_machines_are_not_as_they_should_be() {
    let daemon = Daemon::start();
    if !daemon.root {
        return;
    }
    let (world, _api, _guests) = leaving::cluster(&daemon);
    let virsh = |words: &[&str]| must(Command::new("virsh").args(["-c", &daemon.uri]).args(words));
    // Before there are any.
    let ran = look(&world);
    assert_eq!((ran.code, told(&ran)[0].as_str()), (6, "create"), "{ran:?}");
    assert_eq!(world.run(&["up", "--stall", "20"]).code, 0);

    let before = world.tree("");
    let ran = look(&world);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, "nothing is to do\n"), "{ran:?}");
    assert_eq!(system_calls_beyond_the_filter(&world), BTreeSet::new());

    virsh(&["desc", NODE, "--config", "--live", "somebody's"]);
    let ran = look(&world);
    let by_hand = ["rebuild", "rebuild worker-node-1", "machine changed by hand"];
    assert_eq!((ran.code, told(&ran)), (6, by_hand.map(str::to_owned).to_vec()), "{ran:?}");
    virsh(&["destroy", NODE]);
    let ran = look(&world);
    assert_eq!((ran.code, told(&ran)[0].as_str()), (6, "start"), "{ran:?}");

    // What cannot be told is no drift, and no peace either.
    daemon.stop_libvirtd();
    let ran = look(&world);
    assert_eq!((ran.code, ran.stdout.as_str()), (1, ""), "{ran:?}");
    assert!(ran.stderr.starts_with("error: libvirt does not answer at "), "{ran:?}");
    assert_eq!(changed(&before, &world.tree("")), [""; 0]);
}

/// What the unit's program asks of the kernel that its `SystemCallFilter` does not let through.
fn system_calls_beyond_the_filter(world: &World) -> BTreeSet<String> {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("trace");
    let strace = ["strace", "-f", "-qq", "-e", "signal=none", "-o", log.to_str().unwrap()];
    let ran = world.run_command(world.command(&strace).args(arguments()));
    assert_eq!(ran.code, 0, "{ran:?}");
    let trace = fs::read_to_string(&log).unwrap();
    // PID NAME(ARGUMENTS..., or PID <... NAME resumed>...
    let call = |line: &str| {
        let name = line.split_whitespace().nth(1)?.split_once('(')?.0;
        Some(name.to_owned())
    };
    let calls: BTreeSet<_> = trace.lines().filter_map(call).collect();
    assert!(calls.contains("openat") && calls.contains("connect"), "{calls:?}");
    let allowed = members(&setting("SystemCallFilter"));
    calls.into_iter().filter(|name| !allowed.contains(name)).collect()
}

/// The system calls of one of systemd's sets, and of those that it names; and of the set that is always let through.
fn members(set: &str) -> BTreeSet<String> {
    let (mut calls, mut sets) = (BTreeSet::new(), vec![set.to_owned(), "@default".to_owned()]);
    while let Some(set) = sets.pop() {
        let printed = must(Command::new("systemd-analyze").args(["--no-pager", "syscall-filter", &set]));
        let printed = String::from_utf8(printed).unwrap();
        let names = printed.lines().skip(1).map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let (further, names): (Vec<_>, Vec<_>) = names.map(str::to_owned).partition(|name| name.starts_with('@'));
        sets.extend(further);
        calls.extend(names);
    }
    calls
}
