//! `KubeletConfiguration`: read strictly, checked, and reduced to what the stand-in acts upon.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use super::cgroup::Driver;
use super::flags::Taint;
use super::schema::{self, KUBELET_CONFIGURATION, SchemaError, parse_duration};
use crate::yaml::{self, YamlError};

const API_VERSION: &str = "kubelet.config.k8s.io/v1beta1";
const DEFAULT_ENDPOINT: &str = "unix:///run/containerd/containerd.sock";

/// What the configuration says, defaults filled in.
#[expect(clippy::struct_excessive_bools, reason = "the fields of KubeletConfiguration are what they are")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// `address`, default 0.0.0.0.
    pub address: IpAddr,
    /// `port`, default 10250.
    pub port: u16,
    /// `healthzBindAddress`, default 127.0.0.1.
    pub healthz_address: IpAddr,
    /// `healthzPort`, default 10248; none when 0.
    pub healthz_port: Option<u16>,
    /// `authentication.anonymous.enabled`, default false.
    pub anonymous: bool,
    /// `authentication.x509.clientCAFile`.
    pub client_ca: Option<PathBuf>,
    /// Whether `authorization.mode` is Webhook (the default) rather than `AlwaysAllow`.
    pub webhook_authorization: bool,
    /// `cgroupDriver`, default cgroupfs.
    pub cgroup_driver: Driver,
    /// Path of the unix socket of `containerRuntimeEndpoint`.
    pub runtime_socket: PathBuf,
    /// `runtimeRequestTimeout`, default 2 min.
    pub runtime_timeout: Duration,
    /// `podLogsDir`.
    pub pod_logs: PathBuf,
    /// `resolvConf`, default /etc/resolv.conf; none when empty.
    pub resolv_conf: Option<PathBuf>,
    /// `tlsCertFile` and `tlsPrivateKeyFile`.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// `staticPodPath`.
    pub static_pod_path: Option<PathBuf>,
    /// `failSwapOn`, default true.
    pub fail_swap_on: bool,
    /// `failCgroupV1`, default true as of v1.35.
    pub fail_cgroup_v1: bool,
    /// `registerNode`, default true.
    pub register_node: bool,
    /// `registerWithTaints`.
    pub taints: Vec<Taint>,
    /// `providerID`.
    pub provider_id: Option<String>,
    /// `maxPods`, default 110.
    pub max_pods: i32,
    /// `nodeStatusUpdateFrequency`, default 10 s.
    pub status_interval: Duration,
    /// `nodeLeaseDurationSeconds`, default 40.
    pub lease_seconds: i32,
    /// `clusterDNS`.
    pub cluster_dns: Vec<IpAddr>,
    /// `clusterDomain`.
    pub cluster_domain: String,
}

