//! Payloads of small, made-up artifacts.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::error::Error;
use std::fs::File;
use std::os::unix::fs::MetadataExt as _;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::*;
use crate::artifacts::Algorithm;
use crate::image::contents::PreloadedImage;
use crate::image::iso9660::{Image, Kind as EntryKind};
use crate::image::unpack::tests::plain_files;
use crate::progress::Silent;

const PROGRAM: &[u8] = b"\x7FELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x3E\0 and so on";
const FOREIGN: &[u8] = b"\x7FELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\xB7\0 and so on";

fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (path, data) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o755);
        header.set_uid(1001);
        header.set_size(data.len() as u64);
        builder.append_data(&mut header, path, *data).unwrap();
    }
    builder.into_inner().unwrap().finish().unwrap()
}

/// A folder with the four artifacts; `change` may spoil them before they are written.
struct Artifacts {
    folder: tempfile::TempDir,
}

impl Artifacts {
    fn new(change: impl FnOnce(&mut [Vec<u8>; 4])) -> Self {
        let containerd = archive(&[
            ("bin/containerd-shim-runc-v2", &[PROGRAM, b"shim"].concat()),
            ("bin/containerd", &[PROGRAM, &[7; 5000]].concat()),
            ("bin/containerd-stress", PROGRAM),
            ("bin/ctr", PROGRAM),
        ]);
        let plugins = archive(&[
            ("./LICENSE", b"words"),
            ("./bridge", &[PROGRAM, b"bridge"].concat()),
            ("./host-local", PROGRAM),
            ("./loopback", PROGRAM),
            ("./portmap", PROGRAM),
        ]);
        let mut files = [[PROGRAM, b"kubelet"].concat(), containerd, [PROGRAM, b"runc"].concat(), plugins];
        change(&mut files);
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes) in ["kubelet", "containerd", "runc", "cni"].iter().zip(files) {
            fs::write(folder.path().join(name), bytes).unwrap();
        }
        Self { folder }
    }

    fn inputs(&self) -> PayloadInputs {
        let ingredient = |(kind, name): (Kind, &str)| {
            let path = self.folder.path().join(name);
            let checksum = Checksum::Sha256(Digest::of(&fs::read(&path).unwrap()));
            Ingredient { kind, name: "1.2.3".to_owned(), checksum, path }
        };
        let kinds = [
            (Kind::Kubelet, "kubelet"),
            (Kind::Containerd, "containerd"),
            (Kind::Runc, "runc"),
            (Kind::CniPlugins, "cni"),
        ];
        PayloadInputs { arch: Arch::Amd64, time: Time::FIXED, ingredients: kinds.map(ingredient).into() }
    }

    fn bake(&self, out: &Path) -> Result<Payload, PayloadError> {
        bake(&self.inputs(), out, &Silent).map(|(payload, _)| payload)
    }

    /// The chain of an error's messages, the artifacts' folder called F.
    fn message(&self, error: &PayloadError) -> String {
        let chain = std::iter::successors(Some(error as &dyn Error), |error: &&dyn Error| (*error).source());
        let text = chain.map(ToString::to_string).collect::<Vec<_>>().join(": ");
        text.replace(self.folder.path().to_str().unwrap(), "F")
    }
}

