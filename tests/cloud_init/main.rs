//! cloud-init itself, as Debian 12 and 13 have it, reads what nodebake renders: its schema says that user-data is
//! valid, `ds-identify` and `NoCloud` find the seed and read from it what was put in, and the network is left alone; and of what
//! a cluster file gives as `cloudConfig`, nodebake and cloud-init refuse the same.
//!
//! `tests/lab/cloud-init` fetches both versions where they are not there yet; nothing is installed.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use nodebake::config::{Config, INIT, Mac, Macs, Ssh, parse};
use nodebake::digest::Digest;
use nodebake::image::iso9660::Time;
use nodebake::image::{Payload, PayloadContents, seed};
use nodebake::render::{Credentials, NodeBundle, PayloadPlace, RenderError, render};
use nodebake::secret::Secret;
use serde_json::{Value, json};

mod table;

const CLONE: &str = env!("CARGO_MANIFEST_DIR");
const MAC: &str = "52:54:00:12:34:56";

/// A cloud-init, unpacked.
struct CloudInit {
    root: PathBuf,
}

impl CloudInit {
    /// Of a suite of Debian.
    fn of(suite: &str) -> Self {
        let script = format!("{CLONE}/tests/lab/cloud-init");
        let made = Command::new(script).arg(suite).stderr(Stdio::inherit()).output().unwrap();
        assert!(made.status.success(), "tests/lab/cloud-init {suite}: {made:?}");
        Self { root: String::from_utf8(made.stdout).unwrap().trim_end().into() }
    }

    /// 22.4.2 and 25.1.
    fn all() -> [Self; 2] {
        [Self::of("bookworm"), Self::of("trixie")]
    }

    fn python(&self) -> Command {
        Command::new(self.root.join("python"))
    }

    /// One of the scripts beside this file.
    fn script(&self, name: &str) -> Command {
        let mut command = self.python();
        command.arg(format!("{CLONE}/tests/cloud_init/{name}"));
        command
    }

    /// `cloud-init schema`: its exit code and what it prints.
    fn schema(&self, arguments: &[&str], file: &Path) -> (Option<i32>, String, String) {
        let mut command = self.python();
        command.args(["-m", "cloudinit.cmd.main", "schema"]).args(arguments).arg("--config-file").arg(file);
        let ran = command.output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (ran.status.code(), text(ran.stdout), text(ran.stderr))
    }
}

/// The seed cluster, with one node.
fn config() -> Config {
    let mut config = parse(Path::new("/clusters/seed/nodebake.yaml"), INIT).unwrap();
    config.nodes.truncate(1);
    config.network.nameservers.push("fd00::1".parse().unwrap());
    config
}

fn login() -> Ssh {
    Ssh { user: "ops".to_owned(), authorized_keys: vec!["ssh-ed25519 AAAA \"me\": # \\ \u{e9}".to_owned()] }
}

fn bundle(config: &Config) -> Result<NodeBundle, RenderError> {
    let key = Secret::new("the key\n");
    let credentials = Credentials { ca: "the CA\n", certificate: "the certificate\n", key: &key, host_keys: &[] };
    let contents = PayloadContents::default();
    let payload = Payload { path: "payload.iso".into(), digest: Digest::of(b"payload"), size: 1, contents };
    let macs = Macs::from(MAC.parse::<Mac>().unwrap());
    render(config, &config.nodes[0], &macs, credentials, &payload, PayloadPlace::Drive)
}

