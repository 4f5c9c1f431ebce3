//! What a check found, and what can be done about it.

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

use crate::config::HypervisorName;
use crate::error::chain;
use crate::printable;

/// What is looked at, in the order in which it is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "each is documented where it is judged")]
pub enum Check {
    Lock,
    Ca,
    Certificates,
    Cache,
    Output,
    Runtime,
    Libvirt,
    Kvm,
    Guests,
    Cpus,
    Memory,
    Pool,
    PoolPath,
    Space,
    Network,
    Subnet,
    Names,
    Macs,
    Addresses,
    Autostart,
    CpuFeatures,
    Bridges,
    Joined,
    HostClocks,
    Spare,
    Apiserver,
    GuestRoute,
    Clock,
    Kubeconfig,
    Rights,
    ClientCa,
    KubeletClient,
    VersionSkew,
}

/// As in JSON.
impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lock => "lock",
            Self::Ca => "ca",
            Self::Certificates => "certificates",
            Self::Cache => "cache",
            Self::Output => "output",
            Self::Runtime => "runtime",
            Self::Libvirt => "libvirt",
            Self::Kvm => "kvm",
            Self::Guests => "guests",
            Self::Cpus => "cpus",
            Self::Memory => "memory",
            Self::Pool => "pool",
            Self::PoolPath => "pool-path",
            Self::Space => "space",
            Self::Network => "network",
            Self::Subnet => "subnet",
            Self::Names => "names",
            Self::Macs => "macs",
            Self::Addresses => "addresses",
            Self::Autostart => "autostart",
            Self::CpuFeatures => "cpu-features",
            Self::Bridges => "bridges",
            Self::Joined => "joined",
            Self::HostClocks => "host-clocks",
            Self::Spare => "spare",
            Self::Apiserver => "apiserver",
            Self::GuestRoute => "guest-route",
            Self::Clock => "clock",
            Self::Kubeconfig => "kubeconfig",
            Self::Rights => "rights",
            Self::ClientCa => "client-ca",
            Self::KubeletClient => "kubelet-client",
            Self::VersionSkew => "version-skew",
        })
    }
}

/// How it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// As it must be.
    Ok,
    /// It works, or `up` sees to it, and yet somebody should know.
    Warning,
    /// Nodes would not come up, or would do harm.
    Failure,
    /// It could not be looked at; `found` says why.
    Skipped,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failure => "failure",
            Self::Skipped => "skipped",
        })
    }
}

/// What `--fix` may do by itself: what `up` would do anyway, and nothing that is the user's to decide.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remedy {
    /// Start a network; one of ours then starts with the host too.
    StartNetwork(String),
    /// Start a pool, and make its folder where that is missing.
    StartPool(String),
    /// Have a machine of ours start with its host.
    Autostart {
        /// Its UUID.
        uuid: uuid::Uuid,
        /// Its name.
        name: String,
    },
    /// Take a file of ours away from everybody else.
    Private(PathBuf),
}

/// What one check found of one thing. All texts are safe for a terminal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at.
    pub check: Check,
    /// The hypervisor that it is about, where there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hypervisor: Option<HypervisorName>,
    /// How it stands.
    pub status: Status,
    /// What was found, a fragment in lowercase; of what was skipped, why.
    pub found: String,
    /// A command or an edit that mends it.
    pub fix: Option<String>,
    /// What `--fix` does about it.
    #[serde(skip)]
    pub remedy: Option<Remedy>,
}

impl Finding {
    fn new(check: Check, status: Status, found: impl AsRef<str>, fix: Option<&str>) -> Self {
        let found = printable::line(found.as_ref());
        Self { check, hypervisor: None, status, found, fix: fix.map(printable::line), remedy: None }
    }

    pub(super) fn ok(check: Check, found: impl AsRef<str>) -> Self {
        Self::new(check, Status::Ok, found, None)
    }

