//! The command line of the apiserver stand-in.

use std::net::SocketAddr;
use std::path::PathBuf;

/// Command line. An unknown flag is an error, as with the real program.
#[derive(Debug, Clone, clap::Parser)]
#[command(
    name = "kube-apiserver-stand-in",
    version = concat!(env!("CARGO_PKG_VERSION"), " (a stand-in for kube-apiserver v1.35.1, for the nodebake lab)"),
    about = "A stand-in for kube-apiserver v1.35.1: nodes, leases, namespaces and events in memory"
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
}
