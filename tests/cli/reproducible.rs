//! Same inputs, same bytes: whatever the folder, the clock, the umask, the language and the number of CPUs; and a change
//! changes what it must and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use crate::identities::provide;
use crate::mirror::Item;
use crate::world::{Ran, Tree, World, changed, has_extension};

/// Content by path in the output folder.
fn contents(tree: Tree) -> BTreeMap<String, Vec<u8>> {
    tree.into_iter()
        .filter(|(_, file)| file.mode & 0o170_000 == 0o100_000)
        .map(|(name, file)| (name, file.content))
        .collect()
}

fn copy(from: &World, to: &World, folder: &str) {
    for (name, file) in from.tree(folder) {
        let path = to.path(&name);
        match file.mode & 0o170_000 {
            0o040_000 => fs::create_dir_all(path).unwrap(),
            _ => fs::write(path, file.content).unwrap(),
        }
        to.chmod(&name, file.mode & 0o7777);
    }
}

/// Locks and builds everything, with an empty cache.
fn build(world: &World, wrapper: &[&str], environment: &[(&str, &str)]) -> BTreeMap<String, Vec<u8>> {
    for arguments in [&["lock"][..], &["build", "--all"]] {
        let ran = world.run_command(world.command(wrapper).envs(environment.iter().copied()).args(arguments));
        assert_eq!(ran.code, 0, "{ran:?}");
    }
    contents(world.tree("build"))
}

/// The certificates are brought along, since one that is issued tells its time.
#[test]
fn the_surroundings_change_no_byte() {
    let here = World::new();
    for (node, address) in [("worker-node-1", "10.0.0.36"), ("worker-node-2", "10.0.0.37")] {
        provide(&here, node, address, "1500");
    }
    let there = World::new();
    copy(&here, &there, "pki");
    let one = [("TZ", "UTC"), ("LANG", "C"), ("RAYON_NUM_THREADS", "1")];
    let other = [("TZ", "Asia/Tokyo"), ("LANG", "tr_TR.UTF-8"), ("LC_ALL", "tr_TR.UTF-8"), ("USER", "somebody")];
    let first = build(&here, &["sh", "-c", "umask 000; exec taskset -c 0 \"$0\" \"$@\""], &one);
    let second = build(&there, &["faketime", "-f", "+366d", "sh", "-c", "umask 077; exec \"$0\" \"$@\""], &other);
    assert_eq!(first.keys().collect::<Vec<_>>(), second.keys().collect::<Vec<_>>());
    let differ: Vec<_> =
        first.iter().filter(|(name, content)| second[*name] != **content).map(|(name, _)| name).collect();
    assert_eq!(differ, [""; 0]);
    assert_eq!(here.read("nodebake.lock"), there.read("nodebake.lock"));
    assert_eq!(first.keys().filter(|name| has_extension(name, "iso")).count(), 3);
}

/// The test above would prove nothing if the clock were not another one.
#[test]
fn the_other_clock_is_seen_by_the_program() {
    let world = World::new();
    let end = |wrapper: &[&str]| {
        let ran = world.run_command(world.command(wrapper).arg("kubeconfig"));
        assert_eq!(ran.code, 0, "{ran:?}");
        let file: serde_json::Value = serde_json::from_str(&world.read("admin.kubeconfig")).unwrap();
        let data = file["users"][0]["user"]["client-certificate-data"].as_str().unwrap();
        let pem = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, data).unwrap();
        fs::write(world.path("pki/admin.pem"), pem).unwrap();
        let end = world.openssl(&["x509", "-in", "admin.pem", "-noout", "-enddate", "-dateopt", "iso_8601"]);
        end.trim_start_matches("notAfter=").trim().replace(' ', "T").parse::<jiff::Timestamp>().unwrap()
    };
    let seconds = end(&["faketime", "-f", "+366d"]).as_second() - end(&[]).as_second();
    assert!((366 * 86400 - 600..366 * 86400 + 600).contains(&seconds), "{seconds}");
}

#[test]
fn what_was_issued_gives_the_same_seeds_elsewhere() {
    let here = World::built();
    let there = World::new();
    copy(&here, &there, ".nodebake");
    assert_eq!(build(&there, &[], &[]), contents(here.tree("build")));
}

