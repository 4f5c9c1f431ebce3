//! Volumes that no machine uses any more.

use std::collections::BTreeSet;

use super::Inventory;
use crate::config::ClusterId;
use crate::machine::{VolumeInfo, VolumeName, volumes_of};

/// What may go from the pool: images of ours, shared by all clusters, that no domain of the host names and no disk stands
/// on; and disks and seeds of this cluster that none of its machines needs, such as where a run was cut off. Data disks and
/// logs are not among it.
pub fn unused(id: Option<&ClusterId>, inventory: &Inventory) -> Vec<VolumeInfo> {
    let mut used = BTreeSet::new();
    for domain in &inventory.domains {
        used.extend(domain.volumes());
        used.extend(domain.record().previous.map(|previous| volumes_of(&previous)).unwrap_or_default());
        // A seed that is taken out goes by sealing.
        used.extend(domain.mark().zip(id).map(|(mark, id)| VolumeName::seed(id, &mark.node, mark.seed)));
    }
    let of_node = |name: &VolumeName| {
        let kind = matches!(name, VolumeName::Root { .. } | VolumeName::Seed { .. } | VolumeName::Golden { .. });
        kind && id.is_some_and(|id| name.belongs_to(id))
    };
    let goes = |name: &VolumeName| of_node(name) && !used.contains(name);
    // A disk that stays needs what it stands on, whoever owns it.
    let stays = |volume: &&VolumeInfo| volume.ours().is_none_or(|name| !goes(&name));
    let backing = inventory.volumes.iter().filter(stays).filter_map(|volume| volume.backing.as_deref());
    let backing: BTreeSet<VolumeName> = backing.filter_map(|path| path.rsplit('/').next()?.parse().ok()).collect();
    let shared = |name: &VolumeName| {
        let image = matches!(name, VolumeName::Base(_) | VolumeName::Payload(_));
        image && !used.contains(name) && !backing.contains(name)
    };
    let volumes = inventory.volumes.iter();
    volumes.filter(|volume| volume.ours().is_some_and(|name| goes(&name) || shared(&name))).cloned().collect()
}
