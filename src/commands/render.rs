//! `nodebake render`: what goes into a node's seed, as it is rendered. Nothing is written and nothing is issued.

use serde::Serialize;

use super::Session;
use crate::artifacts::Kind;
use crate::build;
use crate::cli::{Format, Render};
use crate::config::{ClusterId, Node};
use crate::digest::Digest;
use crate::error::Error;
use crate::identity::{HostKey, NodeIdentity, NodeRequest, standing_host_keys};
use crate::image::{Payload, PayloadContents, PreloadedImage};
use crate::render::{self, Content, Credentials, NodeBundle, Owner, PayloadPlace};
use crate::secret::Secret;

pub(super) fn run(session: &Session, args: &Render) -> Result<(), Error> {
    for node in session.nodes(std::slice::from_ref(&args.node))? {
        let bundle = bundle(session, node, args)?;
        let parts = parts(&bundle, node);
        let Some(wanted) = &args.path else {
            let document = Document { node: node.name.to_string(), files: parts.iter().map(Entry::of).collect() };
            session.show(args.report.output, &document, || list(&document.files))?;
            continue;
        };
        let Some(part) = parts.iter().find(|part| part.path == wanted) else {
            return Err(unknown(node, wanted, &parts));
        };
        match part.shown {
            _ if args.report.output != Format::Table => {
                let content = part.content(args.show_secrets);
                let document = Whole { node: node.name.to_string(), file: Entry::of(part), content };
                session.show(args.report.output, &document, String::new)?;
            }
            Shown::File(bytes) => session.ui.raw(bytes),
            Shown::Secret(secret) if args.show_secrets => session.ui.raw(secret),
            Shown::Secret(secret) => session.ui.data(&format!("(secret, {} bytes)\n", secret.len())),
            Shown::Link(target) => session.ui.data(&format!("{target}\n")),
        }
    }
    Ok(())
}

fn unknown(node: &Node, path: &str, parts: &[Part]) -> Error {
    let nearest = parts.iter().min_by_key(|part| strsim::damerau_levenshtein(part.path, path));
    let nearest = nearest.map(|part| part.path.to_owned()).unwrap_or_default();
    Error::UnknownFile { node: node.name.clone(), path: path.to_owned(), nearest }
}

/// Renders from what is built and issued; where something is not, from words in its place, which is told.
fn bundle(session: &Session, node: &Node, args: &Render) -> Result<NodeBundle, Error> {
    let (config, ca) = (&session.config, session.ca()?);
    let (lock, store) = (session.lock(), session.store()?);
    let time = super::time()?;
    let payload = lock.ok().and_then(|lock| build::standing_payload(&lock, &store, &args.out.dir, node.arch, time));
    let payload = payload.unwrap_or_else(|| {
        let text = "the payload is not built: its digest, and what it alone tells of given images, are placeholders";
        session.ui.say_of(&node.name, text);
        placeholder(session, node)
    });
    let state = session.state();
    let identity = session.identities(&ca).present(&NodeRequest::of(node))?;
    let host_keys = match node.settings.ssh {
        Some(_) => standing_host_keys(&state, &node.name)?,
        None => Some(Vec::new()),
    };
    if identity.is_none() || host_keys.is_none() {
        session.ui.say_of(&node.name, "not all of its identity is issued: certificates and keys are placeholders");
    }
    let (not_issued, no_keys, trusted) = (Secret::new(NOT_ISSUED), no_host_keys(), ca.certificates_pem());
    let host_keys = host_keys.unwrap_or(no_keys);
    let credentials = match &identity {
        Some(NodeIdentity { ca_pem, certificate_pem, key_pem, .. }) => {
            Credentials { ca: ca_pem, certificate: certificate_pem, key: key_pem, host_keys: &host_keys }
        }
        None => Credentials { ca: &trusted, certificate: NOT_ISSUED, key: &not_issued, host_keys: &host_keys },
    };
    let id = ClusterId { name: config.cluster.name.clone(), ca: ca.digest() };
    let bundle = render::render(config, node, &config.macs(&id, node), credentials, &payload, PayloadPlace::Drive);
    Ok(bundle.map_err(build::BuildError::Render)?)
}

/// What stands where something would be issued.
const NOT_ISSUED: &str = "(not issued yet: `nodebake build` does)\n";

fn no_host_keys() -> Vec<HostKey> {
    let key = |name| HostKey { name, private: Secret::new(NOT_ISSUED), public: NOT_ISSUED.to_owned() };
    HostKey::NAMES.into_iter().map(key).collect()
}

