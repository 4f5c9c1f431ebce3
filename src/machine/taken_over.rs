//! The note in a domain that somebody made by hand and whose place a node's machine of ours takes: whose, and what the
//! domain gets back where ours does not come up.
//!
//! Like the mark it decides what may be stopped, renamed and removed, so it is read as strictly: what does not parse exactly
//! is not ours to touch.

use std::fmt;
use std::str::FromStr;

use super::mark::MarkError;
use super::xml::Element;
use crate::config::{ClusterId, ClusterName, NodeName};
use crate::digest::Digest;

/// XML namespace of the note. One with other fields gets another number here.
pub(super) const NAMESPACE: &str = "https://nodebake.dev/xmlns/taken-over/1";
/// Prefix of the namespace in the XML that we write.
pub(super) const PREFIX: &str = "nodebake-taken-over";

/// How far a take-over came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoteState {
    /// It is under way, or was cut off: the domain gets all back, or its node's machine comes up.
    Begun,
    /// The machine in its place came up: the domain is kept until its user removes it.
    Kept,
}

impl NoteState {
    const ALL: [Self; 2] = [Self::Begun, Self::Kept];

    fn as_str(self) -> &'static str {
        match self {
            Self::Begun => "begun",
            Self::Kept => "kept",
        }
    }
}

impl fmt::Display for NoteState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The note in a domain made by hand that is being taken over, or was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TakenOver {
    /// The cluster's name.
    pub cluster: ClusterName,
    /// Digest of the cluster's CA certificate (DER).
    pub ca: Digest,
    /// The node whose machine takes its place.
    pub node: NodeName,
    /// How far that came.
    pub state: NoteState,
    /// The name that the domain had.
    pub name: String,
    /// Whether it started with the host.
    pub autostart: bool,
    /// Whether it ran.
    pub ran: bool,
    /// How its node stood in the cluster, in the words of [`super::Record::standing`].
    pub standing: Option<String>,
}

impl TakenOver {
    const ATTRIBUTES: [&str; 7] = ["cluster", "ca", "node", "state", "name", "autostart", "ran"];

    /// Whether a node of this cluster takes the domain's place.
    pub fn belongs_to(&self, id: &ClusterId) -> bool {
        self.cluster == id.name && self.ca == id.ca
    }

    /// The note as `virDomainSetMetadata` takes it: without the namespace, which libvirt adds.
    pub(super) fn bare_xml(&self) -> String {
        self.fill(Element::new("domain")).document()
    }

    /// The note as it stands in a domain's metadata.
    pub(super) fn element(&self) -> Element {
        self.fill(Element::new(format!("{PREFIX}:domain")).attr(format!("xmlns:{PREFIX}"), NAMESPACE))
    }

    fn fill(&self, element: Element) -> Element {
        element
            .attr("cluster", &self.cluster)
            .attr("ca", self.ca)
            .attr("node", &self.node)
            .attr("state", self.state)
            .attr("name", &self.name)
            .attr("autostart", self.autostart)
            .attr("ran", self.ran)
            .text(self.standing.as_deref().unwrap_or_default())
    }

    /// The note in a domain's XML; `None` if it has no element of our namespace.
    pub(super) fn from_domain_xml(xml: &str) -> Result<Option<Self>, MarkError> {
        // Most domains of a host have none, and need not be parsed to know it.
        if !xml.contains(NAMESPACE) {
            return Ok(None);
        }
        let document =
            roxmltree::Document::parse(xml).map_err(|error| MarkError::Shape { problem: error.to_string() })?;
        let metadata = document.root_element().children().find(|node| node.has_tag_name("metadata"));
        let ours = |node: &roxmltree::Node<'_, '_>| node.tag_name().namespace() == Some(NAMESPACE);
        let mut notes = metadata.iter().flat_map(roxmltree::Node::children).filter(ours);
        match (notes.next(), notes.next()) {
            (None, _) => Ok(None),
            (Some(note), None) => Self::from_node(note).map(Some),
            (Some(_), Some(_)) => Err(MarkError::Shape { problem: "there are two notes".to_owned() }),
        }
    }

    fn from_node(node: roxmltree::Node<'_, '_>) -> Result<Self, MarkError> {
        if node.tag_name().name() != "domain" || node.children().any(|child| child.is_element()) {
            return Err(MarkError::Shape { problem: format!("<{}> is not a plain note", node.tag_name().name()) });
        }
        let unknown = |name: &&str| !Self::ATTRIBUTES.contains(name);
        if let Some(name) = node.attributes().map(|attribute| attribute.name()).find(unknown) {
            return Err(MarkError::Unknown { name: name.to_owned() });
        }
        let state: String = required(node, "state")?;
        Ok(Self {
            cluster: required(node, "cluster")?,
            ca: required(node, "ca")?,
            node: required(node, "node")?,
            state: NoteState::ALL
                .into_iter()
                .find(|known| known.as_str() == state)
                .ok_or(MarkError::Invalid { name: "state", value: state })?,
            name: required(node, "name")?,
            autostart: required(node, "autostart")?,
            ran: required(node, "ran")?,
            standing: node.text().filter(|text| !text.is_empty()).map(ToOwned::to_owned),
        })
    }
}

