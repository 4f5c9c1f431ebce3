//! A cluster file: either every problem has a place in it and words for a terminal, or all that it says can be explained and
//! its versions can be moved on without anything else being changed.

use std::path::Path;

use nodebake::config::{Config, ConfigError, InForce, Problem, VersionKey, parse, set_versions};
use nodebake::printable;

pub(crate) fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let file = Path::new("/clusters/a/nodebake.yaml");
    match parse(file, text) {
        Ok(config) => {
            explained(&config);
            moved_on(file, text, &config);
        }
        Err(error @ ConfigError::Read { .. }) => panic!("nothing is read: {error}"),
        Err(ConfigError::Invalid { problems, .. }) => {
            assert!(!problems.is_empty() && problems.is_sorted_by_key(|problem| problem.at));
            for problem in &problems {
                told(problem, text);
            }
        }
    }
}

fn told(problem: &Problem, text: &str) {
    // YAML ends lines at carriage returns too.
    let lines = text.matches(['\n', '\r']).count() + 1;
    let (line, column) = (problem.at.line, problem.at.column);
    assert!((1..=lines).contains(&line) && (1..=text.chars().count() + 1).contains(&column), "{problem}");
    assert_eq!(printable::line(&problem.to_string()), problem.to_string());
}

fn explained(config: &Config) {
    for node in &config.nodes {
        let force = InForce::default();
        for explained in config.explain(node, &force) {
            let found = config.explain_field(node, &force, &explained.field);
            assert!(found.is_some_and(|found| found.contains(&explained)), "{}", explained.field);
        }
    }
}

fn moved_on(file: &Path, text: &str, config: &Config) {
    let as_they_are = VersionKey::ALL.map(|key| (key, config.versions.get(key).clone()));
    if let Ok(edited) = set_versions(file, text, &as_they_are) {
        assert_eq!(edited, text);
    }
    let mut next = config.versions.kubernetes.clone();
    next.patch = next.patch.wrapping_add(1) % 1000;
    if let Ok(edited) = set_versions(file, text, &[(VersionKey::Kubernetes, next.clone())]) {
        let mut moved = parse(file, &edited).unwrap_or_else(|error| panic!("{error} in\n{edited}"));
        assert_eq!(moved.versions.kubernetes, next);
        moved.versions.kubernetes.clone_from(&config.versions.kubernetes);
        assert_eq!(&moved, config);
    }
}
