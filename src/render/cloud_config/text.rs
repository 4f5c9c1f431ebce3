//! `#cloud-config` as text.

use std::fmt::Write as _;

use serde_json::{Map, Value};

/// Writes a map in YAML's block style, every text in double quotes, so that neither YAML 1.1 (cloud-init's reader) nor 1.2
/// takes one for another type (YAML 1.2.2, 7.3.1 and 8).
pub(super) fn write(config: &Map<String, Value>) -> String {
    let mut text = String::new();
    map(&mut text, config, 0);
    text
}

fn map(text: &mut String, entries: &Map<String, Value>, indent: usize) {
    for (index, (key, value)) in entries.iter().enumerate() {
        // The first key of a list's element stands behind its dash.
        if index > 0 || indent == 0 || text.ends_with('\n') {
            pad(text, indent);
        }
        if is_plain(key) {
            text.push_str(key);
        } else {
            quoted(text, key);
        }
        text.push(':');
        below(text, value, indent);
    }
}

/// Whether a key is a text without quotes, also for YAML 1.1 (its type repository, `!!bool` and `!!null`).
fn is_plain(key: &str) -> bool {
    let is_word = key.starts_with(|c: char| c.is_ascii_lowercase());
    let is_word = is_word && key.bytes().all(|byte| byte.is_ascii_lowercase() || b"_-".contains(&byte));
    is_word && !["y", "n", "yes", "no", "on", "off", "true", "false", "null"].contains(&key)
}

/// What stands behind a key.
fn below(text: &mut String, value: &Value, indent: usize) {
    match value {
        Value::Object(entries) if !entries.is_empty() => {
            text.push('\n');
            map(text, entries, indent + 2);
        }
        Value::Array(items) if !items.is_empty() => {
            text.push('\n');
            list(text, items, indent + 2);
        }
        scalar => {
            text.push(' ');
            line(text, scalar);
        }
    }
}

fn list(text: &mut String, items: &[Value], indent: usize) {
    for (index, item) in items.iter().enumerate() {
        if index > 0 || text.ends_with('\n') {
            pad(text, indent);
        }
        text.push_str("- ");
        match item {
            Value::Object(entries) if !entries.is_empty() => map(text, entries, indent + 2),
            Value::Array(items) if !items.is_empty() => list(text, items, indent + 2),
            scalar => line(text, scalar),
        }
    }
}

fn pad(text: &mut String, indent: usize) {
    text.extend(std::iter::repeat_n(' ', indent));
}

fn line(text: &mut String, scalar: &Value) {
    match scalar {
        Value::String(string) => quoted(text, string),
        Value::Object(_) => text.push_str("{}"),
        Value::Array(_) => text.push_str("[]"),
        Value::Number(number) => text.push_str(&float_or_integer(&number.to_string())),
        other => text.push_str(&other.to_string()),
    }
    text.push('\n');
}

/// YAML 1.1 reads a float only with a point and a sign in its exponent (its type repository, `!!float`).
fn float_or_integer(number: &str) -> String {
    let Some((mantissa, exponent)) = number.split_once('e') else { return number.to_owned() };
    let point = if mantissa.contains('.') { "" } else { ".0" };
    let sign = if exponent.starts_with(['-', '+']) { "" } else { "+" };
    format!("{mantissa}{point}e{sign}{exponent}")
}

/// In double quotes; escaped is what YAML does not take as it is, or folds (YAML 1.1, 4.1.1 and 4.2; 1.2.2, 5.7).
fn quoted(text: &mut String, string: &str) {
    text.push('"');
    for c in string.chars() {
        match c {
            '"' | '\\' => text.extend(['\\', c]),
            '\n' => text.push_str("\\n"),
            '\t' => text.push_str("\\t"),
            ' '..='~' => text.push(c),
            c if c.is_alphanumeric() => text.push(c),
            // Writing to a String never fails.
            c if u32::from(c) > 0xffff => drop(write!(text, "\\U{:08x}", u32::from(c))),
            c => drop(write!(text, "\\u{:04x}", u32::from(c))),
        }
    }
    text.push('"');
}
