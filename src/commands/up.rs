//! `nodebake up` and `nodebake rebuild`: from images to nodes in the cluster.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::build::Outputs;
use super::fleet::{Fleet, Member, Moves};
use super::target::Target;
use super::{Session, status};
use crate::apply::{self, Apply, ApplyError, Leaving, Outcome, Patience, Presence, Share, presences};
use crate::build::{Build, NodeOutput};
use crate::cli::{Consent, Evacuate, Format, Leave, MaxUnavailable, Out, Pace, Rebuild, Report, Roll, Up, Wait};
use crate::cluster::{Allowed, Binding, Binds, Cluster, Drain, DrainError, Nodes};
use crate::config::{Arch, ClusterId, Config, HypervisorName, Node, NodeName};
use crate::doctor::{self, Answers, Begun, Case, Finding, Host, Probe, Questions};
use crate::error::Error;
use crate::interrupt::{self, Orderly};
use crate::machine::{Capabilities, Hypervisor, MachineError};
use crate::parallel;
use crate::plan::{self, Blocked, Built, ByHand, Images, Inventory, NodePlan, Plan, Request, Step};

/// How much longer the apiserver may take to answer before anything is built; it was asked a while before.
const PROBE_LIMIT: Duration = Duration::from_secs(2);

pub(super) fn up(session: &Session, args: &Up) -> Result<(), Error> {
    let nodes = session.select(&args.which)?;
    let Pace { parallel, wait } = args.pace;
    let how = How {
        wait,
        force: false,
        leaving: Leaving::default(),
        order: Order::AtOnce(parallel),
        binds: true,
        consent: None,
        by_hand: ByHand::InTheWay,
        leave_data: false,
    };
    bring(session, Target::Nodes(&nodes), Output::of(&args.out, args.report), how, plan::up)
}

pub(super) fn rebuild(session: &Session, args: &Rebuild) -> Result<(), Error> {
    let nodes = session.select(&args.which)?;
    let target = Target::Moved(&nodes, args.to.as_ref());
    target.check(&session.config)?;
    session.can_consent(args.roll.consent)?;
    let domain = args.domain.as_deref();
    if domain.is_some() && nodes.len() != 1 {
        return Err(Error::OneDomain { nodes: nodes.len() });
    }
    let by_hand = if args.take_over { ByHand::TakenOver(domain) } else { ByHand::InTheWay };
    let how = How { by_hand, ..How::rolling(args.roll) };
    let output = Output::of(&args.out, args.report);
    if args.take_over {
        let take_over = |request: Request| plan::take_over(request, domain);
        return bring(session, Target::Nodes(&nodes), output, how, take_over);
    }
    let by_name = &args.which.nodes;
    let make = |request: Request| {
        if args.same || (!args.all && args.which.groups.is_empty() && args.to.is_none()) {
            return plan::rebuild(request);
        }
        if args.to.is_some() {
            return plan::roll(request);
        }
        let (named, rest): (Vec<_>, Vec<_>) =
            request.built.iter().cloned().partition(|built| by_name.contains(&built.node));
        let rolled = plan::roll(Request { built: &rest, ..request })?;
        Ok(rolled.and(plan::rebuild(Request { built: &named, ..request })?))
    };
    bring(session, target, output, how, make)
}

pub(super) fn evacuate(session: &Session, args: &Evacuate) -> Result<(), Error> {
    let target = Target::Leaving(&args.hypervisor);
    target.check(&session.config)?;
    session.can_consent(args.roll.consent)?;
    let output = Output::of(&args.out, args.report);
    bring(session, target, output, How::rolling(args.roll), plan::roll)
}

/// Where images are written, and how what came of it is printed.
#[derive(Clone, Copy)]
struct Output<'a> {
    images: &'a Path,
    format: Format,
}

impl<'a> Output<'a> {
    fn of(out: &'a Out, report: Report) -> Self {
        Self { images: &out.dir, format: report.output }
    }
}

