//! What rendering makes: all that a seed image holds, in memory and in a fixed order.

use std::fmt;

use sha2::Digest as _;

use crate::config::NodeName;
use crate::digest::Digest;
use crate::secret::Secret;

/// All that a seed image holds, in memory and in a fixed order.
#[derive(Clone, PartialEq, Eq)]
pub struct NodeBundle {
    /// Whose bundle it is.
    pub node: NodeName,
    /// `#cloud-config` text.
    pub user_data: String,
    /// `#cloud-boothook` text: what starts first boot.
    pub vendor_data: String,
    /// YAML with instance-id and local-hostname.
    pub meta_data: String,
    /// cloud-init network-config.
    pub network_config: String,
    /// The script that first boot runs from the seed (`nodebake/first-boot` there).
    pub first_boot: String,
    /// `root:HASH` for chpasswd, which first boot gives it from the seed (`nodebake/root-password` there).
    pub root_password: Option<Secret>,
    /// What first boot puts into the guest (`nodebake/root/...` in the seed), sorted by path.
    pub files: Vec<GuestFile>,
}

/// user-data can hold passwords: it is not shown.
impl fmt::Debug for NodeBundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("NodeBundle");
        shown.field("node", &self.node).field("user_data", &format_args!("{} bytes", self.user_data.len()));
        shown.field("vendor_data", &self.vendor_data);
        shown.field("meta_data", &self.meta_data).field("network_config", &self.network_config);
        shown.field("first_boot", &self.first_boot).field("root_password", &self.root_password);
        shown.field("files", &self.files).finish()
    }
}

/// One file or link in the guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuestFile {
    /// Absolute path in the guest.
    pub path: String,
    /// What stands there.
    pub content: Content,
    /// Whose it is.
    pub owner: Owner,
}

impl GuestFile {
    /// A file or link of root's.
    pub fn new(path: impl Into<String>, content: Content) -> Self {
        Self { path: path.into(), content, owner: Owner::ROOT }
    }
}

/// What stands at a path in the guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// A public file with permission bits (0644, 0755).
    Public(Vec<u8>, u32),
    /// A secret file with permission bits, none of 0077 (0600, 0400).
    Secret(Secret, u32),
    /// A symbolic link to this target.
    Link(String),
}

/// User and group of a file in the guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// The user.
    pub user: Account,
    /// The group.
    pub group: Account,
}

impl Owner {
    /// root:root.
    pub const ROOT: Self = Self { user: Account::Id(0), group: Account::Id(0) };

    /// Numbers of user and group; root's where only the guest knows them.
    pub fn ids(&self) -> (u32, u32) {
        let id = |account: &Account| if let Account::Id(id) = account { *id } else { 0 };
        (id(&self.user), id(&self.group))
    }

    /// Whether the guest must look something up.
    pub fn has_names(&self) -> bool {
        matches!(self.user, Account::Name(_)) || matches!(self.group, Account::Name(_))
    }
}

/// As chown(1) takes it.
impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.user, self.group)
    }
}

/// A user or a group of the guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Account {
    /// Its number.
    Id(u32),
    /// Its name, which only the guest can look up.
    Name(String),
}

impl From<&str> for Account {
    fn from(text: &str) -> Self {
        match text.parse() {
            _ if text == "root" => Self::Id(0),
            Ok(id) => Self::Id(id),
            Err(_) => Self::Name(text.to_owned()),
        }
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(0) => f.write_str("root"),
            Self::Id(id) => id.fmt(f),
            Self::Name(name) => name.fmt(f),
        }
    }
}

impl NodeBundle {
    /// cloud-init's instance-id: the digest of all but meta-data, which holds it.
    pub fn instance_id(&self) -> String {
        format!("nodebake-{}", self.digest())
    }

    /// Digest of all but meta-data; every part with its length, so that no two bundles meet.
    pub fn digest(&self) -> Digest {
        let mut sha256 = sha2::Sha256::new();
        let mut part = |bytes: &[u8]| {
            sha256.update((bytes.len() as u64).to_be_bytes());
            sha256.update(bytes);
        };
        for text in [&self.user_data, &self.vendor_data, &self.network_config, &self.first_boot] {
            part(text.as_bytes());
        }
        if let Some(password) = &self.root_password {
            part(b"root password");
            part(password.expose());
        }
        for file in &self.files {
            part(file.path.as_bytes());
            part(file.owner.to_string().as_bytes());
            match &file.content {
                Content::Public(bytes, mode) => {
                    part(&mode.to_be_bytes());
                    part(bytes);
                }
                Content::Secret(secret, mode) => {
                    part(b"secret");
                    part(&mode.to_be_bytes());
                    part(secret.expose());
                }
                Content::Link(target) => {
                    part(b"link");
                    part(target.as_bytes());
                }
            }
        }
        Digest::from(<[u8; 32]>::from(sha256.finalize()))
    }

    /// The content of a guest file, for checks and for showing it.
    pub fn file(&self, path: &str) -> Option<&Content> {
        self.files.iter().find(|file| file.path == path).map(|file| &file.content)
    }
}
