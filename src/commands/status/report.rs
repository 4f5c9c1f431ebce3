//! What is known of a node, as programs read it; people get the same in columns. docs/status.md tells what each field
//! means, and is a promise.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde::Serialize;

use super::secrets::Place;
use crate::boot::{BootEvent, News, Stage};
use crate::build;
use crate::cluster;
use crate::config::HypervisorName;
use crate::identity::rotation_note;
use crate::machine::{DomainInfo, DomainState};

/// All nodes that were asked for.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Document {
    pub(super) api_version: &'static str,
    pub(super) cluster: String,
    /// The hypervisors of the cluster file, where there are several: whether each answers.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) hypervisors: BTreeMap<String, Answers>,
    /// Whether the cluster's API was asked: where it was not, no node's `node` is known.
    pub(super) nodes_known: bool,
    pub(super) nodes: Vec<Report>,
}

/// One node.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    pub(super) name: String,
    pub(super) in_cluster_file: bool,
    /// Where its machine is, or would be made, where there are several hypervisors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) hypervisor: Option<HypervisorName>,
    /// Whether nothing can be known of its machine now, since a hypervisor does not answer.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) unknown: bool,
    /// IPv4 address, by the cluster file.
    pub(super) address: Option<String>,
    /// The same of IPv6, where it has one.
    pub(super) address6: Option<String>,
    pub(super) uuid: uuid::Uuid,
    /// By the cluster file.
    pub(super) mac: Option<String>,
    pub(super) machine: Option<Machine>,
    pub(super) node: Option<Node>,
    /// End of the certificate in the machine's seed, RFC 3339; known where that seed is the one that was built last.
    pub(super) certificate_end: Option<String>,
    /// All of that certificate; known where its end is.
    pub(super) certificate: Option<Certificate>,
    pub(super) boot: Option<Boot>,
    pub(super) secrets: Vec<Place>,
    /// How the machine differs from what was built, and from what was defined.
    pub(super) differs: Vec<&'static str>,
    /// Domains made by hand whose place it took, or takes.
    pub(super) taken_over: Vec<String>,
}

/// Whether a hypervisor answers, else why not.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::commands) struct Answers {
    pub(in crate::commands) answers: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::commands) why: Option<String>,
}

/// Its machine.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Machine {
    /// What it does.
    pub(super) power: &'static str,
    pub(super) autostart: bool,
    pub(super) mark: Option<Mark>,
}

/// What nodebake noted at the machine.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Mark {
    pub(super) state: String,
    /// What kept it from coming up the last time: a stage, "stalled" or "stopped".
    pub(super) failure: Option<String>,
    pub(super) boot_id: Option<String>,
    pub(super) payload: String,
    pub(super) seed: String,
    pub(super) base_image: String,
}

/// The certificate in a machine's seed.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Certificate {
    pub(super) serial: String,
    pub(super) names: Vec<String>,
    pub(super) issuer: String,
    pub(super) not_before: String,
    pub(super) not_after: String,
    pub(super) state: Option<String>,
    pub(super) brought_along: bool,
    pub(super) rotates: Vec<String>,
    /// Whether the machine needs another one.
    #[serde(skip)]
    pub(super) needs_another: bool,
    /// What its kubelet does about its end.
    #[serde(skip)]
    note: &'static str,
}

impl Certificate {
    pub(super) fn of(built: &build::Certificate, now: Timestamp) -> Self {
        let build::Certificate { serial, names, issuer, not_before, not_after, brought_along, rotates } = built.clone();
        Self {
            serial,
            names,
            issuer,
            not_before,
            not_after,
            state: built.state(now).map(|state| state.to_string()),
            brought_along,
            rotates,
            needs_another: built.needs_another(now),
            note: built.state(now).filter(|state| state.is_ending()).map_or("", |_| rotation_note(built.rotation())),
        }
    }

    /// What is to be said of it where its end is near.
    pub(super) fn remark(&self, node: &str) -> Option<String> {
        if !self.needs_another && self.note.is_empty() {
            return None;
        }
        let state = if self.state.as_deref() == Some("expired") { "expired" } else { "ends soon," };
        let note = if self.note.is_empty() { String::new() } else { format!("; {}", self.note) };
        let first = if self.brought_along { "bring another, then " } else { "" };
        let remedy = if self.needs_another { format!("; {first}`nodebake rebuild {node}`") } else { String::new() };
        let text = format!("the certificate that the machine of {node} was made with {state} at {}", self.not_after);
        Some(format!("{text}{note}{remedy}"))
    }
}

