//! `containerd config dump`: what it has read holds all that was rendered, and it knows every word of it.

use std::fs;

use serde_json::{Value, json};

use crate::bundle::{bundle, config, contents, install};
use crate::containerd::{Containerd, both};

/// The dump of what is rendered for these settings, as far as the rendered file says something, and that file; then what
/// containerd says beside it.
fn dumped(containerd: &Containerd, patch: &Value) -> (toml::Value, toml::Value, String) {
    let mut config = config(&containerd.version);
    config.nodes[0].settings.containerd.clone_from(patch.as_object().unwrap());
    let folder = tempfile::tempdir().unwrap();
    install(&bundle(&config, contents()), "/etc/containerd", folder.path());
    let file = folder.path().join("etc/containerd/config.toml");
    let rendered: toml::Table = fs::read_to_string(&file).unwrap().parse().unwrap();
    let (dump, said) = containerd.dump(&file);
    (within(dump.into(), &rendered).into(), rendered.into(), said)
}

/// Of a dump what another table has too.
fn within(dump: toml::Value, rendered: &toml::Table) -> toml::Table {
    let toml::Value::Table(mut dump) = dump else { return toml::Table::new() };
    let both = rendered.iter().filter_map(|(key, value)| {
        let found = dump.remove(key)?;
        let found = value.as_table().map_or(found.clone(), |value| within(found, value).into());
        Some((key.clone(), found))
    });
    both.collect()
}

#[test]
fn every_rendered_value_is_in_the_dump_and_nothing_is_said() {
    for containerd in both() {
        let (found, rendered, said) = dumped(containerd, &json!({}));
        assert_eq!((found, said.as_str()), (rendered, ""), "{}", containerd.version);
    }
}

#[test]
fn a_patch_is_in_the_dump_and_nothing_is_said() {
    let runc = json!({"snapshotter": "native"});
    let own = json!({
        "runtime_type": "io.containerd.runc.v2",
        "options": {"BinaryName": "/opt/own/runc", "SystemdCgroup": true},
    });
    let scheduler = json!({"pause_threshold": 0.5, "schedule_delay": "1s"});
    let containerd = json!({"runtimes": {"runc": runc, "own": own}});
    let patches = [
        json!({
            "oom_score": -999,
            "debug": {"level": "debug"},
            "metrics": {"address": "127.0.0.1:1338"},
            "plugins": {
                "io.containerd.gc.v1.scheduler": scheduler,
                "io.containerd.grpc.v1.cri": {
                    "sandbox_image": "own.example/pause:1",
                    "max_concurrent_downloads": 5,
                    "cdi_spec_dirs": ["/etc/cdi"],
                    "enable_cdi": true,
                    "cni": {"bin_dir": "/opt/own/bin"},
                    "containerd": containerd,
                },
            },
        }),
        json!({
            "oom_score": -999,
            "debug": {"level": "debug"},
            "metrics": {"address": "127.0.0.1:1338"},
            "plugins": {
                "io.containerd.gc.v1.scheduler": scheduler,
                "io.containerd.cri.v1.images": {
                    "snapshotter": "native",
                    "max_concurrent_downloads": 5,
                    "pinned_images": {"sandbox": "own.example/pause:1"},
                },
                "io.containerd.cri.v1.runtime": {
                    "cdi_spec_dirs": ["/etc/cdi"],
                    "cni": {"bin_dirs": ["/opt/own/bin"]},
                    "containerd": containerd,
                },
                "io.containerd.grpc.v1.cri": {"stream_idle_timeout": "1h0m0s"},
            },
        }),
    ];
    for (containerd, patch) in both().iter().zip(&patches) {
        let (found, rendered, said) = dumped(containerd, patch);
        assert_eq!((&found, said.as_str()), (&rendered, ""), "{}", containerd.version);
        assert_eq!(serde_json::to_value(within(rendered, &toml::Table::try_from(patch).unwrap())).unwrap(), *patch);
    }
}

/// What these tests look for is found.
#[test]
fn an_unknown_word_is_seen() {
    for containerd in both() {
        let patch = json!({"plugins": {"io.containerd.gc.v1.scheduler": {"pause_treshold": 0.5}}});
        let (found, rendered, said) = dumped(containerd, &patch);
        assert!(found != rendered && said.contains("pause_treshold") == containerd.version.starts_with('2'), "{said}");
    }
}
