//! `bundle export` and `bundle import`: one file that people can check by hand, the same bytes anywhere, and a machine
//! that has never seen a network.

use std::fs;
use std::process::{Command, Stdio};

use crate::mirror::{ITEMS, Item};
use crate::world::{Ran, World, changed, must, sha256};

/// With a bundle of everything, lab.tar.
fn exported() -> World {
    let world = World::locked();
    world.must(&["bundle", "export", "lab.tar"]);
    world
}

/// Another machine with the same cluster file, pki and bundle, and nothing else.
fn elsewhere(origin: &World) -> World {
    let world = World::empty();
    fs::create_dir(world.path("pki")).unwrap();
    for name in ["nodebake.yaml", "pki/ca.pem", "pki/ca-key.pem", "lab.tar"] {
        fs::copy(origin.path(name), world.path(name)).unwrap();
    }
    world
}

/// A command without a mirror.
fn apart(world: &World, wrapper: &[&str], arguments: &[&str]) -> Command {
    let mut command = world.command(wrapper);
    command.env_remove("NODEBAKE_MIRROR").args(arguments);
    command
}

fn run_apart(world: &World, arguments: &[&str]) -> Ran {
    world.run_command(&mut apart(world, &[], arguments))
}

/// Names of the blobs in the order of a bundle.
fn blobs(world: &World) -> Vec<String> {
    let mut names = ITEMS.map(|item| world.cached(item).replace("cache/", "")).to_vec();
    names.sort();
    names
}

/// Lines of stderr that tell of a finished file.
fn said(ran: &Ran) -> (Vec<&str>, Vec<&str>) {
    ran.stderr.lines().partition(|line| line.contains(": done ("))
}

#[test]
fn a_bundle_is_an_archive_that_people_can_check() {
    let world = World::locked();
    let ran = world.must(&["bundle", "export", "lab.tar"]);
    let size = fs::metadata(world.path("lab.tar")).unwrap().len();
    let shown = format!("wrote lab.tar: 6 files, {}", indicatif::HumanBytes(size));
    assert_eq!((ran.stdout.as_str(), said(&ran).1), ("", vec![shown.as_str()]));

    let listed = must(
        Command::new("tar").args(["-tvf", "lab.tar", "--numeric-owner"]).env("TZ", "UTC").current_dir(world.path("")),
    );
    let size = |name: &str| fs::metadata(world.path(name)).unwrap().len();
    let mut wanted = vec![
        ("SHA256SUMS".to_owned(), 6 * (64 + 2 + 77 + 1) + 64 + 2 + 14),
        ("nodebake.lock".to_owned(), size("nodebake.lock")),
    ];
    wanted.extend(blobs(&world).into_iter().map(|name| (name.clone(), size(&format!("cache/{name}")))));
    let columns = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let listed: Vec<_> = String::from_utf8(listed).unwrap().lines().map(columns).collect();
    let line = |(name, size): (String, u64)| columns(&format!("-rw-r--r-- 0/0 {size} 2000-01-01 00:00 {name}"));
    assert_eq!(listed, wanted.into_iter().map(line).collect::<Vec<_>>());

    fs::create_dir(world.path("open")).unwrap();
    must(Command::new("tar").args(["-xf", "../lab.tar"]).current_dir(world.path("open")));
    let checked =
        must(Command::new("sha256sum").args(["--strict", "-c", "SHA256SUMS"]).current_dir(world.path("open")));
    let wanted: String =
        blobs(&world).iter().map(|name| format!("{name}: OK\n")).chain(["nodebake.lock: OK\n".to_owned()]).collect();
    assert_eq!(String::from_utf8(checked).unwrap(), wanted);
    assert_eq!(world.read("open/nodebake.lock"), world.read("nodebake.lock"));
    let mode = std::os::unix::fs::MetadataExt::mode(&fs::metadata(world.path("lab.tar")).unwrap());
    assert_eq!(mode, 0o100_644);
}

