//! What is installed and packed: which files go where, that they work there, and that the same sources make the same
//! bytes.
//!
//! Needs git, make, tar, gzip, sha256sum, unshare and systemd-analyze. Shells, man and cargo-deb are asked where they
//! are there.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_nodebake");

/// Mode and content of files by their paths.
type Files = BTreeMap<String, (u32, Vec<u8>)>;

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn is_there(program: &str) -> bool {
    std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).any(|folder| folder.join(program).is_file())
}

/// A target of the Makefile, under a umask, with these variables; none of a make that runs the tests.
fn make(target: &str, umask: &str, variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", "umask $0 && exec make \"$@\"", umask, "-s", "--no-print-directory", "-C"]);
    command.arg(repository()).arg(target);
    for name in ["MAKEFLAGS", "MAKELEVEL", "MFLAGS", "DESTDIR", "PREFIX", "BIN", "OUT", "SOURCE_DATE_EPOCH", "TZ"] {
        command.env_remove(name);
    }
    command.envs(variables.iter().copied());
    command
}

fn must(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// What a script says where it refuses to go on; make adds a line of its own.
fn refusal(output: &Output) -> (bool, String) {
    let said = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<_> = said.lines().filter(|line| !line.starts_with("make: ")).collect();
    (output.status.success(), lines.join("\n"))
}

fn path(folder: &TempDir, name: &str) -> String {
    folder.path().join(name).to_str().unwrap().to_owned()
}

/// All files beneath a folder, none of them a link.
fn files(folder: &Path) -> Files {
    let mut found = Files::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            let meta = fs::symlink_metadata(&path).unwrap();
            if meta.is_dir() {
                assert_eq!(meta.mode() & 0o7777, 0o755, "{}", path.display());
                folders.push(path);
                continue;
            }
            assert!(meta.is_file(), "{}", path.display());
            let name = path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
            found.insert(name, (meta.mode() & 0o7777, fs::read(&path).unwrap()));
        }
    }
    found
}

/// Names of the files of a folder of the repository and of those beneath it.
fn tracked(folder: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut folders = vec![PathBuf::from(folder)];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(repository().join(&next)).unwrap() {
            let name = next.join(entry.unwrap().file_name());
            if repository().join(&name).is_dir() {
                folders.push(name);
            } else {
                names.insert(name.to_str().unwrap().to_owned());
            }
        }
    }
    names
}