/// The node as the cluster has it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::commands) struct Node {
    pub(super) ready: bool,
    /// Whether pods are kept off it.
    pub(super) cordoned: bool,
    /// Both as kubectl shows them.
    #[serde(skip)]
    summary: String,
    pub(super) roles: Vec<String>,
    pub(super) version: String,
    pub(super) internal_ip: String,
    pub(super) boot_id: String,
    /// RFC 3339.
    pub(super) created: Option<String>,
    /// When its kubelet was heard last, by the node's clock; RFC 3339.
    pub(super) last_seen: Option<String>,
}

/// The newest boot that the guest told of.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Boot {
    pub(super) id: uuid::Uuid,
    /// When it began, by the guest's clock; RFC 3339.
    pub(super) began: Option<String>,
    pub(super) stages: Vec<Reached>,
}

/// A stage of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Reached {
    pub(super) stage: Stage,
    pub(super) outcome: &'static str,
    /// Since the guest's kernel started.
    pub(super) seconds: f64,
    /// Tail of the failing unit's log.
    pub(super) log: Option<String>,
}

impl fmt::Display for Reached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.outcome {
            "reached" => self.stage.fmt(f),
            outcome => write!(f, "{outcome}: {}", self.stage),
        }
    }
}

impl Machine {
    pub(super) fn of(domain: &DomainInfo) -> Self {
        let mark = domain.mark().map(|mark| Mark {
            state: mark.state.to_string(),
            failure: mark.stage.clone(),
            boot_id: mark.boot_id.clone(),
            payload: mark.payload.to_string(),
            seed: mark.seed.to_string(),
            base_image: mark.base.clone(),
        });
        Self { power: power(domain.state), autostart: domain.autostart, mark }
    }
}

impl Node {
    pub(in crate::commands) fn of(status: &cluster::NodeStatus) -> Self {
        let text = crate::printable::line;
        Self {
            ready: status.ready,
            cordoned: status.cordon != cluster::Cordon::Open,
            summary: status.summary(),
            roles: status.roles.iter().map(|role| text(role)).collect(),
            version: text(&status.version),
            internal_ip: text(&status.internal_ip),
            boot_id: text(&status.boot_id),
            created: status.created.and_then(time),
            last_seen: status.lease_renewed.and_then(time),
        }
    }
}

impl Boot {
    /// `None` where nothing was told.
    pub(super) fn of(events: &[BootEvent]) -> Option<Self> {
        let last = events.last()?;
        let stages = events.iter().map(|event| Reached {
            stage: event.stage,
            outcome: match event.news {
                News::Begun => "begun",
                News::Reached => "reached",
                News::Failed(_) => "failed",
            },
            seconds: event.uptime,
            log: match &event.news {
                News::Failed(log) => Some(log.clone()),
                News::Begun | News::Reached => None,
            },
        });
        Some(Self { id: last.boot_id, began: time(last.booted), stages: stages.collect() })
    }
}

/// Seconds since the epoch as in RFC 3339.
fn time(seconds: i64) -> Option<String> {
    Timestamp::from_second(seconds).ok().map(|time| time.to_string())
}

fn power(state: DomainState) -> &'static str {
    match state {
        DomainState::Running => "running",
        DomainState::Paused => "paused",
        DomainState::ShuttingDown => "shutting down",
        DomainState::ShutOff => "shut off",
        DomainState::Crashed => "crashed",
        DomainState::Unknown => "unknown",
    }
}

/// Heads of the table's columns, and of the lines of a single node.
pub(super) const COLUMNS: [&str; 7] = ["NAME", "MACHINE", "STATE", "CLUSTER", "ADDRESS", "SECRETS", "DIFFERS"];

/// What a wide table has besides.
pub(super) const WIDE: [&str; 6] = ["UUID", "MAC", "BOOT", "CERTIFICATE-END", "PAYLOAD", "SEED"];

impl Report {
    /// A node of which nothing is known.
    pub(super) fn new(name: String, in_cluster_file: bool, uuid: uuid::Uuid) -> Self {
        Self {
            name,
            in_cluster_file,
            hypervisor: None,
            unknown: false,
            address: None,
            address6: None,
            uuid,
            mac: None,
            machine: None,
            node: None,
            certificate_end: None,
            certificate: None,
            boot: None,
            secrets: Vec::new(),
            differs: Vec::new(),
            taken_over: Vec::new(),
        }
    }

    fn mark(&self) -> Option<&Mark> {
        self.machine.as_ref()?.mark.as_ref()
    }

