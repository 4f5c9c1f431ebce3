//! Machines off, as their power button does it.

use std::time::{Duration, Instant};

use super::boot::{Boot, POLL};
use super::{Apply, ApplyError, doing};
use crate::config::NodeName;
use crate::plan::log_pool;

/// The power button is pressed again after so long: a guest that has just begun to boot does not hear it.
const PRESS_AGAIN: Duration = Duration::from_secs(20);

/// So long after that a guest that heard it may go off: until then it is not known what becomes of the machine. Shorter than
/// a run may take to end, by what is to be done then.
const HEARD: Duration = Duration::from_secs(12);

impl Apply<'_> {
    /// Presses the power button (ACPI) of a node's machine and waits until it is off; where it is not, once nothing was
    /// heard of it for as long as the patience lasts, `force` pulls the plug. Says whether it ran.
    pub fn stop(&self, node: &NodeName, pool: &str, force: bool) -> Result<bool, ApplyError> {
        self.press(node, self.id.uuid(node), Some(&log_pool(pool)), force)
    }

    /// The same for any domain that is a node's machine; one that was made by hand writes no logs of ours.
    pub(super) fn press(
        &self,
        node: &NodeName,
        uuid: uuid::Uuid,
        logs: Option<&str>,
        force: bool,
    ) -> Result<bool, ApplyError> {
        if !self.is_on(node, uuid)? {
            return Ok(false);
        }
        let name = node.to_string();
        self.progress.note(&name, "stopping its machine");
        let mut boot = Boot::new();
        if let Some(pool) = logs {
            self.catch_up(pool, node, &mut boot);
        }
        let mut pressed: Option<Instant> = None;
        while self.is_on(node, uuid)? {
            let past = |limit| pressed.is_none_or(|pressed| pressed.elapsed() > limit);
            if past(HEARD) {
                self.go_on(node)?;
            }
            if past(PRESS_AGAIN) {
                self.hypervisor.shutdown(uuid).map_err(doing(format!("stopping the machine of {node}")))?;
                pressed = Some(Instant::now());
                continue;
            }
            if let Some(pool) = logs {
                self.hear(pool, node, &mut boot);
            }
            if boot.is_silent(self.patience) && self.is_on(node, uuid)? {
                if !force {
                    return Err(ApplyError::StillRuns { node: node.clone(), seconds: self.patience.stall.as_secs() });
                }
                self.progress.note(&name, "does not go off: pulling the plug");
                self.hypervisor.destroy(uuid).map_err(doing(format!("stopping the machine of {node}")))?;
                break;
            }
            std::thread::sleep(POLL);
        }
        self.progress.note(&name, "off");
        Ok(true)
    }

    fn is_on(&self, node: &NodeName, uuid: uuid::Uuid) -> Result<bool, ApplyError> {
        let domain = self.hypervisor.domain(uuid).map_err(doing(format!("looking at the machine of {node}")))?;
        Ok(domain.is_some_and(|domain| domain.state.is_active()))
    }
}
