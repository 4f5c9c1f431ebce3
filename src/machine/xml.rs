//! Writes XML: elements with attributes, and either text or children; everything is escaped.

use std::borrow::Cow;
use std::fmt::Write as _;

/// An element under construction.
#[derive(Debug, Clone)]
pub(super) struct Element {
    name: Cow<'static, str>,
    attributes: Vec<(Cow<'static, str>, String)>,
    text: String,
    children: Vec<Element>,
}

impl Element {
    pub(super) fn new(name: impl Into<Cow<'static, str>>) -> Self {
        Self { name: name.into(), attributes: Vec::new(), text: String::new(), children: Vec::new() }
    }

    #[expect(clippy::needless_pass_by_value, reason = "literals and numbers are passed as they are")]
    pub(super) fn attr(mut self, name: impl Into<Cow<'static, str>>, value: impl ToString) -> Self {
        self.attributes.push((name.into(), value.to_string()));
        self
    }

    #[expect(clippy::needless_pass_by_value, reason = "literals and numbers are passed as they are")]
    pub(super) fn text(mut self, text: impl ToString) -> Self {
        self.text = text.to_string();
        self
    }

    pub(super) fn child(mut self, child: Element) -> Self {
        self.children.push(child);
        self
    }

    pub(super) fn children(mut self, children: impl IntoIterator<Item = Element>) -> Self {
        self.children.extend(children);
        self
    }

    /// This element with a user's laid over it. A child that is here too is merged in the same way: its attributes take the
    /// place of ours of the same name, its text that of ours; any other is added, and so is everything beneath `<devices>`,
    /// which holds several of one name.
    pub(super) fn overlaid(mut self, over: Self) -> Self {
        for (name, value) in over.attributes {
            self.attributes.retain(|(other, _)| *other != name);
            self.attributes.push((name, value));
        }
        if !over.text.is_empty() {
            self.text = over.text;
        }
        let adds = self.name == "devices";
        for child in over.children {
            match self.children.iter().position(|ours| !adds && ours.name == child.name) {
                Some(at) => self.children[at] = self.children[at].clone().overlaid(child),
                None => self.children.push(child),
            }
        }
        self
    }

    /// An element that was read, with the declarations of its namespaces; text beside elements is left out.
    pub(super) fn read(node: roxmltree::Node<'_, '_>) -> Self {
        let named = |namespace: Option<&str>, name: &str| {
            let prefix =
                namespace.and_then(|namespace| node.lookup_prefix(namespace)).filter(|prefix| !prefix.is_empty());
            prefix.map_or_else(|| name.to_owned(), |prefix| format!("{prefix}:{name}"))
        };
        let mut element = Self::new(named(node.tag_name().namespace(), node.tag_name().name()));
        let above = |name: Option<&str>, uri: &str| {
            let parent = node.parent().filter(roxmltree::Node::is_element);
            parent.is_some_and(|parent| parent.lookup_namespace_uri(name) == Some(uri))
        };
        for namespace in
            node.namespaces().filter(|space| space.name() != Some("xml") && !above(space.name(), space.uri()))
        {
            let name = namespace.name().map_or_else(|| "xmlns".to_owned(), |name| format!("xmlns:{name}"));
            element = element.attr(name, namespace.uri());
        }
        for attribute in node.attributes() {
            element = element.attr(named(attribute.namespace(), attribute.name()), attribute.value());
        }
        let children: Vec<_> = node.children().filter(roxmltree::Node::is_element).map(Self::read).collect();
        if children.is_empty() {
            element = element.text(node.text().unwrap_or_default().trim());
        }
        element.children(children)
    }

    /// The element as a document, two spaces a level, with a final newline.
    pub(super) fn document(&self) -> String {
        let mut out = String::new();
        self.write(&mut out, 0);
        out
    }

    fn write(&self, out: &mut String, depth: usize) {
        let indent = "  ".repeat(depth);
        out.push_str(&indent);
        out.push('<');
        out.push_str(&self.name);
        for (name, value) in &self.attributes {
            out.push(' ');
            out.push_str(name);
            out.push_str("='");
            escape(out, value);
            out.push('\'');
        }
        if self.children.is_empty() && self.text.is_empty() {
            out.push_str("/>\n");
            return;
        }
        out.push('>');
        escape(out, &self.text);
        if !self.children.is_empty() {
            out.push('\n');
            for child in &self.children {
                child.write(out, depth + 1);
            }
            out.push_str(&indent);
        }
        out.push_str("</");
        out.push_str(&self.name);
        out.push_str(">\n");
    }
}

/// Escapes for text and attributes alike. White space other than a blank is written as a reference, since a reader
/// normalises it in attributes (XML 1.0, 3.3.3); what XML cannot hold at all (2.2) becomes U+FFFD.
fn escape(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\'' => out.push_str("&apos;"),
            '"' => out.push_str("&quot;"),
            '\t' | '\n' | '\r' => {
                let _ = write!(out, "&#{};", u32::from(c));
            }
            '\0'..='\x1f' | '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            _ => out.push(c),
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        for text in ["plain", "<&>'\"]]>", " blanks  at the ends ", "tab\tline\nreturn\r", "ä 🦀", "--", "${x}"] {
            let xml = Element::new("a").attr("b", text).child(Element::new("c").text(text)).document();
            let document = roxmltree::Document::parse(&xml).unwrap();
            let root = document.root_element();
            let inner = root.first_element_child().unwrap();
            assert_eq!((root.attribute("b"), inner.text()), (Some(text), Some(text)), "{xml}");
        }
    }

    #[test]
    fn what_xml_cannot_hold_is_replaced() {
        let xml = Element::new("a").text("\0\x1b[31m\u{ffff}").document();
        assert_eq!(xml, "<a>\u{fffd}\u{fffd}[31m\u{fffd}</a>\n");
    }

    #[test]
    fn a_users_element_is_laid_over_ours() {
        let read = |xml: &str| Element::read(roxmltree::Document::parse(xml).unwrap().root_element());
        let ours = "<domain type='kvm'><cpu mode='maximum'><feature name='svm' policy='disable'/></cpu><on_reboot>restart</on_reboot><devices><disk/></devices></domain>";
        let over = "<domain xmlns:q='urn:q'><cpu mode='custom'><topology cores='2'/></cpu><on_reboot>destroy</on_reboot>\
                    <memoryBacking><hugepages/></memoryBacking><devices><disk device='lun'/></devices><q:commandline a='1'/></domain>";
        let wanted = "<domain type='kvm' xmlns:q='urn:q'>\n  <cpu mode='custom'>\n    <feature name='svm' policy='disable'/>\n    \
                      <topology cores='2'/>\n  </cpu>\n  <on_reboot>destroy</on_reboot>\n  <devices>\n    <disk/>\n    \
                      <disk device='lun'/>\n  </devices>\n  <memoryBacking>\n    <hugepages/>\n  </memoryBacking>\n  \
                      <q:commandline a='1'/>\n</domain>\n";
        assert_eq!(read(ours).overlaid(read(over)).document(), wanted);
        assert_eq!(read(ours).overlaid(read("<domain/>")).document(), read(ours).document());
    }

    #[test]
    fn layout() {
        let xml = Element::new("a").children([Element::new("b"), Element::new("c").text("d")]).document();
        assert_eq!(xml, "<a>\n  <b/>\n  <c>d</c>\n</a>\n");
    }
}
