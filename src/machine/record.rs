//! What a domain's metadata tells beside its mark: what the machine was made of, the machine whose place it takes, and how
//! the node stood in the cluster before.
//!
//! Each is an element in a namespace of its own, since libvirt replaces and removes them by namespace
//! (`virDomainSetMetadata`). Unlike the mark they decide nothing about who owns what, so they are read leniently: what
//! cannot be read tells nothing. A machine whose move cannot be read is one that stays.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::xml::Element;
use crate::config::HypervisorName;

/// XML namespace of what a machine was made of.
const PARTS: &str = "https://nodebake.dev/xmlns/parts/1";
/// XML namespace of the machine whose place another one takes.
const PREVIOUS: &str = "https://nodebake.dev/xmlns/previous/1";
/// XML namespace of how the node stood in the cluster.
const STANDING: &str = "https://nodebake.dev/xmlns/standing/1";
/// XML namespace of a machine's move to another hypervisor.
const MOVING: &str = "https://nodebake.dev/xmlns/moving/1";

/// What stands in a record only while a machine is being replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passing {
    /// See [`Record::previous`].
    Previous,
    /// See [`Record::standing`].
    Standing,
    /// See [`Record::moving`].
    Moving,
}

impl Passing {
    pub(super) fn namespace(self) -> &'static str {
        match self {
            Self::Previous => PREVIOUS,
            Self::Standing => STANDING,
            Self::Moving => MOVING,
        }
    }

    /// Prefix of the namespace in the XML that we write.
    pub(super) fn prefix(self) -> &'static str {
        match self {
            Self::Previous => "nodebake-previous",
            Self::Standing => "nodebake-standing",
            Self::Moving => "nodebake-moving",
        }
    }

    /// Name of the element.
    fn element(self) -> &'static str {
        match self {
            Self::Previous => "domain",
            Self::Standing => "node",
            Self::Moving => "move",
        }
    }

    /// What it says, as it stands in a domain's metadata.
    fn with(self, text: &str) -> Element {
        let (prefix, name) = (self.prefix(), self.element());
        Element::new(format!("{prefix}:{name}")).attr(format!("xmlns:{prefix}"), self.namespace()).text(text)
    }

    /// The same as `virDomainSetMetadata` takes it: without the namespace, which libvirt adds.
    pub(super) fn bare_xml(self, text: &str) -> String {
        Element::new(self.element()).text(text).document()
    }
}

/// A machine whose node goes to another hypervisor: it is kept until the one there is up. Whoever finds it knows where the
/// node belongs meanwhile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moving {
    /// The hypervisor that the node goes to, by its name in the cluster file.
    pub to: HypervisorName,
    /// Whether the machine there did not come up: it goes, and this one is started again.
    pub back: bool,
    /// How the node stood in the cluster, in the words of [`Record::standing`].
    pub standing: Option<String>,
}

impl Moving {
    /// Its form for a machine's record: JSON, which is ASCII as long as the standing is.
    pub(super) fn to_record(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// What a machine was made of, by name: versions of programs, and the heads of digests of public files and fields. Nothing
/// that may hold a secret, nor a digest of such.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parts(pub BTreeMap<String, String>);

impl Parts {
    /// Names of what differs from `wanted`, each with its value in this one and in that one.
    pub fn differences<'a>(&'a self, wanted: &'a Self) -> Vec<(&'a str, Option<&'a str>, Option<&'a str>)> {
        let mut names: Vec<&str> = self.0.keys().chain(wanted.0.keys()).map(String::as_str).collect();
        names.sort_unstable();
        names.dedup();
        let of = |parts: &'a Self, name: &str| parts.0.get(name).map(String::as_str);
        let both = names.into_iter().map(|name| (name, of(self, name), of(wanted, name)));
        both.filter(|(_, found, wanted)| found != wanted).collect()
    }

    fn element(&self) -> Element {
        let part = |(name, value): (&String, &String)| {
            Element::new("nodebake-parts:part").attr("name", name).attr("value", value)
        };
        Element::new("nodebake-parts:parts").attr("xmlns:nodebake-parts", PARTS).children(self.0.iter().map(part))
    }
}

/// What stands in a domain's metadata beside the mark.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Record {
    /// What the machine was made of.
    pub parts: Parts,
    /// The definition of the machine whose place this one takes, as libvirt kept it; it holds that machine's mark. It
    /// goes when the new machine is up, and is what is put back when it is not.
    pub previous: Option<String>,
    /// What the cluster's side wants back with the next machine that comes up here, in its own words (ASCII).
    pub standing: Option<String>,
    /// Where the node goes to, while a machine for it is made at another hypervisor.
    pub moving: Option<Moving>,
}

impl Record {
    pub(super) fn elements(&self) -> Vec<Element> {
        let parts = (!self.parts.0.is_empty()).then(|| self.parts.element());
        let previous = self.previous.as_ref().map(|xml| Passing::Previous.with(xml));
        let standing = self.standing.as_ref().map(|text| Passing::Standing.with(text));
        let moving = self.moving.as_ref().map(|moving| Passing::Moving.with(&moving.to_record()));
        parts.into_iter().chain(standing).chain(moving).chain(previous).collect()
    }

    /// The record in a domain's XML.
    pub fn from_domain_xml(xml: &str) -> Self {
        let Ok(document) = roxmltree::Document::parse(xml) else { return Self::default() };
        let parts = metadata(&document, PARTS).into_iter().flat_map(|node| node.children());
        let part = |node: roxmltree::Node<'_, '_>| {
            Some((node.attribute("name")?.to_owned(), node.attribute("value")?.to_owned()))
        };
        let text = |what: Passing| {
            let node = metadata(&document, what.namespace())?;
            node.text().map(ToOwned::to_owned)
        };
        let (previous, standing) = (text(Passing::Previous), text(Passing::Standing));
        let moving = text(Passing::Moving).and_then(|text| serde_json::from_str(&text).ok());
        Self { parts: Parts(parts.filter_map(part).collect()), previous, standing, moving }
    }

