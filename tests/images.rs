//! Images as others see them: the Linux kernel, xorriso, libarchive, 7-Zip, isoinfo and blkid
//! read back what was put in, whole.
//!
//! Needs root (owners are restored when files are taken out) and the packages xorriso, genisoimage, libarchive-tools, 7zip,
//! util-linux, busybox-static and qemu-system-x86; the kernel comes from Debian's archive, for a small guest of its own:
//! not every host's kernel knows iso9660. A missing tool is a failure. `NODEBAKE_TEST_TREES` sets the number of
//! random trees.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use nodebake::digest::Digest;
use nodebake::image::iso9660::{Attributes, Entry, Image, Kind, Label, Memory, Owner, Source, Time, Writer};
use nodebake::image::seed;
use nodebake::render::{Content, GuestFile, NodeBundle};
use nodebake::secret::Secret;

const LABEL: Label = Label::new("TEST_IMAGE");

/// `SplitMix64`: the same numbers on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, count: usize) -> usize {
        usize::try_from(self.next() % count as u64).unwrap()
    }

    fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len())]
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next().to_le_bytes()[0]).collect()
    }

    fn owner(&mut self) -> Owner {
        let mut id = || self.pick(&[0, 0, 1, 33, 1000, 65_534, 4_000_000_000]);
        Owner { uid: id(), gid: id() }
    }

    fn name(&mut self, longest: usize) -> String {
        let characters: Vec<char> = "abcXYZ019._-+ ,'äß漢😀".chars().collect();
        let longest = self.pick(&[1, 3, 8, 12, 30, 120, 253]).min(longest);
        let mut name = String::new();
        while name.len() < longest {
            name.push(self.pick(&characters));
        }
        while name.len() > longest.max(4) || matches!(name.as_str(), "." | "..") {
            name.pop();
            if name.is_empty() {
                name.push('n');
            }
        }
        name
    }
}

/// What is put into an image, by path.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Item {
    Directory(Attributes),
    File(Attributes, Vec<u8>),
    Link(Owner, String),
}

impl Item {
    fn directory(mode: u32) -> Self {
        Self::Directory(mode.into())
    }

    fn file(mode: u32, data: &[u8]) -> Self {
        Self::File(mode.into(), data.to_vec())
    }

    fn link(target: &str) -> Self {
        Self::Link(Owner::ROOT, target.to_owned())
    }

    fn owner(&self) -> Owner {
        match self {
            Self::Directory(attributes) | Self::File(attributes, _) => attributes.owner,
            Self::Link(owner, _) => *owner,
        }
    }
}

type Tree = BTreeMap<String, Item>;

fn random_tree(random: &mut Random, longest: usize) -> Tree {
    let mut tree = Tree::from([("/".to_owned(), Item::directory(0o755))]);
    let mut folders = vec![String::new()];
    // Now and then a directory of several blocks, and deep paths.
    let (items, depth_first) = (random.pick(&[3, 20, 60, 300]), random.below(3) == 0);
    for _ in 0..items {
        let folder =
            if depth_first { folders[folders.len() - 1].clone() } else { folders[random.below(folders.len())].clone() };
        let path = format!("{folder}/{}", random.name(longest));
        if path.len() > 3000 || tree.contains_key(&path) {
            continue;
        }
        let owner = random.owner();
        let item = match random.below(6) {
            0 => {
                folders.push(path.clone());
                Item::Directory(Attributes { mode: random.pick(&[0o755, 0o700, 0o555]), owner })
            }
            1 => {
                let count = if longest < 253 { random.below(2) } else { random.pick(&[0, 1, 2]) };
                let names: Vec<_> = (0..=count).map(|_| random.name(longest)).collect();
                // libisofs reads targets up to 1024 bytes; longer ones are tried against our reader in its own tests.
                Item::Link(owner, random.pick(&["", "/", "../", "./", "../../"]).to_owned() + &names.join("/"))
            }
            _ => {
                let size = random.pick(&[0, 1, 2047, 2048, 2049, 10_000]);
                let mode = random.pick(&[0o644, 0o600, 0o755, 0o400]);
                Item::File(Attributes { mode, owner }, random.bytes(size))
            }
        };
        tree.insert(path, item);
    }
    tree
}

