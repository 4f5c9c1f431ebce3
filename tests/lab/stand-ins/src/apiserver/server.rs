//! The listening socket, TLS, and the connections.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rustls::ServerConfig;
use rustls::server::WebPkiClientVerifier;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, watch};
use tokio_rustls::TlsAcceptor;

use super::audit::Log;
use super::control;
use super::controllers::{self, Tasks};
use super::faults::{Fault, Faults};
use super::flags::Flags;
use super::handler::Api;
use super::identity::Identity;
use super::resource::CONFIG_MAPS;
use super::storage::{Interruption, Key, Store, Write, new_uid, now};
use crate::tls;

/// How long a client may take to greet.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Why the stand-in does not run.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// Certificate, key or CA.
    #[error("the TLS files cannot be used")]
    Tls(#[source] tls::TlsError),
    /// The CA file holds nothing that clients could be verified with.
    #[error("the client CA {path} cannot be used")]
    ClientCa {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: rustls::server::VerifierBuilderError,
    },
    /// Certificate and key do not fit each other, or are of an unknown kind.
    #[error("the certificate {certificate} cannot be served")]
    Certificate {
        /// The file.
        certificate: PathBuf,
        /// Why.
        #[source]
        source: rustls::Error,
    },
    /// The CA that is to be told cannot be read.
    #[error("the client CA {path} cannot be read")]
    Published {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The request log cannot be opened.
    #[error("the request log {path} cannot be opened")]
    Log {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The control socket cannot be listened on.
    #[error("cannot listen on {path}")]
    Control {
        /// The socket.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The runtime cannot be started, or a signal not be waited for.
    #[error("the asynchronous runtime cannot be started")]
    Runtime(#[source] std::io::Error),
}

/// What a test or an operator can tell a running server, as one line of JSON on the control socket.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Order {
    /// A request shall go wrong.
    Fault(Fault),
    /// No request shall go wrong any more.
    ClearFaults,
    /// All history is forgotten: watches from an older resource version answer 410.
    Compact,
    /// All watches end.
    EndWatches,
    /// All watches are told 410 and end.
    ExpireWatches,
    /// All connections are cut.
    CutConnections,
    /// The serving certificate and its key are read anew, for connections from then on.
    ReloadCertificate,
    /// The disruption controller stands still: budgets that change are "still being processed".
    RestBudgets,
    /// The disruption controller goes on.
    SettleBudgets,
}

/// An apiserver that listens.
#[derive(Debug)]
pub struct Apiserver {
    api: Arc<Api>,
    flags: Flags,
    tls: RwLock<Arc<ServerConfig>>,
    cuts: watch::Sender<()>,
}

/// Serves until SIGTERM or SIGINT; SIGHUP makes it read its certificate anew.
///
/// # Errors
/// Files, address or runtime cannot be used.
pub fn run(flags: &Flags) -> Result<(), ServerError> {
    let runtime = runtime()?;
    runtime.block_on(async {
        let (server, listener, address) = Apiserver::listen(flags).await?;
        let signal = |kind| signal(kind).map_err(ServerError::Runtime);
        let mut terminate = signal(SignalKind::terminate())?;
        let mut hang_up = signal(SignalKind::hangup())?;
        if let Some(socket) = &flags.control {
            tokio::spawn(control::listen(socket, Arc::clone(&server))?);
        }
        let version = crate::KUBERNETES_VERSION;
        crate::log::say(format!("stand-in for kube-apiserver {version} serves https://{address}"));
        // Who reads it finds the socket and may send signals; nobody has to read it.
        let _ = crate::log::tell(&format!("listening on {address}"));
        let serving = Arc::clone(&server).serve(listener);
        tokio::pin!(serving);
        loop {
            tokio::select! {
                () = &mut serving => {}
                _ = hang_up.recv() => match server.obey(Order::ReloadCertificate) {
                    Ok(()) => crate::log::say("the certificate was read anew"),
                    Err(error) => crate::log::say(format!("the certificate stays: {}", crate::log::chain(&error))),
                },
                _ = terminate.recv() => break,
                _ = tokio::signal::ctrl_c() => break,
            }
        }
        crate::log::say("ends on a signal");
        Ok(())
    })
}

/// The runtime that a server wants.
///
/// # Errors
/// It cannot be started.
pub fn runtime() -> Result<tokio::runtime::Runtime, ServerError> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().build().map_err(ServerError::Runtime)
}

impl Apiserver {
    /// Reads the files and takes the address.
    ///
    /// # Errors
    /// Files or address cannot be used.
    pub async fn listen(flags: &Flags) -> Result<(Arc<Self>, TcpListener, SocketAddr), ServerError> {
        let tls = RwLock::new(Arc::new(server_config(flags)?));
        let log = Log::open(&flags.log).map_err(|source| ServerError::Log { path: flags.log.clone(), source })?;
        let started = u64::try_from(jiff::Timestamp::now().as_second()).unwrap_or_default();
        let store = Arc::new(Store::new(started));
        publish(&store, flags)?;
        let api = Arc::new(Api { store, log, faults: Faults::default() });
        let no_listener = |source| ServerError::Listen { address: flags.listen, source };
        let listener = TcpListener::bind(flags.listen).await.map_err(no_listener)?;
        let address = listener.local_addr().map_err(no_listener)?;
        Ok((Arc::new(Self { api, flags: flags.clone(), tls, cuts: watch::channel(()).0 }), listener, address))
    }

    /// Serves for good.
    pub async fn serve(self: Arc<Self>, listener: TcpListener) {
        let tasks = Tasks { manage: self.flags.replicaset_controller, run_pods: self.flags.pods_become_ready };
        if tasks.manage || tasks.run_pods {
            tokio::spawn(controllers::run(Arc::clone(&self.api.store), tasks));
        }
        loop {
            match listener.accept().await {
                Ok((stream, remote)) => drop(tokio::spawn(Arc::clone(&self).connection(stream, remote))),
                Err(error) => {
                    crate::log::say(format!("a connection could not be accepted: {error}"));
                    // Out of descriptors: give others time to end.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    /// Does what it is told.
    ///
    /// # Errors
    /// A new certificate cannot be used; the old one stays.
    pub fn obey(&self, order: Order) -> Result<(), ServerError> {
        match order {
            Order::Fault(fault) => self.api.faults.add(fault),
            Order::ClearFaults => self.api.faults.clear(),
            Order::Compact => self.api.store.compact(),
            Order::EndWatches => self.api.store.interrupt(Interruption::End),
            Order::ExpireWatches => self.api.store.interrupt(Interruption::Expire),
            Order::CutConnections => drop(self.cuts.send(())),
            Order::ReloadCertificate => {
                let new = Arc::new(server_config(&self.flags)?);
                *self.tls.write().unwrap_or_else(PoisonError::into_inner) = new;
            }
            Order::RestBudgets => self.api.store.rest_budgets(true),
            Order::SettleBudgets => self.api.store.rest_budgets(false),
        }
        Ok(())
    }

    async fn connection(self: Arc<Self>, stream: TcpStream, remote: SocketAddr) {
        let mut cuts = self.cuts.subscribe();
        // Watch lines are short and must not wait for more.
        let _ = stream.set_nodelay(true);
        let acceptor = TlsAcceptor::from(Arc::clone(&self.tls.read().unwrap_or_else(PoisonError::into_inner)));
        let stream = match tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return self.api.log.failed_handshake(remote, &error.to_string()),
            Err(_) => return self.api.log.failed_handshake(remote, "the client took too long"),
        };
        let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        let identity = match certificate.map(|der| Identity::from_certificate(der)) {
            Some(Ok(identity)) => Some(identity),
            Some(Err(error)) => {
                crate::log::say(format!("{remote}: {error}"));
                None
            }
            None => None,
        };
        let identity = Arc::new(identity);
        let (api, cut) = (Arc::clone(&self.api), Arc::new(Notify::new()));
        let cutter = Arc::clone(&cut);
        let service = hyper::service::service_fn(move |request| {
            let (api, identity, cut) = (Arc::clone(&api), Arc::clone(&identity), Arc::clone(&cutter));
            async move {
                if let Ok(answer) = api.serve(remote, identity.as_ref().as_ref(), request).await {
                    return Ok::<_, Infallible>(answer);
                }
                cut.notify_one();
                std::future::pending().await
            }
        });
        let builder = auto::Builder::new(TokioExecutor::new());
        // A client that goes away is no event.
        tokio::select! {
            _ = builder.serve_connection(TokioIo::new(stream), service) => {}
            () = cut.notified() => {}
            _ = cuts.changed() => {}
        }
    }
}

fn server_config(flags: &Flags) -> Result<ServerConfig, ServerError> {
    let provider = tls::provider();
    let roots = tls::roots(&flags.client_ca).map_err(ServerError::Tls)?;
    // Without a certificate the connection stands and each request gets 401, as with the real one.
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
        .allow_unauthenticated()
        .build()
        .map_err(|source| ServerError::ClientCa { path: flags.client_ca.clone(), source })?;
    let chain = tls::certificates(&flags.tls_cert).map_err(ServerError::Tls)?;
    let key = tls::key(&flags.tls_key).map_err(ServerError::Tls)?;
    let unusable = |source| unusable(&flags.tls_cert, source);
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .map_err(unusable)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// Tells by which certificates clients are known, where the real one does
/// (<https://kubernetes.io/docs/tasks/extend-kubernetes/configure-aggregation-layer/>).
fn publish(store: &Store, flags: &Flags) -> Result<(), ServerError> {
    let path = &flags.client_ca;
    let text = std::fs::read_to_string(path).map_err(|source| ServerError::Published { path: path.clone(), source })?;
    let (namespace, name) = ("kube-system", "extension-apiserver-authentication");
    let map = json!({
        "kind": "ConfigMap", "apiVersion": "v1", "data": {"client-ca-file": text},
        "metadata": {"name": name, "namespace": namespace, "uid": new_uid(), "creationTimestamp": now()},
    });
    // It is the first of that name.
    let _ = store.transact(&Key::new(&CONFIG_MAPS, namespace, name), false, |_, _| Ok(Write::Put(map)));
    Ok(())
}

fn unusable(certificate: &Path, source: rustls::Error) -> ServerError {
    ServerError::Certificate { certificate: certificate.to_owned(), source }
}
