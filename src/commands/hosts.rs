//! `nodebake hosts`: the lines that the control plane's /etc/hosts needs to know the nodes by name.

use std::net::IpAddr;

use serde::Serialize;

use super::Session;
use crate::cli::Hosts;
use crate::config::Node;
use crate::error::Error;

/// The line of one of a node's addresses.
#[derive(Serialize)]
struct Line {
    address: IpAddr,
    names: Vec<String>,
}

/// All lines as programs read them.
#[derive(Serialize)]
struct Document {
    hosts: Vec<Line>,
}

pub(super) fn run(session: &Session, args: &Hosts) -> Result<(), Error> {
    let hosts: Vec<_> = session.select(&args.which)?.into_iter().flat_map(lines).collect();
    let document = Document { hosts };
    let row = |line: &Line| format!("{} {}\n", line.address, line.names.join(" "));
    session.show(args.report.output, &document, || document.hosts.iter().map(row).collect())
}

/// By its own name, and by the whole one that its cloudConfig gives it.
fn lines(node: &Node) -> Vec<Line> {
    let name = node.name.to_string();
    let whole = node.settings.cloud_config.get("fqdn").and_then(|fqdn| fqdn.as_str());
    let whole = whole.filter(|whole| *whole != name.as_str()).map(crate::printable::line);
    let names: Vec<String> = std::iter::once(name).chain(whole).collect();
    node.addresses().into_iter().map(|address| Line { address, names: names.clone() }).collect()
}
