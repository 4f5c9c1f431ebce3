//! Pools: whether they can be used, QEMU gets to them, and they have room for what is to come.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::finding::{Check, Finding, Remedy, or_ok, size};
use super::{Case, Host};
use crate::config::{Arch, Config, NodeName};
use crate::machine::{PoolInfo, VolumeInfo, VolumeName};
use crate::plan::{Blocked, Images, Inventory, log_pool};

/// Bytes that a seed takes at most.
pub(super) const SEED: u64 = 512 << 10;

/// Whether the pools are of a kind that holds files, and started. One that is not there, or not started, `up` sees to.
pub(super) fn pool(case: Case, host: &Host, blocked: &[Blocked]) -> Vec<Finding> {
    let name = &case.config.libvirt.pool;
    let unfit = blocked.iter().filter(|problem| matches!(problem, Blocked::OtherPool { .. }));
    let mut findings: Vec<_> = unfit.map(|problem| Finding::of_error(Check::Pool, problem, problem.hint())).collect();
    let pools = [&host.inventory.pool, &host.inventory.log_pool].into_iter().flatten().filter(|pool| !pool.active);
    findings.extend(pools.map(|pool| {
        let found = format!("storage pool {} is not active; `up` starts it", pool.name);
        let fix = format!("nodebake doctor --fix, or: virsh pool-start {}", pool.name);
        Finding::warning(Check::Pool, found, fix).with(Remedy::StartPool(pool.name.clone()))
    }));
    or_ok(findings, Check::Pool, || match &host.inventory.pool {
        Some(pool) => format!("{name} is active, over {}", pool.path),
        None => format!("{name} is not there yet; `up` makes it over {}", case.config.libvirt.pool_path.display()),
    })
}

/// Whether QEMU's user may pass through every folder on the way to the pools.
pub(super) fn pool_path(host: &Host) -> Vec<Finding> {
    if !host.info.local {
        return vec![Finding::skipped(
            Check::PoolPath,
            "the hypervisor is another machine, whose folders cannot be seen here",
        )];
    }
    let Some(user) = &host.qemu_user else {
        return vec![Finding::skipped(Check::PoolPath, "libvirt does not say which user QEMU runs as")];
    };
    let shut = host.way.folders.iter().filter(|folder| !folder.lets_through(user)).map(|folder| {
        let path = folder.path.display();
        let found = format!(
            "QEMU runs as {}, which may not pass through {path} (mode {:04o}) to the pool",
            user.name, folder.mode
        );
        Finding::failure(Check::PoolPath, found, folder.opened_by(user))
    });
    let shut: Vec<_> = shut.collect();
    if let Some(unseen) = host.way.unseen.as_ref().filter(|_| shut.is_empty()) {
        let why =
            format!("this user may not look at {}, so whether QEMU's may is not known; root may", unseen.display());
        return vec![Finding::skipped(Check::PoolPath, why)];
    }
    or_ok(shut, Check::PoolPath, || {
        format!("QEMU's user {} may pass through every folder on the way that is there", user.name)
    })
}

/// Said where the payload is not built.
pub(super) const UNCOUNTED: &str = ", not counting the payload, which is not built yet";

/// What the pool still has to take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Need {
    /// Images that are not there yet, in bytes.
    pub(super) images: u64,
    /// How much root and data disks can grow, in bytes.
    pub(super) disks: u64,
    /// The payload is not built, and so not counted.
    pub(super) unbuilt: bool,
}

/// Whether the pool has room for the images, and for the root disks should all of them fill up: those take room only as
/// their guests write.
pub(super) fn space(case: Case, host: &Host, images: &BTreeMap<Arch, Option<Images>>) -> Vec<Finding> {
    match available(host) {
        Ok(available) => {
            let need = need(case, &host.inventory.volumes, images);
            judge_space(host.inventory.pool.as_ref(), available, need)
        }
        Err(why) => vec![Finding::skipped(Check::Space, why)],
    }
}