fn write(tree: &Tree) -> Vec<u8> {
    let memory = Memory::default();
    let mut writer = Writer::new(&memory, LABEL, Time::FIXED);
    for (path, item) in tree {
        match item {
            Item::Directory(attributes) => writer.directory(path, *attributes).unwrap(),
            Item::File(attributes, data) => writer.add(path, *attributes, data).unwrap(),
            Item::Link(owner, target) => writer.link(path, *owner, target).unwrap(),
        }
    }
    let size = writer.finish(Digest::of(b"identity")).unwrap();
    let image = memory.into_bytes();
    assert_eq!(image.len() as u64, size);
    image
}

/// One line of a listing: path, type, mode, owner, group, size (of a file), link target, time, digest (of a file).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Line {
    path: String,
    kind: char,
    mode: u32,
    owner: Owner,
    size: u64,
    target: String,
    modified: i64,
    digest: Option<Digest>,
}

fn wanted(tree: &Tree) -> Vec<Line> {
    let line = |(path, item): (&String, &Item)| {
        let (kind, Attributes { mode, owner }, size, target, digest) = match item {
            Item::Directory(attributes) => ('d', *attributes, 0, String::new(), None),
            Item::File(attributes, data) => {
                ('f', *attributes, data.len() as u64, String::new(), Some(Digest::of(data)))
            }
            Item::Link(owner, target) => ('l', Attributes { mode: 0o777, owner: *owner }, 0, target.clone(), None),
        };
        Line { path: path.clone(), kind, mode, owner, size, target, modified: Time::FIXED.unix(), digest }
    };
    tree.iter().map(line).collect()
}

fn read_by_us<S: Source>(image: &Image<S>) -> Vec<Line> {
    let line = |entry: &Entry| {
        let (kind, target) = match &entry.kind {
            Kind::Directory => ('d', String::new()),
            Kind::File => ('f', String::new()),
            Kind::Link(target) => ('l', target.clone()),
            Kind::Special(letter) => (*letter, String::new()),
        };
        let digest = (kind == 'f').then(|| Digest::of_reader(&mut image.file(entry)).unwrap());
        let Entry { path, mode, owner, size, modified, .. } = entry.clone();
        Line { path, kind, mode, owner, size, target, modified: modified.unix(), digest }
    };
    image.entries().iter().map(line).collect()
}

/// Runs a program; whatever goes wrong is a failure of the test.
fn run(program: &str, arguments: &[&str]) -> Vec<u8> {
    let output = Command::new(program).args(arguments).env("LC_ALL", "C.UTF-8").output();
    let output = output.unwrap_or_else(|error| panic!("{program} (see this file's head for its package): {error}"));
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// Lists a folder: eight fields for everything in it, then the digests of its files.
const LIST: &str = r#"
    cd "$1"
    find . -printf '%P\0%y\0%m\0%U\0%G\0%s\0%l\0%T@\0'
    printf 'digests\0'
    find . -type f -print0 | xargs -0 -r sha256sum -z
"#;

fn list(folder: &Path) -> Vec<Line> {
    let output = run("sh", &["-ec", LIST, "list", folder.to_str().unwrap()]);
    let output = String::from_utf8(output).unwrap();
    let (lines, digests) = output.split_once("digests\0").unwrap();
    let digests: BTreeMap<_, _> =
        digests.split_terminator('\0').map(|line| (&line[68..], line[..64].parse::<Digest>().unwrap())).collect();
    let fields: Vec<_> = lines.split_terminator('\0').collect();
    let line = |fields: &[&str]| {
        let kind = fields[1].chars().next().unwrap();
        Line {
            path: format!("/{}", fields[0]),
            kind,
            mode: u32::from_str_radix(fields[2], 8).unwrap(),
            owner: Owner { uid: fields[3].parse().unwrap(), gid: fields[4].parse().unwrap() },
            size: if kind == 'f' { fields[5].parse().unwrap() } else { 0 },
            target: fields[6].to_owned(),
            modified: fields[7].split('.').next().unwrap().parse().unwrap(),
            digest: digests.get(fields[0]).copied(),
        }
    };
    let mut lines: Vec<_> = fields.chunks(8).map(line).collect();
    lines.sort();
    lines
}

fn extracted_by_libarchive(image: &Path) -> Vec<Line> {
    let folder = tempfile::tempdir().unwrap();
    let (image, to) = (image.to_str().unwrap(), folder.path().to_str().unwrap());
    run("bsdtar", &["-x", "-p", "--numeric-owner", "-f", image, "-C", to]);
    // It does not touch the folder that it was given.
    fs::set_permissions(to, fs::Permissions::from_mode(0o755)).unwrap();
    File::open(to)
        .unwrap()
        .set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(Time::FIXED.unix().unsigned_abs()))
        .unwrap();
    list(folder.path())
}

