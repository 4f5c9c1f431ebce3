#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;

use super::*;

fn version(minor: u64) -> semver::Version {
    semver::Version::new(1, minor, 3)
}

/// The smallest configuration that a kubelet starts with, and these fields.
fn with(fields: &Value) -> Value {
    let mut config = json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
    });
    config.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    config
}

fn said(fields: &Value, minor: u64) -> Option<(String, String)> {
    check(&with(fields), &version(minor)).err().map(|field| (field.name(), field.problem))
}

#[test]
fn the_table_is_sorted_and_has_each_field_once() {
    let names: Vec<_> = KUBELET_CONFIGURATION.iter().map(|field| field.name).collect();
    assert!(names.is_sorted_by(|a, b| a < b), "{names:?}");
    let since: BTreeMap<_, _> =
        KUBELET_CONFIGURATION.iter().filter(|field| field.since > 0).map(|field| (field.name, field.since)).collect();
    let wanted = [
        ("crashLoopBackOff", 32),
        ("failCgroupV1", 31),
        ("imagePullCredentialsVerificationPolicy", 33),
        ("memoryReservationPolicy", 36),
        ("mergeDefaultEvictionSettings", 33),
        ("preloadedImagesVerificationAllowlist", 33),
        ("singleProcessOOMKill", 32),
        ("tlsCurvePreferences", 36),
        ("userNamespaces", 33),
    ];
    assert_eq!(since, wanted.into());
}

#[test]
fn what_users_set_passes() {
    let fields = json!({
        "maxPods": 250,
        "systemReserved": {"cpu": "500m", "memory": "1Gi", "ephemeral-storage": "10G", "pid": "1000"},
        "kubeReserved": {"cpu": "0.5", "memory": "1e6"},
        "evictionHard": {"memory.available": "5%", "nodefs.available": "1Gi", "pid.available": "10%"},
        "evictionSoft": {"memory.available": "500Mi"},
        "evictionSoftGracePeriod": {"memory.available": "1m30s"},
        "shutdownGracePeriod": "60s",
        "shutdownGracePeriodCriticalPods": "10s",
        "failSwapOn": false,
        "memorySwap": {"swapBehavior": "LimitedSwap"},
        "featureGates": {"Own": true},
        "logging": {"format": "json", "flushFrequency": 5_000_000_000_u64, "options": {"json": {"infoBufferSize": "0"}}},
        "registerWithTaints": [{"key": "own", "effect": "NoSchedule"}],
        "reservedMemory": [{"numaNode": 0, "limits": {"memory": "1Gi", "hugepages-2Mi": 0}}],
        "memoryThrottlingFactor": 0.9,
        "staticPodURLHeader": {"A": ["b"]},
        "serializeImagePulls": false,
        "maxParallelImagePulls": 5,
        "containerLogMaxSize": "50Mi",
        "podCIDR": null,
    });
    for minor in [30, 33, 34, 35, 36, 40] {
        assert_eq!(said(&fields, minor), None, "1.{minor}");
    }
}

#[test]
fn fields_come_with_minor_versions() {
    let later = |since: u64, minor: u64| Some(format!("kubelet knows it from 1.{since} on, and 1.{minor} is baked"));
    for (fields, minor, wanted) in [
        (json!({"failCgroupV1": true}), 30, later(31, 30)),
        (json!({"failCgroupV1": true}), 31, None),
        (json!({"userNamespaces": {"idsPerPod": 65_536}}), 32, later(33, 32)),
        (json!({"userNamespaces": {"idsPerPod": 65_536}}), 33, None),
        (json!({"tlsCurvePreferences": [29]}), 35, later(36, 35)),
        (json!({"tlsCurvePreferences": [29]}), 36, None),
        (json!({"ofTomorrow": 1}), 36, Some("kubelet 1.36 knows no such field".to_owned())),
        (json!({"ofTomorrow": 1}), 37, None),
    ] {
        assert_eq!(said(&fields, minor).map(|(_, problem)| problem), wanted, "{fields} in 1.{minor}");
    }
}

