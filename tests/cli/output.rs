//! `-o json` and `-o yaml`: every verb that reports has them, and docs/output.md shows what they print.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use clap::CommandFactory as _;
use nodebake::cli::Cli;
use serde_json::Value;

use crate::daemon::Daemon;
use crate::guests::{Guests, good, report};
use crate::identities::provide;
use crate::rebuilding;
use crate::world::{Ran, World};

/// Verbs that give what they are asked for as it is.
const AS_IT_IS: [&str; 4] = ["console", "logs", "schema", "completions"];

/// Of these a real run needs more than a test can play: a machine that seals its disk, several hypervisors, whose `evacuate`
/// ends as `rebuild` does.
const NOT_RUN: [&str; 2] = ["image", "evacuate"];

/// Every verb by its words, those beneath others too.
pub(crate) fn verbs() -> BTreeMap<String, clap::Command> {
    fn beneath(command: &clap::Command, name: &str, all: &mut BTreeMap<String, clap::Command>) {
        for verb in command.get_subcommands() {
            let name = format!("{name} {}", verb.get_name()).trim().to_owned();
            beneath(verb, &name, all);
            if !verb.has_subcommands() {
                all.insert(name, verb.clone());
            }
        }
    }
    let mut all = BTreeMap::new();
    beneath(&Cli::command(), "", &mut all);
    all
}

/// What docs/output.md shows of each verb.
fn examples() -> BTreeMap<String, Value> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/output.md")).unwrap();
    let mut examples = BTreeMap::new();
    for part in text.split("\n### ").skip(1) {
        let (heading, rest) = part.split_once('\n').unwrap();
        let json = rest.split("```json\n").nth(1).unwrap_or_else(|| panic!("no example of {heading}"));
        let json = json.split("```").next().unwrap();
        let value: Value = serde_json::from_str(json).unwrap_or_else(|error| panic!("{heading}: {error}"));
        for name in heading.split('`').skip(1).step_by(2) {
            assert!(examples.insert(name.to_owned(), value.clone()).is_none(), "{name} has two examples");
        }
    }
    examples
}

#[test]
fn no_verb_that_reports_is_forgotten() {
    let output = |verb: &clap::Command| verb.get_arguments().any(|argument| argument.get_id() == "output");
    let (with, without): (BTreeMap<_, _>, BTreeMap<_, _>) = verbs().into_iter().partition(|(_, verb)| output(verb));
    assert_eq!(without.into_keys().collect::<BTreeSet<_>>(), AS_IT_IS.map(str::to_owned).into());
    assert_eq!(with.into_keys().collect::<Vec<_>>(), examples().into_keys().collect::<Vec<_>>());
}

/// All keys of a document with those above them, and whether anything is below each.
fn keys(value: &Value, above: &str, all: &mut BTreeMap<String, bool>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let key = format!("{above}.{name}");
                let has_more = match value {
                    Value::Object(_) => true,
                    Value::Array(entries) => entries.iter().any(Value::is_object),
                    _ => false,
                };
                *all.entry(key.clone()).or_default() |= has_more;
                keys(value, &key, all);
            }
        }
        Value::Array(entries) => entries.iter().for_each(|entry| keys(entry, above, all)),
        _ => {}
    }
}

/// Fails where a document has a key that the example lacks, or lacks one of it that nothing above accounts for. `optional`
/// are keys that stand only in some entries, of which this document may have none.
fn compare(verb: &str, printed: &Value, optional: &[&str]) {
    let example = &examples()[verb];
    let (mut wanted, mut found) = (BTreeMap::new(), BTreeMap::new());
    keys(example, "", &mut wanted);
    keys(printed, "", &mut found);
    let unknown: Vec<_> = found.keys().filter(|key| !wanted.contains_key(*key)).collect();
    assert!(unknown.is_empty(), "{verb}: docs/output.md does not show {unknown:?}");
    let is_below_nothing = |key: &str| {
        let above = |key: &str| key.rsplit_once('.').map(|(above, _)| above.to_owned()).unwrap_or_default();
        let mut key = above(key);
        while !key.is_empty() {
            if found.get(&key) == Some(&false) {
                return true;
            }
            key = above(&key);
        }
        false
    };
    let lacking = wanted.keys().filter(|key| !found.contains_key(*key) && !is_below_nothing(key));
    let lacking: Vec<_> = lacking.filter(|key| !optional.contains(&key.as_str())).collect();
    assert!(lacking.is_empty(), "{verb}: docs/output.md shows {lacking:?}, and {printed} has none");
}

/// The document that a run printed, which is all of stdout.
fn document(ran: &Ran) -> Value {
    let value: Value = serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"));
    assert_eq!(value["apiVersion"], "nodebake/v1", "{ran:?}");
    value
}

/// Runs verbs one after the other, and notes which.
struct Tour<'a> {
    world: &'a World,
    seen: BTreeSet<String>,
}

impl Tour<'_> {
    /// Runs it with `-o json`; what it prints must be as docs/output.md has it.
    fn visit(&mut self, verb: &str, arguments: &[&str], code: i32) -> Value {
        self.visit_ending(verb, arguments, &[code])
    }

    /// The same where it ends by one of several codes: a host may lack something.
    fn visit_ending(&mut self, verb: &str, arguments: &[&str], codes: &[i32]) -> Value {
        let words: Vec<_> = verb.split(' ').chain(arguments.iter().copied()).chain(["-o", "json"]).collect();
        let ran = self.world.run(&words);
        assert!(codes.contains(&ran.code), "{words:?}: {ran:?}");
        let document = document(&ran);
        // What an entry of a lock has depends on its file.
        let optional: &[&str] = if verb == "lock" { &[".artifacts.released", ".artifacts.sha512"] } else { &[] };
        compare(verb, &document, optional);
        self.seen.insert(verb.to_owned());
        document
    }
}

