//! What nodes share, done before them; at several hypervisors at the same time.

use std::fs::File;
use std::sync::{Mutex, PoisonError};

use super::{Apply, ApplyError, doing, what};
use crate::config::HypervisorName;
use crate::machine::upload_to_all;
use crate::parallel;
use crate::plan::{SharedAction, Upload};

/// What is to be done at one hypervisor.
#[derive(Clone, Copy)]
pub struct Share<'a> {
    /// Who does it.
    pub apply: &'a Apply<'a>,
    /// What the hypervisor is called, where there are several.
    pub name: Option<&'a HypervisorName>,
    /// What is done, in this order.
    pub actions: &'a [SharedAction],
}

impl Share<'_> {
    fn upload_of(&self, other: &Upload) -> Option<&Upload> {
        self.actions.iter().find_map(|action| match action {
            SharedAction::Upload(upload) if upload.spec == other.spec && upload.file == other.file => Some(upload),
            _ => None,
        })
    }
}

/// Does all of it. An image that several hypervisors lack is brought to all of these by one read of it. What fails at one is
/// the end of that one's alone; results are in their order.
pub fn share(all: &[Share]) -> Vec<Result<(), ApplyError>> {
    if let [only] = all {
        return vec![only.actions.iter().try_for_each(|action| only.apply.shared(action))];
    }
    let is_upload = |action: &&SharedAction| matches!(action, SharedAction::Upload(_));
    let rest = |share: &Share| {
        share.actions.iter().filter(|action| !is_upload(action)).try_for_each(|action| share.apply.shared(action))
    };
    let mut results: Vec<_> = parallel::map(all, all.len(), rest, |_| false).into_iter().flatten().collect();
    let mut done: Vec<&Upload> = Vec::new();
    for action in all.iter().flat_map(|share| share.actions) {
        let SharedAction::Upload(upload) = action else { continue };
        if !done.contains(&upload) && !done.iter().any(|other| other.spec == upload.spec && other.file == upload.file) {
            upload_to_those(upload, all, &mut results);
            done.push(upload);
        }
    }
    results
}

/// Uploads one image to all that lack it, and with which all has gone well so far.
fn upload_to_those(upload: &Upload, all: &[Share], results: &mut [Result<(), ApplyError>]) {
    let lacks = |at: &usize| results[*at].is_ok() && all[*at].upload_of(upload).is_some();
    let those: Vec<usize> = (0..all.len()).filter(lacks).collect();
    let file = match File::open(&upload.file) {
        Ok(file) => file,
        Err(source) => {
            // Each needs it: the first one's error tells of all.
            if let Some(first) = those.first() {
                results[*first] = Err(ApplyError::Open { path: upload.file.clone(), source });
            }
            return;
        }
    };
    let what = what(&upload.spec.name);
    let task = |at: &usize| {
        let name = all[*at].name.map(|name| format!(" to {name}")).unwrap_or_default();
        Mutex::new(all[*at].apply.progress.task(&format!("upload {what}{name}"), Some(upload.spec.size)))
    };
    let tasks: Vec<_> = those.iter().map(task).collect();
    let advance = |number: usize, bytes| tasks[number].lock().unwrap_or_else(PoisonError::into_inner).advance(bytes);
    let pools = those.iter().map(|at| all[*at].upload_of(upload).map_or("", |upload| upload.pool.as_str()));
    let targets: Vec<_> = those.iter().zip(pools).map(|(at, pool)| (all[*at].apply.hypervisor, pool)).collect();
    let uploaded = upload_to_all(&file, &upload.spec, &targets, &advance);
    for ((at, task), uploaded) in those.iter().zip(tasks).zip(uploaded) {
        let name = all[*at].name.map(|name| format!(" to {name}")).unwrap_or_default();
        match uploaded {
            Ok(_) => task.into_inner().unwrap_or_else(PoisonError::into_inner).done(),
            Err(error) => results[*at] = Err(doing(format!("uploading the {what}{name}"))(error)),
        }
    }
}
