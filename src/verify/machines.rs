//! What the machines were made from and what lies in their pool, against what would be built now.

use std::collections::{BTreeMap, BTreeSet};

use super::difference::Difference;
use super::images::Expected;
use super::{Check, Outcome};
use crate::config::ClusterId;
use crate::digest::Digest;
use crate::machine::{DomainInfo, Drive, Hypervisor, MachineError, Mark, VolumeInfo, VolumeName};
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
    let (mut checks, mut volumes, mut sealed) = (Vec::new(), BTreeMap::new(), BTreeSet::new());
    for expected in expected {
        let uuid = cluster.uuid(&expected.node);
        let Some(domain) = domains.iter().find(|domain| domain.uuid == uuid) else { continue };
        if let Some(mark) = domain.mark() {
            checks.extend(marked(domain, mark, expected));
            let on_golden = expected.golden && expected.base.is_some_and(|base| base.to_string() == mark.base);
            let in_base = on_golden.then_some(VolumeName::Payload(mark.payload));
            volumes.extend(used(mark, cluster).into_iter().filter(|(name, _)| in_base.as_ref() != Some(name)));
            if domain.drive() == Drive::Empty {
                sealed.insert(VolumeName::seed(cluster, &mark.node, mark.seed));
            }
        } else {
            let found = Difference::Other("its mark cannot be read".to_owned());
            checks.push(Check::new(expected.node.to_string(), place(domain, "mark"), None, Some(found), REBUILD));
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
        let place = format!("{pool}/{name}");
        if sealed.contains(&name) {
            let left = there.iter().any(|volume| volume.ours().as_ref() == Some(&name));
            let why = if left { "ejected; `nodebake up` wipes and removes it" } else { "sealed: wiped and removed" };
            checks.push(Check { what: "volume".to_owned(), place, digest: None, outcome: Outcome::Unchecked(why) });
            continue;
        }
        let difference = in_volume(hypervisor, pool, &there, &name, digest, progress)?;
        // What is there and shared, a rebuild takes as it is.
        let remedy = match (&name, &difference) {
            (VolumeName::Payload(_) | VolumeName::Base(_), Some(Difference::Digest { .. })) => {
                format!("once no machine runs from it: virsh vol-delete --pool {pool} {name}, then `nodebake up`")
            }
            _ => REBUILD.to_owned(),
        };
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

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::machine::memory::Memory;
    use crate::machine::{DomainState, MarkState, PoolSpec, Reading, VolumeSpec};
    use crate::progress::Silent;

    const POOL: &str = "vms";

    fn cluster() -> ClusterId {
        ClusterId { name: "seed".parse().unwrap(), ca: Digest::of(b"ca") }
    }

    fn iso(text: &str) -> Vec<u8> {
        let mut bytes = vec![0; 1 << 20];
        bytes[16 * 2048..16 * 2048 + 6].copy_from_slice(b"\x01CD001");
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        bytes
    }

    fn qcow2() -> Vec<u8> {
        let mut bytes = vec![0; 1 << 16];
        bytes[..8].copy_from_slice(b"QFI\xfb\0\0\0\x02");
        bytes
    }

    /// A host with a machine of worker-node-1, and what its node should have.
    fn host() -> (Memory, Expected) {
        let memory = Memory::new();
        memory.create_pool(&PoolSpec { name: POOL.to_owned(), path: "/vms".to_owned() }).unwrap();
        let (payload, seed, base) = (iso("payload"), iso("seed"), qcow2());
        let expected = Expected {
            node: "worker-node-1".parse().unwrap(),
            payload: Some(Digest::of(&payload)),
            seed: Some(Digest::of(&seed)),
            base: Some(Digest::of(&base)),
            golden: false,
        };
        let mark = Mark {
            cluster: "seed".parse().unwrap(),
            ca: cluster().ca,
            node: expected.node.clone(),
            payload: Digest::of(&payload),
            seed: Digest::of(&seed),
            base: Digest::of(&base).to_string(),
            definition: Digest::of(b""),
            state: MarkState::Registered,
            stored: None,
            boot_id: None,
            stage: None,
        };
        for ((name, digest), bytes) in used(&mark, &cluster()).into_iter().zip([payload, seed, base]) {
            let spec = VolumeSpec { name, size: bytes.len() as u64, digest };
            memory.upload(POOL, &spec, &mut Reading::new(&&*bytes), &|_| ()).unwrap();
        }
        memory.put_domain(DomainInfo {
            name: "seed-worker-node-1".to_owned(),
            uuid: cluster().uuid(&expected.node),
            state: DomainState::Running,
            autostart: true,
            mark: Ok(Some(mark)),
            xml: String::new(),
        });
        (memory, expected)
    }

    fn differing(memory: &Memory, expected: &[Expected]) -> Vec<(String, String)> {
        let checks = machines(memory, &cluster(), POOL, expected, &Silent).unwrap();
        let told = |check: Check| match check.outcome {
            Outcome::Same => None,
            Outcome::Differs(difference, _) => Some((check.place, difference.to_string())),
            Outcome::Unchecked(why) => Some((check.place, why.to_owned())),
        };
        checks.into_iter().filter_map(told).collect()
    }

    #[test]
    fn what_is_right_is_checked_and_same() {
        let (memory, expected) = host();
        let before = memory.calls();
        let checks = machines(&memory, &cluster(), POOL, std::slice::from_ref(&expected), &Silent).unwrap();
        let found: Vec<_> = checks.iter().map(|check| (check.place.as_str(), &check.outcome)).collect();
        let [payload, seed, base] = [expected.payload, expected.seed, expected.base].map(Option::unwrap);
        let seed = format!("vms/{}", VolumeName::seed(&cluster(), &expected.node, seed));
        let (payload, base) =
            (format!("vms/nodebake.payload.{payload}.iso"), format!("vms/nodebake.base.{base}.qcow2"));
        let wanted = [
            "domain seed-worker-node-1: payload",
            "domain seed-worker-node-1: seed",
            "domain seed-worker-node-1: base image",
            &payload,
            &base,
            &seed,
        ];
        assert_eq!(found, wanted.map(|place| (place, &Outcome::Same)));
        assert_eq!(memory.calls(), before, "nothing was changed");
        // Of a node without a machine there is nothing to say.
        let other = Expected { node: "worker-node-2".parse().unwrap(), ..expected };
        assert_eq!(machines(&memory, &cluster(), POOL, &[other], &Silent).unwrap(), []);
    }

    /// The payload of a machine on a golden image is in its base image; of one that is not made of it yet, in a volume.
    #[test]
    fn on_a_golden_image_no_payload_volume_is_missing() {
        let (memory, expected) = host();
        memory.delete_volume(POOL, &VolumeName::Payload(expected.payload.unwrap())).unwrap();
        let payload = (format!("vms/nodebake.payload.{}.iso", expected.payload.unwrap()), "missing".to_owned());
        let golden = Expected { golden: true, ..expected.clone() };
        let next = Expected { base: Some(Digest::of(b"golden")), ..golden.clone() };
        assert_eq!(differing(&memory, &[expected]), std::slice::from_ref(&payload));
        assert_eq!(differing(&memory, &[golden]), []);
        assert_eq!(differing(&memory, &[next])[1..], [payload]);
    }

    /// A machine whose seed was taken out is no other machine; its seed cannot be read back.
    #[test]
    fn a_sealed_seed_is_not_missing() {
        let (memory, expected) = host();
        let domain = memory.domains().unwrap().pop().unwrap();
        let xml = "<domain><devices><disk device='cdrom'/></devices></domain>".to_owned();
        memory.put_domain(DomainInfo { xml, ..domain });
        let seed = VolumeName::seed(&cluster(), &expected.node, expected.seed.unwrap());
        let told = |what: &str| vec![(format!("vms/{seed}"), what.to_owned())];
        let nodes = std::slice::from_ref(&expected);
        assert_eq!(differing(&memory, nodes), told("ejected; `nodebake up` wipes and removes it"));
        memory.wipe_volume(POOL, &seed).unwrap();
        assert_eq!(differing(&memory, nodes), told("ejected; `nodebake up` wipes and removes it"));
        memory.delete_volume(POOL, &seed).unwrap();
        assert_eq!(differing(&memory, nodes), told("sealed: wiped and removed"));
    }

    #[test]
    fn what_differs_is_told() {
        let (memory, expected) = host();
        let newer = Expected { payload: Some(Digest::of(b"newer")), seed: None, ..expected.clone() };
        let payload = format!("digest is sha256:{}", expected.payload.unwrap());
        let told = |place: &str, what: &str| (format!("domain seed-worker-node-1: {place}"), what.to_owned());
        assert_eq!(
            differing(&memory, std::slice::from_ref(&newer)),
            [told("payload", &payload), told("seed", "it was not built again")]
        );

        // A byte of a volume, behind the mark's back; and volumes that are gone or not whole.
        let volumes = memory.volumes(POOL).unwrap();
        let [base, payload, seed] = volumes.as_slice() else { panic!("{volumes:?}") };
        let mut bytes = iso("payload");
        bytes[70_000] = 1;
        memory.put_volume(POOL, payload.clone(), &bytes);
        let name = |volume: &VolumeInfo| format!("vms/{}", volume.name);
        let changed = (name(payload), format!("digest is sha256:{}", Digest::of(&bytes)));
        assert_eq!(differing(&memory, std::slice::from_ref(&expected)), std::slice::from_ref(&changed));
        memory.put_volume(POOL, VolumeInfo { format: crate::machine::VolumeFormat::Raw, ..seed.clone() }, b"");
        memory.delete_volume(POOL, &base.ours().unwrap()).unwrap();
        let missing = (name(base), "missing".to_owned());
        let part = (name(seed), "its upload never ended".to_owned());
        assert_eq!(differing(&memory, std::slice::from_ref(&expected)), [changed, missing, part]);
    }
}
