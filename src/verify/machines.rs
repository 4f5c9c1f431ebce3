//! What the machines were made from and what lies in their pool, against what would be built now.

use std::collections::BTreeMap;

use super::difference::Difference;
use super::images::Expected;
use super::{Check, Outcome};
use crate::config::ClusterId;
use crate::digest::Digest;
use crate::machine::{DomainInfo, Hypervisor, MachineError, Mark, VolumeInfo, VolumeName};
use crate::progress::Progress;

/// What to do about a machine that differs.
const REBUILD: &str = "`nodebake rebuild NODE` makes a machine anew, with its volumes";

/// Compares the marks of the nodes' machines, and reads back the volumes that they run from; each volume once. Nothing
/// comes back where no machine is there.
pub fn machines(
    hypervisor: &dyn Hypervisor,
    cluster: &ClusterId,
    pool: &str,
    expected: &[Expected],
    progress: &dyn Progress,
) -> Result<Vec<Check>, MachineError> {
    let domains = hypervisor.domains()?;
    let (mut checks, mut volumes) = (Vec::new(), BTreeMap::new());
    for expected in expected {
        let uuid = cluster.uuid(&expected.node);
        let Some(domain) = domains.iter().find(|domain| domain.uuid == uuid) else { continue };
        match domain.mark() {
            Some(mark) => {
                checks.extend(marked(domain, mark, expected));
                volumes.extend(used(mark, cluster));
            }
            None => {
                let found = Difference::Other("its mark cannot be read".to_owned());
                checks.push(Check::new(expected.node.to_string(), place(domain, "mark"), None, Some(found), REBUILD));
            }
        }
    }
    if volumes.is_empty() {
        return Ok(checks);
    }
    let there = match hypervisor.pool(pool)? {
        Some(found) if found.active => {
            hypervisor.refresh_pool(pool)?;
            hypervisor.volumes(pool)?
        }
        _ => Vec::new(),
    };
    for (name, digest) in volumes {
        let difference = in_volume(hypervisor, pool, &there, &name, digest, progress)?;
        // What is there and shared, a rebuild takes as it is.
        let remedy = match (&name, &difference) {
            (VolumeName::Payload(_) | VolumeName::Base(_), Some(Difference::Digest { .. })) => {
                format!("once no machine runs from it: virsh vol-delete --pool {pool} {name}, then `nodebake up`")
            }
            _ => REBUILD.to_owned(),
        };
        let place = format!("{pool}/{name}");
        checks.push(Check::new("volume", place, Some(format!("sha256:{digest}")), difference, remedy));
    }
    Ok(checks)
}

fn place(domain: &DomainInfo, what: &str) -> String {
    format!("domain {}: {what}", domain.name)
}

/// What the mark says that the machine was made from.
fn marked(domain: &DomainInfo, mark: &Mark, expected: &Expected) -> Vec<Check> {
    let sha256 = |digest: &dyn std::fmt::Display| format!("sha256:{digest}");
    let images = [
        ("payload", mark.payload.to_string(), expected.payload),
        ("seed", mark.seed.to_string(), expected.seed),
        ("base image", mark.base.clone(), expected.base),
    ];
    let mut checks: Vec<_> = images
        .into_iter()
        .map(|(what, found, wanted)| match wanted {
            Some(wanted) => {
                let same = found == wanted.to_string();
                let difference = (!same).then(|| Difference::Digest { found: sha256(&found) });
                Check::new(expected.node.to_string(), place(domain, what), Some(sha256(&wanted)), difference, REBUILD)
            }
            None => Check {
                what: expected.node.to_string(),
                place: place(domain, what),
                digest: None,
                outcome: Outcome::Unchecked("it was not built again"),
            },
        })
        .collect();
    if let Some(stored) = mark.stored {
        let by_hand = (stored != domain.stored_digest()).then(|| Difference::Other("changed by hand".to_owned()));
        let (node, place) = (expected.node.to_string(), place(domain, "definition"));
        checks.push(Check::new(node, place, Some(sha256(&stored)), by_hand, REBUILD));
    }
    checks
}

/// The volumes that a machine runs from, with the digests of their files. The root disk is the guest's own.
fn used(mark: &Mark, cluster: &ClusterId) -> Vec<(VolumeName, Digest)> {
    let base = mark.base.parse().ok().map(|digest| (VolumeName::Base(digest), digest));
    let own = [
        (VolumeName::Payload(mark.payload), mark.payload),
        (VolumeName::seed(cluster, &mark.node, mark.seed), mark.seed),
    ];
    own.into_iter().chain(base).collect()
}

fn in_volume(
    hypervisor: &dyn Hypervisor,
    pool: &str,
    there: &[VolumeInfo],
    name: &VolumeName,
    digest: Digest,
    progress: &dyn Progress,
) -> Result<Option<Difference>, MachineError> {
    let Some(volume) = there.iter().find(|volume| volume.ours().as_ref() == Some(name)) else {
        return Ok(Some(Difference::Other("missing".to_owned())));
    };
    if !volume.is_whole() {
        return Ok(Some(Difference::Other("its upload never ended".to_owned())));
    }
    // How long the file of a qcow2 volume is, libvirt does not tell.
    let task = progress.task(&format!("read {name}"), None);
    let (found, _) = hypervisor.digest_volume(pool, name, &|bytes| task.advance(bytes))?;
    task.done();
    Ok((found != digest).then(|| Difference::Digest { found: format!("sha256:{found}") }))
}
