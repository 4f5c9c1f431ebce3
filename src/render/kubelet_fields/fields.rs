//! The fields of `KubeletConfiguration` (kubelet.config.k8s.io/v1beta1) with their types, and since when each is there; from
//! k8s.io/kubelet's `config/v1beta1` of 1.30 to 1.36, which took none away.

/// The newest minor version whose fields stand here.
pub(super) const NEWEST: u64 = 36;

/// What a field holds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Kind {
    /// true or false.
    Bool,
    /// From the first to the second number.
    Integer(i64, i64),
    /// A number above 0, up to 1.
    Fraction,
    /// Any text.
    Text,
    /// One of these texts.
    Words(&'static [&'static str]),
    /// A text that Go reads as a duration, not negative.
    Duration,
    /// The same, or nanoseconds.
    Nanoseconds,
    /// An amount of a resource as a text, not negative.
    Amount,
    /// The same, or an integer.
    Quantity,
    /// `50%`.
    Percentage,
    /// A quantity or a percentage.
    Threshold,
    /// A list of these.
    List(&'static Kind),
    /// These, by names; only by those that are listed here, if any are.
    Map(&'static [&'static str], &'static Kind),
    /// An object with these fields.
    Object(&'static [Field]),
}

impl Kind {
    /// What is expected, in words.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Bool => "a boolean",
            Self::Integer(..) => "an integer",
            Self::Fraction => "a number",
            Self::Text | Self::Words(_) | Self::Percentage | Self::Threshold => "a text",
            Self::Duration | Self::Nanoseconds => "a duration, which is a text",
            Self::Amount => "a quantity, which is a text",
            Self::Quantity => "a quantity",
            Self::List(_) => "a list",
            Self::Map(..) | Self::Object(_) => "a map",
        }
    }
}

/// A field of an object.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Field {
    /// Its name; case counts.
    pub(super) name: &'static str,
    /// What it holds.
    pub(super) kind: Kind,
    /// The first minor version that has it; 0 for what has been there in all of them.
    pub(super) since: u64,
}

const fn field(name: &'static str, kind: Kind) -> Field {
    Field { name, kind, since: 0 }
}

const fn since(since: u64, name: &'static str, kind: Kind) -> Field {
    Field { name, kind, since }
}

use Kind::{
    Amount, Bool, Duration, Fraction, Integer, List, Map, Nanoseconds, Object, Percentage, Quantity, Text, Threshold,
    Words,
};

/// The largest integer of 32 bits.
const MOST: i64 = i32::MAX as i64;
/// An integer of 32 bits, not negative.
const COUNT: Kind = Integer(0, MOST);

/// What an eviction can watch (the kubelet's `eviction/api`).
const SIGNALS: &[&str] = &[
    "memory.available",
    "nodefs.available",
    "nodefs.inodesFree",
    "imagefs.available",
    "imagefs.inodesFree",
    "containerfs.available",
    "containerfs.inodesFree",
    "allocatableMemory.available",
    "pid.available",
];

/// What can be reserved (the kubelet's `cmd/kubelet/app`).
const RESOURCES: &[&str] = &["cpu", "memory", "ephemeral-storage", "pid"];

