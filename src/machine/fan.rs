//! One image for several hypervisors at once, read once and hashed once.
//!
//! Whoever asks for uploads reads the image; each hypervisor takes the pieces on a thread of its own, from a window that
//! moves with the slowest of them. One that keeps the others waiting for longer than [`PATIENCE`] is let go: it reads the
//! rest of the image by itself, from where it is.

use std::collections::VecDeque;
use std::io;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::image::{Image, Piece, Reading, Source};
use super::{Hypervisor, MachineError, VolumeInfo, VolumeSpec};
use crate::digest::Digest;

/// For how long one hypervisor may keep others waiting, from when it fell behind until it has caught up.
const PATIENCE: Duration = Duration::from_secs(3);
/// Most pieces that the fastest is ahead of the slowest.
const WINDOW: usize = 16;

/// Makes a volume of one image in a pool of each target, as [`Hypervisor::upload`] does; a target that fails ends its own
/// upload alone. `on_bytes` is told of a target's number and of the length of each piece that it has taken. Results are in
/// the targets' order.
pub fn upload_to_all(
    image: &dyn Image,
    spec: &VolumeSpec,
    targets: &[(&dyn Hypervisor, &str)],
    on_bytes: &(dyn Fn(usize, u64) + Sync),
) -> Vec<Result<VolumeInfo, MachineError>> {
    to_all(image, spec, targets, on_bytes, PATIENCE)
}

fn to_all<'a>(
    image: &'a dyn Image,
    spec: &VolumeSpec,
    targets: &[(&'a dyn Hypervisor, &'a str)],
    on_bytes: &(dyn Fn(usize, u64) + Sync),
    patience: Duration,
) -> Vec<Result<VolumeInfo, MachineError>> {
    let fan = Fan::new(targets.len());
    std::thread::scope(|scope| {
        let begin = |(number, (hypervisor, pool)): (usize, &(&'a dyn Hypervisor, &'a str))| {
            let (hypervisor, pool) = (*hypervisor, *pool);
            let mut source = Taking { fan: &fan, number, own: None, digest: None };
            scope.spawn(move || hypervisor.upload(pool, spec, &mut source, &|bytes| on_bytes(number, bytes)))
        };
        let uploads: Vec<_> = targets.iter().enumerate().map(begin).collect();
        fan.feed(Reading::new(image), patience);
        uploads
            .into_iter()
            .map(|upload| upload.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    })
}

/// Where a target is.
enum Place<'a> {
    /// In the window; `at` is the number of its next piece.
    Here { at: u64, waits: bool, held: Duration },
    /// Let go, with what was in the window for it, and a reader for what comes behind that.
    Loose(Box<Own<'a>>),
    /// It needs nothing more.
    Gone,
}

/// What a target that was let go reads.
struct Own<'a> {
    pieces: VecDeque<Piece>,
    reading: Reading<'a>,
}

/// How the image ended.
#[derive(Clone)]
enum End {
    Whole(Digest),
    /// It could not be read: kind and words, since [`io::Error`] is for one alone.
    Failed(io::ErrorKind, String),
}

struct Window<'a> {
    /// Number of the first piece in it.
    first: u64,
    pieces: VecDeque<Piece>,
    places: Vec<Place<'a>>,
    end: Option<End>,
}

struct Fan<'a> {
    window: Mutex<Window<'a>>,
    moved: Condvar,
}