/// Bytes left where the disks are, or will be; else why that is not known.
pub(super) fn available(host: &Host) -> Result<u64, String> {
    // What is in a pool that is off cannot be seen, so what it lacks is not known.
    match &host.inventory.pool {
        Some(pool) if pool.active => Ok(pool.available),
        Some(pool) => Err(format!("storage pool {} is not active", pool.name)),
        None => host.free.ok_or_else(|| "the pool is not there yet, and the hypervisor is another machine".to_owned()),
    }
}

fn judge_space(pool: Option<&PoolInfo>, available: u64, need: Need) -> Vec<Finding> {
    const FREE: &str = "free space there, or name another pool in the cluster file";
    let place = pool.map_or_else(|| "where the pool is to be".to_owned(), |pool| format!("in {}", pool.path));
    let Need { images, disks, unbuilt } = need;
    let uncounted = if unbuilt { UNCOUNTED } else { "" };
    if images > available {
        let found = format!("the images need {}{uncounted}, and {} are free {place}", size(images), size(available));
        return vec![Finding::failure(Check::Space, found, FREE)];
    }
    if images + disks > available {
        let found = format!(
            "{} are free {place}, less than images and full root disks would take ({}){uncounted}: guests stop when it runs out",
            size(available),
            size(images + disks)
        );
        let fix = "lower `disk` in the cluster file, or free space there before the disks fill up";
        return vec![Finding::warning(Check::Space, found, fix)];
    }
    let found = format!(
        "{} are free {place}, images and full root disks need {}{uncounted}",
        size(available),
        size(images + disks)
    );
    vec![Finding::ok(Check::Space, found)]
}

pub(super) fn need(case: Case, volumes: &[VolumeInfo], images: &BTreeMap<Arch, Option<Images>>) -> Need {
    let is_there =
        |name: &VolumeName| volumes.iter().any(|volume| volume.ours().as_ref() == Some(name) && volume.is_whole());
    let mut missing = BTreeMap::new();
    for images in images.values().flatten() {
        let drive = images.payload_drive.then_some((VolumeName::Payload(images.payload.digest), images.payload.size));
        for (name, size) in [(VolumeName::Base(images.base.digest), images.base.size)].into_iter().chain(drive) {
            if !is_there(&name) {
                missing.insert(name.to_string(), size);
            }
        }
    }
    // Every disk in the pool that a guest writes, of whatever cluster, and those that are not there yet.
    let is_data = |volume: &VolumeInfo| matches!(volume.ours(), Some(VolumeName::Data { .. }));
    let writes = |volume: &&VolumeInfo| volume.backing.is_some() || is_data(volume);
    let there: u64 =
        volumes.iter().filter(writes).map(|volume| volume.capacity.saturating_sub(volume.allocation)).sum();
    let has_root = |node: &NodeName| {
        let of_node = |name: VolumeName| name.owner().is_some_and(|(_, owner)| owner == node);
        let ours = |name: &VolumeName| case.id.is_some_and(|id| name.belongs_to(id));
        volumes.iter().any(|volume| volume.backing.is_some() && volume.ours().filter(ours).is_some_and(of_node))
    };
    let data = case.nodes.iter().flat_map(|node| {
        let is_new = |disk: &str| !case.id.is_some_and(|id| is_there(&VolumeName::data(id, &node.name, disk)));
        node.settings.machine.data_disks.iter().filter(move |(disk, _)| is_new(disk)).map(|(_, disk)| disk.size)
    });
    let data: u64 = data.sum();
    let new: Vec<_> = case.nodes.iter().filter(|node| !has_root(&node.name)).collect();
    Need {
        images: missing.values().sum::<u64>() + SEED * new.len() as u64,
        disks: there + data + new.iter().map(|node| node.disk).sum::<u64>(),
        unbuilt: images.values().any(Option::is_none),
    }
}

