//! The kubelet's command line: every flag of kubelet v1.35 is known, any other is an error. What the stand-in does
//! nothing with is taken, its value checked, and named in the log.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use super::schema::parse_duration;
use super::version::version;

/// What a flag's value must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Bool,
    Int32,
    Int64,
    Duration,
    Text,
    /// `--version`, `--version=raw`.
    Version,
}

use Kind::{Bool, Duration, Int32, Int64, Text, Version};

/// The flags of kubelet v1.35.1 on Linux (its reference documentation, what `kubelet --help` hides included).
const FLAGS: &[(&str, Kind)] = &[
    ("address", Text),
    ("allowed-unsafe-sysctls", Text),
    ("anonymous-auth", Bool),
    ("application-metrics-count-limit", Int64),
    ("authentication-token-webhook", Bool),
    ("authentication-token-webhook-cache-ttl", Duration),
    ("authorization-mode", Text),
    ("authorization-webhook-cache-authorized-ttl", Duration),
    ("authorization-webhook-cache-unauthorized-ttl", Duration),
    ("boot-id-file", Text),
    ("bootstrap-kubeconfig", Text),
    ("cert-dir", Text),
    ("cgroup-driver", Text),
    ("cgroup-root", Text),
    ("cgroups-per-qos", Bool),
    ("client-ca-file", Text),
    ("cloud-provider", Text),
    ("cluster-dns", Text),
    ("cluster-domain", Text),
    ("config", Text),
    ("config-dir", Text),
    ("container-hints", Text),
    ("container-log-max-files", Int32),
    ("container-log-max-size", Text),
    ("container-runtime-endpoint", Text),
    ("containerd", Text),
    ("containerd-namespace", Text),
    ("contention-profiling", Bool),
    ("cpu-cfs-quota", Bool),
    ("cpu-cfs-quota-period", Duration),
    ("cpu-manager-policy", Text),
    ("cpu-manager-policy-options", Text),
    ("cpu-manager-reconcile-period", Duration),
    ("enable-controller-attach-detach", Bool),
    ("enable-debugging-handlers", Bool),
    ("enable-load-reader", Bool),
    ("enable-server", Bool),
    ("enforce-node-allocatable", Text),
    ("event-burst", Int32),
    ("event-qps", Int32),
    ("event-storage-age-limit", Text),
    ("event-storage-event-limit", Text),
    ("eviction-hard", Text),
    ("eviction-max-pod-grace-period", Int32),
    ("eviction-minimum-reclaim", Text),
    ("eviction-pressure-transition-period", Duration),
    ("eviction-soft", Text),
    ("eviction-soft-grace-period", Text),
    ("exit-on-lock-contention", Bool),
    ("experimental-allocatable-ignore-eviction", Bool),
    ("experimental-mounter-path", Text),
    ("fail-cgroupv1", Bool),
    ("fail-swap-on", Bool),
    ("feature-gates", Text),
    ("file-check-frequency", Duration),
    ("global-housekeeping-interval", Duration),
    ("hairpin-mode", Text),
    ("healthz-bind-address", Text),
    ("healthz-port", Int32),
    ("hostname-override", Text),
    ("housekeeping-interval", Duration),
    ("http-check-frequency", Duration),
    ("image-credential-provider-bin-dir", Text),
    ("image-credential-provider-config", Text),
    ("image-gc-high-threshold", Int32),
    ("image-gc-low-threshold", Int32),
    ("image-service-endpoint", Text),
    ("kernel-memcg-notification", Bool),
    ("kube-api-burst", Int32),
    ("kube-api-content-type", Text),
    ("kube-api-qps", Int32),
    ("kube-reserved", Text),
    ("kube-reserved-cgroup", Text),
    ("kubeconfig", Text),
    ("kubelet-cgroups", Text),
    ("local-storage-capacity-isolation", Bool),
    ("lock-file", Text),
    ("log-cadvisor-usage", Bool),
    ("log-flush-frequency", Duration),
    ("log-json-info-buffer-size", Text),
    ("log-json-split-stream", Bool),
    ("log-text-info-buffer-size", Text),
    ("log-text-split-stream", Bool),
    ("logging-format", Text),
    ("machine-id-file", Text),
    ("make-iptables-util-chains", Bool),
    ("manifest-url", Text),
    ("manifest-url-header", Text),
    ("max-open-files", Int64),
    ("max-pods", Int32),
    ("maximum-dead-containers", Int32),
    ("maximum-dead-containers-per-container", Int32),
    ("memory-manager-policy", Text),
    ("minimum-container-ttl-duration", Duration),
    ("minimum-image-ttl-duration", Duration),
    ("node-ip", Text),
    ("node-labels", Text),
    ("node-status-max-images", Int32),
    ("node-status-update-frequency", Duration),
    ("oom-score-adj", Int32),
    ("pod-cidr", Text),
    ("pod-manifest-path", Text),
    ("pod-max-pids", Int64),
    ("pods-per-core", Int32),
    ("port", Int32),
    ("protect-kernel-defaults", Bool),
    ("provider-id", Text),
    ("qos-reserved", Text),
    ("read-only-port", Int32),
    ("register-node", Bool),
    ("register-with-taints", Text),
    ("registry-burst", Int32),
    ("registry-qps", Int32),
    ("reserved-cpus", Text),
    ("reserved-memory", Text),
    ("resolv-conf", Text),
    ("root-dir", Text),
    ("rotate-certificates", Bool),
    ("rotate-server-certificates", Bool),
    ("runonce", Bool),
    ("runtime-cgroups", Text),
    ("runtime-request-timeout", Duration),
    ("seccomp-default", Bool),
    ("serialize-image-pulls", Bool),
    ("storage-driver-buffer-duration", Duration),
    ("storage-driver-db", Text),
    ("storage-driver-host", Text),
    ("storage-driver-password", Text),
    ("storage-driver-secure", Bool),
    ("storage-driver-table", Text),
    ("storage-driver-user", Text),
    ("streaming-connection-idle-timeout", Duration),
    ("sync-frequency", Duration),
    ("system-cgroups", Text),
    ("system-reserved", Text),
    ("system-reserved-cgroup", Text),
    ("tls-cert-file", Text),
    ("tls-cipher-suites", Text),
    ("tls-min-version", Text),
    ("tls-private-key-file", Text),
    ("topology-manager-policy", Text),
    ("topology-manager-policy-options", Text),
    ("topology-manager-scope", Text),
    ("v", Int32),
    ("version", Version),
    ("vmodule", Text),
    ("volume-plugin-dir", Text),
    ("volume-stats-agg-period", Duration),
];

