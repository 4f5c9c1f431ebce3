//! Images on their way to daemons of the test's own: with holes, and to several at once.

#![expect(clippy::unwrap_used, reason = "tests")]

#[expect(dead_code, reason = "shared with the tests of the command line")]
mod daemon;

use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use nodebake::digest::Digest;
use nodebake::machine::memory::Memory;
use nodebake::machine::{
    Hypervisor, Image, MachineError, PoolSpec, Reading, VolumeInfo, VolumeName, VolumeSpec, upload_to_all,
};

use daemon::Daemon;

const MIB: u64 = 1 << 20;

/// A file that counts what is read of it.
struct Counted {
    file: File,
    read: AtomicU64,
}

impl Counted {
    fn open(path: &Path) -> Self {
        Self { file: File::open(path).unwrap(), read: AtomicU64::new(0) }
    }

    fn read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }
}

impl Image for Counted {
    fn size(&self) -> io::Result<u64> {
        self.file.size()
    }

    fn extent(&self, offset: u64) -> io::Result<Option<Range<u64>>> {
        self.file.extent(offset)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let count = Image::read_at(&self.file, buffer, offset)?;
        self.read.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

/// Writes an image with data at some places: offset and length. Its first page has what makes it an ISO 9660 file system.
fn write(path: &Path, size: u64, places: &[(u64, u64)]) -> VolumeSpec {
    let file = File::create(path).unwrap();
    file.set_len(size).unwrap();
    for (offset, length) in places {
        let data: Vec<u8> = (0..*length).map(|i| u8::try_from(i % 253 + 1).unwrap()).collect();
        file.write_all_at(&data, *offset).unwrap();
    }
    file.write_all_at(b"\x01CD001", 32768).unwrap();
    let digest = Digest::of_reader(&mut File::open(path).unwrap()).unwrap();
    VolumeSpec { name: VolumeName::Payload(digest), size, digest }
}

fn allocated(path: impl AsRef<Path>) -> u64 {
    fs::metadata(path).unwrap().blocks() * 512
}

/// All volumes, and whether each is whole.
fn held(hypervisor: &dyn Hypervisor) -> Vec<(String, bool)> {
    hypervisor.refresh_pool("vms").unwrap();
    let whole = |info: &VolumeInfo| (info.name.clone(), info.is_whole());
    hypervisor.volumes("vms").unwrap().iter().map(whole).collect()
}

#[test]
fn only_data_is_sent() {
    let daemon = Daemon::start();
    let pool = daemon.pool();
    let image = daemon.folder.path().join("image");
    // Places that are near to each other, ones that are not, some beside the page that comes last, one at the end.
    let near: Vec<_> = (0..40).map(|i| (200 * MIB + i * 100_000, 50_000)).collect();
    let far: Vec<_> = (0..20).map(|i| (210 * MIB + i * 8 * MIB, 64 << 10)).collect();
    let edges = [(0, 4096), (36_864, 5000), (3 * MIB + 123, 7), (512 * MIB - 1, 1)];
    let places = [&near[..], &far, &edges].concat();
    let sparse = write(&image, 512 * MIB, &places);
    let source = Counted::open(&image);
    let hypervisor = daemon.open();
    let told = AtomicU64::new(0);
    let tell = |bytes| {
        told.fetch_add(bytes, Ordering::Relaxed);
    };
    let info = hypervisor.upload("vms", &sparse, &mut Reading::new(&source), &tell).unwrap();
    let volume = format!("{pool}/{}", sparse.name);
    assert_eq!((info.is_whole(), info.capacity, told.into_inner()), (true, sparse.size, sparse.size));
    assert_eq!(hypervisor.digest_volume("vms", &sparse.name, &|_| ()).unwrap(), (sparse.digest, sparse.size));
    let data = allocated(&image);
    assert!((data..16 * MIB).contains(&allocated(&volume)), "{} for {data}", allocated(&volume));
    assert!(source.read() <= data, "{} for {data}", source.read());
    // The same file with all its zeros on the disk.
    let dense = daemon.folder.path().join("dense");
    fs::write(&dense, fs::read(&image).unwrap()).unwrap();
    assert!(allocated(&dense) >= sparse.size);
    hypervisor.delete_volume("vms", &sparse.name).unwrap();
    let file = File::open(&dense).unwrap();
    let info = hypervisor.upload("vms", &sparse, &mut Reading::new(&file), &|_| ()).unwrap();
    assert!(info.is_whole());
    assert_eq!(hypervisor.digest_volume("vms", &sparse.name, &|_| ()).unwrap(), (sparse.digest, sparse.size));
    assert!(allocated(&volume) < 16 * MIB, "{}", allocated(&volume));
}

#[test]
fn a_volume_that_somebody_makes_longer_is_not_taken_for_what_was_sent() {
    let daemon = Daemon::start();
    let pool = daemon.pool();
    let image = daemon.folder.path().join("image");
    let spec = write(&image, 4 * MIB, &[(0, 4 * MIB)]);
    let file = File::open(&image).unwrap();
    let sent = AtomicU64::new(0);
    let lengthen = |bytes| {
        if sent.fetch_add(bytes, Ordering::Relaxed) + bytes == spec.size {
            let volume = File::options().write(true).open(format!("{pool}/{}", spec.name)).unwrap();
            volume.set_len(spec.size + 1).unwrap();
        }
    };
    let hypervisor = daemon.open();
    let error = hypervisor.upload("vms", &spec, &mut Reading::new(&file), &lengthen).unwrap_err();
    let expected = format!("volume {} was uploaded, but has 4194305 bytes there, not 4194304", spec.name);
    assert_eq!((error.to_string(), held(&*hypervisor)), (expected, vec![]));
}

#[test]
fn two_daemons_get_an_image_by_one_read() {
    let daemons = [Daemon::start(), Daemon::start()];
    let image = daemons[0].folder.path().join("image");
    let spec = write(&image, 256 * MIB, &[(0, 40 * MIB), (100 * MIB, 30 * MIB)]);
    let source = Counted::open(&image);
    let pools = daemons.each_ref().map(Daemon::pool);
    let hypervisors = daemons.each_ref().map(Daemon::open);
    let memory = Memory::new();
    memory.create_pool(&PoolSpec { name: "vms".to_owned(), path: "/vms".to_owned() }).unwrap();
    let targets = [(&*hypervisors[0], "vms"), (&memory, "vms"), (&*hypervisors[1], "vms")];
    let results = upload_to_all(&source, &spec, &targets, &|_, _| ());
    assert_eq!(results.into_iter().map(|info| info.unwrap().is_whole()).collect::<Vec<_>>(), [true; 3]);
    assert_eq!(source.read(), 70 * MIB);
    for (hypervisor, _) in targets {
        assert_eq!(hypervisor.digest_volume("vms", &spec.name, &|_| ()).unwrap(), (spec.digest, spec.size));
    }
    for pool in pools {
        let got = allocated(format!("{pool}/{}", spec.name));
        assert!((70 * MIB..75 * MIB).contains(&got), "{got}");
    }
}

#[test]
fn a_daemon_that_dies_keeps_no_other_from_its_image() {
    let mut daemons = [Daemon::start(), Daemon::start()];
    let image = daemons[0].folder.path().join("image");
    let spec = write(&image, 128 * MIB, &[(0, 128 * MIB)]);
    let source = Counted::open(&image);
    for daemon in &daemons {
        daemon.pool();
    }
    let hypervisors = daemons.each_ref().map(Daemon::open);
    let [_, dying] = &mut daemons;
    let dying = Mutex::new((dying, 0));
    let kill = |number, bytes| {
        let (daemon, sent) = &mut *dying.lock().unwrap();
        if number == 1 {
            *sent += bytes;
            if *sent == 20 * MIB {
                daemon.kill();
            }
        }
    };
    let targets = [(&*hypervisors[0], "vms"), (&*hypervisors[1], "vms")];
    let [first, second] = upload_to_all(&source, &spec, &targets, &kill).try_into().unwrap();
    assert!(matches!(&second, Err(MachineError::Lost { .. })), "{second:?}");
    assert!(first.unwrap().is_whole());
    let read = || hypervisors[0].digest_volume("vms", &spec.name, &|_| ()).unwrap();
    assert_eq!((read(), source.read()), ((spec.digest, spec.size), spec.size));
    assert_eq!(held(&*hypervisors[0]), [(spec.name.to_string(), true)]);
    let (daemon, _) = dying.into_inner().unwrap();
    daemon.restart();
    let hypervisor = daemon.open();
    assert_eq!(held(&*hypervisor), [(spec.name.to_string(), false)]);
    // The next run brings it to its end, and leaves the other as it is.
    let targets = [(&*hypervisors[0], "vms"), (&*hypervisor, "vms")];
    let results = upload_to_all(&source, &spec, &targets, &|_, _| ());
    assert_eq!(results.into_iter().map(|info| info.unwrap().is_whole()).collect::<Vec<_>>(), [true; 2]);
    assert_eq!(hypervisor.digest_volume("vms", &spec.name, &|_| ()).unwrap(), (spec.digest, spec.size));
    assert_eq!(source.read(), 2 * spec.size);
}
