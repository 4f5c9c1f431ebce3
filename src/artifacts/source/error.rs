//! Why a file does not come.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::error::chain;

/// Why a file does not come.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The mirror's setting is neither an http(s) base nor a folder.
    #[error("{text:?} is not a mirror")]
    NotAMirror {
        /// The setting.
        text: String,
    },
    /// The mirror's folder cannot be read.
    #[error("mirror {} cannot be read", path.display())]
    MirrorFolder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The file of further CA certificates cannot be used.
    #[error("no CA certificates can be read from {}", path.display())]
    CaFile {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The address is reserved and exists only in a mirror.
    #[error("{url} can only come from a mirror")]
    OnlyInMirror {
        /// Upstream's address.
        url: String,
    },
    /// The mirror does not have the file.
    #[error("the mirror lacks {url}: there is no {place}")]
    NotInMirror {
        /// Upstream's address.
        url: String,
        /// Where it should be.
        place: String,
    },
    /// Upstream does not have the file.
    #[error("{url} does not exist")]
    NotUpstream {
        /// Upstream's address.
        url: String,
    },
    /// A file of this machine is not there.
    #[error("there is no {}", path.display())]
    NoFile {
        /// The file.
        path: PathBuf,
    },
    /// Several places were asked, and none gave it.
    #[error("no place gives {url}: {}", tried.iter().map(Self::short).collect::<Vec<_>>().join("; "))]
    Nowhere {
        /// Upstream's address.
        url: String,
        /// Each place's answer, in the order in which they were asked.
        tried: Vec<SourceError>,
    },
    /// The server could not be reached for another file a moment ago.
    #[error("{place} was not asked again, since its server cannot be reached")]
    Down {
        /// The address that was not asked.
        place: String,
    },
    /// The server answered with another status than success.
    #[error("{place} answered with status {status}")]
    Status {
        /// The address asked.
        place: String,
        /// The HTTP status.
        status: u16,
        /// How long the server asks us to wait (`Retry-After`).
        wait: Option<Duration>,
    },
    /// The server sent us where we do not go.
    #[error("{place} redirects to where it must not")]
    Redirect {
        /// The address asked.
        place: String,
        /// Why not.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// No connection came to stand.
    #[error("{place} cannot be reached")]
    Unreachable {
        /// The address asked.
        place: String,
        /// What failed.
        #[source]
        source: reqwest::Error,
    },
    /// The server does not prove who it is.
    #[error("{place} cannot be trusted")]
    Untrusted {
        /// The address asked.
        place: String,
        /// Why not.
        #[source]
        source: reqwest::Error,
    },
    /// Nothing came for too long.
    #[error("{place} sent nothing for {} s", limit.as_secs_f32())]
    Stalled {
        /// The address asked.
        place: String,
        /// How long we waited.
        limit: Duration,
    },
    /// The connection broke.
    #[error("the transfer of {place} broke")]
    Broken {
        /// The address asked.
        place: String,
        /// What failed.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The file ended before its size.
    #[error("{place} ended after {got} of {want} bytes")]
    Short {
        /// The address asked.
        place: String,
        /// Bytes that came.
        got: u64,
        /// Bytes that should have come.
        want: u64,
    },
    /// The server packed the file on its way, although it was asked not to.
    #[error("{place} was sent with content-encoding {encoding:?}, which was not asked for, and is not the locked file")]
    Encoded {
        /// The address asked.
        place: String,
        /// The encoding's name.
        encoding: String,
    },
    /// The server does not tell the size.
    #[error("{place} does not tell its size")]
    NoSize {
        /// The address asked.
        place: String,
    },
    /// A checksum file is larger than any real one.
    #[error("{place} is larger than {limit} bytes")]
    TooLarge {
        /// The address asked.
        place: String,
        /// The most that is read.
        limit: usize,
    },
    /// A file of the mirror's folder cannot be read.
    #[error("{} cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The HTTP client cannot be made.
    #[error("the http client cannot be made")]
    Client {
        /// What failed.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl SourceError {
    /// One error for all the places that were asked for an address.
    pub(in crate::artifacts) fn nowhere(url: &url::Url, mut tried: Vec<Self>) -> Self {
        match (tried.pop(), tried.is_empty()) {
            (Some(only), true) => only,
            (last, _) => {
                tried.extend(last);
                Self::Nowhere { url: url.to_string(), tried }
            }
        }
    }

    /// The error with its causes in a list that names the file already.
    pub(in crate::artifacts) fn short(&self) -> String {
        match self {
            Self::NotInMirror { place, .. } => format!("there is no {place}"),
            Self::NotUpstream { url } => format!("there is no {url}"),
            other => chain(other),
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::NotAMirror { .. } => {
                "a mirror is an existing folder, or an address that starts with http:// or https://"
            }
            Self::MirrorFolder { .. } => "check the path given as the mirror",
            Self::CaFile { .. } => "download.caFile in the cluster file must name a PEM file of CA certificates",
            Self::OnlyInMirror { .. } => "give the mirror that holds it with --mirror or NODEBAKE_MIRROR",
            Self::NotInMirror { url, .. } => {
                return Some(format!(
                    "a mirror holds each address under HOST/PATH, checksum files included: `wget -x {url}` in its folder"
                ));
            }
            Self::NotUpstream { .. } => "check the versions in the cluster file: upstream has no such release",
            // What is wrong besides files that are not there is what can be helped.
            Self::Nowhere { tried, .. } => {
                return tried.iter().find(|error| !error.is_missing()).or(tried.first())?.hint();
            }
            Self::Unreachable { .. } | Self::Down { .. } => {
                "check the network and the proxy settings (HTTPS_PROXY), or give a mirror"
            }
            Self::NoFile { .. } => "check the path that the cluster file gives",
            Self::Untrusted { .. } => {
                "give the server's CA certificate in a PEM file as download.caFile in the cluster file"
            }
            Self::Status { status: 401 | 403 | 407, .. } => {
                "access was refused: check the proxy settings and the mirror"
            }
            Self::Status { .. } | Self::Stalled { .. } | Self::Broken { .. } | Self::Short { .. } => {
                "try again later, or give another mirror"
            }
            Self::Encoded { .. } => {
                "the server, or a proxy before it, must hand the file on as it is published: switch its compression off"
            }
            Self::NoSize { .. } => "the server must send a Content-Length",
            Self::Redirect { .. } | Self::TooLarge { .. } | Self::Read { .. } | Self::Client { .. } => return None,
        };
        Some(hint.to_owned())
    }

    /// Whether the file is simply not there.
    pub fn is_missing(&self) -> bool {
        match self {
            Self::NotInMirror { .. } | Self::NotUpstream { .. } | Self::OnlyInMirror { .. } | Self::NoFile { .. } => {
                true
            }
            Self::Nowhere { tried, .. } => tried.iter().all(Self::is_missing),
            _ => false,
        }
    }

    /// Whether what is set for downloads cannot be used, whatever is asked for.
    pub fn is_setting(&self) -> bool {
        matches!(self, Self::NotAMirror { .. } | Self::MirrorFolder { .. } | Self::CaFile { .. })
    }

    /// Whether another try may go well.
    pub(in crate::artifacts) fn may_pass(&self) -> bool {
        match self {
            Self::Status { status, .. } => matches!(status, 408 | 429 | 500..=599),
            Self::Unreachable { .. } | Self::Stalled { .. } | Self::Broken { .. } | Self::Short { .. } => true,
            _ => false,
        }
    }

    /// How long the server asks us to wait before another try.
    pub(in crate::artifacts) fn wait(&self) -> Option<Duration> {
        match self {
            Self::Status { wait, .. } => *wait,
            _ => None,
        }
    }
}