/// How machines are worked on.
#[derive(Clone, Copy)]
struct How<'a> {
    wait: Wait,
    /// See [`Apply::force`].
    force: bool,
    leaving: Leaving,
    order: Order,
    /// Whether the apiserver is let in at the kubelets where the cluster file asks for it.
    binds: bool,
    /// Asked for before machines that work are replaced.
    consent: Option<Consent>,
    by_hand: ByHand<'a>,
    /// Whether data disks may stay behind where nodes go to another hypervisor.
    leave_data: bool,
}

impl How<'_> {
    /// Machines that work are replaced, one after the other.
    fn rolling(roll: Roll) -> Self {
        Self {
            wait: roll.wait,
            force: roll.force,
            leaving: Leaving { drain: roll.leave.drain(), keep: roll.keep_labels },
            order: Order::Roll(roll.max_unavailable),
            binds: false,
            consent: Some(roll.consent),
            by_hand: ByHand::InTheWay,
            leave_data: roll.leave_data,
        }
    }
}

/// In which order nodes are worked on.
#[derive(Clone, Copy)]
pub(super) enum Order {
    /// So many at the same time; every node is given its chance.
    AtOnce(usize),
    /// A group after the other, and so many of its nodes at the same time; the first failure is the last.
    Roll(MaxUnavailable),
}

impl Leave {
    /// How nodes are drained; none where they are not.
    pub(super) fn drain(&self) -> Option<Drain> {
        let allowed = Allowed {
            unmanaged: self.allow_unmanaged,
            empty_dir: self.allow_emptydir,
            local_volumes: self.allow_local_pvs,
        };
        let limit = Duration::from_secs(self.drain_timeout);
        (!self.no_drain).then_some(Drain { allowed, grace: self.grace_period, limit })
    }
}

/// What is asked while other work goes on.
struct Beside {
    probe: Begun<Probe>,
    questions: Option<Questions>,
    heard: OnceCell<(Option<Probe>, Option<Answers>)>,
}

impl Beside {
    /// What came of it; whoever asks first waits for that, and not for long.
    fn heard(&self) -> &(Option<Probe>, Option<Answers>) {
        self.heard.get_or_init(|| {
            let end = Instant::now() + PROBE_LIMIT;
            (self.probe.by(end), self.questions.as_ref().map(|questions| questions.by(end)))
        })
    }
}