/// Why a configuration is refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Unreadable.
    #[error("failed to load kubelet config file {path}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Not YAML, or a key twice.
    #[error("failed to decode kubelet config file {path}")]
    Yaml {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: YamlError,
    },
    /// Another kind of object.
    #[error("kubelet config file {path} is {found}, not KubeletConfiguration of {API_VERSION}")]
    OtherKind {
        /// The file.
        path: PathBuf,
        /// What it says it is.
        found: String,
    },
    /// A field that is unknown or of the wrong type.
    #[error("failed to decode kubelet config file {path}")]
    Schema {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: SchemaError,
    },
    /// A value that no kubelet takes.
    #[error("invalid configuration: {field} {value:?} {why}")]
    Invalid {
        /// The field.
        field: &'static str,
        /// Its value.
        value: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A file that the configuration names is not there.
    #[error("invalid configuration: {field} names {path}, which cannot be read")]
    MissingFile {
        /// The field.
        field: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

impl Config {
    /// Reads a configuration file.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
        let document = yaml::parse(&text).map_err(|source| ConfigError::Yaml { path: path.to_owned(), source })?;
        Self::from_document(path, &document)
    }

    fn from_document(path: &Path, document: &Value) -> Result<Self, ConfigError> {
        let text = |field: &str| document.get(field).and_then(Value::as_str).unwrap_or("nothing");
        if text("apiVersion") != API_VERSION || text("kind") != "KubeletConfiguration" {
            let found = format!("{} of {}", text("kind"), text("apiVersion"));
            return Err(ConfigError::OtherKind { path: path.to_owned(), found });
        }
        schema::check(document, KUBELET_CONFIGURATION)
            .map_err(|source| ConfigError::Schema { path: path.to_owned(), source })?;
        Reader { document }.config()
    }

    /// Checks that the files which it names are there and readable.
    ///
    /// # Errors
    /// The first that is not.
    pub fn check_files(&self) -> Result<(), ConfigError> {
        let files = [
            ("resolvConf", self.resolv_conf.as_ref()),
            ("authentication.x509.clientCAFile", self.client_ca.as_ref()),
            ("tlsCertFile", self.tls.as_ref().map(|(certificate, _)| certificate)),
            ("tlsPrivateKeyFile", self.tls.as_ref().map(|(_, key)| key)),
        ];
        for (field, path) in files.into_iter().filter_map(|(field, path)| Some((field, path?))) {
            std::fs::read(path).map_err(|source| ConfigError::MissingFile { field, path: path.clone(), source })?;
        }
        match &self.static_pod_path {
            Some(path) => std::fs::metadata(path).map(|_| ()).map_err(|source| ConfigError::MissingFile {
                field: "staticPodPath",
                path: path.clone(),
                source,
            }),
            None => Ok(()),
        }
    }
}

/// Reads values from a document whose types are known to be right.
struct Reader<'a> {
    document: &'a Value,
}

