//! `verify`: what is built, cached and running, against what would be built now.

use std::fs;
use std::process::Command;

use crate::machines::with_machines;
use crate::mirror::Item;
use crate::world::{Ran, World, changed, must, seed_files};

const NODES: [&str; 2] = ["worker-node-1", "worker-node-2"];
const INPUTS: [Item; 4] = [Item::Kubelet, Item::Containerd, Item::Runc, Item::CniPlugins];
const BUILD: &str = "run `nodebake build`";
const REBUILD: &str = "`nodebake rebuild NODE` makes a machine anew, with its volumes";

/// Built, with everything in the cache.
fn world() -> World {
    let world = World::built();
    world.must(&["fetch"]);
    world
}

/// The rows of everything that is built, each with its result.
fn rows(world: &World, result: impl Fn(&str) -> &'static str) -> Vec<[String; 4]> {
    let mut rows = vec![["WHAT", "WHERE", "DIGEST", "RESULT"].map(str::to_owned)];
    for item in INPUTS.into_iter().chain([Item::BaseImage]) {
        let name = world.cached(item);
        let digest = format!("sha256:{}", name.rsplit('/').next().unwrap());
        let what = format!("{} {} (amd64)", item.kind(), item.version());
        rows.push([what, format!("FOLDER/{name}"), digest, result(&name).to_owned()]);
    }
    let payload = world.payload("build");
    let mut files = vec![("payload (amd64)", payload.clone()), ("payload (amd64)", payload.replace(".iso", ".json"))];
    files.extend(NODES.iter().flat_map(|node| seed_files(node).map(|file| (*node, file))));
    for (what, name) in files {
        let digest = format!("sha256:{}", world.sha256(&name));
        rows.push([what.to_owned(), name.clone(), digest, result(&name).to_owned()]);
    }
    rows
}

/// As the program prints rows; FOLDER is shorter than what it stands for, so the second column is compared without its
/// padding.
fn printed(ran: &Ran) -> Vec<[String; 4]> {
    let cells = |line: &str| {
        let cells: Vec<_> =
            line.split("   ").map(str::trim).filter(|cell| !cell.is_empty()).map(str::to_owned).collect();
        cells.try_into().unwrap()
    };
    ran.stdout.lines().map(cells).collect()
}

/// Lines of stderr without those of finished work.
fn said(ran: &Ran) -> String {
    ran.stderr.split_inclusive('\n').filter(|line| !line.contains(": done (")).collect()
}

fn errors(errors: &[String], hint: &str) -> String {
    let lines: Vec<_> = errors.iter().map(|error| format!("error: {error}\n")).collect();
    format!("{}\nhint: {hint}\n", lines.concat())
}

#[test]
fn what_is_right_is_said_to_be() {
    let world = world();
    fs::create_dir(world.path("tmp")).unwrap();
    let before = world.tree("");
    let ran = world.run_command(world.command(&[]).env("TMPDIR", world.path("tmp")).arg("verify"));
    assert_eq!((ran.code, said(&ran).as_str()), (0, "no machine of these nodes is there\n"));
    assert_eq!(printed(&ran), rows(&world, |_| "ok"));
    let mut names: Vec<_> =
        ran.stderr.lines().filter_map(|line| line.split_once(": done (")).map(|(name, _)| name).collect();
    names.sort_unstable();
    let wanted = [
        "bake payload amd64",
        "hash base-image lab-trixie",
        "hash cni-plugins 1.9.0",
        "hash containerd 2.2.5",
        "hash kubelet 1.35.1",
        "hash runc 1.3.6",
    ];
    assert_eq!(names, wanted);
    // Nothing was written, and nothing is left of the scratch folder; the folder that it stood in has another time.
    let after = world.tree("");
    assert_eq!(changed(&before, &after), [""; 0]);
    let stamps = |tree: &crate::world::Tree| {
        tree.iter()
            .filter(|(name, _)| *name != "tmp")
            .map(|(name, file)| (name.clone(), file.stamp))
            .collect::<Vec<_>>()
    };
    assert_eq!(stamps(&before), stamps(&after));

    // One node alone, and without asking libvirt.
    world.edit("uri: test:///default", "uri: qemu+unix:///system?socket=/nonexistent");
    let ran = world.run(&["verify", "--images", "worker-node-2"]);
    let one: Vec<_> = rows(&world, |_| "ok").into_iter().filter(|row| row[0] != "worker-node-1").collect();
    assert_eq!((ran.code, said(&ran).as_str(), printed(&ran)), (0, "", one));
    let hint = "`nodebake hosts` lists the nodes";
    let error = "the cluster file has no node worker-node-3; did you mean worker-node-1?";
    assert_eq!(world.run(&["verify", "worker-node-3"]), Ran::failed(2, error, hint));
}

