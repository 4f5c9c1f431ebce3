//! The body of an upload: what is sent when, so that a part is never taken for the whole.
//!
//! One page makes a file an image: it holds the magic number by which libvirt tells an ISO 9660 or qcow2 file. It is
//! sent last, alone, once everything else has arrived and the digest was right. Until then the page holds a claim, a
//! text that no other upload writes; who finds another claim there has been taken over and lets go.
//!
//! Marker volumes, or clones of a `.part` volume, would do for a client that dies, but a clone is not atomic when the
//! daemon dies; and to download a volume in order to hash it costs as much as to send it again.
//!
//! What this does not cover: libvirt never syncs a volume, so a host that loses its power within seconds after an
//! upload may find the last page on its disk and others not.

use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use super::image::{Piece, Source, zeros};
use super::mark::VolumeName;
use super::{MachineError, VolumeFormat, VolumeSpec};

/// Length of the page that is sent last; the kernel writes a page whole even if the writer is killed.
pub(super) const PAGE: usize = 4096;

/// Where the page with the magic number begins: ISO 9660 has it in sector 16, qcow2 in its first bytes.
pub(super) fn page_offset(name: &VolumeName) -> u64 {
    if name.format() == VolumeFormat::Iso { 16 * 2048 } else { 0 }
}

/// Says whose upload a volume is.
pub(super) struct Claim([u8; PAGE]);

impl Claim {
    /// A claim that no other upload makes: of this process, at this time.
    pub(super) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let text = format!("nodebake: upload {count} of process {} on {} at {time}", std::process::id(), host.trim());
        let mut page = [0; PAGE];
        page[..text.len()].copy_from_slice(text.as_bytes());
        Self(page)
    }

    /// Whose upload a page read back belongs to, if this claim is ours.
    pub(super) fn holder(&self, page: &[u8]) -> Holder {
        if page == self.0 {
            Holder::Us
        } else if page.iter().all(|byte| *byte == 0) {
            Holder::Nobody
        } else {
            Holder::Other
        }
    }
}

/// Who fills a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holder {
    /// This upload.
    Us,
    /// None yet: it is as empty as it was made.
    Nobody,
    /// Another upload.
    Other,
}

/// Takes data with its offset.
pub(super) type Sending<'a> = dyn FnMut(u64, &[u8]) -> Result<(), MachineError> + 'a;

/// Hands the data of `source`, each with its offset, to `send`, with the claim in place of the page that makes the image
/// whole; returns that page once the size and digest were right. What is not sent must read as zeros.
pub(super) fn body(
    spec: &VolumeSpec,
    claim: &Claim,
    source: &mut dyn Source,
    on_bytes: &dyn Fn(u64),
    send: &mut Sending<'_>,
) -> Result<Vec<u8>, MachineError> {
    let volume = || spec.name.to_string();
    let failed = |source| MachineError::Source { volume: volume(), source };
    let size = |got| MachineError::Size { volume: volume(), wanted: spec.size, got };
    let mut page = Page::new(spec);
    let mut at: u64 = 0;
    while let Some(piece) = source.piece().map_err(failed)? {
        let end = at.saturating_add(piece.length());
        if end > spec.size {
            return Err(size(end));
        }
        page.pass(at, &piece, claim, send)?;
        on_bytes(piece.length());
        at = end;
    }
    if at != spec.size {
        return Err(size(at));
    }
    if page.lacking {
        return Err(MachineError::NotWhole { volume: volume() });
    }
    let got = source.digest().map_err(failed)?;
    if got != spec.digest {
        return Err(MachineError::Digest { volume: volume(), wanted: spec.digest, got });
    }
    Ok(page.kept)
}

/// The page with the magic number, which is kept back.
struct Page {
    place: Range<u64>,
    kept: Vec<u8>,
    /// Whether the image is too small for such a page: nothing of it is sent then.
    lacking: bool,
}

impl Page {
    fn new(spec: &VolumeSpec) -> Self {
        let begin = page_offset(&spec.name);
        let place = begin..begin + PAGE as u64;
        Self { lacking: place.end > spec.size, place, kept: Vec::new() }
    }

