//! `systemd-analyze verify` of every unit that is rendered, among the targets that systemd itself brings: it has nothing to
//! say.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use nodebake::config::{Config, Proxy};
use nodebake::image::PayloadContents;

use crate::bundle::{bundle, config, contents, install};

/// Where units stand in a guest.
const UNITS: &str = "etc/systemd/system";

/// What is said of the units of a node whose payload holds all programs, and their names.
fn verified(config: &Config, contents: PayloadContents) -> (String, Vec<String>) {
    let root = tempfile::tempdir().unwrap();
    let bundle = bundle(config, contents);
    install(&bundle, "/", root.path());
    programs(root.path());
    targets(root.path());
    verify(root.path())
}

/// The payload's, which units run in place.
fn programs(root: &Path) {
    let folder = root.join("opt/nodebake/payload/bin");
    fs::create_dir_all(&folder).unwrap();
    for name in ["containerd", "kubelet"] {
        fs::write(folder.join(name), "#!/bin/sh\n").unwrap();
        fs::set_permissions(folder.join(name), fs::Permissions::from_mode(0o755)).unwrap();
    }
}

/// systemd's own targets, as they are on this machine; nothing that anybody else hung into them.
fn targets(root: &Path) {
    let folder = root.join("usr/lib/systemd/system");
    fs::create_dir_all(&folder).unwrap();
    for entry in fs::read_dir("/usr/lib/systemd/system").unwrap() {
        let entry = entry.unwrap();
        if entry.path().extension().is_some_and(|extension| extension == "target") && entry.path().is_file() {
            fs::copy(entry.path(), folder.join(entry.file_name())).unwrap();
        }
    }
}

fn verify(root: &Path) -> (String, Vec<String>) {
    let entries = fs::read_dir(root.join(UNITS)).unwrap().map(Result::unwrap);
    let files = entries.filter(|entry| entry.file_type().unwrap().is_file());
    let mut units: Vec<_> = files.map(|file| file.file_name().into_string().unwrap()).collect();
    units.sort();
    let mut command = Command::new("systemd-analyze");
    command.args(["verify", "--man=no", "--recursive-errors=yes"]).arg(format!("--root={}", root.display()));
    let output = command.args(&units).env_clear().env("PATH", "/usr/bin:/bin").output().unwrap();
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert_eq!(output.status.success(), said.is_empty(), "{said}");
    (said, units)
}

const PLAIN: [&str; 4] =
    ["containerd.service", "kubelet.service", "nodebake-report.service", "opt-nodebake-payload.mount"];

#[test]
fn nothing_is_said_of_the_units_of_a_plain_node() {
    let (said, units) = verified(&config("2.1.9"), PayloadContents::default());
    assert_eq!((said.as_str(), units), ("", PLAIN.map(String::from).to_vec()));
}

#[test]
fn nothing_is_said_of_units_that_are_made_for_what_is_given() {
    let mut config = config("2.1.9");
    let settings = &mut config.nodes[0].settings;
    settings.ntp = vec!["10.0.0.1".to_owned()];
    settings.proxy = Some(Proxy {
        http: Some("http://10.0.0.9:3128".to_owned()),
        https: Some("http://own.example:3128/%41\"\\".to_owned()),
        no: vec![".own.example".to_owned()],
    });
    let (said, units) = verified(&config, contents());
    let mut wanted = PLAIN.map(String::from).to_vec();
    wanted.extend(["nodebake-images.service", "nodebake-packages.service"].map(String::from));
    wanted.sort();
    assert_eq!((said.as_str(), units), ("", wanted));
}

/// What these tests look for is found.
#[test]
fn a_fault_is_seen() {
    let root = tempfile::tempdir().unwrap();
    install(&bundle(&config("2.1.9"), PayloadContents::default()), "/", root.path());
    programs(root.path());
    targets(root.path());
    let unit = root.path().join(UNITS).join("kubelet.service");
    let text = fs::read_to_string(&unit).unwrap();
    // The wrong word is in whatever is said of it.
    for (from, to, wanted) in [
        ("Restart=always", "Restart=allways", "allways"),
        ("KillMode=", "KilMode=", "'KilMode'"),
        ("bin/kubelet ", "bin/kubelett ", "/usr/local/bin/kubelett"),
        ("Requires=opt-nodebake", "Requires=opt-nodebakee", "opt-nodebakee-payload.mount"),
    ] {
        fs::write(&unit, text.replace(from, to)).unwrap();
        let (said, _) = verify(root.path());
        assert!(said.contains(wanted), "{said}");
    }
}