fn bring(
    session: &Session,
    target: Target,
    output: Output,
    how: How,
    make: impl Fn(Request) -> Result<Plan, Blocked>,
) -> Result<(), Error> {
    let config = &session.config;
    // Where machines are may change as long as others work on them.
    let _held = session.hold()?;
    // What can be wrong without any work being lost comes first.
    let (fleet, nodes) = target.reach(session)?;
    let nodes = nodes.as_slice();
    fleet.tell(session);
    fleet.check_networks(session)?;
    if nodes.is_empty() {
        target.end(&fleet, &session.cluster_id()?)?;
        session.ui.say(&target.nothing(how.by_hand));
        return Brought::printed_as(output.format).show(session);
    }
    let probe = Begun::new({
        let config = config.clone();
        move || doctor::probe(&config)
    });
    let cluster = session.cluster()?;
    let questions = cluster.as_ref().map(|it| Questions::ask(it, &config.cluster));
    let beside = Beside { probe, questions, heard: OnceCell::new() };
    let known = cluster.as_ref().map(Cluster::nodes).transpose()?;
    let inputs = session.inputs()?;
    let build = session.build(&inputs, output.images);
    let id = build.cluster_id();
    let mut places = Vec::new();
    for member in fleet.members.iter().filter(|member| !member.of(nodes).is_empty()) {
        let place = Place { member, nodes: member.of(nodes), moves: fleet.moves(&id, member, known.as_ref())? };
        examine(session, &place, &id, known.clone(), &beside, how)?;
        places.push(place);
    }
    let mut planned = plan_all(session, &build, &fleet, places, known.as_ref(), how.leave_data, make)?;
    if nodes.len() == config.nodes.len() {
        planned.extend(sweep(session, &fleet, &id));
    }
    match how.consent {
        Some(_) if planned.iter().all(|part| part.plan.nodes.is_empty()) => {
            fleet.end(nodes)?;
            session.ui.say(&target.nothing(how.by_hand));
            return Brought::printed_as(output.format).show(session);
        }
        Some(consent) => {
            let leaves = planned.iter().flat_map(|part| &part.plan.nodes);
            let leaves: Vec<_> = leaves.filter(|it| matches!(it.step, Step::Create(_))).map(|it| &it.node).collect();
            check_tenants(session, cluster.as_ref(), known.as_ref(), how.leaving.drain, &leaves)?;
            ask(session, &planned, consent, how.by_hand)?;
        }
        None => planned.iter().for_each(|part| tell_drift(session, &part.plan)),
    }
    if let Some((cluster, binding)) = cluster.as_ref().zip(Binding::of(&config.cluster)).filter(|_| how.binds) {
        bind(session, cluster, &binding);
    }
    let (watch, others) = (cluster.as_ref().map(Cluster::watch), fleet.named());
    let jobs = planned.into_iter().map(|part| {
        let apply = Apply {
            watch: watch.as_ref(),
            cluster: cluster.as_ref(),
            patience: Patience::of_silence(Duration::from_secs(how.wait.stall)),
            force: how.force,
            leaving: how.leaving,
            others: &others,
            ..Apply::new(&*part.member.hypervisor, &id, session.ui)
        };
        Job { name: part.member.name.as_ref(), apply, plan: part.plan }
    });
    carry_out(session, &jobs.collect::<Vec<_>>(), nodes, how.order, Brought::printed_as(output.format))?;
    target.end(&fleet, &id)?;
    fleet.end(nodes)
}

/// A hypervisor with those of its nodes that are asked for, and what these have at others.
struct Place<'a> {
    member: &'a Member,
    nodes: Vec<&'a Node>,
    moves: Moves,
}

/// What hypervisors without nodes have of nodes that belong to others. One that cannot be asked keeps nobody waiting.
fn sweep<'a>(session: &Session, fleet: &'a Fleet, id: &ClusterId) -> Vec<Part<'a>> {
    let mut parts = Vec::new();
    for member in fleet.members.iter().filter(|member| member.config.nodes.is_empty()) {
        match fleet.inventory(id, member, None) {
            Ok(inventory) => {
                let shared = plan::left_behind(id, &inventory, &member.config.libvirt.pool);
                let plan = Plan { shared, nodes: Vec::new() };
                parts.push(Part { member, nodes: Vec::new(), able: BTreeMap::new(), inventory, plan });
            }
            Err(error) => session.ui.warn(&format!("{}: {}", member.at().trim_start(), crate::error::chain(&error))),
        }
    }
    parts.retain(|part| !part.plan.is_empty());
    parts
}

/// What is to be done at one hypervisor, and what it was decided by.
struct Part<'a> {
    member: &'a Member,
    nodes: Vec<&'a Node>,
    able: BTreeMap<Arch, Capabilities>,
    inventory: Inventory,
    plan: Plan,
}

