//! The fields of `KubeletConfiguration` (kubelet.config.k8s.io/v1beta1 of v1.35) and their types, and the check of a
//! document against them. Any field that is not listed is an error.

use std::time::Duration;

use serde_json::Value;

/// What a field holds.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// true or false.
    Bool,
    /// Integer of 32 bits.
    Int32,
    /// Integer of 64 bits.
    Int64,
    /// Any number.
    Float,
    /// Text.
    Text,
    /// Text that Go reads as a duration.
    Duration,
    /// List of texts.
    TextList,
    /// Texts by name.
    TextMap,
    /// Booleans by name.
    BoolMap,
    /// Lists of texts by name.
    TextListMap,
    /// Kubernetes quantities (texts or integers) by name.
    QuantityMap,
    /// An object with these fields.
    Object(Fields),
    /// A list of objects with these fields.
    ObjectList(Fields),
    /// A duration as text, or nanoseconds.
    DurationOrNanoseconds,
    /// A quantity: text or integer.
    Quantity,
}

/// The fields of an object.
pub type Fields = &'static [(&'static str, Kind)];

use Kind::{
    Bool, BoolMap, Duration as Span, DurationOrNanoseconds, Float, Int32, Int64, Object, ObjectList, Quantity,
    QuantityMap, Text, TextList, TextListMap, TextMap,
};

