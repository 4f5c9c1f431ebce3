//! Field and label selectors of lists and watches.

use serde_json::Value;

/// A selector that cannot be read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("unable to parse requirement: {0}")]
pub struct SelectorError(pub String);

#[derive(Debug, Clone, PartialEq, Eq)]
struct FieldTerm {
    path: String,
    equal: bool,
    value: String,
}

/// `metadata.name=a,spec.unschedulable!=true`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FieldSelector {
    terms: Vec<FieldTerm>,
}

/// Fields that the real apiserver can select by, for the resources served here.
const SELECTABLE: &[(&str, &[&str])] = &[
    ("nodes", &["spec.unschedulable"]),
    ("pods", &["spec.nodeName", "status.phase", "spec.restartPolicy", "spec.schedulerName", "status.podIP"]),
    (
        "events",
        &[
            "involvedObject.kind",
            "involvedObject.name",
            "involvedObject.namespace",
            "involvedObject.uid",
            "reason",
            "type",
        ],
    ),
    ("namespaces", &["status.phase"]),
];

impl FieldSelector {
    /// Reads the query parameter.
    ///
    /// # Errors
    /// A term without `=`, `==` or `!=`.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        let terms = text.split(',').filter(|term| !term.is_empty()).map(field_term).collect::<Result<_, _>>()?;
        Ok(Self { terms })
    }

    /// The value that `path` must equal, if the selector says so.
    #[must_use]
    pub fn exact(&self, path: &str) -> Option<&str> {
        self.terms.iter().find(|term| term.equal && term.path == path).map(|term| term.value.as_str())
    }

    /// The first field that objects of this resource cannot be selected by.
    #[must_use]
    pub fn unsupported(&self, plural: &str) -> Option<&str> {
        let known = SELECTABLE.iter().find(|(name, _)| *name == plural).map_or(&[][..], |(_, fields)| fields);
        self.terms
            .iter()
            .map(|term| term.path.as_str())
            .find(|path| !matches!(*path, "metadata.name" | "metadata.namespace") && !known.contains(path))
    }

    /// Whether the object is selected.
    #[must_use]
    pub fn matches(&self, object: &Value) -> bool {
        self.terms.iter().all(|term| {
            let found = term.path.split('.').try_fold(object, |value, key| value.get(key));
            let text = match found {
                Some(Value::String(text)) => text.clone(),
                Some(Value::Null) | None if term.path == "spec.unschedulable" => "false".to_owned(),
                Some(Value::Null) | None => String::new(),
                Some(other) => other.to_string(),
            };
            (text == term.value) == term.equal
        })
    }
}

fn field_term(term: &str) -> Result<FieldTerm, SelectorError> {
    let (path, equal, value) = if let Some((path, value)) = term.split_once("!=") {
        (path, false, value)
    } else if let Some((path, value)) = term.split_once("==").or_else(|| term.split_once('=')) {
        (path, true, value)
    } else {
        return Err(SelectorError(term.to_owned()));
    };
    Ok(FieldTerm { path: path.trim().to_owned(), equal, value: value.trim().to_owned() })
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum LabelTerm {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    Absent(String),
}

/// `a=b,c!=d,e,!f,g in (h,i),j notin (k)`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LabelSelector {
    terms: Vec<LabelTerm>,
}

impl LabelSelector {
    /// Reads the query parameter.
    ///
    /// # Errors
    /// A term that is none of the forms above.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        let terms = split_outside_parentheses(text)
            .into_iter()
            .map(|term| label_term(term.trim()))
            .collect::<Result<_, _>>()?;
        Ok(Self { terms })
    }

    /// Reads the selector that stands in an object (`matchLabels`, `matchExpressions`). None where there is none: it
    /// selects nothing; an empty one selects everything.
    ///
    /// # Errors
    /// An operator that does not exist, or with values that it does not take.
    pub fn of(selector: &Value) -> Result<Option<Self>, SelectorError> {
        let Some(selector) = selector.as_object() else { return Ok(None) };
        let labels = selector.get("matchLabels").and_then(Value::as_object).into_iter().flatten();
        let equal = labels
            .map(|(key, value)| Ok(LabelTerm::In(key.clone(), vec![value.as_str().unwrap_or_default().to_owned()])));
        let expressions = selector.get("matchExpressions").and_then(Value::as_array).into_iter().flatten();
        Ok(Some(Self { terms: equal.chain(expressions.map(expression)).collect::<Result<_, _>>()? }))
    }

    /// Whether it says nothing, and so selects everything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    /// Whether the object is selected.
    #[must_use]
    pub fn matches(&self, object: &Value) -> bool {
        self.matches_labels(object.pointer("/metadata/labels").unwrap_or(&Value::Null))
    }

    /// Whether an object with these labels is selected.
    #[must_use]
    pub fn matches_labels(&self, labels: &Value) -> bool {
        let label = |key: &str| labels.get(key).and_then(Value::as_str);
        self.terms.iter().all(|term| match term {
            LabelTerm::In(key, values) => label(key).is_some_and(|found| values.iter().any(|value| value == found)),
            LabelTerm::NotIn(key, values) => !label(key).is_some_and(|found| values.iter().any(|value| value == found)),
            LabelTerm::Exists(key) => label(key).is_some(),
            LabelTerm::Absent(key) => label(key).is_none(),
        })
    }
}