    pub(super) fn warning(check: Check, found: impl AsRef<str>, fix: impl AsRef<str>) -> Self {
        Self::new(check, Status::Warning, found, Some(fix.as_ref()))
    }

    pub(super) fn failure(check: Check, found: impl AsRef<str>, fix: impl AsRef<str>) -> Self {
        Self::new(check, Status::Failure, found, Some(fix.as_ref()))
    }

    pub(super) fn skipped(check: Check, why: impl AsRef<str>) -> Self {
        Self::new(check, Status::Skipped, why, None)
    }

    /// A failure that an error tells of.
    pub fn of_error(check: Check, error: &dyn std::error::Error, hint: Option<String>) -> Self {
        let fix = hint.map(|hint| printable::line(&hint));
        Self { fix, ..Self::new(check, Status::Failure, one_line(&chain(error)), None) }
    }

    pub(super) fn with(self, remedy: Remedy) -> Self {
        Self { remedy: Some(remedy), ..self }
    }

    /// What was found, and where, if there are several places.
    pub fn told(&self) -> String {
        self.hypervisor.as_ref().map_or_else(|| self.found.clone(), |name| format!("{name}: {}", self.found))
    }

    /// Whether it stands in the way.
    pub fn is_failure(&self) -> bool {
        self.status == Status::Failure
    }
}

/// What an error says on several lines; the lines of the file that it may show stay away.
fn one_line(text: &str) -> String {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty()).take_while(|line| !line.starts_with("-->"));
    lines.collect::<Vec<_>>().join("; ").replace(":; ", ": ")
}

/// The findings, or, where there is none, that all is well.
pub(super) fn or_ok(findings: Vec<Finding>, check: Check, found: impl FnOnce() -> String) -> Vec<Finding> {
    if findings.is_empty() { vec![Finding::ok(check, found())] } else { findings }
}

/// Bytes in the unit that reads best, with one digit behind the point: `512.0 MiB`, `23.4 GiB`.
pub fn size(bytes: u64) -> String {
    let (unit, name) = if bytes < 1 << 30 { (1 << 20, "MiB") } else { (1 << 30, "GiB") };
    // Rounded down: what is said to be free is.
    let tenths = u128::from(bytes) * 10 / unit;
    format!("{}.{} {name}", tenths / 10, tenths % 10)
}

/// `a`, `a and b`, `a, b and c`.
pub(super) fn listed<T: fmt::Display>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<_> = items.into_iter().map(|item| item.to_string()).collect();
    match items.as_slice() {
        [all @ .., last] if !all.is_empty() => format!("{} and {last}", all.join(", ")),
        items => items.concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_lists_read_well() {
        let sizes = [0, 1 << 20, 1_600_000_000, 25_231_249_408, u64::MAX].map(size);
        assert_eq!(sizes, ["0.0 MiB", "1.0 MiB", "1.4 GiB", "23.4 GiB", "17179869183.9 GiB"]);
        let lists = [&[][..], &["a"], &["a", "b"], &["a", "b", "c"]].map(|items: &[&str]| listed(items));
        assert_eq!(lists, ["", "a", "a and b", "a, b and c"]);
    }

    #[test]
    fn errors_of_several_lines_stand_on_one() {
        for (text, line) in [
            ("one", "one"),
            ("stale:\n  a moved\n  b is new\n", "stale: a moved; b is new"),
            ("no YAML: line 1\n --> <input>:1:11\n  |\n1 | clusters: 7\n", "no YAML: line 1"),
        ] {
            assert_eq!(one_line(text), line);
        }
    }

    #[test]
    fn what_others_say_drives_no_terminal() {
        let finding = Finding::failure(Check::Names, "domain \u{1b}[2Jx", "virsh undefine \n");
        let wanted = ("domain \\u{1b}[2Jx", Some("virsh undefine \\n"));
        assert_eq!((finding.found.as_str(), finding.fix.as_deref()), wanted);
    }
}
