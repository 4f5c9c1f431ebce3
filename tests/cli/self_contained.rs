//! `build --self-contained`: one image that is seed and payload, as others read it; reproducible, small in memory, and
//! known to `verify`.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::process::Command;

use serde_json::Value;

use crate::mirror::{self, Item};
use crate::world::{File as Found, Ran, World, changed, kib, must, seed_files};

const IMAGE: &str = "build/worker-node-1/self-contained.iso";
const MANIFEST: &str = "build/worker-node-1/self-contained.json";
const PROVENANCE: [&str; 2] = [
    "build/worker-node-1/worker-node-1.self-contained.intoto.json",
    "build/worker-node-1/worker-node-1.self-contained.spdx.json",
];
const BUILD: [&str; 3] = ["build", "--self-contained", "worker-node-1"];

fn size(world: &World, name: &str) -> u64 {
    fs::metadata(world.path(name)).unwrap().len()
}

fn baked(world: &World) -> String {
    format!("bake self-contained.iso of worker-node-1: done ({})\n", kib(size(world, &world.payload("build"))))
}

fn mac(world: &World) -> String {
    let path = "/nodebake/root/etc/systemd/network/05-nodebake.network";
    let text = String::from_utf8(inside(world, IMAGE, path)).unwrap();
    text.lines().find_map(|line| line.strip_prefix("PermanentMACAddress=")).unwrap().to_owned()
}

/// What `build` prints, as `word` says of the payload and of the node.
fn table(world: &World, payload: &str, node: &str) -> String {
    let image = world.payload("build");
    let width = image.len().max(IMAGE.len());
    let row = |what: &str, path: &str, word: &str| {
        format!("{what:13}   {path:width$}   sha256:{}   {word}\n", world.sha256(path))
    };
    row("payload", &image, payload) + &row("worker-node-1", IMAGE, node)
}

fn next(world: &World) -> String {
    format!("worker-node-1: its network card must have the address {}\n", mac(world))
}

/// One file of an image, by isoinfo.
fn inside(world: &World, image: &str, path: &str) -> Vec<u8> {
    must(Command::new("isoinfo").args(["-R", "-x", path, "-i"]).arg(world.path(image)))
}

/// Mode and content by path below a folder of an image, as xorriso takes them out.
fn extracted(world: &World, image: &str, folder: &str) -> BTreeMap<String, (u32, Vec<u8>)> {
    let to = tempfile::tempdir_in(world.path("")).unwrap();
    let name = to.path().file_name().unwrap().to_str().unwrap().to_owned() + "/tree";
    let mut xorriso = Command::new("xorriso");
    xorriso.args(["-osirrox", "on", "-indev"]).arg(world.path(image));
    must(xorriso.args(["-extract", folder]).arg(world.path(&name)));
    let strip = |(path, file): (String, Found)| (path.replacen(&name, "", 1), (file.mode, file.content));
    world.tree(&name).into_iter().map(strip).collect()
}

#[test]
fn one_image_holds_the_seed_and_the_payload() {
    let world = World::locked();
    let ran = world.run(&BUILD);
    let said: String = ran.stderr.split_inclusive('\n').filter(|line| !line.starts_with("fetch ")).collect();
    let inputs = [Item::CniPlugins, Item::Containerd, Item::Kubelet, Item::Runc];
    let payload_inputs = inputs.map(|item| size(&world, &world.cached(item))).iter().sum::<u64>();
    let wanted = [
        format!("bake payload amd64: done ({})\n", kib(payload_inputs)),
        baked(&world),
        "worker-node-1: issued a certificate\n".to_owned(),
        next(&world),
    ];
    assert_eq!((ran.code, &ran.stdout, said), (0, &table(&world, "made", "made"), wanted.concat()));

    // Nothing else is made: a machine of one drive needs no more.
    let payload = world.payload("build");
    let files = world.tree("build").into_iter().map(|(name, file)| (name, file.mode)).collect::<Vec<_>>();
    let wanted = [
        ("build", 0o040_755),
        (&payload, 0o100_644),
        (&payload.replace(".iso", ".json"), 0o100_644),
        ("build/worker-node-1", 0o040_755),
        (IMAGE, 0o100_600),
        (MANIFEST, 0o100_644),
        (PROVENANCE[0], 0o100_644),
        (PROVENANCE[1], 0o100_644),
    ];
    let mut wanted: Vec<_> = wanted.map(|(name, mode)| (name.to_owned(), mode)).into();
    wanted.sort();
    assert_eq!(files, wanted);

    // A second run leaves it alone, also offline.
    let before = world.tree("");
    let again = world.run(&["--offline", "build", "--self-contained", "worker-node-1"]);
    assert_eq!(again, Ran::ok(table(&world, "unchanged", "unchanged"), baked(&world) + &next(&world)));
    assert_eq!(changed(&before, &world.tree("")), [""; 0]);
    assert_eq!(before[IMAGE].stamp, world.tree("")[IMAGE].stamp);
}

