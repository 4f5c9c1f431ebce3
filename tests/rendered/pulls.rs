//! Pulls by a real containerd that has the rendered files where a guest has them, in a mount and network namespace of its
//! own.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use nodebake::config::{Credentials, Registry as Settings};
use nodebake::image::PayloadContents;
use nodebake_lab_stand_ins::kubelet::cri::Runtime;

use crate::bundle::{bundle, config, install};
use crate::containerd::of;
use crate::registry::{Authority, Gate, Image, Log, PASSWORD, Registry, USER};

#[test]
fn containerd_1_pulls_as_the_cluster_file_says() {
    in_a_guest("pulls::containerd_1_pulls_as_the_cluster_file_says", || pulls(1));
}

#[test]
fn containerd_2_pulls_as_the_cluster_file_says() {
    in_a_guest("pulls::containerd_2_pulls_as_the_cluster_file_says", || pulls(2));
}

/// Runs the rest of a test in namespaces of its own: the same program again, with only that test.
fn in_a_guest(test: &str, rest: impl FnOnce()) {
    if std::env::var_os("NODEBAKE_TEST_GUEST").is_some() {
        return rest();
    }
    // Fetched where there is a network.
    crate::containerd::both();
    let mut command = Command::new("unshare");
    command.args(["--mount", "--net", "--propagation", "private", "sh", "-c", include_str!("guest.sh"), "sh"]);
    command.arg(std::env::current_exe().unwrap()).args(["--exact", test, "--nocapture"]);
    let output = command.env("NODEBAKE_TEST_GUEST", "1").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

fn pulls(major: u64) {
    let authority = Authority::new();
    let given = tempfile::tempdir().unwrap();
    fs::write(given.path().join("ca.pem"), &authority.pem).unwrap();
    fs::write(given.path().join("password"), format!("{PASSWORD}\n")).unwrap();
    let log = Log::default();
    for (name, prefix, gate) in [
        ("basic.example", "", Gate::Basic),
        ("token.example", "", Gate::Token),
        ("open.example", "", Gate::Open),
        ("empty.example", "", Gate::Empty),
        ("path.example", "/proxy/hub", Gate::Basic),
    ] {
        Registry { name, prefix, gate }.serve(&authority, &log);
    }

    let containerd = of(major);
    let mut config = config(&containerd.version);
    config.nodes[0].settings.registries = registries(given.path());
    install(&bundle(&config, PayloadContents::default()), "/etc/containerd", Path::new("/"));
    let said = given.path().join("said");
    let running = containerd.start(&said);

    let threads = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let runtime = Runtime::new(Path::new("/run/containerd/containerd.sock"), Duration::from_mins(2));
    let image = Image::new().id();
    for (name, is_there, wanted) in asked(major) {
        let pulled = threads.block_on(runtime.pull(name));
        let found = (pulled.as_deref().ok(), log.take());
        let wanted = (is_there.then_some(image.as_str()), wanted.iter().map(ToString::to_string).collect());
        assert_eq!(found, wanted, "{name}: {pulled:?}\n{}", fs::read_to_string(&said).unwrap());
    }
    drop(running);
    let deprecated: &[&str] = match major {
        1 => &["`configs` is deprecated, please use `config_path` instead"],
        _ => &[],
    };
    assert_eq!(warnings(&fs::read_to_string(&said).unwrap()), deprecated);
}

/// An image's name, whether it is pulled, and what the registries are asked for it.
fn asked(major: u64) -> Vec<(&'static str, bool, &'static [&'static str])> {
    let itself = match major {
        1 => [
            ("basic.example/pod:1", true, &["basic.example nobody 401", "basic.example user 200"][..]),
            (
                "token.example/pod:1",
                true,
                &["token.example nobody 401", "token.example form 200", "token.example token 200"],
            ),
        ],
        _ => [
            ("basic.example/pod:1", true, &["basic.example user 200"][..]),
            (
                "token.example/pod:1",
                true,
                &["token.example user 401", "token.example user 200", "token.example token 200"],
            ),
        ],
    };
    let mirrors = match major {
        1 => [
            // Mirrors in their order.
            (
                "own.example/pod:1",
                true,
                &["empty.example nobody 404", "basic.example nobody 401", "basic.example user 200"][..],
            ),
            // After them the registry, without the mirrors' password.
            ("open.example:443/pod:1", true, &["empty.example nobody 404", "open.example nobody 200"]),
            ("hub.example/pod:1", true, &["path.example nobody 401", "path.example user 200"]),
        ],
        _ => [
            ("own.example/pod:1", true, &["empty.example user 404", "basic.example user 200"][..]),
            ("open.example:443/pod:1", true, &["empty.example user 404", "open.example nobody 200"]),
            ("hub.example/pod:1", true, &["path.example user 200"]),
        ],
    };
    let without_password = [
        // Without an entry of their own: `_default` has the CA.
        ("open.example/pod:1", true, &["open.example nobody 200"][..]),
        ("empty.example/pod:1", false, &["empty.example nobody 404"]),
        // The registry itself has it, but is not asked.
        ("open.example:0443/pod:1", false, &["empty.example nobody 404"]),
    ];
    [&itself[..], &mirrors, &without_password].concat()
}

/// What containerd warns of in its log, but for plugins and programs that this machine does not have.
fn warnings(log: &str) -> Vec<&str> {
    let warnings = log.lines().filter(|line| line.contains(" level=warning "));
    let messages = warnings.filter_map(|line| Some(line.split_once(" msg=\"")?.1.split('"').next()?.trim()));
    messages.filter(|message| !message.starts_with("failed to load plugin")).collect()
}

fn registries(given: &Path) -> BTreeMap<String, Settings> {
    let settings = |mirrors: &[&str], fallback, with_login: bool| Settings {
        mirrors: mirrors.iter().map(ToString::to_string).collect(),
        fallback,
        ca_file: Some(given.join("ca.pem")),
        credentials: with_login
            .then(|| Credentials { username: USER.to_owned(), password_file: given.join("password") }),
    };
    let all = [
        ("_default", settings(&[], true, false)),
        ("basic.example", settings(&[], false, true)),
        ("token.example", settings(&[], false, true)),
        ("open.example:443", settings(&["https://empty.example"], true, true)),
        ("own.example", settings(&["https://empty.example", "https://basic.example"], false, true)),
        ("hub.example", settings(&["https://path.example/v2/proxy/hub"], false, true)),
        ("open.example:0443", settings(&["https://empty.example"], false, false)),
    ];
    all.into_iter().map(|(name, settings)| (name.to_owned(), settings)).collect()
}
