//! What `up`, `rebuild` and `evacuate` work on: which nodes, and where they are to go.

use std::collections::BTreeMap;

use super::Session;
use super::fleet::{Fleet, Goes};
use crate::config::{ClusterId, Config, HypervisorName, Node};
use crate::error::Error;
use crate::plan::{self, Blocked, ByHand, Ground, Placement};

/// Which nodes, and where they are to go.
#[derive(Clone, Copy)]
pub(super) enum Target<'a> {
    /// These, where they are.
    Nodes(&'a [&'a Node]),
    /// These, at a hypervisor; where none is named each at the one that the cluster file binds it to.
    Moved(&'a [&'a Node], Option<&'a HypervisorName>),
    /// All that have their machines at a hypervisor, each at another one.
    Leaving(&'a HypervisorName),
}

impl<'a> Target<'a> {
    /// Whether the cluster file knows where nodes are to go, or what they are to leave; found out before anybody is asked.
    pub(super) fn check(self, config: &Config) -> Result<(), Error> {
        match self {
            Self::Moved(_, Some(name)) | Self::Leaving(name) => number(config, name).map(|_| ()),
            Self::Moved(_, None) | Self::Nodes(_) => Ok(()),
        }
    }

    /// The hypervisors, with the nodes where they are to be.
    pub(super) fn reach(self, session: &'a Session) -> Result<(Fleet, Vec<&'a Node>), Error> {
        let config = &session.config;
        match self {
            Self::Nodes(nodes) => Ok((Fleet::open(session)?, nodes.to_vec())),
            Self::Moved(nodes, to) => {
                let to = to.map(|to| number(config, to).map(|_| to)).transpose()?;
                let goes = |grounds: &[Ground]| moved(session, nodes, to, grounds);
                Ok((Fleet::open_for(session, goes)?, nodes.to_vec()))
            }
            Self::Leaving(from) => {
                let number = number(config, from)?;
                let mut goes = Goes::new();
                let fleet = Fleet::open_for(session, |grounds| {
                    goes = plan::evacuation(config, &session.cluster_id()?, grounds, number)?;
                    Ok(goes.clone())
                })?;
                fleet.check_answers(from)?;
                Ok((fleet, config.nodes.iter().filter(|node| goes.contains_key(&node.name)).collect()))
            }
        }
    }

    /// What is said where nothing is to do.
    pub(super) fn nothing(self, by_hand: ByHand) -> String {
        let differs = "nothing differs from the cluster file";
        match self {
            _ if by_hand != ByHand::InTheWay => "all that was asked for has been taken over already".to_owned(),
            Self::Leaving(_) => "no machine of this cluster is there".to_owned(),
            Self::Moved(_, Some(to)) => format!("all are at {to}, and {differs}; --same replaces them all the same"),
            _ => format!("{differs}; --same, or a node's name, replaces it all the same"),
        }
    }

    /// Fails where a hypervisor that was to be left is not, or nodes are not where they were sent.
    pub(super) fn end(self, fleet: &Fleet, id: &ClusterId) -> Result<(), Error> {
        match self {
            Self::Leaving(from) => fleet.check_left(id, from),
            Self::Moved(nodes, Some(to)) => fleet.check_there(id, nodes, to),
            Self::Moved(_, None) | Self::Nodes(_) => Ok(()),
        }
    }
}

fn number(config: &Config, name: &HypervisorName) -> Result<usize, Error> {
    let number = config.sites.iter().position(|site| site.name == *name);
    number.ok_or_else(|| Error::UnknownHypervisor {
        name: name.clone(),
        known: config.sites.iter().map(|site| site.name.clone()).collect(),
    })
}

/// Where nodes go that are to be at one hypervisor, or where the cluster file binds them. What is on its way already goes
/// nowhere else.
fn moved(session: &Session, nodes: &[&Node], to: Option<&HypervisorName>, grounds: &[Ground]) -> Result<Goes, Error> {
    let config = &session.config;
    if config.sites.is_empty() {
        return Ok(Goes::new());
    }
    let mut placements = plan::place(config, &session.cluster_id()?, grounds, &BTreeMap::new());
    let mut goes = Goes::new();
    for node in nodes {
        let Some(to) = to.or(node.hypervisor.as_ref()) else { continue };
        let (number, Some(at)) = (number(config, to)?, config.nodes.iter().position(|it| it.name == node.name)) else {
            continue;
        };
        plan::check(config, &placements, node, to)?;
        match placements[at] {
            Placement::Moving { at, other, back } if back || at != number => {
                let other = config.sites[if back { other } else { at }].name.clone();
                return Err(Blocked::OnItsWay { node: node.name.clone(), other }.into());
            }
            Placement::Moving { .. } => {}
            _ => placements[at] = Placement::On(number),
        }
        goes.insert(node.name.clone(), to.clone());
    }
    Ok(goes)
}