#[test]
fn a_bundle_depends_on_its_lock_alone() {
    let worlds = [World::locked(), World::locked()];
    let [here, there] = &worlds;
    here.must(&["bundle", "export", "lab.tar"]);
    // Another folder, umask, time, zone and language; the store filled before; written to a pipe.
    there.must(&["fetch"]);
    fs::create_dir(there.path("deep")).unwrap();
    let script = "umask 000; exec faketime '2031-05-05 12:00:00' \"$0\" \"$@\"";
    let arguments = ["--offline", "--config", "../nodebake.yaml", "bundle", "export", "-"];
    let mut command = apart(there, &["sh", "-c", script], &arguments);
    command.current_dir(there.path("deep")).env("TZ", "Asia/Tokyo").env("LC_ALL", "C.UTF-8");
    let output = command.stdout(Stdio::piped()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stdout == fs::read(here.path("lab.tar")).unwrap());
    assert!(
        String::from_utf8(output.stderr)
            .unwrap()
            .lines()
            .last()
            .unwrap()
            .starts_with("wrote standard output: 6 files, ")
    );
    // And over the old one.
    let before = sha256(&here.path("lab.tar"));
    here.must(&["bundle", "export", "lab.tar"]);
    assert_eq!(sha256(&here.path("lab.tar")), before);
}

