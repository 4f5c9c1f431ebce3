//! Pools and volumes: looking them up, filling them and reading them back.

use std::thread::sleep;
use std::time::{Duration, Instant};

use virt::error::Error as VirtError;
use virt::storage_pool::StoragePool;
use virt::storage_vol::StorageVol;
use virt::stream::Stream;

use super::{Libvirt, POLL, Result, answer, cause, found, missing, send_all};
use crate::machine::host_xml::{self, Running};
use crate::machine::image::{Source, zeros};
use crate::machine::mark::VolumeName;
use crate::machine::upload::{self, Claim, Holder};
use crate::machine::{MachineError, PoolInfo, VolumeInfo, VolumeSpec};

/// How long a pool may stay busy with jobs of others.
const BUSY_LIMIT: Duration = Duration::from_mins(2);
/// Most zeros that are sent, in bytes, rather than begin another stream behind them. Measured: a stream costs the daemon
/// about what a MiB does, since it looks through the pool at the end of each.
const GAP: u64 = 1 << 20;
/// An upload that has not grown for so long has been given up.
const UPLOAD_STALL: Duration = Duration::from_secs(15);

impl Libvirt {
    pub(super) fn find_pool(&self, name: &str) -> Result<Option<StoragePool>> {
        found(self.connection.lookup_storage_pool_by_name(name))
            .map_err(self.failed(format!("look up storage pool {name:?}")))
    }

    pub(super) fn need_pool(&self, name: &str) -> Result<StoragePool> {
        self.find_pool(name)?.ok_or_else(|| missing("storage pool", name))
    }

    pub(super) fn describe_pool(&self, pool: &StoragePool, name: &str) -> Result<PoolInfo> {
        let failed = || self.failed(format!("describe storage pool {name:?}"));
        let xml = pool.xml_desc(0).map_err(failed())?;
        let running =
            Running { active: pool.is_active().map_err(failed())?, autostart: pool.autostart().map_err(failed())? };
        let mut info = host_xml::read_pool(&xml, &running).map_err(answer("storage pool", name))?;
        if info.active {
            let sizes = pool.info().map_err(failed())?;
            (info.capacity, info.available) = (sizes.capacity, sizes.available);
        }
        Ok(info)
    }

    pub(super) fn find_volume(&self, pool: &StoragePool, name: &VolumeName) -> Result<Option<StorageVol>> {
        found(pool.lookup_storage_vol_by_name(&name.to_string())).map_err(self.failed(format!("look up volume {name}")))
    }

    pub(super) fn describe_volume(&self, volume: &StorageVol) -> Result<Option<VolumeInfo>> {
        let name = volume.name().map_err(self.failed("name a volume"))?;
        match found(volume.xml_desc(0)) {
            Ok(None) => Ok(None),
            Ok(Some(xml)) => host_xml::read_volume(&xml).map(Some).map_err(answer("volume", &name)),
            Err(error) => Err(self.failed(format!("describe volume {name}"))(error)),
        }
    }

    /// The volume as it is in the folder now.
    pub(super) fn look_at(&self, pool: &StoragePool, pool_name: &str, name: &VolumeName) -> Result<Option<VolumeInfo>> {
        self.refresh(pool, pool_name)?;
        self.find_volume(pool, name)?.map_or(Ok(None), |volume| self.describe_volume(&volume))
    }

    /// What became of an upload, as far as libvirt can tell without sending the volume back: it finds the format, and a
    /// file of the right size. How much room that takes is the file system's affair.
    pub(super) fn arrived(&self, pool: &StoragePool, pool_name: &str, spec: &VolumeSpec) -> Result<VolumeInfo> {
        let volume = || spec.name.to_string();
        self.refresh(pool, pool_name)?;
        let there = self.find_volume(pool, &spec.name)?.ok_or_else(|| missing("volume", &spec.name))?;
        let xml = there.xml_desc(0).map_err(self.failed(format!("describe volume {}", spec.name)))?;
        let info = host_xml::read_volume(&xml).map_err(answer("volume", &spec.name))?;
        let size = host_xml::read_file_size(&xml).map_err(answer("volume", &spec.name))?;
        match size.unwrap_or(spec.size) {
            _ if !info.is_whole() => Err(MachineError::NotWhole { volume: volume() }),
            got if got != spec.size => Err(MachineError::Arrived { volume: volume(), wanted: spec.size, got }),
            _ => Ok(info),
        }
    }