/// Everything that a cluster file can give, of many kinds.
fn much() -> Value {
    json!({
        "apt": {"conf": "APT::Install-Recommends \"no\";\n"},
        "bootcmd": ["echo own", ["echo", "a b"]],
        "ca_certs": {"trusted": ["-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]},
        "chpasswd": {"expire": false, "users": [{"name": "root", "password": "$y$j9T$x", "type": "hash"}]},
        "final_message": "up after $UPTIME\n",
        "groups": [{"own": ["root"]}],
        "keyboard": {"layout": "de"},
        "locale": "de_DE.UTF-8",
        "mounts": [["/dev/vdc", "/data", "ext4", "defaults,nofail", "0", "2"]],
        "packages": ["jq", ["htop", "3.0"]],
        "phone_home": {"url": "https://own.example/$INSTANCE_ID/", "post": ["hostname"], "tries": 2},
        "runcmd": ["echo \"12:30\" # no", ["sh", "-c", "true"]],
        "timezone": "Europe/Berlin",
        "users": [{"name": "no", "groups": ["adm"], "lock_passwd": true, "shell": "/bin/sh"}],
        "write_files": [
            {"path": "/etc/own.conf", "content": "a: \u{e9}\n\ttab \u{2028} \u{1f600}\n", "permissions": "0640", "owner": "root:adm"},
            {"path": "/etc/late", "content": "0777", "defer": true},
        ],
    })
}

/// Every kind of user-data that is rendered, by name.
fn kinds() -> Vec<(&'static str, NodeBundle)> {
    let kind = |name, ssh: bool, given: Value| {
        let mut config = config();
        config.nodes[0].settings.ssh = ssh.then(login);
        config.nodes[0].settings.cloud_config.clone_from(given.as_object().unwrap());
        (name, bundle(&config).unwrap())
    };
    vec![
        kind("plain", false, json!({})),
        kind("ssh", true, json!({})),
        kind("cloud-config", false, much()),
        kind("both", true, much()),
    ]
}

#[test]
fn what_is_rendered_is_valid() {
    let folder = tempfile::tempdir().unwrap();
    for cloud_init in CloudInit::all() {
        let is_new = cloud_init.root.ends_with("trixie");
        for (kind, bundle) in kinds() {
            let path = folder.path().join("user-data");
            fs::write(&path, &bundle.user_data).unwrap();
            let said = if is_new {
                format!("Valid schema {}\n", path.display())
            } else {
                format!("Valid cloud-config: {}\n", path.display())
            };
            assert_eq!(cloud_init.schema(&[], &path), (Some(0), said, String::new()), "{kind}: {}", bundle.user_data);
        }
    }
}

#[test]
fn what_is_not_valid_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("user-data");
    let plain = bundle(&config()).unwrap();
    for cloud_init in CloudInit::all() {
        fs::write(&path, plain.user_data.replace("preserve_hostname: false", "preserve_hostname: 5")).unwrap();
        let (code, ..) = cloud_init.schema(&[], &path);
        assert_eq!(code, Some(1));
    }
}

/// What nodebake says of an extra cloud-config.
fn verdict(given: &Value) -> bool {
    let mut config = config();
    config.nodes[0].settings.cloud_config.clone_from(given.as_object().unwrap());
    match bundle(&config) {
        Ok(_) => true,
        Err(RenderError::Setting { .. }) => false,
        Err(error) => panic!("{given}: {error}"),
    }
}

#[test]
fn nodebake_and_cloud_init_refuse_the_same() {
    let [old, new] = CloudInit::all();
    for (configs, cloud_inits) in [(table::CONFIGS, vec![&old, &new]), (table::NEWER, vec![&new])] {
        let ours: Vec<_> = configs.iter().map(|(text, _)| verdict(&serde_yaml::from_str(text).unwrap())).collect();
        assert_eq!(others(configs, &ours), [] as [&str; 0], "nodebake");
        for cloud_init in cloud_inits {
            assert_eq!(
                others(configs, &verdicts(cloud_init, configs)),
                [] as [&str; 0],
                "{}",
                cloud_init.root.display()
            );
        }
    }
    assert_eq!(others(table::NEWER, &verdicts(&old, table::NEWER)).len(), table::NEWER.len());
}

fn verdicts(cloud_init: &CloudInit, configs: &[(&str, bool)]) -> Vec<bool> {
    let texts: Vec<_> = configs.iter().map(|(text, _)| format!("#cloud-config\n{text}")).collect();
    let ran = with_input(cloud_init.script("verdicts.py"), &serde_json::to_vec(&texts).unwrap());
    serde_json::from_slice(&ran.stdout).unwrap_or_else(|_| panic!("{ran:?}"))
}

/// The configs whose verdict is not the wanted one.
fn others<'c>(configs: &[(&'c str, bool)], verdicts: &[bool]) -> Vec<&'c str> {
    assert_eq!(verdicts.len(), configs.len());
    configs.iter().zip(verdicts).filter(|((_, wanted), found)| wanted != *found).map(|((text, _), _)| *text).collect()
}