#[test]
fn a_machine_without_a_network_builds_the_same() {
    let origin = exported();
    let built = origin.must(&["build", "--all"]);
    let world = elsewhere(&origin);
    let lacking = run_apart(&world, &["--offline", "build", "--all"]);
    assert_eq!(lacking, Ran::failed(3, "there is no FOLDER/nodebake.lock", "run `nodebake lock`"));

    let ran = run_apart(&world, &["bundle", "import", "lab.tar"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (0, ""));
    assert_eq!(
        said(&ran),
        (
            blobs_done(&origin).iter().map(String::as_str).collect(),
            vec!["6 files are in the cache", "wrote FOLDER/nodebake.lock"],
        )
    );
    assert_eq!(world.read("nodebake.lock"), origin.read("nodebake.lock"));
    let good = |world: &World| -> Vec<_> {
        world
            .tree("cache/blobs")
            .into_iter()
            .filter(|(_, file)| file.mode == 0o100_444)
            .map(|(name, file)| (name, file.content))
            .collect()
    };
    assert_eq!(good(&world), good(&origin));

    let ran = run_apart(&world, &["--offline", "build", "--all"]);
    let payload = |ran: &Ran| ran.stdout.lines().next().unwrap().to_owned();
    assert_eq!((ran.code, payload(&ran)), (0, payload(&built)));
    assert!(
        world.read(&world.payload("build").replace(".iso", ".json"))
            == origin.read(&origin.payload("build").replace(".iso", ".json"))
    );

    // Again: nothing is written, not even for a moment.
    let before = world.tree("");
    let ran = run_apart(&world, &["bundle", "import", "lab.tar"]);
    assert_eq!(said(&ran).1, ["6 files are in the cache", "nothing changed in FOLDER/nodebake.lock"]);
    assert_eq!(changed(&before, &world.tree("")), [""; 0]);
}

/// Files of the user's own are in a bundle like all others: where it is imported nobody has them. Mirrors that are not
/// there either do not matter where nothing is asked of them.
#[test]
fn own_files_and_mirrors_stay_behind() {
    let origin = World::new();
    fs::create_dir(origin.path("own")).unwrap();
    let upstream = origin.path("mirror").join(Item::Kubelet.place("1.35.1"));
    fs::rename(upstream, origin.path("own/kubelet")).unwrap();
    let elsewhere_on_disk = tempfile::tempdir().unwrap();
    let crictl = elsewhere_on_disk.path().join("crictl");
    fs::write(&crictl, [crate::mirror::program("true"), b"crictl".to_vec()].concat()).unwrap();
    let own = format!(
        "\nartifacts:\n  - {{kind: kubelet, path: own/kubelet, sha256: {}}}\n  - {{kind: binary, name: crictl, path: {}, \
         sha256: {}}}\n",
        origin.sha256("own/kubelet"),
        crictl.display(),
        sha256(&crictl),
    );
    origin.edit("\nartifacts:\n", &own);
    let yaml = origin.read("nodebake.yaml");
    fs::write(origin.path("nodebake.yaml"), format!("{yaml}\ndownload:\n  mirrors: [mirror]\n")).unwrap();
    let run = |arguments: &[&str]| {
        let ran = run_apart(&origin, arguments);
        assert_eq!(ran.code, 0, "{arguments:?}: {ran:?}");
        ran
    };
    run(&["lock"]);
    run(&["bundle", "export", "lab.tar"]);
    let built = run(&["build", "--all"]);

    drop(elsewhere_on_disk);
    let world = elsewhere(&origin);
    run_apart(&world, &["bundle", "import", "lab.tar"]);
    let ran = run_apart(&world, &["--offline", "build", "--all"]);
    let payload = |ran: &Ran| ran.stdout.lines().next().map(str::to_owned);
    assert_eq!((ran.code, payload(&ran)), (0, payload(&built)), "{ran:?}");
    assert_eq!(run_apart(&world, &["verify", "--images"]).code, 0);
    // And on from there, with nothing but the cache.
    let ran = run_apart(&world, &["--offline", "bundle", "export", "again.tar"]);
    assert!(ran.code == 0 && fs::read(world.path("again.tar")).unwrap() == fs::read(origin.path("lab.tar")).unwrap());
}

/// What an import says of each blob.
fn blobs_done(world: &World) -> Vec<String> {
    let mut items: Vec<_> = ITEMS.iter().map(|item| (world.cached(*item), item)).collect();
    items.sort_by(|a, b| a.0.cmp(&b.0));
    let size = |name: &str| indicatif::HumanBytes(fs::metadata(world.path(name)).unwrap().len());
    items
        .iter()
        .map(|(name, item)| format!("import {} {}: done ({})", item.kind(), item.version(), size(name)))
        .collect()
}

#[test]
fn another_lock_is_not_replaced_unasked() {
    let origin = exported();
    let world = elsewhere(&origin);
    let refused = Ran::failed(
        3,
        "FOLDER/nodebake.lock is another lock file than that of lab.tar",
        "add --replace-lock to take the bundle's; nothing was imported and the lock file is as it was",
    );
    let other = origin.read("nodebake.lock").replace("1.3.6", "1.3.5");
    for text in [other.as_str(), "no lock"] {
        fs::write(world.path("nodebake.lock"), text).unwrap();
        assert_eq!(run_apart(&world, &["bundle", "import", "lab.tar"]), refused);
        assert!(world.read("nodebake.lock") == text && !world.path("cache").exists());
    }
    let ran = run_apart(&world, &["bundle", "import", "--replace-lock", "lab.tar"]);
    assert_eq!(said(&ran).1, ["6 files are in the cache", "wrote FOLDER/nodebake.lock"]);
    assert_eq!(world.read("nodebake.lock"), origin.read("nodebake.lock"));
    // The same but for a comment.
    let commented = format!("# Reviewed.\n{}", origin.read("nodebake.lock"));
    fs::write(world.path("nodebake.lock"), &commented).unwrap();
    let ran = run_apart(&world, &["bundle", "import", "lab.tar"]);
    assert_eq!((ran.code, world.read("nodebake.lock") == commented), (0, true));
}

#[test]
fn without_a_cluster_file_the_cache_is_filled() {
    let origin = exported();
    let world = elsewhere(&origin);
    fs::remove_file(world.path("nodebake.yaml")).unwrap();
    let mut import = apart(&world, &["sh", "-c", "exec \"$0\" \"$@\" < lab.tar"], &["bundle", "import", "-"]);
    let ran = world.run_command(&mut import);
    let stays =
        "there is no nodebake.yaml, so the lock stays in the bundle: put the cluster file there, then import again";
    assert_eq!((ran.code, said(&ran).1), (0, vec!["6 files are in the cache", stays]));
    assert!(!world.path("nodebake.lock").exists());
}

#[test]
fn what_is_no_bundle_is_not_overwritten() {
    let world = World::locked();
    world.must(&["fetch"]);
    let hint = "nothing of yours is overwritten: remove it, or name another file";
    let long = "SHA256SUMS".repeat(100);
    for text in ["", "mine", &long] {
        fs::write(world.path("mine.tar"), text).unwrap();
        let refused = Ran::failed(2, "mine.tar is there already and is no bundle", hint);
        assert_eq!(world.run(&["bundle", "export", "mine.tar"]), refused);
        assert_eq!(world.read("mine.tar"), text);
    }
    let refused = Ran::failed(2, "mirror is there already and is no bundle", hint);
    assert_eq!(world.run(&["bundle", "export", "mirror"]), refused);
    let ran = world.run(&["bundle", "export", "no/lab.tar"]);
    assert_eq!(
        ran,
        Ran::failed(1, "cannot write no/lab.tar: No such file or directory (os error 2)", "check the path")
    );
}

#[test]
fn only_what_is_locked_leaves() {
    let world = World::locked();
    let hint = "run `nodebake fetch` without --offline where there is a network or a mirror";
    let missing: Vec<_> = ITEMS.iter().map(|item| format!("{} {} (amd64)", item.kind(), item.version())).collect();
    let ran = world.run(&["--offline", "bundle", "export", "lab.tar"]);
    assert_eq!(ran, Ran::failed(1, &format!("offline, and the cache lacks {}", missing.join(", ")), hint));

    // A disk that returns other bytes than were written: the cache believes what it verified once, the bundle does not.
    world.must(&["fetch"]);
    let name = world.cached(Item::Runc);
    let path = world.path(&name);
    let mut bytes = fs::read(&path).unwrap();
    bytes[1000] ^= 1;
    world.chmod(&name, 0o644);
    fs::write(&path, &bytes).unwrap();
    world.vouch(&name);
    let (got, want) = (sha256(&path), name.rsplit('/').next().unwrap().to_owned());
    let ran = world.run(&["--offline", "bundle", "export", "lab.tar"]);
    let error = format!(
        "error: runc 1.3.6 (amd64) in the cache (FOLDER/{name}) has sha256:{got}, and sha256:{want} is locked\n\n\
                         hint: remove FOLDER/{name}, then run `nodebake fetch`\n"
    );
    assert_eq!((ran.code, ran.stdout.as_str()), (4, ""));
    assert!(ran.stderr.ends_with(&error), "{ran:?}");
    let left: Vec<_> = world.tree("").into_keys().filter(|name| name.contains("lab.tar")).collect();
    assert_eq!(left, [""; 0]);
}

/// These digests do not fit into a plain header.
#[test]
fn sha512_has_a_list_of_its_own() {
    let world = World::new();
    fs::write(world.path("crictl"), "a program").unwrap();
    let sums = must(Command::new("sha512sum").arg("crictl").current_dir(world.path("")));
    let digest = &String::from_utf8(sums.clone()).unwrap()[..128];
    let own = format!("\nartifacts:\n  - {{kind: binary, name: crictl, path: crictl, sha512: {digest}}}\n");
    world.edit("\nartifacts:\n", &own);
    world.must(&["lock"]);
    world.must(&["bundle", "export", "lab.tar"]);

    fs::create_dir(world.path("open")).unwrap();
    must(Command::new("tar").args(["-xf", "../lab.tar"]).current_dir(world.path("open")));
    let check = |tool: &str, list: &str| {
        String::from_utf8(must(Command::new(tool).args(["--strict", "-c", list]).current_dir(world.path("open"))))
            .unwrap()
    };
    let blob = format!("blobs/sha512/{}", &String::from_utf8(sums).unwrap()[..128]);
    assert_eq!(check("sha512sum", "SHA512SUMS"), format!("{blob}: OK\n"));
    assert_eq!(check("sha256sum", "SHA256SUMS").lines().count(), 7);
    let other = elsewhere(&world);
    let ran = run_apart(&other, &["bundle", "import", "lab.tar"]);
    assert_eq!((ran.code, fs::read(other.path(&format!("cache/{blob}"))).unwrap()), (0, b"a program".to_vec()));
}

/// A bundle in its parts: name, header, data with its padding.
struct Part {
    name: String,
    head: Vec<u8>,
    data: Vec<u8>,
}

fn take_apart(bundle: &[u8]) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut at = 0;
    while bundle[at] != 0 {
        let text = |range: std::ops::Range<usize>| {
            String::from_utf8(bundle[at..][range].iter().copied().take_while(|byte| *byte != 0).collect()).unwrap()
        };
        let size = usize::from_str_radix(text(124..136).trim(), 8).unwrap().next_multiple_of(512);
        let (head, data) = (bundle[at..at + 512].to_vec(), bundle[at + 512..at + 512 + size].to_vec());
        parts.push(Part { name: text(0..100), head, data });
        at += 512 + size;
    }
    assert_eq!(bundle[at..], [0; 1024]);
    parts
}

