//! Files of what every node does for itself: growing its root file system, and sealing what cloud-init left.

use super::NodeBundle;
use crate::config::Node;

/// A unit of ours with its script: path in the guest, mode and template of each.
struct Pair {
    unit: &'static str,
    files: [(&'static str, u32, &'static str); 2],
}

const GROW: Pair = Pair {
    unit: "nodebake-grow.service",
    files: [
        ("/etc/systemd/system/nodebake-grow.service", 0o644, "systemd/nodebake-grow.service"),
        ("/usr/local/lib/nodebake/grow", 0o755, "guest/grow"),
    ],
};

const SEAL: Pair = Pair {
    unit: "nodebake-seal.service",
    files: [
        ("/etc/systemd/system/nodebake-seal.service", 0o644, "systemd/nodebake-seal.service"),
        ("/usr/local/lib/nodebake/seal", 0o755, "guest/seal"),
    ],
};

fn pairs(node: &Node) -> Vec<Pair> {
    if node.settings.keep_seed { vec![GROW] } else { vec![GROW, SEAL] }
}

/// Path in the guest, mode and template.
pub(super) fn files(node: &Node) -> Vec<(&'static str, u32, &'static str)> {
    pairs(node).into_iter().flat_map(|pair| pair.files).collect()
}

/// Units that start at every boot.
pub(super) fn units(node: &Node) -> Vec<&'static str> {
    pairs(node).into_iter().map(|pair| pair.unit).collect()
}

/// Whether the files are there that should be, the units start their own scripts, and first boot starts the units.
pub(super) fn check(bundle: &NodeBundle, node: &Node) -> Result<(), String> {
    let wanted = pairs(node);
    for pair in [GROW, SEAL] {
        let is_wanted = wanted.iter().any(|wanted| wanted.unit == pair.unit);
        let [(unit, ..), (script, ..)] = pair.files;
        let link = format!("/etc/systemd/system/multi-user.target.wants/{}", pair.unit);
        let there = [unit, script, &link].map(|path| bundle.file(path).is_some());
        super::check::same(&format!("the presence of {unit}, its script and its link"), &there, &[is_wanted; 3])?;
        let lines = bundle.first_boot.lines().map(str::trim_start);
        let mut starts = lines.filter_map(|line| line.strip_prefix("systemctl start --no-block "));
        let started = starts.any(|units| units.split(' ').any(|unit| unit == pair.unit));
        super::check::same(&format!("the start of {} at first boot", pair.unit), &started, &is_wanted)?;
        if is_wanted {
            super::check::same("ExecStart", &super::check::settings(bundle, unit, "ExecStart")?, &Some(vec![script]))?;
        }
    }
    Ok(())
}
