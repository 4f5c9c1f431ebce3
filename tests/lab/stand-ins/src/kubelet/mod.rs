//! The kubelet stand-in: reads flags, `KubeletConfiguration` and kubeconfig as strictly as the real kubelet, talks to
//! containerd over CRI, registers its node, renews its lease, serves the kubelet's port, runs one pod of its own, and those
//! that the API puts on its node.

pub mod api;
pub mod cgroup;
pub mod config;
pub mod cri;
pub mod flags;
pub mod grpc;
pub mod host;
pub mod kubeconfig;
pub mod lease;
pub mod node;
pub mod notify;
pub mod pod;
pub mod pods;
pub mod run;
pub mod sandbox;
pub mod schema;
pub mod server;
pub mod version;
