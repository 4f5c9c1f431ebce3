//! The kube-apiserver stand-in: nodes, pods, their owners, budgets, volumes and rights in memory, behind TLS with client
//! certificates, with the rules of the Node authorizer, `NodeRestriction`, RBAC and evictions, watches and optimistic
//! concurrency. What goes wrong can be asked for.

pub mod admission;
pub mod audit;
pub mod authz;
pub mod control;
pub mod controllers;
pub mod defaults;
pub mod deletion;
pub mod discovery;
pub mod disruption;
pub mod eviction;
pub mod faults;
pub mod flags;
pub mod handler;
pub mod identity;
pub mod managed_fields;
pub mod patch;
pub mod rbac;
pub mod request;
pub mod resource;
pub mod review;
pub mod selector;
pub mod server;
pub mod status;
pub mod storage;
pub mod table;
pub mod testing;
pub mod validate;
pub mod values;
pub mod watch;
