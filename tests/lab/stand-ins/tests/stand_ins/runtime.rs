//! A container runtime that answers CRI's questions, says that it runs what it is told to, and runs nothing.

use std::convert::Infallible;
use std::path::Path;

use bytes::{BufMut as _, Bytes, BytesMut};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::{HeaderMap, HeaderValue};
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use nodebake_lab_stand_ins::kubelet::cri::{
    CreateContainerResponse, Image, ImageStatusRequest, ImageStatusResponse, LinuxRuntimeConfiguration,
    RunPodSandboxResponse, RuntimeCondition, RuntimeConfigResponse, RuntimeStatus, StatusResponse, VersionResponse,
};
use prost::Message as _;
use tokio::net::UnixListener;

/// The image that it has.
pub const IMAGE: &str = "example.invalid/there:1";

/// Serves CRI at that socket, with the cgroup driver of that number (0 systemd, 1 cgroupfs), until the runtime ends.
pub fn serve(socket: &Path, cgroup_driver: i32) {
    let listener = UnixListener::bind(socket).unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let service = hyper::service::service_fn(move |request: Request<Incoming>| async move {
                let path = request.uri().path().to_owned();
                let question = request.into_body().collect().await.unwrap().to_bytes();
                Ok::<_, Infallible>(answer(&path, question.get(5..).unwrap_or_default(), cgroup_driver))
            });
            let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            tokio::spawn(connection.serve_connection(TokioIo::new(stream), service));
        }
    });
}

fn answer(
    path: &str,
    question: &[u8],
    cgroup_driver: i32,
) -> Response<http_body_util::combinators::BoxBody<Bytes, Infallible>> {
    let message = match path {
        "/runtime.v1.RuntimeService/Version" => VersionResponse {
            version: "0.1.0".to_owned(),
            runtime_name: "containerd".to_owned(),
            runtime_version: "v2.1.4".to_owned(),
            runtime_api_version: "v1".to_owned(),
        }
        .encode_to_vec(),
        "/runtime.v1.RuntimeService/Status" => status().encode_to_vec(),
        "/runtime.v1.RuntimeService/RuntimeConfig" => {
            RuntimeConfigResponse { linux: Some(LinuxRuntimeConfiguration { cgroup_driver }) }.encode_to_vec()
        }
        // It has one image, and runs nothing of it.
        "/runtime.v1.ImageService/ImageStatus" => {
            let asked = ImageStatusRequest::decode(question).unwrap().image.unwrap().image;
            let image = (asked == IMAGE).then(|| Image { id: "image".to_owned(), ..Image::default() });
            ImageStatusResponse { image }.encode_to_vec()
        }
        "/runtime.v1.RuntimeService/RunPodSandbox" => {
            RunPodSandboxResponse { pod_sandbox_id: "sandbox".to_owned() }.encode_to_vec()
        }
        "/runtime.v1.RuntimeService/CreateContainer" => {
            CreateContainerResponse { container_id: "container".to_owned() }.encode_to_vec()
        }
        "/runtime.v1.RuntimeService/ListPodSandbox"
        | "/runtime.v1.RuntimeService/StartContainer"
        | "/runtime.v1.RuntimeService/StopPodSandbox"
        | "/runtime.v1.RuntimeService/RemovePodSandbox" => Vec::new(),
        other => panic!("{other} is not offered"),
    };
    let mut body = BytesMut::new();
    body.put_u8(0);
    body.put_u32(u32::try_from(message.len()).unwrap());
    body.put_slice(&message);
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let body = Full::new(body.freeze()).with_trailers(std::future::ready(Some(Ok(trailers))));
    let mut response = Response::new(body.boxed());
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    response
}

fn status() -> StatusResponse {
    let condition = |kind: &str, status: bool, reason: &str, message: &str| RuntimeCondition {
        r#type: kind.to_owned(),
        status,
        reason: reason.to_owned(),
        message: message.to_owned(),
    };
    let conditions = vec![
        condition("RuntimeReady", true, "", ""),
        condition(
            "NetworkReady",
            false,
            "NetworkPluginNotReady",
            "Network plugin returns error: cni plugin not initialized",
        ),
    ];
    StatusResponse { status: Some(RuntimeStatus { conditions }), ..StatusResponse::default() }
}
