//! A world whose machines are nodes of a cluster. A node registers itself when its machine is started.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use nodebake::apply::{Apply, ApplyError, Leaving, Patience};
use nodebake::cluster::{Allowed, Cluster, Cordon, Drain, Watch};
use nodebake::machine::MarkState;
use nodebake::machine::memory::Killed;
use nodebake::plan::{Blocked, Plan, Request};
use nodebake::progress::{Progress, Silent, Task};

use crate::apiserver::{Apiserver, NODE};
use crate::world::{World, changed, holdings};

/// The boot that the guests of [`crate::world::report`] tell of.
pub(crate) const BOOT: &str = "00000000-0000-4000-8000-000000000007";

/// What evicts everything, and waits for it.
pub(crate) fn drain() -> Drain {
    Drain { allowed: Allowed::default(), grace: None, limit: Duration::from_mins(1) }
}

/// The world of [`changed`], whose first node is in a cluster and Ready.
pub(crate) struct Member {
    pub(crate) world: World,
    pub(crate) api: Apiserver,
    pub(crate) cluster: Cluster,
    pub(crate) leaving: Leaving,
    /// Whether nodes that register from now on are Ready.
    pub(crate) ready: AtomicBool,
    notes: Mutex<Vec<String>>,
    /// How many notes from now on the run dies at; 0 is never.
    dies_at: AtomicUsize,
}

impl Member {
    pub(crate) fn new() -> Self {
        Self::with(Apiserver::start(true), changed()).marked()
    }

    /// The world's first node has a machine that somebody made by hand.
    pub(crate) fn by_hand(world: World) -> Self {
        let member = Self::with(Apiserver::start(true), world);
        member.api.be_at(&member.world.config.nodes[0].address.to_string());
        member
    }

    pub(crate) fn without_kubelets() -> Self {
        Self::with(Apiserver::start(false), changed()).marked()
    }

    fn with(api: Apiserver, world: World) -> Self {
        let cluster = Cluster::open(&api.file("kubeconfig")).unwrap();
        let leaving = Leaving { drain: Some(drain()), keep: false };
        let (ready, notes, dies_at) = (AtomicBool::new(true), Mutex::default(), AtomicUsize::new(0));
        api.register(NODE, BOOT, true);
        Self { world, api, cluster, leaving, ready, notes, dies_at }
    }

    fn marked(self) -> Self {
        self.world.change_mark(NODE, |mark| {
            (mark.state, mark.boot_id) = (MarkState::Registered, Some(BOOT.to_owned()));
        });
        self
    }

    /// Plans by what is there now, and does it.
    pub(crate) fn run(&self, make: fn(Request) -> Result<Plan, Blocked>) -> Result<(), ApplyError> {
        let watch = self.cluster.watch();
        let action = "looking for its nodes";
        let failed = |source| ApplyError::Cluster { node: NODE.parse().unwrap(), action, source };
        let plan = self.world.plan_with(Some(self.cluster.nodes().map_err(failed)?), make).unwrap();
        let apply = self.apply(&watch);
        plan.shared.iter().try_for_each(|action| apply.shared(action))?;
        plan.nodes.iter().try_for_each(|node| apply.node(node).map(drop))
    }

    /// The same, but it dies when it tells something the n-th time, from 1 on; says what that was.
    pub(crate) fn dies(&self, make: fn(Request) -> Result<Plan, Blocked>, nth: usize) -> String {
        self.dies_in(|| self.run(make), nth)
    }

    /// The same with anything that it does.
    pub(crate) fn dies_in(&self, what: impl Fn() -> Result<(), ApplyError>, nth: usize) -> String {
        self.dies_at.store(nth, Ordering::Relaxed);
        let ended = catch_unwind(AssertUnwindSafe(what));
        assert!(ended.as_ref().is_err_and(|end| end.is::<Killed>()), "{nth}: {ended:?}");
        self.told().pop().unwrap()
    }

    pub(crate) fn plan(&self, make: fn(Request) -> Result<Plan, Blocked>) -> Plan {
        self.world.plan_with(Some(self.cluster.nodes().unwrap()), make).unwrap()
    }

    pub(crate) fn apply<'a>(&'a self, watch: &'a Watch) -> Apply<'a> {
        let patience = Patience::of_silence(Duration::from_millis(700));
        let (watch, cluster, leaving) = (Some(watch), Some(&self.cluster), self.leaving);
        Apply { watch, cluster, patience, leaving, ..Apply::new(&self.world.host, &self.world.id, self) }
    }

    /// What was told since the last time.
    pub(crate) fn told(&self) -> Vec<String> {
        std::mem::take(&mut self.notes.lock().unwrap())
    }

    /// How the first node stands: whether pods are kept off it and by whom, and what of it is a person's.
    pub(crate) fn standing(&self) -> (Cordon, Vec<String>) {
        let node = self.cluster.nodes().unwrap().remove(NODE).unwrap();
        (node.cordon, node.by_hand.names())
    }

    /// Whether pods are kept off the first node; none where the cluster does not know it.
    pub(crate) fn cordon(&self) -> Option<Cordon> {
        self.cluster.nodes().unwrap().remove(NODE).map(|node| node.cordon)
    }

    /// Machines and volumes.
    pub(crate) fn holdings(&self) -> (Vec<String>, Vec<String>) {
        (holdings(&self.world), self.world.disks())
    }
}

impl Progress for Member {
    fn task(&self, _: &str, _: Option<u64>) -> Box<dyn Task> {
        Box::new(Silent)
    }

    fn note(&self, node: &str, text: &str) {
        if text == "starting its machine" {
            self.api.register(node, BOOT, self.ready.load(Ordering::Relaxed));
        }
        self.notes.lock().unwrap().push(text.to_owned());
        if self.dies_at.load(Ordering::Relaxed) > 0 && self.dies_at.fetch_sub(1, Ordering::Relaxed) == 1 {
            resume_unwind(Box::new(Killed));
        }
    }

    fn warn(&self, text: &str) {
        self.notes.lock().unwrap().push(format!("warning: {text}"));
    }
}
