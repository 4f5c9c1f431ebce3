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

use std::io::Read;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use super::mark::VolumeName;
use super::{MachineError, VolumeFormat, VolumeSpec};
use crate::digest::Hasher;

/// Length of the page that is sent last; the kernel writes a page whole even if the writer is killed.
pub(super) const PAGE: usize = 4096;
/// Length of a block on its way.
const BLOCK: usize = 1 << 20;

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

/// Hands all of `source` to `send`, with the claim in place of the page that makes the image whole; returns that page
/// once the size and digest were right.
pub(super) fn body(
    spec: &VolumeSpec,
    claim: &Claim,
    mut source: &mut dyn Read,
    on_bytes: &dyn Fn(u64),
    send: &mut dyn FnMut(&[u8]) -> Result<(), MachineError>,
) -> Result<Vec<u8>, MachineError> {
    let volume = || spec.name.to_string();
    let start = usize::try_from(page_offset(&spec.name)).unwrap_or(0);
    let size = |got| MachineError::Size { volume: volume(), wanted: spec.size, got };
    let mut hasher = Hasher::new(std::io::sink());
    let mut block = Vec::with_capacity(BLOCK);
    let mut page = Vec::new();
    let mut sent = 0;
    loop {
        block.clear();
        (&mut source)
            .take(BLOCK as u64)
            .read_to_end(&mut block)
            .and_then(|_| std::io::Write::write_all(&mut hasher, &block))
            .map_err(|source| MachineError::Source { volume: volume(), source })?;
        if block.is_empty() {
            break;
        }
        if sent == 0 {
            let Some(place) = block.get_mut(start..start + PAGE) else {
                return Err(MachineError::NotWhole { volume: volume() });
            };
            page = place.to_vec();
            place.copy_from_slice(&claim.0);
        }
        sent += block.len() as u64;
        if sent > spec.size {
            return Err(size(sent));
        }
        send(&block)?;
        on_bytes(block.len() as u64);
    }
    let (_, got, length) = hasher.finish();
    if length != spec.size {
        return Err(size(length));
    }
    if got != spec.digest {
        return Err(MachineError::Digest { volume: volume(), wanted: spec.digest, got });
    }
    Ok(page)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use crate::digest::Digest;

    fn bytes(length: usize) -> Vec<u8> {
        (0..length).map(|i| u8::try_from(i % 251).unwrap()).collect()
    }

    /// What arrives, the page, and the steps that were told.
    fn run(
        name: VolumeName,
        size: u64,
        digest: Digest,
        mut source: &[u8],
    ) -> (Vec<u8>, Result<Vec<u8>, String>, Vec<u64>) {
        let spec = VolumeSpec { name, size, digest };
        let mut arrived = Vec::new();
        let steps = RefCell::new(Vec::new());
        let page = body(&spec, &Claim([7; PAGE]), &mut source, &|step| steps.borrow_mut().push(step), &mut |block| {
            arrived.extend_from_slice(block);
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