    /// The cells of its row in a table.
    pub(super) fn row(&self, nodes_known: bool) -> [String; 7] {
        let dash = || "-".to_owned();
        let cluster = match &self.node {
            _ if !nodes_known => "?".to_owned(),
            None => dash(),
            Some(node) => node.summary.clone(),
        };
        let state = self.mark().map_or_else(dash, |mark| match &mark.failure {
            Some(failure) => format!("{} ({failure})", mark.state),
            None => mark.state.clone(),
        });
        [
            self.name.clone(),
            self.machine
                .as_ref()
                .map_or(if self.unknown { "unknown" } else { "-" }, |machine| machine.power)
                .to_owned(),
            state,
            cluster,
            self.address.clone().unwrap_or_else(dash),
            super::secrets::column(&self.secrets),
            self.differs(),
        ]
    }

    /// The cells that a wide table has besides: of digests the head, as in file names.
    pub(super) fn wide(&self) -> [String; 6] {
        let or_dash = |cell: Option<String>| cell.unwrap_or_else(|| "-".to_owned());
        let short = |digest: &str| format!("{digest:.12}");
        [
            self.uuid.to_string(),
            or_dash(self.mac.clone()),
            or_dash(self.mark().and_then(|mark| mark.boot_id.clone())),
            or_dash(self.certificate_end.clone()),
            or_dash(self.mark().map(|mark| short(&mark.payload))),
            or_dash(self.mark().map(|mark| short(&mark.seed))),
        ]
    }

    fn differs(&self) -> String {
        match self.differs.as_slice() {
            _ if !self.in_cluster_file => "not in the cluster file".to_owned(),
            [] => "-".to_owned(),
            differs => differs.join(", "),
        }
    }

    /// All that is known, a line for each thing.
    pub(super) fn lines(&self, nodes_known: bool) -> Vec<Vec<String>> {
        let row = self.row(nodes_known);
        let mut lines: Vec<(String, String)> =
            COLUMNS.iter().zip(row).map(|(head, cell)| (head.to_lowercase(), cell)).collect();
        let at = lines.iter().position(|(head, _)| head == "secrets").unwrap_or(lines.len());
        // Each place on a line of its own, under one head.
        let heads = std::iter::once("secrets").chain(std::iter::repeat(""));
        let places = heads.zip(&self.secrets).map(|(head, place)| (head.to_owned(), place.what.clone()));
        lines.splice(at..=at, places.collect::<Vec<_>>());
        let at = lines.iter().position(|(head, _)| head == "address").map_or(lines.len(), |at| at + 1);
        lines.splice(at..at, self.address6.iter().map(|address| (String::new(), address.clone())));
        if let Some(hypervisor) = &self.hypervisor {
            lines.insert(1, ("hypervisor".to_owned(), hypervisor.to_string()));
        }
        if let Some(last) = self.node.as_ref().filter(|_| self.unknown).and_then(|node| node.last_seen.clone()) {
            lines.push(("last seen".to_owned(), last));
        }
        if let Some(mark) = self.mark() {
            for (head, digest) in [("payload", &mark.payload), ("seed", &mark.seed), ("base image", &mark.base_image)] {
                lines.push((head.to_owned(), format!("sha256:{digest}")));
            }
        }
        if let Some(certificate) = &self.certificate {
            let names = certificate.names.join(", ");
            let rotates = certificate.rotates.join(", ");
            for (head, value) in [
                ("certificate", format!("ends {}", certificate.not_after)),
                ("serial", certificate.serial.clone()),
                ("names", names),
                ("rotates", rotates),
            ] {
                if !value.is_empty() {
                    lines.push((head.to_owned(), value));
                }
            }
        }
        if let Some(boot) = &self.boot {
            let began = boot.began.as_deref().unwrap_or("?");
            lines.push(("boot".to_owned(), format!("{}, began {began} by the guest's clock", boot.id)));
        }
        lines.into_iter().map(|(head, value)| vec![head, value]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_node_on_a_silent_host_is_told_when_it_was_heard() {
        let seen = cluster::NodeStatus { lease_renewed: Some(1_800_000_000), ..cluster::NodeStatus::default() };
        let node = Some(Node::of(&seen));
        let report =
            |unknown| Report { unknown, node: node.clone(), ..Report::new("n".to_owned(), true, uuid::Uuid::nil()) };
        let last = |unknown| {
            let lines = report(unknown).lines(true);
            lines.into_iter().find(|line| line[0] == "last seen").map(|line| line[1].clone())
        };
        assert_eq!((last(true).as_deref(), last(false)), (Some("2027-01-15T08:00:00Z"), None));
        assert_eq!(report(true).row(true)[1], "unknown");
        let json = serde_json::to_value(report(true)).unwrap_or_default();
        assert_eq!((&json["unknown"], &json["node"]["lastSeen"]), (&true.into(), &"2027-01-15T08:00:00Z".into()));
    }
}