/// Files of the repository, without the program, by where they are installed beneath the prefix.
fn places() -> BTreeMap<String, String> {
    let mut places: BTreeMap<_, _> = [
        ("share/bash-completion/completions/nodebake", "completions/nodebake"),
        ("share/fish/vendor_completions.d/nodebake.fish", "completions/nodebake.fish"),
        ("share/zsh/site-functions/_nodebake", "completions/_nodebake"),
    ]
    .map(|(to, from)| (to.to_owned(), from.to_owned()))
    .into();
    places.extend(tracked("man").into_iter().map(|page| (format!("share/man/man1/{}", &page["man/".len()..]), page)));
    let top = fs::read_dir(repository()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let top = top.filter(|name| name.starts_with("LICENSE") || ["README.md", "CHANGELOG.md"].contains(&name.as_str()));
    places.extend(top.chain(tracked("docs")).map(|name| (format!("share/doc/nodebake/{name}"), name)));
    places
}

/// What must be installed beneath a prefix, of which this is the program.
fn wanted(prefix: &str, program: &str) -> Files {
    let mut wanted = Files::new();
    for (to, from) in places() {
        wanted.insert(format!("{prefix}/{to}"), (0o644, fs::read(repository().join(from)).unwrap()));
    }
    wanted.insert(format!("{prefix}/bin/nodebake"), (0o755, fs::read(program).unwrap()));
    wanted
}

/// A program that says the version, in place of the real one, which is large.
fn small_program(folder: &TempDir, version: &str) -> String {
    let program = path(folder, "nodebake");
    fs::write(&program, format!("#!/bin/sh\necho nodebake {version}\n")).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    program
}

fn assert_same(found: &Files, wanted: &Files) {
    let names: BTreeSet<_> = found.keys().chain(wanted.keys()).collect();
    let differ: Vec<_> = names.into_iter().filter(|name| found.get(*name) != wanted.get(*name)).collect();
    assert!(differ.is_empty(), "{differ:?}");
}

#[test]
fn what_is_installed_works_and_goes_again() {
    let folder = tempfile::tempdir().unwrap();
    let destination = path(&folder, "it's a root");
    // The user's umask, as that of a strict root, must not keep others from what is installed.
    must(&mut make("install", "022", &[("BIN", PROGRAM), ("DESTDIR", &destination)]));
    let installed = files(Path::new(&destination));
    assert_same(&installed, &wanted("usr/local", PROGRAM));

    let share = format!("{destination}/usr/local/share");
    let told = must(Command::new(format!("{destination}/usr/local/bin/nodebake")).arg("--version"));
    assert_eq!(told, format!("nodebake {}\n", env!("CARGO_PKG_VERSION")));
    if is_there("man") {
        let page = must(Command::new("man").args(["-M", &format!("{share}/man"), "-w", "nodebake-rebuild"]));
        assert_eq!(page.trim(), format!("{share}/man/man1/nodebake-rebuild.1"));
    }
    if is_there("zsh") {
        let ask = "fpath=($0 $fpath); autoload -Uz compinit; compinit -D -u; print -r -- $_comps[nodebake]";
        let function = must(Command::new("zsh").args(["-fc", ask, &format!("{share}/zsh/site-functions")]));
        assert_eq!(function, "_nodebake\n");
    }
    if is_there("fish") {
        let mut fish = Command::new("fish");
        fish.args(["-c", "complete -C 'nodebake reb'"]).env("HOME", folder.path()).env("XDG_DATA_DIRS", &share);
        // It completes only what there is.
        fish.env("PATH", format!("{destination}/usr/local/bin:/usr/bin:/bin"));
        fish.env_remove("XDG_CONFIG_HOME").env_remove("XDG_DATA_HOME");
        let completed = must(&mut fish);
        assert_eq!(completed.split_whitespace().next(), Some("rebuild"));
    }

    // Of an earlier version, and the user's.
    for name in ["man/man1/nodebake-frobnicate.1", "doc/nodebake/docs/old.md", "man/man1/nodebaker.1"] {
        fs::write(format!("{share}/{name}"), "").unwrap();
    }
    must(&mut make("uninstall", "022", &[("DESTDIR", &destination)]));
    let left: Vec<_> = files(Path::new(&destination)).into_keys().collect();
    assert_eq!(left, ["usr/local/share/man/man1/nodebaker.1"]);
    // Where nothing is, nothing is to do.
    must(&mut make("uninstall", "022", &[("DESTDIR", &destination)]));
}

#[test]
fn others_may_read_what_is_installed_whatever_the_umask() {
    let folder = tempfile::tempdir().unwrap();
    let program = small_program(&folder, "0");
    let destination = path(&folder, "root");
    fs::create_dir(&destination).unwrap();
    for prefix in ["/usr", "/usr/"] {
        let variables = [("BIN", program.as_str()), ("DESTDIR", &destination), ("PREFIX", prefix)];
        must(&mut make("install", "077", &variables));
        assert_same(&files(Path::new(&destination)), &wanted("usr", &program));
    }
}

#[test]
fn what_cannot_be_installed_or_packed_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let (none, out) = (path(&folder, "none"), path(&folder, "out"));
    let bare = format!("error: there is no program {none}\n\nhint: run `make build`, or name one: BIN=PATH");
    for target in ["install", "dist"] {
        let output = make(target, "022", &[("BIN", &none), ("DESTDIR", &out), ("OUT", &out)]).output().unwrap();
        assert_eq!(refusal(&output), (false, bare.clone()), "{target}");
    }
    let relative = [("BIN", PROGRAM), ("DESTDIR", out.as_str()), ("PREFIX", "usr")];
    let said = "error: PREFIX is 'usr', which is no absolute path\n\nhint: give another: PREFIX=/usr/local";
    for target in ["install", "uninstall"] {
        assert_eq!(refusal(&make(target, "022", &relative).output().unwrap()), (false, said.to_owned()));
    }

    let old = small_program(&folder, "0.0.1");
    let output = make("dist", "022", &[("BIN", &old), ("OUT", &out)]).output().unwrap();
    let version = env!("CARGO_PKG_VERSION");
    let said = format!("error: {old} says 'nodebake 0.0.1', and Cargo.toml {version}\n\nhint: run `make build`");
    assert_eq!(refusal(&output), (false, said));

    let program = small_program(&folder, version);
    let never = [("BIN", program.as_str()), ("OUT", &out), ("SOURCE_DATE_EPOCH", "yesterday")];
    let said =
        "error: SOURCE_DATE_EPOCH is 'yesterday', which is no number of seconds\n\nhint: give digits, or unset it";
    assert_eq!(refusal(&make("dist", "022", &never).output().unwrap()), (false, said.to_owned()));
    assert!(!Path::new(&out).exists());
}

