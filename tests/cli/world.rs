//! A folder with everything that a run needs, the run itself, and what it left.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use nodebake::stamp::Stamp;
use tempfile::TempDir;

use crate::mirror::{self, Item};
use crate::{schema, secrets};

/// How a run ended and all that it said, the test's folder shown as FOLDER.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    pub(crate) fn ok(stdout: impl Into<String>, stderr: impl Into<String>) -> Self {
        Self { code: 0, stdout: stdout.into(), stderr: stderr.into() }
    }

    /// An error with its hint, as every failure is shown; stdout stays empty.
    pub(crate) fn failed(code: i32, error: &str, hint: &str) -> Self {
        let hint = if hint.is_empty() { String::new() } else { format!("\nhint: {hint}\n") };
        Self { code, stdout: String::new(), stderr: format!("error: {error}\n{hint}") }
    }

    /// The same after other lines on stderr.
    pub(crate) fn after(self, said: &str) -> Self {
        Self { stderr: format!("{said}{}", self.stderr), ..self }
    }
}

/// With lines as they are, to be read when a comparison fails.
impl fmt::Debug for Ran {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "exit code {}\n--- stdout\n{}--- stderr\n{}---\n", self.code, self.stdout, self.stderr)
    }
}

/// A folder with a cluster file, pki and mirror.
pub(crate) struct World {
    folder: TempDir,
}

impl World {
    /// The folder alone, with nothing in it.
    pub(crate) fn empty() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    /// With a valid cluster file of two nodes, a CA and a mirror of what it asks for.
    pub(crate) fn new() -> Self {
        let world = Self::empty();
        must(world.command(&[]).args(["--config", "nodebake.yaml", "init"]));
        for (from, to) in [
            ("containerd: 2.2.1", "containerd: 2.2.5"),
            ("runc: v1.2.8", "runc: v1.3.6"),
            ("image: ubuntu-24.04", "image: lab-trixie"),
            ("uri: qemu:///system", "uri: test:///default"),
            ("  kubeconfig: admin.kubeconfig\n", ""),
        ] {
            world.edit(from, to);
        }
        fs::create_dir(world.path("pki")).unwrap();
        let (ca, key) = authority();
        fs::write(world.path("pki/ca.pem"), ca).unwrap();
        world.write_key("pki/ca-key.pem", key);
        mirror::make(&world.path("mirror"));
        let runc =
            format!("  - kind: runc\n    url: https://{}\n    sha256: {}\n", Item::Runc.place("1.3.6"), "0".repeat(64));
        world.edit("\nnodes:\n", &format!("\nartifacts:\n{runc}\nnodes:\n"));
        world.give_runc();
        world
    }

    /// The same after `nodebake lock`.
    pub(crate) fn locked() -> Self {
        let world = Self::new();
        world.must(&["lock"]);
        world
    }

    /// The same after `nodebake build --all`.
    pub(crate) fn built() -> Self {
        let world = Self::locked();
        world.must(&["build", "--all"]);
        world
    }

    /// Locks what the mirror has now, whatever was locked before.
    pub(crate) fn relock(&self) {
        self.give_runc();
        let _ = fs::remove_file(self.path("nodebake.lock"));
        self.must(&["lock"]);
    }

