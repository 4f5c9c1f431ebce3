//! Locks as they are made, written, read and compared.

#![expect(clippy::unwrap_used, reason = "tests")]

use jiff::Timestamp;

use super::make::One;
use super::text::HEADER;
use super::*;
use crate::artifacts::catalog::{Published, Signed};
use crate::artifacts::checksum::{Algorithm, Place};
use crate::artifacts::release::Release;
use crate::artifacts::signature::{Keyring, Signer};
use crate::artifacts::source::Source;
use crate::progress::Silent;

const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
const REASON: &str = "upstream publishes no signature";

fn url(text: &str) -> Url {
    Url::parse(text).unwrap()
}

fn published(version: &str, name: &str) -> Published {
    Published {
        url: url(&format!("https://example.org/{version}/{name}")),
        alternates: Vec::new(),
        checksums: url(&format!("https://example.org/{version}/SUMS")),
        algorithm: Algorithm::Sha256,
        place: Place::Named(name.to_owned()),
        signed: Signed::No(REASON.to_owned()),
    }
}

fn wanted(kind: Kind, version: &str, name: &str) -> Wanted {
    let supply = Supply::Fixed(published(version, name));
    Wanted { kind, version: version.to_owned(), arch: Arch::Amd64, supply }
}

fn given(kind: Kind, version: &str, from: Location, hex: &str) -> Wanted {
    let checksum = Algorithm::Sha256.parse(hex).unwrap();
    Wanted { kind, version: version.to_owned(), arch: Arch::Amd64, supply: Supply::Given { from, checksum } }
}

fn entry(kind: Kind, version: &str, name: &str) -> Entry {
    Entry {
        kind,
        arch: Arch::Amd64,
        version: version.to_owned(),
        from: Location::Url(Url::parse(&format!("https://example.org/{version}/{name}")).unwrap()),
        alternates: Vec::new(),
        size: 3,
        checksum: Algorithm::Sha256.parse(ABC).unwrap(),
        released: None,
        trust: Trust::Unsigned(REASON.to_owned()),
    }
}

fn make(wanted: &[Wanted], source: &Source, kept: &[Entry]) -> Result<Lock, LockError> {
    let now = Timestamp::from_second(1_795_300_000).unwrap();
    let how = Locking { source, kept, now, progress: &Silent };
    Lock::make_with(wanted, how, &|_| Keyring::read(include_str!("../fixtures/key.asc")))
}

/// A mirror with `files` under example.org.
fn mirror(files: &[(&str, &str)]) -> (tempfile::TempDir, Source) {
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = folder.path().join("example.org").join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let source = Source::new(&[folder.path().to_str().unwrap().to_owned()], false, None).unwrap();
    (folder, source)
}

#[test]
fn locks_what_the_mirror_publishes() {
    let sums = format!("{ABC}  a\n{ABC} *b\n");
    let (_folder, source) = mirror(&[("1.0.0/SUMS", &sums), ("1.0.0/a", "abc"), ("1.0.0/b", "abc")]);
    let wanted = [wanted(Kind::Runc, "1.0.0", "b"), wanted(Kind::Kubelet, "1.0.0", "a")];
    let lock = make(&wanted, &source, &[]).unwrap();
    assert_eq!(lock.entries(), [entry(Kind::Kubelet, "1.0.0", "a"), entry(Kind::Runc, "1.0.0", "b")]);
    assert_eq!(lock.get(Kind::Runc, Arch::Amd64), Some(&entry(Kind::Runc, "1.0.0", "b")));
    assert_eq!(lock.get(Kind::Runc, Arch::Arm64), None);
    assert_eq!(lock.fits(&wanted).unwrap(), [&entry(Kind::Runc, "1.0.0", "b"), &entry(Kind::Kubelet, "1.0.0", "a")]);
}

#[test]
fn names_every_missing_file_at_once() {
    let (folder, source) = mirror(&[("1.0.0/SUMS", &format!("{ABC}  a\n"))]);
    let wanted = [wanted(Kind::Kubelet, "1.0.0", "a"), wanted(Kind::Runc, "2.0.0", "b")];
    let error = make(&wanted, &source, &[]).unwrap_err();
    let lacks = |path: &str| {
        let place = folder.path().join("example.org").join(path);
        format!("the mirror lacks https://example.org/{path}: there is no {}", place.display())
    };
    assert_eq!(error.to_string(), format!("files are missing: {}; {}", lacks("1.0.0/a"), lacks("2.0.0/SUMS")));
    assert_eq!(
        error.hint().unwrap(),
        "a mirror holds each address under HOST/PATH, checksum files included: `wget -x https://example.org/1.0.0/a` \
         in its folder"
    );
    assert!(!error.is_about_the_lock());
}

