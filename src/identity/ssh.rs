//! SSH host keys of a node, which stay the same when it is rebuilt: whoever knows them is not asked again.

use std::path::{Path, PathBuf};

use ssh_key::rand_core::OsRng;
use ssh_key::{Algorithm, EcdsaCurve, LineEnding, PrivateKey};

use super::error::IdentityError;
use super::store::{self, Kept};
use crate::config::NodeName;
use crate::secret::Secret;

/// A host key, as it stands in /etc/ssh.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostKey {
    /// Name of its file, `ssh_host_ed25519_key`.
    pub name: &'static str,
    /// The private key (OpenSSH's PROTOCOL.key).
    pub private: Secret,
    /// The line of its `.pub` file.
    pub public: String,
}

impl HostKey {
    /// The names of all of them.
    pub const NAMES: [&str; 2] = [KINDS[0].0, KINDS[1].0];
}

/// The kinds of host keys that are made. Every client of today takes one of them; RSA is for those of before 2014.
const KINDS: [(&str, Algorithm); 2] = [
    ("ssh_host_ecdsa_key", Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 }),
    ("ssh_host_ed25519_key", Algorithm::Ed25519),
];

/// The node's host keys, kept under `state_dir/identities/NAME`; those that are missing are made. One that cannot be read is
/// an error, never replaced: others know it.
pub fn host_keys(state_dir: &Path, node: &NodeName) -> Result<Vec<HostKey>, IdentityError> {
    if let Some(keys) = standing_host_keys(state_dir, node)? {
        return Ok(keys);
    }
    let kept = Kept::new(state_dir, &node.to_string());
    let _lock = kept.lock()?;
    // Another process may have made one while we waited.
    let key = |(name, algorithm): (&'static str, Algorithm)| {
        let path = kept.file(name);
        if let Some(key) = read(name, path.clone(), node)? {
            return Ok(key);
        }
        let failed = |source| IdentityError::HostKey { path: path.clone(), source };
        let made = PrivateKey::random(&mut OsRng, algorithm).map_err(failed)?;
        let text = made.to_openssh(LineEnding::LF).map_err(failed)?;
        store::write_private(&path, &Secret::new(text.as_bytes()))?;
        host_key(name, &made, Secret::new(text.as_bytes()), path.clone(), node)
    };
    KINDS.into_iter().map(key).collect()
}

/// The same without making any; none where one is missing.
pub fn standing_host_keys(state_dir: &Path, node: &NodeName) -> Result<Option<Vec<HostKey>>, IdentityError> {
    let kept = Kept::new(state_dir, &node.to_string());
    KINDS.into_iter().map(|(name, _)| read(name, kept.file(name), node)).collect()
}

fn read(name: &'static str, path: PathBuf, node: &NodeName) -> Result<Option<HostKey>, IdentityError> {
    let Some((bytes, _)) = store::read_key(&path)? else { return Ok(None) };
    let key = PrivateKey::from_openssh(bytes.expose())
        .map_err(|source| IdentityError::HostKey { path: path.clone(), source })?;
    host_key(name, &key, bytes, path, node).map(Some)
}

fn host_key(
    name: &'static str,
    key: &PrivateKey,
    private: Secret,
    path: PathBuf,
    node: &NodeName,
) -> Result<HostKey, IdentityError> {
    let mut public = key.public_key().clone();
    public.set_comment(format!("root@{node}"));
    let public = public.to_openssh().map_err(|source| IdentityError::HostKey { path, source })?;
    Ok(HostKey { name, private, public: format!("{public}\n") })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;
    use std::process::Command;

    use super::*;

    #[test]
    fn host_keys_are_made_once_and_openssh_reads_them() {
        let folder = tempfile::tempdir().unwrap();
        let node: NodeName = "worker-node-1".parse().unwrap();
        assert_eq!(standing_host_keys(folder.path(), &node).unwrap(), None);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "looking makes nothing");
        let keys = host_keys(folder.path(), &node).unwrap();
        assert_eq!(host_keys(folder.path(), &node).unwrap(), keys);
        assert_eq!(standing_host_keys(folder.path(), &node).unwrap().as_ref(), Some(&keys));
        let kinds = [("ssh_host_ecdsa_key", "ecdsa-sha2-nistp256"), ("ssh_host_ed25519_key", "ssh-ed25519")];
        assert_eq!(keys.len(), kinds.len());
        for (key, (name, kind)) in keys.iter().zip(kinds) {
            let path = folder.path().join("identities/worker-node-1").join(name);
            assert_eq!((key.name, fs::read(&path).unwrap().as_slice()), (name, key.private.expose()));
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
            let words: Vec<_> = key.public.split_whitespace().collect();
            assert_eq!((words[0], words[2], words.len()), (kind, "root@worker-node-1", 3));
            // ssh-keygen derives the public key from the private one.
            let derived = Command::new("ssh-keygen").arg("-y").arg("-f").arg(&path).output().unwrap();
            let derived = String::from_utf8(derived.stdout).unwrap();
            assert_eq!(derived.split_whitespace().take(2).collect::<Vec<_>>(), words[..2]);
            assert!(!format!("{key:?}").contains("PRIVATE"));
        }
        // One that is lost is made anew; the other stays.
        fs::remove_file(folder.path().join("identities/worker-node-1/ssh_host_ecdsa_key")).unwrap();
        assert_eq!(standing_host_keys(folder.path(), &node).unwrap(), None);
        let again = host_keys(folder.path(), &node).unwrap();
        assert!(again[0] != keys[0] && again[1] == keys[1]);
        // One that cannot be read stays as it is.
        let path = folder.path().join("identities/worker-node-1/ssh_host_ed25519_key");
        fs::write(&path, "damaged").unwrap();
        let error = host_keys(folder.path(), &node).unwrap_err();
        assert_eq!(error.to_string(), format!("SSH host key {} cannot be used", path.display()));
        assert_eq!(fs::read(&path).unwrap(), b"damaged");
    }
}
