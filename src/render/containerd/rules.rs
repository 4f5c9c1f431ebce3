//! What containerd's configuration must say, for the kubelet to get on with it and for containerd to start at all. What
//! real ones do with each was tried (1.7.24, 2.1.9): an unknown plugin or field is passed over, at best with a warning.

use toml::{Table, Value};

use super::{Form, REGISTRIES, find, owned};

/// A field, and what is wrong with it.
pub(super) type Problem = (Vec<String>, String);

/// Where the kubelet's configuration says that containerd listens (/var/run is /run).
const SOCKETS: [&str; 2] = ["/run/containerd/containerd.sock", "/var/run/containerd/containerd.sock"];

/// Where containerd keeps images unless told otherwise.
const ROOT: &str = "/var/lib/containerd";

/// Plugins of one form that the other one calls otherwise, or has no more.
const ONLY_V2: [(&str, &str); 4] = [
    ("io.containerd.internal.v1.restart", "io.containerd.monitor.container.v1.restart"),
    ("io.containerd.monitor.v1.cgroups", "io.containerd.monitor.task.v1.cgroups"),
    ("io.containerd.runtime.v1.linux", ""),
    ("io.containerd.snapshotter.v1.aufs", ""),
];
const ONLY_V3: [(&str, &str); 4] = [
    ("io.containerd.cri.v1.images", "io.containerd.grpc.v1.cri"),
    ("io.containerd.cri.v1.runtime", "io.containerd.grpc.v1.cri"),
    ("io.containerd.monitor.container.v1.restart", "io.containerd.internal.v1.restart"),
    ("io.containerd.monitor.task.v1.cgroups", "io.containerd.monitor.v1.cgroups"),
];

/// All that `version = 3` knows of io.containerd.grpc.v1.cri.
const STREAMING: [&str; 6] = [
    "disable_tcp_service",
    "enable_tls_streaming",
    "stream_idle_timeout",
    "stream_server_address",
    "stream_server_port",
    "x509_key_pair_streaming",
];

/// What is wrong with a configuration; `registries`: whether the cluster file names some.
pub(super) fn problems(form: Form, table: &Table, registries: bool) -> Vec<Problem> {
    let mut found = Vec::new();
    let major = form.version() - 1;
    if table.get("version") != Some(&Value::Integer(form.version())) {
        let problem = format!("containerd {major}.x reads version = {}", form.version());
        found.push((owned(&["version"]), problem));
    }
    found.extend(foreign_plugins(form, table));
    found.extend(disabled_plugins(form, table));
    if let Some(address) = look(table, &["grpc", "address"])
        && !address.as_str().is_some_and(|address| SOCKETS.contains(&address))
    {
        found.push((owned(&["grpc", "address"]), format!("the kubelet looks for containerd at {}", SOCKETS[0])));
    }
    // guest/images names it.
    if table.get("root").is_some_and(|root| root.as_str() != Some(ROOT)) {
        let problem = format!("the payload's images are written out at {ROOT}; mount another disk there instead");
        found.push((owned(&["root"]), problem));
    }
    found.extend(runtimes(form, table));
    found.extend(registry(form, table, registries));
    found
}

fn look<'a>(table: &'a Table, path: &[&str]) -> Option<&'a Value> {
    find(table, &owned(path))
}

fn foreign_plugins(form: Form, table: &Table) -> Vec<Problem> {
    let foreign = match form {
        Form::V2 => ONLY_V3,
        Form::V3 => ONLY_V2,
    };
    let version = form.version();
    let plugins = table.get("plugins").and_then(Value::as_table);
    let mut found = Vec::new();
    for (id, instead) in foreign {
        if plugins.is_some_and(|plugins| plugins.contains_key(id)) {
            let instead = if instead.is_empty() { String::new() } else { format!("; {instead} is meant") };
            found.push((owned(&["plugins", id]), format!("version = {version} has no such plugin{instead}")));
        }
    }
    let streaming = "io.containerd.grpc.v1.cri";
    let fields = plugins.and_then(|plugins| plugins.get(streaming)).and_then(Value::as_table);
    if form == Form::V3 {
        let unknown = fields.into_iter().flat_map(Table::keys).filter(|field| !STREAMING.contains(&field.as_str()));
        found.extend(unknown.map(|field| {
            let problem = "version = 3 has it in io.containerd.cri.v1.runtime or io.containerd.cri.v1.images";
            (owned(&["plugins", streaming, field]), problem.to_owned())
        }));
    }
    found
}