#[test]
fn a_tarball_is_the_same_whoever_packs_it() {
    let folder = tempfile::tempdir().unwrap();
    let program = small_program(&folder, env!("CARGO_PKG_VERSION"));
    let pack = |out: &str, umask: &str, zone: &str, time: &str| {
        let out = path(&folder, out);
        let variables = [("BIN", program.as_str()), ("OUT", &out), ("TZ", zone), ("SOURCE_DATE_EPOCH", time)];
        let printed = must(&mut make("dist", umask, &variables));
        let names: Vec<_> = printed.lines().map(|line| line.strip_prefix(&format!("{out}/")).unwrap()).collect();
        let [tarball, sum] = names.as_slice() else { panic!("{printed}") };
        assert_eq!(*sum, format!("{tarball}.sha256"));
        assert_eq!(must(Command::new("sha256sum").args(["-c", sum]).current_dir(&out)), format!("{tarball}: OK\n"));
        let all: BTreeSet<_> = fs::read_dir(&out).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(all.len(), 2, "{all:?}");
        (format!("{out}/{tarball}"), fs::read(format!("{out}/{tarball}")).unwrap())
    };
    let (tarball, bytes) = pack("one", "022", "UTC", "1000000000");
    assert!(tarball.contains(concat!("/nodebake-", env!("CARGO_PKG_VERSION"), "-")), "{tarball}");
    assert!(pack("another/and deeper", "077", "Asia/Tokyo", "1000000000").1 == bytes);
    assert!(pack("later", "022", "UTC", "1000000001").1 != bytes);
    // The commit's time, or a fixed one.
    assert!(pack("unsaid", "022", "UTC", "").1 == pack("unsaid again", "022", "UTC", "").1);

    let listed = must(Command::new("tar").args(["--numeric-owner", "--full-time", "-tvzf", &tarball]).env("TZ", "UTC"));
    let lines: Vec<Vec<&str>> = listed.lines().map(|line| line.split_whitespace().collect()).collect();
    for line in &lines {
        assert_eq!((line[1], line[3], line[4]), ("0/0", "2001-09-09", "01:46:40"), "{line:?}");
    }
    let names: Vec<_> = lines.iter().map(|line| line[5].trim_end_matches('/').split('/').collect::<Vec<_>>()).collect();
    assert!(names.is_sorted(), "{listed}");
    let unpacked = path(&folder, "unpacked");
    fs::create_dir(&unpacked).unwrap();
    must(Command::new("tar").args(["-xpzf", &tarball, "--strip-components=1", "-C", &unpacked]));
    let wanted = wanted("", &program).into_iter().map(|(name, file)| (name[1..].to_owned(), file));
    assert_same(&files(Path::new(&unpacked)), &wanted.collect());
}

/// Where a file of ours is in a Debian package, which has a folder of its own for packages' completions of zsh, and its
/// own texts of licences.
fn in_debian(place: &str) -> Option<String> {
    let place = place.replace("share/zsh/site-functions/", "share/zsh/vendor-completions/");
    (!place.contains("/LICENSE")).then(|| format!("usr/{place}"))
}

