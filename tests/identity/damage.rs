//! Files with a bit of theirs flipped, or cut off.

use std::fs;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nodebake::identity::Origin;

use crate::world::{Cluster, NODE_EXTENSIONS, NODE_SUBJECT, P256};

/// The DER of a file's only PEM block, and its label.
pub(crate) fn der_of(path: &Path) -> (String, Vec<u8>) {
    let text = fs::read_to_string(path).unwrap();
    let mut lines = text.lines();
    let label = lines.next().unwrap().trim_matches('-').strip_prefix("BEGIN ").unwrap().to_owned();
    let base64: String = lines.take_while(|line| !line.starts_with('-')).collect();
    (label, STANDARD.decode(base64).unwrap())
}

/// A PEM file of one block.
pub(crate) fn pem(label: &str, der: &[u8]) -> String {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der))
}

#[test]
fn a_flipped_bit_anywhere_is_refused() {
    let cluster = Cluster::empty();
    for command in [P256, &["ecparam", "-name", "prime256v1", "-genkey", "-noout"]] {
        cluster.ca_from(command);
        cluster.provide("ca", NODE_SUBJECT, NODE_EXTENSIONS, &[]);
        for name in ["ca.pem", "ca-key.pem", "worker-node-1.pem", "worker-node-1-key.pem"] {
            let path = cluster.file(name);
            let original = fs::read(&path).unwrap();
            let (label, der) = der_of(&path);
            let issuer = if name == "ca.pem" { issuer_of(&der) } else { 0..0 };
            for index in (0..der.len()).filter(|index| !issuer.contains(index)) {
                for damaged in [flipped(&der, index), der[..index].to_vec()] {
                    fs::write(&path, pem(&label, &damaged)).unwrap();
                    let result = cluster.identity();
                    assert!(result.is_err(), "{name}, byte {index} of {}: {result:?}", der.len());
                }
            }
            fs::write(&path, original).unwrap();
            assert_eq!(cluster.identity().unwrap().origin, Origin::Provided);
        }
    }
}

/// Where a certificate names its issuer: a CA of another issuer cannot be checked, and need not be.
fn issuer_of(der: &[u8]) -> std::ops::Range<usize> {
    let (_, certificate) = x509_parser::parse_x509_certificate(der).unwrap();
    let name = certificate.issuer().as_raw();
    let start = der.windows(name.len()).position(|window| window == name).unwrap();
    start..start + name.len()
}

/// With one bit of a byte flipped, another one from byte to byte.
fn flipped(der: &[u8], index: usize) -> Vec<u8> {
    let mut der = der.to_vec();
    der[index] ^= 1 << (index % 8);
    der
}
