//! Whether the host has the CPUs and the memory for the machines.

use super::finding::{Check, Finding, or_ok, size};
use super::{Case, Host};
use crate::plan::Load;

fn load(case: Case, host: &Host) -> Load {
    Load::of(case.id, case.nodes, &host.inventory.domains, case.by_hand)
}

/// Virtual CPUs against those of the host: more in all than there are only make each other wait, but a single machine with
/// more gains nothing from them, and its kubelet counts on them.
pub(super) fn cpus(case: Case, host: &Host) -> Vec<Finding> {
    let all = host.info.cpus;
    let large = case.nodes.iter().filter(|node| node.cpus > all).map(|node| {
        let found = format!("{} is to have {} CPUs, and the host has {all}", node.name, node.cpus);
        Finding::failure(Check::Cpus, found, format!("give it at most {all} `cpus` in the cluster file"))
    });
    let mut findings: Vec<_> = large.collect();
    let given = load(case, host).all().cpus;
    if findings.is_empty() && given > all.into() {
        let found = format!("the machines have {given} CPUs together, the host has {all}: they wait for each other");
        findings.push(Finding::warning(Check::Cpus, found, "lower `cpus` in the cluster file, or run fewer machines"));
    }
    or_ok(findings, Check::Cpus, || format!("{given} of {all} are given to machines"))
}

/// Memory against that of the host. A kubelet counts on what its machine has, and nothing takes it back, so what the
/// cluster's own machines have must be there; what others run may never use what it was given.
pub(super) fn memory(case: Case, host: &Host) -> Vec<Finding> {
    const LOWER: &str = "lower `memory` in the cluster file, or run fewer machines";
    let all = host.info.memory;
    let large = case.nodes.iter().filter(|node| node.memory > all).map(|node| {
        let found = format!("{} is to have {}, and the host has {}", node.name, size(node.memory), size(all));
        Finding::failure(Check::Memory, found, LOWER)
    });
    let mut findings: Vec<_> = large.collect();
    let load = load(case, host);
    let (ours, given) = ((load.asked + load.ours).memory, load.all().memory);
    if findings.is_empty() && ours > all {
        let found = format!("the cluster's machines have {} together, the host has {}", size(ours), size(all));
        findings.push(Finding::failure(Check::Memory, found, LOWER));
    } else if findings.is_empty() && given > all {
        let found = format!(
            "the cluster's machines have {} and others that run {}, together more than the host's {}: it may end one of them",
            size(ours),
            size(load.others.memory),
            size(all)
        );
        findings.push(Finding::warning(Check::Memory, found, LOWER));
    }
    or_ok(findings, Check::Memory, || format!("{} of {} are given to machines", size(given), size(all)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::fixture::{Fixture, domain, resources};
    use crate::machine::DomainState::{Running, ShutOff};

    #[test]
    fn cpus_may_be_shared_but_not_by_one() {
        let lower = "lower `cpus` in the cluster file, or run fewer machines";
        for (all, others, wanted) in [
            (8, 0, vec!["ok: 4 of 8 are given to machines".to_owned()]),
            (8, 4, vec!["ok: 8 of 8 are given to machines".to_owned()]),
            (
                8,
                5,
                vec![format!("warning: the machines have 9 CPUs together, the host has 8: they wait for each other | {lower}")],
            ),
            (
                1,
                0,
                ["worker-node-1", "worker-node-2"]
                    .map(|node| format!("failure: {node} is to have 2 CPUs, and the host has 1 | give it at most 1 `cpus` in the cluster file"))
                    .to_vec(),
            ),
        ] {
            let mut fixture = Fixture::new();
            fixture.host.info.cpus = all;
            // One of ours runs, and counts once; one that is off counts nothing.
            fixture.host.inventory.domains = vec![
                fixture.machine(0, Running),
                domain("other", Running, &resources(1, others)),
                domain("off", ShutOff, &resources(64, 64)),
            ];
            assert_eq!(fixture.judge(cpus), wanted, "{all} {others}");
        }
    }

    #[test]
    fn memory_of_the_clusters_own_machines_must_be_there() {
        let lower = "lower `memory` in the cluster file, or run fewer machines";
        let together = "failure: the cluster's machines have 8.0 GiB together, the host has 7.0 GiB";
        let shared = "warning: the cluster's machines have 8.0 GiB and others that run 9.0 GiB, together more than the \
                      host's 16.0 GiB: it may end one of them";
        let one = |node: &str| format!("failure: {node} is to have 4.0 GiB, and the host has 3.0 GiB | {lower}");
        for (all, others, wanted) in [
            (16, 8, vec!["ok: 16.0 GiB of 16.0 GiB are given to machines".to_owned()]),
            (16, 9, vec![format!("{shared} | {lower}")]),
            (7, 9, vec![format!("{together} | {lower}")]),
            (3, 0, vec![one("worker-node-1"), one("worker-node-2")]),
        ] {
            let mut fixture = Fixture::new();
            fixture.host.info.memory = all << 30;
            fixture.host.inventory.domains =
                vec![fixture.machine(1, Running), domain("other", Running, &resources(others, 1))];
            assert_eq!(fixture.judge(memory), wanted, "{all} {others}");
        }
    }

    #[test]
    fn another_machine_of_the_cluster_counts_as_its_own() {
        let mut fixture = Fixture::new();
        fixture.host.info.memory = 7 << 30;
        fixture.host.inventory.domains = vec![fixture.machine(1, Running)];
        fixture.config.nodes.pop();
        let together = "failure: the cluster's machines have 8.0 GiB together, the host has 7.0 GiB | lower `memory` in the \
                        cluster file, or run fewer machines";
        assert_eq!(fixture.judge(memory), [together]);
    }
}
