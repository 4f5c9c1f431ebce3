//! The kubelet's own ports: HTTPS with the node's certificate, and health for this machine alone.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode, header};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rustls::ServerConfig;
use rustls::server::WebPkiClientVerifier;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::api::Client;
use super::config::Config;
use crate::apiserver::identity::Identity;
use crate::{log, tls};

const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Why the port is not served.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// Certificate, key or client CA.
    #[error("the kubelet's TLS files cannot be used")]
    Files(#[source] tls::TlsError),
    /// Certificate and key are no pair, or of an unknown kind.
    #[error("tlsCertFile and tlsPrivateKeyFile cannot be served")]
    Certificate(#[source] rustls::Error),
    /// The client CA cannot verify anyone.
    #[error("clientCAFile cannot be used")]
    ClientCa(#[source] rustls::server::VerifierBuilderError),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// What is served.
#[derive(Debug)]
pub struct State {
    /// The node's name.
    pub node: String,
    /// The apiserver, which is asked who may what; none in standalone mode.
    pub client: Option<Arc<Client>>,
    /// The configuration.
    pub config: Arc<Config>,
    /// The pods that run.
    pub pods: Mutex<Vec<Value>>,
}

/// A bound port with its TLS.
pub struct Server {
    listener: TcpListener,
    acceptor: TlsAcceptor,
}

impl Server {
    /// Binds the kubelet's port. Without `tlsCertFile` there is none: the stand-in makes no certificate of its own.
    ///
    /// # Errors
    /// See [`ServerError`].
    pub async fn bind(config: &Config) -> Result<Option<Self>, ServerError> {
        let Some((certificate, key)) = &config.tls else {
            log::say("no tlsCertFile: this stand-in makes no certificate of its own and does not serve its port");
            return Ok(None);
        };
        let chain = tls::certificates(certificate).map_err(ServerError::Files)?;
        let key = tls::key(key).map_err(ServerError::Files)?;
        let builder = ServerConfig::builder_with_provider(tls::provider())
            .with_safe_default_protocol_versions()
            .map_err(ServerError::Certificate)?;
        let builder = match &config.client_ca {
            Some(ca) => {
                let roots = Arc::new(tls::roots(ca).map_err(ServerError::Files)?);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, tls::provider())
                    .allow_unauthenticated()
                    .build()
                    .map_err(ServerError::ClientCa)?;
                builder.with_client_cert_verifier(verifier)
            }
            None => builder.with_no_client_auth(),
        };
        let mut tls = builder.with_single_cert(chain, key).map_err(ServerError::Certificate)?;
        tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let listener = listen(SocketAddr::new(config.address, config.port)).await?;
        Ok(Some(Self { listener, acceptor: TlsAcceptor::from(Arc::new(tls)) }))
    }

    /// Serves for good.
    pub async fn serve(self, state: Arc<State>) {
        loop {
            match self.listener.accept().await {
                Ok((stream, remote)) => {
                    tokio::spawn(connection(self.acceptor.clone(), Arc::clone(&state), stream, remote));
                }
                Err(error) => pause(&error).await,
            }
        }
    }
}

async fn listen(address: SocketAddr) -> Result<TcpListener, ServerError> {
    TcpListener::bind(address).await.map_err(|source| ServerError::Listen { address, source })
}

async fn pause(error: &std::io::Error) {
    log::say(format!("a connection could not be accepted: {error}"));
    // Out of descriptors: give others time to end.
    tokio::time::sleep(Duration::from_millis(100)).await;
}

/// Binds the health port, if there is to be one, and serves it for good.
///
/// # Errors
/// The address cannot be listened on.
pub async fn serve_health(config: &Config) -> Result<(), ServerError> {
    let Some(port) = config.healthz_port else { return Ok(()) };
    let listener = listen(SocketAddr::new(config.healthz_address, port)).await?;
    tokio::spawn(async move {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let service = hyper::service::service_fn(|request: Request<Incoming>| async move {
                        Ok::<_, Infallible>(match request.uri().path() {
                            "/healthz" => text(StatusCode::OK, "ok".to_owned()),
                            _ => text(StatusCode::NOT_FOUND, "404 page not found\n".to_owned()),
                        })
                    });
                    tokio::spawn(async move {
                        // A client that goes away is no event.
                        let _ = auto::Builder::new(TokioExecutor::new())
                            .serve_connection(TokioIo::new(stream), service)
                            .await;
                    });
                }
                Err(error) => pause(&error).await,
            }
        }
    });
    Ok(())
}

