//! Plans and what becomes of them, on a hypervisor in memory that keeps libvirt's contract: every transition, and a fault
//! at every single call followed by a plain run.
#![expect(clippy::unwrap_used, reason = "tests")]

mod administering;
#[path = "../apiserver/mod.rs"]
mod apiserver;
mod boots;
mod cluster;
mod ending;
mod faults;
mod leaving;
mod moving;
mod planning;
mod power;
mod random;
mod removing;
mod replacing;
mod sealing;
mod taking_over;
mod uploading;
mod world;