/// The fields of `KubeletConfiguration` in v1.35.
pub const KUBELET_CONFIGURATION: Fields = &[
    ("address", Text),
    ("allowedUnsafeSysctls", TextList),
    ("apiVersion", Text),
    ("authentication", Object(AUTHENTICATION)),
    ("authorization", Object(AUTHORIZATION)),
    ("cgroupDriver", Text),
    ("cgroupRoot", Text),
    ("cgroupsPerQOS", Bool),
    ("clusterDNS", TextList),
    ("clusterDomain", Text),
    ("configMapAndSecretChangeDetectionStrategy", Text),
    ("containerLogMaxFiles", Int32),
    ("containerLogMaxSize", Text),
    ("containerLogMaxWorkers", Int32),
    ("containerLogMonitorInterval", Span),
    ("containerRuntimeEndpoint", Text),
    ("contentType", Text),
    ("cpuCFSQuota", Bool),
    ("cpuCFSQuotaPeriod", Span),
    ("cpuManagerPolicy", Text),
    ("cpuManagerPolicyOptions", TextMap),
    ("cpuManagerReconcilePeriod", Span),
    ("crashLoopBackOff", Object(&[("maxContainerRestartPeriod", Span)])),
    ("enableContentionProfiling", Bool),
    ("enableControllerAttachDetach", Bool),
    ("enableDebugFlagsHandler", Bool),
    ("enableDebuggingHandlers", Bool),
    ("enableProfilingHandler", Bool),
    ("enableServer", Bool),
    ("enableSystemLogHandler", Bool),
    ("enableSystemLogQuery", Bool),
    ("enforceNodeAllocatable", TextList),
    ("eventBurst", Int32),
    ("eventRecordQPS", Int32),
    ("evictionHard", TextMap),
    ("evictionMaxPodGracePeriod", Int32),
    ("evictionMinimumReclaim", TextMap),
    ("evictionPressureTransitionPeriod", Span),
    ("evictionSoft", TextMap),
    ("evictionSoftGracePeriod", TextMap),
    ("failCgroupV1", Bool),
    ("failSwapOn", Bool),
    ("featureGates", BoolMap),
    ("fileCheckFrequency", Span),
    ("hairpinMode", Text),
    ("healthzBindAddress", Text),
    ("healthzPort", Int32),
    ("httpCheckFrequency", Span),
    ("imageGCHighThresholdPercent", Int32),
    ("imageGCLowThresholdPercent", Int32),
    ("imageMaximumGCAge", Span),
    ("imageMinimumGCAge", Span),
    ("imagePullCredentialsVerificationPolicy", Text),
    ("imageServiceEndpoint", Text),
    ("iptablesDropBit", Int32),
    ("iptablesMasqueradeBit", Int32),
    ("kernelMemcgNotification", Bool),
    ("kind", Text),
    ("kubeAPIBurst", Int32),
    ("kubeAPIQPS", Int32),
    ("kubeReserved", TextMap),
    ("kubeReservedCgroup", Text),
    ("kubeletCgroups", Text),
    ("localStorageCapacityIsolation", Bool),
    ("logging", Object(LOGGING)),
    ("makeIPTablesUtilChains", Bool),
    ("maxOpenFiles", Int64),
    ("maxParallelImagePulls", Int32),
    ("maxPods", Int32),
    ("memoryManagerPolicy", Text),
    ("memorySwap", Object(&[("swapBehavior", Text)])),
    ("memoryThrottlingFactor", Float),
    ("mergeDefaultEvictionSettings", Bool),
    ("nodeLeaseDurationSeconds", Int32),
    ("nodeStatusMaxImages", Int32),
    ("nodeStatusReportFrequency", Span),
    ("nodeStatusUpdateFrequency", Span),
    ("oomScoreAdj", Int32),
    ("podCIDR", Text),
    ("podLogsDir", Text),
    ("podPidsLimit", Int64),
    ("podsPerCore", Int32),
    ("port", Int32),
    ("preloadedImagesVerificationAllowlist", TextList),
    ("protectKernelDefaults", Bool),
    ("providerID", Text),
    ("qosReserved", TextMap),
    ("readOnlyPort", Int32),
    ("registerNode", Bool),
    ("registerWithTaints", ObjectList(&[("effect", Text), ("key", Text), ("timeAdded", Text), ("value", Text)])),
    ("registryBurst", Int32),
    ("registryPullQPS", Int32),
    ("reservedMemory", ObjectList(&[("limits", QuantityMap), ("numaNode", Int32)])),
    ("reservedSystemCPUs", Text),
    ("resolvConf", Text),
    ("rotateCertificates", Bool),
    ("runOnce", Bool),
    ("runtimeRequestTimeout", Span),
    ("seccompDefault", Bool),
    ("serializeImagePulls", Bool),
    ("serverTLSBootstrap", Bool),
    ("showHiddenMetricsForVersion", Text),
    ("shutdownGracePeriod", Span),
    ("shutdownGracePeriodByPodPriority", ObjectList(&[("priority", Int32), ("shutdownGracePeriodSeconds", Int64)])),
    ("shutdownGracePeriodCriticalPods", Span),
    ("singleProcessOOMKill", Bool),
    ("staticPodPath", Text),
    ("staticPodURL", Text),
    ("staticPodURLHeader", TextListMap),
    ("streamingConnectionIdleTimeout", Span),
    ("syncFrequency", Span),
    ("systemCgroups", Text),
    ("systemReserved", TextMap),
    ("systemReservedCgroup", Text),
    ("tlsCertFile", Text),
    ("tlsCipherSuites", TextList),
    ("tlsMinVersion", Text),
    ("tlsPrivateKeyFile", Text),
    ("topologyManagerPolicy", Text),
    ("topologyManagerPolicyOptions", TextMap),
    ("topologyManagerScope", Text),
    ("tracing", Object(&[("endpoint", Text), ("samplingRatePerMillion", Int32)])),
    ("userNamespaces", Object(&[("idsPerPod", Int64)])),
    ("volumePluginDir", Text),
    ("volumeStatsAggPeriod", Span),
];

const AUTHENTICATION: Fields = &[
    ("anonymous", Object(&[("enabled", Bool)])),
    ("webhook", Object(&[("cacheTTL", Span), ("enabled", Bool)])),
    ("x509", Object(&[("clientCAFile", Text)])),
];
const AUTHORIZATION: Fields =
    &[("mode", Text), ("webhook", Object(&[("cacheAuthorizedTTL", Span), ("cacheUnauthorizedTTL", Span)]))];
const LOGGING: Fields = &[
    ("flushFrequency", DurationOrNanoseconds),
    ("format", Text),
    ("options", Object(&[("json", Object(LOG_STREAM)), ("text", Object(LOG_STREAM))])),
    ("verbosity", Int64),
    ("vmodule", ObjectList(&[("filePattern", Text), ("verbosity", Int64)])),
];
const LOG_STREAM: Fields = &[("infoBufferSize", Quantity), ("splitStream", Bool)];

