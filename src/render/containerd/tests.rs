#![expect(clippy::unwrap_used, reason = "tests")]

use std::path::Path;

use serde_json::json;

use super::*;
use crate::config::{Credentials, INIT, Layer, Mac, Macs, Origin, Registry, parse};
use crate::digest::Digest;
use crate::image::{Payload, PreloadedImage};

/// The seed cluster with one node and a containerd of that major version.
fn config(major: u64) -> Config {
    let mut config = parse(Path::new("/clusters/seed/nodebake.yaml"), INIT).unwrap();
    config.nodes.truncate(1);
    config.versions.containerd = semver::Version::new(major, 7, 24);
    config
}

fn render_with(config: &Config, contents: PayloadContents) -> Result<NodeBundle, RenderError> {
    let key = Secret::new("SECRET BYTES\n");
    let credentials =
        crate::render::Credentials { ca: "the CA\n", certificate: "the certificate\n", key: &key, host_keys: &[] };
    let payload = Payload { path: "payload.iso".into(), digest: Digest::of(b"payload"), size: 1, contents };
    crate::render::render(
        config,
        &config.nodes[0],
        &Macs::from("52:54:00:12:34:56".parse::<Mac>().unwrap()),
        credentials,
        &payload,
        crate::render::PayloadPlace::Drive,
    )
}

fn render(config: &Config) -> Result<NodeBundle, RenderError> {
    render_with(config, PayloadContents::default())
}

/// Lays a patch over containerd's configuration; it stands in line 7 of the cluster file.
fn patch(config: &mut Config, patch: Value) {
    let Value::Object(patch) = patch else { panic!("{patch}") };
    let settings = &mut config.nodes[0].settings;
    let origin = Origin { layer: Layer::Defaults, line: Some(7) };
    settings.origins.set(vec!["containerd".to_owned(), "config".to_owned()], origin);
    settings.containerd = patch;
}

/// Text and mode of a file.
fn file<'a>(bundle: &'a NodeBundle, path: &str) -> (&'a str, u32) {
    let (bytes, mode) = match bundle.file(path).unwrap() {
        Content::Public(bytes, mode) => (bytes.as_slice(), *mode),
        Content::Secret(secret, mode) => (secret.expose(), *mode),
        Content::Link(to) => panic!("{path} leads to {to}"),
    };
    (std::str::from_utf8(bytes).unwrap(), mode)
}

/// Everything below /etc/containerd.
fn paths(bundle: &NodeBundle) -> Vec<&str> {
    bundle.files.iter().map(|file| file.path.as_str()).filter(|path| path.starts_with("/etc/containerd/")).collect()
}

#[test]
fn without_a_word_of_it_the_templates_text_stands_there() {
    for (major, template) in [
        (1, include_str!("../../../cloud-init/containerd/config-v2.toml")),
        (2, include_str!("../../../cloud-init/containerd/config-v3.toml")),
    ] {
        let bundle = render(&config(major)).unwrap();
        let wanted = template.replace("{{ sandbox_image | toml }}", "\"registry.k8s.io/pause:3.10.1\"");
        assert_eq!(file(&bundle, CONFIG), (wanted.as_str(), 0o644));
        assert_eq!(paths(&bundle), [CONFIG]);
    }
}

