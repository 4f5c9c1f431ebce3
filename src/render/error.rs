//! Why a node could not be rendered, and where the cluster file says what led to it.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::config::{Config, Node, NodeName};

/// Why a node could not be rendered.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    /// A template is wrong.
    #[error("template {template}")]
    Template {
        /// Which.
        template: Origin,
        /// What Tera says of it, with its line.
        source: Box<tera::Error>,
    },
    /// A template uses what has no value.
    #[error("template {template} uses {variable:?}, which is not defined")]
    Undefined {
        /// Which.
        template: Origin,
        /// The name without a value.
        variable: String,
    },
    /// What was rendered does not read back as what was meant.
    #[error("{node}: what template {template} renders is not valid: {problem}")]
    Check {
        /// Whose file it is.
        node: NodeName,
        /// Which.
        template: Origin,
        /// What is wrong with it.
        problem: String,
    },
    /// A setting that this node cannot have.
    #[error("{node}: {said}: {problem}")]
    Setting {
        /// Whose setting it is.
        node: NodeName,
        /// Which, and where it is said.
        said: Said,
        /// What is wrong with it.
        problem: String,
    },
    /// A file of the user's own that stands at, above or beneath the place of another.
    #[error("{node}: {said} stands in the way of {path}, which is {by}")]
    Taken {
        /// Whose file it is.
        node: NodeName,
        /// Which setting, and where it is said.
        said: Said,
        /// Path in the guest of the other file.
        path: String,
        /// Whose that is.
        by: TakenBy,
    },
    /// A file that a setting names cannot be read.
    #[error("{node}: {said} names {}, which cannot be read", path.display())]
    Read {
        /// Whose setting it is.
        node: NodeName,
        /// Which, and where it is said.
        said: Said,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl RenderError {
    /// What the user can do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Template { template, .. } | Self::Undefined { template, .. } | Self::Check { template, .. } => {
                Some(match template {
                    Origin::BuiltIn(_) => {
                        "the templates are part of nodebake; this is a fault of nodebake, please report it".to_owned()
                    }
                    Origin::Own(path) => format!("mend {}", path.display()),
                })
            }
            Self::Taken { path, by: TakenBy::Template(template), .. } => Some(match path.strip_prefix(UNITS) {
                Some(unit) => format!("what a drop-in says wins over the unit: `units: {{{unit}.d/50-own.conf: ..}}`"),
                None => {
                    format!("`templates` names a folder, in which {template} is rendered in place of nodebake's own")
                }
            }),
            Self::Taken { .. } => Some("choose another path".to_owned()),
            Self::Setting { node, said, .. } if said.is_beneath("kubelet") => Some(format!(
                "mend it in the cluster file; `nodebake explain {node} kubelet` says where each field comes from"
            )),
            Self::Setting { .. } | Self::Read { .. } => None,
        }
    }

    /// Whether the cluster file, or what it names, is to be mended.
    pub fn is_setting(&self) -> bool {
        match self {
            Self::Template { template, .. } | Self::Undefined { template, .. } | Self::Check { template, .. } => {
                matches!(template, Origin::Own(_))
            }
            Self::Setting { .. } | Self::Taken { .. } | Self::Read { .. } => true,
        }
    }
}

/// Whose a path in the guest is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TakenBy {
    /// nodebake's, rendered from this template.
    Template(&'static str),
    /// nodebake's, from no template.
    Nodebake,
    /// The user's.
    Own(Said),
}

impl fmt::Display for TakenBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Template(name) => write!(f, "nodebake's own (template {name})"),
            Self::Nodebake => f.write_str("nodebake's own"),
            Self::Own(said) => said.fmt(f),
        }
    }
}

/// Where units stand.
pub(super) const UNITS: &str = "/etc/systemd/system/";

/// Where a template comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// nodebake's own: its path below cloud-init/.
    BuiltIn(&'static str),
    /// The user's.
    Own(PathBuf),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BuiltIn(name) => f.write_str(name),
            Self::Own(path) => path.display().fmt(f),
        }
    }
}

/// A setting as the cluster file names it, and the line that won: `kubelet.config.maxPods (nodebake.yaml:31)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said(Box<Setting>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Setting {
    /// Its keys in a layer.
    keys: Vec<String>,
    /// Name of the cluster file.
    file: String,
    /// From 1; none where the cluster file does not say it.
    line: Option<usize>,
}

impl Said {
    /// The setting at `path` in the node's layers, as the cluster file spells it. Its line is that of its own value, or of
    /// what it stands in, else the first line of what is in it.
    pub(super) fn new(config: &Config, node: &Node, path: &[&str]) -> Self {
        let keys: Vec<String> = path.iter().map(ToString::to_string).collect();
        let origins = &node.settings.origins;
        let beneath =
            || origins.iter().filter(|(there, _)| there.starts_with(&keys)).filter_map(|(_, origin)| origin.line);
        let line = origins.of(path).map_or_else(|| beneath().min(), |origin| origin.line);
        let file = config.file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Self(Box::new(Setting { keys, file, line }))
    }

    fn is_beneath(&self, key: &str) -> bool {
        self.0.keys.first().is_some_and(|first| first == key)
    }
}

/// `users[0].name`: an element of a list is a key `[0]`.
pub(super) fn dotted(keys: &[String]) -> String {
    keys.join(".").replace(".[", "[")
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Setting { keys, file, line } = &*self.0;
        f.write_str(&dotted(keys))?;
        match line {
            Some(line) => write!(f, " ({file}:{line})"),
            None => Ok(()),
        }
    }
}