/// The fields of a kubeconfig (`v1` `Config`) as far as the stand-in takes them.
pub const KUBECONFIG: Fields = &[
    ("apiVersion", Text),
    (
        "clusters",
        ObjectList(&[
            (
                "cluster",
                Object(&[
                    ("certificate-authority", Text),
                    ("certificate-authority-data", Text),
                    ("disable-compression", Bool),
                    ("insecure-skip-tls-verify", Bool),
                    ("proxy-url", Text),
                    ("server", Text),
                    ("tls-server-name", Text),
                ]),
            ),
            ("name", Text),
        ]),
    ),
    (
        "contexts",
        ObjectList(&[("context", Object(&[("cluster", Text), ("namespace", Text), ("user", Text)])), ("name", Text)]),
    ),
    ("current-context", Text),
    ("kind", Text),
    ("preferences", Object(&[("colors", Bool)])),
    (
        "users",
        ObjectList(&[
            ("name", Text),
            (
                "user",
                Object(&[
                    ("client-certificate", Text),
                    ("client-certificate-data", Text),
                    ("client-key", Text),
                    ("client-key-data", Text),
                    ("token", Text),
                    ("tokenFile", Text),
                ]),
            ),
        ]),
    ),
];

/// A field that is not what it should be.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SchemaError {
    /// The API has no such field. Case counts.
    #[error("strict decoding error: unknown field \"{0}\"")]
    UnknownField(String),
    /// The field holds another type.
    #[error("cannot unmarshal {found} into field {field}, which is {wanted}")]
    WrongType {
        /// The field.
        field: String,
        /// What it should be.
        wanted: &'static str,
        /// What it is.
        found: String,
    },
}

/// Checks an object against its fields. Null stands for an absent value, as in Go.
///
/// # Errors
/// The first field that does not fit.
pub fn check(value: &Value, fields: Fields) -> Result<(), SchemaError> {
    check_kind("", value, Object(fields))
}

fn check_kind(path: &str, value: &Value, kind: Kind) -> Result<(), SchemaError> {
    let wrong = |wanted| {
        let field = if path.is_empty() { "(the document)".to_owned() } else { path.to_owned() };
        Err(SchemaError::WrongType { field, wanted, found: name_of(value) })
    };
    let below = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    match (kind, value) {
        (_, Value::Null)
        | (Bool, Value::Bool(_))
        | (Text | Quantity, Value::String(_))
        | (Float | Quantity, Value::Number(_)) => Ok(()),
        (Int32, Value::Number(number)) if number.as_i64().is_some_and(|number| i32::try_from(number).is_ok()) => Ok(()),
        (Int64, Value::Number(number)) if number.is_i64() || number.is_u64() => Ok(()),
        (Span | DurationOrNanoseconds, Value::String(text)) if parse_duration(text).is_some() => Ok(()),
        (DurationOrNanoseconds, Value::Number(number)) if number.is_i64() => Ok(()),
        (TextList, Value::Array(list)) => each(path, list, Text),
        (TextMap, Value::Object(map)) => map.iter().try_for_each(|(key, value)| check_kind(&below(key), value, Text)),
        (BoolMap, Value::Object(map)) => map.iter().try_for_each(|(key, value)| check_kind(&below(key), value, Bool)),
        (TextListMap, Value::Object(map)) => {
            map.iter().try_for_each(|(key, value)| check_kind(&below(key), value, TextList))
        }
        (QuantityMap, Value::Object(map)) => {
            map.iter().try_for_each(|(key, value)| check_kind(&below(key), value, Quantity))
        }
        (Object(fields), Value::Object(map)) => {
            map.iter().try_for_each(|(key, value)| match fields.iter().find(|(name, _)| name == key) {
                Some((_, kind)) => check_kind(&below(key), value, *kind),
                None => Err(SchemaError::UnknownField(below(key))),
            })
        }
        (ObjectList(fields), Value::Array(list)) => each(path, list, Object(fields)),
        (kind, _) => wrong(wanted(kind)),
    }
}

fn each(path: &str, list: &[Value], kind: Kind) -> Result<(), SchemaError> {
    list.iter().enumerate().try_for_each(|(place, value)| check_kind(&format!("{path}[{place}]"), value, kind))
}

