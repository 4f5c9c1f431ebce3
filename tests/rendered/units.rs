//! `systemd-analyze verify` of every unit that is rendered, among the targets that systemd itself brings: it has nothing to
//! say.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use nodebake::config::{Body, Config, DataDisk, Mount, OwnFile, OwnUnit, Proxy};
use nodebake::image::PayloadContents;
use nodebake::render::PayloadPlace;

use crate::bundle::{bundle, bundle_from, config, contents, install};

/// Where units stand in a guest.
const UNITS: &str = "etc/systemd/system";

/// What is said of the units of a node whose payload holds all programs, and their names.
fn verified(config: &Config, contents: PayloadContents, place: PayloadPlace) -> (String, Vec<String>) {
    let root = tempfile::tempdir().unwrap();
    install(&bundle_from(config, contents, place), "/", root.path());
    programs(root.path());
    targets(root.path());
    verify(root.path())
}

/// The payload's, which units run in place, and the shell.
fn programs(root: &Path) {
    let folder = root.join("opt/nodebake/payload/bin");
    fs::create_dir_all(&folder).unwrap();
    let shell = root.join("bin");
    fs::create_dir_all(&shell).unwrap();
    for program in ["containerd", "kubelet"].map(|name| folder.join(name)).into_iter().chain([shell.join("sh")]) {
        fs::write(&program, "#!/bin/sh\n").unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
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

/// Those of a plain node, and others, sorted.
fn plain_and(others: &[&str]) -> Vec<String> {
    let plain = ["containerd", "kubelet", "nodebake-first-boot", "nodebake-grow", "nodebake-report", "nodebake-seal"];
    let plain = plain.map(|name| format!("{name}.service"));
    let mut units: Vec<_> = plain.into_iter().chain(others.iter().map(ToString::to_string)).collect();
    units.sort();
    units
}

#[test]
fn nothing_is_said_of_the_units_of_a_plain_node() {
    let config = config("2.1.9");
    for (place, others) in [(PayloadPlace::Drive, &["opt-nodebake-payload.mount"][..]), (PayloadPlace::Seed, &[])] {
        let (said, units) = verified(&config, PayloadContents::default(), place);
        assert_eq!((said.as_str(), units), ("", plain_and(others)));
    }
}

#[test]
fn nothing_is_said_of_units_that_are_made_for_what_is_given() {
    let mut config = config("2.1.9");
    let settings = &mut config.nodes[0].settings;
    settings.ntp = vec!["10.0.0.1".to_owned()];
    settings.kubelet.insert("rotateCertificates".to_owned(), true.into());
    settings.proxy = Some(Proxy {
        http: Some("http://10.0.0.9:3128".to_owned()),
        https: Some("http://own.example:3128/%41\"\\".to_owned()),
        no: vec![".own.example".to_owned()],
    });
    settings.swap = Some(2 << 30);
    let mount = Some(Mount { path: "/data".to_owned(), file_system: "ext4".to_owned() });
    settings.machine.data_disks = [("data".to_owned(), DataDisk { size: 1 << 30, mount })].into();
    config.network.dhcp = true;
    let errands = [
        "nodebake-disks.service",
        "nodebake-images.service",
        "nodebake-packages.service",
        "nodebake-swap.service",
        "var-lib-nodebake-swap.swap",
    ];
    for (place, mount) in [(PayloadPlace::Drive, &["opt-nodebake-payload.mount"][..]), (PayloadPlace::Seed, &[])] {
        let (said, units) = verified(&config, contents(), place);
        assert_eq!((said.as_str(), units), ("", plain_and(&[&errands, mount].concat())));
    }
}

/// What the cluster file gives is verified beside ours, and a drop-in with the unit that it is for.
#[test]
fn nothing_is_said_of_units_and_drop_ins_of_the_users_own() {
    let mut config = config("2.1.9");
    let settings = &mut config.nodes[0].settings;
    let file = |text: &str, mode| OwnFile {
        body: Body::Text(text.to_owned()),
        mode,
        owner: "root".to_owned(),
        group: "root".to_owned(),
    };
    let unit = |text: &str, enabled| OwnUnit { body: Some(Body::Text(text.to_owned())), enabled };
    settings.files.insert("/usr/local/bin/own".to_owned(), file("#!/bin/sh\n", 0o755));
    let service = "[Unit]\nAfter=kubelet.service\n[Service]\nType=oneshot\nExecStart=/usr/local/bin/own %n\n\
                   [Install]\nWantedBy=multi-user.target\n";
    let timer = "[Timer]\nOnBootSec=5min\n[Install]\nWantedBy=timers.target\n";
    settings.units = [
        ("own.service".to_owned(), unit(service, Some(true))),
        ("own.timer".to_owned(), unit(timer, Some(true))),
        ("kubelet.service.d/50-own.conf".to_owned(), unit("[Service]\nNice=-5\n", None)),
        ("containerd.service.d/90-own.conf".to_owned(), unit("[Service]\nLimitNOFILE=1048576\n", None)),
        ("multipathd.service".to_owned(), OwnUnit { body: None, enabled: Some(false) }),
    ]
    .into();
    let wanted = plain_and(&["opt-nodebake-payload.mount", "own.service", "own.timer"]);
    let (said, units) = verified(&config, PayloadContents::default(), PayloadPlace::Drive);
    assert_eq!((said.as_str(), &units), ("", &wanted));
    let drop_in = "kubelet.service.d/50-own.conf".to_owned();
    config.nodes[0].settings.units.insert(drop_in, unit("[Service]\nNise=-5\n", None));
    let (said, units) = verified(&config, PayloadContents::default(), PayloadPlace::Drive);
    assert!(said.contains("50-own.conf") && said.contains("'Nise'") && units == wanted, "{said}");
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