#[test]
fn what_a_kubelet_refuses_is_refused_by_its_field() {
    for (fields, field, problem) in [
        (json!({"maxpods": 1}), "maxpods", "kubelet 1.35 knows no such field; did you mean maxPods?"),
        (
            json!({"authentication": {"x509": {"clientCaFile": "x"}}}),
            "authentication.x509.clientCaFile",
            "kubelet 1.35 knows no such field; did you mean clientCAFile?",
        ),
        (
            json!({"registerWithTaints": [{"keys": "x"}]}),
            "registerWithTaints[0].keys",
            "kubelet 1.35 knows no such field; did you mean key?",
        ),
        (
            json!({"evictionHard": {"memory.availible": "5%"}}),
            "evictionHard.memory.availible",
            "kubelet 1.35 knows no such field; did you mean memory.available?",
        ),
        (json!({"systemReserved": {"nvidia": "1"}}), "systemReserved.nvidia", "kubelet 1.35 knows no such field"),
        (json!({"maxPods": "250"}), "maxPods", "expected an integer, found a text"),
        (json!({"maxPods": 2.5}), "maxPods", "expected an integer, found a number"),
        (json!({"maxPods": -1}), "maxPods", "expected an integer from 0 to 2147483647"),
        (json!({"port": 0}), "port", "expected an integer from 1 to 65535"),
        (json!({"clusterDNS": "10.96.0.10"}), "clusterDNS", "expected a list, found a text"),
        (json!({"clusterDNS": ["10.96.0.10", 1]}), "clusterDNS[1]", "expected a text, found an integer"),
        (json!({"failSwapOn": "false"}), "failSwapOn", "expected a boolean, found a text"),
        (json!({"logging": []}), "logging", "expected a map, found a list"),
        (
            json!({"shutdownGracePeriod": 60}),
            "shutdownGracePeriod",
            "expected a duration, which is a text, found an integer",
        ),
        (
            json!({"shutdownGracePeriod": "60"}),
            "shutdownGracePeriod",
            "expected a duration such as \"10s\" or \"1h30m\"",
        ),
        (
            json!({"shutdownGracePeriod": "-1s"}),
            "shutdownGracePeriod",
            "expected a duration such as \"10s\" or \"1h30m\"",
        ),
        (
            json!({"systemReserved": {"memory": "1GB"}}),
            "systemReserved.memory",
            "expected a quantity such as \"500m\" or \"1Gi\"",
        ),
        (
            json!({"kubeReserved": {"memory": 1_000_000}}),
            "kubeReserved.memory",
            "expected a quantity, which is a text, found an integer",
        ),
        (
            json!({"evictionHard": {"memory.available": "120%"}}),
            "evictionHard.memory.available",
            "expected a quantity such as \"100Mi\", or a percentage",
        ),
        (
            json!({"memorySwap": {"swapBehavior": "UnlimitedSwap"}}),
            "memorySwap.swapBehavior",
            "expected one of \"\", \"NoSwap\", \"LimitedSwap\"",
        ),
        (json!({"memoryThrottlingFactor": 0}), "memoryThrottlingFactor", "expected a number above 0, up to 1"),
        (json!({"kind": "KubeProxyConfiguration"}), "kind", "expected one of \"KubeletConfiguration\""),
        (json!({"containerRuntimeEndpoint": ""}), "containerRuntimeEndpoint", "is missing"),
        (
            json!({"shutdownGracePeriodCriticalPods": "10s"}),
            "shutdownGracePeriodCriticalPods",
            "is longer than shutdownGracePeriod, of which it is a part",
        ),
        (
            json!({"imageGCHighThresholdPercent": 70}),
            "imageGCLowThresholdPercent",
            "is not below imageGCHighThresholdPercent",
        ),
        (json!({"maxParallelImagePulls": 3}), "maxParallelImagePulls", "needs serializeImagePulls: false"),
        (
            json!({"evictionSoft": {"memory.available": "1Gi"}}),
            "evictionSoft.memory.available",
            "has no evictionSoftGracePeriod",
        ),
    ] {
        assert_eq!(said(&fields, 35), Some((field.to_owned(), problem.to_owned())), "{fields}");
    }
    let list = check(&json!([]), &version(35)).unwrap_err();
    assert_eq!((list.name(), list.problem), (String::new(), "expected a map, found a list".to_owned()));
}

