//! `lock`: what it says and writes, and what happens where it is missing, stale or made from something else.

use std::fmt::Write as _;
use std::fs;

use crate::http;
use crate::mirror::{self, ITEMS, Item};
use crate::world::{Ran, World, kib, sha256};

const STALE: &str = "run `nodebake lock`";
const ODD: &str = "what is published there is not what we know; check the mirror or proxy";

/// Size and SHA-256 of a file of the mirror.
fn facts(world: &World, item: Item) -> (u64, String) {
    let path = world.path("mirror").join(item.place(item.version()));
    (fs::metadata(&path).unwrap().len(), sha256(&path))
}

/// What `lock` prints: kind, version, size, the digest's begin.
fn listing(world: &World) -> String {
    let mut rows = Vec::new();
    for item in ITEMS {
        let (size, digest) = facts(world, item);
        let size = kib(size);
        rows.push((format!("{} {} (amd64)", item.kind(), item.version()), size, format!("sha256:{}…", &digest[..13])));
    }
    let (first, second) = (rows.iter().map(|row| row.0.len()).max(), rows.iter().map(|row| row.1.len()).max());
    rows.iter().fold(String::new(), |mut text, (name, size, digest)| {
        writeln!(text, "{name:0$}   {size:1$}   {digest}", first.unwrap(), second.unwrap()).unwrap();
        text
    })
}

#[test]
fn lock_writes_what_upstream_publishes() {
    let world = World::new();
    let wrote = Ran::ok(listing(&world), "lock: done\nwrote FOLDER/nodebake.lock\n");
    assert_eq!(world.run(&["lock"]), wrote);
    let mut text = "# Written by `nodebake lock` from the checksum files that upstream publishes; kept with \
                    nodebake.yaml. Nothing else goes\n# into a node.\napiVersion: nodebake/v1\nartifacts:\n"
        .to_owned();
    for item in ITEMS {
        let (size, digest) = facts(&world, item);
        let (kind, version) = (item.kind(), item.version());
        let url = format!("https://{}", item.place(version));
        write!(text, "- kind: {kind}\n  version: {version}\n  arch: amd64\n  url: {url}\n").unwrap();
        write!(text, "  size: {size}\n  sha256: {digest}\n").unwrap();
    }
    assert_eq!(world.read("nodebake.lock"), text);

    let before = world.tree("");
    let unchanged = Ran::ok(listing(&world), "lock: done\nnothing changed in FOLDER/nodebake.lock\n");
    assert_eq!(world.run(&["lock"]), unchanged);
    assert_eq!(world.tree(""), before);
    let offline = "offline: the lock fits the cluster file and was left as it is\n";
    assert_eq!(world.run(&["lock", "--offline"]), Ran::ok("", offline));
    assert_eq!(world.tree(""), before);
}

#[test]
fn lock_takes_what_upstream_has_replaced() {
    let world = World::locked();
    world.publish(Item::BaseImage, b"the image of next week");
    let size = "22 B";
    let ran = world.run(&["lock"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, "lock: done\nwrote FOLDER/nodebake.lock\n"));
    assert!(ran.stdout.lines().last().unwrap().contains(size), "{ran:?}");
    let (_, digest) = facts(&world, Item::BaseImage);
    assert!(world.read("nodebake.lock").ends_with(&format!("  size: 22\n  sha256: {digest}\n")));
}

#[test]
fn lock_warns_of_versions_that_are_known_to_be_bad() {
    let world = World::new();
    for (item, from, to) in [(Item::Containerd, "2.2.5", "2.2.1"), (Item::Runc, "v1.3.6", "v1.2.5")] {
        world.edit(from, to);
        mirror::publish(&world.path("mirror"), item, to.trim_start_matches('v'), &mirror::content(item));
    }
    let ran = world.run(&["lock"]);
    let warnings = "warning: containerd 2.2.1 is open to CVE-2026-53488 (a label of an image can run commands as root on \
                    the host); fixed in 2.2.5\n\
                    warning: runc 1.2.5 is open to CVE-2025-31133, CVE-2025-52565, CVE-2025-52881 (a container can write \
                    to the host's /proc and leave); fixed in 1.2.8\n\
                    warning: runc 1.2.5 is open to CVE-2026-41579 (an image with a /dev link can write to the host, in a \
                    limited way); fixed in 1.3.6\n";
    assert_eq!(ran.code, 0);
    assert_eq!(ran.stderr, format!("{warnings}lock: done\nwrote FOLDER/nodebake.lock\n"));
}