#[test]
fn refuses_bad_checksum_files_and_empty_files() {
    for (sums, file, message) in [
        ("junk", "abc", "cannot lock runc 1.0.0 (amd64) from MIRROR/example.org/1.0.0/SUMS"),
        (&format!("{ABC}  a\n"), "", "runc 1.0.0 (amd64) is empty at MIRROR/example.org/1.0.0/a"),
        (&"x".repeat((1 << 20) + 1), "abc", "cannot lock runc 1.0.0 (amd64)"),
    ] {
        let (folder, source) = mirror(&[("1.0.0/SUMS", sums), ("1.0.0/a", file)]);
        let error = make(&[wanted(Kind::Runc, "1.0.0", "a")], &source, &[]).unwrap_err();
        assert_eq!(error.to_string().replace(folder.path().to_str().unwrap(), "MIRROR"), message);
    }
}

const TEXT: &str = "\
# Written by `nodebake lock` from the checksum files that upstream publishes; kept with nodebake.yaml. Nothing else goes
# into a node.
apiVersion: nodebake/v1
artifacts:
- kind: kubelet
  version: 1.0.0
  arch: amd64
  url: https://example.org/1.0.0/a
  size: 3
  sha256: ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad
  unsigned: upstream publishes no signature
- kind: base-image
  version: debian-13
  arch: amd64
  url: https://example.org/debian-13/b
  size: 3
  sha512: \
    ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f
  unsigned: upstream publishes no signature
";

#[test]
fn the_file_has_stable_bytes_and_is_written_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("nodebake.lock");
    let mut image = entry(Kind::BaseImage, "debian-13", "b");
    let mut hasher = Algorithm::Sha512.hasher();
    hasher.update(b"abc");
    image.checksum = hasher.finish();
    let lock = Lock::sorted(vec![image, entry(Kind::Kubelet, "1.0.0", "a")]);
    assert!(lock.save(&path).unwrap());
    assert_eq!(std::fs::read_to_string(&path).unwrap(), TEXT);
    assert_eq!(std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&path).unwrap()) & 0o777, 0o644);
    let written = std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(&path).unwrap());
    assert!(!lock.save(&path).unwrap());
    assert_eq!(std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(&path).unwrap()), written);
    assert_eq!(Lock::load(&path).unwrap(), lock);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn reads_strictly() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("nodebake.lock");
    let one = TEXT.split("- kind: base-image").next().unwrap();
    let url = "url: https://example.org/1.0.0/a";
    let invalid = [
        (one.replace("nodebake/v1", "nodebake/v2"), "apiVersion is \"nodebake/v2\", not nodebake/v1".to_owned()),
        (format!("{one}{}", one.split("artifacts:\n").nth(1).unwrap()), "kubelet (amd64) is listed twice".to_owned()),
        (one.replace("size: 3", "size: 0"), "kubelet (amd64): version and size must not be empty".to_owned()),
        (one.replace("1.0.0\n  arch", "\n  arch"), "kubelet (amd64): needs a version and no name".to_owned()),
        (one.replace(ABC, &ABC[1..]), format!("kubelet (amd64): {:?} is not a sha256 digest", &ABC[1..])),
        (one.replace("sha256", "sha512"), format!("kubelet (amd64): {ABC:?} is not a sha512 digest")),
        (one.replace(&format!("  sha256: {ABC}\n"), ""), "kubelet (amd64): needs either sha256 or sha512".to_owned()),
        (format!("{one}  sha512: ab\n"), "kubelet (amd64): needs either sha256 or sha512".to_owned()),
    ];
    for (text, reason) in invalid {
        std::fs::write(&path, &text).unwrap();
        let error = Lock::load(&path).unwrap_err();
        assert_eq!(error.to_string(), format!("{}: {reason}", path.display()), "{text}");
        assert!(error.is_about_the_lock());
    }
    for bad in ["file:///etc/passwd", "https://u:p@h/a", "https://h/", "https://h/a?b", "https://h/a#b", "a"] {
        std::fs::write(&path, one.replace(url, &format!("url: {bad}"))).unwrap();
        let reason = format!("kubelet (amd64): {bad:?} is not an http(s) address of a file");
        let error = Lock::load(&path).unwrap_err();
        assert_eq!(error.to_string(), format!("{}: {reason}", path.display()));
    }
    let unreadable = [
        (String::new(), "missing field `apiVersion`"),
        (format!("{one}  unknown: 1\n"), "unknown field `unknown`"),
        (format!("{one}  size: 4\n"), "duplicate field `size`"),
        (one.replace("size: 3", "size: -3"), "invalid type: integer `-3`, expected u64"),
        (one.replace("kind: kubelet", "kind: kubeadm"), "unknown variant `kubeadm`"),
        (format!("{one}apiVersion: nodebake/v1\n"), "duplicate field `apiVersion`"),
    ];
    for (text, reason) in unreadable {
        std::fs::write(&path, &text).unwrap();
        let LockError::Syntax { source, .. } = Lock::load(&path).unwrap_err() else { panic!("{text}") };
        // The parser's own words around it are not ours to fix.
        assert!(source.to_string().contains(reason), "{source}");
    }
    std::fs::remove_file(&path).unwrap();
    let error = Lock::load(&path).unwrap_err();
    assert_eq!(error.to_string(), format!("there is no {}", path.display()));
    assert_eq!(error.hint().as_deref(), Some("run `nodebake lock`"));
}

