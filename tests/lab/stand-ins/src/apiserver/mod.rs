//! The kube-apiserver stand-in: nodes, leases, namespaces, events and pods in memory, behind TLS with client
//! certificates, with the Node authorizer's and `NodeRestriction`'s rules, watches and optimistic concurrency.

pub mod admission;
pub mod audit;
pub mod authz;
pub mod discovery;
pub mod flags;
pub mod handler;
pub mod identity;
pub mod managed_fields;
pub mod patch;
pub mod request;
pub mod resource;
pub mod review;
pub mod selector;
pub mod server;
pub mod status;
pub mod storage;
pub mod table;
pub mod validate;
pub mod watch;