#[test]
fn files_that_the_mirror_lacks_are_all_named() {
    let world = World::new();
    let lacks = |place: &str| format!("the mirror lacks https://{place}: there is no FOLDER/mirror/{place}");
    let hint = |place: &str| {
        format!(
            "a mirror holds each address under HOST/PATH, checksum files included: `wget -x https://{place}` in its folder"
        )
    };
    let runc = Item::Runc.place("1.3.6");
    fs::remove_file(world.path("mirror").join(&runc)).unwrap();
    assert_eq!(world.run(&["lock"]), Ran::failed(1, &lacks(&runc), &hint(&runc)));

    let sum = format!("{}.sha256sum", Item::Containerd.place("2.2.5"));
    fs::remove_file(world.path("mirror").join(&sum)).unwrap();
    let both = format!("files are missing: {}; {}", lacks(&sum), lacks(&runc));
    assert_eq!(world.run(&["lock"]), Ran::failed(1, &both, &hint(&sum)));
    assert!(!world.path("nodebake.lock").exists());
}

#[test]
fn checksum_files_that_are_not_upstreams_are_refused() {
    let world = World::new();
    let sum = |name: &str, text: &str| fs::write(world.path("mirror").join(name), text).unwrap();
    let kubelet = format!("{}.sha256", Item::Kubelet.place("1.35.1"));
    let digest = world.read(&format!("mirror/{kubelet}"));
    sum(&kubelet, "<html>Please log in</html>");
    let error = format!(
        "cannot lock kubelet 1.35.1 (amd64) from FOLDER/mirror/{kubelet}: the checksum file holds \"<html>Please log \
         in</html>\" instead of a sha256 digest"
    );
    assert_eq!(world.run(&["lock"]), Ran::failed(1, &error, ODD));

    sum(&kubelet, &digest);
    let list = "nodebake.invalid/lab/SHA256SUMS";
    sum(list, &format!("{digest} *guest-arm64.img\n"));
    let error = format!(
        "cannot lock base-image lab-trixie (amd64) from FOLDER/mirror/{list}: the checksum file does not list \
         guest-amd64.img"
    );
    assert_eq!(world.run(&["lock"]), Ran::failed(1, &error, ODD));

    let image = world.publish(Item::BaseImage, b"");
    let place = image.strip_prefix(world.path("")).unwrap().display().to_string();
    let error = format!("base-image lab-trixie (amd64) is empty at FOLDER/{place}");
    assert_eq!(world.run(&["lock"]), Ran::failed(1, &error, ODD));
    assert!(!world.path("nodebake.lock").exists());
}

#[test]
fn a_lock_that_does_not_fit_is_not_built_on() {
    let world = World::locked();
    world.edit("runc: v1.3.6", "runc: v1.3.7");
    world.edit("image: lab-trixie", "image: debian-13");
    let stale = Ran::failed(
        3,
        "the lock does not fit the cluster file: runc (amd64): 1.3.6 is locked, 1.3.7 is wanted; base-image (amd64): \
         lab-trixie is locked, debian-13 is wanted",
        STALE,
    );
    for verb in [&["build", "--all"][..], &["fetch"], &["fetch", "kubectl"], &["up"], &["lock", "--offline"]] {
        assert_eq!(world.run(verb), stale, "{verb:?}");
    }
    assert!(!world.path("build").exists() && !world.path("cache").exists() && !world.path(".nodebake").exists());
}

#[test]
fn without_a_lock_nothing_is_built() {
    let world = World::new();
    let absent = Ran::failed(3, "there is no FOLDER/nodebake.lock", STALE);
    for verb in [
        &["build", "--all"][..],
        &["build", "worker-node-1"],
        &["fetch"],
        &["fetch", "kubectl"],
        &["up"],
        &["rebuild", "worker-node-1", "--yes"],
        &["lock", "--offline"],
    ] {
        assert_eq!(world.run(verb), absent, "{verb:?}");
    }
    assert!(!world.path("build").exists() && !world.path("cache").exists() && !world.path(".nodebake").exists());
}