#[test]
fn a_patch_is_laid_over_the_template_and_a_null_removes() {
    let mut config = config(2);
    patch(
        &mut config,
        json!({
            "debug": {"level": "debug"},
            "plugins": {
                "io.containerd.cri.v1.images": {
                    "snapshotter": "native",
                    "max_concurrent_downloads": 5,
                    "pinned_images": {"sandbox": "own.example/pause:1"},
                    "registry": null,
                },
                "io.containerd.gc.v1.scheduler": {"pause_threshold": 0.5},
                "io.containerd.cri.v1.runtime": {"cdi_spec_dirs": ["/etc/cdi"], "enable_cdi": null},
            },
        }),
    );
    let wanted = r#"# With what the cluster file lays over nodebake's own (containerd).
version = 3

[debug]
level = "debug"

[plugins."io.containerd.cri.v1.images"]
max_concurrent_downloads = 5
snapshotter = "native"

[plugins."io.containerd.cri.v1.images".pinned_images]
sandbox = "own.example/pause:1"

[plugins."io.containerd.cri.v1.runtime"]
cdi_spec_dirs = ["/etc/cdi"]

[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
BinaryName = "/usr/local/sbin/runc"
SystemdCgroup = true

[plugins."io.containerd.gc.v1.scheduler"]
pause_threshold = 0.5
"#;
    assert_eq!(file(&render(&config).unwrap(), CONFIG), (wanted, 0o644));
}

/// A patch of containerd MAJOR.x and what is said of it.
#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn what_contradicts_the_kubelet_is_refused_with_field_and_line() {
    let v2 = "containerd.config.plugins.io.containerd.grpc.v1.cri";
    let runtime = "containerd.config.plugins.io.containerd.cri.v1.runtime.containerd";
    let cri = "io.containerd.grpc.v1.cri";
    let options = |plugin: &str, value: Value| json!({"plugins": {plugin: {"containerd": {"runtimes": {"runc": {"options": {"SystemdCgroup": value}}}}}}});
    let systemd = "it must be true, since the kubelet's cgroupDriver is systemd";
    let images = "containerd.config.plugins.io.containerd.cri.v1.images";
    let instead = "it cannot stand beside config_path; containerd.registries of the cluster file is meant";
    for (major, value, field, problem) in [
        (2, json!({"version": 2}), "containerd.config.version", "containerd 2.x reads version = 3"),
        (1, json!({"version": null}), "containerd.config.version", "containerd 1.x reads version = 2"),
        (2, json!({"debug": {"gid": u64::MAX}}), "containerd.config.debug.gid", "a number in TOML is less than 2^63"),
        (2, json!({"imports": [null]}), "containerd.config.imports", "a list in TOML holds no null"),
        (1, options(cri, json!(false)), &format!("{v2}.containerd.runtimes.runc.options.SystemdCgroup"), systemd),
        (
            2,
            options("io.containerd.cri.v1.runtime", Value::Null),
            &format!("{runtime}.runtimes.runc.options.SystemdCgroup"),
            systemd,
        ),
        (
            2,
            json!({"plugins": {"io.containerd.cri.v1.runtime": {"containerd": {"runtimes": {"nvidia": {
                "runtime_type": "io.containerd.runc.v2",
                "options": {"BinaryName": "/usr/bin/nvidia-container-runtime"},
            }}}}}}),
            &format!("{runtime}.runtimes.nvidia.options.SystemdCgroup"),
            systemd,
        ),
        (
            2,
            json!({"plugins": {"io.containerd.cri.v1.runtime": {"containerd": {"runtimes": {"runc": null}}}}}),
            &format!("{runtime}.runtimes.runc"),
            "pods run by it, and it is not there",
        ),
        (
            2,
            json!({"plugins": {"io.containerd.cri.v1.runtime": {"containerd": {"default_runtime_name": "kata"}}}}),
            &format!("{runtime}.default_runtime_name"),
            "there is no runtime \"kata\"",
        ),
        (
            1,
            json!({"plugins": {cri: {"systemd_cgroup": true}}}),
            &format!("{v2}.systemd_cgroup"),
            "containerd then does not start; SystemdCgroup of a runtime is meant",
        ),
        (
            2,
            json!({"plugins": {cri: {"sandbox_image": "own.example/pause:1"}}}),
            &format!("{v2}.sandbox_image"),
            "version = 3 has it in io.containerd.cri.v1.runtime or io.containerd.cri.v1.images",
        ),
        (
            2,
            json!({"plugins": {"io.containerd.runtime.v1.linux": {"shim_debug": true}}}),
            "containerd.config.plugins.io.containerd.runtime.v1.linux",
            "version = 3 has no such plugin",
        ),
        (
            1,
            json!({"plugins": {"io.containerd.cri.v1.images": {"snapshotter": "native"}}}),
            images,
            "version = 2 has no such plugin; io.containerd.grpc.v1.cri is meant",
        ),
        (
            2,
            json!({"disabled_plugins": ["cri"]}),
            "containerd.config.disabled_plugins",
            "without \"cri\" the kubelet has no container runtime",
        ),
        (
            2,
            json!({"root": "/data/containerd"}),
            "containerd.config.root",
            "the payload's images are written out at /var/lib/containerd; mount another disk there instead",
        ),
        (
            2,
            json!({"grpc": {"address": "/run/own.sock"}}),
            "containerd.config.grpc.address",
            "the kubelet looks for containerd at /run/containerd/containerd.sock",
        ),
        (
            2,
            json!({"plugins": {"io.containerd.cri.v1.images": {"registry": {"mirrors": {"a.example": {}}}}}}),
            &format!("{images}.registry.mirrors"),
            instead,
        ),
        (
            1,
            json!({"plugins": {cri: {"registry": {"configs": {"a.example": {"tls": {"ca_file": "/a"}}}}}}}),
            &format!("{v2}.registry.configs.a.example.tls"),
            instead,
        ),
        (
            2,
            json!({"plugins": {"io.containerd.cri.v1.images": {"pinned_images": null}}}),
            &format!("{images}.pinned_images.sandbox"),
            "no pod starts without a sandbox image",
        ),
    ] {
        let mut config = config(major);
        patch(&mut config, value.clone());
        let error = render(&config).unwrap_err().to_string();
        assert_eq!(error, format!("worker-node-1: {field} (nodebake.yaml:7): {problem}"), "{value}");
    }
}