    /// Writes the digest of the mirror's runc into the cluster file, where it is given: nobody but upstream could sign a
    /// checksum file for it.
    fn give_runc(&self) {
        let text = self.read("nodebake.yaml");
        let (_, given) = text.split_once("  - kind: runc\n").unwrap();
        let (_, digest) = given.split_once("sha256: ").unwrap();
        let now = sha256(&self.path("mirror").join(Item::Runc.place(Item::Runc.version())));
        self.edit(&digest[..64], &now);
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    pub(crate) fn write_key(&self, name: &str, key: &[u8]) {
        fs::write(self.path(name), key).unwrap();
        self.chmod(name, 0o600);
    }

    pub(crate) fn chmod(&self, name: &str, mode: u32) {
        fs::set_permissions(self.path(name), std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
    }

    /// Has the cache take a blob for verified as it is now.
    pub(crate) fn vouch(&self, blob: &str) {
        let stamp = Stamp::of(&fs::File::open(self.path(blob)).unwrap()).unwrap();
        fs::write(self.path(&format!("{blob}.verified")), stamp.to_string()).unwrap();
    }

    /// Replaces a text in the cluster file that stands there once.
    pub(crate) fn edit(&self, from: &str, to: &str) {
        let text = self.read("nodebake.yaml");
        assert_eq!(text.matches(from).count(), 1, "{from:?} in\n{text}");
        fs::write(self.path("nodebake.yaml"), text.replace(from, to)).unwrap();
    }

    /// Publishes another file in the mirror, under the version that the cluster file asks for, with its checksums.
    pub(crate) fn publish(&self, item: Item, bytes: &[u8]) -> PathBuf {
        mirror::publish(&self.path("mirror"), item, item.version(), bytes)
    }

    /// Where the cache keeps what the mirror has.
    pub(crate) fn cached(&self, item: Item) -> String {
        format!("cache/blobs/sha256/{}", sha256(&self.path("mirror").join(item.place(item.version()))))
    }

    /// Runs openssl in the pki folder.
    pub(crate) fn openssl(&self, arguments: &[&str]) -> String {
        let output = must(Command::new("openssl").args(arguments).current_dir(self.path("pki")));
        String::from_utf8(output).unwrap()
    }

    /// The program behind a wrapper (`taskset -c 0`), in the folder, with the folder's mirror and cache and nothing
    /// else of this environment.
    pub(crate) fn command(&self, wrapper: &[&str]) -> Command {
        let program = env!("CARGO_BIN_EXE_nodebake");
        let mut words = wrapper.iter().copied().chain([program]);
        let mut command = Command::new(words.next().unwrap());
        command.args(words).current_dir(self.folder.path()).stdin(Stdio::null()).env_clear();
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("HOME", self.path("home"));
        // Where a program that is built for `make coverage` keeps what it has run; else it would do so in its folder.
        command.envs(std::env::var_os("LLVM_PROFILE_FILE").map(|file| ("LLVM_PROFILE_FILE", file)));
        command.env("NODEBAKE_MIRROR", self.path("mirror")).env("NODEBAKE_CACHE_DIR", self.path("cache"));
        command
    }

    /// Runs the program.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        self.run_command(self.command(&[]).args(arguments))
    }

    /// Runs a command, and sees to it that nothing it says is of a key, and that the schema takes the cluster file.
    pub(crate) fn run_command(&self, command: &mut Command) -> Ran {
        schema::check(&self.path("nodebake.yaml"));
        let output = command.output().unwrap();
        for (what, key) in secrets::keys(self.folder.path()) {
            for (stream, bytes) in [("stdout", &output.stdout), ("stderr", &output.stderr)] {
                assert!(!key.is_in(bytes), "{stream} of {command:?} shows {what}");
            }
        }
        let text = |bytes| String::from_utf8(bytes).unwrap().replace(self.folder.path().to_str().unwrap(), "FOLDER");
        // A program that a signal ended has no code.
        let code = output.status.code().unwrap_or(-1);
        Ran { code, stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// Runs the program, which must succeed.
    pub(crate) fn must(&self, arguments: &[&str]) -> Ran {
        let ran = self.run(arguments);
        assert_eq!(ran.code, 0, "{arguments:?}: {ran:?}");
        ran
    }

    /// Everything beneath a folder; empty where it is not there.
    pub(crate) fn tree(&self, name: &str) -> Tree {
        let mut tree = Tree::new();
        walk(&self.path(name), &mut |path| {
            let found = fs::symlink_metadata(path).unwrap();
            let content = if found.is_file() { fs::read(path).unwrap() } else { Vec::new() };
            let name = path.strip_prefix(self.folder.path()).unwrap().to_str().unwrap().to_owned();
            let stamp = (found.ino(), found.mtime(), found.mtime_nsec(), found.ctime(), found.ctime_nsec());
            tree.insert(name, File { mode: found.mode(), stamp, content });
        });
        tree
    }

    /// Name of the one payload in an output folder.
    pub(crate) fn payload(&self, out: &str) -> String {
        let names: Vec<_> = self.tree(out).into_keys().filter(|name| has_extension(name, "iso")).collect();
        let payloads: Vec<_> = names.iter().filter(|name| name.starts_with(&format!("{out}/payload-"))).collect();
        assert_eq!(payloads.len(), 1, "{names:?}");
        payloads[0].clone()
    }

    /// SHA-256 of a file in the folder.
    pub(crate) fn sha256(&self, name: &str) -> String {
        sha256(&self.path(name))
    }
}

/// What a build makes of a node with a seed, in the order of the alphabet.
pub(crate) fn seed_files(node: &str) -> [String; 8] {
    let told = ["intoto", "spdx"].map(|form| format!("{node}.{form}.json"));
    let [statement, materials] = told.each_ref().map(String::as_str);
    let texts = ["manifest.json", "meta-data", "network-config", "seed.iso", "user-data", "vendor-data"];
    let [manifest, meta_data, network_config, seed, user_data, vendor_data] = texts;
    [manifest, meta_data, network_config, seed, user_data, vendor_data, statement, materials]
        .map(|file| format!("build/{node}/{file}"))
}

/// Files and folders by their path in the test's folder.
pub(crate) type Tree = BTreeMap<String, File>;

/// A file as it is, and when it was last touched in any way.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct File {
    pub(crate) mode: u32,
    /// Inode, modification time, change time.
    pub(crate) stamp: (u64, i64, i64, i64, i64),
    pub(crate) content: Vec<u8>,
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:o} {:?} {} bytes", self.mode, self.stamp, self.content.len())
    }
}

