//! From versions to verified files: what upstream publishes where ([`catalog`]), which bytes exactly ([`lock`]), from
//! where they come ([`source`]), where they are kept ([`store`]) and how they get there ([`fetch`]).

pub mod advisories;
pub mod bundle;
pub mod catalog;
pub mod checksum;
pub mod fetch;
pub mod lock;
pub mod release;
pub mod signature;
pub mod source;
pub mod store;

pub use advisories::{Warning, warnings};
pub use catalog::{BaseImage, Firmware, ImageFormat, Kind, Wanted, wanted};
pub use checksum::{Algorithm, Checksum};
pub use fetch::{Blob, fetch};
pub use lock::{Entry, Lock, Trust};
pub use source::{Limits, Source};
pub use store::Store;

#[cfg(test)]
mod server;
