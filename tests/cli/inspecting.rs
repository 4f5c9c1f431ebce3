//! `inspect`: what it shows of images, ours and others', and what it keeps to itself. Needs xorriso, genisoimage, blkid and
//! script.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use crate::world::{Ran, World, must, sha256};

/// A folder with `image.iso`, by genisoimage, of files whose owner is root and whose time is 2000-01-01.
fn others(options: &[&str]) -> World {
    let world = World::empty();
    let file = |name: &str, mode: u32, text: &str| {
        fs::write(world.path(name), text).unwrap();
        world.chmod(name, mode);
    };
    for folder in ["tree", "tree/etc"] {
        fs::create_dir(world.path(folder)).unwrap();
        world.chmod(folder, 0o755);
    }
    file("tree/user-data", 0o644, "#cloud-config\npassword: hunter2\n");
    file("tree/meta-data", 0o644, "instance-id: iid-1\nlocal-hostname: somebody\n");
    file("tree/etc/motd", 0o644, "Hello,\tworld\n");
    file("tree/etc/admin.kubeconfig", 0o644, "{}\n");
    file("tree/etc/shadow", 0o4700, "root::\n");
    file("tree/etc/bell\u{7}\u{1b}[2J\n\u{202e}", 0o644, "\u{7}\u{1b}[2J");
    symlink("../etc/motd\u{1b}", world.path("tree/etc/link")).unwrap();
    let find = [world.path("tree").to_str().unwrap(), "-exec", "touch", "-h", "-d", "@946684800", "{}", "+"]
        .map(str::to_owned);
    must(Command::new("find").args(find));
    let command = ["-quiet", "-V", "cidata", "-o", "image.iso"];
    must(Command::new("genisoimage").args(command).args(options).arg("tree").current_dir(world.path("")));
    world
}

const HEAD: &str = "MODE         OWNER   SIZE   TIME                   PATH\n";

#[test]
fn an_image_of_somebody_is_listed() {
    let world = others(&["-R"]);
    let uuid = uuid(&world, "image.iso");
    let size = fs::metadata(world.path("image.iso")).unwrap().len();
    let listed = world.run(&["inspect", "image.iso"]);
    let etc = concat!(
        "drwxr-xr-x   0:0     -      2000-01-01T00:00:00Z   /etc\n",
        "-rw-r--r--   0:0     3      2000-01-01T00:00:00Z   /etc/admin.kubeconfig\n",
        "-rw-r--r--   0:0     5      2000-01-01T00:00:00Z   /etc/bell\\u{7}\\u{1b}[2J\\n\\u{202e}\n",
        "lrwxrwxrwx   0:0     -      2000-01-01T00:00:00Z   /etc/link -> ../etc/motd\\u{1b}\n",
        "-rw-r--r--   0:0     13     2000-01-01T00:00:00Z   /etc/motd\n",
        "-rws------   0:0     7      2000-01-01T00:00:00Z   /etc/shadow\n",
    );
    let head = format!(
        "label         cidata\nuuid          {uuid}\nsize          {size}\n\
         node          somebody\ninstance-id   iid-1\n\n"
    );
    let rest = concat!(
        "-rw-r--r--   0:0     44     2000-01-01T00:00:00Z   /meta-data\n",
        "-rw-r--r--   0:0     32     2000-01-01T00:00:00Z   /user-data\n",
    );
    let root = "drwxr-xr-x   0:0     -      2000-01-01T00:00:00Z   /\n";
    assert_eq!(listed, Ran::ok(format!("{head}{HEAD}{root}{etc}{rest}"), ""));
    for path in ["/etc", "etc/", "//etc"] {
        assert_eq!(world.run(&["inspect", "image.iso", path]), Ran::ok(format!("{HEAD}{etc}"), ""), "{path}");
    }
    // A link is shown, not followed.
    let link = world.run(&["inspect", "image.iso", "/etc/link"]);
    assert_eq!(link, Ran::ok(format!("{HEAD}{}", etc.lines().nth(3).unwrap().to_owned() + "\n"), ""));
}

