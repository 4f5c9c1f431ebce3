//! The schema that `nodebake schema` prints, held against the reader, which is asked all that the schema says.
//!
//! Where the reader meets a key or a word that it does not know, it lists those that it knows; so neither of the two
//! knows what the other does not. Beyond that, every file that the tests beside this one read is shown to the schema.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use boon::{Compiler, SchemaIndex, Schemas};
use serde_json::{Value as Json, json};

use super::super::tree::join;
use super::*;

/// No key and no word of a cluster file.
const UNKNOWN: &str = "zzzzzzzz";

/// Texts of all kinds, of which the reader takes some here and some there.
const TEXTS: &[&str] = &[
    "a",
    "A",
    "a-b",
    "-a",
    "a_b",
    "a.b",
    "a b",
    "a/b",
    "/a",
    "/",
    "~",
    "~/a",
    "./a",
    "ä",
    "a:b",
    "a@b",
    "a$",
    "$",
    "0",
    "1",
    "12",
    "4294967294",
    "0644",
    "1.5",
    "1e3",
    "true",
    "false",
    "null",
    "no",
    "<domain/>",
    "a\nb",
    "127.0.0.1",
    "255.255.255.255",
    "10.0.0.36/31",
    "::1",
    "::ffff:10.0.0.1",
    "fd00::/8",
    "FD00::1",
    "localhost",
    "docker.io:5000",
    "[fd00::1]:5000",
    "[FD00::A]",
    "_default",
    "HTTP://10.0.0.1:3128/",
    "http://a",
    "https://A/b/",
    "https://[fd00::1]:6443/",
    "https://api.example:443",
    "qemu+tls://b/session",
    "QEMU:///system",
    "test:///default",
    "v1.35.0-rc.1",
    "1.30.0",
    "2.0.0-a.B-1",
    "1.7.0+x",
    "1TiB",
    "0512MiB",
    "4GB",
    "1.5GiB",
    "24h",
    "3650d",
    "52:54:00:AB:cd:0f",
    "*.example",
    ".example",
    "own@a.b.service",
    "mnt-a\\x2db.mount",
    "service.d/a.conf",
    "net/ipv4/conf/eth0.1/forwarding",
    "system:kube-apiserver",
    "_apt",
    "br-0123456789ab",
    "a!#%&'()*+,;<=>?[]^`{|}",
    "ecdsa-sha2-nistp256 AAAA",
];

/// A place of the schema, by its path in a cluster file.
#[derive(Clone)]
struct Place {
    path: Vec<Step>,
    says: Json,
}

#[derive(Clone, PartialEq)]
enum Step {
    Key(String),
    /// The first of a list.
    First,
}

impl Place {
    /// As problems show it.
    fn shown(&self) -> String {
        self.path.iter().fold(String::new(), |path, step| match step {
            Step::Key(key) => join(&path, key),
            Step::First => format!("{path}[0]"),
        })
    }

    fn below(&self, step: Step, says: &Json) -> Self {
        Self { path: self.path.iter().cloned().chain([step]).collect(), says: resolved(says) }
    }

    /// The places right below it.
    fn children(&self) -> Vec<Self> {
        let properties = self.says["properties"].as_object().into_iter().flatten();
        let properties = properties.filter(|(_, says)| !is_deprecated(says));
        let named = properties.map(|(key, says)| self.below(Step::Key(key.clone()), says));
        let own = self.says["additionalProperties"].as_object().map(|_| {
            let key = self.says["propertyNames"]["examples"][0].as_str().unwrap();
            self.below(Step::Key(key.to_owned()), &self.says["additionalProperties"])
        });
        let first = self.says.get("items").map(|says| self.below(Step::First, says));
        named.chain(own).chain(first).collect()
    }

    fn with_all_below(self) -> Vec<Self> {
        let below = self.children().into_iter().flat_map(Self::with_all_below).collect::<Vec<_>>();
        std::iter::once(self).chain(below).collect()
    }

    fn types(&self) -> BTreeSet<String> {
        let types = &self.says["type"];
        let of = |name: &Json| name.as_str().unwrap().to_owned();
        types.as_array().map_or_else(|| [of(types)].into(), |types| types.iter().map(of).collect())
    }

    fn is(&self, name: &str) -> bool {
        self.types().contains(name)
    }

    /// Whether other layers may say what is missing here.
    fn is_layered(&self) -> bool {
        let keys = match self.path.as_slice() {
            [Step::Key(key), keys @ ..] if key == "defaults" => keys,
            [Step::Key(key), Step::Key(_), keys @ ..] if key == "groups" => keys,
            [Step::Key(key), Step::First, keys @ ..] if key == "nodes" && !keys.is_empty() => keys,
            _ => return false,
        };
        !keys.contains(&Step::First)
    }