#[test]
fn what_a_template_says_wrong_is_the_templates_fault() {
    let config = config(2);
    let mut bundle = render(&config).unwrap();
    let at = bundle.files.iter().position(|file| file.path == CONFIG).unwrap();
    for (from, to, wanted) in [
        (
            "SystemdCgroup = true",
            "SystemdCgroup = false",
            "plugins.io.containerd.cri.v1.runtime.containerd.runtimes.runc.options.SystemdCgroup: it must be true, since \
             the kubelet's cgroupDriver is systemd",
        ),
        (
            "pause:3.10.1",
            "pause:3.9",
            "the sandbox image reads back as Some(\"registry.k8s.io/pause:3.9\"), not as \"registry.k8s.io/pause:3.10.1\"",
        ),
        ("version = 3", "version", "key with no value, expected `=`"),
    ] {
        let whole = file(&bundle, CONFIG).0.to_owned();
        bundle.files[at].content = Content::Public(whole.replace(from, to).into_bytes(), 0o644);
        match check(&bundle, &config, &config.nodes[0], &PayloadContents::default()) {
            Err(Fault::Rendered("containerd/config-v3.toml", problem)) => assert_eq!(problem, wanted),
            other => panic!("{other:?}"),
        }
        bundle.files[at].content = Content::Public(whole.into_bytes(), 0o644);
    }
}

#[test]
fn the_payloads_sandbox_image_gives_way_to_that_of_a_patch_alone() {
    let mut config = config(2);
    let image = PreloadedImage { file: "pause.tar".to_owned(), references: vec!["own.example/pause:3".to_owned()] };
    let contents = PayloadContents { images: vec![image], ..PayloadContents::default() };
    let sandbox = |bundle: &NodeBundle| {
        let table: Table = file(bundle, CONFIG).0.parse().unwrap();
        let path = ["plugins", "io.containerd.cri.v1.images", "pinned_images", "sandbox"];
        find(&table, &owned(&path)).unwrap().as_str().unwrap().to_owned()
    };
    patch(&mut config, json!({"debug": {"level": "debug"}}));
    assert_eq!(sandbox(&render_with(&config, contents.clone()).unwrap()), "own.example/pause:3");
    let images = json!({"pinned_images": {"sandbox": "other.example/pause:1"}});
    patch(&mut config, json!({"plugins": {"io.containerd.cri.v1.images": images}}));
    assert_eq!(sandbox(&render_with(&config, contents).unwrap()), "other.example/pause:1");
}

