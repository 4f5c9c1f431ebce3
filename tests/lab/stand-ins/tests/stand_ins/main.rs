//! The two executables, run as the lab runs them, and the apiserver as a test runs it inside itself.

#![expect(clippy::unwrap_used, reason = "tests")]
#![expect(unreachable_pub, reason = "the modules of one binary")]

mod apiserver;
mod control_plane;
mod evictions;
mod faults;
mod kubelet;
mod rights;
mod runtime;