#[test]
fn others_read_in_it_what_is_in_both() {
    let world = World::built();
    world.must(&BUILD);
    let label = must(Command::new("blkid").args(["-o", "value", "-s", "LABEL", "-p"]).arg(world.path(IMAGE)));
    assert_eq!(label, b"CIDATA\n");
    let payload = extracted(&world, &world.payload("build"), "/");
    assert_eq!(payload.keys().filter(|path| path.starts_with("/bin/") || path.starts_with("/cni/")).count(), 9);
    assert_eq!(extracted(&world, IMAGE, "/nodebake/payload"), payload);

    // The rest is the seed's, but for what stands in a mount's place.
    let seed = extracted(&world, "build/worker-node-1/seed.iso", "/");
    let mut image = extracted(&world, IMAGE, "/");
    image.retain(|path, _| !path.starts_with("/nodebake/payload"));
    let paths: std::collections::BTreeSet<_> = seed.keys().chain(image.keys()).collect();
    let differ: Vec<_> = paths.into_iter().filter(|path| seed.get(*path) != image.get(*path)).collect();
    let units = "/nodebake/root/etc/systemd/system";
    assert_eq!(
        differ,
        [
            "/meta-data",
            "/nodebake/first-boot",
            &format!("{units}/containerd.service"),
            &format!("{units}/kubelet.service"),
            &format!("{units}/multi-user.target.wants/opt-nodebake-payload.mount"),
            &format!("{units}/nodebake-report.service"),
            &format!("{units}/opt-nodebake-payload.mount"),
            "/nodebake/root/usr/local/lib/nodebake/report",
        ]
    );
}

#[test]
fn its_manifest_is_that_of_the_node_with_this_image() {
    let world = World::built();
    world.must(&BUILD);
    let load = |name: &str| -> Value { serde_json::from_str(&world.read(name)).unwrap() };
    let (mut found, mut wanted) = (load(MANIFEST), load("build/worker-node-1/manifest.json"));
    let meta_data: Value = serde_yaml::from_slice(&inside(&world, IMAGE, "/meta-data")).unwrap();
    wanted["instanceId"] = meta_data["instance-id"].clone();
    wanted["seed"] = serde_json::json!({
        "file": "self-contained.iso",
        "digest": world.sha256(IMAGE),
        "size": size(&world, IMAGE),
    });
    let files = found["files"].take();
    let mut others = 0;
    for (path, digest) in files.as_object().unwrap() {
        let place = if path.starts_with('/') { format!("/nodebake/root{path}") } else { format!("/{path}") };
        let place = if path == "first-boot" { "/nodebake/first-boot".to_owned() } else { place };
        let bytes = inside(&world, IMAGE, &place);
        assert_eq!(digest, &Value::from(nodebake::digest::Digest::of(&bytes).to_string()), "{path}");
        others += usize::from(wanted["files"][path] != *digest);
    }
    assert_eq!((others, files.as_object().unwrap().len()), (6, wanted["files"].as_object().unwrap().len() - 1));
    wanted["files"].take();
    assert_eq!(found, wanted);
}

#[test]
fn the_surroundings_change_no_byte_of_it() {
    let world = World::locked();
    world.must(&BUILD);
    let first = world.tree("build");
    fs::remove_dir_all(world.path("build")).unwrap();
    let script = "umask 077; exec taskset -c 0 faketime -f +30d \"$0\" \"$@\"";
    let mut command = world.command(&["sh", "-c", script]);
    assert_eq!(world.run_command(command.env("TZ", "Asia/Tokyo").env("LC_ALL", "tr_TR.UTF-8").args(BUILD)).code, 0);
    assert_eq!(changed(&first, &world.tree("build")), [""; 0]);
    // And a seed beside it changes nothing in it, nor it in the seed.
    world.must(&["build", "--all"]);
    world.must(&BUILD);
    let both = world.tree("build");
    let (image, manifest) =
        (both[IMAGE].content == first[IMAGE].content, both[MANIFEST].content == first[MANIFEST].content);
    assert!(image && manifest);
    assert_eq!(world.must(&["build", "--all"]).stdout.matches("unchanged").count(), 3);
}