/// A folder with a CA's certificate and a password that TOML, YAML and a shell would all read otherwise.
fn given() -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let ca = rcgen::CertificateParams::new([]).unwrap().self_signed(&key).unwrap().pem();
    std::fs::write(folder.path().join("ca.pem"), &ca).unwrap();
    std::fs::write(folder.path().join("key.pem"), key.serialize_pem()).unwrap();
    std::fs::write(folder.path().join("password"), PASSWORD.to_owned() + "\nsecond line\n").unwrap();
    (folder, ca)
}

const PASSWORD: &str = "p:a ss\"w\\r'd{{ x }}ü";

/// Spoils what is said of a registry; the folder is that of its files.
type Change = fn(&mut Registry, &Path);

fn registry(folder: &Path, mirrors: &[&str], fallback: bool, with_login: bool) -> Registry {
    let login = Credentials { username: "robot$own".to_owned(), password_file: folder.join("password") };
    Registry {
        mirrors: mirrors.iter().map(ToString::to_string).collect(),
        fallback,
        ca_file: Some(folder.join("ca.pem")),
        credentials: with_login.then_some(login),
    }
}

/// What `Authorization` says of them, by base64 of coreutils.
const BASIC: &str = "Basic cm9ib3Qkb3duOnA6YSBzcyJ3XHInZHt7IHggfX3DvA==";

