//! What is on this machine: lock, CA, certificates, and the folders that are written.

use std::fs::{self, File, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use jiff::Timestamp;
use rustix::fs::{Access, access, statvfs};
use rustix::process::geteuid;

use super::access::User;
use super::finding::{Check, Finding, Remedy, or_ok, size};
use super::{Case, Host};
use crate::artifacts::{Kind, Lock, Store};
use crate::build::Manifest;
use crate::error::Error;
use crate::identity::{Ca, Identities, IdentityError, NodeRequest, rotation_note};

/// What an archive of programs becomes when it is unpacked, at most, as far as upstream's go.
const UNPACKED: u64 = 4;

/// Whether the lock is there and fits the cluster file.
pub(super) fn lock(lock: &Result<Lock, Error>) -> Finding {
    match lock {
        Err(error) => Finding::of_error(Check::Lock, error, error.hint()),
        Ok(lock) => Finding::ok(
            Check::Lock,
            format!("nodebake.lock fits the cluster file, with {} files", lock.entries().len()),
        ),
    }
}

/// Whether the CA can sign now, and for how long.
pub(super) fn ca(ca: &Result<Ca, IdentityError>, now: Timestamp) -> Vec<Finding> {
    let ca = match ca {
        Err(error) => return vec![Finding::of_error(Check::Ca, error, error.hint())],
        Ok(ca) => ca,
    };
    let mut findings: Vec<_> = ca
        .warnings()
        .iter()
        .map(|warning| Finding::warning(Check::Ca, warning.to_string(), "make the key its owner's alone: chmod 600"))
        .collect();
    let end = ca.validity().not_after;
    if ca.ends_soon(now) {
        let found = format!("the CA ends soon, at {end}, and with it every certificate of the cluster");
        findings.push(Finding::warning(
            Check::Ca,
            found,
            "replace the cluster's CA in time (kubernetes.io: manual rotation of CA certificates)",
        ));
    }
    or_ok(findings, Check::Ca, || {
        let key = match (ca.has_key(), ca.asks_for_key()) {
            (false, _) => ", without its key, so that certificates must be brought".to_owned(),
            (true, false) => ", with its key".to_owned(),
            (true, true) => format!("; its key comes from {} when something is signed", ca.key_place()),
        };
        format!("valid until {end}{key}")
    })
}

/// Whether every node has a certificate or can be issued one, and the one that its machine was made with lasts.
pub(super) fn certificates(
    case: Case,
    ca: &Result<Ca, IdentityError>,
    host: Option<&Host>,
    out: &Path,
) -> Vec<Finding> {
    let Ok(ca) = ca else { return vec![Finding::skipped(Check::Certificates, "the CA cannot be used")] };
    let cluster = &case.config.cluster;
    let (pki, state) = (&cluster.pki, case.config.folder().join(".nodebake"));
    let identities = Identities { ca, pki, state, lifetime: cluster.certificate_lifetime, now: case.now };
    let mut findings = Vec::new();
    for node in case.nodes {
        let name = &node.name;
        let request = NodeRequest::of(node);
        match identities.present(&request) {
            Err(error) => findings.push(Finding::of_error(Check::Certificates, &error, error.hint())),
            Ok(None) if !ca.has_key() => {
                let found = format!("there is no certificate for {name}, and no ca-key.pem to issue one");
                let fix =
                    format!("put the CA's key at {}, or bring {name}.pem and {name}-key.pem there", ca.key_place());
                findings.push(Finding::failure(Check::Certificates, found, fix));
            }
            Ok(Some(identity)) if !request.rotates && identity.facts.validity.ends_soon(case.now) => {
                let found = format!("the certificate of {name} ends soon, at {}", identity.facts.validity.not_after);
                findings.push(Finding::warning(
                    Check::Certificates,
                    found,
                    format!("replace {name}.pem, then: nodebake rebuild {name}"),
                ));
            }
            Ok(_) => findings.extend(used(case, host, out, name)),
        }
    }
    or_ok(findings, Check::Certificates, || {
        "every node has one that lasts, or is issued one when it is built".to_owned()
    })
}

/// The certificate that a machine was made with, as far as the output folder still knows it.
fn used(case: Case, host: Option<&Host>, out: &Path, node: &crate::config::NodeName) -> Option<Finding> {
    let uuid = case.id?.uuid(node);
    let domain = host?.inventory.domains.iter().find(|domain| domain.uuid == uuid)?;
    let manifest = Manifest::load(out, &node.to_string())?;
    let certificate = manifest.certificate();
    let same = manifest.images().1 == domain.mark()?.seed;
    (same && certificate.needs_another(case.now)).then(|| {
        let end = &certificate.not_after;
        let found = format!("the certificate that the machine of {node} was made with ends soon, at {end}");
        let found = [found.as_str(), rotation_note(certificate.rotation())].join("; ");
        let found = found.trim_end_matches("; ").to_owned();
        Finding::warning(Check::Certificates, found, format!("nodebake rebuild {node}"))
    })
}

/// Whether others than its owner have any right to a kubeconfig: who reads it is the administrator.
pub(super) fn readable(kubeconfig: &Path) -> Option<Finding> {
    judge_mode(kubeconfig, &fs::metadata(kubeconfig).ok()?, geteuid().as_raw())
}

fn judge_mode(path: &Path, found: &Metadata, user: u32) -> Option<Finding> {
    let (mode, shown) = (found.mode() & 0o7777, path.display());
    let its_owners_alone = mode.trailing_zeros() >= 6;
    if its_owners_alone {
        return None;
    }
    let text = format!("{shown} is an administrator's way in, and open to others (mode {mode:04o})");
    if found.uid() != user {
        let owner = User::find(found.uid(), found.gid()).name;
        let fix = format!("it is for {owner} to say who may read it: chmod 600 {shown}");
        return Some(Finding::warning(Check::Kubeconfig, text, fix));
    }
    let fix = format!("nodebake doctor --fix, or: chmod 600 {shown}");
    Some(Finding::warning(Check::Kubeconfig, text, fix).with(Remedy::Private(path.to_owned())))
}

/// Makes a file of this user its owner's alone; another's that stands there by now stays as it is.
pub(super) fn make_private(path: &Path) -> io::Result<()> {
    let file = File::open(path)?;
    let found = file.metadata()?;
    if !found.is_file() || found.uid() != geteuid().as_raw() {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    file.set_permissions(Permissions::from_mode(found.mode() & 0o600))
}

/// What is known of a folder before anything is written to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    /// Whether this user may write there, or make it.
    writable: bool,
    /// Bytes left.
    free: u64,
}

/// By the folder, or the nearest above it that is there.
fn look(folder: &Path) -> Option<Place> {
    let there = folder
        .ancestors()
        .map(|path| if path.as_os_str().is_empty() { Path::new(".") } else { path })
        .find(|path| path.exists())?;
    let free = statvfs(there).ok()?;
    let writable = there.is_dir() && access(there, Access::WRITE_OK | Access::EXEC_OK).is_ok();
    Some(Place { writable, free: free.f_bavail.saturating_mul(free.f_frsize) })
}

/// Bytes left where a folder is, or would be made.
pub(super) fn free(folder: &Path) -> Option<u64> {
    look(folder).map(|place| place.free)
}

/// Whether the cache can take what is locked and not in it.
pub(super) fn cache(store: &Store, lock: Option<&Lock>) -> Finding {
    let missing = |lock: &Lock| {
        let entries = lock.entries().iter().filter(|entry| !store.path(&entry.checksum).exists());
        entries.map(|entry| entry.size).sum()
    };
    judge_folder(Check::Cache, store.root(), look(store.root()), lock.map(missing))
}

/// Whether the output folder can take the payload, should it have to be baked.
pub(super) fn output(case: Case, out: &Path, lock: Option<&Lock>, unbuilt: bool) -> Finding {
    let goes_in = |kind| !matches!(kind, Kind::BaseImage | Kind::Kubectl);
    let payload = |lock: &Lock| {
        let entries = lock.entries().iter().filter(|entry| unbuilt && goes_in(entry.kind));
        entries.map(|entry| entry.size.saturating_mul(UNPACKED)).sum::<u64>()
    };
    let needed = lock.map(|lock| payload(lock) + (512 << 10) * case.nodes.len() as u64);
    judge_folder(Check::Output, out, look(out), needed)
}

/// How much is `needed` only a lock tells.
fn judge_folder(check: Check, folder: &Path, place: Option<Place>, needed: Option<u64>) -> Finding {
    let path = folder.display();
    let other = if check == Check::Cache { "--cache-dir DIR" } else { "--out DIR" };
    match place {
        None => Finding::skipped(check, format!("{path} cannot be looked at")),
        Some(Place { writable: false, .. }) => Finding::failure(
            check,
            format!("{path} cannot be written by this user"),
            format!("chown it, or name another folder: {other}"),
        ),
        Some(Place { free, .. }) => match needed {
            Some(needed) if free < needed => {
                let found = format!("{} are free in {path}, and up to {} will be needed", size(free), size(needed));
                Finding::warning(check, found, format!("free space there, or name another folder: {other}"))
            }
            Some(needed) => Finding::ok(
                check,
                format!("{path} can be written; {} are free, at most {} will be needed", size(free), size(needed)),
            ),
            None => Finding::ok(
                check,
                format!("{path} can be written; {} are free, and how much will be needed the lock tells", size(free)),
            ),
        },
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::config::{CaKey, SecretSource};
    use crate::doctor::fixture::lines;

    #[test]
    fn a_kubeconfig_is_its_owners_alone_or_made_so() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin");
        fs::write(&path, "").unwrap();
        let (me, shown) = (geteuid().as_raw(), path.display().to_string());
        let judge = |mode, user| {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            judge_mode(&path, &fs::metadata(&path).unwrap(), user)
        };
        assert_eq!((judge(0o600, me), judge(0o400, me), readable(&folder.path().join("none"))), (None, None, None));
        for mode in [0o640, 0o604, 0o660, 0o610] {
            let open = format!("warning: {shown} is an administrator's way in, and open to others (mode {mode:04o})");
            let mine = judge(mode, me).unwrap();
            assert_eq!(mine.remedy, Some(Remedy::Private(path.clone())));
            assert_eq!(lines(vec![mine]), [format!("{open} | nodebake doctor --fix, or: chmod 600 {shown}")]);
            let others = judge(mode, me + 1).unwrap();
            assert_eq!(others.remedy, None);
            let owner = User::find(me, me).name;
            let said = format!("{open} | it is for {owner} to say who may read it: chmod 600 {shown}");
            assert_eq!(lines(vec![others]), [said]);
            make_private(&path).unwrap();
            assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
        }
        let refused = make_private(folder.path()).map_err(|error| error.kind());
        assert_eq!(refused, Err(io::ErrorKind::PermissionDenied));
    }

    #[test]
    fn a_ca_is_told_with_the_way_to_its_key() {
        let folder = tempfile::tempdir().unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        std::fs::write(folder.path().join("ca.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
        let told = |from: Option<SecretSource>| {
            let key = CaKey { from, passphrase: None };
            lines(ca(&Ca::load(folder.path(), &key, Box::new(|_| Ok(None)), now), now))
        };
        // What rcgen takes for ever.
        let valid = "ok: valid until 4096-01-01T00:00:00Z";
        assert_eq!(told(None), [format!("{valid}, without its key, so that certificates must be brought")]);
        let from = Some(SecretSource::Environment("CA_KEY".to_owned()));
        assert_eq!(told(from), [format!("{valid}; its key comes from the variable CA_KEY when something is signed")]);
        store_key(&folder.path().join("ca-key.pem"), &key.serialize_pem());
        assert_eq!(told(None), [format!("{valid}, with its key")]);
    }

    fn store_key(path: &Path, pem: &str) {
        crate::identity::write_private(path, &crate::secret::Secret::new(pem)).unwrap();
    }

    #[test]
    fn a_folder_is_judged_by_rights_and_room() {
        let place = |writable, free: u64| Some(Place { writable, free: free << 20 });
        let other = "or name another folder: --out DIR";
        for (place, wanted) in [
            (None, "skipped: /out cannot be looked at".to_owned()),
            (place(false, 900), format!("failure: /out cannot be written by this user | chown it, {other}")),
            (
                place(true, 9),
                format!(
                    "warning: 9.0 MiB are free in /out, and up to 10.0 MiB will be needed | free space there, {other}"
                ),
            ),
            (place(true, 10), "ok: /out can be written; 10.0 MiB are free, at most 10.0 MiB will be needed".to_owned()),
        ] {
            assert_eq!(lines(vec![judge_folder(Check::Output, Path::new("/out"), place, Some(10 << 20))]), [wanted]);
        }
        let unlocked = judge_folder(Check::Cache, Path::new("/cache"), place(true, 10), None);
        let wanted = "ok: /cache can be written; 10.0 MiB are free, and how much will be needed the lock tells";
        assert_eq!(lines(vec![unlocked]), [wanted]);
    }

    #[test]
    fn a_folder_that_is_not_there_is_judged_by_the_one_above() {
        let above = std::env::temp_dir();
        let writable = |folder: &Path| look(folder).map(|place| place.writable);
        assert_eq!(writable(&above.join("none/of/these")), Some(true));
        // What lies under a file can never be made.
        let program = std::env::current_exe().unwrap_or_default();
        assert_eq!(writable(&program.join("below")), Some(false));
    }
}
