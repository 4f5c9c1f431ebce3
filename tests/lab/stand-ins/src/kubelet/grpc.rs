//! Unary gRPC calls over a unix socket: all that CRI needs here.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http2::SendRequest;
use hyper::header::HeaderMap;
use hyper::{Request, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use tokio::net::UnixStream;

/// Largest answer that is taken, in bytes; the kubelet takes 16 MiB.
const ANSWER_LIMIT: usize = 16 * 1024 * 1024;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum GrpcError {
    /// Nobody listens.
    #[error("cannot connect to unix://{path}")]
    Connect {
        /// The socket.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The connection broke.
    #[error("{method} failed")]
    Transport {
        /// The method.
        method: &'static str,
        /// Why.
        #[source]
        source: hyper::Error,
    },
    /// The other side answered with an error.
    #[error("{method}: rpc error: code = {code} desc = {message}")]
    Status {
        /// The method.
        method: &'static str,
        /// gRPC status code.
        code: u32,
        /// Its text.
        message: String,
    },
    /// The answer is no message of the kind that was wanted.
    #[error("{method}: the answer cannot be decoded: {why}")]
    Malformed {
        /// The method.
        method: &'static str,
        /// Why.
        why: String,
    },
    /// No answer in time.
    #[error("{method}: no answer within {seconds} s")]
    Timeout {
        /// The method.
        method: &'static str,
        /// Seconds.
        seconds: u64,
    },
}

/// gRPC's code for a method that the other side does not have.
pub const UNIMPLEMENTED: u32 = 12;

impl GrpcError {
    /// The gRPC status code, if the other side answered.
    #[must_use]
    pub fn code(&self) -> Option<u32> {
        if let Self::Status { code, .. } = self { Some(*code) } else { None }
    }
}

/// A connection to one socket; its clones share it.
#[derive(Debug, Clone)]
pub struct Channel {
    sender: SendRequest<Full<Bytes>>,
}

impl Channel {
    /// Connects.
    ///
    /// # Errors
    /// Nobody listens, or it is no HTTP/2.
    pub async fn connect(path: &Path) -> Result<Self, GrpcError> {
        let stream =
            UnixStream::connect(path).await.map_err(|source| GrpcError::Connect { path: path.to_owned(), source })?;
        let (sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .map_err(|source| GrpcError::Transport { method: "connect", source })?;
        // Its end shows in the calls.
        tokio::spawn(async move { drop(connection.await) });
        Ok(Self { sender })
    }

    /// Whether the connection broke, so that a new one is needed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// Calls a method by its path and decodes the answer.
    ///
    /// # Errors
    /// See [`GrpcError`].
    pub async fn call<Q: Message, A: Message + Default>(
        &self,
        method: &'static str,
        question: &Q,
        timeout: Duration,
    ) -> Result<A, GrpcError> {
        match tokio::time::timeout(timeout, self.exchange(method, question)).await {
            Ok(result) => result,
            Err(_) => Err(GrpcError::Timeout { method, seconds: timeout.as_secs() }),
        }
    }

    async fn exchange<Q: Message, A: Message + Default>(
        &self,
        method: &'static str,
        question: &Q,
    ) -> Result<A, GrpcError> {
        let transport = |source| GrpcError::Transport { method, source };
        let malformed = |why: &str| GrpcError::Malformed { method, why: why.to_owned() };
        let request = Request::builder()
            .method("POST")
            .version(Version::HTTP_2)
            .uri(format!("http://localhost{method}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("user-agent", "nodebake-lab-kubelet-stand-in")
            .body(Full::new(frame(question)))
            .map_err(|error| malformed(&error.to_string()))?;
        let mut sender = self.sender.clone();
        sender.ready().await.map_err(transport)?;
        let (parts, body) = sender.send_request(request).await.map_err(transport)?.into_parts();
        // An answer without a message carries its status in the headers.
        check_status(method, &parts.headers)?;
        let collected = http_body_util::Limited::new(body, ANSWER_LIMIT)
            .collect()
            .await
            .map_err(|error| malformed(&error.to_string()))?;
        if let Some(trailers) = collected.trailers() {
            check_status(method, trailers)?;
        }
        let mut bytes = collected.to_bytes();
        if bytes.len() < 5 || bytes.get_u8() != 0 {
            return Err(malformed("no uncompressed message"));
        }
        let length = usize::try_from(bytes.get_u32()).unwrap_or(usize::MAX);
        if bytes.len() != length {
            return Err(malformed("the message's length is not its frame's"));
        }
        A::decode(bytes).map_err(|error| malformed(&error.to_string()))
    }
}

/// One byte for compression (none), four for the length, the message.
fn frame(message: &impl Message) -> Bytes {
    let length = message.encoded_len();
    let mut bytes = BytesMut::with_capacity(length + 5);
    bytes.put_u8(0);
    // Questions are far below 4 GiB.
    bytes.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    bytes.put_slice(&message.encode_to_vec());
    bytes.freeze()
}

fn check_status(method: &'static str, headers: &HeaderMap) -> Result<(), GrpcError> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    match text("grpc-status") {
        "" | "0" => Ok(()),
        code => Err(GrpcError::Status {
            method,
            code: code.parse().unwrap_or(2),
            message: percent_decode(text("grpc-message")),
        }),
    }
}

fn percent_decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let hex = tail.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        if let (b'%', Some(byte)) = (first, hex.and_then(|digits| u8::from_str_radix(digits, 16).ok())) {
            bytes.push(byte);
            rest = &tail[2..];
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_frame_has_its_length() {
        assert_eq!(frame(&"ab".to_owned()).as_ref(), [0, 0, 0, 0, 4, 10, 2, b'a', b'b']);
    }

    #[test]
    fn a_status_is_an_error_unless_it_is_zero() {
        let headers = |status: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert("grpc-status", hyper::header::HeaderValue::from_static(status));
            headers.insert("grpc-message", hyper::header::HeaderValue::from_static("a%20b"));
            headers
        };
        assert!(check_status("m", &headers("0")).is_ok());
        let error = check_status("m", &headers("12")).unwrap_err();
        assert_eq!((error.code(), error.to_string().as_str()), (Some(12), "m: rpc error: code = 12 desc = a b"));
    }
}