    pub(super) fn refresh(&self, pool: &StoragePool, name: &str) -> Result<()> {
        let begin = Instant::now();
        loop {
            let Err(error) = pool.refresh(0) else { return Ok(()) };
            // A refresh that really fails (the folder is gone) makes libvirt stop the pool; one that finds a job under
            // way leaves it active.
            let busy = pool.is_active().unwrap_or(false) && self.connection.is_alive().unwrap_or(false);
            if !busy {
                return Err(self.failed(format!("refresh storage pool {name:?}"))(error));
            }
            if begin.elapsed() > BUSY_LIMIT {
                return Err(MachineError::Busy { pool: name.to_owned(), source: cause(&error) });
            }
            sleep(POLL);
        }
    }

    pub(super) fn create_upload_volume(
        &self,
        pool: &StoragePool,
        pool_name: &str,
        spec: &VolumeSpec,
    ) -> Result<Option<StorageVol>> {
        let available = pool.info().map_err(self.failed(format!("measure storage pool {pool_name:?}")))?.available;
        if available < spec.size && self.find_volume(pool, &spec.name)?.is_none() {
            let volume = spec.name.to_string();
            return Err(MachineError::Full { pool: pool_name.to_owned(), volume, needed: spec.size, available });
        }
        match StorageVol::create_xml(pool, &host_xml::upload(spec), 0) {
            Ok(volume) => Ok(Some(volume)),
            Err(error) => {
                self.refresh(pool, pool_name)?;
                match self.find_volume(pool, &spec.name)? {
                    Some(_) => Ok(None),
                    None => Err(self.failed(format!("create volume {}", spec.name))(error)),
                }
            }
        }
    }

    /// Waits for the upload of somebody else: the whole volume, or `None` when it has gone or was given up (and is
    /// deleted then).
    pub(super) fn wait_for_other(
        &self,
        pool: &StoragePool,
        pool_name: &str,
        name: &VolumeName,
    ) -> Result<Option<VolumeInfo>> {
        let (mut last, mut since) = (None, Instant::now());
        loop {
            let Some(info) = self.look_at(pool, pool_name, name)? else { return Ok(None) };
            if info.is_whole() {
                return Ok(Some(info));
            }
            if last != Some(info.allocation) {
                (last, since) = (Some(info.allocation), Instant::now());
            } else if since.elapsed() > UPLOAD_STALL {
                self.remove(pool, name)?;
                return Ok(None);
            }
            sleep(POLL);
        }
    }

    pub(super) fn remove(&self, pool: &StoragePool, name: &VolumeName) -> Result<()> {
        let Some(volume) = self.find_volume(pool, name)? else { return Ok(()) };
        match volume.delete(0) {
            Ok(()) => Ok(()),
            Err(_) if self.find_volume(pool, name)?.is_none() => Ok(()),
            Err(error) => Err(self.failed(format!("delete volume {name}"))(error)),
        }
    }

    /// Writes all but the page that makes it whole, which is returned.
    pub(super) fn send_body(
        &self,
        volume: &StorageVol,
        spec: &VolumeSpec,
        claim: &Claim,
        source: &mut dyn Source,
        on_bytes: &dyn Fn(u64),
    ) -> Result<Vec<u8>> {
        let failed = |error| self.failed(format!("upload volume {}", spec.name))(error);
        let mut extents = Extents { libvirt: self, volume, size: spec.size, open: None };
        let sent =
            upload::body(spec, claim, source, on_bytes, &mut |offset, data| extents.send(offset, data).map_err(failed));
        match sent {
            Ok(page) => extents.finish().map_err(failed).map(|()| page),
            Err(error) => {
                extents.abort();
                Err(error)
            }
        }
    }

    pub(super) fn send_page(&self, volume: &StorageVol, name: &VolumeName, offset: u64, page: &[u8]) -> Result<()> {
        let mut extents = Extents { libvirt: self, volume, size: offset + page.len() as u64, open: None };
        let sent = extents.send(offset, page);
        if sent.is_err() {
            extents.abort();
        }
        sent.and_then(|()| extents.finish()).map_err(self.failed(format!("finish volume {name}")))
    }

