//! What must not change: the user's own networks, pools, volumes and domains, and the machine that the lab runs on.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use nodebake::digest::Digest;

use crate::findings::Findings;
use crate::lab::{Lab, Ran, keep};
use crate::nodebake::words;

/// Every network, pool, domain and volume of the user's pool, each listed whole.
#[derive(Debug, Clone, PartialEq)]
pub struct Things(BTreeMap<String, String>);

impl Lab {
    /// What is there now. The user's pool is refreshed, as any other program may do at any time.
    pub fn users_things(&self) -> Things {
        let mut things = BTreeMap::new();
        let names = |words: &[&str]| {
            let text = self.virsh(words);
            text.lines().map(|line| line.trim().to_owned()).filter(|name| !name.is_empty()).collect::<Vec<_>>()
        };
        // The number of guests on a network is no part of it.
        for name in names(&["net-list", "--all", "--name"]) {
            let xml = without_attribute(&self.virsh(&["net-dumpxml", &name]), "connections");
            things.insert(format!("network {name}"), self.virsh(&["net-info", &name]) + &xml);
        }
        // Nor is how full the file system is, part of a pool.
        for name in names(&["pool-list", "--all", "--name"]) {
            let state = self.virsh(&["pool-list", "--all"]);
            let state = words(&state).into_iter().find(|row| row.first() == Some(&name.as_str())).unwrap().join(" ");
            let xml = self.virsh(&["pool-dumpxml", &name]);
            let fullness = ["<capacity", "<allocation", "<available"];
            let lines = xml.lines().filter(|line| !fullness.iter().any(|start| line.trim().starts_with(start)));
            things.insert(
                format!("pool {name}"),
                [&[state.as_str()], lines.collect::<Vec<_>>().as_slice()].concat().join("\n"),
            );
        }
        for name in names(&["list", "--all", "--name"]) {
            let state = self.virsh(&["domstate", &name]);
            things.insert(format!("domain {name}"), state + &self.virsh(&["dumpxml", "--inactive", &name]));
        }
        self.virsh(&["pool-refresh", "default"]);
        for line in self.virsh(&["vol-list", "default"]).lines() {
            let (name, path) = line.trim().split_once(char::is_whitespace).unwrap();
            let path = self.outside(path.trim());
            let info = fs::symlink_metadata(&path).unwrap();
            let digest = if info.is_file() { Digest::of(&fs::read(&path).unwrap()).to_string() } else { String::new() };
            let [mode, size, mtime] = [u64::from(info.mode()), info.size(), info.mtime().unsigned_abs()];
            let text = format!("mode {mode:o}, {size} bytes, changed {mtime}.{}, sha256 {digest}", info.mtime_nsec());
            things.insert(format!("volume {name}"), text);
        }
        Things(things)
    }
}

impl Things {
    /// All of `self` must still be there, whole; gives the names of what came to it.
    pub fn are_whole_in(&self, now: &Self) -> Vec<String> {
        let mut findings = Findings::of("the user's own networks, pools, volumes and domains");
        for (name, text) in &self.0 {
            findings.same(name, now.0.get(name), Some(text));
        }
        findings.end();
        now.0.keys().filter(|name| !self.0.contains_key(*name)).cloned().collect()
    }
}

fn without_attribute(xml: &str, name: &str) -> String {
    let start = format!(" {name}='");
    match xml.split_once(&start) {
        Some((before, rest)) => format!("{before}{}", rest.split_once('\'').map_or("", |(_, after)| after)),
        None => xml.to_owned(),
    }
}

/// The machine outside the lab.
#[derive(Debug)]
pub struct Machine {
    files: Vec<(PathBuf, u32, u64, i64)>,
    network: Vec<String>,
    clone: String,
    /// Namespaces of the lab that runs, by which its processes are known.
    namespaces: Vec<u64>,
}

/// Folders that a libvirt, a cache or a client of the machine's own would write to.
const FOLDERS: [&str; 7] = [
    "/etc/libvirt",
    "/var/lib/libvirt",
    "/var/log/libvirt",
    "/var/cache/libvirt",
    "/run/libvirt",
    "/root/.cache/nodebake",
    "/root/.kube",
];

impl Machine {
    /// Before the lab comes up.
    pub fn read() -> Self {
        let mut files = Vec::new();
        for folder in FOLDERS {
            list(Path::new(folder), &mut files);
        }
        files.sort();
        let say = |program: &str, words: &[&str]| Ran::quietly(Command::new(program).args(words)).stdout;
        let clone = env!("CARGO_MANIFEST_DIR");
        Self {
            files,
            network: vec![
                say("ip", &["-br", "link"]),
                say("ip", &["rule"]),
                say("ip", &["route", "show", "table", "all"]),
                say("nft", &["list", "ruleset"]),
            ],
            clone: say("git", &["-C", clone, "status", "--porcelain"]),
            namespaces: Vec::new(),
        }
    }

    /// After the lab went down: nothing of it is left, and nothing else changed.
    pub fn is_as_before(&self, lab: &Lab) {
        if keep() {
            return;
        }
        let now = Self::read();
        let mut findings = Findings::of("the machine outside the lab, after it");
        findings.same_lists("files of libvirt, caches", &now.files, &self.files);
        findings.same_lists("links, rules, routes and filters", &now.network, &self.network);
        findings.same("files of the clone outside target/", &now.clone, &self.clone);
        let handles = PathBuf::from("/run").join(&lab.name);
        findings.holds("no handles of namespaces", !handles.exists(), &handles);
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let (dir, run) = (lab.dir.to_string_lossy().into_owned(), handles.to_string_lossy().into_owned());
        let ours: Vec<_> = mounts.lines().filter(|line| line.contains(&dir) || line.contains(&run)).collect();
        findings.same("mounts of the lab", ours, Vec::new());
        let loops = Ran::quietly(Command::new("losetup").arg("--all")).stdout;
        findings.holds("no loop devices of the lab", !loops.contains(&dir), &loops);
        findings.same("processes of the lab", processes(&self.namespaces, &dir), Vec::<String>::new());
        findings.end();
    }

    /// Notes the namespaces of the lab that runs.
    pub fn with_namespaces_of(mut self, lab: &Lab) -> Self {
        let handle = |name| fs::metadata(PathBuf::from("/run").join(&lab.name).join(name)).unwrap().ino();
        self.namespaces = ["net", "cp1", "mnt"].map(handle).to_vec();
        self
    }
}

fn list(path: &Path, files: &mut Vec<(PathBuf, u32, u64, i64)>) {
    let Ok(info) = fs::symlink_metadata(path) else { return };
    files.push((path.to_owned(), info.mode(), info.size(), info.mtime()));
    if info.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            list(&entry.unwrap().path(), files);
        }
    }
}

/// Command lines of processes in one of the namespaces, or with the lab's folder in their command line.
fn processes(namespaces: &[u64], dir: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        if entry.file_name().to_string_lossy().parse::<u32>().is_err() {
            continue;
        }
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        let inside = ["net", "mnt"].iter().any(|kind| {
            let inode = fs::metadata(entry.path().join("ns").join(kind)).map(|info| info.ino());
            inode.is_ok_and(|inode| namespaces.contains(&inode))
        });
        if inside || line.contains(&format!("{dir}/")) {
            found.push(line);
        }
    }
    found
}
