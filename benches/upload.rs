//! What it costs to bring an image to a hypervisor: nodebake's upload against `virsh vol-upload` of the same file through the
//! same daemon, and one image to three daemons.
//!
//! Whole processes run in alternation (ours, the peer, ours, the peer, ...), so that whatever else the machine does meets
//! both; a ratio is taken within each pair. Before each the volume of the one before is deleted and the disk is in rest. Ours
//! makes the volume and looks at what arrived; the peer finds its volume made, and only sends. The images are sent as base
//! images are, which the cache verified when it fetched them: nothing is hashed unless the file was touched since then. A
//! limit that is broken fails the run, after everything is shown.
//!
//! - dense: 1 GiB of noise.
//! - dense and unverified: the same, hashed on its way; there is no limit, since the peer checks nothing.
//! - sparse: 10 GiB, of which 5 % are data, in pieces of 64 KiB to 1 MiB spread over it.
//! - fan-out: the dense one to three daemons at once, with what the process reads (`rchar`) for each byte of it.
//!
//! Daemons are the tests' own (tests/daemon); they need libvirtd, virtlogd and qemu-system-x86_64.
#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a program of its own, for people")]

use std::fs::{self, File};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use nodebake::digest::Digest;
use nodebake::machine::{PoolSpec, Reading, Verified, VolumeName, VolumeSpec, open, upload_to_all};
use nodebake::stamp::Stamp;
use rand::rngs::StdRng;
use rand::{Rng as _, RngCore as _, SeedableRng as _};

#[path = "../tests/daemon/mod.rs"]
#[expect(dead_code, reason = "shared with the tests")]
mod daemon;
#[path = "shared/pairs.rs"]
mod pairs;
#[path = "shared/rows.rs"]
mod rows;
#[path = "shared/spread.rs"]
mod spread;

use daemon::Daemon;
use pairs::{Took, pairs_of};
use rows::Rows;
use spread::{shown, spread};