#[test]
fn a_third_worker_changes_nothing_of_the_others() {
    let world = World::built();
    let before = world.tree("build");
    let identities = world.tree(".nodebake");
    let text = world.read("nodebake.yaml");
    // Above the others, and as large as can be.
    world.edit(
        "nodes:\n",
        "nodes:\n  - name: a-worker\n    address: 10.0.0.40\n    mac: 52:54:00:00:00:40\n    cpus: 8\n    memory: 64GiB\n",
    );
    let ran = world.must(&["build", "--all"]);
    assert_eq!(ran.stderr, "a-worker: issued a certificate\n");
    let words: Vec<_> = ran.stdout.lines().map(|line| line.split_whitespace().last().unwrap()).collect();
    assert_eq!(words, ["unchanged", "made", "unchanged", "unchanged"]);
    let mut after = world.tree("build");
    let new: Vec<_> = after.keys().filter(|name| name.starts_with("build/a-worker")).cloned().collect();
    assert_eq!(new.len(), 9, "{new:?}");
    after.retain(|name, _| !new.contains(name));
    // The folder that has a new one in it has a new time.
    let folder = |tree: &Tree| {
        let mut tree = tree.clone();
        tree.remove("build");
        tree
    };
    assert_eq!(folder(&after), folder(&before));
    let kept =
        |tree: Tree| contents(tree).into_iter().filter(|(name, _)| name.contains("worker-node")).collect::<Vec<_>>();
    assert_eq!(kept(world.tree(".nodebake")), kept(identities));

    // And without it everything is as it was.
    fs::write(world.path("nodebake.yaml"), text).unwrap();
    assert!(world.must(&["build", "--all"]).stdout.lines().all(|line| line.ends_with("   unchanged")));
    assert_eq!(world.tree("build")["build/worker-node-1"], before["build/worker-node-1"]);
}

/// Files of the output that change with an edit of the cluster file.
fn after_edit(from: &str, to: &str) -> Vec<String> {
    let world = World::built();
    let before = world.tree("build");
    world.edit(from, to);
    world.must(&["lock"]);
    world.must(&["build", "--all"]);
    changed(&before, &world.tree("build"))
}

const BOTH: [&str; 2] = ["worker-node-1", "worker-node-2"];

/// These files of these nodes, and what tells where they came from.
fn of(nodes: &[&str], files: &[&str]) -> Vec<String> {
    let told = ["intoto.json", "spdx.json"];
    let one = |node: &&str| {
        let files = files.iter().map(|file| (*file).to_owned());
        let all = files.chain(told.map(|form| format!("{node}.{form}")));
        all.map(|file| format!("build/{node}/{file}")).collect::<Vec<_>>()
    };
    nodes.iter().flat_map(one).collect()
}

#[test]
fn a_change_changes_what_it_must_and_nothing_else() {
    let second = &BOTH[1..];
    // The instance-id is the digest of the rest, so that meta-data changes with anything in the seed.
    let files = ["manifest.json", "meta-data", "seed.iso"];
    for (from, to, wanted) in [
        // Where and how large the machines are.
        ("  cpus: 2", "  cpus: 4", vec![]),
        ("  memory: 4GiB", "  memory: 8GiB", vec![]),
        ("  disk: 20GiB", "  disk: 30GiB", vec![]),
        ("  pool: nodebake", "  pool: other", vec![]),
        ("acceleration: auto", "acceleration: tcg", vec![]),
        ("  name: nodebake", "  name: other", vec![]),
        ("# What is baked", "# What is not baked", vec![]),
        // A node's own.
        ("    address: 10.0.0.37", "    address: 10.0.0.38", of(second, &files)),
        ("    address: 10.0.0.37", "    address: 10.0.0.37\n    mac: 52:54:00:00:00:37", of(second, &files)),
        // The cluster's.
        ("clusterDNS: [10.96.0.10]", "clusterDNS: [10.96.0.11]", of(&BOTH, &files)),
        ("clusterDomain: cluster.local", "clusterDomain: cluster.example", of(&BOTH, &files)),
        ("apiServer: https://10.0.0.4:6443", "apiServer: https://10.0.0.4:8443", of(&BOTH, &files)),
        ("nameservers: [10.0.0.1]", "nameservers: [10.0.0.2]", of(&BOTH, &files)),
        ("  disk: 20GiB\n", "  disk: 20GiB\n  ntp: [10.0.0.1]\n", of(&BOTH, &files)),
        ("  disk: 20GiB\n", "  disk: 20GiB\n  proxy: {http: \"http://10.0.0.9:3128\"}\n", of(&BOTH, &files)),
    ] {
        assert_eq!(after_edit(from, to), wanted, "{to}");
    }
}

