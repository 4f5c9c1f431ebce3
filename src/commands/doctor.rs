//! `nodebake doctor`: what could keep nodes from coming up. Nothing is changed but with `--fix`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Serialize;

use super::fleet::{Fleet, cell, insert_hypervisors};
use super::{Inputs, Session};
use crate::build::BuildError;
use crate::cli::Doctor;
use crate::config::{Arch, Node};
use crate::doctor::{Case, Check, Files, Finding, Remedy, Runtime, Status, examine, mend, mend_files};
use crate::error::Error;
use crate::plan::{ByHand, Images};

/// Findings as programs read them.
#[derive(Serialize)]
struct Document<'a> {
    findings: &'a [Finding],
}

/// Shows the findings; says whether one stands in the way.
pub(super) fn run(session: &Session, args: &Doctor) -> Result<bool, Error> {
    let nodes = session.select(&args.which)?;
    let mut findings = look(session, &nodes, &args.out.dir);
    let mended = if args.fix { repair(session, &findings) } else { Ok(false) };
    // After a remedy that failed too, an earlier one may have changed what is there.
    if !matches!(mended, Ok(false)) {
        findings = look(session, &nodes, &args.out.dir);
    }
    session.show(args.report.output, &Document { findings: &findings }, || table(&findings))?;
    mended?;
    Ok(findings.iter().any(Finding::is_failure))
}

fn look(session: &Session, nodes: &[&Node], out: &Path) -> Vec<Finding> {
    let id = session.cluster_id().ok();
    let case = Case { config: &session.config, nodes, id: id.as_ref(), now: session.now, by_hand: ByHand::InTheWay };
    let ca = session.load_ca();
    let foreseen = foreseen(session, nodes, out);
    let (images, trouble) = match foreseen {
        Some(Ok(images)) => (Some(images), None),
        Some(Err(error)) => (None, Some(error)),
        None => (None, None),
    };
    // A source that cannot be had is told of elsewhere; offline nothing is downloaded.
    let source = if session.cli.offline { None } else { session.source().ok() };
    let runtime = Runtime::look(&session.config, source.as_ref());
    let mut findings = examine(case, &Files { lock: session.lock(), ca, store: session.store(), out, images, runtime });
    if let Some(error) = trouble {
        findings.push(Finding::of_error(Check::Output, &error, error.hint()));
        findings.sort_by_key(|finding| finding.check);
    }
    findings
}

/// What the nodes' images would be, as far as they are built; none where lock or CA are of no use, which is told elsewhere.
fn foreseen(session: &Session, nodes: &[&Node], out: &Path) -> Option<Result<BTreeMap<Arch, Option<Images>>, Error>> {
    let inputs = Inputs {
        lock: session.lock().ok()?,
        ca: session.load_ca().ok()?,
        store: session.store().ok()?,
        source: match session.source() {
            Ok(source) => source,
            Err(error) => return Some(Err(error)),
        },
        time: match super::time() {
            Ok(time) => time,
            Err(error) => return Some(Err(error)),
        },
    };
    let build = session.build(&inputs, out);
    let architectures: BTreeSet<Arch> = nodes.iter().map(|node| node.arch).collect();
    let images = architectures.into_iter().map(|arch| {
        let images = build.foresee_images(arch)?.map(|(_, images)| images);
        Ok((arch, images))
    });
    Some(images.collect::<Result<_, BuildError>>().map_err(Error::from))
}

/// Says whether anything was mended.
fn repair(session: &Session, findings: &[Finding]) -> Result<bool, Error> {
    let remedies: Vec<_> = findings.iter().filter_map(|finding| finding.remedy.as_ref()).collect();
    if remedies.is_empty() {
        return Ok(false);
    }
    let _held = session.hold()?;
    let mut say = |text: &str| session.ui.say(text);
    let mended = mend_files(findings, &mut say)?;
    if remedies.iter().all(|remedy| matches!(remedy, Remedy::Private(_))) {
        return Ok(mended);
    }
    let fleet = Fleet::open(session)?;
    let mut any = mended;
    for member in &fleet.members {
        let name = member.name.as_ref();
        let here: Vec<_> = findings.iter().filter(|it| it.hypervisor.as_ref() == name).cloned().collect();
        any |= mend(&*member.hypervisor, &here, &mut say)?;
    }
    Ok(any)
}

/// A line for each finding, and one for what mends it.
fn table(findings: &[Finding]) -> String {
    let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
    let (mut rows, mut places) = (vec![row(["CHECK", "STATUS", "FOUND"])], Vec::new());
    for finding in findings {
        rows.push(row([&finding.check.to_string(), &finding.status.to_string(), &finding.found]));
        places.push(cell(finding.hypervisor.as_ref()));
        if let Some(fix) = &finding.fix {
            rows.push(row(["", "", &format!("fix: {fix}")]));
            places.push(String::new());
        }
    }
    if findings.iter().any(|finding| finding.hypervisor.is_some()) {
        insert_hypervisors(&mut rows, 1, places.into_iter());
    }
    super::table(&rows)
}

/// Says the warnings; fails with all failures.
pub(super) fn settle(session: &Session, findings: Vec<Finding>) -> Result<(), Error> {
    let (failures, warnings): (Vec<_>, Vec<_>) = findings.into_iter().partition(Finding::is_failure);
    for warning in warnings.iter().filter(|finding| finding.status == Status::Warning) {
        session.ui.warn(&warning.told());
    }
    if failures.is_empty() { Ok(()) } else { Err(Error::Unfit(failures)) }
}