const POOL: &str = "bench";
const DENSE: u64 = 1 << 30;
const SPARSE: u64 = 10 << 30;
/// One byte in so many is data of the sparse one.
const THIN: u64 = 20;
/// Most that ours may take of the peer's wall time.
const DENSE_RATIO: f64 = 1.1;
const SPARSE_RATIO: f64 = 0.3;
/// Most that is read for each byte of an image that goes to three.
const READ_RATIO: f64 = 1.01;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [verb, file, digest, stamp, uris @ ..] = &arguments[..]
        && verb == "send"
    {
        send(Path::new(file), digest, stamp, uris);
        return ExitCode::SUCCESS;
    }
    let pairs = std::env::var("NODEBAKE_BENCH_PAIRS").ok().map_or(5, |count| count.parse().unwrap());
    // Beside what is built, since /tmp may be memory.
    let folder = tempfile::Builder::new().prefix("bench-").tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let mut bench = Bench::new(folder.path());
    println!("{pairs} pairs a row; seconds: median (least to most)\n");
    let dense = bench.image("dense", DENSE, |_, image| fill(image, 0, DENSE));
    let mut fine = bench.row("dense, 1 GiB", &dense, pairs, Some(DENSE_RATIO));
    bench.row("dense, 1 GiB, unverified", &Image { stamp: None, ..dense.clone() }, pairs, None);
    fine &= bench.fan_out(&dense, pairs);
    fs::remove_file(&dense.path).unwrap();
    let sparse = bench.image("sparse", SPARSE, scatter);
    fine &= bench.row("sparse, 10 GiB with 5 % data", &sparse, pairs, Some(SPARSE_RATIO));
    if fine { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What a process of ours does: an upload to each URI, and then tells how much it has read.
fn send(file: &Path, digest: &str, stamp: &str, uris: &[String]) {
    let digest: Digest = digest.parse().unwrap();
    let image = Verified { file: File::open(file).unwrap(), digest, stamp: stamp.parse().ok() };
    let size = image.file.metadata().unwrap().len();
    let spec = VolumeSpec { name: VolumeName::Payload(digest), size, digest };
    let hypervisors: Vec<_> = uris.iter().map(|uri| open(uri).unwrap()).collect();
    if let [hypervisor] = &hypervisors[..] {
        hypervisor.upload(POOL, &spec, &mut Reading::new(&image), &|_| ()).unwrap();
    } else {
        let targets: Vec<_> = hypervisors.iter().map(|hypervisor| (&**hypervisor, POOL)).collect();
        for sent in upload_to_all(&image, &spec, &targets, &|_, _| ()) {
            sent.unwrap();
        }
    }
    fs::write("read", fs::read_to_string("/proc/self/io").unwrap()).unwrap();
}

/// An image to send.
#[derive(Clone)]
struct Image {
    path: PathBuf,
    digest: Digest,
    size: u64,
    /// What it looked like when it was verified.
    stamp: Option<Stamp>,
}

/// Writes noise to a place.
fn fill(image: &File, offset: u64, length: u64) {
    let mut noise = StdRng::seed_from_u64(offset);
    let mut block = vec![0; 1 << 20];
    let mut at = 0;
    while at < length {
        let count = usize::try_from((length - at).min(1 << 20)).unwrap();
        noise.fill_bytes(&mut block[..count]);
        image.write_all_at(&block[..count], offset + at).unwrap();
        at += count as u64;
    }
}

/// Writes noise here and there.
fn scatter(noise: &mut StdRng, image: &File) {
    let mut left = SPARSE / THIN;
    let mut lengths = Vec::new();
    while left > 0 {
        let length = noise.gen_range(64 << 10..=1 << 20_u64).min(left);
        lengths.push(length);
        left -= length;
    }
    let room = SPARSE / lengths.len() as u64;
    for (number, length) in lengths.into_iter().enumerate() {
        let within = noise.gen_range(0..room - length) & !4095;
        fill(image, number as u64 * room + within, length);
    }
}

struct Bench {
    folder: PathBuf,
    daemons: [Daemon; 3],
    rows: Rows,
}

impl Bench {
    fn new(folder: &Path) -> Self {
        let daemons = [(); 3].map(|()| Daemon::start());
        for (number, daemon) in daemons.iter().enumerate() {
            let path = folder.join(format!("pool-{number}")).to_str().unwrap().to_owned();
            daemon.open().create_pool(&PoolSpec { name: POOL.to_owned(), path }).unwrap();
        }
        Self { folder: folder.to_owned(), daemons, rows: Rows::of("upload") }
    }

    fn image(&self, name: &str, size: u64, write: impl Fn(&mut StdRng, &File)) -> Image {
        let path = self.folder.join(name);
        let file = File::create_new(&path).unwrap();
        file.set_len(size).unwrap();
        write(&mut StdRng::seed_from_u64(7), &file);
        // What libvirt takes for an ISO 9660 file system.
        file.write_all_at(b"\x01CD001", 32768).unwrap();
        let stamp = Some(Stamp::of(&file).unwrap());
        let digest = Digest::of_reader(&mut File::open(&path).unwrap()).unwrap();
        Image { path, digest, size, stamp }
    }

    /// Nothing in the pools, and nothing on its way to the disk.
    fn clear(&self, image: &Image) {
        for daemon in &self.daemons {
            daemon.open().delete_volume(POOL, &VolumeName::Payload(image.digest)).unwrap();
        }
        rustix::fs::sync();
    }

    fn ours(&self, image: &Image, daemons: &[Daemon]) -> Took {
        self.clear(image);
        let (this, digest) = (std::env::current_exe().unwrap(), image.digest.to_string());
        let stamp = image.stamp.map_or_else(String::new, |stamp| stamp.to_string());
        let mut command = vec![this.to_str().unwrap(), "send", image.path.to_str().unwrap(), &digest, &stamp];
        command.extend(daemons.iter().map(|daemon| daemon.uri.as_str()));
        pairs::run(&self.folder, &[], &command)
    }

    fn peer(&self, image: &Image) -> Took {
        self.clear(image);
        let (uri, size) = (&self.daemons[0].uri, image.size.to_string());
        let name = VolumeName::Payload(image.digest).to_string();
        let virsh =
            |arguments: &[&str]| pairs::run(&self.folder, &[], &[&["virsh", "-q", "-c", uri], arguments].concat());
        virsh(&["vol-create-as", POOL, &name, &size, "--allocation", "0", "--format", "raw"]);
        virsh(&["vol-upload", "--pool", POOL, &name, image.path.to_str().unwrap()])
    }

    /// Shows a row; says whether its limit is met, where it has one.
    fn row(&mut self, name: &str, image: &Image, pairs: usize, limit: Option<f64>) -> bool {
        let volume = self.folder.join("pool-0").join(VolumeName::Payload(image.digest).to_string());
        let allocated = || volume.metadata().map_or(0, |metadata| metadata.blocks() / 2048);
        let room = std::cell::Cell::new([0; 2]);
        let ours = || {
            let took = self.ours(image, &self.daemons[..1]);
            room.set([allocated(), room.get()[1]]);
            took
        };
        let peer = || {
            let took = self.peer(image);
            room.set([room.get()[0], allocated()]);
            took
        };
        let pairs = pairs_of(pairs, || (), ours, peer);
        self.clear(image);
        let wall = |which: usize| shown(pairs.iter().map(|pair| pair[which].wall), 2);
        let ratios = || pairs::ratios(&pairs, |took| took.wall);
        let fine = limit.is_none_or(|limit| spread(ratios()).is_some_and(|[median, ..]| median <= limit));
        self.rows.add(name, "virsh vol-upload", ratios(), limit.map(|limit| (limit, fine)));
        let limit = limit.map_or_else(|| "no limit".to_owned(), |limit| format!("limit {limit}: {}", word(fine)));
        let (ratio, cpu) = (shown(ratios(), 2), shown(pairs::ratios(&pairs, |took| took.cpu), 2));
        let [ours, theirs] = room.get();
        println!("{name}: ours {}, virsh vol-upload {}, ratio {ratio}, of cpu {cpu}, {limit}", wall(0), wall(1));
        println!("  MiB on the host: ours {ours}, virsh's {theirs}");
        fine
    }

    /// Shows what three at once take, and what of the image is read for it; says whether the limit is met.
    fn fan_out(&mut self, image: &Image, count: usize) -> bool {
        let runs: Vec<_> = (0..count)
            .map(|_| {
                let took = self.ours(image, &self.daemons);
                let io = fs::read_to_string(self.folder.join("read")).unwrap();
                let read = io.lines().find_map(|line| line.strip_prefix("rchar: ")).unwrap().parse::<u64>().unwrap();
                (took.wall, ratio(read, image.size), took.peak)
            })
            .collect();
        self.clear(image);
        let read = || runs.iter().map(|(_, read, _)| *read);
        let fine = spread(read()).is_some_and(|[.., most]| most <= READ_RATIO);
        self.rows.add("bytes read for three at once", "bytes of the image", read(), Some((READ_RATIO, fine)));
        let (wall, peak) = (shown(runs.iter().map(|(wall, ..)| *wall), 2), runs.iter().map(|(.., peak)| peak).max());
        println!(
            "the dense one to three daemons: {wall}, at most {} MiB of memory, read for each of its bytes {}, limit \
             {READ_RATIO}: {}",
            peak.map_or(0, |peak| peak >> 10),
            shown(read(), 4),
            word(fine)
        );
        fine
    }
}

#[expect(clippy::cast_precision_loss, reason = "a figure to look at")]
fn ratio(read: u64, size: u64) -> f64 {
    read as f64 / size as f64
}

fn word(fine: bool) -> &'static str {
    if fine { "met" } else { "NOT MET" }
}