#[test]
fn each_registry_has_a_hosts_file_and_a_password_is_a_secret_in_it() {
    let (folder, ca) = given();
    let mut config = config(2);
    let all = [
        ("_default", registry(folder.path(), &[], true, false)),
        ("docker.io", registry(folder.path(), &["https://hub.example", "https://10.0.0.1:5000/v2/hub/"], true, true)),
        ("own.example:5000", registry(folder.path(), &[], false, true)),
        // containerd would try https first where a host has certificates.
        ("quay.io", registry(folder.path(), &["http://nexus.example/quay"], false, false)),
    ];
    config.nodes[0].settings.registries = all.into_iter().map(|(name, of)| (name.to_owned(), of)).collect();
    let bundle = render(&config).unwrap();
    let default = "# Who is asked for images of _default: each [host] in its order, then `server`.
capabilities = [\"pull\", \"resolve\"]
ca = \"/etc/containerd/certs.d/_default/ca.pem\"

# containerd 1.x takes no file without it.
[host]
";
    let hub = format!(
        "# Who is asked for images of docker.io: each [host] in its order, then `server`.
server = \"https://registry-1.docker.io\"
capabilities = [\"pull\", \"resolve\"]
ca = \"/etc/containerd/certs.d/docker.io/ca.pem\"

[host.\"https://hub.example\"]
capabilities = [\"pull\", \"resolve\"]
ca = \"/etc/containerd/certs.d/docker.io/ca.pem\"
header = {{ Authorization = \"{BASIC}\" }}

[host.\"https://10.0.0.1:5000/v2/hub/\"]
capabilities = [\"pull\", \"resolve\"]
ca = \"/etc/containerd/certs.d/docker.io/ca.pem\"
override_path = true
header = {{ Authorization = \"{BASIC}\" }}
"
    );
    let own = format!(
        "# Who is asked for images of own.example:5000: each [host] in its order, then `server`.
server = \"https://own.example:5000\"
capabilities = [\"pull\", \"resolve\"]
ca = \"/etc/containerd/certs.d/own.example:5000/ca.pem\"
header = {{ Authorization = \"{BASIC}\" }}

# containerd 1.x takes no file without it.
[host]
"
    );
    let quay = "# Who is asked for images of quay.io: each [host] in its order, then `server`.
server = \"http://nexus.example/quay\"
capabilities = [\"pull\", \"resolve\"]

# containerd 1.x takes no file without it.
[host]
";
    let wanted = [
        ("_default/ca.pem", ca.as_str(), 0o644),
        ("_default/hosts.toml", default, 0o644),
        ("docker.io/ca.pem", &ca, 0o644),
        ("docker.io/hosts.toml", &hub, 0o600),
        ("own.example:5000/ca.pem", &ca, 0o644),
        ("own.example:5000/hosts.toml", &own, 0o600),
        ("quay.io/ca.pem", &ca, 0o644),
        ("quay.io/hosts.toml", quay, 0o644),
    ];
    let wanted = wanted.map(|(name, text, mode)| (format!("{REGISTRIES}/{name}"), text.to_owned(), mode));
    let (configuration, rest): (Vec<_>, Vec<_>) = paths(&bundle).into_iter().partition(|path| *path == CONFIG);
    let found = rest.into_iter().map(|path| {
        let (text, mode) = file(&bundle, path);
        (path.to_owned(), text.to_owned(), mode)
    });
    assert_eq!(found.collect::<Vec<_>>(), wanted);
    assert_eq!((configuration.len(), file(&bundle, CONFIG).1), (1, 0o644));
    let shown = format!("{bundle:?}");
    assert_eq!((shown.contains(PASSWORD), shown.contains(&BASIC[6..])), (false, false));
}

#[test]
fn containerd_1_has_users_and_passwords_in_its_configuration() {
    let (folder, _) = given();
    let mut config = config(1);
    let mirrors = ["https://hub.example", "https://10.0.0.1:5000/v2/hub"];
    let registries = &mut config.nodes[0].settings.registries;
    registries.insert("docker.io".to_owned(), registry(folder.path(), &mirrors, true, true));
    let bundle = render(&config).unwrap();
    let (text, mode) = file(&bundle, CONFIG);
    let table: Table = text.parse().unwrap();
    let auth = json!({"auth": {"username": "robot$own", "password": PASSWORD}});
    let path = owned(&["plugins", "io.containerd.grpc.v1.cri", "registry"]);
    let found = serde_json::to_value(find(&table, &path).unwrap()).unwrap();
    let wanted = json!({"config_path": REGISTRIES, "configs": {"hub.example": auth, "10.0.0.1:5000": auth}});
    assert_eq!((found, mode), (wanted, 0o600));
    let (hosts, mode) = file(&bundle, "/etc/containerd/certs.d/docker.io/hosts.toml");
    assert_eq!((hosts.contains("Authorization"), mode), (false, 0o644));
}

#[test]
fn what_is_said_of_a_registry_and_cannot_be_is_told_without_the_password() {
    let (folder, _) = given();
    let at = |name: &str| folder.path().join(name);
    std::fs::write(at("empty"), "\n").unwrap();
    std::fs::write(at("controls"), "a\tb").unwrap();
    std::fs::write(at("latin1"), b"\xe4").unwrap();
    let mut with_key = std::fs::read(at("ca.pem")).unwrap();
    with_key.extend(std::fs::read(at("key.pem")).unwrap());
    std::fs::write(at("both.pem"), with_key).unwrap();
    std::fs::write(at("broken.pem"), "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
    let changes: [(&str, Change, &str); 9] = [
        (
            "a.example",
            |of, at| of.ca_file = Some(at.join("key.pem")),
            "caFile: FOLDER/key.pem: there is a private key in it",
        ),
        (
            "a.example",
            |of, at| of.ca_file = Some(at.join("both.pem")),
            "caFile: FOLDER/both.pem: there is a private key in it",
        ),
        (
            "a.example",
            |of, at| of.ca_file = Some(at.join("empty")),
            "caFile: FOLDER/empty: it holds no certificate in PEM form",
        ),
        (
            "a.example",
            |of, at| of.ca_file = Some(at.join("broken.pem")),
            "caFile: FOLDER/broken.pem: a certificate in it cannot be read",
        ),
        (
            "a.example",
            |of, at| of.credentials.as_mut().unwrap().password_file = at.join("empty"),
            "passwordFile: FOLDER/empty: its first line is empty, where the password should stand",
        ),
        (
            "a.example",
            |of, at| of.credentials.as_mut().unwrap().password_file = at.join("controls"),
            "passwordFile: FOLDER/controls: there are control characters in the password",
        ),
        (
            "a.example",
            |of, at| of.credentials.as_mut().unwrap().password_file = at.join("latin1"),
            "passwordFile: FOLDER/latin1: it is not UTF-8",
        ),
        (
            "_default",
            |of, _| of.mirrors.clear(),
            "username: whose password is it? every registry without an entry of its own would get it",
        ),
        (
            "a.example",
            |of, _| of.mirrors = vec!["http://10.0.0.1:5000".to_owned()],
            "username: the password would go to http://10.0.0.1:5000 for everybody on the way to read",
        ),
    ];
    for (name, change, wanted) in changes {
        let mut config = config(2);
        let mut of = registry(folder.path(), &["https://mirror.example"], true, true);
        change(&mut of, folder.path());
        config.nodes[0].settings.registries.insert(name.to_owned(), of);
        let error = render(&config).unwrap_err().to_string().replace(folder.path().to_str().unwrap(), "FOLDER");
        assert_eq!(error, format!("worker-node-1: containerd.registries.{name}.{wanted}"));
    }
    let mut config = config(2);
    let mut of = registry(folder.path(), &[], true, true);
    of.ca_file = Some(at("none"));
    config.nodes[0].settings.registries.insert("a.example".to_owned(), of);
    let error = render(&config).unwrap_err().to_string();
    let wanted = format!(
        "worker-node-1: containerd.registries.a.example.caFile names {}, which cannot be read",
        at("none").display()
    );
    assert_eq!(error, wanted);
}

#[test]
fn registries_need_the_folder_that_they_stand_in() {
    let mut config = config(2);
    config.nodes[0].settings.registries.insert("a.example".to_owned(), Registry::default());
    patch(&mut config, json!({"plugins": {"io.containerd.cri.v1.images": {"registry": {"config_path": "/etc/own"}}}}));
    let wanted = "worker-node-1: containerd.config.plugins.io.containerd.cri.v1.images.registry.config_path (nodebake.yaml:7): what \
                  is said of registries stands in /etc/containerd/certs.d";
    assert_eq!(render(&config).unwrap_err().to_string(), wanted);
    config.nodes[0].settings.registries.clear();
    render(&config).unwrap();
}

#[test]
fn a_hosts_file_that_reads_back_otherwise_is_refused() {
    let (folder, _) = given();
    let mut config = config(2);
    let of = registry(folder.path(), &["https://one.example", "https://two.example"], false, true);
    config.nodes[0].settings.registries.insert("a.example".to_owned(), of);
    let path = "/etc/containerd/certs.d/a.example/hosts.toml";
    for (from, to, wanted) in [
        ("server = ", "servers = ", "server reads back as None, not as Some(\"https://two.example\")"),
        (
            "one.example",
            "on.example",
            "the hosts read back as {\"https://on.example\"}, not as {\"https://one.example\"}",
        ),
        ("ca = ", "caFile = ", "ca reads back as None, which is not what the cluster file says"),
        ("Basic ", "\"", "missing comma between key-value pairs, expected `,`"),
    ] {
        let mut bundle = render(&config).unwrap();
        let text = file(&bundle, path).0.replace(from, to);
        let at = bundle.files.iter().position(|file| file.path == path).unwrap();
        bundle.files[at].content = Content::Secret(Secret::new(text), 0o600);
        match check(&bundle, &config, &config.nodes[0], &PayloadContents::default()) {
            Err(Fault::Rendered("containerd/hosts.toml", problem)) => assert_eq!(problem, format!("{path}: {wanted}")),
            other => panic!("{from}: {other:?}"),
        }
    }
}

#[test]
fn a_whole_path_is_known_by_the_apis_version_within_it() {
    for (url, wanted) in [
        ("https://a.example", false),
        ("https://a.example/", false),
        ("https://a.example/v2", false),
        ("https://a.example/v2/", false),
        ("https://a.example/docker", false),
        ("https://a.example/docker/v2", false),
        ("https://a.example/v2/hub", true),
        ("https://a.example/x/v2/hub/", true),
        ("https://v2.example:5000/v22/hub", false),
    ] {
        assert_eq!(registry::is_whole_path(url), wanted, "{url}");
    }
}
