//! What a kubelet takes: the fields of its configuration (kubelet.config.k8s.io/v1beta1) and the flags of its command line, by
//! its minor version. A kubelet that refuses one of them does not start, and its node never tells.
//!
//! Fields are decoded as strictly as the kubelet does it (case counts, nothing unknown, nothing of another type), and values
//! are held to the rules of its own validation that need nothing but the file. Null stands for an absent value, as in Go.
//! Of a minor version newer than those known here, fields at the top that are unknown pass.

mod fields;
mod flags;
mod values;

use serde_json::{Map, Value};

use super::field::{FieldProblem, type_name};
use crate::config::nearest;
use fields::{Field, KUBELET_CONFIGURATION, Kind, NEWEST};
pub(super) use flags::check_unit;
use values::{duration, is_percentage, is_quantity};

/// Checks a whole `KubeletConfiguration` for the kubelet of this version.
pub(super) fn check(config: &Value, kubernetes: &semver::Version) -> Result<(), FieldProblem> {
    let mut reader = Reader { minor: kubernetes.minor, path: Vec::new() };
    let Value::Object(map) = config else { return Err(reader.wrong("a map", config)) };
    reader.fields(map, KUBELET_CONFIGURATION)?;
    fits_together(map)
}

/// Where a reader is, for its errors.
struct Reader {
    minor: u64,
    path: Vec<String>,
}

impl Reader {
    fn problem(&self, problem: impl Into<String>) -> FieldProblem {
        FieldProblem { path: self.path.clone(), problem: problem.into() }
    }

    fn wrong(&self, wanted: &str, found: &Value) -> FieldProblem {
        self.problem(format!("expected {wanted}, found {}", type_name(found)))
    }

    fn below(
        &mut self,
        step: String,
        check: impl FnOnce(&mut Self) -> Result<(), FieldProblem>,
    ) -> Result<(), FieldProblem> {
        self.path.push(step);
        check(self)?;
        self.path.pop();
        Ok(())
    }

    fn fields(&mut self, map: &Map<String, Value>, fields: &[Field]) -> Result<(), FieldProblem> {
        map.iter().try_for_each(|(key, value)| {
            self.below(key.clone(), |reader| match fields.iter().find(|field| field.name == key) {
                Some(field) if field.since > reader.minor => {
                    let (since, minor) = (field.since, reader.minor);
                    Err(reader.problem(format!("kubelet knows it from 1.{since} on, and 1.{minor} is baked")))
                }
                Some(field) => reader.value(value, &field.kind),
                None if reader.minor > NEWEST && reader.path.len() == 1 => Ok(()),
                None => Err(reader.unknown(key, fields.iter().map(|field| field.name))),
            })
        })
    }

