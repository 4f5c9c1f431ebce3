//! Looks into Debian packages (deb(5), format 2): an ar archive of `debian-binary`, `control.tar` and `data.tar`.

use std::io::{self, Read};

use flate2::read::MultiGzDecoder;
use lzma_rust2::XzReader;
use ruzstd::decoding::StreamingDecoder;

use super::unpack::{self, Limits, UnpackError};
use crate::config::Arch;

/// Before the first member (ar(5)).
const MAGIC: &[u8; 8] = b"!<arch>\n";
/// Size of a member's header.
const HEAD: usize = 60;
/// Most bytes of `control.tar`, packed or not; the largest of Debian have some MiB, for their lists of files.
const MAX_CONTROL: u64 = 32 << 20;
/// What unpacking may hold in memory, in KiB; `xz -9` takes 65 MiB.
const MAX_MEMORY: u32 = 80 << 10;
/// What may be in `control.tar`.
const LIMITS: Limits = Limits { entries: 200, bytes: MAX_CONTROL };

/// Why a file is no package that the nodes can install.
#[derive(Debug, thiserror::Error)]
pub enum DebError {
    /// No ar archive.
    #[error("it is not a Debian package")]
    NotAPackage,
    /// A format that this is not.
    #[error("its format is {found:?} instead of 2.0")]
    Format {
        /// What `debian-binary` says, shortened.
        found: String,
    },
    /// The members are not those of a package.
    #[error("{found:?} stands where {wanted} should")]
    Member {
        /// The member that must come.
        wanted: &'static str,
        /// The one that does.
        found: String,
    },
    /// A member that is larger than the file or than any should be.
    #[error("{member} has a wrong size")]
    Size {
        /// The member.
        member: String,
    },
    /// `control.tar` cannot be read.
    #[error("{member} is refused")]
    Control {
        /// Its name with its ending.
        member: String,
        /// Why.
        #[source]
        source: UnpackError,
    },
    /// No architecture is named.
    #[error("it does not say for which architecture it is")]
    NoArchitecture,
    /// For other machines.
    #[error("it is built for {got}, not for {wanted}")]
    Architecture {
        /// The nodes' architecture.
        wanted: Arch,
        /// The package's.
        got: String,
    },
    /// The file cannot be read, or ends early.
    #[error("it cannot be read")]
    Read {
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Checks that a package can be installed on nodes of an architecture. The data in it is not looked at: dpkg does that.
pub fn examine(mut deb: impl Read, arch: Arch) -> Result<(), DebError> {
    let mut magic = [0; MAGIC.len()];
    if fill(&mut deb, &mut magic)? != magic.len() || magic != *MAGIC {
        return Err(DebError::NotAPackage);
    }
    let version = member(&mut deb, "debian-binary")?;
    let text = contents(&mut deb, &version, 64)?;
    // Only the major number says that a reader cannot go on (deb(5)).
    if !text.starts_with(b"2.") {
        let found = String::from_utf8_lossy(&text).trim_end().to_owned();
        return Err(DebError::Format { found });
    }
    let control = member(&mut deb, "control.tar")?;
    let packed = contents(&mut deb, &control, MAX_CONTROL)?;
    let got = architecture(&control.name, &packed)?;
    if got != "all" && got != arch.to_string() {
        return Err(DebError::Architecture { wanted: arch, got });
    }
    let data = member(&mut deb, "data.tar")?;
    let there = io::copy(&mut deb.take(data.size), &mut io::sink()).map_err(|source| DebError::Read { source })?;
    if there == data.size { Ok(()) } else { Err(DebError::Size { member: data.name }) }
}

struct MemberHead {
    name: String,
    size: u64,
}

/// Reads a member's header; its name must start with `wanted`.
fn member(deb: &mut impl Read, wanted: &'static str) -> Result<MemberHead, DebError> {
    let mut head = [0; HEAD];
    let count = fill(deb, &mut head)?;
    let shown = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().trim_end_matches('/').to_owned();
    let name = shown(&head[..16.min(count)]);
    if count != HEAD || &head[58..] != b"`\n" || !name.starts_with(wanted) {
        return Err(DebError::Member { wanted, found: name });
    }
    match shown(&head[48..58]).parse() {
        Ok(size) => Ok(MemberHead { name, size }),
        Err(_) => Err(DebError::Size { member: name }),
    }
}

/// Reads a member whole, and the byte that makes its size even.
fn contents(deb: &mut impl Read, head: &MemberHead, limit: u64) -> Result<Vec<u8>, DebError> {
    let wrong = || DebError::Size { member: head.name.clone() };
    if head.size > limit {
        return Err(wrong());
    }
    let mut bytes = Vec::new();
    let padded = head.size.next_multiple_of(2);
    deb.take(padded).read_to_end(&mut bytes).map_err(|source| DebError::Read { source })?;
    if bytes.len() as u64 != padded {
        return Err(wrong());
    }
    bytes.truncate(usize::try_from(head.size).unwrap_or(usize::MAX));
    Ok(bytes)
}

fn fill(reader: &mut impl Read, bytes: &mut [u8]) -> Result<usize, DebError> {
    let mut read = Vec::new();
    reader.take(bytes.len() as u64).read_to_end(&mut read).map_err(|source| DebError::Read { source })?;
    bytes[..read.len()].copy_from_slice(&read);
    Ok(read.len())
}

/// `Architecture:` of the file `control`.
fn architecture(member: &str, packed: &[u8]) -> Result<String, DebError> {
    let refused = |source| DebError::Control { member: member.to_owned(), source };
    let mut control = Vec::new();
    let walked = unpack::files(open(member, packed)?, LIMITS, |file| {
        if file.path == "control" {
            file.data.read_to_end(&mut control).map_err(|source| UnpackError::Read { source })?;
        }
        Ok(())
    });
    walked.map_err(refused)?;
    let control = String::from_utf8_lossy(&control);
    let field = control.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case("Architecture").then(|| value.trim().to_owned())
    });
    field.filter(|value| !value.is_empty()).ok_or(DebError::NoArchitecture)
}

