//! `nodebake verify`: whether what is built and runs is what would be built now.

use super::fleet::Fleet;
use super::{Inputs, Session};
use crate::artifacts::Source;
use crate::cli::Verify;
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
    let machines = if args.images { Ok(Vec::new()) } else { machines(session, &expected) };
    let nothing_runs = !args.images && machines.as_ref().is_ok_and(Vec::is_empty);
    let failed = machines.map(|found| checks.extend(found)).err();
    session.ui.data(&table(&checks));
    if nothing_runs {
        session.ui.say("no machine of these nodes is there");
    }
    checks.retain(|check| matches!(check.outcome, Outcome::Differs(..)));
    match failed {
        None if checks.is_empty() => Ok(()),
        Some(error) if checks.is_empty() => Err(error),
        failed => {
            if let Some(error) = failed {
                session.ui.say(&format!("warning: {}", chain(&error)));
            }
            Err(Error::Differs(checks))
        }
    }
}

fn machines(session: &Session, expected: &[Expected]) -> Result<Vec<Check>, Error> {
    let fleet = Fleet::open(session)?;
    fleet.tell(session);
    let id = session.cluster_id()?;
    let mut checks = Vec::new();
    for member in &fleet.members {
        let here: Vec<_> = expected.iter().filter(|it| member.has(&it.node)).cloned().collect();
        let found = verify::machines(&*member.hypervisor, &id, &member.config.libvirt.pool, &here, session.ui)?;
        checks
            .extend(found.into_iter().map(|check| Check { place: format!("{}{}", check.place, member.at()), ..check }));
    }
    Ok(checks)
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