#[test]
fn what_is_no_lock_file_is_refused() {
    let world = World::locked();
    let whole = world.read("nodebake.lock");
    let hint = "restore the file, or remove it and run `nodebake lock`";
    for (from, to, wanted) in [
        ("nodebake/v1", "nodebake/v2", "FOLDER/nodebake.lock: apiVersion is \"nodebake/v2\", not nodebake/v1"),
        ("kind: kubectl", "kind: kubelet", "FOLDER/nodebake.lock: kubelet (amd64) is listed twice"),
        (
            "artifacts:",
            "artefacts:",
            "FOLDER/nodebake.lock is not a lock file: unknown field `artefacts`, expected `apiVersion` or `artifacts` \
             at line 4 column 1",
        ),
    ] {
        fs::write(world.path("nodebake.lock"), whole.replace(from, to)).unwrap();
        assert_eq!(world.run(&["build", "--all"]), Ran::failed(3, wanted, hint));
    }
}

#[test]
fn the_flag_wins_over_the_environment_and_that_over_the_cluster_file() {
    let world = World::new();
    let missing = |folder: &str| {
        let error = format!("mirror {folder} cannot be read: No such file or directory (os error 2)");
        Ran::failed(2, &error, "check the path given as the mirror")
    };
    let text = world.read("nodebake.yaml");
    fs::write(world.path("nodebake.yaml"), format!("{text}\ndownload:\n  mirrors: [mirror, from-file]\n")).unwrap();
    let run = |environment: Option<&str>, arguments: &[&str]| {
        let mut command = world.command(&[]);
        command.env_remove("NODEBAKE_MIRROR");
        environment.map(|mirror| command.env("NODEBAKE_MIRROR", mirror));
        world.run_command(command.args(arguments))
    };
    assert_eq!(run(None, &["lock"]), missing("FOLDER/from-file"));
    assert_eq!(run(Some("from-environment"), &["lock"]), missing("from-environment"));
    assert_eq!(run(Some("from-environment"), &["lock", "--mirror", "from-flag"]), missing("from-flag"));
    let hint = "a mirror is an existing folder, or an address that starts with http:// or https://";
    assert_eq!(run(Some("ftp://mirror"), &["lock"]), Ran::failed(2, "\"ftp://mirror\" is not a mirror", hint));
    assert_eq!(run(Some("from-environment"), &["lock", "--mirror", "mirror"]).code, 0);
}

#[test]
fn a_mirror_over_http_gives_the_same_as_a_folder() {
    let folder = World::built();
    let world = World::new();
    let server = http::serve(world.path("mirror"));
    let base = format!("http://{server}/some/where");
    world.must(&["lock", "--mirror", &base]);
    assert_eq!(world.read("nodebake.lock"), folder.read("nodebake.lock"));
    world.must(&["build", "--all", "--mirror", &base]);
    assert_eq!(world.payload("build"), folder.payload("build"));

    let runc = Item::Runc.place("1.3.6");
    fs::remove_file(world.path("mirror").join(&runc)).unwrap();
    let error = format!("the mirror lacks https://{runc}: there is no {base}/{runc}");
    let hint = format!(
        "a mirror holds each address under HOST/PATH, checksum files included: `wget -x https://{runc}` in its folder"
    );
    assert_eq!(world.run(&["lock", "--mirror", &base]), Ran::failed(1, &error, &hint));
}

#[test]
fn the_labs_image_comes_from_a_mirror_only() {
    let world = World::locked();
    let mut command = world.command(&[]);
    // The cache holds everything else, so that nothing is asked for.
    world.must(&["fetch"]);
    fs::remove_file(world.path(&world.cached(Item::BaseImage))).unwrap();
    let ran = world.run_command(command.env_remove("NODEBAKE_MIRROR").arg("fetch"));
    let error = "https://nodebake.invalid/lab/guest-amd64.img can only come from a mirror";
    assert_eq!(ran, Ran::failed(1, error, "give the mirror that holds it with --mirror or NODEBAKE_MIRROR"));
}