/// Builds what the nodes are made from, once for all hypervisors, and plans for each of these.
fn plan_all<'a>(
    session: &Session,
    build: &Build,
    fleet: &Fleet,
    places: Vec<Place<'a>>,
    known: Option<&Nodes>,
    leave_data: bool,
    make: impl Fn(Request) -> Result<Plan, Blocked>,
) -> Result<Vec<Part<'a>>, Error> {
    let (id, now) = (build.cluster_id(), session.now.as_second());
    // Before the work of building.
    let able = places.iter().map(|place| capabilities(&*place.member.hypervisor, &place.nodes));
    let able = able.collect::<Result<Vec<_>, _>>()?;
    // In their own order, wherever they are.
    let asked = |node: &&Node| places.iter().flat_map(|place| &place.nodes).any(|it| it.name == node.name);
    let all: Vec<_> = session.config.nodes.iter().filter(asked).collect();
    let plan = |made: &Made, member: &Member, nodes: &[&Node], able: &_, inventory: &Inventory| {
        make(Request { config: &member.config, id: &id, built: &made.built(nodes, able), inventory, now })
    };
    let made = Made::of(session, build, &all)?;
    let mut planned = Vec::new();
    for (Place { member, nodes, mut moves }, able) in places.into_iter().zip(able) {
        if leave_data {
            for moving in moves.values_mut() {
                moving.data.clear();
            }
        }
        let inventory = fleet.inventory_with(&id, member, known.cloned(), moves)?;
        let plan = plan(&made, member, &nodes, &able, &inventory)?;
        planned.push(Part { member, nodes, able, inventory, plan });
    }
    let mut any = false;
    for part in &planned {
        any |= freshen(session, build, &part.nodes, &part.plan)?;
    }
    if any {
        let made = Made::of(session, build, &all)?;
        for Part { member, nodes, able, inventory, plan: old } in &mut planned {
            *old = plan(&made, member, nodes, able, inventory)?;
        }
    }
    for Part { member, inventory, plan, .. } in &planned {
        check_addresses(&member.config, plan, inventory, &id, now)?;
    }
    Ok(planned)
}

/// A plan, and who carries it out.
pub(super) struct Job<'a> {
    pub(super) name: Option<&'a HypervisorName>,
    pub(super) apply: Apply<'a>,
    pub(super) plan: Plan,
}

impl Job<'_> {
    fn share(&self) -> Share<'_> {
        Share { apply: &self.apply, name: self.name, actions: &self.plan.shared }
    }
}

/// What pods would lose is told before anything is done, of all nodes at once, and how many leave.
pub(super) fn check_tenants(
    session: &Session,
    cluster: Option<&Cluster>,
    known: Option<&Nodes>,
    drain: Option<Drain>,
    nodes: &[&NodeName],
) -> Result<(), Error> {
    let (Some(cluster), Some(drain)) = (cluster, drain) else { return Ok(()) };
    let mut refused = Vec::new();
    let is_in_cluster = |node: &NodeName| known.is_some_and(|known| known.contains_key(&node.to_string()));
    for node in nodes.iter().copied().filter(|node| is_in_cluster(node)) {
        let tenants = cluster.tenants(node)?;
        let obstacles = cluster.obstacles(node, &tenants, drain.allowed)?;
        let leave = tenants.iter().filter(|tenant| !tenant.stays).count();
        if !obstacles.is_empty() {
            let source = DrainError::Obstacles { obstacles };
            refused.push(ApplyError::Drain { node: node.clone(), source });
        } else if leave > 0 {
            session.ui.say_of(node, &format!("{leave} pod{} will be evicted", if leave == 1 { "" } else { "s" }));
        }
    }
    if refused.is_empty() { Ok(()) } else { Err(Error::Nodes(refused)) }
}

/// What `nodebake doctor` would find of the machines that are to start, as far as it is cheap to ask and decides: before
/// the work of building.
fn examine(
    session: &Session,
    Place { member, nodes, moves }: &Place,
    id: &ClusterId,
    known: Option<Nodes>,
    beside: &Beside,
    how: How,
) -> Result<(), Error> {
    let config = &member.config;
    let architectures = nodes.iter().map(|node| node.arch).collect();
    let host = Host::read(config, &*member.hypervisor, &architectures, false)?.able()?;
    let host = host.in_cluster(known).expecting(moves.clone());
    let starting: Vec<_> = nodes.iter().filter(|node| how.consent.is_some() || !host.runs(id, node)).copied().collect();
    if starting.is_empty() {
        return Ok(());
    }
    let by_hand = how.by_hand;
    let (probe, answers) = beside.heard();
    let case = Case { config, nodes: &starting, id: Some(id), now: session.now, by_hand };
    let found = doctor::brief(case, &host, answers.as_ref(), probe.as_ref()).into_iter();
    let found = found.map(|finding| Finding { hypervisor: member.name.clone(), ..finding });
    super::doctor::settle(session, found.collect())
}