impl Reader<'_> {
    fn text(&self, pointer: &str) -> Option<&str> {
        self.document.pointer(pointer).and_then(Value::as_str).filter(|text| !text.is_empty())
    }

    fn path(&self, pointer: &str) -> Option<PathBuf> {
        self.text(pointer).map(PathBuf::from)
    }

    fn bool(&self, pointer: &str, default: bool) -> bool {
        self.document.pointer(pointer).and_then(Value::as_bool).unwrap_or(default)
    }

    fn duration(&self, pointer: &str, default: Duration) -> Duration {
        self.text(pointer).and_then(parse_duration).filter(|duration| !duration.is_zero()).unwrap_or(default)
    }

    fn port(&self, field: &'static str, default: u16, least: u16) -> Result<u16, ConfigError> {
        match self.document.get(field).and_then(Value::as_i64) {
            None => Ok(default),
            Some(0) if least > 0 => Ok(default),
            Some(number) => u16::try_from(number).ok().filter(|port| *port >= least).ok_or(ConfigError::Invalid {
                field,
                value: number.to_string(),
                why: "must be between 1 and 65535",
            }),
        }
    }

    fn address(&self, field: &'static str, default: IpAddr) -> Result<IpAddr, ConfigError> {
        self.text(&format!("/{field}")).map_or(Ok(default), |text| parse_address(field, text))
    }

    fn config(&self) -> Result<Config, ConfigError> {
        let authorization = self.text("/authorization/mode").unwrap_or("Webhook");
        if !matches!(authorization, "Webhook" | "AlwaysAllow") {
            let value = authorization.to_owned();
            let why = "must be Webhook or AlwaysAllow";
            return Err(ConfigError::Invalid { field: "authorization.mode", value, why });
        }
        let driver = self.text("/cgroupDriver").unwrap_or("cgroupfs");
        let cgroup_driver = Driver::named(driver).ok_or_else(|| ConfigError::Invalid {
            field: "cgroupDriver",
            value: driver.to_owned(),
            why: "must be systemd or cgroupfs",
        })?;
        let dns = self.document.get("clusterDNS").and_then(Value::as_array);
        let dns = dns.into_iter().flatten().filter_map(Value::as_str);
        Ok(Config {
            address: self.address("address", IpAddr::from([0, 0, 0, 0]))?,
            port: self.port("port", 10250, 1)?,
            healthz_address: self.address("healthzBindAddress", IpAddr::from([127, 0, 0, 1]))?,
            healthz_port: Some(self.port("healthzPort", 10248, 0)?).filter(|port| *port != 0),
            anonymous: self.bool("/authentication/anonymous/enabled", false),
            client_ca: self.path("/authentication/x509/clientCAFile"),
            webhook_authorization: authorization == "Webhook",
            cgroup_driver,
            runtime_socket: socket(self.text("/containerRuntimeEndpoint").unwrap_or(DEFAULT_ENDPOINT))?,
            runtime_timeout: self.duration("/runtimeRequestTimeout", Duration::from_mins(2)),
            pod_logs: self.path("/podLogsDir").unwrap_or_else(|| PathBuf::from("/var/log/pods")),
            resolv_conf: match self.document.get("resolvConf").and_then(Value::as_str) {
                None => Some(PathBuf::from("/etc/resolv.conf")),
                Some("") => None,
                Some(path) => Some(PathBuf::from(path)),
            },
            tls: self.tls()?,
            static_pod_path: self.path("/staticPodPath"),
            fail_swap_on: self.bool("/failSwapOn", true),
            fail_cgroup_v1: self.bool("/failCgroupV1", true),
            register_node: self.bool("/registerNode", true),
            taints: self.taints(),
            provider_id: self.text("/providerID").map(str::to_owned),
            max_pods: self.integer("maxPods", 110),
            status_interval: self.duration("/nodeStatusUpdateFrequency", Duration::from_secs(10)),
            lease_seconds: self.integer("nodeLeaseDurationSeconds", 40),
            cluster_dns: dns.map(|text| parse_address("clusterDNS", text)).collect::<Result<_, _>>()?,
            cluster_domain: self.text("/clusterDomain").unwrap_or_default().to_owned(),
        })
    }

    fn integer(&self, field: &str, default: i32) -> i32 {
        let number = self.document.get(field).and_then(Value::as_i64).and_then(|number| i32::try_from(number).ok());
        number.filter(|number| *number > 0).unwrap_or(default)
    }

    fn tls(&self) -> Result<Option<(PathBuf, PathBuf)>, ConfigError> {
        match (self.path("/tlsCertFile"), self.path("/tlsPrivateKeyFile")) {
            (Some(certificate), Some(key)) => Ok(Some((certificate, key))),
            (None, None) => Ok(None),
            (certificate, key) => Err(ConfigError::Invalid {
                field: "tlsCertFile",
                value: certificate.or(key).unwrap_or_default().display().to_string(),
                why: "and tlsPrivateKeyFile must both be set",
            }),
        }
    }

    fn taints(&self) -> Vec<Taint> {
        let text = |taint: &Value, field: &str| taint.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
        let list = self.document.get("registerWithTaints").and_then(Value::as_array);
        list.into_iter()
            .flatten()
            .map(|taint| Taint { key: text(taint, "key"), value: text(taint, "value"), effect: text(taint, "effect") })
            .collect()
    }
}

fn parse_address(field: &'static str, text: &str) -> Result<IpAddr, ConfigError> {
    text.parse().map_err(|_| ConfigError::Invalid { field, value: text.to_owned(), why: "must be a valid IP" })
}

