//! `nodebake kubeconfig`: the administrator's way into the cluster, made without a connection to it.

use super::Session;
use crate::cli::KubeconfigArgs;
use crate::error::Error;
use crate::identity::{admin_kubeconfig, write_private};

pub(super) fn run(session: &Session, args: &KubeconfigArgs) -> Result<(), Error> {
    let cluster = &session.config.cluster;
    let beside = || session.config.folder().join("admin.kubeconfig");
    let path = args.file.clone().or_else(|| cluster.kubeconfig.clone()).unwrap_or_else(beside);
    let secret = admin_kubeconfig(&session.ca()?, &cluster.name, &cluster.api_server, session.now)?;
    write_private(&path, &secret)?;
    session.ui.say(&format!("wrote {} (cluster administrator, {})", path.display(), cluster.api_server));
    Ok(())
}
