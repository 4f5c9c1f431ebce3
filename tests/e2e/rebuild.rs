//! `rebuild`: the same machine in name, UUID, MAC and address, with a new disk.

use crate::guest::Guest;
use crate::lab::step;
use crate::nodebake::{Cluster, words};

const NODE: &str = "worker-node-2";

/// Rebuilds a worker after a change in the cluster file, while `other` is tried beside it.
pub fn and_meanwhile(cluster: &Cluster, other: impl FnOnce() + Send) {
    let lab = cluster.lab;
    let guest = Guest::new(lab, NODE);
    let [uuid, mac, disk] = guest.identity();
    let boot = boot_id(cluster);
    cluster.edit("  clusterDomain: cluster.local", "  clusterDomain: lab.example");

    step("`up` tells what differs, and replaces nothing");
    let ran = cluster.run(&["up", NODE]);
    assert_eq!(ran.code, Some(0), "{ran:#?}");
    let start = format!("{NODE}: differs: seed changed: ");
    let told = ran.stderr.lines().find(|line| line.starts_with(&start)).unwrap_or_else(|| panic!("{ran:#?}"));
    assert!(told.ends_with(&format!("; `nodebake rebuild {NODE}` replaces it")), "{told}");
    // Beside all that was asked for since.
    let parts: Vec<_> = told[start.len()..].split(';').next().unwrap().split(", ").collect();
    assert!(parts.contains(&"kubelet config clusterDomain") && !parts.contains(&"what is secret"), "{told}");
    assert_eq!((guest.identity(), boot_id(cluster)), ([uuid.clone(), mac.clone(), disk.clone()], boot.clone()));
    let status = cluster.run(&["status"]).succeeded();
    let row = words(&status).into_iter().find(|row| row[0] == NODE).unwrap();
    assert_eq!(row, [NODE, "running", "registered", "NotReady", "10.0.0.37", "disk,", "build,", ".nodebake", "seed"]);

    let planned = cluster.run(&["plan", NODE]);
    let row = words(&planned.stdout).into_iter().next_back().unwrap();
    let wanted = ["node", NODE, "rebuild", "rebuild", NODE, "seed", "changed:"];
    assert_eq!((planned.code, &row[..7]), (Some(6), &wanted[..]), "{planned:#?}");

    let refused = cluster.run(&["rebuild", NODE]);
    let (error, hint) = crate::nodebake::error_and_hint(&refused);
    let wanted = ("error: this needs your consent, and there is no terminal to ask on", "hint: add --yes");
    assert_eq!((refused.code, error.as_str(), hint.as_str()), (Some(2), wanted.0, wanted.1));

    let ran = std::thread::scope(|scope| {
        let rebuilding = scope.spawn(|| cluster.run(&["rebuild", NODE, "--yes"]));
        other();
        rebuilding.join().unwrap()
    });
    assert_eq!(ran.code, Some(0), "{ran:#?}");
    let [new_uuid, new_mac, new_disk] = guest.identity();
    assert_eq!((new_uuid, new_mac), (uuid, mac));
    assert_ne!(new_disk, disk, "its disk is another one");
    assert!(!lab.outside(&disk).exists(), "{disk} is gone");
    let reported: Vec<_> = guest.reports().into_iter().map(|report| report.boot).collect();
    let new_boot = boot_id(cluster);
    assert!(new_boot != boot && reported.contains(&new_boot), "{new_boot} is the new machine's: {reported:?}");
    let row: Vec<_> = words(&ran.stdout).into_iter().next_back().unwrap();
    assert_eq!((row[0], row[1], row[5]), (NODE, "NotReady", "10.0.0.37"));
}

/// The boot that the cluster knows of.
fn boot_id(cluster: &Cluster) -> String {
    cluster.api_nodes()[NODE]["status"]["nodeInfo"]["bootID"].as_str().unwrap().to_owned()
}