fn extracted_by_xorriso(image: &Path) -> Vec<Line> {
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("tree");
    let (image, to) = (image.to_str().unwrap(), to.to_str().unwrap());
    run(
        "xorriso",
        &["-abort_on", "WARNING", "-report_about", "WARNING", "-indev", image, "-osirrox", "on", "-extract", "/", to],
    );
    list(Path::new(to))
        .into_iter()
        .map(|line| if line.kind == 'l' { Line { modified: Time::FIXED.unix(), ..line } } else { line })
        .collect()
}

/// xorriso gives links the time and owner of their extraction; libarchive and the kernel show theirs.
fn as_xorriso_extracts(lines: &[Line]) -> Vec<Line> {
    let line = |line: &Line| if line.kind == 'l' { Line { owner: Owner::ROOT, ..line.clone() } } else { line.clone() };
    lines.iter().map(line).collect()
}

/// Directories of the path table, as isoinfo prints them: number of the parent and identifier.
fn directories_in_path_table(image: &Path) -> usize {
    let table = run("isoinfo", &["-p", "-i", image.to_str().unwrap()]);
    String::from_utf8_lossy(&table)
        .lines()
        .filter(|line| line.trim_start().starts_with(|c: char| c.is_ascii_digit()))
        .count()
}

/// 7-Zip: `7z` of Debian's package since trixie, `7zz` before.
fn seven_zip() -> &'static str {
    let is_there = |name: &&str| Command::new(name).output().is_ok();
    ["7z", "7zz"].into_iter().find(is_there).expect("7-Zip (see this file's head for its package)")
}

/// What 7-Zip takes out.
fn extracted_by_7zip(image: &Path) -> Vec<Line> {
    let folder = tempfile::tempdir().unwrap();
    let to = format!("-o{}", folder.path().to_str().unwrap());
    run(seven_zip(), &["x", "-y", "-snld20", "-bso0", "-bsp0", &to, image.to_str().unwrap()]);
    as_7zip_extracts(&list(folder.path()))
}

/// Names, kinds and contents: 7-Zip keeps neither owners nor directories' modes, leaves out links that lead out of the tree,
/// and ends names at their last dot (so random ones are not for it).
fn as_7zip_extracts(lines: &[Line]) -> Vec<Line> {
    let plain = |line: &Line| Line { mode: 0, owner: Owner::ROOT, modified: 0, ..line.clone() };
    lines.iter().filter(|line| line.kind != 'l').map(plain).collect()
}

fn paths_by_isoinfo(image: &Path) -> Vec<String> {
    let output = run("isoinfo", &["-R", "-f", "-i", image.to_str().unwrap()]);
    let mut paths: Vec<_> = String::from_utf8(output).unwrap().lines().map(ToOwned::to_owned).collect();
    paths.push("/".to_owned());
    paths.sort();
    paths
}

/// Fails with the first line that differs; whole listings are too long to be read.
#[track_caller]
fn assert_same(got: &[Line], wanted: &[Line], who: &str) {
    for (got, wanted) in got.iter().zip(wanted) {
        assert_eq!(got, wanted, "{who}");
    }
    assert_eq!(got.len(), wanted.len(), "{who}");
}

fn trees() -> u64 {
    std::env::var("NODEBAKE_TEST_TREES").map_or(50, |text| text.parse().unwrap())
}

