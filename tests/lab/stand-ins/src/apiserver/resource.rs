//! What kinds of objects are served.

/// One served resource.
#[expect(clippy::struct_excessive_bools, reason = "independent traits of a resource")]
#[derive(Debug, PartialEq, Eq)]
pub struct Resource {
    /// API group; empty for the core group.
    pub group: &'static str,
    /// API version.
    pub version: &'static str,
    /// Plural name, as in paths.
    pub plural: &'static str,
    /// Singular name.
    pub singular: &'static str,
    /// Kind of its objects.
    pub kind: &'static str,
    /// Whether objects live in a namespace.
    pub namespaced: bool,
    /// Short names for kubectl.
    pub short_names: &'static [&'static str],
    /// Verbs offered.
    pub verbs: &'static [&'static str],
    /// Whether there is a status subresource.
    pub has_status: bool,
    /// Whether an update without a resource version is taken (the real strategies differ).
    pub unconditional_update: bool,
    /// Whether an update of an object that is not there makes it.
    pub create_on_update: bool,
    /// Whether `metadata.generation` counts the changes of the spec.
    pub counts_generations: bool,
    /// Whether a deletion is answered with the object as it was, not with a Status (`ReturnDeletedObject`).
    pub returns_deleted: bool,
}

const ALL_VERBS: &[&str] = &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];

/// What most resources are; each names what it is itself.
const USUAL: Resource = Resource {
    group: "",
    version: "v1",
    plural: "",
    singular: "",
    kind: "",
    namespaced: false,
    short_names: &[],
    verbs: ALL_VERBS,
    has_status: true,
    unconditional_update: true,
    create_on_update: false,
    counts_generations: false,
    returns_deleted: false,
};

/// `nodes`.
pub static NODES: Resource =
    Resource { plural: "nodes", singular: "node", kind: "Node", short_names: &["no"], ..USUAL };

/// `namespaces`; they stay once they are made.
pub static NAMESPACES: Resource = Resource {
    plural: "namespaces",
    singular: "namespace",
    kind: "Namespace",
    short_names: &["ns"],
    verbs: &["create", "get", "list", "patch", "update", "watch"],
    has_status: false,
    ..USUAL
};

/// `pods`, with their subresource `eviction`.
pub static PODS: Resource = Resource {
    plural: "pods",
    singular: "pod",
    kind: "Pod",
    namespaced: true,
    short_names: &["po"],
    counts_generations: true,
    returns_deleted: true,
    ..USUAL
};

/// `configmaps`; one tells what the apiserver was started with.
pub static CONFIG_MAPS: Resource = Resource {
    plural: "configmaps",
    singular: "configmap",
    kind: "ConfigMap",
    namespaced: true,
    short_names: &["cm"],
    has_status: false,
    ..USUAL
};

/// `events` of the core group.
pub static EVENTS: Resource = Resource {
    plural: "events",
    singular: "event",
    kind: "Event",
    namespaced: true,
    short_names: &["ev"],
    has_status: false,
    create_on_update: true,
    ..USUAL
};

/// `persistentvolumes`.
pub static PERSISTENT_VOLUMES: Resource = Resource {
    plural: "persistentvolumes",
    singular: "persistentvolume",
    kind: "PersistentVolume",
    short_names: &["pv"],
    returns_deleted: true,
    ..USUAL
};

/// `persistentvolumeclaims`.
pub static PERSISTENT_VOLUME_CLAIMS: Resource = Resource {
    plural: "persistentvolumeclaims",
    singular: "persistentvolumeclaim",
    kind: "PersistentVolumeClaim",
    namespaced: true,
    short_names: &["pvc"],
    returns_deleted: true,
    ..USUAL
};

/// `leases`.
pub static LEASES: Resource = Resource {
    group: "coordination.k8s.io",
    plural: "leases",
    singular: "lease",
    kind: "Lease",
    namespaced: true,
    has_status: false,
    unconditional_update: false,
    create_on_update: true,
    ..USUAL
};

/// `daemonsets`; no controller makes their pods.
pub static DAEMON_SETS: Resource = Resource {
    group: "apps",
    plural: "daemonsets",
    singular: "daemonset",
    kind: "DaemonSet",
    namespaced: true,
    short_names: &["ds"],
    counts_generations: true,
    ..USUAL
};

