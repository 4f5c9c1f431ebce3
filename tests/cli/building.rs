//! `build` and `fetch`: what they print and leave, and that a second run leaves everything alone.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use crate::mirror::{ITEMS, Item};
use crate::world::{Ran, World, changed, has_extension, kib, must, seed_files, sha256};

const NODES: [&str; 2] = ["worker-node-1", "worker-node-2"];

/// What `build` prints of these nodes.
fn table(world: &World, payload: &str, nodes: &[(&str, &str)]) -> String {
    let image = world.payload("build");
    let mut rows = vec![("payload".to_owned(), image, payload.to_owned())];
    rows.extend(
        nodes.iter().map(|(node, word)| ((*node).to_owned(), format!("build/{node}/seed.iso"), (*word).to_owned())),
    );
    let width = |column: fn(&(String, String, String)) -> usize| rows.iter().map(column).max().unwrap();
    let (first, second) = (width(|row| row.0.len()), width(|row| row.1.len()));
    let line = |(name, path, word): &(String, String, String)| {
        format!("{name:first$}   {path:second$}   sha256:{}   {word}\n", world.sha256(path))
    };
    rows.iter().map(line).collect()
}

/// What is said, in any order, of what is fetched.
fn fetched(ran: &Ran) -> Vec<&str> {
    let mut lines: Vec<_> = ran.stderr.lines().filter(|line| line.starts_with("fetch ")).collect();
    lines.sort_unstable();
    lines
}

/// What is said of the rest.
fn rest(ran: &Ran) -> Vec<&str> {
    ran.stderr.lines().filter(|line| !line.starts_with("fetch ")).collect()
}

fn done(world: &World, item: Item) -> String {
    let size = fs::metadata(world.path("mirror").join(item.place(item.version()))).unwrap().len();
    format!("fetch {} {}: done ({})", item.kind(), item.version(), kib(size))
}