#[test]
fn verify_makes_it_again() {
    let world = World::locked();
    world.must(&["fetch"]);
    world.must(&BUILD);
    let verify = || world.run(&["verify", "--images", "worker-node-1"]);
    let rows = |ran: &Ran| {
        let cells = |line: &str| {
            let cells: Vec<_> = line.split("   ").map(str::trim).filter(|cell| !cell.is_empty()).collect();
            (cells[0].to_owned(), cells[1].to_owned(), cells[3].to_owned())
        };
        ran.stdout.lines().map(cells).filter(|(what, ..)| what == "worker-node-1").collect::<Vec<_>>()
    };
    let row = |place: &str, result: &str| ("worker-node-1".to_owned(), place.to_owned(), result.to_owned());
    let all =
        |image: &str| vec![row(IMAGE, image), row(MANIFEST, "ok"), row(PROVENANCE[0], "ok"), row(PROVENANCE[1], "ok")];
    let ran = verify();
    assert_eq!((ran.code, rows(&ran)), (0, all("ok")), "{ran:?}");

    let file = File::options().read(true).write(true).open(world.path(IMAGE)).unwrap();
    let end = size(&world, IMAGE);
    let bytes = fs::read(world.path(IMAGE)).unwrap();
    let kubelet = memchr::memmem::find(&bytes, &mirror::program("true")).unwrap() as u64 + 5000;
    assert!(kubelet < end);
    file.write_all_at(&[bytes[usize::try_from(kubelet).unwrap()] ^ 1], kubelet).unwrap();
    let ran = verify();
    assert_eq!((ran.code, rows(&ran)), (4, all("differs")), "{ran:?}");
    let hint = "run `nodebake build --self-contained`";
    assert!(ran.stderr.ends_with(&format!("hint: {hint}\n")), "{ran:?}");
    assert!(ran.stderr.contains(&format!("error: {IMAGE}: /nodebake/payload/")), "{ran:?}");
    // As it says.
    assert!(world.must(&BUILD).stdout.ends_with("   made\n"));
    assert_eq!(verify().code, 0);

    // With a seed beside it both are looked at.
    world.must(&["build", "worker-node-1"]);
    let ran = verify();
    let mut wanted: Vec<_> = seed_files("worker-node-1").map(|file| row(&file, "ok")).into();
    wanted.extend(all("ok"));
    assert_eq!((ran.code, rows(&ran)), (0, wanted), "{ran:?}");
}

#[test]
fn a_payload_that_changed_in_the_output_is_not_taken_over() {
    let world = World::built();
    let payload = world.payload("build");
    let file = File::options().read(true).write(true).open(world.path(&payload)).unwrap();
    let wanted = world.sha256(&payload);
    file.write_all_at(b"?", 40_000).unwrap();
    let error = format!("{payload} has changed: its digest is sha256:{}, not sha256:{wanted}", world.sha256(&payload));
    let hint = format!("remove {payload}, then run `nodebake build` again");
    assert_eq!(world.run(&BUILD), Ran::failed(4, &error, &hint));
    assert!(!world.path(IMAGE).exists());
    fs::remove_file(world.path(&payload)).unwrap();
    world.must(&BUILD);
}

#[test]
fn the_disk_must_hold_the_payload_too() {
    let world = World::new();
    mirror::debian(&world.path("mirror"), "20250814-2204", b"Debian");
    world.edit("image: lab-trixie", "image: debian-13");
    world.edit("  disk: 20GiB", "  disk: 4GiB");
    world.must(&["lock"]);
    world.must(&["build", "worker-node-1"]);
    let payload = size(&world, &world.payload("build"));
    let error = format!(
        "worker-node-1: a disk of 4294967296 bytes is too small for base image debian-13, which needs 4294967296 and \
         {payload} more for its payload"
    );
    let hint = "raise defaults.disk, or the node's own disk, in the cluster file";
    assert_eq!(world.run(&BUILD), Ran::failed(2, &error, hint));
}

/// In KiB, the most that a run of the program had in memory.
fn peak(world: &World) -> u64 {
    let mut command = world.command(&["/usr/bin/time", "-q", "-f", "%M", "-o", "peak"]);
    let ran = world.run_command(command.args(BUILD));
    assert_eq!(ran.code, 0, "{ran:?}");
    world.read("peak").trim().parse().unwrap()
}

/// The program itself takes tens of MiB where it is not optimized, so runs are compared with each other.
#[test]
fn a_large_payload_is_not_held_in_memory() {
    const LARGE: u64 = 40 << 20;
    let small = World::locked();
    let world = World::new();
    let large = File::create(world.path("large")).unwrap();
    large.write_all_at(&mirror::program("true"), 0).unwrap();
    large.set_len(LARGE).unwrap();
    let digest = world.sha256("large");
    let own = format!("\nartifacts:\n  - {{kind: binary, name: large, path: large, sha256: {digest}}}\n");
    world.edit("\nartifacts:\n", &own);
    world.must(&["lock"]);
    // From the archives, then from the payload that stands in the output.
    for _ in 0..2 {
        let (usual, found) = (peak(&small), peak(&world));
        assert!(found < usual + (8 << 10), "{found} KiB, not {usual}");
        assert!(size(&world, IMAGE) > LARGE);
        for world in [&small, &world] {
            fs::remove_file(world.path(IMAGE)).unwrap();
        }
    }
}
