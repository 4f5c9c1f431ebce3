//! A running machine seen from within by the command line, on a real libvirtd and QEMU: its console, its logs, and waiting
//! for it. Its disk has a boot sector that gives back what the serial port gets.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;
use nodebake::machine::DomainState;

use crate::daemon::Daemon;
use crate::mirror::Item;
use crate::sitting::Sitting;
use crate::world::{Ran, World, must};

const NODE: &str = "worker-node-1";

/// A base image whose guest echoes; tests/libvirt.rs has the program in words.
fn echo(folder: &Path) -> Vec<u8> {
    let mut disk = vec![0; 16 << 20];
    let program = [0xba, 0xfd, 0x03, 0xec, 0xa8, 0x01, 0x74, 0xfb, 0xba, 0xf8, 0x03, 0xec, 0xee, 0xeb, 0xf1];
    disk[..program.len()].copy_from_slice(&program);
    disk[510..512].copy_from_slice(&[0x55, 0xaa]);
    let [raw, image] = ["echo.raw", "echo.qcow2"].map(|name| folder.join(name));
    std::fs::write(&raw, disk).unwrap();
    must(Command::new("qemu-img").args(["convert", "-O", "qcow2"]).args([&raw, &image]));
    std::fs::read(image).unwrap()
}

/// How a run ended, with N for how many seconds it took.
fn ended(ran: &Ran) -> (i32, String, String) {
    let number = |word: &str| if word.parse::<u64>().is_ok() { "N".to_owned() } else { word.to_owned() };
    let lines = ran.stderr.lines().filter(|line| line.starts_with("error: "));
    let words = lines.map(|line| line.split(' ').map(number).collect::<Vec<_>>().join(" "));
    (ran.code, ran.stdout.clone(), words.collect::<Vec<_>>().join("\n"))
}