/// Flags that do something here; all others are named in the log and ignored.
const USED: [&str; 9] = [
    "config",
    "hostname-override",
    "kubeconfig",
    "node-ip",
    "node-labels",
    "register-with-taints",
    "root-dir",
    "v",
    "version",
];

/// A taint, as a flag or a configuration names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taint {
    /// Key.
    pub key: String,
    /// Value; may be empty.
    pub value: String,
    /// `NoSchedule`, `PreferNoSchedule` or `NoExecute`.
    pub effect: String,
}

/// What the command line says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Flags {
    /// `--config`.
    pub config: Option<PathBuf>,
    /// `--kubeconfig`.
    pub kubeconfig: Option<PathBuf>,
    /// `--node-ip`, one or two addresses.
    pub node_ips: Vec<IpAddr>,
    /// `--hostname-override`.
    pub hostname_override: Option<String>,
    /// `--node-labels`.
    pub node_labels: BTreeMap<String, String>,
    /// `--register-with-taints`.
    pub register_with_taints: Vec<Taint>,
    /// `--version` was given.
    pub version: bool,
    /// `--help` or `-h` was given.
    pub help: bool,
    /// Flags that were given and do nothing here.
    pub ignored: Vec<String>,
}

/// What is wrong with a command line.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum FlagError {
    /// Not a flag of the kubelet.
    #[error("failed to parse kubelet flag: unknown flag: --{0}")]
    Unknown(String),
    /// Not a one-letter flag of the kubelet.
    #[error("failed to parse kubelet flag: unknown shorthand flag: {0:?}")]
    UnknownShorthand(String),
    /// A flag at the end that wants a value.
    #[error("failed to parse kubelet flag: flag needs an argument: --{0}")]
    NoValue(String),
    /// A value of the wrong type or form.
    #[error("failed to parse kubelet flag: invalid argument {value:?} for \"--{flag}\" flag: {why}")]
    BadValue {
        /// The flag.
        flag: String,
        /// The value.
        value: String,
        /// What it should be.
        why: String,
    },
    /// The kubelet has no commands.
    #[error("unknown command {0:?}")]
    Positional(String),
    /// A label of the kubernetes.io or k8s.io domains that a kubelet may not give itself.
    #[error("unknown 'kubernetes.io' or 'k8s.io' labels specified with --node-labels: {0:?}")]
    ForbiddenLabel(String),
}