#[test]
fn random_trees_read_back_whole_by_everyone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image.iso");
    for number in 0..trees() {
        // libarchive wants continuation areas before a file's data, which no standard asks for, and loses the slash
        // between two SL fields. Short names and links need neither.
        let short = number % 2 == 0;
        let tree = random_tree(&mut Random(number), if short { 100 } else { 253 });
        let image = write(&tree);
        assert!(image == write(&tree), "tree {number}: the same bytes twice");
        fs::write(&path, &image).unwrap();
        let wanted = wanted(&tree);
        let read = Image::open(image.as_slice()).unwrap();
        assert_eq!(read.label(), "TEST_IMAGE");
        assert_same(&read_by_us(&read), &wanted, &format!("tree {number}, our reader"));
        if short {
            assert_same(&extracted_by_libarchive(&path), &wanted, &format!("tree {number}, libarchive"));
        }
        assert_same(&extracted_by_xorriso(&path), &as_xorriso_extracts(&wanted), &format!("tree {number}, xorriso"));
        let paths: Vec<_> = wanted.iter().map(|line| line.path.clone()).collect();
        assert_eq!(paths_by_isoinfo(&path), paths, "tree {number}, isoinfo");
        let directories = wanted.iter().filter(|line| line.kind == 'd').count();
        assert_eq!(directories_in_path_table(&path), directories, "tree {number}, path table");
    }
}

/// Makes the files of a tree beneath a folder, all of them of [`Time::FIXED`].
fn lay_out(tree: &Tree, root: &Path) {
    for (path, item) in tree {
        let path = root.join(&path[1..]);
        match item {
            Item::Directory(_) => fs::create_dir(&path).unwrap(),
            Item::File(_, data) => fs::write(&path, data).unwrap(),
            Item::Link(_, target) => std::os::unix::fs::symlink(target, &path).unwrap(),
        }
    }
    for (path, item) in tree.iter().rev() {
        let path = root.join(&path[1..]);
        let owner = item.owner();
        std::os::unix::fs::lchown(&path, Some(owner.uid), Some(owner.gid)).unwrap();
        if let Item::Directory(attributes) | Item::File(attributes, _) = item {
            fs::set_permissions(path, fs::Permissions::from_mode(attributes.mode)).unwrap();
        }
    }
    run("find", &[root.to_str().unwrap(), "-exec", "touch", "-h", "-d", "@946684800", "{}", "+"]);
}

#[test]
fn our_reader_agrees_with_xorriso_as_a_writer() {
    for number in 0..10 {
        let tree = random_tree(&mut Random(1000 + number), 200);
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("tree");
        lay_out(&tree, &root);
        let image = folder.path().join("image.iso");
        let (root, image) = (root.to_str().unwrap(), image.to_str().unwrap());
        for version in ["new_rr", "old_rr"] {
            drop(fs::remove_file(image));
            run("xorriso", &["-compliance", version, "-outdev", image, "-map", root, "/", "-commit"]);
            let wanted = wanted(&tree);
            let read = Image::open(File::open(image).unwrap()).unwrap();
            assert_same(&read_by_us(&read), &wanted, &format!("tree {number}, {version}"));
            let read = Image::open_any(File::open(image).unwrap()).unwrap();
            assert_same(&read_by_us(&read), &wanted, &format!("tree {number}, {version}, anybody's"));
        }
    }
}

/// An image that genisoimage makes of a tree.
fn genisoimage(tree: &Tree, options: &[&str], folder: &Path) -> Image<File> {
    let (root, image) = (folder.join("tree"), folder.join("image.iso"));
    lay_out(tree, &root);
    let places = ["-o", image.to_str().unwrap(), root.to_str().unwrap()];
    run("genisoimage", &[&["-quiet", "-V", "OTHERS"], options, &places].concat());
    fs::remove_dir_all(root).unwrap();
    assert!(Image::open(File::open(&image).unwrap()).is_err(), "what others write is not taken for ours");
    Image::open_any(File::open(image).unwrap()).unwrap()
}