/// With the words of each that have verbs beneath them.
fn missing(seen: &BTreeSet<String>) -> Vec<String> {
    examples().into_keys().filter(|verb| !seen.contains(verb) && !NOT_RUN.contains(&verb.as_str())).collect()
}

#[test]
fn verbs_print_what_is_documented() {
    let daemon = Daemon::start();
    if !daemon.root {
        return;
    }
    let empty = World::empty();
    let mut tour = Tour { world: &empty, seen: BTreeSet::new() };
    tour.visit("init", &[], 0);
    let mut seen = tour.seen;

    let world = rebuilding::world(&daemon.uri);
    let other = World::new();
    provide(&other, "worker-node-2", "10.0.0.37", "365");
    fs::create_dir(world.path("signed")).unwrap();
    for (from, to) in [("pki/worker-node-2.pem", "cert.pem"), ("pki/worker-node-2-key.pem", "key.pem")] {
        fs::copy(other.path(from), world.path(&format!("signed/{to}"))).unwrap();
    }
    let mut tour = Tour { world: &world, seen };
    let node = "worker-node-1";
    tour.visit("lock", &[], 0);
    assert_eq!(tour.visit("lock", &["--check"], 0)["written"], false);
    tour.visit("fetch", &[], 0);
    tour.visit("fetch", &["kubectl"], 0);
    tour.visit("bundle export", &["all.tar"], 0);
    tour.visit("bundle import", &["all.tar"], 0);
    let both = world.run(&["bundle", "export", "-", "-o", "json"]);
    let error = "the bundle goes to standard output, and so would what is to be printed of it";
    assert_eq!(both, Ran::failed(2, error, "name a file, or leave -o out"));
    tour.visit("identity csr", &["worker-node-2"], 0);
    tour.visit("identity import", &["worker-node-2", "signed"], 0);
    assert_eq!(tour.visit("build", &["--all"], 0)["nodes"].as_array().unwrap().len(), 2);
    tour.visit("identity renew", &[node], 0);
    tour.visit("identity list", &[], 0);
    tour.visit("build", &["--all"], 0);
    tour.visit("kubeconfig", &["--out", "admin.kubeconfig"], 0);
    tour.visit("render", &[node], 0);
    let secret = document(&world.must(&["render", node, "/etc/kubernetes/pki/worker-node-1-key.pem", "-o", "json"]));
    assert_eq!((&secret["file"]["kind"], &secret["content"]), (&"secret".into(), &Value::Null), "{secret}");
    let text = document(&world.must(&["render", node, "meta-data", "-o", "json"]));
    assert!(text["content"].as_str().unwrap().contains("\nlocal-hostname: \"worker-node-1\"\n"), "{text}");
    tour.visit("inspect", &["build/worker-node-1/seed.iso"], 0);
    tour.visit("explain", &[node], 0);
    tour.visit("hosts", &[], 0);
    tour.visit("verify", &["--images"], 0);
    tour.visit_ending("doctor", &[], &[0, 2]);
    tour.visit("plan", &[], 6);

    let guests = Guests::of(&daemon, good);
    assert_eq!(tour.visit("up", &[node], 0)["nodes"][0]["outcome"], "active");
    tour.visit("wait", &[node, "--for", "stage=kubelet-active"], 0);
    tour.visit("status", &[node], 0);
    // Nothing is to do, which is a document as well.
    let gone = document(&world.must(&["remove", "--gone", "--yes", "-o", "json"]));
    assert_eq!(gone["removed"], Value::Array(Vec::new()));
    tour.visit("rebuild", &[node, "--yes", "--force", "--stall", "2"], 0);
    assert_eq!(tour.visit("stop", &[node, "--force", "--stall", "2"], 0)["nodes"][0]["outcome"], "off");
    tour.visit("start", &[node], 0);
    tour.visit("restart", &[node, "--force", "--stall", "2"], 0);
    // What goes wrong is in the document too.
    guests.play(|_| Some(report("containerd-active", "failed", "Ym9vbQo=")));
    let failed = tour.visit("up", &["worker-node-2"], 5);
    assert_eq!(failed["nodes"][0]["outcome"], "failed");
    let message = failed["nodes"][0]["error"]["message"].as_str().unwrap();
    assert!(message.starts_with("worker-node-2: failed to get to"), "{failed}");
    tour.visit("remove", &["worker-node-2", "--yes"], 0);
    tour.visit("down", &["--yes"], 0);
    tour.visit("gc", &["--dry-run"], 0);
    seen = tour.seen;
    assert_eq!(missing(&seen), Vec::<String>::new());
}

#[test]
fn yaml_says_the_same_as_json() {
    let world = World::built();
    for arguments in [
        &["build", "--all"][..],
        &["explain", "worker-node-1"],
        &["identity", "list"],
        &["inspect", "build/worker-node-1/seed.iso", "--digest"],
        &["lock", "--check"],
        &["hosts"],
    ] {
        let printed = |format| world.run(&[arguments, &["-o", format]].concat()).stdout;
        let json: Value = serde_json::from_str(&printed("json")).unwrap();
        let yaml: Value = serde_yaml::from_str(&printed("yaml")).unwrap();
        assert_eq!(yaml, json, "{arguments:?}");
    }
}
