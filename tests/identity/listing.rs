//! What there is, and how good it is: told without failing of what is of no use.

use std::fs;

use jiff::Timestamp;
use nodebake::identity::{Kind, Listed, Problem, State, write_private};
use nodebake::secret::Secret;

use crate::world::{
    CA_EXTENSIONS, Cluster, DAY, NODE_EXTENSIONS, NODE_SUBJECT, P256, SECOND, node, request, write_key,
};

fn list(cluster: &Cluster, now: Timestamp) -> Listed {
    cluster.with(now, |all| all.list_node(&request(&node(), &["10.0.0.36"]))).unwrap()
}

fn state(cluster: &Cluster, now: Timestamp) -> (Option<Kind>, State, Vec<Problem>) {
    let Listed { kind, state, problems, .. } = list(cluster, now);
    (kind, state, problems)
}

#[test]
fn an_issued_one_is_listed_through_its_life() {
    let cluster = Cluster::new();
    let none = Listed {
        name: "worker-node-1".to_owned(),
        kind: None,
        state: State::Missing,
        file: None,
        facts: None,
        problems: Vec::new(),
        requested: false,
    };
    assert_eq!(list(&cluster, cluster.now), none);
    cluster.with(cluster.now, |all| all.request(&request(&node(), &["10.0.0.36"]))).unwrap();
    assert_eq!(list(&cluster, cluster.now), Listed { requested: true, ..none.clone() });
    fs::remove_dir_all(cluster.state()).unwrap();
    assert_eq!(list(&cluster, cluster.now), none, "looking makes nothing");
    assert!(!cluster.state().exists());

    let facts = cluster.identity().unwrap().facts;
    assert_eq!(facts.names, ["worker-node-1", "10.0.0.36"]);
    assert_eq!(facts.issuer, "C=DE, O=Kubernetes, OU=CA, CN=Kubernetes CA");
    let (kind, file, end) = (Some(Kind::Issued), Some(cluster.kept("cert.pem")), facts.validity.not_after);
    let valid = Listed { kind, state: State::Valid, file, facts: Some(facts), ..none };
    assert_eq!(list(&cluster, cluster.now), valid);
    assert_eq!(state(&cluster, end - 30 * DAY), (kind, State::Valid, vec![]));
    let ending = (kind, State::EndsSoon, vec![Problem::EndsSoon(end)]);
    assert_eq!(state(&cluster, end - 30 * DAY + SECOND), ending);
    assert_eq!(state(&cluster, end + SECOND), (kind, State::Expired, vec![Problem::Expired(end)]));

    // Of no use any more, each in its way.
    let elsewhere = cluster.with(cluster.now, |all| all.list_node(&request(&node(), &["10.0.0.40"]))).unwrap();
    let address = "10.0.0.40".parse().unwrap();
    let moved = [Problem::MissingAddress(address), Problem::ForeignName("10.0.0.36".to_owned())];
    assert_eq!((elsewhere.state, &elsewhere.problems[..]), (State::Unfit, &moved[..]));
    cluster.ca_from(P256);
    assert_eq!(state(&cluster, cluster.now), (kind, State::Foreign, vec![Problem::BadSignature]));
    fs::remove_file(cluster.kept("key.pem")).unwrap();
    let gone = Problem::Damaged(format!("{} is missing", cluster.kept("key.pem").display()));
    assert_eq!(state(&cluster, cluster.now), (kind, State::Unfit, vec![gone]));
}

#[test]
fn one_that_was_brought_along_is_listed_whatever_it_is() {
    let cluster = Cluster::new();
    let kind = Some(Kind::BroughtAlong);
    cluster.provide("ca", NODE_SUBJECT, NODE_EXTENSIONS, &[]);
    let end = cluster.identity().unwrap().facts.validity.not_after;
    assert_eq!(state(&cluster, cluster.now), (kind, State::Valid, vec![]));
    assert_eq!(state(&cluster, end - DAY), (kind, State::EndsSoon, vec![]));
    assert_eq!(state(&cluster, end + SECOND), (kind, State::Expired, vec![Problem::Expired(end)]));
    cluster.key("other", P256);
    cluster.self_sign("other", "/CN=other", CA_EXTENSIONS);
    cluster.provide("other", NODE_SUBJECT, NODE_EXTENSIONS, &[]);
    let foreign = vec![Problem::ForeignIssuer("CN=other".to_owned())];
    assert_eq!(state(&cluster, cluster.now), (kind, State::Foreign, foreign));
    cluster.provide("ca", NODE_SUBJECT, &NODE_EXTENSIONS.replace("serverAuth,", ""), &[]);
    assert_eq!(state(&cluster, cluster.now), (kind, State::Unfit, vec![Problem::Usage("servers")]));
    let damaged = |text: String| (kind, State::Unfit, vec![Problem::Damaged(text)]);
    fs::remove_file(cluster.file("worker-node-1-key.pem")).unwrap();
    let missing = format!("{} is missing", cluster.file("worker-node-1-key.pem").display());
    assert_eq!(state(&cluster, cluster.now), damaged(missing));
    let folder = cluster.file("worker-node-1");
    fs::create_dir(&folder).unwrap();
    let empty = format!("{} holds neither cert.pem and key.pem nor tls.crt and tls.key", folder.display());
    assert_eq!(state(&cluster, cluster.now), damaged(empty));
}

