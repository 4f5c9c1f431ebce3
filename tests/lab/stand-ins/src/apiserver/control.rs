//! The control socket: one order a line, as JSON, each answered with one line.

use std::future::Future;
use std::path::Path;
use std::sync::Arc;

use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};

use super::server::{Apiserver, Order, ServerError};

/// Takes the socket; what comes back serves it for good.
///
/// # Errors
/// It cannot be listened on.
pub fn listen(path: &Path, server: Arc<Apiserver>) -> Result<impl Future<Output = ()> + use<>, ServerError> {
    // One that an earlier run left behind; nobody listens on it.
    let _ = std::fs::remove_file(path);
    let listener = UnixListener::bind(path).map_err(|source| ServerError::Control { path: path.to_owned(), source })?;
    Ok(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, Arc::clone(&server)));
        }
    })
}

/// `{}` says that it is done.
async fn serve(stream: UnixStream, server: Arc<Apiserver>) {
    let (reader, mut writer) = stream.into_split();
    let mut lines = BufReader::new(reader).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let done = match serde_json::from_str::<Order>(&line) {
            Ok(order) => server.obey(order).map_err(|error| crate::log::chain(&error)),
            Err(error) => Err(error.to_string()),
        };
        let answer = match done {
            Ok(()) => json!({}),
            Err(error) => json!({"error": error}),
        };
        if writer.write_all(format!("{answer}\n").as_bytes()).await.is_err() {
            return;
        }
    }
}