/// Paths of files that are not in both trees, or not the same in both; folders and times do not count.
pub(crate) fn changed(before: &Tree, after: &Tree) -> Vec<String> {
    let names: std::collections::BTreeSet<_> = before.keys().chain(after.keys()).collect();
    let look = |tree: &Tree, name: &str| tree.get(name).map(|file| (file.mode, file.content.clone()));
    names.into_iter().filter(|name| look(before, name) != look(after, name)).cloned().collect()
}

pub(crate) fn walk(path: &Path, visit: &mut impl FnMut(&Path)) {
    let Ok(found) = fs::symlink_metadata(path) else { return };
    visit(path);
    if found.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            walk(&entry.unwrap().path(), visit);
        }
    }
}

pub(crate) fn has_extension(name: &str, extension: &str) -> bool {
    Path::new(name).extension().is_some_and(|found| found == extension)
}

/// A size as the program shows it.
pub(crate) fn kib(bytes: u64) -> String {
    format!("{:.2} KiB", f64::from(u32::try_from(bytes).unwrap()) / 1024.0)
}

/// Runs a tool that must succeed, and returns what it prints.
pub(crate) fn must(command: &mut Command) -> Vec<u8> {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// SHA-256 of a file, by a program that is not ours.
pub(crate) fn sha256(path: &Path) -> String {
    let printed = String::from_utf8(must(Command::new("sha256sum").arg(path))).unwrap();
    printed[..64].to_owned()
}

/// A CA of ten years with an RSA key in PKCS#1, as cfssl writes it: certificate and key.
pub(crate) fn authority() -> &'static (Vec<u8>, Vec<u8>) {
    static AUTHORITY: OnceLock<(Vec<u8>, Vec<u8>)> = OnceLock::new();
    AUTHORITY.get_or_init(|| new_authority("3650"))
}

/// Another CA, which ends after so many days.
pub(crate) fn new_authority(days: &str) -> (Vec<u8>, Vec<u8>) {
    let folder = tempfile::tempdir().unwrap();
    let openssl = |arguments: &[&str]| must(Command::new("openssl").args(arguments).current_dir(folder.path()));
    openssl(&["genrsa", "-traditional", "-out", "key.pem", "2048"]);
    let config = "[req]\ndistinguished_name=dn\n[dn]\n[ca]\nbasicConstraints=critical,CA:TRUE\n\
                  keyUsage=critical,keyCertSign,cRLSign\nsubjectKeyIdentifier=hash\n";
    fs::write(folder.path().join("openssl.cnf"), config).unwrap();
    let subject = "/C=DE/O=Kubernetes/OU=CA/CN=Kubernetes CA";
    let fixed = ["req", "-x509", "-new", "-sha256", "-config", "openssl.cnf", "-extensions", "ca", "-key", "key.pem"];
    let ca = openssl(&[&fixed[..], &["-subj", subject, "-days", days]].concat());
    let key = fs::read(folder.path().join("key.pem")).unwrap();
    assert!(key.starts_with(b"-----BEGIN RSA PRIVATE KEY-----\n"));
    (ca, key)
}