#[test]
fn a_libvirt_that_does_not_answer_is_told_after_the_images() {
    let world = world();
    world.edit("uri: test:///default", "uri: qemu+unix:///system?socket=/nonexistent");
    let unreachable = "libvirt does not answer at qemu+unix:///system?socket=/nonexistent: Failed to connect socket to \
                       '/nonexistent': No such file or directory";
    let ran = world.run(&["verify"]);
    let hint = "install libvirt-daemon-system and qemu-system, then: systemctl enable --now libvirtd";
    assert_eq!((ran.code, said(&ran)), (1, errors(&[unreachable.to_owned()], hint)));
    assert_eq!(printed(&ran), rows(&world, |_| "ok"));
    // What differs weighs more.
    fs::remove_file(world.path("build/worker-node-1/user-data")).unwrap();
    let ran = world.run(&["verify"]);
    let lines = errors(&["build/worker-node-1/user-data: not built".to_owned()], BUILD);
    assert_eq!((ran.code, said(&ran)), (4, format!("warning: {unreachable}\n{lines}")));
}

#[test]
fn what_is_not_built_is_told_and_no_identity_is_issued() {
    let world = World::locked();
    let lacks = "the cache lacks kubelet 1.35.1 (amd64), containerd 2.2.5 (amd64), runc 1.3.6 (amd64), cni-plugins \
                 1.9.0 (amd64)";
    assert_eq!(world.run(&["verify"]), Ran::failed(1, lacks, "run `nodebake fetch`"));
    world.must(&["fetch"]);
    let ran = world.run(&["verify", "--images"]);
    let payload = printed(&ran)[6][1].clone();
    let places = [
        payload.clone(),
        payload.replace(".iso", ".json"),
        "build/worker-node-1".to_owned(),
        "build/worker-node-2".to_owned(),
    ];
    assert_eq!((ran.code, said(&ran)), (4, errors(&places.clone().map(|place| format!("{place}: not built")), BUILD)));
    let results: Vec<_> = printed(&ran).into_iter().skip(6).map(|[_, place, _, result]| (place, result)).collect();
    assert_eq!(results, places.map(|place| (place, "not built".to_owned())));
    assert!(!world.path("build").exists() && !world.path(".nodebake").exists());
    // The name that was foretold.
    world.must(&["build", "worker-node-1"]);
    assert_eq!(world.payload("build"), payload);
    let ran = world.run(&["verify", "--images"]);
    assert_eq!((ran.code, said(&ran)), (4, errors(&["build/worker-node-2: not built".to_owned()], BUILD)));
}

/// Where the data of a file begins in an image, by a program that is not ours.
fn data_of(world: &World, image: &str, file: &str) -> usize {
    let mut xorriso = Command::new("xorriso");
    xorriso.args(["-indev"]).arg(world.path(image)).args(["-find", file, "-exec", "report_lba"]);
    let report = String::from_utf8(must(&mut xorriso)).unwrap();
    let line = report.lines().find(|line| line.starts_with("File data lba:")).unwrap();
    line.split(',').nth(1).unwrap().trim().parse::<usize>().unwrap() * 2048
}

fn find(bytes: &[u8], text: &[u8]) -> usize {
    memchr::memmem::find(bytes, text).unwrap()
}

/// Where the mode stands in the kubelet's record in a payload, in both byte orders: behind the four bytes that begin its
/// PX field, before its name in an NM field.
fn mode_of_kubelet(bytes: &[u8]) -> usize {
    let name = find(bytes, b"NM\x0c\x01\0kubelet");
    memchr::memmem::rfind(&bytes[..name], b"PX\x2c\x01").unwrap() + 4
}

type Damage<'a> = Box<dyn Fn(&mut Vec<u8>) + 'a>;