    /// What stands there of one thing.
    pub(super) fn has(&self, what: Passing) -> bool {
        match what {
            Passing::Previous => self.previous.is_some(),
            Passing::Standing => self.standing.is_some(),
            Passing::Moving => self.moving.is_some(),
        }
    }
}

fn metadata<'a>(document: &'a roxmltree::Document<'a>, namespace: &str) -> Option<roxmltree::Node<'a, 'a>> {
    let metadata = document.root_element().children().find(|node| node.has_tag_name("metadata"))?;
    metadata.children().find(|node| node.tag_name().namespace() == Some(namespace))
}

/// A domain's XML without one thing that stands in its record.
pub(super) fn without(xml: &str, what: Passing) -> String {
    let range = |document: &roxmltree::Document<'_>| -> Option<Range<usize>> {
        metadata(document, what.namespace()).map(|node| node.range())
    };
    match roxmltree::Document::parse(xml).ok().as_ref().and_then(range) {
        // With the element go the blanks before it.
        Some(range) => format!("{}{}", xml[..range.start].trim_end(), &xml[range.end..]),
        None => xml.to_owned(),
    }
}

/// A domain's XML with this standing, in place of any that it has; unchanged where it has no metadata, which a machine of
/// ours does not lack.
pub fn with_standing(xml: &str, text: &str) -> String {
    with(xml, Passing::Standing, text)
}

/// The same with what a machine's move is.
pub(super) fn with_moving(xml: &str, moving: &Moving) -> String {
    with(xml, Passing::Moving, &moving.to_record())
}

fn with(xml: &str, what: Passing, text: &str) -> String {
    let xml = without(xml, what);
    let end = |document: &roxmltree::Document<'_>| {
        let found = document.root_element().children().find(|node| node.has_tag_name("metadata"))?;
        found.last_element_child().map(|last| last.range().end)
    };
    match roxmltree::Document::parse(&xml).ok().as_ref().and_then(end) {
        Some(end) => format!("{}{}{}", &xml[..end], what.with(text).document().trim_end(), &xml[end..]),
        None => xml,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(parts: &[(&str, &str)]) -> Parts {
        Parts(parts.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    fn moving(standing: Option<String>) -> Option<Moving> {
        Some(Moving { to: "host-b".parse().ok()?, back: true, standing })
    }

    fn domain(record: &Record) -> String {
        let metadata = Element::new("metadata").children(record.elements());
        Element::new("domain").child(Element::new("name").text("n")).child(metadata).document()
    }

    #[test]
    fn records_read_back() {
        let none = Record::default();
        let old = domain(&Record { parts: parts(&[("runc", "1.3.6")]), ..none.clone() });
        let standing = Some("{\"a\": \"<&>\"}".to_owned());
        for record in [
            none.clone(),
            Record { parts: parts(&[("kubelet", "1.35.1"), ("a <b>", "'&\"\n")]), ..none.clone() },
            Record { previous: Some(old.clone()), ..none.clone() },
            Record {
                parts: parts(&[("kubelet", "1.35.2")]),
                previous: Some(old.clone()),
                standing: standing.clone(),
                moving: moving(standing.clone()),
            },
            Record { standing: standing.clone(), ..none.clone() },
            Record { moving: moving(None), ..none.clone() },
        ] {
            let xml = domain(&record);
            assert_eq!(Record::from_domain_xml(&xml), record, "{xml}");
            let stripped = without(&xml, Passing::Previous);
            let wanted = Record { previous: None, ..record.clone() };
            assert_eq!(Record::from_domain_xml(&stripped), wanted, "{stripped}");
            let stripped = without(&xml, Passing::Standing);
            let wanted = Record { standing: None, ..record.clone() };
            assert_eq!(Record::from_domain_xml(&stripped), wanted, "{stripped}");
            let stripped = without(&xml, Passing::Moving);
            let wanted = Record { moving: None, ..record.clone() };
            assert_eq!(Record::from_domain_xml(&stripped), wanted, "{stripped}");
            if record.parts != Parts::default() || record.previous.is_some() {
                let given = with_standing(&xml, "another");
                let wanted = Record { standing: Some("another".to_owned()), ..record };
                assert_eq!(Record::from_domain_xml(&given), wanted, "{given}");
                assert_eq!(without(&given, Passing::Standing), without(&xml, Passing::Standing));
            }
        }
    }

    #[test]
    fn what_is_no_record_tells_nothing() {
        for xml in ["", "<domain/>", "<domain><metadata/></domain>", "<domain"] {
            assert_eq!(Record::from_domain_xml(xml), Record::default(), "{xml}");
            assert_eq!(without(xml, Passing::Previous), xml);
            assert_eq!(with_standing(xml, "a"), xml);
        }
        let elsewhere = format!("<domain><devices>{}</devices></domain>", parts(&[("a", "b")]).element().document());
        assert_eq!(Record::from_domain_xml(&elsewhere), Record::default());
    }

    #[test]
    fn differences_are_told_by_name() {
        let (old, new) = (parts(&[("a", "1"), ("b", "1"), ("c", "1")]), parts(&[("a", "2"), ("b", "1"), ("d", "1")]));
        let wanted = [("a", Some("1"), Some("2")), ("c", Some("1"), None), ("d", None, Some("1"))];
        assert_eq!(old.differences(&new), wanted);
        assert_eq!(old.differences(&old), []);
    }
}
