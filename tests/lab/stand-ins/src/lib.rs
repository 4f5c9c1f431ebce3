//! Stand-ins for the two Kubernetes programs that no package registry carries: a kube-apiserver with just what the lab
//! needs of it, and a kubelet that registers a node and runs one pod through containerd. They are test doubles, say so
//! in everything that they print, and check their input as strictly as the real programs.

pub mod apiserver;
pub mod kubelet;
pub mod log;
pub mod tls;
pub mod yaml;

/// The Kubernetes release whose flags, fields and rules are imitated.
pub const KUBERNETES_VERSION: &str = "v1.35.1";
