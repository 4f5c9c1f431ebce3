//! Flags of the kubelet's command line, as a unit gives them.

use super::FieldProblem;
use super::values::duration;
use crate::config::nearest;

/// What a flag takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Nothing, or a boolean.
    Switch,
    /// Any value.
    Text,
    /// An integer that is not negative.
    Count,
    /// A duration.
    Duration,
}

use Kind::{Count, Duration, Switch, Text};

/// The flags that are no fields of the configuration, and the first minor version that has each (the kubelet's
/// `cmd/kubelet/app/options`).
const FLAGS: [(&str, Kind, u64); 23] = [
    ("bootstrap-kubeconfig", Text, 0),
    ("cert-dir", Text, 0),
    ("cloud-provider", Text, 0),
    ("config", Text, 0),
    ("config-dir", Text, 0),
    ("exit-on-lock-contention", Switch, 0),
    ("fail-cgroupv1", Switch, 31),
    ("help", Switch, 0),
    ("hostname-override", Text, 0),
    ("image-credential-provider-bin-dir", Text, 0),
    ("image-credential-provider-config", Text, 0),
    ("kubeconfig", Text, 0),
    ("lock-file", Text, 0),
    ("log-flush-frequency", Duration, 0),
    ("node-ip", Text, 0),
    ("node-labels", Text, 0),
    ("provider-id", Text, 0),
    ("root-dir", Text, 0),
    ("runtime-cgroups", Text, 0),
    ("seccomp-default", Switch, 0),
    ("v", Count, 0),
    ("version", Switch, 0),
    ("vmodule", Text, 0),
];

/// Flags that are deprecated: those whose value is a field of the configuration, and those that do nothing any more.
const DEPRECATED: [&str; 102] = [
    "address",
    "allowed-unsafe-sysctls",
    "anonymous-auth",
    "authentication-token-webhook",
    "authentication-token-webhook-cache-ttl",
    "authorization-mode",
    "authorization-webhook-cache-authorized-ttl",
    "authorization-webhook-cache-unauthorized-ttl",
    "cgroup-driver",
    "cgroup-root",
    "cgroups-per-qos",
    "client-ca-file",
    "cluster-dns",
    "cluster-domain",
    "container-log-max-files",
    "container-log-max-size",
    "container-runtime-endpoint",
    "contention-profiling",
    "cpu-cfs-quota",
    "cpu-cfs-quota-period",
    "cpu-manager-policy",
    "cpu-manager-policy-options",
    "cpu-manager-reconcile-period",
    "enable-controller-attach-detach",
    "enable-debugging-handlers",
    "enable-server",
    "enforce-node-allocatable",
    "event-burst",
    "event-qps",
    "eviction-hard",
    "eviction-max-pod-grace-period",
    "eviction-minimum-reclaim",
    "eviction-pressure-transition-period",
    "eviction-soft",
    "eviction-soft-grace-period",
    "experimental-allocatable-ignore-eviction",
    "experimental-mounter-path",
    "fail-swap-on",
    "feature-gates",
    "file-check-frequency",
    "hairpin-mode",
    "healthz-bind-address",
    "healthz-port",
    "http-check-frequency",
    "image-gc-high-threshold",
    "image-gc-low-threshold",
    "image-service-endpoint",
    "kernel-memcg-notification",
    "kube-api-burst",
    "kube-api-content-type",
    "kube-api-qps",
    "kube-reserved",
    "kube-reserved-cgroup",
    "kubelet-cgroups",
    "local-storage-capacity-isolation",
    "make-iptables-util-chains",
    "manifest-url",
    "manifest-url-header",
    "max-open-files",
    "max-pods",
    "maximum-dead-containers",
    "maximum-dead-containers-per-container",
    "memory-manager-policy",
    "minimum-container-ttl-duration",
    "minimum-image-ttl-duration",
    "node-status-max-images",
    "node-status-update-frequency",
    "oom-score-adj",
    "pod-cidr",
    "pod-manifest-path",
    "pod-max-pids",
    "pods-per-core",
    "port",
    "protect-kernel-defaults",
    "qos-reserved",
    "read-only-port",
    "register-node",
    "register-with-taints",
    "registry-burst",
    "registry-qps",
    "reserved-cpus",
    "reserved-memory",
    "resolv-conf",
    "rotate-certificates",
    "rotate-server-certificates",
    "runonce",
    "runtime-request-timeout",
    "serialize-image-pulls",
    "streaming-connection-idle-timeout",
    "sync-frequency",
    "system-cgroups",
    "system-reserved",
    "system-reserved-cgroup",
    "tls-cert-file",
    "tls-cipher-suites",
    "tls-min-version",
    "tls-private-key-file",
    "topology-manager-policy",
    "topology-manager-policy-options",
    "topology-manager-scope",
    "volume-plugin-dir",
    "volume-stats-agg-period",
];

