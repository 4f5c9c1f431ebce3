//! Identities, judged by openssl and rustls: CAs and certificates as people bring them, and what we issue.
//!
//! Needs openssl; without it the tests fail.

#![expect(clippy::unwrap_used, reason = "tests")]

mod administrator;
mod authority;
mod brought;
mod chains;
mod damage;
mod encrypted;
mod handshakes;
mod issuing;
mod keeping;
mod listing;
mod renewing;
mod requests;
mod world;