async fn connection(acceptor: TlsAcceptor, state: Arc<State>, stream: TcpStream, remote: SocketAddr) {
    let stream = match tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return log::say(format!("TLS handshake with {remote} failed: {error}")),
        Err(_) => return log::say(format!("TLS handshake with {remote} took too long")),
    };
    let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
    let identity = Arc::new(certificate.and_then(|der| Identity::from_certificate(der).ok()));
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        let (state, identity) = (Arc::clone(&state), Arc::clone(&identity));
        async move {
            let (method, path) = (request.method().clone(), request.uri().path().to_owned());
            let answer = state.answer(&method, &path, identity.as_ref().as_ref()).await;
            let user = identity.as_ref().as_ref().map_or("nobody", |identity| &identity.user);
            log::say(format!("{method} {path} from {remote} as {user}: {}", answer.status().as_u16()));
            Ok::<_, Infallible>(answer)
        }
    });
    // A client that goes away is no event.
    let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
}

impl State {
    async fn answer(&self, method: &Method, path: &str, identity: Option<&Identity>) -> Response<Full<Bytes>> {
        let anonymous;
        let identity = match identity {
            Some(identity) => identity,
            None if self.config.anonymous => {
                anonymous = Identity {
                    user: "system:anonymous".to_owned(),
                    groups: vec!["system:unauthenticated".to_owned()],
                    serial: String::new(),
                };
                &anonymous
            }
            None => return text(StatusCode::UNAUTHORIZED, "Unauthorized".to_owned()),
        };
        if method != Method::GET {
            return text(StatusCode::METHOD_NOT_ALLOWED, "405 method not allowed\n".to_owned());
        }
        match self.allowed(identity, path).await {
            Ok(None) => {}
            Ok(Some(subresource)) => {
                let user = &identity.user;
                let why = format!("Forbidden (user={user}, verb=get, resource=nodes, subresource={subresource})");
                return text(StatusCode::FORBIDDEN, why);
            }
            Err(error) => {
                log::say(format!("authorization error: {error}"));
                return text(StatusCode::INTERNAL_SERVER_ERROR, "Authorization error".to_owned());
            }
        }
        self.page(path)
    }

    /// None when allowed, else the subresource that is refused.
    async fn allowed(&self, identity: &Identity, path: &str) -> Result<Option<&'static str>, super::api::ApiError> {
        if !self.config.webhook_authorization {
            return Ok(None);
        }
        let subresource = match path.split('/').nth(1).unwrap_or_default() {
            "metrics" => "metrics",
            "healthz" => "healthz",
            "pods" | "runningpods" => "pods",
            _ => "proxy",
        };
        // The finer right first, then the one over everything.
        for subresource in [subresource, "proxy"] {
            if self.review(identity, subresource).await? {
                return Ok(None);
            }
        }
        Ok(Some(subresource))
    }

    async fn review(&self, identity: &Identity, subresource: &str) -> Result<bool, super::api::ApiError> {
        let Some(client) = &self.client else { return Ok(false) };
        let review = json!({
            "kind": "SubjectAccessReview", "apiVersion": "authorization.k8s.io/v1",
            "spec": {
                "user": identity.user, "groups": identity.groups,
                "resourceAttributes": {
                    "verb": "get", "version": "v1", "resource": "nodes", "subresource": subresource, "name": self.node,
                },
            },
        });
        let answer = client.create("/apis/authorization.k8s.io/v1/subjectaccessreviews", &review).await?;
        Ok(answer["status"]["allowed"] == true)
    }

    fn page(&self, path: &str) -> Response<Full<Bytes>> {
        match path.trim_end_matches('/') {
            "/healthz" | "/healthz/ping" | "/healthz/log" | "/healthz/syncloop" => {
                text(StatusCode::OK, "ok".to_owned())
            }
            "/pods" => {
                let pods = self.pods.lock().unwrap_or_else(PoisonError::into_inner).clone();
                let list = json!({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": pods});
                page(StatusCode::OK, "application/json", list.to_string())
            }
            "/metrics" => {
                let running = self.pods.lock().unwrap_or_else(PoisonError::into_inner).len();
                page(
                    StatusCode::OK,
                    "text/plain; version=0.0.4; charset=utf-8",
                    format!(
                        "# HELP kubelet_running_pods Number of pods that have a running pod sandbox (stand-in)\n\
                         # TYPE kubelet_running_pods gauge\nkubelet_running_pods {running}\n"
                    ),
                )
            }
            _ => text(StatusCode::NOT_FOUND, "404 page not found\n".to_owned()),
        }
    }
}

fn text(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    page(status, "text/plain; charset=utf-8", body)
}

fn page(status: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    response
}
