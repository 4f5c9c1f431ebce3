//! The primary volume descriptor and the terminator (ECMA-119 8.2 to 8.4).

use super::directory::ROOT_RECORD_SIZE;
use super::fields::{both16, both32};
use super::walk::Rules;
use super::{BLOCK, BLOCK_BYTES};
use crate::digest::Digest;

/// Block of the primary volume descriptor; the system area before it is zeros.
pub(super) const PRIMARY: u64 = 16;
/// First block after the descriptors.
pub(super) const FIRST_DATA: u32 = 18;

/// A volume's label: at most 32 of the characters A-Z, 0-9 and _.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Label(&'static str);

impl Label {
    /// A label, checked when it is compiled.
    ///
    /// # Panics
    /// If the text is none; labels are constants.
    pub const fn new(text: &'static str) -> Self {
        assert!(!text.is_empty() && text.len() <= 32, "a label has 1 to 32 characters");
        let mut at = 0;
        while at < text.len() {
            let byte = text.as_bytes()[at];
            assert!(byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_', "not a d-character");
            at += 1;
        }
        Self(text)
    }

    /// The text.
    pub const fn as_str(self) -> &'static str {
        self.0
    }
}

/// What the primary volume descriptor says.
pub(super) struct Volume {
    pub(super) label: String,
    pub(super) blocks: u32,
    /// Size in bytes of one path table.
    pub(super) path_table_size: u32,
    /// Blocks of the little-endian and the big-endian path table.
    pub(super) path_tables: [u32; 2],
    /// The root's directory record.
    pub(super) root: [u8; ROOT_RECORD_SIZE],
    /// Dates as [`Time::volume`](super::Time) has them.
    pub(super) created: [u8; 17],
    pub(super) modified: [u8; 17],
}

/// A descriptor after the primary one, as its head tells.
pub(super) enum Descriptor {
    /// Ends the descriptors.
    Terminator,
    /// A tree with names in UCS-2, known by its escape sequences (Joliet specification, "SVD Escape Sequences Field").
    Joliet {
        /// Record of its root.
        root: [u8; ROOT_RECORD_SIZE],
    },
    /// Boot records and others.
    Other,
}

impl Descriptor {
    /// None if it is no descriptor.
    pub(super) fn of(block: &[u8; BLOCK_BYTES]) -> Option<Self> {
        if &block[1..6] != b"CD001" {
            return None;
        }
        let escapes = block[88..].first_chunk::<3>();
        let is_joliet = escapes.is_some_and(|found| [b"%/@", b"%/C", b"%/E"].contains(&found));
        match (block[0], block[156..].first_chunk()) {
            (0xFF, _) => Some(Self::Terminator),
            (2, Some(root)) if is_joliet => Some(Self::Joliet { root: *root }),
            _ => Some(Self::Other),
        }
    }
}

