//! What was issued stays while it fits, and is issued anew when it does not.

use std::fs;
use std::path::Path;

use jiff::SignedDuration;
use nodebake::identity::{NodeIdentity, Origin, Problem};

use crate::world::{Cluster, DAY, P256, SECOND, mode, node, request};

#[test]
fn what_was_issued_is_kept_byte_for_byte() {
    let cluster = Cluster::new();
    let issued = cluster.identity().unwrap();
    let files = || (fs::read(cluster.kept("cert.pem")).unwrap(), fs::read(cluster.kept("key.pem")).unwrap());
    let first = files();
    assert_eq!(first, (issued.certificate_pem.clone().into_bytes(), issued.key_pem.expose().to_vec()));
    let reused = cluster.identity().unwrap();
    assert_eq!(reused, NodeIdentity { origin: Origin::Reused, ..issued.clone() });
    assert_eq!(files(), first);
    // Without the CA's key, and with a newer name for the state folder, too.
    fs::remove_file(cluster.file("ca-key.pem")).unwrap();
    assert_eq!(cluster.identity().unwrap(), reused);
}

/// What happens between two runs.
type Change<'a> = &'a dyn Fn(&Cluster);

/// Why the second run issues anew, given what the first one issued.
type Reasons<'a> = &'a dyn Fn(&Cluster, &NodeIdentity) -> Vec<Problem>;

#[test]
fn what_does_not_fit_any_more_is_issued_anew() {
    let other_ca = |cluster: &Cluster| cluster.ca_from(P256);
    let remove = |name: &'static str| move |cluster: &Cluster| fs::remove_file(cluster.kept(name)).unwrap();
    let garble = |name: &'static str| move |cluster: &Cluster| fs::write(cluster.kept(name), "garbage").unwrap();
    let swap_key = |cluster: &Cluster| fs::write(cluster.kept("key.pem"), cluster.openssl(P256)).unwrap();
    let nothing: Change<'_> = &|_| {};
    let damaged = |name: &'static str, what: &'static str| {
        move |cluster: &Cluster, _: &NodeIdentity| {
            vec![Problem::Damaged(format!("{}{what}", cluster.kept(name).display()))]
        }
    };
    let soon = |_: &Cluster, old: &NodeIdentity| vec![Problem::EndsSoon(old.facts.validity.not_after)];
    let over = |_: &Cluster, old: &NodeIdentity| vec![Problem::Expired(old.facts.validity.not_after)];
    let cases: &[(&str, Change<'_>, &[&str], SignedDuration, Reasons<'_>)] = &[
        ("another address", nothing, &["10.0.0.40"], SignedDuration::ZERO, &|_, _| {
            vec![Problem::MissingAddress("10.0.0.40".parse().unwrap()), Problem::ForeignName("10.0.0.36".to_owned())]
        }),
        ("an address less", nothing, &[], SignedDuration::ZERO, &|_, _| {
            vec![Problem::ForeignName("10.0.0.36".to_owned())]
        }),
        ("another CA of the same name", &other_ca, &["10.0.0.36"], SignedDuration::ZERO, &|_, _| {
            vec![Problem::BadSignature]
        }),
        ("29 days before the end", nothing, &["10.0.0.36"], 335 * DAY + SECOND, &soon),
        ("after the end", nothing, &["10.0.0.36"], 365 * DAY + SECOND, &over),
        (
            "no certificate",
            &remove("cert.pem"),
            &["10.0.0.36"],
            SignedDuration::ZERO,
            &damaged("cert.pem", " is missing"),
        ),
        ("no key", &remove("key.pem"), &["10.0.0.36"], SignedDuration::ZERO, &damaged("key.pem", " is missing")),
        (
            "a garbled certificate",
            &garble("cert.pem"),
            &["10.0.0.36"],
            SignedDuration::ZERO,
            &damaged("cert.pem", ": no certificate in it"),
        ),
        (
            "a garbled key",
            &garble("key.pem"),
            &["10.0.0.36"],
            SignedDuration::ZERO,
            &damaged("key.pem", ": no private key in it"),
        ),
        ("a crash between key and certificate", &swap_key, &["10.0.0.36"], SignedDuration::ZERO, &|_, _| {
            vec![Problem::KeyMismatch]
        }),
    ];
    for (what, change, addresses, later, reasons) in cases {
        let cluster = Cluster::new();
        let old = cluster.identity().unwrap();
        change(&cluster);
        let now = cluster.now + *later;
        let new = cluster.identity_at(addresses, now).unwrap();
        assert_eq!((new.origin, &new.replaced), (Origin::Issued, &reasons(&cluster, &old)), "{what}");
        assert_ne!((&new.facts.serial, &new.key_pem), (&old.facts.serial, &old.key_pem), "{what}");
        let again = cluster.identity_at(addresses, now).unwrap();
        assert_eq!(again, NodeIdentity { origin: Origin::Reused, replaced: vec![], ..new }, "{what}");
    }
}

