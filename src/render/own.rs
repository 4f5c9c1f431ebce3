//! Files of the user's own in the guest.

use std::fs;
use std::path::Path;

use super::bundle::{Account, Content, GuestFile, Owner};
use super::error::{RenderError, Said, TakenBy};
use crate::config::{Body, Config, Node};
use crate::secret::Secret;

/// A file or link that the cluster file asks for, and where it does.
pub(super) struct Own {
    pub(super) file: GuestFile,
    pub(super) said: Said,
}

/// Folders in which nothing lasts, or where first boot and the node keep what is theirs.
const NOT_FOR_FILES: [&str; 8] = [
    "/dev",
    "/opt/nodebake",
    "/proc",
    "/run",
    "/sys",
    "/usr/local/lib/nodebake",
    "/var/lib/cloud",
    "/var/lib/nodebake",
];

/// The files of `settings.files`.
pub(super) fn files(config: &Config, node: &Node) -> Result<Vec<Own>, RenderError> {
    let own = |(path, file): (&String, &crate::config::OwnFile)| {
        let said = Said::new(config, node, &["files", path]);
        check_path(path, node, &said)?;
        let bytes = read(&file.body, node, &said)?;
        let content = match file.mode & 0o077 {
            0 => Content::Secret(Secret::new(bytes), file.mode),
            _ => Content::Public(bytes, file.mode),
        };
        let owner = Owner { user: Account::from(file.owner.as_str()), group: Account::from(file.group.as_str()) };
        Ok(Own { file: GuestFile { path: path.clone(), content, owner }, said })
    };
    node.settings.files.iter().map(own).collect()
}

fn check_path(path: &str, node: &Node, said: &Said) -> Result<(), RenderError> {
    let parts = path.strip_prefix('/').map(|path| path.split('/').collect::<Vec<_>>()).unwrap_or_default();
    let problem = if parts.is_empty() || parts.iter().any(|part| ["", ".", ".."].contains(part)) {
        "must be an absolute path without an empty name, \".\" or \"..\" in it".to_owned()
    } else if let Some(folder) = NOT_FOR_FILES.iter().find(|folder| Path::new(path).starts_with(folder)) {
        format!("{folder} is no folder for files of your own")
    } else {
        return Ok(());
    };
    Err(RenderError::Setting { node: node.name.clone(), said: said.clone(), problem })
}

/// The bytes of what a setting gives.
pub(super) fn read(body: &Body, node: &Node, said: &Said) -> Result<Vec<u8>, RenderError> {
    match body {
        Body::Text(text) => Ok(text.clone().into_bytes()),
        Body::Path(path) => fs::read(path).map_err(|source| RenderError::Read {
            node: node.name.clone(),
            said: said.clone(),
            path: path.clone(),
            source,
        }),
    }
}

/// Adds the user's files to nodebake's, none of which may stand at, above or beneath the same path. `template` names the
/// template of a file of nodebake's.
pub(super) fn add(
    files: &mut Vec<GuestFile>,
    own: Vec<Own>,
    node: &Node,
    template: impl Fn(&str) -> Option<&'static str>,
) -> Result<(), RenderError> {
    let ours = files.len();
    let mut saids: Vec<Said> = Vec::new();
    for Own { file, said } in own {
        let meets = |there: &GuestFile| {
            let (one, other) = (Path::new(&there.path), Path::new(&file.path));
            one.starts_with(other) || other.starts_with(one)
        };
        if let Some(place) = files.iter().position(meets) {
            let path = files.get(place).map(|there| there.path.clone()).unwrap_or_default();
            let by = match place.checked_sub(ours).and_then(|place| saids.get(place)) {
                Some(said) => TakenBy::Own(said.clone()),
                None => template(&path).map_or(TakenBy::Nodebake, TakenBy::Template),
            };
            return Err(RenderError::Taken { node: node.name.clone(), said, path, by });
        }
        files.push(file);
        saids.push(said);
    }
    Ok(())
}