/// Number of the line that a byte stands in.
fn line(text: &[u8], at: usize) -> usize {
    text[..at].split(|byte| *byte == b'\n').count()
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of all that can differ")]
fn the_first_difference_is_named() {
    let world = world();
    let payload = world.payload("build");
    let sidecar = payload.replace(".iso", ".json");
    let (seed, node) = ("build/worker-node-1/seed.iso", "build/worker-node-1");
    let kubelet = data_of(&world, &payload, "/bin/kubelet");
    let config = data_of(&world, seed, "/nodebake/root/etc/kubernetes/kubelet-config.yaml");
    let size = |name: &str| fs::metadata(world.path(name)).unwrap().len();
    let again = format!("remove {payload}, then run `nodebake build`");
    let flip = |at: usize| -> Damage { Box::new(move |bytes| bytes[at] ^= 1) };
    let manifest = fs::read(world.path(&format!("{node}/manifest.json"))).unwrap();
    let config_text = &fs::read(world.path(seed)).unwrap()[config..];
    let user_data = fs::read(world.path(&format!("{node}/user-data"))).unwrap();
    let key = {
        let bytes = fs::read(world.path(seed)).unwrap();
        find(&bytes, b"PRIVATE KEY-----\n") + 20
    };
    let xorriso_key = {
        let mut xorriso = Command::new("xorriso");
        xorriso.arg("-indev").arg(world.path(seed)).args(["-find", "/nodebake", "-name", "*key*"]);
        String::from_utf8(must(&mut xorriso))
            .unwrap()
            .lines()
            .find(|line| line.starts_with("'/"))
            .unwrap()
            .trim_matches('\'')
            .to_owned()
    };
    let mode = mode_of_kubelet(&fs::read(world.path(&payload)).unwrap());
    let cases: Vec<(&str, &str, Damage, String, &str)> = vec![
        (
            "a program's byte",
            &payload,
            flip(kubelet + 4711),
            format!("{payload}: /bin/kubelet: content differs at byte 4711"),
            &again,
        ),
        (
            "its mode",
            &payload,
            Box::new(|bytes| {
                bytes[mode] ^= 4;
                bytes[mode + 7] ^= 4;
            }),
            format!("{payload}: /bin/kubelet: mode differs"),
            &again,
        ),
        (
            "its mode in one byte order",
            &payload,
            flip(mode),
            format!("{payload}: the image is malformed in /bin: a wrong PX field; content differs at byte {mode}"),
            &again,
        ),
        (
            "its owner",
            &payload,
            Box::new(|bytes| {
                bytes[mode + 16] ^= 1;
                bytes[mode + 23] ^= 1;
            }),
            format!("{payload}: /bin/kubelet: owner differs"),
            &again,
        ),
        (
            "the manifest in it",
            &payload,
            Box::new(|bytes| {
                let at = find(bytes, b"\"arch\": \"amd64\"") + 9;
                bytes[at] = b'b';
            }),
            format!("{payload}: /payload.json: content differs in arch"),
            &again,
        ),
        (
            "the label",
            &payload,
            flip(16 * 2048 + 40),
            format!("{payload}: the label: content differs at byte 32808"),
            &again,
        ),
        (
            "the date",
            &payload,
            Box::new(|bytes| bytes[16 * 2048 + 833] = if bytes[16 * 2048 + 833] == b'1' { b'2' } else { b'1' }),
            format!("{payload}: the modification date: content differs at byte 33601"),
            &again,
        ),
        (
            "the system area",
            &payload,
            flip(100),
            format!("{payload}: the system area: content differs at byte 100"),
            &again,
        ),
        (
            "no descriptor",
            &payload,
            flip(16 * 2048 + 1),
            format!(
                "{payload}: the image is malformed: no primary volume descriptor in block 16; content differs at byte 32769"
            ),
            &again,
        ),
        (
            "cut off",
            &payload,
            Box::new(|bytes| bytes.truncate(100_000)),
            format!("{payload}: size is 100000 bytes, not {}", size(&payload)),
            &again,
        ),
        (
            "longer",
            &payload,
            Box::new(|bytes| bytes.push(0)),
            format!("{payload}: size is {} bytes, not {}", size(&payload) + 1, size(&payload)),
            &again,
        ),
        (
            "empty",
            &payload,
            Box::new(Vec::clear),
            format!("{payload}: size is 0 bytes, not {}", size(&payload)),
            &again,
        ),
        (
            "what stands beside it",
            &sidecar,
            Box::new(|bytes| {
                let at = find(bytes, b"amd64");
                bytes[at] = b'b';
            }),
            format!("{sidecar}: content differs in arch"),
            "",
        ),
        (
            "a config in a seed",
            seed,
            flip(config + 300),
            format!(
                "{seed}: /nodebake/root/etc/kubernetes/kubelet-config.yaml: content differs in line {}",
                line(config_text, 300)
            ),
            BUILD,
        ),
        (
            "a key in a seed",
            seed,
            Box::new(|bytes| bytes[key] = if bytes[key] == b'A' { b'B' } else { b'A' }),
            format!("{seed}: {xorriso_key}: content differs in line 2"),
            BUILD,
        ),
        (
            "a text",
            "build/worker-node-1/user-data",
            flip(200),
            format!("{node}/user-data: content differs in line {}", line(&user_data, 200)),
            BUILD,
        ),
        (
            "a text without its end",
            "build/worker-node-1/user-data",
            Box::new(|bytes| bytes.truncate(200)),
            format!("{node}/user-data: content differs in line {}", line(&user_data, 200)),
            BUILD,
        ),
        (
            "no text",
            "build/worker-node-1/meta-data",
            Box::new(|bytes| *bytes = vec![0xff; 3]),
            format!("{node}/meta-data: content differs in line 1"),
            BUILD,
        ),
        (
            "a field",
            "build/worker-node-1/manifest.json",
            Box::new(|bytes| {
                let at = find(bytes, b"\"size\": ") + 8;
                bytes[at] = if bytes[at] == b'1' { b'2' } else { b'1' };
            }),
            format!("{node}/manifest.json: content differs in artifacts[0].size"),
            BUILD,
        ),
        (
            "spaces alone",
            "build/worker-node-1/manifest.json",
            Box::new(|bytes| bytes.push(b'\n')),
            format!("{node}/manifest.json: content differs in line {}", line(&manifest, manifest.len())),
            BUILD,
        ),
    ];
    for (what, name, damage, error, hint) in cases {
        let path = world.path(name);
        let right = fs::read(&path).unwrap();
        let mut bytes = right.clone();
        damage(&mut bytes);
        assert_ne!(bytes, right, "{what}");
        fs::write(&path, &bytes).unwrap();
        let ran = world.run(&["verify", "--images"]);
        let hint = if hint.is_empty() { format!("remove {name}, then run `nodebake build`") } else { hint.to_owned() };
        assert_eq!((ran.code, said(&ran)), (4, errors(&[error], &hint)), "{what}");
        fs::write(&path, &right).unwrap();
        assert_eq!(printed(&ran), rows(&world, |row| if row == name { "differs" } else { "ok" }), "{what}");
    }
    assert_eq!(world.run(&["verify", "--images"]).code, 0);
}

#[test]
fn what_is_no_file_or_open_to_others_is_told() {
    let world = world();
    let payload = world.payload("build");
    fs::rename(world.path(&payload), world.path("moved")).unwrap();
    std::os::unix::fs::symlink("../moved", world.path(&payload)).unwrap();
    world.chmod("build/worker-node-1/seed.iso", 0o640);
    world.chmod("build/worker-node-1/user-data", 0o644);
    // What holds no secret may be its owner's alone.
    world.chmod("build/worker-node-1/meta-data", 0o600);
    fs::remove_file(world.path("build/worker-node-2/manifest.json")).unwrap();
    fs::create_dir(world.path("build/worker-node-2/manifest.json")).unwrap();
    let ran = world.run(&["verify", "--images"]);
    let found = [
        format!("{payload}: no regular file"),
        "build/worker-node-1/seed.iso: mode is 0640, not 0600".to_owned(),
        "build/worker-node-1/user-data: mode is 0644, not 0600".to_owned(),
        "build/worker-node-2/manifest.json: no regular file".to_owned(),
    ];
    let hint = format!("remove {payload}, then run `nodebake build`; {BUILD}");
    assert_eq!((ran.code, said(&ran)), (4, errors(&found, &hint)));
}

/// Gives a file of the cache other bytes.
fn damage(world: &World, name: &str) -> String {
    world.chmod(name, 0o644);
    let mut bytes = fs::read(world.path(name)).unwrap();
    bytes[1000] ^= 1;
    fs::write(world.path(name), bytes).unwrap();
    format!("FOLDER/{name}: digest is sha256:{}", world.sha256(name))
}

#[test]
fn damage_in_the_cache_is_found() {
    let world = world();
    let (base, runc) = (world.cached(Item::BaseImage), world.cached(Item::Runc));
    let found = damage(&world, &base);
    let again = |name: &str| format!("remove FOLDER/{name}, then run `nodebake fetch`");
    let ran = world.run(&["verify", "--images"]);
    assert_eq!((ran.code, said(&ran)), (4, errors(std::slice::from_ref(&found), &again(&base))));
    assert_eq!(printed(&ran), rows(&world, |row| if row == base { "differs" } else { "ok" }));

    // Of what goes into a payload: there is nothing to compare the rest with.
    let also = damage(&world, &runc);
    let ran = world.run(&["verify", "--images"]);
    let hint = format!("{}; {}", again(&runc), again(&base));
    assert_eq!((ran.code, said(&ran)), (4, errors(&[also, found], &hint)));
    let rest: Vec<_> = printed(&ran).into_iter().skip(6).map(|row| row.join(" ")).collect();
    let wanted = [
        "payload (amd64) build - not checked: its inputs are damaged",
        "worker-node-1 build/worker-node-1 - not checked: there is no payload",
        "worker-node-2 build/worker-node-2 - not checked: there is no payload",
    ];
    assert_eq!(rest, wanted);

    // Whoever only builds has no base image.
    world.must(&["fetch"]);
    fs::remove_file(world.path(&base)).unwrap();
    let ran = world.run(&["verify", "--images"]);
    let row = printed(&ran).into_iter().find(|row| row[0].starts_with("base-image")).unwrap();
    assert_eq!((ran.code, row[2..].join(" ")), (0, "- not checked: it is not in the cache".to_owned()));
}

#[test]
fn machines_are_held_to_what_would_be_built() {
    let world = world();
    with_machines(&world);
    let ran = world.run(&["verify"]);
    let manifest: serde_json::Value = serde_json::from_str(&world.read("build/worker-node-1/manifest.json")).unwrap();
    let of = |what: &str| manifest[what]["digest"].as_str().unwrap().to_owned();
    let (payload, seed, ca) = (of("payload"), of("seed"), manifest["ca"].as_str().unwrap()[..8].to_owned());
    let other = "0".repeat(64);
    let volume = |name: &str| format!("nodebake/nodebake.{name}");
    let found = [
        format!("domain worker-node-1: base image: digest is sha256:{seed}"),
        format!("domain worker-node-2: payload: digest is sha256:{other}"),
        format!("domain worker-node-2: seed: digest is sha256:{seed}"),
        format!("domain worker-node-2: base image: digest is sha256:{seed}"),
        "domain worker-node-2: definition: changed by hand".to_owned(),
        format!("{}: missing", volume(&format!("payload.{other}.iso"))),
        format!("{}: missing", volume(&format!("payload.{payload}.iso"))),
        format!("{}: missing", volume(&format!("base.{seed}.qcow2"))),
        // libvirt's test driver finds no image in a file that is not there.
        format!("{}: its upload never ended", volume(&format!("seed.{ca}.worker-node-1.seed.{}.iso", &seed[..12]))),
        format!("{}: its upload never ended", volume(&format!("seed.{ca}.worker-node-2.seed.{}.iso", &seed[..12]))),
    ];
    assert_eq!((ran.code, said(&ran)), (4, errors(&found, REBUILD)));
    let base = world.cached(Item::BaseImage).rsplit('/').next().unwrap().to_owned();
    let rows: Vec<_> = printed(&ran).into_iter().skip(24).take(7).map(|row| row.join(" ")).collect();
    let second = world.sha256("build/worker-node-2/seed.iso");
    let wanted = [
        format!("worker-node-1 domain worker-node-1: payload sha256:{payload} ok"),
        format!("worker-node-1 domain worker-node-1: seed sha256:{seed} ok"),
        format!("worker-node-1 domain worker-node-1: base image sha256:{base} differs"),
        format!("worker-node-2 domain worker-node-2: payload sha256:{payload} differs"),
        format!("worker-node-2 domain worker-node-2: seed sha256:{second} differs"),
        format!("worker-node-2 domain worker-node-2: base image sha256:{base} differs"),
        format!("worker-node-2 domain worker-node-2: definition sha256:{other} differs"),
    ];
    assert_eq!(rows, wanted);
}

/// Keys are in it: what a killed run left does not stay, and what a run at work has is not taken from it.
#[test]
fn scratch_folders_of_dead_runs_go() {
    let world = World::built();
    for name in ["tmp/nodebake-verify-dead", "tmp/nodebake-verify-live", "tmp/another"] {
        fs::create_dir_all(world.path(name)).unwrap();
        fs::write(world.path(name).join("seed.iso"), "a key").unwrap();
    }
    let live = fs::File::open(world.path("tmp/nodebake-verify-live")).unwrap();
    live.lock().unwrap();
    let ran = world.run_command(world.command(&[]).env("TMPDIR", world.path("tmp")).args(["verify", "--images"]));
    assert_eq!(ran.code, 0, "{ran:?}");
    let names = world.tree("tmp").into_keys().collect::<Vec<_>>();
    let left =
        ["tmp", "tmp/another", "tmp/another/seed.iso", "tmp/nodebake-verify-live", "tmp/nodebake-verify-live/seed.iso"];
    assert_eq!(names, left);
}
