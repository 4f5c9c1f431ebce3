//! Reads tar archives that somebody else made: nothing in one can reach out of it, and it cannot fill memory or disk.

use std::collections::HashMap;
use std::io::{self, Read};

use tar::{Archive, EntryType, PaxExtensions};

/// Size of a header; data fills up to a multiple of it.
const BLOCK: u64 = 512;
/// Longest name or set of extended attributes that an archive may carry beside an entry, in bytes.
const MAX_EXTENSION: u64 = 16 << 10;
/// Longest path in bytes, and most names in one. With them, what is remembered of an archive is bounded by its number of
/// entries.
const MAX_PATH: usize = 512;
const MAX_DEPTH: usize = 16;
/// Most zeros after the end of an archive, in bytes; tar pads to its record size (10 KiB by default).
const MAX_PADDING: u64 = 1 << 20;

/// How much an archive may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Headers of any kind.
    pub entries: u64,
    /// Bytes of all entries' data, unpacked.
    pub bytes: u64,
}

/// What is wrong with an archive.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// An entry that no archive of ours has any business with.
    #[error("entry {path:?} is refused: {why}")]
    Refused {
        /// Its path as it stands in the archive.
        path: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A bomb, or the wrong file.
    #[error("it holds more than {} entries or {} bytes", limits.entries, limits.bytes)]
    TooMuch {
        /// What was allowed.
        limits: Limits,
    },
    /// Something after the end of the archive.
    #[error("data follows the end of the archive")]
    Trailing,
    /// It is no archive, it is damaged or cut off, or it cannot be read.
    #[error("it cannot be read as an archive")]
    Read {
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl UnpackError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Refused { .. } | Self::TooMuch { .. } | Self::Trailing | Self::Read { .. } => Some(
                "its bytes are those that were locked: check that the lock file names the archive that you mean"
                    .to_owned(),
            ),
        }
    }
}

/// A regular file in an archive. Whatever its owner there, it will belong to root.
pub struct Member<'a> {
    /// Relative and plain: `bin/containerd`.
    pub path: String,
    /// In bytes.
    pub size: u64,
    /// Where its header stands in the tar stream, in bytes.
    pub at: u64,
    /// Its data; what is left unread is passed over.
    pub data: &'a mut dyn Read,
}

impl Member<'_> {
    /// Before here no other header can come in the tar stream, in bytes.
    pub fn end(&self) -> u64 {
        let data = self.size.div_ceil(BLOCK).saturating_mul(BLOCK);
        self.at.saturating_add(BLOCK).saturating_add(data)
    }
}

/// Hands every regular file of a tar stream (already decompressed) to `visit`, in the archive's order, and reads the
/// stream to its end, so that a compressor's checksum behind it is checked. Refused are absolute paths, "..", links that
/// leave, hard links to what is not in the archive, devices, set-id bits, sparse files, and two entries of one name.
/// Returns what else is there: the paths of links, sorted.
pub fn files<E: From<UnpackError>>(
    tar: impl Read,
    limits: Limits,
    mut visit: impl FnMut(Member<'_>) -> Result<(), E>,
) -> Result<Vec<String>, E> {
    let read = |source| UnpackError::Read { source };
    let mut archive = Archive::new(tar);
    let mut checker = Checker::new(limits);
    for entry in archive.entries().map_err(read)?.raw(true) {
        let mut entry = entry.map_err(read)?;
        let size = entry.size();
        checker.count(size)?;
        let header = entry.header().clone();
        if let Some(path) = checker.check(&header, size, &mut entry)? {
            let at = entry.raw_header_position();
            visit(Member { path, size, at, data: &mut entry })?;
        }
    }
    check_end(archive.into_inner())?;
    let links = checker.seen.into_iter().filter(|(_, seen)| *seen == Seen::Link);
    let mut links: Vec<_> = links.map(|(path, _)| path).collect();
    links.sort();
    Ok(links)
}

/// Reads on to the end; only zeros may come.
fn check_end(rest: impl Read) -> Result<(), UnpackError> {
    let mut rest = rest.take(MAX_PADDING + 1);
    let mut piece = [0; 4096];
    loop {
        match rest.read(&mut piece) {
            Ok(0) if rest.limit() == 0 => return Err(UnpackError::Trailing),
            Ok(0) => return Ok(()),
            Ok(count) if piece[..count].iter().any(|byte| *byte != 0) => return Err(UnpackError::Trailing),
            Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                return Err(UnpackError::Read { source: error });
            }
            _ => {}
        }
    }
}

