//! nodebake as a user runs it: the binary, a folder with a cluster file, a mirror, a cache.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::lab::{Lab, Ran, step};

/// The program that is tested.
const NODEBAKE: &str = env!("CARGO_BIN_EXE_nodebake");

/// A folder with a cluster file.
pub struct Cluster<'a> {
    pub lab: &'a Lab,
    pub folder: PathBuf,
    mirror: PathBuf,
    cache: PathBuf,
}

impl<'a> Cluster<'a> {
    /// A new folder for the lab's cluster: its PKI, its administrator, and the lab's cluster file.
    pub fn new(lab: &'a Lab, name: &str, mirror: &Path) -> Self {
        let folder = lab.work().join(name);
        fs::create_dir(&folder).unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lab/cluster-file");
        Ran::quietly(Command::new(script).arg(NODEBAKE)).succeeded();
        for file in ["pki", "admin.kubeconfig", "nodebake.yaml"] {
            let from = lab.dir.join("cluster").join(file);
            Ran::quietly(Command::new("cp").arg("-a").arg(from).arg(&folder)).succeeded();
        }
        Self { lab, mirror: mirror.to_owned(), cache: lab.work().join(format!("{name}.cache")), folder }
    }

    /// The same folder with another mirror, and a cache that knows nothing of the first.
    pub fn with_mirror(&self, mirror: PathBuf) -> Self {
        let cache = self.cache.with_extension("other");
        Self { lab: self.lab, folder: self.folder.clone(), mirror, cache }
    }

    /// Runs nodebake in the lab.
    pub fn run(&self, words: &[&str]) -> Ran {
        step(&format!("nodebake {}", words.join(" ")));
        let ran = Ran::of(self.set_up(self.lab.inside(NODEBAKE).args(words)));
        eprint!("{}", ran.stdout);
        ran
    }

    /// Runs nodebake in the lab, without showing what it says.
    pub fn run_quietly(&self, words: &[&str]) -> Ran {
        step(&format!("nodebake {}", words.join(" ")));
        Ran::quietly(self.set_up(self.lab.inside(NODEBAKE).args(words)))
    }

    /// Runs nodebake on the machine itself, where there is no libvirt and no cluster to talk to.
    fn run_outside(&self, words: &[&str]) -> Ran {
        step(&format!("nodebake {} (outside the lab: it needs no libvirt)", words.join(" ")));
        Ran::of(self.set_up(Command::new(NODEBAKE).args(words)))
    }

