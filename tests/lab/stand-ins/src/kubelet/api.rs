//! The apiserver, as the kubelet reaches it: one HTTPS request at a time with the node's certificate.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{Method, Request, header};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::kubeconfig::Kubeconfig;
use super::version::version;
use crate::tls;

/// How long one request may take.
const TIMEOUT: Duration = Duration::from_secs(10);
const ANSWER_LIMIT: usize = 16 * 1024 * 1024;

/// Why a request has no answer that helps.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The client certificate and its key are no pair, or of an unknown kind.
    #[error("the client certificate cannot be used")]
    Certificate(#[source] rustls::Error),
    /// The server's name can be in no certificate.
    #[error("{0:?} is no name or address of a server")]
    ServerName(String),
    /// No connection, or TLS failed.
    #[error("cannot reach the apiserver {server}")]
    Connect {
        /// Its URL.
        server: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The connection broke.
    #[error("the apiserver {server} broke off")]
    Transport {
        /// Its URL.
        server: String,
        /// Why.
        #[source]
        source: hyper::Error,
    },
    /// No answer in time.
    #[error("the apiserver {0} does not answer")]
    Timeout(String),
    /// An answer that is no JSON, or too long.
    #[error("the apiserver's answer cannot be read: {0}")]
    Malformed(String),
    /// The apiserver said no.
    #[error("{message} ({code})")]
    Refused {
        /// HTTP status.
        code: u16,
        /// The Status object's message.
        message: String,
    },
}

impl ApiError {
    /// The HTTP status of a refusal.
    #[must_use]
    pub fn code(&self) -> Option<u16> {
        if let Self::Refused { code, .. } = self { Some(*code) } else { None }
    }
}

/// A client of one apiserver.
pub struct Client {
    host: String,
    port: u16,
    name: ServerName<'static>,
    prefix: String,
    server: String,
    connector: TlsConnector,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Client").field("server", &self.server).finish_non_exhaustive()
    }
}

impl Client {
    /// A client as the kubeconfig says.
    ///
    /// # Errors
    /// Certificate, key or server name cannot be used.
    pub fn new(config: Kubeconfig) -> Result<Self, ApiError> {
        let host = config.server.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let name = config.server_name.clone().unwrap_or_else(|| host.clone());
        let name = ServerName::try_from(name.clone()).map_err(|_| ApiError::ServerName(name))?;
        let mut tls = ClientConfig::builder_with_provider(tls::provider())
            .with_safe_default_protocol_versions()
            .map_err(ApiError::Certificate)?
            .with_root_certificates(config.roots)
            .with_client_auth_cert(config.chain, config.key)
            .map_err(ApiError::Certificate)?;
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self {
            host,
            port: config.server.port_u16().unwrap_or(443),
            name,
            prefix: config.server.path().trim_end_matches('/').to_owned(),
            server: config.server.to_string(),
            connector: TlsConnector::from(Arc::new(tls)),
        })
    }

    /// Sends a request and gives the answer's object.
    ///
    /// # Errors
    /// No connection, no answer, or a refusal.
    pub async fn request(
        &self,
        method: Method,
        path: &str,
        kind: &str,
        body: Option<&Value>,
    ) -> Result<Value, ApiError> {
        match tokio::time::timeout(TIMEOUT, self.exchange(method, path, kind, body)).await {
            Ok(result) => result,
            Err(_) => Err(ApiError::Timeout(self.server.clone())),
        }
    }

    /// `GET`.
    ///
    /// # Errors
    /// As [`Self::request`].
    pub async fn get(&self, path: &str) -> Result<Value, ApiError> {
        self.request(Method::GET, path, "", None).await
    }

    /// `POST`.
    ///
    /// # Errors
    /// As [`Self::request`].
    pub async fn create(&self, path: &str, object: &Value) -> Result<Value, ApiError> {
        self.request(Method::POST, path, "application/json", Some(object)).await
    }

    /// `PUT`.
    ///
    /// # Errors
    /// As [`Self::request`].
    pub async fn update(&self, path: &str, object: &Value) -> Result<Value, ApiError> {
        self.request(Method::PUT, path, "application/json", Some(object)).await
    }

    /// `PATCH`, strategic.
    ///
    /// # Errors
    /// As [`Self::request`].
    pub async fn patch(&self, path: &str, change: &Value) -> Result<Value, ApiError> {
        self.request(Method::PATCH, path, "application/strategic-merge-patch+json", Some(change)).await
    }

    /// `DELETE`, with options.
    ///
    /// # Errors
    /// As [`Self::request`].
    pub async fn delete(&self, path: &str, options: &Value) -> Result<Value, ApiError> {
        self.request(Method::DELETE, path, "application/json", Some(options)).await
    }

    async fn exchange(&self, method: Method, path: &str, kind: &str, body: Option<&Value>) -> Result<Value, ApiError> {
        let connect = |source| ApiError::Connect { server: self.server.clone(), source };
        let transport = |source| ApiError::Transport { server: self.server.clone(), source };
        let malformed = |why: &dyn std::fmt::Display| ApiError::Malformed(why.to_string());
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await.map_err(connect)?;
        let stream = self.connector.connect(self.name.clone(), stream).await.map_err(connect)?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(transport)?;
        let connection = tokio::spawn(connection);
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.prefix))
            .header(header::HOST, format!("{}:{}", self.host, self.port))
            .header(header::ACCEPT, "application/json")
            .header(header::CONNECTION, "close")
            .header(header::USER_AGENT, format!("kubelet/{} (stand-in)", version()));
        if !kind.is_empty() {
            request = request.header(header::CONTENT_TYPE, kind);
        }
        let body = body.map(|body| Bytes::from(body.to_string())).unwrap_or_default();
        let request = request.body(Full::new(body)).map_err(|error| malformed(&error))?;
        let response = sender.send_request(request).await.map_err(transport)?;
        let code = response.status().as_u16();
        let bytes =
            Limited::new(response.into_body(), ANSWER_LIMIT).collect().await.map_err(|error| malformed(&error))?;
        connection.abort();
        let answer: Value = serde_json::from_slice(&bytes.to_bytes()).map_err(|error| malformed(&error))?;
        if (200..300).contains(&code) {
            return Ok(answer);
        }
        let message = answer["message"].as_str().unwrap_or("no reason given").to_owned();
        Err(ApiError::Refused { code, message })
    }
}
