//! From a node and its identity to the files that its guest reads.

use crate::config::NodeName;
use crate::secret::Secret;

/// All that a seed image holds, in memory and in a fixed order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeBundle {
    /// Whose bundle it is.
    pub node: NodeName,
    /// `#cloud-config` text.
    pub user_data: String,
    /// YAML with instance-id and local-hostname.
    pub meta_data: String,
    /// cloud-init network-config, version 2.
    pub network_config: String,
    /// The script that first boot runs from the seed (`nodebake/first-boot` there).
    pub first_boot: String,
    /// What first boot puts into the guest (`nodebake/root/...` in the seed), sorted by path, owner root:root.
    pub files: Vec<GuestFile>,
}

/// One file or link in the guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuestFile {
    /// Absolute path in the guest.
    pub path: String,
    /// What stands there.
    pub content: Content,
}

/// What stands at a path in the guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// A public file with permission bits (0644, 0755).
    Public(Vec<u8>, u32),
    /// A secret file, mode 0600.
    Secret(Secret),
    /// A symbolic link to this target.
    Link(String),
}
