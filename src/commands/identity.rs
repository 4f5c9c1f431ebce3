//! `nodebake identity`: certificates and keys through their whole life.

use jiff::Timestamp;
use serde::Serialize;

use super::Session;
use crate::build::make_output_folder;
use crate::cli::{Identity, IdentityCsr, IdentityImport, IdentityList, IdentityRenew, IdentityVerb, StatusFormat};
use crate::config::{Node, Rotation};
use crate::error::Error;
use crate::identity::{Facts, Identities, Kind, Listed, NodeRequest, State, rotation_note};
use crate::printable;
use crate::whole_file;

/// Does what is asked; says whether a certificate is near its end.
pub(super) fn run(session: &Session, args: &Identity) -> Result<bool, Error> {
    match &args.verb {
        IdentityVerb::List(args) => return list(session, args),
        IdentityVerb::Csr(args) => csr(session, args)?,
        IdentityVerb::Import(args) => import(session, args)?,
        IdentityVerb::Renew(args) => renew(session, args)?,
    }
    Ok(false)
}

fn csr(session: &Session, args: &IdentityCsr) -> Result<(), Error> {
    let nodes = session.select(&args.which)?;
    let ca = session.ca()?;
    let identities = session.identities(&ca);
    make_output_folder(&args.out)?;
    let mut requests = Vec::new();
    for node in nodes {
        let requested = identities.request(&NodeRequest::of(node))?;
        let path = args.out.join(format!("{}.csr", node.name));
        whole_file::write(&path, requested.request_pem.as_bytes(), 0o644).map_err(|source| Error::File {
            action: "writing",
            path: path.clone(),
            source,
        })?;
        let (name, path, key) = (&node.name, path.display(), requested.key.display());
        let then = format!("`nodebake identity import {name} FILE` takes in what is signed");
        session.ui.say_of(name, &format!("wrote {path}; its key stays in {key}, and {then}"));
        requests.push(Asked { node: name.to_string(), file: path.to_string(), key: key.to_string() });
    }
    session.show(args.report.output, &Requests { requests }, String::new)
}

fn import(session: &Session, args: &IdentityImport) -> Result<(), Error> {
    let ca = session.ca()?;
    let mut certificates = Vec::new();
    for node in session.nodes(std::slice::from_ref(&args.node))? {
        // Whatever its kubelet does later, it begins with this one.
        let request = NodeRequest { rotates: false, ..NodeRequest::of(node) };
        let imported = session.identities(&ca).import(&request, &args.file, args.replace)?;
        let (end, file) = (imported.facts.validity.not_after, imported.certificate.display());
        session.ui.say_of(&node.name, &format!("took in its certificate, valid until {end}: {file}"));
        certificates.push(Taken::of(node, &imported.facts));
    }
    session.show(args.report.output, &Certificates { certificates }, String::new)
}

fn renew(session: &Session, args: &IdentityRenew) -> Result<(), Error> {
    let nodes = session.select(&args.which)?;
    let ca = session.ca()?;
    let identities = session.identities(&ca);
    // All or none.
    for node in &nodes {
        identities.renewable(&NodeRequest::of(node))?;
    }
    let mut certificates = Vec::new();
    for node in nodes {
        let renewed = identities.renew(&NodeRequest::of(node))?;
        let (name, end) = (&node.name, renewed.facts.validity.not_after);
        let then = format!("`nodebake rebuild {name}` brings it to the machine");
        session.ui.say_of(name, &format!("issued another certificate, valid until {end}; {then}"));
        certificates.push(Taken::of(node, &renewed.facts));
    }
    session.show(args.report.output, &Certificates { certificates }, String::new)
}

/// What is to be signed elsewhere, as programs read it.
#[derive(Serialize)]
struct Requests {
    requests: Vec<Asked>,
}

#[derive(Serialize)]
struct Asked {
    node: String,
    /// The request.
    file: String,
    /// Where the key is, which stays here.
    key: String,
}