#[test]
fn thirty_days_before_its_end_it_is_still_kept_and_at_the_end_of_the_ca_too() {
    let cluster = Cluster::new();
    let first = cluster.identity().unwrap();
    let kept = cluster.identity_at(&["10.0.0.36"], first.facts.validity.not_after - 30 * DAY).unwrap();
    assert_eq!((kept.origin, &kept.facts.serial), (Origin::Reused, &first.facts.serial));

    // A certificate that ends with its CA cannot be bettered.
    let end = cluster.ca().validity().not_after;
    let last = cluster.identity_at(&["10.0.0.36"], end - 200 * DAY).unwrap();
    assert_eq!((last.origin, last.facts.validity.not_after), (Origin::Issued, end));
    for days in [20, 1, 0] {
        let kept = cluster.identity_at(&["10.0.0.36"], end - days * DAY).unwrap();
        assert_eq!((kept.origin, &kept.facts.serial), (Origin::Reused, &last.facts.serial), "{days} days");
    }
}

#[test]
fn keys_are_private_whatever_the_umask() {
    let mode = |path: &Path| format!("{:o}", mode(path));
    for umask in [0o000, 0o022] {
        let cluster = Cluster::new();
        // The umask is that of the process: the other tests here set the modes that they look at.
        let old = rustix::process::umask(rustix::fs::Mode::from_raw_mode(umask));
        let identity = cluster.identity();
        rustix::process::umask(old);
        identity.unwrap();
        let modes = [
            mode(&cluster.state()),
            mode(&cluster.state().join("identities")),
            mode(&cluster.state().join("identities/.lock")),
            mode(&cluster.kept("")),
            mode(&cluster.kept("key.pem")),
            mode(&cluster.kept("cert.pem")),
        ];
        assert_eq!(modes, ["700", "700", "600", "700", "600", "600"], "umask {umask:03o}");
        let mut files: Vec<_> = fs::read_dir(cluster.kept("")).unwrap().map(|file| file.unwrap().file_name()).collect();
        files.sort();
        assert_eq!(files, ["cert.pem", "key.pem"]);
    }
}

#[test]
fn several_at_once_issue_one() {
    let cluster = Cluster::new();
    let serials = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| cluster.identity().unwrap())).collect();
        threads.into_iter().map(|thread| thread.join().unwrap().facts.serial).collect::<Vec<_>>()
    });
    assert_eq!(serials, vec![serials[0].clone(); 8]);
}

#[test]
fn a_standing_identity_is_found_without_writing() {
    let cluster = Cluster::new();
    let standing = || cluster.with(cluster.now, |all| all.present(&request(&node(), &["10.0.0.36"]))).unwrap();
    assert_eq!(standing(), None);
    assert!(!cluster.state().exists());
    let issued = cluster.identity().unwrap();
    assert_eq!(standing(), Some(NodeIdentity { origin: Origin::Reused, ..issued }));
}