/// Deprecated flags that are gone, with the first minor version without them.
const GONE: [(&str, u64); 1] = [("pod-infra-container-image", 35)];

/// Checks the flags in the last `ExecStart` of a kubelet's unit or drop-in; one without any says nothing of them. Words
/// that come from the environment are not looked into.
pub(in crate::render) fn check_unit(unit: &str, kubernetes: &semver::Version) -> Result<(), FieldProblem> {
    let joined = unit.replace("\\\n", " ");
    let Some(command) = joined.lines().filter_map(|line| line.trim().strip_prefix("ExecStart=")).next_back() else {
        return Ok(());
    };
    let mut words = command.split_whitespace().skip(1).map(|word| word.trim_matches(['"', '\'']));
    while let Some(word) = words.next() {
        if word.starts_with('$') {
            continue;
        }
        let problem =
            |problem: String| Err(FieldProblem::new(&["ExecStart", word.split('=').next().unwrap_or(word)], problem));
        let Some(flag) =
            word.strip_prefix("--").or_else(|| word.strip_prefix('-').filter(|short| short.starts_with('v')))
        else {
            return problem("is no flag, and the kubelet takes nothing else".to_owned());
        };
        let (name, value) = flag.split_once('=').map_or((flag, None), |(name, value)| (name, Some(value)));
        let kind = match known(&name.replace('_', "-"), kubernetes.minor) {
            Ok(kind) => kind,
            Err(why) => return problem(why),
        };
        let value = match (value, kind) {
            (None, Switch) => "true",
            (None, _) => match words.next() {
                Some(value) => value,
                None => return problem("needs a value".to_owned()),
            },
            (Some(value), _) => value,
        };
        if let Some(wanted) = unfit(kind, value) {
            return problem(format!("expected {wanted}"));
        }
    }
    Ok(())
}

fn known(name: &str, minor: u64) -> Result<Kind, String> {
    let gone = GONE.iter().find(|(gone, _)| *gone == name);
    match FLAGS.iter().find(|(known, ..)| *known == name) {
        Some((_, kind, since)) if *since <= minor => return Ok(*kind),
        Some((_, _, since)) => return Err(format!("kubelet knows it from 1.{since} on, and 1.{minor} is baked")),
        None => {}
    }
    if DEPRECATED.contains(&name) || gone.is_some_and(|(_, until)| minor < *until) {
        return Err(format!(
            "kubelet 1.{minor} marks it as deprecated: the setting `kubelet` goes into its configuration"
        ));
    }
    if let Some((_, until)) = gone {
        return Err(format!("kubelet knows it no more since 1.{until}"));
    }
    let names: Vec<_> = FLAGS.iter().map(|(name, ..)| *name).collect();
    let meant = nearest(name, &names).map(|meant| format!("; did you mean --{meant}?")).unwrap_or_default();
    Err(format!("kubelet 1.{minor} has no such flag{meant}"))
}

fn unfit(kind: Kind, value: &str) -> Option<&'static str> {
    match kind {
        // Go's strconv.ParseBool.
        Switch => (!["1", "t", "T", "true", "TRUE", "True", "0", "f", "F", "false", "FALSE", "False"].contains(&value))
            .then_some("true or false"),
        Text => value.is_empty().then_some("a value"),
        Count => value.parse::<u32>().is_err().then_some("an integer that is not negative"),
        Duration => duration(value).is_none().then_some("a duration such as 10s"),
    }
}
