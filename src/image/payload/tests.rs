//! Payloads of small, made-up artifacts.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::error::Error;
use std::fs::File;
use std::os::unix::fs::MetadataExt as _;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::*;
use crate::artifacts::Algorithm;
use crate::image::iso9660::{Image, Kind as EntryKind};
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
