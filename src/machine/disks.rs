//! The disks of a domain, as its XML names them: also of one that we did not make.

use roxmltree::{Document, Node};

/// Where a disk's content is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum DiskSource {
    /// A file or block device of the host, by its path.
    Path(String),
    /// A volume, by its pool and its name.
    Volume(String, String),
    /// Elsewhere, such as on the network, by libvirt's word for it.
    Other(String),
}

impl std::fmt::Display for DiskSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Path(path) => f.write_str(path),
            Self::Volume(pool, name) => write!(f, "{pool}/{name}"),
            Self::Other(kind) => write!(f, "a {kind} disk"),
        }
    }
}

/// One disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// Where its content is.
    pub source: DiskSource,
    /// Whether it is a disk that the machine alone writes: no CD-ROM or floppy, not read-only, and not shared.
    pub own: bool,
    /// The same of all that it is known to stand on.
    pub under: Vec<DiskSource>,
}

/// The disks of a domain's XML that have a medium, in its order.
pub(super) fn read(xml: &str) -> Vec<Disk> {
    let Ok(document) = Document::parse(xml) else { return Vec::new() };
    let devices = document.root_element().children().filter(|node| node.has_tag_name("devices"));
    let disks = devices.flat_map(|devices| devices.children()).filter(|node| node.has_tag_name("disk"));
    disks.filter_map(disk).collect()
}

fn disk(node: Node<'_, '_>) -> Option<Disk> {
    let has = |name: &str| node.children().any(|child| child.has_tag_name(name));
    let is_disk = node.attribute("device").is_none_or(|device| device == "disk");
    let own = is_disk && !has("readonly") && !has("shareable");
    let deeper = node.descendants().filter(|node| node.has_tag_name("backingStore") || node.has_tag_name("mirror"));
    Some(Disk { source: source(node)?, own, under: deeper.filter_map(source).collect() })
}

/// What the `<source>` right below a disk, or below what it stands on, names.
fn source(node: Node<'_, '_>) -> Option<DiskSource> {
    let source = node.children().find(|child| child.has_tag_name("source"))?;
    let path = ["file", "dev", "dir"].into_iter().find_map(|name| source.attribute(name));
    if let Some(path) = path {
        return Some(DiskSource::Path(path.to_owned()));
    }
    match (source.attribute("pool"), source.attribute("volume")) {
        (Some(pool), Some(volume)) => Some(DiskSource::Volume(pool.to_owned(), volume.to_owned())),
        _ => Some(DiskSource::Other(node.attribute("type").unwrap_or("strange").to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disks_of_every_kind_are_read() {
        let path = |path: &str| DiskSource::Path(path.to_owned());
        let disk = |source, own| Disk { source, own, under: Vec::new() };
        for (xml, wanted) in [
            (
                "<disk type='file' device='disk'><source file='/p/a.qcow2'/></disk>",
                Some(disk(path("/p/a.qcow2"), true)),
            ),
            ("<disk type='block'><source dev='/dev/vg/a'/></disk>", Some(disk(path("/dev/vg/a"), true))),
            (
                "<disk type='volume' device='disk'><source pool='p' volume='v'/></disk>",
                Some(disk(DiskSource::Volume("p".to_owned(), "v".to_owned()), true)),
            ),
            (
                "<disk type='network' device='disk'><source protocol='rbd' name='a/b'/></disk>",
                Some(disk(DiskSource::Other("network".to_owned()), true)),
            ),
            ("<disk type='file' device='cdrom'><source file='/i.iso'/></disk>", Some(disk(path("/i.iso"), false))),
            ("<disk type='file'><source file='/s'/><shareable/></disk>", Some(disk(path("/s"), false))),
            ("<disk type='file'><source file='/r'/><readonly/></disk>", Some(disk(path("/r"), false))),
            ("<disk type='file' device='cdrom'><target dev='sda'/></disk>", None),
            (
                "<disk type='file'><source file='/a'/><backingStore type='file'><source file='/b'/><backingStore \
                 type='file'><source file='/c'/><backingStore/></backingStore></backingStore></disk>",
                Some(Disk { under: vec![path("/b"), path("/c")], ..disk(path("/a"), true) }),
            ),
        ] {
            let found = read(&format!("<domain><devices>{xml}</devices></domain>"));
            assert_eq!(found, wanted.into_iter().collect::<Vec<_>>(), "{xml}");
        }
        assert_eq!(read("<domain"), Vec::new());
    }
}