/// What stands at a path of the archive.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Seen {
    /// Something stood beneath it.
    Above,
    Directory,
    File,
    Link,
}

/// Judges entry after entry.
struct Checker {
    limits: Limits,
    entries: u64,
    bytes: u64,
    seen: HashMap<String, Seen>,
    /// Path and link target for the next entry, from extension headers.
    long_path: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
}

impl Checker {
    fn new(limits: Limits) -> Self {
        Self { limits, entries: 0, bytes: 0, seen: HashMap::new(), long_path: None, long_link: None }
    }

    fn count(&mut self, size: u64) -> Result<(), UnpackError> {
        self.entries += 1;
        self.bytes = self.bytes.saturating_add(size);
        if self.entries > self.limits.entries || self.bytes > self.limits.bytes {
            return Err(UnpackError::TooMuch { limits: self.limits });
        }
        Ok(())
    }

    /// The plain path of a regular file; none for anything else that is allowed.
    fn check(&mut self, header: &tar::Header, size: u64, data: &mut impl Read) -> Result<Option<String>, UnpackError> {
        let kind = header.entry_type();
        if self.extension(kind, size, data)? {
            return Ok(None);
        }
        let path = self.long_path.take().unwrap_or_else(|| header.path_bytes().into_owned());
        let target = self.long_link.take().or_else(|| header.link_name_bytes().map(std::borrow::Cow::into_owned));
        let shown = String::from_utf8_lossy(&path).into_owned();
        let refuse = |why| UnpackError::Refused { path: shown.clone(), why };
        let path = std::str::from_utf8(&path).map_err(|_| refuse("its name is not UTF-8"))?;
        let path = plain(path, kind == EntryType::Directory).map_err(refuse)?;
        if header.mode().map_err(|_| refuse("its mode is no number"))? & 0o6000 != 0 {
            return Err(refuse("it has a set-id bit"));
        }
        let seen = match kind {
            EntryType::Regular | EntryType::Continuous => Seen::File,
            EntryType::Directory => Seen::Directory,
            EntryType::Symlink | EntryType::Link => {
                self.check_link(&path, kind, target.as_deref()).map_err(refuse)?;
                Seen::Link
            }
            EntryType::Block | EntryType::Char | EntryType::Fifo => return Err(refuse("it is a device or pipe")),
            _ => return Err(refuse("it is of a kind that is not supported")),
        };
        if seen != Seen::File && size != 0 {
            return Err(refuse("only a file can have data"));
        }
        self.remember(&path, seen).map_err(refuse)?;
        Ok((seen == Seen::File).then_some(path))
    }

    /// Takes in a header that only says more of the next entry.
    fn extension(&mut self, kind: EntryType, size: u64, data: &mut impl Read) -> Result<bool, UnpackError> {
        use EntryType::{GNULongLink, GNULongName, XGlobalHeader, XHeader};
        if !matches!(kind, GNULongName | GNULongLink | XHeader | XGlobalHeader) {
            return Ok(false);
        }
        let refuse = |why| UnpackError::Refused { path: "(extension header)".to_owned(), why };
        if size > MAX_EXTENSION {
            return Err(refuse("it is larger than 16 KiB"));
        }
        let mut bytes = Vec::new();
        data.read_to_end(&mut bytes).map_err(|source| UnpackError::Read { source })?;
        match kind {
            GNULongName | GNULongLink => {
                let slot = if kind == GNULongName { &mut self.long_path } else { &mut self.long_link };
                let text = bytes.strip_suffix(b"\0").unwrap_or(&bytes).to_vec();
                if slot.replace(text).is_some() {
                    return Err(refuse("it gives a second name to one entry"));
                }
            }
            _ => self.pax(&bytes, kind == XHeader).map_err(refuse)?,
        }
        Ok(true)
    }

