//! A node drained: no new pods, those that can live elsewhere asked to leave, their volumes detached.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::storage::v1::VolumeAttachment;
use kube::api::Api;
use kube::runtime::{WatchStreamExt as _, watcher};

use super::followed::{Bell, Followed};
use super::tenants::Evicted;
use super::{Allowed, Cluster, ClusterError, Obstacle, REQUEST_LIMIT, Tenant};
use crate::config::NodeName;

/// How long is waited before a pod that may not leave yet is asked again; `kubectl drain` does as well.
const ASK_AGAIN: Duration = Duration::from_secs(5);

/// How often is looked whether a drain is to be given up.
const LOOK: Duration = Duration::from_millis(500);

/// How a node is drained.
#[derive(Debug, Clone, Copy)]
pub struct Drain {
    /// What may be lost with it.
    pub allowed: Allowed,
    /// Seconds that pods have to end; each has its own where nobody says.
    pub grace: Option<u32>,
    /// Longest time that it may take.
    pub limit: Duration,
}

/// Who waits for a drain.
#[derive(Clone, Copy)]
pub struct Watching<'a> {
    /// Is told of what keeps it.
    pub tell: &'a dyn Fn(&str),
    /// Says whether it is to be given up.
    pub ending: &'a dyn Fn() -> bool,
}

/// Why a node could not be drained.
#[derive(Debug, thiserror::Error)]
pub enum DrainError {
    /// The cluster could not be asked.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// What is on the node cannot be followed.
    #[error("following {what}: {}", trouble.as_deref().unwrap_or("no answer"))]
    Unseen {
        /// What would have been followed.
        what: &'static str,
        /// Why, as the client says it.
        trouble: Option<String>,
    },
    /// Something would be lost that the user did not give leave for; at least one.
    #[error("{}", obstacles.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Obstacles {
        /// What.
        obstacles: Vec<Obstacle>,
    },
    /// Nobody waits for it any more.
    #[error("interrupted")]
    Interrupted,
    /// It took too long.
    #[error("not drained in {seconds} s: {}", left.join("; "))]
    Slow {
        /// The limit.
        seconds: u64,
        /// What is still there, each with why, where that is known.
        left: Vec<String>,
    },
}

impl DrainError {
    /// What the user can do.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Cluster(error) => return error.hint(),
            Self::Interrupted => return None,
            Self::Unseen { .. } => "check that the user of cluster.kubeconfig may list and watch pods and \
                                    volumeattachments, or leave the pods where they are (--no-drain)"
                .to_owned(),
            Self::Obstacles { .. } => {
                "move what must not be lost, allow it with the flag that is named, or leave the pods where they are \
                 (--no-drain)"
                    .to_owned()
            }
            Self::Slow { .. } => {
                "see what keeps the pods (`kubectl get pods,pdb -A`), wait longer (--drain-timeout), or \
                                  leave them where they are (--no-drain)"
                    .to_owned()
            }
        })
    }
}

/// A volume that is attached to a node.
#[derive(Clone)]
struct Attachment {
    node: String,
    volume: String,
}

impl Attachment {
    fn read(attachment: VolumeAttachment) -> (String, Self) {
        let volume = attachment.spec.source.persistent_volume_name.unwrap_or_default();
        (attachment.metadata.name.unwrap_or_default(), Self { node: attachment.spec.node_name, volume })
    }
}

/// A drain under way.
struct Draining<'a> {
    cluster: &'a Cluster,
    how: Drain,
    /// Whether its kubelet can end pods.
    alive: bool,
    watching: Watching<'a>,
    begin: Instant,
    bell: Arc<Bell>,
    pods: Followed<Tenant>,
    /// Why each pod is still there, by its UID, and when it is asked again.
    kept: BTreeMap<String, (String, Instant)>,
}

impl Cluster {
    /// Asks the pods of a node to leave, and waits until they are gone and their volumes detached; those that come
    /// meanwhile, since they heed no cordon, are not waited for. `alive` says whether its kubelet is there to end pods:
    /// else they are asked, and no more. The node must be cordoned before.
    pub fn drain(&self, node: &NodeName, how: Drain, alive: bool, watching: Watching) -> Result<(), DrainError> {
        let bell = Arc::<Bell>::default();
        let on_node = watcher::Config::default().fields(&format!("spec.nodeName={node}"));
        let events = watcher(Api::<Pod>::all(self.client.clone()), on_node).default_backoff();
        let pods = Followed::start(&self.runtime, bell.clone(), events, |pod: Pod| {
            (pod.metadata.uid.clone().unwrap_or_default(), Tenant::of(&pod))
        });
        let first = pods.first(&bell, REQUEST_LIMIT);
        let tenants = first.map_err(|trouble| DrainError::Unseen { what: "a node's pods", trouble })?;
        let tenants: Vec<_> = tenants.into_values().collect();
        let obstacles = self.obstacles(node, &tenants, how.allowed)?;
        if !obstacles.is_empty() {
            return Err(DrainError::Obstacles { obstacles });
        }
        let leave: BTreeSet<_> = tenants.iter().filter(|it| !it.stays).map(|tenant| tenant.uid.clone()).collect();
        let begin = Instant::now();
        let mut draining = Draining { cluster: self, how, alive, watching, begin, bell, pods, kept: BTreeMap::new() };
        if !leave.is_empty() {
            (watching.tell)(&format!("evicting {} pod{}", leave.len(), if leave.len() == 1 { "" } else { "s" }));
        }
        draining.pods_leave(&leave)?;
        draining.volumes_leave(node)
    }
}

