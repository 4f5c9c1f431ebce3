//! The apiserver inside a test: on a thread of its own, on a free port of 127.0.0.1.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use tokio::sync::oneshot;

use super::faults::Fault;
use super::flags::Flags;
use super::server::{self, Apiserver, Order, ServerError};

/// A running apiserver; dropped, it ends, and all its connections with it.
///
/// ```no_run
/// use nodebake_lab_stand_ins::apiserver::faults::{Act, Fault};
/// use nodebake_lab_stand_ins::apiserver::flags::Flags;
/// use nodebake_lab_stand_ins::apiserver::testing::Server;
///
/// # fn main() -> Result<(), nodebake_lab_stand_ins::apiserver::server::ServerError> {
/// let pki = std::path::Path::new("pki");
/// let flags = Flags::local(pki.join("server.pem"), pki.join("server-key.pem"), pki.join("ca.pem"), "requests.jsonl");
/// let server = Server::start(&Flags { pods_become_ready: true, ..flags })?;
/// // A kubeconfig of https://{server.address()} with a certificate of that CA; O=system:masters may do everything.
/// server.fault(Fault::new("create", "pods/eviction", Act::Busy { retry_after: 1 }));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    running: Arc<Apiserver>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Starts it; it listens when this returns. Signals of the process are not its business, nor is a control socket.
    ///
    /// # Errors
    /// Files, address or runtime cannot be used.
    pub fn start(flags: &Flags) -> Result<Self, ServerError> {
        let runtime = server::runtime()?;
        let (stop, stopped) = oneshot::channel();
        let (started, starting) = mpsc::channel();
        let flags = flags.clone();
        // All of it there: a test that is asynchronous itself may not wait in its own thread for another runtime.
        let thread = std::thread::spawn(move || {
            runtime.block_on(async {
                let listening = Apiserver::listen(&flags).await.map(|(server, listener, address)| {
                    let serving = Arc::clone(&server).serve(listener);
                    ((server, address), serving)
                });
                let (told, serving) =
                    listening.map_or_else(|error| (Err(error), None), |(told, it)| (Ok(told), Some(it)));
                let _ = started.send(told);
                let Some(serving) = serving else { return };
                tokio::select! {
                    () = serving => {}
                    _ = stopped => {}
                }
            });
            runtime.shutdown_background();
        });
        let told = starting.recv().unwrap_or_else(|_| {
            Err(ServerError::Runtime(std::io::Error::other("the server's thread ended before it listened")))
        });
        let (running, address) = told?;
        Ok(Self { address, running, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Tells it what to do.
    ///
    /// # Errors
    /// A new certificate cannot be used.
    pub fn obey(&self, order: Order) -> Result<(), ServerError> {
        self.running.obey(order)
    }

    /// Asks for a fault.
    pub fn fault(&self, fault: Fault) {
        // Only a certificate can be refused.
        let _ = self.running.obey(Order::Fault(fault));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Flags {
    /// A server on a free port of 127.0.0.1 with these files, without controllers.
    #[must_use]
    pub fn local(
        certificate: impl AsRef<Path>,
        key: impl AsRef<Path>,
        client_ca: impl AsRef<Path>,
        log: impl AsRef<Path>,
    ) -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            tls_cert: certificate.as_ref().to_owned(),
            tls_key: key.as_ref().to_owned(),
            client_ca: client_ca.as_ref().to_owned(),
            log: log.as_ref().to_owned(),
            control: None,
            replicaset_controller: false,
            pods_become_ready: false,
        }
    }
}
