//! Images: the payload (public, shared by all nodes of an architecture) and the seed (secret, one per node),
//! both ISO 9660 with Rock Ridge, written and read back here.

pub mod iso9660;
mod output;

pub mod seed;

pub use seed::{Baked, SeedError};
