//! nodebake bakes Kubernetes workers for libvirt into images that register themselves on first boot.
//!
//! The way of the data; every arrow points one way:
//!
//! ```text
//! nodebake.yaml --parse, validate--------> Config
//! Config --lock (network)----------------> Lock          url, size, digest of every input
//! Lock --fetch (network or mirror)-------> Store         content-addressed cache, verified
//! Lock + Store --bake--------------------> Payload       binaries: public, shared by all nodes
//! Config + CA --identity-----------------> NodeIdentity  key, certificate: secret, one per node
//! Node + NodeIdentity --render-----------> NodeBundle    user-data, vendor-data, meta-data, network-config, files
//! NodeBundle --bake----------------------> Seed          `NoCloud` ISO, mode 0600
//! Config + digests + Inventory --plan----> Plan          a list of actions, nothing left to choose
//! Plan --apply(Hypervisor)---------------> Domain        a running VM
//! Domain --watch-------------------------> BootEvents    stages over a virtio-serial channel
//! Cluster API --wait---------------------> NodeStatus    registered, Ready
//! ```
//!
//! `config`, `render`, `image`, `plan` and `provenance` import no network, no libvirt and no terminal.

pub mod apply;
pub mod artifacts;
pub mod boot;
pub mod build;
pub mod cli;
pub mod cluster;
pub mod commands;
pub mod config;
pub mod digest;
pub mod doctor;
pub mod error;
pub mod identity;
pub mod image;
pub mod interrupt;
pub mod machine;
mod parallel;
pub mod plan;
pub mod printable;
pub mod progress;
pub mod provenance;
pub mod render;
pub mod scratch;
pub mod secret;
pub mod stamp;
pub mod terminal;
pub mod ui;
pub mod verify;
mod whole_file;
