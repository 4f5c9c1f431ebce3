//! Container images that the payload holds: by which names they are asked for, and which is the pods' own.

use serde::Serialize;

use crate::image::{PayloadContents, PreloadedImage};

/// An archive of images as the guest imports it.
#[derive(Debug, Serialize)]
pub(super) struct Import<'a> {
    /// Its name below /opt/nodebake/payload/images.
    file: &'a str,
    /// The images that are in it.
    references: Vec<Reference<'a>>,
}

/// One name of an image.
#[derive(Debug, Serialize)]
struct Reference<'a> {
    /// As its archive has it.
    given: &'a str,
    /// As it is asked for.
    canonical: String,
}

/// The archives in the order of their import: that with the sandbox image first, since no pod starts without it.
pub(super) fn imports(contents: &PayloadContents) -> Vec<Import<'_>> {
    let mut images: Vec<&PreloadedImage> = contents.images.iter().collect();
    images.sort_by_key(|image| !image.references.iter().any(|reference| is_pause(reference)));
    images
        .into_iter()
        .map(|image| Import {
            file: &image.file,
            references: image.references.iter().map(|given| Reference { given, canonical: canonical(given) }).collect(),
        })
        .collect()
}

/// The same as words: an archive's file, then each name of its images, as given and canonical.
pub(super) fn steps(contents: &PayloadContents) -> Vec<Vec<String>> {
    let names = |reference: Reference<'_>| vec![reference.given.to_owned(), reference.canonical];
    let steps = |import: Import<'_>| {
        std::iter::once(vec![import.file.to_owned()])
            .chain(import.references.into_iter().map(names))
            .collect::<Vec<_>>()
    };
    imports(contents).into_iter().flat_map(steps).collect()
}

/// The image of the pods' sandboxes, if it is among them: the first that is called `pause`.
pub(super) fn sandbox(contents: &PayloadContents) -> Option<String> {
    let mut all = contents.images.iter().flat_map(|image| &image.references);
    all.find(|reference| is_pause(reference)).map(|reference| canonical(reference))
}

/// Whether the last part of its repository's name is `pause`.
fn is_pause(reference: &str) -> bool {
    let name = without_tag(reference);
    name.rsplit('/').next() == Some("pause")
}

/// The repository alone.
fn without_tag(reference: &str) -> &str {
    let name = reference.split('@').next().unwrap_or(reference);
    // A colon before the last slash is a port's.
    let last = name.rfind('/').map_or(0, |slash| slash + 1);
    name.get(last..).and_then(|part| part.find(':')).map_or(name, |colon| &name[..last + colon])
}

/// A reference as containerd's CRI looks it up: with its registry, Docker Hub where none is named, and with a tag (the
/// rules of github.com/distribution/reference, `ParseDockerRef`).
pub fn canonical(reference: &str) -> String {
    const HUB: &str = "docker.io";
    let (registry, path) = match reference.split_once('/') {
        Some(("index.docker.io", path)) => (HUB, path),
        Some((registry, path)) if registry.contains(['.', ':']) || registry == "localhost" => (registry, path),
        _ => (HUB, reference),
    };
    let library = if registry == HUB && !path.contains('/') { "library/" } else { "" };
    let tag = if path.contains('@') || without_tag(path) != path { "" } else { ":latest" };
    format!("{registry}/{library}{path}{tag}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_made_whole() {
        for (given, wanted) in [
            ("registry.k8s.io/pause:3.10", "registry.k8s.io/pause:3.10"),
            ("busybox", "docker.io/library/busybox:latest"),
            ("busybox:1.37", "docker.io/library/busybox:1.37"),
            ("docker.io/busybox", "docker.io/library/busybox:latest"),
            ("index.docker.io/library/busybox:1", "docker.io/library/busybox:1"),
            ("cilium/cilium:v1", "docker.io/cilium/cilium:v1"),
            ("quay.io/cilium/cilium", "quay.io/cilium/cilium:latest"),
            ("localhost/own", "localhost/own:latest"),
            ("host:5000/own", "host:5000/own:latest"),
            ("host:5000/a/own:1", "host:5000/a/own:1"),
            ("a.example/own@sha256:00", "a.example/own@sha256:00"),
            ("a.example/own:1@sha256:00", "a.example/own:1@sha256:00"),
        ] {
            assert_eq!(canonical(given), wanted, "{given}");
        }
    }

    #[test]
    fn the_sandbox_image_is_known_by_the_last_part_of_its_repository() {
        for (reference, wanted) in [
            ("registry.k8s.io/pause:3.10", true),
            ("own.example:5000/mirror/pause", true),
            ("pause@sha256:00", true),
            ("pause:3.10@sha256:00", true),
            ("own.example/pause/other:1", false),
            ("own.example/pause-amd64:3.10", false),
            ("own.example/other:pause", false),
            ("pause.example/other", false),
        ] {
            assert_eq!(is_pause(reference), wanted, "{reference}");
        }
    }

    #[test]
    fn the_sandbox_image_is_imported_first_and_the_others_in_their_order() {
        let image = |file: &str, references: &[&str]| PreloadedImage {
            file: file.to_owned(),
            references: references.iter().map(ToString::to_string).collect(),
        };
        let images = vec![
            image("b.tar", &["b.example/b:1"]),
            image("p.tar", &["p.example/other:1", "pause:3.10"]),
            image("a.tar", &["a.example/a:1"]),
        ];
        let contents = PayloadContents { images, ..PayloadContents::default() };
        let files: Vec<_> = imports(&contents).iter().map(|import| import.file).collect();
        assert_eq!(files, ["p.tar", "b.tar", "a.tar"]);
        assert_eq!(sandbox(&contents).as_deref(), Some("docker.io/library/pause:3.10"));
        assert_eq!(sandbox(&PayloadContents::default()), None);
    }
}