/// Where the pools' folders are, or will be.
pub(super) fn folders(config: &Config, host: &Inventory) -> [PathBuf; 2] {
    let wanted = &config.libvirt.pool_path;
    let pool = host.pool.as_ref().map_or_else(|| wanted.clone(), |pool| PathBuf::from(&pool.path));
    // As a plan has it.
    let beside = || log_pool(pool.display().to_string().trim_end_matches('/')).into();
    let logs = host.log_pool.as_ref().map_or_else(beside, |pool| PathBuf::from(&pool.path));
    [pool, logs]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;
    use crate::doctor::access::{Folder, User};
    use crate::doctor::fixture::{Fixture, lines};
    use crate::machine::{Firmware, VolumeFormat};
    use crate::plan::ImageFile;

    #[test]
    fn pools_are_used_as_they_are_and_started_where_they_are_off() {
        let mut fixture = Fixture::new();
        assert_eq!(fixture.judge(|case, host| pool(case, host, &[])), ["ok: nodebake is active, over /pools/nodebake"]);
        for pool in [&mut fixture.host.inventory.pool, &mut fixture.host.inventory.log_pool].into_iter().flatten() {
            pool.active = false;
        }
        let off = |name: &str| {
            format!(
                "warning: storage pool {name} is not active; `up` starts it | nodebake doctor --fix, or: virsh pool-start {name}"
            )
        };
        let found = fixture.judge(|case, host| pool(case, host, &[]));
        assert_eq!(found, [off("nodebake"), off("nodebake-logs")]);
        let blocked = [Blocked::OtherPool { pool: "nodebake".to_owned(), kind: "logical".to_owned() }];
        (fixture.host.inventory.pool, fixture.host.inventory.log_pool) = (None, None);
        let kind = "failure: storage pool nodebake is of type logical; disks need a pool over a folder | name another pool \
                    in the cluster file";
        assert_eq!(fixture.judge(|case, host| pool(case, host, &blocked)), [kind]);
        let none = "ok: nodebake is not there yet; `up` makes it over /var/lib/libvirt/nodebake";
        assert_eq!(fixture.judge(|case, host| pool(case, host, &[])), [none]);
        let paths = folders(&fixture.config, &fixture.host.inventory);
        assert_eq!(paths, ["/var/lib/libvirt/nodebake", "/var/lib/libvirt/nodebake-logs"].map(PathBuf::from));
    }

    #[test]
    fn each_folder_that_shuts_qemu_out_is_told() {
        let mut fixture = Fixture::new();
        let folder =
            |path: &str, mode| Folder { path: path.into(), mode, inode: (0, 0), uid: 1000, gid: 1000, acl: None };
        let unknown = "skipped: libvirt does not say which user QEMU runs as";
        assert_eq!(fixture.judge(|_, host| pool_path(host)), [unknown]);
        fixture.host.qemu_user = Some(User { name: "libvirt-qemu".to_owned(), uid: 64055, gids: [108].into() });
        fixture.host.way.folders = vec![folder("/", 0o755), folder("/home", 0o711)];
        let fine = "ok: QEMU's user libvirt-qemu may pass through every folder on the way that is there";
        assert_eq!(fixture.judge(|_, host| pool_path(host)), [fine]);
        fixture.host.way.unseen = Some("/home/me".into());
        let unseen = "skipped: this user may not look at /home/me, so whether QEMU's may is not known; root may";
        assert_eq!(fixture.judge(|_, host| pool_path(host)), [unseen]);
        fixture.host.way.folders.extend([folder("/home/me", 0o700), folder("/home/me/pool", 0o750)]);
        let shut = |path: &str, mode: &str| {
            format!(
                "failure: QEMU runs as libvirt-qemu, which may not pass through {path} (mode {mode}) to the pool | setfacl \
                 -m u:libvirt-qemu:x {path}, or: chmod o+x {path}"
            )
        };
        let found = fixture.judge(|_, host| pool_path(host));
        assert_eq!(found, [shut("/home/me", "0700"), shut("/home/me/pool", "0750")]);
        fixture.host.info.local = false;
        let elsewhere = "skipped: the hypervisor is another machine, whose folders cannot be seen here";
        assert_eq!(fixture.judge(|_, host| pool_path(host)), [elsewhere]);
    }

    #[test]
    fn images_must_fit_and_disks_should() {
        let pool = Fixture::new().host.inventory.pool;
        let full = "guests stop when it runs out | lower `disk` in the cluster file, or free space there before the disks \
                    fill up";
        for (images, disks, unbuilt, wanted) in [
            (1, 9, false, "ok: 10.0 GiB are free in /pools/nodebake, images and full root disks need 10.0 GiB".to_owned()),
            (
                1,
                9,
                true,
                "ok: 10.0 GiB are free in /pools/nodebake, images and full root disks need 10.0 GiB, not counting the \
                 payload, which is not built yet"
                    .to_owned(),
            ),
            (
                1,
                10,
                false,
                format!("warning: 10.0 GiB are free in /pools/nodebake, less than images and full root disks would take (11.0 GiB): {full}"),
            ),
            (
                11,
                0,
                false,
                "failure: the images need 11.0 GiB, and 10.0 GiB are free in /pools/nodebake | free space there, or name \
                 another pool in the cluster file"
                    .to_owned(),
            ),
        ] {
            let need = Need { images: images << 30, disks: disks << 30, unbuilt };
            assert_eq!(lines(judge_space(pool.as_ref(), 10 << 30, need)), [wanted]);
        }
    }

    #[test]
    fn what_is_there_needs_no_more_room() {
        let fixture = Fixture::new();
        let image = |text: &str, size| ImageFile {
            path: PathBuf::new(),
            digest: Digest::of(text.as_bytes()),
            size,
            verified: None,
        };
        let images = Images {
            payload: image("payload", 200),
            payload_drive: true,
            base: image("base", 1000),
            firmware: Firmware::Bios,
        };
        let volume = |name: VolumeName, capacity, backing: bool| VolumeInfo {
            format: name.format(),
            name: name.to_string(),
            path: String::new(),
            capacity,
            allocation: 100,
            backing: backing.then(String::new),
        };
        let base = volume(VolumeName::Base(images.base.digest), 1000, false);
        let root = VolumeName::root(&fixture.id, &fixture.config.nodes[0].name, Digest::of(b"seed"));
        let cut = VolumeInfo { format: VolumeFormat::Raw, ..base.clone() };
        let disk = 20 << 30;
        let needed = |volumes: &[VolumeInfo], images: Option<&Images>| {
            let images = BTreeMap::from([(Arch::Amd64, images.cloned())]);
            let mut needed = None;
            fixture.judge(|case, _| {
                needed = Some(need(case, volumes, &images));
                Vec::new()
            });
            needed
        };
        for (volumes, known, wanted) in [
            (vec![], true, Need { images: 1200 + 2 * SEED, disks: 2 * disk, unbuilt: false }),
            (vec![cut], true, Need { images: 1200 + 2 * SEED, disks: 2 * disk, unbuilt: false }),
            (vec![base.clone()], true, Need { images: 200 + 2 * SEED, disks: 2 * disk, unbuilt: false }),
            (
                vec![base, volume(root, disk, true)],
                true,
                Need { images: 200 + SEED, disks: 2 * disk - 100, unbuilt: false },
            ),
            (vec![], false, Need { images: 2 * SEED, disks: 2 * disk, unbuilt: true }),
        ] {
            assert_eq!(needed(&volumes, known.then_some(&images)), Some(wanted), "{volumes:?}");
        }
    }

    #[test]
    fn room_is_looked_for_where_it_can_be() {
        let mut fixture = Fixture::new();
        let images = BTreeMap::new();
        let space = |fixture: &Fixture| fixture.judge(|case, host| space(case, host, &images));
        let fine = "ok: 100.0 GiB are free in /pools/nodebake, images and full root disks need 40.0 GiB";
        assert_eq!(space(&fixture), [fine]);
        fixture.host.free = Some(50 << 30);
        fixture.host.inventory.pool.iter_mut().for_each(|pool| pool.active = false);
        assert_eq!(space(&fixture), ["skipped: storage pool nodebake is not active"]);
        (fixture.host.inventory.pool, fixture.host.free) = (None, None);
        let remote = "skipped: the pool is not there yet, and the hypervisor is another machine";
        assert_eq!(space(&fixture), [remote]);
        fixture.host.free = Some(50 << 30);
        let local = "ok: 50.0 GiB are free where the pool is to be, images and full root disks need 40.0 GiB";
        assert_eq!(space(&fixture), [local]);
    }
}