/// Lets the apiserver in at the kubelets. Nodes come up without it, so that nothing about it is more than a warning.
fn bind(session: &Session, cluster: &Cluster, binding: &Binding) {
    let name = Binding::name();
    match cluster.bind(binding) {
        Ok(Binds::Nothing) => {}
        Ok(Binds::Create) => session.ui.say(&format!("made ClusterRoleBinding {name}: {}", binding.purpose())),
        Ok(Binds::Change(_)) => session.ui.say(&format!("changed ClusterRoleBinding {name}: {}", binding.purpose())),
        Ok(Binds::Differs(how)) => session
            .ui
            .warn(&format!("ClusterRoleBinding {name} was left as it is: {how}; {}", binding.replaced_by_hand())),
        Err(error) => session.ui.warn(&format!(
            "ClusterRoleBinding {name} could not be made, and kubectl logs and exec may not work: {}",
            error.said()
        )),
    }
}

/// Does what plans say: at all hypervisors at the same time what their nodes share, then the nodes. Where something fails that
/// nodes share, those of that hypervisor are not begun, and the others are.
pub(super) fn carry_out(
    session: &Session,
    jobs: &[Job],
    nodes: &[&Node],
    order: Order,
    mut brought: Brought,
) -> Result<(), Error> {
    let _orderly = Orderly::begin();
    session.ui.begin(
        nodes
            .iter()
            .map(|node| &node.name)
            .filter(|name| jobs.iter().any(|job| job.plan.nodes.iter().any(|plan| plan.node == **name))),
    );
    let shared = apply::share(&jobs.iter().map(Job::share).collect::<Vec<_>>());
    let place = |plan: &NodePlan| nodes.iter().position(|node| node.name == plan.node);
    let able = jobs.iter().zip(&shared).filter(|(_, shared)| shared.is_ok()).map(|(job, _)| job);
    let mut work: Vec<_> = able.flat_map(|job| job.plan.nodes.iter().map(|plan| (&job.apply, plan))).collect();
    work.sort_by_key(|(_, plan)| place(plan));
    let mut errors: Vec<_> = shared.into_iter().filter_map(Result::err).collect();
    let done = |(apply, plan): &(&Apply, &NodePlan)| {
        let result = apply.node(plan);
        if result.is_ok() {
            session.ui.reached(&plan.node);
        }
        result
    };
    let results = match order {
        Order::AtOnce(parallel) => parallel::map(&work, parallel, done, |_| false),
        // Nothing leaves while something is amiss.
        Order::Roll(_) if !errors.is_empty() => work.iter().map(|_| None).collect(),
        Order::Roll(most) => {
            let group = |(_, plan): &(&Apply, &NodePlan)| {
                nodes.iter().find(|it| it.name == plan.node).and_then(|it| it.group.as_ref())
            };
            let failed = |result: &Result<Outcome, ApplyError>| result.is_err();
            parallel::roll(&work, group, most.of(work.len()), done, failed)
        }
    };
    session.ui.finish();
    let untouched = work.iter().zip(&results).filter(|(_, result)| result.is_none());
    let untouched: Vec<_> = untouched.map(|((_, plan), _)| plan.node.to_string()).collect();
    if jobs.len() == 1
        && let Some(error) = errors.pop()
    {
        brought.errors.push(Failure::of(&error));
        brought.show(session)?;
        return Err(error.into());
    }
    if !untouched.is_empty() && interrupt::signal().is_none() {
        session.ui.say(&format!("not begun after a failure: {}", untouched.join(", ")));
    }
    brought.errors.extend(errors.iter().map(Failure::of));
    work.iter().zip(&results).for_each(|((_, plan), result)| brought.put(Came::of(&plan.node, result.as_ref())));
    errors.extend(results.into_iter().flatten().filter_map(Result::err));
    report(session, jobs.first().and_then(|job| job.apply.cluster), nodes, errors, brought)
}