fn required<T: FromStr>(node: roxmltree::Node<'_, '_>, name: &'static str) -> Result<T, MarkError> {
    let value = node.attribute(name).ok_or(MarkError::Missing { name })?;
    value.parse().map_err(|_| MarkError::Invalid { name, value: value.to_owned() })
}

/// A domain's XML with this note in place of any that it has, or without one: what `virDomainSetMetadata` makes of it.
pub(super) fn noted(xml: &str, note: Option<&TakenOver>) -> String {
    let bare = without(xml);
    let Some(note) = note.map(|note| note.element().document()) else { return bare };
    let note = note.trim_end();
    let end = |document: &roxmltree::Document<'_>| {
        let domain = document.root_element();
        let metadata = domain.children().find(|node| node.has_tag_name("metadata"));
        let last = metadata.unwrap_or(domain).last_element_child()?;
        Some((last.range().end, metadata.is_some()))
    };
    match roxmltree::Document::parse(&bare).ok().as_ref().and_then(end) {
        Some((end, true)) => format!("{}{note}{}", &bare[..end], &bare[end..]),
        Some((end, false)) => format!("{}<metadata>{note}</metadata>{}", &bare[..end], &bare[end..]),
        None => bare,
    }
}

fn without(xml: &str) -> String {
    let range = |document: &roxmltree::Document<'_>| {
        let metadata = document.root_element().children().find(|node| node.has_tag_name("metadata"))?;
        let note = metadata.children().find(|node| node.tag_name().namespace() == Some(NAMESPACE))?;
        let alone = metadata.children().filter(roxmltree::Node::is_element).count() == 1;
        Some(if alone { metadata.range() } else { note.range() })
    };
    match roxmltree::Document::parse(xml).ok().as_ref().and_then(range) {
        Some(range) => format!("{}{}", xml[..range.start].trim_end(), &xml[range.end..]),
        None => xml.to_owned(),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn note() -> TakenOver {
        TakenOver {
            cluster: "seed".parse().unwrap(),
            ca: Digest::of(b"ca"),
            node: "worker-node-1".parse().unwrap(),
            state: NoteState::Begun,
            name: "<old> & 'mine'".to_owned(),
            autostart: true,
            ran: false,
            standing: None,
        }
    }

    fn domain(metadata: &str) -> String {
        format!("<domain type='kvm'><name>n</name>{metadata}</domain>")
    }

    #[test]
    fn notes_read_back_and_leave_no_trace() {
        let full = TakenOver { standing: Some("{\"a\": \"<&>\"}".to_owned()), ran: true, ..note() };
        let others = "<metadata>\n <x:y xmlns:x='urn:x' cluster='other'/>\n</metadata>";
        for xml in [domain(""), domain(others)] {
            for state in NoteState::ALL {
                for note in [note(), full.clone()] {
                    let note = TakenOver { state, ..note };
                    let with = noted(&xml, Some(&note));
                    assert_eq!(TakenOver::from_domain_xml(&with), Ok(Some(note.clone())), "{with}");
                    assert_eq!(noted(&with, Some(&note)), with);
                    assert_eq!(noted(&with, None), xml);
                }
            }
            assert_eq!((TakenOver::from_domain_xml(&xml), noted(&xml, None)), (Ok(None), xml));
        }
    }

    #[test]
    fn notes_are_read_strictly() {
        let good = note().element().document();
        let invalid = |name, value: &str| MarkError::Invalid { name, value: value.to_owned() };
        let shape = |problem: &str| MarkError::Shape { problem: problem.to_owned() };
        for (note, error) in [
            (good.replace(" node='worker-node-1'", ""), MarkError::Missing { name: "node" }),
            (good.replace("'worker-node-1'", "'Worker'"), invalid("node", "Worker")),
            (good.replace("'begun'", "'done'"), invalid("state", "done")),
            (good.replace("autostart='true'", "autostart='1'"), invalid("autostart", "1")),
            (good.replace(" node=", " new='x' node="), MarkError::Unknown { name: "new".to_owned() }),
            (good.replace("over:domain", "over:note"), shape("<note> is not a plain note")),
            (good.replace("/>", "><more/></nodebake-taken-over:domain>"), shape("<domain> is not a plain note")),
            (format!("{good}{good}"), shape("there are two notes")),
        ] {
            let xml = domain(&format!("<metadata>{note}</metadata>"));
            assert_eq!(TakenOver::from_domain_xml(&xml), Err(error), "{note}");
        }
        let elsewhere = domain(&format!("<devices>{good}</devices>"));
        assert_eq!(TakenOver::from_domain_xml(&elsewhere), Ok(None));
    }
}
