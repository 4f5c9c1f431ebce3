//! cloud-init's own JSON schema of `#cloud-config`.

use std::error::Error;
use std::sync::LazyLock;

use boon::{Compiler, ErrorKind, Format, InstanceToken, SchemaIndex, Schemas, ValidationError};
use serde_json::{Map, Value};

use crate::render::field::FieldProblem;

/// From Debian's package; see the README beside it.
pub(super) const TEXT: &str = include_str!("schema/schema-cloud-config-v1.json");

/// Compiled when a cluster file first gives cloud-config: most give none. The schema is nodebake's own file; that it
/// compiles is tested.
static SCHEMA: LazyLock<Result<(Schemas, SchemaIndex), String>> =
    LazyLock::new(|| compile().map_err(|e| e.to_string()));

fn compile() -> Result<(Schemas, SchemaIndex), Box<dyn Error>> {
    let mut schema: Value = serde_json::from_str(TEXT)?;
    keep_siblings(&mut schema);
    let mut compiler = Compiler::new();
    // cloud-init asserts it only where a Python package is installed that Debian and Ubuntu leave out, and takes what is no
    // URI: `%(region)s` in apt's.
    compiler.register_format(Format { name: "uri", func: |_| Ok(()) });
    let name = "cloud-config.json";
    compiler.add_resource(name, schema)?;
    let mut schemas = Schemas::new();
    let index = compiler.compile(name, &mut schemas)?;
    Ok((schemas, index))
}

/// Draft 4 has whatever stands beside `$ref` ignored; cloud-init's validator looks at it all the same.
fn keep_siblings(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            map.values_mut().for_each(keep_siblings);
            if map.len() > 1 && map.get("$ref").is_some_and(Value::is_string) {
                let reference: Map<_, _> = map.remove("$ref").map(|to| ("$ref".to_owned(), to)).into_iter().collect();
                if let Value::Array(all) = map.entry("allOf").or_insert_with(|| Value::Array(Vec::new())) {
                    all.push(Value::Object(reference));
                }
            }
        }
        Value::Array(list) => list.iter_mut().for_each(keep_siblings),
        _ => {}
    }
}

/// Checks a whole `#cloud-config`. Of several problems that one is told which lies deepest: where a value can have several
/// forms, it is of the form that was probably meant.
pub(super) fn check(config: &Value) -> Result<(), FieldProblem> {
    let (schemas, index) = match &*SCHEMA {
        Ok(compiled) => (&compiled.0, compiled.1),
        Err(error) => return Err(FieldProblem::new(&[], format!("cloud-init's schema cannot be used: {error}"))),
    };
    schemas.validate(config, index).map_err(|error| {
        let deepest = deepest(&error);
        FieldProblem { path: path(deepest), problem: problem(&deepest.kind) }
    })
}

fn deepest<'e, 's, 'v>(error: &'e ValidationError<'s, 'v>) -> &'e ValidationError<'s, 'v> {
    let below = error.causes.iter().map(deepest);
    let depth = |error: &ValidationError| error.instance_location.tokens.len();
    below.fold(error, |best, next| if best.causes.is_empty() && depth(best) >= depth(next) { best } else { next })
}

fn path(error: &ValidationError) -> Vec<String> {
    let step = |token: &InstanceToken| match token {
        InstanceToken::Prop(name) => name.to_string(),
        InstanceToken::Item(index) => format!("[{index}]"),
    };
    error.instance_location.tokens.iter().map(step).collect()
}

/// The problem in words that hold no value of the user's.
fn problem(kind: &ErrorKind) -> String {
    match kind {
        ErrorKind::Pattern { want, .. } => format!("does not match {want}"),
        ErrorKind::Format { want, .. } => format!("is no {want}"),
        ErrorKind::OneOf(Some(_)) => "fits more than one of the forms that it can have".to_owned(),
        ErrorKind::OneOf(None) | ErrorKind::AnyOf => "has none of the forms that it can have".to_owned(),
        other => other.to_string(),
    }
}