/// What became of nodes, as programs read it.
#[derive(Serialize)]
pub(super) struct Brought {
    #[serde(skip)]
    format: Format,
    pub(super) nodes: Vec<Came>,
    /// Of what nodes share.
    errors: Vec<Failure>,
}

/// What became of one.
#[derive(Serialize)]
pub(super) struct Came {
    name: String,
    /// registered, active (its kubelet runs, and there is no cluster to ask), off, failed or not begun.
    outcome: &'static str,
    /// As the cluster has it now.
    node: Option<status::Node>,
    error: Option<Failure>,
}

/// What went wrong.
#[derive(Serialize)]
struct Failure {
    message: String,
    hint: Option<String>,
}

impl Failure {
    fn of(error: &ApplyError) -> Self {
        Self { message: crate::error::chain(error), hint: error.hint() }
    }
}

impl Came {
    fn of(node: &NodeName, result: Option<&Result<Outcome, ApplyError>>) -> Self {
        match result {
            Some(Ok(Outcome::Registered)) => Self::to(node, "registered"),
            Some(Ok(Outcome::KubeletActive)) => Self::to(node, "active"),
            Some(Err(error)) => Self::failed(node, error),
            None => Self::to(node, "not begun"),
        }
    }

    /// It got where it was to be.
    pub(super) fn to(node: &NodeName, outcome: &'static str) -> Self {
        Self { name: node.to_string(), outcome, node: None, error: None }
    }

    pub(super) fn failed(node: &NodeName, error: &ApplyError) -> Self {
        Self { error: Some(Failure::of(error)), ..Self::to(node, "failed") }
    }
}

impl Brought {
    pub(super) fn printed_as(format: Format) -> Self {
        Self { format, nodes: Vec::new(), errors: Vec::new() }
    }

    /// What became of a node in place of what was done with it before.
    fn put(&mut self, came: Came) {
        match self.nodes.iter_mut().find(|before| before.name == came.name) {
            Some(before) => *before = came,
            None => self.nodes.push(came),
        }
    }

    /// Prints it for programs; people see the cluster's own table.
    pub(super) fn show(&self, session: &Session) -> Result<(), Error> {
        session.show(self.format, self, String::new)
    }
}

/// Gives nodes whose machines are to be made an identity for their first boot, where their kubelets are to rotate it from
/// there on: that of the machine that stands may have run out long ago. Says whether any was given one.
fn freshen(session: &Session, build: &Build, nodes: &[&Node], plan: &Plan) -> Result<bool, Error> {
    let made =
        |node: &&&Node| plan.nodes.iter().any(|plan| plan.node == node.name && matches!(plan.step, Step::Create(_)));
    let mut any = false;
    for node in nodes.iter().filter(made) {
        if let Some(identity) = build.freshen(node)? {
            super::build::tell_identity(session, node, &identity);
            any = true;
        }
    }
    Ok(any)
}

/// What a host can run of these nodes' architectures.
pub(super) fn capabilities(
    hypervisor: &dyn Hypervisor,
    nodes: &[&Node],
) -> Result<BTreeMap<Arch, Capabilities>, MachineError> {
    let architectures: BTreeSet<_> = nodes.iter().map(|node| node.arch).collect();
    architectures.into_iter().map(|arch| Ok((arch, hypervisor.capabilities(arch)?))).collect()
}

/// What nodes are made from, wherever they run.
struct Made {
    shared: BTreeMap<Arch, Images>,
    nodes: Vec<NodeOutput>,
}

impl Made {
    fn of(session: &Session, build: &Build, nodes: &[&Node]) -> Result<Self, Error> {
        let Outputs { payloads, nodes } = super::build::all(session, build, nodes, false)?;
        let images = payloads.iter().map(|(arch, (payload, _))| Ok((*arch, build.images(*arch, payload)?)));
        Ok(Self { shared: images.collect::<Result<_, Error>>()?, nodes })
    }