    /// POSIX.1-2001 extended headers: names are taken, what would change sizes or data is refused.
    fn pax(&mut self, bytes: &[u8], local: bool) -> Result<(), &'static str> {
        for extension in PaxExtensions::new(bytes) {
            let extension = extension.map_err(|_| "it is malformed")?;
            let slot = match extension.key_bytes() {
                b"path" => &mut self.long_path,
                b"linkpath" => &mut self.long_link,
                b"size" => return Err("sizes above 8 GiB are not supported"),
                key if key.starts_with(b"GNU.sparse.") => return Err("sparse files are not supported"),
                _ => continue,
            };
            if !local {
                return Err("it names all entries that follow");
            }
            if slot.replace(extension.value_bytes().to_vec()).is_some() {
                return Err("it gives a second name to one entry");
            }
        }
        Ok(())
    }

    fn check_link(&self, path: &str, kind: EntryType, target: Option<&[u8]>) -> Result<(), &'static str> {
        let target = std::str::from_utf8(target.ok_or("it has no target")?).map_err(|_| "its target is not UTF-8")?;
        if kind == EntryType::Link {
            let target = plain(target, false).map_err(|_| "it links out of the archive")?;
            return match self.seen.get(&target) {
                Some(Seen::File) => Ok(()),
                _ => Err("it links to something that is no file of the archive"),
            };
        }
        if target.is_empty() || target.starts_with('/') || target.contains('\0') {
            return Err("it links out of the archive");
        }
        // What is above a link are real folders, so that a ".." at the start of its target goes where it seems to. Behind
        // a name it goes up from wherever that leads, if the name is a link's too.
        let (mut depth, mut named) = (path.matches('/').count(), false);
        for name in target.split('/') {
            match name {
                "" | "." => {}
                ".." if named => return Err("its target has \"..\" behind a name"),
                ".." => depth = depth.checked_sub(1).ok_or("it links out of the archive")?,
                _ => named = true,
            }
        }
        Ok(())
    }

    fn remember(&mut self, path: &str, seen: Seen) -> Result<(), &'static str> {
        for (at, _) in path.match_indices('/') {
            match self.seen.get(&path[..at]) {
                Some(Seen::Directory | Seen::Above) => {}
                Some(Seen::File | Seen::Link) => return Err("it stands beneath a file or link"),
                None => drop(self.seen.insert(path[..at].to_owned(), Seen::Above)),
            }
        }
        match self.seen.insert(path.to_owned(), seen) {
            None => Ok(()),
            Some(Seen::Directory | Seen::Above) if seen == Seen::Directory => Ok(()),
            Some(_) => Err("it is there twice"),
        }
    }
}

/// A relative path with no "..", a leading "./" taken off; empty for the archive's own top folder.
fn plain(path: &str, directory: bool) -> Result<String, &'static str> {
    if path.starts_with('/') {
        return Err("its path is absolute");
    }
    if path.contains(char::is_control) {
        return Err("its path has a control character in it");
    }
    if path.len() > MAX_PATH || path.split('/').count() > MAX_DEPTH {
        return Err("its path is longer than 512 bytes or 16 names");
    }
    let path = if directory { path.strip_suffix('/').unwrap_or(path) } else { path };
    if directory && path == "." {
        return Ok(String::new());
    }
    let path = path.strip_prefix("./").unwrap_or(path);
    if path.split('/').any(|name| matches!(name, "" | "." | "..")) {
        return Err("its path has an empty name, \".\" or \"..\" in it");
    }
    Ok(path.to_owned())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
pub(super) mod tests {
    use tar::{Builder, Header};

    use super::*;

    /// A tar archive of plain files, for the tests of all that reads one; more can be added behind them.
    pub(in crate::image) fn plain_files<P: AsRef<str>, D: AsRef<[u8]>>(files: &[(P, D)]) -> Builder<Vec<u8>> {
        let mut builder = Builder::new(Vec::new());
        for (path, data) in files {
            let mut header = Header::new_gnu();
            header.set_mode(0o644);
            header.set_size(data.as_ref().len() as u64);
            builder.append_data(&mut header, path.as_ref(), data.as_ref()).unwrap();
        }
        builder
    }