/// genisoimage moves directories below the eighth level to another place, from where Rock Ridge leads back.
#[test]
fn others_images_read_as_they_were_meant() {
    let folder = tempfile::tempdir().unwrap();
    let owner = Owner { uid: 1000, gid: 50 };
    let mut tree = Tree::from([
        ("/".to_owned(), Item::directory(0o755)),
        ("/Read me.txt".to_owned(), Item::File(Attributes { mode: 0o640, owner }, b"text".to_vec())),
        ("/link".to_owned(), Item::Link(owner, "Read me.txt".to_owned())),
    ]);
    let mut path = String::new();
    for level in 1..=20 {
        path = format!("{path}/level-{level}");
        tree.insert(path.clone(), Item::Directory(Attributes { mode: 0o750, owner }));
        tree.insert(format!("{path}/file"), Item::file(0o4755, level.to_string().as_bytes()));
    }
    let image = genisoimage(&tree, &["-R"], folder.path());
    assert_eq!(image.label(), "OTHERS");
    let got = read_by_us(&image);
    // The folder to which directories are moved is of genisoimage's own making.
    let (moved, got): (Vec<_>, Vec<_>) = got.into_iter().partition(|line| line.path == "/rr_moved");
    assert_eq!(moved.iter().map(|line| line.kind).collect::<Vec<_>>(), ['d']);
    assert_same(&got, &wanted(&tree), "Rock Ridge, relocated");

    // Without Rock Ridge there is neither owner nor mode, and names are Joliet's or ISO 9660's own.
    let plain = |path: &str, text: Option<&str>| Line {
        path: path.to_owned(),
        kind: if text.is_some() { 'f' } else { 'd' },
        mode: if text.is_some() { 0o444 } else { 0o555 },
        owner: Owner::ROOT,
        size: text.unwrap_or_default().len() as u64,
        target: String::new(),
        modified: Time::FIXED.unix(),
        digest: text.map(|text| Digest::of(text.as_bytes())),
    };
    let small = [("/", None), ("/Größe 1", None), ("/Größe 1/a file.conf", Some("1")), ("/b", Some("2"))];
    let item = |text: Option<&str>| text.map_or(Item::directory(0o755), |text| Item::file(0o644, text.as_bytes()));
    let tree: Tree = small.iter().map(|(path, text)| ((*path).to_owned(), item(*text))).collect();
    let image = genisoimage(&tree, &["-J", "-input-charset", "utf-8"], folder.path());
    assert_same(&read_by_us(&image), &small.map(|(path, text)| plain(path, text)), "Joliet");
    let image = genisoimage(&tree, &["-input-charset", "utf-8"], folder.path());
    let short = [("/", None), ("/B", Some("2")), ("/GR____E_", None), ("/GR____E_/A_FILE.CON", Some("1"))];
    assert_same(&read_by_us(&image), &short.map(|(path, text)| plain(path, text)), "ISO 9660 alone");
}

/// What blkid says of an image, in its own order.
fn blkid(image: &Path) -> BTreeMap<String, String> {
    let output = run("blkid", &["-p", "-o", "export", image.to_str().unwrap()]);
    let output = String::from_utf8(output).unwrap();
    output
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

fn bundle(node: &str) -> NodeBundle {
    let file = |path: &str, content| GuestFile::new(path, content);
    NodeBundle {
        node: node.parse().unwrap(),
        user_data: "#cloud-config\n".to_owned(),
        vendor_data: "#cloud-boothook\n".to_owned(),
        meta_data: format!("local-hostname: {node}\n"),
        network_config: "version: 2\n".to_owned(),
        first_boot: "#!/bin/sh\n".to_owned(),
        root_password: None,
        files: vec![
            file("/etc/kubernetes/pki/node-key.pem", Content::Secret(Secret::new(*b"key"), 0o600)),
            file("/etc/containerd/config.toml", Content::Public(b"version = 3\n".to_vec(), 0o644)),
            file(
                "/etc/systemd/system/multi-user.target.wants/kubelet.service",
                Content::Link("../kubelet.service".to_owned()),
            ),
            file("/var/lib/kubelet/a/b/c/d/e/f/g/deep", Content::Public(b"deep".to_vec(), 0o644)),
        ],
    }
}

#[test]
fn a_seed_is_a_nocloud_volume_for_everyone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("seed.iso");
    seed::bake(&bundle("worker-node-1"), Time::FIXED, &path).unwrap();
    let mut told = blkid(&path);
    let uuid = told.remove("UUID").unwrap();
    let of = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    };
    let fixed = of(&[
        ("APPLICATION_ID", "NODEBAKE"),
        ("BLOCK_SIZE", "2048"),
        ("DEVNAME", path.to_str().unwrap()),
        ("LABEL", "CIDATA"),
        ("SYSTEM_ID", "LINUX"),
        ("TYPE", "iso9660"),
        ("USAGE", "filesystem"),
    ]);
    assert_eq!(told, fixed);

    let directory = Item::directory;
    let file = |mode, text: &str| Item::file(mode, text.as_bytes());
    let mut tree: Tree = [
        ("/", directory(0o755)),
        ("/meta-data", file(0o600, "local-hostname: worker-node-1\n")),
        ("/network-config", file(0o600, "version: 2\n")),
        ("/user-data", file(0o600, "#cloud-config\n")),
        ("/vendor-data", file(0o600, "#cloud-boothook\n")),
        ("/nodebake", directory(0o700)),
        ("/nodebake/first-boot", file(0o700, "#!/bin/sh\n")),
        ("/nodebake/root/etc/kubernetes/pki/node-key.pem", file(0o600, "key")),
        ("/nodebake/root/etc/containerd/config.toml", file(0o644, "version = 3\n")),
        ("/nodebake/root/etc/systemd/system/multi-user.target.wants/kubelet.service", Item::link("../kubelet.service")),
        ("/nodebake/root/var/lib/kubelet/a/b/c/d/e/f/g/deep", file(0o644, "deep")),
    ]
    .map(|(path, item)| (path.to_owned(), item))
    .into();
    for path in tree.keys().cloned().collect::<Vec<_>>() {
        for (at, _) in path.match_indices('/').skip(1) {
            tree.entry(path[..at].to_owned()).or_insert(Item::directory(0o755));
        }
    }
    assert_same(&extracted_by_xorriso(&path), &wanted(&tree), "xorriso");
    assert_same(&extracted_by_libarchive(&path), &wanted(&tree), "libarchive");
    assert_same(&extracted_by_7zip(&path), &as_7zip_extracts(&wanted(&tree)), "7-Zip");

    // The UUID follows the content: another node, another UUID; the same node, the same.
    seed::bake(&bundle("worker-node-2"), Time::FIXED, &path).unwrap();
    assert_ne!(blkid(&path).get("UUID"), Some(&uuid));
    seed::bake(&bundle("worker-node-1"), Time::FIXED, &path).unwrap();
    assert_eq!(blkid(&path).get("UUID"), Some(&uuid));
}