    /// For those of a host that can run so much.
    fn built(&self, nodes: &[&Node], able: &BTreeMap<Arch, Capabilities>) -> Vec<Built> {
        let built = |output: &NodeOutput| {
            let (images, capabilities) = (self.shared.get(&output.arch)?.clone(), able.get(&output.arch)?.clone());
            let (node, seed, parts) = (output.node.clone(), output.seed.clone(), output.parts.clone());
            Some(Built { node, seed, images, parts, capabilities })
        };
        let theirs = |output: &&NodeOutput| nodes.iter().any(|node| node.name == output.node);
        self.nodes.iter().filter(theirs).filter_map(built).collect()
    }
}

/// An address that somebody has is found out before a machine is made that would share it.
fn check_addresses(config: &Config, plan: &Plan, inventory: &Inventory, id: &ClusterId, now: i64) -> Result<(), Error> {
    let new = plan.nodes.iter().filter(|plan| {
        let uuid = id.uuid(&plan.node);
        let runs = inventory.domains.iter().any(|domain| domain.uuid == uuid && domain.state.is_active());
        // It is that of the machine whose place is taken, while that one runs.
        let theirs = plan.take_over.as_ref().is_some_and(|take_over| take_over.ran)
            || plan.moving.as_ref().is_some_and(|moving| moving.runs);
        matches!(plan.step, Step::Create(_) | Step::Start(_)) && !runs && !theirs
    });
    let names: Vec<_> = new.map(|plan| &plan.node).collect();
    let nodes: Vec<_> = config.nodes.iter().filter(|node| names.contains(&&node.name)).collect();
    let asked: Vec<_> = nodes.iter().map(|node| (node.address, config.mac(id, node))).collect();
    for (node, answer) in nodes.iter().zip(presences(&asked, config.network.cidr)) {
        let name = node.name.clone();
        let ours = inventory.domains.iter().any(|domain| domain.uuid == id.uuid(&name))
            // Its machine is at another hypervisor.
            || inventory.moves.contains_key(&name);
        match answer {
            Presence::Taken => return Err(Blocked::AddressAnswers { node: name, address: node.address }.into()),
            // Nobody here can be asked, but the cluster has heard of that node a moment ago.
            Presence::Unknown if !ours && inventory.is_alive(&name, now) => {
                return Err(Blocked::ForeignNode { node: name }.into());
            }
            Presence::Unknown | Presence::Free => {}
        }
    }
    Ok(())
}

/// Shows what is to be done, and asks.
fn ask(session: &Session, parts: &[Part], consent: Consent, by_hand: ByHand) -> Result<(), Error> {
    let rows = |part: &Part| super::plan::named(plan::rows(&part.plan, &BTreeMap::new()), part.member.name.as_ref());
    let rows: Vec<_> = parts.iter().flat_map(rows).collect();
    session.lay_out(consent, super::plan::table(&rows).trim_end());
    let lost = match by_hand {
        ByHand::InTheWay => "What is on the root disks of machines that are replaced is lost once the new ones are up.",
        ByHand::TakenOver(_) => "Machines that are taken over are stopped, and kept with all that is on their disks.",
    };
    session.consent(consent, &format!("{lost} Go on?"))
}

fn tell_drift(session: &Session, plan: &Plan) {
    let stays = |plan: &&NodePlan| !plan.drift.is_empty() && !matches!(plan.step, Step::Create(_));
    for plan in plan.nodes.iter().filter(stays) {
        let drift: Vec<_> = plan.drift.iter().map(ToString::to_string).collect();
        let node = &plan.node;
        session.ui.say_of(node, &format!("differs: {}; `nodebake rebuild {node}` replaces it", drift.join(", ")));
    }
}