    /// What the reader says of just this place where it has this value, all else being well.
    fn problems_with(&self, value: &Json) -> Vec<String> {
        self.problems(value).into_iter().filter(|(path, _)| *path == self.shown()).map(|(_, text)| text).collect()
    }

    /// What it says of any place, with its path.
    fn problems(&self, value: &Json) -> Vec<(String, String)> {
        let mut document = well();
        set(&mut document, &self.path, value);
        problems_of(&document)
    }
}

/// What the reader says of a document, with the paths of the places.
fn problems_of(document: &Json) -> Vec<(String, String)> {
    match parse(Path::new(FILE), &serde_json::to_string_pretty(document).unwrap()) {
        Ok(_) => Vec::new(),
        Err(ConfigError::Invalid { problems, .. }) => {
            problems.into_iter().map(|problem| (problem.path, problem.text)).collect()
        }
        Err(error) => panic!("{error}"),
    }
}

/// The least cluster file, and what the examples refer to.
fn well() -> Json {
    let mut document: Json = serde_yaml::from_str(LEAST).unwrap();
    document["cluster"]["kubeconfig"] = json!("admin.kubeconfig");
    document["network"]["cidr6"] = json!("fd00:10::/64");
    document["network"]["gateway6"] = json!("fd00:10::1");
    document["groups"] = json!({"large": {}});
    document["hypervisors"] = json!({"host-a": {"uri": "qemu:///system"}});
    document
}

fn set(document: &mut Json, path: &[Step], value: &Json) {
    let Some((step, rest)) = path.split_first() else {
        *document = value.clone();
        return;
    };
    match step {
        Step::Key(key) => {
            if !document.is_object() {
                *document = json!({});
            }
            set(&mut document[key.as_str()], rest, value);
        }
        Step::First => {
            if !document.is_array() {
                *document = json!([null]);
            }
            set(&mut document[0], rest, value);
        }
    }
}

/// Whether what is said of a place is that nothing should stand there any more: the reader does not list it.
fn is_deprecated(says: &Json) -> bool {
    says["deprecated"] == true
}

static SCHEMA_TREE: LazyLock<Json> = LazyLock::new(|| serde_json::from_str(SCHEMA).unwrap());

/// With what it refers to in its place.
fn resolved(says: &Json) -> Json {
    let Some(reference) = says["$ref"].as_str() else { return says.clone() };
    let mut target = SCHEMA_TREE.pointer(reference.strip_prefix('#').unwrap()).unwrap().clone();
    let own = says.as_object().unwrap().iter().filter(|(key, _)| *key != "$ref");
    target.as_object_mut().unwrap().extend(own.map(|(key, value)| (key.clone(), value.clone())));
    target
}

fn places() -> Vec<Place> {
    Place { path: Vec::new(), says: SCHEMA_TREE.clone() }.with_all_below()
}

fn compile(schema: &Json) -> (Schemas, SchemaIndex) {
    let mut compiler = Compiler::new();
    compiler.set_default_draft(boon::Draft::V2020_12);
    compiler.add_resource("schema.json", schema.clone()).unwrap();
    let mut schemas = Schemas::new();
    let index = compiler.compile("schema.json", &mut schemas).unwrap();
    (schemas, index)
}

/// What the reader takes, the schema takes; what the reader refuses for an unknown key or a wrong type, the schema
/// refuses too.
pub(super) fn check(text: &str, error: Option<&ConfigError>) {
    static WHOLE: LazyLock<(Schemas, SchemaIndex)> = LazyLock::new(|| compile(&SCHEMA_TREE));
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    // As another reader sees it; what that cannot read is for no schema to judge.
    let Ok(document) = serde_yaml::from_str::<Json>(text) else { return };
    let (schemas, index) = &*WHOLE;
    let verdict = schemas.validate(&document, *index);
    match error {
        None => assert!(verdict.is_ok(), "{:#} in\n{text}", verdict.unwrap_err()),
        Some(ConfigError::Invalid { problems, .. }) => {
            let of_form = |text: &str| {
                let kinds = ["a single value", "a list", "a map"].map(|kind| format!(", found {kind}"));
                text.starts_with("unknown key") || kinds.iter().any(|kind| text.ends_with(kind))
            };
            let refused = problems.iter().find(|problem| of_form(&problem.text));
            assert!(refused.is_none() || verdict.is_err(), "the schema takes {refused:?} in\n{text}");
        }
        Some(error) => panic!("{error}"),
    }
}

#[test]
fn it_is_a_schema_of_2020_12_and_describes_everything() {
    assert_eq!(SCHEMA_TREE["$schema"], "https://json-schema.org/draft/2020-12/schema");
    compile(&SCHEMA_TREE);
    for place in places() {
        assert!(place.says["description"].as_str().is_some_and(|text| text.ends_with('.')), "{}", place.shown());
    }
}

