//! New versions in the text of a cluster file: everything else stays as it is, byte by byte.

use std::path::Path;

use semver::Version;

use super::problem::{Position, Problems};
use super::tree::{Kind, Tree};
use super::{ConfigError, Versions, parse};

/// A key under `versions:`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VersionKey {
    /// kubelet and kubectl.
    Kubernetes,
    /// containerd.
    Containerd,
    /// runc.
    Runc,
    /// The CNI project's plugins.
    CniPlugins,
}

impl VersionKey {
    /// All of them, in the order of the cluster file.
    pub const ALL: [Self; 4] = [Self::Kubernetes, Self::Containerd, Self::Runc, Self::CniPlugins];

    /// As in the cluster file.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Kubernetes => "kubernetes",
            Self::Containerd => "containerd",
            Self::Runc => "runc",
            Self::CniPlugins => "cniPlugins",
        }
    }
}

impl Versions {
    /// The version under a key.
    pub fn get(&self, key: VersionKey) -> &Version {
        match key {
            VersionKey::Kubernetes => &self.kubernetes,
            VersionKey::Containerd => &self.containerd,
            VersionKey::Runc => &self.runc,
            VersionKey::CniPlugins => &self.cni_plugins,
        }
    }

    fn set(&mut self, key: VersionKey, version: Version) {
        *match key {
            VersionKey::Kubernetes => &mut self.kubernetes,
            VersionKey::Containerd => &mut self.containerd,
            VersionKey::Runc => &mut self.runc,
            VersionKey::CniPlugins => &mut self.cni_plugins,
        } = version;
    }
}

/// Why versions cannot be changed in a cluster file.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    /// The file is not valid as it is.
    #[error(transparent)]
    Invalid(ConfigError),
    /// The version is written in a way that is not changed in place: with escapes.
    #[error("versions.{} cannot be changed where it stands", key.as_str())]
    Unusual {
        /// The key.
        key: VersionKey,
        /// What it should be.
        version: Version,
    },
}

impl EditError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Invalid(error) => error.hint(),
            Self::Unusual { key, version } => {
                Some(format!("write `{}: {version}` under versions: yourself, then run `nodebake lock`", key.as_str()))
            }
        }
    }
}

/// The text of the cluster file `file` with other versions. Quotes, comments and a leading `v` stay. The new text is read
/// again: it means the same as the old one but for the versions, or it is refused.
pub fn set_versions(file: &Path, text: &str, changes: &[(VersionKey, Version)]) -> Result<String, EditError> {
    let mut wanted = parse(file, text).map_err(EditError::Invalid)?;
    let mut edited = text.to_owned();
    for (key, version) in changes {
        let unusual = || EditError::Unusual { key: *key, version: version.clone() };
        edited = set(&edited, *key, version).ok_or_else(unusual)?;
        wanted.versions.set(*key, version.clone());
        let mut read = parse(file, &edited).map_err(|_| unusual())?;
        // Where they stand may have moved with the version before them.
        read.warnings.clone_from(&wanted.warnings);
        if read != wanted {
            return Err(unusual());
        }
    }
    Ok(edited)
}

fn set(text: &str, key: VersionKey, version: &Version) -> Option<String> {
    let body = text.strip_prefix('\u{feff}').unwrap_or(text);
    let tree = Tree::read(body, &Problems::default())?;
    let scalar = child(child(&tree, "versions")?, key.as_str())?;
    let Kind::Text { text: old, .. } = &scalar.kind else { return None };
    let start = text.len() - body.len() + offset(body, scalar.at)?;
    // A quote stays where it is.
    let start = start + usize::from(text[start..].starts_with(['"', '\'']));
    let rest = text[start..].strip_prefix(old.as_str())?;
    let v = if old.starts_with('v') { "v" } else { "" };
    Some(format!("{}{v}{version}{rest}", &text[..start]))
}

fn child<'t>(tree: &'t Tree, key: &str) -> Option<&'t Tree> {
    let Kind::Map(entries) = &tree.kind else { return None };
    entries.iter().find(|entry| entry.key == key).map(|entry| &entry.value)
}

