//! A mirror of a few hundred KiB under upstream's names, with its checksum files in upstream's forms.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::world::{must, sha256};

/// What a mirror holds, in the order of nodebake.lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Item {
    Kubelet,
    Kubectl,
    Containerd,
    Runc,
    CniPlugins,
    BaseImage,
}

pub(crate) const ITEMS: [Item; 6] =
    [Item::Kubelet, Item::Kubectl, Item::Containerd, Item::Runc, Item::CniPlugins, Item::BaseImage];

impl Item {
    /// As the lock calls it.
    pub(crate) fn kind(self) -> &'static str {
        match self {
            Self::Kubelet => "kubelet",
            Self::Kubectl => "kubectl",
            Self::Containerd => "containerd",
            Self::Runc => "runc",
            Self::CniPlugins => "cni-plugins",
            Self::BaseImage => "base-image",
        }
    }

    /// As the cluster file of the tests asks for it, without a leading v: none that is known to be bad.
    pub(crate) fn version(self) -> &'static str {
        match self {
            Self::Kubelet | Self::Kubectl => "1.35.1",
            Self::Containerd => "2.2.5",
            Self::Runc => "1.3.6",
            Self::CniPlugins => "1.9.0",
            Self::BaseImage => "lab-trixie",
        }
    }

    /// Why the lock believes its digest.
    pub(crate) fn trust(self) -> &'static str {
        match self {
            Self::Kubelet | Self::Kubectl => "unsigned: upstream signs with cosign, which is not checked",
            Self::Containerd => "unsigned: upstream publishes build attestations (sigstore), which are not checked",
            Self::CniPlugins => "unsigned: upstream publishes no signature",
            Self::BaseImage => "unsigned: the lab signs nothing",
            Self::Runc => "given",
        }
    }

    /// HOST/PATH of a version.
    pub(crate) fn place(self, version: &str) -> String {
        match self {
            Self::Kubelet | Self::Kubectl => format!("dl.k8s.io/release/v{version}/bin/linux/amd64/{}", self.kind()),
            Self::Containerd => format!(
                "github.com/containerd/containerd/releases/download/v{version}/containerd-{version}-linux-amd64.tar.gz"
            ),
            Self::Runc => format!("github.com/opencontainers/runc/releases/download/v{version}/runc.amd64"),
            Self::CniPlugins => format!(
                "github.com/containernetworking/plugins/releases/download/v{version}/cni-plugins-linux-amd64-v{version}.tgz"
            ),
            Self::BaseImage => "nodebake.invalid/lab/guest-amd64.img".to_owned(),
        }
    }

    /// Name and text of the checksum file beside a file with this digest.
    fn checksum_file(self, name: &str, digest: &str) -> (String, String) {
        let other = "0".repeat(64);
        match self {
            // The bare digits and no newline.
            Self::Kubelet | Self::Kubectl => (format!("{name}.sha256"), digest.to_owned()),
            Self::Containerd => (format!("{name}.sha256sum"), format!("{digest}  {name}\n")),
            // One list for the whole release, signed in clear text; nobody but upstream could sign it well.
            Self::Runc => (
                "runc.sha256sum".to_owned(),
                format!(
                    "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\n{digest}  {name}\n{other}  runc.arm64\n\
                     -----BEGIN PGP SIGNATURE-----\n\nbm8gc2lnbmF0dXJl\n-----END PGP SIGNATURE-----\n"
                ),
            ),
            Self::CniPlugins => (format!("{name}.sha256"), format!("{digest}  {name}\n")),
            Self::BaseImage => ("SHA256SUMS".to_owned(), format!("{other} *guest-arm64.img\n{digest} *{name}\n")),
        }
    }
}

/// Puts a file with its checksum file into the mirror.
pub(crate) fn publish(mirror: &Path, item: Item, version: &str, bytes: &[u8]) -> PathBuf {
    let path = mirror.join(item.place(version));
    let folder = path.parent().unwrap();
    fs::create_dir_all(folder).unwrap();
    fs::write(&path, bytes).unwrap();
    let (name, text) = item.checksum_file(path.file_name().unwrap().to_str().unwrap(), &sha256(&path));
    fs::write(folder.join(name), text).unwrap();
    path
}

/// Puts what the tests' cluster file asks for into the mirror for another architecture too: the same programs, as far as
/// their headers tell.
pub(crate) fn publish_arm64(mirror: &Path) {
    for item in ITEMS.into_iter().filter(|item| *item != Item::BaseImage) {
        let path = mirror.join(item.place(item.version()).replace("amd64", "arm64"));
        let folder = path.parent().unwrap();
        fs::create_dir_all(folder).unwrap();
        let bytes = match item {
            Item::Containerd => archive_of_containerd(&CONTAINERD, for_arm64),
            Item::CniPlugins => archive_of_plugins(&PLUGINS, for_arm64),
            _ => for_arm64(content(item)),
        };
        fs::write(&path, bytes).unwrap();
        let (name, text) = item.checksum_file(path.file_name().unwrap().to_str().unwrap(), &sha256(&path));
        // runc's list is one for all, and is there.
        if item != Item::Runc {
            fs::write(folder.join(name), text).unwrap();
        }
    }
}

