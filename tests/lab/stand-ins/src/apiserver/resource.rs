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
}

const ALL_VERBS: &[&str] = &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
const READ_VERBS: &[&str] = &["get", "list", "watch"];

/// `nodes`.
pub static NODES: Resource = Resource {
    group: "",
    version: "v1",
    plural: "nodes",
    singular: "node",
    kind: "Node",
    namespaced: false,
    short_names: &["no"],
    verbs: ALL_VERBS,
    has_status: true,
    unconditional_update: true,
    create_on_update: false,
};

/// `namespaces`.
pub static NAMESPACES: Resource = Resource {
    group: "",
    version: "v1",
    plural: "namespaces",
    singular: "namespace",
    kind: "Namespace",
    namespaced: false,
    short_names: &["ns"],
    verbs: &["create", "get", "list", "patch", "update", "watch"],
    has_status: false,
    unconditional_update: true,
    create_on_update: false,
};

/// `pods`: always an empty list, nothing schedules any.
pub static PODS: Resource = Resource {
    group: "",
    version: "v1",
    plural: "pods",
    singular: "pod",
    kind: "Pod",
    namespaced: true,
    short_names: &["po"],
    verbs: READ_VERBS,
    has_status: false,
    unconditional_update: true,
    create_on_update: false,
};

/// `events` of the core group.
pub static EVENTS: Resource = Resource {
    group: "",
    version: "v1",
    plural: "events",
    singular: "event",
    kind: "Event",
    namespaced: true,
    short_names: &["ev"],
    verbs: ALL_VERBS,
    has_status: false,
    unconditional_update: true,
    create_on_update: true,
};

/// `leases`.
pub static LEASES: Resource = Resource {
    group: "coordination.k8s.io",
    version: "v1",
    plural: "leases",
    singular: "lease",
    kind: "Lease",
    namespaced: true,
    short_names: &[],
    verbs: ALL_VERBS,
    has_status: false,
    unconditional_update: false,
    create_on_update: true,
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
    Resource {
        group,
        version: "v1",
        plural,
        singular,
        kind,
        namespaced: false,
        short_names: &[],
        verbs: &["create"],
        has_status: false,
        unconditional_update: false,
        create_on_update: false,
    }
}

/// Everything that is served.
pub static ALL: [&Resource; 8] = [
    &NODES,
    &NAMESPACES,
    &PODS,
    &EVENTS,
    &LEASES,
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