#[test]
fn it_knows_the_keys_that_the_reader_knows() {
    for place in places().iter().filter(|place| place.says["properties"].is_object()) {
        let unknown = place.below(Step::Key(UNKNOWN.to_owned()), &json!({}));
        let said = unknown.problems_with(&json!(0)).join("\n");
        let known =
            said.strip_prefix("unknown key; known here: ").unwrap_or_else(|| panic!("{}: {said:?}", place.shown()));
        let known: BTreeSet<_> = known.split(", ").collect();
        let properties = place.says["properties"].as_object().unwrap().iter();
        let properties: BTreeSet<_> =
            properties.filter(|(_, says)| !is_deprecated(says)).map(|(key, _)| key.as_str()).collect();
        assert_eq!(properties, known, "{}", place.shown());
        assert_eq!(place.says["additionalProperties"], false, "{}", place.shown());
    }
}

#[test]
fn it_knows_where_keys_stood_that_moved() {
    let properties = SCHEMA_TREE["properties"].as_object().unwrap().iter();
    let former: BTreeSet<_> = properties.filter(|(_, says)| is_deprecated(says)).map(|(key, _)| key.as_str()).collect();
    assert_eq!(former, super::super::deprecated::roots());
}

#[test]
fn it_knows_what_must_be_there() {
    for place in places().iter().filter(|place| place.is("object")) {
        let missing = |(path, text): &(String, String)| {
            let key = path.strip_prefix(&place.shown())?.trim_start_matches('.');
            (text.starts_with("missing key: ") && !key.is_empty() && !key.contains('.')).then(|| key.to_owned())
        };
        let said: BTreeSet<_> = place.problems(&json!({})).iter().filter_map(missing).collect();
        let required = place.says["required"].as_array().into_iter().flatten();
        let required: BTreeSet<_> = required.map(|key| key.as_str().unwrap().to_owned()).collect();
        // All layers together must say it, and none by itself.
        let wanted = if place.is_layered() { BTreeSet::new() } else { said };
        assert_eq!(required, wanted, "{}", place.shown());
    }
}

#[test]
fn it_knows_types() {
    for place in places() {
        let scalar = ["string", "number", "integer", "boolean"].iter().any(|name| place.is(name));
        for (value, found, taken) in [
            (json!([]), "a list", place.is("array")),
            (json!({UNKNOWN: 0}), "a map", place.is("object")),
            (json!(UNKNOWN), "a single value", scalar),
            (json!(null), "no value", place.is("null")),
        ] {
            let found = format!(", found {found}");
            let refused = place.problems_with(&value).iter().any(|text| text.contains(&found));
            assert_eq!(!refused, taken, "{}: {value}", place.shown());
        }
    }
}

#[test]
fn it_knows_the_least_of_lists_and_maps() {
    for place in places() {
        for (key, value, found) in
            [("minItems", json!([]), "an empty list"), ("minProperties", json!({}), "an empty map")]
        {
            let refused = place.problems_with(&value).iter().any(|text| text.ends_with(&format!(", found {found}")));
            assert_eq!(place.says[key] == 1, refused, "{}", place.shown());
        }
    }
}

#[test]
fn it_knows_words_and_bounds() {
    for place in places() {
        let said = place.problems_with(&json!(UNKNOWN));
        let words = said.iter().find_map(|text| Some(text.split_once(" is not one of ")?.1));
        let words: Option<BTreeSet<_>> = words.map(|words| words.split(", ").collect());
        let listed = place.says["enum"].as_array();
        let wanted: Option<BTreeSet<_>> = if place.is("boolean") && !place.is("string") {
            Some(["true", "false"].into())
        } else {
            listed.map(|words| words.iter().filter_map(Json::as_str).collect())
        };
        // There is but one form of cluster files, which is no choice.
        if place.shown() != "apiVersion" {
            assert_eq!(wanted, words, "{}", place.shown());
        }
        // Both keywords must let null through.
        assert!(listed.is_none_or(|words| words.contains(&json!(null)) == place.is("null")), "{}", place.shown());

        let bounds =
            said.iter().find_map(|text| text.strip_prefix("expected a whole number from ")?.split_once(", found"));
        let wanted = (place.is("integer") && !place.is("string"))
            .then(|| format!("{} to {}", place.says["minimum"], place.says["maximum"]));
        assert_eq!(wanted.as_deref(), bounds.map(|(bounds, _)| bounds), "{}", place.shown());
    }
}

/// What stands in a group or beside a node is read as in `defaults`.
fn distinct() -> impl Iterator<Item = Place> {
    places()
        .into_iter()
        .filter(|place| !place.is_layered() || place.path.first() == Some(&Step::Key("defaults".to_owned())))
}

