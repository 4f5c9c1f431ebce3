//! Text of others, made safe for a terminal.

use std::fmt::Write as _;

/// `text` with every control character but the line feed escaped, so that a guest cannot drive the reader's terminal.
/// Unicode's format characters (bidi overrides, zero width) are escaped too: they can make a line read as another.
pub fn text(text: &str) -> String {
    escape(text, |c| c == '\n')
}

/// The same of what belongs on one line: line feeds are escaped too.
pub fn line(text: &str) -> String {
    escape(text, |_| false)
}

fn escape(text: &str, kept: impl Fn(char) -> bool) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        let hidden = matches!(u32::from(c), 0xad | 0x200b..=0x200f | 0x2028..=0x202e | 0x2060..=0x206f | 0xfeff);
        if kept(c) || !(c.is_control() || hidden) {
            out.push(c);
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "{}", c.escape_default());
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
        assert_eq!(text(others), "a\\tb\\r\n\\u{7}\\u{1b}[2Jé\\u{202e}x\\u{9b}");
        assert_eq!(line(others), "a\\tb\\r\\n\\u{7}\\u{1b}[2Jé\\u{202e}x\\u{9b}");
    }
}
