//! What nodes' machines are made of, beyond their size.

use super::layers::{node_of, problems_of};
use super::*;

#[test]
fn data_disks_are_layered_by_their_names() {
    let defaults = "dataDisks: {data: {size: 20GiB, mountPath: /data}, logs: {size: 2GiB}}";
    let group = "g: {dataDisks: {data: {fileSystem: xfs}, logs: null}}";
    let disks = node_of(defaults, group, "group: g\ndataDisks: {data: {size: 30GiB}}").settings.machine.data_disks;
    let mount = Some(Mount { path: "/data".to_owned(), file_system: "xfs".to_owned() });
    assert_eq!(disks, BTreeMap::from([("data".to_owned(), DataDisk { size: 30 << 30, mount })]));
}

#[test]
fn mounts_that_cannot_be_are_refused() {
    for (defaults, expected) in [
        (
            "dataDisks: {a: {size: 1GiB, fileSystem: ext4}, b: {size: 1GiB, mountPath: /d, fileSystem: ext3}}",
            &[
                "17:43: defaults.dataDisks.a.fileSystem: fileSystem means something only beside mountPath",
                "17:93: defaults.dataDisks.b.fileSystem: \"ext3\" is not known, did you mean \"ext4\"?",
            ][..],
        ),
        (
            "dataDisks: {a: {mountPath: /data}}",
            &["17:18: defaults.dataDisks.a.size: missing key: a size such as 20GiB"],
        ),
        (
            "dataDisks: {a: {size: 64MiB, mountPath: /data}}",
            &["17:25: defaults.dataDisks.a.size: a disk with a file system has at least 512MiB"],
        ),
        (
            "dataDisks: {a: {size: 1GiB, mountPath: /d}, b: {size: 1GiB, mountPath: /d}}",
            &["17:14: defaults.dataDisks: a and b are both mounted at /d"],
        ),
        (
            "dataDisks: {a: {size: 1GiB, mountPath: /d}}\nfiles: {/d/e: {content: ''}, /de: {content: ''}}",
            &["17:14: defaults.dataDisks: the file /d/e would be hidden by a, which is mounted at /d"],
        ),
    ] {
        assert_eq!(problems_of(defaults), expected, "{defaults}");
    }
}
