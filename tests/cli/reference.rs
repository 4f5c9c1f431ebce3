//! docs/configuration.md: every key of a cluster file, generated from the schema that `nodebake schema` prints and that is
//! held against the reader.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use nodebake::config::SCHEMA;
use serde_json::Value;

const HEAD: &str = "\
# Every key of a cluster file

nodebake.yaml is YAML 1.2. Relative paths start at its folder. `nodebake init` writes a file with every key and a comment to
each, `nodebake explain NODE` says which layer gave a node a value, and `nodebake schema` prints the JSON Schema that this page
is generated from (`make generated`), by which editors complete and check the file. All problems of a file are told at once, each
with its line.

Keys stand in the order of the alphabet; a file may have them in any. `[]` stands for each entry of a list, `NAME` for each name of your own in a map. A text need not stand in quotes. A size has one
of the units MiB, GiB, TiB.
";

const LAYERS: &str = "\
What a node is stands in layers: `defaults`, then its group under `groups`, then its own entry under `nodes`. The later layer
wins: maps are merged key by key, lists and single values replace one another, `modules` and `taints` unite. `null` takes away
what an earlier layer said. So nothing is required here, but what a map needs must come from one of its layers.
";

#[test]
fn kept_reference_is_that_of_the_schema() {
    let made = reference(&serde_json::from_str(SCHEMA).unwrap());
    if std::env::var_os("NODEBAKE_GENERATE").is_some() {
        fs::write(file(), &made).unwrap();
    }
    let kept = fs::read_to_string(file()).unwrap();
    assert!(kept == made, "docs/configuration.md is stale: `make generated` makes it anew");
}

#[test]
fn every_key_has_a_row_with_what_the_schema_says() {
    let schema: Value = serde_json::from_str(
        r#"{"properties": {
            "cpus": {"description": "CPUs.", "type": ["integer", "null"], "minimum": 1, "maximum": 255, "default": 2},
            "hosts": {"description": "Hosts.", "type": "array", "items": {
                "description": "A host.", "type": "object", "required": ["name"],
                "properties": {
                    "name": {"description": "Its name.", "type": ["string", "number"], "pattern": "^a|b$", "examples": ["a"]},
                    "on": {"description": "Whether.", "type": "boolean"}}}},
            "kinds": {"description": "By name.", "type": "object", "additionalProperties": {
                "description": "One.", "type": "string", "enum": ["x", "y"]}}
        }}"#,
    )
    .unwrap();
    let wanted = "\
| Key | Value | Default | |
|---|---|---|---|
| `top.cpus` | whole number, 1 to 255 | `2` | CPUs. |
| `top.hosts` | list | | Hosts. |
| `top.hosts[]` | map | | A host. |
| `top.hosts[].name` | text, `^a\\|b$`; such as `a` | required | Its name. |
| `top.hosts[].on` | `true` or `false` | | Whether. |
| `top.kinds` | map by names | | By name. |
| `top.kinds.NAME` | `x` or `y` | | One. |
";
    assert_eq!(table(&schema, "top", &schema), wanted);
}

fn file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md")
}

/// The whole page.
fn reference(schema: &Value) -> String {
    let mut page = HEAD.to_owned();
    // What stood beside these once is told in docs/compatibility.md.
    let keys = schema["properties"].as_object().unwrap().iter().filter(|(_, says)| says["deprecated"] != true);
    for (key, says) in keys {
        let says = resolved(schema, says);
        let own = &says["description"].as_str().unwrap();
        match key.as_str() {
            "defaults" => {
                write!(page, "\n## Layers: defaults, groups and nodes\n\n{LAYERS}\n{}", table(schema, "", &says))
                    .unwrap();
            }
            "groups" => write!(page, "\n## groups\n\n`groups.NAME` has any keys of the layers above.\n").unwrap(),
            _ if says["properties"].is_null() && says["items"].is_null() && says["additionalProperties"].is_null() => {
                let row = row(key, &says, is_required(schema, key));
                write!(page, "\n## {key}\n\n{TABLE}{row}").unwrap();
            }
            _ => {
                let must = if is_required(schema, key) { " Required." } else { "" };
                write!(page, "\n## {key}\n\n{own}{must}\n\n{}", table(schema, key, &says)).unwrap();
            }
        }
    }
    page
}

const TABLE: &str = "| Key | Value | Default | |\n|---|---|---|---|\n";

