//! What nodes share, done before them; at several hypervisors at the same time.

use std::io;
use std::sync::{Mutex, PoisonError};

use super::{Apply, ApplyError, doing, open, what};
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

impl<'a> Share<'a> {
    fn uploads(&self) -> impl Iterator<Item = &'a Upload> {
        self.actions.iter().filter_map(|action| match action {
            SharedAction::Upload(upload) => Some(upload),
            _ => None,
        })
    }

    /// An image, and where it goes.
    fn words(&self, upload: &Upload) -> String {
        let to = self.name.map(|name| format!(" to {name}")).unwrap_or_default();
        format!("{}{to}", what(&upload.spec.name))
    }
}

/// Does all of it. An image that several hypervisors lack is brought to all of these by one read of it. What fails at one is
/// the end of that one's alone; results are in their order.
pub fn share(all: &[Share]) -> Vec<Result<(), ApplyError>> {
    if let [only] = all {
        return vec![only.actions.iter().try_for_each(|action| only.apply.shared(action))];
    }
    let rest = |share: &Share| {
        let rest = share.actions.iter().filter(|action| !matches!(action, SharedAction::Upload(_)));
        rest.into_iter().try_for_each(|action| share.apply.shared(action))
    };
    let mut results: Vec<_> = parallel::map(all, all.len(), rest, |_| false).into_iter().flatten().collect();
    let mut done: Vec<&Upload> = Vec::new();
    for upload in all.iter().flat_map(Share::uploads) {
        if !done.iter().any(|other| is_same(other, upload)) {
            upload_to_those(upload, all, &mut results);
            done.push(upload);
        }
    }
    results
}

/// Whether two uploads are of one image, to whichever pools.
fn is_same(one: &Upload, other: &Upload) -> bool {
    one.spec == other.spec && one.file == other.file
}

/// Uploads one image to all that lack it, and with which all has gone well so far.
fn upload_to_those(image: &Upload, all: &[Share], results: &mut [Result<(), ApplyError>]) {
    let lacks = |at: usize| all[at].uploads().find(|upload| is_same(upload, image)).filter(|_| results[at].is_ok());
    let those: Vec<_> = (0..all.len()).filter_map(|at| Some((at, lacks(at)?.pool.as_str()))).collect();
    let Some((first, _)) = those.first() else { return };
    let progress = all[*first].apply.progress;
    if progress.is_ending() {
        for (at, _) in those {
            results[at] = Err(ApplyError::Interrupted { node: None });
        }
        return;
    }
    let file = match open(image, progress) {
        Ok(file) => file,
        Err(error) => {
            for (at, _) in those {
                let source = io::Error::new(error.kind(), error.to_string());
                results[at] = Err(ApplyError::Open { path: image.file.clone(), source });
            }
            return;
        }
    };
    let task = |(at, _): &(usize, &str)| {
        let name = format!("upload {}", all[*at].words(image));
        Mutex::new(all[*at].apply.progress.task(&name, Some(image.spec.size)))
    };
    let tasks: Vec<_> = those.iter().map(task).collect();
    let advance = |number: usize, bytes| tasks[number].lock().unwrap_or_else(PoisonError::into_inner).advance(bytes);
    let targets: Vec<_> = those.iter().map(|(at, pool)| (all[*at].apply.hypervisor, *pool)).collect();
    let uploaded = upload_to_all(&file, &image.spec, &targets, &advance);
    for (((at, _), task), uploaded) in those.iter().zip(tasks).zip(uploaded) {
        match uploaded {
            Ok(_) => task.into_inner().unwrap_or_else(PoisonError::into_inner).done(),
            Err(_) if progress.is_ending() => results[*at] = Err(ApplyError::Interrupted { node: None }),
            Err(error) => results[*at] = Err(doing(format!("uploading the {}", all[*at].words(image)))(error)),
        }
    }
}