#[test]
fn build_makes_a_payload_and_seeds_once() {
    let world = World::locked();
    let ran = world.run(&["build", "--all"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let payload = world.payload("build");
    assert_eq!(payload, format!("build/payload-{}.iso", &world.sha256(&payload)[..12]));
    assert_eq!(ran.stdout, table(&world, "made", &NODES.map(|node| (node, "made"))));
    let inputs = [Item::CniPlugins, Item::Containerd, Item::Kubelet, Item::Runc];
    assert_eq!(fetched(&ran), inputs.map(|item| done(&world, item)));
    let size = inputs.map(|item| fs::metadata(world.path(&world.cached(item))).unwrap().len()).iter().sum::<u64>();
    assert_eq!(
        rest(&ran),
        [
            format!("bake payload amd64: done ({})", kib(size)),
            "worker-node-1: issued a certificate".to_owned(),
            "worker-node-2: issued a certificate".to_owned(),
        ]
    );
    let mut wanted = vec!["build".to_owned(), payload.clone(), payload.replace(".iso", ".json")];
    for node in NODES {
        wanted.push(format!("build/{node}"));
        wanted.extend(seed_files(node));
    }
    assert_eq!(world.tree("build").into_keys().collect::<Vec<_>>(), wanted);

    // Nothing is touched by a second run: no file, no folder, not for a moment.
    let before = world.tree("");
    let again = Ran::ok(table(&world, "unchanged", &NODES.map(|node| (node, "unchanged"))), "");
    assert_eq!(world.run(&["build", "--all"]), again);
    assert_eq!(world.run(&["--offline", "build", "--all"]), again);
    assert_eq!(world.tree(""), before);
}

#[test]
fn build_makes_the_nodes_that_are_named() {
    let world = World::locked();
    let ran = world.run(&["build", "worker-node-2"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (0, table(&world, "made", &[("worker-node-2", "made")]).as_str()));
    assert!(!world.path("build/worker-node-1").exists() && !world.path(".nodebake/identities/worker-node-1").exists());
    // In the order of the cluster file, whatever that of the command line.
    let ran = world.run(&["build", "worker-node-2", "worker-node-1"]);
    let rows = [("worker-node-1", "made"), ("worker-node-2", "unchanged")];
    assert_eq!(ran, Ran::ok(table(&world, "unchanged", &rows), "worker-node-1: issued a certificate\n"));
}

#[test]
fn build_writes_where_it_is_told() {
    let world = World::built();
    let there = world.tree("build");
    world.must(&["build", "--all", "--out", "else/where"]);
    let here: BTreeMap<_, _> =
        world.tree("else/where").into_iter().map(|(name, file)| (name.replace("else/where", "build"), file)).collect();
    assert_eq!(changed(&there, &here), [""; 0]);
}

/// The cluster file's folder holds what belongs to the cluster; the output is where the user stands.
#[test]
fn build_works_from_any_folder() {
    let world = World::built();
    fs::create_dir(world.path("elsewhere")).unwrap();
    let mut command = world.command(&[]);
    command.current_dir(world.path("elsewhere")).args(["--config", "../nodebake.yaml", "build", "--all"]);
    let before = (world.tree("build"), world.tree(".nodebake"));
    assert_eq!(world.run_command(&mut command).code, 0);
    assert_eq!((world.tree("build"), world.tree(".nodebake")), before);
    let there = world.tree("elsewhere/build").into_iter().map(|(name, file)| (name.replace("elsewhere/", ""), file));
    assert_eq!(changed(&before.0, &there.collect()), [""; 0]);
    assert_eq!(fs::read_dir(world.path("elsewhere")).unwrap().count(), 1);
}

/// Two at once in one folder: both end well, and with the same identities.
#[test]
fn builds_at_the_same_time_do_not_disturb_each_other() {
    let world = World::locked();
    let runs = std::thread::scope(|scope| {
        let run = || world.run(&["build", "--all"]);
        [(); 4].map(|()| scope.spawn(run)).map(|thread| thread.join().unwrap())
    });
    for ran in &runs {
        assert_eq!(ran.code, 0, "{ran:?}");
        let digests = |ran: &Ran| ran.stdout.lines().map(|line| line.split("   ").nth(2).unwrap().to_owned()).collect();
        let (ours, first): (Vec<_>, Vec<_>) = (digests(ran), digests(&runs[0]));
        assert_eq!(ours, first);
    }
    let again = table(&world, "unchanged", &NODES.map(|node| (node, "unchanged")));
    assert_eq!(world.run(&["build", "--all"]), Ran::ok(again, ""));
    let left: Vec<_> = world.tree("").into_keys().filter(|name| name.ends_with(".nodebake-partial")).collect();
    assert_eq!(left, [""; 0]);
}

#[test]
fn what_is_damaged_in_the_output_is_made_anew() {
    let world = World::built();
    let before = world.tree("build");
    let payload = world.payload("build");
    fs::write(world.path("build/worker-node-1/seed.iso"), "damaged").unwrap();
    fs::remove_file(world.path("build/worker-node-2/user-data")).unwrap();
    fs::write(world.path(&payload), "cut off").unwrap();
    let ran = world.must(&["build", "--all"]);
    assert_eq!(ran.stdout, table(&world, "made", &NODES.map(|node| (node, "made"))));
    assert_eq!(changed(&before, &world.tree("build")), [""; 0]);
}

#[test]
fn a_node_that_is_not_there_is_told_with_the_likeliest() {
    let world = World::locked();
    let hint = "`nodebake hosts` lists the nodes";
    for (name, wanted) in [
        ("worker-node-l", "the cluster file has no node worker-node-l; did you mean worker-node-1?"),
        ("worker-nod-2", "the cluster file has no node worker-nod-2; did you mean worker-node-2?"),
        ("control-plane-1", "the cluster file has no node control-plane-1"),
    ] {
        for verb in
            [&["build", name][..], &["build", "worker-node-1", name], &["up", name], &["rebuild", "--yes", name]]
        {
            assert_eq!(world.run(verb), Ran::failed(2, wanted, hint), "{verb:?}");
        }
    }
    assert!(!world.path("build").exists());
}

#[test]
fn other_bytes_than_the_locked_ones_are_refused_and_not_kept() {
    let world = World::locked();
    let path = world.path("mirror").join(Item::Kubelet.place("1.35.1"));
    let (want, mut bytes) = (sha256(&path), fs::read(&path).unwrap());
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    // The list in the mirror says what the file is now; what counts is the lock.
    world.publish(Item::Kubelet, &bytes);
    let got = sha256(&path);
    let place = Item::Kubelet.place("1.35.1");
    let hint = "if upstream has replaced the file, take its entry out of nodebake.lock and run `nodebake lock`; else somebody \
                has tampered with it";
    let error = format!(
        "kubelet 1.35.1 (amd64) from FOLDER/mirror/{place} has digest sha256:{got}, and sha256:{want} is locked"
    );
    let refused = |ran: &Ran, error: &str, bytes: &[u8]| {
        let wanted = Ran::failed(4, error, hint);
        assert_eq!((ran.code, ran.stdout.as_str()), (4, ""));
        assert_eq!(rest(ran).join("\n") + "\n", wanted.stderr);
        let held = world.tree("cache").into_values().any(|file| file.content == bytes);
        let left = world.tree("cache").into_keys().find(|name| has_extension(name, "part") || name.contains(&got));
        assert!(!held && left.is_none(), "{left:?}");
        assert!(!world.path("build").exists() && !world.path(&world.cached(Item::Kubelet)).exists());
    };
    for verb in [&["build", "--all"][..], &["fetch"]] {
        refused(&world.run(verb), &error, &bytes);
    }

    bytes.push(0);
    world.publish(Item::Kubelet, &bytes);
    let sizes = (bytes.len(), bytes.len() - 1);
    let error =
        format!("kubelet 1.35.1 (amd64) from FOLDER/mirror/{place} has {} bytes, and {} are locked", sizes.0, sizes.1);
    refused(&world.run(&["build", "--all"]), &error, &bytes);
}

#[test]
fn offline_all_that_is_missing_is_named() {
    let world = World::locked();
    let hint = "run `nodebake fetch` without --offline where there is a network or a mirror";
    let named = |items: &[Item]| {
        let names: Vec<_> = items.iter().map(|item| format!("{} {} (amd64)", item.kind(), item.version())).collect();
        Ran::failed(1, &format!("offline, and the cache lacks {}", names.join(", ")), hint)
    };
    let payload = [Item::Kubelet, Item::Containerd, Item::Runc, Item::CniPlugins];
    assert_eq!(world.run(&["--offline", "fetch"]), named(&ITEMS));
    assert_eq!(world.run(&["fetch", "kubectl", "--offline"]), named(&[Item::Kubectl]));
    assert_eq!(world.run(&["build", "--all", "--offline"]), named(&payload));
    assert!(!world.path("build").exists() && !world.path("cache").exists() && !world.path(".nodebake").exists());

    world.must(&["fetch"]);
    fs::remove_dir_all(world.path("mirror")).unwrap();
    let mut offline = world.command(&[]);
    offline.env_remove("NODEBAKE_MIRROR").args(["build", "--all", "--offline"]);
    assert_eq!(world.run_command(&mut offline).code, 0);
}

#[test]
fn fetch_fills_the_cache_once() {
    let world = World::locked();
    let ran = world.run(&["fetch"]);
    let mut lines: Vec<_> = ITEMS.iter().map(|item| done(&world, *item)).collect();
    lines.sort();
    assert_eq!((ran.code, ran.stdout.as_str(), fetched(&ran)), (0, "", lines.iter().map(String::as_str).collect()));
    let sizes = ITEMS.map(|item| fs::metadata(world.path("mirror").join(item.place(item.version()))).unwrap().len());
    let size = kib(sizes.iter().sum());
    assert_eq!(rest(&ran), [format!("6 files are in the cache ({size}); fetched 6 of them now ({size})")]);
    let blobs: Vec<_> = world.tree("cache").into_iter().filter(|(_, file)| file.mode == 0o100_444).collect();
    let mut wanted = ITEMS.map(|item| world.cached(item));
    wanted.sort();
    assert_eq!(blobs.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), wanted);
    for (name, _) in &blobs {
        assert_eq!(format!("cache/blobs/sha256/{}", world.sha256(name)), *name);
    }
    let before = world.tree("cache");
    assert_eq!(world.run(&["fetch"]), Ran::ok("", format!("6 files are in the cache ({size})\n")));
    assert_eq!(world.tree("cache"), before);
}

#[test]
fn a_damaged_file_of_the_cache_is_replaced() {
    let world = World::locked();
    world.must(&["fetch"]);
    let kubelet = world.cached(Item::Kubelet);
    world.chmod(&kubelet, 0o644);
    fs::write(world.path(&kubelet), "damaged").unwrap();
    let offline = Ran::failed(
        1,
        &format!("offline, and the cache lacks kubelet 1.35.1 (amd64), whose copy FOLDER/{kubelet} is damaged"),
        "run `nodebake fetch` without --offline where there is a network or a mirror",
    );
    assert_eq!(world.run(&["build", "--all", "--offline"]), offline);
    let ran = world.must(&["build", "--all"]);
    assert_eq!(fetched(&ran), [done(&world, Item::Kubelet)]);
    assert_eq!(world.cached(Item::Kubelet), kubelet);
    assert_eq!(format!("cache/blobs/sha256/{}", world.sha256(&kubelet)), kubelet);
}

/// As a disk does that gives other bytes than were written: the store has no reason to look.
#[test]
fn a_file_of_the_cache_that_was_verified_is_verified_by_whoever_reads_it() {
    let world = World::locked();
    world.must(&["fetch"]);
    for item in [Item::Kubelet, Item::Containerd] {
        let blob = world.cached(item);
        let path = world.path(&blob);
        world.chmod(&blob, 0o644);
        let mut bytes = fs::read(&path).unwrap();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        fs::write(&path, bytes).unwrap();
        world.vouch(&blob);
        assert_eq!(fetched(&world.must(&["fetch"])), [""; 0]);
        let name = if item == Item::Kubelet { "kubelet 1.35.1" } else { "containerd 2.2.5" };
        let offline = Ran::failed(
            1,
            &format!("offline, and the cache lacks {name} (amd64), whose copy FOLDER/{blob} is damaged"),
            "run `nodebake fetch` without --offline where there is a network or a mirror",
        );
        assert_eq!(world.run(&["build", "--all", "--offline"]), offline);
        assert_eq!(world.tree("build").keys().collect::<Vec<_>>(), ["build"]);
        // It is known to be damaged by now; vouched for once more, it is found out and replaced in one run.
        world.vouch(&blob);
        let ran = world.must(&["build", "--all"]);
        assert_eq!(fetched(&ran), [done(&world, item)]);
        assert_eq!(format!("cache/blobs/sha256/{}", world.sha256(&blob)), blob);
        fs::remove_dir_all(world.path("build")).unwrap();
    }
}

#[test]
fn fetch_kubectl_puts_it_into_the_output() {
    let world = World::locked();
    let said = format!("{}\n", done(&world, Item::Kubectl));
    assert_eq!(world.run(&["fetch", "kubectl", "--out", "tools"]), Ran::ok("tools/kubectl\n", said));
    let kubectl = &world.tree("tools")["tools/kubectl"];
    assert_eq!((kubectl.mode, world.sha256("tools/kubectl")), (0o100_755, world.sha256(&world.cached(Item::Kubectl))));
    // It is a program, and the one that was locked.
    let printed = must(Command::new(world.path("tools/kubectl")).arg("hello"));
    assert_eq!(printed, b"hello\n");
    assert_eq!(world.tree("tools").keys().collect::<Vec<_>>(), ["tools", "tools/kubectl"]);
    let ran = world.run(&["fetch", "kubelet"]);
    let stderr = "error: invalid value 'kubelet' for '[ARTIFACT]'\n  [possible values: kubectl]\n\n  tip: a similar value exists: 'kubectl'\n\n\
                  For more information, try '--help'.\n";
    assert_eq!(ran, Ran { code: 2, stdout: String::new(), stderr: stderr.to_owned() });
}

/// Debian publishes SHA-512 sums only.
#[test]
fn a_disk_too_small_for_the_base_image_is_refused() {
    let world = World::new();
    let sums = crate::mirror::debian(&world.path("mirror"), "20250814-2204", b"Debian");
    world.edit("image: lab-trixie", "image: debian-13");
    world.edit("  disk: 20GiB", "  disk: 2GiB");
    world.must(&["lock"]);
    let end = format!("  size: 6\n  sha512: {}\n  unsigned: upstream publishes no signature\n", &sums[..128]);
    assert!(world.read("nodebake.lock").ends_with(&end));

    let ran = world.run(&["build", "--all"]);
    let error = "error: worker-node-1: a disk of 2147483648 bytes is too small for base image debian-13, which needs \
                 4294967296\n\nhint: raise defaults.disk, or the node's own disk, in the cluster file\n";
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""));
    assert!(ran.stderr.ends_with(error), "{ran:?}");
    assert!(!world.path("build/worker-node-1").exists() && !world.path(".nodebake").exists());
}

