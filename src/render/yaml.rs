//! YAML that every reader takes for the same values: texts always in double quotes, in JSON's form, of which YAML 1.2 is a
//! superset (YAML 1.2.2, 1.3); a kubelet reads YAML 1.1, to which a plain `no` is no text.

use std::fmt::Write as _;

use serde_json::Value;

/// The value in block style; maps in their order.
pub(super) fn text(value: &Value) -> String {
    let mut out = String::new();
    write(value, 0, &mut out);
    out
}

/// Writes a value in lines of its own. Writing to a String cannot fail.
fn write(value: &Value, depth: usize, out: &mut String) {
    let indent = "  ".repeat(depth);
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (key, value) in fields {
                let _ = write!(out, "{indent}{}:", name(key));
                beneath(value, depth, out);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for item in items {
                let _ = write!(out, "{indent}-");
                beneath(item, depth, out);
            }
        }
        scalar => {
            let _ = writeln!(out, "{indent}{}", one_line(scalar));
        }
    }
}

fn beneath(value: &Value, depth: usize, out: &mut String) {
    let is_block = matches!(value, Value::Object(fields) if !fields.is_empty())
        || matches!(value, Value::Array(items) if !items.is_empty());
    if is_block {
        out.push('\n');
        write(value, depth + 1, out);
    } else {
        let _ = writeln!(out, " {}", one_line(value));
    }
}

/// A key; without quotes where nobody takes it for anything but a text.
fn name(key: &str) -> String {
    const OTHERS: [&str; 9] = ["true", "false", "yes", "no", "on", "off", "y", "n", "null"];
    let is_plain = key.starts_with(|c: char| c.is_ascii_alphabetic())
        && key.chars().all(|c| c.is_ascii_alphanumeric() || "_-./".contains(c))
        && !OTHERS.contains(&key.to_ascii_lowercase().as_str());
    if is_plain { key.to_owned() } else { quoted(key) }
}

fn one_line(scalar: &Value) -> String {
    match scalar {
        Value::String(text) => quoted(text),
        Value::Number(number) => float_or_integer(&number.to_string()),
        other => other.to_string(),
    }
}

/// YAML 1.1 reads a float only with a point and a sign in its exponent (its type repository, `!!float`).
fn float_or_integer(number: &str) -> String {
    let Some((mantissa, exponent)) = number.split_once('e') else { return number.to_owned() };
    let point = if mantissa.contains('.') { "" } else { ".0" };
    let sign = if exponent.starts_with(['-', '+']) { "" } else { "+" };
    format!("{mantissa}{point}e{sign}{exponent}")
}

/// In double quotes; escaped is what YAML does not take as it is, or folds (YAML 1.1, 4.1.1 and 4.2; 1.2.2, 5.7).
fn quoted(text: &str) -> String {
    let mut out = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}' => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_written_in_blocks_and_read_back() {
        let value = json!({
            "a": {"b": [], "c": {}, "d": [1, "no", {"e": null, "f": [true, [1.5, []]]}]},
            "no": "1e3", "12": "0x10", "vm.max/x_y-z": "a \"b\" \\ \n\u{1f600} # : ", "": "",
        });
        let wanted = r#""": ""
"12": "0x10"
a:
  b: []
  c: {}
  d:
    - 1
    - "no"
    -
      e: null
      f:
        - true
        -
          - 1.5
          - []
"no": "1e3"
vm.max/x_y-z: "a \"b\" \\ \n😀 # : "
"#;
        let text = text(&value);
        assert_eq!(text, wanted);
        assert_eq!(serde_yaml::from_str::<Value>(&text).unwrap(), value);
    }

    #[test]
    fn every_text_reads_back_as_itself() {
        let texts = [
            "",
            "no",
            "y",
            "1e3",
            "0o17",
            "0777",
            "12:30:45",
            "1_000",
            "~",
            "null",
            "=",
            "<<",
            "2001-01-01",
            "- a",
            "a: b",
            "#",
            "é ü",
            "a\nb\n",
            "\t",
            "\u{7f}",
            "\u{85}",
            "\u{2028}",
            "\u{feff}",
            "\u{1f600}",
            "\"\\",
            " ",
            "%",
            "@",
            "`",
            "&a",
            "*a",
            "!a",
            "{}",
            "[]",
        ];
        let list: Vec<_> = texts.iter().map(|text| json!({"a": text, "b": [[text], [], {}], "c": {"d": {}}})).collect();
        let map: serde_json::Map<_, _> = texts
            .iter()
            .map(|text| ((*text).to_owned(), json!({"yes": 1, "n": -1.5, "huge": 1e30, "true": true, "none": null})))
            .collect();
        let value = json!({"list": list, "map": map, "0": 0});
        let text = text(&value);
        assert_eq!(serde_yaml::from_str::<Value>(&text).unwrap(), value, "{text}");
    }
}
