//! Modes of files do not depend on the umask: what is secret is its owner's alone, the rest is not.

use std::collections::BTreeMap;

use crate::world::{Tree, World};

/// Runs the whole way to the seeds under a umask.
fn world_under(umask: &str) -> World {
    let world = World::new();
    let script = format!("umask {umask}; exec \"$0\" \"$@\"");
    for arguments in [&["lock"][..], &["fetch"], &["fetch", "kubectl"], &["build", "--all"], &["kubeconfig"]] {
        let ran = world.run_command(world.command(&["sh", "-c", &script]).args(arguments));
        assert_eq!(ran.code, 0, "{ran:?}");
    }
    world
}

fn modes(tree: Tree) -> BTreeMap<String, u32> {
    tree.into_iter().map(|(name, file)| (name, file.mode)).collect()
}

/// One line a file, as people read modes.
fn listing(modes: &BTreeMap<String, u32>) -> Vec<String> {
    modes.iter().map(|(name, mode)| format!("{mode:o} {name}")).collect()
}

#[test]
fn modes_do_not_depend_on_the_umask() {
    for umask in ["000", "022", "077"] {
        let world = world_under(umask);
        let mut wanted = BTreeMap::new();
        let mut put = |name: &str, mode: u32| wanted.insert(name.to_owned(), mode);
        put("build", 0o040_755);
        put("build/kubectl", 0o100_755);
        let payload = world.payload("build");
        put(&payload, 0o100_644);
        put(&payload.replace(".iso", ".json"), 0o100_644);
        put(".nodebake", 0o040_700);
        put(".nodebake/identities", 0o040_700);
        put(".nodebake/identities/.lock", 0o100_600);
        for node in ["worker-node-1", "worker-node-2"] {
            put(&format!("build/{node}"), 0o040_755);
            put(&format!("build/{node}/seed.iso"), 0o100_600);
            for file in ["user-data", "vendor-data", "network-config"] {
                put(&format!("build/{node}/{file}"), 0o100_600);
            }
            for file in ["meta-data", "manifest.json"] {
                put(&format!("build/{node}/{file}"), 0o100_644);
            }
            for form in ["intoto", "spdx"] {
                put(&format!("build/{node}/{node}.{form}.json"), 0o100_644);
            }
            put(&format!(".nodebake/identities/{node}"), 0o040_700);
            put(&format!(".nodebake/identities/{node}/cert.pem"), 0o100_600);
            put(&format!(".nodebake/identities/{node}/key.pem"), 0o100_600);
        }
        put("nodebake.yaml", 0o100_644);
        put("nodebake.lock", 0o100_644);
        put("admin.kubeconfig", 0o100_600);
        let parts = ["build", ".nodebake", "nodebake.yaml", "nodebake.lock", "admin.kubeconfig"];
        let found: BTreeMap<_, _> = parts.iter().flat_map(|part| modes(world.tree(part))).collect();
        assert_eq!(listing(&found), listing(&wanted), "umask {umask}");
        // The cache is nobody else's to write; a link has no mode of its own.
        let open = |mode: u32| mode & 0o022 != 0 && mode & 0o170_000 != 0o120_000;
        let open: Vec<_> = modes(world.tree("cache")).into_iter().filter(|(_, mode)| open(*mode)).collect();
        assert_eq!(open, [], "umask {umask}");
    }
}

#[test]
fn what_others_could_read_is_put_right() {
    let world = World::built();
    for node in ["build/worker-node-1", "build/worker-node-2"] {
        world.chmod(&format!("{node}/seed.iso"), 0o644);
        world.chmod(&format!("{node}/user-data"), 0o640);
    }
    world.must(&["build", "worker-node-1"]);
    let mode = |name: &str| modes(world.tree(name))[name];
    let found = |node: &str| [mode(&format!("{node}/seed.iso")), mode(&format!("{node}/user-data"))];
    assert_eq!(found("build/worker-node-1"), [0o100_600, 0o100_600]);
    assert_eq!(found("build/worker-node-2"), [0o100_644, 0o100_640]);
}

#[test]
fn a_kubeconfig_replaces_one_that_others_could_read() {
    let world = World::new();
    world.must(&["kubeconfig"]);
    world.chmod("admin.kubeconfig", 0o644);
    world.must(&["kubeconfig"]);
    assert_eq!(modes(world.tree("admin.kubeconfig"))["admin.kubeconfig"], 0o100_600);
}

#[test]
fn a_kubeconfig_that_is_not_ours_stays_as_it_is() {
    let world = World::new();
    let theirs = "{\"contexts\": [{\"name\": \"work\"}]}";
    std::fs::write(world.path("admin.kubeconfig"), theirs).unwrap();
    assert_eq!(world.run(&["kubeconfig"]).code, 2);
    assert_eq!(world.read("admin.kubeconfig"), theirs);
}