impl Flags {
    /// Reads a command line without the program's name.
    ///
    /// # Errors
    /// See [`FlagError`].
    pub fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Self, FlagError> {
        let mut flags = Self::default();
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            if argument == "--" {
                return arguments.next().map_or(Ok(flags), |rest| Err(FlagError::Positional(rest)));
            }
            let (name, value) = match split(&argument)? {
                Some(("help" | "h", _)) => {
                    flags.help = true;
                    continue;
                }
                Some((name, value)) => (name.replace('_', "-"), value.map(str::to_owned)),
                None => return Err(FlagError::Positional(argument)),
            };
            let Some((_, kind)) = FLAGS.iter().find(|(known, _)| *known == name) else {
                return Err(FlagError::Unknown(name));
            };
            let value = match (value, kind) {
                (Some(value), _) => value,
                (None, Bool | Version) => "true".to_owned(),
                (None, _) => arguments.next().ok_or_else(|| FlagError::NoValue(name.clone()))?,
            };
            check(&name, &value, *kind)?;
            flags.take(&name, &value)?;
        }
        Ok(flags)
    }

    fn take(&mut self, name: &str, value: &str) -> Result<(), FlagError> {
        let bad =
            |why: &str| FlagError::BadValue { flag: name.to_owned(), value: value.to_owned(), why: why.to_owned() };
        match name {
            "config" => self.config = Some(PathBuf::from(value)),
            "kubeconfig" => self.kubeconfig = Some(PathBuf::from(value)),
            "hostname-override" => self.hostname_override = Some(value.trim().to_lowercase()),
            "version" => self.version = value != "false",
            "node-ip" => {
                let addresses = value.split(',').map(|address| address.trim().parse());
                self.node_ips = addresses.collect::<Result<_, _>>().map_err(|_| bad("not an IP address"))?;
                if self.node_ips.len() > 2 {
                    return Err(bad("must be either a single IP or a dual-stack pair of IPs"));
                }
            }
            "node-labels" => self.node_labels = labels(value).map_err(|why| bad(&why))?,
            "register-with-taints" => self.register_with_taints = taints(value).map_err(|why| bad(&why))?,
            _ => {}
        }
        if let Some(label) =
            self.node_labels.keys().find(|label| !crate::apiserver::admission::kubelet_may_set(label)).cloned()
        {
            return Err(FlagError::ForbiddenLabel(label));
        }
        if !USED.contains(&name) && !self.ignored.iter().any(|known| known == name) {
            self.ignored.push(name.to_owned());
        }
        Ok(())
    }
}

/// Name and value of an argument that is a flag.
fn split(argument: &str) -> Result<Option<(&str, Option<&str>)>, FlagError> {
    if let Some(long) = argument.strip_prefix("--") {
        return Ok(Some(long.split_once('=').map_or((long, None), |(name, value)| (name, Some(value)))));
    }
    let Some(short) = argument.strip_prefix('-').filter(|short| !short.is_empty()) else { return Ok(None) };
    match short.strip_prefix('v') {
        Some("") => Ok(Some(("v", None))),
        Some(value) => Ok(Some(("v", Some(value.strip_prefix('=').unwrap_or(value))))),
        None if short == "h" => Ok(Some(("h", None))),
        None => Err(FlagError::UnknownShorthand(argument.to_owned())),
    }
}

fn check(name: &str, value: &str, kind: Kind) -> Result<(), FlagError> {
    let is_good = match kind {
        // strconv.ParseBool
        Bool => {
            matches!(value, "1" | "t" | "T" | "true" | "TRUE" | "True" | "0" | "f" | "F" | "false" | "FALSE" | "False")
        }
        Int32 => value.parse::<i32>().is_ok(),
        Int64 => value.parse::<i64>().is_ok(),
        Duration => parse_duration(value).is_some(),
        Text => true,
        Version => matches!(value, "true" | "false" | "raw") || value.starts_with('v'),
    };
    if is_good {
        return Ok(());
    }
    let why = match kind {
        Bool => "not a boolean",
        Int32 | Int64 => "not an integer in range",
        Duration => "not a duration (such as 10s or 1h30m)",
        Text | Version => "not a version request",
    };
    Err(FlagError::BadValue { flag: name.to_owned(), value: value.to_owned(), why: why.to_owned() })
}

fn labels(text: &str) -> Result<BTreeMap<String, String>, String> {
    text.split(',')
        .filter(|pair| !pair.is_empty())
        .map(|pair| match pair.split_once('=') {
            Some((key, value)) if !key.trim().is_empty() => Ok((key.trim().to_owned(), value.trim().to_owned())),
            _ => Err(format!("malformed pair, expect string=string: {pair}")),
        })
        .collect()
}

fn taints(text: &str) -> Result<Vec<Taint>, String> {
    text.split(',').filter(|taint| !taint.is_empty()).map(taint).collect()
}