#[test]
fn a_debian_package_has_what_is_installed() {
    let manifest: toml::Table = fs::read_to_string(repository().join("Cargo.toml")).unwrap().parse().unwrap();
    let assets = manifest["package"]["metadata"]["deb"]["assets"].as_array().unwrap();
    let mut packed = BTreeSet::new();
    for asset in assets {
        let asset: Vec<_> = asset.as_array().unwrap().iter().map(|part| part.as_str().unwrap()).collect();
        let [from, to, mode] = asset[..] else { panic!("{asset:?}") };
        let (folder, pattern) = from.split_once('/').unwrap_or(("", from));
        let found = match pattern {
            "**/*" | "*.1" => tracked(folder),
            _ => BTreeSet::from([from.to_owned()]),
        };
        for name in found {
            // Beneath the first folder of a pattern they keep their places.
            let kept = if pattern == "**/*" { &name[folder.len() + 1..] } else { name.rsplit('/').next().unwrap() };
            packed.insert((format!("{to}{kept}"), mode.to_owned(), name.clone()));
        }
    }
    let places = places().into_iter().filter_map(|(to, from)| Some((in_debian(&to)?, "644".to_owned(), from)));
    let mut wanted: BTreeSet<_> = places.collect();
    wanted.insert(("usr/bin/nodebake".to_owned(), "755".to_owned(), "target/release/nodebake".to_owned()));
    assert_eq!(packed, wanted);
}

#[test]
fn a_debian_package_is_made_where_cargo_deb_is() {
    let folder = tempfile::tempdir().unwrap();
    let out = path(&folder, "out");
    if !is_there("cargo-deb") {
        let output = make("deb", "022", &[("BIN", PROGRAM), ("OUT", &out)]).output().unwrap();
        let said = "error: cargo-deb is not installed\n\nhint: cargo install cargo-deb --locked";
        assert_eq!(refusal(&output), (false, said.to_owned()));
        return;
    }
    let variables = [("BIN", PROGRAM), ("OUT", out.as_str()), ("SOURCE_DATE_EPOCH", "1000000000"), ("FAST", "1")];
    let printed = must(&mut make("deb", "077", &variables));
    let package = printed.trim();
    let field = |name: &str| must(Command::new("dpkg-deb").args(["-f", package, name])).trim().to_owned();
    assert_eq!(field("Package"), "nodebake");
    assert!(field("Version").starts_with(env!("CARGO_PKG_VERSION")), "{}", field("Version"));
    assert!(field("Depends").split(", ").any(|on| on.starts_with("libvirt0 (>= ")), "{}", field("Depends"));
    for on in ["libvirt-daemon-system", "qemu-system-x86", "ca-certificates"] {
        assert!(field("Recommends").split(", ").any(|name| name == on), "{on}");
    }
    let unpacked = path(&folder, "unpacked");
    must(Command::new("dpkg-deb").args(["-x", package, &unpacked]));
    let told = must(Command::new(format!("{unpacked}/usr/bin/nodebake")).arg("--version"));
    assert_eq!(told, format!("nodebake {}\n", env!("CARGO_PKG_VERSION")));
    let found: BTreeSet<_> = files(Path::new(&unpacked)).into_iter().map(|(name, (mode, _))| (name, mode)).collect();
    let file = |name: String| if name.contains("/man1/") { (format!("{name}.gz"), 0o644) } else { (name, 0o644) };
    let mut wanted: BTreeSet<_> = places().into_keys().filter_map(|to| in_debian(&to)).map(file).collect();
    wanted.extend([("usr/bin/nodebake".to_owned(), 0o755), ("usr/share/doc/nodebake/copyright".to_owned(), 0o644)]);
    assert_eq!(found, wanted);
}

/// The examples of units, by systemd itself, where the program and its man pages are installed.
#[test]
fn units_are_as_systemd_wants_them() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let destination = path(&folder, "root");
    must(&mut make("install", "022", &[("BIN", PROGRAM), ("DESTDIR", &destination)]));
    let units = format!("{destination}/usr/local/share/doc/nodebake/docs/examples/systemd");
    let mut names: Vec<_> = fs::read_dir(&units).unwrap().map(|unit| unit.unwrap().path()).collect();
    names.sort();
    assert_eq!(names.len(), 2, "{names:?}");
    let inside = |words: &[&str]| {
        let mount = "mount --bind \"$0/usr/local\" /usr/local && exec \"$@\"";
        let mut command = Command::new("unshare");
        command.args(["-m", "--propagation", "private", "sh", "-ec", mount, &destination]).args(words);
        // systemd-analyze asks man whether a page is there, which asks the mounted folder.
        command.env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin").env_remove("MANPATH");
        command
    };
    let man = if is_there("man") { "--man=yes" } else { "--man=no" };
    let output = inside(&["systemd-analyze", "verify", man]).args(&names).output().unwrap();
    assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()), (Some(0), ""));
    // The lower, the less it could do; that of a unit without any of it is 9.6.
    let service = format!("{units}/nodebake-drift.service");
    must(&mut inside(&["systemd-analyze", "security", "--offline=true", "--threshold=21", "--no-pager", &service]));
}