/// A text as an editor may see it: in quotes, and as what YAML makes of it without.
fn seen(text: &str) -> Vec<Json> {
    let plain = serde_json::from_str(text).ok().filter(|plain: &Json| plain.is_number() || plain.is_boolean());
    std::iter::once(json!(text)).chain(plain).collect()
}

/// The examples of all places, and other texts.
fn texts() -> BTreeSet<String> {
    let of = |says: &Json| says["examples"].as_array().cloned().unwrap_or_default();
    let examples = distinct().flat_map(|place| [of(&place.says), of(&place.says["propertyNames"])].concat());
    let examples = examples.filter_map(|example| example.as_str().map(str::to_owned));
    examples.chain(TEXTS.iter().map(ToString::to_string)).collect()
}

#[test]
fn its_examples_are_taken() {
    let mut wrong = Vec::new();
    for place in distinct() {
        let examples = place.says["examples"].as_array().cloned().unwrap_or_default();
        let needs_one = place.is("string") && !place.says["enum"].is_array();
        if needs_one && examples.is_empty() {
            wrong.push(format!("{}: no example", place.shown()));
        }
        for example in &examples {
            let (schemas, index) = compile(&place.says);
            let said = place.problems_with(example);
            if !said.is_empty() || schemas.validate(example, index).is_err() {
                wrong.push(format!("{}: {example}: {said:?}", place.shown()));
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn it_refuses_no_text_that_the_reader_takes() {
    let is_text = |place: &Place| (place.is("string") || place.is("integer")) && !place.says["enum"].is_array();
    let compiled = |place: Place| (compile(&place.says), place);
    let places: Vec<_> = distinct().filter(is_text).map(compiled).collect();
    let mut wrong = Vec::new();
    for value in texts().iter().flat_map(|text| seen(text)) {
        // The same everywhere at once, and by itself only where another problem may have kept the reader from a place.
        let mut document = well();
        for (_, place) in &places {
            set(&mut document, &place.path, &value);
        }
        let refused: BTreeSet<_> = problems_of(&document).into_iter().map(|(path, _)| path).collect();
        for ((schemas, index), place) in &places {
            let is_refused = || refused.contains(&place.shown()) || !place.problems_with(&value).is_empty();
            if schemas.validate(&value, *index).is_err() && !is_refused() {
                wrong.push(format!("{}: {value}", place.shown()));
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn it_refuses_no_name_that_the_reader_takes() {
    let (texts, mut wrong) = (texts(), Vec::new());
    // The name is at issue here, and not what it stands for.
    let of_value = |text: &str| text.starts_with("missing key") || text.ends_with(", found a map");
    for place in distinct().filter(|place| place.says["propertyNames"].is_object()) {
        let (schemas, index) = compile(&place.says["propertyNames"]);
        let all = texts.iter().map(|name| (name.clone(), json!({}))).collect();
        let problems = place.problems(&Json::Object(all));
        for name in &texts {
            let shown = join(&place.shown(), name);
            let is_taken = problems.iter().all(|(path, text)| *path != shown || of_value(text));
            if is_taken && schemas.validate(&json!(name), index).is_err() {
                wrong.push(shown);
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

/// What must stand beside a default for it to mean something.
const BESIDE: &str = "
download: {mirrors: [https://mirror.example]}
defaults:
  dataDisks: {data: {size: 100GiB, mountPath: /var/lib/data}}
  containerd: {registries: {docker.io: {mirrors: [https://mirror.example]}}}
  files: {/etc/own.conf: {content: own}}
";

/// What the reader makes of a document, but for where each value stood.
fn read_of(document: &Json) -> Config {
    let text = serde_json::to_string_pretty(document).unwrap();
    let mut config = parse(Path::new(FILE), &text).unwrap_or_else(|error| panic!("{error:?} in\n{text}"));
    for node in &mut config.nodes {
        node.settings.origins = Origins::default();
    }
    config
}

#[test]
fn its_defaults_are_the_readers() {
    let mut document = well();
    let beside: Json = serde_yaml::from_str(BESIDE).unwrap();
    for (key, value) in beside.as_object().unwrap() {
        document[key] = value.clone();
    }
    let with_default = |place: &Place| !place.says["default"].is_null();
    let places: Vec<_> = distinct().filter(with_default).collect();
    assert!(places.len() > 20, "{}", places.len());
    for place in places {
        let mut said = document.clone();
        // Of two ways to say where machines run a file has one.
        if place.path.first() == Some(&Step::Key("libvirt".to_owned())) {
            said.as_object_mut().unwrap().remove("hypervisors");
        }
        let without = read_of(&said);
        set(&mut said, &place.path, &place.says["default"]);
        assert_eq!(read_of(&said), without, "{}", place.shown());
    }
}