impl Draining<'_> {
    fn end(&self) -> Instant {
        self.begin + self.how.limit
    }

    /// Until something has changed, or this moment, or the end; in short pieces, since a signal rings no bell.
    fn wait(&self, count: u64, until: Instant) -> Result<(), DrainError> {
        let until = until.min(self.end());
        while self.bell.count() == count && Instant::now() < until {
            if (self.watching.ending)() {
                return Err(DrainError::Interrupted);
            }
            self.bell.wait(count, until.min(Instant::now() + LOOK));
        }
        Ok(())
    }

    fn slow(&self, left: Vec<String>) -> DrainError {
        DrainError::Slow { seconds: self.how.limit.as_secs(), left }
    }

    fn pods_leave(&mut self, leave: &BTreeSet<String>) -> Result<(), DrainError> {
        loop {
            let count = self.bell.count();
            let mut there = self.pods.all().unwrap_or_default();
            there.retain(|uid, pod| leave.contains(uid) && (self.alive || !pod.leaving));
            if there.is_empty() {
                return Ok(());
            }
            for pod in there.values().filter(|pod| !pod.leaving) {
                self.ask(pod)?;
            }
            if Instant::now() >= self.end() {
                return Err(self.slow(there.values().map(|pod| self.why(pod)).collect()));
            }
            let next = self.kept.values().map(|(_, next)| *next).min();
            self.wait(count, next.unwrap_or_else(|| self.end()))?;
        }
    }

    fn ask(&mut self, pod: &Tenant) -> Result<(), DrainError> {
        if self.kept.get(&pod.uid).is_some_and(|(_, next)| *next > Instant::now()) {
            return Ok(());
        }
        let (why, wait) = match self.cluster.evict(pod, self.how.grace)? {
            Evicted::Granted => ("evicted, and not gone yet".to_owned(), None),
            Evicted::Later(why, wait) => {
                if self.kept.get(&pod.uid).is_none_or(|(told, _)| *told != why) {
                    (self.watching.tell)(&format!("{pod} stays for now: {why}"));
                }
                (why, wait)
            }
        };
        self.kept.insert(pod.uid.clone(), (why, Instant::now() + wait.unwrap_or(ASK_AGAIN)));
        Ok(())
    }

    fn why(&self, pod: &Tenant) -> String {
        let why = self.kept.get(&pod.uid).map_or("evicted, and not gone yet", |(why, _)| why);
        let why = if pod.leaving { "is ending" } else { why };
        format!("{pod}: {why}")
    }

    /// A volume that is taken away while it is attached may not come back elsewhere for minutes. Volumes of pods that stay
    /// go with the machine.
    fn volumes_leave(&mut self, node: &NodeName) -> Result<(), DrainError> {
        if !self.alive {
            return Ok(());
        }
        let attachments: Api<VolumeAttachment> = Api::all(self.cluster.client.clone());
        let events = watcher(attachments, watcher::Config::default()).default_backoff();
        let attached = Followed::start(&self.cluster.runtime, self.bell.clone(), events, Attachment::read);
        let first = attached.first(&self.bell, REQUEST_LIMIT);
        let mut there = first.map_err(|trouble| DrainError::Unseen { what: "attached volumes", trouble })?;
        let stay = self.volumes_that_stay()?;
        let mut told = false;
        loop {
            let count = self.bell.count();
            there.retain(|_, it| it.node == node.to_string() && !stay.contains(&it.volume));
            if there.is_empty() {
                return Ok(());
            }
            if !told {
                (self.watching.tell)(&format!("waiting for {} attached volumes", there.len()));
                told = true;
            }
            if Instant::now() >= self.end() {
                return Err(self.slow(there.values().map(|it| format!("volume {} is attached", it.volume)).collect()));
            }
            self.wait(count, self.end())?;
            there = attached.all().unwrap_or_default();
        }
    }

    fn volumes_that_stay(&self) -> Result<BTreeSet<String>, DrainError> {
        let mut stay = BTreeSet::new();
        for pod in self.pods.all().unwrap_or_default().values() {
            let volumes = self.cluster.volumes_of(pod)?;
            stay.extend(volumes.into_iter().filter_map(|volume| volume.metadata.name));
        }
        Ok(stay)
    }
}
