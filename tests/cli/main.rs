//! The command line: the real program, its whole output and exit code, and every file that it leaves.
//!
//! Each test has a folder of its own with a cluster file, a pki folder as cfssl leaves it and a small mirror under
//! upstream's names. Needs libvirtd, virsh, nsenter, openssl, sshd, ssh, nft, tar, gzip, sha256sum, qemu-img, taskset,
//! tmux, faketime, stdbuf, jq, ptrace(2), strace, systemd-analyze, setpriv, and unshare for a tmpfs of its own; what is missing fails the
//! tests.

#![expect(clippy::unwrap_used, reason = "tests")]

#[path = "../apiserver/mod.rs"]
mod apiserver;
mod architectures;
mod building;
mod bundle;
mod checked;
mod cluster;
mod collecting;
mod crowd;
mod customising;
mod cutting;
#[path = "../daemon/mod.rs"]
#[expect(dead_code, reason = "shared with the tests of the libvirt client, which need more of it")]
mod daemon;
mod damage;
mod doctoring;
mod documented;
mod downloads;
mod drifting;
mod explaining;
mod faults;
mod full_disk;
mod generated;
mod guests;
#[path = "../hosts/mod.rs"]
mod hosts;
mod http;
mod hypervisors;
mod identities;
mod inside;
mod inspecting;
mod interrupted;
mod killed;
mod leaving;
mod lifetimes;
mod locking;
mod machines;
mod mirror;
mod modes;
mod moving;
mod naming;
mod output;
mod own_files;
mod planning;
mod power;
mod provenance;
mod proxies;
mod reaching;
mod rebuilding;
mod reference;
mod rendering;
mod reproducible;
mod runtimes;
mod schema;
mod screen;
mod secrets;
mod selecting;
mod self_contained;
#[path = "../../src/artifacts/server.rs"]
mod server;
mod sitting;
mod taking_over;
mod talking;
mod tracer;
mod usage;
mod verifying;
mod wire;
mod world;