    fn unknown<'k>(&self, key: &str, known: impl Iterator<Item = &'k str>) -> FieldProblem {
        let known: Vec<_> = known.collect();
        let meant = nearest(key, &known).map(|meant| format!("; did you mean {meant}?")).unwrap_or_default();
        self.problem(format!("kubelet 1.{} knows no such field{meant}", self.minor))
    }

    fn value(&mut self, value: &Value, kind: &Kind) -> Result<(), FieldProblem> {
        match (kind, value) {
            (_, Value::Null) | (Kind::Bool, Value::Bool(_)) | (Kind::Text, Value::String(_)) => Ok(()),
            (Kind::Integer(least, most), Value::Number(number)) => match number.as_i64() {
                Some(number) if (*least..=*most).contains(&number) => Ok(()),
                Some(_) => Err(self.problem(format!("expected an integer from {least} to {most}"))),
                None => Err(self.wrong("an integer", value)),
            },
            (Kind::Fraction, Value::Number(number)) => match number.as_f64() {
                Some(number) if number > 0.0 && number <= 1.0 => Ok(()),
                _ => Err(self.problem("expected a number above 0, up to 1")),
            },
            (Kind::Nanoseconds, Value::Number(number)) if number.is_u64() => Ok(()),
            (Kind::Words(words), Value::String(text)) if words.contains(&text.as_str()) => Ok(()),
            (Kind::Words(words), Value::String(_)) => Err(self.problem(format!(
                "expected one of {}",
                words.iter().map(|w| format!("{w:?}")).collect::<Vec<_>>().join(", ")
            ))),
            (Kind::Duration | Kind::Nanoseconds, Value::String(text)) => {
                self.is(duration(text).is_some(), "expected a duration such as \"10s\" or \"1h30m\"")
            }
            (Kind::Amount | Kind::Quantity, Value::String(text)) => self.is(is_quantity(text), NO_QUANTITY),
            (Kind::Quantity, Value::Number(number)) => self.is(number.is_u64(), NO_QUANTITY),
            (Kind::Percentage, Value::String(text)) => {
                self.is(is_percentage(text), "expected a percentage such as \"50%\"")
            }
            (Kind::Threshold, Value::String(text)) => self
                .is(is_percentage(text) || is_quantity(text), "expected a quantity such as \"100Mi\", or a percentage"),
            (Kind::List(kind), Value::Array(list)) => list
                .iter()
                .enumerate()
                .try_for_each(|(index, value)| self.below(format!("[{index}]"), |reader| reader.value(value, kind))),
            (Kind::Map(keys, kind), Value::Object(map)) => map.iter().try_for_each(|(key, value)| {
                self.below(key.clone(), |reader| {
                    if !keys.is_empty() && !keys.contains(&key.as_str()) {
                        return Err(reader.unknown(key, keys.iter().copied()));
                    }
                    reader.value(value, kind)
                })
            }),
            (Kind::Object(fields), Value::Object(map)) => self.fields(map, fields),
            (kind, value) => Err(self.wrong(kind.name(), value)),
        }
    }

    fn is(&self, is_so: bool, problem: &str) -> Result<(), FieldProblem> {
        if is_so { Ok(()) } else { Err(self.problem(problem)) }
    }
}

const NO_QUANTITY: &str = "expected a quantity such as \"500m\" or \"1Gi\"";

/// Rules over several fields, as the kubelet's validation has them.
fn fits_together(config: &Map<String, Value>) -> Result<(), FieldProblem> {
    for name in ["apiVersion", "kind", "containerRuntimeEndpoint"] {
        if config.get(name).is_none_or(|value| value.is_null() || value == "") {
            return Err(FieldProblem::new(&[name], "is missing"));
        }
    }
    let span = |name: &str| config.get(name).and_then(Value::as_str).and_then(duration).unwrap_or_default();
    let (all, critical) = (span("shutdownGracePeriod"), span("shutdownGracePeriodCriticalPods"));
    if critical > all {
        let problem = "is longer than shutdownGracePeriod, of which it is a part";
        return Err(FieldProblem::new(&["shutdownGracePeriodCriticalPods"], problem));
    }
    let has = |name: &str| config.get(name).is_some_and(|value| !value.is_null());
    if has("shutdownGracePeriodByPodPriority") && !all.is_zero() {
        return Err(FieldProblem::new(
            &["shutdownGracePeriodByPodPriority"],
            "stands in for shutdownGracePeriod, which is given too",
        ));
    }
    let number = |name: &str, default: i64| config.get(name).and_then(Value::as_i64).unwrap_or(default);
    if number("imageGCLowThresholdPercent", 80) >= number("imageGCHighThresholdPercent", 85) {
        return Err(FieldProblem::new(&["imageGCLowThresholdPercent"], "is not below imageGCHighThresholdPercent"));
    }
    if number("maxParallelImagePulls", 1) > 1 && config.get("serializeImagePulls") != Some(&Value::Bool(false)) {
        return Err(FieldProblem::new(&["maxParallelImagePulls"], "needs serializeImagePulls: false"));
    }
    let entries = |name: &str| config.get(name).and_then(Value::as_object).cloned().unwrap_or_default();
    let periods = entries("evictionSoftGracePeriod");
    match entries("evictionSoft").keys().find(|signal| !periods.contains_key(*signal)) {
        Some(signal) => Err(FieldProblem::new(&["evictionSoft", signal], "has no evictionSoftGracePeriod")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
