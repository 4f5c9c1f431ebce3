//! Random cluster files, and what becomes of one as time goes by.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use nodebake::config::{Config, parse};
use rand::Rng as _;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;

/// Names of data disks.
const DISKS: [&str; 3] = ["data", "logs", "x"];

/// What a cluster file says.
#[derive(Debug, Clone)]
pub(super) struct Draft {
    cluster: String,
    /// How many hypervisors; one alone has no name.
    pub(super) hosts: usize,
    dhcp: bool,
    groups: Vec<Settings>,
    nodes: Vec<NodeDraft>,
    /// How many nodes there ever were.
    named: usize,
}

#[derive(Debug, Clone, Default)]
struct Settings {
    cpus: Option<u64>,
    /// In GiB, as all sizes are.
    disk: Option<u64>,
    data: BTreeMap<&'static str, u64>,
    role: Option<&'static str>,
    hypervisors: Vec<usize>,
    keep_seed: bool,
}

#[derive(Debug, Clone)]
struct NodeDraft {
    name: String,
    address: usize,
    group: Option<usize>,
    own: Settings,
    bound: Option<usize>,
}

impl Draft {
    pub(super) fn new(number: u64, dhcp: bool, random: &mut StdRng) -> Self {
        let hosts = *[1, 1, 2, 3].choose(random).unwrap();
        let groups = (0..random.gen_range(0..3)).map(|_| Settings::of_group(hosts, random)).collect();
        let cluster = format!("c{number}");
        let mut draft = Self { cluster, hosts, dhcp: dhcp && hosts == 1, groups, nodes: Vec::new(), named: 0 };
        (0..random.gen_range(1..6)).for_each(|_| draft.add(random));
        draft
    }

    fn add(&mut self, random: &mut StdRng) {
        let group = (!self.groups.is_empty() && random.gen_bool(0.6)).then(|| random.gen_range(0..self.groups.len()));
        let bound = (self.hosts > 1 && random.gen_bool(0.2)).then(|| random.gen_range(0..self.hosts));
        // One that its group may not be on would be a problem of the file.
        let bound = bound.filter(|at| group.is_none_or(|group| self.groups[group].may_be_on(*at)));
        let (name, address) = (format!("{}-n{}", self.cluster, self.named), 30 + self.named);
        self.nodes.push(NodeDraft { name, address, group, own: Settings::of_node(random), bound });
        self.named += 1;
    }

    /// Nodes come and go, disks grow, and machines get other CPUs.
    pub(super) fn changed(&self, random: &mut StdRng) -> Self {
        let mut later = self.clone();
        for node in &mut later.nodes {
            if random.gen_bool(0.3) {
                node.own.cpus = Some(random.gen_range(1..5));
            }
            if random.gen_bool(0.3) {
                node.own.disk = Some(random.gen_range(10..60));
            }
            if random.gen_bool(0.3) {
                let disk = *DISKS.choose(random).unwrap();
                // Disks do not shrink, whichever layer says how large they are.
                let of_group = node.group.and_then(|group| self.groups[group].data.get(disk));
                let size = node.own.data.get(disk).or(of_group).copied().unwrap_or(1);
                node.own.data.insert(disk, size + random.gen_range(0..5));
            }
            if random.gen_bool(0.2) {
                node.own.keep_seed = !node.own.keep_seed;
            }
        }
        if later.nodes.len() > 1 && random.gen_bool(0.3) {
            later.nodes.remove(random.gen_range(0..later.nodes.len()));
        }
        (0..random.gen_range(0..3)).for_each(|_| later.add(random));
        later.nodes.shuffle(random);
        later
    }

    pub(super) fn config(&self) -> Config {
        let text = self.text();
        parse(Path::new("/clusters/random/nodebake.yaml"), &text).unwrap_or_else(|error| panic!("{error} in\n{text}"))
    }

    fn text(&self) -> String {
        let Self { cluster, dhcp, .. } = self;
        let mut text = format!(
            "apiVersion: nodebake/v1\n\
             cluster: {{name: {cluster}, apiServer: 'https://10.0.0.4:6443', clusterDNS: [10.96.0.10], pki: pki, \
             kubeconfig: k}}\n\
             versions: {{kubernetes: 1.35.1, containerd: 2.2.1, runc: 1.2.8, cniPlugins: 1.9.0}}\n\
             image: ubuntu-24.04\n\
             network: {{cidr: 10.0.0.0/24, gateway: 10.0.0.1, nameservers: [10.0.0.1], dhcp: {dhcp}}}\n"
        );
        if self.hosts > 1 {
            text.push_str("hypervisors:\n");
            for at in 0..self.hosts {
                let _ = writeln!(text, "  h{at}: {{uri: 'test:///{at}', pool: p{at}, poolPath: /srv/p{at}}}");
            }
        }
        if !self.groups.is_empty() {
            text.push_str("groups:\n");
        }
        for (at, group) in self.groups.iter().enumerate() {
            let _ = writeln!(text, "  g{at}: {{{}}}", group.text().join(", "));
        }
        text.push_str("nodes:\n");
        for node in &self.nodes {
            let mut said = vec![format!("name: {}", node.name), format!("address: 10.0.0.{}", node.address)];
            said.extend(node.group.map(|group| format!("group: g{group}")));
            said.extend(node.bound.map(|at| format!("hypervisor: h{at}")));
            said.extend(node.own.text());
            let _ = writeln!(text, "  - {{{}}}", said.join(", "));
        }
        text
    }
}

impl Settings {
    fn of_group(hosts: usize, random: &mut StdRng) -> Self {
        let mut hypervisors: Vec<_> = (0..hosts).filter(|_| hosts > 1 && random.gen_bool(0.5)).collect();
        hypervisors.shuffle(random);
        let role = [None, Some("worker"), Some("storage")].choose(random).copied().flatten();
        Self { role, hypervisors, ..Self::of_node(random) }
    }

    fn of_node(random: &mut StdRng) -> Self {
        let disks: Vec<_> = DISKS.into_iter().filter(|_| random.gen_bool(0.2)).collect();
        Self {
            cpus: random.gen_bool(0.3).then(|| random.gen_range(1..5)),
            disk: random.gen_bool(0.3).then(|| random.gen_range(10..40)),
            data: disks.into_iter().map(|disk| (disk, random.gen_range(1..9))).collect(),
            keep_seed: random.gen_bool(0.2),
            ..Self::default()
        }
    }

    fn may_be_on(&self, at: usize) -> bool {
        self.hypervisors.is_empty() || self.hypervisors.contains(&at)
    }

    fn text(&self) -> Vec<String> {
        let mut said = Vec::new();
        said.extend(self.cpus.map(|cpus| format!("cpus: {cpus}")));
        said.extend(self.disk.map(|disk| format!("disk: {disk}GiB")));
        if !self.data.is_empty() {
            let data: Vec<_> = self.data.iter().map(|(name, size)| format!("{name}: {{size: {size}GiB}}")).collect();
            said.push(format!("dataDisks: {{{}}}", data.join(", ")));
        }
        said.extend(self.role.map(|role| format!("labels: {{node-role.kubernetes.io/{role}: ''}}")));
        if !self.hypervisors.is_empty() {
            let names: Vec<_> = self.hypervisors.iter().map(|at| format!("h{at}")).collect();
            said.push(format!("hypervisors: [{}]", names.join(", ")));
        }
        if self.keep_seed {
            said.push("keepSeed: true".to_owned());
        }
        said
    }
}
