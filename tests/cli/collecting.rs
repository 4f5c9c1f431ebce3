//! `gc`: what it removes, what it keeps, and when it removes nothing at all.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::symlink;
use std::process::Stdio;

use rustix::fs::{FlockOperation, flock};

use crate::mirror::{ITEMS, Item};
use crate::world::{Ran, Tree, World, changed, kib};

const UNNEEDED: &str = "no lock or machine needs it";

/// A world whose cache holds everything, and then the kubelet of a newer lock; with the older one's place.
fn moved_on() -> (World, String) {
    let world = World::locked();
    world.must(&["fetch"]);
    let old = world.cached(Item::Kubelet);
    world.publish(Item::Kubelet, &[fs::read(world.path(&old)).unwrap(), b"newer".to_vec()].concat());
    world.relock();
    world.must(&["fetch"]);
    (world, old)
}

/// Bytes of a file of the cache.
fn size(world: &World, blob: &str) -> u64 {
    fs::metadata(world.path(blob)).unwrap().len()
}

fn stays(world: &World) -> String {
    let sizes = ITEMS.map(|item| fs::metadata(world.path("mirror").join(item.place(item.version()))).unwrap().len());
    format!("6 files stay ({})", kib(sizes.iter().sum()))
}

/// A line of the table for one file.
fn line(name: &str, size: &str, why: &str) -> String {
    format!("{}   {size}   {why}\n", name.trim_start_matches("cache/"))
}

fn gone(before: &Tree, after: &Tree) -> Vec<String> {
    assert!(after.keys().all(|name| before.contains_key(name)));
    changed(before, after)
}

#[test]
fn what_no_lock_names_goes() {
    let (world, old) = moved_on();
    let bytes = kib(size(&world, &old));
    let table = line(&old, &bytes, UNNEEDED);
    let before = world.tree("");
    let dry = Ran::ok(table.clone(), format!("{bytes} would be removed; {}\n", stays(&world)));
    assert_eq!(world.run(&["gc", "--dry-run"]), dry);
    assert_eq!(world.tree(""), before);
    assert_eq!(world.run(&["gc"]), Ran::ok(table, format!("{bytes} removed; {}\n", stays(&world))));
    let mut wanted = vec![old.clone(), format!("{old}.verified")];
    wanted.sort();
    assert_eq!(gone(&before, &world.tree("")), wanted);
    let nothing = Ran::ok("", format!("0 B removed; {}\n", stays(&world)));
    assert_eq!(world.run(&["gc"]), nothing);
    world.must(&["build", "--all", "--offline"]);
}

#[test]
fn without_a_cache_there_is_nothing_to_do() {
    let world = World::empty();
    let nothing = Ran::ok("", "there is no cache in FOLDER/cache\n");
    assert_eq!(world.run(&["gc"]), nothing);
    assert_eq!(world.run(&["gc", "--dry-run"]), nothing);
    assert_eq!(world.tree("").len(), 1);
}

