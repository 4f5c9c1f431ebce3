//! End to end: real guests in the lab (tests/lab), made by the real binary as a user runs it.
//!
//! What is real: nodebake, libvirt, QEMU, the guests with their kernel, systemd and cloud-init, containerd, runc, the CNI
//! plugins, the certificates, the network. What stands in: the kubelet and the apiserver (tests/lab/stand-ins), unless
//! the lab was told to use real ones; Debian's guest image for Ubuntu's; Debian's builds for upstream's archives.
//!
//! One scenario, since a boot under emulation takes a minute and its guests serve many assertions, and a short one for
//! machines that nodebake did not make. Needs root and
//! `tests/lab/lab build`; `make e2e` sees to that. `KEEP=1` leaves the lab up; `NODEBAKE_SOAK=N` makes and removes the
//! workers N more times.

#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "tests, which tell what they do")]
#![expect(unreachable_pub, reason = "the modules of one binary")]
#![expect(clippy::case_sensitive_file_extension_comparisons, reason = "units, which are no files of a user")]

mod audit;
mod customised;
mod disk;
mod failures;
mod findings;
mod golden;
mod guest;
mod lab;
mod machine_state;
mod nodebake;
mod roll;
mod rollback;
mod secrets;
mod single_drive;
mod watch;
mod wire;
mod workers;

use lab::Lab;
use machine_state::Machine;
use nodebake::Cluster;

/// Everything that happens, in its order; each part says what it does.
#[test]
fn workers_are_made_join_survive_and_go() {
    let before = Machine::read();
    let lab = Lab::up();
    let before = before.with_namespaces_of(&lab);
    let users = lab.users_things();
    let cluster = Cluster::new(&lab, "cluster", &lab.mirror());

    lab.guarded(|| {
        roll::begin_with_the_release_before(&cluster);
        cluster.make_images();
        failures::taken_address(&cluster, &users);
        let boots = workers::come_up(&cluster, &users);
        workers::up_again_changes_nothing(&cluster);
        let mut all = vec![boots[0].clone(), workers::reboot(&cluster, &boots)];
        all.push(workers::cold_start(&cluster, "worker-node-1", &all));
        workers::stay_as_made(&cluster, "worker-node-1", &all);
        failures::third_worker_changes_no_other(&cluster);
        failures::killed_guest(&cluster);
        customised::ask_for_everything(&cluster);
        roll::both_workers(&cluster, || failures::containerd_cannot_start(&lab));
        customised::is_as_asked(&cluster);
        soak(&cluster);
        workers::go(&cluster, &users);
        wire::only_what_belongs_there(&lab);
    });
    lab.down();
    before.is_as_before(&lab);
}

/// A machine that nodebake did not make.
#[test]
fn one_drive_is_enough() {
    let lab = Lab::up();
    let cluster = Cluster::new(&lab, "cluster", &lab.mirror());
    lab.guarded(|| single_drive::is_enough(&cluster));
    lab.down();
}

/// A base image that holds the payload already.
#[test]
fn golden_images_are_made_and_used() {
    let lab = Lab::up();
    let cluster = Cluster::new(&lab, "cluster", &lab.mirror());
    lab.guarded(|| golden::is_made_and_used(&cluster));
    lab.down();
}

/// A rebuild that fails at different stages, and a machine that comes back each time.
#[test]
fn a_failed_rebuild_is_undone() {
    let lab = Lab::up();
    let cluster = Cluster::new(&lab, "cluster", &lab.mirror());
    lab.guarded(|| rollback::undoes(&cluster));
    lab.down();
}

/// `make soak`: the same workers come and go again.
fn soak(cluster: &Cluster) {
    let rounds = std::env::var("NODEBAKE_SOAK").map_or(0, |rounds| rounds.parse::<u32>().unwrap());
    for round in 1..=rounds {
        lab::step(&format!("soak: round {round} of {rounds}"));
        cluster.run(&["down", "--yes"]).succeeded();
        cluster.run(&["up"]).succeeded();
    }
}
