//! What is rendered, before the eyes of the programs that read it in a guest: containerd of both major versions, which are
//! downloaded from Debian's archive (tests/lab/containerds) and never installed, and `systemd-analyze verify`.
//!
//! Needs root, unshare(1), mount(8), ip(8), apt, systemd-analyze; what is missing fails the tests.

#![expect(clippy::unwrap_used, reason = "tests")]

mod bundle;
mod configuration;
mod containerd;
mod pulls;
mod registry;
mod units;