#[test]
fn digests_are_those_of_other_tools() {
    let world = others(&["-R"]);
    let digest = |name: &str| format!("sha256:{}", sha256(&world.path(name)));
    let listed = world.run(&["inspect", "--digest", "image.iso"]);
    assert_eq!((listed.code, listed.stderr.as_str()), (0, ""));
    let lines: Vec<_> = listed.stdout.lines().collect();
    assert_eq!(lines[3], format!("digest        {}", digest("image.iso")));
    let of = |path: &str| {
        let line = lines.iter().find(|line| line.split_whitespace().nth(5) == Some(path)).unwrap();
        line.split_whitespace().nth(4).unwrap().to_owned()
    };
    assert_eq!(of("/etc"), "-");
    assert_eq!(of("/etc/link"), "-");
    assert_eq!(of("/etc/motd"), digest("tree/etc/motd"));
    assert_eq!(of("/meta-data"), digest("tree/meta-data"));
    for secret in ["/etc/admin.kubeconfig", "/etc/shadow", "/user-data"] {
        assert_eq!(of(secret), "(secret)", "{secret}");
    }
    let one = |digest: &str| {
        let head = format!("MODE         OWNER   SIZE   TIME                   {:71}   PATH\n", "DIGEST");
        format!("{head}-rw-r--r--   0:0     32     2000-01-01T00:00:00Z   {digest}   /user-data\n")
    };
    let got = world.run(&["inspect", "--digest", "--show-secrets", "image.iso", "/user-data"]);
    assert_eq!(got, Ran::ok(one(&digest("tree/user-data")), ""));
}

#[test]
fn a_file_is_printed_unless_it_is_secret() {
    let world = others(&["-R"]);
    assert_eq!(world.run(&["inspect", "image.iso", "/etc/motd"]), Ran::ok("Hello,\tworld\n", ""));
    let bell = "/etc/bell\u{7}\u{1b}[2J\n\u{202e}";
    assert_eq!(world.run(&["inspect", "image.iso", bell]), Ran::ok("\u{7}\u{1b}[2J", ""));
    for (secret, text) in [
        ("/user-data", "#cloud-config\npassword: hunter2\n"),
        ("/etc/admin.kubeconfig", "{}\n"),
        ("/etc/shadow", "root::\n"),
    ] {
        let refused = Ran::failed(2, &format!("{secret} in image.iso is secret"), "add --show-secrets");
        assert_eq!(world.run(&["inspect", "image.iso", secret]), refused);
        assert_eq!(world.run(&["inspect", "image.iso", secret, "--show-secrets"]), Ran::ok(text, ""));
    }
}

#[test]
fn a_terminal_gets_text_alone() {
    let world = others(&["-R"]);
    let on_terminal = |path: &str| {
        let program = env!("CARGO_BIN_EXE_nodebake");
        let line = format!("{program} inspect image.iso '{path}'");
        let mut command = Command::new("script");
        command.args(["-q", "-e", "-c", &line, "/dev/null"]).current_dir(world.path(""));
        // A terminal ends its lines with two characters.
        let ran = world.run_command(&mut command);
        Ran { stdout: ran.stdout.replace("\r\n", "\n"), ..ran }
    };
    assert_eq!(on_terminal("/etc/motd"), Ran::ok("Hello,\tworld\n", ""));
    let refused = "error: /etc/bell\\u{7}\\u{1b}[2J\\n\\u{202e} in image.iso is no text\n\n\
                   hint: redirect standard output to a file\n";
    let ran = on_terminal("/etc/bell\u{7}\u{1b}[2J\n\u{202e}");
    assert_eq!(ran, Ran { code: 2, stdout: refused.to_owned(), stderr: String::new() });
}

#[test]
fn what_is_no_image_is_refused() {
    let world = others(&["-R"]);
    let malformed = |why: &str| {
        let error = format!("cannot read image.iso: the image is malformed{why}");
        Ran::failed(2, &error, "it is no ISO 9660 image, or a damaged one")
    };
    let whole = fs::read(world.path("image.iso")).unwrap();
    let with = |image: &[u8]| {
        fs::write(world.path("image.iso"), image).unwrap();
        world.run(&["inspect", "image.iso"])
    };
    assert_eq!(with(b"no image"), malformed(": it is too short"));
    assert_eq!(with(&vec![0; 1 << 16]), malformed(": no primary volume descriptor in block 16"));
    let mut looped = whole.clone();
    // The record of /etc leads to the root.
    let at = looped.windows(3).rposition(|bytes| bytes == b"ETC").unwrap() - 33;
    looped.copy_within(16 * 2048 + 156 + 2..16 * 2048 + 156 + 10, at + 2);
    assert_eq!(with(&looped), malformed(" in /etc: a directory of a wrong size or place"));
    assert_eq!(with(&whole).code, 0);
    let absent = Ran::failed(2, "image.iso has no /x\\u{7}", "`nodebake inspect image.iso` lists what it has");
    assert_eq!(world.run(&["inspect", "image.iso", "/x\u{7}"]), absent);
    assert_eq!(
        world.run(&["inspect", "none.iso"]),
        Ran::failed(1, "cannot open none.iso: No such file or directory (os error 2)", "check the path")
    );
    assert_eq!(
        world.run(&["inspect", "tree"]),
        Ran::failed(1, "cannot read tree: cannot read the image: Is a directory (os error 21)", "")
    );
}

