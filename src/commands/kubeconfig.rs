//! `nodebake kubeconfig`: the administrator's way into the cluster, made without a connection to it.

use serde::Serialize;

use super::Session;
use crate::cli::KubeconfigArgs;
use crate::error::Error;
use crate::identity::{admin_kubeconfig, write_private};

/// What was written, as programs read it.
#[derive(Serialize)]
struct Written<'a> {
    file: String,
    server: &'a str,
}

pub(super) fn run(session: &Session, args: &KubeconfigArgs) -> Result<(), Error> {
    let cluster = &session.config.cluster;
    let path = args.file.clone().unwrap_or_else(|| session.kubeconfig());
    if std::fs::read(&path).is_ok_and(|old| !is_ours(&old, &format!("kubernetes-admin@{}", cluster.name))) {
        return Err(Error::Exists { path });
    }
    let (ca, lifetime) = (session.ca()?, cluster.certificate_lifetime);
    let secret = admin_kubeconfig(&ca, &cluster.name, &cluster.api_server, lifetime, session.now)?;
    write_private(&path, &secret)?;
    session.ui.say(&format!("wrote {} (cluster administrator, {})", path.display(), cluster.api_server));
    let written = Written { file: path.display().to_string(), server: &cluster.api_server };
    session.show(args.report.output, &written, String::new)
}

/// Whether a kubeconfig has nothing but the context that we write: any other may hold somebody's way into more.
fn is_ours(text: &[u8], context: &str) -> bool {
    let Ok(kubeconfig) = serde_json::from_slice::<serde_json::Value>(text) else { return false };
    let contexts = kubeconfig.get("contexts").and_then(serde_json::Value::as_array);
    contexts
        .is_some_and(|all| all.len() == 1 && all.iter().all(|one| one.get("name").is_some_and(|name| name == context)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_context_is_overwritten() {
        let ours = r#"{"contexts": [{"name": "kubernetes-admin@seed"}]}"#;
        let more = r#"{"contexts": [{"name": "kubernetes-admin@seed"}, {"name": "work"}]}"#;
        let yaml = "contexts:\n- name: kubernetes-admin@seed\n";
        for (text, wanted) in [(ours, true), (more, false), (yaml, false), ("", false), ("{}", false)] {
            assert_eq!(is_ours(text.as_bytes(), "kubernetes-admin@seed"), wanted, "{text}");
        }
    }
}