/// Runs a script of packaging/ where a stand-in builds: a line of shell, in the folder of the sources, that prints the
/// program.
fn build_with(cargo: &str, script: &str, folder: &TempDir) -> Output {
    let bin = folder.path().join("bin");
    fs::create_dir_all(&bin).unwrap();
    let stand_in = "#!/bin/sh\nset -e\nwhile [ \"$1\" != --target-dir ]; do shift; done\nmkdir -p \"$2/release\"\n";
    fs::write(bin.join("cargo"), format!("{stand_in}{{ {cargo}; }} >\"$2/release/nodebake\"\n")).unwrap();
    fs::set_permissions(bin.join("cargo"), fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = Command::new(repository().join("packaging").join(script));
    let path = std::env::var("PATH").unwrap();
    command.env("PATH", format!("{}:{path}", bin.display())).env("PUBLISHED", folder.path().join("published"));
    for name in ["BIN", "CFLAGS", "CARGO_TARGET_DIR", "CARGO_ENCODED_RUSTFLAGS", "SOURCE_DATE_EPOCH"] {
        command.env_remove(name);
    }
    command.env("CARGO_HOME", "/cargo-home").env("RUSTFLAGS", "-C target-cpu=native").env("CARGO_INCREMENTAL", "1");
    command.output().unwrap()
}

#[test]
fn a_release_is_built_without_a_trace_of_the_machine() {
    let folder = tempfile::tempdir().unwrap();
    let tell = "printf '%s\\n' \"${RUSTFLAGS-none}\" \"$CFLAGS\" \"$CARGO_INCREMENTAL\" \"$SOURCE_DATE_EPOCH\"; \
                printf %s \"$CARGO_ENCODED_RUSTFLAGS\"";
    let log = path(&folder, "log");
    let ran = build_with(&format!("{{ {tell}; }} >{log}; echo program"), "release", &folder);
    let program = path(&folder, "published/release/nodebake");
    assert_eq!((ran.status.code(), String::from_utf8(ran.stdout).unwrap()), (Some(0), format!("{program}\n")));
    let clone = repository().to_str().unwrap();
    let told = fs::read_to_string(log).unwrap();
    let [rust, c, incremental, time, flags] = told.lines().collect::<Vec<_>>()[..] else { panic!("{told}") };
    assert_eq!((rust, incremental), ("none", "0"));
    assert_eq!(c, format!(" -ffile-prefix-map={clone}=/nodebake -ffile-prefix-map=/cargo-home=/cargo"));
    assert!(time.parse::<u64>().is_ok(), "{told}");
    let mapped = [format!("{clone}=/nodebake"), "/cargo-home=/cargo".to_owned()];
    assert_eq!(flags, mapped.map(|paths| format!("--remap-path-prefix={paths}")).join("\u{1f}"));

    // What names this machine all the same is found, wherever in the bytes it stands.
    for (cargo, named) in
        [("printf 'a\\0'; pwd | tr -d '\\n'; echo /src", clone), ("echo x/cargo-home/y", "/cargo-home")]
    {
        let said = format!("error: {program} names {named}\n\nhint: see what brings it there: strings -a {program}");
        assert_eq!(refusal(&build_with(cargo, "release", &folder)), (false, said));
    }
}

#[test]
fn two_builds_are_compared() {
    let folder = tempfile::tempdir().unwrap();
    let same = build_with("echo program; cat Cargo.lock; echo \"$SOURCE_DATE_EPOCH\"", "reproducible", &folder);
    let told = String::from_utf8(same.stdout).unwrap();
    assert!(same.status.success() && told.ends_with(", the same from two folders\n"), "{told}");
    for differs in ["umask", "date +%Z", "pwd | wc -c"] {
        let (success, said) = refusal(&build_with(differs, "reproducible", &folder));
        assert!(!success && said.contains("error: two builds of the same sources differ\n"), "{differs}: {said}");
    }
}
