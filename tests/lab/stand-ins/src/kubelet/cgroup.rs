//! Cgroup drivers and the names that they give a pod's cgroup.

/// Who makes cgroups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Driver {
    /// systemd makes slices and scopes.
    Systemd,
    /// Folders made directly.
    Cgroupfs,
}

impl Driver {
    /// The driver of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "systemd" => Some(Self::Systemd),
            "cgroupfs" => Some(Self::Cgroupfs),
            _ => None,
        }
    }

    /// The cgroup that a best-effort pod's containers go below, as the kubelet hands it to the runtime.
    #[must_use]
    pub fn best_effort_pod(self, uid: &str) -> String {
        match self {
            Self::Systemd => {
                // A dash in a slice's name is a level of the hierarchy.
                let uid = uid.replace('-', "_");
                format!("/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{uid}.slice")
            }
            Self::Cgroupfs => format!("/kubepods/besteffort/pod{uid}"),
        }
    }
}

impl std::fmt::Display for Driver {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Systemd => "systemd",
            Self::Cgroupfs => "cgroupfs",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_has_its_own_slice() {
        assert_eq!(
            Driver::Systemd.best_effort_pod("a-b"),
            "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-poda_b.slice"
        );
        assert_eq!(Driver::Cgroupfs.best_effort_pod("a-b"), "/kubepods/besteffort/poda-b");
    }
}
