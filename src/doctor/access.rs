//! Whether QEMU's user gets to a pool's folder: it must be allowed to pass through (x) every folder above it, and through
//! the folder itself. libvirt gives QEMU the files, not the way to them.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// The user that QEMU runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct User {
    /// Its name, else its number.
    pub(super) name: String,
    /// Its number.
    pub(super) uid: u32,
    /// All groups that it is in.
    pub(super) gids: BTreeSet<u32>,
}

impl User {
    /// By its numbers; its name and further groups from passwd(5) and group(5), as far as they stand there.
    pub(super) fn find(uid: u32, gid: u32) -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        Self::parse(uid, gid, &read("/etc/passwd"), &read("/etc/group"))
    }

    fn parse(uid: u32, gid: u32, passwd: &str, group: &str) -> Self {
        let named = passwd.lines().find_map(|line| {
            let fields: Vec<_> = line.split(':').collect();
            (fields.get(2)?.parse() == Ok(uid)).then(|| fields[0].to_owned())
        });
        let member = |line: &str| {
            let fields: Vec<_> = line.split(':').collect();
            let within = fields.get(3)?.split(',').any(|member| Some(member) == named.as_deref());
            fields.get(2)?.parse().ok().filter(|_| within)
        };
        let gids = group.lines().filter_map(member).chain([gid]).collect();
        Self { name: named.unwrap_or_else(|| uid.to_string()), uid, gids }
    }
}

/// A folder on the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Folder {
    /// Where it is.
    pub(super) path: PathBuf,
    /// Device and inode, by which it is known wherever it is met.
    pub(super) inode: (u64, u64),
    /// Its permission bits.
    pub(super) mode: u32,
    /// Its owner.
    pub(super) uid: u32,
    /// Its group.
    pub(super) gid: u32,
    /// Its access control list, where it has one.
    pub(super) acl: Option<Vec<u8>>,
}

impl Folder {
    fn read(path: &Path) -> io::Result<Self> {
        let found = fs::metadata(path)?;
        let mut acl = vec![0; 4096];
        let length = rustix::fs::getxattr(path, "system.posix_acl_access", &mut acl);
        let acl = length.ok().map(|length| acl[..length].to_vec());
        let (inode, mode) = ((found.dev(), found.ino()), found.mode() & 0o7777);
        Ok(Self { path: path.to_owned(), inode, mode, uid: found.uid(), gid: found.gid(), acl })
    }

    /// Whether a user may pass through. root gets no more than others: libvirt takes QEMU's capabilities away.
    pub(super) fn lets_through(&self, user: &User) -> bool {
        let listed = self.acl.as_deref().and_then(|acl| allowed_by_list(acl, self, user));
        listed.unwrap_or_else(|| self.mode & self.class(user).1 != 0)
    }

    /// Whom chmod(1) has to name so that the user may pass, and the bit that this sets: only one class counts for a user.
    fn class(&self, user: &User) -> (char, u32) {
        if self.uid == user.uid {
            ('u', 0o100)
        } else if user.gids.contains(&self.gid) {
            ('g', 0o010)
        } else {
            ('o', 0o001)
        }
    }

    /// Commands of which one lets the user pass through.
    pub(super) fn opened_by(&self, user: &User) -> String {
        let path = quoted(&self.path);
        let (class, _) = self.class(user);
        let chmod = format!("chmod {class}+x {path}");
        let setfacl = format!("setfacl -m u:{}:x {path}", user.name);
        match (class, &self.acl) {
            ('u', _) => chmod,
            // The mode's bits for a group are then a limit for others too.
            (_, Some(_)) => setfacl,
            (_, None) => format!("{setfacl}, or: {chmod}"),
        }
    }
}

/// A path as a shell takes it.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@%:,=".contains(c);
    if text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

/// What an access control list says, as the kernel keeps it in an extended attribute: a version (2) in four bytes, then
/// entries of tag, permissions and number in two, two and four, all little-endian. The order of acl(5): owner, named users,
/// groups, others; the mask limits named users and all groups. None if it cannot be read.
fn allowed_by_list(acl: &[u8], folder: &Folder, user: &User) -> Option<bool> {
    const EXECUTE: u16 = 1;
    let (version, entries) = acl.split_first_chunk::<4>()?;
    if u32::from_le_bytes(*version) != 2 || entries.len() % 8 != 0 {
        return None;
    }
    let entries: Vec<(u16, bool, u32)> = entries
        .chunks_exact(8)
        .map(|entry| {
            let half = |at| u16::from_le_bytes([entry[at], entry[at + 1]]);
            let id = u32::from_le_bytes([entry[4], entry[5], entry[6], entry[7]]);
            (half(0), half(2) & EXECUTE != 0, id)
        })
        .collect();
    let of = |tag: u16| entries.iter().filter(move |entry| entry.0 == tag);
    let masked = of(0x10).all(|entry| entry.1);
    if folder.uid == user.uid {
        return of(0x01).map(|entry| entry.1).next();
    }
    if let Some(named) = of(0x02).find(|entry| entry.2 == user.uid) {
        return Some(named.1 && masked);
    }
    let owning = of(0x04).filter(|_| user.gids.contains(&folder.gid));
    let mut groups = owning.chain(of(0x08).filter(|entry| user.gids.contains(&entry.2))).peekable();
    if groups.peek().is_some() {
        return Some(groups.any(|entry| entry.1) && masked);
    }
    of(0x20).map(|entry| entry.1).next()
}

/// The way to a folder, as far as it is there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Way {
    /// Every folder on it, from the root on.
    pub(super) folders: Vec<Folder>,
    /// What is there and could not be looked at by this user.
    pub(super) unseen: Option<PathBuf>,
}