/// Puts a release of Debian's image into the mirror, dated, and names it as the newest; gives its list of digests, amd64
/// first.
pub(crate) fn debian(mirror: &Path, release: &str, bytes: &[u8]) -> String {
    let tree = mirror.join("cloud.debian.org/images/cloud/trixie");
    let (dated, latest) = (tree.join(release), tree.join("latest"));
    for folder in [&dated, &latest] {
        fs::create_dir_all(folder).unwrap();
    }
    let mut sums = String::new();
    for arch in ["amd64", "arm64"] {
        let name = format!("debian-13-genericcloud-{arch}-{release}.qcow2");
        fs::write(dated.join(&name), bytes).unwrap();
        sums += &String::from_utf8(must(Command::new("sha512sum").arg(&name).current_dir(&dated))).unwrap();
        let manifest = format!(
            "{{\"items\": [{{\"kind\": \"Upload\", \"data\": {{}}}}, {{\"kind\": \"Build\", \"data\": {{\"info\": \
             {{\"arch\": \"{arch}\", \"version\": \"{release}\"}}}}}}]}}"
        );
        fs::write(latest.join(format!("debian-13-genericcloud-{arch}.json")), manifest).unwrap();
    }
    fs::write(dated.join("SHA512SUMS"), &sums).unwrap();
    sums
}

/// Names releases as upstream does: the newest patch release of Kubernetes, the tags of a project on GitHub.
pub(crate) fn release(mirror: &Path, stable: &str, tags: &[(&str, &[&str])]) {
    let folder = mirror.join("dl.k8s.io/release");
    fs::create_dir_all(&folder).unwrap();
    let minor = stable.rsplit_once('.').unwrap().0.trim_start_matches('v');
    fs::write(folder.join(format!("stable-{minor}.txt")), stable).unwrap();
    for (project, names) in tags {
        let folder = mirror.join(format!("api.github.com/repos/{project}/git/matching-refs/tags"));
        fs::create_dir_all(&folder).unwrap();
        let prefix = format!("{}.", names[0].rsplit_once('.').unwrap().0);
        let refs: Vec<_> = names.iter().map(|name| format!("{{\"ref\": \"refs/tags/{name}\"}}")).collect();
        fs::write(folder.join(prefix), format!("[{}]", refs.join(", "))).unwrap();
    }
}

/// A mirror of the versions that the tests' cluster file asks for.
pub(crate) fn make(mirror: &Path) {
    for (item, bytes) in contents() {
        publish(mirror, *item, item.version(), bytes);
    }
}

/// The files' contents, made once for all tests of a process.
fn contents() -> &'static [(Item, Vec<u8>)] {
    static CONTENTS: OnceLock<Vec<(Item, Vec<u8>)>> = OnceLock::new();
    CONTENTS.get_or_init(|| ITEMS.map(|item| (item, content(item))).into())
}

const CONTAINERD: [&str; 4] = ["containerd", "containerd-shim-runc-v2", "ctr", "containerd-stress"];
const PLUGINS: [&str; 4] = ["bridge", "host-local", "loopback", "portmap"];

/// The content of one file of the mirror.
pub(crate) fn content(item: Item) -> Vec<u8> {
    match item {
        Item::Kubelet => program("true"),
        Item::Kubectl => program("echo"),
        Item::Runc => program("cat"),
        Item::Containerd => containerd(&CONTAINERD),
        Item::CniPlugins => archive_of_plugins(&PLUGINS, |program| program),
        Item::BaseImage => base_image(),
    }
}

/// A real dynamic executable of this machine.
pub(crate) fn program(name: &str) -> Vec<u8> {
    fs::read(Path::new("/bin").join(name)).unwrap()
}

/// containerd's release archive with these programs in bin/.
pub(crate) fn containerd(programs: &[&str]) -> Vec<u8> {
    archive_of_containerd(programs, |program| program)
}

/// A program whose header says that it is for 64-bit Arm.
pub(crate) fn for_arm64(mut program: Vec<u8>) -> Vec<u8> {
    // e_machine: EM_AARCH64.
    program[18..20].copy_from_slice(&183_u16.to_le_bytes());
    program
}

fn archive_of_containerd(programs: &[&str], made: fn(Vec<u8>) -> Vec<u8>) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("bin")).unwrap();
    for name in programs {
        // Each its own bytes: what follows the sections of an executable is not looked at.
        let bytes = made([program("true"), name.as_bytes().to_vec()].concat());
        fs::write(folder.path().join("bin").join(name), bytes).unwrap();
    }
    archive(folder.path(), &["--owner=root:0", "--group=root:0"], "bin")
}

/// The CNI project's archive: entries start with ./, texts lie beside the plugins, the owner is whoever built it.
fn archive_of_plugins(plugins: &[&str], made: fn(Vec<u8>) -> Vec<u8>) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    for name in plugins {
        let bytes = made([program("true"), name.as_bytes().to_vec()].concat());
        fs::write(folder.path().join(name), bytes).unwrap();
    }
    fs::write(folder.path().join("LICENSE"), "Apache License\n").unwrap();
    fs::write(folder.path().join("README.md"), "The plugins\n").unwrap();
    archive(folder.path(), &["--owner=runner:1001", "--group=docker:127"], ".")
}

fn archive(folder: &Path, owner: &[&str], what: &str) -> Vec<u8> {
    let mut tar = Command::new("tar");
    tar.arg("-C").arg(folder).args(["--sort=name", "--mtime=@1700000000", "--mode=0755"]).args(owner);
    must(tar.args(["-I", "gzip -n", "-cf", "-", what]))
}

fn base_image() -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("guest.img");
    must(Command::new("qemu-img").args(["create", "-q", "-f", "qcow2"]).arg(&path).arg("16M"));
    fs::read(path).unwrap()
}