/// Opens an image and reads every file in it.
fn read_everything(image: &[u8]) -> Option<usize> {
    let image = Image::open(image).ok()?;
    Some(
        image
            .entries()
            .iter()
            .filter_map(|entry| image.read(entry, 1 << 20).ok().flatten())
            .map(|data| data.len())
            .sum(),
    )
}

#[test]
fn malformed_images_are_refused_without_a_panic() {
    let tree: Tree = [
        ("/a", Item::directory(0o755)),
        ("/a/file", Item::file(0o644, &[7; 3000])),
        ("/a/link", Item::link("../b/../c")),
        (&format!("/a/{}", "long".repeat(60)), Item::link(&format!("/{}", "far/".repeat(300) + "end"))),
    ]
    .map(|(path, item)| (path.to_owned(), item))
    .into();
    let image = write(&tree);
    assert_eq!(read_everything(&image), Some(3000));
    for size in (0..image.len()).step_by(97) {
        assert_eq!(read_everything(&image[..size]), None, "cut to {size} bytes");
    }
    // Descriptors stand in blocks 16 and 17, directories behind the two blocks of data.
    let mut places: Vec<_> = (16 * 2048..18 * 2048).chain(20 * 2048..image.len()).collect();
    places.retain(|at| image[*at] != 0 || at % 2048 < 300);
    let mut random = Random(7);
    let mut refused = 0;
    for _ in 0..20_000 {
        let mut mutant = image.clone();
        for _ in 0..=random.below(3) {
            mutant[random.pick(&places)] = random.next().to_le_bytes()[0];
        }
        refused += u32::from(read_everything(&mutant).is_none());
    }
    assert!((4000..20_000).contains(&refused), "{refused} of 20000 were refused");
}

/// First process of the guest: mounts every disk and tells on the second serial line what stands there.
const GUEST: &str = r#"#!/bin/busybox sh
export PATH=/bin
/bin/busybox --install /bin
mount -t devtmpfs none /dev
for module in virtio_ring virtio virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci virtio_blk cdrom isofs; do
    insmod "/modules/$module.ko"
done
stty raw </dev/ttyS1
exec >/dev/ttyS1
for disk in /dev/vd?; do
    mount -t iso9660 -o ro "$disk" /mnt && cd /mnt || break
    find . -exec stat -c "%n	%f	%u	%g	%s	%Y	%N" {} +
    echo digests
    find . -type f -exec sha256sum {} +
    echo end
    cd / && umount /mnt