/// The fields of `KubeletConfiguration`, sorted.
pub(super) const KUBELET_CONFIGURATION: &[Field] = &[
    field("address", Text),
    field("allowedUnsafeSysctls", List(&Text)),
    field("apiVersion", Words(&["kubelet.config.k8s.io/v1beta1"])),
    field("authentication", Object(AUTHENTICATION)),
    field("authorization", Object(AUTHORIZATION)),
    field("cgroupDriver", Words(&["cgroupfs", "systemd"])),
    field("cgroupRoot", Text),
    field("cgroupsPerQOS", Bool),
    field("clusterDNS", List(&Text)),
    field("clusterDomain", Text),
    field("configMapAndSecretChangeDetectionStrategy", Words(&["Get", "Cache", "Watch"])),
    field("containerLogMaxFiles", Integer(2, MOST)),
    field("containerLogMaxSize", Amount),
    field("containerLogMaxWorkers", Integer(1, MOST)),
    field("containerLogMonitorInterval", Duration),
    field("containerRuntimeEndpoint", Text),
    field("contentType", Text),
    field("cpuCFSQuota", Bool),
    field("cpuCFSQuotaPeriod", Duration),
    field("cpuManagerPolicy", Words(&["none", "static"])),
    field("cpuManagerPolicyOptions", Map(&[], &Text)),
    field("cpuManagerReconcilePeriod", Duration),
    since(32, "crashLoopBackOff", Object(&[field("maxContainerRestartPeriod", Duration)])),
    field("enableContentionProfiling", Bool),
    field("enableControllerAttachDetach", Bool),
    field("enableDebugFlagsHandler", Bool),
    field("enableDebuggingHandlers", Bool),
    field("enableProfilingHandler", Bool),
    field("enableServer", Bool),
    field("enableSystemLogHandler", Bool),
    field("enableSystemLogQuery", Bool),
    field(
        "enforceNodeAllocatable",
        List(&Words(&[
            "none",
            "pods",
            "system-reserved",
            "system-reserved-compressible",
            "kube-reserved",
            "kube-reserved-compressible",
        ])),
    ),
    field("eventBurst", COUNT),
    field("eventRecordQPS", COUNT),
    field("evictionHard", Map(SIGNALS, &Threshold)),
    field("evictionMaxPodGracePeriod", COUNT),
    field("evictionMinimumReclaim", Map(SIGNALS, &Threshold)),
    field("evictionPressureTransitionPeriod", Duration),
    field("evictionSoft", Map(SIGNALS, &Threshold)),
    field("evictionSoftGracePeriod", Map(SIGNALS, &Duration)),
    since(31, "failCgroupV1", Bool),
    field("failSwapOn", Bool),
    field("featureGates", Map(&[], &Bool)),
    field("fileCheckFrequency", Duration),
    field("hairpinMode", Words(&["promiscuous-bridge", "hairpin-veth", "none"])),
    field("healthzBindAddress", Text),
    field("healthzPort", Integer(0, 65535)),
    field("httpCheckFrequency", Duration),
    field("imageGCHighThresholdPercent", Integer(0, 100)),
    field("imageGCLowThresholdPercent", Integer(0, 100)),
    field("imageMaximumGCAge", Duration),
    field("imageMinimumGCAge", Duration),
    since(
        33,
        "imagePullCredentialsVerificationPolicy",
        Words(&["NeverVerify", "NeverVerifyPreloadedImages", "NeverVerifyAllowlistedImages", "AlwaysVerify"]),
    ),
    field("imageServiceEndpoint", Text),
    field("iptablesDropBit", Integer(0, 31)),
    field("iptablesMasqueradeBit", Integer(0, 31)),
    field("kernelMemcgNotification", Bool),
    field("kind", Words(&["KubeletConfiguration"])),
    field("kubeAPIBurst", COUNT),
    field("kubeAPIQPS", COUNT),
    field("kubeReserved", Map(RESOURCES, &Amount)),
    field("kubeReservedCgroup", Text),
    field("kubeletCgroups", Text),
    field("localStorageCapacityIsolation", Bool),
    field("logging", Object(LOGGING)),
    field("makeIPTablesUtilChains", Bool),
    field("maxOpenFiles", Integer(0, i64::MAX)),
    field("maxParallelImagePulls", Integer(1, MOST)),
    field("maxPods", COUNT),
    field("memoryManagerPolicy", Words(&["None", "Static"])),
    since(36, "memoryReservationPolicy", Words(&["None", "TieredReservation"])),
    field("memorySwap", Object(&[field("swapBehavior", Words(&["", "NoSwap", "LimitedSwap"]))])),
    field("memoryThrottlingFactor", Fraction),
    since(33, "mergeDefaultEvictionSettings", Bool),
    field("nodeLeaseDurationSeconds", COUNT),
    field("nodeStatusMaxImages", Integer(-1, MOST)),
    field("nodeStatusReportFrequency", Duration),
    field("nodeStatusUpdateFrequency", Duration),
    field("oomScoreAdj", Integer(-1000, 1000)),
    field("podCIDR", Text),
    field("podLogsDir", Text),
    field("podPidsLimit", Integer(i64::MIN, i64::MAX)),
    field("podsPerCore", COUNT),
    field("port", Integer(1, 65535)),
    since(33, "preloadedImagesVerificationAllowlist", List(&Text)),
    field("protectKernelDefaults", Bool),
    field("providerID", Text),
    field("qosReserved", Map(&["memory"], &Percentage)),
    field("readOnlyPort", Integer(0, 65535)),
    field("registerNode", Bool),
    field("registerWithTaints", List(&Object(TAINT))),
    field("registryBurst", COUNT),
    field("registryPullQPS", COUNT),
    field("reservedMemory", List(&Object(&[field("limits", Map(&[], &Quantity)), field("numaNode", COUNT)]))),
    field("reservedSystemCPUs", Text),
    field("resolvConf", Text),
    field("rotateCertificates", Bool),
    field("runOnce", Bool),
    field("runtimeRequestTimeout", Duration),
    field("seccompDefault", Bool),
    field("serializeImagePulls", Bool),
    field("serverTLSBootstrap", Bool),
    field("showHiddenMetricsForVersion", Text),
    field("shutdownGracePeriod", Duration),
    field(
        "shutdownGracePeriodByPodPriority",
        List(&Object(&[
            field("priority", Integer(i32::MIN as i64, MOST)),
            field("shutdownGracePeriodSeconds", Integer(0, i64::MAX)),
        ])),
    ),
    field("shutdownGracePeriodCriticalPods", Duration),
    since(32, "singleProcessOOMKill", Bool),
    field("staticPodPath", Text),
    field("staticPodURL", Text),
    field("staticPodURLHeader", Map(&[], &List(&Text))),
    field("streamingConnectionIdleTimeout", Duration),
    field("syncFrequency", Duration),
    field("systemCgroups", Text),
    field("systemReserved", Map(RESOURCES, &Amount)),
    field("systemReservedCgroup", Text),
    field("tlsCertFile", Text),
    field("tlsCipherSuites", List(&Text)),
    since(36, "tlsCurvePreferences", List(&Integer(0, 65535))),
    field("tlsMinVersion", Words(&["VersionTLS10", "VersionTLS11", "VersionTLS12", "VersionTLS13"])),
    field("tlsPrivateKeyFile", Text),
    field("topologyManagerPolicy", Words(&["none", "best-effort", "restricted", "single-numa-node"])),
    field("topologyManagerPolicyOptions", Map(&[], &Text)),
    field("topologyManagerScope", Words(&["container", "pod"])),
    field("tracing", Object(&[field("endpoint", Text), field("samplingRatePerMillion", Integer(0, 1_000_000))])),
    since(33, "userNamespaces", Object(&[field("idsPerPod", Integer(65_536, i64::MAX))])),
    field("volumePluginDir", Text),
    field("volumeStatsAggPeriod", Duration),
];

