//! The command line of the apiserver stand-in.

use std::net::SocketAddr;
use std::path::PathBuf;

/// Command line. An unknown flag is an error, as with the real program.
#[derive(Debug, Clone, clap::Parser)]
#[command(
    name = "kube-apiserver-stand-in",
    version = concat!(env!("CARGO_PKG_VERSION"), " (a stand-in for kube-apiserver v1.35.1, for the nodebake lab)"),
    about = "A stand-in for kube-apiserver v1.35.1: nodes, pods, budgets, volumes and rights in memory"
)]
pub struct Flags {
    /// Address and port to serve HTTPS on; port 0 takes a free one, printed on standard output as "listening on ADDRESS:PORT"
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: SocketAddr,
    /// The server's certificate (PEM, leaf first)
    #[arg(long, value_name = "FILE")]
    pub tls_cert: PathBuf,
    /// The server certificate's key (PEM)
    #[arg(long, value_name = "FILE")]
    pub tls_key: PathBuf,
    /// The cluster's CA (PEM): who a client certificate of it names is who asks
    #[arg(long, value_name = "FILE")]
    pub client_ca: PathBuf,
    /// Where each request is recorded as one JSON line (appended)
    #[arg(long, value_name = "FILE")]
    pub log: PathBuf,
    /// Where orders are taken: faults, compaction, a new certificate (one JSON object a line; see the lab's README)
    #[arg(long, value_name = "SOCKET")]
    pub control: Option<PathBuf>,
    /// Keep the pods of replica sets, and put pods on nodes
    #[arg(long)]
    pub replicaset_controller: bool,
    /// Play the kubelet of every node for its pods: they become ready, and end when they are deleted
    #[arg(long)]
    pub pods_become_ready: bool,
}
