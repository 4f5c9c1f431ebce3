//! What each of several hypervisors has, and what machines take of it.

use std::collections::BTreeMap;

use serde::Serialize;

use super::fleet::{Fleet, Member};
use super::status::Answers;
use crate::config::ClusterId;
use crate::doctor::size;
use crate::error::Error;
use crate::machine::MachineError;
use crate::plan::{ByHand, Load};

/// A hypervisor as programs read it.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Standing {
    #[serde(flatten)]
    answers: Answers,
    /// None where it does not answer.
    #[serde(flatten)]
    capacity: Option<Capacity>,
}

/// What it has, and what is taken of it once its nodes' machines are made.
#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Capacity {
    /// How many nodes are there, or are to be.
    nodes: usize,
    cpus: Share,
    /// In bytes.
    memory: Share,
    /// Bytes left in the pool now; none while that is not there or not active.
    pool_available: Option<u64>,
}

/// What machines take of something of their host.
#[derive(Debug, PartialEq, Serialize)]
struct Share {
    /// What there is.
    host: u64,
    /// What the nodes' machines have, or are to have.
    nodes: u64,
    /// What all other machines have that run there.
    others: u64,
}

/// All hypervisors by their names; none where there is but one.
pub(super) fn standings(fleet: &Fleet, id: &ClusterId) -> Result<BTreeMap<String, Standing>, Error> {
    let mut standings = BTreeMap::new();
    for (name, answers) in fleet.names() {
        let member = fleet.members.iter().find(|member| member.name.as_ref().is_some_and(|it| it.to_string() == name));
        let capacity = member.map(|member| read(member, id)).transpose()?;
        standings.insert(name, Standing { answers, capacity });
    }
    Ok(standings)
}

fn read(member: &Member, id: &ClusterId) -> Result<Capacity, MachineError> {
    let host = member.hypervisor.host()?;
    let pool = member.hypervisor.pool(&member.config.libvirt.pool)?;
    let nodes: Vec<_> = member.config.nodes.iter().collect();
    let load = Load::of(Some(id), &nodes, &member.domains, ByHand::InTheWay);
    let others = load.ours + load.others;
    Ok(Capacity {
        nodes: nodes.len(),
        cpus: Share { host: host.cpus.into(), nodes: load.asked.cpus, others: others.cpus },
        memory: Share { host: host.memory, nodes: load.asked.memory, others: others.memory },
        pool_available: pool.filter(|pool| pool.active).map(|pool| pool.available),
    })
}

/// A line for each, below the rows of a plan; nothing where there is but one.
pub(super) fn table(standings: &BTreeMap<String, Standing>) -> String {
    if standings.is_empty() {
        return String::new();
    }
    let none = || "-".to_owned();
    let row = |(name, standing): (&String, &Standing)| {
        let cells = standing.capacity.as_ref().map(|it| {
            let free = it.pool_available.map_or_else(none, size);
            [it.nodes.to_string(), share(&it.cpus, |count| count.to_string()), share(&it.memory, size), free]
        });
        let mut row = vec![name.clone()];
        row.extend(cells.unwrap_or_else(|| std::array::from_fn(|_| none())));
        row
    };
    let heads = ["HYPERVISOR", "NODES", "CPUS", "MEMORY", "POOL FREE"].map(str::to_owned).to_vec();
    let rows: Vec<_> = std::iter::once(heads).chain(standings.iter().map(row)).collect();
    format!("\n{}", super::table(&rows))
}