#[test]
fn holds_the_programs_and_says_so() {
    let out = tempfile::tempdir().unwrap();
    let payload = Artifacts::new(|_| {}).bake(out.path()).unwrap();
    let bytes = fs::read(&payload.path).unwrap();
    let digest = Digest::of(&bytes);
    let path = out.path().join(format!("payload-{}.iso", digest.short()));
    assert_eq!(payload, Payload { path, digest, size: bytes.len() as u64, contents: PayloadContents::default() });
    assert_eq!(fs::metadata(&payload.path).unwrap().mode(), 0o100_644);

    let image = Image::open(bytes.as_slice()).unwrap();
    assert_eq!(image.label(), "NODEBAKE_PAYLOAD");
    let wanted = [
        ("/bin/containerd", [PROGRAM, &[7; 5000]].concat()),
        ("/bin/containerd-shim-runc-v2", [PROGRAM, b"shim"].concat()),
        ("/bin/ctr", PROGRAM.to_vec()),
        ("/bin/kubelet", [PROGRAM, b"kubelet"].concat()),
        ("/bin/runc", [PROGRAM, b"runc"].concat()),
        ("/cni/bridge", [PROGRAM, b"bridge"].concat()),
        ("/cni/host-local", PROGRAM.to_vec()),
        ("/cni/loopback", PROGRAM.to_vec()),
        ("/cni/portmap", PROGRAM.to_vec()),
    ];
    let files: Vec<_> =
        wanted.iter().map(|(path, data)| serde_json::json!({"path": path, "size": data.len()})).collect();
    let manifest = serde_json::json!({"name": "nodebake-payload", "arch": "amd64", "files": files});
    let mut got = Vec::new();
    for entry in image.entries().iter().filter(|entry| entry.kind == EntryKind::File) {
        let data = image.read(entry, 1 << 20).unwrap().unwrap();
        if entry.path == "/payload.json" {
            assert_eq!(serde_json::from_slice::<serde_json::Value>(&data).unwrap(), manifest);
            assert_eq!(entry.mode, 0o644);
        } else {
            assert_eq!(entry.mode, 0o755);
            got.push((entry.path.clone(), data));
        }
    }
    assert_eq!(got, wanted.map(|(path, data)| (path.to_owned(), data)));
}

#[test]
fn same_inputs_give_the_same_bytes_and_are_found_again() {
    let out = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let artifacts = Artifacts::new(|_| {});
    let [first, second] = out.each_ref().map(|out| artifacts.bake(out.path()).unwrap());
    assert_eq!((first.digest, first.size), (second.digest, second.size));
    assert_eq!(fs::read(&first.path).unwrap(), fs::read(&second.path).unwrap());
    let sidecars = [&first, &second].map(|payload| fs::read(payload.path.with_extension("json")).unwrap());
    assert_eq!(sidecars[0], sidecars[1]);
    assert_eq!(fs::read_dir(out[0].path()).unwrap().count(), 2);

    let (folder, inputs) = (out[0].path(), artifacts.inputs().digest());
    assert_eq!(find(folder, inputs), Some(first.clone()));
    assert_eq!(find(folder, Digest::of(b"others")), None);
    File::options().write(true).open(&first.path).unwrap().set_len(first.size - 1).unwrap();
    assert_eq!(find(folder, inputs), None);
    fs::remove_file(&first.path).unwrap();
    assert_eq!(find(folder, inputs), None);
    assert_eq!(find(&folder.join("nowhere"), inputs), None);
}

#[test]
fn inputs_are_told_apart() {
    let sum = |letter: &str| Algorithm::Sha256.parse(&letter.repeat(64)).unwrap();
    let ingredient = |kind, name: &str, letter| Ingredient {
        kind,
        name: name.to_owned(),
        checksum: sum(letter),
        path: PathBuf::from(letter),
    };
    let of = |arch, time, ingredients: &[Ingredient]| {
        PayloadInputs { arch, time, ingredients: ingredients.to_vec() }.digest()
    };
    let later = Time::from_unix(0).unwrap();
    let base = [ingredient(Kind::Kubelet, "1.2.3", "a"), ingredient(Kind::Runc, "1.2.3", "b")];
    let [kubelet, runc] = base.clone();
    let sha512 = Ingredient { checksum: Algorithm::Sha512.parse(&"a".repeat(128)).unwrap(), ..kubelet.clone() };
    let with = |kind, name| [kubelet.clone(), runc.clone(), ingredient(kind, name, "c")];
    let all = [
        of(Arch::Amd64, Time::FIXED, &base),
        of(Arch::Arm64, Time::FIXED, &base),
        of(Arch::Amd64, later, &base),
        of(Arch::Amd64, Time::FIXED, &[runc.clone(), kubelet.clone()]),
        of(Arch::Amd64, Time::FIXED, &[kubelet.clone(), ingredient(Kind::Runc, "1.2.3", "c")]),
        of(Arch::Amd64, Time::FIXED, &[sha512, runc.clone()]),
        of(Arch::Amd64, Time::FIXED, &with(Kind::Binary, "x")),
        of(Arch::Amd64, Time::FIXED, &with(Kind::Binary, "y")),
        of(Arch::Amd64, Time::FIXED, &with(Kind::Package, "x")),
    ];
    assert_eq!(std::collections::HashSet::from(all).len(), all.len());
    // Neither the place of a file nor the version of what there is one of says what is in it.
    let same = [Ingredient { path: PathBuf::from("elsewhere"), name: "1.2.4".to_owned(), ..kubelet.clone() }, runc];
    assert_eq!(of(Arch::Amd64, Time::FIXED, &same), all[0]);
}