#[test]
fn durations_are_go_s() {
    for (text, wanted) in [
        ("15m", Some(900_000)),
        ("1h30m", Some(5_400_000)),
        ("1.5s", Some(1500)),
        ("300ms", Some(300)),
        ("+1s", Some(1000)),
        ("0", Some(0)),
        ("15", None),
        ("", None),
        ("5 m", None),
        ("m", None),
        ("1d", None),
        ("-1s", None),
        ("1..5s", None),
    ] {
        assert_eq!(duration(text), wanted.map(Duration::from_millis), "{text:?}");
    }
}

#[test]
fn quantities_are_kubernetes_s() {
    for (text, wanted) in [
        ("1", true),
        ("0.5", true),
        (".5", true),
        ("5.", true),
        ("100Mi", true),
        ("1e3", true),
        ("1E-3", true),
        ("1E", true),
        ("+2k", true),
        ("", false),
        (".", false),
        ("Mi", false),
        ("1GB", false),
        ("1gi", false),
        ("1 Gi", false),
        ("1e", false),
        ("1.2.3", false),
        ("-1", false),
    ] {
        assert_eq!(is_quantity(text), wanted, "{text:?}");
    }
}

#[test]
fn flags_of_a_unit_are_those_of_its_kubelet() {
    let unit =
        |flags: &str| format!("[Service]\nExecStart=\nExecStart=/usr/local/bin/kubelet {flags}\nRestart=always\n");
    let deprecated = |minor: u64| {
        format!("kubelet 1.{minor} marks it as deprecated: the setting `kubelet` goes into its configuration")
    };
    let ok = [
        "--config=/a --kubeconfig /b --node-ip=10.0.0.36 --hostname-override=w --v=2 -v=3",
        "--node_labels=a=b \\\n  --seccomp-default \"--root-dir=/var/lib/own\" $KUBELET_EXTRA_ARGS",
    ];
    for flags in ok {
        assert_eq!(check_unit(&unit(flags), &version(35)), Ok(()), "{flags}");
    }
    assert_eq!(check_unit("[Service]\nEnvironment=A=b\n", &version(35)), Ok(()));
    for (flags, minor, flag, problem) in [
        ("--config=/a --max-pods=5", 35, "--max-pods", deprecated(35)),
        ("--container-runtime-endpoint=unix:///a", 36, "--container-runtime-endpoint", deprecated(36)),
        ("--pod-infra-container-image=a", 34, "--pod-infra-container-image", deprecated(34)),
        (
            "--pod-infra-container-image=a",
            35,
            "--pod-infra-container-image",
            "kubelet knows it no more since 1.35".to_owned(),
        ),
        ("--network-plugin=cni", 35, "--network-plugin", "kubelet 1.35 has no such flag".to_owned()),
        ("--node-ipp=a", 35, "--node-ipp", "kubelet 1.35 has no such flag; did you mean --node-ip?".to_owned()),
        ("--fail-cgroupv1", 30, "--fail-cgroupv1", "kubelet knows it from 1.31 on, and 1.30 is baked".to_owned()),
        ("--v=two", 35, "--v", "expected an integer that is not negative".to_owned()),
        ("--seccomp-default=yes", 35, "--seccomp-default", "expected true or false".to_owned()),
        ("--seccomp-default false", 35, "false", "is no flag, and the kubelet takes nothing else".to_owned()),
        ("--log-flush-frequency=5", 35, "--log-flush-frequency", "expected a duration such as 10s".to_owned()),
        ("--node-ip= --v=2", 35, "--node-ip", "expected a value".to_owned()),
        ("--config", 35, "--config", "needs a value".to_owned()),
    ] {
        let wanted = FieldProblem::new(&["ExecStart", flag], problem);
        assert_eq!(check_unit(&unit(flags), &version(minor)), Err(wanted), "{flags}");
    }
}