#[test]
fn another_artifact_makes_another_payload_and_seeds_that_name_it() {
    let world = World::built();
    let (before, identities) = (world.tree("build"), world.tree(".nodebake"));
    world.publish(Item::Runc, &crate::mirror::program("echo"));
    world.relock();
    world.must(&["build", "--all"]);
    let after = world.tree("build");
    let new: Vec<_> = after.keys().filter(|name| !before.contains_key(*name)).cloned().collect();
    let digest = world.sha256(new.first().unwrap());
    let payload = ["iso", "json"].map(|extension| format!("build/payload-{}.{extension}", &digest[..12]));
    assert_eq!(new, payload);
    let mut wanted = payload.to_vec();
    wanted.extend(of(&BOTH, &["manifest.json", "meta-data", "seed.iso"]));
    assert_eq!(changed(&before, &after), wanted);
    assert_eq!(world.tree(".nodebake"), identities);
}

#[test]
fn another_base_image_changes_the_manifests_alone() {
    let world = World::built();
    let before = world.tree("build");
    world.publish(Item::BaseImage, b"the image of next week");
    world.relock();
    world.must(&["build", "--all"]);
    assert_eq!(changed(&before, &world.tree("build")), of(&BOTH, &["manifest.json"]));
}

/// Runs the program with a `SOURCE_DATE_EPOCH`.
fn run_at(world: &World, epoch: &str, arguments: &[&str]) -> Ran {
    world.run_command(world.command(&[]).env("SOURCE_DATE_EPOCH", epoch).args(arguments))
}

#[test]
fn everything_in_the_images_has_the_time_that_was_asked_for() {
    let world = World::built();
    let usual = contents(world.tree("build"));
    let ran = run_at(&world, "1767225599", &["build", "--all", "--out", "later"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    for image in [world.payload("later"), "later/worker-node-1/seed.iso".to_owned()] {
        let listed = world.must(&["inspect", &image, "/"]).stdout;
        let times: BTreeSet<_> = listed.lines().skip(1).map(|line| line.split_whitespace().nth(3).unwrap()).collect();
        assert_eq!(times, BTreeSet::from(["2025-12-31T23:59:59Z"]), "{image}");
    }
    // It is one of the inputs: known by name when the payload is found again, and asked for by `verify`.
    let again = run_at(&world, "1767225599", &["build", "--all", "--out", "later"]);
    assert!(again.stdout.lines().all(|line| line.ends_with("   unchanged")), "{again:?}");
    let verified = run_at(&world, "1767225599", &["verify", "--images", "--out", "later"]);
    assert_eq!(verified.code, 0, "{verified:?}");
    // That of our own making is the time that there is without it.
    let ran = run_at(&world, "946684800", &["build", "--all"]);
    assert!(ran.stdout.lines().all(|line| line.ends_with("   unchanged")), "{ran:?}");
    assert_eq!(contents(world.tree("build")), usual);
}

#[test]
fn what_is_no_time_is_refused() {
    let world = World::locked();
    for wrong in ["", "now", "-1", "+1", "1e9", " 1", "5869584000", "99999999999999999999"] {
        let error = format!("SOURCE_DATE_EPOCH is {wrong:?}; it must be seconds since 1970, up to the end of 2155");
        let wanted = Ran::failed(2, &error, "unset it, and everything in the images is of 2000-01-01 00:00:00 UTC");
        for arguments in
            [&["build", "--all"][..], &["verify", "--images"], &["up"], &["rebuild", "worker-node-1", "--yes"]]
        {
            assert_eq!(run_at(&world, wrong, arguments), wanted, "{arguments:?}");
        }
        assert_eq!(run_at(&world, wrong, &["status"]).code, world.run(&["status"]).code);
    }
    assert!(!world.path("build").exists());
}