    const LIMITS: Limits = Limits { entries: 8, bytes: 10_000 };

    /// A header whose path and target are set without the tar crate's own checks.
    fn header(kind: EntryType, path: &str, target: &str, mode: u32, size: u64) -> Header {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        header.as_old_mut().linkname[..target.len()].copy_from_slice(target.as_bytes());
        header.set_mode(mode);
        header.set_size(size);
        header.set_cksum();
        header
    }

    /// Kind, path, link target, mode and data of an entry.
    type Spec<'a> = (EntryType, &'a str, &'a str, u32, &'a [u8]);
    /// The last path, or which one is refused and why.
    type Judged<'a> = Result<&'a str, (&'a str, &'a str)>;

    fn archive(entries: &[Spec<'_>]) -> Vec<u8> {
        let mut builder = Builder::new(Vec::new());
        for (kind, path, target, mode, data) in entries {
            builder.append(&header(*kind, path, target, *mode, data.len() as u64), *data).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn listing(tar: &[u8]) -> Result<Vec<(String, Vec<u8>)>, String> {
        let mut got = Vec::new();
        files(tar, LIMITS, |member| {
            let mut data = Vec::new();
            member.data.read_to_end(&mut data).map_err(|source| UnpackError::Read { source })?;
            got.push((member.path, data));
            Ok::<_, UnpackError>(())
        })
        .map_err(|error| error.to_string())?;
        Ok(got)
    }

    #[test]
    fn yields_regular_files_under_plain_names() {
        use EntryType::{Directory, Link, Regular, Symlink, XGlobalHeader};
        let long = "n".repeat(150);
        let mut builder = Builder::new(archive(&[]));
        let mut plain = header(Regular, "x", "", 0o755, 1);
        builder.append_data(&mut plain, &long, &b"l"[..]).unwrap();
        let got = listing(&builder.into_inner().unwrap()[1024..]);
        assert_eq!(got, Ok(vec![(long, b"l".to_vec())]));

        let got = listing(&archive(&[
            (XGlobalHeader, "g", "", 0, b"13 comment=x\n"),
            (Directory, "./", "", 0o755, b""),
            (Directory, "./bin/", "", 0o1755, b""),
            (Regular, "./bin/ctr", "", 0o755, b"one"),
            (Symlink, "bin/link", "../bin/./ctr", 0o777, b""),
            (Link, "bin/hard", "./bin/ctr", 0o755, b""),
            (Directory, "bin", "", 0o755, b""),
            (Regular, "LICENSE", "", 0o644, b""),
        ]));
        assert_eq!(got, Ok(vec![("bin/ctr".to_owned(), b"one".to_vec()), ("LICENSE".to_owned(), Vec::new())]));
    }

    #[test]
    fn refuses_what_reaches_out() {
        use EntryType::{Block, Char, Directory, Fifo, GNUSparse, Link, Regular, Symlink, XGlobalHeader, XHeader};
        let deep = ["d"; 17].join("/");
        let cases: [(Spec<'_>, &str); 25] = [
            ((Regular, "/etc/passwd", "", 0o644, b""), "its path is absolute"),
            ((Regular, "../x", "", 0o644, b""), "its path has an empty name, \".\" or \"..\" in it"),
            ((Regular, "a/../../x", "", 0o644, b""), "its path has an empty name, \".\" or \"..\" in it"),
            ((Regular, "a//x", "", 0o644, b""), "its path has an empty name, \".\" or \"..\" in it"),
            ((Regular, "x/", "", 0o644, b""), "its path has an empty name, \".\" or \"..\" in it"),
            ((Regular, "su", "", 0o4755, b""), "it has a set-id bit"),
            ((Regular, "sg", "", 0o2755, b""), "it has a set-id bit"),
            ((Symlink, "l", "/etc", 0o777, b""), "it links out of the archive"),
            ((Symlink, "a/l", "../../x", 0o777, b""), "it links out of the archive"),
            ((Symlink, "l", "b/../../b", 0o777, b""), "its target has \"..\" behind a name"),
            // Where b/c is a link to "..", this one leaves.
            ((Symlink, "l", "b/c/..", 0o777, b""), "its target has \"..\" behind a name"),
            ((Symlink, "l", "", 0o777, b""), "it has no target"),
            ((Link, "h", "../x", 0o644, b""), "it links out of the archive"),
            ((Regular, "a\nb", "", 0o644, b""), "its path has a control character in it"),
            ((Regular, &deep, "", 0o644, b""), "its path is longer than 512 bytes or 16 names"),
            ((Link, "h", "/etc/passwd", 0o644, b""), "it links out of the archive"),
            ((Link, "h", "unseen", 0o644, b""), "it links to something that is no file of the archive"),
            ((Char, "c", "", 0o644, b""), "it is a device or pipe"),
            ((Block, "b", "", 0o644, b""), "it is a device or pipe"),
            ((Fifo, "f", "", 0o644, b""), "it is a device or pipe"),
            ((GNUSparse, "s", "", 0o644, b""), "it is of a kind that is not supported"),
            ((Directory, "d", "", 0o755, b"x"), "only a file can have data"),
            ((XHeader, "x", "", 0, b"12 size=999\n"), "sizes above 8 GiB are not supported"),
            ((XHeader, "x", "", 0, b"9 path=\n"), "it is malformed"),
            ((XGlobalHeader, "g", "", 0, b"10 path=x\n"), "it names all entries that follow"),
        ];
        for ((kind, path, target, mode, data), why) in cases {
            let path_shown = if matches!(kind, XHeader | XGlobalHeader) { "(extension header)" } else { path };
            let wanted = format!("entry {path_shown:?} is refused: {why}");
            assert_eq!(listing(&archive(&[(kind, path, target, mode, data)])), Err(wanted));
        }
    }

    #[test]
    fn refuses_two_of_a_name_and_writing_through_links() {
        use EntryType::{Directory, Regular, Symlink};
        let cases: [[Spec<'_>; 2]; 6] = [
            [(Regular, "a", "", 0o644, b""), (Regular, "./a", "", 0o644, b"")],
            [(Directory, "a", "", 0o755, b""), (Regular, "a", "", 0o644, b"")],
            [(Symlink, "a", "b", 0o777, b""), (Regular, "a/x", "", 0o644, b"")],
            [(Regular, "a", "", 0o644, b""), (Regular, "a/x", "", 0o644, b"")],
            [(Regular, "a/x", "", 0o644, b""), (Symlink, "a", "b", 0o777, b"")],
            [(Regular, "a/b/x", "", 0o644, b""), (Regular, "a/b", "", 0o644, b"")],
        ];
        let wanted = [
            ("./a", "it is there twice"),
            ("a", "it is there twice"),
            ("a/x", "it stands beneath a file or link"),
            ("a/x", "it stands beneath a file or link"),
            ("a", "it is there twice"),
            ("a/b", "it is there twice"),
        ];
        for (entries, (path, why)) in cases.iter().zip(wanted) {
            assert_eq!(listing(&archive(entries)), Err(format!("entry {path:?} is refused: {why}")));
        }
    }

    /// What a header says of the next entry counts, not what that says itself.
    #[test]
    fn names_of_extension_headers_are_judged_alike() {
        use EntryType::{GNULongLink, GNULongName, Regular, Symlink, XHeader};
        let file = (Regular, "good", "", 0o644, &b"data"[..]);
        let link = (Symlink, "good", "fine", 0o777, &b""[..]);
        let cases: [(&[Spec<'_>], Judged<'_>); 9] = [
            (&[(GNULongName, "L", "", 0, b"long\0"), file], Ok("long")),
            (&[(XHeader, "x", "", 0, b"13 path=long\n"), file], Ok("long")),
            (&[(GNULongName, "L", "", 0, b"/etc/x\0"), file], Err(("/etc/x", "its path is absolute"))),
            (&[(XHeader, "x", "", 0, b"15 path=/etc/x\n"), file], Err(("/etc/x", "its path is absolute"))),
            (
                &[(XHeader, "x", "", 0, b"13 path=../x\n"), file],
                Err(("../x", "its path has an empty name, \".\" or \"..\" in it")),
            ),
            (&[(GNULongLink, "K", "", 0, b"/etc\0"), link], Err(("good", "it links out of the archive"))),
            (&[(XHeader, "x", "", 0, b"17 linkpath=/etc\n"), link], Err(("good", "it links out of the archive"))),
            (
                &[(GNULongName, "L", "", 0, b"a\0"), (XHeader, "x", "", 0, b"10 path=b\n"), file],
                Err(("(extension header)", "it gives a second name to one entry")),
            ),
            (&[(GNULongName, "L", "", 0, b"a\0b\0"), file], Err(("a\0b", "its path has a control character in it"))),
        ];
        for (entries, wanted) in cases {
            let wanted = wanted.map(|path| vec![(path.to_owned(), b"data".to_vec())]);
            let wanted = wanted.map_err(|(path, why)| format!("entry {path:?} is refused: {why}"));
            assert_eq!(listing(&archive(entries)), wanted);
        }
    }

    /// Position and end are what places in the payload follow from.
    #[test]
    fn members_know_where_they_stand() {
        use EntryType::{Directory, GNULongName, Regular};
        let tar = archive(&[
            (Directory, "d", "", 0o755, b""),
            (Regular, "a", "", 0o644, &[1; 513]),
            (GNULongName, "L", "", 0, b"long\0"),
            (Regular, "b", "", 0o644, b""),
        ]);
        let mut got = Vec::new();
        let links = files(tar.as_slice(), LIMITS, |member| {
            got.push((member.path.clone(), member.at, member.end()));
            Ok::<_, UnpackError>(())
        });
        assert_eq!(links.unwrap(), [""; 0]);
        assert_eq!(got, [("a".to_owned(), 512, 2048), ("long".to_owned(), 3072, 3584)]);
    }

    #[test]
    fn bounds_hold() {
        use EntryType::{GNULongName, Regular};
        let too_much = Err("it holds more than 8 entries or 10000 bytes".to_owned());
        let names: Vec<_> = (0..9).map(|number| number.to_string()).collect();
        let many: Vec<_> = names.iter().map(|name| (Regular, name.as_str(), "", 0o644, &b""[..])).collect();
        assert_eq!(listing(&archive(&many)), too_much);
        assert_eq!(listing(&archive(&[(Regular, "a", "", 0o644, &[0; 10_001])])), too_much);
        // A name of four gigabytes is refused by its header, before anything is read.
        assert_eq!(listing(header(GNULongName, "././@LongLink", "", 0, 4 << 30).as_bytes()), too_much);
        let mut trailing = archive(&[]);
        trailing.push(1);
        assert_eq!(listing(&trailing), Err("data follows the end of the archive".to_owned()));
        trailing.pop();
        trailing.resize(2 << 20, 0);
        assert_eq!(listing(&trailing), Err("data follows the end of the archive".to_owned()));
    }

    #[test]
    fn damage_is_told_and_never_panics() {
        use EntryType::{Directory, Link, Regular, Symlink};
        let whole = archive(&[
            (Directory, "bin", "", 0o755, b""),
            (Regular, "bin/ctr", "", 0o755, b"data"),
            (Symlink, "l", "bin", 0o777, b""),
            (Link, "h", "bin/ctr", 0o755, b""),
        ]);
        let cannot = Err("it cannot be read as an archive".to_owned());
        assert_eq!(listing(&whole[..700]), cannot);
        assert_eq!(listing(b"not an archive"), cannot);
        // Every byte of the headers turned into every of a few values; the checksum put right half of the time.
        for at in 0..2048 {
            for value in [0, b'7', 0xFF] {
                let mut bytes = whole.clone();
                bytes[at] = value;
                let plain = listing(&bytes);
                let start = at / 512 * 512;
                let mut header = Header::new_old();
                header.as_mut_bytes().copy_from_slice(&bytes[start..start + 512]);
                header.set_cksum();
                bytes[start..start + 512].copy_from_slice(header.as_bytes());
                let fixed = listing(&bytes);
                for got in [plain, fixed].into_iter().flatten() {
                    assert!(got.iter().all(|(path, _)| !path.starts_with('/') && !path.contains("..")), "{got:?}");
                }
            }
        }
    }
}