fn taint(text: &str) -> Result<Taint, String> {
    let invalid = || format!("invalid taint spec: {text}");
    let (rest, effect) = text.rsplit_once(':').ok_or_else(invalid)?;
    let (key, value) = rest.split_once('=').unwrap_or((rest, ""));
    if key.is_empty() {
        return Err(invalid());
    }
    if !matches!(effect, "NoSchedule" | "PreferNoSchedule" | "NoExecute") {
        return Err(format!("invalid taint effect: {effect}"));
    }
    Ok(Taint { key: key.to_owned(), value: value.to_owned(), effect: effect.to_owned() })
}

/// What `--help` prints.
#[must_use]
pub fn help() -> String {
    let names: Vec<String> = FLAGS.iter().map(|(name, _)| format!("      --{name}")).collect();
    format!(
        "A stand-in for the kubelet {}, for the nodebake lab. It knows the kubelet's flags:\n{}\n",
        version(),
        names.join("\n")
    )
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Flags, FlagError> {
        Flags::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn a_unit_s_command_line_is_read() {
        let line = "--config=/etc/kubernetes/kubelet-config.yaml --kubeconfig /etc/kubernetes/kubelet.kubeconfig \
                    --node_ip=10.0.0.36 --hostname-override=worker-node-1 --v=2 -v 3 --fail-swap-on --register-node=false \
                    --node-labels=a=b,node.kubernetes.io/x=y --register-with-taints=k=v:NoSchedule,l:NoExecute";
        let taint = |key: &str, value: &str, effect: &str| Taint {
            key: key.to_owned(),
            value: value.to_owned(),
            effect: effect.to_owned(),
        };
        assert_eq!(
            parse(line).unwrap(),
            Flags {
                config: Some("/etc/kubernetes/kubelet-config.yaml".into()),
                kubeconfig: Some("/etc/kubernetes/kubelet.kubeconfig".into()),
                node_ips: vec!["10.0.0.36".parse().unwrap()],
                hostname_override: Some("worker-node-1".to_owned()),
                node_labels: [("a", "b"), ("node.kubernetes.io/x", "y")]
                    .map(|(key, value)| (key.to_owned(), value.to_owned()))
                    .into(),
                register_with_taints: vec![taint("k", "v", "NoSchedule"), taint("l", "", "NoExecute")],
                ignored: vec!["fail-swap-on".to_owned(), "register-node".to_owned()],
                ..Flags::default()
            }
        );
        assert!(parse("--version").unwrap().version);
        assert!(parse("-h").unwrap().help);
    }

    #[test]
    fn what_the_kubelet_refuses_is_refused() {
        let own = |text: &str| text.to_owned();
        let bad = |flag: &str, value: &str, why: &str| FlagError::BadValue {
            flag: own(flag),
            value: own(value),
            why: own(why),
        };
        for (line, want) in [
            ("--node-ipp=1.2.3.4", FlagError::Unknown(own("node-ipp"))),
            ("--network-plugin=cni", FlagError::Unknown(own("network-plugin"))),
            ("--container-runtime=remote", FlagError::Unknown(own("container-runtime"))),
            // Gone in 1.35.
            ("--pod-infra-container-image=x", FlagError::Unknown(own("pod-infra-container-image"))),
            ("-x", FlagError::UnknownShorthand(own("-x"))),
            ("run", FlagError::Positional(own("run"))),
            ("--register-node false", FlagError::Positional(own("false"))),
            ("--config", FlagError::NoValue(own("config"))),
            ("--v=two", bad("v", "two", "not an integer in range")),
            ("--fail-swap-on=no", bad("fail-swap-on", "no", "not a boolean")),
            (
                "--runtime-request-timeout=15",
                bad("runtime-request-timeout", "15", "not a duration (such as 10s or 1h30m)"),
            ),
            ("--node-ip=worker", bad("node-ip", "worker", "not an IP address")),
            (
                "--register-with-taints=a=b:Never",
                bad("register-with-taints", "a=b:Never", "invalid taint effect: Never"),
            ),
            (
                "--node-labels=node-role.kubernetes.io/worker=",
                FlagError::ForbiddenLabel(own("node-role.kubernetes.io/worker")),
            ),
        ] {
            assert_eq!(parse(line), Err(want), "{line}");
        }
    }

    #[test]
    fn the_list_is_sorted_and_has_no_flag_twice() {
        let names: Vec<&str> = FLAGS.iter().map(|(name, _)| *name).collect();
        assert!(names.is_sorted_by(|left, right| left < right));
        assert!(USED.iter().all(|used| names.contains(used)));
    }
}
