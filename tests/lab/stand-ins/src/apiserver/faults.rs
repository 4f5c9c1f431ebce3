//! Faults that a test asks for: the n-th request of a kind fails in a way that it names.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::status::ApiError;

/// What goes wrong with a request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Act {
    /// 429 as of a server with too much to do: plain text, and the header `Retry-After`.
    Busy {
        /// Seconds of `Retry-After`.
        retry_after: u32,
    },
    /// 500 as of a server whose storage fails.
    Internal,
    /// 503 as of a server that starts or stops.
    Unavailable,
    /// 409 as if somebody else had changed the object meanwhile.
    Conflict,
    /// 410 as the answer to a list or watch of a forgotten resource version.
    Expired,
    /// The request is dealt with so many seconds late.
    Slow {
        /// Seconds.
        seconds: f64,
    },
    /// The connection is cut and nothing was done.
    CutBefore,
    /// What was asked for is done, and the connection is cut before the answer.
    CutAfter,
    /// A watch ends as soon as it has told what was there at its beginning.
    EndWatch,
    /// A watch is told 410 as its first event.
    ExpireWatch,
}

impl Act {
    /// The refusal that this act is, if it is one.
    #[must_use]
    pub fn refusal(&self, request: &Request<'_>) -> Option<ApiError> {
        match self {
            Self::Internal => Some(ApiError::internal("etcdserver: request timed out")),
            Self::Unavailable => Some(ApiError::unavailable()),
            Self::Conflict => request.resource.map(|resource| {
                let why = "the object has been modified; please apply your changes to the latest version and try again";
                ApiError::conflict(resource, request.name, why)
            }),
            Self::Expired => Some(ApiError::forgotten()),
            _ => None,
        }
    }

    /// How long the request waits.
    #[must_use]
    pub fn pause(&self) -> Option<Duration> {
        match self {
            Self::Slow { seconds } => Duration::try_from_secs_f64(*seconds).ok(),
            _ => None,
        }
    }
}

/// A request as a fault looks at it.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Kubernetes verb, or the method in lowercase.
    pub verb: &'a str,
    /// `pods`, `pods/eviction`, `leases.coordination.k8s.io`, or a path that is no resource.
    pub what: &'a str,
    /// Namespace, or empty.
    pub namespace: &'a str,
    /// Name, of the object in the body where something is made, or empty.
    pub name: &'a str,
    /// The resource, where it is one.
    pub resource: Option<&'static super::resource::Resource>,
}

/// A fault: what it meets, when, and what it does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Fault {
    /// Kubernetes verb; `*` for every one.
    pub verb: String,
    /// As in [`Request::what`]; `*` for everything.
    pub resource: String,
    /// Namespace; none for every one.
    #[serde(default)]
    pub namespace: Option<String>,
    /// Name; none for every one.
    #[serde(default)]
    pub name: Option<String>,
    /// Which of the requests that it meets is the first to go wrong, from 1 on.
    #[serde(default = "one")]
    pub nth: u32,
    /// How many of them in a row go wrong; 0 for all from then on.
    #[serde(default = "one")]
    pub times: u32,
    /// What goes wrong.
    pub act: Act,
}

const fn one() -> u32 {
    1
}

impl Fault {
    /// The first request with that verb on that resource goes wrong.
    #[must_use]
    pub fn new(verb: &str, resource: &str, act: Act) -> Self {
        let (verb, resource) = (verb.to_owned(), resource.to_owned());
        Self { verb, resource, namespace: None, name: None, nth: 1, times: 1, act }
    }

    /// For the object of that name alone.
    #[must_use]
    pub fn named(self, name: &str) -> Self {
        Self { name: Some(name.to_owned()), ..self }
    }

    /// From the n-th request on, so many times (0: for good).
    #[must_use]
    pub fn from_nth(self, nth: u32, times: u32) -> Self {
        Self { nth, times, ..self }
    }

    fn meets(&self, request: &Request<'_>) -> bool {
        let is = |wanted: Option<&str>, got: &str| wanted.is_none_or(|wanted| wanted == got || wanted == "*");
        is(Some(&self.verb), request.verb)
            && is(Some(&self.resource), request.what)
            && is(self.namespace.as_deref(), request.namespace)
            && is(self.name.as_deref(), request.name)
    }

    fn is_due(&self, count: u32) -> bool {
        count >= self.nth && (self.times == 0 || count - self.nth < self.times)
    }
}

/// The faults that are asked for, each with how many requests it met.
#[derive(Debug, Default)]
pub struct Faults {
    list: Mutex<Vec<(Fault, u32)>>,
}

impl Faults {
    /// Adds one; it counts requests from now on.
    pub fn add(&self, fault: Fault) {
        self.list.lock().unwrap_or_else(PoisonError::into_inner).push((fault, 0));
    }

    /// Takes all away.
    pub fn clear(&self) {
        self.list.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Counts a request, and tells what goes wrong with it: what the first fault says that is due.
    pub fn meet(&self, request: &Request<'_>) -> Option<Act> {
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        let mut due = None;
        for (fault, count) in list.iter_mut().filter(|(fault, _)| fault.meets(request)) {
            *count += 1;
            if due.is_none() && fault.is_due(*count) {
                due = Some(fault.act.clone());
            }
        }
        due
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn the_nth_request_of_its_kind_goes_wrong() {
        let faults = Faults::default();
        faults.add(Fault::new("create", "pods/eviction", Act::Internal).named("p").from_nth(2, 2));
        faults.add(Fault::new("*", "nodes", Act::CutAfter).from_nth(2, 0));
        let ask = |verb, what, name| faults.meet(&Request { verb, what, namespace: "default", name, resource: None });
        let evict = || ask("create", "pods/eviction", "p");
        assert_eq!([evict(), evict()], [None, Some(Act::Internal)]);
        assert_eq!([ask("create", "pods/eviction", "q"), ask("create", "pods", "p")], [None, None]);
        assert_eq!([evict(), evict()], [Some(Act::Internal), None]);
        assert_eq!([ask("get", "nodes", "a"), ask("patch", "nodes", "b")], [None, Some(Act::CutAfter)]);
        assert_eq!(ask("list", "nodes", ""), Some(Act::CutAfter));
        faults.clear();
        assert_eq!(ask("list", "nodes", ""), None);
    }

    #[test]
    fn they_are_written_as_json() {
        let text = r#"{"verb": "patch", "resource": "nodes", "name": "a", "act": {"busy": {"retryAfter": 1}}}"#;
        let fault: Fault = serde_json::from_str(text).unwrap();
        assert_eq!(fault, Fault::new("patch", "nodes", Act::Busy { retry_after: 1 }).named("a"));
        for (text, act) in [
            (r#""cutBefore""#, Act::CutBefore),
            (r#"{"slow": {"seconds": 0.5}}"#, Act::Slow { seconds: 0.5 }),
            (r#""expireWatch""#, Act::ExpireWatch),
        ] {
            assert_eq!(serde_json::from_str::<Act>(text).unwrap(), act);
        }
        assert!(serde_json::from_str::<Fault>(r#"{"verb": "get", "resource": "nodes", "acts": "internal"}"#).is_err());
    }
}