done
reboot -f
"#;

/// A kernel and its modules from Debian's archive, unpacked once for all runs of the tests.
fn kernel() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("guest-kernel");
    let depends = String::from_utf8(run("apt-cache", &["depends", "linux-image-cloud-amd64"])).unwrap();
    let package = depends
        .split_whitespace()
        .skip(1)
        .find(|word| word.starts_with("linux-image-"))
        .unwrap_or_else(|| panic!("linux-image-cloud-amd64 depends on no kernel: {depends}"));
    let kernel = folder.join(package);
    if !kernel.exists() {
        let made = folder.join(format!("{package}.{}", std::process::id()));
        fs::create_dir_all(&made).unwrap();
        let fetch =
            format!("cd '{}' && apt-get -q download {package} && dpkg-deb -x *.deb . && rm *.deb", made.display());
        run("sh", &["-ec", &fetch]);
        fs::rename(&made, &kernel).unwrap();
    }
    kernel
}

/// Packs busybox, the modules and [`GUEST`] into an initramfs.
fn initramfs(kernel: &Path, folder: &Path) -> PathBuf {
    let pack = r#"
        mkdir -p "$2/bin" "$2/dev" "$2/mnt" "$2/modules"
        cp /bin/busybox "$2/bin/"
        find "$1/lib/modules" -name '*.ko' | grep -E '/(virtio|virtio_ring|virtio_pci.*|virtio_blk|cdrom|isofs)\.ko$' |
            xargs -I{} cp {} "$2/modules/"
        cp "$3" "$2/init" && chmod 0755 "$2/init"
        cd "$2" && find . | busybox cpio -o -H newc > "$4"
    "#;
    let (init, packed) = (folder.join("init"), folder.join("initramfs"));
    fs::write(&init, GUEST).unwrap();
    let root = folder.join("root");
    let arguments = [kernel, root.as_path(), init.as_path(), packed.as_path()].map(|path| path.to_str().unwrap());
    run("sh", &[&["-ec", pack, "pack"][..], &arguments].concat());
    packed
}

/// What the Linux kernel sees in each image, in a guest in which they are virtio disks.
fn seen_by_the_kernel(images: &[PathBuf], folder: &Path) -> Vec<Vec<Line>> {
    let kernel = kernel();
    let boot = fs::read_dir(kernel.join("boot")).unwrap().map(|entry| entry.unwrap().path());
    let vmlinuz =
        boot.into_iter().find(|path| path.file_name().unwrap().to_string_lossy().starts_with("vmlinuz")).unwrap();
    let (initramfs, told) = (initramfs(&kernel, folder), folder.join("told"));
    let mut arguments = vec!["300".to_owned(), "qemu-system-x86_64".to_owned()];
    let mut add = |text: &str| arguments.extend(text.split(' ').map(ToOwned::to_owned));
    add("-accel tcg -m 256 -display none -nodefaults -no-reboot -append console=ttyS0");
    add(&format!("-kernel {} -initrd {}", vmlinuz.display(), initramfs.display()));
    add(&format!("-serial file:{} -serial file:{}", folder.join("console").display(), told.display()));
    for image in images {
        add(&format!("-drive file={},if=virtio,format=raw,readonly=on", image.display()));
    }
    run("timeout", &arguments.iter().map(String::as_str).collect::<Vec<_>>());
    let told = fs::read_to_string(told).unwrap();
    let parts: Vec<_> = told.split_terminator("end\n").map(parse_guest).collect();
    let console = String::from_utf8_lossy(&fs::read(folder.join("console")).unwrap()).into_owned();
    assert_eq!(parts.len(), images.len(), "the guest's console:\n{console}");
    parts
}