#[test]
fn what_is_kept_is_not_asked_for_again() {
    let (_folder, source) = mirror(&[("2.0.0/SUMS", &format!("{ABC}  a\n")), ("2.0.0/a", "abc")]);
    let wanted = [wanted(Kind::Kubelet, "1.0.0", "a"), wanted(Kind::Runc, "2.0.0", "a")];
    // The mirror has lost the first one, and the second one is locked in another version.
    let kept = [entry(Kind::Kubelet, "1.0.0", "a"), entry(Kind::Runc, "1.0.0", "a")];
    let lock = make(&wanted, &source, &kept).unwrap();
    assert_eq!(lock.entries(), [entry(Kind::Kubelet, "1.0.0", "a"), entry(Kind::Runc, "2.0.0", "a")]);
}

const CLEAR: &str = include_str!("../fixtures/clear.asc");
const SUMS: &str = include_str!("../fixtures/sums");
const SHA512: &str = include_str!("../fixtures/sha512.asc");
const KEY: &str = "DFB17A57C88797DBCD405624C04262DC69E1120F";

/// What comes of a file whose checksums are signed that way, from a mirror with these files.
fn signed(how: Signed, files: &[(&str, &str)]) -> Result<Trust, (String, Option<String>)> {
    let mut wanted = wanted(Kind::Runc, "1.0.0", "runc.amd64");
    let Supply::Fixed(published) = &mut wanted.supply else { panic!("not fixed") };
    published.signed = how;
    let (folder, source) = mirror(&[&[("1.0.0/runc.amd64", "abc")], files].concat());
    let path = folder.path().to_str().unwrap().to_owned();
    make(&[wanted], &source, &[]).map(|lock| lock.entries()[0].trust.clone()).map_err(|error| {
        assert!(error.is_mismatch(), "{error:?}");
        (crate::error::chain(&error).replace(&path, "M"), error.hint())
    })
}

#[test]
fn signatures_are_checked_when_locking() {
    let detached = || Signed::Detached(Signer::Ubuntu, url("https://example.org/1.0.0/SUMS.gpg"));
    let clear = || Signed::Clear(Signer::Runc);
    let by_key = || Ok(Trust::Signed(Fingerprint::parse(KEY).unwrap()));
    assert_eq!(signed(clear(), &[("1.0.0/SUMS", CLEAR)]), by_key());
    assert_eq!(signed(detached(), &[("1.0.0/SUMS", SUMS), ("1.0.0/SUMS.gpg", SHA512)]), by_key());

    let distrust =
        "what is published there is not what upstream signed: check the mirror or proxy, and trust none of it";
    let failed = |why: &str| {
        let error = format!("cannot lock runc 1.0.0 (amd64) from M/example.org/1.0.0/SUMS: {why}");
        Err((error, Some(distrust.to_owned())))
    };
    let tampered = CLEAR.replace("ba78", "ba79");
    let other = format!("the signature by {KEY} is not over this text");
    assert_eq!(signed(clear(), &[("1.0.0/SUMS", &tampered)]), failed(&other));
    assert_eq!(signed(clear(), &[("1.0.0/SUMS", SUMS)]), failed("it is not signed"));
    let longer = format!("{SUMS}\n");
    assert_eq!(signed(detached(), &[("1.0.0/SUMS", &longer), ("1.0.0/SUMS.gpg", SHA512)]), failed(&other));
    let missing = "cannot lock runc 1.0.0 (amd64), whose checksums upstream always signs: the mirror lacks \
                   https://example.org/1.0.0/SUMS.gpg: there is no M/example.org/1.0.0/SUMS.gpg";
    let hint = "a mirror holds each address under HOST/PATH, checksum files included: `wget -x \
                https://example.org/1.0.0/SUMS.gpg` in its folder";
    assert_eq!(signed(detached(), &[("1.0.0/SUMS", SUMS)]), Err((missing.to_owned(), Some(hint.to_owned()))));
}