/// What was taken in or issued, as programs read it.
#[derive(Serialize)]
struct Certificates {
    certificates: Vec<Taken>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Taken {
    node: String,
    serial: String,
    not_after: String,
}

impl Taken {
    fn of(node: &Node, facts: &Facts) -> Self {
        let (serial, not_after) = (facts.serial.clone(), facts.validity.not_after.to_string());
        Self { node: node.name.to_string(), serial, not_after }
    }
}

/// What there is, as programs read it.
#[derive(Serialize)]
struct Document {
    identities: Vec<Entry>,
}

/// One certificate, or where one should be. docs/identity.md tells what each field means, and is a promise.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    name: String,
    kind: Option<String>,
    state: String,
    serial: Option<String>,
    names: Vec<String>,
    issuer: Option<String>,
    not_before: Option<String>,
    not_after: Option<String>,
    days_left: Option<i64>,
    rotates: Vec<&'static str>,
    requested: bool,
    file: Option<String>,
    problems: Vec<String>,
}

impl Entry {
    fn of(listed: &Listed, rotation: Rotation, now: Timestamp) -> Self {
        let facts = listed.facts.as_ref();
        let rotates = [(rotation.client, "client"), (rotation.server, "server")];
        Self {
            name: listed.name.clone(),
            kind: listed.kind.map(|kind| kind.to_string()),
            state: listed.state.to_string(),
            serial: facts.map(|facts| facts.serial.clone()),
            names: facts.map(|facts| facts.names.clone()).unwrap_or_default(),
            issuer: facts.map(|facts| facts.issuer.clone()),
            not_before: facts.map(|facts| facts.validity.not_before.to_string()),
            not_after: facts.map(|facts| facts.validity.not_after.to_string()),
            days_left: facts.map(|facts| days(now, facts.validity.not_after)),
            rotates: rotates.into_iter().filter(|(does, _)| *does).map(|(_, what)| what).collect(),
            requested: listed.requested,
            file: listed.file.as_ref().map(|file| file.display().to_string()),
            problems: listed.problems.iter().map(ToString::to_string).collect(),
        }
    }

    fn row(&self, wide: bool) -> Vec<String> {
        let or_dash = |cell: Option<&String>| cell.cloned().unwrap_or_else(|| "-".to_owned());
        let list = |words: Vec<String>| if words.is_empty() { "-".to_owned() } else { words.join(", ") };
        let mut row = vec![
            self.name.clone(),
            or_dash(self.kind.as_ref()),
            self.state.clone(),
            or_dash(self.days_left.map(|days| days.to_string()).as_ref()),
            or_dash(self.not_after.as_ref()),
            or_dash(self.serial.as_ref()),
        ];
        if wide {
            row.extend([
                list(self.names.clone()),
                or_dash(self.issuer.as_ref()),
                or_dash(self.not_before.as_ref()),
                list(self.rotates.iter().map(ToString::to_string).collect()),
                or_dash(self.file.as_ref()),
            ]);
        }
        // Names in certificates and kubeconfigs of others may hold any character.
        row.iter().map(|cell| printable::line(cell)).collect()
    }
}

/// Whole days from now to then; what is past is negative, from its first moment on.
fn days(now: Timestamp, then: Timestamp) -> i64 {
    const DAY: i128 = 24 * 60 * 60 * 1_000_000_000;
    i64::try_from(now.duration_until(then).as_nanos().div_euclid(DAY)).unwrap_or_default()
}

/// Shows what there is; says whether time runs out for any of it.
fn list(session: &Session, args: &IdentityList) -> Result<bool, Error> {
    let nodes = session.select(&args.which)?;
    let ca = session.ca()?;
    let found = find(session, &session.identities(&ca), &nodes, args.which.is_all())?;
    let entries = found.iter().map(|(listed, rotation)| Entry::of(listed, *rotation, session.now)).collect();
    let document = Document { identities: entries };
    let wide = args.output == StatusFormat::Wide;
    session.show(args.output.into(), &document, || table(&document.identities, wide))?;
    for (listed, rotation) in &found {
        for remark in remarks(listed, *rotation) {
            match remark {
                Remark::Note(text) => session.ui.say(&text),
                Remark::Warning(text) => session.ui.warn(&text),
            }
        }
    }
    Ok(found.iter().any(|(listed, rotation)| listed.state.is_ending() && !rotation.is_whole()))
}

/// The nodes' identities, and those of all if all are asked for.
fn find(
    session: &Session,
    identities: &Identities,
    nodes: &[&Node],
    all: bool,
) -> Result<Vec<(Listed, Rotation)>, Error> {
    let mut found = Vec::new();
    for node in nodes {
        found.push((identities.list_node(&NodeRequest::of(node))?, node.settings.rotation()));
    }
    if all {
        let administrator = identities.list_administrator(&session.kubeconfig())?;
        let others = administrator.into_iter().chain(identities.list_cas());
        found.extend(others.map(|listed| (listed, Rotation::default())));
    }
    Ok(found)
}

