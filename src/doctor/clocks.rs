//! The clocks of several hosts. libvirt has no call that tells the time, but the times of files are by it: one that is
//! written while we look tells the host's clock to a second or two, and any other one how late it is there at least.

use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::between::Place;
use super::finding::{Check, Finding, listed};
use crate::config::{Node, NodeName};
use crate::error::chain;
use crate::machine::Hypervisor;
use crate::plan::Inventory;

/// Clocks may differ by so many seconds: an issued certificate is backdated by more, and a lease lasts about as long.
pub(super) const APART: i64 = 60;
/// How long we look for a file that is being written. A node that runs writes its journal every few seconds.
const LOOK: Duration = Duration::from_secs(10);
/// Between two looks.
const PAUSE: Duration = Duration::from_secs(1);

/// What files tell of a host's clock, in whole seconds since the epoch: `written` by that clock, the others by ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Clock {
    /// A file was written between these times.
    Read { written: i64, from: i64, to: i64 },
    /// None was; the youngest one that was there by then.
    AtLeast { written: i64, to: i64 },
    /// There is nothing to see, and why.
    Unseen(String),
}

impl Clock {
    /// Looks at the files of the pool, for as long as one may be written: while a machine runs there, and not for
    /// longer than [`LOOK`] after `begin`.
    pub(super) fn ask(hypervisor: &dyn Hypervisor, inventory: &Inventory, begin: Instant) -> Self {
        let Some(pool) = inventory.pool.as_ref().filter(|pool| pool.active) else {
            return Self::Unseen("there is no active pool yet".to_owned());
        };
        // What others keep has the times of their clock.
        if !matches!(pool.kind.as_str(), "dir" | "fs") {
            return Self::Unseen(format!("storage pool {} is not on a disk of the host", pool.name));
        }
        let runs = inventory.domains.iter().any(|domain| domain.mark().is_some() && domain.state.is_active());
        let look = || hypervisor.written(&pool.name);
        let now = || Timestamp::now().as_second();
        let mut from = now();
        let mut before = match look() {
            Ok(before) => before,
            Err(error) => return Self::Unseen(chain(&error)),
        };
        while runs && begin.elapsed() + PAUSE < LOOK {
            sleep(PAUSE);
            let next = now();
            // A job of somebody's may have begun in the pool.
            let Ok(after) = look() else { break };
            if let Some(written) = changed(&before, &after) {
                return Self::Read { written: written.as_second(), from, to: now() };
            }
            (before, from) = (after, next);
        }
        match before.values().max() {
            Some(written) => Self::AtLeast { written: written.as_second(), to: now() },
            None => Self::Unseen(format!("storage pool {} has no files yet", pool.name)),
        }
    }

    /// By how many seconds the clock is ahead of ours, at least and at most, as far as it is known.
    fn ahead(&self) -> (Option<i64>, Option<i64>) {
        // Each of these seconds may be at its beginning or its end.
        match self {
            Self::Read { written, from, to } => (Some(written - to - 1), Some(written - from + 1)),
            Self::AtLeast { written, to } => (Some(written - to - 1), None),
            Self::Unseen(_) => (None, None),
        }
    }
}

/// When a file was written that was there before, if one was.
fn changed(before: &BTreeMap<String, Timestamp>, after: &BTreeMap<String, Timestamp>) -> Option<Timestamp> {
    let newer = after.iter().filter(|(name, time)| before.get(*name).is_some_and(|old| old < *time));
    newer.map(|(_, time)| *time).max()
}

/// Whether the hosts' clocks are near to the one here, as far as it can be seen. `now` in seconds since the epoch.
pub(super) fn host_clocks(places: &[Place], now: i64) -> Vec<Finding> {
    let mut findings: Vec<_> = places.iter().filter_map(|place| wrong(place, now)).collect();
    let is_near = |place: &&Place| match place.seen.clock.ahead() {
        (Some(least), Some(most)) => least <= APART && most >= -APART,
        _ => false,
    };
    let (near, others): (Vec<_>, Vec<_>) = places.iter().partition(is_near);
    let unknown = others.into_iter().filter(|place| wrong(place, now).is_none());
    let unknown: Vec<_> = unknown.map(|place| format!("{} ({})", place.name, why_unknown(&place.seen.clock))).collect();
    if !unknown.is_empty() {
        let why = format!("libvirt does not tell the time, and nothing shows that of {}", listed(unknown));
        findings.push(Finding::skipped(Check::HostClocks, why));
    } else if findings.is_empty() {
        let names = listed(near.iter().map(|place| place.name));
        let found = format!("a file written just now at each of {names} has a time within {APART} s of the clock here");
        findings.push(Finding::ok(Check::HostClocks, found));
    }
    findings
}

fn why_unknown(clock: &Clock) -> String {
    match clock {
        Clock::Unseen(why) => why.clone(),
        Clock::Read { .. } | Clock::AtLeast { .. } => "no file of its pool was written while we looked".to_owned(),
    }
}

/// A clock that is shown to be wrong: by a file, or by a node, which has its clock from the host when it boots.
fn wrong(place: &Place, now: i64) -> Option<Finding> {
    const SET: &str = "set the clocks, there and here: timedatectl set-ntp true";
    let name = place.name;
    let warning = |found: String| Finding::warning(Check::HostClocks, found, SET);
    match place.seen.clock.ahead() {
        (Some(least), _) if least > APART => Some(warning(format!(
            "a file at {name} was written {least} s from now: its clock is ahead of the one here"
        ))),
        (_, Some(most)) if most < -APART => {
            let behind = -most;
            Some(warning(format!(
                "a file written just now at {name} is {behind} s old: its clock is behind the one here"
            )))
        }
        _ => {
            let (node, ahead) = place.config.nodes.iter().find_map(|node| ahead(place, node, now))?;
            Some(warning(format!(
                "the lease of {node} at {name} was renewed {ahead} s from now: the clock of the node, which has it \
                 from its host at boot, is ahead of the one here"
            )))
        }
    }
}

/// A node that runs at a place and whose lease is from the future, and by how many seconds.
fn ahead<'a>(place: &Place, node: &'a Node, now: i64) -> Option<(&'a NodeName, i64)> {
    let renewed = place.running(node)?.lease_renewed?;
    let ahead = renewed - now;
    (ahead > APART).then_some((&node.name, ahead))
}
