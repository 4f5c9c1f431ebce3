//! The kubelet stand-in: reads flags, `KubeletConfiguration` and kubeconfig as strictly as the real kubelet, talks to
//! containerd over CRI, registers its node, renews its lease, serves the kubelet's port and runs one pod.

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
pub mod run;
pub mod schema;
pub mod server;