    pub(super) fn read(&self, volume: &StorageVol, name: &VolumeName, offset: u64, max: usize) -> Result<Vec<u8>> {
        let failed = || self.failed(format!("read volume {name}"));
        let stream = Stream::new(&self.connection, 0).map_err(failed())?;
        // A length of 0 means up to the end.
        volume.download(&stream, offset, max as u64, 0).map_err(failed())?;
        let mut bytes = vec![0; max];
        let mut filled = 0;
        while filled < max {
            match stream.recv(&mut bytes[filled..]) {
                Ok(0) => break,
                Ok(count) => filled += usize::try_from(count).unwrap_or(0),
                Err(error) => {
                    let _ = stream.abort();
                    return Err(failed()(error));
                }
            }
        }
        bytes.truncate(filled);
        // All that was asked for has come; a stream cut off before its end fails to finish, which tells nothing new.
        let _ = stream.finish();
        Ok(bytes)
    }

    /// Whose the volume is now: it may have been taken for given up, and made anew.
    pub(super) fn holder(&self, pool: &StoragePool, name: &VolumeName, claim: &Claim) -> Result<Holder> {
        let Some(volume) = self.find_volume(pool, name)? else { return Ok(Holder::Other) };
        let page = self.read(&volume, name, upload::page_offset(name), upload::PAGE)?;
        Ok(claim.holder(&page))
    }

    /// One attempt to fill a volume that was just made; `None` when somebody else took it over.
    pub(super) fn fill(
        &self,
        pool: &StoragePool,
        volume: &StorageVol,
        spec: &VolumeSpec,
        source: &mut dyn Source,
        on_bytes: &dyn Fn(u64),
    ) -> Result<Option<()>> {
        let claim = Claim::new();
        let sent = self.send_body(volume, spec, &claim, source, on_bytes);
        let holder = self.holder(pool, &spec.name, &claim);
        match (sent, holder) {
            (Ok(page), Ok(Holder::Us)) => {
                self.send_page(volume, &spec.name, upload::page_offset(&spec.name), &page).map(Some)
            }
            (Ok(_), Ok(Holder::Nobody | Holder::Other)) => Ok(None),
            (Ok(_), Err(error)) => Err(error),
            (Err(error), holder) => {
                // Nobody's: it failed before the first block had arrived.
                if matches!(holder, Ok(Holder::Us | Holder::Nobody)) {
                    let _ = self.remove(pool, &spec.name);
                }
                Err(error)
            }
        }
    }
}

/// Sends data to its places in a volume, whose other bytes stay as they are: by a stream for each stretch of it, since
/// libvirt's streams of bytes have no way to leave out any.
struct Extents<'a> {
    libvirt: &'a Libvirt,
    volume: &'a StorageVol,
    /// No byte behind this one comes.
    size: u64,
    /// The stream at hand, and where its next byte belongs.
    open: Option<(Stream, u64)>,
}

impl Extents<'_> {
    /// Offsets ascend.
    fn send(&mut self, offset: u64, data: &[u8]) -> std::result::Result<(), VirtError> {
        let near = |at| offset - at <= GAP;
        if self.open.as_ref().is_some_and(|(_, at)| !near(*at)) {
            self.finish()?;
        }
        let (stream, at) = match &mut self.open {
            Some((stream, at)) => (stream, at),
            none => {
                let stream = Stream::new(&self.libvirt.connection, 0)?;
                self.volume.upload(&stream, offset, self.size - offset, 0)?;
                let (stream, at) = none.insert((stream, offset));
                (stream, at)
            }
        };
        for zeros in zeros(offset - *at) {
            send_all(stream, zeros)?;
        }
        send_all(stream, data)?;
        *at = offset + data.len() as u64;
        Ok(())
    }

    fn finish(&mut self) -> std::result::Result<(), VirtError> {
        self.open.take().map_or(Ok(()), |(stream, _)| stream.finish())
    }

    fn abort(&mut self) {
        if let Some((stream, _)) = self.open.take() {
            // The error at hand says more than a failing abort.
            let _ = stream.abort();
        }
    }
}