/// The volume's UUID as blkid has it.
fn uuid(world: &World, image: &str) -> String {
    let output = must(Command::new("blkid").args(["-p", "-s", "UUID", "-o", "value"]).arg(world.path(image)));
    String::from_utf8(output).unwrap().trim_end().to_owned()
}

/// The listing of an image as xorriso takes it out and find sees it then.
fn listed_by_find(world: &World, image: &str) -> String {
    let to = world.path("taken-out");
    let _ = fs::remove_dir_all(&to);
    let quiet = ["-abort_on", "WARNING", "-report_about", "WARNING", "-osirrox", "on", "-indev"];
    must(Command::new("xorriso").args(quiet).arg(world.path(image)).args(["-extract", "/"]).arg(&to));
    let format = r"%M\t%U:%G\t%s\t%y\t/%P\t%l\n";
    let found = must(Command::new("find").arg(".").args(["-printf", format]).current_dir(&to));
    let found = String::from_utf8(found).unwrap();
    let mut rows: Vec<[String; 5]> = found
        .lines()
        .map(|line| {
            let [mode, owner, size, kind, path, target] = *line.split('\t').collect::<Vec<_>>() else {
                panic!("{line}")
            };
            let path = if target.is_empty() { path.to_owned() } else { format!("{path} -> {target}") };
            let size = if kind == "f" { size } else { "-" };
            [mode, owner, size, "2000-01-01T00:00:00Z", &path].map(str::to_owned)
        })
        .collect();
    rows.sort_by(|a, b| a[4].split(" -> ").next().cmp(&b[4].split(" -> ").next()));
    rows.insert(0, ["MODE", "OWNER", "SIZE", "TIME", "PATH"].map(str::to_owned));
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap();
    let widths = [width(0), width(1), width(2), width(3)];
    let line = |row: &[String; 5]| {
        let cells: Vec<_> = widths.iter().zip(row).map(|(width, cell)| format!("{cell:width$}")).collect();
        format!("{}   {}\n", cells.join("   "), row[4])
    };
    rows.iter().map(line).collect()
}

#[test]
fn our_images_say_whose_they_are() {
    let world = World::built();
    let size = |image: &str| fs::metadata(world.path(image)).unwrap().len();
    let seed = "build/worker-node-1/seed.iso";
    let meta_data = world.read("build/worker-node-1/meta-data");
    let instance = meta_data.lines().next().unwrap().trim_start_matches("instance-id: ").trim_matches('"').to_owned();
    let head = format!(
        "label         CIDATA\nuuid          {}\nsize          {}\nnode          worker-node-1\ninstance-id   {instance}\n\n",
        uuid(&world, seed),
        size(seed)
    );
    assert_eq!(world.run(&["inspect", seed]), Ran::ok(head + &listed_by_find(&world, seed), ""));
    let payload = world.payload("build");
    let head = format!(
        "label     NODEBAKE_PAYLOAD\nuuid      {}\nsize      {}\npayload   amd64\n\n",
        uuid(&world, &payload),
        size(&payload)
    );
    assert_eq!(world.run(&["inspect", &payload]), Ran::ok(head + &listed_by_find(&world, &payload), ""));

    // What stands beside the seed is in it; the node's key is not shown unasked.
    let path = "/nodebake/root/etc/kubernetes/pki/worker-node-1-key.pem";
    let refused = Ran::failed(2, &format!("{path} in {seed} is secret"), "add --show-secrets");
    assert_eq!(world.run(&["inspect", seed, path]), refused);
    let key = must(world.command(&[]).args(["inspect", seed, path, "--show-secrets"]));
    assert_eq!(key, world.read(".nodebake/identities/worker-node-1/key.pem").into_bytes());
    assert_eq!(world.run(&["inspect", seed, "/meta-data", "--show-secrets"]), Ran::ok(meta_data, ""));
    let runc = must(world.command(&[]).args(["inspect", &payload, "/bin/runc"]));
    assert_eq!(runc, fs::read(world.path(&world.cached(crate::mirror::Item::Runc))).unwrap());
}