/// Without these there is no CRI, and a name such as `cri` (as packages of Docker's write it) stops containerd.
fn disabled_plugins(form: Form, table: &Table) -> Option<Problem> {
    let needed: &[&str] = match form {
        Form::V2 => &["io.containerd.grpc.v1.cri"],
        Form::V3 => &["io.containerd.grpc.v1.cri", "io.containerd.cri.v1.images", "io.containerd.cri.v1.runtime"],
    };
    let ids = table.get("disabled_plugins")?.as_array()?;
    let fatal = |id: &&Value| id.as_str().is_none_or(|id| needed.contains(&id) || !id.starts_with("io.containerd."));
    let id = ids.iter().find(fatal)?;
    Some((owned(&["disabled_plugins"]), format!("without {id} the kubelet has no container runtime")))
}

/// Every runtime that puts containers into control groups does it as the kubelet does, by systemd.
fn runtimes(form: Form, table: &Table) -> Vec<Problem> {
    let plugin = ["plugins", form.runtime(), "containerd"];
    let at = |rest: &[&str]| -> Vec<String> { owned(&[&plugin[..], rest].concat()) };
    let runtimes = look(table, &[&plugin[..], &["runtimes"]].concat()).and_then(Value::as_table);
    let default = find(table, &at(&["default_runtime_name"])).and_then(Value::as_str);
    let mut found = Vec::new();
    let is_there = |name: &str| runtimes.is_some_and(|runtimes| runtimes.contains_key(name));
    match default {
        Some(name) if !is_there(name) => {
            found.push((at(&["default_runtime_name"]), format!("there is no runtime {name:?}")));
        }
        None if !is_there("runc") => {
            found.push((at(&["runtimes", "runc"]), "pods run by it, and it is not there".to_owned()));
        }
        _ => {}
    }
    for (name, runtime) in runtimes.into_iter().flatten() {
        let by_runc = runtime.get("runtime_type").and_then(Value::as_str) == Some("io.containerd.runc.v2");
        let systemd = runtime.get("options").and_then(|options| options.get("SystemdCgroup"));
        if by_runc && systemd != Some(&Value::Boolean(true)) {
            let problem = "it must be true, since the kubelet's cgroupDriver is systemd".to_owned();
            found.push((at(&["runtimes", name, "options", "SystemdCgroup"]), problem));
        }
    }
    let old = ["plugins", form.runtime(), "systemd_cgroup"];
    if form == Form::V2 && look(table, &old) == Some(&Value::Boolean(true)) {
        found.push((owned(&old), "containerd then does not start; SystemdCgroup of a runtime is meant".to_owned()));
    }
    found
}

/// What is said of registries stands in files of their own; beside them older settings keep containerd's CRI from starting.
fn registry(form: Form, table: &Table, registries: bool) -> Vec<Problem> {
    let plugin = ["plugins", form.images(), "registry"];
    let at = |rest: &[&str]| -> Vec<String> { owned(&[&plugin[..], rest].concat()) };
    let mut found = Vec::new();
    let folder = find(table, &at(&["config_path"])).and_then(Value::as_str);
    if registries && folder != Some(REGISTRIES) {
        found.push((at(&["config_path"]), format!("what is said of registries stands in {REGISTRIES}")));
    }
    if folder.is_some_and(|folder| !folder.is_empty()) {
        let instead = "it cannot stand beside config_path; containerd.registries of the cluster file is meant";
        let configs = find(table, &at(&["configs"])).and_then(Value::as_table).into_iter().flatten();
        let tls = configs.filter(|(_, config)| config.get("tls").is_some());
        found.extend(tls.map(|(host, _)| (at(&["configs", host, "tls"]), instead.to_owned())));
        if find(table, &at(&["mirrors"])).is_some() {
            found.push((at(&["mirrors"]), instead.to_owned()));
        }
    }
    let sandbox = [&["plugins"], form.sandbox()].concat();
    if look(table, &sandbox).and_then(Value::as_str).is_none_or(str::is_empty) {
        found.push((owned(&sandbox), "no pod starts without a sandbox image".to_owned()));
    }
    found
}