/// Every digest that the manifest gives is that of the thing, as tools that are not ours see it.
#[test]
fn the_manifest_tells_what_went_in_and_came_out() {
    let world = World::built();
    let folder = world.path("seed");
    let mut xorriso = Command::new("xorriso");
    xorriso.args(["-osirrox", "on", "-indev"]).arg(world.path("build/worker-node-1/seed.iso"));
    must(xorriso.args(["-extract", "/"]).arg(&folder));
    let mut files = BTreeMap::new();
    for (name, file) in world.tree("seed").into_iter().filter(|(_, file)| file.mode & 0o170_000 == 0o100_000) {
        let digest = world.sha256(&name);
        let name = name.trim_start_matches("seed/");
        let secret = String::from_utf8(file.content).unwrap().contains("PRIVATE KEY");
        match name.strip_prefix("nodebake/root") {
            Some(path) if !secret => files.insert(path.to_owned(), digest),
            Some(_) => None,
            None => files.insert(name.trim_start_matches("nodebake/").to_owned(), digest),
        };
    }
    let artifacts = [Item::BaseImage, Item::CniPlugins, Item::Containerd, Item::Kubelet, Item::Runc].map(|item| {
        let path = world.path("mirror").join(item.place(item.version()));
        json!({
            "kind": item.kind(),
            "version": item.version(),
            "arch": "amd64",
            "from": format!("https://{}", item.place(item.version())),
            "size": fs::metadata(&path).unwrap().len(),
            "checksum": format!("sha256:{}", sha256(&path)),
        })
    });
    let image = |path: &str| {
        json!({
            "file": path.rsplit('/').next().unwrap(),
            "digest": world.sha256(path),
            "size": fs::metadata(world.path(path)).unwrap().len(),
        })
    };
    world.openssl(&["x509", "-in", "ca.pem", "-outform", "DER", "-out", "ca.der"]);
    let certificate = "../.nodebake/identities/worker-node-1/cert.pem";
    let serial = world.openssl(&["x509", "-in", certificate, "-noout", "-serial"]);
    let date = |which: &str| {
        let printed = world.openssl(&["x509", "-in", certificate, "-noout", which, "-dateopt", "iso_8601"]);
        printed.trim().split_once('=').unwrap().1.replace(' ', "T")
    };
    let meta_data: Value = serde_yaml::from_str(&world.read("build/worker-node-1/meta-data")).unwrap();
    let wanted = json!({
        "apiVersion": "nodebake/v1",
        "cluster": "seed",
        "ca": world.sha256("pki/ca.der"),
        "node": "worker-node-1",
        "artifacts": artifacts,
        "certificate": {
            "serial": serial.trim_start_matches("serial=").trim().to_lowercase(),
            "names": ["worker-node-1", "10.0.0.36"],
            "issuer": "C=DE, O=Kubernetes, OU=CA, CN=Kubernetes CA",
            "notBefore": date("-startdate"),
            "notAfter": date("-enddate"),
            "broughtAlong": false,
            "rotates": [],
        },
        "instanceId": meta_data["instance-id"],
        "files": files,
        "payload": image(&world.payload("build")),
        "seed": image("build/worker-node-1/seed.iso"),
    });
    let found: Value = serde_json::from_str(&world.read("build/worker-node-1/manifest.json")).unwrap();
    assert_eq!(found, wanted);
}
