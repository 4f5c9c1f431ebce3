//! What the kubelet reports of its machine, and refuses to run on.

use std::net::{IpAddr, UdpSocket};
use std::path::Path;

/// The machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// The machine's name, lowercase.
    pub name: String,
    /// /etc/machine-id.
    pub machine_id: String,
    /// DMI product UUID, else the machine id.
    pub system_uuid: String,
    /// `/proc/sys/kernel/random/boot_id`.
    pub boot_id: String,
    /// Kernel release.
    pub kernel: String,
    /// `PRETTY_NAME` of os-release.
    pub os_image: String,
    /// Go's name of the architecture.
    pub architecture: &'static str,
    /// Number of processors.
    pub cpus: usize,
    /// Memory in KiB.
    pub memory_kib: u64,
}

/// Why the kubelet does not run on this machine.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// Swap is on.
    #[error(
        "running with swap on is not supported, please disable swap or set --fail-swap-on flag to false; /proc/swaps contains {0:?}"
    )]
    SwapOn(Vec<String>),
    /// The machine has cgroup v1.
    #[error(
        "kubelet is configured to not run on a host using cgroup v1; set failCgroupV1 to false to run all the same"
    )]
    CgroupV1,
    /// A file of the kernel's cannot be read.
    #[error("cannot read {path}")]
    Unreadable {
        /// The file.
        path: &'static str,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

impl Host {
    /// Looks at the machine.
    ///
    /// # Errors
    /// The boot id cannot be read: without it no one could tell this boot from another.
    pub fn read() -> Result<Self, HostError> {
        let kernel = rustix::system::uname();
        let machine_id = line("/etc/machine-id");
        let system_uuid = match line("/sys/class/dmi/id/product_uuid") {
            uuid if uuid.is_empty() => machine_id.clone(),
            uuid => uuid,
        };
        Ok(Self {
            name: kernel.nodename().to_string_lossy().trim().to_lowercase(),
            machine_id,
            system_uuid,
            boot_id: required("/proc/sys/kernel/random/boot_id")?.trim().to_owned(),
            kernel: kernel.release().to_string_lossy().into_owned(),
            os_image: os_image(&std::fs::read_to_string("/etc/os-release").unwrap_or_default()),
            architecture: match std::env::consts::ARCH {
                "x86_64" => "amd64",
                "aarch64" => "arm64",
                other => other,
            },
            cpus: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            memory_kib: memory_kib(&std::fs::read_to_string("/proc/meminfo").unwrap_or_default()),
        })
    }
}

fn line(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

fn required(path: &'static str) -> Result<String, HostError> {
    std::fs::read_to_string(path).map_err(|source| HostError::Unreadable { path, source })
}

fn os_image(os_release: &str) -> String {
    let value = os_release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME=")).unwrap_or("Linux");
    value.trim_matches('"').to_owned()
}

fn memory_kib(meminfo: &str) -> u64 {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse().ok()).unwrap_or(0)
}

/// Refuses a machine whose swap is on.
///
/// # Errors
/// Swap is on, or cannot be looked at.
pub fn refuse_swap() -> Result<(), HostError> {
    // A kernel without swap has no such file.
    let path = "/proc/swaps";
    if !Path::new(path).exists() {
        return Ok(());
    }
    match swaps(&required(path)?) {
        swaps if swaps.is_empty() => Ok(()),
        swaps => Err(HostError::SwapOn(swaps)),
    }
}

fn swaps(table: &str) -> Vec<String> {
    // One heading, then one line each.
    table.lines().skip(1).filter(|line| !line.trim().is_empty()).map(str::to_owned).collect()
}

/// Refuses a machine with cgroup v1.
///
/// # Errors
/// No cgroup v2 hierarchy is mounted where the only one would be.
pub fn refuse_cgroup_v1() -> Result<(), HostError> {
    if is_cgroup_v2(&required("/proc/self/mounts")?) { Ok(()) } else { Err(HostError::CgroupV1) }
}

fn is_cgroup_v2(mounts: &str) -> bool {
    mounts
        .lines()
        .map(|line| line.split(' ').collect::<Vec<_>>())
        .any(|fields| fields.get(1) == Some(&"/sys/fs/cgroup") && fields.get(2) == Some(&"cgroup2"))
}

/// Whether an address is one of this machine's: only those can be bound.
#[must_use]
pub fn has_address(address: IpAddr) -> bool {
    !address.is_unspecified() && UdpSocket::bind((address, 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_s_tables_are_read() {
        assert_eq!(os_image("NAME=x\nPRETTY_NAME=\"Debian GNU/Linux 13 (trixie)\"\n"), "Debian GNU/Linux 13 (trixie)");
        assert_eq!(memory_kib("MemTotal:        2031616 kB\nMemFree: 1 kB\n"), 2_031_616);
        let head = "Filename\tType\tSize\tUsed\tPriority\n";
        assert_eq!(swaps(head), Vec::<String>::new());
        assert_eq!(swaps(&format!("{head}/swap.img file 1 0 -2\n")), ["/swap.img file 1 0 -2"]);
        assert!(is_cgroup_v2("cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n"));
        assert!(!is_cgroup_v2("tmpfs /sys/fs/cgroup tmpfs rw 0 0\ncgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n"));
    }

    #[test]
    fn only_the_machine_s_addresses_are_its_own() {
        assert!(has_address(IpAddr::from([127, 0, 0, 1])));
        assert!(!has_address(IpAddr::from([192, 0, 2, 1])));
    }
}
