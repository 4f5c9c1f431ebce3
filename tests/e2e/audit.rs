//! What a guest wrote down of itself (tests/lab/guest/files/usr/lib/nodebake-lab/audit), one file a boot.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

/// One boot's report.
#[derive(Debug, Deserialize)]
pub struct Audit {
    pub boot_id: String,
    pub instance_id: Option<String>,
    pub hostname: String,
    pub units: BTreeMap<String, BTreeMap<String, String>>,
    pub failed: Vec<String>,
    pub versions: BTreeMap<String, Said>,
    pub cni: Vec<Plugin>,
    /// Labels of each image, by its name.
    pub images: BTreeMap<String, Vec<String>>,
    pub programs: BTreeMap<String, Said>,
    /// State and version of each Debian package.
    pub packages: BTreeMap<String, String>,
    pub time_servers: Said,
    pub mounts: Value,
    pub disks: Value,
    pub files: Vec<Entry>,
    pub sysctls: BTreeMap<String, Option<String>>,
    pub modules: Vec<String>,
    pub swaps: Vec<String>,
    pub hosts: Option<String>,
    pub resolv_conf: Resolv,
    pub apparmor: AppArmor,
    pub listening: Vec<String>,
    pub addresses: Value,
    pub pod: Pod,
    pub networkd: Networkd,
}

/// What a command printed.
#[derive(Debug, Deserialize)]
pub struct Said {
    pub code: Option<i32>,
    pub out: String,
}

/// A CNI plugin; the rest of it is in `files`.
#[derive(Debug, Deserialize)]
pub struct Plugin {
    pub path: String,
}

/// One file of the guest.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Entry {
    pub path: String,
    pub r#type: String,
    pub mode: String,
    pub uid: u32,
    pub gid: u32,
    #[serde(default)]
    pub target: String,
}

#[derive(Debug, Deserialize)]
pub struct Resolv {
    pub kubelet: Option<String>,
}

#[derive(Debug, Deserialize)]
pub struct AppArmor {
    pub enabled: bool,
    pub mode: String,
}

#[derive(Debug, Deserialize)]
pub struct Pod {
    pub said: Value,
    pub cgroup: Option<String>,
    pub comm: Option<String>,
}

#[derive(Debug, Deserialize)]
pub struct Networkd {
    pub before: Foreign,
    pub after: Foreign,
    pub restarted: Said,
    pub routable: Said,
}

/// The rule and the route that somebody else added.
#[derive(Debug, PartialEq, Deserialize)]
pub struct Foreign {
    pub rule: bool,
    pub route: bool,
}

impl Audit {
    /// The report of one boot, from the guest's disk.
    pub fn read(disk: &Path, boot: &str) -> Self {
        let path = disk.join(format!("var/lib/nodebake-lab/audit-{boot}.json"));
        let text = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        serde_json::from_slice(&text).unwrap()
    }

    /// One property of a unit, as `systemctl show` gives it.
    pub fn unit(&self, unit: &str, property: &str) -> &str {
        self.units.get(unit).and_then(|unit| unit.get(property)).map_or("", String::as_str)
    }
}
