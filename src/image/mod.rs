//! Images: the payload (public, shared by all nodes of an architecture) and the seed (secret, one per node),
//! both ISO 9660 with Rock Ridge, written and read back here.

pub mod container_image;
mod contents;
pub mod deb;
mod elf;
pub mod golden;
pub mod inspect;
pub mod iso9660;
pub mod payload;
pub mod seed;
pub mod self_contained;
pub mod unpack;

pub use container_image::ContainerImageError;
pub use contents::{PayloadContents, PreloadedImage};
pub use deb::DebError;
pub use elf::ElfError;
pub use golden::Golden;
pub use payload::{Ingredient, Payload, PayloadError, PayloadInputs};
pub use seed::{Baked, SeedError};
pub use self_contained::SelfContainedError;
pub use unpack::UnpackError;