/// A payload as far as the cluster file tells what it would be.
fn placeholder(session: &Session, node: &Node) -> Payload {
    let given = session.config.artifacts.iter().filter(|given| given.arch == node.arch);
    let mut contents = PayloadContents::default();
    for (kind, name) in given.filter_map(|given| Some((given.kind, given.name.clone()?))) {
        match kind {
            Kind::Binary => contents.binaries.push(name),
            Kind::Package => contents.packages.push(name),
            Kind::ContainerImage => contents.images.push(PreloadedImage { file: name, references: Vec::new() }),
            _ => {}
        }
    }
    Payload { path: "payload.iso".into(), digest: Digest::from([0; 32]), size: 0, contents }
}

/// One file of a seed.
struct Part<'a> {
    path: &'a str,
    mode: u32,
    owner: Owner,
    shown: Shown<'a>,
}

enum Shown<'a> {
    File(&'a [u8]),
    Secret(&'a [u8]),
    Link(&'a str),
}

/// cloud-init's own files and the script that it starts, then the guest's by their paths. What users write themselves can
/// hold passwords.
fn parts<'a>(bundle: &'a NodeBundle, node: &Node) -> Vec<Part<'a>> {
    let texts = [
        ("user-data", 0o600, &bundle.user_data),
        ("vendor-data", 0o600, &bundle.vendor_data),
        ("meta-data", 0o600, &bundle.meta_data),
        ("network-config", 0o600, &bundle.network_config),
        ("first-boot", 0o700, &bundle.first_boot),
    ];
    let texts = texts.map(|(path, mode, text)| {
        let shown = if render::may_hold_secrets(node, path) { Shown::Secret } else { Shown::File };
        Part { path, mode, owner: Owner::ROOT, shown: shown(text.as_bytes()) }
    });
    let guest = bundle.files.iter().map(|file| {
        let (mode, shown) = match &file.content {
            Content::Public(bytes, mode) => (*mode, Shown::File(bytes)),
            Content::Secret(secret, mode) => (*mode, Shown::Secret(secret.expose())),
            Content::Link(target) => (0o777, Shown::Link(target)),
        };
        Part { path: &file.path, mode, owner: file.owner.clone(), shown }
    });
    let password = bundle.root_password.iter().map(|password| Part {
        path: "root-password",
        mode: 0o600,
        owner: Owner::ROOT,
        shown: Shown::Secret(password.expose()),
    });
    texts.into_iter().chain(password).chain(guest).collect()
}

impl Part<'_> {
    /// Its text; none where it is no text, or a secret that is not to be shown.
    fn content(&self, show_secrets: bool) -> Option<String> {
        match self.shown {
            Shown::File(bytes) => String::from_utf8(bytes.to_vec()).ok(),
            Shown::Secret(secret) if show_secrets => String::from_utf8(secret.to_vec()).ok(),
            Shown::Secret(_) | Shown::Link(_) => None,
        }
    }
}

/// A seed as programs read it.
#[derive(Serialize)]
struct Document {
    node: String,
    files: Vec<Entry>,
}

/// One of its files.
#[derive(Serialize)]
struct Whole {
    node: String,
    file: Entry,
    content: Option<String>,
}

#[derive(Serialize)]
struct Entry {
    path: String,
    mode: String,
    owner: String,
    /// file, secret or link.
    kind: &'static str,
    size: Option<usize>,
    /// Where a link leads.
    target: Option<String>,
}

impl Entry {
    fn of(part: &Part) -> Self {
        let (kind, size, target) = match part.shown {
            Shown::File(bytes) => ("file", Some(bytes.len()), None),
            Shown::Secret(secret) => ("secret", Some(secret.len()), None),
            Shown::Link(target) => ("link", None, Some(target.to_owned())),
        };
        let (path, mode, owner) = (part.path.to_owned(), format!("{:04o}", part.mode), part.owner.to_string());
        Self { path, mode, owner, kind, size, target }
    }
}

fn list(entries: &[Entry]) -> String {
    let mut rows = vec![["PATH", "MODE", "OWNER", "SIZE", "KIND"].map(String::from).to_vec()];
    rows.extend(entries.iter().map(|it| {
        let size = it.size.map_or_else(|| "-".to_owned(), |size| size.to_string());
        let kind = it.target.as_ref().map_or_else(|| it.kind.to_owned(), |target| format!("link to {target}"));
        vec![it.path.clone(), it.mode.clone(), it.owner.clone(), size, kind]
    }));
    super::table(&rows)
}