/// Unpacks `control.tar` by the ending of its name.
fn open<'p>(member: &str, packed: &'p [u8]) -> Result<Box<dyn Read + 'p>, DebError> {
    let tar: Box<dyn Read + 'p> = match member.strip_prefix("control.tar") {
        Some("") => Box::new(packed),
        Some(".gz") => Box::new(MultiGzDecoder::new(packed)),
        Some(".xz") => Box::new(XzReader::new_mem_limit(packed, true, MAX_MEMORY)),
        Some(".zst") => {
            let frame = StreamingDecoder::new(packed).map_err(|error| DebError::Control {
                member: member.to_owned(),
                source: UnpackError::Read { source: io::Error::new(io::ErrorKind::InvalidData, error) },
            });
            Box::new(frame?)
        }
        _ => return Err(DebError::Member { wanted: "control.tar", found: member.to_owned() }),
    };
    // Padding and headers of entries come on top of the entries' own limit.
    Ok(Box::new(tar.take(2 * MAX_CONTROL)))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::error::Error;
    use std::process::Command;

    use super::*;
    use crate::image::unpack::tests::plain_files;

    /// An ar archive of these members.
    fn ar(members: &[(&str, &[u8])]) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        for (name, data) in members {
            bytes.extend(format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, 100_644, data.len()).bytes());
            bytes.extend_from_slice(data);
            bytes.resize(bytes.len().next_multiple_of(2), b'\n');
        }
        bytes
    }

    fn tar(files: &[(&str, &str)]) -> Vec<u8> {
        plain_files(files).into_inner().unwrap()
    }

    fn control(text: &str) -> Vec<u8> {
        tar(&[("./control", text), ("./postinst", "#!/bin/sh\n")])
    }

    fn message(deb: &[u8]) -> Result<(), String> {
        examine(deb, Arch::Amd64).map_err(|error| {
            let chain = std::iter::successors(Some(&error as &dyn Error), |error| (*error).source());
            chain.map(ToString::to_string).collect::<Vec<_>>().join(": ")
        })
    }

    const AMD64: &str = "Package: x\nArchitecture: amd64\nDescription: x\n Architecture: arm64\n";

    #[test]
    fn takes_what_dpkg_makes_in_each_compression() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("x");
        std::fs::create_dir_all(root.join("DEBIAN")).unwrap();
        let text = "Package: x\nVersion: 1\nArchitecture: amd64\nMaintainer: x <x@example.org>\nDescription: x\n";
        std::fs::write(root.join("DEBIAN/control"), text).unwrap();
        for compression in ["none", "gzip", "xz", "zstd"] {
            let deb = folder.path().join(format!("{compression}.deb"));
            let made = Command::new("dpkg-deb")
                .args(["--root-owner-group", "--uniform-compression", &format!("-Z{compression}"), "--build"])
                .args([&root, &deb])
                .output()
                .unwrap();
            assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
            let deb = std::fs::read(deb).unwrap();
            assert_eq!(message(&deb), Ok(()), "{compression}");
            let other = examine(deb.as_slice(), Arch::Arm64).unwrap_err().to_string();
            assert_eq!(other, "it is built for amd64, not for arm64");
            assert_eq!(
                message(&deb[..deb.len() - 2]),
                Err("data.tar has a wrong size".to_owned()).map_err(|text| {
                    let ending = [("none", ""), ("gzip", ".gz"), ("xz", ".xz"), ("zstd", ".zst")];
                    let ending = ending.iter().find(|(name, _)| *name == compression).unwrap().1;
                    text.replace("data.tar", &format!("data.tar{ending}"))
                })
            );
        }
    }

    #[test]
    fn refuses_what_is_no_package_or_another_s() {
        let debian = ("debian-binary", &b"2.0\n"[..]);
        let data = ("data.tar", &b"data"[..]);
        let with = |text: &str| ar(&[debian, ("control.tar", &control(text)), data]);
        assert_eq!(message(&with(AMD64)), Ok(()));
        assert_eq!(message(&with("architecture:all")), Ok(()));
        let two = ar(&[("debian-binary", b"2.1\nmore\n"), ("control.tar/", &control(AMD64)), data]);
        assert_eq!(message(&two), Ok(()));
        let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        io::copy(&mut io::repeat(0).take(2 << 20), &mut bomb).unwrap();
        let bomb = bomb.finish().unwrap();
        let large = MemberHead { name: String::new(), size: MAX_CONTROL + 1 };
        let mut oversized = ar(&[debian, ("control.tar", b"")]);
        let at = oversized.len() - 12;
        oversized[at..at + 10].copy_from_slice(format!("{:<10}", large.size).as_bytes());
        let cases = [
            (b"<html>".to_vec(), "it is not a Debian package"),
            (MAGIC.to_vec(), "\"\" stands where debian-binary should"),
            (ar(&[("debian-binary", b"3.0\n")]), "its format is \"3.0\" instead of 2.0"),
            (ar(&[data]), "\"data.tar\" stands where debian-binary should"),
            (ar(&[debian, data]), "\"data.tar\" stands where control.tar should"),
            (ar(&[debian, ("control.tar.bz2", b"")]), "\"control.tar.bz2\" stands where control.tar should"),
            (ar(&[debian, ("control.tar", &control(AMD64))]), "\"\" stands where data.tar should"),
            (oversized, "control.tar has a wrong size"),
            (with("Package: x\n"), "it does not say for which architecture it is"),
            (with("Architecture: arm64\n"), "it is built for arm64, not for amd64"),
            (
                ar(&[debian, ("control.tar.xz", b"no xz"), data]),
                "control.tar.xz is refused: it cannot be read as an archive: failed to fill whole buffer",
            ),
            (
                ar(&[debian, ("control.tar.zst", b"no zst"), data]),
                "control.tar.zst is refused: it cannot be read as an archive: \
                 BadMagicNumber(2048946030): Read wrong magic number: 0x7A206F6E",
            ),
            (
                ar(&[debian, ("control.tar.gz", &bomb), data]),
                "control.tar.gz is refused: data follows the end of the archive",
            ),
        ];
        for (deb, wanted) in cases {
            assert_eq!(message(&deb), Err(wanted.to_owned()));
        }
    }
}