/// `2 of 4`; with what others take, `2 + 1 of 4`.
fn share(share: &Share, shown: impl Fn(u64) -> String) -> String {
    let others = if share.others == 0 { String::new() } else { format!(" + {}", shown(share.others)) };
    format!("{}{others} of {}", shown(share.nodes), shown(share.host))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use serde_json::json;

    use super::super::fleet::Away;
    use super::*;
    use crate::digest::Digest;
    use crate::machine::memory::Memory;
    use crate::machine::{DomainInfo, DomainState, Hypervisor as _, PoolSpec};

    fn domain(uuid: uuid::Uuid, state: DomainState, memory: u64, cpus: u32) -> DomainInfo {
        let xml = format!("<domain><memory unit='GiB'>{memory}</memory><vcpu>{cpus}</vcpu></domain>");
        DomainInfo { name: uuid.to_string(), uuid, state, autostart: false, mark: Ok(None), xml }
    }

    /// The example's two nodes, of 2 CPUs and 4 GiB each, on one host of 8 CPUs and 64 GiB; a second one has none, a
    /// third does not answer.
    fn fleet(id: &ClusterId, pool: bool, domains: Vec<DomainInfo>) -> Fleet {
        let config = crate::config::parse(Path::new("/c/nodebake.yaml"), crate::config::INIT).unwrap();
        assert_eq!(config.cluster.name, id.name);
        let host = Memory::new();
        if pool {
            host.create_pool(&PoolSpec { name: config.libvirt.pool.clone(), path: "/pool".to_owned() }).unwrap();
        }
        let empty = crate::config::Config { nodes: Vec::new(), ..config.clone() };
        let member = |name: &str, config, hypervisor, domains| Member {
            name: Some(name.parse().unwrap()),
            config,
            hypervisor: Arc::new(hypervisor),
            domains,
        };
        Fleet {
            journeys: Vec::new(),
            members: vec![member("a", config, host, domains), member("b", empty, Memory::new(), Vec::new())],
            away: vec![Away::silent("c".parse().unwrap(), "qemu+ssh://c/system".to_owned())],
            unknown: Vec::new(),
            crowded: Vec::new(),
        }
    }

    #[test]
    fn each_hypervisor_has_a_line() {
        let id = ClusterId { name: "seed".parse().unwrap(), ca: Digest::of(b"ca") };
        // One of the nodes runs already, with less; it counts as it is to be.
        let own = domain(id.uuid(&"worker-node-1".parse().unwrap()), DomainState::Running, 1, 1);
        let other = |number, state| domain(uuid::Uuid::from_u128(number), state, 3, 1);
        let (runs, off) = (other(1, DomainState::Running), other(2, DomainState::ShutOff));
        let head = "\nHYPERVISOR   NODES   CPUS   MEMORY   POOL FREE\n";
        for (pool, domains, line) in [
            (false, vec![], "a 2 4 of 8 8.0 GiB of 64.0 GiB -"),
            (true, vec![own.clone(), off.clone()], "a 2 4 of 8 8.0 GiB of 64.0 GiB 1024.0 GiB"),
            (true, vec![own.clone(), runs.clone()], "a 2 4 + 1 of 8 8.0 GiB + 3.0 GiB of 64.0 GiB 1024.0 GiB"),
        ] {
            let shown = table(&standings(&fleet(&id, pool, domains), &id).unwrap());
            let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
            let lines: Vec<_> = shown.lines().map(words).collect();
            let wanted = ["", head, line, "b 0 0 of 8 0.0 MiB of 64.0 GiB -", "c - - - -"].map(words);
            assert_eq!(lines, wanted, "{shown}");
        }
        let standings = standings(&fleet(&id, true, vec![own, runs, off]), &id).unwrap();
        let why = "libvirt at qemu+ssh://c/system did not answer in 20 s";
        let gib = |count: u64| count << 30;
        let wanted = json!({
            "a": {
                "answers": true,
                "nodes": 2,
                "cpus": {"host": 8, "nodes": 4, "others": 1},
                "memory": {"host": gib(64), "nodes": gib(8), "others": gib(3)},
                "poolAvailable": gib(1024),
            },
            "b": {
                "answers": true,
                "nodes": 0,
                "cpus": {"host": 8, "nodes": 0, "others": 0},
                "memory": {"host": gib(64), "nodes": 0, "others": 0},
                "poolAvailable": null,
            },
            "c": {"answers": false, "why": why},
        });
        assert_eq!(serde_json::to_value(&standings).unwrap(), wanted);
        assert_eq!(table(&BTreeMap::new()), "");
    }
}
