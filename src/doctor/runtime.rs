//! What nodebake itself needs on this machine: libvirt's client library, the programs that are started on its way, and
//! somebody to trust for downloads.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};
use semver::Version;

use super::Case;
use super::finding::{Check, Finding, listed, or_ok};
use crate::artifacts::Source;
use crate::config::{Config, SecretSource};
use crate::machine;

/// What of it is there.
#[derive(Debug)]
pub struct Runtime {
    /// Of libvirt's client library, where it tells.
    library: Option<Version>,
    /// Where the programs are that are started, by their names; none where there is no such program.
    programs: BTreeMap<PathBuf, Option<PathBuf>>,
    /// How many CAs are trusted for downloads; none where nothing is downloaded by https.
    trusted: Option<usize>,
}

impl Runtime {
    /// Looks for what a cluster file needs, by the search path of this process; without a source nothing is downloaded.
    pub fn look(config: &Config, source: Option<&Source>) -> Self {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let programs = needs(config).into_iter().map(|need| (find(&need.program, &path), need.program));
        Self {
            library: machine::client_version(),
            programs: programs.map(|(found, program)| (program, found)).collect(),
            trusted: source.and_then(Source::trusted),
        }
    }
}

/// A program that is started, and by whom.
struct Need {
    program: PathBuf,
    /// What comes to nothing without it,
    what: String,
    /// and what makes it work.
    fix: &'static str,
    /// Whether no node comes up without it.
    always: bool,
}

fn needs(config: &Config) -> Vec<Need> {
    let sites = config.sites.iter().map(|site| &site.libvirt.uri);
    let uris: Vec<_> = if config.sites.is_empty() { vec![&config.libvirt.uri] } else { sites.collect() };
    let ssh = uris.into_iter().filter_map(|uri| {
        Some(Need {
            program: machine::remote_shell(uri)?,
            what: format!("{uri} is reached"),
            fix: "install openssh-client here, or correct the URI in the cluster file",
            always: true,
        })
    });
    let key = &config.cluster.ca_key;
    let secrets =
        [(&key.from, "the CA's key is fetched"), (&key.passphrase, "the passphrase of the CA's key is fetched")];
    let secrets = secrets.into_iter().filter_map(|(from, what)| match from {
        Some(SecretSource::Command { program, .. }) => Some(Need {
            program: program.clone(),
            what: what.to_owned(),
            fix: "install it, or correct cluster.caKey in the cluster file; certificates are issued with it",
            always: false,
        }),
        _ => None,
    });
    ssh.chain(secrets).collect()
}

/// Where a program is: at its path, or in the first folder of a search path that has it.
fn find(program: &Path, path: &OsStr) -> Option<PathBuf> {
    let runs = |file: &PathBuf| file.is_file() && access(file, Access::EXEC_OK).is_ok();
    if program.components().count() > 1 {
        return Some(program.to_owned()).filter(runs);
    }
    std::env::split_paths(path).map(|folder| folder.join(program)).find(runs)
}