#[test]
fn a_machine_is_seen_from_within() {
    let daemon = Daemon::start();
    if !daemon.root {
        return;
    }
    let world = World::new();
    world.publish(Item::BaseImage, &echo(&world.path("")));
    world.must(&["lock"]);
    world.edit("uri: test:///default", &format!("uri: {}", daemon.uri));
    world.edit("memory: 4GiB", "memory: 512MiB");
    world.edit("https://10.0.0.4:6443", "https://nowhere.invalid:6443");
    let state = || daemon.open().domains().unwrap().first().map(|domain| domain.state);
    let missing = ("worker-node-1 has no machine", "`nodebake up worker-node-1` makes it");
    for verb in [&["console", NODE][..], &["wait", NODE, "--for", "off"]] {
        assert_eq!(world.run(verb), Ran::failed(2, missing.0, missing.1), "{verb:?}");
    }
    assert_eq!(world.run(&["up", NODE, "--stall", "1"]).code, 5);
    assert_eq!(state(), Some(DomainState::Running));

    // Without a terminal, and with one.
    let refused = Ran::failed(
        2,
        "a console needs a terminal, and standard input is none",
        "`nodebake logs -f NODE` shows what a console shows",
    );
    assert_eq!(world.run(&["console", NODE]), refused);
    let mut first = Sitting::start(&world, &["console", NODE]);
    let banner = "the console of worker-node-1: Ctrl-] leaves, Enter brings a prompt\r\n";
    assert_eq!(first.until(banner), banner);
    first.press("hello \u{3}");
    assert_eq!(first.until("\u{3}"), "hello \u{3}");
    assert!(first.is_raw());

    // One session at a time.
    let mut second = Sitting::start(&world, &["console", NODE]);
    let taken = "error: the console of domain \"worker-node-1\" is in use by another session\r\n\r\nhint: wait for that \
                 session to end, or take the console over (--force), which cuts the other off\r\n";
    assert_eq!((second.until("off\r\n").as_str(), second.end()), (taken, (2, false)));
    let mut second = Sitting::start(&world, &["console", NODE, "--force"]);
    second.until(banner);
    let closed = "error: the console of worker-node-1 was closed: another session took it over, or libvirtd \
                  ended\r\n\r\nhint: `nodebake console worker-node-1 --force` takes it over again\r\n";
    assert_eq!((first.until("again\r\n").as_str(), first.end()), (closed, (1, false)));
    second.press("x\u{1d}y");
    assert_eq!(second.until("node-1\r\n").trim_start_matches('x'), "\r\nleft the console of worker-node-1\r\n");
    assert_eq!(second.end(), (0, false));

    // Told to end, it gives the terminal back and ends by the signal; and nobody has the console then.
    for signal in [Signal::SIGTERM, Signal::SIGHUP] {
        let mut session = Sitting::start(&world, &["console", NODE]);
        session.until(banner);
        session.press("!");
        session.until("!");
        assert!(session.is_raw());
        session.signal(signal);
        assert_eq!(session.end(), (-(signal as i32), false));
    }

    // What it said is in its log, and followed from there on.
    let console = world.run(&["logs", NODE, "--console"]);
    assert!(console.stdout.starts_with("hello \\u{3}x"), "{console:?}");
    let said = console.stdout;
    let mut follow = world.command(&[]);
    let mut follow = follow.args(["logs", NODE, "-f"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(follow.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "--- console ---");
    let mut last = Sitting::start(&world, &["console", NODE]);
    last.until(banner);
    last.press("line\n");
    last.until("line\n");
    assert_eq!(lines.next().unwrap().unwrap(), format!("{said}line"));

    // Waiting for what does not come, and for what does; the machine goes off meanwhile.
    let stalled = (5, String::new(), "error: worker-node-1: nothing new for N s; last seen: nothing".to_owned());
    for goal in ["off", "stage=kubelet-active"] {
        assert_eq!(ended(&world.run(&["wait", NODE, "--for", goal, "--stall", "1"])), stalled, "{goal}");
    }
    let mut wait = world.command(&[]);
    let wait = wait.args(["wait", NODE, "--for", "off"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    assert_eq!(world.run(&["stop", NODE, "--force", "--stall", "1"]).code, 0);
    let waited = wait.wait_with_output().unwrap();
    assert_eq!(
        (waited.status.code(), String::from_utf8(waited.stdout).unwrap()),
        (Some(0), "worker-node-1 off\n".to_owned())
    );
    let off = "\r\nworker-node-1: its machine went off\r\n";
    assert_eq!((last.until("off\r\n").as_str(), last.end()), (off, (0, false)));
    let followed = follow.wait_with_output().unwrap();
    let followed = (followed.status.code(), String::from_utf8(followed.stderr).unwrap());
    assert_eq!(followed, (Some(0), "worker-node-1: its machine is off\n".to_owned()));
    let stopped = "error: worker-node-1: the guest stopped (ShutOff) before it was in the cluster; last seen: nothing";
    let ran = world.run(&["wait", NODE, "--for", "stage=finished"]);
    assert_eq!(ended(&ran), (5, String::new(), stopped.to_owned()));
    let mut late = Sitting::start(&world, &["console", NODE]);
    let inactive = "error: domain \"worker-node-1\" is not running\r\n\r\nhint: `nodebake start worker-node-1` boots it; \
                    `nodebake logs worker-node-1` shows what its console showed while it ran\r\n";
    assert_eq!((late.until("ran\r\n").as_str(), late.end()), (inactive, (2, false)));

    // Started again, it has a log of the run before and a new one; that goes with the machine.
    let none = Ran::ok("", "worker-node-1 has no log of the run before\n");
    assert_eq!(world.run(&["logs", NODE, "-p"]), none);
    assert_eq!(world.run(&["start", NODE, "--stall", "1"]).code, 5);
    let kept = |arguments: &[&str]| world.run(&[&["logs", NODE, "--previous"], arguments].concat());
    assert_eq!(kept(&[]), Ran::ok(format!("--- console ---\n{said}line\n"), ""));
    assert_eq!(kept(&["--console", "--tail", "1"]), Ran::ok(format!("{said}line\n"), ""));
    assert_eq!(world.run(&["logs", NODE, "--console"]), Ran::ok("", ""));
    assert_eq!(world.run(&["down", "--yes"]).code, 0);
    assert_eq!(world.run(&["logs", NODE, "-p"]), none);
}

#[test]
fn who_cannot_be_asked_is_not_waited_for() {
    let world = World::new();
    let error = |goal: &str| {
        format!("the cluster file names no kubeconfig, so that nobody can be asked whether nodes are {goal}")
    };
    let hint = "set cluster.kubeconfig (`nodebake kubeconfig` makes one), or wait with --for stage=kubelet-active";
    assert_eq!(world.run(&["wait"]), Ran::failed(2, &error("registered"), hint));
    assert_eq!(world.run(&["wait", NODE, "--for", "ready"]), Ran::failed(2, &error("ready"), hint));
    let unknown = "the cluster file has no node worker-node-3; did you mean worker-node-1?";
    let lists = "`nodebake hosts` lists the nodes";
    for verb in [&["wait", "worker-node-3", "--for", "off"][..], &["console", "worker-node-3"]] {
        assert_eq!(world.run(verb), Ran::failed(2, unknown, lists), "{verb:?}");
    }
    let ran = world.run(&["wait", NODE, "--for", "up"]);
    let error = "error: invalid value 'up' for '--for <CONDITION>': it must be registered, ready, off or stage=STAGE\n\n\
                 For more information, try '--help'.\n";
    assert_eq!(ran, Ran { code: 2, stdout: String::new(), stderr: error.to_owned() });
}
