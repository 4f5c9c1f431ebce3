//! Disks that are full: a clear error, nothing half left, and success once there is space.
//!
//! The disk is a small tmpfs in a mount namespace of its own, so the tests need root, or user namespaces.

use std::fs;
use std::process::Command;

use crate::mirror::{self, Item};
use crate::world::{Ran, World, must};

/// Words of a shell that runs the program twice with a tmpfs on a folder: as small as the options say, then of 64 MiB.
/// What is in NAME.fill is put into it first. What it holds is copied to copy-1 and copy-2; what the program says stands
/// in stdout-1, stderr-1, and so on.
const SCRIPT: &str = r#"
folder=$1 options=$2; shift 2
mkdir -p "$folder" || exit 99
mount -t tmpfs -o "mode=0755,$options" none "$folder" || exit 99
[ ! -e "$folder.fill" ] || cp -a "$folder.fill/." "$folder" || exit 99
for run in 1 2; do
  "$@" >"stdout-$run" 2>"stderr-$run"
  echo $? >"code-$run"
  mkdir "copy-$run" && cp -a "$folder/." "copy-$run" || exit 99
  mount -o remount,size=64m "$folder" || exit 99
done
"#;

/// Bytes of a tmpfs are counted in pages.
const PAGE: u64 = 4096;

fn pages(bytes: u64) -> u64 {
    bytes.div_ceil(PAGE) * PAGE
}

/// Both runs.
fn run(world: &World, folder: &str, size: u64, arguments: &[&str]) -> [Ran; 2] {
    let root = must(Command::new("id").arg("-u")) == b"0\n";
    let namespace = if root { "-m" } else { "-rm" };
    let size = format!("size={size}");
    let mut command = world.command(&["unshare", namespace, "sh", "-c", SCRIPT, "sh", folder, &size]);
    must(command.args(arguments));
    [1, 2].map(|run| {
        let said = |stream| world.read(&format!("{stream}-{run}")).replace(world.path("").to_str().unwrap(), "FOLDER/");
        let code = world.read(&format!("code-{run}")).trim().parse().unwrap();
        Ran { code, stdout: said("stdout"), stderr: said("stderr") }
    })
}

/// Names in a copy.
fn names(world: &World, copy: &str) -> Vec<String> {
    world
        .tree(copy)
        .into_keys()
        .filter_map(|name| Some(name.strip_prefix(copy)?.strip_prefix('/')?.to_owned()))
        .collect()
}

const OUTPUT_HINT: &str = "make space on the disk of the output folder, or choose another with --out";
const HINT: &str = "make space on that disk, then run the command again";
const FULL: &str = "No space left on device (os error 28)";

#[test]
fn a_full_store_is_told() {
    let world = World::locked();
    let [first, second] = run(&world, "cache", 4 * PAGE, &["fetch", "kubectl"]);
    let blob = world.cached(Item::Kubectl);
    let hint = "make space, or give another folder with --cache-dir or NODEBAKE_CACHE_DIR; then run it again";
    let error = format!("cannot store kubectl 1.35.1 (amd64): no space is left for FOLDER/{blob}.part");
    assert_eq!(first, Ran::failed(1, &error, hint));
    let blobs =
        |copy| names(&world, copy).into_iter().filter(|name| name.starts_with("blobs/sha256/")).collect::<Vec<_>>();
    assert_eq!(blobs("copy-1"), [""; 0]);
    assert_eq!((second.code, second.stdout.as_str()), (0, "build/kubectl\n"));
    let blob = blob.strip_prefix("cache/").unwrap();
    assert_eq!(blobs("copy-2"), [blob.to_owned(), format!("{blob}.verified")]);
    assert!(fs::read(world.path("copy-2").join(blob)).unwrap() == mirror::content(Item::Kubectl));
}

/// However much of it fits: what is in the store is whole, and the next run brings the rest.
#[test]
fn a_store_of_any_size_is_never_half_filled() {
    for size in [8, 16, 40, 100] {
        let world = World::locked();
        let [first, second] = run(&world, "cache", size * PAGE, &["fetch"]);
        assert_eq!((first.code, second.code), (1, 0), "{first:?}{second:?}");
        assert!(first.stderr.contains("no space is left for FOLDER/cache/"), "{first:?}");
        for (name, file) in world.tree("copy-1/blobs/sha256").into_iter().skip(1) {
            let name = name.rsplit('/').next().unwrap();
            let whole = world.sha256(&format!("copy-1/blobs/sha256/{name}")) == name;
            assert!(whole || (name.ends_with(".verified") && file.content.len() < 200), "{name} with {size} pages");
        }
    }
}