fn expression(expression: &Value) -> Result<LabelTerm, SelectorError> {
    let key = expression["key"].as_str().unwrap_or_default().to_owned();
    let values = expression["values"].as_array().into_iter().flatten();
    let values: Vec<String> = values.filter_map(Value::as_str).map(str::to_owned).collect();
    match (expression["operator"].as_str().unwrap_or_default(), values.is_empty()) {
        _ if key.is_empty() => Err(SelectorError("key: Required value".to_owned())),
        ("In", false) => Ok(LabelTerm::In(key, values)),
        ("NotIn", false) => Ok(LabelTerm::NotIn(key, values)),
        ("Exists", true) => Ok(LabelTerm::Exists(key)),
        ("DoesNotExist", true) => Ok(LabelTerm::Absent(key)),
        ("In" | "NotIn", true) => Err(SelectorError(
            "values: Required value: must be specified when `operator` is 'In' or 'NotIn'".to_owned(),
        )),
        ("Exists" | "DoesNotExist", false) => Err(SelectorError(
            "values: Forbidden: may not be specified when `operator` is 'Exists' or 'DoesNotExist'".to_owned(),
        )),
        (other, _) => Err(SelectorError(format!("operator: Invalid value: {other:?}: not a valid selector operator"))),
    }
}

fn split_outside_parentheses(text: &str) -> Vec<&str> {
    let mut depth = 0_u32;
    text.split(move |character| {
        match character {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        character == ',' && depth == 0
    })
    .filter(|term| !term.trim().is_empty())
    .collect()
}

fn label_term(term: &str) -> Result<LabelTerm, SelectorError> {
    let values = |list: &str| -> Option<Vec<String>> {
        let inner = list.trim().strip_prefix('(')?.strip_suffix(')')?;
        Some(inner.split(',').map(|value| value.trim().to_owned()).collect())
    };
    let bad = || SelectorError(term.to_owned());
    if let Some((key, list)) = term.split_once(" notin ") {
        return Ok(LabelTerm::NotIn(key.trim().to_owned(), values(list).ok_or_else(bad)?));
    }
    if let Some((key, list)) = term.split_once(" in ") {
        return Ok(LabelTerm::In(key.trim().to_owned(), values(list).ok_or_else(bad)?));
    }
    if let Some((key, value)) = term.split_once("!=") {
        return Ok(LabelTerm::NotIn(key.trim().to_owned(), vec![value.trim().to_owned()]));
    }
    if let Some((key, value)) = term.split_once("==").or_else(|| term.split_once('=')) {
        return Ok(LabelTerm::In(key.trim().to_owned(), vec![value.trim().to_owned()]));
    }
    let (key, absent) = term.strip_prefix('!').map_or((term, false), |key| (key, true));
    if key.is_empty() || key.contains(|character: char| character.is_whitespace() || "()=!".contains(character)) {
        return Err(bad());
    }
    Ok(if absent { LabelTerm::Absent(key.to_owned()) } else { LabelTerm::Exists(key.to_owned()) })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn fields_select() {
        let node = json!({"metadata": {"name": "a"}, "spec": {}});
        for (selector, selected) in [
            ("", true),
            ("metadata.name=a", true),
            ("metadata.name==a", true),
            ("metadata.name!=a", false),
            ("metadata.name=b", false),
            ("metadata.name=a,spec.unschedulable=false", true),
        ] {
            assert_eq!(FieldSelector::parse(selector).unwrap().matches(&node), selected, "{selector}");
        }
        assert_eq!(FieldSelector::parse("x"), Err(SelectorError("x".to_owned())));
        assert_eq!(FieldSelector::parse("spec.nodeName=a").unwrap().unsupported("nodes"), Some("spec.nodeName"));
        assert_eq!(FieldSelector::parse("spec.nodeName=a").unwrap().unsupported("pods"), None);
    }

    #[test]
    fn selectors_of_objects_select() {
        let pod = json!({"metadata": {"labels": {"app": "a", "tier": "1"}}});
        let with = |expression: Value| json!({"matchLabels": {"app": "a"}, "matchExpressions": [expression]});
        for (selector, selected) in [
            (json!({}), Ok(Some(true))),
            (Value::Null, Ok(None)),
            (json!({"matchLabels": {"app": "b"}}), Ok(Some(false))),
            (with(json!({"key": "tier", "operator": "In", "values": ["1", "2"]})), Ok(Some(true))),
            (with(json!({"key": "tier", "operator": "NotIn", "values": ["1"]})), Ok(Some(false))),
            (with(json!({"key": "tier", "operator": "Exists"})), Ok(Some(true))),
            (with(json!({"key": "tier", "operator": "DoesNotExist"})), Ok(Some(false))),
            (
                with(json!({"key": "tier", "operator": "Is"})),
                Err("operator: Invalid value: \"Is\": not a valid selector operator"),
            ),
            (
                with(json!({"key": "tier", "operator": "In"})),
                Err("values: Required value: must be specified when `operator` is 'In' or 'NotIn'"),
            ),
        ] {
            let found = LabelSelector::of(&selector).map(|found| found.map(|found| found.matches(&pod)));
            assert_eq!(found, selected.map_err(|why| SelectorError(why.to_owned())), "{selector}");
        }
    }

    #[test]
    fn labels_select() {
        let node = json!({"metadata": {"labels": {"a": "1", "b": ""}}});
        for (selector, selected) in [
            ("", true),
            ("a=1", true),
            ("a==2", false),
            ("a!=1", false),
            ("c!=1", true),
            ("a,b", true),
            ("!a", false),
            ("!c", true),
            ("a in (1, 2),b", true),
            ("a notin (1,2)", false),
            ("c notin (1)", true),
        ] {
            assert_eq!(LabelSelector::parse(selector).unwrap().matches(&node), selected, "{selector}");
        }
        assert_eq!(LabelSelector::parse("a in 1"), Err(SelectorError("a in 1".to_owned())));
    }
}