fn report(
    session: &Session,
    cluster: Option<&Cluster>,
    nodes: &[&Node],
    errors: Vec<ApplyError>,
    mut brought: Brought,
) -> Result<(), Error> {
    if interrupt::signal().is_some() {
        // Nobody waits for more than how it ended.
        brought.show(session)?;
        return if errors.is_empty() { Ok(()) } else { Err(Error::Nodes(errors)) };
    }
    let mut all_ready = false;
    // Asked anew: a watch that has just begun may not have seen anything yet.
    match cluster.map(Cluster::nodes) {
        Some(Ok(mut seen)) => {
            seen.retain(|name, _| nodes.iter().any(|node| node.name.to_string() == *name));
            all_ready = !seen.is_empty() && seen.values().all(|node| node.ready);
            if brought.format == Format::Table {
                session.ui.data(&node_table(&seen, jiff::Timestamp::now().as_second()));
            }
            for came in &mut brought.nodes {
                came.node = seen.get(&came.name).map(status::Node::of);
            }
        }
        Some(Err(error)) => session.ui.warn(&crate::error::chain(&error)),
        None => {}
    }
    brought.show(session)?;
    if !errors.is_empty() {
        return Err(Error::Nodes(errors));
    }
    if cluster.is_none() {
        session
            .ui
            .say("the kubelets are active; without cluster.kubeconfig nobody can be asked whether they registered");
    }
    if !all_ready {
        session.ui.say(&next_step(&session.config));
    }
    Ok(())
}

/// As `kubectl get nodes` shows them.
fn node_table(nodes: &Nodes, now: i64) -> String {
    let mut rows = vec![["NAME", "STATUS", "ROLES", "AGE", "VERSION", "INTERNAL-IP"].map(String::from).to_vec()];
    for node in nodes.values() {
        let roles = if node.roles.is_empty() { "<none>".to_owned() } else { node.roles.join(",") };
        rows.push(vec![
            crate::printable::line(&node.name),
            node.summary(),
            roles,
            node.created.map_or_else(|| "<unknown>".to_owned(), |created| age((now - created).max(0))),
            crate::printable::line(&node.version),
            crate::printable::line(&node.internal_ip),
        ]);
    }
    super::table(&rows)
}

/// Seconds as kubectl shows an age: 45s, 3m, 5h, 2d.
fn age(seconds: i64) -> String {
    match seconds {
        ..120 => format!("{seconds}s"),
        120..7200 => format!("{}m", seconds / 60),
        7200..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86400),
    }
}

fn next_step(config: &Config) -> String {
    let server = config.cluster.api_server.trim_start_matches("https://");
    let (host, port) = server.rsplit_once(':').unwrap_or((server, "6443"));
    format!(
        "\nNotReady is right: the nodes have no CNI yet. The next step, for Cilium in kube-proxy's place:\n  \
         cilium install --set kubeProxyReplacement=true --set k8sServiceHost={host} --set k8sServicePort={port}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{Cordon, NodeStatus};

    #[test]
    fn nodes_are_shown_as_kubectl_shows_them() {
        let node = NodeStatus {
            name: "worker-node-1".to_owned(),
            cordon: Cordon::Others,
            created: Some(1000),
            version: "v1.35.1".to_owned(),
            internal_ip: "10.0.0.36".to_owned(),
            ..NodeStatus::default()
        };
        let wanted = "NAME            STATUS                        ROLES    AGE   VERSION   INTERNAL-IP\n\
                      worker-node-1   NotReady,SchedulingDisabled   <none>   45s   v1.35.1   10.0.0.36\n";
        assert_eq!(node_table(&[(node.name.clone(), node)].into(), 1045), wanted);
    }

    #[test]
    fn ages_have_one_unit() {
        let ages: Vec<_> = [0, 119, 120, 7199, 7200, 172_799, 172_800].map(age).to_vec();
        assert_eq!(ages, ["0s", "119s", "2m", "119m", "2h", "47h", "2d"]);
    }
}
