//! Writes XML: elements with attributes, and either text or children; everything is escaped.

use std::fmt::Write as _;

/// An element under construction.
#[derive(Debug, Clone)]
pub(super) struct Element {
    name: &'static str,
    attributes: Vec<(&'static str, String)>,
    text: String,
    children: Vec<Element>,
}

impl Element {
    pub(super) fn new(name: &'static str) -> Self {
        Self { name, attributes: Vec::new(), text: String::new(), children: Vec::new() }
    }

    #[expect(clippy::needless_pass_by_value, reason = "literals and numbers are passed as they are")]
    pub(super) fn attr(mut self, name: &'static str, value: impl ToString) -> Self {
        self.attributes.push((name, value.to_string()));
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
        out.push_str(self.name);
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
        out.push_str(self.name);
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
    fn layout() {
        let xml = Element::new("a").children([Element::new("b"), Element::new("c").text("d")]).document();
        assert_eq!(xml, "<a>\n  <b/>\n  <c>d</c>\n</a>\n");
    }
}
