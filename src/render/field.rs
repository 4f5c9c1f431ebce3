//! A field of a structured file that is not as it must be.

use std::fmt;

use super::error::dotted;

/// What is wrong with one field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {problem}", self.name())]
pub(super) struct FieldProblem {
    /// Its keys from the document's root; an element of a list is `[0]`.
    pub(super) path: Vec<String>,
    /// A lowercase fragment that holds no value, since a value can be a secret.
    pub(super) problem: String,
}

impl FieldProblem {
    /// The problem of the field at `path`.
    pub(super) fn new(path: &[&str], problem: impl Into<String>) -> Self {
        Self { path: path.iter().map(ToString::to_string).collect(), problem: problem.into() }
    }

    /// The path of the field below a setting.
    pub(super) fn beneath<'p>(&'p self, setting: &[&'p str]) -> Vec<&'p str> {
        setting.iter().copied().chain(self.path.iter().map(String::as_str)).collect()
    }

    /// The path as people write it: `write_files[0].path`.
    pub(super) fn name(&self) -> String {
        dotted(&self.path)
    }
}

/// The word for a value's type, never the value.
pub(super) fn type_name(value: &serde_json::Value) -> impl fmt::Display + use<> {
    use serde_json::Value;
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(number) if number.is_f64() => "a number",
        Value::Number(_) => "an integer",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a map",
    }
}