#[test]
fn what_another_cluster_uses_stays() {
    let (world, old) = moved_on();
    // Another cluster file of the same cache, with the older lock, that has used it.
    let other = World::locked();
    let with_cache = |arguments: &[&str]| {
        other.run_command(other.command(&[]).env("NODEBAKE_CACHE_DIR", world.path("cache")).args(arguments))
    };
    assert_eq!(with_cache(&["fetch"]).code, 0);
    assert!(world.path(&old).exists());
    let nothing = |count: usize| {
        let ran = world.must(&["gc"]);
        assert!(ran.stdout.is_empty() && ran.stderr.contains(&format!("; {count} files stay")), "{ran:?}");
    };
    nothing(7);

    // Its lock cannot be read: nobody can tell.
    let lock = other.read("nodebake.lock");
    fs::write(other.path("nodebake.lock"), "lost").unwrap();
    let file = other.path("nodebake.yaml").display().to_string();
    let failed = |ran: Ran, code: i32, error: &str, hint: &str| {
        let here = |text: &str| text.replace("OTHER", other.path("").to_str().unwrap().trim_end_matches('/'));
        let forget = format!("; if nothing of that cluster is needed: nodebake gc --forget {file}");
        let hint = format!("nothing was removed: {hint}{forget}");
        assert_eq!(ran, Ran::failed(code, &here(error), &here(&hint)));
        assert!(world.path(&old).exists());
    };
    failed(
        world.run(&["gc"]),
        3,
        "it cannot be told what OTHER/nodebake.yaml uses: OTHER/nodebake.lock is not a lock file: invalid type: string \
         \"lost\", expected struct LockYaml",
        "restore the file, or remove it and run `nodebake lock`",
    );
    fs::write(other.path("nodebake.lock"), lock).unwrap();

    // Its hypervisor does not answer.
    other.edit("uri: test:///default", "uri: qemu+unix:///system?socket=/nonexistent");
    failed(
        world.run(&["gc"]),
        1,
        "it cannot be told which base images the machines of OTHER/nodebake.yaml stand on: libvirt does not answer at \
         qemu+unix:///system?socket=/nonexistent: Failed to connect socket to '/nonexistent': No such file or directory",
        "install libvirt-daemon-system and qemu-system, then: systemctl enable --now libvirtd",
    );

    // Its folder is away, and then there and empty, as where a disk is not mounted.
    let away = other.path("").with_extension("away");
    fs::rename(other.path(""), &away).unwrap();
    for _ in 0..2 {
        failed(
            world.run(&["gc", "--dry-run"]),
            2,
            "it cannot be told what OTHER/nodebake.yaml uses: its folder is not there, or empty",
            "bring it back, such as by mounting its disk",
        );
        fs::create_dir_all(other.path("")).unwrap();
    }
    fs::remove_dir(other.path("")).unwrap();
    fs::rename(&away, other.path("")).unwrap();

    // The user says that it does not count, though it cannot be asked.
    let root = |world: &World| {
        let digest = nodebake::digest::Digest::of(world.path("nodebake.yaml").to_str().unwrap().as_bytes());
        format!("cache/roots/{digest}")
    };
    let bytes = kib(size(&world, &old));
    let why = format!("{file} counts no more");
    let table = |rows: &[(&str, &str, &str)]| {
        let widths = [0, 1].map(|at| rows.iter().map(|row| [row.0.len(), row.1.len()][at]).max().unwrap());
        let line =
            |row: &(&str, &str, &str)| format!("{:2$}   {:3$}   {4}\n", row.0, row.1, widths[0], widths[1], row.2);
        rows.iter().map(line).collect::<String>()
    };
    let (root_name, old_name) = (root(&other), old.replace("cache/", ""));
    let rows = table(&[(&root_name[6..], "0 B", &why), (&old_name, &bytes, UNNEEDED)]);
    let removed = Ran::ok(rows.clone(), format!("{bytes} would be removed; {}\n", stays(&world)));
    assert_eq!(world.run(&["gc", "--dry-run", "--forget", &file]), removed);

    // Its file has gone, and the lock is there as after the import of a bundle.
    fs::remove_file(other.path("nodebake.yaml")).unwrap();
    nothing(7);
    // Both have, and other things are there.
    fs::remove_file(other.path("nodebake.lock")).unwrap();
    let removed = Ran::ok(rows, format!("{bytes} removed; {}\n", stays(&world)));
    assert_eq!(world.run(&["gc"]), removed);
    assert!(fs::symlink_metadata(world.path(&root(&other))).is_err());
    assert_eq!(fs::read_link(world.path(&root(&world))).unwrap(), world.path("nodebake.yaml"));
    let unknown = format!("warning: {file} has not used the cache\n0 B would be removed; {}\n", stays(&world));
    assert_eq!(world.run(&["gc", "--dry-run", "--forget", &file]), Ran::ok("", unknown));
    nothing(6);
}

#[test]
fn a_cluster_that_is_not_locked_uses_nothing() {
    let world = World::locked();
    world.must(&["fetch"]);
    fs::remove_file(world.path("nodebake.lock")).unwrap();
    let ran = world.must(&["gc"]);
    assert_eq!(ran.stdout.lines().count(), 6);
    assert!(ran.stderr.ends_with(" removed; 0 files stay (0 B)\n"), "{ran:?}");
}

#[test]
fn base_images_of_machines_stay() {
    let world = World::locked();
    world.must(&["fetch"]);
    let image = world.cached(Item::BaseImage);
    let base = world.sha256(&image);
    world.publish(Item::BaseImage, b"the image of next week");
    world.relock();
    world.must(&["fetch"]);
    let zero = "0".repeat(64);
    let host = |base: &str| {
        let text = format!(
            "<node><domain type='test'><name>worker-node-1</name><metadata><n:mark \
             xmlns:n='https://nodebake.dev/xmlns/domain/1' cluster='another' ca='{zero}' node='worker-node-1' \
             payload='{zero}' seed='{zero}' base='{base}' definition='{zero}' state='registered'/></metadata>\
             <memory>2048</memory><os><type>hvm</type></os></domain></node>"
        );
        fs::write(world.path("host.xml"), text).unwrap();
    };
    world.edit("uri: test:///default", &format!("uri: test://{}", world.path("host.xml").display()));
    host(&base);
    let before = world.tree("");
    assert_eq!(world.must(&["gc"]).stdout, "");
    assert_eq!(world.tree(""), before);

    // A mark that cannot be read says nothing, so nothing goes.
    host("sha3:00");
    let error =
        format!("it cannot be told which base image machine worker-node-1 at test://{}/host.xml stands on", "FOLDER");
    let refused = Ran::failed(1, &error, "use the newest nodebake that is used with these machines");
    assert_eq!(world.run(&["gc"]), refused);
    assert!(world.path(&image).exists());

    // The machine was rebuilt on another image.
    host(&zero);
    let bytes = kib(size(&world, &image));
    assert_eq!(world.must(&["gc"]).stdout, line(&image, &bytes, UNNEEDED));
    assert!(!world.path(&image).exists());
}

