//! The listening socket, TLS, and the connections.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rustls::ServerConfig;
use rustls::server::WebPkiClientVerifier;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::audit::Log;
use super::flags::Flags;
use super::handler::Api;
use super::identity::Identity;
use super::storage::Store;
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
    /// The runtime cannot be started, or a signal not be waited for.
    #[error("the asynchronous runtime cannot be started")]
    Runtime(#[source] std::io::Error),
}

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
/// Files, address or runtime cannot be used.
pub fn run(flags: &Flags) -> Result<(), ServerError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(ServerError::Runtime)?;
    runtime.block_on(serve(flags))
}

async fn serve(flags: &Flags) -> Result<(), ServerError> {
    let acceptor = TlsAcceptor::from(Arc::new(server_config(flags)?));
    let log = Log::open(&flags.log).map_err(|source| ServerError::Log { path: flags.log.clone(), source })?;
    let started = u64::try_from(jiff::Timestamp::now().as_second()).unwrap_or_default();
    let api = Arc::new(Api { store: Arc::new(Store::new(started)), log });
    let no_listener = |source| ServerError::Listen { address: flags.listen, source };
    let listener = TcpListener::bind(flags.listen).await.map_err(no_listener)?;
    let address = listener.local_addr().map_err(no_listener)?;
    crate::log::say(format!("stand-in for kube-apiserver {} serves https://{address}", crate::KUBERNETES_VERSION));
    // Nobody has to read it.
    let _ = crate::log::tell(&format!("listening on {address}"));
    let mut terminate =
        tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).map_err(ServerError::Runtime)?;
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, remote)) => {
                    tokio::spawn(connection(acceptor.clone(), Arc::clone(&api), stream, remote));
                }
                Err(error) => {
                    crate::log::say(format!("a connection could not be accepted: {error}"));
                    // Out of descriptors: give others time to end.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
            _ = terminate.recv() => break,
            _ = tokio::signal::ctrl_c() => break,
        }
    }
    crate::log::say("ends on a signal");
    Ok(())
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

fn unusable(certificate: &Path, source: rustls::Error) -> ServerError {
    ServerError::Certificate { certificate: certificate.to_owned(), source }
}

async fn connection(acceptor: TlsAcceptor, api: Arc<Api>, stream: TcpStream, remote: SocketAddr) {
    // Watch lines are short and must not wait for more.
    let _ = stream.set_nodelay(true);
    let stream = match tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return api.log.failed_handshake(remote, &error.to_string()),
        Err(_) => return api.log.failed_handshake(remote, "the client took too long"),
    };
    let identity = match stream
        .get_ref()
        .1
        .peer_certificates()
        .and_then(<[_]>::first)
        .map(|der| Identity::from_certificate(der))
    {
        Some(Ok(identity)) => Some(identity),
        Some(Err(error)) => {
            crate::log::say(format!("{remote}: {error}"));
            None
        }
        None => None,
    };
    let identity = Arc::new(identity);
    let service = hyper::service::service_fn(move |request| {
        let (api, identity) = (Arc::clone(&api), Arc::clone(&identity));
        async move { Ok::<_, std::convert::Infallible>(api.serve(remote, identity.as_ref().as_ref(), request).await) }
    });
    // A client that goes away is no event.
    let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
}
