//! `lock`: what it says and writes, and what happens where it is missing, stale or made from something else.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::http;
use crate::mirror::{self, ITEMS, Item};
use crate::world::{Ran, World, kib, sha256};

const STALE: &str = "run `nodebake lock`";
const STALE_OFFLINE: &str = "run `nodebake lock` without --offline where upstream or a mirror can be reached, or `nodebake bundle \
                             import FILE`";
const ODD: &str = "what is published there is not what we know; check the mirror or proxy";

/// Size and SHA-256 of a file of the mirror.
fn facts(world: &World, item: Item) -> (u64, String) {
    let path = world.path("mirror").join(item.place(item.version()));
    (fs::metadata(&path).unwrap().len(), sha256(&path))
}

/// What `lock` prints: kind, version, size, the digest's begin, why it is believed.
fn listing(world: &World) -> String {
    let mut rows = Vec::new();
    for item in ITEMS {
        let (size, digest) = facts(world, item);
        let size = kib(size);
        let digest = format!("sha256:{}…   {}", &digest[..13], item.trust());
        rows.push((format!("{} {} (amd64)", item.kind(), item.version()), size, digest));
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
        let trust = if item.trust() == "given" { "given: true" } else { item.trust() };
        write!(text, "  size: {size}\n  sha256: {digest}\n  {trust}\n").unwrap();
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
fn what_is_locked_stays_until_it_is_updated() {
    let world = World::locked();
    let before = world.read("nodebake.lock");
    let old = facts(&world, Item::BaseImage).1;
    world.publish(Item::BaseImage, b"the image of next week");
    world.publish(Item::Kubelet, b"the same version, built anew");
    assert_eq!(world.must(&["lock"]).stderr, "lock: done\nnothing changed in FOLDER/nodebake.lock\n");
    assert_eq!(world.read("nodebake.lock"), before);

    // An update takes the newest image, and leaves a version that is the newest.
    no_news(&world);
    let (_, new) = facts(&world, Item::BaseImage);
    let said = format!(
        "lock: done\nno newer patch releases of the versions in the cluster file\nbase-image lab-trixie (amd64): sha256:{old} \
         -> sha256:{new}\nwrote FOLDER/nodebake.lock\n"
    );
    let text = world.read("nodebake.yaml");
    assert_eq!(world.must(&["lock", "--update"]).stderr, said);
    assert_eq!(world.read("nodebake.yaml"), text);
    let size = |text: &str, old: &str, new: &str| text.replacen(old, new, 1);
    let (_, image) = before.split_once("- kind: base-image").unwrap();
    let (_, after) = image.split_once("  size: ").unwrap();
    let (bytes, _) = after.split_once('\n').unwrap();
    let wanted = size(
        &before.replace(&old, &new),
        &format!("  size: {bytes}\n  sha256: {new}"),
        &format!("  size: 22\n  sha256: {new}"),
    );
    assert_eq!(world.read("nodebake.lock"), wanted);
    let nothing = "lock: done\nno newer patch releases of the versions in the cluster file\nnothing changed in FOLDER/nodebake.lock\n";
    assert_eq!(world.must(&["lock", "--update"]).stderr, nothing);

    // An entry that is taken out is locked anew.
    let (_, kubelet) = facts(&world, Item::Kubelet);
    let (header, rest) = wanted.split_once("- kind: kubelet\n").unwrap();
    let (_, rest) = rest.split_once("- kind: ").unwrap();
    fs::write(world.path("nodebake.lock"), format!("{header}- kind: {rest}")).unwrap();
    let said = "lock: done\nkubelet 1.35.1 (amd64) added\nwrote FOLDER/nodebake.lock\n";
    assert_eq!(world.must(&["lock"]).stderr, said);
    assert!(world.read("nodebake.lock").contains(&format!("  size: 28\n  sha256: {kubelet}\n")));
}

/// The mirror says that the versions of the cluster file are the newest.
fn no_news(world: &World) {
    mirror::release(
        &world.path("mirror"),
        "v1.35.1",
        &[("containerd/containerd", &["v2.2.5"]), ("containernetworking/plugins", &["v1.9.0", "v1.9.1-rc.1"])],
    );
}

#[test]
fn an_update_moves_to_the_newest_patch_releases() {
    let world = World::locked();
    let tree = world.path("mirror");
    mirror::release(
        &tree,
        "v1.35.3\n",
        &[
            ("containerd/containerd", &["v2.2.4", "v2.2.10", "v2.2.9", "v2.2.11-beta.1"]),
            ("containernetworking/plugins", &["v1.9.0"]),
        ],
    );
    world.edit("  kubernetes: v1.35.1\n", "  kubernetes: 'v1.35.1' # pinned by the ops team\n");
    let text = world.read("nodebake.yaml");

    // What an update would move to must be there, or nothing is written.
    let before = world.tree("");
    let ran = world.run(&["lock", "--update"]);
    let lacks = |place: &str| format!("the mirror lacks https://{place}: there is no FOLDER/mirror/{place}");
    let missing = [
        format!("{}.sha256", Item::Kubelet.place("1.35.3")),
        format!("{}.sha256", Item::Kubectl.place("1.35.3")),
        format!("{}.sha256sum", Item::Containerd.place("2.2.10")),
    ];
    let all = format!("files are missing: {}", missing.clone().map(|place| lacks(&place)).join("; "));
    let hint = format!(
        "a mirror holds each address under HOST/PATH, checksum files included: `wget -x https://{}` in its folder",
        missing[0]
    );
    assert_eq!(ran, Ran::failed(1, &all, &hint));
    assert_eq!(world.tree(""), before);

    for (item, version) in [(Item::Kubelet, "1.35.3"), (Item::Kubectl, "1.35.3"), (Item::Containerd, "2.2.10")] {
        mirror::publish(&tree, item, version, &mirror::content(item));
    }
    let ran = world.must(&["lock", "--update"]);
    assert_eq!(
        ran.stderr,
        "lock: done\nFOLDER/nodebake.yaml: kubernetes 1.35.1 -> 1.35.3\nFOLDER/nodebake.yaml: containerd 2.2.5 -> 2.2.10\n\
         kubelet 1.35.1 -> 1.35.3 (amd64)\nkubectl 1.35.1 -> 1.35.3 (amd64)\ncontainerd 2.2.5 -> 2.2.10 (amd64)\n\
         wrote FOLDER/nodebake.lock\n"
    );
    let edited = text.replace("'v1.35.1' #", "'v1.35.3' #").replace("containerd: 2.2.5", "containerd: 2.2.10");
    assert_eq!(world.read("nodebake.yaml"), edited);
    assert_eq!(world.run(&["lock", "--check"]), Ran::ok("", "the lock fits the cluster file\n"));

    // Had it been cut between the two writes, a plain lock would have mended it.
    let whole = world.read("nodebake.lock");
    fs::write(world.path("nodebake.lock"), &before["nodebake.lock"].content).unwrap();
    assert_eq!(world.run(&["lock", "--check"]).code, 3);
    world.must(&["lock"]);
    assert_eq!(world.read("nodebake.lock"), whole);
}

#[test]
fn an_update_keeps_the_files_mode_and_the_link_to_it() {
    let world = World::locked();
    no_news(&world);
    mirror::release(&world.path("mirror"), "v1.35.2", &[]);
    for item in [Item::Kubelet, Item::Kubectl] {
        mirror::publish(&world.path("mirror"), item, "1.35.2", &mirror::content(item));
    }
    fs::rename(world.path("nodebake.yaml"), world.path("real.yaml")).unwrap();
    world.chmod("real.yaml", 0o640);
    std::os::unix::fs::symlink("real.yaml", world.path("nodebake.yaml")).unwrap();
    world.must(&["lock", "--update"]);
    assert!(fs::symlink_metadata(world.path("nodebake.yaml")).unwrap().is_symlink());
    assert!(world.read("real.yaml").contains("  kubernetes: v1.35.2\n"));
    assert_eq!(world.tree("real.yaml")["real.yaml"].mode & 0o7777, 0o640);
}

#[test]
fn an_update_needs_upstreams_word() {
    let world = World::locked();
    let before = world.tree("");
    let place = "dl.k8s.io/release/stable-1.35.txt";
    let error =
        format!("the newest release is not known: the mirror lacks https://{place}: there is no FOLDER/mirror/{place}");
    let hint = format!(
        "a mirror holds each address under HOST/PATH, checksum files included: `wget -x https://{place}` in its folder"
    );
    assert_eq!(world.run(&["lock", "--update"]), Ran::failed(1, &error, &hint));
    assert_eq!(world.tree(""), before);

    no_news(&world);
    fs::write(world.path("mirror").join(place), "<html>Please log in</html>").unwrap();
    let error = format!("FOLDER/mirror/{place} does not name a release");
    assert_eq!(world.run(&["lock", "--update"]), Ran::failed(1, &error, ODD));

    for (flag, other) in [("--check", "--check"), ("--offline", "--offline")] {
        let ran = world.run(&["lock", "--update", flag]);
        assert_eq!(ran.code, 2);
        let first = ran.stderr.lines().next().unwrap_or_default();
        assert_eq!(first, format!("error: the argument '--update' cannot be used with '{other}'"));
    }
}

#[test]
fn a_check_names_every_difference_and_asks_nobody() {
    let world = World::locked();
    let fits = Ran::ok("", "the lock fits the cluster file\n");
    let check = || {
        let mut command = world.command(&[]);
        // A place that nothing can come from.
        world.run_command(command.env("NODEBAKE_MIRROR", "http://127.0.0.1:1").args(["lock", "--check"]))
    };
    let before = world.tree("");
    assert_eq!(check(), fits);
    assert_eq!(world.tree(""), before);

    world.edit("containerd: 2.2.5", "containerd: 2.2.6");
    let digest = facts(&world, Item::Runc).1;
    let other = "a".repeat(64);
    world.edit(&digest, &other);
    world.edit(
        "\nartifacts:\n",
        &format!("\nartifacts:\n  - {{kind: binary, name: crictl, path: x, sha256: {other}}}\n"),
    );
    let stale = format!(
        "the lock does not fit the cluster file: containerd (amd64): 2.2.5 is locked, 2.2.6 is wanted; runc (amd64): \
         sha256:{digest} is locked, sha256:{other} is wanted; binary crictl (amd64) is wanted and not locked"
    );
    assert_eq!(check(), Ran::failed(3, &stale, STALE));
    fs::remove_file(world.path("nodebake.lock")).unwrap();
    assert_eq!(check(), Ran::failed(3, "there is no FOLDER/nodebake.lock", STALE));
}

#[test]
fn own_files_are_locked_as_the_cluster_file_has_them() {
    let world = World::new();
    fs::create_dir(world.path("files")).unwrap();
    fs::write(world.path("files/crictl"), mirror::program("true")).unwrap();
    fs::write(world.path("files/own.img"), "an image").unwrap();
    let (crictl, image) = (world.sha256("files/crictl"), world.sha256("files/own.img"));
    let size = fs::metadata(world.path("files/crictl")).unwrap().len();
    let own = format!(
        "  - {{kind: binary, name: crictl, path: files/crictl, sha256: {crictl}}}\n  - {{kind: base-image, path: \
         files/own.img, sha256: {image}}}\n  - {{kind: binary, name: helm, url: 'https://h/helm', arch: arm64, sha256: {image}}}\n"
    );
    world.edit("\nartifacts:\n", &format!("\nartifacts:\n{own}"));
    let left_out = "warning: binary helm is for arm64, and no node is: it is left out\n";
    assert_eq!(world.must(&["lock"]).stderr, format!("{left_out}lock: done\nwrote FOLDER/nodebake.lock\n"));
    let end = format!(
        "- kind: base-image\n  version: own.img\n  arch: amd64\n  path: files/own.img\n  size: 8\n  sha256: {image}\n  given: \
         true\n- kind: binary\n  name: crictl\n  arch: amd64\n  path: files/crictl\n  size: {size}\n  sha256: {crictl}\n  \
         given: true\n"
    );
    let text = world.read("nodebake.lock");
    assert!(text.ends_with(&end), "{text}");

    // The digest in the cluster file is the one that counts.
    fs::write(world.path("files/own.img"), "another").unwrap();
    fs::remove_file(world.path("nodebake.lock")).unwrap();
    let error = format!(
        "cannot lock base-image own.img (amd64): FOLDER/files/own.img has sha256:{}, the cluster file says sha256:{image}",
        world.sha256("files/own.img")
    );
    let hint = "if the file is the right one, write its digest under artifacts: in the cluster file";
    assert_eq!(world.run(&["lock"]), Ran::failed(4, &error, hint).after(left_out));
    fs::remove_file(world.path("files/own.img")).unwrap();
    let error = "cannot lock base-image own.img (amd64): FOLDER/files/own.img cannot be read: No such file or directory (os \
                 error 2)";
    let hint = "check the path under artifacts: in the cluster file";
    assert_eq!(world.run(&["lock"]), Ran::failed(2, error, hint).after(left_out));
    assert!(!world.path("nodebake.lock").exists());
}

#[test]
fn a_checksum_file_without_upstreams_signature_is_refused() {
    let world = World::new();
    let (before, after) =
        world.read("nodebake.yaml").split_once("  - kind: runc\n").map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    let (_, after) = after.split_once("\n\n").unwrap();
    fs::write(world.path("nodebake.yaml"), format!("{}\n{after}", before.trim_end_matches("artifacts:\n"))).unwrap();
    let place = "github.com/opencontainers/runc/releases/download/v1.3.6/runc.sha256sum";
    let refused = |why: &str| {
        let hint =
            "what is published there is not what upstream signed: check the mirror or proxy, and trust none of it";
        Ran::failed(4, &format!("cannot lock runc 1.3.6 (amd64) from FOLDER/mirror/{place}: {why}"), hint)
    };
    let list = world.path("mirror").join(place);
    // As the mirror has it: junk where the signature should be.
    assert_eq!(world.run(&["lock"]), refused("there is no OpenPGP signature in it that can be read"));

    let (_, digest) = facts(&world, Item::Runc);
    fs::write(&list, format!("{digest}  runc.amd64\n")).unwrap();
    assert_eq!(world.run(&["lock"]), refused("it is not signed"));

    // Well signed, by somebody else.
    fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/artifacts/fixtures/clear.asc"), &list).unwrap();
    let error = format!(
        "cannot lock runc 1.3.6 (amd64) from FOLDER/mirror/{place}: it is signed by a key that is not upstream's: \
         DFB17A57C88797DBCD405624C04262DC69E1120F"
    );
    let hint = "a newer nodebake may know upstream's newer keys; or name the file with its digest under artifacts:";
    assert_eq!(world.run(&["lock"]), Ran::failed(4, &error, hint));
    assert!(!world.path("nodebake.lock").exists());
}

#[test]
fn ubuntus_image_is_locked_only_with_its_signature() {
    let world = World::new();
    world.edit("image: lab-trixie", "image: ubuntu-24.04");
    let tree = world.path("mirror/cloud-images.ubuntu.com/releases/noble");
    fs::create_dir_all(tree.join("release/unpacked")).unwrap();
    fs::create_dir_all(tree.join("release-20251213")).unwrap();
    fs::write(tree.join("release/unpacked/build-info.txt"), "build_name=server\nserial=20251213\n").unwrap();
    let name = "ubuntu-24.04-server-cloudimg-amd64.img";
    fs::write(tree.join("release-20251213").join(name), "an image").unwrap();
    let digest = sha256(&tree.join("release-20251213").join(name));
    fs::write(tree.join("release-20251213/SHA256SUMS"), format!("{digest} *{name}\n")).unwrap();
    let sums = "cloud-images.ubuntu.com/releases/noble/release-20251213/SHA256SUMS";
    let error = format!(
        "cannot lock base-image ubuntu-24.04 (amd64), whose checksums upstream always signs: the mirror lacks \
         https://{sums}.gpg: there is no FOLDER/mirror/{sums}.gpg"
    );
    let hint = format!(
        "a mirror holds each address under HOST/PATH, checksum files included: `wget -x https://{sums}.gpg` in its folder"
    );
    assert_eq!(world.run(&["lock"]), Ran::failed(4, &error, &hint));
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/artifacts/fixtures/sha512.asc");
    fs::copy(fixture, tree.join("release-20251213/SHA256SUMS.gpg")).unwrap();
    let error = format!(
        "cannot lock base-image ubuntu-24.04 (amd64) from FOLDER/mirror/{sums}: it is signed by a key that is not \
         upstream's: DFB17A57C88797DBCD405624C04262DC69E1120F"
    );
    let hint = "a newer nodebake may know upstream's newer keys; or name the file with its digest under artifacts:";
    assert_eq!(world.run(&["lock"]), Ran::failed(4, &error, hint));
}

#[test]
fn debians_image_is_locked_to_its_dated_folder() {
    let world = World::new();
    world.edit("image: lab-trixie", "image: debian-13");
    let tree = world.path("mirror");
    let entry = |release: &str, sums: &str, date: &str, size: usize| {
        format!(
            "- kind: base-image\n  version: debian-13\n  arch: amd64\n  url: https://cloud.debian.org/images/cloud/trixie/\
             {release}/debian-13-genericcloud-amd64-{release}.qcow2\n  released: {date}\n  size: {size}\n  sha512: {}\n  \
             unsigned: upstream publishes no signature\n",
            &sums[..128]
        )
    };
    let first = entry("20250814-2204", &mirror::debian(&tree, "20250814-2204", b"August"), "2025-08-14", 6);
    world.must(&["lock"]);
    let ends = |end: &str| {
        let text = world.read("nodebake.lock");
        assert!(text.ends_with(end), "{text}\n{end}");
    };
    ends(&first);
    // The address moves on; the lock does not.
    let second = entry("20250909-2230", &mirror::debian(&tree, "20250909-2230", b"September"), "2025-09-09", 9);
    world.must(&["lock"]);
    ends(&first);
    no_news(&world);
    assert_eq!(
        world.must(&["lock", "--update"]).stderr,
        "lock: done\nno newer patch releases of the versions in the cluster file\nbase-image debian-13 of 2025-08-14 -> \
         2025-09-09 (amd64)\nwrote FOLDER/nodebake.lock\n"
    );
    ends(&second);
}

#[test]
fn status_tells_the_age_of_a_base_image() {
    let world = World::new();
    world.edit("image: lab-trixie", "image: debian-13");
    let status = |at: &str| {
        let ran = world.run_command(world.command(&["faketime", at]).args(["status"]));
        assert_eq!(ran.code, 0, "{ran:?}");
        ran.stderr
    };
    // Nothing is locked.
    assert_eq!(status("2026-01-01 12:00:00"), "");
    mirror::debian(&world.path("mirror"), "20260102-2204", b"January");
    world.must(&["lock"]);
    let line = |days: u32| format!("base image debian-13 of 2026-01-02 is {days} days old");
    let warning = "; `nodebake lock --update` takes the newest\n";
    assert_eq!(status("2026-01-01 12:00:00"), format!("{}\n", line(0)));
    assert_eq!(status("2026-04-02 12:00:00"), format!("{}\n", line(90)));
    assert_eq!(status("2026-04-03 12:00:00"), format!("warning: {}{warning}", line(91)));
}

#[test]
fn architectures_are_locked_side_by_side() {
    let world = World::new();
    let tree = world.path("mirror");
    world.edit("image: lab-trixie", "image: debian-13");
    mirror::debian(&tree, "20250814-2204", b"August");
    mirror::publish_arm64(&tree);
    let before = world.must(&["lock"]).stdout;
    let one = world.read("nodebake.lock");

    world.edit("    address: 10.0.0.37\n", "    address: 10.0.0.37\n    arch: arm64\n");
    let place = Item::Runc.place("1.3.6").replace("amd64", "arm64");
    let digest = sha256(&tree.join(&place));
    let runc = format!("  - {{kind: runc, arch: arm64, url: 'https://{place}', sha256: {digest}}}\n");
    world.edit("\nartifacts:\n", &format!("\nartifacts:\n{runc}"));
    let kinds = ["kubelet", "kubectl", "containerd", "runc", "cni-plugins", "base-image"];
    let versions = ["1.35.1", "1.35.1", "2.2.5", "1.3.6", "1.9.0", "debian-13"];
    let missing =
        kinds.iter().zip(versions).map(|(kind, version)| format!("{kind} (arm64): {version} is wanted and not locked"));
    let stale = format!("the lock does not fit the cluster file: {}", missing.collect::<Vec<_>>().join("; "));
    assert_eq!(world.run(&["lock", "--check"]), Ran::failed(3, &stale, STALE));

    let ran = world.must(&["lock"]);
    let added = kinds.iter().zip(versions).map(|(kind, version)| format!("{kind} {version} (arm64) added\n"));
    let added = added.collect::<Vec<_>>().concat();
    assert_eq!(ran.stderr, format!("lock: done\n{added}wrote FOLDER/nodebake.lock\n"));
    let names =
        |table: &str| table.lines().map(|line| line.split("   ").next().unwrap().trim().to_owned()).collect::<Vec<_>>();
    let both: Vec<_> = names(&before).iter().flat_map(|name| [name.clone(), name.replace("amd64", "arm64")]).collect();
    assert_eq!(names(&ran.stdout), both);
    // The entries of before, and beside each the other architecture's, in the same order.
    let entries = |arch: &str| {
        let text = world.read("nodebake.lock");
        let of_arch = |entry: &&str| entry.contains(&format!("\n  arch: {arch}\n"));
        text.split("- kind: ").filter(of_arch).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(one.split("- kind: ").skip(1).collect::<Vec<_>>(), entries("amd64"));
    let urls = |arch: &str| {
        let url = |entry: &String| entry.lines().find_map(|line| line.strip_prefix("  url: ").map(str::to_owned));
        entries(arch).iter().filter_map(url).collect::<Vec<_>>()
    };
    let other: Vec<_> = urls("amd64").iter().map(|url| url.replace("amd64", "arm64")).collect();
    assert_eq!(urls("arm64"), other);

    // Without its node an architecture goes.
    world.edit("    arch: arm64\n", "");
    let left_out = "warning: runc runc.arm64 is for arm64, and no node is: it is left out\n";
    let gone = kinds.iter().zip(versions).map(|(kind, version)| format!("{kind} {version} (arm64) removed\n"));
    let gone = gone.collect::<Vec<_>>().concat();
    assert_eq!(world.must(&["lock"]).stderr, format!("{left_out}lock: done\n{gone}wrote FOLDER/nodebake.lock\n"));
    assert_eq!(world.read("nodebake.lock"), one);
}

#[test]
fn lock_warns_of_versions_that_are_known_to_be_bad() {
    let world = World::new();
    for (item, from, to) in
        [(Item::Containerd, "containerd: 2.2.5", "containerd: 2.2.1"), (Item::Runc, "runc: v1.3.6", "runc: v1.2.5")]
    {
        world.edit(from, to);
        let version = to.rsplit(['v', ' ']).next().unwrap();
        mirror::publish(&world.path("mirror"), item, version, &mirror::content(item));
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
    for verb in [&["build", "--all"][..], &["fetch"], &["fetch", "kubectl"], &["up"], &["lock", "--check"]] {
        assert_eq!(world.run(verb), stale, "{verb:?}");
    }
    let offline = Ran { stderr: stale.stderr.replace(STALE, STALE_OFFLINE), ..stale };
    assert_eq!(world.run(&["lock", "--offline"]), offline);
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
        &["lock", "--check"],
    ] {
        assert_eq!(world.run(verb), absent, "{verb:?}");
    }
    let offline = Ran::failed(3, "there is no FOLDER/nodebake.lock", STALE_OFFLINE);
    assert_eq!(world.run(&["lock", "--offline"]), offline);
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
        for verb in [&["build", "--all"][..], &["lock"], &["lock", "--check"]] {
            assert_eq!(world.run(verb), Ran::failed(3, wanted, hint), "{verb:?}");
        }
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
    fs::remove_file(world.path("nodebake.lock")).unwrap();
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
