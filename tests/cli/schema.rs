//! The schema of the cluster file, and the cluster files of these tests.

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use boon::{Compiler, SchemaIndex, Schemas};
use nodebake::config::{Config, SCHEMA};

static COMPILED: LazyLock<(Schemas, SchemaIndex)> = LazyLock::new(|| {
    let mut compiler = Compiler::new();
    compiler.add_resource("schema.json", serde_json::from_str(SCHEMA).unwrap()).unwrap();
    let mut schemas = Schemas::new();
    let index = compiler.compile("schema.json", &mut schemas).unwrap();
    (schemas, index)
});

/// A cluster file that the program takes, if there is one, the schema takes too.
pub(crate) fn check(file: &Path) {
    if Config::load(file).is_err() {
        return;
    }
    let (schemas, index) = &*COMPILED;
    let text = fs::read_to_string(file).unwrap();
    let document = serde_yaml::from_str(&text).unwrap();
    schemas.validate(&document, *index).unwrap_or_else(|error| panic!("{error:#} in\n{text}"));
}