/// Whether all of it is there.
pub(super) fn runtime(case: Case, runtime: &Runtime) -> Vec<Finding> {
    let absent = |need: &Need| !matches!(runtime.programs.get(&need.program), Some(Some(_)));
    let mut findings: Vec<_> = needs(case.config)
        .into_iter()
        .filter(absent)
        .map(|Need { program, what, fix, always }| {
            let found = format!("{what} by {}, and there is no such program", program.display());
            if always {
                Finding::failure(Check::Runtime, found, fix)
            } else {
                Finding::warning(Check::Runtime, found, fix)
            }
        })
        .collect();
    if runtime.trusted == Some(0) {
        findings.push(Finding::warning(
            Check::Runtime,
            "no CA is trusted on this machine, so that nothing can be downloaded by https",
            "install ca-certificates, or name a file of theirs with download.caFile in the cluster file",
        ));
    }
    or_ok(findings, Check::Runtime, || {
        let library = runtime.library.as_ref().map(|version| format!("libvirt's client library is {version}"));
        let programs = runtime.programs.values().flatten().map(|program| format!("{} is there", program.display()));
        let trusted = runtime.trusted.map(|count| format!("{count} CAs are trusted for downloads"));
        listed(library.into_iter().chain(programs).chain(trusted))
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::config::{CaKey, Libvirt, Site};
    use crate::doctor::fixture::Fixture;

    /// With these programs and no other.
    fn judged(fixture: &Fixture, programs: &[&str], trusted: Option<usize>) -> Vec<String> {
        let programs = programs.iter().map(|name| (PathBuf::from(name), Some(Path::new("/usr/bin").join(name))));
        let found = Runtime { library: Some(Version::new(9, 0, 0)), programs: programs.collect(), trusted };
        fixture.judge(|case, _| runtime(case, &found))
    }

    #[test]
    fn what_is_not_there_is_told_by_what_needs_it() {
        let mut fixture = Fixture::new();
        fixture.config.cluster.ca_key = CaKey::default();
        let library = "ok: libvirt's client library is 9.0.0";
        assert_eq!(judged(&fixture, &[], None), [library]);
        assert_eq!(judged(&fixture, &[], Some(2)), [format!("{library} and 2 CAs are trusted for downloads")]);
        let untrusting = "warning: no CA is trusted on this machine, so that nothing can be downloaded by https | install \
                          ca-certificates, or name a file of theirs with download.caFile in the cluster file";
        assert_eq!(judged(&fixture, &[], Some(0)), [untrusting]);

        fixture.config.libvirt.uri = "qemu+ssh://root@a/system".to_owned();
        let ssh = "install openssh-client here, or correct the URI in the cluster file";
        let lacks = |uri: &str| format!("failure: {uri} is reached by ssh, and there is no such program | {ssh}");
        assert_eq!(judged(&fixture, &[], None), [lacks("qemu+ssh://root@a/system")]);
        let both = format!("{library}, /usr/bin/ssh is there and 3 CAs are trusted for downloads");
        assert_eq!(judged(&fixture, &["ssh"], Some(3)), [both]);
        // Where there are several, each is looked at, and what stands in `libvirt:` is none of them.
        let site = |name: &str, uri: &str| Site {
            name: name.parse().unwrap(),
            libvirt: Libvirt { uri: uri.to_owned(), ..fixture.config.libvirt.clone() },
            network: None,
        };
        fixture.config.sites = vec![
            site("a", "qemu+tls://a/system"),
            site("b", "qemu+ssh://b/system"),
            site("c", "qemu+libssh2://c/system"),
            site("d", "qemu+ssh://d/system?command=/opt/ssh"),
        ];
        let other = lacks("qemu+ssh://d/system?command=/opt/ssh").replace("by ssh", "by /opt/ssh");
        assert_eq!(judged(&fixture, &[], None), [lacks("qemu+ssh://b/system"), other]);

        fixture.config.sites = Vec::new();
        fixture.config.libvirt.uri = "qemu:///system".to_owned();
        let command = |program: &str| {
            Some(SecretSource::Command { program: program.into(), arguments: Vec::new(), folder: "/c".into() })
        };
        fixture.config.cluster.ca_key = CaKey { from: command("pass"), passphrase: command("/c/ask") };
        let key = "install it, or correct cluster.caKey in the cluster file; certificates are issued with it";
        let no_key = format!("warning: the CA's key is fetched by pass, and there is no such program | {key}");
        let no_passphrase = format!(
            "warning: the passphrase of the CA's key is fetched by /c/ask, and there is no such program | {key}"
        );
        assert_eq!(judged(&fixture, &[], None), [no_key, no_passphrase.clone()]);
        assert_eq!(judged(&fixture, &["pass"], None), [no_passphrase]);
    }

    #[test]
    fn programs_are_found_as_a_shell_finds_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for (name, mode) in [("a/tool", 0o644), ("b/tool", 0o755), ("c/tool", 0o755)] {
            fs::create_dir(path(name).parent().unwrap()).unwrap();
            fs::write(path(name), "").unwrap();
            fs::set_permissions(path(name), Permissions::from_mode(mode)).unwrap();
        }
        fs::create_dir(path("b/other")).unwrap();
        let search = std::env::join_paths(["none", "a", "b", "c"].map(path)).unwrap();
        for (program, wanted) in [
            ("tool".into(), Some("b/tool")),
            ("other".into(), None),
            ("missing".into(), None),
            (path("c/tool"), Some("c/tool")),
            (path("a/tool"), None),
            (path("b"), None),
        ] {
            assert_eq!(find(&program, &search), wanted.map(path), "{}", program.display());
        }
    }
}