/// Byte offset of a position.
fn offset(text: &str, at: Position) -> Option<usize> {
    let line_start = text.split_inclusive('\n').take(at.line - 1).map(str::len).sum::<usize>();
    let (in_line, _) = text[line_start..].char_indices().nth(at.column - 1)?;
    Some(line_start + in_line)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::config::INIT;

    fn edit(text: &str, changes: &[(VersionKey, &str)]) -> Result<String, String> {
        let changes: Vec<_> = changes.iter().map(|(key, text)| (*key, Version::parse(text).unwrap())).collect();
        set_versions(Path::new("/c/nodebake.yaml"), text, &changes).map_err(|error| error.to_string())
    }

    #[test]
    fn nothing_but_the_version_changes() {
        let runc = [(VersionKey::Runc, "1.3.10")];
        for (old, new) in [
            ("runc: v1.2.8", "runc: v1.3.10"),
            ("runc: 1.2.8 # why", "runc: 1.3.10 # why"),
            ("runc:   \"v1.2.8\"", "runc:   \"v1.3.10\""),
            ("runc: '1.2.8'   ", "runc: '1.3.10'   "),
            ("\"runc\": 1.2.8", "\"runc\": 1.3.10"),
            ("runc: >-\n    1.2.8", "runc: >-\n    1.3.10"),
            ("# runc: v1.2.8 ü\n  runc: 1.2.8-rc.1", "# runc: v1.2.8 ü\n  runc: 1.3.10"),
        ] {
            for (prefix, end) in [("", "\n"), ("\u{feff}", "\r\n")] {
                let whole = |line: &str| format!("{prefix}{}", INIT.replace("runc: v1.2.8", line).replace('\n', end));
                assert_eq!(edit(&whole(old), &runc), Ok(whole(new)), "{old}");
            }
        }
    }

    #[test]
    fn several_change_at_once() {
        let changes = VersionKey::ALL.map(|key| (key, if key == VersionKey::Runc { "1.2.9" } else { "1.35.12" }));
        let expected = INIT
            .replace("kubernetes: v1.35.1", "kubernetes: v1.35.12")
            .replace("runc: v1.2.8", "runc: v1.2.9")
            .replace("cniPlugins: v1.9.0", "cniPlugins: v1.35.12");
        let without_containerd: Vec<_> =
            changes.into_iter().filter(|(key, _)| *key != VersionKey::Containerd).collect();
        assert_eq!(edit(INIT, &without_containerd), Ok(expected));
        // One line for all.
        let block = "versions:\n  kubernetes: v1.35.1\n  containerd: 2.2.1\n  runc: v1.2.8\n  cniPlugins: v1.9.0\n";
        let flow = |runc: &str, cni: &str| {
            let flow =
                format!("versions: {{kubernetes: v1.35.1, containerd: 2.2.1, runc: {runc}, cniPlugins: {cni}}}\n");
            INIT.replace(block, &flow)
        };
        let changes = [(VersionKey::Runc, "1.2.9"), (VersionKey::CniPlugins, "1.9.12")];
        assert_eq!(edit(&flow("v1.2.8", "v1.9.0"), &changes), Ok(flow("v1.2.9", "v1.9.12")));
    }

    /// What is warned of stands elsewhere then.
    #[test]
    fn a_key_that_moved_may_stand_behind_the_version() {
        let flow = |runc: &str| {
            let versions = format!("kubernetes: v1.35.1, containerd: 2.2.1, runc: {runc}, cniPlugins: v1.9.0");
            let block = "versions:\n  kubernetes: v1.35.1\n  containerd: 2.2.1\n  runc: v1.2.8\n  cniPlugins: v1.9.0\n";
            let text = INIT.replace(block, "");
            let mut tree: serde_json::Value = serde_yaml::from_str(&text).unwrap();
            tree["defaults"].as_object_mut().unwrap().remove("arch");
            let rest = serde_json::to_string(&tree).unwrap();
            format!("{{\"versions\": {{{versions}}}, \"arch\": amd64, {}\n", &rest[1..])
        };
        assert_eq!(edit(&flow("v1.2.8"), &[(VersionKey::Runc, "1.3.10")]), Ok(flow("v1.3.10")));
    }

    #[test]
    fn what_cannot_be_changed_in_place_is_refused() {
        let runc = [(VersionKey::Runc, "1.3.10")];
        for odd in ["runc: \"\\x31.2.8\"", "runc: \"1.2\\\n    .8\""] {
            let error = edit(&INIT.replace("runc: v1.2.8", odd), &runc);
            assert_eq!(error, Err("versions.runc cannot be changed where it stands".to_owned()), "{odd}");
        }
        let error = "1 problem in /c/nodebake.yaml\n/c/nodebake.yaml:1:1: the file is empty";
        assert_eq!(edit("", &runc), Err(error.to_owned()));
    }
}
