//! The two executables, run as the lab runs them.

#![expect(clippy::unwrap_used, reason = "tests")]
#![expect(unreachable_pub, reason = "the modules of one binary")]

mod apiserver;
mod control_plane;
mod kubelet;
mod runtime;
