//! YAML as the Kubernetes programs read it: YAML 1.1 scalars, one document, a key twice is an error; the result is JSON.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span};
use serde_json::{Map, Number, Value};

/// Why a text is not the YAML of one object.
#[derive(Debug, thiserror::Error)]
pub enum YamlError {
    /// No YAML.
    #[error("yaml: {0}")]
    Syntax(#[source] ScanError),
    /// A key stands twice in one mapping.
    #[error("yaml: line {line}: key {key:?} already set in map")]
    DuplicateKey {
        /// 1-based line of the second one.
        line: usize,
        /// The key.
        key: String,
    },
    /// A key that is a list or a mapping.
    #[error("yaml: line {line}: only scalars can be keys")]
    BadKey {
        /// 1-based line.
        line: usize,
    },
    /// An alias whose anchor is not there (or stands in itself).
    #[error("yaml: line {line}: unknown anchor referenced")]
    UnknownAnchor {
        /// 1-based line.
        line: usize,
    },
    /// More documents than one.
    #[error("yaml: line {line}: more than one document")]
    ManyDocuments {
        /// 1-based line.
        line: usize,
    },
}

/// Aliases may stand for other aliases: a bound on what they unfold to, in values.
const VALUE_LIMIT: usize = 100_000;

/// Reads one document; an empty text is null.
///
/// # Errors
/// See [`YamlError`].
pub fn parse(text: &str) -> Result<Value, YamlError> {
    let mut reader = Reader { parser: Parser::new_from_str(text), anchors: HashMap::new(), values: 0 };
    let mut document = Value::Null;
    let mut seen = false;
    loop {
        let (event, span) = reader.next()?;
        match event {
            Event::StreamEnd => return Ok(document),
            Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd | Event::Nothing => {}
            _ if seen => return Err(YamlError::ManyDocuments { line: span.start.line() }),
            event => {
                document = reader.value(event, span)?;
                seen = true;
            }
        }
    }
}

struct Reader<'a> {
    parser: Parser<'a, saphyr_parser::StrInput<'a>>,
    anchors: HashMap<usize, Value>,
    values: usize,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<(Event<'a>, Span), YamlError> {
        self.parser.next_event().unwrap_or(Ok((Event::StreamEnd, Span::default()))).map_err(YamlError::Syntax)
    }

    fn value(&mut self, event: Event<'a>, span: Span) -> Result<Value, YamlError> {
        let line = span.start.line();
        let (anchor, value) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let is_string = tag.is_some_and(|tag| tag.suffix == "str");
                (
                    anchor,
                    if style == ScalarStyle::Plain && !is_string {
                        plain(&text)
                    } else {
                        Value::String(text.into_owned())
                    },
                )
            }
            Event::SequenceStart(anchor, _) => (anchor, self.sequence()?),
            Event::MappingStart(anchor, _) => (anchor, self.mapping()?),
            Event::Alias(anchor) => {
                let value = self.anchors.get(&anchor).cloned().ok_or(YamlError::UnknownAnchor { line })?;
                self.values += count(&value);
                if self.values > VALUE_LIMIT {
                    return Err(YamlError::UnknownAnchor { line });
                }
                return Ok(value);
            }
            _ => (0, Value::Null),
        };
        if anchor != 0 {
            self.anchors.insert(anchor, value.clone());
        }
        Ok(value)
    }

    fn sequence(&mut self) -> Result<Value, YamlError> {
        let mut list = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd | Event::StreamEnd, _) => return Ok(Value::Array(list)),
                (event, span) => list.push(self.value(event, span)?),
            }
        }
    }

    fn mapping(&mut self) -> Result<Value, YamlError> {
        let mut map = Map::new();
        loop {
            let (event, span) = self.next()?;
            let line = span.start.line();
            if matches!(event, Event::MappingEnd | Event::StreamEnd) {
                return Ok(Value::Object(map));
            }
            let key = match self.value(event, span)? {
                Value::String(key) => key,
                Value::Array(_) | Value::Object(_) => return Err(YamlError::BadKey { line }),
                other => other.to_string(),
            };
            let (event, span) = self.next()?;
            let value = self.value(event, span)?;
            if map.contains_key(&key) {
                return Err(YamlError::DuplicateKey { line, key });
            }
            map.insert(key, value);
        }
    }
}