fn socket(endpoint: &str) -> Result<PathBuf, ConfigError> {
    let path = endpoint.strip_prefix("unix://").filter(|path| path.starts_with('/'));
    path.map(PathBuf::from).ok_or_else(|| ConfigError::Invalid {
        field: "containerRuntimeEndpoint",
        value: endpoint.to_owned(),
        why: "must be unix:// and an absolute path",
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const HEAD: &str = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n";

    fn read(text: &str) -> Result<Config, ConfigError> {
        let path = Path::new("kubelet-config.yaml");
        let document = yaml::parse(text).map_err(|source| ConfigError::Yaml { path: path.to_owned(), source })?;
        Config::from_document(path, &document)
    }

    fn chain(error: &dyn std::error::Error) -> String {
        error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {}", chain(source)))
    }

    #[test]
    fn the_seed_s_configuration_is_read() {
        let text = "authentication:\n  anonymous: {enabled: false}\n  webhook: {enabled: true}\n  x509: {clientCAFile: /ca.pem}\n\
                    authorization: {mode: Webhook}\nclusterDomain: cluster.local\nclusterDNS: [10.96.0.10]\n\
                    cgroupDriver: systemd\ncontainerRuntimeEndpoint: unix:///var/run/containerd/containerd.sock\n\
                    resolvConf: /run/systemd/resolve/resolv.conf\nruntimeRequestTimeout: 15m\n\
                    tlsCertFile: /node.pem\ntlsPrivateKeyFile: /node-key.pem\n";
        let defaults = read(HEAD).unwrap();
        assert_eq!(
            read(&format!("{HEAD}{text}")).unwrap(),
            Config {
                client_ca: Some("/ca.pem".into()),
                cluster_domain: "cluster.local".to_owned(),
                cluster_dns: vec!["10.96.0.10".parse().unwrap()],
                cgroup_driver: Driver::Systemd,
                runtime_socket: "/var/run/containerd/containerd.sock".into(),
                resolv_conf: Some("/run/systemd/resolve/resolv.conf".into()),
                runtime_timeout: Duration::from_mins(15),
                tls: Some(("/node.pem".into(), "/node-key.pem".into())),
                ..defaults
            }
        );
    }

    #[test]
    fn what_no_kubelet_takes_is_refused() {
        for (text, want) in [
            (
                "kind: KubeletConfiguration",
                "kubelet config file kubelet-config.yaml is KubeletConfiguration of nothing, not KubeletConfiguration of kubelet.config.k8s.io/v1beta1",
            ),
            (
                &format!("{HEAD}cgroupDriver: systemd\ncgroupDriver: systemd"),
                "failed to decode kubelet config file kubelet-config.yaml: yaml: line 4: key \"cgroupDriver\" already set in map",
            ),
            (
                &format!("{HEAD}cgroupDrivers: systemd"),
                "failed to decode kubelet config file kubelet-config.yaml: strict decoding error: unknown field \"cgroupDrivers\"",
            ),
            (
                &format!("{HEAD}cgroupDriver: docker"),
                "invalid configuration: cgroupDriver \"docker\" must be systemd or cgroupfs",
            ),
            (
                &format!("{HEAD}clusterDNS: [dns.local]"),
                "invalid configuration: clusterDNS \"dns.local\" must be a valid IP",
            ),
            (&format!("{HEAD}port: 65536"), "invalid configuration: port \"65536\" must be between 1 and 65535"),
            (
                &format!("{HEAD}tlsCertFile: /a.pem"),
                "invalid configuration: tlsCertFile \"/a.pem\" and tlsPrivateKeyFile must both be set",
            ),
            (
                &format!("{HEAD}containerRuntimeEndpoint: /run/containerd/containerd.sock"),
                "invalid configuration: containerRuntimeEndpoint \"/run/containerd/containerd.sock\" must be unix:// and an absolute path",
            ),
        ] {
            assert_eq!(chain(&read(text).unwrap_err()), want, "{text}");
        }
    }

    #[test]
    fn files_must_be_there() {
        let text =
            format!("{HEAD}resolvConf: ''\ntlsCertFile: /nonexistent/a.pem\ntlsPrivateKeyFile: /nonexistent/b.pem");
        let error = read(&text).unwrap().check_files().unwrap_err();
        assert_eq!(
            error.to_string(),
            "invalid configuration: tlsCertFile names /nonexistent/a.pem, which cannot be read"
        );
    }
}