fn with_input(mut command: Command, input: &[u8]) -> Output {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn the_schema_is_debian_s() {
    let package = CloudInit::of("trixie").root.join("usr/lib/python3/dist-packages/cloudinit/config/schemas");
    let ours = Path::new(CLONE).join("src/render/cloud_config/schema");
    let name = "schema-cloud-config-v1.json";
    assert!(fs::read(package.join(name)).unwrap() == fs::read(ours.join(name)).unwrap(), "{name} is another one");
}

/// A seed with extra cloud-config, beside what stands in it: image and folder.
fn seed(folder: &Path) -> (NodeBundle, PathBuf, PathBuf) {
    let (_, bundle) = kinds().pop().unwrap();
    let (image, files) = (folder.join("seed.iso"), folder.join("files"));
    seed::bake(&bundle, Time::FIXED, &image).unwrap();
    let taken = Command::new("xorriso")
        .args(["-osirrox", "on", "-indev"])
        .arg(&image)
        .args(["-extract", "/"])
        .arg(&files)
        .output();
    assert!(taken.as_ref().is_ok_and(|taken| taken.status.success()), "{taken:?}");
    (bundle, image, files)
}

#[test]
fn no_cloud_reads_the_seed_as_it_was_meant() {
    let folder = tempfile::tempdir().unwrap();
    let (bundle, image, files) = seed(folder.path());
    for cloud_init in CloudInit::all() {
        let ran = cloud_init.script("no_cloud.py").args([&image, &files]).output().unwrap();
        let found: Value = serde_json::from_slice(&ran.stdout).unwrap_or_else(|_| panic!("{ran:?}"));
        let wanted = json!({
            "seed": "/dev/vdb",
            "dsmode": "local",
            "metadata": {"instance-id": bundle.instance_id(), "local-hostname": "worker-node-1", "dsmode": "local"},
            "userdata": bundle.user_data,
            "vendordata": bundle.vendor_data,
            "network": {"network": {"config": "disabled"}},
            "applied": null,
            "handlers": ["text/cloud-config", "text/cloud-boothook"],
        });
        assert_eq!(found, wanted, "{}", cloud_init.root.display());
    }
}

#[test]
fn ds_identify_finds_the_seed_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (_, image, _) = seed(folder.path());
    for cloud_init in CloudInit::all() {
        assert_eq!(identified(&cloud_init, folder.path(), Some(&image)), "datasource_list: [ NoCloud, None ]\n");
        let nothing = "di_report:\n  datasource_list: [  ]\n  # reporting not found result. notfound=disabled.\n";
        assert_eq!(identified(&cloud_init, folder.path(), None), nothing);
    }
}

/// What `ds-identify` writes for cloud-init, on a machine with this drive and an empty one.
fn identified(cloud_init: &CloudInit, folder: &Path, image: Option<&Path>) -> String {
    let root = folder.join("machine");
    drop(fs::remove_dir_all(&root));
    for name in ["bin", "dev", "etc/cloud", "proc/1", "run", "sys/class/dmi/id", "var/lib/cloud"] {
        fs::create_dir_all(root.join(name)).unwrap();
    }
    for (name, text) in [
        ("etc/cloud/cloud.cfg", "datasource_list: [ NoCloud, ConfigDrive, Ec2, None ]\n"),
        ("proc/1/cmdline", "/sbin/init\0"),
        ("proc/1/environ", ""),
        ("proc/cmdline", "root=LABEL=cloudimg-rootfs ro\n"),
        ("proc/uptime", "5.00 1.00\n"),
        ("sys/class/dmi/id/product_name", "Standard PC\n"),
        ("sys/class/dmi/id/sys_vendor", "QEMU\n"),
    ] {
        fs::write(root.join(name), text).unwrap();
    }
    let drive = image.map_or(String::new(), |image| {
        format!("echo DEVNAME=/dev/vdb; exec {} -p -o export {}", BLKID, image.display())
    });
    for (name, script) in [("blkid", drive.as_str()), ("systemd-detect-virt", "echo kvm")] {
        let path = root.join("bin").join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", root.join("bin").display());
    let mut command = Command::new("sh");
    command.arg(cloud_init.root.join("usr/lib/cloud-init/ds-identify"));
    command.env_clear().env("PATH", path).env("PATH_ROOT", &root).env("DI_LOG", root.join("run/log"));
    let ran = command.output().unwrap();
    assert!(ran.stderr.is_empty(), "{ran:?}");
    fs::read_to_string(root.join("run/cloud-init/cloud.cfg")).unwrap_or_default()
}

const BLKID: &str = "/usr/sbin/blkid";
