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
            let _ = writeln!(out, "{indent}{scalar}");
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
        let _ = writeln!(out, " {value}");
    }
}

/// A key; without quotes where nobody takes it for anything but a text.
fn name(key: &str) -> String {
    const OTHERS: [&str; 9] = ["true", "false", "yes", "no", "on", "off", "y", "n", "null"];
    let is_plain = key.starts_with(|c: char| c.is_ascii_alphabetic())
        && key.chars().all(|c| c.is_ascii_alphanumeric() || "_-./".contains(c))
        && !OTHERS.contains(&key.to_ascii_lowercase().as_str());
    if is_plain { key.to_owned() } else { Value::from(key).to_string() }
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
}