#[test]
fn moving_addresses_are_locked_to_a_dated_release() {
    let image = super::super::catalog::wanted(&config()).unwrap().pop().unwrap();
    let name = "ubuntu-24.04-server-cloudimg-amd64.img";
    let sums = SUMS.replace("runc.amd64", name);
    let dated = |name: &str| format!("../cloud-images.ubuntu.com/releases/noble/release-20251213/{name}");
    let (folder, source) = mirror(&[
        ("../cloud-images.ubuntu.com/releases/noble/release/unpacked/build-info.txt", "serial=20251213\n"),
        (&dated("SHA256SUMS"), &sums),
        (&dated("SHA256SUMS.gpg"), SHA512),
        (&dated(name), "abc"),
    ]);
    // The fixture signs other names: the failure is of the dated folder's own list, by its own signature.
    let place = folder.path().join("cloud-images.ubuntu.com/releases/noble/release-20251213/SHA256SUMS");
    let error = make(std::slice::from_ref(&image), &source, &[]).unwrap_err();
    assert_eq!(
        crate::error::chain(&error),
        format!(
            "cannot lock base-image ubuntu-24.04 (amd64) from {}: the signature by {KEY} is not over this text",
            place.display()
        )
    );
    let Supply::Moving(moving) = &image.supply else { panic!("not moving") };
    let release = Release::parse("20251213").unwrap();
    let published = Published { signed: Signed::No(REASON.to_owned()), ..moving.at(&release).unwrap() };
    let now = Timestamp::UNIX_EPOCH;
    let how = Locking { source: &source, kept: &[], now, progress: &Silent };
    let one = One { wanted: &image, how, keys: &|_| Signer::Ubuntu.keyring() };
    let entry = one.published(&published, Some(release.date())).unwrap();
    let tree = "releases/noble/release-20251213";
    let expected = Entry {
        kind: Kind::BaseImage,
        arch: Arch::Amd64,
        version: "ubuntu-24.04".to_owned(),
        from: Location::Url(url(&format!("https://cloud-images.ubuntu.com/{tree}/{name}"))),
        alternates: vec![url(&format!("http://cloud-images-archive.ubuntu.com/{tree}/{name}"))],
        size: 3,
        checksum: Algorithm::Sha256.parse(ABC).unwrap(),
        released: Some("2025-12-13".parse().unwrap()),
        trust: Trust::Unsigned(REASON.to_owned()),
    };
    assert_eq!(entry, expected);
    // What is locked stays, wherever the address has moved meanwhile.
    let nothing = mirror(&[]).1;
    assert_eq!(make(&[image], &nothing, &[entry]).unwrap().entries(), [expected]);
}

fn config() -> crate::config::Config {
    crate::config::parse(Path::new("/c/nodebake.yaml"), crate::config::INIT).unwrap()
}

