//! A tar archive, plain or compressed: whatever it holds, what is handed out stays inside and within the limits.

use std::collections::BTreeSet;
use std::io::Read;

use flate2::read::MultiGzDecoder;
use nodebake::image::unpack::{self, Limits, UnpackError};
use tar::Header;

const LIMITS: Limits = Limits { entries: 64, bytes: 1 << 20 };
const BLOCK: usize = 512;

pub(crate) fn run(bytes: &[u8]) {
    if bytes.starts_with(&[0x1F, 0x8B]) {
        check(MultiGzDecoder::new(bytes));
    } else {
        check(bytes);
        check(mended(bytes).as_slice());
    }
}

fn check(tar: impl Read) {
    let (mut seen, mut total) = (BTreeSet::new(), 0);
    let result = unpack::files(tar, LIMITS, |member| {
        let plain = |name: &str| !matches!(name, "" | "." | "..") && !name.contains('\0');
        assert!(member.path.split('/').all(plain), "{:?}", member.path);
        assert!(seen.insert(member.path.clone()), "{:?} twice", member.path);
        // Some are read and some passed over.
        if member.size % 3 != 0 {
            let got =
                std::io::copy(member.data, &mut std::io::sink()).map_err(|source| UnpackError::Read { source })?;
            assert!(got <= member.size, "{got} bytes of {}", member.size);
            total += got;
        }
        Ok::<_, UnpackError>(())
    });
    assert!(seen.len() as u64 <= LIMITS.entries && total <= LIMITS.bytes);
    // What stands beneath something that is no folder would be written through it.
    let beneath = |path: &String| path.match_indices('/').any(|(at, _)| seen.contains(&path[..at]));
    assert!(!seen.iter().any(beneath), "{seen:?}");
    if let Err(error) = result {
        let _ = (nodebake::error::chain(&error), error.hint());
    }
}

/// The same with the checksum of every header put right: no fuzzer guesses those.
fn mended(bytes: &[u8]) -> Vec<u8> {
    let mut tar = bytes.to_vec();
    let mut at = 0;
    while let Some(block) = tar.get_mut(at..at + BLOCK) {
        if block.iter().any(|byte| *byte != 0) {
            let mut header = Header::new_old();
            header.as_mut_bytes().copy_from_slice(block);
            header.set_cksum();
            block.copy_from_slice(header.as_bytes());
            let size = header.entry_size().unwrap_or(0).min(1 << 20) as usize;
            at += size.div_ceil(BLOCK) * BLOCK;
        }
        at += BLOCK;
    }
    tar
}