impl<'a> Fan<'a> {
    fn new(targets: usize) -> Self {
        let places = (0..targets).map(|_| Place::Here { at: 0, waits: false, held: Duration::ZERO }).collect();
        let window = Window { first: 0, pieces: VecDeque::new(), places, end: None };
        Self { window: Mutex::new(window), moved: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Window<'a>> {
        // Each step under the lock is whole when it panics: it only counts.
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the image for all, as long as there is anybody who takes it from here.
    fn feed(&self, mut reading: Reading<'a>, patience: Duration) {
        // Whatever happens here, nobody waits for it for ever.
        let ending = Ending(self);
        while self.room(&mut reading, patience) {
            let end = match reading.piece() {
                Ok(Some(piece)) => {
                    self.lock().pieces.push_back(piece);
                    self.moved.notify_all();
                    continue;
                }
                Ok(None) => reading.digest().map(End::Whole),
                Err(error) => Err(error),
            };
            let failed = |error: io::Error| End::Failed(error.kind(), error.to_string());
            self.lock().end = Some(end.unwrap_or_else(failed));
            break;
        }
        drop(ending);
    }

    /// Waits until another piece is wanted; false when nobody takes any more from here.
    fn room(&self, reading: &mut Reading<'a>, patience: Duration) -> bool {
        let mut window = self.lock();
        while window.places.iter().any(Place::is_here) {
            let waited_for = window.places.iter().any(Place::waits);
            if window.pieces.len() < WINDOW && (window.end() > 0 || waited_for) {
                return true;
            }
            if !waited_for {
                window = self.moved.wait(window).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let begin = Instant::now();
            let left = patience.saturating_sub(window.longest());
            window = self.moved.wait_timeout(window, left).unwrap_or_else(PoisonError::into_inner).0;
            window.hold(begin.elapsed());
            window.let_go(patience, reading);
            self.moved.notify_all();
        }
        false
    }

    fn take(&self, number: usize) -> Taken<'a> {
        let mut window = self.lock();
        loop {
            if let Some(taken) = window.take(number) {
                self.moved.notify_all();
                return taken;
            }
            self.moved.notify_all();
            window = self.moved.wait(window).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn leave(&self, number: usize) {
        let mut window = self.lock();
        window.places[number] = Place::Gone;
        window.pass();
        self.moved.notify_all();
    }
}

/// Ends what is fed, if it has no end yet.
struct Ending<'f, 'a>(&'f Fan<'a>);

impl Drop for Ending<'_, '_> {
    fn drop(&mut self) {
        let broken = || End::Failed(io::ErrorKind::Other, "it was read no further".to_owned());
        self.0.lock().end.get_or_insert_with(broken);
        self.0.moved.notify_all();
    }
}

impl Place<'_> {
    fn is_here(&self) -> bool {
        matches!(self, Self::Here { .. })
    }

    fn waits(&self) -> bool {
        matches!(self, Self::Here { waits: true, .. })
    }
}

impl<'a> Window<'a> {
    /// Number of the piece that comes next.
    fn end(&self) -> u64 {
        self.first + self.pieces.len() as u64
    }

    /// The longest that one of the slowest has kept others waiting.
    fn longest(&self) -> Duration {
        let first = self.first;
        let held = |place: &Place| match place {
            Place::Here { at, held, .. } if *at == first => Some(*held),
            _ => None,
        };
        self.places.iter().filter_map(held).max().unwrap_or_default()
    }

    /// Others were kept waiting for so long by the slowest.
    fn hold(&mut self, time: Duration) {
        let first = self.first;
        for place in &mut self.places {
            if let Place::Here { at, held, .. } = place
                && *at == first
            {
                *held += time;
            }
        }
    }

    fn let_go(&mut self, patience: Duration, reading: &mut Reading<'a>) {
        let first = self.first;
        for place in &mut self.places {
            if matches!(place, Place::Here { at, held, .. } if *at == first && *held >= patience) {
                *place = Place::Loose(Box::new(Own { pieces: self.pieces.clone(), reading: reading.fork() }));
            }
        }
        self.pass();
    }

    /// Forgets what all have taken.
    fn pass(&mut self) {
        let at = |place: &Place| if let Place::Here { at, .. } = place { Some(*at) } else { None };
        let slowest = self.places.iter().filter_map(at).min().unwrap_or(self.end());
        while self.first < slowest && self.pieces.pop_front().is_some() {
            self.first += 1;
        }
    }

    /// What comes next for a target; `None` as long as it has to wait.
    fn take(&mut self, number: usize) -> Option<Taken<'a>> {
        let (first, end) = (self.first, self.end());
        let Place::Here { at, waits, held } = &mut self.places[number] else {
            return match std::mem::replace(&mut self.places[number], Place::Gone) {
                Place::Loose(own) => Some(Taken::Loose(own)),
                _ => Some(Taken::End(End::Failed(io::ErrorKind::Other, "it was taken to its end".to_owned()))),
            };
        };
        if *at == end {
            *waits = self.end.is_none();
            return self.end.clone().map(Taken::End);
        }
        let piece = self.pieces.get(usize::try_from(*at - first).ok()?).cloned();
        (*at, *waits) = (*at + 1, false);
        if end - *at <= WINDOW as u64 / 2 {
            *held = Duration::ZERO;
        }
        self.pass();
        piece.map(Taken::Piece)
    }
}

enum Taken<'a> {
    Piece(Piece),
    End(End),
    /// It was let go.
    Loose(Box<Own<'a>>),
}

/// The image as one target takes it.
struct Taking<'f, 'a> {
    fan: &'f Fan<'a>,
    number: usize,
    own: Option<Box<Own<'a>>>,
    digest: Option<Digest>,
}

impl Source for Taking<'_, '_> {
    fn piece(&mut self) -> io::Result<Option<Piece>> {
        if let Some(own) = &mut self.own {
            return own.pieces.pop_front().map_or_else(|| own.reading.piece(), |piece| Ok(Some(piece)));
        }
        match self.fan.take(self.number) {
            Taken::Piece(piece) => Ok(Some(piece)),
            Taken::End(End::Whole(digest)) => {
                self.digest = Some(digest);
                Ok(None)
            }
            Taken::End(End::Failed(kind, words)) => Err(io::Error::new(kind, words)),
            Taken::Loose(own) => {
                self.own = Some(own);
                self.piece()
            }
        }
    }

    fn digest(&mut self) -> io::Result<Digest> {
        match &mut self.own {
            Some(own) => own.reading.digest(),
            None => self.digest.ok_or_else(|| io::Error::other("its end has not come yet")),
        }
    }
}

impl Drop for Taking<'_, '_> {
    fn drop(&mut self) {
        self.fan.leave(self.number);
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::ops::Range;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::super::image::BLOCK;
    use super::super::memory::{Memory, Moment};
    use super::super::{PoolSpec, VolumeFormat, VolumeName};
    use super::*;

    /// An image that counts what is read of it, and breaks at a place.
    struct Counted {
        bytes: Vec<u8>,
        read: AtomicU64,
        breaks: u64,
    }

    impl Counted {
        /// Of so many blocks, none of which is a hole.
        fn new(blocks: usize) -> Self {
            let mut bytes: Vec<u8> = (0..blocks * BLOCK).map(|i| u8::try_from(i % 251).unwrap()).collect();
            bytes[32768..32774].copy_from_slice(b"\x01CD001");
            Self { bytes, read: AtomicU64::new(0), breaks: u64::MAX }
        }

        fn spec(&self) -> VolumeSpec {
            let digest = Digest::of(&self.bytes);
            VolumeSpec { name: VolumeName::Payload(digest), size: self.bytes.len() as u64, digest }
        }

        /// Blocks read so far.
        fn read(&self) -> u64 {
            self.read.load(Ordering::Relaxed) / BLOCK as u64
        }
    }

    impl Image for Counted {
        fn size(&self) -> io::Result<u64> {
            Ok(self.bytes.len() as u64)
        }

        fn extent(&self, offset: u64) -> io::Result<Option<Range<u64>>> {
            (&&*self.bytes).extent(offset)
        }

        fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
            if offset >= self.breaks {
                return Err(io::Error::new(io::ErrorKind::StaleNetworkFileHandle, "the file is gone"));
            }
            let count = (&&*self.bytes).read_at(buffer, offset)?;
            self.read.fetch_add(count as u64, Ordering::Relaxed);
            Ok(count)
        }
    }

    fn memories<const N: usize>() -> [Memory; N] {
        std::array::from_fn(|_| {
            let memory = Memory::new();
            memory.create_pool(&PoolSpec { name: "vms".to_owned(), path: "/vms".to_owned() }).unwrap();
            memory
        })
    }

    fn targets(memories: &[Memory]) -> Vec<(&dyn Hypervisor, &str)> {
        memories.iter().map(|memory| (memory as &dyn Hypervisor, "vms")).collect()
    }

    /// Digest of each volume that is whole; nothing where there is none, or a part.
    fn held(memories: &[Memory], spec: &VolumeSpec) -> Vec<Option<Digest>> {
        let digest = |memory: &Memory| {
            let volumes = memory.volumes("vms").unwrap();
            let whole = volumes.iter().any(|volume| volume.format == VolumeFormat::Iso);
            whole.then(|| memory.digest_volume("vms", &spec.name, &|_| ()).unwrap().0)
        };
        memories.iter().map(digest).collect()
    }

    fn words(results: Vec<Result<VolumeInfo, MachineError>>) -> Vec<Result<String, String>> {
        results
            .into_iter()
            .map(|result| result.map(|info| info.name).map_err(|error| crate::error::chain(&error)))
            .collect()
    }

    #[test]
    fn an_image_is_read_once_for_all() {
        let (image, memories) = (Counted::new(40), memories::<3>());
        let spec = image.spec();
        let told = [const { AtomicU64::new(0) }; 3];
        let tell = |number: usize, bytes| {
            told[number].fetch_add(bytes, Ordering::Relaxed);
        };
        let results = upload_to_all(&image, &spec, &targets(&memories), &tell);
        assert_eq!(words(results), vec![Ok(spec.name.to_string()); 3]);
        assert_eq!(held(&memories, &spec), [Some(spec.digest); 3]);
        assert_eq!((image.read(), told.map(AtomicU64::into_inner)), (40, [spec.size; 3]));
        // Where all have it nothing is read.
        assert_eq!(upload_to_all(&image, &spec, &targets(&memories), &|_, _| ()).len(), 3);
        assert_eq!(image.read(), 40);
        assert_eq!(words(upload_to_all(&image, &spec, &[], &|_, _| ())), []);
    }

    #[test]
    fn one_that_fails_keeps_none_of_the_others() {
        for moment in [Moment::Before, Moment::Midway, Moment::After] {
            let (image, memories) = (Counted::new(40), memories::<3>());
            let spec = image.spec();
            memories[0].break_line(20 << 20);
            memories[2].fail_at(1, moment);
            let lost = || {
                let doing = format!("to upload {}", spec.name);
                Err(format!("lost the connection to libvirt at memory:/// ({doing}): a fault was injected"))
            };
            let results = upload_to_all(&image, &spec, &targets(&memories), &|_, _| ());
            assert_eq!(words(results), [lost(), Ok(spec.name.to_string()), lost()]);
            let whole = Some(spec.digest);
            let last = whole.filter(|_| moment == Moment::After);
            assert_eq!((held(&memories, &spec), image.read()), (vec![None, whole, last], 40), "{moment:?}");
        }
    }

    #[test]
    fn one_that_is_slow_is_let_go_and_comes_to_its_end() {
        let (image, memories) = (Counted::new(40), memories::<3>());
        let spec = image.spec();
        let (done, changed) = (Mutex::new(0), Condvar::new());
        // The second takes its first piece, and no other one before the others have all.
        let tell = |number, bytes| {
            let mut done = done.lock().unwrap();
            if number == 1 {
                drop(changed.wait_while(done, |done| *done < 2 * spec.size).unwrap());
            } else {
                *done += bytes;
                changed.notify_all();
            }
        };
        // So long that a busy machine keeps neither of the others from its turn.
        let results = to_all(&image, &spec, &targets(&memories), &tell, Duration::from_secs(1));
        assert_eq!(words(results), vec![Ok(spec.name.to_string()); 3]);
        assert_eq!(held(&memories, &spec), [Some(spec.digest); 3]);
        // It had one piece, and a window of them was read for it.
        assert_eq!(image.read(), 40 + (40 - 1 - WINDOW as u64));
    }

    #[test]
    fn one_alone_may_take_as_long_as_it_likes() {
        let (image, memories) = (Counted::new(40), memories::<1>());
        let spec = image.spec();
        let results = to_all(&image, &spec, &targets(&memories), &|_, _| (), Duration::ZERO);
        assert_eq!((words(results), image.read()), (vec![Ok(spec.name.to_string())], 40));
    }

    #[test]
    fn what_is_wrong_with_the_image_all_are_told() {
        let image = Counted { breaks: 30 << 20, ..Counted::new(40) };
        let spec = image.spec();
        let with = |spec: &VolumeSpec| {
            let memories = memories::<2>();
            let results = words(upload_to_all(&image, spec, &targets(&memories), &|_, _| ()));
            assert_eq!(held(&memories, spec), [None, None]);
            results
        };
        let name = &spec.name;
        assert_eq!(with(&spec), vec![Err(format!("cannot read the file for volume {name}: the file is gone")); 2]);
        let image = Counted::new(40);
        let other = Digest::of(b"other");
        let wrong = VolumeSpec { digest: other, ..spec.clone() };
        let memories = memories::<2>();
        let results = words(upload_to_all(&image, &wrong, &targets(&memories), &|_, _| ()));
        let digest = format!("the file for volume {name} has sha256 {}, not {other}", spec.digest);
        assert_eq!((results, held(&memories, &spec)), (vec![Err(digest); 2], vec![None, None]));
    }
}
