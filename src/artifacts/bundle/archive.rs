//! The tar archive that a bundle is: which blocks stand before and behind a file's data.
//!
//! Only name and size differ between two headers, so a reader need not understand what it reads: it makes the header
//! that should stand there and compares.

use tar::{EntryType, Header};

use crate::image::iso9660::Time;

/// Headers are of this size in bytes, and data is filled up to a multiple of it.
pub(super) const BLOCK: usize = 512;

/// Largest size that the eleven octal digits of a ustar header hold: 8 GiB less a byte.
const MAX_SIZE: u64 = (1 << 33) - 1;

/// Longest name that fits into a ustar header without splitting it, in bytes.
const MAX_NAME: usize = 100;

/// What stands behind the last file: two blocks of zeros.
pub(super) const END: [u8; 2 * BLOCK] = [0; 2 * BLOCK];

/// The blocks before a file's data: a ustar header (POSIX.1-2017, pax, "ustar Interchange Format") and, where name or size
/// do not fit into it, an extended header before it.
pub(super) fn head(name: &str, size: u64) -> Vec<u8> {
    let mut records = String::new();
    if name.len() > MAX_NAME {
        records += &record("path", name);
    }
    if size > MAX_SIZE {
        records += &record("size", &size.to_string());
    }
    let mut head = Vec::new();
    if !records.is_empty() {
        head.extend(header("PaxHeaders/nodebake", EntryType::XHeader, records.len() as u64).as_bytes());
        head.extend(records.as_bytes());
        head.resize(head.len() + padding(records.len() as u64).len(), 0);
    }
    // Readers take the extended header's word; pax leaves the field at zero where a size does not fit.
    let (name, size) = (name.get(..MAX_NAME).unwrap_or(name), if size > MAX_SIZE { 0 } else { size });
    head.extend(header(name, EntryType::Regular, size).as_bytes());
    head
}

/// The zeros behind a file's data.
pub(super) fn padding(size: u64) -> &'static [u8] {
    let over = usize::try_from(size % BLOCK as u64).unwrap_or(0);
    if over == 0 { &[] } else { &END[..BLOCK - over] }
}

/// Name and size in a header, as far as they can be read.
pub(super) fn peek(header: &[u8; BLOCK]) -> (String, Option<u64>) {
    let header = Header::from_byte_slice(header);
    let name = header.path_bytes();
    (String::from_utf8_lossy(&name).into_owned(), header.entry_size().ok())
}

fn header(name: &str, kind: EntryType, size: u64) -> Header {
    let mut header = Header::new_ustar();
    let fields = header.as_old_mut();
    fields.name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_entry_type(kind);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(Time::FIXED.unix().unsigned_abs());
    header.set_size(size);
    header.set_cksum();
    header
}

/// A record of an extended header: its own length in decimal digits, a space, `KEY=VALUE` and a newline.
fn record(key: &str, value: &str) -> String {
    let rest = key.len() + value.len() + " =\n".len();
    let mut length = rest;
    while rest + length.to_string().len() != length {
        length = rest + length.to_string().len();
    }
    format!("{length} {key}={value}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_count_themselves() {
        assert_eq!(record("size", "8589934592"), "19 size=8589934592\n");
        // 99 bytes with two digits of length, and no 100 with two.
        let value = "v".repeat(89);
        assert_eq!(record("path", &value[1..]), format!("97 path={}\n", &value[1..]));
        assert_eq!(record("path", &"v".repeat(91)), format!("101 path={}\n", "v".repeat(91)));
    }

    #[test]
    fn names_and_sizes_that_do_not_fit_have_an_extended_header() {
        let name = "n".repeat(100);
        let longer = "n".repeat(101);
        assert_eq!(head(&name, MAX_SIZE).len(), BLOCK);
        for (name, size) in [(&longer, 0), (&name, MAX_SIZE + 1), (&longer, MAX_SIZE + 1)] {
            let head = head(name, size);
            assert_eq!(head.len(), 3 * BLOCK);
            // Read back by the crate, which did not write the extended header.
            let mut archive = tar::Archive::new(head.as_slice());
            let entry = archive.entries().ok().and_then(|mut entries| entries.next()?.ok());
            let found = entry.map(|entry| (entry.path_bytes().into_owned(), entry.size()));
            assert_eq!(found, Some((name.clone().into_bytes(), size)));
        }
    }
}
