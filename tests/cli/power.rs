//! Machines off and on by the command line, on a real libvirtd and QEMU. Their disk has nothing to boot: such a machine
//! runs, says nothing, and does not hear its power button.

use nodebake::machine::DomainState;
use nodebake_lab_stand_ins::apiserver::faults::{Act, Fault};

use crate::daemon::Daemon;
use crate::leaving::join;
use crate::world::{Ran, World};

const NODE: &str = "worker-node-1";

/// Exit code and error, with N for how many seconds it took: a busy machine takes more.
fn error_of(ran: &Ran) -> (i32, String) {
    let error = ran.stderr.lines().find(|line| line.starts_with("error: ")).unwrap_or_default();
    let words = error.split(' ').map(|word| if word.parse::<u64>().is_ok() { "N" } else { word });
    (ran.code, words.collect::<Vec<_>>().join(" "))
}

#[test]
fn a_machine_goes_off_and_on_and_is_waited_for() {
    let daemon = Daemon::start();
    if !daemon.root {
        return;
    }
    let world = World::locked();
    world.edit("uri: test:///default", &format!("uri: {}", daemon.uri));
    world.edit("memory: 4GiB", "memory: 512MiB");
    let api = join(&world);
    let (with, out) = ("  pki: pki\n  kubeconfig: admin.kubeconfig\n", "  pki: pki\n");
    world.edit(with, out);
    // Where nobody answers for the apiserver, whatever this machine's own network has.
    let wrapper = daemon.inside(&world.path(""));
    let wrapper: Vec<_> = wrapper.iter().map(String::as_str).collect();
    let run = |arguments: &[&str]| world.run_command(world.command(&wrapper).args(arguments));
    let state = || daemon.open().domains().unwrap().first().map(|domain| domain.state);
    let missing = ("worker-node-1 has no machine", "`nodebake up worker-node-1` makes it");
    for verb in ["start", "stop", "restart"] {
        assert_eq!(run(&[verb, NODE]), Ran::failed(2, missing.0, missing.1), "{verb}");
    }

    let silent = || (5, "error: worker-node-1: nothing new for N s; last seen: nothing".to_owned());
    let ran = run(&["up", NODE, "--stall", "1"]);
    assert_eq!((error_of(&ran), state()), (silent(), Some(DomainState::Running)), "{ran:?}");
    let deaf = "error: worker-node-1: still runs, and nothing new for N s after its power button was pressed";
    let deaf = || (1, deaf.to_owned());
    let ran = run(&["stop", NODE, "--stall", "1"]);
    assert_eq!((error_of(&ran), ran.stdout.as_str(), state()), (deaf(), "", Some(DomainState::Running)), "{ran:?}");
    // One that does not go off is not started either.
    let ran = run(&["restart", NODE, "--stall", "1"]);
    assert_eq!((error_of(&ran), state()), (deaf(), Some(DomainState::Running)), "{ran:?}");

    let off = |said: &str, ran: &Ran| {
        assert_eq!((ran.code, ran.stdout.as_str(), state()), (0, said, Some(DomainState::ShutOff)), "{ran:?}");
    };
    off("worker-node-1 stopped\n", &run(&["stop", NODE, "--stall", "1", "--force"]));
    off("worker-node-1 is off\n", &run(&["stop", NODE]));
    let ran = run(&["start", NODE, "--stall", "1"]);
    assert_eq!((error_of(&ran), state()), (silent(), Some(DomainState::Running)), "{ran:?}");
    let ran = run(&["restart", NODE, "--stall", "1", "--force"]);
    assert_eq!((error_of(&ran), ran.stdout.as_str()), (silent(), "worker-node-1 stopped\n"), "{ran:?}");
    assert_eq!(state(), Some(DomainState::Running));

    // Who does not answer for the cluster would not say afterwards that they are back.
    world.edit(out, with);
    let restart = ["restart", NODE, "--stall", "1", "--force", "-o", "json"];
    let ran = run(&restart);
    let (code, error) = error_of(&ran);
    assert!(error.starts_with("error: asking the apiserver for nodes: "), "{ran:?}");
    assert_eq!((code, ran.stdout.as_str(), state()), (1, "", Some(DomainState::Running)), "{ran:?}");
    // What is off is told also where nobody can be asked any more.
    api.fault(Fault::new("list", "nodes", Act::Unavailable).from_nth(2, 0));
    let ran = world.run(&restart);
    let printed: serde_json::Value =
        serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"));
    let node = (&printed["nodes"][0]["name"], &printed["nodes"][0]["outcome"]);
    assert_eq!((ran.code, node, state()), (1, (&NODE.into(), &"off".into()), Some(DomainState::ShutOff)), "{ran:?}");

    world.edit(with, out);
    assert_eq!(run(&["down", "--yes"]).code, 0);
    assert_eq!(state(), None);
}
