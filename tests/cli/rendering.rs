//! `render`: what goes into a seed, before and after there is one.

use std::fs;
use std::process::Command;

use crate::world::{Ran, World, must};

const NODE: &str = "worker-node-1";

/// What is said where nothing is built or issued.
const PLACEHOLDERS: &str = "worker-node-1: the payload is not built: its digest, and what it alone tells of given images, are \
                            placeholders\nworker-node-1: not all of its identity is issued: certificates and keys are placeholders\n";

#[test]
fn a_file_is_rendered_before_anything_is_built() {
    let world = World::new();
    let before = world.tree("");
    let hosts = "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n\n\
                 10.0.0.36 worker-node-1\n10.0.0.4 control-plane-1\n";
    assert_eq!(world.run(&["render", NODE, "/etc/hosts"]), Ran::ok(hosts, PLACEHOLDERS));
    let key = "/etc/kubernetes/pki/worker-node-1-key.pem";
    assert_eq!(world.run(&["render", NODE, key]), Ran::ok("(secret, 40 bytes)\n", PLACEHOLDERS));
    let shown = Ran::ok("(not issued yet: `nodebake build` does)\n", PLACEHOLDERS);
    assert_eq!(world.run(&["render", NODE, key, "--show-secrets"]), shown);
    let mount = world.must(&["render", NODE, "/etc/systemd/system/opt-nodebake-payload.mount"]);
    assert!(mount.stdout.contains("\nWhat=/dev/disk/by-id/virtio-nb-000000000000\n"), "{mount:?}");
    let link = "/etc/systemd/system/multi-user.target.wants/kubelet.service";
    assert_eq!(world.run(&["render", NODE, link]), Ran::ok("/etc/systemd/system/kubelet.service\n", PLACEHOLDERS));
    assert_eq!(world.tree(""), before, "nothing is written, and nothing issued");
}

#[test]
fn what_is_not_there_is_said() {
    let world = World::built();
    let hint = "`nodebake render worker-node-1` lists what there is";
    let error = "the seed of worker-node-1 has no /etc/host; did you mean /etc/hosts?";
    assert_eq!(world.run(&["render", NODE, "/etc/host"]), Ran::failed(2, error, hint));
    let error = "the cluster file has no node worker-node-3; did you mean worker-node-1?";
    let hint = "`nodebake hosts` lists the nodes";
    assert_eq!(world.run(&["render", "worker-node-3"]), Ran::failed(2, error, hint));
}

/// Path, mode in octal and size of every file and link of a seed, as isoinfo lists them.
fn listed(world: &World) -> Vec<(String, String, Option<u64>)> {
    let seed = world.path(&format!("build/{NODE}/seed.iso"));
    let text = String::from_utf8(must(Command::new("isoinfo").args(["-R", "-l", "-i"]).arg(seed))).unwrap();
    let (mut folder, mut files) = (String::new(), Vec::new());
    for line in text.lines() {
        if let Some(path) = line.strip_prefix("Directory listing of ") {
            path.trim().clone_into(&mut folder);
            continue;
        }
        let words: Vec<_> = line.split_whitespace().collect();
        let Some((entry, name)) = line.split_once("]  ") else { continue };
        if entry.starts_with('d') {
            continue;
        }
        let name = name.trim();
        let link = name.split_once(" -> ");
        let bits = words[0].as_bytes()[1..10].chunks(3).map(|bits| {
            bits.iter()
                .enumerate()
                .filter(|(_, bit)| **bit != b'-')
                .map(|(place, _)| 4_u32 >> place)
                .sum::<u32>()
                .to_string()
        });
        let size = link.is_none().then(|| words[4].parse().unwrap());
        let path = format!("{folder}{}", link.map_or(name, |(name, _)| name));
        files.push((path, format!("0{}", bits.collect::<String>()), size));
    }
    files
}

#[test]
fn the_list_and_every_file_are_what_the_seed_holds() {
    let world = World::built();
    let ran = world.run(&["render", NODE]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    let mut lines = ran.stdout.lines().map(|line| line.split_whitespace().map(String::from).collect::<Vec<_>>());
    assert_eq!(lines.next().unwrap(), ["PATH", "MODE", "OWNER", "SIZE", "KIND"]);
    let (mut got, mut kinds) = (Vec::new(), std::collections::BTreeMap::new());
    for row in lines {
        let in_seed = match row[0].as_str() {
            "first-boot" => "/nodebake/first-boot".to_owned(),
            path if path.starts_with('/') => format!("/nodebake/root{path}"),
            name => format!("/{name}"),
        };
        assert_eq!(row[2], "root:root");
        *kinds.entry(row[4].clone()).or_insert(0) += 1;
        let seed = world.path(&format!("build/{NODE}/seed.iso"));
        let mut command = world.command(&[]);
        let shown = must(command.args(["render", NODE, &row[0], "--show-secrets"]));
        if row[4] == "link" {
            assert_eq!(String::from_utf8(shown).unwrap(), format!("{}\n", row[6]));
        } else {
            let held = must(Command::new("isoinfo").args(["-R", "-x", &in_seed, "-i"]).arg(seed));
            assert!(shown == held, "{}", row[0]);
        }
        got.push((in_seed, row[1].clone(), row[3].parse().ok()));
    }
    let mut wanted = listed(&world);
    wanted.sort();
    got.sort();
    assert_eq!(got, wanted);
    assert_eq!(kinds.get("secret"), Some(&1));
    // Without leave, a secret is not shown.
    let key = format!("/etc/kubernetes/pki/{NODE}-key.pem");
    let size = fs::metadata(world.path(&format!(".nodebake/identities/{NODE}/key.pem"))).unwrap().len();
    assert_eq!(world.run(&["render", NODE, &key]), Ran::ok(format!("(secret, {size} bytes)\n"), ""));
}