#[test]
fn faults_name_the_artifact_and_leave_nothing() {
    type Change = fn(&mut [Vec<u8>; 4]);
    let cases: [(Change, &str); 8] = [
        (
            |files| files[0] = FOREIGN.to_vec(),
            "/bin/kubelet of kubelet (F/kubelet) cannot run on the nodes: \
             it is not built for amd64 (ELF machine 183)",
        ),
        (
            |files| files[2] = b"<html>".to_vec(),
            "/bin/runc of runc (F/runc) cannot run on the nodes: it is not an ELF program",
        ),
        (
            |files| files[1].truncate(100),
            "the archive of containerd (F/containerd) is refused: it cannot be read as an archive: \
             incomplete deflate stream",
        ),
        (
            |files| {
                let crc = files[3].len() - 8;
                files[3][crc] ^= 1;
            },
            "the archive of CNI plugins (F/cni) is refused: it cannot be read as an archive: \
             corrupt gzip stream does not have a matching checksum",
        ),
        (
            |files| files[1] = archive(&[("bin/containerd", PROGRAM), ("bin/ctr", PROGRAM)]),
            "the archive of containerd (F/containerd) holds no bin/containerd-shim-runc-v2",
        ),
        (
            |files| files[1] = archive(&[("bin/ctr", FOREIGN)]),
            "/bin/ctr of containerd (F/containerd) cannot run on the nodes: \
             it is not built for amd64 (ELF machine 183)",
        ),
        (
            |files| files[3] = archive(&[("bridge", PROGRAM), ("bridge", PROGRAM)]),
            "the archive of CNI plugins (F/cni) is refused: entry \"bridge\" is refused: it is there twice",
        ),
        (
            |files| files[3] = archive(&[("plugins/bridge", PROGRAM)]),
            "the archive of CNI plugins (F/cni) holds no bridge",
        ),
    ];
    for (change, wanted) in cases {
        let out = tempfile::tempdir().unwrap();
        let artifacts = Artifacts::new(change);
        let error = artifacts.bake(out.path()).unwrap_err();
        assert_eq!(artifacts.message(&error), wanted);
        assert!(error.hint().is_some());
        assert_eq!(fs::read_dir(out.path()).unwrap().count(), 0, "nothing is left");
    }
}

#[test]
fn a_file_that_changed_is_told_before_all_that_follows_from_it() {
    type Change = fn(&mut Vec<u8>);
    // What a change leads to: nothing at all, a program that is none, an archive that cannot be read or lacks a program.
    let cases: [(&str, &str, Change); 5] = [
        ("kubelet", "kubelet", |bytes| bytes.push(0)),
        ("runc", "runc", |bytes| bytes[0] = 0),
        ("containerd", "containerd", |bytes| bytes.truncate(100)),
        ("cni", "CNI plugins", |bytes| *bytes = archive(&[("bridge", PROGRAM)])),
        // Nothing in the archive differs, only how it is compressed: the operating system of the header.
        ("cni", "CNI plugins", |bytes| bytes[9] = 7),
    ];
    for (file, name, change) in cases {
        let out = tempfile::tempdir().unwrap();
        let artifacts = Artifacts::new(|_| {});
        let inputs = artifacts.inputs();
        let path = artifacts.folder.path().join(file);
        let mut bytes = fs::read(&path).unwrap();
        let wanted = Checksum::Sha256(Digest::of(&bytes));
        change(&mut bytes);
        fs::write(&path, &bytes).unwrap();
        let error = bake(&inputs, out.path(), &Silent).unwrap_err();
        let got = Digest::of(&bytes);
        let message = format!("the file of {name} has changed (F/{file}): {wanted} is locked, sha256:{got} is there");
        assert_eq!(artifacts.message(&error), message);
        assert_eq!(error.changed(), Some(&wanted));
        assert_eq!(fs::read_dir(out.path()).unwrap().count(), 0, "nothing is left");
    }
}