    fn set_up<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        command
            .current_dir(&self.folder)
            .env("NODEBAKE_MIRROR", &self.mirror)
            .env("NODEBAKE_CACHE_DIR", &self.cache)
            .env_remove("RUST_BACKTRACE")
            .env_remove("RUST_LOG")
    }

    /// `lock`, `build --all`, and the same once more, which must leave every file alone.
    pub fn make_images(&self) {
        self.run_outside(&["lock"]).succeeded();
        let made = self.run_outside(&["build", "--all"]).succeeded();
        let files = self.output();
        let again = self.run_outside(&["build", "--all"]).succeeded();
        assert_eq!(self.output(), files, "a second build with nothing changed writes nothing");
        let words = |text: &str| text.lines().map(|line| line.split_whitespace().map(String::from).collect()).collect();
        let (made, again): (Vec<Vec<String>>, Vec<Vec<String>>) = (words(&made), words(&again));
        let rows = |word: &str| self.build_rows(word);
        assert_eq!((made, again), (rows("made"), rows("unchanged")));
        let modes: Vec<_> =
            files.iter().filter(|(path, _)| path.ends_with("seed.iso")).map(|(_, file)| file.0).collect();
        assert_eq!(modes, [0o600; 2], "seeds are secret");
    }

    /// What `build` should print, from the files themselves.
    fn build_rows(&self, word: &str) -> Vec<Vec<String>> {
        let row = |subject: &str, path: &str| {
            let digest = nodebake::digest::Digest::of(&fs::read(self.folder.join(path)).unwrap());
            [subject, path, &format!("sha256:{digest}"), word].map(String::from).to_vec()
        };
        let payload = self.manifest("worker-node-1")["payload"]["file"].as_str().unwrap().to_owned();
        let mut rows = vec![row("payload", &format!("build/{payload}"))];
        rows.extend(self.nodes().iter().map(|node| row(node, &format!("build/{node}/seed.iso"))));
        rows
    }

    /// Names of the nodes in the cluster file, in its order.
    fn nodes(&self) -> Vec<String> {
        let text = fs::read_to_string(self.folder.join("nodebake.yaml")).unwrap();
        let (_, nodes) = text.split_once("\nnodes:\n").unwrap();
        nodes.lines().filter_map(|line| line.strip_prefix("  - name: ")).map(String::from).collect()
    }

    /// Every file of the output: mode, size, modification time in nanoseconds, digest.
    pub fn output(&self) -> BTreeMap<PathBuf, (u32, u64, i128, String)> {
        let mut files = BTreeMap::new();
        let mut folders = vec![self.folder.join("build")];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                let info = fs::symlink_metadata(&path).unwrap();
                let changed = i128::from(info.mtime()) * 1_000_000_000 + i128::from(info.mtime_nsec());
                let digest = nodebake::digest::Digest::of(&fs::read(&path).unwrap()).to_string();
                files.insert(path, (info.mode() & 0o7777, info.size(), changed, digest));
            }
        }
        files
    }

    /// The release of Kubernetes that the cluster file asks for.
    pub fn kubernetes(&self) -> String {
        let text = fs::read_to_string(self.folder.join("nodebake.yaml")).unwrap();
        text.lines().find_map(|line| line.strip_prefix("  kubernetes: ")).unwrap().to_owned()
    }

    /// A node's manifest.
    pub fn manifest(&self, node: &str) -> Value {
        let path = self.folder.join("build").join(node).join("manifest.json");
        serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
    }

    /// Changes the cluster file by replacing one text, which must be there.
    pub fn edit(&self, from: &str, to: &str) {
        let path = self.folder.join("nodebake.yaml");
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text.matches(from).count(), 1, "{from:?} in the cluster file");
        fs::write(path, text.replace(from, to)).unwrap();
    }

    /// Adds a worker at the end of the cluster file.
    pub fn add_node(&self, name: &str, address: &str) {
        let path = self.folder.join("nodebake.yaml");
        let text = fs::read_to_string(&path).unwrap();
        fs::write(path, format!("{text}  - name: {name}\n    address: {address}\n")).unwrap();
    }

    /// The locked kubectl, which is a real one, with the administrator's rights.
    pub fn kubectl(&self) -> Command {
        let kubectl = self.folder.join("build/kubectl");
        if !kubectl.exists() {
            assert_eq!(self.run_outside(&["fetch", "kubectl"]).succeeded(), "build/kubectl\n");
        }
        let mut command = self.lab.inside(kubectl);
        command.env("HOME", self.lab.work()).args(["--kubeconfig", "admin.kubeconfig"]).current_dir(&self.folder);
        command
    }

    /// The cluster's nodes by name, as kubectl gets them.
    pub fn api_nodes(&self) -> BTreeMap<String, Value> {
        let list = Ran::quietly(self.kubectl().args(["get", "nodes", "--output=json"])).succeeded();
        let list: Value = serde_json::from_str(&list).unwrap();
        let nodes = list["items"].as_array().unwrap().iter();
        nodes.map(|node| (node["metadata"]["name"].as_str().unwrap().to_owned(), node.clone())).collect()
    }
}

/// Lines of words: a table without its spacing.
pub fn words(text: &str) -> Vec<Vec<&str>> {
    text.lines().map(|line| line.split_whitespace().collect()).collect()
}

/// The last line that is an error, and the last that is a hint.
pub fn error_and_hint(ran: &Ran) -> (String, String) {
    let line = |start: &str| ran.stderr.lines().rfind(|line| line.starts_with(start)).unwrap_or_default().to_owned();
    (line("error: "), line("hint: "))
}