#[test]
fn own_files_are_locked_by_the_cluster_files_digest() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("crictl");
    std::fs::write(&path, "abc").unwrap();
    let (_mirror, source) = mirror(&[("runc", "abc")]);
    let from = Location::Url(url("https://example.org/runc"));
    let wanted = [
        given(Kind::Runc, "1.0.0", from.clone(), ABC),
        given(Kind::Binary, "crictl", Location::Path(path.clone()), ABC),
    ];
    let lock = make(&wanted, &source, &[]).unwrap();
    let own = |entry: Entry, from| Entry { from, trust: Trust::Given, ..entry };
    let expected = [
        own(entry(Kind::Runc, "1.0.0", ""), from),
        own(entry(Kind::Binary, "crictl", ""), Location::Path(path.clone())),
    ];
    assert_eq!(lock.entries(), expected);

    // In the file the path starts at the file's folder.
    let file = folder.path().join("nodebake.lock");
    lock.save(&file).unwrap();
    let text = std::fs::read_to_string(&file).unwrap();
    let tail = format!(
        "- kind: runc\n  version: 1.0.0\n  arch: amd64\n  url: https://example.org/runc\n  size: 3\n  sha256: {ABC}\n  \
         given: true\n- kind: binary\n  name: crictl\n  arch: amd64\n  path: crictl\n  size: 3\n  sha256: {ABC}\n  given: true\n"
    );
    assert_eq!(text, format!("{HEADER}apiVersion: nodebake/v1\nartifacts:\n{tail}"));
    assert_eq!(Lock::load(&file).unwrap(), lock);

    std::fs::write(&path, "abcd").unwrap();
    let error = make(&wanted[1..], &source, &[]).unwrap_err();
    assert!(error.is_mismatch());
    assert_eq!(
        error.to_string(),
        format!(
            "cannot lock binary crictl (amd64): {} has \
             sha256:88d4266fd4e6338d13b845fcf289579d209c897823b9217da3e161936f031589, the cluster file says sha256:{ABC}",
            path.display()
        )
    );
    std::fs::remove_file(&path).unwrap();
    let error = make(&wanted[1..], &source, &[]).unwrap_err();
    assert!(error.is_about_the_cluster_file());
    assert_eq!(error.to_string(), format!("cannot lock binary crictl (amd64): {} cannot be read", path.display()));
}

#[test]
fn every_entry_says_why_it_is_believed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("nodebake.lock");
    let image = Entry {
        alternates: vec![url("http://archive.example.org/b")],
        released: Some("2025-12-13".parse().unwrap()),
        trust: Trust::Signed(Fingerprint::parse(KEY).unwrap()),
        ..entry(Kind::BaseImage, "ubuntu-24.04", "b")
    };
    let lock = Lock::sorted(vec![image]);
    lock.save(&path).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    let expected = format!(
        "{HEADER}apiVersion: nodebake/v1\nartifacts:\n- kind: base-image\n  version: ubuntu-24.04\n  arch: amd64\n  \
         url: https://example.org/ubuntu-24.04/b\n  alternates:\n  - http://archive.example.org/b\n  \
         released: 2025-12-13\n  size: 3\n  sha256: {ABC}\n  signedBy: {KEY}\n"
    );
    assert_eq!(text, expected);
    assert_eq!(Lock::load(&path).unwrap(), lock);
    let either = "base-image (amd64): needs either signedBy, unsigned or given";
    for (from, to, reason) in [
        (format!("  signedBy: {KEY}\n"), "", either),
        (format!("  signedBy: {KEY}\n"), "  given: false\n", either),
        (format!("  signedBy: {KEY}\n"), &format!("  signedBy: {KEY}\n  given: true\n"), either),
        (KEY.to_owned(), "me", "base-image (amd64): \"me\" is not a fingerprint"),
        ("2025-12-13".to_owned(), "yesterday", "base-image (amd64): \"yesterday\" is not a date"),
    ] {
        std::fs::write(&path, text.replace(&from, to)).unwrap();
        let error = Lock::load(&path).unwrap_err();
        assert_eq!(error.to_string(), format!("{}: {reason}", path.display()));
    }
}

