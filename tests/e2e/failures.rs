//! What goes wrong, each with its message, its hint and its exit code, and nothing left behind.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::guest::Guest;
use crate::lab::{Lab, Ran, step};
use crate::machine_state::Things;
use crate::nodebake::{Cluster, error_and_hint};

/// The third worker, on which failures are tried.
const NODE: &str = "worker-node-3";
const ADDRESS: &str = "10.0.0.38";

/// Somebody else on the network has the first worker's address.
pub fn taken_address(cluster: &Cluster, users: &Things) {
    step("control-plane-1 takes the first worker's address");
    let address = |verb| cluster.lab.control_plane(&["ip", "address", verb, "10.0.0.36/24", "dev", "eth0"]);
    address("add");
    let ran = cluster.run(&["up"]);
    address("delete");
    // The lab's kernel would believe in that neighbour for most of a minute.
    Ran::quietly(cluster.lab.inside("ip").args(["neighbour", "flush", "to", "10.0.0.36"])).succeeded();
    let wanted = (
        "error: the address 10.0.0.36 of worker-node-1 is taken: something answers there".to_owned(),
        "hint: give the node another address in the cluster file, or stop the machine that has it".to_owned(),
    );
    assert_eq!((ran.code, ran.stdout.as_str(), error_and_hint(&ran)), (Some(2), "", wanted), "{ran:#?}");
    assert_eq!(users.are_whole_in(&cluster.lab.users_things()), Vec::<String>::new(), "nothing was made");
}

/// A third worker in the cluster file: the first two keep every byte.
pub fn third_worker_changes_no_other(cluster: &Cluster) {
    step("a third worker in the cluster file changes no byte of the first two");
    let before = cluster.output();
    cluster.add_node(NODE, ADDRESS);
    cluster.run(&["build", "--all"]).succeeded();
    let mut after = cluster.output();
    after.retain(|path, _| !path.starts_with(cluster.folder.join("build").join(NODE)));
    assert_eq!(after, before);
}

/// A guest that ends while it comes up.
pub fn killed_guest(cluster: &Cluster) {
    let lab = cluster.lab;
    step(&format!("{NODE} is killed while it boots"));
    let ran = std::thread::scope(|scope| {
        let up = scope.spawn(|| cluster.run(&["up", NODE]));
        lab.wait("the third worker's machine", &[], || {
            let domains = lab.virsh(&["list", "--name"]);
            domains.lines().any(|name| name == NODE).then_some(())
        });
        let guest = Guest::new(lab, NODE);
        guest.wait_for_stage("seed-read");
        lab.virsh(&["destroy", NODE]);
        up.join().unwrap()
    });
    let last = match Guest::new(lab, NODE).reports().last().unwrap().stage.as_str() {
        "seed-read" => "seed read",
        "files-installed" => "files installed",
        "payload-mounted" => "payload mounted",
        other => panic!("it came as far as {other} before it was killed"),
    };
    let wanted = (
        format!("error: {NODE}: the guest stopped (ShutOff) before it was in the cluster; last seen: {last}"),
        format!(
            "hint: the machine was left as it is: see `nodebake logs {NODE}`, mend the cause, and run `nodebake up` again"
        ),
    );
    assert_eq!((ran.code, error_and_hint(&ran)), (Some(5), wanted), "{ran:#?}");
    is_marked_failed(cluster, "shut off", "failed (stopped)");
    let logs = cluster.run_quietly(&["logs", NODE]).succeeded();
    let boot = &Guest::new(lab, NODE).reports()[0].boot;
    let first = logs.lines().next().unwrap_or_default();
    assert!(first.starts_with(&format!("boot {boot} ")) && first.ends_with(" s  seed read"), "{first}");
    assert!(logs.contains("\n--- console ---\n") && logs.contains("Linux version"), "{logs:.2000}");
    let ran = cluster.run(&["down", NODE, "--yes"]);
    assert_eq!((ran.code, ran.stdout), (Some(0), format!("{NODE} removed\n")));
    assert!(!lab.virsh(&["list", "--all", "--name"]).contains(NODE), "its machine is gone");
}

fn is_marked_failed(cluster: &Cluster, machine: &str, state: &str) {
    let status = cluster.run(&["status"]).succeeded();
    let row = status.lines().find(|line| line.starts_with(NODE)).unwrap_or_default();
    let row: Vec<_> = row.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect();
    assert_eq!(row, [NODE, machine, state, "-", ADDRESS, "disk, pool, build, .nodebake", "-"]);
}

/// A payload whose containerd is a program that runs and fails at once.
pub fn containerd_cannot_start(lab: &Lab) {
    step(&format!("{NODE} with a containerd that cannot start"));
    let broken = Cluster::new(lab, "broken", &broken_mirror(lab));
    broken.add_node(NODE, ADDRESS);
    broken.run(&["lock"]).succeeded();
    let ran = broken.run(&["up", NODE]);
    let wanted = (
        format!("error: {NODE}: failed to get to \"containerd active\""),
        format!(
            "hint: the machine was left as it is: see `nodebake logs {NODE}`, mend the cause, and run `nodebake up` again"
        ),
    );
    assert_eq!((ran.code, error_and_hint(&ran)), (Some(5), wanted), "{ran:#?}");
    let tail: Vec<_> = ran.stderr.lines().filter_map(|line| line.strip_prefix("  | ")).collect();
    let cause = "containerd.service: Main process exited, code=exited, status=1/FAILURE";
    assert!(tail.contains(&cause), "{tail:#?}");
    is_marked_failed(&broken, "running", "failed (containerd active)");
    let logs = broken.run_quietly(&["logs", NODE]).succeeded();
    let failed = logs.lines().find(|line| line.ends_with(" s  failed: containerd active"));
    assert!(failed.is_some() && logs.contains(&format!("\n  | {cause}\n")), "{logs:.3000}");
    let ran = broken.run(&["down", NODE, "--yes"]);
    assert_eq!((ran.code, ran.stdout), (Some(0), format!("{NODE} removed\n")));
}

/// The lab's mirror with another containerd archive: upstream's names, checksum file included, around /bin/false.
pub fn broken_mirror(lab: &Lab) -> PathBuf {
    let mirror = lab.work().join("broken.mirror");
    let run = |command: &mut Command| Ran::quietly(command).succeeded();
    run(Command::new("cp").arg("-al").arg(lab.mirror()).arg(&mirror));
    let version = lab.version("CONTAINERD");
    let release = mirror.join(format!("github.com/containerd/containerd/releases/download/v{version}"));
    let name = format!("containerd-{version}-linux-amd64.tar.gz");
    let tree = lab.work().join("broken.tree");
    fs::create_dir_all(tree.join("bin")).unwrap();
    run(Command::new("tar").arg("-xzf").arg(release.join(&name)).arg("-C").arg(&tree));
    run(Command::new("cp").arg("--remove-destination").arg("/bin/false").arg(tree.join("bin/containerd")));
    // The files of the lab's own mirror are linked here: they must be replaced, never written into.
    for file in [name.clone(), format!("{name}.sha256sum")] {
        fs::remove_file(release.join(file)).unwrap();
    }
    run(Command::new("tar").args(["-czf"]).arg(release.join(&name)).arg("-C").arg(&tree).arg("bin"));
    let sum = run(Command::new("sha256sum").arg(&name).current_dir(&release));
    fs::write(release.join(format!("{name}.sha256sum")), sum).unwrap();
    mirror
}