#[test]
fn there_must_be_one_of_each_kind() {
    let out = tempfile::tempdir().unwrap();
    let artifacts = Artifacts::new(|_| {});
    let mut inputs = artifacts.inputs();
    let runc = inputs.ingredients.remove(2);
    let error = bake(&inputs, out.path(), &Silent).unwrap_err();
    assert_eq!(error.to_string(), "a payload needs exactly one runc");
    inputs.ingredients.extend([runc.clone(), runc]);
    let error = bake(&inputs, out.path(), &Silent).unwrap_err();
    assert_eq!(error.to_string(), "a payload needs exactly one runc");
}

/// A small Debian package for amd64.
fn package() -> Vec<u8> {
    let control = plain_files(&[("./control", "Package: x\nArchitecture: amd64\n")]).into_inner().unwrap();
    let members = [("debian-binary", b"2.0\n".to_vec()), ("control.tar", control), ("data.tar", vec![])];
    let mut bytes = b"!<arch>\n".to_vec();
    for (name, data) in members {
        bytes.extend(format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, 100_644, data.len()).bytes());
        bytes.extend(data);
    }
    bytes
}

/// A docker archive with one image of this name.
fn container_image(name: &str) -> Vec<u8> {
    let files = [
        ("layer.tar", b"layer".to_vec()),
        ("config.json", br#"{"os": "linux", "architecture": "amd64"}"#.to_vec()),
        (
            "manifest.json",
            format!(r#"[{{"Config":"config.json","RepoTags":["{name}"],"Layers":["layer.tar"]}}]"#).into(),
        ),
    ];
    plain_files(&files).into_inner().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    std::io::Write::write_all(&mut encoder, bytes).unwrap();
    encoder.finish().unwrap()
}

/// Kind, name and bytes of a file of the user's own.
type Own<'a> = (Kind, &'a str, Vec<u8>);

/// Bakes the artifacts and files of the user's own.
fn bake_with(own: &[Own<'_>], out: &Path) -> Result<Payload, String> {
    let artifacts = Artifacts::new(|_| {});
    let mut inputs = artifacts.inputs();
    for (number, (kind, name, bytes)) in own.iter().enumerate() {
        let path = artifacts.folder.path().join(number.to_string());
        fs::write(&path, bytes).unwrap();
        let checksum = Checksum::Sha256(Digest::of(bytes));
        inputs.ingredients.push(Ingredient { kind: *kind, name: (*name).to_owned(), checksum, path });
    }
    let baked = bake(&inputs, out, &Silent).map(|(payload, _)| payload);
    if let Ok(payload) = &baked {
        assert_eq!(find(out, inputs.digest()).as_ref(), Some(payload));
    }
    baked.map_err(|error| artifacts.message(&error))
}

#[test]
fn the_user_s_own_files_are_in_it_and_named_beside_it() {
    let out = tempfile::tempdir().unwrap();
    let crictl = [PROGRAM, b"crictl"].concat();
    let [pause, own] = ["pause:3.10", "own.example/own:1"].map(container_image);
    let payload = bake_with(
        &[
            (Kind::Binary, "crictl", crictl.clone()),
            (Kind::Package, "x_1_amd64.deb", package()),
            (Kind::ContainerImage, "own.tgz", gzip(&own)),
            (Kind::ContainerImage, "pause-3.10.tar", pause.clone()),
        ],
        out.path(),
    );
    let payload = payload.unwrap();
    let image =
        |file: &str, reference: &str| PreloadedImage { file: file.to_owned(), references: vec![reference.to_owned()] };
    let contents = PayloadContents {
        binaries: vec!["crictl".to_owned()],
        packages: vec!["x_1_amd64.deb".to_owned()],
        images: vec![image("own.tar", "own.example/own:1"), image("pause-3.10.tar", "pause:3.10")],
    };
    assert_eq!(payload.contents, contents);
    let baked = Image::open(File::open(&payload.path).unwrap()).unwrap();
    let file = |path: &str| {
        let entry = baked.entry(path).unwrap();
        (entry.mode, baked.read(entry, 1 << 20).unwrap().unwrap())
    };
    assert_eq!(file("/bin/crictl"), (0o755, crictl));
    assert_eq!(file("/packages/x_1_amd64.deb"), (0o644, package()));
    assert_eq!(file("/images/own.tar"), (0o644, own));
    assert_eq!(file("/images/pause-3.10.tar"), (0o644, pause));
}

#[test]
fn faults_of_the_user_s_own_files_are_named() {
    let image = || container_image("x:1");
    let mut cut = gzip(&image());
    cut.truncate(100);
    let nameless = container_image("x:1").into_iter().map(|byte| if byte == b'R' { b'r' } else { byte }).collect();
    let cases: [(Vec<Own<'_>>, &str); 9] = [
        (
            vec![(Kind::Binary, "kubelet", PROGRAM.to_vec())],
            "binary kubelet cannot stand at /bin/kubelet of the payload: something else does",
        ),
        (
            vec![(Kind::Binary, "ctr", PROGRAM.to_vec())],
            "binary ctr cannot stand at /bin/ctr of the payload: something else does",
        ),
        (
            vec![(Kind::Binary, "crictl", FOREIGN.to_vec())],
            "/bin/crictl of binary crictl (F/0) cannot run on the nodes: it is not built for amd64 (ELF machine 183)",
        ),
        (
            vec![(Kind::Package, "x.deb", b"<html>".to_vec())],
            "package x.deb (F/0) is no package for the nodes: it is not a Debian package",
        ),
        (
            vec![(Kind::ContainerImage, "x.tar", b"<html>".to_vec())],
            "container image x.tar (F/0) is of no use to the nodes: it is refused: it cannot be read as an archive: \
             failed to read entire block",
        ),
        (
            vec![(Kind::ContainerImage, "x.tgz", cut)],
            "container image x.tgz (F/0) is of no use to the nodes: it is refused: it cannot be read as an archive: \
             incomplete deflate stream",
        ),
        (
            vec![(Kind::ContainerImage, "x.tar", [image(), vec![7]].concat())],
            "container image x.tar (F/0) is of no use to the nodes: it is refused: data follows the end of the archive",
        ),
        (
            vec![(Kind::ContainerImage, "x.tar", nameless)],
            "container image x.tar (F/0) is of no use to the nodes: no image in it has a name",
        ),
        (
            vec![(Kind::ContainerImage, "x.tar", image()), (Kind::ContainerImage, "x.tgz", gzip(&image()))],
            "container image x.tgz cannot stand at /images/x.tar of the payload: something else does",
        ),
    ];
    for (own, wanted) in cases {
        let out = tempfile::tempdir().unwrap();
        assert_eq!(bake_with(&own, out.path()), Err(wanted.to_owned()));
        assert_eq!(fs::read_dir(out.path()).unwrap().count(), 0, "nothing is left");
    }
}

/// The order in which the archives' threads come along decides nothing; here one of them is held up at each file.
#[test]
fn places_follow_from_the_archives_alone() {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::places::Places;
    use crate::image::iso9660::Writer;
    use crate::image::unpack::Member;

    // Offsets of the headers in the tar streams, and sizes. Both have one at 5120.
    let archives: [&[(u64, u64)]; 2] = [&[(0, 4000), (5120, 10), (9216, 0)], &[(512, 100), (1536, 3000), (5120, 10)]];
    let layout = |slow: usize| {
        let file = tempfile::tempfile().unwrap();
        let places = Places::<2>::new(Writer::new(&file, LABEL, Time::FIXED));
        let (hurry, wait) = mpsc::channel::<()>();
        let mut wait = Some(wait);
        std::thread::scope(|scope| {
            for (number, turn) in places.turns().into_iter().enumerate() {
                let hold = if number == slow { wait.take() } else { None };
                scope.spawn(move || {
                    for (file, (at, size)) in archives[number].iter().enumerate() {
                        if let Some(hold) = &hold {
                            // As long as it takes the other thread to run into a wait, or to be done.
                            let _ = hold.recv_timeout(Duration::from_millis(5));
                        }
                        let path = format!("/{number}/{file}");
                        let member = Member { path: path.clone(), size: *size, at: *at, data: &mut std::io::empty() };
                        drop(turn.place(&member, &path, 0o644).unwrap());
                    }
                });
            }
        });
        drop(hurry);
        places.into_writer().finish(Digest::of(b"")).unwrap();
        let image = Image::open(&file).unwrap();
        image.entries().iter().map(|entry| (entry.path.clone(), entry.spans().collect::<Vec<_>>())).collect::<Vec<_>>()
    };
    let first = layout(0);
    let mut order: Vec<_> = first.iter().filter(|(_, spans)| !spans.is_empty()).collect();
    order.sort_by_key(|(_, spans)| spans[0]);
    let order: Vec<_> = order.into_iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(order, ["/0/0", "/1/0", "/1/1", "/0/1", "/1/2"]);
    for _ in 0..20 {
        assert_eq!(layout(0), first);
        assert_eq!(layout(1), first);
    }
}

#[test]
fn what_does_not_read_back_is_told() {
    use std::collections::HashMap;
    use std::os::unix::fs::FileExt as _;
    use std::sync::mpsc;

    use super::bake::Planned;
    use super::check::read_back;

    let out = tempfile::tempdir().unwrap();
    let payload = Artifacts::new(|_| {}).bake(out.path()).unwrap();
    let file = File::options().read(true).write(true).open(&payload.path).unwrap();
    let (mut files, mut sums, mut spans) = (Vec::new(), HashMap::new(), HashMap::new());
    let image = Image::open(&file).unwrap();
    for entry in image.entries().iter().filter(|entry| entry.kind == EntryKind::File) {
        let mut crc = flate2::Crc::new();
        crc.update(&image.read(entry, 1 << 20).unwrap().unwrap());
        sums.insert(entry.path.clone(), crc.sum());
        spans.insert(entry.path.clone(), entry.spans().next().unwrap());
        files.push(Planned { path: entry.path.clone(), size: entry.size, mode: entry.mode });
    }
    let check = |files: &[Planned], late: &[&str]| {
        let mut known = sums.clone();
        let (send, written) = mpsc::channel();
        for path in late {
            let (path, sum) = known.remove_entry(*path).unwrap();
            send.send((path, sum)).unwrap();
        }
        drop(send);
        read_back(&file, Time::FIXED, files, known, &written).map_err(|error| error.to_string())
    };
    assert_eq!(check(&files, &[]), Ok(payload.digest));
    assert_eq!(check(&files, &["/bin/runc", "/bin/kubelet"]), Ok(payload.digest));

    let unlike = |what: &str| Err(format!("the payload does not read back as it was written: {what}"));
    let mut other = files.clone();
    other[0].mode = 0o644;
    assert_eq!(check(&other, &[]), unlike("its directories"));
    assert_eq!(check(&files[1..], &[]), unlike("its directories"));
    for path in ["/bin/ctr", "/bin/kubelet", "/payload.json"] {
        let (start, size) = spans[path];
        let mut byte = [0];
        file.read_exact_at(&mut byte, start + size - 1).unwrap();
        file.write_all_at(&[byte[0] ^ 0x10], start + size - 1).unwrap();
        assert_eq!(check(&files, &[]), unlike(path));
        file.write_all_at(&byte, start + size - 1).unwrap();
    }
    assert_eq!(check(&files, &[]), Ok(payload.digest));
    // A file of which nobody says that it was written.
    sums.remove("/bin/runc");
    let (_, nothing) = mpsc::channel();
    let error = read_back(&file, Time::FIXED, &files, sums, &nothing).map_err(|error| error.to_string());
    assert_eq!(error, unlike("/bin/runc"));
}