    /// Sends what is before and behind the page; and the claim at once, as soon as all of the page has come.
    fn pass(&mut self, at: u64, piece: &Piece, claim: &Claim, send: &mut Sending<'_>) -> Result<(), MachineError> {
        if self.lacking {
            return Ok(());
        }
        let length = piece.length();
        let within = |place: u64| place.clamp(at, at + length) - at;
        let (begin, end) = (within(self.place.start), within(self.place.end));
        let had = self.kept.len();
        match piece.data(begin..end) {
            Some(data) => self.kept.extend_from_slice(data),
            None => zeros(end - begin).for_each(|zeros| self.kept.extend_from_slice(zeros)),
        }
        if let Some(before) = piece.data(0..begin) {
            send(at, before)?;
        }
        if had < PAGE && self.kept.len() == PAGE {
            send(self.place.start, &claim.0)?;
        }
        piece.data(end..length).map_or(Ok(()), |behind| send(at + end, behind))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::cell::RefCell;
    use std::io;

    use super::super::image::{BLOCK, Image, Reading};
    use super::*;
    use crate::digest::Digest;

    fn bytes(length: usize) -> Vec<u8> {
        (0..length).map(|i| u8::try_from(i % 251).unwrap()).collect()
    }

    /// What arrives, the page, and the steps that were told.
    fn run(name: VolumeName, size: u64, digest: Digest, source: &[u8]) -> (Vec<u8>, Result<Vec<u8>, String>, Vec<u64>) {
        let spec = VolumeSpec { name, size, digest };
        let mut arrived = Vec::new();
        let steps = RefCell::new(Vec::new());
        let mut source = Reading::new(&source);
        let tell = |step| steps.borrow_mut().push(step);
        let page = body(&spec, &Claim([7; PAGE]), &mut source, &tell, &mut |offset, data| {
            let offset = usize::try_from(offset).unwrap();
            assert!(!data.is_empty() && offset >= arrived.len());
            arrived.resize(offset, 0);
            arrived.extend_from_slice(data);
            Ok(())
        });
        (arrived, page.map_err(|error| error.to_string()), steps.into_inner())
    }

    #[test]
    fn the_page_that_makes_it_whole_comes_last() {
        for (name, start) in [(VolumeName::Payload(Digest::of(b"")), 32768), (VolumeName::Base(Digest::of(b"")), 0)] {
            let source = bytes(BLOCK + 5);
            let (arrived, page, steps) = run(name, source.len() as u64, Digest::of(&source), &source);
            let mut expected = source.clone();
            expected[start..start + PAGE].fill(7);
            assert_eq!((arrived, page, steps), (expected, Ok(source[start..start + PAGE].to_vec()), vec![1 << 20, 5]));
        }
    }

    /// Bytes of which only these stretches are data.
    struct Torn(Vec<u8>, Vec<Range<u64>>);

    impl Image for Torn {
        fn size(&self) -> io::Result<u64> {
            Ok(self.0.len() as u64)
        }

        fn extent(&self, offset: u64) -> io::Result<Option<Range<u64>>> {
            let next = self.1.iter().find(|range| range.end > offset);
            Ok(next.map(|range| range.start.max(offset)..range.end))
        }

        fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
            (&&*self.0).read_at(buffer, offset)
        }
    }

    #[test]
    fn a_claim_is_sent_whole_where_holes_tear_the_page() {
        for stretches in [
            &[][..],
            &[(0, 10), (33_000, 33_500), (34_000, 36_900), (40_000, 40_001)],
            &[(32_000, 32_769), (36_863, 36_864)],
            &[(36_864, 50_000)],
            &[(0, 32_768)],
        ] {
            let stretches: Vec<Range<u64>> = stretches.iter().map(|(start, end)| *start..*end).collect();
            let mut bytes = vec![0; 50_000];
            for range in &stretches {
                bytes[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()].fill(9);
            }
            let digest = Digest::of(&bytes);
            let spec = VolumeSpec { name: VolumeName::Payload(digest), size: 50_000, digest };
            let (mut arrived, mut sent) = (vec![0; 50_000], Vec::new());
            let image = Torn(bytes.clone(), stretches);
            let page = body(&spec, &Claim([7; PAGE]), &mut Reading::new(&image), &|_| (), &mut |offset, data| {
                let begin = usize::try_from(offset).unwrap();
                arrived[begin..begin + data.len()].copy_from_slice(data);
                sent.push(offset..offset + data.len() as u64);
                Ok(())
            });
            let (before, behind) = (&bytes[..32_768], &bytes[36_864..]);
            assert_eq!(arrived, [before, &[7; PAGE], behind].concat(), "{:?}", image.1);
            assert_eq!(page.unwrap(), bytes[32_768..36_864], "{:?}", image.1);
            assert!(sent.contains(&(32_768..36_864)) && sent.is_sorted_by(|a, b| a.end <= b.start), "{sent:?}");
        }
    }

    #[test]
    fn a_wrong_source_gives_no_page() {
        let source = bytes(40_000);
        let (wanted, other) = (Digest::of(&source), Digest::of(b"other"));
        let name = || VolumeName::Base(Digest::of(b""));
        let text = name().to_string();
        let cases = [
            (40_000, other, &source[..], format!("the file for volume {text} has sha256 {wanted}, not {other}")),
            (40_001, wanted, &source[..], format!("the file for volume {text} has 40000 bytes, not 40001")),
            (39_999, wanted, &source[..], format!("the file for volume {text} has 40000 bytes, not 39999")),
            (100, wanted, &source[..100], format!("volume {text} was uploaded, but libvirt sees no valid image in it")),
            (0, Digest::of(b""), &source[..0], format!("the file for volume {text} has 0 bytes, not 1")),
        ];
        for (size, digest, source, error) in cases {
            let size = size.max(1);
            assert_eq!(run(name(), size, digest, source).1, Err(error));
        }
    }

    #[test]
    fn claims_differ() {
        let (a, b) = (Claim::new(), Claim::new());
        let pages = [&a.0[..], &b.0, &[0; PAGE], &[]];
        assert_eq!(pages.map(|page| a.holder(page)), [Holder::Us, Holder::Other, Holder::Nobody, Holder::Nobody]);
    }
}