impl Volume {
    /// Both descriptors, for the blocks from [`PRIMARY`] on.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut block = vec![0; 2 * BLOCK_BYTES];
        let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, b"\x01CD001\x01");
        put(8, &padded::<32>("LINUX"));
        put(40, &padded::<32>(&self.label));
        put(80, &both32(self.blocks));
        put(120, &both16(1));
        put(124, &both16(1));
        put(128, &both16(2048));
        put(132, &both32(self.path_table_size));
        put(140, &self.path_tables[0].to_le_bytes());
        put(148, &self.path_tables[1].to_be_bytes());
        put(156, &self.root);
        // Volume set, publisher, data preparer, application; copyright, abstract and bibliographic file.
        put(190, &[b' '; 128 * 4 + 37 * 3]);
        put(574, &padded::<128>("NODEBAKE"));
        put(813, &self.created);
        put(830, &self.modified);
        // Expires never, in effect at once: "not specified" is 16 zero digits and a zero byte.
        for at in [847, 864] {
            put(at, &[b'0'; 16]);
        }
        put(881, &[1]);
        put(BLOCK_BYTES, b"\xFFCD001\x01");
        block
    }

    /// The field of the primary volume descriptor that a byte belongs to (ECMA-119 8.4).
    pub(super) fn field_at(byte: usize) -> &'static str {
        const FIELDS: [(usize, &str); 18] = [
            (0, "the descriptor's type"),
            (8, "the system's name"),
            (40, "the label"),
            (72, "an unused field of the descriptor"),
            (80, "the size of the volume"),
            (88, "an unused field of the descriptor"),
            (120, "the number of the volume in its set"),
            (128, "the block size"),
            (132, "the place of the path tables"),
            (156, "the root directory's record"),
            (190, "the name of the set of volumes"),
            (318, "the names of publisher, preparer and application"),
            (702, "the names of copyright, abstract and bibliography"),
            (813, "the creation date"),
            (830, "the modification date"),
            (847, "the dates of expiry and effect"),
            (881, "the version of the file structure"),
            (882, "the unused end of the descriptor"),
        ];
        FIELDS.iter().rev().find(|(start, _)| *start <= byte).map_or("the descriptor", |(_, name)| name)
    }

    /// Reads the primary volume descriptor; other block sizes and sets of volumes are refused.
    pub(super) fn decode(block: &[u8; BLOCK_BYTES], image_size: u64, rules: Rules) -> Result<Self, &'static str> {
        if !block.starts_with(b"\x01CD001\x01") {
            return Err("no primary volume descriptor in block 16");
        }
        if rules.number16(block, 128) != Some(2048) {
            return Err("the logical block size is not 2048");
        }
        if rules.number16(block, 120) != Some(1) {
            return Err("it is part of a set of volumes");
        }
        let number = |at| rules.number32(block, at).ok_or("the two byte orders of a number in the descriptor differ");
        let blocks = number(80)?;
        if u64::from(blocks) * BLOCK > image_size && rules == Rules::Ours {
            return Err("the volume is larger than the image");
        }
        let label = block[40..72].trim_ascii_end();
        let label = match (std::str::from_utf8(label), rules) {
            (Ok(label), _) => label.to_owned(),
            (Err(_), Rules::Ours) => return Err("the label is not text"),
            (Err(_), Rules::Any) => String::from_utf8_lossy(label).into_owned(),
        };
        let table = |at: usize| [block[at], block[at + 1], block[at + 2], block[at + 3]];
        let path_tables = [u32::from_le_bytes(table(140)), u32::from_be_bytes(table(148))];
        let root = block[156..].first_chunk().copied().ok_or("no root record")?;
        let date = |at: usize| block[at..].first_chunk().copied().unwrap_or_default();
        let (created, modified) = (date(813), date(830));
        Ok(Self { label, blocks, path_table_size: number(132)?, path_tables, root, created, modified })
    }

    /// See [`Image::uuid`](super::Image::uuid).
    pub(super) fn uuid(&self) -> Option<String> {
        let is_set = |date: &&[u8; 17]| date[..16].iter().any(|digit| *digit != b'0');
        let date = [&self.modified, &self.created].into_iter().find(is_set)?;
        let digits = std::str::from_utf8(&date[..16]).ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()))?;
        let pairs: Vec<_> = (4..16).step_by(2).map(|at| &digits[at..at + 2]).collect();
        Some(format!("{}-{}", &digits[..4], pairs.join("-")))
    }
}

/// The volume's modification date, made from the digest of its content: blkid shows that date as the volume's UUID,
/// and two images must never share one. Years 2000 to 2999, days 1 to 28, so that every date exists: 41 bits.
pub(super) fn modification(content: Digest) -> [u8; 17] {
    let mut rest = u128::from_be_bytes(content.bytes().first_chunk().copied().unwrap_or_default());
    let mut take = |count: u128| {
        let value = rest % count;
        rest /= count;
        value
    };
    let (year, month, day) = (2000 + take(1000), 1 + take(12), 1 + take(28));
    let (hour, minute, second, hundredth) = (take(24), take(60), take(60), take(100));
    let digits = format!("{year:04}{month:02}{day:02}{hour:02}{minute:02}{second:02}{hundredth:02}\0");
    digits.as_bytes().try_into().unwrap_or([b'0'; 17])
}

fn padded<const N: usize>(text: &str) -> [u8; N] {
    let mut field = [b' '; N];
    field[..text.len()].copy_from_slice(text.as_bytes());
    field
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modification_dates_exist_and_follow_the_content() {
        assert_eq!(&modification(Digest::from([0; 32])), b"2000010100000000\0");
        for text in ["a", "b", "c", "d"] {
            let date = modification(Digest::of(text.as_bytes()));
            let number = |range: std::ops::Range<usize>| {
                std::str::from_utf8(&date[range]).ok().and_then(|digits| digits.parse::<u32>().ok())
            };
            assert!(matches!(number(0..4), Some(2000..=2999)));
            assert!(matches!((number(4..6), number(6..8)), (Some(1..=12), Some(1..=28))));
            assert!(matches!((number(8..10), number(10..12), number(12..14)), (Some(0..24), Some(0..60), Some(0..60))));
        }
        assert_ne!(modification(Digest::of(b"a")), modification(Digest::of(b"b")));
    }
}