const AUTHENTICATION: &[Field] = &[
    field("anonymous", Object(&[field("enabled", Bool)])),
    field("webhook", Object(&[field("cacheTTL", Duration), field("enabled", Bool)])),
    field("x509", Object(&[field("clientCAFile", Text)])),
];

const AUTHORIZATION: &[Field] = &[
    field("mode", Words(&["AlwaysAllow", "Webhook"])),
    field("webhook", Object(&[field("cacheAuthorizedTTL", Duration), field("cacheUnauthorizedTTL", Duration)])),
];

/// component-base's `logs/api/v1`.
const LOGGING: &[Field] = &[
    field("flushFrequency", Nanoseconds),
    field("format", Words(&["text", "json"])),
    field("options", Object(&[field("json", Object(LOG_STREAM)), field("text", Object(LOG_STREAM))])),
    field("verbosity", Integer(0, u32::MAX as i64)),
    field("vmodule", List(&Object(&[field("filePattern", Text), field("verbosity", Integer(0, u32::MAX as i64))]))),
];

const LOG_STREAM: &[Field] = &[field("infoBufferSize", Quantity), field("splitStream", Bool)];

/// core/v1's `Taint`; with `timeAdded` a kubelet does not start.
const TAINT: &[Field] = &[
    field("effect", Words(&["NoSchedule", "PreferNoSchedule", "NoExecute"])),
    field("key", Text),
    field("value", Text),
];
