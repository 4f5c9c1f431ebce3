//! Another identity before its time, and none for those whose kubelets see to it themselves.

use std::fs;

use nodebake::identity::{IdentityError, NodeIdentity, NodeRequest, Origin, Problem};

use crate::world::{Cluster, DAY, NODE_EXTENSIONS, NODE_SUBJECT, SECOND, node, request, told};

#[test]
fn a_certificate_lasts_as_long_as_is_said() {
    for days in [365, 90, 30, 3] {
        let mut cluster = Cluster::new();
        cluster.lifetime = days * DAY;
        let first = cluster.identity().unwrap();
        let validity = first.facts.validity;
        let now = jiff::Timestamp::from_second(cluster.now.as_second()).unwrap();
        assert_eq!(validity.not_after, now + days * DAY);
        // It is an hour longer than that: it begins before now.
        let third = validity.not_before.duration_until(validity.not_after) / 3;
        let last = validity.not_after - third.min(30 * DAY);
        let at = |time| cluster.identity_at(&["10.0.0.36"], time).unwrap();
        assert_eq!(at(last).origin, Origin::Reused, "{days}");
        let next = at(last + SECOND);
        assert_eq!(
            (next.origin, next.replaced),
            (Origin::Issued, vec![Problem::EndsSoon(validity.not_after)]),
            "{days}"
        );
    }
}

fn renew(cluster: &Cluster) -> Result<NodeIdentity, IdentityError> {
    cluster.with(cluster.now, |all| all.renew(&request(&node(), &["10.0.0.36"])))
}

#[test]
fn what_is_renewed_is_another_pair_of_the_same_node() {
    let cluster = Cluster::new();
    let first = cluster.identity().unwrap();
    let second = renew(&cluster).unwrap();
    assert_eq!((second.origin, &second.replaced[..]), (Origin::Issued, &[][..]));
    assert!(first.facts.serial != second.facts.serial && first.key_pem != second.key_pem);
    assert_eq!(first.facts.names, second.facts.names);
    assert_eq!(cluster.identity().unwrap(), NodeIdentity { origin: Origin::Reused, ..second });
    // One that there was not yet is issued like any other.
    fs::remove_dir_all(cluster.state()).unwrap();
    assert_eq!(renew(&cluster).unwrap().origin, Origin::Issued);
    fs::remove_file(cluster.file("ca-key.pem")).unwrap();
    let error = renew(&cluster).unwrap_err();
    let wanted = format!(
        "there is no certificate for worker-node-1, and no {} to issue one",
        cluster.file("ca-key.pem").display()
    );
    assert_eq!(error.to_string(), wanted);
}

#[test]
fn what_was_brought_along_is_not_renewed() {
    let cluster = Cluster::new();
    cluster.provide("ca", NODE_SUBJECT, NODE_EXTENSIONS, &[]);
    let wanted = format!(
        "the certificate of worker-node-1 was not issued by nodebake: {}\n\
         hint: have another one signed where it came from (`nodebake identity csr worker-node-1`), or remove it and its key",
        cluster.file("worker-node-1.pem").display()
    );
    assert_eq!(told(&renew(&cluster).unwrap_err()), wanted);
    assert!(!cluster.state().exists());
}

#[test]
fn one_that_the_kubelet_rotates_counts_at_a_first_boot_alone() {
    let cluster = Cluster::new();
    let at = |time, rotates| {
        let node = node();
        let request = NodeRequest { rotates, ..request(&node, &["10.0.0.36"]) };
        cluster.with(time, |all| all.of(&request))
    };
    let first = at(cluster.now, true).unwrap();
    let end = first.facts.validity.not_after;
    for later in [end - DAY, end, end + SECOND, end + 365 * DAY] {
        let kept = at(later, true).unwrap();
        assert_eq!(kept, NodeIdentity { origin: Origin::Reused, ..first.clone() }, "{later}");
    }
    // Whatever else is wrong with it counts.
    let node = node();
    let elsewhere = NodeRequest { rotates: true, ..request(&node, &["10.0.0.40"]) };
    let moved = cluster.with(end + SECOND, |all| all.present(&elsewhere)).unwrap();
    assert_eq!(moved, None);
    // For a machine that is made now it must be good.
    let anew = at(end + SECOND, false).unwrap();
    assert_eq!((anew.origin, &anew.replaced[..]), (Origin::Issued, &[Problem::Expired(end)][..]));
    assert_eq!(at(end + SECOND, true).unwrap().facts, anew.facts);

    // So with one that was brought along.
    cluster.provide("ca", NODE_SUBJECT, NODE_EXTENSIONS, &[]);
    let brought = at(cluster.now, true).unwrap();
    let end = brought.facts.validity.not_after;
    assert_eq!(at(end + SECOND, true).unwrap(), brought);
    match at(end + SECOND, false) {
        Err(IdentityError::Unfit { problems, .. }) => assert_eq!(problems, [Problem::Expired(end)]),
        other => unreachable!("{other:?}"),
    }
}