impl Way {
    /// The way to all of these; where a link is on it, also the way to where that leads.
    pub(super) fn to(paths: &[PathBuf]) -> Self {
        let mut way = Self::default();
        for path in paths {
            way.follow(path);
            if let Some(real) = path.ancestors().find_map(|folder| folder.canonicalize().ok()) {
                way.follow(&real);
            }
        }
        way
    }

    fn follow(&mut self, path: &Path) {
        let mut above: Vec<_> = path.ancestors().collect();
        above.reverse();
        for folder in above {
            match Folder::read(folder) {
                Ok(folder) if self.folders.iter().all(|seen| seen.inode != folder.inode) => self.folders.push(folder),
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    self.unseen.get_or_insert_with(|| folder.to_owned());
                }
                Ok(_) | Err(_) => {}
            }
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn qemu() -> User {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nlibvirt-qemu:x:64055:108::/:/bin/false\n";
        User::parse(64055, 108, passwd, "kvm:x:108:\ndisk:x:6:a,libvirt-qemu\nvideo:x:44:a\nbroken\n")
    }

    fn folder(mode: u32, uid: u32, gid: u32, acl: Option<&[(u16, u16, u32)]>) -> Folder {
        let entry = |(tag, bits, id): &(u16, u16, u32)| {
            [&tag.to_le_bytes()[..], &bits.to_le_bytes(), &id.to_le_bytes()].concat()
        };
        let acl = acl.map(|acl| acl.iter().fold(vec![2, 0, 0, 0], |bytes, next| [bytes, entry(next)].concat()));
        Folder { path: "/folder".into(), inode: (0, 0), mode, uid, gid, acl }
    }

    #[test]
    fn a_user_is_known_by_name_and_groups() {
        assert_eq!(qemu(), User { name: "libvirt-qemu".to_owned(), uid: 64055, gids: [6, 108].into() });
        assert_eq!(User::parse(7, 8, "", ""), User { name: "7".to_owned(), uid: 7, gids: [8].into() });
    }

    #[test]
    fn the_mode_decides_by_owner_group_and_others() {
        for (mode, uid, gid, wanted) in [
            (0o755, 0, 0, true),
            (0o700, 1000, 1000, false),
            (0o711, 1000, 1000, true),
            (0o750, 1000, 1000, false),
            // Only the class that the user is in counts.
            (0o677, 64055, 0, false),
            (0o100, 64055, 0, true),
            (0o707, 0, 108, false),
            (0o710, 0, 6, true),
        ] {
            assert_eq!(folder(mode, uid, gid, None).lets_through(&qemu()), wanted, "{mode:o} {uid} {gid}");
        }
    }

    #[test]
    fn an_access_control_list_is_heeded() {
        const NONE: u32 = u32::MAX;
        let (owner, group, others) = ((0x01, 7, NONE), (0x04, 0, NONE), (0x20, 0, NONE));
        let (open, shut) = ((0x10, 7, NONE), (0x10, 6, NONE));
        for (acl, wanted) in [
            (&[owner, (0x02, 1, 64055), group, open, others][..], true),
            (&[owner, (0x02, 1, 64055), group, shut, others], false),
            (&[owner, (0x02, 6, 64055), group, open, (0x20, 1, NONE)], false),
            (&[owner, (0x02, 1, 1000), group, open, others], false),
            (&[owner, group, (0x08, 1, 6), open, others], true),
            (&[owner, group, (0x08, 1, 7), open, others], false),
            (&[owner, group, open, (0x20, 1, NONE)], true),
        ] {
            // The mode's middle bits are the mask then, and say nothing of the group.
            assert_eq!(folder(0o750, 0, 0, Some(acl)).lets_through(&qemu()), wanted, "{acl:?}");
        }
        let of_the_group = [owner, (0x04, 1, NONE), open, others];
        assert!(folder(0o770, 0, 108, Some(&of_the_group)).lets_through(&qemu()));
        // One that cannot be read leaves the mode.
        let broken = Folder { acl: Some(vec![3, 0, 0, 0]), ..folder(0o711, 0, 0, None) };
        assert!(broken.lets_through(&qemu()));
    }

    #[test]
    fn the_command_opens_to_the_class_that_counts() {
        let list = &[(0x01, 7, 0), (0x04, 0, 0), (0x10, 0, 0), (0x20, 0, 0)][..];
        let set = "setfacl -m u:libvirt-qemu:x /folder";
        for (folder, wanted) in [
            (folder(0o700, 1000, 1000, None), format!("{set}, or: chmod o+x /folder")),
            (folder(0o700, 1000, 108, None), format!("{set}, or: chmod g+x /folder")),
            (folder(0o600, 64055, 108, None), "chmod u+x /folder".to_owned()),
            (folder(0o700, 1000, 1000, Some(list)), set.to_owned()),
            (
                Folder { path: "/it's here".into(), ..folder(0o700, 1000, 1000, Some(list)) },
                r"setfacl -m u:libvirt-qemu:x '/it'\''s here'".to_owned(),
            ),
        ] {
            assert!(!folder.lets_through(&qemu()));
            assert_eq!(folder.opened_by(&qemu()), wanted);
        }
    }

    #[test]
    fn a_way_leads_through_links_and_ends_where_nothing_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::create_dir_all(path("other/real/deep")).unwrap();
        std::os::unix::fs::symlink(path("other/real"), path("link")).unwrap();
        let way = Way::to(&[path("link/deep/none/yet")]);
        let below =
            way.folders.iter().filter_map(|seen| seen.path.strip_prefix(folder.path()).ok()).collect::<Vec<_>>();
        assert_eq!(below, ["", "link", "link/deep", "other"].map(Path::new));
        assert_eq!((&way.folders[0].path, way.unseen), (&PathBuf::from("/"), None));
    }
}