/// `replicasets`; `--replicaset-controller` makes their pods.
pub static REPLICA_SETS: Resource = Resource {
    group: "apps",
    plural: "replicasets",
    singular: "replicaset",
    kind: "ReplicaSet",
    namespaced: true,
    short_names: &["rs"],
    counts_generations: true,
    ..USUAL
};

/// `poddisruptionbudgets`.
pub static POD_DISRUPTION_BUDGETS: Resource = Resource {
    group: "policy",
    plural: "poddisruptionbudgets",
    singular: "poddisruptionbudget",
    kind: "PodDisruptionBudget",
    namespaced: true,
    short_names: &["pdb"],
    unconditional_update: false,
    counts_generations: true,
    ..USUAL
};

/// `volumeattachments`; no controller attaches or detaches.
pub static VOLUME_ATTACHMENTS: Resource = Resource {
    group: "storage.k8s.io",
    plural: "volumeattachments",
    singular: "volumeattachment",
    kind: "VolumeAttachment",
    unconditional_update: false,
    returns_deleted: true,
    ..USUAL
};

/// `clusterroles`.
pub static CLUSTER_ROLES: Resource = Resource {
    group: "rbac.authorization.k8s.io",
    plural: "clusterroles",
    singular: "clusterrole",
    kind: "ClusterRole",
    has_status: false,
    create_on_update: true,
    ..USUAL
};

/// `clusterrolebindings`.
pub static CLUSTER_ROLE_BINDINGS: Resource = Resource {
    group: "rbac.authorization.k8s.io",
    plural: "clusterrolebindings",
    singular: "clusterrolebinding",
    kind: "ClusterRoleBinding",
    has_status: false,
    create_on_update: true,
    ..USUAL
};

/// `selfsubjectreviews`: who am I.
pub static SELF_SUBJECT_REVIEWS: Resource =
    review("authentication.k8s.io", "selfsubjectreviews", "selfsubjectreview", "SelfSubjectReview");
/// `selfsubjectaccessreviews`: may I.
pub static SELF_SUBJECT_ACCESS_REVIEWS: Resource =
    review("authorization.k8s.io", "selfsubjectaccessreviews", "selfsubjectaccessreview", "SelfSubjectAccessReview");
/// `subjectaccessreviews`: may they; a kubelet asks it about who calls its own API.
pub static SUBJECT_ACCESS_REVIEWS: Resource =
    review("authorization.k8s.io", "subjectaccessreviews", "subjectaccessreview", "SubjectAccessReview");

const fn review(group: &'static str, plural: &'static str, singular: &'static str, kind: &'static str) -> Resource {
    Resource { group, plural, singular, kind, verbs: &["create"], has_status: false, ..USUAL }
}

/// Everything that is served.
pub static ALL: [&Resource; 17] = [
    &NODES,
    &NAMESPACES,
    &PODS,
    &CONFIG_MAPS,
    &EVENTS,
    &PERSISTENT_VOLUMES,
    &PERSISTENT_VOLUME_CLAIMS,
    &LEASES,
    &DAEMON_SETS,
    &REPLICA_SETS,
    &POD_DISRUPTION_BUDGETS,
    &VOLUME_ATTACHMENTS,
    &CLUSTER_ROLES,
    &CLUSTER_ROLE_BINDINGS,
    &SELF_SUBJECT_REVIEWS,
    &SELF_SUBJECT_ACCESS_REVIEWS,
    &SUBJECT_ACCESS_REVIEWS,
];

impl Resource {
    /// `nodes`, `leases.coordination.k8s.io`.
    #[must_use]
    pub fn qualified(&self) -> String {
        if self.group.is_empty() { self.plural.to_owned() } else { format!("{}.{}", self.plural, self.group) }
    }

    /// `v1`, `coordination.k8s.io/v1`.
    #[must_use]
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.to_owned() } else { format!("{}/{}", self.group, self.version) }
    }

    /// The resource of that name in that group and version.
    #[must_use]
    pub fn find(group: &str, version: &str, plural: &str) -> Option<&'static Self> {
        ALL.into_iter().find(|known| known.group == group && known.version == version && known.plural == plural)
    }
}
