//! A node's bundle, of the seed cluster with settings of the test's own, and its files on a disk.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use nodebake::config::{Config, INIT, Mac, Macs, parse};
use nodebake::digest::Digest;
use nodebake::image::{Payload, PayloadContents, PreloadedImage};
use nodebake::render::{Content, Credentials, NodeBundle, PayloadPlace, render};
use nodebake::secret::Secret;

/// The seed cluster with one node, of no architecture's payload.
pub(crate) fn config(containerd: &str) -> Config {
    let mut config = parse(Path::new("/clusters/seed/nodebake.yaml"), INIT).unwrap();
    config.nodes.truncate(1);
    config.versions.containerd = containerd.parse().unwrap();
    config
}

/// Something of every kind that a user can give.
pub(crate) fn contents() -> PayloadContents {
    let image = PreloadedImage { file: "pod.tar".to_owned(), references: vec!["own.example/pod:1".to_owned()] };
    PayloadContents {
        binaries: vec!["crictl".to_owned()],
        packages: vec!["jq_1.7.1-6_amd64.deb".to_owned()],
        images: vec![image],
    }
}

/// Renders the node, with its payload on a drive.
pub(crate) fn bundle(config: &Config, contents: PayloadContents) -> NodeBundle {
    bundle_from(config, contents, PayloadPlace::Drive)
}

/// Renders the node.
pub(crate) fn bundle_from(config: &Config, contents: PayloadContents, place: PayloadPlace) -> NodeBundle {
    let key = Secret::new("SECRET BYTES\n");
    let credentials = Credentials { ca: "the CA\n", certificate: "the certificate\n", key: &key, host_keys: &[] };
    let payload = Payload { path: "payload.iso".into(), digest: Digest::of(b"payload"), size: 1, contents };
    let macs = Macs::from("52:54:00:12:34:56".parse::<Mac>().unwrap());
    render(config, &config.nodes[0], &macs, credentials, &payload, place).unwrap()
}

/// Writes what first boot would put below a folder of the guest to the same place below `root`.
pub(crate) fn install(bundle: &NodeBundle, folder: &str, root: &Path) {
    for file in bundle.files.iter().filter(|file| Path::new(&file.path).starts_with(folder)) {
        let path = root.join(file.path.trim_start_matches('/'));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        match &file.content {
            Content::Public(bytes, mode) => write(&path, bytes, *mode),
            Content::Secret(secret, mode) => write(&path, secret.expose(), *mode),
            Content::Link(target) => symlink(target, &path).unwrap(),
        }
    }
}

fn write(path: &Path, bytes: &[u8], mode: u32) {
    fs::write(path, bytes).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}