fn put_together(parts: &[&Part]) -> Vec<u8> {
    let mut bundle: Vec<u8> = parts.iter().flat_map(|part| [&part.head[..], &part.data[..]].concat()).collect();
    bundle.extend([0; 1024]);
    bundle
}

/// A header with another field, and the checksum that goes with it.
fn with_field(part: &Part, at: usize, field: &[u8]) -> Part {
    let mut head = part.head.clone();
    head[at..at + field.len()].copy_from_slice(field);
    head[148..156].copy_from_slice(b"        ");
    let sum: u32 = head.iter().map(|byte| u32::from(*byte)).sum();
    head[148..156].copy_from_slice(format!("{sum:07o}\0").as_bytes());
    Part { name: part.name.clone(), head, data: part.data.clone() }
}

fn with_data(part: &Part, at: usize) -> Part {
    let mut data = part.data.clone();
    data[at] ^= 1;
    Part { name: part.name.clone(), head: part.head.clone(), data }
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of all that can be wrong")]
fn what_is_not_as_it_was_written_is_refused() {
    let origin = exported();
    let bundle = fs::read(origin.path("lab.tar")).unwrap();
    let parts = take_apart(&bundle);
    let all: Vec<&Part> = parts.iter().collect();
    let (first, second) = (all[2].name.as_str(), all[3].name.as_str());
    let last = all[7].name.as_str();
    let flipped = |index: usize, at: usize| {
        let part = with_data(all[index], at);
        let mut parts = all.clone();
        parts[index] = &part;
        put_together(&parts)
    };
    let field = |index: usize, at: usize, field: &[u8]| {
        let part = with_field(all[index], at, field);
        let mut parts = all.clone();
        parts[index] = &part;
        put_together(&parts)
    };
    let order = |order: &[usize]| put_together(&order.iter().map(|index| all[*index]).collect::<Vec<_>>());
    let digest = |bytes: &[u8]| {
        let file = origin.path("digested");
        fs::write(&file, bytes).unwrap();
        sha256(&file)
    };
    let size_of = |name: &str| usize::try_from(fs::metadata(origin.path(name)).unwrap().len()).unwrap();
    let damaged = |what: &str| format!("lab.tar is damaged: {what}");
    let mismatch = |name: &str, got: &str, want: &str| {
        format!("{name} in lab.tar has digest sha256:{got}, and sha256:{want} is promised")
    };
    let no_bundle = || "lab.tar is not a bundle".to_owned();
    let hex = |name: &str| name.rsplit('/').next().unwrap().to_owned();
    let first_bytes = {
        let mut bytes = fs::read(origin.path(&format!("cache/{first}"))).unwrap();
        bytes[7] ^= 1;
        digest(&bytes)
    };
    let lock = {
        let mut bytes = fs::read(origin.path("nodebake.lock")).unwrap();
        bytes[200] ^= 1;
        (digest(&bytes), sha256(&origin.path("nodebake.lock")))
    };
    let lists = "its lists of digests are not those of its lock file";
    let header = |name: &str| damaged(&format!("{name} has a header that nodebake does not write"));
    let stands = |found: &str, name: &str| damaged(&format!("{found:?} stands where {name} should"));
    let evil = b"../../../../../../etc/evil\0";
    let end = bundle.len();
    let odd = all
        .iter()
        .position(|part| part.name.starts_with("blobs/") && size_of(&format!("cache/{}", part.name)) % 512 != 0)
        .unwrap();
    let cases = [
        ("empty", Vec::new(), no_bundle(), 2),
        ("cut off in its first header", bundle[..511].to_vec(), no_bundle(), 2),
        ("a text", "x".repeat(2048).into_bytes(), no_bundle(), 2),
        ("another archive", order(&[1, 2, 3]), no_bundle(), 2),
        ("cut off in its list", bundle[..600].to_vec(), damaged("it ends in or before SHA256SUMS"), 4),
        ("the list alone", bundle[..1536 + 512].to_vec(), damaged("it ends in or before nodebake.lock"), 4),
        (
            "cut off in its last blob",
            bundle[..end - 1024 - all[7].data.len() + 5].to_vec(),
            damaged(&format!("it ends in or before {last}")),
            4,
        ),
        ("without an end", bundle[..end - 1024].to_vec(), damaged("it ends in or before its end"), 4),
        ("half an end", bundle[..end - 1].to_vec(), damaged("it ends in or before its end"), 4),
        ("more behind it", [&bundle[..], b"x"].concat(), damaged("something follows its end"), 4),
        ("zeros behind it", [&bundle[..], &[0; 512]].concat(), damaged("something follows its end"), 4),
        ("another byte in a blob", flipped(2, 7), mismatch(first, &first_bytes, &hex(first)), 4),
        (
            "another byte behind a blob",
            flipped(odd, all[odd].data.len() - 1),
            damaged(&format!("something stands behind {}", all[odd].name)),
            4,
        ),
        ("another byte in the lock", flipped(1, 200), mismatch("nodebake.lock", &lock.0, &lock.1), 4),
        ("a list without the lock", flipped(0, 6 * 144 + 70), damaged("SHA256SUMS does not list nodebake.lock"), 4),
        ("another name in the list", flipped(0, 70), damaged(lists), 4),
        ("no blobs", order(&[0, 1]), damaged(&format!("zeros stand where {first} should")), 4),
        ("a blob is missing", order(&[0, 1, 3, 4, 5, 6, 7]), stands(second, first), 4),
        (
            "the last blob is missing",
            order(&[0, 1, 2, 3, 4, 5, 6]),
            damaged(&format!("zeros stand where {last} should")),
            4,
        ),
        ("another order", order(&[0, 1, 3, 2, 4, 5, 6, 7]), stands(second, first), 4),
        ("a blob twice", order(&[0, 1, 2, 2, 3, 4, 5, 6, 7]), stands(first, second), 4),
        ("one more at the end", order(&[0, 1, 2, 3, 4, 5, 6, 7, 1]), stands("nodebake.lock", "its end"), 4),
        ("a list too many", order(&[0, 0, 1, 2, 3, 4, 5, 6, 7]), stands("SHA256SUMS", "nodebake.lock"), 4),
        ("a path that leaves", field(2, 0, evil), stands("../../../../../../etc/evil", first), 4),
        ("an absolute path", field(2, 0, b"/etc/evil\0"), stands("/etc/evil", first), 4),
        ("a link", field(2, 156, b"2"), header(first), 4),
        ("a folder", field(2, 156, b"5"), header(first), 4),
        ("set-id", field(2, 100, b"0004755\0"), header(first), 4),
        ("an owner", field(2, 108, b"0001750\0"), header(first), 4),
        ("a time", field(2, 136, b"00000000001\0"), header(first), 4),
        ("another size", field(2, 124, b"00000000007\0"), header(first), 4),
        (
            "a lock of 8 GiB",
            field(1, 124, b"77777777777\0"),
            damaged("nodebake.lock has 8589934591 bytes, and at most 16777216 are read"),
            4,
        ),
        ("a size that is none", field(1, 124, b"zzz00000000\0"), header("nodebake.lock"), 4),
    ];
    for (what, bytes, error, code) in cases {
        let world = elsewhere(&origin);
        fs::write(world.path("lab.tar"), bytes).unwrap();
        let ran = run_apart(&world, &["bundle", "import", "lab.tar"]);
        let hint = if code == 2 {
            "name a file that `nodebake bundle export` wrote"
        } else {
            "copy the bundle again; `sha256sum` of both copies tells whether it arrived as it left"
        };
        let (done, said) = said(&ran);
        assert_eq!(
            (ran.code, ran.stdout.as_str(), said.join("\n")),
            (code, "", format!("error: {error}\n\nhint: {hint}")),
            "{what}"
        );
        assert!(!world.path("nodebake.lock").exists(), "{what}");
        // Whole blobs that came before the fault stay, nothing else does.
        let cache = world.tree("cache");
        let files: Vec<_> = cache.iter().filter(|(_, file)| file.mode & 0o170_000 == 0o100_000).collect();
        let kept = files.iter().filter(|(name, _)| !name.ends_with(".verified") && **name != "cache/lock");
        for (name, _) in kept.clone() {
            assert_eq!(name.rsplit('/').next().unwrap(), world.sha256(name), "{what}");
        }
        assert!(kept.count() <= done.len() + 1, "{what}");
    }
}

#[test]
fn a_bundle_that_is_not_there_is_told() {
    let world = World::empty();
    let ran = run_apart(&world, &["bundle", "import", "lab.tar"]);
    assert_eq!(ran, Ran::failed(1, "cannot read lab.tar: No such file or directory (os error 2)", "check the path"));
}
