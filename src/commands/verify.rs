//! `nodebake verify`: whether what is built and runs is what would be built now.

use serde::Serialize;

use super::fleet::Fleet;
use super::{Inputs, Session};
use crate::artifacts::Source;
use crate::cli::Verify;
use crate::config::Node;
use crate::error::{Error, chain};
use crate::verify::{self, Check, Difference, Expected, Outcome};

pub(super) fn run(session: &Session, args: &Verify) -> Result<(), Error> {
    let nodes = session.select(&args.which)?;
    // Nothing is downloaded, whatever the cluster file says of mirrors.
    let source = Source::new(&[], false, None)?;
    let inputs =
        Inputs { lock: session.lock()?, ca: session.ca()?, store: session.store()?, source, time: super::time()? };
    let build = session.build(&inputs, &args.out.dir);
    let verify::Images { mut checks, expected } = verify::images(&build, &nodes)?;
    let (found, looked) = if args.images { (Vec::new(), Ok(())) } else { machines(session, &nodes, &expected) };
    let nothing_runs = !args.images && found.is_empty() && looked.is_ok();
    checks.extend(found);
    let document = Document { checks: checks.iter().map(Compared::of).collect() };
    session.show(args.report.output, &document, || table(&checks))?;
    if nothing_runs {
        session.ui.say("no machine of these nodes is there");
    }
    checks.retain(|check| matches!(check.outcome, Outcome::Differs(..)));
    if checks.is_empty() {
        return looked;
    }
    if let Err(error) = looked {
        session.ui.warn(&chain(&error));
    }
    Err(Error::Differs(checks))
}

/// Looks at the machines of every hypervisor that answers; whether all could be looked at.
fn machines(session: &Session, nodes: &[&Node], expected: &[Expected]) -> (Vec<Check>, Result<(), Error>) {
    let opened = Fleet::open(session).and_then(|fleet| Ok((fleet, session.cluster_id()?)));
    let (fleet, id) = match opened {
        Ok(opened) => opened,
        Err(error) => return (Vec::new(), Err(error)),
    };
    fleet.tell(session);
    let (mut checks, mut looked) = (Vec::new(), fleet.end(nodes));
    for member in &fleet.members {
        let here: Vec<_> = expected.iter().filter(|it| member.has(&it.node)).cloned().collect();
        match verify::machines(&*member.hypervisor, &id, &member.config.libvirt.pool, &here, session.ui) {
            Ok(found) => checks.extend(found.into_iter().map(|it| Check { place: it.place + &member.at(), ..it })),
            Err(error) => looked = looked.and(Err(error.into())),
        }
    }
    (checks, looked)
}

/// What was compared, as programs read it.
#[derive(Serialize)]
struct Document {
    checks: Vec<Compared>,
}

#[derive(Serialize)]
struct Compared {
    what: String,
    place: String,
    digest: Option<String>,
    /// same, absent, differs or unchecked.
    result: &'static str,
    /// Why it is none of the first.
    reason: Option<String>,
    /// What to do about it.
    fix: Option<String>,
}

impl Compared {
    fn of(check: &Check) -> Self {
        let (result, reason, fix) = match &check.outcome {
            Outcome::Same => ("same", None, None),
            Outcome::Differs(Difference::Absent, fix) => ("absent", Some(Difference::Absent.to_string()), Some(fix)),
            Outcome::Differs(difference, fix) => ("differs", Some(difference.to_string()), Some(fix)),
            Outcome::Unchecked(why) => ("unchecked", Some((*why).to_owned()), None),
        };
        let Check { what, place, digest, .. } = check.clone();
        Self { what, place, digest, result, reason, fix: fix.cloned() }
    }
}

fn table(checks: &[Check]) -> String {
    let head = ["WHAT", "WHERE", "DIGEST", "RESULT"].map(str::to_owned).to_vec();
    let rows = checks.iter().map(|check| {
        let result = match &check.outcome {
            Outcome::Same => "ok".to_owned(),
            Outcome::Differs(Difference::Absent, _) => Difference::Absent.to_string(),
            Outcome::Differs(..) => "differs".to_owned(),
            Outcome::Unchecked(why) => format!("not checked: {why}"),
        };
        let digest = check.digest.clone().unwrap_or_else(|| "-".to_owned());
        vec![check.what.clone(), check.place.clone(), digest, result]
    });
    super::table(&std::iter::once(head).chain(rows).collect::<Vec<_>>())
}
