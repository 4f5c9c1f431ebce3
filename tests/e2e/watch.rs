//! What the cluster's API tells of objects as they change, by kubectl.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Stdio};

use serde_json::Value;

use crate::lab::step;
use crate::nodebake::Cluster;

/// A kubectl that watches.
pub struct Watch {
    what: &'static str,
    kubectl: Child,
    /// Where it writes; grows with each change.
    pub file: PathBuf,
}

impl Watch {
    /// Begins with all that is there.
    pub fn begin(cluster: &Cluster, what: &'static str) -> Self {
        let file = cluster.lab.work().join(format!("{what}.watch"));
        let words = ["get", what, "--watch", "--output-watch-events", "--output=json"];
        let kubectl =
            cluster.kubectl().args(words).stdin(Stdio::null()).stdout(File::create(&file).unwrap()).spawn().unwrap();
        Self { what, kubectl, file }
    }

    /// The objects by name after each change so far.
    pub fn states(&self) -> Vec<BTreeMap<String, Value>> {
        let text = fs::read(&self.file).unwrap();
        // The last one may not be whole yet.
        let events = serde_json::Deserializer::from_slice(&text).into_iter::<Value>().map_while(Result::ok);
        let mut now = BTreeMap::new();
        events
            .map(|mut event| {
                let object = event["object"].take();
                let name = object["metadata"]["name"].as_str().unwrap().to_owned();
                match event["type"].as_str() {
                    Some("ADDED" | "MODIFIED") => drop(now.insert(name, object)),
                    Some("DELETED") => drop(now.remove(&name)),
                    other => panic!("{other:?} of {name}"),
                }
                now.clone()
            })
            .collect()
    }

    /// Ends it; nothing was missed, since it still went on.
    pub fn end(mut self) -> Vec<BTreeMap<String, Value>> {
        let states = self.states();
        step(&format!("{} changes of {} were seen", states.len(), self.what));
        assert_eq!(self.kubectl.try_wait().unwrap(), None, "kubectl watches {} to the end", self.what);
        states
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // It ends with the lab at the latest.
        let _ = self.kubectl.kill().and_then(|()| self.kubectl.wait());
    }
}