fn wanted(kind: Kind) -> &'static str {
    match kind {
        Bool => "a boolean",
        Int32 => "an integer of 32 bits",
        Int64 => "an integer of 64 bits",
        Float => "a number",
        Text => "a string",
        Span | DurationOrNanoseconds => "a duration such as \"10s\" or \"1h30m\"",
        TextList => "a list of strings",
        TextMap => "a map of strings",
        BoolMap => "a map of booleans",
        TextListMap => "a map of lists of strings",
        QuantityMap => "a map of quantities",
        Object(_) => "an object",
        ObjectList(_) => "a list of objects",
        Quantity => "a quantity",
    }
}

fn name_of(value: &Value) -> String {
    match value {
        Value::Object(_) => "an object".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::String(text) => format!("the string {text:?}"),
        other => other.to_string(),
    }
}

/// Go's `time.ParseDuration` for durations that are not negative.
#[must_use]
pub fn parse_duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    let mut total = Duration::ZERO;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|character: char| !character.is_ascii_digit() && character != '.')?;
        let (number, tail) = rest.split_at(digits);
        let number: f64 = number.parse().ok()?;
        let unit_end =
            tail.find(|character: char| character.is_ascii_digit() || character == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_end);
        let seconds = match unit {
            "ns" => 1e-9,
            "us" | "µs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        total = total.checked_add(Duration::try_from_secs_f64(number * seconds).ok()?)?;
        rest = tail;
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn durations_are_go_s() {
        for (text, want) in [
            ("15m", Some(900_000)),
            ("1h30m", Some(5_400_000)),
            ("1.5s", Some(1500)),
            ("300ms", Some(300)),
            ("0", Some(0)),
            ("0s", Some(0)),
            ("15", None),
            ("", None),
            ("5 m", None),
            ("m", None),
            ("1d", None),
        ] {
            assert_eq!(parse_duration(text).map(|duration| duration.as_millis()), want, "{text}");
        }
    }

    #[test]
    fn fields_have_names_and_types() {
        let wrong = |field: &str, wanted, found: &str| {
            Err(SchemaError::WrongType { field: field.to_owned(), wanted, found: found.to_owned() })
        };
        let unknown = |field: &str| Err(SchemaError::UnknownField(field.to_owned()));
        let cases = [
            (json!({"cgroupDriver": "systemd", "clusterDNS": ["10.96.0.10"], "port": null}), Ok(())),
            (
                json!({"logging": {"flushFrequency": 5_000_000_000_i64, "options": {"json": {"infoBufferSize": "0"}}}}),
                Ok(()),
            ),
            (json!({"cgroupdriver": "systemd"}), unknown("cgroupdriver")),
            (json!({"authentication": {"x509": {"clientCaFile": "x"}}}), unknown("authentication.x509.clientCaFile")),
            (json!({"registerWithTaints": [{"keys": "x"}]}), unknown("registerWithTaints[0].keys")),
            (json!({"tlsCurvePreferences": [29]}), unknown("tlsCurvePreferences")),
            (
                json!({"clusterDNS": "10.96.0.10"}),
                wrong("clusterDNS", "a list of strings", "the string \"10.96.0.10\""),
            ),
            (json!({"clusterDNS": [10]}), wrong("clusterDNS[0]", "a string", "10")),
            (json!({"failSwapOn": "true"}), wrong("failSwapOn", "a boolean", "the string \"true\"")),
            (json!({"clusterDomain": true}), wrong("clusterDomain", "a string", "true")),
            (json!({"port": 10250.0}), wrong("port", "an integer of 32 bits", "10250.0")),
            (json!({"port": 4_294_967_296_i64}), wrong("port", "an integer of 32 bits", "4294967296")),
            (
                json!({"runtimeRequestTimeout": 15}),
                wrong("runtimeRequestTimeout", "a duration such as \"10s\" or \"1h30m\"", "15"),
            ),
            (json!([]), wrong("(the document)", "an object", "a list")),
        ];
        for (document, want) in cases {
            assert_eq!(check(&document, KUBELET_CONFIGURATION), want, "{document}");
        }
    }

    #[test]
    fn the_lists_are_sorted_and_have_no_field_twice() {
        assert!(KUBELET_CONFIGURATION.is_sorted_by(|left, right| left.0 < right.0));
    }
}
