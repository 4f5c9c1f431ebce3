//! The kubelet's configuration: what its template renders, and what the cluster file lays over it.

use serde_json::{Value, json};

use super::check::{files_are_there, text};
use super::error::{Origin, RenderError, Said, UNITS};
use super::kubelet_fields;
use super::merge::{difference, merge};
use super::templates::{Templates, has_template};
use super::{Content, NodeBundle};
use super::{labels, yaml};
use crate::config::{Config, Node};

/// Where the kubelet reads it.
pub const PATH: &str = "/etc/kubernetes/kubelet-config.yaml";

/// Fields that other files of ours answer to, or that first boot relies upon: what the cluster file says may not change
/// them.
const FIXED: [(&[&str], &str); 7] = [
    (&["apiVersion"], "it is the form of this file"),
    (&["kind"], "it is the form of this file"),
    (&["cgroupDriver"], "containerd's configuration has SystemdCgroup, and the two must never differ"),
    (&["containerRuntimeEndpoint"], "containerd listens there"),
    (&["tlsCertFile"], "nodebake writes the node's certificate there"),
    (&["tlsPrivateKeyFile"], "nodebake writes the node's key there"),
    (&["authentication", "x509", "clientCAFile"], "nodebake writes the cluster's CA there"),
];

/// What the template rendered, with the cluster file's fields laid over it (RFC 7386). Without any it stays as it is;
/// with some, its comments go and its keys are sorted.
pub(super) fn configuration(
    rendered: String,
    config: &Config,
    node: &Node,
    template: &Origin,
) -> Result<String, RenderError> {
    let wrong = |error: serde_yaml::Error| RenderError::Check {
        node: node.name.clone(),
        template: template.clone(),
        problem: error.to_string(),
    };
    let base: Value = serde_yaml::from_str(&rendered).map_err(wrong)?;
    let mut patched = base.clone();
    merge(&mut patched, &Value::Object(node.settings.kubelet.clone()));
    if let Some((path, problem)) = contradiction(&base, &patched, node) {
        let path: Vec<_> = ["kubelet", "config"].into_iter().chain(path.iter().copied()).collect();
        return Err(RenderError::Setting { node: node.name.clone(), said: Said::new(config, node, &path), problem });
    }
    known(&patched, config, node, template)?;
    if node.settings.kubelet.is_empty() {
        return Ok(rendered);
    }
    let text = yaml::text(&patched);
    Ok(format!("# With what the cluster file lays over nodebake's own (kubelet.config).\n{text}"))
}

/// Whether the kubelet holds a shutdown up until its pods have ended. What a template of the user's own says is not known
/// here, and may.
pub(super) fn shuts_down_gracefully(node: &Node) -> bool {
    let asks = ["shutdownGracePeriod", "shutdownGracePeriodByPodPriority"];
    has_template(node, "kubelet/config.yaml") || asks.iter().any(|field| node.settings.kubelet.contains_key(*field))
}

/// Refuses what the locked kubelet would not start with: of the cluster file, where it led to it, else of the template.
fn known(patched: &Value, config: &Config, node: &Node, template: &Origin) -> Result<(), RenderError> {
    kubelet_fields::check(patched, &config.versions.kubernetes).map_err(|field| {
        let node_name = node.name.clone();
        if field.path.first().is_some_and(|key| node.settings.kubelet.contains_key(key)) {
            let said = Said::new(config, node, &field.beneath(&["kubelet", "config"]));
            let problem = format!("template {template}: {}", field.problem);
            return RenderError::Setting { node: node_name, said, problem };
        }
        RenderError::Check { node: node_name, template: template.clone(), problem: field.to_string() }
    })
}

/// The unit that starts it, and the folder of its drop-ins.
const UNIT: &str = "kubelet.service";

/// Refuses flags that the locked kubelet does not take, in its unit and in the user's drop-ins.
pub(super) fn check_flags(
    bundle: &NodeBundle,
    config: &Config,
    node: &Node,
    templates: &Templates,
) -> Result<(), RenderError> {
    let drop_ins = format!("{UNIT}.d/");
    for file in &bundle.files {
        let Some(name) = file.path.strip_prefix(UNITS) else { continue };
        let Content::Public(bytes, _) = &file.content else { continue };
        if name != UNIT && !name.starts_with(&drop_ins) {
            continue;
        }
        kubelet_fields::check_unit(&String::from_utf8_lossy(bytes), &config.versions.kubernetes).map_err(|field| {
            let (node_name, problem) = (node.name.clone(), field.to_string());
            if node.settings.units.contains_key(name) {
                let said = Said::new(config, node, &["units", name]);
                return RenderError::Setting { node: node_name, said, problem };
            }
            RenderError::Check { node: node_name, template: templates.origin("systemd/kubelet.service"), problem }
        })?;
    }
    Ok(())
}