/// A row for all below a place.
fn table(schema: &Value, path: &str, says: &Value) -> String {
    let mut rows = TABLE.to_owned();
    below(schema, path, says, &mut rows);
    rows
}

fn below(schema: &Value, path: &str, says: &Value, rows: &mut String) {
    let mut add = |path: String, below_it: &Value, required: bool| {
        let below_it = resolved(schema, below_it);
        rows.push_str(&row(&path, &below_it, required));
        below(schema, &path, &below_it, rows);
    };
    for (key, value) in says["properties"].as_object().into_iter().flatten() {
        // Beside its name a node has the keys of the layers, which are told once.
        let is_layers = value["$ref"].as_str().is_some_and(|target| target.starts_with("#/$defs/layer/"));
        if !is_layers {
            let dot = if path.is_empty() { "" } else { "." };
            add(format!("{path}{dot}{key}"), value, is_required(says, key));
        }
    }
    if says["items"].is_object() {
        add(format!("{path}[]"), &says["items"], false);
    }
    if says["additionalProperties"].is_object() {
        add(format!("{path}.NAME"), &says["additionalProperties"], false);
    }
}

fn is_required(says: &Value, key: &str) -> bool {
    says["required"].as_array().is_some_and(|keys| keys.iter().any(|required| required == key))
}

fn row(path: &str, says: &Value, required: bool) -> String {
    let default = match &says["default"] {
        Value::Null if required => " required".to_owned(),
        Value::Null => String::new(),
        value => format!(" {}", code(&text(value))),
    };
    let description = says["description"].as_str().unwrap().replace('|', "\\|").replace('<', "&lt;");
    format!("| {} | {} |{default} | {description} |\n", code(path), values(says))
}

/// What may stand there.
fn values(says: &Value) -> String {
    if let Some(words) = says["enum"].as_array() {
        let words: Vec<_> = words.iter().filter(|word| !word.is_null()).map(|word| code(&text(word))).collect();
        return match words.split_last() {
            Some((last, [])) => last.clone(),
            Some((last, words)) => format!("{} or {last}", words.join(", ")),
            None => String::new(),
        };
    }
    let types: Vec<_> = match &says["type"] {
        Value::Array(types) => types.iter().filter_map(Value::as_str).filter(|name| *name != "null").collect(),
        name => name.as_str().into_iter().collect(),
    };
    let mut said = kind(&types, says);
    if let (true, Value::Number(least), Value::Number(most)) =
        (types.contains(&"integer"), &says["minimum"], &says["maximum"])
    {
        write!(said, ", {least} to {most}").unwrap();
    } else if let Some(pattern) = says["pattern"].as_str().filter(|pattern| pattern.len() > 1) {
        write!(said, ", {}", code(pattern)).unwrap();
    }
    if let Some(pattern) = says["propertyNames"]["pattern"].as_str() {
        write!(said, ", {}", code(pattern)).unwrap();
    }
    let example = says["examples"].get(0).or_else(|| says["propertyNames"]["examples"].get(0));
    // One that goes on over lines, or far beyond the table, teaches less than it takes.
    let example = example.filter(|example| !example.is_object()).map(text);
    if let Some(example) = example.filter(|text| !text.contains('\n') && text.len() <= 64) {
        write!(said, "; such as {}", code(&example)).unwrap();
    }
    said
}

fn kind(types: &[&str], says: &Value) -> String {
    let has = |name| types.contains(&name);
    let word = if has("array") {
        "list"
    } else if has("object") && has("string") {
        "text or map"
    } else if has("object") && says["additionalProperties"].is_object() {
        "map by names"
    } else if has("object") {
        "map"
    } else if has("integer") && has("string") && says["minimum"].is_null() {
        "text or number"
    } else if has("integer") && !has("boolean") {
        "whole number"
    } else if types == ["boolean"] {
        "`true` or `false`"
    } else {
        "text"
    };
    word.to_owned()
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// In a cell of a table, as it is.
fn code(text: &str) -> String {
    let text = text.replace('|', "\\|");
    if text.contains('`') { format!("`` {text} ``") } else { format!("`{text}`") }
}

/// With what it refers to in its place.
fn resolved(schema: &Value, says: &Value) -> Value {
    match says["$ref"].as_str() {
        Some(target) => schema.pointer(target.trim_start_matches('#')).unwrap().clone(),
        None => says.clone(),
    }
}