#[test]
fn a_full_output_folder_is_told() {
    let alone = World::built();
    let there = names(&alone, "build");
    let size = |name: &str| fs::metadata(alone.path(name)).unwrap().len();
    let payload = pages(size(&alone.payload("build")));
    let seed = pages(size("build/worker-node-1/seed.iso"));
    let sidecar = alone.payload("build").replace(".iso", ".json");
    // So many names of `there` are left by the first run: payload, sidecar, the node's folder, its files.
    for (size, left, error, hint) in [
        (payload / 2, 0, "cannot write the payload in build: cannot write the image", OUTPUT_HINT),
        (payload, 0, &format!("cannot write {sidecar}"), OUTPUT_HINT),
        (payload + PAGE + seed / 2, 2, "cannot write build/worker-node-1/seed.iso", OUTPUT_HINT),
        (payload + PAGE + seed, 3, "cannot write build/worker-node-1/user-data", HINT),
    ] {
        let world = World::locked();
        world.must(&["fetch"]);
        let [first, second] = run(&world, "build", size, &["build", "--all"]);
        let not_said = |line: &&str| !line.starts_with("bake ") && !line.contains(": issued a certificate");
        let stderr = first.stderr.split_inclusive('\n').filter(not_said).collect();
        assert_eq!(Ran { stderr, ..first }, Ran::failed(1, &format!("{error}: {FULL}"), hint));
        let files =
            |copy| -> Vec<_> { names(&world, copy).into_iter().filter(|name| *name != "worker-node-1").collect() };
        let wanted: Vec<_> = there.iter().filter(|name| *name != "worker-node-1" && *name != "worker-node-2").collect();
        let seed = there.iter().position(|name| name == "worker-node-1/seed.iso").unwrap();
        let whole: Vec<_> = [0, 1, seed].into_iter().take(left).map(|at| there[at].clone()).collect();
        assert_eq!(files("copy-1"), whole);
        assert_eq!(second.code, 0, "{second:?}");
        let second: Vec<_> = files("copy-2").into_iter().filter(|name| name != "worker-node-2").collect();
        assert_eq!(second.iter().collect::<Vec<_>>(), wanted);
    }
}

/// The pair that is there stays one, though there is space for one more file.
#[test]
fn a_full_state_folder_leaves_the_identities_that_are_there() {
    let world = World::built();
    let pair = |folder: &str| ["cert.pem", "key.pem"].map(|name| world.read(&format!("{folder}/worker-node-1/{name}")));
    fs::rename(world.path(".nodebake"), world.path(".nodebake.fill")).unwrap();
    world.edit("address: 10.0.0.36", "address: 10.0.0.46");
    let [first, second] = run(&world, ".nodebake", 5 * PAGE, &["build", "--all"]);
    let error = format!("cannot write FOLDER/.nodebake/identities/worker-node-1/cert.pem: {FULL}");
    assert_eq!(first, Ran::failed(1, &error, HINT));
    assert_eq!(pair("copy-1/identities"), pair(".nodebake.fill/identities"));
    assert_eq!(names(&world, "copy-1"), names(&world, ".nodebake.fill"));
    assert_eq!(second.code, 0, "{second:?}");
    assert_ne!(pair("copy-2/identities"), pair(".nodebake.fill/identities"));
    assert_eq!(names(&world, "copy-2"), names(&world, ".nodebake.fill"));
}

#[test]
fn a_full_cluster_folder_is_told() {
    let world = World::new();
    fs::create_dir(world.path("cluster.fill")).unwrap();
    fs::rename(world.path("nodebake.yaml"), world.path("cluster.fill/nodebake.yaml")).unwrap();
    let size = pages(fs::metadata(world.path("cluster.fill/nodebake.yaml")).unwrap().len());
    let [first, second] = run(&world, "cluster", size, &["--config", "cluster/nodebake.yaml", "lock"]);
    let stderr = first.stderr.split_inclusive('\n').filter(|line| !line.starts_with("lock")).collect();
    let error = format!("cannot write FOLDER/cluster/nodebake.lock: {FULL}");
    assert_eq!(Ran { stderr, ..first }, Ran::failed(1, &error, HINT));
    assert_eq!(names(&world, "copy-1"), ["nodebake.yaml"]);
    assert_eq!(second.code, 0, "{second:?}");
    assert_eq!(names(&world, "copy-2"), ["nodebake.lock", "nodebake.yaml"]);
}
