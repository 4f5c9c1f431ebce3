//! `rebuild` of a worker whose new machine does not come up: the old one is a node again, and nothing of the new one stays.

use std::fs;

use serde_json::Value;

use crate::failures;
use crate::guest::Guest;
use crate::lab::step;
use crate::nodebake::{Cluster, error_and_hint};

const NODE: &str = "worker-node-1";

/// A unit of the guest that fails before its program starts.
const BROKEN_KUBELET: &str = "  units:
    kubelet.service.d/50-broken.conf:
      content: |
        [Service]
        ExecStartPre=/bin/false
";

/// A file that takes the network card away from the one that we write.
const NO_NETWORK: &str = "  files:
    /etc/systemd/network/00-none.network:
      content: |
        [Match]
        Name=e*
        [Network]
        LinkLocalAddressing=no
";

/// What is there before each rebuild, and must be there after it.
#[derive(Debug, PartialEq)]
struct Before {
    identity: [String; 3],
    definition: String,
    volumes: Vec<String>,
}

impl Before {
    fn read(cluster: &Cluster) -> Self {
        let lab = cluster.lab;
        let guest = Guest::new(lab, NODE);
        let definition = lab.virsh(&["dumpxml", "--inactive", NODE]);
        // The mark tells of the newest boot.
        let (head, tail) = definition.split_once("boot-id=").unwrap();
        let definition = format!("{head}{}", &tail[38..]);
        let list = lab.virsh(&["vol-list", "nodebake"]);
        let volumes = list.lines().filter_map(|line| line.split_whitespace().next().map(ToOwned::to_owned));
        let volumes = volumes.filter(|name| name.contains(&format!(".{NODE}."))).collect();
        Self { identity: guest.identity(), definition, volumes }
    }
}

/// Three new machines that do not come up, each for another reason, and one that does.
pub fn undoes(cluster: &Cluster) {
    cluster.run(&["lock"]).succeeded();
    cluster.run(&["up", NODE]).succeeded();
    let before = Before::read(cluster);

    let broken = cluster.with_mirror(failures::broken_mirror(cluster.lab));
    let locked = fs::read(cluster.folder.join("nodebake.lock")).unwrap();
    fs::remove_file(cluster.folder.join("nodebake.lock")).unwrap();
    step("a payload whose containerd cannot start");
    broken.run(&["lock"]).succeeded();
    fails(&broken, &before, "failed to get to \"containerd active\"");
    fs::write(cluster.folder.join("nodebake.lock"), locked).unwrap();

    let plain = fs::read_to_string(cluster.folder.join("nodebake.yaml")).unwrap();
    for (what, change, why) in [
        ("a wrong configuration: a kubelet that cannot start", BROKEN_KUBELET, "failed to get to \"kubelet active\""),
        ("no network", NO_NETWORK, "nothing new for"),
    ] {
        step(what);
        cluster.edit("\ndefaults:\n", &format!("\ndefaults:\n{change}"));
        fails(cluster, &before, why);
        fs::write(cluster.folder.join("nodebake.yaml"), &plain).unwrap();
    }

    step("and one that comes up");
    let boot = boot_id(cluster);
    cluster.run(&["rebuild", NODE, "--yes"]).succeeded();
    let after = Before::read(cluster);
    assert_eq!(after.identity[..2], before.identity[..2], "UUID and MAC");
    assert_ne!(after.identity[2], before.identity[2], "its disk is another one");
    assert_eq!(after.volumes.len(), before.volumes.len(), "{:?}", after.volumes);
    assert_ne!(boot_id(cluster), boot);
    cluster.run(&["down", "--yes"]).succeeded();
}

/// A rebuild that fails; the old machine is up again, as it was, in a boot of its own.
fn fails(cluster: &Cluster, before: &Before, why: &str) {
    let boot = boot_id(cluster);
    let ran = cluster.run(&["rebuild", NODE, "--yes", "--stall", "90"]);
    let (error, hint) = error_and_hint(&ran);
    let text = format!("error: {NODE}: its new machine did not come up, and the old one was put back: {NODE}: {why}");
    let advice = format!(
        "hint: the node is what it was; `nodebake logs {NODE} --previous` tells of the new machine: mend the cause, and run \
         `nodebake rebuild {NODE}` again"
    );
    assert!(ran.code == Some(5) && error.starts_with(&text) && hint == advice, "{ran:#?}");
    assert_eq!(Before::read(cluster), *before);
    let nodes = cluster.api_nodes();
    let info = |pointer| nodes[NODE].pointer(pointer).and_then(Value::as_str).map(ToOwned::to_owned);
    let back = info("/status/nodeInfo/bootID").unwrap();
    assert_ne!(back, boot, "it was off, and is registered again");
    let reported: Vec<_> = Guest::new(cluster.lab, NODE).reports().into_iter().map(|report| report.boot).collect();
    assert!(reported.contains(&back), "{back} is the old machine's: {reported:?}");
}

/// The boot that the cluster knows of.
fn boot_id(cluster: &Cluster) -> String {
    cluster.api_nodes()[NODE]["status"]["nodeInfo"]["bootID"].as_str().unwrap().to_owned()
}