#[test]
fn changes_are_told_by_what_moved() {
    let released = |date: &str, digest: &str| Entry {
        released: Some(date.parse().unwrap()),
        checksum: Algorithm::Sha256.parse(&ABC.replace("ba78", digest)).unwrap(),
        ..entry(Kind::BaseImage, "ubuntu-24.04", "b")
    };
    let own = |from: &str| Entry {
        from: Location::Url(url(from)),
        trust: Trust::Given,
        ..entry(Kind::Binary, "crictl", "c")
    };
    let same = entry(Kind::CniPlugins, "1.9.0", "a");
    let before = Lock::sorted(vec![
        entry(Kind::Kubelet, "1.35.1", "a"),
        entry(Kind::Containerd, "2.2.1", "a"),
        entry(Kind::Runc, "1.2.8", "a"),
        same.clone(),
        released("2025-11-13", "ba78"),
        own("https://h/1"),
        entry(Kind::Package, "a.deb", "a"),
    ]);
    let after = Lock::sorted(vec![
        entry(Kind::Kubelet, "1.35.3", "a"),
        Entry { trust: Trust::Given, ..entry(Kind::Containerd, "2.2.1", "a") },
        Entry {
            checksum: Algorithm::Sha256.parse(&ABC.replace("ba78", "ba79")).unwrap(),
            ..entry(Kind::Runc, "1.2.8", "a")
        },
        same,
        released("2025-12-13", "ba79"),
        own("https://h/2"),
        entry(Kind::Package, "b.deb", "b"),
    ]);
    let moved = ABC.replace("ba78", "ba79");
    assert_eq!(
        after.changes_since(&before),
        [
            "kubelet 1.35.1 -> 1.35.3 (amd64)".to_owned(),
            format!("containerd 2.2.1 (amd64): unsigned: {REASON} -> given"),
            format!("runc 1.2.8 (amd64): sha256:{ABC} -> sha256:{moved}"),
            "base-image ubuntu-24.04 of 2025-11-13 -> 2025-12-13 (amd64)".to_owned(),
            "binary crictl (amd64): https://h/1 -> https://h/2".to_owned(),
            "package b.deb (amd64) added".to_owned(),
            "package a.deb (amd64) removed".to_owned(),
        ]
    );
    assert_eq!(after.changes_since(&after), <[String; 0]>::default());
}

#[test]
fn a_stale_lock_names_what_moved() {
    let own = |version: &str, digest: &str| Entry {
        trust: Trust::Given,
        checksum: Algorithm::Sha256.parse(&ABC.replace("ba78", digest)).unwrap(),
        ..entry(Kind::Binary, version, "c")
    };
    let lock = Lock::sorted(vec![
        entry(Kind::Runc, "1.2.8", "a"),
        entry(Kind::Kubelet, "1.35.1", "b"),
        own("crictl", "ba78"),
        own("nerdctl", "ba78"),
    ]);
    let from = |version: &str| Location::Url(url(&format!("https://example.org/{version}/c")));
    let crictl = given(Kind::Binary, "crictl", from("crictl"), ABC);
    let nerdctl = given(Kind::Binary, "nerdctl", from("nerdctl"), ABC);
    let (runc, kubelet) = (wanted(Kind::Runc, "1.2.8", "elsewhere"), wanted(Kind::Kubelet, "1.35.1", "b"));
    let fits = |wanted: &[Wanted]| lock.fits(wanted).map(|entries| entries.len()).map_err(|error| error.to_string());
    // Another address of the same version is no reason.
    assert_eq!(fits(&[kubelet, runc.clone(), crictl, nerdctl]), Ok(4));
    let moved = [
        wanted(Kind::Kubelet, "1.35.2", "b"),
        given(Kind::Runc, "1.2.8", from("x"), ABC),
        wanted(Kind::CniPlugins, "1.9.0", "c"),
        given(Kind::Binary, "crictl", from("crictl"), &ABC.replace("ba78", "ba79")),
        given(Kind::Binary, "helm", from("helm"), ABC),
    ];
    assert_eq!(
        fits(&moved),
        Err(format!(
            "the lock does not fit the cluster file: kubelet (amd64): 1.35.1 is locked, 1.35.2 is wanted; runc (amd64): \
             upstream's is locked, a given one is wanted; cni-plugins (amd64): 1.9.0 is wanted and not locked; binary \
             crictl (amd64): sha256:{ABC} is locked, sha256:{} is wanted; binary helm (amd64) is wanted and not locked; \
             binary nerdctl (amd64) is locked and not wanted",
            ABC.replace("ba78", "ba79")
        ))
    );
    let upstream = [given(Kind::Binary, "crictl", from("other"), ABC), runc];
    let lock =
        Lock::sorted(vec![Entry { trust: Trust::Given, ..entry(Kind::Runc, "1.2.8", "a") }, own("crictl", "ba78")]);
    assert_eq!(
        lock.fits(&upstream).unwrap_err().to_string(),
        "the lock does not fit the cluster file: binary crictl (amd64): https://example.org/crictl/c is locked, \
         https://example.org/other/c is wanted; runc (amd64): a given one is locked, upstream's is wanted"
    );
}
