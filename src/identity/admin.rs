//! The operator's own kubeconfig.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::ca::Ca;
use super::certificate::Certificate;
use super::chain::{Chain, refused};
use super::error::{IdentityError, Problem};
use super::issue::{self, Subject};
use crate::config::ClusterName;
use crate::secret::Secret;

/// The user's name, as kubeadm and the seed's script call it.
const USER: &str = "kubernetes-admin";
/// The group that every apiserver lets do everything.
const GROUP: &str = "system:masters";

/// A kubeconfig with all rights on the cluster, in JSON (which is YAML), with its certificates inside: a client certificate
/// CN=kubernetes-admin, O=system:masters, issued now for so long (or until the CA ends), for the apiserver at
/// `api_server` (`https://10.0.0.4:6443`).
pub fn admin_kubeconfig(
    ca: &Ca,
    cluster: &ClusterName,
    api_server: &str,
    lifetime: SignedDuration,
    now: Timestamp,
) -> Result<Secret, IdentityError> {
    let Some(ca_key) = ca.signer()? else {
        let (node, ca_key) = (USER.to_owned(), ca.key_place());
        return Err(IdentityError::NoCaKey { node, ca_key, certificate: None, replaced: Vec::new() });
    };
    let subject = Subject { common_name: USER.to_owned(), organization: GROUP, server: None };
    let (key, certificate) = issue::issue(ca, &ca_key, &subject, lifetime, now)?;
    let (presented, problems) = judged(&certificate, ca, now);
    if !problems.is_empty() {
        return Err(IdentityError::Unissuable { ca: ca.path().to_owned(), node: USER.to_owned(), problems });
    }
    let context = format!("{USER}@{cluster}");
    let kubeconfig = Kubeconfig {
        api_version: "v1",
        kind: "Config",
        clusters: [Named {
            name: &cluster.to_string(),
            entry: Entry::Cluster {
                server: api_server,
                certificate_authority_data: STANDARD.encode(ca.certificates_pem()),
            },
        }],
        users: [Named {
            name: USER,
            entry: Entry::User {
                client_certificate_data: STANDARD.encode(presented),
                client_key_data: STANDARD.encode(key.to_pem().expose()),
            },
        }],
        contexts: [Named { name: &context, entry: Entry::Context { cluster: &cluster.to_string(), user: USER } }],
        current_context: &context,
    };
    // yaml_serde leaves a cluster's name such as "no" or "on" bare, which YAML 1.1, and so kubectl, takes for a boolean.
    let mut json = serde_json::to_vec_pretty(&kubeconfig).map_err(IdentityError::Kubeconfig)?;
    json.push(b'\n');
    Ok(Secret::new(json))
}

/// What a client's certificate presents, and all that is wrong with it.
pub(super) fn judged(certificate: &Certificate, ca: &Ca, now: Timestamp) -> (String, Vec<Problem>) {
    let way = ca.chain().way(certificate, &[], now);
    let mut problems = way.as_ref().err().cloned().unwrap_or_default();
    problems.extend(certificate.client_problems(now));
    let way = way.unwrap_or_default();
    if problems.is_empty() {
        problems.extend(refused(certificate, &way, None, now));
    }
    (Chain::presented(certificate, &way), problems)
}

/// The kubeconfig's file format, as far as it is used here (k8s.io/client-go/tools/clientcmd/api/v1).
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Kubeconfig<'a> {
    #[serde(rename = "apiVersion")]
    api_version: &'a str,
    kind: &'a str,
    clusters: [Named<'a>; 1],
    users: [Named<'a>; 1],
    contexts: [Named<'a>; 1],
    current_context: &'a str,
}

#[derive(Serialize)]
struct Named<'a> {
    name: &'a str,
    #[serde(flatten)]
    entry: Entry<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase", rename_all_fields = "kebab-case")]
enum Entry<'a> {
    Cluster { server: &'a str, certificate_authority_data: String },
    User { client_certificate_data: String, client_key_data: String },
    Context { cluster: &'a str, user: &'a str },
}
