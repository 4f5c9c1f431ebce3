//! Artifacts that no node could run on: named at `build`, and nothing of them is left in the output.

use std::fs;

use crate::mirror::{self, Item};
use crate::world::{Ran, World};

/// Locks and builds with another file than the mirror's; the error must be `error` of the cached file.
fn refused(item: Item, bytes: &[u8], error: impl Fn(&str) -> String, hint: &str) {
    let world = World::new();
    world.publish(item, bytes);
    world.relock();
    world.must(&["fetch"]);
    let path = format!("FOLDER/{}", world.cached(item));
    assert_eq!(world.run(&["build", "--all"]), Ran::failed(1, &error(&path), hint));
    assert_eq!(world.tree("build").keys().collect::<Vec<_>>(), ["build"]);
    assert!(!world.path(".nodebake").exists());
}

/// Not to be read as an archive, in the decompressor's words.
fn unreadable(path: &str, why: &str) -> String {
    format!("the archive of containerd ({path}) is refused: it cannot be read as an archive: {why}")
}

const ARCHIVE: &str = "its bytes are those that were locked: check that the lock file names the archive that you mean";
const PROGRAM: &str =
    "its bytes are those that were locked: check its address in the lock file, and `arch` in the cluster file";

#[test]
fn archives_that_are_cut_off_are_refused() {
    let whole = mirror::content(Item::Containerd);
    // In the middle of its data, and in the checksum behind it.
    for (length, why) in [(whole.len() / 2, "incomplete deflate stream"), (whole.len() - 4, "unexpected end of file")] {
        refused(Item::Containerd, &whole[..length], |path| unreadable(path, why), ARCHIVE);
    }
}

#[test]
fn archives_without_their_programs_are_refused() {
    refused(
        Item::Containerd,
        &mirror::containerd(&["containerd-shim-runc-v2", "ctr"]),
        |path| format!("the archive of containerd ({path}) holds no bin/containerd"),
        ARCHIVE,
    );
    // The archive of the one in the place of the other.
    refused(
        Item::CniPlugins,
        &mirror::content(Item::Containerd),
        |path| format!("the archive of CNI plugins ({path}) holds no bridge"),
        ARCHIVE,
    );
    let page = b"<html>no archive</html>";
    refused(Item::Containerd, page, |path| unreadable(path, "invalid gzip header"), ARCHIVE);
}

#[test]
fn programs_of_another_architecture_are_refused() {
    let arm = mirror::for_arm64(mirror::program("true"));
    refused(
        Item::Kubelet,
        &arm,
        |path| {
            format!(
                "/bin/kubelet of kubelet ({path}) cannot run on the nodes: it is not built for amd64 (ELF machine 183)"
            )
        },
        PROGRAM,
    );
    refused(
        Item::Runc,
        b"#!/bin/sh\nexit 0\n",
        |path| format!("/bin/runc of runc ({path}) cannot run on the nodes: it is not an ELF program"),
        PROGRAM,
    );
}

#[test]
fn an_output_that_cannot_be_written_is_told() {
    let world = World::locked();
    world.must(&["fetch"]);
    fs::write(world.path("build"), "a file").unwrap();
    for verb in [&["build", "--all"][..], &["fetch", "kubectl"]] {
        assert_eq!(world.run(verb), Ran::failed(1, "cannot make build: File exists (os error 17)", ""), "{verb:?}");
    }
    assert_eq!(world.read("build"), "a file");
}