fn count(value: &Value) -> usize {
    match value {
        Value::Array(list) => 1 + list.iter().map(count).sum::<usize>(),
        Value::Object(map) => 1 + map.values().map(count).sum::<usize>(),
        _ => 1,
    }
}

/// A plain scalar under YAML 1.1, as Go's yaml package resolves it.
fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" | "true" | "True" | "TRUE" => return Value::Bool(true),
        "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF" | "false" | "False" | "FALSE" => {
            return Value::Bool(false);
        }
        _ => {}
    }
    let digits = text.replace('_', "");
    integer(&digits).or_else(|| float(&digits)).map_or_else(|| Value::String(text.to_owned()), Value::Number)
}

fn integer(text: &str) -> Option<Number> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let magnitude = if let Some(hex) = digits.strip_prefix("0x") {
        u64::from_str_radix(hex, 16).ok()?
    } else if let Some(binary) = digits.strip_prefix("0b") {
        u64::from_str_radix(binary, 2).ok()?
    } else if let Some(octal) = digits.strip_prefix("0o") {
        u64::from_str_radix(octal, 8).ok()?
    } else if digits.len() > 1 && digits.starts_with('0') && digits.bytes().all(|digit| digit.is_ascii_digit()) {
        u64::from_str_radix(digits, 8).ok()?
    } else if digits.bytes().all(|digit| digit.is_ascii_digit()) {
        digits.parse().ok()?
    } else {
        return None;
    };
    if negative {
        i64::try_from(magnitude).ok().map(|value| Number::from(-value))
    } else {
        Some(Number::from(magnitude))
    }
}

fn float(text: &str) -> Option<Number> {
    let looks_like_one = text.bytes().any(|byte| byte.is_ascii_digit())
        && text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
    if looks_like_one { text.parse().ok().and_then(Number::from_f64) } else { None }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn scalars_are_those_of_yaml_1_1() {
        for (text, want) in [
            ("a: yes", json!({"a": true})),
            ("a: 'yes'", json!({"a": "yes"})),
            ("a: off", json!({"a": false})),
            ("a: 0x10", json!({"a": 16})),
            ("a: 010", json!({"a": 8})),
            ("a: 1_000", json!({"a": 1000})),
            ("a: 1e3", json!({"a": 1000.0})),
            ("a: -5", json!({"a": -5})),
            ("a: 10.96.0.10", json!({"a": "10.96.0.10"})),
            ("a: 15m", json!({"a": "15m"})),
            ("a: ~", json!({"a": null})),
            ("a:", json!({"a": null})),
            ("a: !!str 1", json!({"a": "1"})),
            ("a: &x [1, {b: c}]\nd: *x", json!({"a": [1, {"b": "c"}], "d": [1, {"b": "c"}]})),
            ("{\"a\": \"b\"}", json!({"a": "b"})),
            ("---\na: b\n", json!({"a": "b"})),
            ("", json!(null)),
        ] {
            assert_eq!(parse(text).unwrap(), want, "{text}");
        }
    }

    #[test]
    fn what_is_not_one_object_is_an_error() {
        for (text, want) in [
            ("a: 1\nb: 2\na: 3", "yaml: line 3: key \"a\" already set in map"),
            ("a: 1\n---\nb: 2", "yaml: line 3: more than one document"),
            ("[a]: 1", "yaml: line 1: only scalars can be keys"),
        ] {
            assert_eq!(parse(text).unwrap_err().to_string(), want, "{text}");
        }
        assert!(matches!(parse("a: [").unwrap_err(), YamlError::Syntax(_)));
        assert!(matches!(parse("a: *x").unwrap_err(), YamlError::Syntax(_) | YamlError::UnknownAnchor { .. }));
    }
}
