//! ISO 9660 (ECMA-119, interchange level 3) with Rock Ridge (RRIP 1.12 over SUSP 1.12): a streaming writer, and a
//! reader that is strict with our own images and takes others' too.
//!
//! An image is laid out as its writer learns of it: system area, volume descriptors, file data in the order in which
//! files were added, then path tables, directories and their continuation areas. No directory says anything of a file's
//! data but its place and size, so that directories and data can be written in any order.
//!
//! Depth: ECMA-119 6.8.2.1 ends at eight levels of directories. Rock Ridge readers do not care, and like xorriso
//! by default we write deeper trees as they are rather than move directories to another place.

mod descriptors;
mod directory;
mod fields;
mod names;
mod reader;
mod rock_ridge;
mod storage;
mod time;
mod tree;
mod walk;
mod writer;

pub use descriptors::Label;
pub use reader::{Entry, FileReader, Image, Kind, ReadError};
pub use storage::{Memory, Source, Target};
pub use time::{Time, TimeOutOfRange};
pub use tree::{Attributes, Owner};
pub use writer::{Growing, Slot, WriteError, Writer};

/// Size of a logical block and of a sector, in bytes.
pub const BLOCK: u64 = 2048;

/// [`BLOCK`] as a size in memory.
const BLOCK_BYTES: usize = 2048;

/// Longest name in bytes: the Linux kernel cuts longer ones (fs/isofs/rock.c), though RRIP allows 255 and more.
pub const MAX_NAME: usize = 253;

/// Longest path in bytes, from the leading slash on (`PATH_MAX` without its end).
pub const MAX_PATH: usize = 4095;

/// Longest target of a symbolic link in bytes; the Linux kernel reads a target into one page.
pub const MAX_LINK: usize = 4095;

/// Largest part of a file that one directory record describes: a whole number of blocks below 4 GiB. Larger files have
/// several records (ECMA-119 6.5.1, multi-extent).
const MAX_EXTENT: u64 = (1 << 32) - BLOCK;

/// Number of blocks that hold `bytes`.
const fn blocks(bytes: u64) -> u64 {
    bytes.div_ceil(BLOCK)
}
