//! Files of certificates and keys, as those of a CA and as those of a node: a CA that is taken is the same when what it is
//! trusted by is read again, and all that is told of any is text for a terminal.

use std::fs;
use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use nodebake::config::{CaKey, NodeName};
use nodebake::identity::{Ca, Identities, IdentityError, NodeRequest};
use nodebake::printable;

/// A CA of 2026 to 2126, and a pair that it signed for the node.
const CA: &[u8] = include_bytes!("../corpus/pem/ca.pem");
const NODE: &str = "worker-node-1";
/// 2030, whatever the clock says.
const NOW: Timestamp = Timestamp::constant(1_893_456_000, 0);

thread_local! {
    static FOLDER: tempfile::TempDir = tempfile::tempdir().expect("a folder of its own");
}

pub(crate) fn run(bytes: &[u8]) {
    FOLDER.with(|folder| {
        as_ca(&folder.path().join("ca"), bytes);
        as_node(&folder.path().join("node"), bytes);
    });
}

fn load(pki: &Path) -> Result<Ca, IdentityError> {
    Ca::load(pki, &CaKey::default(), Box::new(|_| Ok(None)), NOW)
}

fn write(pki: &Path, files: &[(&str, &[u8])]) {
    let _ = fs::remove_dir_all(pki);
    fs::create_dir_all(pki).expect("a folder of its own");
    for (name, bytes) in files {
        fs::write(pki.join(name), bytes).expect("a file of its own");
    }
}

fn as_ca(pki: &Path, bytes: &[u8]) {
    write(pki, &[("ca.pem", bytes), ("ca-key.pem", bytes)]);
    told(load(pki).as_ref().err());
    // The key need not be there.
    write(pki, &[("ca.pem", bytes)]);
    match load(pki) {
        Ok(ca) => {
            let pem = ca.certificates_pem();
            assert!(!ca.has_key() && Ca::digest_of(pki).is_ok_and(|digest| digest == ca.digest()));
            write(pki, &[("ca.pem", pem.as_bytes())]);
            let again = load(pki).unwrap_or_else(|error| panic!("{error:?} of\n{pem}"));
            assert_eq!((again.digest(), again.certificates_pem()), (ca.digest(), pem));
            assert_eq!(again.validity(), ca.validity());
        }
        Err(error) => told(Some(&error)),
    }
}

fn as_node(pki: &Path, bytes: &[u8]) {
    write(pki, &[("ca.pem", CA), (&format!("{NODE}.pem"), bytes), (&format!("{NODE}-key.pem"), bytes)]);
    let ca = load(pki).expect("the CA is sound");
    let lifetime = SignedDuration::from_hours(24);
    let identities = Identities { ca: &ca, pki, state: pki.join("state"), lifetime, now: NOW };
    let node: NodeName = NODE.parse().expect("a name");
    let request = NodeRequest { node: &node, addresses: Vec::new(), rotates: false };
    let listed = identities.list_node(&request).expect("what is wrong with it is listed");
    let problems: Vec<_> = listed.problems.iter().map(ToString::to_string).collect();
    assert!(problems.iter().all(|problem| printable::line(problem) == *problem), "{problems:?}");
    match identities.present(&request) {
        Ok(Some(identity)) => {
            assert_eq!((identity.ca_pem.as_bytes(), listed.facts), (CA, Some(identity.facts)));
            assert!(problems.is_empty() && listed.file.is_some(), "{problems:?}");
        }
        Ok(None) => panic!("there is a pair"),
        Err(error) => told(Some(&error)),
    }
}

fn told(error: Option<&IdentityError>) {
    let Some(error) = error else { return };
    let text = nodebake::error::chain(error) + &error.hint().unwrap_or_default();
    assert_eq!(printable::line(&text), text);
}