/// Reads one image's part of what [`GUEST`] tells.
fn parse_guest(told: &str) -> Vec<Line> {
    let (lines, digests) = told.split_once("digests\n").unwrap();
    let digests: BTreeMap<_, _> =
        digests.lines().map(|line| (&line[66..], line[..64].parse::<Digest>().unwrap())).collect();
    let line = |line: &str| {
        let fields: Vec<_> = line.split('\t').collect();
        let name = fields[0];
        let mode = u32::from_str_radix(fields[1], 16).unwrap();
        let kind = match mode >> 12 {
            0o04 => 'd',
            0o10 => 'f',
            0o12 => 'l',
            other => panic!("{name}: type {other:o}"),
        };
        let link = fields[6].strip_prefix(&format!("'{name}' -> '")).and_then(|link| link.strip_suffix('\''));
        Line {
            path: if name == "." { "/".to_owned() } else { name[1..].to_owned() },
            kind,
            mode: mode & 0o7777,
            owner: Owner { uid: fields[2].parse().unwrap(), gid: fields[3].parse().unwrap() },
            size: if kind == 'f' { fields[4].parse().unwrap() } else { 0 },
            target: link.unwrap_or_default().to_owned(),
            modified: fields[5].parse().unwrap(),
            digest: digests.get(name).copied(),
        }
    };
    let mut lines: Vec<_> = lines.lines().map(line).collect();
    lines.sort();
    lines
}

/// One directory of many blocks, and a file of two extents, of which the bytes around the seam are looked at.
#[test]
fn large_directories_and_files_read_back_by_others() {
    const SIZE: u64 = (4 << 30) + 4097;
    const SEAM: u64 = (4 << 30) - 2048;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large.iso");
    let target = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
    let mut writer = Writer::new(&target, LABEL, Time::FIXED);
    let mut paths = vec!["/".to_owned(), "/large".to_owned(), "/many".to_owned()];
    // Its data stays a hole.
    drop(writer.file("/large", 0o644, SIZE).unwrap());
    for number in 0..20_000 {
        let name = format!("/many/file-{number:05}.conf");
        writer.add(&name, 0o644, b"").unwrap();
        paths.push(name);
    }
    writer.finish(Digest::of(b"identity")).unwrap();
    let image = Image::open(&target).unwrap();
    let spans: Vec<_> = image.entry("/large").unwrap().spans().collect();
    assert_eq!(spans, [(18 * 2048, SEAM), (18 * 2048 + SEAM, SIZE - SEAM)]);
    std::os::unix::fs::FileExt::write_all_at(&target, b"left right", 18 * 2048 + SEAM - 5).unwrap();

    let ours: Vec<_> = image.entries().iter().map(|entry| entry.path.clone()).collect();
    assert!(ours == paths, "our reader");
    // isoinfo shows a file once an extent.
    let mut shown = paths_by_isoinfo(&path);
    shown.dedup();
    assert!(shown == paths, "isoinfo");
    let (image, cut) = (path.to_str().unwrap(), folder.path().join("cut"));
    let (start, to) = ((SEAM - 8).to_string(), cut.to_str().unwrap());
    run("xorriso", &["-osirrox", "on", "-indev", image, "-extract_cut", "/large", &start, "16", to]);
    assert_eq!(fs::read(cut).unwrap(), b"\0\0\0left right\0\0\0");
    let listed = String::from_utf8(run(seven_zip(), &["l", "-slt", image])).unwrap();
    let files: Vec<_> = listed.lines().filter_map(|line| line.strip_prefix("Path = ")).skip(1).collect();
    let sizes: Vec<_> = listed.lines().filter_map(|line| line.strip_prefix("Size = ")).collect();
    assert_eq!((files.len(), sizes[0]), (paths.len() - 1, SIZE.to_string().as_str()));
}

#[test]
fn the_linux_kernel_sees_what_was_put_in() {
    let folder = tempfile::tempdir().unwrap();
    let mut trees: Vec<_> = (0..6).map(|number| random_tree(&mut Random(2000 + number), 253)).collect();
    // The longest link that the kernel reads, in a chain of continuation areas.
    let long = "0123456789/".repeat(400)[..4000].trim_end_matches('/').to_owned();
    trees[0].insert("/long link".to_owned(), Item::link(&long));
    let write = |(number, tree): (usize, &Tree)| {
        let path = folder.path().join(format!("{number}.iso"));
        fs::write(&path, write(tree)).unwrap();
        path
    };
    let images: Vec<_> = trees.iter().enumerate().map(write).collect();
    for (number, (got, tree)) in seen_by_the_kernel(&images, folder.path()).iter().zip(&trees).enumerate() {
        assert_same(got, &wanted(tree), &format!("tree {number}"));
    }
}