#[test]
fn parts_go_that_nobody_waits_for() {
    let world = World::locked();
    world.must(&["fetch"]);
    let (runc, kubelet) = (world.cached(Item::Runc), world.cached(Item::Kubelet));
    fs::remove_file(world.path(&kubelet)).unwrap();
    let (nobody, held) = ("1".repeat(64), "2".repeat(64));
    let blobs = "cache/blobs/sha256";
    let put = |name: &str| fs::write(world.path(name), b"12345").unwrap();
    // Wanted and not there: gone on with. Its sidecar belongs to nothing.
    put(&format!("{kubelet}.part"));
    put(&format!("{kubelet}.part.from"));
    // There already; named by nobody; being written.
    let stale = [format!("{runc}.part"), format!("{blobs}/{nobody}.part")];
    for name in &stale {
        put(name);
    }
    put(&format!("{blobs}/{nobody}.part.from"));
    put(&format!("{blobs}/{held}.part"));
    let lock = fs::File::open(world.path(&format!("{blobs}/{held}.part"))).unwrap();
    flock(&lock, FlockOperation::LockExclusive).unwrap();
    // A note of nothing.
    put(&format!("{blobs}/{}.part.from", "3".repeat(64)));
    let mut orphans = vec![format!("{kubelet}.verified"), format!("{blobs}/{}.part.from", "3".repeat(64))];
    orphans.extend(stale);
    orphans.push(format!("{blobs}/{nobody}.part.from"));
    orphans.sort();
    let before = world.tree("");
    let ran = world.must(&["gc"]);
    assert_eq!(ran.stdout.lines().count(), 4);
    assert_eq!(gone(&before, &world.tree("")), orphans);
}

#[test]
fn what_is_not_ours_stays() {
    let (world, old) = moved_on();
    let digest = old.rsplit('/').next().unwrap();
    let blobs = "cache/blobs/sha256";
    let put = |name: &str| fs::write(world.path(name), b"mine").unwrap();
    put("cache/notes");
    put("cache/roots/notes");
    put(&format!("{blobs}/notes"));
    put(&format!("{blobs}/{digest}.bak"));
    put(&format!("{blobs}/{}", digest.to_uppercase()));
    put(&format!("{blobs}/{}", &digest[1..]));
    fs::create_dir(world.path(&format!("{blobs}/{}", "4".repeat(64)))).unwrap();
    symlink(world.path("nodebake.yaml"), world.path(&format!("{blobs}/{}", "5".repeat(64)))).unwrap();
    symlink("/nonexistent", world.path(&format!("cache/roots/{}", "6".repeat(64)))).unwrap();
    let before = world.tree("");
    world.must(&["gc"]);
    assert_eq!(gone(&before, &world.tree("")), [old.clone(), format!("{old}.verified")]);
}

#[test]
fn gc_waits_for_those_who_use_the_cache() {
    let (world, old) = moved_on();
    let lock = fs::File::open(world.path("cache/lock")).unwrap();
    flock(&lock, FlockOperation::LockShared).unwrap();
    // To look needs no waiting.
    world.must(&["gc", "--dry-run"]);
    let mut command = world.command(&[]);
    let mut child = command.arg("gc").stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    assert_eq!(line, "waiting for other runs of nodebake that use the cache\n");
    assert!(world.path(&old).exists());
    drop(lock);
    let mut rest = String::new();
    said.read_to_string(&mut rest).unwrap();
    assert!(child.wait().unwrap().success() && rest.contains(" removed; "), "{rest}");
    assert!(!world.path(&old).exists());
}

#[test]
fn those_who_use_the_cache_wait_for_gc() {
    let world = World::locked();
    world.must(&["fetch"]);
    let lock = fs::File::open(world.path("cache/lock")).unwrap();
    flock(&lock, FlockOperation::LockExclusive).unwrap();
    let mut command = world.command(&[]);
    let mut child = command.args(["build", "--all"]).stderr(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    // It waits in the kernel, which lists who does.
    let waits = format!(" {} ", child.id());
    let listed = |locks: &str| locks.lines().any(|line| line.contains("->") && line.contains(&waits));
    while !listed(&fs::read_to_string("/proc/locks").unwrap()) {
        assert!(child.try_wait().unwrap().is_none());
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    drop(lock);
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_cluster_file_counts_before_it_has_used_the_cache() {
    let (world, old) = moved_on();
    // As left by a nodebake that did not know of gc.
    fs::remove_dir_all(world.path("cache/roots")).unwrap();
    let bytes = kib(size(&world, &old));
    assert_eq!(world.must(&["gc", "--dry-run"]).stdout, line(&old, &bytes, UNNEEDED));
}