#[test]
fn the_ca_is_listed_with_those_above_it() {
    let cluster = Cluster::empty();
    cluster.key("root", P256);
    cluster.self_sign("root", "/CN=root", CA_EXTENSIONS);
    cluster.sign("own", "root", "/CN=own", CA_EXTENSIONS, &[]);
    cluster.concatenate(&["own.pem", "root.pem"], "ca.pem");
    let listed = |now| cluster.with(now, |all| Ok(all.list_cas())).unwrap();
    let states = |now| listed(now).iter().map(|one| (one.name.clone(), one.kind, one.state)).collect::<Vec<_>>();
    let row = |name: &str, state| (name.to_owned(), Some(Kind::Ca), state);
    assert_eq!(states(cluster.now), [row("CN=own", State::Valid), row("CN=root", State::Valid)]);
    let end = cluster.ca().validity().not_after;
    assert_eq!(states(end - 89 * DAY), [row("CN=own", State::EndsSoon), row("CN=root", State::Valid)]);
    let facts = listed(cluster.now).remove(1).facts.unwrap();
    let serial = cluster.openssl(&["x509", "-in", "root.pem", "-noout", "-serial"]);
    assert_eq!((format!("serial={}\n", facts.serial.to_uppercase()), facts.issuer), (serial, "CN=root".to_owned()));
}

#[test]
fn the_administrator_is_listed_from_the_kubeconfig() {
    let cluster = Cluster::new();
    let path = cluster.file("admin.kubeconfig");
    let listed = |now| cluster.with(now, |all| all.list_administrator(&path)).unwrap();
    assert_eq!(listed(cluster.now), None);
    write_private(&path, &cluster.admin_kubeconfig(&"seed".parse().unwrap()).unwrap()).unwrap();
    let found = listed(cluster.now).unwrap();
    let facts = found.facts.clone().unwrap();
    let wanted = Listed {
        name: "kubernetes-admin".to_owned(),
        kind: Some(Kind::Administrator),
        state: State::Valid,
        file: Some(path.clone()),
        facts: found.facts.clone(),
        problems: Vec::new(),
        requested: false,
    };
    assert_eq!((found, &facts.names[..]), (wanted, &[][..]));
    let end = facts.validity.not_after;
    assert_eq!(listed(end - DAY).unwrap().state, State::EndsSoon);
    assert_eq!(listed(end + SECOND).unwrap().state, State::Expired);
    let text = fs::read_to_string(&path).unwrap();
    cluster.ca_from(P256);
    assert_eq!(listed(cluster.now).unwrap().state, State::Foreign);

    // In other forms, and in none.
    let user = |user: &str| {
        format!(
            "current-context: c\ncontexts: [{{name: c, context: {{cluster: x, user: me}}}}]\nusers: [{{name: me, user: {user}}}]\n"
        )
    };
    cluster.sign("me", "ca", "/O=system:masters/CN=me", "extendedKeyUsage=clientAuth\n", &[]);
    cluster.sign("server", "ca", "/CN=me", "extendedKeyUsage=serverAuth\n", &[]);
    let damaged = |what: &str| vec![Problem::Damaged(format!("{} {what}", path.display()))];
    let unreadable = "has a certificate that cannot be read";
    for (text, wanted) in [
        (user("{client-certificate: me.pem}"), Some((State::Valid, vec![]))),
        (user("{client-certificate: server.pem}"), Some((State::Unfit, vec![Problem::Usage("clients")]))),
        (user("{client-certificate: none.pem}"), Some((State::Unfit, damaged(unreadable)))),
        (user("{client-certificate-data: '!'}"), Some((State::Unfit, damaged(unreadable)))),
        (user("{client-certificate-data: YWJj}"), Some((State::Unfit, damaged(unreadable)))),
        (user("{token: secret}"), None),
        (user("{}"), None),
        (text.replace("users", "losers"), Some((State::Unfit, damaged("has no user for its current context")))),
        ("{}".to_owned(), Some((State::Unfit, damaged("has no user for its current context")))),
        ("{".to_owned(), Some((State::Unfit, damaged("is no kubeconfig")))),
    ] {
        write_private(&path, &Secret::new(text.as_str())).unwrap();
        assert_eq!(listed(cluster.now).map(|found| (found.state, found.problems)), wanted, "{text}");
    }
    write_key(&path, "");
    assert_eq!(listed(cluster.now).unwrap().state, State::Unfit);
}