fn table(entries: &[Entry], wide: bool) -> String {
    let mut head = vec!["NAME", "KIND", "STATE", "DAYS", "ENDS", "SERIAL"];
    if wide {
        head.extend(["NAMES", "ISSUER", "BEGINS", "ROTATES", "FILE"]);
    }
    let head = head.into_iter().map(String::from).collect();
    super::table(&std::iter::once(head).chain(entries.iter().map(|entry| entry.row(wide))).collect::<Vec<_>>())
}

/// What is to be said of one.
#[derive(Debug)]
enum Remark {
    Note(String),
    Warning(String),
}

fn remarks(listed: &Listed, rotation: Rotation) -> Vec<Remark> {
    let name = &printable::line(&listed.name);
    let mut remarks = Vec::new();
    if let (true, Some(facts)) = (listed.state.is_ending(), &listed.facts) {
        let end = facts.validity.not_after;
        let verb = if listed.state == State::Expired { "expired" } else { "ends soon," };
        let whose = if listed.kind == Some(Kind::Ca) { "the CA" } else { "the certificate of" };
        let note = rotation_note(rotation);
        let note = if note.is_empty() { String::new() } else { format!("; {note}") };
        let remedy = if rotation.is_whole() { String::new() } else { format!("; {}", remedy(listed)) };
        let text = format!("{whose} {name} {verb} at {end}{note}{remedy}");
        remarks.push(if rotation.is_whole() { Remark::Note(text) } else { Remark::Warning(text) });
    } else if !listed.problems.is_empty() {
        let problems: Vec<_> = listed.problems.iter().map(ToString::to_string).collect();
        remarks.push(Remark::Warning(format!("the certificate of {name} is of no use: {}", problems.join("; "))));
    }
    if listed.requested {
        let then = format!("`nodebake identity import {name} FILE` takes in what is signed");
        remarks.push(Remark::Note(format!("{name}: a request is out; {then}")));
    }
    remarks
}

/// How another certificate comes in its place.
fn remedy(listed: &Listed) -> String {
    let name = &listed.name;
    match listed.kind {
        Some(Kind::Ca) => "replace it in time (kubernetes.io: manual rotation of CA certificates)".to_owned(),
        Some(Kind::Administrator) => "`nodebake kubeconfig` writes another".to_owned(),
        Some(Kind::BroughtAlong) => {
            format!(
                "`nodebake identity csr {name}` asks for another, `nodebake rebuild {name}` brings it to the machine"
            )
        }
        Some(Kind::Issued) | None => format!("`nodebake rebuild {name}` gives its machine another"),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::identity::Validity;

    #[test]
    fn names_of_others_are_one_line_each() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let forged = "a\nworker-node-2   issued\u{1b}[2J".to_owned();
        let listed = Listed {
            name: forged.clone(),
            kind: Some(Kind::Administrator),
            state: State::Expired,
            file: None,
            facts: Some(Facts {
                serial: "01".to_owned(),
                names: vec![forged.clone()],
                issuer: forged.clone(),
                validity: Validity { not_before: now, not_after: now },
            }),
            problems: Vec::new(),
            requested: true,
        };
        let row = Entry::of(&listed, Rotation::default(), now).row(true);
        let shown = "a\\nworker-node-2   issued\\u{1b}[2J";
        assert_eq!([&row[0], &row[6], &row[7]], [shown; 3]);
        let remarks = remarks(&listed, Rotation::default());
        let one_line =
            |remark: &Remark| matches!(remark, Remark::Note(text) | Remark::Warning(text) if text.contains(shown));
        assert!(remarks.len() == 2 && remarks.iter().all(one_line), "{remarks:?}");
    }

    #[test]
    fn days_are_whole_ones() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let (day, moment) = (SignedDuration::from_hours(24), SignedDuration::from_nanos(1));
        for (left, wanted) in [
            (2 * day, 2),
            (2 * day - moment, 1),
            (day - moment, 0),
            (SignedDuration::ZERO, 0),
            (-moment, -1),
            (-day, -1),
            (-day - moment, -2),
        ] {
            assert_eq!(days(now, now + left), wanted, "{left}");
        }
    }
}
