//! Faults that are asked for, and the record of requests that shows them.

use std::time::{Duration, Instant};

use futures_util::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::Node;
use kube::api::{Api, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use nodebake_lab_stand_ins::apiserver::faults::{Act, Fault};
use nodebake_lab_stand_ins::apiserver::server::Order;
use serde_json::json;

use crate::apiserver::{node, refusal};
use crate::control_plane::Server;

/// One that runs inside, one as a process: they are told the same.
fn both() -> [Server; 2] {
    [Server::inside(|flags| flags), Server::start()]
}

async fn nodes(server: &Server) -> Api<Node> {
    Api::all(server.client(Some("admin")).await)
}

fn label(value: &str) -> Patch<serde_json::Value> {
    Patch::Merge(json!({"metadata": {"labels": {"l": value}}}))
}

#[tokio::test]
async fn the_nth_request_is_refused_as_it_was_asked_for() {
    for server in both() {
        let nodes = nodes(&server).await;
        nodes.create(&PostParams::default(), &node("a")).await.unwrap();
        for (act, want) in [
            (Act::Internal, (500, "InternalError", "Internal error occurred: etcdserver: request timed out")),
            (Act::Unavailable, (503, "ServiceUnavailable", "the server is currently unable to handle the request")),
            (
                Act::Conflict,
                (
                    409,
                    "Conflict",
                    "Operation cannot be fulfilled on nodes \"a\": the object has been modified; please apply your changes \
                     to the latest version and try again",
                ),
            ),
            (
                Act::Busy { retry_after: 1 },
                (429, "Failed to parse error data", "Too many requests, please try again later."),
            ),
        ] {
            server.fault(Fault::new("patch", "nodes", act.clone()).named("a").from_nth(2, 1));
            let patch = async |value| nodes.patch("a", &PatchParams::default(), &label(value)).await;
            patch("1").await.unwrap();
            let (code, reason, message) = refusal(patch("2").await);
            assert_eq!((code, reason.as_str(), message.as_str()), want, "{act:?}");
            let after = patch("1").await.unwrap();
            assert_eq!(after.metadata.labels.unwrap()["l"], "1");
            server.obey(&Order::ClearFaults);
        }
        let recorded = server.recorded(&["create", "patch"]);
        let patched = |codes: [u16; 3]| codes.map(|code| format!("patch nodes a {code}"));
        let codes = [[200, 500, 200], [200, 503, 200], [200, 409, 200], [200, 429, 200]];
        let want: Vec<String> =
            std::iter::once("create nodes a 201".to_owned()).chain(codes.into_iter().flat_map(patched)).collect();
        assert_eq!(recorded, want);
    }
}

#[tokio::test]
async fn a_cut_connection_leaves_things_done_or_not() {
    for server in both() {
        let nodes = nodes(&server).await;
        nodes.create(&PostParams::default(), &node("a")).await.unwrap();
        for (act, done) in [(Act::CutBefore, false), (Act::CutAfter, true)] {
            server.fault(Fault::new("patch", "nodes", act.clone()));
            let error = nodes.patch("a", &PatchParams::default(), &label("cut")).await.unwrap_err();
            assert!(!matches!(error, kube::Error::Api(_)), "{error:?}");
            let labels = nodes.get("a").await.unwrap().metadata.labels.unwrap();
            assert_eq!(labels.get("l").map(String::as_str) == Some("cut"), done, "{act:?}");
        }
        assert_eq!(server.recorded(&["patch"]), ["patch nodes a 0", "patch nodes a 0"]);
    }
}

#[tokio::test]
async fn a_slow_answer_comes_late() {
    let server = Server::inside(|flags| flags);
    let nodes = nodes(&server).await;
    server.fault(Fault::new("list", "nodes", Act::Slow { seconds: 0.3 }));
    let start = Instant::now();
    nodes.list(&ListParams::default()).await.unwrap();
    assert!(start.elapsed() >= Duration::from_millis(300));
}

#[tokio::test]
async fn watches_end_expire_and_forget() {
    for server in both() {
        let nodes = nodes(&server).await;
        let start = nodes.list(&ListParams::default()).await.unwrap().metadata.resource_version.unwrap();
        nodes.create(&PostParams::default(), &node("a")).await.unwrap();
        let expired = |event: Option<WatchEvent<Node>>| match event {
            Some(WatchEvent::Error(status)) => (status.code, status.reason.clone()),
            other => panic!("{other:?}"),
        };
        for (order, ends) in [(Order::EndWatches, true), (Order::ExpireWatches, false)] {
            let mut events = nodes.watch(&WatchParams::default(), &start).await.unwrap().boxed();
            assert!(matches!(events.try_next().await.unwrap(), Some(WatchEvent::Added(_))));
            server.obey(&order);
            let next = events.try_next().await.unwrap();
            if ends {
                assert!(next.is_none(), "{next:?}");
            } else {
                assert_eq!(expired(next), (410, "Expired".to_owned()));
            }
        }
        server.fault(Fault::new("watch", "nodes", Act::ExpireWatch));
        server.fault(Fault::new("watch", "nodes", Act::EndWatch).from_nth(2, 1));
        let mut events = nodes.watch(&WatchParams::default(), "0").await.unwrap().boxed();
        assert_eq!(expired(events.try_next().await.unwrap()), (410, "Expired".to_owned()));
        let mut events = nodes.watch(&WatchParams::default(), "0").await.unwrap().boxed();
        assert!(matches!(events.try_next().await.unwrap(), Some(WatchEvent::Added(_))));
        assert!(events.try_next().await.unwrap().is_none());

        server.obey(&Order::Compact);
        let mut events = nodes.watch(&WatchParams::default(), &start).await.unwrap().boxed();
        assert_eq!(expired(events.try_next().await.unwrap()), (410, "Expired".to_owned()));
        let now = nodes.list(&ListParams::default()).await.unwrap().metadata.resource_version.unwrap();
        let mut events = nodes.watch(&WatchParams::default(), &now).await.unwrap().boxed();
        nodes.create(&PostParams::default(), &node("b")).await.unwrap();
        assert!(matches!(events.try_next().await.unwrap(), Some(WatchEvent::Added(_))));
    }
}

/// A client that trusts another CA is turned away before the rotation and welcome after it, and the other way round.
#[tokio::test]
async fn the_serving_certificate_rotates() {
    for by_signal in [false, true] {
        let server = if by_signal { Server::start() } else { Server::inside(|flags| flags) };
        let first = nodes(&server).await;
        first.list(&ListParams::default()).await.unwrap();
        let other = crate::control_plane::Pki::new();
        other.issue("server", "kube-apiserver", None);
        for name in ["server.pem", "server-key.pem"] {
            std::fs::copy(other.file(name), server.pki.file(name)).unwrap();
        }
        if by_signal {
            server.signal("-HUP");
        } else {
            server.obey(&Order::ReloadCertificate);
        }
        // The signal is heard a little later than it is sent, and an old connection holds as it does with the real one.
        let turned_away = async {
            loop {
                server.obey(&Order::CutConnections);
                if let Err(error) = nodes(&server).await.list(&ListParams::default()).await {
                    return error;
                }
            }
        };
        let error = tokio::time::timeout(Duration::from_mins(1), turned_away).await.unwrap();
        assert!(!matches!(error, kube::Error::Api(_)), "{error:?}");
        std::fs::copy(other.file("ca.pem"), server.pki.file("ca.pem")).unwrap();
        nodes(&server).await.list(&ListParams::default()).await.unwrap();
    }
}

#[test]
fn an_order_that_is_none_is_refused() {
    let server = Server::start();
    assert_eq!(server.tell(r#""compact""#), "{}");
    assert_eq!(
        server.tell(r#"{"fault": {"verb": "get", "resource": "nodes", "act": "internal", "often": 1}}"#),
        "{\"error\":\"unknown field `often`, expected one of `verb`, `resource`, `namespace`, `name`, `nth`, `times`, `act` at \
         line 1 column 73\"}"
    );
    std::fs::remove_file(server.pki.file("server-key.pem")).unwrap();
    let answer = server.tell(r#""reloadCertificate""#);
    let key = server.pki.file("server-key.pem");
    let key = key.display();
    let wanted = format!("{{\"error\":\"the TLS files cannot be used: cannot read key {key}: ");
    assert!(answer.starts_with(&wanted), "{answer}");
}
