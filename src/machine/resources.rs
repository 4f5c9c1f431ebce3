//! What a domain takes of its host, read from its XML.

use roxmltree::{Document, Node};

use crate::config::Mac;

/// What a domain takes of its host; what its XML does not say is nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resources {
    /// Memory in bytes, the most that it may have.
    pub memory: u64,
    /// Virtual CPUs.
    pub cpus: u32,
    /// Its network cards.
    pub cards: Vec<Card>,
}

/// A network card of a domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Card {
    /// Its MAC.
    pub mac: Mac,
    /// The libvirt network that it is on, else the host's bridge.
    pub on: Option<String>,
}

/// Reads the XML as libvirt writes it: memory with its unit, a MAC for every card.
pub(super) fn read(xml: &str) -> Resources {
    let Ok(document) = Document::parse(xml) else { return Resources::default() };
    let root = document.root_element();
    let child = |name| root.children().find(|node| node.has_tag_name(name));
    let cards = child("devices").into_iter().flat_map(|devices| devices.children()).filter_map(card);
    Resources {
        memory: child("memory").and_then(bytes).unwrap_or(0),
        cpus: child("vcpu").and_then(|node| node.text()?.trim().parse().ok()).unwrap_or(0),
        cards: cards.collect(),
    }
}

fn card(node: Node<'_, '_>) -> Option<Card> {
    let part = |name| node.children().find(|child| child.has_tag_name(name));
    let mac = part("mac").filter(|_| node.has_tag_name("interface"))?.attribute("address")?.parse().ok()?;
    let source = part("source");
    let on = source.and_then(|source| source.attribute("network").or_else(|| source.attribute("bridge")));
    Some(Card { mac, on: on.map(str::to_owned) })
}

/// An amount in libvirt's units, of which it writes only KiB, its default.
fn bytes(node: Node<'_, '_>) -> Option<u64> {
    let unit = match node.attribute("unit").unwrap_or("KiB") {
        "b" | "bytes" => 1,
        "k" | "KiB" => 1 << 10,
        "M" | "MiB" => 1 << 20,
        "G" | "GiB" => 1 << 30,
        "T" | "TiB" => 1 << 40,
        _ => return None,
    };
    node.text()?.trim().parse::<u64>().ok()?.checked_mul(unit)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_domain_tells_what_it_takes() {
        let card = |mac: &str, on: Option<&str>| Card { mac: mac.parse().unwrap(), on: on.map(str::to_owned) };
        let cards = "<devices><interface type='network'><mac address='52:54:00:AA:00:01'/><source network='seed' \
                     bridge='virbr0'/></interface><interface type='bridge'><source bridge='br0'/><mac \
                     address='52:54:00:00:00:02'/></interface><interface type='user'><mac \
                     address='52:54:00:00:00:03'/></interface><interface type='user'/><hostdev><mac \
                     address='52:54:00:00:00:04'/></hostdev></devices>";
        let with = |inner: &str| read(&format!("<domain>{inner}</domain>"));
        for (inner, memory, cpus) in [
            ("<memory unit='KiB'>2048</memory><vcpu placement='static'>2</vcpu>", 2 << 20, 2),
            ("<memory>2048</memory><currentMemory>1</currentMemory>", 2 << 20, 0),
            ("<memory unit='GiB'> 3 </memory><vcpu> 8\n</vcpu>", 3 << 30, 8),
            ("<memory unit='furlong'>2048</memory><vcpu>many</vcpu>", 0, 0),
            ("<memory unit='TiB'>18446744073709551615</memory>", 0, 0),
        ] {
            assert_eq!(with(inner), Resources { memory, cpus, cards: Vec::new() }, "{inner}");
        }
        let all = [
            card("52:54:00:aa:00:01", Some("seed")),
            card("52:54:00:00:00:02", Some("br0")),
            card("52:54:00:00:00:03", None),
        ];
        assert_eq!(with(cards).cards, all);
        assert_eq!(read("<domain"), Resources::default());
    }
}
