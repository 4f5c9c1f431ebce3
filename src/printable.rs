//! Text of others, made safe for a terminal.

use std::fmt::Write as _;

/// `text` with every control character but the line feed escaped, so that a guest cannot drive the reader's terminal.
/// Unicode's format characters (bidi overrides, zero width) are escaped too: they can make a line read as another. Carriage
/// returns before a line feed, with which every line of a console ends, are left out.
pub fn text(text: &str) -> String {
    let lines = text.split_inclusive('\n').map(|text| match text.strip_suffix('\n') {
        Some(ended) => line(ended.trim_end_matches('\r')) + "\n",
        None => line(text),
    });
    lines.collect()
}

/// The same of what belongs on one line: line feeds are escaped too.
pub fn line(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        let hidden = matches!(u32::from(c), 0xad | 0x200b..=0x200f | 0x2028..=0x202e | 0x2060..=0x206f | 0xfeff);
        if c.is_control() || hidden {
            // Writing to a String cannot fail.
            let _ = write!(out, "{}", c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_drives_a_terminal() {
        let others = "a\tb\r\n\u{7}\u{1b}[2Jé\u{202e}x\u{9b}";
        assert_eq!(text(others), "a\\tb\n\\u{7}\\u{1b}[2Jé\\u{202e}x\\u{9b}");
        assert_eq!(line(others), "a\\tb\\r\\n\\u{7}\\u{1b}[2Jé\\u{202e}x\\u{9b}");
    }

    #[test]
    fn a_line_may_end_as_on_a_console() {
        for (console, wanted) in [
            ("one\r\ntwo\r\r\n\r\nthree", "one\ntwo\n\nthree"),
            ("10 %\r20 %\r\nroot\r", "10 %\\r20 %\nroot\\r"),
            ("", ""),
        ] {
            assert_eq!(text(console), wanted);
        }
    }
}