/// The first field that cannot be what the cluster file makes of it.
fn contradiction(base: &Value, patched: &Value, node: &Node) -> Option<(&'static [&'static str], String)> {
    let fixed = FIXED.iter().find(|(path, _)| at(base, path) != at(patched, path)).map(|(path, why)| {
        let must = at(base, path).map_or_else(|| "must not be set".to_owned(), |value| format!("must stay {value}"));
        (*path, format!("{must}: {why}"))
    });
    // Its default is true.
    let fails = at(patched, &["failSwapOn"]) != Some(&Value::Bool(false));
    fixed.or_else(|| {
        let problem = || "must stay false: the node has swap, and its kubelet would not start".to_owned();
        (node.settings.swap.is_some() && fails).then(|| (["failSwapOn"].as_slice(), problem()))
    })
}

fn at<'a>(value: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, key| value.get(key))
}

/// Whether it reads back as what was meant. Where the template is the user's own (`own`), only the fields that other files
/// answer to are ours to judge.
pub(super) fn check(bundle: &NodeBundle, config: &Config, node: &Node, own: bool) -> Result<(), String> {
    let got: Value = serde_yaml::from_str(text(bundle, PATH)?).map_err(|error| error.to_string())?;
    let mut wanted = meant(config, node);
    if own {
        let differs = FIXED.iter().find(|(path, _)| at(&got, path) != at(&wanted, path));
        if let Some((path, why)) = differs {
            return Err(differing(path, at(&got, path), at(&wanted, path)) + ": " + why);
        }
    } else {
        merge(&mut wanted, &Value::Object(node.settings.kubelet.clone()));
        if let Some((path, (got, wanted))) = difference(&got, &wanted) {
            return Err(differing(&path, got, wanted));
        }
    }
    let paths = [&["tlsCertFile"][..], &["tlsPrivateKeyFile"], &["authentication", "x509", "clientCAFile"]];
    let named: Vec<_> = paths.iter().filter_map(|path| at(&got, path)?.as_str()).collect();
    files_are_there(bundle, &named)
}

fn differing(path: &[&str], got: Option<&Value>, wanted: Option<&Value>) -> String {
    let show = |value: Option<&Value>| value.map_or_else(|| "nothing".to_owned(), Value::to_string);
    format!("{} reads back as {}, not as {}", path.join("."), show(got), show(wanted))
}

/// What our own template says (kubelet.config.k8s.io/v1beta1).
fn meant(config: &Config, node: &Node) -> Value {
    let name = &node.name;
    let mut meant = json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": false},
            "webhook": {"enabled": true},
            "x509": {"clientCAFile": "/etc/kubernetes/pki/ca.pem"},
        },
        "authorization": {"mode": "Webhook"},
        "clusterDomain": config.cluster.cluster_domain,
        "clusterDNS": config.cluster.cluster_dns,
        "cgroupDriver": "systemd",
        "containerRuntimeEndpoint": "unix:///var/run/containerd/containerd.sock",
        "resolvConf": "/run/systemd/resolve/resolv.conf",
        "runtimeRequestTimeout": "15m",
        "tlsCertFile": format!("/etc/kubernetes/pki/{name}.pem"),
        "tlsPrivateKeyFile": format!("/etc/kubernetes/pki/{name}-key.pem"),
    });
    if node.settings.rotation().server {
        merge(&mut meant, &json!({"tlsCertFile": null, "tlsPrivateKeyFile": null}));
    }
    if node.settings.swap.is_some() {
        merge(&mut meant, &json!({"failSwapOn": false, "memorySwap": {"swapBehavior": "LimitedSwap"}}));
    }
    if !node.settings.taints.is_empty() {
        merge(&mut meant, &json!({"registerWithTaints": labels::taints(node)}));
    }
    meant
}
